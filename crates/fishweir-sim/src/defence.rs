//! Rules, what they count, and what they decide on a frozen snapshot.

use hashbrown::HashMap;

use crate::config::{Action, Condition, DefenceConfig, Mode, RateKey, RuleConfig};
use crate::device;
use crate::intent::{Intent, LOGIN_LEAKED, Route};
use crate::network;
use crate::random::{Draws, Key};
use crate::rows::{Challenge, Decision};
use crate::world::{ABROAD, HUMAN, NEW_DEVICE, NOBODY, World};

/// A rule at work: one of the scenario, or one that people deployed in an emergency.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) defence: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    Rate {
        key: RateKey,
        route: Option<Route>,
        per_min: f64,
    },
    Client {
        software: Vec<bool>,
        countries: Vec<u8>,
        networks: Vec<String>,
        route: Option<Route>,
        anonymous: bool,
    },
    Login {
        new_device_abroad: bool,
        breached: bool,
        accounts_per_ip_hour: Option<f64>,
    },
    Licence {
        per_account_hour: Option<f64>,
        accounts_per_device_day: Option<f64>,
        wrong_drm: bool,
    },
    Account {
        new_device_abroad: bool,
        per_hour: Option<f64>,
    },
    Streams {
        others: usize,
    },
}

/// A count that fades: by half a lifetime every window.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    tick: i64,
    value: f64,
}

impl Fading {
    fn at(self, tick: i64, window_ticks: f64) -> f64 {
        self.value * libm::exp(-((tick - self.tick) as f64) / window_ticks)
    }
    fn add(&mut self, tick: i64, window_ticks: f64, n: f64) {
        self.value = self.at(tick, window_ticks) + n;
        self.tick = tick;
    }
}

/// What has been counted up to the tick before.
#[derive(Debug, Default)]
struct Counts {
    rates: HashMap<(u8, u64), Fading>,
    pairs: HashMap<(u64, u64), i64>,
    many: HashMap<(u8, u64), Fading>,
    licences: HashMap<u64, Fading>,
    pages: HashMap<u64, Fading>,
    streams: HashMap<u64, Streams>,
}

/// Sessions of an account that play, the latest eight, with the tick of their last heartbeat.
type Streams = [(u64, i64); 8];

const MINUTE_TICKS: f64 = 6.0;
const HOUR_TICKS: f64 = 360.0;
const DAY_TICKS: f64 = 8_640.0;
/// A stream without a heartbeat for so long has ended.
const SILENT_TICKS: i64 = 12;

/// All rules and their counts.
#[derive(Debug)]
pub(crate) struct Defence {
    pub(crate) rules: Vec<Rule>,
    counts: Counts,
    pub(crate) holdout_share: f64,
}

fn route_named(name: &str) -> Option<Route> {
    Route::ALL.into_iter().find(|r| r.name() == name)
}

const STANDARD: &str = include_str!("../scenarios/standard-rules.toml");

#[derive(serde::Deserialize)]
struct RuleFile {
    rules: Vec<RuleConfig>,
}

fn standard() -> Vec<RuleConfig> {
    let parsed: Result<RuleFile, _> = toml::from_str(STANDARD);
    debug_assert!(parsed.is_ok(), "{:?}", parsed.err());
    parsed.map(|f| f.rules).unwrap_or_default()
}

impl Defence {
    pub(crate) fn new(config: &DefenceConfig, key: Key, start_us: i64) -> Self {
        let mut all = if config.standard_rules { standard() } else { Vec::new() };
        all.extend(config.rules.iter().cloned());
        let mut d =
            Self { rules: Vec::new(), counts: Counts::default(), holdout_share: config.holdout_share };
        for r in all {
            let at = |day: f64| start_us.saturating_add((day.min(1e6) * 86_400e6) as i64);
            let rule = Rule {
                matcher: Matcher::new(&r.when, key),
                from_us: at(r.from_day),
                to_us: at(r.to_day),
                defence: r.defence,
                name: r.rule,
                version: r.version,
                action: r.action,
                mode: r.mode,
            };
            d.rules.push(rule);
        }
        d
    }

    /// Deploys an emergency rule against requests of some software on a route; empty software
    /// means everybody without an account.
    pub(crate) fn deploy(&mut self, number: usize, route: Route, software: &[u16], from_us: i64, to_us: i64) {
        let mut table = vec![software.is_empty(); usize::from(device::SOFTWARE)];
        for s in software {
            table[usize::from(*s)] = true;
        }
        let matcher = Matcher::Client {
            software: table,
            countries: Vec::new(),
            networks: Vec::new(),
            route: Some(route),
            anonymous: software.is_empty(),
        };
        self.rules.push(Rule {
            defence: "waf".to_owned(),
            name: format!("emergency-{number}"),
            version: "1".to_owned(),
            action: if software.is_empty() { Action::Challenge } else { Action::Block },
            mode: Mode::Enforce,
            from_us,
            to_us,
            matcher,
        });
    }

    /// Decides on one wish by what was known up to the tick before; `skill` is the chance that a
    /// program solves a challenge.
    pub(crate) fn decide(
        &self,
        i: &Intent,
        tick: i64,
        d: &mut Draws,
        mfa: bool,
        skill: f64,
    ) -> Option<Decision> {
        let mut quiet = None;
        for (n, rule) in self.rules.iter().enumerate() {
            let on = rule.from_us <= i.time_us && i.time_us < rule.to_us;
            if !on || !self.hit(&rule.matcher, i, tick) {
                continue;
            }
            let mut decision =
                Decision { rule: n as u16, action: rule.action, mode: rule.mode, challenge: None };
            if rule.mode == Mode::Enforce && d.chance(self.holdout_share) {
                decision.mode = Mode::Holdout;
            }
            if decision.mode != Mode::Enforce {
                quiet = quiet.or(Some(decision));
                continue;
            }
            if matches!(rule.action, Action::Challenge | Action::StepUp) {
                decision.challenge = Some(challenge(rule.action, i, d, mfa, skill));
            }
            return Some(decision);
        }
        quiet
    }

    fn hit(&self, m: &Matcher, i: &Intent, tick: i64) -> bool {
        let p = &i.party;
        match m {
            Matcher::Rate { key, route, per_min } => {
                if route.is_some_and(|r| r != i.route) {
                    return false;
                }
                let Some(k) = rate_key(*key, *route, i) else { return false };
                self.counts.rates.get(&k).is_some_and(|c| c.at(tick, MINUTE_TICKS) > *per_min)
            }
            Matcher::Client { software, countries, networks, route, anonymous } => {
                route.is_none_or(|r| r == i.route)
                    && (!anonymous || p.account == NOBODY)
                    && software.get(usize::from(p.software)).copied().unwrap_or(false)
                    && (countries.is_empty() || countries.contains(&network::asn(p.asn).country))
                    && (networks.is_empty()
                        || networks.iter().any(|n| n == World::network_kind(p.ip, p.asn).name()))
            }
            Matcher::Login { new_device_abroad, breached, accounts_per_ip_hour } => {
                i.route == Route::Login
                    && ((*new_device_abroad && p.flags & (NEW_DEVICE | ABROAD) == NEW_DEVICE | ABROAD)
                        || (*breached && i.aux & LOGIN_LEAKED != 0 && i.aux & 3 == 0)
                        || accounts_per_ip_hour.is_some_and(|most| {
                            let seen = self.counts.many.get(&(0, u64::from(p.ip)));
                            seen.is_some_and(|c| c.at(tick, HOUR_TICKS) > most)
                        }))
            }
            Matcher::Licence { per_account_hour, accounts_per_device_day, wrong_drm } => {
                i.route == Route::Licence
                    && (per_account_hour.is_some_and(|most| {
                        let seen = self.counts.licences.get(&p.account);
                        seen.is_some_and(|c| c.at(tick, HOUR_TICKS) > most)
                    }) || accounts_per_device_day.is_some_and(|most| {
                        let seen = self.counts.many.get(&(1, p.device));
                        seen.is_some_and(|c| c.at(tick, DAY_TICKS) > most)
                    }) || (*wrong_drm && wrong_system(p.device)))
            }
            Matcher::Account { new_device_abroad, per_hour } => {
                i.route == Route::AccountPage
                    && ((*new_device_abroad && p.flags & (NEW_DEVICE | ABROAD) == NEW_DEVICE | ABROAD)
                        || per_hour.is_some_and(|most| {
                            let seen = self.counts.pages.get(&p.account);
                            seen.is_some_and(|c| c.at(tick, HOUR_TICKS) > most)
                        }))
            }
            Matcher::Streams { others } => {
                i.route == Route::Manifest
                    && self.counts.streams.get(&p.account).is_some_and(|s| {
                        let alive = |x: &&(u64, i64)| x.0 != p.session && tick - x.1 <= SILENT_TICKS;
                        s.iter().filter(alive).count() >= *others
                    })
            }
        }
    }

    /// Counts what a tick brought; later ticks see it.
    pub(crate) fn count(&mut self, intents: impl Iterator<Item = Intent>, tick: i64) {
        for i in intents {
            let p = &i.party;
            for rule in &self.rules {
                if let Matcher::Rate { key, route, .. } = &rule.matcher
                    && route.is_none_or(|r| r == i.route)
                    && let Some(k) = rate_key(*key, *route, &i)
                {
                    self.counts.rates.entry(k).or_default().add(tick, MINUTE_TICKS, 1.0);
                }
            }
            match i.route {
                Route::Login => self.pair(0, u64::from(p.ip), p.account, tick, HOUR_TICKS),
                Route::Licence => {
                    self.counts.licences.entry(p.account).or_default().add(tick, HOUR_TICKS, 1.0);
                    self.pair(1, p.device, p.account, tick, DAY_TICKS);
                }
                Route::AccountPage => {
                    self.counts.pages.entry(p.account).or_default().add(tick, HOUR_TICKS, 1.0);
                }
                Route::Heartbeat if p.account != NOBODY => self.beat(p.account, p.session, tick),
                _ => {}
            }
        }
    }

    fn beat(&mut self, account: u64, session: u64, tick: i64) {
        let all = self.counts.streams.entry(account).or_insert([(0, i64::MIN / 2); 8]);
        let at = all.iter().position(|x| x.0 == session).unwrap_or_else(|| {
            // The one that has been silent longest makes room.
            (0..all.len()).min_by_key(|n| all[*n].1).unwrap_or_default()
        });
        all[at] = (session, tick);
    }

    // Counts an account the first time it is seen with a subject within the window.
    fn pair(&mut self, what: u8, subject: u64, account: u64, tick: i64, window: f64) {
        let last =
            self.counts.pairs.entry((subject ^ u64::from(what) << 63, account)).or_insert(i64::MIN / 2);
        if (tick - *last) as f64 > window {
            self.counts.many.entry((what, subject)).or_default().add(tick, window, 1.0);
            *last = tick;
        }
    }

    /// Drops counts that have faded.
    pub(crate) fn forget(&mut self, tick: i64) {
        self.counts.rates.retain(|_, c| c.at(tick, MINUTE_TICKS) > 0.5);
        self.counts
            .many
            .retain(|(what, _), c| c.at(tick, if *what == 0 { HOUR_TICKS } else { DAY_TICKS }) > 0.3);
        self.counts.licences.retain(|_, c| c.at(tick, HOUR_TICKS) > 0.3);
        self.counts.pages.retain(|_, c| c.at(tick, HOUR_TICKS) > 0.3);
        self.counts.streams.retain(|_, s| s.iter().any(|x| tick - x.1 <= SILENT_TICKS));
        self.counts.pairs.retain(|_, t| ((tick - *t) as f64) < DAY_TICKS);
    }
}

fn wrong_system(device: u64) -> bool {
    // A device number whose slot says one thing and whose kind says another: see `clone_device`.
    device >> 63 == 1
}

fn rate_key(key: RateKey, route: Option<Route>, i: &Intent) -> Option<(u8, u64)> {
    let p = &i.party;
    let scope = route.map_or(31, |r| r as u8) << 2;
    match key {
        RateKey::Ip => Some((scope, u64::from(p.ip))),
        RateKey::Account => (p.account != NOBODY).then_some((scope | 1, p.account)),
        RateKey::Ja4 => Some((scope | 2, u64::from(p.software))),
        RateKey::Asn => Some((scope | 3, u64::from(p.asn))),
    }
}

fn challenge(action: Action, i: &Intent, d: &mut Draws, mfa: bool, skill: f64) -> Challenge {
    let pass = if i.party.flags & HUMAN != 0 && i.party.campaign == 0 {
        if action == Action::StepUp && !mfa { 0.62 } else { 0.93 }
    } else if action == Action::StepUp {
        skill * 0.1
    } else {
        skill
    };
    if d.chance(pass) {
        Challenge::Passed
    } else if d.chance(0.4) {
        Challenge::Abandoned
    } else {
        Challenge::Failed
    }
}

impl Matcher {
    fn new(when: &Condition, key: Key) -> Self {
        let route = |r: &Option<String>| r.as_deref().and_then(route_named);
        match when {
            Condition::Rate { key, route: r, per_min } => {
                Self::Rate { key: *key, route: route(r), per_min: f64::from(*per_min) }
            }
            Condition::Client { agent_prefix, countries, networks, route: r, anonymous } => {
                let wanted = agent_prefix.as_deref();
                let software = (0..device::SOFTWARE)
                    .map(|s| {
                        let agent = device::marks(key, s).0;
                        match wanted {
                            None => true,
                            Some("(none)") => agent.is_empty(),
                            Some(p) => agent.starts_with(p),
                        }
                    })
                    .collect();
                let countries = (0..network::COUNTRIES.len())
                    .filter(|c| countries.iter().any(|n| n == network::COUNTRIES[*c].code))
                    .map(|c| c as u8)
                    .collect();
                Self::Client {
                    software,
                    countries,
                    networks: networks.clone(),
                    route: route(r),
                    anonymous: *anonymous,
                }
            }
            Condition::Login { new_device_abroad, breached, accounts_per_ip_hour } => Self::Login {
                new_device_abroad: *new_device_abroad,
                breached: *breached,
                accounts_per_ip_hour: accounts_per_ip_hour.map(f64::from),
            },
            Condition::Licence { per_account_hour, accounts_per_device_day, wrong_drm } => Self::Licence {
                per_account_hour: per_account_hour.map(f64::from),
                accounts_per_device_day: accounts_per_device_day.map(f64::from),
                wrong_drm: *wrong_drm,
            },
            Condition::Account { new_device_abroad, per_hour } => {
                Self::Account { new_device_abroad: *new_device_abroad, per_hour: per_hour.map(f64::from) }
            }
            Condition::Streams { others } => Self::Streams { others: *others as usize },
        }
    }
}
