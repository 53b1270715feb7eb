//! Bursts in sparse counts: a scan statistic over windows of one minute to half an hour.
//!
//! Where a route sees a few requests a minute, no single minute proves anything, but ten in a row
//! do. The expectation is the usual rate at this time of day (half-hour bins, a week of memory)
//! times the level of the last two hours; the test is the variance-stabilised difference between
//! seen and expected, divided by the over-dispersion that the series itself has shown at that
//! window and by what the first days leave open about the usual rate. Everything at a minute follows from minutes before it.
//!
//! Source: Glaz, Naus, Wallenstein, *Scan Statistics* (2001); Anscombe's transform (1948).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::arrivals::Alarm;
use crate::detector::{Point, Surge};

/// Settings of the scan. Defaults are in `Default` and documented per field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScanConfig {
    /// Standard scores that open a burst. Default 6.5.
    pub open_z: f64,
    /// Requests above expectation, within the window, below which nothing opens. Default 12.
    pub excess_min: f64,
    /// Minutes without a new high that close a burst, at least. Default 10.
    pub close_after_min: usize,
    /// Minutes of the recent level. Default 120.
    pub level_min: usize,
    /// Days that the usual rate remembers. Default 7.
    pub memory_days: f64,
    /// Newcomers within ten minutes below which they open nothing. Default 5.
    pub arrivals_min: f64,
    /// Standard scores, by the tail of their count, with which newcomers open a burst. Default 5.6.
    pub arrivals_z: f64,
}

impl Default for ScanConfig {
    fn default() -> Self {
        Self {
            open_z: 6.5,
            excess_min: 12.0,
            close_after_min: 10,
            level_min: 120,
            memory_days: 7.0,
            arrivals_min: 5.0,
            arrivals_z: 5.6,
        }
    }
}

pub(crate) const WINDOWS: [usize; 4] = [1, 3, 10, 30];
const BIN: usize = 30;
const BINS: usize = 48;
pub(crate) const DAY: usize = 1_440;
/// Minutes of data before which nothing opens: an evening is only known once one has been seen.
pub(crate) const WARM_UP: usize = DAY;
const LEVEL_PRIOR: f64 = 20.0;
const DISPERSION_FLOOR: f64 = 1.2;
const DISPERSION_MEMORY: f64 = 3_000.0;
/// By how much of it the usual rate may be off that one day has taught; less with every further day.
const USUAL_ERROR: f64 = 0.25;
/// How far above what is known one minute may teach: a burst that did not open must not hide the next one.
const DISPERSION_STEP: f64 = 4.0;
/// Minutes of data after which the first days may be judged by themselves: before, who is at home is hardly known.
const FIRST_HOURS: usize = 8 * 60;
/// Requests above expectation that newcomers must have brought to open a burst.
const ALARM_EXCESS: f64 = 4.0;
/// Attack requests that an open burst waits for before it is given up.
const PATIENCE: f64 = 8.0;

/// Returns the bursts of a series of counts per minute, by start; NaN means no data.
///
/// Points carry expectation and band (± 3 standard deviations) of their minute; `peak_z` is the
/// highest score of any window. Nothing opens before a day of data.
#[must_use]
pub fn scan_bursts(series: usize, counts: &[f64], config: &ScanConfig) -> Vec<Surge> {
    scan_alarmed(series, counts, &[], config)
}

/// Returns the bursts of a series like [`scan_bursts`], with those that only an alarm over newcomers opens; alarms by time.
#[must_use]
pub fn scan_alarmed(series: usize, counts: &[f64], alarms: &[Alarm], config: &ScanConfig) -> Vec<Surge> {
    let mut s = BurstScan::new(series, config.clone());
    let mut alarms = alarms.iter().peekable();
    for (t, k) in counts.iter().enumerate() {
        s.take(*k, alarms.next_if(|a| a.minute == t));
    }
    s.finish(counts.len())
}

/// Returns the bursts of the first days of a series, from midnight, by start, like [`scan_bursts`] but with the usual rate
/// of each half hour taken from all these days: the lower median of their means, so that a flood on one of them is not usual.
/// Nothing opens within the first eight hours of data, nor at all before a second day has begun.
#[must_use]
pub fn scan_first_days(series: usize, counts: &[f64], config: &ScanConfig) -> Vec<Surge> {
    let Some(mut s) = BurstScan::taught(series, counts, config.clone()) else { return Vec::new() };
    for k in counts {
        s.tick(*k);
    }
    s.finish(counts.len())
}

// Requests that a minute must bring to speak for an extra rate rather than for the usual one: where
// the likelihoods of the two are equal.
fn toll(rate: f64, expected: f64) -> f64 {
    rate / (rate / expected.max(0.02)).ln_1p()
}

// Requests a minute that are looked for where a window shows so many too many: a quarter of them, so that a
// ramp belongs to it.
#[expect(clippy::cast_precision_loss, reason = "minutes")]
fn sought(excess: f64, window: usize) -> f64 {
    (excess / WINDOWS[window] as f64).max(0.05) / 4.0
}

/// What the minutes before and the one that has begun say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeekBack {
    /// Standard score.
    pub z: f64,
    /// Requests above expectation in the window.
    pub excess: f64,
    /// Whole minutes before this one in which it had begun already.
    pub minutes: usize,
}

#[derive(Clone, Copy, Default)]
struct Bin {
    mean: f64,
    days: f64,
    sum: f64,
    minutes: f64,
}

struct Open {
    start: usize,
    noticed: usize,
    enough: f64,
    end: usize,
    peak_z: f64,
    /// Requests a minute that the running sum looks for; the end is its last maximum.
    rate: f64,
    sum: f64,
    best: f64,
    patience: usize,
}

/// Follows one series of counts minute by minute.
pub struct BurstScan {
    series: usize,
    config: ScanConfig,
    bins: [Bin; BINS],
    seen: usize,
    counts: Vec<f64>,
    expected: Vec<f64>,
    counted: Vec<f64>,
    expected_sum: Vec<f64>,
    level: VecDeque<(f64, f64)>,
    level_sums: (f64, f64),
    ratio: f64,
    dispersion: [f64; WINDOWS.len()],
    open: Option<Open>,
    blocked_until: usize,
    out: Vec<Surge>,
}

impl BurstScan {
    /// Returns a scan that has seen nothing yet.
    #[must_use]
    pub fn new(series: usize, config: ScanConfig) -> Self {
        Self {
            series,
            config,
            bins: [Bin::default(); BINS],
            seen: 0,
            counts: Vec::new(),
            expected: Vec::new(),
            counted: vec![0.0],
            expected_sum: vec![0.0],
            level: VecDeque::new(),
            level_sums: (0.0, 0.0),
            ratio: 1.0,
            dispersion: [DISPERSION_FLOOR; WINDOWS.len()],
            open: None,
            blocked_until: 0,
            out: Vec::new(),
        }
    }

    // A scan that knows from the start what is usual on the days to come; `None` where there is one day only.
    #[expect(clippy::cast_precision_loss, reason = "minutes and days")]
    fn taught(series: usize, counts: &[f64], config: ScanConfig) -> Option<Self> {
        let mut means = vec![Vec::new(); BINS];
        for (i, piece) in counts.chunks(BIN).enumerate() {
            let known: Vec<f64> = piece.iter().copied().filter(|k| !k.is_nan()).collect();
            if !known.is_empty() {
                means[i % BINS].push(known.iter().sum::<f64>() / known.len() as f64);
            }
        }
        if means.iter().all(|m| m.len() < 2) {
            return None;
        }
        let mut scan = Self::new(series, config);
        for (bin, means) in scan.bins.iter_mut().zip(&mut means) {
            means.sort_by(f64::total_cmp);
            bin.mean = means.get(means.len().saturating_sub(1) / 2).copied().unwrap_or(0.0);
            bin.days = means.len() as f64;
        }
        // As sure as after one day.
        scan.seen = WARM_UP;
        scan.blocked_until = counts.iter().position(|k| !k.is_nan())? + FIRST_HOURS;
        Some(scan)
    }

    /// Takes the count of the next minute; NaN means no data.
    pub fn tick(&mut self, count: f64) {
        self.take(count, None);
    }

    fn take(&mut self, count: f64, alarm: Option<&Alarm>) {
        let t = self.counts.len();
        let known = !count.is_nan();
        let usual = self.usual(t);
        let expected = if known { (usual * self.ratio).max(0.0) } else { 0.0 };
        let k = if known { count } else { 0.0 };
        self.counts.push(k);
        self.expected.push(expected);
        self.counted.push(self.counted[t] + k);
        self.expected_sum.push(self.expected_sum[t] + expected);
        if !known {
            return;
        }
        self.seen += 1;
        let ready = self.seen > WARM_UP;
        let scores = self.scores(t);
        match self.open {
            Some(_) => self.follow(t, k, expected, &scores),
            None if ready && k > 0.0 && t >= self.blocked_until => self.maybe_open(t, &scores, alarm),
            None => {}
        }
        if self.open.is_none() {
            self.learn(t, k, usual, &scores, ready);
        }
    }

    /// Returns the score of the last seconds, `part` of a minute, and what was expected of them, as if a
    /// minute ended now; `None` before a day of data or where a burst has just ended.
    #[must_use]
    pub fn peek(&self, count: f64, part: f64) -> Option<(f64, f64)> {
        let expected = self.expected_now(part)?;
        Some((self.z(0, count, expected), expected))
    }

    /// Returns score and expectation like [`Self::peek`], the score from the likelihood of the count: sharper than the
    /// other where hardly anything is expected, and quick to answer there, so only for what seldom comes by chance.
    /// `besides` is expected besides what the series expects.
    #[must_use]
    pub fn peek_rare(&self, count: f64, part: f64, besides: f64) -> Option<(f64, f64)> {
        let expected = self.expected_now(part)? + besides;
        let mu = expected.max(0.1);
        let deviance = 2.0 * (count * (count.max(1e-9) / mu).ln() - (count - mu));
        let z = if count > mu { (deviance / self.spread(0, mu)).sqrt() } else { 0.0 };
        Some((z, expected))
    }

    /// Returns the highest score of the windows longer than a minute that end now; `count` came in the
    /// `part` of the minute that has begun. `None` as in [`Self::peek`], and where no window holds `excess_min`.
    #[must_use]
    pub fn peek_back(&self, count: f64, part: f64) -> Option<PeekBack> {
        let begun = self.expected_now(part)?;
        let t = self.counts.len();
        let one = |i: usize| {
            let from = (t + 1).saturating_sub(WINDOWS[i]);
            let k = count + self.counted[t] - self.counted[from];
            let mu = begun + self.expected_sum[t] - self.expected_sum[from];
            (k - mu >= self.config.excess_min).then(|| (self.z(i, k, mu), k - mu, i))
        };
        let (z, excess, i) = (1..WINDOWS.len()).filter_map(one).max_by(|a, b| a.0.total_cmp(&b.0))?;
        let rate = sought(excess, i);
        let (start, _) = self.began(t, i, rate, count - toll(rate, begun));
        Some(PeekBack { z, excess, minutes: t - start })
    }

    // What is usual for `part` of the minute that has begun.
    fn expected_now(&self, part: f64) -> Option<f64> {
        let t = self.counts.len();
        let ready = self.seen > WARM_UP && t >= self.blocked_until;
        ready.then(|| (self.usual(t) * self.ratio * part).max(0.0))
    }

    /// Returns the first and the last minute so far of an open burst.
    #[must_use]
    pub fn open(&self) -> Option<(usize, usize)> {
        self.open.as_ref().map(|o| (o.start, o.end))
    }

    fn z(&self, window: usize, k: f64, mu: f64) -> f64 {
        2.0 * ((k + 0.375).sqrt() - (mu + 0.375).sqrt()) / self.spread(window, mu).sqrt()
    }

    // Variance of the transformed count: what the series showed, and what one or two days leave open about
    // how much is usual. Later the first holds the second.
    #[expect(clippy::cast_precision_loss, reason = "days of history")]
    fn spread(&self, window: usize, mu: f64) -> f64 {
        let open = USUAL_ERROR * DAY as f64 / self.seen.max(1) as f64;
        self.dispersion[window] + open.powi(2) * mu
    }

    // Usual requests of this minute of the day, between the centres of neighbouring bins.
    #[expect(clippy::cast_precision_loss, reason = "minutes of a day")]
    fn usual(&self, t: usize) -> f64 {
        let at = (t % DAY) as f64 / BIN as f64 - 0.5;
        let left = at.floor();
        let part = at - left;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin of the day")]
        let i = (left.rem_euclid(BINS as f64)) as usize;
        let (a, b) = (self.bins[i % BINS], self.bins[(i + 1) % BINS]);
        match (a.days > 0.0, b.days > 0.0) {
            (true, true) => a.mean * (1.0 - part) + b.mean * part,
            (true, false) => a.mean,
            (false, true) => b.mean,
            // The first day: what has been seen so far.
            (false, false) => {
                let (sum, n) = self.bins.iter().fold((0.0, 0.0), |x, b| (x.0 + b.sum, x.1 + b.minutes));
                if n > 0.0 { sum / n } else { 0.0 }
            }
        }
    }

    // Score, seen and expected of each window that ends here. WHY not the likelihood of the count, which would answer a third
    // sooner where little is expected: a dozen clicks of one visitor opened seven to ten times as many bursts then, on worlds
    // of thirty days.
    fn scores(&self, t: usize) -> [(f64, f64, f64); WINDOWS.len()] {
        std::array::from_fn(|i| {
            let from = (t + 1).saturating_sub(WINDOWS[i]);
            let k = self.counted[t + 1] - self.counted[from];
            let mu = self.expected_sum[t + 1] - self.expected_sum[from];
            (self.z(i, k, mu), k, mu)
        })
    }

    fn maybe_open(&mut self, t: usize, scores: &[(f64, f64, f64); WINDOWS.len()], alarm: Option<&Alarm>) {
        let proven = (0..WINDOWS.len())
            .filter(|i| {
                let (z, k, mu) = scores[*i];
                z >= self.config.open_z && k - mu >= self.config.excess_min
            })
            .max_by(|a, b| scores[*a].0.total_cmp(&scores[*b].0));
        let alarm = alarm.filter(|a| scores[a.window].1 - scores[a.window].2 >= ALARM_EXCESS);
        let Some(i) = proven.or(alarm.map(|a| a.window)) else { return };
        let (z, k, mu) = scores[i];
        let peak_z = alarm.map_or(z, |a| a.z.max(z));
        let rate = sought(k - mu, i);
        let (start, best) = self.began(t, i, rate, self.counts[t] - toll(rate, self.expected[t]));
        let whole = 4.0 * rate;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes")]
        let patience = ((PATIENCE / whole) as usize).clamp(self.config.close_after_min, 60);
        // Who came by an alarm is not counted apart: the last request of its minute was enough.
        let enough = if proven.is_some() { self.enough(t, scores) } else { self.counts[t].ceil() };
        self.open = Some(Open { start, noticed: t, enough, end: t, peak_z, rate, sum: best, best, patience });
    }

    // Requests of minute `t` with which one of the windows that end with it stands out, the others of the window given:
    // the score solved for the count.
    fn enough(&self, t: usize, scores: &[(f64, f64, f64); WINDOWS.len()]) -> f64 {
        let now = self.counts[t];
        let of = |(i, (_, k, mu)): (usize, &(f64, f64, f64))| {
            let root = self.config.open_z * self.spread(i, *mu).sqrt() / 2.0 + (mu + 0.375).sqrt();
            let in_window = (root.powi(2) - 0.375).max(mu + self.config.excess_min);
            in_window - (k - now)
        };
        scores.iter().enumerate().map(of).fold(now, f64::min).ceil().max(1.0)
    }

    // The minute up to `t` from which on the likelihood of a change is highest, and the sum that it reaches;
    // `last` is what minute `t` adds.
    fn began(&self, t: usize, window: usize, rate: f64, last: f64) -> (usize, f64) {
        let from = (t + 1).saturating_sub(2 * WINDOWS[window]).max(self.blocked_until);
        let (mut sum, mut start, mut best) = (last, t, last);
        for m in (from..t).rev() {
            sum += self.counts[m] - toll(rate, self.expected[m]);
            if sum > best {
                (best, start) = (sum, m);
            }
        }
        (start, best)
    }

    fn follow(&mut self, t: usize, k: f64, expected: f64, scores: &[(f64, f64, f64); WINDOWS.len()]) {
        let Some(open) = &mut self.open else { return };
        open.sum += k - toll(open.rate, expected);
        open.peak_z = scores.iter().map(|s| s.0).fold(open.peak_z, f64::max);
        if open.sum > open.best && k > 0.0 {
            (open.best, open.end) = (open.sum, t);
        }
        if t - open.end >= open.patience {
            self.close(false);
        }
    }

    fn close(&mut self, open: bool) {
        let Some(o) = self.open.take() else { return };
        let spread = self.dispersion[0];
        let points = (o.start..=o.end)
            .map(|m| {
                let (observed, expected) = (self.counts[m], self.expected[m]);
                let sd = (spread * expected.max(0.25)).sqrt();
                let band = ((expected - 3.0 * sd).max(0.0), expected + 3.0 * sd);
                Point { minute: m, observed, expected, band, z: (observed - expected) / sd }
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "minutes of history")]
        let history_weeks = self.seen as f64 / (7 * DAY) as f64;
        self.blocked_until = o.end + 1;
        // What belongs to this burst must not open the next one: its minutes count as usual from now.
        for m in o.start..self.counts.len() {
            let k = if m <= o.end { self.expected[m] } else { self.counts[m] };
            self.counted[m + 1] = self.counted[m] + k;
        }
        self.out.push(Surge {
            series: self.series,
            start: o.start,
            noticed: o.noticed,
            enough: Some(o.enough),
            end: o.end,
            open,
            peak_z: o.peak_z,
            history_weeks,
            points,
        });
    }

    // Ordinary minutes teach the usual rate, the level and the over-dispersion.
    fn learn(
        &mut self,
        t: usize,
        k: f64,
        usual: f64,
        scores: &[(f64, f64, f64); WINDOWS.len()],
        ready: bool,
    ) {
        let bin = &mut self.bins[(t % DAY) / BIN];
        bin.sum += k;
        bin.minutes += 1.0;
        if (t + 1).is_multiple_of(BIN) {
            for (n, bin) in self.bins.iter_mut().enumerate() {
                let ended = n == (t % DAY) / BIN;
                if ended && bin.minutes > 0.0 {
                    let weight = 1.0 / (bin.days + 1.0).min(self.config.memory_days);
                    bin.mean += weight * (bin.sum / bin.minutes - bin.mean);
                    (bin.days, bin.sum, bin.minutes) = (bin.days + 1.0, 0.0, 0.0);
                }
            }
        }
        self.level.push_back((k, usual));
        self.level_sums = (self.level_sums.0 + k, self.level_sums.1 + usual);
        if self.level.len() > self.config.level_min
            && let Some((old_k, old_usual)) = self.level.pop_front()
        {
            self.level_sums = (self.level_sums.0 - old_k, self.level_sums.1 - old_usual);
        }
        self.ratio = ((self.level_sums.0 + LEVEL_PRIOR) / (self.level_sums.1 + LEVEL_PRIOR)).clamp(0.5, 4.0);
        if ready {
            for (i, (_, k, mu)) in scores.iter().enumerate() {
                let one = ((k - mu).powi(2) / (mu + 0.5)).min(DISPERSION_STEP * self.dispersion[i]);
                let next = self.dispersion[i] + (one - self.dispersion[i]) / DISPERSION_MEMORY;
                self.dispersion[i] = next.max(DISPERSION_FLOOR);
            }
        }
    }

    fn finish(mut self, length: usize) -> Vec<Surge> {
        if let Some(o) = &self.open {
            let still = length - o.end <= o.patience && length > 0;
            self.close(still);
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrivals::arrival_alarms;

    // Poisson counts from a small linear congruential generator: the same on every machine.
    fn counts(days: usize, rate: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut state = 7u64;
        let mut unit = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64) / (1u64 << 53) as f64
        };
        (0..days * DAY)
            .map(|t| {
                let (limit, mut p, mut k) = ((-rate(t)).exp(), unit(), 0.0);
                while p > limit {
                    p *= unit();
                    k += 1.0;
                }
                k
            })
            .collect()
    }

    fn daily(t: usize) -> f64 {
        0.6 + 0.5 * (t as f64 / DAY as f64 * std::f64::consts::TAU).sin()
    }

    #[test]
    fn a_quiet_month_stays_quiet() {
        assert!(scan_bursts(0, &counts(30, daily), &ScanConfig::default()).is_empty());
    }

    #[test]
    fn a_second_evening_that_is_a_quarter_busier_is_no_burst() {
        let evening = |t: usize| if t % DAY >= 18 * 60 { 25.0 } else { 8.0 };
        let grown = |t: usize| evening(t) * if t >= DAY { 1.3 } else { 1.0 };
        // The level of the last two hours is that of a quiet day; the evening is not.
        let quiet_morning = |t: usize| if t >= DAY && t % DAY < 18 * 60 { 7.0 } else { grown(t) };
        let found = scan_bursts(0, &counts(2, quiet_morning), &ScanConfig::default());
        assert!(found.is_empty(), "{found:?}");
        let with_flood = |t: usize| quiet_morning(t) + if (2_500..2_530).contains(&t) { 30.0 } else { 0.0 };
        assert_eq!(scan_bursts(0, &counts(2, with_flood), &ScanConfig::default()).len(), 1);
    }

    #[test]
    fn a_trickle_of_ten_minutes_is_found_with_start_and_end() {
        for (from, length, extra) in [(20_000, 10, 6.0), (25_000, 120, 3.0), (31_000, 3, 15.0)] {
            let inside = |t: usize| (from..from + length).contains(&t);
            let series = counts(30, |t| daily(t) + if inside(t) { extra } else { 0.0 });
            let found = scan_bursts(3, &series, &ScanConfig::default());
            assert_eq!(found.len(), 1, "{from}: {found:?}");
            let f = &found[0];
            assert!(
                f.start.abs_diff(from) <= 6 && f.end.abs_diff(from + length - 1) <= 3,
                "{from}: {} {}",
                f.start,
                f.end
            );
            let excess: f64 = f.points.iter().map(|p| p.observed - p.expected).sum();
            let truth = extra * length as f64;
            assert!((excess / truth - 1.0).abs() < 0.35, "{excess} of {truth}");
        }
    }

    #[test]
    fn a_trickle_of_days_that_nobody_noticed_hides_no_burst() {
        let rate = |t: usize| {
            let trickle = if (10 * DAY..12 * DAY).contains(&t) && t.is_multiple_of(20) { 9.0 } else { 0.0 };
            daily(t) + trickle + if (13 * DAY..13 * DAY + 2).contains(&t) { 9.0 } else { 0.0 }
        };
        let found = scan_bursts(0, &counts(14, rate), &ScanConfig::default());
        assert!(found.iter().any(|f| f.start.abs_diff(13 * DAY) <= 3), "{found:?}");
    }

    #[test]
    fn enough_requests_open_a_burst_and_one_less_does_not() {
        let config = ScanConfig::default();
        let all = counts(14, |t| daily(t) + if (13 * DAY..13 * DAY + 30).contains(&t) { 6.0 } else { 0.0 });
        let found = scan_bursts(0, &all, &config);
        let burst = found.iter().find(|f| f.start.abs_diff(13 * DAY) <= 3).unwrap();
        let (t, enough) = (burst.noticed, burst.enough.unwrap());
        assert!((1.0..=all[t]).contains(&enough), "{enough} of {}", all[t]);
        for (count, opens) in [(enough, true), (enough - 1.0, false)] {
            let cut: Vec<f64> = all[..t].iter().copied().chain([count]).collect();
            assert_eq!(scan_bursts(0, &cut, &config).iter().any(|f| f.noticed == t), opens, "{count}");
        }
    }

    #[test]
    fn what_the_end_of_a_minute_opens_was_seen_in_it() {
        let (from, config) = (20_000, ScanConfig::default());
        let series = counts(30, |t| daily(t) + if (from..from + 60).contains(&t) { 4.0 } else { 0.0 });
        let mut scan = BurstScan::new(0, config.clone());
        for (t, k) in series.iter().enumerate() {
            let back = scan.peek_back(*k, 1.0);
            scan.tick(*k);
            if let Some((start, _)) = scan.open() {
                let back = back.expect("a window longer than a minute");
                assert!(back.z >= config.open_z && back.excess >= config.excess_min, "{back:?}");
                assert_eq!((start, t - start), (t - back.minutes, back.minutes));
                assert!(t < from + 20, "{t}");
                return;
            }
            assert!(back.is_none_or(|b| b.z < config.open_z), "{t}: {back:?}");
        }
        panic!("never opened");
    }

    #[test]
    fn a_dozen_of_what_never_comes_is_told_at_once_and_a_dozen_of_many_is_not() {
        let feed = |k: f64| {
            let mut scan = BurstScan::new(0, ScanConfig::default());
            (0..3 * DAY).for_each(|_| scan.tick(k));
            scan
        };
        let (rare, busy) = (feed(0.0), feed(10.0));
        let z = |s: &BurstScan, k: f64| s.peek_rare(k, 1.0, 0.0).expect("three days").0;
        assert!(z(&rare, 12.0) > 8.0 && rare.peek(12.0, 1.0).expect("three days").0 < 7.0);
        assert!(z(&rare, 4.0) < 6.0 && z(&rare, 0.0) < 1e-9);
        assert!(z(&busy, 12.0) < 1.0 && z(&busy, 60.0) > 8.0);
        let (z_besides, expected) = rare.peek_rare(12.0, 1.0, 10.0).expect("three days");
        assert!(z_besides < 1.0 && (10.0..10.1).contains(&expected), "{z_besides} {expected}");
    }

    #[test]
    fn a_flood_on_the_first_day_is_found_once_there_is_a_second() {
        let flood = |t: usize| if (900..1_380).contains(&t) { 11.0 } else { 0.0 };
        let series = counts(3, |t| 12.0 * daily(t) + flood(t));
        let config = ScanConfig::default();
        for days in [2, 3] {
            let found = scan_first_days(2, &series[..days * DAY], &config);
            assert_eq!(found.len(), 1, "{days}: {found:?}");
            let f = &found[0];
            assert!(f.start.abs_diff(900) <= 6 && f.end.abs_diff(1_379) <= 6, "{} {}", f.start, f.end);
            let excess: f64 = f.points.iter().map(|p| p.observed - p.expected).sum();
            assert!((excess / (11.0 * 480.0) - 1.0).abs() < 0.25, "{days}: {excess}");
        }
        assert!(
            scan_first_days(0, &series[..DAY], &config).is_empty(),
            "one day does not tell what is usual"
        );
        assert!(scan_first_days(0, &[f64::NAN; 3 * DAY], &config).is_empty());
        assert!(scan_first_days(0, &counts(3, daily), &config).is_empty());
    }

    #[test]
    fn newcomers_open_what_their_requests_do_not() {
        let mut series = vec![0.0; 12 * DAY];
        let mut arrivals = series.clone();
        for m in [16_000, 16_001, 16_003, 16_004, 16_005, 16_006] {
            (series[m], arrivals[m]) = (2.0, 1.0);
        }
        let config = ScanConfig::default();
        assert!(scan_bursts(0, &series, &config).is_empty());
        let found = scan_alarmed(0, &series, &arrival_alarms(&arrivals, &config), &config);
        assert_eq!(found.len(), 1, "{found:?}");
        let f = &found[0];
        assert_eq!((f.start, f.noticed, f.end, f.enough), (16_000, 16_005, 16_006, Some(2.0)));
        let excess: f64 = f.points.iter().map(|p| p.observed - p.expected).sum();
        assert!((excess - 12.0).abs() < 1.0 && f.peak_z >= config.arrivals_z, "{excess} {}", f.peak_z);
    }

    #[test]
    fn nothing_opens_on_the_first_day_or_without_data() {
        let mut series = counts(3, |t| if t < WARM_UP / 2 { 0.1 } else { 5.0 });
        assert!(scan_bursts(0, &series[..WARM_UP], &ScanConfig::default()).is_empty());
        series.iter_mut().for_each(|k| *k = f64::NAN);
        assert!(scan_bursts(0, &series, &ScanConfig::default()).is_empty());
    }
}
