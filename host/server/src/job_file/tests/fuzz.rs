//! Job files that nobody would write. Whatever stands in one, it is read, or refused in one line that names file, line, column and field; and what
//! changes no meaning (comments, blank lines, the order of tables) changes nothing.

#[path = "../../../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;

use std::path::Path;

use fuzzer::mutate::{self, Random};
use fuzzer::{Fuzz, Outcome, files, root};

use super::{JobFile, SHORT, Text, WORDCOUNT, keys, parse, read};

/// Values that readers trip over, as they stand behind `=`.
const VALUES: [&str; 47] = [
    "0",
    "-1",
    "+1",
    "-0",
    "1_0",
    "1__0",
    "0x7fffffffffffffff",
    "0xffffffffffffffffffffffff",
    "0b1",
    "0o7",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999999",
    "0.0001",
    "0.5",
    "1e308",
    "1e999",
    "-inf",
    "nan",
    "4294967.296",
    "4294967295.0",
    "true",
    "[]",
    "{}",
    "[[[]]]",
    "{a.b.c=1}",
    "\"\"",
    "\"18446744073709551615 GiB\"",
    "\"99999999999999999999 MiB\"",
    "\"17179869184 GiB\"",
    "\"64 MiB \"",
    "\"٣ MiB\"",
    "\"18446744073709551615 s\"",
    "\"584942417355 years\"",
    "\"1 s 1 s\"",
    "\"0 ms\"",
    "\"1 ns\"",
    "\"\\u0000\"",
    "\"\u{301}é\u{202e}\"",
    "\"stream://\"",
    "\"file://\"",
    "\"hdfs://\"",
    "\"../*/..\"",
    "\"[\"",
    "1979-05-27T07:32:00Z",
    "'''\n'''",
];

/// Keys that readers trip over.
const KEYS: [&str; 16] = [
    "\"\"",
    "\"a\\nb\"",
    "\"\\u0000\"",
    "\"é\u{301}\u{202e}\"",
    "\"interv\u{e4}l\"",
    "\"日本語\"",
    "''",
    "a.b.c",
    "name",
    "stage",
    "Intervall",
    "STOP_TIMEOUT",
    "\"\\t\"",
    "\"\u{1f600}\"",
    "inputs.x.from",
    "\"a b\"",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![WORDCOUNT.as_bytes().to_vec(), SHORT.as_bytes().to_vec()];
    for page in ["README.md", "host/server/job-file.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        seeds.extend(text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default().as_bytes().to_vec()));
    }
    for folder in std::fs::read_dir(root().join("tests/cases")).unwrap() {
        let folder = folder.unwrap().file_name().into_string().unwrap();
        seeds.extend(files(&format!("tests/cases/{folder}"), |name| name == "job.toml"));
    }
    // A part of a job file, or one of the mistakes that are cases, is none to begin with.
    seeds.retain(|seed| checked(std::str::from_utf8(seed).unwrap()).is_ok());
    assert!(seeds.len() > 20, "only {} job files are seeds", seeds.len());
    seeds
}

/// Reads a job file, and looks at the error that it may give.
fn checked(content: &str) -> Result<JobFile, String> {
    parse(Text { file: "job.toml", content }, Path::new("/home/me")).map_err(|error| {
        let text = error.to_string();
        let place = text.strip_prefix("job.toml:").and_then(|rest| rest.split_once(": "));
        let Some(((line, column), problem)) = place.and_then(|(place, problem)| Some((place.split_once(':')?, problem))) else {
            panic!("no file, line and column: {text:?}");
        };
        let [line, column]: [usize; 2] = [line, column].map(|number| number.parse().unwrap_or_else(|_| panic!("no place: {text:?}")));
        let lines: Vec<&str> = content.split('\n').collect();
        assert!((1..=lines.len()).contains(&line), "{text:?} is behind the last of {} lines", lines.len());
        assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "{text:?} is behind its line");
        assert!(!text.chars().any(char::is_control), "it is more than a line: {text:?}");
        assert!(text.chars().count() < 1_000, "nobody reads {} characters: {text:.300?}", text.chars().count());
        // Only what is no TOML has no field.
        assert!(problem.starts_with("is not TOML: ") || problem.contains(": "), "no field: {text:?}");
        text
    })
}

fn change(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut text = random.one(seeds).clone();
    for _ in 0..=random.below(3) {
        text = match random.below(6) {
            0 => mutate::bytes(random, &[text]),
            1 => lines(random, &text),
            _ => values(random, &text),
        };
    }
    text
}

/// Moves, doubles or drops a line.
fn lines(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    let taken = random.below(lines.len());
    let line = if random.below(3) == 0 { lines[taken] } else { lines.remove(taken) };
    if random.below(3) > 0 {
        lines.insert(random.below(lines.len() + 1), line);
    }
    lines.join(&b'\n')
}

/// Gives a key another value, or a value another key.
fn values(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let equals: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'=').map(|(at, _)| at).collect();
    if equals.is_empty() {
        return text.to_vec();
    }
    let at = *random.one(&equals);
    if random.below(3) == 0 {
        let start = text[..at].iter().rposition(|byte| b"\n{,".contains(byte)).map_or(0, |before| before + 1);
        let known = [&keys::ROOT[..], &keys::STAGE, &keys::INPUT, &keys::OUTPUT, &keys::CHECKPOINT, &keys::LIMITS].concat();
        let key = match random.below(20) {
            0 => format!("\"{}\"", "k".repeat(*random.one(&[65, 5_000, 200_000]))),
            1..12 => (*random.one(&KEYS)).to_owned(),
            _ => (*random.one(&known)).to_owned(),
        };
        return [&text[..start], key.as_bytes(), &text[at..]].concat();
    }
    let end = text[at..].iter().position(|byte| b"\n,}".contains(byte)).map_or(text.len(), |length| at + length);
    let value = match random.below(30) {
        0 => format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)),
        1 => format!("\"{}\"", "x".repeat(100_000)),
        2 => "{a=".repeat(5_000),
        3 => format!("{{{}=1}}", vec!["a"; 20_000].join(".")),
        _ => (*random.one(&VALUES)).to_owned(),
    };
    [&text[..=at], value.as_bytes(), &text[end..]].concat()
}

#[test]
fn whatever_stands_in_a_job_file_it_is_read_or_refused_in_one_line() {
    let (read, refused) = Fuzz { format: "job-file", seeds: &seeds(), rounds: 12_000 }.run(change, |input| {
        // What is no UTF-8 never comes here: see below.
        match checked(&String::from_utf8_lossy(input)) {
            Ok(_) => Outcome::Read,
            Err(_) => Outcome::Refused,
        }
    });
    assert!(read > 300 && refused > 300, "{read} read, {refused} refused: the mutations miss the format");
}

#[test]
fn what_changes_no_meaning_changes_nothing() {
    let meaning = |random: &mut Random, seeds: &[Vec<u8>]| {
        let seed = String::from_utf8(random.one(seeds).clone()).unwrap();
        let end = *random.one(&["\n", "\r\n"]);
        let mut text = String::new();
        for line in seed.lines() {
            let blank = *random.one(&["", "", "  ", "\t"]);
            let comment = *random.one(&["", "", " # é\u{301} \u{1f600}", "#="]);
            let more = *random.one(&["", "", end, "# \u{65e5}\u{672c}"]);
            text.push_str(&format!("{blank}{line}{comment}{end}"));
            if !more.is_empty() {
                text.push_str(&format!("{}{end}", more.trim_end()));
            }
        }
        text.into_bytes()
    };
    let values = |job: &JobFile| {
        let ports = |stage: &super::StageFile| {
            let inputs: Vec<_> = stage.inputs.value.iter().map(|(port, source)| (port.value.clone(), source.clone())).collect();
            let outputs: Vec<_> = stage.outputs.value.iter().map(|(port, sink)| (port.value.clone(), sink.clone())).collect();
            (
                stage.name.value.clone(),
                stage.component.value.clone(),
                inputs,
                outputs,
                stage.config.clone(),
                stage.on_error.clone(),
                stage.retries,
            )
        };
        (job.name.clone(), job.stages.iter().map(ports).collect::<Vec<_>>(), job.checkpoint.clone(), job.limits.clone())
    };
    let seeds = seeds();
    let meant: Vec<_> = seeds.iter().map(|seed| values(&checked(std::str::from_utf8(seed).unwrap()).unwrap())).collect();
    Fuzz { format: "job-file-same", seeds: &seeds, rounds: 1_500 }.run(meaning, |input| {
        let job = checked(std::str::from_utf8(input).unwrap()).unwrap_or_else(|error| panic!("{error}"));
        assert!(meant.contains(&values(&job)), "it means something else");
        Outcome::Read
    });
}

#[test]
fn a_file_of_any_bytes_is_read_or_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    Fuzz { format: "job-file-bytes", seeds: &seeds(), rounds: 2_000 }.run(mutate::bytes, |input| {
        std::fs::write(&path, input).unwrap();
        match read(&path) {
            Ok(_) => Outcome::Read,
            Err(error) => {
                assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
                Outcome::Refused
            }
        }
    });
}
