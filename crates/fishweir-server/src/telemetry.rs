//! `/healthz` and `/metrics`: whether the server is well, for machines.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fishweir_metrics::{Audience, DAY_US, Evaluator, Grain, Interval};
use serde_json::json;

use crate::http::Shared;

/// Days of the headline values.
const HEADLINE_DAYS: i64 = 28;

/// Answers 200 while rows can be taken in and kept, 503 otherwise, with the reasons.
pub(crate) async fn healthz(State(app): Shared) -> Response {
    let trouble = app.receiver.trouble.lock().map(|t| t.clone()).unwrap_or(None);
    let closing = app.receiver.closing.load(Ordering::Relaxed);
    let well = trouble.is_none() && !closing;
    let body = json!({
        "status": if well { "ok" } else { "failing" },
        "commit": trouble,
        "closing": closing,
        "waiting_bytes": app.receiver.waiting_bytes(),
        "snapshot_us": app.snapshots.newest().map(|s| s.made_us),
        "uptime_s": app.started.elapsed().as_secs(),
    });
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP fishweir_{name} {help}\n# TYPE fishweir_{name} {kind}");
    }
    fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "fishweir_{name}{labels} {value}");
    }
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.value(name, "", value);
    }
}

/// Answers in the Prometheus text format: own health, and the headline metrics of the last 28 days. A
/// value that is unknown is left out.
#[expect(clippy::cast_precision_loss, reason = "seconds")]
pub(crate) async fn metrics(State(app): Shared) -> Response {
    let mut p = Page(String::new());
    let c = &app.receiver.counts;
    let n = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed);
    p.one("uptime_seconds", "gauge", "Time since the start.", app.started.elapsed().as_secs());
    p.one("ingest_batches_total", "counter", "Batches acknowledged.", n(&c.batches));
    p.head("ingest_rows_total", "counter", "Rows of acknowledged batches.");
    p.value("ingest_rows_total", "{outcome=\"accepted\"}", n(&c.accepted));
    p.value("ingest_rows_total", "{outcome=\"rejected\"}", n(&c.rejected));
    p.one("ingest_repeated_total", "counter", "Batches that had been acknowledged before.", n(&c.repeated));
    p.one("ingest_pushed_back_total", "counter", "Batches answered with 429.", n(&c.pushed_back));
    p.head("lake_rows_total", "counter", "Rows delivered to the lake.");
    p.value("lake_rows_total", "{outcome=\"committed\"}", n(&c.committed));
    p.value("lake_rows_total", "{outcome=\"duplicate\"}", n(&c.duplicates));
    p.one("waiting_bytes", "gauge", "Rows acknowledged and not yet committed.", app.receiver.waiting_bytes());
    let failing = app.receiver.trouble.lock().is_ok_and(|t| t.is_some());
    p.one("commit_failing", "gauge", "1 while commits fail.", u8::from(failing));
    p.one("runs_total", "counter", "Runs of the model graph.", n(&app.runs.done));
    p.one("runs_failed_total", "counter", "Runs that failed.", n(&app.runs.failed));
    p.head("http_answers_total", "counter", "Answers by class of status.");
    for (class, count) in app.traffic.answers.iter().enumerate().skip(1) {
        p.value("http_answers_total", &format!("{{class=\"{class}xx\"}}"), n(count));
    }
    p.one(
        "http_answer_seconds_total",
        "counter",
        "Time spent on answers.",
        n(&app.traffic.micros) as f64 / 1e6,
    );
    p.one("alerts_waiting", "gauge", "Messages not delivered yet.", app.alerts.waiting());
    if let Some(feed) = &app.feed {
        let live = feed.now();
        // Before the first request nothing is known to be open or not.
        if live.clock_us.is_some() {
            p.one("live_open_incidents", "gauge", "Surges open in the live stream.", live.open.len());
            let attacks = live.open.iter().filter(|e| e.kind == "attack").count();
            p.one("live_open_attacks", "gauge", "Open surges held for attacks.", attacks);
        }
        p.one("live_rows_skipped_total", "counter", "Rows the detectors did not see.", n(&feed.skipped));
        if let Some(all) = live.rates.first() {
            p.one(
                "live_requests_per_minute",
                "gauge",
                "Requests of the last sixty seconds.",
                all.last_minute,
            );
        }
    }
    if let Ok(s) = app.snapshot().await {
        headlines(&mut p, &s.evaluator).await;
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], p.0).into_response()
}

async fn headlines(p: &mut Page, evaluator: &Evaluator) {
    let Some(span) = evaluator.sealed_span("requests") else { return };
    p.one("sealed_until_seconds", "gauge", "End of the last sealed hour.", span.to_us / 1_000_000);
    let end = Grain::Day.floor(span.to_us);
    let period = Interval::new(end - HEADLINE_DAYS * DAY_US, end);
    let executive = evaluator.metrics().values().filter(|m| m.audience.contains(&Audience::Executive));
    let names: Vec<(String, String)> = executive.map(|m| (m.name.clone(), m.title.clone())).collect();
    for (name, title) in names {
        let Ok(v) = evaluator.value(&name, period).await else { continue };
        let Some(x) = v.value else { continue };
        let known = [("value", Some(x)), ("low", v.low), ("high", v.high)];
        p.head(&format!("headline_{name}"), "gauge", &format!("{title}, last {HEADLINE_DAYS} days."));
        for (end, x) in known {
            if let Some(x) = x.filter(|x| x.is_finite()) {
                p.value(&format!("headline_{name}"), &format!("{{end=\"{end}\"}}"), x);
            }
        }
    }
}
