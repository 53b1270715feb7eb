//! Takeovers and login campaigns, from raw events to the story of one account.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::project::Project;

const MEMBERS: u32 = 150;
const LAST_DAY: u32 = 20;

fn at(day: u32, second: u32) -> String {
    let (h, m, s) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!("2026-10-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// Events of a made-up service by stream.
#[derive(Default)]
struct World {
    requests: String,
    logins: String,
    changes: String,
    contacts: String,
}

/// Who uses an account, and from where.
#[derive(Clone, Copy)]
struct From<'a> {
    device: &'a str,
    asn: u32,
    country: &'a str,
    program: &'a str,
}

impl World {
    fn request(&mut self, time: &str, n: u32, from: From<'_>, path: &str) {
        let line = json!({
            "time": time, "service": "web", "method": "GET", "path": path, "status": 200, "device": from.device,
            "asn": from.asn, "country": from.country, "account": format!("m{n}"), "session": format!("{}-{n}", from.device),
            "ja4": (!from.program.is_empty()).then_some(from.program),
            "event_id": format!("{time}{path}{}{}{n}", from.device, from.program),
        });
        let _ = writeln!(self.requests, "{line}");
    }

    fn login(&mut self, time: &str, name: &str, account: Option<u32>, from: From<'_>, outcome: &str) {
        let line = json!({
            "time": time, "identifier": name, "account": account.map(|n| format!("m{n}")), "outcome": outcome,
            "credential": "password", "password_bucket": format!("{name}{time}"), "device": from.device, "asn": from.asn,
            "ip_prefix": format!("10.{}.0.0/24", from.asn % 200), "country": from.country, "ja4": "t13d", "user_agent": "Mozilla/5.0",
            "event_id": format!("{time}{name}{}", from.device),
        });
        let _ = writeln!(self.logins, "{line}");
    }

    // Ordinary days: everybody watches at home; some have a new set, some travel, some sign in again.
    fn members(&mut self, day: u32) {
        for n in 0..MEMBERS {
            let tv = format!("tv-{n}");
            // Each set is updated once in a while, and keeps what it got.
            let program = ["t13d-old", "t13d-new"][usize::from(day > 8 + n % 11)];
            let home = From { device: &tv, asn: 64_500 + n % 7, country: "SE", program };
            for k in 0..3 {
                self.request(&at(day, 36_000 + k * 900 + n * 7), n, home, "/home");
            }
            self.request(&at(day, 40_000 + n * 7), n, home, "/licence");
            if (n + day).is_multiple_of(29) {
                let set = format!("new-{n}-{day}");
                self.login(
                    &at(day, 61_000 + n),
                    &format!("name{n}"),
                    Some(n),
                    From { device: &set, ..home },
                    "success",
                );
                self.request(&at(day, 61_100 + n), n, From { device: &set, ..home }, "/licence");
            }
            if (n + 3 * day).is_multiple_of(31) {
                let away = From { asn: 64_700 + n % 3, country: "NO", ..home };
                self.request(&at(day, 70_000 + n), n, away, "/home");
                self.request(&at(day, 70_400 + n), n, away, "/licence");
            }
            if (n + 7 * day).is_multiple_of(37) {
                self.login(&at(day, 30_000 + n), &format!("name{n}"), Some(n), home, "wrong_credential");
                self.login(&at(day, 30_020 + n), &format!("name{n}"), Some(n), home, "success");
            }
        }
    }

    // Six machines try a list for two days; four passwords fit and each is looked at.
    fn stuffing(&mut self) {
        for k in 0..300u32 {
            let machine = format!("bot-{}", k % 6);
            let from = From { device: &machine, asn: 64_990, country: "BR", program: "" };
            let time = at(14 + k / 150, 20_000 + k % 150 * 300);
            let hit = (k % 75 == 40).then_some(100 + k / 75);
            match hit {
                Some(n) => {
                    self.login(&time, &format!("name{n}"), Some(n), from, "success");
                    let checked = at(14 + k / 150, 20_004 + k % 150 * 300);
                    self.request(&checked, n, from, "/profile");
                    self.request(&checked, n, from, "/account");
                }
                None if k.is_multiple_of(5) => {
                    let n = k % 90;
                    self.login(&time, &format!("name{n}"), Some(n), from, "wrong_credential");
                }
                None => self.login(&time, &format!("nobody{k}"), None, from, "unknown_account"),
            }
        }
        for (n, change) in [(100, "logout_all"), (100, "email"), (100, "password"), (102, "email")] {
            let line = json!({"time": at(if n == 100 { 14 } else { 15 }, 80_000), "account": format!("m{n}"), "change": change, "actor": "member",
                "device": "bot-4", "asn": 64_990, "country": "BR", "event_id": format!("c{n}{change}")});
            let _ = writeln!(self.changes, "{line}");
        }
        let line = json!({"time": at(17, 40_000), "account": "m100", "topic": "account_takeover", "channel": "phone", "flag": "compromised", "cost_usd": 5.25, "event_id": "contact"});
        let _ = writeln!(self.contacts, "{line}");
    }

    fn ingest(&self, p: &Project) {
        let streams = [
            ("requests", &self.requests),
            ("logins", &self.logins),
            ("account_changes", &self.changes),
            ("contacts", &self.contacts),
        ];
        for (stream, text) in streams.into_iter().filter(|s| !s.1.is_empty()) {
            let file = p.write(&format!("{stream}/{}.ndjson", text.len()), text);
            assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0, "{stream}");
        }
    }
}

fn world(to_day: u32) -> World {
    let mut w = World::default();
    for day in 1..=to_day {
        w.members(day);
        if day == 15 {
            w.stuffing();
        }
    }
    w
}

fn day_metric(p: &Project, name: &str, from: &str, to: &str) -> Value {
    p.json(&["metric", name, "--from", from, "--to", to, "--grain", "day", "--format", "json"])
}

#[test]
fn a_stolen_list_is_a_campaign_and_what_it_opened_is_taken() {
    let p = Project::new();
    world(LAST_DAY).ingest(&p);
    p.ok(&["run"]);
    let campaigns = p.json(&["campaigns", "--format", "json"]);
    assert_eq!(campaigns.as_array().unwrap().len(), 1, "{campaigns:#}");
    let c = &campaigns[0];
    assert_eq!((c["kind"].as_str(), c["accounts_reached"].as_f64()), (Some("stuffing"), Some(4.0)), "{c:#}");
    assert!((295.0..=300.0).contains(&c["attempts"].as_f64().unwrap()), "{c:#}");
    let id = c["campaign_id"].as_str().unwrap();
    let page = p.ok(&["campaigns", id]);
    assert!(page.contains("same machine") && page.contains("4 accounts reached"), "{page}");

    let takeovers = p.json(&["takeovers", "--format", "json"]);
    let found = takeovers.as_array().unwrap();
    assert!((4..=5).contains(&found.len()), "{takeovers:#}");
    assert_eq!(found.iter().filter(|t| t["campaign_id"] == *id).count(), 4);
    assert!(found.iter().filter(|t| t["driver"] == "leaked_credentials").count() >= 4, "{takeovers:#}");
    let called = found.iter().find(|t| t["contact_at"].is_string()).unwrap();
    let story = p.ok(&["takeovers", called["takeover_id"].as_str().unwrap()]);
    for words in ["signed in from BR", "changed email", "judged compromised", "the member called", "cause"] {
        assert!(story.contains(words), "`{words}` is missing: {story}");
    }
    assert!(!story.contains("m100"), "names of accounts stay hidden: {story}");

    // Four began on two days; before a week of use is known, nothing is.
    let values = day_metric(&p, "takeovers", "2026-10-05", "2026-10-17");
    assert!(values[0]["value"].is_null() && values[0]["reason"].is_string(), "{values:#}");
    let sum: f64 = (9..11).filter_map(|d| values[d]["value"].as_f64()).sum();
    assert!((3.0..5.0).contains(&sum), "{sum} {values:#}");
    let share = day_metric(&p, "login_attack_share", "2026-10-14", "2026-10-15");
    assert!(share[0]["value"].as_f64().unwrap() > 0.9, "{share:#}");

    let labels = p.json(&["labels", "--format", "json"]);
    assert!(labels.as_array().unwrap().len() >= 14);
    let campaign = labels.as_array().unwrap().iter().find(|l| l["function"] == "campaign_success").unwrap();
    assert!(campaign["precision"].as_f64().unwrap() > 0.9 && campaign["fired"] == 4.0, "{campaign:#}");
    let report = p.ok(&["report", "--for", "engineer", "--period", "2026-10"]);
    assert!(report.contains("## Theft of accounts") && report.contains(id), "{report}");
}

// The thief comes as the member's own set from the member's own operator; only the program differs.
#[test]
fn a_session_that_speaks_like_another_program_and_goes_is_stolen() {
    let mut w = World::default();
    for day in 1..=LAST_DAY {
        w.members(day);
        // Sets that show account pages in a view of their own do so again and again.
        for n in (0..MEMBERS).filter(|n| n % 5 == 2) {
            let tv = format!("tv-{n}");
            let view = From { device: &tv, asn: 64_500 + n % 7, country: "SE", program: "t13d-view" };
            w.request(&at(day, 41_000 + n * 7), n, view, "/account");
        }
    }
    for n in [60, 61, 63] {
        let tv = format!("tv-{n}");
        let thief = From { device: &tv, asn: 64_500 + n % 7, country: "SE", program: "t13d-tool" };
        for (k, path) in ["/token", "/profile", "/account"].into_iter().enumerate() {
            w.request(&at(14 + n % 3, 30_000 + k as u32), n, thief, path);
        }
    }
    let p = Project::new();
    w.ingest(&p);
    p.ok(&["run"]);
    let alone =
        "SELECT ja4, count(*) AS n FROM account_episodes WHERE NOT new_device AND NOT new_network GROUP BY 1";
    assert_eq!(p.sql(alone), json!([{"ja4": "t13d-tool", "n": 3}]), "neither updates nor views");
    let stolen =
        p.sql("SELECT votes FROM account_takeovers WHERE driver = 'stolen_session' AND p_takeover >= 0.5");
    let votes: Vec<&str> = stolen.as_array().unwrap().iter().filter_map(|t| t["votes"].as_str()).collect();
    assert_eq!(votes.len(), 3, "{stolen:#}");
    let say = |name: &str| votes.iter().filter(|v| v.contains(name)).count();
    // Two come on the day on which the set gets its own new program: which of them is whose shows later.
    assert_eq!(
        (say("foreign_program"), say("program_used_once"), say("program_goes_back")),
        (3, 3, 1),
        "{votes:?}"
    );
}

// Nobody used these accounts before: on the seventh day that may be chance, afterwards it is told; those that sign up are not taken.
#[test]
fn who_comes_to_a_silent_account_is_looked_at_and_who_makes_one_is_not() {
    let mut w = World::default();
    (1..=12).for_each(|day| w.members(day));
    let look = |w: &mut World, day: u32, n: u32| {
        let device = format!("web-{n}");
        let from = From { device: &device, asn: 64_990, country: "BR", program: "t13d-tool" };
        w.login(&at(day, 30_000 + n), &format!("name{n}"), Some(n), from, "success");
        w.request(&at(day, 30_003 + n), n, from, "/account");
    };
    [(7, 900), (8, 901), (11, 902)].into_iter().for_each(|(day, n)| look(&mut w, day, n));
    for (signed_up, looked, n) in [(9, 9, 910), (10, 11, 911)] {
        let line = json!({"time": at(signed_up, 29_000), "account": format!("m{n}"), "change": "signup", "actor": "member",
            "device": format!("web-{n}"), "asn": 64_990, "country": "BR", "event_id": format!("s{n}")});
        let _ = writeln!(w.changes, "{line}");
        look(&mut w, looked, n);
    }
    let p = Project::new();
    w.ingest(&p);
    p.ok(&["run"]);
    let unseen = p.sql(
        "SELECT CAST(day AS VARCHAR) AS day FROM account_episodes WHERE history_days IS NULL ORDER BY 1",
    );
    let days: Vec<&str> =
        unseen.as_array().unwrap().iter().filter_map(|r| r["day"].as_str()).map(|d| &d[..10]).collect();
    assert_eq!(days, ["2026-10-08", "2026-10-11"], "{unseen:#}");
}

#[test]
fn judgements_of_a_sample_say_how_good_the_labels_are() {
    let p = Project::new();
    world(LAST_DAY).ingest(&p);
    p.ok(&["run"]);
    let options = ["--sample", "40", "--from", "2026-10-08", "--to", "2026-10-21", "--format", "json"];
    let call = |what: &'static str| -> Vec<&'static str> { [&["review", what][..], &options[..]].concat() };
    let proposed = p.json(&call("propose"));
    let proposed = proposed.as_array().unwrap();
    assert!((20..70).contains(&proposed.len()), "{}", proposed.len());
    // Half judged is not judged: the weights would be wrong.
    let early = p.run(&call("estimate"));
    assert!(String::from_utf8_lossy(&early.stderr).contains("are judged"));
    let mut verdicts = String::new();
    for (n, e) in proposed.iter().enumerate() {
        let verdict = if e["votes"].as_str().unwrap().contains("campaign") { "takeover" } else { "benign" };
        let line = json!({"time": "2026-10-22T10:00:00Z", "subject_kind": "episode", "subject": e["episode_id"], "verdict": verdict, "reviewer": "ana", "event_id": format!("v{n}")});
        let _ = writeln!(verdicts, "{line}");
    }
    let file = p.write("verdicts/a.ndjson", verdicts);
    assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0);
    let e = p.json(&call("estimate"));
    assert_eq!(e["judged"], proposed.len());
    let of = |k: &str, end: &str| e[k][end].as_f64().unwrap();
    assert!(of("taken_episodes", "low") <= 5.0 && of("taken_episodes", "high") >= 4.0, "{e:#}");
    assert!(of("precision", "value") > 0.7, "{e:#}");
    // One more, judged on the command line.
    let one = proposed[0]["episode_id"].as_str().unwrap();
    assert!(p.ok(&["review", "judge", one, "unsure", "--reviewer", "bo"]).contains("judged"));
    // Judgements are read once; those of an old day are taken into account up to the present.
    let all = "SELECT count(*) AS n FROM account_episode_labels";
    let labelled = || {
        let done = p.json(&["run", "--format", "json"]);
        let one =
            done["models"].as_array().unwrap().iter().find(|m| m["model"] == "account_takeovers").cloned();
        let one = one.unwrap();
        (one["steps"].as_u64().unwrap(), one["rows"].as_u64().unwrap())
    };
    let before = p.sql(all)[0]["n"].as_u64().unwrap();
    assert_eq!(labelled().0, 1, "judgements came");
    assert_eq!(labelled().0, 0, "nothing came");
    let old = json!({"time": "2026-10-12T10:00:00Z", "subject_kind": "episode", "subject": one, "verdict": "takeover", "reviewer": "ana", "event_id": "late"});
    let file = p.write("verdicts/late.ndjson", format!("{old}\n"));
    assert_eq!(p.ingest("fishweir", &[&file])["rejected"], 0);
    let (steps, rows) = labelled();
    assert!(steps == 1 && rows >= before, "all was labelled again with what is known: {rows} of {before}");
    assert_eq!(p.sql(all)[0]["n"], before, "nothing of what was labelled is lost");
}

#[test]
fn nothing_later_than_the_day_is_read() {
    let labels = "SELECT day, round(p_takeover, 9) AS p, votes FROM account_episode_labels ORDER BY 1, 2, 3";
    let whole = Project::new();
    world(LAST_DAY).ingest(&whole);
    whole.ok(&["run", "--until", "2026-10-16"]);
    let cut = Project::new();
    std::fs::copy(whole.path("keys/pseudonyms.toml"), cut.path("keys/pseudonyms.toml")).unwrap();
    let mut w = world(15);
    w.contacts.clear();
    w.ingest(&cut);
    cut.ok(&["run", "--until", "2026-10-16"]);
    let (a, b) = (whole.sql(labels), cut.sql(labels));
    assert!(a.as_array().unwrap().len() > 50);
    assert_eq!(a, b);
}

#[test]
fn a_function_that_is_silenced_inverted_or_doubled_moves_the_number_less_than_its_interval() {
    let p = Project::new();
    world(LAST_DAY).ingest(&p);
    p.ok(&["run"]);
    let number = || {
        let v = p.json(&[
            "metric",
            "takeovers",
            "--from",
            "2026-10-08",
            "--to",
            "2026-10-21",
            "--grain",
            "month",
            "--format",
            "json",
        ]);
        let days = day_metric(&p, "takeovers", "2026-10-08", "2026-10-21");
        let sum = |k: &str| days.as_array().unwrap().iter().filter_map(|d| d[k].as_f64()).sum::<f64>();
        assert!(v[0]["reason"].is_string(), "October holds days without history: {v:#}");
        (sum("value"), sum("low"), sum("high"))
    };
    let (usual, low, high) = number();
    let function = |name: &str, when: &str| {
        format!(
            "name: {name}\nversion: 2\nowner: test\nvote: takeover\nwhen: >-\n  {when}\nevidence: test\nexpects: {{ takeover: 0.4, benign: 0.001 }}\n"
        )
    };
    let looked =
        "new_device AND account_pages > 0 AND licences = 0 AND requests BETWEEN 2 AND 10 AND span_s < 10";
    for (what, file, name, when) in [
        ("silenced", "scripted_look", "scripted_look", "false".to_owned()),
        ("inverted", "scripted_look", "scripted_look", format!("NOT ({looked})")),
        ("doubled", "twice", "twice", looked.to_owned()),
    ] {
        p.write(&format!("labels/{file}.yaml"), function(name, &when));
        p.ok(&["run"]);
        let (value, ..) = number();
        assert!((low..=high).contains(&value), "{what}: {value}, usual {usual} [{low}, {high}]");
        std::fs::remove_file(p.path(&format!("labels/{file}.yaml"))).unwrap();
    }
    // A condition that does not hold together is named with its file.
    p.write("labels/mine.yaml", function("mine", "no_such_column > 3"));
    let out = p.run(&["run"]);
    let e = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && e.contains("mine.yaml") && e.contains("no_such_column"), "{e}");
    p.write("labels/mine.yaml", function("mine", "hours > 3"));
    let e = String::from_utf8_lossy(&p.run(&["run"]).stderr).into_owned();
    assert!(e.contains("behaviour model"), "{e}");
}
