//! How much memory a world takes, and how it is made to fit.

use crate::config::Scenario;
use crate::run::SimulateError;

/// Bytes per account that stay for the whole run: counts of the defences and open visits.
const STANDING_BYTES: u64 = 3_000;
/// Bytes per account of the busiest hour: its rows, and those of the hour before as they are encoded.
const HOUR_BYTES: u64 = 9_000;
/// Bytes per account and hour of visits planned ahead.
const PLAN_BYTES: u64 = 60;
/// Bytes that even an empty world takes.
const BASE_BYTES: u64 = 96 << 20;

fn needed(scenario: &Scenario, plan_hours: u64) -> u64 {
    // Rows follow hours watched; the constants were measured at two hours.
    let scale = (scenario.world.hours_per_account_day / 2.0).max(0.1);
    let per_account = (STANDING_BYTES + HOUR_BYTES) as f64 * scale + (PLAN_BYTES * plan_hours) as f64;
    BASE_BYTES + (scenario.accounts as f64 * per_account) as u64
}

/// Hours of demand planned at once: as many as fit.
pub(crate) fn plan_hours(scenario: &Scenario) -> u32 {
    let limit = scenario.memory_mib << 20;
    [24, 12, 8, 6, 4, 3, 2].into_iter().find(|h| needed(scenario, u64::from(*h)) <= limit).unwrap_or(1)
}

/// Says whether a scenario stays below its limit at full fidelity.
///
/// # Errors
/// It does not; the message says what would.
pub(crate) fn check(scenario: &Scenario) -> Result<(), SimulateError> {
    let needs = needed(scenario, 1);
    if needs <= scenario.memory_mib << 20 {
        return Ok(());
    }
    Err(SimulateError::Memory {
        accounts: scenario.accounts,
        needs_mib: needs >> 20,
        limit_mib: scenario.memory_mib,
    })
}
