//! What to do about a rule.

use serde::Serialize;

use crate::outcome::Estimate;

/// What is known of a rule over a period.
#[derive(Clone, Debug)]
pub struct RuleFacts {
    /// `block`, `limit`, `challenge`, `step_up`, `log`.
    pub action: String,
    /// Whether it only watches.
    pub shadow: bool,
    /// Share of its hits that were right.
    pub precision: Result<Estimate, &'static str>,
    /// Hits, a day.
    pub hits_per_day: f64,
    /// Hits that were right and that no other rule met, a day.
    pub bad_alone_per_day: f64,
    /// Hits that were right and went through, a day.
    pub bad_passed_per_day: f64,
    /// Hits that were wrong and were stopped, a day.
    pub good_stopped_per_day: f64,
    /// Hits that were wrong, a day.
    pub good_per_day: f64,
    /// Days since its last hit.
    pub silent_days: i64,
}

/// What one would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make it stricter, or let it act where it only watches.
    Tighten,
    /// Make it milder or narrower.
    Relax,
    /// Switch it off.
    Retire,
    /// Nothing.
    Leave,
    /// Too little is known.
    NotEnoughData,
}

impl Action {
    /// Returns the name as written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tighten => "tighten",
            Self::Relax => "relax",
            Self::Retire => "retire",
            Self::Leave => "leave",
            Self::NotEnoughData => "not enough data",
        }
    }
}

/// Advice with what it would change, by what the period showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// What to do.
    pub action: Action,
    /// Why, in a sentence.
    pub why: String,
    /// Change of the attack requests that pass, a day.
    pub attack_passed_per_day: Option<f64>,
    /// Change of the requests of good users that are stopped, a day.
    pub good_stopped_per_day: Option<f64>,
}

/// Days without a hit after which a rule is dead weight.
const SILENT_DAYS: i64 = 14;
/// Precision that a rule which stops requests should surely reach.
const RIGHT: f64 = 0.9;
/// Precision below which a rule mostly hits good users.
const WRONG: f64 = 0.5;
/// Precision from which on a rule may be trusted with more.
const TRUSTED: f64 = 0.95;

/// Returns what to do about a rule.
#[must_use]
pub fn advise(f: &RuleFacts) -> Advice {
    let stay =
        |action, why: String| Advice { action, why, attack_passed_per_day: None, good_stopped_per_day: None };
    if f.silent_days >= SILENT_DAYS {
        return Advice {
            attack_passed_per_day: Some(0.0),
            good_stopped_per_day: Some(0.0),
            ..stay(Action::Retire, format!("no hit for {} days", f.silent_days))
        };
    }
    let p = match f.precision {
        Ok(p) => p,
        Err(why) => return stay(Action::NotEnoughData, why.to_owned()),
    };
    let percent = |x: f64| format!("{:.0} %", x * 100.0);
    let range =
        format!("{} of its hits are right [{}, {}]", percent(p.value), percent(p.low), percent(p.high));
    let off = |action, why: String| Advice {
        action,
        why,
        attack_passed_per_day: Some(f.bad_alone_per_day),
        good_stopped_per_day: Some(-f.good_stopped_per_day),
    };
    let on = |why: String, attacks: f64| Advice {
        action: Action::Tighten,
        why,
        attack_passed_per_day: Some(-attacks),
        good_stopped_per_day: Some(if f.shadow {
            f.good_per_day
        } else {
            f.good_per_day - f.good_stopped_per_day
        }),
    };
    let gentle = matches!(f.action.as_str(), "challenge" | "step_up" | "log");
    match f.shadow {
        true if p.low >= TRUSTED => on(format!("{range}: let it act"), f.bad_passed_per_day),
        true if p.high < WRONG => Advice {
            attack_passed_per_day: Some(0.0),
            good_stopped_per_day: Some(0.0),
            ..off(Action::Retire, format!("{range}: never let it act"))
        },
        true => stay(Action::Leave, format!("{range}: watch on")),
        false if p.high < 0.1 && f.bad_alone_per_day < 1.0 => off(Action::Retire, range),
        false if p.high < RIGHT && !gentle || p.high < WRONG => {
            off(Action::Relax, format!("{range}; numbers are for switching it off"))
        }
        false if gentle && p.low >= TRUSTED && f.bad_passed_per_day > 0.1 * f.hits_per_day => on(
            format!(
                "{range}, and {:.0} attack requests a day pass its challenge: block",
                f.bad_passed_per_day
            ),
            f.bad_passed_per_day,
        ),
        false => stay(Action::Leave, range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(value: f64, low: f64, high: f64) -> RuleFacts {
        RuleFacts {
            action: "block".to_owned(),
            shadow: false,
            precision: Ok(Estimate { value, low, high }),
            hits_per_day: 100.0,
            bad_alone_per_day: 5.0,
            bad_passed_per_day: 40.0,
            good_stopped_per_day: 30.0,
            good_per_day: 35.0,
            silent_days: 0,
        }
    }

    #[test]
    fn advice_follows_what_is_sure() {
        let relax = advise(&facts(0.1, 0.05, 0.2));
        assert_eq!((relax.action, relax.good_stopped_per_day), (Action::Relax, Some(-30.0)));
        assert_eq!(relax.attack_passed_per_day, Some(5.0));
        assert_eq!(advise(&facts(0.85, 0.6, 0.95)).action, Action::Leave);
        let useless = RuleFacts { bad_alone_per_day: 0.0, ..facts(0.01, 0.0, 0.05) };
        assert_eq!(advise(&useless).action, Action::Retire);
        let shadow = RuleFacts { shadow: true, ..facts(0.99, 0.97, 1.0) };
        let on = advise(&shadow);
        assert_eq!((on.action, on.attack_passed_per_day), (Action::Tighten, Some(-40.0)));
        let wrong = RuleFacts { shadow: true, ..facts(0.1, 0.05, 0.2) };
        let off = advise(&wrong);
        assert_eq!((off.action, off.attack_passed_per_day), (Action::Retire, Some(0.0)), "it stops nothing");
        let challenge = RuleFacts { action: "challenge".to_owned(), ..facts(0.99, 0.97, 1.0) };
        assert_eq!(advise(&challenge).action, Action::Tighten);
        let unknown = RuleFacts { precision: Err("no hits"), ..facts(0.0, 0.0, 0.0) };
        assert_eq!(advise(&unknown).action, Action::NotEnoughData);
        assert_eq!(advise(&unknown).attack_passed_per_day, None);
        assert_eq!(advise(&RuleFacts { silent_days: 20, ..unknown }).action, Action::Retire);
    }
}
