//! Arguments of what is asked of a job's streams. Refuses names that no stream can have.

use std::str::FromStr;

use clap::{Args, Subcommand};
use gregor_model::names::StreamName;

use super::JobArgs;

/// What can be asked of streams.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// List the streams of a job: who writes them, and what is kept of them
    List(JobArgs),
    /// Print the confirmed records of a stream, partition after partition, each in order
    Consume(ConsumeArgs),
}

/// Arguments of `stream consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The stream: its name, or stream://NAME
    #[arg(value_name = "STREAM", value_parser = stream)]
    pub(crate) stream: StreamName,
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Only this partition [default: all of them]
    #[arg(long, value_name = "P")]
    pub(crate) partition: Option<u32>,
    /// The offset to begin with in each partition, or beginning: the first record that is kept
    #[arg(long, default_value = "beginning", value_name = "N")]
    pub(crate) from: Begin,
    /// Stop after so many records [default: at the last confirmed one]
    #[arg(long, value_name = "N")]
    pub(crate) records: Option<u64>,
}

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With the first record that is kept.
    Beginning,
    /// With the record of this offset.
    Offset(u64),
}

impl FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("beginning", _) => Ok(Self::Beginning),
            (_, Ok(offset)) => Ok(Self::Offset(offset)),
            (_, Err(_)) => Err("expected an offset, such as 0, or beginning".to_owned()),
        }
    }
}

fn stream(text: &str) -> Result<StreamName, String> {
    StreamName::new(text.strip_prefix("stream://").unwrap_or(text)).map_err(|error| error.to_string())
}
