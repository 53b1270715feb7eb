//! Rules of the defences: how often they are right, what they miss, whom they hit, what to do.

use axum::extract::Path;
use fishweir_labels::{Rule, rule_book, rule_book_sql};
use fishweir_metrics::{Evaluator, Interval, parse_time, text_literal};
use fishweir_report::{Line, Plot, amount};
use maud::{Markup, html};

use super::parts::{self, Row, encoded, inside, number, text};
use super::{Answer, Look, cached};
use crate::period::asked;
use crate::problem::Problem;

/// Returns the rules that met anybody up to the end of a period.
pub(crate) async fn book(e: &Evaluator, span: Interval) -> Result<Vec<Rule>, Problem> {
    let [outcomes, overlaps] = rule_book_sql(span);
    Ok(rule_book(e.rows(&outcomes).await?, &e.rows(&overlaps).await?, span))
}

pub(crate) async fn index(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let title = "Rules".to_owned();
        if !e.has_table("rule_outcomes") {
            return Ok((title, parts::absent("No rule was looked at yet.")));
        }
        let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
        let mut rules = book(e, asked.period).await?;
        rules.sort_by(|a, b| b.hits.total_cmp(&a.hits));
        let body = html! {
            div.head { h1 { "Rules of the defences" } span.sub { (rules.len()) " rules, versions and modes" } }
            (parts::period_picker("/rules", q, &asked))
            p.note { "Right is the share of hits that met an attacker; it is read, in this order, from requests held out at random, from what clients did before and after, and from the incidents around. Meets is the share of the attack requests on its routes." }
            @if rules.is_empty() { section.box { p.lead { "No rule met anybody: no decision is recorded, so what the defences do is unknown." } } }
            @else { (table(&rows(&rules))) }
        };
        Ok((title, body))
    })
    .await
}

fn rows(rules: &[Rule]) -> Vec<&Rule> {
    rules.iter().collect()
}

fn link(name: &str) -> String {
    let (defence, rule) = name.split_once('/').unwrap_or((name, ""));
    format!("/rules/{}/{}", encoded(defence), encoded(rule))
}

fn table(rules: &[&Rule]) -> Markup {
    html! {
        section.box { div.scroll { table.sortable {
            thead { tr { th { "Rule" } th { "Does" } th.n { "Hits" } th { "Right" } th { "Meets" } th.n { "Members stopped" } th.n { "Right alone" } th { "Advice" } } }
            tbody { @for r in rules {
                tr {
                    td.w { a href=(link(&r.rule)) { (r.rule) } " v" (r.rule_version) @if r.mode == "shadow" { " " span.tag.plain { "shadow" } } }
                    td { (r.action) }
                    td.n data-sort=(r.hits) { (amount(r.hits, "")) }
                    td data-sort=[r.precision] { (parts::share_bar(r.precision, r.precision_low, r.precision_high, r.reason)) }
                    td data-sort=[r.recall] { (parts::share_bar(r.recall, r.recall_low, r.recall_high, r.recall_reason)) }
                    td.n data-sort=(r.good_stopped) { @if r.unclear_hits > 0.0 { "≥ " } (amount(r.good_stopped, "")) }
                    td.n data-sort=(r.right_alone) { (amount(r.right_alone, "")) }
                    td { span.tag.(tone(r.advice.action.name())) { (r.advice.action.name()) } " " span.small { (r.advice.why) } }
                }
            } }
        } } }
    }
}

fn tone(advice: &str) -> &'static str {
    match advice {
        "relax" | "retire" => "worse",
        "tighten" => "warn",
        "leave" => "ok",
        _ => "plain",
    }
}

pub(crate) async fn one(look: Look, Path((defence, rule)): Path<(String, String)>) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let name = format!("{defence}/{rule}");
        if !e.has_table("rule_outcomes") {
            return Ok((name, parts::absent("No rule was looked at yet.")));
        }
        let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
        let mut rules = book(e, asked.period).await?;
        rules.retain(|r| r.rule == name);
        if rules.is_empty() {
            return Err(Problem::missing(format!("no rule `{name}` met anybody up to {}", asked.words())));
        }
        let days = days(e, &defence, &rule, asked.period).await?;
        let path = link(&name);
        let body = html! {
            p.crumbs { a href="/rules" { "Rules" } " / " (name) }
            div.head { h1 { (name) } }
            (parts::period_picker(&path, q, &asked))
            (table(&rows(&rules)))
            section.box { h2 { "Hits a day" } (parts::chart(&hits(&days), "rule")) }
            section.box { h2 { "Share of hits that were right, by day" } (parts::chart(&precision(&days), "rule")) }
            @for r in &rules { (detail(r)) }
        };
        Ok((name, body))
    })
    .await
}

async fn days(e: &Evaluator, defence: &str, rule: &str, p: Interval) -> Result<Vec<Row>, Problem> {
    let sql = format!(
        "SELECT day, sum(hits) AS hits, sum(stopped) AS stopped, sum(good_stopped) AS good_stopped, sum(precision * hits) / nullif(sum(CASE WHEN precision IS NOT NULL THEN hits END), 0) AS precision, min(precision_low) AS low, max(precision_high) AS high FROM rule_outcomes WHERE coalesce(defence, '') = {} AND coalesce(rule, '') = {} AND {} GROUP BY 1 ORDER BY 1",
        text_literal(defence),
        text_literal(rule),
        inside("day", p)
    );
    Ok(e.rows(&sql).await?)
}

fn of(days: &[Row], key: &str) -> Vec<Option<f64>> {
    days.iter().map(|d| number(d, key)).collect()
}

fn times(days: &[Row]) -> Vec<i64> {
    days.iter().map(|d| parse_time(&text(d, "day")).unwrap_or(0)).collect()
}

fn hits(days: &[Row]) -> Plot {
    Plot {
        title: "Hits a day".to_owned(),
        unit: "hits".to_owned(),
        times: times(days),
        lines: vec![
            Line { name: "hits".to_owned(), class: "line", values: of(days, "hits") },
            Line {
                name: "requests of members stopped".to_owned(),
                class: "missed",
                values: of(days, "good_stopped"),
            },
        ],
        size: (1080, 200),
        ..Plot::default()
    }
}

fn precision(days: &[Row]) -> Plot {
    Plot {
        title: "Share of hits that were right".to_owned(),
        unit: "share".to_owned(),
        times: times(days),
        lines: vec![Line { name: "right".to_owned(), class: "line", values: of(days, "precision") }],
        band: Some((of(days, "low"), of(days, "high"))),
        size: (1080, 180),
        ..Plot::default()
    }
}

fn detail(r: &Rule) -> Markup {
    let change = |v: Option<f64>, what: &str| v.map(|v| format!("{v:+.1} {what} a day"));
    let effect: Vec<String> = [
        change(r.advice.attack_passed_per_day, "attack requests passed"),
        change(r.advice.good_stopped_per_day, "member requests stopped"),
    ]
    .into_iter()
    .flatten()
    .collect();
    html! { section.box { h2 { (r.rule) " v" (r.rule_version) " (" (r.mode) ")" }
        dl.facts {
            dt { "Advice" } dd { (r.advice.action.name()) ": " (r.advice.why) @if !effect.is_empty() { " (" (effect.join(", ")) ")" } }
            dt { "Read from" } dd { (r.basis) }
            dt { "Hits" } dd { (amount(r.right_hits, "")) " right, " (amount(r.wrong_hits, "")) " wrong, " (amount(r.unclear_hits, "")) " unclear" }
            dt { "Met by no other rule" } dd { (amount(r.right_alone, "right hits")) }
            dt { "Not met" } dd { (r.missed_requests.map_or_else(|| format!("unknown: {}", r.recall_reason.unwrap_or("no reason given")), |m| amount(m, "attack requests"))) }
            dt { "Members" } dd { @if r.unclear_hits > 0.0 { "at least " } (amount(r.good_stopped, "requests")) " stopped on " (amount(r.good_client_days, "client days")) }
            dt { "Seen" } dd { (r.first_day) " to " (r.last_day) ", hits on " (r.days) " days of the period" }
            @if let (Some(a), Some(b)) = (&r.first_week, &r.last_week) {
                dt { "Then and now" } dd { (amount(a.right_hits_per_day, "")) " right hits a day in its first week, " (amount(b.right_hits_per_day, "")) " in the last; right " (parts::share_bar(a.precision, a.precision_low, a.precision_high, Some("too little"))) " then, " (parts::share_bar(b.precision, b.precision_low, b.precision_high, Some("too little"))) " now" }
            }
        }
        @if !r.overlaps.is_empty() {
            h3 { "Rules that met the same clients" }
            ul.plain { @for o in r.overlaps.iter().take(10) {
                @let other = if text(o, "rule") == r.rule { text(o, "other_rule") } else { text(o, "rule") };
                li { a href=(link(&other)) { (other) } ": " (parts::said(o, "client_days", "client days")) }
            } }
        }
    } }
}
