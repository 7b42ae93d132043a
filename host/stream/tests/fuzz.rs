#![cfg(test)]
//! Runs, plans, releases and input files against damage and lies. A run that was changed is refused unless its checksum was made to match again; what
//! is read then is written and read the same. A plan leads nowhere but into its folder and is read to an end, as is a file, compressed or not, unless it
//! is refused; a release gives names only in its folder. Nothing panics, and no length makes room for more than is there.

#[path = "../../../tests/fuzz/fuzzer.rs"]
mod fuzzer;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use gregor_model::columns::{Columns, Headers, Record};
use gregor_model::digest::Digest;
use gregor_model::job::Format;
use gregor_model::manifest::{MANIFEST, Manifest, Release};
use gregor_model::names::{Incarnation, JobName};
use gregor_model::plan::{PLAN, Plan};
use gregor_model::spec::Marker;
use gregor_model::steps::Unobserved;
use gregor_stream::{
    Fetched, FileSource, InputFolder, OutputFolder, PassedOver, Reading, SourceStart, check_plan, decode_run, encode_block, make_plan,
};

use fuzzer::mutate::{self, Random};
use fuzzer::{Fuzz, Outcome, files, peak_bytes};

const FIRST_OFFSET: u64 = 40;
// Bytes of a block before its checksum, and before what that covers.
const CHECKSUM_AT: usize = 4;
const CHECKED_FROM: usize = 8;

fn run_of(blocks: &[Columns]) -> Vec<u8> {
    let mut bytes = Vec::new();
    blocks.iter().for_each(|block| encode_block(block, &mut bytes).unwrap());
    bytes
}

/// The stored run of version 1, and runs with wide lengths, nulls and headers.
fn runs() -> Vec<Vec<u8>> {
    let mut seeds = files("host/stream/tests/fixtures", |name| name.starts_with("run-"));
    for (longest, headers) in [(0, false), (3, true), (300, false), (70_000, true)] {
        let mut columns = Columns { headers: headers.then(Headers::default), ..Columns::default() };
        for offset in FIRST_OFFSET..FIRST_OFFSET + 5 {
            let (key, value) = (vec![b'k'; longest], b"value value".to_vec());
            let value = (offset % 2 == 0).then_some(value.as_slice());
            columns.push(Record { offset, timestamp: offset.cast_signed(), key: Some(&key), value }).unwrap();
            if let Some(headers) = &mut columns.headers {
                headers.set_last(&[(b"name", b"one"), (b"", b"")]);
            }
        }
        seeds.push(run_of(&[columns]));
    }
    seeds
}

#[test]
fn a_damaged_run_is_refused_or_ends_where_a_block_does() {
    let seeds = runs();
    let meant: Vec<Vec<Columns>> = seeds.iter().map(|seed| decode_run(seed, FIRST_OFFSET).unwrap()).collect();
    Fuzz { format: "run-damaged", seeds: &seeds, rounds: 10_000 }.run(mutate::bytes, |input| match decode_run(input, FIRST_OFFSET) {
        Ok(read) => {
            // Whole blocks may have been cut off, doubled or joined: length and digest in the footer tell that.
            let whole =
                |block: &Columns| meant.iter().flatten().any(|known| known.data == block.data && known.timestamps == block.timestamps);
            assert!(read.iter().all(whole), "damage is taken for records");
            Outcome::Read
        }
        Err(error) => {
            assert!(error.to_string().starts_with("block at byte "), "{error}");
            Outcome::Refused
        }
    });
}

/// Makes the first block's length and checksum match what was made of it.
fn signed_run(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = mutate::bytes(random, seeds);
    if bytes.len() < 24 {
        return bytes;
    }
    bytes[..4].copy_from_slice(b"GRB\x01");
    // Numbers of the frame, most of all.
    if random.below(2) == 0 {
        let at = 12 + random.below(12);
        bytes[at] = *random.one(&[0, 1, 2, 3, 4, 5, 7, 0x7f, 0xff]);
    }
    let length = u32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[CHECKED_FROM..]);
    bytes[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn a_run_whose_checksum_matches_is_read_as_it_is_written_or_refused() {
    let seeds: Vec<Vec<u8>> = runs().into_iter().skip(1).collect();
    let (read, refused) = Fuzz { format: "run", seeds: &seeds, rounds: 30_000 }.run(signed_run, |input| {
        let Ok(blocks) = decode_run(input, FIRST_OFFSET) else { return Outcome::Refused };
        for block in &blocks {
            block.check().unwrap();
            for index in 0..block.len() {
                assert!(block.get(index).is_some_and(|record| record.offset >= FIRST_OFFSET));
                let _ = block.headers_of(index);
            }
            let mut half = block.part(block.len() / 2..block.len());
            half.check().unwrap();
            half.truncate(1);
            half.check().unwrap();
        }
        assert_eq!(decode_run(&run_of(&blocks), FIRST_OFFSET), Ok(blocks), "it is read differently when it was written again");
        let _ = decode_run(input, u64::MAX - 3);
        Outcome::Read
    });
    assert!(read > 300 && refused > 300, "{read} read, {refused} refused: the mutations miss the format");
}

#[test]
fn lengths_that_claim_gigabytes_take_no_room() {
    let before = peak_bytes();
    for seed in runs().into_iter().skip(1) {
        for at in (8..seed.len().min(64)).step_by(2) {
            for number in [u32::MAX, 1 << 31, 1 << 30] {
                let mut altered = seed.clone();
                let end = (at + 4).min(altered.len());
                altered[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
                let checksum = crc32fast::hash(&altered[CHECKED_FROM..]);
                altered[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
                let _ = decode_run(&altered, FIRST_OFFSET);
            }
        }
    }
    let taken = peak_bytes() - before;
    assert!(taken < 512 << 20, "runs of some kilobytes made the reader reserve {taken} bytes");
}

/// A folder with three files, and the plan of them.
fn input() -> (tempfile::TempDir, Arc<InputFolder>, Plan) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::write(folder.path().join("secret"), "outside\n").unwrap();
    for (name, text) in [("a.txt", "one\ntwo\nthree\n"), ("b.txt", ""), ("c.txt", "four\nfive")] {
        fs::write(folder.path().join("in").join(name), text).unwrap();
    }
    let input = InputFolder::open(&folder.path().join("in")).unwrap();
    let plan = make_plan(&input, "*.txt", Format::Lines).unwrap();
    (folder, Arc::new(input), plan)
}

#[test]
fn a_plan_leads_nowhere_but_into_its_folder_and_is_read_to_an_end() {
    let (_kept, folder, plan) = input();
    let seeds = vec![PLAN.encode(&plan).unwrap(), files("tests/fixtures", |name| name == "plan-v1").remove(0)];
    Fuzz { format: "plan", seeds: &seeds, rounds: 6_000 }.run(mutate::signed, |input| {
        let Ok(plan) = PLAN.decode::<Plan>(input) else { return Outcome::Refused };
        if let Err(error) = check_plan(&folder, &plan) {
            assert!(error.to_string().contains("in folder"), "{error}");
        }
        let plan = Arc::new(plan);
        let partitions = u32::try_from(plan.partitions.len()).unwrap();
        for (partition, split, offset) in [(0, 0, 0), (0, 0, u64::MAX), (0, u32::MAX, 0), (partitions, 0, 0), (u32::MAX, 0, 0), (0, 1, 5)] {
            read_to_end(&folder, &plan, SourceStart { partition, split, offset });
        }
        Outcome::Read
    });
}

/// Reads until the end or an error; never more than what the folder holds.
fn read_to_end(folder: &Arc<InputFolder>, plan: &Arc<Plan>, at: SourceStart) {
    let reading = Reading { format: Format::Lines, record_bytes_max: 1 << 20, passed_over: PassedOver::Kept };
    let Ok(mut source) = FileSource::open(Arc::clone(folder), Arc::clone(plan), at, reading) else { return };
    let splits = plan.partitions[at.partition as usize].len();
    for _ in 0..=splits {
        match source.next() {
            Ok(Fetched::Batch(batch)) => {
                assert!(!batch.columns.data.windows(7).any(|word| word == b"outside"), "a file outside the folder was read");
                batch.columns.check().unwrap();
            }
            Ok(Fetched::TooLong { .. } | Fetched::Unreadable { .. } | Fetched::Passing) => {}
            Ok(Fetched::End { .. }) | Err(_) => return,
        }
    }
    panic!("{splits} splits give more batches than that");
}

#[test]
fn a_release_gives_names_only_in_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let marker = Marker { job: JobName::new("wordcount").unwrap(), incarnation: Incarnation(7) };
    let folder = OutputFolder::open(&root.path().join("out"), &marker, Arc::new(Unobserved)).unwrap();
    fs::write(root.path().join("precious"), "precious").unwrap();
    let temporary = format!("._{}-count-out-1-1-1.tmp", Incarnation(7));
    let mut manifest: Manifest = MANIFEST.decode(&files("tests/fixtures", |name| name == "manifest-v2")[0]).unwrap();
    let own = Release {
        temporary: temporary.clone(),
        name: "part-count-1-5".to_owned(),
        length: 9,
        sha256: Digest::of(b"nine byte"),
        ..manifest.releases[0].clone()
    };
    manifest.segments.clear();
    manifest.releases = vec![own];
    let seeds = vec![MANIFEST.encode(&manifest).unwrap()];
    Fuzz { format: "release", seeds: &seeds, rounds: 3_000 }.run(mutate::signed, |input| {
        let Ok(manifest) = MANIFEST.decode::<Manifest>(input) else { return Outcome::Refused };
        for release in manifest.releases.iter().take(8) {
            folder.write_temporary(&temporary, b"nine byte").unwrap();
            let observed = folder.observe(release);
            if folder.release(release).is_ok() {
                assert!(observed.is_ok(), "what may not be looked at is released");
                let _ = fs::remove_file(root.path().join("out").join(&release.name));
            }
        }
        assert_eq!(names(root.path()), ["out", "precious"], "something happened outside the folder");
        assert_eq!(fs::read(root.path().join("precious")).unwrap(), b"precious");
        Outcome::Read
    });
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Reads a file of a format to its end, in a folder of its own.
fn read_file(folder: &Path, name: &str, (bytes, format): (&[u8], Format)) -> Outcome {
    fs::write(folder.join(name), bytes).unwrap();
    let input = Arc::new(InputFolder::open(folder).unwrap());
    let Ok(plan) = make_plan(&input, name, format) else { return Outcome::Refused };
    let reading = Reading { format, record_bytes_max: 1 << 16, passed_over: PassedOver::Kept };
    let at = SourceStart { partition: 0, split: 0, offset: 0 };
    let mut source = FileSource::open(input, Arc::new(plan), at, reading).unwrap();
    let mut place = 0;
    loop {
        let next = match source.next() {
            Ok(Fetched::Batch(batch)) => {
                batch.columns.check().unwrap();
                batch.end_offset
            }
            Ok(Fetched::TooLong { end_offset, .. } | Fetched::Unreadable { end_offset, .. }) => end_offset,
            Ok(Fetched::Passing) => continue,
            Ok(Fetched::End { .. }) => return Outcome::Read,
            Err(error) => {
                assert!(error.to_string().starts_with(&format!("input file {name:?} in folder ")), "{error}");
                return Outcome::Refused;
            }
        };
        assert!(next > place, "it does not come forward from byte {place}");
        place = next;
    }
}

#[test]
fn compressed_data_that_was_changed_is_refused_or_read_to_an_end() {
    let root = tempfile::tempdir().unwrap();
    let texts = [b"a line\n".repeat(300), (0..600_u32).flat_map(u32::to_le_bytes).collect(), vec![b'x'; 5_000], b"short".to_vec()];
    let frames: Vec<Vec<u8>> =
        texts.iter().map(|text| ruzstd::encoding::compress_to_vec(text.as_slice(), ruzstd::encoding::CompressionLevel::Fastest)).collect();
    let members: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| {
            let mut member = Vec::new();
            flate2::bufread::GzEncoder::new(text.as_slice(), flate2::Compression::default()).read_to_end(&mut member).unwrap();
            member
        })
        .collect();
    let stored = |ending: &'static str| files("host/stream/tests/fixtures", move |name| name.ends_with(ending));
    let before = peak_bytes();
    for (format, name, seeds) in
        [("zstd", "a.zst", [frames, stored("lines.zst")].concat()), ("gzip", "a.gz", [members, stored("lines.gz")].concat())]
    {
        let check = |input: &[u8]| read_file(root.path(), name, (input, Format::Lines));
        let (_, refused) = Fuzz { format, seeds: &seeds, rounds: 6_000 }.run(mutate::bytes, check);
        assert!(refused > 500, "{refused} refused: the mutations miss the format");
    }
    let taken = peak_bytes() - before;
    assert!(taken < 256 << 20, "files of some kilobytes made the reader take {taken} bytes");
}

#[test]
fn text_that_was_changed_is_read_to_an_end_or_refused() {
    let root = tempfile::tempdir().unwrap();
    let csv = [b"a,\"b \"\"c\"\"\"\r\n1,\"x,\ny\"\n\n2,\n".to_vec(), b"\xef\xbb\xbfa,b\n1,2\n3\n".to_vec()];
    let check = |input: &[u8]| read_file(root.path(), "a.csv", (input, Format::Csv));
    let (read, refused) = Fuzz { format: "csv", seeds: &csv, rounds: 6_000 }.run(mutate::bytes, check);
    assert!(read > 500 && refused > 500, "{read} read, {refused} refused: the mutations miss the format");
    let json = [b"{\"a\": [1, \"\\u00e9\"]}\n\n  \n-1.5e3\r\nnull\n".to_vec(), b"\xef\xbb\xbf[[[[]]]]\n\"text\"".to_vec()];
    let check = |input: &[u8]| read_file(root.path(), "a.jsonl", (input, Format::JsonLines));
    Fuzz { format: "json-lines", seeds: &json, rounds: 6_000 }.run(mutate::bytes, check);
}
