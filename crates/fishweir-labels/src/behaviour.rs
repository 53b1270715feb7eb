//! How an episode behaves, learned from uncertain labels. Pure.
//!
//! Logistic regression over binned features with a ridge penalty. The labels are probabilities, so doubt
//! and rarity are part of the fit. Every episode is scored by models that have not seen its account.

use rayon::prelude::*;

/// Features of one episode; none of them is read by a labelling function.
pub(crate) const FEATURES: usize = 8;
/// Bins of a feature.
const BINS: usize = 8;
/// Certain takeovers from which behaviour is learned at all, and with which it has half of its weight.
const TAUGHT_LEAST: f64 = 2.0;
const TAUGHT_HALF: f64 = 8.0;
/// Penalty of a coefficient: a prior of one standard deviation in log odds.
const RIDGE: f64 = 1.0;
const ROUNDS: usize = 30;
/// Parts of the accounts, each scored by a model of the others.
const FOLDS: u64 = 5;
/// Times that the accounts are parted anew; a score is the mean, so that it hangs less on who fell together.
const PARTINGS: u64 = 3;
/// Benign episodes that are enough to learn from.
const BENIGN_MAX: usize = 60_000;
const WIDTH: usize = 1 + FEATURES * (BINS - 1);

/// One episode to learn from and to score.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Decides the parts; the same for all episodes of an account.
    pub(crate) draw: u64,
    pub(crate) features: [f32; FEATURES],
    /// Probability that it is a takeover, by the votes alone.
    pub(crate) label: f64,
}

// WHY: many episodes that are hardly suspected add up, too, but what they share is what makes them suspected.
fn taught(labels: impl Iterator<Item = f64>) -> f64 {
    labels.map(|p| (2.0 * p - 1.0).max(0.0)).sum()
}

/// Returns how far behaviour that was learned from these labels is believed, 0 to 1.
pub(crate) fn trust(labels: &[f64]) -> f64 {
    let n = taught(labels.iter().copied());
    n / (n + TAUGHT_HALF)
}

// The part of a sample in one parting.
fn part(s: &Sample, parting: u64) -> u64 {
    let mut z = s.draw.wrapping_add((parting + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ z >> 31) % FOLDS
}

/// Returns the log odds of each sample by models that never saw its account; `None` where there is
/// nothing to learn from.
pub(crate) fn scores(samples: &[Sample]) -> Option<Vec<f64>> {
    if samples.len() < 200 || taught(samples.iter().map(|s| s.label)) < TAUGHT_LEAST {
        return None;
    }
    let cuts = cuts(samples);
    let rows: Vec<[u8; FEATURES]> = samples.iter().map(|s| binned(&s.features, &cuts)).collect();
    let models: Option<Vec<Vec<f64>>> = (0..PARTINGS * FOLDS)
        .into_par_iter()
        .map(|k| {
            let (parting, fold) = (k / FOLDS, k % FOLDS);
            let train: Vec<usize> =
                (0..samples.len()).filter(|i| part(&samples[*i], parting) != fold).collect();
            learn(samples, &rows, &train)
        })
        .collect();
    let models = models?;
    let of =
        |s: &Sample, parting: u64| &models[usize::try_from(parting * FOLDS + part(s, parting)).unwrap_or(0)];
    let mean = |(s, row): (&Sample, &[u8; FEATURES])| {
        (0..PARTINGS).map(|parting| odds(of(s, parting), row)).sum::<f64>() / PARTINGS as f64
    };
    Some(samples.iter().zip(&rows).map(mean).collect())
}

// Borders at quantiles of what is seen, so that no unit matters.
fn cuts(samples: &[Sample]) -> Vec<Vec<f32>> {
    (0..FEATURES)
        .map(|f| {
            let step = samples.len().div_ceil(20_000);
            let mut values: Vec<f32> =
                samples.iter().step_by(step).map(|s| s.features[f]).filter(|v| v.is_finite()).collect();
            values.sort_unstable_by(f32::total_cmp);
            // Rare values at both ends tell more than the middle.
            let ranks = [0.005, 0.03, 0.15, 0.5, 0.85, 0.97];
            let mut all: Vec<f32> = ranks
                .iter()
                .filter_map(|r| values.get((values.len() as f64 * r) as usize).copied())
                .collect();
            all.dedup();
            all
        })
        .collect()
}

fn binned(features: &[f32; FEATURES], cuts: &[Vec<f32>]) -> [u8; FEATURES] {
    let mut out = [0; FEATURES];
    for ((o, v), cuts) in out.iter_mut().zip(features).zip(cuts) {
        // The last bin is for values that are not known.
        *o = if v.is_finite() { cuts.iter().filter(|c| *v > **c).count() as u8 } else { BINS as u8 - 1 };
    }
    out
}

// Columns of a row: the constant, then one per feature whose bin is not the first.
fn active(row: &[u8; FEATURES]) -> impl Iterator<Item = usize> + '_ {
    let bins = row.iter().enumerate().filter(|(_, b)| **b > 0);
    std::iter::once(0).chain(bins.map(|(f, b)| 1 + f * (BINS - 1) + usize::from(*b) - 1))
}

fn odds(weights: &[f64], row: &[u8; FEATURES]) -> f64 {
    active(row).map(|c| weights[c]).sum()
}

// Newton's method; the log likelihood of a ridge is concave, so it has one top.
fn learn(samples: &[Sample], rows: &[[u8; FEATURES]], train: &[usize]) -> Option<Vec<f64>> {
    let benign = train.iter().filter(|i| samples[**i].label < 0.01).count();
    let every = benign.div_ceil(BENIGN_MAX).max(1);
    let mut seen = 0usize;
    let used: Vec<(usize, f64)> = train
        .iter()
        .filter_map(|i| {
            if samples[*i].label >= 0.01 || every == 1 {
                return Some((*i, 1.0));
            }
            seen += 1;
            seen.is_multiple_of(every).then_some((*i, every as f64))
        })
        .collect();
    let mut weights = vec![0.0; WIDTH];
    let (n, bad) = used.iter().fold((0.0, 0.0), |(n, b), (i, w)| (n + w, b + w * samples[*i].label));
    weights[0] = ((bad + 0.5) / (n - bad + 0.5)).ln();
    for _ in 0..ROUNDS {
        let mut gradient = vec![0.0; WIDTH];
        let mut hessian = vec![0.0; WIDTH * WIDTH];
        for (i, w) in &used {
            let p = 1.0 / (1.0 + (-odds(&weights, &rows[*i])).exp());
            let (g, h) = (w * (samples[*i].label - p), w * p * (1.0 - p));
            let columns: Vec<usize> = active(&rows[*i]).collect();
            for a in &columns {
                gradient[*a] += g;
                for b in &columns {
                    hessian[a * WIDTH + b] += h;
                }
            }
        }
        for c in 1..WIDTH {
            gradient[c] -= RIDGE * weights[c];
            hessian[c * WIDTH + c] += RIDGE;
        }
        hessian[0] += 1e-6;
        let step = solved(hessian, gradient)?;
        let size = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
        let damp = if size > 2.0 { 2.0 / size } else { 1.0 };
        weights.iter_mut().zip(&step).for_each(|(w, s)| *w += damp * s);
        if size < 1e-6 {
            break;
        }
    }
    Some(weights)
}

// Cholesky factors; `None` when the matrix is not positive.
fn solved(mut a: Vec<f64>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for j in 0..n {
        for k in 0..j {
            let l = a[j * n + k];
            for i in j..n {
                a[i * n + j] -= a[i * n + k] * l;
            }
        }
        let d = a[j * n + j];
        if d <= 0.0 || !d.is_finite() {
            return None;
        }
        let root = d.sqrt();
        for i in j..n {
            a[i * n + j] /= root;
        }
    }
    for i in 0..n {
        for k in 0..i {
            b[i] -= a[i * n + k] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] -= a[k * n + i] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    Some(b)
}

/// Returns the level of each score for the label model: fine where takeovers are.
pub(crate) fn levels(scores: &[f64], labels: &[f64], most: usize) -> Vec<u8> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let total: f64 = labels.iter().sum();
    let mut borders = Vec::new();
    let mut sum = 0.0;
    for i in &order {
        sum += labels[*i];
        let want = total * (borders.len() + 1) as f64 / most as f64;
        if sum >= want && borders.len() + 1 < most {
            borders.push(scores[*i]);
        }
    }
    scores.iter().map(|s| (most - 1 - borders.iter().filter(|b| *s >= **b).count()) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Sample> {
        (0..4_000i64)
            .map(|k| {
                let taken = k % 100 == 0;
                let noise = (k.wrapping_mul(7_919) % 1_000) as f32 / 1_000.0;
                let mut features = [noise; FEATURES];
                features[0] = if taken { 2.0 + noise } else { noise };
                features[1] = ((k * 31) % 17) as f32;
                // One label in five of either kind is wrong.
                let label = if taken == (k % 500 != 0) { 0.9 } else { 0.02 };
                Sample { draw: k.unsigned_abs(), features, label }
            })
            .collect()
    }

    #[test]
    fn what_takeovers_share_is_learned_from_doubtful_labels() {
        let all = samples();
        let scores = scores(&all).unwrap();
        let lowest_taken =
            (0..all.len()).filter(|i| i % 100 == 0).map(|i| scores[i]).fold(f64::INFINITY, f64::min);
        let above = (0..all.len()).filter(|i| i % 100 > 0 && scores[*i] > lowest_taken).count();
        assert!(above < 40, "{above} benign episodes score above the lowest takeover");
    }

    #[test]
    fn levels_put_the_worst_first_and_split_the_takeovers() {
        let all = samples();
        let scores = scores(&all).unwrap();
        let labels: Vec<f64> = all.iter().map(|s| s.label).collect();
        let levels = levels(&scores, &labels, 8);
        assert!(levels.iter().max().unwrap() <= &7 && levels.contains(&0));
        let mean = |l: u8| {
            let of: Vec<f64> = (0..all.len()).filter(|i| levels[*i] == l).map(|i| scores[i]).collect();
            of.iter().sum::<f64>() / of.len() as f64
        };
        assert!(mean(0) > mean(7));
    }

    #[test]
    fn too_little_to_learn_from_is_said() {
        assert!(scores(&samples()[..100]).is_none());
        let none: Vec<Sample> = samples().into_iter().map(|s| Sample { label: 0.0, ..s }).collect();
        assert!(scores(&none).is_none());
    }
}
