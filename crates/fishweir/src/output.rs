//! Printing results, and the exit codes.

use std::io::{self, Write as _};

use anyhow::Result;
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

use crate::cli::Format;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// Some inputs failed, the others were taken.
pub(crate) const PARTIAL: u8 = 3;

pub(crate) fn print_batches(batches: &[RecordBatch], format: Format) -> Result<()> {
    let out = io::stdout().lock();
    match format {
        Format::Text => say(&pretty_format_batches(batches)?.to_string()),
        Format::Csv => {
            let mut writer = arrow::csv::Writer::new(out);
            for b in batches {
                writer.write(b)?;
            }
            Ok(())
        }
        Format::Json => {
            let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
            let mut writer = builder.build::<_, arrow::json::writer::JsonArray>(out);
            let all: Vec<&RecordBatch> = batches.iter().filter(|b| b.num_rows() > 0).collect();
            writer.write_batches(&all)?;
            writer.finish()?;
            let mut out = writer.into_inner();
            if all.is_empty() {
                // The writer prints nothing at all for no rows.
                write!(out, "")?;
            }
            writeln!(out)?;
            Ok(())
        }
    }
}

pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// Prints rows of a query: JSON as they are, text and CSV with the columns of the first row.
pub(crate) fn print_rows(rows: &[serde_json::Map<String, serde_json::Value>], format: Format) -> Result<()> {
    if format == Format::Json {
        return print_json(&rows);
    }
    let Some(first) = rows.first() else { return Ok(()) };
    let gap = if format == Format::Csv { "," } else { "  " };
    say(&first.keys().cloned().collect::<Vec<_>>().join(gap))?;
    for r in rows {
        let cells: Vec<String> = r
            .values()
            .map(|v| match v {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(s) if format == Format::Csv && s.contains([',', '"', '\n']) => {
                    format!("\"{}\"", s.replace('"', "\"\""))
                }
                serde_json::Value::String(s) => s.clone(),
                other => other.to_string(),
            })
            .collect();
        say(&cells.join(gap))?;
    }
    Ok(())
}

pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

pub(crate) fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain().any(|c| c.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}
