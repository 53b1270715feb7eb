//! Attempts to sign in that are odd, and what is usual: what campaigns are made of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError, time_literal, utc_microseconds};

use crate::clusters::{Attempt, Usual};
use crate::odd::{Odd, odd};
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
    pub(crate) fn number(&mut self, text: &str) -> u32 {
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

pub(crate) fn tries(span: Interval) -> String {
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

// The odd machines as a table to be joined with.
fn table(odd: &Odd) -> Result<MemTable, DataFusionError> {
    let column = |f: fn(&(i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(odd.machines.iter().map(f)))
    };
    let columns = [("o_device", column(|m| m.0)), ("o_d", column(|m| m.1))];
    let rows = RecordBatch::try_from_iter(columns)?;
    MemTable::try_new(rows.schema(), vec![vec![rows]])
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
    let odd = odd(&context, span, span.from_us - KNOWN_DAYS * DAY_US, first_told, &mut out.tools).await?;
    usual(&odd, &mut out);
    let table = table(&odd).map_err(PipelineError::query(ODD))?;
    context.register_table(ODD, Arc::new(table)).map_err(PipelineError::query(ODD))?;
    let mut all: Vec<(Attempt, i64)> = Vec::new();
    for batch in ask(&context, &attempts_sql(span)).await? {
        rows(&batch, &mut out, &mut all)?;
    }
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

fn usual(odd: &Odd, out: &mut Loaded) {
    let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for ((day, tool), (n, odd)) in &odd.programs {
        #[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
        let (odd, ordinary) = (*odd as f64, (n - odd) as f64);
        let of = days.entry(*day).or_default();
        *of = (of.0 + odd, of.1 + ordinary);
        if ordinary > 0.0 {
            *out.usual.tools.entry(*tool).or_default() += ordinary;
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
