//! What stands in ZooKeeper, and what it costs: writes for each checkpoint, sizes of nodes, the node of a checkpoint to the letter, who may read.
//! Refuses the host's own word: nodes are read with another client, writes are counted by the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::house::{LONG_SESSION, RECORDS, SESSION, Site};
use crate::harness::lab::Lab;
use crate::harness::shared::Shared;
use crate::harness::znodes::{Node, Znodes};
use crate::harness::zookeeper::ZooKeeper;
use crate::harness::{checkpoints, corpus, jobs, output, seed};

/// Bytes of a node, at most.
const NODE_BYTES_MAX: usize = 64 * 1024;
/// Transactions of a first start and of an end, beside those of checkpoints: the session, the host's and the candidate's node, folders, the
/// claim, the spec, their removal, the session's end. The bound is generous; what counts is that it does not grow with checkpoints.
const FIXED: u64 = 40;

/// Runs a job and demands two transactions for each of its checkpoints at most, and small nodes.
#[track_caller]
fn check_writes(lab: &Lab, least: u64) {
    let server = ZooKeeper::start();
    let before = server.transactions();
    let coordinator = format!("zookeeper://{}/writes/of/a/job", server.address());
    let ended = lab.run(&["--coordinator", &coordinator, "--session-timeout", "10s"]).code(0).unwarned(&[]);
    let writes = server.transactions() - before;
    let checkpoints = ended.confirmed().unwrap();
    println!("{writes} transactions for {checkpoints} checkpoints");
    assert!(checkpoints >= least, "{checkpoints} checkpoints are too few to tell");
    assert!(writes >= checkpoints, "{writes} transactions can't have confirmed {checkpoints} checkpoints");
    assert!(writes <= 2 * checkpoints + FIXED, "{writes} transactions for {checkpoints} checkpoints");
    assert!(server.ephemerals().is_empty(), "the host has ended, and {:?} are left", server.ephemerals());
    let tree = Znodes::connect(server.address()).tree("/writes");
    let largest = tree.iter().max_by_key(|(_, content)| content.len()).unwrap();
    println!("{} nodes, the largest is {} with {} bytes", tree.len(), largest.0, largest.1.len());
    assert!(tree.len() > 10 && largest.1.len() <= NODE_BYTES_MAX, "{} bytes in {}", largest.1.len(), largest.0);
}

#[test]
fn a_checkpoint_of_one_task_costs_two_writes_at_most() {
    // A call changes 1,024 keys, which fills the room that there is: a call is a checkpoint.
    let lab = Lab::with_job(&(jobs::slow("interval = \"1 ms\"") + "limits = { dirty-bytes = \"64 KiB\" }\n"));
    lab.write("in/a.tsv", (0..140_000).map(|key| format!("{key}\t\n")).collect::<String>());
    check_writes(&lab, FIXED * 5 / 4);
}

#[test]
fn a_checkpoint_of_256_tasks_costs_two_writes_at_most() {
    let mut random = seed::random("a_checkpoint_of_256_tasks_costs_two_writes_at_most");
    let lab = Lab::with_job(
        r#"name = "wide"

[[stage]]
name = "split"
component = "{plugins}/rust/split.wasm"
inputs = { lines = { from = "in", format = "lines" } }
outputs = { words = { to = "stream://words", partitions = 256 } }

[[stage]]
name = "pass"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://words" } }
outputs = { out = { to = "stream://narrow", partitions = 1 } }

[[stage]]
name = "copy"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://narrow" } }
outputs = { out = { to = "out", format = "tsv" } }

[checkpoint]
interval = "20 ms"

[limits]
unpublished-bytes = "64 KiB"
"#,
    );
    let text = corpus::plain(&mut random, 8_000_000, 20_000);
    lab.write("in/a.txt", &text);
    check_writes(&lab, FIXED * 5 / 4);
    let words: u64 = corpus::count([text.as_slice()]).values().sum();
    assert_eq!(u64::try_from(output::records(&lab.path("out")).len()).unwrap(), words);
}

#[test]
fn the_node_of_a_confirmed_checkpoint_is_the_documented_one_to_the_letter() {
    let mut random = seed::random("the_node_of_a_confirmed_checkpoint_is_the_documented_one_to_the_letter");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS / 30, (server.address(), LONG_SESSION));
    site.finished_by(site.start("data").end(), "data", &[]);
    let mut znodes = site.znodes();
    let names = znodes.children(&site.node("checkpoints"));
    let last = names.last().expect("a checkpoint");
    let number: u64 = last.parse().unwrap();
    assert_eq!(*last, format!("{number:010}"));
    let Node::There(content) = znodes.get(&site.node(&format!("checkpoints/{last}"))) else { panic!("{last} is gone") };
    let text = String::from_utf8(content).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let field = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in {text}"));
    let (created, manifest, sha256) = (field("created-at"), field("manifest"), field("sha256"));
    let expected = format!(
        r#"{{"version":1,"number":{number},"created-at":"{created}","status":"confirmed","manifest":"{manifest}","sha256":"{sha256}"}}"#
    );
    assert_eq!(text, expected);
    assert!(created.len() == 24 && created.ends_with('Z') && checkpoints::created_ms(&value) < 86_400_000, "{created:?}");
    assert!(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()), "{sha256:?}");
    // The manifest is an object of the archive with this very hash.
    let told = site.lab.shell(&format!("sha256sum archive/{manifest} | cut -d ' ' -f 1")).code(0).stdout;
    assert_eq!(told.trim_end(), sha256);
    let listed = site.list("data");
    assert_eq!(names.len(), listed.len());
    for (name, entry) in names.iter().zip(&listed) {
        let node = znodes.json(&site.node(&format!("checkpoints/{name}")));
        for key in ["number", "created-at", "status", "manifest", "sha256"] {
            assert_eq!(entry[key], node.get(key).cloned().unwrap_or(json!(null)), "{key} of checkpoint {name}");
        }
    }
}

#[test]
fn nodes_made_with_credentials_are_open_to_nobody_else() {
    let mut random = seed::random("nodes_made_with_credentials_are_open_to_nobody_else");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS / 30, (server.address(), SESSION));
    let coordinator = site.coordinator(server.address());
    let file = |name: &str, text: &str| {
        site.lab.write(name, text);
        fs::set_permissions(site.lab.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    file("auth", "gregor:secret word\n");
    file("wrong", "gregor:other word\n");
    let run = |more: &[&str]| site.lab.run(&[&["--coordinator", &coordinator], more].concat());
    let list = |more: &[&str]| {
        site.lab.gregor(&[&["checkpoint", "list", "job.toml", "--data", "data", "--coordinator", &coordinator], more].concat())
    };
    run(&["--zookeeper-auth", "auth"]).code(0).unwarned(&[]);
    assert!(list(&["--zookeeper-auth", "auth"]).code(0).stdout.contains("confirmed"));
    list(&[]).code(2).says("is not open to everybody");
    list(&["--zookeeper-auth", "wrong"]).code(2).says("is not open to user \"gregor\"");
    run(&[]).code(2).says("is not open to everybody");
    let mut znodes = site.znodes();
    for name in ["generation", "latest", "spec"] {
        assert_eq!(znodes.get(&site.node(name)), Node::Denied, "{name}");
    }
    assert_eq!(znodes.get(&format!("{}/cluster-id", site.root())), Node::Denied);
    znodes.authenticate("gregor:secret word");
    for (path, content) in znodes.tree(&site.root()) {
        assert!(!String::from_utf8_lossy(&content).contains("secret"), "{path} tells the password");
    }
    assert!(site.latest(&mut znodes) > 0);
    // A file that others can read is refused, before anything is asked of the server.
    fs::set_permissions(site.lab.path("auth"), fs::Permissions::from_mode(0o644)).unwrap();
    run(&["--zookeeper-auth", "auth"]).code(2).says("others can read");
}

#[test]
fn a_job_leaves_the_same_and_lists_its_checkpoints_alike_with_either_coordinator() {
    let mut random = seed::random("a_job_leaves_the_same_and_lists_its_checkpoints_alike_with_either_coordinator");
    let server = Shared::server();
    let site = Site::new(&mut random, RECORDS / 10, (server.address(), LONG_SESSION));
    site.finished_by(site.start("data").end(), "data", &[]);
    let outputs = |lab: &Lab| ["out/counts", "out/records"].map(|folder| output::by_task(&lab.path(folder)));
    let (decided, listed) = (outputs(&site.lab), site.list("data"));
    for name in ["out", "archive", "data"] {
        crate::harness::lab::remove(&site.lab.path(name));
    }
    site.lab.run(&[]).code(0).unwarned(&[]);
    let local = checkpoints::list(&site.lab);
    assert!(outputs(&site.lab) == decided, "the outputs differ");
    let shape = |list: &[Value]| -> Vec<(Vec<String>, Value)> {
        let keys = |entry: &Value| entry.as_object().unwrap().keys().cloned().collect();
        list.iter().map(|entry| (keys(entry), entry["status"].clone())).collect()
    };
    assert_eq!(shape(&listed), shape(&local), "{listed:#?}\n{local:#?}");
}
