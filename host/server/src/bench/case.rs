//! The cases of `gregor bench` and the variants that each is measured in: names, jobs, keys. Refuses to measure anything.

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Each record goes on unchanged
    Identity,
    /// One record in ten goes on
    Filter,
    /// A count for each of 10,000 keys
    CountHot,
    /// A count for each of a million keys, all of them equally likely
    #[value(name = "count-1m")]
    #[serde(rename = "count-1m")]
    CountMillion,
    /// A count for each of 10 million keys, the n-th of them as likely as 1/n
    CountZipf,
    /// A count for each of 10 million keys, all of them equally likely
    CountUniform,
    /// Lines into words, and a count for each word: two stages
    WordCount,
}

/// Who does the work of a case, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    /// The component in its sandbox, a checkpoint each second
    Sandboxed,
    /// A function in place of the component, a checkpoint each second
    Native,
    /// The component, and no checkpoint but the last
    WithoutCheckpoints,
    /// A plain loop, without host
    Bare,
}

/// The keys of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// How many there are.
    pub(super) count: u64,
    /// Which of them is drawn.
    pub(super) draw: Draw,
}

/// How keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// All are equally likely.
    Uniform,
    /// The n-th is as likely as 1/n.
    Zipf,
}

/// Name of the job of all cases.
pub(super) const JOB: &str = "bench";
/// Text that the values of the records have that go through the filter.
pub(super) const WANTED: &str = "<wanted>";

impl Case {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 7] =
        [Self::Identity, Self::Filter, Self::CountHot, Self::CountMillion, Self::CountZipf, Self::CountUniform, Self::WordCount];

    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Filter => "filter",
            Self::CountHot => "count-hot",
            Self::CountMillion => "count-1m",
            Self::CountZipf => "count-zipf",
            Self::CountUniform => "count-uniform",
            Self::WordCount => "word-count",
        }
    }

    /// The keys that its records have. Cases that count nothing have keys, too.
    pub(super) const fn keys(self) -> Keys {
        let (count, draw) = match self {
            Self::Identity | Self::Filter | Self::CountMillion => (1_000_000, Draw::Uniform),
            Self::CountHot | Self::WordCount => (10_000, Draw::Uniform),
            Self::CountZipf => (10_000_000, Draw::Zipf),
            Self::CountUniform => (10_000_000, Draw::Uniform),
        };
        Keys { count, draw }
    }

    /// Records of a timed run before its warming-up: each key of a case that counts comes once.
    pub(super) const fn warm_records(self) -> u64 {
        if self.counts_keys() { self.keys().count } else { 0 }
    }

    /// Whether a timed run takes so long to begin that it is made once, with all rounds in it.
    pub(super) const fn is_long(self) -> bool {
        self.warm_records() > 1_000_000
    }

    /// How much of the time of other cases it is measured for. Each run of those that forward ends with hundreds of megabytes that wait for the disk, and
    /// with all of its records being compared: not half as long, all output is within its budget, and the bench ends minutes sooner.
    pub(super) const fn share_of_time(self) -> f64 {
        match self {
            Self::Identity | Self::Filter => 0.4,
            _ => 1.0,
        }
    }

    /// Whether its state is what is checked of a timed run.
    pub(super) const fn counts_keys(self) -> bool {
        matches!(self, Self::CountHot | Self::CountMillion | Self::CountZipf | Self::CountUniform)
    }

    /// Tasks that work side by side.
    pub(super) const fn workers(self) -> usize {
        match self {
            Self::WordCount => 2,
            _ => 1,
        }
    }

    /// Components of its stages, in their order.
    pub(super) const fn components(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["identity"],
            Self::Filter => &["filter"],
            Self::CountHot | Self::CountMillion | Self::CountZipf | Self::CountUniform => &["count"],
            Self::WordCount => &["split", "count"],
        }
    }

    /// Its job file. Each stage has one task, and its output is a stream of one partition.
    ///
    /// With the default limits a task that forwards 200 MB a second would make a checkpoint every 0.15 s, whatever the interval says, so they are
    /// raised: but for the word count, whose second stage sees nothing before a checkpoint. A stop waits until the local store is marked, since that is
    /// what is checked.
    pub(super) fn job(self, (plugins, input): (&Path, &Path), interval: &str) -> String {
        let stage = |name: &str, from: &str, (input, output): (&str, &str), config: &str| {
            let component = plugins.join(name).with_extension("wasm");
            format!(
                "[[stage]]\nname = {name:?}\ncomponent = {component:?}\ninputs = {{ {input} = {from} }}\n\
                 outputs = {{ {output} = {{ to = \"stream://{output}\", partitions = 1 }} }}\n{config}\n"
            )
        };
        let files = format!("{{ from = {input:?}, format = \"lines\" }}");
        let stages = match self {
            Self::Identity => stage("identity", &files, ("in", "out"), ""),
            Self::Filter => stage("filter", &files, ("in", "out"), &format!("config = {{ contains = {WANTED:?} }}\n")),
            Self::CountHot | Self::CountMillion | Self::CountZipf | Self::CountUniform => stage("count", &files, ("words", "counts"), ""),
            Self::WordCount => {
                stage("split", &files, ("lines", "words"), "") + &stage("count", "{ from = \"stream://words\" }", ("words", "counts"), "")
            }
        };
        let limits = if self == Self::WordCount { "" } else { "\n[limits]\nunpublished-bytes = \"1 GiB\"\ndirty-bytes = \"4 GiB\"\n" };
        format!("name = {JOB:?}\n\n{stages}[checkpoint]\ninterval = {interval:?}\nstop-timeout = \"10 min\"\n{limits}")
    }
}

impl Variant {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sandboxed => "sandboxed",
            Self::Native => "native",
            Self::WithoutCheckpoints => "without-checkpoints",
            Self::Bare => "bare",
        }
    }

    /// The checkpoint interval of its job.
    pub(super) const fn interval(self) -> &'static str {
        match self {
            Self::Sandboxed | Self::Native | Self::Bare => "1 s",
            Self::WithoutCheckpoints => "24 h",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_file::{parse, place::Text};

    #[test]
    fn the_job_of_each_case_is_one() {
        for case in Case::ALL {
            let content = case.job((Path::new("/plugins"), Path::new("/in")), Variant::Sandboxed.interval());
            let file = parse(Text { file: case.name(), content: &content }, Path::new("/")).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(file.stages.len(), case.components().len());
            assert_eq!(Case::from_str(case.name(), false), Ok(case));
        }
    }
}
