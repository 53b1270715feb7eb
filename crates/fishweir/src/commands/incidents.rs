//! `fishweir incidents`

use anyhow::{Result, bail};
use fishweir_metrics::{parse_time, time_literal};
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
        return one(&evaluator, id, args.format).await;
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

async fn one(evaluator: &fishweir_metrics::Evaluator, id: &str, format: Format) -> Result<u8> {
    let key = id.replace('\'', "''");
    let mut rows =
        evaluator.rows(&format!("SELECT * FROM dos_incidents WHERE incident_id = '{key}'")).await?;
    let Some(mut incident) = rows.pop() else {
        bail!("no incident is called `{id}`\nhint: `fishweir incidents --all` lists them");
    };
    let drivers = evaluator.rows(&format!("SELECT rank, rule, excess_requests, coverage, purity, normal_share FROM dos_incident_drivers WHERE incident_id = '{key}' ORDER BY rank")).await?;
    let minutes = evaluator
        .rows(&format!("SELECT * FROM dos_incident_minutes WHERE incident_id = '{key}' ORDER BY minute"))
        .await?;
    if format == Format::Json {
        incident.insert("drivers".to_owned(), drivers.into_iter().map(Value::Object).collect());
        incident.insert("minutes".to_owned(), minutes.into_iter().map(Value::Object).collect());
        print_json(&incident)?;
        return Ok(0);
    }
    for (k, v) in &incident {
        say(&format!("{k:24} {}", plain(v)))?;
    }
    say("\ndrivers")?;
    for d in &drivers {
        say(&format!(
            "  {}: covers {:.0} % of the excess, {:.1} % of normal traffic",
            text(d, "rule"),
            number(d, "coverage").unwrap_or(f64::NAN) * 100.0,
            number(d, "normal_share").unwrap_or(f64::NAN) * 100.0
        ))?;
    }
    say("\nminute                 requests  expected   stopped    missed    errors")?;
    for m in &minutes {
        let n = |k: &str| number(m, k).map_or("?".to_owned(), |v| format!("{v:.0}"));
        say(&format!(
            "{:20} {:>10} {:>9} {:>9} {:>9} {:>9}",
            text(m, "minute"),
            n("requests"),
            n("expected_requests"),
            n("stopped_requests"),
            n("missed_requests"),
            n("errors")
        ))?;
    }
    Ok(0)
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
