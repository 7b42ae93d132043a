//! What random bytes are drawn from: as much as makes each call differ from every other one of its job, and nothing that a repeated call would
//! find changed. Refuses to be a source of secrets: all of it can be known.

use std::collections::BTreeMap;

use gregor_model::digest::Digest;
use gregor_model::names::{Attempt, Branch, Sequence};
use gregor_model::segment::{Position, SegmentHeader};

use super::Identity;

/// Where pieces of `on-end` are counted from. They have no offset, and nothing that is stored counts them; but each follows a segment, and a task
/// that goes on from that segment comes to the same piece by as many steps. (Pieces that followed a segment which was never confirmed are
/// worked off again behind an earlier one, and draw other bytes: what they drew before was seen by nobody.)
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The last segment that was closed; none before the first.
    after: Option<(Branch, Attempt, Sequence)>,
    /// Pieces that were kept since then, of each input that has any.
    kept: BTreeMap<usize, u64>,
}

impl Pieces {
    /// Counts behind a segment.
    pub(super) fn after(header: &SegmentHeader) -> Self {
        Self { after: Some((header.branch, header.attempt, header.sequence)), kept: BTreeMap::new() }
    }

    /// A piece of an input was kept.
    pub(super) fn keep(&mut self, input: usize) {
        *self.kept.entry(input).or_default() += 1;
    }
}

/// The seed of a batch, or of a part of one: its place in the input. Small files share a task and each begins at offset 0, so that the
/// split belongs to the place.
pub(super) fn of_batch(identity: &Identity, (input, after): (usize, &Position), first_offset: u64) -> [u8; 32] {
    let split = match after {
        Position::File { split, .. } => Some(*split),
        Position::Stream { .. } | Position::Outside { .. } => None,
    };
    seed(identity, &format!("batch {input} {split:?} {first_offset}"))
}

/// The seed of the next piece of `on-end`.
pub(super) fn of_piece(identity: &Identity, input: usize, pieces: &Pieces) -> [u8; 32] {
    let after = pieces.after.map(|(branch, attempt, sequence)| format!("{branch} {attempt} {sequence}"));
    seed(identity, &format!("end {input} {after:?} {}", pieces.kept.get(&input).copied().unwrap_or(0)))
}

fn seed(Identity { id, job, .. }: &Identity, call: &str) -> [u8; 32] {
    Digest::of(format!("{job} {}/{} {call}", id.stage, id.partition).as_bytes()).0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use gregor_model::job::{OnError, Stage};
    use gregor_model::names::{Incarnation, TaskId};
    use gregor_model::segment::RunsHeader;

    use super::*;

    fn task(partition: u32) -> Identity {
        let stage = Stage {
            name: gregor_model::names::StageName::new("stage").unwrap(),
            component: Digest([0; 32]),
            inputs: Vec::new(),
            outputs: Vec::new(),
            stores: Vec::new(),
            config: BTreeMap::new(),
            on_error: OnError::Stop,
            retries: 1,
        };
        let (id, stage) = (TaskId { stage: 2, partition }, Arc::new(stage));
        Identity { id, index: 0, job: "job".to_owned(), name: format!("stage/{partition}"), stage }
    }

    fn segment(attempt: u64, sequence: u64) -> SegmentHeader {
        SegmentHeader {
            incarnation: Incarnation(1),
            task: TaskId { stage: 2, partition: 0 },
            branch: Branch(0),
            attempt: Attempt(attempt),
            sequence: Sequence(sequence),
            parent: None,
            inputs: Vec::new(),
            watermark: None,
            component: Digest([0; 32]),
            schemas: Vec::new(),
            delta: Vec::new(),
            runs: RunsHeader { count: 0, records: 0, sha256: Digest([0; 32]) },
            files: Vec::new(),
        }
    }

    #[test]
    fn no_two_batches_of_a_job_have_one_seed() {
        let split = |split| Position::File { plan: Digest([1; 32]), split, offset: 9 };
        let stream = Position::Stream { incarnation: Incarnation(5), offset: 9 };
        let (a, b) = (task(0), task(1));
        let seeds = [
            of_batch(&a, (0, &split(0)), 0),
            of_batch(&a, (0, &split(1)), 0),
            of_batch(&a, (0, &split(1)), 7),
            of_batch(&a, (1, &split(0)), 0),
            of_batch(&a, (0, &stream), 0),
            of_batch(&b, (0, &split(0)), 0),
        ];
        assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), seeds.len());
        // Where a batch ends, and how much of it is left after a failure, changes nothing.
        let longer = Position::File { plan: Digest([1; 32]), split: 1, offset: 99 };
        assert_eq!(of_batch(&a, (0, &longer), 7), seeds[2]);
    }

    #[test]
    fn pieces_differ_and_are_the_same_behind_the_same_segment() {
        let identity = task(0);
        let draw = |pieces: &mut Pieces, input| {
            let seed = of_piece(&identity, input, pieces);
            assert_eq!(of_piece(&identity, input, pieces), seed, "a piece that failed is tried again with its seed");
            pieces.keep(input);
            seed
        };
        let mut pieces = Pieces::default();
        let mut seeds: Vec<[u8; 32]> = [0, 0, 1, 0].map(|input| draw(&mut pieces, input)).to_vec();
        for (attempt, sequence) in [(1, 1), (1, 2), (2, 1)] {
            let mut pieces = Pieces::after(&segment(attempt, sequence));
            let run: Vec<[u8; 32]> = [0, 1, 0].map(|input| draw(&mut pieces, input)).to_vec();
            // Another process goes on from that segment; it comes to the inputs in another order.
            let mut again = Pieces::after(&segment(attempt, sequence));
            let repeated = [1, 0, 0].map(|input| draw(&mut again, input));
            assert_eq!([run[1], run[0], run[2]], repeated);
            seeds.extend(run);
        }
        assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), seeds.len());
        assert!(!seeds.contains(&of_batch(&identity, (0, &Position::Stream { incarnation: Incarnation(1), offset: 0 }), 0)));
    }
}
