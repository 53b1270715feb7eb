//! Scores the novelty detector on the Numenta Anomaly Benchmark, in its three profiles.
//!
//! `cargo run --release -p fishweir-detect --example nab -- DIR [THRESHOLD]` reads `DIR/windows.json`
//! and the series beside it. One threshold for all series, fixed beforehand. Scoring follows Lavin and
//! Ahmad 2015, arXiv 1510.03336.

use std::collections::BTreeMap;
use std::path::Path;

use fishweir_detect::{NoveltyConfig, NoveltyDetector};

const PROFILES: [(&str, f64, f64, f64); 3] =
    [("standard", 1.0, 1.0, 0.11), ("few false alarms", 1.0, 1.0, 0.22), ("few misses", 1.0, 2.0, 0.11)];
const THRESHOLD: f64 = 0.5;

type Windows = BTreeMap<String, Vec<[String; 2]>>;

fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

// Score of one series: alarms and windows as row numbers.
fn score(alarms: &[usize], windows: &[(usize, usize)], probation: usize, profile: (f64, f64, f64)) -> f64 {
    let (hit, miss, wrong) = profile;
    let mut total = 0.0;
    for (from, to) in windows {
        let first = alarms.iter().find(|a| (*from..=*to).contains(*a) && **a >= probation);
        total += match first {
            Some(a) => {
                let position = -((to - a) as f64 / ((to - from).max(1)) as f64);
                hit * sigmoid(position) / sigmoid(-1.0)
            }
            None => -miss,
        };
    }
    for a in alarms.iter().filter(|a| **a >= probation) {
        if windows.iter().any(|(from, to)| (from..=to).contains(&a)) {
            continue;
        }
        let before = windows.iter().rev().find(|(_, to)| to < a);
        let position =
            before.map_or(f64::INFINITY, |(from, to)| (a - to) as f64 / ((to - from).max(1)) as f64);
        total += wrong * sigmoid(position);
    }
    total
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: nab DIR [THRESHOLD]")?;
    let threshold: f64 = args.next().map_or(Ok(THRESHOLD), |t| t.parse())?;
    let folder = Path::new(&folder);
    let all: Windows = serde_json::from_str(&std::fs::read_to_string(folder.join("windows.json"))?)?;
    // Sums of score, of a detector that never speaks, and of a perfect one, by group and profile.
    let mut sums: BTreeMap<String, [(f64, f64); 3]> = BTreeMap::new();
    let (mut hits, mut windows_all, mut wrong) = (0, 0, 0);
    for (name, labels) in &all {
        let text = std::fs::read_to_string(folder.join(name))?;
        let rows: Vec<(&str, f64)> = text
            .lines()
            .skip(1)
            .filter_map(|l| l.split_once(',').and_then(|(t, v)| Some((t, v.trim().parse().ok()?))))
            .collect();
        let probation = (rows.len() * 15 / 100).min(750);
        let mut detector = NoveltyDetector::new(NoveltyConfig::after(probation));
        let alarms: Vec<usize> = (0..rows.len()).filter(|i| detector.tick(rows[*i].1) > threshold).collect();
        let place = |t: &str| rows.partition_point(|r| r.0 < &t[..19]);
        let windows: Vec<(usize, usize)> =
            labels.iter().map(|w| (place(&w[0]), place(&w[1]).min(rows.len() - 1))).collect();
        let group = name.split('/').next().unwrap_or_default().to_owned();
        for (slot, (_, hit, miss, false_alarm)) in sums.entry(group).or_default().iter_mut().zip(PROFILES) {
            slot.0 +=
                score(&alarms, &windows, probation, (hit, miss, false_alarm)) + miss * windows.len() as f64;
            slot.1 += (hit + miss) * windows.len() as f64;
        }
        windows_all += windows.len();
        hits += windows.iter().filter(|(f, t)| alarms.iter().any(|a| (f..=t).contains(&a))).count();
        wrong += alarms.iter().filter(|a| !windows.iter().any(|(f, t)| (f..=t).contains(a))).count();
    }
    println!(
        "{} series, {windows_all} windows: {hits} found, {wrong} false alarms; threshold {threshold}\n",
        all.len()
    );
    println!("{:24} {:>10} {:>18} {:>12}", "group", PROFILES[0].0, PROFILES[1].0, PROFILES[2].0);
    let whole = sums.values().fold([(0.0, 0.0); 3], |mut a, s| {
        a.iter_mut().zip(s).for_each(|(x, y)| *x = (x.0 + y.0, x.1 + y.1));
        a
    });
    for (group, s) in sums.iter().map(|(g, s)| (g.as_str(), s)).chain([("all", &whole)]) {
        let of = |(got, perfect): (f64, f64)| {
            if perfect > 0.0 { format!("{:.1}", 100.0 * got / perfect) } else { format!("({got:.2})") }
        };
        println!("{group:24} {:>10} {:>18} {:>12}", of(s[0]), of(s[1]), of(s[2]));
    }
    println!("\nin brackets: points lost where there is nothing to find");
    Ok(())
}
