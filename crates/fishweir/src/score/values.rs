//! Metric values against the truth: does the interval hold it?

use fishweir_metrics::MetricValue;

use super::{Rate, Score};

/// One day of one metric.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub(crate) value: MetricValue,
    pub(crate) truth: f64,
}

/// Returns the share of days whose interval holds the truth; days without a value are counted apart.
pub(crate) fn score(metric: &str, days: &[Day]) -> Score {
    let known: Vec<&Day> = days.iter().filter(|d| d.value.value.is_some()).collect();
    let holds = |d: &Day| {
        let (low, high) = (d.value.low.unwrap_or(f64::NAN), d.value.high.unwrap_or(f64::NAN));
        low <= d.truth && d.truth <= high
    };
    let eventful: Vec<&&Day> = known.iter().filter(|d| d.truth > 0.0).collect();
    let quiet: Vec<&&Day> = known.iter().filter(|d| d.truth <= 0.0).collect();
    let of = |all: &[&&Day], none: &str| Rate::of(all.iter().filter(|d| holds(d)).count(), all.len(), none);
    let nothing = || Rate::of(0, 0, "an interval has neither precision nor recall; see detail");
    Score::new(nothing(), nothing())
        .with("metric", metric)
        .with("interval_holds_truth_on_days_with_attacks", of(&eventful, "no day had an attack"))
        .with("interval_holds_truth_on_days_without", of(&quiet, "every day had an attack"))
        .with("days_without_a_value", days.len() - known.len())
}
