use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array as _, AsArray as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    AttackKind, CampaignConfig, EventFiles, Manifest, Scenario, ScenarioError, SimulateOptions, Sources,
    simulate,
};

const START_US: i64 = 1_790_812_800_000_000;

fn options(name: &str, days: u32, accounts: u64) -> SimulateOptions {
    let scenario = Scenario { days, accounts, ..Scenario::named(name).unwrap() };
    SimulateOptions {
        scenario,
        seed: 1,
        start_us: START_US,
        files: EventFiles::Parquet,
        threads: 0,
        shards: 1,
    }
}

// A day with a flood, a happening and a rule change near its beginning.
fn busy() -> SimulateOptions {
    let mut o = options("s3", 1, 120);
    for (n, c) in o.scenario.campaigns.iter_mut().enumerate() {
        c.day = 0.1 + 0.15 * n as f64;
        c.minutes = c.minutes.min(20.0);
    }
    o.scenario.happenings[0].day = 0.3;
    o
}

fn run(o: &SimulateOptions) -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let made = simulate(o, dir.path(), |_| {}).unwrap();
    (dir, made.manifest)
}

#[test]
fn threads_and_shards_change_no_byte() {
    let first = run(&busy()).1;
    assert!(first.rows["requests"] > 10_000, "{:?}", first.rows);
    for (threads, shards) in [(1, 1), (2, 1), (8, 1), (2, 2)] {
        let again = run(&SimulateOptions { threads, shards, ..busy() }).1;
        assert_eq!(again.digest, first.digest, "{threads} threads, {shards} shards");
    }
    let other = run(&SimulateOptions { seed: 2, ..busy() }).1;
    assert_ne!(other.digest["requests"], first.digest["requests"]);
}

#[test]
fn memory_is_bounded_by_the_scenario_and_changes_no_event() {
    let mut o = options("s0", 1, 900);
    let ample = run(&o).1.digest;
    // Not enough to plan a whole day at once.
    o.scenario.memory_mib = 107;
    assert_eq!(crate::memory::plan_hours(&o.scenario), 12);
    assert_eq!(run(&o).1.digest, ample);
    o.scenario.accounts = 1_000_000;
    let e = simulate(&o, tempfile::tempdir().unwrap().path(), |_| {}).unwrap_err().to_string();
    assert!(e.contains("1000000 accounts") && e.contains("allows 107"), "{e}");
}

// Lines of a stream by id of the event, with every column.
fn rows(dir: &Path, stream: &str) -> BTreeMap<String, (i64, String)> {
    let mut out = BTreeMap::new();
    for day in std::fs::read_dir(dir.join("events").join(stream)).unwrap() {
        for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
            let file = std::fs::File::open(file.unwrap().path()).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let time = batch.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
                let id = batch.column_by_name("event_id").unwrap();
                let id = arrow::compute::cast(id, &arrow::datatypes::DataType::Utf8).unwrap();
                let text: Vec<_> = batch
                    .columns()
                    .iter()
                    .map(|c| arrow::compute::cast(c, &arrow::datatypes::DataType::Utf8).unwrap())
                    .collect();
                for r in 0..batch.num_rows() {
                    let line: Vec<&str> = text
                        .iter()
                        .map(|c| if c.is_null(r) { "-" } else { c.as_string::<i32>().value(r) })
                        .collect();
                    out.insert(id.as_string::<i32>().value(r).to_owned(), (time.value(r), line.join("|")));
                }
            }
        }
    }
    out
}

#[test]
fn an_attack_changes_nothing_before_it_meets_anybody() {
    let with = busy();
    let mut without = busy();
    without.scenario.campaigns.clear();
    let first_us = START_US + (0.1 * 86_400e6) as i64;
    let (a, b) = (run(&with).0, run(&without).0);
    let (a, b) = (rows(a.path(), "requests"), rows(b.path(), "requests"));
    let before = |m: &BTreeMap<String, (i64, String)>| -> Vec<String> {
        m.values().filter(|(t, _)| *t < first_us).map(|(_, l)| l.clone()).collect()
    };
    assert!(before(&a).len() > 500);
    assert_eq!(before(&a), before(&b));
    // Afterwards the same members still want the same things: only outcomes may differ.
    let lost = b.keys().filter(|k| !a.contains_key(*k)).count();
    assert!(lost * 100 < b.len(), "{lost} of {} benign events are gone", b.len());
}

#[test]
fn an_account_is_the_same_in_a_small_world_and_in_a_large_one() {
    let small = run(&options("s0", 1, 40)).0;
    let large = run(&options("s0", 1, 160)).0;
    let (small, large) = (rows(small.path(), "playbacks"), rows(large.path(), "playbacks"));
    assert!(small.len() > 20);
    for (id, (_, line)) in &small {
        assert_eq!(large.get(id).map(|l| &l.1), Some(line));
    }
}

#[test]
fn streams_carry_no_truth() {
    let (dir, _) = run(&busy());
    for stream in std::fs::read_dir(dir.path().join("events")).unwrap() {
        let stream = stream.unwrap().path();
        let day = std::fs::read_dir(&stream).unwrap().next().unwrap().unwrap().path();
        let file = std::fs::read_dir(day).unwrap().next().unwrap().unwrap().path();
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
        for field in reader.schema().fields() {
            let name = field.name().as_str();
            assert!(
                !["attack", "campaign", "truth", "label", "stage", "intent", "twin", "tier"].contains(&name),
                "{stream:?}: {name}"
            );
        }
    }
}

#[test]
fn a_killed_run_leaves_nothing_that_looks_whole() {
    let dir = tempfile::tempdir().unwrap();
    let o = options("s0", 2, 20);
    // The first run dies after a day.
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        simulate(&o, dir.path(), |_| std::panic::resume_unwind(Box::new("killed"))).unwrap();
    }));
    assert!(died.is_err());
    assert!(dir.path().join("truth/unfinished").exists() && !dir.path().join("truth/manifest.json").exists());
    let again = simulate(&o, dir.path(), |_| {}).unwrap().manifest;
    assert_eq!(again.digest, run(&o).1.digest);
    assert!(!dir.path().join("truth/unfinished").exists());
    // A folder that holds something else is left alone.
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join("events")).unwrap();
    std::fs::write(other.path().join("events/precious"), "x").unwrap();
    assert!(simulate(&o, other.path(), |_| {}).unwrap_err().to_string().contains("holds no simulation"));
    assert!(other.path().join("events/precious").exists());
}

#[test]
fn counts_agree_with_events() {
    let o = options("s0", 1, 400);
    let full = run(&o).1.rows["requests"] as f64;
    let dir = tempfile::tempdir().unwrap();
    crate::simulate_counts(&o, dir.path(), |_| {}).unwrap();
    let mut sum = 0i64;
    for day in std::fs::read_dir(dir.path().join("events/request_counts")).unwrap() {
        for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
            let file = std::fs::File::open(file.unwrap().path()).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let n =
                    batch.column_by_name("requests").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
                sum += n.iter().flatten().sum::<i64>();
            }
        }
    }
    // Automation is not in the counts; growth is not in the sample.
    let ratio = sum as f64 / full;
    assert!((0.75..1.35).contains(&ratio), "{sum} against {full}");
}

#[test]
fn every_shipped_scenario_loads_and_errors_name_file_key_and_range() {
    for (name, text) in Scenario::shipped() {
        Scenario::parse(name, text).unwrap();
    }
    let base = "name = \"x\"\ndescription = \"x\"\n";
    let cases = [
        ("[world]\nvpn_share = 2.0\n", &["x.toml", "world.vpn_share", "0 to 1"][..]),
        ("[world]\nvpn = 2.0\n", &["x.toml", "vpn", "line 4"]),
        (
            "[[campaign]]\nname = \"f\"\nkind = \"A1\"\nday = 1\nminutes = 5\nsize = 1\ntier = 9\n",
            &["campaign `f`.tier", "1 to 4"],
        ),
        ("[[campaign]]\nname = \"f\"\nkind = \"Z9\"\nday = 1\nminutes = 5\nsize = 1\n", &["x.toml", "Z9"]),
        (
            "[[campaign]]\nname = \"f\"\nkind = \"A1\"\nday = 1\nminutes = 5\nsize = 1\nevasions = [\"E12\"]\n",
            &["evasions", "E1, E2"],
        ),
    ];
    for (text, parts) in cases {
        let e = Scenario::parse("x.toml", &format!("{base}{text}")).unwrap_err();
        assert!(matches!(e, ScenarioError::Range { .. } | ScenarioError::Toml { .. }));
        for part in parts {
            assert!(e.to_string().contains(part), "`{part}` is not in: {e}");
        }
    }
    assert!(Scenario::named("s99").unwrap_err().to_string().contains("s11"));
}

#[test]
fn every_kind_of_attack_leaves_traces_and_takeovers_have_a_story() {
    use AttackKind::*;
    let kinds = [
        A1, A2, A3, A4, A5, A6, A7, B1, B2, B3, B4, B5, B6, B7, B8, B9, C1, C2, C3, C4, C5, C6, C7, C8, C9,
        C10, D1, D2, D3, D4, D5, D6, D7, D8, D9,
    ];
    let mut o = options("s0", 3, 300);
    o.scenario.campaigns = kinds
        .iter()
        .map(|kind| CampaignConfig {
            name: format!("{kind:?}"),
            kind: *kind,
            tier: 3,
            day: 0.2,
            minutes: 3_000.0,
            size: match kind {
                A1 | A2 | A3 | A4 | A5 | A6 | A7 => 0.1,
                B1 | B2 | B3 => 2.0,
                B4 | B5 | B6 | B7 | B8 | B9 => 0.1,
                _ => 0.02,
            },
            sources: Sources::Mixed,
            evasions: vec!["E2".to_owned()],
            adapts: true,
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let made = simulate(&o, dir.path(), |_| {}).unwrap();
    let silent: Vec<_> = made
        .campaigns
        .iter()
        // Friendly fraud is a call weeks later, nothing else.
        .filter(|c| c.requests == 0 && c.kind != C10)
        .map(|c| &c.name)
        .collect();
    assert!(silent.is_empty(), "{silent:?} did nothing");
    let text = std::fs::read_to_string(dir.path().join("truth/accounts.json")).unwrap();
    let taken: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(taken.len() > 10);
    for t in &taken {
        assert!(t["from_us"].as_i64() <= t["to_us"].as_i64(), "{t}");
        assert_eq!(t["stages"][0], "checker", "{t}");
    }
    let vectors: std::collections::BTreeSet<_> = taken.iter().map(|t| t["vector"].to_string()).collect();
    assert!(vectors.len() >= 5, "{vectors:?}");
    for stream in ["requests", "logins", "playbacks", "licences", "decisions", "account_changes", "health"] {
        assert!(made.manifest.rows.get(stream).is_some_and(|n| *n > 0), "{stream}");
    }
}

// Texts and numbers of a column over all files of a folder of the truth.
fn truth_column(dir: &Path, name: &str) -> Vec<String> {
    let mut out = Vec::new();
    for day in std::fs::read_dir(dir.join("truth/decisions")).unwrap() {
        for file in std::fs::read_dir(day.unwrap().path()).unwrap() {
            let file = std::fs::File::open(file.unwrap().path()).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column = batch.column_by_name(name).unwrap();
                let text = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap();
                out.extend(text.as_string::<i32>().iter().map(|v| v.unwrap_or("-").to_owned()));
            }
        }
    }
    out
}

#[test]
fn every_layer_decides_and_the_truth_knows_what_else_could_have_been() {
    let mut o = options("s0", 2, 1_500);
    o.scenario.world.twins_share = 5.0;
    o.scenario.world.travel_share = 0.2;
    o.scenario.world.account_page_share = 0.2;
    o.scenario.world.hours_per_account_day = 4.0;
    for kind in [AttackKind::C2, AttackKind::B5, AttackKind::A1] {
        o.scenario.campaigns.push(CampaignConfig {
            name: format!("{kind:?}"),
            kind,
            tier: 1,
            day: 0.0,
            minutes: if kind == AttackKind::A1 { 10.0 } else { 2_880.0 },
            size: if kind == AttackKind::A1 { 2.0 } else { 0.05 },
            sources: Sources::DataCentre,
            evasions: Vec::new(),
            adapts: false,
        });
    }
    let dir = run(&o).0;
    let layers: std::collections::BTreeSet<_> = truth_column(dir.path(), "defence").into_iter().collect();
    for layer in ["waf", "bot", "login", "account", "drm", "household"] {
        assert!(layers.contains(layer), "{layer} is not in {layers:?}");
    }
    let other = truth_column(dir.path(), "counterfactual_status");
    let cost = truth_column(dir.path(), "cost_usd");
    let error = truth_column(dir.path(), "is_error");
    let mode = truth_column(dir.path(), "mode");
    let mut lost = 0;
    for n in 0..other.len() {
        let cost: f64 = cost[n].parse().unwrap();
        assert!(cost >= 0.0);
        if mode[n] == "enforce" && error[n] == "true" && other[n] == "200" && cost > 0.0 {
            lost += 1;
        }
        // A decision that did nothing is no error against a member.
        assert!(mode[n] == "enforce" || !["200"].contains(&other[n].as_str()), "{}", other[n]);
    }
    assert!(lost > 0, "no member lost anything");
    let stages: Vec<_> = std::fs::read_dir(dir.path().join("events")).unwrap().flatten().collect();
    assert!(stages.iter().any(|s| s.file_name() == "logins"));
}
