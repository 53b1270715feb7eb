//! Surges of volume and bursts of strangers, put together: what happened at the same time and is
//! the same thing becomes one candidate.

use std::collections::BTreeMap;

use fishweir_detect::{Point, Surge, group_surges};

use crate::series::Minutes;
use crate::strangers::{Mark, Strangers};

/// What was enough to notice a burst within a minute.
#[derive(Clone, Debug)]
pub(crate) struct Enough {
    /// Requests of strangers.
    pub(crate) requests: f64,
    /// Condition on them; `None` for all strangers.
    pub(crate) condition: Option<String>,
}

/// What a burst was measured on.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) mark: Mark,
    /// Condition on their requests.
    pub(crate) condition: String,
}

impl Measured {
    /// Returns whether other things of the same time were taken from it.
    pub(crate) fn is_part(&self) -> bool {
        matches!(self.mark, Mark::Tools(_))
    }
}

/// Something unusual that may be an incident; minutes count from the start of the span looked at.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Minute in which it was noticed, and what in it was enough; nothing where that is not known.
    pub(crate) noticed: usize,
    pub(crate) noticed_by: Vec<Enough>,
    pub(crate) open: bool,
    pub(crate) peak_z: f64,
    pub(crate) history_weeks: f64,
    pub(crate) routes: Vec<String>,
    pub(crate) points: BTreeMap<usize, Point>,
    /// Requests above expectation where a burst measured them: best, low, high.
    pub(crate) excess: Option<(f64, f64, f64)>,
    /// What the strangers that a burst was measured on share; `None` for all of them.
    pub(crate) measured_on: Option<Measured>,
    /// Share of the excess of such a burst that all strangers show; `None` where that cannot be told.
    pub(crate) whole_share: Option<f64>,
    /// Share of the excess that strangers brought.
    pub(crate) stranger_share: Option<f64>,
    /// Detectors that noticed it.
    pub(crate) found_by: Vec<&'static str>,
    /// Minutes by which it is judged, when not by all of them.
    pub(crate) judged_by: Option<(usize, usize)>,
}

/// Minutes between two surges of the same thing.
pub(crate) const GROUP_GAP_MIN: usize = 3;
/// Share of a surge's excess above which it is the burst of strangers beside it.
const SAME_SHARE: f64 = 0.5;
/// Share of strangers from which on a surge is a burst and nothing else.
const NEARLY_ALL: f64 = 0.7;
/// Share of strangers below which a burst inside a crowd is the crowd's own.
const OWN_SHARE: f64 = 0.4;
/// A surge that lasts this many times longer than the burst inside it is something beside it as well.
const LONGER: usize = 3;
/// Minutes after which a surge is part of what is usual: a burst is measured against the two hours before it.
const SETTLED_MIN: usize = 120;
/// Minutes from which on a surge is the tide of days and no crowd that comes for something.
const LONG_MIN: usize = 12 * 60;

/// Returns the candidates of a span, by start.
pub(crate) fn candidates(
    minutes: Option<&Minutes>,
    surges: Vec<Surge>,
    strangers: Option<&Strangers>,
) -> Vec<Candidate> {
    let bursts = strangers.map(Strangers::bursts).unwrap_or_default();
    let mut out = bursts.clone();
    for group in group_surges(surges, GROUP_GAP_MIN) {
        let Some(minutes) = minutes else { break };
        let mut one = of_surges(minutes, &group);
        one.stranger_share = strangers.and_then(|s| stranger_share(s, &one));
        let mine: Vec<usize> = (0..bursts.len())
            .filter(|n| {
                let b = &bursts[*n];
                b.start <= one.end + GROUP_GAP_MIN
                    && one.start <= b.end + GROUP_GAP_MIN
                    && !within_tide(b, (one.start, one.end))
            })
            .collect();
        let same = one.stranger_share.is_some_and(|s| s >= SAME_SHARE) && !mine.is_empty();
        for n in mine {
            let whole = &mut out[n];
            whole.stranger_share = Some(share_of(&bursts[n], &one));
            if !same && stands_alone(whole, &bursts[n], &one) {
                whole.stranger_share = Some(1.0);
            }
            if same {
                whole.found_by.push("volume");
                take_volume(whole, &one);
                whole.peak_z = whole.peak_z.max(one.peak_z);
                let more: Vec<String> =
                    one.routes.iter().filter(|r| !whole.routes.contains(r)).cloned().collect();
                if whole.routes.is_empty() {
                    whole.routes.extend(more);
                }
            }
        }
        let covered = out
            .iter()
            .filter(|c| c.excess.is_some() && overlap(c, &one))
            .map(|c| c.end - c.start + 1)
            .sum::<usize>();
        if !same || one.end - one.start + 1 > LONGER * covered + 30 {
            out.push(one);
        }
    }
    // A crowd brings strangers of its own: they are part of it, not something beside it.
    let crowds: Vec<(usize, usize)> =
        out.iter().filter(|c| c.excess.is_none()).map(|c| (c.start, c.end)).collect();
    out.retain(|c| {
        let inside = crowds.iter().any(|s| c.start <= s.1 && s.0 <= c.end && !within_tide(c, *s));
        c.excess.is_none() || !inside || c.stranger_share.is_none_or(|s| s >= OWN_SHARE)
    });
    out.sort_by_key(|c| (c.start, c.end));
    for c in &mut out {
        c.found_by.sort_unstable();
        c.found_by.dedup();
    }
    out
}

// Share of strangers beside a burst. One of several things at the same time is no less strange for the others.
fn share_of(burst: &Candidate, surge: &Candidate) -> f64 {
    let own = share_beside(burst, &surge.points);
    let is_part = burst.measured_on.as_ref().is_some_and(Measured::is_part);
    if is_part { own.max(surge.stranger_share.unwrap_or(0.0)) } else { own }
}

// Share of strangers in what a burst and the surge beside it brought together, minute by minute,
// weighted by the strangers: minutes in which only the burst is there count as its own.
fn share_beside(b: &Candidate, surge: &BTreeMap<usize, Point>) -> f64 {
    let (mut weight, mut sum) = (0.0, 0.0);
    for (minute, p) in &b.points {
        let strange = p.excess();
        let whole = surge.get(minute).map_or(0.0, |q| q.excess());
        weight += strange;
        sum += strange * if whole > strange { strange / whole } else { 1.0 };
    }
    if weight > 0.0 { sum / weight } else { 1.0 }
}

/// Minutes of a burst before a crowd, and requests in them, that make it something of its own.
const ALONE_MIN: usize = 20;
const ALONE_SHARE: f64 = 0.3;
const ALONE_EXCESS: f64 = 60.0;

// What began long before a crowd is not of its making (what stays after one is). It is judged by that
// time, and held to have gone on the same way inside the crowd, whose own strangers hide it there.
fn stands_alone(burst: &mut Candidate, original: &Candidate, crowd: &Candidate) -> bool {
    let before = crowd.start.saturating_sub(GROUP_GAP_MIN);
    let alone: Vec<&Point> = original.points.range(..before).map(|p| p.1).collect();
    let excess: f64 = alone.iter().map(|p| p.excess()).sum();
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    let (n, all) = (alone.len() as f64, original.points.len().max(1) as f64);
    if alone.len() < ALONE_MIN || n < ALONE_SHARE * all || excess < ALONE_EXCESS {
        return false;
    }
    burst.judged_by = Some((burst.start, before.saturating_sub(1).max(burst.start)));
    let rate = excess / n;
    for (_, p) in burst.points.range_mut(before..=crowd.end + GROUP_GAP_MIN) {
        p.observed = p.expected + p.excess().min(rate);
    }
    let sum: f64 = burst.points.values().map(Point::excess).sum();
    burst.excess = burst.excess.map(|(_, low, high)| (sum, low.min(excess), high.max(sum)));
    true
}

// Some machines share addresses with members and are no strangers: where nearly all of a sharp surge is
// strange, all of it is the burst, and the surge measures it better.
fn take_volume(burst: &mut Candidate, surge: &Candidate) {
    let Some((excess, low, high)) = burst.excess else { return };
    let inside: BTreeMap<usize, Point> =
        surge.points.range(burst.start..=burst.end).map(|(m, p)| (*m, *p)).collect();
    let sum: f64 = inside.values().map(|p| p.excess()).sum();
    let whole = inside.len() * 5 >= (burst.end - burst.start + 1) * 4;
    if whole && excess >= NEARLY_ALL * sum && sum > excess {
        burst.excess = Some((sum, low, high.max(sum * 1.05)));
        burst.points = inside;
        burst.measured_on = None;
        burst.whole_share = None;
    }
}

// Whether a burst came when the surge around it had long been usual: its strangers are not the surge's.
fn within_tide(burst: &Candidate, (start, end): (usize, usize)) -> bool {
    end - start >= LONG_MIN && burst.start > start + SETTLED_MIN && burst.end < end
}

fn overlap(a: &Candidate, b: &Candidate) -> bool {
    a.start <= b.end && b.start <= a.end
}

fn of_surges(minutes: &Minutes, group: &[Surge]) -> Candidate {
    let (routes, points) = merge(minutes, group);
    let start = group.iter().map(|s| s.start).min().unwrap_or(0);
    Candidate {
        start,
        end: group.iter().map(|s| s.end).max().unwrap_or(start),
        noticed: group.iter().map(|s| s.noticed).min().unwrap_or(start),
        noticed_by: Vec::new(),
        open: group.iter().any(|s| s.open),
        peak_z: group.iter().map(|s| s.peak_z).fold(0.0, f64::max),
        history_weeks: group.iter().map(|s| s.history_weeks).fold(f64::INFINITY, f64::min),
        routes,
        points,
        excess: None,
        measured_on: None,
        whole_share: None,
        stranger_share: None,
        found_by: vec!["volume"],
        judged_by: None,
    }
}

fn stranger_share(s: &Strangers, c: &Candidate) -> Option<f64> {
    let excess: f64 = c.points.values().map(|p| p.excess()).sum();
    let (seen, usual) = s.during(c.start, c.end)?;
    (excess > 0.0).then(|| ((seen - usual) / excess).clamp(0.0, 1.0))
}

// The routes that surged, and the minutes of the whole: their sum, or the total series when it
// shows much more than they do.
fn merge(minutes: &Minutes, group: &[Surge]) -> (Vec<String>, BTreeMap<usize, Point>) {
    let excess = |s: &Surge| s.points.iter().map(|p| p.excess()).sum::<f64>();
    let named = |s: &&Surge| minutes.routes.get(s.series).is_some_and(Option::is_some);
    let whole: f64 = group.iter().filter(|s| !named(s)).map(excess).sum();
    let mut parts: Vec<&Surge> = group.iter().filter(named).collect();
    parts.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
    let sum: f64 = parts.iter().map(|s| excess(s)).sum();
    let use_total = parts.is_empty() || whole > 1.3 * sum;
    let mut routes: Vec<String> = Vec::new();
    for s in &parts {
        let name = minutes.routes.get(s.series).cloned().flatten();
        if let Some(name) = name.filter(|n| !routes.contains(n) && excess(s) >= 0.02 * sum) {
            routes.push(name);
        }
    }
    let chosen = group.iter().filter(|s| use_total != named(s));
    let mut points: BTreeMap<usize, Point> = BTreeMap::new();
    for p in chosen.flat_map(|s| &s.points) {
        points
            .entry(p.minute)
            .and_modify(|q| {
                let half = ((q.band.1 - q.band.0).powi(2) + (p.band.1 - p.band.0).powi(2)).sqrt() / 2.0;
                q.observed += p.observed;
                q.expected += p.expected;
                q.band = ((q.expected - half).max(0.0), q.expected + half);
                q.z = q.z.max(p.z);
            })
            .or_insert(*p);
    }
    if use_total {
        routes.truncate(3);
    }
    (routes, points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tide_hides_no_burst_that_comes_late_in_it_and_a_crowd_does() {
        let burst = |start, end| Candidate {
            start,
            end,
            noticed: start,
            noticed_by: Vec::new(),
            open: false,
            peak_z: 9.0,
            history_weeks: 1.0,
            routes: Vec::new(),
            points: BTreeMap::new(),
            excess: Some((50.0, 40.0, 60.0)),
            measured_on: None,
            whole_share: None,
            stranger_share: Some(1.0),
            found_by: vec!["strangers"],
            judged_by: None,
        };
        let (day, hours) = ((1_000, 2_400), (1_000, 1_240));
        assert!(within_tide(&burst(1_500, 1_506), day));
        assert!(!within_tide(&burst(1_060, 1_066), day), "it came with the tide");
        assert!(!within_tide(&burst(2_395, 2_400), day), "it ended it");
        assert!(!within_tide(&burst(1_150, 1_156), hours), "a crowd brings its own strangers");
    }
}
