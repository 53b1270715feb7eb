//! The face of a project: dashboard, API, door for events, live loop, alerts, SQL.
//!
//! [`Server::start`] opens the ports and starts the loops; nothing here knows where configuration or
//! time come from, see [`Site`]. Pages answer from a snapshot of the lake that is swapped whole, so that
//! readers never wait for ingest.

mod alert_rules;
mod alerts;
mod api;
mod app;
mod assets;
mod body;
mod guard;
mod http;
mod keys;
mod listen;
mod openapi;
mod outbox;
mod pages;
mod period;
mod problem;
mod receive;
mod schedule;
mod serve;
mod site;
mod snapshot;
mod spool;
mod sql;
mod telemetry;
mod watch;

pub use alert_rules::{AlertError, AlertRule, Destination, DestinationKind, Severity, Trigger, load_alerts};
pub use openapi::description as openapi;
pub use serve::{ServeError, Server};
pub use site::{Settings, Site, SiteError};
