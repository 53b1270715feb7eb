//! What can go wrong in the lake.

use arrow::error::ArrowError;
use deltalake_core::DeltaTableError;
use parquet::errors::ParquetError;
use thiserror::Error;

/// Failure of a lake operation; names the table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LakeError {
    /// The location is neither a path nor a URL of a known store.
    #[error("`{location}` is no place for a lake: {cause}")]
    Location {
        /// As given.
        location: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The Delta log could not be read or written.
    #[error("table `{table}`: {cause}")]
    Delta {
        /// Table name.
        table: String,
        /// What the log layer said.
        #[source]
        cause: Box<DeltaTableError>,
    },
    /// A data file could not be read or written.
    #[error("table `{table}`, file `{file}`: {cause}")]
    File {
        /// Table name.
        table: String,
        /// Path below the table.
        file: String,
        /// What the storage said.
        cause: String,
    },
    /// Rows do not fit the table.
    #[error("table `{table}`: rows do not fit: {cause}")]
    Rows {
        /// Table name.
        table: String,
        /// Column and types.
        cause: String,
    },
    /// The producer of new rows failed; nothing was written.
    #[error("table `{table}`: the new rows could not be computed: {cause}")]
    Source {
        /// Table name.
        table: String,
        /// What the producer said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Too many others wrote to the same place at the same time.
    #[error("table `{table}`: gave up after {tries} tries because other writers kept changing it")]
    Contended {
        /// Table name.
        table: String,
        /// Tries made.
        tries: usize,
    },
}

impl LakeError {
    pub(crate) fn delta(table: &str) -> impl Fn(DeltaTableError) -> Self + '_ {
        move |e| Self::Delta { table: table.to_owned(), cause: Box::new(e) }
    }

    pub(crate) fn rows(table: &str) -> impl Fn(ArrowError) -> Self + '_ {
        move |e| Self::Rows { table: table.to_owned(), cause: e.to_string() }
    }

    pub(crate) fn parquet<'a>(table: &'a str, file: &'a str) -> impl Fn(ParquetError) -> Self + 'a {
        move |e| Self::File { table: table.to_owned(), file: file.to_owned(), cause: e.to_string() }
    }

    pub(crate) fn store<'a>(table: &'a str, file: &'a str) -> impl Fn(object_store::Error) -> Self + 'a {
        move |e| Self::File { table: table.to_owned(), file: file.to_owned(), cause: e.to_string() }
    }
}
