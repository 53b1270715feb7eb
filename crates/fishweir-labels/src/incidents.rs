//! Incidents: surges of the minute rollups, with what is known about each.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use async_trait::async_trait;
use fishweir_detect::{DetectorConfig, Point, Surge, SurgeDetector, group_surges};
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Grain, Interval, MINUTE_US, Model, NativeModel, NativeOutput, PipelineError, Recipe,
    Retention, fingerprint,
};

use crate::classify::attack_probability;
use crate::drivers::{self, Driver, Insight};
use crate::series::{self, Minutes, between_sql};
use crate::write;

/// Native model of `dos_incidents`, `dos_incident_minutes` and `dos_incident_drivers`.
#[derive(Clone, Debug)]
pub struct DosIncidents {
    config: DetectorConfig,
}

/// What the defences and the service did in one minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acts {
    pub(crate) requests: f64,
    pub(crate) blocked: f64,
    pub(crate) limited: f64,
    pub(crate) challenged: f64,
    pub(crate) challenges_passed: f64,
    pub(crate) errors: f64,
}

impl Acts {
    fn stopped(self) -> f64 {
        self.blocked + self.limited + (self.challenged - self.challenges_passed).max(0.0)
    }
}

/// One minute of an incident.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IncidentMinute {
    pub(crate) minute_us: i64,
    pub(crate) point: Point,
    pub(crate) acts: Acts,
    pub(crate) stopped: f64,
}

/// One incident, ready to be written.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) id: String,
    pub(crate) range: Interval,
    pub(crate) peak_us: i64,
    pub(crate) open: bool,
    pub(crate) routes: Vec<String>,
    pub(crate) detected_us: i64,
    pub(crate) mitigated_us: Option<i64>,
    pub(crate) minutes: Vec<IncidentMinute>,
    pub(crate) excess: (f64, f64, f64),
    /// `None` where no defence decision is recorded up to the end.
    pub(crate) stopped: Option<f64>,
    pub(crate) failed: f64,
    pub(crate) downtime_min: i64,
    pub(crate) peak_z: f64,
    pub(crate) history_weeks: f64,
    pub(crate) clients: Option<(f64, f64, f64)>,
    pub(crate) insight: Option<Insight>,
    pub(crate) p_attack: Option<f64>,
}

impl Incident {
    pub(crate) fn kind(&self) -> &'static str {
        match self.p_attack {
            None => "unknown",
            Some(p) if p >= 0.5 => "attack",
            Some(_) => "crowd",
        }
    }

    pub(crate) fn drivers(&self) -> &[Driver] {
        self.insight.as_ref().map_or(&[], |i| &i.drivers)
    }

    // How sure we are that something unusual happened at all: strength of the peak, length of
    // the history behind the expectation.
    pub(crate) fn confidence(&self) -> f64 {
        let strength = 1.0 - (-(self.peak_z - 3.0).max(0.0) / 6.0).exp();
        let history = 0.5 + 0.5 * (self.history_weeks / 1.0).min(1.0);
        (strength * history).clamp(0.0, 0.999)
    }
}

const LOOK_BACK_DAYS: i64 = 29;
const OVERLAP_DAYS: i64 = 2;
const PIECE_DAYS: i64 = 60;
const GROUP_GAP_MIN: usize = 3;
const MITIGATED_SHARE: f64 = 0.5;
const OBJECTIVE_ERROR_SHARE: f64 = 0.05;
const EFFECTIVE_MINUTES: f64 = 10.0;

impl DosIncidents {
    /// Returns the model with the given detector settings.
    #[must_use]
    pub fn new(config: DetectorConfig) -> Self {
        Self { config }
    }

    // Surges that start inside `focus`, looked for from `LOOK_BACK_DAYS` before it.
    async fn find(
        &self,
        catalog: &Catalog,
        focus: Interval,
        end_us: i64,
    ) -> Result<Vec<Incident>, PipelineError> {
        let span = Interval::new(
            focus.from_us - LOOK_BACK_DAYS * DAY_US,
            (focus.to_us + OVERLAP_DAYS * DAY_US).min(end_us),
        );
        let Some(minutes) = series::load(catalog, span, focus, self.config.excess_min).await? else {
            return Ok(Vec::new());
        };
        let decided_us = first_decision(catalog).await?;
        let mut detector = SurgeDetector::new(self.config.clone(), minutes.counts.len());
        let length = minutes.counts.first().map_or(0, Vec::len);
        let last = minutes.counts.first().and_then(|c| c.iter().rposition(|n| *n > 0.0)).unwrap_or(0);
        let mut row = vec![0.0; minutes.counts.len()];
        for t in 0..length.min(last + 1) {
            for (slot, c) in row.iter_mut().zip(&minutes.counts) {
                *slot = c.get(t).copied().unwrap_or(f64::NAN);
            }
            detector.tick(&row);
        }
        let mut out = Vec::new();
        for group in group_surges(detector.finish(), GROUP_GAP_MIN) {
            let start = group.iter().map(|s| s.start).min().unwrap_or(0);
            if focus.contains(minutes.at(start)) {
                out.push(self.describe(catalog, &minutes, &group, decided_us).await?);
            }
        }
        Ok(out)
    }

    async fn describe(
        &self,
        catalog: &Catalog,
        minutes: &Minutes,
        group: &[Surge],
        decided_us: Option<i64>,
    ) -> Result<Incident, PipelineError> {
        let start = group.iter().map(|s| s.start).min().unwrap_or(0);
        let end = group.iter().map(|s| s.end).max().unwrap_or(start);
        let range = Interval::new(minutes.at(start), minutes.at(end + 1));
        let (routes, points) = merge(minutes, group);
        let acts = acts(catalog, Interval::new(range.from_us - 60 * MINUTE_US, range.to_us), &routes).await?;
        let usual: f64 = {
            let calm: Vec<f64> =
                acts.range(..range.from_us - 5 * MINUTE_US).map(|(_, a)| a.stopped()).collect();
            #[expect(clippy::cast_precision_loss, reason = "at most 60 minutes")]
            let n = calm.len().max(1) as f64;
            calm.iter().sum::<f64>() / n
        };
        let error_share = {
            let (n, e) = acts
                .range(..range.from_us - 5 * MINUTE_US)
                .fold((0.0, 0.0), |(n, e), (_, a)| (n + a.requests, e + a.errors));
            if n > 0.0 { e / n } else { 0.0 }
        };
        let mut rows = Vec::with_capacity(points.len());
        for point in points.values() {
            let minute_us = minutes.at(point.minute);
            let acts = acts.get(&minute_us).copied().unwrap_or_default();
            let excess = (point.observed - point.expected).max(0.0);
            let stopped = (acts.stopped() - usual).clamp(0.0, excess);
            rows.push(IncidentMinute { minute_us, point: *point, acts, stopped });
        }
        let excess: f64 = rows.iter().map(|r| (r.point.observed - r.point.expected).max(0.0)).sum();
        // The band of one minute is ± 3 scales; errors of neighbouring minutes move together, so
        // about ten minutes count as one independent observation.
        let spread: f64 = rows.iter().map(|r| ((r.point.band.1 - r.point.band.0) / 6.0).powi(2)).sum::<f64>();
        let half = 1.96 * (spread * EFFECTIVE_MINUTES).sqrt();
        let stopped: f64 = rows.iter().map(|r| r.stopped).sum();
        let mitigated = rows.iter().find(|r| {
            let excess = r.point.observed - r.point.expected;
            excess > 0.0 && r.stopped >= MITIGATED_SHARE * excess
        });
        let down = rows.iter().filter(|r| {
            let served = (r.acts.requests - r.acts.stopped()).max(1.0);
            r.acts.errors / served >= OBJECTIVE_ERROR_SHARE && r.acts.errors >= 5.0
        });
        let mut insight = drivers::look(catalog, range).await?;
        if let Some(i) = &mut insight {
            let any = acts.values().any(|a| a.stopped() > 0.0);
            i.evidence.stopped_share = (any && excess > 0.0).then(|| (stopped / excess).min(1.0));
        }
        let p_attack = insight.as_ref().and_then(|i| attack_probability(&i.evidence));
        let peak = rows.iter().max_by(|a, b| {
            (a.point.observed - a.point.expected).total_cmp(&(b.point.observed - b.point.expected))
        });
        Ok(Incident {
            id: identity(range.from_us, &routes),
            range,
            peak_us: peak.map_or(range.from_us, |r| r.minute_us),
            open: group.iter().any(|s| s.open),
            detected_us: minutes.at(group.iter().map(|s| s.noticed).min().unwrap_or(start) + 1),
            mitigated_us: mitigated.map(|r| r.minute_us + MINUTE_US),
            excess: (excess, (excess - half).max(0.0), excess + half),
            stopped: decided_us.filter(|d| *d < range.to_us).map(|_| stopped),
            failed: rows.iter().map(|r| (r.acts.errors - error_share * r.point.expected).max(0.0)).sum(),
            downtime_min: i64::try_from(down.count()).unwrap_or(i64::MAX),
            peak_z: group.iter().map(|s| s.peak_z).fold(0.0, f64::max),
            history_weeks: group.iter().map(|s| s.history_weeks).fold(f64::INFINITY, f64::min),
            clients: clients(catalog, range, &routes).await?,
            minutes: rows,
            routes,
            insight,
            p_attack,
        })
    }
}

impl Minutes {
    fn at(&self, minute: usize) -> i64 {
        self.span.from_us + i64::try_from(minute).unwrap_or(0) * MINUTE_US
    }
}

fn identity(start_us: i64, routes: &[String]) -> String {
    let t = chrono::DateTime::from_timestamp_micros(start_us).unwrap_or_default();
    let first = routes.first().map_or("all", String::as_str);
    let slug: String =
        first.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let slug = slug.split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
    let slug: String = slug.chars().take(32).collect();
    let slug = if slug.is_empty() { "root".to_owned() } else { slug };
    format!("dos-{}-{slug}", t.format("%Y%m%dT%H%M"))
}

// The routes that surged, and the minutes of the whole: their sum, or the total series when it
// shows much more than they do.
fn merge(minutes: &Minutes, group: &[Surge]) -> (Vec<String>, BTreeMap<usize, Point>) {
    let excess = |s: &Surge| s.points.iter().map(|p| (p.observed - p.expected).max(0.0)).sum::<f64>();
    let named = |s: &&Surge| minutes.routes.get(s.series).is_some_and(Option::is_some);
    let whole: f64 = group.iter().filter(|s| !named(s)).map(excess).sum();
    let mut parts: Vec<&Surge> = group.iter().filter(named).collect();
    parts.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
    let sum: f64 = parts.iter().map(|s| excess(s)).sum();
    let use_total = parts.is_empty() || whole > 1.3 * sum;
    let mut routes: Vec<String> = Vec::new();
    for s in &parts {
        let name = minutes.routes.get(s.series).cloned().flatten();
        if let Some(name) = name.filter(|n| !routes.contains(n) && excess(s) >= 0.02 * sum) {
            routes.push(name);
        }
    }
    let chosen = group.iter().filter(|s| use_total != named(s));
    let mut points: BTreeMap<usize, Point> = BTreeMap::new();
    for p in chosen.flat_map(|s| &s.points) {
        points
            .entry(p.minute)
            .and_modify(|q| {
                let half = ((q.band.1 - q.band.0).powi(2) + (p.band.1 - p.band.0).powi(2)).sqrt() / 2.0;
                q.observed += p.observed;
                q.expected += p.expected;
                q.band = ((q.expected - half).max(0.0), q.expected + half);
                q.z = q.z.max(p.z);
            })
            .or_insert(*p);
    }
    if use_total {
        routes.truncate(3);
    }
    (routes, points)
}

fn of_routes(routes: &[String]) -> String {
    if routes.is_empty() {
        return "true".to_owned();
    }
    let list: Vec<String> = routes.iter().map(|r| format!("'{}'", r.replace('\'', "''"))).collect();
    format!("route IN ({})", list.join(", "))
}

async fn acts(
    catalog: &Catalog,
    span: Interval,
    routes: &[String],
) -> Result<BTreeMap<i64, Acts>, PipelineError> {
    let names = ["requests", "blocked", "limited", "challenged", "challenges_passed", "errors"];
    let sums: Vec<String> = names.iter().map(|n| format!("CAST(sum({n}) AS BIGINT) AS {n}")).collect();
    let sql = format!(
        "SELECT minute, {} FROM request_minutes WHERE {} AND {} GROUP BY 1",
        sums.join(", "),
        between_sql("minute", span),
        of_routes(routes)
    );
    let mut out = BTreeMap::new();
    for batch in catalog.query(&["request_minutes"], &sql).await? {
        let minute = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        for r in 0..batch.num_rows() {
            #[expect(clippy::cast_precision_loss, reason = "request counts")]
            let n = |c: usize| batch.column(c + 1).as_primitive::<Int64Type>().value(r) as f64;
            out.insert(
                minute.value(r),
                Acts {
                    requests: n(0),
                    blocked: n(1),
                    limited: n(2),
                    challenged: n(3),
                    challenges_passed: n(4),
                    errors: n(5),
                },
            );
        }
    }
    Ok(out)
}

// When a defence decision was recorded for the first time.
async fn first_decision(catalog: &Catalog) -> Result<Option<i64>, PipelineError> {
    let mut first = None;
    for batch in catalog.query(&["decision_hours"], "SELECT min(hour) FROM decision_hours").await? {
        let time = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        first = time.iter().flatten().next().or(first);
    }
    Ok(first)
}

async fn clients(
    catalog: &Catalog,
    span: Interval,
    routes: &[String],
) -> Result<Option<(f64, f64, f64)>, PipelineError> {
    let sql = format!(
        "SELECT hll_count(s), hll_low(s), hll_high(s) FROM (SELECT hll_merge(clients_hll) AS s FROM request_minutes WHERE {} AND {})",
        between_sql("minute", span),
        of_routes(routes)
    );
    for batch in catalog.query(&["request_minutes"], &sql).await? {
        let v: Vec<Option<f64>> = batch
            .columns()
            .iter()
            .filter_map(|c| cast(c, &DataType::Float64).ok())
            .map(|c| {
                let c = c.as_primitive::<Float64Type>();
                (!c.is_empty() && c.is_valid(0)).then(|| c.value(0))
            })
            .collect();
        if let [Some(n), Some(low), Some(high)] = v.as_slice() {
            return Ok(Some((*n, *low, *high)));
        }
    }
    Ok(None)
}

#[async_trait]
impl NativeModel for DosIncidents {
    fn model(&self) -> Model {
        Model {
            name: "dos_incidents".to_owned(),
            description: "Surges of requests, classified as attack, crowd or unknown.".to_owned(),
            version: fingerprint(["incidents-2", &format!("{:?}", self.config)]),
            grain: Grain::Minute,
            time: "start".to_owned(),
            interval: Grain::Day,
            keys: vec!["incident_id".to_owned()],
            inputs: vec!["request_minutes".to_owned(), "decision_hours".to_owned()],
            counts: None,
            retention: Retention::default(),
            recipe: Recipe::Native,
            file: "native".to_owned(),
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        write::tables()
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        // Rows behind the border may belong to an incident that began before it.
        let wide = Interval::new(range.from_us - OVERLAP_DAYS * DAY_US, range.to_us);
        let mut incidents = Vec::new();
        let mut at = wide.from_us;
        while at < wide.to_us {
            let focus = Interval::new(at, (at + PIECE_DAYS * DAY_US).min(wide.to_us));
            incidents.extend(self.find(catalog, focus, range.to_us.max(now_us)).await?);
            at = focus.to_us;
        }
        let kept = write::stored(catalog, wide).await?;
        Ok(NativeOutput { range: Some(wide), tables: write::rows(&incidents, &kept, now_us)? })
    }
}
