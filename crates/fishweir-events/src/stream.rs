//! The canonical streams and their columns.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use thiserror::Error;

/// A kind of raw event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Edge requests with the defence decision they met.
    Requests,
    /// Service health samples.
    Health,
    /// Outside and inside events worth comparing with.
    Notes,
}

/// A stream name that does not exist.
#[derive(Debug, Error)]
#[error("`{0}` is no stream; the streams are requests, health, notes")]
pub struct UnknownStreamError(pub String);

impl FromStr for Stream {
    type Err = UnknownStreamError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|x| x.name() == s).ok_or_else(|| UnknownStreamError(s.to_owned()))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns the type of every time column: microseconds, UTC.
#[must_use]
pub fn utc_microseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Stream {
    /// Every stream.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Health, Self::Notes];

    /// Returns the table and file name of the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Health => "health",
            Self::Notes => "notes",
        }
    }

    /// Returns the columns of the stored stream, in order.
    ///
    /// # Shape
    /// The stream's own columns, then `source`, `event_id`, `ingested_at`. Text is `Utf8View`;
    /// non-nullable fields are the required ones.
    #[must_use]
    pub fn schema(self) -> SchemaRef {
        let own = self
            .columns()
            .iter()
            .map(|(name, kind, need)| Field::new(*name, kind.data_type(), *need == Need::Optional));
        let common = [
            Field::new("source", DataType::Utf8View, false),
            Field::new("event_id", DataType::Utf8View, false),
            Field::new("ingested_at", utc_microseconds(), false),
        ];
        Arc::new(Schema::new(own.chain(common).collect::<Vec<_>>()))
    }

    pub(crate) fn columns(self) -> &'static [(&'static str, Kind, Need)] {
        match self {
            Self::Requests => REQUESTS,
            Self::Health => HEALTH,
            Self::Notes => NOTES,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Time,
    Text,
    Int,
    SmallInt,
    Float,
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Time => utc_microseconds(),
            Self::Text => DataType::Utf8View,
            Self::Int => DataType::Int64,
            Self::SmallInt => DataType::Int32,
            Self::Float => DataType::Float64,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Time => "a time",
            Self::Text => "text",
            Self::Int | Self::SmallInt => "a whole number",
            Self::Float => "a number",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

use Kind::{Float, Int, SmallInt, Text, Time};
use Need::{Optional, Required};

const REQUESTS: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("service", Text, Required),
    ("method", Text, Required),
    ("path", Text, Required),
    ("route", Text, Required),
    ("status", SmallInt, Required),
    ("latency_us", Int, Optional),
    ("bytes", Int, Optional),
    ("ip", Text, Optional),
    ("ip_prefix", Text, Optional),
    ("asn", Int, Optional),
    ("country", Text, Optional),
    ("ja3", Text, Optional),
    ("ja4", Text, Optional),
    ("user_agent", Text, Optional),
    ("agent_class", Text, Optional),
    ("account", Text, Optional),
    ("device", Text, Optional),
    ("session", Text, Optional),
    ("defence", Text, Optional),
    ("rule", Text, Optional),
    ("rule_version", Text, Optional),
    ("action", Text, Optional),
    ("mode", Text, Optional),
    ("challenge_result", Text, Optional),
];

const HEALTH: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("service", Text, Required),
    ("route", Text, Optional),
    ("requests", Int, Optional),
    ("errors", Int, Optional),
    ("latency_p50_us", Int, Optional),
    ("latency_p99_us", Int, Optional),
    ("utilisation", Float, Optional),
    ("shed", Int, Optional),
];

const NOTES: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("until", Time, Optional),
    ("kind", Text, Required),
    ("title", Text, Required),
    ("text", Text, Optional),
    ("actor", Text, Optional),
    ("scope", Text, Optional),
    ("confidence", Float, Optional),
];
