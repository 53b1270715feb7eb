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

    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    fn look_at(&self, open: &Open, w: &Windows<'_>) -> Look {
        let of = |m: &Minute, i: usize| m.series.get(i).copied().unwrap_or_default();
        let share = self.newcomers.share();
        let series = |i: usize| {
            let both =
                |f: &dyn Fn(Count) -> f64| (sum(&w.during, |m| f(of(m, i))), sum(&w.before, |m| f(of(m, i))));
            let ((n, n0), (odd, odd0), (failed, failed0)) =
                (both(&|c| c.n), both(&|c| c.strange(share)), both(&|c| c.failed));
            RouteSums { n, n0, odd, odd0, mine: odd, mine0: odd0, failed, failed0, ..RouteSums::default() }
        };
        // Minutes that were sealed before us do not say who was foreign.
        let own: Vec<&Minute> = w.before.iter().copied().filter(|m| m.number > 0).collect();
        let usual = |f: &dyn Fn(Count) -> f64| {
            sum(&own, |m| f(of(m, 0))) * w.scale * w.before.len() as f64 / own.len().max(1) as f64
        };
        let net = |f: &dyn Fn(Count) -> f64| sum(&w.during, |m| f(of(m, 0))) - usual(f);
        let brought = net(&|c| c.strange(share));
        let named = self.routes.iter().enumerate();
        let routes = named.filter_map(|(i, r)| Some(RouteSums { route: r.clone()?, ..series(i) })).collect();
        let whole = series(0);
        let distinct = |m: &Minute| if m.clients.is_empty() { m.distinct } else { m.clients.clients() };
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
                .map(|_| (net(&|c| c.foreign) / brought).clamp(0.0, 1.0)),
            busiest: open.clients.busiest(),
            routes,
            ..Look::default()
        }
    }
}
