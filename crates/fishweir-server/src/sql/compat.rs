//! What the engine does not understand of the catalogue queries that clients send.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement, Value, visit_expressions_mut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Parts of the catalogue about what the lake does not have: defaults, sequences, collations.
const WITHOUT: [&str; 4] =
    ["pg_catalog.pg_attrdef", "pg_catalog.pg_sequence", "pg_catalog.pg_collation", "typcollation"];

/// Returns the statement in words of the engine: it knows no character but the backslash to escape
/// patterns of `LIKE` with, and cannot plan how clients look up defaults of columns, of which there are none.
pub(super) fn adapted(s: &Statement) -> Statement {
    let mut out = s.clone();
    let _ = visit_expressions_mut(&mut out, |e| {
        if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = e
            && let Some(mark) = escape_char.take()
        {
            let text = mark.to_string();
            let mark = text.trim_matches('\'');
            let with = format!(r"replace({pattern}, '{mark}', '\')");
            if mark != "\\"
                && let Ok(expr) =
                    Parser::new(&PostgreSqlDialect {}).try_with_sql(&with).and_then(|mut p| p.parse_expr())
            {
                **pattern = expr;
            }
        }
        if let Expr::Subquery(q) = e
            && WITHOUT.iter().any(|t| q.to_string().contains(t))
        {
            *e = Expr::value(Value::Null);
        }
        ControlFlow::<()>::Continue(())
    });
    out
}

/// Parts of the catalogue that hold no row here.
const NONE_OF: [&str; 3] = ["pg_constraint", "pg_index", "pg_enum"];

// Whether every row of a statement needs one of a table: the table is read, and not only joined from the left.
fn needs(text: &str, table: &str) -> bool {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || "(),".contains(c)).filter(|w| !w.is_empty()).collect();
    words.iter().enumerate().any(|(i, w)| {
        let before = |n: usize| i.checked_sub(n).and_then(|k| words.get(k)).copied().unwrap_or_default();
        let outer = before(2) == "left" || (before(2) == "outer" && before(3) == "left");
        w.strip_prefix("pg_catalog.").unwrap_or(w) == table
            && (before(1) == "from" || (before(1) == "join" && !outer))
    })
}

/// Returns the empty answer to a question about keys, indexes and types of the user's own: the lake has
/// none, and the engine cannot plan how clients ask for them.
pub(super) fn empty(s: &Statement) -> Option<LogicalPlan> {
    let Statement::Query(query) = s else { return None };
    let text = s.to_string().to_lowercase();
    let own_types = ["typtype = 'd'", "typtype = 'e'"].iter().any(|t| text.contains(t));
    if !own_types && !NONE_OF.iter().any(|t| needs(&text, t)) {
        return None;
    }
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let names = select.projection.iter().enumerate().map(|(i, item)| match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            parts.last().map_or_else(|| format!("column{i}"), |p| p.value.clone())
        }
        _ => format!("column{i}"),
    });
    let fields: Vec<Field> = names.map(|n| Field::new(n, DataType::Utf8, true)).collect();
    let schema = DFSchema::try_from(Schema::new(fields)).ok()?;
    Some(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(schema) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Statement {
        Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0)
    }

    #[test]
    fn an_escape_other_than_the_backslash_becomes_one() {
        let s = adapted(&parsed("SELECT 1 FROM a WHERE b NOT LIKE 'pg/_' || '%' ESCAPE '/'"));
        assert_eq!(s.to_string(), r"SELECT 1 FROM a WHERE b NOT LIKE replace('pg/_' || '%', '/', '\')");
        let plain = "SELECT 1 FROM a WHERE b LIKE 'x%'";
        assert_eq!(adapted(&parsed(plain)).to_string(), plain);
    }

    #[test]
    fn questions_about_what_the_lake_has_not_are_answered_by_nothing() {
        for (sql, columns) in [
            (
                "SELECT a.attname AS name, k.ord FROM pg_attribute a JOIN (SELECT unnest(ix.indkey) AS attnum, generate_subscripts(ix.indkey, 1) AS ord FROM pg_index ix) k ON a.attnum = k.attnum",
                2,
            ),
            ("SELECT conname FROM pg_catalog.pg_constraint r WHERE r.contype = 'p'", 1),
            (
                "SELECT i.relname FROM pg_class t JOIN pg_index ix ON t.oid = ix.indrelid LEFT OUTER JOIN pg_constraint c ON c.conindid = ix.indexrelid",
                1,
            ),
            (
                "SELECT t.typname AS name, pg_catalog.pg_type_is_visible(t.oid) AS visible FROM pg_catalog.pg_type t WHERE t.typtype = 'd'",
                2,
            ),
        ] {
            let plan = empty(&parsed(sql)).unwrap_or_else(|| panic!("{sql}"));
            assert_eq!(plan.schema().fields().len(), columns, "{sql}");
        }
        for sql in [
            "SELECT c.relname FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid",
            "SELECT c.relname FROM pg_class c LEFT OUTER JOIN pg_catalog.pg_constraint i ON i.conrelid = c.oid",
            "SELECT 'pg_index' AS word FROM requests",
        ] {
            assert!(empty(&parsed(sql)).is_none(), "{sql}");
        }
    }
}
