//! Metric definitions: YAML files with MetricFlow's keys where it has them, and ours.

use std::collections::{BTreeMap, BTreeSet};

use fishweir_pipeline::Grain;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A definition that does not load; names file, line and cure.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No valid YAML of a metric.
    #[error("metric file `{file}`: {cause}")]
    Yaml {
        /// File.
        file: String,
        /// Parser message with line and column.
        cause: String,
    },
    /// A key is missing, empty or at odds with the others.
    #[error("metric file `{file}`, line {line}: {cause}\nhint: {cure}")]
    Key {
        /// File.
        file: String,
        /// Line from 1.
        line: usize,
        /// What is wrong.
        cause: String,
        /// What to do.
        cure: String,
    },
}

/// Who reads a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Engineers.
    Operational,
    /// Managers.
    Business,
    /// Executives.
    Executive,
}

/// How the value comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// An aggregate over a table.
    Simple,
    /// One metric over another.
    Ratio,
    /// Arithmetic over metrics and costs.
    Derived,
    /// A metric over a trailing window.
    Cumulative,
    /// The largest member of a dimension.
    Top,
    /// What neither of two detectors saw, from what each and what both saw.
    CaptureRecapture,
}

/// Aggregate of a simple metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Sum of `expr`.
    Sum,
    /// Rows.
    Count,
    /// Largest `expr`.
    Max,
    /// Distinct count of the HLL sketch in `expr`.
    CountDistinct,
    /// Quantile `rank` of the KLL sketch in `expr`.
    Percentile,
    /// Quantile `rank` of the values in `expr`.
    PercentileOfValues,
}

/// What the data must carry for a value to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Decisions of defences: a source that carries none blocks nothing *known*.
    Decisions,
    /// Some days of use, without which no device is known and every sign-in looks odd.
    DaysOfUse,
    /// A week of use, without which no account can be judged.
    WeekOfUse,
    /// Contacts with customer service: without them nobody ever complains *as far as we know*.
    Contacts,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Less is better.
    LowerIsBetter,
    /// More is better.
    HigherIsBetter,
    /// Neither.
    Neutral,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Name.
    pub name: String,
    /// Title for people.
    pub title: String,
    /// What it measures, in one sentence.
    pub description: String,
    /// Readers.
    pub audience: Vec<Audience>,
    /// Question it answers.
    pub question: String,
    /// Action it suggests.
    pub action: String,
    /// Who answers for it.
    pub owner: String,
    /// How it comes to be.
    #[serde(rename = "type")]
    pub kind: MetricType,
    /// Aggregate of `simple`.
    pub agg: Option<Aggregate>,
    /// Table of `simple` and `top`.
    pub from: Option<String>,
    /// Finer table for the grain hour.
    pub from_hour: Option<String>,
    /// Time column when it is not the table's own.
    pub time: Option<String>,
    /// Column or expression; for `derived` over metric names and `costs.*`.
    pub expr: Option<String>,
    /// Lower end of the summed estimate.
    pub expr_low: Option<String>,
    /// Upper end of the summed estimate.
    pub expr_high: Option<String>,
    /// Variance of the summed estimate that is independent from row to row; it widens the interval by its
    /// root, while the ends above add up.
    pub expr_variance: Option<String>,
    /// Whether what is summed may lie below zero; otherwise the lower end stops there.
    #[serde(default)]
    pub signed: bool,
    /// What may happen in a day without being noticed; it is added to the upper end for every day with data.
    pub unseen_per_day: Option<f64>,
    /// Share of what happens that leaves no trace; the upper end of a period rises by as many as chance may make of it.
    pub unseen_share: Option<f64>,
    /// What the data must carry; without it the value is unknown, not 0.
    #[serde(default, deserialize_with = "one_or_more")]
    pub needs: Vec<Need>,
    /// Rows that count.
    pub filter: Option<String>,
    /// Rank of a percentile, 0 to 1.
    pub rank: Option<f64>,
    /// SQL aggregate that gives the number of observations; default the rows.
    pub n: Option<String>,
    /// Dimension of `top`.
    pub by: Option<String>,
    /// Metric above the line.
    pub numerator: Option<String>,
    /// Metric below the line.
    pub denominator: Option<String>,
    /// Metric of `cumulative`.
    pub metric: Option<String>,
    /// Metrics of `capture_recapture`: what each of two detectors saw; `metric` is what both did.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Window of `cumulative`, in days.
    pub window_days: Option<u32>,
    /// Unit.
    pub unit: String,
    /// Which way is good.
    pub direction: Direction,
    /// Grains whose values are stored.
    pub grains: Vec<Grain>,
    /// Columns it can be split by.
    #[serde(default)]
    pub dimensions: Vec<String>,
    /// Stream whose certificates tell the coverage.
    #[serde(default = "requests")]
    pub stream: String,
    /// Where the labels come from.
    #[serde(default = "counted")]
    pub label_source: String,
    /// Version of the definition.
    #[serde(default = "one")]
    pub version: i64,
    /// Release that introduced it.
    pub since: String,
    /// File it came from.
    #[serde(skip)]
    pub file: String,
}

// `needs: decisions` and `needs: [decisions]` mean the same.
fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Need>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(Need),
        More(Vec<Need>),
    }
    Ok(match Given::deserialize(from)? {
        Given::One(need) => vec![need],
        Given::More(needs) => needs,
    })
}

fn requests() -> String {
    "requests".to_owned()
}
fn counted() -> String {
    "counted".to_owned()
}
const fn one() -> i64 {
    1
}

impl Metric {
    /// Returns the metrics it is made of, each once.
    #[must_use]
    pub fn parts(&self, all: &BTreeMap<String, Self>) -> Vec<String> {
        let mut out: Vec<String> =
            [&self.numerator, &self.denominator, &self.metric].into_iter().flatten().cloned().collect();
        out.extend(self.channels.iter().cloned());
        if self.kind == MetricType::Derived {
            out.extend(
                words(self.expr.as_deref().unwrap_or_default())
                    .filter(|w| all.contains_key(*w))
                    .map(str::to_owned),
            );
        }
        // An expression may name a metric twice; it is still one part.
        let mut seen = BTreeSet::new();
        out.retain(|p| seen.insert(p.clone()));
        out
    }
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).filter(|w| !w.is_empty())
}

/// Returns the metrics of the given files (name, text), checked against each other.
///
/// # Errors
/// The first file that does not load.
pub fn load(files: &[(String, String)]) -> Result<Vec<Metric>, LoadError> {
    let mut all: BTreeMap<String, Metric> = BTreeMap::new();
    let mut texts: BTreeMap<String, &str> = BTreeMap::new();
    for (file, text) in files {
        let mut metric: Metric = serde_saphyr::from_str(text)
            .map_err(|e| LoadError::Yaml { file: file.clone(), cause: e.to_string() })?;
        metric.file.clone_from(file);
        check_alone(&metric, text)?;
        if let Some(other) = all.get(&metric.name) {
            return Err(wrong(
                &metric,
                text,
                "name",
                format!("`{}` is already defined in `{}`", metric.name, other.file),
                "give one of them another name",
            ));
        }
        texts.insert(metric.name.clone(), text);
        all.insert(metric.name.clone(), metric);
    }
    for metric in all.values() {
        let text = texts.get(&metric.name).copied().unwrap_or_default();
        check_references(metric, text, &all)?;
    }
    Ok(all.into_values().collect())
}

fn wrong(metric: &Metric, text: &str, key: &str, cause: String, cure: &str) -> LoadError {
    let start = format!("{key}:");
    let line = text.lines().position(|l| l.starts_with(&start)).map_or(1, |i| i + 1);
    LoadError::Key { file: metric.file.clone(), line, cause, cure: cure.to_owned() }
}

fn check_alone(m: &Metric, text: &str) -> Result<(), LoadError> {
    let fail = |key: &str, cause: &str, cure: &str| Err(wrong(m, text, key, cause.to_owned(), cure));
    if m.audience.is_empty() {
        return fail("audience", "no reader is named", "list operational, business or executive");
    }
    if m.question.trim().is_empty() {
        return fail("question", "the question is empty", "write the question that the value answers");
    }
    if m.action.trim().is_empty() {
        return fail("action", "the action is empty", "write what a reader should do when the value moves");
    }
    if m.grains.is_empty() {
        return fail("grains", "no grain is named", "list hour, day, week, month or year");
    }
    if m.unseen_share.is_some_and(|s| !(0.0..=1.0).contains(&s)) {
        return fail("unseen_share", "it is no share", "give a number between 0 and 1");
    }
    let need = |present: bool, key: &str, why: &str| {
        if present { Ok(()) } else { Err(wrong(m, text, "type", format!("`{key}` is missing"), why)) }
    };
    match m.kind {
        MetricType::Simple => {
            need(m.from.is_some(), "from", "a simple metric names its table")?;
            need(
                m.agg.is_some(),
                "agg",
                "a simple metric names its aggregate: sum, count, max, count_distinct, percentile",
            )?;
            let rows = m.agg == Some(Aggregate::Count);
            need(rows || m.expr.is_some(), "expr", "the aggregate needs a column or expression")?;
            let ranked = matches!(m.agg, Some(Aggregate::Percentile | Aggregate::PercentileOfValues));
            need(
                !ranked || m.rank.is_some_and(|r| (0.0..=1.0).contains(&r)),
                "rank",
                "a percentile needs a rank between 0 and 1",
            )
        }
        MetricType::Ratio => need(
            m.numerator.is_some() && m.denominator.is_some(),
            "numerator and denominator",
            "a ratio names two metrics",
        ),
        MetricType::Derived => {
            need(m.expr.is_some(), "expr", "a derived metric needs an expression over metric names")
        }
        MetricType::Cumulative => need(
            m.metric.is_some() && m.window_days.is_some(),
            "metric and window_days",
            "a cumulative metric names a metric and a window",
        ),
        MetricType::CaptureRecapture => need(
            m.channels.len() == 2 && m.metric.is_some(),
            "channels and metric",
            "name two metrics of what each detector saw, and one of what both did",
        ),
        MetricType::Top => need(
            m.from.is_some() && m.by.is_some() && m.expr.is_some(),
            "from, by and expr",
            "a top metric names table, dimension and what is summed",
        ),
    }
}

fn check_references(m: &Metric, text: &str, all: &BTreeMap<String, Metric>) -> Result<(), LoadError> {
    let named = [("numerator", &m.numerator), ("denominator", &m.denominator), ("metric", &m.metric)];
    let named = named.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?)));
    for (key, name) in named.chain(m.channels.iter().map(|c| ("channels", c))) {
        if !all.contains_key(name) {
            return Err(wrong(
                m,
                text,
                key,
                format!("no metric is called `{name}`"),
                "check the spelling; `fishweir metrics` lists them",
            ));
        }
    }
    if m.kind == MetricType::Derived {
        let expression = m.expr.as_deref().unwrap_or_default();
        for word in words(expression) {
            let number = word.starts_with(|c: char| c.is_ascii_digit());
            let known = all.contains_key(word) || word.starts_with("costs.") || FUNCTIONS.contains(&word);
            if !number && !known {
                return Err(wrong(
                    m,
                    text,
                    "expr",
                    format!("`{word}` is neither a metric nor a cost"),
                    "use metric names, costs.<name> and arithmetic",
                ));
            }
        }
    }
    let mut path = vec![m.name.clone()];
    if let Some(circle) = circle(m, all, &mut path) {
        return Err(wrong(
            m,
            text,
            "type",
            format!("metrics are made of each other: {}", circle.join(" → ")),
            "break the circle",
        ));
    }
    Ok(())
}

const FUNCTIONS: &[&str] = &["greatest", "least", "coalesce", "abs", "sqrt", "ln", "round"];

fn circle(m: &Metric, all: &BTreeMap<String, Metric>, path: &mut Vec<String>) -> Option<Vec<String>> {
    let parts: BTreeSet<String> = m.parts(all).into_iter().collect();
    for part in parts {
        if path.contains(&part) {
            path.push(part);
            return Some(path.clone());
        }
        path.push(part.clone());
        if let Some(found) = all.get(&part).and_then(|p| circle(p, all, path)) {
            return Some(found);
        }
        path.pop();
    }
    None
}
