//! The requests around a surge, each with who sent it.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use fishweir_pipeline::{Catalog, DAY_US, Interval, MINUTE_US, PipelineError, time_literal};
use futures::StreamExt;

use crate::series::between_sql;
use crate::strangers::Kind;

const HOUR_US: i64 = 60 * MINUTE_US;
/// A session that was granted a licence so long ago may still be watching.
pub(crate) const FOLLOWED_HOURS: i64 = 8;
/// Days for which a program or network stays a home on the first days of data.
const HOMES_DAYS: i64 = 3;
const LICENCE: &str = "(route LIKE '%licence%' OR route LIKE '%license%')";
/// Condition on a request that a defence stopped.
pub(crate) const STOPPED: &str = "coalesce(mode, 'enforce') = 'enforce' AND (action IN ('block', 'limit') OR (action IN ('challenge', 'step_up') AND coalesce(challenge_result, '') <> 'passed'))";
const TABLES: [&str; 3] = ["requests", "seen_clients", "home_hours"];
const COLUMNS: &str = "time, route, method, country, asn, ja4, ja3, agent_class, ip, ip_prefix, user_agent, path, status, latency_us, action, mode, defence, rule, rule_version, challenge_result, account, device, session_key, during, client, network, odd, familiar, watched";
/// Bytes up to which the rows are kept: most surges are asked about a dozen times.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// Part of the memory limit that they may take: the questions need some, too.
const KEPT_PART: usize = 8;

/// The requests of a surge and of the time before it, as table `base` of a session: those of the stream with `during`, the
/// `client`, its `network`, whether it is a stranger (`odd`), known from earlier days (`familiar`) and of a session that was
/// granted a licence (`watched`).
pub(crate) struct Base {
    context: SessionContext,
    // As long as the rows are kept.
    _taken: Option<MemoryReservation>,
}

impl Base {
    pub(crate) async fn new(
        catalog: &Catalog,
        during: Interval,
        before: Interval,
        kind: Kind,
    ) -> Result<Self, PipelineError> {
        let context = catalog.session_of(&TABLES).await?;
        let told = context.table_exist("seen_clients").map_err(PipelineError::query("seen_clients"))?;
        let sql = match kind {
            Kind::New => new_sql(during, before, told),
            Kind::Foreign => foreign_sql(during, before),
        };
        let failed = |e| PipelineError::query(&sql)(e);
        let frame = context.sql(&sql).await.map_err(failed)?;
        let kept = keep(&context, frame.clone()).await.map_err(failed)?;
        let (table, taken) = match kept {
            Some((rows, taken)) => {
                let table = MemTable::try_new(Arc::new(frame.schema().as_arrow().clone()), vec![rows]);
                (Arc::new(table.map_err(failed)?) as _, Some(taken))
            }
            None => (frame.into_view(), None),
        };
        context.register_table("base", table).map_err(failed)?;
        Ok(Self { context, _taken: taken })
    }

    /// Returns the rows of a query over `base`.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>, PipelineError> {
        let frame = self.context.sql(sql).await.map_err(PipelineError::query(sql))?;
        frame.collect().await.map_err(PipelineError::query(sql))
    }
}

// The rows of a frame with the memory they take; `None` where they are too many, or there is no memory to make them beside
// those that are kept.
async fn keep(
    context: &SessionContext,
    frame: DataFrame,
) -> Result<Option<(Vec<RecordBatch>, MemoryReservation)>, DataFusionError> {
    let pool = &context.runtime_env().memory_pool;
    let most = match pool.memory_limit() {
        MemoryLimit::Finite(bytes) => KEPT_BYTES_MAX.min(bytes / KEPT_PART),
        MemoryLimit::Infinite | MemoryLimit::Unknown => KEPT_BYTES_MAX,
    };
    let taken = MemoryConsumer::new("requests around a surge").register(pool);
    let mut stream = frame.execute_stream().await?;
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = match batch {
            Err(e) if matches!(e.find_root(), DataFusionError::ResourcesExhausted(_)) => return Ok(None),
            batch => compact(&batch?)?,
        };
        if taken.try_grow(batch.get_array_memory_size()).is_err() || taken.size() > most {
            return Ok(None);
        }
        rows.push(batch);
    }
    Ok(Some((rows, taken)))
}

// Texts of a batch point into whole pages of the files that they were read from.
fn compact(batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().map(|c| match c.data_type() {
        DataType::Utf8View => Arc::new(c.as_string_view().gc()) as _,
        _ => c.clone(),
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

// Requests of both windows, each with whether it is of the surge and whether it is a stranger's: the
// same definition as in `stranger_minutes`, with sessions followed to a quarter of an hour after.
// Markers of their own say whether a join found anything: a join key asked for null is taken for the
// other side's key by the optimizer of DataFusion 55.
fn new_sql(during: Interval, before: Interval, told: bool) -> String {
    let day = during.from_us - during.from_us.rem_euclid(DAY_US);
    let hull = Interval::new(before.from_us, during.to_us);
    debug_assert!(before.to_us <= during.from_us);
    let wide = Interval::new(before.from_us - FOLLOWED_HOURS * HOUR_US, during.to_us + HOUR_US / 4);
    let seen = Interval::new(day - 8 * DAY_US, day - DAY_US);
    let known = if told {
        format!(
            "SELECT DISTINCT client AS known_key, asn AS known_network, true AS is_known FROM seen_clients WHERE {}",
            between_sql("hour", seen)
        )
    } else {
        "SELECT hash64('') AS known_key, CAST(-2 AS BIGINT) AS known_network, true AS is_known".to_owned()
    };
    format!(
        "WITH known AS ({known}), played AS (
           SELECT DISTINCT session_key, true AS has_played FROM (
             SELECT hash64(session) AS session_key FROM requests
             WHERE {wide} AND session IS NOT NULL AND {LICENCE} AND status < 400
             UNION ALL
             SELECT r.session_key FROM (
               SELECT DISTINCT hash64(session) AS session_key, hash64(coalesce(device, ip, '')) AS client FROM requests
               WHERE {wide} AND session IS NOT NULL AND {LICENCE} AND status >= 400 AND {STOPPED}
             ) r JOIN known d ON d.known_key = r.client
           ) asked
         ), hits AS (
           SELECT *, time >= {from} AS during, hash64(coalesce(device, ip, '')) AS client,
             coalesce(asn, -1) AS network, hash64(session) AS session_key
           FROM requests WHERE {hull} AND (({d}) OR ({b}))
         ), base AS (
           SELECT h.*, h.is_known IS NULL AND p.has_played IS NULL AS odd, h.is_known IS NOT NULL AS familiar, p.has_played IS NOT NULL AS watched
           FROM played p RIGHT JOIN (
             SELECT h0.*, k.is_known FROM known k RIGHT JOIN hits h0 ON k.known_key = h0.client AND k.known_network = h0.network
           ) h ON p.session_key = h.session_key
         ) SELECT {COLUMNS} FROM base",
        wide = between_sql("time", wide),
        from = time_literal(during.from_us),
        hull = between_sql("time", hull),
        d = between_sql("time", during),
        b = between_sql("time", before),
    )
}

// The same where only the foreign are told: the definition of `foreign_minutes`, with homes up to the end of the surge.
fn foreign_sql(during: Interval, before: Interval) -> String {
    debug_assert!(before.to_us <= during.from_us);
    let wide = Interval::new(before.from_us - FOLLOWED_HOURS * HOUR_US, during.to_us + HOUR_US / 4);
    let remembered = Interval::new(before.from_us - HOMES_DAYS * DAY_US, during.to_us);
    format!(
        "WITH played AS (
           SELECT DISTINCT hash64(session) AS session_key, true AS has_played FROM requests
           WHERE {wide} AND session IS NOT NULL AND {LICENCE} AND status < 400
         ), homes AS (
           SELECT DISTINCT r.ja4 AS home_program, coalesce(r.asn, -1) AS home_network FROM played p
           JOIN (SELECT * FROM requests WHERE {wide} AND session IS NOT NULL) r ON p.session_key = hash64(r.session)
           UNION ALL
           SELECT DISTINCT ja4, asn FROM home_hours WHERE {remembered}
         ), programs AS (
           SELECT DISTINCT home_program, true AS program_home FROM homes
         ), networks AS (
           SELECT DISTINCT home_network, true AS network_home FROM homes
         ), hits AS (
           SELECT *, time >= {from} AS during, hash64(coalesce(device, ip, '')) AS client,
             coalesce(asn, -1) AS network, hash64(session) AS session_key
           FROM requests WHERE {hull} AND (({d}) OR ({b}))
         ), base AS (
           SELECT h.*, h.has_played IS NULL
             AND ((h.ja4 IS NOT NULL AND h.program_home IS NULL) OR (h.network >= 0 AND n.network_home IS NULL)) AS odd,
             h.has_played IS NOT NULL AS familiar, h.has_played IS NOT NULL AS watched
           FROM networks n RIGHT JOIN (
             SELECT h1.*, m.program_home FROM programs m RIGHT JOIN (
               SELECT h0.*, p.has_played FROM played p RIGHT JOIN hits h0 ON p.session_key = h0.session_key
             ) h1 ON m.home_program = h1.ja4
           ) h ON n.home_network = h.network
         ) SELECT {COLUMNS} FROM base",
        wide = between_sql("time", wide),
        remembered = between_sql("hour", remembered),
        from = time_literal(during.from_us),
        hull = between_sql("time", Interval::new(before.from_us, during.to_us)),
        d = between_sql("time", during),
        b = between_sql("time", before),
    )
}
