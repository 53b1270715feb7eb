//! `fishweir sql`

use std::io::Read as _;

use anyhow::{Result, anyhow};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;

use crate::cli::SqlArgs;
use crate::output::print_batches;
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &SqlArgs) -> Result<u8> {
    let mut statement = args.statement.clone();
    if statement == "-" {
        statement.clear();
        std::io::stdin().read_to_string(&mut statement)?;
    }
    let context = session(project, &statement).await?;
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

// Opening a table reads its log, so only those that the statement names are opened; a statement
// about the catalogue itself sees them all.
async fn session(project: &Project, statement: &str) -> Result<SessionContext> {
    let catalog = project.catalog()?;
    let state = catalog.bare_session()?.state();
    let dialect = state.config().options().sql_parser.dialect;
    let named = state
        .sql_to_statement(statement, &dialect)
        .and_then(|parsed| state.resolve_table_references(&parsed));
    let whole = match &named {
        Err(_) => true,
        Ok(names) => names.is_empty() || names.iter().any(|n| n.schema().is_some()),
    };
    if whole {
        return Ok(catalog.session().await?);
    }
    let names: Vec<String> = named.unwrap_or_default().iter().map(|n| n.table().to_owned()).collect();
    let known = catalog.lake().table_names().await?;
    let wanted: Vec<&str> =
        names.iter().map(String::as_str).filter(|n| known.iter().any(|k| k == n)).collect();
    Ok(catalog.session_of(&wanted).await?)
}
