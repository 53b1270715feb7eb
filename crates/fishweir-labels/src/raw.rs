//! What the raw requests around a surge say, while they live.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use fishweir_detect::{DriverRule, Leaf, search_drivers};
use fishweir_engine::hash64;
use fishweir_pipeline::{Catalog, DAY_US, Interval, MINUTE_US, PipelineError};

use crate::base::{Base, STOPPED};
use crate::candidates::Enough;
use crate::homes::{self, Homes};
use crate::strangers::Kind;

/// Attributes that rules are made of; the first two describe requests, the others clients.
pub(crate) const DIMENSIONS: [&str; 7] =
    ["route", "method", "country", "asn", "ja4", "agent_class", "ip_prefix"];
pub(crate) const REQUEST_DIMENSIONS: usize = 2;
/// Servers and balancers commonly give up an answer after half a minute: what is open longer is held open.
const HELD_US: i64 = 30_000_000;
/// Condition on a request of a known member that met an error or a refusal.
const HIT: &str =
    "during AND familiar AND account IS NOT NULL AND (status >= 500 OR action IN ('block', 'limit'))";
/// Values that are told of the members hit, of each attribute.
const MEMBER_VALUES: usize = 3;
const LEAVES_MAX: usize = 400_000;
const HOUR_US: i64 = 60 * MINUTE_US;
/// Series of a minute by which the moment is looked for.
const SERIES_MAX: usize = 12;
/// A surge of days is judged by six hours around its peak.
const LOOK_MAX_US: i64 = 6 * HOUR_US;

/// One rule in words.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    pub(crate) rule: DriverRule,
    pub(crate) text: String,
}

/// Sums over the requests of one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteSums {
    pub(crate) route: String,
    pub(crate) n: f64,
    pub(crate) n0: f64,
    pub(crate) odd: f64,
    pub(crate) odd0: f64,
    /// Of strangers that share what the surge was measured on.
    pub(crate) mine: f64,
    pub(crate) mine0: f64,
    pub(crate) failed: f64,
    pub(crate) failed0: f64,
}

/// Counts over the strangers of a surge, `0` for those of the usual traffic before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientSums {
    pub(crate) requests: f64,
    pub(crate) clients: f64,
    pub(crate) busiest: f64,
    /// Clients that would bring as many requests if each brought the same: (Σn)² / Σn².
    pub(crate) even_clients: f64,
    pub(crate) ips: f64,
    /// Addresses that would bring as many requests if each brought the same: (Σn)² / Σn².
    pub(crate) even_ips: f64,
    /// Requests of the busiest address.
    pub(crate) busiest_ip: f64,
    /// User agents of an address, each address by its requests.
    pub(crate) agents_per_ip: f64,
    /// Further requests of a program (JA4) at an address, those like members aside, and how many of them showed a new user agent.
    pub(crate) program_again: f64,
    pub(crate) again_new_agent: f64,
    /// Further requests of a machine with the same program (JA4) and user agent, and how many of them showed a new JA3.
    pub(crate) again: f64,
    pub(crate) again_new_ja3: f64,
    /// Further visits with a program (JA4), those like members aside, and how many other JA3s they showed.
    pub(crate) visits_again: f64,
    pub(crate) visits_new_ja3: f64,
    /// Stopped by a defence.
    pub(crate) stopped: f64,
    /// Served, or held for long before they were not.
    pub(crate) answered: f64,
    /// Of those, after longer than anybody waits for an answer.
    pub(crate) slow: f64,
    /// Different paths, what is asked of them aside.
    pub(crate) paths: f64,
    pub(crate) usual_pair: f64,
    pub(crate) home_network: f64,
    /// Sent with an account; `None` where that was not looked at.
    pub(crate) signed_in: Option<f64>,
}

impl Look {
    /// Returns how many clients the strangers beyond the usual are worth if each brought the same, all strangers where the
    /// hours before brought as much; `None` where that was not looked at. WHY not their number: visitors with a request each
    /// come beside a few who bring all the rest.
    pub(crate) fn even_clients(&self) -> Option<f64> {
        let squares =
            |c: &ClientSums| if c.even_clients > 0.0 { c.requests.powi(2) / c.even_clients } else { 0.0 };
        let net = self.odd.requests - self.odd_before.requests * self.scale;
        let own = squares(&self.odd) - squares(&self.odd_before) * self.scale;
        let even = if net > 0.0 { net.powi(2) / own.max(net) } else { self.odd.even_clients };
        (self.odd.even_clients > 0.0).then_some(even)
    }
}

/// Time that the service took for the requests of strangers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Requests that were answered, with a usual time for their route.
    pub(crate) requests: f64,
    /// Time they took over the time that ordinary ones of the same routes took in the same minutes.
    pub(crate) ratio: f64,
}

/// What one rule did during a surge.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSums {
    pub(crate) names: [String; 5],
    pub(crate) hits: f64,
    pub(crate) stopped: f64,
    /// Hits on strangers, requests of others stopped, accounts behind those; `None` where strangers are
    /// not told apart.
    pub(crate) told: Option<[f64; 3]>,
}

/// What the raw rows say about a surge.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// Time of the surge that was looked at; `None` for one that goes on.
    pub(crate) during: Option<Interval>,
    pub(crate) drivers: Vec<Driver>,
    /// Length of the surge over that of the usual traffic beside it.
    pub(crate) scale: f64,
    pub(crate) routes: Vec<RouteSums>,
    pub(crate) rules: Vec<RuleSums>,
    pub(crate) odd: ClientSums,
    pub(crate) odd_before: ClientSums,
    /// All requests and those with an account, during and before.
    pub(crate) all: [f64; 4],
    /// All clients, during and before.
    pub(crate) clients: [f64; 2],
    /// Share of what strangers brought beyond the usual that no member would; `None` where nobody is known to watch.
    pub(crate) foreign_share: Option<f64>,
    /// Requests of the busiest client of the surge, stranger or not.
    pub(crate) busiest: Option<f64>,
    /// What the surge's requests cost; `None` where nothing tells what they would have cost.
    pub(crate) cost: Option<Cost>,
    /// Known members who met an error or a refusal, with bounds.
    pub(crate) affected: Option<(f64, f64, f64)>,
    /// Who they were: the most frequent values of what is known of them.
    pub(crate) members: Vec<MemberSums>,
}

/// Members hit who share something.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberSums {
    /// `country`, `agent_class` or `asn`.
    pub(crate) dimension: String,
    pub(crate) value: String,
    pub(crate) members: f64,
    pub(crate) requests: f64,
}

/// Whose requests of a surge are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// Whether strangers are told apart around the surge.
    pub(crate) told: bool,
    /// Whether drivers explain the excess of strangers alone.
    pub(crate) burst: bool,
    /// Condition on its strangers; `None` counts all of them.
    pub(crate) mine: Option<&'a str>,
    /// Whether the other strangers of its time are something else, which its drivers must not explain.
    pub(crate) apart: bool,
    /// Who counts as a stranger.
    pub(crate) kind: Kind,
}

/// Returns what the raw rows say of a surge, against the time before `calm_us`; `None` when they are gone.
pub(crate) async fn look(
    catalog: &Catalog,
    surge: Interval,
    calm_us: i64,
    peak_us: i64,
    scope: Scope<'_>,
) -> Result<Option<Look>, PipelineError> {
    let Scope { told, burst, mine, apart, kind } = scope;
    let during = around_peak(surge, peak_us);
    let length = (during.to_us - during.from_us).clamp(HOUR_US, 4 * HOUR_US);
    // Before the whole of it, also where only a part is looked at.
    let end = calm_us - 3 * MINUTE_US;
    let before = Interval::new(end - length, end);
    let base = Base::new(catalog, during, before, kind).await?;
    let (leaves, values) = leaves(&base, told && burst, mine.filter(|_| apart)).await?;
    if leaves.iter().all(|l| l.during == 0.0) {
        return Ok(None);
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    let scale = (during.to_us - during.from_us) as f64 / (before.to_us - before.from_us) as f64;
    let drivers = search_drivers(&leaves, scale)
        .into_iter()
        .map(|rule| Driver { text: words(&rule, &values), rule })
        .collect();
    let mut out = Look { during: Some(during), drivers, scale, ..Look::default() };
    out.routes = routes(&base, mine).await?;
    out.rules = rules(&base, told).await?;
    out.odd = clients(&base, true, mine).await?;
    out.odd_before = clients(&base, false, mine).await?;
    let day = during.from_us - during.from_us.rem_euclid(DAY_US);
    if kind == Kind::Foreign {
        // By definition; no earlier day tells who watches from where.
        out.foreign_share = told.then_some(1.0);
    } else if let Some(homes) = homes::load(catalog, day).await?.filter(|_| told) {
        out.foreign_share = foreign_share(&base, mine, &homes, scale).await?;
    }
    out.cost = cost(&base, mine).await?;
    members(&base, &mut out).await?;
    if out.affected.is_some_and(|a| a.0 > 0.0) {
        out.members = members_by(&base).await?;
    }
    Ok(Some(out))
}

/// Returns the time of the request with which a burst stood out in a minute, for one of the series that noticed it;
/// `None` when the rows are gone or show fewer.
pub(crate) async fn noticed_at(
    catalog: &Catalog,
    minute: Interval,
    kind: Kind,
    by: &[Enough],
) -> Result<Option<i64>, PipelineError> {
    if by.is_empty() {
        return Ok(None);
    }
    let before = Interval::new(minute.from_us - MINUTE_US, minute.from_us);
    let base = Base::new(catalog, minute, before, kind).await?;
    let of = |(i, e): (usize, &Enough)| format!("({}) AS c{i}", e.condition.as_deref().unwrap_or("true"));
    let columns: Vec<String> = by.iter().take(SERIES_MAX).enumerate().map(of).collect();
    let sql = format!(
        "SELECT CAST(time AS BIGINT) AS us, {} FROM base WHERE during AND odd ORDER BY 1",
        columns.join(", ")
    );
    let mut left: Vec<f64> = by.iter().take(SERIES_MAX).map(|e| e.requests).collect();
    for batch in base.query(&sql).await? {
        let us = batch.column(0).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            for (c, left) in left.iter_mut().enumerate() {
                let is_one = batch.column(c + 1).as_boolean();
                *left -= f64::from(u8::from(is_one.is_valid(r) && is_one.value(r)));
            }
            if left.iter().any(|n| *n <= 0.0) {
                return Ok(Some(us.value(r)));
            }
        }
    }
    Ok(None)
}

fn around_peak(surge: Interval, peak_us: i64) -> Interval {
    if surge.to_us - surge.from_us <= LOOK_MAX_US {
        return surge;
    }
    let from = (peak_us - LOOK_MAX_US / 2).clamp(surge.from_us, surge.to_us - LOOK_MAX_US);
    Interval::new(from, from + LOOK_MAX_US)
}

fn words(rule: &DriverRule, values: &[Vec<String>]) -> String {
    let parts = rule.predicates.iter().filter_map(|(d, v)| {
        let value = values.get(*d)?.get(*v as usize)?;
        Some(format!("{} = {value}", DIMENSIONS.get(*d)?))
    });
    parts.collect::<Vec<_>>().join(" AND ")
}

// Requests by what they have in common, of strangers alone or of all; during the surge those of a thing apart alone.
async fn leaves(
    base: &Base,
    strangers: bool,
    apart: Option<&str>,
) -> Result<(Vec<Leaf>, Vec<Vec<String>>), PipelineError> {
    let columns: Vec<String> = DIMENSIONS.iter().map(|d| format!("CAST({d} AS VARCHAR) AS {d}")).collect();
    let sql = format!(
        "SELECT {}, CAST(count(*) FILTER (WHERE during AND {}) AS DOUBLE) AS n, CAST(count(*) FILTER (WHERE NOT during) AS DOUBLE) AS n0 FROM base {} GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY n DESC LIMIT {LEAVES_MAX}",
        columns.join(", "),
        apart.unwrap_or("true"),
        if strangers { "WHERE odd" } else { "" },
    );
    let mut ids: Vec<HashMap<String, u32>> = vec![HashMap::new(); DIMENSIONS.len()];
    let mut values: Vec<Vec<String>> = vec![Vec::new(); DIMENSIONS.len()];
    let mut out = Vec::new();
    for batch in base.query(&sql).await? {
        let text: Vec<_> =
            (0..DIMENSIONS.len()).filter_map(|c| cast(batch.column(c), &DataType::Utf8).ok()).collect();
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
            let n = |c: usize| number(&batch, DIMENSIONS.len() + c, r);
            out.push(Leaf { values: leaf, during: n(0), before: n(1) });
        }
    }
    Ok((out, values))
}

fn number(batch: &RecordBatch, column: usize, row: usize) -> f64 {
    let c = batch.column(column).as_primitive::<Float64Type>();
    if c.is_valid(row) { c.value(row) } else { 0.0 }
}

fn text(column: &ArrayRef, row: usize) -> String {
    cast(column, &DataType::Utf8).ok().map(|c| c.as_string::<i32>().value(row).to_owned()).unwrap_or_default()
}

async fn routes(base: &Base, mine: Option<&str>) -> Result<Vec<RouteSums>, PipelineError> {
    let mine = mine.unwrap_or("true");
    let sql = format!(
        "SELECT route,
           CAST(count(*) FILTER (WHERE during) AS DOUBLE), CAST(count(*) FILTER (WHERE NOT during) AS DOUBLE),
           CAST(count(*) FILTER (WHERE during AND odd) AS DOUBLE) AS strange, CAST(count(*) FILTER (WHERE NOT during AND odd) AS DOUBLE),
           CAST(count(*) FILTER (WHERE during AND odd AND {mine}) AS DOUBLE), CAST(count(*) FILTER (WHERE NOT during AND odd AND {mine}) AS DOUBLE),
           CAST(count(*) FILTER (WHERE during AND status >= 500) AS DOUBLE), CAST(count(*) FILTER (WHERE NOT during AND status >= 500) AS DOUBLE)
         FROM base GROUP BY 1 ORDER BY strange DESC, 1"
    );
    let mut out = Vec::new();
    for batch in base.query(&sql).await? {
        for r in 0..batch.num_rows() {
            let n = |c: usize| number(&batch, c, r);
            out.push(RouteSums {
                route: text(batch.column(0), r),
                n: n(1),
                n0: n(2),
                odd: n(3),
                odd0: n(4),
                mine: n(5),
                mine0: n(6),
                failed: n(7),
                failed0: n(8),
            });
        }
    }
    Ok(out)
}

async fn rules(base: &Base, told: bool) -> Result<Vec<RuleSums>, PipelineError> {
    let sql = format!(
        "SELECT coalesce(defence, ''), coalesce(rule, ''), coalesce(rule_version, '') AS version, coalesce(action, ''), coalesce(mode, 'enforce') AS how,
           CAST(count(*) AS DOUBLE), CAST(count(*) FILTER (WHERE odd) AS DOUBLE),
           CAST(count(*) FILTER (WHERE {STOPPED}) AS DOUBLE), CAST(count(*) FILTER (WHERE {STOPPED} AND NOT odd) AS DOUBLE),
           CAST(count(DISTINCT account) FILTER (WHERE {STOPPED} AND NOT odd) AS DOUBLE)
         FROM base WHERE during AND rule IS NOT NULL GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    );
    let mut out = Vec::new();
    for batch in base.query(&sql).await? {
        for r in 0..batch.num_rows() {
            let n = |c: usize| number(&batch, c, r);
            out.push(RuleSums {
                names: std::array::from_fn(|c| text(batch.column(c), r)),
                hits: n(5),
                stopped: n(7),
                told: told.then(|| [n(6), n(8), n(9)]),
            });
        }
    }
    Ok(out)
}

async fn clients(base: &Base, during: bool, mine: Option<&str>) -> Result<ClientSums, PipelineError> {
    let mut when = if during { "during" } else { "NOT during" }.to_owned();
    if let Some(condition) = mine {
        when.push_str(&format!(" AND {condition}"));
    }
    let sql = clients_sql(&when);
    let mut out = ClientSums::default();
    for batch in base.query(&sql).await? {
        if batch.num_rows() == 0 {
            continue;
        }
        let n = |c: usize| number(&batch, c, 0);
        out = ClientSums {
            requests: n(0),
            clients: n(1),
            busiest: n(2),
            ips: n(3),
            agents_per_ip: n(4),
            slow: n(5),
            paths: n(6),
            usual_pair: n(7),
            home_network: n(8),
            even_ips: n(9),
            answered: n(10),
            signed_in: Some(n(11)),
            again: n(12),
            again_new_ja3: n(13),
            stopped: n(14),
            even_clients: n(15),
            program_again: n(16),
            again_new_agent: n(17),
            visits_again: n(18),
            visits_new_ja3: n(19),
            busiest_ip: n(20),
        };
    }
    Ok(out)
}

// One row: the sums over strangers where a condition holds.
fn clients_sql(when: &str) -> String {
    format!(
        "WITH home_programs AS (
           SELECT DISTINCT ja4 FROM base WHERE watched
         ), usual_pairs AS (
           -- Tools that come every day are familiar, too, but nobody watches with them.
           SELECT DISTINCT b.ja4, b.user_agent, true AS is_usual FROM home_programs h
           JOIN (SELECT ja4, user_agent FROM base WHERE familiar AND NOT during) b ON b.ja4 = h.ja4
         ), home_networks AS (
           SELECT DISTINCT network, true AS is_home FROM base WHERE watched
         ), mine AS (
           SELECT b.*, u.is_usual IS NOT NULL AS usual_pair, w.is_home IS NOT NULL AS at_home
           FROM usual_pairs u RIGHT JOIN (SELECT * FROM base WHERE odd AND {when}) b ON u.ja4 = b.ja4 AND u.user_agent = b.user_agent
           LEFT JOIN home_networks w ON w.network = b.network
         ), per_client AS (
           SELECT client, CAST(count(*) AS DOUBLE) AS n FROM mine GROUP BY 1
         ), per_ip AS (
           SELECT ip, CAST(count(*) AS DOUBLE) AS n, count(DISTINCT hash64(user_agent)) AS agents FROM mine WHERE ip IS NOT NULL GROUP BY 1
         ), per_program AS (
           SELECT ip, ja4, user_agent, CAST(count(*) - 1 AS DOUBLE) AS again, CAST(count(DISTINCT ja3) - 1 AS DOUBLE) AS new_ja3
           FROM mine WHERE ip IS NOT NULL AND ja3 IS NOT NULL GROUP BY 1, 2, 3
         ), per_place AS (
           SELECT CAST(count(*) - 1 AS DOUBLE) AS again, CAST(count(DISTINCT user_agent) - 1 AS DOUBLE) AS new_agent
           FROM mine WHERE NOT usual_pair AND ip IS NOT NULL AND ja4 IS NOT NULL AND user_agent IS NOT NULL GROUP BY ip, ja4
         ), per_visit AS (
           SELECT CAST(count(DISTINCT concat(coalesce(ip, ''), ' ', CAST(coalesce(session_key, 0) AS VARCHAR))) - 1 AS DOUBLE) AS again,
             CAST(count(DISTINCT ja3) - 1 AS DOUBLE) AS new_ja3
           FROM mine WHERE NOT usual_pair AND ja4 IS NOT NULL AND ja3 IS NOT NULL GROUP BY ja4
         )
         SELECT m.requests, c.clients, c.busiest, m.ips, a.agents, m.slow, m.paths, m.usual, m.home, a.even, m.answered, m.signed_in,
           g.again, g.new_ja3, m.stopped, c.even, t.again, t.new_agent, v.again, v.new_ja3, a.busiest
         FROM (
           SELECT
             CAST(count(*) AS DOUBLE) AS requests, CAST(count(DISTINCT ip) AS DOUBLE) AS ips,
             CAST(count(*) FILTER (WHERE latency_us > {HELD_US}) AS DOUBLE) AS slow,
             CAST(count(*) FILTER (WHERE status < 400 OR latency_us > 10000000) AS DOUBLE) AS answered,
             CAST(count(DISTINCT split_part(path, '?', 1)) AS DOUBLE) AS paths,
             CAST(count(*) FILTER (WHERE {STOPPED}) AS DOUBLE) AS stopped,
             CAST(count(*) FILTER (WHERE usual_pair) AS DOUBLE) AS usual,
             CAST(count(*) FILTER (WHERE at_home) AS DOUBLE) AS home,
             CAST(count(account) AS DOUBLE) AS signed_in
           FROM mine
         ) m CROSS JOIN (
           SELECT CAST(count(*) AS DOUBLE) AS clients, max(n) AS busiest, sum(n) * sum(n) / sum(n * n) AS even FROM per_client
         ) c CROSS JOIN (
           SELECT sum(n) * sum(n) / sum(n * n) AS even, sum(n * agents) / sum(n) AS agents, max(n) AS busiest FROM per_ip
         ) a CROSS JOIN (SELECT sum(again) AS again, sum(new_ja3) AS new_ja3 FROM per_program) g
         CROSS JOIN (SELECT sum(again) AS again, sum(new_agent) AS new_agent FROM per_place) t
         CROSS JOIN (SELECT sum(again) AS again, sum(new_ja3) AS new_ja3 FROM per_visit) v"
    )
}

async fn foreign_share(
    base: &Base,
    mine: Option<&str>,
    homes: &Homes,
    scale: f64,
) -> Result<Option<f64>, PipelineError> {
    let sql = format!(
        "SELECT ja4, network, CAST(count(*) FILTER (WHERE during) AS DOUBLE), CAST(count(*) FILTER (WHERE NOT during) AS DOUBLE)
         FROM base WHERE odd AND {} GROUP BY 1, 2",
        mine.unwrap_or("true"),
    );
    // What came beyond the usual, and all that came: the latter speaks where the hours before brought as much.
    let (mut beyond, mut came) = ([0.0, 0.0], [0.0, 0.0]);
    for batch in base.query(&sql).await? {
        let Ok(ja4) = cast(batch.column(0), &DataType::Utf8) else { continue };
        let (ja4, network) = (ja4.as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        for r in 0..batch.num_rows() {
            let n = number(&batch, 2, r);
            let net = n - number(&batch, 3, r) * scale;
            let program = ja4.is_valid(r).then(|| hash64(ja4.value(r)));
            let foreign = f64::from(u8::from(homes.is_foreign(program, network.value(r))));
            for ([part, all], n) in [(&mut beyond, net), (&mut came, n)] {
                *part += foreign * n;
                *all += n;
            }
        }
    }
    let [part, all] = if beyond[1] > 0.0 { beyond } else { came };
    Ok((all > 0.0).then(|| (part / all).clamp(0.0, 1.0)))
}

// A service that is kept busy answers everybody late: what members met in the same minute is no cost of
// these requests.
async fn cost(base: &Base, mine: Option<&str>) -> Result<Option<Cost>, PipelineError> {
    const ANSWERED: &str = "status < 400";
    let sql = format!(
        "WITH usual AS (
           SELECT route AS u_route, avg(CAST(latency_us AS DOUBLE)) AS u FROM base WHERE NOT during AND NOT odd AND {ANSWERED} AND latency_us < 10000000 GROUP BY 1
         ), timed AS (
           SELECT date_bin(INTERVAL '1 minute', b.time) AS minute, b.strange, CAST(count(*) AS DOUBLE) AS n,
             sum(CAST(b.latency_us AS DOUBLE)) AS took, sum(u.u) AS due
           FROM usual u JOIN (
             SELECT time, route, latency_us, odd AS strange FROM base WHERE during AND {ANSWERED} AND (NOT odd OR {mine})
           ) b ON u.u_route = b.route
           GROUP BY 1, 2
         ), late AS (
           SELECT minute AS l_minute, greatest(took / due, 1.0) AS late FROM timed WHERE NOT strange AND due > 0
         )
         SELECT sum(t.n), sum(t.took), sum(t.due * coalesce(l.late, 1.0)) FROM late l RIGHT JOIN (SELECT * FROM timed WHERE strange) t ON l.l_minute = t.minute",
        mine = mine.unwrap_or("true"),
    );
    let mut out = None;
    for batch in base.query(&sql).await? {
        if batch.num_rows() > 0 && number(&batch, 2, 0) > 0.0 {
            let ratio = number(&batch, 1, 0) / number(&batch, 2, 0);
            out = Some(Cost { requests: number(&batch, 0, 0), ratio });
        }
    }
    Ok(out)
}

async fn members(base: &Base, out: &mut Look) -> Result<(), PipelineError> {
    let hit = format!("hll(coalesce(account, device)) FILTER (WHERE {HIT})");
    let sql = format!(
        "SELECT
           CAST(count(*) FILTER (WHERE during) AS DOUBLE), CAST(count(account) FILTER (WHERE during) AS DOUBLE),
           CAST(count(*) FILTER (WHERE NOT during) AS DOUBLE), CAST(count(account) FILTER (WHERE NOT during) AS DOUBLE),
           CAST(count(DISTINCT client) FILTER (WHERE during) AS DOUBLE), CAST(count(DISTINCT client) FILTER (WHERE NOT during) AS DOUBLE),
           hll_count({hit}), hll_low({hit}), hll_high({hit}),
           CAST(count(*) FILTER (WHERE familiar) AS DOUBLE),
           (SELECT CAST(max(n) AS DOUBLE) FROM (SELECT count(*) AS n FROM base WHERE during GROUP BY client) each)
         FROM base"
    );
    for batch in base.query(&sql).await? {
        if batch.num_rows() == 0 {
            continue;
        }
        let n = |c: usize| number(&batch, c, 0);
        out.all = [n(0), n(1), n(2), n(3)];
        out.clients = [n(4), n(5)];
        out.busiest = Some(n(10)).filter(|b| *b > 0.0);
        // No account, or nobody known from earlier days: which members were hit cannot be told.
        out.affected = (n(1) > 0.0 && n(9) > 0.0).then(|| (n(6), n(7), n(8)));
    }
    Ok(())
}

async fn members_by(base: &Base) -> Result<Vec<MemberSums>, PipelineError> {
    let mut out = Vec::new();
    for dimension in ["country", "agent_class", "asn"] {
        let sql = format!(
            "SELECT coalesce(CAST({dimension} AS VARCHAR), 'unknown') AS value, CAST(count(DISTINCT account) AS DOUBLE) AS members, CAST(count(*) AS DOUBLE)
             FROM base WHERE {HIT} GROUP BY 1 ORDER BY members DESC, value LIMIT {MEMBER_VALUES}"
        );
        for batch in base.query(&sql).await? {
            out.extend((0..batch.num_rows()).map(|r| MemberSums {
                dimension: dimension.to_owned(),
                value: text(batch.column(0), r),
                members: number(&batch, 1, r),
                requests: number(&batch, 2, r),
            }));
        }
    }
    Ok(out)
}
