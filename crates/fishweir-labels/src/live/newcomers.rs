//! Strangers who may yet turn out to be members: signed in on a device that is new, and about to watch.
//!
//! At the end of an hour the sealed path knows who was granted a licence in it; a second after the first
//! request nobody does. Until a licence comes or the time in which it usually comes is over, requests of
//! such a session count by the share of requests like them that stayed strange, and a licence takes back
//! what was counted.

use std::collections::{HashMap, VecDeque};

use super::{Count, LiveWatch, Minute};

/// Seconds in which nearly every member who will watch has been granted a licence.
const GRACE_S: i64 = 180;
const NEWCOMERS_MAX: usize = 100_000;
/// Requests of a session without a licence after which it is waited for no longer.
const HITS_MAX: usize = 60;
/// Share that stays strange before anything is seen, worth this many requests.
const PRIOR: (f64, f64) = (0.3, 60.0);
/// Minutes that tell how many newcomers are usual, and how many of them it takes.
const USUAL_MIN: usize = 60;
const USUAL_LEAST_MIN: usize = 15;
/// Times as many undecided requests as usual that members bring who all come on new devices.
const CROWD: f64 = 3.0;
/// Requests that the share remembers.
const MEMORY: f64 = 3_000.0;

/// A request of a stranger, as it was counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) second: i64,
    /// Minute that it was counted in: rows that come early count in the one that runs.
    pub(crate) minute: i64,
    pub(crate) series: Option<usize>,
    pub(crate) client: i64,
    pub(crate) network: i64,
    pub(crate) ja4: Option<i64>,
    /// Whether no member resembles it.
    pub(crate) foreign: bool,
    /// Whether it counts by the share only.
    pub(crate) pending: bool,
}

#[derive(Debug)]
struct Session {
    first: i64,
    hits: Vec<Counted>,
    given_up: bool,
}

/// A minute that has ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    requests: f64,
    /// Signed-in strangers who came in it.
    came: f64,
    /// Requests of those who were still waited for at its end.
    pending: f64,
}

/// Sessions of strangers that are waited for.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    sessions: HashMap<i64, Session>,
    /// Second of the first request and session, in this order.
    by_first: VecDeque<(i64, i64)>,
    stayed: f64,
    turned: f64,
    /// Signed-in strangers who came in the present minute.
    came: f64,
    minutes: VecDeque<Ended>,
}

impl Newcomers {
    /// Returns how many signed-in strangers usually come beside so many requests; `None` until enough minutes were seen.
    ///
    /// A launch brings more of both.
    pub(super) fn usual(&self, requests: f64) -> Option<f64> {
        self.usual_of(|m| m.came, requests)
    }

    fn usual_of(&self, f: impl Fn(&Ended) -> f64, requests: f64) -> Option<f64> {
        let of = self.minutes.iter().map(|m| m.requests).sum::<f64>();
        let told = self.minutes.len() >= USUAL_LEAST_MIN && of > 0.0;
        // One more than were seen: none in an hour does not mean never.
        told.then(|| (self.minutes.iter().map(f).sum::<f64>() + 1.0) / of * requests)
    }

    /// Returns the share that stays strange of the undecided requests in a surge.
    ///
    /// Beyond several times as many as are usual beside so many requests nobody is taken for a member who is about to watch.
    pub(super) fn share_in_surge(&self, surge: &Count) -> f64 {
        let usual = self.usual_of(|m| m.pending, surge.n).filter(|_| surge.pending > 0.0);
        let beyond = usual.map_or(0.0, |usual| 1.0 - CROWD * usual / surge.pending);
        self.share().max(beyond)
    }

    /// Ends a minute; NaN requests when it was not whole.
    pub(super) fn end_minute(&mut self, requests: f64, pending: f64) {
        let came = std::mem::take(&mut self.came);
        if requests.is_finite() {
            self.minutes.push_back(Ended { requests, came, pending });
            if self.minutes.len() > USUAL_MIN {
                self.minutes.pop_front();
            }
        }
    }

    /// Returns the share of signed-in strangers' requests that stays strange.
    pub(super) fn share(&self) -> f64 {
        (self.stayed + PRIOR.0 * PRIOR.1) / (self.stayed + self.turned + PRIOR.1)
    }

    fn learn(&mut self, hits: &[Counted], stays: bool) {
        #[expect(clippy::cast_precision_loss, reason = "at most 60")]
        let n = hits.iter().filter(|h| h.pending).count() as f64;
        *(if stays { &mut self.stayed } else { &mut self.turned }) += n;
        if self.stayed + self.turned > MEMORY {
            self.stayed /= 2.0;
            self.turned /= 2.0;
        }
    }
}

impl Count {
    /// Returns the requests of strangers, those still waited for by the share that stays.
    pub(super) fn strange(&self, share: f64) -> f64 {
        self.odd - (1.0 - share) * self.pending
    }
}

impl LiveWatch {
    /// Remembers a stranger's request for as long as its session may turn out to be a member's.
    pub(super) fn await_licence(&mut self, session: Option<i64>, counted: Counted) {
        let full = self.newcomers.sessions.len() >= NEWCOMERS_MAX;
        let known = session.filter(|s| !full || self.newcomers.sessions.contains_key(s));
        let Some(session) = known else { return self.recount(&counted, 0.0) };
        let (first, pending) = (counted.second, counted.pending);
        let one = self.newcomers.sessions.entry(session).or_insert_with(|| {
            self.newcomers.came += f64::from(u8::from(pending));
            self.newcomers.by_first.push_back((first, session));
            Session { first, hits: Vec::new(), given_up: false }
        });
        if one.given_up {
            return self.recount(&counted, 0.0);
        }
        one.hits.push(counted);
        if one.hits.len() >= HITS_MAX {
            // So many requests and no licence: nothing more is expected of it.
            one.given_up = true;
            let hits = std::mem::take(&mut one.hits);
            self.stays_strange(&hits);
        }
    }

    fn stays_strange(&mut self, hits: &[Counted]) {
        self.newcomers.learn(hits, true);
        hits.iter().for_each(|h| self.recount(h, 0.0));
    }

    /// Takes back what was counted of a session that was granted a licence.
    pub(super) fn turned_member(&mut self, session: i64) {
        let Some(Session { hits, .. }) = self.newcomers.sessions.remove(&session) else { return };
        self.newcomers.learn(&hits, false);
        for h in &hits {
            self.recount(h, -1.0);
            self.open.iter_mut().flatten().for_each(|open| open.strangers.take(h.client));
            let minutes = self.past.iter_mut().rev().take(10).chain([&mut self.minute]);
            minutes.filter(|m| m.number == h.minute).for_each(|m| m.strangers.take(h.client));
        }
    }

    /// Gives up waiting for sessions whose time is over.
    pub(super) fn end_of_grace(&mut self, now: i64) {
        while let Some((first, session)) = self.newcomers.by_first.front().copied() {
            if now - first < GRACE_S {
                break;
            }
            self.newcomers.by_first.pop_front();
            // One that turned out to be a member's and is strange again hours later has a later entry.
            if self.newcomers.sessions.get(&session).is_some_and(|s| s.first == first)
                && let Some(Session { hits, .. }) = self.newcomers.sessions.remove(&session)
            {
                self.stays_strange(&hits);
            }
        }
    }

    // A request is waited for no longer; `odd` is what it then counts more.
    fn recount(&mut self, h: &Counted, odd: f64) {
        let now = self.second.unwrap_or(0);
        let pending = f64::from(u8::from(h.pending));
        let of_second = usize::try_from(h.second - now).ok().and_then(|ahead| self.newest.get_mut(ahead));
        let of_second = of_second.or_else(|| {
            let back = usize::try_from(now - h.second).ok()?;
            let at = self.ring.len().checked_sub(back)?;
            self.ring.get_mut(at)
        });
        let is_present = h.minute >= self.minute.number;
        let of_minute: Option<&mut Minute> = if is_present {
            Some(&mut self.minute)
        } else {
            self.past.iter_mut().rev().take(10).find(|m| m.number == h.minute)
        };
        for all in [of_second, of_minute.map(|m| &mut m.series)].into_iter().flatten() {
            for i in [Some(0), h.series].into_iter().flatten() {
                if let Some(c) = all.get_mut(i) {
                    c.odd += odd;
                    c.pending -= pending;
                    c.foreign += if h.foreign { odd } else { 0.0 };
                }
            }
        }
        if is_present {
            self.marks.recount(h, odd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_are_usual_as_many_as_they_are_among_the_requests() {
        let mut all = Newcomers::default();
        for minute in 0..100 {
            assert_eq!(all.usual(600.0).is_some(), minute >= USUAL_LEAST_MIN, "{minute}");
            all.came += if minute < 40 { 50.0 } else { 2.0 };
            all.end_minute(600.0, 6.0);
            all.end_minute(f64::NAN, 900.0);
        }
        let usual = |n: f64| all.usual(n).expect("an hour");
        assert!((usual(600.0) - 121.0 / 60.0).abs() < 1e-9, "of the last hour: {}", usual(600.0));
        assert!((usual(6_000.0) - 10.0 * usual(600.0)).abs() < 1e-9, "a launch");
        let share = |pending: f64| all.share_in_surge(&Count { n: 600.0, pending, ..Count::default() });
        assert_eq!([share(0.0), share(6.0), share(18.0)], [0.3; 3], "as usual, and as a crowd");
        assert!((share(180.0) - 0.9).abs() < 0.01, "{}", share(180.0));
        let mut nobody = Newcomers::default();
        (0..60).for_each(|_| nobody.end_minute(0.0, 0.0));
        assert_eq!(nobody.usual(1.0), None);
        assert!(
            (nobody.share_in_surge(&Count { n: 9.0, pending: 9.0, ..Count::default() }) - 0.3).abs() < 1e-9
        );
    }
}
