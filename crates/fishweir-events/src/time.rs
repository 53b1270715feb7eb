//! Half-open UTC intervals, calendar grains and the period names users type.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeZone, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Half-open interval `[from, to)` in microseconds since the epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// First microsecond inside.
    pub from_us: i64,
    /// First microsecond after.
    pub to_us: i64,
}

impl Interval {
    /// Returns the interval from `from_us` up to but not including `to_us`.
    #[must_use]
    pub const fn new(from_us: i64, to_us: i64) -> Self {
        Self { from_us, to_us }
    }

    /// Returns whether the instant lies inside.
    #[must_use]
    pub const fn contains(self, us: i64) -> bool {
        self.from_us <= us && us < self.to_us
    }

    /// Returns whether no instant lies inside.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.from_us >= self.to_us
    }

    /// Returns whether the two share an instant.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.from_us < other.to_us && other.from_us < self.to_us
    }

    /// Returns the shared part, possibly empty.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self::new(self.from_us.max(other.from_us), self.to_us.min(other.to_us))
    }

    /// Returns the intervals merged where they touch or overlap, in order.
    #[must_use]
    pub fn coalesce(mut all: Vec<Self>) -> Vec<Self> {
        all.retain(|i| !i.is_empty());
        all.sort_unstable();
        let mut out: Vec<Self> = Vec::with_capacity(all.len());
        for i in all {
            match out.last_mut() {
                Some(last) if i.from_us <= last.to_us => last.to_us = last.to_us.max(i.to_us),
                _ => out.push(i),
            }
        }
        out
    }

    /// Returns the grain-aligned intervals that cover this one, in order.
    #[must_use]
    pub fn split(self, grain: Grain) -> Vec<Self> {
        let mut out = Vec::new();
        let mut at = grain.floor(self.from_us);
        while at < self.to_us {
            let next = grain.next(at);
            out.push(Self::new(at, next));
            at = next;
        }
        out
    }

    /// Returns the smallest grain-aligned interval that covers this one.
    #[must_use]
    pub fn align(self, grain: Grain) -> Self {
        let to = grain.floor(self.to_us);
        let to = if to == self.to_us { to } else { grain.next(to) };
        Self::new(grain.floor(self.from_us), to)
    }
}

/// Calendar grain of a rollup or metric, UTC; weeks start on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// Monday to Sunday.
    Week,
    /// Calendar month.
    Month,
    /// Calendar year.
    Year,
}

/// Microseconds of a minute.
pub const MINUTE_US: i64 = 60_000_000;
/// Microseconds of an hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds of a day.
pub const DAY_US: i64 = 24 * HOUR_US;

/// Returns a text as a SQL literal, with its quotes.
#[must_use]
pub fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns an instant as a SQL timestamp literal in UTC, to the microsecond.
#[must_use]
pub fn time_literal(us: i64) -> String {
    format!(
        "TIMESTAMP '{}'",
        DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.6fZ")
    )
}

impl Grain {
    /// Returns the word used in files and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Returns the start of the grain interval that holds the instant.
    #[must_use]
    pub fn floor(self, us: i64) -> i64 {
        match self {
            Self::Minute => us - us.rem_euclid(MINUTE_US),
            Self::Hour => us - us.rem_euclid(HOUR_US),
            Self::Day => us - us.rem_euclid(DAY_US),
            // WHY: 1970-01-01 was a Thursday, three days after a Monday.
            Self::Week => us - (us + 3 * DAY_US).rem_euclid(7 * DAY_US),
            Self::Month => {
                let d = date(us);
                start_of(d.with_day(1).unwrap_or(d))
            }
            Self::Year => {
                let d = date(us);
                start_of(NaiveDate::from_ymd_opt(d.year(), 1, 1).unwrap_or(d))
            }
        }
    }

    /// Returns the start of the next grain interval, given the start of one.
    #[must_use]
    pub fn next(self, start_us: i64) -> i64 {
        match self {
            Self::Minute => start_us + MINUTE_US,
            Self::Hour => start_us + HOUR_US,
            Self::Day => start_us + DAY_US,
            Self::Week => start_us + 7 * DAY_US,
            Self::Month => shift(start_us, 1),
            Self::Year => shift(start_us, 12),
        }
    }

    /// Returns the start of the previous grain interval, given the start of one.
    #[must_use]
    pub fn previous(self, start_us: i64) -> i64 {
        self.floor(start_us - 1)
    }
}

fn date(us: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(us).unwrap_or_default().date_naive()
}

fn start_of(d: NaiveDate) -> i64 {
    d.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

fn shift(start_us: i64, months: u32) -> i64 {
    let d = date(start_us);
    start_of(d.checked_add_months(Months::new(months)).unwrap_or(NaiveDate::MAX))
}

/// A period or instant that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeriodError {
    /// No known form.
    #[error(
        "`{0}` is no period; write 2026, 2026-Q3, 2026-10, 2026-W40, 2026-10-05 or 2026-10-01..2026-10-15"
    )]
    Period(String),
    /// No known form of an instant.
    #[error("`{0}` is no time; write 2026-10-05, 2026-10-05T14:30 or 2026-10-05T14:30:00Z")]
    Time(String),
}

/// Returns the interval and natural grain of a period name.
///
/// # Errors
/// Text in none of the documented forms.
pub fn parse_period(text: &str) -> Result<(Interval, Grain), PeriodError> {
    let bad = || PeriodError::Period(text.to_owned());
    if let Some((a, b)) = text.split_once("..") {
        let from = parse_time(a).map_err(|_| bad())?;
        let to = parse_time(b).map_err(|_| bad())?;
        return if from < to { Ok((Interval::new(from, to), Grain::Day)) } else { Err(bad()) };
    }
    let parts: Vec<&str> = text.split('-').collect();
    let year = parts.first().and_then(|y| y.parse::<i32>().ok()).filter(|_| text.len() >= 4);
    let first = |m: u32| year.and_then(|y| NaiveDate::from_ymd_opt(y, m, 1)).ok_or_else(bad);
    let of = |d: NaiveDate, g: Grain| {
        let from = start_of(d);
        (Interval::new(from, g.next(from)), g)
    };
    match parts.as_slice() {
        [_] => Ok(of(first(1)?, Grain::Year)),
        [_, q] if q.starts_with('Q') => {
            let n: u32 = q[1..].parse().map_err(|_| bad())?;
            if !(1..=4).contains(&n) {
                return Err(bad());
            }
            let from = start_of(first(n * 3 - 2)?);
            Ok((Interval::new(from, shift(from, 3)), Grain::Month))
        }
        [_, w] if w.starts_with('W') => {
            let n: u32 = w[1..].parse().map_err(|_| bad())?;
            let d =
                year.and_then(|y| NaiveDate::from_isoywd_opt(y, n, chrono::Weekday::Mon)).ok_or_else(bad)?;
            Ok(of(d, Grain::Week))
        }
        [_, m] => Ok(of(first(m.parse().map_err(|_| bad())?)?, Grain::Month)),
        [_, _, _] => {
            let d = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| bad())?;
            Ok(of(d, Grain::Day))
        }
        _ => Err(bad()),
    }
}

/// Returns microseconds since the epoch of a date or date-time, UTC unless it carries an offset.
///
/// # Errors
/// Text in none of the documented forms.
pub fn parse_time(text: &str) -> Result<i64, PeriodError> {
    let text = text.trim();
    if let Ok(t) = DateTime::parse_from_rfc3339(text) {
        return Ok(t.timestamp_micros());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(t) = NaiveDateTime::parse_from_str(text, form) {
            return Ok(Utc.from_utc_datetime(&t).timestamp_micros());
        }
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .and_then(|d| d.checked_add_days(Days::new(0)))
        .map(start_of)
        .ok_or_else(|| PeriodError::Time(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(period: &str, from: &str, to: &str) {
        let (i, _) = parse_period(period).unwrap();
        assert_eq!(i, Interval::new(parse_time(from).unwrap(), parse_time(to).unwrap()), "{period}");
    }

    #[test]
    fn periods_have_calendar_bounds() {
        check("2008", "2008-01-01", "2009-01-01");
        check("2026-Q3", "2026-07-01", "2026-10-01");
        check("2026-02", "2026-02-01", "2026-03-01");
        check("2026-W01", "2025-12-29", "2026-01-05");
        check("2026-10-05", "2026-10-05", "2026-10-06");
        check("2026-10-01..2026-10-15", "2026-10-01", "2026-10-15");
        for bad in ["", "26", "2026-13", "2026-Q5", "yesterday", "2026-10-15..2026-10-01"] {
            assert!(parse_period(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn grains_floor_before_and_after_the_epoch() {
        let t = parse_time("1969-12-31T23:59:59").unwrap();
        assert_eq!(Grain::Hour.floor(t), parse_time("1969-12-31T23:00").unwrap());
        assert_eq!(Grain::Week.floor(t), parse_time("1969-12-29").unwrap());
        assert_eq!(Grain::Month.next(parse_time("2024-01-01").unwrap()), parse_time("2024-02-01").unwrap());
    }

    #[test]
    fn coalesce_joins_touching_intervals() {
        let i = |a, b| Interval::new(a, b);
        assert_eq!(Interval::coalesce(vec![i(5, 9), i(0, 5), i(20, 20), i(12, 14)]), [i(0, 9), i(12, 14)]);
    }
}
