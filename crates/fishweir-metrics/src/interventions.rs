//! What followed each intervention: the metrics in its scope, 7, 14 and 28 days later.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use fishweir_detect::{Impact, discoveries};
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Grain, Interval, Model, NativeModel, NativeOutput, PipelineError, fingerprint,
    time_literal, utc_microseconds,
};
use serde::Deserialize;

use crate::catalogue::{Audience, Direction, Metric, MetricType};
use crate::evaluate::Evaluator;
use crate::store::MetricValues;
use crate::study::{Question, study};

const NAME: &str = "interventions";
const CHECKPOINTS: [u32; 3] = [7, 14, 28];
/// The longest checkpoint, and the day of the event itself.
const FOLLOW_DAYS: i64 = 29;
const BEFORE_DAYS: u32 = 180;
const RATE: f64 = 0.05;

/// Native model of `interventions`.
#[derive(Clone)]
pub struct Interventions(MetricValues);

impl Interventions {
    /// Returns the model over the same catalogue as the metric values.
    #[must_use]
    pub const fn new(metrics: MetricValues) -> Self {
        Self(metrics)
    }
}

/// What an intervention was meant to move.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scope {
    metrics: Vec<String>,
    control: Option<String>,
}

struct Followed {
    time_us: i64,
    title: String,
    metric: String,
    control: Option<String>,
    days: u32,
    result: Result<Impact, String>,
    verdict: &'static str,
    outcome: Option<&'static str>,
    stable: bool,
}

/// Returns the table `interventions`.
///
/// # Shape
/// One row per note of kind `intervention`, metric in its scope and checkpoint (7, 14, 28 days) that has
/// come. `verdict` is `rise`, `fall`, `no evidence of a change` or `unknown`; `outcome` is `better` or
/// `worse` for metrics of which one way is good. `stable` when two checkpoints agree or the last has come.
#[must_use]
pub fn intervention_table() -> TableSpec {
    let (text, float) = (DataType::Utf8, DataType::Float64);
    let fields = [
        ("time", utc_microseconds()),
        ("title", text.clone()),
        ("metric", text.clone()),
        ("control", text.clone()),
        ("days_after", DataType::Int64),
        ("change", float.clone()),
        ("low", float.clone()),
        ("high", float.clone()),
        ("p", float.clone()),
        ("minimum_detectable", float),
        ("verdict", text.clone()),
        ("outcome", text.clone()),
        ("stable", DataType::Boolean),
        ("reason", text),
        ("computed_at", utc_microseconds()),
    ];
    TableSpec {
        name: NAME.to_owned(),
        schema: Arc::new(Schema::new(
            fields.into_iter().map(|(n, k)| Field::new(n, k, true)).collect::<Vec<_>>(),
        )),
        time_column: Some("time".to_owned()),
    }
}

// Without a scope: what managers and executives read by day.
fn scope(text: Option<&str>, all: &BTreeMap<String, Metric>) -> Scope {
    let mut scope: Scope = text.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
    let fits = |m: &Metric| m.grains.contains(&Grain::Day) && m.kind != MetricType::Top;
    scope.metrics.retain(|m| all.get(m).is_some_and(fits));
    scope.control = scope.control.filter(|c| all.contains_key(c));
    if scope.metrics.is_empty() {
        let read = |m: &&Metric| fits(m) && m.audience.iter().any(|a| *a != Audience::Operational);
        scope.metrics = all.values().filter(read).map(|m| m.name.clone()).collect();
    }
    scope
}

fn outcome(verdict: &str, direction: Direction) -> Option<&'static str> {
    match (verdict, direction) {
        ("rise", Direction::HigherIsBetter) | ("fall", Direction::LowerIsBetter) => Some("better"),
        ("fall", Direction::HigherIsBetter) | ("rise", Direction::LowerIsBetter) => Some("worse"),
        _ => None,
    }
}

// Time, title and scope of the interventions of a span.
async fn notes(
    catalog: &Catalog,
    span: Interval,
) -> Result<Vec<(i64, String, Option<String>)>, PipelineError> {
    const TABLE: &str = "notes";
    if catalog.lake().existing(TABLE).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT time, title, scope FROM {TABLE} WHERE kind = 'intervention' AND time >= {} AND time < {} ORDER BY 1, 2",
        time_literal(span.from_us),
        time_literal(span.to_us)
    );
    let mut out = Vec::new();
    for batch in catalog.query(&[TABLE], &sql).await? {
        let bad =
            |e: arrow::error::ArrowError| PipelineError::Query { what: sql.clone(), cause: e.to_string() };
        let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let (title, scope) = (
            cast(batch.column(1), &DataType::Utf8).map_err(bad)?,
            cast(batch.column(2), &DataType::Utf8).map_err(bad)?,
        );
        let (title, scope) = (title.as_string::<i32>(), scope.as_string::<i32>());
        for r in 0..batch.num_rows() {
            let scope = scope.is_valid(r).then(|| scope.value(r).to_owned());
            out.push((time.value(r), title.value(r).to_owned(), scope));
        }
    }
    Ok(out)
}

async fn follow(
    evaluator: &Evaluator,
    time_us: i64,
    title: &str,
    scope: &Scope,
    until_us: i64,
) -> Result<Vec<Followed>, PipelineError> {
    let mut out: Vec<Followed> = Vec::new();
    for days in CHECKPOINTS {
        let mut found = Vec::new();
        for metric in &scope.metrics {
            let control = scope.control.as_deref().filter(|c| c != metric);
            let q =
                Question { metric, part: None, control, event_us: time_us, before: BEFORE_DAYS, after: days };
            if q.span().to_us > until_us {
                return Ok(out);
            }
            found.push((metric, control, study(evaluator, &q).await?));
        }
        // As many chances to be wrong as metrics.
        let p: Vec<f64> = found.iter().map(|f| f.2.as_ref().map_or(f64::NAN, |i| i.regression.p)).collect();
        let kept = discoveries(&p, p.len(), RATE);
        for ((metric, control, result), kept) in found.into_iter().zip(kept) {
            let verdict = match &result {
                Err(_) => "unknown",
                Ok(i) if kept && i.changed() => {
                    if i.regression.value > 0.0 {
                        "rise"
                    } else {
                        "fall"
                    }
                }
                Ok(_) => "no evidence of a change",
            };
            let before = out.iter().rfind(|o| &o.metric == metric).map(|o| o.verdict);
            let direction = evaluator.metrics().get(metric).map(|m| m.direction);
            out.push(Followed {
                time_us,
                title: title.to_owned(),
                metric: metric.clone(),
                control: control.map(str::to_owned),
                days,
                verdict,
                outcome: direction.and_then(|d| outcome(verdict, d)),
                stable: verdict != "unknown" && (days == CHECKPOINTS[2] || before == Some(verdict)),
                result,
            });
        }
    }
    Ok(out)
}

fn rows(all: &[Followed], now_us: i64) -> Result<RecordBatch, PipelineError> {
    let text = |f: &dyn Fn(&Followed) -> Option<String>| -> ArrayRef {
        Arc::new(all.iter().map(f).collect::<StringArray>())
    };
    let float = |f: &dyn Fn(&Impact) -> f64| -> ArrayRef {
        let known = |r: &Followed| r.result.as_ref().ok().map(f).filter(|v| v.is_finite());
        Arc::new(all.iter().map(known).collect::<Float64Array>())
    };
    let time = |f: &dyn Fn(&Followed) -> i64| -> ArrayRef {
        let times: Vec<i64> = all.iter().map(f).collect();
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    let columns = vec![
        time(&|r| r.time_us),
        text(&|r| Some(r.title.clone())),
        text(&|r| Some(r.metric.clone())),
        text(&|r| r.control.clone()),
        Arc::new(all.iter().map(|r| Some(i64::from(r.days))).collect::<Int64Array>()),
        float(&|i| i.regression.value),
        float(&|i| i.regression.low),
        float(&|i| i.regression.high),
        float(&|i| i.regression.p),
        float(&|i| i.minimum_detectable),
        text(&|r| Some(r.verdict.to_owned())),
        text(&|r| r.outcome.map(str::to_owned)),
        Arc::new(all.iter().map(|r| Some(r.stable)).collect::<BooleanArray>()),
        text(&|r| r.result.as_ref().err().cloned()),
        time(&|_| now_us),
    ];
    RecordBatch::try_new(intervention_table().schema, columns)
        .map_err(|e| PipelineError::Native { model: NAME.to_owned(), cause: e.to_string() })
}

#[async_trait]
impl NativeModel for Interventions {
    fn model(&self) -> Model {
        Model {
            keys: ["time", "title", "metric", "days_after"].map(str::to_owned).to_vec(),
            inputs: ["notes", "metric_values"].map(str::to_owned).to_vec(),
            ..Model::native(
                NAME,
                "What followed each intervention, 7, 14 and 28 days later.",
                fingerprint(["interventions-1", &self.0.model().version.to_string()]),
                "time",
            )
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        vec![intervention_table()]
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        // A day of values changes the verdict on everything up to four weeks before it.
        let wide = Interval::new(range.from_us - FOLLOW_DAYS * DAY_US, range.to_us);
        let mut all = Vec::new();
        let notes = notes(catalog, wide).await?;
        if !notes.is_empty() {
            let evaluator = self.0.evaluator(catalog, now_us).await?;
            let until_us = evaluator.sealed_span("requests").map_or(0, |s| s.to_us);
            for (us, title, text) in notes {
                let scope = scope(text.as_deref(), evaluator.metrics());
                all.extend(follow(&evaluator, us, &title, &scope, until_us).await?);
            }
        }
        let batch = rows(&all, now_us)?;
        Ok(NativeOutput { range: Some(wide), tables: BTreeMap::from([(NAME.to_owned(), vec![batch])]) })
    }
}
