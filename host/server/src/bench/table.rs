//! The figures for people: a table in Markdown, so that it can stand in a page as it is. Refuses more digits than a figure of a benchmark has.

use super::figures::{Distribution, Row};

/// The head of the table. README.md shows a table with this head; a test compares them.
pub(super) const HEAD: [&str; 11] = [
    "case",
    "records/s",
    "native",
    "bare",
    "ratio",
    "CPU-s per M (native)",
    "peak MB (native)",
    "checkpoints cost",
    "pause p50, p99",
    "checkpoint p50, p99",
    "latency p50, p99",
];

/// The table.
pub(super) fn table(rows: &[Row]) -> String {
    let head = [HEAD.map(str::to_owned).to_vec(), HEAD.map(|_| "---".to_owned()).to_vec()];
    let lines = head.into_iter().chain(rows.iter().map(cells)).map(|cells| format!("| {} |", cells.join(" | ")));
    lines.collect::<Vec<_>>().join("\n")
}

fn cells(row: &Row) -> Vec<String> {
    let with_native = |ours: Option<String>, native: Option<String>| match (ours, native) {
        (Some(ours), Some(native)) => format!("{ours} ({native})"),
        (ours, _) => or_dash(ours),
    };
    vec![
        row.case.name().to_owned(),
        or_dash(row.records_per_second.map(rate)),
        or_dash(row.native_records_per_second.map(rate)),
        or_dash(row.bare_records_per_second.map(rate)),
        or_dash(row.ratio.map(|ratio| match row.spread.ratio {
            Some((least, greatest)) if row.rounds > 1 => format!("{ratio:.2} ({least:.2}–{greatest:.2})"),
            _ => format!("{ratio:.2}"),
        })),
        with_native(
            row.cpu_seconds_per_million.map(|cpu| format!("{cpu:.2}")),
            row.native_cpu_seconds_per_million.map(|cpu| format!("{cpu:.2}")),
        ),
        with_native(row.peak_memory_bytes.map(megabytes), row.native_peak_memory_bytes.map(megabytes)),
        or_dash(row.checkpoint_cost.map(|cost| format!("{:.0} %", cost * 100.0))),
        percentiles(&row.pause),
        percentiles(&row.checkpoint),
        percentiles(&row.latency),
    ]
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// Records a second, in thousands or millions.
pub(super) fn rate(rate: f64) -> String {
    if rate < 1e6 { format!("{:.0} k", rate / 1e3) } else { format!("{:.2} M", rate / 1e6) }
}

fn megabytes(bytes: u64) -> String {
    (bytes / 1_000_000).to_string()
}

fn percentiles(distribution: &Distribution) -> String {
    match (distribution.p50_microseconds, distribution.p99_microseconds) {
        (Some(p50), Some(p99)) => format!("{}, {}", duration(p50), duration(p99)),
        _ => or_dash(None),
    }
}

fn duration(microseconds: f64) -> String {
    match microseconds {
        under if under < 1e3 => format!("{under:.0} µs"),
        under if under < 1e4 => format!("{:.1} ms", under / 1e3),
        under if under < 1e6 => format!("{:.0} ms", under / 1e3),
        over => format!("{:.1} s", over / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case::{Case, Variant};
    use crate::bench::figures::Runs;
    use crate::bench::measure::Measured;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let run = Measured { records: 2_345_678, nanoseconds: 1_000_000_000, peak_memory_bytes: 5_000_001, ..Measured::default() };
        let runs = Runs::from([(Variant::Sandboxed, [(0, run)].into())]);
        let table = table(&[Row::of(Case::CountMillion, &runs)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "| count-1m | 2.35 M | – | – | – | 0.00 | 5 | – | – | – | – |");
        assert!(lines.iter().all(|line| line.matches(" | ").count() == HEAD.len() - 1), "{table}");
    }

    #[test]
    fn durations_have_the_digits_that_they_are_worth() {
        assert_eq!([12.4, 1_234.0, 56_789.0, 1_250_000.0].map(duration), ["12 µs", "1.2 ms", "57 ms", "1.2 s"]);
        assert_eq!([999_400.0, 1_000_000.0].map(rate), ["999 k", "1.00 M"]);
    }
}
