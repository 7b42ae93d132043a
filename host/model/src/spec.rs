//! The spec: a job as it was submitted, with what was found out about its inputs on that day. An object of the archive, created once; a resumed
//! job is compared with it. Refuses nothing by itself.

use serde::{Deserialize, Serialize};

use crate::document::Kind;
use crate::job::Job;
use crate::manifest::ObjectRef;
use crate::names::{HostId, Incarnation, JobName};

/// How a spec is stored. Version 1 had fewer settings of checkpoints: what it leaves out are defaults.
pub const SPEC: Kind = Kind { name: "spec", version: 2 };
/// How the markers of a job in its archive and in its output folders are stored: a [`Marker`].
pub const MARKER: Kind = Kind { name: "marker", version: 1 };
/// How an archive says which cluster it belongs to: a [`ClusterMarker`], under the key [`CLUSTER_KEY`].
pub const CLUSTER: Kind = Kind { name: "cluster", version: 1 };
/// Where it says so.
pub const CLUSTER_KEY: &str = "cluster";
/// Name of the marker file in an output folder. Hidden, as Hadoop's readers expect of what is no data.
pub const FOLDER_MARKER: &str = "._gregor";
/// Name of the file that says that a bounded job's output is complete.
pub const SUCCESS: &str = "_SUCCESS";

/// A job as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spec {
    /// The job.
    pub job: Job,
    /// The plans of its file inputs.
    pub plans: Vec<PlanRef>,
}

/// The plan of one file input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanRef {
    /// The stage.
    pub stage: u16,
    /// The input.
    pub input: u16,
    /// The plan; its digest names it in positions.
    pub object: ObjectRef,
}

/// Says which cluster an archive belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterMarker {
    /// The cluster's id, as its coordination has it.
    pub cluster: HostId,
}

/// Says whose an archive or a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Marker {
    /// The job.
    pub job: JobName,
    /// Its incarnation.
    pub incarnation: Incarnation,
}
