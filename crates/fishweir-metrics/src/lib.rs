//! The metric catalogue: definitions, evaluation with intervals, stored values.
//!
//! A [`Metric`] names its readers, the question it answers and the action it suggests; one that
//! lacks any of these does not load. [`Evaluator`] computes values for any period from the
//! rollups and labels, and never turns an unknown into a number.

mod catalogue;
mod costs;
mod evaluate;
mod store;

pub use catalogue::{Aggregate, Audience, Direction, LoadError, Metric, MetricType, load};
pub use costs::Costs;
pub use evaluate::{Buckets, Evaluator, MetricValue};
pub use fishweir_pipeline::{Catalog, Grain, Interval, PeriodError, PipelineError, parse_period, parse_time};
pub use store::{MetricValues, metric_value_table};

#[cfg(test)]
mod tests;
