//! What a job that goes on has in common with the one that its last checkpoint was made by. Refuses changes of anything that is stored.

use serde::Serialize;
use thiserror::Error;

use super::{Job, Stage};

/// Something that may not change between two runs on the same data but did.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} is now {now}, at the last checkpoint it was {before}; put it back, or start anew with another --data and output folder")]
pub struct Changed {
    /// What it is, with its stage.
    pub what: String,
    /// Its value then.
    pub before: String,
    /// Its value now.
    pub now: String,
}

impl Job {
    /// What differs from the job that the last checkpoint was made by, leaving out what may change: `[checkpoint]` but its location, `[limits]`, and
    /// of a stage `on-error`, `dead-letter` and `retries`, which alter nothing that is stored: a job that stopped at a record can so go on without
    /// it. A stream of dead letters that a stage reads can't be given up by that, since its reader may not change: [`check`](Self::check) finds a
    /// stream without a writer. One that begins on resume is claimed then (`Register::claimed`), one that is given up keeps its records.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Option<Changed> {
        let changed = |what: String, before: String, now: String| (before != now).then_some(Changed { what, before, now });
        let names = |job: &Self| job.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(", ");
        let location = |job: &Self| job.checkpoint.location.clone().unwrap_or_else(|| "inside --data".to_owned());
        changed("the job's name".to_owned(), before.name.to_string(), self.name.to_string())
            .or_else(|| changed("the list of stages".to_owned(), names(before), names(self)))
            .or_else(|| changed("the list of [[stream]]".to_owned(), text_of(&before.produced), text_of(&self.produced)))
            .or_else(|| changed("checkpoint.location".to_owned(), location(before), location(self)))
            .or_else(|| before.stages.iter().zip(&self.stages).find_map(|(before, now)| now.changed_since(before)))
    }
}

impl Stage {
    fn changed_since(&self, before: &Self) -> Option<Changed> {
        let fields = [
            ("component", before.component.to_string(), self.component.to_string()),
            ("inputs", text_of(&before.inputs), text_of(&self.inputs)),
            ("outputs", text_of(&before.outputs), text_of(&self.outputs)),
            ("stores", text_of(&before.stores), text_of(&self.stores)),
            ("config", text_of(&before.config), text_of(&self.config)),
        ];
        fields.into_iter().find(|(_, before, now)| before != now).map(|(field, before, now)| Changed {
            what: format!("stage {:?}: {field}", self.name.as_str()),
            before,
            now,
        })
    }
}

/// A value as people read it in an error.
fn text_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}
