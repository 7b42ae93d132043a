//! The example tasks once more, as functions of the host: what their components are measured against. Each does what its component does, by the
//! same services, with the care that a good author of a task takes. Refuses to know more of the host than a component does.

use gregor_guest::{Batch, CallError, Direction, Disposition, OutputColumns, Progress, Rejection, ScanRange, ServiceError, Services};
use gregor_model::columns::{Columns, Strings, StringsBuf};
use gregor_runtime::stand_ins::{Native, NativeMaker};
use memchr::memmem::Finder;

use super::case::WANTED;
use super::words::words;

/// Store `counts` of the component `count`.
const COUNTS: u16 = 0;
/// Its store `progress`.
const PROGRESS: u16 = 1;
/// Where in it stands the last key that was emitted.
const PLACE: &[u8] = b"place";
/// Records that one call of `on-end` emits, as the component does.
const PIECE_RECORDS: usize = 50_000;
/// Pairs that are read at once, as the component does.
const PAGE: u32 = 5_000;
/// Bytes of columns that wait before they are emitted, as in the SDK.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// What stands in for the component of this name.
pub(super) fn stand_in(component: &str) -> Option<NativeMaker> {
    Some(match component {
        "identity" => std::sync::Arc::new(|| Box::new(Identity::default())),
        "filter" => std::sync::Arc::new(|| Box::new(Filter { wanted: Finder::new(WANTED).into_owned(), indexes: Vec::new() })),
        "count" => std::sync::Arc::new(|| Box::new(Count::default())),
        "split" => std::sync::Arc::new(|| Box::new(Split::default())),
        _ => return None,
    })
}

/// Forwards each record.
#[derive(Default)]
struct Identity {
    indexes: Vec<u32>,
}

impl Native for Identity {
    fn process(&mut self, batch: &Batch<'_>, services: &mut dyn Services) -> Result<Vec<Rejection>, CallError> {
        self.indexes.clear();
        self.indexes.extend(0..position(batch.columns.len()));
        services.select(0, &self.indexes).map_err(failed)?;
        Ok(Vec::new())
    }
}

/// Forwards the records whose value contains a text.
struct Filter {
    wanted: Finder<'static>,
    indexes: Vec<u32>,
}

impl Native for Filter {
    fn process(&mut self, batch: &Batch<'_>, services: &mut dyn Services) -> Result<Vec<Rejection>, CallError> {
        let Self { wanted, indexes } = self;
        let wanted = (0..).zip(values(batch.columns)).filter(|(_, value)| wanted.find(value).is_some()).map(|(index, _)| index);
        indexes.clear();
        indexes.extend(wanted);
        if !indexes.is_empty() {
            services.select(0, indexes).map_err(failed)?;
        }
        Ok(Vec::new())
    }
}

/// Counts keys; emits the counts at the end.
#[derive(Default)]
struct Count {
    keys: Vec<u8>,
    ends: Vec<u32>,
    out: Arena,
}

impl Native for Count {
    fn process(&mut self, batch: &Batch<'_>, services: &mut dyn Services) -> Result<Vec<Rejection>, CallError> {
        let Self { keys, ends, .. } = self;
        keys.clear();
        ends.clear();
        let mut rejections = Vec::new();
        for (index, key) in (0..).zip(batch.columns.iter().map(|record| record.key)) {
            let Some(key) = key else {
                let reason = "a record without key has no word to be counted".to_owned();
                rejections.push(Rejection { index, action: Disposition::Skip, reason });
                continue;
            };
            keys.extend_from_slice(key);
            ends.push(position(keys.len()));
        }
        let keys = Strings::new(keys, ends, &[]).map_err(|error| CallError::Broken(error.to_string()))?;
        services.add_many(COUNTS, keys, &[1]).map_err(failed)?;
        Ok(rejections)
    }

    fn on_end(&mut self, _: u32, services: &mut dyn Services) -> Result<Progress, CallError> {
        let start = services.get(PROGRESS, PLACE).map_err(failed)?.map(|mut last| {
            // The very next byte string.
            last.push(0);
            last
        });
        let cursor = services.scan(COUNTS, ScanRange { start, end: None, direction: Direction::Forward }).map_err(failed)?;
        let mut records = 0;
        while records < PIECE_RECORDS {
            let (keys, values) = services.next(cursor, PAGE).map_err(failed)?;
            let Some(last) = self.emit((&keys, &values), services)? else { return Ok(Progress::Done) };
            records += keys.ends.len();
            if records >= PIECE_RECORDS {
                services.put(PROGRESS, PLACE, &last).map_err(failed)?;
            }
        }
        Ok(Progress::More)
    }
}

impl Count {
    /// Emits a page; answers its last key, if it has one.
    fn emit(&mut self, (keys, values): (&StringsBuf, &StringsBuf), services: &mut dyn Services) -> Result<Option<Vec<u8>>, CallError> {
        let broken = |error: &dyn std::fmt::Display| CallError::Broken(error.to_string());
        let (keys, values) = (keys.as_strings().map_err(|error| broken(&error))?, values.as_strings().map_err(|error| broken(&error))?);
        let mut last = None;
        for (key, value) in keys.iter().flatten().zip(values.iter().flatten()) {
            let count = value.try_into().map(i64::from_le_bytes).map_err(|error| broken(&error))?;
            self.out.push(None, key, count.to_string().as_bytes());
            last = Some(key);
        }
        self.out.hand_over(services)?;
        Ok(last.map(<[u8]>::to_vec))
    }
}

/// Cuts lines into words.
#[derive(Default)]
struct Split {
    out: Arena,
}

impl Native for Split {
    fn process(&mut self, batch: &Batch<'_>, services: &mut dyn Services) -> Result<Vec<Rejection>, CallError> {
        for (index, line) in (0..).zip(values(batch.columns)) {
            words(line, |word| self.out.push(Some(index), word, b""));
            if self.out.data.len() >= WAITING_BYTES_MAX {
                self.out.hand_over(services)?;
            }
        }
        self.out.hand_over(services)?;
        Ok(Vec::new())
    }
}

/// Records that wait to be emitted.
#[derive(Default)]
struct Arena {
    causes: Vec<u32>,
    data: Vec<u8>,
    key_ends: Vec<u32>,
    value_ends: Vec<u32>,
}

impl Arena {
    fn push(&mut self, cause: Option<u32>, key: &[u8], value: &[u8]) {
        self.causes.extend(cause);
        self.data.extend_from_slice(key);
        self.key_ends.push(position(self.data.len()));
        self.data.extend_from_slice(value);
        self.value_ends.push(position(self.data.len()));
    }

    fn hand_over(&mut self, services: &mut dyn Services) -> Result<(), CallError> {
        let Self { causes, data, key_ends, value_ends } = self;
        if !value_ends.is_empty() {
            let columns = OutputColumns {
                outputs: &[0],
                causes,
                timestamps: &[],
                partitions: &[],
                data,
                key_ends,
                value_ends,
                nulls: &[],
                headers: None,
            };
            services.emit(&columns).map_err(failed)?;
        }
        causes.clear();
        data.clear();
        key_ends.clear();
        value_ends.clear();
        Ok(())
    }
}

/// The values of a batch, in order; an absent one is empty.
fn values(columns: &Columns) -> impl Iterator<Item = &[u8]> {
    let starts_and_ends = columns.key_ends.iter().zip(&columns.value_ends);
    starts_and_ends.map(|(&start, &end)| columns.data.get(start as usize..end as usize).unwrap_or_default())
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn failed(error: ServiceError) -> CallError {
    match error {
        ServiceError::Refused(refusal) => CallError::Fatal(refusal.to_string()),
        ServiceError::Trap(reason) => CallError::Poison(reason),
        ServiceError::Broken(reason) => CallError::Broken(reason),
    }
}
