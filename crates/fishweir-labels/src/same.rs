//! Which bursts of strangers are the same thing.
//!
//! Series that stand out at the same time mostly show one thing from several sides. A flood within a trickle of hours is
//! another one: each would be measured and named by the other.

use std::collections::{BTreeMap, BTreeSet};

use fishweir_detect::{Surge, group_surges};

use crate::candidates::GROUP_GAP_MIN;

/// A trickle lasts at least so many times longer than the flood within it.
const LONGER: usize = 4;
/// Share of a flood that a trickle brings at most while it lasts.
const TRICKLE_SHARE: f64 = 0.125;
/// Requests that make each of two things more than a part of the other.
const EXCESS_MIN: f64 = 60.0;
/// Share of a burst from which on it belongs to what lasts no longer than it does.
const MOST: f64 = 0.5;

/// Returns the bursts in groups that are one thing each, by the start of what they overlap with; no group is empty.
pub(crate) fn things(bursts: Vec<Surge>) -> Vec<Vec<Surge>> {
    let groups = |all: Vec<Surge>| group_surges(all, GROUP_GAP_MIN).into_iter();
    groups(bursts).flat_map(|g| groups(without_aftermath(g))).flat_map(apart).collect()
}

/// Returns the bursts of which the others show less than half: the bursts of any one series, or all that count different
/// requests (`is_apart`) together.
pub(crate) fn uncovered(
    bursts: Vec<Surge>,
    others: &[Surge],
    is_apart: impl Fn(&Surge) -> bool,
) -> Vec<Surge> {
    let shown = |s: &Surge| {
        let (mut apart, mut each) = (0.0, BTreeMap::<usize, f64>::new());
        for o in others {
            let inside = excess_in(o, &[(s.start, s.end)]);
            *each.entry(o.series).or_default() += inside;
            apart += if is_apart(o) { inside } else { 0.0 };
        }
        each.into_values().fold(apart, f64::max)
    };
    bursts.into_iter().filter(|s| shown(s) < MOST * excess(s)).collect()
}

// A group without the trickle beneath it, and the trickle.
fn apart(group: Vec<Surge>) -> Vec<Vec<Surge>> {
    let Some(times) = floods(&group) else { return vec![group] };
    let (flood, trickle): (Vec<Surge>, Vec<Surge>) =
        group.into_iter().partition(|s| excess_in(s, &times) >= MOST * excess(s));
    // Floods may together hold most of what lies beneath them.
    if trickle.is_empty() { vec![flood] } else { [things(flood), things(trickle)].concat() }
}

// When the largest burst that is something else than one beneath it was open, and its series at other times so too; `None`
// where a group is one thing.
fn floods(group: &[Surge]) -> Option<Vec<(usize, usize)>> {
    let over = |s: &&Surge| group.iter().any(|o| is_apart(s, o)) && !group.iter().any(|o| is_part(s, o));
    let floods: Vec<&Surge> = group.iter().filter(over).collect();
    let largest = floods.iter().max_by(|a, b| excess(a).total_cmp(&excess(b)))?;
    Some(floods.iter().filter(|s| s.series == largest.series).map(|s| (s.start, s.end)).collect())
}

fn is_apart(flood: &Surge, below: &Surge) -> bool {
    let inside = excess_in(below, &[(flood.start, flood.end)]);
    lasts(below, flood)
        && excess(flood) >= EXCESS_MIN
        && inside <= TRICKLE_SHARE * excess(flood)
        && excess(below) - inside >= EXCESS_MIN.max(inside)
}

// Whether a burst is a stretch of something longer: one route of those that an attack takes in turn, say.
fn is_part(one: &Surge, whole: &Surge) -> bool {
    lasts(whole, one) && excess_in(whole, &[(one.start, one.end)]) > TRICKLE_SHARE * excess(one)
}

// A group without what trickles on after a flood: newcomers of the crowd that it came under, say. They are no part of the
// flood and too few to be a thing of their own.
fn without_aftermath(group: Vec<Surge>) -> Vec<Surge> {
    let is_after = |s: &&Surge| group.iter().any(|flood| is_aftermath(s, flood));
    let after: BTreeSet<(usize, usize)> =
        group.iter().filter(is_after).map(|s| (s.series, s.start)).collect();
    group.into_iter().filter(|s| !after.contains(&(s.series, s.start))).collect()
}

// Begins in the last quarter of a flood or later and brings little, a minute and in all.
#[expect(clippy::cast_precision_loss, reason = "minutes")]
fn is_aftermath(after: &Surge, flood: &Surge) -> bool {
    let per_minute = |s: &Surge| excess(s) / minutes(s) as f64;
    LONGER * after.start.saturating_sub(flood.start) >= (LONGER - 1) * minutes(flood)
        && !lasts(after, flood)
        && excess(flood) >= EXCESS_MIN
        && excess(after) <= TRICKLE_SHARE * excess(flood)
        && per_minute(after) <= TRICKLE_SHARE * per_minute(flood)
}

fn lasts(long: &Surge, short: &Surge) -> bool {
    minutes(long) >= LONGER * minutes(short)
}

fn minutes(s: &Surge) -> usize {
    s.end - s.start + 1
}

/// Returns the requests of a burst above expectation.
pub(crate) fn excess(s: &Surge) -> f64 {
    s.points.iter().map(|p| p.observed - p.expected).sum()
}

fn excess_in(s: &Surge, times: &[(usize, usize)]) -> f64 {
    let within = |m: usize| times.iter().any(|t| (t.0..=t.1).contains(&m));
    s.points.iter().filter(|p| within(p.minute)).map(|p| p.observed - p.expected).sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use fishweir_detect::Point;

    use super::*;

    pub(crate) fn surge(series: usize, (start, end): (usize, usize), per_min: f64) -> Surge {
        let point =
            |minute| Point { minute, observed: per_min + 1.0, expected: 1.0, band: (0.0, 4.0), z: 9.0 };
        Surge {
            series,
            start,
            noticed: start,
            enough: None,
            end,
            open: false,
            peak_z: 9.0,
            history_weeks: 2.0,
            points: (start..=end).map(point).collect(),
        }
    }

    fn series(groups: &[Vec<Surge>]) -> Vec<Vec<(usize, usize)>> {
        groups.iter().map(|g| g.iter().map(|s| (s.series, s.start)).collect()).collect()
    }

    #[test]
    fn a_flood_over_a_trickle_of_days_is_another_thing() {
        let trickle = [surge(3, (0, 2_600), 1.2), surge(5, (300, 700), 0.4), surge(6, (1_900, 2_300), 0.4)];
        let flood = [surge(0, (2_000, 2_090), 40.0), surge(1, (2_001, 2_090), 35.0)];
        let found = things([trickle.as_slice(), flood.as_slice()].concat());
        assert_eq!(series(&found), [vec![(0, 2_000), (1, 2_001)], vec![(3, 0), (5, 300), (6, 1_900)]]);
    }

    #[test]
    fn what_others_show_together_is_covered() {
        let all = vec![surge(9, (100, 119), 3.0)];
        let parts = [surge(1, (100, 119), 1.0), surge(2, (100, 119), 1.0)];
        assert_eq!(uncovered(all.clone(), &parts, |_| true), []);
        assert_eq!(uncovered(all.clone(), &parts, |_| false), all, "they may be the same requests");
        assert_eq!(uncovered(all.clone(), &[surge(1, (200, 219), 9.0)], |_| true), all);
    }

    #[test]
    fn floods_are_not_joined_by_what_trickles_on_between_them() {
        let found = things(vec![
            surge(3, (0, 2_600), 1.2),
            surge(0, (100, 190), 40.0),
            surge(0, (2_000, 2_090), 40.0),
        ]);
        assert_eq!(series(&found), [vec![(0, 100)], vec![(0, 2_000)], vec![(3, 0)]]);
    }

    #[test]
    fn what_trickles_on_after_a_flood_is_no_part_of_it() {
        let flood = [surge(0, (100, 142), 480.0), surge(3, (101, 135), 120.0)];
        let with = |more: &[Surge]| series(&things([flood.as_slice(), more].concat()));
        let alone = vec![(0, 100), (3, 101)];
        let tail = surge(3, (136, 249), 5.0);
        for after in [tail.clone(), surge(3, (136, 140), 0.3)] {
            assert_eq!(with(&[after]), std::slice::from_ref(&alone));
        }
        let wave = surge(0, (248, 290), 480.0);
        assert_eq!(with(&[tail, wave]), [alone.clone(), vec![(0, 248)]], "joined by nothing else");
        assert_eq!(
            with(&[surge(3, (136, 170), 100.0)]),
            [vec![(0, 100), (3, 101), (3, 136)]],
            "a second wave"
        );
        assert_eq!(
            with(&[surge(3, (110, 223), 5.0)]),
            [vec![(0, 100), (3, 101), (3, 110)]],
            "goes on a while"
        );
        assert_eq!(with(&[surge(5, (136, 1_000), 5.0)]), [alone, vec![(5, 136)]], "hours are a thing");
    }

    #[test]
    fn what_shows_one_thing_from_several_sides_stays_together() {
        // One of six programs, open for longer than all strangers together are.
        let parts = vec![surge(0, (100, 160), 12.0), surge(2, (90, 500), 2.0)];
        assert_eq!(things(parts).len(), 1);
        // A network of many, and two of the routes that are asked for in turn.
        let turns = vec![
            surge(0, (0, 480), 11.0),
            surge(4, (0, 480), 0.5),
            surge(1, (10, 20), 11.0),
            surge(2, (20, 30), 11.0),
        ];
        assert_eq!(things(turns).len(), 1);
        // The slow start of a flood on the same program.
        let mut ramp = surge(2, (0, 600), 1.0);
        ramp.points.iter_mut().filter(|p| p.minute >= 550).for_each(|p| p.observed = 31.0);
        assert_eq!(things(vec![ramp, surge(0, (550, 600), 30.0)]).len(), 1);
    }
}
