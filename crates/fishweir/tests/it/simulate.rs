//! The simulator as its users meet it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use crate::project::Project;

#[test]
fn scenarios_are_listed_printed_and_checked() {
    let p = Project::new();
    let list = p.ok(&["simulate", "--list"]);
    assert!(list.lines().count() >= 13 && list.contains("s11"), "{list}");
    let text = p.ok(&["simulate", "--scenario", "s3", "--print"]);
    let file = p.write("mine.toml", text.replace("tier = 2", "tier = 7"));
    let out = p.run(&["simulate", "--scenario", &file, "--out", p.path("w").to_str().unwrap()]);
    let e = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        !out.status.success() && e.contains("mine.toml") && e.contains("tier") && e.contains("1 to 4"),
        "{e}"
    );
    assert!(!p.path("w/truth/manifest.json").exists());
    let out = p.run(&["simulate", "--scenario", "s77", "--out", p.path("w").to_str().unwrap()]);
    let e = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(e.contains("no scenario is called `s77`") && e.contains("s10"), "{e}");
}

#[test]
fn live_events_come_as_lines_in_order_of_time() {
    let p = Project::new();
    let mut child = p
        .command(&["simulate", "--scenario", "s0", "--accounts", "50", "--days", "1", "--live", "1000000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = String::new();
    let mut streams = std::collections::BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().take(500) {
        let row: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let time = row["time"].as_str().unwrap().to_owned();
        assert!(time >= last || time[..15] == last[..15], "{time} after {last}");
        last = time;
        streams.insert(row["stream"].as_str().unwrap().to_owned());
    }
    assert!(streams.contains("requests") && streams.len() >= 2, "{streams:?}");
    child.kill().ok();
    child.wait().unwrap();
}

#[test]
fn live_events_can_be_posted_and_a_busy_server_gets_them_again() {
    let p = Project::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut keys, mut lines) = (Vec::new(), 0);
        for n in 0.. {
            let (mut socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut length, mut key) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let low = line.to_lowercase();
                if let Some(v) = low.strip_prefix("content-length:") {
                    length = v.trim().parse().unwrap();
                }
                if let Some(v) = low.strip_prefix("idempotency-key:") {
                    key = v.trim().to_owned();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            keys.push(key);
            // Busy at first.
            let answer = if n == 0 { "429 Too Many Requests\r\nretry-after: 0" } else { "200 OK" };
            write!(socket, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            if n > 0 {
                lines += body.iter().filter(|b| **b == b'\n').count();
                break;
            }
        }
        (keys, lines)
    });
    let mut child = p
        .command(&[
            "simulate",
            "--scenario",
            "s0",
            "--accounts",
            "60",
            "--days",
            "1",
            "--live",
            "5000",
            "--to",
            &url,
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (keys, lines) = server.join().unwrap();
    child.kill().ok();
    child.wait().unwrap();
    assert_eq!(keys[0], keys[1], "the same batch comes again under the same key");
    assert!(lines > 0);
}
