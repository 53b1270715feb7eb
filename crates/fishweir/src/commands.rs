//! One file per command.

mod campaigns;
mod compact;
mod compare;
mod demo;
mod impact;
mod incidents;
mod ingest;
mod init;
mod labels;
mod live;
mod metric;
mod note;
mod report;
mod retention;
mod rules;
mod run;
mod score;
mod score_accounts;
mod serve;
mod simulate;
mod sources;
mod sql;
mod takeovers;

use anyhow::{Context as _, Result};

use crate::cli::{Cli, Command};
use crate::project::Project;

pub(crate) async fn run(cli: Cli) -> Result<u8> {
    let now_us = match &cli.now {
        Some(text) => fishweir_events::parse_time(text).context("--now")?,
        None => chrono::Utc::now().timestamp_micros(),
    };
    let open = || Project::open(&cli.project, now_us);
    match cli.command {
        Command::Demo(args) => demo::run(&args, cli.quiet).await,
        Command::Init => init::run(&cli.project),
        Command::Ingest(args) => ingest::run(&open()?, &args, cli.quiet).await,
        Command::Sources { name } => sources::run(&open()?, name.as_deref()),
        Command::Run(args) => run::run(&open()?, &args, cli.quiet).await,
        Command::Backfill(args) => run::backfill(&open()?, &args, cli.quiet).await,
        Command::Report(args) => report::run(&open()?, &args).await,
        Command::Incidents(args) => incidents::run(&open()?, &args).await,
        Command::Takeovers(args) => takeovers::run(&open()?, &args).await,
        Command::Campaigns(args) => campaigns::run(&open()?, &args).await,
        Command::Labels(args) => labels::run(&open()?, &args).await,
        Command::Review(command) => labels::review(&open()?, &command, cli.quiet).await,
        Command::Rules(args) => rules::run(&open()?, &args).await,
        Command::Live(args) => live::run(&open()?, &args, cli.quiet).await,
        Command::Serve(args) => {
            serve::run(&cli.project, cli.now.is_some().then_some(now_us), &args, cli.quiet).await
        }
        Command::Compare(args) => compare::run(&open()?, &args).await,
        Command::Impact(args) => impact::run(&open()?, &args).await,
        Command::Note(command) => note::run(&open()?, &command, cli.quiet).await,
        Command::Metric(args) => metric::run(&open()?, &args).await,
        Command::Metrics { format } => metric::catalogue(&open()?, format),
        Command::Sql(args) => sql::run(&open()?, &args).await,
        Command::Retention(args) => retention::run(&open()?, &args).await,
        Command::Compact => compact::run(&open()?).await,
        Command::Score(args) => score::run(&open()?, &args).await,
        Command::Simulate(args) => simulate::run(&args, cli.quiet),
    }
}
