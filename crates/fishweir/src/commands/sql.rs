//! `fishweir sql`

use std::io::Read as _;

use anyhow::{Result, anyhow};
use datafusion::execution::context::SQLOptions;

use crate::cli::SqlArgs;
use crate::output::print_batches;
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &SqlArgs) -> Result<u8> {
    let mut statement = args.statement.clone();
    if statement == "-" {
        statement.clear();
        std::io::stdin().read_to_string(&mut statement)?;
    }
    let context = project.catalog()?.session().await?;
    // Reading is all this command does: no DDL, no COPY, no SET.
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let plain = |e: datafusion::error::DataFusionError| anyhow!("{}", e.strip_backtrace());
    let frame = context.sql_with_options(&statement, options).await.map_err(plain)?;
    let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    let mut batches = frame.collect().await.map_err(plain)?;
    if batches.is_empty() {
        batches.push(arrow::record_batch::RecordBatch::new_empty(schema));
    }
    print_batches(&batches, args.format)?;
    Ok(0)
}
