//! Where rows go: hourly or daily files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::SimulateError;
use crate::encode::plain;

/// Format of the event files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFiles {
    /// Parquet.
    Parquet,
    /// One JSON object per line.
    Ndjson,
}

pub(crate) fn bad<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> SimulateError + '_ {
    move |e| SimulateError::Write { path: path.display().to_string(), cause: e.to_string() }
}

/// Writes a batch to a file that gets its name only when it is whole.
pub(crate) fn write(stem: &Path, batch: &RecordBatch, files: EventFiles) -> Result<PathBuf, SimulateError> {
    let path = stem.with_extension(match files {
        EventFiles::Parquet => "parquet",
        EventFiles::Ndjson => "ndjson",
    });
    let half = path.with_extension("half");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(bad(folder))?;
    }
    let written = match files {
        EventFiles::Parquet => parquet_file(&half, batch),
        EventFiles::Ndjson => ndjson_file(&half, batch),
    };
    if let Err(e) = written {
        fs::remove_file(&half).ok();
        return Err(e);
    }
    fs::rename(&half, &path).map_err(bad(&path))?;
    Ok(path)
}

fn parquet_file(path: &Path, batch: &RecordBatch) -> Result<(), SimulateError> {
    let file = File::create(path).map_err(bad(path))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(1 << 20));
    // Nearly every value is another one: a dictionary would only cost time.
    for column in ["event_id", "time", "latency_us", "bytes", "decision_id"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    let options =
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).map_err(bad(path))?;
    writer.write(batch).map_err(bad(path))?;
    let file = writer.into_inner().map_err(bad(path))?;
    file.sync_data().map_err(bad(path))
}

fn ndjson_file(path: &Path, batch: &RecordBatch) -> Result<(), SimulateError> {
    let mut out = BufWriter::new(File::create(path).map_err(bad(path))?);
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write(&flat(batch).map_err(bad(path))?).map_err(bad(path))?;
    writer.finish().map_err(bad(path))?;
    out.flush().map_err(bad(path))
}

/// Returns the batch without dictionaries.
pub(crate) fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns =
        batch.columns().iter().map(|c| cast(c, &plain(c.data_type()))).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), plain(f.data_type()), f.is_nullable()))
        .collect();
    debug_assert!(!fields.iter().any(|f| matches!(f.data_type(), DataType::Dictionary(_, _))));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), SimulateError> {
    let half = path.with_extension("half");
    let text = serde_json::to_string_pretty(value).map_err(bad(path))?;
    fs::write(&half, text).map_err(bad(path))?;
    fs::rename(&half, path).map_err(bad(path))
}
