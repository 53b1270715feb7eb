//! Newcomers at once: a scan over the arrivals of clients, sharp where hardly anybody comes.
//!
//! Requests come in handfuls: one visitor clicks a dozen times, so a count of them must be large to mean anything. Who
//! comes for the first time comes by himself, and five at once on a program that sees one a day are no chance. The
//! expectation is the highest of three rates before the window, of a week, of the same time of earlier days and of
//! the last two hours; the test is the Poisson tail of the count.
//!
//! Source: Glaz, Naus, Wallenstein, *Scan Statistics* (2001).

use statrs::distribution::{ContinuousCDF, DiscreteCDF, Normal, Poisson};

use crate::scan::{DAY, ScanConfig, WARM_UP, WINDOWS};

/// A minute by which too many came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// Index of the minute.
    pub minute: usize,
    /// Which of the windows of the scan that end with it holds them.
    pub window: usize,
    /// Standard score with the same tail.
    pub z: f64,
}

/// Windows that are looked at: up to ten minutes.
const LOOKED_AT: usize = 3;
const WEEK_DAYS: usize = 7;
const LEVEL_MIN: usize = 120;
/// Minutes to either side of the same time of an earlier day.
const SAME_TIME_MIN: usize = 45;
/// Arrivals that may be expected of a window where none ever came.
const LEAST: f64 = 0.05;
/// Beyond this a tail is too small to be told from none.
const TOP_Z: f64 = 37.0;

/// Returns the minutes by which more came than by chance, by time, one for each minute at most; NaN is no data. Nothing is
/// said before a day of data.
#[must_use]
pub fn arrival_alarms(arrivals: &[f64], config: &ScanConfig) -> Vec<Alarm> {
    let sums = Sums::of(arrivals);
    let mut out = Vec::new();
    for (t, k) in arrivals.iter().enumerate() {
        if k.is_nan() || *k <= 0.0 {
            continue;
        }
        let best = (0..LOOKED_AT)
            .filter_map(|i| Some((i, sums.score(t + 1, WINDOWS[i], config)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((window, z)) = best {
            out.push(Alarm { minute: t, window, z });
        }
    }
    out
}

// Sums of what came, and of the minutes that are known.
struct Sums {
    came: Vec<f64>,
    known: Vec<f64>,
}

impl Sums {
    fn of(arrivals: &[f64]) -> Self {
        let (mut came, mut known) = (vec![0.0], vec![0.0]);
        for (t, k) in arrivals.iter().enumerate() {
            let (k, one) = if k.is_nan() { (0.0, 0.0) } else { (*k, 1.0) };
            came.push(came[t] + k);
            known.push(known[t] + one);
        }
        Self { came, known }
    }

    fn within(&self, from: usize, to: usize) -> (f64, f64) {
        let to = to.min(self.came.len() - 1);
        let from = from.min(to);
        (self.came[to] - self.came[from], self.known[to] - self.known[from])
    }

    // The score of the window before `end`; `None` where it is ordinary.
    fn score(&self, end: usize, window: usize, config: &ScanConfig) -> Option<f64> {
        let from = end.checked_sub(window)?;
        let (k, minutes) = self.within(from, end);
        if k < config.arrivals_min {
            return None;
        }
        let expected = minutes * self.rate_before(from)? + LEAST;
        let p = Poisson::new(expected).ok()?.sf(whole(k).saturating_sub(1));
        let z = if p > 0.0 { -Normal::standard().inverse_cdf(p) } else { TOP_Z };
        (z >= config.arrivals_z).then_some(z.min(TOP_Z))
    }

    // Arrivals a minute that are usual just before a minute; `None` before a day of data.
    fn rate_before(&self, t: usize) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "minutes")]
        let warm = WARM_UP as f64;
        if self.within(0, t).1 < warm {
            return None;
        }
        let rate = |(came, known): (f64, f64)| if known > 0.0 { came / known } else { 0.0 };
        let week = rate(self.within(t.saturating_sub(WEEK_DAYS * DAY), t));
        let level = rate(self.within(t.saturating_sub(LEVEL_MIN), t));
        let same = (1..=WEEK_DAYS).filter_map(|d| t.checked_sub(d * DAY)).fold((0.0, 0.0), |sum, at| {
            let one = self.within(at.saturating_sub(SAME_TIME_MIN), at + SAME_TIME_MIN);
            (sum.0 + one.0, sum.1 + one.1)
        });
        Some(week.max(level).max(rate(same)))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(k: f64) -> u64 {
    k as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    // One newcomer every `every` minutes for so many days.
    fn days(n: usize, every: usize) -> Vec<f64> {
        (0..n * DAY).map(|t| f64::from(u8::from(t % every == 0))).collect()
    }

    fn alarms(arrivals: &[f64]) -> Vec<Alarm> {
        arrival_alarms(arrivals, &ScanConfig::default())
    }

    #[test]
    fn a_handful_at_once_of_whom_one_comes_a_day_is_no_chance() {
        let mut few = days(10, DAY);
        assert!(alarms(&few).is_empty());
        few[9 * DAY + 600..9 * DAY + 605].fill(1.0);
        let found = alarms(&few);
        assert_eq!(found.first().map(|a| a.minute), Some(9 * DAY + 604), "{found:?}");
        few[9 * DAY + 604] = f64::NAN;
        assert!(alarms(&few).is_empty(), "four are too few to say");
    }

    #[test]
    fn a_handful_of_whom_many_come_is_chance_and_many_are_not() {
        let mut many = days(10, 2);
        many[9 * DAY + 600..9 * DAY + 605].fill(2.0);
        assert!(alarms(&many).is_empty());
        many[9 * DAY + 600..9 * DAY + 605].fill(8.0);
        assert!(!alarms(&many).is_empty());
    }

    #[test]
    fn what_comes_every_evening_is_usual() {
        let mut evenings = days(10, DAY);
        for day in 1..10 {
            evenings[day * DAY + 1_200..day * DAY + 1_215].fill(1.0);
        }
        let last = alarms(&evenings).into_iter().map(|a| a.minute / DAY).max();
        assert!(last.is_none_or(|d| d < 4), "{last:?}");
    }

    #[test]
    fn nothing_is_said_on_the_first_day() {
        let mut first = days(2, DAY);
        first[600..605].fill(1.0);
        assert!(alarms(&first).is_empty());
        assert!(alarms(&[]).is_empty());
    }
}
