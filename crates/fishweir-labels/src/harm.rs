//! What a surge did to playback, to customer service and to the answers of the service, against what would have been.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use fishweir_detect::student_95;
use fishweir_pipeline::{Catalog, DAY_US, Interval, MINUTE_US, PipelineError};

use crate::incidents::Acts;
use crate::series::between_sql;

const HOUR_US: i64 = 60 * MINUTE_US;
/// Days before, by which the counterfactual is told, and how many of them must be known.
const DAYS: usize = 7;
const DAYS_MIN: usize = 4;
/// Hours before a surge by which the level of its day is told.
const LEVEL_HOURS: i64 = 3;
/// Counts in them, over all days, below which the level says less than it adds of chance.
const LEVEL_MIN: f64 = 100.0;
/// Share of a time that must be known.
const KNOWN_SHARE: f64 = 0.9;
/// Members tell customer service for a day.
const CONTACT_US: i64 = DAY_US;
/// Minutes after a surge in which errors may still be its.
pub(crate) const AFTER_US: i64 = HOUR_US;
/// Minutes without unusual errors after which the service has recovered.
const CALM_US: i64 = 5 * MINUTE_US;

/// A count beside what other days would have brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Against {
    pub(crate) seen: f64,
    pub(crate) expected: f64,
    half: f64,
}

impl Against {
    /// Returns how many were missing, best, low and high (95 %); negative where there were more than expected.
    pub(crate) fn missing(self) -> [f64; 3] {
        let gap = self.expected - self.seen;
        [gap, gap - self.half, gap + self.half]
    }

    /// Returns how many came beyond the expected, best, low and high (95 %); negative where there were fewer.
    pub(crate) fn extra(self) -> [f64; 3] {
        let [gap, low, high] = self.missing();
        [-gap, -high, -low]
    }
}

/// Counts by minute or hour; not a number where nothing is known.
pub(crate) struct Counts {
    from_us: i64,
    step_us: i64,
    counts: Vec<f64>,
}

impl Counts {
    fn new(span: Interval, step_us: i64) -> Self {
        let n = usize::try_from((span.to_us - span.from_us) / step_us).unwrap_or(0);
        Self { from_us: span.from_us, step_us, counts: vec![0.0; n] }
    }

    fn index(&self, us: i64) -> Option<usize> {
        usize::try_from((us - self.from_us).div_euclid(self.step_us)).ok()
    }

    fn add(&mut self, us: i64, n: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        if let Some(slot) = self.index(us).and_then(|i| self.counts.get_mut(i)) {
            *slot += n as f64;
        }
    }

    // Before the first and after the last count nothing is known, nor in a silence longer than the stream ever has.
    fn blank(&mut self, silence_us: i64) {
        let longest = usize::try_from(silence_us / self.step_us).unwrap_or(usize::MAX);
        let mut quiet_from = 0;
        let mut seen = false;
        for i in 0..=self.counts.len() {
            if self.counts.get(i).is_some_and(|n| *n == 0.0) {
                continue;
            }
            let at_border = !seen || i == self.counts.len();
            if at_border || i - quiet_from > longest {
                self.counts[quiet_from..i].fill(f64::NAN);
            }
            seen = true;
            quiet_from = i + 1;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of bins")]
    fn sum(&self, bins: &Range<usize>, days_back: usize) -> Option<f64> {
        let back = days_back * usize::try_from(DAY_US / self.step_us).ok()?;
        let inside = self.counts.get(bins.start.checked_sub(back)?..bins.end.checked_sub(back)?)?;
        let known: Vec<f64> = inside.iter().copied().filter(|n| !n.is_nan()).collect();
        let share = known.len() as f64 / inside.len().max(1) as f64;
        (share >= KNOWN_SHARE).then(|| known.iter().sum::<f64>() / share)
    }

    fn bins(&self, time: Interval) -> Option<Range<usize>> {
        Some(self.index(time.from_us)?..self.index(time.to_us - 1)? + 1).filter(|r| !r.is_empty())
    }

    /// Returns what came in a time of a day at most beside what the same time of the seven days before leads to expect, by
    /// the level of the day in `level`; `None` where fewer than four of them or the time itself are not known.
    #[expect(clippy::cast_precision_loss, reason = "a number of days")]
    pub(crate) fn against(&self, time: Interval, level: Option<Interval>) -> Option<Against> {
        if time.to_us - time.from_us > DAY_US {
            return None;
        }
        let (bins, level) = (self.bins(time)?, level.and_then(|l| self.bins(l)));
        let seen = self.sum(&bins, 0)?;
        let of = |d| Some((self.sum(&bins, d)?, level.as_ref().and_then(|l| self.sum(l, d))));
        let days: Vec<(f64, Option<f64>)> = (1..=DAYS).filter_map(of).collect();
        let n = days.len() as f64;
        if days.len() < DAYS_MIN {
            return None;
        }
        let mean = days.iter().map(|d| d.0).sum::<f64>() / n;
        let levels: Option<f64> = days.iter().map(|d| d.1).sum();
        let today = level.as_ref().and_then(|l| self.sum(l, 0));
        let by_level = levels.zip(today).filter(|(all, _)| *all >= LEVEL_MIN);
        let due = |level: Option<f64>| match (by_level, level) {
            (Some((all, _)), Some(level)) => level * mean * n / all,
            _ => mean,
        };
        let expected = due(today);
        let residuals = days.iter().map(|d| (d.0 - due(d.1)).powi(2) / due(d.1).max(1.0)).sum::<f64>();
        let dispersion = (residuals / (n - 1.0)).max(1.0);
        // WHY Student: by the spread of so few days one interval in ten of the normal would miss.
        let half = student_95(n - 1.0) * (dispersion * expected.max(1.0) * (1.0 + 1.0 / n)).sqrt();
        Some(Against { seen, expected, half })
    }
}

/// What may have suffered, over a span.
#[derive(Default)]
pub(crate) struct Harmed {
    starts: Option<Counts>,
    failures: Option<Counts>,
    contacts: Option<Counts>,
}

/// What one surge did; `None` where the stream is not there or too little of it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Harm {
    pub(crate) starts: Option<Against>,
    pub(crate) failures: Option<Against>,
    pub(crate) contacts: Option<Against>,
    /// Seconds from the start until answers are as usual again; `0` where they always were, `None` where they are not within an hour
    /// after the end.
    pub(crate) recovery_s: Option<i64>,
}

/// Returns the counts of a span with the week before it.
pub(crate) async fn load(catalog: &Catalog, span: Interval) -> Result<Harmed, PipelineError> {
    let mut out = Harmed::default();
    let of = |table: &str, time: &str, sums: &str| {
        format!("SELECT {time}, {sums} FROM {table} WHERE {} GROUP BY 1", between_sql(time, span))
    };
    if catalog.lake().existing("playback_minutes").await?.is_some() {
        let (mut starts, mut failures) = (Counts::new(span, MINUTE_US), Counts::new(span, MINUTE_US));
        let mut heard = Counts::new(span, MINUTE_US);
        let sums = "CAST(sum(starts) AS BIGINT), CAST(sum(failures) AS BIGINT), CAST(sum(events) AS BIGINT)";
        let sql = of("playback_minutes", "minute", sums);
        for (us, n) in rows(catalog, "playback_minutes", &sql).await? {
            for (counts, n) in [&mut starts, &mut failures, &mut heard].into_iter().zip(n) {
                counts.add(us, n);
            }
        }
        heard.blank(3 * HOUR_US);
        for counts in [&mut starts, &mut failures] {
            counts
                .counts
                .iter_mut()
                .zip(&heard.counts)
                .filter(|c| c.1.is_nan())
                .for_each(|c| *c.0 = f64::NAN);
        }
        (out.starts, out.failures) = (Some(starts), Some(failures));
    }
    if catalog.lake().existing("contact_hours").await?.is_some() {
        let mut contacts = Counts::new(span, HOUR_US);
        let sql = of("contact_hours", "hour", "CAST(sum(contacts) AS BIGINT)");
        for (us, n) in rows(catalog, "contact_hours", &sql).await? {
            contacts.add(us, n.first().copied().unwrap_or(0));
        }
        contacts.blank(3 * DAY_US);
        out.contacts = Some(contacts);
    }
    Ok(out)
}

async fn rows(
    catalog: &Catalog,
    table: &'static str,
    sql: &str,
) -> Result<Vec<(i64, Vec<i64>)>, PipelineError> {
    let mut out = Vec::new();
    for batch in catalog.query(&[table], sql).await? {
        let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        for r in 0..batch.num_rows() {
            let n = |c: &arrow::array::ArrayRef| {
                let c = c.as_primitive::<Int64Type>();
                if c.is_valid(r) { c.value(r) } else { 0 }
            };
            out.push((time.value(r), batch.columns().iter().skip(1).map(n).collect()));
        }
    }
    Ok(out)
}

impl Harmed {
    /// Returns what a surge did to playback while it lasted and to customer service in the day from its start.
    pub(crate) fn during(&self, surge: Interval) -> Harm {
        let level = Interval::new(surge.from_us - LEVEL_HOURS * HOUR_US, surge.from_us - 5 * MINUTE_US);
        let told = Interval::new(surge.from_us, surge.from_us + CONTACT_US);
        Harm {
            starts: self.starts.as_ref().and_then(|c| c.against(surge, Some(level))),
            failures: self.failures.as_ref().and_then(|c| c.against(surge, None)),
            contacts: self.contacts.as_ref().and_then(|c| c.against(told, None)),
            recovery_s: None,
        }
    }
}

/// Returns the seconds from the start of a surge until errors are as usual for five minutes; `0` where they never were
/// unusual, `None` where they still are at the end of what is known or an hour after the surge.
pub(crate) fn recovery_s(acts: &BTreeMap<i64, Acts>, surge: Interval, error_share: f64) -> Option<i64> {
    let unusual = |a: &Acts| {
        let usual = error_share * a.requests;
        a.errors >= 3.0 && a.errors > usual + 3.0 * (usual + 1.0).sqrt()
    };
    let mut after = acts.range(surge.from_us..surge.to_us + AFTER_US);
    let known_to = acts.last_key_value().map(|l| l.0 + MINUTE_US)?.min(surge.to_us + AFTER_US);
    let Some((last, _)) = after.rfind(|(_, a)| unusual(a)) else {
        return (known_to >= surge.to_us).then_some(0);
    };
    let back = last + MINUTE_US;
    (back + CALM_US <= known_to).then_some((back - surge.from_us) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_US: i64 = 10 * DAY_US;

    // Ten starts a minute on seven days, twelve on the eighth, and half of that for an hour.
    fn starts() -> Counts {
        let span = Interval::new(START_US - 7 * DAY_US, START_US + DAY_US);
        let mut c = Counts::new(span, MINUTE_US);
        for m in 0..8 * 24 * 60 {
            let us = span.from_us + m * MINUTE_US;
            let hurt = (0..60).contains(&((us - START_US - 12 * HOUR_US) / MINUTE_US))
                && us >= START_US + 12 * HOUR_US;
            c.add(
                us,
                if hurt {
                    6
                } else if us >= START_US {
                    12
                } else {
                    10
                },
            );
        }
        c
    }

    fn noon() -> Interval {
        Interval::new(START_US + 12 * HOUR_US, START_US + 13 * HOUR_US)
    }

    #[test]
    fn missing_starts_are_held_against_other_days_at_the_level_of_this_one() {
        let level = Interval::new(noon().from_us - 3 * HOUR_US, noon().from_us);
        let told = starts().against(noon(), Some(level)).unwrap();
        assert_eq!((told.seen, told.expected.round()), (360.0, 720.0));
        let [missing, low, high] = told.missing();
        assert!((missing - 360.0).abs() < 1e-6 && 280.0 < low && high < 440.0, "{low} {high}");
        let blind = starts().against(noon(), None).unwrap();
        assert_eq!(blind.expected, 600.0, "without the level only what other days brought");
    }

    #[test]
    fn what_is_not_known_is_not_counted_as_missing() {
        let mut c = starts();
        for us in (noon().from_us..noon().to_us).step_by(MINUTE_US as usize) {
            let i = c.index(us).unwrap();
            c.counts[i] = 0.0;
        }
        c.blank(3 * HOUR_US);
        assert!(c.against(noon(), None).is_some_and(|a| a.seen == 0.0), "an hour of silence can be");
        c.blank(HOUR_US / 2);
        assert_eq!(c.against(noon(), None), None, "half an hour cannot");
        let early = Interval::new(noon().from_us - 5 * DAY_US, noon().to_us - 5 * DAY_US);
        assert_eq!(starts().against(early, None), None, "two days are too few");
    }

    #[test]
    fn recovery_ends_with_the_last_unusual_minute() {
        let surge = Interval::new(START_US, START_US + 10 * MINUTE_US);
        let minute = |errors| Acts { requests: 100.0, errors, ..Acts::default() };
        let mut acts: BTreeMap<i64, Acts> =
            (0..70).map(|m| (START_US + m * MINUTE_US, minute(1.0))).collect();
        assert_eq!(recovery_s(&acts, surge, 0.01), Some(0));
        acts.extend((2..13).map(|m| (START_US + m * MINUTE_US, minute(40.0))));
        assert_eq!(recovery_s(&acts, surge, 0.01), Some(13 * 60));
        acts.split_off(&(START_US + 15 * MINUTE_US));
        assert_eq!(recovery_s(&acts, surge, 0.01), None, "two quiet minutes are too few");
    }
}
