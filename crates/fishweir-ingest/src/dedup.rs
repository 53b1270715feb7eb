//! Removes events whose id the lake already has.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_lake::{LakeError, Table};

/// Returns the batches without rows whose `(source, event_id)` occurs earlier in them or in the
/// table, and how many rows were dropped.
///
/// # Limits
/// Memory holds the ids of these batches; ids in the table are streamed past. Only files whose
/// time range meets the batches are read: an id that comes again with another time far away is
/// another event.
pub(crate) async fn drop_known(
    raw: &Table,
    source: &str,
    batches: Vec<RecordBatch>,
) -> Result<(Vec<RecordBatch>, u64), LakeError> {
    let Some((low, high)) = time_range(&batches) else { return Ok((batches, 0)) };
    let mut ours: HashSet<&str> = HashSet::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let ids: Vec<&StringViewArray> =
        batches.iter().filter_map(|b| Some(b.column_by_name("event_id")?.as_string_view())).collect();
    ids.iter().for_each(|a| ours.extend(a.iter().flatten()));
    for file in raw.files()? {
        if file.time.is_some_and(|t| t.max_us < low || t.min_us > high) {
            continue;
        }
        for batch in raw.read_columns(&file, &["source", "event_id"]).await? {
            let (Some(id), Some(src)) = (batch.column_by_name("event_id"), batch.column_by_name("source"))
            else {
                continue;
            };
            let text = |a: &ArrayRef| {
                cast(a, &DataType::Utf8)
                    .map_err(|e| LakeError::Rows { table: raw.name().to_owned(), cause: e.to_string() })
            };
            let (id, src) = (text(id)?, text(src)?);
            let (id, src) = (id.as_string::<i32>(), src.as_string::<i32>());
            for row in 0..id.len() {
                if src.value(row) == source
                    && let Some(known) = ours.get(id.value(row))
                {
                    seen.insert(known);
                }
            }
        }
    }
    let mut dropped = 0;
    let mut out = Vec::with_capacity(batches.len());
    for (batch, ids) in batches.iter().zip(&ids) {
        let keep: BooleanArray = ids.iter().map(|id| Some(id.is_some_and(|id| seen.insert(id)))).collect();
        dropped += (batch.num_rows() - keep.true_count()) as u64;
        let kept = filter_record_batch(batch, &keep)
            .map_err(|e| LakeError::Rows { table: raw.name().to_owned(), cause: e.to_string() })?;
        out.push(kept);
    }
    Ok((out, dropped))
}

fn time_range(batches: &[RecordBatch]) -> Option<(i64, i64)> {
    let times = batches.iter().filter_map(|b| {
        let t = b.column_by_name("time")?.as_primitive::<TimestampMicrosecondType>();
        Some((arrow::compute::min(t)?, arrow::compute::max(t)?))
    });
    times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
