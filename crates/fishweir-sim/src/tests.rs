use crate::{EventFiles, SimConfig, simulate};

fn config(seed: u64) -> SimConfig {
    SimConfig { seed, start_us: 1_790_812_800_000_000, days: 3, accounts: 300, sessions_per_account_day: 1.2 }
}

fn digest(seed: u64) -> (String, usize) {
    let dir = tempfile::tempdir().unwrap();
    let truth = simulate(&config(seed), dir.path(), EventFiles::Ndjson, |_| {}).unwrap();
    let manifest = std::fs::read_to_string(dir.path().join("truth/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    (manifest["digest"].to_string(), truth.len())
}

#[test]
fn a_seed_gives_the_same_events_and_another_seed_others() {
    let (a, n) = digest(1);
    assert_eq!(digest(1), (a.clone(), n));
    assert_ne!(digest(2).0, a);
    assert!(n >= 1);
}

#[test]
fn events_carry_no_truth() {
    let dir = tempfile::tempdir().unwrap();
    simulate(&config(1), dir.path(), EventFiles::Ndjson, |_| {}).unwrap();
    let file = std::fs::read_dir(dir.path().join("events/requests")).unwrap().next().unwrap().unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for key in first.as_object().unwrap().keys() {
        assert!(!["attack", "kind", "truth", "label", "campaign"].contains(&key.as_str()), "{key}");
    }
}
