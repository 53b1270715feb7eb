//! `fishweir compare`

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use fishweir_detect::{Difference, difference};
use fishweir_metrics::{Buckets, Evaluator, Grain, Interval, MetricValue, daily, parse_period};
use serde::Serialize;

use crate::cli::{CompareArgs, Format};
use crate::commands::report::evaluator;
use crate::output::{print_json, say};
use crate::project::Project;

#[derive(Debug, Serialize)]
struct Comparison {
    metric: String,
    unit: String,
    verdict: &'static str,
    period: Side,
    with: Side,
    /// Of the mean day.
    difference: Option<Difference>,
    reason: Option<String>,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Side {
    from: String,
    to: String,
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    coverage: f64,
    reason: Option<String>,
    breaks: Vec<String>,
}

/// A member of a dimension, in both periods.
#[derive(Debug, Serialize)]
struct Part {
    label: String,
    value: Option<f64>,
    other: Option<f64>,
}

impl Part {
    // What it adds to the change; unknown members come last.
    fn size(&self) -> f64 {
        self.value.zip(self.other).map_or(-1.0, |(a, b)| (a - b).abs())
    }
}

pub(crate) async fn run(project: &Project, args: &CompareArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    let Some(metric) = evaluator.metrics().get(&args.name) else {
        bail!("no metric is called `{}`\nhint: `fishweir metrics` lists them", args.name);
    };
    let unit = metric.unit.clone();
    let by_day = metric.grains.contains(&Grain::Day);
    let (a, b) = (parse_period(&args.period)?.0, parse_period(&args.with)?.0);
    if a.overlaps(b) {
        bail!(
            "the periods overlap\nhint: compare a week with the week before, a month with the month before"
        );
    }
    let (whole, other) = (evaluator.value(&args.name, a).await?, evaluator.value(&args.name, b).await?);
    let result = if by_day {
        difference(&daily(&evaluator, &args.name, a).await?, &daily(&evaluator, &args.name, b).await?)
    } else {
        Err("the metric has no daily values, so nothing says how much it varies by itself".to_owned())
    };
    let parts = match &args.by {
        Some(by) => parts(&evaluator, &args.name, by, a, b).await?,
        None => Vec::new(),
    };
    let out = Comparison {
        metric: args.name.clone(),
        unit,
        verdict: verdict(&result),
        period: side(a, whole),
        with: side(b, other),
        reason: result.as_ref().err().cloned(),
        difference: result.ok(),
        parts,
    };
    match args.format {
        Format::Json => print_json(&out)?,
        Format::Text | Format::Csv => print(&out, args.by.as_deref())?,
    }
    Ok(0)
}

fn verdict(result: &Result<Difference, String>) -> &'static str {
    match result {
        Err(_) => "unknown",
        Ok(d) if !d.is_clear() => "no clear difference",
        Ok(d) if d.change > 0.0 => "higher",
        Ok(_) => "lower",
    }
}

fn side(period: Interval, v: MetricValue) -> Side {
    let stamp = |us: i64| {
        chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%d").to_string()
    };
    Side {
        from: stamp(period.from_us),
        to: stamp(period.to_us),
        value: v.value,
        low: v.low,
        high: v.high,
        coverage: v.coverage,
        reason: v.reason,
        breaks: v.breaks,
    }
}

async fn parts(evaluator: &Evaluator, name: &str, by: &str, a: Interval, b: Interval) -> Result<Vec<Part>> {
    let load = async |period| -> Result<BTreeMap<String, Option<f64>>> {
        let values = evaluator.values(name, Buckets::Whole(period), Some(by)).await?;
        Ok(values.into_iter().filter_map(|v| Some((v.label?, v.value))).collect())
    };
    let (one, two) = (load(a).await?, load(b).await?);
    let labels: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let mut out: Vec<Part> = labels
        .into_iter()
        .map(|l| Part {
            label: l.clone(),
            value: one.get(l).copied().flatten(),
            other: two.get(l).copied().flatten(),
        })
        .collect();
    out.sort_by(|x, y| y.size().total_cmp(&x.size()));
    Ok(out)
}

fn print(c: &Comparison, by: Option<&str>) -> Result<()> {
    let show = |v: Option<f64>| v.map_or("unknown".to_owned(), |v| format!("{v:.3}"));
    say(&format!("{} ({}): {}", c.metric, c.unit, c.verdict))?;
    for (name, s) in [("period", &c.period), ("with", &c.with)] {
        let reason = s.reason.as_ref().map_or(String::new(), |r| format!("   {r}"));
        say(&format!(
            "  {name:7} {} to {}   {} [{}, {}]   coverage {:.0} %{reason}",
            s.from,
            s.to,
            show(s.value),
            show(s.low),
            show(s.high),
            s.coverage * 100.0
        ))?;
        for b in &s.breaks {
            say(&format!("          ^ {b}"))?;
        }
    }
    match (&c.difference, &c.reason) {
        (Some(d), _) => say(&format!(
            "  a day   {:.3} against {:.3}: {:+.1} % [{:+.1}, {:+.1}] by how much days vary ({} and {} days)",
            d.mean,
            d.other,
            d.change * 100.0,
            d.low * 100.0,
            d.high * 100.0,
            d.days,
            d.other_days
        ))?,
        (None, reason) => {
            say(&format!("  a day   unknown: {}", reason.as_deref().unwrap_or("no reason given")))?
        }
    }
    if let Some(by) = by {
        say(&format!("  by {by}, the largest change first"))?;
        for p in c.parts.iter().take(20) {
            let change = match p.value.zip(p.other) {
                Some((a, b)) => format!("{:+.3}", a - b),
                None => "only in one of them".to_owned(),
            };
            say(&format!("    {:32} {:>14} {:>14}   {change}", p.label, show(p.value), show(p.other)))?;
        }
    }
    Ok(())
}
