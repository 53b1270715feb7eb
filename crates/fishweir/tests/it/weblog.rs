//! Six years of a real access log.

use std::io::{Read as _, Write as _};

use crate::project::{Project, shared};

const LINES: u64 = 35_437;

fn log() -> Option<(String, Vec<u8>)> {
    let path = shared("data/weblog/access-2005-2010.log.gz")?;
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut text).unwrap();
    Some((path.to_str().unwrap().to_owned(), text))
}

const YEARS: &str = "SELECT date_part('year', day) AS y, sum(requests) AS n, sum(errors) AS e, sum(client_errors) AS c, round(hll_count(hll_merge(clients_hll))) AS d, sum(bytes) AS b FROM request_days GROUP BY 1 ORDER BY 1";

#[test]
fn every_line_is_accounted_for_and_the_years_outlive_the_rows() {
    let Some((path, text)) = log() else { return };
    let p = Project::new();
    let s = p.ingest("access-log", &[&path]);
    assert_eq!((s["rows"].as_u64(), s["accepted"].as_u64()), (Some(LINES), Some(LINES)), "{s}");
    assert_eq!(p.ingest("access-log", &[&path])["accepted"], 0);
    p.ok(&["run"]);
    let years = p.sql(YEARS);
    let exact = p.sql("SELECT date_part('year', time) AS y, count(*) AS n, count(DISTINCT ip) AS d FROM requests GROUP BY 1 ORDER BY 1");
    for (a, b) in years.as_array().unwrap().iter().zip(exact.as_array().unwrap()) {
        assert_eq!(a["n"], b["n"]);
        let (d, e) = (a["d"].as_f64().unwrap(), b["d"].as_f64().unwrap());
        assert!((d / e - 1.0).abs() < 0.02, "{d} against {e}");
    }
    let certified = p.one("SELECT CAST(sum(rollup_rows) AS BIGINT) FROM certificates");
    assert_eq!(certified, i64::try_from(LINES).unwrap());
    p.ok(&["retention", "--apply"]);
    assert_eq!(p.one("SELECT count(*) FROM requests"), 0, "raw rows are gone");
    assert_eq!(p.sql(YEARS), years, "and the years are not");
    p.ok(&["run"]);
    assert_eq!(p.sql(YEARS), years);
    let report = p.ok(&["report", "--for", "manager", "--period", "2008"]);
    assert!(report.contains("# Management report · 2008"), "{report}");
    let json = p.json(&["report", "--for", "engineer", "--period", "2009", "--format", "json"]);
    let requests = json["cards"].as_array().unwrap().iter().find(|c| c["metric"] == "requests").unwrap();
    assert_eq!(requests["value"]["value"].as_f64(), years[4]["n"].as_f64());
    assert_eq!(requests["previous"]["value"].as_f64(), years[3]["n"].as_f64());

    // The same log in two halves, one of them on standard input, gives the same tables.
    let cut = text.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(20_000).unwrap().0 + 1;
    let q = Project::new();
    let first = q.write("first.log", &text[..cut]);
    q.ingest("access-log", &[&first]);
    q.pipe("access-log", &text[cut..]);
    q.ok(&["run"]);
    assert_eq!(q.sql(YEARS), years);
}

#[test]
fn compressed_forms_are_read_alike() {
    let Some((_, text)) = log() else { return };
    let head: Vec<u8> = text.split_inclusive(|b| *b == b'\n').take(500).flatten().copied().collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&head).unwrap();
    for (name, bytes) in [
        ("a.log", head.clone()),
        ("a.gz", gz.finish().unwrap()),
        ("a.zst", zstd::encode_all(&head[..], 3).unwrap()),
    ] {
        let p = Project::new();
        let file = p.write(name, bytes);
        assert_eq!(p.ingest("access-log", &[&file])["accepted"], 500, "{name}");
    }
}
