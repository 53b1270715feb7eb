//! What rules did, what changed under the metrics, and incidents while they happen.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::project::Project;

const DAYS: u32 = 12;

fn at(day: u32, second: u32) -> String {
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("2026-10-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

fn request(time: &str, device: &str, path: &str, more: &Value) -> String {
    let mut line = json!({
        "time": time, "service": "web", "method": "GET", "path": path, "status": 200, "ip": "198.51.100.7",
        "device": device, "session": format!("{device}-{}", &time[..10]), "account": format!("of-{device}"),
        "event_id": format!("{device}-{time}-{path}"),
    });
    for (k, v) in more.as_object().into_iter().flatten() {
        line[k] = v.clone();
    }
    format!("{line}\n")
}

// Forty members who look at a page every eight minutes and watch once a day.
fn members(from_day: u32, to_day: u32) -> String {
    let mut out = String::new();
    for day in from_day..to_day {
        for n in 0..40 {
            let device = format!("tv-{n}");
            out.push_str(&request(&at(day, 60 + n), &device, "/licence", &Value::Null));
            for k in 0..179 {
                out.push_str(&request(&at(day, k * 480 + n * 11 + 120), &device, "/home", &Value::Null));
            }
        }
    }
    out
}

fn blocked(rule: &str) -> Value {
    json!({"status": 403, "defence": "edge", "rule": rule, "rule_version": "1", "action": "block", "mode": "enforce"})
}

#[test]
fn a_rule_that_hits_members_is_told_from_one_that_hits_strangers() {
    let p = Project::new();
    let mut text = members(1, DAYS + 1);
    for n in 0..40 {
        text.push_str(&request(&at(DAYS, 36_000 + n), &format!("tv-{n}"), "/search", &blocked("wide")));
        for k in 0..15 {
            let time = at(DAYS, 40_000 + n * 31 + k * 60);
            let mut more = blocked("bots");
            more["account"] = Value::Null;
            text.push_str(&request(&time, &format!("bot-{n}"), "/search", &more));
        }
    }
    for n in 0..2 {
        text.push_str(&request(&at(DAYS, 50_000 + n), &format!("new-{n}"), "/search", &blocked("rare")));
    }
    let file = p.write("requests/d.ndjson", text);
    assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0);
    p.ok(&["run"]);
    let rules = p.json(&["rules", "--to", "2026-10-13", "--format", "json"]);
    let of = |name: &str| -> Value {
        rules.as_array().unwrap().iter().find(|r| r["rule"] == name).cloned().unwrap_or_default()
    };
    let (wide, bots, rare) = (of("edge/wide"), of("edge/bots"), of("edge/rare"));
    assert!(wide["precision_high"].as_f64().unwrap() < 0.2, "{wide:#}");
    assert!(["relax", "retire"].contains(&wide["advice"]["action"].as_str().unwrap()), "{wide:#}");
    assert_eq!(wide["good_stopped"], 40.0);
    assert!(bots["precision_low"].as_f64().unwrap() > 0.8, "{bots:#}");
    assert_eq!(bots["good_stopped"], 0.0);
    // Two hits of newcomers tell nothing: unknown, neither right nor wrong.
    assert_eq!((&rare["precision"], &rare["advice"]["action"]), (&Value::Null, &json!("not_enough_data")));
    assert!(rare["reason"].as_str().unwrap().contains("too few"), "{rare:#}");
    // Again from nothing: the same rows.
    let rows =
        "SELECT rule, hits, precision, recall, good_watched, bad_kept_on FROM rule_outcomes ORDER BY 1";
    let before = p.sql(rows);
    p.ok(&["backfill", "rule_outcomes", "--from", "2026-10-01"]);
    assert_eq!(p.sql(rows), before);
    // The defence is new, and says so on the series that it touches.
    let found = p.json(&[
        "sql",
        "SELECT subject, metrics FROM findings WHERE kind = 'new_defence'",
        "--format",
        "json",
    ]);
    assert_eq!(found[0]["subject"], "edge");
    assert!(found[0]["metrics"].as_str().unwrap().contains("blocked_requests"), "{found:#}");
    let values = p.json(&[
        "metric",
        "blocked_requests",
        "--from",
        "2026-10-11",
        "--to",
        "2026-10-13",
        "--format",
        "json",
    ]);
    assert_eq!(values[0]["breaks"], json!([]));
    assert!(values[1]["breaks"].to_string().contains("edge"), "{values:#}");
}

#[test]
fn a_missing_half_day_is_a_break_of_the_series() {
    let p = Project::new();
    let mut text = String::new();
    for day in 1..=4 {
        for minute in (0..1_440).filter(|m| day != 3 || !(600..1_200).contains(m)) {
            text.push_str(&request(&at(day, minute * 60), "tv-1", "/home", &Value::Null));
        }
    }
    let file = p.write("requests/d.ndjson", text);
    p.ingest("fishweir", &[&file]);
    p.ok(&["run"]);
    let sql = "SELECT subject, detail, metrics FROM findings WHERE kind = 'break'";
    let found = p.json(&["sql", sql, "--format", "json"]);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found:#}");
    assert!(found[0]["detail"].as_str().unwrap().contains("no request for 10 hours"), "{found:#}");
    p.ok(&["run"]);
    assert_eq!(p.one("SELECT count(*) FROM findings WHERE kind = 'break'"), 1);
}

#[test]
fn a_flood_opens_within_seconds_and_the_sealed_minutes_confirm_it() {
    let mut p = Project::new();
    p.now = "2026-10-12T23:00:00Z";
    let file = p.write("requests/history.ndjson", members(1, DAYS));
    assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0);
    p.ok(&["run"]);
    // Two hours of members, then ten requests a second of strangers for three minutes.
    let calm: Vec<String> = members(DAYS, DAYS + 1).lines().map(|l| format!("{l}\n")).collect();
    let begin = 2 * 3_600;
    let mut flood = Vec::new();
    for s in 0..180 {
        for n in 0..10 {
            let device = format!("x-{}", (s * 10 + n) % 300);
            let mut more = json!({"account": null, "event_id": format!("flood-{s}-{n}")});
            more["session"] = Value::Null;
            flood.push(request(&at(DAYS, begin + s), &device, "/search", &more));
        }
    }
    let time = |l: &String| serde_json::from_str::<Value>(l).unwrap()["time"].as_str().unwrap().to_owned();
    let mut all: Vec<String> = calm.into_iter().chain(flood).collect();
    all.sort_by_key(time);
    let mut stream = String::new();
    for l in all.iter().filter(|l| time(l) < at(DAYS, 4 * 3_600)) {
        stream.push_str(l);
    }
    writeln!(stream, "{{\"stream\":\"logins\",\"time\":\"{}\"}}", at(DAYS, 4 * 3_600)).unwrap();
    stream.push_str("no json\n");
    let out = p.stdin(&["live", "--format", "json"], stream.as_bytes());
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stderr).contains("line "), "the bad line is named");
    let events: Vec<Value> =
        String::from_utf8_lossy(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let us = |e: &Value, k: &str| e[k].as_i64().unwrap();
    let start_us = chrono::DateTime::parse_from_rfc3339(&at(DAYS, begin)).unwrap().timestamp_micros();
    let attack = events.iter().find(|e| e["kind"] == "attack").unwrap_or_else(|| panic!("{events:#?}"));
    let delay_s = (us(attack, "time_us") - start_us) / 1_000_000;
    assert!((0..=15).contains(&delay_s), "{delay_s} s: {attack:#}");
    assert_eq!(events.iter().filter(|e| e["event"] == "open").count(), 1, "{events:#?}");
    let close = events.last().unwrap();
    assert_eq!(close["event"], "close");
    assert!((us(close, "end_us") - start_us - 180_000_000).abs() <= 60_000_000, "{close:#}");
    let excess = close["excess_requests"].as_f64().unwrap();
    assert!((1_600.0..2_000.0).contains(&excess), "{close:#}");
    let before = p.json(&["live", "--review", "--format", "json"]);
    assert_eq!(before[0]["sealed"], "not sealed yet");
    let file = p.write("requests/live.ndjson", all.concat());
    p.ingest("fishweir", &[&file]);
    p.ok(&["run"]);
    let after = p.json(&["live", "--review", "--format", "json"]);
    assert_eq!(
        (after[0]["kind"].as_str(), after[0]["sealed"].as_str()),
        (Some("attack"), Some("confirms")),
        "{after:#}"
    );
}
