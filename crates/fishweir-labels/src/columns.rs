//! Tables out of rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use fishweir_lake::TableSpec;

/// Returns a table whose first column is its time; every column may be null.
pub(crate) fn spec(name: &str, fields: &[(&str, DataType)]) -> TableSpec {
    let time = fields.first().map(|f| f.0.to_owned());
    let fields: Vec<Field> = fields.iter().map(|(n, k)| Field::new(*n, k.clone(), true)).collect();
    TableSpec { name: name.to_owned(), schema: Arc::new(Schema::new(fields)), time_column: time }
}

/// Columns out of the fields of rows.
pub(crate) struct Columns<'a, T> {
    pub(crate) rows: Vec<&'a T>,
}

impl<T> Columns<'_, T> {
    pub(crate) fn time(&self, f: impl Fn(&T) -> i64) -> ArrayRef {
        let all: Vec<i64> = self.rows.iter().map(|r| f(r)).collect();
        Arc::new(TimestampMicrosecondArray::from(all).with_timezone("UTC"))
    }
    pub(crate) fn text(&self, f: impl Fn(&T) -> String) -> ArrayRef {
        Arc::new(self.rows.iter().map(|r| Some(f(r))).collect::<StringArray>())
    }
    pub(crate) fn optional(&self, f: impl Fn(&T) -> Option<String>) -> ArrayRef {
        Arc::new(self.rows.iter().map(|r| f(r)).collect::<StringArray>())
    }
    pub(crate) fn float(&self, f: impl Fn(&T) -> Option<f64>) -> ArrayRef {
        Arc::new(self.rows.iter().map(|r| f(r).filter(|v| v.is_finite())).collect::<Float64Array>())
    }
    pub(crate) fn int(&self, f: impl Fn(&T) -> Option<i64>) -> ArrayRef {
        Arc::new(self.rows.iter().map(|r| f(r)).collect::<Int64Array>())
    }
    pub(crate) fn flag(&self, f: impl Fn(&T) -> bool) -> ArrayRef {
        Arc::new(self.rows.iter().map(|r| Some(f(r))).collect::<BooleanArray>())
    }
}
