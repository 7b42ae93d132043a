//! Checkpoints of a job as `gregor checkpoint` shows them. Refuses to read the archive itself.

use serde_json::Value;

use super::lab::Lab;

/// The checkpoints that are on record, oldest first. Processes may be at work: looking takes no lock.
pub(crate) fn list(lab: &Lab) -> Vec<Value> {
    list_of(lab, &["--data", "data"])
}

/// The same, for a job that is somewhere else.
pub(crate) fn list_of(lab: &Lab, place: &[&str]) -> Vec<Value> {
    let told = lab.gregor(&[&["checkpoint", "list", "job.toml", "--output", "json"], place].concat()).code(0).stdout;
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// The confirmed ones with all that they consist of, oldest first. Those that retire between two looks are left out.
pub(crate) fn shown(lab: &Lab) -> Vec<Value> {
    let confirmed = list(lab).into_iter().filter(|entry| entry["status"] == "confirmed");
    let show = |entry: Value| {
        let told = lab.gregor(&["checkpoint", "show", "job.toml", &entry["number"].to_string(), "--data", "data", "--output", "json"]);
        (told.code == Some(0)).then(|| serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", told.stdout)))
    };
    confirmed.filter_map(show).collect()
}

/// Segments of a stage in a checkpoint that was shown.
pub(crate) fn segments(shown: &Value, stage: u64) -> Vec<&Value> {
    let all = shown["segments"].as_array().unwrap_or_else(|| panic!("no segments: {shown}"));
    all.iter().map(|segment| &segment["header"]).filter(|header| header["task"]["stage"] == stage).collect()
}

/// When a checkpoint was created, in milliseconds of its day.
pub(crate) fn created_ms(entry: &Value) -> u64 {
    let text = entry["created-at"].as_str().unwrap_or_else(|| panic!("no time: {entry}"));
    let digits = |range| text.get::<std::ops::Range<usize>>(range).and_then(|part| part.parse::<u64>().ok());
    match (digits(11..13), digits(14..16), digits(17..19), digits(20..23)) {
        (Some(hours), Some(minutes), Some(seconds), Some(ms)) => ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms,
        _ => panic!("{text:?} is not RFC 3339 with milliseconds"),
    }
}
