//! A table provider over one version of one Delta table: files are listed once, pruned by the
//! time range in their statistics, and scanned as plain Parquet.
//!
//! WHY not the stock Delta scan: its plan cannot be shipped to other processes, and it pulls the
//! whole Delta query layer into every build. All Delta commits stay in `fishweir-lake`.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;
use thiserror::Error;
use url::Url;

/// Failure to pin a table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PinnedTableError {
    /// The schema of the table has no Arrow form that can be scanned.
    #[error("table `{table}` cannot be scanned: {cause}")]
    Schema {
        /// Table name.
        table: String,
        /// What is wrong.
        cause: String,
    },
}

/// Half-open time range `[from, to)` in microseconds since the epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeFilter {
    /// First microsecond inside.
    pub from_us: i64,
    /// First microsecond after.
    pub to_us: i64,
}

impl TimeFilter {
    /// All time.
    pub const ALL: Self = Self { from_us: i64::MIN, to_us: i64::MAX };

    fn meets(self, min_us: i64, max_us: i64) -> bool {
        min_us < self.to_us && max_us >= self.from_us
    }
}

/// One data file of a pinned version.
#[derive(Clone, Debug)]
pub struct PinnedFile {
    /// Path from the root of the object store.
    pub location: Path,
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// Rows in the file, when the log knows.
    pub rows: Option<u64>,
    /// Smallest and largest time in the file, when the log knows.
    pub time_us: Option<(i64, i64)>,
}

/// One version of a table: its schema and files.
#[derive(Debug)]
pub struct PinnedTable {
    store: ObjectStoreUrl,
    schema: SchemaRef,
    time_column: Option<String>,
    files: Vec<PinnedFile>,
}

impl PinnedTable {
    /// Returns a provider over the given files.
    ///
    /// `root` is any URL within the store; `time_column` is the column whose range the files'
    /// `time_us` describes.
    ///
    /// # Errors
    /// A root that names no object store.
    pub fn new(
        root: &Url,
        schema: SchemaRef,
        time_column: Option<String>,
        files: Vec<PinnedFile>,
    ) -> std::result::Result<Self, PinnedTableError> {
        let base = if root.scheme() == "file" {
            "file:///".to_owned()
        } else {
            format!("{}://{}", root.scheme(), root.authority())
        };
        let store = ObjectStoreUrl::parse(&base)
            .map_err(|e| PinnedTableError::Schema { table: root.to_string(), cause: e.to_string() })?;
        Ok(Self { store, schema, time_column, files })
    }

    fn time_filter(&self, filters: &[Expr]) -> TimeFilter {
        let Some(column) = &self.time_column else { return TimeFilter::ALL };
        let mut range = TimeFilter::ALL;
        filters.iter().for_each(|f| narrow(&mut range, f, column));
        range
    }

    fn partitioned(&self, file: &PinnedFile) -> PartitionedFile {
        let meta = ObjectMeta {
            location: file.location.clone(),
            last_modified: chrono_epoch(),
            size: file.size_bytes,
            e_tag: None,
            version: None,
        };
        let out = PartitionedFile::new_from_meta(meta);
        let Some(rows) = file.rows else { return out };
        let mut stats = Statistics::new_unknown(&self.schema);
        stats.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
        out.with_statistics(Arc::new(stats))
    }
}

fn chrono_epoch() -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::UNIX_EPOCH
}

fn narrow(range: &mut TimeFilter, filter: &Expr, column: &str) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return };
    if *op == Operator::And {
        narrow(range, left, column);
        narrow(range, right, column);
        return;
    }
    let (op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(c), Expr::Literal(v, _)) if c.name == column => (*op, v),
        (Expr::Literal(v, _), Expr::Column(c)) if c.name == column => match op.swap() {
            Some(op) => (op, v),
            None => return,
        },
        _ => return,
    };
    let Some(us) = microseconds(value) else { return };
    match op {
        Operator::GtEq | Operator::Gt => range.from_us = range.from_us.max(us),
        Operator::Lt => range.to_us = range.to_us.min(us),
        Operator::LtEq => range.to_us = range.to_us.min(us.saturating_add(1)),
        Operator::Eq => {
            range.from_us = range.from_us.max(us);
            range.to_us = range.to_us.min(us.saturating_add(1));
        }
        _ => {}
    }
}

fn microseconds(value: &ScalarValue) -> Option<i64> {
    let target = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    match value.cast_to(&target).ok()? {
        ScalarValue::TimestampMicrosecond(us, _) => us,
        _ => None,
    }
}

#[async_trait]
impl TableProvider for PinnedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // WHY inexact: files and row groups are pruned, rows are filtered again above.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let range = self.time_filter(filters);
        let kept = self.files.iter().filter(|f| f.time_us.is_none_or(|(a, b)| range.meets(a, b)));
        let files: Vec<_> = kept.map(|f| self.partitioned(f)).collect();
        if files.is_empty() {
            // WHY: a scan of no files has no partition, and nothing that sorts or limits it can be planned.
            let schema =
                projection.map_or(Ok(Arc::clone(&self.schema)), |p| self.schema.project(p).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(state.table_options().parquet.clone());
        let df_schema = datafusion::common::DFSchema::try_from(Arc::clone(&self.schema))?;
        if let Some(all) = datafusion::logical_expr::utils::conjunction(filters.to_vec()) {
            source = source.with_predicate(state.create_physical_expr(all, &df_schema)?);
        }
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>)
    }
}
