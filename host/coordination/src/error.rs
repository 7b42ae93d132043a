//! What can go wrong in coordination, one variant for each thing that the caller does about it. Refuses to hide which job or record it was.

use gregor_model::names::JobName;
use gregor_model::register::Forbidden;
use gregor_model::start::SpecSet;
use thiserror::Error;

/// Why a call to a coordinator failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CoordinationError {
    /// A stored record can't be believed. Nothing was touched; the process ends with exit code 3.
    #[error("coordination record {record} {problem}; restore the newest copy of it, never delete it beside its archive")]
    Corrupt {
        /// The record: a file, or a node of ZooKeeper.
        record: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A write may or may not have happened: the caller reads before it does anything else for this job.
    #[error("coordination record of job {job} may or may not have been written: {reason}")]
    Undecided {
        /// The job.
        job: JobName,
        /// What happened.
        reason: String,
    },
    /// A write failed, so nothing that this process believes of the job counts any more: the process ends, the next start finds out.
    #[error("coordination record of job {job} is not used further after a failed write: {reason}; start again")]
    Poisoned {
        /// The job.
        job: JobName,
        /// The failure.
        reason: String,
    },
    /// Another boot claimed the job, or this one never did: the caller drops all tasks of the job.
    #[error("this process may not write for job {job}: {reason}")]
    Fenced {
        /// The job.
        job: JobName,
        /// Who holds it, or why nobody does.
        reason: String,
    },
    /// The protocol forbids the move; asking for it is a mistake of ours and ends the process.
    #[error("job {job}: {forbidden}")]
    Forbidden {
        /// The job.
        job: JobName,
        /// The move.
        forbidden: Forbidden,
    },
    /// The job has another spec: another process has submitted it meanwhile, with another job file.
    #[error("job {job}: {refused}")]
    Spec {
        /// The job.
        job: JobName,
        /// The two specs.
        refused: Box<SpecSet>,
    },
    /// A record could not be reached; nothing was changed, trying again may help.
    #[error("coordination record {record} can't be reached: {reason}")]
    Unavailable {
        /// The record: a file, or the servers that keep it.
        record: String,
        /// What the system said, and what to do about it.
        reason: String,
    },
    /// What was asked for can't be done, here or ever: an address that is none, credentials that don't open the nodes (exit code 2).
    #[error("{what} {problem}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Why not, and what to do.
        problem: String,
    },
}

impl CoordinationError {
    /// A move that the protocol forbids.
    pub(crate) fn forbidden(job: &JobName) -> impl FnOnce(Forbidden) -> Self + '_ {
        |forbidden| Self::Forbidden { job: job.clone(), forbidden }
    }
}
