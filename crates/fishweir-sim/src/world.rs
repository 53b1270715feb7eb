//! Accounts, households, devices: each follows from the key and its number alone.

use crate::calendar::Calendar;
use crate::catalogue::Catalogue;
use crate::config::{Scenario, WorldConfig};
use crate::device::{self, KINDS};
use crate::network::{self, COUNTRIES, NetworkKind};
use crate::random::{Draws, Key, Purpose};

/// The fixed part of a simulated service.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) key: Key,
    pub(crate) config: WorldConfig,
    pub(crate) accounts: u64,
    pub(crate) calendar: Calendar,
    pub(crate) catalogue: Catalogue,
    /// Visits per account and day that give the hours watched.
    pub(crate) visits: f64,
}

/// What does not change about an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) id: u64,
    pub(crate) country: u8,
    pub(crate) line: u16,
    pub(crate) shared_line: bool,
    pub(crate) second_line: Option<u16>,
    pub(crate) devices: u8,
    pub(crate) breached: bool,
    pub(crate) weak: bool,
    pub(crate) mfa: bool,
    /// Day after the start on which it signs up; 0 for those already there.
    pub(crate) joined: u32,
}

/// Where and on what a visit happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Party {
    pub(crate) account: u64,
    pub(crate) device: u64,
    pub(crate) session: u64,
    pub(crate) ip: u32,
    pub(crate) asn: u16,
    pub(crate) software: u16,
    pub(crate) kind: u8,
    pub(crate) campaign: u16,
    pub(crate) stage: Stage,
    pub(crate) flags: u8,
}

pub(crate) const NOBODY: u64 = u64::MAX;
/// The client shows a TLS fingerprint that changes with every connection.
pub(crate) const SHUFFLED: u8 = 1;
/// A person sits there, who can solve a challenge.
pub(crate) const HUMAN: u8 = 2;
/// The address is shared by many.
pub(crate) const SHARED: u8 = 4;
/// Device not seen with this account before.
pub(crate) const NEW_DEVICE: u8 = 8;
/// Outside the account's country.
pub(crate) const ABROAD: u8 = 16;
/// Retries far too often when something fails.
pub(crate) const BUGGY: u8 = 32;

/// A partner acts for the member.
pub(crate) const PARTNER: u8 = 64;

/// What a party is up to; kept in the truth only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    Member,
    Automation,
    Launch,
    Live,
    RetryStorm,
    Relogin,
    Deploy,
    GuideRefresh,
    LoadTest,
    BankOutage,
    Campus,
    Partner,
    CardRetry,
    GiftTypo,
    HotelSet,
    Press,
    Family,
    Traveller,
    SecondHome,
    Flood,
    LoginTry,
    Checker,
    CoUse,
    Purchase,
    Resale,
    SignUp,
    CardTest,
    GiftCode,
    Rip,
    Clone,
    Probe,
    Leech,
    Hoard,
    Scrape,
}

impl Stage {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Automation => "automation",
            Self::Launch => "launch",
            Self::Live => "live",
            Self::RetryStorm => "retry_storm",
            Self::Relogin => "relogin",
            Self::Deploy => "deploy",
            Self::GuideRefresh => "guide_refresh",
            Self::LoadTest => "load_test",
            Self::BankOutage => "bank_outage",
            Self::Campus => "campus",
            Self::Partner => "partner",
            Self::CardRetry => "card_retry",
            Self::GiftTypo => "gift_typo",
            Self::HotelSet => "hotel_set",
            Self::Press => "press",
            Self::Family => "family",
            Self::Traveller => "traveller",
            Self::SecondHome => "second_home",
            Self::Flood => "flood",
            Self::LoginTry => "login_try",
            Self::Checker => "checker",
            Self::CoUse => "co_use",
            Self::Purchase => "purchase",
            Self::Resale => "resale",
            Self::SignUp => "sign_up",
            Self::CardTest => "card_test",
            Self::GiftCode => "gift_code",
            Self::Rip => "rip",
            Self::Clone => "clone",
            Self::Probe => "probe",
            Self::Leech => "leech",
            Self::Hoard => "hoard",
            Self::Scrape => "scrape",
        }
    }
}

/// Mean minutes from start to stop of a play; the shape is in `visit.rs`.
pub(crate) const MEAN_PLAY_MIN: f64 = 35.0;

impl World {
    pub(crate) fn new(seed: u64, start_us: i64, scenario: &Scenario) -> Self {
        let key = Key::new(seed, "world");
        let config = scenario.world.clone();
        let plays = crate::visit::PLAYS_PER_VISIT;
        let visits = config.hours_per_account_day * 60.0 / (MEAN_PLAY_MIN * device::mean_stay() * plays);
        Self {
            key,
            calendar: Calendar::new(start_us, &config),
            catalogue: Catalogue::new(key, config.titles),
            accounts: scenario.accounts,
            visits,
            config,
        }
    }

    pub(crate) fn account(&self, id: u64) -> Account {
        let mut d = self.key.draws(id, 0, Purpose::Account, 0);
        let country = d.pick(COUNTRIES.iter().map(|c| c.share)) as u8;
        let place = COUNTRIES[usize::from(country)];
        let shared = if place.shared_fixed { 0.35 } else { self.config.cgnat_fixed_share };
        let line = network::fixed(country, d.below(1 << 20));
        let shared_line = d.chance(shared);
        let devices = 1 + d.poisson(3.2).min(9) as u8;
        let second = d.chance(self.config.two_homes_share);
        let same_country = d.chance(0.9);
        let other = d.below(COUNTRIES.len() as u64) as u8;
        let second_line =
            second.then(|| network::fixed(if same_country { country } else { other }, d.below(1 << 20)));
        let (breached, weak, mfa) =
            (d.chance(self.config.breached_share), d.chance(0.08), d.chance(self.config.mfa_share));
        let growth = self.config.growth_per_year;
        let young = d.chance(growth / (1.0 + growth));
        let joined = if young { 1 + d.below(365) as u32 } else { 0 };
        Account { id, country, line, shared_line, second_line, devices, breached, weak, mfa, joined }
    }

    /// Device of an account by slot: kind and lag behind the newest version.
    pub(crate) fn device(&self, account: u64, slot: u8) -> (u8, u16) {
        let mut d = self.key.draws(account, u32::from(slot), Purpose::Device, 0);
        let kind = d.pick((0..KINDS.len()).map(device::visit_weight)) as u8;
        (kind, d.below(3) as u16)
    }

    /// Version of an application on a day: a new one every three weeks, rolled out over days.
    pub(crate) fn version(&self, lag: u16, day: u32) -> u16 {
        (6 + (day / 21) as u16).saturating_sub(lag)
    }

    /// Party of an account on a day: device, address, software.
    pub(crate) fn party(&self, a: &Account, slot: u8, day: u32, visit: u64, d: &mut Draws) -> Party {
        let slot = slot % a.devices;
        let (kind, lag) = self.device(a.id, slot);
        let k = KINDS[usize::from(kind)];
        let mut flags = HUMAN | if k.shuffles { SHUFFLED } else { 0 };
        let mut stage = Stage::Member;
        // Trips last about six days: the week, not the day, decides who is away.
        let mut trip = self.key.draws(a.id, day / 6, Purpose::Network, 3);
        let away = !k.television && trip.chance(self.config.travel_share * 2.0);
        let second = a.second_line.filter(|_| slot % 3 == 1 || d.chance(0.15));
        let (asn, ip) = if away {
            stage = Stage::Traveller;
            let place = trip.below(COUNTRIES.len() as u64) as u8;
            if place != a.country {
                flags |= ABROAD;
            }
            flags |= SHARED;
            let asn =
                if trip.chance(0.5) { network::hotel(place) } else { network::mobile(place, trip.below(2)) };
            (asn, network::address(asn, true, d.below(u64::from(self.config.cgnat_addresses))))
        } else if d.chance(self.config.vpn_share) {
            let asn = network::vpn(d.below(1 << 20));
            flags |= SHARED | if network::asn(asn).country == a.country { 0 } else { ABROAD };
            (asn, network::address(asn, false, d.below(64)))
        } else if !k.television && d.chance(0.35) {
            let asn = network::mobile(a.country, a.id);
            flags |= SHARED;
            (asn, network::address(asn, true, d.below(u64::from(self.config.cgnat_addresses))))
        } else if let Some(line) = second {
            stage = Stage::SecondHome;
            (line, network::home_address(self.key, line, a.id << 1 | 1, day))
        } else if a.shared_line {
            flags |= SHARED;
            let mut pool = self.key.draws(a.id, 0, Purpose::Network, 2);
            (
                a.line,
                network::address(a.line, true, 8_192 + pool.below(u64::from(self.config.cgnat_addresses))),
            )
        } else {
            (a.line, network::home_address(self.key, a.line, a.id << 1, day))
        };
        Party {
            account: a.id,
            device: device_number(kind, a.id, slot),
            session: visit,
            ip,
            asn,
            software: device::software(kind, self.version(lag, day)),
            kind,
            campaign: 0,
            stage,
            flags,
        }
    }

    /// Kind of network behind an address.
    pub(crate) fn network_kind(ip: u32, asn_index: u16) -> NetworkKind {
        match network::asn(asn_index).kind {
            NetworkKind::Home if ip >> 22 == 0x6440_0000 >> 22 => NetworkKind::Cgnat,
            other => other,
        }
    }
}

/// Device numbers carry the kind in the lowest byte and the slot above it; made-up devices use
/// slots of 200 and more.
pub(crate) fn device_number(kind: u8, owner: u64, slot: u8) -> u64 {
    owner << 16 | u64::from(slot) << 8 | u64::from(kind)
}
