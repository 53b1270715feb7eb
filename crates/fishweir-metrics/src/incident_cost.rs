//! What one incident cost, component by component.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::costs::Costs;

/// One component of the cost of an incident, in US dollars; `None` where what it is made of is unknown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostPart {
    /// What was paid for.
    pub what: &'static str,
    /// Best estimate.
    pub usd: Option<f64>,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// How it was computed, or why it is unknown.
    pub how: String,
}

fn number(row: &Map<String, Value>, key: &str) -> Option<f64> {
    row.get(key).and_then(Value::as_f64)
}

// A count that another such attack would have had by chance.
fn chance(count: Option<f64>, sd: f64) -> Option<f64> {
    count.map(|n| (n + sd * n.max(0.0).sqrt()).max(0.0))
}

// What was counted beyond other days, where chance does not make it: the upper end reaches it, whatever the factors say.
fn reaching(mut part: CostPart, row: &Map<String, Value>, key: &str, usd: f64, words: &str) -> CostPart {
    let [best, low, high] = ["", "_low", "_high"].map(|end| number(row, &format!("{key}{end}")));
    if let (Some(best), Some(low), Some(high)) = (best, low, high)
        && low > 0.0
    {
        part.how.push_str(&format!("; {best:.0} ({low:.0} to {high:.0}) {words}, from whatever cause"));
        part.high = part.high.map(|h| h.max(high * usd));
    }
    part
}

/// Returns the components of the cost of a row of `dos_incidents`: serving what was not stopped, stream
/// starts lost to failures, contacts of members hit, downtime. The interval is that of what was
/// counted, and chance where counting was exact; the cost factors themselves are taken as given. Where starts were clearly missed or
/// contacts clearly more than on other days, the upper end reaches them: they may have other causes, and attacks of one day share them.
#[must_use]
pub fn incident_cost(row: &Map<String, Value>, costs: &Costs) -> Vec<CostPart> {
    let factor = |name: &str| costs.all().get(name).copied().unwrap_or(0.0);
    let part = |what, [best, low, high]: [Option<f64>; 3], usd: f64, how: String, unknown: &str| {
        // What happened and has no price did not cost nothing.
        if usd <= 0.0 && best.is_some_and(|v| v > 0.0) {
            let how = "no price is set in [costs]".to_owned();
            return CostPart { what, usd: None, low: None, high: None, how };
        }
        CostPart {
            what,
            usd: best.map(|v| v * usd),
            low: low.or(best).map(|v| v * usd),
            high: high.or(best).map(|v| v * usd),
            how: if best.is_some() { how } else { unknown.to_owned() },
        }
    };
    let stopped = number(row, "stopped_requests").unwrap_or(0.0);
    let served = |k: &str| number(row, k).map(|v| (v - stopped).max(0.0));
    let members = |k: &str| number(row, k);
    let served = ["excess_requests", "excess_low", "excess_high"].map(served);
    let hit = ["members_affected", "members_affected_low", "members_affected_high"].map(members);
    let (failed, down) = (number(row, "failed_requests"), number(row, "downtime_min"));
    let starts = factor("stream_starts_per_failed_request");
    let contacts = factor("contacts_per_affected_client");
    vec![
        part(
            "serving the attack",
            served,
            factor("request_usd_per_million") / 1e6,
            format!("requests that were not stopped, {} USD a million", factor("request_usd_per_million")),
            "the size is unknown",
        ),
        reaching(
            part(
                "lost stream starts",
                [failed, chance(failed, -1.96), chance(failed, 1.96)],
                starts * factor("lost_stream_start_usd"),
                format!("{starts} starts per failed request, {} USD each", factor("lost_stream_start_usd")),
                "failed requests are unknown",
            ),
            row,
            "playback_starts_missed",
            factor("lost_stream_start_usd"),
            "fewer starts than on other days",
        ),
        reaching(
            part(
                "contacts",
                hit,
                contacts * factor("contact_usd"),
                format!("{contacts} contacts per member hit, {} USD each", factor("contact_usd")),
                "who was hit is unknown",
            ),
            row,
            "contacts_extra",
            factor("contact_usd"),
            "more contacts in the day than on others",
        ),
        part(
            "downtime",
            [down, down, down],
            factor("downtime_minute_usd"),
            format!("minutes below the objective, {} USD each", factor("downtime_minute_usd")),
            "downtime is unknown",
        ),
    ]
}

/// Returns the sum of the known components and whether it is only a floor.
#[must_use]
pub fn cost_total(parts: &[CostPart]) -> (f64, bool) {
    (parts.iter().filter_map(|p| p.usd).sum(), parts.iter().any(|p| p.usd.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_component_makes_the_sum_a_floor() {
        let row = |members: Value| -> Map<String, Value> {
            let all = serde_json::json!({
                "excess_requests": 2e6, "excess_low": 1e6, "excess_high": 3e6, "stopped_requests": 1e6,
                "failed_requests": 100.0, "members_affected": members, "downtime_min": 0,
            });
            all.as_object().cloned().unwrap_or_default()
        };
        let known = incident_cost(&row(Value::from(1_000.0)), &Costs::default());
        let (sum, floor) = cost_total(&known);
        assert!(!floor && (sum - (0.9 + 0.22 + 16.02)).abs() < 1e-6, "{known:?}");
        assert_eq!((known[0].low, known[0].high), (Some(0.0), Some(1.8)));
        assert!(
            known[1].low < known[1].usd && known[1].usd < known[1].high,
            "failures have chance: {known:?}"
        );
        let mut told = row(Value::from(1_000.0));
        for (key, v) in
            [("contacts_extra", 49.0), ("contacts_extra_low", 44.0), ("contacts_extra_high", 53.0)]
        {
            told.insert(key.to_owned(), Value::from(v));
        }
        let counted = incident_cost(&told, &Costs::default());
        assert_eq!((counted[2].usd, counted[2].high), (known[2].usd, Some(53.0 * 8.01)), "{counted:?}");
        assert!(counted[2].how.contains("49 (44 to 53) more contacts"), "{counted:?}");
        let mut down = row(Value::from(1_000.0));
        down.insert("downtime_min".to_owned(), Value::from(12));
        let unpriced = incident_cost(&down, &Costs::default());
        assert_eq!((unpriced[3].usd, cost_total(&unpriced).1), (None, true), "{unpriced:?}");
        let unknown = incident_cost(&row(Value::Null), &Costs::default());
        assert!(cost_total(&unknown).1);
        assert_eq!((unknown[2].usd, unknown[2].how.as_str()), (None, "who was hit is unknown"));
    }
}
