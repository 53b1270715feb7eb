//! Minute series out of the rollups, in the shape the detector wants.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_pipeline::{Catalog, Interval, MINUTE_US, PipelineError, text_literal, time_literal};

const ROUTES_MAX: usize = 60;

/// Requests per minute: in total, then per route.
pub(crate) struct Minutes {
    /// Route of each series; the first is `None`: all of them.
    pub(crate) routes: Vec<Option<String>>,
    pub(crate) counts: Vec<Vec<f64>>,
}

/// Returns texts as the literals of a list of SQL, without its brackets.
pub(crate) fn quoted_list<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> String {
    texts.into_iter().map(|t| text_literal(t.as_ref())).collect::<Vec<_>>().join(", ")
}

pub(crate) fn between_sql(column: &str, span: Interval) -> String {
    format!("{column} >= {} AND {column} < {}", time_literal(span.from_us), time_literal(span.to_us))
}

/// Returns a column as text; null is empty.
pub(crate) fn words(batch: &RecordBatch, column: usize) -> Vec<String> {
    let Ok(text) = cast(batch.column(column), &DataType::Utf8) else {
        return vec![String::new(); batch.num_rows()];
    };
    let text = text.as_string::<i32>();
    (0..text.len()).map(|r| if text.is_valid(r) { text.value(r).to_owned() } else { String::new() }).collect()
}

/// Returns the series of a span, for the routes that ever reach `busy` requests a minute inside
/// `focus`; `None` when nothing does.
pub(crate) async fn load(
    catalog: &Catalog,
    span: Interval,
    focus: Interval,
    busy: f64,
) -> Result<Option<Minutes>, PipelineError> {
    let busiest = format!(
        "SELECT route, max(n) AS peak FROM (SELECT minute, route, CAST(sum(requests) AS BIGINT) AS n FROM request_minutes WHERE {} GROUP BY 1, 2) GROUP BY 1 HAVING max(n) >= {busy} ORDER BY 2 DESC, 1 LIMIT {ROUTES_MAX}",
        between_sql("minute", focus)
    );
    let mut routes: Vec<Option<String>> = vec![None];
    for batch in catalog.query(&["request_minutes"], &busiest).await? {
        let names = cast(batch.column(0), &DataType::Utf8).unwrap_or_else(|_| batch.column(0).clone());
        let names = names.as_string::<i32>();
        routes.extend((0..names.len()).map(|r| Some(names.value(r).to_owned())));
    }
    let total_peak = format!(
        "SELECT max(n) FROM (SELECT minute, CAST(sum(requests) AS BIGINT) AS n FROM request_minutes WHERE {} GROUP BY 1)",
        between_sql("minute", focus)
    );
    let mut peak = 0;
    for batch in catalog.query(&["request_minutes"], &total_peak).await? {
        let n = batch.column(0).as_primitive::<Int64Type>();
        peak = n.iter().flatten().fold(peak, i64::max);
    }
    #[expect(clippy::cast_precision_loss, reason = "a request count")]
    let quiet = (peak as f64) < busy;
    if quiet {
        return Ok(None);
    }
    let minutes = usize::try_from((span.to_us - span.from_us) / MINUTE_US).unwrap_or(0);
    let mut counts = vec![vec![0.0; minutes]; routes.len()];
    let index: BTreeMap<&str, usize> =
        routes.iter().enumerate().filter_map(|(i, r)| Some((r.as_deref()?, i))).collect();
    let all = format!(
        "SELECT minute, route, CAST(sum(requests) AS BIGINT) AS n FROM request_minutes WHERE {} GROUP BY 1, 2",
        between_sql("minute", span)
    );
    for batch in catalog.query(&["request_minutes"], &all).await? {
        let minute = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let route = cast(batch.column(1), &DataType::Utf8).unwrap_or_else(|_| batch.column(1).clone());
        let route = route.as_string::<i32>();
        let n = batch.column(2).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            let Ok(m) = usize::try_from((minute.value(r) - span.from_us) / MINUTE_US) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "a request count")]
            let requests = n.value(r) as f64;
            let series = [Some(0), index.get(route.value(r)).copied()];
            for i in series.into_iter().flatten() {
                if let Some(slot) = counts.get_mut(i).and_then(|c| c.get_mut(m)) {
                    *slot += requests;
                }
            }
        }
    }
    blank_missing_hours(&mut counts);
    Ok(Some(Minutes { routes, counts }))
}

// An hour without a single request in a busy service is missing data, not silence.
fn blank_missing_hours(counts: &mut [Vec<f64>]) {
    let Some(total) = counts.first().cloned() else { return };
    let mut empty = Vec::new();
    let (mut hours, mut busy) = (0usize, 0usize);
    for (h, hour) in total.chunks(60).enumerate() {
        let any = hour.iter().any(|n| *n > 0.0);
        hours += 1;
        busy += usize::from(any);
        if !any {
            empty.push(h);
        }
    }
    if busy * 2 < hours {
        return;
    }
    for series in counts.iter_mut() {
        for h in &empty {
            series.iter_mut().skip(h * 60).take(60).for_each(|n| *n = f64::NAN);
        }
    }
}
