//! A streaming service with hidden truth: members, launches, failures, attackers, defences.
//!
//! Events and truth follow from scenario, seed and start alone: the number of threads and the cut
//! into shards change nothing, an added attack changes no draw of anybody else, and an account is
//! the same in a small world and in a large one. Addresses lie in reserved space.
//!
//! [`simulate`] writes a folder; [`Scenario`] is what a user may set. What is modelled, from which
//! source, and what is assumed: docs/simulator.md.

mod abuse;
mod calendar;
mod campaign;
mod catalogue;
mod config;
mod counts;
mod defence;
mod device;
mod encode;
mod engine;
mod files;
mod flood;
mod happening;
mod intent;
mod memory;
mod network;
mod plan;
mod random;
mod respond;
mod rows;
mod run;
mod sparse;
mod takeover;
mod truth;
mod twins;
mod visit;
mod world;

pub use campaign::PACE_US;
pub use config::{
    Action, AttackKind, CampaignConfig, Condition, DefenceConfig, Happening, HappeningKind, Mode,
    RandomAttacks, RateKey, RuleConfig, Scenario, ScenarioError, Sources, WorldConfig,
};
pub use counts::simulate_counts;
pub use files::EventFiles;
pub use run::{
    CampaignTruth, HappeningTruth, Manifest, SimulateError, SimulateOptions, Summary, live, simulate,
};

#[cfg(test)]
mod tests;
