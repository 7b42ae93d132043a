//! The host as one instance sees it: the services, and what is known about the call that is being made. It is the data of the instance's
//! wasmtime store. Refuses services outside of a call: they are handed in when it begins and taken back when it ends.

use std::fmt;
use std::sync::Arc;

use gregor_model::columns::Columns;
use wasmtime::{AsContext as _, StoreContext, StoreContextMut};

use crate::budget::Budget;
use crate::component::Descriptor;
use crate::failure::{Circumstances, Stop};
use crate::growth::Growth;
use crate::handles::Handles;
use crate::instance::{CallContext, CallLimits};
use crate::output::{Frame, Volume};
use crate::random::Random;
use crate::services::{Level, LogLine, Services};
use crate::stdio::{Stdio, Stream};

/// What imported functions get from wasmtime.
pub(crate) type Caller<'a, S> = StoreContextMut<'a, Host<S>>;

/// What the guest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Describing itself: it has no services.
    Describe,
    /// Getting ready: it may neither write nor emit.
    Init,
    /// Processing a batch.
    Process,
    /// Ending an input: there is no batch.
    End,
}

impl Phase {
    /// What sets its random bytes apart from those of the others.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Describe => 0,
            Self::Init => 1,
            Self::Process => 2,
            Self::End => 3,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Describe => "describe",
            Self::Init => "init",
            Self::Process => "process",
            Self::End => "on-end",
        })
    }
}

/// The data of an instance's store.
pub(crate) struct Host<S> {
    services: Option<Box<S>>,
    /// What the component says of itself; empty while it says it.
    pub(crate) descriptor: Arc<Descriptor>,
    /// The call.
    pub(crate) call: Call,
    /// Memories and tables.
    pub(crate) growth: Growth,
    /// Time.
    pub(crate) budget: Budget,
    /// Handles.
    pub(crate) handles: Handles,
    /// Half lines of what it prints.
    stdio: Stdio,
    /// Its monotonic clock, in nanoseconds. It begins each call at the call's time, and moves only when the guest waits for a later instant.
    pub(crate) monotonic: u64,
    emit_max: Volume,
}

/// What is known about one call.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the guest is doing.
    pub(crate) phase: Phase,
    /// The time, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// Random bytes.
    pub(crate) random: Random,
    /// The batch, while one is processed.
    pub(crate) batch: Option<Arc<Columns>>,
    /// Bytes of each of its records' headers, computed when first needed; empty if there are none.
    pub(crate) header_bytes: Option<Arc<[u64]>>,
    /// What was emitted so far.
    pub(crate) emitted: Volume,
}

impl Call {
    /// A call that begins.
    pub(crate) const fn new(phase: Phase, context: &CallContext, batch: Option<Arc<Columns>>) -> Self {
        let random = Random::new(context.seed, phase);
        let emitted = Volume { records: 0, bytes: 0 };
        Self { phase, now_ms: context.now_ms, random, batch, header_bytes: None, emitted }
    }

    /// Whether the guest may write and emit now.
    ///
    /// # Errors
    /// It describes itself or gets ready.
    pub(crate) fn check_writable(&self) -> Result<(), Stop> {
        match self.phase {
            Phase::Process | Phase::End => Ok(()),
            phase @ (Phase::Describe | Phase::Init) => Err(Stop::Trap(format!("{phase} may neither write nor emit"))),
        }
    }
}

impl<S: Services> Host<S> {
    /// A host for a fresh instance.
    pub(crate) fn new(descriptor: Arc<Descriptor>, limits: &CallLimits) -> Self {
        Self {
            services: None,
            descriptor,
            call: Call::new(Phase::Describe, &CallContext { now_ms: 0, seed: [0; 32] }, None),
            growth: Growth::new(limits.memory_bytes),
            budget: Budget::begin(limits.call_time),
            handles: Handles::new(),
            stdio: Stdio::default(),
            monotonic: 0,
            emit_max: Volume { records: limits.emit_records, bytes: limits.emit_bytes },
        }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, services: Box<S>, call: Call, budget: Budget) {
        self.services = Some(services);
        self.monotonic = self.monotonic.max(u64::try_from(call.now_ms).unwrap_or(0).saturating_mul(1_000_000));
        self.call = call;
        self.budget = budget;
    }

    /// Ends a call: closes what the guest left open and gives the services back, with what explains a failure.
    pub(crate) fn end(&mut self) -> (Option<Box<S>>, Circumstances) {
        for stream in [Stream::Out, Stream::Err] {
            if let Some(line) = self.stdio.flush(stream) {
                self.log_printed(stream, &line);
            }
        }
        let open = self.handles.cursors.take_open();
        if let Some(services) = &mut self.services {
            open.into_iter().for_each(|cursor| services.close(cursor));
        }
        self.call.batch = None;
        self.call.header_bytes = None;
        let circumstances = Circumstances { phase: self.call.phase, reached: self.growth.take_reached(), stderr: self.stdio.take_tail() };
        (self.services.take(), circumstances)
    }

    /// Takes what the guest prints.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        for line in self.stdio.write(stream, bytes) {
            self.log_printed(stream, &line);
        }
    }

    fn log_printed(&mut self, stream: Stream, line: &str) {
        let (level, name) = match stream {
            Stream::Out => (Level::Info, "stdout"),
            Stream::Err => (Level::Warn, "stderr"),
        };
        if let Some(services) = &mut self.services {
            services.log(LogLine { level, message: line, fields: &[("stream".to_owned(), name.to_owned())] });
        }
    }

    /// What emits of this call are checked against.
    pub(crate) fn frame(&self) -> Frame {
        Frame { outputs: self.descriptor.outputs.len(), batch: self.call.batch.as_ref().map(|batch| batch.len()) }
    }

    /// What was emitted with this added.
    ///
    /// # Errors
    /// That is more than a call may emit.
    pub(crate) fn emitted_with(&self, more: Volume) -> Result<Volume, Stop> {
        let (emitted, max) = (self.call.emitted.plus(more), self.emit_max);
        if emitted.records > max.records {
            return Err(Stop::Trap(format!("a call may emit {} records (emit-records), this one emits {}", max.records, emitted.records)));
        }
        if emitted.bytes > max.bytes {
            let limit = crate::growth::bytes_text(max.bytes);
            return Err(Stop::Trap(format!("a call may emit {limit} (emit-bytes), this one emits {} bytes", emitted.bytes)));
        }
        Ok(emitted)
    }
}

/// Lets the services act while the guest's memory can be read: they are taken out of the store's data for that long.
///
/// # Errors
/// There are none, which cannot happen within a call.
pub(crate) fn serve<S: Services, R>(
    caller: &mut Caller<'_, S>,
    act: impl FnOnce(&mut S, StoreContext<'_, Host<S>>) -> R,
) -> Result<R, Stop> {
    let Some(mut services) = caller.data_mut().services.take() else {
        return Err(Stop::Broken("an import was called outside of a call".to_owned()));
    };
    let answer = act(&mut services, caller.as_context());
    caller.data_mut().services = Some(services);
    Ok(answer)
}
