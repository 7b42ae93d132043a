//! From a batch that failed to the record that is at fault. Refuses to blame a record that did not fail on its own.

use std::ops::Range;

/// What to do after a call on records `range` of a batch failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The same again.
    Again,
    /// The first half, then the second.
    Halves(Range<usize>, Range<usize>),
    /// This record is at fault.
    Blame(usize),
}

/// Judges a failed call. `whole` is the length of the batch, `tried` how often these very records were tried (at least once), `retries` the
/// stage's setting: the whole batch and the single record are tried again that often, what lies between is halved at once.
#[must_use]
pub fn after_failure(range: Range<usize>, whole: usize, (tried, retries): (u32, u32)) -> Next {
    let length = range.len();
    let repeatable = length == whole || length <= 1;
    if repeatable && tried <= retries {
        return Next::Again;
    }
    if length <= 1 {
        return Next::Blame(range.start);
    }
    let middle = range.start + length / 2;
    Next::Halves(range.start..middle, middle..range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs batches in which the records of `guilty` always fail; answers (blamed, kept, calls).
    fn run(length: usize, guilty: &[usize], retries: u32) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut blamed, mut kept, mut calls) = (vec![], vec![], 0);
        let mut stack = vec![(0..length, 0)];
        while let Some((range, tried)) = stack.pop() {
            calls += 1;
            if !guilty.iter().any(|record| range.contains(record)) {
                kept.extend(range);
                continue;
            }
            match after_failure(range.clone(), length, (tried + 1, retries)) {
                Next::Again => stack.push((range, tried + 1)),
                Next::Halves(first, second) => stack.extend([(second, 0), (first, 0)]),
                Next::Blame(record) => blamed.push(record),
            }
        }
        (blamed, kept, calls)
    }

    #[test]
    fn exactly_the_guilty_records_are_blamed_and_the_others_keep_their_order() {
        for length in [1, 2, 3, 7, 1024] {
            for guilty in [vec![], vec![0], vec![length - 1], vec![length / 2], (0..length).collect::<Vec<_>>()] {
                for retries in [0, 1, 3] {
                    let (blamed, kept, calls) = run(length, &guilty, retries);
                    let innocent: Vec<usize> = (0..length).filter(|record| !guilty.contains(record)).collect();
                    assert_eq!((blamed, kept), (guilty.clone(), innocent));
                    assert!(guilty.len() > 1 || calls <= 2 * (11 + retries as usize) + 2, "{calls} calls for one record of {length}");
                }
            }
        }
    }
}
