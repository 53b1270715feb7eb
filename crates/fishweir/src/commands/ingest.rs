//! `fishweir ingest`

use std::io::Read as _;

use anyhow::{Result, bail};
use fishweir_ingest::{FileStatus, Ingest, Summary};

use crate::cli::{Format, IngestArgs};
use crate::output::{FAILED, PARTIAL, print_json, say};
use crate::progress::IngestBars;
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &IngestArgs, quiet: bool) -> Result<u8> {
    let name = match &args.source {
        Some(name) => name.clone(),
        None => guess(&args.files)?,
    };
    let summary =
        ingest(project, &name, &args.files, args.as_new, quiet || args.format == Format::Json).await?;
    match args.format {
        Format::Json => print_json(&summary)?,
        Format::Text | Format::Csv => print_text(&summary)?,
    }
    let failed = summary.failed_files;
    Ok(match failed {
        0 => 0,
        n if n == summary.files.len() && summary.rows == 0 => FAILED,
        _ => PARTIAL,
    })
}

pub(crate) async fn ingest(
    project: &Project,
    source: &str,
    files: &[String],
    as_new: bool,
    quiet: bool,
) -> Result<Summary> {
    project.ensure_tables().await?;
    let config = project.ingest_config(project.source(source)?, as_new)?;
    let now_us = project.now_us;
    let ingest = Ingest::new(
        project.lake()?,
        config,
        project.pseudonyms()?,
        project.routes()?,
        project.networks()?,
        Box::new(move || now_us),
    );
    let bars = IngestBars::new(quiet);
    Ok(ingest.run(files, &bars).await?)
}

fn print_text(s: &Summary) -> Result<()> {
    for f in &s.files {
        let note = match f.status {
            FileStatus::Unchanged => " (nothing new)",
            FileStatus::Empty => " (empty)",
            FileStatus::Failed => " (failed)",
            FileStatus::Read => "",
        };
        say(&format!(
            "{}: {} rows, {} accepted, {} duplicates, {} rejected{note}",
            f.file, f.rows, f.accepted, f.duplicates, f.rejected
        ))?;
    }
    if s.files.len() > 1 {
        say(&format!(
            "total: {} rows = {} accepted + {} duplicates + {} rejected",
            s.rows, s.accepted, s.duplicates, s.rejected
        ))?;
    }
    for (reason, n) in &s.reasons {
        say(&format!("  {n} × {reason}"))?;
    }
    Ok(())
}

// The first bytes tell: a brace or `PAR1` is our own format, a bracketed date an access log.
fn guess(files: &[String]) -> Result<String> {
    let first = files.iter().find(|f| f.as_str() != "-" && std::path::Path::new(f).is_file());
    let Some(first) = first else {
        bail!("cannot guess the source\nhint: pass --source; `fishweir sources` lists them");
    };
    let mut head = Vec::new();
    std::fs::File::open(first)?.take(4096).read_to_end(&mut head)?;
    if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        bail!("`{first}` is compressed, so its source cannot be guessed\nhint: pass --source");
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    if head.starts_with(b"PAR1") || line.trim_start().starts_with('{') {
        Ok("fishweir".to_owned())
    } else if line.contains(" [") && line.contains("] \"") {
        Ok("access-log".to_owned())
    } else {
        bail!("cannot guess the source of `{first}`\nhint: pass --source; `fishweir sources` lists them")
    }
}
