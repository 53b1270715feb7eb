//! Whether one stretch of days lies above another.

use serde::Serialize;

use crate::stats::student_95;

/// The mean of one stretch over that of another, minus one, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Mean day of the first stretch.
    pub mean: f64,
    /// Mean day of the second.
    pub other: f64,
    /// Known days of the first.
    pub days: usize,
    /// Known days of the second.
    pub other_days: usize,
    /// Best estimate of the change: 0.5 is half more.
    pub change: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Difference {
    /// Returns whether the interval leaves out no change at all.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

const DAYS_MIN: usize = 4;
/// Days resemble their neighbours; more than this is not taken from so few of them.
const MEMORY_MAX: f64 = 0.9;

/// Returns the difference between two stretches of daily values; NaN is a day that is not known.
///
/// The interval is Welch's on the logarithm of the means, with as many days as neighbouring days that
/// resemble each other are worth.
///
/// # Errors
/// Fewer than four known days, or a mean that is not above 0.
pub fn difference(days: &[f64], other: &[f64]) -> Result<Difference, String> {
    let (a, b) = (Stretch::of(days), Stretch::of(other));
    for (name, s) in [("first", &a), ("second", &b)] {
        if s.days < DAYS_MIN {
            return Err(format!("the {name} period has {} known days, {DAYS_MIN} are needed", s.days));
        }
        if s.mean <= 0.0 {
            return Err(format!("nothing was counted in the {name} period, so there is no ratio"));
        }
    }
    let (va, vb) = (a.relative_variance(), b.relative_variance());
    let se = (va + vb).sqrt();
    let df = if se > 0.0 {
        (va + vb).powi(2) / (va.powi(2) / (a.worth - 1.0).max(1.0) + vb.powi(2) / (b.worth - 1.0).max(1.0))
    } else {
        1.0
    };
    let half = student_95(df) * se;
    let log = (a.mean / b.mean).ln();
    Ok(Difference {
        mean: a.mean,
        other: b.mean,
        days: a.days,
        other_days: b.days,
        change: log.exp_m1(),
        low: (log - half).exp_m1(),
        high: (log + half).exp_m1(),
    })
}

struct Stretch {
    days: usize,
    mean: f64,
    variance: f64,
    worth: f64,
}

impl Stretch {
    #[expect(clippy::cast_precision_loss, reason = "days")]
    fn of(all: &[f64]) -> Self {
        let known: Vec<f64> = all.iter().copied().filter(|v| v.is_finite()).collect();
        let n = known.len() as f64;
        let mean = known.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = known.iter().map(|v| (v - mean).powi(2)).sum();
        let products: f64 = known.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
        let memory = if squares > 0.0 { (products / squares).clamp(0.0, MEMORY_MAX) } else { 0.0 };
        Self {
            days: known.len(),
            mean,
            variance: squares / (n - 1.0).max(1.0),
            worth: (n * (1.0 - memory) / (1.0 + memory)).max(1.0),
        }
    }

    fn relative_variance(&self) -> f64 {
        self.variance / self.worth / self.mean.powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_change_is_clear_and_noise_is_not() {
        let low: Vec<f64> = (0..14).map(|d| 100.0 + f64::from(d % 3)).collect();
        let high: Vec<f64> = low.iter().map(|v| 2.0 * v).collect();
        let d = difference(&high, &low).unwrap();
        assert!(d.is_clear() && (d.change - 1.0).abs() < 1e-9 && d.low > 0.9 && d.high < 1.1, "{d:?}");
        assert!(!difference(&low, &low).unwrap().is_clear());
        assert!(difference(&[1.0, 2.0], &low).unwrap_err().contains("first"));
        assert!(difference(&low, &[0.0; 9]).unwrap_err().contains("second"));
    }

    #[test]
    fn days_that_resemble_each_other_count_for_less() {
        let walk: Vec<f64> = (0..28).map(|d| 100.0 + 40.0 * (f64::from(d) / 9.0).sin()).collect();
        let mixed: Vec<f64> = (0..28).map(|d| walk[(d * 11) % 28]).collect();
        let flat = [100.0, 101.0, 99.0, 100.0, 101.0, 99.0, 100.0];
        let (a, b) = (difference(&walk, &flat).unwrap(), difference(&mixed, &flat).unwrap());
        assert!(a.high - a.low > b.high - b.low, "{a:?} {b:?}");
    }
}
