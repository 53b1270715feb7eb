//! The tables that ingest writes: raw streams, rejects, and what was read of which file.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use fishweir_events::{Stream, utc_microseconds};
use fishweir_lake::TableSpec;

/// Returns the table of a raw stream; its name is the stream's.
#[must_use]
pub fn raw_table(stream: Stream) -> TableSpec {
    TableSpec {
        name: stream.name().to_owned(),
        schema: stream.schema(),
        time_column: Some("time".to_owned()),
    }
}

/// Returns the table `rejects`: one row per refused input row.
///
/// # Shape
/// `time` is when the row was refused; `line` counts from 1, `byte_offset` from 0 in the
/// decompressed file (for Parquet both are the row number); `excerpt` has digits and long tokens
/// blanked.
#[must_use]
pub fn reject_table() -> TableSpec {
    let text = |n: &str| Field::new(n, DataType::Utf8View, true);
    let int = |n: &str| Field::new(n, DataType::Int64, true);
    TableSpec {
        name: "rejects".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new("time", utc_microseconds(), false),
            text("source"),
            text("stream"),
            text("file"),
            text("file_id"),
            int("line"),
            int("byte_offset"),
            text("reason"),
            text("excerpt"),
        ])),
        time_column: Some("time".to_owned()),
    }
}

/// Returns the table `ingest_files`: one row per committed piece of a file.
#[must_use]
pub fn file_table() -> TableSpec {
    let text = |n: &str| Field::new(n, DataType::Utf8View, true);
    let int = |n: &str| Field::new(n, DataType::Int64, true);
    TableSpec {
        name: "ingest_files".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new("time", utc_microseconds(), false),
            text("source"),
            text("stream"),
            text("file"),
            text("file_id"),
            int("head_bytes"),
            text("head_hash"),
            int("start_offset"),
            int("end_offset"),
            text("prefix_hash"),
            int("rows"),
            int("accepted"),
            int("duplicates"),
            int("rejected"),
        ])),
        time_column: Some("time".to_owned()),
    }
}
