//! Tags of incidents against what the attackers did.

use std::collections::BTreeMap;

use fishweir_sim::{AttackKind, CampaignTruth};
use serde_json::{Value, json};

use super::Rate;
use super::incidents::{Found, meets};

/// Share of an attack's requests from which on a way of hiding is one of the attack's.
const USED_SHARE: f64 = 0.5;
/// Addresses from which on an attack is spread over them.
const ADDRESSES: u64 = 30;
/// Requests an address of an attack that changes addresses instead of using them up.
const EACH_MAX: f64 = 30.0;
/// Requests of an incident that show how they are spread.
const SHOWS: f64 = 30.0;

#[expect(clippy::cast_precision_loss, reason = "request counts")]
fn uses(c: &CampaignTruth, disguise: &str) -> bool {
    let n = c.disguises.get(disguise).copied().unwrap_or(0);
    n as f64 >= USED_SHARE * c.requests as f64
}

// Every tag with whether the attack deserves it; by intent, not by what was measured.
#[expect(clippy::cast_precision_loss, reason = "request counts")]
fn deserved(c: &CampaignTruth) -> [(&'static str, bool); 9] {
    use AttackKind::{A1, A2, A3, A4, A5, A6, A7};
    let spread = c.addresses.is_some_and(|n| n >= ADDRESSES && c.requests as f64 / n as f64 <= EACH_MAX);
    [
        ("ip_randomisation", spread),
        // Who copies browsers exactly shows what members show: that some of these shuffle is no disguise of his.
        ("ja3_randomisation", uses(c, "shuffled_ja3") && !uses(c, "exact_browser")),
        ("user_agent_rotation", uses(c, "rotated_agents")),
        ("header_mimicry", uses(c, "exact_browser")),
        ("expensive_calls", c.kind == A2),
        ("login_flood", c.kind == A3),
        ("low_and_slow", c.kind == A4),
        ("pulse_wave", c.kind == A5),
        // Recorded visits go to every route, cache busting to every path.
        ("carpet", c.kind == A6 || (matches!(c.kind, A1 | A7) && c.tier >= 2)),
    ]
}

/// What was said of a tag: said, said rightly; due, found; due and found where an incident held enough requests to show it.
#[derive(Clone, Copy, Default)]
struct Count {
    said: usize,
    right: usize,
    due: usize,
    found: usize,
    shown: usize,
    shown_found: usize,
}

/// Returns precision of each tag over incidents, and recall over attacks: a long one comes in several incidents, and
/// its tag is found when one of them has it. Only incidents that are one attack of the family and none of another count:
/// what two did at once is neither's. Recall stands as well over attacks of which one incident holds thirty requests: a
/// handful does not show how it is spread.
pub(crate) fn rates(
    attacks: &[&Found],
    real: &[&CampaignTruth],
    campaigns: &[CampaignTruth],
) -> BTreeMap<&'static str, Value> {
    let mut counts: BTreeMap<&'static str, Count> = BTreeMap::new();
    // Whether found, and whether it could be seen.
    let mut told: BTreeMap<(&'static str, &str), (bool, bool)> = BTreeMap::new();
    for f in attacks {
        let Some(said) = &f.patterns else { continue };
        let mine: Vec<_> = real.iter().filter(|c| meets(f, c) && c.addresses.is_some()).collect();
        let [one] = mine.as_slice() else { continue };
        if campaigns.iter().any(|c| c.name != one.name && meets(f, c)) {
            continue;
        }
        for (tag, due) in deserved(one) {
            let has = said.iter().any(|s| s == tag);
            let slot = counts.entry(tag).or_default();
            slot.said += usize::from(has);
            slot.right += usize::from(has && due);
            if due {
                let one = told.entry((tag, &one.name)).or_default();
                one.0 |= has;
                one.1 |= f.excess.is_some_and(|n| n >= SHOWS);
            }
        }
    }
    for ((tag, _), (found, shown)) in told {
        let slot = counts.entry(tag).or_default();
        slot.due += 1;
        slot.found += usize::from(found);
        slot.shown += usize::from(shown);
        slot.shown_found += usize::from(found && shown);
    }
    let rates = |n: Count| {
        json!({
            "precision": Rate::of(n.right, n.said, "no incident has the tag"),
            "recall": Rate::of(n.found, n.due, "no attack found deserves the tag"),
            "recall_with_30_requests": Rate::of(n.shown_found, n.shown, "no such attack found deserves the tag"),
        })
    };
    counts.into_iter().map(|(tag, n)| (tag, rates(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::incidents::tests::{campaign, found};

    #[test]
    fn tags_are_held_against_what_the_attack_did() {
        let pulses = CampaignTruth {
            addresses: Some(400),
            disguises: [("exact_browser".to_owned(), 900)].into(),
            ..campaign("p", AttackKind::A5, 10, 30)
        };
        let mut f = found("attack", 10, 30, "/home");
        f.patterns = Some(vec!["pulse_wave".to_owned(), "login_flood".to_owned()]);
        let r = rates(&[&f], &[&pulses], &[]);
        assert_eq!(
            (&r["pulse_wave"]["precision"]["hits"], &r["pulse_wave"]["recall"]["hits"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(
            (&r["login_flood"]["precision"]["hits"], &r["login_flood"]["precision"]["of"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(
            (&r["header_mimicry"]["recall"]["hits"], &r["header_mimicry"]["recall"]["of"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(r["ip_randomisation"]["recall"]["of"], 1, "400 addresses with a few requests each");
        assert!(r["carpet"]["precision"]["value"].is_null(), "{r:?}");
        let other = Found { patterns: Some(Vec::new()), ..f.clone() };
        let r = rates(&[&f, &other], &[&pulses], &[]);
        assert_eq!(
            (&r["pulse_wave"]["recall"]["hits"], &r["pulse_wave"]["recall"]["of"]),
            (&json!(1), &json!(1))
        );
        f.patterns = None;
        assert!(rates(&[&f], &[&pulses], &[]).is_empty(), "without tags nothing is said about them");
    }
}
