use super::*;

// Deterministic noise in [-1, 1].
fn noise(t: usize, salt: u64) -> f64 {
    let mut x = (t as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 31;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 29;
    (x % 20_001) as f64 / 10_000.0 - 1.0
}

fn usual(t: usize, base: f64) -> f64 {
    let day = (t % DAY) as f64 / DAY as f64 * std::f64::consts::TAU;
    let weekend = if (t / DAY) % 7 >= 5 { 1.2 } else { 1.0 };
    base * weekend * (1.0 - 0.7 * day.cos()) * (1.0 + 0.03 * noise(t, 1))
}

fn run(days: usize, base: f64, attack: impl Fn(usize) -> f64) -> Vec<Surge> {
    let mut d = SurgeDetector::new(DetectorConfig::default(), 1);
    for t in 0..days * DAY {
        d.tick(&[(usual(t, base) + attack(t)).round()]);
    }
    d.finish()
}

#[test]
fn quiet_weeks_have_no_surges() {
    assert_eq!(run(21, 1000.0, |_| 0.0), []);
}

#[test]
fn a_flood_is_found_within_two_minutes_and_ends() {
    let start = 15 * DAY + 600;
    let found = run(16, 1000.0, |t| if (start..start + 30).contains(&t) { 3000.0 } else { 0.0 });
    assert_eq!(found.len(), 1, "{found:?}");
    let s = &found[0];
    assert!(s.start.abs_diff(start) <= 1 && s.noticed <= start + 1, "{} {}", s.start, s.noticed);
    assert!(s.end.abs_diff(start + 29) <= 1 && !s.open);
    let excess: f64 = s.points.iter().map(|p| p.observed - p.expected).sum();
    assert!((excess / 90_000.0 - 1.0).abs() < 0.1, "{excess}");
}

#[test]
fn a_slow_ramp_is_found_by_the_sum() {
    let start = 15 * DAY + 600;
    let ramp = |t: usize| if (start..start + 240).contains(&t) { (t - start) as f64 * 6.0 } else { 0.0 };
    let found = run(16, 1000.0, ramp);
    assert!(
        found.iter().any(|s| s.start < start + 90),
        "{:?}",
        found.iter().map(|s| s.start).collect::<Vec<_>>()
    );
}

#[test]
fn short_history_widens_the_bands_and_says_so() {
    let start = DAY + 600;
    let found = run(2, 1000.0, |t| if (start..start + 30).contains(&t) { 9000.0 } else { 0.0 });
    let s = found.iter().find(|s| s.start.abs_diff(start) <= 2).expect("found");
    assert!(s.history_weeks < 1.0);
}

#[test]
fn an_open_surge_is_reported_as_open_and_a_gap_is_no_surge() {
    let start = 15 * DAY;
    let found = run(15, 500.0, |t| if t >= start - 20 { 5000.0 } else { 0.0 });
    assert!(found.last().is_some_and(|s| s.open), "{found:?}");
    let mut d = SurgeDetector::new(DetectorConfig::default(), 1);
    for t in 0..10 * DAY {
        d.tick(&[if (5 * DAY..5 * DAY + 300).contains(&t) { f64::NAN } else { usual(t, 800.0).round() }]);
    }
    assert_eq!(d.finish(), []);
}

#[test]
fn overlapping_surges_form_one_group() {
    let s = |series, start, end| Surge {
        series,
        start,
        noticed: start,
        enough: None,
        end,
        open: false,
        peak_z: 9.0,
        history_weeks: 4.0,
        points: vec![],
    };
    let groups = group_surges(vec![s(1, 50, 60), s(0, 10, 20), s(2, 15, 30)], 0);
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn series_one_after_the_other_are_as_minutes_one_after_the_other() {
    let series: Vec<Vec<f64>> = (0..5)
        .map(|i| {
            let at = (9 + i) * DAY + 300;
            (0..16 * DAY)
                .map(|t| {
                    let attack = if (at..at + 20).contains(&t) { 2_000.0 } else { 0.0 };
                    if i == 3 && t < DAY { f64::NAN } else { (usual(t + i, 400.0) + attack).round() }
                })
                .collect()
        })
        .collect();
    let mut minutes = SurgeDetector::new(DetectorConfig::default(), 5);
    for t in 0..16 * DAY {
        minutes.tick(&series.iter().map(|s| s[t]).collect::<Vec<_>>());
    }
    let expected = minutes.finish();
    assert_eq!(expected.len(), 5);
    for threads in [1, 2, 8] {
        let mut whole = SurgeDetector::new(DetectorConfig::default(), 5);
        for part in [0..7 * DAY, 7 * DAY..12 * DAY + 17, 12 * DAY + 17..16 * DAY] {
            whole.feed(&series.iter().map(|s| &s[part.clone()]).collect::<Vec<_>>(), threads);
        }
        assert_eq!(whole.finish(), expected, "{threads} threads");
    }
}
