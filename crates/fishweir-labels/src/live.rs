//! Incidents while they happen: the same detectors and the same heuristic as on sealed minutes, fed
//! second by second in bounded memory.
//!
//! Between two minutes the last sixty seconds are held against the forecast of the minute that has
//! begun; whatever opens that way must be confirmed by the minutes themselves, or it is withdrawn.

mod arrivals;
mod judge;
pub(crate) mod newcomers;
mod rates;
mod tally;

pub use rates::{LiveMinute, LiveRate};

use std::collections::{HashMap, HashSet, VecDeque};

use fishweir_detect::{BurstScan, DetectorConfig, ScanConfig, SurgeDetector};
use fishweir_pipeline::{DAY_US, HOUR_US, MINUTE_US};
use serde::Serialize;

use crate::classify::{SurgeKind, attack_probability, kind};
use crate::homes::Homes;
use crate::incidents::identity;
use crate::live::arrivals::{Arrivals, Came};
use crate::live::judge::Judged;
use crate::live::newcomers::{Counted, Newcomers};
use crate::live::tally::Tally;
use crate::live_marks::{MarkKey, Marks};
use crate::notes::Note;

/// One request, as far as the live path looks at it.
#[derive(Clone, Debug)]
pub struct LiveHit<'a> {
    /// Time of the request.
    pub time_us: i64,
    /// Route.
    pub route: &'a str,
    /// Hash of device or address.
    pub client: i64,
    /// Number of the network, -1 when unknown.
    pub network: i64,
    /// Hash of the TLS fingerprint.
    pub ja4: Option<i64>,
    /// Hash of the session.
    pub session: Option<i64>,
    /// Whether an account is signed in.
    pub with_account: bool,
    /// Whether a licence was granted.
    pub licensed: bool,
    /// Whether a defence refused the licence.
    pub refused: bool,
    /// Whether the service failed it.
    pub failed: bool,
    /// Whether a defence stopped it.
    pub stopped: bool,
}

/// What is known when the live path starts: sealed minutes, clients, notes.
#[derive(Debug, Default)]
pub struct LiveHistory {
    /// First minute of the counts.
    pub from_us: i64,
    /// Route of each series; the first is all of them.
    pub routes: Vec<Option<String>>,
    /// Requests a minute, per series; NaN is no data.
    pub counts: Vec<Vec<f64>>,
    /// Requests of strangers a minute, per series; `None` where they are not told apart.
    pub strangers: Option<Vec<Vec<f64>>>,
    /// Clients seen on earlier days: [`known_key`] of each network and [`known_anywhere`].
    pub known: HashSet<u64>,
    /// Sessions, by hash, that were granted a licence in the last hours.
    pub sessions: HashSet<i64>,
    /// Requests of strangers a minute by mark, as long as the others.
    pub(crate) marks: Vec<(MarkKey, Vec<f64>)>,
    pub(crate) notes: Vec<Note>,
    /// Programs and networks of members; `None` where none are known.
    pub(crate) homes: Option<Homes>,
}

/// Returns the key of a client on a network.
#[must_use]
pub fn known_key(client: i64, network: i64) -> u64 {
    (client.cast_unsigned() ^ network.cast_unsigned().rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Returns the key of a client on whatever network.
#[must_use]
pub fn known_anywhere(client: i64) -> u64 {
    known_key(client, i64::MIN)
}

/// What the live path says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveEvent {
    /// `open`, `update`, `close`; `withdrawn` when the minutes did not confirm what seconds showed.
    pub event: &'static str,
    /// Name of the incident; the sealed path uses the same where start and route agree.
    pub incident_id: String,
    /// Time of the stream at which this is said, microseconds.
    pub time_us: i64,
    /// First minute of the surge.
    pub start_us: i64,
    /// End of its last unusual minute so far.
    pub end_us: i64,
    /// What it is held to be.
    pub kind: &'static str,
    /// Probability of an attack.
    pub p_attack: Option<f64>,
    /// Detectors that see it.
    pub found_by: String,
    /// Routes, the most affected first.
    pub routes: Vec<String>,
    /// Requests on them since the start.
    pub requests: f64,
    /// Requests above expectation.
    pub excess_requests: f64,
    /// Share of the requests above expectation that were stopped.
    pub stopped_share: Option<f64>,
    /// Clients nobody had seen before.
    pub stranger_clients: Option<f64>,
}

const ROUTES_MAX: usize = 60;
const RING_S: usize = 60;
/// Strangers are looked at over a few seconds as well: a flood stands out from them before it stands out
/// from a minute.
const SHORT_S: usize = 10;
const SHORT_PART: f64 = 1.0 / 6.0;
/// Strangers within these seconds that seldom come by chance, whatever their programs are.
const STRANGERS_TOGETHER: usize = 12;
/// Score beyond the usual threshold that seconds need: they are looked at sixty times as often.
pub(crate) const EARLY_MARGIN: f64 = 1.0;
/// The same for windows of minutes, which hardly change from one second to the next.
pub(crate) const BACK_MARGIN: f64 = 0.5;
const CONFIRM_US: i64 = 3 * MINUTE_US;
const UPDATE_S: i64 = 30;
/// Rows that come this late still count in their own second.
const LATE_S: i64 = 2;
const PAST_MIN: usize = 240;
const BEFORE_MIN: usize = 60;
const CLIENTS_MAX: usize = 200_000;
/// Strangers of a minute that are told apart.
const STRANGERS_MAX: usize = 20_000;
/// Minutes before it stands out in which a burst may have begun: the longest window of the scan twice.
const BEGUN_MIN: usize = 60;
const SESSIONS_MAX: usize = 2_000_000;
const SESSIONS_US: i64 = 4 * HOUR_US;
const CALM_MIN: i64 = 5;
const KEEP_MIN: usize = 29 * 1_440;
/// A gap in the stream after which the minutes before it no longer say what is usual now.
const FORGET_MIN: i64 = 30;
const STRANGERS: usize = 0;
const VOLUME: usize = 1;
const TRACKS: [usize; 2] = [STRANGERS, VOLUME];
/// Share of strangers from which on a surge of volume is the burst beside it.
const SAME_SHARE: f64 = 0.5;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    n: f64,
    /// By strangers.
    odd: f64,
    /// Of those, by strangers who may yet turn out to be members.
    pending: f64,
    failed: f64,
    /// By strangers whom no member resembles.
    foreign: f64,
}

/// A minute, per series and in total.
#[derive(Clone, Debug, Default)]
struct Minute {
    /// Minutes since 1970.
    number: i64,
    series: Vec<Count>,
    with_account: f64,
    stopped: f64,
    clients: Tally,
    distinct: f64,
    /// Strangers among them; kept for as long as a burst may have begun before it stands out.
    strangers: Tally,
}

struct Open {
    id: String,
    start_us: i64,
    end_us: i64,
    opened_us: i64,
    said_us: i64,
    confirmed: bool,
    kind: SurgeKind,
    routes: Vec<String>,
    /// For a burst: whether the volume shows it as well.
    with_volume: bool,
    strangers: Tally,
    /// Stranger or not.
    clients: Tally,
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a minute")]
fn part_of_minute(second: i64) -> f64 {
    second.rem_euclid(60) as f64 / 60.0
}

/// Follows a stream of requests; see the module.
pub struct LiveWatch {
    config: DetectorConfig,
    scan: ScanConfig,
    from_us: i64,
    routes: Vec<Option<String>>,
    index: HashMap<String, usize>,
    counts: Vec<VecDeque<f64>>,
    odd_counts: Vec<VecDeque<f64>>,
    detector: SurgeDetector,
    scans: Option<Vec<BurstScan>>,
    marks: Marks,
    newcomers: Newcomers,
    ticked: usize,
    known: HashSet<u64>,
    notes: Vec<Note>,
    homes: Option<Homes>,
    sessions: [HashSet<i64>; 2],
    sessions_from_us: i64,
    second: Option<i64>,
    ring: VecDeque<Vec<Count>>,
    newest: Vec<Vec<Count>>,
    arrivals: Arrivals,
    minute: Minute,
    past: VecDeque<Minute>,
    rates: VecDeque<(i64, Vec<LiveMinute>)>,
    /// A burst of strangers and a surge of volume, each for itself where they are not the same thing.
    open: [Option<Open>; 2],
    /// Rows that came too late for their second; they count in the present one.
    pub late_rows: u64,
}

impl LiveWatch {
    /// Returns a watch that continues a history.
    #[must_use]
    pub fn new(config: DetectorConfig, scan: ScanConfig, history: LiveHistory) -> Self {
        let mut routes = history.routes;
        if routes.is_empty() {
            routes.push(None);
        }
        let index = routes.iter().enumerate().filter_map(|(i, r)| Some((r.clone()?, i))).collect();
        let queue = |all: Vec<Vec<f64>>| -> Vec<VecDeque<f64>> {
            let mut all: Vec<VecDeque<f64>> = all.into_iter().map(VecDeque::from).collect();
            all.resize_with(routes.len(), VecDeque::new);
            all
        };
        let told = history.strangers.is_some();
        let mut out = Self {
            detector: SurgeDetector::new(config.clone(), 0),
            counts: queue(history.counts),
            odd_counts: queue(history.strangers.unwrap_or_default()),
            scans: told.then(Vec::new),
            marks: Marks::new(&scan, history.marks),
            newcomers: Newcomers::default(),
            arrivals: Arrivals::default(),
            config,
            scan,
            from_us: history.from_us,
            index,
            routes,
            ticked: 0,
            known: history.known,
            notes: history.notes,
            homes: history.homes,
            sessions: [history.sessions, HashSet::new()],
            sessions_from_us: 0,
            second: None,
            ring: VecDeque::new(),
            newest: Vec::new(),
            minute: Minute::default(),
            past: VecDeque::new(),
            rates: VecDeque::new(),
            open: [None, None],
            late_rows: 0,
        };
        out.replay();
        out.remember();
        out
    }

    // The last sealed minutes are what was before, until there are minutes of our own.
    fn remember(&mut self) {
        for t in self.ticked.saturating_sub(2 * BEFORE_MIN)..self.ticked {
            let of = |all: &[VecDeque<f64>], i: usize| {
                all[i].get(t).copied().filter(|v| v.is_finite()).unwrap_or(0.0)
            };
            let count =
                |i| Count { n: of(&self.counts, i), odd: of(&self.odd_counts, i), ..Count::default() };
            let series = (0..self.routes.len()).map(count).collect();
            self.past.push_back(Minute { series, ..Minute::default() });
        }
    }

    /// Replaces the clients that count as known: another day has begun.
    pub fn set_known(&mut self, known: HashSet<u64>) {
        self.known = known;
    }

    // The detectors over the minutes that are kept: at the start, and once a day so that they forget.
    fn replay(&mut self) {
        let length = self.counts.iter().map(VecDeque::len).max().unwrap_or(0);
        let drop = length.saturating_sub(KEEP_MIN);
        for queue in self.counts.iter_mut().chain(&mut self.odd_counts) {
            let short = length - queue.len();
            queue.extend(std::iter::repeat_n(f64::NAN, short));
            queue.drain(..drop);
        }
        if drop > 0 {
            self.marks.forget(drop);
        }
        self.from_us += i64::try_from(drop).unwrap_or(0) * MINUTE_US;
        self.detector = SurgeDetector::new(self.config.clone(), self.routes.len());
        if let Some(scans) = &mut self.scans {
            *scans = (0..self.routes.len()).map(|i| BurstScan::new(i, self.scan.clone())).collect();
        }
        self.ticked = 0;
        for t in 0..length - drop {
            let at = |all: &[VecDeque<f64>]| -> Vec<f64> { all.iter().map(|q| q[t]).collect() };
            let (row, odd) = (at(&self.counts), at(&self.odd_counts));
            self.tick(&row, &odd);
        }
    }

    fn tick(&mut self, row: &[f64], odd: &[f64]) {
        self.detector.tick(row);
        for (scan, k) in self.scans.iter_mut().flatten().zip(odd) {
            scan.tick(*k);
        }
        self.ticked += 1;
    }

    fn ticked_us(&self) -> i64 {
        self.from_us + i64::try_from(self.ticked).unwrap_or(0) * MINUTE_US
    }

    /// Takes a request and returns what there is to say.
    pub fn push(&mut self, hit: &LiveHit<'_>) -> Vec<LiveEvent> {
        let s = hit.time_us.div_euclid(1_000_000);
        let mut out = Vec::new();
        let now = *self.second.get_or_insert(s);
        if self.minute.number == 0 {
            self.minute.number = now.div_euclid(60);
        }
        if self.ring.is_empty() && self.ticked == 0 {
            self.from_us = hit.time_us - hit.time_us.rem_euclid(MINUTE_US);
        }
        if s > now + LATE_S {
            self.advance(s - LATE_S, &mut out);
        } else if s < now {
            self.late_rows += 1;
        }
        self.count(hit);
        out
    }

    /// Returns what there is to say when the stream has come to a time without a request.
    pub fn advance_to(&mut self, time_us: i64) -> Vec<LiveEvent> {
        let mut out = Vec::new();
        if self.second.is_some() {
            self.advance(time_us.div_euclid(1_000_000) - LATE_S, &mut out);
        }
        out
    }

    /// Closes what is open: the stream has ended.
    pub fn finish(&mut self) -> Vec<LiveEvent> {
        let now_us = self.second.unwrap_or(0) * 1_000_000;
        TRACKS.iter().filter_map(|k| self.close(*k, now_us)).collect()
    }

    fn count(&mut self, hit: &LiveHit<'_>) {
        let series = self.series_of(hit.route);
        let odd = self.scans.is_some() && self.is_strange(hit);
        let foreign = odd && self.homes.as_ref().is_some_and(|h| h.is_foreign(hit.ja4, hit.network));
        // Who is not signed in will not watch, and nobody watches with such a program or from there.
        let pending = odd && hit.with_account && !foreign;
        let (n, now) = (self.routes.len(), self.second.unwrap_or(0));
        let ahead = usize::try_from(hit.time_us.div_euclid(1_000_000) - now).unwrap_or(0);
        while self.newest.len() <= ahead {
            self.newest.push(vec![Count::default(); n]);
        }
        self.minute.series.resize_with(n, Count::default);
        let slots = [Some(0), series];
        for i in slots.into_iter().flatten() {
            for all in [&mut self.newest[ahead], &mut self.minute.series] {
                if all.len() <= i {
                    all.resize_with(n, Count::default);
                }
                all[i].n += 1.0;
                all[i].odd += f64::from(u8::from(odd));
                all[i].pending += f64::from(u8::from(pending));
                all[i].failed += f64::from(u8::from(hit.failed));
                all[i].foreign += f64::from(u8::from(foreign));
            }
        }
        self.minute.with_account += f64::from(u8::from(hit.with_account));
        self.minute.stopped += f64::from(u8::from(hit.stopped));
        self.minute.clients.add(hit.client, 1, CLIENTS_MAX);
        if odd {
            self.minute.strangers.add(hit.client, 1, STRANGERS_MAX);
        }
        for open in self.open.iter_mut().flatten() {
            open.clients.add(hit.client, 1, CLIENTS_MAX);
            if odd {
                open.strangers.add(hit.client, 1, CLIENTS_MAX);
            }
        }
        if odd {
            let second = hit.time_us.div_euclid(1_000_000).max(now);
            let LiveHit { client, network, ja4, .. } = *hit;
            let minute = self.minute.number;
            let counted = Counted { second, minute, series, client, network, ja4, foreign, pending };
            self.marks.count(&counted);
            self.arrivals.add(second, client, foreign);
            self.await_licence(hit.session, counted);
        }
    }

    fn series_of(&mut self, route: &str) -> Option<usize> {
        if let Some(i) = self.index.get(route) {
            return Some(*i);
        }
        if self.routes.len() > ROUTES_MAX {
            return None;
        }
        let i = self.routes.len();
        self.routes.push(Some(route.to_owned()));
        self.index.insert(route.to_owned(), i);
        self.counts.push(VecDeque::from(vec![f64::NAN; self.ticked]));
        // Nobody was a stranger on a route that nobody came to.
        let none: VecDeque<f64> = self.odd_counts.first().map_or_else(VecDeque::new, |whole| {
            whole.iter().map(|w| if w.is_nan() { f64::NAN } else { 0.0 }).collect()
        });
        self.detector.add();
        if let Some(scans) = &mut self.scans {
            let mut scan = BurstScan::new(i, self.scan.clone());
            none.iter().for_each(|k| scan.tick(*k));
            scans.push(scan);
        }
        self.odd_counts.push(none);
        Some(i)
    }

    // The definition of `stranger_minutes`: not seen from this network on earlier days, and no licence
    // in the session during the last hours.
    fn is_strange(&mut self, hit: &LiveHit<'_>) -> bool {
        if hit.time_us - self.sessions_from_us > SESSIONS_US {
            self.sessions_from_us = hit.time_us;
            self.sessions.swap(0, 1);
            self.sessions[0].clear();
        }
        if let Some(homes) = self.homes.as_mut().filter(|_| hit.licensed) {
            homes.add(hit.ja4, hit.network);
        }
        if let Some(session) = hit.session {
            let follows = hit.licensed || (hit.refused && self.known.contains(&known_anywhere(hit.client)));
            if follows && self.sessions[0].len() < SESSIONS_MAX {
                self.sessions[0].insert(session);
                self.turned_member(session);
            }
            if self.sessions.iter().any(|s| s.contains(&session)) {
                return false;
            }
        }
        !self.known.contains(&known_key(hit.client, hit.network))
    }

    // Ends every second before `to`.
    fn advance(&mut self, to: i64, out: &mut Vec<LiveEvent>) {
        while let Some(now) = self.second.filter(|s| *s < to) {
            // WHY: a long silence has no seconds worth looking at; its minutes are no data.
            if to - now > 600 && self.newest.is_empty() {
                let skip = (to - now) / 60 * 60;
                self.skip(now + skip, out);
                continue;
            }
            let ended = if self.newest.is_empty() { Vec::new() } else { self.newest.remove(0) };
            self.ring.push_back(ended);
            if self.ring.len() > RING_S {
                self.ring.pop_front();
            }
            self.second = Some(now + 1);
            self.end_of_grace(now + 1);
            if (now + 1) % 60 == 0 {
                self.end_minute((now + 1) * 1_000_000, out);
            } else {
                self.look(now + 1, out);
            }
        }
    }

    fn skip(&mut self, to: i64, out: &mut Vec<LiveEvent>) {
        out.extend(self.finish());
        self.ring.clear();
        self.minute = Minute { number: to.div_euclid(60), ..Minute::default() };
        self.past.clear();
        self.second = Some(to);
        self.fill_to(to * 1_000_000);
    }

    // Minutes without data up to a time.
    fn fill_to(&mut self, to_us: i64) {
        let end = to_us - to_us.rem_euclid(MINUTE_US);
        let blank = vec![f64::NAN; self.routes.len()];
        let mut missing = (end - self.ticked_us()) / MINUTE_US;
        if missing > FORGET_MIN {
            self.past.clear();
        }
        if missing > i64::try_from(KEEP_MIN).unwrap_or(i64::MAX) {
            // Nothing that is kept would be left.
            self.counts.iter_mut().chain(&mut self.odd_counts).for_each(VecDeque::clear);
            self.marks = Marks::new(&self.scan, Vec::new());
            self.from_us = end;
            self.replay();
            return;
        }
        while missing > 0 {
            self.marks.tick(&self.odd_counts[0], false, 1.0);
            self.counts.iter_mut().chain(&mut self.odd_counts).for_each(|q| q.push_back(f64::NAN));
            self.tick(&blank, &blank);
            missing -= 1;
        }
    }

    fn end_minute(&mut self, end_us: i64, out: &mut Vec<LiveEvent>) {
        self.fill_to(end_us - MINUTE_US);
        let n = self.routes.len();
        let mut minute = std::mem::take(&mut self.minute);
        minute.number = (end_us - MINUTE_US) / MINUTE_US;
        self.minute.number = minute.number + 1;
        minute.series.resize_with(n, Count::default);
        minute.distinct = std::mem::take(&mut minute.clients).clients();
        // The first minute may have begun before we listened.
        let whole =
            self.ticked_us() == end_us - MINUTE_US && (self.ring.len() >= RING_S || !self.past.is_empty());
        let value = |v: f64| if whole { v } else { f64::NAN };
        let row: Vec<f64> = minute.series.iter().map(|c| value(c.n)).collect();
        let share = self.newcomers.share();
        let odd: Vec<f64> = minute.series.iter().map(|c| value(c.strange(share))).collect();
        self.newcomers.end_minute(row[0], minute.series[0].pending);
        self.marks.tick(&self.odd_counts[0], whole && self.scans.is_some(), share);
        for (all, values) in [(&mut self.counts, &row), (&mut self.odd_counts, &odd)] {
            all.iter_mut().zip(values).for_each(|(q, v)| q.push_back(*v));
        }
        debug_assert!(self.ticked_us() <= end_us - MINUTE_US, "a minute is counted once");
        self.rate(end_us - MINUTE_US, &row);
        self.tick(&row, &odd);
        self.past.push_back(minute);
        if self.past.len() > PAST_MIN {
            self.past.pop_front();
        }
        if let Some(old) = self.past.iter_mut().rev().nth(BEGUN_MIN) {
            old.strangers = Tally::default();
        }
        self.settle(end_us, out);
        if end_us % DAY_US == 0 {
            self.replay();
        }
    }

    // Seconds: what the last sixty say against the minute that has begun.
    fn look(&mut self, second: i64, out: &mut Vec<LiveEvent>) {
        let now_us = second * 1_000_000;
        for k in TRACKS {
            out.extend(self.say(k, "update", now_us));
        }
        if self.open.iter().all(Option::is_some) || self.ticked == 0 {
            return;
        }
        let (last, newest) = (self.last_seconds(RING_S), self.last_seconds(SHORT_S));
        let mut seen: [Option<Vec<(f64, String)>>; 2] = [None, None];
        let mut begun = [0, 0];
        let came = [RING_S, SHORT_S].map(|seconds| {
            let from = second - i64::try_from(seconds).unwrap_or(0);
            self.arrivals.clients(from, second)
        });
        for (i, c) in last.iter().enumerate() {
            let volume = self.detector.peek(i, c.n).filter(|p| {
                p.z >= self.config.open_z + EARLY_MARGIN && p.observed - p.expected >= self.config.excess_min
            });
            let odd = self.burst_now(i, *c, newest[i], second);
            for (k, found) in [odd, volume.map(|p| (p.excess(), 0))].into_iter().enumerate() {
                let Some((size, before)) = found else { continue };
                begun[k] = begun[k].max(before);
                let list = seen[k].get_or_insert_default();
                list.extend(self.routes[i].clone().map(|name| (size, name)));
            }
        }
        if self.scans.is_some() && (self.many(&last, 1.0, came[0]) || self.many(&newest, SHORT_PART, came[1]))
        {
            seen[STRANGERS].get_or_insert_default();
        }
        let mark = self.marks.peek(part_of_minute(second), self.newcomers.share());
        if let Some(before) = mark.filter(|_| self.scans.is_some()) {
            begun[STRANGERS] = begun[STRANGERS].max(before);
            seen[STRANGERS].get_or_insert_default();
        }
        let start_us = now_us - now_us.rem_euclid(MINUTE_US);
        for (k, list) in seen.into_iter().enumerate() {
            let Some(mut list) = list.filter(|_| self.open[k].is_none()) else { continue };
            list.sort_by(|a, b| b.0.total_cmp(&a.0));
            let routes = list.into_iter().map(|r| r.1).collect();
            let before_us = i64::try_from(begun[k]).unwrap_or(0) * MINUTE_US;
            self.begin(k, [start_us - before_us, now_us], now_us, routes, false);
            out.extend(self.say(k, "open", now_us));
        }
    }

    // Whether the strangers or the foreign of some seconds stand out who are several: a newcomer asks for a dozen things at once,
    // but newcomers seldom come together.
    fn many(&self, all: &[Count], part: f64, came: Came) -> bool {
        let Some(whole) = all.first() else { return false };
        let k = whole.strange(self.newcomers.share());
        let far = |k: f64, besides: f64| {
            let (z, expected) = self.scans.as_ref()?.first()?.peek_rare(k, part, besides)?;
            Some(z >= self.scan.open_z + EARLY_MARGIN && k - expected >= self.scan.excess_min)
        };
        // Who is signed in may turn out to be a member, but so many members on new devices seldom come together either.
        #[expect(clippy::cast_precision_loss, reason = "clients of a minute")]
        let undecided = || far(came.strangers as f64, self.newcomers.usual(whole.n)?);
        self.marks.is_foreign_burst(whole.foreign, part, came.foreign)
            || (came.strangers >= STRANGERS_TOGETHER
                && (far(k, 0.0) == Some(true) || undecided() == Some(true)))
    }

    // Strangers above expectation on a series, where they stand out now: over the last seconds, or over the
    // minutes before and what has come of this one; and how many whole minutes ago they began.
    fn burst_now(&self, i: usize, last: Count, newest: Count, second: i64) -> Option<(f64, usize)> {
        let scan = self.scans.as_ref()?.get(i)?;
        let share = self.newcomers.share();
        let seconds = |k: f64, part: f64| {
            let (z, expected) = scan.peek(k, part)?;
            let far = z >= self.scan.open_z + EARLY_MARGIN && k - expected >= self.scan.excess_min;
            far.then_some((k - expected, 0))
        };
        let back = || {
            let k = self.minute.series.get(i).copied().unwrap_or_default().strange(share);
            let back = scan.peek_back(k, part_of_minute(second))?;
            (back.z >= self.scan.open_z + BACK_MARGIN).then_some((back.excess, back.minutes))
        };
        seconds(last.strange(share), 1.0).or_else(|| seconds(newest.strange(share), SHORT_PART)).or_else(back)
    }

    // Sums over the newest seconds, per series.
    fn last_seconds(&self, seconds: usize) -> Vec<Count> {
        let mut out = vec![Count::default(); self.routes.len()];
        for second in self.ring.iter().rev().take(seconds) {
            for (sum, c) in out.iter_mut().zip(second) {
                sum.n += c.n;
                sum.odd += c.odd;
                sum.pending += c.pending;
                sum.foreign += c.foreign;
            }
        }
        out
    }

    fn begin(
        &mut self,
        k: usize,
        [start_us, end_us]: [i64; 2],
        now_us: i64,
        routes: Vec<String>,
        confirmed: bool,
    ) {
        // The volume of a burst is said with the burst, until it ends.
        if k == VOLUME && self.open[STRANGERS].as_ref().is_some_and(|b| b.with_volume) {
            return;
        }
        // Who came before it stood out is part of it.
        let mut strangers = Tally::default();
        let begun = self.past.iter().filter(|m| m.number * MINUTE_US >= start_us);
        begun.chain([&self.minute]).for_each(|m| strangers.merge(&m.strangers, CLIENTS_MAX));
        self.open[k] = Some(Open {
            id: String::new(),
            start_us,
            end_us,
            opened_us: now_us,
            said_us: 0,
            confirmed,
            kind: SurgeKind::Unknown,
            routes,
            with_volume: false,
            strangers,
            clients: self.minute.clients.clone(),
        });
    }

    // What the detectors hold open: first minute, end of the last, routes.
    fn held(&self, k: usize) -> Option<(i64, i64, Vec<String>)> {
        let at = |m: usize| self.from_us + i64::try_from(m).unwrap_or(0) * MINUTE_US;
        let all: Vec<(usize, usize, usize)> = if k == VOLUME {
            self.detector.open().map(|s| (s.series, s.start, s.end)).collect()
        } else {
            let scans = self.scans.iter().flatten().enumerate();
            let marks = self.marks.open().map(|(from, to)| (0, from, to));
            scans.filter_map(|(i, s)| s.open().map(|(from, to)| (i, from, to))).chain(marks).collect()
        };
        let start = all.iter().map(|x| x.1).min()?;
        let last = all.iter().map(|x| x.2).max()?;
        let routes = all.iter().filter_map(|x| self.routes.get(x.0).cloned().flatten()).collect();
        Some((at(start), at(last + 1), routes))
    }

    // Minutes: what the detectors hold open now.
    fn settle(&mut self, end_us: i64, out: &mut Vec<LiveEvent>) {
        for k in TRACKS {
            match (self.held(k), &mut self.open[k]) {
                (Some((start, last, routes)), None) if end_us - last <= CALM_MIN * MINUTE_US => {
                    self.begin(k, [start, last], end_us, routes, true);
                    out.extend(self.say(k, "open", end_us));
                }
                (Some((start, last, routes)), Some(open)) => {
                    open.confirmed = true;
                    open.start_us = open.start_us.min(start.max(open.opened_us - CONFIRM_US));
                    open.end_us = last;
                    let new: Vec<String> = routes.into_iter().filter(|r| !open.routes.contains(r)).collect();
                    open.routes.extend(new);
                    out.extend(self.say(k, "update", end_us));
                }
                (None, Some(open)) if open.confirmed || end_us - open.opened_us >= CONFIRM_US => {
                    out.extend(self.close(k, end_us));
                }
                _ => {}
            }
        }
    }

    fn close(&mut self, k: usize, now_us: i64) -> Option<LiveEvent> {
        let open = self.open[k].as_mut()?;
        if !open.confirmed {
            open.end_us = open.opened_us;
        }
        let word = if open.confirmed { "close" } else { "withdrawn" };
        let event = self.say(k, word, now_us);
        self.open[k] = None;
        event
    }

    fn say(&mut self, k: usize, event: &'static str, now_us: i64) -> Option<LiveEvent> {
        let Judged { evidence: e, excess, requests, top } = self.judge(k, now_us)?;
        let told = self.scans.is_some();
        // No more strangers than a crowd brings by itself are part of the crowd.
        if k == STRANGERS && event == "open" && excess < 1.0 && self.open[VOLUME].is_some() {
            self.open[STRANGERS] = None;
            return None;
        }
        // A surge that strangers bring is the burst beside it, and said once.
        if k == VOLUME
            && e.stranger_share.is_some_and(|s| s >= SAME_SHARE)
            && let [Some(burst), Some(surge)] = &mut self.open
        {
            burst.with_volume = true;
            let said = surge.said_us > 0;
            if !said {
                self.open[VOLUME] = None;
                return None;
            }
        }
        let other = self.open[1 - k].as_ref().map(|o| o.id.clone());
        let open = self.open[k].as_mut()?;
        if open.routes.is_empty() {
            open.routes = top;
        }
        if event == "open" {
            open.id = identity(open.start_us, &open.routes);
            if other.as_ref() == Some(&open.id) {
                open.id.push_str("-b");
            }
        }
        let p = attack_probability(&e);
        let kind = kind(&e, p);
        let changed = (kind == SurgeKind::Attack) != (open.kind == SurgeKind::Attack);
        if event == "update" && !changed && now_us - open.said_us < UPDATE_S * 1_000_000 {
            return None;
        }
        (open.kind, open.said_us) = (kind, now_us);
        let by = [(k == STRANGERS, "strangers"), (k == VOLUME || open.with_volume, "volume")];
        Some(LiveEvent {
            event,
            incident_id: open.id.clone(),
            // Rows of a second are waited for until it is this late.
            time_us: now_us + LATE_S * 1_000_000,
            start_us: open.start_us,
            end_us: open.end_us,
            kind: kind.name(),
            p_attack: p,
            found_by: by.into_iter().filter(|b| b.0).map(|b| b.1).collect::<Vec<_>>().join(" "),
            routes: open.routes.clone(),
            requests,
            excess_requests: excess,
            stopped_share: e.stopped_share,
            stranger_clients: told.then(|| open.strangers.clients()),
        })
    }
}
