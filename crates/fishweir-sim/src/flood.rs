//! Application floods A1 to A7 and sign-in attacks B1 to B3: requests of many machines, tick by tick.

use crate::campaign::{Burst, Campaign, evasion};
use crate::config::AttackKind;
use crate::intent::{
    Intent, LOGIN_BUCKET, LOGIN_LEAKED, LOGIN_OK, LOGIN_UNKNOWN, LOGIN_WRONG, Route, event_key,
};
use crate::random::{Draws, Purpose};
use crate::world::{NOBODY, Party, Stage, World};

pub(crate) const TICK_US: i64 = 10_000_000;

/// What a flood sees of the world at a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) tick: i64,
    pub(crate) time_us: i64,
    pub(crate) day: u32,
    /// Highest usual requests a second of the service.
    pub(crate) peak_rps: f64,
}

impl Now {
    fn tick_of_day(self) -> u32 {
        (self.tick % 8_640) as u32
    }
}

/// Appends the requests of a campaign in a tick.
pub(crate) fn tick(c: &Campaign, w: &World, now: Now, out: &mut Burst) {
    use AttackKind::{A3, B1, B2, B3};
    if !c.active(now.time_us, now.time_us + TICK_US) {
        return;
    }
    let mut d = c.key.draws(u64::from(c.id), now.day, Purpose::CampaignTick, now.tick_of_day() & 0xFFF);
    d.unit();
    let mut d = c.key.draws(d.bits(), now.tick_of_day(), Purpose::CampaignTick, 0);
    match c.config.kind {
        B1 | B2 | B3 => {
            let attempts = c.config.size * w.accounts as f64 * c.control.rate;
            let mean = attempts * 10.0 / (c.config.minutes * 60.0);
            try_logins(c, w, now, d.poisson(mean), &mut d, out);
        }
        kind => {
            let rps = c.config.size * now.peak_rps * c.control.rate * envelope(c, now);
            let n = d.poisson(rps * 10.0);
            if kind == A3 {
                try_logins(c, w, now, n, &mut d, out);
            } else {
                requests(c, w, now, n, &mut d, out);
            }
        }
    }
}

// Share of the height at a tick: a ramp of some seconds, or square pulses.
fn envelope(c: &Campaign, now: Now) -> f64 {
    let since = (now.time_us - c.start_us) as f64 / 1e6;
    if c.config.kind == AttackKind::A5 {
        let mut d = c.key.draws(1, 0, Purpose::Campaign, 0);
        let (on, off) = (d.between(10.0, 60.0), d.between(60.0, 300.0));
        return if since.rem_euclid(on + off) < on { 1.0 } else { 0.0 };
    }
    let ramp = c.key.draws(2, 0, Purpose::Campaign, 0).between(2.0, 20.0);
    (since.max(0.0) / ramp + 0.3).min(1.0)
}

// Machines: their number follows from the rate that one of them keeps up. Published rates are
// scaled with the service, so that their number against the members' stays as it was seen.
fn machines(c: &Campaign, rps: f64) -> u64 {
    let (each, least) = match c.config.tier {
        // The careful ask as a household does: some spread wide and slow, the skilled as busy as
        // somebody who searches.
        3.. => (0.065, 24.0),
        2 => (0.03, 100.0),
        _ if c.control.evasions & evasion::RESIDENTIAL != 0 => (0.15, 60.0),
        _ => (1.5, 12.0),
    };
    (rps / each).max(least) as u64
}

fn requests(c: &Campaign, w: &World, now: Now, n: u64, d: &mut Draws, out: &mut Burst) {
    let pool = machines(c, c.config.size * now.peak_rps);
    for k in 0..n {
        let source = d.below(pool);
        let session = c.key.veil(source << 20 | (now.tick / 60) as u64);
        let mut party = c.source(source, Stage::Flood, session);
        c.rotate(&mut party, d);
        let (route, title, aux) = target(c, w, now, d, &mut party);
        let time_us = now.time_us + (d.unit() * TICK_US as f64) as i64;
        let key = event_key(1, c.tick_entity(now.tick_of_day()), now.day, k as u32);
        out.intents.push(Intent { time_us, key, title, aux, route, tries: 0, party });
    }
}

fn target(c: &Campaign, w: &World, now: Now, d: &mut Draws, party: &mut Party) -> (Route, u32, u32) {
    use AttackKind::{A2, A4, A5, A6};
    let fixed = c.key.draws(3, 0, Purpose::Campaign, 0).below(500) as u32;
    let detour = u32::from(c.control.detour);
    match c.config.kind {
        A2 => {
            // Valid sessions taken in turn, with huge ranges.
            let tokens = if c.config.tier >= 3 { 24 } else { 48 };
            party.account = d.below(tokens.min(w.accounts));
            party.device = party.account << 16 | 2 << 8;
            party.session = c.key.veil(party.account << 20 | (now.tick / 180) as u64);
            // The skilled hide among ordinary calls.
            if c.config.tier >= 3 && d.chance(0.45) {
                let route = [Route::Home, Route::List, Route::Title][d.below(3) as usize];
                return (route, w.catalogue.title(d.unit()), 0);
            }
            if d.chance(0.7) {
                let wide = if c.config.tier >= 3 { 40 + d.below(120) } else { 2_000 + d.below(8_000) };
                (Route::Search, d.below(4_000) as u32, wide as u32)
            } else {
                let deep = if c.config.tier >= 3 { 1 + d.below(14) } else { 40 + d.below(60) };
                (Route::Recs, 0, deep as u32)
            }
        }
        A4 => (Route::Home, 0, 0),
        A5 => {
            let turn = (now.time_us - c.start_us) / 600_000_000 + i64::from(detour);
            ([Route::Home, Route::Search, Route::Token][turn.rem_euclid(3) as usize], 0, 0)
        }
        A6 if d.chance(0.5) => (Route::Nowhere, d.below(1 << 24) as u32, d.below(1 << 20) as u32),
        A6 => (Route::Title, d.below(u64::from(w.catalogue.len())) as u32, 0),
        _ if c.config.tier >= 2 => {
            // Recorded visits, played back.
            if d.chance(0.6) {
                party.account = d.below(w.accounts.min(400));
                party.device = party.account << 16 | 1 << 8 | u64::from(party.kind);
            }
            let weights = [0.3, 0.08, 0.07, 0.2, 0.12, 0.1, 0.08, 0.05];
            let routes = [
                Route::Heartbeat,
                Route::Token,
                Route::Profile,
                Route::Home,
                Route::List,
                Route::Search,
                Route::Title,
                Route::Recs,
            ];
            let route = routes[d.pick(weights.into_iter())];
            (route, w.catalogue.title(d.unit()), u32::from(route == Route::Recs))
        }
        _ => match detour {
            0 if d.chance(0.85) => (Route::Home, 0, 0),
            0 => (Route::Title, fixed, 0),
            1 => (Route::Search, d.below(4_000) as u32, 0),
            _ => (Route::List, d.below(200) as u32, 0),
        },
    }
}

fn try_logins(c: &Campaign, w: &World, now: Now, n: u64, d: &mut Draws, out: &mut Burst) {
    use AttackKind::{A3, B2, B3};
    // Attempts per address: 145 from servers, 1.7 from homes.
    let attempts = (c.config.size * w.accounts as f64).max(1.0);
    let per_ip = if c.control.evasions & evasion::RESIDENTIAL != 0 { 1.7 } else { 145.0 };
    let pool = if c.config.kind == A3 {
        machines(c, c.config.size * now.peak_rps)
    } else {
        (attempts / per_ip).max(3.0) as u64
    };
    for k in 0..n {
        let source = d.below(pool);
        let mut party = c.source(source, Stage::LoginTry, c.key.veil(d.bits()));
        c.rotate(&mut party, d);
        let member = d.chance(match c.config.kind {
            A3 => 0.01,
            B2 | B3 => 0.9,
            _ => 0.2,
        });
        let leaked = if d.chance(w.config.corpus_share) { LOGIN_LEAKED } else { 0 };
        let aux = if !member {
            party.account = 1 << 40 | d.below(1 << 34);
            LOGIN_UNKNOWN | leaked
        } else if c.config.kind == B3 {
            party.account = c.targets(w, 3, 0)[d.below(3.min(w.accounts)) as usize];
            let hit = w.account(party.account).weak && d.chance(0.005);
            if hit { LOGIN_OK } else { LOGIN_WRONG }
        } else {
            party.account = d.below(w.accounts);
            let right = d.chance(match c.config.kind {
                A3 => 0.0,
                B2 if w.account(party.account).weak => 0.02,
                B2 => 0.0,
                // Lists from stealers hold newer passwords than old combinations.
                _ if c.config.tier >= 3 => 0.18,
                _ => 0.07,
            });
            leaked | if right { LOGIN_OK } else { LOGIN_WRONG }
        };
        let bucket = if c.config.kind == B2 { 1 + (now.tick / 360) as u32 % 12 } else { 0 };
        party.device = if party.account == NOBODY {
            NOBODY
        } else {
            crate::campaign::device_of(c.id, source, party.kind)
        };
        let time_us = now.time_us + (d.unit() * TICK_US as f64) as i64;
        let key = event_key(1, c.tick_entity(now.tick_of_day()), now.day, k as u32);
        let aux = aux | (bucket * LOGIN_BUCKET);
        out.intents.push(Intent { time_us, key, title: 0, aux, route: Route::Login, tries: 0, party });
    }
}
