//! The process that compiles one component for the process that started it, under limits which the system enforces. Nobody else calls it: the
//! command is hidden. Refuses to read or write anything but its standard streams.

use std::path::PathBuf;

use anyhow::anyhow;
use gregor_guest::{Admitting, CompileOrder, Compiling, compile_apart};
use gregor_model::limits::AdmissionLimits;

use crate::exit::{Exit, Failure};

/// This program, as the system knows it: also if its file was replaced since it started.
const PROGRAM: &str = "/proc/self/exe";

/// How the commands take components in: compiled by a process of their own, with the limits that every component has.
pub(crate) fn admitting() -> Admitting {
    Admitting { compiling: Compiling::Apart(PathBuf::from(PROGRAM)), limits: AdmissionLimits::default() }
}

/// Compiles what comes on stdin.
///
/// # Errors
/// The arguments are not those that this program gives itself (exit 2), or the system refuses what it needs (exit 1).
pub(crate) fn compile(numbers: &[String]) -> Result<Exit, Failure> {
    let order = CompileOrder::parse(numbers);
    let order =
        order.ok_or_else(|| Failure::refused(anyhow!("this command is for gregor itself; use `gregor inspect` to try a component")))?;
    compile_apart(&order).map_err(Failure::failed)?;
    Ok(Exit::Done)
}
