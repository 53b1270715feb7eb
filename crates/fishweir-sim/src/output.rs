//! Writes event files and the truth beside them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use fishweir_events::utc_microseconds;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use thiserror::Error;

use crate::scenario::{SimConfig, TruthEvent, TruthKind};
use crate::traffic::{Health, Request, Traffic, user_agent};
use crate::world::World;

/// Format of the event files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventFiles {
    /// Parquet, one file per stream and day.
    Parquet,
    /// One JSON object per line, one file per stream and day.
    Ndjson,
}

/// A simulation that could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A file could not be written.
    #[error("`{file}`: {cause}")]
    Write {
        /// File.
        file: String,
        /// What the system said.
        cause: String,
    },
}

fn bad<E: std::fmt::Display>(file: &Path) -> impl Fn(E) -> SimulateError + '_ {
    move |e| SimulateError::Write { file: file.display().to_string(), cause: e.to_string() }
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema_version: u32,
    config: &'a SimConfig,
    rows: std::collections::BTreeMap<&'static str, u64>,
    digest: std::collections::BTreeMap<&'static str, String>,
}

/// Writes `events/<stream>/<day>.<ext>`, `truth/events.json` and `truth/manifest.json` below
/// `out`, calls `tick` after each day, and returns the truth.
///
/// # Errors
/// A file that cannot be written.
pub fn simulate(
    config: &SimConfig,
    out: &Path,
    files: EventFiles,
    mut tick: impl FnMut(u32),
) -> Result<Vec<TruthEvent>, SimulateError> {
    let world = World::new(config.seed, config.accounts);
    let mut traffic = Traffic::new(config, &world);
    let mut digests = [Digest::new(), Digest::new()];
    let mut rows = [0u64, 0u64];
    for folder in ["events/requests", "events/health", "events/notes", "truth"] {
        let path = out.join(folder);
        fs::create_dir_all(&path).map_err(bad(&path))?;
    }
    for day in 0..config.days {
        let name = day_name(config, day);
        let (mut requests, mut health) = (Vec::new(), Vec::new());
        let path = out.join("events/requests").join(&name);
        let mut sink = Sink::create(&path, files)?;
        for minute in 0..24 * 60 {
            let (r, h) = traffic.next_minute();
            requests.extend(r);
            health.extend(h);
            if requests.len() > 100_000 || minute == 24 * 60 - 1 {
                let batch = request_batch(&requests).map_err(bad(&path))?;
                requests.iter().for_each(|r| digests[0].eat(r));
                rows[0] += requests.len() as u64;
                sink.write(&batch)?;
                requests.clear();
            }
        }
        sink.finish()?;
        let path = out.join("events/health").join(&name);
        let mut sink = Sink::create(&path, files)?;
        health.iter().for_each(|h| digests[1].eat(h));
        rows[1] += health.len() as u64;
        sink.write(&health_batch(&health).map_err(bad(&path))?)?;
        sink.finish()?;
        tick(day + 1);
    }
    let truth = truth(config, &traffic);
    notes(out, &truth)?;
    let path = out.join("truth/events.json");
    write_json(&path, &truth)?;
    let manifest = Manifest {
        schema_version: 1,
        config,
        rows: [("requests", rows[0]), ("health", rows[1])].into(),
        digest: [("requests", digests[0].text()), ("health", digests[1].text())].into(),
    };
    write_json(&out.join("truth/manifest.json"), &manifest)?;
    Ok(truth)
}

fn day_name(config: &SimConfig, day: u32) -> String {
    let us = config.start_us + i64::from(day) * 86_400_000_000;
    let t = chrono::DateTime::from_timestamp_micros(us).unwrap_or_default();
    t.format("%Y-%m-%d").to_string()
}

fn truth(config: &SimConfig, traffic: &Traffic<'_>) -> Vec<TruthEvent> {
    let at = |minute: u64| config.start_us + i64::try_from(minute).unwrap_or(0) * 60_000_000;
    let mut all: Vec<TruthEvent> = traffic
        .plans
        .iter()
        .zip(&traffic.added)
        .map(|(p, n)| TruthEvent {
            kind: p.kind,
            attack: p.kind.is_attack(),
            start_us: at(p.start_min),
            end_us: at(p.start_min + p.length_min),
            route: p.route().to_owned(),
            requests: *n,
        })
        .collect();
    all.sort_by_key(|t| t.start_us);
    all
}

// Launches are announced; attacks are not.
fn notes(out: &Path, truth: &[TruthEvent]) -> Result<(), SimulateError> {
    let path = out.join("events/notes/notes.ndjson");
    let mut file = BufWriter::new(File::create(&path).map_err(bad(&path))?);
    for t in truth.iter().filter(|t| t.kind == TruthKind::LaunchCrowd) {
        let time = chrono::DateTime::from_timestamp_micros(t.start_us).unwrap_or_default();
        let note = serde_json::json!({
            "time": time.to_rfc3339(), "kind": "launch", "title": "New season released",
            "text": "announced for all countries", "actor": "content", "confidence": 1.0,
        });
        writeln!(file, "{note}").map_err(bad(&path))?;
    }
    file.flush().map_err(bad(&path))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), SimulateError> {
    let text = serde_json::to_string_pretty(value).map_err(bad(path))?;
    fs::write(path, text).map_err(bad(path))
}

// FNV-1a over the debug form: cheap, and equal exactly when the events are.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
    fn eat(&mut self, value: &impl std::fmt::Debug) {
        struct Eater<'a>(&'a mut u64);
        impl std::fmt::Write for Eater<'_> {
            fn write_str(&mut self, s: &str) -> std::fmt::Result {
                for b in s.bytes() {
                    *self.0 = (*self.0 ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
                }
                Ok(())
            }
        }
        let _ = std::fmt::write(&mut Eater(&mut self.0), format_args!("{value:?}"));
    }
    fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}

enum Sink {
    Parquet(PathBuf, Box<Option<ArrowWriter<File>>>),
    Ndjson(PathBuf, BufWriter<File>),
}

impl Sink {
    fn create(stem: &Path, files: EventFiles) -> Result<Self, SimulateError> {
        match files {
            EventFiles::Parquet => Ok(Self::Parquet(stem.with_extension("parquet"), Box::new(None))),
            EventFiles::Ndjson => {
                let path = stem.with_extension("ndjson");
                let file = File::create(&path).map_err(bad(&path))?;
                Ok(Self::Ndjson(path, BufWriter::new(file)))
            }
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), SimulateError> {
        match self {
            Self::Parquet(path, writer) => {
                if writer.is_none() {
                    let file = File::create(&*path).map_err(bad(path))?;
                    let level = ZstdLevel::try_new(1).map_err(bad(path))?;
                    let properties =
                        WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
                    let made = ArrowWriter::try_new(file, batch.schema(), Some(properties));
                    **writer = Some(made.map_err(bad(path))?);
                }
                match writer.as_mut() {
                    Some(w) => w.write(batch).map_err(bad(path)),
                    None => Ok(()),
                }
            }
            Self::Ndjson(path, out) => {
                let mut writer = arrow::json::LineDelimitedWriter::new(&mut *out);
                writer.write(batch).map_err(bad(path))?;
                writer.finish().map_err(bad(path))
            }
        }
    }

    fn finish(self) -> Result<(), SimulateError> {
        match self {
            Self::Parquet(path, mut writer) => match writer.take() {
                Some(w) => w.close().map(|_| ()).map_err(bad(&path)),
                None => Ok(()),
            },
            Self::Ndjson(path, mut out) => out.flush().map_err(bad::<io::Error>(&path)),
        }
    }
}

fn address(ip: u32) -> String {
    std::net::Ipv4Addr::from(ip).to_string()
}

fn request_batch(rows: &[Request]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let text = |f: &dyn Fn(&Request) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<StringArray>())
    };
    let word = |f: &dyn Fn(&Request) -> Option<&'static str>| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<StringArray>())
    };
    let times: Vec<i64> = rows.iter().map(|r| r.time_us).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("service", word(&|r| Some(r.route.service()))),
        ("method", word(&|r| Some(r.route.method()))),
        ("path", text(&|r| Some(r.route.path(r.title)))),
        ("status", Arc::new(rows.iter().map(|r| r.status).collect::<Int32Array>())),
        ("latency_us", Arc::new(rows.iter().map(|r| r.latency_us).collect::<Int64Array>())),
        ("bytes", Arc::new(rows.iter().map(|r| r.bytes).collect::<Int64Array>())),
        ("ip", text(&|r| Some(address(r.ip)))),
        ("asn", Arc::new(rows.iter().map(|r| r.asn).collect::<Int64Array>())),
        ("country", word(&|r| Some(r.country))),
        ("ja4", word(&|r| Some(user_agent(r.kind, 0).1))),
        ("user_agent", word(&|r| Some(user_agent(r.kind, u64::from(r.ip)).0))),
        ("account", text(&|r| r.account.map(|a| format!("acct-{a:07}")))),
        ("device", text(&|r| r.device.map(|a| format!("dev-{a:08}")))),
        ("session", text(&|r| r.session.map(|a| format!("s-{a:016x}")))),
        ("defence", word(&|r| r.decision.map(|d| d.defence))),
        ("rule", word(&|r| r.decision.map(|d| d.rule))),
        ("rule_version", word(&|r| r.decision.map(|d| d.version))),
        ("action", word(&|r| r.decision.map(|d| d.action))),
        ("mode", word(&|r| r.decision.map(|d| d.mode))),
        ("challenge_result", word(&|r| r.decision.and_then(|d| d.challenge))),
    ];
    batch(columns)
}

fn health_batch(rows: &[Health]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let int =
        |f: &dyn Fn(&Health) -> i64| -> ArrayRef { Arc::new(rows.iter().map(f).collect::<Int64Array>()) };
    let times: Vec<i64> = rows.iter().map(|r| r.time_us).collect();
    batch(vec![
        ("time", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("service", Arc::new(rows.iter().map(|r| Some(r.service)).collect::<StringArray>())),
        ("requests", int(&|r| r.requests)),
        ("errors", int(&|r| r.errors)),
        ("latency_p50_us", int(&|r| r.p50_us)),
        ("latency_p99_us", int(&|r| r.p99_us)),
        ("utilisation", Arc::new(rows.iter().map(|r| r.utilisation).collect::<Float64Array>())),
        ("shed", int(&|r| r.shed)),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, arrow::error::ArrowError> {
    let kind =
        |name: &str, a: &ArrayRef| if name == "time" { utc_microseconds() } else { a.data_type().clone() };
    let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, kind(n, a), *n != "time")).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|c| c.1).collect())
}
