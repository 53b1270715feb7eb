//! How far to believe each labelling function, and what their votes together say. Pure.
//!
//! A latent-class model: an episode is a takeover or not; functions fire with a chance of their own in
//! each class. The chances are learned from agreement and disagreement alone (expectation maximisation,
//! A. P. Dawid and A. M. Skene, 1979), starting from what experts believe. Functions that fire together
//! more often than their classes explain form a group whose joint habits are learned as one, so that two
//! that say the same thing count once.
//!
//! Takeovers are rare, and whatever else is common among members would make a better second class. This
//! holds the class in place: what experts believe of takeovers is never worth less than what was learned;
//! that a rare thing is rare among members is worth twenty cases of it, unless it is plainly common; a
//! function may fall silent but not change sides; and the share of takeovers is bounded. Silence accuses
//! little: that no function vouches for a member speaks against the member three to one at most.

/// Episodes with the same votes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// Bit per function that fired.
    pub(crate) votes: u64,
    /// Level of the behaviour score, if there is one.
    pub(crate) level: Option<u8>,
    /// Episodes.
    pub(crate) count: f64,
}

/// Chance that a function fires, by class, as experts believe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Belief {
    pub(crate) takeover: f64,
    pub(crate) benign: f64,
}

/// Episodes that the belief of experts is worth, in each class.
const BELIEF_WEIGHT: f64 = 12.0;
/// Benign cases that the belief in their rarity is worth.
const RARE_WEIGHT: f64 = 20.0;
/// Highest share of takeovers among episodes that the model believes.
const SHARE_MAX: f64 = 0.05;
/// Levels of the behaviour score.
pub(crate) const LEVELS: usize = 8;
const ROUNDS: usize = 200;
const SETTLED: f64 = 1e-9;
/// Largest group of functions that are learned together.
const GROUP_MAX: usize = 6;
/// Standard scores and correlation from which two functions depend on each other.
const DEPEND_Z: f64 = 4.0;
const DEPEND_PHI: f64 = 0.35;
/// Share of takeovers among episodes that experts expect, and what that is worth.
const PRIOR_SHARE: f64 = 0.002;
const PRIOR_WEIGHT: f64 = 50.0;
/// What is taken from the takeovers that are counted before their share is told. How rare they are is not
/// even known to an order of magnitude, and the most likely share under a prior that is even in its logarithm
/// is that of one case less: a few doubtful episodes do not vouch for each other, many do.
const DOUBTED: f64 = 1.0;
const FLOOR: f64 = 1e-6;
/// Episodes from which a joint pattern says something of its own.
const TOLD: f64 = 3.0;
/// Most that silence of all functions adds to the log odds, three to one.
const SILENCE_MAX: f64 = 1.1;
/// Episodes that the behaviour of all members is worth beside that of the accused ones.
const ACCUSED_WEIGHT: f64 = 10.0;
/// Most that behaviour alone adds to the log odds, about fifty to one.
const LEVEL_MAX: f64 = 4.0;

/// Functions learned together: their positions and the chance of each joint pattern by class.
#[derive(Clone, Debug)]
struct Group {
    members: Vec<usize>,
    /// Bits of the pattern that speak for a takeover.
    accusing: usize,
    takeover: Vec<f64>,
    benign: Vec<f64>,
    prior: [Vec<f64>; 2],
    /// Episodes that the belief about benign ones is worth.
    benign_weight: f64,
    /// Log of takeover over benign by pattern; another accusation never lowers it.
    ratios: Vec<f64>,
    /// Episodes with each pattern.
    seen: Vec<f64>,
}

impl Group {
    fn weigh(&mut self) {
        let plain: Vec<f64> =
            self.takeover.iter().zip(&self.benign).map(|(t, b)| (t.max(FLOOR) / b.max(FLOOR)).ln()).collect();
        // Patterns by size: each is at least as bad as any with one accusation less.
        self.ratios = plain;
        for k in 0..self.ratios.len() {
            for j in 0..self.members.len() {
                let less = k & !(1 << j);
                // What was hardly ever seen without the other says nothing of its own.
                let told = self.seen.get(less).is_some_and(|n| *n >= TOLD);
                if told && less != k && self.accusing >> j & 1 == 1 && less & self.accusing != 0 {
                    self.ratios[k] = self.ratios[k].max(self.ratios[less]);
                }
            }
        }
    }

    fn pattern(&self, votes: u64) -> usize {
        self.members.iter().enumerate().map(|(k, m)| usize::from(votes >> m & 1 == 1) << k).sum()
    }
}

/// What was learned.
#[derive(Clone, Debug)]
pub(crate) struct LabelModel {
    groups: Vec<Group>,
    levels: Option<Levels>,
    share: f64,
}

impl LabelModel {
    /// Returns the probability that an episode with these votes is a takeover.
    pub(crate) fn probability(&self, votes: u64, level: Option<u8>) -> f64 {
        1.0 / (1.0 + (-self.log_odds(votes, level)).exp())
    }

    fn log_odds(&self, votes: u64, level: Option<u8>) -> f64 {
        let mut odds = (self.share / (1.0 - self.share)).ln();
        let mut silence = 0.0;
        for g in &self.groups {
            let k = g.pattern(votes);
            let ratio = g.ratios[k];
            if k & g.accusing == 0 && ratio > 0.0 { silence += ratio } else { odds += ratio }
        }
        odds += f64::min(silence, SILENCE_MAX);
        if let (Some(levels), Some(l)) = (&self.levels, level) {
            odds += levels.log_ratio(l, self.groups.iter().any(|g| g.pattern(votes) & g.accusing != 0));
        }
        odds
    }

    /// Returns how often a function fires on takeovers and on the rest.
    pub(crate) fn rates(&self, function: usize) -> Belief {
        let of = |p: &dyn Fn(&Group) -> &Vec<f64>| {
            self.groups.iter().find_map(|g| {
                let k = g.members.iter().position(|m| *m == function)?;
                Some(p(g).iter().enumerate().filter(|(i, _)| i >> k & 1 == 1).map(|(_, v)| v).sum())
            })
        };
        Belief { takeover: of(&|g| &g.takeover).unwrap_or(0.0), benign: of(&|g| &g.benign).unwrap_or(0.0) }
    }

    /// Returns the groups of functions that are learned together.
    pub(crate) fn groups(&self) -> Vec<Vec<usize>> {
        self.groups.iter().map(|g| g.members.clone()).collect()
    }
}

/// Returns the model of the votes; groups are found in the votes themselves.
pub(crate) fn fit(patterns: &[Pattern], beliefs: &[Belief]) -> LabelModel {
    let alone: Vec<Vec<usize>> = (0..beliefs.len()).map(|i| vec![i]).collect();
    let first = fit_groups(patterns, beliefs, &alone, None);
    let groups = dependent(patterns, &first, beliefs.len());
    if groups.len() == beliefs.len() { first } else { fit_groups(patterns, beliefs, &groups, None) }
}

/// How often takeovers and the rest have each level of the behaviour score.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    taken: Vec<f64>,
    /// Benign episodes that no function accuses, and those that one does.
    benign: [Vec<f64>; 2],
    /// How far it is believed, 0 to 1.
    trust: f64,
}

impl Levels {
    /// Returns the shares by what is said of all episodes and whether any function accuses them.
    ///
    /// WHY: a function about short visits accuses members with short visits: what they do is then as
    /// unusual as what thieves do, and only tells them apart from thieves when held against their like.
    pub(crate) fn of(levels: &[Option<u8>], p: &[f64], accused: &[bool], trust: f64) -> Self {
        let mut taken = vec![0.5; LEVELS];
        let mut benign = [vec![0.0; LEVELS], vec![0.0; LEVELS]];
        for ((l, p), accused) in levels.iter().zip(p).zip(accused) {
            if let Some(l) = l {
                let l = usize::from(*l).min(LEVELS - 1);
                taken[l] += p;
                benign[usize::from(*accused)][l] += 1.0 - p;
            }
        }
        // Where few are accused, they are held against all.
        let all: Vec<f64> = (0..LEVELS).map(|l| benign[0][l] + benign[1][l] + 0.5).collect();
        let total: f64 = all.iter().sum();
        for side in &mut benign {
            side.iter_mut().zip(&all).for_each(|(v, a)| *v += ACCUSED_WEIGHT * a / total);
        }
        for c in [&mut taken].into_iter().chain(&mut benign) {
            let sum: f64 = c.iter().sum();
            c.iter_mut().for_each(|v| *v /= sum);
        }
        Self { taken, benign, trust }
    }

    fn log_ratio(&self, level: u8, accused: bool) -> f64 {
        let l = usize::from(level).min(LEVELS - 1);
        let (t, b) = (self.taken[l], self.benign[usize::from(accused)][l]);
        self.trust * (t.max(FLOOR) / b.max(FLOOR)).ln().clamp(-LEVEL_MAX, LEVEL_MAX)
    }
}

/// Returns the model with given groups of functions and given levels of behaviour.
pub(crate) fn fit_groups(
    patterns: &[Pattern],
    beliefs: &[Belief],
    groups: &[Vec<usize>],
    levels: Option<&Levels>,
) -> LabelModel {
    let mut model = LabelModel {
        groups: groups.iter().map(|g| start(patterns, beliefs, g)).collect(),
        levels: levels.cloned(),
        share: PRIOR_SHARE,
    };
    for round in 0..ROUNDS {
        let p: Vec<f64> = patterns.iter().map(|x| model.probability(x.votes, x.level)).collect();
        let before = model.share;
        step(&mut model, patterns, beliefs, &p);
        if round > 5 && (model.share - before).abs() < SETTLED {
            break;
        }
    }
    model
}

// What experts believe of a group: the joint pattern that is nearest to what is seen and has the
// believed share for each function. Two functions that always fire together stay together.
fn start(patterns: &[Pattern], beliefs: &[Belief], members: &[usize]) -> Group {
    let n = 1usize << members.len();
    let mut group = Group {
        members: members.to_vec(),
        accusing: members
            .iter()
            .enumerate()
            .filter(|(_, m)| beliefs[**m].takeover > beliefs[**m].benign)
            .fold(0, |bits, (j, _)| bits | 1 << j),
        takeover: vec![0.0; n],
        benign: vec![0.0; n],
        prior: [Vec::new(), Vec::new()],
        benign_weight: BELIEF_WEIGHT,
        ratios: Vec::new(),
        seen: Vec::new(),
    };
    let mut seen = vec![0.0; n];
    let mut total = 0.0;
    for p in patterns {
        seen[group.pattern(p.votes)] += p.count;
        total += p.count;
    }
    let chance = |k: usize, of: &dyn Fn(&Belief) -> f64| -> f64 {
        let one = |(j, m): (usize, &usize)| {
            let p = of(&beliefs[*m]).clamp(1e-5, 1.0 - 1e-5);
            if k >> j & 1 == 1 { p } else { 1.0 - p }
        };
        members.iter().enumerate().map(one).product()
    };
    for (class, of) in [&(|b: &Belief| b.takeover) as &dyn Fn(&Belief) -> f64, &|b: &Belief| b.benign]
        .into_iter()
        .enumerate()
    {
        // A little of independence, so that a pattern never seen has a chance.
        let mut p: Vec<f64> = (0..n).map(|k| seen[k] / f64::max(total, 1.0) + 1e-3 * chance(k, of)).collect();
        if members.len() == 1 {
            p = (0..n).map(|k| chance(k, of)).collect();
        } else {
            rake(&mut p, members, beliefs, of);
        }
        group.prior[class] = p;
    }
    // Where an accusing function fires oftener than takeovers and belief together allow, the belief is
    // refuted and the data speak alone.
    let fires = |p: &[f64]| -> f64 {
        p.iter().enumerate().filter(|(k, _)| k & group.accusing != 0).map(|(_, v)| v).sum()
    };
    let believed = fires(&group.prior[1]);
    if group.accusing != 0 && believed > 0.0 && fires(&seen) <= (SHARE_MAX + 3.0 * believed) * total {
        group.benign_weight = BELIEF_WEIGHT.max(RARE_WEIGHT / believed);
    }
    group.seen = seen;
    group.takeover = group.prior[0].clone();
    group.benign = group.prior[1].clone();
    group.weigh();
    group
}

// Iterative proportional fitting to the believed share of each function.
fn rake(p: &mut [f64], members: &[usize], beliefs: &[Belief], of: &dyn Fn(&Belief) -> f64) {
    for _ in 0..60 {
        for (j, m) in members.iter().enumerate() {
            let want = of(&beliefs[*m]).clamp(1e-5, 1.0 - 1e-5);
            let sum: f64 = p.iter().sum();
            let have: f64 = p.iter().enumerate().filter(|(k, _)| k >> j & 1 == 1).map(|(_, v)| v).sum();
            let (up, down) = (want / (have / sum).max(1e-12), (1.0 - want) / (1.0 - have / sum).max(1e-12));
            for (k, v) in p.iter_mut().enumerate() {
                *v *= if k >> j & 1 == 1 { up } else { down } / sum;
            }
        }
    }
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|v| *v /= sum);
}

// A function that fires on the wrong class more often says nothing: its group's patterns with and
// without it are put in the proportion that benign episodes show.
fn keep_sides(g: &mut Group, beliefs: &[Belief]) {
    for (j, m) in g.members.iter().enumerate() {
        let fires = |p: &[f64]| -> f64 {
            p.iter().enumerate().filter(|(k, _)| k >> j & 1 == 1).map(|(_, v)| v).sum()
        };
        let (bad, good) = (fires(&g.takeover), fires(&g.benign));
        let for_takeover = beliefs[*m].takeover > beliefs[*m].benign;
        if for_takeover == (bad >= good) || bad <= 0.0 || bad >= 1.0 {
            continue;
        }
        for (k, v) in g.takeover.iter_mut().enumerate() {
            *v *= if k >> j & 1 == 1 { good / bad } else { (1.0 - good) / (1.0 - bad) };
        }
    }
}

fn step(model: &mut LabelModel, patterns: &[Pattern], beliefs: &[Belief], p: &[f64]) {
    let (mut bad, mut all) = (0.0, 0.0);
    for (x, p) in patterns.iter().zip(p) {
        bad += p * x.count;
        all += x.count;
    }
    let told = (bad - DOUBTED).max(0.0) + PRIOR_SHARE * PRIOR_WEIGHT;
    model.share = (told / (all + PRIOR_WEIGHT)).clamp(1e-9, SHARE_MAX);
    for g in &mut model.groups {
        let mut counts = [vec![0.0; g.takeover.len()], vec![0.0; g.benign.len()]];
        for (x, p) in patterns.iter().zip(p) {
            let k = g.pattern(x.votes);
            counts[0][k] += p * x.count;
            counts[1][k] += (1.0 - p) * x.count;
        }
        for (class, total) in [bad, all - bad].into_iter().enumerate() {
            let into = if class == 0 { &mut g.takeover } else { &mut g.benign };
            let weight = if class == 0 { total.max(BELIEF_WEIGHT) } else { g.benign_weight };
            for (k, v) in into.iter_mut().enumerate() {
                *v = (counts[class][k] + weight * g.prior[class][k]) / (total + weight);
            }
        }
        keep_sides(g, beliefs);
        g.weigh();
    }
}

// Functions that fire together more often than the classes explain, joined from the strongest pair on.
// What a pair itself says is left out of the judgement on it: two copies of one function would otherwise
// make a class of their own that explains them.
fn dependent(patterns: &[Pattern], model: &LabelModel, functions: usize) -> Vec<Vec<usize>> {
    let odds: Vec<f64> = patterns.iter().map(|x| model.log_odds(x.votes, x.level)).collect();
    let gain: Vec<[f64; 2]> = (0..functions)
        .map(|f| {
            let r = model.rates(f);
            let ln = |a: f64, b: f64| (a.max(FLOOR) / b.max(FLOOR)).ln();
            [ln(1.0 - r.takeover, 1.0 - r.benign), ln(r.takeover, r.benign)]
        })
        .collect();
    let bit = |x: &Pattern, f: usize| usize::from(x.votes >> f & 1 == 1);
    let mut edges: Vec<(f64, usize, usize)> = Vec::new();
    for i in 0..functions {
        for j in i + 1..functions {
            let seen: f64 = patterns.iter().filter(|x| bit(x, i) + bit(x, j) == 2).map(|x| x.count).sum();
            if seen < 3.0 {
                continue;
            }
            let mut sums = [[0.0; 3]; 2];
            for (x, odds) in patterns.iter().zip(&odds) {
                let rest = odds - gain[i][bit(x, i)] - gain[j][bit(x, j)];
                let p = x.count / (1.0 + (-rest).exp());
                for (class, w) in [p, x.count - p].into_iter().enumerate() {
                    sums[class][0] += w;
                    sums[class][1] += w * bit(x, i) as f64;
                    sums[class][2] += w * bit(x, j) as f64;
                }
            }
            let expected: f64 = sums.iter().map(|[n, a, b]| a * b / n.max(1e-9)).sum();
            let n = |k: usize| sums[0][k] + sums[1][k];
            let phi = (seen - expected) / (n(1) * n(2)).sqrt().max(1e-9);
            if (seen - expected) / expected.max(0.25).sqrt() >= DEPEND_Z && phi >= DEPEND_PHI {
                edges.push((phi, i, j));
            }
        }
    }
    edges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut groups: Vec<Vec<usize>> = (0..functions).map(|f| vec![f]).collect();
    for (_, i, j) in edges {
        let at = |groups: &[Vec<usize>], f: usize| groups.iter().position(|g| g.contains(&f));
        let (Some(a), Some(b)) = (at(&groups, i), at(&groups, j)) else { continue };
        if a != b && groups[a].len() + groups[b].len() <= GROUP_MAX {
            let moved = groups[b].clone();
            groups[a].extend(moved);
            groups.remove(b);
        }
    }
    groups.iter_mut().for_each(|g| g.sort_unstable());
    groups.sort();
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    // Draws without a library: the test must be the same everywhere.
    struct Dice(u64);
    impl Dice {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    const TRUE: [(f64, f64); 6] =
        [(0.6, 0.002), (0.4, 0.001), (0.5, 0.01), (0.3, 0.0005), (0.02, 0.5), (0.05, 0.3)];

    fn beliefs() -> Vec<Belief> {
        [(0.5, 0.005), (0.5, 0.005), (0.5, 0.02), (0.5, 0.002), (0.1, 0.5), (0.1, 0.3)]
            .map(|(takeover, benign)| Belief { takeover, benign })
            .to_vec()
    }

    fn world(share: f64, seed: u64) -> (Vec<Pattern>, f64, Vec<(u64, bool)>) {
        let mut dice = Dice(seed);
        let (mut rows, mut bad) = (Vec::new(), 0.0);
        for _ in 0..40_000 {
            let taken = dice.unit() < share;
            bad += f64::from(u8::from(taken));
            let mut votes = 0;
            for (k, (t, b)) in TRUE.iter().enumerate() {
                if dice.unit() < if taken { *t } else { *b } {
                    votes |= 1 << k;
                }
            }
            rows.push((votes, taken));
        }
        (counted(rows.iter().map(|r| r.0)), bad, rows)
    }

    fn counted(votes: impl Iterator<Item = u64>) -> Vec<Pattern> {
        let mut all: BTreeMap<u64, f64> = BTreeMap::new();
        votes.for_each(|v| *all.entry(v).or_default() += 1.0);
        all.into_iter().map(|(votes, count)| Pattern { votes, level: None, count }).collect()
    }

    fn total(model: &LabelModel, patterns: &[Pattern]) -> f64 {
        patterns.iter().map(|p| p.count * model.probability(p.votes, None)).sum()
    }

    #[test]
    fn the_number_of_takeovers_is_learned_without_a_single_label() {
        for seed in 1..6 {
            let (patterns, bad, _) = world(0.004, seed);
            let found = total(&fit(&patterns, &beliefs()), &patterns);
            assert!((found / bad - 1.0).abs() < 0.25, "seed {seed}: {found} against {bad}");
        }
    }

    #[test]
    fn a_function_that_is_doubled_counts_once() {
        let (patterns, _, _) = world(0.004, 9);
        let one = fit(&patterns, &beliefs());
        let twice: Vec<Pattern> =
            patterns.iter().map(|p| Pattern { votes: p.votes | (p.votes & 1) << 6, ..p.clone() }).collect();
        let mut more = beliefs();
        more.push(more[0]);
        let two = fit(&twice, &more);
        assert!(two.groups().contains(&vec![0, 6]), "{:?}", two.groups());
        let (a, b) = (total(&one, &patterns), total(&two, &twice));
        assert!((a / b - 1.0).abs() < 0.05, "{a} against {b}");
    }

    #[test]
    fn a_function_that_is_inverted_or_deleted_moves_little() {
        let (patterns, bad, _) = world(0.004, 11);
        let all = total(&fit(&patterns, &beliefs()), &patterns);
        let inverted =
            counted(patterns.iter().flat_map(|p| std::iter::repeat_n(p.votes ^ 4, p.count as usize)));
        let found = total(&fit(&inverted, &beliefs()), &inverted);
        assert!((found - all).abs() < 0.3 * bad, "inverted: {found} against {all}");
        let without =
            counted(patterns.iter().flat_map(|p| std::iter::repeat_n(p.votes & 0b11_1011, p.count as usize)));
        let mut fewer = beliefs();
        fewer[2] = Belief { takeover: 1e-4, benign: 1e-4 };
        let found = total(&fit(&without, &fewer), &without);
        assert!((found - all).abs() < 0.3 * bad, "deleted: {found} against {all}");
    }

    #[test]
    fn better_than_the_best_function_and_than_the_majority() {
        let (patterns, _, rows) = world(0.004, 3);
        let model = fit(&patterns, &beliefs());
        // Takeovers among the thirty that look worst.
        let caught = |score: &dyn Fn(u64) -> f64| {
            let mut all: Vec<(f64, bool)> = rows.iter().map(|(v, t)| (score(*v), *t)).collect();
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            all.iter().take(150).filter(|r| r.1).count()
        };
        let ours = caught(&|v| model.probability(v, None));
        let majority =
            caught(&|v| f64::from((v & 0b1111).count_ones()) - f64::from((v & 0b11_0000).count_ones()));
        let best = (0..4).map(|k| caught(&|v| f64::from(u8::from(v >> k & 1 == 1)))).max().unwrap();
        assert!(ours >= majority && ours > best, "{ours}, majority {majority}, best {best}");
    }

    #[test]
    fn no_votes_is_almost_surely_nobody() {
        let (patterns, _, _) = world(0.004, 5);
        let model = fit(&patterns, &beliefs());
        assert!(model.probability(0, None) < 0.004);
        assert!(model.probability(0b1111, None) > 0.99);
    }
}
