//! Simulated events, incidents and reports.

use crate::project::{Project, log_lines};

const SCENARIO: &str = r#"
name = "test"
description = "A flood in a small world."

[[campaign]]
name = "flood"
kind = "A1"
day = 1.4
minutes = 25
size = 3.0
sources = "iot"

[[happening]]
kind = "launch"
day = 2.5
minutes = 120
size = 0.3
"#;

fn world(p: &Project, days: &str, accounts: &str) {
    let out = p.path("world");
    let out = out.to_str().unwrap();
    let scenario = p.write("scenario.toml", SCENARIO);
    let size = ["--days", days, "--accounts", accounts, "--start", "2026-10-05", "--seed", "3"];
    let mut args = vec!["simulate", "--scenario", &scenario, "--out", out];
    args.extend(size);
    p.ok(&args);
    for stream in ["requests", "health", "notes"] {
        let s = p.ingest("fishweir", &[&format!("{out}/events/{stream}/*/*.parquet")]);
        assert_eq!(s["rejected"], 0, "{s}");
        assert!(s["accepted"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_simulated_service_gives_incidents_metrics_and_reports() {
    let p = Project::new();
    world(&p, "3", "500");
    p.ok(&["run"]);
    let incidents = p.json(&["incidents", "--all", "--format", "json"]);
    let incidents = incidents.as_array().unwrap();
    let truth = std::fs::read_to_string(p.path("world/truth/campaigns.json")).unwrap();
    let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
    let attack = &truth[0];
    let found = incidents.iter().find(|i| i["routes"].as_str().unwrap().contains("/home"));
    let found = found.unwrap_or_else(|| panic!("{attack} not among {incidents:#?}"));
    assert_eq!(found["kind"], "attack", "{found}");
    let excess = found["excess_requests"].as_f64().unwrap();
    let truly = attack["requests"].as_f64().unwrap();
    assert!((excess / truly - 1.0).abs() < 0.25, "{excess} against {truly}");
    let truth_dir = p.path("world/truth");
    let score = p.json(&["score", "--truth", truth_dir.to_str().unwrap(), "--format", "json"]);
    assert_eq!(score["incidents"]["recall"], 1.0, "{score:#}");
    assert_eq!(score["incidents"]["truth"], 1);
    assert!(score["incidents"]["recall_low"].as_f64().unwrap() < 0.5, "one attack proves little");
    assert!(score["takeovers"]["precision"].is_null() && score["takeovers"]["reason"].is_string());
    let full = p.ok(&["incidents", found["incident_id"].as_str().unwrap()]);
    for part in ["when ", "how big", "ja4 = ", "response", "next "] {
        assert!(full.contains(part), "`{part}` is not in: {full}");
    }
    for (reader, format) in
        [("executive", "md"), ("manager", "html"), ("engineer", "json"), ("engineer", "html")]
    {
        let text =
            p.ok(&["report", "--for", reader, "--period", "2026-10-05..2026-10-08", "--format", format]);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{reader} {format}");
        if format == "html" {
            let own = text.replace("http://www.w3.org/2000/svg", "");
            assert!(own.contains("<svg") && !own.contains("http:") && !own.contains("https:"), "{reader}");
        }
    }
    // Every stored value carries its context; unknown values carry a reason.
    let bad = "SELECT count(*) FROM metric_values WHERE coverage IS NULL OR maturity IS NULL OR n IS NULL OR (value IS NULL AND reason IS NULL) OR (value IS NOT NULL AND (low IS NULL OR high IS NULL OR low > value + 1e-6 OR high < value - 1e-6))";
    assert_eq!(p.one(bad), 0, "{}", p.sql(&bad.replace("count(*)", "metric, value, low, high")));
    assert!(p.one("SELECT count(DISTINCT metric) FROM metric_values") >= 16);
    let by = p.ok(&["metric", "requests", "--grain", "day", "--by", "service"]);
    assert!(by.contains("playback"), "{by}");
}

#[test]
fn no_data_is_unknown_and_never_zero() {
    let p = Project::new();
    p.ok(&["run"]);
    let json = p.json(&["report", "--for", "executive", "--period", "2026-09", "--format", "json"]);
    for card in json["cards"].as_array().unwrap() {
        assert!(card["value"]["value"].is_null(), "{card}");
        assert!(card["value"]["reason"].as_str().is_some_and(|r| !r.is_empty()), "{card}");
    }
    let split = ["--by", "service", "--from", "2026-09-01", "--to", "2026-09-02", "--grain", "day"];
    let mut args = vec!["metric", "requests", "--format", "json"];
    args.extend(split);
    let rows = p.json(&args);
    assert!(rows[0]["value"].is_null() && rows[0]["reason"].is_string(), "{rows}");
    let text = p.ok(&["report", "--for", "executive", "--period", "2026-09"]);
    assert!(text.contains("unknown") && !text.contains("No attack was seen"), "{text}");
}

#[test]
fn a_column_that_is_not_there_makes_its_metric_unknown_and_no_other() {
    let p = Project::new();
    let file = p.write("a.log", log_lines(5, 0, 200, 300));
    p.ingest("access-log", &[&file]);
    p.ok(&["run"]);
    let later = "name: later\ntitle: Later\ndescription: d\naudience: [business]\nquestion: q?\naction: a\nowner: o\ntype: simple\nagg: sum\nfrom: request_days\nexpr: of_a_later_version\nunit: requests\ndirection: neutral\ngrains: [day]\nsince: \"1\"\n";
    p.write("metrics/later.yaml", later);
    let asked = "metric later --from 2026-10-05 --to 2026-10-06 --grain day --format json";
    let rows = p.json(&asked.split(' ').collect::<Vec<_>>());
    let reason = rows[0]["reason"].as_str().unwrap_or_default();
    assert!(
        rows[0]["value"].is_null()
            && reason.contains("of_a_later_version")
            && reason.contains("fishweir run"),
        "{rows}"
    );
    let text = p.ok(&["report", "--for", "manager", "--period", "2026-10-05"]);
    assert!(text.contains("Later") && text.contains("Requests"), "{text}");
}

#[test]
fn a_source_without_decisions_blocks_an_unknown_number_not_none() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 1000, 60));
    p.ingest("access-log", &[&a]);
    p.ok(&["run"]);
    let json = p.json(&["report", "--for", "engineer", "--period", "2026-10", "--format", "json"]);
    let cards = json["cards"].as_array().unwrap();
    let card = |name: &str| cards.iter().find(|c| c["metric"] == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(card("requests")["value"]["value"], 1000.0);
    let attacks = &card("dos_incidents_count")["value"];
    assert!(attacks["value"].is_null(), "{attacks}");
    assert!(attacks["reason"].as_str().unwrap().contains("first 3 days"), "{attacks}");
    for name in ["blocked_requests", "challenged_requests", "dos_unmitigated", "dos_good_blocked_share"] {
        let value = &card(name)["value"];
        assert!(value["value"].is_null(), "{name}: {value}");
        assert!(value["reason"].as_str().unwrap().contains("no defence decision"), "{value}");
    }
}

#[test]
fn attacks_are_unknown_where_they_were_not_looked_for() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 1000, 60));
    p.ingest("access-log", &[&a]);
    // Sealed, but detection never ran.
    p.ok(&["run"]);
    std::fs::remove_dir_all(p.path("lake/dos_incidents")).unwrap();
    let b = p.write("b.log", log_lines(9, 0, 60, 60));
    p.ingest("access-log", &[&b]);
    p.ok(&["backfill", "request_minutes", "--from", "2026-10-09", "--to", "2026-10-10"]);
    let attacks_of = |day: &str| {
        let json = p.json(&["report", "--for", "executive", "--period", day, "--format", "json"]);
        let cards = json["cards"].as_array().unwrap();
        cards.iter().find(|c| c["metric"] == "dos_incidents_count").unwrap()["value"].clone()
    };
    let count = attacks_of("2026-10-09");
    assert!(count["value"].is_null(), "{count}");
    p.ok(&["run"]);
    assert_eq!(attacks_of("2026-10-09")["value"], 0.0);
    let first = attacks_of("2026-10-05");
    assert!(first["value"].is_null(), "nothing was usual yet: {first}");
    assert!(first["reason"].as_str().unwrap().contains("first 3 days"), "{first}");
}

#[test]
fn a_value_that_changes_after_its_period_is_restated() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 1000, 60));
    p.ingest("access-log", &[&a]);
    p.ok(&["run"]);
    assert_eq!(p.one("SELECT count(*) FROM metric_restatements"), 0);
    let b = p.write("b.log", log_lines(5, 1000, 100, 7));
    p.ingest("access-log", &[&b]);
    p.ok(&["run"]);
    let of = "FROM metric_restatements WHERE metric = 'requests' AND grain = 'day'";
    let rows = p.sql(&format!("SELECT value_before, value_after, reason {of}"));
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!(
        (rows[0]["value_before"].as_f64(), rows[0]["value_after"].as_f64()),
        (Some(1000.0), Some(1100.0))
    );
    p.ok(&["run"]);
    assert_eq!(p.sql(&format!("SELECT value_before, value_after, reason {of}")), rows, "told once");
    let top =
        p.sql("SELECT dims['label'] AS label, value FROM metric_values WHERE metric = 'requests' LIMIT 1");
    assert!(top[0]["label"].is_null(), "{top}");
}

// Figures name the version of the labels they stand on: a definition left behind would name another.
#[test]
fn metrics_name_the_label_versions_that_are_shipped() {
    let now = [fishweir_labels::CLASSIFIER, fishweir_labels::TAKEOVER_MODEL, fishweir_labels::CAMPAIGN_RULES];
    let family = |version: &str| version.rsplit_once('-').map(|(f, _)| f.to_owned()).unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../metrics");
    let mut seen = 0;
    for folder in std::fs::read_dir(root).unwrap().map(|d| d.unwrap().path()).filter(|d| d.is_dir()) {
        for file in std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()) {
            let text = std::fs::read_to_string(&file).unwrap();
            let Some(line) = text.lines().find(|l| l.starts_with("label_source:")) else { continue };
            for word in line.split_whitespace() {
                if let Some(due) = now.iter().find(|n| word.starts_with(&family(n))) {
                    assert_eq!(word, *due, "{}", file.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 50, "{seen}");
}
