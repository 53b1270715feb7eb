//! `fishweir run` and `fishweir backfill`

use anyhow::{Context as _, Result, bail};
use fishweir_pipeline::{RunOptions, RunSummary};

use crate::cli::{Format, RunArgs};
use crate::output::{print_json, say};
use crate::progress::RunBars;
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &RunArgs, quiet: bool) -> Result<u8> {
    let until_us = match &args.until {
        Some(text) => fishweir_events::parse_time(text).context("--until")?,
        None => project.now_us,
    };
    let summary = compute(project, until_us, Vec::new(), quiet || args.format == Format::Json).await?;
    match args.format {
        Format::Json => print_json(&summary)?,
        Format::Text | Format::Csv => print_text(&summary)?,
    }
    Ok(0)
}

pub(crate) async fn backfill(project: &Project, model: &str, quiet: bool) -> Result<u8> {
    let runner = project.runner()?;
    if !runner.models().iter().any(|m| m.name == model) {
        let known: Vec<&str> = runner.models().iter().map(|m| m.name.as_str()).collect();
        bail!("no model is called `{model}`\nhint: models are {}", known.join(", "));
    }
    let summary = compute(project, project.now_us, vec![model.to_owned()], quiet).await?;
    print_text(&summary)?;
    Ok(0)
}

pub(crate) async fn compute(
    project: &Project,
    until_us: i64,
    only: Vec<String>,
    quiet: bool,
) -> Result<RunSummary> {
    let _lock = project.lock()?;
    project.ensure_tables().await?;
    let options = RunOptions {
        until_us,
        now_us: project.now_us,
        parallel: project.config.run.parallel,
        batch_rows: project.config.run.batch_rows,
        only,
    };
    Ok(project.runner()?.run(&options, &RunBars::new(quiet)).await?)
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
