//! Campaigns of a scenario: those it names, and those it leaves to chance.

use crate::campaign::Campaign;
use crate::config::{AttackKind, CampaignConfig, Scenario, Sources};
use crate::random::{Draws, Key, Purpose};

/// Returns every campaign in order of its number.
pub(crate) fn campaigns(scenario: &Scenario, seed: u64, start_us: i64) -> Vec<Campaign> {
    let mut all: Vec<CampaignConfig> = scenario.campaigns.iter().flat_map(parts).collect();
    for (n, r) in scenario.random.iter().enumerate() {
        let key = Key::new(seed, &format!("random attacks {n}"));
        let span = (f64::from(scenario.days) - r.from_day).max(0.0);
        // Day by day, so that a longer simulation begins like a shorter one.
        for day in 0..span as u32 {
            let mut d = key.draws(n as u64, day, Purpose::Campaign, 0);
            for k in 0..d.poisson(r.per_month / 30.0) {
                let kind =
                    r.kinds.get(d.below(r.kinds.len() as u64) as usize).copied().unwrap_or(AttackKind::A1);
                // Beyond twenty times the service's peak nothing more is learned, only more is written.
                let size = d.lognormal(r.size_median, r.size_sigma).min(20.0);
                let at = r.from_day + f64::from(day) + d.unit();
                let name = format!("{kind:?}-{n}-{day}-{k}").to_lowercase();
                all.extend(parts(&drawn(name, kind, at, size, &mut d)));
            }
        }
    }
    (1..).zip(all).map(|(id, c)| Campaign::new(id, c, seed, start_us)).collect()
}

fn drawn(name: String, kind: AttackKind, day: f64, size: f64, d: &mut Draws) -> CampaignConfig {
    use AttackKind::{A1, A2, A3, A4, A5, A6, A7, B1, B2, B3};
    let minutes = match kind {
        // Four of five are over in minutes, the rest last for hours: three of four within ten
        // minutes, as published.
        A1 | A2 | A3 | A4 | A6 | A7 if d.chance(0.8) => d.lognormal(2.3, 1.0).clamp(0.5, 120.0),
        A1 | A2 | A3 | A4 | A6 | A7 => d.lognormal(150.0, 1.3).clamp(10.0, 2_880.0),
        A5 => d.lognormal(600.0, 0.8).clamp(60.0, 4_320.0),
        B1 => d.lognormal(1_440.0, 0.9).clamp(60.0, 30_240.0),
        B2 | B3 => d.lognormal(4_320.0, 0.6),
        _ => d.lognormal(20_000.0, 0.5),
    };
    let tier = 1 + d.pick([0.6, 0.25, 0.1, 0.05].into_iter()) as u8;
    let sources = [Sources::DataCentre, Sources::Residential, Sources::Iot, Sources::Mixed]
        [d.pick([0.3, 0.3, 0.25, 0.15].into_iter())];
    let evasions = if d.chance(0.5) { vec!["E5".to_owned()] } else { Vec::new() };
    CampaignConfig { name, kind, tier, day, minutes, size, sources, evasions, adapts: true }
}

// A multi-vector attack is smoke and theft by the same hand.
fn parts(c: &CampaignConfig) -> Vec<CampaignConfig> {
    if c.kind != AttackKind::A7 {
        return vec![c.clone()];
    }
    let smoke = CampaignConfig { name: format!("{}/smoke", c.name), kind: AttackKind::A1, ..c.clone() };
    let theft =
        CampaignConfig { name: format!("{}/theft", c.name), kind: AttackKind::B1, size: 0.2, ..c.clone() };
    vec![smoke, theft]
}
