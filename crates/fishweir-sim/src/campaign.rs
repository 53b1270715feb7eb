//! An attack: who, with what, and how the attacker reacts to being stopped.

use crate::config::{AttackKind, CampaignConfig, Sources};
use crate::device::{self, CHROME, KINDS};
use crate::intent::Intent;
use crate::network::{self, COUNTRIES};
use crate::random::{Draws, Key, Purpose};
use crate::rows::Sparse;
use crate::world::{NOBODY, Party, SHARED, SHUFFLED, Stage, World};

/// Evasions: position in the bit set is the number of the code less one.
pub(crate) mod evasion {
    pub(crate) const DATA_CENTRE: u16 = 1;
    pub(crate) const RESIDENTIAL: u16 = 1 << 1;
    pub(crate) const JA3_SHUFFLE: u16 = 1 << 2;
    pub(crate) const BROWSER_EXACT: u16 = 1 << 3;
    pub(crate) const AGENT_ROTATION: u16 = 1 << 4;
    pub(crate) const VALID_TOKENS: u16 = 1 << 6;
    pub(crate) const SOLVER: u16 = 1 << 7;
    pub(crate) const HUMAN_FARM: u16 = 1 << 8;
}

/// A switch of tactics, for the truth.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Adaptation {
    pub(crate) campaign: String,
    pub(crate) time_us: i64,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) trigger: String,
}

/// What the attacker does now.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) evasions: u16,
    /// Requests against the plan.
    pub(crate) rate: f64,
    pub(crate) detour: u8,
    pub(crate) stopped: bool,
    blocked: f64,
    react_at_us: Option<i64>,
    moves: u32,
    pub(crate) log: Vec<Adaptation>,
}

/// An attack under way or planned.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) id: u16,
    pub(crate) config: CampaignConfig,
    pub(crate) key: Key,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) control: Control,
    /// Requests sent, requests stopped, first and last request.
    pub(crate) sent: u64,
    pub(crate) stopped: u64,
    pub(crate) first_us: Option<i64>,
    pub(crate) last_us: Option<i64>,
    pub(crate) accounts: std::collections::BTreeSet<u64>,
    pub(crate) software: std::collections::BTreeMap<u16, u64>,
    pub(crate) asns: std::collections::BTreeMap<u16, u64>,
    pub(crate) routes: std::collections::BTreeMap<&'static str, u64>,
    /// Requests by way of hiding; a request may use several.
    pub(crate) disguises: std::collections::BTreeMap<&'static str, u64>,
    pub(crate) addresses: std::collections::BTreeSet<u32>,
    /// Requests by ten minutes, named by their start.
    pub(crate) pace: std::collections::BTreeMap<i64, u64>,
}

/// Width of the times by which requests of an attack are counted.
pub const PACE_US: i64 = 600_000_000;

/// What a tick brings forth beside requests of that tick.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    pub(crate) intents: Vec<Intent>,
    pub(crate) sparse: Vec<Sparse>,
}

impl Campaign {
    pub(crate) fn new(id: u16, config: CampaignConfig, seed: u64, start_us: i64) -> Self {
        let key = Key::new(seed, &format!("campaign {}", config.name));
        let from = start_us + (config.day * 86_400e6) as i64;
        let mut evasions = 0;
        for e in &config.evasions {
            if let Some(n) = e.strip_prefix('E').and_then(|n| n.parse::<u16>().ok()) {
                evasions |= 1 << (n - 1);
            }
        }
        evasions |= match (config.sources, config.tier) {
            (Sources::DataCentre, _) => evasion::DATA_CENTRE,
            (Sources::Residential, _) => evasion::RESIDENTIAL,
            _ => 0,
        };
        if config.tier >= 2 {
            evasions |= evasion::BROWSER_EXACT | evasion::JA3_SHUFFLE;
        }
        let control = Control {
            evasions,
            rate: 1.0,
            detour: 0,
            stopped: false,
            blocked: 0.0,
            react_at_us: None,
            moves: 0,
            log: Vec::new(),
        };
        Self {
            id,
            key,
            start_us: from,
            end_us: from + (config.minutes * 60e6) as i64,
            config,
            control,
            sent: 0,
            stopped: 0,
            first_us: None,
            last_us: None,
            accounts: std::collections::BTreeSet::new(),
            software: std::collections::BTreeMap::new(),
            asns: std::collections::BTreeMap::new(),
            routes: std::collections::BTreeMap::new(),
            disguises: std::collections::BTreeMap::new(),
            pace: std::collections::BTreeMap::new(),
            addresses: std::collections::BTreeSet::new(),
        }
    }

    pub(crate) fn active(&self, from_us: i64, to_us: i64) -> bool {
        !self.control.stopped && self.start_us < to_us && from_us < self.end_us
    }

    /// Chance that its programs solve a challenge.
    pub(crate) fn skill(&self) -> f64 {
        let e = self.control.evasions;
        if e & evasion::HUMAN_FARM != 0 {
            0.9
        } else if e & evasion::SOLVER != 0 {
            0.7
        } else {
            [0.02, 0.05, 0.3, 0.1][usize::from(self.config.tier.clamp(1, 4)) - 1]
        }
    }

    /// One of its machines.
    pub(crate) fn source(&self, number: u64, stage: Stage, session: u64) -> Party {
        let mut d = self.key.draws(number, 0, Purpose::Source, 0);
        let e = self.control.evasions;
        let residential = match self.config.sources {
            _ if e & evasion::RESIDENTIAL != 0 => true,
            Sources::DataCentre => false,
            Sources::Residential | Sources::Iot => true,
            Sources::Mixed => d.chance(0.5),
        };
        let mut flags = 0;
        let (asn, ip) = if residential {
            let country = d.pick(COUNTRIES.iter().map(|c| c.share.max(0.05))) as u8;
            let asn = network::fixed(country, d.below(1 << 20));
            let shared = d.chance(0.2);
            flags |= if shared { SHARED } else { 0 };
            let host = if shared { 8_192 + d.below(4) } else { d.below(1 << 20) };
            (asn, network::address(asn, shared, host))
        } else {
            let asn = network::centre(d.below(1 << 20));
            (asn, network::address(asn, false, d.below(1 << 10)))
        };
        let (software, kind) = self.software(&mut d);
        // Who copies a browser exactly copies its handshake too: only some shuffle.
        let exact = e & evasion::BROWSER_EXACT != 0;
        let shuffles = if exact { KINDS[usize::from(kind)].shuffles } else { e & evasion::JA3_SHUFFLE != 0 };
        flags |= if shuffles { SHUFFLED } else { 0 };
        let device = device_of(self.id, number, kind);
        let (account, device) =
            if e & evasion::VALID_TOKENS != 0 { (d.below(64), device) } else { (NOBODY, NOBODY) };
        Party { account, device, session, ip, asn, software, kind, campaign: self.id, stage, flags }
    }

    fn software(&self, d: &mut Draws) -> (u16, u8) {
        let e = self.control.evasions;
        if e & evasion::BROWSER_EXACT != 0 {
            // The same mixture of software as members have.
            let kind = if d.chance(0.35) { CHROME } else { d.pick((0..14).map(device::visit_weight)) as u8 };
            return (device::software(kind, 4 + d.below(3) as u16), kind);
        }
        let (tool, age) = (d.below(4), d.below(12) as u16);
        if d.chance(0.8) {
            (device::fake_chrome(age, self.tool()), CHROME)
        } else {
            (device::tool(tool), CHROME)
        }
    }

    fn tool(&self) -> u64 {
        u64::from(self.id) % 4
    }

    /// Another user agent for every request.
    pub(crate) fn rotate(&self, p: &mut Party, d: &mut Draws) {
        if self.control.evasions & evasion::AGENT_ROTATION != 0
            && self.control.evasions & evasion::BROWSER_EXACT == 0
        {
            p.software = device::fake_chrome(d.below(12) as u16, self.tool());
        }
    }

    /// Takes notice of what became of its requests; may change tactics, later.
    pub(crate) fn observe(&mut self, now_us: i64, sent: u64, stopped: u64) {
        if sent == 0 || !self.config.adapts {
            return;
        }
        let share = stopped as f64 / sent as f64;
        let weight = 1.0 - libm::exp(-(sent as f64) / 200.0);
        self.control.blocked += weight * (share - self.control.blocked);
        let mut d = self.key.draws(u64::from(self.control.moves), 0, Purpose::Adapt, 0);
        match self.control.react_at_us {
            None if self.control.blocked > 0.5 => {
                let (median_min, sigma) = [(20.0, 1.0), (360.0, 1.2), (4_320.0, 1.0), (120.0, 1.0)]
                    [usize::from(self.config.tier.clamp(1, 4)) - 1];
                self.control.react_at_us = Some(now_us + (d.lognormal(median_min, sigma) * 60e6) as i64);
            }
            Some(at) if at <= now_us => {
                d.unit();
                d.unit();
                self.adapt(now_us, &mut d);
                self.control.react_at_us = None;
                self.control.blocked = 0.0;
                self.control.moves += 1;
            }
            _ => {}
        }
    }

    fn adapt(&mut self, now_us: i64, d: &mut Draws) {
        let tier = usize::from(self.config.tier.clamp(1, 4)) - 1;
        let quit = [0.7, 0.3, 0.05, 0.4][tier];
        let before = self.tactics();
        if d.chance(quit) {
            self.control.stopped = true;
        } else {
            match self.config.tier {
                1 => match d.pick([0.4, 0.3, 0.2].into_iter()) {
                    0 => self.control.evasions |= evasion::AGENT_ROTATION,
                    1 => self.control.evasions |= evasion::RESIDENTIAL,
                    _ => self.control.detour += 1,
                },
                2 => match d.pick([0.3, 0.25, 0.2, 0.15, 0.1].into_iter()) {
                    0 => self.control.evasions |= evasion::RESIDENTIAL,
                    1 => self.control.rate *= 0.3,
                    2 => self.control.evasions |= evasion::BROWSER_EXACT | evasion::JA3_SHUFFLE,
                    3 => self.control.detour += 1,
                    _ => self.control.evasions |= evasion::SOLVER,
                },
                3 => match d.pick([0.4, 0.3, 0.3].into_iter()) {
                    0 => self.control.evasions |= evasion::VALID_TOKENS,
                    1 => self.control.evasions |= evasion::HUMAN_FARM,
                    _ => self.control.rate *= 0.5,
                },
                _ => self.control.detour += 1,
            }
        }
        self.control.log.push(Adaptation {
            campaign: self.config.name.clone(),
            time_us: now_us,
            from: before,
            to: if self.control.stopped { "gone".to_owned() } else { self.tactics() },
            trigger: "more than half of the requests stopped".to_owned(),
        });
    }

    fn tactics(&self) -> String {
        let set: Vec<String> =
            (0..9).filter(|b| self.control.evasions & 1 << b != 0).map(|b| format!("E{}", b + 1)).collect();
        format!("rate {:.2}, detour {}, {}", self.control.rate, self.control.detour, set.join(" "))
    }

    /// Counts a request of its own.
    pub(crate) fn note(&mut self, i: &Intent, stopped: bool) {
        self.sent += 1;
        self.stopped += u64::from(stopped);
        self.first_us = self.first_us.or(Some(i.time_us));
        self.last_us = Some(self.last_us.map_or(i.time_us, |t| t.max(i.time_us)));
        *self.software.entry(i.party.software).or_default() += 1;
        *self.asns.entry(i.party.asn).or_default() += 1;
        *self.routes.entry(i.route.name()).or_default() += 1;
        self.addresses.insert(i.party.ip);
        *self.pace.entry(i.time_us - i.time_us.rem_euclid(PACE_US)).or_default() += 1;
        let exact = self.control.evasions & evasion::BROWSER_EXACT != 0;
        let rotates = self.control.evasions & evasion::AGENT_ROTATION != 0 && !exact;
        let shuffles = i.party.flags & SHUFFLED != 0;
        let used = [("shuffled_ja3", shuffles), ("rotated_agents", rotates), ("exact_browser", exact)];
        for (name, _) in used.into_iter().filter(|u| u.1) {
            *self.disguises.entry(name).or_default() += 1;
        }
    }

    /// Number for events of its machines at a tick of the day.
    pub(crate) fn tick_entity(&self, tick_of_day: u32) -> u64 {
        u64::from(self.id) << 14 | u64::from(tick_of_day)
    }

    /// Number for events of its dealings with an account.
    pub(crate) fn account_entity(&self, account: u64) -> u64 {
        let mut z = account.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(self.id);
        z = (z ^ (z >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (z >> 33) | 1 << 31
    }

    /// Accounts it picks, in order; none twice.
    pub(crate) fn targets(&self, w: &World, wanted: u64, from: u64) -> Vec<u64> {
        let mut out = Vec::new();
        let mut n = from;
        while (out.len() as u64) < wanted.min(w.accounts) && n < from + 20 * wanted + 20 {
            let id = self.key.draws(n, 0, Purpose::Takeover, 7).below(w.accounts);
            if !out.contains(&id) {
                out.push(id);
            }
            n += 1;
        }
        out
    }

    /// Whether it is made tick by tick.
    pub(crate) const fn is_flood(&self) -> bool {
        use AttackKind::{A1, A2, A3, A4, A5, A6, A7, B1, B2, B3};
        matches!(self.config.kind, A1 | A2 | A3 | A4 | A5 | A6 | A7 | B1 | B2 | B3)
    }
}

/// A made-up device of an attacker.
pub(crate) fn device_of(campaign: u16, number: u64, kind: u8) -> u64 {
    crate::world::device_number(
        kind,
        ((1 << 30 | u64::from(campaign)) << 14) ^ (number.wrapping_mul(0x9E37) % (1 << 40)),
        200,
    ) & (u64::MAX >> 1)
}
