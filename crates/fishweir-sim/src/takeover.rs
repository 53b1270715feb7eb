//! How accounts are taken (B4 to B9) and what is done with them afterwards.

use crate::campaign::{Burst, Campaign, device_of};
use crate::config::AttackKind;
use crate::intent::{LOGIN_LEAKED, LOGIN_OK, Route};
use crate::network::{self, NetworkKind};
use crate::random::{Draws, Purpose};
use crate::rows::{Change, Contact, Leak, Sparse, Verdict};
use crate::visit::{Script, play_minutes};
use crate::world::{ABROAD, NEW_DEVICE, Party, Stage, World};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 86_400_000_000;
/// Share of fresh loot in a collection of leaks, against old lists.
const FRESH_SHARE: f64 = 0.4;

/// What truly happened to an account.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct AccountTruth {
    pub(crate) account: String,
    pub(crate) campaign: String,
    pub(crate) vector: &'static str,
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
    pub(crate) stages: Vec<&'static str>,
    pub(crate) reported: bool,
}

/// Name of an account in the streams: says nothing about its number.
pub(crate) fn account_name(w: &World, account: u64) -> String {
    format!("a-{:016x}", account_number(w, account))
}

pub(crate) fn account_number(w: &World, account: u64) -> u64 {
    w.key.veil(account ^ 1 << 62)
}

fn vector(kind: AttackKind) -> &'static str {
    use AttackKind::{B2, B3, B4, B5, B6, B7, B8, B9};
    match kind {
        B2 => "spraying",
        B3 => "cracking",
        B4 => "phishing",
        B5 => "stealer",
        B6 => "stolen_session",
        B7 => "sim_swap",
        B8 => "support",
        B9 => "reactivation",
        _ => "stuffing",
    }
}

fn change(p: &Party, time_us: i64, what: &'static str, actor: &'static str) -> Sparse {
    Sparse::Change(Change {
        time_us,
        account: p.account,
        change: what,
        actor,
        device: Some(p.device),
        session: Some(p.session),
        ip: p.ip,
        asn: p.asn,
    })
}

pub(crate) fn contact(
    time_us: i64,
    account: u64,
    topic: &'static str,
    flag: Option<&'static str>,
    d: &mut Draws,
) -> Sparse {
    let (channel, cost_usd) = [("phone", 5.25), ("chat", 3.82), ("email", 4.42)][d.below(3) as usize];
    Sparse::Contact(Contact { time_us, account, topic, channel, flag, cost_usd })
}

/// What an analyst says about an account after a contact: wrong once in twelve times, unsure as
/// often.
pub(crate) fn verdict(contact_us: i64, account: u64, taken: bool, d: &mut Draws) -> Sparse {
    let u = d.unit();
    let verdict = match (u < 1.0 / 12.0, u < 2.0 / 12.0, taken) {
        (false, true, _) => "unsure",
        (false, false, true) | (true, _, false) => "attack",
        (false, false, false) | (true, _, true) => "benign",
    };
    Sparse::Verdict(Verdict {
        time_us: contact_us + (d.lognormal(1.0, 0.8) * DAY_US as f64) as i64,
        account,
        verdict,
        reviewer: 1 + d.below(4) as u8,
        reason: "contact",
    })
}

/// Attempts of the quiet kinds (B4 to B9): those due on a day, written ahead of time.
pub(crate) fn attempts(c: &Campaign, w: &World, day: u32, day_us: i64, out: &mut Burst) -> Vec<(u64, i64)> {
    use AttackKind::{B4, B5, B6, B7, B8, B9};
    if !matches!(c.config.kind, B4 | B5 | B6 | B7 | B8 | B9) || !c.active(day_us, day_us + DAY_US) {
        return Vec::new();
    }
    let days = (c.config.minutes / 1_440.0).max(1.0);
    let wanted = (c.config.size * w.accounts as f64).max(1.0);
    let all = c.targets(w, wanted as u64, 0);
    let first = ((c.start_us - (day_us - i64::from(day) * DAY_US)).div_euclid(DAY_US)) as u32;
    let mut taken = Vec::new();
    for (n, account) in all.into_iter().enumerate() {
        let mut d = c.key.draws(account, 0, Purpose::Takeover, 1);
        let its_day = first + ((n as f64 + d.unit()) / wanted * days) as u32;
        if its_day != day {
            continue;
        }
        // Office hours of the attacker.
        let at_us = (day_us + (d.between(7.0, 16.0) * 3_600e6) as i64).max(c.start_us);
        let party = thief(c, w, account, Stage::Checker, c.key.veil(account));
        let entity = c.account_entity(account);
        let mut s = Script {
            w,
            party,
            at_us,
            until_us: i64::MAX,
            source: 1,
            entity,
            day,
            next: 0,
            out: &mut out.intents,
        };
        approach(c, &mut d, party, at_us, &mut s, &mut out.sparse);
        if c.config.kind == B6 {
            taken.push((account, at_us));
        }
    }
    taken
}

// Who sits at the other end. Crews that rent home connections take, where they can, one in the
// member's country; whoever buys the account later lives elsewhere and keeps a device.
fn thief(c: &Campaign, w: &World, account: u64, stage: Stage, session: u64) -> Party {
    let bought = stage == Stage::CoUse;
    let number = if bought { 1 << 20 | account } else { account };
    let mut party = c.source(number, stage, session);
    let home = w.account(account).country;
    let mut d = c.key.draws(number, 0, Purpose::Takeover, 3);
    if network::asn(party.asn).kind == NetworkKind::Home && d.chance(w.config.near_share) {
        party.asn = network::fixed(home, d.below(1 << 20));
        party.ip = network::address(party.asn, false, d.below(1 << 20));
    }
    party.account = account;
    party.device = device_of(c.id, if bought { account ^ 1 } else { account }, party.kind);
    party.flags |= NEW_DEVICE | if network::asn(party.asn).country == home { 0 } else { ABROAD };
    if c.config.kind == AttackKind::B6 {
        // A stolen session carries the device of its owner.
        party.device = crate::world::device_number(w.device(account, 0).0, account, 0);
        party.flags &= !NEW_DEVICE;
    }
    party
}

// How one account is approached.
fn approach(
    c: &Campaign,
    d: &mut Draws,
    party: Party,
    at_us: i64,
    s: &mut Script<'_>,
    sparse: &mut Vec<Sparse>,
) {
    use AttackKind::{B4, B5, B6, B7, B8, B9};
    match c.config.kind {
        B6 => {
            // The member's own token and device, from somewhere else: no sign-in at all.
            s.say(Route::Token, 0, 0);
        }
        B8 => {
            sparse.push(contact(at_us - 20 * MINUTE_US, party.account, "cannot_sign_in", None, d));
            sparse.push(change(&party, at_us, "email", "support"));
            s.say(Route::Login, 0, LOGIN_OK);
        }
        B9 => {
            sparse.push(change(&party, at_us - MINUTE_US, "reactivate", "member"));
            s.say(Route::Login, 0, LOGIN_OK);
        }
        B7 => {
            s.say(Route::Login, 0, LOGIN_OK);
        }
        kind => {
            if kind == B5 && d.chance(0.7) {
                let lag = d.lognormal(5.0, 1.0);
                let seen_us = at_us - (lag * DAY_US as f64) as i64;
                sparse.push(Sparse::Leak(Leak {
                    time_us: at_us - (d.unit() * 3.0 * DAY_US as f64) as i64,
                    vendor: ["feed-a", "feed-b", "feed-c"][d.below(3) as usize],
                    account: party.account,
                    password_match: d.chance(0.6),
                    seen_us,
                }));
            }
            let right = kind != B4 || d.chance(0.25);
            // What a stealer took last week stands in few collections yet.
            let leaked = kind == B5 && d.chance(FRESH_SHARE * s.w.config.corpus_share);
            s.say(Route::Login, 0, if right { LOGIN_OK } else { 1 } | if leaked { LOGIN_LEAKED } else { 0 });
        }
    }
}

/// Writes what is done with an account from the moment it is taken, and what its owner does.
pub(crate) fn begin(
    c: &Campaign,
    w: &World,
    account: u64,
    at_us: i64,
    start_us: i64,
    out: &mut Burst,
) -> AccountTruth {
    let mut d = c.key.draws(account, 1, Purpose::Takeover, 2);
    let day_of = |t: i64| ((t - start_us).div_euclid(DAY_US)) as u32;
    let entity = c.account_entity(account);
    let party = thief(c, w, account, Stage::Checker, c.key.veil(account ^ 0x55));
    let mut stages = vec!["checker"];
    let mut s = Script {
        w,
        party,
        at_us: at_us + 900_000,
        until_us: i64::MAX,
        source: 1,
        entity,
        day: day_of(at_us),
        next: 100,
        out: &mut out.intents,
    };
    s.say(Route::Profile, 0, 0);
    s.wait(d.between(0.4, 2.0));
    s.say(Route::AccountPage, 0, 0);
    let mut to_us = s.at_us;
    let mut seen = 0.0;
    if !d.chance(0.6) {
        let u = d.unit();
        if u < 0.55 {
            stages.push("co_use");
            seen = 0.1;
            let days = d.lognormal(12.0, 0.9).clamp(1.0, 60.0) as u32;
            let lag = d.lognormal(1.5, 1.0);
            let first_us = at_us + (lag * DAY_US as f64) as i64;
            for k in 0..days {
                if !d.chance(0.7) {
                    continue;
                }
                let begin_us = first_us + i64::from(k) * DAY_US + (d.between(0.0, 6.0) * 3_600e6) as i64;
                co_use(c, w, account, begin_us, day_of(begin_us), k, &mut d, out);
                to_us = to_us.max(begin_us);
            }
        } else if u < 0.85 {
            stages.push("lockout");
            seen = 0.7;
            let t = at_us + (d.between(1.0, 30.0) * MINUTE_US as f64) as i64;
            for (k, what) in ["logout_all", "email", "password"].into_iter().enumerate() {
                out.sparse.push(change(&party, t + k as i64 * 40_000_000, what, "member"));
            }
            to_us = t + 7 * DAY_US;
            let back = t + (d.lognormal(1.5, 0.8) * DAY_US as f64) as i64;
            out.sparse.push(change(&party, back, "password", "support"));
        } else if u < 0.93 {
            stages.push("upgrade");
            seen = 0.4;
            out.sparse.push(change(&party, at_us + 5 * MINUTE_US, "plan", "member"));
        } else {
            stages.push("resold");
            to_us = at_us + 14 * DAY_US;
        }
        if d.chance(0.0007 / 0.4) {
            stages.push("purchase");
            let mut s = Script {
                w,
                party,
                at_us: at_us + MINUTE_US,
                until_us: i64::MAX,
                source: 1,
                entity,
                day: day_of(at_us),
                next: 200,
                out: &mut out.intents,
            };
            s.party.stage = Stage::Purchase;
            s.say(Route::Payment, 0, 0);
        }
    }
    let reported = d.chance(seen);
    if reported {
        let judged = d.chance(w.config.reviewed_share);
        let lag = d.lognormal(6.0, 0.8);
        let flag = if d.chance(0.85) { Some("compromised") } else { None };
        let time_us = at_us + (lag * DAY_US as f64) as i64;
        out.sparse.push(contact(time_us, account, "account_takeover", flag, &mut d));
        if judged {
            out.sparse.push(verdict(time_us, account, true, &mut d));
        }
    }
    AccountTruth {
        account: account_name(w, account),
        campaign: c.config.name.clone(),
        vector: vector(c.config.kind),
        from_us: at_us,
        to_us,
        stages,
        reported,
    }
}

#[expect(clippy::too_many_arguments, reason = "who, where, when")]
fn co_use(
    c: &Campaign,
    w: &World,
    account: u64,
    at_us: i64,
    day: u32,
    visit: u32,
    d: &mut Draws,
    out: &mut Burst,
) {
    // Whoever bought it lives somewhere and keeps a device.
    let mut party = thief(c, w, account, Stage::CoUse, c.key.veil(account << 8 | u64::from(visit)));
    if visit > 0 {
        party.flags &= !NEW_DEVICE;
    }
    let entity = c.account_entity(account);
    let next = 1_000 + visit * 2_000;
    let mut s = Script {
        w,
        party,
        at_us,
        until_us: at_us + DAY_US / 3,
        source: 1,
        entity,
        day,
        next,
        out: &mut out.intents,
    };
    let signs_in = visit == 0 && c.config.kind != AttackKind::B6;
    s.say(if signs_in { Route::Login } else { Route::Token }, 0, LOGIN_OK);
    s.wait(d.between(1.0, 4.0));
    s.say(Route::Profile, 0, 0);
    s.wait(d.between(1.0, 6.0));
    s.say(Route::Home, 0, 0);
    for _ in 0..1 + d.below(3) {
        s.wait(d.lognormal(20.0, 0.8));
        let minutes = play_minutes(d);
        let title = w.catalogue.title(d.unit());
        s.play(d, title, minutes);
    }
}
