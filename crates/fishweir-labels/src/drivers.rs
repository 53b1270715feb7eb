//! What drove a surge, from the raw requests around it while they live.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use fishweir_detect::{DriverRule, Leaf, search_drivers};
use fishweir_pipeline::{Catalog, DAY_US, Interval, MINUTE_US, PipelineError};

use crate::classify::Evidence;
use crate::series::between_sql;

/// Attributes that rules are made of; the first two describe requests, the others clients.
pub(crate) const DIMENSIONS: [&str; 7] =
    ["route", "method", "country", "asn", "ja4", "agent_class", "ip_prefix"];
const REQUEST_DIMENSIONS: usize = 2;
const LEAVES_MAX: usize = 400_000;

/// One rule in words.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    pub(crate) rule: DriverRule,
    pub(crate) text: String,
}

/// What the raw rows say about a surge.
#[derive(Debug, Default)]
pub(crate) struct Insight {
    pub(crate) drivers: Vec<Driver>,
    pub(crate) evidence: Evidence,
    /// Known members who met an error or a refusal, with bounds.
    pub(crate) affected: Option<(f64, f64, f64)>,
}

/// Returns what the raw rows say, `None` when they are gone.
pub(crate) async fn look(catalog: &Catalog, during: Interval) -> Result<Option<Insight>, PipelineError> {
    let minutes = ((during.to_us - during.from_us) / MINUTE_US).clamp(60, 240);
    let end = during.from_us - 3 * MINUTE_US;
    let before = Interval::new(end - minutes * MINUTE_US, end);
    let (leaves, values) = leaves(catalog, during, before).await?;
    if leaves.iter().all(|l| l.during == 0.0) {
        return Ok(None);
    }
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let scale = (during.to_us - during.from_us) as f64 / (before.to_us - before.from_us) as f64;
    let drivers: Vec<Driver> = search_drivers(&leaves, scale)
        .into_iter()
        .map(|rule| Driver { text: words(&rule, &values), rule })
        .collect();
    let (evidence, affected) = compare(catalog, during, before, scale, &leaves, &drivers).await?;
    Ok(Some(Insight { drivers, evidence, affected }))
}

fn words(rule: &DriverRule, values: &[Vec<String>]) -> String {
    let parts = rule.predicates.iter().filter_map(|(d, v)| {
        let value = values.get(*d)?.get(*v as usize)?;
        Some(format!("{} = {value}", DIMENSIONS.get(*d)?))
    });
    parts.collect::<Vec<_>>().join(" AND ")
}

async fn leaves(
    catalog: &Catalog,
    during: Interval,
    before: Interval,
) -> Result<(Vec<Leaf>, Vec<Vec<String>>), PipelineError> {
    let columns: Vec<String> = DIMENSIONS.iter().map(|d| format!("CAST({d} AS VARCHAR) AS {d}")).collect();
    let sql = format!(
        "SELECT {}, count(*) FILTER (WHERE {d}) AS during, count(*) FILTER (WHERE {b}) AS before FROM requests WHERE ({d}) OR ({b}) GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY during DESC LIMIT {LEAVES_MAX}",
        columns.join(", "),
        d = between_sql("time", during),
        b = between_sql("time", before),
    );
    // One range filter in front lets the scan skip files that neither window meets.
    let hull = Interval::new(before.from_us, during.to_us);
    let sql = sql
        .replace("WHERE (", &format!("WHERE {} AND ((", between_sql("time", hull)))
        .replace(") GROUP BY", ")) GROUP BY");
    let mut ids: Vec<HashMap<String, u32>> = vec![HashMap::new(); DIMENSIONS.len()];
    let mut values: Vec<Vec<String>> = vec![Vec::new(); DIMENSIONS.len()];
    let mut out = Vec::new();
    for batch in catalog.query(&["requests"], &sql).await? {
        let text: Vec<_> =
            (0..DIMENSIONS.len()).filter_map(|c| cast(batch.column(c), &DataType::Utf8).ok()).collect();
        let n = |c: usize| batch.column(DIMENSIONS.len() + c).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            let mut leaf = Vec::with_capacity(DIMENSIONS.len());
            for (column, (known, list)) in text.iter().zip(ids.iter_mut().zip(values.iter_mut())) {
                let column = column.as_string::<i32>();
                leaf.push(column.is_valid(r).then(|| {
                    let value = column.value(r);
                    *known.entry(value.to_owned()).or_insert_with(|| {
                        list.push(value.to_owned());
                        u32::try_from(list.len() - 1).unwrap_or(u32::MAX)
                    })
                }));
            }
            #[expect(clippy::cast_precision_loss, reason = "request counts")]
            out.push(Leaf { values: leaf, during: n(0).value(r) as f64, before: n(1).value(r) as f64 });
        }
    }
    Ok((out, values))
}

async fn compare(
    catalog: &Catalog,
    during: Interval,
    before: Interval,
    scale: f64,
    leaves: &[Leaf],
    drivers: &[Driver],
) -> Result<(Evidence, Option<(f64, f64, f64)>), PipelineError> {
    let client = "coalesce(device, ip)";
    let day = Interval::new(during.from_us - DAY_US, during.from_us - 3 * MINUTE_US);
    let (d, b, y) = (
        between_sql("time", during),
        between_sql("time", before),
        between_sql("time", Interval::new(day.from_us, before.from_us)),
    );
    let sql = format!(
        "SELECT
           CAST(count(*) FILTER (WHERE {d}) AS DOUBLE) AS n_during,
           CAST(count(account) FILTER (WHERE {d}) AS DOUBLE) AS known_during,
           CAST(count(*) FILTER (WHERE {b}) AS DOUBLE) AS n_before,
           CAST(count(account) FILTER (WHERE {b}) AS DOUBLE) AS known_before,
           theta_count(theta({client}) FILTER (WHERE {d})) AS clients_during,
           theta_count(theta({client}) FILTER (WHERE {b})) AS clients_before,
           theta_count(theta_not(theta({client}) FILTER (WHERE {d}), theta({client}) FILTER (WHERE {y} OR {b}))) AS fresh_during,
           theta_count(theta_not(theta({client}) FILTER (WHERE {b}), theta({client}) FILTER (WHERE {y}))) AS fresh_before,
           hll_count(hll(coalesce(account, device)) FILTER (WHERE {d} AND account IS NOT NULL AND (status >= 500 OR action IN ('block', 'limit')))) AS hit,
           hll_low(hll(coalesce(account, device)) FILTER (WHERE {d} AND account IS NOT NULL AND (status >= 500 OR action IN ('block', 'limit')))) AS hit_low,
           hll_high(hll(coalesce(account, device)) FILTER (WHERE {d} AND account IS NOT NULL AND (status >= 500 OR action IN ('block', 'limit')))) AS hit_high
         FROM requests WHERE {}",
        between_sql("time", Interval::new(day.from_us, during.to_us))
    );
    let mut v = [f64::NAN; 11];
    for batch in catalog.query(&["requests"], &sql).await? {
        for (slot, column) in v.iter_mut().zip(batch.columns()) {
            let column = column.as_primitive::<Float64Type>();
            if !column.is_empty() && column.is_valid(0) {
                *slot = column.value(0);
            }
        }
    }
    let [n, known, n0, known0, clients, clients0, fresh, fresh0, hit, hit_low, hit_high] = v;
    let share = |a: f64, b: f64| (b > 0.0).then(|| (a / b).clamp(0.0, 1.0)).filter(|s| s.is_finite());
    let extra = n - n0 * scale;
    // WHY: where nobody is ever signed in, the lack of accounts says nothing.
    let anonymous = (known0 > 0.2 * n0 && extra > 0.0)
        .then(|| share((n - known) - (n0 - known0) * scale, extra))
        .flatten();
    let usual_fresh = share(fresh0, clients0);
    let new_clients = match (share(fresh, clients), usual_fresh) {
        // The usual share of newcomers is taken out, so that a young stream is no evidence.
        (Some(now), Some(usual)) if usual < 0.8 => Some(((now - usual) / (1.0 - usual)).clamp(0.0, 1.0)),
        _ => None,
    };
    let client_rules = drivers
        .iter()
        .filter(|x| x.rule.predicates.iter().any(|p| p.0 >= REQUEST_DIMENSIONS))
        .map(|x| x.rule.coverage)
        .sum::<f64>()
        .min(1.0);
    let evidence = Evidence {
        anonymous_share: anonymous,
        new_client_share: new_clients,
        client_rule_coverage: (extra > 0.0).then_some(client_rules),
        stopped_share: None,
        client_rate_ratio: (clients > 0.0 && clients0 > 0.0 && n0 > 0.0)
            .then(|| (n / clients) / (n0 * scale / clients0).max(1e-9))
            .filter(|r| r.is_finite() && scale >= 0.2),
        top_route_share: top_route(leaves, scale, extra),
    };
    let affected = if known > 0.0 && hit.is_nan() {
        Some((0.0, 0.0, 0.0))
    } else {
        hit.is_finite().then_some((hit, hit_low, hit_high))
    };
    Ok((evidence, affected))
}

fn top_route(leaves: &[Leaf], scale: f64, extra: f64) -> Option<f64> {
    let mut by_route: HashMap<u32, f64> = HashMap::new();
    for l in leaves {
        if let Some(Some(route)) = l.values.first() {
            *by_route.entry(*route).or_default() += l.during - l.before * scale;
        }
    }
    let top = by_route.values().copied().fold(0.0, f64::max);
    (extra > 0.0).then(|| (top / extra).clamp(0.0, 1.0))
}
