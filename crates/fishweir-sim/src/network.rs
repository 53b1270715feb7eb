//! Networks in reserved address space: who gives an address, and what stands behind it.

use crate::random::{Key, Purpose};

/// A country of the synthetic world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Country {
    pub(crate) code: &'static str,
    /// Share of accounts; by region as published at the end of 2024.
    pub(crate) share: f64,
    /// Minutes ahead of UTC.
    pub(crate) offset_min: i32,
    /// Whether fixed lines often share addresses.
    pub(crate) shared_fixed: bool,
}

const fn country(code: &'static str, share: f64, offset_min: i32, shared_fixed: bool) -> Country {
    Country { code, share, offset_min, shared_fixed }
}

pub(crate) const COUNTRIES: [Country; 16] = [
    country("US", 0.270, -360, false),
    country("CA", 0.027, -300, false),
    country("GB", 0.075, 0, false),
    country("DE", 0.075, 60, false),
    country("FR", 0.060, 60, false),
    country("ES", 0.040, 60, false),
    country("IT", 0.035, 60, false),
    country("PL", 0.030, 60, false),
    country("ZA", 0.020, 120, false),
    country("BR", 0.090, -180, true),
    country("MX", 0.060, -360, true),
    country("AR", 0.027, -180, true),
    country("IN", 0.070, 330, true),
    country("JP", 0.050, 540, false),
    country("KR", 0.041, 540, false),
    country("AU", 0.030, 600, false),
];

/// What stands behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NetworkKind {
    Home,
    Cgnat,
    Mobile,
    Hotel,
    Vpn,
    DataCentre,
}

impl NetworkKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Cgnat => "cgnat",
            Self::Mobile => "mobile",
            Self::Hotel => "hotel",
            Self::Vpn => "vpn",
            Self::DataCentre => "data_centre",
        }
    }
}

/// A network of the synthetic table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asn {
    pub(crate) number: i64,
    pub(crate) country: u8,
    pub(crate) kind: NetworkKind,
}

/// Networks per country: three fixed lines, two mobile, one of hotels and campuses.
const PER_COUNTRY: usize = 6;
const FIXED: usize = 3;
const CENTRES: usize = 8;
const VPNS: usize = 4;
pub(crate) const ASNS: usize = COUNTRIES.len() * PER_COUNTRY + CENTRES + VPNS;

/// Returns a network by index.
pub(crate) fn asn(index: u16) -> Asn {
    let i = usize::from(index) % ASNS;
    let number = 64_512 + i as i64;
    let locals = COUNTRIES.len() * PER_COUNTRY;
    if i < locals {
        let kind = match i % PER_COUNTRY {
            0..FIXED => NetworkKind::Home,
            3 | 4 => NetworkKind::Mobile,
            _ => NetworkKind::Hotel,
        };
        return Asn { number, country: (i / PER_COUNTRY) as u8, kind };
    }
    if i < locals + CENTRES {
        let country = [0, 0, 2, 3, 4, 13, 12, 9][(i - locals) % CENTRES];
        return Asn { number, country, kind: NetworkKind::DataCentre };
    }
    let country = [0, 2, 3, 4][(i - locals - CENTRES) % VPNS];
    Asn { number, country, kind: NetworkKind::Vpn }
}

pub(crate) fn fixed(country: u8, pick: u64) -> u16 {
    (usize::from(country) * PER_COUNTRY + pick as usize % FIXED) as u16
}
pub(crate) fn mobile(country: u8, pick: u64) -> u16 {
    (usize::from(country) * PER_COUNTRY + FIXED + pick as usize % 2) as u16
}
pub(crate) fn hotel(country: u8) -> u16 {
    (usize::from(country) * PER_COUNTRY + 5) as u16
}
pub(crate) fn centre(pick: u64) -> u16 {
    (COUNTRIES.len() * PER_COUNTRY + pick as usize % CENTRES) as u16
}
pub(crate) fn vpn(pick: u64) -> u16 {
    (COUNTRIES.len() * PER_COUNTRY + CENTRES + pick as usize % VPNS) as u16
}

/// Returns an address of a network: `shared` ones come from the network's shared block.
///
/// Homes lie in 240.0.0.0/4, shared addresses in 100.64.0.0/10, servers in 198.18.0.0/15, VPN and
/// hotels in 172.16.0.0/12: reserved space, never a real host.
pub(crate) fn address(asn_index: u16, shared: bool, host: u64) -> u32 {
    let i = u32::from(asn_index);
    let within = |base: u32, bits: u32| base + (i << bits) + (host % (1 << bits)) as u32;
    match asn(asn_index).kind {
        _ if shared => within(0x6440_0000, 14),
        NetworkKind::Home | NetworkKind::Cgnat => within(0xF000_0000, 20),
        NetworkKind::Mobile => within(0x6440_0000, 14),
        NetworkKind::DataCentre => within(0xC612_0000, 10),
        NetworkKind::Vpn | NetworkKind::Hotel => within(0xAC10_0000, 12),
    }
}

/// Address of a home line on a day: most keep theirs for two months, the rest for about a day, and
/// half of the changes leave the neighbourhood.
pub(crate) fn home_address(key: Key, asn_index: u16, home: u64, day: u32) -> u32 {
    let mut own = key.draws(home, 0, Purpose::Network, 0);
    let stable = own.chance(0.6);
    let phase = own.below(60) as u32;
    let period = if stable { (day + phase) / 60 } else { day };
    let mut now = key.draws(home, period, Purpose::Network, 1);
    let near = own.below(1 << 12) << 8 | now.below(256);
    let far = now.below(1 << 20);
    address(asn_index, false, if stable || now.chance(0.5) { near } else { far })
}

/// Lines of the network table: network, number, country.
pub(crate) fn table() -> String {
    let mut out = String::from("network,asn,country\n");
    for i in 0..ASNS as u16 {
        let a = asn(i);
        let code = COUNTRIES[usize::from(a.country)].code;
        let (base, bits) = match a.kind {
            NetworkKind::Home | NetworkKind::Cgnat => (0xF000_0000, 20),
            NetworkKind::Mobile => (0x6440_0000, 14),
            NetworkKind::DataCentre => (0xC612_0000, 10),
            NetworkKind::Vpn | NetworkKind::Hotel => (0xAC10_0000, 12),
        };
        let mut blocks = vec![(base, bits)];
        if a.kind == NetworkKind::Home {
            blocks.push((0x6440_0000, 14));
        }
        for (base, bits) in blocks {
            let net = std::net::Ipv4Addr::from(base + (u32::from(i) << bits));
            out.push_str(&format!("{net}/{},{},{code}\n", 32 - bits, a.number));
        }
    }
    out
}
