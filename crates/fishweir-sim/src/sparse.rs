//! What happens rarely and to everybody: changes of accounts, contacts, leaks, notes.

use rayon::prelude::*;

use crate::campaign::Campaign;
use crate::config::HappeningKind;
use crate::engine::note;
use crate::happening::Event;
use crate::random::Purpose;
use crate::rows::{Change, Leak, Note, Sparse};
use crate::takeover::{contact, verdict};
use crate::world::World;

const DAY_US: i64 = 86_400_000_000;
/// Shares of accounts per month.
const CHANGES: [(&str, f64); 6] = [
    ("email", 0.003),
    ("password", 0.010),
    ("payment", 0.015),
    ("plan", 0.008),
    ("device_added", 0.08),
    ("profile", 0.01),
];
/// Share of accounts whose credentials turn up in a feed in a year.
const LEAKED_PER_YEAR: f64 = 0.019;
/// Share of those who begin that were members before.
const RETURNED: f64 = 0.4;
/// Contacts of people who believe their account was taken though it was not, per month.
const FALSE_ALARM: f64 = 0.0004;

/// Returns the rare rows of members on a day.
pub(crate) fn of_day(w: &World, day: u32, day_us: i64) -> Vec<Sparse> {
    let blocks = w.accounts.div_ceil(4_096);
    (0..blocks)
        .into_par_iter()
        .flat_map_iter(|b| {
            (b * 4_096..((b + 1) * 4_096).min(w.accounts)).flat_map(move |id| of_account(w, id, day, day_us))
        })
        .collect()
}

pub(crate) fn of_account(w: &World, id: u64, day: u32, day_us: i64) -> Vec<Sparse> {
    let mut d = w.key.draws(id, day, Purpose::Sparse, 1);
    let mut out = Vec::new();
    // One draw decides for most accounts that nothing happens.
    let changes: f64 = CHANGES.iter().map(|c| c.1).sum::<f64>() / 30.0;
    let contacts = w.config.contacts_per_month / 30.0;
    let leaks = LEAKED_PER_YEAR / 365.0;
    let alarms = FALSE_ALARM / 30.0;
    if !d.chance(changes + contacts + leaks + alarms) {
        return out;
    }
    let a = w.account(id);
    if a.joined > day {
        return out;
    }
    let time_us = day_us + (w.calendar.second(day, d.unit()) * 1e6) as i64;
    match d.pick([changes, contacts, leaks, alarms].into_iter()) {
        0 => {
            let (what, _) = CHANGES[d.pick(CHANGES.iter().map(|c| c.1))];
            let p = w.party(&a, d.below(u64::from(a.devices)) as u8, day, d.bits(), &mut d);
            out.push(Sparse::Change(Change {
                time_us,
                account: id,
                change: what,
                actor: if d.chance(0.04) { "support" } else { "member" },
                device: Some(p.device),
                session: Some(p.session),
                ip: p.ip,
                asn: p.asn,
            }));
        }
        1 => {
            let topic = ["cannot_sign_in", "cannot_play", "billing", "other"]
                [d.pick([0.2, 0.3, 0.3, 0.2].into_iter())];
            out.push(contact(time_us, id, topic, None, &mut d));
        }
        2 => out.push(Sparse::Leak(Leak {
            time_us,
            vendor: ["feed-a", "feed-b", "feed-c"][d.below(3) as usize],
            account: id,
            password_match: d.chance(0.12),
            seen_us: time_us - (d.lognormal(12.0, 1.0) * DAY_US as f64) as i64,
        })),
        _ => {
            let flag = if d.chance(0.2) { Some("compromised") } else { Some("not_compromised") };
            out.push(contact(time_us, id, "account_takeover", flag, &mut d));
            if d.chance(w.config.reviewed_share) {
                out.push(verdict(time_us, id, false, &mut d));
            }
        }
    }
    out
}

/// Returns the accounts that begin on a day: new ones, and those that come back after a pause.
pub(crate) fn arrivals(w: &World, day: u32, day_us: i64) -> Vec<(u64, Change)> {
    let blocks = w.accounts.div_ceil(4_096);
    let first = |id: u64| {
        let a = w.account(id);
        if day == 0 || a.joined != day {
            return None;
        }
        let mut d = w.key.draws(id, day, Purpose::Sparse, 2);
        let p = w.party(&a, 0, day, d.bits(), &mut d);
        let change = Change {
            time_us: day_us + (d.unit() * 3_600e6) as i64,
            account: id,
            change: if d.chance(RETURNED) { "reactivate" } else { "signup" },
            actor: "member",
            device: Some(p.device),
            session: Some(p.session),
            ip: p.ip,
            asn: p.asn,
        };
        Some((id, change))
    };
    (0..blocks)
        .into_par_iter()
        .flat_map_iter(|b| (b * 4_096..((b + 1) * 4_096).min(w.accounts)).filter_map(first))
        .collect()
}

/// Returns the notes people write about what is planned and what they hear; some are wrong or late.
pub(crate) fn notes(w: &World, events: &[Event], campaigns: &[Campaign]) -> Vec<Note> {
    let mut out = Vec::new();
    for e in events {
        let (kind, title) = match e.config.kind {
            HappeningKind::Launch => ("launch", "New season released"),
            HappeningKind::Live => ("launch", "Live event"),
            HappeningKind::Deploy => ("deploy", "Deploy of the recommendations service"),
            HappeningKind::LoadTest => ("load_test", "Load test of the home page"),
            HappeningKind::Relogin => ("deploy", "Sign-in tokens of one television model renewed"),
            HappeningKind::BankOutage => ("outage", "Card payments fail at a bank"),
            HappeningKind::RetryStorm | HappeningKind::GuideRefresh => continue,
        };
        let mut n = note(e.start_us, kind, title, "planned".to_owned(), "release", 1.0);
        n.until_us = Some(e.end_us);
        out.push(n);
    }
    for c in campaigns {
        let mut d = c.key.draws(u64::from(c.id), 0, Purpose::Note, 0);
        // Hacktivists announce themselves; about others somebody sometimes hears something.
        if !d.chance(if c.config.tier == 4 { 0.9 } else { 0.15 }) {
            continue;
        }
        let wrong = d.chance(w.config.wrong_notes_share);
        let shift = if wrong { d.between(-5.0, 5.0) } else { d.between(-0.5, 0.2) };
        let time_us = c.start_us + (shift * DAY_US as f64) as i64;
        let confidence = libm::round(d.between(0.3, 0.9) * 100.0) / 100.0;
        out.push(note(
            time_us,
            "intel",
            "Talk of an attack",
            "heard on a public channel".to_owned(),
            "intel",
            confidence,
        ));
    }
    out.sort_by_key(|n| n.time_us);
    out
}
