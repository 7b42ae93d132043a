//! Tasks in JavaScript: the word count, beside the reference and beside the tasks in Rust, undisturbed and killed; and how the memory of an engine
//! with a heap of its own is kept in bounds. The texts hold all on which engines disagree: white space, cases, broken UTF-8.

use std::fmt::Write as _;

use rand::rngs::StdRng;

use crate::harness::corpus::{self, Style};
use crate::harness::disturbance::{any_instant, disturb, kill};
use crate::harness::lab::Lab;
use crate::harness::{jobs, output, plugins, seed};

/// Lines with all that a text may hold, one word in four broken.
const BROKEN: Style = Style { line_end: "\n", last: "\n", words_max: 20, broken_every: 4 };

/// The word count with its tasks in these languages.
fn word_count(split: &str, count: &str) -> String {
    in_languages(jobs::word_count("50 ms"), split, count)
}

fn in_languages(job: String, split: &str, count: &str) -> String {
    for name in ["split", "count"] {
        let component = plugins().join("js").join(name).with_extension("wasm");
        assert!(component.is_file(), "{} is missing: run `make plugins`", component.display());
    }
    job.replace("rust/split", &format!("{split}/split")).replace("rust/count", &format!("{count}/count"))
}

/// Counts the words of these texts, and compares with the reference.
#[track_caller]
fn check(lab: &Lab, texts: &[&[u8]]) {
    lab.forget();
    crate::harness::lab::remove(&lab.path("in"));
    for (at, text) in texts.iter().enumerate() {
        lab.write(&format!("in/{at}.txt"), text);
    }
    lab.run(&[]).code(0).unwarned(&[]);
    output::complete(&lab.path("out"));
    corpus::same(&output::counts(&lab.path("out")), &corpus::count(texts.iter().copied()));
}

/// Texts with every end that a line or a file may have, and some without a word.
fn check_texts(random: &mut StdRng, lab: &Lab) {
    let unicode = corpus::text(random, Style { broken_every: 0, ..BROKEN }, 150_000);
    let broken = corpus::text(random, BROKEN, 100_000);
    let crlf = corpus::text(random, Style { line_end: "\r\n", last: "", ..BROKEN }, 50_000);
    check(lab, &[&unicode, b"", &broken, &crlf, b"cut in a line end\r", "\u{feff}one\u{85}two\u{feff}".as_bytes(), b"word"]);
    check(lab, &[b""]);
    check(lab, &["\n\r\n \u{3000} ... \u{85}\n".as_bytes(), b""]);
}

#[test]
fn words_counted_in_javascript_are_those_of_the_reference() {
    let mut random = seed::random("words_counted_in_javascript_are_those_of_the_reference");
    check_texts(&mut random, &Lab::with_job(&word_count("js", "js")));
}

#[test]
fn tasks_in_javascript_and_rust_work_in_one_job() {
    let mut random = seed::random("tasks_in_javascript_and_rust_work_in_one_job");
    check_texts(&mut random, &Lab::with_job(&word_count("js", "rust")));
    check_texts(&mut random, &Lab::with_job(&word_count("rust", "js")));
}

#[test]
fn counts_are_emitted_in_pieces_of_bounded_records_and_bytes() {
    let mut many = String::new();
    for word in 0..45_000 {
        write!(many, "w{word} {}", if word % 8 == 0 { "\n" } else { "" }).unwrap();
    }
    // One task gets them all, and emits 10,000 at a time.
    let job = word_count("rust", "js").replace("partitions = 4", "partitions = 1");
    let lab = Lab::with_job(&(job + "\n[limits]\nemit-records = 10000\nemit-bytes = \"9 MiB\"\n"));
    check(&lab, &[many.as_bytes(), many.as_bytes()]);
    let long: String = (0..40).map(|word| format!("{word}{}\n", "x".repeat(500_000))).collect();
    check(&lab, &[long.as_bytes()]);
}

fn is_end(byte: &u8) -> bool {
    *byte == b'\n'
}

/// Runs both tasks `split` over a text, and compares what each wrote, task by task and byte by byte.
#[track_caller]
fn same_words(text: &[u8], more: &str) {
    let written = ["js", "rust"].map(|language| {
        let job = jobs::lines("rust/split", more).replace("in = {", "lines = {");
        let job = job.replace("out = { to = \"out\", format = \"lines\"", "words = { to = \"out\", format = \"tsv\"");
        let lab = Lab::with_job(&in_languages(job, language, "js"));
        lab.write("in/text.txt", text);
        lab.run(&[]).code(0).unwarned(&[]);
        output::complete(&lab.path("out"));
        output::by_task(&lab.path("out"))
    });
    let [js, rust] = &written;
    assert!(rust.values().map(Vec::len).sum::<usize>() > text.len() / 4, "too few words to be right");
    assert!(js.keys().eq(rust.keys()), "tasks {:?} and {:?}", js.keys(), rust.keys());
    for (task, words) in rust {
        let differ = js[task].split(is_end).zip(words.split(is_end)).find(|(js, rust)| js != rust);
        let differ = differ.map(|(js, rust)| [js, rust].map(|line| line[..line.len().min(100)].escape_ascii().to_string()));
        assert!(js[task] == *words, "{task:?}: the first words that differ, in JavaScript and in Rust: {differ:?}");
    }
}

#[test]
fn both_tasks_split_know_the_same_letters_cases_and_final_sigmas() {
    let mut random = seed::random("both_tasks_split_know_the_same_letters_cases_and_final_sigmas");
    let mut text = corpus::text(&mut random, BROKEN, 100_000);
    // Whether the first sigma is a final one says whether the character has a case or is passed over, the second one tells the two apart.
    for character in ('\0'..'\u{20000}').chain('\u{e0000}'..'\u{e0200}').filter(|&character| character != '\n') {
        text.extend_from_slice(format!("A\u{3a3}{character}\u{3a3} A\u{3a3}{character}\n").as_bytes());
    }
    same_words(&text, "");
}

#[test]
fn both_tasks_split_find_the_same_replacement_characters() {
    // The first and last byte of each range on which the rules of UTF-8 turn.
    const BYTES: [u8; 19] = *b"A\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xe1\xed\xef\xf0\xf3\xf4\xf5";
    let mut text = Vec::new();
    for first in BYTES {
        for second in BYTES {
            for third in BYTES {
                for fourth in if first >= 0xf0 { BYTES.as_slice() } else { b"A" } {
                    text.extend_from_slice(&[first, second, third, *fourth, b'\n']);
                }
            }
        }
    }
    same_words(&text, "");
}

#[test]
fn lines_up_to_the_record_limit_are_split_as_in_rust() {
    const LIMIT: usize = 1024 * 1024;
    let mut text = Vec::new();
    for fill in ["a ", "long", "some words of a line, ", ", ", "x!", "\u{e9}", "\u{3a3}\u{85}"] {
        text.extend(fill.bytes().cycle().take(LIMIT));
        text.push(b'\n');
    }
    // Broken at the end, after a long time without.
    for good in ["z", "\u{e9}"] {
        text.extend(good.bytes().cycle().take(LIMIT - 4));
        text.extend_from_slice(b"\xff\n");
    }
    text.extend(b"\xe2\x82 ".iter().cycle().take(LIMIT));
    // An interpreter needs more than a second for half a million words, on a machine that is busy with other tests.
    same_words(&text, "[limits]\ncall-time = \"30 s\"\n");
}

#[test]
fn a_word_count_in_javascript_that_is_killed_leaves_what_an_undisturbed_one_leaves() {
    let mut random = seed::random("a_word_count_in_javascript_that_is_killed_leaves_what_an_undisturbed_one_leaves");
    // Little room for output that is not yet published makes many checkpoints, between which a kill can fall.
    let job = jobs::word_count_and_words("30 ms") + "\n[limits]\nunpublished-bytes = \"64 KiB\"\n";
    let lab = Lab::with_job(&in_languages(job, "js", "js"));
    let mut bytes = 500_000;
    loop {
        let text = corpus::text(&mut random, BROKEN, bytes);
        lab.write("in/text.txt", &text);
        let (toll, ended) = disturb(&|| lab.start(&[]), (&mut random, 12, any_instant), kill);
        println!("{bytes} bytes, killed: {toll:?}; {}", ended.line("finished").unwrap_or_default());
        ended.code(0);
        let counts = corpus::count([text.as_slice()]);
        output::complete(&lab.path("out/counts"));
        corpus::same(&output::counts(&lab.path("out/counts")), &counts);
        output::complete(&lab.path("out/words"));
        let words = counts.iter().flat_map(|(word, &times)| vec![[word.as_slice(), b"\t"].concat(); usize::try_from(times).unwrap()]);
        let mut expected: Vec<Vec<u8>> = words.collect();
        expected.sort_unstable();
        assert!(output::records(&lab.path("out/words")) == expected, "the words are not those of the text");
        if toll.disturbed >= 8 && toll.after_confirm >= 4 {
            return;
        }
        // It was over too soon on this machine.
        bytes *= 2;
        assert!(bytes < 5_000_000, "however much there was to do, the job was over after {toll:?}");
        lab.forget();
    }
}

#[test]
fn an_instance_that_hoards_memory_is_replaced_and_its_job_finishes_exactly() {
    let lab = Lab::with_job(&jobs::lines("hostile/hoard", "[limits]\nmemory = \"8 MiB\"\n"));
    let text: String = (0..300_000).map(|at| format!("{}\n", at % 10)).collect();
    lab.write("in/text.txt", &text);
    let ended = lab.run(&[]).code(0).unwarned(&[]);
    output::complete(&lab.path("out"));
    let found = output::by_task(&lab.path("out"));
    assert!(found.len() == 1 && found.values().all(|bytes| bytes == text.as_bytes()), "tasks {:?}", found.keys());
    // Each of some 300 batches keeps 128 KiB: five times the limit, so an instance that is not replaced would fail.
    let line = ended.line("metric stage=lines name=instances value=").unwrap_or_else(|| panic!("no metric:\n{}", ended.stderr));
    let instances: u32 = line.rsplit('=').next().unwrap().parse().unwrap();
    assert!((6..=60).contains(&instances), "{instances} instances for one task");
}

#[test]
fn a_word_count_in_javascript_with_little_memory_is_exact() {
    let mut random = seed::random("a_word_count_in_javascript_with_little_memory_is_exact");
    let lab = Lab::with_job(&(word_count("js", "js") + "\n[limits]\nmemory = \"6 MiB\"\n"));
    let text = corpus::text(&mut random, BROKEN, 600_000);
    check(&lab, &[&text]);
}

/// A job of the guest that tries the SDK, or makes the mistake of this name.
fn checks(mode: &str) -> Lab {
    let job = jobs::lines("hostile/checks", &format!("config = {{ mode = \"{mode}\" }}\n"));
    let ports = r#"outputs = { out = { to = "out", format = "tsv" }, other = { to = "other", format = "tsv" } }"#;
    let lab = Lab::with_job(&job.replace(r#"outputs = { out = { to = "out", format = "lines" } }"#, ports));
    lab.write("in/text.txt", b"caf\xe9\n");
    lab
}

#[test]
fn the_sdk_for_javascript_does_what_it_says() {
    let lab = checks("sdk");
    lab.run(&[]).code(0).unwarned(&[]);
    let written = |folder: &str| output::by_task(&lab.path(folder)).into_values().collect::<Vec<_>>().concat();
    let expected = [b"\xff\t\n".as_slice(), "\u{fffd} alone\n\u{e9}\t7\n\t".as_bytes(), b"caf\xe9\n"].concat();
    assert_eq!(written("out").escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(String::from_utf8(written("other")).unwrap(), "gr\u{f6}\u{df}e\t12345678901234567890\n");
}

#[test]
fn what_a_task_in_javascript_does_wrong_is_told_in_its_words() {
    let lab = checks("nothing");
    lab.run(&[]).code(0).unwarned(&[]);
    let mut before = "nothing";
    let mut told = |mode: &'static str, expected: &[&str]| {
        lab.forget();
        crate::harness::lab::remove(&lab.path("other"));
        lab.edit_job(before, mode);
        before = mode;
        let ended = lab.run(&[]).code(1);
        expected.iter().fold(ended, |ended, fragment| ended.says(fragment));
    };
    told("typo", &["the record at byte 0", "TypeError: cannot read property 'more' of undefined", "checks.js:"]);
    told("wrongStore", &["store: no-such-store nowhere"]);
    told("notACounter", &["the record at byte 0", "store: not-a-counter 4"]);
    told("wrongOutput", &["there is no output nowhere, but out,other"]);
    told("stop", &["no more"]);
}

#[test]
fn a_count_in_javascript_refuses_what_that_in_rust_refuses() {
    let found = ["js", "rust"].map(|language| {
        let job = jobs::lines("rust/count", "").replace("in = {", "words = {").replace("out = {", "counts = {").replace("lines\"", "tsv\"");
        let lab = Lab::with_job(&in_languages(job.replace("name = \"tsv\"", "name = \"lines\""), "js", language));
        lab.write("in/text.txt", "a\t\nno key\n\t\nb\tx\na\n\na\t\n");
        let ended = lab.run(&[]).code(0);
        let skipped = ended.figure("skipped=");
        lab.forget();
        lab.write("job.toml", lab.job_text() + "config = { emit = \"often\" }\n");
        lab.run(&[]).code(1).says("config emit = \"often\" is not known; the one value is \"at-end\"");
        skipped
    });
    assert_eq!(found, [Some(3); 2], "JavaScript, Rust");
}
