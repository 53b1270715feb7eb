//! What we did, what followed, and what changed under the numbers: sentences for a report.

use std::collections::BTreeMap;

use fishweir_metrics::{DAY_US, Evaluator, Interval, PipelineError, time_literal};
use serde_json::{Map, Value};

/// Days that an intervention is followed.
const FOLLOW_DAYS: i64 = 29;
const CHANGES_MAX: usize = 12;

type Row = Map<String, Value>;

fn text(r: &Row, key: &str) -> String {
    r.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn percent(r: &Row, key: &str) -> String {
    r.get(key).and_then(Value::as_f64).map_or("unknown".to_owned(), |v| format!("{:+.0} %", v * 100.0))
}

/// Returns a sentence per intervention of the period or the four weeks before it: which metrics moved
/// at the latest checkpoint, and of how many nothing can be said.
///
/// # Errors
/// A query that fails.
pub(crate) async fn interventions(
    evaluator: &Evaluator,
    period: Interval,
) -> Result<Vec<String>, PipelineError> {
    if !evaluator.has_table("interventions") {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT *, CAST(time AS DATE) AS date, CAST(time AS BIGINT) AS us FROM interventions WHERE time >= {} AND time < {} ORDER BY time, title, metric, days_after",
        time_literal(period.from_us - FOLLOW_DAYS * DAY_US),
        time_literal(period.to_us)
    );
    // The last checkpoint of each metric that ended before the period did.
    let mut notes: BTreeMap<(i64, String), BTreeMap<String, Row>> = BTreeMap::new();
    for r in evaluator.rows(&sql).await? {
        let int = |k: &str| r.get(k).and_then(Value::as_i64).unwrap_or(0);
        if int("us") + int("days_after") * DAY_US < period.to_us + DAY_US {
            notes.entry((int("us"), text(&r, "title"))).or_default().insert(text(&r, "metric"), r);
        }
    }
    Ok(notes.into_iter().map(|((_, title), metrics)| sentence(&title, &metrics)).collect())
}

fn sentence(title: &str, metrics: &BTreeMap<String, Row>) -> String {
    let any = metrics.values().next();
    let (date, days) = (
        any.map(|r| text(r, "date")).unwrap_or_default(),
        metrics.values().filter_map(|r| r.get("days_after")?.as_i64()).max().unwrap_or(0),
    );
    let moved: Vec<String> = metrics
        .iter()
        .filter(|(_, r)| ["rise", "fall"].contains(&text(r, "verdict").as_str()))
        .map(|(m, r)| {
            let outcome = text(r, "outcome");
            let outcome = if outcome.is_empty() { String::new() } else { format!(", {outcome}") };
            format!("{m} {} [{}, {}]{outcome}", percent(r, "change"), percent(r, "low"), percent(r, "high"))
        })
        .collect();
    let of = |v: &str| metrics.values().filter(|r| text(r, "verdict") == v).count();
    let stable = metrics.values().all(|r| r.get("stable").and_then(Value::as_bool) == Some(true));
    let moved = match moved.is_empty() {
        true if of("unknown") == metrics.len() => {
            let reason = any.map(|r| text(r, "reason")).unwrap_or_default();
            return format!("{title} ({date}): what followed is unknown: {reason}.");
        }
        true => "nothing clearly moved".to_owned(),
        false => moved.join("; "),
    };
    format!(
        "{title} ({date}), followed for {days} days: {moved}. No evidence of a change in {}, unknown in {}{}.",
        of("no evidence of a change"),
        of("unknown"),
        if stable { "" } else { "; not settled yet" }
    )
}

/// Returns what changed under the metrics during a period, the newest last.
///
/// # Errors
/// A query that fails.
pub(crate) async fn changes(evaluator: &Evaluator, period: Interval) -> Result<Vec<String>, PipelineError> {
    let mut all: Vec<String> = Vec::new();
    for name in evaluator.metrics().keys() {
        all.extend(evaluator.breaks(name, period));
    }
    all.sort();
    all.dedup();
    let more = all.len().saturating_sub(CHANGES_MAX);
    all.truncate(CHANGES_MAX);
    if more > 0 {
        all.push(format!("and {more} more, see table `findings`"));
    }
    Ok(all)
}
