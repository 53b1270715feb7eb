//! Build sides of joins that hold their own texts.
//!
//! A batch that a join puts out points into the texts of its whole build side. Where the next join gathers such batches, each
//! brings the list of all those buffers along, and a chain of joins multiplies them: with one thread, where no exchange between
//! the joins copies what is used, fourteen joins over 700,000 rows filled 24 GB. So what a join builds on is copied first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray};
use arrow::datatypes::{ByteViewType, DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

/// Puts a [`CompactExec`] below every hash join whose build side holds texts or bytes by view.
#[derive(Debug)]
pub(crate) struct CompactBuildSides;

impl PhysicalOptimizerRule for CompactBuildSides {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = |node: Arc<dyn ExecutionPlan>| {
            let left = match node.downcast_ref::<HashJoinExec>() {
                Some(join) if has_views(&join.left().schema()) => Arc::clone(join.left()),
                _ => return Ok(Transformed::no(node)),
            };
            if left.downcast_ref::<CompactExec>().is_some() {
                return Ok(Transformed::no(node));
            }
            let mut children: Vec<Arc<dyn ExecutionPlan>> =
                node.children().into_iter().map(Arc::clone).collect();
            children[0] = Arc::new(CompactExec { input: left });
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(children, options)?))
        };
        Ok(plan.transform_up(wrapped)?.data)
    }

    fn name(&self) -> &'static str {
        "compact_build_sides"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn has_views(schema: &Schema) -> bool {
    schema.fields().iter().any(|f| matches!(f.data_type(), DataType::Utf8View | DataType::BinaryView))
}

/// The rows of its input, each batch with texts of its own.
#[derive(Debug)]
struct CompactExec {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for CompactExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CompactExec")
    }
}

impl ExecutionPlan for CompactExec {
    fn name(&self) -> &'static str {
        "CompactExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input })),
            _ => exec_err!("CompactExec has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context)?.map(|batch| compact(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => owned(column.as_string_view()),
            DataType::BinaryView => owned(column.as_binary_view()),
            _ => None,
        }
        .unwrap_or_else(|| Arc::clone(column))
    };
    Ok(RecordBatch::try_new(batch.schema(), batch.columns().iter().map(own).collect())?)
}

// A copy of what is used, where that is less than half of what is held or lies in several places.
fn owned<T: ByteViewType>(column: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let held = column.data_buffers();
    let used = || column.total_buffer_bytes_used();
    let is_sparse = held.len() > 1 || held.first().is_some_and(|b| b.capacity() > 2 * used());
    is_sparse.then(|| Arc::new(column.gc()) as ArrayRef)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;
    use arrow::datatypes::Field;

    use super::*;
    use crate::{Engine, EngineConfig};

    fn texts(rows: i64) -> RecordBatch {
        let key: arrow::array::Int64Array = (0..rows).collect();
        let text: StringViewArray =
            (0..rows).map(|k| Some(format!("a text that is long enough {k}"))).collect();
        let fields = vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Utf8View, true)];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(key), Arc::new(text)]).unwrap()
    }

    // INVARIANT: what a chain of joins puts out points into few buffers, however long the chain, and says the same.
    #[tokio::test]
    async fn a_chain_of_joins_does_not_multiply_its_texts() {
        let config = EngineConfig { memory_bytes: 512 << 20, threads: 1, spill_dir: None };
        let context = Engine::new(&config).unwrap().session([]).unwrap();
        let rows = 60_000;
        for name in ["a", "b", "c", "d"] {
            context.register_batch(name, texts(rows)).unwrap();
        }
        let sql = "SELECT a.k, a.v, b.v AS b, c.v AS c, d.v AS d FROM a LEFT JOIN b ON b.k = a.k
                   LEFT JOIN c ON c.k = a.k AND c.v = b.v LEFT JOIN d ON d.k = a.k AND d.v = c.v";
        let mut seen = 0;
        for batch in context.sql(sql).await.unwrap().collect().await.unwrap() {
            let keys = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
            for column in &batch.columns()[1..] {
                let column = column.as_string_view();
                assert!(
                    column.data_buffers().len() < 100,
                    "{} buffers in a batch",
                    column.data_buffers().len()
                );
                for row in 0..batch.num_rows() {
                    assert_eq!(column.value(row), format!("a text that is long enough {}", keys.value(row)));
                }
            }
            seen += batch.num_rows();
        }
        assert_eq!(i64::try_from(seen), Ok(rows));
    }

    #[test]
    fn what_is_used_is_copied_and_what_is_dense_is_not() {
        let all = texts(1_000);
        let dense = all.column(1).as_string_view();
        let few = dense.slice(7, 3);
        let own = owned(&few).unwrap();
        assert_eq!(own.as_string_view(), &few);
        assert!(own.as_string_view().data_buffers()[0].len() < 200);
        assert!(owned(&dense.gc()).is_none());
    }
}
