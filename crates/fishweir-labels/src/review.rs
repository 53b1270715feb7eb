//! Which episodes a person should judge, and what judgements say of all of them. Pure.
//!
//! Each episode is chosen by itself with a known chance, higher where a judgement tells more. Weighting
//! the judged ones by one over that chance makes every total unbiased, however wrong the model is: the
//! model only decides how narrow the interval gets (difference estimator: C.-E. Särndal, B. Swensson,
//! J. Wretman, "Model Assisted Survey Sampling", 1992, ch. 6).

use crate::outcome::Estimate;

/// Chance that even the dullest episode has against an average one, so that what the model is blind to can
/// be found.
const FLOOR: f64 = 0.5;
/// What a call adds to its chance, against the average doubt.
const CALLED: f64 = 4.0;
const Z95: f64 = 1.959_963_985;

/// An episode that was chosen, or not, and what was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// What the model says.
    pub p: f64,
    /// Chance with which it was chosen.
    pub chance: f64,
    /// What the person said: 1 taken, 0 not.
    pub truth: f64,
}

/// What judgements say of all episodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reviewed {
    /// Takeovers among all episodes.
    pub takeovers: Estimate,
    /// Share of the called ones that are taken; `None` when none was judged.
    pub precision: Option<Estimate>,
    /// Share of the taken ones that were called; `None` without a takeover.
    pub recall: Option<Estimate>,
    /// Judgements.
    pub judged: usize,
}

/// Returns the chance of each episode to be chosen so that about `wanted` are.
///
/// # Shape
/// One chance per probability, in order, each above 0 and at most 1; they add up to `wanted` unless there
/// are fewer episodes.
#[must_use]
pub fn sampling_chances(p: &[f64], wanted: f64) -> Vec<f64> {
    let doubt: Vec<f64> = p.iter().map(|p| (p * (1.0 - p)).max(0.0).sqrt()).collect();
    let mean = doubt.iter().sum::<f64>() / doubt.len().max(1) as f64;
    // Calls are what is worked on and published: their precision must not rest on one or two of them.
    let call = |p: f64| if p >= 0.5 { CALLED * mean } else { 0.0 };
    let size: Vec<f64> = doubt.iter().zip(p).map(|(d, p)| d + call(*p) + (FLOOR * mean).max(1e-6)).collect();
    let mut chances = vec![0.0; size.len()];
    let mut sure = vec![false; size.len()];
    loop {
        let left = wanted - sure.iter().filter(|s| **s).count() as f64;
        let total: f64 = size.iter().zip(&sure).filter(|(_, s)| !**s).map(|(v, _)| v).sum();
        let mut more = false;
        for i in 0..size.len() {
            chances[i] = if sure[i] { 1.0 } else { (left.max(0.0) * size[i] / total.max(1e-300)).min(1.0) };
            if !sure[i] && chances[i] >= 1.0 {
                sure[i] = true;
                more = true;
            }
        }
        if !more {
            return chances.into_iter().map(|c| c.max(1e-9)).collect();
        }
    }
}

fn estimate(value: f64, variance: f64, low: f64, high: f64) -> Estimate {
    let half = Z95 * variance.max(0.0).sqrt();
    Estimate { value: value.clamp(low, high), low: (value - half).max(low), high: (value + half).min(high) }
}

/// Returns what the judgements say of all episodes, whose probabilities are `p`; called are those of at
/// least one half.
#[must_use]
pub fn reviewed(p: &[f64], judged: &[Judgement]) -> Reviewed {
    let n = p.len() as f64;
    let total = |f: &dyn Fn(f64) -> f64| p.iter().map(|p| f(*p)).sum::<f64>();
    let called = |p: f64| f64::from(u8::from(p >= 0.5));
    // Difference estimator of a total of `y(truth, p)` where the model expects `m(p)`.
    let sum = |m: &dyn Fn(f64) -> f64, y: &dyn Fn(f64, f64) -> f64| {
        let (mut value, mut variance) = (total(m), 0.0);
        for j in judged {
            let miss = y(j.truth, j.p) - m(j.p);
            value += miss / j.chance;
            variance += (1.0 - j.chance) / (j.chance * j.chance) * miss * miss;
        }
        (value, variance)
    };
    let (takeovers, variance) = sum(&|p| p, &|t, _| t);
    let (right, right_variance) = sum(&|p| p * called(p), &|t, p| t * called(p));
    let all_called = total(&called);
    let judged_called = judged.iter().any(|j| j.p >= 0.5);
    let precision = (all_called > 0.0 && judged_called)
        .then(|| estimate(right / all_called, right_variance / all_called.powi(2), 0.0, 1.0));
    let recall = (takeovers > 0.0 && !judged.is_empty()).then(|| {
        let r = (right / takeovers).clamp(0.0, 1.0);
        // Ratio of two totals: the variance of what is left over, to first order.
        let mut left = 0.0;
        for j in judged {
            let miss = j.truth * called(j.p) - r * j.truth - (j.p * called(j.p) - r * j.p);
            left += (1.0 - j.chance) / (j.chance * j.chance) * miss * miss;
        }
        estimate(r, left / takeovers.powi(2), 0.0, 1.0)
    });
    // A sample seldom holds the rare case that carries most weight, and then its variance looks small: the
    // upper end allows for half of one more of them.
    let heaviest = judged.iter().map(|j| 0.5 / j.chance).fold(0.0, f64::max);
    let mut all = estimate(takeovers, variance, 0.0, n);
    all.high = estimate(takeovers, variance + heaviest * heaviest, 0.0, n).high;
    Reviewed { takeovers: all, precision, recall, judged: judged.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dice(u64);
    impl Dice {
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    // A model that is overconfident and blind to every fifth takeover.
    fn world() -> Vec<(f64, f64)> {
        let mut dice = Dice(7);
        (0..5_000)
            .map(|_| {
                let taken = dice.unit() < 0.02;
                let p = match (taken, dice.unit() < 0.2) {
                    (true, false) => 0.6 + 0.4 * dice.unit(),
                    (true, true) => 0.01,
                    (false, true) => 0.3 * dice.unit(),
                    (false, false) => 0.005,
                };
                (p, f64::from(u8::from(taken)))
            })
            .collect()
    }

    #[test]
    fn chances_add_up_and_favour_doubt() {
        let p = [0.5, 0.5, 0.9, 0.01, 0.0, 1.0];
        let c = sampling_chances(&p, 3.0);
        assert!((c.iter().sum::<f64>() - 3.0).abs() < 1e-9, "{c:?}");
        assert!(c[0] > c[3] && c[2] > c[4] && c.iter().all(|c| *c > 0.0 && *c <= 1.0));
        assert!(sampling_chances(&p, 60.0).iter().all(|c| (*c - 1.0).abs() < 1e-9));
    }

    #[test]
    fn estimates_are_unbiased_and_their_intervals_hold_the_truth() {
        let world = world();
        let p: Vec<f64> = world.iter().map(|w| w.0).collect();
        let truth: f64 = world.iter().map(|w| w.1).sum();
        let right: f64 = world.iter().filter(|w| w.0 >= 0.5).map(|w| w.1).sum();
        let chances = sampling_chances(&p, 400.0);
        let mut dice = Dice(99);
        let (mut sum, mut held, mut recall_held, rounds) = (0.0, 0, 0, 300);
        for _ in 0..rounds {
            let judged: Vec<Judgement> = world
                .iter()
                .zip(&chances)
                .filter_map(|((p, truth), chance)| {
                    (dice.unit() < *chance).then_some(Judgement { p: *p, chance: *chance, truth: *truth })
                })
                .collect();
            let r = reviewed(&p, &judged);
            sum += r.takeovers.value;
            held += usize::from(r.takeovers.low <= truth && truth <= r.takeovers.high);
            let recall = r.recall.unwrap();
            recall_held += usize::from(recall.low <= right / truth && right / truth <= recall.high);
        }
        let mean = sum / f64::from(rounds);
        assert!((mean / truth - 1.0).abs() < 0.03, "{mean} against {truth}");
        assert!(held * 100 >= 90 * rounds as usize, "{held} of {rounds}");
        assert!(recall_held * 100 >= 88 * rounds as usize, "{recall_held} of {rounds}");
        // The model alone says something else.
        assert!((p.iter().sum::<f64>() / truth - 1.0).abs() > 0.3);
    }

    #[test]
    fn without_judgements_nothing_is_said_of_the_calls() {
        let r = reviewed(&[0.9, 0.1], &[]);
        assert!(r.precision.is_none() && r.recall.is_none());
        assert!((r.takeovers.value - 1.0).abs() < 1e-9);
    }
}
