//! What becomes of a record that the task does not take: the job stops, or the record is left out, or it goes to the stage's stream of dead letters,
//! in the same transaction that moves the position behind it. Refuses to leave out a record without counting it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gregor_model::columns::{Columns, Record};
use gregor_model::dead_letter::{Origin, headers};
use gregor_model::job::{OnError, Source};
use gregor_model::segment::Position;
use gregor_stream::Raw;

use super::Task;
use super::call::Fault;
use crate::cell::Cell;
use crate::setup::RunError;

/// What can be done about a record at fault, in a job that goes on: with another component or another input it is another job.
pub(super) const LEAVE_OUT: &str = "leave such records out by on-error = \"skip\", or keep them on a stream by on-error = \"dead-letter\" and dead-letter = \"stream://NAME\"";

/// A record that the task does not take.
pub(super) struct Guilty<'a> {
    /// Index of the input that it came from.
    pub(super) input: usize,
    /// A position in the same stream, or the same split.
    pub(super) at: &'a Position,
    /// Its offset.
    pub(super) offset: u64,
    /// What is known of it.
    pub(super) content: Content<'a>,
}

/// What is known of a record that the task does not take.
pub(super) enum Content<'a> {
    /// All of it: it is the record with this index in a batch.
    Record(&'a Columns, usize),
    /// What stands in the file, of so many bytes; nothing where the stage keeps no dead letters.
    Raw(Option<&'a Raw>, u64),
}

impl Task {
    /// Follows `on-error` for a record at fault, between two calls. `remedy` is what can be changed for a job that goes on.
    pub(super) fn leave_out(&mut self, cell: &Cell, guilty: &Guilty<'_>, (reason, remedy): (&str, &str)) -> Result<(), Fault> {
        let stage = Arc::clone(&self.identity.stage);
        let word = match &stage.on_error {
            OnError::Stop => {
                return Err(Fault::Guest(self.failed(format!(
                    "{reason}; {remedy} and start the job again: it goes on from here; a mended task or input needs another --data and output folder"
                ))));
            }
            OnError::Skip => "skipped",
            OnError::DeadLetter { .. } => {
                self.bury(guilty, reason)?;
                self.instance()?.services().outputs.commit();
                "dead letter"
            }
        };
        cell.figures.skipped.fetch_add(1, Ordering::Relaxed);
        let services = self.instance()?.services();
        if services.tells_of_skip() {
            services.tell_skip(word, reason);
        }
        Ok(())
    }

    /// Puts a record on the stream of dead letters, in the current call.
    pub(super) fn bury(&mut self, guilty: &Guilty<'_>, reason: &str) -> Result<(), RunError> {
        let Guilty { input, at, offset, content } = guilty;
        let stage = Arc::clone(&self.identity.stage);
        let job = self.identity.job.clone();
        let mut origin = Origin {
            job: &job,
            stage: stage.name.as_str(),
            task: self.identity.id.partition,
            input: stage.inputs.get(*input).map_or("?", |input| input.port.as_str()),
            from: self.from(*input, at),
            offset: *offset,
            reason,
            length: None,
        };
        let (record, own) = match content {
            Content::Record(columns, index) => (columns.get(*index), columns.headers_of(*index)),
            Content::Raw(raw, length) => {
                let record = raw.map(|raw| Record { offset: 0, timestamp: raw.timestamp, key: None, value: Some(&raw.bytes) });
                origin.length = raw.filter(|raw| (raw.bytes.len() as u64) < *length).map(|_| *length);
                (record, Vec::new())
            }
        };
        let record = record.ok_or_else(|| self.failed(format!("a dead letter was not kept: {reason}")))?;
        let added = headers(&origin);
        let added = added.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let all: Vec<(&[u8], &[u8])> = own.into_iter().chain(added).collect();
        let buried = self.instance()?.services().outputs.bury(&record, &all);
        buried.map_err(|error| self.failed(format!("a dead letter can't be staged: {error}")))
    }

    /// Where an input's records stand: the stream, or the file of a position.
    fn from(&self, input: usize, at: &Position) -> String {
        match self.identity.stage.inputs.get(input).map(|input| &input.source) {
            Some(Source::Stream { name }) => format!("stream://{name}"),
            Some(Source::File { folder, .. }) => {
                let watch = self.inputs.get(input).and_then(|input| input.watch.as_ref());
                let file = watch.and_then(|watch| watch.file(at)).unwrap_or_default();
                format!("file://{}/{file}", folder.trim_end_matches('/'))
            }
            None => String::new(),
        }
    }
}
