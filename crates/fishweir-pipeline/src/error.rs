//! What can go wrong while tables are made.

use datafusion::error::DataFusionError;
use fishweir_engine::EngineError;
use fishweir_lake::LakeError;
use thiserror::Error;

use crate::model::ModelError;

/// Failure of the model graph; names the model or table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The lake failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The engine cannot start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A model file cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A query failed.
    #[error("{what}: {cause}")]
    Query {
        /// Model, table or statement.
        what: String,
        /// What the engine said.
        cause: String,
    },
    /// A native model failed.
    #[error("model `{model}`: {cause}")]
    Native {
        /// Model.
        model: String,
        /// What it said.
        cause: String,
    },
    /// Raw and rollup counts differ; nothing was certified.
    #[error(
        "stream `{stream}`, {interval}: {raw_rows} raw rows but {rolled_rows} in `{model}`; the interval is not certified and its raw rows are kept"
    )]
    Mismatch {
        /// Stream.
        stream: String,
        /// Interval as text.
        interval: String,
        /// Model that does not add up.
        model: String,
        /// Rows in the raw stream.
        raw_rows: i64,
        /// Rows that the model accounts for.
        rolled_rows: i64,
    },
}

impl PipelineError {
    /// Returns what turns an error of the engine into one that names the query.
    pub fn query(what: &str) -> impl Fn(DataFusionError) -> Self + '_ {
        move |e| Self::Query { what: what.to_owned(), cause: e.strip_backtrace() }
    }
}
