//! What remains of a network address: its prefix, and what a user-supplied table says of it.

use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

/// Returns the /24 (IPv4) or /48 (IPv6) that holds the address; IPv4 in IPv6 counts as IPv4.
#[must_use]
pub fn ip_prefix(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// A line of the network table that cannot be read.
#[derive(Debug, Error)]
#[error(
    "network table line {line}: {cause}; expected `network,asn,country`, for example `198.51.100.0/24,64500,SE`"
)]
pub struct NetworkTableError {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: String,
}

#[derive(Clone, Debug)]
struct Row {
    first: u128,
    last: u128,
    asn: Option<i64>,
    country: Option<String>,
}

/// Address ranges with their autonomous system and country.
#[derive(Clone, Debug, Default)]
pub struct NetworkTable {
    rows: Vec<Row>,
}

impl NetworkTable {
    /// Returns the table in comma-separated text: `network,asn,country`, header optional.
    /// Networks may nest; the narrowest wins.
    ///
    /// # Errors
    /// The first line that is no such row.
    pub fn parse(text: &str) -> Result<Self, NetworkTableError> {
        let mut rows = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || (i == 0 && line.starts_with("network")) {
                continue;
            }
            let bad = |cause: &str| NetworkTableError { line: i + 1, cause: cause.to_owned() };
            let mut cells = line.split(',').map(str::trim);
            let (first, last) =
                cells.next().and_then(range).ok_or_else(|| bad("the first cell is no network"))?;
            let asn = match cells.next().unwrap_or_default() {
                "" => None,
                n => {
                    let n = n.trim_start_matches("AS");
                    Some(n.parse().map_err(|_| bad("the second cell is no AS number"))?)
                }
            };
            let country = cells.next().filter(|c| !c.is_empty()).map(str::to_owned);
            rows.push(Row { first, last, asn, country });
        }
        rows.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        Ok(Self { rows })
    }

    /// Returns the autonomous system and country of an address, where known.
    #[must_use]
    pub fn find(&self, ip: IpAddr) -> (Option<i64>, Option<&str>) {
        let key = number(ip);
        let end = self.rows.partition_point(|r| r.first <= key);
        // WHY: ranges nest, so the narrowest cover is the last start at or before the address
        // whose end lies behind it; nesting depth in real tables is below ten.
        let mut seen = 0;
        for r in self.rows.iter().take(end).rev() {
            if r.last >= key {
                return (r.asn, r.country.as_deref());
            }
            seen += 1;
            if seen > NESTING_MAX {
                break;
            }
        }
        (None, None)
    }
}

const NESTING_MAX: usize = 4096;

fn number(ip: IpAddr) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn range(text: &str) -> Option<(u128, u128)> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let (start, width) = match ip.parse::<IpAddr>().ok()? {
        IpAddr::V4(v4) => (number(IpAddr::V4(v4)), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let host = width - bits.unwrap_or(width).min(width);
    let mask = if host == 128 { u128::MAX } else { (1u128 << host) - 1 };
    Some((start & !mask, start | mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        assert_eq!(ip_prefix("198.51.100.7".parse().unwrap()), "198.51.100.0/24");
        assert_eq!(ip_prefix("::ffff:198.51.100.7".parse().unwrap()), "198.51.100.0/24");
        assert_eq!(ip_prefix("2001:db8:1:2::9".parse().unwrap()), "2001:db8:1::/48");
    }

    #[test]
    fn narrowest_network_wins_and_bad_lines_are_named() {
        let t = NetworkTable::parse("network,asn,country\n10.0.0.0/8,64500,SE\n10.1.0.0/16,AS64501,NO\n")
            .unwrap();
        assert_eq!(t.find("10.1.2.3".parse().unwrap()), (Some(64501), Some("NO")));
        assert_eq!(t.find("10.2.2.3".parse().unwrap()), (Some(64500), Some("SE")));
        assert_eq!(t.find("11.0.0.1".parse().unwrap()), (None, None));
        let e = NetworkTable::parse("10.0.0.0/8,1,SE\nnonsense").unwrap_err().to_string();
        assert!(e.contains("line 2"), "{e}");
    }
}
