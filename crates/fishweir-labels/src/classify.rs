//! What a surge was: an explicit, versioned heuristic over what changed.

use fishweir_detect::logistic;
use serde::{Deserialize, Serialize};

/// What changed while a surge was open, each against the traffic just before it.
///
/// `None` where the stream does not tell. A stranger is a client that did not come from its network
/// during the second to the eighth day before and was granted no licence; on the first three days of data, which know no such
/// day, one that was granted no licence and comes from a program or a network with which nobody watches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Share of the excess that strangers brought, 0 to 1.
    pub stranger_share: Option<f64>,
    /// Share of the usual requests that strangers bring: where it is high, strangers are no sign.
    pub usual_stranger_share: Option<f64>,
    /// Strangers among the clients of the surge.
    pub stranger_clients: Option<f64>,
    /// As many clients bring the excess if each brings the same: visitors with a request each count little.
    pub even_clients: Option<f64>,
    /// Requests of the busiest stranger over the excess.
    pub busiest_share: Option<f64>,
    /// Requests of the busiest client, stranger or not, over the excess.
    pub single_share: Option<f64>,
    /// Requests above expectation.
    pub excess_requests: Option<f64>,
    /// Share of the extra requests without an account, where usual traffic has accounts.
    pub anonymous_share: Option<f64>,
    /// Share of the excess that one conjunction of client attributes explains.
    pub client_rule_coverage: Option<f64>,
    /// Share of the excess that the defences stopped.
    pub stopped_share: Option<f64>,
    /// Requests per client during the surge over those before it.
    pub client_rate_ratio: Option<f64>,
    /// Share of the extra requests on the single most affected route.
    pub top_route_share: Option<f64>,
    /// Share of the extra requests on sign-in and token routes.
    pub sign_in_share: Option<f64>,
    /// Share of what strangers brought that asks for what is guarded: payments, gifts, sign-ups, passwords.
    pub guarded_share: Option<f64>,
    /// Share of what strangers brought that came from programs with which hardly any member watched or from networks in
    /// which nobody did.
    pub foreign_share: Option<f64>,
    /// Share of what strangers brought that came with an account: new members, new devices.
    pub signed_in_share: Option<f64>,
    /// Requests of strangers over those that the hours just before would have brought in the same time.
    pub stranger_rise: Option<f64>,
    /// Share of the excess of a burst on one program, network or route that all strangers show against the same minutes of
    /// the days before: without it, visitors only changed their program or went elsewhere.
    pub whole_share: Option<f64>,
    /// Share of the extra requests that the service failed.
    pub failed_share: Option<f64>,
    /// Kinds of trusted notes about this time.
    pub notes: Vec<String>,
}

/// What a surge is held to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SurgeKind {
    /// Requests meant to harm.
    Attack,
    /// Members who all want the same: a launch, a live event.
    Crowd,
    /// Clients that try again and again because something fails.
    RetryStorm,
    /// Members who all sign in again.
    Relogin,
    /// A change of the service that makes clients ask more.
    Deploy,
    /// The service's own test.
    LoadTest,
    /// One client that is busier than usual.
    BusyClient,
    /// Not enough is known.
    Unknown,
}

impl SurgeKind {
    /// Returns the name as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Crowd => "crowd",
            Self::RetryStorm => "retry_storm",
            Self::Relogin => "relogin",
            Self::Deploy => "deploy",
            Self::LoadTest => "load_test",
            Self::BusyClient => "busy_client",
            Self::Unknown => "unknown",
        }
    }
}

const PRIOR: f64 = -0.4;

fn noted(e: &Evidence, kind: &str) -> bool {
    e.notes.iter().any(|n| n == kind)
}

/// Returns the probability that a surge is an attack; `None` when nothing is known about it.
///
/// # Source
/// Expert weights, version [`crate::CLASSIFIER`], from the published contrasts between floods and
/// flash crowds (docs/detection.md): floods come from new clients that watch nothing; crowds are
/// known members who follow through; the service's own tests are announced.
#[must_use]
pub fn attack_probability(e: &Evidence) -> Option<f64> {
    let ramp = |v: f64, none: f64, full: f64| ((v - none) / (full - none)).clamp(0.0, 1.0);
    // Programs with which hardly any member watches are tools; a stranger who resembles members is often a new one.
    let foreign = e.foreign_share.map_or(0.0, |v| ramp(v, 0.4, 0.8));
    let alike = e.foreign_share.map_or(0.0, |v| 1.0 - ramp(v, 0.1, 0.4));
    // Few sources are a partner, a crawler or a test, unless they bring very much.
    let few = |n: f64| {
        let machines = if n < 6.0 { 4.0 - 0.5 * n } else { 0.0 };
        (machines * (1.0 - 0.5 * foreign)).max(alike * (4.0 - 0.25 * n))
    };
    let small = (1.0 - (e.excess_requests.unwrap_or(30.0).max(30.0) / 30.0).log10() / 2.0).clamp(0.0, 1.0);
    // Nobody pays, redeems or signs up so often: there one machine is enough.
    let allowed = 1.0 - ramp(e.guarded_share.unwrap_or(0.0), 0.5, 0.8);
    // A service that new visitors are usual to learns nothing from new visitors.
    let told = e
        .stranger_share
        .map_or(0.0, |_| ((0.5 - e.usual_stranger_share.unwrap_or(0.0)) / 0.3).clamp(0.0, 1.0));
    // One machine that brings it all: who else is strange says nothing of it, what the defences do much.
    let single = e.single_share.map_or(0.0, |v| ((v - 0.3) / 0.3).clamp(0.0, 1.0));
    let told = told * if e.busiest_share.is_some_and(|v| v > 0.3) { 1.0 } else { 1.0 - single };
    let weaker = 1.0 - 0.7 * told;
    // Little that resembles members is members more often: signed in, or hardly more than in the hour before.
    let doubtful = small * allowed * e.foreign_share.map_or(0.0, |_| 1.0 - foreign);
    // A handful of newcomers at the same time happens; it takes more to call it an attack.
    let handful = ((30.0 - e.excess_requests.unwrap_or(30.0)) / 10.0).clamp(0.0, 1.0);
    let terms = [
        e.stranger_share.map(|v| 8.0 * told * (v - 0.5)),
        e.stranger_clients.map(|n| -few(e.even_clients.map_or(n, |even| even.min(n))) * small * allowed),
        e.busiest_share.map(|v| -20.0 * (v - 0.25).clamp(0.0, 0.4) * small * allowed),
        e.anonymous_share.map(|v| weaker * 5.0 * (v - 0.5)),
        e.client_rule_coverage.map(|v| weaker * 1.5 * (v - 0.4)),
        e.stopped_share.filter(|v| *v > 0.02).map(|v| (1.5 + 6.0 * single * (1.0 - small)) * v),
        e.client_rate_ratio.map(|v| weaker * 0.6 * v.max(0.1).ln().clamp(-1.5, 2.5)),
        e.top_route_share.map(|v| weaker * 0.8 * (v - 0.5)),
        (handful > 0.0).then_some(-4.0 * handful * (1.0 - foreign)),
        (foreign > 0.0).then_some(1.5 * foreign),
        e.signed_in_share.map(|v| -3.0 * doubtful * v),
        e.whole_share.map(|v| -6.0 * (1.0 - ramp(v, 0.3, 0.6))),
        e.stranger_rise.map(|v| -6.0 * doubtful * alike * (1.0 - ramp(v, 1.5, 3.0))),
        noted(e, "load_test").then_some(-8.0),
    ];
    let known: Vec<f64> = terms.into_iter().flatten().collect();
    if known.is_empty() {
        return None;
    }
    Some(logistic(PRIOR + known.iter().sum::<f64>()))
}

/// Returns what a surge was, given its probability of being an attack.
#[must_use]
pub fn kind(e: &Evidence, p_attack: Option<f64>) -> SurgeKind {
    match p_attack {
        None => SurgeKind::Unknown,
        Some(p) if p >= 0.5 => SurgeKind::Attack,
        Some(_) if noted(e, "load_test") => SurgeKind::LoadTest,
        Some(_) if [e.busiest_share, e.single_share].iter().flatten().any(|v| *v > 0.4) => {
            SurgeKind::BusyClient
        }
        // WHY: neither clearly an attack nor anything else that is known.
        Some(p) if p >= 0.25 => SurgeKind::Unknown,
        Some(_) if e.sign_in_share.is_some_and(|v| v > 0.5) => SurgeKind::Relogin,
        Some(_) if noted(e, "deploy") => SurgeKind::Deploy,
        Some(_) if e.failed_share.is_some_and(|v| v > 0.3) => SurgeKind::RetryStorm,
        Some(_) => SurgeKind::Crowd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(share: f64, clients: f64) -> Evidence {
        Evidence { stranger_share: Some(share), stranger_clients: Some(clients), ..Evidence::default() }
    }

    fn label(e: &Evidence) -> SurgeKind {
        kind(e, attack_probability(e))
    }

    #[test]
    fn strangers_who_watch_nothing_are_an_attack_and_members_are_not() {
        assert_eq!(label(&of(0.95, 400.0)), SurgeKind::Attack);
        assert_eq!(label(&of(0.1, 400.0)), SurgeKind::Crowd);
        let relogin = Evidence { sign_in_share: Some(0.99), ..of(0.15, 80.0) };
        assert_eq!(label(&relogin), SurgeKind::Relogin);
        let storm = Evidence { failed_share: Some(0.4), client_rate_ratio: Some(6.0), ..of(0.1, 80.0) };
        assert_eq!(label(&storm), SurgeKind::RetryStorm);
        let test = Evidence { notes: vec!["load_test".to_owned()], ..of(1.0, 3.0) };
        assert_eq!(label(&test), SurgeKind::LoadTest);
        let crawler = Evidence { busiest_share: Some(0.98), ..of(1.0, 2.0) };
        assert_eq!(label(&crawler), SurgeKind::BusyClient);
        let known = Evidence {
            stranger_share: Some(0.0),
            single_share: Some(0.95),
            excess_requests: Some(4_000.0),
            anonymous_share: Some(0.0),
            client_rate_ratio: Some(2.0),
            ..Evidence::default()
        };
        assert_eq!(label(&known), SurgeKind::BusyClient);
        let scraper = Evidence { stopped_share: Some(0.8), ..known };
        assert_eq!(label(&scraper), SurgeKind::Attack);
        let cards = Evidence { guarded_share: Some(1.0), excess_requests: Some(30.0), ..crawler };
        assert_eq!(label(&cards), SurgeKind::Attack);
    }

    #[test]
    fn little_that_resembles_members_is_doubted_when_it_signs_in_or_hardly_rises() {
        let few = Evidence { foreign_share: Some(0.0), excess_requests: Some(60.0), ..of(1.0, 60.0) };
        assert_eq!(label(&few), SurgeKind::Attack);
        let new_devices = Evidence { signed_in_share: Some(0.8), even_clients: Some(5.0), ..few.clone() };
        assert_ne!(label(&new_devices), SurgeKind::Attack);
        let tokens = Evidence { even_clients: Some(55.0), ..new_devices };
        assert_eq!(label(&tokens), SurgeKind::Attack, "stolen tokens come from many machines");
        let evening = Evidence { stranger_rise: Some(1.4), signed_in_share: Some(0.0), ..few.clone() };
        assert_ne!(label(&evening), SurgeKind::Attack);
        let tools = Evidence { foreign_share: Some(1.0), signed_in_share: Some(1.0), ..evening.clone() };
        assert_eq!(label(&tools), SurgeKind::Attack, "nobody watches with such a program");
        let much = Evidence { excess_requests: Some(9_000.0), ..evening };
        assert_eq!(label(&much), SurgeKind::Attack, "it is no chance");
    }

    #[test]
    fn visitors_who_only_changed_their_program_are_no_attack() {
        let update = Evidence { whole_share: Some(0.1), excess_requests: Some(2_000.0), ..of(1.0, 400.0) };
        assert_ne!(label(&update), SurgeKind::Attack);
        let mimicry = Evidence { whole_share: Some(0.9), ..update.clone() };
        assert_eq!(label(&mimicry), SurgeKind::Attack);
        assert_eq!(
            label(&Evidence { whole_share: None, ..update }),
            SurgeKind::Attack,
            "not told is no sign"
        );
    }

    #[test]
    fn new_visitors_are_no_sign_where_they_are_usual() {
        let press = Evidence {
            usual_stranger_share: Some(0.9),
            client_rule_coverage: Some(0.1),
            client_rate_ratio: Some(0.9),
            ..of(1.0, 900.0)
        };
        assert_ne!(label(&press), SurgeKind::Attack);
    }

    #[test]
    fn without_history_of_clients_the_rest_decides() {
        let flood = Evidence {
            anonymous_share: Some(0.98),
            client_rule_coverage: Some(0.9),
            stopped_share: Some(0.7),
            client_rate_ratio: Some(8.0),
            top_route_share: Some(1.0),
            ..Evidence::default()
        };
        assert!(attack_probability(&flood).unwrap() > 0.9);
        let crowd = Evidence {
            anonymous_share: Some(0.02),
            client_rule_coverage: Some(0.1),
            client_rate_ratio: Some(1.2),
            top_route_share: Some(0.3),
            ..Evidence::default()
        };
        assert!(attack_probability(&crowd).unwrap() < 0.1);
        assert_eq!(attack_probability(&Evidence::default()), None);
        assert_eq!(kind(&Evidence::default(), None), SurgeKind::Unknown);
    }
}
