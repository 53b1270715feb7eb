//! Takeovers: which accounts somebody else controls, how likely, since when and why.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Interval, Model, NativeModel, NativeOutput, PipelineError, fingerprint, time_literal,
};

use crate::behaviour::{Sample, levels, scores};
use crate::drivers::{DRIVERS, Traces, attribute};
use crate::episodes::{EPISODES, Episode, LATE_DAYS, load};
use crate::functions::{Function, Vote};
use crate::label_model::{Belief, LEVELS, LabelModel, Pattern, fit, fit_groups};
use crate::series::between_sql;
use crate::takeover_tables::{self as tables, TAKEOVERS};

/// Version of the label model; stored with every label together with the functions' own version.
pub const TAKEOVER_MODEL: &str = "takeover-model-1";
/// Probability from which an episode is kept as a possible takeover.
pub(crate) const KEPT: f64 = 0.02;
/// Days without a trace after which the next is another takeover.
const GAP_DAYS: i64 = 14;
/// Draws that tell how far the probabilities depend on chance and on the experts' beliefs.
const DRAWS: u64 = 40;

/// Native model of `account_takeovers` and the tables beside it.
#[derive(Clone, Debug)]
pub struct AccountTakeovers {
    functions: Vec<Function>,
}

impl AccountTakeovers {
    /// Returns the model with the given labelling functions.
    #[must_use]
    pub fn new(functions: Vec<Function>) -> Self {
        Self { functions }
    }

    /// Returns what is stored as the source of every label: model and functions, with their versions.
    #[must_use]
    pub fn label_source(&self) -> String {
        let text = serde_json::to_string(&self.functions).unwrap_or_default();
        format!("{TAKEOVER_MODEL} functions-{:04x}", fingerprint([text.as_str()]) & 0xFFFF)
    }
}

/// An episode with its probability.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) episode: Episode,
    /// By votes and behaviour.
    pub(crate) p: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// By the votes alone.
    pub(crate) p_votes: f64,
    /// By what was known at the end of the day.
    pub(crate) p_at_once: f64,
    /// Log odds of the behaviour model; `None` where there was too little to learn from.
    pub(crate) behaviour: Option<f64>,
}

/// Episodes of one account that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Takeover {
    pub(crate) id: String,
    pub(crate) episodes: Vec<usize>,
    /// The episode that speaks loudest.
    pub(crate) top: usize,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) detected_us: Option<i64>,
    pub(crate) contact_us: Option<i64>,
    pub(crate) reset_us: Option<i64>,
    pub(crate) drivers: [f64; DRIVERS],
}

/// What one labelling function did.
#[derive(Clone, Debug)]
pub(crate) struct Performance {
    pub(crate) function: Function,
    pub(crate) fired: f64,
    pub(crate) overlaps: f64,
    pub(crate) conflicts: f64,
    pub(crate) takeover_rate: f64,
    pub(crate) benign_rate: f64,
    pub(crate) precision: Option<f64>,
    pub(crate) weight_bits: f64,
    pub(crate) group: String,
    /// Takeovers of the last week that are found only with it.
    pub(crate) added_7d: f64,
}

/// Everything that a run says.
pub(crate) struct Said {
    pub(crate) judged: Vec<Judged>,
    pub(crate) takeovers: Vec<Takeover>,
    pub(crate) functions: Vec<Performance>,
    /// Day, active accounts.
    pub(crate) active: BTreeMap<i64, f64>,
}

fn beliefs(functions: &[Function]) -> Vec<Belief> {
    functions.iter().map(|f| Belief { takeover: f.expects.takeover, benign: f.expects.benign }).collect()
}

fn counted(all: impl Iterator<Item = (u64, Option<u8>)>) -> Vec<Pattern> {
    let mut patterns: BTreeMap<(u64, Option<u8>), f64> = BTreeMap::new();
    all.for_each(|k| *patterns.entry(k).or_default() += 1.0);
    patterns.into_iter().map(|((votes, level), count)| Pattern { votes, level, count }).collect()
}

/// Votes, behaviour, and both together.
struct Learned {
    model: LabelModel,
    levels: Vec<Option<u8>>,
    behaviour: Vec<Option<f64>>,
    p_votes: Vec<f64>,
    patterns: Vec<Pattern>,
}

fn learn(episodes: &[Episode], beliefs: &[Belief]) -> Learned {
    let votes = counted(episodes.iter().map(|e| (e.votes, None)));
    let first = fit(&votes, beliefs);
    let p_votes: Vec<f64> = episodes.iter().map(|e| first.probability(e.votes, None)).collect();
    let samples: Vec<Sample> = episodes
        .iter()
        .zip(&p_votes)
        .map(|(e, p)| Sample { account: e.account, features: e.features, label: *p })
        .collect();
    let Some(odds) = scores(&samples) else {
        let none = vec![None; episodes.len()];
        return Learned {
            model: first,
            levels: none.clone(),
            behaviour: vec![None; episodes.len()],
            p_votes,
            patterns: votes,
        };
    };
    let level: Vec<Option<u8>> = levels(&odds, &p_votes, LEVELS).into_iter().map(Some).collect();
    let patterns = counted(episodes.iter().zip(&level).map(|(e, l)| (e.votes, *l)));
    let model = fit_groups(&patterns, beliefs, &first.groups());
    Learned { model, levels: level, behaviour: odds.into_iter().map(Some).collect(), p_votes, patterns }
}

// A draw of a counter: the same everywhere, no state.
fn drawn(a: u64, b: u64) -> f64 {
    let mut z = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_add(0xD1B5_4A32_D192_ED03);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
}

fn normal(a: u64, b: u64) -> f64 {
    (-2.0 * drawn(a, 2 * b).max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * drawn(a, 2 * b + 1)).cos()
}

// A Poisson draw around a count: by inversion when small, else by its normal limit.
fn resampled(count: f64, a: u64, b: u64) -> f64 {
    if count > 50.0 {
        return (count + count.sqrt() * normal(a, b)).max(0.0).round();
    }
    let (mut u, mut p, mut k) = (drawn(a, b), (-count).exp(), 0.0);
    while u > p && k < 200.0 {
        u -= p;
        k += 1.0;
        p *= count / k;
    }
    k
}

// How far each pattern's probability moves when other episodes had come and experts had believed
// otherwise: 95 % of the draws.
fn spread(learned: &Learned, beliefs: &[Belief]) -> HashMap<(u64, Option<u8>), (f64, f64)> {
    let groups = learned.model.groups();
    let mut draws: Vec<Vec<f64>> = vec![Vec::new(); learned.patterns.len()];
    for draw in 1..=DRAWS {
        let patterns: Vec<Pattern> = learned
            .patterns
            .iter()
            .enumerate()
            .map(|(i, p)| Pattern { count: resampled(p.count, draw, i as u64), ..p.clone() })
            .collect();
        let moved = |p: f64, k: u64| {
            let odds = (p.clamp(1e-6, 1.0 - 1e-6) / (1.0 - p.clamp(1e-6, 1.0 - 1e-6))).ln();
            1.0 / (1.0 + (-(odds + 0.5 * normal(draw ^ 0xABCD, k))).exp())
        };
        let doubted: Vec<Belief> = beliefs
            .iter()
            .enumerate()
            .map(|(i, b)| Belief {
                takeover: moved(b.takeover, 2 * i as u64),
                benign: moved(b.benign, 2 * i as u64 + 1),
            })
            .collect();
        let model = fit_groups(&patterns, &doubted, &groups);
        for (into, p) in draws.iter_mut().zip(&learned.patterns) {
            into.push(model.probability(p.votes, p.level));
        }
    }
    let ends = |mut all: Vec<f64>| {
        all.sort_unstable_by(f64::total_cmp);
        (all[all.len() / 40], all[all.len() - 1 - all.len() / 40])
    };
    learned.patterns.iter().zip(draws).map(|(p, d)| ((p.votes, p.level), ends(d))).collect()
}

fn judge(episodes: Vec<Episode>, functions: &[Function]) -> (Vec<Judged>, Learned) {
    let beliefs = beliefs(functions);
    let learned = learn(&episodes, &beliefs);
    let spread = spread(&learned, &beliefs);
    let late = functions.iter().enumerate().filter(|(_, f)| f.late).fold(0u64, |m, (i, _)| m | 1 << i);
    let judged = episodes
        .into_iter()
        .enumerate()
        .map(|(i, e)| {
            let level = learned.levels[i];
            let p = learned.model.probability(e.votes, level);
            let (low, high) = spread.get(&(e.votes, level)).copied().unwrap_or((p, p));
            Judged {
                p,
                low: low.min(p),
                high: high.max(p),
                p_votes: learned.p_votes[i],
                p_at_once: learned.model.probability(e.votes & !late, level),
                behaviour: learned.behaviour[i],
                episode: e,
            }
        })
        .collect();
    (judged, learned)
}

// Possible takeovers: episodes of one account without a long pause between them.
fn chained(judged: &[Judged]) -> Vec<Takeover> {
    let mut by_account: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, j) in judged.iter().enumerate().filter(|(_, j)| j.p >= KEPT) {
        by_account.entry(&j.episode.account_id).or_default().push(i);
    }
    let mut out: Vec<Takeover> = Vec::new();
    for all in by_account.into_values() {
        let mut runs: Vec<Vec<usize>> = Vec::new();
        for i in all {
            let day = judged[i].episode.day_us;
            match runs.last_mut() {
                Some(r) if r.last().is_some_and(|l| day - judged[*l].episode.day_us <= GAP_DAYS * DAY_US) => {
                    r.push(i);
                }
                _ => runs.push(vec![i]),
            }
        }
        out.extend(runs.into_iter().filter_map(|r| takeover(judged, r)));
    }
    let traces: Vec<Traces> = out.iter().map(|t| combined(judged, t)).collect();
    let weights: Vec<f64> = out.iter().map(|t| judged[t.top].p).collect();
    for (t, d) in out.iter_mut().zip(attribute(&traces.iter().collect::<Vec<_>>(), &weights)) {
        t.drivers = d;
    }
    out.sort_by(|a, b| (a.start_us, &a.id).cmp(&(b.start_us, &b.id)));
    out
}

fn takeover(judged: &[Judged], run: Vec<usize>) -> Option<Takeover> {
    let e = |i: &usize| &judged[*i].episode;
    let top = run.iter().copied().max_by(|a, b| judged[*a].p.total_cmp(&judged[*b].p).then(b.cmp(a)))?;
    // The takeover begins with the first episode that is about as bad as the worst.
    let first = run.iter().position(|i| judged[*i].p >= 0.5 * judged[top].p).unwrap_or(0);
    let run: Vec<usize> = run[first..].to_vec();
    let start_us = run.iter().map(|i| e(i).first_us).min()?;
    let contact_us = run.iter().filter_map(|i| e(i).contact_us).min();
    let at_once = run.iter().find(|i| judged[**i].p_at_once >= 0.5).map(|i| e(i).day_us + DAY_US);
    let later = contact_us.filter(|_| judged[top].p >= 0.5);
    let seed = e(run.first()?);
    let mark = fingerprint([seed.account_id.as_str(), &start_us.to_string()]);
    let day = chrono::DateTime::from_timestamp_micros(start_us).unwrap_or_default();
    Some(Takeover {
        id: format!("ato-{}-{:06x}", day.format("%Y%m%d"), mark & 0xFF_FFFF),
        top,
        start_us,
        end_us: run.iter().map(|i| e(i).last_us).max()?,
        detected_us: [at_once, later].into_iter().flatten().min(),
        contact_us,
        reset_us: run.iter().filter_map(|i| e(i).reset_us).min(),
        episodes: run,
        drivers: [0.0; DRIVERS],
    })
}

// Traces of the episode that began it; help and leaks count wherever they were seen.
fn combined(judged: &[Judged], t: &Takeover) -> Traces {
    let mut all = t.episodes.iter().map(|i| &judged[*i].episode.traces);
    let Some(first) = all.next() else { return Traces::default() };
    let mut out = first.clone();
    for next in all.take(2) {
        out.campaign = out.campaign.or_else(|| next.campaign.clone());
        out.leaked |= next.leaked;
        out.vendor = out.vendor.or_else(|| next.vendor.clone());
        out.by_support |= next.by_support;
        out.reactivated |= next.reactivated;
    }
    out
}

fn performance(functions: &[Function], judged: &[Judged], learned: &Learned, to_us: i64) -> Vec<Performance> {
    let groups = learned.model.groups();
    let side = |v: Vote| {
        functions.iter().enumerate().filter(|(_, f)| f.vote == v).fold(0u64, |m, (i, _)| m | 1 << i)
    };
    let (bad, good) = (side(Vote::Takeover), side(Vote::Benign));
    let one = |i: usize, f: &Function| {
        let bit = 1u64 << i;
        let fired: Vec<(usize, &Judged)> =
            judged.iter().enumerate().filter(|(_, j)| j.episode.votes & bit != 0).collect();
        let against = if f.vote == Vote::Takeover { good } else { bad };
        let count =
            |f: &dyn Fn(usize, &Judged) -> bool| fired.iter().filter(|(k, j)| f(*k, j)).count() as f64;
        let weight = fired.iter().map(|(_, j)| j.p).sum::<f64>() / fired.len().max(1) as f64;
        let rates = learned.model.rates(i);
        let group = groups.iter().find(|g| g.contains(&i)).filter(|g| g.len() > 1);
        let names: Vec<&str> =
            group.into_iter().flatten().filter(|m| **m != i).map(|m| functions[*m].name.as_str()).collect();
        let only = |k: usize, j: &Judged| {
            let votes = j.episode.votes & !bit;
            j.episode.day_us >= to_us - 7 * DAY_US
                && j.p >= 0.5
                && learned.model.probability(votes, learned.levels[k]) < 0.5
        };
        Performance {
            function: f.clone(),
            fired: fired.len() as f64,
            overlaps: count(&|_, j| (j.episode.votes & !bit) & (bad | good) & !against != 0),
            conflicts: count(&|_, j| j.episode.votes & against != 0),
            takeover_rate: rates.takeover,
            benign_rate: rates.benign,
            precision: (!fired.is_empty()).then_some(if f.vote == Vote::Takeover {
                weight
            } else {
                1.0 - weight
            }),
            weight_bits: learned.model.weight_bits(i),
            group: names.join(" "),
            added_7d: if f.vote == Vote::Takeover { count(&only) } else { 0.0 },
        }
    };
    functions.iter().enumerate().map(|(i, f)| one(i, f)).collect()
}

async fn active(catalog: &Catalog, span: Interval) -> Result<BTreeMap<i64, f64>, PipelineError> {
    const DAYS: &str = "account_days";
    if catalog.lake().existing(DAYS).await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT) AS d, count(DISTINCT account) AS n FROM {DAYS} WHERE {} GROUP BY 1",
        between_sql("day", span)
    );
    let mut out = BTreeMap::new();
    for batch in catalog.query(&[DAYS], &sql).await? {
        let (d, n) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        out.extend((0..batch.num_rows()).map(|r| (d.value(r) * DAY_US, n.value(r) as f64)));
    }
    Ok(out)
}

// Accounts of stored takeovers that reach into the span from before: their rows stay as they are.
async fn standing(catalog: &Catalog, from_us: i64) -> Result<BTreeSet<String>, PipelineError> {
    if catalog.lake().existing(TAKEOVERS).await?.is_none() {
        return Ok(BTreeSet::new());
    }
    let from = time_literal(from_us);
    let sql = format!(
        "SELECT account FROM {TAKEOVERS} WHERE start < {from} AND start >= {from} - INTERVAL '90 days' AND \"end\" >= {from} - INTERVAL '{GAP_DAYS} days' AND p_takeover >= 0.5"
    );
    let mut out = BTreeSet::new();
    for batch in catalog.query(&[TAKEOVERS], &sql).await? {
        out.extend(crate::series::words(&batch, 0));
    }
    Ok(out)
}

#[async_trait]
impl NativeModel for AccountTakeovers {
    fn model(&self) -> Model {
        Model {
            keys: vec!["takeover_id".to_owned()],
            inputs: [
                EPISODES,
                "account_days",
                "account_change_hours",
                "contact_hours",
                "login_campaigns",
                "verdicts",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..Model::native(
                TAKEOVERS,
                "Accounts that somebody else may control: probability with interval, since when, what speaks for it, which weakness let it happen.",
                fingerprint([self.label_source().as_str(), "1"]),
                "start",
            )
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        tables::all()
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        let wide = Interval::new(range.from_us - LATE_DAYS * DAY_US, range.to_us);
        let episodes = load(catalog, wide, &self.functions).await?;
        let (judged, learned) = judge(episodes, &self.functions);
        let stand = standing(catalog, wide.from_us).await?;
        let mut takeovers = chained(&judged);
        takeovers.retain(|t| {
            let e = &judged[t.top].episode;
            !(stand.contains(&e.account_id) && e.day_us < wide.from_us + GAP_DAYS * DAY_US)
        });
        let functions = performance(&self.functions, &judged, &learned, range.to_us);
        let active = active(catalog, wide).await?;
        let said = Said { judged, takeovers, functions, active };
        let tables = tables::batches(&said, &self.functions, &self.label_source(), range.to_us, now_us)?;
        Ok(NativeOutput { range: Some(wide), tables })
    }
}
