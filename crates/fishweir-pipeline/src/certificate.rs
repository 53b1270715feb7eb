//! The proof that a rollup accounts for every raw row of an interval.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_events::{Grain, Interval, Stream, utc_microseconds};
use fishweir_lake::{LakeError, Table, TableSpec};
use futures::StreamExt as _;

use crate::catalog::{Catalog, times};
use crate::error::PipelineError;

/// Grain of the seal.
pub(crate) const SEAL: Grain = Grain::Hour;

/// One sealed hour of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Stream.
    pub stream: String,
    /// The hour.
    pub range: Interval,
    /// Rows of the rollups with this number in `late` come from the raw rows that live now. 0 at
    /// first; a new, larger number each time the raw rows are deleted.
    pub generation: i64,
    /// Raw rows that live now.
    pub raw_rows: i64,
    /// Raw rows that were certified and then deleted.
    pub deleted_rows: i64,
    /// Rows that the rollups account for; equals `raw_rows + deleted_rows`.
    pub rollup_rows: i64,
    /// Rows that arrived after the hour had first been sealed.
    pub late_rows: i64,
    /// Rows of the stream refused during this hour (by arrival).
    pub rejected_rows: i64,
    /// `pending`, `sealed`, `deleting` or `deleted`.
    pub state: String,
    /// When this was written, microseconds.
    pub sealed_at_us: i64,
}

/// Returns the table `certificates`: one row per sealed hour and stream.
#[must_use]
pub fn certificate_table() -> TableSpec {
    let int = |n: &str| Field::new(n, DataType::Int64, false);
    TableSpec {
        name: "certificates".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new("time", utc_microseconds(), false),
            Field::new("until", utc_microseconds(), false),
            Field::new("stream", DataType::Utf8, false),
            int("generation"),
            int("raw_rows"),
            int("deleted_rows"),
            int("rollup_rows"),
            int("late_rows"),
            int("rejected_rows"),
            Field::new("state", DataType::Utf8, false),
            Field::new("sealed_at", utc_microseconds(), false),
        ])),
        time_column: Some("time".to_owned()),
    }
}

/// Certificates of all streams, by stream and start of the hour.
pub(crate) type Certificates = BTreeMap<(String, i64), Certificate>;

pub(crate) async fn load(table: &Table) -> Result<Certificates, LakeError> {
    let mut out = Certificates::new();
    for file in table.files()? {
        for batch in table.read_file(&file).await? {
            read(&batch, &mut out);
        }
    }
    Ok(out)
}

fn read(batch: &RecordBatch, out: &mut Certificates) {
    let time = |n: &str| batch.column_by_name(n).map(|c| c.as_primitive::<TimestampMicrosecondType>());
    let int = |n: &str| batch.column_by_name(n).map(|c| c.as_primitive::<Int64Type>());
    let text = |n: &str| batch.column_by_name(n).map(|c| c.as_string::<i32>());
    let (Some(from), Some(to), Some(at)) = (time("time"), time("until"), time("sealed_at")) else { return };
    let (Some(stream), Some(state)) = (text("stream"), text("state")) else { return };
    let names = ["generation", "raw_rows", "deleted_rows", "rollup_rows", "late_rows", "rejected_rows"];
    let ints: Vec<_> = names.iter().filter_map(|n| int(n)).collect();
    let [generation, raw, deleted, rollup, late, rejected] = ints.as_slice() else { return };
    for r in 0..batch.num_rows() {
        let c = Certificate {
            stream: stream.value(r).to_owned(),
            range: Interval::new(from.value(r), to.value(r)),
            generation: generation.value(r),
            raw_rows: raw.value(r),
            deleted_rows: deleted.value(r),
            rollup_rows: rollup.value(r),
            late_rows: late.value(r),
            rejected_rows: rejected.value(r),
            state: state.value(r).to_owned(),
            sealed_at_us: at.value(r),
        };
        out.insert((c.stream.clone(), c.range.from_us), c);
    }
}

/// Writes the given certificates in the place of those of the same hours, in one step.
pub(crate) async fn store(
    table: &mut Table,
    all: &mut Certificates,
    new: Vec<Certificate>,
) -> Result<(), LakeError> {
    if new.is_empty() {
        return Ok(());
    }
    let ranges = Interval::coalesce(new.iter().map(|c| c.range).collect());
    for c in new {
        all.insert((c.stream.clone(), c.range.from_us), c);
    }
    // WHY: the table holds all streams, so the hours are rewritten with every stream's row.
    let rows: Vec<&Certificate> =
        all.values().filter(|c| ranges.iter().any(|r| r.overlaps(c.range))).collect();
    let time = |f: &dyn Fn(&Certificate) -> i64| -> ArrayRef {
        let v: Vec<i64> = rows.iter().map(|c| f(c)).collect();
        Arc::new(TimestampMicrosecondArray::from(v).with_timezone("UTC"))
    };
    let int = |f: &dyn Fn(&Certificate) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|c| f(c)).collect::<Int64Array>())
    };
    let text = |f: &dyn Fn(&Certificate) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|c| Some(f(c))).collect::<StringArray>())
    };
    let columns = vec![
        time(&|c| c.range.from_us),
        time(&|c| c.range.to_us),
        text(&|c| c.stream.clone()),
        int(&|c| c.generation),
        int(&|c| c.raw_rows),
        int(&|c| c.deleted_rows),
        int(&|c| c.rollup_rows),
        int(&|c| c.late_rows),
        int(&|c| c.rejected_rows),
        text(&|c| c.state.clone()),
        time(&|c| c.sealed_at_us),
    ];
    let batch = RecordBatch::try_new(certificate_table().schema, columns)
        .map_err(|e| LakeError::Rows { table: table.name().to_owned(), cause: e.to_string() })?;
    table.refresh().await?;
    table.replace(&ranges, futures::stream::iter([Ok(batch)]).boxed()).await?;
    Ok(())
}

/// Live raw rows per hour of one stream.
#[derive(Clone, Debug, Default)]
pub struct RawCounts {
    /// Start of the hour to rows.
    pub hours: BTreeMap<i64, i64>,
}

impl RawCounts {
    /// Returns the live rows per hour of a pinned raw table.
    ///
    /// Files that lie within one hour are counted from the log; only the others are read.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub async fn of(catalog: &Catalog, stream: Stream, table: &Table) -> Result<Self, PipelineError> {
        let mut counts = Self::default();
        let mut wide = 0;
        for f in table.files()? {
            match f.time {
                Some(t) if SEAL.floor(t.min_us) == SEAL.floor(t.max_us) => {
                    *counts.hours.entry(SEAL.floor(t.min_us)).or_default() += f.rows;
                }
                _ => wide += 1,
            }
        }
        if wide == 0 {
            return Ok(counts);
        }
        let context = catalog.bare_session()?;
        let name = stream.name();
        context.register_table(name, Catalog::pin(table)?).map_err(PipelineError::query(name))?;
        let sql =
            format!("SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS n FROM {name} GROUP BY 1");
        let frame = context.sql(&sql).await.map_err(PipelineError::query(name))?;
        counts.hours.clear();
        for batch in frame.collect().await.map_err(PipelineError::query(name))? {
            let hour = times(&batch, 0)?;
            let n = batch.column(1).as_primitive::<Int64Type>();
            for r in (0..batch.num_rows()).filter(|r| hour.is_valid(*r)) {
                counts.hours.insert(hour.value(r), n.value(r));
            }
        }
        Ok(counts)
    }
}
