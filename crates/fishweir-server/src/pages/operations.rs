//! What is going on now: live rates against what is usual, open incidents, health, alerts, ingest.

use std::sync::atomic::Ordering;

use axum::response::{Html, IntoResponse as _};
use fishweir_labels::{LiveEvent, LiveRate};
use fishweir_metrics::{DAY_US, Evaluator, Interval};
use fishweir_report::{Line, Plot, amount};
use maud::{Markup, html};

use super::parts::{self, Row, inside, minute, number, said, stamp, text};
use super::{Answer, Look, shell};
use crate::app::App;
use crate::problem::Problem;
use crate::watch::LiveState;

/// Minutes of service health that are looked at.
const HEALTH_H: i64 = 6;
const OBJECTIVE_ERRORS: f64 = 0.001;

// Not kept: the live part changes by the second.
pub(crate) async fn page(look: Look) -> Answer {
    let app = &look.app;
    let body = body(app).await?;
    Ok(Html(shell::whole("Operations", &look.address, look.theme, body)).into_response())
}

async fn body(app: &App) -> Result<Markup, Problem> {
    let s = app.snapshot().await?;
    let live = app.feed.as_ref().map(crate::watch::Feed::now);
    let now_us = app.site.now_us();
    let has_live = live.as_ref().is_some_and(|l| l.clock_us.is_some());
    let sealed = if has_live {
        html! {}
    } else {
        last_day(&s.evaluator).await?
    };
    let decisions = decisions(&s.evaluator).await?;
    let health = health(&s.evaluator).await?;
    Ok(html! {
        noscript { meta http-equiv="refresh" content="15"; }
        div data-live {
            div.head { h1 { "Operations" } span.sub { (stamp(now_us)) " UTC" } }
            (strip(app, live.as_ref()))
            (open(live.as_ref()))
            (alerts(app, now_us))
            @if let Some(l) = live.as_ref().filter(|_| has_live) { (rates(l)) }
            (sealed)
            div.columns { (decisions) (health) }
        }
    })
}

fn strip(app: &App, live: Option<&LiveState>) -> Markup {
    let c = &app.receiver.counts;
    let n = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed).to_string();
    let all = live.and_then(|l| l.rates.first()).map(|r| r.last_minute);
    let trouble = app.receiver.trouble.lock().map(|t| t.clone()).unwrap_or(None);
    let run = app.runs.last.lock().map(|l| l.clone()).unwrap_or(None);
    let busy = app.runs.busy_since_us.load(Ordering::Relaxed) > 0;
    let skipped = app.feed.as_ref().map_or(0, |f| f.skipped.load(Ordering::Relaxed));
    html! {
        div.strip {
            div { div.k { "Requests, last 60 s" } div.v { (all.map_or("no live stream".to_owned(), |v| amount(v, ""))) } }
            div { div.k { "Open now" } div.v { (live.filter(|l| l.clock_us.is_some()).map_or("unknown".to_owned(), |l| l.open.len().to_string())) } }
            div { div.k { "Taken in since the start" } div.v { (n(&c.accepted)) } div.small { (n(&c.rejected)) " refused, " (n(&c.duplicates)) " known before" } }
            div { div.k { "Waiting for a commit" } div.v { (amount(app.receiver.waiting_bytes() as f64 / 1e6, "MB")) }
                @if let Some(t) = &trouble { div.small { span.tag.warn { "commits fail" } " " (t) } } }
            div { div.k { "Model graph" } div.v { @if busy { "at work" } @else if let Some(r) = &run { @if r.outcome.is_ok() { "done" } @else { "failed" } } @else { "not yet" } }
                @if let Some(r) = &run { div.small { (stamp(r.at_us)) ", " (r.took_ms / 1000) " s" @if let Err(e) = &r.outcome { ": " (e) } @else if let Ok(s) = &r.outcome { ", " (s.hours_sealed) " hours sealed" } } } }
            @if skipped > 0 { div { div.k { "Not seen by the detectors" } div.v { (skipped) } div.small { "rows: more came than they could follow" } } }
        }
    }
}

fn open(live: Option<&LiveState>) -> Markup {
    let Some(l) = live else {
        return html! { section.box { h2 { "Open incidents" } p.note { "The live stream is not watched (" code { "--no-watch" } ")." } } };
    };
    html! {
        section.box {
            h2 { "Open incidents" }
            @if let Some(t) = &l.trouble { p { span.tag.warn { "the detectors stand still" } " " (t) } }
            @if l.clock_us.is_none() { p.note { "No request has come in over HTTP since the start: what is open now is unknown. Post events to " code { "/api/v1/events" } "." } }
            @else if l.open.is_empty() { p { "Nothing unusual is open in the live stream." } }
            @else { (events(&l.open, "open")) }
            @if !l.closed.is_empty() { details open[l.open.is_empty()] { summary { "Lately closed" } (events(&l.closed.iter().cloned().collect::<Vec<_>>(), "closed")) } }
        }
    }
}

fn events(all: &[LiveEvent], what: &str) -> Markup {
    html! {
        div.scroll { table.sortable {
            thead { tr { th { "Incident" } th { "Kind" } th.n { "Attack with" } th { "Since" } th { "Routes" } th.n { "Above expectation" } th.n { "Stopped" } th.n { "Strangers" } th { "Seen by" } } }
            tbody { @for e in all {
                tr id=(format!("live-{}", e.incident_id)) {
                    td { (e.incident_id) " " span.tag.(e.kind) { (if e.event == "withdrawn" { "withdrawn" } else { what }) } }
                    td { (e.kind.replace('_', " ")) }
                    td.n { (e.p_attack.map_or("unknown".to_owned(), |p| amount(p, "share"))) }
                    td { (stamp(e.start_us)) }
                    td { (e.routes.join(" ")) }
                    td.n data-sort=(e.excess_requests) { (amount(e.excess_requests, "")) }
                    td.n { (e.stopped_share.map_or("none known".to_owned(), |s| amount(s, "share"))) }
                    td.n { (e.stranger_clients.map_or("unknown".to_owned(), |s| amount(s, ""))) }
                    td { (e.found_by) }
                }
            } }
        } }
    }
}

fn alerts(app: &App, now_us: i64) -> Markup {
    let (open, _, _) = app.alerts.shown(now_us);
    html! {
        section.box {
            h2 { a href="/alerts" { "Alerts" } " " span.sub { (open.len()) " open" } }
            @if open.is_empty() { p.note { "No alert is open." } }
            @for a in open.iter().take(6) {
                p { span.tag.(a.severity) { (a.severity) } " " strong { (a.title) } " " (a.text) " " span.small { "since " (stamp(a.opened_us)) } }
            }
        }
    }
}

fn rate_plot(r: &LiveRate) -> Plot {
    let name = r.route.clone().unwrap_or_else(|| "All requests".to_owned());
    Plot {
        title: name,
        unit: "requests a minute".to_owned(),
        times: r.minutes.iter().map(|m| m.minute_us).collect(),
        lines: vec![
            Line {
                name: "requests a minute".to_owned(),
                class: "line",
                values: r.minutes.iter().map(|m| Some(m.requests)).collect(),
            },
            Line {
                name: "expected".to_owned(),
                class: "expected",
                values: r.minutes.iter().map(|m| m.expected).collect(),
            },
        ],
        band: Some((r.minutes.iter().map(|m| m.low).collect(), r.minutes.iter().map(|m| m.high).collect())),
        size: (420, 150),
        ..Plot::default()
    }
}

fn rates(l: &LiveState) -> Markup {
    html! {
        h2 { "Live rates and what is usual" }
        div.cards.wide {
            @for r in &l.rates {
                article.card {
                    h3 { (r.route.as_deref().unwrap_or("All requests")) }
                    p.delta { (amount(r.last_minute, "requests")) " in the last 60 s" }
                    (parts::chart(&rate_plot(r), "live"))
                }
            }
        }
    }
}

// Without a live stream: the last day that is sealed, by route, in steps of ten minutes.
async fn last_day(e: &Evaluator) -> Result<Markup, Problem> {
    let Some(sealed) = e.sealed_span("requests").filter(|_| e.has_table("request_minutes")) else {
        return Ok(html! { section.box { h2 { "Rates" } p.note { "Nothing is sealed yet." } } });
    };
    let day = Interval::new(sealed.to_us - DAY_US, sealed.to_us);
    let sql = format!(
        "SELECT route, CAST(date_bin(INTERVAL '10 minutes', minute) AS BIGINT) / 1000 AS us, sum(requests) AS requests FROM request_minutes WHERE {} GROUP BY 1, 2 ORDER BY 1, 2",
        inside("minute", day)
    );
    let mut routes: std::collections::BTreeMap<String, Vec<(i64, f64)>> = Default::default();
    for r in e.rows(&sql).await? {
        let us = r.get("us").and_then(serde_json::Value::as_i64).unwrap_or(0);
        routes.entry(text(&r, "route")).or_default().push((us, number(&r, "requests").unwrap_or(0.0)));
    }
    let mut all: Vec<(String, Vec<(i64, f64)>)> = routes.into_iter().collect();
    let size = |v: &[(i64, f64)]| v.iter().map(|p| p.1).sum::<f64>();
    all.sort_by(|a, b| size(&b.1).total_cmp(&size(&a.1)));
    Ok(html! {
        h2 { "The last sealed day, by route" }
        p.note { "From " (stamp(day.from_us)) " to " (stamp(day.to_us)) " UTC, requests in ten minutes." }
        div.cards.wide {
            @for (route, points) in all.iter().take(6) {
                @let plot = Plot {
                    title: route.clone(), unit: "requests".to_owned(), times: points.iter().map(|p| p.0).collect(),
                    lines: vec![Line { name: "requests".to_owned(), class: "line", values: points.iter().map(|p| Some(p.1)).collect() }],
                    size: (420, 130), ..Plot::default()
                };
                article.card { h3 { (route) } (parts::chart(&plot, "live")) }
            }
        }
    })
}

async fn decisions(e: &Evaluator) -> Result<Markup, Problem> {
    let Some(sealed) = e.sealed_span("requests").filter(|_| e.has_table("decision_hours")) else {
        return Ok(parts::absent("Decisions of the defences"));
    };
    let day = Interval::new(sealed.to_us - DAY_US, sealed.to_us);
    let sql = format!(
        "SELECT defence, rule, action, mode, sum(decisions) AS requests FROM decision_hours WHERE {} AND action <> 'allow' GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 12",
        inside("hour", day)
    );
    let rows: Vec<Row> = e.rows(&sql).await?;
    Ok(html! {
        section.box {
            h2 { "Defences, last sealed day" }
            @if rows.is_empty() { p.note { "No decision other than allow is recorded: what was stopped is unknown." } }
            @else {
                div.scroll { table.sortable {
                    thead { tr { th { "Rule" } th { "Action" } th { "Mode" } th.n { "Requests" } } }
                    tbody { @for r in &rows { tr {
                        td { a href=(rule_link(r)) { (text(r, "defence")) "/" (text(r, "rule")) } }
                        td { (text(r, "action")) } td { (text(r, "mode")) }
                        td.n data-sort=(text(r, "requests")) { (said(r, "requests", "")) }
                    } } }
                } }
            }
        }
    })
}

pub(crate) fn rule_link(r: &Row) -> String {
    format!("/rules/{}/{}", parts::encoded(&text(r, "defence")), parts::encoded(&text(r, "rule")))
}

async fn health(e: &Evaluator) -> Result<Markup, Problem> {
    let Some(sealed) = e.sealed_span("health").filter(|_| e.has_table("health_minutes")) else {
        return Ok(
            html! { section.box { h2 { "Service health" } p.note { "No health is recorded (stream " code { "health" } "): unknown." } } },
        );
    };
    let last = Interval::new(sealed.to_us - HEALTH_H * 3_600_000_000, sealed.to_us);
    let sql = format!(
        "SELECT service, sum(requests) AS requests, sum(errors) AS errors, max(latency_p99_us) AS latency, max(utilisation) AS utilisation, sum(shed) AS shed, max(minute) AS last FROM health_minutes WHERE {} GROUP BY 1 ORDER BY 1",
        inside("minute", last)
    );
    let rows = e.rows(&sql).await?;
    Ok(html! {
        section.box {
            h2 { "Service health, last " (HEALTH_H) " sealed hours" }
            div.scroll { table {
                thead { tr { th { "Service" } th.n { "Errors" } th.n { "Worst p99" } th.n { "Peak use" } th.n { "Shed" } th { "To" } } }
                tbody { @for r in &rows {
                    @let share = number(r, "errors").zip(number(r, "requests").filter(|n| *n > 0.0)).map(|(e, n)| e / n);
                    tr {
                        td { (text(r, "service")) }
                        td.n { @match share { Some(s) => { (amount(s, "share")) @if s > OBJECTIVE_ERRORS { " " span.tag.warn { "above objective" } } } None => "unknown" } }
                        td.n { (said(r, "latency", "microseconds")) } td.n { (said(r, "utilisation", "share")) } td.n { (said(r, "shed", "")) } td { (minute(r, "last")) }
                    }
                } }
            } }
        }
    })
}
