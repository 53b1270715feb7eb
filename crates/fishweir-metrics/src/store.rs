//! Table `metric_values`: the stored values of every metric.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, MapBuilder, MapFieldNames, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Grain, Interval, Model, NativeModel, NativeOutput, PipelineError, fingerprint,
    utc_microseconds,
};

use crate::catalogue::{Metric, MetricType};
use crate::costs::Costs;
use crate::coverage::owner;
use crate::evaluate::{Buckets, Evaluator, MetricValue};
use crate::restate::{RESTATEMENTS, metric_restatement_table, restated};

/// Native model of `metric_values`.
#[derive(Clone)]
pub struct MetricValues {
    metrics: Vec<Metric>,
    costs: Costs,
    labels: Vec<Model>,
    raw_days: u32,
}

pub(crate) const NAME: &str = "metric_values";

/// Returns the table `metric_values`.
///
/// # Shape
/// One row per metric, grain and period that holds sealed data. `dims` is a map of text to text
/// (empty for the whole, `label` for the winner of a ranking). `value` is null when it cannot be
/// known; `reason` then says why.
#[must_use]
pub fn metric_value_table() -> TableSpec {
    let (text, float) = (DataType::Utf8, DataType::Float64);
    let fields = [
        ("period_start", utc_microseconds()),
        ("period_end", utc_microseconds()),
        ("grain", text.clone()),
        ("metric", text.clone()),
        ("version", DataType::Int64),
        ("dims", dims_type()),
        ("value", float.clone()),
        ("low", float.clone()),
        ("high", float.clone()),
        ("n", float.clone()),
        ("coverage", float),
        ("label_source", text.clone()),
        ("maturity", text.clone()),
        ("reason", text),
        ("computed_at", utc_microseconds()),
    ];
    TableSpec {
        name: NAME.to_owned(),
        schema: Arc::new(Schema::new(
            fields.into_iter().map(|(n, k)| Field::new(n, k, true)).collect::<Vec<_>>(),
        )),
        time_column: Some("period_start".to_owned()),
    }
}

pub(crate) fn dims_type() -> DataType {
    let entry = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into(),
    );
    DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
}

/// Returns one map per label: empty, or `label` with the winner of a ranking.
pub(crate) fn dims<'a>(labels: impl Iterator<Item = Option<&'a str>>) -> Result<ArrayRef, PipelineError> {
    let names =
        MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut out = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for label in labels {
        if let Some(label) = label {
            out.keys().append_value("label");
            out.values().append_value(label);
        }
        out.append(true).map_err(failed)?;
    }
    Ok(Arc::new(out.finish()))
}

impl MetricValues {
    /// Returns the model of a catalogue; `labels` are the models whose tables hold claims.
    #[must_use]
    pub fn new(metrics: Vec<Metric>, costs: Costs, labels: Vec<Model>, raw_days: u32) -> Self {
        Self { metrics, costs, labels, raw_days }
    }

    pub(crate) async fn evaluator(&self, catalog: &Catalog, now_us: i64) -> Result<Evaluator, PipelineError> {
        let costs = self.costs.clone();
        Evaluator::new(catalog, &self.metrics, costs, &self.labels, self.raw_days, now_us).await
    }

    fn sources(&self) -> Vec<String> {
        let all = self.metrics.iter().flat_map(|m| [&m.from, &m.from_hour]).flatten();
        // Tables written beside another model change together with it.
        let known: BTreeSet<String> = all.map(|t| owner(t).to_owned()).collect();
        known.into_iter().collect()
    }

    // A changed definition, cost or catalogue makes every stored value stale.
    fn fingerprint(&self) -> i64 {
        let mut parts: Vec<String> =
            self.metrics.iter().map(|m| serde_json::to_string(m).unwrap_or_default()).collect();
        parts.extend(self.costs.all().iter().map(|(k, v)| format!("{k}{v:?}")));
        parts.push("values-2".to_owned());
        fingerprint(parts.iter().map(String::as_str))
    }
}

#[async_trait]
impl NativeModel for MetricValues {
    fn model(&self) -> Model {
        Model {
            keys: ["metric", "grain", "period_start", "dims"].map(str::to_owned).to_vec(),
            inputs: self.sources(),
            ..Model::native(
                NAME,
                "Values of every metric, with interval, n, coverage and maturity.",
                self.fingerprint(),
                "period_start",
            )
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        vec![metric_value_table(), metric_restatement_table()]
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        let evaluator = self.evaluator(catalog, now_us).await?;
        let mut rows: Vec<(&Metric, Grain, MetricValue)> = Vec::new();
        for metric in &self.metrics {
            for grain in &metric.grains {
                // A trailing window reaches forward: later periods contain the changed days too.
                let ahead = i64::from(
                    metric.window_days.filter(|_| metric.kind == MetricType::Cumulative).unwrap_or(0),
                );
                let span =
                    Interval::new(range.from_us, (range.to_us + ahead * DAY_US).min(now_us.max(range.to_us)));
                let values = evaluator.values(&metric.name, Buckets::Each(*grain, span), None).await?;
                rows.extend(values.into_iter().filter(|v| v.coverage > 0.0).map(|v| (metric, *grain, v)));
            }
        }
        let wide = Interval::new(
            Grain::Year.floor(range.from_us),
            Grain::Year.next(Grain::Year.floor(now_us.max(range.to_us))),
        );
        // Week 1 may begin in the year before.
        let wide = Interval::new(wide.from_us - 7 * DAY_US, wide.to_us);
        let fresh: BTreeSet<(String, &str, i64)> =
            rows.iter().map(|(m, g, v)| (m.name.clone(), g.name(), v.period.from_us)).collect();
        let names: BTreeSet<&str> = self.metrics.iter().map(|m| m.name.as_str()).collect();
        let restated = restated(catalog, wide, &rows, now_us).await?;
        let mut batches = vec![batch(&rows, now_us)?];
        batches.extend(kept(catalog, wide, &fresh, &names).await?);
        let tables = [(NAME.to_owned(), batches), (RESTATEMENTS.to_owned(), restated)];
        Ok(NativeOutput { range: Some(wide), tables: BTreeMap::from(tables) })
    }
}

// Stored values of other periods stay; values of metrics that no longer exist go.
async fn kept(
    catalog: &Catalog,
    wide: Interval,
    fresh: &BTreeSet<(String, &str, i64)>,
    names: &BTreeSet<&str>,
) -> Result<Vec<RecordBatch>, PipelineError> {
    let Some(table) = catalog.lake().existing(NAME).await? else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for file in table.files()? {
        for b in table.read_file(&file).await? {
            let text = |n: &str| b.column_by_name(n).and_then(|c| cast(c, &DataType::Utf8).ok());
            let (Some(metric), Some(grain), Some(start)) =
                (text("metric"), text("grain"), b.column_by_name("period_start"))
            else {
                continue;
            };
            let (metric, grain) = (metric.as_string::<i32>(), grain.as_string::<i32>());
            let start = start.as_primitive::<TimestampMicrosecondType>();
            let mask: BooleanArray = (0..b.num_rows())
                .map(|r| {
                    let known = fresh.contains(&(metric.value(r).to_owned(), grain.value(r), start.value(r)));
                    Some(wide.contains(start.value(r)) && !known && names.contains(metric.value(r)))
                })
                .collect();
            out.push(filter_record_batch(&b, &mask).map_err(failed)?);
        }
    }
    Ok(out)
}

pub(crate) fn failed(e: arrow::error::ArrowError) -> PipelineError {
    PipelineError::Native { model: NAME.to_owned(), cause: e.to_string() }
}

fn batch(rows: &[(&Metric, Grain, MetricValue)], now_us: i64) -> Result<RecordBatch, PipelineError> {
    let time = |f: &dyn Fn(&MetricValue) -> i64| -> ArrayRef {
        let all: Vec<i64> = rows.iter().map(|r| f(&r.2)).collect();
        Arc::new(TimestampMicrosecondArray::from(all).with_timezone("UTC"))
    };
    let text = |f: &dyn Fn(&(&Metric, Grain, MetricValue)) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<StringArray>())
    };
    let float = |f: &dyn Fn(&MetricValue) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|r| f(&r.2)).collect::<Float64Array>())
    };
    let columns = vec![
        time(&|v| v.period.from_us),
        time(&|v| v.period.to_us),
        text(&|r| Some(r.1.name().to_owned())),
        text(&|r| Some(r.0.name.clone())),
        Arc::new(rows.iter().map(|r| r.0.version).collect::<Int64Array>()),
        dims(rows.iter().map(|r| r.2.label.as_deref()))?,
        float(&|v| v.value),
        float(&|v| v.low),
        float(&|v| v.high),
        float(&|v| Some(v.n)),
        float(&|v| Some(v.coverage)),
        text(&|r| Some(r.2.label_source.clone())),
        text(&|r| Some(r.2.maturity.to_owned())),
        text(&|r| r.2.reason.clone()),
        time(&|_| now_us),
    ];
    RecordBatch::try_new(metric_value_table().schema, columns).map_err(failed)
}
