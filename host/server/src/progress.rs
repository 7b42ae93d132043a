//! How a run is shown while it lasts: one updating line on a terminal; off it one line a second and one per confirmed checkpoint. Refuses to
//! slow the job down: whoever reports does not wait for this.

use std::time::Duration;

use crossbeam_channel::Receiver;
use gregor_model::names::CheckpointNumber;
use gregor_runtime::setup::{Metric, MetricValue, Pauses, Progress, Report, Summary};

use crate::output::{self, Screen};
use crate::task_logs::TaskLogs;

/// Metrics that are shown at a run's end.
const METRICS_SHOWN: usize = 200;

/// Shows reports until the job that sends them has ended; what tasks say goes into their logs as well.
pub(crate) fn follow(reports: &Receiver<Report>, screen: Screen, logs: &TaskLogs) {
    for report in reports {
        if let Report::TaskLog { stage, task, level, line } = &report {
            logs.take((stage, *task), (level, line));
        }
        match show(&report, screen) {
            Shown::InPlace(text) => output::show_in_place(&text),
            Shown::Line(line) => output::tell(&line),
            Shown::Nothing => {}
        }
    }
    if screen.is_terminal() {
        output::show_in_place("");
    }
}

/// How a report is shown.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// In the last line of the terminal.
    InPlace(String),
    /// As a line of its own.
    Line(String),
    /// Not at all.
    Nothing,
}

fn show(report: &Report, screen: Screen) -> Shown {
    match report {
        Report::Progress(progress) | Report::Confirmed { progress, .. } if screen.is_terminal() => Shown::InPlace(in_place(progress)),
        Report::Progress(progress) | Report::Confirmed { progress, .. } => Shown::Line(line(progress)),
        Report::Resumed { checkpoint: Some(checkpoint), records } => {
            Shown::Line(format!("resumed checkpoint={checkpoint} records={records}"))
        }
        Report::Resumed { checkpoint: None, .. } => Shown::Nothing,
        Report::Warning(text) => Shown::Line(format!("warning: {}", output::harmless(text))),
        Report::TaskLog { stage, task, level, line } => {
            Shown::Line(format!("task={stage}/{} level={level} {}", task.partition, output::harmless(line)))
        }
    }
}

/// For programs and logs: the form is a stable surface.
fn line(progress: &Progress) -> String {
    let mut line = format!("checkpoint={} records={}", number(progress.checkpoint), progress.records);
    if let Some(share) = progress.input_share {
        line.push_str(&format!(" input-share={share:.2}"));
    }
    line
}

/// For people.
fn in_place(progress: &Progress) -> String {
    let mut text = format!("{} records, {:.0}/s", progress.records, progress.records_per_second);
    match progress.checkpoint {
        Some(checkpoint) => text.push_str(&format!(", checkpoint {checkpoint} ({:.1} s ago)", progress.checkpoint_age.as_secs_f64())),
        None => text.push_str(", no checkpoint yet"),
    }
    if let Some(share) = progress.input_share {
        text.push_str(&format!(", input {:.0} %", share * 100.0));
    }
    text
}

/// What is said when a job has finished.
pub(crate) fn finished(summary: &Summary) -> String {
    format!("finished checkpoint={} records={}\n{}", number(summary.checkpoint), summary.records, figures(summary))
}

/// What is said when a job that was to run until it is idle is.
pub(crate) fn idle(summary: &Summary) -> String {
    let (line, figures) = (format!("idle checkpoint={} records={}", number(summary.checkpoint), summary.records), figures(summary));
    format!("{line}\n{figures}\nall that there is was worked off; the same command goes on with what comes")
}

/// What is said when a job stopped before its end.
pub(crate) fn stopped(summary: &Summary) -> String {
    let line = format!("stopped checkpoint={} records={}", number(summary.checkpoint), summary.records);
    let next = match summary.checkpoint {
        Some(checkpoint) => format!("checkpoint {checkpoint} is the last confirmed one; the same command goes on from there"),
        None => "no checkpoint was confirmed; the same command begins anew".to_owned(),
    };
    format!("{line}\n{}\n{next}", figures(summary))
}

/// What is said when a job was to stop before anything was known of it.
pub(crate) const STOPPED_UNREAD: &str =
    "stopped before the coordinator had answered; the same command goes on from the last confirmed checkpoint";

/// What is said when a job had finished before.
pub(crate) fn already_finished(summary: &Summary) -> String {
    let (checkpoint, records) = (number(summary.checkpoint), summary.records);
    format!("already finished: checkpoint {checkpoint} records={records}; to run the job again, choose another --data and output folder")
}

fn figures(summary: &Summary) -> String {
    let Pauses { count, p50, p99, max } = summary.pauses;
    let mut figures =
        format!("pause-p50={} pause-p99={} pause-max={} freezes={count}", microseconds(p50), microseconds(p99), microseconds(max));
    if summary.skipped > 0 {
        figures.push_str(&format!(" skipped={}", summary.skipped));
    }
    figures + &metrics(&summary.metrics)
}

/// What the tasks counted, a line each: the form is a stable surface.
fn metrics(metrics: &[Metric]) -> String {
    let mut lines: Vec<String> = metrics.iter().take(METRICS_SHOWN).map(metric).collect();
    if let Some(more) = metrics.len().checked_sub(METRICS_SHOWN).filter(|&more| more > 0) {
        lines.push(format!("{more} more metrics are not shown"));
    }
    lines.iter().fold(String::new(), |all, line| all + "\n" + line)
}

fn metric(Metric { stage, name, value }: &Metric) -> String {
    let name = if name.contains(char::is_whitespace) { format!("{name:?}") } else { output::harmless(name) };
    match value {
        MetricValue::Count(value) => format!("metric stage={stage} name={name} value={value}"),
        MetricValue::Number(value) => format!("metric stage={stage} name={name} value={value}"),
    }
}

fn microseconds(pause: Duration) -> String {
    format!("{}us", pause.as_micros())
}

fn number(checkpoint: Option<CheckpointNumber>) -> String {
    checkpoint.map_or_else(|| "none".to_owned(), |checkpoint| checkpoint.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gregor_model::names::TaskId;

    fn progress(checkpoint: Option<u64>, input_share: Option<f64>) -> Progress {
        let checkpoint = checkpoint.map(CheckpointNumber);
        let checkpoint_age = Duration::from_millis(2500);
        Progress { checkpoint, checkpoint_age, records: 1_234_567, records_per_second: 1000.4, input_share }
    }

    #[test]
    fn reports_are_shown_in_the_form_that_the_interface_page_promises() {
        let log = |line: &str| Report::TaskLog {
            stage: "count".to_owned(),
            task: TaskId { stage: 1, partition: 3 },
            level: "info",
            line: line.to_owned(),
        };
        let cases = [
            (Report::Progress(progress(Some(7), Some(0.519))), "checkpoint=7 records=1234567 input-share=0.52"),
            (Report::Progress(progress(None, Some(0.0))), "checkpoint=none records=1234567 input-share=0.00"),
            (Report::Progress(progress(Some(7), None)), "checkpoint=7 records=1234567"),
            (Report::Resumed { checkpoint: Some(CheckpointNumber(7)), records: 9 }, "resumed checkpoint=7 records=9"),
            (Report::Warning("input x.txt is new".to_owned()), "warning: input x.txt is new"),
            (log("a\nfinished checkpoint=9 records=9"), "task=count/3 level=info a\\nfinished checkpoint=9 records=9"),
        ];
        for (report, expected) in cases {
            assert_eq!(show(&report, Screen::None), Shown::Line(expected.to_owned()));
        }
        assert_eq!(show(&Report::Resumed { checkpoint: None, records: 0 }, Screen::None), Shown::Nothing);
    }

    #[test]
    fn a_terminal_shows_progress_in_one_line() {
        let shown = show(&Report::Progress(progress(Some(7), Some(0.519))), Screen::Plain);
        assert_eq!(shown, Shown::InPlace("1234567 records, 1000/s, checkpoint 7 (2.5 s ago), input 52 %".to_owned()));
    }

    #[test]
    fn the_end_is_said_with_its_pauses() {
        let pauses = Pauses { count: 8, p50: Duration::from_micros(12), p99: Duration::from_micros(340), max: Duration::from_millis(1) };
        let summary =
            Summary { checkpoint: Some(CheckpointNumber(9)), records: 100, skipped: 2, confirmed: 3, pauses, ..Summary::default() };
        let figures = "pause-p50=12us pause-p99=340us pause-max=1000us freezes=8 skipped=2";
        assert_eq!(finished(&summary), format!("finished checkpoint=9 records=100\n{figures}"));
        assert!(
            stopped(&summary).starts_with(&format!("stopped checkpoint=9 records=100\n{figures}\ncheckpoint 9 is the last confirmed one"))
        );
        assert!(already_finished(&summary).starts_with("already finished: checkpoint 9 "));
    }

    #[test]
    fn metrics_are_shown_a_line_each_and_never_too_many() {
        let of = |name: String, value| Metric { stage: "count".to_owned(), name, value };
        let few = [
            of("words".to_owned(), MetricValue::Count(7)),
            of("load{a=\"\u{7}\"}".to_owned(), MetricValue::Number(0.5)),
            of("two\nlines".to_owned(), MetricValue::Count(1)),
        ];
        assert_eq!(
            metrics(&few),
            "\nmetric stage=count name=words value=7\nmetric stage=count name=load{a=\"\\u{7}\"} value=0.5\nmetric stage=count name=\"two\\nlines\" value=1"
        );
        assert_eq!(metrics(&[]), "");
        let many: Vec<Metric> = (0..METRICS_SHOWN + 3).map(|n| of(n.to_string(), MetricValue::Count(1))).collect();
        let shown = metrics(&many);
        assert_eq!(shown.lines().count(), METRICS_SHOWN + 2);
        assert!(shown.ends_with("\n3 more metrics are not shown"), "{shown}");
    }
}
