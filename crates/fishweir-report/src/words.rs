//! Numbers, intervals and changes in words.

use fishweir_metrics::{Direction, MetricValue};

/// Smallest group of people that a report shows as a number.
const PEOPLE_MIN: f64 = 20.0;

/// Returns a number with its unit as people write it.
#[must_use]
pub fn amount(value: f64, unit: &str) -> String {
    match unit {
        // Groups this small could point at people.
        "members" if value > 0.0 && value < PEOPLE_MIN => format!("fewer than {PEOPLE_MIN} members"),
        "share" => format!("{} %", digits(value * 100.0)),
        "US dollars" if value.abs() < 100.0 => format!("${value:.2}"),
        "US dollars" => format!("${}", grouped(value)),
        "microseconds" if value >= 1e6 => format!("{} s", digits(value / 1e6)),
        "microseconds" => format!("{} ms", digits(value / 1e3)),
        "seconds" => duration(value),
        "minutes" => format!("{} min", grouped(value)),
        other => format!("{} {}", grouped(value), plural(other, value)),
    }
}

/// Returns a bare number with its unit's scale but without its word.
#[must_use]
pub fn bare(value: f64, unit: &str) -> String {
    match unit {
        "share" | "US dollars" | "microseconds" | "seconds" | "minutes" => amount(value, unit),
        "members" if value > 0.0 && value < PEOPLE_MIN => format!("below {PEOPLE_MIN}"),
        _ => grouped(value),
    }
}

fn plural(unit: &str, value: f64) -> String {
    match unit.strip_suffix('s') {
        Some(one) if value == 1.0 && !unit.ends_with("ss") => one.to_owned(),
        _ => unit.to_owned(),
    }
}

fn duration(seconds: f64) -> String {
    let s = seconds.round();
    if s < 60.0 {
        format!("{s} s")
    } else if s < 3600.0 {
        let rest = s % 60.0;
        if rest == 0.0 {
            format!("{} min", (s / 60.0).floor())
        } else {
            format!("{} min {rest} s", (s / 60.0).floor())
        }
    } else {
        format!("{} h {} min", (s / 3600.0).floor(), ((s % 3600.0) / 60.0).round())
    }
}

fn digits(v: f64) -> String {
    let a = v.abs();
    if v == 0.0 {
        "0".to_owned()
    } else if a < 0.01 {
        format!("{v:.4}")
    } else if a < 1.0 {
        format!("{v:.2}")
    } else if a < 100.0 {
        let t = format!("{v:.1}");
        t.strip_suffix(".0").map_or_else(|| t.clone(), str::to_owned)
    } else {
        grouped(v)
    }
}

fn grouped(v: f64) -> String {
    let a = v.abs();
    if a >= 1e9 {
        return format!("{:.2} billion", v / 1e9);
    }
    if a >= 1e7 {
        return format!("{:.1} million", v / 1e6);
    }
    if a < 100.0 && a.fract() != 0.0 {
        return digits(v);
    }
    let whole = format!("{:.0}", a.round());
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if v < 0.0 { format!("-{out}") } else { out }
}

/// Returns the interval of a value, empty when it is exact.
#[must_use]
pub fn interval(v: &MetricValue, unit: &str) -> String {
    match (v.value, v.low, v.high) {
        (Some(x), Some(low), Some(high)) if (high - low).abs() > 1e-9 * x.abs().max(1e-9) => {
            let (low, high) = (bare(low, unit), bare(high, unit));
            if low == high { String::new() } else { format!("{low} to {high}") }
        }
        _ => String::new(),
    }
}

/// Coverages further apart than this make a sum of one period no measure for the other.
const COVERAGE_APART: f64 = 0.05;

/// Returns how a value changed against an earlier one, as a phrase. Nothing is compared where much more is known of
/// one than of the other; the phrase then says how much is known.
#[must_use]
pub fn change(now: &MetricValue, then: Option<&MetricValue>, against: &str, unit: &str) -> String {
    let Some(then) = then else { return format!("{against}: not compared") };
    match (now.value, then.value) {
        (_, None) => {
            format!("{against}: unknown ({})", then.reason.as_deref().unwrap_or("no reason given"))
        }
        (_, Some(b)) if then.coverage < now.coverage - COVERAGE_APART => {
            format!(
                "{against}: {} in the {} of it that is known",
                amount(b, unit),
                amount(then.coverage, "share")
            )
        }
        (Some(_), Some(b)) if now.coverage < then.coverage - COVERAGE_APART => {
            let known = amount(now.coverage, "share");
            format!("{against}: {} (not compared: only {known} of this period is known)", amount(b, unit))
        }
        (None, Some(b)) => format!("{against}: {}", amount(b, unit)),
        (Some(a), Some(b)) if unit == "share" => {
            let points = (a - b) * 100.0;
            let shown =
                if points.abs() < 0.005 { "no change".to_owned() } else { format!("{points:+.2} points") };
            format!("{against}: {} ({shown})", amount(b, unit))
        }
        (Some(a), Some(b)) if b != 0.0 => {
            let relative = (a / b - 1.0) * 100.0;
            let shown = if relative.abs() < 0.05 {
                "no change".to_owned()
            } else if relative > 900.0 {
                format!("{:.0} times as much", a / b)
            } else {
                format!("{relative:+.0} %")
            };
            format!("{against}: {} ({shown})", amount(b, unit))
        }
        (Some(_), Some(b)) => format!("{against}: {}", amount(b, unit)),
    }
}

/// Returns `better`, `worse` or nothing; only when the intervals do not overlap and about as much is known of both.
#[must_use]
pub fn verdict(now: &MetricValue, then: Option<&MetricValue>, direction: Direction) -> &'static str {
    let Some(then) = then else { return "" };
    let (Some(a), Some(b)) = (now.value, then.value) else { return "" };
    if (now.coverage - then.coverage).abs() > COVERAGE_APART {
        return "";
    }
    let apart = match (now.low, now.high, then.low, then.high) {
        (Some(al), Some(ah), Some(bl), Some(bh)) => al > bh || bl > ah,
        _ => (a - b).abs() > f64::EPSILON,
    };
    if !apart {
        return "";
    }
    match (direction, a < b) {
        (Direction::LowerIsBetter, true) | (Direction::HigherIsBetter, false) => "better",
        (Direction::LowerIsBetter, false) | (Direction::HigherIsBetter, true) => "worse",
        (Direction::Neutral, _) => "",
    }
}

/// Returns a time as text, UTC.
#[must_use]
pub fn time(us: i64, form: &str) -> String {
    chrono::DateTime::from_timestamp_micros(us).map_or_else(|| us.to_string(), |t| t.format(form).to_string())
}
