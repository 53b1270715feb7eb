//! What a report says.

use fishweir_metrics::{
    Audience, Buckets, DAY_US, Direction, Evaluator, Grain, Interval, MetricType, MetricValue, PipelineError,
    text_literal, time_literal,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::words::{amount, change, interval, time, verdict};
use crate::{accounts, followed};

/// What to report.
#[derive(Clone, Debug)]
pub struct ReportRequest {
    /// Reader.
    pub audience: Audience,
    /// Period.
    pub period: Interval,
    /// Name of the period.
    pub period_name: String,
    /// Period before, for comparison.
    pub previous: Interval,
    /// Same period a year earlier.
    pub year_before: Interval,
    /// Present time.
    pub now_us: i64,
}

/// One metric of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// Metric.
    pub metric: String,
    /// Title.
    pub title: String,
    /// Question it answers.
    pub question: String,
    /// Action it suggests.
    pub action: String,
    /// Who answers for it.
    pub owner: String,
    /// Unit.
    pub unit: String,
    /// Which way is good.
    pub direction: Direction,
    /// Value of the period.
    pub value: MetricValue,
    /// Value of the period before.
    pub previous: Option<MetricValue>,
    /// Value a year earlier.
    pub year_before: Option<MetricValue>,
    /// `better`, `worse` or empty, against the period before.
    pub verdict: &'static str,
    /// The value in one sentence.
    pub sentence: String,
    /// Values within the period.
    pub trend: Vec<MetricValue>,
    /// Whether the trend is made of counts, drawn as bars.
    pub counted: bool,
}

/// One incident of a report.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentLine {
    /// Columns of `dos_incidents`.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// Driver rules in words, strongest first.
    pub drivers: Vec<String>,
    /// Minutes: observed, expected, band, stopped.
    pub minutes: Vec<Map<String, Value>>,
}

/// A report, ready to be rendered.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Headline.
    pub title: String,
    /// Reader.
    pub audience: Audience,
    /// Period.
    pub period: Interval,
    /// Name of the period.
    pub period_name: String,
    /// When it was made.
    pub generated_at: String,
    /// The gist, in sentences.
    pub summary: Vec<String>,
    /// Metrics in reading order.
    pub cards: Vec<Card>,
    /// Incidents, for engineers and managers.
    pub incidents: Vec<IncidentLine>,
    /// Theft of accounts: causes and campaigns, a sentence each.
    pub accounts: Vec<String>,
    /// What we did and what followed, a sentence each.
    pub interventions: Vec<String>,
    /// What changed under the numbers, a sentence each; not for executives.
    pub changes: Vec<String>,
    /// What the reader must know about the numbers.
    pub caveats: Vec<String>,
}

const EXECUTIVE: &[&str] = &[
    "dos_incidents_count",
    "dos_members_affected",
    "dos_downtime_minutes",
    "dos_stopped_share",
    "dos_time_to_mitigate",
    "dos_cost",
    "takeover_rate",
    "takeovers_before_contact_share",
    "takeover_top_cause",
    "takeover_cost",
    "requests",
];
const INCIDENTS_MAX: usize = 25;
const MINUTES_MAX: usize = 12;

/// Returns the report of a request.
///
/// # Errors
/// A query that fails; an unknown value is part of the report, not an error.
pub async fn build(evaluator: &Evaluator, request: &ReportRequest) -> Result<Report, PipelineError> {
    let mut cards = Vec::new();
    for name in order(evaluator, request.audience) {
        cards.push(card(evaluator, &name, request).await?);
    }
    let incidents = match request.audience {
        Audience::Executive => Vec::new(),
        Audience::Business => incidents(evaluator, request.period, false).await?,
        Audience::Operational => incidents(evaluator, request.period, true).await?,
    };
    let caveats = caveats(evaluator, request, &cards).await?;
    let interventions = followed::interventions(evaluator, request.period).await?;
    let changes = match request.audience {
        Audience::Executive => Vec::new(),
        _ => followed::changes(evaluator, request.period).await?,
    };
    let reader = match request.audience {
        Audience::Executive => "Executive report",
        Audience::Business => "Management report",
        Audience::Operational => "Engineering report",
    };
    Ok(Report {
        title: format!("{reader} · {}", request.period_name),
        audience: request.audience,
        period: request.period,
        period_name: request.period_name.clone(),
        generated_at: time(request.now_us, "%Y-%m-%d %H:%M UTC"),
        summary: summary(&cards, request).into_iter().chain(young_comparison(evaluator, request)).collect(),
        cards,
        incidents,
        accounts: accounts::sentences(evaluator, request.period, request.audience).await?,
        interventions,
        changes,
        caveats,
    })
}

fn order(evaluator: &Evaluator, audience: Audience) -> Vec<String> {
    let mut names: Vec<String> = evaluator
        .metrics()
        .values()
        .filter(|m| m.audience.contains(&audience))
        .map(|m| m.name.clone())
        .collect();
    let place = |n: &str| EXECUTIVE.iter().position(|e| *e == n).unwrap_or(usize::MAX);
    let subject = |n: &str| match n {
        n if n.starts_with("dos_") => 0,
        n if n.contains("takeover") || n.starts_with("login_") => 1,
        _ => 2,
    };
    names.sort_by_key(|n| (place(n), subject(n), n.clone()));
    names
}

/// Returns one metric of a report: its value, the two compared with, and the trend within the period.
///
/// # Errors
/// An unknown metric, or a query that fails.
pub async fn card(evaluator: &Evaluator, name: &str, request: &ReportRequest) -> Result<Card, PipelineError> {
    let Some(metric) = evaluator.metrics().get(name) else {
        return Err(PipelineError::Query {
            what: name.to_owned(),
            cause: "no metric has this name".to_owned(),
        });
    };
    let value = evaluator.value(name, request.period).await?;
    let previous = evaluator.value(name, request.previous).await?;
    let year_before = evaluator.value(name, request.year_before).await?;
    let trend = if metric.kind == MetricType::Top || metric.kind == MetricType::Cumulative {
        Vec::new()
    } else {
        evaluator.values(name, Buckets::Each(trend_grain(request.period), request.period), None).await?
    };
    let sentence = sentence(&metric.title, &value, &metric.unit);
    Ok(Card {
        metric: name.to_owned(),
        title: metric.title.clone(),
        question: metric.question.clone(),
        action: metric.action.clone(),
        owner: metric.owner.clone(),
        unit: metric.unit.clone(),
        direction: metric.direction,
        verdict: verdict(&value, Some(&previous), metric.direction),
        counted: matches!(metric.unit.as_str(), "attacks" | "surges" | "minutes" | "members" | "US dollars"),
        sentence,
        value,
        previous: Some(previous),
        year_before: Some(year_before),
        trend,
    })
}

/// Returns the grain at which a period makes a readable trend.
#[must_use]
pub fn trend_grain(period: Interval) -> Grain {
    let days = (period.to_us - period.from_us) / DAY_US;
    match days {
        ..=3 => Grain::Hour,
        4..=92 => Grain::Day,
        93..=400 => Grain::Week,
        _ => Grain::Month,
    }
}

fn sentence(title: &str, v: &MetricValue, unit: &str) -> String {
    let Some(x) = v.value else {
        return format!("{title}: unknown ({}).", v.reason.as_deref().unwrap_or("no reason given"));
    };
    let range = interval(v, unit);
    let range = if range.is_empty() { String::new() } else { format!(" (95 % interval {range})") };
    match &v.label {
        Some(label) => format!("{title}: {label}, {}{range}.", amount(x, unit)),
        None => format!("{title}: {}{range}.", amount(x, unit)),
    }
}

/// Returns the gist of some cards, in sentences.
#[must_use]
pub fn summary(cards: &[Card], request: &ReportRequest) -> Vec<String> {
    let find = |name: &str| cards.iter().find(|c| c.metric == name);
    let mut out = Vec::new();
    if let Some(c) = find("dos_incidents_count") {
        let words = match c.value.value {
            Some(0.0) if c.value.coverage < 0.9995 => format!(
                "No attack was seen in the {} of {} that holds data; of the rest nothing is known.",
                amount(c.value.coverage, "share"),
                request.period_name
            ),
            Some(0.0) if c.value.high.is_some_and(|h| h > 0.0) => format!(
                "No surge in {} was labelled an attack, but {} could not be classified and may have been one.",
                request.period_name,
                amount(c.value.high.unwrap_or(0.0), "surges")
            ),
            Some(0.0) => format!("No attack was seen in {}.", request.period_name),
            Some(n) => format!(
                "{} hit the service in {}; {}.",
                amount(n, "attacks"),
                request.period_name,
                change(&c.value, c.previous.as_ref(), "period before", &c.unit)
            ),
            None => format!(
                "Whether attacks happened in {} is unknown: {}.",
                request.period_name,
                c.value.reason.as_deref().unwrap_or("no data")
            ),
        };
        out.push(words);
    }
    if let (Some(c), Some(attacks)) = (find("dos_stopped_share"), find("dos_incidents_count"))
        && attacks.value.value.is_some_and(|n| n > 0.0)
    {
        let members = find("dos_members_affected").and_then(|m| m.value.value);
        let cost = find("dos_cost").and_then(|m| m.value.value);
        let mut parts = Vec::new();
        if let Some(s) = c.value.value {
            parts.push(format!("the defences stopped {} of the attack requests", amount(s, "share")));
        }
        if let Some(m) = members {
            parts.push(format!("{} met an error or a refusal", amount(m, "members")));
        }
        if let Some(c) = cost {
            parts.push(format!("the estimated cost is {}", amount(c, "US dollars")));
        }
        if !parts.is_empty() {
            let text = parts.join("; ");
            let mut chars = text.chars();
            let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
            out.push(format!("{first}{}.", chars.as_str()));
        }
    }
    out.extend(taken(cards, request));
    let worse: Vec<&str> = cards.iter().filter(|c| c.verdict == "worse").map(|c| c.title.as_str()).collect();
    let better: Vec<&str> =
        cards.iter().filter(|c| c.verdict == "better").map(|c| c.title.as_str()).collect();
    let list = |names: &[&str]| names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if !worse.is_empty() {
        out.push(format!("Worse than the period before: {}.", list(&worse)));
    }
    if !better.is_empty() {
        out.push(format!("Better than the period before: {}.", list(&better)));
    }
    out
}

// Takeovers in one sentence; nothing where nobody ever signed in as far as we know.
fn taken(cards: &[Card], request: &ReportRequest) -> Option<String> {
    let find = |name: &str| cards.iter().find(|c| c.metric == name);
    let rate = find("takeover_rate")?;
    let Some(v) = rate.value.value else {
        return (rate.value.coverage > 0.0).then(|| {
            format!(
                "How many accounts were taken over in {} is unknown: {}.",
                request.period_name,
                rate.value.reason.as_deref().unwrap_or("no reason given")
            )
        });
    };
    let range = interval(&rate.value, &rate.unit);
    let range = if range.is_empty() { String::new() } else { format!(" (95 % interval {range})") };
    let cause = find("takeover_top_cause").and_then(|c| c.value.label.clone());
    let cause = cause.map_or(String::new(), |c| format!("; the largest cause is {}", c.replace('_', " ")));
    Some(format!("Of 10,000 active accounts {} were taken over{range}{cause}.", amount(v, "").trim_end()))
}

// A rise over a time in which the detector could hardly see is no rise.
fn young_comparison(evaluator: &Evaluator, request: &ReportRequest) -> Option<String> {
    let first = evaluator.sealed_span("requests")?.from_us;
    let young = first < request.previous.to_us && first > request.previous.from_us - 7 * DAY_US;
    young.then(|| {
        format!(
            "The period before lies in the first days of the data (from {}), when the detector had little history: attacks may be missing from it, so a rise may be no rise.",
            time(first, "%Y-%m-%d")
        )
    })
}

async fn incidents(
    evaluator: &Evaluator,
    period: Interval,
    all: bool,
) -> Result<Vec<IncidentLine>, PipelineError> {
    if !evaluator.has_table("dos_incidents") {
        return Ok(Vec::new());
    }
    let kind = if all { "true" } else { "kind = 'attack'" };
    let rows = evaluator
        .rows(&format!(
            "SELECT * FROM dos_incidents WHERE start >= {} AND start < {} AND {kind} ORDER BY excess_requests DESC LIMIT {INCIDENTS_MAX}",
            time_literal(period.from_us),
            time_literal(period.to_us)
        ))
        .await?;
    let mut out = Vec::new();
    for (i, fields) in rows.into_iter().enumerate() {
        let id = text_literal(fields.get("incident_id").and_then(Value::as_str).unwrap_or_default());
        let drivers = evaluator
            .rows(&format!("SELECT rule, coverage, normal_share FROM dos_incident_drivers WHERE incident_id = {id} ORDER BY rank"))
            .await?;
        let minutes = if i < MINUTES_MAX {
            evaluator
                .rows(&format!("SELECT minute, requests, expected_requests, band_low, band_high, stopped_requests FROM dos_incident_minutes WHERE incident_id = {id} ORDER BY minute"))
                .await?
        } else {
            Vec::new()
        };
        out.push(IncidentLine { fields, drivers: drivers.iter().map(driver).collect(), minutes });
    }
    out.sort_by_key(start);
    Ok(out)
}

fn start(i: &IncidentLine) -> String {
    i.fields.get("start").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn driver(row: &Map<String, Value>) -> String {
    let share = |key: &str| {
        row.get(key).and_then(Value::as_f64).map_or("an unknown share".to_owned(), |v| amount(v, "share"))
    };
    format!(
        "{} covers {} of the excess and {} of normal traffic",
        row.get("rule").and_then(Value::as_str).unwrap_or("(none)"),
        share("coverage"),
        share("normal_share")
    )
}

async fn caveats(
    evaluator: &Evaluator,
    request: &ReportRequest,
    cards: &[Card],
) -> Result<Vec<String>, PipelineError> {
    let mut out = Vec::new();
    if let Some(c) = cards.iter().map(|c| c.value.coverage).reduce(f64::min)
        && c < 0.9995
    {
        out.push(format!(
            "Only {} of the period holds sealed data; counts are those of the sealed part.",
            amount(c, "share")
        ));
    }
    if cards.iter().any(|c| c.value.maturity == "provisional") {
        out.push("Values marked provisional may change while late rows can still arrive.".to_owned());
    }
    if evaluator.has_table("dos_incidents") {
        let span = format!(
            "start >= {} AND start < {}",
            time_literal(request.period.from_us),
            time_literal(request.period.to_us)
        );
        let rows = evaluator
            .rows(&format!("SELECT count(*) FILTER (WHERE history_weeks < 1) AS young, count(*) FILTER (WHERE kind = 'unknown') AS unknown FROM dos_incidents WHERE {span}"))
            .await?;
        let n = |key: &str| rows.first().and_then(|r| r.get(key)).and_then(Value::as_i64).unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a count of surges")]
        let surges = |n: i64| amount(n as f64, "surges");
        if n("young") > 0 {
            out.push(format!(
                "Found with less than a week of history: {}; bands were wider, confidence is lower.",
                surges(n("young"))
            ));
        }
        if n("unknown") > 0 {
            out.push(format!("Not classified, because the raw rows were gone or carry no accounts: {}; not counted as attacks.", surges(n("unknown"))));
        }
    }
    if let Some(span) = evaluator.sealed_span("requests")
        && span.from_us > request.period.from_us - 7 * DAY_US
        && span.from_us < request.period.to_us
    {
        out.push(format!("Data begins on {}: during the first week the detector has no weekly profile and sees only strong surges.", time(span.from_us, "%Y-%m-%d")));
    }
    Ok(out)
}
