//! Attempts to sign in that are odd, and what is usual: what campaigns are made of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError, time_literal, utc_microseconds};

use crate::clusters::{Attempt, Usual};
use crate::series::{between_sql, words};

pub(crate) const LOGINS: &str = "account_logins";
pub(crate) const DAYS: &str = "account_days";
const ODD: &str = "odd_sources";
/// Days of use before which nobody is known, and so nobody is odd.
const HISTORY_DAYS: i64 = 2;
/// How far back a device may have been seen to be known.
const KNOWN_DAYS: i64 = 42;
/// Odd attempts a day that are ordinary anywhere.
const LEAST_ODD: f64 = 2.0;
/// Day since 1970 of an hour.
const DAY_OF: &str = "CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT)";
const TOOL: &str = "ja4 || '|' || user_agent";

/// Texts by number.
#[derive(Default)]
pub(crate) struct Names {
    all: Vec<String>,
    index: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(n) = self.index.get(text) {
            return *n;
        }
        let n = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(text.to_owned());
        self.index.insert(text.to_owned(), n);
        n
    }

    /// Returns the text of a number.
    pub(crate) fn text(&self, n: u32) -> &str {
        self.all.get(n as usize).map_or("", String::as_str)
    }

    // Numbers in the order of the texts, whatever order they came in; returns the new number of each old one.
    fn sort(&mut self) -> Vec<u32> {
        let old = std::mem::take(self);
        let mut sorted = old.all.clone();
        sorted.sort_unstable();
        sorted.iter().for_each(|t| _ = self.number(t));
        old.all.iter().map(|t| self.number(t)).collect()
    }
}

/// Odd attempts by time, the hour of each, and what is usual.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) hours: Vec<i64>,
    pub(crate) tools: Names,
    pub(crate) prefixes: Names,
    pub(crate) countries: Names,
    pub(crate) usual: Usual,
}

fn tries(span: Interval) -> String {
    format!("{} AND credential <> 'partner'", between_sql("hour", span))
}

// First day on which anybody can be odd; asked for by itself, because a cross join that spills is refused.
async fn told(context: &SessionContext, span: Interval) -> Result<Option<i64>, PipelineError> {
    let sql = format!(
        "SELECT min(CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT)) AS first_day FROM {DAYS} WHERE day >= {} - INTERVAL '1 day'",
        time_literal(span.from_us - KNOWN_DAYS * DAY_US)
    );
    let mut days = Vec::new();
    for batch in ask(context, &sql).await? {
        days.extend(batch.column(0).as_primitive::<Int64Type>().iter().flatten());
    }
    Ok(days.into_iter().min().map(|d| d + HISTORY_DAYS))
}

// Machines and days of which most attempts are from machines that nobody knows, outside the networks of the
// account, and on which hardly anybody watched afterwards. Hashes only, summed up before they are joined.
// Markers of their own say whether a join found anything.
fn odd_sql(span: Interval, first_told: i64) -> String {
    let known_from = time_literal(span.from_us - KNOWN_DAYS * DAY_US);
    format!(
        "WITH tries AS (
           SELECT account, device, asn, {DAY_OF} AS d, count(*) AS n FROM {LOGINS} WHERE {tries} GROUP BY 1, 2, 3, 4
         ), mine AS (
           SELECT account AS k_account, device AS k_device, asn AS k_asn,
             CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT) AS k_day, licences
           FROM {DAYS} WHERE day >= {known_from} AND day < {until}
         ), known AS (
           SELECT k_account, k_device, min(k_day) AS first_day, true AS is_known FROM mine GROUP BY 1, 2
         ), home AS (
           SELECT k_account AS h_account, k_asn AS h_asn, min(k_day) AS home_day, true AS is_home FROM mine GROUP BY 1, 2
         ), machine AS (
           SELECT k_device AS m_device, min(k_day) AS m_day, true AS has_watched FROM mine WHERE licences > 0 GROUP BY 1
         ), marked AS (
           SELECT t3.*, m.has_watched, m.m_day FROM machine m RIGHT JOIN (
             SELECT t2.*, h.is_home, h.home_day FROM home h RIGHT JOIN (
               SELECT t.*, k.is_known, k.first_day FROM known k RIGHT JOIN tries t ON k.k_account = t.account AND k.k_device = t.device
             ) t2 ON h.h_account = t2.account AND h.h_asn = t2.asn
           ) t3 ON m.m_device = t3.device
         ), judged AS (
           SELECT device, d, n, CASE
             WHEN is_known IS NOT NULL AND first_day < d THEN n
             WHEN is_home IS NOT NULL AND home_day < d THEN n
             WHEN has_watched IS NOT NULL AND m_day <= d + 1 THEN n
             ELSE 0 END AS ordinary
           FROM marked WHERE d >= {first_told}
         )
         SELECT device AS o_device, d AS o_d, true AS is_odd FROM judged GROUP BY 1, 2
         HAVING 2 * sum(ordinary) < sum(n)",
        tries = tries(span),
        until = time_literal(span.to_us + DAY_US),
    )
}

// Attempts per day and program, and how many of them are odd.
fn usual_sql(span: Interval, first_told: i64) -> String {
    format!(
        "SELECT d, {TOOL} AS tool, n, odd FROM (
           SELECT d, ja4, user_agent, count(*) AS n, coalesce(sum(CASE WHEN o.is_odd IS NOT NULL THEN 1 ELSE 0 END), 0) AS odd
           FROM {ODD} o RIGHT JOIN (
             SELECT device, {DAY_OF} AS d, ja4, user_agent FROM {LOGINS} WHERE {}
           ) t ON o.o_device = t.device AND o.o_d = t.d
           WHERE d >= {first_told} GROUP BY 1, 2, 3
         ) x",
        tries(span),
    )
}

fn attempts_sql(span: Interval) -> String {
    format!(
        "SELECT hour, first_at, last_at, account, identifier, device, asn, password,
           attempts, successes, unknown, challenges_failed + denied AS stopped, breached, weak, ip_prefix, country, {TOOL} AS tool
         FROM {ODD} o JOIN {LOGINS} t ON o.o_device = t.device AND o.o_d = {DAY_OF} WHERE {}",
        tries(span)
    )
}

async fn ask(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, PipelineError> {
    let frame = context.sql(sql).await.map_err(PipelineError::query(sql))?;
    frame.collect().await.map_err(PipelineError::query(sql))
}

fn failed(e: arrow::error::ArrowError) -> PipelineError {
    PipelineError::Native { model: "login_campaigns".to_owned(), cause: e.to_string() }
}

/// Returns the odd attempts of a span and what is usual in it.
///
/// # Errors
/// A table that cannot be read.
pub(crate) async fn load(catalog: &Catalog, span: Interval) -> Result<Loaded, PipelineError> {
    let mut out = Loaded::default();
    let context = catalog.session_of(&[LOGINS, DAYS]).await?;
    let Some(first_told) = told(&context, span).await? else { return Ok(out) };
    let sql = odd_sql(span, first_told);
    let odd = ask(&context, &sql).await?;
    let Some(schema) = odd.first().map(RecordBatch::schema) else { return Ok(out) };
    let table = MemTable::try_new(schema, vec![odd]).map_err(PipelineError::query(&sql))?;
    context.register_table(ODD, Arc::new(table)).map_err(PipelineError::query(&sql))?;
    let mut all: Vec<(Attempt, i64)> = Vec::new();
    for batch in ask(&context, &attempts_sql(span)).await? {
        rows(&batch, &mut out, &mut all)?;
    }
    usual(&ask(&context, &usual_sql(span, first_told)).await?, &mut out);
    in_order(&mut out, all);
    Ok(out)
}

fn rows(batch: &RecordBatch, out: &mut Loaded, all: &mut Vec<(Attempt, i64)>) -> Result<(), PipelineError> {
    let time = |c: usize| cast(batch.column(c), &utc_microseconds()).map_err(failed);
    let (hour, first, last) = (time(0)?, time(1)?, time(2)?);
    let us = |a: &arrow::array::ArrayRef, r: usize| a.as_primitive::<TimestampMicrosecondType>().value(r);
    let int = |c: usize, r: usize| {
        let c = batch.column(c).as_primitive::<Int64Type>();
        c.is_valid(r).then(|| c.value(r))
    };
    let (prefixes, countries, tools) = (words(batch, 14), words(batch, 15), words(batch, 16));
    for r in 0..batch.num_rows() {
        #[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
        let n = |c: usize| int(c, r).unwrap_or(0) as f64;
        let attempt = Attempt {
            first_us: us(&first, r),
            last_us: us(&last, r),
            account: int(3, r),
            name: int(4, r).unwrap_or(0),
            source: int(5, r).unwrap_or(0),
            prefix: out.prefixes.number(&prefixes[r]),
            asn: int(6, r).unwrap_or(-1),
            country: out.countries.number(&countries[r]),
            tool: out.tools.number(&tools[r]),
            password: int(7, r),
            attempts: n(8),
            successes: n(9),
            unknown: n(10),
            stopped: n(11),
            breached: n(12),
            weak: n(13),
        };
        all.push((attempt, us(&hour, r)));
    }
    Ok(())
}

fn usual(batches: &[RecordBatch], out: &mut Loaded) {
    let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for batch in batches {
        #[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
        let count = |c: usize, r: usize| batch.column(c).as_primitive::<Int64Type>().value(r) as f64;
        let (dates, tools) = (batch.column(0).as_primitive::<Int64Type>(), words(batch, 1));
        for (r, tool) in tools.iter().enumerate() {
            let (n, odd) = (count(2, r), count(3, r));
            let of = days.entry(dates.value(r)).or_default();
            *of = (of.0 + odd, of.1 + n - odd);
            if n > odd {
                *out.usual.tools.entry(out.tools.number(tool)).or_default() += n - odd;
            }
        }
    }
    let ordinary: f64 = days.values().map(|d| d.1).sum();
    out.usual.tools.values_mut().for_each(|n| *n /= f64::max(ordinary, 1.0));
    out.usual.odd_per_day = quiet(days.values().map(|d| d.0)).max(LEAST_ODD);
    let each = quiet(days.values().map(|d| d.0 / d.1.max(1.0)));
    let usual_day = middle(days.values().map(|d| d.1));
    // WHY: only a day with far more members than usual is told by its members; on others the few odd
    // attempts of a day say more than a share of them.
    out.usual.days =
        days.iter().filter(|(_, d)| d.1 > 2.0 * usual_day).map(|(day, d)| (*day, each * d.1)).collect();
}

// By time, and numbers by text: rows come in any order and must give the same campaigns.
fn in_order(out: &mut Loaded, mut all: Vec<(Attempt, i64)>) {
    let (tools, prefixes, countries) = (out.tools.sort(), out.prefixes.sort(), out.countries.sort());
    let new = |map: &[u32], n: u32| map.get(n as usize).copied().unwrap_or(n);
    for (a, _) in &mut all {
        (a.tool, a.prefix, a.country) =
            (new(&tools, a.tool), new(&prefixes, a.prefix), new(&countries, a.country));
    }
    out.usual.tools = out.usual.tools.iter().map(|(t, n)| (new(&tools, *t), *n)).collect();
    all.sort_by_key(|(a, hour)| {
        (a.first_us, a.name, a.source, a.prefix, a.tool, a.asn, a.country, a.password, *hour)
    });
    (out.attempts, out.hours) = all.into_iter().unzip();
}

fn at_share(values: impl Iterator<Item = f64>, part: usize) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / part).copied().unwrap_or(0.0)
}

// Campaigns may fill half of the days, so the lower quarter of them speaks for quiet ones.
fn quiet(days: impl Iterator<Item = f64>) -> f64 {
    at_share(days, 4)
}

fn middle(days: impl Iterator<Item = f64>) -> f64 {
    at_share(days, 2)
}
