//! What changed under the metrics: defences, rules, versions and routes that were not there before,
//! hours that are missing, heuristics that were replaced.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use fishweir_pipeline::{
    Catalog, DAY_US, FindingRow, HOUR_US, Interval, PipelineError, time_literal, utc_microseconds,
};

use crate::catalogue::{Metric, MetricType, Need};

/// What is there from the beginning is not new; the first day fills the register.
const REGISTER_US: i64 = DAY_US;
/// A defence that spoke in this share of the hours of a week and then in none of a day fell silent.
const STEADY_SHARE: f64 = 0.9;
/// Hours are looked at this far back; older gaps were found when they were young.
const GAP_DAYS: i64 = 60;
/// More new routes than these at once are a change of the templates, told in one finding.
const ROUTES_MAX: usize = 20;

/// What a finding concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    Decisions,
    Routes,
    Everything,
    Labels,
}

/// Returns what changed under the metrics, as far as the rollups tell: one row per change, with the
/// hour it began and the metrics it touches. The same lake gives the same rows.
///
/// # Errors
/// A lake that cannot be read.
pub async fn reconcile(catalog: &Catalog, metrics: &[Metric]) -> Result<Vec<FindingRow>, PipelineError> {
    let all: BTreeMap<String, Metric> = metrics.iter().map(|m| (m.name.clone(), m.clone())).collect();
    let Some(span) = span(catalog).await? else { return Ok(Vec::new()) };
    let mut changes = new_decisions(catalog, span).await?;
    changes.extend(new_routes(catalog, span).await?);
    changes.extend(gaps(catalog, span).await?.into_iter().map(|gap| {
        let (hours, from) = ((gap.to_us - gap.from_us) / HOUR_US, stamp(gap.from_us));
        Change {
            kind: "break",
            subject: format!("requests {from}"),
            at_us: gap.from_us,
            detail: format!(
                "no request for {hours} hours from {from}: sums over them are too low, baselines skip them"
            ),
            concern: Concern::Everything,
        }
    }));
    changes.extend(silent(catalog, span).await?.into_iter().map(|(defence, at_us)| Change {
        kind: "silent_defence",
        subject: format!("{defence} {}", stamp(at_us)),
        at_us,
        detail: format!(
            "defence `{defence}` decided in nearly every hour and in none of the day from {}",
            stamp(at_us)
        ),
        concern: Concern::Decisions,
    }));
    changes.extend(new_labels(catalog).await?);
    let row = |c: Change| FindingRow {
        kind: c.kind.to_owned(),
        subject: c.subject,
        detail: c.detail,
        first_seen_us: Some(c.at_us),
        metrics: touched(&all, c.concern),
    };
    Ok(changes.into_iter().map(row).collect())
}

/// Something that is not as it was.
struct Change {
    kind: &'static str,
    subject: String,
    at_us: i64,
    detail: String,
    concern: Concern,
}

const DECIDERS: [(&str, &str, &str); 3] = [
    ("new_defence", "defence", "coalesce(defence, '(none)')"),
    ("new_rule", "rule", "coalesce(defence, '(none)') || '/' || coalesce(rule, '(none)')"),
    (
        "new_rule_version",
        "version of a rule",
        "coalesce(defence, '(none)') || '/' || coalesce(rule, '(none)') || ' v' || coalesce(rule_version, '')",
    ),
];

async fn new_decisions(catalog: &Catalog, span: Interval) -> Result<Vec<Change>, PipelineError> {
    let mut known: BTreeMap<String, i64> = BTreeMap::new();
    let mut out = Vec::new();
    for (kind, word, subject) in DECIDERS {
        for (name, at_us) in first(catalog, "decision_hours", subject, "hour").await? {
            // The first version of a new rule is the rule.
            let parent = name.rsplit_once([' ', '/']).and_then(|(p, _)| known.get(p)).copied();
            known.insert(name.clone(), at_us);
            let told = kind == "new_rule_version" && parent == Some(at_us);
            if at_us >= span.from_us + REGISTER_US && !told {
                let detail = format!("{word} `{name}` decided for the first time");
                out.push(Change { kind, subject: name, at_us, detail, concern: Concern::Decisions });
            }
        }
    }
    Ok(out)
}

async fn new_routes(catalog: &Catalog, span: Interval) -> Result<Vec<Change>, PipelineError> {
    let mut routes = first(catalog, "request_days", "route", "day").await?;
    routes.retain(|r| r.1 >= span.from_us + REGISTER_US);
    let many = routes.len() > ROUTES_MAX;
    let one = |(name, at_us): (String, i64)| Change {
        kind: "new_route",
        detail: format!("route `{name}` was asked for for the first time"),
        subject: name,
        at_us,
        concern: Concern::Routes,
    };
    if !many {
        return Ok(routes.into_iter().map(one).collect());
    }
    let Some((name, at_us)) = routes.first().cloned() else { return Ok(Vec::new()) };
    Ok(vec![Change {
        kind: "new_routes",
        subject: "many routes".to_owned(),
        at_us,
        detail: format!(
            "{} routes that were not there on the first day, `{name}` first: do the route templates fit?",
            routes.len()
        ),
        concern: Concern::Routes,
    }])
}

async fn new_labels(catalog: &Catalog) -> Result<Vec<Change>, PipelineError> {
    let labels = first(catalog, "dos_incidents", "label_source", "start").await?;
    let later = labels.into_iter().skip(1).map(|(name, at_us)| Change {
        kind: "new_label_version",
        detail: format!("incidents are labelled by `{name}` from here on"),
        subject: name,
        at_us,
        concern: Concern::Labels,
    });
    Ok(later.collect())
}

fn stamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%dT%H:%MZ").to_string()
}

async fn exists(catalog: &Catalog, table: &str) -> Result<bool, PipelineError> {
    Ok(catalog.lake().existing(table).await?.is_some())
}

// Text and time of every row.
async fn pairs(catalog: &Catalog, table: &str, sql: &str) -> Result<Vec<(String, i64)>, PipelineError> {
    let mut out = Vec::new();
    for batch in catalog.query(&[table], sql).await? {
        let bad =
            |e: arrow::error::ArrowError| PipelineError::Query { what: sql.to_owned(), cause: e.to_string() };
        let name = cast(batch.column(0), &DataType::Utf8).map_err(bad)?;
        let time = cast(batch.column(1), &utc_microseconds()).map_err(bad)?;
        let (name, time) = (name.as_string::<i32>(), time.as_primitive::<TimestampMicrosecondType>());
        for r in (0..name.len()).filter(|r| name.is_valid(*r) && time.is_valid(*r)) {
            out.push((name.value(r).to_owned(), time.value(r)));
        }
    }
    Ok(out)
}

async fn first(
    catalog: &Catalog,
    table: &str,
    subject: &str,
    time: &str,
) -> Result<Vec<(String, i64)>, PipelineError> {
    if !exists(catalog, table).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {subject} AS subject, min({time}) AS at FROM {table} GROUP BY 1 ORDER BY 2, 1");
    pairs(catalog, table, &sql).await
}

async fn span(catalog: &Catalog) -> Result<Option<Interval>, PipelineError> {
    const TABLE: &str = "request_hours";
    if !exists(catalog, TABLE).await? {
        return Ok(None);
    }
    let sql = format!("SELECT 'a', min(hour) FROM {TABLE} UNION ALL SELECT 'b', max(hour) FROM {TABLE}");
    let ends = pairs(catalog, TABLE, &sql).await?;
    let at = |name: &str| ends.iter().find(|e| e.0 == name).map(|e| e.1);
    // Days live longer than hours.
    let first_day = first(catalog, "request_days", "'first'", "day").await?.first().map(|f| f.1);
    Ok(at("a").zip(at("b")).map(|(a, b)| Interval::new(first_day.unwrap_or(a).min(a), b + HOUR_US)))
}

async fn hours(
    catalog: &Catalog,
    table: &str,
    name: &str,
    from_us: i64,
) -> Result<BTreeMap<String, BTreeSet<i64>>, PipelineError> {
    let mut out: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    if exists(catalog, table).await? {
        let sql = format!(
            "SELECT DISTINCT {name} AS name, hour FROM {table} WHERE hour >= {}",
            time_literal(from_us)
        );
        for (name, at) in pairs(catalog, table, &sql).await? {
            out.entry(name).or_default().insert(at);
        }
    }
    Ok(out)
}

// Hours without a request in a service that has some nearly always.
async fn gaps(catalog: &Catalog, span: Interval) -> Result<Vec<Interval>, PipelineError> {
    let from = span.from_us.max(span.to_us - GAP_DAYS * DAY_US);
    let seen = hours(catalog, "request_hours", "'all'", from).await?.remove("all").unwrap_or_default();
    let mut out = Vec::new();
    let mut last: Option<i64> = None;
    for at in &seen {
        if let Some(before) = last
            && at - before > HOUR_US
            && steady(&seen, before)
        {
            out.push(Interval::new(before + HOUR_US, *at));
        }
        last = Some(*at);
    }
    Ok(out)
}

// Whether nearly all hours of the week up to an hour are there, as far as the data goes back.
#[expect(clippy::cast_precision_loss, reason = "hours of a week")]
fn steady(seen: &BTreeSet<i64>, at: i64) -> bool {
    let from = (at - 7 * DAY_US).max(seen.first().copied().unwrap_or(at));
    let whole = (at - from) / HOUR_US + 1;
    let there = seen.range(from..=at).count();
    whole >= 24 && there as f64 >= STEADY_SHARE * whole as f64
}

// Defences that decided in nearly every hour and then in none of a day of traffic.
async fn silent(catalog: &Catalog, span: Interval) -> Result<Vec<(String, i64)>, PipelineError> {
    let from = span.from_us.max(span.to_us - GAP_DAYS * DAY_US);
    let traffic = hours(catalog, "request_hours", "'all'", from).await?.remove("all").unwrap_or_default();
    let mut out = Vec::new();
    for (defence, seen) in hours(catalog, "decision_hours", "coalesce(defence, '(none)')", from).await? {
        let mut ends: Vec<i64> = seen.iter().copied().collect();
        ends.push(span.to_us);
        for pair in ends.windows(2) {
            let quiet = traffic.range(pair[0] + HOUR_US..pair[1]).count();
            if quiet >= 24 && steady(&seen, pair[0]) {
                out.push((defence.clone(), pair[0] + HOUR_US));
            }
        }
    }
    Ok(out)
}

// The metrics that a change concerns, through whatever they are made of.
fn touched(all: &BTreeMap<String, Metric>, concern: Concern) -> Vec<String> {
    all.values().filter(|m| touches(all, m, concern)).map(|m| m.name.clone()).collect()
}

fn touches(all: &BTreeMap<String, Metric>, m: &Metric, concern: Concern) -> bool {
    let from = m.from.as_deref().unwrap_or_default();
    let own = match concern {
        Concern::Decisions => {
            m.needs.contains(&Need::Decisions) || from == "decision_hours" || from == "rule_outcomes"
        }
        Concern::Routes => m.kind == MetricType::Top || m.dimensions.iter().any(|d| d == "route"),
        Concern::Everything => m.stream == "requests",
        Concern::Labels => from.starts_with("dos_"),
    };
    own || m.parts(all).iter().any(|p| all.get(p).is_some_and(|p| touches(all, p, concern)))
}
