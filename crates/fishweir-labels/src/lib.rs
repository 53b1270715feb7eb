//! Labels: claims about what happened, each with a probability, a source and a maturity.
//!
//! [`DosIncidents`] finds surges in the minute rollups, says whether each looks like an attack,
//! what the defences did, and what drove it.

mod candidates;
mod classify;
mod incidents;
mod notes;
mod patterns;
mod raw;
mod series;
mod strangers;
mod write;

pub use classify::{Evidence, SurgeKind, attack_probability, kind};
pub use incidents::DosIncidents;

/// Version of the heuristic that tells attacks from crowds; stored with every incident.
pub const CLASSIFIER: &str = "dos-heuristic-2";
