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
    scenario.memory_mib = args.memory_mib.unwrap_or(scenario.memory_mib);
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
        return paced(&options, speed, args.to.as_deref());
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

/// Where live events go.
enum Sink {
    Stdout(std::io::BufWriter<std::io::Stdout>),
    Http(Poster),
}

/// Posts batches; a batch that is refused for now is offered again.
struct Poster {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    url: String,
    seed: u64,
    number: u64,
    batch: Vec<u8>,
}

const BATCH_BYTES: usize = 1 << 20;
const TRIES_MAX: u32 = 8;

impl Poster {
    // Each batch carries a key, so that one delivered twice can be told from two.
    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.number += 1;
        let body = std::mem::take(&mut self.batch);
        let key = format!("simulate-{}-{}", self.seed, self.number);
        for turn in 0..TRIES_MAX {
            let request = self
                .client
                .post(&self.url)
                .header("content-type", "application/x-ndjson")
                .header("idempotency-key", &key)
                .body(body.clone());
            let wait = match self.runtime.block_on(request.send()) {
                Ok(r) if r.status().is_success() => return Ok(()),
                Ok(r) if r.status().is_server_error() || r.status().as_u16() == 429 => {
                    let header = r.headers().get("retry-after").and_then(|h| h.to_str().ok()?.parse().ok());
                    Duration::from_secs(header.unwrap_or(1 << turn))
                }
                Ok(r) => anyhow::bail!("`{}` refused a batch: {}", self.url, r.status()),
                Err(e) if turn + 1 == TRIES_MAX => return Err(e).with_context(|| format!("`{}`", self.url)),
                Err(_) => Duration::from_millis(200 << turn),
            };
            std::thread::sleep(wait);
        }
        anyhow::bail!("`{}` took no batch after {TRIES_MAX} tries", self.url)
    }
}

impl Sink {
    fn take(&mut self, line: &[u8]) -> Result<()> {
        match self {
            Self::Stdout(out) => Ok(out.write_all(line)?),
            Self::Http(p) => {
                p.batch.extend_from_slice(line);
                if p.batch.len() >= BATCH_BYTES { p.flush() } else { Ok(()) }
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Stdout(out) => Ok(out.flush()?),
            Self::Http(p) => p.flush(),
        }
    }
}

// Events go out when their time has come, at a multiple of real speed.
fn paced(options: &SimulateOptions, speed: f64, to: Option<&str>) -> Result<u8> {
    anyhow::ensure!(speed > 0.0, "--live must be above 0; 1 is real time");
    let begun = Instant::now();
    let mut sink = match to {
        None => Sink::Stdout(std::io::BufWriter::new(std::io::stdout())),
        Some(url) => Sink::Http(Poster {
            client: reqwest::Client::new(),
            runtime: tokio::runtime::Handle::current(),
            url: url.to_owned(),
            seed: options.seed,
            number: 0,
            batch: Vec::new(),
        }),
    };
    let mut failure = None;
    live(options, |time_us, line| {
        let due = Duration::from_secs_f64(((time_us - options.start_us).max(0)) as f64 / 1e6 / speed);
        let early = due.saturating_sub(begun.elapsed());
        let mut go_on = || -> Result<()> {
            if early > Duration::from_millis(20) {
                sink.flush()?;
                std::thread::sleep(early);
            }
            sink.take(line)
        };
        failure = go_on().err();
        failure.is_none()
    })?;
    match failure {
        // The reader has seen enough.
        Some(e) if crate::output::is_broken_pipe(&e) => Ok(0),
        Some(e) => Err(e),
        None => sink.flush().map(|()| 0),
    }
}
