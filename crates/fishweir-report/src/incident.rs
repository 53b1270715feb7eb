//! One incident as a page that stands alone.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};

use crate::charts;
use crate::evidence::fact_words;
use crate::harm::harm_words;
use crate::html::STYLE;
use crate::markdown::{number, text};
use crate::words::amount;

type Row = Map<String, Value>;

fn rows<'a>(i: &'a Row, key: &str) -> Vec<&'a Row> {
    i.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect()
}

fn owned(i: &Row, key: &str) -> Vec<Row> {
    rows(i, key).into_iter().cloned().collect()
}

/// Returns an incident with its parts (`minutes`, `drivers`, `patterns`, `rules`, `costs`, `similar`,
/// `next`), as `fishweir incidents ID --format json` prints it, as one HTML file without outside
/// references.
#[must_use]
pub fn incident_html(i: &Row) -> String {
    let title = format!("{} · {}", text(i, "incident_id"), text(i, "kind"));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    p.lead { (lead(i)) }
                    p.action { strong { "Next: " } (text(i, "next")) }
                    article.wide {
                        (PreEscaped(charts::incident(&owned(i, "minutes"))))
                        p.legend { "requests a minute, usual band, " span.stopped { "stopped" } }
                    }
                    div.cards { (what(i)) (response(i)) (cost(i)) }
                    (harm(i))
                    (drivers(i))
                    (rules(i))
                    (evidence(i))
                    (similar(i))
                    footer { "Labelled by " (text(i, "label_source")) ", " (text(i, "maturity")) "." }
                }
            }
        }
    };
    page.into_string()
}

fn lead(i: &Row) -> String {
    format!(
        "From {} for {}: {} requests above expectation on {}, {} stopped; {} members met an error or a refusal.",
        text(i, "start").replace('T', " "),
        number(i, "duration_s", "seconds").trim(),
        number(i, "excess_requests", "").trim(),
        text(i, "routes"),
        number(i, "stopped_share", "share").trim(),
        number(i, "members_affected", "").trim()
    )
}

fn range(i: &Row, low: &str, high: &str) -> String {
    format!("{} to {}", number(i, low, "").trim(), number(i, high, "").trim())
}

fn what(i: &Row) -> Markup {
    html! {
        section.card {
            h2 { "What it was" }
            dl {
                dt { "Attack probability" } dd { (number(i, "p_attack", "share")) }
                dt { "Peak" } dd { (text(i, "peak").replace('T', " ")) ", " (number(i, "peak_requests_per_min", "requests")) " a minute" }
                dt { "Above expectation" } dd { (number(i, "excess_requests", "requests")) " (" (range(i, "excess_low", "excess_high")) ")" }
                dt { "How unusual" } dd { (text(i, "unusual")) }
                dt { "Clients" } dd { (number(i, "clients", "")) "(" (range(i, "clients_low", "clients_high")) ")" }
                dt { "Came from" } dd { (text(i, "source_tier").replace('_', " ")) }
                dt { "Noticed by" } dd { (text(i, "found_by")) }
            }
            @let tags = rows(i, "patterns");
            @if tags.is_empty() { p.range { "no pattern is told" } }
            @if !tags.is_empty() {
                ul { @for p in tags { li { (text(p, "pattern").replace('_', " ")) " " (number(p, "strength", "share")) ": " (text(p, "detail")) } } }
            }
        }
    }
}

fn response(i: &Row) -> Markup {
    let decided = i.get("stopped_requests").is_some_and(Value::is_number);
    let after = |k: &str| match i.get(k).and_then(Value::as_f64) {
        Some(s) => amount(s, "seconds"),
        None if decided => "never".to_owned(),
        None => "unknown: no decision is recorded".to_owned(),
    };
    html! {
        section.card {
            h2 { "Response" }
            dl {
                dt { "Detected after" } dd { (number(i, "time_to_detect_s", "seconds")) }
                dt { "First stopped after" } dd { (after("time_to_first_stop_s")) }
                dt { "Half stopped after" } dd { (after("time_to_mitigate_s")) }
                dt { "Nine tenths after" } dd { (after("time_to_mostly_stopped_s")) }
                dt { "Stopped in all" } dd { (number(i, "stopped_share", "share")) }
                dt { "Failed requests" } dd { (number(i, "failed_requests", "requests")) }
                dt { "Below the objective" } dd { (number(i, "downtime_min", "")) "minutes" }
                dt { "Members hit" } dd { (number(i, "members_affected", "")) "(" (range(i, "members_affected_low", "members_affected_high")) ")" }
            }
        }
    }
}

fn harm(i: &Row) -> Markup {
    html! {
        article {
            h3 { "What it did to members" }
            table { tbody { @for (what, said) in harm_words(i) { tr { td { (what) } td { (said) } } } } }
        }
    }
}

fn usd(row: &Row, key: &str) -> String {
    row.get(key).and_then(Value::as_f64).map_or("unknown".to_owned(), |v| format!("{v:.2}"))
}

fn cost(i: &Row) -> Markup {
    html! {
        section.card {
            h2 { "What it cost, US dollars" }
            dl {
                @for c in rows(i, "costs") {
                    dt { (text(c, "what")) }
                    dd { (usd(c, "usd")) " (" (usd(c, "low")) " to " (usd(c, "high")) ") " span.range { (text(c, "how")) } }
                }
            }
        }
    }
}

fn evidence(i: &Row) -> Markup {
    html! {
        article {
            h3 { "Evidence, beside other surges" }
            div.scroll {
                table {
                    thead { tr { th { "What" } th.number { "Here" } th.number { "In surges that were no attack" } th.number { "In attacks" } } }
                    tbody { @for f in rows(i, "evidence_facts").into_iter().map(fact_words) {
                        tr { td { (f.what) } td.number { @if f.is_unusual { strong { (f.value) } } @else { (f.value) } } td.number { (f.usual) } td.number { (f.attacks) } }
                    } }
                }
            }
            p.range { "Ranges go from the tenth to the ninetieth percentile of the other surges that are stored, five at least; bold is what lies outside that of surges that were no attack." }
        }
    }
}

fn drivers(i: &Row) -> Markup {
    let all = rows(i, "drivers");
    html! {
        article {
            h3 { "What tells it from members" }
            @if all.is_empty() { p.range { "no single mark does" } }
            @for d in all {
                p { code { (text(d, "rule")) } " covers " (number(d, "coverage", "share")) " of the excess and " (number(d, "normal_share", "share")) " of normal traffic" }
            }
        }
    }
}

fn rules(i: &Row) -> Markup {
    let all = rows(i, "rules");
    html! {
        article {
            h3 { "What each rule did" }
            @if all.is_empty() { p.range { "no rule met it, or none is recorded" } }
            @if !all.is_empty() {
                div.scroll {
                    table {
                        thead { tr { th { "Rule" } th { "Action" } th { "Hits" } th { "On strangers" } th { "Stopped" } th { "Of known clients" } th { "Accounts" } } }
                        tbody {
                            @for r in all {
                                tr {
                                    td { (text(r, "defence")) "/" (text(r, "rule")) " v" (text(r, "rule_version")) }
                                    td { (text(r, "action")) " (" (text(r, "mode")) ")" }
                                    @for k in ["hits", "hits_strange", "stopped", "stopped_good", "good_accounts"] { td.number { (number(r, k, "")) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn similar(i: &Row) -> Markup {
    let all = rows(i, "similar");
    html! {
        @if !all.is_empty() {
            article {
                h3 { "Similar before" }
                ul { @for s in all { li { (text(s, "incident_id")) ": " (number(s, "excess_requests", "requests")) " in " (number(s, "duration_s", "seconds")) ", " (number(s, "stopped_share", "share")) " stopped" } } }
            }
        }
    }
}
