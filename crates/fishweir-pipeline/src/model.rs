//! Model definitions: header, SQL, native recipes.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use fishweir_events::{Grain, Interval};
use fishweir_lake::TableSpec;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::catalog::Catalog;
use crate::error::PipelineError;

/// A model file that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No header comment.
    #[error("model file `{file}`: must begin with a /* ... */ comment that holds the YAML header")]
    NoHeader {
        /// File.
        file: String,
    },
    /// The header is no valid definition.
    #[error("model file `{file}`: {cause}")]
    Header {
        /// File.
        file: String,
        /// Parser message with line and column.
        cause: String,
    },
    /// A name used twice.
    #[error("model `{0}` is defined twice")]
    Twice(String),
    /// An input that does not exist.
    #[error("model `{model}` reads `{input}`, which is neither a stream nor a model")]
    UnknownInput {
        /// Model.
        model: String,
        /// Input.
        input: String,
    },
    /// Models that read each other.
    #[error("models read each other in a circle: {0}")]
    Cycle(String),
}

/// How long rows of a table are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Days after which rows go; `None` keeps them for good.
    pub keep_days: Option<u32>,
    /// Days after which the `thin` columns are set to null.
    pub thin_after_days: Option<u32>,
    /// Columns to empty.
    #[serde(default)]
    pub thin: Vec<String>,
}

/// How the rows of a model come to be.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// A query with `$from` and `$to`.
    Sql(String),
    /// Rust code behind [`NativeModel`].
    Native,
}

/// A table with a recipe.
#[derive(Clone, Debug)]
pub struct Model {
    /// Table name.
    pub name: String,
    /// What the table is.
    pub description: String,
    /// Version of the recipe; a new one makes every interval stale.
    pub version: i64,
    /// Grain of the rows, for readers.
    pub grain: Grain,
    /// Time column.
    pub time: String,
    /// Interval that is computed as a whole.
    pub interval: Grain,
    /// Columns that identify a row.
    pub keys: Vec<String>,
    /// Streams and models it reads.
    pub inputs: Vec<String>,
    /// Column whose sum equals the input rows, for the certificate.
    pub counts: Option<String>,
    /// How long rows are kept.
    pub retention: Retention,
    /// Input rows per step at most; for recipes that hold much in memory.
    pub batch_rows: Option<i64>,
    /// How rows are made.
    pub recipe: Recipe,
    /// File it came from.
    pub file: String,
}

impl Model {
    /// Returns the definition of a table that Rust code makes day by day, kept for good; rows have the
    /// grain of a day unless said otherwise.
    #[must_use]
    pub fn native(name: &str, description: &str, version: i64, time: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            version,
            grain: Grain::Day,
            time: time.to_owned(),
            interval: Grain::Day,
            keys: Vec::new(),
            inputs: Vec::new(),
            counts: None,
            retention: Retention::default(),
            batch_rows: None,
            recipe: Recipe::Native,
            file: "native".to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    description: String,
    version: i64,
    grain: Grain,
    time: String,
    interval: Grain,
    keys: Vec<String>,
    inputs: Vec<String>,
    counts: Option<String>,
    #[serde(default)]
    retention: Retention,
    batch_rows: Option<i64>,
}

impl Model {
    /// Returns the model of a SQL file; `file` names it in errors.
    ///
    /// # Errors
    /// A missing or invalid header.
    pub fn parse(file: &str, text: &str) -> Result<Self, ModelError> {
        let inner = text.trim_start().strip_prefix("/*").and_then(|t| t.split_once("*/"));
        let Some((header, sql)) = inner else {
            return Err(ModelError::NoHeader { file: file.to_owned() });
        };
        let h: Header = serde_saphyr::from_str(header)
            .map_err(|e| ModelError::Header { file: file.to_owned(), cause: e.to_string() })?;
        Ok(Self {
            name: h.name,
            description: h.description,
            version: h.version,
            grain: h.grain,
            time: h.time,
            interval: h.interval,
            keys: h.keys,
            inputs: h.inputs,
            counts: h.counts,
            retention: h.retention,
            batch_rows: h.batch_rows,
            recipe: Recipe::Sql(sql.trim().to_owned()),
            file: file.to_owned(),
        })
    }
}

/// Rows of a native model.
#[derive(Debug, Default)]
pub struct NativeOutput {
    /// Interval the rows replace; may be wider than asked when earlier rows changed.
    pub range: Option<Interval>,
    /// Table name to its new rows.
    pub tables: BTreeMap<String, Vec<RecordBatch>>,
}

/// A recipe in Rust: given an interval, returns exactly the rows of that interval.
#[async_trait]
pub trait NativeModel: Send + Sync {
    /// Returns the definition; its name is the first table.
    fn model(&self) -> Model;
    /// Returns every table it writes.
    fn tables(&self) -> Vec<TableSpec>;
    /// Returns whether rows depend on the intervals before theirs, so that whatever was computed after an interval
    /// that is due is due as well, all at once.
    fn looks_back(&self) -> bool {
        false
    }
    /// Returns the rows of an interval.
    ///
    /// # Errors
    /// Whatever keeps it from computing them; nothing is written then.
    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError>;
}

/// Returns a positive number that changes whenever a part changes; the version of models that
/// follow from configuration or from other files.
#[must_use]
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> i64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.len().to_le_bytes()).update(part.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first) & i64::MAX
}
