//! One place that knows how a query session is made.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use std::num::NonZeroUsize;
use thiserror::Error;
use url::Url;

use crate::compact::CompactBuildSides;
use crate::functions::{aggregate_functions, scalar_functions};
use crate::habits;
use crate::hash::hash_function;

/// Limits and places of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Memory that queries may hold before they spill, in bytes.
    pub memory_bytes: usize,
    /// Threads per query.
    pub threads: usize,
    /// Folder for spill files; `None` uses the system's temporary folder.
    pub spill_dir: Option<std::path::PathBuf>,
}

/// Failure to set up the engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// DataFusion refused the configuration.
    #[error("the query engine cannot start: {0}")]
    Start(#[source] DataFusionError),
}

/// Hands out sessions that share one memory limit.
#[derive(Clone, Debug)]
pub struct Engine {
    runtime: Arc<RuntimeEnv>,
    config: SessionConfig,
}

impl Engine {
    /// Returns an engine with the given limits.
    ///
    /// # Errors
    /// A spill folder that cannot be made.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        let mode = match &config.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let top = NonZeroUsize::MIN.saturating_add(4);
        let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes), top);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            .build_arc()
            .map_err(EngineError::Start)?;
        let mut session =
            SessionConfig::new().with_target_partitions(config.threads.max(1)).with_information_schema(true);
        let options = session.options_mut();
        options.execution.parquet.pushdown_filters = false;
        options.execution.time_zone = Some("+00:00".into());
        options.execution.skip_partial_aggregation_probe_rows_threshold = 400_000;
        // WHY: where two writers of an exchange spill at once, its reader may wait for the wrong one of two open
        // files for ever (DataFusion up to 55.2, its pull request 24891). A file that is full with one batch is
        // never waited for.
        options.execution.max_spill_file_size_bytes =
            ConfigNonZeroUsize::try_new(1).map_err(EngineError::Start)?;
        Ok(Self { runtime, config: session })
    }

    /// Returns the number of threads a computation may use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.config.target_partitions()
    }

    /// Returns the engine for one of several queries that run side by side: the same memory, a share of the threads.
    #[must_use]
    pub fn beside(&self, queries: usize) -> Self {
        let threads = (self.threads() / queries.max(1)).max(1);
        Self {
            runtime: Arc::clone(&self.runtime),
            config: self.config.clone().with_target_partitions(threads),
        }
    }

    /// Makes the files of a store readable; call once per store root.
    pub fn register_store(&self, root: &Url, store: Arc<dyn ObjectStore>) {
        self.runtime.register_object_store(root, store);
    }

    /// Returns a session with our functions and the given tables.
    ///
    /// # Errors
    /// Two tables of the same name.
    pub fn session(
        &self,
        tables: impl IntoIterator<Item = (String, Arc<dyn TableProvider>)>,
    ) -> Result<SessionContext, EngineError> {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(self.config.clone())
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_physical_optimizer_rule(Arc::new(CompactBuildSides))
            .build();
        let ctx = SessionContext::new_with_state(state);
        aggregate_functions().into_iter().for_each(|f| ctx.register_udaf(f));
        scalar_functions().into_iter().for_each(|f| ctx.register_udf(f));
        ctx.register_udf(hash_function());
        ctx.register_udaf(habits::gather());
        ctx.register_udf(habits::lookup());
        for (name, table) in tables {
            ctx.register_table(name, table).map_err(EngineError::Start)?;
        }
        Ok(ctx)
    }
}
