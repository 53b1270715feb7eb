//! Bursts of strangers: the sealed counts of clients that nobody has seen before and that play nothing.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fishweir_detect::{ScanConfig, Surge, arrival_alarms, scan_alarmed, scan_first_days};
use fishweir_engine::hash64;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError, text_literal};

use crate::candidates::{Candidate, Enough, Measured};
use crate::live_marks::{JA4, MarkKey, NETWORK};
use crate::parts::apart;
use crate::same::{things, uncovered};
use crate::series::{between_sql, quoted_list};
use crate::stranger_minutes::counted;
use crate::tools::Tools;
use crate::whole::whole_share;

/// Relative standard deviation up to which a series measures a burst well.
const SHARP: f64 = 0.12;

/// What a series of strangers counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    All,
    Route(String),
    Ja4(String),
    Asn(String),
    /// Any program that hardly any member has.
    AnyTool,
    /// One of some fingerprints.
    Tools(Vec<String>),
}

impl Mark {
    // The condition on raw requests that have the mark, by the tools of a minute; `None` for all of them.
    fn condition(&self, tools: &Tools, minute: usize) -> Option<String> {
        match self {
            Self::All => None,
            Self::AnyTool => Some(tools.condition(minute)),
            Self::Tools(all) => Some(format!("coalesce(ja4, '') IN ({})", quoted_list(all))),
            Self::Route(r) => Some(format!("route = {}", text_literal(r))),
            Self::Ja4(j) => Some(format!("coalesce(ja4, '') = {}", text_literal(j))),
            Self::Asn(a) => Some(format!("CAST(coalesce(asn, -1) AS VARCHAR) = {}", text_literal(a))),
        }
    }
}

/// Requests of strangers per minute.
pub(crate) struct Strangers {
    marks: Vec<Mark>,
    counts: Vec<Vec<f64>>,
    /// Bursts that are one thing each.
    things: Vec<Vec<Surge>>,
    tools: Tools,
}

/// Who counts as a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who was not seen on earlier days.
    New,
    /// On the first days: who comes from where nobody watches.
    Foreign,
}

impl Kind {
    pub(crate) fn table(self) -> &'static str {
        match self {
            Self::New => "stranger_minutes",
            Self::Foreign => FOREIGN,
        }
    }
}

pub(crate) const FOREIGN: &str = "foreign_minutes";
/// Days that are too young to tell strangers and to have taught what is usual of them.
const YOUNG_DAYS: i64 = 3;

/// Returns the days in a span, from the first to the end of the last, on which only the foreign are told; those of the
/// latest start of data that reaches into the span. `None` where there are none.
pub(crate) async fn young(catalog: &Catalog, span: Interval) -> Result<Option<Interval>, PipelineError> {
    if catalog.lake().existing(FOREIGN).await?.is_none() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT DISTINCT CAST(floor(CAST(minute AS BIGINT) / {DAY_US}) AS BIGINT) AS day FROM {FOREIGN} WHERE {} ORDER BY 1",
        between_sql("minute", Interval::new(span.from_us - YOUNG_DAYS * DAY_US, span.to_us))
    );
    let mut days: Vec<i64> = Vec::new();
    for batch in catalog.query(&[FOREIGN], &sql).await? {
        days.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().map(|d| d * DAY_US));
    }
    let Some(last) = days.last().map(|d| d + DAY_US) else { return Ok(None) };
    let first = days.into_iter().find(|d| *d >= last - YOUNG_DAYS * DAY_US).unwrap_or(last);
    Ok(Some(Interval::new(first, last)).filter(|d| d.to_us > span.from_us))
}

/// Returns the series of a span and their bursts; `None` where strangers are not told apart in it. For the foreign `focus` is
/// the first days, and nothing outside of them is loaded.
pub(crate) async fn load(
    catalog: &Catalog,
    kind: Kind,
    span: Interval,
    focus: Interval,
    config: &ScanConfig,
) -> Result<Option<Strangers>, PipelineError> {
    // On the first days every series is one of the foreign.
    let tools = match kind {
        Kind::New => Tools::load(catalog, span, focus).await?,
        Kind::Foreign => Tools::default(),
    };
    let found = counted(catalog, kind, span, focus, &tools, config).await?;
    let Some(mut counted) = found else { return Ok(None) };
    let scan = |(i, c): (usize, &Vec<f64>)| match kind {
        Kind::New => scan_alarmed(i, c, &arrival_alarms(&dense(&counted.arrivals[i], c), config), config),
        Kind::Foreign => scan_first_days(i, c, config),
    };
    let bursts: Vec<Surge> = counted.counts.iter().enumerate().flat_map(scan).collect();
    // Tools by one or a few matter where nothing else shows them; else they would bring together what is not one thing.
    let (of_tools, bursts) = bursts.into_iter().partition(|s| counted.marks[s.series] == Mark::AnyTool);
    let alone = uncovered(of_tools, &bursts, |s| matches!(counted.marks[s.series], Mark::Ja4(_)));
    let mut things = apart(catalog, (span, focus), &tools, &mut counted, things(bursts), config).await?;
    things.extend(alone.into_iter().map(|s| vec![s]));
    things.sort_by_key(|group| group.iter().map(|s| s.start).min());
    Ok(Some(Strangers { marks: counted.marks, counts: counted.counts, things, tools }))
}

/// Returns the arrivals of every minute, unknown where the requests are.
pub(crate) fn dense(arrivals: &[(usize, f64)], requests: &[f64]) -> Vec<f64> {
    let mut out: Vec<f64> = requests.iter().map(|k| if k.is_nan() { f64::NAN } else { 0.0 }).collect();
    for (m, k) in arrivals {
        if let Some(slot) = out.get_mut(*m) {
            *slot += k;
        }
    }
    out
}

impl Strangers {
    /// Returns the requests a minute of what a mark counts; `None` where it is not followed.
    pub(crate) fn series(&self, mark: &Mark) -> Option<&[f64]> {
        let i = self.marks.iter().position(|m| m == mark)?;
        self.counts.get(i).map(Vec::as_slice)
    }

    /// Returns the series of fingerprints and networks, the busiest first.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (MarkKey, &[f64])> {
        self.marks.iter().zip(&self.counts).filter_map(|(m, c)| {
            let key = match m {
                Mark::Ja4(v) => (JA4, hash64(v)),
                Mark::Asn(v) => (NETWORK, v.parse().ok()?),
                Mark::All | Mark::Route(_) | Mark::AnyTool | Mark::Tools(_) => return None,
            };
            Some((key, c.as_slice()))
        })
    }

    /// Returns the bursts over all series that show them, by start: routes with the largest share of the
    /// excess first.
    pub(crate) fn bursts(&self) -> Vec<Candidate> {
        self.things.iter().map(|g| self.burst(g)).collect()
    }

    fn burst(&self, group: &[Surge]) -> Candidate {
        // A series may open more than once within the group.
        let mut series: BTreeMap<usize, Vec<&Surge>> = BTreeMap::new();
        for s in group {
            series.entry(s.series).or_default().push(s);
        }
        let volume = |all: &[&Surge]| -> (f64, f64) {
            let points = || all.iter().flat_map(|s| &s.points);
            let excess = points().map(|p| p.observed - p.expected).sum::<f64>();
            let variance = points().map(|p| ((p.band.1 - p.expected) / 3.0).powi(2)).sum::<f64>();
            (excess, variance.sqrt())
        };
        let sizes: BTreeMap<usize, (f64, f64)> = series.iter().map(|(i, all)| (*i, volume(all))).collect();
        // The series that shows most, if it shows it sharply: all strangers for a large burst, one mark
        // for a trickle.
        let sharp = |i: &usize| sizes.get(i).is_some_and(|v| v.1 <= SHARP * v.0);
        let proven = |i: &usize| {
            let (excess, sd) = sizes.get(i).copied().unwrap_or_default();
            if sharp(i) { (1, excess) } else { (0, excess - sd) }
        };
        let best = series
            .keys()
            .copied()
            .max_by(|a, b| {
                let (a, b) = (proven(a), proven(b));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            })
            .unwrap_or(0);
        let own: &[&Surge] = series.get(&best).map_or(&[], Vec::as_slice);
        let (excess, sd) = sizes.get(&best).copied().unwrap_or_default();
        let widest = sizes.values().map(|v| v.0 + 1.96 * v.1).fold(excess + 1.96 * sd, f64::max);
        let mut routes: Vec<(&str, f64)> = sizes
            .iter()
            .filter_map(|(i, v)| match self.marks.get(*i) {
                Some(Mark::Route(r)) => Some((r.as_str(), v.0)),
                _ => None,
            })
            .filter(|r| r.1 >= 0.05 * excess)
            .collect();
        routes.sort_by(|a, b| b.1.total_cmp(&a.1));
        let start = own.iter().map(|s| s.start).min().unwrap_or(0);
        // Another series of the group may have opened, over something else, days before this began.
        let noticed = group.iter().map(|s| s.noticed).filter(|t| *t >= start).min().unwrap_or(start);
        let seen = group.iter().filter(|s| s.noticed == noticed);
        let end = own.iter().map(|s| s.end).max().unwrap_or(0);
        let measured_on = self.measured_on(best, start);
        let enough =
            |s: &Surge| Some(Enough { requests: s.enough?, condition: self.condition(s.series, noticed)? });
        Candidate {
            start,
            end,
            noticed,
            noticed_by: seen.filter_map(enough).collect(),
            open: own.iter().any(|s| s.open),
            peak_z: group.iter().map(|s| s.peak_z).fold(0.0, f64::max),
            history_weeks: group.iter().map(|s| s.history_weeks).fold(f64::INFINITY, f64::min),
            points: own.iter().flat_map(|s| &s.points).map(|p| (p.minute, *p)).collect(),
            excess: Some((excess.max(0.0), (excess - 1.96 * sd).max(0.0), widest)),
            routes: routes.into_iter().map(|r| r.0.to_owned()).collect(),
            whole_share: (measured_on.is_some() && start <= end)
                .then(|| whole_share(self.counts.first()?, (start, end), excess))
                .flatten(),
            measured_on,
            stranger_share: Some(1.0),
            found_by: vec!["strangers"],
            judged_by: None,
        }
    }

    // What a series counts, by the tools of a minute; `None` for all strangers.
    fn measured_on(&self, series: usize, minute: usize) -> Option<Measured> {
        Some(Measured { mark: self.marks.get(series)?.clone(), condition: self.condition(series, minute)?? })
    }

    fn condition(&self, series: usize, minute: usize) -> Option<Option<String>> {
        Some(self.marks.get(series)?.condition(&self.tools, minute))
    }

    /// Returns seen and usual requests of strangers in a stretch of minutes; the usual rate is that of
    /// the two hours before it. `None` where they are not told apart.
    pub(crate) fn during(&self, start: usize, end: usize) -> Option<(f64, f64)> {
        let all = self.counts.first()?;
        let inside = all.get(start..=end.min(all.len().checked_sub(1)?))?;
        let before = all.get(start.saturating_sub(125)..start.saturating_sub(5))?;
        let (seen, known) = sum(inside);
        let (usual, minutes) = sum(before);
        (known > 0.0 && minutes > 0.0).then(|| (seen, usual / minutes * known))
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes")]
fn sum(counts: &[f64]) -> (f64, f64) {
    let known: Vec<f64> = counts.iter().copied().filter(|k| !k.is_nan()).collect();
    (known.iter().sum(), known.len() as f64)
}

#[cfg(test)]
mod tests {
    use fishweir_detect::Point;

    use super::*;

    fn surge(
        series: usize,
        (start, noticed, end): (usize, usize, usize),
        requests: f64,
        enough: f64,
    ) -> Surge {
        let point = |minute| Point { minute, observed: requests, expected: 1.0, band: (0.0, 1.3), z: 20.0 };
        Surge {
            series,
            start,
            noticed,
            enough: Some(enough),
            end,
            open: false,
            peak_z: 20.0,
            history_weeks: 4.0,
            points: (start..=end).map(point).collect(),
        }
    }

    #[test]
    fn a_burst_is_noticed_from_its_own_beginning_on() {
        // A network that trickled for a day, too little to be a thing of its own, and the flood at the end of it.
        let bursts =
            vec![surge(1, (100, 110, 1_500), 1.04, 3.0), surge(0, (1_480, 1_482, 1_500), 90.0, 14.0)];
        let marks = vec![Mark::All, Mark::Asn("64500".to_owned())];
        let found =
            Strangers { marks, counts: Vec::new(), things: things(bursts), tools: Tools::default() }.bursts();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].start, found[0].noticed), (1_480, 1_482));
        let by: Vec<(f64, Option<&str>)> =
            found[0].noticed_by.iter().map(|e| (e.requests, e.condition.as_deref())).collect();
        assert_eq!(by, [(14.0, None)]);
    }
}
