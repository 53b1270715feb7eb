//! Attack or crowd: an explicit, versioned heuristic over what changed.

use fishweir_detect::logistic;
use serde::{Deserialize, Serialize};

/// What changed while a surge was open, each against the traffic just before it.
///
/// Every share lies in 0 to 1; `None` where the stream does not tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Share of the extra requests without an account, where usual traffic has accounts.
    pub anonymous_share: Option<f64>,
    /// Share of clients not seen during the day before, beyond what is usual for one hour.
    pub new_client_share: Option<f64>,
    /// Share of the excess that one conjunction of client attributes explains.
    pub client_rule_coverage: Option<f64>,
    /// Share of the excess that the defences stopped.
    pub stopped_share: Option<f64>,
    /// Requests per client during the surge over those before it.
    pub client_rate_ratio: Option<f64>,
    /// Share of the extra requests on the single most affected route.
    pub top_route_share: Option<f64>,
}

const PRIOR: f64 = -0.4;

/// Returns the probability that a surge is an attack; `None` when nothing is known about it.
///
/// # Source
/// Expert weights, version `dos-heuristic-1`, from the published contrasts between floods and
/// flash crowds (docs/detection.md): floods come from new, anonymous clients that share tool
/// marks; crowds are known members who follow through.
#[must_use]
pub fn attack_probability(e: &Evidence) -> Option<f64> {
    let terms = [
        e.anonymous_share.map(|v| 5.0 * (v - 0.5)),
        e.new_client_share.map(|v| 5.0 * (v - 0.5)),
        e.client_rule_coverage.map(|v| 1.5 * (v - 0.4)),
        e.stopped_share.filter(|v| *v > 0.02).map(|v| 1.5 * v),
        e.client_rate_ratio.map(|v| 0.6 * v.max(0.1).ln().clamp(-1.5, 2.5)),
        e.top_route_share.map(|v| 0.8 * (v - 0.5)),
    ];
    let known: Vec<f64> = terms.into_iter().flatten().collect();
    if known.is_empty() {
        return None;
    }
    Some(logistic(PRIOR + known.iter().sum::<f64>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_crowd_and_retry_storm() {
        let flood = Evidence {
            anonymous_share: Some(0.98),
            new_client_share: Some(0.9),
            client_rule_coverage: Some(0.9),
            stopped_share: Some(0.7),
            client_rate_ratio: Some(8.0),
            top_route_share: Some(1.0),
        };
        let crowd = Evidence {
            anonymous_share: Some(0.02),
            new_client_share: Some(0.25),
            client_rule_coverage: Some(0.1),
            stopped_share: Some(0.0),
            client_rate_ratio: Some(1.2),
            top_route_share: Some(0.3),
        };
        let storm = Evidence {
            anonymous_share: Some(0.05),
            new_client_share: Some(0.05),
            client_rule_coverage: Some(0.95),
            client_rate_ratio: Some(6.0),
            top_route_share: Some(1.0),
            stopped_share: None,
        };
        assert!(attack_probability(&flood).unwrap() > 0.95);
        assert!(attack_probability(&crowd).unwrap() < 0.1);
        assert!(attack_probability(&storm).unwrap() < 0.3);
        assert_eq!(attack_probability(&Evidence::default()), None);
    }
}
