//! Labels: claims about what happened, each with a probability, a source and a maturity.
//!
//! [`DosIncidents`] finds surges in the minute rollups, says whether each looks like an attack,
//! what the defences did, and what drove it. [`RuleOutcomes`] says of every rule how often it was right.

mod advice;
mod attempts;
mod base;
mod behaviour;
mod campaigns;
mod candidates;
mod classify;
mod clusters;
mod columns;
mod drivers;
mod episodes;
mod functions;
mod harm;
mod homes;
mod incidents;
mod label_model;
mod live;
mod live_marks;
mod live_rows;
mod notes;
mod odd;
mod outcome;
mod parts;
mod patterns;
mod raw;
mod review;
mod rule_book;
mod rules;
mod same;
mod series;
mod stranger_minutes;
mod strangers;
mod takeover_tables;
mod takeovers;
mod tools;
mod warm;
mod whole;
mod write;

pub use advice::{Action, Advice, RuleFacts, advise};
pub use campaigns::{CAMPAIGN_RULES, LoginCampaigns};
pub use classify::{Evidence, SurgeKind, attack_probability, kind};
pub use functions::{Expects, FUNCTIONS_MAX, Function, FunctionError, Vote, load_functions};
pub use incidents::DosIncidents;
pub use live::{LiveEvent, LiveHistory, LiveHit, LiveMinute, LiveRate, LiveWatch, known_anywhere, known_key};
pub use live_rows::{LIVE_INCIDENTS, LiveRows, live_incident_row, live_incident_table};
pub use outcome::{Attacked, Estimate, Tally, recall};
pub use review::{Judgement, Reviewed, reviewed, sampling_chances};
pub use rule_book::{Rule, Week, judged, rule_book, rule_book_sql};
pub use rules::RuleOutcomes;
pub use takeovers::{AccountTakeovers, TAKEOVER_MODEL};
pub use warm::{Sealed, known_clients, live_history, sealed_surge};

/// Version of the heuristic that tells attacks from crowds; stored with every incident.
pub const CLASSIFIER: &str = "dos-heuristic-8";
