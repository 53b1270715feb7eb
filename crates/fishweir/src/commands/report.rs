//! `fishweir report`

use anyhow::{Result, anyhow};
use fishweir_metrics::{Audience, Evaluator, Grain, Interval, parse_period};
use fishweir_report::{Report, ReportRequest, build, html, markdown};

use crate::cli::{Reader, ReportArgs, ReportFormat};
use crate::output::{print_json, say};
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &ReportArgs) -> Result<u8> {
    let report = make(project, args.reader, args.period.as_deref()).await?;
    match args.format {
        ReportFormat::Md => say(markdown(&report).trim_end())?,
        ReportFormat::Html => say(&html(&report))?,
        ReportFormat::Json => print_json(&report)?,
    }
    Ok(0)
}

pub(crate) async fn evaluator(project: &Project) -> Result<Evaluator> {
    project.ensure_tables().await?;
    let metrics = project.metrics()?;
    let days = project.config.retention.raw_days;
    let (catalog, labels) = (project.catalog()?, project.label_models()?);
    let costs = project.config.costs.clone();
    Ok(Evaluator::new(&catalog, &metrics, costs, &labels, days, project.now_us).await?)
}

pub(crate) async fn make(project: &Project, reader: Reader, period: Option<&str>) -> Result<Report> {
    let evaluator = evaluator(project).await?;
    let (name, period, grain) = match period {
        Some(text) => {
            let (interval, grain) = parse_period(text)?;
            (text.to_owned(), interval, grain)
        }
        None => last_month(&evaluator)?,
    };
    let audience = match reader {
        Reader::Engineer => Audience::Operational,
        Reader::Manager => Audience::Business,
        Reader::Executive => Audience::Executive,
    };
    let request = ReportRequest {
        audience,
        period_name: name,
        previous: previous(period, grain),
        year_before: year_before(period),
        period,
        now_us: project.now_us,
    };
    Ok(build(&evaluator, &request).await?)
}

// The last month that is over; the last one with data when none is.
fn last_month(evaluator: &Evaluator) -> Result<(String, Interval, Grain)> {
    let span = evaluator.sealed_span("requests").ok_or_else(|| {
        anyhow!("nothing is sealed yet\nhint: `fishweir ingest`, then `fishweir run`; or name a --period")
    })?;
    let last = Grain::Month.floor(span.to_us - 1);
    let whole = Grain::Month.next(last) <= span.to_us;
    let start =
        if whole || Grain::Month.floor(span.from_us) == last { last } else { Grain::Month.previous(last) };
    let name = chrono::DateTime::from_timestamp_micros(start).unwrap_or_default().format("%Y-%m").to_string();
    Ok((name, Interval::new(start, Grain::Month.next(start)), Grain::Month))
}

// The calendar unit before; for free spans the span of equal length before.
fn previous(period: Interval, grain: Grain) -> Interval {
    let one = Interval::new(grain.floor(period.from_us), grain.next(grain.floor(period.from_us)));
    if one == period {
        return Interval::new(grain.previous(period.from_us), period.from_us);
    }
    if grain == Grain::Month {
        let months = period.split(Grain::Month).len();
        let from = (0..months).fold(period.from_us, |at, _| Grain::Month.previous(at));
        return Interval::new(from, period.from_us);
    }
    Interval::new(period.from_us - (period.to_us - period.from_us), period.from_us)
}

fn year_before(period: Interval) -> Interval {
    let back = |us: i64| {
        let t = chrono::DateTime::from_timestamp_micros(us).unwrap_or_default();
        t.checked_sub_months(chrono::Months::new(12)).map_or(us, |t| t.timestamp_micros())
    };
    Interval::new(back(period.from_us), back(period.to_us))
}
