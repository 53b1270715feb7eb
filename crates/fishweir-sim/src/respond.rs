//! People on call: they notice a surge, take their time, and deploy a rule, right or wrong.

use std::collections::BTreeMap;

use crate::config::DefenceConfig;
use crate::defence::Defence;
use crate::engine::note;
use crate::intent::{Intent, ROUTES, Route};
use crate::random::{Key, Purpose};
use crate::rows::Note;
use crate::world::NOBODY;

const FACTOR: f64 = 2.5;
const LEAST: f64 = 40.0;
const RULE_US: i64 = 4 * 3_600_000_000;
/// How slowly the idea of the usual follows, in minutes.
const MEMORY_MIN: f64 = 60.0;

#[derive(Clone, Debug, Default)]
struct Watch {
    now: u64,
    software: BTreeMap<u16, u64>,
    usual: f64,
    usual_software: BTreeMap<u16, f64>,
    elevated: u32,
    fire_us: Option<i64>,
    quiet_until_us: i64,
}

/// Everybody on call.
#[derive(Clone, Debug)]
pub(crate) struct Responders {
    on: bool,
    median_min: f64,
    key: Key,
    watches: Vec<Watch>,
    deployed: usize,
}

impl Responders {
    pub(crate) fn new(config: &DefenceConfig, key: Key) -> Self {
        Self {
            on: config.responders,
            median_min: config.response_min,
            key,
            watches: vec![Watch::default(); ROUTES],
            deployed: 0,
        }
    }

    /// Counts a request that reached the service.
    pub(crate) fn see(&mut self, i: &Intent, stopped: bool) {
        if self.on && !stopped {
            let w = &mut self.watches[i.route as usize];
            w.now += 1;
            if i.party.account == NOBODY || i.route == Route::Login {
                *w.software.entry(i.party.software).or_default() += 1;
            }
        }
    }

    /// Ends a minute; returns what was written down about rules deployed.
    pub(crate) fn minute(&mut self, now_us: i64, defence: &mut Defence) -> Vec<Note> {
        let mut notes = Vec::new();
        for (n, route) in Route::ALL.into_iter().enumerate() {
            let watch = &mut self.watches[n];
            let seen = watch.now as f64;
            let surge = watch.usual > 0.0 && seen > FACTOR * watch.usual + LEAST;
            watch.elevated = if surge { watch.elevated + 1 } else { 0 };
            if !surge {
                let weight = if watch.usual == 0.0 { 1.0 } else { 1.0 / MEMORY_MIN };
                watch.usual += weight * (seen - watch.usual);
                for v in watch.usual_software.values_mut() {
                    *v *= 1.0 - weight;
                }
                for (s, c) in &watch.software {
                    *watch.usual_software.entry(*s).or_default() += weight * *c as f64;
                }
            }
            if watch.elevated >= 2 && watch.fire_us.is_none() && now_us >= watch.quiet_until_us {
                let mut d = self.key.draws(n as u64, (now_us / 60_000_000) as u32, Purpose::Respond, 0);
                watch.fire_us = Some(now_us + (d.lognormal(self.median_min, 0.7) * 60e6) as i64);
            }
            if watch.fire_us.is_some_and(|at| at <= now_us) {
                watch.fire_us = None;
                if watch.elevated > 0 {
                    self.deployed += 1;
                    let software = watch.suspects();
                    defence.deploy(self.deployed, route, &software, now_us, now_us + RULE_US);
                    watch.quiet_until_us = now_us + 20 * 60_000_000;
                    let text = format!("rule emergency-{} on {} for four hours", self.deployed, route.name());
                    notes.push(note(now_us, "intervention", "Emergency rule deployed", text, "on-call", 1.0));
                }
            }
            watch.now = 0;
            watch.software.clear();
        }
        notes
    }
}

impl Watch {
    // Software that brings most of the excess without an account; none when it is spread wide.
    fn suspects(&self) -> Vec<u16> {
        let mut excess: Vec<(u16, f64)> = self
            .software
            .iter()
            .map(|(s, n)| (*s, *n as f64 - self.usual_software.get(s).copied().unwrap_or(0.0)))
            .filter(|(_, e)| *e > 0.0)
            .collect();
        excess.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let total: f64 = excess.iter().map(|e| e.1).sum();
        let mut out = Vec::new();
        let mut covered = 0.0;
        for (s, e) in excess.into_iter().take(16) {
            if covered >= 0.8 * total {
                break;
            }
            covered += e;
            out.push(s);
        }
        if covered >= 0.6 * total { out } else { Vec::new() }
    }
}
