//! Alert rules: YAML files that say what is worth a message, and to whom.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A rule or destination that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AlertError {
    /// No valid YAML of a rule.
    #[error("alert file `{file}`: {cause}")]
    Yaml {
        /// File.
        file: String,
        /// Parser message with line and column.
        cause: String,
    },
    /// A key is missing or at odds with the others.
    #[error("alert file `{file}`: {cause}\nhint: {cure}")]
    Key {
        /// File.
        file: String,
        /// What is wrong.
        cause: String,
        /// What to do.
        cure: String,
    },
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A surge of one of `kinds` is open, live or sealed.
    Incident,
    /// A metric over the last `days` crosses a bound.
    Metric,
    /// A rule of the defences is likely more often wrong than `above` allows.
    RuleGoneBad,
    /// A finding of one of `kinds` appeared: an unknown defence, rule, version or route, a break.
    Finding,
    /// A stream that brought events brings none for `minutes`.
    StreamStopped,
    /// Less than `below` of the last `days` holds sealed data.
    CoverageFell,
}

/// How loud a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be read some day.
    Info,
    /// To be looked at today.
    #[default]
    Warn,
    /// Wakes somebody.
    Page,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Name.
    pub name: String,
    /// Title of the message.
    pub title: String,
    /// What the reader should do.
    pub action: String,
    /// What it looks at.
    pub on: Trigger,
    /// How loud.
    #[serde(default)]
    pub severity: Severity,
    /// Names of destinations.
    #[serde(default = "stdout")]
    pub to: Vec<String>,
    /// Kinds of surges or findings; all when left out.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Probability of an attack that a surge needs.
    pub least_probability: Option<f64>,
    /// Requests a minute above expectation that a surge needs.
    pub least_per_minute: Option<f64>,
    /// Metric.
    pub metric: Option<String>,
    /// Opens above this.
    pub above: Option<f64>,
    /// Opens below this.
    pub below: Option<f64>,
    /// Closes only when the value is back beyond this; the opening bound when left out.
    pub clear: Option<f64>,
    /// Looks in a row that must agree before it opens or closes.
    #[serde(default = "once")]
    pub times: u32,
    /// Days looked at.
    #[serde(default = "week")]
    pub days: u32,
    /// Minutes without an event.
    #[serde(default = "quarter")]
    pub minutes: u32,
    /// Hours after which an alert that is still open is said again; 0 says it once.
    #[serde(default)]
    pub repeat_h: u32,
    /// Whether it is used.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn stdout() -> Vec<String> {
    vec!["stdout".to_owned()]
}
const fn once() -> u32 {
    1
}
const fn week() -> u32 {
    7
}
const fn quarter() -> u32 {
    15
}
const fn yes() -> bool {
    true
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Name that rules use.
    pub name: String,
    /// Form of the message.
    pub kind: DestinationKind,
    /// Address.
    pub url: Option<String>,
    /// Environment variable that holds the address, which often is a secret.
    pub url_env: Option<String>,
}

/// Form of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    /// The message as JSON.
    Webhook,
    /// What Slack and those who imitate it take.
    Slack,
    /// A line on standard output.
    Stdout,
}

impl AlertRule {
    /// Returns whether a value opens it.
    #[must_use]
    pub fn opens(&self, value: f64) -> bool {
        self.above.is_some_and(|b| value > b) || self.below.is_some_and(|b| value < b)
    }

    /// Returns whether a value closes it: it must be back beyond `clear`, so that a value that wavers
    /// about the bound is said once.
    #[must_use]
    pub fn closes(&self, value: f64) -> bool {
        match (self.above, self.below) {
            (Some(b), _) => value <= self.clear.unwrap_or(b),
            (None, Some(b)) => value >= self.clear.unwrap_or(b),
            (None, None) => true,
        }
    }

    /// Returns whether a surge is one of those that the rule is about.
    #[must_use]
    pub fn means(&self, kind: &str, p_attack: Option<f64>, per_minute: Option<f64>) -> bool {
        // A bound that cannot be held against anything is not met.
        let met =
            |least: Option<f64>, known: Option<f64>| least.is_none_or(|l| known.is_some_and(|k| k >= l));
        let named = self.kinds.is_empty() || self.kinds.iter().any(|k| k == kind);
        named && met(self.least_probability, p_attack) && met(self.least_per_minute, per_minute)
    }

    fn check(&self, file: &str) -> Result<(), AlertError> {
        let wrong = |cause: &str, cure: &str| {
            Err(AlertError::Key { file: file.to_owned(), cause: cause.to_owned(), cure: cure.to_owned() })
        };
        if self.title.trim().is_empty() || self.action.trim().is_empty() {
            return wrong("title or action is empty", "say what happened and what the reader should do");
        }
        let bounded = self.above.is_some() != self.below.is_some();
        match self.on {
            Trigger::Metric if self.metric.is_none() => wrong("`metric` is missing", "name a metric"),
            Trigger::Metric if !bounded => wrong("one bound is needed", "give `above` or `below`, not both"),
            Trigger::RuleGoneBad if self.above.is_none() => {
                wrong("`above` is missing", "give the share of wrong hits from which on a rule is bad")
            }
            Trigger::CoverageFell if self.below.is_none() => {
                wrong("`below` is missing", "give the share of the period that must hold data")
            }
            _ => match (self.above, self.below, self.clear) {
                (Some(a), _, Some(c)) if c > a => wrong("`clear` lies above `above`", "it must lie below it"),
                (_, Some(b), Some(c)) if c < b => wrong("`clear` lies below `below`", "it must lie above it"),
                _ => Ok(()),
            },
        }
    }
}

/// Returns the rules of the given files (name, text) that are in use.
///
/// # Errors
/// The first file that does not load, a name used twice, a destination nobody knows.
pub fn load_alerts(
    files: &[(String, String)],
    destinations: &[Destination],
) -> Result<Vec<AlertRule>, AlertError> {
    let mut out: Vec<AlertRule> = Vec::new();
    for (file, text) in files {
        let rule: AlertRule = serde_saphyr::from_str(text)
            .map_err(|e| AlertError::Yaml { file: file.clone(), cause: e.to_string() })?;
        rule.check(file)?;
        let key =
            |cause: String, cure: &str| AlertError::Key { file: file.clone(), cause, cure: cure.to_owned() };
        if out.iter().any(|r| r.name == rule.name) {
            return Err(key(format!("`{}` is defined twice", rule.name), "rename one of them"));
        }
        for to in &rule.to {
            if to != "stdout" && !destinations.iter().any(|d| &d.name == to) {
                return Err(key(
                    format!("no destination is called `{to}`"),
                    "add [[destinations]] to fishweir.toml",
                ));
            }
        }
        if rule.enabled {
            out.push(rule);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Vec<(String, String)> {
        vec![("a.yaml".to_owned(), text.to_owned())]
    }

    const METRIC: &str = "name: a\ntitle: A\naction: look\non: metric\nmetric: dos_stopped_share\n";

    #[test]
    fn a_rule_closes_only_beyond_its_clear_bound() {
        let rule = load_alerts(&file(&format!("{METRIC}below: 0.8\nclear: 0.9\n")), &[]).unwrap().remove(0);
        assert!(rule.opens(0.79) && !rule.opens(0.8));
        assert!(!rule.closes(0.85) && rule.closes(0.9));
    }

    #[test]
    fn mistakes_name_file_and_cure() {
        for (text, part) in [
            (METRIC.to_owned(), "one bound is needed"),
            (format!("{METRIC}below: 0.8\nclear: 0.7\n"), "lies below"),
            (format!("{METRIC}below: 0.8\nto: [pager]\n"), "no destination"),
            (format!("{METRIC}belwo: 0.8\n"), "belwo"),
        ] {
            let e = load_alerts(&file(&text), &[]).unwrap_err().to_string();
            assert!(e.contains("a.yaml") && e.contains(part), "{e}");
        }
    }
}
