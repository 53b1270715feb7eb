//! Which conjunction of attributes explains an excess of requests.
//!
//! Rules are grown by Apriori up to three predicates over the excess (observed minus scaled
//! baseline), scored by the harmonic mean of coverage and of purity times specificity (the share of
//! normal traffic that the rule spares), closed by predicates that cost almost no excess, then
//! subtracted; at most three rules. Without specificity a strong flood makes every wide rule pure.

use std::collections::HashMap;

/// Requests of one combination of attribute values.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Value of each dimension, as an index of the caller; `None` where unknown.
    pub values: Vec<Option<u32>>,
    /// Requests during the surge.
    pub during: f64,
    /// Requests during the baseline.
    pub before: f64,
}

/// A conjunction that explains part of the excess.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverRule {
    /// Dimension and value, ordered by dimension.
    pub predicates: Vec<(usize, u32)>,
    /// Requests above the baseline that match.
    pub excess: f64,
    /// Share of the whole excess that matches.
    pub coverage: f64,
    /// Share of the matching requests that is excess.
    pub purity: f64,
    /// Share of normal traffic that the same rule would hit.
    pub normal_share: f64,
}

const SHARE_MIN: f64 = 0.15;
const SIGMA_MIN: f64 = 6.0;
const CLOSURE_KEEP: f64 = 0.95;
const RULES_MAX: usize = 3;
const SINGLES_MAX: usize = 40;

type Predicates = Vec<(usize, u32)>;

/// Returns up to three rules, strongest first; empty when there is no excess.
///
/// `scale` is how many baseline spans fit in the surge (duration of the surge over duration of
/// the baseline).
#[must_use]
pub fn search_drivers(leaves: &[Leaf], scale: f64) -> Vec<DriverRule> {
    let total = sums(leaves.iter(), scale);
    if total.excess() <= 0.0 {
        return Vec::new();
    }
    let mut rest: Vec<&Leaf> = leaves.iter().collect();
    let mut rules = Vec::new();
    while rules.len() < RULES_MAX {
        let Some(best) = best_rule(&rest, total, scale) else { break };
        let closed = close(&rest, best, scale);
        let hit = sums(rest.iter().copied().filter(|l| matches(l, &closed)), scale);
        let everywhere = sums(leaves.iter().filter(|l| matches(l, &closed)), scale);
        rules.push(DriverRule {
            excess: hit.excess(),
            coverage: (hit.excess() / total.excess()).min(1.0),
            purity: (hit.excess() / hit.during.max(1.0)).clamp(0.0, 1.0),
            normal_share: if total.before > 0.0 { everywhere.before / total.before } else { f64::NAN },
            predicates: closed.clone(),
        });
        rest.retain(|l| !matches(l, &closed));
        if sums(rest.iter().copied(), scale).excess() < SHARE_MIN * total.excess() {
            break;
        }
    }
    rules
}

#[derive(Clone, Copy, Default)]
struct Sums {
    during: f64,
    before: f64,
    scaled: f64,
}

impl Sums {
    fn excess(self) -> f64 {
        self.during - self.scaled
    }

    fn strong(self, whole: f64) -> bool {
        self.excess() >= SHARE_MIN * whole && self.excess() >= SIGMA_MIN * (self.scaled + 1.0).sqrt()
    }

    fn score(self, whole: Self) -> f64 {
        let coverage = (self.excess() / whole.excess()).min(1.0);
        let purity = self.excess() / self.during.max(1.0);
        let spared = if whole.before > 0.0 { 1.0 - self.before / whole.before } else { 1.0 };
        let clean = purity * spared;
        2.0 * coverage * clean / (coverage + clean).max(1e-12)
    }
}

fn sums<'a>(leaves: impl Iterator<Item = &'a Leaf>, scale: f64) -> Sums {
    let mut s = Sums::default();
    for l in leaves {
        s.during += l.during;
        s.before += l.before;
    }
    s.scaled = s.before * scale;
    s
}

fn matches(leaf: &Leaf, predicates: &[(usize, u32)]) -> bool {
    predicates.iter().all(|(d, v)| leaf.values.get(*d).copied().flatten() == Some(*v))
}

fn best_rule(leaves: &[&Leaf], whole: Sums, scale: f64) -> Option<Predicates> {
    let mut singles: Vec<(Predicates, Sums)> = by_value(leaves, &[], scale)
        .into_iter()
        .filter(|(_, s)| s.strong(whole.excess()))
        .map(|(p, s)| (vec![p], s))
        .collect();
    singles.sort_by(|a, b| b.1.excess().total_cmp(&a.1.excess()).then_with(|| a.0.cmp(&b.0)));
    singles.truncate(SINGLES_MAX);
    let mut best: Option<(Predicates, f64)> = None;
    let mut consider = |p: &Predicates, s: Sums| {
        let score = s.score(whole);
        if best.as_ref().is_none_or(|b| score > b.1 + 1e-9) {
            best = Some((p.clone(), score));
        }
    };
    let mut frontier = singles.clone();
    for order in 1..=3 {
        frontier.iter().for_each(|(p, s)| consider(p, *s));
        if order == 3 {
            break;
        }
        let mut next: Vec<(Predicates, Sums)> = Vec::new();
        for (p, _) in &frontier {
            let last = p.last().map_or(0, |l| l.0);
            let inside: Vec<&Leaf> = leaves.iter().copied().filter(|l| matches(l, p)).collect();
            for (q, s) in by_value(&inside, p, scale) {
                if q.0 > last && s.strong(whole.excess()) {
                    let mut longer = p.clone();
                    longer.push(q);
                    next.push((longer, s));
                }
            }
        }
        next.sort_by(|a, b| b.1.score(whole).total_cmp(&a.1.score(whole)).then_with(|| a.0.cmp(&b.0)));
        next.truncate(SINGLES_MAX);
        frontier = next;
    }
    best.map(|b| b.0)
}

fn by_value(leaves: &[&Leaf], without: &[(usize, u32)], scale: f64) -> Vec<((usize, u32), Sums)> {
    let mut all: HashMap<(usize, u32), Sums> = HashMap::new();
    for l in leaves {
        for (d, v) in l.values.iter().enumerate() {
            if let Some(v) = v
                && !without.iter().any(|w| w.0 == d)
            {
                let s = all.entry((d, *v)).or_default();
                s.during += l.during;
                s.before += l.before;
                s.scaled += l.before * scale;
            }
        }
    }
    let mut out: Vec<_> = all.into_iter().collect();
    out.sort_by_key(|(p, _)| *p);
    out
}

// Adds the predicates that nearly every excess request shares, so that the rule says all it knows.
fn close(leaves: &[&Leaf], mut rule: Predicates, scale: f64) -> Predicates {
    loop {
        let inside: Vec<&Leaf> = leaves.iter().copied().filter(|l| matches(l, &rule)).collect();
        let whole = sums(inside.iter().copied(), scale).excess();
        let better = by_value(&inside, &rule, scale)
            .into_iter()
            .filter(|(_, s)| s.excess() >= CLOSURE_KEEP * whole && s.excess() > 0.0)
            .max_by(|a, b| a.1.excess().total_cmp(&b.1.excess()).then_with(|| b.0.cmp(&a.0)));
        match better {
            Some((p, _)) => {
                rule.push(p);
                rule.sort_unstable();
            }
            None => return rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 4 dimensions; normal traffic spread over all, an attack in one conjunction.
    fn world(attack: &[(usize, u32)], size: f64) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for a in 0..6u32 {
            for b in 0..10u32 {
                for c in 0..8u32 {
                    for d in 0..5u32 {
                        let values = vec![Some(a), Some(b), Some(c), Some(d)];
                        let before = f64::from(20 + (a * 7 + b * 3 + c * 5 + d) % 11);
                        leaves.push(Leaf { values, during: before, before });
                    }
                }
            }
        }
        let hit: Vec<usize> = (0..leaves.len()).filter(|i| matches(&leaves[*i], attack)).collect();
        let each = size / hit.len() as f64;
        hit.into_iter().for_each(|i| leaves[i].during += each);
        leaves
    }

    #[test]
    fn finds_the_conjunction_at_many_sizes() {
        for attack in [vec![(0, 2)], vec![(0, 2), (2, 5)], vec![(0, 1), (1, 4), (3, 0)]] {
            for size in [6_000.0, 30_000.0, 180_000.0] {
                let rules = search_drivers(&world(&attack, size), 1.0);
                assert_eq!(rules[0].predicates, attack, "size {size}");
                assert!(rules[0].coverage > 0.95, "{:?}", rules[0]);
                assert!(rules[0].normal_share < 0.2);
            }
        }
    }

    #[test]
    fn a_flood_that_drowns_everything_is_still_told_apart() {
        for attack in [vec![(0, 2)], vec![(0, 2), (2, 5)]] {
            let mut leaves = world(&attack, 6_000_000.0);
            // A dimension on which half of all traffic agrees with the attack.
            for l in &mut leaves {
                let common = l.values[1].unwrap_or(0) % 2 == 0 || matches(l, &attack);
                l.values.push(Some(u32::from(common)));
            }
            let rules = search_drivers(&leaves, 1.0);
            assert!(attack.iter().all(|p| rules[0].predicates.contains(p)), "{:?}", rules[0]);
            assert!(rules[0].normal_share < 0.2, "{:?}", rules[0]);
        }
    }

    #[test]
    fn no_excess_no_rules() {
        assert!(search_drivers(&world(&[(0, 2)], 0.0), 1.0).is_empty());
        assert!(search_drivers(&[], 1.0).is_empty());
    }
}
