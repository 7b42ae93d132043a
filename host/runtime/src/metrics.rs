//! What tasks counted, summed for a run's end. Refuses to hold more series of a stage than a task may have.

use std::collections::BTreeMap;

use gregor_model::limits::METRIC_SERIES_MAX;

use crate::services::Series;
use crate::setup::{Metric, MetricValue};

/// Sums series over the tasks of each stage. One name that several tasks use for different kinds counts as the kind of the first.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<String, BTreeMap<String, Series>>);

impl Sums {
    /// Adds a task's series.
    pub(crate) fn add(&mut self, stage: &str, series: &BTreeMap<String, Series>) {
        let sums = self.0.entry(stage.to_owned()).or_default();
        for (name, &found) in series {
            if let Some(sum) = sums.get_mut(name) {
                *sum = plus(*sum, found);
            } else if sums.len() < METRIC_SERIES_MAX {
                sums.insert(name.clone(), found);
            }
        }
    }

    /// The sums, by stage and name.
    pub(crate) fn finish(self) -> Vec<Metric> {
        let all = self.0.into_iter().flat_map(|(stage, sums)| sums.into_iter().map(move |(name, sum)| (stage.clone(), name, sum)));
        all.flat_map(|(stage, name, sum)| {
            let metric = |name: String, value: MetricValue| Metric { stage: stage.clone(), name, value };
            match sum {
                Series::Counter(count) => vec![metric(name, MetricValue::Count(count))],
                Series::Gauge(value) => vec![metric(name, MetricValue::Number(value))],
                Series::Histogram { count, sum } => vec![
                    metric(format!("{name}.count"), MetricValue::Count(count)),
                    metric(format!("{name}.sum"), MetricValue::Number(sum)),
                ],
            }
        })
        .collect()
    }
}

const fn plus(sum: Series, other: Series) -> Series {
    match (sum, other) {
        (Series::Counter(a), Series::Counter(b)) => Series::Counter(a.saturating_add(b)),
        (Series::Gauge(a), Series::Gauge(b)) => Series::Gauge(a + b),
        (Series::Histogram { count, sum }, Series::Histogram { count: more, sum: added }) => {
            Series::Histogram { count: count.saturating_add(more), sum: sum + added }
        }
        (first, _) => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(all: &[(&str, Series)]) -> BTreeMap<String, Series> {
        all.iter().map(|&(name, series)| (name.to_owned(), series)).collect()
    }

    #[test]
    fn tasks_are_summed_by_stage_and_name() {
        let mut sums = Sums::default();
        sums.add("b", &series(&[("n", Series::Counter(u64::MAX))]));
        sums.add("b", &series(&[("n", Series::Counter(1)), ("load", Series::Gauge(0.5))]));
        sums.add("a", &series(&[("n", Series::Counter(1)), ("size", Series::Histogram { count: 2, sum: 3.0 })]));
        sums.add("a", &series(&[("n", Series::Gauge(7.0)), ("size", Series::Histogram { count: 1, sum: 0.25 })]));
        sums.add("b", &series(&[("load", Series::Gauge(0.25))]));
        let shown: Vec<(String, String, MetricValue)> =
            sums.finish().into_iter().map(|Metric { stage, name, value }| (stage, name, value)).collect();
        let expected = [
            ("a", "n", MetricValue::Count(1)),
            ("a", "size.count", MetricValue::Count(3)),
            ("a", "size.sum", MetricValue::Number(3.25)),
            ("b", "load", MetricValue::Number(0.75)),
            ("b", "n", MetricValue::Count(u64::MAX)),
        ];
        assert_eq!(shown, expected.map(|(stage, name, value)| (stage.to_owned(), name.to_owned(), value)));
    }

    #[test]
    fn a_stage_has_no_more_series_than_a_task_may_have() {
        let mut sums = Sums::default();
        for task in 0..3 {
            let names: Vec<String> = (0..METRIC_SERIES_MAX).map(|number| format!("{task}-{number}")).collect();
            sums.add("a", &names.iter().map(|name| (name.clone(), Series::Counter(1))).collect());
        }
        assert_eq!(sums.finish().len(), METRIC_SERIES_MAX);
    }
}
