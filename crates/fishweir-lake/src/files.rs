//! Data files: writing Parquet, and the statistics that the log keeps of each.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, SecondsFormat};
use object_store::ObjectStore;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::{Value, json};

use crate::error::LakeError;

/// Smallest and largest time of a file, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeStats {
    /// Smallest time.
    pub min_us: i64,
    /// Largest time.
    pub max_us: i64,
}

impl TimeStats {
    pub(crate) fn join(self, other: Self) -> Self {
        Self { min_us: self.min_us.min(other.min_us), max_us: self.max_us.max(other.max_us) }
    }
}

/// One data file of a table version.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Path below the table folder.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: i64,
    /// Rows.
    pub rows: i64,
    /// Time range; `None` in tables without a time column.
    pub time: Option<TimeStats>,
}

/// Writes batches to new files of bounded size.
pub(crate) struct FileWriter {
    table: String,
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    time_column: Option<String>,
    open: Option<Open>,
    done: Vec<DataFile>,
}

struct Open {
    writer: ArrowWriter<Vec<u8>>,
    rows: i64,
    time: Option<TimeStats>,
}

const FILE_BYTES_MAX: usize = 96 << 20;
const ROW_GROUP_ROWS: usize = 131_072;

impl FileWriter {
    pub(crate) fn new(
        table: &str,
        store: Arc<dyn ObjectStore>,
        schema: SchemaRef,
        time_column: Option<String>,
    ) -> Self {
        Self { table: table.to_owned(), store, schema, time_column, open: None, done: Vec::new() }
    }

    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = fit(&self.table, batch, &self.schema)?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.start()?,
        };
        open.rows += i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        if let Some(stats) = self.time_column.as_deref().and_then(|c| time_stats(&batch, c)) {
            open.time = Some(open.time.map_or(stats, |t| t.join(stats)));
        }
        open.writer.write(&batch).map_err(LakeError::parquet(&self.table, "new file"))?;
        let bytes = open.writer.bytes_written() + open.writer.in_progress_size();
        self.open = Some(open);
        if bytes > FILE_BYTES_MAX { self.close().await } else { Ok(()) }
    }

    pub(crate) async fn finish(mut self) -> Result<Vec<DataFile>, LakeError> {
        self.close().await?;
        Ok(self.done)
    }

    fn start(&self) -> Result<Open, LakeError> {
        let level = ZstdLevel::try_new(1).map_err(LakeError::parquet(&self.table, "new file"))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for field in self.schema.fields() {
            // Numbers, times, sketches and ids hardly repeat: a dictionary only costs time there.
            let encoding = match field.data_type() {
                DataType::Int64 | DataType::Int32 | DataType::Timestamp(_, _) => {
                    Encoding::DELTA_BINARY_PACKED
                }
                DataType::Binary => Encoding::PLAIN,
                _ if field.name() == "event_id" => Encoding::DELTA_BYTE_ARRAY,
                _ => continue,
            };
            let column = ColumnPath::from(field.name().as_str());
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, encoding);
        }
        let properties = properties.build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&self.schema), options)
            .map_err(LakeError::parquet(&self.table, "new file"))?;
        Ok(Open { writer, rows: 0, time: None })
    }

    async fn close(&mut self) -> Result<(), LakeError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let path = format!("part-{}.zstd.parquet", uuid::Uuid::new_v4());
        let bytes = open.writer.into_inner().map_err(LakeError::parquet(&self.table, &path))?;
        let size_bytes = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let at = Path::from(path.as_str());
        self.store.put(&at, bytes.into()).await.map_err(LakeError::store(&self.table, &path))?;
        self.done.push(DataFile { path, size_bytes, rows: open.rows, time: open.time });
        Ok(())
    }
}

/// Returns the batch with its columns in table order and types.
pub(crate) fn fit(table: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(column) = batch.column_by_name(field.name()) else {
            if field.is_nullable() {
                columns.push(arrow::array::new_null_array(field.data_type(), batch.num_rows()));
                continue;
            }
            let cause = format!("column `{}` is missing", field.name());
            return Err(LakeError::Rows { table: table.to_owned(), cause });
        };
        columns.push(cast(column, field.data_type()).map_err(LakeError::rows(table))?);
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(LakeError::rows(table))
}

fn time_stats(batch: &RecordBatch, column: &str) -> Option<TimeStats> {
    let array = batch.column_by_name(column)?;
    if !matches!(array.data_type(), DataType::Timestamp(_, _)) || array.null_count() == array.len() {
        return None;
    }
    let times = array.as_primitive::<TimestampMicrosecondType>();
    Some(TimeStats { min_us: min(times)?, max_us: max(times)? })
}

pub(crate) fn stats_json(file: &DataFile, time_column: Option<&str>) -> String {
    let mut stats = json!({ "numRecords": file.rows });
    if let (Some(column), Some(t)) = (time_column, file.time) {
        let text = |us: i64| {
            DateTime::from_timestamp_micros(us).map(|t| t.to_rfc3339_opts(SecondsFormat::Micros, true))
        };
        if let (Some(low), Some(high)) = (text(t.min_us), text(t.max_us)) {
            stats["minValues"] = json!({ column: low });
            stats["maxValues"] = json!({ column: high });
            stats["nullCount"] = json!({ column: 0 });
        }
    }
    stats.to_string()
}

pub(crate) fn read_stats(text: Option<&str>, time_column: Option<&str>) -> (i64, Option<TimeStats>) {
    let Some(stats) = text.and_then(|t| serde_json::from_str::<Value>(t).ok()) else {
        return (0, None);
    };
    let rows = stats.get("numRecords").and_then(Value::as_i64).unwrap_or(0);
    let at = |which: &str| {
        let text = stats.get(which)?.get(time_column?)?.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros())
    };
    let time = at("minValues").zip(at("maxValues"));
    (rows, time.map(|(min_us, max_us)| TimeStats { min_us, max_us }))
}
