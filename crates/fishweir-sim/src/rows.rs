//! Rows of the streams, before they are encoded.

use crate::config::{Action, Mode};
use crate::intent::Intent;

/// Index of a rule in the engine's list, what it did and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) rule: u16,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) challenge: Option<Challenge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Passed,
    Failed,
    Abandoned,
}

impl Challenge {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A request with its outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) intent: Intent,
    pub(crate) status: u16,
    /// Status it would have had, had the decision been the other way.
    pub(crate) other_status: u16,
    pub(crate) latency_us: u32,
    pub(crate) bytes: u32,
    pub(crate) decision: Option<Decision>,
}

impl Request {
    /// Whether a defence kept it from the service.
    pub(crate) fn stopped(&self) -> bool {
        self.decision.is_some_and(|d| {
            d.mode == Mode::Enforce
                && match d.action {
                    Action::Log => false,
                    Action::Block | Action::Limit => true,
                    Action::Challenge | Action::StepUp => d.challenge != Some(Challenge::Passed),
                }
        })
    }
}

/// Outcome of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginOutcome {
    Success,
    WrongCredential,
    UnknownAccount,
    ChallengePassed,
    ChallengeFailed,
    Denied,
}

impl LoginOutcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::WrongCredential => "wrong_credential",
            Self::UnknownAccount => "unknown_account",
            Self::ChallengePassed => "challenge_passed",
            Self::ChallengeFailed => "challenge_failed",
            Self::Denied => "denied",
        }
    }

    pub(crate) const fn is_in(self) -> bool {
        matches!(self, Self::Success | Self::ChallengePassed)
    }
}

/// A sign-in: the request it came with, and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login {
    pub(crate) request: Request,
    pub(crate) outcome: LoginOutcome,
    pub(crate) mfa: bool,
}

/// A play that starts, stops or fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Playback {
    pub(crate) intent: Intent,
    pub(crate) event: &'static str,
    pub(crate) error: Option<&'static str>,
}

/// A licence asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Licence {
    pub(crate) request: Request,
    pub(crate) outcome: &'static str,
}

/// A change of an account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) time_us: i64,
    pub(crate) account: u64,
    pub(crate) change: &'static str,
    pub(crate) actor: &'static str,
    pub(crate) device: Option<u64>,
    pub(crate) session: Option<u64>,
    pub(crate) ip: u32,
    pub(crate) asn: u16,
}

/// A contact with customer service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contact {
    pub(crate) time_us: i64,
    pub(crate) account: u64,
    pub(crate) topic: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) flag: Option<&'static str>,
    pub(crate) cost_usd: f64,
}

/// A credential seen in a leak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leak {
    pub(crate) time_us: i64,
    pub(crate) vendor: &'static str,
    pub(crate) account: u64,
    pub(crate) password_match: bool,
    pub(crate) seen_us: i64,
}

/// Health of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    pub(crate) time_us: i64,
    pub(crate) service: &'static str,
    pub(crate) requests: i64,
    pub(crate) errors: i64,
    pub(crate) p50_us: i64,
    pub(crate) p99_us: i64,
    pub(crate) utilisation: f64,
    pub(crate) shed: i64,
}

/// Something somebody wrote down.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) time_us: i64,
    pub(crate) until_us: Option<i64>,
    pub(crate) kind: &'static str,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) actor: &'static str,
    pub(crate) confidence: f64,
}

/// What an analyst made of an account; not always right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) time_us: i64,
    pub(crate) account: u64,
    pub(crate) verdict: &'static str,
    pub(crate) reviewer: u8,
    pub(crate) reason: &'static str,
}

/// Rows of one slice of time.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) requests: Vec<Request>,
    pub(crate) logins: Vec<Login>,
    pub(crate) playbacks: Vec<Playback>,
    pub(crate) licences: Vec<Licence>,
    pub(crate) changes: Vec<Change>,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) leaks: Vec<Leak>,
    pub(crate) health: Vec<Health>,
    pub(crate) notes: Vec<Note>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Something rare that happens at a time of its own.
#[derive(Clone, Debug)]
pub(crate) enum Sparse {
    Change(Change),
    Contact(Contact),
    Leak(Leak),
    Note(Note),
    Verdict(Verdict),
}

impl Sparse {
    pub(crate) fn time_us(&self) -> i64 {
        match self {
            Self::Change(c) => c.time_us,
            Self::Contact(c) => c.time_us,
            Self::Leak(l) => l.time_us,
            Self::Note(n) => n.time_us,
            Self::Verdict(v) => v.time_us,
        }
    }
}
