//! The first page: a few cards for somebody with two minutes.

use fishweir_metrics::{Audience, Evaluator};
use fishweir_report::{Card, ReportRequest, card, summary};
use maud::{Markup, html};

use super::parts::{self, Query, inside, minute, said, text};
use super::{Answer, Look, cached};
use crate::period::{Asked, asked};
use crate::problem::Problem;
use crate::snapshot::Snapshot;

/// What the page shows, in reading order; those that a project does not define are left out.
const CARDS: [&str; 7] = [
    "dos_incidents_count",
    "dos_members_affected",
    "dos_stopped_share",
    "dos_downtime_minutes",
    "dos_cost",
    "takeover_rate",
    "takeover_cost",
];

pub(crate) async fn page(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move { body(&s, q, now_us).await }).await
}

pub(crate) fn request(asked: &Asked, audience: Audience, now_us: i64) -> ReportRequest {
    ReportRequest {
        audience,
        period: asked.period,
        period_name: asked.words(),
        previous: asked.previous,
        year_before: asked.year_before,
        now_us,
    }
}

async fn body(s: &Snapshot, q: &Query, now_us: i64) -> Result<(String, Markup), Problem> {
    let e = &s.evaluator;
    let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
    let request = request(&asked, Audience::Executive, now_us);
    let mut cards: Vec<Card> = Vec::new();
    for name in CARDS.iter().filter(|n| e.metrics().contains_key(**n)) {
        cards.push(card(e, name, &request).await?);
    }
    let gist = summary(&cards, &request);
    let largest = largest(e, &asked).await?;
    let page = html! {
        div.head { h1 { "Executive summary" } span.sub { "sealed to " (e.sealed_span("requests").map_or("nothing yet".to_owned(), |s| parts::stamp(s.to_us))) " UTC" } }
        (parts::period_picker("/", q, &asked))
        section.box aria-label="The gist" {
            @for line in &gist { p.lead { (line) } }
            @if gist.is_empty() { p.lead { "Nothing is known of this period." } }
            (largest)
        }
        div.cards { @for c in &cards { (parts::card(c, Audience::Executive)) } }
        p.note { "Every value carries the number of observations behind it, the share of the period that holds data, and where its labels come from. What is unknown is said to be unknown." }
    };
    Ok(("Executive".to_owned(), page))
}

// The attack that everybody will ask about, one click away.
async fn largest(e: &Evaluator, asked: &Asked) -> Result<Markup, Problem> {
    if !e.has_table("dos_incidents") {
        return Ok(html! {});
    }
    let sql = format!(
        "SELECT incident_id, routes, start, excess_requests, stopped_share FROM dos_incidents WHERE kind = 'attack' AND {} ORDER BY excess_requests DESC LIMIT 1",
        inside("start", asked.period)
    );
    let rows = e.rows(&sql).await?;
    Ok(html! {
        @if let Some(r) = rows.first() {
            p { "Largest attack: "
                a href=(format!("/incidents/{}", parts::encoded(&text(r, "incident_id")))) { (minute(r, "start")) " on " (text(r, "routes").split(' ').next().unwrap_or_default()) }
                ", " (said(r, "excess_requests", "requests")) " above expectation, " (said(r, "stopped_share", "share")) " stopped. "
                a href=(format!("/incidents?period={}", parts::encoded(&asked.name))) { "All incidents" } }
        }
    })
}
