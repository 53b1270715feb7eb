//! What Fishweir found against what truly happened: pure comparison, no files, no tables.

pub(crate) mod campaigns;
pub(crate) mod incidents;
pub(crate) mod patterns;
pub(crate) mod rules;
pub(crate) mod takeovers;
pub(crate) mod values;

use std::collections::BTreeMap;

use fishweir_detect::wilson;
use serde::Serialize;
use serde_json::Value;

/// A share with its 95 % interval; unknown with a reason, never a made-up 0 or 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rate {
    /// Share.
    pub(crate) value: Option<f64>,
    /// Lower end.
    pub(crate) low: Option<f64>,
    /// Upper end.
    pub(crate) high: Option<f64>,
    /// How many.
    pub(crate) hits: usize,
    /// Out of how many.
    pub(crate) of: usize,
    /// Why it is unknown.
    pub(crate) reason: Option<String>,
}

impl Rate {
    /// Returns a share of a count; unknown when there is nothing to take a share of.
    pub(crate) fn of(hits: usize, of: usize, nothing: &str) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of incidents")]
        let (h, n) = (hits as f64, of as f64);
        let bounds = wilson(h, n);
        Self {
            value: (of > 0).then(|| h / n),
            low: bounds.map(|b| b.low),
            high: bounds.map(|b| b.high),
            hits,
            of,
            reason: (of == 0).then(|| nothing.to_owned()),
        }
    }
}

/// Score of one kind of label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Score {
    /// Share of the found that are true.
    pub(crate) precision: Option<f64>,
    /// Lower end.
    pub(crate) precision_low: Option<f64>,
    /// Upper end.
    pub(crate) precision_high: Option<f64>,
    /// Share of the true that are found.
    pub(crate) recall: Option<f64>,
    /// Lower end.
    pub(crate) recall_low: Option<f64>,
    /// Upper end.
    pub(crate) recall_high: Option<f64>,
    /// Found.
    pub(crate) found: usize,
    /// Found and true.
    pub(crate) found_true: usize,
    /// True.
    pub(crate) truth: usize,
    /// True and found.
    pub(crate) truth_found: usize,
    /// Why a rate is unknown.
    pub(crate) reason: Option<String>,
    /// More figures of this kind, by name.
    pub(crate) detail: BTreeMap<String, Value>,
}

impl Score {
    pub(crate) fn new(precision: Rate, recall: Rate) -> Self {
        Self {
            precision: precision.value,
            precision_low: precision.low,
            precision_high: precision.high,
            recall: recall.value,
            recall_low: recall.low,
            recall_high: recall.high,
            found: precision.of,
            found_true: precision.hits,
            truth: recall.of,
            truth_found: recall.hits,
            reason: precision.reason.or(recall.reason),
            detail: BTreeMap::new(),
        }
    }

    /// Returns the score of a kind that nothing labels yet.
    pub(crate) fn unknown(reason: &str) -> Self {
        let nothing = || Rate::of(0, 0, reason);
        Self::new(nothing(), nothing())
    }

    pub(crate) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.detail.insert(name.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }
}

/// Median, or nothing of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|v| v.is_finite());
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => values.get(n / 2).copied(),
        _ => Some(f64::midpoint(*values.get(n / 2 - 1)?, *values.get(n / 2)?)),
    }
}
