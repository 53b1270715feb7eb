//! How often the event study raises a false alarm, and how often it sees a real rise.
//!
//! Daily volumes of a year and four weeks: a weekly pattern, a trend, autoregressive noise, campaigns
//! of heavy-tailed size, and a part that a control series shares. `cargo run --release -p
//! fishweir-detect --example impact_power -- 200 1` simulates 200 histories from seed 1.

mod common;

use common::Dice;
use fishweir_detect::{Impact, impact};

const BEFORE: usize = 365;
const AFTER: usize = 28;

// Series and control of one history.
fn history(seed: u64, lift: f64) -> (Vec<f64>, Vec<f64>) {
    let mut d = Dice(seed.wrapping_mul(7_919));
    let trend = 0.3 * d.normal() / BEFORE as f64;
    let (mut shared, mut own, mut noise) = (0.0, 0.0, 0.0);
    let (mut campaign, mut left) = (0.0, 0usize);
    let (mut y, mut c) = (Vec::new(), Vec::new());
    for t in 0..BEFORE + AFTER {
        shared = 0.85 * shared + 0.2 * d.normal();
        own = 0.6 * own + 0.25 * d.normal();
        noise = 0.3 * noise + 0.12 * d.normal();
        if left == 0 && d.unit() < 0.03 {
            left = 1 + (d.unit() * 6.0) as usize;
            campaign = 0.4 / d.unit().max(0.02).powf(0.5) - 0.3;
        }
        left = left.saturating_sub(1);
        if left == 0 {
            campaign = 0.0;
        }
        let week = if t % 7 > 4 { 0.25 } else { 0.0 };
        let step = if t >= BEFORE { (1.0 + lift).ln() } else { 0.0 };
        y.push((9.0 + trend * t as f64 + shared + own + campaign + week + step).exp());
        c.push((12.0 + trend * t as f64 + shared + noise + week).exp());
    }
    (y, c)
}

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (runs, seed) = (args.first().copied().unwrap_or(200), args.get(1).copied().unwrap_or(1));
    println!("{runs} histories of {BEFORE} days and {AFTER} after, from seed {seed}, nominal 5 %\n");
    println!(
        "{:28} {:>9} {:>8} {:>8} {:>8}",
        "share called a change", "no effect", "+25 %", "+50 %", "+100 %"
    );
    type Test = (&'static str, bool, fn(&Impact) -> bool);
    let tests: [Test; 6] = [
        ("regression", true, |i| i.regression.p < 0.05),
        ("structural", true, |i| i.structural.p < 0.05),
        ("placebo in time", true, |i| i.placebo_time_p.is_some_and(|p| p < 0.05)),
        ("verdict", true, Impact::changed),
        ("regression, no control", false, |i| i.regression.p < 0.05),
        ("verdict, no control", false, Impact::changed),
    ];
    let mut covered = (0u64, 0u64);
    let mut rows = vec![Vec::new(); tests.len()];
    for lift in [0.0, 0.25, 0.5, 1.0] {
        let mut hits = vec![0u64; tests.len()];
        for n in 0..runs {
            let (y, c) = history(seed * 100_003 + n, lift);
            let (Ok(with), Ok(without)) = (impact(&y, Some(&c), BEFORE, &[]), impact(&y, None, BEFORE, &[]))
            else {
                continue;
            };
            covered.1 += 1;
            covered.0 += u64::from(with.regression.low <= lift && lift <= with.regression.high);
            for (h, (_, control, test)) in hits.iter_mut().zip(&tests) {
                *h += u64::from(test(if *control { &with } else { &without }));
            }
        }
        for (row, h) in rows.iter_mut().zip(hits) {
            row.push(h as f64 / runs as f64);
        }
    }
    for ((name, _, _), row) in tests.iter().zip(rows) {
        println!("{name:28} {:>9.3} {:>8.3} {:>8.3} {:>8.3}", row[0], row[1], row[2], row[3]);
    }
    println!("\nregression intervals that hold the truth: {:.3}", covered.0 as f64 / covered.1.max(1) as f64);
}
