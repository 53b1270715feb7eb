//! Incidents: surges of the minute rollups, with what is known about each.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use async_trait::async_trait;
use fishweir_detect::{DetectorConfig, Point, ScanConfig, Surge, SurgeDetector};
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Grain, Interval, MINUTE_US, Model, NativeModel, NativeOutput, PipelineError, fingerprint,
};

use crate::candidates::{Candidate, Measured, candidates};
use crate::classify::{Evidence, SurgeKind, attack_probability, kind};
use crate::harm::{self, Harm, Harmed};
use crate::homes;
use crate::notes::{self, Note};
use crate::patterns::{self, Pattern, patterns, source_tier};
use crate::raw::{self, Driver, Look};
use crate::series::{self, Minutes, between_sql, quoted_list};
use crate::strangers::{self, Kind, Mark, Strangers};
use crate::write;

/// Native model of `dos_incidents`, `dos_incident_minutes` and `dos_incident_drivers`.
#[derive(Clone, Debug)]
pub struct DosIncidents {
    config: DetectorConfig,
    scan: ScanConfig,
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
    pub(crate) harm: Harm,
    pub(crate) peak_z: f64,
    pub(crate) history_weeks: f64,
    pub(crate) clients: Option<(f64, f64, f64)>,
    pub(crate) first_stopped_us: Option<i64>,
    pub(crate) mostly_stopped_us: Option<i64>,
    pub(crate) kind: SurgeKind,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) source_tier: Option<&'static str>,
    pub(crate) found_by: String,
    pub(crate) look: Option<Look>,
    pub(crate) evidence: Option<Evidence>,
    pub(crate) p_attack: Option<f64>,
}

impl Incident {
    pub(crate) fn drivers(&self) -> &[Driver] {
        self.look.as_ref().map_or(&[], |l| &l.drivers)
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
const MITIGATED_SHARE: f64 = 0.5;
const OBJECTIVE_ERROR_SHARE: f64 = 0.05;
/// Share of an excess by which its expectation may be wrong (median 1 to 9 % on simulated attacks).
const MODEL_ERROR: f64 = 0.1;
/// Share of an excess that may hide among members beside it: thin floods were measured up to a quarter low.
const HIDDEN_SHARE: f64 = 0.35;
const EFFECTIVE_MINUTES: f64 = 10.0;

impl DosIncidents {
    /// Returns the model with the given settings of its two detectors.
    #[must_use]
    pub fn new(config: DetectorConfig, scan: ScanConfig) -> Self {
        Self { config, scan }
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
        let minutes = series::load(catalog, span, focus, self.config.excess_min).await?;
        let surges = minutes.as_ref().map(|m| self.surges(m, catalog.threads())).unwrap_or_default();
        let strangers = strangers::load(catalog, Kind::New, span, focus, &self.scan).await?;
        let young = strangers::young(catalog, focus).await?;
        let foreign = match young {
            Some(days) => strangers::load(catalog, Kind::Foreign, span, days, &self.scan).await?,
            None => None,
        };
        let around = Around {
            span,
            decided_us: first_decision(catalog).await?,
            notes: notes::load(catalog, Interval::new(focus.from_us - DAY_US, span.to_us)).await?,
            harmed: harm::load(catalog, span).await?,
        };
        let of = |kind, told: Option<&Strangers>| {
            let found = candidates(minutes.as_ref(), surges.clone(), told);
            found.into_iter().map(move |c| (kind, c))
        };
        let mut out: Vec<Incident> = Vec::new();
        let early = foreign.iter().flat_map(|told| of(Kind::Foreign, Some(told)));
        for (kind, c) in early.chain(of(Kind::New, strangers.as_ref())) {
            let start = around.at(c.start);
            let first_days = foreign.is_some() && young.is_some_and(|days| days.contains(start));
            if focus.contains(start) && first_days == (kind == Kind::Foreign) {
                let mut one = self.describe(catalog, &around, kind, &c).await?;
                while out.iter().any(|o| o.id == one.id) {
                    one.id.push_str("-b");
                }
                out.push(one);
            }
        }
        Ok(out)
    }

    fn surges(&self, minutes: &Minutes, threads: usize) -> Vec<Surge> {
        let mut detector = SurgeDetector::new(self.config.clone(), minutes.counts.len());
        let last = minutes.counts.first().and_then(|c| c.iter().rposition(|n| *n > 0.0)).unwrap_or(0);
        let counts: Vec<&[f64]> = minutes.counts.iter().map(|c| &c[..c.len().min(last + 1)]).collect();
        detector.feed(&counts, threads);
        detector.finish()
    }

    async fn describe(
        &self,
        catalog: &Catalog,
        around: &Around,
        strange: Kind,
        c: &Candidate,
    ) -> Result<Incident, PipelineError> {
        let range = Interval::new(around.at(c.start), around.at(c.end + 1));
        let peak =
            c.points.values().max_by(|a, b| (a.observed - a.expected).total_cmp(&(b.observed - b.expected)));
        let peak_us = peak.map_or(range.from_us, |p| around.at(p.minute));
        let told = c.stranger_share.is_some();
        let judged = c.judged_by.map_or(range, |(a, b)| Interval::new(around.at(a), around.at(b + 1)));
        let burst = c.excess.is_some();
        let mine = c.measured_on.as_ref().map(|m| m.condition.as_str());
        let apart = c.measured_on.as_ref().is_some_and(Measured::is_part);
        let scope = raw::Scope { told, burst, mine, apart, kind: strange };
        let look = raw::look(catalog, judged, range.from_us, peak_us, scope).await?;
        let noticed = Interval::new(around.at(c.noticed), around.at(c.noticed + 1));
        let detected = raw::noticed_at(catalog, noticed, strange, &c.noticed_by).await?;
        let routes = look.as_ref().map_or_else(|| c.routes.clone(), |l| routes_of(l, c));
        let around_it = Interval::new(range.from_us - 60 * MINUTE_US, range.to_us + harm::AFTER_US);
        let acts = acts(catalog, around_it, &routes).await?;
        let calm = Calm::of(&acts, range.from_us - 5 * MINUTE_US);
        let mut rows = Vec::with_capacity(c.points.len());
        for point in c.points.values() {
            let minute_us = around.at(point.minute);
            let acts = acts.get(&minute_us).copied().unwrap_or_default();
            let excess = point.excess();
            let stopped = (acts.stopped() - calm.stopped).clamp(0.0, excess);
            rows.push(IncidentMinute { minute_us, point: *point, acts, stopped });
        }
        let excess = widened(c.excess.unwrap_or_else(|| excess(&rows)));
        let stopped: f64 = rows.iter().map(|r| r.stopped).sum();
        let decided = around.decided_us.is_some_and(|d| d < range.to_us);
        let any = acts.range(..range.to_us).any(|(_, a)| a.stopped() > 0.0);
        let recovery_s = harm::recovery_s(&acts, range, calm.error_share);
        let stopped_share = (any && excess.0 > 0.0).then(|| (stopped / excess.0).min(1.0));
        let evidence = look
            .as_ref()
            .map(|l| evidence(l, c, excess.0, stopped_share, notes::kinds(&around.notes, range), &routes));
        let evidence = evidence.zip(look.as_ref()).map(|(e, l)| confirmed(e, l, around, c));
        let p_attack = evidence.as_ref().and_then(attack_probability);
        let reached = |share: f64| {
            let hit = rows.iter().find(|r| {
                let excess = r.point.observed - r.point.expected;
                excess > 0.0 && r.stopped > 0.0 && r.stopped >= share * excess
            });
            hit.map(|r| r.minute_us + MINUTE_US)
        };
        let down = rows.iter().filter(|r| {
            let served = (r.acts.requests - r.acts.stopped()).max(1.0);
            r.acts.errors / served >= OBJECTIVE_ERROR_SHARE && r.acts.errors >= 5.0
        });
        let extra: Vec<f64> = rows.iter().map(|r| r.point.observed - r.point.expected).collect();
        Ok(Incident {
            id: identity(range.from_us, &routes),
            range,
            peak_us,
            open: c.open,
            detected_us: detected.map_or(around.at(c.noticed + 1), |us| us.min(around.at(c.noticed + 1))),
            mitigated_us: reached(MITIGATED_SHARE),
            first_stopped_us: reached(0.0),
            mostly_stopped_us: reached(0.9),
            excess,
            stopped: decided.then_some(stopped),
            failed: rows.iter().map(|r| (r.acts.errors - calm.error_share * r.point.expected).max(0.0)).sum(),
            downtime_min: i64::try_from(down.count()).unwrap_or(i64::MAX),
            harm: Harm { recovery_s, ..around.harmed.during(range) },
            peak_z: c.peak_z,
            history_weeks: c.history_weeks,
            clients: clients(catalog, range, &routes).await?,
            minutes: rows,
            kind: evidence.as_ref().map_or(SurgeKind::Unknown, |e| kind(e, p_attack)),
            // Both are read from the strangers of the surge.
            patterns: look.as_ref().filter(|_| told).map(|l| patterns(l, &extra)).unwrap_or_default(),
            source_tier: look.as_ref().filter(|_| told).and_then(source_tier),
            found_by: c.found_by.join(" "),
            routes,
            look,
            evidence,
            p_attack,
        })
    }
}

/// What all candidates of a span have around them.
struct Around {
    span: Interval,
    decided_us: Option<i64>,
    notes: Vec<Note>,
    harmed: Harmed,
}

impl Around {
    fn at(&self, minute: usize) -> i64 {
        self.span.from_us + i64::try_from(minute).unwrap_or(0) * MINUTE_US
    }
}

/// What the defences and the service usually do, from the hour before.
struct Calm {
    stopped: f64,
    error_share: f64,
}

impl Calm {
    fn of(acts: &BTreeMap<i64, Acts>, until_us: i64) -> Self {
        let (mut minutes, mut stopped, mut requests, mut errors) = (0.0, 0.0, 0.0, 0.0);
        for (_, a) in acts.range(..until_us) {
            minutes += 1.0;
            stopped += a.stopped();
            requests += a.requests;
            errors += a.errors;
        }
        Self {
            stopped: if minutes > 0.0 { stopped / minutes } else { 0.0 },
            error_share: if requests > 0.0 { errors / requests } else { 0.0 },
        }
    }
}

// The expectation is itself wrong by some share of what came, whatever chance says; and machines that
// share addresses with members are not counted among the strangers.
fn widened((best, low, high): (f64, f64, f64)) -> (f64, f64, f64) {
    (best, low.min(best * (1.0 - MODEL_ERROR)), high.max(best * (1.0 + HIDDEN_SHARE)))
}

fn excess(rows: &[IncidentMinute]) -> (f64, f64, f64) {
    let sum: f64 = rows.iter().map(|r| r.point.excess()).sum();
    // The band of one minute is ± 3 scales; errors of neighbouring minutes move together, so
    // about ten minutes count as one independent observation.
    let spread: f64 = rows.iter().map(|r| ((r.point.band.1 - r.point.band.0) / 6.0).powi(2)).sum::<f64>();
    let half = 1.96 * (spread * EFFECTIVE_MINUTES).sqrt();
    (sum, (sum - half).max(0.0), sum + half)
}

// Routes of a candidate. WHY not always those whose own series stood out: what was measured on a program or network may
// stand out on no route, while other strangers do on theirs.
fn routes_of(look: &Look, c: &Candidate) -> Vec<String> {
    let marked = c.measured_on.as_ref().is_some_and(|m| !matches!(m.mark, Mark::Route(_)));
    let top = if marked || c.routes.is_empty() { top_routes(look) } else { Vec::new() };
    if top.is_empty() { c.routes.clone() } else { top }
}

/// Returns the routes that hold at least a tenth of the excess of a surge's strangers, the largest first.
pub(crate) fn top_routes(look: &Look) -> Vec<String> {
    let extra = |r: &raw::RouteSums| (r.mine - r.mine0 * look.scale).max(0.0);
    let sum: f64 = look.routes.iter().map(extra).sum();
    let mut routes: Vec<(&str, f64)> = look
        .routes
        .iter()
        .map(|r| (r.route.as_str(), extra(r)))
        .filter(|r| r.1 >= 0.1 * sum && r.1 > 0.0)
        .collect();
    routes.sort_by(|a, b| b.1.total_cmp(&a.1));
    routes.into_iter().map(|r| r.0.to_owned()).collect()
}

// Share of strangers in what a burst and known clients brought together on its routes. Known clients
// count only when they rose clearly above what the other routes did: days have their tides.
fn share_on_routes(look: &Look, routes: &[String]) -> f64 {
    let on = |r: &raw::RouteSums| routes.contains(&r.route);
    let sum = |f: &dyn Fn(&raw::RouteSums) -> f64, here: bool| -> f64 {
        look.routes.iter().filter(|r| on(r) == here).map(f).sum()
    };
    let (known, known0) = (|r: &raw::RouteSums| r.n - r.odd, |r: &raw::RouteSums| r.n0 - r.odd0);
    let elsewhere = sum(&known0, false) * look.scale;
    let tide = if elsewhere >= TIDE_MIN { sum(&known, false) / elsewhere } else { 1.0 };
    let usual = sum(&known0, true) * look.scale * tide;
    let rise = sum(&known, true) - usual;
    let spread = (usual * (1.0 + look.scale) + 1.0 + (ROUTE_MIX * usual).powi(2)).sqrt();
    let odd = (sum(&|r| r.odd, true) - sum(&|r| r.odd0, true) * look.scale).max(0.0);
    if rise > RISE_Z * spread && odd + rise > 0.0 { odd / (odd + rise) } else { 1.0 }
}

// Share of what strangers brought to the routes of a surge that asks for what is guarded.
fn guarded_share(look: &Look, routes: &[String]) -> Option<f64> {
    let mine = look.routes.iter().filter(|r| routes.is_empty() || routes.contains(&r.route));
    let (mut guarded, mut all) = (0.0, 0.0);
    for r in mine {
        let extra = (r.mine - r.mine0 * look.scale).max(0.0);
        all += extra;
        guarded += if patterns::is_guarded(&r.route) { extra } else { 0.0 };
    }
    (all > 0.0).then(|| guarded / all)
}

// Share of what strangers brought beyond the usual that was sent with an account; of all they brought where the hours before
// brought as much.
fn signed_in_share(look: &Look) -> Option<f64> {
    let brought = look.odd.requests - look.odd_before.requests * look.scale;
    let beyond = look.odd.signed_in? - look.odd_before.signed_in? * look.scale;
    let (signed_in, of) =
        if brought > 0.0 { (beyond, brought) } else { (look.odd.signed_in?, look.odd.requests) };
    (of > 0.0).then(|| (signed_in / of).clamp(0.0, 1.0))
}

// An hour knows only who had watched by its end. Looked at afterwards, strangers of a burst with one mark may
// have been granted a licence since: what is left of them is its share. Counts and not differences are
// compared: the strangers before it tell nothing of those in it.
fn confirmed(mut e: Evidence, look: &Look, around: &Around, c: &Candidate) -> Evidence {
    let (Some(during), Some(_), Some(share)) = (look.during, &c.measured_on, e.stranger_share) else {
        return e;
    };
    let inside = c.points.values().filter(|p| {
        let at = around.at(p.minute);
        at >= during.from_us && at < during.to_us
    });
    let claimed = inside.map(|p| p.observed).sum::<f64>();
    if claimed > 0.0 && look.odd.requests < MOSTLY_CONFIRMED * claimed {
        e.stranger_share = Some(share * look.odd.requests / claimed);
    }
    e
}

/// Share of a burst's strangers that need not be found again: counts differ at its edges.
const MOSTLY_CONFIRMED: f64 = 0.6;
/// Requests elsewhere below which nothing can be said about the tide of the day.
const TIDE_MIN: f64 = 50.0;
/// How much the mix of routes changes by itself.
const ROUTE_MIX: f64 = 0.15;
const RISE_Z: f64 = 4.0;

/// What changed during a candidate, for the heuristic.
pub(crate) fn evidence(
    look: &Look,
    c: &Candidate,
    excess: f64,
    stopped_share: Option<f64>,
    notes: Vec<String>,
    routes: &[String],
) -> Evidence {
    let share = |a: f64, b: f64| (b > 0.0).then(|| (a / b).clamp(0.0, 1.0)).filter(|s| s.is_finite());
    let [n, known, n0, known0] = look.all;
    let extra = n - n0 * look.scale;
    let client_rules = look
        .drivers
        .iter()
        .filter(|x| x.rule.predicates.iter().any(|p| p.0 >= raw::REQUEST_DIMENSIONS))
        .map(|x| x.rule.coverage)
        .sum::<f64>()
        .min(1.0);
    let by_route = |f: &dyn Fn(&raw::RouteSums) -> f64| -> f64 { look.routes.iter().map(f).sum() };
    let more = |r: &raw::RouteSums| (r.n - r.n0 * look.scale).max(0.0);
    let top = look.routes.iter().map(more).fold(0.0, f64::max);
    let sign_in = by_route(&|r| if patterns::is_sign_in(&r.route) { more(r) } else { 0.0 });
    let told = c.stranger_share.is_some();
    let [clients, clients0] = look.clients;
    Evidence {
        stranger_share: c.stranger_share.map(|s| match c.excess {
            Some(_) => s.min(share_on_routes(look, routes)),
            None => s,
        }),
        usual_stranger_share: told.then(|| share(look.odd_before.requests, n0)).flatten(),
        stranger_clients: told.then_some(look.odd.clients),
        even_clients: look.even_clients().filter(|_| told),
        busiest_share: told.then(|| share(look.odd.busiest, excess)).flatten(),
        // A burst is judged by its strangers: members are busy beside it.
        single_share: look.busiest.filter(|_| c.excess.is_none()).and_then(|b| share(b, excess)),
        excess_requests: Some(excess),
        // WHY: where nobody is ever signed in, the lack of accounts says nothing.
        anonymous_share: (known0 > 0.2 * n0 && extra > 0.0)
            .then(|| share((n - known) - (n0 - known0) * look.scale, extra))
            .flatten(),
        client_rule_coverage: (extra > 0.0).then_some(client_rules),
        stopped_share,
        client_rate_ratio: (clients > 0.0 && clients0 > 0.0 && n0 > 0.0)
            .then(|| (n / clients) / (n0 * look.scale / clients0).max(1e-9))
            .filter(|r| r.is_finite() && look.scale >= 0.2),
        top_route_share: (extra > 0.0).then(|| (top / extra).clamp(0.0, 1.0)),
        sign_in_share: (extra > 0.0).then(|| (sign_in / extra).clamp(0.0, 1.0)),
        guarded_share: told.then(|| guarded_share(look, routes)).flatten(),
        foreign_share: look.foreign_share.filter(|_| told),
        signed_in_share: told.then(|| signed_in_share(look)).flatten(),
        // Without a stranger before, the rise has no bound and says no more than that.
        whole_share: c.whole_share,
        stranger_rise: (told && look.odd_before.requests * look.scale >= 1.0)
            .then(|| look.odd.requests / (look.odd_before.requests * look.scale)),
        failed_share: (extra > 0.0)
            .then(|| (by_route(&|r| (r.failed - r.failed0 * look.scale).max(0.0)) / extra).clamp(0.0, 1.0)),
        notes,
    }
}

/// Name of an incident from its start and first route.
pub(crate) fn identity(start_us: i64, routes: &[String]) -> String {
    let t = chrono::DateTime::from_timestamp_micros(start_us).unwrap_or_default();
    let first = routes.first().map_or("all", String::as_str);
    let slug: String =
        first.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let slug = slug.split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
    let slug: String = slug.chars().take(32).collect();
    let slug = if slug.is_empty() { "root".to_owned() } else { slug };
    format!("dos-{}-{slug}", t.format("%Y%m%dT%H%M"))
}

fn of_routes(routes: &[String]) -> String {
    if routes.is_empty() {
        return "true".to_owned();
    }
    format!("route IN ({})", quoted_list(routes))
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
            grain: Grain::Minute,
            keys: vec!["incident_id".to_owned()],
            inputs: [
                "request_minutes",
                "decision_hours",
                "stranger_minutes",
                strangers::FOREIGN,
                homes::DAYS,
                "playback_minutes",
                "contact_hours",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..Model::native(
                "dos_incidents",
                "Surges of requests and bursts of strangers: attacks, crowds and what else they were.",
                fingerprint(["incidents-37", &format!("{:?} {:?}", self.config, self.scan)]),
                "start",
            )
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
        let mut wide = Interval::new(range.from_us - OVERLAP_DAYS * DAY_US, range.to_us);
        // Every further day of the first ones changes what was usual on all of them.
        if let Some(days) = strangers::young(catalog, wide).await?.filter(|d| range.from_us < d.to_us) {
            wide.from_us = wide.from_us.min(days.from_us);
        }
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
