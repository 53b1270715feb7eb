//! Input that nobody should send: a clear message, the rest processed.

use std::io::Write as _;

use crate::project::{Project, log_lines};

#[test]
fn bad_files_are_named_and_the_good_ones_taken() {
    let p = Project::new();
    let good = p.write("good.log", log_lines(5, 0, 100, 20));
    let empty = p.write("empty.log", "");
    let binary: Vec<u8> = (0..60_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let binary = p.write("binary.log", binary);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(log_lines(6, 0, 5000, 10).as_bytes()).unwrap();
    let whole = gz.finish().unwrap();
    let cut = p.write("cut.log.gz", &whole[..whole.len() / 2]);
    let wrong = p.write("wrong.log.gz", [&[0x1f, 0x8b][..], b"this is no gzip at all"].concat());
    let parquet = p.write("broken.parquet", b"PAR1 and nothing else");
    let missing = p.path("missing.log").to_str().unwrap().to_owned();
    let folder = p.dir.path().to_str().unwrap().to_owned();
    let s = p.ingest(
        "access-log",
        &[&empty, &binary, &cut, &wrong, &parquet, &missing, &folder, "nothing-*.log", &good],
    );
    let of = |name: &str| {
        s["files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|f| f["file"].as_str().unwrap().ends_with(name))
            .unwrap_or_else(|| panic!("{name}: {s}"))
            .clone()
    };
    assert_eq!(of("good.log")["accepted"], 100);
    assert_eq!(of("empty.log")["status"], "empty");
    assert_eq!(of("binary.log")["accepted"], 0);
    let cut = of("cut.log.gz");
    assert!(cut["error"].as_str().unwrap().contains("damaged or cut off"), "{cut}");
    assert!(cut["accepted"].as_u64().unwrap() > 500, "{cut}");
    for (name, words) in [
        ("wrong.log.gz", "wrong.log.gz"),
        ("broken.parquet", "is a Parquet file"),
        ("missing.log", "no such file"),
        ("nothing-*.log", "no file matches"),
    ] {
        let e = of(name);
        assert_eq!(e["status"], "failed");
        assert!(e["error"].as_str().unwrap().contains(words), "{e}");
    }
    let out = p.run(&["ingest", "--source", "access-log", &missing, &good]);
    assert_eq!(out.status.code(), Some(3), "done in part");
    let out = p.run(&["ingest", "--source", "access-log", &missing]);
    assert_eq!(out.status.code(), Some(1), "nothing done");
}

#[test]
fn bad_rows_have_line_offset_and_reason() {
    let p = Project::new();
    let mut text = Vec::new();
    text.extend(log_lines(5, 0, 2, 20).bytes());
    text.extend(b"198.51.100.1 - - [05/Oct/1970:00:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n");
    text.extend(b"198.51.100.1 - - [05/Oct/2099:00:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n");
    text.extend(b"\xff\xfe not text\n\n");
    text.extend(b"password=hunter2hunter2hunter2 4111111111111111\n");
    let file = p.write("rows.log", text);
    let s = p.ingest("access-log", &[&file]);
    assert_eq!((s["accepted"].as_u64(), s["rejected"].as_u64()), (Some(2), Some(5)), "{s}");
    let rows = p.sql("SELECT line, byte_offset, reason, excerpt FROM rejects ORDER BY line");
    let reasons: Vec<&str> = rows.as_array().unwrap().iter().map(|r| r["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains("before the earliest"), "{reasons:?}");
    assert!(reasons[1].contains("after the latest"));
    assert!(reasons[2].contains("UTF-8"));
    assert!(reasons[3].contains("empty line"));
    assert_eq!(rows[0]["line"], 3);
    let excerpt = rows[4]["excerpt"].as_str().unwrap();
    assert!(!excerpt.contains("4111") && !excerpt.contains("hunter2hunter2"), "{excerpt}");
    assert_eq!(p.ingest("access-log", &[&file])["rejected"], 0, "refused rows are counted once");
    assert_eq!(p.one("SELECT count(*) FROM rejects"), 5);
}

#[test]
fn a_line_longer_than_memory_is_skipped() {
    let p = Project::new();
    let path = p.path("long.log");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(log_lines(5, 0, 3, 20).as_bytes()).unwrap();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        file.write_all(&block).unwrap();
    }
    file.write_all(b"\n").unwrap();
    file.write_all(log_lines(5, 3, 3, 20).as_bytes()).unwrap();
    drop(file);
    let s = p.ingest("access-log", &[path.to_str().unwrap()]);
    assert_eq!(
        (s["rows"].as_u64(), s["accepted"].as_u64(), s["rejected"].as_u64()),
        (Some(7), Some(6), Some(1)),
        "{s}"
    );
    assert!(
        p.sql("SELECT reason FROM rejects")[0]["reason"].as_str().unwrap().contains("longer than the limit")
    );
}

#[test]
fn queries_only_read() {
    let p = Project::new();
    let file = p.write("good.log", log_lines(5, 0, 10, 20));
    p.ingest("access-log", &[&file]);
    let target = p.path("stolen.csv");
    for q in [
        "DROP TABLE requests".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "INSERT INTO requests SELECT * FROM requests".to_owned(),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/hostname'".to_owned(),
        format!("COPY (SELECT 1) TO '{}'", target.display()),
        "SET datafusion.execution.batch_size = 1".to_owned(),
    ] {
        assert!(!p.run(&["sql", &q]).status.success(), "{q}");
    }
    assert!(!target.exists());
    assert_eq!(p.one("SELECT count(*) FROM requests"), 10);
    assert_eq!(p.ok(&["sql", "SELECT 1 AS a WHERE false", "--format", "json"]).trim(), "[]");
}

#[test]
fn wrong_definitions_name_file_line_and_cure() {
    let p = Project::new();
    let base = "name: x\ntitle: X\ndescription: d\naudience: [business]\nquestion: q?\naction: a\nowner: o\ntype: ratio\nnumerator: requests\ndenominator: requestz\nunit: share\ndirection: neutral\ngrains: [day]\nsince: \"1\"\n";
    for (text, words) in [
        (base.to_owned(), vec!["x.yaml", "line 10", "no metric is called `requestz`", "hint:"]),
        (base.replace("question: q?\n", ""), vec!["x.yaml", "question"]),
        (base.replace("owner: o", "ownr: o"), vec!["x.yaml", "ownr"]),
        (
            base.replace("numerator: requests", "numerator: x").replace("requestz", "requests"),
            vec!["x.yaml", "made of each other"],
        ),
        (format!("{base}unseen_share: 5\n"), vec!["x.yaml", "line 15", "it is no share", "between 0 and 1"]),
    ] {
        p.write("metrics/x.yaml", &text);
        let out = p.run(&["metrics"]);
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success());
        for w in words {
            assert!(message.contains(w), "{w}: {message}");
        }
    }
}
