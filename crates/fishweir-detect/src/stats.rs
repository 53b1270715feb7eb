//! Small statistics that several estimates share.

use statrs::distribution::{ContinuousCDF, DiscreteCDF, Poisson, StudentsT};

/// A value with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

const Z95: f64 = 1.959_963_985;

/// Returns the median and reorders the values; `None` when there are none.
#[must_use]
pub fn median(values: &mut [f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, mid, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let mid = *mid;
    if n % 2 == 1 {
        return Some(mid);
    }
    let other = below.iter().copied().max_by(f64::total_cmp)?;
    Some(f64::midpoint(mid, other))
}

/// Returns the 95 % Wilson score interval of `hits` out of `n`; `None` when `n` is 0.
///
/// # Source
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
#[must_use]
pub fn wilson(hits: f64, n: f64) -> Option<Bounds> {
    if n <= 0.0 || !n.is_finite() {
        return None;
    }
    let p = (hits / n).clamp(0.0, 1.0);
    let z2 = Z95 * Z95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some(Bounds { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

/// Returns an approximate 95 % interval of a Poisson mean from one count (Byar's approximation).
#[must_use]
pub fn poisson_bounds(count: f64) -> Bounds {
    let c = count.max(0.0);
    let low = if c > 0.0 { c * (1.0 - 1.0 / (9.0 * c) - Z95 / (3.0 * c.sqrt())).powi(3) } else { 0.0 };
    let d = c + 1.0;
    let high = d * (1.0 - 1.0 / (9.0 * d) + Z95 / (3.0 * d.sqrt())).powi(3);
    Bounds { low: low.max(0.0), high }
}

/// Returns the count that chance exceeds in one of forty cases where `mean` are expected: the upper end of 95 % of a Poisson
/// count that nobody sees. 0 for a mean that is no positive number.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a count")]
pub fn most_by_chance(mean: f64) -> f64 {
    const SHARE: f64 = 0.975;
    match Poisson::new(mean) {
        // WHY: the search of the library panics where its first value is the answer.
        Ok(p) if p.cdf(0) < SHARE => p.inverse_cdf(SHARE) as f64,
        _ => 0.0,
    }
}

/// Returns the probability that a standard normal value exceeds `z` (relative error below 10⁻⁷
/// for z ≥ 0 by Abramowitz and Stegun 26.2.17, with the Mills ratio beyond 6).
#[must_use]
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 6.0 {
        return density / z * (1.0 - 1.0 / (z * z));
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    density * poly
}

/// Returns which of several probabilities are discoveries at the false discovery rate `rate` when
/// `tests` hypotheses were looked at, those left out included; a probability that is not finite is none.
///
/// # Source
/// Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", 1995.
#[must_use]
pub fn discoveries(p: &[f64], tests: usize, rate: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).filter(|i| p[*i].is_finite()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    #[expect(clippy::cast_precision_loss, reason = "counts of tests")]
    let limit = |rank: usize| (rank + 1) as f64 / tests.max(1) as f64 * rate;
    let passed = (0..order.len()).rev().find(|k| p[order[*k]] <= limit(*k)).map_or(0, |k| k + 1);
    let mut out = vec![false; p.len()];
    for i in &order[..passed] {
        out[*i] = true;
    }
    out
}

/// Returns the logistic function.
#[must_use]
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns how many standard errors reach to either end of a 95 % interval with so many degrees of freedom (Student's t; one at
/// least); not a number where there is none.
#[must_use]
pub fn student_95(df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df.max(1.0)).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
        let w = wilson(8.0, 10.0).unwrap();
        assert!((w.low - 0.4902).abs() < 1e-3 && (w.high - 0.9433).abs() < 1e-3, "{w:?}");
        assert!(wilson(0.0, 0.0).is_none());
        let means = [0.0, 1e-9, 0.01, 0.25, 1.5, 10.0, 99.9, 100.0, f64::NAN];
        assert_eq!(means.map(most_by_chance), [0.0, 0.0, 0.0, 2.0, 4.0, 17.0, 120.0, 120.0, 0.0]);
        // Every mean has an answer, a larger one no smaller.
        let ends: Vec<f64> = (1..4_000).map(|m| most_by_chance(f64::from(m) / 40.0)).collect();
        assert!(ends.windows(2).all(|w| w[0] <= w[1]), "{ends:?}");
        assert!((most_by_chance(1e5) / (1e5 + 1.96 * 1e5_f64.sqrt()) - 1.0).abs() < 1e-4);
        let p = poisson_bounds(10.0);
        assert!((p.low - 4.79).abs() < 0.05 && (p.high - 18.39).abs() < 0.05, "{p:?}");
        assert!((normal_tail(1.96) - 0.024_997_9).abs() < 1e-6);
        assert!((normal_tail(0.0) - 0.5).abs() < 1e-6);
    }
}
