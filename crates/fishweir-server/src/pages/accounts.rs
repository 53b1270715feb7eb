//! Theft of accounts: takeovers, campaigns, labelling functions. People are named by pseudonyms.

use axum::extract::Path;
use fishweir_metrics::{Evaluator, parse_time};
use fishweir_report::{Line, Plot, amount, campaign_story, takeover_story};
use maud::{Markup, html};
use serde_json::Value;

use super::parts::{self, Row, encoded, inside, list, minute, number, said, text};
use super::{Answer, Look, cached};
use crate::period::asked;
use crate::problem::Problem;

const LISTED_MAX: usize = 500;
const LIKELY: f64 = 0.5;

fn no_sign_ins(e: &Evaluator) -> Markup {
    html! { @if e.sealed_span("logins").is_none() { section.box { p { span.tag.warn { "unknown" } " No sign-in is sealed: only what requests show of theft is known. Ingest the stream " code { "logins" } "." } } } }
}

pub(crate) async fn takeovers(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let title = "Takeovers".to_owned();
        if !e.has_table("account_takeovers") {
            return Ok((title, parts::absent("Nobody has looked for takeovers yet.")));
        }
        let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
        let all = q.contains_key("all");
        let least = if all { 0.0 } else { LIKELY };
        let sql = format!(
            "SELECT * FROM account_takeovers WHERE p_takeover >= {least} AND {} ORDER BY p_takeover DESC, start LIMIT {LISTED_MAX}",
            inside("start", asked.period)
        );
        let rows = e.rows(&sql).await?;
        let body = html! {
            div.head { h1 { "Takeovers" } span.sub { (rows.len()) " accounts" } }
            (parts::period_picker("/takeovers", q, &asked))
            div.picker { span.group role="group" aria-label="Which" {
                a href=(parts::address("/takeovers", q, &[("all", "")])) aria-current=[(!all).then_some("true")] { "more likely than not" }
                a href=(parts::address("/takeovers", q, &[("all", "1")])) aria-current=[all.then_some("true")] { "all that were looked at" }
            } }
            (no_sign_ins(e))
            section.box {
                @if rows.is_empty() { p { "None is known in this period." } p.note { (parts::unseen(e, "logins", asked.period)) } }
                @else { div.scroll { table.sortable {
                    thead { tr { th { "Takeover" } th { "Probability" } th { "Since" } th { "Cause" } th { "Campaign" } th { "Noticed" } th { "Member called" } th { "Recovered" } th { "Maturity" } } }
                    tbody { @for r in &rows { tr {
                        td { a href=(format!("/takeovers/{}", encoded(&text(r, "takeover_id")))) { (text(r, "takeover_id")) } }
                        td data-sort=(text(r, "p_takeover")) { (parts::share_bar(number(r, "p_takeover"), number(r, "p_low"), number(r, "p_high"), None)) }
                        td { (minute(r, "start")) } td { (text(r, "driver").replace('_', " ")) }
                        td { @let c = text(r, "campaign_id"); @if !c.is_empty() { a href=(format!("/campaigns/{}", encoded(&c))) { (c) } } }
                        td { (minute(r, "detected_at")) } td { (minute(r, "contact_at")) } td { (minute(r, "recovered_at")) } td { (text(r, "maturity")) }
                    } } }
                } } }
            }
        };
        Ok((title, body))
    })
    .await
}

pub(crate) async fn takeover(look: Look, Path(id): Path<String>) -> Answer {
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let story = if e.has_table("account_takeovers") { takeover_story(e, &id).await? } else { None };
        let Some(t) = story else { return Err(Problem::missing(format!("no takeover is called `{id}`"))) };
        Ok((id.clone(), takeover_body(&t)))
    })
    .await
}

fn takeover_body(t: &Row) -> Markup {
    let when = |k: &str, none: &str| Some(minute(t, k)).filter(|m| !m.is_empty()).unwrap_or(none.to_owned());
    let votes: Vec<Value> = serde_json::from_str(&text(t, "votes")).unwrap_or_default();
    let votes: Vec<&Row> = votes.iter().filter_map(Value::as_object).collect();
    let campaign = text(t, "campaign_id");
    html! {
        p.crumbs { a href="/takeovers" { "Takeovers" } " / " (text(t, "takeover_id")) }
        div.head { h1 { "Account " code { (text(t, "account")) } } span.sub { (text(t, "maturity")) } }
        p.lead { "Taken with " (said(t, "p_takeover", "share")) " probability [" (said(t, "p_low", "share")) ", " (said(t, "p_high", "share")) "], from " (minute(t, "start")) " to " (minute(t, "end")) "." }
        div.three {
            section.box { h2 { "What is known" } dl.facts {
                dt { "Noticed" } dd { (when("detected_at", "not before now")) }
                dt { "Member called" } dd { (when("contact_at", "no")) }
                dt { "Recovered" } dd { (when("recovered_at", "no")) }
                dt { "Episodes" } dd { (said(t, "episodes", "")) }
                @if !campaign.is_empty() { dt { "Campaign" } dd { a href=(format!("/campaigns/{}", encoded(&campaign))) { (campaign) } } }
            } }
            section.box { h2 { "How they got in" }
                @for d in list(t, "drivers") { p { (parts::part_bar(number(d, "share").unwrap_or(0.0))) " " (said(d, "share", "share")) " " (text(d, "driver").replace('_', " ")) @let v = text(d, "vendor"); @if !v.is_empty() { " (" (v) ")" } br; span.small { "to close it: " (text(d, "cure")) } } }
                @if list(t, "drivers").is_empty() { p.note { "Nothing tells." } }
            }
            section.box { h2 { "What the defences did" }
                @let did = list(t, "defences");
                @if did.is_empty() { p.note { "Unknown: the raw sign-ins of that time are gone, or there were none." } }
                @for d in did { p { (text(d, "defence")) " " (text(d, "rule")) " " (text(d, "action")) ": " (text(d, "outcome").replace('_', " ")) ", " (said(d, "attempts", "attempts")) } }
            }
        }
        section.box { h2 { "Votes" } div.scroll { table { thead { tr { th { "Function" } th { "Says" } th { "Because" } } }
            tbody { @for v in votes { tr { td { code { (text(v, "function")) } } td { span.tag.(if text(v, "vote") == "takeover" { "worse" } else { "ok" }) { (text(v, "vote")) } } td { (text(v, "evidence")) } } } } } } }
        section.box { h2 { "Timeline" } ol.steps { @for x in list(t, "timeline") { li { time { (minute(x, "time")) } span { (text(x, "what")) } } } } }
        p.note { "Source: " (text(t, "label_source")) }
    }
}

pub(crate) async fn campaigns(look: Look) -> Answer {
    let (app, q) = (&look.app, &look.q);
    let now_us = app.site.now_us();
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let title = "Campaigns".to_owned();
        if !e.has_table("login_campaigns") {
            return Ok((title, parts::absent("Nobody has looked for campaigns yet.")));
        }
        let asked = asked(q.get("period").map(String::as_str), e.sealed_span("requests"), now_us)?;
        let sql = format!("SELECT * FROM login_campaigns WHERE {} ORDER BY attempts DESC, campaign_id LIMIT {LISTED_MAX}", inside("start", asked.period));
        let rows = e.rows(&sql).await?;
        let body = html! {
            div.head { h1 { "Campaigns" } span.sub { "attempts to sign in with stolen or guessed passwords" } }
            (parts::period_picker("/campaigns", q, &asked))
            (no_sign_ins(e))
            section.box {
                @if rows.is_empty() { p { "None is known in this period." } p.note { (parts::unseen(e, "logins", asked.period)) } }
                @else { div.scroll { table.sortable {
                    thead { tr { th { "Campaign" } th { "Kind" } th { "From" } th { "To" } th.n { "Attempts" } th.n { "Names" } th.n { "Machines" } th.n { "Accounts reached" } th.n { "Stopped" } th { "Sources" } th { "State" } } }
                    tbody { @for r in &rows { tr {
                        td { a href=(format!("/campaigns/{}", encoded(&text(r, "campaign_id")))) { (text(r, "campaign_id")) } }
                        td { (text(r, "kind").replace('_', " ")) } td { (minute(r, "start")) } td { (minute(r, "end")) }
                        @for k in ["attempts", "names_tried", "sources", "accounts_reached", "stopped"] { td.n data-sort=(text(r, k)) { (said(r, k, "")) } }
                        td { (text(r, "source_tier").replace('_', " ")) } td { (text(r, "status")) }
                    } } }
                } } }
            }
        };
        Ok((title, body))
    })
    .await
}

pub(crate) async fn campaign(look: Look, Path(id): Path<String>) -> Answer {
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let story = if e.has_table("login_campaigns") { campaign_story(e, &id).await? } else { None };
        let Some(c) = story else { return Err(Problem::missing(format!("no campaign is called `{id}`"))) };
        Ok((id.clone(), campaign_body(&c)))
    })
    .await
}

fn campaign_body(c: &Row) -> Markup {
    let days = list(c, "days");
    let of = |k: &'static str| days.iter().map(|d| number(d, k)).collect::<Vec<_>>();
    let plot = Plot {
        title: "Attempts a day".to_owned(),
        unit: "attempts".to_owned(),
        times: days.iter().map(|d| parse_time(&text(d, "day")).unwrap_or(0)).collect(),
        lines: vec![
            Line { name: "attempts".to_owned(), class: "line", values: of("attempts") },
            Line { name: "got in".to_owned(), class: "missed", values: of("successes") },
        ],
        size: (1080, 200),
        ..Plot::default()
    };
    let reasons: Vec<String> = c
        .get("reasons")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(why, n)| format!("{why} ({n})"))
        .collect();
    html! {
        p.crumbs { a href="/campaigns" { "Campaigns" } " / " (text(c, "campaign_id")) }
        div.head { h1 { (text(c, "kind").replace('_', " ")) } span.sub { (text(c, "campaign_id")) ", " (text(c, "status")) ", " (text(c, "maturity")) } }
        p.lead { (said(c, "attempts", "attempts")) " on " (said(c, "names_tried", "names")) " from " (said(c, "sources", "machines")) "; " (said(c, "accounts_reached", "accounts")) " reached, " (said(c, "stopped", "attempts")) " stopped." }
        @if !plot.is_empty() { section.box { h2 { "Attempts a day" } (parts::chart(&plot, "")) } }
        div.three {
            section.box { h2 { "Size and success" } dl.facts {
                dt { "When" } dd { (minute(c, "start")) " to " (minute(c, "end")) }
                dt { "Passwords" } dd { (said(c, "passwords", "")) }
                dt { "Got in" } dd { (said(c, "success_share", "share")) " of what was looked at" }
                dt { "Unknown names" } dd { (said(c, "unknown_share", "share")) }
                dt { "Leaked passwords" } dd { (said(c, "breached_share", "share")) }
                dt { "Weak passwords" } dd { (said(c, "weak_share", "share")) }
                dt { "Pace" } dd { "at most " (said(c, "peak_per_minute", "")) " a minute, median pause " (said(c, "gap_median_s", "seconds")) }
            } }
            section.box { h2 { "Where from" } dl.facts {
                dt { "Prefixes" } dd { (said(c, "prefixes", "")) } dt { "Networks" } dd { (said(c, "asns", "")) } dt { "Countries" } dd { (said(c, "countries", "")) }
                dt { "Tier" } dd { (text(c, "source_tier").replace('_', " ")) }
                dt { "Most from" } dd { @for x in list(c, "top_countries") { (text(x, "country")) " (" (said(x, "attempts", "")) ") " } }
            } }
            section.box { h2 { "Why these belong together" }
                p { (reasons.join(", ")) }
                @for t in list(c, "tools") { p.small { (said(t, "attempts", "attempts")) ": " code { (text(t, "ja4")) } " " (text(t, "user_agent")) } }
            }
        }
        div.columns {
            section.box { h2 { "What the actor changed" }
                @if list(c, "changes").is_empty() { p.note { "Nothing." } }
                ul.plain { @for x in list(c, "changes") { li { (text(x, "day")) ": " (text(x, "what")) " from " (said(x, "from", "")) " to " (said(x, "to", "")) } } }
            }
            section.box { h2 { "Accounts taken" }
                @if list(c, "takeovers").is_empty() { p.note { "None more likely than not." } }
                ul.plain { @for t in list(c, "takeovers") { li { a href=(format!("/takeovers/{}", encoded(&text(t, "takeover_id")))) { (text(t, "takeover_id")) } " (" (said(t, "p_takeover", "share")) ")" } } }
            }
        }
    }
}

pub(crate) async fn labels(look: Look) -> Answer {
    cached(&look, |s| async move {
        let e = &s.evaluator;
        let title = "Labels".to_owned();
        if !e.has_table("labelling_functions") {
            return Ok((title, parts::absent("No labelling function ever voted.")));
        }
        let sql = "SELECT * FROM labelling_functions WHERE day = (SELECT max(day) FROM labelling_functions) ORDER BY vote DESC, weight_bits DESC, function";
        let rows = e.rows(sql).await?;
        let share = |r: &Row, k: &str| number(r, k).map_or("unknown".to_owned(), |v| amount(v, "share"));
        let body = html! {
            div.head { h1 { "Labelling functions" } span.sub { "what experts know of takeovers, and how far each piece is believed" } }
            p.note { "Fired counts the last four weeks. Added is the number of takeovers of the last week that only this function showed. How much each is believed is learned without ground truth." }
            section.box { div.scroll { table.sortable {
                thead { tr { th { "Function" } th { "Votes" } th.n { "Fired" } th.n { "With others" } th.n { "Against others" } th.n { "Of takeovers" } th.n { "Of the rest" } th.n { "Right" } th.n { "Added" } th { "Learned with" } } }
                tbody { @for r in &rows { tr {
                    td { code { (text(r, "function")) } } td { span.tag.(if text(r, "vote") == "takeover" { "worse" } else { "ok" }) { (text(r, "vote")) } }
                    @for k in ["fired", "overlaps", "conflicts"] { td.n data-sort=(text(r, k)) { (said(r, k, "")) } }
                    td.n { (share(r, "takeover_rate")) } td.n { (share(r, "benign_rate")) } td.n { (share(r, "precision")) }
                    td.n { (said(r, "added_7d", "")) } td { (text(r, "together_with")) }
                } } }
            } } }
        };
        Ok((title, body))
    })
    .await
}
