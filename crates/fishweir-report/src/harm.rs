//! What an incident did to members, in words.

use serde_json::{Map, Value};

use crate::stories::number;
use crate::words::{amount, bare};

type Row = Map<String, Value>;

// Whole, as people count.
fn count(v: f64) -> String {
    bare(v.round() + 0.0, "")
}

// A count that chance moves, with its interval.
fn counted(i: &Row, key: &str) -> Option<String> {
    let n = |end: &str| number(i, &format!("{key}{end}")).map(count);
    let best = n("")?;
    Some(match (n("_low"), n("_high")) {
        (Some(low), Some(high)) => format!("{best} ({low} to {high})"),
        _ => best,
    })
}

fn starts(i: &Row) -> String {
    let n = |end: &str| number(i, &format!("playback_starts_missed{end}"));
    let (Some(missed), Some(low), Some(high), Some(expected)) =
        (n(""), n("_low"), n("_high"), number(i, "playback_starts_expected"))
    else {
        return "unknown: longer than a day, or too little of playback or of the week before is known"
            .to_owned();
    };
    let expected = count(expected);
    if missed.round() < 0.0 {
        let (more, least, most) = (count(-missed), count(-high), count(-low));
        return format!("none: {more} ({least} to {most}) more came than the {expected} expected");
    }
    format!("{} ({} to {}) of {expected} expected", count(missed), count(low), count(high))
}

fn recovered(i: &Row) -> String {
    match number(i, "time_to_recover_s") {
        Some(s) if s <= 0.0 => "they always were".to_owned(),
        Some(s) => format!("after {}", amount(s, "seconds")),
        None => "unknown: not within an hour after its end, or later answers are not known yet".to_owned(),
    }
}

fn who(i: &Row) -> String {
    let Some(members) = i.get("members").and_then(Value::as_array) else {
        return "unknown until the next run".to_owned();
    };
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for m in members.iter().filter_map(Value::as_object) {
        let text = |key: &str| m.get(key).and_then(Value::as_str).unwrap_or_default();
        let dimension = match text("dimension") {
            "agent_class" => "device class",
            "asn" => "network",
            other => other,
        };
        let one = format!("{} {}", text("value"), bare(number(m, "members").unwrap_or(0.0), ""));
        match parts.iter_mut().find(|p| p.0 == dimension) {
            Some(p) => p.1.push(one),
            None => parts.push((dimension.to_owned(), vec![one])),
        }
    }
    match (parts.is_empty(), number(i, "members_affected")) {
        (true, Some(n)) if n <= 0.0 => "nobody".to_owned(),
        // Counted by an earlier version, whose raw requests are gone.
        (true, Some(_)) => "unknown: only their number is stored".to_owned(),
        (true, None) => "unknown".to_owned(),
        _ => {
            parts.into_iter().map(|(d, all)| format!("{d} {}", all.join(", "))).collect::<Vec<_>>().join("; ")
        }
    }
}

/// Returns what an incident did beyond failed requests, each with its name: playback starts missed against other days,
/// failures of playback, contacts, when answers were as usual again, who was hit. What is unknown is said to be so.
#[must_use]
pub fn harm_words(i: &Row) -> Vec<(&'static str, String)> {
    let beyond =
        |key: &str| counted(i, key).map_or("unknown".to_owned(), |n| format!("{n} beyond the usual"));
    vec![
        ("Playback starts missed", starts(i)),
        ("Failures of playback", beyond("playback_failures_extra")),
        ("Contacts in the day from its start", beyond("contacts_extra")),
        ("Answers as usual again", recovered(i)),
        ("Members hit, most by", who(i)),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(i: Value) -> Vec<String> {
        harm_words(&i.as_object().cloned().unwrap_or_default()).into_iter().map(|w| w.1).collect()
    }

    #[test]
    fn harm_is_told_with_its_interval_and_what_is_unknown_is_said_so() {
        let known = words(json!({
            "playback_starts_missed": 41.6, "playback_starts_missed_low": -3.2, "playback_starts_missed_high": 86.4,
            "playback_starts_expected": 720.0, "playback_failures_extra": 3.0, "contacts_extra": 2.0,
            "time_to_recover_s": 780, "members_affected": 5.0,
            "members": [
                {"dimension": "country", "value": "IE", "members": 4.0}, {"dimension": "country", "value": "GB", "members": 1.0},
                {"dimension": "agent_class", "value": "tv", "members": 5.0},
            ],
        }));
        assert_eq!(known[0], "42 (-3 to 86) of 720 expected");
        assert_eq!(known[1..4], ["3 beyond the usual", "2 beyond the usual", "after 13 min"]);
        assert_eq!(known[4], "country IE 4, GB 1; device class tv 5");
        let launch = words(json!({
            "playback_starts_missed": -111.0, "playback_starts_missed_low": -170.0, "playback_starts_missed_high": -53.0,
            "playback_starts_expected": 432.0,
        }));
        assert_eq!(launch[0], "none: 111 (53 to 170) more came than the 432 expected");
        let who = |n: f64| words(json!({"members": [], "members_affected": n}))[4].clone();
        assert_eq!(
            (who(0.0).as_str(), who(198.0).as_str()),
            ("nobody", "unknown: only their number is stored")
        );
        let nothing = words(json!({"members": []}));
        assert!(nothing.iter().all(|w| w.starts_with("unknown")), "{nothing:?}");
    }
}
