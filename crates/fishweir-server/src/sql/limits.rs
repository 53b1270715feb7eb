//! How long a statement may take and how many rows it may return, wherever it came from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner as _};
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::guard;

/// Plans as usual, under limits; the last gate before execution.
#[derive(Debug)]
pub(super) struct LimitedPlanner {
    pub(super) longest: Duration,
    pub(super) rows_max: usize,
}

#[async_trait]
impl QueryPlanner for LimitedPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        guard::plan(plan).map_err(DataFusionError::Plan)?;
        let inner = DefaultPhysicalPlanner::default().create_physical_plan(plan, session).await?;
        let inner: Arc<dyn ExecutionPlan> = if inner.output_partitioning().partition_count() == 1 {
            inner
        } else {
            Arc::new(CoalescePartitionsExec::new(inner))
        };
        let limits = (self.longest, self.rows_max);
        Ok(Arc::new(Limited { properties: Arc::clone(inner.properties()), inner, limits }))
    }
}

/// Passes rows on until time or rows are used up, then fails: a cut-off answer would look whole.
#[derive(Debug)]
struct Limited {
    inner: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    limits: (Duration, usize),
}

impl DisplayAs for Limited {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limited: {} s, {} rows", self.limits.0.as_secs(), self.limits.1)
    }
}

impl ExecutionPlan for Limited {
    fn name(&self) -> &'static str {
        "Limited"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.inner]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = children.pop().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { properties: Arc::clone(inner.properties()), inner, limits: self.limits }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let stream = self.inner.execute(partition, context)?;
        let schema: SchemaRef = stream.schema();
        let (longest, rows_max) = self.limits;
        let until = Instant::now() + longest;
        let limited =
            futures::stream::unfold((stream, 0, false), move |(mut stream, rows, over)| async move {
                if over {
                    return None;
                }
                match tokio::time::timeout_at(until, stream.next()).await {
                    Err(_) => {
                        let text =
                            format!("the statement took longer than {} s and was stopped", longest.as_secs());
                        Some((Err(DataFusionError::ResourcesExhausted(text)), (stream, rows, true)))
                    }
                    Ok(None) => None,
                    Ok(Some(Err(e))) => Some((Err(e), (stream, rows, true))),
                    Ok(Some(Ok(batch))) => {
                        let rows = rows + batch.num_rows();
                        if rows > rows_max {
                            let text =
                                format!("the answer has more than {rows_max} rows; add a LIMIT or a filter");
                            return Some((
                                Err(DataFusionError::ResourcesExhausted(text)),
                                (stream, rows, true),
                            ));
                        }
                        Some((Ok(batch), (stream, rows, false)))
                    }
                }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, limited)))
    }
}
