//! The server as senders, readers and attackers meet it.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::project::{Project, log_lines};
use crate::served::{Served, lines};

const EVENTS: &str = "/api/v1/events/requests";

fn zipped(text: &str) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(text.as_bytes()).unwrap();
    e.finish().unwrap()
}

#[test]
fn a_batch_is_kept_once_however_often_it_is_sent() {
    let p = Project::new();
    let s = Served::start(&p, &["--no-run"]);
    let key = |k: &'static str| [("idempotency-key", k)];
    let first = s.post(EVENTS, &key("a"), lines("a", 50).as_bytes());
    assert_eq!((first.status, &first.json()["accepted"]), (200, &Value::from(50)), "{first:?}");
    let again = s.post(EVENTS, &key("a"), lines("a", 50).as_bytes()).json();
    assert_eq!((&again["accepted"], &again["repeated"]), (&Value::from(50), &Value::from(true)));
    assert_eq!(s.post(EVENTS, &key("a"), lines("b", 1).as_bytes()).status, 422, "a key names one batch");
    // Without a key the event ids still tell.
    assert_eq!(s.post(EVENTS, &[], lines("a", 50).as_bytes()).status, 200);
    let packed = s.post(EVENTS, &[("content-encoding", "gzip")], &zipped(&lines("gz", 20)));
    assert_eq!(packed.json()["accepted"], 20);
    let packed = zstd::encode_all(lines("zs", 20).as_bytes(), 1).unwrap();
    assert_eq!(s.post(EVENTS, &[("content-encoding", "zstd")], &packed).json()["accepted"], 20);
    // Bad rows are told one by one and stop nothing.
    let mixed = format!("{}not json\n{{\"time\":\"yesterday\"}}\n", lines("m", 3));
    let told = s.post(EVENTS, &key("m"), mixed.as_bytes()).json();
    assert_eq!(
        (&told["rows"], &told["accepted"], &told["rejected"]),
        (&5.into(), &3.into(), &2.into()),
        "{told}"
    );
    assert_eq!((&told["rejects"][0]["line"], &told["rejects"][1]["line"]), (&4.into(), &5.into()), "{told}");
    // Lines of several streams, each named.
    let two = format!(
        "{}{{\"stream\":\"notes\",\"time\":\"2026-11-21T09:00:00Z\",\"kind\":\"deploy\",\"title\":\"x\"}}\n{{\"stream\":\"whales\"}}\n",
        lines("s", 2).replace("{\"time\"", "{\"stream\":\"requests\",\"time\"")
    );
    let told = s.post("/api/v1/events", &[], two.as_bytes()).json();
    assert_eq!(
        (&told["accepted"], &told["rejected"], &told["rejects"][0]["line"]),
        (&3.into(), &1.into(), &4.into()),
        "{told}"
    );
    for (path, body, status) in
        [("/api/v1/events/whales", "{}", 404), (EVENTS, "", 400), ("/api/v1/nothing", "{}", 404)]
    {
        let a = s.post(path, &[], body.as_bytes());
        assert_eq!(a.status, status, "{a:?}");
        assert!(a.head.contains("application/problem+json") && a.json()["detail"].is_string(), "{a:?}");
    }
    assert_eq!(s.post(EVENTS, &[("content-encoding", "br")], b"x").status, 415);
    assert_eq!(s.post(EVENTS, &[("content-encoding", "gzip")], b"x").status, 400);
    assert!(s.stop(), "a stop is no failure");
    assert_eq!(p.one("SELECT count(*) FROM requests"), 50 + 20 + 20 + 3 + 2);
    assert_eq!(p.one("SELECT count(DISTINCT event_id) FROM requests"), 95);
    assert_eq!(p.one("SELECT count(*) FROM notes"), 1);
    assert_eq!(p.one("SELECT count(*) FROM rejects"), 3);
    let sums = p.sql("SELECT sum(rows) AS r, sum(accepted) AS a, sum(duplicates) AS d, sum(rejected) AS x FROM ingest_files");
    assert_eq!(
        (&sums[0]["r"], &sums[0]["a"], &sums[0]["d"], &sums[0]["x"]),
        (&149.into(), &96.into(), &50.into(), &3.into()),
        "{sums}"
    );
    // Addresses never reach a table in the clear, nor the queue on disk.
    assert_eq!(p.one("SELECT count(*) FROM requests WHERE ip LIKE '198.51%'"), 0);
    assert_eq!(
        std::fs::read_dir(p.path("spool/http"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "seg"))
            .count(),
        0
    );
}

#[test]
fn kill_nine_under_load_loses_and_doubles_nothing() {
    const SENDERS: usize = 4;
    const BATCHES: usize = 90;
    const ROWS: usize = 40;
    let p = Project::new();
    let path = p.path("fishweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("commit_every_s = 5", "commit_every_s = 1")).unwrap();
    let server = Mutex::new(Served::start(&p, &["--no-run", "--no-watch"]));
    let done = AtomicUsize::new(0);
    let mut kills = 0;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                for b in 0..BATCHES {
                    let id = format!("{sender}-{b}");
                    let body = lines(&format!("k{id}"), ROWS);
                    // Until it is acknowledged, as a sender does; the server may be away.
                    loop {
                        let http = server.lock().unwrap().http;
                        let sent = post(http, &id, body.as_bytes());
                        if sent == Some(200) {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(30));
                }
            });
        }
        let moments = [350u64, 900, 1_400, 220, 1_100, 640];
        for ms in moments {
            std::thread::sleep(Duration::from_millis(ms));
            if done.load(Ordering::Relaxed) == SENDERS * BATCHES {
                break;
            }
            let mut s = server.lock().unwrap();
            s.kill();
            kills += 1;
            *s = Served::start(&p, &["--no-run", "--no-watch"]);
        }
    });
    assert!(kills >= 3, "only {kills} kills");
    let s = server.into_inner().unwrap();
    assert!(s.stop());
    let whole = i64::try_from(SENDERS * BATCHES * ROWS).unwrap();
    assert_eq!(
        p.one("SELECT count(DISTINCT event_id) FROM requests"),
        whole,
        "something acknowledged was lost"
    );
    assert_eq!(p.one("SELECT count(*) FROM requests"), whole, "something was stored twice");
}

fn post(http: std::net::SocketAddr, key: &str, body: &[u8]) -> Option<u16> {
    use std::io::Read as _;
    let mut socket = TcpStream::connect_timeout(&http, Duration::from_secs(1)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).ok()?;
    socket.write_all(body).ok()?;
    let mut all = Vec::new();
    socket.read_to_end(&mut all).ok()?;
    String::from_utf8_lossy(&all).split(' ').nth(1)?.parse().ok()
}

#[test]
fn hostile_clients_neither_stop_it_nor_get_through() {
    const EVIL: &str = "<script>alert(1)</script>";
    let p = Project::new();
    p.ok(&[
        "note",
        "add",
        "--kind",
        "deploy",
        "--time",
        "2026-11-20T10:00:00Z",
        "--text",
        EVIL,
        "--actor",
        EVIL,
        EVIL,
    ]);
    let log = p.write(
        "a.log",
        log_lines(5, 0, 300, 60).replace("/title/1001", "/title/%3Cscript%3Ealert(1)%3C/script%3E"),
    );
    p.ingest("access-log", &[&log]);
    p.ok(&["run"]);
    let path = p.path("fishweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("body_mb = 32 ", "body_mb = 1 ")).unwrap();
    let s = Served::start(&p, &["--no-run"]);
    // Half-open connections, one of them in the middle of a head.
    let mut open: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(s.http).unwrap()).collect();
    open[0].write_all(b"POST /api/v1/events HTTP/1.1\r\nhost: loc").unwrap();
    let mut sql: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(s.sql).unwrap()).collect();
    sql[0].write_all(&[0xff; 64]).unwrap();
    let long = "x".repeat(200_000);
    let huge = s.try_send("GET", "/", &[("x-long", &long)], &[]);
    assert!(huge.map_or(true, |a| a.status == 431 || a.status == 400), "a head this long is refused");
    let big = vec![b' '; 2 << 20];
    let a = s.try_send("POST", EVENTS, &[], &big);
    assert!(a.map_or(true, |a| a.status == 413), "a body this large is refused");
    let bomb = zipped(&" ".repeat(20 << 20));
    let a = s.post(EVENTS, &[("content-encoding", "gzip")], &bomb);
    assert_eq!(a.status, 413, "{a:?}");
    for path in [
        "/assets/../../keys/server.token",
        "/assets/%2e%2e%2fkeys%2fserver.token",
        "/incidents/..%2f..%2fkeys",
        "/../fishweir.toml",
    ] {
        let a = s.get(path);
        assert!(a.status == 404 || a.status == 400, "{path}: {a:?}");
        assert!(!a.text().contains(&s.token));
    }
    assert_eq!(s.send("GET", "/", &[("host", "evil.example")], &[]).status, 421, "names that are not ours");
    let cross = s.post("/api/v1/verdicts", &[("origin", "http://evil.example")], b"{}");
    assert_eq!(cross.status, 403, "forms of other sites");
    for path in [
        "/study",
        "/study?metric=requests&event=2026-11-20",
        "/incidents/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/explore?metric=%3Cscript%3Ealert(1)%3C/script%3E",
        "/catalogue?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/?period=%3Cscript%3E",
        "/explore?metric=requests&by=route&period=2026-10",
        "/models",
    ] {
        let a = s.get(path);
        assert!(a.status < 500, "{path}: {a:?}");
        assert!(!a.text().contains("<script>alert"), "{path} lets a script through");
        assert!(a.head.contains("content-security-policy: default-src 'none'"), "{path}: {}", a.head);
    }
    assert!(s.get("/study").text().contains("&lt;script&gt;"), "the note is shown as text");
    let sqlish = s.get("/api/v1/metrics/requests?period=2026-10&by=route&of=%27%20OR%201%3D1%20--");
    assert_eq!(sqlish.status, 200, "{sqlish:?}");
    let bad = s.post(
        "/api/v1/verdicts",
        &[],
        br#"{"subject_kind":"account","subject":"x","verdict":"attack","reviewer":"me"}"#,
    );
    assert_eq!(bad.status, 400, "{bad:?}");
    assert_eq!(s.get("/healthz").status, 200);
    drop((open, sql));
    assert!(s.stop());
}

#[test]
fn the_token_is_asked_for() {
    let p = Project::new();
    let s = Served::start(&p, &["--no-run", "--ask-token"]);
    assert_eq!(s.get("/api/v1/metrics").status, 401);
    assert_eq!(s.get("/healthz").status, 200);
    let page = s.send("GET", "/", &[("accept", "text/html")], &[]);
    assert_eq!(page.status, 303, "a person is sent to sign in");
    let bearer = format!("Bearer {}", s.token);
    assert_eq!(s.send("GET", "/api/v1/metrics", &[("authorization", &bearer)], &[]).status, 200);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(s.post("/login", &form, b"token=wrong").status, 401);
    let signed = s.post("/login", &form, format!("token={}", s.token).as_bytes());
    assert_eq!(signed.status, 303);
    let cookie =
        signed.head.lines().find_map(|l| l.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    assert!(signed.head.contains("httponly") && signed.head.contains("samesite=strict"));
    assert_eq!(s.send("GET", "/incidents", &[("cookie", cookie), ("accept", "text/html")], &[]).status, 200);
}

#[test]
fn values_are_those_of_the_command_line_and_unknown_ones_are_said_to_be() {
    let p = Project::new();
    let log = p.write("a.log", log_lines(5, 0, 2_000, 30));
    p.ingest("access-log", &[&log]);
    p.ok(&["run"]);
    let s = Served::start(&p, &["--no-run"]);
    let told = p.json(&[
        "metric",
        "requests",
        "--from",
        "2026-10-05",
        "--to",
        "2026-10-06",
        "--grain",
        "day",
        "--format",
        "json",
    ]);
    let value = s.get("/api/v1/metrics/requests?from=2026-10-05&to=2026-10-06&grain=day").json();
    assert_eq!(value["values"][0]["value"], 2_000.0, "{value} {told}");
    assert_eq!(
        value["values"][0]["coverage"].as_f64().unwrap(),
        told[0]["coverage"].as_f64().unwrap(),
        "{told}"
    );
    let unknown = s.get("/api/v1/metrics/dos_stopped_share?period=2025-01&grain=whole").json();
    assert!(
        unknown["values"][0]["value"].is_null() && unknown["values"][0]["reason"].is_string(),
        "{unknown}"
    );
    let csv = s.get("/api/v1/metrics/requests?period=2026-10-05&grain=hour&format=csv");
    assert!(csv.head.contains("attachment") && csv.text().lines().count() == 25, "{}", csv.text());
    let parquet = s.get("/api/v1/metrics/requests?period=2026-10-05&grain=day&format=parquet").body;
    let file = p.write("values.parquet", &parquet);
    let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        std::fs::File::open(file).unwrap(),
    )
    .unwrap();
    assert_eq!(rows.metadata().file_metadata().num_rows(), 1);
    let prometheus = s.get("/metrics").text();
    assert!(
        prometheus.contains("fishweir_headline_requests{end=\"value\"}")
            || prometheus.contains("fishweir_sealed_until_seconds"),
        "{prometheus}"
    );
    assert!(!prometheus.contains("NaN"));
    for path in [
        "/",
        "/business",
        "/operations",
        "/incidents",
        "/rules",
        "/takeovers",
        "/campaigns",
        "/labels",
        "/explore",
        "/study",
        "/catalogue",
        "/catalogue/requests",
        "/models",
        "/alerts",
    ] {
        let a = s.get(path);
        assert_eq!(a.status, 200, "{path}: {}", a.text());
    }
    let ops = s.get("/operations").text();
    assert!(ops.contains("what is open now is unknown"), "no stream is no calm");
}

#[test]
fn sql_reads_and_does_nothing_else() {
    if Command::new("psql").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: `psql` is not here");
        return;
    }
    let p = Project::new();
    let log = p.write("a.log", log_lines(5, 0, 500, 30));
    p.ingest("access-log", &[&log]);
    let s = Served::start(&p, &["--no-run"]);
    let psql = |user: &str, password: &str, sql: &str| {
        let port = s.sql.port().to_string();
        let mut c = Command::new("psql");
        c.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &port, "-U", user, "fishweir", "-c", sql]);
        let out = c.env("PGPASSWORD", password).output().unwrap();
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let ask = |sql: &str| psql("fishweir", &s.token, sql);
    assert_eq!(ask("SELECT count(*) FROM requests").0.trim(), "500");
    assert!(ask("SELECT version()").0.starts_with("PostgreSQL 16"));
    assert!(ask("\\d requests").0.contains("event_id|text"), "{:?}", ask("\\d requests"));
    assert!(ask("SELECT data_type FROM information_schema.columns WHERE table_name = 'requests' AND column_name = 'time'").0.contains("timestamp with time zone"));
    assert_eq!(ask("SELECT CAST(hll_count(hll(event_id)) AS BIGINT) > 400 FROM requests").0.trim(), "t");
    let etc = p.write("secret.csv", "a\n1\n");
    for refused in [
        "DROP TABLE requests".to_owned(),
        "SELECT 1; DELETE FROM requests".to_owned(),
        "INSERT INTO requests SELECT * FROM requests".to_owned(),
        format!("COPY requests TO '{etc}'"),
        format!("COPY (SELECT 1) TO '{etc}'"),
        "SELECT * INTO copied FROM requests".to_owned(),
        "CREATE TABLE copied AS SELECT * FROM requests".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        format!("SELECT * FROM '{etc}'"),
        format!("SELECT * FROM read_csv('{etc}')"),
        "DECLARE c CURSOR FOR DELETE FROM requests".to_owned(),
        "EXPLAIN ANALYZE DELETE FROM requests".to_owned(),
    ] {
        let (out, err) = ask(&refused);
        assert!(err.contains("ERROR"), "`{refused}` went through: {out} {err}");
    }
    assert_eq!(std::fs::read_to_string(&etc).unwrap(), "a\n1\n");
    assert!(psql("fishweir", "wrong", "SELECT 1").1.contains("authentication failed"));
    assert!(psql("postgres", &s.token, "SELECT 1").1.contains("authentication failed"));
    assert!(psql("fishweir", "", "SELECT 1").1.contains("password"));
    assert_eq!(ask("SELECT count(*) FROM requests").0.trim(), "500", "after all that");
}

// A Python with Postgres clients, made once; `None` where that is impossible.
fn python() -> Option<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-clients");
    let python = folder.join("bin/python");
    let quiet =
        |c: &mut Command| c.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let ready =
        |p: &std::path::Path| quiet(Command::new(p).args(["-c", "import psycopg, psycopg2, sqlalchemy"]));
    if !ready(&python) {
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let packages = ["psycopg[binary]", "psycopg2-binary", "sqlalchemy"];
        quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
    }
    ready(&python).then_some(python)
}

const CLIENTS: &str = r#"
import sys, datetime, psycopg, psycopg2, sqlalchemy
port, token = sys.argv[1], sys.argv[2]
where = dict(host="127.0.0.1", port=port, user="fishweir", password=token, dbname="fishweir")
with psycopg.connect(**where) as c:
    assert c.execute("SELECT count(*) FROM requests WHERE status = %s", (200,)).fetchone()[0] == 490
    day = datetime.datetime(2026, 10, 5, 1, tzinfo=datetime.timezone.utc)
    assert c.execute("SELECT count(*) FROM requests WHERE time < %s", (day,)).fetchone()[0] == 120
for write in ("DELETE FROM requests WHERE status = %s", "INSERT INTO requests SELECT * FROM requests WHERE status = %s"):
    with psycopg.connect(**where, autocommit=True) as c:
        try:
            c.execute(write, (200,))
            raise SystemExit("written: " + write)
        except psycopg.errors.ReadOnlySqlTransaction:
            pass
        assert c.execute("SELECT 1").fetchone() == (1,)
with psycopg2.connect(**where) as c:
    cursor = c.cursor("named")
    cursor.itersize = 100
    cursor.execute("SELECT event_id FROM requests")
    assert len(list(cursor)) == 500
engine = sqlalchemy.create_engine(f"postgresql+psycopg2://fishweir:{token}@127.0.0.1:{port}/fishweir")
looked = sqlalchemy.inspect(engine)
assert "public" in looked.get_schema_names() and "requests" in looked.get_table_names()
types = {c["name"]: str(c["type"]) for c in looked.get_columns("requests")}
assert types["time"] == "TIMESTAMP" and types["latency_us"] == "BIGINT", types
assert looked.get_pk_constraint("requests")["constrained_columns"] == [] and looked.get_indexes("requests") == []
with engine.connect() as c:
    assert c.dialect.server_version_info[0] == 16
    assert c.execute(sqlalchemy.text("SELECT count(*) FROM requests")).scalar() == 500
"#;

#[test]
fn python_clients_read_and_do_nothing_else() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with Postgres clients");
        return;
    };
    let p = Project::new();
    let log = p.write("a.log", log_lines(5, 0, 500, 30));
    p.ingest("access-log", &[&log]);
    let s = Served::start(&p, &["--no-run"]);
    let out =
        Command::new(python).args(["-c", CLIENTS, &s.sql.port().to_string(), &s.token]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

const LIVE: &str = r#"
name = "live"
description = "A launch, then a flood."

[[happening]]
kind = "launch"
day = 5.2
minutes = 60
size = 0.4

[[campaign]]
name = "flood"
kind = "A1"
day = 5.4
minutes = 12
size = 4.0
sources = "iot"
"#;

// Takes posts and keeps their bodies.
fn hook() -> (String, Arc<Mutex<Vec<Value>>>) {
    use std::io::Read as _;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let got: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = Arc::clone(&got);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut all = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(n) = socket.read(&mut buffer) {
                all.extend_from_slice(&buffer[..n]);
                let text = String::from_utf8_lossy(&all).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                if n == 0 || body.len() >= length.unwrap_or(0) {
                    keep.lock().unwrap().extend(serde_json::from_str::<Value>(body));
                    break;
                }
            }
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (url, got)
}

#[test]
fn a_flood_in_the_stream_is_told_once_and_a_launch_is_not() {
    let p = Project::new();
    let scenario = p.write("scenario.toml", LIVE);
    let out = p.path("world").to_str().unwrap().to_owned();
    p.ok(&[
        "simulate",
        "--scenario",
        &scenario,
        "--out",
        &out,
        "--days",
        "6",
        "--accounts",
        "300",
        "--start",
        "2026-11-02",
        "--seed",
        "5",
        "--events",
        "ndjson",
    ]);
    // Five days are history, the sixth comes over HTTP.
    for day in 2..7 {
        p.ingest("fishweir", &[&format!("{out}/events/requests/2026-11-0{day}/*")]);
    }
    p.ok(&["run"]);
    let (url, got) = hook();
    let path = p.path("fishweir.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        format!("{text}\n[[destinations]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{url}\"\n"),
    )
    .unwrap();
    let shipped = include_str!("../../../../alerts/attack_open.yaml");
    p.write("alerts/attack_open.yaml", format!("{shipped}to: [hook]\n"));
    let s = Served::start(&p, &["--no-run"]);
    let mut hours: Vec<_> = std::fs::read_dir(format!("{out}/events/requests/2026-11-07"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    hours.sort();
    for (i, hour) in hours.iter().enumerate().take(12) {
        let text = text_of(hour);
        // Batches of a few seconds, as senders have them.
        let all: Vec<&str> = text.lines().collect();
        for (n, part) in all.chunks(200).enumerate() {
            let a = s.post(
                EVENTS,
                &[("idempotency-key", &format!("{i}-{n}"))],
                format!("{}\n", part.join("\n")).as_bytes(),
            );
            assert_eq!(a.status, 200, "{a:?}");
        }
    }
    s.until("the attack is told", 60, |_| got.lock().unwrap().iter().any(|m| m["state"] == "open"));
    let told = got.lock().unwrap().clone();
    let open: Vec<&Value> = told.iter().filter(|m| m["state"] == "open").collect();
    assert_eq!(open.len(), 1, "one message per attack: {told:#?}");
    let truth: Value =
        serde_json::from_str(&std::fs::read_to_string(p.path("world/truth/campaigns.json")).unwrap())
            .unwrap();
    assert!(open[0]["subject"].as_str().unwrap().starts_with("dos-20261107T09"), "{open:#?} {truth}");
    let live = s.get("/api/v1/live").json();
    let said = p_live(&s);
    let attacks: Vec<&Value> =
        said.iter().filter(|e| e["kind"] == "attack" && e["event"] == "open").collect();
    assert!(attacks.len() <= 1, "{said:#?}");
    assert!(live["rates"][0]["minutes"].as_array().unwrap().len() > 60);
    assert!(s.get("/operations").text().contains(open[0]["subject"].as_str().unwrap()), "the page shows it");
    // Within seconds of the stream's own time.
    let begun = truth[0]["start_us"].as_i64().unwrap();
    let said_us = s.get("/api/v1/live").json();
    assert!(said_us["clock_us"].as_i64().unwrap() > begun);
    s.until("what was said is stored", 10, |_| {
        p.one("SELECT count(*) FROM live_incidents WHERE incident_id LIKE 'dos-20261107T09%'") > 0
    });
    let opened = p.one(
        "SELECT min(CAST(time AS BIGINT)) FROM live_incidents WHERE incident_id LIKE 'dos-20261107T09%'",
    );
    let late_s = (opened - begun) / 1_000_000;
    assert!((0..=15).contains(&late_s), "opened {late_s} s after the first request of the flood");
    let before = format!(
        "SELECT count(*) FROM live_incidents WHERE kind = 'attack' AND CAST(time AS BIGINT) < {begun}"
    );
    assert_eq!(p.one(&before), 0, "the launch was taken for an attack");
}

fn p_live(s: &Served) -> Vec<Value> {
    let live = s.get("/api/v1/live").json();
    let of = |k: &str| live[k].as_array().cloned().unwrap_or_default();
    of("open").into_iter().chain(of("closed")).collect()
}

fn text_of(path: &std::path::Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let plain = match path.extension().and_then(|e| e.to_str()) {
        Some("zst") => zstd::decode_all(&bytes[..]).unwrap(),
        _ => bytes,
    };
    String::from_utf8(plain).unwrap()
}
