//! Table `metric_restatements`: published values that changed, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{Catalog, Grain, Interval, PipelineError, utc_microseconds};

use crate::catalogue::Metric;
use crate::evaluate::MetricValue;
use crate::store::{NAME, failed};

pub(crate) const RESTATEMENTS: &str = "metric_restatements";
/// Changes below this share of the value are rounding.
const SAME: f64 = 1e-9;

/// Returns the table `metric_restatements`.
///
/// # Shape
/// One row per stored value of a finished period that was computed again with another result.
/// `value_before` or `value_after` is null where the value was unknown; `maturity` is that of the
/// value before.
#[must_use]
pub fn metric_restatement_table() -> TableSpec {
    let (text, float) = (DataType::Utf8, DataType::Float64);
    let fields = [
        ("period_start", utc_microseconds()),
        ("grain", text.clone()),
        ("metric", text.clone()),
        ("version_before", DataType::Int64),
        ("version_after", DataType::Int64),
        ("value_before", float.clone()),
        ("value_after", float),
        ("maturity", text.clone()),
        ("reason", text),
        ("restated_at", utc_microseconds()),
    ];
    TableSpec {
        name: RESTATEMENTS.to_owned(),
        schema: Arc::new(Schema::new(
            fields.into_iter().map(|(n, k)| Field::new(n, k, true)).collect::<Vec<_>>(),
        )),
        time_column: Some("period_start".to_owned()),
    }
}

struct Before {
    version: i64,
    value: Option<f64>,
    maturity: String,
}

struct Restatement<'a> {
    metric: &'a Metric,
    grain: Grain,
    start_us: i64,
    before: Before,
    after: Option<f64>,
}

impl Restatement<'_> {
    fn reason(&self) -> &'static str {
        match (self.before.value, self.after) {
            _ if self.before.version != self.metric.version => "the definition has a new version",
            (None, Some(_)) => "what was missing has become known",
            (Some(_), None) => "what the value rests on is no longer complete",
            _ => "late rows, newer labels or other settings",
        }
    }
}

fn differs(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (None, None) => false,
        (Some(a), Some(b)) => (a - b).abs() > SAME * a.abs().max(b.abs()),
        _ => true,
    }
}

/// Returns the restatements of `wide`: those written before and those that `rows` bring.
pub(crate) async fn restated(
    catalog: &Catalog,
    wide: Interval,
    rows: &[(&Metric, Grain, MetricValue)],
    now_us: i64,
) -> Result<Vec<RecordBatch>, PipelineError> {
    let mut before = published(catalog).await?;
    let mut new = Vec::new();
    for (metric, grain, v) in rows {
        let Some(b) = before.remove(&(metric.name.clone(), grain.name(), v.period.from_us)) else { continue };
        if differs(b.value, v.value) {
            new.push(Restatement {
                metric,
                grain: *grain,
                start_us: v.period.from_us,
                before: b,
                after: v.value,
            });
        }
    }
    let mut out = earlier(catalog, wide).await?;
    out.push(batch(&new, now_us)?);
    Ok(out)
}

// Values of periods that were over when they were computed.
async fn published(
    catalog: &Catalog,
) -> Result<BTreeMap<(String, &'static str, i64), Before>, PipelineError> {
    let mut out = BTreeMap::new();
    if catalog.lake().existing(NAME).await?.is_none() {
        return Ok(out);
    }
    let sql = format!(
        "SELECT metric, grain, period_start, version, value, maturity FROM {NAME} WHERE period_end <= computed_at"
    );
    let grains = [Grain::Minute, Grain::Hour, Grain::Day, Grain::Week, Grain::Month, Grain::Year];
    for batch in catalog.query(&[NAME], &sql).await? {
        let text = |c: usize| cast(batch.column(c), &DataType::Utf8).map_err(failed);
        let (metric, grain, maturity) = (text(0)?, text(1)?, text(5)?);
        let (metric, grain) = (metric.as_string::<i32>(), grain.as_string::<i32>());
        let start = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let version = batch.column(3).as_primitive::<Int64Type>();
        let value = batch.column(4).as_primitive::<Float64Type>();
        for r in 0..batch.num_rows() {
            let Some(g) = grains.iter().find(|g| g.name() == grain.value(r)) else { continue };
            let known = Before {
                version: version.value(r),
                value: value.is_valid(r).then(|| value.value(r)),
                maturity: maturity.as_string::<i32>().value(r).to_owned(),
            };
            out.insert((metric.value(r).to_owned(), g.name(), start.value(r)), known);
        }
    }
    Ok(out)
}

async fn earlier(catalog: &Catalog, wide: Interval) -> Result<Vec<RecordBatch>, PipelineError> {
    let Some(table) = catalog.lake().existing(RESTATEMENTS).await? else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for file in table.files()? {
        for b in table.read_file(&file).await? {
            let start = b.column(0).as_primitive::<TimestampMicrosecondType>();
            let mask: BooleanArray =
                start.iter().map(|t| Some(t.is_some_and(|t| wide.contains(t)))).collect();
            out.push(filter_record_batch(&b, &mask).map_err(failed)?);
        }
    }
    Ok(out)
}

fn batch(rows: &[Restatement<'_>], now_us: i64) -> Result<RecordBatch, PipelineError> {
    let time = |f: &dyn Fn(&Restatement<'_>) -> i64| -> ArrayRef {
        let all: Vec<i64> = rows.iter().map(f).collect();
        Arc::new(TimestampMicrosecondArray::from(all).with_timezone("UTC"))
    };
    let text = |f: &dyn Fn(&Restatement<'_>) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|r| Some(f(r))).collect::<StringArray>())
    };
    let int = |f: &dyn Fn(&Restatement<'_>) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<Int64Array>())
    };
    let float = |f: &dyn Fn(&Restatement<'_>) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<Float64Array>())
    };
    let columns = vec![
        time(&|r| r.start_us),
        text(&|r| r.grain.name().to_owned()),
        text(&|r| r.metric.name.clone()),
        int(&|r| r.before.version),
        int(&|r| r.metric.version),
        float(&|r| r.before.value),
        float(&|r| r.after),
        text(&|r| r.before.maturity.clone()),
        text(&|r| r.reason().to_owned()),
        time(&|_| now_us),
    ];
    RecordBatch::try_new(metric_restatement_table().schema, columns).map_err(failed)
}
