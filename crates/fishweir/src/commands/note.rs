//! `fishweir note`

use anyhow::{Context as _, Result, bail};
use fishweir_events::parse_time;

use crate::cli::{NoteArgs, NoteCommand};
use crate::commands::ingest::ingest;
use crate::commands::report::evaluator;
use crate::output::say;
use crate::project::Project;

pub(crate) async fn run(project: &Project, command: &NoteCommand, quiet: bool) -> Result<u8> {
    match command {
        NoteCommand::Add(args) => add(project, args, quiet).await,
        NoteCommand::List { format } => {
            let sql = "SELECT time, until, kind, title, text, actor, confidence FROM notes ORDER BY time";
            let rows = evaluator(project).await?.rows(sql).await?;
            crate::output::print_rows(&rows, *format)?;
            Ok(0)
        }
    }
}

// A note is kept as a file of the project and taken in like any other event, so that it counts once
// however often that is tried.
async fn add(project: &Project, args: &NoteArgs, quiet: bool) -> Result<u8> {
    if !(0.0..=1.0).contains(&args.confidence) {
        bail!("--confidence is {}, allowed is 0 to 1", args.confidence);
    }
    let time_us = match &args.time {
        Some(t) => parse_time(t).context("--time")?,
        None => project.now_us,
    };
    let until_us = args.until.as_deref().map(|t| parse_time(t).context("--until")).transpose()?;
    if until_us.is_some_and(|u| u < time_us) {
        bail!("--until lies before --time");
    }
    let stamp = |us: i64| chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().to_rfc3339();
    let mut line = serde_json::json!({
        "time": stamp(time_us),
        "until": until_us.map(stamp),
        "kind": args.kind,
        "title": args.title,
        "text": args.text,
        "actor": args.actor,
        "confidence": args.confidence,
    });
    if let Some(scope) = scope(args)? {
        line["scope"] = scope.into();
    }
    let line = line.to_string();
    known_metrics(project, args)?;
    let folder = project.root.join("notes");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let name = format!("{}.ndjson", &blake3::hash(line.as_bytes()).to_hex()[..16]);
    let path = folder.join(name);
    std::fs::write(&path, format!("{line}\n")).with_context(|| path.display().to_string())?;
    let summary = ingest(project, "fishweir", &[path.display().to_string()], false, quiet).await?;
    if summary.failed_files > 0 || summary.rejected > 0 {
        bail!("the note was not accepted: {:?}", summary.reasons);
    }
    say(if summary.accepted > 0 { "noted" } else { "was noted before" })?;
    Ok(0)
}

// What an intervention is followed on; null leaves it to what managers and executives read.
fn scope(args: &NoteArgs) -> Result<Option<String>> {
    if args.metric.is_empty() && args.control.is_none() {
        return Ok(None);
    }
    Ok(Some(serde_json::to_string(&serde_json::json!({"metrics": args.metric, "control": args.control}))?))
}

fn known_metrics(project: &Project, args: &NoteArgs) -> Result<()> {
    let all = project.metrics()?;
    for name in args.metric.iter().chain(&args.control) {
        if !all.iter().any(|m| &m.name == name) {
            bail!("no metric is called `{name}`\nhint: `fishweir metrics` lists them");
        }
    }
    Ok(())
}
