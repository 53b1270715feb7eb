//! Did it really rise after that event? The question, the answer, and the pictures behind it.

use fishweir_detect::{Effect, Impact};
use fishweir_metrics::{DAY_US, Evaluator, Interval, Question, daily, time_literal};
use fishweir_report::{Line, Mark, Plot};
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use super::parts::{self, Query, Row, minute, text};
use super::{Answer, Look, cached};
use crate::period;
use crate::problem::Problem;
use crate::snapshot::Snapshot;

const DAYS_MAX: u32 = 1_500;

pub(crate) async fn page(look: Look) -> Answer {
    let q = &look.q;
    cached(&look, |s| async move { body(&s, q).await }).await
}

async fn body(s: &Snapshot, q: &Query) -> Result<(String, Markup), Problem> {
    let e = &s.evaluator;
    let notes = if e.has_table("notes") {
        e.rows("SELECT CAST(time AS BIGINT) AS us, time, kind, title FROM notes ORDER BY time DESC LIMIT 40")
            .await?
    } else {
        Vec::new()
    };
    let asked = q.get("event").map(String::as_str).filter(|t| !t.trim().is_empty());
    let answer = match asked {
        Some(event) => answer(e, q, event).await?,
        None => {
            html! { section.box { p { "Choose a metric and an event. Decide on both, and on the control, before you look." } } }
        }
    };
    let page = html! {
        div.head { h1 { "Event study" } span.sub { "did a metric really change after an event?" } }
        (form(e, q, &notes))
        (answer)
        (events(q, &notes))
    };
    Ok(("Event study".to_owned(), page))
}

fn form(e: &Evaluator, q: &Query, notes: &[Row]) -> Markup {
    let get = |k: &str, none: &str| q.get(k).cloned().unwrap_or(none.to_owned());
    let options = |name: &str| {
        html! { @for m in e.metrics().values() { option value=(m.name) selected[m.name == name] { (m.title) } } }
    };
    let metric = get("metric", "dos_attack_requests");
    let control = get("control", "");
    html! {
        form.line.picker method="get" action="/study" {
            label { "Metric, by day" select name="metric" { (options(&metric)) } }
            label { "When it happened" input type="text" name="event" value=(get("event", "")) placeholder="2026-10-12" list="notes" size="18" required; }
            datalist id="notes" { @for n in notes { option value=(text(n, "time")) { (text(n, "title")) } } }
            label { "Control: what the event should not touch" select name="control" { option value="" { "none" } (options(&control)) } }
            label { "Days before" input type="number" name="before" min="28" max=(DAYS_MAX) value=(get("before", "180")); }
            label { "Days after" input type="number" name="after" min="7" max="365" value=(get("after", "28")); }
            button.main { "Ask" }
        }
    }
}

async fn answer(e: &Evaluator, q: &Query, event: &str) -> Result<Markup, Problem> {
    let days = |k: &str, none: u32| match q.get(k).filter(|v| !v.is_empty()) {
        None => Ok(none),
        Some(v) => v
            .parse::<u32>()
            .ok()
            .filter(|n| (1..=DAYS_MAX).contains(n))
            .ok_or_else(|| Problem::bad(format!("`{k}` has 1 to {DAYS_MAX} days"))),
    };
    let metric = q.get("metric").map_or("dos_attack_requests", String::as_str);
    let Some(m) = e.metrics().get(metric) else {
        return Err(Problem::missing(format!("no metric is called `{metric}`")));
    };
    let control = q.get("control").map(String::as_str).filter(|c| !c.is_empty() && *c != metric);
    let question = Question {
        metric,
        part: None,
        control,
        event_us: period::at(event)?,
        before: days("before", 180)?,
        after: days("after", 28)?,
    };
    let span = question.span();
    let observed = daily(e, metric, span).await?;
    let beside = beside(e, metric, &question, span).await?;
    let found = fishweir_metrics::study(e, &question).await?;
    Ok(html! {
        @match &found {
            Err(why) => section.box { h2 { (m.title) ": nothing can be said" } p.lead { (why) } (picture(&m.title, &m.unit, &observed, None, span, question.event_us)) },
            Ok(i) => { (verdict(&m.title, i, control)) section.box { h2 { "What was, and what would have been" } (picture(&m.title, &m.unit, &observed, Some(i), span, question.event_us)) } (placebo(i)) },
        }
        section.box { h2 { "What else happened then" }
            @if beside.is_empty() { p.note { "Nothing is noted." } }
            ul.plain { @for b in &beside { li { (b) } } }
        }
    })
}

// Notes and breaks around the event: a new rule or detector looks exactly like a rise.
async fn beside(
    e: &Evaluator,
    metric: &str,
    q: &Question<'_>,
    span: Interval,
) -> Result<Vec<String>, Problem> {
    let near = Interval::new(q.event_us - i64::from(q.after) * DAY_US, span.to_us);
    let mut out = Vec::new();
    if e.has_table("notes") {
        let sql = format!(
            "SELECT time, kind, title FROM notes WHERE time >= {} AND time < {} ORDER BY time",
            time_literal(near.from_us),
            time_literal(near.to_us)
        );
        out.extend(
            e.rows(&sql)
                .await?
                .iter()
                .map(|r| format!("{} {}: {}", minute(r, "time"), text(r, "kind"), text(r, "title"))),
        );
    }
    out.extend(e.breaks(metric, near));
    Ok(out)
}

fn percent(x: f64) -> String {
    format!("{:+.0} %", x * 100.0)
}

fn shown(e: Effect) -> String {
    format!("{} [{}, {}], p = {:.3}", percent(e.value), percent(e.low), percent(e.high), e.p)
}

fn verdict(title: &str, i: &Impact, control: Option<&str>) -> Markup {
    let words = match i.changed() {
        true if i.regression.value > 0.0 => "was followed by a rise",
        true => "was followed by a fall",
        false => "no evidence of a change",
    };
    let chance = |p: Option<f64>| p.map_or("too few to compare with".to_owned(), |p| format!("p = {p:.3}"));
    let (yes, of) = i.agreement();
    html! {
        section.box {
            h2 { (title) ": " (words) }
            p.lead { (shown(i.regression)) }
            dl.facts {
                dt { "Counterfactual" } dd { (shown(i.structural)) }
                dt { "Quiet times as big" } dd { (chance(i.placebo_time_p)) }
                dt { "Methods that agree" } dd { (yes) " of " (of) }
                dt { "Would have seen" } dd { (percent(i.minimum_detectable)) " or more" }
                dt { "Days" } dd { (i.n_before) " before, " (i.n_after) " after" }
                dt { "Against" } dd { @match control { Some(c) => (c), None => "nothing: without a control one chance finding in ten looks real" } }
            }
            p.note { "Followed by, never caused by." }
        }
    }
}

fn picture(
    title: &str,
    unit: &str,
    observed: &[f64],
    i: Option<&Impact>,
    span: Interval,
    event_us: i64,
) -> Markup {
    let known = |v: &f64| Some(*v).filter(|v| v.is_finite());
    let times: Vec<i64> = (0..).map(|d| span.from_us + d * DAY_US).take(observed.len()).collect();
    let mut lines = vec![Line {
        name: "what was".to_owned(),
        class: "line",
        values: observed.iter().map(known).collect(),
    }];
    if let Some(i) = i.filter(|i| i.expected.len() == observed.len()) {
        lines.push(Line {
            name: "what would have been".to_owned(),
            class: "expected",
            values: i.expected.iter().map(known).map(|v| v.map(|v| v.max(0.0))).collect(),
        });
    }
    let plot = Plot {
        title: title.to_owned(),
        unit: unit.to_owned(),
        times,
        lines,
        marks: vec![Mark { at_us: event_us, label: "the event".to_owned() }],
        size: (1080, 260),
        ..Plot::default()
    };
    parts::chart(&plot, "")
}

// How large the change is among changes at times when nothing happened.
#[expect(clippy::cast_precision_loss, reason = "counts and pixels")]
fn placebo(i: &Impact) -> Markup {
    const BINS: usize = 24;
    let all = &i.placebo_changes_log;
    if all.len() < 19 {
        return html! { section.box { h2 { "Placebo" } p.note { "Fewer than 19 quiet stretches: too few to compare with." } } };
    }
    let top = all.iter().copied().fold(i.change_log.abs(), f64::max).max(1e-9);
    let mut bins = [0usize; BINS];
    for c in all {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the bins")]
        let b = ((c.abs() / top) * (BINS as f64 - 1.0)) as usize;
        bins[b.min(BINS - 1)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(1).max(1) as f64;
    let (w, h) = (720.0, 150.0);
    let step = w / BINS as f64;
    let mut svg = format!(
        r#"<svg class="plot" viewBox="0 0 {w} {}" role="img" aria-label="Changes at quiet times, and the change after the event">"#,
        h + 22.0
    );
    for (b, n) in bins.iter().enumerate() {
        let height = *n as f64 / most * (h - 8.0);
        svg.push_str(&format!(r#"<rect class="bar" x="{:.1}" y="{:.1}" width="{:.1}" height="{height:.1}"><title>{n}</title></rect>"#, b as f64 * step + 1.0, h - height, step - 2.0));
    }
    let x = i.change_log.abs() / top * (w - step) + step / 2.0;
    svg.push_str(&format!(r#"<line class="mark" x1="{x:.1}" y1="0" x2="{x:.1}" y2="{h}"/><text x="0" y="{}">no change</text><text x="{w}" y="{}" text-anchor="end">{}</text></svg>"#, h + 16.0, h + 16.0, percent(top.exp_m1())));
    html! {
        section.box { h2 { "Placebo: the same look at quiet times" }
            figure { (PreEscaped(svg)) figcaption { span { i {} "changes at " (all.len()) " quiet times before" } span { i.stopped {} "after the event" } } }
        }
    }
}

fn events(q: &Query, notes: &[Row]) -> Markup {
    html! {
        section.box { h2 { "Noted events" }
            @if notes.is_empty() { p.note { "None. " code { "fishweir note add" } " writes one; interventions are followed by themselves." } }
            ul.plain { @for n in notes {
                @let us = n.get("us").and_then(Value::as_i64).unwrap_or(0);
                li { a href=(parts::address("/study", q, &[("event", &fishweir_report::time(us, "%Y-%m-%dT%H:%M:%SZ"))])) { (minute(n, "time")) } " " span.tag.plain { (text(n, "kind")) } " " (text(n, "title")) }
            } }
        }
    }
}
