//! The evidence on one incident in words: each value beside what other surges had.

use fishweir_metrics::{Evaluator, PipelineError, text_literal};
use serde_json::{Map, Value, json};

use crate::words::bare;

type Row = Map<String, Value>;

/// What each value says, in the order in which an engineer asks, and its unit.
const NAMES: [(&str, &str, &str); 20] = [
    ("stranger_share", "Brought by strangers", "share"),
    ("usual_stranger_share", "Strangers among usual requests", "share"),
    ("foreign_share", "Strangers from programs or networks of hardly any member", "share"),
    ("whole_share", "Of a burst on one mark, seen in all strangers against the days before", "share"),
    ("stranger_rise", "Strangers' requests, against the hours before", "times"),
    ("stranger_clients", "Strangers", "clients"),
    ("even_clients", "Strangers, if each brought the same", "clients"),
    ("busiest_share", "Brought by the busiest stranger", "share"),
    ("single_share", "Brought by the busiest client of all", "share"),
    ("excess_requests", "Beyond the usual", "requests"),
    ("anonymous_share", "Sent without an account", "share"),
    ("signed_in_share", "Of strangers, sent with an account", "share"),
    ("guarded_share", "Of strangers, for payments, gifts, sign-ups or passwords", "share"),
    ("sign_in_share", "For routes that sign in", "share"),
    ("top_route_share", "On the busiest route", "share"),
    ("client_rate_ratio", "Requests of each client, against before", "times"),
    ("client_rule_coverage", "Told by marks that its clients share", "share"),
    ("stopped_share", "Stopped by the defences", "share"),
    ("failed_share", "Failed by the service", "share"),
    ("notes", "Notes about this time", ""),
];
/// Surges from which on a range of them says something.
const RANGE_OF_MIN: usize = 5;
const OTHERS_MAX: usize = 2_000;

/// Returns one row per value: `name`, `means`, `unit`, `value` (null where the stream does not tell), and the range from the
/// tenth to the ninetieth percentile over other surges that were none (`usual_low`, `usual_high`, `usual_of`) and over other
/// attacks (`attacks_low`, `attacks_high`, `attacks_of`); a range of fewer than five is null.
///
/// # Errors
/// A query that fails.
pub(crate) async fn facts(evaluator: &Evaluator, incident: &Row) -> Result<Vec<Value>, PipelineError> {
    // Where the raw requests were gone nothing was learned: every value is unknown, and is said to be so.
    let own = parsed(incident).unwrap_or_default();
    let key = text_literal(incident.get("incident_id").and_then(Value::as_str).unwrap_or_default());
    let sql = format!(
        "SELECT kind, evidence FROM dos_incidents WHERE incident_id <> {key} AND evidence IS NOT NULL ORDER BY start DESC LIMIT {OTHERS_MAX}"
    );
    let others = evaluator.rows(&sql).await?;
    let (attacks, none): (Vec<&Row>, Vec<&Row>) =
        others.iter().partition(|o| o.get("kind").and_then(Value::as_str) == Some("attack"));
    let [attacks, none] = [attacks, none].map(|all| all.into_iter().filter_map(parsed).collect::<Vec<_>>());
    Ok(NAMES.iter().map(|n| fact(n, &own, &none, &attacks)).collect())
}

fn parsed(incident: &Row) -> Option<Row> {
    serde_json::from_str(incident.get("evidence")?.as_str()?).ok()
}

fn fact((name, means, unit): &(&str, &str, &str), own: &Row, none: &[Row], attacks: &[Row]) -> Value {
    let ((usual_low, usual_high, usual_of), (low, high, of)) = (range(none, name), range(attacks, name));
    json!({
        "name": name, "means": means, "unit": unit, "value": own.get(*name),
        "usual_low": usual_low, "usual_high": usual_high, "usual_of": usual_of,
        "attacks_low": low, "attacks_high": high, "attacks_of": of,
    })
}

fn range(rows: &[Row], name: &str) -> (Option<f64>, Option<f64>, usize) {
    let mut values: Vec<f64> = rows.iter().filter_map(|r| r.get(name)?.as_f64()).collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let enough = |i: usize| values.get(i).copied().filter(|_| n >= RANGE_OF_MIN);
    (enough(n / 10), enough(n.saturating_sub(1 + n / 10)), n)
}

/// A row of an incident's `evidence_facts` in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactWords {
    /// What the value is.
    pub what: String,
    /// The value; `unknown` where the stream does not tell.
    pub value: String,
    /// Its range in the other surges that were no attack.
    pub usual: String,
    /// Its range in the other attacks.
    pub attacks: String,
    /// Whether it lies outside the range of surges that were no attack.
    pub is_unusual: bool,
}

/// Returns a row of an incident's `evidence_facts` in words.
#[must_use]
pub fn fact_words(fact: &Row) -> FactWords {
    let text = |key: &str| fact.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| fact.get(key).and_then(Value::as_f64);
    let what = text("means").to_owned();
    if let Some(Value::Array(kinds)) = fact.get("value") {
        let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
        let value = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        return FactWords { what, value, ..FactWords::default() };
    }
    let said = |v: f64| match text("unit") {
        "times" => format!("{v:.1} times"),
        unit => bare(v, unit),
    };
    let range = |low: &str, high: &str, of: &str| match (number(low), number(high)) {
        (Some(low), Some(high)) => {
            let (low, high) = (said(low), said(high));
            let unit = [" %", " times"].into_iter().find(|u| high.ends_with(u)).unwrap_or_default();
            format!("{} to {high}", low.trim_end_matches(unit))
        }
        _ => format!("unknown ({} of {RANGE_OF_MIN})", number(of).unwrap_or(0.0)),
    };
    let beyond = |v: f64| {
        number("usual_low").is_some_and(|low| v < low) || number("usual_high").is_some_and(|high| v > high)
    };
    FactWords {
        what,
        value: number("value").map_or("unknown".to_owned(), said),
        usual: range("usual_low", "usual_high", "usual_of"),
        attacks: range("attacks_low", "attacks_high", "attacks_of"),
        is_unusual: number("value").is_some_and(beyond),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(v: Value) -> Row {
        v.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_value_stands_beside_its_range_and_a_range_of_few_is_unknown() {
        let none: Vec<Row> = (0..10).map(|i| row(json!({"stranger_share": f64::from(i) / 10.0}))).collect();
        let own = row(json!({"stranger_share": 0.95, "notes": ["deploy"]}));
        let of = |n: usize| row(fact(&NAMES[n], &own, &none, &none[..4]));
        let words = fact_words(&of(0));
        assert_eq!((words.what.as_str(), words.value.as_str()), ("Brought by strangers", "95 %"));
        assert_eq!((words.usual.as_str(), words.attacks.as_str()), ("10 to 80 %", "unknown (4 of 5)"));
        assert!(words.is_unusual);
        let unknown = fact_words(&of(2));
        assert_eq!((unknown.value.as_str(), unknown.is_unusual), ("unknown", false));
        assert_eq!(fact_words(&of(19)).value, "deploy");
        let never_looked = |n: usize| fact_words(&row(fact(&NAMES[n], &Row::new(), &none, &none))).value;
        assert!((0..NAMES.len()).all(|n| never_looked(n) == "unknown"));
    }
}
