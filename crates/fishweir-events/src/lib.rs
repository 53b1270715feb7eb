//! Canonical event streams: their Arrow schemas, validation, pseudonyms and enrichment.
//!
//! Everything here is pure: keys, tables and rules arrive as arguments, batches go in, batches
//! and rejects come out. Nothing in this crate reads a file or a clock.

mod agent;
mod network;
mod pseudonym;
mod route;
mod stream;
mod time;
mod validate;

pub use agent::AgentClasses;
pub use network::{NetworkTable, NetworkTableError, ip_prefix};
pub use pseudonym::{KeyRing, KeyRingError, Pseudonyms, SubjectKind};
pub use route::{RouteRule, RouteRuleError, RouteRules};
pub use stream::{Stream, UnknownStreamError, utc_microseconds};
pub use time::{
    DAY_US, Grain, HOUR_US, Interval, MINUTE_US, PeriodError, parse_period, parse_time, text_literal,
    time_literal,
};
pub use validate::{Canonical, CanonicalRules, Mapped, Memory, Reject};
