//! A server over a project in a scratch folder, and a client for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;

pub(crate) struct Served {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) sql: SocketAddr,
    pub(crate) token: String,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Served {
    pub(crate) fn start(p: &Project, more: &[&str]) -> Self {
        let mut args = vec!["serve", "--port", "0", "--sql-port", "0"];
        args.extend(more);
        let mut child = p.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |prefix: &str| -> SocketAddr {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(prefix)
                .unwrap_or_else(|| panic!("{line}"))
                .trim_end_matches("/fishweir")
                .parse()
                .unwrap()
        };
        let (http, sql) = (address("dashboard: http://"), address("sql: postgresql://fishweir@"));
        // Alerts go to standard output: a full pipe would stop the server.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(p.path("keys/server.token")).unwrap().trim().to_owned();
        Self { child, http, sql, token }
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body).unwrap()
    }

    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut socket = TcpStream::connect(self.http)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|h| h.0 == "host") {
            head.push_str(&format!("host: {}\r\n", self.http));
        }
        for (k, v) in headers {
            head.push_str(&format!("{k}: {v}\r\n"));
        }
        socket.write_all(format!("{head}\r\n").as_bytes())?;
        // A server that refuses may close before it has read everything.
        let _ = socket.write_all(body);
        let mut all = Vec::new();
        socket.read_to_end(&mut all)?;
        answer(&all).ok_or_else(|| std::io::Error::other("no whole answer"))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send("POST", path, headers, body)
    }

    /// Waits until something holds.
    pub(crate) fn until(&self, what: &str, longest_s: u64, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < Duration::from_secs(longest_s), "{what}: not within {longest_s} s");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops as an administrator would; returns whether the process ended well.
    pub(crate) fn stop(mut self) -> bool {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

fn answer(all: &[u8]) -> Option<Answer> {
    let end = all.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut body = all[end + 4..].to_vec();
    if head.contains("transfer-encoding: chunked") {
        body = chunks(&body)?;
    } else if let Some(n) =
        head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok())
        && body.len() < n
    {
        return None;
    }
    Some(Answer { status, head, body })
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

/// `n` requests as lines, with ids of their own that begin with `id`.
pub(crate) fn lines(id: &str, n: usize) -> String {
    let mut out = String::new();
    for i in 0..n {
        out.push_str(&format!(
            "{{\"time\":\"2026-11-21T10:{:02}:{:02}Z\",\"service\":\"web\",\"method\":\"GET\",\"path\":\"/title/{}\",\"status\":200,\"latency_us\":5000,\"ip\":\"198.51.100.{}\",\"event_id\":\"{id}-{i}\"}}\n",
            i / 60 % 60,
            i % 60,
            1000 + i,
            i % 250
        ));
    }
    out
}
