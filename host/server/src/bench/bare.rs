//! The plain loops: each case over the same records in one thread, without host, sandbox, streams or durability; and what is expected of the other
//! variants, which is made another way, from the numbers of keys. Refuses to be clever: it is what a program of a page would do.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gregor_model::columns::Columns;

use super::case::{Case, WANTED};
use super::records::Maker;
use super::words::words;
use crate::clock;

/// Bytes of output that a loop gathers before it begins anew.
const OUTPUT_BYTES: usize = 1024 * 1024;

/// What a loop took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Took {
    /// Records, or of the word count words.
    pub(super) records: u64,
    /// Time, without that for making the records.
    pub(super) time: Duration,
}

/// The loop of a case over the records `from..to`, after `from` records that are not timed.
pub(super) fn run(case: Case, maker: &Maker, (from, to): (u64, u64)) -> Took {
    let mut work = Work::new(case);
    let mut offset = 0;
    let mut took = Took::default();
    while offset < to {
        let limit = if offset < from { from } else { to };
        let batch = maker.batch(offset, limit - offset);
        offset += batch.len() as u64;
        let begin = clock::monotonic();
        let records = work.take(&batch);
        if offset > from {
            took.time += clock::monotonic().saturating_sub(begin);
            took.records += records;
        }
    }
    took
}

/// The state of a loop.
enum Work {
    Identity(Vec<u8>),
    Filter(Vec<u8>, Box<memchr::memmem::Finder<'static>>),
    Count(HashMap<Vec<u8>, u64>),
    Words(HashMap<Vec<u8>, u64>),
}

impl Work {
    fn new(case: Case) -> Self {
        match case {
            Case::Identity => Self::Identity(Vec::with_capacity(OUTPUT_BYTES)),
            Case::Filter => Self::Filter(Vec::with_capacity(OUTPUT_BYTES), Box::new(memchr::memmem::Finder::new(WANTED).into_owned())),
            Case::CountHot | Case::CountMillion | Case::CountZipf | Case::CountUniform => Self::Count(HashMap::new()),
            Case::WordCount => Self::Words(HashMap::new()),
        }
    }

    /// Works on a batch; answers how many records that were, or words.
    fn take(&mut self, batch: &Columns) -> u64 {
        match self {
            Self::Identity(out) => forward(batch, out, |_| true),
            Self::Filter(out, wanted) => forward(batch, out, |value| wanted.find(value).is_some()),
            Self::Count(counts) => {
                batch.iter().filter_map(|record| record.key).for_each(|key| count(counts, key));
                batch.len() as u64
            }
            Self::Words(counts) => {
                let mut sum = 0;
                for line in batch.iter().filter_map(|record| record.value) {
                    words(line, |word| {
                        count(counts, word);
                        sum += 1;
                    });
                }
                sum
            }
        }
    }
}

fn forward(batch: &Columns, out: &mut Vec<u8>, wanted: impl Fn(&[u8]) -> bool) -> u64 {
    if out.len() > OUTPUT_BYTES {
        out.clear();
    }
    for record in batch.iter() {
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        if wanted(value) {
            out.extend_from_slice(key);
            out.extend_from_slice(value);
        }
    }
    std::hint::black_box(out);
    batch.len() as u64
}

fn count(counts: &mut HashMap<Vec<u8>, u64>, key: &[u8]) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.to_vec(), 1)),
    }
}

/// How often each key of a case that counts comes among the first `records`, by its number.
pub(super) fn key_counts(maker: &Maker, records: u64) -> Vec<u32> {
    let mut counts = vec![0; usize::try_from(maker.keys()).unwrap_or(0)];
    for offset in 0..records {
        let number = usize::try_from(maker.key_number(offset)).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(number) {
            *count += 1;
        }
    }
    counts
}

/// How often each word comes among the first `lines`.
pub(super) fn word_counts(maker: &Maker, lines: u64) -> BTreeMap<Vec<u8>, u64> {
    let mut counts = HashMap::new();
    let mut offset = 0;
    while offset < lines {
        let batch = maker.batch(offset, lines - offset);
        offset += batch.len() as u64;
        batch.iter().filter_map(|record| record.value).for_each(|line| words(line, |word| count(&mut counts, word)));
    }
    counts.into_iter().collect()
}

/// The records among the first `records` that a case forwards, in order, each with its key and value.
pub(super) fn forwarded(
    case: Case,
    maker: &Maker,
    records: u64,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), String>,
) -> Result<u64, String> {
    let wanted = memchr::memmem::Finder::new(WANTED);
    let (mut offset, mut sum) = (0, 0);
    while offset < records {
        let batch = maker.batch(offset, records - offset);
        offset += batch.len() as u64;
        for record in batch.iter() {
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            if case != Case::Filter || wanted.find(value).is_some() {
                each(key, value)?;
                sum += 1;
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::records::key;

    #[test]
    fn a_loop_comes_to_what_is_expected_of_the_others() {
        let maker = Maker::new(Case::CountHot);
        let mut work = Work::new(Case::CountHot);
        let taken: u64 = (0..30).map(|n| work.take(&maker.batch(n * 1_000, 1_000))).sum();
        let Work::Count(counts) = work else { panic!("no counts") };
        let expected = key_counts(&maker, 30_000);
        assert_eq!(taken, 30_000);
        assert_eq!((counts.len(), counts.values().sum::<u64>()), (10_000, 30_000));
        assert!((0..).zip(&expected).all(|(number, &count)| counts.get(&key(number)[..]) == Some(&u64::from(count))));
    }

    #[test]
    fn only_what_comes_after_the_warming_up_is_timed() {
        for case in Case::ALL {
            let maker = Maker::new(case);
            let (some, all) = (run(case, &maker, (5_000, 6_500)), run(case, &maker, (0, 6_500)));
            assert!(some.records > 0 && some.records < all.records, "{case:?}");
            if case != Case::WordCount {
                assert_eq!((some.records, all.records), (1_500, 6_500));
            }
        }
    }

    #[test]
    fn a_tenth_goes_through_the_filter() {
        let maker = Maker::new(Case::Filter);
        let passed = forwarded(Case::Filter, &maker, 50_000, |_, _| Ok(())).unwrap();
        assert!((4_700..5_300).contains(&passed), "{passed}");
        assert_eq!(forwarded(Case::Identity, &maker, 50_000, |_, _| Ok(())), Ok(50_000));
    }
}
