//! Pieces that several pages are made of.

use std::collections::BTreeMap;

use fishweir_metrics::{Audience, Evaluator, Interval, MetricValue};
use fishweir_report::{Card, Line, Mark, Plot, amount, bare, change, interval};
use maud::{Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::period::{Asked, LENGTHS};

/// A row of a query.
pub(crate) type Row = Map<String, Value>;
/// Parameters of an address.
pub(crate) type Query = BTreeMap<String, String>;

pub(crate) fn text(r: &Row, key: &str) -> String {
    match r.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(crate) fn number(r: &Row, key: &str) -> Option<f64> {
    r.get(key).and_then(Value::as_f64)
}

pub(crate) fn list<'a>(r: &'a Row, key: &str) -> Vec<&'a Row> {
    r.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect()
}

/// Returns a number of a row in words; an unknown one is said to be so.
pub(crate) fn said(r: &Row, key: &str, unit: &str) -> String {
    number(r, key).map_or("unknown".to_owned(), |v| amount(v, unit).trim().to_owned())
}

/// Returns a time of a row to the minute.
pub(crate) fn minute(r: &Row, key: &str) -> String {
    text(r, key).chars().take(16).collect::<String>().replace('T', " ")
}

pub(crate) fn stamp(us: i64) -> String {
    fishweir_report::time(us, "%Y-%m-%d %H:%M")
}

/// All but what may stand in an address unchanged (RFC 3986, section 2.3).
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns a text as part of an address.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// Returns an address with some parameters changed; an empty value takes one away.
pub(crate) fn address(path: &str, query: &Query, changed: &[(&str, &str)]) -> String {
    let mut all = query.clone();
    for (k, v) in changed {
        if v.is_empty() {
            all.remove(*k);
        } else {
            all.insert((*k).to_owned(), (*v).to_owned());
        }
    }
    let pairs: Vec<String> = all.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Returns links to the usual periods and a field for any other.
pub(crate) fn period_picker(path: &str, query: &Query, asked: &Asked) -> Markup {
    html! {
        div.picker {
            span.group role="group" aria-label="Period" {
                @for (name, days) in LENGTHS {
                    a href=(address(path, query, &[("period", name)])) aria-current=[(asked.name == name).then_some("true")] { (days) " days" }
                }
            }
            form.line method="get" action=(path) {
                @for (k, v) in query.iter().filter(|(k, _)| *k != "period") { input type="hidden" name=(k) value=(v); }
                label { span { "Other: 2026-10, 2026-W40, from..to" }
                    input type="text" name="period" size="22" value=(if LENGTHS.iter().any(|l| l.0 == asked.name) { "" } else { &asked.name }); }
                button { "Show" }
            }
            span.sub { (asked.words()) " (UTC)" }
        }
    }
}

/// Returns a chart with its legend and the data for a cursor.
pub(crate) fn chart(plot: &Plot, sync: &str) -> Markup {
    if plot.is_empty() {
        return html! { p.note { "Nothing is known to draw." } };
    }
    html! {
        figure.chart data-sync=[(!sync.is_empty()).then_some(sync)] data-height=[(plot.size.1 > 0).then_some(plot.size.1)] {
            (PreEscaped(plot.svg()))
            script type="application/json" { (PreEscaped(plot.json().to_string().replace('<', "\\u003c"))) }
            @if plot.lines.len() > 1 || plot.band.is_some() {
                figcaption.small {
                    @for l in &plot.lines { span { i.(l.class) {} (l.name) } }
                    @if plot.band.is_some() { span { i.band {} "usual or likely" } }
                }
            }
        }
    }
}

fn times(values: &[MetricValue]) -> Vec<i64> {
    values.iter().map(|v| v.period.from_us).collect()
}

/// Smallest group of people that is told as a number.
pub(crate) const PEOPLE_MIN: f64 = 20.0;

/// Returns a value as a picture may show it: a small group of people is drawn as the smallest one told.
pub(crate) fn veiled(value: f64, unit: &str) -> f64 {
    if unit == "members" && value > 0.0 && value < PEOPLE_MIN { PEOPLE_MIN } else { value }
}

/// Returns a series of a metric as a plot, with the earlier one moved over it.
pub(crate) fn series(
    title: &str,
    unit: &str,
    now: &[MetricValue],
    before: &[MetricValue],
    bars: bool,
) -> Plot {
    let of = |all: &[MetricValue], f: fn(&MetricValue) -> Option<f64>| {
        all.iter().map(|v| f(v).map(|x| veiled(x, unit))).collect::<Vec<_>>()
    };
    let mut lines = vec![Line { name: "now".to_owned(), class: "line", values: of(now, |v| v.value) }];
    if before.iter().any(|v| v.value.is_some()) {
        let mut values = of(before, |v| v.value);
        values.resize(now.len(), None);
        lines.push(Line { name: "before".to_owned(), class: "before", values });
    }
    let ranged = now.iter().any(|v| matches!((v.low, v.high), (Some(l), Some(h)) if h > l));
    let marks = now
        .iter()
        .filter(|v| !v.breaks.is_empty())
        .map(|v| Mark { at_us: v.period.from_us, label: v.breaks.join("; ") })
        .collect();
    Plot {
        title: title.to_owned(),
        unit: unit.to_owned(),
        times: times(now),
        lines,
        band: (ranged && !bars).then(|| (of(now, |v| v.low), of(now, |v| v.high))),
        marks,
        bars,
        size: (0, 0),
    }
}

/// Returns whether a unit is counted, and drawn as bars.
pub(crate) fn counted(unit: &str) -> bool {
    matches!(unit, "attacks" | "surges" | "members" | "US dollars" | "takeovers" | "campaigns" | "contacts")
}

/// Returns a value with its unit, its label if it is a ranking, or why it is unknown.
pub(crate) fn value(v: &MetricValue, unit: &str) -> Markup {
    html! {
        @match v.value {
            Some(x) => {
                @if let Some(label) = &v.label { span.label { (label.replace('_', " ")) " " } }
                (amount(x, unit))
            }
            None => span.unknown { "unknown" }
        }
    }
}

/// Returns the card of a metric; `full` adds owner and source.
pub(crate) fn card(c: &Card, audience: Audience) -> Markup {
    let range = interval(&c.value, &c.unit);
    let plot = Plot { size: (420, 120), ..series(&c.title, &c.unit, &c.trend, &[], c.counted) };
    html! {
        article.card.(c.verdict) {
            h2 { a href=(format!("/catalogue/{}", encoded(&c.metric))) { (c.title) } }
            p.question { (c.question) }
            p.value { (value(&c.value, &c.unit)) @if !c.verdict.is_empty() { " " span.tag.(c.verdict) { (c.verdict) } } }
            @if let (None, Some(reason)) = (c.value.value, &c.value.reason) { p.range { (reason) } }
            @if !range.is_empty() { p.range { "95 % interval " (range) } }
            p.delta { (change(&c.value, c.previous.as_ref(), "Period before", &c.unit)) }
            @if audience != Audience::Executive { p.delta { (change(&c.value, c.year_before.as_ref(), "Year before", &c.unit)) } }
            @if !plot.is_empty() { (chart(&plot, "")) }
            p.act { strong { "What to do: " } (c.action) }
            p.source {
                "n = " (bare(c.value.n, "")) ", coverage " (amount(c.value.coverage, "share")) ", "
                (c.value.maturity) ", source: " (c.value.label_source)
                @if audience != Audience::Executive { ", owner: " (c.owner) }
            }
        }
    }
}

/// Returns a share with its interval as a small picture and a number.
pub(crate) fn share_bar(
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    reason: Option<&str>,
) -> Markup {
    let Some(v) = value else {
        return html! { span.unknown title=(reason.unwrap_or("no reason given")) { "unknown" } " " span.small { (reason.unwrap_or("")) } };
    };
    let x = |s: f64| (s.clamp(0.0, 1.0) * 118.0 + 1.0).round();
    let (l, h) = (low.unwrap_or(v), high.unwrap_or(v));
    html! {
        (PreEscaped(format!(
            r#"<svg class="bar-cell" viewBox="0 0 120 12" role="img" aria-label="{v:.2}"><rect class="track" x="1" y="3" width="118" height="6"/><rect class="fill" x="1" y="3" width="{}" height="6"/><line class="whisker" x1="{}" y1="6" x2="{}" y2="6"/></svg>"#,
            x(v) - 1.0, x(l), x(h)
        )))
        " " (amount(v, "share")) " " span.small { "[" (bare(l, "share")) ", " (bare(h, "share")) "]" }
    }
}

/// Returns the share of a whole as a bar.
pub(crate) fn part_bar(part: f64) -> Markup {
    let w = (part.clamp(0.0, 1.0) * 118.0).round();
    html! { (PreEscaped(format!(r#"<svg class="bar-cell" viewBox="0 0 120 12" aria-hidden="true"><rect class="track" x="1" y="3" width="118" height="6"/><rect class="fill" x="1" y="3" width="{w}" height="6"/></svg>"#))) }
}

/// Returns what an empty list of a period means: nothing found in a stretch without data is no good news.
pub(crate) fn unseen(e: &Evaluator, stream: &str, period: Interval) -> String {
    match e.sealed_span(stream) {
        None => format!("Nothing of `{stream}` is sealed: whether there were any is unknown."),
        Some(s) if s.from_us > period.from_us || s.to_us < period.to_us => format!(
            "Sealed data of `{stream}` reaches from {} to {} UTC; of the rest nothing is known.",
            stamp(s.from_us),
            stamp(s.to_us)
        ),
        Some(_) => "The period is sealed from its beginning to its end.".to_owned(),
    }
}

/// Returns the conditions of a period on a time column.
pub(crate) fn inside(column: &str, p: Interval) -> String {
    let (from, to) = (fishweir_metrics::time_literal(p.from_us), fishweir_metrics::time_literal(p.to_us));
    format!("{column} >= {from} AND {column} < {to}")
}

/// Returns a sentence for a page whose tables do not exist yet.
pub(crate) fn absent(what: &str) -> Markup {
    html! { section.box { p.lead { (what) } p { "The model graph has not made this yet: " code { "fishweir run" } " does, and the server does so by itself on its schedule." } } }
}
