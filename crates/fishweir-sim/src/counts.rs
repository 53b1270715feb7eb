//! Worlds too large for single events: edge traffic as counts per minute and key.

use std::path::Path;

use crate::run::{SimulateError, SimulateOptions, Summary};

/// Writes `events/request_counts` and the sparse streams of a large world.
///
/// # Errors
/// A file that cannot be written.
pub fn simulate_counts(
    options: &SimulateOptions,
    out: &Path,
    progress: impl FnMut(u32) + Send,
) -> Result<Summary, SimulateError> {
    crate::run::simulate(options, out, progress)
}
