//! Compressed files that other programs made, that are cut off, corrupt, or far larger than they look; and CSV that is none. Damage is told, with
//! file and byte: what a file held is never just shorter.

use super::formats::{Folder, Item, gzip, zstd};
use super::*;

/// What `gzip` and `zstd` made of `lines.txt`, in two members or frames each.
const GZIP: &[u8] = include_bytes!("../../../tests/fixtures/lines.gz");
const ZSTD: &[u8] = include_bytes!("../../../tests/fixtures/lines.zst");
const TEXT: &str = include_str!("../../../tests/fixtures/lines.txt");

fn read(name: &str, bytes: &[u8]) -> Result<Vec<u8>, SourceError> {
    let folder = Folder::new(&[(name.to_owned(), bytes.to_vec())], reading(Format::Bytes, MIB));
    let items = folder.read((0, 0))?.0;
    match items.as_slice() {
        [] => Ok(Vec::new()),
        [(_, Item::Record(None, value))] => Ok(value.clone()),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn what_gzip_and_zstd_wrote_is_read() {
    for (name, bytes) in [("lines.gz", GZIP), ("lines.zst", ZSTD)] {
        assert!(read(name, bytes).unwrap() == TEXT.as_bytes(), "{name}");
        let folder = Folder::new(&[(name.to_owned(), bytes.to_vec())], reading(Format::Lines, MIB));
        assert_eq!(folder.read_in_two_parts(name).len(), TEXT.lines().count());
    }
}

#[test]
fn a_file_that_is_cut_off_is_never_just_shorter() {
    let first = "first member\n".repeat(30);
    for (name, compress) in [("a.gz", gzip as fn(&[u8]) -> Vec<u8>), ("a.zst", zstd)] {
        let members = [compress(first.as_bytes()), compress(b"second")];
        let whole = members.concat();
        let mut refused = 0;
        for length in 1..whole.len() {
            match read(name, &whole[..length]) {
                // Between two members nobody can tell that there was another one. (Before a frame that is skipped, too.)
                Ok(found) => assert!(
                    [members[0].len(), members[0].len() - 11, whole.len() - 11].contains(&length)
                        && first.as_bytes().starts_with(&found[..first.len()]),
                    "{name} cut at {length} holds {} bytes",
                    found.len()
                ),
                Err(error) => {
                    let message = error.to_string();
                    assert!(matches!(error, SourceError::Damaged { .. }), "{name} cut at {length}: {error:?}");
                    assert!(
                        message.contains(name) && message.contains("cut off") && message.contains(&format!("byte {length}")),
                        "{message}"
                    );
                    refused += 1;
                }
            }
        }
        assert!(refused > whole.len() - 5, "{name}: {refused} of {} cuts are refused", whole.len());
    }
}

#[test]
fn a_byte_that_changed_is_told_or_changes_nothing() {
    // The first frame of zstd has a checksum, as `zstd` makes by default; without one, nobody can tell.
    let frame = zstd_frame_end();
    for (name, bytes) in [("a.gz", GZIP), ("a.zst", &ZSTD[..frame])] {
        let whole = read(name, bytes).unwrap();
        let mut refused = 0;
        for at in 0..bytes.len() {
            let mut altered = bytes.to_vec();
            altered[at] ^= 1 << (at % 8);
            match read(name, &altered) {
                Ok(found) => assert!(found == whole, "{name}: byte {at} changed, and what is read is another text"),
                Err(error) => {
                    assert!(matches!(error, SourceError::Damaged { .. }), "{name} byte {at}: {error:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused > bytes.len() * 9 / 10, "{name}: {refused} of {} changes are refused", bytes.len());
    }
}

/// Where the second frame begins.
fn zstd_frame_end() -> usize {
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    4 + ZSTD[4..].windows(4).position(|bytes| bytes == magic).unwrap()
}

#[test]
fn a_file_that_is_something_else_is_told_by_name() {
    for name in ["a.gz", "b.zst"] {
        for bytes in [b"plain text, and enough of it\n".as_slice(), b"x", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            let error = read(name, bytes).unwrap_err();
            assert!(matches!(&error, SourceError::Damaged { file, at: 0, .. } if file == name), "{error:?}");
        }
        // Behind what is whole, too.
        let whole = if name == "a.gz" { gzip(b"one\n") } else { zstd(b"one\n") };
        let error = read(name, &[whole, b"rubbish behind the data".to_vec()].concat()).unwrap_err();
        assert!(matches!(&error, SourceError::Damaged { file, .. } if file == name), "{error:?}");
    }
}

#[test]
fn a_frame_that_asks_for_more_memory_than_is_given_is_refused() {
    // Magic, a header without content size, a window of 16 MiB, an empty last block.
    let error = read("a.zst", b"\x28\xb5\x2f\xfd\x00\x70\x01\0\0").unwrap_err();
    assert!(error.to_string().contains("compress it without --long"), "{error}");
    assert_eq!(read("a.zst", b"\x28\xb5\x2f\xfd\x00\x68\x01\0\0").unwrap(), b"", "a window of 8 MiB");
    let error = read("a.zst", b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\0\0").unwrap_err();
    assert!(error.to_string().contains("takes dictionary 7"), "{error}");
}

#[test]
fn a_small_file_that_holds_gigabytes_is_passed_over_piece_by_piece_in_bounded_memory() {
    let zeros = vec![0; 32 * 1024 * 1024];
    for (name, member) in [("a.gz", gzip(&zeros)), ("a.zst", zstd(&zeros))] {
        for format in [Format::Lines, Format::JsonLines, Format::Bytes] {
            let bytes = [member.clone(), member.clone()].concat();
            assert!(bytes.len() < 1_000_000, "{} bytes", bytes.len());
            let folder = Folder::new(&[(name.to_owned(), bytes)], reading(format, MIB));
            let mut source = folder.source((0, 0));
            let mut pieces = 0;
            let fetched = loop {
                match source.next().unwrap() {
                    Fetched::Passing => pieces += 1,
                    other => break other,
                }
            };
            let expected = Fetched::TooLong { split: 0, offset: 0, length: 64 * MIB, raw: None, end_offset: 64 * MIB };
            assert_eq!(fetched, expected, "{name} {format:?}");
            assert!((6..=8).contains(&pieces), "{name}: 64 MiB are passed over by 8 at a time: {pieces} times");
            assert!(source.window.capacity() <= 4 * 1024 * 1024, "{name}: {} bytes were kept", source.window.capacity());
            assert_eq!(source.next().unwrap(), Fetched::End { split: 1 });
        }
    }
}

#[test]
fn a_frame_that_gives_less_than_it_says_is_never_just_shorter() {
    // Five bytes are told, without a checksum; a block of three follows.
    let error = read("a.zst", b"\x28\xb5\x2f\xfd\x20\x05\x1b\0\0a").unwrap_err();
    assert!(error.to_string().contains("is to have 5 bytes of content, and has 3"), "{error}");
    assert_eq!(read("a.zst", b"\x28\xb5\x2f\xfd\x20\x03\x1b\0\0a").unwrap(), b"aaa");
}

#[test]
fn empty_lines_without_end_hold_up_neither_the_records_before_them_nor_others() {
    for (format, record) in [(Format::JsonLines, "1\n"), (Format::Csv, "a\n1\n")] {
        let text = [record.as_bytes(), &vec![b'\n'; 64 * 1024 * 1024], b"2\n"].concat();
        for (name, bytes) in [("a.gz", gzip(&text)), ("a.zst", zstd(&text))] {
            let folder = Folder::new(&[(name.to_owned(), bytes)], reading(format, MIB));
            let (mut source, mut pieces, mut values) = (folder.source((0, 0)), 0, 0);
            loop {
                match source.next().unwrap() {
                    Fetched::Passing => pieces += 1,
                    Fetched::Batch(batch) => {
                        values += batch.columns.len();
                        assert!(
                            batch.end_offset <= 10 * MIB || values == 2,
                            "{name}: the first record is held back until {}",
                            batch.end_offset
                        );
                    }
                    Fetched::End { .. } => break,
                    other => panic!("{other:?}"),
                }
            }
            assert!(values == 2 && (5..=8).contains(&pieces), "{name} {format:?}: {values} records, {pieces} pieces");
        }
    }
}

#[test]
fn a_compressed_file_that_was_cut_into_splits_is_refused() {
    let bytes = gzip(TEXT.as_bytes());
    let folder = Folder::new(&[("a.gz".to_owned(), bytes)], reading(Format::Lines, MIB));
    let mut plan = (*folder.plan).clone();
    plan.partitions[0][0].end -= 1;
    let at = SourceStart { partition: 0, split: 0, offset: 0 };
    let refused = FileSource::open(Arc::clone(&folder.folder), Arc::new(plan), at, reading(Format::Lines, MIB));
    assert!(matches!(refused, Err(SourceError::Corrupt { .. })), "{:?}", refused.err());
}

#[test]
fn going_on_far_inside_a_compressed_file_asks_again_piece_by_piece() {
    let text = "a line of text\n".repeat(2_000_000);
    let at = 15 * 1_900_000;
    for (name, bytes) in [("a.gz", gzip(text.as_bytes())), ("a.zst", zstd(text.as_bytes()))] {
        let folder = Folder::new(&[(name.to_owned(), bytes)], reading(Format::Lines, MIB));
        let mut source = folder.source((0, at));
        let mut pieces = 0;
        let fetched = loop {
            match source.next().unwrap() {
                Fetched::Passing => pieces += 1,
                Fetched::Batch(batch) => break batch,
                other => panic!("{other:?}"),
            }
        };
        assert!((2..=4).contains(&pieces), "{pieces} pieces");
        assert_eq!(fetched.columns.offsets[0], at, "{name}");
        assert_eq!(folder.read((0, at)).unwrap().0.len(), 100_000, "{name}");
    }
}

#[test]
fn positions_behind_the_content_of_a_compressed_file_are_refused() {
    for (name, bytes) in [("a.gz", gzip(b"one\n")), ("a.zst", zstd(b"one\n"))] {
        let folder = Folder::new(&[(name.to_owned(), bytes)], reading(Format::Lines, MIB));
        assert_eq!(folder.read((0, 4)).unwrap().0, []);
        let error = folder.read((0, 5)).unwrap_err();
        assert!(matches!(error, SourceError::Corrupt { what: "the offset", found: 5, limit: 4 }), "{error:?}");
    }
}

#[test]
fn a_compressed_file_that_is_written_over_has_changed_and_is_not_damaged() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    for (name, bytes) in [("a.gz", gzip(&text)), ("a.zst", zstd(&text))] {
        let folder = Folder::new(&[(name.to_owned(), bytes.clone())], reading(Format::Lines, MIB));
        let mut source = folder.source((0, 0));
        assert!(matches!(source.next().unwrap(), Fetched::Batch(_)));
        fs::write(folder.root.path().join(name), vec![b'x'; bytes.len() / 2]).unwrap();
        let error = std::iter::repeat_with(|| source.next()).find_map(Result::err).unwrap();
        assert!(matches!(error, SourceError::Changed { .. }), "{error:?}");
    }
}

/// Expects that a CSV file can't be read, and that the message says why and where.
fn check_csv(content: &str, at: u64, expected: &str) {
    for (name, bytes) in [("a.csv", content.as_bytes().to_vec()), ("a.csv.gz", gzip(content.as_bytes()))] {
        let folder = Folder::new(&[(name.to_owned(), bytes)], reading(Format::Csv, 1000));
        let error = folder.read((0, 0)).unwrap_err();
        assert!(matches!(&error, SourceError::Damaged { file, at: found, .. } if file == name && *found == at), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn csv_that_is_none_names_file_and_byte() {
    check_csv("a,b\n1,2\n\"3,4\n5,6\n", 8, "is never closed");
    check_csv("a,\"b\n1,2\n", 0, "is never closed");
    check_csv(&format!("a,b\n1,2\n\"{}", "x\n".repeat(3000)), 6009, "is never closed");
    check_csv("a,b,a\n1,2,3\n", 6, "has two columns \"a\"");
    check_csv(&format!("{},b\n1,2\n", "a".repeat(2000)), 0, "more than the 1000 bytes of limits.record");
    let folder = Folder::new(&[("a".to_owned(), b"a,\xff\n1,2\n".to_vec())], reading(Format::Csv, 1000));
    let error = folder.read((0, 0)).unwrap_err();
    assert!(error.to_string().contains("column 2 of its header line is not UTF-8"), "{error}");
}

#[test]
fn rows_that_are_none_are_left_out_one_by_one() {
    let folder = Folder::new(&[("a".to_owned(), b"a,b\n1,2\n3\n4,5,6\n7,\xff\n8,9".to_vec())], reading(Format::Csv, 30));
    let object = |text: &str| Item::Record(None, text.as_bytes().to_vec());
    let none = |text: &str| Item::Unreadable(format!("can't be read as csv: it {text}"));
    let expected = [
        (4, object("{\"a\":\"1\",\"b\":\"2\"}")),
        (8, none("has 1 fields, the header line of its file has 2")),
        (10, none("has 3 fields, the header line of its file has 2")),
        (16, none("is not UTF-8 in its field 2")),
        (20, object("{\"a\":\"8\",\"b\":\"9\"}")),
    ];
    assert_eq!(folder.read_in_two_parts("rows"), expected.map(|(offset, item)| ((0, offset), item)));
    let folder = Folder::new(&[("a".to_owned(), b"a,b\n1234567890,1234567890\n1,2\n".to_vec())], reading(Format::Csv, 30));
    let none = Item::Unreadable("can't be read as csv: as a JSON object it has 35 bytes, limits.record allows 30".to_owned());
    assert_eq!(folder.read_in_two_parts("rows")[0], ((0, 4), none));
}

/// What is kept of records that are passed over: offset, bytes, and the length of those that are too long.
fn kept(name: &str, content: &[u8], (format, limit): (Format, u64)) -> Vec<(u64, Vec<u8>, Option<u64>)> {
    let bytes = if name.ends_with(".gz") { gzip(content) } else { content.to_vec() };
    let folder = Folder::new(&[(name.to_owned(), bytes)], Reading { passed_over: PassedOver::Kept, ..reading(format, limit) });
    let modified_ms = timestamp_of(folder.plan.files[0].modified_ns);
    let (mut source, mut kept) = (folder.source((0, 0)), Vec::new());
    loop {
        match source.next().unwrap() {
            Fetched::Batch(_) | Fetched::Passing => {}
            Fetched::TooLong { offset, length, raw: Some(Raw { bytes, timestamp }), .. } => {
                assert_eq!(timestamp, modified_ms);
                kept.push((offset, bytes, Some(length)));
            }
            Fetched::Unreadable { offset, raw: Some(Raw { bytes, timestamp }), .. } => {
                assert_eq!(timestamp, modified_ms);
                kept.push((offset, bytes, None));
            }
            Fetched::End { .. } => return kept,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn of_a_record_that_no_task_can_read_its_first_bytes_are_kept_as_they_stand() {
    // Longer than what is read at once, and than what is passed over at once.
    let huge = "h\u{e9}".repeat(4 * 1024 * 1024);
    for name in ["a", "a.gz"] {
        let lines = format!("short\r\n{huge}\r\n0123456789a\n0123456789ab\r\nshort\nlast one, longer\r");
        let at = |what: &str| lines.find(what).unwrap() as u64;
        let expected = vec![
            (7, huge.as_bytes()[..10].to_vec(), Some(huge.len() as u64)),
            (at("0123456789a\n"), b"0123456789".to_vec(), Some(11)),
            (at("0123456789ab"), b"0123456789".to_vec(), Some(12)),
            (at("last one"), b"last one, ".to_vec(), Some(17)),
        ];
        assert!(kept(name, lines.as_bytes(), (Format::Lines, 10)) == expected, "{name}: lines");

        let tsv = format!("k\tv\n{}\tv\nk\tv\n", "k".repeat(KEY_BYTES_MAX + 1));
        let line = tsv.lines().nth(1).unwrap();
        let expected = [(4, line.as_bytes().to_vec(), Some(line.len() as u64))];
        assert!(kept(name, tsv.as_bytes(), (Format::Tsv, 2 * MIB)) == expected, "{name}: a key that is too long is not cut");

        let json = "\u{feff}{\r\n1\n[1,]\r\n\n{} {}";
        let expected: [(u64, Vec<u8>, Option<u64>); 3] =
            [(0, "\u{feff}{".into(), None), (8, b"[1,]".to_vec(), None), (15, b"{} {}".to_vec(), None)];
        assert_eq!(kept(name, json.as_bytes(), (Format::JsonLines, 100)), expected, "{name}");

        let csv = "a,b\r\n1,2\r\n1,\"2\r\n3\",4\r\n\"long, \r\nlonger, longest\",2\r\n1";
        let expected =
            [(10, b"1,\"2\r\n3\",4".to_vec(), None), (22, b"\"long, \r\nlonger, longest\"".to_vec(), Some(27)), (51, b"1".to_vec(), None)];
        assert_eq!(kept(name, csv.as_bytes(), (Format::Csv, 25)), expected, "{name}");

        let whole = kept(name, huge.as_bytes(), (Format::Bytes, 1000));
        assert!(whole == [(0, huge.as_bytes()[..1000].to_vec(), Some(huge.len() as u64))], "{name}: bytes");
    }
}
