//! The metric catalogue: definitions, evaluation with intervals, stored values.
//!
//! A [`Metric`] names its readers, the question it answers and the action it suggests; one that
//! lacks any of these does not load. [`Evaluator`] computes values for any period from the
//! rollups and labels, and never turns an unknown into a number.

mod catalogue;
mod costs;
mod coverage;
mod evaluate;
mod incident_cost;
mod interventions;
mod reconcile;
mod restate;
mod store;
mod study;

pub use catalogue::{Aggregate, Audience, Direction, LoadError, Metric, MetricType, Need, load};
pub use costs::Costs;
pub use evaluate::{Buckets, Evaluator, MetricValue};
pub use fishweir_pipeline::{
    Catalog, DAY_US, Grain, HOUR_US, Interval, PeriodError, PipelineError, parse_period, parse_time,
    text_literal, time_literal,
};
pub use incident_cost::{CostPart, cost_total, incident_cost};
pub use interventions::{Interventions, intervention_table};
pub use reconcile::reconcile;
pub use restate::metric_restatement_table;
pub use store::{MetricValues, metric_value_table};
pub use study::{Question, daily, study};

#[cfg(test)]
mod tests;
