//! Reports as Markdown, for terminals and mail.

use std::fmt::Write as _;

use fishweir_metrics::Audience;
use serde_json::{Map, Value};

use crate::build::{Card, IncidentLine, Report};
use crate::words::{amount, change, interval};

/// Returns the report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {}\n", report.title);
    for s in &report.summary {
        let _ = writeln!(out, "{s}\n");
    }
    for card in &report.cards {
        section(&mut out, card, report.audience);
    }
    if !report.incidents.is_empty() {
        let _ = writeln!(out, "## Incidents\n");
        let _ = writeln!(
            out,
            "| id | kind | start | length | routes | excess | stopped | detected after | mitigated after |"
        );
        let _ = writeln!(out, "|---|---|---|---|---|---|---|---|---|");
        for i in &report.incidents {
            line(&mut out, i);
        }
        let _ = writeln!(out);
        for i in report.incidents.iter().filter(|i| !i.drivers.is_empty()) {
            let _ = writeln!(out, "**{}** was driven by:", text(&i.fields, "incident_id"));
            for d in &i.drivers {
                let _ = writeln!(out, "- {d}");
            }
            let _ = writeln!(out);
        }
    }
    for (title, lines) in [
        ("Theft of accounts", &report.accounts),
        ("What we did, and what followed", &report.interventions),
        ("What changed under the numbers", &report.changes),
        ("About these numbers", &report.caveats),
    ] {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(out, "## {title}\n");
        for l in lines {
            let _ = writeln!(out, "- {l}");
        }
        let _ = writeln!(out);
    }
    let _ = writeln!(out, "Made {}.", report.generated_at);
    out
}

fn section(out: &mut String, c: &Card, audience: Audience) {
    let value = match c.value.value {
        Some(v) => amount(v, &c.unit),
        None => "unknown".to_owned(),
    };
    let label = c.value.label.as_deref().map(|l| format!("{l}, ")).unwrap_or_default();
    let mark = if c.verdict.is_empty() { String::new() } else { format!(" ({})", c.verdict) };
    let _ = writeln!(out, "## {}: {label}{value}{mark}\n", c.title);
    let _ = writeln!(out, "*{}*\n", c.question);
    let range = interval(&c.value, &c.unit);
    if c.value.value.is_none() {
        let _ = writeln!(out, "Unknown: {}.", c.value.reason.as_deref().unwrap_or("no reason given"));
    } else if !range.is_empty() {
        let _ = writeln!(out, "95 % interval {range}.");
    }
    let _ = writeln!(
        out,
        "{}; {}.",
        change(&c.value, c.previous.as_ref(), "Period before", &c.unit),
        change(&c.value, c.year_before.as_ref(), "year before", &c.unit)
    );
    let _ = writeln!(out, "**What to do:** {}\n", c.action);
    let detail = format!(
        "n = {:.0}, coverage {}, {}, source: {}",
        c.value.n,
        amount(c.value.coverage, "share"),
        c.value.maturity,
        c.value.label_source
    );
    let _ = writeln!(
        out,
        "{}\n",
        if audience == Audience::Executive {
            format!("<sub>{detail}</sub>")
        } else {
            format!("{detail}, owner: {}", c.owner)
        }
    );
}

pub(crate) fn text(row: &Map<String, Value>, key: &str) -> String {
    match row.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Null) | None => "unknown".to_owned(),
        Some(other) => other.to_string(),
    }
}

pub(crate) fn number(row: &Map<String, Value>, key: &str, unit: &str) -> String {
    let decided = row.get("stopped_requests").is_some_and(Value::is_number);
    match row.get(key).and_then(Value::as_f64) {
        Some(v) => amount(v, unit),
        None if key == "time_to_mitigate_s" && decided => "never".to_owned(),
        None => "unknown".to_owned(),
    }
}

fn line(out: &mut String, i: &IncidentLine) {
    let start = text(&i.fields, "start");
    let _ = writeln!(
        out,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        text(&i.fields, "incident_id"),
        text(&i.fields, "kind"),
        start.get(..16).unwrap_or(&start).replace('T', " "),
        number(&i.fields, "duration_s", "seconds"),
        text(&i.fields, "routes"),
        number(&i.fields, "excess_requests", "requests"),
        number(&i.fields, "stopped_share", "share"),
        number(&i.fields, "time_to_detect_s", "seconds"),
        number(&i.fields, "time_to_mitigate_s", "seconds"),
    );
}
