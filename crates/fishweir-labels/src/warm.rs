//! What the live path knows before the first request: read from the sealed tables.

use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use fishweir_detect::{DetectorConfig, ScanConfig};
use fishweir_pipeline::{Catalog, DAY_US, HOUR_US, Interval, MINUTE_US, PipelineError};

use crate::base::FOLLOWED_HOURS;
use crate::homes;
use crate::live::{LiveHistory, known_anywhere, known_key};
use crate::live_marks::FOREIGN;
use crate::notes;
use crate::series::{self, between_sql};
use crate::strangers::{self, Mark};

const HISTORY_DAYS: i64 = 29;
const FOCUS_DAYS: i64 = 7;
/// Requests a minute that a route must once have reached to be followed from the start.
const BUSY: f64 = 5.0;
/// Notes this far ahead are read: what is announced is known.
const AHEAD_DAYS: i64 = 7;

/// Returns what the sealed tables know up to a time: minutes, strangers, clients and notes. Empty
/// parts where nothing is sealed.
///
/// # Errors
/// Tables that cannot be read.
pub async fn live_history(
    catalog: &Catalog,
    detector: &DetectorConfig,
    scan: &ScanConfig,
    now_us: i64,
) -> Result<LiveHistory, PipelineError> {
    let mut out = LiveHistory::default();
    // The minute that has begun is ours to count.
    let begun_us = now_us - now_us.rem_euclid(MINUTE_US);
    let end_us = last_minute(catalog, begun_us).await?.map(|m| m + MINUTE_US);
    let day = now_us - now_us.rem_euclid(DAY_US);
    out.notes = notes::load(catalog, Interval::new(now_us - DAY_US, now_us + AHEAD_DAYS * DAY_US)).await?;
    let Some(end_us) = end_us else { return Ok(out) };
    let span = Interval::new(end_us - HISTORY_DAYS * DAY_US, end_us);
    let focus = Interval::new(end_us - FOCUS_DAYS * DAY_US, end_us);
    out.from_us = span.from_us;
    if let Some(minutes) = series::load(catalog, span, focus, BUSY.min(detector.excess_min)).await? {
        (out.routes, out.counts) = (minutes.routes, minutes.counts);
    }
    if out.routes.is_empty() {
        return Ok(out);
    }
    if let Some(s) = strangers::load(catalog, strangers::Kind::New, span, focus, scan).await? {
        let length = out.counts.first().map_or(0, Vec::len);
        // A route that strangers never came to has had none, wherever strangers are told at all.
        let all = s.series(&Mark::All).map(<[f64]>::to_vec).unwrap_or_default();
        let none: Vec<f64> = all.iter().map(|k| if k.is_nan() { f64::NAN } else { 0.0 }).collect();
        let fit = |mut v: Vec<f64>| {
            v.resize(length, f64::NAN);
            v
        };
        let of = |r: &Option<String>| match r {
            None => all.clone(),
            Some(r) => s.series(&Mark::Route(r.clone())).map_or_else(|| none.clone(), <[f64]>::to_vec),
        };
        out.strangers = Some(out.routes.iter().map(|r| fit(of(r))).collect());
        out.marks = s.marks().map(|(key, counts)| (key, fit(counts.to_vec()))).collect();
    }
    out.known = known_clients(catalog, day).await?;
    out.sessions = watching(catalog, now_us).await?;
    out.homes = homes::load(catalog, day).await?;
    if let Some(homes) = &out.homes {
        let mut foreign = homes::foreign_series(homes, &out.marks);
        if foreign.is_empty() {
            // Nobody was foreign so far.
            let all = out.strangers.iter().flat_map(|s| s.first()).flatten();
            foreign = all.map(|k| if k.is_nan() { f64::NAN } else { 0.0 }).collect();
        }
        out.marks.insert(0, ((FOREIGN, 0), foreign));
    }
    if out.known.is_empty() {
        // Without an earlier day everybody would be a stranger.
        out.strangers = None;
        out.marks.clear();
    }
    Ok(out)
}

/// Returns the clients that count as known on a day: seen on the second to the eighth day before.
///
/// # Errors
/// A table that cannot be read.
pub async fn known_clients(catalog: &Catalog, day_us: i64) -> Result<HashSet<u64>, PipelineError> {
    const TABLE: &str = "seen_clients";
    let mut out = HashSet::new();
    if catalog.lake().existing(TABLE).await?.is_none() {
        return Ok(out);
    }
    let sql = format!(
        "SELECT DISTINCT client, asn FROM {TABLE} WHERE {}",
        between_sql("hour", Interval::new(day_us - 8 * DAY_US, day_us - DAY_US))
    );
    for batch in catalog.query(&[TABLE], &sql).await? {
        let (client, asn) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        for (c, a) in client.values().iter().zip(asn.values()) {
            out.extend([known_key(*c, *a), known_anywhere(*c)]);
        }
    }
    Ok(out)
}

// Sessions that may still be watching; none where raw rows are gone.
async fn watching(catalog: &Catalog, now_us: i64) -> Result<HashSet<i64>, PipelineError> {
    const TABLE: &str = "requests";
    let mut out = HashSet::new();
    if catalog.lake().existing(TABLE).await?.is_none() {
        return Ok(out);
    }
    let sql = format!(
        "SELECT DISTINCT hash64(session) FROM {TABLE} WHERE {} AND session IS NOT NULL AND (route LIKE '%licence%' OR route LIKE '%license%') AND status < 400",
        between_sql("time", Interval::new(now_us - FOLLOWED_HOURS * HOUR_US, now_us))
    );
    for batch in catalog.query(&[TABLE], &sql).await? {
        out.extend(batch.column(0).as_primitive::<Int64Type>().iter().flatten());
    }
    Ok(out)
}

async fn last_minute(catalog: &Catalog, now_us: i64) -> Result<Option<i64>, PipelineError> {
    const TABLE: &str = "request_minutes";
    if catalog.lake().existing(TABLE).await?.is_none() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT max(minute) AS last FROM {TABLE} WHERE {}",
        between_sql("minute", Interval::new(now_us - HISTORY_DAYS * DAY_US, now_us))
    );
    for batch in catalog.query(&[TABLE], &sql).await? {
        let last = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        if !last.is_empty() && last.is_valid(0) {
            return Ok(Some(last.value(0)));
        }
    }
    Ok(None)
}

/// What the sealed path made of an incident that the live path had opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// Name on the sealed path.
    pub incident_id: String,
    /// What it is held to be.
    pub kind: String,
    /// Requests above expectation.
    pub excess_requests: Option<f64>,
}

/// Returns the sealed surge that overlaps a stretch the most and shares a route with it.
///
/// # Errors
/// A table that cannot be read.
pub async fn sealed_surge(
    catalog: &Catalog,
    range: Interval,
    routes: &[String],
) -> Result<Option<Sealed>, PipelineError> {
    const TABLE: &str = "dos_incidents";
    if catalog.lake().existing(TABLE).await?.is_none() {
        return Ok(None);
    }
    let (from, to) = (
        fishweir_pipeline::time_literal(range.from_us - 5 * MINUTE_US),
        fishweir_pipeline::time_literal(range.to_us + 5 * MINUTE_US),
    );
    let sql = format!(
        "SELECT incident_id, kind, routes, excess_requests, CAST(start AS BIGINT) AS s, CAST(\"end\" AS BIGINT) AS e FROM {TABLE} WHERE start < {to} AND \"end\" > {from} ORDER BY start, incident_id"
    );
    let mut best: Option<(i64, Sealed)> = None;
    for batch in catalog.query(&[TABLE], &sql).await? {
        let text = |c: usize| series::words(&batch, c);
        let (id, kinds, theirs) = (text(0), text(1), text(2));
        let time = |c: usize, r: usize| batch.column(c).as_primitive::<Int64Type>().value(r);
        let excess = batch.column(3).as_primitive::<Float64Type>();
        for r in 0..batch.num_rows() {
            let own: Vec<&str> = theirs[r].split(' ').collect();
            let shared = own.contains(&"(all)")
                || routes.is_empty()
                || routes.iter().any(|x| own.contains(&x.as_str()));
            let both = time(5, r).min(range.to_us) - time(4, r).max(range.from_us);
            if shared && best.as_ref().is_none_or(|b| both > b.0) {
                best = Some((
                    both,
                    Sealed {
                        incident_id: id[r].clone(),
                        kind: kinds[r].clone(),
                        excess_requests: excess.is_valid(r).then(|| excess.value(r)),
                    },
                ));
            }
        }
    }
    Ok(best.map(|b| b.1))
}
