//! `fishweir score`

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use fishweir_metrics::{Buckets, DAY_US, Evaluator, Grain, Interval};
use fishweir_sim::{CampaignTruth, HappeningTruth, Manifest};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::{Format, ScoreArgs};
use crate::commands::report::evaluator;
use crate::commands::rules as rule_command;
use crate::commands::score_accounts::{of_campaigns, of_takeovers};
use crate::output::{print_json, say};
use crate::project::Project;
use crate::score::incidents::{self, Found};
use crate::score::rules::RuleWeek;
use crate::score::takeovers::{AccountTruth, TwinTruth};
use crate::score::{Score, rules, values};

/// Kinds of labels that have a truth, and the table that will hold them.
const LATER: [(&str, &str); 2] = [("accounts", "account_labels"), ("devices", "device_labels")];

pub(crate) async fn run(project: &Project, args: &ScoreArgs) -> Result<u8> {
    let manifest: Manifest = read(&args.truth, "manifest.json")?;
    let campaigns: Vec<CampaignTruth> = read(&args.truth, "campaigns.json")?;
    let happenings: Vec<HappeningTruth> = read(&args.truth, "happenings.json")?;
    let evaluator = evaluator(project).await?;
    let Some(sealed) = evaluator.sealed_span("requests") else {
        bail!(
            "nothing is sealed yet, so nothing can be scored\nhint: `fishweir ingest`, then `fishweir run`"
        );
    };
    let end_us = manifest.start_us + i64::from(manifest.days) * DAY_US;
    if sealed.to_us <= manifest.start_us || sealed.from_us >= end_us {
        bail!(
            "the sealed hours and the truth do not overlap: is `{}` the truth of this project's events?",
            args.truth.display()
        );
    }
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    let found = found(&evaluator).await?;
    let incidents = of_incidents(&evaluator, found.as_deref(), &campaigns, &happenings, sealed.to_us).await?;
    scores.insert("incidents", incidents);
    let span = Interval::new(manifest.start_us, end_us.min(sealed.to_us));
    scores.insert("metrics", of_metrics(&evaluator, found.as_deref(), &campaigns, span).await?);
    scores.insert("rules", of_rules(project, &evaluator, &args.truth, span).await?);
    let taken: Vec<AccountTruth> = read(&args.truth, "accounts.json")?;
    // Truths of before have no list of members who look odd.
    let twins: Vec<TwinTruth> = read(&args.truth, "twins.json").unwrap_or_default();
    scores.insert("takeovers", of_takeovers(project, &evaluator, taken, twins, span, &args.truth).await?);
    scores.insert("campaigns", of_campaigns(project, &evaluator, &campaigns, &args.truth).await?);
    for (kind, table) in LATER {
        scores.insert(kind, Score::unknown(&format!("table `{table}` does not exist")));
    }
    if args.format == Format::Json {
        print_json(&scores)?;
        return Ok(0);
    }
    say(&format!(
        "scenario {} · seed {} · {} days · {} accounts",
        manifest.scenario, manifest.seed, manifest.days, manifest.accounts
    ))?;
    for (kind, s) in &scores {
        say(&format!("\n{kind}"))?;
        if s.precision.is_none() && s.recall.is_none() && s.detail.is_empty() {
            say(&format!("  unknown: {}", s.reason.as_deref().unwrap_or("no reason given")))?;
            continue;
        }
        say(&format!(
            "  precision {}",
            rate(s.precision, s.precision_low, s.precision_high, s.found_true, s.found)
        ))?;
        say(&format!("  recall    {}", rate(s.recall, s.recall_low, s.recall_high, s.truth_found, s.truth)))?;
        for (name, value) in &s.detail {
            print_detail(name, value, 1)?;
        }
    }
    Ok(0)
}

fn read<T: DeserializeOwned>(truth: &Path, name: &str) -> Result<T> {
    let path = truth.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("`{}`\nhint: --truth names the folder `truth` of a finished simulation", path.display())
    })?;
    serde_json::from_str(&text).with_context(|| format!("`{}`", path.display()))
}

// Stored incidents; nothing where none were looked for.
async fn found(evaluator: &Evaluator) -> Result<Option<Vec<Found>>> {
    if !evaluator.has_table("dos_incidents") {
        return Ok(None);
    }
    let us = |c: &str| format!("CAST(extract(epoch FROM i.{c}) * 1000000 AS BIGINT)");
    let rows = evaluator
        .rows(&format!(
            "SELECT i.incident_id, i.kind, i.routes, i.excess_requests, i.p_attack, {} AS start_us, {} AS end_us, {} AS detected_us, d.rule AS driver, p.patterns FROM dos_incidents i LEFT JOIN dos_incident_drivers d ON d.incident_id = i.incident_id AND d.rank = 1 LEFT JOIN (SELECT incident_id, coalesce(string_agg(CASE WHEN strength >= 0.5 THEN pattern END, ' '), '') AS patterns FROM dos_incident_patterns GROUP BY 1) p ON p.incident_id = i.incident_id ORDER BY i.start",
            us("start"), us("\"end\""), us("detected_at")
        ))
        .await?;
    let found: Vec<Found> = rows.iter().filter_map(Found::from_row).collect();
    anyhow::ensure!(found.len() == rows.len(), "an incident of table `dos_incidents` cannot be read");
    Ok(Some(found))
}

async fn of_incidents(
    evaluator: &Evaluator,
    found: Option<&[Found]>,
    campaigns: &[CampaignTruth],
    happenings: &[HappeningTruth],
    seen_us: i64,
) -> Result<Score> {
    let Some(found) = found else {
        return Ok(Score::unknown("table `dos_incidents` does not exist"));
    };
    let traffic = traffic(evaluator, campaigns).await?;
    Ok(incidents::score(found, campaigns, happenings, &traffic, seen_us))
}

// What the routes saw while each attack of the DoS family lasted.
async fn traffic(evaluator: &Evaluator, campaigns: &[CampaignTruth]) -> Result<incidents::Traffic> {
    let mut out = incidents::Traffic::new();
    for c in campaigns.iter().filter(|c| format!("{:?}", c.kind).starts_with('A')) {
        let (Some(from), Some(to)) = (c.start_us, c.end_us) else { continue };
        let span = Interval::new(from.div_euclid(60_000_000) * 60_000_000, to);
        let sql = format!(
            "SELECT route, CAST(sum(requests) AS DOUBLE) AS n FROM request_minutes WHERE minute >= {} AND minute < {} GROUP BY 1",
            fishweir_metrics::time_literal(span.from_us),
            fishweir_metrics::time_literal(span.to_us.max(span.from_us + 1)),
        );
        let rows = evaluator.rows(&sql).await?;
        let by_route =
            rows.iter().filter_map(|r| Some((r.get("route")?.as_str()?.to_owned(), r.get("n")?.as_f64()?)));
        out.insert(c.name.clone(), by_route.collect());
    }
    Ok(out)
}

const METRIC: &str = "dos_attack_requests";

// Attack requests of a day, as the metric counts them.
async fn of_metrics(
    evaluator: &Evaluator,
    found: Option<&[Found]>,
    campaigns: &[CampaignTruth],
    span: Interval,
) -> Result<Score> {
    if !evaluator.metrics().contains_key(METRIC) {
        return Ok(Score::unknown("the catalogue has no metric `dos_attack_requests`"));
    }
    let values = evaluator.values(METRIC, Buckets::Each(Grain::Day, span), None).await?;
    let days: Vec<values::Day> = values
        .into_iter()
        .map(|value| {
            let Interval { from_us, to_us } = value.period;
            let of = |c| incidents::attack_requests(c, found.unwrap_or_default(), from_us, to_us);
            let truth = campaigns.iter().map(of).sum();
            values::Day { value, truth }
        })
        .collect();
    Ok(values::score(METRIC, &days))
}

// Rule, version, whether in shadow, and week since the start.
type RuleWeekKey = (String, String, bool, i64);

async fn of_rules(project: &Project, evaluator: &Evaluator, truth: &Path, span: Interval) -> Result<Score> {
    let folder = truth.join("decisions");
    if !evaluator.has_table("rule_outcomes") || !folder.is_dir() {
        return Ok(Score::unknown("no rule was looked at, or the truth holds no decision"));
    }
    let mut rows: BTreeMap<RuleWeekKey, Vec<rule_command::Row>> = BTreeMap::new();
    let sql = format!(
        "SELECT *, CAST(day AS BIGINT) AS us FROM rule_outcomes WHERE day >= {} AND day < {} ORDER BY day",
        fishweir_metrics::time_literal(span.from_us),
        fishweir_metrics::time_literal(span.to_us)
    );
    for r in evaluator.rows(&sql).await? {
        let us = r.get("us").and_then(Value::as_i64).unwrap_or(0);
        let key = (
            format!("{}/{}", rule_command::text(&r, "defence"), rule_command::text(&r, "rule")),
            rule_command::text(&r, "rule_version"),
            rule_command::text(&r, "mode") == "shadow",
            (us - span.from_us) / (7 * DAY_US),
        );
        rows.entry(key).or_default().push(r);
    }
    let mut weeks = Vec::new();
    for ((rule, version, shadow, week), (hits, right)) in true_weeks(project, &folder, span).await? {
        let mine = rows.get(&(rule.clone(), version, shadow, week));
        let estimate = mine.and_then(|all| fishweir_labels::judged(&all.iter().collect::<Vec<_>>()).1.ok());
        weeks.push(RuleWeek { rule, hits, right, estimate });
    }
    Ok(rules::score(&weeks))
}

async fn true_weeks(
    project: &Project,
    folder: &Path,
    span: Interval,
) -> Result<BTreeMap<RuleWeekKey, (f64, f64)>> {
    let session = project.catalog()?.bare_session()?;
    // A folder per day, a file per hour.
    session.sql("SET datafusion.execution.listing_table_ignore_subdirectory = false").await?;
    let path = format!("{}/", folder.display());
    session.register_parquet("decided", &path, datafusion::prelude::ParquetReadOptions::default()).await?;
    let sql = format!(
        "SELECT defence || '/' || rule AS rule, coalesce(rule_version, '') AS version, mode = 'shadow' AS shadow, (CAST(time AS BIGINT) - {}) / {} AS week, CAST(count(*) AS DOUBLE) AS hits, CAST(count(campaign) AS DOUBLE) AS right_hits FROM decided WHERE time >= {} AND time < {} GROUP BY 1, 2, 3, 4",
        span.from_us,
        7 * DAY_US,
        fishweir_metrics::time_literal(span.from_us),
        fishweir_metrics::time_literal(span.to_us)
    );
    let mut out = BTreeMap::new();
    for batch in session.sql(&sql).await?.collect().await? {
        let text = |c: usize| cast(batch.column(c), &DataType::Utf8);
        let (rule, version) = (text(0)?, text(1)?);
        let (rule, version) = (rule.as_string::<i32>(), version.as_string::<i32>());
        let (shadow, week) = (batch.column(2).as_boolean(), batch.column(3).as_primitive::<Int64Type>());
        let number = |c: usize| batch.column(c).as_primitive::<Float64Type>();
        for r in 0..batch.num_rows() {
            let key = (rule.value(r).to_owned(), version.value(r).to_owned(), shadow.value(r), week.value(r));
            out.insert(key, (number(4).value(r), number(5).value(r)));
        }
    }
    Ok(out)
}

fn rate(value: Option<f64>, low: Option<f64>, high: Option<f64>, hits: usize, of: usize) -> String {
    match (value, low, high) {
        (Some(v), Some(l), Some(h)) => format!("{v:.3} [{l:.3}, {h:.3}] ({hits} of {of})"),
        _ => "unknown".to_owned(),
    }
}

fn print_detail(name: &str, value: &Value, depth: usize) -> Result<()> {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(o) if o.contains_key("hits") && o.contains_key("of") => {
            let f = |k: &str| o.get(k).and_then(Value::as_f64);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
            let n = |k: &str| f(k).unwrap_or(0.0) as usize;
            say(&format!("{pad}{name}: {}", rate(f("value"), f("low"), f("high"), n("hits"), n("of"))))
        }
        Value::Object(o) => {
            say(&format!("{pad}{name}"))?;
            o.iter().try_for_each(|(k, v)| print_detail(k, v, depth + 1))
        }
        Value::Array(a) => {
            let all: Vec<String> =
                a.iter().map(|v| v.as_str().map_or(v.to_string(), str::to_owned)).collect();
            say(&format!("{pad}{name}: {}", if all.is_empty() { "none".to_owned() } else { all.join(", ") }))
        }
        Value::Null => say(&format!("{pad}{name}: unknown")),
        Value::Number(n) if n.is_u64() => say(&format!("{pad}{name}: {n}")),
        Value::Number(n) => say(&format!("{pad}{name}: {:.3}", n.as_f64().unwrap_or(f64::NAN))),
        other => say(&format!("{pad}{name}: {other}")),
    }
}
