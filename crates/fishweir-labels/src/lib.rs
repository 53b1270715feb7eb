//! Labels: claims about what happened, each with a probability, a source and a maturity.
//!
//! [`DosIncidents`] finds surges in the minute rollups, says whether each looks like an attack,
//! what the defences did, and what drove it.

mod classify;
mod drivers;
mod incidents;
mod series;
mod write;

pub use classify::{Evidence, attack_probability};
pub use incidents::DosIncidents;

/// Version of the heuristic that tells attacks from crowds; stored with every incident.
pub const CLASSIFIER: &str = "dos-heuristic-1";
