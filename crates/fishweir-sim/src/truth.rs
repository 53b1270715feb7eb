//! What truly happened, kept apart from the streams.

use crate::config::{Action, Mode};
use crate::engine::work_of;
use crate::intent::Route;
use crate::rows::Request;
use crate::takeover::AccountTruth;
use crate::world::Stage;

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
