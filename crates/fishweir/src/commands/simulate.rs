//! `fishweir simulate`

use anyhow::Result;
use fishweir_events::{Grain, parse_time};
use fishweir_sim::{EventFiles, SimConfig, TruthEvent, simulate};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{EventFormat, SimulateArgs};

const SESSIONS_PER_ACCOUNT_DAY: f64 = 1.2;

pub(crate) fn run(args: &SimulateArgs, quiet: bool) -> Result<u8> {
    let config = SimConfig {
        seed: args.seed,
        start_us: Grain::Day.floor(parse_time(&args.start)?),
        days: args.days,
        accounts: args.accounts,
        sessions_per_account_day: SESSIONS_PER_ACCOUNT_DAY,
    };
    let files = match args.events {
        EventFormat::Parquet => EventFiles::Parquet,
        EventFormat::Ndjson => EventFiles::Ndjson,
    };
    let truth = write(&config, &args.out, files, quiet)?;
    eprintln!(
        "wrote {} days below `{}`; {} things happened (truth/events.json)",
        args.days,
        args.out.display(),
        truth.len()
    );
    Ok(0)
}

pub(crate) fn write(
    config: &SimConfig,
    out: &std::path::Path,
    files: EventFiles,
    quiet: bool,
) -> Result<Vec<TruthEvent>> {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(u64::from(config.days)) };
    bar.set_style(ProgressStyle::with_template("simulating {wide_bar} day {pos}/{len} eta {eta}")?);
    let truth = simulate(config, out, files, |day| bar.set_position(u64::from(day)))?;
    bar.finish_and_clear();
    Ok(truth)
}
