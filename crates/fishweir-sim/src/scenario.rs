//! What happens when: the usual rhythm, a launch, a failure, floods, defences.

use serde::{Deserialize, Serialize};

use crate::random::Draws;

/// Settings of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimConfig {
    /// Seed.
    pub seed: u64,
    /// First instant, microseconds, a midnight.
    pub start_us: i64,
    /// Days.
    pub days: u32,
    /// Members.
    pub accounts: u32,
    /// Sessions per member and day.
    pub sessions_per_account_day: f64,
}

/// Kind of a thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthKind {
    /// Many sources, one expensive page.
    VolumetricFlood,
    /// Many sign-in attempts.
    LoginFlood,
    /// Few but costly calls.
    ExpensiveCalls,
    /// A new title that everybody wants.
    LaunchCrowd,
    /// A broken device model that retries.
    RetryStorm,
}

impl TruthKind {
    /// Returns whether this is an attack.
    #[must_use]
    pub const fn is_attack(self) -> bool {
        matches!(self, Self::VolumetricFlood | Self::LoginFlood | Self::ExpensiveCalls)
    }
}

/// One thing that happened, as written to the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthEvent {
    /// Kind.
    pub kind: TruthKind,
    /// Whether it is an attack.
    pub attack: bool,
    /// First minute, microseconds.
    pub start_us: i64,
    /// End, microseconds.
    pub end_us: i64,
    /// Route it hits.
    pub route: String,
    /// Requests it added.
    pub requests: u64,
}

/// A planned happening.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: TruthKind,
    pub(crate) start_min: u64,
    pub(crate) length_min: u64,
    /// Attack requests per minute at the height, or the factor of a launch.
    pub(crate) rate: f64,
    /// Minutes until the defence notices.
    pub(crate) defence_min: u64,
    /// Share it stops from then on.
    pub(crate) stopped: f64,
    pub(crate) sources: u64,
}

const DAY: u64 = 24 * 60;

impl Plan {
    pub(crate) fn route(&self) -> &'static str {
        match self.kind {
            TruthKind::VolumetricFlood | TruthKind::LaunchCrowd => "/home",
            TruthKind::LoginFlood => "/login",
            TruthKind::ExpensiveCalls => "/search",
            TruthKind::RetryStorm => "/licence",
        }
    }

    pub(crate) fn active(&self, minute: u64) -> Option<u64> {
        (minute >= self.start_min && minute < self.start_min + self.length_min)
            .then(|| minute - self.start_min)
    }
}

/// Returns what happens in a simulation: from day 8 on a launch, a retry storm and floods whose
/// times, sizes and lengths follow from the seed.
pub(crate) fn plans(config: &SimConfig) -> Vec<Plan> {
    let mut out = Vec::new();
    let mut d = Draws::new(config.seed, 10, 0, 0);
    let usual = f64::from(config.accounts) * config.sessions_per_account_day * 9.0 / 1440.0;
    let days = u64::from(config.days);
    let mut day = if days > 9 { 8 } else { 1.min(days.saturating_sub(1)) };
    let order = [
        TruthKind::VolumetricFlood,
        TruthKind::LaunchCrowd,
        TruthKind::LoginFlood,
        TruthKind::RetryStorm,
        TruthKind::ExpensiveCalls,
        TruthKind::VolumetricFlood,
    ];
    let mut i = 0;
    while day < days {
        let kind = order[i % order.len()];
        i += 1;
        let hour = if kind == TruthKind::LaunchCrowd { 19 } else { 2 + d.below(15) };
        let start_min = day * DAY + hour * 60 + d.below(50);
        let length = |d: &mut Draws, median: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let minutes = d.lognormal(median, 0.5).clamp(5.0, 240.0) as u64;
            minutes
        };
        let plan = match kind {
            TruthKind::VolumetricFlood => Plan {
                kind,
                start_min,
                length_min: length(&mut d, 22.0),
                rate: usual * (4.0 + 8.0 * d.unit()),
                defence_min: 2 + d.below(5),
                stopped: 0.75 + 0.2 * d.unit(),
                sources: 4_000 + d.below(6_000),
            },
            TruthKind::LoginFlood => Plan {
                kind,
                start_min,
                length_min: length(&mut d, 35.0),
                rate: usual * (1.5 + 2.0 * d.unit()),
                defence_min: 4 + d.below(8),
                stopped: 0.9 + 0.08 * d.unit(),
                sources: 300 + d.below(500),
            },
            TruthKind::ExpensiveCalls => Plan {
                kind,
                start_min,
                length_min: length(&mut d, 45.0),
                rate: usual * (0.7 + 0.6 * d.unit()),
                defence_min: 1_000,
                stopped: 0.0,
                sources: 120 + d.below(200),
            },
            TruthKind::LaunchCrowd => Plan {
                kind,
                start_min,
                length_min: 150,
                rate: 1.6 + d.unit(),
                defence_min: 0,
                stopped: 0.0,
                sources: 0,
            },
            TruthKind::RetryStorm => Plan {
                kind,
                start_min,
                length_min: length(&mut d, 25.0),
                rate: usual * (1.0 + 1.5 * d.unit()),
                defence_min: 0,
                stopped: 0.0,
                sources: 0,
            },
        };
        out.push(plan);
        day += 1;
    }
    out
}

/// Returns sessions relative to the daily mean: a quiet night, a strong evening, busier weekends.
pub(crate) fn rhythm(minute: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "minutes of a day")]
    let hour = (minute % DAY) as f64 / 60.0;
    let evening = libm::exp(-((hour - 20.5) * (hour - 20.5)) / 12.0);
    let noon = 0.45 * libm::exp(-((hour - 13.0) * (hour - 13.0)) / 10.0);
    let weekend = if (minute / DAY) % 7 >= 5 { 1.2 } else { 1.0 };
    (0.25 + 2.0 * evening + noon) / 0.83 * weekend
}
