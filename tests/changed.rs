//! A job that goes on is the job that began: what may change between two runs on the same data, what may not, and inputs that change under
//! the job. Nothing that is refused may cost a record.

use std::fs::{self, File};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::lab::Lab;
use crate::harness::{clock, corpus, jobs, output, seed};

/// A job that was stopped half-way, and its input.
struct Stopped {
    lab: Lab,
    text: Vec<u8>,
}

impl Stopped {
    fn new(test: &str) -> Self {
        let mut random = seed::random(test);
        let lab =
            Lab::with_job(&(jobs::word_count("20 ms") + "keep = 3\n\n[limits]\nmemory = \"64 MiB\"\nunpublished-bytes = \"64 KiB\"\n"));
        let text = corpus::plain(&mut random, 20_000_000, 3_000);
        lab.write("in/a.txt", &text);
        lab.write("in/b.txt", "some more\n");
        let mut host = lab.start(&[]);
        clock::wait("a checkpoint", || {
            assert!(!host.is_over(), "the job was over before it could be stopped:\n{}", host.stderr());
            host.confirmed()
        });
        host.signal(Signal::TERM);
        host.end().calm().code(143);
        Self { lab, text }
    }

    /// Runs the job as it was to its end, and checks that nothing was lost.
    #[track_caller]
    fn ends_well(&self) {
        self.lab.run(&[]).code(0);
        output::complete(&self.lab.path("out"));
        corpus::same(&output::counts(&self.lab.path("out")), &corpus::count([self.text.as_slice(), b"some more\n"]));
    }
}

#[test]
fn a_job_that_changed_since_its_last_checkpoint_is_refused() {
    let stopped = Stopped::new("a_job_that_changed_since_its_last_checkpoint_is_refused");
    let lab = &stopped.lab;
    let before = lab.job_text();
    let changes = [
        ("name = \"split\"", "name = \"cut\"", "stage"),
        ("rust/count.wasm\"", "rust/count.wasm\"\nconfig = { emit = \"at-end\" }", "config"),
        ("partitions = 4", "partitions = 5", "outputs"),
        ("from = \"in\"", "from = \"in/*.txt\"", "inputs"),
        ("format = \"lines\"", "format = \"tsv\"", "inputs"),
        ("to = \"out\"", "to = \"elsewhere\"", "outputs"),
        ("format = \"tsv\" } }\n\n[checkpoint]", "format = \"lines\" } }\n\n[checkpoint]", "outputs"),
        ("stream://words", "stream://other", "stream"),
        ("[checkpoint]", "[checkpoint]\nlocation = \"elsewhere\"", "location"),
    ];
    for (from, to, named) in changes {
        lab.edit_job(from, to);
        let ended = lab.run(&[]);
        assert_eq!(ended.code, Some(2), "{from:?} became {to:?}:\n{}", ended.stderr);
        ended.says(named);
        assert!(!lab.path("elsewhere").exists(), "{to:?}: something was written");
        lab.write("job.toml", &before);
    }
    stopped.ends_well();
}

#[test]
fn another_component_of_the_same_ports_is_refused() {
    let stopped = Stopped::new("another_component_of_the_same_ports_is_refused");
    let (lab, plugins) = (&stopped.lab, crate::harness::plugins());
    // The same component with a section that says nothing has another digest.
    let mut altered = fs::read(plugins.join("rust/count.wasm")).unwrap();
    altered.extend_from_slice(&[0, 2, 1, b'x']);
    lab.write("count.wasm", altered);
    let before = lab.job_text();
    lab.edit_job(plugins.join("rust/count.wasm").to_str().unwrap(), "count.wasm");
    lab.run(&[]).code(2).says("count").says("component");
    // So has one with other stores.
    lab.write("job.toml", &before);
    lab.edit_job("rust/count.wasm", "rust/identity.wasm");
    lab.edit_job("words = { from", "in = { from");
    lab.edit_job("counts = {", "out = {");
    lab.run(&[]).code(2).says("count").says("component");
    lab.write("job.toml", before);
    stopped.ends_well();
}

#[test]
fn settings_of_checkpoints_limits_and_policies_may_change() {
    let stopped = Stopped::new("settings_of_checkpoints_limits_and_policies_may_change");
    let lab = &stopped.lab;
    lab.edit_job("interval = \"20 ms\"", "interval = \"70 ms\"\nthreshold = 0.7");
    lab.edit_job("keep = 3", "keep = 5");
    lab.edit_job("64 MiB", "96 MiB");
    lab.edit_job("rust/count.wasm\"", "rust/count.wasm\"\non-error = \"skip\"\nretries = 7");
    stopped.ends_well();
}

#[test]
fn an_input_that_changed_or_vanished_is_named() {
    let stopped = Stopped::new("an_input_that_changed_or_vanished_is_named");
    let lab = &stopped.lab;
    let (a, b) = (lab.path("in/a.txt"), lab.path("in/b.txt"));
    let modified = fs::metadata(&a).unwrap().modified().unwrap();
    let restore = || {
        fs::write(&a, &stopped.text).unwrap();
        File::options().write(true).open(&a).unwrap().set_modified(modified).unwrap();
    };
    type Deed<'a> = &'a dyn Fn();
    let deeds: [(&str, Deed<'_>, &str); 5] = [
        ("it grew", &|| fs::write(&a, [&stopped.text[..], b"more\n"].concat()).unwrap(), "a.txt"),
        ("it shrank", &|| fs::write(&a, &stopped.text[..1_000]).unwrap(), "a.txt"),
        ("it was touched", &|| set_modified(&a, modified + Duration::from_secs(1)), "a.txt"),
        ("it vanished", &|| fs::remove_file(&a).unwrap(), "a.txt"),
        ("it became a folder", &|| (fs::remove_file(&a).unwrap(), fs::create_dir(&a).unwrap()).0, "a.txt"),
    ];
    for (deed, act, named) in deeds {
        act();
        let ended = lab.run(&[]);
        assert_eq!(ended.code, Some(2), "{deed}:\n{}", ended.stderr);
        ended.says(named);
        crate::harness::lab::remove(&a);
        restore();
    }
    // A new file that the glob matches is left out, with a warning.
    lab.write("in/c.txt", "latecomers\n");
    let ended = lab.start(&[]).end().calm().code(0);
    assert!(ended.stderr.contains("c.txt"), "nobody is warned of the new file:\n{}", ended.stderr);
    assert!(b.is_file());
    stopped.ends_well();
}

fn set_modified(path: &std::path::Path, time: std::time::SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_input_that_changes_while_it_is_read_stops_the_job() {
    let mut random = seed::random("an_input_that_changes_while_it_is_read_stops_the_job");
    let lab = Lab::with_job(&(jobs::word_count("20 ms") + jobs::STEP_BY_STEP));
    let text = corpus::plain(&mut random, 40_000_000, 3_000);
    lab.write("in/a.txt", &text);
    let mut host = lab.start(&[]);
    clock::wait("a checkpoint", || {
        assert!(!host.is_over(), "the job was over before its input could change:\n{}", host.stderr());
        host.confirmed()
    });
    let file = lab.path("in/a.txt");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let append = |bytes: &[u8]| std::io::Write::write_all(&mut File::options().append(true).open(&file).unwrap(), bytes).unwrap();
    append(b"latecomers\n");
    let ended = host.end().calm();
    assert!(matches!(ended.code, Some(1 | 2)), "exit {:?}:\n{}", ended.code, ended.stderr);
    ended.says("a.txt");
    // As it was, the job goes on, and nothing of what was appended was counted.
    File::options().write(true).open(&file).unwrap().set_len(u64::try_from(text.len()).unwrap()).unwrap();
    set_modified(&file, modified);
    lab.run(&[]).code(0);
    corpus::same(&output::counts(&lab.path("out")), &corpus::count([text.as_slice()]));
}
