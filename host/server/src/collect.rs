//! `gregor checkpoint collect`: deletes from a job's archive what nobody needs any more, once, while the job is not running here. A running job
//! collects by itself. Refuses to decide what is garbage (`model::garbage` does), and to delete faster than its rate. Ended at any object, it has
//! done no harm: what it did not come to is garbage still.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gregor_archive::{Listed, reach};
use gregor_model::garbage::{Living, Submitted};
use gregor_model::keys::JobKeys;
use gregor_model::steps::Steps;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::CollectArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Style};
use crate::wiring::{self, Held, Lock, wait};
use crate::{clock, faults, job_file};

/// What came of a collection: the form is a stable surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Collected {
    /// Objects that are gone.
    deleted: u64,
    /// Bytes of them.
    bytes: u64,
    /// Objects that are left.
    kept: u64,
    /// What creates that were cut short had left.
    #[serde(skip)]
    leftovers: u64,
}

/// Collects once.
///
/// # Errors
/// The job file is wrong, the job is running, a restore point can't be read, or an object can't be deleted.
pub(crate) fn collect(args: &CollectArgs, style: Style) -> Result<Exit, Failure> {
    let collected = faults::told(args.steps, |steps| held_and_collected(args, steps))?;
    let shown = match style {
        Style::Json => output::result_json(&collected),
        Style::Text => output::result(&text(&collected)),
    };
    shown.map_err(Failure::failed)?;
    Ok(Exit::Done)
}

fn held_and_collected(args: &CollectArgs, steps: Arc<dyn Steps>) -> Result<Collected, Failure> {
    let file = job_file::read(&args.job.job).map_err(Failure::refused)?;
    let data = wiring::data_folder(&args.job, &file);
    let held = wiring::hold(&file, (&data, Lock::Always), (&wiring::coordination(&args.job)?, &steps))?;
    let grace = args.grace.unwrap_or(file.checkpoint.collect_grace);
    wait(collect_once(&held, (grace, file.checkpoint.collect_rate)))?
}

async fn collect_once(held: &Held, (grace, rate): (Duration, u32)) -> Result<Collected, Failure> {
    let Held { register: before, archive, .. } = held;
    let keys = JobKeys::new(&before.job, before.incarnation);
    // In this order: see `model::garbage`.
    let listed = archive.list(keys.root()).await.map_err(wiring::from_archive)?;
    let register = held.coordinator.read().await.map_err(wiring::from_coordination)?.unwrap_or_else(|| before.clone());
    let submitted = if register.spec.is_some() { Submitted::Yes } else { Submitted::No };
    // Another host may have claimed the job since the lock was asked for: what it wrote is its own.
    let other = held.other.map(|_| (register.boot, register.term));
    let living = Living { other, in_flight: BTreeSet::new(), submitted };
    let all = listed.len() as u64;
    let garbage = reach::garbage(archive.as_ref(), (&keys, listed), (&register, &living), (clock::wall_ms(), grace)).await;
    let garbage = garbage.map_err(wiring::from_archive)?;
    let (deleted, bytes) = delete(held, &garbage, rate).await?;
    // Where nobody else may write, what is not whole never will be.
    let leftovers = match held.other {
        None => archive.sweep(keys.root()).await.map_err(wiring::from_archive)?,
        Some(_) => 0,
    };
    Ok(Collected { deleted, bytes, kept: all.saturating_sub(deleted), leftovers })
}

/// Deletes, one object after the other, at most `rate` a second.
async fn delete(held: &Held, garbage: &[Listed], rate: u32) -> Result<(u64, u64), Failure> {
    let mut turns = interval(Duration::from_secs(1) / rate.max(1));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut deleted, mut bytes) = (0, 0_u64);
    for object in garbage {
        turns.tick().await;
        held.archive.delete(&object.key).await.map_err(wiring::from_archive)?;
        deleted += 1;
        bytes = bytes.saturating_add(object.bytes);
    }
    Ok((deleted, bytes))
}

fn text(collected: &Collected) -> String {
    let Collected { deleted, bytes, kept, leftovers } = collected;
    let mut text = format!("deleted objects={deleted} bytes={bytes}, kept objects={kept}");
    if *leftovers > 0 {
        text.push_str(&format!(", removed {leftovers} files of writes that were cut short"));
    }
    text
}
