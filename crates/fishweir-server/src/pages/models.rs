//! Tables with their recipes and intervals, certificates, what may be deleted, findings.

use std::sync::Arc;
use std::time::Duration;

use fishweir_metrics::Evaluator;
use fishweir_pipeline::{Model, Recipe};
use maud::{Markup, html};

use super::parts::{Row, minute, number, said, text};
use super::{Answer, Look, cached};
use crate::problem::Problem;

/// The plan of deletions reads much of the lake: it is not waited for longer.
const PLAN: Duration = Duration::from_secs(10);

pub(crate) async fn page(look: Look) -> Answer {
    let app = &look.app;
    let site = Arc::clone(&app.site);
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let models = site.models()?;
        let plan = tokio::time::timeout(PLAN, site.retention()).await;
        let deletions = match plan {
            Ok(Ok(plan)) => html! {
                div.scroll { table.sortable { thead { tr { th { "Table" } th { "Interval" } th.n { "Rows" } th { "Verdict" } th { "Why" } } }
                    tbody { @for v in &plan.verdicts { tr { td { (v.table) } td { (v.interval) } td.n data-sort=(v.rows) { (v.rows) } td { span.tag.(if v.verdict == "keep" { "plain" } else { "warn" }) { (v.verdict) } } td { (v.reason) } } } } } }
                @if plan.verdicts.is_empty() { p.note { "Nothing." } }
            },
            Ok(Err(why)) => html! { p.note { "Unknown now: " (why) } },
            Err(_) => html! { p.note { "Unknown now: that takes longer than a page may. " code { "fishweir retention" } " says it." } },
        };
        let body = html! {
            p.crumbs { a href="/catalogue" { "Catalogue" } " / tables" }
            div.head { h1 { "Tables, certificates, findings" } }
            (findings(e).await?)
            section.box { h2 { "Certificates" } (certificates(e).await?) }
            section.box { h2 { "What may be deleted" } (deletions) }
            (recipes(e, &models).await?)
        };
        Ok(("Tables".to_owned(), body))
    })
    .await
}

async fn findings(e: &Evaluator) -> Result<Markup, Problem> {
    if !e.has_table("findings") {
        return Ok(html! {});
    }
    let rows = e.rows("SELECT kind, subject, min(detail) AS detail, min(metrics) AS metrics, min(first_seen) AS first_seen FROM findings GROUP BY 1, 2 ORDER BY 5 DESC NULLS LAST, 1, 2 LIMIT 100").await?;
    Ok(html! {
        section.box { h2 { "Findings" }
            @if rows.is_empty() { p.note { "Everything fits." } }
            @else { div.scroll { table.sortable { thead { tr { th { "Since" } th { "Kind" } th { "What" } th { "Touches" } } }
                tbody { @for r in &rows { tr { td.w { (minute(r, "first_seen")) } td { (text(r, "kind").replace('_', " ")) } td { (text(r, "detail")) } td.small { (text(r, "metrics").split(' ').take(6).collect::<Vec<_>>().join(" ")) } } } } } } }
        }
    })
}

async fn certificates(e: &Evaluator) -> Result<Markup, Problem> {
    if !e.has_table("certificates") {
        return Ok(html! { p.note { "Nothing is sealed yet." } });
    }
    let rows = e.rows("SELECT stream, state, count(*) AS hours, min(time) AS first, max(until) AS last, sum(raw_rows) AS raw, sum(deleted_rows) AS deleted, sum(rollup_rows) AS rolled, sum(late_rows) AS late, sum(rejected_rows) AS rejected FROM certificates GROUP BY 1, 2 ORDER BY 1, 2").await?;
    let sound = |r: &Row| {
        number(r, "raw")
            .zip(number(r, "deleted"))
            .zip(number(r, "rolled"))
            .is_some_and(|((a, b), c)| a + b == c)
    };
    Ok(html! {
        div.scroll { table.sortable { thead { tr { th { "Stream" } th { "State" } th.n { "Hours" } th { "From" } th { "To" } th.n { "Raw rows" } th.n { "Deleted" } th.n { "In rollups" } th.n { "Late" } th.n { "Refused" } th { "Adds up" } } }
            tbody { @for r in &rows { tr {
                td { (text(r, "stream")) } td { (text(r, "state")) } td.n { (said(r, "hours", "")) } td { (minute(r, "first")) } td { (minute(r, "last")) }
                @for k in ["raw", "deleted", "rolled", "late", "rejected"] { td.n data-sort=(text(r, k)) { (said(r, k, "")) } }
                td { @if sound(r) { span.tag.ok { "yes" } } @else { span.tag.warn { "not yet" } } }
            } } } } }
    })
}

async fn recipes(e: &Evaluator, models: &[Model]) -> Result<Markup, Problem> {
    let rows = if e.has_table("model_intervals") {
        e.rows("SELECT model, version, min(range_from) AS first, max(range_to) AS last FROM model_intervals WHERE done GROUP BY 1, 2").await?
    } else {
        Vec::new()
    };
    let done = |m: &Model| {
        rows.iter().find(|r| text(r, "model") == m.name && text(r, "version") == m.version.to_string())
    };
    Ok(html! {
        section.box { h2 { "Tables and their recipes" } span.sub { (models.len()) " models" }
            div.scroll { table.sortable { thead { tr { th { "Table" } th { "What it is" } th { "Made of" } th { "Grain" } th { "Recipe" } th.n { "Version" } th { "Done from" } th { "To" } } }
                tbody { @for m in models { tr {
                    td.w { code { (m.name) } } td { (m.description) } td.small { (m.inputs.join(", ")) } td { (m.grain.name()) }
                    td { (if matches!(m.recipe, Recipe::Sql(_)) { "SQL" } else { "native" }) } td.n { @if matches!(m.recipe, Recipe::Sql(_)) { (m.version) } @else { code { (format!("{:08x}", m.version & 0xffff_ffff)) } } }
                    @match done(m) { Some(r) => { td.w { (minute(r, "first")) } td.w { (minute(r, "last")) } } None => { td.small { "nothing yet" } td {} } }
                } } } } }
        }
    })
}
