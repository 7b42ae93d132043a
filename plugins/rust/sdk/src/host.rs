//! The calls that hand output over to the host. In this crate's own tests, which run without a host, they are written down instead, so that
//! what is handed over, and in which order, can be looked at. Refuses to decide anything.

#[cfg(not(test))]
pub(crate) use crate::bindings::gregor::task::output::{emit_batch, select};

#[cfg(test)]
pub(crate) use recorded::{Call, calls, emit_batch, select};

#[cfg(test)]
mod recorded {
    use std::cell::RefCell;

    use crate::bindings::gregor::task::types::OutputBatch;

    /// One call.
    #[derive(Debug)]
    pub(crate) enum Call {
        /// `emit-batch`.
        EmitBatch(Box<OutputBatch>),
        /// `select`.
        Select(u32, Vec<u32>),
    }

    thread_local! {
        static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn emit_batch(batch: &OutputBatch) {
        CALLS.with_borrow_mut(|calls| calls.push(Call::EmitBatch(Box::new(batch.clone()))));
    }

    pub(crate) fn select(output: u32, indexes: &[u32]) {
        CALLS.with_borrow_mut(|calls| calls.push(Call::Select(output, indexes.to_vec())));
    }

    /// The calls of this thread so far, once.
    pub(crate) fn calls() -> Vec<Call> {
        CALLS.take()
    }
}
