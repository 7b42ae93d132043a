//! `gregor checkpoint verify`: reads all that a job could go back to, byte for byte, puts the state of its last checkpoint together and compares it
//! with the local store. Refuses to stop at the first damage, to change anything, and to keep a job from running: it takes the lock for a moment
//! only, if it is free.

mod findings;
mod objects;
mod parts;
mod releases;
mod scratch;
mod stores;

use anyhow::anyhow;
use gregor_archive::Store;
use gregor_model::register::Register;
use serde::Serialize;

use crate::cli::JobArgs;
use crate::exit::{Exit, Failure};
use crate::job_file::{self, JobFile};
use crate::output::{self, Style};
use crate::wiring::{self, Looked, wait};
use findings::{Findings, Problem};
pub(crate) use parts::part_footer;

/// What was found: the form is a stable surface.
#[derive(Debug, Serialize)]
struct Verified<'f> {
    /// Whether all is as it must be.
    ok: bool,
    /// Objects that were read.
    objects: u64,
    /// Bytes of them.
    bytes: u64,
    /// What is not as it must be.
    errors: &'f [Problem],
}

/// Verifies a job.
///
/// # Errors
/// The job file is wrong, there is no such job, the register can't be believed, or there is no room to put state together.
pub(crate) fn verify(args: &JobArgs, style: Style) -> Result<Exit, Failure> {
    let file = job_file::read(&args.job).map_err(Failure::refused)?;
    let Looked { register: Some(register), archive: Some(archive) } = look(args, &file)? else {
        return Err(Failure::refused(anyhow!("job {} never began in this data folder", file.name)));
    };
    let mut findings = Findings::default();
    verify_all((args, &file), (&register, archive.as_ref()), &mut findings)?;
    // A job that is running goes on meanwhile: what retired since may be gone, and that is no damage.
    if findings.any()
        && let Some(now) = look(args, &file)?.register
    {
        findings.forget_retired(&now);
    }
    let problems = findings.problems();
    let verified = Verified { ok: problems.is_empty(), objects: findings.objects, bytes: findings.bytes, errors: &problems };
    let shown = match style {
        Style::Json => output::result_json(&verified),
        Style::Text => output::result(&text(&verified, &findings.notes)),
    };
    shown.map_err(Failure::failed)?;
    Ok(if verified.ok { Exit::Done } else { Exit::Corrupt })
}

fn look(args: &JobArgs, file: &JobFile) -> Result<Looked, Failure> {
    wiring::look(file, &wiring::data_folder(args, file), wiring::coordination(args)?)
}

fn verify_all(
    (args, file): (&JobArgs, &JobFile),
    (register, archive): (&Register, &dyn Store),
    findings: &mut Findings,
) -> Result<(), Failure> {
    let examined = wait(objects::examine(archive, register, findings))??;
    let (Some(spec), Some(latest)) = (&examined.spec, &examined.latest) else {
        // Damage, or the job has gone on and what it had is collected.
        findings.notes.push("the local store was not compared: the checkpoint that it belongs to could not be read".to_owned());
        return Ok(());
    };
    releases::check((&spec.job, latest), findings);
    let data = wiring::data_folder(args, file);
    // Read again while nobody else can write: the local store must not be newer than what it is compared with.
    let is_latest = || Ok(look(args, file)?.register.is_some_and(|now| now.latest == register.latest && now.branch == register.branch));
    let subject = stores::Subject { job: &spec.job, register, latest, archive, damaged: &examined.damaged };
    stores::check(&subject, (&data, &is_latest), findings)
}

fn text(verified: &Verified<'_>, notes: &[String]) -> String {
    let Verified { ok, objects, bytes, errors } = verified;
    let verdict = if *ok { "ok".to_owned() } else { format!("damaged errors={}", errors.len()) };
    let mut text = format!("{verdict} objects={objects} bytes={bytes}\n");
    for Problem { object, problem } in *errors {
        text.push_str(&format!("error: {}: {}\n", output::harmless(object), output::harmless(problem)));
    }
    for note in notes {
        text.push_str(&format!("note: {}\n", output::harmless(note)));
    }
    text
}
