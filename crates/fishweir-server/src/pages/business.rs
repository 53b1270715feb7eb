//! What managers follow week by week: trends against an earlier period, money, people, response.

use std::collections::BTreeMap;

use fishweir_metrics::{Audience, Buckets, Evaluator, Interval, Metric, MetricType};
use fishweir_report::{Card, Plot, amount, card, change, interval, trend_grain};
use maud::{Markup, html};

use super::executive::request;
use super::parts::{self, Query, inside, said, text};
use super::{Answer, Look, cached};
use crate::period::{Asked, asked};
use crate::problem::Problem;
use crate::snapshot::Snapshot;

pub(crate) async fn page(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move { body(&s, q, now_us).await }).await
}

/// Returns the heading under which a metric stands.
fn subject(m: &Metric) -> (u8, &'static str) {
    match &m.name {
        _ if m.unit == "US dollars" => (0, "Money"),
        _ if m.stream != "requests" && m.stream != "health" => (3, "Theft of accounts"),
        n if n.contains("takeover")
            || n.contains("login")
            || n.contains("challenge")
            || n.contains("account") =>
        {
            (3, "Theft of accounts")
        }
        n if n.starts_with("dos_time")
            || n.contains("stopped")
            || n.contains("mitigat")
            || n.contains("good") =>
        {
            (2, "Response")
        }
        n if n.starts_with("dos_") => (1, "Attacks and whom they hit"),
        _ => (4, "Service"),
    }
}

async fn body(s: &Snapshot, q: &Query, now_us: i64) -> Result<(String, Markup), Problem> {
    let e = &s.evaluator;
    let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
    let with = q.get("with").map_or("previous", String::as_str);
    let other = match with {
        "year" => Some(asked.year_before),
        "none" => None,
        _ => Some(asked.previous),
    };
    let request = request(&asked, Audience::Business, now_us);
    let mut groups: BTreeMap<(u8, &str), Vec<(Card, Plot)>> = BTreeMap::new();
    for m in e.metrics().values().filter(|m| m.audience.contains(&Audience::Business)) {
        let c = card(e, &m.name, &request).await?;
        let before = before(e, m, asked.period, other).await?;
        let plot =
            Plot { size: (420, 120), ..parts::series(&m.title, &m.unit, &c.trend, &before, c.counted) };
        groups.entry(subject(m)).or_default().push((c, plot));
    }
    let causes = causes(e, &asked).await?;
    let page = html! {
        div.head { h1 { "Business" } span.sub { "trends, money, people, response" } }
        (parts::period_picker("/business", q, &asked))
        div.picker { span.sub { "Compared with" }
            span.group role="group" aria-label="Comparison" {
                @for (name, words) in [("previous", "the period before"), ("year", "52 weeks before"), ("none", "nothing")] {
                    a href=(parts::address("/business", q, &[("with", name)])) aria-current=[(with == name).then_some("true")] { (words) }
                }
            }
        }
        nav.picker aria-label="Subjects" { @for (n, title) in groups.keys() { a href=(format!("#s{n}")) { (title) } } }
        @for ((n, title), cards) in &groups {
            h2 id=(format!("s{n}")) { (title) }
            div.cards.wide { @for (c, plot) in cards { (panel(c, plot, with)) } }
            @if *title == "Theft of accounts" { (causes) }
        }
    };
    Ok(("Business".to_owned(), page))
}

async fn before(
    e: &Evaluator,
    m: &Metric,
    period: Interval,
    other: Option<Interval>,
) -> Result<Vec<fishweir_metrics::MetricValue>, Problem> {
    let Some(other) = other else { return Ok(Vec::new()) };
    if matches!(m.kind, MetricType::Top | MetricType::Cumulative) {
        return Ok(Vec::new());
    }
    Ok(e.values(&m.name, Buckets::Each(trend_grain(period), other), None).await?)
}

fn panel(c: &Card, plot: &Plot, with: &str) -> Markup {
    let range = interval(&c.value, &c.unit);
    let (against, words) = match with {
        "year" => (c.year_before.as_ref(), "52 weeks before"),
        "none" => (None, ""),
        _ => (c.previous.as_ref(), "Period before"),
    };
    html! {
        article.card.(if with == "previous" { c.verdict } else { "" }) {
            h2 { a href=(format!("/explore?metric={}", parts::encoded(&c.metric))) { (c.title) } }
            p.question { (c.question) }
            p.value { (parts::value(&c.value, &c.unit)) }
            @if let (None, Some(reason)) = (c.value.value, &c.value.reason) { p.range { (reason) } }
            @if !range.is_empty() { p.range { "95 % interval " (range) } }
            @if with != "none" { p.delta { (change(&c.value, against, words, &c.unit)) } }
            @if !plot.is_empty() { (parts::chart(plot, "business")) }
            p.act { strong { "What to do: " } (c.action) }
            p.source { "coverage " (amount(c.value.coverage, "share")) ", " (c.value.maturity) ", source: " (c.value.label_source) ", owner: " (c.owner) }
        }
    }
}

// Where takeovers came from; shares are told only of groups that point at nobody.
async fn causes(e: &Evaluator, asked: &Asked) -> Result<Markup, Problem> {
    if !e.has_table("takeover_drivers") {
        return Ok(html! {});
    }
    let sql = format!(
        "SELECT driver, min(cure) AS cure, sum(weight) AS weight FROM takeover_drivers WHERE {} GROUP BY 1 ORDER BY 3 DESC, 1",
        inside("start", asked.period)
    );
    let rows = e.rows(&sql).await?;
    let total: f64 = rows.iter().filter_map(|r| parts::number(r, "weight")).sum();
    Ok(html! {
        section.box {
            h3 { "Where takeovers come from" }
            @if rows.is_empty() { p.note { "No takeover is known in this period. " (parts::unseen(e, "logins", asked.period)) } }
            @else if total < 20.0 { p.note { "Fewer than 20 accounts are known to have been taken in this period: too few to tell shares." } }
            @else {
                div.scroll { table {
                    thead { tr { th { "Cause" } th { "Share" } th { "What closes it" } } }
                    tbody { @for r in &rows {
                        @let share = parts::number(r, "weight").unwrap_or(0.0) / total;
                        tr { td { (text(r, "driver").replace('_', " ")) } td { (parts::part_bar(share)) " " (amount(share, "share")) } td { (text(r, "cure")) } }
                    } }
                } }
            }
            @if total >= 20.0 { p.note { "Weighted by probability: " (said(&[("n".to_owned(), total.into())].into_iter().collect(), "n", "accounts")) "." } }
        }
    })
}
