//! A project in a scratch folder, driven through the binary.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub(crate) struct Project {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) now: &'static str,
}

impl Project {
    pub(crate) fn new() -> Self {
        let p = Self { dir: tempfile::tempdir().unwrap(), now: "2026-11-21T12:00:00Z" };
        p.ok(&["init"]);
        p
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_fishweir"));
        c.arg("--project").arg(self.dir.path()).args(["--now", self.now, "--quiet"]).args(args);
        c.env_remove("FISHWEIR_PROJECT").env_remove("FISHWEIR_NOW");
        c
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
    }

    pub(crate) fn ingest(&self, source: &str, files: &[&str]) -> Value {
        let mut args = vec!["ingest", "--source", source, "--format", "json"];
        args.extend(files);
        let out = self.run(&args);
        let summary: Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
        let n = |k: &str| summary[k].as_u64().unwrap();
        assert_eq!(n("rows"), n("accepted") + n("duplicates") + n("rejected"), "{summary}");
        summary
    }

    pub(crate) fn stdin(&self, args: &[&str], bytes: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn pipe(&self, source: &str, bytes: &[u8]) -> Value {
        let out = self.stdin(&["ingest", "--source", source, "--format", "json", "-"], bytes);
        serde_json::from_slice(&out.stdout).unwrap()
    }

    pub(crate) fn sql(&self, query: &str) -> Value {
        self.json(&["sql", "--format", "json", query])
    }

    pub(crate) fn one(&self, query: &str) -> i64 {
        let rows = self.sql(query);
        rows[0].as_object().unwrap().values().next().unwrap().as_i64().unwrap_or(-1)
    }
}

/// `n` access-log lines, one every `step_s` seconds from a day in 2026.
pub(crate) fn log_lines(day: u32, first: usize, n: usize, step_s: usize) -> String {
    let mut out = String::new();
    for i in first..first + n {
        let s = i * step_s;
        let (h, m, sec) = (s / 3600 % 24, s / 60 % 60, s % 60);
        let status = if i % 50 == 0 { 500 } else { 200 };
        out.push_str(&format!(
            "198.51.{}.{} - - [{day:02}/Oct/2026:{h:02}:{m:02}:{sec:02} +0000] \"GET /title/{} HTTP/1.1\" {status} {} \"-\" \"Mozilla/5.0 (Windows NT 10.0)\"\n",
            i % 7, i % 250, 1000 + i % 40, 100 + i
        ));
    }
    out
}

pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("skipped: `{}` is not here", found.display());
    None
}
