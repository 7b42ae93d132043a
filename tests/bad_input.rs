//! Bad input that is more than a folder of files: data in use or of a newer version, links that lead away, commands that are none. One clear
//! error each, and nothing lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::lab::{Lab, remove};
use crate::harness::{clock, corpus, jobs, output, seed};

fn small() -> Lab {
    let lab = Lab::with_job(&jobs::lines("rust/identity", ""));
    lab.write("in/a.txt", "one\ntwo\n");
    lab
}

#[test]
fn two_processes_on_one_data_folder_are_an_error() {
    let mut random = seed::random("two_processes_on_one_data_folder_are_an_error");
    let lab = Lab::with_job(&jobs::word_count("20 ms"));
    let text = corpus::plain(&mut random, 30_000_000, 10_000);
    lab.write("in/a.txt", &text);
    let mut first = lab.start(&[]);
    clock::wait("the first process to confirm a checkpoint", || {
        assert!(!first.is_over(), "the first process is over:\n{}", first.stderr());
        first.confirmed()
    });
    let second = lab.run(&[]);
    assert!(!first.is_over(), "the first process was over before the second tried");
    second.code(2).says("data").says("in use");
    // Reading needs no lock.
    lab.gregor(&["checkpoint", "list", "job.toml", "--data", "data"]).code(0);
    first.end().code(0);
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
}

#[test]
fn data_of_a_newer_version_is_refused_untouched() {
    let lab = small();
    lab.run(&[]).code(0);
    let version = lab.path("data/version");
    let before = fs::read_to_string(&version).unwrap();
    assert!(before.starts_with("gregor data 1 "), "the version file holds {before:?}");
    for newer in [before.replace("data 1 ", "data 2 "), before.replace("host", "most"), "99\n".to_owned(), String::new()] {
        fs::write(&version, &newer).unwrap();
        lab.run(&[]).code(3).says("version");
        assert_eq!(fs::read_to_string(&version).unwrap(), newer, "it was touched");
    }
    fs::write(&version, before).unwrap();
    lab.run(&[]).code(0);
}

#[test]
fn a_data_folder_that_is_a_file_is_refused() {
    let lab = small();
    lab.write("data", "a file");
    lab.run(&[]).code(2).says("data");
    assert_eq!(fs::read_to_string(lab.path("data")).unwrap(), "a file");
}

#[test]
fn a_folder_that_holds_something_else_does_not_become_data() {
    let lab = small();
    lab.write("data/photos/holiday.txt", "precious");
    let ended = lab.run(&[]);
    assert!(matches!(ended.code, Some(0 | 2)), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(lab.path("data/photos/holiday.txt")).unwrap(), "precious");
}

#[test]
fn a_link_that_leads_out_of_the_folder_is_not_followed() {
    let lab = small();
    lab.write("secret.txt", "secret\n");
    symlink("../secret.txt", lab.path("in/link.txt")).unwrap();
    let ended = lab.run(&[]);
    assert!(ended.code != Some(0) || !ended.stderr.is_empty(), "nobody is told");
    let records = output::records(&lab.path("out"));
    assert!(!records.contains(&b"secret".to_vec()), "the link was followed out of the folder");
}

#[test]
fn a_link_inside_the_folder_is_a_file_of_its_own() {
    let lab = small();
    symlink("a.txt", lab.path("in/link.txt")).unwrap();
    lab.run(&[]).code(0);
    let expected: [&[u8]; 4] = [b"one", b"one", b"two", b"two"];
    assert_eq!(output::records(&lab.path("out")), expected);
}

#[test]
fn an_output_folder_keeps_what_it_holds_when_it_is_refused() {
    let lab = small();
    lab.write("out/part-lines-0-1", "somebody's\n");
    lab.run(&[]).code(2).says("out");
    assert_eq!(fs::read_to_string(lab.path("out/part-lines-0-1")).unwrap(), "somebody's\n");
    // Once it is out of the way, the job runs.
    fs::remove_file(lab.path("out/part-lines-0-1")).unwrap();
    lab.run(&[]).code(0);
    output::complete(&lab.path("out"));
}

#[test]
fn the_output_of_another_job_is_refused() {
    let lab = small();
    lab.run(&[]).code(0);
    let before = output::files(&lab.path("out"));
    // The same job on other data is another job.
    let other = lab.gregor(&["run", "job.toml", "--data", "other"]);
    other.code(2).says("out");
    lab.edit_job("name = \"lines\"", "name = \"other\"");
    lab.run(&[]).code(2).says("out");
    assert_eq!(output::files(&lab.path("out")), before);
}

/// All that lies below a folder, with what it holds.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                found.insert(path.clone(), fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
            } else if path.is_dir() {
                found.insert(path.join(""), Vec::new());
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn an_output_folder_is_looked_at_before_the_job_begins() {
    let lab = small();
    // A job has run here: its data folder is in use, and stays as it is.
    lab.run(&[]).code(0);
    lab.write("full/photo", "precious");
    lab.write("file", "a file");
    symlink("nowhere", lab.path("astray")).unwrap();
    symlink("full", lab.path("link")).unwrap();
    remove(&lab.path("log"));
    let before = tree(&lab.path("."));
    for (folder, reason) in [
        ("out", "holds the output of job"),
        ("full", "not empty"),
        ("link", "not empty"),
        ("file", "is a file"),
        ("file/below/it", "is a file"),
        ("astray", "can't be made there"),
    ] {
        lab.edit_job("name = \"lines\"", "name = \"other\"");
        lab.edit_job("to = \"out\"", &format!("to = \"{folder}\""));
        lab.run(&[]).code(2).says(folder).says(reason);
        lab.edit_job(&format!("to = \"{folder}\""), "to = \"out\"");
        lab.edit_job("name = \"other\"", "name = \"lines\"");
        remove(&lab.path("log"));
        let after = tree(&lab.path("."));
        let changed: Vec<&PathBuf> = after.keys().chain(before.keys()).filter(|&path| after.get(path) != before.get(path)).collect();
        assert!(changed.is_empty(), "{folder}: {changed:?}");
    }
}

#[test]
fn output_folders_in_each_others_way_are_refused_before_the_job_begins() {
    let lab = Lab::with_job(&jobs::word_count_and_words("1 s"));
    lab.write("in/a.txt", "a b a");
    fs::create_dir(lab.path("there")).unwrap();
    symlink("there", lab.path("link")).unwrap();
    for (counts, words, reason) in [
        ("there", "there/../there", "two ways"),
        ("there", "link", "two ways"),
        ("new/out", "new/x/../out", "two ways"),
        ("out", "out/words", "lies in"),
        ("in", "out", "reads"),
        ("out", "in/words", "reads"),
    ] {
        let job = jobs::word_count_and_words("1 s").replace("out/counts", counts).replace("out/words", words);
        lab.job(&job);
        lab.run(&[]).code(2).says("output \"").says(reason);
        assert!(!lab.path("out").exists() && !lab.path("new").exists(), "a folder was made");
        assert_eq!(fs::read_dir(lab.path("there")).unwrap().count(), 0);
        assert!(!lab.path("data/coordination/default/wordcount").exists(), "the job has begun");
    }
    // Written the same way, a folder may be shared.
    lab.job(&jobs::word_count_and_words("1 s").replace("out/counts", "there").replace("out/words", "there"));
    lab.run(&[]).code(0);
    output::complete(&lab.path("there"));
    assert!(lab.path("data/coordination/default/wordcount").exists(), "it was looked for in the wrong place");
}

#[test]
fn a_compressed_file_without_a_byte_is_refused_before_the_job_begins() {
    let lab = small();
    lab.write("in/b.txt.gz", []);
    lab.run(&[]).code(2).says("b.txt.gz").says("it has no byte");
    assert!(!lab.path("out").exists());
    fs::remove_file(lab.path("in/b.txt.gz")).unwrap();
    lab.run(&[]).code(0);
}

#[test]
fn commands_that_are_none_are_explained() {
    let lab = small();
    for (arguments, fragment) in [
        (&["inspct", "job.toml"] as &[&str], "inspect"),
        (&["run"], "JOB"),
        (&["run", "nowhere.toml"], "nowhere.toml"),
        (&["run", "job.toml", "--dat", "x"], "--data"),
        (&["run", "job.toml", "--coordinator", "etcd://x"], "local"),
        (&["inspect", "nowhere.wasm"], "nowhere.wasm"),
        (&["inspect", "job.toml"], "job.toml"),
        (&["checkpoint", "show", "job.toml", "7", "--data", "nowhere"], ""),
        (&["checkpoint", "list", "job.toml", "--data", "nowhere", "--output", "xml"], "json"),
    ] {
        lab.gregor(arguments).code(2).says(fragment);
    }
}

#[test]
fn a_signal_before_anything_was_confirmed_loses_nothing() {
    let lab = small();
    let host = lab.start(&[]);
    host.signal(Signal::TERM);
    let ended = host.end();
    assert!(ended.signal == Some(15) || matches!(ended.code, Some(0 | 143)), "{:?} {}", ended.code, ended.stderr);
    lab.run(&[]).code(0);
    let expected: [&[u8]; 2] = [b"one", b"two"];
    assert_eq!(output::records(&lab.path("out")), expected);
}
