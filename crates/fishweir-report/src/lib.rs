//! Reports for engineers, managers and executives, as Markdown, HTML or JSON.
//!
//! One [`Report`] is built from metric values; the renderers only put it into words and pictures.

mod accounts;
mod build;
mod charts;
mod evidence;
mod followed;
mod harm;
mod html;
mod incident;
mod markdown;
mod plot;
mod stories;
mod words;

pub use build::{Card, IncidentLine, Report, ReportRequest, build, card, summary, trend_grain};
pub use evidence::{FactWords, fact_words};
pub use harm::harm_words;
pub use html::html;
pub use incident::incident_html;
pub use markdown::markdown;
pub use plot::{Line, Mark, Plot};
pub use stories::{campaign_story, incident_story, takeover_story};

pub use words::{amount, bare, change, interval, time, verdict};

#[cfg(test)]
mod tests;
