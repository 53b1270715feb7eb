//! Strangers by fingerprint and by network, and those whom no member resembles: a trickle shows in one of them
//! before it shows in the whole.

use std::collections::{HashMap, VecDeque};

use fishweir_detect::{BurstScan, ScanConfig};

use crate::live::newcomers::Counted;
use crate::live::{BACK_MARGIN, EARLY_MARGIN};

/// Kind of a mark and its value, hashed.
pub(crate) type MarkKey = (u8, i64);

pub(crate) const JA4: u8 = 0;
pub(crate) const NETWORK: u8 = 1;
pub(crate) const FOREIGN: u8 = 2;

/// Foreign clients within a minute that hardly ever come by chance, and requests that are enough of them.
const SEVERAL: usize = 6;
const SEVERAL_MIN: f64 = 8.0;
const MARKS_MAX: usize = 150;
const NEWCOMERS_MAX: usize = 10_000;
/// Strangers of a minute that make a mark worth following.
const NEWCOMER_MIN: f64 = 3.0;
/// Minutes without a stranger after which a mark is forgotten.
const IDLE_MIN: usize = 7 * 1_440;

struct One {
    counts: VecDeque<f64>,
    scan: BurstScan,
    now: Now,
}

/// Requests of strangers in the present minute, and those of them that may turn out to be members'.
#[derive(Clone, Copy, Debug, Default)]
struct Now {
    odd: f64,
    pending: f64,
}

/// Requests of strangers a minute, by mark.
pub(crate) struct Marks {
    config: ScanConfig,
    all: HashMap<MarkKey, One>,
    newcomers: HashMap<MarkKey, Now>,
}

impl Now {
    // What counts of it: the part of the undecided that stays strange.
    fn strange(self, share: f64) -> f64 {
        (self.odd - (1.0 - share) * self.pending).max(0.0)
    }
}

fn keys(hit: &Counted) -> impl Iterator<Item = MarkKey> {
    let foreign = hit.foreign.then_some((FOREIGN, 0));
    [Some((NETWORK, hit.network)), hit.ja4.map(|ja4| (JA4, ja4)), foreign].into_iter().flatten()
}

fn scanned(config: &ScanConfig, counts: &VecDeque<f64>) -> BurstScan {
    let mut scan = BurstScan::new(0, config.clone());
    counts.iter().for_each(|k| scan.tick(*k));
    scan
}

impl Marks {
    /// Returns the marks of a history whose series are equally long.
    pub(crate) fn new(config: &ScanConfig, history: Vec<(MarkKey, Vec<f64>)>) -> Self {
        let mut all = HashMap::new();
        for (key, counts) in history.into_iter().take(MARKS_MAX) {
            let counts = VecDeque::from(counts);
            all.insert(key, One { scan: scanned(config, &counts), counts, now: Now::default() });
        }
        Self { config: config.clone(), all, newcomers: HashMap::new() }
    }

    /// Counts a request of a stranger.
    pub(crate) fn count(&mut self, hit: &Counted) {
        for key in keys(hit) {
            let now = if let Some(one) = self.all.get_mut(&key) {
                &mut one.now
            } else if self.newcomers.len() < NEWCOMERS_MAX || self.newcomers.contains_key(&key) {
                self.newcomers.entry(key).or_default()
            } else {
                continue;
            };
            now.odd += 1.0;
            now.pending += f64::from(u8::from(hit.pending));
        }
    }

    /// Takes a request of the present minute for decided; `odd` is what it then counts more.
    pub(crate) fn recount(&mut self, hit: &Counted, odd: f64) {
        for key in keys(hit) {
            let one = self.all.get_mut(&key).map(|one| &mut one.now);
            if let Some(now) = one.or_else(|| self.newcomers.get_mut(&key)) {
                now.odd += odd;
                now.pending -= f64::from(u8::from(hit.pending));
            }
        }
    }

    /// Ends a minute; `whole` are the strangers a minute of all marks up to before it, NaN where they
    /// were not told. `known` is false for a minute without data, `share` the part of the undecided that
    /// stays strange.
    pub(crate) fn tick(&mut self, whole: &VecDeque<f64>, known: bool, share: f64) {
        for one in self.all.values_mut() {
            let k = if known { one.now.strange(share) } else { f64::NAN };
            one.now = Now::default();
            one.counts.push_back(k);
            one.scan.tick(k);
        }
        for (key, now) in self.newcomers.drain() {
            let k = now.strange(share);
            if !known || k < NEWCOMER_MIN || self.all.len() >= MARKS_MAX {
                continue;
            }
            // Nobody with this mark was a stranger so far.
            let mut counts: VecDeque<f64> =
                whole.iter().map(|w| if w.is_nan() { f64::NAN } else { 0.0 }).collect();
            let mut scan = scanned(&self.config, &counts);
            counts.push_back(k);
            scan.tick(k);
            self.all.insert(key, One { counts, scan, now: Now::default() });
        }
    }

    /// Returns whether foreign strangers stand out who came in the `part` of a minute. One newcomer asks for a dozen things at
    /// once; several at the same time hardly ever come by chance, and then fewer requests are enough.
    pub(crate) fn is_foreign_burst(&self, k: f64, part: f64, clients: usize) -> bool {
        let one = self.all.get(&(FOREIGN, 0));
        let (margin, least) =
            if clients >= SEVERAL { (0.0, SEVERAL_MIN) } else { (EARLY_MARGIN, self.config.excess_min) };
        one.and_then(|one| one.scan.peek_rare(k, part, 0.0))
            .is_some_and(|(z, expected)| z >= self.config.open_z + margin && k - expected >= least)
    }

    /// Returns how many whole minutes ago the burst of a followed mark began that stands out in the `part` of
    /// the minute that has begun, alone or with the minutes before it; the longest of all.
    pub(crate) fn peek(&self, part: f64, share: f64) -> Option<usize> {
        let least = self.config.open_z;
        let one = |one: &One| {
            let k = one.now.strange(share);
            let now = one
                .scan
                .peek(k, part)
                .filter(|(z, expected)| *z >= least + EARLY_MARGIN && k - expected >= self.config.excess_min);
            let back = one.scan.peek_back(k, part).filter(|b| b.z >= least + BACK_MARGIN);
            back.map(|b| b.minutes).or(now.map(|_| 0))
        };
        self.all.values().filter_map(one).max()
    }

    /// Forgets the oldest minutes, and marks that nobody has had for a week.
    pub(crate) fn forget(&mut self, drop: usize) {
        self.all.retain(|_, one| one.counts.iter().rev().take(IDLE_MIN).any(|k| *k > 0.0));
        for one in self.all.values_mut() {
            one.counts.drain(..drop.min(one.counts.len()));
            one.scan = scanned(&self.config, &one.counts);
        }
    }

    /// Returns the first and the last minute so far of every open burst.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, usize)> {
        self.all.values().filter_map(|one| one.scan.open())
    }
}
