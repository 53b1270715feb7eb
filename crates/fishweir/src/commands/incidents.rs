//! `fishweir incidents`

use anyhow::{Result, bail};
use fishweir_metrics::{Costs, Evaluator, parse_time, time_literal};
use fishweir_report::{fact_words, harm_words, incident_html, incident_story};
use serde_json::{Map, Value};

use crate::cli::{Format, IncidentArgs};
use crate::commands::report::evaluator;
use crate::output::{print_json, say};
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &IncidentArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    if !evaluator.has_table("dos_incidents") {
        bail!("no incident was ever looked for\nhint: `fishweir run` does that");
    }
    if let Some(id) = &args.id {
        return one(&evaluator, id, args, &project.config.costs).await;
    }
    let mut filters = Vec::new();
    if let Some(from) = &args.from {
        filters.push(format!("start >= {}", time_literal(parse_time(from)?)));
    }
    if let Some(to) = &args.to {
        filters.push(format!("start < {}", time_literal(parse_time(to)?)));
    }
    if !args.all {
        filters.push("kind = 'attack'".to_owned());
    }
    filters.push("true".to_owned());
    let rows = evaluator
        .rows(&format!("SELECT * FROM dos_incidents WHERE {} ORDER BY start", filters.join(" AND ")))
        .await?;
    match args.format {
        Format::Json => print_json(&rows)?,
        Format::Text | Format::Csv => {
            if rows.is_empty() {
                eprintln!(
                    "no incidents{}",
                    if args.all { "" } else { "; --all also lists surges that were no attack" }
                );
            }
            for r in &rows {
                say(&format!(
                    "{:44} {:8} {} min  {} requests above expectation  stopped {}  {}",
                    text(r, "incident_id"),
                    text(r, "kind"),
                    number(r, "duration_s").map_or("?".to_owned(), |s| format!("{:.0}", s / 60.0)),
                    number(r, "excess_requests").map_or("?".to_owned(), |v| format!("{v:.0}")),
                    number(r, "stopped_share")
                        .map_or("unknown".to_owned(), |v| format!("{:.0} %", v * 100.0)),
                    text(r, "routes"),
                ))?;
            }
        }
    }
    Ok(0)
}

async fn one(evaluator: &Evaluator, id: &str, args: &IncidentArgs, costs: &Costs) -> Result<u8> {
    let Some(incident) = incident_story(evaluator, id, costs).await? else {
        bail!("no incident is called `{id}`\nhint: `fishweir incidents --all` lists them");
    };
    match args.format {
        _ if args.html => say(&incident_html(&incident))?,
        Format::Json => print_json(&incident)?,
        Format::Text | Format::Csv => say(&page(&incident).join("\n"))?,
    }
    Ok(0)
}

/// Returns the lines of one incident: what, when, where, how big, who, how, what was done, what next.
fn page(i: &Map<String, Value>) -> Vec<String> {
    let mut out = what(i);
    out.extend(who(i));
    out.extend(response(i));
    out.push(cost(i));
    for s in list(i, "similar") {
        let minutes = number(s, "duration_s").unwrap_or(0.0) / 60.0;
        out.push(format!(
            "similar   {}: {} requests, {minutes:.0} min, {} stopped",
            text(s, "incident_id"),
            whole(s, "excess_requests"),
            percent(s, "stopped_share")
        ));
    }
    out.push(format!("next      {}", text(i, "next")));
    out.push(format!(
        "evidence  {:70} {:>10}   {:>22}  {:>22}",
        "(! beyond surges that were no attack)", "here", "surges, no attack", "attacks"
    ));
    for f in list(i, "evidence_facts").into_iter().map(fact_words) {
        let mark = if f.is_unusual { "!" } else { " " };
        let line =
            format!("          {:70} {:>10} {mark} {:>22}  {:>22}", f.what, f.value, f.usual, f.attacks);
        out.push(line.trim_end().to_owned());
    }
    out.push("\nminute                 requests  expected   stopped    missed    errors".to_owned());
    out.extend(list(i, "minutes").into_iter().map(minute));
    out
}

fn whole(row: &Map<String, Value>, key: &str) -> String {
    number(row, key).map_or("unknown".to_owned(), |v| format!("{v:.0}"))
}

fn percent(row: &Map<String, Value>, key: &str) -> String {
    number(row, key).map_or("unknown".to_owned(), |v| format!("{:.0} %", v * 100.0))
}

fn what(i: &Map<String, Value>) -> Vec<String> {
    vec![
        format!(
            "{}   {}   attack with {} probability",
            text(i, "incident_id"),
            text(i, "kind"),
            percent(i, "p_attack")
        ),
        format!(
            "when      {} to {} ({:.0} min), peak {}",
            text(i, "start"),
            text(i, "end"),
            number(i, "duration_s").unwrap_or(0.0) / 60.0,
            text(i, "peak")
        ),
        format!("where     {}", text(i, "routes")),
        format!(
            "how big   {} requests above {} expected [{}, {}], at most {} a minute; noticed by {}",
            whole(i, "excess_requests"),
            whole(i, "expected_requests"),
            whole(i, "excess_low"),
            whole(i, "excess_high"),
            whole(i, "peak_requests_per_min"),
            text(i, "found_by")
        ),
        format!("unusual   {}", text(i, "unusual")),
    ]
}

fn who(i: &Map<String, Value>) -> Vec<String> {
    let mut out = vec![format!(
        "who       {} clients [{}, {}], source {}",
        whole(i, "clients"),
        whole(i, "clients_low"),
        whole(i, "clients_high"),
        text(i, "source_tier")
    )];
    for d in list(i, "drivers") {
        out.push(format!(
            "          {}: {} of the excess, {:.1} % of normal traffic",
            text(d, "rule"),
            percent(d, "coverage"),
            number(d, "normal_share").unwrap_or(f64::NAN) * 100.0
        ));
    }
    let evidence: Value = serde_json::from_str(&text(i, "evidence")).unwrap_or_default();
    if !evidence["stranger_share"].is_number() {
        out.push("how       unknown: strangers are not told apart at this time".to_owned());
    }
    for p in list(i, "patterns") {
        out.push(format!(
            "how       {} ({}): {}",
            text(p, "pattern"),
            percent(p, "strength"),
            text(p, "detail")
        ));
    }
    out
}

fn response(i: &Map<String, Value>) -> Vec<String> {
    // Without a single recorded decision nobody knows when anything was stopped.
    let never = if number(i, "stopped_requests").is_some() { "never" } else { "unknown" };
    let after = |k: &str| number(i, k).map_or(never.to_owned(), |s| format!("after {s:.0} s"));
    let mut out = vec![format!(
        "response  noticed {}, first stopped {}, half stopped {}, nine tenths {}; stopped {} in all",
        after("time_to_detect_s"),
        after("time_to_first_stop_s"),
        after("time_to_mitigate_s"),
        after("time_to_mostly_stopped_s"),
        percent(i, "stopped_share")
    )];
    for r in list(i, "rules") {
        out.push(format!(
            "          {}/{} v{} {} ({}): {} hits, {} on strangers; stopped {}, of them {} from known clients ({} accounts)",
            text(r, "defence"),
            text(r, "rule"),
            text(r, "rule_version"),
            text(r, "action"),
            text(r, "mode"),
            whole(r, "hits"),
            whole(r, "hits_strange"),
            whole(r, "stopped"),
            whole(r, "stopped_good"),
            whole(r, "good_accounts")
        ));
    }
    out.push(format!(
        "harm      {} requests failed beyond the usual, {} members hit [{}, {}], {} min below the objective",
        whole(i, "failed_requests"),
        whole(i, "members_affected"),
        whole(i, "members_affected_low"),
        whole(i, "members_affected_high"),
        whole(i, "downtime_min")
    ));
    for (what, said) in harm_words(i) {
        out.push(format!("          {}: {said}", what.to_lowercase()));
    }
    out
}

fn cost(i: &Map<String, Value>) -> String {
    let usd =
        |r: &Map<String, Value>, k: &str| number(r, k).map_or("unknown".to_owned(), |v| format!("{v:.2}"));
    let parts: Vec<String> =
        list(i, "costs").into_iter().map(|c| format!("{} {}", text(c, "what"), usd(c, "usd"))).collect();
    let floor = if number(i, "cost_usd").is_none() { "at least " } else { "" };
    format!("cost      {floor}{} USD: {}", usd(i, "cost_usd_at_least"), parts.join(", "))
}

fn minute(m: &Map<String, Value>) -> String {
    let n = |k: &str| number(m, k).map_or("?".to_owned(), |v| format!("{v:.0}"));
    format!(
        "{:20} {:>10} {:>9} {:>9} {:>9} {:>9}",
        text(m, "minute"),
        n("requests"),
        n("expected_requests"),
        n("stopped_requests"),
        n("missed_requests"),
        n("errors")
    )
}

fn list<'a>(row: &'a Map<String, Value>, key: &str) -> Vec<&'a Map<String, Value>> {
    row.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect()
}

fn plain(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}

fn text(row: &Map<String, Value>, key: &str) -> String {
    row.get(key).map_or_else(String::new, plain)
}

fn number(row: &Map<String, Value>, key: &str) -> Option<f64> {
    row.get(key).and_then(Value::as_f64)
}
