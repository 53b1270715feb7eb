//! Everything that is known of one incident, takeover or campaign, as one object.

use fishweir_metrics::{Costs, Evaluator, PipelineError, cost_total, incident_cost, text_literal};
use serde_json::{Map, Value};

use crate::evidence;

type Row = Map<String, Value>;

fn text(row: &Row, key: &str) -> String {
    match row.get(key) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(crate) fn number(row: &Row, key: &str) -> Option<f64> {
    row.get(key).and_then(Value::as_f64)
}

fn list<'a>(row: &'a Row, key: &str) -> Vec<&'a Row> {
    row.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect()
}

async fn add(evaluator: &Evaluator, to: &mut Row, name: &str, sql: &str) -> Result<(), PipelineError> {
    let rows = evaluator.rows(sql).await?;
    to.insert(name.to_owned(), rows.into_iter().map(Value::Object).collect());
    Ok(())
}

/// Returns an incident: the columns of `dos_incidents`, and `drivers`, `patterns`, `rules`, `members` (who was hit), `minutes`,
/// `similar`, `unusual` (how far from the expected, in words), `evidence_facts` (each value of the evidence with what it means, its unit and its range in other surges), `costs`, `cost_usd` (null when a part is unknown), `cost_usd_at_least`, `next`; `None` when no
/// incident has this name.
///
/// # Errors
/// A query that fails.
pub async fn incident_story(
    evaluator: &Evaluator,
    id: &str,
    costs: &Costs,
) -> Result<Option<Row>, PipelineError> {
    let key = text_literal(id);
    let sql = format!("SELECT * FROM dos_incidents WHERE incident_id = {key}");
    let Some(mut incident) = evaluator.rows(&sql).await?.pop() else { return Ok(None) };
    let of = |table: &str, columns: &str, order: &str| {
        format!("SELECT {columns} FROM {table} WHERE incident_id = {key} ORDER BY {order}")
    };
    let parts = [
        (
            "drivers",
            of("dos_incident_drivers", "rank, rule, excess_requests, coverage, purity, normal_share", "rank"),
        ),
        ("patterns", of("dos_incident_patterns", "pattern, strength, detail", "strength DESC")),
        (
            "rules",
            of(
                "dos_incident_rules",
                "defence, rule, rule_version, action, mode, hits, hits_strange, stopped, stopped_good, good_accounts",
                "hits DESC",
            ),
        ),
        ("minutes", of("dos_incident_minutes", "*", "minute")),
        ("similar", similar(&incident, &key)),
    ];
    for (name, sql) in parts {
        add(evaluator, &mut incident, name, &sql).await?;
    }
    if evaluator.has_table("dos_incident_members") {
        let columns = "dimension, value, members, requests";
        add(
            evaluator,
            &mut incident,
            "members",
            &of("dos_incident_members", columns, "dimension, members DESC, value"),
        )
        .await?;
    }
    let unusual = unusual(evaluator, &incident, &key).await?;
    incident.insert("unusual".to_owned(), unusual.into());
    let facts = evidence::facts(evaluator, &incident).await?;
    incident.insert("evidence_facts".to_owned(), facts.into());
    let parts = incident_cost(&incident, costs);
    let (usd, floor) = cost_total(&parts);
    incident.insert("costs".to_owned(), serde_json::to_value(&parts).unwrap_or_default());
    incident.insert("cost_usd".to_owned(), if floor { Value::Null } else { usd.into() });
    incident.insert("cost_usd_at_least".to_owned(), usd.into());
    incident.insert("next".to_owned(), next_step(&incident).into());
    Ok(Some(incident))
}

// How far its busiest minute lies from the expected, and where its size stands among the other surges.
async fn unusual(evaluator: &Evaluator, incident: &Row, key: &str) -> Result<String, PipelineError> {
    let minutes = list(incident, "minutes");
    let times = |m: &&Row| Some(number(m, "requests")? / number(m, "expected_requests")?.max(1.0));
    let peak = minutes.iter().filter_map(times).reduce(f64::max);
    let peak = peak
        .map_or("unknown how many times the expected".to_owned(), |p| format!("{p:.1} times the expected"));
    let size = number(incident, "excess_requests").unwrap_or(0.0);
    let sql = format!(
        "SELECT count(*) AS n, count(*) FILTER (WHERE excess_requests > {size:?}) AS larger FROM dos_incidents WHERE incident_id <> {key}"
    );
    let others = evaluator.rows(&sql).await?.pop().unwrap_or_default();
    let of = |key: &str| number(&others, key).unwrap_or(0.0);
    let place = match (of("n"), of("larger")) {
        (n, _) if n < 1.0 => "no other surge is stored".to_owned(),
        (n, larger) => format!("{larger:.0} of {n:.0} other surges were larger"),
    };
    Ok(format!("{peak} in its busiest minute; {place}"))
}

// Earlier incidents of the same kind on the same first route, nearest in size.
fn similar(incident: &Row, key: &str) -> String {
    let own = |k: &str| text_literal(&text(incident, k));
    let routes = text(incident, "routes");
    let first = text_literal(&format!(" {} ", routes.split(' ').next().unwrap_or_default()));
    let size = number(incident, "excess_requests").unwrap_or(0.0);
    format!(
        "SELECT incident_id, excess_requests, duration_s, stopped_share FROM dos_incidents WHERE incident_id <> {key} AND kind = {} AND strpos(concat(' ', routes, ' '), {first}) > 0 AND CAST(start AS VARCHAR) < {} ORDER BY abs(excess_requests - {size:.3}), incident_id LIMIT 3",
        own("kind"),
        own("start"),
    )
}

// What an engineer would do with this, from what is known.
fn next_step(i: &Row) -> String {
    if text(i, "kind") != "attack" {
        return "none: no attack by what is known; read the evidence if you doubt it".to_owned();
    }
    let drivers = list(i, "drivers");
    let best = drivers.iter().find(|d| {
        number(d, "coverage").is_some_and(|c| c >= 0.5)
            && number(d, "normal_share").is_some_and(|s| s <= 0.05)
    });
    match (number(i, "stopped_share"), best) {
        (Some(s), _) if s >= 0.9 => "none: the defences held; see whether a rule hit members".to_owned(),
        (_, Some(d)) => format!(
            "try a rule on {} in shadow: it would meet {:.0} % of this and {:.1} % of normal traffic",
            text(d, "rule"), number(d, "coverage").unwrap_or(0.0) * 100.0, number(d, "normal_share").unwrap_or(0.0) * 100.0
        ),
        _ => "no single mark tells this from members: challenge clients that were never seen before on these routes".to_owned(),
    }
}

/// Returns a takeover by its name or its account: the columns of `account_takeovers`, and `drivers`,
/// `timeline`, `defences` (null where the raw sign-ins are not kept); `None` when nothing has this name.
///
/// # Errors
/// A query that fails.
pub async fn takeover_story(evaluator: &Evaluator, id: &str) -> Result<Option<Row>, PipelineError> {
    let key = text_literal(id);
    let sql = format!(
        "SELECT * FROM account_takeovers WHERE takeover_id = {key} OR account = {key} ORDER BY p_takeover DESC LIMIT 1"
    );
    let Some(mut takeover) = evaluator.rows(&sql).await?.pop() else { return Ok(None) };
    let id = text_literal(&text(&takeover, "takeover_id"));
    let drivers = format!(
        "SELECT driver, share, vendor, cure FROM takeover_drivers WHERE takeover_id = {id} AND share >= 0.01 ORDER BY share DESC"
    );
    for (name, sql) in [("drivers", drivers), ("timeline", timeline(evaluator, &takeover))] {
        add(evaluator, &mut takeover, name, &sql).await?;
    }
    let did = defences(evaluator, &takeover).await?;
    takeover.insert("defences".to_owned(), did);
    Ok(Some(takeover))
}

fn around(t: &Row, column: &str) -> String {
    let at = |key: &str| format!("CAST({} AS TIMESTAMP)", text_literal(text(t, key).trim_end_matches('Z')));
    format!(
        "{column} >= {} - INTERVAL '3 days' AND {column} < {} + INTERVAL '31 days'",
        at("start"),
        at("end")
    )
}

// What happened to the account from three days before to a month after, in order.
fn timeline(evaluator: &Evaluator, t: &Row) -> String {
    let account = text_literal(&text(t, "account"));
    let mine = format!("hash64({account})");
    let part = |table: &str, time: &str, what: &str, more: &str| {
        evaluator.has_table(table).then(|| {
            format!(
                "SELECT {time} AS time, {what} AS what FROM {table} WHERE account = {mine} AND {} {more}",
                around(t, time)
            )
        })
    };
    let parts = [
        part(
            "account_logins",
            "first_at",
            "concat(CASE WHEN successes > 0 THEN 'signed in' WHEN challenges_failed > 0 THEN 'failed a challenge' WHEN denied > 0 THEN 'was refused' ELSE 'failed to sign in' END, ' from ', country, ' AS', CAST(asn AS VARCHAR), CASE WHEN breached > 0 THEN ', password stands in a leak' ELSE '' END, CASE WHEN with_mfa > 0 THEN ', second factor' ELSE '' END)",
            "",
        ),
        part(
            "account_change_hours",
            "first_at",
            "concat('changed ', change, ' (', actor, ') from ', country)",
            "",
        ),
        part(
            "contact_hours",
            "first_at",
            "concat('told customer service: ', topic, CASE WHEN flag <> '' THEN concat(', judged ', flag) ELSE '' END)",
            "",
        ),
        part(
            "account_episodes",
            "first_at",
            "concat('used from ', CASE WHEN new_device THEN 'a new device' ELSE 'a known device' END, ' in ', country, ' AS', CAST(asn AS VARCHAR), CASE WHEN new_country THEN ' (new country)' WHEN new_network THEN ' (new network)' WHEN new_program THEN ' (another program)' ELSE '' END, ': ', CAST(requests AS VARCHAR), ' requests, ', CAST(licences AS VARCHAR), ' licences')",
            "",
        ),
    ];
    let all: Vec<String> = parts.into_iter().flatten().collect();
    format!("SELECT time, what FROM ({}) ORDER BY time, what LIMIT 60", all.join(" UNION ALL "))
}

// What rules did to attempts on the account; only the raw rows know, and they live for days.
async fn defences(evaluator: &Evaluator, t: &Row) -> Result<Value, PipelineError> {
    if !evaluator.has_table("logins") {
        return Ok(Value::Null);
    }
    let account = text_literal(&text(t, "account"));
    let sql = format!(
        "SELECT coalesce(defence, '') AS defence, coalesce(rule, 'no rule') AS rule, coalesce(action, '') AS action, outcome, count(*) AS attempts FROM logins WHERE account = {account} AND {} GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4",
        around(t, "time")
    );
    let rows = evaluator.rows(&sql).await?;
    Ok(rows.into_iter().map(Value::Object).collect())
}

/// Returns a campaign: the columns of `login_campaigns` with `tools`, `changes` and `reasons` parsed, and
/// `days`, `top_countries`, `takeovers`; `None` when none has this name.
///
/// # Errors
/// A query that fails.
pub async fn campaign_story(evaluator: &Evaluator, id: &str) -> Result<Option<Row>, PipelineError> {
    let key = text_literal(id);
    let sql = format!("SELECT * FROM login_campaigns WHERE campaign_id = {key}");
    let Some(mut campaign) = evaluator.rows(&sql).await?.pop() else { return Ok(None) };
    for name in ["tools", "changes", "reasons"] {
        let parsed = serde_json::from_str(&text(&campaign, name)).unwrap_or(Value::Null);
        campaign.insert(name.to_owned(), parsed);
    }
    let attempts = "FROM login_campaign_attempts WHERE campaign_id";
    let parts = [
        (
            "days",
            format!(
                "SELECT date_trunc('day', hour) AS day, sum(attempts) AS attempts, sum(successes) AS successes, count(DISTINCT device) AS machines, count(DISTINCT asn) AS networks {attempts} = {key} GROUP BY 1 ORDER BY 1"
            ),
        ),
        (
            "top_countries",
            format!(
                "SELECT country, sum(attempts) AS attempts {attempts} = {key} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
            ),
        ),
        (
            "takeovers",
            format!(
                "SELECT takeover_id, p_takeover, start FROM account_takeovers WHERE campaign_id = {key} AND p_takeover >= 0.5 ORDER BY start"
            ),
        ),
    ];
    for (name, sql) in parts {
        add(evaluator, &mut campaign, name, &sql).await?;
    }
    Ok(Some(campaign))
}
