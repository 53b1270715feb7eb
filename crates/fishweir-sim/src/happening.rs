//! Benign happenings that look like attacks, and the automation that is always there.

use crate::campaign::Burst;
use crate::catalogue::launch_decay;
use crate::config::{Happening, HappeningKind};
use crate::device::{self, KINDS};
use crate::flood::{Now, TICK_US};
use crate::intent::{Intent, Route, event_key};
use crate::network::{self, COUNTRIES};
use crate::random::{Draws, Key, Purpose};
use crate::visit::Visit;
use crate::world::{BUGGY, HUMAN, NOBODY, Party, SHARED, SHUFFLED, Stage, World};

const DAY_US: i64 = 86_400_000_000;

/// A happening with its place in time.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) number: u64,
    pub(crate) config: Happening,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) requests: u64,
    pub(crate) routes: std::collections::BTreeMap<&'static str, u64>,
    key: Key,
    kind: u8,
}

impl Event {
    pub(crate) fn new(number: u64, config: Happening, key: Key, start_us: i64) -> Self {
        let from = start_us + (config.day * 86_400e6) as i64;
        let mut d = key.draws(number, 0, Purpose::Happening, 0);
        // Television sets and sticks get updates and all sign in again; phones do not.
        let kind =
            d.pick((0..KINDS.len()).map(|k| f64::from(u8::from(KINDS[k].television)) * KINDS[k].time_share));
        Self {
            number,
            start_us: from,
            end_us: from + (config.minutes * 60e6) as i64,
            config,
            requests: 0,
            routes: std::collections::BTreeMap::new(),
            key,
            kind: kind as u8,
        }
    }

    pub(crate) const fn stage(&self) -> Stage {
        match self.config.kind {
            HappeningKind::Launch => Stage::Launch,
            HappeningKind::Live => Stage::Live,
            HappeningKind::RetryStorm => Stage::RetryStorm,
            HappeningKind::Relogin => Stage::Relogin,
            HappeningKind::Deploy => Stage::Deploy,
            HappeningKind::GuideRefresh => Stage::GuideRefresh,
            HappeningKind::LoadTest => Stage::LoadTest,
            HappeningKind::BankOutage => Stage::BankOutage,
        }
    }

    /// Visit that a launch or a live event draws from an account on a day.
    pub(crate) fn visit(&self, w: &World, account: u64, day: u32, start_us: i64) -> Option<Visit> {
        let day_us = start_us + i64::from(day) * DAY_US;
        let seq = 190 + (self.number % 10) as u16;
        let title = Some(w.catalogue.len() + self.number as u32);
        let mut d = self.key.draws(account, day, Purpose::Happening, 1 + self.number as u32);
        match self.config.kind {
            HappeningKind::Launch => {
                let age = (day_us + DAY_US / 2 - self.start_us) as f64 / DAY_US as f64;
                let first = day_us <= self.start_us && self.start_us < day_us + DAY_US;
                if !first && (day_us < self.start_us || age > 60.0) {
                    return None;
                }
                let share = if first { 1.0 } else { launch_decay(age) };
                if !d.chance((self.config.size * w.visits.min(1.5)).min(0.95) * share) {
                    return None;
                }
                let at_us = if first {
                    // The first evening: a ramp over one to three hours.
                    self.start_us + (d.lognormal(80.0, 0.8) * 60e6) as i64
                } else {
                    let a = w.account(account);
                    let offset = f64::from(COUNTRIES[usize::from(a.country)].offset_min) * 60.0;
                    day_us + ((w.calendar.second(day, d.unit()) - offset).rem_euclid(86_400.0) * 1e6) as i64
                };
                Some(Visit { account, start_us: at_us, seq, title, stage: Stage::Launch, until_us: i64::MAX })
            }
            HappeningKind::Live => {
                let here = day_us <= self.start_us && self.start_us < day_us + DAY_US;
                if !here || !d.chance((self.config.size * w.visits.min(1.5)).min(0.95)) {
                    return None;
                }
                // Most come in the minutes around the start; all leave at the end.
                let at_us = self.start_us + ((d.lognormal(12.0, 0.7) - 14.0) * 60e6) as i64;
                let until_us = self.end_us + (d.exponential(45.0) * 1e6) as i64;
                Some(Visit { account, start_us: at_us, seq, title, stage: Stage::Live, until_us })
            }
            _ => None,
        }
    }

    /// Requests of a tick, for happenings that are made of requests.
    pub(crate) fn tick(&self, w: &World, now: Now, mean_rps: f64, out: &mut Burst) {
        if self.start_us >= now.time_us + TICK_US || self.end_us <= now.time_us {
            return;
        }
        let through = (now.time_us - self.start_us) as f64 / (self.end_us - self.start_us) as f64;
        let swell = match self.config.kind {
            HappeningKind::Launch | HappeningKind::Live => return,
            // Broken clients pile up, then the fix rolls out.
            HappeningKind::RetryStorm => (through * 8.0).min(1.0) * (1.0 - through * through),
            HappeningKind::Relogin => (through * 5.0).min(1.0) * (1.0 - through),
            HappeningKind::GuideRefresh => {
                let into_hour = (now.time_us / 1_000_000).rem_euclid(3_600);
                libm::exp(-(into_hour as f64) / 40.0) * 6.0
            }
            HappeningKind::Deploy | HappeningKind::LoadTest | HappeningKind::BankOutage => 1.0,
        };
        let tick_of_day = (now.tick % 8_640) as u32;
        let mut d =
            self.key.draws(self.number << 32 | u64::from(tick_of_day), now.day, Purpose::Happening, 0);
        let n = d.poisson(self.config.size * mean_rps * swell * 10.0);
        for k in 0..n {
            let Some(party) = self.party(w, now, &mut d) else { continue };
            let (route, aux) = match self.config.kind {
                HappeningKind::RetryStorm => (Route::Licence, 0),
                HappeningKind::Relogin => (Route::Login, u32::from(!d.chance(0.85))),
                HappeningKind::GuideRefresh => (Route::List, 0),
                HappeningKind::Deploy => (Route::Recs, 25),
                HappeningKind::BankOutage => (Route::Payment, 1),
                _ => (if d.chance(0.5) { Route::Home } else { Route::Title }, 0),
            };
            let time_us = now.time_us + (d.unit() * TICK_US as f64) as i64;
            let entity = (1 << 29) | (self.number << 14) | u64::from(tick_of_day);
            let key = event_key(2, entity, now.day, k as u32);
            let title = w.catalogue.title(d.unit());
            out.intents.push(Intent { time_us, key, title, aux, route, tries: 0, party });
        }
    }

    // A member with a device of the kind concerned.
    fn party(&self, w: &World, now: Now, d: &mut Draws) -> Option<Party> {
        if self.config.kind == HappeningKind::LoadTest {
            let asn = network::centre(3);
            let ip = network::address(asn, false, 7 + d.below(3));
            let (software, session) = (device::tool(1), d.bits());
            return Some(Party {
                account: NOBODY,
                device: NOBODY,
                session,
                ip,
                asn,
                software,
                kind: 10,
                campaign: 0,
                stage: self.stage(),
                flags: 0,
            });
        }
        for _ in 0..12 {
            let a = w.account(d.below(w.accounts));
            // Nobody comes before they joined.
            if a.joined > now.day {
                continue;
            }
            let slot = d.below(u64::from(a.devices)) as u8;
            let kind = w.device(a.id, slot).0;
            let wanted = match self.config.kind {
                HappeningKind::RetryStorm | HappeningKind::Relogin => kind == self.kind,
                HappeningKind::GuideRefresh => KINDS[usize::from(kind)].television,
                _ => true,
            };
            if wanted {
                let session = w.key.veil(event_key(2, a.id, now.day, u32::from(slot)));
                let mut p = w.party(&a, slot, now.day, session, d);
                p.stage = self.stage();
                if self.config.kind == HappeningKind::RetryStorm {
                    p.flags |= BUGGY;
                }
                return Some(p);
            }
        }
        None
    }
}

/// Crawlers, monitors, partners, and people who are no members yet.
pub(crate) fn automation(w: &World, now: Now, mean_rps: f64, level: f64, out: &mut Burst) {
    let tick_of_day = (now.tick % 8_640) as u32;
    let mut d = w.key.draws(1 << 40 | u64::from(tick_of_day), now.day, Purpose::Sparse, 0);
    let bots = d.poisson(w.config.automation_share * 0.5 * mean_rps * 10.0);
    let people = d.poisson(w.config.automation_share * 0.5 * mean_rps * 10.0 * level);
    for k in 0..bots + people {
        let person = k >= bots;
        let (party, route) = if person { visitor(w, now, &mut d) } else { machine(w, &mut d) };
        let time_us = now.time_us + (d.unit() * TICK_US as f64) as i64;
        let key = event_key(2, 1 << 28 | u64::from(tick_of_day), now.day, k as u32);
        let title = w.catalogue.title(d.unit());
        out.intents.push(Intent { time_us, key, title, aux: 0, route, tries: 0, party });
    }
}

fn machine(w: &World, d: &mut Draws) -> (Party, Route) {
    let which = 4 + d.pick([0.5, 0.2, 0.3].into_iter()) as u64;
    let host = d.below(6) + which * 8;
    let asn = network::centre(which);
    let route = match which {
        5 => Route::Status,
        6 => {
            if d.chance(0.5) {
                Route::Title
            } else {
                Route::List
            }
        }
        _ => {
            if d.chance(0.8) {
                Route::Title
            } else {
                Route::Home
            }
        }
    };
    let party = Party {
        account: NOBODY,
        device: NOBODY,
        session: w.key.veil(1 << 61 | host),
        ip: network::address(asn, false, host),
        asn,
        software: device::tool(which),
        kind: device::CHROME,
        campaign: 0,
        stage: Stage::Automation,
        flags: 0,
    };
    (party, route)
}

fn visitor(w: &World, now: Now, d: &mut Draws) -> (Party, Route) {
    let country = d.pick(COUNTRIES.iter().map(|c| c.share)) as u8;
    let asn = network::fixed(country, d.below(1 << 20));
    let shared = d.chance(0.2);
    let host = if shared { 8_192 + d.below(u64::from(w.config.cgnat_addresses)) } else { d.below(1 << 20) };
    let kind = [10, 10, 11, 12, 13, 6, 7][d.below(7) as usize];
    let lag = d.below(4) as u16;
    let flags = HUMAN
        | if shared { SHARED } else { 0 }
        | if KINDS[usize::from(kind)].shuffles { SHUFFLED } else { 0 };
    let party = Party {
        account: NOBODY,
        device: NOBODY,
        session: d.bits(),
        ip: network::address(asn, shared, host),
        asn,
        software: device::software(kind, w.version(lag, now.day)),
        kind,
        campaign: 0,
        stage: Stage::Member,
        flags,
    };
    let route = [Route::Home, Route::Home, Route::Home, Route::Title, Route::Title, Route::SignUp]
        [d.below(6) as usize];
    (party, route)
}
