//! Time and memory of the detector over a year of minutes of many routes.
//!
//! `cargo run --release -p fishweir-detect --example year -- 300 2` follows 300 routes on two threads, a day at a time.

mod common;

use std::time::Instant;

use common::Dice;
use fishweir_detect::{DetectorConfig, SurgeDetector};

const DAY: usize = 1_440;

// Any minute of any route without keeping them: rates fall off with the rank of the route.
fn count(route: usize, t: usize) -> f64 {
    let mut dice = Dice((route as u64) << 32 | t as u64);
    let day = 1.0 + 0.5 * (t as f64 / DAY as f64 * std::f64::consts::TAU).sin();
    let rate = 20_000.0 / (route + 1) as f64 * day;
    (rate + (rate + (0.02 * rate).powi(2)).sqrt() * dice.normal()).max(0.0).round()
}

fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|k| k / 1_024.0)
}

fn main() {
    let number =
        |n: usize, usual: usize| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(usual);
    let (routes, threads) = (number(1, 300), number(2, 2));
    let (mut drawing, mut detecting) = (0.0, 0.0);
    let mut detector = SurgeDetector::new(DetectorConfig::default(), routes);
    for day in 0..365 {
        let begun = Instant::now();
        let minutes = day * DAY..(day + 1) * DAY;
        let counts: Vec<Vec<f64>> =
            (0..routes).map(|r| minutes.clone().map(|t| count(r, t)).collect()).collect();
        drawing += begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let lists: Vec<&[f64]> = counts.iter().map(Vec::as_slice).collect();
        detector.feed(&lists, threads);
        detecting += begun.elapsed().as_secs_f64();
    }
    let surges = detector.finish().len();
    let memory = peak_mib().map_or("unknown".to_owned(), |m| format!("{m:.0} MiB"));
    println!(
        "{routes} routes, 365 days, {threads} threads: {detecting:.0} s, {memory}, {surges} surges (drawing {drawing:.0} s)"
    );
}
