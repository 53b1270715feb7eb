//! The sealed minutes of strangers as series: which marks are followed, and what they count.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_detect::ScanConfig;
use fishweir_pipeline::{Catalog, Interval, MINUTE_US, PipelineError};

use crate::series::{between_sql, words};
use crate::strangers::{Kind, Mark};
use crate::tools::Tools;

const VALUES_MAX: usize = 200;
/// A service most of whose requests come from strangers learns nothing from them.
const USUAL_MAX: f64 = 0.5;

/// Strangers per minute of each mark.
pub(crate) struct Counted {
    pub(crate) marks: Vec<Mark>,
    /// Requests of every minute up to the last that is told; NaN in hours without data.
    pub(crate) counts: Vec<Vec<f64>>,
    /// Newcomers of the minutes that have some.
    pub(crate) arrivals: Vec<Vec<(usize, f64)>>,
}

/// Returns the series of a span; `None` where strangers are not told apart in it or are most of who comes. For the foreign
/// nothing outside of `focus` is loaded.
pub(crate) async fn counted(
    catalog: &Catalog,
    kind: Kind,
    span: Interval,
    focus: Interval,
    tools: &Tools,
    config: &ScanConfig,
) -> Result<Option<Counted>, PipelineError> {
    let table = kind.table();
    let Some(stored) = catalog.lake().existing(table).await? else { return Ok(None) };
    if usual_share(catalog, table, focus).await?.is_none_or(|s| s > USUAL_MAX) {
        return Ok(None);
    }
    // A table that an older version made has no newcomers until it is made again.
    let arrivals = Catalog::pin(&stored)?.schema().field_with_name("arrivals").is_ok();
    let mut marks = busiest(catalog, table, focus, config.excess_min).await?;
    if arrivals {
        let crowded = crowded(catalog, table, focus, config.arrivals_min).await?;
        marks.extend(crowded.into_iter().filter(|m| !marks.contains(m)).collect::<Vec<_>>());
    }
    marks.push(Mark::AnyTool);
    let minutes = usize::try_from((span.to_us - span.from_us) / MINUTE_US).unwrap_or(0);
    let mut sums = Sums::new(&marks, tools, span.from_us, minutes);
    let all = format!(
        "SELECT minute, dimension, value, CAST(strangers AS BIGINT), CAST(coalesce({}, 0) AS BIGINT) FROM {table} WHERE {} AND strangers IS NOT NULL",
        if arrivals { "arrivals" } else { "0" },
        between_sql("minute", if kind == Kind::Foreign { focus } else { span })
    );
    for batch in catalog.query(&[table], &all).await? {
        sums.add(&batch);
    }
    let (counts, arrivals) = sums.finish();
    let told = counts.first().is_some_and(|c| !c.is_empty());
    Ok(told.then_some(Counted { marks, counts, arrivals }))
}

impl Counted {
    /// Returns the index of a new series: the sum of some fingerprints, as far as they are followed.
    pub(crate) fn sum(&mut self, programs: &[String]) -> usize {
        let minutes = self.counts.first().map_or(0, Vec::len);
        let (mut counts, mut arrivals) = (vec![0.0; minutes], Vec::new());
        for (i, mark) in self.marks.iter().enumerate() {
            if matches!(mark, Mark::Ja4(v) if programs.contains(v)) {
                counts.iter_mut().zip(&self.counts[i]).for_each(|(sum, k)| *sum += k);
                arrivals.extend_from_slice(&self.arrivals[i]);
            }
        }
        self.marks.push(Mark::Tools(programs.to_vec()));
        self.counts.push(counts);
        self.arrivals.push(arrivals);
        self.marks.len() - 1
    }

    /// Keeps the first `n` series only.
    pub(crate) fn keep(&mut self, n: usize) {
        self.marks.truncate(n);
        self.counts.truncate(n);
        self.arrivals.truncate(n);
    }
}

struct Sums<'a> {
    from_us: i64,
    tools: &'a Tools,
    index: BTreeMap<&'a Mark, usize>,
    counts: Vec<Vec<f64>>,
    arrivals: Vec<Vec<(usize, f64)>>,
    told: Vec<bool>,
}

impl<'a> Sums<'a> {
    fn new(marks: &'a [Mark], tools: &'a Tools, from_us: i64, minutes: usize) -> Self {
        Self {
            from_us,
            tools,
            index: marks.iter().enumerate().map(|(i, m)| (m, i)).collect(),
            counts: vec![vec![0.0; minutes]; marks.len()],
            arrivals: vec![Vec::new(); marks.len()],
            told: vec![false; minutes],
        }
    }

    // Rows of minute, dimension, value, strangers and arrivals. The first series is all of them: what the routes sum to.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests and clients")]
    fn add(&mut self, batch: &RecordBatch) {
        let minute = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let (dimensions, values) = (words(batch, 1), words(batch, 2));
        let strangers = batch.column(3).as_primitive::<Int64Type>();
        let arrivals = batch.column(4).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            let Ok(m) = usize::try_from((minute.value(r) - self.from_us) / MINUTE_US) else { continue };
            let one = mark(&dimensions[r], &values[r]);
            let whole = matches!(one, Mark::Route(_)).then_some(0);
            let own = self.index.get(&one).copied();
            let tool = match &one {
                Mark::Ja4(v) if self.tools.is_tool(m, v) => self.index.get(&Mark::AnyTool).copied(),
                _ => None,
            };
            for i in [whole, own, tool].into_iter().flatten() {
                if let Some(slot) = self.counts.get_mut(i).and_then(|c| c.get_mut(m)) {
                    *slot += strangers.value(r) as f64;
                }
            }
            let came = arrivals.value(r) as f64;
            for i in [own, tool].into_iter().flatten().filter(|_| came > 0.0) {
                self.arrivals[i].push((m, came));
            }
            if let Some(told) = self.told.get_mut(m) {
                *told = true;
            }
        }
    }

    // A minute without a single request of a busy service is silence; an hour without is no data.
    fn finish(mut self) -> (Vec<Vec<f64>>, Vec<Vec<(usize, f64)>>) {
        for (h, hour) in self.told.chunks(60).enumerate() {
            if !hour.iter().any(|t| *t) {
                for series in &mut self.counts {
                    series.iter_mut().skip(h * 60).take(60).for_each(|k| *k = f64::NAN);
                }
            }
        }
        if let Some(i) = self.index.get(&Mark::AnyTool) {
            let untold = |m: &usize| !self.tools.are_told(*m);
            for m in (0..self.counts[*i].len()).filter(untold) {
                self.counts[*i][m] = f64::NAN;
            }
        }
        let last = self.told.iter().rposition(|t| *t).map_or(0, |m| m + 1);
        self.counts.iter_mut().for_each(|c| c.truncate(last));
        (self.counts, self.arrivals)
    }
}

// The marks that strangers had most in a minute, behind all of them.
async fn busiest(
    catalog: &Catalog,
    table: &'static str,
    focus: Interval,
    least: f64,
) -> Result<Vec<Mark>, PipelineError> {
    let sql = format!(
        "SELECT dimension, value FROM {table} WHERE {} AND strangers > 0 GROUP BY 1, 2 HAVING sum(strangers) >= {least} ORDER BY max(strangers) DESC, 1, 2 LIMIT {VALUES_MAX}",
        between_sql("minute", focus)
    );
    let mut marks = vec![Mark::All];
    marks.extend(marks_of(catalog, table, &sql).await?);
    Ok(marks)
}

// The marks with which newcomers crowd most, against how many come with them at all: the rare ones, which are not among the
// busiest.
async fn crowded(
    catalog: &Catalog,
    table: &'static str,
    focus: Interval,
    least: f64,
) -> Result<Vec<Mark>, PipelineError> {
    // A window of ten minutes lies in two tens.
    let half = least / 2.0;
    let sql = format!(
        "SELECT dimension, value FROM (
           SELECT dimension, value, date_bin(INTERVAL '10 minutes', minute) AS ten, sum(arrivals) AS came FROM {table}
           WHERE {} AND arrivals > 0 GROUP BY 1, 2, 3
         ) tens GROUP BY 1, 2 HAVING max(came) >= {half} AND sum(came) >= {least}
         ORDER BY CAST(max(came) AS DOUBLE) / (sum(came) + {least}) DESC, 1, 2 LIMIT {VALUES_MAX}",
        between_sql("minute", focus)
    );
    marks_of(catalog, table, &sql).await
}

async fn marks_of(catalog: &Catalog, table: &'static str, sql: &str) -> Result<Vec<Mark>, PipelineError> {
    let mut marks = Vec::new();
    for batch in catalog.query(&[table], sql).await? {
        marks.extend(words(&batch, 0).iter().zip(words(&batch, 1)).map(|(d, v)| mark(d, &v)));
    }
    Ok(marks)
}

// Share of all requests that strangers bring; `None` where they are not told apart.
async fn usual_share(
    catalog: &Catalog,
    table: &'static str,
    span: Interval,
) -> Result<Option<f64>, PipelineError> {
    let sql = format!(
        "SELECT CAST(sum(strangers) AS DOUBLE) / CAST(sum(requests) AS DOUBLE) FROM {table} WHERE dimension = 'route' AND strangers IS NOT NULL AND {}",
        between_sql("minute", span)
    );
    for batch in catalog.query(&[table], &sql).await? {
        let share = batch.column(0).as_primitive::<Float64Type>();
        if share.is_valid(0) {
            return Ok(Some(share.value(0)));
        }
    }
    Ok(None)
}

fn mark(dimension: &str, value: &str) -> Mark {
    let value = value.to_owned();
    match dimension {
        "route" => Mark::Route(value),
        "ja4" => Mark::Ja4(value),
        _ => Mark::Asn(value),
    }
}
