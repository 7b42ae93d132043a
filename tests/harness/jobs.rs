//! Job files that several tests use. Refuses to be clever: each is a text, as a user writes it.

/// Counts words: files in `in` to `out`, a stream of four partitions between, with this interval. It is the job of the demo.
pub(crate) fn word_count(interval: &str) -> String {
    include_str!("../demo/job.toml").replace("{interval}", interval)
}

/// Follows a job's `[checkpoint]` table where the job has to be caught while it runs: with a checkpoint each of the sixteen tasks, at most, that read a
/// file of some MiB publishes 64 KiB, so there is a checkpoint for each MiB of text on any machine.
pub(crate) const STEP_BY_STEP: &str = "\n[limits]\nunpublished-bytes = \"64 KiB\"\n";

/// The same, with a third stage that writes each word to `out/words` as it comes, so that every checkpoint releases files; counts go to
/// `out/counts`.
pub(crate) fn word_count_and_words(interval: &str) -> String {
    word_count(interval).replace("to = \"out\"", "to = \"out/counts\"")
        + r#"
[[stage]]
name = "words"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://words" } }
outputs = { out = { to = "out/words", format = "tsv" } }
"#
}

/// A job of one stage in the short form: files in `in` through a component with ports `in` and `out` to `out`, as lines.
pub(crate) fn lines(component: &str, more: &str) -> String {
    format!(
        r#"name = "lines"
component = "{{plugins}}/{component}.wasm"
inputs = {{ in = {{ from = "in", format = "lines" }} }}
outputs = {{ out = {{ to = "out", format = "lines" }} }}
{more}
"#
    )
}

/// A job of one task that is slow enough to be watched, half a second for each 280,000 records: it puts and gets a key for each record of the
/// files that [`keys`] makes, and writes `out`. `checkpoint` are the keys of that table.
pub(crate) fn slow(checkpoint: &str) -> String {
    format!(
        r#"name = "slow"
component = "{{plugins}}/hostile/hostile.wasm"
inputs = {{ in = {{ from = "in", format = "tsv" }} }}
outputs = {{ out = {{ to = "out", format = "tsv" }} }}
config = {{ mode = "put-get" }}
checkpoint = {{ {checkpoint} }}
"#
    )
}

/// So many short records, each with a key; up to 500,000 of them are one partition.
pub(crate) fn keys(records: usize) -> String {
    (0..records).map(|at| format!("{}\t\n", at % 97)).collect()
}

/// Passes the records of [`super::sequences`] on by key, counts each key and writes each record, with short chains and little room: all goes through
/// one task, of which a checkpoint publishes 64 KiB, so that a job has a checkpoint for each 64 KiB of its input at least, on any machine.
pub(crate) const SEQUENCES: &str = r#"name = "sequences"

[[stage]]
name = "pass"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "in", format = "tsv" } }
outputs = { out = { to = "stream://all", partitions = 1 } }

[[stage]]
name = "gate"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://all" } }
outputs = { out = { to = "stream://records", partitions = 4 } }

[[stage]]
name = "count"
component = "{plugins}/rust/count.wasm"
inputs = { words = { from = "stream://records" } }
outputs = { counts = { to = "out/counts", format = "tsv" } }

[[stage]]
name = "copy"
component = "{plugins}/rust/identity.wasm"
inputs = { in = { from = "stream://records" } }
outputs = { out = { to = "out/records", format = "tsv" } }

[checkpoint]
location = "archive"
interval = "20 ms"
threshold = 0.01
keep = 3
collect-grace = "2 s"

[limits]
unpublished-bytes = "64 KiB"
"#;
