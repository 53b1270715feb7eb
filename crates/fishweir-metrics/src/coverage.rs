//! Which hours a value may rest on.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use fishweir_pipeline::{Book, Catalog, DAY_US, Grain, HOUR_US, Interval, Model, PipelineError};

use crate::catalogue::{Metric, Need};
use crate::evaluate::{broken, collect};

/// Days before which attacks may pass unseen: two tell who is a stranger, one more how many are usual.
const LEARNING_DAYS: i64 = 3;

/// Hours that are sealed, hours that are labelled, and since when defences are known to decide.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    sealed: BTreeMap<String, BTreeSet<i64>>,
    /// Spans in which a label is due or was never made, by the model that writes it.
    unlabelled: BTreeMap<String, Vec<Interval>>,
    first_decision_us: Option<i64>,
    /// First day on which accounts were used.
    first_use_us: Option<i64>,
}

/// Returns the model that writes a table.
pub(crate) fn owner(table: &str) -> &str {
    match table {
        t if t.starts_with("dos_incident") => "dos_incidents",
        "takeover_days" | "takeover_drivers" | "labelling_functions" | "account_episode_labels" => {
            "account_takeovers"
        }
        "login_campaign_attempts" | "login_days" => "login_campaigns",
        other => other,
    }
}

impl Coverage {
    /// Returns what the lake knows now; `labels` are the models whose rows are claims.
    pub(crate) async fn load(
        catalog: &Catalog,
        tables: &BTreeMap<String, Option<String>>,
        labels: &[Model],
        now_us: i64,
    ) -> Result<Self, PipelineError> {
        let mut out = Self::default();
        let context = catalog.session().await?;
        if tables.contains_key("certificates") {
            let frame = context.sql("SELECT stream, time FROM certificates").await;
            for batch in collect("certificates", frame).await? {
                let stream = cast(batch.column(0), &DataType::Utf8).map_err(broken)?;
                let time = batch.column(1).as_primitive::<TimestampMicrosecondType>();
                for r in 0..batch.num_rows() {
                    let hours = out.sealed.entry(stream.as_string::<i32>().value(r).to_owned()).or_default();
                    hours.insert(time.value(r));
                }
            }
        }
        if tables.contains_key("decision_hours") {
            let frame = context.sql("SELECT min(hour) FROM decision_hours").await;
            for batch in collect("decision_hours", frame).await? {
                let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                out.first_decision_us = time.iter().flatten().next().or(out.first_decision_us);
            }
        }
        if tables.contains_key("takeover_days") {
            let frame = context.sql("SELECT min(day) FROM takeover_days").await;
            for batch in collect("takeover_days", frame).await? {
                let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                out.first_use_us = time.iter().flatten().next().or(out.first_use_us);
            }
        }
        let book = Book::load(catalog.lake()).await?;
        for model in labels {
            let due = book.stale(&model.name, model.version, &model.inputs, Grain::Hour, now_us + DAY_US);
            out.unlabelled.insert(model.name.clone(), due);
        }
        Ok(out)
    }

    /// Returns the first and the end of the last sealed hour of a stream.
    pub(crate) fn span(&self, stream: &str) -> Option<Interval> {
        let hours = self.sealed.get(stream)?;
        Some(Interval::new(*hours.first()?, hours.last()? + HOUR_US))
    }

    /// Returns the share of a period that holds what the metric's own table needs: sealed hours
    /// and, where the table is a label, labels that are up to date.
    pub(crate) fn share(&self, metric: &Metric, period: Interval, now_us: i64) -> f64 {
        let Some(hours) = self.sealed.get(&metric.stream) else { return 0.0 };
        let none = Vec::new();
        let missing = metric.from.as_deref().and_then(|t| self.unlabelled.get(owner(t))).unwrap_or(&none);
        let end = period.to_us.min(now_us);
        // Requests come every hour; of a quieter stream an empty hour says nothing, an empty day does.
        let busy = metric.stream == "requests" || metric.stream == "health";
        let unit = if busy && period.to_us - period.from_us <= DAY_US { HOUR_US } else { DAY_US };
        let (mut all, mut known) = (0.0, 0.0);
        let learned_us = self.learned_us(metric).unwrap_or(i64::MIN);
        let mut at = period.from_us;
        while at < end {
            let slot = if busy {
                Interval::new(at, at + unit)
            } else {
                Interval::new(at, at + unit).align(Grain::Day)
            };
            let whole = slot.from_us >= learned_us
                && hours.range(slot.from_us..slot.to_us).next().is_some()
                && !missing.iter().any(|m| m.overlaps(slot));
            all += 1.0;
            known += f64::from(u8::from(whole));
            at += unit;
        }
        if all > 0.0 { known / all } else { 0.0 }
    }

    // Until when attacks may pass unseen because nothing is usual yet; `None` for what does not rest on them.
    fn learned_us(&self, metric: &Metric) -> Option<i64> {
        let rests = metric.from.as_deref().is_some_and(|t| owner(t) == "dos_incidents");
        let first = self.sealed.get("requests")?.first()?;
        rests.then_some(first + LEARNING_DAYS * DAY_US)
    }

    /// Returns why nothing is known of a period whose data lies in the days from which the detectors learn;
    /// `None` where it does not.
    pub(crate) fn learning(&self, metric: &Metric, period: Interval) -> Option<String> {
        let until = self.learned_us(metric)?;
        let sealed = self.span("requests").filter(|s| s.overlaps(period))?;
        (sealed.to_us.min(period.to_us) <= until).then(|| {
            format!(
                "attacks are told from what is usual, and that takes the first {LEARNING_DAYS} days of data"
            )
        })
    }

    /// Returns why a metric lacks what it needs; `None` when it has it.
    pub(crate) fn undecided(&self, need: Need, period: Interval) -> Option<String> {
        let used_for = |days: i64| match self.first_use_us {
            Some(first) if first + days * DAY_US <= period.from_us => None,
            _ => Some(format!("accounts have less than {days} days of history at the start of this period")),
        };
        match need {
            Need::DaysOfUse => return used_for(3),
            Need::WeekOfUse => return used_for(7),
            Need::Contacts => {
                let any =
                    self.sealed.get("contacts").and_then(|h| h.first()).is_some_and(|h| *h < period.to_us);
                return (!any).then(|| {
                    "no contact with customer service is recorded up to the end of this period".to_owned()
                });
            }
            Need::Decisions => {}
        }
        match self.first_decision_us {
            Some(first) if first < period.to_us => None,
            _ => Some("no defence decision is recorded up to the end of this period".to_owned()),
        }
    }
}
