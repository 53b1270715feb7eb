//! Simulated events, incidents and reports.

use crate::project::Project;

fn world(p: &Project, days: &str, accounts: &str) {
    let out = p.path("world");
    let out = out.to_str().unwrap();
    p.ok(&[
        "simulate",
        "--out",
        out,
        "--days",
        days,
        "--accounts",
        accounts,
        "--start",
        "2026-10-05",
        "--seed",
        "3",
    ]);
    for stream in ["requests", "health"] {
        let s = p.ingest("fishweir", &[&format!("{out}/events/{stream}/*.parquet")]);
        assert_eq!(s["rejected"], 0, "{s}");
        assert!(s["accepted"].as_u64().unwrap() > 1000);
    }
    p.ingest("fishweir", &[&format!("{out}/events/notes/notes.ndjson")]);
}

#[test]
fn a_simulated_service_gives_incidents_metrics_and_reports() {
    let p = Project::new();
    world(&p, "3", "4000");
    p.ok(&["run"]);
    let incidents = p.json(&["incidents", "--all", "--format", "json"]);
    let incidents = incidents.as_array().unwrap();
    let truth: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(p.path("world/truth/events.json")).unwrap()).unwrap();
    let attack = truth.as_array().unwrap().iter().find(|t| t["attack"] == true).expect("an attack");
    let found =
        incidents.iter().find(|i| i["routes"].as_str().unwrap().contains(attack["route"].as_str().unwrap()));
    let found = found.unwrap_or_else(|| panic!("{attack} not among {incidents:#?}"));
    assert_eq!(found["kind"], "attack", "{found}");
    let excess = found["excess_requests"].as_f64().unwrap();
    let truly = attack["requests"].as_f64().unwrap();
    assert!((excess / truly - 1.0).abs() < 0.25, "{excess} against {truly}");
    let full = p.ok(&["incidents", found["incident_id"].as_str().unwrap()]);
    assert!(full.contains("drivers") && full.contains("route = "), "{full}");
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
    let text = p.ok(&["report", "--for", "executive", "--period", "2026-09"]);
    assert!(text.contains("unknown") && !text.contains("No attack was seen"), "{text}");
}
