//! Outcomes of rules: what each rule of each defence met on a day, and how much of it was an attack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Interval, Model, NativeModel, NativeOutput, PipelineError, fingerprint, time_literal,
    utc_microseconds,
};

use crate::columns::{Columns, spec};
use crate::outcome::{Attacked, Tally, recall};
use crate::series::{between_sql, quoted_list, words};

const OUTCOMES: &str = "rule_outcomes";
const OVERLAPS: &str = "rule_overlaps";
const HITS: &str = "rule_clients";
const SEEN: &str = "seen_clients";
const CONTACTS: &str = "contact_hours";
const HOUR_US: i64 = DAY_US / 24;
/// What a day's clients do until the next morning is part of the answer.
const OVERLAP_DAYS: i64 = 1;
/// Hits of a stranger in an hour that nobody makes by hand.
const KEPT_ON: i64 = 10;
/// Accounts on one device from which on watching no longer speaks for it.
const SHARED: i64 = 3;
/// Share of a rule's hits above which a route is one of its own.
const OWN_ROUTE: f64 = 0.01;

/// Native model of `rule_outcomes`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuleOutcomes;

/// What names a row.
type Name = [String; 5];

#[derive(Clone, Debug, Default)]
struct Outcome {
    tally: Tally,
    routes: BTreeMap<String, f64>,
    stopped: f64,
    clients: f64,
    good_stopped: f64,
    good_clients: f64,
    bad_passed: f64,
    bad_alone: f64,
    attacked: Attacked,
}

/// A stretch in which something was unusual on some routes.
struct Surge {
    range: Interval,
    routes: Vec<String>,
    attack: bool,
    /// Many members who want the same: who came with them is one of them.
    crowd: bool,
    excess: [f64; 3],
}

impl Surge {
    fn touches(&self, routes: &BTreeSet<&str>) -> bool {
        self.routes.iter().any(|r| r == "(all)" || routes.contains(r.as_str()))
    }

    // Whether hits of a client, from its first to its last in the hour, fall into the surge.
    fn sql(&self) -> String {
        let here = if self.routes.iter().any(|r| r == "(all)") {
            "true".to_owned()
        } else {
            format!("route IN ({})", quoted_list(&self.routes))
        };
        format!(
            "({here} AND first_at < {} AND last_at >= {})",
            time_literal(self.range.to_us),
            time_literal(self.range.from_us)
        )
    }
}

fn any_of(surges: &[Surge], kind: impl Fn(&Surge) -> bool) -> String {
    let all: Vec<String> = surges.iter().filter(|s| kind(s)).map(Surge::sql).collect();
    if all.is_empty() { "false".to_owned() } else { all.join(" OR ") }
}

async fn surges(catalog: &Catalog, day: Interval) -> Result<Vec<Surge>, PipelineError> {
    if catalog.lake().existing("dos_incidents").await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT start, \"end\", routes, kind, excess_requests, excess_low, excess_high FROM dos_incidents WHERE start < {} AND \"end\" > {} AND kind <> 'unknown' ORDER BY start, incident_id",
        time_literal(day.to_us),
        time_literal(day.from_us)
    );
    let mut out = Vec::new();
    for batch in catalog.query(&["dos_incidents"], &sql).await? {
        let time = |c: usize, r: usize| batch.column(c).as_primitive::<TimestampMicrosecondType>().value(r);
        let (routes, kinds) = (words(&batch, 2), words(&batch, 3));
        for r in 0..batch.num_rows() {
            out.push(Surge {
                range: Interval::new(time(0, r), time(1, r)),
                routes: routes[r].split(' ').map(str::to_owned).collect(),
                attack: kinds[r] == "attack",
                crowd: matches!(kinds[r].as_str(), "crowd" | "retry_storm" | "relogin" | "deploy"),
                excess: [4, 5, 6].map(|c| number(&batch, c, r)),
            });
        }
    }
    Ok(out)
}

fn number(batch: &RecordBatch, column: usize, row: usize) -> f64 {
    let c = batch.column(column).as_primitive::<Float64Type>();
    if c.is_valid(row) { c.value(row) } else { 0.0 }
}

// Days on which a rule met anybody whose traces still live.
async fn days(catalog: &Catalog, wide: Interval) -> Result<Vec<i64>, PipelineError> {
    if catalog.lake().existing(HITS).await?.is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT DISTINCT date_bin(INTERVAL '1 day', hour) AS day FROM {HITS} WHERE {} ORDER BY 1",
        between_sql("hour", wide)
    );
    let mut out = Vec::new();
    for batch in catalog.query(&[HITS], &sql).await? {
        // The engine bins into nanoseconds.
        let day = cast(batch.column(0), &utc_microseconds()).map_err(failed)?;
        out.extend(day.as_primitive::<TimestampMicrosecondType>().iter().flatten());
    }
    Ok(out)
}

// Whether any client of the week before is known: without, nobody is a stranger.
async fn told(catalog: &Catalog, day: Interval) -> Result<bool, PipelineError> {
    if catalog.lake().existing(SEEN).await?.is_none() {
        return Ok(false);
    }
    let before = Interval::new(day.from_us - 8 * DAY_US, day.from_us - DAY_US);
    let sql = format!("SELECT 1 FROM {SEEN} WHERE {} LIMIT 1", between_sql("hour", before));
    Ok(catalog.query(&[SEEN], &sql).await?.iter().any(|b| b.num_rows() > 0))
}

// One row per rule, mode, route and class of client: hits, squared hits per client, stopped, clients,
// clients that no other rule met, hits that went through. Small sides stand on the left; markers of
// their own say whether a join found anything.
fn classes_sql(day: Interval, surges: &[Surge], told: bool, contacts: bool) -> String {
    // Who calls within a day because he cannot get in or play.
    let callers = if contacts {
        format!(
            "SELECT DISTINCT account AS caller FROM {CONTACTS} WHERE {} AND topic IN ('cannot_sign_in', 'cannot_play')",
            between_sql("hour", Interval::new(day.from_us, day.to_us + DAY_US))
        )
    } else {
        "SELECT CAST(0 AS BIGINT) AS caller WHERE false".to_owned()
    };
    let (hits, seen) = (between_sql("hour", day), time_literal(day.from_us - 8 * DAY_US));
    let next = Interval::new(day.from_us, day.to_us + HOUR_US);
    format!(
        "WITH hits AS (
           SELECT *, defence || '/' || rule AS one FROM {HITS} WHERE {hits}
         ), mine AS (
           SELECT * FROM {SEEN} WHERE hour >= {seen} AND hour < {until} AND client IN (SELECT client FROM {HITS} WHERE {hits})
         ), earlier AS (
           SELECT client AS k, asn AS n, max(licences) AS k_licences, true AS is_known FROM mine WHERE hour < {yesterday} GROUP BY 1, 2
         ), played AS (
           SELECT DISTINCT client AS p, hour - before AS at, true AS has_played
           FROM mine CROSS JOIN (VALUES (INTERVAL '0 hours'), (INTERVAL '1 hours')) AS hours (before)
           WHERE {next} AND licences > 0
         ), shared AS (
           SELECT s, true AS is_shared FROM (
             SELECT client AS s, account_low AS a FROM mine WHERE {next} AND account_low IS NOT NULL
             UNION SELECT client AS s, account_high AS a FROM mine WHERE {next} AND account_high IS NOT NULL
           ) GROUP BY s HAVING count(*) >= {SHARED}
         ), called AS (
           SELECT DISTINCT m.client AS c_client, true AS has_called
           FROM ({callers}) k JOIN mine m ON m.account_low = k.caller WHERE m.account_low = m.account_high AND {next}
         ), marked AS (
           SELECT h3.*, c.has_called FROM called c RIGHT JOIN (
           SELECT h2.*, s.is_shared FROM shared s RIGHT JOIN (
             SELECT h1.*, p.has_played FROM played p RIGHT JOIN (
               SELECT h.*, e.is_known, e.k_licences FROM earlier e RIGHT JOIN hits h ON e.k = h.client AND e.n = h.asn
             ) h1 ON p.p = h1.client AND p.at = h1.hour
           ) h2 ON s.s = h2.client
           ) h3 ON c.c_client = h3.client
         ), judged AS (
           SELECT *, CASE
             WHEN is_shared IS NULL AND (has_played IS NOT NULL OR coalesce(k_licences, 0) > 0) THEN 'watched'
             WHEN is_shared IS NULL AND is_known IS NOT NULL AND stopped > 0 AND has_called IS NOT NULL THEN 'called'
             WHEN {told} AND is_known IS NULL AND ({attack}) THEN 'attack'
             WHEN challenges_failed > 0 AND challenges_passed = 0 THEN 'failed'
             WHEN {told} AND is_known IS NULL AND has_played IS NULL AND hits >= {KEPT_ON} THEN 'kept_on'
             WHEN is_known IS NOT NULL AND ({crowd}) THEN 'crowd'
             ELSE 'unclear' END AS class
           FROM marked
         ), per_client AS (
           SELECT defence, rule, rule_version, action, mode, route, class, client, one,
             CAST(sum(hits) AS DOUBLE) AS n, CAST(sum(stopped) AS DOUBLE) AS out
           FROM judged GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
         ), beside AS (
           SELECT *, min(one) OVER (PARTITION BY client) = max(one) OVER (PARTITION BY client) AS alone FROM per_client
         )
         SELECT defence, rule, rule_version, action, mode, route, class, sum(n) AS n, sum(n * n) AS n2, sum(out) AS stopped,
           CAST(count(DISTINCT client) AS DOUBLE) AS clients, coalesce(sum(n) FILTER (WHERE alone), 0.0) AS n_alone
         FROM beside GROUP BY 1, 2, 3, 4, 5, 6, 7",
        until = time_literal(next.to_us),
        yesterday = time_literal(day.from_us - DAY_US),
        next = between_sql("hour", next),
        attack = any_of(surges, |s| s.attack),
        crowd = any_of(surges, |s| s.crowd),
    )
}

async fn outcomes(catalog: &Catalog, day: Interval) -> Result<BTreeMap<Name, Outcome>, PipelineError> {
    let surges = surges(catalog, day).await?;
    let contacts = catalog.lake().existing(CONTACTS).await?.is_some();
    let sql = classes_sql(day, &surges, told(catalog, day).await?, contacts);
    let mut out: BTreeMap<Name, Outcome> = BTreeMap::new();
    // Attacks outside any incident, by route.
    let mut beside: BTreeMap<String, f64> = BTreeMap::new();
    let tables: &[&str] = if contacts { &[HITS, SEEN, CONTACTS] } else { &[HITS, SEEN] };
    for batch in catalog.query(tables, &sql).await? {
        let text: Vec<Vec<String>> = (0..7).map(|c| words(&batch, c)).collect();
        let cell = |c: usize, r: usize| text[c].get(r).cloned().unwrap_or_default();
        for r in 0..batch.num_rows() {
            let name: Name = std::array::from_fn(|c| cell(c, r));
            let (route, class) = (cell(5, r), cell(6, r));
            let [n, squared, stopped, clients, alone] = [7, 8, 9, 10, 11].map(|c| number(&batch, c, r));
            let shadow = name[4] == "shadow";
            let o = out.entry(name).or_default();
            o.tally.hits += n;
            o.tally.hits_squared += squared;
            o.stopped += stopped;
            o.clients += clients;
            *o.routes.entry(route.clone()).or_default() += n;
            match class.as_str() {
                "watched" | "called" => o.tally.good_watched += n,
                "crowd" => o.tally.good_crowd += n,
                "attack" => o.tally.bad_attack += n,
                "failed" => o.tally.bad_failed += n,
                "kept_on" => o.tally.bad_kept_on += n,
                _ => {}
            }
            match class.as_str() {
                "watched" | "called" | "crowd" => {
                    o.good_stopped += stopped;
                    o.good_clients += clients;
                }
                "attack" | "failed" | "kept_on" => {
                    o.bad_alone += alone;
                    o.bad_passed += n - stopped;
                    if class != "attack" && !shadow {
                        *beside.entry(route.clone()).or_default() += n;
                    }
                }
                _ => {}
            }
        }
    }
    let strangers = strangers(catalog, day).await?;
    for o in out.values_mut() {
        o.attacked = attacked(o, &surges, &beside, &strangers);
    }
    Ok(out)
}

// Requests of strangers by route: no more than these can have been an attack by strangers.
async fn strangers(catalog: &Catalog, day: Interval) -> Result<BTreeMap<String, f64>, PipelineError> {
    const TABLE: &str = "stranger_minutes";
    if catalog.lake().existing(TABLE).await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT value, CAST(sum(strangers) AS DOUBLE) AS n FROM {TABLE} WHERE {} AND dimension = 'route' AND strangers IS NOT NULL GROUP BY 1",
        between_sql("minute", day)
    );
    let mut out = BTreeMap::new();
    for batch in catalog.query(&[TABLE], &sql).await? {
        let routes = words(&batch, 0);
        out.extend(routes.into_iter().enumerate().map(|(r, name)| (name, number(&batch, 1, r))));
    }
    Ok(out)
}

fn attacked(
    o: &Outcome,
    surges: &[Surge],
    beside: &BTreeMap<String, f64>,
    strangers: &BTreeMap<String, f64>,
) -> Attacked {
    let own: BTreeSet<&str> =
        o.routes.iter().filter(|(_, n)| **n >= OWN_ROUTE * o.tally.hits).map(|(r, _)| r.as_str()).collect();
    let on_routes = |all: &BTreeMap<String, f64>| -> f64 { own.iter().filter_map(|r| all.get(*r)).sum() };
    let incidents = |k: usize| -> f64 {
        surges.iter().filter(|s| s.attack && s.touches(&own)).map(|s| s.excess[k]).sum()
    };
    let other = on_routes(beside);
    let high = (incidents(2) + other).max(on_routes(strangers));
    Attacked { value: incidents(0) + other, low: incidents(1) + other, high }
}

// Pairs of rules that met the same clients.
async fn overlaps(catalog: &Catalog, day: Interval, now_us: i64) -> Result<Vec<RecordBatch>, PipelineError> {
    let sql = format!(
        "WITH met AS (SELECT DISTINCT client, defence || '/' || rule AS one FROM {HITS} WHERE {}),
           twice AS (SELECT client FROM met GROUP BY 1 HAVING count(*) > 1),
           some AS (SELECT * FROM met WHERE client IN (SELECT client FROM twice))
         SELECT a.one AS rule, b.one AS other, CAST(count(*) AS BIGINT) AS clients
         FROM some a JOIN some b ON a.client = b.client WHERE a.one < b.one GROUP BY 1, 2 ORDER BY 1, 2",
        between_sql("hour", day)
    );
    let mut pairs: Vec<(String, String, i64)> = Vec::new();
    for batch in catalog.query(&[HITS], &sql).await? {
        let n = batch.column(2).as_primitive::<Int64Type>();
        let (one, other) = (words(&batch, 0), words(&batch, 1));
        for (r, (a, b)) in one.into_iter().zip(other).enumerate() {
            pairs.push((a, b, n.value(r)));
        }
    }
    let c = Columns { rows: pairs.iter().collect() };
    let columns = vec![
        c.time(|_| day.from_us),
        c.text(|r| r.0.clone()),
        c.text(|r| r.1.clone()),
        c.int(|r| Some(r.2)),
        c.time(|_| now_us),
    ];
    Ok(vec![RecordBatch::try_new(Arc::clone(&overlap_table().schema), columns).map_err(failed)?])
}

fn failed(e: arrow::error::ArrowError) -> PipelineError {
    PipelineError::Native { model: OUTCOMES.to_owned(), cause: e.to_string() }
}

fn overlap_table() -> TableSpec {
    let (text, time) = (DataType::Utf8, utc_microseconds());
    let columns = [
        ("day", time.clone()),
        ("rule", text.clone()),
        ("other_rule", text),
        ("clients", DataType::Int64),
        ("computed_at", time),
    ];
    spec(OVERLAPS, &columns)
}

fn table() -> TableSpec {
    let (text, float) = (DataType::Utf8, DataType::Float64);
    let mut columns: Vec<(&str, DataType)> = vec![("day", utc_microseconds())];
    columns.extend(NAMES.map(|n| (n, text.clone())));
    columns.push(("routes", text.clone()));
    columns.extend(NUMBERS.map(|n| (n, float.clone())));
    columns.extend(["basis", "reason", "maturity"].map(|n| (n, text.clone())));
    columns.push(("computed_at", utc_microseconds()));
    spec(OUTCOMES, &columns)
}

const NAMES: [&str; 5] = ["defence", "rule", "rule_version", "action", "mode"];
const NUMBERS: [&str; 23] = [
    "hits",
    "hits_squared",
    "stopped",
    "clients",
    "good_watched",
    "good_crowd",
    "bad_attack",
    "bad_failed",
    "bad_kept_on",
    "unclear",
    "good_stopped",
    "good_clients",
    "bad_passed",
    "bad_alone",
    "attack_requests",
    "attack_requests_low",
    "attack_requests_high",
    "precision",
    "precision_low",
    "precision_high",
    "recall",
    "recall_low",
    "recall_high",
];

fn numbers(o: &Outcome) -> [Option<f64>; 23] {
    let (t, a) = (&o.tally, &o.attacked);
    let precision = t.precision().ok();
    let recall = recall(t, a).ok();
    [
        Some(t.hits),
        Some(t.hits_squared),
        Some(o.stopped),
        Some(o.clients),
        Some(t.good_watched),
        Some(t.good_crowd),
        Some(t.bad_attack),
        Some(t.bad_failed),
        Some(t.bad_kept_on),
        Some(t.unclear()),
        Some(o.good_stopped),
        Some(o.good_clients),
        Some(o.bad_passed),
        Some(o.bad_alone),
        Some(a.value),
        Some(a.low),
        Some(a.high),
        precision.map(|e| e.value),
        precision.map(|e| e.low),
        precision.map(|e| e.high),
        recall.map(|e| e.value),
        recall.map(|e| e.low),
        recall.map(|e| e.high),
    ]
}

fn rows(day: i64, all: &BTreeMap<Name, Outcome>, now_us: i64) -> Result<RecordBatch, PipelineError> {
    let pairs: Vec<(&Name, &Outcome)> = all.iter().collect();
    let c = Columns { rows: pairs.iter().collect() };
    let mut columns = vec![c.time(|_| day)];
    columns.extend((0..NAMES.len()).map(|n| c.text(move |r| r.0[n].clone())));
    columns.push(c.text(|r| r.1.routes.keys().cloned().collect::<Vec<_>>().join(" ")));
    columns.extend((0..NUMBERS.len()).map(|n| c.float(move |r| numbers(r.1)[n])));
    columns.push(c.text(|r| r.1.tally.basis().to_owned()));
    columns.push(c.optional(|r| {
        let t = &r.1.tally;
        t.precision().err().or_else(|| recall(t, &r.1.attacked).err()).map(str::to_owned)
    }));
    let settled = day + (1 + OVERLAP_DAYS) * DAY_US <= now_us;
    columns.push(c.text(|_| if settled { "final" } else { "provisional" }.to_owned()));
    columns.push(c.time(|_| now_us));
    RecordBatch::try_new(Arc::clone(&table().schema), columns).map_err(failed)
}

#[async_trait]
impl NativeModel for RuleOutcomes {
    fn model(&self) -> Model {
        Model {
            keys: std::iter::once("day").chain(NAMES).map(str::to_owned).collect(),
            inputs: [HITS, SEEN, "dos_incidents", "stranger_minutes", CONTACTS].map(str::to_owned).to_vec(),
            ..Model::native(
                OUTCOMES,
                "What each rule met on a day: hits, right and wrong by what is known, precision and recall with intervals.",
                fingerprint(["rules-4", &format!("{KEPT_ON} {SHARED} {OWN_ROUTE}")]),
                "day",
            )
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        vec![table(), overlap_table()]
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        let wide = Interval::new(range.from_us - OVERLAP_DAYS * DAY_US, range.to_us);
        let (mut batches, mut pairs) = (Vec::new(), Vec::new());
        let stored = catalog.lake().existing(OUTCOMES).await?.is_some();
        let days = days(catalog, wide).await?;
        for at in &days {
            let day = Interval::new(*at, at + DAY_US);
            batches.push(rows(*at, &outcomes(catalog, day).await?, now_us)?);
            pairs.extend(overlaps(catalog, day, now_us).await?);
        }
        // No rule met anybody, or its clients are forgotten by now: what was learned stays.
        if stored {
            let met: Vec<String> = days.iter().map(|d| time_literal(*d)).collect();
            let other =
                if met.is_empty() { String::new() } else { format!(" AND day NOT IN ({})", met.join(", ")) };
            for (name, to) in [(OUTCOMES, &mut batches), (OVERLAPS, &mut pairs)] {
                let sql = format!("SELECT * FROM {name} WHERE {}{other}", between_sql("day", wide));
                to.extend(catalog.query(&[name], &sql).await?);
            }
        }
        Ok(NativeOutput {
            range: Some(wide),
            tables: BTreeMap::from([(OUTCOMES.to_owned(), batches), (OVERLAPS.to_owned(), pairs)]),
        })
    }
}
