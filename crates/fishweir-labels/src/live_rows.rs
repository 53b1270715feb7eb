//! Canonical rows as the live path sees them, and what it said as rows of a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use fishweir_engine::hash64;
use fishweir_lake::TableSpec;
use fishweir_pipeline::utc_microseconds;

use crate::live::{LiveEvent, LiveHit};

/// Name of the table of what was said live.
pub const LIVE_INCIDENTS: &str = "live_incidents";

/// Columns of a canonical batch that the live path looks at.
pub struct LiveRows<'a> {
    time: &'a arrow::array::TimestampMicrosecondArray,
    status: &'a arrow::array::Int32Array,
    asn: &'a arrow::array::Int64Array,
    text: BTreeMap<&'static str, ArrayRef>,
}

const TEXTS: [&str; 9] =
    ["ja4", "route", "device", "ip", "session", "account", "action", "mode", "challenge_result"];

impl<'a> LiveRows<'a> {
    /// Returns the columns of a canonical batch of `requests`; `None` when one is missing.
    #[must_use]
    pub fn of(batch: &'a RecordBatch) -> Option<Self> {
        let column = |n: &str| batch.column_by_name(n);
        let mut text = BTreeMap::new();
        for name in TEXTS {
            text.insert(name, cast(column(name)?, &DataType::Utf8).ok()?);
        }
        Some(Self {
            time: column("time")?.as_primitive::<TimestampMicrosecondType>(),
            status: column("status")?.as_primitive::<Int32Type>(),
            asn: column("asn")?.as_primitive::<Int64Type>(),
            text,
        })
    }

    fn text(&self, name: &str, row: usize) -> Option<&str> {
        let column = self.text.get(name)?.as_string::<i32>();
        column.is_valid(row).then(|| column.value(row))
    }

    /// Returns the rows in the order of their times: rows of one read arrived together, and only their
    /// order in time matters.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.time.len()).collect();
        order.sort_by_key(|r| self.time.value(*r));
        order
    }

    /// Returns one row.
    #[must_use]
    pub fn hit(&self, r: usize) -> LiveHit<'_> {
        let client = self.text("device", r).or_else(|| self.text("ip", r)).unwrap_or_default();
        let route = self.text("route", r).unwrap_or_default();
        let status = self.status.value(r);
        let action = self.text("action", r).unwrap_or_default();
        let challenged =
            matches!(action, "challenge" | "step_up") && self.text("challenge_result", r) != Some("passed");
        let stopped = self.text("mode", r).is_none_or(|m| m == "enforce")
            && (matches!(action, "block" | "limit") || challenged);
        let licence = route.contains("licence") || route.contains("license");
        LiveHit {
            time_us: self.time.value(r),
            route,
            client: hash64(client),
            network: if self.asn.is_valid(r) { self.asn.value(r) } else { -1 },
            ja4: self.text("ja4", r).map(hash64),
            session: self.text("session", r).map(hash64),
            with_account: self.text("account", r).is_some(),
            licensed: licence && status < 400,
            refused: licence && status >= 400 && stopped,
            failed: status >= 500,
            stopped,
        }
    }
}

/// Returns the table `live_incidents`: one row per saying, in order of time.
#[must_use]
pub fn live_incident_table() -> TableSpec {
    let (text, time, float) = (DataType::Utf8, utc_microseconds(), DataType::Float64);
    let fields = [
        ("time", time.clone()),
        ("event", text.clone()),
        ("incident_id", text.clone()),
        ("start", time.clone()),
        ("end", time),
        ("kind", text.clone()),
        ("p_attack", float.clone()),
        ("excess_requests", float),
        ("routes", text.clone()),
        ("found_by", text),
        ("is_open", DataType::Boolean),
    ];
    TableSpec {
        name: LIVE_INCIDENTS.to_owned(),
        schema: Arc::new(Schema::new(
            fields.into_iter().map(|(n, k)| Field::new(n, k, true)).collect::<Vec<_>>(),
        )),
        time_column: Some("time".to_owned()),
    }
}

/// Returns a saying as a row of [`live_incident_table`].
///
/// # Errors
/// Never in practice: columns that do not fit the schema.
pub fn live_incident_row(e: &LiveEvent) -> Result<RecordBatch, arrow::error::ArrowError> {
    let text = |t: &str| -> ArrayRef { Arc::new(StringArray::from(vec![t.to_owned()])) };
    let time =
        |us: i64| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC")) };
    let float = |v: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![v])) };
    let columns = vec![
        time(e.time_us),
        text(e.event),
        text(&e.incident_id),
        time(e.start_us),
        time(e.end_us),
        text(e.kind),
        float(e.p_attack),
        float(Some(e.excess_requests)),
        text(&e.routes.join(" ")),
        text(&e.found_by),
        Arc::new(BooleanArray::from(vec![e.event == "open"])),
    ];
    RecordBatch::try_new(live_incident_table().schema, columns)
}
