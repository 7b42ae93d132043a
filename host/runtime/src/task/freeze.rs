//! Freezing: closes a segment at a batch boundary by swapping pointers, and hands it to the threads that save. Refuses to freeze while a segment
//! of this task is unconfirmed, and when nothing has changed.

use gregor_model::digest::Digest;
use gregor_model::segment::{RunsHeader, SegmentHeader};

use super::seed::Pieces;
use super::{Flight, Task};
use crate::event::Event;
use crate::failure;
use crate::save::Frozen;
use crate::setup::RunError;

impl Task {
    /// Freezes, or says that there is nothing to freeze.
    pub(super) fn freeze_or_decline(&mut self) -> Result<(), RunError> {
        let begin = self.shared.clock.now();
        let unpublished = self.instance()?.services().outputs.bytes();
        if !matches!(self.flight, Flight::Landed) || !(self.moved || unpublished > 0) {
            drop(self.shared.events.send(Event::Unchanged { task: self.identity.index }));
            return Ok(());
        }
        let frozen = self.freeze()?;
        // The channel holds each task at most once: this never waits. It fails only when the job is over.
        drop(self.shared.to_save.send(Some(frozen)));
        self.shared.pauses.record(self.shared.clock.now().saturating_sub(begin));
        Ok(())
    }

    /// The pause that a task sees. In it are: moved pointers (of the maps and of what was emitted), positions copied, one send. Out of it are: every
    /// digest, every encoding, what is sorted and freed, all of which savers and appliers do. Nothing here grows with the state; one thing grows with
    /// the partitions of the outputs.
    fn freeze(&mut self) -> Result<Frozen, RunError> {
        let name = self.identity.name.clone();
        let services = self.instance()?.services();
        let state = services.stores.freeze().map_err(|error| failure::state(&name, error))?;
        let output = services.outputs.take();
        self.sequence = self.sequence.next();
        self.flight = Flight::Aloft;
        (self.moved, self.flagged) = (false, false);
        let header = self.header();
        self.pieces = Pieces::after(&header);
        Ok(Frozen {
            task: self.identity.index,
            name,
            stage: std::sync::Arc::clone(&self.identity.stage),
            header,
            state,
            output,
            watches: self.inputs.iter().filter_map(|input| Some((input.watch.clone()?, input.progress.position.clone()))).collect(),
        })
    }

    /// The header as far as the task knows it; delta, runs and files are filled in by who saves.
    fn header(&self) -> SegmentHeader {
        let shared = &self.shared;
        SegmentHeader {
            incarnation: shared.incarnation,
            task: self.identity.id,
            branch: shared.branch,
            attempt: shared.attempt,
            sequence: self.sequence,
            parent: self.parent,
            inputs: self.inputs.iter().map(|input| input.progress.clone()).collect(),
            watermark: None,
            component: self.identity.stage.component,
            schemas: self.identity.stage.stores.iter().map(|store| store.schema_version).collect(),
            delta: Vec::new(),
            runs: RunsHeader { count: 0, records: 0, sha256: Digest([0; 32]) },
            files: Vec::new(),
        }
    }
}
