//! Which weakness let a takeover happen: a distribution over causes, from the traces it left. Pure.
//!
//! Each cause leaves traces with a chance of its own (expert knowledge, below); how common each cause is
//! follows from all takeovers together (expectation maximisation over the shares).

/// What a takeover left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Traces {
    /// Kind of the campaign that reached the account.
    pub(crate) campaign: Option<String>,
    pub(crate) leaked: bool,
    pub(crate) leak_match: bool,
    pub(crate) vendor: Option<String>,
    pub(crate) weak: bool,
    pub(crate) breached: bool,
    pub(crate) by_support: bool,
    pub(crate) reactivated: bool,
    pub(crate) new_device: bool,
    pub(crate) signed_in: bool,
}

impl Traces {
    /// Returns these traces and others of the same thief.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.campaign = self.campaign.or_else(|| other.campaign.clone());
        self.leaked |= other.leaked;
        self.leak_match |= other.leak_match;
        self.vendor = self.vendor.or_else(|| other.vendor.clone());
        self.weak |= other.weak;
        self.breached |= other.breached;
        self.by_support |= other.by_support;
        self.reactivated |= other.reactivated;
        self.new_device |= other.new_device;
        self.signed_in |= other.signed_in;
        self
    }
}

/// A cause, the chance of each trace, and what would close it.
struct Cause {
    name: &'static str,
    stuffing: f64,
    guessing: f64,
    leaked: f64,
    weak: f64,
    breached: f64,
    by_support: f64,
    reactivated: f64,
    signed_in: f64,
    new_device: f64,
    cure: &'static str,
}

const CAUSES: [Cause; 8] = [
    Cause {
        name: "leaked_credentials",
        stuffing: 0.85,
        guessing: 0.02,
        leaked: 0.05,
        weak: 0.08,
        breached: 0.45,
        by_support: 0.002,
        reactivated: 0.005,
        signed_in: 0.98,
        new_device: 0.99,
        cure: "refuse passwords that stand in leak collections and ask for a second factor on new devices",
    },
    Cause {
        name: "weak_password",
        stuffing: 0.05,
        guessing: 0.85,
        leaked: 0.02,
        weak: 0.9,
        breached: 0.3,
        by_support: 0.002,
        reactivated: 0.005,
        signed_in: 0.98,
        new_device: 0.99,
        cure: "refuse common passwords and slow down repeated tries on one account",
    },
    Cause {
        name: "phishing",
        stuffing: 0.01,
        guessing: 0.01,
        leaked: 0.02,
        weak: 0.08,
        breached: 0.06,
        by_support: 0.002,
        reactivated: 0.005,
        signed_in: 0.98,
        new_device: 0.99,
        cure: "ask for a second factor that cannot be typed in elsewhere",
    },
    Cause {
        name: "malware_feed",
        stuffing: 0.01,
        guessing: 0.01,
        leaked: 0.7,
        weak: 0.08,
        breached: 0.2,
        by_support: 0.002,
        reactivated: 0.005,
        signed_in: 0.98,
        new_device: 0.99,
        cure: "reset passwords on the day a stealer feed names the account",
    },
    Cause {
        name: "stolen_session",
        stuffing: 0.01,
        guessing: 0.01,
        leaked: 0.02,
        weak: 0.08,
        breached: 0.06,
        by_support: 0.002,
        reactivated: 0.005,
        signed_in: 0.02,
        // Whoever replays a token comes as its owner's device or as one that never signed in.
        new_device: 0.25,
        cure: "bind sessions to the device and end those that jump between networks",
    },
    Cause {
        name: "recovery_abuse",
        stuffing: 0.01,
        guessing: 0.01,
        leaked: 0.02,
        weak: 0.08,
        breached: 0.06,
        by_support: 0.97,
        reactivated: 0.005,
        signed_in: 0.95,
        new_device: 0.99,
        cure: "have customer service confirm a change of address with the old one",
    },
    Cause {
        name: "reactivation",
        stuffing: 0.01,
        guessing: 0.01,
        leaked: 0.02,
        weak: 0.08,
        breached: 0.06,
        by_support: 0.002,
        reactivated: 0.97,
        signed_in: 0.95,
        new_device: 0.99,
        cure: "delete payment data of cancelled accounts and ask for it again",
    },
    // Any trace as often as on a day of any member's: what fits nothing else.
    Cause {
        name: "unknown",
        stuffing: 0.02,
        guessing: 0.02,
        leaked: 0.02,
        weak: 0.1,
        breached: 0.06,
        by_support: 0.01,
        reactivated: 0.01,
        signed_in: 0.5,
        new_device: 0.6,
        cure: "review these cases by hand: a cause without a name is the next one to name",
    },
];

/// Causes by name, with what would close each.
pub(crate) const DRIVERS: usize = CAUSES.len();
/// Takeovers that even shares are worth at the start.
const PRIOR: f64 = 0.3;

pub(crate) fn driver_name(i: usize) -> &'static str {
    CAUSES[i].name
}

pub(crate) fn driver_cure(i: usize) -> &'static str {
    CAUSES[i].cure
}

fn likelihood(c: &Cause, t: &Traces) -> f64 {
    let of = |p: f64, seen: bool| if seen { p } else { 1.0 - p };
    let campaign = match t.campaign.as_deref() {
        Some("stuffing" | "login_flood") => c.stuffing,
        Some("spraying" | "cracking") => c.guessing,
        _ => 1.0 - c.stuffing - c.guessing,
    };
    // Whether a password was weak or leaked is only known where one was used.
    let password = if t.signed_in { of(c.weak, t.weak) * of(c.breached, t.breached) } else { 1.0 };
    campaign
        * password
        * of(c.leaked, t.leaked)
        * of(c.by_support, t.by_support)
        * of(c.reactivated, t.reactivated)
        * of(c.signed_in, t.signed_in)
        * of(c.new_device, t.new_device)
}

/// Returns, for each takeover, the share of each cause; `weights` are the probabilities that each is one.
pub(crate) fn attribute(traces: &[&Traces], weights: &[f64]) -> Vec<[f64; DRIVERS]> {
    let like: Vec<[f64; DRIVERS]> =
        traces.iter().map(|t| std::array::from_fn(|i| likelihood(&CAUSES[i], t))).collect();
    let mut shares = [1.0 / DRIVERS as f64; DRIVERS];
    let posterior = |shares: &[f64; DRIVERS], l: &[f64; DRIVERS]| -> [f64; DRIVERS] {
        let joint: [f64; DRIVERS] = std::array::from_fn(|i| shares[i] * l[i]);
        let sum: f64 = joint.iter().sum();
        joint.map(|j| j / sum.max(1e-300))
    };
    for _ in 0..100 {
        let mut sums = [PRIOR; DRIVERS];
        for (l, w) in like.iter().zip(weights) {
            for (s, p) in sums.iter_mut().zip(posterior(&shares, l)) {
                *s += w * p;
            }
        }
        let total: f64 = sums.iter().sum();
        shares = sums.map(|s| s / total);
    }
    like.iter().map(|l| posterior(&shares, l)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(t: &Traces) -> &'static str {
        let p = attribute(&[t], &[1.0])[0];
        driver_name((0..DRIVERS).max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap())
    }

    #[test]
    fn traces_name_their_cause() {
        let base = Traces { new_device: true, signed_in: true, ..Traces::default() };
        let stuffed = Traces { campaign: Some("stuffing".to_owned()), breached: true, ..base.clone() };
        let sprayed = Traces { campaign: Some("spraying".to_owned()), weak: true, ..base.clone() };
        assert_eq!(top(&stuffed), "leaked_credentials");
        assert_eq!(top(&sprayed), "weak_password");
        assert_eq!(top(&Traces { leaked: true, leak_match: true, ..base.clone() }), "malware_feed");
        assert_eq!(top(&Traces { by_support: true, ..base.clone() }), "recovery_abuse");
        assert_eq!(top(&Traces { reactivated: true, ..base.clone() }), "reactivation");
        assert_eq!(top(&Traces::default()), "stolen_session");
        let p = attribute(&[&base], &[1.0])[0];
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
