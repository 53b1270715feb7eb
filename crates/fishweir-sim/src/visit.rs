//! Visits of members: when they come, and what they do until they leave.

use crate::device::KINDS;
use crate::intent::{Intent, LOGIN_LEAKED, LOGIN_OK, LOGIN_UNKNOWN, LOGIN_WRONG, Route, event_key};
use crate::network::COUNTRIES;
use crate::random::{Draws, Purpose};
use crate::world::{Account, NEW_DEVICE, Party, Stage, World};

/// Plays per visit that the chain below gives; the calibration checks the hours that follow.
pub(crate) const PLAYS_PER_VISIT: f64 = 2.09;

/// A visit of a member on a day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) account: u64,
    pub(crate) start_us: i64,
    pub(crate) seq: u16,
    /// Title that draws this visit: a launch or a live event.
    pub(crate) title: Option<u32>,
    pub(crate) stage: Stage,
    /// Live: everybody leaves at this time.
    pub(crate) until_us: i64,
}

const DAY_US: i64 = 86_400_000_000;

/// Returns the visits of an account on a day of the simulation, unordered.
pub(crate) fn plan(w: &World, id: u64, day: u32, start_us: i64) -> Vec<Visit> {
    let a = w.account(id);
    if a.joined > day {
        return Vec::new();
    }
    let mut d = w.key.draws(id, day, Purpose::Day, 0);
    let mean = w.visits * w.calendar.level(day);
    let n = d.negative_binomial(mean, w.config.visits_dispersion).min(200);
    let offset = f64::from(COUNTRIES[usize::from(a.country)].offset_min) * 60.0;
    let day_us = start_us + i64::from(day) * DAY_US;
    (0..n)
        .map(|seq| {
            let local = w.calendar.second(day, d.unit());
            let utc = (local - offset).rem_euclid(86_400.0);
            Visit {
                account: id,
                start_us: day_us + (utc * 1e6) as i64,
                seq: seq as u16,
                title: None,
                stage: Stage::Member,
                until_us: i64::MAX,
            }
        })
        .collect()
}

/// Minutes from start to stop: 37 % end within 5, 53 % within 10, 75 % within 25; mean 35.
pub(crate) fn play_minutes(d: &mut Draws) -> f64 {
    let u = d.unit();
    if u < 0.37 {
        5.0 * libm::pow(d.unit(), 1.6)
    } else if u < 0.53 {
        d.between(5.0, 10.0)
    } else if u < 0.75 {
        d.between(10.0, 25.0)
    } else {
        d.between(25.0, 212.0)
    }
}

/// Writes the wishes of one party in order, numbering them.
pub(crate) struct Script<'a> {
    pub(crate) w: &'a World,
    pub(crate) party: Party,
    pub(crate) at_us: i64,
    pub(crate) until_us: i64,
    pub(crate) source: u64,
    pub(crate) entity: u64,
    pub(crate) day: u32,
    pub(crate) next: u32,
    pub(crate) out: &'a mut Vec<Intent>,
}

impl Script<'_> {
    pub(crate) fn wait(&mut self, seconds: f64) {
        self.at_us += (seconds.max(0.0) * 1e6) as i64;
    }

    pub(crate) fn say(&mut self, route: Route, title: u32, aux: u32) {
        let key = event_key(self.source, self.entity, self.day, self.next);
        self.next += 1;
        self.out.push(Intent { time_us: self.at_us, key, title, aux, route, tries: 0, party: self.party });
    }

    fn over(&self) -> bool {
        self.at_us >= self.until_us
    }

    /// One title from manifest to stop; returns the minutes watched.
    pub(crate) fn play(&mut self, d: &mut Draws, title: u32, minutes: f64) -> f64 {
        self.say(Route::Manifest, title, 0);
        self.wait(d.between(0.1, 0.5));
        self.say(Route::Licence, title, 0);
        self.wait(d.between(0.3, 1.5));
        self.say(Route::PlayStart, title, 0);
        let begun = self.at_us;
        let end = (begun + (minutes * 60e6) as i64).min(self.until_us.max(begun));
        let beat = i64::from(self.w.config.heartbeat_s) * 1_000_000;
        self.at_us += beat;
        while self.at_us < end {
            self.say(Route::Heartbeat, title, 0);
            self.at_us += beat;
        }
        self.at_us = end;
        let watched = (end - begun) / 1_000_000;
        self.say(Route::PlayStop, title, watched as u32);
        watched as f64 / 60.0
    }

    /// Sign-in of a person: mistypes, tries again, gives up after three.
    pub(crate) fn login(&mut self, d: &mut Draws, breached: bool) -> bool {
        let leaked = if breached { LOGIN_LEAKED } else { 0 };
        for attempt in 0..3 {
            let right = d.chance(if attempt == 0 { 0.85 } else { 0.65 });
            if !right && d.chance(MISTYPED_NAME) {
                let owner = std::mem::replace(&mut self.party.account, 1 << 40 | d.below(1 << 34));
                self.say(Route::Login, 0, LOGIN_UNKNOWN);
                self.party.account = owner;
            } else {
                self.say(Route::Login, 0, leaked | if right { LOGIN_OK } else { LOGIN_WRONG });
            }
            self.wait(d.lognormal(9.0, 0.6));
            if right {
                return true;
            }
        }
        false
    }
}

/// Share of failed sign-ins of people in which the name, not the password, is wrong.
const MISTYPED_NAME: f64 = 0.1;
const BUSY_US: i64 = 8 * 3_600_000_000;

/// Appends everything a visit does.
pub(crate) fn expand(w: &World, a: &Account, v: &Visit, day: u32, out: &mut Vec<Intent>) {
    let mut d = w.key.draws(a.id, day, Purpose::Visit, u32::from(v.seq));
    let session = w.key.veil(event_key(0, a.id, day, u32::from(v.seq) | 0x8_0000));
    let slot = d.below(u64::from(a.devices)) as u8;
    let mut party = w.party(a, slot, day, session, &mut d);
    if v.stage != Stage::Member {
        party.stage = v.stage;
    }
    let fresh = d.chance(0.08 / 30.0 / w.visits.max(0.05));
    let login = fresh || d.chance(w.config.login_share);
    if fresh {
        party.flags |= NEW_DEVICE;
        party.device ^= (1 + d.below(1 << 20)) << 20;
    }
    let until_us = v.until_us.min(v.start_us + BUSY_US);
    let next = u32::from(v.seq) * 4_096;
    let mut s = Script { w, party, at_us: v.start_us, until_us, source: 0, entity: a.id, day, next, out };
    if login {
        if !s.login(&mut d, a.breached) {
            return;
        }
    } else {
        s.say(Route::Token, 0, 0);
        s.wait(d.between(0.2, 1.0));
    }
    if d.chance(w.config.account_page_share) {
        s.say(Route::AccountPage, 0, 0);
        s.wait(d.lognormal(20.0, 0.7));
    }
    browse(&mut s, &mut d, v.title);
}

fn browse(s: &mut Script<'_>, d: &mut Draws, wanted: Option<u32>) {
    let kind = KINDS[usize::from(s.party.kind) % KINDS.len()];
    let think = if kind.television { 5.0 } else { 8.0 };
    if d.chance(0.9) {
        s.say(Route::Profile, 0, 0);
        s.wait(d.lognormal(3.0, 0.6));
    }
    s.say(Route::Home, 0, 0);
    s.wait(d.lognormal(think, 0.9));
    let mut first = true;
    let mut steps = 0;
    while steps < 30 && !s.over() {
        steps += 1;
        let move_ = if first && wanted.is_some() {
            3
        } else {
            d.pick([0.55, 0.12, 0.25, if first { 0.25 } else { 0.0 }, 0.05].into_iter())
        };
        let play = match move_ {
            3 => true,
            4 => break,
            other => match look(s, d, other, think) {
                Some(play) => play,
                None => break,
            },
        };
        if play {
            let title = match wanted {
                Some(t) if first => t,
                _ => s.w.catalogue.title(d.unit()),
            };
            first = false;
            watch(s, d, title, kind.stay);
            s.say(Route::Beacon, title, 0);
            if d.chance(0.5) || s.over() {
                break;
            }
            s.say(Route::Home, 0, 0);
            if d.chance(0.3) {
                s.say(Route::Recs, title, 1 + d.below(10) as u32);
            }
        } else {
            first = first && move_ != 3;
            s.wait(d.lognormal(think, 0.9));
        }
    }
    if s.over() && s.party.stage == Stage::Live {
        // The whole audience falls back to the home page at the same moment.
        s.wait(d.exponential(40.0));
        s.say(Route::Home, 0, 0);
        s.wait(d.exponential(10.0));
        s.say(Route::Recs, 0, 1);
    }
}

// A list, a search or a title; says whether a play follows, and nothing when the visit ends.
fn look(s: &mut Script<'_>, d: &mut Draws, what: usize, think: f64) -> Option<bool> {
    match what {
        0 => {
            s.say(Route::List, d.below(200) as u32, (d.below(6) * 40) as u32);
            if d.chance(0.12) {
                // Fetched ahead, not asked for by anybody.
                let title = s.w.catalogue.title(d.unit());
                s.say(Route::Manifest, title, 1);
                s.say(Route::Licence, title, 1);
            }
            Some(false)
        }
        1 => {
            for _ in 0..1 + d.below(4) {
                let limit = if d.chance(0.5) { 0 } else { 20 + d.below(100) };
                s.say(Route::Search, d.below(4_000) as u32, limit as u32);
                s.wait(d.lognormal(2.0, 0.5));
            }
            Some(false)
        }
        _ => {
            s.say(Route::Title, s.w.catalogue.title(d.unit()), 0);
            s.wait(d.lognormal(think, 0.9));
            let next = d.unit();
            if next > 0.9 { None } else { Some(next < 0.45) }
        }
    }
}

fn watch(s: &mut Script<'_>, d: &mut Draws, title: u32, stay: f64) {
    let series = crate::catalogue::Catalogue::is_series(title);
    let mut episode = 0;
    loop {
        let minutes = if s.party.stage == Stage::Live { 400.0 } else { play_minutes(d) * stay };
        s.play(d, title, minutes);
        episode += 1;
        if !series || episode >= 8 || s.over() || !d.chance(0.6) {
            return;
        }
        s.wait(d.between(1.0, 12.0));
    }
}
