//! `fishweir demo`: the main job from end to end on simulated events.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use fishweir_events::{DAY_US, parse_time};
use fishweir_report::{html, markdown};
use fishweir_server::Settings;
use fishweir_sim::{EventFiles, Scenario, SimulateOptions};

use crate::cli::{DemoArgs, Reader};
use crate::commands::{ingest, report, retention, run as runs, serve, simulate};
use crate::output::say;
use crate::project::Project;

const START: &str = "2026-10-01";
const STREAMS: [&str; 9] = [
    "requests",
    "logins",
    "playbacks",
    "account_changes",
    "contacts",
    "leaks",
    "verdicts",
    "health",
    "notes",
];

pub(crate) async fn run(args: &DemoArgs, quiet: bool) -> Result<u8> {
    let begun = Instant::now();
    let root = &args.keep;
    clear(root)?;
    Project::init(root)?;
    let start_us = parse_time(START)?;
    let now_us = start_us + i64::from(args.days) * DAY_US;
    let scenario = Scenario { days: args.days, ..Scenario::named("demo")? };
    let accounts = scenario.accounts;
    let options = SimulateOptions {
        scenario,
        seed: args.seed,
        start_us,
        files: EventFiles::Parquet,
        threads: 0,
        shards: 1,
    };
    eprintln!("1/5 simulating {} days of a streaming service with {accounts} members", args.days);
    let truth = simulate::write(&options, root, quiet)?;
    let project = Project::open(root, now_us)?;
    let mut rows = 0;
    eprintln!("2/5 ingesting");
    for stream in STREAMS {
        // In two weeks of a small service nobody may have called, leaked or judged.
        if !root.join("events").join(stream).is_dir() {
            continue;
        }
        let pattern = root.join(format!("events/{stream}/*/*.parquet")).to_string_lossy().into_owned();
        let summary = ingest::ingest(&project, "fishweir", &[pattern], false, quiet).await?;
        rows += summary.accepted;
    }
    eprintln!("    {rows} events accepted");
    eprintln!("3/5 sealing, rolling up, detecting, measuring");
    let summary = runs::compute(&project, now_us, Vec::new(), None, quiet).await?;
    eprintln!("    {} hours sealed", summary.hours_sealed);
    eprintln!(
        "4/5 deleting raw rows that are certified and older than {} days",
        project.config.retention.raw_days
    );
    let (_, applied) = retention::work(&project, true).await?;
    if let Some(a) = applied {
        eprintln!("    {} raw rows deleted; the metrics below do not need them", a.raw_rows);
    }
    eprintln!("5/5 reporting");
    let end = chrono::DateTime::from_timestamp_micros(now_us).unwrap_or_default().format("%Y-%m-%d");
    let from = if args.days > 8 { start_us + i64::from(args.days - 7) * DAY_US } else { start_us };
    let from = chrono::DateTime::from_timestamp_micros(from).unwrap_or_default().format("%Y-%m-%d");
    let period = format!("{from}..{end}");
    for (reader, name) in
        [(Reader::Executive, "executive"), (Reader::Manager, "manager"), (Reader::Engineer, "engineer")]
    {
        let made = report::make(&project, reader, Some(&period)).await?;
        let path = root.join(format!("report-{name}.html"));
        fs::write(&path, html(&made)).with_context(|| format!("`{}`", path.display()))?;
        if reader == Reader::Executive {
            say(markdown(&made).trim_end())?;
        }
    }
    eprintln!(
        "\ndone in {:.0} s. The simulator made {} attacks and {} harmless surges ({}/truth).",
        begun.elapsed().as_secs_f64(),
        truth.campaigns.len(),
        truth.happenings.len(),
        root.display()
    );
    eprintln!(
        "pages: {0}/report-executive.html, {0}/report-manager.html, {0}/report-engineer.html",
        root.display()
    );
    eprintln!(
        "look further: fishweir --project {0} incidents --all; … campaigns; … takeovers",
        root.display()
    );
    if !args.no_serve {
        let site = serve::ProjectSite::open(root, Some(now_us))?;
        // Nobody wants to lose the demo to a port in use.
        let free = std::net::TcpListener::bind(("127.0.0.1", args.port)).is_ok();
        let settings = serve::settings(&site, if free { args.port } else { 0 }, None)?;
        // The world ended: nothing is due any more.
        serve::serve(site, Settings { run_every_s: 0, ..settings }, quiet).await?;
    }
    Ok(0)
}

// The demo owns its folder: what an earlier demo left is removed, anything else is not touched.
fn clear(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    let ours = root.join("truth/manifest.json").exists() || fs::read_dir(root)?.next().is_none();
    anyhow::ensure!(
        ours,
        "`{}` exists and was not made by a demo\nhint: give another folder with --keep",
        root.display()
    );
    for part in ["lake", "events", "truth", "spool"] {
        let path = root.join(part);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("`{}`", path.display()))?;
        }
    }
    Ok(())
}
