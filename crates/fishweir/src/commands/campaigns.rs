//! `fishweir campaigns`

use anyhow::{Result, bail};
use fishweir_metrics::Evaluator;
use fishweir_report::campaign_story;
use serde_json::{Map, Value};

use crate::cli::{CampaignArgs, Format};
use crate::commands::report::evaluator;
use crate::commands::takeovers::{between, list, minute, number, percent, text};
use crate::output::{print_json, print_rows, say};
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &CampaignArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    if !evaluator.has_table("login_campaigns") {
        bail!("no campaign was ever looked for\nhint: `fishweir run` does that");
    }
    if evaluator.sealed_span("logins").is_none() {
        bail!(
            "no sign-in is sealed, so whether there were campaigns is unknown\nhint: `fishweir ingest` the stream `logins`, then `fishweir run`"
        );
    }
    if let Some(id) = &args.id {
        return one(&evaluator, id, args.format).await;
    }
    let sql = format!(
        "SELECT * FROM login_campaigns WHERE {} ORDER BY start, campaign_id",
        between("start", args.from.as_deref(), args.to.as_deref())?
    );
    let rows = evaluator.rows(&sql).await?;
    if args.format != Format::Text {
        print_rows(&rows, args.format)?;
        return Ok(0);
    }
    if rows.is_empty() {
        eprintln!("no campaign");
    }
    for r in &rows {
        say(&format!(
            "{:42} {:11} {} to {}  {} attempts on {} names from {} machines, {} accounts reached, {}",
            text(r, "campaign_id"),
            text(r, "kind"),
            minute(r, "start"),
            minute(r, "end"),
            whole(r, "attempts"),
            whole(r, "names_tried"),
            whole(r, "sources"),
            whole(r, "accounts_reached"),
            text(r, "status"),
        ))?;
    }
    Ok(0)
}

fn whole(r: &Map<String, Value>, key: &str) -> String {
    number(r, key).map_or("unknown".to_owned(), |v| format!("{v:.0}"))
}

async fn one(evaluator: &Evaluator, id: &str, format: Format) -> Result<u8> {
    let Some(campaign) = campaign_story(evaluator, id).await? else {
        bail!("no campaign is called `{id}`\nhint: `fishweir campaigns` lists them");
    };
    if format == Format::Json {
        print_json(&campaign)?;
        return Ok(0);
    }
    page(&campaign).iter().try_for_each(|l| say(l))?;
    Ok(0)
}

fn page(c: &Map<String, Value>) -> Vec<String> {
    let mut out = vec![
        format!(
            "{}   {}   {}, {}",
            text(c, "campaign_id"),
            text(c, "kind"),
            text(c, "status"),
            text(c, "maturity")
        ),
        format!("when      {} to {}", minute(c, "start"), minute(c, "end")),
        format!(
            "how big   {} attempts on {} names with {} passwords; {} stopped",
            whole(c, "attempts"),
            whole(c, "names_tried"),
            whole(c, "passwords"),
            whole(c, "stopped")
        ),
        format!(
            "success   {} of what was looked at, {} accounts reached; names unknown {}, passwords leaked {}, weak {}",
            percent(c, "success_share"),
            whole(c, "accounts_reached"),
            percent(c, "unknown_share"),
            percent(c, "breached_share"),
            percent(c, "weak_share")
        ),
        format!(
            "from      {} machines in {} prefixes, {} networks, {} countries: {}",
            whole(c, "sources"),
            whole(c, "prefixes"),
            whole(c, "asns"),
            whole(c, "countries"),
            text(c, "source_tier")
        ),
        format!(
            "pace      at most {} a minute, median pause {:.0} s, spread of pauses {:.1} (0 a clock, 1 chance)",
            whole(c, "peak_per_minute"),
            number(c, "gap_median_s").unwrap_or(f64::NAN),
            number(c, "gap_spread").unwrap_or(f64::NAN)
        ),
    ];
    out.extend(why(c));
    out.push("\nday          attempts  successes  machines  networks".to_owned());
    for d in list(c, "days") {
        out.push(format!(
            "{:10} {:>10} {:>10} {:>9} {:>9}",
            text(d, "day").chars().take(10).collect::<String>(),
            whole(d, "attempts"),
            whole(d, "successes"),
            whole(d, "machines"),
            whole(d, "networks")
        ));
    }
    out
}

// With what, why the attempts belong together, when the actor changed, whom it got.
fn why(c: &Map<String, Value>) -> Vec<String> {
    let mut out = Vec::new();
    for t in list(c, "tools") {
        out.push(format!(
            "program   {} attempts: {} {}",
            whole(t, "attempts"),
            text(t, "ja4"),
            text(t, "user_agent")
        ));
    }
    if let Some(reasons) = c.get("reasons").and_then(Value::as_object) {
        let all: Vec<String> = reasons.iter().map(|(why, n)| format!("{why} ({n})")).collect();
        out.push(format!("joined    {}", all.join(", ")));
    }
    for x in list(c, "changes") {
        out.push(format!(
            "changed   {}: {} from {:.1} to {:.1}",
            text(x, "day"),
            text(x, "what"),
            number(x, "from").unwrap_or(0.0),
            number(x, "to").unwrap_or(0.0)
        ));
    }
    for t in list(c, "takeovers") {
        out.push(format!("taken     {} ({})", text(t, "takeover_id"), percent(t, "p_takeover")));
    }
    out
}
