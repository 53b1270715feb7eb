//! `fishweir run` and `fishweir backfill`

use anyhow::{Context as _, Result, bail};
use fishweir_pipeline::{Interval, RunOptions, RunSummary};

use crate::cli::{BackfillArgs, Format, RunArgs};
use crate::output::{print_json, say};
use crate::progress::RunBars;
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &RunArgs, quiet: bool) -> Result<u8> {
    let until_us = match &args.until {
        Some(text) => fishweir_events::parse_time(text).context("--until")?,
        None => project.now_us,
    };
    let bars = RunBars::new(quiet || args.format == Format::Json);
    let summary = with_bars(project, until_us, Vec::new(), None, &bars).await?;
    if args.timings {
        for (model, took) in bars.timings() {
            eprintln!("{model:24} {:8.2} s", took.as_secs_f64());
        }
    }
    match args.format {
        Format::Json => print_json(&summary)?,
        Format::Text | Format::Csv => print_text(&summary)?,
    }
    Ok(0)
}

pub(crate) async fn backfill(project: &Project, args: &BackfillArgs, quiet: bool) -> Result<u8> {
    let runner = project.runner()?;
    let is_metric = project.metrics()?.iter().any(|m| m.name == args.name);
    let model = if is_metric { "metric_values" } else { args.name.as_str() };
    if !runner.models().iter().any(|m| m.name == model) {
        let known: Vec<&str> = runner.models().iter().map(|m| m.name.as_str()).collect();
        bail!(
            "no model or metric is called `{model}`\nhint: models are {}; `fishweir metrics` lists the metrics",
            known.join(", ")
        );
    }
    let time = |text: &Option<String>, what: &'static str| match text {
        Some(t) => fishweir_events::parse_time(t).context(what).map(Some),
        None => Ok(None),
    };
    let again = match (time(&args.from, "--from")?, time(&args.to, "--to")?) {
        (None, None) => None,
        (Some(from), to) => Some(Interval::new(from, to.unwrap_or(project.now_us))),
        (None, Some(_)) => bail!("--to needs --from"),
    };
    if again.is_some_and(Interval::is_empty) {
        bail!("--from must lie before --to");
    }
    let summary = compute(project, project.now_us, vec![model.to_owned()], again, quiet).await?;
    print_text(&summary)?;
    Ok(0)
}

pub(crate) async fn compute(
    project: &Project,
    until_us: i64,
    only: Vec<String>,
    again: Option<Interval>,
    quiet: bool,
) -> Result<RunSummary> {
    with_bars(project, until_us, only, again, &RunBars::new(quiet)).await
}

async fn with_bars(
    project: &Project,
    until_us: i64,
    only: Vec<String>,
    again: Option<Interval>,
    bars: &RunBars,
) -> Result<RunSummary> {
    let _lock = project.lock()?;
    project.ensure_tables().await?;
    let options = RunOptions {
        until_us,
        now_us: project.now_us,
        parallel: project.config.run.parallel,
        batch_rows: project.config.run.batch_rows,
        only,
        again,
    };
    let runner = project.runner()?;
    let mut summary = runner.run(&options, bars).await?;
    let changes = fishweir_metrics::reconcile(&project.catalog()?, &project.metrics()?).await?;
    summary.findings += runner.record(&changes, project.now_us).await?;
    Ok(summary)
}

fn print_text(s: &RunSummary) -> Result<()> {
    for m in s.models.iter().filter(|m| m.steps > 0 || m.expired > 0) {
        let gone = match m.expired {
            0 => String::new(),
            n => format!(", {n} intervals left as they were (their input is deleted)"),
        };
        say(&format!("{:24} {} steps, {} rows{gone}", m.model, m.steps, m.rows))?;
    }
    say(&format!("{} hours sealed, {} late rows, {} new findings", s.hours_sealed, s.late_rows, s.findings))
}
