//! Arguments of what is asked of a job's streams. Refuses names that no stream can have.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use gregor_model::names::{ProductionId, StreamName};

use super::{JobArgs, StepArgs};

/// What can be asked of streams.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// List the streams of a job: who writes them, and what is kept of them
    List(JobArgs),
    /// Print the confirmed records of a stream, partition after partition, each in order
    Consume(ConsumeArgs),
    /// Put the records that come on stdin on a stream that the job declares, all of them or none; the job must not run meanwhile
    Produce(ProduceArgs),
}

/// Arguments of `stream produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    /// The stream: its name, or stream://NAME
    #[arg(value_name = "STREAM", value_parser = stream)]
    pub(crate) stream: StreamName,
    /// Which job, and where it lives.
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// How records stand on stdin: a value a line, key TAB value, a JSON document a line, or as `consume --output json` prints them
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: ProducedFormat,
    /// The partition of all records [default: by key, and those without a key in turn]
    #[arg(long, value_name = "P")]
    pub(crate) partition: Option<u32>,
    /// What these records are called: if the last ones on the stream were called so, they are there already, and nothing is done
    #[arg(long, value_name = "ID", value_parser = production)]
    pub(crate) id: Option<ProductionId>,
    /// These are the last records of the stream: those who read it come to its end
    #[arg(long)]
    pub(crate) end: bool,
    /// What tests of this program ask for.
    #[command(flatten)]
    pub(crate) steps: StepArgs,
}

/// How records stand on stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ProducedFormat {
    /// A value a line.
    #[default]
    Lines,
    /// Key, TAB, value a line.
    Tsv,
    /// A JSON document a line.
    JsonLines,
    /// A record a line, as `consume --output json` prints it.
    Records,
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

fn production(text: &str) -> Result<ProductionId, String> {
    ProductionId::new(text).map_err(|error| error.to_string())
}

fn stream(text: &str) -> Result<StreamName, String> {
    StreamName::new(text.strip_prefix("stream://").unwrap_or(text)).map_err(|error| error.to_string())
}
