//! `fishweir retention`

use anyhow::Result;
use fishweir_events::Stream;
use fishweir_pipeline::retention::{Applied, Plan, RetentionOptions, apply, plan};

use crate::cli::{Format, RetentionArgs};
use crate::output::{print_json, say};
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &RetentionArgs) -> Result<u8> {
    let (plan, applied) = work(project, args.apply).await?;
    match args.format {
        Format::Json => print_json(&serde_json::json!({ "plan": plan.verdicts, "applied": applied }))?,
        Format::Text | Format::Csv => {
            for v in &plan.verdicts {
                say(&format!(
                    "{:6} {:16} {}  {} rows: {}",
                    v.verdict, v.table, v.interval, v.rows, v.reason
                ))?;
            }
            match applied {
                None if plan.verdicts.iter().any(|v| v.verdict != "keep") => {
                    eprintln!("nothing was deleted; `fishweir retention --apply` deletes");
                }
                None => {}
                Some(a) => say(&format!(
                    "{} raw rows and {} rollup rows deleted, {} rows thinned, {} MB of files removed",
                    a.raw_rows,
                    a.rollup_rows,
                    a.thinned_rows,
                    a.bytes / 1_000_000
                ))?,
            }
        }
    }
    Ok(0)
}

pub(crate) async fn work(project: &Project, apply_it: bool) -> Result<(Plan, Option<Applied>)> {
    let _lock = project.lock()?;
    let catalog = project.catalog()?;
    let runner = project.runner()?;
    let options = RetentionOptions { now_us: project.now_us, raw_days: project.config.retention.raw_days };
    let plan = plan(&catalog, runner.models(), &Stream::ALL, options).await?;
    let applied = if apply_it { Some(apply(&catalog, &plan, project.now_us).await?) } else { None };
    Ok((plan, applied))
}
