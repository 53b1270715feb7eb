//! Notes, the event study, and who counts as a stranger.

use serde_json::{Value, json};

use crate::project::{Project, log_lines};

#[test]
fn a_note_counts_once_and_starts_a_study() {
    let p = Project::new();
    let time = "2026-11-01T12:00:00Z";
    let add =
        ["note", "add", "--kind", "intervention", "--time", time, "--metric", "requests", "Limit tightened"];
    assert_eq!(p.ok(&add).trim(), "noted");
    assert_eq!(p.ok(&add).trim(), "was noted before");
    let notes = p.json(&["note", "list", "--format", "json"]);
    assert_eq!(notes.as_array().unwrap().len(), 1);
    assert_eq!(notes[0]["title"], "Limit tightened");
    let bad = p.run(&["note", "add", "--kind", "deploy", "--confidence", "3", "x"]);
    assert!(!bad.status.success());
    assert!(String::from_utf8_lossy(&bad.stderr).contains("allowed is 0 to 1"));
    // Forty days at a steady rate, three times as many requests after the event.
    let mut files = Vec::new();
    for day in 1..=60usize {
        let n = if day <= 40 { 60 + day % 7 } else { 180 + day % 7 };
        let date = chrono::NaiveDate::from_ymd_opt(2026, 9, 21).unwrap() + chrono::Days::new(day as u64);
        let text =
            log_lines(1, 0, n, 86_000 / n).replace("01/Oct/2026", &date.format("%d/%b/%Y").to_string());
        files.push(p.write(&format!("logs/{day:02}.log"), text));
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    assert_eq!(p.ingest("access-log", &files)["failed_files"], 0);
    p.ok(&["run"]);
    let study = |args: &[&str]| {
        let mut all = vec!["impact", "requests", "--format", "json"];
        all.extend(args);
        p.json(&all)
    };
    let after = study(&["--event", "2026-11-01", "--before", "40", "--after", "14"]);
    assert_eq!(after[0]["verdict"], "rise", "{after:#}");
    let value = after[0]["impact"]["regression"]["value"].as_f64().unwrap();
    assert!((1.2..3.0).contains(&value), "{value}");
    assert!(after[0]["impact"]["minimum_detectable"].as_f64().unwrap() < 1.0);
    assert!(after[0]["beside"][0].as_str().unwrap().contains("Limit tightened"), "{after:#}");
    let noted = study(&["--notes", "intervention", "--before", "40", "--after", "14"]);
    assert_eq!(noted[0]["title"], "Limit tightened");
    // The intervention is followed by itself, on its own metric.
    let sql = "SELECT metric, days_after, verdict, stable FROM interventions ORDER BY days_after";
    let followed = p.sql(sql);
    assert_eq!(followed.as_array().unwrap().len(), 2, "{followed:#}");
    assert_eq!((&followed[1]["metric"], &followed[1]["days_after"]), (&json!("requests"), &json!(14)));
    assert_eq!((&followed[1]["verdict"], &followed[1]["stable"]), (&json!("rise"), &json!(true)));
    let report = p.ok(&["report", "--for", "engineer", "--period", "2026-11"]);
    assert!(report.contains("Limit tightened (2026-11-01), followed for 14 days: requests +"), "{report}");
    let periods = ["--period", "2026-11-03..2026-11-17", "--with", "2026-10-06..2026-10-20"];
    let compared = p.json(&[&["compare", "requests", "--format", "json"][..], &periods[..]].concat());
    assert_eq!(compared["verdict"], "higher", "{compared:#}");
    let change = compared["difference"]["change"].as_f64().unwrap();
    assert!((1.5..2.5).contains(&change), "{compared:#}");
    let none =
        p.json(&["compare", "requests", "--period", "2026-01", "--with", "2026-02", "--format", "json"]);
    assert_eq!((&none["verdict"], &none["period"]["value"]), (&json!("unknown"), &json!(null)), "{none:#}");
    // Too little to say anything is unknown with a reason, never "no change".
    let early = study(&["--event", "2026-09-25", "--before", "40"]);
    assert_eq!((&early[0]["verdict"], &early[0]["impact"]), (&json!("unknown"), &json!(null)));
    assert!(early[0]["reason"].as_str().unwrap().contains("before the event"), "{early:#}");
    let text = p.ok(&["impact", "requests", "--event", "2026-11-01", "--before", "40", "--after", "14"]);
    assert!(text.contains("followed by") && !text.contains("caused"), "{text}");
}

// Requests of devices over five days: regulars every day, one that comes on the last day only, one
// that is new too but watches.
fn devices(days: &[u32]) -> String {
    let mut out = String::new();
    for day in days.iter().copied() {
        for hour in 0..24 {
            let mut say = |device: &str, path: &str, minute: u32| {
                let line = json!({
                    "time": format!("2026-10-{day:02}T{hour:02}:{minute:02}:00Z"), "service": "web", "method": "GET",
                    "path": path, "status": 200, "ip": "198.51.100.7", "device": device,
                    "session": format!("{device}-{day}"), "event_id": format!("{device}-{day}-{hour}-{minute}-{path}"),
                });
                out.push_str(&format!("{line}\n"));
            };
            say("regular-1", "/home", 3);
            say("regular-2", "/home", 9);
            if day == 5 {
                say("new", "/home", 20);
                if hour == 0 {
                    say("watcher", "/licence", 5);
                }
                if hour < 12 {
                    say("watcher", "/heartbeat", 30);
                }
            }
        }
    }
    out
}

#[test]
fn strangers_are_clients_of_no_earlier_day_who_watch_nothing_however_the_run_is_cut() {
    let strangers = "SELECT CAST(coalesce(sum(strangers), 0) AS BIGINT) FROM stranger_minutes WHERE dimension = 'route' AND minute >= TIMESTAMP '2026-10-05T00:00:00Z'";
    let rows = "SELECT minute, dimension, value, requests, strangers, arrivals FROM stranger_minutes ORDER BY 1, 2, 3";
    let whole = Project::new();
    let file = whole.write("requests/d.ndjson", devices(&[1, 2, 3, 4, 5]));
    assert_eq!(whole.ingest("fishweir", &[&file])["rejected"], 0);
    whole.ok(&["run"]);
    // The new one all day; the watcher from the ninth hour after its licence on.
    assert_eq!(whole.one(strangers), 24 + 3);
    let arrivals = "SELECT CAST(coalesce(sum(arrivals), 0) AS BIGINT) FROM stranger_minutes WHERE dimension = 'route' AND minute >= TIMESTAMP '2026-10-05T00:00:00Z'";
    // He comes every hour and is new once.
    assert_eq!(whole.one(arrivals), 1);
    let known = "SELECT count(*) FROM stranger_minutes WHERE strangers IS NOT NULL AND minute < TIMESTAMP '2026-10-03T00:00:00Z'";
    assert_eq!(whole.one(known), 0, "nobody is called a stranger before there is an earlier day");
    let parts = Project::new();
    let file = parts.write("requests/d.ndjson", devices(&[1, 2, 3, 4, 5]));
    parts.ingest("fishweir", &[&file]);
    for until in
        ["2026-10-02T05:00:00Z", "2026-10-05T00:00:00Z", "2026-10-05T07:00:00Z", "2026-10-05T20:00:00Z"]
    {
        parts.ok(&["run", "--until", until]);
    }
    parts.ok(&["run"]);
    assert_eq!(parts.sql(rows), whole.sql(rows));
}

#[test]
fn after_a_gap_nobody_is_a_stranger_until_an_earlier_day_is_known_again() {
    let p = Project::new();
    let file = p.write("requests/d.ndjson", devices(&[1, 2, 3, 20, 21, 22]));
    assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0);
    p.ok(&["run"]);
    let told = |day: u32| {
        p.one(&format!(
            "SELECT count(*) FROM stranger_minutes WHERE strangers IS NOT NULL AND CAST(minute AS DATE) = DATE '2026-10-{day:02}'"
        ))
    };
    assert!(told(3) > 0 && told(22) > 0);
    assert_eq!([told(1), told(2), told(20), told(21)], [0; 4]);
}

// What a program that nobody watches with sends within five minutes.
#[derive(Clone, Copy)]
struct Tool {
    ja4: &'static str,
    path: &'static str,
    requests: usize,
    clients: usize,
}

const SMALL: Tool = Tool { ja4: "t13d1311h1_tool", path: "/search", requests: 6, clients: 6 };

// Six days of a dozen members who watch every hour, and tools on the last one.
fn six_days(tools: &[Tool]) -> String {
    let mut out = String::new();
    let mut say = |at: String, who: &str, path: &str, ip: &str, account: Option<&str>, ja4: &str| {
        let line = json!({
            "time": at, "service": "web", "method": "GET", "path": path, "status": 200, "ip": ip, "asn": 64500,
            "ja4": ja4, "account": account, "device": account.map(|a| format!("tv-{a}")),
            "session": account.map(|a| format!("{a}-{}", &at[..10])), "event_id": format!("{who}-{at}-{path}"),
        });
        out.push_str(&format!("{line}\n"));
    };
    for (day, hour, n) in (1..=6).flat_map(|d| (0..24).flat_map(move |h| (0..12).map(move |n| (d, h, n)))) {
        for (minute, path) in [(n, "/home"), (n + 1, "/licence"), (n + 30, "/heartbeat")] {
            let at = format!("2026-10-{day:02}T{hour:02}:{minute:02}:00Z");
            let name = format!("m{n}");
            say(at, &name, path, &format!("198.51.100.{n}"), Some(&name), "t13d1516h2_browser");
        }
    }
    for (t, tool) in tools.iter().enumerate() {
        for n in 0..tool.requests {
            let second = n * 260 / tool.requests;
            let at = format!("2026-10-06T09:{:02}:{:02}Z", 40 + second / 60, second % 60);
            let ip = format!("203.0.{t}.{}", n % tool.clients);
            say(at, &format!("tool {t} {n}"), tool.path, &ip, None, tool.ja4);
        }
    }
    out
}

fn incidents_of(tools: &[Tool]) -> Value {
    let p = Project::new();
    let file = p.write("requests/d.ndjson", six_days(tools));
    assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0);
    p.ok(&["run"]);
    let mut found = p.sql(
        "SELECT i.kind, i.found_by, i.routes, round(i.excess_requests) AS excess, d.rule AS driver
         FROM dos_incidents i LEFT JOIN dos_incident_drivers d ON d.incident_id = i.incident_id AND d.rank = 1
         WHERE i.start >= TIMESTAMP '2026-10-06T00:00:00Z' ORDER BY i.excess_requests DESC",
    );
    for one in found.as_array_mut().unwrap() {
        // Of the conjunction only the program, if it names one.
        let rule = one["driver"].as_str().unwrap_or_default().to_owned();
        let ja4 = rule.split(" AND ").find_map(|c| c.strip_prefix("ja4 = "));
        one["driver"] = json!(ja4);
    }
    found
}

fn attack(routes: &str, excess: f64, driver: Option<&str>) -> Value {
    json!({ "kind": "attack", "found_by": "strangers", "routes": routes, "excess": excess, "driver": driver })
}

#[test]
fn six_newcomers_with_a_tool_are_a_small_attack_and_six_clicks_of_one_are_nothing() {
    assert_eq!(incidents_of(&[SMALL]), json!([attack("/search", 6.0, Some(SMALL.ja4))]));
    assert_eq!(incidents_of(&[Tool { clients: 1, ..SMALL }]), json!([]));
}

#[test]
fn newcomers_with_three_tools_are_one_small_attack() {
    let few = Tool { requests: 3, clients: 3, ..SMALL };
    let three = ["t13d1311h1_tool", "t13d1410h2_other", "t13d1209h1_third"].map(|ja4| Tool { ja4, ..few });
    assert_eq!(incidents_of(&three), json!([attack("/search", 9.0, None)]));
}

#[test]
fn the_smoke_beside_a_theft_is_an_attack_of_its_own() {
    let theft = Tool { path: "/login", requests: 60, clients: 30, ..SMALL };
    let smoke = Tool { ja4: "t13d1410h2_other", requests: 20, clients: 20, ..SMALL };
    assert_eq!(
        incidents_of(&[theft, smoke]),
        json!([attack("/login", 60.0, Some(theft.ja4)), attack("/search", 20.0, Some(smoke.ja4))])
    );
    // Tools that ask for the same are one attack.
    let same = Tool { path: "/login", ..smoke };
    assert_eq!(incidents_of(&[theft, same]), json!([attack("/login", 80.0, None)]));
}
