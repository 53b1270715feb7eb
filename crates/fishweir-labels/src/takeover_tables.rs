//! The tables that the takeover model writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{DAY_US, PipelineError, utc_microseconds};
use serde_json::json;

use crate::columns::{Columns, spec};
use crate::drivers::{DRIVERS, driver_cure, driver_name};
use crate::episodes::LATE_DAYS;
use crate::functions::{Function, Vote};
use crate::takeovers::{Judged, KEPT, Performance, Said, Takeover};

pub(crate) const TAKEOVERS: &str = "account_takeovers";
const LABELS: &str = "account_episode_labels";
const DRIVER_TABLE: &str = "takeover_drivers";
const FUNCTIONS: &str = "labelling_functions";
const DAYS: &str = "takeover_days";

type Field = (&'static str, DataType);

fn fields(parts: &[(&[&'static str], DataType)]) -> Vec<Field> {
    parts.iter().flat_map(|(names, kind)| names.iter().map(|n| (*n, kind.clone()))).collect()
}

/// Returns every table, the first being the model's own.
pub(crate) fn all() -> Vec<TableSpec> {
    let (text, time, float) = (DataType::Utf8, utc_microseconds(), DataType::Float64);
    let (int, flag) = (DataType::Int64, DataType::Boolean);
    let takeovers = fields(&[
        (&["start", "end"], time.clone()),
        (&["takeover_id", "account"], text.clone()),
        (&["p_takeover", "p_low", "p_high", "p_variance", "p_at_once"], float.clone()),
        (&["episodes", "device", "asn"], int.clone()),
        (&["country", "campaign_id", "votes", "driver"], text.clone()),
        (&["driver_share"], float.clone()),
        (&["detected_at", "contact_at", "recovered_at"], time.clone()),
        (&["time_to_detect_s", "time_to_recover_s"], float.clone()),
        (&["before_contact"], flag.clone()),
        (&["maturity", "label_source"], text.clone()),
        (&["computed_at"], time.clone()),
    ]);
    let labels = fields(&[
        (&["day", "first_at"], time.clone()),
        (&["account", "device", "asn"], int),
        (&["p_takeover", "p_votes", "p_at_once", "behaviour_log_odds", "sign_ins"], float.clone()),
        (&["votes", "label_source"], text.clone()),
    ]);
    let drivers = fields(&[
        (&["start"], time.clone()),
        (&["takeover_id", "driver"], text.clone()),
        (&["share", "weight", "weight_low", "weight_high", "weight_variance"], float.clone()),
        (&["vendor", "cure"], text.clone()),
    ]);
    let functions = fields(&[
        (&["day"], time.clone()),
        (&["function", "vote", "owner", "evidence", "together_with"], text.clone()),
        (&["version"], DataType::Int64),
        (&["late"], flag),
        (
            &[
                "fired",
                "overlaps",
                "conflicts",
                "takeover_rate",
                "benign_rate",
                "precision",
                "weight_bits",
                "added_7d",
            ],
            float.clone(),
        ),
    ]);
    let days = fields(&[
        (&["day"], time),
        (
            &[
                "active_accounts",
                "episodes",
                "takeovers",
                "takeovers_low",
                "takeovers_high",
                "takeovers_variance",
            ],
            float,
        ),
        (&["label_source"], text),
    ]);
    vec![
        spec(TAKEOVERS, &takeovers),
        spec(LABELS, &labels),
        spec(DRIVER_TABLE, &drivers),
        spec(FUNCTIONS, &functions),
        spec(DAYS, &days),
    ]
}

/// Returns the rows of every table.
pub(crate) fn batches(
    said: &Said,
    functions: &[Function],
    source: &str,
    to_us: i64,
    now_us: i64,
) -> Result<BTreeMap<String, Vec<RecordBatch>>, PipelineError> {
    let specs = all();
    let columns = [
        takeovers(said, functions, source, now_us),
        labels(said, functions, source),
        drivers(said),
        performance(&said.functions, to_us),
        days(said, source),
    ];
    let mut out = BTreeMap::new();
    for (spec, columns) in specs.into_iter().zip(columns) {
        let batch = RecordBatch::try_new(Arc::clone(&spec.schema), columns)
            .map_err(|e| PipelineError::Native { model: spec.name.clone(), cause: e.to_string() })?;
        out.insert(spec.name, vec![batch]);
    }
    Ok(out)
}

fn vote_names(votes: u64, functions: &[Function]) -> String {
    let fired: Vec<&str> = functions
        .iter()
        .enumerate()
        .filter(|(i, _)| votes >> i & 1 == 1)
        .map(|(_, f)| f.name.as_str())
        .collect();
    fired.join(" ")
}

// Every vote on the episodes of a takeover, with what it means.
fn evidence(t: &Takeover, judged: &[Judged], functions: &[Function]) -> String {
    let votes = t.episodes.iter().fold(0u64, |v, i| v | judged[*i].episode.votes);
    let all: Vec<serde_json::Value> = functions
        .iter()
        .enumerate()
        .filter(|(i, _)| votes >> i & 1 == 1)
        .map(|(_, f)| {
            let vote = if f.vote == Vote::Takeover { "takeover" } else { "benign" };
            json!({"function": f.name, "version": f.version, "vote": vote, "evidence": f.evidence})
        })
        .collect();
    serde_json::Value::from(all).to_string()
}

fn top_driver(t: &Takeover) -> usize {
    (0..DRIVERS).max_by(|a, b| t.drivers[*a].total_cmp(&t.drivers[*b]).then(b.cmp(a))).unwrap_or(0)
}

fn takeovers(said: &Said, functions: &[Function], source: &str, now_us: i64) -> Vec<arrow::array::ArrayRef> {
    let c = Columns { rows: said.takeovers.iter().collect() };
    let j = |t: &Takeover| &said.judged[t.top];
    let seconds = |to: Option<i64>, t: &Takeover| to.map(|us| (us - t.start_us).max(0) as f64 / 1e6);
    let optional_time = |f: &dyn Fn(&Takeover) -> Option<i64>| -> arrow::array::ArrayRef {
        let all: arrow::array::TimestampMicrosecondArray = said.takeovers.iter().map(f).collect();
        Arc::new(all.with_timezone("UTC"))
    };
    let before = |t: &Takeover| match (t.detected_us, t.contact_us) {
        (Some(d), Some(c)) => d < c,
        (Some(_), None) => true,
        (None, _) => false,
    };
    vec![
        c.time(|t| t.start_us),
        c.time(|t| t.end_us),
        c.text(|t| t.id.clone()),
        c.text(|t| j(t).episode.account_id.clone()),
        c.float(|t| Some(j(t).p)),
        c.float(|t| Some(j(t).low)),
        c.float(|t| Some(j(t).high)),
        c.float(|t| Some(j(t).p * (1.0 - j(t).p))),
        c.float(|t| Some(t.episodes.iter().map(|i| said.judged[*i].p_at_once).fold(0.0, f64::max))),
        c.int(|t| i64::try_from(t.episodes.len()).ok()),
        c.int(|t| Some(j(t).episode.device)),
        c.int(|t| Some(j(t).episode.asn)),
        c.text(|t| j(t).episode.country.clone()),
        c.optional(|t| t.episodes.iter().find_map(|i| said.judged[*i].episode.campaign.clone())),
        c.text(|t| evidence(t, &said.judged, functions)),
        c.text(|t| driver_name(top_driver(t)).to_owned()),
        c.float(|t| Some(t.drivers[top_driver(t)])),
        optional_time(&|t| t.detected_us),
        optional_time(&|t| t.contact_us),
        optional_time(&|t| t.reset_us),
        c.float(|t| seconds(t.detected_us, t)),
        c.float(|t| seconds(t.reset_us, t)),
        c.flag(before),
        c.text(|t| {
            let settled = t.start_us + LATE_DAYS * DAY_US <= now_us;
            if settled { "final" } else { "provisional" }.to_owned()
        }),
        c.text(|_| source.to_owned()),
        c.time(|_| now_us),
    ]
}

fn labels(said: &Said, functions: &[Function], source: &str) -> Vec<arrow::array::ArrayRef> {
    let c = Columns { rows: said.judged.iter().collect() };
    vec![
        c.time(|j| j.episode.day_us),
        c.time(|j| j.episode.first_us),
        c.int(|j| Some(j.episode.account)),
        c.int(|j| Some(j.episode.device)),
        c.int(|j| Some(j.episode.asn)),
        c.float(|j| Some(j.p)),
        c.float(|j| Some(j.p_votes)),
        c.float(|j| Some(j.p_at_once)),
        c.float(|j| j.behaviour),
        c.float(|j| Some(j.episode.sign_ins)),
        c.text(|j| vote_names(j.episode.votes, functions)),
        c.text(|_| source.to_owned()),
    ]
}

fn drivers(said: &Said) -> Vec<arrow::array::ArrayRef> {
    let pairs: Vec<(&Takeover, usize)> =
        said.takeovers.iter().flat_map(|t| (0..DRIVERS).map(move |d| (t, d))).collect();
    let c = Columns { rows: pairs.iter().collect() };
    let j = |t: &Takeover| &said.judged[t.top];
    vec![
        c.time(|(t, _)| t.start_us),
        c.text(|(t, _)| t.id.clone()),
        c.text(|(_, d)| driver_name(*d).to_owned()),
        c.float(|(t, d)| Some(t.drivers[*d])),
        c.float(|(t, d)| Some(t.drivers[*d] * j(t).p)),
        c.float(|(t, d)| Some(t.drivers[*d] * j(t).low)),
        c.float(|(t, d)| Some(t.drivers[*d] * j(t).high)),
        c.float(|(t, d)| {
            let w = t.drivers[*d] * j(t).p;
            Some(w * (1.0 - w))
        }),
        c.optional(|(t, _)| t.episodes.iter().find_map(|i| said.judged[*i].episode.traces.vendor.clone())),
        c.text(|(_, d)| driver_cure(*d).to_owned()),
    ]
}

fn performance(all: &[Performance], to_us: i64) -> Vec<arrow::array::ArrayRef> {
    let c = Columns { rows: all.iter().collect() };
    vec![
        c.time(|_| to_us - DAY_US),
        c.text(|p| p.function.name.clone()),
        c.text(|p| if p.function.vote == Vote::Takeover { "takeover" } else { "benign" }.to_owned()),
        c.text(|p| p.function.owner.clone()),
        c.text(|p| p.function.evidence.clone()),
        c.text(|p| p.group.clone()),
        c.int(|p| Some(i64::from(p.function.version))),
        c.flag(|p| p.function.late),
        c.float(|p| Some(p.fired)),
        c.float(|p| Some(p.overlaps)),
        c.float(|p| Some(p.conflicts)),
        c.float(|p| p.takeover_rate),
        c.float(|p| p.benign_rate),
        c.float(|p| p.precision),
        c.float(|p| p.weight_bits),
        c.float(|p| Some(p.added_7d)),
    ]
}

#[derive(Clone, Copy, Default)]
struct Day {
    at_us: i64,
    active: f64,
    episodes: f64,
    sums: [f64; 4],
}

// Takeovers of a day: those that begin on it, and what little the episodes below the threshold add.
fn days(said: &Said, source: &str) -> Vec<arrow::array::ArrayRef> {
    let mut all: BTreeMap<i64, Day> =
        said.active.iter().map(|(d, n)| (*d, Day { at_us: *d, active: *n, ..Day::default() })).collect();
    let mut add = |day_us: i64, j: &Judged| {
        let day = all.entry(day_us).or_insert(Day { at_us: day_us, ..Day::default() });
        let parts = [j.p, j.low, j.high, j.p * (1.0 - j.p)];
        day.sums.iter_mut().zip(parts).for_each(|(s, v)| *s += v);
    };
    for t in &said.takeovers {
        add(t.start_us.div_euclid(DAY_US) * DAY_US, &said.judged[t.top]);
    }
    for j in said.judged.iter().filter(|j| j.p < KEPT) {
        add(j.episode.day_us, j);
    }
    for j in &said.judged {
        if let Some(day) = all.get_mut(&j.episode.day_us) {
            day.episodes += 1.0;
        }
    }
    let all: Vec<Day> = all.into_values().collect();
    let c = Columns { rows: all.iter().collect() };
    // Before a week of use is known nobody can be judged, and nobody is taken *as far as we know*.
    let told = |d: &Day| d.at_us >= said.told_from_us;
    let mut out = vec![c.time(|d| d.at_us), c.float(|d| Some(d.active)), c.float(|d| Some(d.episodes))];
    out.extend((0..4).map(|k| c.float(move |d| told(d).then_some(d.sums[k]))));
    out.push(c.text(|_| source.to_owned()));
    out
}
