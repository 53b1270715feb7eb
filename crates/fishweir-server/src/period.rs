//! Periods as the address of a page names them.

use fishweir_metrics::{DAY_US, Grain, Interval, parse_period, parse_time};
use fishweir_report::time;

use crate::problem::Problem;

/// A period, and those it is compared with.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// As in the address.
    pub(crate) name: String,
    pub(crate) period: Interval,
    pub(crate) previous: Interval,
    pub(crate) year_before: Interval,
}

/// Lengths offered, in days.
pub(crate) const LENGTHS: [(&str, i64); 4] = [("7d", 7), ("28d", 28), ("90d", 90), ("365d", 365)];
const DAYS_MAX: i64 = 3_700;

impl Asked {
    /// Returns the period in words.
    pub(crate) fn words(&self) -> String {
        format!("{} to {}", time(self.period.from_us, "%Y-%m-%d"), time(self.period.to_us - 1, "%Y-%m-%d"))
    }
}

/// Returns what a text such as `7d`, `2026-10`, `2026-W40` or `2026-10-01..2026-10-15` means; without one
/// the last four weeks, or one week where there is little data. Lengths end with the last sealed day.
pub(crate) fn asked(text: Option<&str>, sealed: Option<Interval>, now_us: i64) -> Result<Asked, Problem> {
    let end = sealed.map_or(now_us, |s| Grain::Day.floor(s.to_us + DAY_US - 1));
    let usual = match sealed {
        Some(s) if s.to_us - s.from_us < 56 * DAY_US => "7d",
        _ => "28d",
    };
    let name = text.map(str::trim).filter(|t| !t.is_empty()).unwrap_or(usual);
    let days = name.strip_suffix('d').and_then(|d| d.parse::<i64>().ok());
    let (period, grain) = match days {
        Some(d) if (1..=DAYS_MAX).contains(&d) => (Interval::new(end - d * DAY_US, end), Grain::Day),
        Some(_) => return Err(Problem::bad(format!("a period has 1 to {DAYS_MAX} days"))),
        None => parse_period(name).map_err(|e| Problem::bad(e.to_string()))?,
    };
    if period.to_us - period.from_us > DAYS_MAX * DAY_US {
        return Err(Problem::bad(format!("a period has at most {DAYS_MAX} days")));
    }
    let length = period.to_us - period.from_us;
    let previous = match grain {
        Grain::Month | Grain::Year => {
            let months = i64::try_from(period.split(Grain::Month).len()).unwrap_or(1);
            let from = (0..months).fold(period.from_us, |at, _| Grain::Month.previous(at));
            Interval::new(from, period.from_us)
        }
        _ => Interval::new(period.from_us - length, period.from_us),
    };
    // Whole weeks back keep the days of the week together.
    let back = 364 * DAY_US;
    let year_before = Interval::new(period.from_us - back, period.to_us - back);
    Ok(Asked { name: name.to_owned(), period, previous, year_before })
}

/// Returns the grain of a name, or one that makes a readable trend.
pub(crate) fn grain(text: Option<&str>, period: Interval) -> Result<Grain, Problem> {
    match text.filter(|t| !t.is_empty()) {
        None => Ok(fishweir_report::trend_grain(period)),
        Some("hour") => Ok(Grain::Hour),
        Some("day") => Ok(Grain::Day),
        Some("week") => Ok(Grain::Week),
        Some("month") => Ok(Grain::Month),
        Some("year") => Ok(Grain::Year),
        Some(other) => {
            Err(Problem::bad(format!("`{other}` is no grain\nhint: hour, day, week, month or year")))
        }
    }
}

/// Returns a time of an address, microseconds.
pub(crate) fn at(text: &str) -> Result<i64, Problem> {
    parse_time(text.trim()).map_err(|e| Problem::bad(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_end_with_the_last_sealed_day() {
        let sealed = Interval::new(0, 100 * DAY_US + 1);
        let a = asked(Some("7d"), Some(sealed), 0).unwrap();
        assert_eq!(a.period, Interval::new(94 * DAY_US, 101 * DAY_US));
        assert_eq!(a.previous, Interval::new(87 * DAY_US, 94 * DAY_US));
        assert_eq!(asked(None, Some(sealed), 0).unwrap().name, "28d");
        assert_eq!(asked(None, Some(Interval::new(0, 20 * DAY_US)), 0).unwrap().name, "7d");
        let month = asked(Some("2026-03"), None, 0).unwrap();
        assert_eq!(month.previous, parse_period("2026-02").unwrap().0);
        assert!(asked(Some("0d"), None, 0).is_err() && asked(Some("x"), None, 0).is_err());
    }
}
