//! SQL expressions over source fields that make the canonical columns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use fishweir_events::{Mapped, Stream};
use thiserror::Error;

use crate::source::Source;

/// An expression that cannot be used.
#[derive(Debug, Error)]
#[error("source `{source_name}`, [map] {column} = `{expression}`: {cause}")]
pub struct MappingError {
    /// Source.
    pub source_name: String,
    /// Canonical column.
    pub column: String,
    /// As written.
    pub expression: String,
    /// What the planner said.
    pub cause: String,
}

enum Rule {
    Field(String),
    Expression(Arc<dyn PhysicalExpr>),
}

/// Compiled expressions of one source for one stream.
pub(crate) struct Mapping {
    rules: Vec<(String, Rule)>,
    schema: SchemaRef,
}

/// Returns the names that the expressions of a source may refer to.
pub(crate) fn referenced_fields(source: &Source, stream: Stream) -> Vec<String> {
    if source.map.is_empty() {
        let schema = stream.schema();
        let names = schema.fields().iter().map(|f| f.name().clone());
        return names.filter(|n| n != "source" && n != "ingested_at").collect();
    }
    let mut names = Vec::new();
    for expression in source.map.values() {
        let tokens = Tokenizer::new(&GenericDialect {}, expression).tokenize().unwrap_or_default();
        for token in tokens {
            if let Token::Word(w) = token
                && !names.contains(&w.value)
            {
                names.push(w.value);
            }
        }
    }
    names
}

impl Mapping {
    /// Returns the mapping of a source whose decoder gives the named and typed fields.
    pub(crate) fn new(source: &Source, fields: &[(String, DataType)]) -> Result<Self, MappingError> {
        let columns = fields.iter().map(|(name, kind)| Field::new(name, kind.clone(), true));
        let schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        let identity: BTreeMap<String, String> =
            fields.iter().map(|(f, _)| (f.clone(), format!("\"{f}\""))).collect();
        let map = if source.map.is_empty() { &identity } else { &source.map };
        let config = SessionConfig::new().set_bool("datafusion.sql_parser.enable_ident_normalization", false);
        let context = SessionContext::new_with_config(config);
        let df_schema = DFSchema::try_from(Arc::clone(&schema));
        let mut rules = Vec::new();
        for (column, expression) in map {
            let bare = expression.trim().trim_matches('"');
            let unquoted = bare.chars().all(|c| c.is_alphanumeric() || "_-.()".contains(c));
            if fields.iter().any(|f| f.0 == bare) && unquoted {
                rules.push((column.clone(), Rule::Field(bare.to_owned())));
                continue;
            }
            let fail = |e: datafusion::error::DataFusionError| MappingError {
                source_name: source.name.clone(),
                column: column.clone(),
                expression: expression.clone(),
                cause: e.strip_backtrace(),
            };
            let df_schema = df_schema
                .as_ref()
                .map_err(|e| fail(datafusion::error::DataFusionError::Plan(e.to_string())))?;
            let logical = context.parse_sql_expr(expression, df_schema).map_err(fail)?;
            let physical = simplified(logical, df_schema)
                .and_then(|e| context.create_physical_expr(e, df_schema))
                .map_err(fail)?;
            rules.push((column.clone(), Rule::Expression(physical)));
        }
        Ok(Self { rules, schema })
    }

    /// Returns the canonical columns of decoded fields, and the rows on which an expression failed.
    pub(crate) fn apply(&self, fields: &[(String, ArrayRef)], rows: usize) -> (Mapped, Vec<(usize, String)>) {
        let by_name: HashMap<&str, &ArrayRef> = fields.iter().map(|(n, a)| (n.as_str(), a)).collect();
        let columns = self.schema.fields().iter().map(|f| match by_name.get(f.name().as_str()) {
            Some(a) => Arc::clone(a),
            None => new_null_array(f.data_type(), rows),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options);
        let mut mapped = Mapped { rows, columns: HashMap::new() };
        let mut failed = Vec::new();
        let Ok(batch) = batch else {
            failed.extend((0..rows).map(|r| (r, "fields do not fit the source definition".to_owned())));
            return (mapped, failed);
        };
        for (column, rule) in &self.rules {
            let array = match rule {
                Rule::Field(name) => batch.column_by_name(name).cloned(),
                Rule::Expression(e) => Some(evaluate(e.as_ref(), &batch, column, &mut failed)),
            };
            if let Some(array) = array {
                mapped.columns.insert(column.clone(), array);
            }
        }
        (mapped, failed)
    }
}

// Some functions (`coalesce`, `nvl`) only exist in simplified form.
fn simplified(expr: Expr, schema: &DFSchema) -> Result<Expr, datafusion::error::DataFusionError> {
    let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.coerce(expr, schema)?;
    simplifier.simplify(expr)
}

fn evaluate(
    expression: &dyn PhysicalExpr,
    batch: &RecordBatch,
    column: &str,
    failed: &mut Vec<(usize, String)>,
) -> ArrayRef {
    let whole = |b: &RecordBatch| expression.evaluate(b).and_then(|v| v.into_array(b.num_rows()));
    if let Ok(array) = whole(batch) {
        return array;
    }
    // WHY: one bad value fails the whole batch, so the rows are tried one by one to find it.
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(batch.num_rows());
    let kind = expression.data_type(batch.schema_ref()).unwrap_or(DataType::Utf8View);
    for row in 0..batch.num_rows() {
        parts.push(whole(&batch.slice(row, 1)).unwrap_or_else(|e| {
            let cause = e.strip_backtrace();
            let cause: String = cause.lines().next().unwrap_or_default().chars().take(120).collect();
            failed.push((row, format!("{column}: {cause}")));
            new_null_array(&kind, 1)
        }));
    }
    let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&parts).unwrap_or_else(|_| new_null_array(&kind, batch.num_rows()))
}
