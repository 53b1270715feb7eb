//! What people wrote down about the time of a surge.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use fishweir_pipeline::{Catalog, Interval, MINUTE_US, PipelineError};

use crate::series::between_sql;

/// Notes below this confidence are hearsay.
const CONFIDENCE_MIN: f64 = 0.8;
const SLACK_US: i64 = 15 * MINUTE_US;
/// A note without an end counts for two hours.
const LENGTH_US: i64 = 120 * MINUTE_US;

/// A planned or observed event: kind and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) kind: String,
    pub(crate) range: Interval,
}

/// Returns the trusted notes of a span.
pub(crate) async fn load(catalog: &Catalog, span: Interval) -> Result<Vec<Note>, PipelineError> {
    if catalog.lake().existing("notes").await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT time, until, kind FROM notes WHERE {} AND coalesce(confidence, 1.0) >= {CONFIDENCE_MIN} ORDER BY 1, 3",
        between_sql("time", Interval::new(span.from_us - 86_400_000_000, span.to_us))
    );
    let mut out = Vec::new();
    for batch in catalog.query(&["notes"], &sql).await? {
        let from = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let until = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let Ok(kind) = cast(batch.column(2), &DataType::Utf8) else { continue };
        let kind = kind.as_string::<i32>();
        for r in 0..batch.num_rows() {
            let end = if until.is_valid(r) { until.value(r) } else { from.value(r) + LENGTH_US };
            out.push(Note { kind: kind.value(r).to_owned(), range: Interval::new(from.value(r), end) });
        }
    }
    Ok(out)
}

/// Returns the kinds of the notes that a stretch of time meets, each once.
pub(crate) fn kinds(notes: &[Note], range: Interval) -> Vec<String> {
    let mut out: Vec<String> = notes
        .iter()
        .filter(|n| n.range.from_us - SLACK_US < range.to_us && range.from_us < n.range.to_us + SLACK_US)
        .map(|n| n.kind.clone())
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}
