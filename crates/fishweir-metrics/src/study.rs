//! Daily series of metrics, for questions about events and periods.

use std::collections::BTreeMap;

use fishweir_detect::{Impact, impact};
use fishweir_pipeline::{DAY_US, Grain, Interval, PipelineError};

use crate::evaluate::{Buckets, Evaluator, MetricValue};

/// Days with less of their hours known are taken for unknown.
const COVERAGE_MIN: f64 = 0.9;

/// What is asked about an event.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Metric, by day.
    pub metric: &'a str,
    /// Dimension and member, when only a part of the metric is meant; the other members are then what
    /// the event should not have touched.
    pub part: Option<(&'a str, &'a str)>,
    /// Metric that the event should not touch.
    pub control: Option<&'a str>,
    /// When it happened.
    pub event_us: i64,
    /// Days looked at before.
    pub before: u32,
    /// Days looked at after.
    pub after: u32,
}

impl Question<'_> {
    /// Returns the days looked at. The day of the event itself is neither before nor after, unless it
    /// began at midnight.
    #[must_use]
    pub fn span(&self) -> Interval {
        let first = Grain::Day.floor(self.event_us + DAY_US - 1);
        let last_before = Grain::Day.floor(self.event_us);
        Interval::new(last_before - i64::from(self.before) * DAY_US, first + i64::from(self.after) * DAY_US)
    }
}

/// Returns what followed an event, or why nothing can be said.
///
/// # Errors
/// A metric or dimension that does not exist, or a query that fails.
pub async fn study(evaluator: &Evaluator, q: &Question<'_>) -> Result<Result<Impact, String>, PipelineError> {
    let span = q.span();
    let mut series = match q.part {
        None => BTreeMap::from([(String::new(), daily(evaluator, q.metric, span).await?)]),
        Some((by, _)) => daily_by(evaluator, q.metric, by, span).await?,
    };
    let own = q.part.map_or("", |p| p.1);
    let Some(mut y) = series.remove(own) else {
        return Ok(Err(format!("`{own}` never occurs in these days")));
    };
    let control = match q.control {
        Some(name) => Some(daily(evaluator, name, span).await?),
        None => None,
    };
    let others: Vec<Vec<f64>> = series.into_values().collect();
    let day = usize::try_from((Grain::Day.floor(q.event_us) - span.from_us) / DAY_US).unwrap_or(0);
    let split = q.event_us % DAY_US != 0;
    if let Some(v) = y.get_mut(day).filter(|_| split) {
        *v = f64::NAN;
    }
    Ok(impact(&y, control.as_deref(), day + usize::from(split), &others).map_err(|e| e.to_string()))
}

fn known(v: &MetricValue) -> f64 {
    v.value.filter(|_| v.coverage >= COVERAGE_MIN).unwrap_or(f64::NAN)
}

/// Returns the value of each day; NaN where a day is not known well enough.
///
/// # Errors
/// As [`Evaluator::values`].
pub async fn daily(evaluator: &Evaluator, metric: &str, span: Interval) -> Result<Vec<f64>, PipelineError> {
    Ok(evaluator.values(metric, Buckets::Each(Grain::Day, span), None).await?.iter().map(known).collect())
}

// Members of a dimension, each with its days. A day on which a member does not occur is 0 where the
// day itself is known.
async fn daily_by(
    evaluator: &Evaluator,
    metric: &str,
    by: &str,
    span: Interval,
) -> Result<BTreeMap<String, Vec<f64>>, PipelineError> {
    let whole = daily(evaluator, metric, span).await?;
    let blank: Vec<f64> = whole.iter().map(|v| if v.is_finite() { 0.0 } else { f64::NAN }).collect();
    let mut out: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for v in evaluator.values(metric, Buckets::Each(Grain::Day, span), Some(by)).await? {
        let Some(label) = &v.label else { continue };
        let day = usize::try_from((v.period.from_us - span.from_us) / DAY_US).unwrap_or(usize::MAX);
        if let Some(slot) = out.entry(label.clone()).or_insert_with(|| blank.clone()).get_mut(day) {
            *slot = known(&v);
        }
    }
    Ok(out)
}
