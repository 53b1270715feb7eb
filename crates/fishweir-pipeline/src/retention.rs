//! What may be deleted and why; and deleting it.

use std::collections::BTreeMap;

use fishweir_events::{DAY_US, Interval, Stream};
use fishweir_lake::{LakeError, Table};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::book::Book;
use crate::catalog::{Catalog, bound};
use crate::certificate::{self, Certificate, Certificates, RawCounts, SEAL, certificate_table};
use crate::error::PipelineError;
use crate::model::Model;
use crate::run::shown;

/// Rules of deletion.
#[derive(Clone, Copy, Debug)]
pub struct RetentionOptions {
    /// Present time.
    pub now_us: i64,
    /// Days that raw rows are kept.
    pub raw_days: u32,
}

/// One thing that may or may not go.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Verdict {
    /// Table.
    pub table: String,
    /// Interval as text.
    pub interval: String,
    /// Rows.
    pub rows: i64,
    /// `delete`, `thin` or `keep`.
    pub verdict: &'static str,
    /// Why.
    pub reason: String,
}

/// What may go.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// Lines for the reader, one per table and run of equal verdicts.
    pub verdicts: Vec<Verdict>,
    #[serde(skip)]
    raw: Vec<(Stream, Vec<Certificate>)>,
    #[serde(skip)]
    derived: Vec<(Model, Interval, bool)>,
}

/// What went.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub struct Applied {
    /// Raw rows deleted.
    pub raw_rows: i64,
    /// Rollup rows deleted.
    pub rollup_rows: i64,
    /// Rollup rows whose sketches were emptied.
    pub thinned_rows: i64,
    /// Bytes of files removed.
    pub bytes: i64,
}

/// Finishes deletions that a crash interrupted: an hour marked `deleting` is `deleted` when its
/// raw rows are gone and `sealed` when they all still live.
pub(crate) async fn recover(
    table: &mut Table,
    certificates: &mut Certificates,
    counts: &BTreeMap<Stream, RawCounts>,
    generation: i64,
    now_us: i64,
) -> Result<(), LakeError> {
    let mut fixed = Vec::new();
    for c in certificates.values().filter(|c| c.state == "deleting") {
        let stream = c.stream.parse::<Stream>().ok();
        let live = stream.and_then(|s| counts.get(&s)?.hours.get(&c.range.from_us)).copied();
        let mut c = c.clone();
        c.sealed_at_us = now_us;
        if live.unwrap_or(0) >= c.raw_rows {
            c.state = "sealed".to_owned();
        } else {
            gone(&mut c, generation);
        }
        fixed.push(c);
    }
    certificate::store(table, certificates, fixed).await
}

fn gone(c: &mut Certificate, generation: i64) {
    c.deleted_rows += c.raw_rows;
    c.raw_rows = 0;
    c.generation = generation;
    c.state = "deleted".to_owned();
}

/// Returns what may go and what may not, with reasons.
///
/// A raw hour may go when it is older than `raw_days` and its certificate covers exactly the rows
/// that live now.
///
/// # Errors
/// A lake that cannot be read.
pub async fn plan(
    catalog: &Catalog,
    models: &[Model],
    streams: &[Stream],
    options: RetentionOptions,
) -> Result<Plan, PipelineError> {
    let mut table = catalog.table(&certificate_table()).await?;
    let mut certificates = certificate::load(&table).await?;
    let mut counts = BTreeMap::new();
    for stream in streams {
        if let Some(raw) = catalog.lake().existing(stream.name()).await? {
            counts.insert(*stream, RawCounts::of(catalog, *stream, &raw).await?);
        }
    }
    let book = Book::load(catalog.lake()).await?;
    recover(&mut table, &mut certificates, &counts, book.next_number(), options.now_us).await?;
    let mut plan = Plan::default();
    let mut staying: Vec<Interval> = Vec::new();
    let oldest_kept = SEAL.floor(options.now_us - i64::from(options.raw_days) * DAY_US);
    for (stream, live) in &counts {
        let mut going = Vec::new();
        for (hour, rows) in &live.hours {
            let range = Interval::new(*hour, SEAL.next(*hour));
            let certificate = certificates.get(&(stream.name().to_owned(), *hour));
            let (verdict, reason) = match certificate {
                _ if range.to_us > oldest_kept => ("keep", format!("younger than {} days", options.raw_days)),
                _ if !models
                    .iter()
                    .any(|m| m.counts.is_some() && m.inputs.iter().any(|i| i == stream.name())) =>
                {
                    ("keep", "no rollup accounts for this stream, so it is never deleted".to_owned())
                }
                None => ("keep", "not sealed yet; `fishweir run` seals it".to_owned()),
                Some(c) if c.raw_rows != *rows => {
                    ("keep", "rows arrived or left since the seal; `fishweir run` seals it again".to_owned())
                }
                Some(c) => {
                    going.push(c.clone());
                    ("delete", "certified: the rollups account for every row".to_owned())
                }
            };
            if verdict == "keep" {
                staying.push(range);
            }
            say(&mut plan, stream.name(), range, *rows, verdict, reason);
        }
        if !going.is_empty() {
            plan.raw.push((*stream, going));
        }
    }
    for model in models {
        derived(catalog, model, models, &book, &staying, options, &mut plan).await?;
    }
    Ok(plan)
}

async fn derived(
    catalog: &Catalog,
    model: &Model,
    models: &[Model],
    book: &Book,
    staying: &[Interval],
    options: RetentionOptions,
    plan: &mut Plan,
) -> Result<(), PipelineError> {
    let rules = [(model.retention.keep_days, false), (model.retention.thin_after_days, true)];
    let mut deleted_before = i64::MIN;
    for (days, thin) in rules {
        let Some(days) = days else { continue };
        let Some(table) = catalog.lake().existing(&model.name).await? else { return Ok(()) };
        let end = model.interval.floor(options.now_us - i64::from(days) * DAY_US);
        let files = table.files()?;
        let first = files.iter().filter_map(|f| f.time.map(|t| t.min_us)).min();
        let first = first.map(|f| model.interval.floor(f).max(deleted_before));
        let Some(first) = first.filter(|f| *f < end) else { continue };
        if !thin {
            deleted_before = end;
        }
        let range = Interval::new(first, end);
        let name = [model.name.clone()];
        let todo = if thin { not_yet(book, &name, range, model) } else { vec![range] };
        for range in todo {
            let waiting = models.iter().find(|m| {
                m.inputs.contains(&model.name)
                    && !book
                        .stale(&m.name, m.version, &m.inputs, m.interval, i64::MAX / 4)
                        .iter()
                        .all(|s| !s.overlaps(range))
            });
            // WHY: late rows of an hour whose raw rows live are rolled up again from the finer
            // tables, which must therefore still be whole.
            let raw_lives = !thin && staying.iter().any(|s| s.overlaps(range));
            let (verdict, reason) = match (waiting, thin) {
                _ if raw_lives => ("keep", "raw rows of this time still live".to_owned()),
                (Some(m), _) => {
                    ("keep", format!("`{}` still has to read it; `fishweir run` does that", m.name))
                }
                (None, false) => ("delete", format!("older than {days} days; coarser tables hold it")),
                (None, true) => (
                    "thin",
                    format!(
                        "older than {days} days: {} emptied, counts stay",
                        model.retention.thin.join(", ")
                    ),
                ),
            };
            let rows = files
                .iter()
                .filter(|f| f.time.is_some_and(|t| range.overlaps(Interval::new(t.min_us, t.max_us + 1))))
                .map(|f| f.rows)
                .sum();
            if rows > 0 {
                say(plan, &model.name, range, rows, verdict, reason);
                if verdict != "keep" {
                    plan.derived.push((model.clone(), range, thin));
                }
            }
        }
    }
    Ok(())
}

// Thinning leaves rows behind, so the record tells where it already happened.
fn not_yet(book: &Book, name: &[String], range: Interval, model: &Model) -> Vec<Interval> {
    let parts = range.split(model.interval).into_iter();
    Interval::coalesce(parts.filter(|r| !book.touched_last("thin", name, *r)).collect())
}

fn say(plan: &mut Plan, table: &str, range: Interval, rows: i64, verdict: &'static str, reason: String) {
    if let Some(last) = plan.verdicts.last_mut()
        && last.table == table
        && last.verdict == verdict
        && last.reason == reason
    {
        let from = last.interval.split(" to ").next().unwrap_or_default().to_owned();
        let to = shown(range);
        let to = to.split(" to ").nth(1).unwrap_or_default();
        last.interval = format!("{from} to {to}");
        last.rows += rows;
        return;
    }
    plan.verdicts.push(Verdict { table: table.to_owned(), interval: shown(range), rows, verdict, reason });
}

/// Deletes what the plan allows.
///
/// # Errors
/// A lake that fails; every hour is then either whole or gone, and the next run finishes.
pub async fn apply(catalog: &Catalog, plan: &Plan, now_us: i64) -> Result<Applied, PipelineError> {
    let mut out = Applied::default();
    let mut table = catalog.table(&certificate_table()).await?;
    let mut certificates = certificate::load(&table).await?;
    for (stream, going) in &plan.raw {
        let Some(mut raw) = catalog.lake().existing(stream.name()).await? else { continue };
        let with = |state: &str| -> Vec<Certificate> {
            going
                .iter()
                .map(|c| Certificate { state: state.to_owned(), sealed_at_us: now_us, ..c.clone() })
                .collect()
        };
        // Announce, delete, confirm: a crash between leaves hours marked `deleting`, which
        // `recover` settles by looking at the raw rows.
        certificate::store(&mut table, &mut certificates, with("deleting")).await?;
        let ranges = Interval::coalesce(going.iter().map(|c| c.range).collect());
        let counts = RawCounts::of(catalog, *stream, &raw).await?;
        let moved =
            going.iter().any(|c| counts.hours.get(&c.range.from_us).copied().unwrap_or(0) != c.raw_rows);
        if moved {
            certificate::store(&mut table, &mut certificates, with("sealed")).await?;
            continue;
        }
        let change = raw.delete_if_unchanged(&ranges).await?;
        let Some(change) = change else {
            certificate::store(&mut table, &mut certificates, with("sealed")).await?;
            continue;
        };
        out.raw_rows += change.rows_removed;
        out.bytes += change.bytes_removed;
        let generation = Book::load(catalog.lake()).await?.next_number();
        let mut done = with("deleted");
        done.iter_mut().for_each(|c| gone(c, generation));
        certificate::store(&mut table, &mut certificates, done).await?;
        raw.sweep().await?;
    }
    let mut book = Book::load(catalog.lake()).await?;
    for (model, range, thin) in &plan.derived {
        let Some(mut table) = catalog.lake().existing(&model.name).await? else { continue };
        let what = if *thin { "thin" } else { "gone" };
        book.announce(&format!("{what}:{}", model.name), 0, &[*range], now_us).await?;
        if *thin {
            out.thinned_rows += thin_rows(catalog, model, &mut table, *range).await?;
        } else {
            let change = table.delete(&[*range]).await?;
            out.rollup_rows += change.rows_removed;
            out.bytes += change.bytes_removed;
        }
    }
    Ok(out)
}

async fn thin_rows(
    catalog: &Catalog,
    model: &Model,
    table: &mut Table,
    range: Interval,
) -> Result<i64, PipelineError> {
    let columns: Vec<String> = table
        .schema()
        .fields()
        .iter()
        .map(|f| {
            let name = f.name();
            if model.retention.thin.contains(name) {
                format!("CAST(NULL AS BYTEA) AS {name}")
            } else {
                name.clone()
            }
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM {m} WHERE {t} >= $from AND {t} < $to",
        columns.join(", "),
        m = model.name,
        t = model.time
    );
    let context = catalog.session_of(&[&model.name]).await?;
    let frame = bound(&context, &model.name, &sql, range).await?;
    let rows = frame.execute_stream().await.map_err(PipelineError::query(&model.name))?;
    let rows = rows.map_err(|e| -> Box<dyn std::error::Error + Send + Sync> { Box::new(e) }).boxed();
    let change = table.replace(&[range], rows).await?;
    Ok(change.rows_added)
}
