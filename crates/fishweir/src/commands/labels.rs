//! `fishweir labels` and `fishweir review`

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use fishweir_labels::{Judgement, reviewed, sampling_chances};
use fishweir_metrics::Evaluator;
use serde_json::{Map, Value, json};

use crate::cli::{Format, LabelArgs, ReviewArgs, ReviewCommand};
use crate::commands::ingest::ingest;
use crate::commands::report::evaluator;
use crate::commands::takeovers::{between, minute, number, percent, text};
use crate::output::{print_json, print_rows, say};
use crate::project::Project;

pub(crate) async fn run(project: &Project, args: &LabelArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    if !evaluator.has_table("labelling_functions") {
        bail!("no labelling function ever voted\nhint: `fishweir run` lets them");
    }
    let sql = "SELECT * FROM labelling_functions WHERE day = (SELECT max(day) FROM labelling_functions) ORDER BY vote DESC, weight_bits DESC, function";
    let rows = evaluator.rows(sql).await?;
    if args.format != Format::Text {
        print_rows(&rows, args.format)?;
        return Ok(0);
    }
    say(&format!(
        "{:32} {:8} {:>7} {:>8} {:>8} {:>11} {:>11} {:>10} {:>6}  learned together with",
        "function", "vote", "fired", "overlap", "conflict", "of takeovers", "of the rest", "right", "added"
    ))?;
    for r in &rows {
        let whole = |k: &str| number(r, k).map_or("?".to_owned(), |v| format!("{v:.0}"));
        let share = |k: &str| number(r, k).map_or("unknown".to_owned(), |v| format!("{:.2} %", v * 100.0));
        say(&format!(
            "{:32} {:8} {:>7} {:>8} {:>8} {:>11} {:>11} {:>10} {:>6}  {}",
            text(r, "function"),
            text(r, "vote"),
            whole("fired"),
            whole("overlaps"),
            whole("conflicts"),
            share("takeover_rate"),
            share("benign_rate"),
            percent(r, "precision"),
            whole("added_7d"),
            text(r, "together_with"),
        ))?;
    }
    Ok(0)
}

pub(crate) async fn review(project: &Project, command: &ReviewCommand, quiet: bool) -> Result<u8> {
    match command {
        ReviewCommand::Propose(args) => propose(project, args).await,
        ReviewCommand::Judge { episode, verdict, reviewer, reason } => {
            let line = json!({
                "time": chrono::DateTime::from_timestamp_micros(project.now_us).unwrap_or_default().to_rfc3339(),
                "subject_kind": "episode",
                "subject": episode,
                "verdict": verdict,
                "reviewer": reviewer,
                "reason": reason,
            });
            judge(project, &line.to_string(), quiet).await
        }
        ReviewCommand::Estimate(args) => estimate(project, args).await,
    }
}

async fn judge(project: &Project, line: &str, quiet: bool) -> Result<u8> {
    let folder = project.root.join("verdicts");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join(format!("{}.ndjson", &blake3::hash(line.as_bytes()).to_hex()[..16]));
    std::fs::write(&path, format!("{line}\n")).with_context(|| path.display().to_string())?;
    let summary = ingest(project, "fishweir", &[path.display().to_string()], false, quiet).await?;
    if summary.failed_files > 0 || summary.rejected > 0 {
        bail!("the verdict was not accepted: {:?}", summary.reasons);
    }
    say("judged; `fishweir run` takes it into account")?;
    Ok(0)
}

struct Proposal {
    row: Map<String, Value>,
    p: f64,
    chance: f64,
    chosen: bool,
}

// The choice follows from seed and episode alone, so that the same call proposes the same episodes and
// an estimate knows with which chance each was chosen.
async fn proposals(evaluator: &Evaluator, args: &ReviewArgs) -> Result<Vec<Proposal>> {
    // Several programs of one use are one episode to judge.
    let sql = format!(
        "SELECT e.episode_id, min(e.account_id) AS account, min(e.first_at) AS first_at, min(e.country) AS country, min(l.p_takeover) AS p_takeover, min(l.votes) AS votes FROM account_episode_labels l JOIN account_episodes e ON e.day = l.day AND e.account = l.account AND e.device = l.device AND e.asn = l.asn WHERE {} GROUP BY e.episode_id ORDER BY e.episode_id",
        between("l.day", args.from.as_deref(), args.to.as_deref())?
    );
    let rows = evaluator.rows(&sql).await?;
    let p: Vec<f64> = rows.iter().map(|r| number(r, "p_takeover").unwrap_or(0.0)).collect();
    let chances = sampling_chances(&p, args.sample);
    let all = rows.into_iter().zip(p).zip(chances).map(|((row, p), chance)| {
        let key = format!("{}/{}", args.seed, text(&row, "episode_id"));
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(key.as_bytes()).as_bytes()[..8]);
        #[expect(clippy::cast_precision_loss, reason = "a number from 0 to 1")]
        let draw = (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64;
        Proposal { chosen: draw < chance, row, p, chance }
    });
    Ok(all.collect())
}

async fn propose(project: &Project, args: &ReviewArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    if !evaluator.has_table("account_episode_labels") {
        bail!("nothing was labelled yet\nhint: `fishweir run` does that");
    }
    let mut all = proposals(&evaluator, args).await?;
    all.retain(|p| p.chosen);
    all.sort_by(|a, b| b.p.total_cmp(&a.p));
    let rows: Vec<Map<String, Value>> = all
        .into_iter()
        .map(|mut p| {
            p.row.insert("chance".to_owned(), p.chance.into());
            p.row
        })
        .collect();
    if args.format != Format::Text {
        print_rows(&rows, args.format)?;
        return Ok(0);
    }
    for r in &rows {
        let mut line = String::new();
        let _ = write!(
            line,
            "{:26} {:>5}  {}  {}  account {}",
            text(r, "episode_id"),
            percent(r, "p_takeover"),
            minute(r, "first_at"),
            text(r, "country"),
            text(r, "account")
        );
        say(&line)?;
        say(&format!("{:26} votes: {}", "", text(r, "votes")))?;
    }
    eprintln!(
        "{} episodes to judge; `fishweir review judge EPISODE takeover|benign|unsure --reviewer NAME`, then `fishweir review estimate` with the same --sample, --seed, --from and --to",
        rows.len()
    );
    Ok(0)
}

async fn estimate(project: &Project, args: &ReviewArgs) -> Result<u8> {
    let evaluator = evaluator(project).await?;
    let all = proposals(&evaluator, args).await?;
    let sql = "SELECT subject, verdict, reviewer FROM verdicts WHERE subject_kind = 'episode' ORDER BY time";
    let mut said: BTreeMap<String, f64> = BTreeMap::new();
    for r in evaluator.rows(sql).await? {
        match text(&r, "verdict").as_str() {
            "takeover" | "attack" => said.insert(text(&r, "subject"), 1.0),
            "benign" | "not_takeover" => said.insert(text(&r, "subject"), 0.0),
            _ => None,
        };
    }
    let chosen: Vec<&Proposal> = all.iter().filter(|p| p.chosen).collect();
    let judged: Vec<(&Proposal, f64)> =
        chosen.iter().filter_map(|p| Some((*p, *said.get(&text(&p.row, "episode_id"))?))).collect();
    if judged.len() < chosen.len() {
        bail!(
            "{} of {} proposed episodes are judged; the weights hold only for all of them\nhint: `fishweir review propose` with the same options lists them",
            judged.len(),
            chosen.len()
        );
    }
    let p: Vec<f64> = all.iter().map(|x| x.p).collect();
    let judgements: Vec<Judgement> =
        judged.iter().map(|(x, truth)| Judgement { p: x.p, chance: x.chance, truth: *truth }).collect();
    let r = reviewed(&p, &judgements);
    let shown = |e: Option<fishweir_labels::Estimate>| match e {
        Some(e) => json!({"value": e.value, "low": e.low, "high": e.high}),
        None => Value::Null,
    };
    let out = json!({
        "episodes": p.len(), "judged": r.judged, "called": p.iter().filter(|p| **p >= 0.5).count(),
        "taken_episodes": shown(Some(r.takeovers)), "precision": shown(r.precision), "recall": shown(r.recall),
        "by_the_model_alone": p.iter().sum::<f64>(),
    });
    if args.format == Format::Json {
        print_json(&out)?;
        return Ok(0);
    }
    say(&format!("{} episodes, {} judged", p.len(), r.judged))?;
    let line = |name: &str, e: Option<fishweir_labels::Estimate>, unit: f64| match e {
        Some(e) => {
            say(&format!("{name:16} {:.2} [{:.2}, {:.2}]", e.value * unit, e.low * unit, e.high * unit))
        }
        None => say(&format!("{name:16} unknown: none of these was judged")),
    };
    line("taken episodes", Some(r.takeovers), 1.0)?;
    line("precision %", r.precision, 100.0)?;
    line("recall %", r.recall, 100.0)?;
    Ok(0)
}
