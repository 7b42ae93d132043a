//! What works for a task: its component in a sandbox, or, while the host's costs are measured, a native function in its place. Both answer the same
//! calls around the same services. Refuses to decide what becomes of an answer.

use gregor_guest::{Batch, CallContext, CallError, CallLimits, Component, Instance, Progress, Rejection};

use crate::services::TaskServices;
use crate::stand_ins::{Native, NativeMaker};

/// What a task's code is made from.
pub(crate) enum Program {
    /// A component.
    Component(Component),
    /// A function that stands in for it.
    Native(NativeMaker),
}

/// The code of a task that is awake, with its services.
pub(super) enum Code {
    /// In a sandbox.
    Sandboxed(Box<Instance<TaskServices>>),
    /// In none.
    Native(Box<dyn Native>, Box<TaskServices>),
}

impl Code {
    /// Makes everything ready for the first call.
    ///
    /// # Errors
    /// As of [`Instance::new`].
    pub(super) fn new(program: &Program, services: TaskServices, limits: CallLimits) -> Result<Self, CallError> {
        Ok(match program {
            Program::Component(component) => Self::Sandboxed(Box::new(Instance::new(component, services, limits)?)),
            Program::Native(make) => Self::Native(make(), Box::new(services)),
        })
    }

    /// The services.
    pub(super) fn services(&mut self) -> &mut TaskServices {
        match self {
            Self::Sandboxed(instance) => instance.services(),
            Self::Native(_, services) => services,
        }
    }

    /// Processes a batch.
    ///
    /// # Errors
    /// As of [`Instance::process`].
    pub(super) fn process(&mut self, batch: &Batch<'_>, context: &CallContext) -> Result<Vec<Rejection>, CallError> {
        match self {
            Self::Sandboxed(instance) => instance.process(batch, context),
            Self::Native(native, services) => native.process(batch, &mut **services),
        }
    }

    /// Tells the task that an input has ended.
    ///
    /// # Errors
    /// As of [`Instance::on_end`].
    pub(super) fn on_end(&mut self, input: u32, context: &CallContext) -> Result<Progress, CallError> {
        match self {
            Self::Sandboxed(instance) => instance.on_end(input, context),
            Self::Native(native, services) => native.on_end(input, &mut **services),
        }
    }

    /// Takes note that the last call counts.
    pub(super) fn keep(&mut self) {
        if let Self::Sandboxed(instance) = self {
            instance.keep();
        }
    }
}
