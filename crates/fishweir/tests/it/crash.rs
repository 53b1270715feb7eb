//! Kill −9 at random moments, and two processes at once: nothing lost, nothing doubled.

use std::process::Stdio;
use std::time::Duration;

use crate::project::{Project, log_lines};

const ROWS: i64 = 6_000;

fn small_commits(p: &Project) {
    let path = p.path("fishweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("commit_rows = 400000", "commit_rows = 500\nchunk_bytes = 20000");
    std::fs::write(path, text.replace("batch_rows = 4000000", "batch_rows = 700")).unwrap();
}

// Starts the command and kills it after `after`; returns whether it had finished by itself.
fn killed(p: &Project, args: &[&str], after: Duration) -> bool {
    let mut child = p.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let done = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    done
}

// Different moments of the command's life, spread evenly and without a clock as seed.
fn moment(i: u64, span_ms: u64) -> Duration {
    Duration::from_millis(30 + (i * 7_919) % span_ms)
}

#[test]
fn fifty_kills_lose_and_double_nothing() {
    let p = Project::new();
    small_commits(&p);
    let file = p.write("a.log", log_lines(5, 0, ROWS as usize, 10));
    let mut kills = 0;
    for i in 0..20 {
        kills += u32::from(!killed(&p, &["ingest", "--source", "access-log", &file], moment(i, 600)));
    }
    p.ingest("access-log", &[&file]);
    assert_eq!(p.one("SELECT count(*) FROM requests"), ROWS);
    assert_eq!(p.one("SELECT count(DISTINCT event_id) FROM requests"), ROWS);
    for i in 0..20 {
        kills += u32::from(!killed(&p, &["run"], moment(i, 1_500)));
    }
    p.ok(&["run"]);
    check(&p);
    for i in 0..15 {
        kills += u32::from(!killed(&p, &["retention", "--apply"], moment(i, 500)));
    }
    p.ok(&["run"]);
    p.ok(&["retention", "--apply"]);
    p.ok(&["run"]);
    assert_eq!(p.one("SELECT count(*) FROM requests"), 0);
    check(&p);
    assert!(kills >= 40, "only {kills} kills hit a living process");
}

fn check(p: &Project) {
    for table in ["request_hours", "request_days"] {
        assert_eq!(p.one(&format!("SELECT CAST(sum(requests) AS BIGINT) FROM {table}")), ROWS, "{table}");
    }
    let wrong = "SELECT count(*) FROM certificates WHERE rollup_rows <> raw_rows + deleted_rows OR state NOT IN ('sealed', 'deleted')";
    assert_eq!(p.one(wrong), 0);
    assert_eq!(p.one("SELECT CAST(sum(rollup_rows) AS BIGINT) FROM certificates"), ROWS);
}

#[test]
fn two_ingests_at_once_lose_nothing() {
    let p = Project::new();
    small_commits(&p);
    let a = p.write("a.log", log_lines(5, 0, 3000, 10));
    let b = p.write("b.log", log_lines(6, 0, 3000, 10));
    let start = |files: &[&str]| {
        let mut args = vec!["ingest", "--source", "access-log"];
        args.extend(files);
        p.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // Each file alone, and both processes on the same file.
    let mut all = [start(&[&a, &b]), start(&[&b, &a])];
    all.iter_mut().for_each(|c| {
        c.wait().unwrap();
    });
    p.ingest("access-log", &[&a, &b]);
    assert_eq!(p.one("SELECT count(*) FROM requests"), 6000);
    assert_eq!(p.one("SELECT count(DISTINCT event_id) FROM requests"), 6000);
}

#[test]
fn small_files_share_commits_and_are_taken_once() {
    let p = Project::new();
    let world = p.path("world");
    let out = world.to_str().unwrap();
    let made =
        ["simulate", "--scenario", "s0", "--days", "2", "--accounts", "30", "--start", "2026-10-05", "--out"];
    p.ok(&[&made[..], &[out]].concat());
    let pattern = format!("{out}/events/requests/*/*.parquet");
    let args = ["ingest", "--source", "fishweir", pattern.as_str()];
    let mut kills = 0;
    for i in 0..6 {
        kills += u32::from(!killed(&p, &args, moment(i, 300)));
    }
    // One more time in the same run under another name: its content is known.
    let hours = std::fs::read_dir(format!("{out}/events/requests")).unwrap().count();
    let copy = p.path("copy.requests.parquet");
    let first = std::fs::read_dir(format!("{out}/events/requests")).unwrap().next().unwrap().unwrap().path();
    let first = std::fs::read_dir(first).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(first, &copy).unwrap();
    let summary = p.ingest("fishweir", &[pattern.as_str(), copy.to_str().unwrap()]);
    let files = summary["files"].as_array().unwrap();
    let last = files.last().unwrap();
    assert_eq!((&last["status"], &last["accepted"]), (&"unchanged".into(), &0.into()), "{last}");
    assert!(last["rows"].as_u64().unwrap() > 0 && last["rows"] == last["duplicates"], "{last}");
    let rows: u64 = files.iter().take(files.len() - 1).map(|f| f["rows"].as_u64().unwrap()).sum();
    assert_eq!(p.one("SELECT count(*) FROM requests"), i64::try_from(rows).unwrap());
    assert_eq!(p.one("SELECT count(DISTINCT event_id) FROM requests"), i64::try_from(rows).unwrap());
    let log = std::fs::read_dir(p.path("lake/requests/_delta_log")).unwrap();
    let commits = log.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "json")).count();
    assert!(commits < files.len() / 4, "{commits} commits of {} files in {hours} folders", files.len());
    assert!(kills > 0, "no kill hit a living process");
}
