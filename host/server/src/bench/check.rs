//! Whether a run's result is right: the streams that it wrote, read from its archive, or the store that it left. Each record, or each key, is
//! compared with what is expected; a benchmark of wrong results measures nothing. Refuses to take a result that is short for a right one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use gregor_archive::{Store, history};
use gregor_model::columns::Columns;
use gregor_model::keys::JobKeys;
use gregor_model::names::{StoreName, TaskId};
use gregor_model::register::Register;
use gregor_model::steps::Unobserved;
use gregor_state::{Backend, BackendOptions, Direction, KeyRange, TaskStores};

use super::bare;
use super::case::Case;
use super::records::{Maker, number_of};
use crate::job_file::JobFile;
use crate::verify::part_footer;
use crate::wiring::{self, Coordination, wait};

/// One store is read once.
const OPTIONS: BackendOptions = BackendOptions {
    block_cache_bytes: 32 * 1024 * 1024,
    write_buffer_bytes: 16 * 1024 * 1024,
    clean_bytes_per_task: 1024 * 1024,
    open_stores_max: 1,
};
/// Keys of a store above which a run checks a slice of them only.
const CHECKED_WHOLLY: u64 = 1_000_000;
/// Slices that a larger store is checked in, one a run.
const SLICES: u64 = 16;
/// Pairs read at once.
const PAGE: usize = 16 * 1024;

/// What is to be checked.
pub(super) struct Subject<'s> {
    /// The case.
    pub(super) case: Case,
    /// Who made its records.
    pub(super) maker: &'s Maker,
    /// How many of them the job has worked off.
    pub(super) records: u64,
    /// The job.
    pub(super) file: &'s JobFile,
    /// Its data folder, which nobody holds.
    pub(super) data: &'s Path,
}

impl Subject<'_> {
    /// Checks what a job wrote whose input has ended, or one that forwards; answers how many records or keys were compared.
    ///
    /// # Errors
    /// The first difference, or the archive can't be read.
    pub(super) fn check_output(&self) -> anyhow::Result<u64> {
        let Self { case, maker, records, .. } = *self;
        match case {
            Case::Identity | Case::Filter => {
                let mut found = Written::new(self.streams("out")?);
                let sum = bare::forwarded(case, maker, records, |key, value| found.expect(key, value)).map_err(|wrong| anyhow!(wrong))?;
                found.expect_end()?;
                Ok(sum)
            }
            Case::CountHot | Case::CountMillion | Case::CountZipf | Case::CountUniform => {
                let expected = bare::key_counts(maker, records);
                let expected = (0..).zip(expected).filter(|&(_, count)| count > 0);
                let expected = expected.map(|(number, count)| (super::records::key(number).to_vec(), u64::from(count))).collect();
                compare_counts(&expected, self.streams("counts")?)
            }
            Case::WordCount => compare_counts(&bare::word_counts(maker, records), self.streams("counts")?),
        }
    }

    /// Checks the store of a job that counts and was stopped; of a large one a slice.
    ///
    /// # Errors
    /// The first difference, or the store can't be read.
    pub(super) fn check_store(&self, number: u64) -> anyhow::Result<u64> {
        let (register, archive) = self.look()?;
        let expected = bare::key_counts(self.maker, self.records);
        let range = slice(self.maker.keys(), number);
        let id = TaskId { stage: 0, partition: 0 };
        let stage = self.file.stages.first().context("a job without a stage")?;
        let folder = self.data.join("state").join(self.file.name.as_str()).join(stage.name.value.as_str()).join(id.partition.to_string());
        let names: Vec<StoreName> = ["counts", "progress"].into_iter().map(StoreName::new).collect::<Result<_, _>>()?;
        let mut stores = TaskStores::new(&Backend::new(&OPTIONS, Arc::new(Unobserved)), folder, names);
        stores.set_owner(register.incarnation, register.branch);
        let latest = register.latest.as_ref().context("no checkpoint was confirmed")?;
        let history = wait(history::load(&*archive, latest)).map_err(|failure| anyhow!(failure.message()))??.history;
        let (marked, last) = (stores.marker()?.map(|marker| marker.segment), history.tasks.get(&id).map(|task| task.segment));
        ensure!(
            marked == last,
            "the local store was not brought to the last checkpoint: the disk is too slow for the time that a stop has"
        );
        let found = compare_store(&mut stores, &expected, &range)?;
        let within = (0_u64..).zip(&expected).filter(|&(number, &count)| count > 0 && range.holds(number)).count();
        ensure!(found == within, "the store has {found} keys of those that were looked at, expected {within}");
        u64::try_from(found).context("a number of keys")
    }

    fn look(&self) -> anyhow::Result<(Register, Arc<dyn Store>)> {
        let looked = wiring::look(self.file, self.data, Coordination::Local).map_err(|failure| anyhow!(failure.message()))?;
        Ok((looked.register.context("the job never began")?, looked.archive.context("the job saved nothing")?))
    }

    /// The blocks of a stream of one partition, in order, from all parts: of a run that nobody disturbed each was confirmed.
    fn streams(&self, stream: &str) -> anyhow::Result<Vec<Columns>> {
        let (register, archive) = self.look()?;
        let prefix = format!("{}/parts", JobKeys::new(&self.file.name, register.incarnation).root());
        let parts = wait(archive.list(&prefix)).map_err(|failure| anyhow!(failure.message()))??;
        let (mut blocks, mut offset) = (Vec::new(), 0);
        for part in parts {
            let footer = wait(part_footer(&*archive, &part.key, part.bytes)).map_err(|failure| anyhow!(failure.message()))??;
            for at in footer.runs.iter().filter(|at| at.run.stream.as_str() == stream) {
                let range = at.offset..at.offset + at.run.length;
                let bytes = gregor_archive::read_part_range(&*archive, &part.key, range, at.run.sha256);
                let bytes = wait(bytes).map_err(|failure| anyhow!(failure.message()))??;
                blocks.extend(gregor_stream::decode_run(&bytes, offset)?);
                offset += at.run.records;
            }
        }
        Ok(blocks)
    }
}

/// Records that a job wrote, compared one by one.
struct Written {
    blocks: Vec<Columns>,
    block: usize,
    record: usize,
    before: u64,
}

impl Written {
    const fn new(blocks: Vec<Columns>) -> Self {
        Self { blocks, block: 0, record: 0, before: 0 }
    }

    /// The next record must be this one.
    fn expect(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let found = self.blocks.get(self.block).and_then(|block| block.get(self.record));
        let Some(found) = found else { return Err(format!("the output ends after {} records, more are expected", self.before)) };
        if (found.key, found.value) != (Some(key), Some(value)) {
            return Err(format!("record {} of the output is not the one that is expected", self.before));
        }
        self.before += 1;
        self.record += 1;
        if self.blocks.get(self.block).is_some_and(|block| self.record >= block.len()) {
            (self.block, self.record) = (self.block + 1, 0);
        }
        Ok(())
    }

    /// There must be no other.
    fn expect_end(&self) -> anyhow::Result<()> {
        ensure!(self.block >= self.blocks.len(), "the output has more than the {} records that are expected", self.before);
        Ok(())
    }
}

/// Compares keys with decimal counts; answers how many there are.
fn compare_counts(expected: &BTreeMap<Vec<u8>, u64>, blocks: Vec<Columns>) -> anyhow::Result<u64> {
    let mut found = BTreeMap::new();
    for record in blocks.iter().flat_map(Columns::iter) {
        let (Some(key), Some(value)) = (record.key, record.value) else { bail!("a count without key or value") };
        let count: u64 =
            std::str::from_utf8(value)?.parse().with_context(|| format!("{:?} is no count", String::from_utf8_lossy(value)))?;
        if found.insert(key.to_vec(), count).is_some() {
            bail!("key {:?} has two counts", String::from_utf8_lossy(key));
        }
    }
    if let Some((key, count)) = expected.iter().find(|(key, count)| found.get(*key) != Some(count)) {
        let wrong = found.get(key).map_or_else(|| "none".to_owned(), ToString::to_string);
        bail!("the count of key {:?} is {wrong}, expected {count}", String::from_utf8_lossy(key));
    }
    ensure!(found.len() == expected.len(), "{} keys were counted, expected {}", found.len(), expected.len());
    Ok(u64::try_from(found.len())?)
}

/// Keys from one to before another, in the order of their bytes; the end of the last is open.
struct Slice {
    start: Option<Vec<u8>>,
    end: Option<Vec<u8>>,
}

impl Slice {
    fn holds(&self, number: u64) -> bool {
        let key = super::records::key(number);
        self.start.as_ref().is_none_or(|start| start[..] <= key[..]) && self.end.as_ref().is_none_or(|end| key[..] < end[..])
    }
}

/// Keys are mixed, so that a slice of them is a sample of their numbers.
fn slice(keys: u64, run: u64) -> Slice {
    if keys <= CHECKED_WHOLLY {
        return Slice { start: None, end: None };
    }
    let digit = |number: u64| format!("{number:x}").into_bytes();
    let at = run % SLICES;
    Slice { start: Some(digit(at)), end: (at + 1 < SLICES).then(|| digit(at + 1)) }
}

/// Compares the counters of a range of keys; answers how many there are.
fn compare_store(stores: &mut TaskStores, expected: &[u32], Slice { start, end }: &Slice) -> anyhow::Result<usize> {
    let range = KeyRange { start: start.clone(), end: end.clone(), direction: Direction::Forward };
    let cursor = stores.scan(0, range)?;
    let mut found = 0;
    loop {
        let (keys, values) = stores.next(cursor, PAGE)?;
        if keys.ends.is_empty() {
            return Ok(found);
        }
        for (key, value) in keys.as_strings()?.iter().flatten().zip(values.as_strings()?.iter().flatten()) {
            let count = i64::from_le_bytes(value.try_into().context("a value that is no counter")?);
            let number = number_of(key).and_then(|number| usize::try_from(number).ok());
            let wanted = number.and_then(|number| expected.get(number)).copied().unwrap_or(0);
            ensure!(count == i64::from(wanted), "the count of key {:?} is {count}, expected {wanted}", String::from_utf8_lossy(key));
            found += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use gregor_model::columns::Record;

    use super::*;

    fn columns(records: &[(&str, &str)]) -> Vec<Columns> {
        let mut columns = Columns::default();
        for (offset, (key, value)) in (0..).zip(records) {
            columns.push(Record { offset, timestamp: 0, key: Some(key.as_bytes()), value: Some(value.as_bytes()) }).unwrap();
        }
        vec![columns.part(0..1), columns.part(1..records.len())]
    }

    #[test]
    fn counts_are_right_only_if_all_of_them_are() {
        let expected = BTreeMap::from([(b"a".to_vec(), 1), (b"b".to_vec(), 2)]);
        let check = |found: &[(&str, &str)]| compare_counts(&expected, columns(found)).map_err(|error| error.to_string());
        assert_eq!(check(&[("b", "2"), ("a", "1")]), Ok(2));
        assert_eq!(check(&[("b", "3"), ("a", "1")]), Err("the count of key \"b\" is 3, expected 2".to_owned()));
        assert_eq!(check(&[("a", "1"), ("c", "2")]), Err("the count of key \"b\" is none, expected 2".to_owned()));
        assert_eq!(check(&[("b", "2"), ("a", "1"), ("c", "1")]), Err("3 keys were counted, expected 2".to_owned()));
        assert_eq!(check(&[("b", "2"), ("b", "2"), ("a", "1")]), Err("key \"b\" has two counts".to_owned()));
        assert_eq!(check(&[("b", "2"), ("a", "one")]), Err("\"one\" is no count".to_owned()));
    }

    #[test]
    fn forwarded_records_are_right_only_in_their_order_and_number() {
        let check = |expected: &[(&str, &str)]| {
            let mut written = Written::new(columns(&[("a", "1"), ("b", "2"), ("b", "3")]));
            expected.iter().try_for_each(|(key, value)| written.expect(key.as_bytes(), value.as_bytes()))?;
            written.expect_end().map_err(|error| error.to_string())
        };
        assert_eq!(check(&[("a", "1"), ("b", "2"), ("b", "3")]), Ok(()));
        assert_eq!(check(&[("a", "1"), ("b", "3"), ("b", "2")]), Err("record 1 of the output is not the one that is expected".to_owned()));
        assert_eq!(check(&[("a", "1"), ("b", "2")]), Err("the output has more than the 2 records that are expected".to_owned()));
        let long = check(&[("a", "1"), ("b", "2"), ("b", "3"), ("c", "4")]);
        assert_eq!(long, Err("the output ends after 3 records, more are expected".to_owned()));
    }

    #[test]
    fn a_store_is_right_only_if_each_counter_is() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::new(&OPTIONS, Arc::new(Unobserved));
        let name = StoreName::new("counts").unwrap();
        let mut stores = TaskStores::new(&backend, folder.path().join("0"), vec![name]);
        let expected = [3, 0, 5];
        for (number, count) in (0..).zip(expected).filter(|(_, count)| *count > 0) {
            stores.add(0, &super::super::records::key(number), i64::from(count)).unwrap();
        }
        stores.commit();
        let whole = slice(3, 0);
        assert_eq!(compare_store(&mut stores, &expected, &whole).unwrap(), 2);
        let wrong = compare_store(&mut stores, &[3, 0, 4], &whole).unwrap_err().to_string();
        assert!(wrong.contains("is 5, expected 4"), "{wrong}");
        stores.add(0, b"not a key of ours", 1).unwrap();
        assert!(compare_store(&mut stores, &expected, &whole).is_err());
    }

    #[test]
    fn slices_hold_each_key_once() {
        let slices: Vec<Slice> = (0..SLICES).map(|run| slice(CHECKED_WHOLLY + 1, run)).collect();
        for number in 0..10_000 {
            assert_eq!(slices.iter().filter(|slice| slice.holds(number)).count(), 1, "{number}");
        }
        assert!(slice(CHECKED_WHOLLY, 7).holds(8));
    }
}
