//! Arguments of every command.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Counts, labels and explains what passes through the event streams of a streaming service.
#[derive(Debug, Parser)]
#[command(name = "fishweir", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Project folder
    #[arg(long, global = true, env = "FISHWEIR_PROJECT", value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,
    /// Present time instead of the clock, for repeatable runs
    #[arg(long, global = true, env = "FISHWEIR_NOW", value_name = "TIME")]
    pub(crate) now: Option<String>,
    /// No progress bars
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 done in part (some inputs failed)";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Simulate a service, run everything, print the executive report, serve the dashboard
    #[command(
        after_help = "Example:\n  fishweir demo\n  fishweir demo --days 14 --keep ./my-demo --no-serve"
    )]
    Demo(DemoArgs),
    /// Make a project folder: configuration, key file, places for sources, models and metrics
    #[command(after_help = "Example:\n  fishweir init --project ./weir")]
    Init,
    /// Take files into the lake, each row exactly once
    #[command(
        after_help = "Examples:\n  fishweir ingest --source access-log /var/log/nginx/access.log*\n  fishweir ingest --source fishweir 'events/requests/*.parquet'\n  zcat old.gz | fishweir ingest --source access-log -\n\nThe same file again adds nothing; a file that grew adds its new lines.\nRefused rows are listed in table `rejects` with file, line and reason."
    )]
    Ingest(IngestArgs),
    /// List the known sources, or print one
    #[command(after_help = "Example:\n  fishweir sources access-log > sources/mine.toml")]
    Sources {
        /// Source to print
        name: Option<String>,
    },
    /// Seal, roll up, detect, label, measure: whatever is due
    #[command(after_help = "Examples:\n  fishweir run\n  fishweir run --until 2026-10-01")]
    Run(RunArgs),
    /// Compute one model or metric and what it needs
    #[command(
        after_help = "Examples:\n  fishweir backfill request_days\n  fishweir backfill dos_incidents --from 2026-09-01 --to 2026-10-01\n\nWithout --from only what is due is computed. Intervals whose input is deleted stay as they are."
    )]
    Backfill(BackfillArgs),
    /// Print a report for one kind of reader
    #[command(
        after_help = "Examples:\n  fishweir report --for executive --period 2026-10\n  fishweir report --for engineer --period 2026-W40 --format html > week.html"
    )]
    Report(ReportArgs),
    /// List incidents, or print one in full
    #[command(
        after_help = "Examples:\n  fishweir incidents --from 2026-10-01\n  fishweir incidents dos-20261005T1430-login\n  fishweir incidents dos-20261005T1430-login --html > incident.html"
    )]
    Incidents(IncidentArgs),
    /// List the accounts that somebody else may control, or tell the story of one
    #[command(
        after_help = "Examples:\n  fishweir takeovers --from 2026-10-01\n  fishweir takeovers ato-20261013-4c2f1a\n  fishweir takeovers --all --format csv > takeovers.csv\n\nAccounts are named by their pseudonym. Probabilities come from labelling functions (`fishweir labels`) and behaviour."
    )]
    Takeovers(TakeoverArgs),
    /// List campaigns of attempts to sign in, or tell the story of one
    #[command(
        after_help = "Examples:\n  fishweir campaigns\n  fishweir campaigns login-20261013T0718-stuffing-71b8\n  fishweir campaigns --from 2026-10-01 --format json"
    )]
    Campaigns(CampaignArgs),
    /// Say of every labelling function how often it votes, how far it is believed, and what it added
    #[command(
        after_help = "Examples:\n  fishweir labels\n  fishweir labels --format json\n\nA YAML file in the project's folder `labels` adds a function or takes the place of the shipped one of the same file name."
    )]
    Labels(LabelArgs),
    /// Propose which episodes a person should judge, take judgements, and say what they mean for all
    #[command(
        subcommand,
        after_help = "Examples:\n  fishweir review propose --sample 60 --from 2026-10-01 --to 2026-11-01 --format csv > judge.csv\n  fishweir review judge ep-4711 takeover --reviewer ana\n  fishweir review estimate --sample 60 --from 2026-10-01 --to 2026-11-01\n\nEpisodes are chosen by chance, oftener where the model doubts; the estimates weigh that out again."
    )]
    Review(ReviewCommand),
    /// Say of every rule how often it is right, what it misses, and what to do about it
    #[command(
        after_help = "Examples:\n  fishweir rules\n  fishweir rules --from 2026-10-01 --to 2026-11-01 --format json\n  fishweir rules edge/ip-rate\n\nPrecision is the share of hits that were right. It is read, in this order, from requests held out at random,\nfrom what clients did before and after, and from the incidents around. Unclear hits widen the interval."
    )]
    Rules(RulesArgs),
    /// Compare a metric over two periods, and say whether the difference is more than days vary
    #[command(
        after_help = "Examples:\n  fishweir compare dos_attack_requests --period 2026-10 --with 2026-09\n  fishweir compare requests --period 2026-W42 --with 2026-W41 --by route"
    )]
    Compare(CompareArgs),
    /// Watch a stream of requests on standard input and say within seconds what opens and closes
    #[command(
        after_help = "Examples:\n  fishweir simulate --scenario s3 --live 60 | fishweir live\n  tail -F access.ndjson | fishweir live --format json | jq 'select(.kind == \"attack\")'\n  tail -F /var/log/nginx/access.log | fishweir live --source access-log\n  fishweir live --review\n\nSealed minutes, if there are any, tell what is usual and who is known. Nothing of the stream is stored, only\nwhat was said (table `live_incidents`); --review says what the sealed minutes later made of it."
    )]
    Live(LiveArgs),
    /// Serve the dashboard, the API, the door for events and SQL
    #[command(
        after_help = "Examples:\n  fishweir serve\n  fishweir serve --port 8080 --sql-port 5433\n  curl --data-binary @events.ndjson -H 'Idempotency-Key: batch-1' http://localhost:8080/api/v1/events/requests\n  PGPASSWORD=$(cat keys/server.token) psql -h localhost -p 5433 -U fishweir fishweir\n\nOn loopback the dashboard asks for no token; SQL always does. The token is in the project's keys/server.token.\nEvents are acknowledged when they are on disk; hours are sealed and models run by themselves."
    )]
    Serve(ServeArgs),
    /// Ask whether a metric really rose after an event
    #[command(
        after_help = "Examples:\n  fishweir impact dos_attack_requests --event 2026-10-12 --control requests\n  fishweir impact requests --notes intervention --after 14\n  fishweir impact requests --by route --of /login --event 2026-10-12\n\nThe answer says what followed, never what caused it. Decide on event, metric and control before you look."
    )]
    Impact(ImpactArgs),
    /// Write down what happened: an intervention, a deploy, a launch, intelligence
    #[command(
        subcommand,
        after_help = "Example:\n  fishweir note add --kind intervention --time 2026-10-12T14:00:00Z 'Login limit tightened' --text 'rule login-ip-rate from 20 to 12 a minute' --metric good_refused --control requests\n\nAn intervention is followed by itself: table `interventions` and the reports say what moved after 7, 14 and 28 days."
    )]
    Note(NoteCommand),
    /// Print values of one metric
    #[command(
        after_help = "Example:\n  fishweir metric dos_attack_requests --from 2026-10-01 --to 2026-11-01 --grain day"
    )]
    Metric(MetricArgs),
    /// List the metric catalogue
    Metrics {
        /// Output
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Ask the lake in SQL; reads only
    #[command(
        after_help = "Examples:\n  fishweir sql 'SELECT date_trunc(''month'', day), sum(requests) FROM request_days GROUP BY 1 ORDER BY 1'\n  fishweir sql 'SELECT hll_count(hll_merge(clients_hll)) FROM request_days' --format json\n  fishweir sql 'SHOW TABLES'"
    )]
    Sql(SqlArgs),
    /// Say what may be deleted and why; --apply deletes it
    #[command(after_help = "Examples:\n  fishweir retention\n  fishweir retention --apply")]
    Retention(RetentionArgs),
    /// Merge small files of every table and remove what interrupted writes left a day ago or earlier
    Compact,
    /// Simulate a streaming service with hidden truth
    #[command(
        after_help = "Examples:\n  fishweir simulate --scenario s3 --out world\n  fishweir simulate --scenario s11 --days 365 --accounts 5000 --seed 7 --out year\n  fishweir simulate --scenario s3 --print > mine.toml\n  fishweir simulate --scenario mine.toml --live 60 | head\n  fishweir simulate --live 600 --to http://localhost:8080/events\n\nWrites events/ (one folder per stream, a file per hour, of rare streams per day), truth/ and networks.csv. A folder without\ntruth/manifest.json is not whole."
    )]
    Simulate(SimulateArgs),
    /// Compare labels and metrics with the truth of a simulation
    #[command(
        after_help = "Example:\n  fishweir simulate --scenario s3 --out world\n  fishweir ingest --source fishweir 'world/events/requests/*/*.parquet' 'world/events/health/*/*.parquet'\n  fishweir run\n  fishweir score --truth world/truth"
    )]
    Score(ScoreArgs),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// Comma-separated
    Csv,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Days to simulate
    #[arg(long, default_value_t = 15)]
    pub(crate) days: u32,
    /// Seed of the simulation
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder to keep the project in
    #[arg(long, value_name = "DIR", default_value = "fishweir-demo")]
    pub(crate) keep: PathBuf,
    /// End after the report instead of serving the dashboard
    #[arg(long)]
    pub(crate) no_serve: bool,
    /// Port of the dashboard; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct IngestArgs {
    /// Files, patterns or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Source definition; guessed from the content when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Take every file for a new one even if it begins like a known one
    #[arg(long)]
    pub(crate) as_new: bool,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LiveArgs {
    /// Source that says how lines are read
    #[arg(long, default_value = "fishweir")]
    pub(crate) source: String,
    /// Do not keep what was said
    #[arg(long)]
    pub(crate) no_store: bool,
    /// Say what the sealed minutes made of what was opened live
    #[arg(long)]
    pub(crate) review: bool,
    /// Output; json prints one object per line
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; anything but loopback asks for the token
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) host: std::net::IpAddr,
    /// Port of the dashboard, the API and the door for events; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Port of SQL over the Postgres protocol; 0 takes a free one
    #[arg(long, default_value_t = 5433)]
    pub(crate) sql_port: u16,
    /// No SQL
    #[arg(long, conflicts_with = "sql_port")]
    pub(crate) no_sql: bool,
    /// Leave the live stream unwatched
    #[arg(long)]
    pub(crate) no_watch: bool,
    /// Never run the model graph from here
    #[arg(long)]
    pub(crate) no_run: bool,
    /// Ask for the token on loopback too
    #[arg(long)]
    pub(crate) ask_token: bool,
    /// Print the OpenAPI description of the API and end
    #[arg(long)]
    pub(crate) openapi: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Metric
    pub(crate) name: String,
    /// Period: 2026, 2026-10, 2026-W40, 2026-10-05 or 2026-10-01..2026-10-15
    #[arg(long)]
    pub(crate) period: String,
    /// Period to compare it with
    #[arg(long)]
    pub(crate) with: String,
    /// Also split by this dimension
    #[arg(long, value_name = "DIM")]
    pub(crate) by: Option<String>,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImpactArgs {
    /// Metric, by day
    #[arg(value_name = "METRIC")]
    pub(crate) metric: String,
    /// When it happened; may be repeated
    #[arg(long, value_name = "TIME", required_unless_present = "notes")]
    pub(crate) event: Vec<String>,
    /// Take the events from the notes of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) notes: Option<String>,
    /// Metric that the event should not touch: what both share is taken out
    #[arg(long, value_name = "METRIC")]
    pub(crate) control: Option<String>,
    /// Dimension of --of
    #[arg(long, value_name = "DIM", requires = "of")]
    pub(crate) by: Option<String>,
    /// Only this member of the dimension; all others are what the event should not have touched
    #[arg(long, value_name = "MEMBER", requires = "by")]
    pub(crate) of: Option<String>,
    /// Days looked at before each event
    #[arg(long, default_value_t = 365)]
    pub(crate) before: u32,
    /// Days looked at after each event
    #[arg(long, default_value_t = 28)]
    pub(crate) after: u32,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum NoteCommand {
    /// Add a note
    Add(NoteArgs),
    /// List the notes
    List {
        /// Output
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct NoteArgs {
    /// A few words
    pub(crate) title: String,
    /// What kind of thing
    #[arg(long, value_parser = ["intel", "intervention", "deploy", "launch", "load_test", "holiday", "outage"])]
    pub(crate) kind: String,
    /// When it began [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// When it ended
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// More words
    #[arg(long, default_value = "")]
    pub(crate) text: String,
    /// Who says so
    #[arg(long, default_value = "")]
    pub(crate) actor: String,
    /// How sure that is, 0 to 1
    #[arg(long, default_value_t = 1.0)]
    pub(crate) confidence: f64,
    /// Metric that an intervention is meant to move; may be repeated [default: what managers read by day]
    #[arg(long, value_name = "METRIC")]
    pub(crate) metric: Vec<String>,
    /// Metric that it should not touch: what both share is taken out
    #[arg(long, value_name = "METRIC")]
    pub(crate) control: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BackfillArgs {
    /// Model or metric
    #[arg(value_name = "MODEL|METRIC")]
    pub(crate) name: String,
    /// Compute again from here, due or not
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Compute again up to here; default now
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Leave intervals alone that end after this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Say on standard error how long each model took, the slowest first
    #[arg(long)]
    pub(crate) timings: bool,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reader {
    /// Details of traffic, defences and service health
    Engineer,
    /// Trends, response, people and money
    Manager,
    /// A few cards
    Executive,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Markdown
    #[default]
    Md,
    /// One self-contained page
    Html,
    /// Data
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Who reads it
    #[arg(long = "for", value_enum, default_value = "executive")]
    pub(crate) reader: Reader,
    /// 2026, 2026-Q3, 2026-10, 2026-W40, 2026-10-05 or 2026-10-01..2026-10-15; default: the last whole month with data
    #[arg(long)]
    pub(crate) period: Option<String>,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, clap::Args)]
pub(crate) struct IncidentArgs {
    /// Incident to print in full
    pub(crate) id: Option<String>,
    /// First day
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Day after the last
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Also surges that were no attack
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the incident as one HTML page
    #[arg(long, requires = "id", conflicts_with = "format")]
    pub(crate) html: bool,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TakeoverArgs {
    /// Takeover to tell in full, by its id or the pseudonym of the account
    pub(crate) id: Option<String>,
    /// First day
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Day after the last
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Also those that are less likely than not
    #[arg(long)]
    pub(crate) all: bool,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CampaignArgs {
    /// Campaign to tell in full
    pub(crate) id: Option<String>,
    /// First day
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Day after the last
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LabelArgs {
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ReviewCommand {
    /// List the episodes to judge
    Propose(ReviewArgs),
    /// Write down what a person thinks of one episode
    Judge {
        /// Episode, as proposed
        episode: String,
        /// What it is
        #[arg(value_parser = ["takeover", "benign", "unsure"])]
        verdict: String,
        /// Who judged
        #[arg(long)]
        reviewer: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Say what the judgements mean for all episodes
    Estimate(ReviewArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReviewArgs {
    /// About how many episodes to judge
    #[arg(long, default_value_t = 50.0)]
    pub(crate) sample: f64,
    /// Another choice of the same kind
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// First day
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Day after the last
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RulesArgs {
    /// Rule to show in full, as `defence/rule`
    pub(crate) name: Option<String>,
    /// First day [default: 28 days before the last]
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Day after the last [default: the last sealed day]
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MetricArgs {
    /// Metric
    pub(crate) name: String,
    /// First day
    #[arg(long)]
    pub(crate) from: Option<String>,
    /// Day after the last
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// hour, day, week, month or year
    #[arg(long, default_value = "day")]
    pub(crate) grain: String,
    /// Dimension to split by
    #[arg(long, value_name = "DIM")]
    pub(crate) by: Option<String>,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    /// Statement; `-` reads it from standard input
    pub(crate) statement: String,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetentionArgs {
    /// Delete what may go
    #[arg(long)]
    pub(crate) apply: bool,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ScoreArgs {
    /// Folder `truth` of a finished simulation
    #[arg(long, value_name = "DIR")]
    pub(crate) truth: PathBuf,
    /// Output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// Folder for events and truth
    #[arg(long, value_name = "DIR", required_unless_present_any = ["list", "print", "live"])]
    pub(crate) out: Option<PathBuf>,
    /// Scenario: a shipped one (s0 to s11, demo) or a TOML file
    #[arg(long, default_value = "s11")]
    pub(crate) scenario: String,
    /// List the shipped scenarios
    #[arg(long)]
    pub(crate) list: bool,
    /// Print the scenario as TOML, to copy and change
    #[arg(long)]
    pub(crate) print: bool,
    /// Seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Days [default: the scenario's]
    #[arg(long)]
    pub(crate) days: Option<u32>,
    /// First day
    #[arg(long, default_value = "2026-10-01")]
    pub(crate) start: String,
    /// Accounts of the service [default: the scenario's]
    #[arg(long)]
    pub(crate) accounts: Option<u64>,
    /// Every event, or counts per minute and key for worlds of millions
    #[arg(long, value_enum, default_value_t)]
    pub(crate) fidelity: Fidelity,
    /// File format of the events
    #[arg(long, value_enum, default_value_t)]
    pub(crate) events: EventFormat,
    /// Threads, 0 for as many as the machine has; changes nothing but the time it takes
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Memory it may take, MiB [default: the scenario's]; changes no event
    #[arg(long)]
    pub(crate) memory_mib: Option<u64>,
    /// Parts that accounts are cut into; changes nothing
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: u32,
    /// Print the events as NDJSON instead of writing files, at this many times real speed
    #[arg(long, value_name = "SPEED", conflicts_with = "out")]
    pub(crate) live: Option<f64>,
    /// Post the live events to this address in NDJSON batches instead of printing them
    #[arg(long, value_name = "URL", requires = "live")]
    pub(crate) to: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fidelity {
    /// Every event
    #[default]
    Full,
    /// Edge traffic as counts, rare streams in full
    Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventFormat {
    /// Parquet
    #[default]
    Parquet,
    /// One JSON object per line
    Ndjson,
}
