//! Floods on the first days of data, before anybody knows who is new.

use serde_json::json;

use crate::project::Project;

/// Machines of the flood.
const MACHINES: u32 = 20;

// Requests of three days: members look around and watch; a partner's program asks once a minute from a network in which
// nobody watches; on the first afternoon machines ask for the home page, eight times a minute for an hour.
fn three_days() -> String {
    let mut out = String::new();
    let mut say = |time: String, network: u32, program: &str, who: &str, path: &str| {
        let line = json!({
            "time": time, "service": "web", "method": "GET", "path": path, "status": 200,
            "ip": format!("198.51.100.{}", network % 200), "asn": network, "ja4": program, "user_agent": "any",
            "device": who, "session": format!("{who}-{}", &time[..13]), "event_id": format!("{who}{time}{path}"),
        });
        out.push_str(&format!("{line}\n"));
    };
    for day in 1..=3 {
        for minute in 0..24 * 60u32 {
            let time =
                |second: u32| format!("2026-10-0{day}T{:02}:{:02}:{second:02}Z", minute / 60, minute % 60);
            say(time(1), 900, "partner", "partner", "/feed");
            let member = format!("tv-{}", minute % 40);
            say(time(5), 100 + minute % 3, "player", &member, "/home");
            say(time(9), 100 + minute % 3, "player", &member, "/licence");
            if day == 1 && (15 * 60..16 * 60).contains(&minute) {
                for n in 0..8 {
                    let machine = format!("bot-{}", (minute * 8 + n) % MACHINES);
                    say(time(20 + n), 700 + n % 4, "tool", &machine, "/home");
                }
            }
        }
    }
    out
}

#[test]
fn a_flood_on_the_first_day_is_an_attack_once_there_is_a_second_however_the_run_is_cut() {
    let rows = "SELECT minute, dimension, value, requests, strangers FROM foreign_minutes ORDER BY 1, 2, 3";
    let found = "SELECT incident_id, start, \"end\", kind, routes, round(excess_requests) AS excess, found_by FROM dos_incidents ORDER BY 2";
    let whole = Project::new();
    let file = whole.write("requests/d.ndjson", three_days());
    assert_eq!(whole.ingest("fishweir", &[&file])["rejected"], 0);
    whole.ok(&["run"]);
    let all = whole.sql(found);
    assert_eq!(all.as_array().unwrap().len(), 1, "{all:#}");
    let one = &all[0];
    assert_eq!((&one["kind"], &one["routes"]), (&json!("attack"), &json!("/home")), "{all:#}");
    assert!(one["start"].as_str().unwrap().starts_with("2026-10-01T15:0"), "{all:#}");
    let excess = one["excess"].as_f64().unwrap();
    assert!((excess / 480.0 - 1.0).abs() < 0.1, "{excess}");
    let id = one["incident_id"].as_str().unwrap();
    let screen = whole.ok(&["incidents", id]);
    assert!(screen.contains("tool"), "{screen}");

    let parts = Project::new();
    let file = parts.write("requests/d.ndjson", three_days());
    parts.ingest("fishweir", &[&file]);
    parts.ok(&["run", "--until", "2026-10-02T00:00:00Z"]);
    assert_eq!(parts.sql(found), json!([]), "one day does not tell what is usual");
    for until in ["2026-10-02T17:00:00Z", "2026-10-03T06:00:00Z"] {
        parts.ok(&["run", "--until", until]);
    }
    assert_eq!(parts.sql(found)[0]["kind"], "attack");
    parts.ok(&["run"]);
    assert_eq!(parts.sql(rows), whole.sql(rows));
    assert_eq!(parts.sql(found), all);
}
