//! Dead letters: records that their task did not take, on a stream of the job. Key, value and timestamp are the record's own, and so are its headers;
//! behind these stand headers that say where the record came from and why it is here. Whoever drops all headers that begin with [`PREFIX`] has the
//! record as it was. Of a record that could not be read from its file, the value is the bytes that stand there.
//! Refuses to change a header that the record brought along: a record that dies a second time has each of ours twice, and the last one counts.

/// What the names of all headers begin with that a dead letter has and its record had not.
pub const PREFIX: &str = "gregor-";
/// The job's name.
pub const JOB: &str = "gregor-job";
/// The stage's name.
pub const STAGE: &str = "gregor-stage";
/// The task's number in its stage, decimal.
pub const TASK: &str = "gregor-task";
/// The name of the input port.
pub const INPUT: &str = "gregor-input";
/// Where the record stands: `stream://` and the stream's name, or `file://` and the absolute path of the file, nothing encoded.
pub const FROM: &str = "gregor-from";
/// The partition of that input, decimal.
pub const PARTITION: &str = "gregor-partition";
/// The record's offset there, decimal: of a file the byte of its first character, decompressed.
pub const OFFSET: &str = "gregor-offset";
/// Why the task did not take it, for people: one line.
pub const REASON: &str = "gregor-reason";
/// How many bytes the record has in its file, decimal: present where the value holds only the first of them.
pub const LENGTH: &str = "gregor-length";

/// Where a record came from and why it is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The stage's name.
    pub stage: &'a str,
    /// The task's number, which is the partition of each of its inputs.
    pub task: u32,
    /// The input port.
    pub input: &'a str,
    /// See [`FROM`].
    pub from: String,
    /// See [`OFFSET`].
    pub offset: u64,
    /// See [`REASON`].
    pub reason: &'a str,
    /// See [`LENGTH`].
    pub length: Option<u64>,
}

/// The headers of a dead letter that its record had not: name and value.
#[must_use]
pub fn headers(origin: &Origin<'_>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        (JOB, origin.job.to_owned()),
        (STAGE, origin.stage.to_owned()),
        (TASK, origin.task.to_string()),
        (INPUT, origin.input.to_owned()),
        (FROM, origin.from.clone()),
        (PARTITION, origin.task.to_string()),
        (OFFSET, origin.offset.to_string()),
        (REASON, origin.reason.to_owned()),
    ];
    headers.extend(origin.length.map(|length| (LENGTH, length.to_string())));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_headers_of_a_dead_letter_begin_with_the_prefix_and_each_stands_once() {
        let origin = Origin {
            job: "j",
            stage: "s",
            task: 3,
            input: "in",
            from: "file:///a/b".to_owned(),
            offset: 7,
            reason: "why",
            length: Some(9),
        };
        let made = headers(&origin);
        assert!(made.iter().all(|(name, _)| name.starts_with(PREFIX)), "{made:?}");
        let names: std::collections::BTreeSet<_> = made.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), made.len());
        assert!(made.contains(&(LENGTH, "9".to_owned())) && made.contains(&(PARTITION, "3".to_owned())));
        assert!(!headers(&Origin { length: None, ..origin }).iter().any(|(name, _)| *name == LENGTH));
    }
}
