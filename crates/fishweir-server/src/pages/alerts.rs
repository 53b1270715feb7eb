//! Alerts: what is open, what was, what is silenced, which rules there are.

use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _};
use maud::{Markup, html};
use serde::Deserialize;

use super::parts::stamp;
use super::{Answer, Look, shell};
use crate::alerts::{Alert, Silence};
use crate::http::Shared;
use crate::problem::Problem;

const HOUR_US: i64 = 3_600_000_000;
const HOURS_MAX: i64 = 24 * 90;

pub(crate) async fn page(look: Look) -> Answer {
    let app = &look.app;
    let now_us = app.site.now_us();
    let (open, closed, silences) = app.alerts.shown(now_us);
    let body = html! {
        div data-live {
            div.head { h1 { "Alerts" } span.sub { (open.len()) " open, " (app.alerts.waiting()) " messages not delivered yet" } }
            section.box { h2 { "Open" } @if open.is_empty() { p.note { "None." } } @else { (table(&open, true)) } }
            section.box { h2 { "Closed" } @if closed.is_empty() { p.note { "None." } } @else { (table(&closed, false)) } }
            @if !silences.is_empty() { section.box { h2 { "Silenced" } ul.plain { @for s in &silences { li { code { (s.rule) } " " (s.subject.as_deref().unwrap_or("every subject")) " until " (stamp(s.until_us)) " UTC, by " (s.by) } } } } }
            section.box { h2 { "Rules" } div.scroll { table.sortable {
                thead { tr { th { "Rule" } th { "Says" } th { "Severity" } th { "To" } th { "What to do" } } }
                tbody { @for r in &app.alerts.rules { tr { td { code { (r.name) } } td { (r.title) } td { span.tag.(word(r.severity)) { (word(r.severity)) } } td { (r.to.join(", ")) } td { (r.action) } } } }
            } } p.note { "Rules are YAML files in the project's folder " code { "alerts" } "." } }
        }
    };
    Ok(Html(shell::whole("Alerts", &look.address, look.theme, body)).into_response())
}

fn word(s: crate::alert_rules::Severity) -> &'static str {
    match s {
        crate::alert_rules::Severity::Info => "info",
        crate::alert_rules::Severity::Warn => "warn",
        crate::alert_rules::Severity::Page => "page",
    }
}

fn table(all: &[Alert], open: bool) -> Markup {
    html! {
        div.scroll { table.sortable {
            thead { tr { th { "Since" } th { "Severity" } th { "What" } th { "About" } th { "Says" } th { (if open { "Silence" } else { "Closed" }) } } }
            tbody { @for a in all { tr {
                td { (stamp(a.opened_us)) } td { span.tag.(a.severity) { (a.severity) } @if a.silenced { " " span.tag.plain { "silenced" } } }
                td { (a.title) } td { code { (a.subject) } } td { (a.text) }
                td { @if open { form.line method="post" action="/alerts" {
                        input type="hidden" name="rule" value=(a.rule); input type="hidden" name="subject" value=(a.subject);
                        label { "By" input type="text" name="by" required size="8" maxlength="80"; }
                        label { "Hours" input type="number" name="hours" min="1" max=(HOURS_MAX) value="4" size="4"; }
                        button { "Silence" }
                    } } @else { (a.closed_us.map(stamp).unwrap_or_default()) } }
            } } }
        } }
    }
}

/// A silence as the page's form sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Quiet {
    rule: String,
    subject: String,
    by: String,
    hours: i64,
}

pub(crate) async fn silence(State(app): Shared, Form(form): Form<Quiet>) -> Answer {
    if form.by.trim().is_empty() || !(1..=HOURS_MAX).contains(&form.hours) {
        return Err(Problem::bad(format!("a silence needs a name and 1 to {HOURS_MAX} hours")).into());
    }
    if !app.alerts.rules.iter().any(|r| r.name == form.rule) {
        return Err(Problem::missing(format!("no alert rule is called `{}`", form.rule)).into());
    }
    app.alerts.silence(Silence {
        rule: form.rule,
        subject: (!form.subject.is_empty()).then_some(form.subject),
        until_us: app.site.now_us() + form.hours * HOUR_US,
        by: form.by.trim().to_owned(),
    });
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, "/alerts")]).into_response())
}
