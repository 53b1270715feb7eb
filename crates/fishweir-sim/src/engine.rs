//! The clock: slices of ten minutes, ticks of ten seconds.
//!
//! In a tick, demand is gathered, counted in order, decided on by what was known up to the tick
//! before, and answered; whatever follows from the answers happens in a later tick.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use crate::abuse;
use crate::campaign::{Burst, Campaign};
use crate::config::{Action, AttackKind, Scenario};
use crate::defence::Defence;
use crate::flood::{self, Now, TICK_US};
use crate::happening::{self, Event};
use crate::intent::{Intent, LOGIN_UNKNOWN, ROUTES, Route, retry_key};
use crate::random::{Draws, Key, Purpose};
use crate::respond::Responders;
use crate::rows::{Challenge, Health, Licence, Login, LoginOutcome, Note, Playback, Request, Slice, Sparse};
use crate::sparse;
use crate::takeover;
use crate::truth::Truth;
use crate::twins;
use crate::visit::{self, Visit};
use crate::world::{BUGGY, HUMAN, NOBODY, Stage, World};

pub(crate) const SLICE_US: i64 = 600_000_000;
pub(crate) const DAY_US: i64 = 86_400_000_000;
const TICKS: i64 = SLICE_US / TICK_US;
const BLOCK: u64 = 1_024;
/// Number of the day before the first: beyond all others, and the same day of the week.
const EVE: u32 = 1_007;
const SERVICES: [&str; 5] = ["auth", "web", "playback", "telemetry", "account"];

/// How work is cut; the result does not depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) shards: u64,
}

/// A simulation under way.
pub(crate) struct Engine {
    pub(crate) w: World,
    pub(crate) start_us: i64,
    pub(crate) campaigns: Vec<Campaign>,
    pub(crate) events: Vec<Event>,
    pub(crate) defence: Defence,
    pub(crate) truth: Truth,
    responders: Responders,
    visits: Vec<Vec<(u32, Visit)>>,
    pending: BTreeMap<i64, Vec<Intent>>,
    ticks: BTreeMap<i64, Vec<Intent>>,
    sparse: BTreeMap<i64, Vec<Sparse>>,
    denied: HashMap<u64, i64>,
    load: Load,
    mean_rps: f64,
    plan_hours: u32,
    cut: Cut,
}

/// Work of the services.
#[derive(Clone, Debug)]
struct Load {
    capacity: [f64; SERVICES.len()],
    work: [u64; SERVICES.len()],
    utilisation: [f64; SERVICES.len()],
    minute: [Minute; SERVICES.len()],
}

#[derive(Clone, Debug, Default)]
struct Minute {
    requests: i64,
    errors: i64,
    shed: i64,
    latencies: Vec<u32>,
}

// A visit drawn into the next day begins at its last slice rather than never.
fn slice_of_day(v: &Visit, day_us: i64) -> i64 {
    ((v.start_us - day_us) / SLICE_US).clamp(0, DAY_US / SLICE_US - 1)
}

fn service(route: Route) -> usize {
    let name = route.facts().service;
    SERVICES.iter().position(|s| *s == name).unwrap_or(0)
}

/// Requests of a member a day by route, from the visits of a sample of accounts.
pub(crate) fn usual(w: &World, start_us: i64) -> [f64; ROUTES] {
    let sample = 2_000;
    let sums = (0..sample)
        .into_par_iter()
        .map(|n| {
            let mut out = Vec::new();
            let account = w.account(n);
            for v in visit::plan(w, n, 2, start_us) {
                visit::expand(w, &account, &v, 2, &mut out);
            }
            let mut counts = [0u64; ROUTES];
            for i in out.iter().filter(|i| i.route.is_request()) {
                counts[i.route as usize] += 1;
            }
            counts
        })
        .reduce(|| [0; ROUTES], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    std::array::from_fn(|i| sums[i] as f64 / sample as f64 / w.calendar.level(2))
}

impl Engine {
    pub(crate) fn new(seed: u64, start_us: i64, scenario: &Scenario, cut: Cut) -> Self {
        let w = World::new(seed, start_us, scenario);
        let usual = usual(&w, start_us);
        let per_second = w.accounts as f64 / 86_400.0;
        let mean_rps = usual.iter().sum::<f64>() * per_second;
        let mut capacity = [0.0; SERVICES.len()];
        for (r, n) in Route::ALL.iter().zip(usual) {
            capacity[service(*r)] += n * per_second * f64::from(r.facts().cost);
        }
        // Highest usual rate: peak over mean 2.4, weekends and automation on top.
        let factor = w.config.capacity_factor * 2.4 * 1.2;
        let capacity = capacity.map(|c| (c * factor).max(40.0));
        let campaigns = crate::plan::campaigns(scenario, seed, start_us);
        let key = Key::new(seed, "happenings");
        let events =
            (0..).zip(&scenario.happenings).map(|(n, h)| Event::new(n, h.clone(), key, start_us)).collect();
        Self {
            defence: Defence::new(&scenario.defence, w.key, start_us),
            responders: Responders::new(&scenario.defence, Key::new(seed, "responders")),
            truth: Truth::default(),
            start_us,
            campaigns,
            events,
            visits: Vec::new(),
            pending: BTreeMap::new(),
            ticks: BTreeMap::new(),
            sparse: BTreeMap::new(),
            denied: HashMap::new(),
            load: Load {
                capacity,
                work: [0; SERVICES.len()],
                utilisation: [0.0; SERVICES.len()],
                minute: std::array::from_fn(|_| Minute::default()),
            },
            mean_rps,
            plan_hours: crate::memory::plan_hours(scenario),
            cut,
            w,
        }
    }

    fn peak_rps(&self) -> f64 {
        self.mean_rps * 2.4
    }

    /// Returns the slices of an hour; hours must be asked for in order.
    pub(crate) fn slices(&mut self, day: u32, hour: u32) -> Vec<Slice> {
        let day_us = self.start_us + i64::from(day) * DAY_US;
        if day == 0 && hour == 0 {
            self.evening_before();
        }
        if hour.is_multiple_of(self.plan_hours) {
            self.visits = self.plan(day, day_us, hour..hour + self.plan_hours);
        }
        self.defence.forget(self.tick_of(day_us) + i64::from(hour) * 360);
        if hour == 0 {
            self.morning(day, day_us);
            self.denied.retain(|_, t| *t > day_us - DAY_US);
        }
        let first = i64::from(hour) * 6;
        (first..first + 6)
            .map(|n| {
                let due = self.visits.get_mut(n as usize).map(std::mem::take).unwrap_or_default();
                self.slice(day, day_us + n * SLICE_US, due)
            })
            .collect()
    }

    fn tick_of(&self, time_us: i64) -> i64 {
        (time_us - self.start_us).div_euclid(TICK_US)
    }

    // What members were doing when the simulation begins: visits of the evening before that reach
    // into it. Without them the first hours would be emptier than any later ones.
    fn evening_before(&mut self) {
        let origin_us = self.start_us - DAY_US - i64::from(EVE) * DAY_US;
        let blocks: Vec<Vec<Intent>> = (0..self.w.accounts.div_ceil(BLOCK))
            .into_par_iter()
            .map(|b| {
                let mut out = Vec::new();
                for id in b * BLOCK..((b + 1) * BLOCK).min(self.w.accounts) {
                    let account = self.w.account(id);
                    if account.joined > 0 {
                        continue;
                    }
                    for v in visit::plan(&self.w, id, EVE, origin_us) {
                        visit::expand(&self.w, &account, &v, EVE, &mut out);
                    }
                }
                out.retain(|i| i.time_us >= self.start_us);
                out
            })
            .collect();
        for i in blocks.into_iter().flatten() {
            self.later(i, self.start_us);
        }
    }

    // Visits of some hours of the day by the slice they begin in.
    fn plan(&self, day: u32, day_us: i64, hours: std::ops::Range<u32>) -> Vec<Vec<(u32, Visit)>> {
        let slices = i64::from(hours.start) * 6..i64::from(hours.end) * 6;
        let mut out: Vec<Vec<(u32, Visit)>> = vec![Vec::new(); (DAY_US / SLICE_US) as usize];
        let blocks = self.w.accounts.div_ceil(BLOCK);
        for shard in 0..self.cut.shards.max(1) {
            let mine: Vec<u64> = (0..blocks).filter(|b| b % self.cut.shards.max(1) == shard).collect();
            let found: Vec<Vec<Visit>> = mine
                .into_par_iter()
                .map(|b| {
                    let ids = b * BLOCK..((b + 1) * BLOCK).min(self.w.accounts);
                    ids.flat_map(|id| {
                        let mut all = visit::plan(&self.w, id, day, self.start_us);
                        let called =
                            self.events.iter().filter_map(|e| e.visit(&self.w, id, day, self.start_us));
                        // Nobody comes before they joined.
                        all.extend(called.filter(|_| self.w.account(id).joined <= day));
                        all.into_iter().filter(|v| slices.contains(&slice_of_day(v, day_us)))
                    })
                    .collect()
                })
                .collect();
            for v in found.into_iter().flatten() {
                out[slice_of_day(&v, day_us) as usize].push((day, v));
            }
        }
        out
    }

    // What is laid down for the day before it begins.
    fn morning(&mut self, day: u32, day_us: i64) {
        let mut burst = Burst::default();
        let mut taken = Vec::new();
        for (n, c) in self.campaigns.iter().enumerate() {
            abuse::day(c, &self.w, day, day_us, &mut burst);
            taken.extend(takeover::attempts(c, &self.w, day, day_us, &mut burst).into_iter().map(|t| (n, t)));
        }
        for (n, (account, at_us)) in taken {
            self.taken(n, account, at_us, &mut burst);
        }
        let twins = twins::of_day(&self.w, day, day_us);
        burst.intents.extend(twins.intents);
        burst.sparse.extend(twins.sparse);
        for (account, change) in sparse::arrivals(&self.w, day, day_us) {
            if change.change == "reactivate" {
                self.truth.twin(account, "returner", change.time_us);
            }
            burst.sparse.push(Sparse::Change(change));
        }
        burst.sparse.extend(sparse::of_day(&self.w, day, day_us));
        if day == 0 {
            let (events, campaigns) = (&self.events, &self.campaigns);
            burst.sparse.extend(sparse::notes(&self.w, events, campaigns).into_iter().map(Sparse::Note));
        }
        self.keep(burst, day_us);
    }

    fn taken(&mut self, campaign: usize, account: u64, at_us: i64, burst: &mut Burst) {
        let c = &mut self.campaigns[campaign];
        if account < self.w.accounts && c.accounts.insert(account) {
            let truth = takeover::begin(c, &self.w, account, at_us, self.start_us, burst);
            self.truth.accounts.push(truth);
        }
    }

    // Puts what happens later where it will be found; nothing happens before `after`.
    fn keep(&mut self, burst: Burst, after: i64) {
        for i in burst.intents {
            self.later(i, after);
        }
        for s in burst.sparse {
            let at = s.time_us().max(after);
            self.sparse.entry(at.div_euclid(SLICE_US)).or_default().push(s);
        }
    }

    fn later(&mut self, mut i: Intent, after: i64) {
        i.time_us = i.time_us.max(after);
        self.pending.entry(i.time_us.div_euclid(SLICE_US)).or_default().push(i);
    }

    fn slice(&mut self, day: u32, from_us: i64, visits: Vec<(u32, Visit)>) -> Slice {
        let blocks: Vec<Vec<Intent>> = visits
            .par_chunks(64)
            .map(|block| {
                let mut out = Vec::new();
                for (day, v) in block {
                    visit::expand(&self.w, &self.w.account(v.account), v, *day, &mut out);
                }
                out
            })
            .collect();
        for i in blocks.into_iter().flatten() {
            self.later(i, from_us);
        }
        let mut all = self.pending.remove(&from_us.div_euclid(SLICE_US)).unwrap_or_default();
        all.par_sort_unstable_by_key(|i| (i.time_us, i.key));
        let mut out = Slice::default();
        let mut at = 0;
        for n in 0..TICKS {
            let time_us = from_us + n * TICK_US;
            let end = at + all[at..].partition_point(|i| i.time_us < time_us + TICK_US);
            self.tick(day, time_us, &all[at..end], &mut out);
            at = end;
        }
        let minute = self.sparse.remove(&from_us.div_euclid(SLICE_US)).unwrap_or_default();
        for s in minute {
            match s {
                Sparse::Change(c) => out.changes.push(c),
                Sparse::Contact(c) => out.contacts.push(c),
                Sparse::Leak(l) => out.leaks.push(l),
                Sparse::Note(n) => out.notes.push(n),
                Sparse::Verdict(v) => out.verdicts.push(v),
            }
        }
        out.changes.sort_by_key(|c| (c.time_us, c.account));
        out.contacts.sort_by_key(|c| (c.time_us, c.account));
        out.leaks.sort_by_key(|c| (c.time_us, c.account));
        out.notes.sort_by_key(|c| c.time_us);
        out.verdicts.sort_by_key(|c| (c.time_us, c.account));
        out
    }

    fn tick(&mut self, day: u32, time_us: i64, planned: &[Intent], out: &mut Slice) {
        let tick = self.tick_of(time_us);
        let now = Now { tick, time_us, day, peak_rps: self.peak_rps() };
        let mut burst = Burst::default();
        burst.intents.extend_from_slice(planned);
        burst.intents.extend(self.ticks.remove(&tick).unwrap_or_default());
        let level = self.w.calendar.minute(day, ((time_us - self.start_us) / 60_000_000 % 1_440) as u32);
        happening::automation(&self.w, now, self.mean_rps, level, &mut burst);
        for e in &self.events {
            e.tick(&self.w, now, self.mean_rps, &mut burst);
        }
        for c in &self.campaigns {
            if c.is_flood() {
                flood::tick(c, &self.w, now, &mut burst);
            }
        }
        burst.intents.sort_unstable_by_key(|i| (i.time_us, i.key));
        let answers = self.answer(&burst.intents, tick);
        self.account_for(answers, now, out);
        self.measure_load();
        self.defence.count(burst.intents.iter().copied().filter(|i| i.route.is_request()), tick);
        if (tick + 1) % 6 == 0 {
            self.minute(time_us, out);
        }
    }

    // Work that got through in this tick; the next tick feels it.
    fn measure_load(&mut self) {
        for s in 0..SERVICES.len() {
            let asked = self.load.work[s] as f64 / 10.0 / self.load.capacity[s];
            self.load.utilisation[s] = 0.5 * self.load.utilisation[s] + 0.5 * asked;
            self.load.work[s] = 0;
        }
    }

    // What becomes of each wish: a pure function of what was known before the tick.
    fn answer(&self, intents: &[Intent], tick: i64) -> Vec<Request> {
        let one = |i: &Intent| self.outcome(i, tick);
        if intents.len() > 4_096 {
            intents.par_iter().with_min_len(1_024).map(one).collect()
        } else {
            intents.iter().map(one).collect()
        }
    }

    fn outcome(&self, i: &Intent, tick: i64) -> Request {
        let mut d = self.w.key.draws(i.key, u32::from(i.tries), Purpose::Outcome, 0);
        let facts = i.route.facts();
        let plain =
            Request { intent: *i, status: 200, other_status: 0, latency_us: 0, bytes: 0, decision: None };
        if !i.route.is_request() {
            return plain;
        }
        let campaign = usize::from(i.party.campaign).checked_sub(1).and_then(|n| self.campaigns.get(n));
        let skill = campaign.map_or(0.0, Campaign::skill);
        let mfa = i.route == Route::Login
            && i.party.account < self.w.accounts
            && self.w.account(i.party.account).mfa;
        let decision = self.defence.decide(i, tick, &mut d, mfa, skill);
        let mut r = Request { decision, ..plain };
        let u = self.load.utilisation[service(i.route)];
        let base = f64::from(work_of(i)) * 900.0 + 3_000.0;
        let slow = campaign.is_some_and(|c| c.config.kind == AttackKind::A4);
        let latency = if slow {
            d.between(30e6, 300e6)
        } else {
            base * libm::exp(0.35 * d.normal()) / (1.0 - u.min(0.95))
        };
        r.latency_us = latency.min(4e9) as u32;
        r.bytes =
            if slow { d.below(900) as u32 } else { (f64::from(facts.bytes) * d.between(0.7, 1.4)) as u32 };
        let served = self.served(i, u, &mut d);
        let refused = if decision.is_some_and(|x| x.action == Action::Limit) { 429 } else { 403 };
        if r.stopped() {
            (r.status, r.other_status) = (refused, served);
            r.latency_us = 800 + d.below(2_500) as u32;
            r.bytes = 180 + d.below(90) as u32;
            return r;
        }
        (r.status, r.other_status) = (served, refused);
        if r.status == 503 {
            r.latency_us = 900 + d.below(900) as u32;
        }
        r
    }

    // Status of a wish that no defence stops, at a load of its service.
    fn served(&self, i: &Intent, u: f64, d: &mut Draws) -> u16 {
        // Low priority goes first as the service fills up.
        let over = ((u - 0.8) / 0.6).clamp(0.0, 1.0);
        if over > 0.0 && f64::from(i.route.facts().priority) > 100.0 * (1.0 - over * over * over) {
            return 503;
        }
        let failing = self.w.config.error_share + (u - 0.95).max(0.0) * 0.6;
        if d.chance(failing.min(0.9)) || (i.party.stage == Stage::RetryStorm && d.chance(0.35)) {
            return if u > 0.95 { 504 } else { 500 };
        }
        match i.route {
            Route::Login if i.aux & 3 != 0 => 401,
            Route::Nowhere => 404,
            Route::Payment if i.aux & 1 != 0 => 402,
            Route::Gift if i.aux & 1 != 0 => 404,
            _ => 200,
        }
    }

    fn account_for(&mut self, answers: Vec<Request>, now: Now, out: &mut Slice) {
        let mut burst = Burst::default();
        let mut sent = vec![(0u64, 0u64); self.campaigns.len()];
        for r in answers {
            let i = r.intent;
            if !i.route.is_request() {
                self.playback(&i, out);
                continue;
            }
            let minute = &mut self.load.minute[service(i.route)];
            minute.requests += 1;
            minute.errors += i64::from(r.status >= 500);
            minute.shed += i64::from(r.status == 503);
            if minute.latencies.len() < 4_096 {
                minute.latencies.push(r.latency_us);
            }
            let stopped = r.stopped();
            if !stopped && r.status != 503 {
                self.load.work[service(i.route)] += u64::from(work_of(&i));
            }
            if let Some(n) = usize::from(i.party.campaign).checked_sub(1) {
                sent[n].0 += 1;
                sent[n].1 += u64::from(stopped);
                self.campaigns[n].note(&i, stopped);
            } else if let Some(e) = self
                .events
                .iter_mut()
                .find(|e| e.stage() == i.party.stage && i.time_us >= e.start_us - 1_800_000_000)
            {
                e.requests += 1;
                *e.routes.entry(i.route.name()).or_default() += 1;
            }
            self.responders.see(&i, stopped);
            self.truth.request(&r);
            match i.route {
                Route::Login => self.login(&r, &mut burst, out),
                Route::Licence => self.licence(&r, out),
                _ => {}
            }
            self.react(&r, stopped, now, &mut burst);
            out.requests.push(r);
        }
        for (c, (n, stopped)) in self.campaigns.iter_mut().zip(sent) {
            c.observe(now.time_us, n, stopped);
        }
        self.keep_from_tick(burst, now);
    }

    // Reactions come no earlier than the next tick.
    fn keep_from_tick(&mut self, burst: Burst, now: Now) {
        let next_us = now.time_us + TICK_US;
        let slice_end = (now.time_us.div_euclid(SLICE_US) + 1) * SLICE_US;
        for mut i in burst.intents {
            i.time_us = i.time_us.max(next_us);
            if i.time_us < slice_end {
                self.ticks.entry(self.tick_of(i.time_us)).or_default().push(i);
            } else {
                self.pending.entry(i.time_us.div_euclid(SLICE_US)).or_default().push(i);
            }
        }
        for s in burst.sparse {
            let slice = s.time_us().max(next_us).div_euclid(SLICE_US);
            self.sparse.entry(slice.max(now.time_us.div_euclid(SLICE_US))).or_default().push(s);
        }
    }

    fn playback(&self, i: &Intent, out: &mut Slice) {
        let denied = self.denied.contains_key(&(i.party.session ^ u64::from(i.title)));
        let (event, error) = match i.route {
            Route::PlayStart if denied => ("fail", Some("LICENCE_DENIED")),
            Route::PlayStart => ("start", None),
            _ if denied => return,
            _ => ("stop", None),
        };
        out.playbacks.push(Playback { intent: *i, event, error });
    }

    fn login(&mut self, r: &Request, burst: &mut Burst, out: &mut Slice) {
        let i = r.intent;
        let challenged = r.decision.and_then(|d| d.challenge);
        let wrong = i.aux & 3;
        let outcome = match (r.stopped(), challenged) {
            (true, Some(_)) => LoginOutcome::ChallengeFailed,
            (true, None) => LoginOutcome::Denied,
            _ if r.status >= 500 => return,
            _ if wrong & LOGIN_UNKNOWN != 0 => LoginOutcome::UnknownAccount,
            _ if wrong != 0 => LoginOutcome::WrongCredential,
            (false, Some(Challenge::Passed)) => LoginOutcome::ChallengePassed,
            _ => LoginOutcome::Success,
        };
        let mfa = i.party.account < self.w.accounts && self.w.account(i.party.account).mfa;
        out.logins.push(Login { request: *r, outcome, mfa });
        let campaign = usize::from(i.party.campaign).checked_sub(1);
        if let Some(n) = campaign.filter(|_| outcome.is_in()) {
            // A second factor that the attacker does not have ends it.
            if !mfa || self.campaigns[n].config.kind == AttackKind::B7 {
                self.taken(n, i.party.account, i.time_us, burst);
            }
        }
    }

    fn licence(&mut self, r: &Request, out: &mut Slice) {
        let i = r.intent;
        let outcome = if r.stopped() {
            "denied"
        } else if r.status >= 500 {
            "failed"
        } else {
            "granted"
        };
        if outcome != "granted" {
            self.denied.insert(i.party.session ^ u64::from(i.title), i.time_us);
        }
        out.licences.push(Licence { request: *r, outcome });
    }

    // What people do when they are refused or something fails: they try again, some call.
    fn react(&self, r: &Request, stopped: bool, now: Now, burst: &mut Burst) {
        let i = r.intent;
        let person = i.party.campaign == 0 && i.party.flags & HUMAN != 0;
        let failed = stopped || r.status >= 500;
        if !person || !failed || matches!(i.route, Route::Beacon | Route::Heartbeat) {
            return;
        }
        let buggy = i.party.flags & BUGGY != 0;
        let most = if buggy { 6 } else { 3 };
        let mut d = self.w.key.draws(i.key, u32::from(i.tries), Purpose::Outcome, 1);
        if i.tries < most && d.chance(if buggy { 0.85 } else { 0.7 }) {
            let wait =
                if buggy { d.exponential(6.0) } else { 2.0 * f64::from(1 << i.tries) * d.between(1.0, 3.0) };
            let tries = i.tries + 1;
            let time_us = i.time_us + (wait * 1e6) as i64;
            burst.intents.push(Intent { time_us, tries, key: retry_key(i.key, tries), ..i });
        } else if i.party.account != NOBODY && i.party.account < self.w.accounts && d.chance(0.02) {
            let topic = if i.route == Route::Login { "cannot_sign_in" } else { "cannot_play" };
            let lag = d.lognormal(3.0, 1.2).min(72.0);
            let at_us = now.time_us + (lag * 3_600e6) as i64;
            burst.sparse.push(takeover::contact(at_us, i.party.account, topic, None, &mut d));
        }
    }

    fn minute(&mut self, time_us: i64, out: &mut Slice) {
        let at_us = time_us.div_euclid(60_000_000) * 60_000_000;
        for (s, m) in self.load.minute.iter_mut().enumerate() {
            let mut m = std::mem::take(m);
            m.latencies.sort_unstable();
            let rank = |q: f64| {
                m.latencies
                    .get(((m.latencies.len() as f64 * q) as usize).min(m.latencies.len().saturating_sub(1)))
                    .copied()
                    .unwrap_or(0)
            };
            out.health.push(Health {
                time_us: at_us,
                service: SERVICES[s],
                requests: m.requests,
                errors: m.errors,
                p50_us: i64::from(rank(0.5)),
                p99_us: i64::from(rank(0.99)),
                utilisation: libm::round(self.load.utilisation[s].min(9.99) * 1e4) / 1e4,
                shed: m.shed,
            });
        }
        out.notes.extend(self.responders.minute(time_us + TICK_US, &mut self.defence));
    }
}

pub(crate) fn work_of(i: &Intent) -> u32 {
    let cost = i.route.facts().cost;
    match i.route {
        Route::Search if i.aux > 0 => cost * (1 + i.aux / 40),
        Route::Recs => cost * (1 + i.aux / 5),
        _ => cost,
    }
}

/// A note without an end.
pub(crate) fn note(
    time_us: i64,
    kind: &'static str,
    title: &str,
    text: String,
    actor: &'static str,
    confidence: f64,
) -> Note {
    Note { time_us, until_us: None, kind, title: title.to_owned(), text, actor, confidence }
}
