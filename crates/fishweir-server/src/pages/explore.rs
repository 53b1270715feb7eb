//! Any metric by time, grain, dimension and comparison, with export.

use fishweir_metrics::{Buckets, Evaluator, Interval, Metric, MetricType, MetricValue};
use fishweir_report::{amount, bare, change};
use maud::{Markup, html};

use super::parts::{self, Query, address};
use super::{Answer, Look, cached};
use crate::period::{asked, grain};
use crate::problem::Problem;
use crate::snapshot::Snapshot;

const MEMBERS_MAX: usize = 25;

pub(crate) async fn page(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move { body(&s, q, now_us).await }).await
}

/// Returns the values of a metric, or of one member of a dimension.
pub(crate) async fn values(
    e: &Evaluator,
    m: &Metric,
    buckets: Buckets,
    by: Option<&str>,
    of: Option<&str>,
) -> Result<Vec<MetricValue>, Problem> {
    let all = e.values(&m.name, buckets, by).await?;
    let Some(of) = of else { return Ok(all) };
    // Periods in which the member does not occur stay gaps, unless the whole is known there.
    let mut out: Vec<MetricValue> = Vec::new();
    for p in buckets.periods() {
        let found = all.iter().find(|v| v.period == p && v.label.as_deref() == Some(of));
        match found {
            Some(v) => out.push(v.clone()),
            None => {
                if let Some(v) = all.iter().find(|v| v.period == p) {
                    out.push(MetricValue {
                        value: None,
                        low: None,
                        high: None,
                        label: None,
                        reason: Some("did not occur".to_owned()),
                        ..v.clone()
                    });
                }
            }
        }
    }
    Ok(out)
}

fn known<'a>(e: &'a Evaluator, name: &str) -> Result<&'a Metric, Problem> {
    e.metrics()
        .get(name)
        .ok_or_else(|| Problem::missing(format!("no metric is called `{name}`\nhint: /catalogue lists them")))
}

async fn body(s: &Snapshot, q: &Query, now_us: i64) -> Result<(String, Markup), Problem> {
    let e = &s.evaluator;
    let get = |k: &str| q.get(k).map(String::as_str).filter(|v| !v.is_empty());
    let m = known(e, get("metric").unwrap_or("requests"))?;
    let asked = asked(get("period"), e.sealed_span(&m.stream), now_us)?;
    let grain = grain(get("grain"), asked.period)?;
    let by = get("by").filter(|d| m.dimensions.iter().any(|x| x == d));
    let of = get("of").filter(|_| by.is_some());
    let other = match get("with") {
        Some("year") => Some(asked.year_before),
        Some("previous") => Some(asked.previous),
        _ => None,
    };
    let filter = by.filter(|_| of.is_some());
    let series = m.kind != MetricType::Top && m.kind != MetricType::Cumulative;
    let each = |p: Interval| Buckets::Each(grain, p);
    let now = if series { values(e, m, each(asked.period), filter, of).await? } else { Vec::new() };
    let before = match other.filter(|_| series) {
        Some(p) => values(e, m, each(p), filter, of).await?,
        None => Vec::new(),
    };
    let whole = values(e, m, Buckets::Whole(asked.period), filter, of).await?.into_iter().next();
    let then = match other {
        Some(p) => values(e, m, Buckets::Whole(p), filter, of).await?.into_iter().next(),
        None => None,
    };
    let members = match by {
        Some(by) => members(e, m, by, asked.period, other).await?,
        None => Vec::new(),
    };
    let plot = fishweir_report::Plot {
        size: (1080, 260),
        ..parts::series(&m.title, &m.unit, &now, &before, parts::counted(&m.unit))
    };
    let page = html! {
        div.head { h1 { (m.title) @if let Some(of) = of { " · " (of) } } span.sub { (m.question) } }
        (controls(e, m, q, grain.name(), by))
        (parts::period_picker("/explore", q, &asked))
        @if let Some(of) = of { div.picker { span { (by.unwrap_or_default()) " is " code { (of) } } a href=(address("/explore", q, &[("of", "")])) { "remove this filter" } } }
        section.box {
            @if let Some(v) = &whole {
                p.value { (parts::value(v, &m.unit)) }
                @if let (None, Some(reason)) = (v.value, &v.reason) { p.range { (reason) } }
                @let range = fishweir_report::interval(v, &m.unit);
                @if !range.is_empty() { p.range { "95 % interval " (range) } }
                @if other.is_some() { p.delta { (change(v, then.as_ref(), "Then", &m.unit)) } }
                p.source { "n = " (bare(v.n, "")) ", coverage " (amount(v.coverage, "share")) ", " (v.maturity) ", source: " (v.label_source) }
            } @else { p.value { span.unknown { "unknown" } } p.range { "nothing is recorded of this part in the period" } }
            @if series { (parts::chart(&plot, "")) } @else { p.note { "This metric is told for a period as a whole." } }
            p.act { strong { "What to do: " } (m.action) }
        }
        @if !members.is_empty() { (board(m, q, by.unwrap_or_default(), &members, other.is_some())) }
        @else if by.is_some() { section.box { p.note { "Nothing is recorded by " (by.unwrap_or_default()) " in this period." } } }
        (export(m, q))
        @if series { (table(m, &now)) }
    };
    Ok((m.title.clone(), page))
}

fn controls(e: &Evaluator, m: &Metric, q: &Query, grain: &str, by: Option<&str>) -> Markup {
    let with = q.get("with").map_or("", String::as_str);
    html! {
        form.line.picker method="get" action="/explore" {
            label { "Metric" select name="metric" { @for x in e.metrics().values() { option value=(x.name) selected[x.name == m.name] { (x.title) } } } }
            label { "Grain" select name="grain" { @for g in ["hour", "day", "week", "month"] { option value=(g) selected[g == grain] { (g) } } } }
            label { "Split by" select name="by" { option value="" { "nothing" } @for d in &m.dimensions { option value=(d) selected[Some(d.as_str()) == by] { (d) } } } }
            label { "Compare with" select name="with" { @for (v, words) in [("", "nothing"), ("previous", "the period before"), ("year", "52 weeks before")] { option value=(v) selected[v == with] { (words) } } } }
            @if let Some(p) = q.get("period") { input type="hidden" name="period" value=(p); }
            button.main { "Show" }
        }
    }
}

async fn members(
    e: &Evaluator,
    m: &Metric,
    by: &str,
    period: Interval,
    other: Option<Interval>,
) -> Result<Vec<(MetricValue, Option<MetricValue>)>, Problem> {
    let mut now = e.values(&m.name, Buckets::Whole(period), Some(by)).await?;
    now.retain(|v| v.label.is_some());
    now.sort_by(|a, b| b.value.unwrap_or(f64::MIN).total_cmp(&a.value.unwrap_or(f64::MIN)));
    now.truncate(MEMBERS_MAX);
    let then = match other {
        Some(p) => e.values(&m.name, Buckets::Whole(p), Some(by)).await?,
        None => Vec::new(),
    };
    Ok(now
        .into_iter()
        .map(|v| {
            let t = then.iter().find(|t| t.label == v.label).cloned();
            (v, t)
        })
        .collect())
}

fn board(
    m: &Metric,
    q: &Query,
    by: &str,
    members: &[(MetricValue, Option<MetricValue>)],
    compared: bool,
) -> Markup {
    let top = members.iter().filter_map(|v| v.0.value).fold(0.0, f64::max);
    html! {
        section.box.board { h2 { "By " (by.replace('_', " ")) } p.note { "A click shows only that part." }
            div.scroll { table.sortable { thead { tr { th { (by.replace('_', " ")) } th.n { (m.unit) } th { "Of the largest" } @if compared { th { "Change" } } } }
                tbody { @for (v, then) in members {
                    @let label = v.label.clone().unwrap_or_default();
                    tr {
                        td { a href=(address("/explore", q, &[("of", &label)])) { (if label.is_empty() { "(none)" } else { &label }) } }
                        td.n data-sort=[v.value] { (parts::value(&MetricValue { label: None, ..v.clone() }, &m.unit)) }
                        td { (parts::part_bar(v.value.filter(|_| top > 0.0).map_or(0.0, |x| x / top))) }
                        @if compared { td.small { (change(v, then.as_ref(), "then", &m.unit)) } }
                    }
                } } } }
        }
    }
}

fn export(m: &Metric, q: &Query) -> Markup {
    let mut pairs = q.clone();
    pairs.remove("metric");
    let link = |format: &str| address(&format!("/api/v1/metrics/{}", m.name), &pairs, &[("format", format)]);
    html! { p.no-print { "Export: " a href=(link("csv")) download { "CSV" } " · " a href=(link("parquet")) download { "Parquet" } " · " a href=(link("json")) { "JSON" } } }
}

fn table(m: &Metric, all: &[MetricValue]) -> Markup {
    let opt = |v: Option<f64>| v.map_or("unknown".to_owned(), |v| bare(v, &m.unit));
    html! {
        details { summary { "The numbers" } section.box { div.scroll { table.sortable {
            thead { tr { th { "From" } th.n { "Value" } th.n { "Low" } th.n { "High" } th.n { "n" } th.n { "Coverage" } th { "Maturity" } th { "What changed, or why it is unknown" } } }
            tbody { @for v in all { tr {
                td { (parts::stamp(v.period.from_us)) } td.n data-sort=[v.value] { (opt(v.value)) } td.n { (opt(v.low)) } td.n { (opt(v.high)) }
                td.n { (bare(v.n, "")) } td.n { (amount(v.coverage, "share")) } td { (v.maturity) } td.small { (v.reason.as_deref().unwrap_or("")) " " (v.breaks.join("; ")) }
            } } }
        } } } }
    }
}
