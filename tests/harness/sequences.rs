//! Records that tell when one of them is lost, repeated or out of order: the records of each key are numbered from 0, all of a key stand in one
//! file, which is short enough to have one reader, and the job passes them on by key. So what a job must leave is known without running it.
//! Refuses to make the same input twice: keys and their numbers of records are random.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use super::lab::Lab;
use super::output;

/// Numbers that are shown of what is wrong.
const SHOWN: usize = 5;

/// Bytes of a file, about: shorter than the shortest split, so that one task reads it in order.
const FILE_BYTES: usize = 900_000;

/// An input, and what its keys must come to.
pub(crate) struct Sequences {
    files: Vec<Vec<u8>>,
    /// Records of each key.
    records: BTreeMap<Vec<u8>, u64>,
}

impl Sequences {
    /// So many records; of at most so many keys a file.
    pub(crate) fn new(random: &mut StdRng, (records, keys): (usize, u32)) -> Self {
        let mut files = vec![Vec::with_capacity(FILE_BYTES + 64)];
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for _ in 0..records {
            if files.last().is_some_and(|file| file.len() >= FILE_BYTES) {
                files.push(Vec::with_capacity(FILE_BYTES + 64));
            }
            let key = format!("key-{}-{:x}", files.len(), random.random_range(0..keys)).into_bytes();
            let next = counts.entry(key.clone()).or_default();
            let file = files.last_mut().unwrap();
            file.extend_from_slice(&key);
            file.extend_from_slice(format!("\t{next}-{:08x}\n", random.random::<u32>()).as_bytes());
            *next += 1;
        }
        Self { files, records: counts }
    }

    /// Writes the input.
    pub(crate) fn write(&self, lab: &Lab) {
        for (at, file) in self.files.iter().enumerate() {
            lab.write(&format!("in/{at:03}.tsv"), file);
        }
    }

    /// Demands that the job has left exactly these records, those of each key in their order, with the count of each key, and nothing else.
    #[track_caller]
    pub(crate) fn left_by(&self, lab: &Lab) {
        for folder in ["out/counts", "out/records"] {
            output::complete(&lab.path(folder));
        }
        assert!(output::counts(&lab.path("out/counts")) == self.records, "the counts of the keys differ");
        self.in_order(lab);
        let lines = self.files.iter().flat_map(|file| file.split(|&byte| byte == b'\n'));
        let mut expected: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
        expected.sort_unstable();
        assert!(output::records(&lab.path("out/records")) == expected, "the records differ");
    }

    #[track_caller]
    fn in_order(&self, lab: &Lab) {
        let mut next: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut wrong = Vec::new();
        for ((_, task), bytes) in output::by_task(&lab.path("out/records")) {
            for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let (key, number) = numbered(line);
                let due = next.entry(key.to_vec()).or_default();
                if number != *due {
                    wrong.push(format!("task {task}: {:?} where number {due} is due", String::from_utf8_lossy(line)));
                }
                *due = number + 1;
            }
        }
        assert!(wrong.is_empty(), "{} records are lost, repeated or out of order: {:#?}", wrong.len(), &wrong[..wrong.len().min(SHOWN)]);
        assert!(next == self.records, "the last records of some keys are missing, or keys are");
    }
}

fn numbered(line: &[u8]) -> (&[u8], u64) {
    let tab = line.iter().position(|&byte| byte == b'\t').unwrap_or_else(|| panic!("no TAB in {:?}", String::from_utf8_lossy(line)));
    let value = std::str::from_utf8(&line[tab + 1..]).unwrap();
    (&line[..tab], value.split('-').next().unwrap().parse().unwrap())
}
