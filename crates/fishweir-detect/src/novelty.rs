//! Novelty in any series of numbers: values, steps and daily habits not seen before.
//!
//! For series without the structure that [`crate::SurgeDetector`] expects. Values are sorted into
//! bins; a value is strange when its bin, its step from the value before and its place in the day are
//! rare together. The last few strangenesses are compared with their own history, as a series that
//! is strange all the time says nothing by being strange once more.
//!
//! Source: the idea of judging a short mean of anomaly scores against their long distribution is that
//! of Ahmad, Lavin, Purdy and Agha 2017, doi 10.1016/j.neucom.2017.04.070.

use std::collections::{HashMap, VecDeque};

use crate::stats::normal_tail;

/// Settings of the detector.
#[derive(Clone, Debug, PartialEq)]
pub struct NoveltyConfig {
    /// Values that only teach. Default 400.
    pub learn: usize,
    /// Values in a day, 0 where there is no daily habit. Default 0.
    pub day: usize,
    /// Bins between the lowest and highest value while learning. Default 24.
    pub bins: usize,
    /// Values whose strangeness is averaged. Default 8.
    pub short: usize,
    /// Values that the average is compared with. Default 2000.
    pub long: usize,
    /// Values after an alarm in which none is raised again. Default 150.
    pub quiet: usize,
}

impl Default for NoveltyConfig {
    fn default() -> Self {
        Self { learn: 400, day: 0, bins: 24, short: 8, long: 2_000, quiet: 150 }
    }
}

/// Follows one series value by value.
#[derive(Debug)]
pub struct NoveltyDetector {
    config: NoveltyConfig,
    seen: usize,
    first: Vec<f64>,
    low: f64,
    width: f64,
    before: Option<i64>,
    counts: HashMap<(u8, i64, i64), f64>,
    recent: VecDeque<f64>,
    past: VecDeque<f64>,
    sums: (f64, f64),
    quiet: usize,
}

const CONTEXTS: u8 = 3;
/// Sightings after which a context is half as strange.
const HALF: f64 = 2.0;
const DAY_PARTS: usize = 24;
const SPREAD_MIN: f64 = 0.02;

impl NoveltyDetector {
    /// Returns a detector that knows nothing yet.
    #[must_use]
    pub fn new(config: NoveltyConfig) -> Self {
        Self {
            config,
            seen: 0,
            first: Vec::new(),
            low: 0.0,
            width: 1.0,
            before: None,
            counts: HashMap::new(),
            recent: VecDeque::new(),
            past: VecDeque::new(),
            sums: (0.0, 0.0),
            quiet: 0,
        }
    }

    /// Takes the next value; returns how sure it is that something new began, 0 to 1. After a return
    /// above one half it stays at 0 for the quiet time.
    pub fn tick(&mut self, value: f64) -> f64 {
        let t = self.seen;
        self.seen += 1;
        if t < self.config.learn {
            self.first.push(value);
            if self.seen == self.config.learn {
                self.settle();
            }
            return 0.0;
        }
        let strange = self.meet(t, value);
        let score = self.judge(strange);
        if self.quiet > 0 {
            self.quiet -= 1;
            return 0.0;
        }
        if score > 0.5 {
            self.quiet = self.config.quiet;
        }
        score
    }

    // Bins from the values seen while learning, then those values as history.
    #[expect(clippy::cast_precision_loss, reason = "a number of bins")]
    fn settle(&mut self) {
        let first = std::mem::take(&mut self.first);
        let low = first.iter().copied().fold(f64::INFINITY, f64::min);
        let high = first.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.low = low;
        self.width = ((high - low) / self.config.bins as f64).max(low.abs() * 0.01).max(1e-9);
        for (t, v) in first.into_iter().enumerate() {
            let strange = self.meet(t, v);
            if t > self.config.short * 4 {
                self.judge(strange);
            }
        }
    }

    // Strangeness of a value, 0 to 1; remembers it.
    fn meet(&mut self, t: usize, value: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "bins of finite values")]
        let bin = ((value - self.low) / self.width).floor().clamp(-1e9, 1e9) as i64;
        let before = self.before.replace(bin).unwrap_or(bin);
        let in_day = t.checked_rem(self.config.day).unwrap_or(0);
        let part = (in_day * DAY_PARTS).checked_div(self.config.day).unwrap_or(0);
        let keys = [(0, 0, bin), (1, before, bin), (2, i64::try_from(part).unwrap_or(0), bin)];
        let mut sum = 0.0;
        for key in keys {
            // Neighbouring bins count for half: a border between bins is no difference.
            let near = |d: i64| self.counts.get(&(key.0, key.1, key.2 + d)).copied().unwrap_or(0.0);
            let known = near(0) + 0.5 * (near(-1) + near(1));
            sum += HALF / (HALF + known);
            *self.counts.entry(key).or_default() += 1.0;
        }
        sum / f64::from(CONTEXTS)
    }

    // How unusual the mean of the last strangenesses is against the past ones.
    #[expect(clippy::cast_precision_loss, reason = "lengths of windows")]
    fn judge(&mut self, strange: f64) -> f64 {
        self.recent.push_back(strange);
        if self.recent.len() > self.config.short {
            self.recent.pop_front();
        }
        let mean = self.recent.iter().sum::<f64>() / self.recent.len() as f64;
        let n = self.past.len() as f64;
        let score = if n > 50.0 {
            let (m, sd) = {
                let m = self.sums.0 / n;
                (m, (self.sums.1 / n - m * m).max(0.0).sqrt().max(SPREAD_MIN))
            };
            1.0 - normal_tail((mean - m) / sd)
        } else {
            0.0
        };
        self.past.push_back(mean);
        self.sums = (self.sums.0 + mean, self.sums.1 + mean * mean);
        if self.past.len() > self.config.long
            && let Some(old) = self.past.pop_front()
        {
            self.sums = (self.sums.0 - old, self.sums.1 - old * old);
        }
        // Nines behind the point: 0.5 stands for five of them.
        let nines = -(1.0 - score).max(1e-16).log10();
        (nines / 10.0).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_level_is_new_once_and_a_habit_is_not() {
        let mut d = NoveltyDetector::new(NoveltyConfig { day: 288, ..NoveltyConfig::default() });
        let mut alarms = Vec::new();
        for t in 0..4_000usize {
            let wave = (t as f64 / 288.0 * std::f64::consts::TAU).sin();
            let jump = if (3_000..3_060).contains(&t) { 6.0 } else { 0.0 };
            if d.tick(10.0 + wave + jump) > 0.5 {
                alarms.push(t);
            }
        }
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        assert!((3_000..3_010).contains(&alarms[0]), "{alarms:?}");
    }
}
