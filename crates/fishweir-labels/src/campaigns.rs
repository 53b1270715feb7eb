//! Campaigns of attempts to sign in: who tries names and passwords that are not theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Interval, Model, NativeModel, NativeOutput, PipelineError, fingerprint, time_literal,
    utc_microseconds,
};

use crate::attempts::{DAYS, LOGINS, Loaded, load};
use crate::clusters::{Attempt, Cluster, Profile, clusters};
use crate::columns::{Columns, spec};

/// Version of the rules that make campaigns; stored with every row.
pub const CAMPAIGN_RULES: &str = "login-campaigns-4";
const CAMPAIGNS: &str = "login_campaigns";
const ATTEMPTS: &str = "login_campaign_attempts";
/// Days after its last attempt in which a campaign may go on.
const OPEN_DAYS: i64 = 3;
/// Longest that one campaign is followed; attempts are kept for a little more.
const LONGEST_DAYS: i64 = 35;
/// Days that tell what is usual.
const USUAL_DAYS: i64 = 28;

/// Native model of `login_campaigns` and of the attempts that belong to each.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoginCampaigns;

// Where campaigns that may still go on began, and those that lie beside them: whatever reaches into the
// interval that is written again is written again as a whole.
async fn reach(catalog: &Catalog, range: Interval) -> Result<i64, PipelineError> {
    let mut from_us = range.from_us - OPEN_DAYS * DAY_US;
    let earliest_us = range.from_us - LONGEST_DAYS * DAY_US;
    while catalog.lake().existing(CAMPAIGNS).await?.is_some() {
        let sql = format!(
            "SELECT CAST(min(start) AS BIGINT) FROM {CAMPAIGNS} WHERE start >= {} AND \"end\" >= {}",
            time_literal(earliest_us),
            time_literal(from_us)
        );
        let mut first_us = from_us;
        for batch in catalog.query(&[CAMPAIGNS], &sql).await? {
            let starts = batch.column(0).as_primitive::<Int64Type>();
            first_us = starts.iter().flatten().fold(first_us, i64::min);
        }
        let first_us = first_us.div_euclid(DAY_US) * DAY_US;
        if first_us >= from_us {
            break;
        }
        from_us = first_us;
    }
    Ok(from_us.div_euclid(DAY_US) * DAY_US)
}

struct Row {
    id: String,
    cluster: Cluster,
    kind: &'static str,
    tier: &'static str,
    tools: String,
    changes: String,
    reasons: String,
    running: bool,
}

fn tier(p: &Profile) -> &'static str {
    let each = p.attempts / p.sources.max(1.0);
    match () {
        () if each >= 20.0 => "few machines",
        () if each >= 3.0 => "machines in turn",
        () => "many homes",
    }
}

fn identity(kind: &str, first_us: i64, seed: &Attempt) -> String {
    let t = chrono::DateTime::from_timestamp_micros(first_us).unwrap_or_default();
    let mark = fingerprint([kind, &first_us.to_string(), &seed.name.to_string(), &seed.source.to_string()]);
    format!("login-{}-{kind}-{:04x}", t.format("%Y%m%dT%H%M"), mark & 0xFFFF)
}

fn top_tools(l: &Loaded, c: &Cluster) -> String {
    let mut by_tool: BTreeMap<u32, f64> = BTreeMap::new();
    for i in &c.members {
        *by_tool.entry(l.attempts[*i].tool).or_default() += l.attempts[*i].attempts;
    }
    let mut all: Vec<(u32, f64)> = by_tool.into_iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(l.tools.text(a.0).cmp(l.tools.text(b.0))));
    let top: Vec<serde_json::Value> = all
        .iter()
        .take(5)
        .map(|(t, n)| {
            let (ja4, agent) = l.tools.text(*t).split_once('|').unwrap_or_default();
            serde_json::json!({"ja4": ja4, "user_agent": agent, "attempts": n})
        })
        .collect();
    serde_json::Value::from(top).to_string()
}

// Days on which the actor did something else than the day before.
fn changes(l: &Loaded, c: &Cluster) -> String {
    let mut days: BTreeMap<i64, Vec<&Attempt>> = BTreeMap::new();
    for i in &c.members {
        days.entry(l.attempts[*i].first_us.div_euclid(DAY_US)).or_default().push(&l.attempts[*i]);
    }
    let mut out = Vec::new();
    let mut last: Option<[f64; 3]> = None;
    for (day, all) in days {
        let set = |f: &dyn Fn(&Attempt) -> i64| all.iter().map(|a| f(a)).collect::<BTreeSet<_>>().len();
        #[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
        let count = |n: usize| n as f64;
        let n: f64 = all.iter().map(|a| a.attempts).sum();
        let stopped: f64 = all.iter().map(|a| a.stopped).sum();
        let now = [
            n / count(set(&|a| a.source)).max(1.0),
            n,
            count(set(&|a| i64::from(a.tool))) / count(all.len()).max(1.0),
        ];
        if let Some(before) = last.filter(|_| n >= 10.0) {
            let names = ["attempts per machine", "attempts a day", "programs per attempt"];
            for ((name, a), b) in names.iter().zip(before).zip(now) {
                if a > 0.0 && b > 0.0 && !(0.2..=5.0).contains(&(b / a)) {
                    let t = chrono::DateTime::from_timestamp_micros(day * DAY_US).unwrap_or_default();
                    out.push(serde_json::json!({"day": t.format("%F").to_string(), "what": name, "from": a, "to": b, "stopped_share": stopped / n}));
                }
            }
        }
        last = Some(now);
    }
    serde_json::Value::from(out).to_string()
}

fn described(l: &Loaded, cluster: Cluster, now_us: i64) -> Option<Row> {
    let kind = cluster.profile.kind().name();
    let seed = l.attempts.get(*cluster.members.first()?)?;
    let reasons: serde_json::Map<String, serde_json::Value> =
        cluster.reasons.iter().map(|(why, n)| ((*why).to_owned(), (*n).into())).collect();
    Some(Row {
        id: identity(kind, cluster.profile.first_us, seed),
        kind,
        tier: tier(&cluster.profile),
        tools: top_tools(l, &cluster),
        changes: changes(l, &cluster),
        reasons: serde_json::Value::Object(reasons).to_string(),
        running: cluster.profile.last_us + OPEN_DAYS * DAY_US > now_us,
        cluster,
    })
}

fn table() -> TableSpec {
    let (text, time, float) = (DataType::Utf8, utc_microseconds(), DataType::Float64);
    let mut columns = vec![("start", time.clone()), ("end", time.clone())];
    columns.extend(["campaign_id", "kind", "source_tier"].map(|n| (n, text.clone())));
    columns.extend(NUMBERS.map(|n| (n.0, float.clone())));
    columns.extend(
        ["tools", "changes", "reasons", "status", "maturity", "label_source"].map(|n| (n, text.clone())),
    );
    columns.push(("computed_at", time));
    spec(CAMPAIGNS, &columns)
}

type Number = (&'static str, fn(&Profile) -> f64);
const NUMBERS: [Number; 18] = [
    ("attempts", |p| p.attempts),
    ("successes", |p| p.successes),
    ("accounts_reached", |p| p.accounts),
    ("names_tried", |p| p.names),
    ("stopped", |p| p.stopped),
    ("sources", |p| p.sources),
    ("prefixes", |p| p.prefixes),
    ("asns", |p| p.asns),
    ("countries", |p| p.countries),
    ("programs", |p| p.tools),
    ("passwords", |p| p.passwords),
    ("unknown_share", |p| p.unknown / p.looked_at()),
    ("breached_share", |p| p.breached / p.attempts),
    ("weak_share", |p| p.weak / p.attempts),
    ("success_share", |p| p.successes / p.looked_at()),
    ("peak_per_minute", |p| p.peak_per_minute),
    ("gap_median_s", |p| p.gap_median_s),
    ("gap_spread", |p| p.gap_spread),
];

fn attempt_table() -> TableSpec {
    let (text, time, int) = (DataType::Utf8, utc_microseconds(), DataType::Int64);
    let columns = [
        ("hour", time),
        ("campaign_id", text.clone()),
        ("account", int.clone()),
        ("identifier", int.clone()),
        ("device", int.clone()),
        ("asn", int.clone()),
        ("country", text),
        ("attempts", int.clone()),
        ("successes", int),
    ];
    spec(ATTEMPTS, &columns)
}

fn batches(l: &Loaded, rows: &[Row], now_us: i64) -> Result<[RecordBatch; 2], PipelineError> {
    let c = Columns { rows: rows.iter().collect() };
    let p = |r: &Row| r.cluster.profile.clone();
    let mut columns = vec![c.time(|r| p(r).first_us), c.time(|r| p(r).last_us)];
    columns.push(c.text(|r| r.id.clone()));
    columns.push(c.text(|r| r.kind.to_owned()));
    columns.push(c.text(|r| r.tier.to_owned()));
    columns.extend(NUMBERS.map(|(_, f)| c.float(move |r| Some(f(&r.cluster.profile)))));
    columns.push(c.text(|r| r.tools.clone()));
    columns.push(c.text(|r| r.changes.clone()));
    columns.push(c.text(|r| r.reasons.clone()));
    columns.push(c.text(|r| if r.running { "running" } else { "ended" }.to_owned()));
    columns.push(c.text(|r| if r.running { "provisional" } else { "final" }.to_owned()));
    columns.push(c.text(|_| CAMPAIGN_RULES.to_owned()));
    columns.push(c.time(|_| now_us));
    let campaigns = RecordBatch::try_new(Arc::clone(&table().schema), columns).map_err(failed)?;
    let members: Vec<(&str, usize)> =
        rows.iter().flat_map(|r| r.cluster.members.iter().map(|i| (r.id.as_str(), *i))).collect();
    let c = Columns { rows: members.iter().collect() };
    let a = |m: &(&str, usize)| &l.attempts[m.1];
    #[expect(clippy::cast_possible_truncation, reason = "counts of attempts")]
    let whole = |v: f64| Some(v as i64);
    let columns = vec![
        c.time(|m| l.hours[m.1]),
        c.text(|m| m.0.to_owned()),
        c.int(|m| a(m).account),
        c.int(|m| Some(a(m).name)),
        c.int(|m| Some(a(m).source)),
        c.int(|m| Some(a(m).asn)),
        c.text(|m| l.countries.text(a(m).country).to_owned()),
        c.int(|m| whole(a(m).attempts)),
        c.int(|m| whole(a(m).successes)),
    ];
    let attempts = RecordBatch::try_new(Arc::clone(&attempt_table().schema), columns).map_err(failed)?;
    Ok([campaigns, attempts])
}

fn failed(e: arrow::error::ArrowError) -> PipelineError {
    PipelineError::Native { model: CAMPAIGNS.to_owned(), cause: e.to_string() }
}

#[async_trait]
impl NativeModel for LoginCampaigns {
    fn model(&self) -> Model {
        Model {
            keys: vec!["campaign_id".to_owned()],
            inputs: [LOGINS, DAYS].map(str::to_owned).to_vec(),
            ..Model::native(
                CAMPAIGNS,
                "Attempts to sign in that belong to one actor: what kind, how large, with what success, from where, and why they were put together.",
                fingerprint([CAMPAIGN_RULES, "2"]),
                "start",
            )
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        vec![table(), attempt_table()]
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        let wide = Interval::new(reach(catalog, range).await?, range.to_us);
        let span = Interval::new(wide.from_us - USUAL_DAYS * DAY_US, range.to_us);
        let have = catalog.lake().existing(LOGINS).await?.is_some()
            && catalog.lake().existing(DAYS).await?.is_some();
        let loaded = if have { load(catalog, span).await? } else { Loaded::default() };
        let found = clusters(&loaded.attempts, &loaded.usual);
        let rows: Vec<Row> = found
            .into_iter()
            .filter(|c| wide.contains(c.profile.first_us))
            .filter_map(|c| described(&loaded, c, now_us))
            .collect();
        let [campaigns, attempts] = batches(&loaded, &rows, now_us)?;
        let tables =
            BTreeMap::from([(CAMPAIGNS.to_owned(), vec![campaigns]), (ATTEMPTS.to_owned(), vec![attempts])]);
        Ok(NativeOutput { range: Some(wide), tables })
    }
}
