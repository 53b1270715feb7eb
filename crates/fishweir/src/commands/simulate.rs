//! `fishweir simulate`

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fishweir_events::{Grain, parse_time};
use fishweir_sim::{EventFiles, Scenario, SimulateOptions, Summary, live, simulate, simulate_counts};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{EventFormat, Fidelity, SimulateArgs};
use crate::output::say;

pub(crate) fn run(args: &SimulateArgs, quiet: bool) -> Result<u8> {
    if args.list {
        for (name, text) in Scenario::shipped() {
            say(&format!("{name:5} {}", Scenario::parse(name, text)?.description))?;
        }
        return Ok(0);
    }
    let (file, text) = source(&args.scenario)?;
    if args.print {
        say(text.trim_end())?;
        return Ok(0);
    }
    let mut scenario = Scenario::parse(&file, &text)?;
    scenario.days = args.days.unwrap_or(scenario.days);
    scenario.accounts = args.accounts.unwrap_or(scenario.accounts).max(1);
    let options = SimulateOptions {
        scenario,
        seed: args.seed,
        start_us: Grain::Day.floor(parse_time(&args.start)?),
        files: match args.events {
            EventFormat::Parquet => EventFiles::Parquet,
            EventFormat::Ndjson => EventFiles::Ndjson,
        },
        threads: args.threads,
        shards: args.shards,
    };
    if let Some(speed) = args.live {
        return paced(&options, speed);
    }
    let Some(out) = &args.out else { return Ok(2) };
    let begun = Instant::now();
    let made = match args.fidelity {
        Fidelity::Full => write(&options, out, quiet)?,
        Fidelity::Counts => with_bar(&options, quiet, |hear| simulate_counts(&options, out, hear))?,
    };
    let rows: u64 = made.manifest.rows.values().sum();
    eprintln!(
        "wrote {rows} events of {} days below `{}` in {:.0} s: {} attacks, {} benign happenings (truth/)",
        options.scenario.days,
        out.display(),
        begun.elapsed().as_secs_f64(),
        made.campaigns.len(),
        made.happenings.len()
    );
    Ok(0)
}

// Name and text of a shipped scenario or of a file.
fn source(name: &str) -> Result<(String, String)> {
    if let Some((n, text)) = Scenario::shipped().iter().find(|(n, _)| *n == name.to_lowercase()) {
        return Ok((format!("{n}.toml"), (*text).to_owned()));
    }
    if !Path::new(name).exists() {
        // Names the scenarios that exist.
        Scenario::named(name)?;
    }
    let text = std::fs::read_to_string(name).with_context(|| format!("scenario `{name}`"))?;
    Ok((name.to_owned(), text))
}

pub(crate) fn write(options: &SimulateOptions, out: &Path, quiet: bool) -> Result<Summary> {
    with_bar(options, quiet, |hear| simulate(options, out, hear))
}

fn with_bar(
    options: &SimulateOptions,
    quiet: bool,
    f: impl FnOnce(Box<dyn FnMut(u32) + Send>) -> Result<Summary, fishweir_sim::SimulateError>,
) -> Result<Summary> {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(u64::from(options.scenario.days)) };
    bar.set_style(ProgressStyle::with_template("simulating {wide_bar} day {pos}/{len} eta {eta}")?);
    let heard = bar.clone();
    let made = f(Box::new(move |day| heard.set_position(u64::from(day))))?;
    bar.finish_and_clear();
    Ok(made)
}

// Events on standard output when their time has come, at a multiple of real speed.
fn paced(options: &SimulateOptions, speed: f64) -> Result<u8> {
    anyhow::ensure!(speed > 0.0, "--live must be above 0; 1 is real time");
    let begun = Instant::now();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    live(options, |time_us, line| {
        let due = Duration::from_secs_f64(((time_us - options.start_us).max(0)) as f64 / 1e6 / speed);
        let early = due.saturating_sub(begun.elapsed());
        if early > Duration::from_millis(2) {
            if out.flush().is_err() {
                return false;
            }
            std::thread::sleep(early);
        }
        out.write_all(line).is_ok()
    })?;
    out.flush().ok();
    Ok(0)
}
