//! A small streaming service with hidden truth: members, launches, failures, floods, defences.
//!
//! Events and truth depend on the configuration and the seed only. Times and places are
//! synthetic: addresses come from reserved blocks.

mod output;
mod random;
mod scenario;
mod traffic;
mod world;

pub use output::{EventFiles, SimulateError, simulate};
pub use scenario::{SimConfig, TruthEvent, TruthKind};
pub use world::World;

#[cfg(test)]
mod tests;
