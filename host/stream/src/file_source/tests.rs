//! The file source against a reader that knows nothing of splits: each record once, in order, from wherever one resumes.

use super::*;
use crate::plan::make_plan;
use crate::random::Random;
use gregor_model::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, KEY_BYTES_MAX, MIB, SOURCE_READ_BYTES};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

mod damage;
mod formats;

/// Modification time of every test file: half a millisecond before a whole one, and before 1970, so that rounding shows.
const MODIFIED_NS: i64 = -1_500_000;
const MODIFIED_MS: i64 = -2;

/// A record, or a line over the limit: file, offset, then key and value, or the line's length.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Read {
    Record(u32, u64, Option<Vec<u8>>, Vec<u8>),
    TooLong(u32, u64, u64),
}

/// A folder with files, and a plan with splits of our choosing.
struct Case {
    root: TempDir,
    folder: Arc<InputFolder>,
    plan: Arc<Plan>,
    reading: Reading,
}

impl Case {
    fn new(contents: &[Vec<u8>], reading: Reading) -> Self {
        let root = TempDir::new().unwrap();
        for (index, content) in contents.iter().enumerate() {
            let path = root.path().join(format!("{index:04}"));
            fs::write(&path, content).unwrap();
            let modified = SystemTime::UNIX_EPOCH - Duration::from_nanos(MODIFIED_NS.unsigned_abs());
            fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
        }
        let folder = Arc::new(InputFolder::open(root.path()).unwrap());
        let plan = Arc::new(make_plan(&folder, "**", reading.format).unwrap());
        Self { root, folder, plan, reading }
    }

    fn path(&self, file: u32) -> PathBuf {
        self.root.path().join(format!("{file:04}"))
    }

    /// Cuts the files at random beginnings of lines, into random partitions.
    fn cut_randomly(&mut self, contents: &[Vec<u8>], random: &mut Random) {
        let mut partitions = vec![vec![]];
        for (file, content) in (0..).zip(contents) {
            let mut start = 0;
            for (at, _) in content.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                let end = at as u64 + 1;
                if random.once_in(4) && end < content.len() as u64 {
                    partitions.last_mut().unwrap().push(Split { file, start, end });
                    start = end;
                }
                if random.once_in(8) {
                    partitions.push(vec![]);
                }
            }
            partitions.last_mut().unwrap().push(Split { file, start, end: content.len() as u64 });
        }
        self.plan = Arc::new(Plan { files: self.plan.files.clone(), partitions });
    }

    fn source(&self, partition: u32, split: u32, offset: u64) -> FileSource {
        let at = SourceStart { partition, split, offset };
        FileSource::open(Arc::clone(&self.folder), Arc::clone(&self.plan), at, self.reading).unwrap()
    }

    /// Reads a partition to its end, checking each batch's own promises.
    fn rest_of(&self, partition: u32, mut source: FileSource) -> Vec<Read> {
        let splits = &self.plan.partitions[partition as usize];
        let mut read = Vec::new();
        loop {
            source.check().unwrap();
            match source.next().unwrap() {
                Fetched::Batch(FileBatch { columns, split, end_offset, bytes }) => {
                    columns.check().unwrap();
                    assert!((1..=BATCH_RECORDS_MAX).contains(&columns.len()), "{} records", columns.len());
                    assert!(columns.bytes() <= BATCH_BYTES_MAX || columns.len() == 1, "{} bytes", columns.bytes());
                    assert!(columns.offsets.is_sorted() && end_offset <= splits[split as usize].end);
                    assert_eq!(end_offset - columns.offsets[0], bytes);
                    assert!(columns.timestamps.iter().all(|&timestamp| timestamp == MODIFIED_MS), "{:?}", columns.timestamps);
                    let file = splits[split as usize].file;
                    let owned = |record: gregor_model::columns::Record<'_>| {
                        Read::Record(file, record.offset, record.key.map(<[u8]>::to_vec), record.value.unwrap().to_vec())
                    };
                    read.extend(columns.iter().map(owned));
                }
                Fetched::Passing => {}
                Fetched::Unreadable { offset, reason, .. } => panic!("{offset}: {reason}"),
                Fetched::TooLong { split, offset, length, end_offset, .. } => {
                    assert!(end_offset > offset && end_offset <= splits[split as usize].end);
                    read.push(Read::TooLong(splits[split as usize].file, offset, length));
                }
                Fetched::End { split } => {
                    assert_eq!(split as usize, splits.len());
                    assert_eq!(source.next().unwrap(), Fetched::End { split });
                    return read;
                }
            }
        }
    }

    fn all(&self) -> Vec<Read> {
        (0..u32::try_from(self.plan.partitions.len()).unwrap()).flat_map(|p| self.rest_of(p, self.source(p, 0, 0))).collect()
    }
}

/// Reads whole files as the interface page says, in the plainest way.
fn naive(contents: &[Vec<u8>], reading: Reading) -> Vec<Read> {
    let mut read = Vec::new();
    for (file, content) in (0..).zip(contents) {
        let mut offset = 0;
        for piece in content.split_inclusive(|&byte| byte == b'\n') {
            let mut line = piece;
            if let Some(ended) = line.strip_suffix(b"\n") {
                line = ended.strip_suffix(b"\r").unwrap_or(ended);
            }
            let tab = line.iter().position(|&byte| byte == b'\t').filter(|_| reading.format == Format::Tsv);
            let (key, value) = tab.map_or((None, line), |tab| (Some(&line[..tab]), &line[tab + 1..]));
            let too_long = (key.map_or(0, <[u8]>::len) + value.len()) as u64 > reading.record_bytes_max;
            read.push(match too_long || key.is_some_and(|key| key.len() > KEY_BYTES_MAX) {
                true => Read::TooLong(file, offset, line.len() as u64),
                false => Read::Record(file, offset, key.map(<[u8]>::to_vec), value.to_vec()),
            });
            offset += piece.len() as u64;
        }
    }
    read
}

fn reading(format: Format, record_bytes_max: u64) -> Reading {
    Reading { format, record_bytes_max, passed_over: PassedOver::Dropped }
}

fn check(contents: &[Vec<u8>], reading: Reading, label: &str) {
    assert!(Case::new(contents, reading).all() == naive(contents, reading), "{label}");
}

#[test]
fn random_bytes_in_random_splits_read_as_whole_files_do() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let alphabet: &[u8] = [b"\n\r\ta".as_slice(), b"\nab\t\xff\xfe\0\xc3", b"\n\r", b"abcdefghijklmno\t\n"][random.below(4)];
        let contents: Vec<Vec<u8>> = (0..=random.below(5)).map(|_| random.bytes(400, alphabet)).collect();
        let format = if random.once_in(2) { Format::Lines } else { Format::Tsv };
        let reading = reading(format, [5, 1000][random.below(2)]);
        let mut case = Case::new(&contents, reading);
        assert_eq!(case.all(), naive(&contents, reading), "seed {seed}, as planned");
        case.cut_randomly(&contents, &mut random);
        assert_eq!(case.all(), naive(&contents, reading), "seed {seed}, cut at random");
    }
}

#[test]
fn reading_goes_on_from_every_record() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let contents: Vec<Vec<u8>> = (0..3).map(|_| random.bytes(200, b"\n\r\tabc")).collect();
        let mut case = Case::new(&contents, reading(Format::Tsv, 9));
        case.cut_randomly(&contents, &mut random);
        for partition in 0..u32::try_from(case.plan.partitions.len()).unwrap() {
            let whole = case.rest_of(partition, case.source(partition, 0, 0));
            let splits = &case.plan.partitions[partition as usize];
            for (index, read) in whole.iter().enumerate() {
                let (Read::Record(file, offset, ..) | Read::TooLong(file, offset, _)) = read;
                let split = splits.iter().position(|split| split.file == *file && (split.start..split.end).contains(offset)).unwrap();
                let source = case.source(partition, u32::try_from(split).unwrap(), *offset);
                assert_eq!(case.rest_of(partition, source), whole[index..], "seed {seed}, from split {split} offset {offset}");
            }
            for (index, split) in (0..).zip(splits) {
                let left = whole.len() - case.rest_of(partition, case.source(partition, index, split.end)).len();
                let expected = case.rest_of(partition, case.source(partition, index + 1, 0));
                assert_eq!(whole[left..], expected, "seed {seed}, from the end of split {index}");
            }
        }
    }
}

#[test]
fn ends_of_lines_are_read_as_the_interface_says() {
    let cases: [(&[u8], &[&str]); 10] = [
        (b"", &[]),
        (b"\n", &[""]),
        (b"\n\n", &["", ""]),
        (b"a", &["a"]),
        (b"a\n", &["a"]),
        (b"a\r\n\r\nb", &["a", "", "b"]),
        (b"a\r", &["a\r"]),
        (b"a\r\r\n", &["a\r"]),
        (b"a\rb\n", &["a\rb"]),
        (b"\r\n", &[""]),
    ];
    for (content, expected) in cases {
        let values: Vec<String> = Case::new(&[content.to_vec()], reading(Format::Lines, 100))
            .all()
            .into_iter()
            .map(|read| match read {
                Read::Record(_, _, None, value) => String::from_utf8(value).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(values, expected, "{:?}", content.escape_ascii().to_string());
    }
}

#[test]
fn long_and_many_lines_read_whole_across_the_edges_of_buffers() {
    let mut lines = Vec::new();
    for length in [1, BATCH_BYTES_MAX - 25, BATCH_BYTES_MAX, SOURCE_READ_BYTES - 1, SOURCE_READ_BYTES, SOURCE_READ_BYTES + 1, 3_000_000] {
        lines.extend(std::iter::repeat_n(b'x', length));
        lines.extend(b"\r\nshort\n");
    }
    check(&[lines], reading(Format::Lines, 4 * MIB), "long lines");
    let many: Vec<u8> = (0..300_000_u32).flat_map(|number| format!("{number}\tv\n").into_bytes()).collect();
    check(&[many.clone(), vec![], many], reading(Format::Tsv, 100), "many lines");
    let keyless: Vec<u8> =
        (0..5000_u32).flat_map(|number| format!("{number}{}\n", if number % 7 == 0 { "" } else { "\t" }).into_bytes()).collect();
    check(&[keyless], reading(Format::Tsv, 100), "some without a key");
}

#[test]
fn a_line_over_the_limit_is_measured_and_passed_over_without_being_kept() {
    for limit in [1_u64, 1000, 524_288, 1_000_000] {
        let limit_bytes = usize::try_from(limit).unwrap();
        for format in [Format::Lines, Format::Tsv] {
            let mut content = Vec::new();
            for over in 0..4 {
                for end in ["\n", "\r\n"] {
                    content.extend(std::iter::repeat_n(b'x', limit_bytes - 1 + over));
                    content.extend(end.as_bytes());
                    content.extend(b"\t");
                    content.extend(std::iter::repeat_n(b'y', limit_bytes - 1 + over));
                    content.extend(end.as_bytes());
                }
            }
            content.extend(std::iter::repeat_n(b'z', limit_bytes + 5));
            check(&[content], reading(format, limit), &format!("limit {limit}, {format:?}"));
        }
    }
    let huge = [b"a\n".as_slice(), &vec![b'x'; 40 * 1024 * 1024], b"\r\nb\n"].concat();
    let case = Case::new(std::slice::from_ref(&huge), reading(Format::Lines, MIB));
    assert!(case.all() == naive(&[huge], case.reading), "a huge line");
    let mut source = case.source(0, 0, 0);
    let mut pieces = 0;
    loop {
        match source.next().unwrap() {
            Fetched::Passing => pieces += 1,
            Fetched::End { .. } => break,
            Fetched::Batch(_) | Fetched::TooLong { .. } | Fetched::Unreadable { .. } => {}
        }
    }
    assert!((4..=5).contains(&pieces), "40 MiB are passed over by 8 at a time, so that a stop is seen in between: {pieces} times");
    assert!(source.window.capacity() <= 4 * 1024 * 1024, "{} bytes were kept", source.window.capacity());
}

#[test]
fn a_line_over_the_limit_that_could_not_be_read_to_its_end_is_measured_again() {
    let huge = [b"a\n".as_slice(), &vec![b'x'; 20 * 1024 * 1024], b"\r\nb\n"].concat();
    let mut case = Case::new(std::slice::from_ref(&huge), reading(Format::Lines, MIB));
    let whole = Split { file: 0, start: 0, end: huge.len() as u64 };
    case.plan = Arc::new(Plan { files: case.plan.files.clone(), partitions: vec![vec![whole]] });
    let mut source = case.source(0, 0, 0);
    let read = |source: &mut FileSource| std::iter::repeat_with(|| source.next()).find(|next| *next.as_ref().unwrap() != Fetched::Passing);
    assert!(matches!(read(&mut source), Some(Ok(Fetched::Batch(_)))));
    assert_eq!(source.next().unwrap(), Fetched::Passing);
    // As an error of the system leaves it.
    source.open = None;
    let expected = Fetched::TooLong { split: 0, offset: 2, length: 20 * 1024 * 1024, raw: None, end_offset: huge.len() as u64 - 2 };
    assert_eq!(read(&mut source).unwrap().unwrap(), expected);
    assert_eq!(case.rest_of(0, source), [Read::Record(0, huge.len() as u64 - 2, None, b"b".to_vec())]);
}

#[test]
fn the_contracts_bounds_hold_whatever_the_job_says() {
    let key = [vec![b'k'; KEY_BYTES_MAX + 1], b"\tv\n".to_vec()].concat();
    let value = [b"k\t".to_vec(), vec![b'v'; VALUE_BYTES_MAX + 1]].concat();
    for content in [key, value] {
        let length = content.strip_suffix(b"\n").unwrap_or(&content).len() as u64;
        assert_eq!(Case::new(&[content], reading(Format::Tsv, u64::MAX)).all(), [Read::TooLong(0, 0, length)]);
    }
}

/// Reads the first batch, changes the file, reads on; the change must be found by then, and by `check`.
fn check_change(change: impl Fn(&Case), label: &str) {
    let content: Vec<u8> = (0..200_000_u32).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    let case = Case::new(&[content, b"second\n".to_vec()], reading(Format::Lines, 100));
    let mut source = case.source(0, 0, 0);
    assert!(matches!(source.next().unwrap(), Fetched::Batch(_)), "{label}");
    source.check().unwrap();
    change(&case);
    let found = source.check().unwrap_err();
    assert!(matches!(found, SourceError::Changed { .. }), "{label}: {found:?}");
    let mut last = Fetched::End { split: 0 };
    let error = loop {
        match source.next() {
            Ok(Fetched::End { .. }) => panic!("{label}: read to the end"),
            Ok(fetched) => last = fetched,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SourceError::Changed { .. }), "{label}: {error:?}");
    if let Fetched::Batch(batch) = last {
        assert!(batch.end_offset < case.plan.partitions[0][0].end, "{label}: the end of the split was given");
    }
    let reopened = case.source(0, 0, 5).next().unwrap_err();
    assert!(matches!(reopened, SourceError::Changed { .. }), "{label}: {reopened:?}");
}

#[test]
fn a_file_that_changes_stops_its_reader() {
    let open = |case: &Case| fs::File::options().write(true).open(case.path(0)).unwrap();
    check_change(|case| open(case).set_len(100_000).unwrap(), "cut short");
    check_change(|case| open(case).set_len(10_000_000).unwrap(), "grown");
    check_change(|case| open(case).set_modified(SystemTime::UNIX_EPOCH).unwrap(), "written over");
    check_change(|case| fs::remove_file(case.path(0)).unwrap(), "removed");
    let replaced = |case: &Case| {
        fs::write(case.root.path().join("new"), "other").unwrap();
        fs::rename(case.root.path().join("new"), case.path(0)).unwrap();
    };
    check_change(replaced, "replaced");
}

#[test]
fn positions_outside_the_plan_are_refused() {
    let case = Case::new(&[b"one\n".to_vec()], reading(Format::Lines, 100));
    let open = |partition, split, offset| {
        let at = SourceStart { partition, split, offset };
        FileSource::open(Arc::clone(&case.folder), Arc::clone(&case.plan), at, case.reading).map(drop)
    };
    for (partition, split, offset) in [(1, 0, 0), (0, 2, 0), (0, 0, 5)] {
        let error = open(partition, split, offset).unwrap_err();
        assert!(matches!(error, SourceError::Corrupt { .. }), "{partition} {split} {offset}: {error:?}");
    }
    open(0, 0, 4).unwrap();
    open(0, 1, 0).unwrap();
    let bad = |split| {
        let plan = Plan { files: case.plan.files.clone(), partitions: vec![vec![split]] };
        FileSource::open(Arc::clone(&case.folder), Arc::new(plan), SourceStart { partition: 0, split: 0, offset: 0 }, case.reading)
    };
    for split in [Split { file: 1, start: 0, end: 1 }, Split { file: 0, start: 0, end: 5 }, Split { file: 0, start: 3, end: 2 }] {
        let error = bad(split).map(drop).unwrap_err();
        assert!(matches!(error, SourceError::Corrupt { .. }), "{split:?}: {error:?}");
    }
}
