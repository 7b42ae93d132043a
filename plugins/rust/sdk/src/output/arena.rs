//! Emitted records in columns, until they are handed over. Refuses records whose columns would not agree with those that wait: the caller
//! hands these over first.

use crate::Port;
use crate::bindings::gregor::task::types::{HeaderColumns, OutputBatch};
use crate::field::{Field, FieldWriter, Presence};

/// Which of the optional columns a record fills. All records that wait together fill the same ones, for a column has an entry for every
/// record or none at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// The record that each derives from: in `process`, not in `on-end`.
    pub(crate) causes: bool,
    /// Event times of their own.
    pub(crate) timestamps: bool,
    /// Partitions that the author chose.
    pub(crate) partitions: bool,
    /// Headers.
    pub(crate) headers: bool,
}

/// All of a record but its key and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) port: Port,
    pub(crate) cause: Option<u32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) partition: Option<u32>,
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
}

impl Envelope<'_> {
    #[inline]
    pub(crate) const fn form(&self) -> Form {
        Form {
            causes: self.cause.is_some(),
            timestamps: self.timestamp.is_some(),
            partitions: self.partition.is_some(),
            headers: !self.headers.is_empty(),
        }
    }
}

/// The columns. They keep their memory from call to call.
#[derive(Debug)]
pub(crate) struct Arena {
    batch: OutputBatch,
    form: Form,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        let batch = OutputBatch {
            outputs: Vec::new(),
            causes: Vec::new(),
            timestamps: Vec::new(),
            partitions: Vec::new(),
            data: Vec::new(),
            key_ends: Vec::new(),
            value_ends: Vec::new(),
            nulls: Vec::new(),
            headers: None,
        };
        Self { batch, form: Form { causes: false, timestamps: false, partitions: false, headers: false } }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.batch.value_ends.is_empty()
    }

    /// Bytes of the columns, about.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.batch.data.len() + 16 * self.batch.value_ends.len() + self.batch.headers.as_ref().map_or(0, |headers| headers.data.len())
    }

    /// Whether a record of this form can wait with those that are here.
    #[inline]
    pub(crate) fn takes(&self, form: Form) -> bool {
        self.is_empty() || self.form == form
    }

    /// Whether a record for this port is waiting.
    pub(crate) fn holds(&self, port: Port) -> bool {
        !self.is_empty() && self.batch.outputs.contains(&port.0)
    }

    /// Appends a record of a form that the arena [takes](Self::takes).
    #[inline]
    pub(crate) fn push(&mut self, envelope: Envelope<'_>, key: impl Field, value: impl Field) {
        if self.is_empty() {
            self.form = envelope.form();
        }
        let index = self.batch.value_ends.len();
        self.push_port(envelope.port);
        self.batch.causes.extend(envelope.cause);
        self.batch.timestamps.extend(envelope.timestamp);
        // A number beyond what the contract can carry is none that a stream has; the host refuses it by name.
        self.batch.partitions.extend(envelope.partition.map(|partition| i32::try_from(partition).unwrap_or(i32::MAX)));
        let no_key = append(&mut self.batch.data, key) == Presence::Absent;
        self.batch.key_ends.push(end_of(&self.batch.data));
        let no_value = append(&mut self.batch.data, value) == Presence::Absent;
        self.batch.value_ends.push(end_of(&self.batch.data));
        if no_key || no_value || !self.batch.nulls.is_empty() {
            self.push_nulls(index, u8::from(no_key) | (u8::from(no_value) << 1));
        }
        if !envelope.headers.is_empty() {
            self.push_headers(envelope.headers);
        }
    }

    /// A single entry of `outputs` is valid for all; it becomes one a record with the first that goes elsewhere.
    #[inline]
    fn push_port(&mut self, port: Port) {
        let (outputs, before) = (&mut self.batch.outputs, self.batch.value_ends.len());
        match outputs.as_slice() {
            [] => outputs.push(port.0),
            [all] if *all == port.0 => {}
            [all] => {
                let all = *all;
                outputs.resize(before, all);
                outputs.push(port.0);
            }
            _ => outputs.push(port.0),
        }
    }

    fn push_nulls(&mut self, index: usize, flags: u8) {
        self.batch.nulls.resize((index + 1).div_ceil(4), 0);
        if let Some(byte) = self.batch.nulls.get_mut(index / 4) {
            *byte |= flags << (2 * (index % 4));
        }
    }

    fn push_headers(&mut self, headers: &[(&str, &[u8])]) {
        let columns = self.batch.headers.get_or_insert_with(|| HeaderColumns {
            counts: Vec::new(),
            data: Vec::new(),
            name_ends: Vec::new(),
            value_ends: Vec::new(),
        });
        columns.counts.push(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        for (name, value) in headers {
            columns.data.extend_from_slice(name.as_bytes());
            columns.name_ends.push(end_of(&columns.data));
            columns.data.extend_from_slice(value);
            columns.value_ends.push(end_of(&columns.data));
        }
    }

    /// The records that wait, in the contract's form.
    pub(crate) const fn batch(&self) -> &OutputBatch {
        &self.batch
    }

    /// Forgets all records, but keeps the memory.
    pub(crate) fn clear(&mut self) {
        let OutputBatch { outputs, causes, timestamps, partitions, data, key_ends, value_ends, nulls, headers } = &mut self.batch;
        outputs.clear();
        causes.clear();
        timestamps.clear();
        partitions.clear();
        data.clear();
        key_ends.clear();
        value_ends.clear();
        nulls.clear();
        *headers = None;
    }
}

#[inline]
fn append(data: &mut Vec<u8>, field: impl Field) -> Presence {
    let mut writer = FieldWriter::new(data);
    let presence = field.write(&mut writer);
    if presence == Presence::Absent {
        writer.clear();
    }
    presence
}

/// The end of columns as the contract writes it. Where a task runs, a length has 32 bits, so none is ever cut.
#[inline]
fn end_of(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}
