//! Reports as one self-contained page that prints well.

use fishweir_metrics::Audience;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::build::{Card, IncidentLine, Report};
use crate::charts;
use crate::markdown::{number, text};
use crate::words::{amount, change, interval};

pub(crate) const STYLE: &str = include_str!("report.css");

/// Returns the report as one HTML file without outside references.
#[must_use]
pub fn html(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (report.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (report.title) }
                    @for s in &report.summary { p.lead { (s) } }
                    div.cards { @for c in &report.cards { (card(c, report.audience)) } }
                    @if !report.incidents.is_empty() { (incidents(&report.incidents)) }
                    @for (title, lines) in [("Theft of accounts", &report.accounts), ("What we did, and what followed", &report.interventions), ("What changed under the numbers", &report.changes)] {
                        @if !lines.is_empty() {
                            section.notes { h2 { (title) } ul { @for l in lines { li { (l) } } } }
                        }
                    }
                    @if !report.caveats.is_empty() {
                        section.notes {
                            h2 { "About these numbers" }
                            ul { @for c in &report.caveats { li { (c) } } }
                        }
                    }
                    footer { "Made " (report.generated_at) " by Fishweir." }
                }
            }
        }
    };
    page.into_string()
}

fn card(c: &Card, audience: Audience) -> Markup {
    let range = interval(&c.value, &c.unit);
    html! {
        section.card.(c.verdict) {
            h2 { (c.title) }
            p.question { (c.question) }
            p.value {
                @match c.value.value {
                    Some(v) => {
                        @if let Some(label) = &c.value.label { span.label { (label) " " } }
                        (amount(v, &c.unit))
                    }
                    None => span.unknown { "unknown" }
                }
                @if !c.verdict.is_empty() { " " span.verdict { (c.verdict) } }
            }
            @if let (None, Some(reason)) = (c.value.value, &c.value.reason) { p.range { (reason) } }
            @if !range.is_empty() { p.range { "95 % interval " (range) } }
            (PreEscaped(charts::trend(&c.trend, &c.unit, &c.title, c.counted)))
            p.change { (change(&c.value, c.previous.as_ref(), "Period before", &c.unit)) }
            p.change { (change(&c.value, c.year_before.as_ref(), "Year before", &c.unit)) }
            p.action { strong { "What to do: " } (c.action) }
            p.source {
                "n = " (format!("{:.0}", c.value.n)) ", coverage " (amount(c.value.coverage, "share")) ", "
                (c.value.maturity) ", source: " (c.value.label_source)
                @if audience != Audience::Executive { ", owner: " (c.owner) }
            }
        }
    }
}

fn incidents(all: &[IncidentLine]) -> Markup {
    html! {
        section.incidents {
            h2 { "Incidents" }
            @for i in all {
                article.(text(&i.fields, "kind")) {
                    h3 { (text(&i.fields, "incident_id")) " · " (text(&i.fields, "kind")) }
                    div.two {
                        dl {
                            dt { "Start" } dd { (text(&i.fields, "start").replace('T', " ")) }
                            dt { "Length" } dd { (number(&i.fields, "duration_s", "seconds")) }
                            dt { "Routes" } dd { (text(&i.fields, "routes")) }
                            dt { "Requests above expectation" } dd { (number(&i.fields, "excess_requests", "requests")) " (" (number(&i.fields, "excess_low", "")) "to " (number(&i.fields, "excess_high", "")) ")" }
                            dt { "Stopped" } dd { (number(&i.fields, "stopped_share", "share")) }
                            dt { "Detected after" } dd { (number(&i.fields, "time_to_detect_s", "seconds")) }
                            dt { "Mitigated after" } dd { (number(&i.fields, "time_to_mitigate_s", "seconds")) }
                            dt { "Attack probability" } dd { (number(&i.fields, "p_attack", "share")) }
                            dt { "Confidence" } dd { (number(&i.fields, "confidence", "share")) }
                        }
                        div { (PreEscaped(charts::incident(&i.minutes))) p.legend { "requests, usual band, " span.stopped { "stopped" } } }
                    }
                    @if !i.drivers.is_empty() { ul { @for d in &i.drivers { li { (d) } } } }
                }
            }
        }
    }
}
