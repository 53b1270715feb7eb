//! `fishweir rules`

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use fishweir_labels::{Advice, Attacked, Estimate, RuleFacts, Tally, advise, recall};
use fishweir_metrics::{DAY_US, Evaluator, Grain, Interval, parse_time, time_literal};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::{Format, RulesArgs};
use crate::commands::report::evaluator;
use crate::output::{print_json, print_rows, say};
use crate::project::Project;

const PERIOD_DAYS: i64 = 28;
const WEEK: usize = 7;
/// Independent clients held out from which on they alone are believed.
const HELD_OUT_MIN: f64 = 20.0;

pub(crate) type Row = Map<String, Value>;

/// One rule over a period: enforced and held-out hits together, those in shadow for themselves.
#[derive(Debug, Serialize)]
struct Rule {
    rule: String,
    rule_version: String,
    action: String,
    mode: &'static str,
    first_day: String,
    last_day: String,
    days: usize,
    hits: f64,
    stopped: f64,
    precision: Option<f64>,
    precision_low: Option<f64>,
    precision_high: Option<f64>,
    basis: &'static str,
    reason: Option<&'static str>,
    recall: Option<f64>,
    recall_low: Option<f64>,
    recall_high: Option<f64>,
    recall_reason: Option<&'static str>,
    right_hits: f64,
    wrong_hits: f64,
    unclear_hits: f64,
    missed_requests: Option<f64>,
    good_stopped: f64,
    good_client_days: f64,
    right_alone: f64,
    first_week: Option<Week>,
    last_week: Option<Week>,
    overlaps: Vec<Row>,
    advice: Advice,
}

/// A week of a rule, to see whether it fades.
#[derive(Debug, Serialize)]
struct Week {
    right_hits_per_day: f64,
    precision: Option<f64>,
    precision_low: Option<f64>,
    precision_high: Option<f64>,
}

pub(crate) async fn run(project: &Project, args: &RulesArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    if !evaluator.has_table("rule_outcomes") {
        bail!("no rule was ever looked at\nhint: `fishweir run` does that");
    }
    let span = period(&evaluator, args)?;
    let mut rules = load(&evaluator, span).await?;
    if let Some(name) = &args.name {
        rules.retain(|r| &r.rule == name);
        if rules.is_empty() {
            bail!(
                "no rule `{name}` met anybody up to {}\nhint: `fishweir rules` lists them",
                stamp(span.to_us)
            );
        }
    }
    match args.format {
        Format::Json => print_json(&rules)?,
        Format::Csv => {
            let flat = rules.iter().map(flat).collect::<Result<Vec<_>>>()?;
            print_rows(&flat, Format::Csv)?;
        }
        Format::Text if rules.is_empty() => eprintln!("no rule met anybody: no decision is recorded"),
        Format::Text => {
            say(&format!("{} to {}", stamp(span.from_us), stamp(span.to_us)))?;
            for r in &rules {
                say(&lines(r, args.name.is_some()).join("\n"))?;
            }
        }
    }
    Ok(0)
}

fn stamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%d").to_string()
}

fn period(evaluator: &Evaluator, args: &RulesArgs) -> Result<Interval> {
    let to = match (&args.to, evaluator.sealed_span("requests")) {
        (Some(text), _) => parse_time(text)?,
        (None, Some(s)) => Grain::Day.floor(s.to_us + DAY_US - 1),
        (None, None) => bail!("nothing is sealed yet\nhint: `fishweir run` does that"),
    };
    let from = match &args.from {
        Some(text) => parse_time(text)?,
        None => to - PERIOD_DAYS * DAY_US,
    };
    if from >= to {
        bail!("--from must lie before --to");
    }
    Ok(Interval::new(from, to))
}

/// Returns the rules that met anybody up to the end of a period, by name, version and mode; those
/// without a hit in it with a count of 0.
async fn load(evaluator: &Evaluator, span: Interval) -> Result<Vec<Rule>> {
    // Everything up to the end: the first days of a rule say whether it fades.
    let sql = format!(
        "SELECT *, CAST(day AS VARCHAR) AS date, CAST(day AS BIGINT) AS us FROM rule_outcomes WHERE day < {} ORDER BY day",
        time_literal(span.to_us)
    );
    let mut by_rule: BTreeMap<(String, String, bool), Vec<Row>> = BTreeMap::new();
    for r in evaluator.rows(&sql).await? {
        let key = (
            format!("{}/{}", text(&r, "defence"), text(&r, "rule")),
            text(&r, "rule_version"),
            text(&r, "mode") == "shadow",
        );
        by_rule.entry(key).or_default().push(r);
    }
    let overlaps = evaluator
        .rows(&format!(
            "SELECT rule, other_rule, CAST(sum(clients) AS BIGINT) AS client_days FROM rule_overlaps WHERE day >= {} AND day < {} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
            time_literal(span.from_us),
            time_literal(span.to_us)
        ))
        .await?;
    Ok(by_rule.into_iter().map(|(key, rows)| rule(key, &rows, span, &overlaps)).collect())
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
pub(crate) fn judged(rows: &[&Row]) -> (Tally, Result<Estimate, &'static str>, bool) {
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

fn flat(r: &Rule) -> Result<Row> {
    let Value::Object(mut all) = serde_json::to_value(r)? else { return Ok(Row::new()) };
    for nested in ["overlaps", "first_week", "last_week"] {
        all.remove(nested);
    }
    if let Some(Value::Object(advice)) = all.remove("advice") {
        all.extend(advice.into_iter().map(|(k, v)| (format!("advice_{k}"), v)));
    }
    Ok(all)
}

fn share(value: Option<f64>, low: Option<f64>, high: Option<f64>, reason: Option<&str>) -> String {
    match (value, low, high) {
        (Some(v), Some(l), Some(h)) => format!("{:.0} % [{:.0}, {:.0}]", v * 100.0, l * 100.0, h * 100.0),
        _ => format!("unknown: {}", reason.unwrap_or("no reason given")),
    }
}

fn lines(r: &Rule, full: bool) -> Vec<String> {
    let name = format!("{} v{}", r.rule, r.rule_version);
    let mut out = vec![
        format!(
            "\n{name:40} {} ({})   {:.0} hits on {} days, {:.0} stopped",
            r.action, r.mode, r.hits, r.days, r.stopped
        ),
        format!(
            "  right     {}   by {}",
            share(r.precision, r.precision_low, r.precision_high, r.reason),
            r.basis
        ),
        format!(
            "  meets     {}   of the attack requests on its routes",
            share(r.recall, r.recall_low, r.recall_high, r.recall_reason)
        ),
        // Whoever nothing tells about may be a member too.
        format!(
            "  members   {}{:.0} requests stopped, {:.0} client days",
            if r.unclear_hits > 0.0 { "at least " } else { "" },
            r.good_stopped,
            r.good_client_days
        ),
    ];
    let change = |v: Option<f64>, what: &str| v.map(|v| format!("{v:+.1} {what} a day"));
    let effect: Vec<String> = [
        change(r.advice.attack_passed_per_day, "attack requests passed"),
        change(r.advice.good_stopped_per_day, "member requests stopped"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let effect = if effect.is_empty() { String::new() } else { format!(" ({})", effect.join(", ")) };
    out.push(format!("  advice    {}: {}{effect}", r.advice.action.name(), r.advice.why));
    if let (Some(a), Some(b)) = (&r.first_week, &r.last_week) {
        out.push(format!(
            "  then/now  {:.0} right hits a day in its first week, {:.0} in the last; right {} then, {} now",
            a.right_hits_per_day,
            b.right_hits_per_day,
            share(a.precision, a.precision_low, a.precision_high, Some("too little")),
            share(b.precision, b.precision_low, b.precision_high, Some("too little"))
        ));
    }
    if full {
        out.push(format!(
            "  hits      {:.0} right, {:.0} wrong, {:.0} unclear; {:.0} right ones met no other rule; first {}, last {}",
            r.right_hits, r.wrong_hits, r.unclear_hits, r.right_alone, r.first_day, r.last_day
        ));
        for o in r.overlaps.iter().take(10) {
            let other = if text(o, "rule") == r.rule { text(o, "other_rule") } else { text(o, "rule") };
            out.push(format!(
                "  beside    {other} met the same client on {:.0} client days",
                number(o, "client_days")
            ));
        }
    }
    out
}

pub(crate) fn text(row: &Row, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Row, key: &str) -> f64 {
    row.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}
