//! What is said about components and ports that do not fit the job file, word for word.

use super::*;
use crate::job_file::parse;
use crate::job_file::place::Text;

const JOB: &str = r#"
name = "wordcount"

[[stage]]
name = "split"
component = "split.wasm"
inputs  = { lines = { from = "books/*.txt", format = "lines" } }
outputs = { words = { to = "stream://words", partitions = 4 } }

[[stage]]
name = "count"
component = "count.wasm"
inputs  = { words = { from = "stream://words" } }
outputs = { counts = { to = "out", format = "tsv" }, more = { to = "more", format = "tsv" } }
"#;

fn job_file() -> JobFile {
    parse(Text { file: "job.toml", content: JOB }, Path::new("/home/me")).unwrap()
}

fn ports(names: &[&str]) -> Vec<Port> {
    names.iter().map(|name| Port { name: PortName::new(*name).unwrap(), schema: None }).collect()
}

#[test]
fn ports_come_in_the_order_of_the_components_description() {
    let file = job_file();
    let outputs = in_order(&file, (&file.stages[1].outputs, "output"), &ports(&["more", "counts"])).unwrap();
    assert_eq!(outputs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["more", "counts"]);
}

#[test]
fn ports_that_differ_are_named_on_both_sides() {
    let file = job_file();
    let cases: [(&[&str], &str); 4] = [
        (&["counts"], "counts"),
        (&["counts", "more", "rest"], "counts, more, rest"),
        (&["counts", "others"], "counts, others"),
        (&[], "(none)"),
    ];
    for (described, expected) in cases {
        let failure = in_order(&file, (&file.stages[1].outputs, "output"), &ports(described)).unwrap_err();
        let message = format!(
            "job.toml:14:1: stage \"count\": outputs: the job file connects the outputs counts, more, the component has {expected}; connect exactly these, by their names"
        );
        assert_eq!((failure.message(), failure.exit.code()), (message, 2));
    }
}

#[test]
fn a_component_that_is_not_there_or_no_component_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.wasm");
    let file = parse(Text { file: "job.toml", content: JOB }, folder.path()).unwrap();
    let missing = deploy(&file, None).unwrap_err();
    let begin = format!("job.toml:6:1: stage \"split\": component: can't read the component {}: No such file or directory", path.display());
    assert!(missing.message().starts_with(&begin), "{}", missing.message());
    std::fs::write(&path, "no component").unwrap();
    let refused = deploy(&file, None).unwrap_err();
    let begin =
        format!("job.toml:6:1: stage \"split\": component: the component {} is refused: the file is not WebAssembly", path.display());
    assert!(refused.message().starts_with(&begin), "{}", refused.message());
    assert_eq!((missing.exit.code(), refused.exit.code()), (2, 2));
}

#[test]
fn the_engine_has_room_for_every_task_that_there_can_be() {
    assert_eq!(instances_max(&job_file()), 256 + 4 + INSTANCES_SPARE);
}

#[test]
fn the_engine_has_room_for_the_readers_of_dead_letters() {
    let dead = "on-error = \"dead-letter\"\ndead-letter = \"stream://dead\"\n\n[[stage]]\nname = \"dead\"\ncomponent = \"identity.wasm\"\n\
                inputs = { in = { from = \"stream://dead\" } }\n";
    let content = format!("{JOB}{dead}");
    let file = parse(Text { file: "job.toml", content: &content }, Path::new("/home/me")).unwrap();
    assert_eq!(instances_max(&file), 256 + 4 + 8 + INSTANCES_SPARE);
}

#[test]
fn what_stages_do_wrong_together_is_said_at_the_stage() {
    let file = job_file();
    let not_written = InvalidJob::NotWritten { stage: "count".to_owned(), stream: "w".to_owned(), written: "words".to_owned() };
    assert!(
        misplaced(&file, &not_written).message().starts_with("job.toml:11:1: stage \"count\": name: stage \"count\" reads stream \"w\"")
    );
    assert!(
        misplaced(&file, &InvalidJob::WrittenTwice("words".to_owned())).message().starts_with("job.toml: stream \"words\" is written by")
    );
}
