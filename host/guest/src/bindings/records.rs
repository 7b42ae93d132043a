//! Records that cross from host to guest, and what the exports answer. The field names are those of the contract; a difference is found when
//! a component is admitted. Refuses to own what it can borrow.

use wasmtime::component::{ComponentType, Lift, Lower};

use gregor_model::columns::{Columns, Headers};

use crate::instance::{Batch, Progress, Rejection};

/// What `process` answers.
pub(crate) type ProcessAnswer = (Result<Vec<Rejection>, TaskError>,);
/// What `init` answers.
pub(crate) type InitAnswer = (Result<(), TaskError>,);
/// What `on-end` answers.
pub(crate) type EndAnswer = (Result<Progress, TaskError>,);

/// `types.header-columns` on its way in.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct HeaderColumns<'a> {
    counts: &'a [u32],
    data: &'a [u8],
    #[component(name = "name-ends")]
    name_ends: &'a [u32],
    #[component(name = "value-ends")]
    value_ends: &'a [u32],
}

/// `types.record-batch`.
#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct RecordBatch<'a> {
    input: u32,
    partition: u32,
    offsets: &'a [u64],
    timestamps: &'a [i64],
    data: &'a [u8],
    #[component(name = "key-ends")]
    key_ends: &'a [u32],
    #[component(name = "value-ends")]
    value_ends: &'a [u32],
    nulls: &'a [u8],
    headers: Option<HeaderColumns<'a>>,
}

/// `types.header` on its way in.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Header<'a> {
    name: String,
    value: &'a [u8],
}

/// `types.input-record`.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(crate) struct InputRecord<'a> {
    input: u32,
    partition: u32,
    offset: u64,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: Vec<Header<'a>>,
}

/// `types.task-error`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum TaskError {
    /// Try again.
    #[component(name = "retryable")]
    Retryable(String),
    /// A record is at fault.
    #[component(name = "poison")]
    Poison(String),
    /// Stop.
    #[component(name = "fatal")]
    Fatal(String),
}

/// `describe.port`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) schema: Option<String>,
}

/// `describe.store-spec`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(crate) struct StoreSpec {
    pub(crate) name: String,
    #[component(name = "schema-version")]
    pub(crate) schema_version: u32,
}

/// `describe.descriptor`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Descriptor {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) stores: Vec<StoreSpec>,
}

impl<'a> RecordBatch<'a> {
    /// Borrows a batch.
    pub(crate) fn new(batch: &Batch<'a>) -> Self {
        let Columns { offsets, timestamps, data, key_ends, value_ends, nulls, headers } = &**batch.columns;
        let headers =
            headers.as_ref().map(|Headers { counts, data, name_ends, value_ends }| HeaderColumns { counts, data, name_ends, value_ends });
        Self { input: batch.input, partition: batch.partition, offsets, timestamps, data, key_ends, value_ends, nulls, headers }
    }
}

/// A batch as the list of records that simple processors take.
pub(crate) fn input_records<'a>(batch: &Batch<'a>) -> Vec<InputRecord<'a>> {
    let columns: &'a Columns = batch.columns;
    let mut headers = headers(columns);
    columns
        .iter()
        .map(|record| InputRecord {
            input: batch.input,
            partition: batch.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            headers: headers.next().unwrap_or_default(),
        })
        .collect()
}

/// The headers of each record in turn. Names that are not UTF-8, which Kafka does not rule out on its wire, are repaired.
fn headers<'a>(columns: &'a Columns) -> impl Iterator<Item = Vec<Header<'a>>> {
    let all = columns.headers.as_ref();
    let mut pairs = all.into_iter().flat_map(pairs);
    let counts = all.map_or(&[][..], |headers| &headers.counts);
    counts.iter().map(move |&count| {
        let own = pairs.by_ref().take(count as usize);
        own.map(|(name, value)| Header { name: String::from_utf8_lossy(name).into_owned(), value }).collect()
    })
}

/// Names and values of all headers in order.
fn pairs(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut start = 0;
    headers.name_ends.iter().zip(&headers.value_ends).map(move |(&middle, &end)| {
        let name = headers.data.get(start..middle as usize).unwrap_or_default();
        let value = headers.data.get(middle as usize..end as usize).unwrap_or_default();
        start = end as usize;
        (name, value)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gregor_model::columns::Record;

    use super::*;

    #[test]
    fn records_carry_the_headers_of_their_own() {
        let mut columns = Columns { headers: Some(Headers::default()), ..Columns::default() };
        let all: [&[(&[u8], &[u8])]; 3] = [&[(b"a", b"1"), (b"b", b"")], &[], &[(b"\xff", b"3")]];
        for (offset, own) in (0..).zip(all) {
            columns.push(Record { offset, timestamp: 5, key: None, value: Some(b"v") }).unwrap();
            columns.headers.as_mut().unwrap().set_last(own);
        }
        columns.check().unwrap();
        let columns = Arc::new(columns);
        let records = input_records(&Batch { input: 1, partition: 2, columns: &columns });
        let found: Vec<Vec<(&str, &[u8])>> =
            records.iter().map(|record| record.headers.iter().map(|header| (header.name.as_str(), header.value)).collect()).collect();
        let expected: [&[(&str, &[u8])]; 3] = [&[("a", b"1"), ("b", b"")], &[], &[("\u{fffd}", b"3")]];
        assert_eq!(found, expected);
        assert_eq!((records[2].input, records[2].partition, records[2].offset, records[2].key), (1, 2, 2, None));
    }
}
