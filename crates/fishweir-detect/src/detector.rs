//! Surges in many minute series at once.
//!
//! Log rate; robust minute-of-week profile times recent level; scale at least the counting
//! noise; a step test and a one-sided CUSUM; hysteresis; level frozen while a surge is open;
//! false-discovery control over the series of each minute. The prototype of this detector and the
//! ones it was compared with are described in `docs/detection.md`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::stats::{discoveries, median, normal_tail};

/// Settings of the detector. Defaults are in `Default` and documented per field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorConfig {
    /// Weeks of history in the profile. Default 4.
    pub profile_weeks: usize,
    /// Minutes on each side that the profile pools. Default 3.
    pub profile_half_width_min: usize,
    /// Minutes of the recent level. Default 120.
    pub level_min: usize,
    /// Standard scores that open a surge in one minute. Default 5.
    pub open_z: f64,
    /// Standard scores below which a minute counts as calm. Default 2.5.
    pub close_z: f64,
    /// Calm minutes in a row that close a surge. Default 5.
    pub close_after_min: usize,
    /// Drift per minute that the CUSUM forgives, in standard scores. Default 2.
    pub cusum_slack: f64,
    /// CUSUM sum that opens a surge. Default 20.
    pub cusum_open: f64,
    /// Requests above expectation, per minute, below which nothing opens. Default 30.
    pub excess_min: f64,
    /// Share of false openings accepted among the series of one minute. Default 0.001.
    pub false_discovery: f64,
    /// Over-dispersion of counts: relative standard deviation beyond Poisson, at least. Default 0.02.
    pub dispersion: f64,
    /// Minutes after which an open surge that stays level is taken as the new normal. Default 2880.
    pub surge_min_max: usize,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            profile_weeks: 4,
            profile_half_width_min: 3,
            level_min: 120,
            open_z: 5.0,
            close_z: 2.5,
            close_after_min: 5,
            cusum_slack: 2.0,
            cusum_open: 20.0,
            excess_min: 30.0,
            false_discovery: 0.001,
            dispersion: 0.02,
            surge_min_max: 2880,
        }
    }
}

const WEEK: usize = 7 * 24 * 60;
const DAY: usize = 24 * 60;
const LEVEL_LAG: usize = 2;
const SCALE_EVERY: usize = 60;
const SCALE_STEP: usize = 7;
const RESIDUALS_MIN: usize = 60;

/// One minute of one series as the detector saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Minute since the first.
    pub minute: usize,
    /// Observed requests.
    pub observed: f64,
    /// Expected requests.
    pub expected: f64,
    /// Lower and upper end of the usual band (± 3 scales).
    pub band: (f64, f64),
    /// Standard score of the observation.
    pub z: f64,
}

impl Point {
    /// Returns what was observed above expectation, at least 0.
    #[must_use]
    pub fn excess(&self) -> f64 {
        (self.observed - self.expected).max(0.0)
    }
}

/// A stretch of one series above its expectation.
#[derive(Clone, Debug, PartialEq)]
pub struct Surge {
    /// Series.
    pub series: usize,
    /// First minute above the calm threshold.
    pub start: usize,
    /// Minute in which it was noticed.
    pub noticed: usize,
    /// Requests of that minute that were enough to notice it, at least one; `None` where only the whole minute says so.
    pub enough: Option<f64>,
    /// Last minute that was not calm.
    pub end: usize,
    /// Whether it was still open when the input ended.
    pub open: bool,
    /// Largest standard score.
    pub peak_z: f64,
    /// History behind the expectation, in weeks: below 1 the bands were widened.
    pub history_weeks: f64,
    /// Its minutes, from `start` to `end`.
    pub points: Vec<Point>,
}

struct Series {
    log: Vec<f64>,
    flagged: Vec<bool>,
    profile: Vec<f64>,
    /// Minute of the first entry of the three above; older ones are forgotten.
    base: usize,
    seen_from: Option<usize>,
    scale: f64,
    scale_at: usize,
    /// Distances from the hour's own level, of each hour on the clock that has ended.
    hours: VecDeque<(usize, Vec<f32>)>,
    level: Level,
    /// Room for the values of a profile.
    pool: Vec<f64>,
    cusum: f64,
    recent: VecDeque<Point>,
    open: Option<Open>,
}

struct Open {
    surge: Surge,
    level: f64,
    calm: usize,
}

/// Follows any number of series minute by minute.
pub struct SurgeDetector {
    config: DetectorConfig,
    series: Vec<Series>,
    minute: usize,
    closed: Vec<Surge>,
}

/// A minute that may open a surge.
struct Opening {
    z: f64,
    forecast: Forecast,
    point: Point,
}

#[derive(Clone, Copy)]
struct Forecast {
    expected: f64,
    scale: f64,
    level: f64,
    weeks: f64,
}

impl SurgeDetector {
    /// Returns a detector for `series` series that start at the same minute.
    #[must_use]
    pub fn new(config: DetectorConfig, series: usize) -> Self {
        Self { config, series: (0..series).map(|_| Series::new()).collect(), minute: 0, closed: Vec::new() }
    }

    /// Adds a series that has had no data so far.
    pub fn add(&mut self) {
        let blank = vec![f64::NAN; self.minute];
        let mut series = Series::new();
        (series.log, series.profile) = (blank.clone(), blank);
        series.flagged = vec![false; self.minute];
        self.series.push(series);
    }

    /// Takes the counts of the next minute, one per series in order; NaN means no data.
    pub fn tick(&mut self, counts: &[f64]) {
        let t = self.minute;
        self.minute += 1;
        let config = &self.config;
        let mut openings: Vec<(usize, Opening)> = Vec::new();
        let mut tests = 0usize;
        for (i, s) in self.series.iter_mut().enumerate() {
            let count = counts.get(i).copied().unwrap_or(f64::NAN);
            tests += usize::from(!count.is_nan());
            openings.extend(s.step(t, count, config, &mut self.closed).map(|o| (i, o)));
        }
        // The strongest of the minute come first where several open at once.
        openings.sort_by(|a, b| b.1.z.total_cmp(&a.1.z));
        let chances: Vec<f64> = openings.iter().map(|o| normal_tail(o.1.z)).collect();
        let kept = discoveries(&chances, tests, config.false_discovery);
        for (i, o) in openings.into_iter().zip(kept).filter(|o| o.1).map(|o| o.0) {
            if let Some(s) = self.series.get_mut(i) {
                s.begin(i, t, o.forecast, o.point, config);
            }
        }
    }

    /// Takes the counts of many minutes, a list per series in order, all equally long, as so many calls
    /// of [`Self::tick`] would. Series are followed one after the other, on so many threads.
    ///
    /// # Panics
    /// Where a thread cannot be started, or one of them did.
    pub fn feed(&mut self, counts: &[&[f64]], threads: usize) {
        let length = counts.iter().map(|c| c.len()).max().unwrap_or(0);
        // What passes `open_z` passes the control of false discoveries of so few series as well, whatever
        // the others do: then no series needs to wait for the rest of its minute.
        #[expect(clippy::cast_precision_loss, reason = "number of series")]
        let apart = normal_tail(self.config.open_z) * self.series.len() as f64 <= self.config.false_discovery;
        if !apart {
            for t in 0..length {
                let row: Vec<f64> = counts.iter().map(|c| c.get(t).copied().unwrap_or(f64::NAN)).collect();
                self.tick(&row);
            }
            return;
        }
        let (first, config) = (self.minute, &self.config);
        let share = self.series.len().div_ceil(threads.max(1)).max(1);
        let follow = |from: usize, part: &mut [Series]| {
            let mut closed = Vec::new();
            for (i, s) in part.iter_mut().enumerate().map(|(n, s)| (from + n, s)) {
                for k in 0..length {
                    let count = counts.get(i).and_then(|c| c.get(k)).copied().unwrap_or(f64::NAN);
                    if let Some(o) = s.step(first + k, count, config, &mut closed) {
                        s.begin(i, first + k, o.forecast, o.point, config);
                    }
                }
            }
            closed
        };
        let parts = self.series.chunks_mut(share).enumerate().map(|(n, part)| (n * share, part));
        let closed: Vec<Vec<Surge>> = if threads <= 1 {
            parts.map(|(from, part)| follow(from, part)).collect()
        } else {
            let follow = &follow;
            std::thread::scope(|scope| {
                let all: Vec<_> = parts.map(|(from, part)| scope.spawn(move || follow(from, part))).collect();
                all.into_iter().map(|t| t.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
            })
        };
        self.closed.extend(closed.into_iter().flatten());
        self.minute += length;
    }

    /// Returns the standard score and the expectation of a count over the last sixty seconds, as if the
    /// minute that has begun ended now; nothing is remembered. `None` below `excess_min`.
    pub fn peek(&mut self, series: usize, count: f64) -> Option<Point> {
        if count < self.config.excess_min { None } else { self.usual(series, count) }
    }

    /// Returns a count beside what is usual for the minute that has begun; nothing is remembered. `None`
    /// for a series that was never seen.
    pub fn usual(&mut self, series: usize, count: f64) -> Option<Point> {
        let t = self.minute;
        let config = &self.config;
        let s = self.series.get_mut(series)?;
        s.seen_from?;
        // The minute must exist while its forecast is made.
        s.push(f64::NAN);
        let f = s.forecast(t, config);
        s.log.pop();
        s.flagged.pop();
        s.profile.pop();
        Some(point(t, count, f))
    }

    /// Returns the surges that are open now.
    pub fn open(&self) -> impl Iterator<Item = &Surge> {
        self.series.iter().filter_map(|s| s.open.as_ref().map(|o| &o.surge))
    }

    /// Returns all surges, closed and still open, by start.
    #[must_use]
    pub fn finish(mut self) -> Vec<Surge> {
        for s in &mut self.series {
            if let Some(open) = s.open.take() {
                let mut surge = open.surge;
                surge.open = true;
                self.closed.push(surge);
            }
        }
        self.closed.sort_by_key(|s| (s.start, s.series));
        self.closed
    }
}

fn point(t: usize, count: f64, f: Forecast) -> Point {
    let z = (count.ln_1p() - f.expected) / f.scale;
    let back = |x: f64| x.exp_m1().max(0.0);
    Point {
        minute: t,
        observed: count,
        expected: back(f.expected),
        band: (back(f.expected - 3.0 * f.scale), back(f.expected + 3.0 * f.scale)),
        z,
    }
}

/// Values of a moving window, in order.
struct Level {
    sorted: Vec<f64>,
    from: usize,
    to: usize,
}

impl Level {
    fn insert(&mut self, v: f64) {
        let at = self.sorted.partition_point(|x| *x < v);
        self.sorted.insert(at, v);
    }

    fn remove(&mut self, v: f64) {
        let at = self.sorted.partition_point(|x| *x < v);
        if self.sorted.get(at).is_some_and(|x| x.total_cmp(&v).is_eq()) {
            self.sorted.remove(at);
        }
    }

    fn median(&self) -> f64 {
        let n = self.sorted.len();
        match n {
            0 => 0.0,
            _ if n % 2 == 1 => self.sorted[n / 2],
            _ => f64::midpoint(self.sorted[n / 2 - 1], self.sorted[n / 2]),
        }
    }
}

impl Series {
    const fn new() -> Self {
        Self {
            log: Vec::new(),
            flagged: Vec::new(),
            profile: Vec::new(),
            base: 0,
            seen_from: None,
            scale: f64::NAN,
            scale_at: 0,
            hours: VecDeque::new(),
            level: Level { sorted: Vec::new(), from: 0, to: 0 },
            pool: Vec::new(),
            cusum: 0.0,
            recent: VecDeque::new(),
            open: None,
        }
    }

    fn push(&mut self, count: f64) {
        self.log.push(count.ln_1p());
        self.flagged.push(false);
        self.profile.push(f64::NAN);
    }

    // The next minute; a surge that is open is followed.
    fn step(
        &mut self,
        t: usize,
        count: f64,
        config: &DetectorConfig,
        closed: &mut Vec<Surge>,
    ) -> Option<Opening> {
        self.push(count);
        self.forget(t, config);
        if count.is_nan() {
            return None;
        }
        if count > 0.0 && self.seen_from.is_none() {
            self.seen_from = Some(t);
        }
        // WHY: a minute that cannot open anything needs no forecast; sparse series cost nothing.
        if self.open.is_none() && count < config.excess_min {
            self.cusum = (self.cusum - config.cusum_slack).max(0.0);
            self.remember(None);
            return None;
        }
        let forecast = self.forecast(t, config);
        let p = point(t, count, forecast);
        self.remember(Some(p));
        if self.open.is_some() {
            self.follow(t, p, config, closed);
            return None;
        }
        self.cusum = (self.cusum + p.z.min(10.0) - config.cusum_slack).max(0.0);
        let excess = count - p.expected;
        let step = p.z >= config.open_z && excess >= config.excess_min;
        let drift = self.cusum >= config.cusum_open && p.z > config.close_z && excess >= config.excess_min;
        let z = if drift { p.z.max(config.open_z) } else { p.z };
        (step || drift).then_some(Opening { z, forecast, point: p })
    }

    // What no forecast looks at any more.
    fn forget(&mut self, t: usize, config: &DetectorConfig) {
        let keep = config.profile_weeks.max(1) * WEEK + DAY;
        if t - self.base > 2 * keep {
            let old = t - keep - self.base;
            self.log.drain(..old);
            self.flagged.drain(..old);
            self.profile.drain(..old);
            self.base += old;
        }
    }

    fn flag(&mut self, m: usize, value: bool) {
        if let Some(slot) = m.checked_sub(self.base).and_then(|i| self.flagged.get_mut(i)) {
            // A minute that was usual and is not, or the other way round, changes the level.
            if *slot != value && m < self.level.to {
                self.level.to = 0;
            }
            *slot = value;
        }
    }

    fn remember(&mut self, p: Option<Point>) {
        match p {
            Some(p) => self.recent.push_back(p),
            None => self.recent.clear(),
        }
        if self.recent.len() > 30 {
            self.recent.pop_front();
        }
    }

    fn usable(&self, t: usize) -> Option<f64> {
        let i = t.checked_sub(self.base)?;
        let v = *self.log.get(i)?;
        let flagged = self.flagged.get(i).copied().unwrap_or(true);
        (!v.is_nan() && !flagged).then_some(v)
    }

    // Usable minutes around the same minute of earlier periods.
    fn gather(&self, pool: &mut Vec<f64>, t: usize, period: usize, times: usize, half: usize) {
        let start = self.seen_from.unwrap_or(t).max(self.base);
        for k in 1..=times {
            let Some(centre) = t.checked_sub(k * period).filter(|c| *c + half >= start) else { break };
            let range = centre.saturating_sub(half).max(start) - self.base..centre + half + 1 - self.base;
            let (Some(log), Some(flagged)) = (self.log.get(range.clone()), self.flagged.get(range)) else {
                break;
            };
            pool.extend(log.iter().zip(flagged).filter(|(v, f)| !v.is_nan() && !**f).map(|(v, _)| *v));
        }
    }

    // Median of the same minute of the week in earlier weeks; of the day while there is no week.
    fn profile_at(&mut self, t: usize, config: &DetectorConfig) -> f64 {
        if let Some(p) = t.checked_sub(self.base).and_then(|i| self.profile.get(i))
            && !p.is_nan()
        {
            return *p;
        }
        let mut pool = std::mem::take(&mut self.pool);
        pool.clear();
        self.gather(&mut pool, t, WEEK, config.profile_weeks, config.profile_half_width_min);
        if pool.len() < config.profile_half_width_min {
            self.gather(&mut pool, t, DAY, 6, 10);
        }
        let p = median(&mut pool).unwrap_or(0.0);
        self.pool = pool;
        if let Some(slot) = t.checked_sub(self.base).and_then(|i| self.profile.get_mut(i)) {
            *slot = p;
        }
        p
    }

    fn forecast(&mut self, t: usize, config: &DetectorConfig) -> Forecast {
        #[expect(clippy::cast_precision_loss, reason = "minutes of history")]
        let weeks = (t - self.seen_from.unwrap_or(t)) as f64 / WEEK as f64;
        let profile = self.profile_at(t, config);
        let level = match &self.open {
            Some(open) => open.level,
            None => self.level(t, config),
        };
        if self.scale.is_nan() || t >= self.scale_at + SCALE_EVERY {
            self.scale = self.spread(t, config);
            self.scale_at = t;
        }
        let expected = (profile + level).max(0.0);
        let rate = expected.exp_m1().max(0.0);
        let counting = (1.0 / (rate + 1.0) + config.dispersion * config.dispersion).sqrt();
        let widen = if weeks < 1.0 { 2.0 - weeks } else { 1.0 };
        let scale = self.scale.max(counting) * widen;
        Forecast { expected, scale, level, weeks }
    }

    // Median of what the last minutes were above their profile; kept in order as the window moves.
    fn level(&mut self, t: usize, config: &DetectorConfig) -> f64 {
        let start = self.seen_from.unwrap_or(t);
        let to = t.saturating_sub(LEVEL_LAG);
        let from = to.saturating_sub(config.level_min).max(start).min(to);
        let gap = self.level.to == 0 || from < self.level.from || from >= self.level.to;
        if gap {
            self.level = Level { sorted: Vec::with_capacity(config.level_min + 1), from, to: from };
        }
        while self.level.from < from {
            let m = self.level.from;
            if let Some(v) = self.usable(m) {
                let v = v - self.profile_at(m, config);
                self.level.remove(v);
            }
            self.level.from += 1;
        }
        while self.level.to < to {
            let m = self.level.to;
            if let Some(v) = self.usable(m) {
                let v = v - self.profile_at(m, config);
                self.level.insert(v);
            }
            self.level.to += 1;
        }
        self.level.median()
    }

    // Robust spread of past residuals around profile and the level of their own hour, over the hours on
    // the clock of the last week.
    fn spread(&mut self, t: usize, config: &DetectorConfig) -> f64 {
        let start = self.seen_from.unwrap_or(t).max(t.saturating_sub(WEEK));
        while self.hours.front().is_some_and(|h| h.0 < start) {
            self.hours.pop_front();
        }
        let next = self.hours.back().map_or(start.next_multiple_of(SCALE_EVERY), |h| h.0 + SCALE_EVERY);
        for block in (next..t.saturating_sub(SCALE_EVERY - 1)).step_by(SCALE_EVERY) {
            let mut hour = Vec::with_capacity(SCALE_EVERY);
            for m in block..block + SCALE_EVERY {
                if let Some(v) = self.usable(m) {
                    hour.push(v - self.profile_at(m, config));
                }
            }
            let mut sorted = hour.clone();
            let mid = median(&mut sorted).unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, reason = "a spread needs no more digits")]
            let distances = hour.iter().step_by(SCALE_STEP).map(|v| (v - mid).abs() as f32).collect();
            self.hours.push_back((block, distances));
        }
        let mut residuals: Vec<f64> = self.hours.iter().flat_map(|h| &h.1).map(|v| f64::from(*v)).collect();
        if residuals.len() < RESIDUALS_MIN {
            return 0.25;
        }
        median(&mut residuals).unwrap_or(0.25) * 1.4826
    }

    fn begin(&mut self, i: usize, t: usize, f: Forecast, p: Point, config: &DetectorConfig) {
        let mut points: Vec<Point> = Vec::new();
        for q in self.recent.iter().rev().skip(1) {
            if q.z < config.close_z {
                break;
            }
            points.push(*q);
        }
        points.reverse();
        points.push(p);
        let start = points.first().map_or(t, |q| q.minute);
        for m in start..=t {
            self.flag(m, true);
        }
        self.open = Some(Open {
            level: f.level,
            calm: 0,
            surge: Surge {
                series: i,
                start,
                noticed: t,
                enough: None,
                end: t,
                open: false,
                peak_z: points.iter().map(|q| q.z).fold(p.z, f64::max),
                history_weeks: f.weeks,
                points,
            },
        });
    }

    fn follow(&mut self, t: usize, p: Point, config: &DetectorConfig, closed: &mut Vec<Surge>) {
        let Some(open) = &mut self.open else { return };
        let calm = p.z < config.close_z || p.observed - p.expected < config.excess_min / 3.0;
        open.surge.points.push(p);
        open.surge.peak_z = open.surge.peak_z.max(p.z);
        if calm {
            open.calm += 1;
        } else {
            open.calm = 0;
            open.surge.end = t;
        }
        let endless = t - open.surge.start > config.surge_min_max;
        let ended = open.calm >= config.close_after_min || endless;
        self.flag(t, true);
        if ended {
            if let Some(done) = self.open.take() {
                let mut surge = done.surge;
                surge.points.retain(|q| q.minute <= surge.end);
                closed.push(surge);
            }
            self.cusum = 0.0;
            // The calm minutes that closed it are ordinary traffic.
            for m in (t + 1).saturating_sub(config.close_after_min)..=t {
                self.flag(m, false);
            }
        }
    }
}

/// Returns surges of different series grouped where they overlap in time, each group by start.
#[must_use]
pub fn group_surges(surges: Vec<Surge>, gap: usize) -> Vec<Vec<Surge>> {
    let mut groups: Vec<Vec<Surge>> = Vec::new();
    let mut end = 0;
    let mut sorted = surges;
    sorted.sort_by_key(|s| (s.start, s.series));
    for s in sorted {
        match groups.last_mut() {
            Some(group) if s.start <= end + gap => {
                end = end.max(s.end);
                group.push(s);
            }
            _ => {
                end = s.end;
                groups.push(vec![s]);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests;
