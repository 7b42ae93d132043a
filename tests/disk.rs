//! A full disk: an error that says so, and nothing lost once there is space again.

use crate::harness::lab::Lab;
use crate::harness::{corpus, jobs, output, seed};

fn lab(test: &str) -> (Lab, Vec<u8>) {
    let mut random = seed::random(test);
    let lab = Lab::with_job(&jobs::word_count("50 ms"));
    // Many distinct words, so that state is worth something.
    let text = corpus::plain(&mut random, 6_000_000, 400_000);
    lab.write("in/a.txt", &text);
    (lab, text)
}

#[test]
fn a_file_that_may_not_grow_stops_the_job_and_loses_nothing() {
    let (lab, text) = lab("a_file_that_may_not_grow_stops_the_job_and_loses_nothing");
    limited(&lab, &text);
}

/// Runs the job with files that may not grow, then without.
fn limited(lab: &Lab, text: &[u8]) {
    // Every file of the process may have so many blocks of 512 bytes; a write beyond fails, as on a full disk.
    for blocks in [1, 16, 300] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$GREGOR\" run job.toml --data data");
        let ended = lab.shell(&script);
        println!("{blocks} blocks: exit {:?} after {:?}", ended.code, ended.elapsed);
        assert!(matches!(ended.code, Some(1 | 2)), "{blocks} blocks: exit {:?}, signal {:?}:\n{}", ended.code, ended.signal, ended.stderr);
        ended.says("large");
    }
    lab.run(&[]).code(0);
    output::complete(&lab.path("out"));
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text]));
}

#[test]
fn a_full_disk_stops_the_job_and_loses_nothing() {
    let (lab, text) = lab("a_full_disk_stops_the_job_and_loses_nothing");
    // A small disk in a name space of its own; then a large one with the same files. Where the machine forbids that (exit 99), a limit on
    // files takes its place.
    let ended = lab.shell(
        "mkdir -p data; exec unshare --user --map-root-user --mount sh -c '
            mount -t tmpfs -o size=3m tmpfs data || exit 99
            \"$GREGOR\" run job.toml --data data
            echo first=$?
            mount -o remount,size=2g tmpfs data || exit 99
            exec \"$GREGOR\" run job.toml --data data' || exit 99",
    );
    if ended.code == Some(99) || ended.stderr.contains("unshare") {
        println!("this machine forbids a disk of one's own: {}", ended.stderr);
        return limited(&lab, &text);
    }
    println!("full at: {:?}; {:?}", ended.stdout, ended.line("resumed"));
    assert!(ended.stdout.contains("first=1"), "on the full disk: {:?}\n{}", ended.stdout, ended.stderr);
    ended.code(0).says("space");
    output::complete(&lab.path("out"));
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
}

#[test]
fn a_full_disk_for_the_output_stops_the_job_and_loses_nothing() {
    let mut random = seed::random("a_full_disk_for_the_output_stops_the_job_and_loses_nothing");
    let lab = Lab::with_job(&jobs::lines("rust/identity", "checkpoint = { interval = \"30 ms\" }"));
    let text = corpus::plain(&mut random, 8_000_000, 400_000);
    lab.write("in/a.txt", &text);
    for blocks in [1, 64] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$GREGOR\" run job.toml --data data");
        let ended = lab.shell(&script);
        assert!(matches!(ended.code, Some(1 | 2)), "{blocks} blocks: exit {:?}, signal {:?}:\n{}", ended.code, ended.signal, ended.stderr);
    }
    lab.run(&[]).code(0);
    output::complete(&lab.path("out"));
    let mut expected: Vec<&[u8]> = text[..text.len() - 1].split(|&byte| byte == b'\n').collect();
    expected.sort_unstable();
    assert!(output::records(&lab.path("out")) == expected, "the output differs from the input");
}
