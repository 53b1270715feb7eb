//! What `fishweir score` needs of takeovers and login campaigns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use fishweir_events::SubjectKind;
use fishweir_metrics::{DAY_US, Evaluator, Interval, time_literal};
use fishweir_sim::CampaignTruth;
use serde_json::{Map, Value};

use crate::project::Project;
use crate::score::takeovers::{AccountTruth, Episode, Found, Labelled, TwinTruth, Week};
use crate::score::{Score, campaigns, takeovers};

type Row = Map<String, Value>;

fn text(r: &Row, key: &str) -> String {
    r.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(r: &Row, key: &str) -> f64 {
    r.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

fn whole(r: &Row, key: &str) -> Option<i64> {
    r.get(key).and_then(Value::as_i64)
}

/// Returns the score of takeovers; accounts of the truth are hidden with the project's key first.
pub(crate) async fn of_takeovers(
    project: &Project,
    evaluator: &Evaluator,
    mut truth: Vec<AccountTruth>,
    mut twins: Vec<TwinTruth>,
    span: Interval,
    folder: &Path,
) -> Result<Score> {
    if !evaluator.has_table("account_takeovers") {
        return Ok(Score::unknown("table `account_takeovers` does not exist"));
    }
    let pseudonyms = project.pseudonyms()?;
    let hide = |account: &mut String| {
        let mut hidden = String::new();
        pseudonyms.write(SubjectKind::Account, account, &mut hidden);
        *account = hidden;
    };
    truth.iter_mut().for_each(|t| hide(&mut t.account));
    twins.iter_mut().for_each(|t| hide(&mut t.account));
    let functions = evaluator
        .rows("SELECT function, min(vote) AS vote FROM labelling_functions GROUP BY 1")
        .await?
        .iter()
        .map(|r| (text(r, "function"), text(r, "vote") == "takeover"))
        .collect();
    let logins = evaluator
        .rows("SELECT CAST(sum(successes) AS DOUBLE) AS n FROM account_logins WHERE account IS NOT NULL")
        .await?;
    let accounts =
        evaluator.rows("SELECT CAST(count(DISTINCT account) AS DOUBLE) AS n FROM account_days").await?;
    let labelled = Labelled {
        found: found(evaluator).await?,
        episodes: episodes(evaluator, &stolen_uses(project, evaluator, folder).await?).await?,
        weeks: weeks(evaluator, span).await?,
        functions,
        sign_ins: logins.first().map_or(0.0, |r| number(r, "n")),
        accounts: accounts.first().map_or(0.0, |r| number(r, "n")),
    };
    Ok(takeovers::score(&labelled, &truth, &twins, span.to_us))
}

async fn found(evaluator: &Evaluator) -> Result<Vec<Found>> {
    let mut drivers: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for r in evaluator.rows("SELECT takeover_id, driver, share FROM takeover_drivers").await? {
        drivers.entry(text(&r, "takeover_id")).or_default().insert(text(&r, "driver"), number(&r, "share"));
    }
    let sql = "SELECT takeover_id, account, p_takeover, CAST(start AS BIGINT) AS from_us, CAST(\"end\" AS BIGINT) AS to_us, CAST(detected_at AS BIGINT) AS detected_us FROM account_takeovers";
    let rows = evaluator.rows(sql).await?;
    let all = rows.iter().map(|r| Found {
        account: text(r, "account"),
        start_us: whole(r, "from_us").unwrap_or(0),
        end_us: whole(r, "to_us").unwrap_or(0),
        p: number(r, "p_takeover"),
        drivers: drivers.remove(&text(r, "takeover_id")).unwrap_or_default(),
        detected_us: whole(r, "detected_us"),
    });
    Ok(all.collect())
}

// Day and account of every new use by a thief, as far as the raw events still tell. A thief's use from where the
// account is known by then is in no episode: what a member did anew on the same day is not the thief's.
type Uses = BTreeSet<(i64, i64)>;

async fn stolen_uses(project: &Project, evaluator: &Evaluator, folder: &Path) -> Result<Option<Uses>> {
    let events = folder.join("events");
    if !evaluator.has_table("requests") || !evaluator.has_table("account_episodes") || !events.is_dir() {
        return Ok(None);
    }
    let session = project.catalog()?.session().await?;
    session.sql("SET datafusion.execution.listing_table_ignore_subdirectory = false").await?;
    let path = format!("{}/", events.display());
    session
        .register_parquet("true_events", &path, datafusion::prelude::ParquetReadOptions::default())
        .await?;
    // What the truth calls a campaign's use of an account; attempts that did not get in are none.
    let sql = "WITH mine AS (
          SELECT event_id AS id FROM true_events WHERE campaign IS NOT NULL AND stage IN ('checker', 'co_use', 'purchase', 'login_try')
        ), hits AS (
          SELECT event_id, time, account, device, ip_prefix, asn, ja4 FROM requests WHERE account IS NOT NULL
          UNION ALL
          SELECT event_id, time, account, device, ip_prefix, asn, ja4 FROM logins WHERE account IS NOT NULL AND outcome IN ('success', 'challenge_passed')
        ), uses AS (
          SELECT DISTINCT CAST(floor(CAST(h.time AS BIGINT) / 86400000000) AS BIGINT) AS d, hash64(h.account) AS a,
            hash64(coalesce(h.device, h.ip_prefix, '')) AS v, coalesce(h.asn, -1) AS n, coalesce(h.ja4, '') AS j
          FROM mine m JOIN hits h ON h.event_id = m.id
        )
        SELECT DISTINCT u.d, u.a FROM uses u
        JOIN account_episodes e ON e.account = u.a AND e.device = u.v AND e.asn = u.n AND (e.ja4 = u.j OR NOT e.new_program) AND CAST(floor(CAST(e.day AS BIGINT) / 86400000000) AS BIGINT) = u.d";
    let mut out = Uses::new();
    for batch in session.sql(sql).await?.collect().await? {
        let column = |c: usize| batch.column(c).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            out.insert((column(0).value(r), column(1).value(r)));
        }
    }
    Ok(Some(out))
}

async fn episodes(evaluator: &Evaluator, stolen: &Option<Uses>) -> Result<Vec<Episode>> {
    // Several programs of one use are one episode of the label.
    let sql = "SELECT e.account_id, e.account, e.device, e.asn, CAST(e.day AS BIGINT) AS day_us, CAST(e.first_at AS BIGINT) AS from_us, CAST(e.last_at AS BIGINT) AS to_us, l.p_takeover, l.p_at_once, l.sign_ins, l.votes FROM account_episode_labels l JOIN (
          SELECT day, account, device, asn, min(account_id) AS account_id, min(first_at) AS first_at, max(last_at) AS last_at FROM account_episodes GROUP BY 1, 2, 3, 4
        ) e ON e.day = l.day AND e.account = l.account AND e.device = l.device AND e.asn = l.asn";
    let rows = evaluator.rows(sql).await?;
    let all = rows.iter().map(|r| Episode {
        account: text(r, "account_id"),
        first_us: whole(r, "from_us").unwrap_or(0),
        last_us: whole(r, "to_us").unwrap_or(0),
        p: number(r, "p_takeover"),
        p_at_once: number(r, "p_at_once"),
        sign_ins: number(r, "sign_ins"),
        stolen: stolen
            .as_ref()
            .and_then(|uses| Some(uses.contains(&(whole(r, "day_us")? / DAY_US, whole(r, "account")?)))),
        votes: text(r, "votes").split_whitespace().map(str::to_owned).collect(),
    });
    Ok(all.collect())
}

async fn weeks(evaluator: &Evaluator, span: Interval) -> Result<Vec<Week>> {
    let mut out = Vec::new();
    let mut from_us = span.from_us;
    while from_us < span.to_us {
        let to_us = from_us + 7 * DAY_US;
        let sql = format!(
            "SELECT sum(takeovers) AS v, sum(takeovers_low) AS l, sum(takeovers_high) AS h, sum(takeovers_variance) AS s, count(*) AS n, count(takeovers) AS known FROM takeover_days WHERE day >= {} AND day < {}",
            time_literal(from_us),
            time_literal(to_us)
        );
        // A week of which a day is unknown says nothing.
        for r in evaluator.rows(&sql).await?.into_iter().filter(|r| r.get("n") == r.get("known")) {
            let value = number(&r, "v");
            let chance = 1.96 * number(&r, "s").sqrt();
            let end = |e: f64| (value - e).hypot(chance);
            out.push(Week {
                from_us,
                to_us,
                value,
                low: (value - end(number(&r, "l"))).max(0.0),
                high: value + end(number(&r, "h")),
            });
        }
        from_us = to_us;
    }
    Ok(out)
}

/// Returns the score of login campaigns; attempts are told apart by the raw events, so those must live.
pub(crate) async fn of_campaigns(
    project: &Project,
    evaluator: &Evaluator,
    truth: &[CampaignTruth],
    folder: &Path,
) -> Result<Score> {
    let events = folder.join("events");
    if !evaluator.has_table("login_campaign_attempts") || !evaluator.has_table("logins") || !events.is_dir() {
        return Ok(Score::unknown("no sign-in was looked at, or the truth holds no event"));
    }
    let session = project.catalog()?.session().await?;
    session.sql("SET datafusion.execution.listing_table_ignore_subdirectory = false").await?;
    let path = format!("{}/", events.display());
    session
        .register_parquet("true_events", &path, datafusion::prelude::ParquetReadOptions::default())
        .await?;
    let sql = "SELECT t.campaign, t.stage, a.campaign_id, count(*) AS n
        FROM (
          SELECT event_id, hash64(identifier) AS i, hash64(coalesce(device, ip_prefix, '')) AS d, coalesce(asn, -1) AS s,
            date_bin(INTERVAL '1 hour', time) AS h FROM logins
        ) l
        LEFT JOIN true_events t ON t.event_id = l.event_id
        LEFT JOIN (SELECT DISTINCT hour, identifier, device, asn, campaign_id FROM login_campaign_attempts) a
          ON a.hour = l.h AND a.identifier = l.i AND a.device = l.d AND a.asn = l.s
        GROUP BY 1, 2, 3";
    let mut cells = Vec::new();
    let mut living = BTreeSet::new();
    for batch in session.sql(sql).await?.collect().await? {
        let column = |c: usize| cast(batch.column(c), &DataType::Utf8);
        let (campaign, stage, cluster) = (column(0)?, column(1)?, column(2)?);
        let n = batch.column(3).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            let text = |c: &arrow::array::ArrayRef| {
                use arrow::array::Array as _;
                let c = c.as_string::<i32>();
                c.is_valid(r).then(|| c.value(r).to_owned())
            };
            living.extend(text(&campaign));
            #[expect(clippy::cast_precision_loss, reason = "counts of attempts")]
            let attempts = n.value(r) as f64;
            cells.push(campaigns::Cell {
                campaign: text(&campaign),
                stage: text(&stage).unwrap_or_default(),
                cluster: text(&cluster),
                attempts,
            });
        }
    }
    let score = campaigns::score(&cells, truth);
    Ok(score.with("true_campaigns_with_raw_events", living.len()))
}
