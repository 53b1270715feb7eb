//! `fishweir takeovers`

use anyhow::{Result, bail};
use fishweir_metrics::{Evaluator, parse_time, time_literal};
use fishweir_report::takeover_story;
use serde_json::{Map, Value};

use crate::cli::{Format, TakeoverArgs};
use crate::commands::report::evaluator;
use crate::output::{print_json, print_rows, say};
use crate::project::Project;

type Row = Map<String, Value>;

pub(crate) fn text(r: &Row, key: &str) -> String {
    r.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(crate) fn number(r: &Row, key: &str) -> Option<f64> {
    r.get(key).and_then(Value::as_f64)
}

/// Returns a share in words; an unknown one is said to be so.
pub(crate) fn percent(r: &Row, key: &str) -> String {
    number(r, key).map_or("unknown".to_owned(), |v| format!("{:.0} %", v * 100.0))
}

/// Returns a time to the minute; nothing where there is none.
pub(crate) fn minute(r: &Row, key: &str) -> String {
    text(r, key).chars().take(16).collect::<String>().replace('T', " ")
}

/// Returns the conditions of `--from` and `--to` on a time column.
pub(crate) fn between(column: &str, from: Option<&str>, to: Option<&str>) -> Result<String> {
    let mut all = vec!["true".to_owned()];
    if let Some(from) = from {
        all.push(format!("{column} >= {}", time_literal(parse_time(from)?)));
    }
    if let Some(to) = to {
        all.push(format!("{column} < {}", time_literal(parse_time(to)?)));
    }
    Ok(all.join(" AND "))
}

pub(crate) async fn run(project: &Project, args: &TakeoverArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    if !evaluator.has_table("account_takeovers") {
        bail!("no takeover was ever looked for\nhint: `fishweir run` does that");
    }
    if evaluator.sealed_span("logins").is_none() {
        eprintln!("no sign-in is sealed: only what requests show of takeovers is known");
    }
    if let Some(id) = &args.id {
        return one(&evaluator, id, args.format).await;
    }
    let least = if args.all { 0.0 } else { 0.5 };
    let sql = format!(
        "SELECT takeover_id, account, p_takeover, p_low, p_high, start, \"end\", driver, driver_share, campaign_id, detected_at, contact_at, recovered_at, maturity, label_source FROM account_takeovers WHERE p_takeover >= {least} AND {} ORDER BY start, takeover_id",
        between("start", args.from.as_deref(), args.to.as_deref())?
    );
    let rows = evaluator.rows(&sql).await?;
    if args.format != Format::Text {
        print_rows(&rows, args.format)?;
        return Ok(0);
    }
    if rows.is_empty() {
        eprintln!(
            "no takeover{}",
            if args.all { "" } else { "; --all also lists those that are less likely than not" }
        );
    }
    for r in &rows {
        say(&format!(
            "{}  {:>5} [{}, {}]  {}  {:18}  {}",
            text(r, "takeover_id"),
            percent(r, "p_takeover"),
            percent(r, "p_low"),
            percent(r, "p_high"),
            minute(r, "start"),
            text(r, "driver"),
            if text(r, "recovered_at").is_empty() { "" } else { "recovered" },
        ))?;
    }
    Ok(0)
}

async fn one(evaluator: &Evaluator, id: &str, format: Format) -> Result<u8> {
    let Some(takeover) = takeover_story(evaluator, id).await? else {
        bail!("no takeover is called `{id}`\nhint: `fishweir takeovers --all` lists them");
    };
    if format == Format::Json {
        print_json(&takeover)?;
        return Ok(0);
    }
    page(&takeover).iter().try_for_each(|l| say(l))?;
    Ok(0)
}

pub(crate) fn list<'a>(r: &'a Row, key: &str) -> Vec<&'a Row> {
    r.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect()
}

fn page(t: &Row) -> Vec<String> {
    let mut out = vec![
        format!(
            "{}   account {}   taken with {} probability [{}, {}], {}",
            text(t, "takeover_id"),
            text(t, "account"),
            percent(t, "p_takeover"),
            percent(t, "p_low"),
            percent(t, "p_high"),
            text(t, "maturity")
        ),
        format!(
            "when      {} to {} in {} episodes",
            minute(t, "start"),
            minute(t, "end"),
            number(t, "episodes").unwrap_or(0.0)
        ),
        format!("known     {}", known(t)),
    ];
    if !text(t, "campaign_id").is_empty() {
        out.push(format!("campaign  {}", text(t, "campaign_id")));
    }
    for d in list(t, "drivers") {
        let vendor = text(d, "vendor");
        let vendor = if vendor.is_empty() { String::new() } else { format!(" ({vendor})") };
        out.push(format!(
            "cause     {} {}{vendor}; to close it: {}",
            percent(d, "share"),
            text(d, "driver"),
            text(d, "cure")
        ));
    }
    let votes: Vec<Value> = serde_json::from_str(&text(t, "votes")).unwrap_or_default();
    for v in votes.iter().filter_map(Value::as_object) {
        out.push(format!(
            "{:9} {}  ({} {})",
            text(v, "vote"),
            text(v, "evidence"),
            text(v, "function"),
            number(v, "version").unwrap_or(1.0)
        ));
    }
    for d in list(t, "defences") {
        out.push(format!(
            "defence   {} {} {}: {} {} attempts",
            text(d, "defence"),
            text(d, "rule"),
            text(d, "action"),
            text(d, "outcome"),
            number(d, "attempts").unwrap_or(0.0)
        ));
    }
    if list(t, "defences").is_empty() {
        out.push("defence   unknown: the raw sign-ins of that time are gone, or there were none".to_owned());
    }
    out.push(String::new());
    out.extend(
        list(t, "timeline").into_iter().map(|e| format!("{}  {}", minute(e, "time"), text(e, "what"))),
    );
    out.push(format!("\nsource    {}", text(t, "label_source")));
    out
}

fn known(t: &Row) -> String {
    let at = |key: &str| Some(minute(t, key)).filter(|m| !m.is_empty());
    let mut parts = Vec::new();
    parts.push(at("detected_at").map_or("not noticed before now".to_owned(), |m| format!("noticed {m}")));
    parts.push(
        at("contact_at").map_or("the member did not call".to_owned(), |m| format!("the member called {m}")),
    );
    parts.push(at("recovered_at").map_or("not recovered".to_owned(), |m| format!("recovered {m}")));
    parts.join("; ")
}
