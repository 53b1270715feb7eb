//! Incidents: the list with its filters, one in full, and what people say of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use fishweir_events::Stream;
use fishweir_metrics::{Evaluator, parse_time, text_literal, time_literal};
use fishweir_report::{Line, Mark, Plot, amount, fact_words, harm_words, incident_story};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::parts::{self, Query, Row, encoded, inside, list, minute, number, said, text};
use super::{Answer, Look, cached};
use crate::app::App;
use crate::http::Shared;
use crate::period::asked;
use crate::problem::Problem;
use crate::snapshot::Snapshot;

const LISTED_MAX: usize = 500;
const AROUND_US: i64 = 2 * 3_600_000_000;
/// How long a verdict may take to be visible.
const SEEN: Duration = Duration::from_secs(6);
const VERDICTS: [(&str, &str); 3] =
    [("attack", "An attack"), ("not_an_attack", "Not an attack"), ("unsure", "Unsure")];

pub(crate) async fn index(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move { list_body(&s, q, now_us).await }).await
}

async fn list_body(s: &Snapshot, q: &Query, now_us: i64) -> Result<(String, Markup), Problem> {
    let e = &s.evaluator;
    let title = "Incidents".to_owned();
    if !e.has_table("dos_incidents") {
        return Ok((title, parts::absent("Nobody has looked for incidents yet.")));
    }
    let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
    let get = |k: &str| q.get(k).map(String::as_str).unwrap_or_default();
    let kind = if get("kind").is_empty() { "attack" } else { get("kind") };
    let mut filters = vec![inside("start", asked.period)];
    if kind != "all" {
        filters.push(format!("kind = {}", text_literal(kind)));
    }
    if !get("route").is_empty() {
        filters.push(format!(
            "concat(' ', routes, ' ') LIKE {}",
            text_literal(&format!("% {} %", get("route").replace('%', "\\%")))
        ));
    }
    let order = if get("sort") == "time" { "start DESC" } else { "excess_requests DESC NULLS LAST" };
    let sql = format!(
        "SELECT * FROM dos_incidents WHERE {} ORDER BY {order}, incident_id LIMIT {LISTED_MAX}",
        filters.join(" AND ")
    );
    let rows = e.rows(&sql).await?;
    let verdicts = verdicts(e, None).await?;
    let kinds = e
        .rows(&format!(
            "SELECT kind, count(*) AS n FROM dos_incidents WHERE {} GROUP BY 1 ORDER BY 2 DESC",
            inside("start", asked.period)
        ))
        .await?;
    let page = html! {
        div.head { h1 { "Incidents" } span.sub { (rows.len()) " shown" } }
        (parts::period_picker("/incidents", q, &asked))
        div.picker {
            span.group role="group" aria-label="Kind" {
                a href=(parts::address("/incidents", q, &[("kind", "")])) aria-current=[(kind == "attack").then_some("true")] { "attacks" }
                a href=(parts::address("/incidents", q, &[("kind", "all")])) aria-current=[(kind == "all").then_some("true")] { "all surges" }
                @for k in kinds.iter().filter(|k| text(k, "kind") != "attack") {
                    a href=(parts::address("/incidents", q, &[("kind", &text(k, "kind"))])) aria-current=[(kind == text(k, "kind")).then_some("true")] { (text(k, "kind").replace('_', " ")) " (" (text(k, "n")) ")" }
                }
            }
            span.group role="group" aria-label="Order" {
                a href=(parts::address("/incidents", q, &[("sort", "")])) aria-current=[(get("sort") != "time").then_some("true")] { "largest first" }
                a href=(parts::address("/incidents", q, &[("sort", "time")])) aria-current=[(get("sort") == "time").then_some("true")] { "newest first" }
            }
            @if !get("route").is_empty() { span { "route " code { (get("route")) } " " a href=(parts::address("/incidents", q, &[("route", "")])) { "any route" } } }
        }
        @if rows.is_empty() { section.box { p.lead { "No such incident in this period." } p.note { (parts::unseen(e, "requests", asked.period)) } } }
        @else { (table(&rows, q, &verdicts)) (board(&rows, q)) }
    };
    Ok((title, page))
}

fn table(rows: &[Row], q: &Query, verdicts: &[Row]) -> Markup {
    let judged = |id: &str| verdicts.iter().rfind(|v| text(v, "subject") == id).map(|v| text(v, "verdict"));
    html! {
        section.box { div.scroll { table.sortable {
            thead { tr { th { "Incident" } th { "Kind" } th.n { "Attack with" } th.n { "Minutes" } th { "Routes" } th.n { "Above expectation" } th.n { "Peak a minute" } th.n { "Stopped" } th.n { "Detected after" } th.n { "Members hit" } th { "Verdict" } } }
            tbody { @for r in rows {
                @let id = text(r, "incident_id");
                tr {
                    td.n data-sort=(text(r, "start")) { a href=(format!("/incidents/{}", encoded(&id))) { (minute(r, "start")) } }
                    td { span.tag.(text(r, "kind")) { (text(r, "kind").replace('_', " ")) } }
                    td.n { (said(r, "p_attack", "share")) }
                    td.n data-sort=(text(r, "duration_s")) { (number(r, "duration_s").map_or("unknown".to_owned(), |s| amount(s / 60.0, ""))) }
                    td { @for route in text(r, "routes").split(' ') { a href=(parts::address("/incidents", q, &[("route", route)])) { (route) } " " } }
                    td.n data-sort=(text(r, "excess_requests")) { (said(r, "excess_requests", "")) }
                    td.n data-sort=(text(r, "peak_requests_per_min")) { (said(r, "peak_requests_per_min", "")) }
                    td.n { (said(r, "stopped_share", "share")) }
                    td.n data-sort=(text(r, "time_to_detect_s")) { (said(r, "time_to_detect_s", "seconds")) }
                    td.n { (said(r, "members_affected", "members")) }
                    td { @if let Some(v) = judged(&id) { (v.replace('_', " ")) } }
                }
            } }
        } } }
    }
}

// Routes by what hit them; a click filters.
fn board(rows: &[Row], q: &Query) -> Markup {
    let mut routes: std::collections::BTreeMap<String, (usize, f64)> = Default::default();
    for r in rows {
        if let Some(first) = text(r, "routes").split(' ').next().filter(|f| !f.is_empty()) {
            let entry = routes.entry(first.to_owned()).or_default();
            entry.0 += 1;
            entry.1 += number(r, "excess_requests").unwrap_or(0.0);
        }
    }
    let mut all: Vec<_> = routes.into_iter().collect();
    all.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    let total: f64 = all.iter().map(|r| r.1.1).sum();
    html! {
        section.box.board { h2 { "Top target routes" }
            div.scroll { table { thead { tr { th { "Route" } th.n { "Incidents" } th.n { "Requests above expectation" } th { "Share" } } }
                tbody { @for (route, (n, excess)) in all.iter().take(10) { tr {
                    td { a href=(parts::address("/incidents", q, &[("route", route)])) { (route) } }
                    td.n { (n) } td.n { (amount(*excess, "")) } td { (parts::part_bar(if total > 0.0 { excess / total } else { 0.0 })) }
                } } } } }
        }
    }
}

async fn verdicts(e: &Evaluator, id: Option<&str>) -> Result<Vec<Row>, Problem> {
    if !e.has_table("verdicts") {
        return Ok(Vec::new());
    }
    let of = id.map_or(String::new(), |id| format!(" AND subject = {}", text_literal(id)));
    let sql = format!(
        "SELECT subject, verdict, reviewer, reason, time FROM verdicts WHERE subject_kind = 'incident'{of} ORDER BY time"
    );
    Ok(e.rows(&sql).await?)
}

pub(crate) async fn one(look: Look, Path(id): Path<String>) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let costs = app.site.costs();
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let story = if e.has_table("dos_incidents") { incident_story(e, &id, &costs).await? } else { None };
        let Some(i) = story else {
            return Err(Problem::missing(format!(
                "no incident is called `{id}`\nhint: a live one gets its page when its hour is sealed"
            )));
        };
        let said = verdicts(e, Some(&id)).await?;
        let notes = notes(e, &i).await?;
        Ok((id.clone(), one_body(&i, &said, &notes, q.contains_key("judged"))))
    })
    .await
}

fn at(i: &Row, key: &str) -> i64 {
    parse_time(&text(i, key)).unwrap_or(0)
}

async fn notes(e: &Evaluator, i: &Row) -> Result<Vec<Row>, Problem> {
    if !e.has_table("notes") {
        return Ok(Vec::new());
    }
    let (from, to) = (at(i, "start") - 12 * AROUND_US, at(i, "end") + AROUND_US);
    let sql = format!(
        "SELECT time, kind, title, text FROM notes WHERE time >= {} AND time < {} ORDER BY time LIMIT 20",
        time_literal(from),
        time_literal(to)
    );
    Ok(e.rows(&sql).await?)
}

fn plot(i: &Row, notes: &[Row]) -> Plot {
    let minutes = list(i, "minutes");
    let of = |k: &'static str| minutes.iter().map(|m| number(m, k)).collect::<Vec<_>>();
    Plot {
        title: format!("Requests a minute during {}", text(i, "incident_id")),
        unit: "requests a minute".to_owned(),
        times: minutes.iter().map(|m| parse_time(&text(m, "minute")).unwrap_or(0)).collect(),
        lines: vec![
            Line { name: "requests a minute".to_owned(), class: "line", values: of("requests") },
            Line { name: "stopped".to_owned(), class: "stopped", values: of("stopped_requests") },
            Line { name: "got through".to_owned(), class: "missed", values: of("missed_requests") },
            Line { name: "expected".to_owned(), class: "expected", values: of("expected_requests") },
        ],
        band: Some((of("band_low"), of("band_high"))),
        marks: notes
            .iter()
            .map(|n| Mark {
                at_us: at(n, "time"),
                label: format!("{}: {}", text(n, "kind"), text(n, "title")),
            })
            .collect(),
        size: (1080, 280),
        ..Plot::default()
    }
}

fn one_body(i: &Row, verdicts: &[Row], notes: &[Row], judged: bool) -> Markup {
    let id = text(i, "incident_id");
    html! {
        p.crumbs { a href="/incidents" { "Incidents" } " / " (id) }
        div.head { h1 { (minute(i, "start")) " on " (text(i, "routes").split(' ').next().unwrap_or_default()) } span.tag.(text(i, "kind")) { (text(i, "kind").replace('_', " ")) } span.sub { (id) } }
        p.lead { (lead(i)) }
        p { strong { "Next: " } (text(i, "next")) }
        section.box { (parts::chart(&plot(i, notes), "")) }
        div.three { (what(i)) (response(i)) (harm(i)) }
        div.columns { (drivers(i)) (patterns(i)) }
        (rules(i))
        (evidence(i))
        (cost(i))
        div.columns { (similar(i)) (noted(notes)) }
        (verdict_form(&id, verdicts, judged))
        p.note { "Labelled by " (text(i, "label_source")) ", " (text(i, "maturity")) "." }
    }
}

fn lead(i: &Row) -> String {
    format!(
        "{} above expectation within {}; {} stopped. {} met an error or a refusal.",
        said(i, "excess_requests", "requests"),
        said(i, "duration_s", "seconds"),
        said(i, "stopped_share", "share"),
        said(i, "members_affected", "members"),
    )
}

fn span(i: &Row, low: &str, high: &str) -> String {
    format!("{} to {}", said(i, low, ""), said(i, high, ""))
}

fn what(i: &Row) -> Markup {
    html! { section.box { h2 { "What it was" } dl.facts {
        dt { "Attack with" } dd { (said(i, "p_attack", "share")) }
        dt { "Routes" } dd { @for r in text(i, "routes").split(' ') { a href=(format!("/incidents?kind=all&route={}", encoded(r))) { (r) } " " } }
        dt { "Above expectation" } dd { (said(i, "excess_requests", "requests")) " (" (span(i, "excess_low", "excess_high")) ")" }
        dt { "Peak" } dd { (minute(i, "peak")) ", " (said(i, "peak_requests_per_min", "requests")) " a minute" }
        dt { "How unusual" } dd { (text(i, "unusual")) }
        dt { "Clients" } dd { (said(i, "clients", "")) " (" (span(i, "clients_low", "clients_high")) ")" }
        dt { "Came from" } dd { (text(i, "source_tier").replace('_', " ")) }
        dt { "Noticed by" } dd { (text(i, "found_by")) }
    } } }
}

fn response(i: &Row) -> Markup {
    let decided = i.get("stopped_requests").is_some_and(Value::is_number);
    let after = |k: &str| match number(i, k) {
        Some(s) => amount(s, "seconds"),
        None if decided => "never".to_owned(),
        None => "unknown: no decision is recorded".to_owned(),
    };
    html! { section.box { h2 { "Response" } dl.facts {
        dt { "Detected after" } dd { (said(i, "time_to_detect_s", "seconds")) }
        dt { "First stopped after" } dd { (after("time_to_first_stop_s")) }
        dt { "Half stopped after" } dd { (after("time_to_mitigate_s")) }
        dt { "Nine tenths after" } dd { (after("time_to_mostly_stopped_s")) }
        dt { "Stopped in all" } dd { (said(i, "stopped_share", "share")) }
        dt { "Got through" } dd { (through(i)) }
    } } }
}

// Known only when every minute of it is.
fn through(i: &Row) -> String {
    let minutes: Option<Vec<f64>> =
        list(i, "minutes").into_iter().map(|m| number(m, "missed_requests")).collect();
    minutes.filter(|m| !m.is_empty()).map_or("unknown".to_owned(), |m| amount(m.iter().sum(), "requests"))
}

fn harm(i: &Row) -> Markup {
    html! { section.box { h2 { "Who was hit" } dl.facts {
        dt { "Members" } dd { (said(i, "members_affected", "members")) " (" (span(i, "members_affected_low", "members_affected_high")) ")" }
        dt { "Failed beyond the usual" } dd { (said(i, "failed_requests", "requests")) }
        dt { "Below the objective" } dd { (said(i, "downtime_min", "minutes")) }
        @for (what, words) in harm_words(i) { dt { (what) } dd { (words) } }
        dt { "Cost" } dd { @match number(i, "cost_usd") { Some(v) => (amount(v, "US dollars")), None => { "at least " (said(i, "cost_usd_at_least", "US dollars")) } } }
    } } }
}

fn drivers(i: &Row) -> Markup {
    let all = list(i, "drivers");
    html! { section.box { h2 { "What tells it from members" }
        @if all.is_empty() { p.note { "No single mark does." } }
        @else { div.scroll { table { thead { tr { th { "Rule" } th { "Covers of the excess" } th { "Would hit of normal traffic" } } }
            tbody { @for d in all { tr {
                td { code { (text(d, "rule")) } }
                td { (parts::part_bar(number(d, "coverage").unwrap_or(0.0))) " " (said(d, "coverage", "share")) }
                td { (parts::part_bar(number(d, "normal_share").unwrap_or(0.0))) " " (said(d, "normal_share", "share")) }
            } } } } } }
    } }
}

fn patterns(i: &Row) -> Markup {
    let all = list(i, "patterns");
    html! { section.box { h2 { "Pattern" }
        @if all.is_empty() { p.note { "No pattern is told." } }
        @for p in all { p { span.tag.plain { (text(p, "pattern").replace('_', " ")) } " " (said(p, "strength", "share")) ": " (text(p, "detail")) } }
    } }
}

fn rules(i: &Row) -> Markup {
    let all = list(i, "rules");
    html! { section.box { h2 { "What each rule did" }
        @if all.is_empty() { p.note { "No rule met it, or none is recorded." } }
        @else { div.scroll { table.sortable {
            thead { tr { th { "Rule" } th { "Action" } th.n { "Hits" } th.n { "On strangers" } th.n { "Stopped" } th.n { "Of known clients" } th.n { "Accounts" } } }
            tbody { @for r in all { tr {
                td { a href=(super::operations::rule_link(r)) { (text(r, "defence")) "/" (text(r, "rule")) } " v" (text(r, "rule_version")) }
                td { (text(r, "action")) " (" (text(r, "mode")) ")" }
                @for k in ["hits", "hits_strange", "stopped", "stopped_good", "good_accounts"] { td.n data-sort=(text(r, k)) { (said(r, k, "")) } }
            } } }
        } } }
    } }
}

fn cost(i: &Row) -> Markup {
    html! { section.box { h2 { "What it cost" }
        div.scroll { table { thead { tr { th { "For" } th.n { "US dollars" } th.n { "Interval" } th { "How" } } }
            tbody { @for c in list(i, "costs") { tr {
                td { (text(c, "what")) } td.n { (said(c, "usd", "US dollars")) } td.n { (said(c, "low", "US dollars")) " to " (said(c, "high", "US dollars")) } td.small { (text(c, "how")) }
            } } } } }
    } }
}

fn evidence(i: &Row) -> Markup {
    html! { section.box { h2 { "Evidence, beside other surges" }
        div.scroll { table { thead { tr { th { "What" } th.n { "Here" } th.n { "In surges that were no attack" } th.n { "In attacks" } } }
            tbody { @for f in list(i, "evidence_facts").into_iter().map(fact_words) {
                tr { td { (f.what) } td.n { @if f.is_unusual { strong { (f.value) } } @else { (f.value) } } td.n.small { (f.usual) } td.n.small { (f.attacks) } }
            } } } }
        p.note { "Ranges go from the tenth to the ninetieth percentile of the other surges that are stored, five at least; bold is what lies outside that of surges that were no attack." }
    } }
}

fn similar(i: &Row) -> Markup {
    let all = list(i, "similar");
    html! { section.box { h2 { "Similar before" }
        @if all.is_empty() { p.note { "None on this route." } }
        ul.plain { @for s in all { li { a href=(format!("/incidents/{}", encoded(&text(s, "incident_id")))) { (text(s, "incident_id")) } ": " (said(s, "excess_requests", "requests")) " in " (said(s, "duration_s", "seconds")) ", " (said(s, "stopped_share", "share")) " stopped" } } }
    } }
}

fn noted(notes: &[Row]) -> Markup {
    html! { section.box { h2 { "Notes around that time" }
        @if notes.is_empty() { p.note { "None. " code { "fishweir note add" } " writes one." } }
        ul.plain { @for n in notes { li { (minute(n, "time")) " " span.tag.plain { (text(n, "kind")) } " " (text(n, "title")) " " span.small { (text(n, "text")) } } } }
    } }
}

fn verdict_form(id: &str, verdicts: &[Row], judged: bool) -> Markup {
    html! { section.box id="verdict" { h2 { "Was it an attack?" }
        @if judged { p role="status" { span.tag.ok { "noted" } " Thank you: the verdict is stored and counts from the next run on." } }
        form.line method="post" action=(format!("/incidents/{}", encoded(id))) {
            label { "Your name" input type="text" name="reviewer" required maxlength="80" size="16"; }
            label { "Why (optional)" input type="text" name="reason" maxlength="500" size="44"; }
            @for (v, words) in VERDICTS { button name="verdict" value=(v) { (words) } }
        }
        @if !verdicts.is_empty() { ul.plain { @for v in verdicts { li { (minute(v, "time")) " " (text(v, "reviewer")) ": " strong { (text(v, "verdict").replace('_', " ")) } " " (text(v, "reason")) } } } }
    } }
}

/// A verdict as a page's form sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Verdict {
    verdict: String,
    reviewer: String,
    #[serde(default)]
    reason: String,
}

pub(crate) async fn judge(State(app): Shared, Path(id): Path<String>, Form(form): Form<Verdict>) -> Answer {
    store_verdict(&app, "incident", &id, &form.verdict, &form.reviewer, &form.reason).await?;
    // The reader wants to see it: wait until the lake has it, but not for long.
    app.receiver.settled(SEEN).await;
    app.snapshots.refresh(app.site.as_ref()).await?;
    let back = format!("/incidents/{}?judged=1#verdict", encoded(&id));
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, back)]).into_response())
}

/// Stores a verdict like any other event.
pub(crate) async fn store_verdict(
    app: &Arc<App>,
    kind: &str,
    subject: &str,
    verdict: &str,
    reviewer: &str,
    reason: &str,
) -> Result<(), Problem> {
    let allowed: &[&str] = match kind {
        "incident" => &["attack", "not_an_attack", "unsure"],
        "episode" => &["takeover", "benign", "unsure"],
        _ => return Err(Problem::bad(format!("`{kind}` is not judged\nhint: incident or episode"))),
    };
    if !allowed.contains(&verdict) {
        return Err(Problem::bad(format!("`{verdict}` is no verdict\nhint: one of {}", allowed.join(", "))));
    }
    if reviewer.trim().is_empty() {
        return Err(Problem::bad("who judges must be named"));
    }
    let time = chrono::DateTime::from_timestamp_micros(app.site.now_us()).unwrap_or_default().to_rfc3339();
    let line = json!({
        "time": time, "subject_kind": kind, "subject": subject, "verdict": verdict,
        "reviewer": reviewer.trim(), "reason": (!reason.trim().is_empty()).then(|| reason.trim()),
    });
    let taken =
        app.receiver.take(Some(Stream::Verdicts), &HeaderMap::new(), Bytes::from(line.to_string())).await?;
    match taken.rejects.first() {
        Some(r) => Err(Problem::bad(r.reason.clone())),
        None => Ok(()),
    }
}
