//! Blocks: records of one partition as they are stored. A run is blocks back to back. Refuses stored bytes that contradict themselves in any
//! number, and versions that it does not know; a damaged block is never taken for the end of a run.
//!
//! All numbers are little-endian. Offsets are left out: the records of a run are consecutive, and whoever knows the run knows its first offset.
//! Lengths take as many bytes as the longest needs, since most keys are short and most streams of words have no value at all; ends would take
//! four bytes each. A block begins anywhere: nothing is aligned.
//!
//! ```text
//! offset   length     content
//! 0        3          "GRB"
//! 3        1          version, 1
//! 4        4          CRC-32 (IEEE 802.3) of all that follows, up to the block's end
//! 8        4          b, bytes of the block from offset 12 on
//! 12       4          n, records, 1 to 65,536
//! 16       4          d, bytes of data
//! 20       1          width of a key's length in bytes: 0 (all are 0), 1, 2 or 4
//! 21       1          width of a value's length, likewise
//! 22       1          flags: 1 = one timestamp for all records, 2 = nulls follow, 4 = headers follow; others are 0
//! 23       1          0
//! 24       8 or 8 n   timestamps, signed, milliseconds since 1970
//! …        … n        lengths of keys
//! …        … n        lengths of values
//! …        0 or ⌈n/4⌉ nulls, two bits a record as in the contract's `record-batch`; bits past the last record are 0
//! …        d          data: key, value, key, value …
//!                     and, where flagged, headers:
//! …        4          t, headers of all records
//! …        4          h, bytes of header data
//! …        4 n        how many headers each record has
//! …        4 t        end of each name in the header data
//! …        4 t        end of each value in the header data
//! …        h          header data: name, value, name, value …
//! ```

use gregor_model::columns::{Columns, Headers};
use gregor_model::limits::BLOCK_RECORDS_MAX;

use crate::error::BlockError;

const MAGIC: [u8; 3] = *b"GRB";
/// The version that is written, and the newest that is read.
const VERSION: u8 = 1;
/// Bytes up to and with b.
const PREFIX_BYTES: usize = 12;
/// Bytes of a block that its checksum does not cover: magic, version, the checksum itself.
const UNCHECKED_BYTES: usize = 8;

const ONE_TIMESTAMP: u8 = 1;
const HAS_NULLS: u8 = 2;
const HAS_HEADERS: u8 = 4;

/// Appends records to `into` as one block; offsets are not stored. Columns without a record append nothing.
///
/// # Errors
/// The columns contradict each other, or hold more than 65,536 records or 4 GiB; what was appended until then is to be thrown away.
pub fn encode_block(columns: &Columns, into: &mut Vec<u8>) -> Result<(), BlockError> {
    columns.check()?;
    let n = columns.len();
    if n == 0 {
        return Ok(());
    }
    if n > BLOCK_RECORDS_MAX {
        return Err(BlockError::TooLarge { what: "the number of records", found: n, limit: BLOCK_RECORDS_MAX });
    }
    let body = Body::of(columns)?;
    let start = into.len();
    into.extend_from_slice(&MAGIC);
    into.push(VERSION);
    into.extend_from_slice(&[0; 8]);
    body.write(columns, into)?;
    let length = narrow("the number of bytes", into.len() - start - PREFIX_BYTES)?;
    fill(into, start + UNCHECKED_BYTES, length);
    let checksum = crc32fast::hash(into.get(start + UNCHECKED_BYTES..).unwrap_or_default());
    fill(into, start + 4, checksum);
    Ok(())
}

/// Reads all blocks of a run, giving their records the offsets `first_offset`, `first_offset` + 1, …
///
/// # Errors
/// Any number in any block does not fit the rest, or a block is of a newer version; nothing of the run is given then. A run that is cut exactly
/// between two blocks reads as a shorter one: its length and digest stand in the footer of its part, for the caller to check.
pub fn decode_run(bytes: &[u8], first_offset: u64) -> Result<Vec<Columns>, BlockError> {
    let mut blocks = Vec::new();
    let (mut at, mut offset) = (0, first_offset);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (columns, length) = decode_block(rest, offset).map_err(|wrong| wrong.at(at))?;
        offset += columns.len() as u64;
        at += length;
        blocks.push(columns);
    }
    Ok(blocks)
}

/// What is derived from columns before they are written.
struct Body {
    keys: Lengths,
    values: Lengths,
    flags: u8,
}

/// Lengths of keys or values, and the bytes that each takes.
struct Lengths {
    lengths: Vec<u32>,
    width: u8,
}

impl Lengths {
    fn of(ends: impl Iterator<Item = (u32, u32)>) -> Self {
        let lengths: Vec<u32> = ends.map(|(start, end)| end.saturating_sub(start)).collect();
        let width = match lengths.iter().max() {
            None | Some(0) => 0,
            Some(1..=0xff) => 1,
            Some(0x100..=0xffff) => 2,
            Some(_) => 4,
        };
        Self { lengths, width }
    }

    fn write(&self, into: &mut Vec<u8>) {
        let lengths = self.lengths.iter().map(|length| length.to_le_bytes());
        // One loop for each width, so that each is a few instructions a length.
        match self.width {
            0 => {}
            1 => into.extend(lengths.map(|[first, ..]| first)),
            2 => lengths.for_each(|[first, second, ..]| into.extend_from_slice(&[first, second])),
            _ => lengths.for_each(|bytes| into.extend_from_slice(&bytes)),
        }
    }

    fn read(cursor: &mut Cursor<'_>, n: usize, width: u8) -> Result<Vec<u32>, Wrong> {
        let bytes = cursor.take(n * usize::from(width))?;
        Ok(match width {
            0 => vec![0; n],
            1 => bytes.iter().map(|&byte| u32::from(byte)).collect(),
            2 => bytes.as_chunks::<2>().0.iter().map(|&pair| u32::from(u16::from_le_bytes(pair))).collect(),
            4 => u32s(bytes),
            _ => return Err(Wrong::Corrupt(format!("a length takes {width} bytes, expected 0, 1, 2 or 4"))),
        })
    }
}

impl Body {
    fn of(columns: &Columns) -> Result<Self, BlockError> {
        narrow("the number of bytes of data", columns.data.len())?;
        let starts = || std::iter::once(0).chain(columns.value_ends.iter().copied());
        let one_timestamp = columns.timestamps.windows(2).all(|pair| pair.first() == pair.last());
        let mut flags = if one_timestamp { ONE_TIMESTAMP } else { 0 };
        flags |= if columns.nulls.is_empty() { 0 } else { HAS_NULLS };
        flags |= if columns.headers.is_some() { HAS_HEADERS } else { 0 };
        Ok(Self {
            keys: Lengths::of(starts().zip(columns.key_ends.iter().copied())),
            values: Lengths::of(columns.key_ends.iter().copied().zip(columns.value_ends.iter().copied())),
            flags,
        })
    }

    fn write(&self, columns: &Columns, into: &mut Vec<u8>) -> Result<(), BlockError> {
        let n = columns.len();
        into.reserve(columns.data.len() + 17 * n + 64);
        into.extend_from_slice(&narrow("the number of records", n)?.to_le_bytes());
        into.extend_from_slice(&narrow("the number of bytes of data", columns.data.len())?.to_le_bytes());
        into.extend_from_slice(&[self.keys.width, self.values.width, self.flags, 0]);
        let timestamps = if self.flags & ONE_TIMESTAMP == 0 { n } else { 1 };
        for timestamp in columns.timestamps.iter().take(timestamps) {
            into.extend_from_slice(&timestamp.to_le_bytes());
        }
        self.keys.write(into);
        self.values.write(into);
        into.extend_from_slice(&columns.nulls);
        if let Some(last) = into.last_mut().filter(|_| !columns.nulls.is_empty() && !n.is_multiple_of(4)) {
            *last &= last_nulls(n);
        }
        into.extend_from_slice(&columns.data);
        match &columns.headers {
            Some(headers) => write_headers(headers, into),
            None => Ok(()),
        }
    }
}

fn write_headers(headers: &Headers, into: &mut Vec<u8>) -> Result<(), BlockError> {
    into.extend_from_slice(&narrow("the number of headers", headers.name_ends.len())?.to_le_bytes());
    into.extend_from_slice(&narrow("the number of bytes of headers", headers.data.len())?.to_le_bytes());
    for number in [&headers.counts, &headers.name_ends, &headers.value_ends].into_iter().flatten() {
        into.extend_from_slice(&number.to_le_bytes());
    }
    into.extend_from_slice(&headers.data);
    Ok(())
}

/// Why a block is refused, before its place in the run is added.
enum Wrong {
    Corrupt(String),
    NewerVersion(u8),
}

impl Wrong {
    fn at(self, at: usize) -> BlockError {
        match self {
            Self::Corrupt(reason) => BlockError::Corrupt { at, reason },
            Self::NewerVersion(found) => BlockError::NewerVersion { at, found, known: VERSION },
        }
    }
}

/// Takes stored bytes from the front, never past their end.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Wrong> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(Wrong::Corrupt(format!("it ends {} bytes too early", length - self.rest.len())));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Wrong::Corrupt(format!("{} bytes are there, expected {N}", bytes.len())))
    }

    fn number(&mut self) -> Result<usize, Wrong> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }
}

/// The first block in `bytes`, and how many of them it takes.
fn decode_block(bytes: &[u8], first_offset: u64) -> Result<(Columns, usize), Wrong> {
    let mut prefix = Cursor { rest: bytes };
    let magic: [u8; 3] = prefix.array()?;
    if magic != MAGIC {
        return Err(Wrong::Corrupt(format!("it begins with {:?}, expected {:?}", magic.escape_ascii().to_string(), "GRB")));
    }
    let [version] = prefix.array()?;
    if version > VERSION || version == 0 {
        return Err(Wrong::NewerVersion(version));
    }
    let expected = u32::from_le_bytes(prefix.array()?);
    let length = prefix.number()?;
    let body = prefix.take(length)?;
    let end = PREFIX_BYTES + length;
    let found = crc32fast::hash(bytes.get(UNCHECKED_BYTES..end).unwrap_or_default());
    if found != expected {
        return Err(Wrong::Corrupt(format!("its content has the checksum {found:08x}, it says {expected:08x}")));
    }
    let columns = decode_body(Cursor { rest: body }, first_offset)?;
    Ok((columns, end))
}

fn decode_body(mut cursor: Cursor<'_>, first_offset: u64) -> Result<Columns, Wrong> {
    let n = cursor.number()?;
    if !(1..=BLOCK_RECORDS_MAX).contains(&n) {
        return Err(Wrong::Corrupt(format!("it holds {n} records, expected 1 to {BLOCK_RECORDS_MAX}")));
    }
    let data_bytes = cursor.number()?;
    let [key_width, value_width, flags, zero] = cursor.array()?;
    if zero != 0 || flags & !(ONE_TIMESTAMP | HAS_NULLS | HAS_HEADERS) != 0 {
        return Err(Wrong::Corrupt(format!("flags {flags} and {zero} are not known")));
    }
    let Some(after) = first_offset.checked_add(n as u64) else {
        return Err(Wrong::Corrupt(format!("{n} records from offset {first_offset} on pass the largest offset")));
    };
    let timestamps = read_timestamps(&mut cursor, n, flags)?;
    let keys = Lengths::read(&mut cursor, n, key_width)?;
    let values = Lengths::read(&mut cursor, n, value_width)?;
    let (key_ends, value_ends) = ends_of(&keys, &values, data_bytes)?;
    let nulls = read_nulls(&mut cursor, n, flags)?;
    let data = cursor.take(data_bytes)?.to_vec();
    let headers = if flags & HAS_HEADERS == 0 { None } else { Some(read_headers(&mut cursor, n)?) };
    if !cursor.rest.is_empty() {
        return Err(Wrong::Corrupt(format!("{} bytes belong to nothing", cursor.rest.len())));
    }
    let columns = Columns { offsets: (first_offset..after).collect(), timestamps, data, key_ends, value_ends, nulls, headers };
    columns.check().map_err(|error| Wrong::Corrupt(error.to_string()))?;
    Ok(columns)
}

fn read_timestamps(cursor: &mut Cursor<'_>, n: usize, flags: u8) -> Result<Vec<i64>, Wrong> {
    if flags & ONE_TIMESTAMP != 0 {
        return Ok(vec![i64::from_le_bytes(cursor.array()?); n]);
    }
    let bytes = cursor.take(8 * n)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|&chunk| i64::from_le_bytes(chunk)).collect())
}

/// Ends from lengths, which must add up to the data exactly.
fn ends_of(keys: &[u32], values: &[u32], data_bytes: usize) -> Result<(Vec<u32>, Vec<u32>), Wrong> {
    let total: u64 = keys.iter().chain(values).map(|&length| u64::from(length)).sum();
    if total != data_bytes as u64 {
        return Err(Wrong::Corrupt(format!("keys and values add up to {total} bytes, the data has {data_bytes}")));
    }
    // No end can overflow: the last of them fits 32 bits.
    let mut end = 0;
    let pairs = keys.iter().zip(values).map(|(key, value)| {
        let key_end = end + key;
        end = key_end + value;
        (key_end, end)
    });
    Ok(pairs.unzip())
}

fn read_nulls(cursor: &mut Cursor<'_>, n: usize, flags: u8) -> Result<Vec<u8>, Wrong> {
    if flags & HAS_NULLS == 0 {
        return Ok(Vec::new());
    }
    let nulls = cursor.take(n.div_ceil(4))?.to_vec();
    if !n.is_multiple_of(4) && nulls.last().is_some_and(|last| last & !last_nulls(n) != 0) {
        return Err(Wrong::Corrupt("nulls are set past the last record".to_owned()));
    }
    Ok(nulls)
}

fn read_headers(cursor: &mut Cursor<'_>, n: usize) -> Result<Headers, Wrong> {
    let (total, bytes) = (cursor.number()?, cursor.number()?);
    let counts = u32s(cursor.take(4 * n)?);
    let name_ends = u32s(cursor.take(total.saturating_mul(4))?);
    let value_ends = u32s(cursor.take(total.saturating_mul(4))?);
    Ok(Headers { counts, data: cursor.take(bytes)?.to_vec(), name_ends, value_ends })
}

fn u32s(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|&chunk| u32::from_le_bytes(chunk)).collect()
}

/// The bits of the last byte of nulls that belong to records, where n is no multiple of 4.
const fn last_nulls(n: usize) -> u8 {
    (1 << (2 * (n % 4))) - 1
}

fn narrow(what: &'static str, found: usize) -> Result<u32, BlockError> {
    u32::try_from(found).map_err(|_| BlockError::TooLarge { what, found, limit: u32::MAX as usize })
}

/// Writes a number over the four bytes at `at`, which are there.
fn fill(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
