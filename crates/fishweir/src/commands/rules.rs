//! `fishweir rules`

use anyhow::{Result, bail};
use fishweir_labels::{Rule, rule_book, rule_book_sql};
use fishweir_metrics::{DAY_US, Evaluator, Grain, Interval, parse_time};
use serde_json::{Map, Value};

use crate::cli::{Format, RulesArgs};
use crate::commands::report::evaluator;
use crate::output::{print_json, print_rows, say};
use crate::project::Project;

const PERIOD_DAYS: i64 = 28;

pub(crate) type Row = Map<String, Value>;

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

async fn load(evaluator: &Evaluator, span: Interval) -> Result<Vec<Rule>> {
    let [outcomes, overlaps] = rule_book_sql(span);
    Ok(rule_book(evaluator.rows(&outcomes).await?, &evaluator.rows(&overlaps).await?, span))
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
