//! Every metric: what it answers, what it is made of, how fresh and how sure it is.

use axum::extract::Path;
use fishweir_metrics::{Audience, Buckets, Interval, Metric, MetricType, text_literal};
use fishweir_report::{amount, bare, interval, trend_grain};
use maud::{PreEscaped, html};

use super::parts::{self, encoded, minute, text};
use super::{Answer, Look, cached, lineage};
use crate::period::asked;
use crate::problem::Problem;

const AUDIENCES: [(Audience, &str); 3] = [
    (Audience::Executive, "executive"),
    (Audience::Business, "business"),
    (Audience::Operational, "operational"),
];

pub(crate) async fn index(look: Look) -> Answer {
    let q = &look.q;
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let get = |k: &str| q.get(k).map(|v| v.trim().to_lowercase()).unwrap_or_default();
        let (words, audience) = (get("q"), get("for"));
        let shown: Vec<&Metric> = e
            .metrics()
            .values()
            .filter(|m| words.is_empty() || format!("{} {} {} {}", m.name, m.title, m.question, m.description).to_lowercase().contains(&words))
            .filter(|m| audience.is_empty() || AUDIENCES.iter().any(|(a, name)| *name == audience && m.audience.contains(a)))
            .collect();
        let body = html! {
            div.head { h1 { "Catalogue" } span.sub { (shown.len()) " of " (e.metrics().len()) " metrics" } a href="/models" { "Tables, certificates, findings" } }
            form.line.picker method="get" action="/catalogue" {
                label { "Search" input type="search" name="q" value=(words) size="28"; }
                label { "For" select name="for" { option value="" { "everybody" } @for (_, name) in AUDIENCES { option value=(name) selected[name == audience] { (name) } } } }
                button.main { "Search" }
            }
            section.box { div.scroll { table.sortable {
                thead { tr { th { "Metric" } th { "Question" } th { "For" } th { "Unit" } th { "Owner" } th { "Labels from" } th.n { "Version" } } }
                tbody { @for m in &shown { tr {
                    td { a href=(format!("/catalogue/{}", encoded(&m.name))) { (m.title) } br; code { (m.name) } }
                    td { (m.question) } td { (audiences(m)) } td { (m.unit) } td { (m.owner) } td { (m.label_source) } td.n { (m.version) }
                } } }
            } } }
        };
        Ok(("Catalogue".to_owned(), body))
    })
    .await
}

fn audiences(m: &Metric) -> String {
    AUDIENCES.iter().filter(|(a, _)| m.audience.contains(a)).map(|a| a.1).collect::<Vec<_>>().join(", ")
}

fn formula(m: &Metric) -> String {
    let t = |v: &Option<String>| v.clone().unwrap_or_default();
    let filter = m.filter.as_ref().map_or(String::new(), |f| format!(" where {f}"));
    let agg = m
        .agg
        .and_then(|a| serde_json::to_value(a).ok())
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    match m.kind {
        MetricType::Simple => format!("{agg}({}) of {}{filter}", t(&m.expr), t(&m.from)),
        MetricType::Top => {
            format!("the {} with the largest sum({}) of {}{filter}", t(&m.by), t(&m.expr), t(&m.from))
        }
        MetricType::Ratio => format!("{} / {}", t(&m.numerator), t(&m.denominator)),
        MetricType::Derived => t(&m.expr),
        MetricType::Cumulative => {
            format!("{} over the last {} days", t(&m.metric), m.window_days.unwrap_or(0))
        }
        MetricType::CaptureRecapture => {
            format!("what neither of {} saw, from what both saw ({})", m.channels.join(" and "), t(&m.metric))
        }
    }
}

pub(crate) async fn one(look: Look, Path(name): Path<String>) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    let site = std::sync::Arc::clone(&app.site);
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let Some(m) = e.metrics().get(&name) else {
            return Err(Problem::missing(format!("no metric is called `{name}`\nhint: /catalogue lists them")));
        };
        let asked = asked(q.get("period").map(String::as_str), e.sealed_span(&m.stream), now_us)?;
        let value = e.value(&name, asked.period).await?;
        let series = if matches!(m.kind, MetricType::Top | MetricType::Cumulative) { Vec::new() } else { e.values(&name, Buckets::Each(trend_grain(asked.period), asked.period), None).await? };
        let models = site.models()?;
        let of = lineage::parts(&name, e.metrics(), &models);
        let sealed = e.sealed_span(&m.stream);
        let seams = e.breaks(&name, Interval::new(i64::MIN / 2, i64::MAX / 2));
        let stored = stored(e, &name).await?;
        let plot = fishweir_report::Plot { size: (1080, 220), ..parts::series(&m.title, &m.unit, &series, &[], parts::counted(&m.unit)) };
        let body = html! {
            p.crumbs { a href="/catalogue" { "Catalogue" } " / " (name) }
            div.head { h1 { (m.title) } code { (name) } a href=(format!("/explore?metric={}", encoded(&name))) { "Explore" } a href=(format!("/study?metric={}", encoded(&name))) { "Event study" } }
            (parts::period_picker(&format!("/catalogue/{}", encoded(&name)), q, &asked))
            section.box {
                p.value { (parts::value(&value, &m.unit)) }
                @if let (None, Some(reason)) = (value.value, &value.reason) { p.range { (reason) } }
                @let range = interval(&value, &m.unit);
                @if !range.is_empty() { p.range { "95 % interval " (range) } }
                p.source { "n = " (bare(value.n, "")) ", coverage " (amount(value.coverage, "share")) ", " (value.maturity) }
                @if !series.is_empty() { (parts::chart(&plot, "")) }
            }
            div.columns {
                section.box { h2 { "What it is" } dl.facts {
                    dt { "Question" } dd { (m.question) }
                    dt { "What to do" } dd { (m.action) }
                    dt { "Means" } dd { (m.description) }
                    dt { "For" } dd { (audiences(m)) }
                    dt { "Owner" } dd { (m.owner) }
                    dt { "Formula" } dd { code { (formula(m)) } }
                    dt { "Unit" } dd { (m.unit) }
                    dt { "Dimensions" } dd { (if m.dimensions.is_empty() { "none".to_owned() } else { m.dimensions.join(", ") }) }
                    dt { "Labels from" } dd { (m.label_source) }
                    dt { "Version" } dd { (m.version) ", since " (m.since) }
                    dt { "Defined in" } dd { code { (m.file.rsplit('/').next().unwrap_or_default()) } }
                } }
                section.box { h2 { "How fresh and how sure" } dl.facts {
                    dt { "Sealed to" } dd { (sealed.map_or("nothing yet".to_owned(), |s| parts::stamp(s.to_us))) " UTC (stream " (m.stream) ")" }
                    dt { "Error" } dd { (error(m)) }
                    @for (k, v) in &stored { dt { (k) } dd { (v) } }
                }
                h3 { "Seams" }
                @if seams.is_empty() { p.note { "Nothing changed under it." } }
                ul.plain { @for b in seams.iter().rev().take(12) { li { (b) } } } }
            }
            section.box { h2 { "What it is made of" } div.scroll { (PreEscaped(lineage::svg(&name, &of))) } }
        };
        Ok((m.title.clone(), body))
    })
    .await
}

fn error(m: &Metric) -> &'static str {
    let expr = m.expr.as_deref().unwrap_or_default();
    match m.kind {
        _ if expr.ends_with("_hll") => "a distinct count from a sketch: 1.6 % standard error",
        _ if expr.ends_with("_kll") => "a quantile from a sketch: rank error below 1.5 %",
        _ if expr.ends_with("_top") => "heavy hitters: counts have bounds",
        MetricType::Simple if m.expr_low.is_some() => "an estimate: the interval comes with it",
        MetricType::Simple => "exact over what is sealed",
        MetricType::CaptureRecapture => "an estimate over detectors that are taken to be independent",
        _ => "as its parts",
    }
}

async fn stored(e: &fishweir_metrics::Evaluator, name: &str) -> Result<Vec<(&'static str, String)>, Problem> {
    let mut out = Vec::new();
    if e.has_table("metric_values") {
        let rows = e.rows(&format!("SELECT count(*) AS n, max(computed_at) AS last, min(period_start) AS first FROM metric_values WHERE metric = {}", text_literal(name))).await?;
        if let Some(r) = rows.first() {
            out.push(("Stored values", format!("{}, from {}", text(r, "n"), minute(r, "first"))));
            out.push(("Computed", minute(r, "last")));
        }
    }
    if e.has_table("metric_restatements") {
        let rows = e
            .rows(&format!(
                "SELECT count(*) AS n FROM metric_restatements WHERE metric = {}",
                text_literal(name)
            ))
            .await?;
        out.extend(rows.first().map(|r| ("Restated", format!("{} values", text(r, "n")))));
    }
    Ok(out)
}
