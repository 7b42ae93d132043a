//! A task's instance: calls into a component around services that outlive it. An instance is kept only while all of its calls count: one that
//! trapped, that answered an error, whose call was rolled back, or that has grown too much, is dropped, and the next call makes a fresh one.
//! So what a guest remembers is never ahead of its stores. Refuses to commit or roll anything back: that is done by whoever gets the
//! answer of a call, and who commits says so by [`Instance::keep`].

use std::sync::Arc;
use std::time::Duration;

use gregor_model::columns::Columns;
use gregor_model::limits::LOG_LINE_BYTES_MAX;
use wasmtime::Store;
use wasmtime::component::{ComponentType, InstancePre, Lift};

use crate::bindings::records::{RecordBatch, TaskError, input_records};
use crate::component::{Component, Lifecycle};
use crate::error::CallError;
use crate::failure::{Stop, call_error, trace};
use crate::growth::bytes_text;
use crate::host::{Call, Host, Phase};
use crate::link::{Functions, Process};
use crate::sandbox::{enter, sandbox};
use crate::services::{Level, LogLine, Services};
use crate::stdio::{cut, one_line};

/// What each call of an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Bytes of linear memory of the instance.
    pub memory_bytes: u64,
    /// CPU time of the calling thread; by the wall clock `WALL_TIMES_CPU` times as much.
    pub call_time: Duration,
    /// Records that a call may emit.
    pub emit_records: u64,
    /// Bytes of keys, values and headers that a call may emit.
    pub emit_bytes: u64,
}

/// What would otherwise differ from one execution of a call to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallContext {
    /// The time of the call, in milliseconds since 1970.
    pub now_ms: i64,
    /// What random bytes are drawn from.
    pub seed: [u8; 32],
}

/// A batch to be processed.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The input, as an index into the description.
    pub input: u32,
    /// The partition that the records come from.
    pub partition: u32,
    /// The records, checked, at least one.
    pub columns: &'a Arc<Columns>,
}

/// What shall become of a rejected record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Disposition {
    /// It is left out and counted.
    #[component(name = "skip")]
    Skip,
    /// It goes to the dead-letter stream, or as the job's `on-error` says.
    #[component(name = "dead-letter")]
    DeadLetter,
}

/// A record that the task does not take.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct Rejection {
    /// Its index in the batch. In range, and no index occurs twice.
    pub index: u32,
    /// What shall become of it.
    pub action: Disposition,
    /// Why, for people; at most `LOG_LINE_BYTES_MAX` bytes.
    pub reason: String,
}

/// Whether there is more to do at the end of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Progress {
    /// Call again.
    #[component(name = "more")]
    More,
    /// That was all.
    #[component(name = "done")]
    Done,
}

/// What an instance has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls of `process` and `on-end`.
    pub calls: u64,
    /// Calls that ended in a trap, `init` included.
    pub traps: u64,
    /// Instances dropped because their memory had grown too much.
    pub recycled: u64,
    /// CPU time of all calls, `init` included, in nanoseconds; of a call that ends before a tick finds it, wall-clock time.
    pub cpu_nanoseconds: u64,
    /// Bytes of linear memory now; 0 between a dropped instance and the next call.
    pub memory_bytes: u64,
}

/// Calls into a component around services of type `S`.
pub struct Instance<S: Services> {
    component: Component,
    linked: InstancePre<Host<S>>,
    limits: CallLimits,
    /// Away only while a call is made.
    services: Option<Box<S>>,
    /// All of its calls count.
    live: Option<Live<S>>,
    /// Its last call answered no error, and nobody has said yet that it counts.
    unsettled: Option<Live<S>>,
    usage: Usage,
}

/// An instance that can be called.
struct Live<S: Services> {
    store: Store<Host<S>>,
    functions: Functions,
    /// Bytes of memory beyond which it is not kept.
    memory_mark: u64,
}

impl<S: Services> Instance<S> {
    /// Makes everything ready; the component is instantiated by the first call, or by `start`.
    ///
    /// # Errors
    /// `Fatal`: the memory limit is above the engine's, or the imports cannot be linked.
    pub fn new(component: &Component, services: S, limits: CallLimits) -> Result<Self, CallError> {
        let memory_bytes_max = component.engine().options().memory_bytes_max;
        if limits.memory_bytes > memory_bytes_max {
            let (found, max) = (bytes_text(limits.memory_bytes), bytes_text(memory_bytes_max));
            return Err(CallError::Fatal(format!("the memory limit is {found}, this host allows at most {max}; lower limits.memory")));
        }
        let linked = component.linked::<S>().map_err(|error| CallError::Fatal(format!("the component cannot be linked: {error:#}")))?;
        let (component, services) = (component.clone(), Some(Box::new(services)));
        Ok(Self { component, linked, limits, services, live: None, unsettled: None, usage: Usage::default() })
    }

    /// The services.
    pub fn services(&mut self) -> &mut S {
        #[expect(
            clippy::expect_used,
            reason = "every entry into a guest hands the services back; without them the task has lost its state"
        )]
        self.services.as_deref_mut().expect("the services are here between two calls")
    }

    /// Gives the services back and drops the instance.
    #[must_use]
    pub fn into_services(mut self) -> S {
        #[expect(
            clippy::expect_used,
            reason = "every entry into a guest hands the services back; without them the task has lost its state"
        )]
        *self.services.take().expect("the services are here between two calls")
    }

    /// What the instance has used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let memory_bytes = self.live.as_ref().or(self.unsettled.as_ref()).map_or(0, |live| live.store.data().growth.memory_bytes());
        Usage { memory_bytes, ..self.usage }
    }

    /// Instantiates the component and runs `init`, unless that is done: so that a task with a bad configuration fails before its first record.
    ///
    /// # Errors
    /// As of [`Instance::process`]; what would be `Poison` is `Fatal` here, because no record is at fault.
    pub fn start(&mut self, context: &CallContext) -> Result<(), CallError> {
        self.live = Some(self.take_live(context)?);
        Ok(())
    }

    /// Processes a batch. Whatever it wrote and emitted counts only if the answer is `Ok`. Answers the records that the task does not take.
    /// Unless [`Instance::keep`] follows, the next call finds a fresh instance.
    ///
    /// # Errors
    /// What the guest answered, or why it trapped; see [`CallError`]. The instance can be called again after each of them.
    pub fn process(&mut self, batch: &Batch<'_>, context: &CallContext) -> Result<Vec<Rejection>, CallError> {
        let mut live = self.take_live(context)?;
        let process = live.functions.process;
        let call = Call::new(Phase::Process, context, Some(Arc::clone(batch.columns)));
        self.usage.calls += 1;
        let (answer,) = self.enter(&mut live.store, call, |store| match process {
            Process::Columns(process) => process.call(store, (RecordBatch::new(batch),)),
            Process::Records(process) => process.call(store, (input_records(batch).as_slice(),)),
        })?;
        let rejections = answer.map_err(|error| self.told(said(Phase::Process, error), None))?;
        let rejections = self.believe(rejections, batch.columns.len())?;
        self.unsettled = Some(live);
        Ok(rejections)
    }

    /// Tells the task that an input has ended; to be called again as long as it answers `More`. `Done` at once without `lifecycle`.
    ///
    /// # Errors
    /// As of [`Instance::process`].
    pub fn on_end(&mut self, input: u32, context: &CallContext) -> Result<Progress, CallError> {
        if self.component.lifecycle() == Lifecycle::Absent {
            return Ok(Progress::Done);
        }
        let mut live = self.take_live(context)?;
        let Some(on_end) = live.functions.on_end else { return Ok(Progress::Done) };
        self.usage.calls += 1;
        let (answer,) = self.enter(&mut live.store, Call::new(Phase::End, context, None), |store| on_end.call(store, (input,)))?;
        let progress = answer.map_err(|error| self.told(said(Phase::End, error), None))?;
        self.unsettled = Some(live);
        Ok(progress)
    }

    /// Keeps the instance for the next call, since its last one counts; unless it has grown too much: some runtimes leak a little with each call.
    /// Without it the next call makes a fresh one: what a guest remembers of a call that was rolled back has never been.
    pub fn keep(&mut self) {
        let Some(live) = self.unsettled.take() else { return };
        if live.store.data().growth.memory_bytes() > live.memory_mark {
            self.usage.recycled += 1;
        } else {
            self.live = Some(live);
        }
    }

    /// Takes the instance for a call, or makes a fresh one and lets it get ready.
    fn take_live(&mut self, context: &CallContext) -> Result<Live<S>, CallError> {
        // Dropped before a fresh one is made: the pool may have room for one only.
        self.unsettled = None;
        if let Some(live) = self.live.take() {
            return Ok(live);
        }
        let of = (self.component.engine(), self.component.calls());
        let mut store = sandbox(of, self.component.shared_descriptor(), &self.limits);
        let (linked, component) = (self.linked.clone(), self.component.clone());
        let (functions, ready) = self.enter(&mut store, Call::new(Phase::Init, context, None), |store| {
            let instance = linked.instantiate(&mut *store)?;
            let functions = component.exports().of(store, instance)?;
            let ready = match functions.init {
                Some(init) => init.call(store, ())?.0,
                None => Ok(()),
            };
            Ok((functions, ready))
        })?;
        ready.map_err(|error| self.told(said(Phase::Init, error), None))?;
        let memory_mark = memory_mark(store.data().growth.memory_bytes(), self.limits.memory_bytes);
        Ok(Live { store, functions, memory_mark })
    }

    /// Enters the guest with the services; an error means that it trapped and must be dropped.
    fn enter<R>(
        &mut self,
        store: &mut Store<Host<S>>,
        call: Call,
        act: impl FnOnce(&mut Store<Host<S>>) -> wasmtime::Result<R>,
    ) -> Result<R, CallError> {
        let Some(services) = self.services.take() else {
            return Err(CallError::Broken("the services of the task are lost".to_owned()));
        };
        let entry = enter(store, services, (call, self.limits.call_time), act);
        self.services = entry.services;
        let spent = u64::try_from(entry.spent.as_nanos()).unwrap_or(u64::MAX);
        self.usage.cpu_nanoseconds = self.usage.cpu_nanoseconds.saturating_add(spent);
        entry.result.map_err(|error| {
            self.usage.traps += 1;
            let failed = call_error(&error, &entry.circumstances);
            // That the host stops is no news of the task.
            if matches!(error.downcast_ref::<Stop>(), Some(Stop::Ended)) { failed } else { self.told(failed, trace(&error)) }
        })
    }

    /// Writes into the task's log that a call failed, each time: what becomes of its records is decided, and said, elsewhere and once.
    fn told(&mut self, failed: CallError, trace: Option<String>) -> CallError {
        let text = failed.to_string();
        let message = cut(&text, LOG_LINE_BYTES_MAX);
        let room = LOG_LINE_BYTES_MAX - message.len();
        let fields: Vec<(String, String)> =
            trace.map(|trace| ("trace".to_owned(), cut(&trace, room.saturating_sub("trace".len())).to_owned())).into_iter().collect();
        if let Some(services) = &mut self.services {
            services.log(LogLine { level: Level::Error, message, fields: &fields });
        }
        failed
    }

    /// Checks what the guest says of the batch. A lie counts as a trap.
    fn believe(&mut self, rejections: Vec<Rejection>, records: usize) -> Result<Vec<Rejection>, CallError> {
        check_rejections(rejections, records).map_err(|lie| {
            self.usage.traps += 1;
            self.told(CallError::Poison(format!("process answered a lie: {lie}")), None)
        })
    }
}

impl<S: Services> std::fmt::Debug for Instance<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("component", &self.component).field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// Bytes beyond which an instance is not kept: the middle between what a fresh one has and its limit. So it is at least half of the limit; a
/// runtime that begins large is not thrown away after each call; and the other half is there for the peak of a single call.
const fn memory_mark(fresh: u64, limit: u64) -> u64 {
    fresh.saturating_add(limit.saturating_sub(fresh) / 2)
}

fn check_rejections(mut rejections: Vec<Rejection>, records: usize) -> Result<Vec<Rejection>, String> {
    let mut seen = vec![false; records];
    for rejection in &mut rejections {
        match seen.get_mut(rejection.index as usize) {
            None => return Err(format!("it rejects record {} of {records}", rejection.index)),
            Some(true) => return Err(format!("it rejects record {} twice", rejection.index)),
            Some(seen) => *seen = true,
        }
        rejection.reason.truncate(cut(&rejection.reason, LOG_LINE_BYTES_MAX).len());
    }
    Ok(rejections)
}

/// An error that the guest answered. In `init` no record is at fault.
fn said(phase: Phase, error: TaskError) -> CallError {
    let text = |reason: &str| format!("{phase}: {}", one_line(cut(reason, LOG_LINE_BYTES_MAX)));
    match error {
        TaskError::Retryable(reason) => CallError::Retryable(text(&reason)),
        TaskError::Poison(reason) if phase == Phase::Init => CallError::Fatal(text(&reason)),
        TaskError::Poison(reason) => CallError::Poison(text(&reason)),
        TaskError::Fatal(reason) => CallError::Fatal(text(&reason)),
    }
}

#[cfg(test)]
mod tests;
