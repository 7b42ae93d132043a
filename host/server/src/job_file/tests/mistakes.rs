//! What is said about job files that are wrong, word for word: a new mistake is one line.

use super::{SHORT, WORDCOUNT, parsed};

/// Checks what is said about a job file.
fn check(content: &str, expected: &str) {
    assert_eq!(parsed(content).map(|job| format!("{job:?}")), Err(expected.to_owned()), "\n{content}");
}

/// Checks what is said when a line of the word count is another one.
fn check_line(line: &str, replacement: &str, expected: &str) {
    assert!(WORDCOUNT.contains(line), "{line:?} is no line of the word count");
    check(&WORDCOUNT.replacen(line, replacement, 1), expected);
}

#[test]
fn an_unknown_key_is_named_with_its_neighbour() {
    check_line("name = \"wordcount\"", "nmae = \"wordcount\"", "job.toml:2:1: nmae: unknown key; did you mean \"name\"?");
    check_line("[limits]", "[limit]", "job.toml:37:2: limit: unknown key; did you mean \"limits\"?");
    check_line("interval = ", "intervall = ", "job.toml:21:1: checkpoint.intervall: unknown key; did you mean \"interval\"?");
    check_line("stop-timeout", "stop_timeout", "job.toml:29:1: checkpoint.stop_timeout: unknown key; did you mean \"stop-timeout\"?");
    check_line(
        "memory = ",
        "colour = ",
        "job.toml:38:1: limits.colour: unknown key; the keys here are: memory, call-time, record, emit-records, emit-bytes, dirty-bytes, unpublished-bytes",
    );
    check_line("inputs  = { lines", "input  = { lines", "job.toml:7:1: stage \"split\": input: unknown key; did you mean \"inputs\"?");
    check_line(
        "format = \"lines\"",
        "fromat = \"lines\"",
        "job.toml:7:53: stage \"split\": inputs.lines.fromat: unknown key; did you mean \"format\"?",
    );
    check_line(
        "partitions = 4",
        "partition = 4",
        "job.toml:8:46: stage \"split\": outputs.words.partition: unknown key; did you mean \"partitions\"?",
    );
    check_line("backend", "bakend", "job.toml:35:1: state.bakend: unknown key; did you mean \"backend\"?");
}

#[test]
fn a_value_of_another_kind_is_named_with_what_was_expected() {
    let remedy = "write a number with its unit in quotes, such as \"10 s\" or \"5 minutes\"";
    check_line(
        "interval = \"5 minutes\"",
        "interval = 300",
        &format!("job.toml:21:12: checkpoint.interval: found 300, expected a duration from \"1 ms\" to \"24 h\"; {remedy}"),
    );
    check_line(
        "interval = \"5 minutes\"",
        "interval = \"soon\"",
        &format!("job.toml:21:12: checkpoint.interval: found \"soon\", expected a duration from \"1 ms\" to \"24 h\"; {remedy}"),
    );
    check_line(
        "\"128 MiB\"",
        "\"128 MB\"",
        "job.toml:38:10: limits.memory: found \"128 MB\", expected a size from \"64 KiB\" to \"4 GiB\"; write a number with KiB, MiB or GiB in quotes, such as \"64 MiB\"",
    );
    check_line(
        "keep = 7",
        "keep = \"7\"",
        "job.toml:23:8: checkpoint.keep: found \"7\", expected a whole number from 1 to 1000; write it without quotes, such as 3",
    );
    check_line(
        "threshold = 0.25",
        "threshold = \"half\"",
        "job.toml:22:13: checkpoint.threshold: found \"half\", expected a number from 0.01 to 100; write it without quotes and with at most three decimals, such as 0.5",
    );
    check_line(
        "{ words = { from = \"stream://words\" } }",
        "\"words\"",
        "job.toml:13:11: stage \"count\": inputs: found \"words\", expected a table with an entry for each input port; write, for example, inputs = { lines = { from = \"books/*.txt\", format = \"lines\" } }",
    );
    check_line(
        "{ from = \"stream://words\" }",
        "[1]",
        "job.toml:13:21: stage \"count\": inputs.words: found an array, expected a table with from; write, for example, from = \"books/*.txt\"",
    );
    check_line(
        "emit = \"at-end\"",
        "emit = [1, 2]",
        "job.toml:15:20: stage \"count\": config.emit: found an array, expected a text, number, boolean or date; write lists and tables as a text that the task itself takes apart",
    );
    check_line(
        "component = \"split.wasm\"",
        "component = 7",
        "job.toml:6:13: stage \"split\": component: found 7, expected the path of a component, relative to the job file; write it in quotes, such as \"count.wasm\"",
    );
    check(
        "name = \"j\"\nstage = 3\n",
        "job.toml:2:9: stage: found 3, expected [[stage]] tables; write [[stage]] above the keys of each stage",
    );
    check(
        "name = \"j\"\nstage = []\n",
        "job.toml:2:9: stage: found an array, expected 1 to 1000 stages; write [[stage]] above the keys of each stage",
    );
    check(&format!("limits = 7{SHORT}"), "job.toml:1:10: limits: found 7, expected a table; write [limits] above its keys");
}

#[test]
fn a_value_outside_its_range_is_named_with_both_ends() {
    check_line(
        "keep = 7",
        "keep = 0",
        "job.toml:23:8: checkpoint.keep: found 0, expected a whole number from 1 to 1000; choose one in this range",
    );
    check_line(
        "partitions = 4",
        "partitions = 1025",
        "job.toml:8:59: stage \"split\": outputs.words.partitions: found 1025, expected a whole number from 1 to 1024; choose one in this range",
    );
    check_line(
        "\"128 MiB\"",
        "\"8 GiB\"",
        "job.toml:38:10: limits.memory: found \"8 GiB\", expected a size from \"64 KiB\" to \"4 GiB\"; choose one in this range",
    );
    check_line(
        "call-time = \"2 s\"",
        "call-time = \"2 h\"",
        "job.toml:39:13: limits.call-time: found \"2 h\", expected a duration from \"1 ms\" to \"1 h\"; choose one in this range",
    );
    check_line(
        "retries = 3",
        "retries = 101",
        "job.toml:17:11: stage \"count\": retries: found 101, expected a whole number from 0 to 100; choose one in this range",
    );
    check_line(
        "record = \"64 KiB\"",
        "record = \"1 GiB\"",
        "job.toml:40:10: limits.record: found \"1 GiB\", expected a size from \"1 KiB\" to \"17 MiB\"; choose one in this range",
    );
}

#[test]
fn dead_letters_have_a_policy_and_a_stream_or_neither() {
    let (alone, skip) = ("on-error = \"dead-letter\"", "on-error = \"skip\"");
    check_line(
        skip,
        alone,
        "job.toml:16:12: stage \"count\": on-error: \"dead-letter\" needs a stream to put them on; write, for example, dead-letter = \"stream://refused\" below it",
    );
    check_line(
        "retries = 3",
        "dead-letter = \"stream://dead\"",
        "job.toml:17:1: stage \"count\": dead-letter: has no effect without on-error = \"dead-letter\"; write that as well, or leave dead-letter out",
    );
    let remedy = "expected stream:// and a name; write, for example, dead-letter = \"stream://refused\", and let another stage read it where files are wanted";
    check_line(
        skip,
        &format!("{alone}\ndead-letter = \"dead/\""),
        &format!("job.toml:17:15: stage \"count\": dead-letter: found \"dead/\", {remedy}"),
    );
    check_line(
        skip,
        &format!("{alone}\ndead-letter = \"kafka://h:1/t\""),
        "job.toml:17:15: stage \"count\": dead-letter: found \"kafka://h:1/t\", which is not built yet; built are: stream://…",
    );
    check_line(
        skip,
        &format!("{alone}\ndead-letter = \"stream://Dead\""),
        "job.toml:17:15: stage \"count\": dead-letter: found \"stream://Dead\", expected stream:// and 1 to 64 characters of a-z 0-9 _ -; choose such a name",
    );
}

#[test]
fn what_is_not_built_is_said_with_what_is() {
    let schemes = "which is not built yet; built are: paths, file:///…, stream://…";
    check_line(
        "file:///books",
        "hdfs://h:9000/books",
        &format!("job.toml:7:30: stage \"split\": inputs.lines.from: found \"hdfs://h:9000/books/*.txt\", {schemes}"),
    );
    check_line(
        "to = \"out\"",
        "to = \"kafka://h:1/t\"",
        &format!("job.toml:14:29: stage \"count\": outputs.counts.to: found \"kafka://h:1/t\", {schemes}"),
    );
    check_line(
        "\"exactly-once\"",
        "\"at-least-once\"",
        "job.toml:24:13: checkpoint.guarantee: found \"at-least-once\", which is not built yet; built are: \"exactly-once\"",
    );
    check_line(
        "\"split.wasm\"",
        "\"split@1.0\"",
        "job.toml:6:13: stage \"split\": component: found \"split@1.0\", which is not built yet; built are: paths of .wasm files",
    );
    check_line(
        "\"split.wasm\"",
        "\"sha256:abc\"",
        "job.toml:6:13: stage \"split\": component: found \"sha256:abc\", which is not built yet; built are: paths of .wasm files",
    );
    check_line(
        "\"../checkpoints\"",
        "\"s3://b/c\"",
        "job.toml:20:12: checkpoint.location: found \"s3://b/c\", which is not built yet; built are: paths, file:///…",
    );
}

#[test]
fn a_choice_that_nobody_knows_is_named_with_all_choices() {
    check_line(
        "\"lines\" }",
        "\"line\" }",
        "job.toml:7:62: stage \"split\": inputs.lines.format: found \"line\", expected one of \"lines\", \"tsv\", \"json-lines\", \"csv\", \"bytes\"; did you mean \"lines\"?",
    );
    check_line(
        "\"tsv\" }",
        "\"json-line\" }",
        "job.toml:14:45: stage \"count\": outputs.counts.format: found \"json-line\", expected one of \"lines\", \"tsv\", \"json-lines\", \"csv\", \"bytes\"; did you mean \"json-lines\"?",
    );
    check_line(
        "\"lines\" }",
        "true }",
        "job.toml:7:62: stage \"split\": inputs.lines.format: found true, expected one of \"lines\", \"tsv\", \"json-lines\", \"csv\", \"bytes\"; write one of them in quotes",
    );
    check_line(
        "\"rocksdb\"",
        "\"heap\"",
        "job.toml:35:11: state.backend: found \"heap\", expected one of \"rocksdb\"; write one of them in quotes",
    );
    check_line(
        "file:///books",
        "http://books",
        "job.toml:7:30: stage \"split\": inputs.lines.from: found \"http://books/*.txt\", expected a path, file:///… or stream://…; write, for example, from = \"books/*.txt\"",
    );
    check_line(
        "file:///books",
        "file:books",
        "job.toml:7:30: stage \"split\": inputs.lines.from: found \"file:books/*.txt\", expected an absolute file URL: file:/// and the path; write, for example, from = \"books/*.txt\"",
    );
    check_line(
        "/*.txt",
        "/*/../a.txt",
        "job.toml:7:30: stage \"split\": inputs.lines.from: found \"file:///books/*/../a.txt\", expected a glob without .. after its first wildcard; write, for example, from = \"books/*.txt\"",
    );
}

#[test]
fn names_are_checked() {
    check_line(
        "\"wordcount\"",
        "\"Word Count\"",
        "job.toml:2:8: name: found \"Word Count\", expected 1 to 64 characters of a-z 0-9 _ -; choose such a name, folders are called after it",
    );
    check_line(
        "name = \"split\"",
        "name = \"sp-lit\"",
        "job.toml:5:8: stage \"sp-lit\": name: found \"sp-lit\", expected 1 to 64 characters of a-z 0-9 _; choose such a name, output files are called after it",
    );
    check_line(
        "stream://words\", p",
        "stream://My Words\", p",
        "job.toml:8:28: stage \"split\": outputs.words.to: found \"stream://My Words\", expected stream:// and 1 to 64 characters of a-z 0-9 _ -; choose such a name",
    );
    check_line(
        "{ lines = {",
        "{ Lines = {",
        "job.toml:7:13: stage \"split\": inputs.Lines: found Lines, expected a port name, 1 to 64 characters of a-z 0-9 _; use the port's name that `gregor inspect` shows",
    );
}

#[test]
fn missing_keys_are_named_with_an_example() {
    check(
        "",
        "job.toml:1:1: name: is missing, expected 1 to 64 characters of a-z 0-9 _ -; choose such a name, folders are called after it",
    );
    check_line(
        "component = \"split.wasm\"\n",
        "",
        "job.toml:4:1: stage \"split\": component: is missing, expected the path of a component, relative to the job file; write it in quotes, such as \"count.wasm\"",
    );
    check_line(
        "name = \"split\"\n",
        "",
        "job.toml:4:1: stage 1: name: is missing, expected 1 to 64 characters of a-z 0-9 _; choose such a name, output files are called after it",
    );
    check_line(
        ", format = \"lines\"",
        "",
        "job.toml:7:13: stage \"split\": inputs.lines.format: is missing, expected one of \"lines\", \"tsv\", \"json-lines\", \"csv\", \"bytes\"; write, for example, format = \"lines\"",
    );
    check_line(
        "from = \"stream://words\"",
        "",
        "job.toml:13:13: stage \"count\": inputs.words.from: is missing, expected a path, file:///… or stream://…; write, for example, from = \"books/*.txt\"",
    );
    check(
        "name = \"j\"\n",
        "job.toml:1:1: inputs: is missing, expected a table with an entry for each input port; write, for example, inputs = { lines = { from = \"books/*.txt\", format = \"lines\" } }",
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    check_line(
        "name = \"wordcount\"",
        "name = \"wordcount\"\ncomponent = \"a.wasm\"",
        "job.toml:3:1: component: stands at the top level beside [[stage]]; move it into the stage that it belongs to",
    );
    check_line(
        "from = \"stream://words\"",
        "from = \"stream://words\", format = \"tsv\"",
        "job.toml:13:48: stage \"count\": inputs.words.format: a stream holds records already: leave the format out",
    );
    check_line(
        "format = \"tsv\"",
        "format = \"tsv\", partitions = 2",
        "job.toml:14:52: stage \"count\": outputs.counts.partitions: a folder of files has one partition a task: leave partitions out",
    );
}

#[test]
fn what_is_not_toml_is_said_with_its_place() {
    check("name = \"j\"\nname = \"k\"\n", "job.toml:2:1: is not TOML: duplicate key; correct the line, https://toml.io shows the notation");
    check(
        "name = \"j\nx = 1",
        "job.toml:1:10: is not TOML: invalid basic string, expected `\"`; correct the line, https://toml.io shows the notation",
    );
    for cut in (0..WORDCOUNT.len()).filter(|cut| WORDCOUNT.is_char_boundary(*cut)) {
        if let Err(message) = parsed(&WORDCOUNT[..cut]) {
            assert!(message.starts_with("job.toml:"), "cut at {cut}: {message}");
        }
    }
}
