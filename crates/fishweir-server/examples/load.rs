//! A load on a running server: events over HTTP at a steady rate, while pages are asked for; prints what was
//! acknowledged, how long answers took, and how much processor time this program itself used.
//!
//! `cargo run --release -p fishweir-server --example load -- http://127.0.0.1:8080 100000 120`

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BATCH: u64 = 2_000;
const SENDERS: u64 = 8;
const PAGES: [&str; 6] =
    ["/", "/operations", "/incidents", "/rules", "/explore", "/api/v1/metrics/requests?period=28d"];

#[derive(Default)]
struct Told {
    rows: AtomicU64,
    rejected: AtomicU64,
    pushed_back: AtomicU64,
    failed: AtomicU64,
}

// One batch: members who browse and play, as a log of a service has them.
fn batch(first: u64) -> String {
    let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let routes = ["/home", "/title/80001234", "/manifest/80003832", "/licence", "/search", "/heartbeat"];
    let mut out = String::with_capacity(BATCH as usize * 420);
    for i in first..first + BATCH {
        let h = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let member = h % 200_000;
        let route = routes[(h >> 20) as usize % routes.len()];
        let _ = writeln!(
            out,
            r#"{{"time":"{now}","service":"web","method":"GET","path":"{route}","status":200,"latency_us":{},"bytes":{},"ip":"240.{}.{}.{}","asn":{},"country":"US","ja4":"t13d1609h2_ba8bc4cf6087_3d145044ae72","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/130.0.0.0","account":"a-{member:x}","device":"d-{member:x}","session":"s-{member:x}","event_id":"l{i:x}"}}"#,
            4_000 + h % 30_000,
            1_000 + h % 50_000,
            member >> 16 & 255,
            member >> 8 & 255,
            member & 255,
            64_512 + member % 300,
        );
    }
    out
}

async fn send(client: &reqwest::Client, url: &str, key: String, body: &str, told: &Told) {
    loop {
        let sent = client.post(url).header("idempotency-key", &key).body(body.to_owned()).send().await;
        match sent {
            Ok(a) if a.status().is_success() => {
                let text = a.text().await.unwrap_or_default();
                let v: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                told.rows.fetch_add(v["accepted"].as_u64().unwrap_or(0), Ordering::Relaxed);
                told.rejected.fetch_add(v["rejected"].as_u64().unwrap_or(0), Ordering::Relaxed);
                return;
            }
            Ok(a) if a.status().as_u16() == 429 => {
                told.pushed_back.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(_) | Err(_) => {
                told.failed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

// Processor seconds of this process so far.
fn own_cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted.get(((sorted.len() as f64 - 1.0) * q).round() as usize).copied().unwrap_or(f64::NAN)
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let base = args.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let rate: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(100_000);
    let seconds: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(120);
    let tag = args.next().unwrap_or_else(|| chrono::Utc::now().timestamp().to_string());
    let (told, stop) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let next = Arc::new(AtomicU64::new(0));
    let first = chrono::Utc::now().timestamp_micros().unsigned_abs();
    let begun = Instant::now();
    let total = rate * seconds / BATCH;
    let mut tasks = Vec::new();
    for _ in 0..SENDERS {
        let (told, next, base, tag) = (Arc::clone(&told), Arc::clone(&next), base.clone(), tag.clone());
        tasks.push(tokio::spawn(async move {
            let client = reqwest::Client::new();
            let url = format!("{base}/api/v1/events/requests");
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= total {
                    return;
                }
                let due = Duration::from_secs_f64((n * BATCH) as f64 / rate as f64);
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
                let body = batch(first + n * BATCH);
                send(&client, &url, format!("load-{tag}-{n}"), &body, &told).await;
            }
        }));
    }
    let (looking, base2) = (Arc::clone(&stop), base.clone());
    let reader = tokio::spawn(async move {
        let client = reqwest::Client::new();
        let mut took = Vec::new();
        let mut bad = 0;
        for page in PAGES.iter().cycle() {
            if looking.load(Ordering::Relaxed) {
                break;
            }
            let at = Instant::now();
            match client.get(format!("{base2}{page}")).send().await {
                Ok(a) if a.status().is_success() => drop(a.bytes().await),
                _ => bad += 1,
            }
            took.push(at.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (took, bad)
    });
    for t in tasks {
        let _ = t.await;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let (mut took, bad) = reader.await.unwrap_or_default();
    took.sort_by(f64::total_cmp);
    let n = |a: &AtomicU64| a.load(Ordering::Relaxed);
    println!(
        "{{\"rows\": {}, \"rejected\": {}, \"seconds\": {elapsed:.1}, \"rows_per_s\": {:.0}, \"pushed_back\": {}, \"failed\": {}, \"generator_cpu_share_of_one_core\": {:.2}, \"pages\": {}, \"pages_failed\": {bad}, \"page_ms_p50\": {:.0}, \"page_ms_p95\": {:.0}, \"page_ms_p99\": {:.0}, \"page_ms_max\": {:.0}}}",
        n(&told.rows),
        n(&told.rejected),
        n(&told.rows) as f64 / elapsed,
        n(&told.pushed_back),
        n(&told.failed),
        own_cpu_s() / elapsed,
        took.len(),
        quantile(&took, 0.5),
        quantile(&took, 0.95),
        quantile(&took, 0.99),
        took.last().copied().unwrap_or(f64::NAN),
    );
}
