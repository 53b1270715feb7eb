//! What is known of every rule over a period: hits, precision, recall, decay, overlaps, advice.

use std::collections::BTreeMap;

use fishweir_pipeline::{DAY_US, Interval, time_literal};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::advice::{Advice, RuleFacts, advise};
use crate::outcome::{Attacked, Estimate, Tally, recall};

const WEEK: usize = 7;
/// Independent clients held out from which on they alone are believed.
const HELD_OUT_MIN: f64 = 20.0;

/// A row of a query.
pub type Row = Map<String, Value>;

/// One rule over a period: enforced and held-out hits together, those in shadow for themselves.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Defence and name.
    pub rule: String,
    /// Version.
    pub rule_version: String,
    /// What it does.
    pub action: String,
    /// `enforce`, held-out hits included, or `shadow`.
    pub mode: &'static str,
    /// First day it met anybody.
    pub first_day: String,
    /// Last day it met anybody.
    pub last_day: String,
    /// Days of the period with a hit.
    pub days: usize,
    /// Hits.
    pub hits: f64,
    /// Requests it stopped.
    pub stopped: f64,
    /// Share of hits that were right.
    pub precision: Option<f64>,
    /// Lower end of the interval.
    pub precision_low: Option<f64>,
    /// Upper end of the interval.
    pub precision_high: Option<f64>,
    /// What that is read from.
    pub basis: &'static str,
    /// Why the precision is unknown.
    pub reason: Option<&'static str>,
    /// Share of attack requests on its routes that it met.
    pub recall: Option<f64>,
    /// Lower end of the interval.
    pub recall_low: Option<f64>,
    /// Upper end of the interval.
    pub recall_high: Option<f64>,
    /// Why the recall is unknown.
    pub recall_reason: Option<&'static str>,
    /// Hits that were right.
    pub right_hits: f64,
    /// Hits that were wrong.
    pub wrong_hits: f64,
    /// Hits that nothing tells about.
    pub unclear_hits: f64,
    /// Attack requests it did not meet.
    pub missed_requests: Option<f64>,
    /// Requests of members it stopped.
    pub good_stopped: f64,
    /// Days of clients it stopped wrongly.
    pub good_client_days: f64,
    /// Right hits that met no other rule.
    pub right_alone: f64,
    /// Its first week, where it is old enough.
    pub first_week: Option<Week>,
    /// The last week of the period.
    pub last_week: Option<Week>,
    /// Rules that met the same clients.
    pub overlaps: Vec<Row>,
    /// What to do.
    pub advice: Advice,
}

/// A week of a rule, to see whether it fades.
#[derive(Debug, Serialize)]
pub struct Week {
    /// Right hits a day.
    pub right_hits_per_day: f64,
    /// Share of hits that were right.
    pub precision: Option<f64>,
    /// Lower end of the interval.
    pub precision_low: Option<f64>,
    /// Upper end of the interval.
    pub precision_high: Option<f64>,
}

/// Returns the queries whose rows [`rule_book`] takes: outcomes up to the end of a period (the first days
/// of a rule say whether it fades), and overlaps within it.
#[must_use]
pub fn rule_book_sql(span: Interval) -> [String; 2] {
    let (from, to) = (time_literal(span.from_us), time_literal(span.to_us));
    [
        format!(
            "SELECT *, CAST(day AS VARCHAR) AS date, CAST(day AS BIGINT) AS us FROM rule_outcomes WHERE day < {to} ORDER BY day"
        ),
        format!(
            "SELECT rule, other_rule, CAST(sum(clients) AS BIGINT) AS client_days FROM rule_overlaps WHERE day >= {from} AND day < {to} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        ),
    ]
}

/// Returns the rules that met anybody up to the end of a period, by name, version and mode; those
/// without a hit in it with a count of 0.
#[must_use]
pub fn rule_book(outcomes: Vec<Row>, overlaps: &[Row], span: Interval) -> Vec<Rule> {
    let mut by_rule: BTreeMap<(String, String, bool), Vec<Row>> = BTreeMap::new();
    for r in outcomes {
        let key = (
            format!("{}/{}", text(&r, "defence"), text(&r, "rule")),
            text(&r, "rule_version"),
            text(&r, "mode") == "shadow",
        );
        by_rule.entry(key).or_default().push(r);
    }
    by_rule.into_iter().map(|(key, rows)| rule(key, &rows, span, overlaps)).collect()
}

fn tally(r: &Row) -> Tally {
    let n = |k: &str| number(r, k);
    Tally {
        hits: n("hits"),
        hits_squared: n("hits_squared"),
        good_watched: n("good_watched"),
        good_crowd: n("good_crowd"),
        bad_attack: n("bad_attack"),
        bad_failed: n("bad_failed"),
        bad_kept_on: n("bad_kept_on"),
    }
}

/// Returns the hits of a rule, how often they were right, and whether those held out at random say so.
pub fn judged(rows: &[&Row]) -> (Tally, Result<Estimate, &'static str>, bool) {
    let whole = sum(rows.iter().copied());
    let held_out = sum(rows.iter().copied().filter(|r| text(r, "mode") == "holdout"));
    let believed = held_out.effective() >= HELD_OUT_MIN && held_out.precision().is_ok();
    (whole, if believed { held_out.precision() } else { whole.precision() }, believed)
}

fn sum<'a>(rows: impl Iterator<Item = &'a Row>) -> Tally {
    rows.fold(Tally::default(), |mut t, r| {
        t.add(&tally(r));
        t
    })
}

#[expect(clippy::cast_precision_loss, reason = "days")]
fn rule(
    (name, version, shadow): (String, String, bool),
    all: &[Row],
    span: Interval,
    overlaps: &[Row],
) -> Rule {
    let day = |r: &Row| r.get("us").and_then(Value::as_i64).unwrap_or(0);
    let rows: Vec<&Row> = all.iter().filter(|r| span.contains(day(r))).collect();
    let (whole, precision, believed) = judged(&rows);
    let days = (span.to_us - span.from_us).max(DAY_US) as f64 / DAY_US as f64;
    let total = |k: &str| rows.iter().map(|r| number(r, k)).sum::<f64>();
    let last = all.iter().map(day).max().unwrap_or(span.to_us);
    let first = all.iter().map(day).min().unwrap_or(span.to_us);
    let on = (days.min((span.to_us - first) as f64 / DAY_US as f64)).max(1.0);
    let recalled = recall(&whole, &attacked(&rows));
    let facts = RuleFacts {
        action: all.last().map(|r| text(r, "action")).unwrap_or_default(),
        shadow,
        precision,
        hits_per_day: whole.hits / on,
        bad_alone_per_day: total("bad_alone") / on,
        bad_passed_per_day: total("bad_passed") / on,
        good_stopped_per_day: total("good_stopped") / on,
        good_per_day: whole.good() / on,
        silent_days: (span.to_us - last) / DAY_US - 1,
    };
    let old = (last - first) / DAY_US >= 2 * WEEK as i64;
    let week =
        |from: i64| old.then(|| week(all.iter().filter(|r| (from..from + 7 * DAY_US).contains(&day(r)))));
    Rule {
        mode: if shadow { "shadow" } else { "enforce" },
        first_day: stamp(first),
        last_day: stamp(last),
        days: rows.iter().map(|r| day(r)).collect::<std::collections::BTreeSet<_>>().len(),
        hits: whole.hits,
        stopped: total("stopped"),
        precision: precision.ok().map(|e| e.value),
        precision_low: precision.ok().map(|e| e.low),
        precision_high: precision.ok().map(|e| e.high),
        basis: if believed { "holdout" } else { whole.basis() },
        reason: precision.err(),
        recall: recalled.ok().map(|e| e.value),
        recall_low: recalled.ok().map(|e| e.low),
        recall_high: recalled.ok().map(|e| e.high),
        recall_reason: recalled.err(),
        right_hits: whole.bad(),
        wrong_hits: whole.good(),
        unclear_hits: whole.unclear(),
        missed_requests: recalled.ok().map(|_| (attacked(&rows).value - whole.bad()).max(0.0)),
        good_stopped: total("good_stopped"),
        good_client_days: total("good_clients"),
        right_alone: total("bad_alone"),
        first_week: week(first),
        last_week: week(span.to_us - 7 * DAY_US),
        overlaps: overlaps
            .iter()
            .filter(|o| text(o, "rule") == name || text(o, "other_rule") == name)
            .cloned()
            .collect(),
        advice: advise(&facts),
        action: facts.action,
        rule: name,
        rule_version: version,
    }
}

fn week<'a>(rows: impl Iterator<Item = &'a Row>) -> Week {
    let t = sum(rows);
    let p: Option<Estimate> = t.precision().ok();
    Week {
        right_hits_per_day: t.bad() / 7.0,
        precision: p.map(|e| e.value),
        precision_low: p.map(|e| e.low),
        precision_high: p.map(|e| e.high),
    }
}

// Modes of a day share the attacks that came; each day counts once.
fn attacked(rows: &[&Row]) -> Attacked {
    let mut days: BTreeMap<String, Attacked> = BTreeMap::new();
    for r in rows {
        let a = days.entry(text(r, "date")).or_default();
        a.value = a.value.max(number(r, "attack_requests"));
        a.low = a.low.max(number(r, "attack_requests_low"));
        a.high = a.high.max(number(r, "attack_requests_high"));
    }
    days.into_values().fold(Attacked::default(), |s, a| Attacked {
        value: s.value + a.value,
        low: s.low + a.low,
        high: s.high + a.high,
    })
}

fn stamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%d").to_string()
}

fn text(row: &Row, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Row, key: &str) -> f64 {
    row.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}
