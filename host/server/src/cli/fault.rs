//! `--fault`: failures made on purpose, for tests. Refuses forms that it does not know.

use std::num::NonZeroU64;
use std::str::FromStr;

use clap::Args;
use gregor_model::steps::DurableStep;

/// The steps by the names that `--fault` knows and `--count-steps` prints.
pub(crate) const STEPS: [(&str, DurableStep); 10] = [
    ("archive-put", DurableStep::ArchivePut),
    ("archive-delete", DurableStep::ArchiveDelete),
    ("register-write", DurableStep::RegisterWrite),
    ("output-write", DurableStep::OutputWrite),
    ("output-release", DurableStep::OutputRelease),
    ("delta-write", DurableStep::DeltaWrite),
    ("delta-apply", DurableStep::DeltaApply),
    ("store-mark", DurableStep::StoreMark),
    ("store-wipe", DurableStep::StoreWipe),
    ("store-restore", DurableStep::StoreRestore),
];

/// Arguments for tests of this program: they meddle with its durable steps.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct StepArgs {
    /// Make durable step N fail before or after it is done, or kill the process then: fail:N, fail-after:N, kill-before:N, kill-after:N, or the
    /// Nth of a kind, as in kill-after:store-mark/2; of `run`, also let the archive fail now and then, or be slow: flaky:SEED, slow:SEED
    #[arg(long, hide = true, value_name = "KIND:N")]
    pub(crate) fault: Option<Fault>,
    /// Print the number of durable steps at the end
    #[arg(long, hide = true)]
    pub(crate) count_steps: bool,
}

/// A failure made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Of one durable step.
    Step(StepFault),
    /// Of many operations of the archive.
    Archive(ArchiveFault),
}

/// What happens at one durable step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepFault {
    /// What happens.
    pub(crate) kind: FaultKind,
    /// Of which kind the step is; none = any.
    pub(crate) of: Option<DurableStep>,
    /// Which of those steps, from 1.
    pub(crate) number: NonZeroU64,
}

/// What happens at a durable step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// It is not begun and its caller is told that it failed.
    Fail,
    /// It is done and its caller is told that it failed.
    FailAfter,
    /// The process is killed before it begins.
    KillBefore,
    /// The process is killed when it is done.
    KillAfter,
}

/// How the archive behaves. The seed decides which operations it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveFault {
    /// A share of them fails, before or after they were done.
    Flaky(u64),
    /// Each takes some time.
    Slow(u64),
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected fail:N, fail-after:N, kill-before:N or kill-after:N with N from 1, such a number of a kind of step as STEP/N, flaky:SEED or slow:SEED"
                .to_owned()
        };
        let (kind, rest) = text.split_once(':').ok_or_else(expected)?;
        let kind = match kind {
            "flaky" => return rest.parse().map(|seed| Self::Archive(ArchiveFault::Flaky(seed))).map_err(|_| expected()),
            "slow" => return rest.parse().map(|seed| Self::Archive(ArchiveFault::Slow(seed))).map_err(|_| expected()),
            "fail" => FaultKind::Fail,
            "fail-after" => FaultKind::FailAfter,
            "kill-before" => FaultKind::KillBefore,
            "kill-after" => FaultKind::KillAfter,
            _ => return Err(expected()),
        };
        let (of, number) = match rest.split_once('/') {
            Some((name, number)) => {
                let (_, step) = STEPS.iter().find(|(known, _)| *known == name).ok_or_else(expected)?;
                (Some(*step), number)
            }
            None => (None, rest),
        };
        Ok(Self::Step(StepFault { kind, of, number: number.parse().map_err(|_| expected())? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_fault_is_read_and_nothing_else() {
        let step = |kind, of, number| Ok(Fault::Step(StepFault { kind, of, number: NonZeroU64::new(number).unwrap() }));
        let cases = [
            ("fail:1", step(FaultKind::Fail, None, 1)),
            ("kill-after:7", step(FaultKind::KillAfter, None, 7)),
            ("fail-after:store-mark/3", step(FaultKind::FailAfter, Some(DurableStep::StoreMark), 3)),
            ("flaky:0", Ok(Fault::Archive(ArchiveFault::Flaky(0)))),
            ("slow:18446744073709551615", Ok(Fault::Archive(ArchiveFault::Slow(u64::MAX)))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Fault>(), expected, "{text}");
        }
        for text in
            ["", "fail", "fail:", "fail:0", "fail:-1", "fail:store-mark", "fail:store-mark/0", "fail:nothing/1", "flaky:x", "torn:1"]
        {
            let refused = text.parse::<Fault>().expect_err(text);
            assert!(refused.starts_with("expected fail:N"), "{text}: {refused}");
        }
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        for (at, (name, step)) in STEPS.iter().enumerate() {
            assert!(STEPS.iter().skip(at + 1).all(|(other, _)| other != name), "{name}");
            assert!(STEPS.iter().skip(at + 1).all(|(_, other)| other != step), "{step:?}");
            // Debug names are those that a failure tells: `ArchivePut` is archive-put.
            assert_eq!(name.replace('-', ""), format!("{step:?}").to_lowercase());
        }
    }
}
