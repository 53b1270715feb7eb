//! Schemas of the SQL endpoint: the lake's tables as they are now, and `information_schema` in the words
//! of Postgres.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use fishweir_metrics::Catalog;

use crate::site::Site;

/// Tables stay pinned at a version this long: one statement asks for them many times.
const PINNED: Duration = Duration::from_secs(3);

type Pins = BTreeMap<String, (Instant, Option<Arc<dyn TableProvider>>)>;

/// The tables of the lake.
pub(super) struct LakeSchema {
    site: Arc<dyn Site>,
    pins: Mutex<Pins>,
    names: Mutex<Option<(Instant, Vec<String>)>>,
}

impl std::fmt::Debug for LakeSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LakeSchema")
    }
}

impl LakeSchema {
    pub(super) fn new(site: Arc<dyn Site>) -> Self {
        Self { site, pins: Mutex::default(), names: Mutex::default() }
    }

    // The trait asks for names without waiting; listing a local folder is quick, and a listing is kept.
    fn list(&self) -> Vec<String> {
        if let Ok(known) = self.names.lock()
            && let Some((at, names)) = &*known
            && at.elapsed() < PINNED
        {
            return names.clone();
        }
        let Ok(lake) = self.site.lake() else { return Vec::new() };
        let listed = std::thread::scope(|s| {
            s.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
                runtime.block_on(lake.table_names()).ok()
            })
            .join()
            .ok()
            .flatten()
        });
        let names = listed.unwrap_or_default();
        if let Ok(mut known) = self.names.lock() {
            *known = Some((Instant::now(), names.clone()));
        }
        names
    }
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        self.list()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Ok(pins) = self.pins.lock()
            && let Some((at, table)) = pins.get(name)
            && at.elapsed() < PINNED
        {
            return Ok(table.clone());
        }
        // A name is looked up only where it is one of the lake's: opening makes a folder otherwise.
        let table = if self.list().iter().any(|n| n == name) {
            let bad = |e: &dyn std::fmt::Display| DataFusionError::Execution(e.to_string());
            let lake = self.site.lake().map_err(|e| bad(&e))?;
            let open = lake.existing(name).await.map_err(|e| bad(&e))?;
            open.map(|t| Catalog::pin(&t)).transpose().map_err(|e| bad(&e))?
        } else {
            None
        };
        if let Ok(mut pins) = self.pins.lock() {
            pins.insert(name.to_owned(), (Instant::now(), table.clone()));
        }
        Ok(table)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.list().iter().any(|n| n == name)
    }
}

/// `information_schema` with the names of types that Postgres clients know.
#[derive(Debug)]
pub(super) struct InformationSchema {
    lake: Arc<LakeSchema>,
}

const VIEWS: [&str; 3] = ["columns", "schemata", "tables"];

impl InformationSchema {
    pub(super) fn new(lake: Arc<LakeSchema>) -> Self {
        Self { lake }
    }

    async fn columns(&self) -> Result<RecordBatch> {
        let mut rows: Vec<(String, String, i32, bool, &'static str, &'static str)> = Vec::new();
        for name in self.lake.table_names() {
            let Some(table) = self.lake.table(&name).await? else { continue };
            for (i, f) in table.schema().fields().iter().enumerate() {
                let (long, short) = postgres_type(f.data_type());
                let place = i32::try_from(i + 1).unwrap_or(i32::MAX);
                rows.push((name.clone(), f.name().clone(), place, f.is_nullable(), long, short));
            }
        }
        let n = rows.len();
        batch(vec![
            ("table_catalog", same("fishweir", n)),
            ("table_schema", same("public", n)),
            ("table_name", text(rows.iter().map(|r| r.0.as_str()))),
            ("column_name", text(rows.iter().map(|r| r.1.as_str()))),
            ("ordinal_position", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<Int32Array>())),
            ("column_default", Arc::new(StringArray::new_null(n))),
            ("is_nullable", text(rows.iter().map(|r| if r.3 { "YES" } else { "NO" }))),
            ("data_type", text(rows.iter().map(|r| r.4))),
            ("udt_name", text(rows.iter().map(|r| r.5))),
            ("character_maximum_length", Arc::new(Int32Array::new_null(n))),
            ("numeric_precision", Arc::new(Int32Array::new_null(n))),
            ("numeric_scale", Arc::new(Int32Array::new_null(n))),
        ])
    }

    fn tables(&self) -> Result<RecordBatch> {
        let names = self.lake.table_names();
        let n = names.len();
        batch(vec![
            ("table_catalog", same("fishweir", n)),
            ("table_schema", same("public", n)),
            ("table_name", text(names.iter().map(String::as_str))),
            ("table_type", same("BASE TABLE", n)),
            ("is_insertable_into", same("NO", n)),
        ])
    }
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> arrow::array::ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn same(value: &str, n: usize) -> arrow::array::ArrayRef {
    text(std::iter::repeat_n(value, n))
}

fn batch(columns: Vec<(&str, arrow::array::ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|c| c.1).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn postgres_type(t: &DataType) -> (&'static str, &'static str) {
    match t {
        DataType::Boolean => ("boolean", "bool"),
        DataType::Int8 | DataType::Int16 => ("smallint", "int2"),
        DataType::Int32 => ("integer", "int4"),
        DataType::Int64 => ("bigint", "int8"),
        DataType::Float32 => ("real", "float4"),
        DataType::Float64 => ("double precision", "float8"),
        DataType::Date32 => ("date", "date"),
        DataType::Timestamp(_, Some(_)) => ("timestamp with time zone", "timestamptz"),
        DataType::Timestamp(_, None) => ("timestamp without time zone", "timestamp"),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => ("bytea", "bytea"),
        _ => ("text", "text"),
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        VIEWS.map(str::to_owned).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let rows = match name {
            "columns" => self.columns().await?,
            "tables" => self.tables()?,
            "schemata" => batch(vec![
                ("catalog_name", same("fishweir", 3)),
                ("schema_name", text(["information_schema", "pg_catalog", "public"].into_iter())),
                ("schema_owner", same("fishweir", 3)),
            ])?,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        VIEWS.contains(&name)
    }
}
