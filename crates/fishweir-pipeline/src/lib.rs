//! The model graph: which tables are made of which, which intervals are due, and the seal.
//!
//! A [`Model`] is a SQL file with a header or a [`NativeModel`]; [`Runner`] brings every model up
//! to date, certifies what it read from raw streams, and resumes where a crash left it.
//! [`retention`] says what may be deleted and deletes it.

mod book;
mod catalog;
mod certificate;
mod error;
mod graph;
mod model;
pub mod retention;
mod run;

pub use book::Book;
pub use catalog::Catalog;
pub use certificate::{Certificate, RawCounts, certificate_table};
pub use error::PipelineError;
pub use fishweir_events::{
    DAY_US, Grain, HOUR_US, Interval, MINUTE_US, PeriodError, Stream, parse_period, parse_time, text_literal,
    time_literal, utc_microseconds,
};
pub use model::{Model, ModelError, NativeModel, NativeOutput, Recipe, Retention, fingerprint};
pub use retention::{Plan as RetentionPlan, Verdict as RetentionVerdict};
pub use run::{FindingRow, RunEvent, RunOptions, RunProgress, RunSummary, Runner, finding_table};
