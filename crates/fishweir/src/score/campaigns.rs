//! Login campaigns against the truth: found, kept whole, kept apart.

use std::collections::BTreeMap;

use fishweir_sim::CampaignTruth;
use serde_json::json;

use super::{Rate, Score};

/// Attempts below which a campaign is no more than somebody trying twice.
const LEAST: f64 = 10.0;

/// Attempts of one true campaign (or of an ordinary habit) in one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// True campaign; `None` for members.
    pub(crate) campaign: Option<String>,
    /// What the attempts truly were.
    pub(crate) stage: String,
    pub(crate) cluster: Option<String>,
    pub(crate) attempts: f64,
}

fn entropy(parts: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = parts.filter(|p| *p > 0.0).collect();
    let total: f64 = all.iter().sum();
    all.iter().map(|p| -(p / total) * (p / total).ln()).sum()
}

fn sums<'a>(cells: &[&'a Cell], key: impl Fn(&'a Cell) -> &'a str) -> BTreeMap<&'a str, f64> {
    let mut out = BTreeMap::new();
    cells.iter().for_each(|c| *out.entry(key(c)).or_default() += c.attempts);
    out
}

/// Returns the V-measure of clusters against true campaigns over attempts that belong to both; an
/// attempt in no cluster counts as a cluster of what was missed.
///
/// # Source
/// A. Rosenberg, J. Hirschberg, "V-Measure", EMNLP 2007.
pub(crate) fn v_measure(cells: &[&Cell]) -> Option<f64> {
    let truth = |c: &'_ Cell| c.campaign.as_deref().unwrap_or("").to_owned();
    let total: f64 = cells.iter().map(|c| c.attempts).sum();
    if total <= 0.0 {
        return None;
    }
    let by_truth = sums(cells, |c| c.campaign.as_deref().unwrap_or(""));
    let by_cluster = sums(cells, |c| c.cluster.as_deref().unwrap_or(""));
    let (h_truth, h_cluster) = (entropy(by_truth.values().copied()), entropy(by_cluster.values().copied()));
    let given = |groups: &BTreeMap<&str, f64>, inside: &dyn Fn(&Cell, &str) -> bool, by_truth: bool| -> f64 {
        groups
            .iter()
            .map(|(g, n)| {
                let of: Vec<&Cell> = cells.iter().copied().filter(|c| inside(c, g)).collect();
                let mut parts: BTreeMap<String, f64> = BTreeMap::new();
                for c in of {
                    let key = if by_truth { truth(c) } else { c.cluster.clone().unwrap_or_default() };
                    *parts.entry(key).or_default() += c.attempts;
                }
                n / total * entropy(parts.into_values())
            })
            .sum()
    };
    let in_cluster = |c: &Cell, g: &str| c.cluster.as_deref().unwrap_or("") == g;
    let in_truth = |c: &Cell, g: &str| c.campaign.as_deref().unwrap_or("") == g;
    let pure = if h_truth > 0.0 { 1.0 - given(&by_cluster, &in_cluster, true) / h_truth } else { 1.0 };
    let whole = if h_cluster > 0.0 { 1.0 - given(&by_truth, &in_truth, false) / h_cluster } else { 1.0 };
    Some(if pure + whole > 0.0 { 2.0 * pure * whole / (pure + whole) } else { 0.0 })
}

fn guesses(t: &CampaignTruth) -> bool {
    matches!(format!("{:?}", t.kind).as_str(), "B1" | "B2" | "B3" | "A3") || t.name.ends_with("/theft")
}

/// Returns precision over clusters and recall over true campaigns of guessed names and passwords.
pub(crate) fn score(cells: &[Cell], truth: &[CampaignTruth]) -> Score {
    let known: BTreeMap<&str, &CampaignTruth> =
        truth.iter().filter(|t| guesses(t)).map(|t| (t.name.as_str(), t)).collect();
    let mine = |c: &Cell| c.campaign.as_deref().is_some_and(|n| known.contains_key(n));
    let mut by_truth: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    let mut by_cluster: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for c in cells {
        if let Some(n) = c.campaign.as_deref().filter(|_| mine(c)) {
            *by_truth.entry(n).or_default().entry(c.cluster.as_deref().unwrap_or("")).or_default() +=
                c.attempts;
        }
        if let Some(k) = c.cluster.as_deref() {
            let of = by_cluster.entry(k).or_default();
            *of = (of.0 + if c.campaign.is_some() { c.attempts } else { 0.0 }, of.1 + c.attempts);
        }
    }
    by_truth.retain(|_, parts| parts.values().sum::<f64>() >= LEAST);
    let found = |parts: &BTreeMap<&str, f64>| {
        let all: f64 = parts.values().sum();
        parts.iter().any(|(k, n)| !k.is_empty() && *n >= 0.5 * all)
    };
    let mut tiers: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (name, parts) in &by_truth {
        let tier = known.get(name).map_or(0, |t| t.tier);
        let of = tiers.entry(format!("tier_{tier}")).or_default();
        *of = (of.0 + usize::from(found(parts)), of.1 + 1);
    }
    let right = by_cluster.values().filter(|(bad, all)| *bad >= 0.5 * all).count();
    let precision = Rate::of(right, by_cluster.len(), "no campaign was found");
    let hits = by_truth.values().filter(|p| found(p)).count();
    let recall = Rate::of(hits, by_truth.len(), "there was no campaign");
    let inside: Vec<&Cell> =
        cells.iter().filter(|c| c.campaign.as_deref().is_some_and(|n| by_truth.contains_key(n))).collect();
    let missed: Vec<&&str> = by_truth.iter().filter(|(_, p)| !found(p)).map(|(n, _)| n).collect();
    let named: BTreeMap<&str, BTreeMap<&str, f64>> = by_truth
        .iter()
        .map(|(n, parts)| {
            (*n, parts.iter().map(|(k, v)| (if k.is_empty() { "(none)" } else { *k }, *v)).collect())
        })
        .collect();
    let mut ordinary: BTreeMap<&str, f64> = BTreeMap::new();
    for c in cells.iter().filter(|c| c.campaign.is_none() && c.cluster.is_some()) {
        *ordinary.entry(if c.stage.is_empty() { "member" } else { &c.stage }).or_default() += c.attempts;
    }
    Score::new(precision, recall)
        .with("v_measure", v_measure(&inside))
        .with(
            "by_tier",
            tiers.into_iter().map(|(t, (h, n))| (t, Rate::of(h, n, ""))).collect::<BTreeMap<_, _>>(),
        )
        .with("missed", json!(missed))
        .with("attempts_by_campaign_and_cluster", json!(named))
        .with("ordinary_attempts_in_campaigns", ordinary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(campaign: Option<&str>, cluster: Option<&str>, attempts: f64) -> Cell {
        Cell {
            campaign: campaign.map(str::to_owned),
            stage: String::new(),
            cluster: cluster.map(str::to_owned),
            attempts,
        }
    }

    #[test]
    fn the_v_measure_is_one_for_the_truth_and_falls_when_split_or_mixed() {
        let whole = [cell(Some("a"), Some("1"), 50.0), cell(Some("b"), Some("2"), 50.0)];
        let split = [
            cell(Some("a"), Some("1"), 25.0),
            cell(Some("a"), Some("3"), 25.0),
            cell(Some("b"), Some("2"), 50.0),
        ];
        let mixed = [cell(Some("a"), Some("1"), 50.0), cell(Some("b"), Some("1"), 50.0)];
        let v = |c: &[Cell]| v_measure(&c.iter().collect::<Vec<_>>()).unwrap();
        assert!((v(&whole) - 1.0).abs() < 1e-12);
        assert!(v(&split) < 0.9 && v(&split) > 0.5, "{}", v(&split));
        assert!(v(&mixed) < 0.01);
        assert!(v_measure(&[]).is_none());
    }
}
