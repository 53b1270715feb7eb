//! The API: the same answers as the pages, for programs.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query as Params, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use fishweir_events::Stream;
use fishweir_metrics::{Buckets, Interval, MetricType, MetricValue};
use fishweir_report::{campaign_story, incident_story, takeover_story};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::Shared;
use crate::pages::explore::values;
use crate::pages::incidents::store_verdict;
use crate::pages::parts::{PEOPLE_MIN, Query, inside, unseen};
use crate::pages::rules::book;
use crate::period::{Asked, asked, grain};
use crate::problem::Problem;
use crate::snapshot::Snapshot;

type Answer = Result<Response, Problem>;

const ROWS_MAX: usize = 10_000;

pub(crate) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], crate::openapi::description()).into_response()
}

pub(crate) async fn events(State(app): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    Ok(Json(app.receiver.take(None, &headers, body).await?).into_response())
}

pub(crate) async fn events_of(
    State(app): Shared,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let stream: Stream =
        stream.parse().map_err(|e: fishweir_events::UnknownStreamError| Problem::missing(e.to_string()))?;
    Ok(Json(app.receiver.take(Some(stream), &headers, body).await?).into_response())
}

pub(crate) async fn metrics(State(app): Shared) -> Answer {
    let s = app.snapshot().await?;
    let all: Vec<_> = s.evaluator.metrics().values().cloned().collect();
    Ok(Json(all).into_response())
}

fn period_of(s: &Snapshot, q: &Query, stream: &str, now_us: i64) -> Result<Asked, Problem> {
    let text = match (q.get("from"), q.get("to")) {
        (Some(from), Some(to)) => Some(format!("{from}..{to}")),
        (None, None) => q.get("period").cloned(),
        _ => return Err(Problem::bad("`from` and `to` come together")),
    };
    asked(text.as_deref(), s.evaluator.sealed_span(stream), now_us)
}

/// Values of a metric; `format` is `json`, `csv` or `parquet`.
pub(crate) async fn metric(State(app): Shared, Path(name): Path<String>, Params(q): Params<Query>) -> Answer {
    let s = app.snapshot().await?;
    let e = &s.evaluator;
    let Some(m) = e.metrics().get(&name) else {
        return Err(Problem::missing(format!(
            "no metric is called `{name}`\nhint: /api/v1/metrics lists them"
        )));
    };
    let period = period_of(&s, &q, &m.stream, app.site.now_us())?.period;
    let get = |k: &str| q.get(k).map(String::as_str).filter(|v| !v.is_empty());
    let by = get("by");
    if let Some(by) = by.filter(|b| !m.dimensions.iter().any(|d| d == b)) {
        let known = if m.dimensions.is_empty() { "none".to_owned() } else { m.dimensions.join(", ") };
        return Err(Problem::bad(format!(
            "`{name}` is not split by `{by}`\nhint: its dimensions are: {known}"
        )));
    }
    let whole = get("grain") == Some("whole") || matches!(m.kind, MetricType::Top | MetricType::Cumulative);
    let buckets =
        if whole { Buckets::Whole(period) } else { Buckets::Each(grain(get("grain"), period)?, period) };
    if buckets.periods().len() > ROWS_MAX {
        return Err(Problem::bad(
            "so many periods are not answered at once\nhint: a coarser grain or a shorter period",
        ));
    }
    let found = values(e, m, buckets, by, get("of").filter(|_| by.is_some())).await?;
    let found: Vec<MetricValue> = found.into_iter().map(|v| told(v, &m.unit)).collect();
    let exported = get("format").unwrap_or("json");
    match exported {
        "json" => Ok(Json(json!({
            "metric": name, "unit": m.unit, "version": m.version, "grain": if whole { "whole" } else { buckets_name(buckets) },
            "values": found.iter().map(as_json).collect::<Vec<_>>(),
        }))
        .into_response()),
        "csv" => Ok(file(&name, "csv", "text/csv; charset=utf-8", csv(&table(&found)?)?)),
        "parquet" => Ok(file(&name, "parquet", "application/vnd.apache.parquet", parquet_bytes(&table(&found)?)?)),
        other => Err(Problem::bad(format!("`{other}` is no format\nhint: json, csv or parquet"))),
    }
}

fn buckets_name(b: Buckets) -> &'static str {
    match b {
        Buckets::Each(g, _) => g.name(),
        Buckets::Whole(_) => "whole",
    }
}

fn stamp(us: i64) -> String {
    fishweir_report::time(us, "%Y-%m-%dT%H:%M:%SZ")
}

fn as_json(v: &MetricValue) -> Value {
    json!({
        "from": stamp(v.period.from_us), "to": stamp(v.period.to_us), "label": v.label, "value": v.value, "low": v.low,
        "high": v.high, "n": v.n, "coverage": v.coverage, "label_source": v.label_source, "maturity": v.maturity,
        "reason": v.reason, "breaks": v.breaks,
    })
}

// What leaves tells no group of people smaller than twenty.
fn told(mut v: MetricValue, unit: &str) -> MetricValue {
    if unit == "members" && v.value.is_some_and(|x| x > 0.0 && x < PEOPLE_MIN) {
        (v.value, v.low, v.high, v.n) = (None, None, None, 0.0);
        v.reason = Some("fewer than 20 people".to_owned());
    }
    v
}

fn table(all: &[MetricValue]) -> Result<RecordBatch, Problem> {
    let float = |f: fn(&MetricValue) -> Option<f64>| -> ArrayRef {
        Arc::new(all.iter().map(f).collect::<Float64Array>())
    };
    let text = |f: &dyn Fn(&MetricValue) -> Option<String>| -> ArrayRef {
        Arc::new(all.iter().map(f).collect::<StringArray>())
    };
    let time = |f: fn(&MetricValue) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(all.iter().map(f).collect::<Vec<_>>()).with_timezone("UTC"))
    };
    RecordBatch::try_from_iter_with_nullable(vec![
        ("period_start", time(|v| v.period.from_us), false),
        ("period_end", time(|v| v.period.to_us), false),
        ("label", text(&|v| v.label.clone()), true),
        ("value", float(|v| v.value), true),
        ("low", float(|v| v.low), true),
        ("high", float(|v| v.high), true),
        ("n", float(|v| Some(v.n)), true),
        ("coverage", float(|v| Some(v.coverage)), true),
        ("label_source", text(&|v| Some(v.label_source.clone())), true),
        ("maturity", text(&|v| Some(v.maturity.to_owned())), true),
        ("reason", text(&|v| v.reason.clone()), true),
    ])
    .map_err(|e| Problem::broken(&e))
}

// A cell that a spreadsheet would take for a formula: routes and agents are words of strangers.
fn as_text(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

fn csv(batch: &RecordBatch) -> Result<Vec<u8>, Problem> {
    let columns = batch.columns().iter().map(|c| match c.as_string_opt::<i32>() {
        Some(texts) => Arc::new(texts.iter().map(|t| t.map(as_text)).collect::<StringArray>()) as ArrayRef,
        None => Arc::clone(c),
    });
    let batch = RecordBatch::try_new(batch.schema(), columns.collect()).map_err(|e| Problem::broken(&e))?;
    let mut out = Vec::new();
    arrow::csv::Writer::new(&mut out).write(&batch).map_err(|e| Problem::broken(&e))?;
    Ok(out)
}

fn parquet_bytes(batch: &RecordBatch) -> Result<Vec<u8>, Problem> {
    let mut out = Cursor::new(Vec::new());
    let mut w = parquet::arrow::ArrowWriter::try_new(&mut out, batch.schema(), None)
        .map_err(|e| Problem::broken(&e))?;
    w.write(batch).map_err(|e| Problem::broken(&e))?;
    w.close().map_err(|e| Problem::broken(&e))?;
    Ok(out.into_inner())
}

fn file(name: &str, ending: &str, kind: &'static str, body: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    ([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)], body)
        .into_response()
}

// A list of a period with what is sealed of it: nothing found in a stretch without data is no good news.
fn listed(s: &Snapshot, stream: &str, period: Interval, items: &Value) -> Response {
    let text = |us: i64| fishweir_report::time(us, "%FT%TZ");
    let sealed =
        s.evaluator.sealed_span(stream).map(|p| json!({"from": text(p.from_us), "to": text(p.to_us)}));
    Json(json!({
        "period": {"from": text(period.from_us), "to": text(period.to_us)},
        "sealed": sealed,
        "note": unseen(&s.evaluator, stream, period),
        "items": items,
    }))
    .into_response()
}

async fn rows(
    app: &crate::app::App,
    [stream, table]: [&str; 2],
    q: &Query,
    more: &str,
    order: &str,
) -> Answer {
    let s = app.snapshot().await?;
    if !s.evaluator.has_table(table) {
        return Err(Problem::missing(format!(
            "table `{table}` does not exist yet\nhint: `fishweir run` makes it"
        )));
    }
    let p = period_of(&s, q, "requests", app.site.now_us())?.period;
    let sql =
        format!("SELECT * FROM {table} WHERE {}{more} ORDER BY {order} LIMIT {ROWS_MAX}", inside("start", p));
    Ok(listed(&s, stream, p, &json!(s.evaluator.rows(&sql).await?)))
}

pub(crate) async fn incidents(State(app): Shared, Params(q): Params<Query>) -> Answer {
    let more = if q.contains_key("all") { "" } else { " AND kind = 'attack'" };
    rows(&app, ["requests", "dos_incidents"], &q, more, "start, incident_id").await
}

pub(crate) async fn takeovers(State(app): Shared, Params(q): Params<Query>) -> Answer {
    let more = if q.contains_key("all") { "" } else { " AND p_takeover >= 0.5" };
    rows(&app, ["logins", "account_takeovers"], &q, more, "start, takeover_id").await
}

pub(crate) async fn campaigns(State(app): Shared, Params(q): Params<Query>) -> Answer {
    rows(&app, ["logins", "login_campaigns"], &q, "", "start, campaign_id").await
}

fn found(story: Option<Map<String, Value>>, what: &str, id: &str) -> Answer {
    match story {
        Some(story) => Ok(Json(story).into_response()),
        None => Err(Problem::missing(format!("no {what} is called `{id}`"))),
    }
}

pub(crate) async fn incident(State(app): Shared, Path(id): Path<String>) -> Answer {
    let s = app.snapshot().await?;
    let known = s.evaluator.has_table("dos_incidents");
    found(
        if known { incident_story(&s.evaluator, &id, &app.site.costs()).await? } else { None },
        "incident",
        &id,
    )
}

pub(crate) async fn takeover(State(app): Shared, Path(id): Path<String>) -> Answer {
    let s = app.snapshot().await?;
    let known = s.evaluator.has_table("account_takeovers");
    found(if known { takeover_story(&s.evaluator, &id).await? } else { None }, "takeover", &id)
}

pub(crate) async fn campaign(State(app): Shared, Path(id): Path<String>) -> Answer {
    let s = app.snapshot().await?;
    let known = s.evaluator.has_table("login_campaigns");
    found(if known { campaign_story(&s.evaluator, &id).await? } else { None }, "campaign", &id)
}

pub(crate) async fn rules(State(app): Shared, Params(q): Params<Query>) -> Answer {
    let s = app.snapshot().await?;
    if !s.evaluator.has_table("rule_outcomes") {
        return Err(Problem::missing("no rule was looked at yet\nhint: `fishweir run` does that"));
    }
    let p = period_of(&s, &q, "requests", app.site.now_us())?.period;
    Ok(listed(&s, "requests", p, &json!(book(&s.evaluator, p).await?)))
}

/// A verdict as the API takes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verdict {
    subject_kind: String,
    subject: String,
    verdict: String,
    reviewer: String,
    #[serde(default)]
    reason: String,
}

pub(crate) async fn verdict(State(app): Shared, body: Bytes) -> Answer {
    let v: Verdict = serde_json::from_slice(&body).map_err(|e| Problem::bad(format!("no verdict: {e}")))?;
    store_verdict(&app, &v.subject_kind, &v.subject, &v.verdict, &v.reviewer, &v.reason).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"stored": true}))).into_response())
}

pub(crate) async fn live(State(app): Shared) -> Answer {
    match &app.feed {
        Some(feed) => Ok(Json(feed.now()).into_response()),
        None => Err(Problem::missing("the live stream is not watched")),
    }
}

/// What the live path says, as server-sent events named `said`.
pub(crate) async fn live_stream(State(app): Shared) -> Answer {
    let Some(feed) = &app.feed else { return Err(Problem::missing("the live stream is not watched")) };
    let stream = futures::stream::unfold(feed.said.subscribe(), |mut said| async move {
        loop {
            match said.recv().await {
                Ok(e) => {
                    let event = Event::default().event("said").json_data(&e).unwrap_or_default();
                    return Some((Ok::<_, Infallible>(event), said));
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_a_spreadsheet_is_a_formula() {
        let labels: ArrayRef =
            Arc::new(StringArray::from(vec![Some("=1+1"), Some("/home"), Some("@x"), None]));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, -2.0, 3.0, 4.0]));
        let batch = RecordBatch::try_from_iter([("label", labels), ("value", values)]).unwrap();
        let text = String::from_utf8(csv(&batch).unwrap()).unwrap();
        assert_eq!(text, "label,value\n'=1+1,1.0\n/home,-2.0\n'@x,3.0\n,4.0\n");
    }
}
