//! The services in which a component describes itself: none. Refuses everything that it may refuse, by a trap.

use gregor_model::columns::{Strings, StringsBuf};

use crate::error::ServiceError;
use crate::output::OutputColumns;
use crate::services::{CursorId, LogLine, MetricUpdate, ScanRange, Services, TaskIdentity};

/// Nobody serves. What it prints or measures is not kept; its last words on standard error are, by the sandbox.
pub(crate) struct Nobody;

fn refuse<T>() -> Result<T, ServiceError> {
    Err(ServiceError::Trap("describe answers a constant; it has no stores, no input and no output".to_owned()))
}

impl Services for Nobody {
    fn get(&mut self, _: u16, _: &[u8]) -> Result<Option<Vec<u8>>, ServiceError> {
        refuse()
    }

    fn put(&mut self, _: u16, _: &[u8], _: &[u8]) -> Result<(), ServiceError> {
        refuse()
    }

    fn delete(&mut self, _: u16, _: &[u8]) -> Result<(), ServiceError> {
        refuse()
    }

    fn add(&mut self, _: u16, _: &[u8], _: i64) -> Result<i64, ServiceError> {
        refuse()
    }

    fn get_many(&mut self, _: u16, _: Strings<'_>) -> Result<StringsBuf, ServiceError> {
        refuse()
    }

    fn put_many(&mut self, _: u16, _: Strings<'_>, _: Strings<'_>) -> Result<(), ServiceError> {
        refuse()
    }

    fn add_many(&mut self, _: u16, _: Strings<'_>, _: &[i64]) -> Result<(), ServiceError> {
        refuse()
    }

    fn scan(&mut self, _: u16, _: ScanRange) -> Result<CursorId, ServiceError> {
        refuse()
    }

    fn next(&mut self, _: CursorId, _: u32) -> Result<(StringsBuf, StringsBuf), ServiceError> {
        refuse()
    }

    fn close(&mut self, _: CursorId) {}

    fn emit(&mut self, _: &OutputColumns<'_>) -> Result<(), ServiceError> {
        refuse()
    }

    fn select(&mut self, _: u32, _: &[u32]) -> Result<(), ServiceError> {
        refuse()
    }

    fn config(&self, _: &str) -> Option<String> {
        None
    }

    fn identity(&self) -> TaskIdentity {
        TaskIdentity { job: String::new(), stage: String::new(), task: 0, tasks: 0 }
    }

    fn log(&mut self, _: LogLine<'_>) {}

    fn metric(&mut self, _: MetricUpdate<'_>) {}
}
