//! A whole simulation: days through the engine, rows into files, truth beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use arrow::array::{Array as _, ArrayData};
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::campaign::PACE_US;
use crate::config::{AttackKind, HappeningKind, Scenario};
use crate::device;
use crate::encode::{self, Words};
use crate::engine::{Cut, DAY_US, Engine, SLICE_US};
use crate::files::{EventFiles, bad, flat, write, write_json};
use crate::network;
use crate::random::Key;
use crate::rows::Slice;
use crate::takeover;
use crate::truth::{DecisionTruth, EventTruth, TRUTH_VERSION};
use crate::world::World;

/// Why a simulation stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A file could not be written.
    #[error("`{path}`: {cause}")]
    Write {
        /// File or folder.
        path: String,
        /// What the system said.
        cause: String,
    },
    /// The folder holds something else.
    #[error("`{path}` is not empty and holds no simulation\nhint: give an empty or new folder with --out")]
    Occupied {
        /// Folder.
        path: String,
    },
    /// The world would not fit into the memory allowed.
    #[error(
        "{accounts} accounts with every event need about {needs_mib} MiB, `memory_mib` allows {limit_mib}\nhint: raise `memory_mib` in the scenario or --memory-mib, simulate fewer accounts, or use --fidelity counts"
    )]
    Memory {
        /// Accounts of the scenario.
        accounts: u64,
        /// Estimate.
        needs_mib: u64,
        /// Limit.
        limit_mib: u64,
    },
    /// Threads could not be started.
    #[error("cannot start {threads} threads: {cause}")]
    Threads {
        /// Asked for.
        threads: usize,
        /// What the system said.
        cause: String,
    },
}

/// What to simulate and how.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// Scenario, with days and accounts set.
    pub scenario: Scenario,
    /// Seed.
    pub seed: u64,
    /// First instant, a midnight, microseconds.
    pub start_us: i64,
    /// Format of the events.
    pub files: EventFiles,
    /// Threads; 0 is as many as the machine has. Changes nothing but the time it takes.
    pub threads: usize,
    /// Parts that accounts are cut into. Changes nothing.
    pub shards: u32,
}

/// An attack, as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignTruth {
    /// Name in the scenario.
    pub name: String,
    /// Kind.
    pub kind: AttackKind,
    /// Skill.
    pub tier: u8,
    /// Who is behind it; parts of one attack share it.
    pub actor: String,
    /// First and last request, microseconds; `None` when it never sent one.
    pub start_us: Option<i64>,
    /// See `start_us`.
    pub end_us: Option<i64>,
    /// Requests by route.
    pub routes: BTreeMap<String, u64>,
    /// Requests.
    pub requests: u64,
    /// Requests that a defence stopped.
    pub stopped: u64,
    /// Requests by TLS fingerprint.
    pub ja4: BTreeMap<String, u64>,
    /// Requests by network.
    pub asns: BTreeMap<i64, u64>,
    /// Accounts it took.
    pub accounts: u64,
    /// Addresses that its requests came from; `None` where they were not counted.
    #[serde(default)]
    pub addresses: Option<u64>,
    /// Requests by way of hiding: `shuffled_ja3`, `rotated_agents`, `exact_browser`.
    #[serde(default)]
    pub disguises: BTreeMap<String, u64>,
    /// Requests by ten minutes, named by their start in microseconds; empty where they were not counted.
    #[serde(default)]
    pub pace: BTreeMap<i64, u64>,
}

impl CampaignTruth {
    /// Returns the requests of the ten minutes that touch a span of microseconds; `None` where they were
    /// not counted.
    #[must_use]
    pub fn requests_in(&self, from_us: i64, to_us: i64) -> Option<u64> {
        let touched = (from_us - PACE_US + 1)..=to_us;
        (!self.pace.is_empty() && from_us <= to_us).then(|| self.pace.range(touched).map(|p| p.1).sum())
    }
}

/// A benign happening, as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HappeningTruth {
    /// Kind.
    pub kind: HappeningKind,
    /// Begin, microseconds.
    pub start_us: i64,
    /// End, microseconds.
    pub end_us: i64,
    /// Requests by route.
    pub routes: BTreeMap<String, u64>,
    /// Requests it brought; `None` where they are not told apart from the usual ones.
    pub requests: Option<u64>,
}

/// Which simulation a folder holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the truth's layout.
    pub truth_version: u32,
    /// Version of the program.
    pub code: String,
    /// Scenario.
    pub scenario: String,
    /// BLAKE3 of the scenario with all its defaults.
    pub config_hash: String,
    /// Seed.
    pub seed: u64,
    /// First instant, microseconds.
    pub start_us: i64,
    /// Days.
    pub days: u32,
    /// Accounts.
    pub accounts: u64,
    /// Rows by stream.
    pub rows: BTreeMap<String, u64>,
    /// BLAKE3 of the rows by stream, in order of writing.
    pub digest: BTreeMap<String, String>,
}

/// What a simulation made.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Attacks.
    pub campaigns: Vec<CampaignTruth>,
    /// Benign happenings.
    pub happenings: Vec<HappeningTruth>,
    /// Manifest.
    pub manifest: Manifest,
}

/// Rows of an hour and what is true of them.
#[derive(Default)]
struct Hour {
    from_us: i64,
    slices: Vec<Slice>,
    events: Vec<EventTruth>,
    decisions: Vec<DecisionTruth>,
}

struct Writer<'a> {
    out: &'a Path,
    files: EventFiles,
    w: World,
    names: Vec<String>,
    words: Words,
    digests: BTreeMap<&'static str, blake3::Hasher>,
    rows: BTreeMap<String, u64>,
    /// The day, and the rows of rare streams that wait for its end.
    day: String,
    waiting: BTreeMap<&'static str, Vec<RecordBatch>>,
}

/// Writes `events/` and `truth/` below a folder; calls `progress` with the days done.
///
/// A folder that a killed simulation left is begun anew; `truth/manifest.json` is written last, so a
/// folder that has it is whole.
///
/// # Errors
/// A file that cannot be written; the folder then has no manifest.
pub fn simulate(
    options: &SimulateOptions,
    out: &Path,
    mut progress: impl FnMut(u32) + Send,
) -> Result<Summary, SimulateError> {
    crate::memory::check(&options.scenario)?;
    prepare(out)?;
    pool(options.threads)?.install(|| {
        let cut = Cut { shards: u64::from(options.shards.max(1)) };
        let mut engine = Engine::new(options.seed, options.start_us, &options.scenario, cut);
        let mut writer = Writer {
            out,
            files: options.files,
            w: engine.w.clone(),
            names: engine.campaigns.iter().map(|c| c.config.name.clone()).collect(),
            words: Words::new(engine.w.key, &engine.defence.rules, engine.defence.holdout_share),
            digests: BTreeMap::new(),
            rows: BTreeMap::new(),
            day: String::new(),
            waiting: BTreeMap::new(),
        };
        let mut ready: Option<Hour> = None;
        for day in 0..options.scenario.days {
            // One hour is simulated while the one before is written.
            for h in 0..24 {
                let (made, written) = {
                    let writer = &mut writer;
                    let done = ready.take();
                    rayon::join(|| engine.hour(day, h), || done.map_or(Ok(()), |hour| writer.hour(hour)))
                };
                written?;
                writer.words = Words::new(engine.w.key, &engine.defence.rules, engine.defence.holdout_share);
                ready = Some(made);
            }
            progress(day + 1);
        }
        if let Some(hour) = ready {
            writer.hour(hour)?;
        }
        writer.day_ends()?;
        finish(options, &engine, writer)
    })
}

pub(crate) fn pool(threads: usize) -> Result<rayon::ThreadPool, SimulateError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| SimulateError::Threads { threads, cause: e.to_string() })
}

pub(crate) fn prepare(out: &Path) -> Result<(), SimulateError> {
    fs::create_dir_all(out).map_err(bad(out))?;
    for part in ["events", "truth"] {
        let folder = out.join(part);
        if !folder.exists() {
            continue;
        }
        let ours = out.join("truth/manifest.json").exists() || out.join("truth/unfinished").exists();
        if !ours {
            return Err(SimulateError::Occupied { path: folder.display().to_string() });
        }
        if part == "truth" {
            fs::remove_file(folder.join("manifest.json")).ok();
        }
    }
    let truth = out.join("truth");
    fs::create_dir_all(&truth).map_err(bad(&truth))?;
    let mark = truth.join("unfinished");
    fs::write(&mark, "this simulation did not end; the files are not whole\n").map_err(bad(&mark))?;
    for part in ["events", "truth/events", "truth/decisions"] {
        let folder = out.join(part);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(bad(&folder))?;
        }
    }
    Ok(())
}

impl Engine {
    // The hours of a day must be asked for in order.
    fn hour(&mut self, day: u32, hour: u32) -> Hour {
        let from_us = self.start_us + i64::from(day) * DAY_US + i64::from(hour) * 6 * SLICE_US;
        let slices = self.slices(day, hour);
        Hour {
            from_us,
            slices,
            events: std::mem::take(&mut self.truth.events),
            decisions: std::mem::take(&mut self.truth.decisions),
        }
    }
}

type Encoded = (&'static str, Result<RecordBatch, ArrowError>);

fn gather<T>(slices: &mut [Slice], f: impl Fn(&mut Slice) -> &mut Vec<T>) -> Vec<T> {
    slices.iter_mut().flat_map(|s| std::mem::take(f(s))).collect()
}

// Every stream that has rows; the slices are emptied.
fn encode_streams(w: &World, words: &Words, s: &mut [Slice]) -> Vec<Encoded> {
    let requests = gather(s, |s| &mut s.requests);
    let logins = gather(s, |s| &mut s.logins);
    let playbacks = gather(s, |s| &mut s.playbacks);
    let licences = gather(s, |s| &mut s.licences);
    let changes = gather(s, |s| &mut s.changes);
    let contacts = gather(s, |s| &mut s.contacts);
    let leaks = gather(s, |s| &mut s.leaks);
    let health = gather(s, |s| &mut s.health);
    let notes = gather(s, |s| &mut s.notes);
    let verdicts = gather(s, |s| &mut s.verdicts);
    type Job<'a> = Box<dyn Fn() -> Encoded + Send + Sync + 'a>;
    let mut jobs: Vec<Job<'_>> = Vec::new();
    macro_rules! job {
        ($rows:expr, $name:literal, $make:expr) => {
            if !$rows.is_empty() {
                jobs.push(Box::new(|| ($name, $make)));
            }
        };
    }
    job!(requests, "requests", encode::requests(w, words, &requests));
    job!(logins, "logins", encode::logins(w, words, &logins));
    job!(playbacks, "playbacks", encode::playbacks(w, words, &playbacks));
    job!(licences, "licences", encode::licences(w, words, &licences));
    job!(licences, "decisions", encode::decisions(w, words, &licences));
    job!(changes, "account_changes", encode::changes(w, words, &changes));
    job!(contacts, "contacts", encode::contacts(w, &contacts));
    job!(leaks, "leaks", encode::leaks(w, &leaks));
    job!(health, "health", encode::health(&health));
    job!(notes, "notes", encode::notes(&notes));
    job!(verdicts, "verdicts", encode::verdicts(w, &verdicts));
    jobs.par_iter().map(|j| j()).collect()
}

impl Writer<'_> {
    fn hour(&mut self, mut hour: Hour) -> Result<(), SimulateError> {
        let at = chrono::DateTime::from_timestamp_micros(hour.from_us).unwrap_or_default();
        let place = at.format("%Y-%m-%d/%H").to_string();
        let day = at.format("%Y-%m-%d").to_string();
        if day != self.day {
            self.day_ends()?;
            self.day = day;
        }
        let encoded = encode_streams(&self.w, &self.words, &mut hour.slices);
        let truth = [
            ("events", encode::event_truth(&self.w, &self.names, &hour.events), hour.events.len()),
            (
                "decisions",
                encode::decision_truth(&self.w, &self.words, &self.names, &hour.decisions),
                hour.decisions.len(),
            ),
        ];
        let events = self.out.join("events");
        for (name, batch) in &encoded {
            let batch = batch.as_ref().map_err(|e| bad::<String>(&events.join(name))(e.to_string()))?;
            *self.rows.entry((*name).to_owned()).or_default() += batch.num_rows() as u64;
            let hasher = self.digests.entry(name).or_default();
            eat(hasher, batch);
        }
        let written: Result<Vec<_>, SimulateError> = encoded
            .par_iter()
            .filter_map(|(name, batch)| batch.as_ref().ok().map(|b| (name, b)))
            .filter(|(name, _)| !RARE.contains(name))
            .map(|(name, batch)| write(&events.join(name).join(&place), batch, self.files))
            .collect();
        written?;
        for (name, batch) in encoded.iter().filter(|(name, _)| RARE.contains(name)) {
            if let Ok(batch) = batch {
                let batch = flat(batch).map_err(bad(&events.join(name)))?;
                self.waiting.entry(name).or_default().push(batch);
            }
        }
        for (name, batch, n) in truth {
            let folder = self.out.join("truth").join(name);
            if n > 0 {
                let batch = batch.map_err(|e| bad::<String>(&folder)(e.to_string()))?;
                write(&folder.join(&place), &batch, EventFiles::Parquet)?;
            }
        }
        Ok(())
    }
}

impl Writer<'_> {
    // Writes what waited for the end of its day.
    fn day_ends(&mut self) -> Result<(), SimulateError> {
        for (name, batches) in std::mem::take(&mut self.waiting) {
            let stem = self.out.join("events").join(name).join(&self.day).join("day");
            let Some(first) = batches.first() else { continue };
            let whole = concat_batches(&first.schema(), &batches).map_err(bad(&stem))?;
            write(&stem, &whole, self.files)?;
        }
        Ok(())
    }
}

/// Streams with so few rows that a file per hour would hold next to nothing: they get one per day.
const RARE: [&str; 6] = ["logins", "account_changes", "contacts", "leaks", "notes", "verdicts"];

// Hashes the buffers of the columns: equal exactly when the values are.
pub(crate) fn eat(hasher: &mut blake3::Hasher, batch: &RecordBatch) {
    for column in batch.columns() {
        eat_array(hasher, &column.to_data());
    }
}

fn eat_array(hasher: &mut blake3::Hasher, data: &ArrayData) {
    hasher.update(&(data.len() as u64).to_le_bytes());
    for buffer in data.buffers() {
        hasher.update(buffer.as_slice());
    }
    if let Some(nulls) = data.nulls() {
        hasher.update(nulls.validity());
    }
    for child in data.child_data() {
        eat_array(hasher, child);
    }
}

fn campaigns(engine: &Engine) -> Vec<CampaignTruth> {
    let key: Key = engine.w.key;
    let all = engine.campaigns.iter().map(|c| {
        let mut ja4: BTreeMap<String, u64> = BTreeMap::new();
        for (s, n) in &c.software {
            *ja4.entry(device::marks(key, *s).1).or_default() += n;
        }
        CampaignTruth {
            name: c.config.name.clone(),
            kind: c.config.kind,
            tier: c.config.tier,
            actor: c.config.name.split('/').next().unwrap_or_default().to_owned(),
            start_us: c.first_us,
            end_us: c.last_us,
            routes: c.routes.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect(),
            requests: c.sent,
            stopped: c.stopped,
            ja4,
            asns: c.asns.iter().map(|(a, n)| (network::asn(*a).number, *n)).collect(),
            accounts: c.accounts.len() as u64,
            addresses: Some(c.addresses.len() as u64),
            disguises: c.disguises.iter().map(|(d, n)| ((*d).to_owned(), *n)).collect(),
            pace: c.pace.clone(),
        }
    });
    all.collect()
}

// Who is behind the attacks: one entry per actor, with the highest skill shown.
fn actors(campaigns: &[CampaignTruth]) -> Vec<serde_json::Value> {
    let mut by_actor: BTreeMap<&str, (u8, BTreeSet<&'static str>, Vec<&str>)> = BTreeMap::new();
    for c in campaigns {
        let slot = by_actor.entry(&c.actor).or_default();
        slot.0 = slot.0.max(c.tier);
        slot.1.insert(motive(c));
        slot.2.push(&c.name);
    }
    let skill = ["booter", "crime crew", "professional", "hacktivist"];
    by_actor
        .into_iter()
        .map(|(actor, (tier, motives, names))| {
            let skill = skill[usize::from(tier.clamp(1, 4)) - 1];
            serde_json::json!({"actor": actor, "tier": tier, "skill": skill, "motives": motives, "campaigns": names})
        })
        .collect()
}

fn motive(c: &CampaignTruth) -> &'static str {
    match format!("{:?}", c.kind).as_bytes().first() {
        Some(b'A') if c.tier == 4 => "protest",
        Some(b'A') => "disruption",
        Some(b'B') => "stolen accounts",
        Some(b'C') => "service without paying",
        _ => "stolen content",
    }
}

fn finish(options: &SimulateOptions, engine: &Engine, writer: Writer<'_>) -> Result<Summary, SimulateError> {
    let truth = writer.out.join("truth");
    let campaigns = campaigns(engine);
    let happenings: Vec<HappeningTruth> = engine
        .events
        .iter()
        .map(|e| HappeningTruth {
            kind: e.config.kind,
            start_us: e.start_us,
            end_us: e.end_us,
            routes: e.routes.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect(),
            requests: Some(e.requests),
        })
        .collect();
    let adaptations: Vec<_> = engine.campaigns.iter().flat_map(|c| c.control.log.iter()).collect();
    let rules: Vec<_> = engine
        .defence
        .rules
        .iter()
        .map(|r| serde_json::json!({"defence": r.defence, "rule": r.name, "version": r.version, "action": r.action, "mode": r.mode, "from_us": r.from_us, "to_us": r.to_us}))
        .collect();
    let twins: Vec<_> = engine
        .truth
        .twins
        .iter()
        .map(|((a, twin), (from, to))| serde_json::json!({"account": takeover::account_name(&engine.w, *a), "twin": twin, "from_us": from, "to_us": to}))
        .collect();
    let devices: Vec<_> = engine
        .truth
        .devices
        .iter()
        .map(|(d, (c, stage))| serde_json::json!({"device": device::device_id((d & 0xFF) as u8, device::KINDS[(d & 0xFF) as usize % device::KINDS.len()].system, engine.w.key.veil(*d) >> 16), "campaign": writer.names.get(usize::from(*c) - 1), "stage": stage}))
        .collect();
    let networks: Vec<_> = (0..network::ASNS as u16)
        .map(|a| {
            let n = network::asn(a);
            serde_json::json!({"asn": n.number, "country": network::COUNTRIES[usize::from(n.country)].code, "kind": n.kind.name()})
        })
        .collect();
    write_json(&truth.join("actors.json"), &actors(&campaigns))?;
    write_json(&truth.join("adaptations.json"), &adaptations)?;
    write_json(&truth.join("accounts.json"), &engine.truth.accounts)?;
    write_json(&truth.join("twins.json"), &twins)?;
    write_json(&truth.join("devices.json"), &devices)?;
    write_json(&truth.join("networks.json"), &networks)?;
    write_json(&truth.join("rules.json"), &rules)?;
    let Writer { out, rows, digests, .. } = writer;
    conclude(options, out, campaigns, happenings, rows, digests)
}

/// Writes what every simulation ends with; the manifest last.
pub(crate) fn conclude(
    options: &SimulateOptions,
    out: &Path,
    campaigns: Vec<CampaignTruth>,
    happenings: Vec<HappeningTruth>,
    rows: BTreeMap<String, u64>,
    digests: BTreeMap<&'static str, blake3::Hasher>,
) -> Result<Summary, SimulateError> {
    let truth = out.join("truth");
    write_json(&truth.join("campaigns.json"), &campaigns)?;
    write_json(&truth.join("happenings.json"), &happenings)?;
    write_json(&truth.join("scenario.json"), &options.scenario)?;
    let table = out.join("networks.csv");
    fs::write(&table, network::table()).map_err(bad(&table))?;
    let config = serde_json::to_string(&options.scenario).unwrap_or_default();
    let manifest = Manifest {
        truth_version: TRUTH_VERSION,
        code: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: options.scenario.name.clone(),
        config_hash: blake3::hash(config.as_bytes()).to_hex().to_string(),
        seed: options.seed,
        start_us: options.start_us,
        days: options.scenario.days,
        accounts: options.scenario.accounts,
        rows,
        digest: digests.iter().map(|(n, h)| ((*n).to_owned(), h.finalize().to_hex().to_string())).collect(),
    };
    write_json(&truth.join("manifest.json"), &manifest)?;
    fs::remove_file(truth.join("unfinished")).ok();
    Ok(Summary { campaigns, happenings, manifest })
}

/// Hands out every event as one JSON object per line, in order of time, with its stream and time;
/// `hear` returns whether to go on.
///
/// # Errors
/// Rows that cannot be encoded.
pub fn live(
    options: &SimulateOptions,
    mut hear: impl FnMut(i64, &[u8]) -> bool + Send,
) -> Result<(), SimulateError> {
    crate::memory::check(&options.scenario)?;
    pool(options.threads)?.install(|| {
        let mut engine = Engine::new(options.seed, options.start_us, &options.scenario, Cut { shards: 1 });
        for day in 0..options.scenario.days {
            for h in 0..24 {
                let mut hour = engine.hour(day, h);
                let words = Words::new(engine.w.key, &engine.defence.rules, engine.defence.holdout_share);
                for slice in &mut hour.slices {
                    let batches = encode_streams(&engine.w, &words, std::slice::from_mut(slice));
                    if !tell(batches, &mut hear)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    })
}

fn tell(batches: Vec<Encoded>, hear: &mut impl FnMut(i64, &[u8]) -> bool) -> Result<bool, SimulateError> {
    let mut lines: Vec<(i64, Vec<u8>)> = Vec::new();
    for (stream, batch) in batches {
        let fail = |e: ArrowError| SimulateError::Write { path: stream.to_owned(), cause: e.to_string() };
        let batch = flat(&batch.map_err(fail)?).map_err(fail)?;
        let mut text = Vec::new();
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
        writer.write(&batch).map_err(fail)?;
        writer.finish().map_err(fail)?;
        let times = batch.column(0).to_data();
        let times = times.buffer::<i64>(0);
        for (line, at) in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).zip(times) {
            let mut whole = format!("{{\"stream\":\"{stream}\",").into_bytes();
            whole.extend_from_slice(&line[1..]);
            whole.push(b'\n');
            lines.push((*at, whole));
        }
    }
    lines.sort_by_key(|l| l.0);
    Ok(lines.iter().all(|(at, line)| hear(*at, line)))
}
