//! `gregor:task/output`: what a guest emits, counted and checked before the services see it. Columns are passed on where they lie in the
//! guest's memory. Refuses, as a trap, output that contradicts itself or passes the limits of a call.

use std::sync::Arc;

use gregor_model::columns::Columns;
use wasmtime::StoreContext;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, WasmList};

use crate::failure::Stop;
use crate::host::{Caller, Host, Phase, serve};
use crate::output::{self, OutputColumns, Volume, in_range};
use crate::services::Services;

/// `types.header-columns` on its way out of the guest.
#[derive(ComponentType, Lift)]
#[component(record)]
struct HeaderColumns {
    counts: WasmList<u32>,
    data: WasmList<u8>,
    #[component(name = "name-ends")]
    name_ends: WasmList<u32>,
    #[component(name = "value-ends")]
    value_ends: WasmList<u32>,
}

/// `types.output-batch`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct OutputBatch {
    outputs: WasmList<u32>,
    causes: WasmList<u32>,
    timestamps: WasmList<i64>,
    partitions: WasmList<i32>,
    data: WasmList<u8>,
    #[component(name = "key-ends")]
    key_ends: WasmList<u32>,
    #[component(name = "value-ends")]
    value_ends: WasmList<u32>,
    nulls: WasmList<u8>,
    headers: Option<HeaderColumns>,
}

/// `types.header` on its way out of the guest.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Header {
    name: String,
    value: WasmList<u8>,
}

/// `types.output-record`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct OutputRecord {
    output: u32,
    cause: Option<u32>,
    partition: Option<u32>,
    timestamp: Option<i64>,
    key: Option<WasmList<u8>>,
    value: Option<WasmList<u8>>,
    headers: Vec<Header>,
}

/// Serves the interface.
pub(crate) fn add<S: Services>(instance: &mut LinkerInstance<'_, Host<S>>) -> wasmtime::Result<()> {
    instance.func_wrap("emit", emit::<S>)?;
    instance.func_wrap("emit-batch", emit_batch::<S>)?;
    instance.func_wrap("select", select::<S>)?;
    Ok(())
}

fn emit_batch<S: Services>(mut caller: Caller<'_, S>, (batch,): (OutputBatch,)) -> wasmtime::Result<()> {
    caller.data().call.check_writable()?;
    let emitted = serve(&mut caller, |services, memory| take(services, &memory, &batch.columns(&memory)))??;
    caller.data_mut().call.emitted = emitted;
    Ok(())
}

/// Hands checked columns to the services; answers what was emitted with them.
fn take<S: Services>(services: &mut S, memory: &StoreContext<'_, Host<S>>, columns: &OutputColumns<'_>) -> Result<Volume, Stop> {
    let host = memory.data();
    let emitted = host.emitted_with(columns.check(host.frame()).map_err(Stop::Trap)?)?;
    if !columns.is_empty() {
        services.emit(columns)?;
    }
    Ok(emitted)
}

fn emit<S: Services>(mut caller: Caller<'_, S>, (records,): (Vec<OutputRecord>,)) -> wasmtime::Result<()> {
    caller.data().call.check_writable()?;
    // Before anything is copied: what is over the limit is not worth the memory.
    caller.data().emitted_with(volume(&records))?;
    let mut rest = records.as_slice();
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|record| record.timestamp.is_some() == first.timestamp.is_some()).count();
        let (now, later) = rest.split_at(run);
        let emitted = serve(&mut caller, |services, memory| {
            let copied = Copied::new(now, &memory)?;
            take(services, &memory, &copied.columns())
        })??;
        caller.data_mut().call.emitted = emitted;
        rest = later;
    }
    Ok(())
}

fn volume(records: &[OutputRecord]) -> Volume {
    let length = |list: &Option<WasmList<u8>>| list.as_ref().map_or(0, WasmList::len);
    let headers = |headers: &[Header]| headers.iter().map(|header| header.name.len() + header.value.len()).sum::<usize>();
    let bytes: usize = records.iter().map(|record| length(&record.key) + length(&record.value) + headers(&record.headers)).sum();
    Volume { records: u64::try_from(records.len()).unwrap_or(u64::MAX), bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }
}

/// Records as columns of their own. Either all of them have a timestamp or none has: a column can't say that one is missing.
#[derive(Default)]
struct Copied {
    outputs: Vec<u32>,
    causes: Vec<u32>,
    timestamps: Vec<i64>,
    partitions: Vec<i32>,
    data: Vec<u8>,
    key_ends: Vec<u32>,
    value_ends: Vec<u32>,
    nulls: Vec<u8>,
    header_counts: Vec<u32>,
    header_data: Vec<u8>,
    name_ends: Vec<u32>,
    header_value_ends: Vec<u32>,
}

impl Copied {
    fn new<S: Services>(records: &[OutputRecord], memory: &StoreContext<'_, Host<S>>) -> Result<Self, Stop> {
        let mut copied = Self { nulls: vec![0; records.len().div_ceil(4)], ..Self::default() };
        for (index, record) in records.iter().enumerate() {
            copied.push(index, record, memory)?;
        }
        Ok(copied)
    }

    fn push<S: Services>(&mut self, index: usize, record: &OutputRecord, memory: &StoreContext<'_, Host<S>>) -> Result<(), Stop> {
        self.outputs.push(record.output);
        match (memory.data().call.phase, record.cause) {
            (Phase::End, None) => {}
            (Phase::End, Some(_)) => return Err(Stop::Trap(format!("record {index} has a cause, but in on-end there is no batch"))),
            (_, cause) => self.causes.push(cause.unwrap_or(0)),
        }
        self.timestamps.extend(record.timestamp);
        self.partitions.push(match record.partition {
            None => -1,
            Some(partition) => i32::try_from(partition).map_err(|_| Stop::Trap(format!("record {index} has partition {partition}")))?,
        });
        for (bit, bytes) in [(1, &record.key), (2, &record.value)] {
            match bytes {
                Some(bytes) => self.data.extend_from_slice(bytes.as_le_slice(memory)),
                None => set(&mut self.nulls, index, bit),
            }
            let ends = if bit == 1 { &mut self.key_ends } else { &mut self.value_ends };
            ends.push(end_of(&self.data)?);
        }
        for header in &record.headers {
            self.header_data.extend_from_slice(header.name.as_bytes());
            self.name_ends.push(end_of(&self.header_data)?);
            self.header_data.extend_from_slice(header.value.as_le_slice(memory));
            self.header_value_ends.push(end_of(&self.header_data)?);
        }
        self.header_counts.push(u32::try_from(record.headers.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn columns(&self) -> OutputColumns<'_> {
        let headers = output::HeaderColumns {
            counts: &self.header_counts,
            data: &self.header_data,
            name_ends: &self.name_ends,
            value_ends: &self.header_value_ends,
        };
        OutputColumns {
            outputs: &self.outputs,
            causes: &self.causes,
            timestamps: &self.timestamps,
            partitions: &self.partitions,
            data: &self.data,
            key_ends: &self.key_ends,
            value_ends: &self.value_ends,
            nulls: &self.nulls,
            headers: (!self.name_ends.is_empty()).then_some(headers),
        }
    }
}

fn set(nulls: &mut [u8], index: usize, bit: u8) {
    if let Some(byte) = nulls.get_mut(index / 4) {
        *byte |= bit << (2 * (index % 4));
    }
}

fn end_of(data: &[u8]) -> Result<u32, Stop> {
    u32::try_from(data.len()).map_err(|_| Stop::Trap("one emit has more than 4 GiB".to_owned()))
}

fn select<S: Services>(mut caller: Caller<'_, S>, (output, indexes): (u32, WasmList<u32>)) -> wasmtime::Result<()> {
    caller.data().call.check_writable()?;
    let batch = caller.data().call.batch.clone();
    let header_bytes = batch.as_ref().map(|batch| header_bytes(&mut caller, batch));
    let emitted = serve(&mut caller, |services, memory| {
        let (host, indexes) = (memory.data(), indexes.as_le_slice(&memory));
        in_range("select.output", &[output], host.descriptor.outputs.len()).map_err(Stop::Trap)?;
        let (Some(batch), Some(header_bytes)) = (batch, header_bytes) else {
            return Err(Stop::Trap(format!("select forwards records of a batch, and {} has none", host.call.phase)));
        };
        let bytes = selected_bytes((&batch, &header_bytes), indexes).map_err(Stop::Trap)?;
        let emitted = host.emitted_with(Volume { records: u64::try_from(indexes.len()).unwrap_or(u64::MAX), bytes })?;
        if !indexes.is_empty() {
            services.select(output, indexes)?;
        }
        Ok(emitted)
    })??;
    caller.data_mut().call.emitted = emitted;
    Ok(())
}

/// Bytes of each record's headers, computed once a call; empty where there are none.
fn header_bytes<S: Services>(caller: &mut Caller<'_, S>, batch: &Columns) -> Arc<[u64]> {
    let call = &mut caller.data_mut().call;
    Arc::clone(call.header_bytes.get_or_insert_with(|| {
        let Some(headers) = &batch.headers else { return Arc::new([]) };
        let (mut ends, mut start) = (headers.value_ends.iter(), 0);
        let of_record = |&count: &u32| {
            let end = (count as usize).checked_sub(1).and_then(|last| ends.nth(last)).map_or(start, |&end| u64::from(end));
            let bytes = end.saturating_sub(start);
            start = end;
            bytes
        };
        headers.counts.iter().map(of_record).collect()
    }))
}

/// Bytes of the records of a batch that are forwarded.
fn selected_bytes((batch, header_bytes): (&Columns, &[u64]), indexes: &[u32]) -> Result<u64, String> {
    in_range("select.indexes", indexes, batch.len())?;
    let bytes = |&index: &u32| {
        let index = index as usize;
        let start = index.checked_sub(1).and_then(|before| batch.value_ends.get(before)).map_or(0, |&end| end);
        let end = batch.value_ends.get(index).map_or(0, |&end| end);
        u64::from(end.saturating_sub(start)) + header_bytes.get(index).map_or(0, |&bytes| bytes)
    };
    Ok(indexes.iter().map(bytes).fold(0, u64::saturating_add))
}

impl OutputBatch {
    /// The columns where they lie.
    fn columns<'a, S: Services>(&self, memory: &'a StoreContext<'_, Host<S>>) -> OutputColumns<'a> {
        let headers = self.headers.as_ref().map(|headers| output::HeaderColumns {
            counts: headers.counts.as_le_slice(memory),
            data: headers.data.as_le_slice(memory),
            name_ends: headers.name_ends.as_le_slice(memory),
            value_ends: headers.value_ends.as_le_slice(memory),
        });
        OutputColumns {
            outputs: self.outputs.as_le_slice(memory),
            causes: self.causes.as_le_slice(memory),
            timestamps: self.timestamps.as_le_slice(memory),
            partitions: self.partitions.as_le_slice(memory),
            data: self.data.as_le_slice(memory),
            key_ends: self.key_ends.as_le_slice(memory),
            value_ends: self.value_ends.as_le_slice(memory),
            nulls: self.nulls.as_le_slice(memory),
            headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use gregor_model::columns::{Headers, Record};

    use super::*;

    #[test]
    fn selected_bytes_are_those_of_keys_values_and_headers() {
        let mut columns = Columns { headers: Some(Headers::default()), ..Columns::default() };
        for (key, value) in [(&b"a"[..], &b"bc"[..]), (b"", b""), (b"defg", b"")] {
            columns.push(Record { offset: 0, timestamp: 0, key: Some(key), value: Some(value) }).unwrap();
        }
        assert_eq!(selected_bytes((&columns, &[10, 20, 30]), &[2, 0, 0]), Ok(4 + 30 + 2 * (3 + 10)));
        assert_eq!(selected_bytes((&columns, &[]), &[2, 1]), Ok(4));
        assert_eq!(selected_bytes((&columns, &[]), &[0, 3]), Err("column select.indexes entry 1 is 3, there are 3".to_owned()));
    }
}
