//! Things of one time: where programs that ask for different routes are busy together, one of them a tool, each is a thing of
//! its own, say the smoke and the theft that it hides.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fishweir_detect::{ScanConfig, Surge, arrival_alarms, scan_alarmed};
use fishweir_pipeline::{Catalog, Interval, MINUTE_US, PipelineError, time_literal};

use crate::candidates::GROUP_GAP_MIN;
use crate::same::{excess, things};
use crate::series::{between_sql, quoted_list, words};
use crate::stranger_minutes::Counted;
use crate::strangers::{Mark, dense};
use crate::tools::Tools;

/// Part of their requests up to which two programs may ask for the same routes and still be different things.
const SHARED_MAX: f64 = 0.1;
/// Minutes of requests that are looked at: the others of longer bursts are like them.
const LOOKED_AT_MIN: usize = 24 * 60;
/// Deviations by which a program must ask for more of a route than before.
const CHANCE: f64 = 2.0;
/// Part of a group that may be left when its programs are taken out: more is something else, which must not be lost.
const LEFT_MAX: f64 = 0.3;

/// Requests of a program by route.
type Mix = BTreeMap<String, f64>;

/// Returns the groups of bursts, with those of programs that ask for different routes taken apart: such a part has a new series,
/// the sum of its programs. Only groups that begin within `focus` are looked at, minutes counting from the start of `span`.
///
/// # Errors
/// Requests that cannot be read.
pub(crate) async fn apart(
    catalog: &Catalog,
    (span, focus): (Interval, Interval),
    tools: &Tools,
    counted: &mut Counted,
    groups: Vec<Vec<Surge>>,
    config: &ScanConfig,
) -> Result<Vec<Vec<Surge>>, PipelineError> {
    let mut out = Vec::new();
    for group in groups {
        let at = |m: usize| span.from_us + i64::try_from(m).unwrap_or(0) * MINUTE_US;
        let bursts = of_programs(&group, &counted.marks);
        let programs: BTreeSet<&str> = bursts.iter().map(|b| b.0).collect();
        let is_tool = |p: &str| bursts.iter().any(|b| b.0 == p && tools.is_tool(b.1.start, p));
        let within = group.iter().any(|s| focus.contains(at(s.start)));
        if !within || programs.len() < 2 || !programs.iter().any(|p| is_tool(p)) {
            out.push(group);
            continue;
        }
        let (from, to) = looked_at(&bursts);
        let sets = different(&mixes(catalog, (at(from), at(to + 1)), &programs).await?, config.excess_min);
        // Members' players and browsers ask for different routes, too.
        let told = sets.len() > 1 && sets.iter().any(|set| set.iter().all(|p| is_tool(p)));
        match told.then(|| parts(&group, &sets, counted, config)).flatten() {
            Some(parts) => out.extend(parts),
            None => out.push(group),
        }
    }
    Ok(out)
}

// The bursts of a group that show one program each.
fn of_programs<'a>(group: &'a [Surge], marks: &'a [Mark]) -> Vec<(&'a str, &'a Surge)> {
    let program = |s: &'a Surge| match marks.get(s.series)? {
        Mark::Ja4(v) if !v.is_empty() => Some((v.as_str(), s)),
        _ => None,
    };
    group.iter().filter_map(program).collect()
}

// The minutes in which more than the longest of them is there, a day of them at most.
fn looked_at(bursts: &[(&str, &Surge)]) -> (usize, usize) {
    let longest = bursts.iter().max_by_key(|b| b.1.end - b.1.start).map(|b| b.0);
    let others = || bursts.iter().filter(|b| Some(b.0) != longest).map(|b| b.1);
    let from = others().map(|s| s.start).min().unwrap_or(0);
    let to = others().map(|s| s.end).max().unwrap_or(from);
    (from, to.min(from + LOOKED_AT_MIN))
}

// What programs asked for in a stretch of time beyond what they did in the same length before it, where that is no chance.
async fn mixes(
    catalog: &Catalog,
    (from_us, to_us): (i64, i64),
    programs: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Mix>, PipelineError> {
    if catalog.lake().existing("requests").await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT ja4, route, count(*) FILTER (WHERE time >= {}), count(*) FILTER (WHERE time < {0})
         FROM requests WHERE {} AND ja4 IN ({}) GROUP BY 1, 2",
        time_literal(from_us),
        between_sql("time", Interval::new(2 * from_us - to_us, to_us)),
        quoted_list(programs)
    );
    let mut out: BTreeMap<String, Mix> = BTreeMap::new();
    for batch in catalog.query(&["requests"], &sql).await? {
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let n = |c: usize, r: usize| batch.column(c).as_primitive::<Int64Type>().value(r) as f64;
        for (r, (ja4, route)) in words(&batch, 0).into_iter().zip(words(&batch, 1)).enumerate() {
            let (seen, before) = (n(2, r), n(3, r));
            if seen - before > CHANCE * (seen + before).sqrt() {
                out.entry(ja4).or_default().insert(route, seen - before);
            }
        }
    }
    Ok(out)
}

// Programs in sets that ask for different routes, the busiest first; one set where they are not told apart, none where none is busy. Those with fewer requests
// than `least` join the set that is most like them: they bring none together.
fn different(mixes: &BTreeMap<String, Mix>, least: f64) -> Vec<Vec<String>> {
    let (busy, idle): (Vec<_>, Vec<_>) = mixes.iter().partition(|m| total(m.1) >= least);
    let mut sets: Vec<(Vec<String>, Mix)> = Vec::new();
    for (program, mix) in busy {
        let mut one = (vec![program.clone()], mix.clone());
        let (alike, others) = sets.into_iter().partition(|s| shared(&s.1, mix) > SHARED_MAX);
        sets = others;
        for other in alike {
            join(&mut one, other);
        }
        sets.push(one);
    }
    sets.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)));
    for (program, mix) in idle {
        let like = |s: &(Vec<String>, Mix)| shared(&s.1, mix);
        let most = (0..sets.len()).rev().max_by(|a, b| like(&sets[*a]).total_cmp(&like(&sets[*b])));
        if let Some(set) = most.and_then(|i| sets.get_mut(i)) {
            set.0.push(program.clone());
        }
    }
    sets.into_iter().map(|s| s.0).collect()
}

fn join(one: &mut (Vec<String>, Mix), other: (Vec<String>, Mix)) {
    one.0.extend(other.0);
    for (route, n) in other.1 {
        *one.1.entry(route).or_default() += n;
    }
}

fn total(mix: &Mix) -> f64 {
    mix.values().sum()
}

// Part of their requests that two mixes have in common, 0 to 1.
fn shared(a: &Mix, b: &Mix) -> f64 {
    let (na, nb) = (total(a).max(1.0), total(b).max(1.0));
    a.iter().filter_map(|(route, n)| Some((n / na).min(b.get(route)? / nb))).sum()
}

// The parts of a group, one for each set of programs; `None` where it is one thing, or where much of it is none of theirs.
fn parts(
    group: &[Surge],
    sets: &[Vec<String>],
    counted: &mut Counted,
    config: &ScanConfig,
) -> Option<Vec<Vec<Surge>>> {
    let hull = (group.iter().map(|s| s.start).min()?, group.iter().map(|s| s.end).max()?);
    let near = |s: &Surge| s.start <= hull.1 + GROUP_GAP_MIN && hull.0 <= s.end + GROUP_GAP_MIN;
    let followed = counted.marks.len();
    let mut out = Vec::new();
    for set in sets {
        let series = counted.sum(set);
        let alarms = arrival_alarms(&dense(&counted.arrivals[series], &counted.counts[series]), config);
        let mut bursts: Vec<Surge> =
            scan_alarmed(series, &counted.counts[series], &alarms, config).into_iter().filter(near).collect();
        if bursts.is_empty() {
            continue;
        }
        bursts.extend(group.iter().filter(|s| is_of(&counted.marks[s.series], set)).cloned());
        out.push(bursts);
    }
    let whole = most(group);
    let told: f64 = out.iter().map(|part| most(part)).sum();
    if out.len() < 2 || told < (1.0 - LEFT_MAX) * whole {
        counted.keep(followed);
        return None;
    }
    Some(out.into_iter().flat_map(things).collect())
}

fn is_of(mark: &Mark, set: &[String]) -> bool {
    matches!(mark, Mark::Ja4(v) if set.contains(v))
}

// The excess of the series that shows most of it.
fn most(bursts: &[Surge]) -> f64 {
    let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
    for s in bursts {
        *sums.entry(s.series).or_default() += excess(s);
    }
    sums.into_values().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::same::tests::surge;

    fn mixes(of: &[(&str, &[(&str, f64)])]) -> BTreeMap<String, Mix> {
        let mix = |m: &[(&str, f64)]| m.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect();
        of.iter().map(|(program, m)| ((*program).to_owned(), mix(m))).collect()
    }

    #[test]
    fn tools_that_ask_for_the_same_are_one_thing() {
        let turns = mixes(&[
            ("a", &[("/home", 40.0), ("/search", 20.0)]),
            ("b", &[("/home", 10.0), ("/search", 9.0)]),
            ("c", &[("/search", 30.0)]),
        ]);
        assert_eq!(different(&turns, 12.0), [["c", "b", "a"]]);
    }

    #[test]
    fn smoke_and_the_theft_that_it_hides_are_two() {
        let both = mixes(&[
            ("smoke", &[("/home", 29.0), ("/title/{id}", 5.0)]),
            ("thief", &[("/login", 411.0), ("/account", 1.0)]),
            ("thief again", &[("/login", 2.0), ("/home", 1.0)]),
        ]);
        let found = different(&both, 12.0);
        assert_eq!(
            found,
            [vec!["thief", "thief again"], vec!["smoke"]],
            "a few requests bring nothing together"
        );
    }

    // Ten days with a thief's four sign-ins and the smoke's two pages a minute at the end, and `more` of others.
    fn counted(more: f64) -> (Counted, Vec<Surge>, (usize, usize)) {
        let (n, during) = (10 * 1_440, (10 * 1_440 - 40, 10 * 1_440 - 20));
        let series = |k: f64| -> Vec<f64> {
            (0..n).map(|m| if (during.0..=during.1).contains(&m) { k } else { 0.0 }).collect()
        };
        let marks = vec![Mark::All, Mark::Ja4("thief".to_owned()), Mark::Ja4("smoke".to_owned())];
        let counts = vec![series(6.0 + more), series(4.0), series(2.0)];
        let group = vec![surge(0, during, 6.0 + more), surge(1, during, 4.0), surge(2, during, 2.0)];
        (Counted { marks, counts, arrivals: vec![Vec::new(); 3] }, group, during)
    }

    #[test]
    fn each_part_is_measured_on_its_own_tools() {
        let (mut counted, group, during) = counted(0.0);
        let sets = [vec!["thief".to_owned()], vec!["smoke".to_owned()]];
        let found = parts(&group, &sets, &mut counted, &ScanConfig::default()).expect("two things");
        let sizes: Vec<(f64, bool)> =
            found.iter().map(|p| (most(p).round(), p.iter().all(|s| (s.start, s.end) == during))).collect();
        assert_eq!(sizes, [(84.0, true), (42.0, true)]);
        assert_eq!(counted.marks[3..], sets.map(Mark::Tools));
    }

    #[test]
    fn what_is_no_tool_is_not_lost() {
        let (mut counted, group, _) = counted(6.0);
        let sets = [vec!["thief".to_owned()], vec!["smoke".to_owned()]];
        assert!(parts(&group, &sets, &mut counted, &ScanConfig::default()).is_none(), "half of it is others");
        assert_eq!((counted.marks.len(), counted.counts.len()), (3, 3));
    }
}
