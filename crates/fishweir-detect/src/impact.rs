//! Whether a series really rose after an event.
//!
//! Three answers of different make: a regression on the logarithm with autoregressive errors, a
//! structural model (local level, days of the week) that carries on what was before, and the rank of
//! the change among changes at times when nothing happened. With a control series all three look at
//! the logarithm of the ratio to it, which takes out what both share.
//!
//! Sources: Turner et al. 2021, doi 10.1186/s12874-021-01364-0 (interrupted series with
//! autocorrelation); Brodersen et al. 2015, doi 10.1214/14-AOAS788 (structural counterfactual).

use nalgebra::{DMatrix, DVector};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A change with its interval, as a factor minus one: 0.5 is half more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Best estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided probability of at least this change without any effect.
    pub p: f64,
}

/// What three methods say about one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Impact {
    /// Regression with autoregressive errors.
    pub regression: Effect,
    /// Structural counterfactual.
    pub structural: Effect,
    /// Share of quiet times whose change was at least as large; `None` with fewer than 19 of them.
    pub placebo_time_p: Option<f64>,
    /// Share of other series whose change was at least as large; `None` with fewer than 19 of them.
    pub placebo_series_p: Option<f64>,
    /// Smallest change that would have been seen four times out of five.
    pub minimum_detectable: f64,
    /// Values before and after the event.
    pub n_before: usize,
    /// See `n_before`.
    pub n_after: usize,
    /// What the series would have been, from the structural model, over the whole time.
    #[serde(skip)]
    pub expected: Vec<f64>,
    /// Change after the event, as the difference of mean logarithms, and its like at quiet times before.
    #[serde(skip)]
    pub change_log: f64,
    /// See `change_log`; absolute values.
    #[serde(skip)]
    pub placebo_changes_log: Vec<f64>,
}

impl Impact {
    /// Returns whether the series changed: the regression says so, and the placebo in time or the
    /// structural model agrees.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.regression.p < 0.05
            && (self.structural.p < 0.05 || self.placebo_time_p.is_some_and(|p| p < 0.05))
    }

    /// Returns how many of the methods that could answer see a change at the 5 % level, and how many
    /// could.
    #[must_use]
    pub fn agreement(&self) -> (usize, usize) {
        let all =
            [Some(self.regression.p), Some(self.structural.p), self.placebo_time_p, self.placebo_series_p];
        let known: Vec<f64> = all.into_iter().flatten().filter(|p| p.is_finite()).collect();
        (known.iter().filter(|p| **p < 0.05).count(), known.len())
    }
}

/// Why no answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImpactError {
    /// Too little before the event.
    #[error("{found} values before the event, at least {needed} are needed")]
    TooFewBefore {
        /// Known values.
        found: usize,
        /// Least.
        needed: usize,
    },
    /// Too little after the event.
    #[error("{found} values after the event, at least {needed} are needed")]
    TooFewAfter {
        /// Known values.
        found: usize,
        /// Least.
        needed: usize,
    },
    /// Series and control differ in length.
    #[error("series and control differ in length")]
    Lengths,
}

const BEFORE_MIN: usize = 28;
const AFTER_MIN: usize = 7;
const WEEK: usize = 7;
const AR: usize = 2;
const ROUNDS: usize = 8;
const PLACEBOS_MIN: usize = 19;
/// Normal quantiles of 97.5 % and 80 %.
const SEEN_Z: f64 = 1.96 + 0.84;

/// Returns what happened to daily values at `event` (index of the first day after it).
///
/// `others` are series that the event should not touch, for the placebo across series. Zero and
/// missing days are fine: half the smallest positive value is added before logarithms are taken,
/// NaN is skipped.
///
/// # Errors
/// Fewer than 28 known days before or 7 after.
pub fn impact(
    series: &[f64],
    control: Option<&[f64]>,
    event: usize,
    others: &[Vec<f64>],
) -> Result<Impact, ImpactError> {
    if control.is_some_and(|c| c.len() != series.len()) {
        return Err(ImpactError::Lengths);
    }
    let y = log_ratio(series, control);
    let known = |r: std::ops::Range<usize>| y[r].iter().filter(|v| v.is_finite()).count();
    let event = event.min(y.len());
    let (n_before, n_after) = (known(0..event), known(event..y.len()));
    if n_before < BEFORE_MIN {
        return Err(ImpactError::TooFewBefore { found: n_before, needed: BEFORE_MIN });
    }
    if n_after < AFTER_MIN {
        return Err(ImpactError::TooFewAfter { found: n_after, needed: AFTER_MIN });
    }
    let (regression, se) = regression(&y, event);
    let (structural, expected_log) = structural(&y, event);
    let size = change(&y, event, y.len() - event).abs();
    let placebo_series: Vec<f64> =
        others.iter().map(|o| change(&log_ratio(o, control), event, y.len() - event).abs()).collect();
    let base = control.map_or_else(|| vec![0.0; y.len()], |c| logs(c).0);
    let shift = logs(series).1;
    let expected = expected_log.iter().zip(&base).map(|(e, b)| (e + b).exp() - shift).collect();
    let quiet = quiet_changes(&y[..event], y.len() - event);
    Ok(Impact {
        regression,
        structural,
        placebo_time_p: rank(size, &quiet),
        placebo_series_p: rank(size, &placebo_series),
        minimum_detectable: (SEEN_Z * se).exp_m1(),
        n_before,
        n_after,
        expected,
        change_log: size,
        placebo_changes_log: quiet.into_iter().filter(|q| q.is_finite()).collect(),
    })
}

// Logarithms, and the amount added before.
fn logs(values: &[f64]) -> (Vec<f64>, f64) {
    let least = values.iter().copied().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
    let any_zero = values.contains(&0.0);
    let shift = if any_zero && least.is_finite() { least / 2.0 } else { 0.0 };
    (
        values.iter().map(|v| (v + shift).ln()).map(|v| if v.is_finite() { v } else { f64::NAN }).collect(),
        shift,
    )
}

fn log_ratio(series: &[f64], control: Option<&[f64]>) -> Vec<f64> {
    let mut y = logs(series).0;
    if let Some(c) = control {
        for (a, b) in y.iter_mut().zip(logs(c).0) {
            *a -= b;
        }
    }
    y
}

fn effect(beta: f64, se: f64, df: f64) -> Effect {
    let t = StudentsT::new(0.0, 1.0, df.max(1.0));
    let (half, p) = match &t {
        Ok(t) => (t.inverse_cdf(0.975) * se, 2.0 * (1.0 - t.cdf((beta / se).abs()))),
        Err(_) => (f64::NAN, f64::NAN),
    };
    Effect { value: beta.exp_m1(), low: (beta - half).exp_m1(), high: (beta + half).exp_m1(), p }
}

// Level, trend, days of the week, step: with autoregressive errors (Cochrane and Orcutt, repeated).
#[expect(clippy::cast_precision_loss, reason = "days")]
fn regression(y: &[f64], event: usize) -> (Effect, f64) {
    let n = y.len();
    let columns = 2 + (WEEK - 1) + 1;
    let row = |t: usize| -> Vec<f64> {
        let mut r = vec![1.0, t as f64 / n as f64];
        r.extend((1..WEEK).map(|d| f64::from(u8::from(t % WEEK == d))));
        r.push(f64::from(u8::from(t >= event)));
        r
    };
    let mut phi = [0.0; AR];
    let mut out = (0.0, 1.0, 1.0);
    for _ in 0..ROUNDS {
        // Whitened rows; a gap breaks the chain.
        let mut x = Vec::new();
        let mut z = Vec::new();
        for t in AR..n {
            if (0..=AR).any(|k| !y[t - k].is_finite()) {
                continue;
            }
            let mut r = row(t);
            let mut v = y[t];
            for (k, p) in phi.iter().enumerate() {
                for (a, b) in r.iter_mut().zip(row(t - k - 1)) {
                    *a -= p * b;
                }
                v -= p * y[t - k - 1];
            }
            x.extend(r);
            z.push(v);
        }
        let rows = z.len();
        let x = DMatrix::from_row_slice(rows, columns, &x);
        let z = DVector::from_vec(z);
        let Some(inverse) = (x.transpose() * &x).try_inverse() else { break };
        let beta = &inverse * x.transpose() * &z;
        let residual = &z - &x * &beta;
        let df = (rows as f64 - (columns + AR) as f64).max(1.0);
        let variance = residual.norm_squared() / df;
        let step = columns - 1;
        out = (beta[step], (variance * inverse[(step, step)]).sqrt(), df);
        // New coefficients from the unwhitened residuals.
        let errors: Vec<f64> =
            (0..n).map(|t| y[t] - row(t).iter().zip(beta.iter()).map(|(a, b)| a * b).sum::<f64>()).collect();
        let next = yule_walker(&errors, columns);
        if next.iter().zip(phi).all(|(a, b)| (a - b).abs() < 1e-6) {
            break;
        }
        phi = next;
    }
    (effect(out.0, out.1, out.2), out.1)
}

// Autoregressive coefficients; estimated residuals look less related than the errors are, so the
// correlations are raised by what the fit of so many columns takes away on average.
#[expect(clippy::cast_precision_loss, reason = "days")]
fn yule_walker(e: &[f64], columns: usize) -> [f64; AR] {
    let product = |lag: usize| -> f64 {
        let (mut sum, mut n) = (0.0, 0.0);
        for t in lag..e.len() {
            if e[t].is_finite() && e[t - lag].is_finite() {
                sum += e[t] * e[t - lag];
                n += 1.0;
            }
        }
        if n > 0.0 { sum / n } else { 0.0 }
    };
    let c0 = product(0);
    if c0 <= 0.0 {
        return [0.0; AR];
    }
    let lift = columns as f64 / e.len() as f64;
    let r1 = (product(1) / c0 + lift).clamp(-0.98, 0.98);
    let r2 = (product(2) / c0 + lift).clamp(-0.98, 0.98);
    let denominator = 1.0 - r1 * r1;
    [r1 * (1.0 - r2) / denominator, (r2 - r1 * r1) / denominator]
}

const STATES: usize = 1 + (WEEK - 1) + 1;

// Local level, fixed days of the week, a step: the filtered step is the effect given the variances,
// which come from the time before alone.
fn structural(y: &[f64], event: usize) -> (Effect, Vec<f64>) {
    let fit = |ratio: f64| filter(&y[..event], event, ratio).likelihood;
    // The ratio of level to observation variance, by golden section over its logarithm.
    let (mut low, mut high) = (-12.0_f64, 2.0_f64);
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..40 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if fit(a.exp()) > fit(b.exp()) { high = b } else { low = a }
    }
    let ratio = f64::midpoint(low, high).exp();
    let variance = filter(&y[..event], event, ratio).variance;
    let whole = filter(y, event, ratio);
    let step = STATES - 1;
    let se = (whole.covariance[(step, step)] * variance).sqrt();
    #[expect(clippy::cast_precision_loss, reason = "days")]
    let df = (event as f64 - STATES as f64).max(1.0);
    (effect(whole.state[step], se, df), whole.expected)
}

struct Filtered {
    likelihood: f64,
    variance: f64,
    state: DVector<f64>,
    covariance: DMatrix<f64>,
    expected: Vec<f64>,
}

// Kalman filter with the observation variance concentrated out.
fn filter(y: &[f64], event: usize, ratio: f64) -> Filtered {
    let mut state = DVector::zeros(STATES);
    state[0] = y.iter().copied().find(|v| v.is_finite()).unwrap_or(0.0);
    let mut covariance = DMatrix::identity(STATES, STATES) * 100.0;
    let (mut sum, mut logs, mut n) = (0.0, 0.0, 0.0);
    let mut expected = Vec::with_capacity(y.len());
    for (t, v) in y.iter().enumerate() {
        let mut h = DVector::zeros(STATES);
        h[0] = 1.0;
        if t % WEEK > 0 {
            h[t % WEEK] = 1.0;
        }
        // Without the step: what would have been.
        expected.push(h.dot(&state));
        h[STATES - 1] = f64::from(u8::from(t >= event));
        covariance[(0, 0)] += ratio;
        if !v.is_finite() {
            continue;
        }
        let ph = &covariance * &h;
        let f = h.dot(&ph) + 1.0;
        let innovation = v - h.dot(&state);
        let gain = &ph / f;
        state += &gain * innovation;
        covariance -= &gain * ph.transpose();
        // The first days only fill the state.
        if t >= STATES {
            sum += innovation * innovation / f;
            logs += f.ln();
            n += 1.0;
        }
    }
    let variance = if n > 0.0 { sum / n } else { f64::NAN };
    Filtered { likelihood: -0.5 * (n * variance.ln() + logs), variance, state, covariance, expected }
}

// Mean after an event against the mean of as many days before, whole weeks only.
fn change(y: &[f64], event: usize, after: usize) -> f64 {
    let span = if after >= WEEK { after / WEEK * WEEK } else { after };
    let mean = |r: &[f64]| -> f64 {
        let known: Vec<f64> = r.iter().copied().filter(|v| v.is_finite()).collect();
        #[expect(clippy::cast_precision_loss, reason = "days")]
        let n = known.len() as f64;
        known.iter().sum::<f64>() / n
    };
    let from = event.saturating_sub(span);
    mean(&y[event..(event + span).min(y.len())]) - mean(&y[from..event])
}

// Changes of the same length at every day of the quiet time that leaves room for them.
fn quiet_changes(quiet: &[f64], after: usize) -> Vec<f64> {
    let last = quiet.len().saturating_sub(after);
    (after..=last).map(|t| change(quiet, t, after).abs()).filter(|c| c.is_finite()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "placebos")]
fn rank(size: f64, placebos: &[f64]) -> Option<f64> {
    let known: Vec<f64> = placebos.iter().copied().filter(|p| p.is_finite()).collect();
    (known.len() >= PLACEBOS_MIN && size.is_finite())
        .then(|| (1 + known.iter().filter(|p| **p >= size).count()) as f64 / (known.len() + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::discoveries;

    // A reproducible walk: autoregressive noise on a weekly pattern, and a control that shares half.
    fn world(seed: u64, days: usize, event: usize, lift: f64) -> (Vec<f64>, Vec<f64>) {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut normal = move || {
            (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ((state >> 11) as f64) / (1u64 << 53) as f64
                })
                .sum::<f64>()
                - 6.0
        };
        let (mut shared, mut own) = (0.0, 0.0);
        let (mut y, mut c) = (Vec::new(), Vec::new());
        for t in 0..days {
            shared = 0.6 * shared + 0.2 * normal();
            own = 0.4 * own + 0.2 * normal();
            let week = 0.2 * f64::from(u8::from(t % 7 > 4));
            let step = if t >= event { (1.0 + lift).ln() } else { 0.0 };
            y.push((5.0 + shared + own + week + step).exp());
            c.push((6.0 + shared + week + 0.1 * normal()).exp());
        }
        (y, c)
    }

    #[test]
    fn a_doubling_is_seen_and_its_size_is_right() {
        let (y, c) = world(1, 200, 172, 1.0);
        let i = impact(&y, Some(&c), 172, &[]).unwrap();
        for e in [i.regression, i.structural] {
            assert!(e.p < 0.01 && e.low < 1.0 && e.high > 1.0, "{e:?}");
        }
        assert!(i.placebo_time_p.unwrap() < 0.05, "{:?}", i.placebo_time_p);
        assert!(i.minimum_detectable > 0.05 && i.minimum_detectable < 1.0, "{}", i.minimum_detectable);
        assert_eq!(i.expected.len(), 200);
        let after: f64 = i.expected[180..].iter().sum::<f64>() / y[180..].iter().sum::<f64>();
        assert!((0.3..0.8).contains(&after), "{after}");
    }

    #[test]
    fn nothing_is_mostly_seen_as_nothing() {
        let false_alarms = (0..40)
            .filter(|s| impact(&world(*s, 200, 172, 0.0).0, None, 172, &[]).unwrap().regression.p < 0.05);
        assert!(false_alarms.count() <= 6);
    }

    #[test]
    fn too_little_is_an_error_and_gaps_are_not() {
        let (mut y, c) = world(3, 100, 80, 0.5);
        assert!(matches!(impact(&y[..30], None, 10, &[]), Err(ImpactError::TooFewBefore { .. })));
        assert!(matches!(impact(&y[..84], None, 80, &[]), Err(ImpactError::TooFewAfter { .. })));
        assert!(matches!(impact(&y, Some(&c[..50]), 80, &[]), Err(ImpactError::Lengths)));
        y[40] = f64::NAN;
        y[41] = 0.0;
        assert!(impact(&y, Some(&c), 80, &[]).unwrap().regression.value.is_finite());
        assert_eq!(discoveries(&[0.01, 0.04, 0.9], 3, 0.05), [true, false, false]);
        assert_eq!(discoveries(&[0.01, 0.03, f64::NAN], 3, 0.05), [true, true, false]);
    }
}
