//! The last minutes of a watched stream beside what was expected of them.

use serde::Serialize;

use super::LiveWatch;

/// One minute of a route beside what was expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LiveMinute {
    /// Start of the minute, microseconds.
    pub minute_us: i64,
    /// Requests.
    pub requests: f64,
    /// Requests that were expected; `None` without history.
    pub expected: Option<f64>,
    /// Lower end of what is usual.
    pub low: Option<f64>,
    /// Upper end of what is usual.
    pub high: Option<f64>,
}

/// The last minutes of a route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveRate {
    /// Route; `None` is all of them.
    pub route: Option<String>,
    /// Requests of the last sixty seconds, the present one left out.
    pub last_minute: f64,
    /// Minutes that have ended, oldest first.
    pub minutes: Vec<LiveMinute>,
}

const RATES_MIN: usize = 120;
impl LiveWatch {
    // Before the minute is learned from, it stands beside what was expected of it.
    pub(super) fn rate(&mut self, minute_us: i64, row: &[f64]) {
        let mut all = Vec::with_capacity(row.len());
        for (i, v) in row.iter().enumerate() {
            let usual = self.detector.usual(i, *v).filter(|p| p.expected.is_finite() && p.band.1.is_finite());
            all.push(LiveMinute {
                minute_us,
                requests: *v,
                expected: usual.map(|p| p.expected),
                low: usual.map(|p| p.band.0),
                high: usual.map(|p| p.band.1),
            });
        }
        self.rates.push_back((minute_us, all));
        if self.rates.len() > RATES_MIN {
            self.rates.pop_front();
        }
    }

    /// Returns the last two hours of all requests and of the busiest routes, most requests first.
    #[must_use]
    pub fn rates(&self, routes_max: usize) -> Vec<LiveRate> {
        let rate = |i: usize, route: &Option<String>| LiveRate {
            route: route.clone(),
            last_minute: self.ring.iter().filter_map(|s| s.get(i)).map(|c| c.n).sum(),
            minutes: self
                .rates
                .iter()
                .filter_map(|(_, all)| all.get(i).filter(|m| m.requests.is_finite()).copied())
                .collect(),
        };
        let mut all: Vec<LiveRate> = self.routes.iter().enumerate().map(|(i, r)| rate(i, r)).collect();
        let size = |r: &LiveRate| r.minutes.iter().map(|m| m.requests).sum::<f64>() + r.last_minute;
        all.sort_by(|a, b| a.route.is_some().cmp(&b.route.is_some()).then(size(b).total_cmp(&size(a))));
        all.truncate(routes_max + 1);
        all
    }

    /// Returns the second of the stream that is being counted; `None` before the first request.
    #[must_use]
    pub fn clock_us(&self) -> Option<i64> {
        self.second.map(|s| s * 1_000_000)
    }
}
