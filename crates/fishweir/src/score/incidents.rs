//! Incidents against attacks.
//!
//! An incident and an attack match when their times overlap, five minutes of slack on each side,
//! they share a route, and the attack brought at least a tenth of the incident's excess while they
//! overlapped: a trickle beside a benign wave does not make the wave an attack. Attacks of other
//! families that surge count as attacks for precision, but recall is taken over the DoS family alone.

use std::collections::{BTreeMap, BTreeSet};

use fishweir_sim::{AttackKind, CampaignTruth, HappeningTruth, PACE_US};
use serde_json::{Map, Value, json};

use super::{Rate, Score, median, patterns};

const SLACK_US: i64 = 5 * 60_000_000;
/// Share of an attack's requests that a route or mark must have to be one of its own.
const OWN_SHARE: f64 = 0.10;
/// Share of an incident's excess that an attack must have brought to be what was found.
const EXCESS_SHARE: f64 = 0.10;
/// Share of it from which on the incident is that attack more than anything else: what a probability says.
const MOST: f64 = 0.5;
/// Share above which a mark is part of the conjunction that the attack is: nearly all of it has it.
const MAIN_SHARE: f64 = 0.9;

/// An incident as Fishweir stored it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) kind: String,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) detected_us: i64,
    pub(crate) routes: Vec<String>,
    pub(crate) excess: Option<f64>,
    pub(crate) p_attack: Option<f64>,
    pub(crate) driver: Option<String>,
    /// Tags of at least half strength; `None` where none could be made.
    pub(crate) patterns: Option<Vec<String>>,
}

impl Found {
    /// Returns an incident from a row of `dos_incidents` whose times are microseconds.
    pub(crate) fn from_row(row: &Map<String, Value>) -> Option<Self> {
        let text = |k: &str| row.get(k).and_then(Value::as_str).map(str::to_owned);
        let int = |k: &str| row.get(k).and_then(Value::as_i64);
        Some(Self {
            kind: text("kind")?,
            start_us: int("start_us")?,
            end_us: int("end_us")?,
            detected_us: int("detected_us")?,
            routes: text("routes")?.split(' ').map(str::to_owned).collect(),
            excess: row.get("excess_requests").and_then(Value::as_f64),
            p_attack: row.get("p_attack").and_then(Value::as_f64),
            driver: text("driver"),
            patterns: text("patterns").map(|p| p.split(' ').map(str::to_owned).collect()),
        })
    }

    fn overlaps(&self, from_us: i64, to_us: i64) -> bool {
        self.start_us <= to_us + SLACK_US && from_us - SLACK_US <= self.end_us
    }
}

fn is_dos(kind: AttackKind) -> bool {
    use AttackKind::{A1, A2, A3, A4, A5, A6, A7};
    matches!(kind, A1 | A2 | A3 | A4 | A5 | A6 | A7)
}

#[expect(clippy::cast_precision_loss, reason = "request counts")]
fn own<K: Ord>(counts: &BTreeMap<K, u64>, least: f64) -> Vec<&K> {
    let all: u64 = counts.values().sum();
    counts.iter().filter(|(_, n)| **n as f64 >= least * all as f64).map(|(k, _)| k).collect()
}

pub(crate) fn meets(f: &Found, c: &CampaignTruth) -> bool {
    let (Some(from), Some(to)) = (c.start_us, c.end_us) else { return false };
    let shared = own(&c.routes, OWN_SHARE).into_iter().any(|r| f.routes.contains(r));
    f.overlaps(from, to) && (shared || f.routes.iter().any(|r| r == "(all)")) && explains(f, c, EXCESS_SHARE)
}

// Whether an attack brought at least a share of an incident's excess.
fn explains(f: &Found, c: &CampaignTruth, share: f64) -> bool {
    f.excess.is_none_or(|excess| brought(f, c) >= share * excess)
}

// Requests of an attack while an incident lasted, with the slack.
#[expect(clippy::cast_precision_loss, reason = "microseconds and request counts")]
fn brought(f: &Found, c: &CampaignTruth) -> f64 {
    if let Some(n) = c.requests_in(f.start_us - SLACK_US, f.end_us + SLACK_US) {
        return n as f64;
    }
    let (Some(from_us), Some(to_us)) = (c.start_us, c.end_us) else { return 0.0 };
    // Where the truth does not say when, its requests are held to be spread evenly.
    let length = (to_us - from_us).max(1) as f64;
    let both = (f.end_us.min(to_us) - f.start_us.max(from_us)).max(0) as f64;
    // An attack shorter than the slack may lie just beside the incident that it is.
    c.requests as f64 * if length <= SLACK_US as f64 { 1.0 } else { both / length }
}

/// Returns the requests of an attack that count as attack requests of a span, as the metric counts them: those
/// of an incident labelled attack when it began, the others of a flood when they came, the others of any other
/// attack never.
#[expect(clippy::cast_precision_loss, reason = "microseconds and request counts")]
pub(crate) fn attack_requests(c: &CampaignTruth, found: &[Found], from_us: i64, to_us: i64) -> f64 {
    let (Some(begun_us), Some(ended_us)) = (c.start_us, c.end_us) else { return 0.0 };
    let counts = |us: i64| (from_us..to_us).contains(&us);
    let mine: Vec<&Found> = found.iter().filter(|f| f.kind == "attack" && meets(f, c)).collect();
    if c.pace.is_empty() {
        if !counts(begun_us) {
            return 0.0;
        }
        let inside: i64 =
            mine.iter().map(|f| (f.end_us.min(ended_us) - f.start_us.max(begun_us)).max(0)).sum();
        let part = (inside as f64 / (ended_us - begun_us).max(1) as f64).min(1.0);
        return c.requests as f64 * if is_dos(c.kind) { 1.0 } else { part };
    }
    let slot = |(us, n): (&i64, &u64)| {
        let held = mine.iter().find(|f| f.start_us < us + PACE_US && *us <= f.end_us);
        let when_us = held.map(|f| f.start_us).or(is_dos(c.kind).then_some(*us));
        when_us.filter(|us| counts(*us)).map(|_| *n as f64)
    };
    c.pace.iter().filter_map(slot).sum()
}

/// Requests by route while an attack lasted, its own among them; by name of the attack.
pub(crate) type Traffic = BTreeMap<String, BTreeMap<String, f64>>;

/// Share of a route's other requests from which on an attack counts as large.
const LARGE_SHARE: f64 = 0.2;
const LARGE_US: i64 = 3 * 60_000_000;

// Whether an attack brought at least a fifth of one of its routes for at least three minutes.
#[expect(clippy::cast_precision_loss, reason = "request counts")]
fn is_large(c: &CampaignTruth, traffic: &Traffic) -> bool {
    let (Some(from), Some(to), Some(seen)) = (c.start_us, c.end_us, traffic.get(&c.name)) else {
        return false;
    };
    let strong = own(&c.routes, OWN_SHARE).into_iter().any(|r| {
        let n = c.routes.get(r).copied().unwrap_or(0) as f64;
        // A route whose traffic is not known says nothing.
        seen.get(r).is_some_and(|all| n >= LARGE_SHARE * (all - n).max(0.0))
    });
    to - from >= LARGE_US && strong
}

/// Requests from which on an attack is more than a handful of newcomers, however quiet its route.
const NOTICEABLE: u64 = 30;

fn recall_of_large(
    real: &[&CampaignTruth],
    traffic: &Traffic,
    least: u64,
    caught: &dyn Fn(&CampaignTruth) -> bool,
) -> Rate {
    let large: Vec<_> = real.iter().filter(|c| c.requests >= least && is_large(c, traffic)).collect();
    let hits = large.iter().filter(|c| caught(c)).count();
    Rate::of(hits, large.len(), "no attack brought a fifth of a route for three minutes")
}

/// Returns the score; `seen_us` is the time up to which Fishweir has looked.
pub(crate) fn score(
    found: &[Found],
    campaigns: &[CampaignTruth],
    happenings: &[HappeningTruth],
    traffic: &Traffic,
    seen_us: i64,
) -> Score {
    let attacks: Vec<&Found> = found.iter().filter(|f| f.kind == "attack").collect();
    let real: Vec<&CampaignTruth> = campaigns
        .iter()
        .filter(|c| is_dos(c.kind) && c.requests > 0 && c.start_us.is_some_and(|s| s < seen_us))
        .collect();
    let is_true = |f: &Found| campaigns.iter().any(|c| meets(f, c));
    let is_mostly = |f: &Found| campaigns.iter().any(|c| meets(f, c) && explains(f, c, MOST));
    let right = attacks.iter().filter(|f| is_true(f)).count();
    let caught = |c: &CampaignTruth| attacks.iter().any(|f| meets(f, c));
    let noticed = |c: &CampaignTruth| found.iter().any(|f| meets(f, c));
    let hits = real.iter().filter(|c| caught(c)).count();
    let precision = Rate::of(right, attacks.len(), "nothing was labelled an attack");
    let recall = Rate::of(hits, real.len(), "no attack of the DoS family took place");
    let surges = Rate::of(real.iter().filter(|c| noticed(c)).count(), real.len(), "no attack took place");
    let mut score = Score::new(precision, recall)
        .with("recall_of_surges_whatever_the_label", surges)
        .with("recall_of_large", recall_of_large(&real, traffic, 0, &caught))
        .with("recall_of_large_with_30_requests", recall_of_large(&real, traffic, NOTICEABLE, &caught))
        .with("large_attacks", large_attacks(&attacks, &real, traffic))
        .with("p_attack_calibration_error", calibration(&tenths(found, &is_mostly)))
        .with("p_attack_by_tenth", tenths(found, &is_mostly))
        .with("recall_by_kind", grouped(&real, &|c| format!("{:?}", c.kind), &caught))
        .with("recall_by_tier", grouped(&real, &|c| format!("tier {}", c.tier), &caught))
        .with("recall_by_rate", grouped(&real, &|c| rate_class(c).to_owned(), &caught))
        .with("false_attacks_by_happening", false_by_happening(&attacks, campaigns, happenings))
        .with(
            "missed",
            (!real.is_empty())
                .then(|| real.iter().filter(|c| !caught(c)).map(|c| c.name.as_str()).collect::<Vec<_>>()),
        );
    score = score.with("patterns", patterns::rates(&attacks, &real, campaigns));
    for (name, value) in errors(&attacks, &real) {
        score = score.with(name, value);
    }
    score
}

/// Surges whose probability lies in one tenth: how many, the sum of what was said, how many were attacks.
type Tenth = (usize, f64, usize);

fn tenths(found: &[Found], is_true: &dyn Fn(&Found) -> bool) -> [Tenth; 10] {
    let mut bins = [(0, 0.0, 0); 10];
    for f in found {
        let Some(p) = f.p_attack else { continue };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a tenth")]
        let bin = &mut bins[((p * 10.0) as usize).min(9)];
        *bin = (bin.0 + 1, bin.1 + p, bin.2 + usize::from(is_true(f)));
    }
    bins
}

// Mean distance between the probability that was said and the share that was true.
#[expect(clippy::cast_precision_loss, reason = "counts of incidents")]
fn calibration(bins: &[Tenth]) -> Option<f64> {
    let n: usize = bins.iter().map(|b| b.0).sum();
    (n > 0).then(|| bins.iter().map(|b| (b.1 - b.2 as f64).abs()).sum::<f64>() / n as f64)
}

fn grouped(
    real: &[&CampaignTruth],
    by: &dyn Fn(&CampaignTruth) -> String,
    caught: &dyn Fn(&CampaignTruth) -> bool,
) -> BTreeMap<String, Rate> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for c in real {
        let slot = counts.entry(by(c)).or_default();
        slot.0 += usize::from(caught(c));
        slot.1 += 1;
    }
    counts.into_iter().map(|(k, (h, n))| (k, Rate::of(h, n, ""))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "request counts")]
fn rate_class(c: &CampaignTruth) -> &'static str {
    let (Some(from), Some(to)) = (c.start_us, c.end_us) else { return "unknown" };
    let per_min = c.requests as f64 / ((to - from) as f64 / 60e6).max(1.0);
    match per_min {
        ..30.0 => "below 30 a minute",
        ..300.0 => "30 to 300 a minute",
        _ => "300 a minute and more",
    }
}

// Attacks that were none: by the benign happening they fall into, or `elsewhere`.
fn false_by_happening(
    attacks: &[&Found],
    campaigns: &[CampaignTruth],
    happenings: &[HappeningTruth],
) -> BTreeMap<String, Value> {
    let mut out: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for h in happenings {
        out.entry(name(h)).or_default().1 += 1;
    }
    out.entry("elsewhere".to_owned()).or_default();
    for f in attacks.iter().filter(|f| !campaigns.iter().any(|c| meets(f, c))) {
        let cause = happenings.iter().find(|h| f.overlaps(h.start_us, h.end_us));
        out.entry(cause.map_or("elsewhere".to_owned(), name)).or_default().0 += 1;
    }
    out.into_iter().map(|(k, (wrong, of))| (k, json!({"false_attacks": wrong, "happenings": of}))).collect()
}

fn name(h: &HappeningTruth) -> String {
    serde_json::to_value(h.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How far off what is said of an attack that was found is.
struct Errors {
    start_s: Option<f64>,
    end_s: Option<f64>,
    delay_s: Option<f64>,
    volume: Option<f64>,
    f1: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "microseconds and request counts")]
fn errors_of(attacks: &[&Found], real: &[&CampaignTruth], c: &CampaignTruth) -> Option<Errors> {
    let mine: Vec<&&Found> = attacks.iter().filter(|f| meets(f, c)).collect();
    let (from, to) = (c.start_us?, c.end_us?);
    let first = mine.iter().map(|f| f.start_us).min()?;
    let last = mine.iter().map(|f| f.end_us).max()?;
    // An incident that spans two attacks says nothing about the volume of one.
    let alone = mine.iter().all(|f| real.iter().filter(|o| meets(f, o)).count() == 1);
    let excess: f64 = mine.iter().filter_map(|f| f.excess).sum();
    let rules = mine.iter().filter_map(|f| f.driver.as_deref().and_then(|d| driver_f1(d, c)));
    Some(Errors {
        start_s: Some((first - from).abs() as f64 / 1e6),
        end_s: Some((last - to).abs() as f64 / 1e6),
        delay_s: mine.iter().map(|f| f.detected_us).min().map(|d| (d - from) as f64 / 1e6),
        volume: (alone && c.requests > 0).then(|| (excess / c.requests as f64 - 1.0).abs()),
        f1: rules.reduce(f64::max),
    })
}

fn errors(attacks: &[&Found], real: &[&CampaignTruth]) -> Vec<(&'static str, Option<f64>)> {
    let all: Vec<Errors> = real.iter().filter_map(|c| errors_of(attacks, real, c)).collect();
    let of = |f: fn(&Errors) -> Option<f64>| median(all.iter().filter_map(f).collect());
    vec![
        ("start_error_s_median", of(|e| e.start_s)),
        ("end_error_s_median", of(|e| e.end_s)),
        ("detection_delay_s_median", of(|e| e.delay_s)),
        ("excess_volume_error_median", of(|e| e.volume)),
        ("driver_conjunction_f1_median", of(|e| e.f1)),
    ]
}

// Every large attack, whether it was found, and how far off what is said of it is.
fn large_attacks(attacks: &[&Found], real: &[&CampaignTruth], traffic: &Traffic) -> Vec<Value> {
    let one = |c: &&CampaignTruth| {
        let errors = errors_of(attacks, real, c);
        json!({
            "attack": c.name, "requests": c.requests, "found": errors.is_some(),
            "detection_delay_s": errors.as_ref().and_then(|e| e.delay_s),
            "start_error_s": errors.as_ref().and_then(|e| e.start_s),
            "end_error_s": errors.as_ref().and_then(|e| e.end_s),
            "excess_volume_error": errors.as_ref().and_then(|e| e.volume),
            "driver_conjunction_f1": errors.as_ref().and_then(|e| e.f1),
        })
    };
    real.iter().filter(|c| is_large(c, traffic)).map(one).collect()
}

/// F1 of a driver rule's predicates against the marks that make out the attack: a predicate is right
/// when its value is one of the attack's own; a main mark is found when a predicate names it.
/// Nothing for an attack without a main mark.
fn driver_f1(rule: &str, c: &CampaignTruth) -> Option<f64> {
    let numbers: BTreeMap<String, u64> = c.asns.iter().map(|(a, n)| (a.to_string(), *n)).collect();
    let dimensions = [("route", &c.routes), ("ja4", &c.ja4), ("asn", &numbers)];
    let mut main: BTreeSet<(&str, String)> = BTreeSet::new();
    for (dimension, counts) in dimensions {
        main.extend(own(counts, MAIN_SHARE).into_iter().map(|v| (dimension, v.clone())));
    }
    let predicates: Vec<(&str, &str)> = rule.split(" AND ").filter_map(|p| p.split_once(" = ")).collect();
    let known: Vec<&(&str, &str)> =
        predicates.iter().filter(|(d, _)| dimensions.iter().any(|(n, _)| n == d)).collect();
    if main.is_empty() || known.is_empty() {
        return None;
    }
    let right = known
        .iter()
        .filter(|(d, v)| {
            dimensions.iter().any(|(n, counts)| n == d && own(counts, OWN_SHARE).iter().any(|o| o == v))
        })
        .count();
    let named = main.iter().filter(|(d, v)| known.iter().any(|(n, w)| n == d && w == v)).count();
    #[expect(clippy::cast_precision_loss, reason = "a handful of predicates")]
    let (p, r) = (right as f64 / known.len() as f64, named as f64 / main.len() as f64);
    Some(if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn campaign(name: &str, kind: AttackKind, from: i64, to: i64) -> CampaignTruth {
        CampaignTruth {
            name: name.to_owned(),
            kind,
            tier: 1,
            actor: name.to_owned(),
            start_us: Some(from * 60_000_000),
            end_us: Some(to * 60_000_000),
            routes: [("/home".to_owned(), 900), ("/title/{id}".to_owned(), 50)].into(),
            requests: 1_000,
            stopped: 0,
            ja4: [("tool".to_owned(), 1_000)].into(),
            asns: [(64_512, 300), (64_513, 300), (64_514, 400)].into(),
            accounts: 0,
            addresses: Some(3),
            disguises: BTreeMap::new(),
            pace: BTreeMap::new(),
        }
    }

    pub(crate) fn found(kind: &str, from: i64, to: i64, route: &str) -> Found {
        Found {
            kind: kind.to_owned(),
            start_us: from * 60_000_000,
            end_us: to * 60_000_000,
            detected_us: (from + 1) * 60_000_000,
            routes: vec![route.to_owned()],
            excess: Some(900.0),
            p_attack: Some(if kind == "attack" { 0.95 } else { 0.05 }),
            driver: Some("route = /home AND ja4 = tool".to_owned()),
            patterns: None,
        }
    }

    #[test]
    fn a_burst_of_a_long_attack_is_found_where_it_came() {
        let day = 1_440;
        let even = campaign("d", AttackKind::C8, 0, 4 * day);
        let bursts = CampaignTruth {
            pace: [(day * 60_000_000, 900), (3 * day * 60_000_000, 100)].into(),
            ..even.clone()
        };
        let seen = found("attack", day, day + 10, "/home");
        assert!(!meets(&seen, &even) && meets(&seen, &bursts));
        assert!(!meets(&found("attack", 2 * day, 2 * day + 10, "/home"), &bursts));
        let on = |d: i64, c: &CampaignTruth, found: &[Found]| {
            attack_requests(c, found, d * day * 60_000_000, (d + 1) * day * 60_000_000)
        };
        assert_eq!(on(1, &bursts, std::slice::from_ref(&seen)), 900.0);
        assert_eq!(on(3, &bursts, &[seen]), 0.0, "nobody said that those were an attack");
        let flood = CampaignTruth { kind: AttackKind::A1, ..bursts };
        assert_eq!((on(1, &flood, &[]), on(3, &flood, &[])), (900.0, 100.0));
        let over_midnight = found("attack", 3 * day - 1, 3 * day + 5, "/home");
        assert_eq!(on(2, &flood, &[over_midnight]), 100.0, "an incident counts when it began");
    }

    #[test]
    fn other_attacks_count_as_far_as_they_were_labelled() {
        let seen = [found("attack", 100, 110, "/home"), found("crowd", 110, 120, "/home")];
        let all = |c: &CampaignTruth| attack_requests(c, &seen, 0, i64::MAX);
        assert_eq!(all(&campaign("a", AttackKind::A1, 500, 520)), 1_000.0);
        assert_eq!(all(&campaign("b", AttackKind::B1, 100, 120)), 500.0);
        assert_eq!(all(&campaign("c", AttackKind::B1, 500, 520)), 0.0);
    }

    #[test]
    fn matches_by_time_and_route() {
        let truth = [campaign("a", AttackKind::A1, 100, 120), campaign("b", AttackKind::A1, 500, 520)];
        let seen = [
            found("attack", 101, 121, "/home"),
            found("attack", 502, 510, "/search"),
            found("crowd", 500, 519, "/home"),
        ];
        let s = score(&seen, &truth, &[], &Traffic::new(), i64::MAX);
        assert_eq!((s.found, s.found_true, s.truth, s.truth_found), (2, 1, 2, 1));
        assert_eq!(s.precision, Some(0.5));
        assert!(s.precision_low.unwrap() < 0.5 && s.precision_high.unwrap() > 0.5);
        assert_eq!(s.detail["recall_of_surges_whatever_the_label"]["value"], 1.0);
        assert_eq!(s.detail["start_error_s_median"], 60.0);
        assert_eq!(s.detail["detection_delay_s_median"], 120.0);
        assert_eq!(s.detail["driver_conjunction_f1_median"], 1.0);
        let error = s.detail["excess_volume_error_median"].as_f64().unwrap();
        assert!((error - 0.1).abs() < 1e-9);
        // Two said 0.95 of which one was, one said 0.05 that was.
        let off = s.detail["p_attack_calibration_error"].as_f64().unwrap();
        assert!((off - 1.85 / 3.0).abs() < 1e-9, "{off}");
    }

    #[test]
    fn an_attack_is_large_by_its_share_of_a_route_and_its_length() {
        let truth = [campaign("a", AttackKind::A1, 100, 120), campaign("b", AttackKind::A1, 500, 502)];
        let busy = |n: f64| BTreeMap::from([("/home".to_owned(), n)]);
        let traffic = Traffic::from([("a".to_owned(), busy(5_000.0)), ("b".to_owned(), busy(900.0))]);
        let s = score(&[found("attack", 101, 121, "/home")], &truth, &[], &traffic, i64::MAX);
        assert_eq!(s.detail["recall_of_large"]["of"], 1, "the second is too short");
        assert_eq!(s.detail["recall_of_large"]["hits"], 1);
        let each = s.detail["large_attacks"].as_array().unwrap();
        assert_eq!(each.len(), 1);
        assert_eq!((&each[0]["attack"], &each[0]["found"]), (&json!("a"), &json!(true)));
        assert_eq!(each[0]["end_error_s"], 60.0);
        let drowned = Traffic::from([("a".to_owned(), busy(9_000.0))]);
        let s = score(&[], &truth, &[], &drowned, i64::MAX);
        assert!(s.detail["recall_of_large"]["value"].is_null());
    }

    #[test]
    fn a_trickle_does_not_make_a_benign_wave_an_attack() {
        let mut trickle = campaign("a", AttackKind::A1, 100, 120);
        trickle.requests = 20;
        let s = score(&[found("attack", 101, 119, "/home")], &[trickle], &[], &Traffic::new(), i64::MAX);
        assert_eq!((s.found_true, s.truth_found), (0, 0));
    }

    #[test]
    fn nothing_to_score_is_unknown() {
        let s = score(&[], &[], &[], &Traffic::new(), i64::MAX);
        assert_eq!((s.precision, s.recall), (None, None));
        assert!(s.detail["missed"].is_null(), "nothing missed of nothing is no good news");
        assert!(s.reason.is_some());
    }

    #[test]
    fn false_attacks_are_laid_at_the_door_of_what_looked_like_one() {
        let launch = HappeningTruth {
            kind: fishweir_sim::HappeningKind::Launch,
            start_us: 0,
            end_us: 60 * 60_000_000,
            routes: BTreeMap::new(),
            requests: Some(1),
        };
        let s = score(
            &[found("attack", 10, 20, "/home"), found("attack", 900, 910, "/home")],
            &[],
            &[launch],
            &Traffic::new(),
            i64::MAX,
        );
        assert_eq!(s.detail["false_attacks_by_happening"]["launch"]["false_attacks"], 1);
        assert_eq!(s.detail["false_attacks_by_happening"]["elsewhere"]["false_attacks"], 1);
        assert_eq!(s.precision, Some(0.0));
    }
}
