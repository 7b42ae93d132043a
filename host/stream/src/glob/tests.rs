//! Patterns over a small tree, and names that lead out of it.

use super::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

fn tree() -> TempDir {
    let root = TempDir::new().unwrap();
    let names = [
        "a.txt",
        "b.txt",
        "c.csv",
        "B.txt",
        ".hidden.txt",
        "_SUCCESS",
        "x[1].txt",
        "x1.txt",
        "{a,b}.txt",
        "sub/a.txt",
        "sub/deep/d.txt",
        "sub/_temporary/e.txt",
        ".git/f.txt",
        "é.txt",
    ];
    for name in names {
        let path = root.path().join("in").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    fs::write(root.path().join("outside.txt"), "secret").unwrap();
    root
}

fn matched(root: &TempDir, pattern: &str) -> Result<Vec<String>, SourceError> {
    let folder = InputFolder::open(&root.path().join("in")).unwrap();
    matching_files(&folder, pattern).map(|found| found.into_iter().collect())
}

fn check(root: &TempDir, pattern: &str, expected: &[&str]) {
    assert_eq!(matched(root, pattern).unwrap(), expected, "{pattern}");
}

fn check_refused(root: &TempDir, pattern: &str, expected: &str) {
    let error = matched(root, pattern).unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{pattern}: {error:?}");
    assert!(error.to_string().contains(expected), "{pattern}: {error}");
}

#[test]
fn patterns_match_as_the_interface_says() {
    let root = tree();
    let all = ["B.txt", "a.txt", "b.txt", "c.csv", "sub/a.txt", "sub/deep/d.txt", "x1.txt", "x[1].txt", "{a,b}.txt", "é.txt"];
    check(&root, "**", &all);
    check(&root, "./**/", &all);
    check(&root, "**/*", &all);
    check(&root, "*", &["B.txt", "a.txt", "b.txt", "c.csv", "x1.txt", "x[1].txt", "{a,b}.txt", "é.txt"]);
    check(&root, "?.txt", &["B.txt", "a.txt", "b.txt", "é.txt"]);
    check(&root, "[ab].*", &["a.txt", "b.txt"]);
    check(&root, "[!ab].txt", &["B.txt", "é.txt"]);
    check(&root, "**/a.txt", &["a.txt", "sub/a.txt"]);
    check(&root, "é.txt", &["é.txt"]);
    check(&root, "*/*.txt", &["sub/a.txt"]);
    check(&root, "sub/**/d*", &["sub/deep/d.txt"]);
    check(&root, "sub", &["sub/a.txt", "sub/deep/d.txt"]);
    check(&root, "a.txt", &["a.txt"]);
    check(&root, "sub/a.txt", &["sub/a.txt"]);
    check(&root, "none*", &[]);
    check(&root, "none/a.txt", &[]);
    check(&root, "**/a.txt/b", &[]);
}

#[test]
fn hidden_names_are_taken_only_by_patterns_that_write_their_first_character() {
    let root = tree();
    check(&root, ".*.txt", &[".hidden.txt"]);
    check(&root, "_*", &["_SUCCESS"]);
    check(&root, "_SUCCESS", &["_SUCCESS"]);
    check(&root, ".git/*", &[".git/f.txt"]);
    check(&root, "sub/_temporary/**", &["sub/_temporary/e.txt"]);
    check(&root, "[._]*", &[]);
}

#[test]
fn a_file_whose_own_name_has_a_bracket_or_brace_can_be_named() {
    let root = tree();
    check(&root, "x[1].txt", &["x[1].txt"]);
    check(&root, "x[[]1].txt", &["x[1].txt"]);
    check(&root, "{a,b}.txt", &["{a,b}.txt"]);
    check(&root, "{a,b}.t?t", &["{a,b}.txt"]);
    check(&root, "[{]a*.txt", &["{a,b}.txt"]);
}

#[test]
fn names_that_lead_out_are_refused() {
    let root = tree();
    check_refused(&root, "../outside.txt", "..");
    check_refused(&root, "sub/../../outside.txt", "..");
    check_refused(&root, "*/../a.txt", "..");
    check_refused(&root, &format!("{}/outside.txt", root.path().display()), "begins with /");
    check_refused(&root, "", "names nothing");
    symlink("../outside.txt", root.path().join("in/relative")).unwrap();
    symlink(root.path().join("outside.txt"), root.path().join("in/absolute")).unwrap();
    symlink("..", root.path().join("in/up")).unwrap();
    for pattern in ["relative", "absolute", "rel*", "**", "up/outside.txt", "up/**", "up"] {
        check_refused(&root, pattern, "leads out of the folder");
    }
    check(&root, "a*.txt", &["a.txt"]);
}

#[test]
fn links_inside_the_folder_are_followed_each_name_a_file() {
    let root = tree();
    symlink("a.txt", root.path().join("in/link.txt")).unwrap();
    symlink("../../c.csv", root.path().join("in/sub/deep/up.csv")).unwrap();
    symlink("deep", root.path().join("in/sub/twin")).unwrap();
    check(&root, "link.txt", &["link.txt"]);
    check(&root, "sub/**", &["sub/a.txt", "sub/deep/d.txt", "sub/deep/up.csv", "sub/twin/d.txt", "sub/twin/up.csv"]);
}

#[test]
fn what_is_no_file_is_refused_and_never_left_out() {
    let root = tree();
    let inside = root.path().join("in");
    symlink("nowhere", inside.join("dangling")).unwrap();
    check_refused(&root, "dang*", "is no file");
    check_refused(&root, "**", "is no file");
    fs::remove_file(inside.join("dangling")).unwrap();
    mknodat(CWD, inside.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    check_refused(&root, "pipe", "is no file");
    check_refused(&root, "*", "is no file");
    check(&root, "pipe/a.txt", &[]);
    fs::remove_file(inside.join("pipe")).unwrap();
    fs::write(inside.join(OsStr::from_bytes(b"\xff.txt")), "").unwrap();
    check_refused(&root, "*.txt", "not UTF-8");
    check(&root, "*.csv", &["c.csv"]);
}

#[test]
fn links_in_a_circle_are_refused() {
    let root = tree();
    let inside = root.path().join("in");
    symlink(".", inside.join("sub/self")).unwrap();
    check_refused(&root, "**", "never end");
    check_refused(&root, "sub/**", "never end");
    fs::remove_file(inside.join("sub/self")).unwrap();
    symlink("two", inside.join("one")).unwrap();
    symlink("one", inside.join("two")).unwrap();
    check_refused(&root, "one", "leads back to itself");
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    check_refused(&tree(), "a[b.txt", "no pattern");
}

#[test]
fn what_a_pattern_would_take_is_what_it_finds() {
    let root = TempDir::new().unwrap();
    let names = ["a.txt", "b", "sub/a.txt", "sub/b", "sub/deep/c.txt", "sub/_d/e", ".f/g", "_h", "x/sub/b", "[1]"];
    for name in names {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let folder = InputFolder::open(root.path()).unwrap();
    let patterns = [
        "**",
        "*",
        "*.txt",
        "**/*",
        "**/*.txt",
        "sub",
        "sub/",
        "sub/*",
        "sub/**",
        "sub/**/c.txt",
        "**/sub/**",
        "**/sub/*",
        "**/**/b",
        "*/*/*",
        "**/sub",
        "_h",
        "_*",
        ".f/g",
        ".f",
        "sub/_d",
        "[1]",
        "[[]1]",
        "?",
        "s*/deep",
        "s*/deep/*",
        "./b",
    ];
    for pattern in patterns {
        let found = matching_files(&folder, pattern).unwrap();
        let taken: BTreeSet<String> = names.iter().filter(|name| takes(pattern, name)).map(|name| (*name).to_owned()).collect();
        assert_eq!(taken, found, "{pattern}");
    }
    for pattern in ["", "/a", "../a", "a[", "a/.."] {
        assert!(!names.iter().any(|name| takes(pattern, name)), "{pattern}");
    }
}
