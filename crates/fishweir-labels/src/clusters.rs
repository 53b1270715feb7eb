//! Which odd attempts to sign in belong together. Pure: the same attempts give the same clusters.
//!
//! Attempts are joined for a stated reason: one machine, one network, one program, one password on many
//! names, many tries on one name. What no such reason joins may still be too much at once to be members
//! with new devices: it is joined by time. Neighbours that behave alike are one actor who changed tools.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Attempts below which nothing is called a campaign.
pub(crate) const LEAST: f64 = 10.0;
/// Names from one network in a day that speak for one actor.
const PREFIX_NAMES: usize = 5;
/// Names with one password in a day.
const PASSWORD_NAMES: usize = 5;
/// Names with one program, from one network operator and from anywhere, and how far above the usual.
const TOOL_NAMES: (usize, usize) = (8, 15);
const TOOL_RATIO: f64 = 5.0;
/// Tries on one account in a day.
const ACCOUNT_TRIES: f64 = 8.0;
/// Chance below which an hour or a day of unjoined attempts is not chance.
const BY_CHANCE: f64 = 1e-6;
/// A burst brings as many attempts in this time as the trickle around it in sixty times as long.
const BURST_US: i64 = HOUR_US / 6;
const BURST_RATIO: f64 = 60.0;
/// Pause after which the same source or habit is somebody else's.
const GAP_US: i64 = 3 * DAY_US;
/// Pause between neighbours that may be one actor.
const NEAR_US: i64 = DAY_US;
/// How unlike neighbours may be, 0 to 1.
const ALIKE: f64 = 0.3;
/// What it adds when they are not active at the same times.
const APART: f64 = 0.15;
/// Share of their time from which on two begin and end together.
const TOGETHER: f64 = 0.9;
/// Attempts that must have been looked at before their kind says anything.
const KIND_SEEN: f64 = 20.0;
/// A flood guesses names: seen attempts, share of unknown names, attempts in a minute.
const FLOOD_SEEN: f64 = 20.0;
const FLOOD_UNKNOWN: f64 = 0.95;
const FLOOD_PACE: f64 = 10.0;

/// Attempts on one name from one source with one program in an hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    pub(crate) account: Option<i64>,
    pub(crate) name: i64,
    pub(crate) source: i64,
    pub(crate) prefix: u32,
    pub(crate) asn: i64,
    pub(crate) country: u32,
    pub(crate) tool: u32,
    pub(crate) password: Option<i64>,
    pub(crate) attempts: f64,
    pub(crate) successes: f64,
    pub(crate) unknown: f64,
    pub(crate) stopped: f64,
    pub(crate) breached: f64,
    pub(crate) weak: f64,
}

/// What is ordinary: odd attempts a day, and the share of each program among ordinary attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usual {
    /// Odd attempts on an ordinary day.
    pub(crate) odd_per_day: f64,
    /// Odd attempts that go with the ordinary ones of a day (days since 1970), where those are many.
    pub(crate) days: HashMap<i64, f64>,
    pub(crate) tools: HashMap<u32, f64>,
}

impl Usual {
    // Odd attempts expected on the day of a time: when all members sign in again, more of them fail from
    // new machines too.
    fn on_day_of(&self, us: i64) -> f64 {
        self.days.get(&us.div_euclid(DAY_US)).copied().unwrap_or(0.0).max(self.odd_per_day)
    }
}

/// Attempts of one actor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Positions of its attempts, by time.
    pub(crate) members: Vec<usize>,
    /// Attempts that each reason joined.
    pub(crate) reasons: BTreeMap<&'static str, f64>,
    pub(crate) profile: Profile,
}

/// What a cluster looks like.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Profile {
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    pub(crate) attempts: f64,
    pub(crate) successes: f64,
    pub(crate) unknown: f64,
    pub(crate) stopped: f64,
    pub(crate) breached: f64,
    pub(crate) weak: f64,
    pub(crate) names: f64,
    /// Names that belong to an account.
    pub(crate) known_names: f64,
    /// Attempts on names that belong to an account.
    pub(crate) on_members: f64,
    pub(crate) accounts: f64,
    pub(crate) sources: f64,
    pub(crate) prefixes: f64,
    pub(crate) asns: f64,
    pub(crate) countries: f64,
    pub(crate) tools: f64,
    pub(crate) passwords: f64,
    pub(crate) peak_per_minute: f64,
    pub(crate) gap_median_s: f64,
    /// Spread of the pauses over their mean: 0 a clock, 1 chance, more in bursts.
    pub(crate) gap_spread: f64,
}

/// What the actor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CampaignKind {
    Stuffing,
    Spraying,
    Cracking,
    LoginFlood,
}

impl CampaignKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stuffing => "stuffing",
            Self::Spraying => "spraying",
            Self::Cracking => "cracking",
            Self::LoginFlood => "login_flood",
        }
    }
}

impl Profile {
    fn of<'a>(members: impl Iterator<Item = &'a Attempt>) -> Self {
        let mut p = Self { first_us: i64::MAX, last_us: i64::MIN, ..Self::default() };
        let mut sets: [BTreeSet<i64>; 9] = Default::default();
        let mut times = Vec::new();
        for a in members {
            (p.first_us, p.last_us) = (p.first_us.min(a.first_us), p.last_us.max(a.last_us));
            p.attempts += a.attempts;
            p.successes += a.successes;
            p.unknown += a.unknown;
            p.stopped += a.stopped;
            p.breached += a.breached;
            p.weak += a.weak;
            p.on_members += if a.account.is_some() { a.attempts } else { 0.0 };
            times.push(a.first_us);
            let in_it = if a.successes > 0.0 { a.account } else { None };
            let keys = [
                Some(a.name),
                in_it,
                Some(a.source),
                Some(i64::from(a.prefix)),
                Some(a.asn),
                Some(i64::from(a.country)),
                Some(i64::from(a.tool)),
                a.password,
                a.account,
            ];
            for (set, key) in sets.iter_mut().zip(keys) {
                set.extend(key);
            }
        }
        let n = sets.map(|s| s.len() as f64);
        [
            p.names,
            p.accounts,
            p.sources,
            p.prefixes,
            p.asns,
            p.countries,
            p.tools,
            p.passwords,
            p.known_names,
        ] = n;
        p.pace(times);
        p
    }

    fn pace(&mut self, mut times: Vec<i64>) {
        times.sort_unstable();
        let mut minutes: BTreeMap<i64, f64> = BTreeMap::new();
        for t in &times {
            *minutes.entry(t.div_euclid(60_000_000)).or_default() += 1.0;
        }
        self.peak_per_minute = minutes.values().copied().fold(0.0, f64::max);
        let mut gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64 / 1e6).collect();
        if gaps.is_empty() {
            return;
        }
        gaps.sort_unstable_by(f64::total_cmp);
        self.gap_median_s = gaps[gaps.len() / 2];
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        self.gap_spread = if mean > 0.0 { variance.sqrt() / mean } else { 0.0 };
    }

    /// Returns the attempts whose name and password were looked at; what a defence stopped says nothing
    /// of them.
    pub(crate) fn looked_at(&self) -> f64 {
        (self.attempts - self.stopped).max(self.unknown).max(self.successes)
    }

    /// Returns what the actor wants, from what is tried on how many names.
    pub(crate) fn kind(&self) -> CampaignKind {
        let seen = self.looked_at();
        let few = self.known_names > 0.0 && self.known_names <= 10.0;
        if few && self.on_members >= ACCOUNT_TRIES * self.known_names {
            CampaignKind::Cracking
        } else if self.names >= 10.0 && self.passwords > 0.0 && self.passwords <= 0.5 * self.names {
            CampaignKind::Spraying
        } else if seen >= FLOOD_SEEN
            && self.unknown >= FLOOD_UNKNOWN * seen
            && self.peak_per_minute >= FLOOD_PACE
        {
            CampaignKind::LoginFlood
        } else {
            CampaignKind::Stuffing
        }
    }

    // 0 alike, 1 unlike. Shares that differ by no more than chance are alike.
    fn distance(&self, other: &Self) -> f64 {
        let share = |f: fn(&Self) -> f64, of: fn(&Self) -> f64| {
            let (n, m) = (of(self).max(1.0), of(other).max(1.0));
            let (p, q) = (f(self) / n, f(other) / m);
            let mean = ((f(self) + f(other)) / (n + m)).clamp(0.0, 1.0);
            let error = (mean * (1.0 - mean) * (1.0 / n + 1.0 / m)).sqrt();
            if (p - q).abs() <= 2.5 * error { 0.0 } else { (p - q).abs() / (p + q).max(1e-9) }
        };
        let scale = |f: fn(&Self) -> f64| ((f(self).max(0.1) / f(other).max(0.1)).ln().abs() / 5.0).min(1.0);
        let parts = [
            (0.25, share(|p| p.unknown, Self::looked_at)),
            (0.15, share(|p| p.breached, |p| p.attempts)),
            (0.1, share(|p| p.successes, Self::looked_at)),
            (0.15, scale(|p| p.names / p.passwords.max(1.0))),
            (0.15, scale(|p| p.attempts / p.names.max(1.0))),
            (0.35, ((self.gap_median_s.max(0.1) / other.gap_median_s.max(0.1)).ln().abs() / 6.0).min(1.0)),
        ];
        parts.iter().map(|(w, d)| w * d).sum()
    }

    // The same kind, or too little of one was looked at to know its kind. A flood is told from stuffing by its pace: two that
    // begin and end together are parts of one, and the smaller is slower.
    fn may_be(&self, other: &Self) -> bool {
        let unknown = |p: &Self| p.kind() == CampaignKind::Stuffing && p.looked_at() < KIND_SEEN;
        let by_pace = |p: &Self| matches!(p.kind(), CampaignKind::Stuffing | CampaignKind::LoginFlood);
        let together = by_pace(self) && by_pace(other) && self.overlap(other) >= TOGETHER;
        self.kind() == other.kind() || together || unknown(self) || unknown(other)
    }

    // Share of the time of either in which both were active.
    fn overlap(&self, other: &Self) -> f64 {
        let both = self.last_us.min(other.last_us) - self.first_us.max(other.first_us);
        let either = self.last_us.max(other.last_us) - self.first_us.min(other.first_us);
        (both.max(0) as f64 / either.max(1) as f64).min(1.0)
    }

    fn near(&self, other: &Self) -> bool {
        self.first_us <= other.last_us + NEAR_US && other.first_us <= self.last_us + NEAR_US
    }
}

struct Forest {
    parent: Vec<usize>,
    joined: Vec<BTreeMap<&'static str, f64>>,
}

impl Forest {
    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, all: &[usize], why: &'static str) {
        let Some((first, rest)) = all.split_first() else { return };
        for other in rest {
            let (a, b) = (self.root(*first), self.root(*other));
            let root = a.min(b);
            self.parent[a] = root;
            self.parent[b] = root;
        }
        for i in all {
            *self.joined[*i].entry(why).or_default() += 1.0;
        }
    }
}

/// Returns the campaigns among odd attempts, by time.
pub(crate) fn clusters(attempts: &[Attempt], usual: &Usual) -> Vec<Cluster> {
    let mut forest =
        Forest { parent: (0..attempts.len()).collect(), joined: vec![BTreeMap::new(); attempts.len()] };
    let all: Vec<usize> = (0..attempts.len()).collect();
    strong(attempts, &all, &mut forest);
    let (mut found, rest) = components(attempts, &all, &mut forest);
    // WHY: two actors may use the same program or network; what a strong reason claimed is therefore
    // not joined to anything by a weak one.
    weak(attempts, &rest, usual, &mut forest);
    let (more, rest) = components(attempts, &rest, &mut forest);
    found.extend(more);
    found.extend(by_time(attempts, usual, &rest));
    let mut found = merged(attempts, found);
    found.sort_by_key(|c| (c.profile.first_us, c.members.first().copied()));
    found
}

type Key = (i64, i64);

// Joins attempts of a day that share a key, where `enough` says that they are no accident, and the same
// habit on the days that follow.
fn daily(
    attempts: &[Attempt],
    among: &[usize],
    forest: &mut Forest,
    why: &'static str,
    key: impl Fn(&Attempt) -> Option<Key>,
    enough: impl Fn(&[usize]) -> bool,
) {
    let mut cells: BTreeMap<(Key, i64), Vec<usize>> = BTreeMap::new();
    for i in among {
        if let Some(k) = key(&attempts[*i]) {
            cells.entry((k, attempts[*i].first_us.div_euclid(DAY_US))).or_default().push(*i);
        }
    }
    let mut last: Option<(Key, i64, usize)> = None;
    for ((k, day), members) in cells {
        if !enough(&members) {
            continue;
        }
        forest.join(&members, why);
        if let Some((lk, ld, li)) = last
            && lk == k
            && (day - ld) * DAY_US <= GAP_US
        {
            forest.join(&[li, members[0]], why);
        }
        last = Some((k, day, members[0]));
    }
}

fn names(attempts: &[Attempt], all: &[usize]) -> usize {
    all.iter().map(|i| attempts[*i].name).collect::<BTreeSet<_>>().len()
}

fn strong(attempts: &[Attempt], among: &[usize], forest: &mut Forest) {
    daily(attempts, among, forest, "same machine", |a| Some((a.source, 0)), |m| m.len() >= 2);
    daily(
        attempts,
        among,
        forest,
        "same password",
        |a| a.password.map(|p| (p, 0)),
        |m| names(attempts, m) >= PASSWORD_NAMES,
    );
    let tries = |m: &[usize]| m.iter().map(|i| attempts[*i].attempts).sum::<f64>();
    daily(attempts, among, forest, "same name", |a| Some((a.name, 0)), |m| tries(m) >= ACCOUNT_TRIES);
}

fn weak(attempts: &[Attempt], among: &[usize], usual: &Usual, forest: &mut Forest) {
    let expected = |m: &[usize]| {
        let Some(a) = m.first().map(|i| &attempts[*i]) else { return 0.0 };
        usual.on_day_of(a.first_us) * usual.tools.get(&a.tool).copied().unwrap_or(0.0)
    };
    let often =
        |m: &[usize], least: usize| names(attempts, m) >= least && m.len() as f64 >= TOOL_RATIO * expected(m);
    let prefix = |a: &Attempt| Some((i64::from(a.prefix), 0));
    daily(attempts, among, forest, "same network", prefix, |m| names(attempts, m) >= PREFIX_NAMES);
    let here = |a: &Attempt| Some((i64::from(a.tool), a.asn));
    daily(attempts, among, forest, "same program and operator", here, |m| often(m, TOOL_NAMES.0));
    let tool = |a: &Attempt| Some((i64::from(a.tool), 0));
    daily(attempts, among, forest, "same program", tool, |m| often(m, TOOL_NAMES.1));
}

// Components that are large enough, and the attempts that belong to none.
fn components(attempts: &[Attempt], among: &[usize], forest: &mut Forest) -> (Vec<Cluster>, Vec<usize>) {
    let mut by_root: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in among {
        let root = forest.root(*i);
        by_root.entry(root).or_default().push(*i);
    }
    let (mut found, mut rest) = (Vec::new(), Vec::new());
    for members in by_root.into_values() {
        if members.iter().map(|i| attempts[*i].attempts).sum::<f64>() < LEAST {
            rest.extend(members);
            continue;
        }
        let mut reasons = BTreeMap::new();
        for i in &members {
            for (why, n) in &forest.joined[*i] {
                *reasons.entry(*why).or_default() += n;
            }
        }
        found.push(cluster(attempts, members, reasons));
    }
    rest.sort_unstable();
    (found, rest)
}

fn cluster(attempts: &[Attempt], mut members: Vec<usize>, reasons: BTreeMap<&'static str, f64>) -> Cluster {
    members.sort_by_key(|i| (attempts[*i].first_us, *i));
    let profile = Profile::of(members.iter().map(|i| &attempts[*i]));
    Cluster { members, reasons, profile }
}

// Hours, then days, in which more unjoined attempts fall together than chance allows.
fn by_time(attempts: &[Attempt], usual: &Usual, rest: &[usize]) -> Vec<Cluster> {
    let mut hot: BTreeSet<usize> = BTreeSet::new();
    for (width, least) in [(HOUR_US, 6), (DAY_US, 10)] {
        let mut bins: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for i in rest {
            bins.entry(attempts[*i].first_us.div_euclid(width)).or_default().push(*i);
        }
        for (bin, members) in bins {
            let mean = usual.on_day_of(bin * width) * width as f64 / DAY_US as f64;
            if members.len() >= least && poisson_tail(members.len(), mean) < BY_CHANCE {
                hot.extend(members);
            }
        }
    }
    let mut order: Vec<usize> = hot.into_iter().collect();
    order.sort_by_key(|i| (attempts[*i].first_us, *i));
    let mut out: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match out.last_mut() {
            Some(run)
                if run.last().is_some_and(|l| attempts[i].first_us - attempts[*l].first_us <= NEAR_US) =>
            {
                run.push(i);
            }
            _ => out.push(vec![i]),
        }
    }
    out.into_iter()
        .flat_map(|run| by_pace(attempts, run))
        .filter(|run| run.iter().map(|i| attempts[*i].attempts).sum::<f64>() >= LEAST)
        .map(|run| {
            let n = run.len() as f64;
            cluster(attempts, run, BTreeMap::from([("too many at once", n)]))
        })
        .collect()
}

// Bursts that a run only holds because somebody else trickled along at that time, and what is left of it.
fn by_pace(attempts: &[Attempt], run: Vec<usize>) -> Vec<Vec<usize>> {
    let bin = |i: usize| attempts[i].first_us.div_euclid(BURST_US);
    let mut bins: BTreeMap<i64, usize> = BTreeMap::new();
    run.iter().for_each(|i| *bins.entry(bin(*i)).or_default() += 1);
    let (Some((first, _)), Some((last, _))) = (bins.first_key_value(), bins.last_key_value()) else {
        return vec![run];
    };
    let span = (last - first + 1) as f64;
    let dense = |n: usize| n as f64 >= LEAST;
    let calm: usize = bins.values().filter(|n| !dense(**n)).sum();
    let is_burst = |n: usize| dense(n) && n as f64 >= BURST_RATIO * calm as f64 / span;
    if (calm as f64) < LEAST || !bins.values().any(|n| is_burst(*n)) {
        return vec![run];
    }
    let (mut bursts, mut trickle): (Vec<Vec<usize>>, Vec<usize>) = (Vec::new(), Vec::new());
    for i in run {
        if !is_burst(bins[&bin(i)]) {
            trickle.push(i);
            continue;
        }
        let near = |burst: &&mut Vec<usize>| burst.last().is_some_and(|l| bin(i) - bin(*l) <= 1);
        match bursts.last_mut().filter(near) {
            Some(burst) => burst.push(i),
            None => bursts.push(vec![i]),
        }
    }
    bursts.push(trickle);
    bursts
}

/// Returns the chance of at least `n` events where `mean` are usual.
pub(crate) fn poisson_tail(n: usize, mean: f64) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let mean = mean.max(1e-9);
    // ln of the first term, then the series of the tail.
    let ln_first = n as f64 * mean.ln() - mean - (1..=n).map(|k| (k as f64).ln()).sum::<f64>();
    if (n as f64) <= mean {
        return 1.0;
    }
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..200 {
        term *= mean / (n + k) as f64;
        sum += term;
    }
    (ln_first.exp() * sum).min(1.0)
}

// Two clusters that may be one actor: how unlike, when they began, and which they are.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    /// Bits of a number that is not negative: they sort as it does.
    unlike: u64,
    began_us: (i64, i64),
    which: (usize, usize),
}

fn pair(found: &[Option<Cluster>], i: usize, j: usize) -> Option<Reverse<Pair>> {
    let (a, b) = (&found[i].as_ref()?.profile, &found[j].as_ref()?.profile);
    if !a.near(b) || !a.may_be(b) {
        return None;
    }
    let unlike = a.distance(b) + APART * (1.0 - a.overlap(b));
    let began_us = (a.first_us.min(b.first_us), a.first_us.max(b.first_us));
    (unlike <= ALIKE).then_some(Reverse(Pair { unlike: unlike.max(0.0).to_bits(), began_us, which: (i, j) }))
}

// Neighbours in time of the same kind that behave alike are one actor; the most alike first.
fn merged(attempts: &[Attempt], found: Vec<Cluster>) -> Vec<Cluster> {
    let mut found: Vec<Option<Cluster>> = found.into_iter().map(Some).collect();
    let mut pairs: BinaryHeap<Reverse<Pair>> = (0..found.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .filter_map(|(i, j)| pair(&found, i, j))
        .collect();
    while let Some(Reverse(Pair { which: (i, j), .. })) = pairs.pop() {
        // A pair of which one has become part of another is of the past.
        if found[i].is_none() || found[j].is_none() {
            continue;
        }
        let (Some(one), Some(other)) = (found[i].take(), found[j].take()) else { continue };
        let mut reasons = one.reasons;
        for (why, n) in other.reasons {
            *reasons.entry(why).or_default() += n;
        }
        *reasons.entry("alike and near in time").or_default() += other.members.len() as f64;
        let members = one.members.into_iter().chain(other.members).collect();
        found.push(Some(cluster(attempts, members, reasons)));
        let new = found.len() - 1;
        pairs.extend((0..new).filter_map(|k| pair(&found, k, new)));
    }
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(t_s: f64, name: i64, source: i64) -> Attempt {
        let us = (t_s * 1e6) as i64;
        Attempt {
            first_us: us,
            last_us: us,
            name,
            source,
            prefix: u32::try_from(source).unwrap(),
            asn: source % 40,
            tool: u32::try_from(source % 25).unwrap(),
            password: Some(name ^ 7),
            attempts: 1.0,
            unknown: f64::from(u8::from(name % 5 > 0)),
            ..Attempt::default()
        }
    }

    fn usual() -> Usual {
        let tools = (0..25).map(|t| (t, 0.04)).collect();
        Usual { odd_per_day: 6.0, tools, ..Usual::default() }
    }

    // A few odd attempts a day that belong to nobody.
    fn quiet() -> Vec<Attempt> {
        (0..180)
            .map(|k| attempt(f64::from(k) * 14_400.0, 10_000 + i64::from(k), 5_000 + i64::from(k)))
            .collect()
    }

    #[test]
    fn ordinary_days_are_no_campaign() {
        assert!(clusters(&quiet(), &usual()).is_empty());
    }

    #[test]
    fn two_attempts_a_source_are_found_by_their_number() {
        let mut all = quiet();
        // 80 a day for four days, never more than two from one address.
        all.extend((0..320).map(|k| {
            attempt(864_000.0 + f64::from(k) * 1_080.0, 50_000 + i64::from(k), 9_000 + i64::from(k) / 2)
        }));
        let found = clusters(&all, &usual());
        assert_eq!(found.len(), 1, "{:?}", found.iter().map(|c| &c.profile).collect::<Vec<_>>());
        assert!(found[0].members.len() >= 315, "{}", found[0].members.len());
        assert_eq!(found[0].profile.kind(), CampaignKind::Stuffing);
    }

    #[test]
    fn one_password_on_many_names_is_spraying_apart_from_stuffing_beside_it() {
        let mut all = quiet();
        all.extend((0..300).map(|k| attempt(864_000.0 + f64::from(k) * 800.0, 50_000 + i64::from(k), 9_000)));
        all.extend((0..300).map(|k| Attempt {
            password: Some(i64::from(k / 30)),
            unknown: 0.0,
            ..attempt(864_000.0 + f64::from(k) * 810.0, 80_000 + i64::from(k), 9_500 + i64::from(k))
        }));
        let found = clusters(&all, &usual());
        let kinds: BTreeSet<&str> = found.iter().map(|c| c.profile.kind().name()).collect();
        assert_eq!((found.len(), kinds), (2, BTreeSet::from(["spraying", "stuffing"])));
    }

    #[test]
    fn the_slower_machines_of_a_flood_are_part_of_it() {
        // Fourteen a minute from two machines and six a minute from two others, for the same three hours.
        let part = |per_minute: f64, name: i64, source: i64| {
            (0..(180.0 * per_minute) as i64).map(move |k| Attempt {
                unknown: f64::from(u8::from(k % 50 > 0)),
                ..attempt(864_000.0 + k as f64 * 60.0 / per_minute, name + k, source + k % 2)
            })
        };
        let mut all = quiet();
        all.extend(part(14.0, 50_000, 9_000));
        all.extend(part(6.0, 80_000, 9_500));
        let found = clusters(&all, &usual());
        let kinds: Vec<_> = found.iter().map(|c| (c.profile.kind(), c.members.len())).collect();
        assert_eq!(kinds, [(CampaignKind::LoginFlood, 3_600)]);
    }

    #[test]
    fn a_burst_beside_a_trickle_is_somebody_else() {
        let mut all = quiet();
        all.extend(
            (0..200).map(|k| attempt(864_000.0 + f64::from(k) * 3_000.0, 50_000 + i64::from(k), 9_000)),
        );
        all.extend((0..200).map(|k| attempt(1_200_000.0 + f64::from(k), 80_000 + i64::from(k), 9_500)));
        let found = clusters(&all, &usual());
        let sizes: Vec<usize> = found.iter().map(|c| c.members.len()).collect();
        assert_eq!(sizes, [200, 200]);
    }

    #[test]
    fn a_burst_from_many_homes_is_not_the_spraying_that_trickles_along() {
        let mut all = quiet();
        // Twenty a day for six days, and 130 within a minute and a half of the third; no machine twice.
        let spray = |k: i64| attempt(864_000.0 + k as f64 * 4_320.0, 50_000 + k, 9_000 + k);
        let burst = |k: i64| attempt(1_040_000.0 + k as f64 * 0.7, 80_000 + k, 12_000 + k);
        all.extend((0..120).map(spray).chain((0..130).map(burst)));
        let found = clusters(&all, &Usual { odd_per_day: 3.0, ..usual() });
        let sizes: Vec<usize> = found.iter().map(|c| c.members.len()).collect();
        assert!(sizes.len() == 2 && sizes[0].abs_diff(156) <= 4 && sizes[1].abs_diff(130) <= 1, "{sizes:?}");
    }

    #[test]
    fn more_members_bring_more_odd_attempts() {
        // A day on which ten times as many sign in as usual, and ten times as many of them fail from new machines.
        let mut all = quiet();
        let day = 864_000.0;
        all.extend(
            (0..60)
                .map(|k| attempt(day + f64::from(k) * 1_400.0, 60_000 + i64::from(k), 7_000 + i64::from(k))),
        );
        assert_eq!(clusters(&all, &usual()).len(), 1, "what members do not explain is somebody");
        let days = [(10, 66.0)].into();
        assert!(clusters(&all, &Usual { days, ..usual() }).is_empty());
    }

    #[test]
    fn tries_on_one_name_are_cracking() {
        let mut all = quiet();
        all.extend((0..60).map(|k| Attempt {
            account: Some(77),
            unknown: 0.0,
            ..attempt(900_000.0 + f64::from(k) * 90.0, 77, 9_000 + i64::from(k))
        }));
        let found = clusters(&all, &usual());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].profile.kind(), CampaignKind::Cracking);
    }

    #[test]
    fn the_tail_of_chance_adds_up() {
        assert!((poisson_tail(1, 2.0) - 1.0).abs() < 1e-9 || poisson_tail(1, 2.0) > 0.8);
        assert!((poisson_tail(5, 1.0) - 0.003_66).abs() < 1e-4);
        assert!(poisson_tail(80, 6.0) < 1e-30);
    }
}
