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
    /// Attempts to sign in.
    Logins,
    /// Starts, stops and failures of playback.
    Playbacks,
    /// Changes of accounts: credentials, payment, devices, subscription.
    AccountChanges,
    /// What members told customer service.
    Contacts,
    /// Credentials that a vendor of leak feeds has seen.
    Leaks,
    /// What analysts and members judged.
    Verdicts,
    /// Service health samples.
    Health,
    /// Outside and inside events worth comparing with.
    Notes,
}

/// A stream name that does not exist.
#[derive(Debug, Error)]
#[error("`{0}` is no stream; the streams are {names}", names = Stream::names())]
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
    pub const ALL: [Self; 9] = [
        Self::Requests,
        Self::Logins,
        Self::Playbacks,
        Self::AccountChanges,
        Self::Contacts,
        Self::Leaks,
        Self::Verdicts,
        Self::Health,
        Self::Notes,
    ];

    /// Returns the names of all streams, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Returns the table and file name of the stream.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Logins => "logins",
            Self::Playbacks => "playbacks",
            Self::AccountChanges => "account_changes",
            Self::Contacts => "contacts",
            Self::Leaks => "leaks",
            Self::Verdicts => "verdicts",
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
            Self::Logins => LOGINS,
            Self::Playbacks => PLAYBACKS,
            Self::AccountChanges => ACCOUNT_CHANGES,
            Self::Contacts => CONTACTS,
            Self::Leaks => LEAKS,
            Self::Verdicts => VERDICTS,
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
    Bool,
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Time => utc_microseconds(),
            Self::Text => DataType::Utf8View,
            Self::Int => DataType::Int64,
            Self::SmallInt => DataType::Int32,
            Self::Float => DataType::Float64,
            Self::Bool => DataType::Boolean,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Time => "a time",
            Self::Text => "text",
            Self::Int | Self::SmallInt => "a whole number",
            Self::Float => "a number",
            Self::Bool => "true or false",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
}

use Kind::{Bool, Float, Int, SmallInt, Text, Time};
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

const LOGINS: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("account", Text, Optional),
    ("identifier", Text, Required),
    ("outcome", Text, Required),
    ("credential", Text, Optional),
    ("password_bucket", Text, Optional),
    ("breached", Bool, Optional),
    ("weak", Bool, Optional),
    ("mfa", Text, Optional),
    ("ip", Text, Optional),
    ("ip_prefix", Text, Optional),
    ("asn", Int, Optional),
    ("country", Text, Optional),
    ("ja3", Text, Optional),
    ("ja4", Text, Optional),
    ("user_agent", Text, Optional),
    ("device", Text, Optional),
    ("session", Text, Optional),
    ("defence", Text, Optional),
    ("rule", Text, Optional),
    ("rule_version", Text, Optional),
    ("action", Text, Optional),
    ("mode", Text, Optional),
];

const PLAYBACKS: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("account", Text, Required),
    ("device", Text, Required),
    ("profile", Text, Optional),
    ("title", Text, Required),
    ("event", Text, Required),
    ("watched_s", Int, Optional),
    ("error_code", Text, Optional),
    ("height_px", SmallInt, Optional),
    ("ip", Text, Optional),
    ("ip_prefix", Text, Optional),
    ("asn", Int, Optional),
    ("country", Text, Optional),
    ("session", Text, Optional),
];

const ACCOUNT_CHANGES: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("account", Text, Required),
    ("change", Text, Required),
    ("actor", Text, Optional),
    ("device", Text, Optional),
    ("session", Text, Optional),
    ("ip", Text, Optional),
    ("ip_prefix", Text, Optional),
    ("asn", Int, Optional),
    ("country", Text, Optional),
];

const CONTACTS: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("account", Text, Required),
    ("topic", Text, Required),
    ("channel", Text, Optional),
    ("flag", Text, Optional),
    ("cost_usd", Float, Optional),
];

const LEAKS: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("vendor", Text, Required),
    ("identifier", Text, Required),
    ("password_match", Bool, Optional),
    ("seen_at", Time, Optional),
];

const VERDICTS: &[(&str, Kind, Need)] = &[
    ("time", Time, Required),
    ("subject_kind", Text, Required),
    ("subject", Text, Required),
    ("verdict", Text, Required),
    ("reviewer", Text, Required),
    ("reason", Text, Optional),
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
