//! An open surge by the same functions as on the sealed path.

use std::collections::BTreeMap;

use fishweir_pipeline::{Interval, MINUTE_US};

use super::{Count, LiveWatch, Minute, Open, STRANGERS};
use crate::candidates::Candidate;
use crate::classify::Evidence;
use crate::incidents::{evidence, top_routes};
use crate::notes;
use crate::raw::{ClientSums, Look, RouteSums};

const BEFORE_MIN: usize = 60;
const GAP_MIN: usize = 3;
/// Times as many members as before that are taken for a crowd.
const CROWD_MAX: f64 = 10.0;
const NEARLY_ALL: f64 = 0.7;

/// What is known of an open surge.
pub(super) struct Judged {
    pub(super) evidence: Evidence,
    pub(super) excess: f64,
    pub(super) requests: f64,
    pub(super) top: Vec<String>,
}

/// Minutes of a surge and before it; `scale` is the length of the first over that of the second.
struct Windows<'a> {
    before: Vec<&'a Minute>,
    during: Vec<&'a Minute>,
    scale: f64,
}

impl Windows<'_> {
    // How many times as many members come as before, once at least: a crowd brings newcomers in proportion. WHY the smaller of
    // requests and clients: members whose programs try again are no more members.
    fn crowd(&self) -> f64 {
        let requests = |m: &Minute| m.series.first().map_or(0.0, |c| c.n - c.odd);
        let clients = |m: &Minute| (distinct(m) - m.strangers.clients()).max(0.0);
        let times = |before: &[&Minute], f: &dyn Fn(&Minute) -> f64| {
            let usual = self.usual(before, f);
            (usual > 0.0).then(|| sum(&self.during, f) / usual)
        };
        let both = [times(&self.before, &requests), times(&self.own(), &clients)];
        both.into_iter().flatten().reduce(f64::min).unwrap_or(1.0).clamp(1.0, CROWD_MAX)
    }

    // The minutes before that were not sealed before us: only they say how many clients came and who was foreign.
    fn own(&self) -> Vec<&Minute> {
        self.before.iter().copied().filter(|m| m.number > 0).collect()
    }

    // What some of the minutes before would come to in the time of the surge.
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    fn usual(&self, some: &[&Minute], f: impl Fn(&Minute) -> f64) -> f64 {
        sum(some, f) * self.scale * self.before.len() as f64 / some.len().max(1) as f64
    }
}

fn distinct(m: &Minute) -> f64 {
    if m.clients.is_empty() { m.distinct } else { m.clients.clients() }
}

fn sum(all: &[&Minute], f: impl Fn(&Minute) -> f64) -> f64 {
    all.iter().map(|m| f(m)).sum()
}

impl LiveWatch {
    /// Returns what is known of an open surge.
    pub(super) fn judge(&self, k: usize, now_us: i64) -> Option<Judged> {
        let open = self.open[k].as_ref()?;
        let w = self.windows(open, now_us);
        let look = self.look_at(open, &w);
        let [n, _, n0, _] = look.all;
        let extra = (n - n0 * w.scale).max(0.0);
        let odd_extra = (look.odd.requests - look.odd_before.requests * w.scale).max(0.0);
        let by_strangers = k == STRANGERS;
        let share =
            if by_strangers { Some(1.0) } else { (extra > 0.0).then(|| (odd_extra / extra).min(1.0)) };
        // Where nearly all of a surge is strange, all of it is the burst.
        let whole = !by_strangers || (open.with_volume && odd_extra >= NEARLY_ALL * extra);
        let excess = if whole { extra.max(odd_extra) } else { odd_extra };
        let candidate = Candidate {
            start: 0,
            end: 0,
            noticed: 0,
            noticed_by: Vec::new(),
            open: true,
            peak_z: 0.0,
            history_weeks: 0.0,
            routes: open.routes.clone(),
            points: BTreeMap::new(),
            excess: by_strangers.then_some((odd_extra, 0.0, odd_extra)),
            measured_on: None,
            // The days before are not kept here.
            whole_share: None,
            stranger_share: share.filter(|_| self.scans.is_some()),
            found_by: Vec::new(),
            judged_by: None,
        };
        let calm = sum(&w.before, |m| m.stopped) * w.scale;
        let stopped = (sum(&w.during, |m| m.stopped) - calm).max(0.0);
        let stopped_share = (stopped > 0.0 && excess > 0.0).then(|| (stopped / excess).min(1.0));
        let noted = notes::kinds(&self.notes, Interval::new(open.start_us, now_us));
        let evidence = evidence(&look, &candidate, excess, stopped_share, noted, &open.routes);
        Some(Judged { evidence, excess, requests: n, top: top_routes(&look) })
    }

    // The minutes of the surge, and up to an hour before it.
    #[expect(clippy::cast_precision_loss, reason = "seconds and minutes")]
    fn windows(&self, open: &Open, now_us: i64) -> Windows<'_> {
        let since = usize::try_from((now_us - open.start_us) / MINUTE_US).unwrap_or(0).min(self.past.len());
        let split = self.past.len() - since;
        let before: Vec<&Minute> =
            self.past.iter().take(split.saturating_sub(GAP_MIN)).rev().take(BEFORE_MIN).collect();
        let during = self.past.iter().skip(split).chain([&self.minute]).collect();
        let length = (now_us - open.start_us).max(1_000_000) as f64 / MINUTE_US as f64;
        let scale = if before.is_empty() { 0.0 } else { length / before.len() as f64 };
        Windows { before, during, scale }
    }

    fn look_at(&self, open: &Open, w: &Windows<'_>) -> Look {
        let of = |m: &Minute, i: usize| m.series.get(i).copied().unwrap_or_default();
        let during = |f: &dyn Fn(Count) -> f64, i: usize| sum(&w.during, |m| f(of(m, i)));
        let before = |f: &dyn Fn(Count) -> f64, i: usize| sum(&w.before, |m| f(of(m, i)));
        let surge = Count { n: during(&|c| c.n, 0), pending: during(&|c| c.pending, 0), ..Count::default() };
        let (share, share0) = (self.newcomers.share_in_surge(&surge), self.newcomers.share());
        let crowd = w.crowd();
        let series = |i: usize| {
            let (n, n0) = (during(&|c| c.n, i), before(&|c| c.n, i));
            let (odd, odd0) = (during(&|c| c.strange(share), i), before(&|c| c.strange(share0), i) * crowd);
            let (failed, failed0) = (during(&|c| c.failed, i), before(&|c| c.failed, i));
            RouteSums { n, n0, odd, odd0, mine: odd, mine0: odd0, failed, failed0, ..RouteSums::default() }
        };
        let own = w.own();
        let usual = |f: &dyn Fn(Count) -> f64| crowd * w.usual(&own, |m| f(of(m, 0)));
        let brought = during(&|c| c.strange(share), 0) - usual(&|c| c.strange(share0));
        let foreign = during(&|c| c.foreign, 0) - usual(&|c| c.foreign);
        let named = self.routes.iter().enumerate();
        let routes = named.filter_map(|(i, r)| Some(RouteSums { route: r.clone()?, ..series(i) })).collect();
        let whole = series(0);
        Look {
            scale: w.scale,
            odd: ClientSums {
                requests: whole.odd,
                clients: open.strangers.clients(),
                busiest: open.strangers.busiest().unwrap_or(0.0),
                ..ClientSums::default()
            },
            odd_before: ClientSums { requests: whole.odd0, ..ClientSums::default() },
            all: [whole.n, sum(&w.during, |m| m.with_account), whole.n0, sum(&w.before, |m| m.with_account)],
            clients: [sum(&w.during, distinct), sum(&w.before, distinct)],
            foreign_share: self
                .homes
                .as_ref()
                .filter(|_| brought > 0.0 && !own.is_empty())
                .map(|_| (foreign / brought).clamp(0.0, 1.0)),
            busiest: open.clients.busiest(),
            routes,
            ..Look::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: i64, requests: f64, odd: f64, clients: i64) -> Minute {
        let mut m = Minute { number, distinct: 10.0, ..Minute::default() };
        m.series.push(Count { n: requests, odd, ..Count::default() });
        (0..clients).for_each(|c| m.clients.add(c, 1, 1_000));
        m
    }

    #[test]
    fn a_crowd_is_more_members_not_more_requests_nor_strangers() {
        let of = |before: &[Minute], during: &[Minute]| {
            let scale = during.len() as f64 / before.len() as f64;
            Windows { before: before.iter().collect(), during: during.iter().collect(), scale }.crowd()
        };
        let calm: Vec<Minute> = (1..=4).map(|m| minute(m, 100.0, 5.0, 10)).collect();
        let sealed: Vec<Minute> = (1..=4).map(|_| minute(0, 100.0, 5.0, 0)).collect();
        let crowd = [minute(5, 385.0, 5.0, 50), minute(6, 385.0, 5.0, 50)];
        assert!((of(&calm, &crowd) - 4.0).abs() < 1e-9, "{}", of(&calm, &crowd));
        assert!((of(&sealed, &crowd) - 4.0).abs() < 1e-9, "sealed minutes have no clients");
        let close_to_one = |during: &[Minute]| (of(&calm, during) - 1.0).abs() < 1e-9;
        assert!(close_to_one(&[minute(5, 900.0, 5.0, 10)]), "the same members try again");
        assert!(close_to_one(&[minute(5, 900.0, 805.0, 50)]), "strangers are no crowd");
        assert!(close_to_one(&[minute(5, 9.0, 0.0, 1)]), "fewer than before");
        assert!((of(&[], &crowd) - 1.0).abs() < 1e-9, "nothing is known of before");
        assert!((of(&calm, &[minute(5, 9e6, 0.0, 500)]) - CROWD_MAX).abs() < 1e-9);
    }
}
