//! Values of metrics for any period, with n, coverage, interval and maturity.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::SessionContext;
use fishweir_detect::{most_by_chance, unseen, wilson};
use fishweir_pipeline::{
    Catalog, DAY_US, Grain, Interval, Model, PipelineError, time_literal, utc_microseconds,
};
use futures::future::BoxFuture;
use serde::Serialize;

use crate::catalogue::{Aggregate, Metric, MetricType};
use crate::costs::Costs;
use crate::coverage::Coverage;

/// Answers remembered: a server asks one evaluator many questions.
const KNOWN_MAX: usize = 4_096;
/// Square of the standard scores that hold 95 % of chance.
const CHANCE: f64 = 3.8416;

/// Periods to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Buckets {
    /// Every grain interval of a span.
    Each(Grain, Interval),
    /// The span as one period.
    Whole(Interval),
}

impl Buckets {
    /// Returns the periods in order.
    #[must_use]
    pub fn periods(self) -> Vec<Interval> {
        match self {
            Self::Each(grain, span) => span.split(grain),
            Self::Whole(span) => vec![span],
        }
    }

    fn span(self) -> Interval {
        match self {
            Self::Each(grain, span) => span.align(grain),
            Self::Whole(span) => span,
        }
    }

    fn start_sql(self, column: &str) -> String {
        match self {
            Self::Each(grain, _) => format!("date_trunc('{}', {column})", grain.name()),
            Self::Whole(span) => time_literal(span.from_us),
        }
    }
}

/// One value of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricValue {
    /// Period.
    pub period: Interval,
    /// Member of the dimension asked for, or the winner of a `top` metric.
    pub label: Option<String>,
    /// Value; `None` when it cannot be known.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Observations behind it.
    pub n: f64,
    /// Share of the period that holds sealed data, 0 to 1.
    pub coverage: f64,
    /// Where the labels come from.
    pub label_source: String,
    /// `provisional` or `final`.
    pub maturity: &'static str,
    /// Why the value is unknown.
    pub reason: Option<String>,
    /// What changed under the metric during the period, see table `findings`.
    pub breaks: Vec<String>,
}

/// A finding that stands on the series of the metrics it touches.
struct Break {
    at_us: i64,
    detail: String,
    metrics: Vec<String>,
}

/// Computes values over one snapshot of the lake.
pub struct Evaluator {
    context: SessionContext,
    tables: BTreeMap<String, Option<String>>,
    metrics: BTreeMap<String, Metric>,
    costs: Costs,
    now_us: i64,
    raw_days: u32,
    coverage: Coverage,
    breaks: Vec<Break>,
    known: Mutex<HashMap<(String, Buckets, Option<String>), Vec<MetricValue>>>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    n: f64,
    /// Rows, and rows that know the number summed.
    of: Option<f64>,
    known: Option<f64>,
}

impl Evaluator {
    /// Returns an evaluator over the tables as they stand now; `labels` are the models whose tables
    /// hold claims, which must be up to date for a value to count as known.
    ///
    /// # Errors
    /// A lake that cannot be read.
    pub async fn new(
        catalog: &Catalog,
        metrics: &[Metric],
        costs: Costs,
        labels: &[Model],
        raw_days: u32,
        now_us: i64,
    ) -> Result<Self, PipelineError> {
        let mut tables = BTreeMap::new();
        for name in catalog.lake().table_names().await? {
            if let Some(t) = catalog.lake().existing(&name).await? {
                tables.insert(name, t.time_column().map(str::to_owned));
            }
        }
        let context = catalog.session().await?;
        let coverage = Coverage::load(catalog, &tables, labels, now_us).await?;
        let metrics = metrics.iter().map(|m| (m.name.clone(), m.clone())).collect();
        let mut out = Self {
            context,
            tables,
            metrics,
            costs,
            now_us,
            raw_days,
            coverage,
            breaks: Vec::new(),
            known: Mutex::default(),
        };
        if out.has_table("findings") {
            out.breaks = out.load_breaks().await?;
        }
        Ok(out)
    }

    // Rows of a table that an older version made have no start: they stand on no series.
    async fn load_breaks(&self) -> Result<Vec<Break>, PipelineError> {
        let sql = "SELECT * FROM findings";
        let columns = self
            .context
            .sql(sql)
            .await
            .map_err(|e| PipelineError::Query { what: sql.to_owned(), cause: e.to_string() })?;
        if columns.schema().field_with_unqualified_name("first_seen").is_err() {
            return Ok(Vec::new());
        }
        let sql = "SELECT CAST(first_seen AS BIGINT) AS us, detail, metrics FROM findings WHERE first_seen IS NOT NULL ORDER BY 1, 2";
        let text = |r: &serde_json::Map<String, serde_json::Value>, k: &str| {
            r.get(k).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        let rows = self.rows(sql).await?;
        let breaks = rows.iter().filter_map(|r| {
            let at_us = r.get("us").and_then(serde_json::Value::as_i64)?;
            let metrics = text(r, "metrics").split(' ').map(str::to_owned).collect();
            let at = chrono::DateTime::from_timestamp_micros(at_us).unwrap_or_default();
            let detail = format!("{}: {}", at.format("%Y-%m-%dT%H:%MZ"), text(r, "detail"));
            Some(Break { at_us, detail, metrics })
        });
        Ok(breaks.collect())
    }

    /// Returns the metrics by name.
    #[must_use]
    pub fn metrics(&self) -> &BTreeMap<String, Metric> {
        &self.metrics
    }

    /// Returns the first and the end of the last sealed hour of a stream.
    #[must_use]
    pub fn sealed_span(&self, stream: &str) -> Option<Interval> {
        self.coverage.span(stream)
    }

    /// Returns the values of a metric, one per period, or per period and member of `by`.
    ///
    /// # Errors
    /// An unknown metric or dimension, or a query that fails; never a made-up value.
    pub fn values<'a>(
        &'a self,
        name: &'a str,
        buckets: Buckets,
        by: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<MetricValue>, PipelineError>> {
        Box::pin(async move {
            let key = (name.to_owned(), buckets, by.map(str::to_owned));
            if let Ok(known) = self.known.lock()
                && let Some(values) = known.get(&key)
            {
                return Ok(values.clone());
            }
            let Some(metric) = self.metrics.get(name) else {
                return Err(PipelineError::Query {
                    what: name.to_owned(),
                    cause: "no metric has this name".to_owned(),
                });
            };
            let values = match metric.kind {
                MetricType::Simple => self.simple(metric, buckets, by).await?,
                MetricType::Top => self.top(metric, buckets).await?,
                MetricType::Ratio => self.ratio(metric, buckets, by).await?,
                MetricType::Derived => self.derived(metric, buckets, by).await?,
                MetricType::Cumulative => self.cumulative(metric, buckets).await?,
                MetricType::CaptureRecapture => self.unseen(metric, buckets).await?,
            };
            if let Ok(mut known) = self.known.lock() {
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(key, values.clone());
            }
            Ok(values)
        })
    }

    /// Returns the value of a metric over one period.
    ///
    /// # Errors
    /// As [`Self::values`].
    pub async fn value(&self, name: &str, period: Interval) -> Result<MetricValue, PipelineError> {
        let values = self.values(name, Buckets::Whole(period), None).await?;
        values.into_iter().next().ok_or_else(|| PipelineError::Query {
            what: name.to_owned(),
            cause: "no period asked for".to_owned(),
        })
    }

    /// Returns the rows of a query over the same snapshot as JSON objects.
    ///
    /// # Errors
    /// A query that does not parse, plan or run.
    pub async fn rows(
        &self,
        sql: &str,
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, PipelineError> {
        let batches = collect(sql, self.context.sql(sql).await).await?;
        let mut writer = arrow::json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow::json::writer::JsonArray>(Vec::new());
        let full: Vec<&RecordBatch> = batches.iter().filter(|b| b.num_rows() > 0).collect();
        if full.is_empty() {
            return Ok(Vec::new());
        }
        writer.write_batches(&full).map_err(broken)?;
        writer.finish().map_err(broken)?;
        serde_json::from_slice(&writer.into_inner())
            .map_err(|e| PipelineError::Query { what: sql.to_owned(), cause: e.to_string() })
    }

    /// Returns whether a table exists in this snapshot.
    #[must_use]
    pub fn has_table(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }

    // A metric made of others knows no more than the one that knows least.
    fn coverage(&self, metric: &Metric, period: Interval) -> f64 {
        let parts = metric.parts(&self.metrics);
        if parts.is_empty() {
            return self.coverage.share(metric, period, self.now_us);
        }
        let parts = parts.iter().filter_map(|p| self.metrics.get(p));
        parts.map(|p| self.coverage(p, period)).fold(1.0, f64::min)
    }

    fn blank(&self, metric: &Metric, period: Interval, label: Option<String>) -> MetricValue {
        let settled = period.to_us + i64::from(self.raw_days) * DAY_US <= self.now_us;
        MetricValue {
            coverage: self.coverage(metric, period),
            period,
            label,
            value: None,
            low: None,
            high: None,
            n: 0.0,
            label_source: metric.label_source.clone(),
            maturity: if settled { "final" } else { "provisional" },
            reason: None,
            breaks: self.breaks(&metric.name, period),
        }
    }

    /// Returns what changed under a metric during a period: new defences and rules, missing hours, new
    /// versions of heuristics.
    #[must_use]
    pub fn breaks(&self, metric: &str, period: Interval) -> Vec<String> {
        let mine =
            self.breaks.iter().filter(|b| period.contains(b.at_us) && b.metrics.iter().any(|m| m == metric));
        mine.map(|b| b.detail.clone()).collect()
    }

    fn table<'a>(&'a self, metric: &'a Metric, buckets: Buckets) -> Result<(&'a str, &'a str), String> {
        let fine = match buckets {
            Buckets::Each(Grain::Hour | Grain::Minute, _) => true,
            Buckets::Each(..) => false,
            Buckets::Whole(span) => span.from_us % DAY_US != 0 || span.to_us % DAY_US != 0,
        };
        let hourly = metric.from_hour.as_deref().filter(|_| fine);
        let name = hourly.or(metric.from.as_deref()).unwrap_or_default();
        let Some(own) = self.tables.get(name) else {
            return Err(format!("table `{name}` does not exist yet; `fishweir run` makes it"));
        };
        let time = metric.time.as_deref().or(own.as_deref()).unwrap_or("time");
        Ok((name, time))
    }

    async fn simple(
        &self,
        metric: &Metric,
        buckets: Buckets,
        by: Option<&str>,
    ) -> Result<Vec<MetricValue>, PipelineError> {
        let (table, time) = match self.table(metric, buckets) {
            Ok(found) => found,
            Err(reason) => return Ok(self.unknown(metric, buckets, &reason)),
        };
        if let Some(by) = by
            && !metric.dimensions.iter().any(|d| d == by)
        {
            let known = metric.dimensions.join(", ");
            let cause = format!("cannot be split by `{by}`; it can be split by: {known}");
            return Err(PipelineError::Query { what: metric.name.clone(), cause });
        }
        let expr = metric.expr.as_deref().unwrap_or("1");
        let rank = metric.rank.unwrap_or(0.5);
        let (value, low, high) = match metric.agg.unwrap_or(Aggregate::Count) {
            Aggregate::Sum => {
                let end = |e: &Option<String>| format!("sum({})", e.as_deref().unwrap_or(expr));
                let value = format!("sum({expr})");
                match &metric.expr_variance {
                    None => (value, end(&metric.expr_low), end(&metric.expr_high)),
                    // What is common to all rows adds up; what is chance in each adds up in squares.
                    Some(variance) => {
                        let half = |e: &Option<String>| {
                            format!("sqrt(power(sum({expr}) - {}, 2) + {CHANCE} * sum({variance}))", end(e))
                        };
                        let low = format!("sum({expr}) - {}", half(&metric.expr_low));
                        let low = if metric.signed { low } else { format!("greatest({low}, 0)") };
                        let high = format!("sum({expr}) + {}", half(&metric.expr_high));
                        (value, low, high)
                    }
                }
            }
            Aggregate::Count => ("count(*)".to_owned(), "count(*)".to_owned(), "count(*)".to_owned()),
            Aggregate::Max => (format!("max({expr})"), format!("max({expr})"), format!("max({expr})")),
            Aggregate::CountDistinct => {
                let f = |f: &str| format!("{f}(hll_merge({expr}))");
                (f("hll_count"), f("hll_low"), f("hll_high"))
            }
            Aggregate::Percentile => {
                let f = |f: &str| format!("{f}(kll_merge({expr}), {rank:?})");
                (f("kll_quantile"), f("kll_low"), f("kll_high"))
            }
            Aggregate::PercentileOfValues => {
                let f = |f: &str| format!("{f}(kll({expr}), {rank:?})");
                (f("kll_quantile"), f("kll_low"), f("kll_high"))
            }
        };
        let n = metric.n.as_deref().unwrap_or("count(*)");
        // A sum over rows of which some do not know their number is no sum.
        let counted = match metric.agg {
            Some(Aggregate::Sum) => format!("count({expr})"),
            _ => "count(*)".to_owned(),
        };
        let span = buckets.span();
        let label = by.map_or("CAST(NULL AS VARCHAR)".to_owned(), |b| format!("CAST({b} AS VARCHAR)"));
        let sql = format!(
            "SELECT {} AS bucket, {label} AS label, CAST({value} AS DOUBLE) AS value, CAST({low} AS DOUBLE) AS low, CAST({high} AS DOUBLE) AS high, CAST({n} AS DOUBLE) AS n, CAST(count(*) AS DOUBLE) AS of, CAST({counted} AS DOUBLE) AS known FROM {table} WHERE {time} >= {} AND {time} < {} AND ({}) GROUP BY 1, 2",
            buckets.start_sql(time),
            time_literal(span.from_us),
            time_literal(span.to_us),
            metric.filter.as_deref().unwrap_or("true"),
        );
        let found = match self.query(metric, &sql).await {
            Err(e) if let Some(reason) = lacks_column(table, &e) => {
                return Ok(self.unknown(metric, buckets, &reason));
            }
            found => found?,
        };
        let additive = matches!(metric.agg, Some(Aggregate::Sum | Aggregate::Count));
        if by.is_some() {
            return Ok(self.split(metric, buckets, found));
        }
        let mut out = Vec::new();
        for period in buckets.periods() {
            let mut v = self.blank(metric, period, None);
            match found.get(&(period.from_us, None)) {
                _ if self.undecided(metric, period).is_some() => v.reason = self.undecided(metric, period),
                Some(f) if f.value.is_some() || f.n > 0.0 || f.of.is_some_and(|n| n > 0.0) => fill(&mut v, f),
                _ if v.coverage == 0.0 => v.reason = Some(self.nothing_known(metric, period)),
                _ if additive => {
                    let zero = Some(0.0);
                    fill(&mut v, &Found { value: zero, low: zero, high: zero, ..Found::default() });
                }
                _ => v.reason = Some("nothing to measure in this period".to_owned()),
            }
            if let (Some(unseen), Some(high)) = (metric.unseen_per_day, v.high.as_mut()) {
                #[expect(clippy::cast_precision_loss, reason = "days of a period")]
                let days = (period.to_us - period.from_us) as f64 / DAY_US as f64;
                *high += unseen * days * v.coverage;
            }
            if let (Some(unseen), Some(value), Some(high)) = (metric.unseen_share, v.value, v.high.as_mut()) {
                *high += most_by_chance(unseen * value);
            }
            out.push(v);
        }
        Ok(out)
    }

    fn nothing_known(&self, metric: &Metric, period: Interval) -> String {
        self.coverage.learning(metric, period).unwrap_or_else(|| no_data(metric))
    }

    fn undecided(&self, metric: &Metric, period: Interval) -> Option<String> {
        metric.needs.iter().find_map(|need| self.coverage.undecided(*need, period))
    }

    fn split(
        &self,
        metric: &Metric,
        buckets: Buckets,
        found: BTreeMap<(i64, Option<String>), Found>,
    ) -> Vec<MetricValue> {
        let periods: BTreeMap<i64, Interval> =
            buckets.periods().into_iter().map(|p| (p.from_us, p)).collect();
        let mut out = Vec::new();
        // A period of which nothing is known says so; it does not just stay away.
        for period in periods.values().filter(|p| !found.keys().any(|(start, _)| *start == p.from_us)) {
            let mut v = self.blank(metric, *period, None);
            if v.coverage == 0.0 {
                v.reason = Some(self.nothing_known(metric, *period));
                out.push(v);
            }
        }
        for ((start, label), f) in found {
            let Some(period) = periods.get(&start) else { continue };
            let mut v = self.blank(metric, *period, Some(label.unwrap_or_else(|| "(none)".to_owned())));
            match self.undecided(metric, *period) {
                Some(reason) => v.reason = Some(reason),
                None => fill(&mut v, &f),
            }
            out.push(v);
        }
        out.sort_by(|a, b| {
            a.period.cmp(&b.period).then(b.value.unwrap_or(0.0).total_cmp(&a.value.unwrap_or(0.0)))
        });
        out
    }

    async fn top(&self, metric: &Metric, buckets: Buckets) -> Result<Vec<MetricValue>, PipelineError> {
        let (table, time) = match self.table(metric, buckets) {
            Ok(found) => found,
            Err(reason) => return Ok(self.unknown(metric, buckets, &reason)),
        };
        let (by, expr) = (metric.by.as_deref().unwrap_or("1"), metric.expr.as_deref().unwrap_or("1"));
        let span = buckets.span();
        let sql = format!(
            "SELECT {} AS bucket, CAST({by} AS VARCHAR) AS label, CAST(sum({expr}) AS DOUBLE) AS value, CAST(sum({}) AS DOUBLE) AS low, CAST(sum({}) AS DOUBLE) AS high, CAST(count(*) AS DOUBLE) AS n FROM {table} WHERE {time} >= {} AND {time} < {} AND ({}) GROUP BY 1, 2",
            buckets.start_sql(time),
            metric.expr_low.as_deref().unwrap_or(expr),
            metric.expr_high.as_deref().unwrap_or(expr),
            time_literal(span.from_us),
            time_literal(span.to_us),
            metric.filter.as_deref().unwrap_or("true"),
        );
        let found = match self.query(metric, &sql).await {
            Err(e) if let Some(reason) = lacks_column(table, &e) => {
                return Ok(self.unknown(metric, buckets, &reason));
            }
            found => found?,
        };
        let mut out = Vec::new();
        for period in buckets.periods() {
            let inside = found.iter().filter(|((s, _), f)| *s == period.from_us && f.value.is_some());
            let best = inside.max_by(|a, b| a.1.value.unwrap_or(0.0).total_cmp(&b.1.value.unwrap_or(0.0)));
            let mut v = self.blank(metric, period, None);
            match best {
                Some(((_, label), f)) => {
                    v.label = label.clone();
                    fill(&mut v, f);
                }
                None if v.coverage == 0.0 => v.reason = Some(self.nothing_known(metric, period)),
                None => v.reason = Some("nothing to rank in this period".to_owned()),
            }
            out.push(v);
        }
        Ok(out)
    }

    fn unknown(&self, metric: &Metric, buckets: Buckets, reason: &str) -> Vec<MetricValue> {
        let each = buckets.periods().into_iter().map(|p| {
            let mut v = self.blank(metric, p, None);
            v.reason = Some(reason.to_owned());
            v
        });
        each.collect()
    }

    async fn ratio(
        &self,
        metric: &Metric,
        buckets: Buckets,
        by: Option<&str>,
    ) -> Result<Vec<MetricValue>, PipelineError> {
        let (Some(above), Some(below)) = (&metric.numerator, &metric.denominator) else {
            return Ok(Vec::new());
        };
        let above = self.values(above, buckets, by).await?;
        let below = self.values(below, buckets, by).await?;
        let under: HashMap<(Interval, Option<String>), MetricValue> =
            below.into_iter().map(|v| ((v.period, v.label.clone()), v)).collect();
        let share = metric.unit == "share";
        let mut out = Vec::new();
        for a in above {
            let mut v = self.blank(metric, a.period, a.label.clone());
            let b = under.get(&(a.period, a.label.clone()));
            v.n = b.map_or(0.0, |b| b.value.unwrap_or(0.0));
            match (a.value, b.and_then(|b| Some((b, b.value?)))) {
                (None, _) => v.reason.clone_from(&a.reason),
                (_, None) => {
                    v.reason = b
                        .and_then(|b| b.reason.clone())
                        .or_else(|| Some("the denominator is unknown".to_owned()))
                }
                (Some(_), Some((_, d))) if d <= 0.0 => {
                    v.reason = Some(format!(
                        "nothing to divide by: `{}` is 0",
                        metric.denominator.as_deref().unwrap_or_default()
                    ));
                }
                (Some(x), Some((b, d))) => {
                    let cap = |r: f64| if share { r.clamp(0.0, 1.0) } else { r };
                    v.value = Some(cap(x / d));
                    let with_ends = |v: &MetricValue, n: f64| [n, v.low.unwrap_or(n), v.high.unwrap_or(n)];
                    let (low, high) = ratio_ends(with_ends(&a, x), with_ends(b, d), share);
                    (v.low, v.high) = (Some(cap(low)), Some(cap(high)));
                }
            }
            out.push(v);
        }
        Ok(out)
    }

    // What neither of two detectors saw.
    async fn unseen(&self, metric: &Metric, buckets: Buckets) -> Result<Vec<MetricValue>, PipelineError> {
        let names = metric.channels.iter().chain(&metric.metric);
        let mut parts = Vec::new();
        for name in names {
            parts.push(self.values(name, buckets, None).await?);
        }
        let mut out = Vec::new();
        for (i, period) in buckets.periods().into_iter().enumerate() {
            let mut v = self.blank(metric, period, None);
            let of: Vec<&MetricValue> = parts.iter().filter_map(|p| p.get(i)).collect();
            let counts: Vec<f64> = of.iter().filter_map(|p| p.value).collect();
            match counts.as_slice() {
                [first, second, both] => {
                    v.n = first + second - both;
                    match unseen(*first, *second, *both) {
                        Ok(u) => (v.value, v.low, v.high) = (Some(u.value), Some(u.low), Some(u.high)),
                        Err(why) => v.reason = Some(why),
                    }
                }
                _ => v.reason = of.iter().find_map(|p| p.reason.clone()),
            }
            out.push(v);
        }
        Ok(out)
    }

    async fn derived(
        &self,
        metric: &Metric,
        buckets: Buckets,
        by: Option<&str>,
    ) -> Result<Vec<MetricValue>, PipelineError> {
        let parts = metric.parts(&self.metrics);
        let mut columns: Vec<(String, Vec<MetricValue>)> = Vec::new();
        for part in parts {
            let values = self.values(&part, buckets, by).await?;
            columns.push((part, values));
        }
        let periods = buckets.periods();
        let expression = self.costs.fill(metric.expr.as_deref().unwrap_or("0"));
        let pick = |f: &dyn Fn(&MetricValue) -> Option<f64>| -> Result<RecordBatch, PipelineError> {
            let fields: Vec<Field> =
                columns.iter().map(|(n, _)| Field::new(n, DataType::Float64, true)).collect();
            let arrays = columns
                .iter()
                .map(|(_, vs)| Arc::new(vs.iter().map(f).collect::<Float64Array>()) as ArrayRef);
            RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.collect()).map_err(broken)
        };
        let value = self.compute(metric, &expression, pick(&|v| v.value)?).await?;
        let low = self.compute(metric, &expression, pick(&|v| v.low.or(v.value))?).await?;
        let high = self.compute(metric, &expression, pick(&|v| v.high.or(v.value))?).await?;
        let mut out = Vec::new();
        for (i, period) in periods.into_iter().enumerate() {
            let mut v = self.blank(metric, period, None);
            // WHY: functions such as `greatest` skip nulls; an unknown part makes the whole unknown.
            let known = columns.iter().all(|(_, vs)| vs.get(i).is_some_and(|p| p.value.is_some()));
            // Nothing divided by nothing is unknown, too.
            v.value = value.get(i).copied().flatten().filter(|x| known && x.is_finite());
            let ends = [low.get(i).copied().flatten(), high.get(i).copied().flatten()];
            if let ([Some(a), Some(b)], Some(_)) = (ends, v.value) {
                (v.low, v.high) = (Some(a.min(b)), Some(a.max(b)));
            }
            v.n = columns.iter().filter_map(|(_, vs)| vs.get(i)).map(|v| v.n).fold(0.0, f64::max);
            if v.value.is_none() {
                let why = columns.iter().filter_map(|(_, vs)| vs.get(i)).find_map(|p| p.reason.clone());
                v.reason = why.or_else(|| Some("a part of it is unknown".to_owned()));
            }
            out.push(v);
        }
        Ok(out)
    }

    async fn compute(
        &self,
        metric: &Metric,
        expression: &str,
        batch: RecordBatch,
    ) -> Result<Vec<Option<f64>>, PipelineError> {
        let frame = self.context.read_batch(batch).map_err(|e| failed(metric, &e))?;
        let expr = frame
            .parse_sql_expr(&format!("CAST(({expression}) AS DOUBLE)"))
            .map_err(|e| failed(metric, &e))?;
        let frame = frame.select(vec![expr.alias("v")]).map_err(|e| failed(metric, &e))?;
        let mut out = Vec::new();
        for batch in frame.collect().await.map_err(|e| failed(metric, &e))? {
            out.extend(batch.column(0).as_primitive::<Float64Type>().iter());
        }
        Ok(out)
    }

    async fn cumulative(&self, metric: &Metric, buckets: Buckets) -> Result<Vec<MetricValue>, PipelineError> {
        let (Some(inner), Some(days)) = (&metric.metric, metric.window_days) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for period in buckets.periods() {
            let window = Interval::new(period.to_us - i64::from(days) * DAY_US, period.to_us);
            let mut v = self.value(inner, window).await?;
            v.period = period;
            v.label_source.clone_from(&metric.label_source);
            out.push(v);
        }
        Ok(out)
    }

    async fn query(
        &self,
        metric: &Metric,
        sql: &str,
    ) -> Result<BTreeMap<(i64, Option<String>), Found>, PipelineError> {
        let frame = self.context.sql(sql).await.map_err(|e| failed(metric, &e))?;
        let mut out = BTreeMap::new();
        for batch in frame.collect().await.map_err(|e| failed(metric, &e))? {
            let bucket = cast(batch.column(0), &utc_microseconds()).map_err(broken)?;
            let bucket = bucket.as_primitive::<TimestampMicrosecondType>();
            let label = cast(batch.column(1), &DataType::Utf8).map_err(broken)?;
            let label = label.as_string::<i32>();
            for r in 0..batch.num_rows() {
                let f = |c: usize| {
                    let a = batch.column(c).as_primitive::<Float64Type>();
                    a.is_valid(r).then(|| a.value(r)).filter(|v| v.is_finite())
                };
                let all = batch.num_columns() > 6;
                let (of, known) = if all { (f(6), f(7)) } else { (None, None) };
                let found = Found { value: f(2), low: f(3), high: f(4), n: f(5).unwrap_or(0.0), of, known };
                out.insert((bucket.value(r), label.is_valid(r).then(|| label.value(r).to_owned())), found);
            }
        }
        Ok(out)
    }
}

// A table that an earlier version made has the columns of this one only when it is made again: until then what they hold is
// unknown, and the other metrics are not.
fn lacks_column(table: &str, e: &PipelineError) -> Option<String> {
    let PipelineError::Query { cause, .. } = e else { return None };
    let field = cause.strip_prefix("Schema error: No field named ")?.split('.').next()?;
    Some(format!("table `{table}` has no column {field}; `fishweir run` makes those of this version"))
}

// Ends of a ratio of two values with their ends: what is not known of either counts; of counts that are known, chance does.
fn ratio_ends([x, x_low, x_high]: [f64; 3], [d, d_low, d_high]: [f64; 3], share: bool) -> (f64, f64) {
    let (least, most) = (d_low.min(d), d_high.max(d));
    // A denominator that may be nothing bounds nothing from above, but no share is above one.
    let up = |x: f64| {
        if least > 0.0 {
            x / least
        } else if share {
            1.0
        } else {
            x / d
        }
    };
    let exact = share && x_low.total_cmp(&x_high).is_eq();
    match exact.then(|| wilson(x, d)).flatten() {
        Some(w) => (w.low.min(x / most), w.high.max(up(x))),
        None => (x_low / most, up(x_high)),
    }
}

fn fill(v: &mut MetricValue, f: &Found) {
    v.n = f.n;
    let (of, known) = (f.of.unwrap_or(0.0), f.known.unwrap_or(0.0));
    if known < of {
        // What is known is a floor; what is not known may be anything above it.
        v.low = f.low.or(f.value).filter(|low| *low >= 0.0);
        v.reason = Some(format!("known for {known:.0} of {of:.0} observations in this period"));
        return;
    }
    v.value = f.value;
    v.low = f.low.or(f.value);
    v.high = f.high.or(f.value);
    if v.value.is_none() {
        v.reason = Some("known for none of the observations in this period".to_owned());
    }
}

fn no_data(metric: &Metric) -> String {
    if metric.from.as_deref().is_some_and(|t| t.starts_with("dos_incident")) {
        return "no sealed data in this period, or attacks were not looked for in it".to_owned();
    }
    "no sealed data in this period".to_owned()
}

fn failed(metric: &Metric, e: &datafusion::error::DataFusionError) -> PipelineError {
    PipelineError::Query {
        what: format!("metric `{}` (`{}`)", metric.name, metric.file),
        cause: e.strip_backtrace(),
    }
}

pub(crate) fn broken(e: arrow::error::ArrowError) -> PipelineError {
    PipelineError::Query { what: "metric values".to_owned(), cause: e.to_string() }
}

pub(crate) async fn collect(
    what: &str,
    frame: Result<datafusion::prelude::DataFrame, datafusion::error::DataFusionError>,
) -> Result<Vec<RecordBatch>, PipelineError> {
    let bad = |e: datafusion::error::DataFusionError| PipelineError::Query {
        what: what.to_owned(),
        cause: e.strip_backtrace(),
    };
    frame.map_err(bad)?.collect().await.map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_chance_of_counts_and_the_doubt_of_what_it_is_of() {
        let (low, high) = ratio_ends([50.0; 3], [100.0; 3], true);
        assert!((low - 0.404).abs() < 0.002 && (high - 0.596).abs() < 0.002, "Wilson: {low} {high}");
        let (low, high) = ratio_ends([5_000.0; 3], [10_000.0, 8_000.0, 13_000.0], true);
        assert!((low - 0.385).abs() < 0.001 && (high - 0.625).abs() < 0.001, "{low} {high}");
        assert_eq!(ratio_ends([5.0; 3], [10.0, 0.0, 20.0], true).1, 1.0);
        assert_eq!(ratio_ends([6.0, 4.0, 8.0], [2.0; 3], false), (2.0, 4.0));
    }
}
