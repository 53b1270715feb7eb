//! Theft of accounts in a report: where takeovers came from, which campaigns ran, what members met.

use fishweir_metrics::{Audience, Evaluator, Interval, PipelineError, time_literal};
use serde_json::{Map, Value};

use crate::words::amount;

/// Smallest number of accounts that a report tells apart.
const PEOPLE_MIN: f64 = 20.0;
const CAMPAIGNS_MAX: usize = 10;

type Row = Map<String, Value>;

fn text(r: &Row, key: &str) -> String {
    r.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(r: &Row, key: &str) -> f64 {
    r.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// Returns a sentence per cause of takeovers and per campaign of a period; for executives the causes
/// only.
///
/// # Limits
/// Causes are told as shares, and only when the period holds at least 20 takeovers, so that no line
/// points at few people.
///
/// # Errors
/// A query that fails.
pub(crate) async fn sentences(
    evaluator: &Evaluator,
    period: Interval,
    audience: Audience,
) -> Result<Vec<String>, PipelineError> {
    let mut out = causes(evaluator, period).await?;
    if audience != Audience::Executive {
        out.extend(campaigns(evaluator, period).await?);
    }
    if audience == Audience::Operational {
        out.extend(functions(evaluator).await?);
    }
    Ok(out)
}

fn inside(column: &str, period: Interval) -> String {
    format!("{column} >= {} AND {column} < {}", time_literal(period.from_us), time_literal(period.to_us))
}

async fn causes(evaluator: &Evaluator, period: Interval) -> Result<Vec<String>, PipelineError> {
    if !evaluator.has_table("takeover_drivers") {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT driver, min(cure) AS cure, sum(weight) AS weight FROM takeover_drivers WHERE {} GROUP BY 1 ORDER BY 3 DESC, 1",
        inside("start", period)
    );
    let rows = evaluator.rows(&sql).await?;
    let total: f64 = rows.iter().map(|r| number(r, "weight")).sum();
    if total <= 0.0 {
        return Ok(Vec::new());
    }
    if total < PEOPLE_MIN {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        return Ok(vec![format!(
            "Fewer than {PEOPLE_MIN} accounts were taken: too few to tell shares of causes; the largest is {}; to close it: {}.",
            text(first, "driver").replace('_', " "),
            text(first, "cure")
        )]);
    }
    let shown = rows.iter().filter(|r| number(r, "weight") >= 0.05 * total);
    let sentences = shown.map(|r| {
        format!(
            "{} of takeovers by {}; to close it: {}.",
            amount(number(r, "weight") / total, "share"),
            text(r, "driver").replace('_', " "),
            text(r, "cure")
        )
    });
    Ok(sentences.collect())
}

async fn campaigns(evaluator: &Evaluator, period: Interval) -> Result<Vec<String>, PipelineError> {
    if !evaluator.has_table("login_campaigns") {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT *, CAST(start AS DATE) AS first_day, CAST(\"end\" AS DATE) AS last_day FROM login_campaigns WHERE {} ORDER BY attempts DESC, campaign_id",
        inside("start", period)
    );
    let rows = evaluator.rows(&sql).await?;
    let mut out: Vec<String> = rows.iter().take(CAMPAIGNS_MAX).map(campaign).collect();
    if rows.len() > CAMPAIGNS_MAX {
        out.push(format!(
            "And {} smaller campaigns; `fishweir campaigns` lists them.",
            rows.len() - CAMPAIGNS_MAX
        ));
    }
    Ok(out)
}

fn campaign(r: &Row) -> String {
    let days = match (text(r, "first_day"), text(r, "last_day")) {
        (a, b) if a == b => format!("on {a}"),
        (a, b) => format!("from {a} to {b}"),
    };
    let got_in = match number(r, "successes") {
        0.0 => "none got in".to_owned(),
        n => format!("{} got in", amount(n, "")).replace("  ", " "),
    };
    format!(
        "{} ({}) {days}: {} on {} from {}; {got_in}, {} were stopped.",
        text(r, "campaign_id"),
        text(r, "kind").replace('_', " "),
        amount(number(r, "attempts"), "attempts"),
        amount(number(r, "names_tried"), "names"),
        text(r, "source_tier"),
        amount(number(r, "stopped"), "").trim_end()
    )
}

// Functions that found what nothing else did, and those that never fire.
async fn functions(evaluator: &Evaluator) -> Result<Vec<String>, PipelineError> {
    if !evaluator.has_table("labelling_functions") {
        return Ok(Vec::new());
    }
    let sql = "SELECT function, fired, added_7d FROM labelling_functions WHERE day = (SELECT max(day) FROM labelling_functions) ORDER BY added_7d DESC, function";
    let rows = evaluator.rows(sql).await?;
    let named = |f: &dyn Fn(&Row) -> bool| -> Vec<String> {
        rows.iter().filter(|r| f(r)).map(|r| text(r, "function")).collect()
    };
    let mut out = Vec::new();
    let alone = named(&|r| number(r, "added_7d") > 0.0);
    if !alone.is_empty() {
        out.push(format!(
            "Labelling functions without which takeovers of the last week were missed: {}.",
            alone.join(", ")
        ));
    }
    let silent = named(&|r| number(r, "fired") == 0.0);
    if !silent.is_empty() {
        out.push(format!("Labelling functions that did not vote in the last month: {}.", silent.join(", ")));
    }
    Ok(out)
}
