//! Sessions over the tables of the lake as they stand now.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::prelude::{DataFrame, SessionContext};
use fishweir_engine::{Engine, PinnedFile, PinnedTable};
use fishweir_events::Interval;
use fishweir_lake::{Lake, LakeError, Table, TableSpec};
use object_store::path::Path;

use crate::error::PipelineError;

/// The lake and the engine that reads it.
#[derive(Clone, Debug)]
pub struct Catalog {
    lake: Lake,
    engine: Engine,
}

impl Catalog {
    /// Returns a catalog over the lake.
    ///
    /// # Errors
    /// A store that cannot be opened.
    pub fn new(lake: Lake, engine: Engine) -> Result<Self, LakeError> {
        if lake.root().scheme() != "file" {
            engine.register_store(lake.root(), lake.store()?);
        }
        Ok(Self { lake, engine })
    }

    /// Returns the lake.
    #[must_use]
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Returns the number of threads a computation may use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.engine.threads()
    }

    /// Returns a provider over the present version of a table.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub fn pin(table: &Table) -> Result<Arc<dyn TableProvider>, PipelineError> {
        let base = table.url().path().trim_end_matches('/').to_owned();
        let files = table.files()?.into_iter().filter_map(|f| {
            Some(PinnedFile {
                location: Path::from_url_path(format!("{base}/{}", f.path)).ok()?,
                size_bytes: u64::try_from(f.size_bytes).ok()?,
                rows: u64::try_from(f.rows).ok(),
                time_us: f.time.map(|t| (t.min_us, t.max_us)),
            })
        });
        let schema = scan_schema(table.schema());
        let time = table.time_column().map(str::to_owned);
        let pinned = PinnedTable::new(table.url(), schema, time, files.collect())
            .map_err(|e| PipelineError::Query { what: table.name().to_owned(), cause: e.to_string() })?;
        Ok(Arc::new(pinned))
    }

    /// Returns a session over every table of the lake, each pinned at its present version.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn session(&self) -> Result<SessionContext, PipelineError> {
        let mut tables = Vec::new();
        for name in self.lake.table_names().await? {
            if let Some(table) = self.lake.existing(&name).await? {
                tables.push((name, Self::pin(&table)?));
            }
        }
        Ok(self.engine.session(tables)?)
    }

    /// Returns a session over the named tables; those that do not exist yet are left out.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn session_of(&self, names: &[&str]) -> Result<SessionContext, PipelineError> {
        let mut tables = Vec::new();
        for name in names {
            if let Some(table) = self.lake.existing(name).await? {
                tables.push(((*name).to_owned(), Self::pin(&table)?));
            }
        }
        Ok(self.engine.session(tables)?)
    }

    /// Returns a session without tables.
    ///
    /// # Errors
    /// Never in practice; the engine refused its own functions.
    pub fn bare_session(&self) -> Result<SessionContext, PipelineError> {
        Ok(self.engine.session([])?)
    }

    // The same for one of several queries that run side by side.
    pub(crate) fn session_beside(&self, side_by_side: usize) -> Result<SessionContext, PipelineError> {
        Ok(self.engine.beside(side_by_side).session([])?)
    }

    /// Returns the rows of a query over the named tables.
    ///
    /// # Errors
    /// A query that does not parse, plan or run.
    pub async fn query(&self, tables: &[&str], sql: &str) -> Result<Vec<RecordBatch>, PipelineError> {
        let context = self.session_of(tables).await?;
        let frame = context.sql(sql).await.map_err(PipelineError::query(sql))?;
        frame.collect().await.map_err(PipelineError::query(sql))
    }

    /// Returns the table, created when it does not exist.
    ///
    /// # Errors
    /// A log that cannot be read or written.
    pub async fn table(&self, spec: &TableSpec) -> Result<Table, PipelineError> {
        Ok(self.lake.table(spec).await?)
    }
}

/// Returns the statement with `$from` and `$to` bound to an interval.
pub(crate) async fn bound(
    context: &SessionContext,
    what: &str,
    sql: &str,
    range: Interval,
) -> Result<DataFrame, PipelineError> {
    let time = |us: i64| ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()));
    let frame = context.sql(sql).await.map_err(PipelineError::query(what))?;
    if !sql.contains("$from") && !sql.contains("$to") {
        return Ok(frame);
    }
    frame
        .with_param_values(vec![("from", time(range.from_us)), ("to", time(range.to_us))])
        .map_err(PipelineError::query(what))
}

/// Returns a column as microseconds UTC, whatever unit the engine computed it in.
pub(crate) fn times(batch: &RecordBatch, column: usize) -> Result<TimestampMicrosecondArray, PipelineError> {
    use arrow::array::AsArray as _;
    let cast = arrow::compute::cast(batch.column(column), &fishweir_events::utc_microseconds());
    let cast =
        cast.map_err(|e| PipelineError::Query { what: "time column".to_owned(), cause: e.to_string() })?;
    Ok(cast.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().clone())
}

// Text is scanned as views: no copy per value, and the sketch functions read them directly.
fn scan_schema(stored: &SchemaRef) -> SchemaRef {
    let fields = stored.fields().iter().map(|f| {
        let kind = if *f.data_type() == DataType::Utf8 { DataType::Utf8View } else { f.data_type().clone() };
        Field::new(f.name(), kind, f.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
