//! What things cost, from the configuration.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Cost factors by name; `costs.<name>` in expressions of derived metrics.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<String, f64>")]
pub struct Costs(BTreeMap<String, f64>);

/// Name, default in US dollars or as a rate. Sources: docs/costs.md.
const DEFAULTS: &[(&str, f64)] = &[
    ("request_usd_per_million", 0.9),
    ("lost_stream_start_usd", 0.11),
    ("contact_usd", 8.01),
    ("downtime_minute_usd", 0.0),
    ("contacts_per_affected_client", 0.002),
    ("contacts_per_takeover", 1.5),
    ("takeover_credit_usd", 11.32),
    ("churn_per_takeover", 0.1),
    ("member_value_usd", 135.84),
    ("stream_starts_per_failed_request", 0.02),
];

impl Default for Costs {
    fn default() -> Self {
        Self::from(BTreeMap::new())
    }
}

impl From<BTreeMap<String, f64>> for Costs {
    fn from(given: BTreeMap<String, f64>) -> Self {
        let mut all: BTreeMap<String, f64> = DEFAULTS.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        all.extend(given);
        Self(all)
    }
}

impl Costs {
    /// Returns every factor.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, f64> {
        &self.0
    }

    /// Returns the expression with every `costs.<name>` replaced by its value.
    #[must_use]
    pub fn fill(&self, expression: &str) -> String {
        let mut names: Vec<_> = self.0.iter().collect();
        // Longer names first, so that one name within another is not cut.
        names.sort_by_key(|(k, _)| std::cmp::Reverse(k.len()));
        names
            .into_iter()
            .fold(expression.to_owned(), |e, (k, v)| e.replace(&format!("costs.{k}"), &format!("({v:?})")))
    }
}
