//! Why a guest stopped, and what that means for the batch. Every trap counts as poison, a spent wall clock and a host that stops as retryable, a failure of our own
//! as broken; in `init` no record is at fault, so that what would be poison is fatal. Refuses to answer less than a full sentence: the limit
//! that was reached and the last words on standard error belong to the reason.

use std::time::Duration;

use gregor_model::limits::TRACE_FRAMES_MAX;
use thiserror::Error;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::error::{CallError, ServiceError};
use crate::host::Phase;
use crate::stdio::one_line;

/// Why the host ends a call. Carried through wasmtime as the cause of a trap.
#[derive(Debug, Error)]
pub(crate) enum Stop {
    /// The guest passed a limit, lied or did what it may not.
    #[error("{0}")]
    Trap(String),
    /// The host failed.
    #[error("{0}")]
    Broken(String),
    /// The CPU time is spent.
    #[error("the call has spent its CPU time of {0:?} (call-time)")]
    Cpu(Duration),
    /// The wall-clock time is spent.
    #[error("the call was not done after {0:?} by the clock, though its CPU time was not spent; the machine is busy or was stopped")]
    Wall(Duration),
    /// The host has no more use for any call.
    #[error("the host ends all calls, because it stops")]
    Ended,
}

impl From<ServiceError> for Stop {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(refusal) => Self::Trap(refusal.to_string()),
            ServiceError::Trap(reason) => Self::Trap(reason),
            ServiceError::Broken(reason) => Self::Broken(reason),
        }
    }
}

/// What else is known when a guest stops.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// What it was doing.
    pub(crate) phase: Phase,
    /// The limit of memory or tables that was reached during the call.
    pub(crate) reached: Option<String>,
    /// What the guest last wrote on standard error.
    pub(crate) stderr: Option<String>,
}

/// What a failed entry into a guest means.
pub(crate) fn call_error(error: &wasmtime::Error, circumstances: &Circumstances) -> CallError {
    let phase = circumstances.phase;
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return CallError::Retryable(format!("no room for another instance: {full}"));
    }
    let poison = if phase == Phase::Init { CallError::Fatal } else { CallError::Poison };
    match error.downcast_ref::<Stop>() {
        Some(Stop::Broken(reason)) => CallError::Broken(reason.clone()),
        Some(stop @ (Stop::Wall(_) | Stop::Ended)) => CallError::Retryable(format!("{phase}: {stop}")),
        Some(_) | None => poison(format!("{phase} trapped: {}", reason(error, circumstances))),
    }
}

/// The functions that the guest was in when it was stopped, the innermost first, as far as its component names them; none if it was in none.
pub(crate) fn trace(error: &wasmtime::Error) -> Option<String> {
    let shown = error.downcast_ref::<WasmBacktrace>()?.to_string();
    let functions: Vec<&str> = shown.lines().skip(1).filter_map(function).collect();
    if functions.is_empty() {
        return None;
    }
    let whole = functions.len() < TRACE_FRAMES_MAX.get();
    let told = functions.into_iter().map(one_line).collect::<Vec<_>>().join(" < ");
    Some(if whole { told } else { format!("{told} < …") })
}

/// The function in a line of a trace. wasmtime alone knows how names are demangled, and shows them in lines such as `   0:   0x1a2b - module!function`.
fn function(line: &str) -> Option<&str> {
    let (_, name) = line.split_once('!')?;
    // What the old way of mangling puts behind a name, to tell two of them apart: 17 characters of no use to anybody.
    let hash = name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    Some(hash.map_or(name, |(name, _)| name).trim_end())
}

/// The whole reason in one line.
pub(crate) fn reason(error: &wasmtime::Error, circumstances: &Circumstances) -> String {
    let mut reason = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => error.root_cause().to_string(),
    };
    if let Some(reached) = &circumstances.reached {
        reason = format!("{reason}; {reached}");
    }
    if let Some(stderr) = &circumstances.stderr {
        reason = format!("{reason}; it said: {stderr}");
    }
    one_line(&reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances(phase: Phase) -> Circumstances {
        Circumstances { phase, reached: None, stderr: None }
    }

    #[test]
    fn each_failure_blames_the_right_party() {
        let trap = || wasmtime::Error::from(Trap::UnreachableCodeReached);
        let check = |error: wasmtime::Error, phase, expected: CallError| assert_eq!(call_error(&error, &circumstances(phase)), expected);
        let unreachable = "process trapped: wasm `unreachable` instruction executed";
        check(trap(), Phase::Process, CallError::Poison(unreachable.to_owned()));
        check(trap(), Phase::Init, CallError::Fatal(unreachable.replace("process", "init")));
        let busy =
            "process: the call was not done after 30s by the clock, though its CPU time was not spent; the machine is busy or was stopped";
        check(Stop::Wall(Duration::from_secs(30)).into(), Phase::Process, CallError::Retryable(busy.to_owned()));
        let ended = "init: the host ends all calls, because it stops";
        check(Stop::Ended.into(), Phase::Init, CallError::Retryable(ended.to_owned()));
        check(Stop::Broken("the disk is gone".to_owned()).into(), Phase::Init, CallError::Broken("the disk is gone".to_owned()));
        check(Stop::Trap("a lie".to_owned()).into(), Phase::End, CallError::Poison("on-end trapped: a lie".to_owned()));
    }

    #[test]
    fn a_function_is_known_by_its_name_alone() {
        let check = |line: &str, expected| assert_eq!(function(line), expected, "{line}");
        check("    0:   0x1a2b - hostile.wasm!hostile::deeds::deep::ha92294e1426debfd", Some("hostile::deeds::deep"));
        check("   12: <unknown>!<wasm function 7>", Some("<wasm function 7>"));
        check("    1:     0x99 - m!gregor:task/processor@0.1.0#process", Some("gregor:task/processor@0.1.0#process"));
        check("    2:     0x99 - m!odd::hash", Some("odd::hash"));
        check("note: using the `WASMTIME_BACKTRACE_DETAILS=1` environment variable", None);
    }

    #[test]
    fn the_reason_names_the_limit_and_the_last_words() {
        let known = Circumstances {
            phase: Phase::Process,
            reached: Some("memory limit of 64 MiB reached".to_owned()),
            stderr: Some("out of\u{1b}memory".to_owned()),
        };
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached).context("somewhere");
        assert_eq!(
            reason(&error, &known),
            "wasm `unreachable` instruction executed; memory limit of 64 MiB reached; it said: out of\\u{1b}memory"
        );
    }
}
