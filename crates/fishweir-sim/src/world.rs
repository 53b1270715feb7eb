//! Members and their devices; each follows from seed and number alone.

use crate::random::Draws;

/// The fixed part of a simulated service.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) accounts: u64,
}

/// A device of a member.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) account: u64,
    pub(crate) device: u64,
    pub(crate) ip: u32,
    pub(crate) country: &'static str,
    pub(crate) asn: i64,
    pub(crate) kind: usize,
}

pub(crate) struct DeviceKind {
    pub(crate) user_agent: &'static str,
    pub(crate) ja4: &'static str,
    pub(crate) share: f64,
}

/// Shares of sessions by device, after the published shares of viewing time.
pub(crate) const KINDS: [DeviceKind; 6] = [
    DeviceKind {
        user_agent: "StreamTV/4.2 (SMART-TV; Linux; Tizen 6.0)",
        ja4: "t13d1516h2_8daaf6152771_02713d6af862",
        share: 0.22,
    },
    DeviceKind {
        user_agent: "StreamBox/7.1 (Roku)",
        ja4: "t13d1312h1_f57a46bbacb6_ab7e3b40a677",
        share: 0.24,
    },
    DeviceKind {
        user_agent: "StreamApp/12.3 (iPhone; iOS 18.1)",
        ja4: "t13d2014h2_a09f3c656075_14788d8d241b",
        share: 0.22,
    },
    DeviceKind {
        user_agent: "StreamApp/12.1 (Android 15; Mobile)",
        ja4: "t13d1515h2_8daaf6152771_de4a06bb82e3",
        share: 0.18,
    },
    DeviceKind {
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/132.0 Safari/537.36",
        ja4: "t13d1516h2_8daaf6152771_e5627efa2ab1",
        share: 0.1,
    },
    DeviceKind {
        user_agent: "StreamConsole/3.0 (PlayStation 5)",
        ja4: "t12d1209h1_d34a8e72043a_b39be8c56a14",
        share: 0.04,
    },
];

const PLACES: [(&str, f64, i64); 6] = [
    ("US", 0.3, 64_500),
    ("GB", 0.15, 64_510),
    ("DE", 0.15, 64_520),
    ("BR", 0.2, 64_530),
    ("IN", 0.12, 64_540),
    ("JP", 0.08, 64_550),
];

impl World {
    /// Returns the world of a seed.
    #[must_use]
    pub fn new(seed: u64, accounts: u32) -> Self {
        Self { seed, accounts: u64::from(accounts).max(1) }
    }

    /// Returns a device of a member; the household's address is fixed, a fifth of the members sit
    /// behind addresses shared by many.
    pub(crate) fn client(&self, account: u64, pick: u64) -> Client {
        let mut home = Draws::new(self.seed, 1, account, 0);
        let mut u = home.unit();
        let mut place = PLACES[0];
        for p in PLACES {
            place = p;
            if u < p.1 {
                break;
            }
            u -= p.1;
        }
        let shared = home.chance(0.2);
        let block = u32::try_from(place.2 - 64_490).unwrap_or(0) / 10;
        let house = if shared { home.below(80) } else { 256 + home.below(60_000) };
        let ip = (10 << 24) | (block << 20) | (u32::try_from(house).unwrap_or(0) & 0xF_FFFF);
        let devices = 1 + home.below(4);
        let device = pick % devices;
        let mut own = Draws::new(self.seed, 2, account, device);
        let mut v = own.unit();
        let mut kind = 0;
        for (i, k) in KINDS.iter().enumerate() {
            kind = i;
            if v < k.share {
                break;
            }
            v -= k.share;
        }
        let asn = place.2 + i64::try_from(home.below(4)).unwrap_or(0);
        Client { account, device: account * 8 + device, ip, country: place.0, asn, kind }
    }
}
