//! Worlds too large for single events: edge traffic as counts per minute and key, rare streams in
//! full.
//!
//! A cell is a minute, a country, a kind of device and a route. Its count is a Poisson draw around
//! what the visits of a sample of accounts give; floods and happenings add to it. Memory holds one
//! hour of cells and one block of accounts, however many accounts there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;

use crate::campaign::Campaign;
use crate::config::{AttackKind, HappeningKind};
use crate::device::{self, KINDS};
use crate::encode::{self, Words};
use crate::engine::{DAY_US, usual};
use crate::files::{bad, write};
use crate::happening::Event;
use crate::intent::{Intent, LOGIN_LEAKED, LOGIN_WRONG, ROUTES, Route, event_key};
use crate::network::COUNTRIES;
use crate::plan;
use crate::random::{Key, Purpose};
use crate::rows::{Change, Contact, Leak, Login, LoginOutcome, Request, Sparse, Verdict};
use crate::run::{
    CampaignTruth, HappeningTruth, SimulateError, SimulateOptions, Summary, conclude, eat, pool, prepare,
};
use crate::sparse;
use crate::world::World;

const HOUR_US: i64 = 3_600_000_000;
/// Accounts whose rare rows are held at a time.
const BLOCK: u64 = 1 << 20;

/// One key of the edge's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    minute: i64,
    country: u8,
    software: u16,
    route: Route,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    requests: u64,
    errors: u64,
    bytes: u64,
    latency_us: u64,
}

struct Counts<'a> {
    w: World,
    usual: [f64; ROUTES],
    campaigns: Vec<Campaign>,
    events: Vec<Event>,
    sent: BTreeMap<u16, (u64, i64, i64, BTreeMap<&'static str, u64>)>,
    options: &'a SimulateOptions,
    out: &'a Path,
    words: Words,
    digests: BTreeMap<&'static str, blake3::Hasher>,
    rows: BTreeMap<String, u64>,
}

/// Writes `events/request_counts` (one row per cell that is not empty) and the rare streams
/// `logins`, `account_changes`, `contacts`, `leaks`, and the truth about floods.
///
/// # Limits
/// Defences, capacity and attacks on accounts are not modelled at this fidelity.
///
/// # Errors
/// A file that cannot be written; the folder then has no manifest.
pub fn simulate_counts(
    options: &SimulateOptions,
    out: &Path,
    mut progress: impl FnMut(u32) + Send,
) -> Result<Summary, SimulateError> {
    prepare(out)?;
    pool(options.threads)?.install(|| {
        let w = World::new(options.seed, options.start_us, &options.scenario);
        let key = Key::new(options.seed, "happenings");
        let start_us = options.start_us;
        let events =
            (0..).zip(&options.scenario.happenings).map(|(n, h)| Event::new(n, h.clone(), key, start_us));
        let mut c = Counts {
            usual: usual(&w, start_us),
            campaigns: plan::campaigns(&options.scenario, options.seed, start_us),
            events: events.collect(),
            sent: BTreeMap::new(),
            words: Words::new(w.key, &[], 0.0),
            digests: BTreeMap::new(),
            rows: BTreeMap::new(),
            options,
            out,
            w,
        };
        for day in 0..options.scenario.days {
            for hour in 0..24 {
                c.hour(day, hour)?;
            }
            c.rare(day)?;
            progress(day + 1);
        }
        let (campaigns, happenings) = c.truth();
        conclude(options, out, campaigns, happenings, c.rows, c.digests)
    })
}

impl Counts<'_> {
    fn hour(&mut self, day: u32, hour: u32) -> Result<(), SimulateError> {
        let first = i64::from(day) * 1_440 + i64::from(hour) * 60;
        let minutes: Vec<Vec<(Cell, Sums)>> =
            (first..first + 60).into_par_iter().map(|m| self.members(day, m)).collect();
        let mut all: Vec<(Cell, Sums)> = minutes.into_iter().flatten().collect();
        for m in first..first + 60 {
            self.floods(m, &mut all);
        }
        all.sort_by_key(|(c, _)| *c);
        let from_us = self.options.start_us + first * 60_000_000;
        let batch = self.batch(&all)?;
        self.put("request_counts", &batch, &place(from_us))
    }

    // Counts of members in a minute.
    fn members(&self, day: u32, minute: i64) -> Vec<(Cell, Sums)> {
        let weights: f64 = (0..KINDS.len()).map(device::visit_weight).sum();
        let extra = self.crowd(minute);
        let mut out = Vec::new();
        for (n, place) in COUNTRIES.iter().enumerate() {
            let local = (minute + i64::from(place.offset_min)).rem_euclid(1_440) as u32;
            let level = self.w.calendar.level(day) * self.w.calendar.minute(day, local);
            for kind in 0..KINDS.len() {
                let share = device::visit_weight(kind) / weights;
                let clients = self.w.accounts as f64 * place.share * share / 1_440.0 * level * (1.0 + extra);
                let entity = (n * KINDS.len() + kind) as u64;
                let mut d = self.w.key.draws(entity, minute as u32, Purpose::Counts, 0);
                for (r, per_day) in Route::ALL.into_iter().zip(self.usual) {
                    let requests = d.poisson(clients * per_day);
                    if requests > 0 {
                        let software = device::software(kind as u8, self.w.version(0, day));
                        let cell = Cell { minute, country: n as u8, software, route: r };
                        out.push((cell, self.sums(r, requests, &mut d)));
                    }
                }
            }
        }
        out
    }

    fn sums(&self, route: Route, requests: u64, d: &mut crate::random::Draws) -> Sums {
        let facts = route.facts();
        let latency = f64::from(facts.cost) * 900.0 + 3_000.0;
        // The mean of a lognormal with spread 0.35.
        let mean = latency * 1.063;
        Sums {
            requests,
            errors: d.poisson(requests as f64 * self.w.config.error_share).min(requests),
            bytes: requests * u64::from(facts.bytes),
            latency_us: (requests as f64 * mean) as u64,
        }
    }

    // Extra demand of launches and live events, over the usual.
    fn crowd(&self, minute: i64) -> f64 {
        let at_us = self.options.start_us + minute * 60_000_000;
        let of = |e: &Event| match e.config.kind {
            HappeningKind::Live if e.start_us <= at_us && at_us < e.end_us => e.config.size * 6.0,
            HappeningKind::Launch if e.start_us <= at_us => {
                let days = (at_us - e.start_us) as f64 / DAY_US as f64;
                e.config.size * crate::catalogue::launch_decay(days) * (days * 16.0).min(1.0)
            }
            _ => 0.0,
        };
        self.events.iter().map(of).sum()
    }

    fn floods(&mut self, minute: i64, out: &mut Vec<(Cell, Sums)>) {
        use AttackKind::{A1, A2, A3, A4, A5, A6};
        let at_us = self.options.start_us + minute * 60_000_000;
        let mean_rps = self.usual.iter().sum::<f64>() * self.w.accounts as f64 / 86_400.0;
        for c in self.campaigns.iter().filter(|c| c.active(at_us, at_us + 60_000_000)) {
            let route = match c.config.kind {
                A2 => Route::Search,
                A3 => Route::Login,
                A6 => Route::Nowhere,
                A1 | A4 | A5 => Route::Home,
                _ => continue,
            };
            let mut d = c.key.draws(u64::from(c.id), minute as u32, Purpose::Counts, 0);
            let covered = (c.end_us.min(at_us + 60_000_000) - c.start_us.max(at_us)) as f64 / 60e6;
            let n = d.poisson(c.config.size * mean_rps * 2.4 * 60.0 * covered);
            let party = c.source(0, crate::world::Stage::Flood, 0);
            let country = crate::network::asn(party.asn).country;
            let cell = Cell { minute, country, software: party.software, route };
            let sums = self.sums(route, n, &mut d);
            out.push((cell, sums));
            let sent = self.sent.entry(c.id).or_insert((0, at_us, at_us, BTreeMap::new()));
            sent.0 += n;
            sent.2 = at_us + 60_000_000;
            *sent.3.entry(route.name()).or_default() += n;
        }
    }

    fn batch(&self, all: &[(Cell, Sums)]) -> Result<RecordBatch, SimulateError> {
        let start_us = self.options.start_us;
        let marks: Vec<(String, String)> =
            (0..device::SOFTWARE).map(|s| device::marks(self.w.key, s)).collect();
        let text = |f: &dyn Fn(&Cell) -> String| -> ArrayRef {
            Arc::new(all.iter().map(|(c, _)| Some(f(c))).collect::<StringArray>())
        };
        let int = |f: &dyn Fn(&Sums) -> u64| -> ArrayRef {
            Arc::new(all.iter().map(|(_, s)| f(s) as i64).collect::<Int64Array>())
        };
        let times = all.iter().map(|(c, _)| start_us + c.minute * 60_000_000);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
            ("service", text(&|c| c.route.facts().service.to_owned())),
            ("route", text(&|c| c.route.name().to_owned())),
            ("country", text(&|c| COUNTRIES[usize::from(c.country)].code.to_owned())),
            ("ja4", text(&|c| marks[usize::from(c.software)].1.clone())),
            ("user_agent", text(&|c| marks[usize::from(c.software)].0.clone())),
            ("requests", int(&|s| s.requests)),
            ("errors", int(&|s| s.errors)),
            ("bytes", int(&|s| s.bytes)),
            ("latency_us_sum", int(&|s| s.latency_us)),
        ];
        let fields: Vec<Field> =
            columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), false)).collect();
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new(schema, columns.into_iter().map(|c| c.1).collect())
            .map_err(|e| bad::<String>(self.out)(e.to_string()))
    }

    fn put(&mut self, stream: &'static str, batch: &RecordBatch, place: &str) -> Result<(), SimulateError> {
        eat(self.digests.entry(stream).or_default(), batch);
        *self.rows.entry(stream.to_owned()).or_default() += batch.num_rows() as u64;
        write(&self.out.join("events").join(stream).join(place), batch, self.options.files).map(|_| ())
    }

    // Rare rows of a day, block by block.
    fn rare(&mut self, day: u32) -> Result<(), SimulateError> {
        let day_us = self.options.start_us + i64::from(day) * DAY_US;
        for block in 0..self.w.accounts.div_ceil(BLOCK) {
            let ids = block * BLOCK..((block + 1) * BLOCK).min(self.w.accounts);
            let place = format!("{}/block-{block:04}", place(day_us).split('/').next().unwrap_or_default());
            let w = &self.w;
            let mut logins: Vec<Login> =
                ids.clone().into_par_iter().filter_map(|id| login(w, id, day, day_us)).collect();
            logins.sort_by_key(|l| (l.request.intent.time_us, l.request.intent.key));
            let (mut changes, mut contacts) = (Vec::<Change>::new(), Vec::<Contact>::new());
            let (mut leaks, mut verdicts) = (Vec::<Leak>::new(), Vec::<Verdict>::new());
            let rare: Vec<Sparse> =
                ids.into_par_iter().flat_map_iter(|id| sparse::of_account(w, id, day, day_us)).collect();
            for s in rare {
                match s {
                    Sparse::Change(c) => changes.push(c),
                    Sparse::Contact(c) => contacts.push(c),
                    Sparse::Leak(l) => leaks.push(l),
                    Sparse::Verdict(v) => verdicts.push(v),
                    Sparse::Note(_) => {}
                }
            }
            let batches = [
                ("logins", encode::logins(w, &self.words, &logins)),
                ("account_changes", encode::changes(w, &self.words, &changes)),
                ("contacts", encode::contacts(w, &contacts)),
                ("leaks", encode::leaks(w, &leaks)),
                ("verdicts", encode::verdicts(w, &verdicts)),
            ];
            for (stream, batch) in batches {
                let batch = batch.map_err(|e| bad::<String>(self.out)(e.to_string()))?;
                self.put(stream, &batch, &place)?;
            }
        }
        Ok(())
    }

    fn truth(&self) -> (Vec<CampaignTruth>, Vec<HappeningTruth>) {
        let campaigns = self.campaigns.iter().filter_map(|c| {
            let (requests, from, to, routes) = self.sent.get(&c.id)?;
            Some(CampaignTruth {
                name: c.config.name.clone(),
                kind: c.config.kind,
                tier: c.config.tier,
                actor: c.config.name.split('/').next().unwrap_or_default().to_owned(),
                start_us: Some(*from),
                end_us: Some(*to),
                routes: routes.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect(),
                requests: *requests,
                stopped: 0,
                ja4: BTreeMap::new(),
                asns: BTreeMap::new(),
                accounts: 0,
                addresses: None,
                disguises: BTreeMap::new(),
                pace: BTreeMap::new(),
            })
        });
        let happenings = self.events.iter().map(|e| HappeningTruth {
            kind: e.config.kind,
            start_us: e.start_us,
            end_us: e.end_us,
            routes: BTreeMap::new(),
            requests: None,
        });
        (campaigns.collect(), happenings.collect())
    }
}

fn place(us: i64) -> String {
    let hour = us.div_euclid(HOUR_US) * HOUR_US;
    chrono::DateTime::from_timestamp_micros(hour).unwrap_or_default().format("%Y-%m-%d/%H").to_string()
}

// The sign-in of an account on a day, if it has one.
fn login(w: &World, id: u64, day: u32, day_us: i64) -> Option<Login> {
    let mut d = w.key.draws(id, day, Purpose::Counts, 1);
    if !d.chance((w.visits * w.config.login_share).min(1.0)) {
        return None;
    }
    let a = w.account(id);
    if a.joined > day {
        return None;
    }
    let place = COUNTRIES[usize::from(a.country)];
    let local = w.calendar.second(day, d.unit());
    let utc = (local - f64::from(place.offset_min) * 60.0).rem_euclid(86_400.0);
    let session = w.key.veil(event_key(0, id, day, 0xF_FFFF));
    let party = w.party(&a, d.below(u64::from(a.devices)) as u8, day, session, &mut d);
    let right = d.chance(0.85);
    let aux = if a.breached { LOGIN_LEAKED } else { 0 } | if right { 0 } else { LOGIN_WRONG };
    let time_us = day_us + (utc * 1e6) as i64;
    let key = event_key(0, id, day, 0xF_FFFE);
    let intent = Intent { time_us, key, title: 0, aux, route: Route::Login, tries: 0, party };
    let request = Request { intent, status: 200, other_status: 200, latency_us: 0, bytes: 0, decision: None };
    let outcome = if right { LoginOutcome::Success } else { LoginOutcome::WrongCredential };
    Some(Login { request, outcome, mfa: a.mfa })
}
