//! The plan of a file input: which files, how they are cut into splits, which partition reads which. Made once, when a job begins, kept as an
//! immutable object and named by its digest in every position. Refuses to be made again: what a glob matches later is left out.

use serde::{Deserialize, Serialize};

use crate::document::Kind;
use crate::limits::{FILE_PARTITIONS_MAX, SPLIT_BYTES_MAX, SPLIT_BYTES_MIN, SPLITS_WANTED};

/// How a plan is stored.
pub const PLAN: Kind = Kind { name: "plan", version: 1 };

/// The plan of one file input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The files, in the order of their names' bytes.
    pub files: Vec<PlannedFile>,
    /// For each partition its splits, in the order in which they are read.
    pub partitions: Vec<Vec<Split>>,
}

/// A file as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedFile {
    /// Its name below the input's folder.
    pub name: String,
    /// Its length in bytes; nothing past it is read.
    pub length: u64,
    /// Its modification time in nanoseconds since 1970: how a change is noticed.
    pub modified_ns: i128,
}

/// A piece of a file: it owns the records that begin in `start..end`. Both lie at the beginning of a record, or at the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Split {
    /// Index of the file in the plan.
    pub file: u32,
    /// First byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// How long splits shall be, in bytes, for an input of `total` bytes: some sixteen of them, but none shorter than 1 MiB nor longer than 64 MiB.
#[must_use]
pub fn split_bytes(total: u64) -> u64 {
    total.div_ceil(SPLITS_WANTED).clamp(SPLIT_BYTES_MIN, SPLIT_BYTES_MAX)
}

/// Puts splits (in the order of files) into partitions: neighbours share one until it holds a split's length; if that makes more than 256
/// partitions, each takes its share. An input without a byte has one, empty partition.
#[must_use]
pub fn partitions_of(splits: Vec<Split>) -> Vec<Vec<Split>> {
    let total: u64 = splits.iter().map(|split| split.end - split.start).sum();
    let target = split_bytes(total).max(total.div_ceil(u64::from(FILE_PARTITIONS_MAX)));
    let mut partitions: Vec<Vec<Split>> = Vec::new();
    let mut filled = 0;
    for split in splits {
        let length = split.end - split.start;
        match partitions.last_mut() {
            // Half of the split counts, so that shares come out even on average; a partition to which nothing was given takes any split.
            Some(last) if filled == 0 || filled + length / 2 <= target => last.push(split),
            _ => {
                partitions.push(vec![split]);
                filled = 0;
            }
        }
        filled += length;
    }
    merge_to(partitions, FILE_PARTITIONS_MAX as usize)
}

/// Merges neighbours until there are at most `most` partitions, and at least one.
fn merge_to(partitions: Vec<Vec<Split>>, most: usize) -> Vec<Vec<Split>> {
    if partitions.is_empty() {
        return vec![Vec::new()];
    }
    let group = partitions.len().div_ceil(most.max(1));
    partitions.chunks(group.max(1)).map(<[Vec<Split>]>::concat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIB;

    fn splits(lengths: &[u64]) -> Vec<Split> {
        (0..).zip(lengths).map(|(file, &end)| Split { file, start: 0, end }).collect()
    }

    #[test]
    fn partitions_keep_every_split_in_order_and_stay_within_the_limit() {
        let cases: Vec<Vec<u64>> = vec![
            vec![],
            vec![0],
            vec![5; 3],
            vec![MIB; 20],
            vec![64 * MIB; 1000],
            (0..5000).map(|i| i * 1_000).collect(),
            vec![0; 700],
            vec![1, 64 * MIB, 1, 64 * MIB],
        ];
        for lengths in cases {
            let partitions = partitions_of(splits(&lengths));
            assert!((1..=256).contains(&partitions.len()), "{} of {} splits", partitions.len(), lengths.len());
            assert_eq!(partitions.concat(), splits(&lengths));
        }
    }

    #[test]
    fn small_files_share_a_partition_and_large_inputs_are_spread() {
        assert_eq!(partitions_of(splits(&[100; 100])).len(), 1);
        assert_eq!(partitions_of(splits(&[MIB; 16])).len(), 16);
        assert_eq!(partitions_of(splits(&[64 * MIB; 256])).len(), 256);
    }
}
