//! Episodes with the votes on them.

use std::collections::HashMap;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError, time_literal, utc_microseconds};
use futures::StreamExt;

use crate::behaviour::FEATURES;
use crate::drivers::Traces;
use crate::functions::{Function, Vote};
use crate::series::{between_sql, words};

pub(crate) const EPISODES: &str = "account_episodes";
/// Days after an episode in which evidence of it may still arrive.
pub(crate) const LATE_DAYS: i64 = 30;
const TABLES: [&str; 6] =
    [EPISODES, "contact_hours", "account_change_hours", "account_days", "verdicts", "login_campaigns"];

/// Columns that the behaviour model reads; no labelling function may.
pub(crate) const BEHAVIOUR: [&str; FEATURES] =
    ["hours", "hour_utc", "asn_accounts", "ja4_accounts", "routes", "sessions", "idle_days", "sign_in_wrong"];

/// What was new about an account on a day; the fields are those of the use that speaks loudest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Episode {
    pub(crate) day_us: i64,
    pub(crate) account: i64,
    pub(crate) account_id: String,
    pub(crate) device: i64,
    pub(crate) asn: i64,
    pub(crate) country: String,
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    pub(crate) new_network: bool,
    pub(crate) new_country: bool,
    /// The account was not used at all in the weeks before.
    pub(crate) unseen: bool,
    pub(crate) votes: u64,
    pub(crate) features: [f32; FEATURES],
    pub(crate) sign_ins: f64,
    pub(crate) campaign: Option<String>,
    pub(crate) contact_us: Option<i64>,
    pub(crate) reset_us: Option<i64>,
    pub(crate) traces: Traces,
}

// What analysts said of the account or the episode.
fn judged_sql(key: &str, until: &str) -> String {
    let v_d = "CAST(floor(CAST(v.time AS BIGINT) / 86400000000) AS BIGINT)";
    format!(
        "said_of AS (
           SELECT {key}, v.verdict FROM e JOIN verdicts v ON v.subject = e.account_id
           WHERE v.subject_kind = 'account' AND v.time < {until} AND v.time >= e.first_at AND {v_d} <= e.d + 45
           UNION ALL
           SELECT {key}, v.verdict FROM e JOIN verdicts v ON v.subject = e.episode_id
           WHERE v.subject_kind = 'episode' AND v.time < {until}
         ), judged AS (
           SELECT k1, k2, k3, k4, k5,
             max(CASE WHEN verdict IN ('attack', 'takeover') THEN 1 ELSE 0 END) AS verdict_takeover,
             max(CASE WHEN verdict IN ('benign', 'not_takeover') THEN 1 ELSE 0 END) AS verdict_benign
           FROM said_of GROUP BY 1, 2, 3, 4, 5"
    )
}

// What happened after the day, up to the end of what may be known.
fn late_sql(span: Interval) -> String {
    let until = time_literal(span.to_us);
    let d = |c: &str| format!("CAST(floor(CAST({c} AS BIGINT) / 86400000000) AS BIGINT)");
    let key = "e.account AS k1, e.d AS k2, e.device AS k3, e.asn AS k4, e.ja4 AS k5";
    format!(
        "WITH e AS (
           SELECT *, {e_d} AS d FROM {EPISODES} WHERE {episodes}
         ), said AS (
           SELECT {key},
             sum(CASE WHEN c.flag = 'compromised' THEN c.contacts ELSE 0 END) AS contact_compromised,
             sum(CASE WHEN c.flag = 'not_compromised' THEN c.contacts ELSE 0 END) AS contact_not_compromised,
             sum(c.contacts) AS contact_takeover, min(c.first_at) AS contact_at
           FROM e JOIN contact_hours c ON c.account = e.account
           WHERE c.topic = 'account_takeover' AND c.hour < {until} AND {c_d} >= e.d - 1 AND {c_d} <= e.d + {LATE_DAYS}
           GROUP BY 1, 2, 3, 4, 5
         ), reset AS (
           SELECT {key}, sum(c.changes) AS support_resets_after, min(c.first_at) AS reset_at
           FROM e JOIN account_change_hours c ON c.account = e.account
           WHERE c.actor = 'support' AND c.change = 'password' AND c.hour < {until} AND c.first_at > e.first_at AND {c_d} <= e.d + 14
           GROUP BY 1, 2, 3, 4, 5
         ), uses AS (
           SELECT account, device, asn, ja4, {u_d} AS d, licences FROM account_days WHERE day >= {history} AND day < {until}
         ), networks AS (
           SELECT u.account AS w_account, u.asn AS w_asn, min(u.d) AS network_first
           FROM (SELECT DISTINCT account FROM e) a JOIN uses u ON u.account = a.account GROUP BY 1, 2
         ), later AS (
           SELECT {key},
             count(DISTINCT CASE WHEN u.licences > 0 THEN u.d END) AS days_watched_after,
             max(CASE WHEN w.network_first < e.d AND u.asn <> e.asn THEN 1 ELSE 0 END) AS home_network_after,
             max(CASE WHEN w.network_first < e.d AND u.asn <> e.asn AND (u.ja4 = e.ja4 OR NOT e.new_program) AND u.d <= e.d + 3 THEN 1 ELSE 0 END) AS same_device_home_after,
             count(DISTINCT CASE WHEN u.ja4 = e.ja4 AND u.d > e.d THEN u.d END) AS program_days_after,
             count(DISTINCT CASE WHEN u.ja4 <> e.ja4 AND u.ja4 <> '' AND u.d > e.d THEN u.d END) AS other_program_days_after
           FROM e JOIN uses u ON u.account = e.account AND u.device = e.device
           JOIN networks w ON w.w_account = u.account AND w.w_asn = u.asn
           WHERE u.d >= e.d AND u.d <= e.d + 14
           GROUP BY 1, 2, 3, 4, 5
         ), {judged}
         ), kinds AS (
           SELECT campaign_id AS q_id, min(kind) AS campaign_kind FROM login_campaigns GROUP BY 1
         )
         SELECT e.*, q.campaign_kind,
           coalesce(s.contact_compromised, 0) AS contact_compromised,
           coalesce(s.contact_not_compromised, 0) AS contact_not_compromised,
           coalesce(s.contact_takeover, 0) AS contact_takeover, s.contact_at,
           coalesce(r.support_resets_after, 0) AS support_resets_after, r.reset_at,
           coalesce(l.days_watched_after, 0) AS days_watched_after,
           coalesce(l.home_network_after, 0) = 1 AS home_network_after,
           coalesce(l.same_device_home_after, 0) = 1 AS same_device_home_after,
           coalesce(l.program_days_after, 0) AS program_days_after,
           coalesce(l.other_program_days_after, 0) AS other_program_days_after,
           coalesce(j.verdict_takeover, 0) AS verdict_takeover, coalesce(j.verdict_benign, 0) AS verdict_benign
         FROM e
         LEFT JOIN said s ON s.k1 = e.account AND s.k2 = e.d AND s.k3 = e.device AND s.k4 = e.asn AND s.k5 = e.ja4
         LEFT JOIN reset r ON r.k1 = e.account AND r.k2 = e.d AND r.k3 = e.device AND r.k4 = e.asn AND r.k5 = e.ja4
         LEFT JOIN later l ON l.k1 = e.account AND l.k2 = e.d AND l.k3 = e.device AND l.k4 = e.asn AND l.k5 = e.ja4
         LEFT JOIN judged j ON j.k1 = e.account AND j.k2 = e.d AND j.k3 = e.device AND j.k4 = e.asn AND j.k5 = e.ja4
         LEFT JOIN kinds q ON q.q_id = coalesce(e.campaign_id, e.account_campaign_id)",
        e_d = d("day"),
        c_d = d("c.hour"),
        u_d = d("day"),
        judged = judged_sql(key, &until),
        episodes = between_sql("day", span),
        history = time_literal(span.from_us - 42 * DAY_US),
    )
}

// One episode per account and day. A thief comes through several machines, so what speaks for a
// takeover counts wherever it shows; a member is vouched for only when every new use is.
fn folded(all: Vec<Episode>, accusing: u64) -> Vec<Episode> {
    let mut out: Vec<Episode> = Vec::new();
    let loud = |e: &Episode| {
        let (bad, good) = ((e.votes & accusing).count_ones(), (e.votes & !accusing).count_ones());
        (bad, std::cmp::Reverse(good))
    };
    let mut loudest_voice = (0, std::cmp::Reverse(0));
    for e in all {
        let Some(last) = out.last_mut().filter(|l| (l.day_us, l.account) == (e.day_us, e.account)) else {
            loudest_voice = loud(&e);
            out.push(e);
            continue;
        };
        let votes = ((last.votes | e.votes) & accusing) | (last.votes & e.votes & !accusing);
        let (first_us, last_us) = (last.first_us.min(e.first_us), last.last_us.max(e.last_us));
        let sign_ins = last.sign_ins + e.sign_ins;
        let campaign = last.campaign.clone().or_else(|| e.campaign.clone());
        let traces = last.traces.clone().with(&e.traces);
        let voice = loud(&e);
        let loudest = if voice > loudest_voice { e } else { last.clone() };
        loudest_voice = loudest_voice.max(voice);
        *last = Episode { votes, first_us, last_us, sign_ins, campaign, traces, ..loudest };
    }
    out
}

/// Returns the episodes of a span with the vote of each function as a bit; nothing at or after its end
/// is read.
pub(crate) async fn load(
    catalog: &Catalog,
    span: Interval,
    functions: &[Function],
) -> Result<Vec<Episode>, PipelineError> {
    for name in TABLES {
        if catalog.lake().existing(name).await?.is_none() {
            return Ok(Vec::new());
        }
    }
    let votes: Vec<String> = functions
        .iter()
        .enumerate()
        .map(|(i, f)| format!("coalesce(({}), false) AS f_{i}", f.when))
        .collect();
    let behaviour: Vec<String> = BEHAVIOUR.iter().map(|b| format!("CAST({b} AS DOUBLE) AS b_{b}")).collect();
    let facts = "day, account, account_id, device, asn, country, first_at, last_at, CAST(sign_ins AS DOUBLE) AS sign_ins,
        campaign_id, account_campaign_id, campaign_kind, contact_at, reset_at, leak_age_days IS NOT NULL AS leaked,
        coalesce(leak_password_match, false) AS leak_match, leak_vendor, weak, breached, support_email_changes > 0 AS by_support,
        reactivations > 0 AS reactivated, new_device, new_network, new_country, history_days IS NULL AS unseen";
    let sql = format!(
        "SELECT {facts}, {}{}{} FROM ({})",
        behaviour.join(", "),
        if votes.is_empty() { "" } else { ", " },
        votes.join(", "),
        late_sql(span)
    );
    let context = catalog.session_of(&TABLES).await?;
    check(&context, &late_sql(span), functions).await?;
    let mut out = Vec::new();
    let frame = context.sql(&sql).await.map_err(PipelineError::query(&sql))?;
    let mut batches = frame.execute_stream().await.map_err(PipelineError::query(&sql))?;
    // WHY: read as they come and sorted here: joined rows share large buffers of text, which a sort of the
    // engine would hold once for every batch.
    while let Some(batch) = batches.next().await {
        read(&batch.map_err(PipelineError::query(&sql))?, functions.len(), &mut out)?;
    }
    let accusing = functions
        .iter()
        .enumerate()
        .filter(|(_, f)| f.vote == Vote::Takeover)
        .fold(0u64, |bits, (i, _)| bits | 1 << i);
    Ok(in_order(out, accusing))
}

/// Returns one episode per account and day, in the order in which they began.
///
/// A device may have an episode for each of its programs: rows come in any order and fold alike, whatever the key of
/// the pseudonyms.
pub(crate) fn in_order(mut all: Vec<Episode>, accusing: u64) -> Vec<Episode> {
    all.sort_unstable_by_key(|e| (e.day_us, e.account, e.first_us, e.last_us, e.votes, e.asn, e.device));
    let mut all = folded(all, accusing);
    all.sort_by_key(|e| (e.day_us, e.first_us, e.last_us, e.votes, e.account));
    all
}

// A condition that cannot be planned is named by its function and file, not by our query.
async fn check(
    context: &datafusion::prelude::SessionContext,
    from: &str,
    functions: &[Function],
) -> Result<(), PipelineError> {
    for f in functions {
        let sql = format!("SELECT ({}) AS fires FROM ({from})", f.when);
        let wrong = |cause: String| PipelineError::Query {
            what: format!("labelling function `{}` (`{}`)", f.name, f.file),
            cause,
        };
        let frame = context.sql(&sql).await.map_err(|e| wrong(e.strip_backtrace()))?;
        if *frame.schema().field(0).data_type() != DataType::Boolean {
            return Err(wrong("`when` is neither true nor false".to_owned()));
        }
        let mut names = f.when.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        if let Some(b) = names.find(|w| BEHAVIOUR.contains(w)) {
            return Err(wrong(format!(
                "`{b}` is kept for the behaviour model, so that the two stay independent"
            )));
        }
    }
    Ok(())
}

fn read(batch: &RecordBatch, functions: usize, out: &mut Vec<Episode>) -> Result<(), PipelineError> {
    let bad = |e: arrow::error::ArrowError| PipelineError::Query {
        what: EPISODES.to_owned(),
        cause: e.to_string(),
    };
    let index: HashMap<String, usize> =
        batch.schema().fields().iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect();
    let at = |name: &str| index.get(name).copied().unwrap_or(0);
    let time = |name: &str| cast(batch.column(at(name)), &utc_microseconds()).map_err(bad);
    let (day, first, last) = (time("day")?, time("first_at")?, time("last_at")?);
    let (contact, reset) = (time("contact_at")?, time("reset_at")?);
    let us = |a: &arrow::array::ArrayRef, r: usize| {
        let a = a.as_primitive::<TimestampMicrosecondType>();
        a.is_valid(r).then(|| a.value(r))
    };
    let int = |name: &str, r: usize| batch.column(at(name)).as_primitive::<Int64Type>().value(r);
    let float = |column: usize, r: usize| {
        let c = batch.column(column).as_primitive::<Float64Type>();
        if c.is_valid(r) { c.value(r) } else { f64::NAN }
    };
    let flag = |name: &str, r: usize| {
        let c = batch.column(at(name)).as_boolean();
        c.is_valid(r) && c.value(r)
    };
    let texts =
        ["account_id", "country", "campaign_id", "account_campaign_id", "campaign_kind", "leak_vendor"]
            .map(|n| words(batch, at(n)));
    let vote_columns: Vec<usize> = (0..functions).map(|i| at(&format!("f_{i}"))).collect();
    let behaviour = BEHAVIOUR.map(|b| at(&format!("b_{b}")));
    for r in 0..batch.num_rows() {
        let text = |k: usize| texts.get(k).and_then(|t| t.get(r)).cloned().unwrap_or_default();
        let some = |k: usize| Some(text(k)).filter(|t| !t.is_empty());
        let votes = vote_columns
            .iter()
            .enumerate()
            .fold(0u64, |v, (i, c)| v | u64::from(batch.column(*c).as_boolean().value(r)) << i);
        #[expect(clippy::cast_possible_truncation, reason = "bins do not need more")]
        let features = behaviour.map(|c| float(c, r) as f32);
        out.push(Episode {
            day_us: us(&day, r).unwrap_or(0),
            account: int("account", r),
            account_id: text(0),
            device: int("device", r),
            asn: int("asn", r),
            country: text(1),
            first_us: us(&first, r).unwrap_or(0),
            last_us: us(&last, r).unwrap_or(0),
            new_network: flag("new_network", r),
            new_country: flag("new_country", r),
            unseen: flag("unseen", r),
            votes,
            features,
            sign_ins: float(at("sign_ins"), r),
            campaign: some(2).or_else(|| some(3)),
            contact_us: us(&contact, r),
            reset_us: us(&reset, r),
            traces: traces(batch, &at, &texts, r),
        });
    }
    Ok(())
}

fn traces(batch: &RecordBatch, at: &dyn Fn(&str) -> usize, texts: &[Vec<String>; 6], r: usize) -> Traces {
    let some = |k: usize| texts.get(k).and_then(|t| t.get(r)).cloned().filter(|t| !t.is_empty());
    let sign_ins = batch.column(at("sign_ins")).as_primitive::<Float64Type>();
    let flag = |name: &str| {
        let c = batch.column(at(name)).as_boolean();
        c.is_valid(r) && c.value(r)
    };
    Traces {
        campaign: some(4),
        leaked: flag("leaked"),
        leak_match: flag("leak_match"),
        vendor: some(5),
        weak: flag("weak"),
        breached: flag("breached"),
        by_support: flag("by_support"),
        reactivated: flag("reactivated"),
        new_device: flag("new_device"),
        signed_in: sign_ins.is_valid(r) && sign_ins.value(r) > 0.0,
    }
}
