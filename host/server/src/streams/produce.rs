//! `gregor stream produce`: the records on stdin are put on a stream of the job, all of them or none. Refuses to work while a process runs the job,
//! and to begin before the job file, its components and its data were looked at as a run would look at them.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use gregor_model::steps::Steps;
use gregor_runtime::setup::RunError;
use gregor_runtime::{Appender, Last, More, Produced, Production};
use serde::Serialize;

use super::incoming::{Incoming, Next};
use crate::cli::ProduceArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Style};
use crate::{clock, faults, run, wiring};

/// Bytes of lines that are committed together: a batch's worth.
const COMMIT_BYTES: u64 = 256 * 1024;

/// What came of it: the form is a stable surface.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    /// The checkpoint that made the records visible; none where nothing was done.
    checkpoint: Option<u64>,
    /// Records that are on the stream now and were not before.
    records: u64,
    /// Whether the last records on the stream had the same id, so that nothing was done.
    already_there: bool,
}

/// Puts records on a stream.
///
/// # Errors
/// The job file or a component is wrong, the stream takes no records from outside, the job is running, a line is no record, or stored data can't
/// be used. No record is visible then, unless the error says that this is not known.
pub(crate) fn produce(args: ProduceArgs, style: Style) -> Result<Exit, Failure> {
    faults::told(args.steps, |steps| read_and_produce(args, steps, style))
}

fn read_and_produce(args: ProduceArgs, steps: Arc<dyn Steps>, style: Style) -> Result<Exit, Failure> {
    let wired = wiring::deployed(&args.job, steps)?;
    if io::stdin().is_terminal() {
        output::tell("a record a line; Ctrl-D puts them on the stream, Ctrl-C leaves all of them out");
    }
    let mut incoming = Incoming::new(io::stdin().lock(), args.format, wired.setup.job.limits.record_bytes);
    let production = Production {
        stream: args.stream,
        id: args.id,
        partition: args.partition,
        last: if args.end { Last::Yes } else { Last::No },
        records: &mut |to| some(&mut incoming, to),
    };
    let produced = gregor_runtime::produce(&wired.setup, production).map_err(run::from_runtime)?;
    drop(wired);
    tell(produced, style).map_err(Failure::failed)?;
    Ok(Exit::Done)
}

/// Appends the records of some lines.
fn some(incoming: &mut Incoming<impl io::BufRead>, to: &mut Appender<'_>) -> Result<More, RunError> {
    let now = i64::try_from(clock::wall_ms()).unwrap_or(i64::MAX);
    let mut bytes = 0;
    while bytes < COMMIT_BYTES {
        match incoming.next(now, to)? {
            Next::Line(length) => bytes += length,
            Next::End => return Ok(More::None),
        }
    }
    Ok(More::Some)
}

fn tell(produced: Produced, style: Style) -> io::Result<()> {
    let (told, text) = match produced {
        Produced::Confirmed { checkpoint, records } => {
            let told = Told { checkpoint: Some(checkpoint.0), records, already_there: false };
            (told, format!("produced records={records} checkpoint={checkpoint}"))
        }
        Produced::There(ended) => {
            let end = ended.map_or_else(String::new, |checkpoint| format!("; ended the stream, checkpoint={checkpoint}"));
            let told = Told { checkpoint: ended.map(|checkpoint| checkpoint.0), records: 0, already_there: true };
            (told, format!("produced nothing: the last records on the stream have this id{end}"))
        }
        Produced::Nothing => {
            (Told { checkpoint: None, records: 0, already_there: false }, "produced nothing: there was no record".to_owned())
        }
    };
    match style {
        Style::Json => output::result_json(&told),
        Style::Text => output::result(&text),
    }
}
