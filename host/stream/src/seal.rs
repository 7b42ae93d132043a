//! From what a freeze took to what a segment lists: open blocks are encoded, runs and files digested. Works off the task's path, on data that nobody
//! else holds. Refuses nothing but columns that contradict themselves, which staging never makes.

use gregor_model::digest::Digest;
use gregor_model::names::StreamName;
use gregor_model::segment::Run;

use crate::block::encode_block;
use crate::error::BlockError;
use crate::outputs::LaneRun;

/// What a freeze moved out of a task's outputs.
#[derive(Debug, Default)]
pub struct Taken {
    pub(crate) runs: Vec<TakenRun>,
    pub(crate) files: Vec<TakenFile>,
}

/// The records of one stream partition, at least one.
#[derive(Debug)]
pub(crate) struct TakenRun {
    pub(crate) stream: StreamName,
    pub(crate) partition: u32,
    pub(crate) run: LaneRun,
}

/// The bytes of an output file, at least one record.
#[derive(Debug)]
pub(crate) struct TakenFile {
    pub(crate) output: u16,
    pub(crate) records: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Outputs of a segment, ready to be saved.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Runs, in the order of outputs and partitions, each with its bytes; all have ordinal 0.
    pub runs: Vec<(Run, Vec<u8>)>,
    /// Files, in the order of outputs; an output without a record has none.
    pub files: Vec<FileBytes>,
}

/// The content of an output file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileBytes {
    /// Index of the stage's output.
    pub output: u16,
    /// Records in it, at least one.
    pub records: u64,
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub sha256: Digest,
}

impl Taken {
    /// Whether nothing was emitted: there is nothing to seal.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.files.is_empty()
    }

    /// Encodes the last block of each run, digests runs and files.
    ///
    /// # Errors
    /// A block contradicts itself: a broken invariant of ours.
    pub fn seal(self) -> Result<Sealed, BlockError> {
        let runs = self.runs.into_iter().map(seal_run).collect::<Result<_, _>>()?;
        let files = self.files.into_iter().map(|TakenFile { output, records, bytes }| {
            let sha256 = Digest::of(&bytes);
            FileBytes { output, records, bytes, sha256 }
        });
        Ok(Sealed { runs, files: files.collect() })
    }
}

fn seal_run(TakenRun { stream, partition, run }: TakenRun) -> Result<(Run, Vec<u8>), BlockError> {
    let LaneRun { mut bytes, mut records, open, broken } = run;
    if let Some(broken) = broken {
        return Err(broken);
    }
    encode_block(&open, &mut bytes)?;
    records += open.len() as u64;
    let run = Run { stream, partition, ordinal: 0, length: bytes.len() as u64, records, sha256: Digest::of(&bytes) };
    Ok((run, bytes))
}
