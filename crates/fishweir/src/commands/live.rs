//! `fishweir live`

use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use fishweir_events::{DAY_US, Interval, Stream};
use fishweir_ingest::{Ingest, Lines};
use fishweir_labels::{
    LIVE_INCIDENTS, LiveEvent, LiveRows, LiveWatch, known_clients, live_history, live_incident_row,
    live_incident_table, sealed_surge,
};
use serde_json::json;

use crate::cli::{Format, LiveArgs};
use crate::output::{PARTIAL, print_json, say};
use crate::project::Project;

const READ_BYTES: usize = 1 << 18;
const REJECTS_SHOWN: u64 = 5;

pub(crate) async fn run(project: &Project, args: &LiveArgs, quiet: bool) -> Result<u8> {
    if args.review {
        return review(project, args.format).await;
    }
    project.ensure_tables().await?;
    let config = project.ingest_config(project.source(&args.source)?, false)?;
    let now_us = project.now_us;
    let clock = Box::new(move || now_us);
    let ingest = Ingest::new(
        project.lake()?,
        config,
        project.pseudonyms()?,
        project.routes()?,
        project.networks()?,
        clock,
    );
    let lines = Lines::new(&ingest, Stream::Requests)?;
    let mut feed = Feed {
        project,
        lines,
        watch: None,
        day: 0,
        rows: 0,
        rejected: 0,
        skipped: 0,
        quiet,
        format: args.format,
        store: !args.no_store,
    };
    let (send, mut receive) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(4);
    std::thread::spawn(move || read(&send));
    let mut rest = Vec::new();
    while let Some(bytes) = receive.recv().await {
        rest.extend_from_slice(&bytes.context("standard input")?);
        let Some(end) = rest.iter().rposition(|b| *b == b'\n') else {
            if rest.len() > project.config.limits.line_bytes.max(READ_BYTES) {
                feed.rejected += 1;
                rest.clear();
            }
            continue;
        };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        feed.take(whole).await?;
    }
    if !rest.is_empty() {
        rest.push(b'\n');
        feed.take(rest).await?;
    }
    feed.end().await
}

// Hands on whatever there is as soon as it is there.
fn read(send: &tokio::sync::mpsc::Sender<std::io::Result<Vec<u8>>>) {
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let next = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => Ok(buffer[..n].to_vec()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        if send.blocking_send(next).is_err() {
            return;
        }
    }
}

struct Feed<'a> {
    project: &'a Project,
    lines: Lines,
    watch: Option<LiveWatch>,
    day: i64,
    rows: u64,
    rejected: u64,
    skipped: u64,
    quiet: bool,
    format: Format,
    store: bool,
}

impl Feed<'_> {
    async fn take(&mut self, bytes: Vec<u8>) -> Result<()> {
        let bytes = self.requests_only(bytes);
        let parsed = self.lines.parse(bytes);
        for (line, reason) in &parsed.rejects {
            self.rejected += 1;
            if self.rejected <= REJECTS_SHOWN {
                eprintln!("line {line}: {reason}");
            }
        }
        for batch in &parsed.batches {
            self.rows += batch.num_rows() as u64;
            let rows = LiveRows::of(batch).context("a column is missing")?;
            for r in rows.order() {
                let hit = rows.hit(r);
                let events = self.watch(hit.time_us).await?.push(&hit);
                self.tell(&events).await?;
            }
        }
        Ok(())
    }

    // Lines that name another stream are not ours.
    fn requests_only(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        const KEY: &[u8] = b"\"stream\":\"";
        let other = |line: &[u8]| {
            let at = line.windows(KEY.len()).take(256).position(|w| w == KEY);
            at.is_some_and(|i| !line[i + KEY.len()..].starts_with(b"requests\""))
        };
        let mut out = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            if other(line) {
                self.skipped += 1;
            } else {
                out.extend_from_slice(line);
            }
        }
        out
    }

    // Begun with the first request, whose time says what is history; clients are read anew each day.
    async fn watch(&mut self, time_us: i64) -> Result<&mut LiveWatch> {
        let day = time_us - time_us.rem_euclid(DAY_US);
        if self.watch.is_none() {
            let config = &self.project.config;
            let catalog = self.project.catalog()?;
            let history = live_history(&catalog, &config.detector, &config.scan, time_us).await?;
            if !self.quiet {
                let minutes = history.counts.first().map_or(0, Vec::len);
                eprintln!(
                    "{} routes over {:.1} days, {} known clients{}",
                    history.routes.len().saturating_sub(1),
                    minutes as f64 / 1_440.0,
                    history.known.len(),
                    if history.strangers.is_none() { "; strangers are not told apart" } else { "" }
                );
            }
            self.watch = Some(LiveWatch::new(config.detector.clone(), config.scan.clone(), history));
            self.day = day;
        } else if day > self.day {
            self.day = day;
            let known = known_clients(&self.project.catalog()?, day).await?;
            if let Some(watch) = self.watch.as_mut().filter(|_| !known.is_empty()) {
                watch.set_known(known);
            }
        }
        self.watch.as_mut().context("the watch has begun")
    }

    async fn tell(&self, events: &[LiveEvent]) -> Result<()> {
        for e in events {
            match self.format {
                Format::Json => say(&serde_json::to_string(e)?)?,
                Format::Text | Format::Csv => say(&line(e))?,
            }
            if self.store && e.event != "update" {
                // What cannot be kept is said all the same.
                if let Err(cause) = store(self.project, e).await {
                    eprintln!("not kept in table `{LIVE_INCIDENTS}`: {cause:#}");
                }
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Result<u8> {
        let events = self.watch.as_mut().map(LiveWatch::finish).unwrap_or_default();
        self.tell(&events).await?;
        if !self.quiet {
            let late = self.watch.as_ref().map_or(0, |w| w.late_rows);
            eprintln!(
                "{} requests, {} lines refused, {} of other streams, {late} late",
                self.rows, self.rejected, self.skipped
            );
        }
        Ok(if self.rejected > 0 { PARTIAL } else { 0 })
    }
}

fn stamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn line(e: &LiveEvent) -> String {
    let p = e.p_attack.map_or("unknown".to_owned(), |p| format!("{:.0} %", p * 100.0));
    format!(
        "{} {:9} {:44} {:11} attack with {p}; {:.0} requests above expectation, stopped {}, by {}: {}",
        stamp(e.time_us),
        e.event,
        e.incident_id,
        e.kind,
        e.excess_requests,
        e.stopped_share.map_or("none known".to_owned(), |s| format!("{:.0} %", s * 100.0)),
        e.found_by,
        e.routes.join(" ")
    )
}

// What was said live is kept, so that the sealed path can be held against it.
async fn store(project: &Project, e: &LiveEvent) -> Result<()> {
    project.lake()?.table(&live_incident_table()).await?.append(&[live_incident_row(e)?], &[]).await?;
    Ok(())
}

// What the sealed minutes made of everything that was opened live.
async fn review(project: &Project, format: Format) -> Result<u8> {
    let evaluator = crate::commands::report::evaluator(project).await?;
    if !evaluator.has_table(LIVE_INCIDENTS) {
        bail!("nothing was ever opened live\nhint: `fishweir live` reads a stream");
    }
    let sql = format!(
        "SELECT incident_id, min(CAST(time AS BIGINT)) AS said, min(CAST(start AS BIGINT)) AS s, max(CAST(\"end\" AS BIGINT)) AS e, last_value(kind ORDER BY time, is_open DESC) AS kind, last_value(routes ORDER BY time, is_open DESC) AS routes, last_value(event ORDER BY time, is_open DESC) AS event, max(excess_requests) AS excess FROM {LIVE_INCIDENTS} GROUP BY 1 ORDER BY 2, 1"
    );
    let sealed_to = evaluator.sealed_span("requests").map_or(0, |s| s.to_us);
    let catalog = project.catalog()?;
    let mut out = Vec::new();
    for r in evaluator.rows(&sql).await? {
        let text = |k: &str| r.get(k).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let int = |k: &str| r.get(k).and_then(serde_json::Value::as_i64).unwrap_or(0);
        let range = Interval::new(int("s"), int("e").max(int("s") + 1));
        let routes: Vec<String> =
            text("routes").split(' ').filter(|r| !r.is_empty()).map(str::to_owned).collect();
        let sealed = sealed_surge(&catalog, range, &routes).await?;
        let verdict = match &sealed {
            _ if range.to_us > sealed_to => "not sealed yet".to_owned(),
            None if text("event") == "withdrawn" => "agrees: nothing there".to_owned(),
            None => "corrects: no surge there".to_owned(),
            Some(s) if s.kind == text("kind") => "confirms".to_owned(),
            Some(s) => format!("corrects: {}", s.kind),
        };
        out.push(json!({
            "incident_id": text("incident_id"), "said_at": stamp(int("said")), "start": stamp(range.from_us),
            "end": stamp(range.to_us), "kind": text("kind"), "event": text("event"), "excess_requests": r.get("excess"),
            "sealed": verdict, "sealed_incident_id": sealed.as_ref().map(|s| &s.incident_id),
            "sealed_kind": sealed.as_ref().map(|s| &s.kind),
            "sealed_excess_requests": sealed.as_ref().and_then(|s| s.excess_requests),
        }));
    }
    if format == Format::Json {
        print_json(&out)?;
        return Ok(0);
    }
    for r in &out {
        let text = |k: &str| r[k].as_str().unwrap_or_default();
        let other = r["sealed_incident_id"].as_str().map_or(String::new(), |i| format!(" as {i}"));
        say(&format!(
            "{} {:44} {:11} the sealed minutes {}{other}",
            text("said_at"),
            text("incident_id"),
            text("kind"),
            text("sealed")
        ))?;
    }
    Ok(0)
}
