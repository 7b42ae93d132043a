//! Arguments of `bench`: what is measured, for how long, and where.

use std::path::PathBuf;

use clap::Args;

use crate::bench::{Case, Variant};

/// The shortest time that a run is measured for: a batch takes a fraction of a millisecond.
pub(crate) const SECONDS_MIN: f64 = 0.1;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What is measured [default: all]
    #[arg(value_name = "CASE", value_enum)]
    pub(crate) cases: Vec<Case>,
    /// Records of each run, from the first to the last checkpoint, instead of a time
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) records: Option<u64>,
    /// Time that is measured of each run, 0.1 to 600
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    pub(crate) seconds: f64,
    /// How often each is run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) rounds: u64,
    /// Folder of the components identity, filter, count and split [default: where `make plugins` puts them, beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
    /// Folder on the disk that is measured; a folder in it is made and removed [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Also draw the figures
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
}

/// Arguments of one run, which `bench` starts in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct BenchRunArgs {
    /// What is measured
    #[arg(value_enum)]
    pub(crate) case: Case,
    /// Who does the work
    #[arg(value_enum)]
    pub(crate) variant: Variant,
    /// Folder of the run, beside those of input and compiled components
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// Folder of the components
    #[arg(long)]
    pub(crate) plugins: PathBuf,
    /// Records
    #[arg(long)]
    pub(crate) records: Option<u64>,
    /// Time that is measured
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Times that are measured, one after the other
    #[arg(long)]
    pub(crate) windows: usize,
    /// Its number among all runs: which part of a large store is checked
    #[arg(long)]
    pub(crate) number: u64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (SECONDS_MIN..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0.1 to 600".to_owned()),
    }
}
