//! Novelty in any series of numbers: levels not seen before, at once and on average.
//!
//! For series without the structure that [`crate::SurgeDetector`] expects. The range of the first values is
//! cut into bins that go on beyond it; the value itself and its means over a short and a long window are each
//! sorted into them. What falls into a bin that this view of the series has never met is new; a view that has
//! just met something new is silent for a while, because what follows a new level is mostly more of it.
//!
//! Source: that the number of times a state was met before says enough for an alarm is the idea of the
//! contextual detectors on the board of Lavin and Ahmad 2015, arXiv 1510.03336.

use std::collections::{HashMap, VecDeque};

/// Settings of the detector.
#[derive(Clone, Debug, PartialEq)]
pub struct NoveltyConfig {
    /// Values that only teach. Default 400.
    pub learn: usize,
    /// Bins between the lowest and highest value while learning. Default 15.
    pub bins: usize,
    /// Values of the short mean. Default 8.
    pub short: usize,
    /// Values of the long mean. Default 64.
    pub long: usize,
    /// Values after something new in which its view of the series is silent, and after an alarm in which
    /// none is raised again. Default 80.
    pub quiet: usize,
}

impl Default for NoveltyConfig {
    fn default() -> Self {
        Self { learn: 400, bins: 15, short: 8, long: 64, quiet: 80 }
    }
}

impl NoveltyConfig {
    /// Returns the settings for a series of which `learn` values only teach: silence lasts a fifth of them.
    #[must_use]
    pub fn after(learn: usize) -> Self {
        Self { learn, quiet: (learn / 5).max(1), ..Self::default() }
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
    views: [View; 3],
    quiet: usize,
}

/// The series as one window shows it.
#[derive(Debug)]
struct View {
    window: usize,
    values: VecDeque<f64>,
    met: HashMap<i64, f64>,
    silent: usize,
}

impl View {
    fn new(window: usize) -> Self {
        Self { window: window.max(1), values: VecDeque::new(), met: HashMap::new(), silent: 0 }
    }

    // Novelty of the mean with one more value, 0 to 1; remembers it. WHY the sum is taken anew: a running
    // one drifts, and a mean on the border of two bins would then depend on the whole past.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "bins of finite values")]
    fn meet(&mut self, value: f64, low: f64, width: f64, quiet: usize) -> f64 {
        self.values.push_back(value);
        if self.values.len() > self.window {
            self.values.pop_front();
        }
        let mean = self.values.iter().sum::<f64>() / self.values.len() as f64;
        let bin = ((mean - low) / width).floor().clamp(-1e9, 1e9) as i64;
        let met = self.met.entry(bin).or_default();
        let novelty = 1.0 / (1.0 + *met);
        *met += 1.0;
        if self.silent > 0 && novelty < 1.0 {
            self.silent -= 1;
            return 0.0;
        }
        let silent = std::mem::replace(&mut self.silent, if novelty < 1.0 { 0 } else { quiet });
        if silent > 0 { 0.0 } else { novelty }
    }
}

impl NoveltyDetector {
    /// Returns a detector that knows nothing yet.
    #[must_use]
    pub fn new(config: NoveltyConfig) -> Self {
        let views = [1, config.short, config.long].map(View::new);
        Self { config, seen: 0, first: Vec::new(), low: 0.0, width: 1.0, views, quiet: 0 }
    }

    /// Takes the next value; returns how new its level is, 0 to 1: 1 where nothing like it was met, one half
    /// where it was met once. After a return of more than one half it stays at 0 for the quiet time. A value
    /// that is no number is passed over and returns 0.
    pub fn tick(&mut self, value: f64) -> f64 {
        if !value.is_finite() {
            return 0.0;
        }
        self.seen += 1;
        if self.seen <= self.config.learn {
            self.first.push(value);
            if self.seen == self.config.learn {
                self.settle();
            }
            return 0.0;
        }
        let score = self.meet(value, self.config.quiet);
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
        let least = (low.abs() * 0.01).max(1e-9);
        self.width = if high > low { (high - low) / self.config.bins.max(1) as f64 } else { least };
        for value in first {
            self.meet(value, 0);
        }
    }

    fn meet(&mut self, value: f64, quiet: usize) -> f64 {
        let (low, width) = (self.low, self.width);
        self.views.iter_mut().map(|v| v.meet(value, low, width, quiet)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarms(value: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut d = NoveltyDetector::new(NoveltyConfig::default());
        (0..4_000).filter(|t| d.tick(value(*t)) > 0.5).collect()
    }

    fn wave(t: usize) -> f64 {
        10.0 + (t as f64 / 288.0 * std::f64::consts::TAU).sin()
    }

    #[test]
    fn a_new_level_is_new_once_and_a_habit_is_not() {
        let found = alarms(|t| wave(t) + if (3_000..3_060).contains(&t) { 6.0 } else { 0.0 });
        assert_eq!(found, [3_000]);
        assert!(alarms(wave).is_empty());
        assert!(alarms(|_| 5.0).is_empty());
    }

    #[test]
    fn a_mean_that_was_never_so_high_is_new_though_every_value_is_known() {
        let spiky = |t: usize| if t.is_multiple_of(10) { 10.0 } else { 0.0 };
        let found = alarms(|t| if (3_000..3_030).contains(&t) { 10.0 } else { spiky(t) });
        assert!(found.first().is_some_and(|t| (3_000..3_010).contains(t)), "{found:?}");
    }

    #[test]
    fn what_is_no_number_is_passed_over() {
        assert!(alarms(|t| if t.is_multiple_of(100) { f64::NAN } else { wave(t) }).is_empty());
    }
}
