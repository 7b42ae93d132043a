//! Every format, plain and compressed, against readers that know nothing of ours; and from every record on, which is where a job that was killed
//! goes on.

use std::io::Write;

use super::*;
use crate::format::write_record;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use gregor_model::columns::Record;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// What one call gives: a record, or one that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Record(Option<Vec<u8>>, Vec<u8>),
    TooLong(u64),
    Unreadable(String),
}

/// An item and its split and offset.
pub(super) type Placed = ((u32, u64), Item);

/// A position that a checkpoint may stand at, and the number of items before it.
type Stand = ((u32, u64), usize);
type Compress = fn(&[u8]) -> Vec<u8>;

/// A folder of files with names, which end as what they hold is compressed.
pub(super) struct Folder {
    pub(super) root: TempDir,
    pub(super) folder: Arc<InputFolder>,
    pub(super) plan: Arc<Plan>,
    reading: Reading,
}

impl Folder {
    pub(super) fn new(files: &[(String, Vec<u8>)], reading: Reading) -> Self {
        let root = TempDir::new().unwrap();
        for (name, bytes) in files {
            fs::write(root.path().join(name), bytes).unwrap();
        }
        let folder = Arc::new(InputFolder::open(root.path()).unwrap());
        let plan = make_plan(&folder, "**", reading.format).unwrap();
        // One partition, so that its end is the end of all.
        let plan = Arc::new(Plan { partitions: vec![plan.partitions.concat()], files: plan.files });
        Self { root, folder, plan, reading }
    }

    pub(super) fn source(&self, (split, offset): (u32, u64)) -> FileSource {
        let at = SourceStart { partition: 0, split, offset };
        FileSource::open(Arc::clone(&self.folder), Arc::clone(&self.plan), at, self.reading).unwrap()
    }

    /// Reads from a position to the end; the items, and where it may be gone on from.
    pub(super) fn read(&self, from: (u32, u64)) -> Result<(Vec<Placed>, Vec<Stand>), SourceError> {
        let (mut source, mut items, mut positions) = (self.source(from), Vec::new(), vec![(from, 0)]);
        loop {
            let after = match source.next()? {
                Fetched::Batch(FileBatch { columns, split, end_offset, .. }) => {
                    columns.check().unwrap();
                    for record in columns.iter() {
                        positions.push(((split, record.offset), items.len()));
                        let item = Item::Record(record.key.map(<[u8]>::to_vec), record.value.unwrap().to_vec());
                        items.push(((split, record.offset), item));
                    }
                    (split, end_offset)
                }
                Fetched::TooLong { split, offset, length, end_offset, .. } => {
                    items.push(((split, offset), Item::TooLong(length)));
                    (split, end_offset)
                }
                Fetched::Unreadable { split, offset, reason, end_offset, .. } => {
                    items.push(((split, offset), Item::Unreadable(reason)));
                    (split, end_offset)
                }
                Fetched::Passing => continue,
                Fetched::End { split } => {
                    positions.push(((split, 0), items.len()));
                    return Ok((items, positions));
                }
            };
            positions.push((after, items.len()));
            source.check()?;
        }
    }

    /// Reads all, and again from each position.
    pub(super) fn read_in_two_parts(&self, label: &str) -> Vec<Placed> {
        let (whole, positions) = self.read((0, 0)).unwrap();
        for (from, before) in positions {
            let (rest, _) = self.read(from).unwrap();
            assert_eq!(rest, whole[before..], "{label}: from {from:?}");
        }
        whole
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(content: &[u8]) -> Vec<u8> {
    let mut bytes = compress_to_vec(content, CompressionLevel::Fastest);
    // A frame that carries something else, which readers skip.
    bytes.extend(b"\x51\x2a\x4d\x18\x03\0\0\0abc");
    bytes
}

/// A file of this content under a random ending, in one or more members or frames.
pub(super) fn stored(number: usize, content: &[u8], random: &mut Random) -> (String, Vec<u8>) {
    let (ending, compress): (&str, Compress) = match random.below(4) {
        0 => (".gz", gzip),
        1 => (".zst", zstd),
        2 => (".txt", <[u8]>::to_vec),
        _ => ("", <[u8]>::to_vec),
    };
    let (mut bytes, mut rest) = (Vec::new(), content);
    while random.once_in(2) {
        let (first, second) = rest.split_at(random.below(rest.len() + 1));
        bytes.extend(compress(first));
        rest = second;
    }
    bytes.extend(compress(rest));
    (format!("{number:04}{ending}"), bytes)
}

/// Reads random contents in a format, as they are and compressed, whole and in two parts, and compares with a reference: for each file its items.
fn check_random(format: Format, alphabets: &[&[u8]], reference: impl Fn(&[u8], Reading) -> Vec<(u64, Item)>) {
    let mut items = 0;
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let alphabet = alphabets[random.below(alphabets.len())];
        let reading = reading(format, [20, 1000][random.below(2)]);
        let contents: Vec<Vec<u8>> = (0..=random.below(3)).map(|_| random.bytes(120, alphabet)).collect();
        let files: Vec<_> = contents.iter().enumerate().map(|(number, content)| stored(number, content, &mut random)).collect();
        let folder = Folder::new(&files, reading);
        let mut found = folder.read_in_two_parts(&format!("seed {seed}, {format:?}"));
        for (_, item) in &mut found {
            if let Item::Unreadable(reason) = item {
                assert!(reason.starts_with(&format!("can't be read as {}: ", format.name())), "{reason}");
                reason.clear();
            }
        }
        let mut expected = Vec::new();
        for (split, planned) in (0..).zip(&folder.plan.partitions[0]) {
            let file = reference(&contents[planned.file as usize], reading);
            expected.extend(file.into_iter().map(|(offset, item)| ((split, offset), item)));
        }
        assert_eq!(found, expected, "seed {seed}, {format:?}, {files:?}");
        items += found.len();
    }
    assert!(items > 300, "only {items} records of {format:?}");
}

#[test]
fn lines_of_compressed_files_read_as_those_of_plain_ones_from_every_record_on() {
    for format in [Format::Lines, Format::Tsv] {
        check_random(format, &[b"\n\r\tab", b"ab\xff\xc3\t\n"], |content, reading| {
            let placed = |read| match read {
                Read::Record(_, offset, key, value) => (offset, Item::Record(key, value)),
                Read::TooLong(_, offset, length) => (offset, Item::TooLong(length)),
            };
            naive(&[content.to_vec()], reading).into_iter().map(placed).collect()
        });
    }
}

#[test]
fn json_lines_are_documents_and_other_lines_are_told_from_every_record_on() {
    check_random(Format::JsonLines, &[b"12\n\r ", b"\"a\\\n1,:{}[]\xc3\xa9", b"1\n\n\xef\xbb\xbf"], |content, reading| {
        let lines = naive(&[content.to_vec()], Reading { format: Format::Lines, record_bytes_max: u64::MAX, ..reading });
        let items = lines.into_iter().filter_map(|read| {
            let Read::Record(_, offset, _, mut value) = read else { panic!("{read:?}") };
            let length = value.len() as u64;
            if offset == 0 && value.starts_with("\u{feff}".as_bytes()) {
                value.drain(..3);
            }
            if value.len() as u64 > reading.record_bytes_max {
                return Some((offset, Item::TooLong(length)));
            }
            if value.iter().all(u8::is_ascii_whitespace) {
                return None;
            }
            let is_json = std::str::from_utf8(&value).is_ok_and(|text| serde_json::from_str::<serde_json::Value>(text).is_ok());
            Some((
                offset,
                match is_json {
                    true => Item::Record(None, value),
                    false => Item::Unreadable(String::new()),
                },
            ))
        });
        items.collect()
    });
}

/// Rows as the crate `csv-core` reads them: offset, fields. None where a quote is never closed.
fn rows_of(content: &[u8]) -> Option<Vec<(u64, Vec<Vec<u8>>)>> {
    // A row behind the last one: if a quote is open there, it is part of that.
    let fenced = [content, b"\nz\n"].concat();
    let (mut reader, mut rows, mut at) =
        (csv_core::ReaderBuilder::new().terminator(csv_core::Terminator::Any(b'\n')).build(), Vec::new(), 0);
    loop {
        let (mut text, mut ends) = (vec![0; 4096], vec![0; 4096]);
        let (result, read, _, count) = reader.read_record(&fenced[at..], &mut text, &mut ends);
        if !matches!(result, csv_core::ReadRecordResult::Record) {
            break;
        }
        // It passes over empty lines, and over a mark, when it reads what stands behind.
        let mut offset = at;
        while fenced[offset] == b'\n' {
            offset += 1;
        }
        let begins = std::iter::once(0).chain(ends[..count].iter().copied());
        let fields = begins.zip(&ends[..count]).map(|(begin, &end)| text[begin..end].to_vec()).collect();
        rows.push((offset as u64, fields));
        at += read;
    }
    (rows.pop()?.1 == [b"z".to_vec()]).then_some(rows)
}

#[test]
fn rows_read_as_another_reader_reads_them_from_every_record_on() {
    let (mut read, mut refused) = (0, 0);
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let alphabet: &[u8] = [b"\",\nab".as_slice(), b"ab,\n\n\n", b"\"\"\"a,\n\xc3\xa9", b"a\"\"\n,\xff"][random.below(4)];
        let heads: [&[u8]; 5] = [b"\xef\xbb\xbfx,y\n", b"x,\"y\"\n", b"", b"\xef\xbb\xbf\"x\ny\",z\n", b"\xef\xbb\xbf\"x,\",y\n"];
        let content = [heads[random.below(5)], &random.bytes(100, alphabet)].concat();
        let folder = Folder::new(&[stored(0, &content, &mut random)], reading(Format::Csv, 10_000));
        let names = |fields: &[Vec<u8>]| fields.iter().map(|field| String::from_utf8(field.clone())).collect::<Result<Vec<_>, _>>();
        let expected = rows_of(&content).and_then(|rows| {
            let Some((_, header)) = rows.first() else { return Some(vec![]) };
            let names = names(header).ok()?;
            let unique: std::collections::BTreeSet<&String> = names.iter().collect();
            let item = |fields: &Vec<Vec<u8>>| match fields.iter().map(|field| std::str::from_utf8(field)).collect::<Result<Vec<_>, _>>() {
                Ok(values) if values.len() == names.len() => {
                    let text = |text: &str| serde_json::to_string(text).unwrap();
                    let members: Vec<String> =
                        names.iter().zip(values).map(|(name, value)| format!("{}:{}", text(name), text(value))).collect();
                    Item::Record(None, format!("{{{}}}", members.join(",")).into_bytes())
                }
                _ => Item::Unreadable(String::new()),
            };
            (unique.len() == names.len()).then(|| rows[1..].iter().map(|(offset, fields)| ((0, *offset), item(fields))).collect::<Vec<_>>())
        });
        match expected {
            Some(expected) => {
                let mut found = folder.read_in_two_parts(&format!("seed {seed}"));
                read += found.len();
                found.iter_mut().for_each(|(_, item)| {
                    if let Item::Unreadable(reason) = item {
                        reason.clear()
                    }
                });
                assert_eq!(found, expected, "seed {seed}: {:?}", content.escape_ascii().to_string());
            }
            None => {
                let error = folder.read((0, 0)).unwrap_err();
                assert!(matches!(error, SourceError::Damaged { .. }), "seed {seed}: {error:?}");
                refused += 1;
            }
        }
    }
    assert!(read > 200 && refused > 50, "{read} rows, {refused} files refused");
}

#[test]
fn whatever_text_is_in_a_row_comes_back_whole_from_every_record_on() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let (mut content, mut expected) = (b"\"a\r\nb\",\"\"\"\",c\n".to_vec(), Vec::new());
        for _ in 0..random.below(8) {
            let fields: Vec<String> = (0..3)
                .map(|_| String::from_utf8(random.bytes(6, b"\",\r\n x\\\x01")).unwrap() + if random.once_in(3) { "é😀" } else { "" })
                .collect();
            let end = if random.once_in(2) { "\r\n" } else { "\n" };
            let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let object = serde_json::json!({ "a\r\nb": fields[0], "\"": fields[1], "c": fields[2] });
            expected.push((content.len() as u64, object));
            content.extend(format!("{}{end}", quoted.join(",")).bytes());
        }
        if random.once_in(2) && expected.len() > 1 {
            // The last row needs no end.
            let length = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap().len();
            content.truncate(length);
        }
        let folder = Folder::new(&[stored(0, &content, &mut random)], reading(Format::Csv, 1000));
        let found = folder.read_in_two_parts(&format!("seed {seed}")).into_iter().map(|((_, offset), item)| {
            let Item::Record(None, value) = item else { panic!("seed {seed}: {item:?}") };
            (offset, serde_json::from_slice::<serde_json::Value>(&value).unwrap())
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "seed {seed}");
    }
}

#[test]
fn a_file_of_bytes_is_one_record_unless_it_is_empty_or_over_the_limit() {
    check_random(Format::Bytes, &[b"\n\0a\xff"], |content, reading| match content.len() as u64 {
        0 => vec![],
        length if length > reading.record_bytes_max => vec![(0, Item::TooLong(length))],
        _ => vec![(0, Item::Record(None, content.to_vec()))],
    });
}

#[test]
fn records_larger_than_a_buffer_and_many_in_a_file_read_whole_in_every_format() {
    let mut random = Random::new(1);
    let long = "x".repeat(1_500_000);
    let many: Vec<String> = (0..60_000).map(|number| format!("number {number}")).collect();
    for (format, header, row) in [(Format::Lines, "", "{}"), (Format::JsonLines, "", "[\"{}\"]"), (Format::Csv, "name\n", "\"{}\"")] {
        for values in [vec![long.clone(), "short".to_owned(), long.clone()], many.clone()] {
            let mut content = header.to_owned();
            values.iter().for_each(|value| content.push_str(&(row.replace("{}", value) + "\n")));
            for (name, bytes) in
                [("a", content.clone().into_bytes()), ("a.gz", gzip(content.as_bytes())), ("a.zst", zstd(content.as_bytes()))]
            {
                let folder = Folder::new(&[(name.to_owned(), bytes)], reading(format, 4 * MIB));
                let (items, positions) = folder.read((0, 0)).unwrap();
                assert_eq!(items.len(), values.len(), "{format:?} {name}");
                for ((_, item), value) in items.iter().zip(&values) {
                    let Item::Record(None, found) = item else { panic!("{format:?} {name}: {item:?}") };
                    let expected = match format {
                        Format::JsonLines => format!("[\"{value}\"]"),
                        Format::Csv => format!("{{\"name\":\"{value}\"}}"),
                        _ => value.clone(),
                    };
                    assert!(*found == expected.into_bytes(), "{format:?} {name}: a value of {} bytes", found.len());
                }
                for _ in 0..5 {
                    let (from, before) = positions[random.below(positions.len())];
                    assert!(folder.read(from).unwrap().0 == items[before..], "{format:?} {name} from {from:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_written_in_a_format_reads_back_as_the_same_records() {
    for format in [Format::Lines, Format::Tsv, Format::JsonLines, Format::Csv] {
        let mut count = 0;
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let (mut bytes, mut columns, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            let names = ["a", "b,\"\n", "", "é"];
            let columns_count = 1 + random.below(4);
            for _ in 0..random.below(20) {
                let text =
                    String::from_utf8(random.bytes(8, b"ab,\" \r\n\t\\\x01")).unwrap() + if random.once_in(3) { "\u{feff}é" } else { "" };
                let value = match format {
                    Format::Csv => {
                        let members: Vec<String> = names[..columns_count]
                            .iter()
                            .map(|name| {
                                format!(
                                    "{}:{}",
                                    serde_json::to_string(name).unwrap(),
                                    serde_json::to_string(&(text.clone() + name)).unwrap()
                                )
                            })
                            .collect();
                        format!("{{{}}}", members.join(","))
                    }
                    Format::JsonLines => serde_json::to_string(&text).unwrap(),
                    _ => text.clone(),
                };
                let key = (format == Format::Tsv && random.once_in(2)).then_some(b"key\r".as_slice());
                let record = Record { offset: 0, timestamp: 0, key, value: Some(value.as_bytes()) };
                // A CR before the end of a line belongs to that: what the formats of lines say of themselves.
                if !(matches!(format, Format::Lines | Format::Tsv) && value.ends_with('\r'))
                    && write_record((format, &mut columns), &record, &mut bytes).is_ok()
                {
                    expected.push(Item::Record(key.map(<[u8]>::to_vec), value.into_bytes()));
                }
            }
            let folder = Folder::new(&[("part".to_owned(), bytes)], reading(format, 1000));
            let found: Vec<Item> = folder.read((0, 0)).unwrap().0.into_iter().map(|(_, item)| item).collect();
            assert_eq!(found, expected, "seed {seed}, {format:?}");
            count += found.len();
        }
        assert!(count > 300, "only {count} records of {format:?} could be written");
    }
}
