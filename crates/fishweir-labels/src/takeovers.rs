//! Takeovers: which accounts somebody else controls, how likely, since when and why.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use fishweir_lake::TableSpec;
use fishweir_pipeline::{
    Catalog, DAY_US, Interval, Model, NativeModel, NativeOutput, PipelineError, fingerprint, time_literal,
};
use rayon::prelude::*;

use crate::behaviour::{Sample, levels, scores, trust};
use crate::drivers::{DRIVERS, Traces, attribute};
use crate::episodes::{EPISODES, Episode, LATE_DAYS, load};
use crate::functions::{Function, Vote};
use crate::label_model::{Belief, LEVELS, LabelModel, Levels, Pattern, fit, fit_groups};
use crate::series::between_sql;
use crate::takeover_tables::{self as tables, TAKEOVERS};

/// Version of the label model; stored with every label together with the functions' own version.
pub const TAKEOVER_MODEL: &str = "takeover-model-4";
/// Probability from which an episode is kept as a possible takeover.
pub(crate) const KEPT: f64 = 0.02;
/// Days of use without which nobody is judged; as in `account_episodes`.
const HISTORY_DAYS: i64 = 7;
/// Days without a trace after which the next is another takeover.
const GAP_DAYS: i64 = 14;
/// Draws that tell how far the probabilities depend on chance and on the experts' beliefs.
const DRAWS: u64 = 200;
/// Standard deviation of what experts believe, in log odds.
const DOUBT: f64 = 1.0;
/// Log odds that a new use of a held account is the thief's or the buyer's: about one in five.
const COMES_AGAIN: f64 = -1.4;
/// What evidence of the way in is worth there, the log odds at which it says nothing, and its bounds.
const COMES_WEIGHT: f64 = 0.3;
const USUAL_ODDS: f64 = -5.3;
const COMES_MAX: f64 = 1.5;
/// Chance that a device that came as the thief's is the thief's again.
const SAME_DEVICE: f64 = 0.8;
/// Days after a takeover in which a new use may be of the same thief.
const TAKEN_DAYS: i64 = 30;

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
    pub(crate) takeover_rate: Option<f64>,
    pub(crate) benign_rate: Option<f64>,
    pub(crate) precision: Option<f64>,
    pub(crate) weight_bits: Option<f64>,
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
    /// First day on which accounts have the history that a judgement needs.
    pub(crate) told_from_us: i64,
}

fn counted(all: impl Iterator<Item = (u64, Option<u8>)>) -> Vec<Pattern> {
    let mut patterns: BTreeMap<(u64, Option<u8>), f64> = BTreeMap::new();
    all.for_each(|k| *patterns.entry(k).or_default() += 1.0);
    patterns.into_iter().map(|((votes, level), count)| Pattern { votes, level, count }).collect()
}

/// How an account was reached, and the share of takeovers that experts expect there. Members differ more
/// between these than takeovers differ from members, so each is judged by itself.
const STRATA: [(&str, f64); 5] = [
    ("new device, known network", 0.1),
    ("known device, new network or program", 0.2),
    ("new device and network", 0.35),
    ("new device and country", 0.25),
    ("account not seen for weeks", 0.1),
];

fn stratum(e: &Episode) -> usize {
    if e.unseen {
        return 4;
    }
    match (e.traces.new_device, e.new_network, e.new_country) {
        (true, false, _) => 0,
        (false, ..) => 1,
        (true, true, false) => 2,
        (true, true, true) => 3,
    }
}

// What experts believe of all takeovers, told for those of one stratum: a function that never fires
// elsewhere fires here the more often.
fn beliefs_in(functions: &[Function], episodes: &[Episode]) -> Vec<Vec<Belief>> {
    let mut fires = vec![[false; STRATA.len()]; functions.len()];
    for e in episodes {
        let s = stratum(e);
        for (i, f) in fires.iter_mut().enumerate() {
            f[s] |= e.votes >> i & 1 == 1;
        }
    }
    let reach = |i: usize| -> f64 {
        let sum: f64 = (0..STRATA.len()).filter(|s| fires[i][*s]).map(|s| STRATA[s].1).sum();
        if sum > 0.0 { sum } else { 1.0 }
    };
    let mut shares = [0.0; STRATA.len()];
    episodes.iter().for_each(|e| shares[stratum(e)] += 1.0 / episodes.len().max(1) as f64);
    let benign_reach = |i: usize| -> f64 {
        let sum: f64 = (0..STRATA.len()).filter(|s| fires[i][*s]).map(|s| shares[s]).sum();
        if sum > 0.0 { sum } else { 1.0 }
    };
    let of = |s: usize| {
        let one = |(i, f): (usize, &Function)| {
            let (t, b) = (f.expects.takeover, f.expects.benign);
            if fires[i][s] {
                Belief { takeover: (t / reach(i)).min(0.9), benign: (b / benign_reach(i)).min(0.9) }
            } else {
                // It cannot fire here: silence says nothing.
                Belief { takeover: 1e-5, benign: 1e-5 }
            }
        };
        functions.iter().enumerate().map(one).collect()
    };
    (0..STRATA.len()).map(of).collect()
}

/// Votes, behaviour, and both together, for one stratum.
struct Learned {
    model: LabelModel,
    beliefs: Vec<Belief>,
    patterns: Vec<Pattern>,
    shares: Option<Levels>,
}

/// What was learned of every stratum, and the behaviour of every episode.
struct Lessons {
    strata: Vec<Learned>,
    levels: Vec<Option<u8>>,
    behaviour: Vec<Option<f64>>,
    p_votes: Vec<f64>,
    /// Bits of the functions that accuse.
    accusing: u64,
}

/// Rounds in which behaviour is learned: from the votes, then from votes and behaviour together.
const BEHAVIOUR_ROUNDS: usize = 2;

fn accusing(functions: &[Function]) -> u64 {
    let bad = functions.iter().enumerate().filter(|(_, f)| f.vote == Vote::Takeover);
    bad.fold(0u64, |bits, (i, _)| bits | 1 << i)
}

fn learn(episodes: &[Episode], functions: &[Function]) -> Lessons {
    let beliefs = beliefs_in(functions, episodes);
    let inside = |s: usize| episodes.iter().enumerate().filter(move |(_, e)| stratum(e) == s);
    let first: Vec<LabelModel> = (0..STRATA.len())
        .map(|s| fit(&counted(inside(s).map(|(_, e)| (e.votes, None))), &beliefs[s]))
        .collect();
    let p_votes: Vec<f64> = episodes.iter().map(|e| first[stratum(e)].probability(e.votes, None)).collect();
    let mut lessons = Lessons {
        strata: first
            .into_iter()
            .enumerate()
            .map(|(s, model)| Learned {
                model,
                beliefs: beliefs[s].clone(),
                patterns: counted(inside(s).map(|(_, e)| (e.votes, None))),
                shares: None,
            })
            .collect(),
        levels: vec![None; episodes.len()],
        behaviour: vec![None; episodes.len()],
        p_votes,
        accusing: accusing(functions),
    };
    for _ in 0..BEHAVIOUR_ROUNDS {
        let labels: Vec<f64> = episodes.iter().enumerate().map(|(i, e)| lessons.probability(i, e)).collect();
        if !lessons.add_behaviour(episodes, &labels) {
            break;
        }
    }
    lessons
}

impl Lessons {
    fn probability(&self, i: usize, e: &Episode) -> f64 {
        self.strata[stratum(e)].model.probability(e.votes, self.levels[i])
    }

    // Learns behaviour from labels, and how votes and behaviour go together; whether there was enough.
    fn add_behaviour(&mut self, episodes: &[Episode], labels: &[f64]) -> bool {
        // WHY: parted by when they were met, not by name: under another key of the pseudonyms the same accounts
        // fall together.
        let mut met: HashMap<i64, i64> = HashMap::new();
        for e in episodes {
            met.entry(e.account).and_modify(|us| *us = e.first_us.min(*us)).or_insert(e.first_us);
        }
        let draw = |e: &Episode| met.get(&e.account).copied().unwrap_or_default().unsigned_abs();
        let samples: Vec<Sample> = episodes
            .iter()
            .zip(labels)
            .map(|(e, p)| Sample { draw: draw(e), features: e.features, label: *p })
            .collect();
        // WHY: one scale for all ways of access. Learned in each alone, the level at which its false calls
        // lie would confirm them.
        let Some(odds) = scores(&samples) else { return false };
        let accused: Vec<bool> = episodes.iter().map(|e| e.votes & self.accusing != 0).collect();
        self.levels = levels(&odds, labels, LEVELS).into_iter().map(Some).collect();
        let shares = Levels::of(&self.levels, labels, &accused, trust(labels));
        for (s, learned) in self.strata.iter_mut().enumerate() {
            let inside = episodes.iter().enumerate().filter(|(_, e)| stratum(e) == s);
            learned.patterns = counted(inside.map(|(i, e)| (e.votes, self.levels[i])));
            learned.shares = Some(shares.clone());
            learned.model =
                fit_groups(&learned.patterns, &learned.beliefs, &learned.model.groups(), Some(&shares));
        }
        self.behaviour = odds.into_iter().map(Some).collect();
        true
    }
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
fn spread(learned: &Learned) -> HashMap<(u64, Option<u8>), (f64, f64)> {
    let beliefs = &learned.beliefs;
    let groups = learned.model.groups();
    let one = |draw: u64| -> Vec<f64> {
        let patterns: Vec<Pattern> = learned
            .patterns
            .iter()
            .enumerate()
            .map(|(i, p)| Pattern { count: resampled(p.count, draw, i as u64), ..p.clone() })
            .collect();
        let moved = |p: f64, k: u64| {
            let odds = (p.clamp(1e-6, 1.0 - 1e-6) / (1.0 - p.clamp(1e-6, 1.0 - 1e-6))).ln();
            1.0 / (1.0 + (-(odds + DOUBT * normal(draw ^ 0xABCD, k))).exp())
        };
        let doubted: Vec<Belief> = beliefs
            .iter()
            .enumerate()
            .map(|(i, b)| Belief {
                takeover: moved(b.takeover, 2 * i as u64),
                benign: moved(b.benign, 2 * i as u64 + 1),
            })
            .collect();
        let model = fit_groups(&patterns, &doubted, &groups, learned.shares.as_ref());
        learned.patterns.iter().map(|p| model.probability(p.votes, p.level)).collect()
    };
    let draws: Vec<Vec<f64>> = (1..=DRAWS).into_par_iter().map(one).collect();
    let ends = |mut all: Vec<f64>| {
        all.sort_unstable_by(f64::total_cmp);
        (all[all.len() / 40], all[all.len() - 1 - all.len() / 40])
    };
    let of = |i: usize| draws.iter().map(|d| d[i]).collect();
    learned.patterns.iter().enumerate().map(|(i, p)| ((p.votes, p.level), ends(of(i)))).collect()
}

fn judge(episodes: Vec<Episode>, functions: &[Function]) -> (Vec<Judged>, Lessons) {
    let lessons = learn(&episodes, functions);
    let spread: Vec<_> = lessons.strata.iter().map(spread).collect();
    let late = functions.iter().enumerate().filter(|(_, f)| f.late).fold(0u64, |m, (i, _)| m | 1 << i);
    let judged = episodes
        .into_iter()
        .enumerate()
        .map(|(i, e)| {
            let (s, level) = (stratum(&e), lessons.levels[i]);
            let model = &lessons.strata[s].model;
            let p = model.probability(e.votes, level);
            let (low, high) = spread[s].get(&(e.votes, level)).copied().unwrap_or((p, p));
            Judged {
                p,
                low: low.min(p),
                high: high.max(p),
                p_votes: lessons.p_votes[i],
                p_at_once: model.probability(e.votes & !late, level),
                behaviour: lessons.behaviour[i],
                episode: e,
            }
        })
        .collect();
    (taken_before(judged), lessons)
}

// Whoever holds an account comes again, watches like a member and leaves none of the traces of the way in:
// what is new about an account that is held is the thief's with a chance of its own, and a device that came
// as the thief's stays the thief's where it goes. Looks back only, in the order of days.
fn taken_before(mut judged: Vec<Judged>) -> Vec<Judged> {
    let mut held: HashMap<i64, Held> = HashMap::new();
    let mut devices: HashMap<(i64, i64), Held> = HashMap::new();
    for j in &mut judged {
        let (e, new_device) = (&j.episode, j.episode.traces.new_device);
        let (day_us, account, device) = (e.day_us, e.account, (e.account, e.device));
        let lately = |h: &&Held| day_us - h.day_us <= TAKEN_DAYS * DAY_US;
        let of_account = held.get(&account).filter(lately).filter(|h| new_device || h.by_session);
        let of_device = devices.get(&device).filter(lately).filter(|_| !new_device);
        let more = |p: f64, of: fn(&Held) -> f64| {
            let by_account = of_account.map_or(0.0, |h| of(h) * comes_again(p));
            1.0 - (1.0 - p) * (1.0 - by_account) * (1.0 - of_device.map_or(0.0, |h| of(h) * SAME_DEVICE))
        };
        [&mut j.p, &mut j.low, &mut j.high].into_iter().for_each(|p| *p = more(*p, |h| h.p));
        // What arrived late about the earlier use was not known at once about this one.
        j.p_at_once = more(j.p_at_once, |h| h.p_at_once);
        let now = Held { p: j.p, p_at_once: j.p_at_once, day_us, by_session: !new_device };
        if held.get(&account).filter(lately).is_none_or(|h| j.p >= h.p) {
            held.insert(account, now);
        }
        if new_device {
            devices.insert(device, now);
        }
    }
    judged
}

/// An account or a device of it that may be in other hands.
#[derive(Clone, Copy)]
struct Held {
    p: f64,
    p_at_once: f64,
    day_us: i64,
    /// By a stolen session: the thief then shows as a device that the account knows.
    by_session: bool,
}

// Chance that a new use of a held account is the thief's, from what it would be on any other account: the
// evidence is about the way in, so it says less here.
fn comes_again(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    let evidence = (COMES_WEIGHT * ((p / (1.0 - p)).ln() - USUAL_ODDS)).clamp(-COMES_MAX, COMES_MAX);
    1.0 / (1.0 + (-(COMES_AGAIN + evidence)).exp())
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

// Traces of the first days; later ones are those of whoever bought the account.
fn combined(judged: &[Judged], t: &Takeover) -> Traces {
    let mut all = t.episodes.iter().map(|i| &judged[*i].episode.traces);
    let Some(first) = all.next() else { return Traces::default() };
    all.take(2).fold(first.clone(), |sum, next| {
        // Only what names the way in: any thief uses new devices sooner or later.
        let told =
            Traces { new_device: false, signed_in: false, weak: false, breached: false, ..next.clone() };
        sum.with(&told)
    })
}

fn performance(functions: &[Function], judged: &[Judged], lessons: &Lessons, to_us: i64) -> Vec<Performance> {
    let side = |v: Vote| {
        functions.iter().enumerate().filter(|(_, f)| f.vote == v).fold(0u64, |m, (i, _)| m | 1 << i)
    };
    let (bad, good) = (side(Vote::Takeover), side(Vote::Benign));
    let total = |f: &dyn Fn(&Judged) -> f64| judged.iter().map(f).sum::<f64>();
    let (taken, rest) = (total(&|j| j.p), total(&|j| 1.0 - j.p));
    let together = |i: usize| -> String {
        let groups = lessons.strata.iter().flat_map(|s| s.model.groups());
        let mine: BTreeSet<usize> = groups.filter(|g| g.contains(&i)).flatten().filter(|m| *m != i).collect();
        mine.into_iter().map(|m| functions[m].name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let one = |i: usize, f: &Function| {
        let bit = 1u64 << i;
        let fired: Vec<(usize, &Judged)> =
            judged.iter().enumerate().filter(|(_, j)| j.episode.votes & bit != 0).collect();
        let against = if f.vote == Vote::Takeover { good } else { bad };
        let count =
            |f: &dyn Fn(usize, &Judged) -> bool| fired.iter().filter(|(k, j)| f(*k, j)).count() as f64;
        let weight = fired.iter().map(|(_, j)| j.p).sum::<f64>();
        let n = fired.len() as f64;
        let (takeover_rate, benign_rate) = (weight / taken.max(1e-9), (n - weight) / rest.max(1e-9));
        let only = |k: usize, j: &Judged| {
            let votes = j.episode.votes & !bit;
            j.episode.day_us >= to_us - 7 * DAY_US
                && j.p >= 0.5
                && lessons.strata[stratum(&j.episode)].model.probability(votes, lessons.levels[k]) < 0.5
        };
        let right = if f.vote == Vote::Takeover { weight } else { n - weight };
        Performance {
            function: f.clone(),
            fired: n,
            overlaps: count(&|_, j| (j.episode.votes & !bit) & (bad | good) & !against != 0),
            conflicts: count(&|_, j| j.episode.votes & against != 0),
            takeover_rate: (n > 0.0).then_some(takeover_rate),
            benign_rate: (n > 0.0).then_some(benign_rate),
            precision: (n > 0.0).then_some(right / n),
            weight_bits: (n > 0.0).then(|| ((takeover_rate + 1e-6) / (benign_rate + 1e-6)).log2()),
            group: together(i),
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

// A week after the first day of use that is kept. Once old days go, what was said of them stays.
async fn told_from(catalog: &Catalog) -> Result<i64, PipelineError> {
    let Some(table) = catalog.lake().existing("account_days").await? else { return Ok(i64::MAX) };
    let first = table.files()?.into_iter().filter_map(|f| f.time.map(|t| t.min_us)).min();
    Ok(first.map_or(i64::MAX, |us| us.div_euclid(DAY_US) * DAY_US + HISTORY_DAYS * DAY_US))
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
                fingerprint([self.label_source().as_str(), "12"]),
                "start",
            )
        }
    }

    fn tables(&self) -> Vec<TableSpec> {
        tables::all()
    }

    // Who held an account holds it later, and all that is known teaches.
    fn looks_back(&self) -> bool {
        true
    }

    async fn run(
        &self,
        catalog: &Catalog,
        range: Interval,
        now_us: i64,
    ) -> Result<NativeOutput, PipelineError> {
        let wide = Interval::new(range.from_us - LATE_DAYS * DAY_US, range.to_us);
        let episodes = load(catalog, wide, &self.functions).await?;
        let (judged, lessons) = judge(episodes, &self.functions);
        let stand = standing(catalog, wide.from_us).await?;
        let mut takeovers = chained(&judged);
        takeovers.retain(|t| {
            let e = &judged[t.top].episode;
            !(stand.contains(&e.account_id) && e.day_us < wide.from_us + GAP_DAYS * DAY_US)
        });
        let functions = performance(&self.functions, &judged, &lessons, range.to_us);
        let active = active(catalog, wide).await?;
        let told_from_us = told_from(catalog).await?;
        let said = Said { judged, takeovers, functions, active, told_from_us };
        let tables = tables::batches(&said, &self.functions, &self.label_source(), range.to_us, now_us)?;
        Ok(NativeOutput { range: Some(wide), tables })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::episodes::in_order;
    use crate::functions::load_functions;

    fn functions() -> Vec<Function> {
        let one = |name: &str, vote: &str, takeover: f64, benign: f64| {
            let text = format!(
                "name: {name}\nversion: 1\nowner: x\nvote: {vote}\nwhen: new_device\nevidence: e\nexpects: {{ takeover: {takeover}, benign: {benign} }}\n"
            );
            (format!("labels/{name}.yaml"), text)
        };
        let all = [
            one("a", "takeover", 0.6, 0.01),
            one("b", "takeover", 0.5, 0.02),
            one("c", "takeover", 0.4, 0.01),
            one("d", "benign", 0.05, 0.6),
        ];
        load_functions(&all).unwrap()
    }

    // Members and a few thieves, some with two episodes on a day; `name` tells what the pseudonyms are.
    fn episodes(name: impl Fn(i64) -> i64) -> Vec<Episode> {
        let chance = |k: i64, what: u64| drawn(k.unsigned_abs(), what);
        let one = |k: i64| {
            let who = if k % 10 == 9 { k - 1 } else { k } % 1_800;
            let taken = who % 60 == 0;
            let fires = |i: u64, of_taken: f64, of_rest: f64| {
                u64::from(chance(k, i) < if taken { of_taken } else { of_rest }) << i
            };
            let votes = fires(0, 0.6, 0.01) | fires(1, 0.5, 0.02) | fires(2, 0.4, 0.01) | fires(3, 0.05, 0.6);
            let mut features = [0.0; crate::behaviour::FEATURES];
            for (f, i) in features.iter_mut().zip(10..) {
                #[expect(clippy::cast_possible_truncation, reason = "a feature")]
                let value = chance(k, i) as f32;
                *f = if taken && i < 12 { value + 0.5 } else { value };
            }
            let first_us = (k / 150) * DAY_US + (chance(k, 20) * DAY_US as f64) as i64;
            Episode {
                day_us: first_us.div_euclid(DAY_US) * DAY_US,
                account: name(who),
                account_id: name(who).to_string(),
                device: name(k + 5_000),
                first_us,
                last_us: first_us + 1_000,
                new_network: k % 3 == 0,
                votes,
                features,
                traces: Traces { new_device: k % 2 == 0, ..Traces::default() },
                ..Episode::default()
            }
        };
        let mut all: Vec<Episode> = (0..3_000).map(one).collect();
        all.sort_by_key(|e| (e.account, e.device));
        all
    }

    // INVARIANT: what is said hangs on what was done, not on the key that makes the pseudonyms.
    #[test]
    fn another_key_of_the_pseudonyms_says_the_same() {
        let functions = functions();
        let said = |name: fn(i64) -> i64| {
            let (judged, lessons) = judge(in_order(episodes(name), accusing(&functions)), &functions);
            assert!(lessons.behaviour.iter().all(Option::is_some), "behaviour was not learned");
            judged.into_iter().map(|j| (j.episode.first_us, j.p, j.low, j.high)).collect::<Vec<_>>()
        };
        let one = said(|k| k.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
        assert!(one.iter().any(|(_, p, ..)| *p > 0.5) && one.iter().all(|(_, p, l, h)| l <= p && p <= h));
        assert_eq!(one, said(|k| k.wrapping_mul(-0x2545_F491_4F6C_DD1D) ^ 77));
    }
}
