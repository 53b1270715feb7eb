//! `fishweir impact`

use anyhow::{Context as _, Result, bail};
use fishweir_detect::{Effect, Impact, discoveries};
use fishweir_metrics::{DAY_US, Evaluator, Grain, Interval, Question, parse_time, text_literal};
use serde_json::{Value, json};

use crate::cli::{Format, ImpactArgs};
use crate::commands::report::evaluator;
use crate::output::{print_json, say};
use crate::project::Project;

const RATE: f64 = 0.05;

struct Study {
    event_us: i64,
    title: Option<String>,
    beside: Vec<String>,
    result: std::result::Result<Impact, String>,
}

pub(crate) async fn run(project: &Project, args: &ImpactArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    for name in std::iter::once(&args.metric).chain(&args.control) {
        let Some(metric) = evaluator.metrics().get(name) else {
            bail!("no metric is called `{name}`\nhint: `fishweir metrics` lists them");
        };
        if !metric.grains.contains(&Grain::Day) {
            bail!("`{name}` has no daily values");
        }
    }
    let mut studies = Vec::new();
    for (event_us, title) in events(&evaluator, args).await? {
        studies.push(study(&evaluator, args, event_us, title).await?);
    }
    // Several events are several chances to be wrong.
    let p: Vec<f64> =
        studies.iter().map(|s| s.result.as_ref().map_or(f64::NAN, |i| i.regression.p)).collect();
    let kept = discoveries(&p, p.len(), RATE);
    let verdicts: Vec<&'static str> = studies.iter().zip(kept).map(|(s, k)| verdict(s, k)).collect();
    if args.format == Format::Json {
        let all: Vec<Value> = studies.iter().zip(&verdicts).map(|(s, v)| as_json(args, s, v)).collect();
        print_json(&all)?;
        return Ok(0);
    }
    for (s, v) in studies.iter().zip(&verdicts) {
        print(args, s, v)?;
    }
    Ok(0)
}

async fn events(evaluator: &Evaluator, args: &ImpactArgs) -> Result<Vec<(i64, Option<String>)>> {
    let mut out = Vec::new();
    for text in &args.event {
        out.push((parse_time(text).context("--event")?, None));
    }
    if let Some(kind) = &args.notes {
        let kind = text_literal(kind);
        let sql =
            format!("SELECT CAST(time AS BIGINT) AS us, title FROM notes WHERE kind = {kind} ORDER BY 1");
        for r in evaluator.rows(&sql).await? {
            if let Some(us) = r.get("us").and_then(Value::as_i64) {
                out.push((us, r.get("title").and_then(Value::as_str).map(str::to_owned)));
            }
        }
        if out.is_empty() {
            bail!("there is no note of kind `{kind}`\nhint: `fishweir note list` shows them");
        }
    }
    Ok(out)
}

async fn study(
    evaluator: &Evaluator,
    args: &ImpactArgs,
    event_us: i64,
    title: Option<String>,
) -> Result<Study> {
    let part = args.by.as_deref().zip(args.of.as_deref());
    let q = Question {
        metric: &args.metric,
        part,
        control: args.control.as_deref(),
        event_us,
        before: args.before,
        after: args.after,
    };
    let result = fishweir_metrics::study(evaluator, &q).await?;
    let sql = format!(
        "SELECT kind, title, time FROM notes WHERE time >= {} AND time < {} AND CAST(time AS BIGINT) <> {event_us} ORDER BY time",
        fishweir_metrics::time_literal(event_us - i64::from(args.after) * DAY_US),
        fishweir_metrics::time_literal(q.span().to_us),
    );
    let text = |r: &serde_json::Map<String, Value>, k: &str| {
        r.get(k).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let line = |r: &serde_json::Map<String, Value>| {
        format!("{} {}: {}", text(r, "time"), text(r, "kind"), text(r, "title"))
    };
    let mut beside: Vec<String> = evaluator.rows(&sql).await?.iter().map(line).collect();
    // A new rule or detector looks exactly like a rise.
    let near = Interval::new(event_us - i64::from(args.after) * DAY_US, q.span().to_us);
    beside.extend(evaluator.breaks(&args.metric, near));
    Ok(Study { event_us, title, beside, result })
}

fn verdict(s: &Study, kept: bool) -> &'static str {
    match &s.result {
        Err(_) => "unknown",
        Ok(i) if kept && i.changed() && i.regression.value > 0.0 => "rise",
        Ok(i) if kept && i.changed() => "fall",
        Ok(_) => "no evidence of a change",
    }
}

fn as_json(args: &ImpactArgs, s: &Study, verdict: &str) -> Value {
    json!({
        "metric": args.metric,
        "part": args.of,
        "control": args.control,
        "event": stamp(s.event_us),
        "title": s.title,
        "verdict": verdict,
        "reason": s.result.as_ref().err(),
        "impact": s.result.as_ref().ok(),
        "beside": s.beside,
    })
}

fn stamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%dT%H:%MZ").to_string()
}

fn percent(x: f64) -> String {
    format!("{:+.0} %", x * 100.0)
}

fn shown(e: Effect) -> String {
    format!("{} [{}, {}], p = {:.3}", percent(e.value), percent(e.low), percent(e.high), e.p)
}

fn print(args: &ImpactArgs, s: &Study, verdict: &str) -> Result<()> {
    let what = s.title.as_ref().map_or(String::new(), |t| format!(" ({t})"));
    let part = args.of.as_ref().map_or(String::new(), |o| format!(" of {o}"));
    say(&format!("{}{part} after {}{what}: {verdict}", args.metric, stamp(s.event_us)))?;
    let i = match &s.result {
        Ok(i) => i,
        Err(reason) => return say(&format!("  {reason}\n")),
    };
    let chance = |p: Option<f64>| p.map_or("too few to compare with".to_owned(), |p| format!("p = {p:.3}"));
    let (yes, of) = i.agreement();
    say(&format!(
        "  followed by         {}   (regression, {} days before, {} after)",
        shown(i.regression),
        i.n_before,
        i.n_after
    ))?;
    say(&format!("  counterfactual      {}", shown(i.structural)))?;
    say(&format!("  quiet times as big  {}", chance(i.placebo_time_p)))?;
    if args.of.is_some() {
        say(&format!("  others as big       {}", chance(i.placebo_series_p)))?;
    }
    say(&format!("  methods that agree  {yes} of {of}"))?;
    say(&format!("  would have seen     {} or more", percent(i.minimum_detectable)))?;
    match &args.control {
        Some(c) => say(&format!("  against             {c}"))?,
        None => say("  against             nothing: without --control one chance finding in ten looks real")?,
    }
    for b in &s.beside {
        say(&format!("  also                {b}"))?;
    }
    say("")
}
