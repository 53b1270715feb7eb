//! `fishweir metric` and `fishweir metrics`

use anyhow::{Result, anyhow, bail};
use fishweir_metrics::{Buckets, Grain, Interval, MetricValue, parse_time};

use crate::cli::{Format, MetricArgs};
use crate::commands::report::evaluator;
use crate::output::{print_json, say};
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &MetricArgs) -> Result<u8> {
    let grains = [Grain::Hour, Grain::Day, Grain::Week, Grain::Month, Grain::Year];
    let Some(grain) = grains.into_iter().find(|g| g.name() == args.grain) else {
        bail!("`{}` is no grain\nhint: hour, day, week, month or year", args.grain);
    };
    let evaluator = evaluator(project).await?;
    let Some(metric) = evaluator.metrics().get(&args.name) else {
        bail!("no metric is called `{}`\nhint: `fishweir metrics` lists them", args.name);
    };
    let sealed = evaluator.sealed_span(&metric.stream);
    let from = match (&args.from, sealed) {
        (Some(text), _) => parse_time(text)?,
        (None, Some(s)) => s.from_us,
        (None, None) => return Err(anyhow!("nothing is sealed yet\nhint: name --from and --to")),
    };
    let to = match (&args.to, sealed) {
        (Some(text), _) => parse_time(text)?,
        (None, Some(s)) => s.to_us,
        (None, None) => project.now_us,
    };
    if from >= to {
        bail!("--from must lie before --to");
    }
    let values = evaluator
        .values(&args.name, Buckets::Each(grain, Interval::new(from, to)), args.by.as_deref())
        .await?;
    match args.format {
        Format::Json => print_json(&values)?,
        Format::Csv => {
            say("period_start,label,value,low,high,n,coverage,maturity,reason")?;
            for v in &values {
                say(&row(v).join(","))?;
            }
        }
        Format::Text => {
            say(&format!("{} ({})", metric.title, metric.unit))?;
            for v in &values {
                let [start, label, value, low, high, n, coverage, maturity, reason] = row(v);
                let shown = if value.is_empty() {
                    format!("unknown: {reason}")
                } else {
                    format!("{value} [{low}, {high}]")
                };
                say(&format!("{start}  {label:20} {shown}  n={n} coverage={coverage} {maturity}"))?;
                for b in &v.breaks {
                    say(&format!("            ^ {b}"))?;
                }
            }
        }
    }
    Ok(0)
}

fn row(v: &MetricValue) -> [String; 9] {
    let time = chrono::DateTime::from_timestamp_micros(v.period.from_us).unwrap_or_default();
    let number = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x}"));
    [
        time.format("%Y-%m-%dT%H:%MZ").to_string(),
        v.label.clone().unwrap_or_default(),
        number(v.value),
        number(v.low),
        number(v.high),
        format!("{:.0}", v.n),
        format!("{:.3}", v.coverage),
        v.maturity.to_owned(),
        v.reason.clone().unwrap_or_default(),
    ]
}

pub(crate) fn catalogue(project: &Project, format: Format) -> Result<u8> {
    let metrics = project.metrics()?;
    if format == Format::Json {
        print_json(&metrics)?;
        return Ok(0);
    }
    for m in &metrics {
        let readers: Vec<String> = m.audience.iter().map(|a| format!("{a:?}").to_lowercase()).collect();
        say(&format!("{:24} {:32} {}\n{:24} {}", m.name, readers.join(", "), m.title, "", m.question))?;
    }
    Ok(0)
}
