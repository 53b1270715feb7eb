//! The incident tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type};
use arrow::record_batch::RecordBatch;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError, utc_microseconds};

use crate::CLASSIFIER;
use crate::classify::SurgeKind;
use crate::columns::{Columns, spec};
use crate::incidents::{Incident, IncidentMinute};
use crate::series::between_sql;

const INCIDENTS: &str = "dos_incidents";
const MINUTES: &str = "dos_incident_minutes";
const DRIVERS: &str = "dos_incident_drivers";
const PATTERNS: &str = "dos_incident_patterns";
const RULES: &str = "dos_incident_rules";
const MEMBERS: &str = "dos_incident_members";
/// Tables that only raw rows can fill.
const FROM_RAW: [&str; 4] = [DRIVERS, PATTERNS, RULES, MEMBERS];

pub(crate) fn tables() -> Vec<TableSpec> {
    let (text, float, int) = (DataType::Utf8, DataType::Float64, DataType::Int64);
    let time = utc_microseconds();
    let incidents = [
        ("start", time.clone()),
        ("incident_id", text.clone()),
        ("peak", time.clone()),
        ("end", time.clone()),
        ("open", DataType::Boolean),
        ("kind", text.clone()),
        ("p_attack", float.clone()),
        ("confidence", float.clone()),
        ("routes", text.clone()),
        ("requests", float.clone()),
        ("expected_requests", float.clone()),
        ("excess_requests", float.clone()),
        ("excess_low", float.clone()),
        ("excess_high", float.clone()),
        ("peak_requests_per_min", float.clone()),
        ("duration_s", int.clone()),
        ("detected_at", time.clone()),
        ("time_to_detect_s", int.clone()),
        ("time_to_mitigate_s", int.clone()),
        ("time_to_first_stop_s", int.clone()),
        ("time_to_mostly_stopped_s", int.clone()),
        ("stopped_requests", float.clone()),
        ("stopped_share", float.clone()),
        ("failed_requests", float.clone()),
        ("downtime_min", int.clone()),
        ("time_to_recover_s", int.clone()),
        ("playback_starts", float.clone()),
        ("playback_starts_expected", float.clone()),
        ("playback_starts_missed", float.clone()),
        ("playback_starts_missed_low", float.clone()),
        ("playback_starts_missed_high", float.clone()),
        ("playback_failures_extra", float.clone()),
        ("contacts_extra", float.clone()),
        ("contacts_extra_low", float.clone()),
        ("contacts_extra_high", float.clone()),
        ("clients", float.clone()),
        ("clients_low", float.clone()),
        ("clients_high", float.clone()),
        ("members_affected", float.clone()),
        ("members_affected_low", float.clone()),
        ("members_affected_high", float.clone()),
        ("history_weeks", float.clone()),
        ("evidence", text.clone()),
        ("source_tier", text.clone()),
        ("found_by", text.clone()),
        ("label_source", text.clone()),
        ("maturity", text.clone()),
        ("computed_at", time.clone()),
    ];
    // `start` is the start of the incident: a minute belongs to the interval its incident began in.
    let minutes = [
        ("start", time.clone()),
        ("minute", time.clone()),
        ("incident_id", text.clone()),
        ("kind", text.clone()),
        ("requests", float.clone()),
        ("expected_requests", float.clone()),
        ("band_low", float.clone()),
        ("band_high", float.clone()),
        ("excess_requests", float.clone()),
        ("blocked", float.clone()),
        ("limited", float.clone()),
        ("challenged", float.clone()),
        ("challenges_passed", float.clone()),
        ("stopped_requests", float.clone()),
        ("missed_requests", float.clone()),
        ("errors", float.clone()),
    ];
    let drivers = [
        ("start", time.clone()),
        ("incident_id", text.clone()),
        ("rank", int),
        ("rule", text.clone()),
        ("excess_requests", float.clone()),
        ("coverage", float.clone()),
        ("purity", float.clone()),
        ("normal_share", float.clone()),
    ];
    let patterns = [
        ("start", time.clone()),
        ("incident_id", text.clone()),
        ("pattern", text.clone()),
        ("strength", float.clone()),
        ("detail", text.clone()),
    ];
    let members = [
        ("start", time.clone()),
        ("incident_id", text.clone()),
        ("dimension", text.clone()),
        ("value", text.clone()),
        ("members", float.clone()),
        ("requests", float.clone()),
    ];
    let rules = [
        ("start", time),
        ("incident_id", text.clone()),
        ("defence", text.clone()),
        ("rule", text.clone()),
        ("rule_version", text.clone()),
        ("action", text.clone()),
        ("mode", text),
        ("hits", float.clone()),
        ("hits_strange", float.clone()),
        ("stopped", float.clone()),
        ("stopped_good", float.clone()),
        ("good_accounts", float),
    ];
    vec![
        spec(INCIDENTS, &incidents),
        spec(MINUTES, &minutes),
        spec(DRIVERS, &drivers),
        spec(PATTERNS, &patterns),
        spec(RULES, &rules),
        spec(MEMBERS, &members),
    ]
}

/// What an earlier run made of an incident.
#[derive(Clone, Debug, Default)]
struct Label {
    p: Option<f64>,
    kind: String,
    evidence: String,
    tier: Option<String>,
    members: [Option<f64>; 3],
}

/// What an earlier run knew from raw rows that may be gone by now.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    labels: HashMap<String, Label>,
    clients: HashMap<String, [Option<f64>; 3]>,
    from_raw: HashMap<String, Vec<RecordBatch>>,
}

pub(crate) async fn stored(catalog: &Catalog, range: Interval) -> Result<Stored, PipelineError> {
    let mut out = Stored::default();
    if catalog.lake().existing(INCIDENTS).await?.is_none() {
        return Ok(out);
    }
    let sql = format!(
        "SELECT incident_id, evidence, p_attack, members_affected, members_affected_low, members_affected_high, clients, clients_low, clients_high, kind, source_tier FROM {INCIDENTS} WHERE {}",
        between_sql("start", range)
    );
    for batch in catalog.query(&[INCIDENTS], &sql).await? {
        let text = |c: usize| cast(batch.column(c), &DataType::Utf8);
        let (Ok(id), Ok(evidence), Ok(kind), Ok(tier)) = (text(0), text(1), text(9), text(10)) else {
            continue;
        };
        let (id, evidence) = (id.as_string::<i32>(), evidence.as_string::<i32>());
        let (kind, tier) = (kind.as_string::<i32>(), tier.as_string::<i32>());
        for r in 0..batch.num_rows() {
            let f = |c: usize| {
                let a = batch.column(c).as_primitive::<Float64Type>();
                a.is_valid(r).then(|| a.value(r))
            };
            let word = |a: &StringArray| a.is_valid(r).then(|| a.value(r).to_owned());
            let label = Label {
                p: f(2),
                kind: word(kind).unwrap_or_default(),
                evidence: word(evidence).unwrap_or_default(),
                tier: word(tier),
                members: [f(3), f(4), f(5)],
            };
            out.labels.insert(id.value(r).to_owned(), label);
            out.clients.insert(id.value(r).to_owned(), [f(6), f(7), f(8)]);
        }
    }
    for name in FROM_RAW {
        if catalog.lake().existing(name).await?.is_some() {
            let sql = format!("SELECT * FROM {name} WHERE {}", between_sql("start", range));
            out.from_raw.insert(name.to_owned(), catalog.query(&[name], &sql).await?);
        }
    }
    Ok(out)
}

fn failed(e: arrow::error::ArrowError) -> PipelineError {
    PipelineError::Native { model: INCIDENTS.to_owned(), cause: e.to_string() }
}

pub(crate) fn rows(
    incidents: &[Incident],
    stored: &Stored,
    now_us: i64,
) -> Result<BTreeMap<String, Vec<RecordBatch>>, PipelineError> {
    let specs = tables();
    let mut out = BTreeMap::new();
    for spec in specs {
        let batches = match spec.name.as_str() {
            INCIDENTS => vec![incident_rows(incidents, stored, now_us, &spec)?],
            MINUTES => vec![minute_rows(incidents, stored, &spec)?],
            PATTERNS => with_kept(pattern_rows(incidents, &spec)?, incidents, stored, &spec)?,
            MEMBERS => with_kept(member_rows(incidents, &spec)?, incidents, stored, &spec)?,
            RULES => with_kept(rule_rows(incidents, &spec)?, incidents, stored, &spec)?,
            _ => with_kept(driver_rows(incidents, &spec)?, incidents, stored, &spec)?,
        };
        out.insert(spec.name, batches);
    }
    Ok(out)
}

struct Full<'a> {
    i: &'a Incident,
    p: Option<f64>,
    kind: String,
    evidence: String,
    tier: Option<String>,
    members: [Option<f64>; 3],
    clients: [Option<f64>; 3],
}

fn full<'a>(i: &'a Incident, stored: &Stored) -> Full<'a> {
    let triple = |v: Option<(f64, f64, f64)>| [v.map(|v| v.0), v.map(|v| v.1), v.map(|v| v.2)];
    let clients = match i.clients {
        Some(c) => triple(Some(c)),
        None => stored.clients.get(&i.id).copied().unwrap_or_default(),
    };
    if let Some(look) = &i.look {
        return Full {
            p: i.p_attack,
            kind: i.kind.name().to_owned(),
            evidence: serde_json::to_string(&i.evidence).unwrap_or_default(),
            tier: i.source_tier.map(str::to_owned),
            members: triple(look.affected),
            clients,
            i,
        };
    }
    // Raw rows are gone: what was learned from them stays.
    let Label { p, kind, evidence, tier, members } = stored.labels.get(&i.id).cloned().unwrap_or_default();
    let kind = if kind.is_empty() { SurgeKind::Unknown.name().to_owned() } else { kind };
    Full { i, p, kind, evidence, tier, members, clients }
}

fn incident_rows(
    incidents: &[Incident],
    stored: &Stored,
    now_us: i64,
    spec: &TableSpec,
) -> Result<RecordBatch, PipelineError> {
    let all: Vec<Full<'_>> = incidents.iter().map(|i| full(i, stored)).collect();
    let c = Columns { rows: all.iter().collect() };
    let seconds = |us: i64| us / 1_000_000;
    let sum = |i: &Incident, f: fn(&IncidentMinute) -> f64| i.minutes.iter().map(f).sum::<f64>();
    let columns = vec![
        c.time(|f| f.i.range.from_us),
        c.text(|f| f.i.id.clone()),
        c.time(|f| f.i.peak_us),
        c.time(|f| f.i.range.to_us),
        c.flag(|f| f.i.open),
        c.text(|f| f.kind.clone()),
        c.float(|f| f.p),
        c.float(|f| Some(f.i.confidence())),
        c.text(|f| if f.i.routes.is_empty() { "(all)".to_owned() } else { f.i.routes.join(" ") }),
        c.float(|f| Some(sum(f.i, |m| m.point.observed))),
        c.float(|f| Some(sum(f.i, |m| m.point.expected))),
        c.float(|f| Some(f.i.excess.0)),
        c.float(|f| Some(f.i.excess.1)),
        c.float(|f| Some(f.i.excess.2)),
        c.float(|f| f.i.minutes.iter().map(|m| m.point.observed).reduce(f64::max)),
        c.int(|f| Some(seconds(f.i.range.to_us - f.i.range.from_us))),
        c.time(|f| f.i.detected_us),
        c.int(|f| Some(seconds(f.i.detected_us - f.i.range.from_us))),
        c.int(|f| f.i.mitigated_us.map(|m| seconds(m - f.i.range.from_us))),
        c.int(|f| f.i.first_stopped_us.map(|m| seconds(m - f.i.range.from_us))),
        c.int(|f| f.i.mostly_stopped_us.map(|m| seconds(m - f.i.range.from_us))),
        c.float(|f| f.i.stopped),
        c.float(|f| f.i.stopped.filter(|_| f.i.excess.0 > 0.0).map(|s| (s / f.i.excess.0).min(1.0))),
        c.float(|f| Some(f.i.failed)),
        c.int(|f| Some(f.i.downtime_min)),
        c.int(|f| f.i.harm.recovery_s),
        c.float(|f| f.i.harm.starts.map(|a| a.seen)),
        c.float(|f| f.i.harm.starts.map(|a| a.expected)),
        c.float(|f| f.i.harm.starts.map(|a| a.missing()[0])),
        c.float(|f| f.i.harm.starts.map(|a| a.missing()[1])),
        c.float(|f| f.i.harm.starts.map(|a| a.missing()[2])),
        c.float(|f| f.i.harm.failures.map(|a| a.extra()[0])),
        c.float(|f| f.i.harm.contacts.map(|a| a.extra()[0])),
        c.float(|f| f.i.harm.contacts.map(|a| a.extra()[1])),
        c.float(|f| f.i.harm.contacts.map(|a| a.extra()[2])),
        c.float(|f| f.clients[0]),
        c.float(|f| f.clients[1]),
        c.float(|f| f.clients[2]),
        c.float(|f| f.members[0]),
        c.float(|f| f.members[1]),
        c.float(|f| f.members[2]),
        c.float(|f| Some(f.i.history_weeks)),
        c.text(|f| f.evidence.clone()),
        c.optional(|f| f.tier.clone()),
        c.text(|f| f.i.found_by.clone()),
        c.text(|_| format!("detector-4 {CLASSIFIER}")),
        c.text(|f| {
            let settled = !f.i.open && f.i.range.to_us + DAY_US <= now_us;
            if settled { "final" } else { "provisional" }.to_owned()
        }),
        c.time(|_| now_us),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).map_err(failed)
}

fn minute_rows(
    incidents: &[Incident],
    stored: &Stored,
    spec: &TableSpec,
) -> Result<RecordBatch, PipelineError> {
    struct Row<'a> {
        start_us: i64,
        id: &'a str,
        kind: String,
        m: &'a IncidentMinute,
        decided: bool,
    }
    let mut all = Vec::new();
    for i in incidents {
        let kind = full(i, stored).kind;
        let decided = i.stopped.is_some();
        all.extend(i.minutes.iter().map(|m| Row {
            start_us: i.range.from_us,
            id: &i.id,
            kind: kind.clone(),
            m,
            decided,
        }));
    }
    let c = Columns { rows: all.iter().collect() };
    let excess = |r: &Row<'_>| r.m.point.excess();
    let columns = vec![
        c.time(|r| r.start_us),
        c.time(|r| r.m.minute_us),
        c.text(|r| r.id.to_owned()),
        c.text(|r| r.kind.clone()),
        c.float(|r| Some(r.m.point.observed)),
        c.float(|r| Some(r.m.point.expected)),
        c.float(|r| Some(r.m.point.band.0)),
        c.float(|r| Some(r.m.point.band.1)),
        c.float(|r| Some(excess(r))),
        c.float(|r| r.decided.then_some(r.m.acts.blocked)),
        c.float(|r| r.decided.then_some(r.m.acts.limited)),
        c.float(|r| r.decided.then_some(r.m.acts.challenged)),
        c.float(|r| r.decided.then_some(r.m.acts.challenges_passed)),
        c.float(|r| r.decided.then_some(r.m.stopped)),
        c.float(|r| r.decided.then(|| (excess(r) - r.m.stopped).max(0.0))),
        c.float(|r| Some(r.m.acts.errors)),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).map_err(failed)
}

fn driver_rows(incidents: &[Incident], spec: &TableSpec) -> Result<RecordBatch, PipelineError> {
    let mut all = Vec::new();
    for i in incidents {
        for (rank, d) in i.drivers().iter().enumerate() {
            all.push((i, rank, d));
        }
    }
    let c = Columns { rows: all.iter().collect() };
    let columns = vec![
        c.time(|r| r.0.range.from_us),
        c.text(|r| r.0.id.clone()),
        c.int(|r| i64::try_from(r.1 + 1).ok()),
        c.text(|r| r.2.text.clone()),
        c.float(|r| Some(r.2.rule.excess)),
        c.float(|r| Some(r.2.rule.coverage)),
        c.float(|r| Some(r.2.rule.purity)),
        c.float(|r| Some(r.2.rule.normal_share)),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).map_err(failed)
}

fn pattern_rows(incidents: &[Incident], spec: &TableSpec) -> Result<RecordBatch, PipelineError> {
    let all: Vec<_> = incidents.iter().flat_map(|i| i.patterns.iter().map(move |p| (i, p))).collect();
    let c = Columns { rows: all.iter().collect() };
    let columns = vec![
        c.time(|r| r.0.range.from_us),
        c.text(|r| r.0.id.clone()),
        c.text(|r| r.1.name.to_owned()),
        c.float(|r| Some(r.1.strength)),
        c.text(|r| r.1.detail.clone()),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).map_err(failed)
}

fn rule_rows(incidents: &[Incident], spec: &TableSpec) -> Result<RecordBatch, PipelineError> {
    let rules = |i: &Incident| i.look.as_ref().map(|l| l.rules.clone()).unwrap_or_default();
    let all: Vec<_> = incidents.iter().flat_map(|i| rules(i).into_iter().map(move |r| (i, r))).collect();
    let c = Columns { rows: all.iter().collect() };
    let mut columns = vec![c.time(|r| r.0.range.from_us), c.text(|r| r.0.id.clone())];
    columns.extend((0..5).map(|n| c.text(move |r| r.1.names[n].clone())));
    columns.extend([
        c.float(|r| Some(r.1.hits)),
        c.float(|r| r.1.told.map(|t| t[0])),
        c.float(|r| Some(r.1.stopped)),
        c.float(|r| r.1.told.map(|t| t[1])),
        c.float(|r| r.1.told.map(|t| t[2])),
    ]);
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).map_err(failed)
}

fn member_rows(incidents: &[Incident], spec: &TableSpec) -> Result<RecordBatch, PipelineError> {
    let all: Vec<_> =
        incidents.iter().flat_map(|i| i.look.iter().flat_map(|l| &l.members).map(move |m| (i, m))).collect();
    let c = Columns { rows: all.iter().collect() };
    let columns = vec![
        c.time(|r| r.0.range.from_us),
        c.text(|r| r.0.id.clone()),
        c.text(|r| r.1.dimension.clone()),
        c.text(|r| r.1.value.clone()),
        c.float(|r| Some(r.1.members)),
        c.float(|r| Some(r.1.requests)),
    ];
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).map_err(failed)
}

// New rows, and those of incidents whose raw rows are gone by now.
fn with_kept(
    new: RecordBatch,
    incidents: &[Incident],
    stored: &Stored,
    spec: &TableSpec,
) -> Result<Vec<RecordBatch>, PipelineError> {
    let mut out = vec![new];
    let kept: Vec<&str> = incidents.iter().filter(|i| i.look.is_none()).map(|i| i.id.as_str()).collect();
    for batch in stored.from_raw.get(&spec.name).into_iter().flatten() {
        let Some(id) = batch.column_by_name("incident_id") else { continue };
        let id = cast(id, &DataType::Utf8).map_err(failed)?;
        let mask: BooleanArray =
            id.as_string::<i32>().iter().map(|id| Some(id.is_some_and(|id| kept.contains(&id)))).collect();
        out.push(filter_record_batch(batch, &mask).map_err(failed)?);
    }
    Ok(out)
}
