//! Services in memory that write down what they are asked, for tests to look at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gregor_guest::{
    CursorId, Direction, Level, LogLine, MetricKind, MetricUpdate, OutputColumns, ScanRange, ServiceError, Services, StateRefusal,
    TaskIdentity,
};
use gregor_model::columns::{Strings, StringsBuf};

/// A record that was emitted in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Emitted {
    pub(crate) output: u32,
    pub(crate) cause: Option<u32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) partition: Option<u32>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Pair>,
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// A metric's name, its labels, and what happened to it.
pub(crate) type Metric = (String, Vec<(String, String)>, MetricKind);

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// What was asked, and one store.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    config: BTreeMap<String, String>,
    pub(crate) store: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) selected: Vec<u32>,
    pub(crate) lines: Vec<Line>,
    pub(crate) metrics: Vec<Metric>,
    cursors: BTreeMap<u32, VecDeque<Pair>>,
    cursors_opened: u32,
}

impl Recorder {
    pub(crate) fn new(mode: &str) -> Self {
        let config = [("mode", mode), ("trigger", crate::TRIGGER)];
        let config = config.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { config, ..Self::default() }
    }

    /// The pairs that were emitted, as text.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        self.emitted.iter().map(|emitted| (text(&emitted.key), text(&emitted.value))).collect()
    }

    /// Cursors that are open.
    pub(crate) fn cursors_open(&self) -> BTreeSet<u32> {
        self.cursors.keys().copied().collect()
    }
}

impl Services for Recorder {
    fn get(&mut self, store: u16, key: &[u8]) -> Result<Option<Vec<u8>>, ServiceError> {
        assert_eq!(store, 0);
        match key {
            b"broken-disk" => Err(ServiceError::Broken("the disk is gone".to_owned())),
            b"limit" => Err(ServiceError::Trap("dirty-bytes is reached".to_owned())),
            _ => Ok(self.store.get(key).cloned()),
        }
    }

    fn put(&mut self, _: u16, key: &[u8], value: &[u8]) -> Result<(), ServiceError> {
        self.store.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, _: u16, key: &[u8]) -> Result<(), ServiceError> {
        self.store.remove(key);
        Ok(())
    }

    fn add(&mut self, store: u16, key: &[u8], amount: i64) -> Result<i64, ServiceError> {
        let old = self.get(store, key)?.unwrap_or_else(|| vec![0; 8]);
        let length = u64::try_from(old.len()).unwrap();
        let old = i64::from_le_bytes(old.try_into().map_err(|_| StateRefusal::NotACounter(length))?);
        let sum = old.checked_add(amount).ok_or(StateRefusal::Overflow)?;
        self.put(store, key, &sum.to_le_bytes())?;
        Ok(sum)
    }

    fn get_many(&mut self, store: u16, keys: Strings<'_>) -> Result<StringsBuf, ServiceError> {
        let mut found = StringsBuf::default();
        for key in keys.iter() {
            found.push(self.get(store, key.unwrap())?.as_deref()).unwrap();
        }
        Ok(found)
    }

    fn put_many(&mut self, store: u16, keys: Strings<'_>, values: Strings<'_>) -> Result<(), ServiceError> {
        assert_eq!(keys.len(), values.len());
        for (key, value) in keys.iter().zip(values.iter()) {
            match value {
                Some(value) => self.put(store, key.unwrap(), value)?,
                None => self.delete(store, key.unwrap())?,
            }
        }
        Ok(())
    }

    fn add_many(&mut self, store: u16, keys: Strings<'_>, amounts: &[i64]) -> Result<(), ServiceError> {
        assert!(amounts.len() == keys.len() || amounts.len() == 1);
        keys.iter().zip(amounts.iter().cycle()).try_for_each(|(key, &amount)| self.add(store, key.unwrap(), amount).map(drop))
    }

    fn scan(&mut self, store: u16, range: ScanRange) -> Result<CursorId, ServiceError> {
        assert_eq!(store, 0);
        let within =
            |key: &[u8]| range.start.as_deref().is_none_or(|start| start <= key) && range.end.as_deref().is_none_or(|end| key < end);
        let pairs = self.store.iter().filter(|(key, _)| within(key)).map(|(key, value)| (key.clone(), value.clone()));
        let pairs = match range.direction {
            Direction::Forward => pairs.collect(),
            Direction::Reverse => pairs.rev().collect(),
        };
        self.cursors_opened += 1;
        self.cursors.insert(self.cursors_opened, pairs);
        Ok(CursorId(self.cursors_opened))
    }

    fn next(&mut self, cursor: CursorId, max: u32) -> Result<(StringsBuf, StringsBuf), ServiceError> {
        let (mut keys, mut values) = (StringsBuf::default(), StringsBuf::default());
        let pairs = self.cursors.get_mut(&cursor.0).expect("only open cursors are asked");
        for _ in 0..max {
            let Some((key, value)) = pairs.pop_front() else { break };
            keys.push(Some(&key)).unwrap();
            values.push(Some(&value)).unwrap();
        }
        Ok((keys, values))
    }

    fn close(&mut self, cursor: CursorId) {
        assert!(self.cursors.remove(&cursor.0).is_some(), "a cursor is closed once");
    }

    fn emit(&mut self, batch: &OutputColumns<'_>) -> Result<(), ServiceError> {
        assert!(!batch.is_empty());
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        self.emitted.extend(batch.iter().map(|record| Emitted {
            output: record.output,
            cause: record.cause,
            timestamp: record.timestamp,
            partition: record.partition,
            key: owned(record.key),
            value: owned(record.value),
            headers: record.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        }));
        Ok(())
    }

    fn select(&mut self, output: u32, indexes: &[u32]) -> Result<(), ServiceError> {
        assert!(output == 0 && !indexes.is_empty());
        self.selected.extend_from_slice(indexes);
        Ok(())
    }

    fn config(&self, key: &str) -> Option<String> {
        self.config.get(key).cloned()
    }

    fn identity(&self) -> TaskIdentity {
        TaskIdentity { job: "job".to_owned(), stage: "stage".to_owned(), task: 3, tasks: 8 }
    }

    fn log(&mut self, line: LogLine<'_>) {
        self.lines.push(Line { level: line.level, message: line.message.to_owned(), fields: line.fields.to_vec() });
    }

    fn metric(&mut self, update: MetricUpdate<'_>) {
        self.metrics.push((update.name.to_owned(), update.labels.to_vec(), update.kind));
    }
}
