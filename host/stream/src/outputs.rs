//! What a task has emitted and not yet frozen. A guest call is a transaction: what it stages is kept by [`Outputs::commit`] or dropped by
//! [`Outputs::rollback`], both in the time of the partitions that it touched. A freeze moves everything out by [`Outputs::take`], which copies no
//! record. Refuses records over the contract's bounds, partitions that are not there, and what a file's format can't hold, each inside the call
//! that emits it. Dead letters are staged beside what the guest emits, by the host alone: they count in [`Outputs::bytes`], never against a call's
//! bounds. Not bounded by itself: `runtime` pauses a task's inputs by [`Outputs::bytes`], and a call is bounded by `[limits]`.
//!
//! A block is cut where a guest's batch ends, so that one stored block is one batch of the next stage. What is left of a run at a freeze, at most
//! one open block a partition, is encoded by [`Taken::seal`], off the task's path.

use gregor_model::columns::Record;
use gregor_model::job::{Format, Sink};
use gregor_model::limits::{KEY_BYTES_MAX, Limits, VALUE_BYTES_MAX};
use gregor_model::names::{PortName, StreamName};
use gregor_model::partitioner::partition_of_key;

use crate::error::OutputError;
pub(crate) use crate::outputs::staged::LaneRun;
use crate::outputs::staged::{HeaderPairs, Lane, StagedFile};
use crate::seal::{Taken, TakenFile, TakenRun};

mod staged;

/// An output of a stage: the port, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// The port's name.
    pub port: PortName,
    /// Where it goes.
    pub sink: Sink,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Index of the output in the component's description.
    pub output: u32,
    /// The partition; none = by key, and without a key by the task's own partition.
    pub partition: Option<u32>,
}

/// What one task has emitted and not yet frozen.
#[derive(Debug)]
pub struct Outputs {
    /// Those of the component's description, and behind them the stream of dead letters, if there is one.
    outputs: Vec<Output>,
    /// How many of them guests know.
    described: usize,
    own_partition: u32,
    /// Bytes of all that is staged.
    bytes: u64,
    call: Call,
}

/// The current guest call.
#[derive(Debug, Default)]
struct Call {
    records_max: u64,
    bytes_max: u64,
    records: u64,
    bytes: u64,
    /// `Outputs::bytes` before it.
    staged_before: u64,
    /// Output and partition of each lane that has a mark; of a file partition 0.
    touched: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Output {
    /// The port's name, for errors.
    port: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Stream { name: StreamName, count: u32, lanes: Vec<Lane> },
    File { format: Format, file: StagedFile },
}

impl Outputs {
    /// Nothing staged yet. `own_partition` is the task's number in its stage; of `limits`, the two on what a call emits are used.
    #[must_use]
    pub fn new(outputs: Vec<OutputSpec>, own_partition: u32, limits: &Limits) -> Self {
        let outputs = outputs.into_iter().map(|OutputSpec { port, sink }| Output { port: port.to_string(), kind: Kind::new(sink) });
        let outputs: Vec<Output> = outputs.collect();
        let call = Call { records_max: limits.emit_records, bytes_max: limits.emit_bytes, ..Call::default() };
        Self { described: outputs.len(), outputs, own_partition, bytes: 0, call }
    }

    /// The same, with a stream for dead letters.
    #[must_use]
    pub fn with_dead_letters(mut self, name: StreamName, partitions: u32) -> Self {
        self.outputs.truncate(self.described);
        self.outputs.push(Output { port: "dead letters".to_owned(), kind: Kind::new(Sink::Stream { name, partitions }) });
        self
    }

    /// Stages one record of the current call. Its offset is given when a manifest is sealed, whatever `record.offset` says. For a file, the
    /// record is put into the file's format at once.
    ///
    /// # Errors
    /// See [`OutputError`]. The call has failed then: roll it back.
    pub fn append(&mut self, to: Target, record: &Record<'_>, headers: HeaderPairs<'_>) -> Result<(), OutputError> {
        let index = to.output as usize;
        let Some(output) = self.outputs.get(index).filter(|_| index < self.described) else {
            return Err(OutputError::Output { found: to.output, count: self.described });
        };
        let excess = excess_of(record).or_else(|| self.call.take(size_of(record, headers) as u64));
        if let Some((what, found, limit)) = excess {
            return Err(OutputError::TooLarge { port: output.port.clone(), what, found, limit });
        }
        self.stage((index, to.partition), record, headers)
    }

    /// Stages a dead letter; it is kept or dropped with what the current call stages. Where it goes is said by its key, as for any record.
    ///
    /// # Errors
    /// [`OutputError::Output`]: there is no stream for dead letters.
    pub fn bury(&mut self, record: &Record<'_>, headers: HeaderPairs<'_>) -> Result<(), OutputError> {
        self.stage((self.described, None), record, headers)
    }

    fn stage(
        &mut self,
        (index, partition): (usize, Option<u32>),
        record: &Record<'_>,
        headers: HeaderPairs<'_>,
    ) -> Result<(), OutputError> {
        let count = self.outputs.len();
        let Some(output) = self.outputs.get_mut(index) else {
            return Err(OutputError::Output { found: u32::try_from(index).unwrap_or(u32::MAX), count });
        };
        let size = size_of(record, headers);
        let (own, touched) = (self.own_partition, &mut self.call.touched);
        let grown = match &mut output.kind {
            Kind::Stream { count, lanes, .. } => {
                let partition = partition.unwrap_or_else(|| record.key.map_or(own % *count, |key| partition_of_key(key, *count)));
                let Some(lane) = lanes.get_mut(partition as usize) else {
                    return Err(OutputError::Partition { port: output.port.clone(), found: partition, count: *count });
                };
                if lane.begin() {
                    touched.push((index, partition as usize));
                }
                lane.push(record, headers, size)
            }
            Kind::File { format, file } => {
                if let Some(found) = partition.filter(|&found| found != 0) {
                    return Err(OutputError::Partition { port: output.port.clone(), found, count: 1 });
                }
                if file.begin() {
                    touched.push((index, 0));
                }
                let grown = file.push(*format, record);
                grown.map_err(|reason| OutputError::Format { port: output.port.clone(), format: format.name(), reason })?
            }
        };
        self.bytes += grown as u64;
        Ok(())
    }

    /// Keeps what the current call has staged; the next record begins a new call.
    pub fn commit(&mut self) {
        for (output, partition) in self.call.touched.drain(..) {
            match self.outputs.get_mut(output).map(|output| &mut output.kind) {
                Some(Kind::Stream { lanes, .. }) => {
                    if let Some(lane) = lanes.get_mut(partition) {
                        lane.commit();
                    }
                }
                Some(Kind::File { file, .. }) => file.commit(),
                None => {}
            }
        }
        self.call.end(self.bytes);
    }

    /// Drops what the current call has staged; the next record begins a new call.
    pub fn rollback(&mut self) {
        for (output, partition) in self.call.touched.drain(..) {
            match self.outputs.get_mut(output).map(|output| &mut output.kind) {
                Some(Kind::Stream { lanes, .. }) => {
                    if let Some(lane) = lanes.get_mut(partition) {
                        lane.rollback();
                    }
                }
                Some(Kind::File { file, .. }) => file.rollback(),
                None => {}
            }
        }
        self.bytes = self.call.staged_before;
        self.call.end(self.bytes);
    }

    /// Bytes staged and not taken yet, the current call's included: of a stream's record its key, value, headers and 8 more, about what
    /// its run takes; of a file what stands in it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is staged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Moves out all that was committed, in the time of outputs × partitions. What the current call has staged is dropped: a freeze happens
    /// between calls.
    pub fn take(&mut self) -> Taken {
        self.rollback();
        self.bytes = 0;
        self.call.end(0);
        let mut taken = Taken::default();
        for (index, output) in (0_u16..).zip(&mut self.outputs) {
            match &mut output.kind {
                Kind::Stream { name, lanes, .. } => {
                    let runs = (0_u32..).zip(lanes).filter_map(|(partition, lane)| Some((partition, lane.take()?)));
                    taken.runs.extend(runs.map(|(partition, run)| TakenRun { stream: name.clone(), partition, run }));
                }
                Kind::File { file, .. } => {
                    let file = file.take().map(|(bytes, records)| TakenFile { output: index, records, bytes });
                    taken.files.extend(file);
                }
            }
        }
        taken
    }
}

impl Kind {
    fn new(sink: Sink) -> Self {
        match sink {
            Sink::Stream { name, partitions } => {
                // A stream has at least one partition, by the job file; a spec that says otherwise shall not divide by zero.
                let count = partitions.max(1);
                Self::Stream { name, count, lanes: (0..count).map(|_| Lane::default()).collect() }
            }
            Sink::File { format, .. } => Self::File { format, file: StagedFile::default() },
        }
    }
}

impl Call {
    /// Counts a record of `size` bytes; tells which budget it breaks.
    fn take(&mut self, size: u64) -> Option<(&'static str, u64, u64)> {
        self.records += 1;
        self.bytes += size;
        if self.records > self.records_max {
            return Some(("the number of records that one call emits", self.records, self.records_max));
        }
        (self.bytes > self.bytes_max).then_some(("the number of bytes that one call emits", self.bytes, self.bytes_max))
    }

    const fn end(&mut self, staged: u64) {
        self.records = 0;
        self.bytes = 0;
        self.staged_before = staged;
    }
}

fn size_of(record: &Record<'_>, headers: HeaderPairs<'_>) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers
}

/// Which bound of the contract a record breaks.
fn excess_of(record: &Record<'_>) -> Option<(&'static str, u64, u64)> {
    let over = |what, part: Option<&[u8]>, limit: usize| {
        let found = part.map_or(0, <[u8]>::len);
        (found > limit).then_some((what, found as u64, limit as u64))
    };
    over("the key's number of bytes", record.key, KEY_BYTES_MAX)
        .or_else(|| over("the value's number of bytes", record.value, VALUE_BYTES_MAX))
}

#[cfg(test)]
mod tests;
