//! What truly happened, kept apart from the streams.

use crate::config::{Action, Mode};
use crate::engine::work_of;
use crate::intent::{Intent, Route};
use crate::rows::Request;
use crate::takeover::AccountTruth;
use crate::world::{NEW_DEVICE, SHARED, Stage};

/// Version of the truth's own layout.
pub(crate) const TRUTH_VERSION: u32 = 1;

/// Truth about an event that is not plainly benign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventTruth {
    pub(crate) time_us: i64,
    pub(crate) event: u64,
    pub(crate) campaign: u16,
    pub(crate) stage: Stage,
}

/// Truth about a decision that did something, or would have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionTruth {
    pub(crate) time_us: i64,
    pub(crate) event: u64,
    pub(crate) rule: u16,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) campaign: u16,
    pub(crate) stopped: bool,
    pub(crate) other_status: u16,
    pub(crate) cost_usd: f64,
}

/// Truth gathered so far; events and decisions are taken away by the writer.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) events: Vec<EventTruth>,
    pub(crate) decisions: Vec<DecisionTruth>,
    pub(crate) accounts: Vec<AccountTruth>,
    pub(crate) devices: std::collections::BTreeMap<u64, (u16, &'static str)>,
    /// Members whose sign-ins look odd: account and why, first and last time.
    pub(crate) twins: std::collections::BTreeMap<(u64, &'static str), (i64, i64)>,
}

impl Truth {
    pub(crate) fn request(&mut self, r: &Request) {
        let i = &r.intent;
        let twin = !matches!(
            i.party.stage,
            Stage::Member | Stage::SecondHome | Stage::Automation | Stage::Launch | Stage::Live
        );
        if i.party.campaign > 0 || twin {
            self.events.push(EventTruth {
                time_us: i.time_us,
                event: i.key,
                campaign: i.party.campaign,
                stage: i.party.stage,
            });
        }
        if i.party.campaign > 0 && i.party.device != crate::world::NOBODY {
            self.devices.entry(i.party.device).or_insert((i.party.campaign, i.party.stage.name()));
        }
        if let Some(twin) = odd_sign_in(i) {
            self.twin(i.party.account, twin, i.time_us);
        }
        if let Some(d) = r.decision {
            self.decisions.push(DecisionTruth {
                time_us: i.time_us,
                event: i.key,
                rule: d.rule,
                action: d.action,
                mode: d.mode,
                campaign: i.party.campaign,
                stopped: r.stopped(),
                other_status: r.other_status,
                cost_usd: cost_usd(r),
            });
        }
    }
}

impl Truth {
    /// Notes that a member resembled a thief.
    pub(crate) fn twin(&mut self, account: u64, twin: &'static str, time_us: i64) {
        let span = self.twins.entry((account, twin)).or_insert((time_us, time_us));
        *span = (span.0.min(time_us), span.1.max(time_us));
    }
}

// Which ordinary habit makes a sign-in of a member look odd, if any.
fn odd_sign_in(i: &Intent) -> Option<&'static str> {
    let p = &i.party;
    if i.route != Route::Login || p.campaign > 0 || p.account >> 40 != 0 {
        return None;
    }
    match p.stage {
        Stage::Campus
        | Stage::Partner
        | Stage::HotelSet
        | Stage::Traveller
        | Stage::Relogin
        | Stage::Family => Some(p.stage.name()),
        _ if p.flags & SHARED != 0 => Some("shared_address"),
        _ if p.flags & NEW_DEVICE != 0 => Some("new_device"),
        _ => None,
    }
}

/// What a decision cost: the member's loss when it stopped one, the attack's when it let one through.
/// Amounts are assumptions, see docs/simulator.md.
fn cost_usd(r: &Request) -> f64 {
    let i = &r.intent;
    let good = i.party.campaign == 0;
    let lost = match i.route {
        Route::Manifest | Route::Licence => LOST_START_USD,
        // One in eight calls customer service.
        Route::Login => 0.12 * 4.5,
        _ => 0.01,
    };
    match (good, r.stopped()) {
        (true, true) if r.other_status < 400 => lost,
        (true, false) if r.decision.is_some_and(|d| d.challenge.is_some()) => 0.01,
        (false, false) if i.route == Route::Login && r.status == 200 => TAKEOVER_USD,
        (false, false) => f64::from(work_of(i)) * WORK_USD,
        _ => 0.0,
    }
}

const LOST_START_USD: f64 = 0.11;
const TAKEOVER_USD: f64 = 25.0;
const WORK_USD: f64 = 2e-7;
