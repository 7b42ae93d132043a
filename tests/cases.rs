//! Whole jobs, one folder each in `cases/`: `job.toml`, the files around it, and what must come of it. A new case is a new folder.
//!
//! ```text
//! job.toml            the job; {plugins} stands for the folder of compiled tasks
//! expect.txt          "exit N", then one fragment a line that stderr must contain
//! expected/<folder>   the records of that output folder, in any order; where the exit code is 0
//! <name>.wat          is compiled to <name>.wasm beside it
//! ```

use std::fs;
use std::path::Path;

use crate::harness::lab::Lab;
use crate::harness::{output, root};

/// Runs a case; gives what is wrong with it.
fn check(case: &Path) -> Result<(), String> {
    let lab = Lab::new();
    copy(case, "", &lab);
    let expected = fs::read_to_string(case.join("expect.txt")).map_err(|error| format!("expect.txt: {error}"))?;
    let mut lines = expected.lines();
    let code: i32 =
        lines.next().and_then(|line| line.strip_prefix("exit ")?.parse().ok()).ok_or("expect.txt has no first line \"exit N\"")?;
    let ended = lab.run(&[]);
    if ended.code != Some(code) {
        return Err(format!("exit {:?}, expected {code}; stderr:\n{}", ended.code, ended.stderr));
    }
    if let Some(fragment) = lines.find(|fragment| !ended.stderr.contains(fragment)) {
        return Err(format!("stderr lacks {fragment:?}:\n{}", ended.stderr));
    }
    if code == 0 {
        return outputs(&case.join("expected"), "", &lab);
    }
    // What is refused leaves nothing behind that a corrected job would stumble over.
    match lab.path("out/_SUCCESS").exists() {
        true => Err("refused, and yet complete".to_owned()),
        false => Ok(()),
    }
}

fn outputs(folder: &Path, below: &str, lab: &Lab) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            outputs(&path, &format!("{name}/"), lab)?;
            continue;
        }
        let text = fs::read(&path).unwrap();
        let mut expected: Vec<Vec<u8>> = text.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        expected.sort_unstable();
        output::complete(&lab.path(&name));
        let found = output::records(&lab.path(&name));
        if found != expected {
            let text = |records: &[Vec<u8>]| String::from_utf8_lossy(&records.join(&b'\n')).into_owned();
            return Err(format!("{name} holds\n{}\n--- expected\n{}", text(&found), text(&expected)));
        }
    }
    Ok(())
}

fn copy(folder: &Path, below: &str, lab: &Lab) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        match name.as_str() {
            "expected" | "expect.txt" => {}
            "job.toml" => lab.job(&fs::read_to_string(&path).unwrap()),
            _ if path.is_dir() => copy(&path, &format!("{name}/"), lab),
            _ if name.ends_with(".wat") => lab.write(&name.replace(".wat", ".wasm"), wat::parse_file(&path).unwrap()),
            _ => lab.write(&name, fs::read(&path).unwrap()),
        }
    }
}

#[test]
fn every_case_comes_out_as_its_folder_says() {
    let mut cases: Vec<_> = fs::read_dir(root().join("tests/cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 40, "only {} cases were found", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let name = case.file_name().unwrap().to_str().unwrap();
            check(case).err().map(|reason| format!("=== {name}: {reason}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} cases failed\n{}", failures.len(), cases.len(), failures.join("\n"));
}
