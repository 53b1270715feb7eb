//! Takeovers against the truth: found or not, ranked how well, how honest the probabilities are.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::{Rate, Score, median};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// A found takeover may begin this much beside the true one: episodes are days.
const BESIDE_US: i64 = DAY_US;
/// Share of sign-ins that may be challenged.
const CHALLENGED: f64 = 0.0077;

/// An account that was truly taken.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AccountTruth {
    pub(crate) account: String,
    pub(crate) vector: String,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// A member whose sign-in looks odd.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TwinTruth {
    pub(crate) account: String,
    pub(crate) twin: String,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// A takeover as labelled.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) account: String,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) p: f64,
    pub(crate) drivers: BTreeMap<String, f64>,
    pub(crate) detected_us: Option<i64>,
}

/// An episode as labelled.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) account: String,
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    pub(crate) p: f64,
    pub(crate) p_at_once: f64,
    pub(crate) sign_ins: f64,
    pub(crate) votes: Vec<String>,
    /// Whether a thief's request is in it; `None` when the raw requests are gone.
    pub(crate) stolen: Option<bool>,
}

/// Labelled takeovers of a stretch of time.
#[derive(Clone, Debug)]
pub(crate) struct Week {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Everything that is compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labelled {
    pub(crate) found: Vec<Found>,
    pub(crate) episodes: Vec<Episode>,
    pub(crate) weeks: Vec<Week>,
    /// Vote of each labelling function: whether it speaks for a takeover.
    pub(crate) functions: BTreeMap<String, bool>,
    pub(crate) sign_ins: f64,
    pub(crate) accounts: f64,
}

fn meets(account: &str, from_us: i64, to_us: i64, t: &AccountTruth) -> bool {
    t.account == account && from_us <= t.to_us + BESIDE_US && to_us >= t.from_us - BESIDE_US
}

// Whether an episode is the thief's: a thief's request is in it or, where the requests are gone, it
// overlaps what the thief did.
fn true_episode(e: &Episode, truth: &BTreeMap<&str, Vec<&AccountTruth>>) -> bool {
    if let Some(stolen) = e.stolen {
        return stolen;
    }
    truth.get(e.account.as_str()).is_some_and(|all| {
        all.iter().any(|t| e.first_us <= t.to_us + HOUR_US && e.last_us >= t.from_us - 60_000_000)
    })
}

/// Returns the area under the ROC curve and the average precision of scores; `None` without both classes.
pub(crate) fn ranked(mut scored: Vec<(f64, bool)>) -> Option<(f64, f64)> {
    let bad = scored.iter().filter(|s| s.1).count() as f64;
    let good = scored.len() as f64 - bad;
    if bad == 0.0 || good == 0.0 {
        return None;
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut area, mut precision, mut seen_bad, mut seen_good) = (0.0, 0.0, 0.0, 0.0);
    let mut i = 0;
    while i < scored.len() {
        // Equal scores count together: neither is ranked before the other.
        let end = scored[i..].iter().take_while(|s| s.0 == scored[i].0).count() + i;
        let b = scored[i..end].iter().filter(|s| s.1).count() as f64;
        let g = (end - i) as f64 - b;
        area += g * (seen_bad + b / 2.0);
        seen_bad += b;
        seen_good += g;
        precision += b / bad * seen_bad / (seen_bad + seen_good);
        i = end;
    }
    Some((area / (bad * good), precision))
}

// Mean gap between what was said and what was true, over bins of what was said.
fn calibration(scored: &[(f64, bool)]) -> Option<f64> {
    let mut bins: BTreeMap<usize, (f64, f64, f64)> = BTreeMap::new();
    for (p, t) in scored {
        let bin = bins.entry((p * 10.0).min(9.0) as usize).or_default();
        *bin = (bin.0 + 1.0, bin.1 + p, bin.2 + f64::from(u8::from(*t)));
    }
    let n: f64 = bins.values().map(|b| b.0).sum();
    (n > 0.0).then(|| bins.values().map(|(_, p, t)| (p - t).abs()).sum::<f64>() / n)
}

/// Returns precision and recall of takeovers called with at least one half, and what else is asked of them.
pub(crate) fn score(labelled: &Labelled, truth: &[AccountTruth], twins: &[TwinTruth], seen_us: i64) -> Score {
    let truth: Vec<AccountTruth> = truth.iter().filter(|t| t.from_us < seen_us).cloned().collect();
    let called: Vec<&Found> = labelled.found.iter().filter(|f| f.p >= 0.5).collect();
    let right = |f: &&&Found| truth.iter().any(|t| meets(&f.account, f.start_us, f.end_us, t));
    let is_found = |t: &&AccountTruth| called.iter().any(|f| meets(&f.account, f.start_us, f.end_us, t));
    let precision = Rate::of(called.iter().filter(right).count(), called.len(), "no takeover was labelled");
    let recall = Rate::of(truth.iter().filter(is_found).count(), truth.len(), "no account was taken");
    let mut by_account: BTreeMap<&str, Vec<&AccountTruth>> = BTreeMap::new();
    truth.iter().for_each(|t| by_account.entry(&t.account).or_default().push(t));
    let marked: Vec<(&Episode, bool)> =
        labelled.episodes.iter().map(|e| (e, true_episode(e, &by_account))).collect();
    let delays: Vec<f64> = truth
        .iter()
        .filter_map(|t| {
            let f = called.iter().find(|f| meets(&f.account, f.start_us, f.end_us, t))?;
            Some((f.detected_us? - t.from_us) as f64 / HOUR_US as f64)
        })
        .collect();
    let mut s = Score::new(precision, recall)
        .with("takeovers_per_10000_accounts", truth.len() as f64 / labelled.accounts.max(1.0) * 1e4)
        .with("median_delay_hours", median(delays))
        .with("caught_by_vector", by_vector(&truth, &is_found));
    s = ranking(s, labelled, &marked);
    s = s.with("interval_holds_truth_in_weeks", weeks(labelled, &truth, seen_us));
    s = s.with("drivers_estimated_and_true", drivers(labelled, &truth));
    s.with("twins_called_taken", false_twins(&called, &truth, twins))
}

fn ranking(mut s: Score, labelled: &Labelled, marked: &[(&Episode, bool)]) -> Score {
    let scored = |f: &dyn Fn(&Episode) -> f64| marked.iter().map(|(e, t)| (f(e), *t)).collect::<Vec<_>>();
    let all = scored(&|e| e.p);
    let speaks = |name: &String| labelled.functions.get(name).copied().unwrap_or(true);
    let majority = scored(&|e| e.votes.iter().map(|v| if speaks(v) { 1.0 } else { -1.0 }).sum());
    let single = |name: &str, bad: bool| {
        let sign = if bad { 1.0 } else { -1.0 };
        ranked(scored(&|e| if e.votes.iter().any(|v| v == name) { sign } else { 0.0 }))
    };
    let best = labelled
        .functions
        .iter()
        .filter_map(|(name, bad)| Some((name, single(name, *bad)?)))
        .max_by(|a, b| a.1.1.total_cmp(&b.1.1));
    s = s
        .with("episodes", marked.len())
        .with("true_episodes", marked.iter().filter(|m| m.1).count())
        .with("roc_auc", ranked(all.clone()).map(|r| r.0))
        .with("pr_auc", ranked(all.clone()).map(|r| r.1))
        .with("pr_auc_at_once", ranked(scored(&|e| e.p_at_once)).map(|r| r.1))
        .with("pr_auc_majority_vote", ranked(majority).map(|r| r.1))
        .with("calibration_error", calibration(&all))
        .with(
            "calibration_error_above_2_percent",
            calibration(&all.iter().copied().filter(|e| e.0 >= 0.02).collect::<Vec<_>>()),
        );
    if let Some((name, (_, pr))) = best {
        s = s.with("pr_auc_best_function", json!({"function": name, "pr_auc": pr}));
    }
    s.with("caught_at_0.77_percent_of_sign_ins", challenged(labelled, marked))
}

// Takeovers with a sign-in that the worst sign-ins hold.
fn challenged(labelled: &Labelled, marked: &[(&Episode, bool)]) -> Rate {
    let mut with: Vec<&(&Episode, bool)> = marked.iter().filter(|m| m.0.sign_ins > 0.0).collect();
    with.sort_by(|a, b| b.0.p_at_once.total_cmp(&a.0.p_at_once));
    let budget = CHALLENGED * labelled.sign_ins;
    let (mut spent, mut caught) = (0.0, 0);
    for (e, t) in with.iter().map(|m| (m.0, m.1)) {
        spent += e.sign_ins;
        if spent > budget {
            break;
        }
        caught += usize::from(t);
    }
    Rate::of(caught, with.iter().filter(|m| m.1).count(), "no takeover signed in")
}

fn by_vector(truth: &[AccountTruth], found: &dyn Fn(&&AccountTruth) -> bool) -> BTreeMap<String, Rate> {
    let mut all: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for t in truth {
        let of = all.entry(&t.vector).or_default();
        *of = (of.0 + usize::from(found(&t)), of.1 + 1);
    }
    all.into_iter().map(|(v, (hits, of))| (v.to_owned(), Rate::of(hits, of, ""))).collect()
}

fn weeks(labelled: &Labelled, truth: &[AccountTruth], seen_us: i64) -> serde_json::Value {
    let whole: Vec<&Week> = labelled.weeks.iter().filter(|w| w.to_us <= seen_us).collect();
    let of = |w: &Week| truth.iter().filter(|t| (w.from_us..w.to_us).contains(&t.from_us)).count() as f64;
    let held = whole.iter().filter(|w| (w.low - 0.5..=w.high + 0.5).contains(&of(w))).count();
    let rows: Vec<serde_json::Value> = whole
        .iter()
        .map(|w| json!(format!("{:.1} [{:.1}, {:.1}] true {}", w.value, w.low, w.high, of(w))))
        .collect();
    // Over all weeks together an estimate may be wrong by chance, not by who complains.
    let estimated: f64 = whole.iter().map(|w| w.value).sum();
    let true_ones: f64 = whole.iter().map(|w| of(w)).sum();
    json!({
        "rate": Rate::of(held, whole.len(), "no whole week"),
        "weeks": rows,
        "estimated_takeovers": estimated,
        "true_takeovers": true_ones,
    })
}

// The names that the simulator gives to what we call by its weakness.
fn weakness(vector: &str) -> &'static str {
    match vector {
        "stuffing" => "leaked_credentials",
        "spraying" | "cracking" => "weak_password",
        "phishing" => "phishing",
        "stealer" => "malware_feed",
        "stolen_session" => "stolen_session",
        "support" => "recovery_abuse",
        "reactivation" => "reactivation",
        _ => "unknown",
    }
}

// Shares of causes from the first known week on: before it neither a rate nor a cause is published.
fn drivers(labelled: &Labelled, truth: &[AccountTruth]) -> serde_json::Value {
    let from_us = labelled.weeks.iter().map(|w| w.from_us).min().unwrap_or(i64::MIN);
    let found: Vec<&Found> = labelled.found.iter().filter(|f| f.start_us >= from_us).collect();
    let truth: Vec<&AccountTruth> = truth.iter().filter(|t| t.from_us >= from_us).collect();
    let mut both: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let total: f64 = found.iter().map(|f| f.p).sum();
    for f in &found {
        for (d, share) in &f.drivers {
            both.entry(d.clone()).or_default().0 += share * f.p / total.max(1e-9);
        }
    }
    for t in &truth {
        both.entry(weakness(&t.vector).to_owned()).or_default().1 += 1.0 / truth.len() as f64;
    }
    let worst = both.values().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let rows: BTreeMap<String, serde_json::Value> =
        both.into_iter().map(|(d, (a, b))| (d, json!({"estimated": a, "true": b}))).collect();
    json!({"largest_error": worst, "estimated_takeovers": total, "true_takeovers": truth.len(), "shares": rows})
}

fn false_twins(called: &[&Found], truth: &[AccountTruth], twins: &[TwinTruth]) -> BTreeMap<String, Rate> {
    let mut all: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for t in twins {
        let of = all.entry(t.twin.clone()).or_default();
        of.1 += 1;
        let wrong = called.iter().any(|f| {
            f.account == t.account
                && f.start_us <= t.to_us + BESIDE_US
                && f.end_us >= t.from_us - BESIDE_US
                && !truth.iter().any(|x| meets(&f.account, f.start_us, f.end_us, x))
        });
        of.0 += usize::from(wrong);
    }
    all.into_iter().map(|(t, (hits, of))| (t, Rate::of(hits, of, ""))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_rank_neither_first() {
        let (auc, ap) = ranked(vec![(0.5, true), (0.5, false)]).unwrap();
        assert!((auc - 0.5).abs() < 1e-12 && (ap - 0.5).abs() < 1e-12);
        let (auc, ap) = ranked(vec![(0.9, true), (0.1, false), (0.2, false)]).unwrap();
        assert!((auc - 1.0).abs() < 1e-12 && (ap - 1.0).abs() < 1e-12);
        assert!(ranked(vec![(0.9, true)]).is_none());
    }

    #[test]
    fn a_member_called_taken_is_a_false_twin_and_no_truth_is_no_recall() {
        let found = Found {
            account: "a".to_owned(),
            start_us: 0,
            end_us: HOUR_US,
            p: 0.9,
            drivers: BTreeMap::new(),
            detected_us: None,
        };
        let twin = TwinTruth { account: "a".to_owned(), twin: "traveller".to_owned(), from_us: 0, to_us: 0 };
        let labelled = Labelled { found: vec![found], ..Labelled::default() };
        let s = score(&labelled, &[], &[twin], DAY_US);
        assert_eq!((s.precision, s.recall), (Some(0.0), None));
        assert_eq!(s.detail["twins_called_taken"]["traveller"]["hits"], 1);
    }
}
