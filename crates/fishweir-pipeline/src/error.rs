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
    /// Returns whether the memory limit of the engine was the cause: alone, the same work may fit.
    // WHY by its words: the engine's error has come through the lake and the stream, each with a type of its own.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.to_string().contains("Resources exhausted")
    }

    /// Returns what turns an error of the engine into one that names the query.
    pub fn query(what: &str) -> impl Fn(DataFusionError) -> Self + '_ {
        move |e| Self::Query { what: what.to_owned(), cause: e.strip_backtrace() }
    }
}

#[cfg(test)]
mod tests {
    use fishweir_engine::{Engine, EngineConfig};

    use super::*;

    async fn failure(memory_bytes: usize, sql: &str) -> Option<PipelineError> {
        let engine = Engine::new(&EngineConfig { memory_bytes, threads: 2, spill_dir: None }).unwrap();
        let frame = engine.session([]).unwrap().sql(sql).await.unwrap();
        frame.collect().await.map_err(PipelineError::query("it")).err()
    }

    #[tokio::test]
    async fn what_the_engine_says_of_too_little_memory_is_told_from_other_failures() {
        let pairs = "SELECT count(*) FROM generate_series(1, 200000) AS a(x) JOIN generate_series(1, 200000) AS b(y) ON x = y";
        assert!(failure(1 << 16, pairs).await.unwrap().is_out_of_memory());
        assert!(failure(1 << 28, pairs).await.is_none());
        assert!(
            !failure(1 << 28, "SELECT 1 / (x - 1) FROM generate_series(1, 2) AS a(x)")
                .await
                .unwrap()
                .is_out_of_memory()
        );
    }
}
