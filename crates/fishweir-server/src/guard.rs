//! What a statement of the SQL endpoint may be: an allow-list over parsed statements and logical plans.
//!
//! WHY twice: statements that change something are refused before they are planned, because planning
//! alone would carry some of them out; and every plan passes the second check on its way to execution,
//! whichever protocol message brought it.

use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Set, Statement, visit_relations};

/// Settings that clients send and that change nothing but how their own answers look.
const SETTABLE: &[&str] = &[
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
];
/// Relations longer than this are files by another name.
const NAME_MAX: usize = 128;

/// Returns why a statement is refused, if it is.
pub(crate) fn statement(s: &Statement) -> Result<(), String> {
    let fine = match s {
        Statement::Query(_)
        | Statement::Explain { .. }
        | Statement::ExplainTable { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowSchemas { .. }
        | Statement::ShowDatabases { .. }
        | Statement::ShowFunctions { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Declare { .. }
        | Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::Deallocate { .. }
        | Statement::Discard { .. } => true,
        Statement::Set(set) => settable(set),
        _ => false,
    };
    if !fine {
        let first = s.to_string();
        let words: Vec<&str> = first.split_whitespace().take(3).collect();
        return Err(format!("`{} …` is refused: this endpoint only reads", words.join(" ")));
    }
    let file = visit_relations(s, |name| {
        let text = name.to_string();
        let path = text.len() > NAME_MAX || text.contains(['/', '\\', ':']);
        if path { ControlFlow::Break(text) } else { ControlFlow::Continue(()) }
    });
    match file {
        ControlFlow::Break(name) => Err(format!("`{name}` is no table of the lake")),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn settable(set: &Set) -> bool {
    match set {
        Set::SingleAssignment { variable, .. } => {
            SETTABLE.contains(&variable.to_string().to_lowercase().replace('"', "").as_str())
        }
        Set::SetTimeZone { .. } | Set::SetNames { .. } | Set::SetTransaction { .. } => true,
        _ => false,
    }
}

/// Returns why a plan is refused, if it is.
pub(crate) fn plan(p: &LogicalPlan) -> Result<(), String> {
    let mut refused = None;
    let looked = p.apply_with_subqueries(|node| {
        let fine = match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => true,
            // Nothing else reads, and what a later engine adds is not known to.
            _ => false,
        };
        if fine {
            return Ok(TreeNodeRecursion::Continue);
        }
        refused = Some(format!("`{}` is refused: this endpoint only reads", node.display()));
        Ok(TreeNodeRecursion::Stop)
    });
    match (refused, looked) {
        (Some(why), _) => Err(why),
        (None, Err(e)) => Err(e.to_string()),
        (None, Ok(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn judge(sql: &str) -> Result<(), String> {
        let all = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| e.to_string())?;
        all.iter().try_for_each(statement)
    }

    #[test]
    fn reading_is_allowed() {
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "EXPLAIN SELECT * FROM requests",
            "SHOW server_version",
            "SET extra_float_digits = 3",
            "SET TIME ZONE 'UTC'",
            "BEGIN",
            "COMMIT",
            "SAVEPOINT a",
        ] {
            assert_eq!(judge(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for sql in [
            "DROP TABLE requests",
            "CREATE TABLE a (b int)",
            "INSERT INTO requests VALUES (1)",
            "DELETE FROM requests",
            "UPDATE requests SET path = ''",
            "COPY requests TO 'x.csv'",
            "SET datafusion.execution.batch_size = 1",
            "SET ROLE admin",
            "SELECT 1; DROP TABLE requests",
            "SELECT * FROM '/etc/hostname'",
            "SELECT * FROM \"file:///etc/hostname\"",
            "ANALYZE requests",
            "TRUNCATE requests",
            "PREPARE a AS DELETE FROM requests",
            "EXECUTE a",
            "GRANT ALL ON requests TO x",
        ] {
            assert!(judge(sql).is_err(), "{sql}");
        }
    }
}
