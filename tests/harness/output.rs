//! What a job left in a folder: names and records. Refuses names that no reader of Hadoop's files would expect.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The finished files of a folder by name, in the order of task and checkpoint.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(['.', '_'])).collect();
    names.sort_by_key(|name| place(name));
    names.into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// Stage (with port), task and checkpoint of a finished file. Panics where the name is not `part-<stage>[-<port>]-<task>-<N>`.
pub(crate) fn place(name: &str) -> (String, u32, u64) {
    let words: Vec<&str> = name.split('-').collect();
    let valid =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let (stage, task, number) = match words[..] {
        ["part", stage, task, number] if valid(stage) => (stage.to_owned(), task, number),
        ["part", stage, port, task, number] if valid(stage) && valid(port) => (format!("{stage}-{port}"), task, number),
        _ => panic!("{name:?} is not the name of a finished file"),
    };
    let parse = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{name:?}: {text:?} is not a number"));
    assert!(parse(number) > 0, "{name:?}: no checkpoint 0 was ever confirmed");
    (stage, u32::try_from(parse(task)).unwrap(), parse(number))
}

/// All records of a folder, sorted: what two runs of one job must agree on.
pub(crate) fn records(folder: &Path) -> Vec<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    for (name, bytes) in files(folder) {
        assert!(bytes.last() == Some(&b'\n'), "{name} is empty, or its last record is cut short");
        records.extend(bytes[..bytes.len() - 1].split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
    }
    records.sort_unstable();
    records
}

/// The content of a folder, by stage and task in the order in which it was written.
pub(crate) fn by_task(folder: &Path) -> BTreeMap<(String, u32), Vec<u8>> {
    let mut tasks: BTreeMap<(String, u32), Vec<u8>> = BTreeMap::new();
    for (name, bytes) in files(folder) {
        let (stage, task, _) = place(&name);
        tasks.entry((stage, task)).or_default().extend(bytes);
    }
    tasks
}

/// The counts in a folder of `tsv` files. Panics where a word has two, or a record is not a word and a number.
pub(crate) fn counts(folder: &Path) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = BTreeMap::new();
    for record in records(folder) {
        let tab =
            record.iter().position(|&byte| byte == b'\t').unwrap_or_else(|| panic!("no TAB in {:?}", String::from_utf8_lossy(&record)));
        let count = std::str::from_utf8(&record[tab + 1..]).unwrap().parse().unwrap();
        let word = record[..tab].to_vec();
        assert_eq!(counts.insert(word.clone(), count), None, "{:?} was counted twice", String::from_utf8_lossy(&word));
    }
    counts
}

/// Demands that the folder says to be complete, and that nothing unfinished is left in it.
#[track_caller]
pub(crate) fn complete(folder: &Path) {
    let hidden: Vec<String> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(['.', '_']) && name != "._gregor")
        .collect();
    assert_eq!(hidden, ["_SUCCESS"], "in {}", folder.display());
}
