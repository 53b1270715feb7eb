//! Late rows before and after deletion.

use crate::project::{Project, log_lines};

const TOTALS: &str = "SELECT CAST(sum(requests) AS BIGINT) AS n, CAST(sum(bytes) AS BIGINT) AS b FROM";

fn totals(p: &Project, table: &str) -> (i64, i64) {
    let rows = p.sql(&format!("{TOTALS} {table}"));
    (rows[0]["n"].as_i64().unwrap_or(0), rows[0]["b"].as_i64().unwrap_or(0))
}

fn everywhere(p: &Project, rows: i64) {
    for table in ["request_hours", "request_days"] {
        assert_eq!(totals(p, table).0, rows, "{table}");
    }
    assert_eq!(
        p.one("SELECT CAST(sum(rollup_rows) AS BIGINT) FROM certificates WHERE stream = 'requests'"),
        rows
    );
}

#[test]
fn late_rows_reseal_while_raw_lives_and_add_afterwards() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 1000, 60));
    p.ingest("access-log", &[&a]);
    p.ok(&["run"]);
    everywhere(&p, 1000);
    assert_eq!(p.one("SELECT CAST(sum(late_rows) AS BIGINT) FROM certificates"), 0);
    // Late, raw still there: sealed again.
    let b = p.write("b.log", log_lines(5, 1000, 100, 7));
    p.ingest("access-log", &[&b]);
    p.ok(&["run"]);
    everywhere(&p, 1100);
    assert!(p.one("SELECT CAST(sum(late_rows) AS BIGINT) FROM certificates") > 0);
    p.ok(&["retention", "--apply"]);
    assert_eq!(p.one("SELECT count(*) FROM requests"), 0);
    everywhere(&p, 1100);
    // Late, raw deleted: added beside what is there, and marked.
    let c = p.write("c.log", log_lines(5, 5000, 50, 13));
    p.ingest("access-log", &[&c]);
    for _ in 0..2 {
        p.ok(&["run"]);
        everywhere(&p, 1150);
    }
    assert!(p.one("SELECT count(*) FROM request_days WHERE late > 0") > 0);
    // An hour that was never sealed, on a day whose finer tables are gone.
    let d = p.write("d.log", log_lines(5, 0, 10, 1).replace("05/Oct/2026:00", "05/Oct/2026:23"));
    p.ingest("access-log", &[&d]);
    p.ok(&["run"]);
    everywhere(&p, 1160);
    for _ in 0..2 {
        p.ok(&["retention", "--apply"]);
        p.ok(&["run"]);
        everywhere(&p, 1160);
    }
    let e = p.write("e.log", log_lines(5, 7000, 5, 17));
    p.ingest("access-log", &[&e]);
    p.ok(&["run"]);
    everywhere(&p, 1165);
}

#[test]
fn rows_without_a_seal_are_never_deleted() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 300, 60));
    p.ingest("access-log", &[&a]);
    let plan = p.ok(&["retention", "--apply"]);
    assert!(plan.contains("not sealed yet"), "{plan}");
    assert_eq!(p.one("SELECT count(*) FROM requests"), 300);
    p.ok(&["run"]);
    // Rows that arrive between the seal and the deletion keep their hour.
    let b = p.write("b.log", log_lines(5, 9000, 3, 1));
    p.ingest("access-log", &[&b]);
    p.ok(&["retention", "--apply"]);
    assert!(p.one("SELECT count(*) FROM requests") >= 3);
    p.ok(&["run"]);
    everywhere(&p, 303);
}

#[test]
fn a_new_model_version_recomputes_what_it_can() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 500, 60));
    p.ingest("access-log", &[&a]);
    p.ok(&["run"]);
    let text = include_str!("../../../../models/rollup/request_days.sql");
    p.write(
        "models/rollup/request_days.sql",
        text.replace("version: 1", "version: 2").replace("sum(bytes) AS bytes", "sum(bytes) * 2 AS bytes"),
    );
    let before = totals(&p, "request_hours").1;
    p.ok(&["run"]);
    assert_eq!(totals(&p, "request_days"), (500, before * 2));
    // Computing a span again, due or not, changes nothing.
    for name in ["request_minutes", "request_days", "requests"] {
        p.ok(&["backfill", name, "--from", "2026-10-05", "--to", "2026-10-06"]);
        assert_eq!(totals(&p, "request_days"), (500, before * 2), "{name}");
    }
}

#[test]
fn hours_whose_rows_vanish_are_reported_and_keep_their_sealed_numbers() {
    let p = Project::new();
    let a = p.write("a.log", log_lines(5, 0, 1000, 60));
    p.ingest("access-log", &[&a]);
    p.ok(&["run"]);
    // Somebody empties the raw table behind our back.
    std::fs::remove_dir_all(p.path("lake/requests")).unwrap();
    let b = p.write("b.log", log_lines(6, 0, 60, 60));
    p.ingest("access-log", &[&b]);
    p.ok(&["run"]);
    assert_eq!(totals(&p, "request_days").0, 1060);
    assert_eq!(totals(&p, "request_hours").0, 1060);
    let lost = p.one("SELECT count(*) FROM findings WHERE kind = 'vanished'");
    assert_eq!(lost, 17, "1000 minutes touch 17 hours");
}
