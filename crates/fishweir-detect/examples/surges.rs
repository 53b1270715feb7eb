//! Which surges the detector of volume sees: floods of six sizes, three shapes and four lengths injected
//! into simulated minutes of requests.
//!
//! Daily and weekly profile, a trend of 1.5 % a week, an autoregressive wobble, 2 % over-dispersion,
//! and launches of 15 to 50 %, which count as false when noticed.
//! `cargo run --release -p fishweir-detect --example surges -- 60000 1` uses 60,000 requests a minute and
//! seed 1; a third and fourth number replace `open_z` and `dispersion`.

mod common;

use common::Dice;
use fishweir_detect::{DetectorConfig, Surge, SurgeDetector};

const WEEK: usize = 7 * 1_440;
const WEEKS: usize = 12;
const QUIET_WEEKS: usize = 5;
const SIZES: [f64; 6] = [0.05, 0.1, 0.2, 0.5, 1.0, 3.0];
const LENGTHS: [usize; 4] = [3, 10, 30, 90];
const SHAPES: [&str; 3] = ["square", "ramp", "pulse"];
const SERIES: u64 = 6;

struct Flood {
    from: usize,
    to: usize,
    size: f64,
    shape: usize,
}

impl Flood {
    fn at(&self, t: usize) -> f64 {
        if t < self.from || t >= self.to {
            return 0.0;
        }
        match self.shape {
            0 => self.size,
            1 => self.size * (t - self.from + 1) as f64 / (self.to - self.from) as f64,
            _ => self.size * f64::from(u8::from((t - self.from) % 4 < 2)),
        }
    }
}

fn floods(dice: &mut Dice) -> Vec<Flood> {
    let mut all: Vec<(f64, usize, usize)> = Vec::new();
    for size in SIZES {
        for shape in 0..SHAPES.len() {
            all.extend(LENGTHS.iter().map(|l| (size, shape, *l)));
        }
    }
    // In any order, spread over the weeks after the quiet ones.
    for i in (1..all.len()).rev() {
        all.swap(i, (dice.unit() * (i + 1) as f64) as usize);
    }
    let room = (WEEKS - QUIET_WEEKS) * WEEK / all.len();
    let place = |(n, (size, shape, length)): (usize, (f64, usize, usize))| {
        let from = QUIET_WEEKS * WEEK + n * room + 10 + (dice.unit() * (room - length - 20) as f64) as usize;
        Flood { from, to: from + length, size, shape }
    };
    all.into_iter().enumerate().map(place).collect()
}

fn series(dice: &mut Dice, base: f64, floods: &[Flood], launches: &[(usize, f64)]) -> Vec<f64> {
    let mut wobble = 0.0;
    (0..WEEKS * WEEK)
        .map(|t| {
            wobble = 0.995 * wobble + 0.003 * dice.normal();
            let day = 1.0 + 0.5 * (t as f64 / 1_440.0 * std::f64::consts::TAU).sin();
            let week = if t / 1_440 % 7 > 4 { 1.2 } else { 1.0 };
            let trend = 1.0 + 0.015 * t as f64 / WEEK as f64;
            let launch: f64 = launches
                .iter()
                .filter(|l| t >= l.0 && t < l.0 + 180)
                .map(|l| l.1 * (1.0 - (t - l.0) as f64 / 180.0) * ((t - l.0) as f64 / 20.0).min(1.0))
                .sum();
            let flood: f64 = floods.iter().map(|f| f.at(t)).sum();
            let rate = base * day * week * trend * wobble.exp() * (1.0 + launch + flood);
            (rate + (rate + (0.02 * rate).powi(2)).sqrt() * dice.normal()).max(0.0).round()
        })
        .collect()
}

fn main() {
    let args: Vec<f64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let arg = |n: usize, default: f64| args.get(n).copied().unwrap_or(default);
    let (base, seed) = (arg(0, 60_000.0), arg(1, 1.0) as u64);
    let usual = DetectorConfig::default();
    let config = DetectorConfig {
        open_z: arg(2, usual.open_z),
        dispersion: arg(3, usual.dispersion),
        cusum_slack: arg(4, usual.cusum_slack),
        cusum_open: arg(5, usual.cusum_open),
        ..usual
    };
    let mut seen = [(0usize, 0usize); SIZES.len()];
    let (mut delays, mut lengths, mut wrong, mut launched) = (Vec::new(), Vec::new(), 0usize, 0usize);
    for n in 0..SERIES {
        let mut dice = Dice(seed.wrapping_mul(1_000_003) + n);
        let floods = floods(&mut dice);
        let launches: Vec<(usize, f64)> =
            (QUIET_WEEKS..WEEKS).map(|w| (w * WEEK + 1_200, 0.15 + 0.35 * dice.unit())).collect();
        let counts = series(&mut dice, base, &floods, &launches);
        let mut detector = SurgeDetector::new(config.clone(), 1);
        counts.iter().for_each(|c| detector.tick(&[*c]));
        let found: Vec<Surge> =
            detector.finish().into_iter().filter(|s| s.start >= QUIET_WEEKS * WEEK).collect();
        let meets = |s: &Surge, f: &Flood| s.start < f.to + 3 && f.from < s.end + 3;
        for f in &floods {
            let i = SIZES.iter().position(|s| *s == f.size).unwrap_or(0);
            seen[i].1 += 1;
            if let Some(s) = found.iter().find(|s| meets(s, f)) {
                seen[i].0 += 1;
                delays.push((s.noticed + 1).saturating_sub(f.from));
                lengths.push((s.end + 1).abs_diff(f.to));
            }
        }
        for s in found.iter().filter(|s| !floods.iter().any(|f| meets(s, f))) {
            let launch = launches.iter().any(|l| s.start < l.0 + 240 && l.0 < s.end + 3);
            launched += usize::from(launch);
            wrong += usize::from(!launch);
        }
    }
    delays.sort_unstable();
    lengths.sort_unstable();
    let (hits, of) = seen.iter().fold((0, 0), |a, s| (a.0 + s.0, a.1 + s.1));
    let weeks = SERIES as usize * (WEEKS - QUIET_WEEKS);
    println!(
        "{base} requests a minute, seed {seed}, {of} floods in {weeks} weeks, open_z {}, dispersion {}\n",
        config.open_z, config.dispersion
    );
    println!("| flood | seen |\n|---|---|");
    for (size, (hit, of)) in SIZES.iter().zip(seen) {
        println!("| +{:.0} % | {:.2} |", size * 100.0, hit as f64 / of as f64);
    }
    println!("| all | {:.2} |\n", hits as f64 / of as f64);
    println!(
        "median delay {} min, median error of the end {} min, {wrong} false surges and {launched} launches in {weeks} weeks",
        delays.get(delays.len() / 2).copied().unwrap_or(0),
        lengths.get(lengths.len() / 2).copied().unwrap_or(0),
    );
}
