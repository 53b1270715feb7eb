//! Exactly once: the same file, a grown file, a renamed file, parts and streams.

use std::io::Write as _;

use serde_json::json;

use crate::project::{Project, log_lines};

#[test]
fn again_grown_renamed_and_compressed_files_add_only_what_is_new() {
    let p = Project::new();
    let all = log_lines(5, 0, 3000, 20);
    let cut = all.match_indices('\n').nth(1999).unwrap().0 + 1;
    let file = p.write("a.log", &all[..cut]);
    assert_eq!(p.ingest("access-log", &[&file])["accepted"], 2000);
    assert_eq!(p.ingest("access-log", &[&file])["accepted"], 0);
    // Grown, with the last line cut in the middle.
    p.write("a.log", &all[..all.len() - 30]);
    let s = p.ingest("access-log", &[&file]);
    assert_eq!(
        (s["accepted"].as_u64(), s["duplicates"].as_u64(), s["rejected"].as_u64()),
        (Some(999), Some(2000), Some(1))
    );
    p.write("a.log", &all);
    let s = p.ingest("access-log", &[&file]);
    assert_eq!((s["accepted"].as_u64(), s["duplicates"].as_u64()), (Some(1), Some(2999)));
    // The same content under another name, compressed, or on standard input.
    let renamed = p.write("a.log.1", &all);
    assert_eq!(p.ingest("access-log", &[&renamed])["accepted"], 0);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(all.as_bytes()).unwrap();
    let zipped = p.write("b.gz", gz.finish().unwrap());
    assert_eq!(p.ingest("access-log", &[&zipped])["accepted"], 0);
    let zst = p.write("c.zst", zstd::encode_all(all.as_bytes(), 1).unwrap());
    assert_eq!(p.ingest("access-log", &[&zst])["accepted"], 0);
    assert_eq!(p.pipe("access-log", all.as_bytes())["accepted"], 0);
    assert_eq!(p.one("SELECT count(*) FROM requests"), 3000);
    assert_eq!(p.one("SELECT count(DISTINCT event_id) FROM requests"), 3000);
    // An older, shorter copy is refused with a reason rather than guessed at.
    let older = p.write("old.log", &all[..cut / 2]);
    let out = p.run(&["ingest", "--source", "access-log", &older]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("older copy"), "{out:?}");
}

#[test]
fn native_events_are_told_apart_by_id_across_files() {
    let p = Project::new();
    let line = |id: u32| {
        json!({"event_id": format!("e{id}"), "time": "2026-10-05T10:00:00Z", "service": "web", "method": "GET",
               "path": format!("/title/{id}"), "status": 200, "ip": "198.51.100.7", "account": "a1", "latency_us": 1200})
        .to_string() + "\n"
    };
    let first: String = (0..100).map(line).collect();
    let second: String = (50..150).map(line).collect();
    let a = p.write("requests-a.ndjson", first);
    let b = p.write("requests-b.ndjson", second);
    assert_eq!(p.ingest("fishweir", &[&a])["accepted"], 100);
    let s = p.ingest("fishweir", &[&b]);
    assert_eq!((s["accepted"].as_u64(), s["duplicates"].as_u64()), (Some(50), Some(50)));
    assert_eq!(p.one("SELECT count(*) FROM requests"), 150);
    // Nothing of the clear ids is stored.
    let rows = p.sql("SELECT ip, account, ip_prefix, route FROM requests LIMIT 1");
    let row = rows[0].as_object().unwrap();
    assert!(row["ip"].as_str().unwrap().starts_with("k1."), "{row:?}");
    assert!(row["account"].as_str().unwrap().starts_with("k1."));
    assert_eq!(row["ip_prefix"], "198.51.100.0/24");
    assert_eq!(row["route"], "/title/{id}");
}

#[test]
fn other_ready_sources_read_their_formats() {
    let p = Project::new();
    let nginx = p.write("nginx.json", concat!(
        r#"{"time_iso8601":"2026-10-05T10:00:00+00:00","remote_addr":"198.51.100.7","request_method":"GET","request_uri":"/a?x=1","status":200,"request_time":0.250,"body_bytes_sent":17,"http_user_agent":"curl/8"}"#, "\n",
        r#"{"time_local":"2026-10-05T10:00:01Z","remote_addr":"198.51.100.8","request":"POST /login HTTP/1.1","status":"401","request_time":"0.1","bytes_sent":9}"#, "\n",
    ));
    assert_eq!(p.ingest("nginx-json", &[&nginx])["accepted"], 2);
    let alb = p.write("alb.log", "https 2026-10-05T10:00:02.186641Z app/lb/1 198.51.100.9:2817 10.0.0.1:80 0.001 0.048 0.001 200 200 34 366 \"GET https://www.example.com:443/title/77?q=1 HTTP/1.1\" \"curl/7.46.0\" ECDHE TLSv1.2 arn:x \"Root=1\" \"www.example.com\" \"arn:c\" 0 2026-10-05T10:00:02.100000Z \"waf,forward\" \"-\" \"-\"\n");
    assert_eq!(p.ingest("aws-alb", &[&alb])["accepted"], 1);
    let cf = p.write("cf.log", "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query x-edge-request-id x-host-header time-taken\n2026-10-05\t10:00:03\tFRA2\t392\t198.51.100.10\tGET\td1.example\t/index.html\t200\t-\tMozilla/5.0%20(x)\t-\treq-1\twww.example\t0.5\n");
    assert_eq!(p.ingest("cloudfront", &[&cf])["accepted"], 1);
    let rows =
        p.sql("SELECT source, service, method, path, status, latency_us, action FROM requests ORDER BY time");
    let shown: Vec<String> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            ["source", "service", "method", "path", "status", "latency_us", "action"]
                .map(|k| r[k].to_string())
                .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#""nginx-json" "www" "GET" "/a?x=1" 200 250000 null"#,
            r#""nginx-json" "www" "POST" "/login" 401 100000 null"#,
            r#""aws-alb" "app/lb/1" "GET" "/title/77?q=1" 200 50000 "allow""#,
            r#""cloudfront" "www.example" "GET" "/index.html" 200 500000 null"#,
        ]
    );
}

#[test]
fn csv_with_quoted_line_ends_and_a_source_of_ones_own() {
    let p = Project::new();
    p.write("sources/mine.toml", "name = \"mine\"\nstream = \"requests\"\nformat = \"csv\"\n[map]\ntime = \"at\"\nmethod = \"'GET'\"\npath = \"url\"\nstatus = \"cast(code as int)\"\n");
    let csv = p.write("x.csv", "at,url,code\n2026-10-05T00:00:00Z,\"/a\nb\",200\n2026-10-05T00:00:01Z,/c,oops\n2026-10-05T00:00:02Z,/d\n2026-10-05T00:00:03Z,/e,404\n");
    let s = p.ingest("mine", &[&csv]);
    assert_eq!(
        (s["rows"].as_u64(), s["accepted"].as_u64(), s["rejected"].as_u64()),
        (Some(4), Some(2), Some(2)),
        "{s}"
    );
    let rejects = p.sql("SELECT line, reason FROM rejects ORDER BY line");
    assert!(rejects[0]["reason"].as_str().unwrap().contains("status"), "{rejects}");
    assert!(rejects[1]["reason"].as_str().unwrap().contains("2 cells where the header has 3"), "{rejects}");
    assert_eq!(p.ingest("mine", &[&csv])["accepted"], 0);
}
