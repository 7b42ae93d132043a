//! Job files that are right, and what is read from them.

mod fuzz;
mod mistakes;

use super::*;
use gregor_model::job::{Format, OnError, Sink, Source};
use gregor_model::limits::MIB;
use std::time::Duration;

const WORDCOUNT: &str = r#"
name = "wordcount"

[[stage]]
name = "split"
component = "split.wasm"
inputs  = { lines = { from = "file:///books/*.txt", format = "lines" } }
outputs = { words = { to = "stream://words", partitions = 4 } }

[[stage]]
name = "count"
component = "/plugins/count.wasm"
inputs  = { words = { from = "stream://words" } }
outputs = { counts = { to = "out", format = "tsv" } }
config  = { emit = "at-end", most = 1_000, share = 0.50, strict = true, since = 2026-11-22 }
on-error = "skip"
retries = 3

[checkpoint]
location = "../checkpoints"
interval = "5 minutes"
threshold = 0.25
keep = 7
guarantee = "exactly-once"
base-interval = "2 h"
grace = "2 s"
deadline = "1 minute"
outage-limit = "70 s"
stop-timeout = "500 ms"
base-rate = "10 GiB"
collect-grace = "0 s"
collect-rate = 1000

[state]
backend = "rocksdb"

[limits]
memory = "128 MiB"
call-time = "2 s"
record = "64 KiB"
emit-records = 10
emit-bytes = "1 MiB"
dirty-bytes = "2 MiB"
unpublished-bytes = "3 MiB"
"#;

fn parsed(content: &str) -> Result<JobFile, String> {
    parse(Text { file: "job.toml", content }, Path::new("/home/me")).map_err(|error| error.to_string())
}

#[test]
fn every_key_of_a_job_file_is_read() {
    let job = parsed(WORDCOUNT).unwrap();
    assert_eq!((job.name.as_str(), job.stages.len()), ("wordcount", 2));
    let [split, count] = job.stages.as_slice() else { panic!("two stages") };
    assert_eq!(split.component.value, Path::new("/home/me/split.wasm"));
    assert_eq!(split.component.place.to_string(), "6:1");
    assert_eq!(split.inputs.place.to_string(), "7:1");
    let lines = Source::File { folder: "/books".to_owned(), pattern: "*.txt".to_owned(), format: Format::Lines };
    assert_eq!(split.inputs.value.iter().map(|(port, source)| (port.value.as_str(), source)).collect::<Vec<_>>(), [("lines", &lines)]);
    assert!(matches!(&split.outputs.value[0].1, Sink::Stream { name, partitions: 4 } if name.as_str() == "words"));
    assert_eq!((&split.on_error, split.retries, split.config.len()), (&OnError::Stop, 1, 0));
    assert_eq!(count.component.value, Path::new("/plugins/count.wasm"));
    assert_eq!(count.outputs.value[0].1, Sink::File { folder: "/home/me/out".to_owned(), format: Format::Tsv });
    assert_eq!((&count.on_error, count.retries), (&OnError::Skip, 3));
    let config: Vec<_> = count.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(config, ["emit=at-end", "most=1_000", "share=0.50", "since=2026-11-22", "strict=true"]);
    let checkpoint = CheckpointSettings {
        location: Some("/home/checkpoints".to_owned()),
        interval: Duration::from_secs(300),
        threshold_permille: 250,
        base_interval: Duration::from_secs(7200),
        base_rate_bytes: 10 * 1024 * MIB,
        keep: 7,
        collect_grace: Duration::ZERO,
        collect_rate: 1000,
        grace: Duration::from_secs(2),
        deadline: Duration::from_secs(60),
        outage_limit: Duration::from_secs(70),
        stop_timeout: Duration::from_millis(500),
    };
    assert_eq!(job.checkpoint, checkpoint);
    let limits = Limits {
        memory_bytes: 128 * MIB,
        call_time: Duration::from_secs(2),
        record_bytes: 64 * 1024,
        emit_records: 10,
        emit_bytes: MIB,
        dirty_bytes: 2 * MIB,
        unpublished_bytes: 3 * MIB,
    };
    assert_eq!(job.limits, limits);
}

const SHORT: &str = r#"
name = "pass-on"
component = "identity.wasm"
inputs = { in = { from = "in.txt", format = "lines" } }
outputs = { out = { to = "out", format = "lines" } }
"#;

#[test]
fn a_job_of_one_stage_stands_at_the_top_level_and_its_stage_is_called_after_it() {
    let job = parsed(SHORT).unwrap();
    let [stage] = job.stages.as_slice() else { panic!("one stage") };
    assert_eq!(stage.name.value.as_str(), "pass_on");
    let source = Source::File { folder: "/home/me".to_owned(), pattern: "in.txt".to_owned(), format: Format::Lines };
    assert_eq!(stage.inputs.value[0].1, source);
}

#[test]
fn what_a_job_file_leaves_out_is_the_models_default() {
    let job = parsed(SHORT).unwrap();
    assert_eq!((&job.checkpoint, &job.limits), (&CheckpointSettings::default(), &Limits::default()));
    let job = parsed(&format!("{SHORT}[checkpoint]\n[limits]\n")).unwrap();
    assert_eq!((job.checkpoint, job.limits), (CheckpointSettings::default(), Limits::default()));
}

#[test]
fn tables_may_be_written_in_any_of_tomls_ways() {
    let long = r#"
name = "j"
[[stage]]
name = "a"
component = "a.wasm"
outputs.out.to = "stream://s"
[stage.inputs.in]
from = "in.txt"
format = "lines"
"#;
    let [stage] = parsed(long).unwrap().stages.try_into().unwrap();
    assert!(matches!(&stage.outputs.value[0].1, Sink::Stream { partitions: 8, .. }), "{stage:?}");
}

#[test]
fn the_reference_shows_every_setting_as_it_is() {
    let reference = include_str!("../../job-file.md");
    for row in keys::rows() {
        assert!(reference.contains(&row), "host/server/job-file.md lacks this row:\n{row}");
    }
    let tables = [&keys::ROOT[..], &keys::STAGE, &keys::INPUT, &keys::OUTPUT, &keys::CHECKPOINT, &keys::STATE, &keys::LIMITS];
    for key in tables.concat() {
        assert!(reference.contains(&format!("{key}`")), "host/server/job-file.md lacks `{key}`");
    }
}

#[test]
fn a_job_file_is_read_from_its_folder_and_a_folder_given_as_input_means_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    std::fs::create_dir(folder.path().join("in.txt")).unwrap();
    std::fs::write(&path, SHORT).unwrap();
    let job = read(&path).unwrap();
    let inside = folder.path().canonicalize().unwrap().join("in.txt").display().to_string();
    assert!(
        matches!(&job.stages[0].inputs.value[0].1, Source::File { folder, pattern, .. } if *folder == inside && pattern == "**"),
        "{job:?}"
    );
    std::fs::write(&path, b"name = \"j\"\n# \xff").unwrap();
    assert!(read(&path).unwrap_err().to_string().ends_with("job.toml:2: is not UTF-8; job files are TOML, save it as UTF-8"));
    std::fs::write(&path, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    assert!(read(&path).unwrap_err().to_string().ends_with("job.toml is longer than 1 MiB: it is no job file"));
    assert!(read(&folder.path().join("none.toml")).unwrap_err().to_string().starts_with("can't read job file"));
}
