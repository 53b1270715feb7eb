//! Pure mathematics: baselines, surge detection, attribution, intervals of estimates.
//!
//! No I/O, no tables, no clock. The same [`SurgeDetector`] is fed by live ticks and by sealed
//! minutes, so both clocks give the same answers.

mod arrivals;
mod attribution;
mod capture;
mod compare;
mod detector;
mod impact;
mod novelty;
mod scan;
mod stats;

pub use arrivals::{Alarm, arrival_alarms};
pub use attribution::{DriverRule, Leaf, search_drivers};
pub use capture::{Unseen, unseen};
pub use compare::{Difference, difference};
pub use detector::{DetectorConfig, Point, Surge, SurgeDetector, group_surges};
pub use impact::{Effect, Impact, ImpactError, impact};
pub use novelty::{NoveltyConfig, NoveltyDetector};
pub use scan::{BurstScan, PeekBack, ScanConfig, scan_alarmed, scan_bursts, scan_first_days};
pub use stats::{
    Bounds, discoveries, logistic, median, most_by_chance, normal_tail, poisson_bounds, student_95, wilson,
};
