//! Members and partners whose ordinary days look like abuse: campuses, partners that sign in for
//! members, card troubles, typing errors in gift codes, hotel sets, press accounts, families that
//! change their password.

use rayon::prelude::*;

use crate::campaign::Burst;
use crate::intent::{LOGIN_OK, LOGIN_WRONG, Route};
use crate::network::{self, COUNTRIES};
use crate::random::{Draws, Purpose};
use crate::rows::{Change, Sparse};
use crate::visit::{Script, play_minutes};
use crate::world::{ABROAD, Account, HUMAN, NEW_DEVICE, PARTNER, Party, SHARED, Stage, World};

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: f64 = 3_600e6;
/// What an account may run into on a day, with its chance.
const DAILY: [(Twin, f64); 7] = [
    (Twin::Campus, 0.002),
    (Twin::Partner, 0.001),
    (Twin::CardRetry, 0.000_5),
    (Twin::GiftTypo, 0.000_3),
    (Twin::HotelSet, 0.000_5),
    (Twin::Press, 0.000_2),
    (Twin::Family, 0.000_3),
];
/// Gift codes are typed in when they are given.
const GIFT_DAYS: f64 = 20.0;
/// Sets that a hotel chain bought with one id between them, per country.
const HOTEL_SETS: u64 = 8;

#[derive(Clone, Copy)]
enum Twin {
    Campus,
    Partner,
    CardRetry,
    GiftTypo,
    HotelSet,
    Press,
    Family,
}

/// Returns what members and partners do on a day that resembles abuse.
pub(crate) fn of_day(w: &World, day: u32, day_us: i64) -> Burst {
    let blocks: Vec<Burst> = (0..w.accounts.div_ceil(4_096))
        .into_par_iter()
        .map(|b| {
            let mut out = Burst::default();
            for id in b * 4_096..((b + 1) * 4_096).min(w.accounts) {
                of_account(w, id, day, day_us, &mut out);
            }
            out
        })
        .collect();
    let mut all = Burst::default();
    for b in blocks {
        all.intents.extend(b.intents);
        all.sparse.extend(b.sparse);
    }
    all
}

fn of_account(w: &World, id: u64, day: u32, day_us: i64, out: &mut Burst) {
    let mut d = w.key.draws(id, day, Purpose::Twin, 0);
    let share = w.config.twins_share;
    let chances = DAILY.map(|(twin, p)| match twin {
        Twin::GiftTypo if is_gift_day(day_us) => p * share * GIFT_DAYS,
        _ => p * share,
    });
    if !d.chance(chances.iter().sum()) {
        return;
    }
    let a = w.account(id);
    if a.joined > day {
        return;
    }
    let twin = DAILY[d.pick(chances.into_iter())].0;
    let slot = d.below(u64::from(a.devices)) as u8;
    let party = w.party(&a, slot, day, d.bits(), &mut d);
    let s = Script {
        w,
        party,
        at_us: day_us + (w.calendar.second(day, d.unit()) * 1e6) as i64,
        until_us: i64::MAX,
        source: 0,
        entity: id,
        day,
        // Visits number their wishes by 4096; twins come after all of them.
        next: 210 * 4_096,
        out: &mut out.intents,
    };
    match twin {
        Twin::Family => family(s, &a, &mut d, &mut out.sparse),
        _ => act(twin, s, &a, &mut d),
    }
}

// Somebody changes the password on the sofa, and every other device of the home has to sign in again.
fn family(mut s: Script<'_>, a: &Account, d: &mut Draws, sparse: &mut Vec<Sparse>) {
    let changed_us = s.at_us;
    sparse.push(Sparse::Change(Change {
        time_us: changed_us,
        account: a.id,
        change: "password",
        actor: "member",
        device: Some(s.party.device),
        session: Some(s.party.session),
        ip: s.party.ip,
        asn: s.party.asn,
    }));
    let own = (s.party.device >> 8) & 0xFF;
    for slot in 0..a.devices {
        let party = s.w.party(a, slot, s.day, d.bits(), d);
        if (party.device >> 8) & 0xFF == own || !d.chance(0.8) {
            continue;
        }
        s.party = Party { stage: Stage::Family, ..party };
        s.at_us = changed_us + (d.lognormal(2.0, 1.0).min(30.0) * HOUR_US) as i64;
        if s.login(d, false) {
            s.say(Route::Home, 0, 0);
        }
    }
}

fn act(twin: Twin, mut s: Script<'_>, a: &Account, d: &mut Draws) {
    let day_us = s.at_us - s.at_us.rem_euclid(DAY_US);
    match twin {
        Twin::Campus => {
            // Hundreds of students behind two addresses sign in before the first lecture.
            let asn = network::hotel(a.country);
            s.party.asn = asn;
            s.party.ip = network::address(asn, false, 4_000 + d.below(2));
            s.party.flags |= SHARED;
            s.party.stage = Stage::Campus;
            let local_us = (d.lognormal(8.2, 0.06) * HOUR_US) as i64;
            let offset_us = i64::from(COUNTRIES[usize::from(a.country)].offset_min) * 60_000_000;
            s.at_us = day_us + (local_us - offset_us).rem_euclid(DAY_US);
            s.login(d, a.breached);
        }
        Twin::Partner => {
            // An aggregator signs in for the member, from its servers.
            let asn = network::centre(6);
            s.party.asn = asn;
            s.party.ip = network::address(asn, false, 56 + d.below(4));
            s.party.software = crate::device::tool(6);
            s.party.flags = (s.party.flags & !(HUMAN | ABROAD | NEW_DEVICE)) | PARTNER;
            s.party.stage = Stage::Partner;
            s.say(Route::Login, 0, if d.chance(0.97) { LOGIN_OK } else { LOGIN_WRONG });
        }
        Twin::CardRetry => {
            s.party.stage = Stage::CardRetry;
            for _ in 0..1 + d.poisson(1.6) {
                s.say(Route::Payment, 0, 1);
                s.wait(d.lognormal(40.0, 0.7));
            }
            s.say(Route::Payment, 0, 0);
        }
        Twin::GiftTypo => {
            s.party.stage = Stage::GiftTypo;
            for _ in 0..d.poisson(1.2) {
                s.say(Route::Gift, 0, 1);
                s.wait(d.lognormal(20.0, 0.6));
            }
            s.say(Route::Gift, 0, 0);
        }
        Twin::Family => {}
        Twin::HotelSet => hotel_set(&mut s, a, d),
        Twin::Press => {
            // Looks into one title after the other.
            s.party.stage = Stage::Press;
            for _ in 0..20 + d.below(30) {
                let (title, minutes) = (s.w.catalogue.title(d.unit()), d.between(0.3, 2.0));
                s.play(d, title, minutes);
                s.wait(d.exponential(20.0));
            }
        }
    }
}

// A guest signs in on a set whose id is that of every set of the chain.
fn hotel_set(s: &mut Script<'_>, a: &Account, d: &mut Draws) {
    let asn = network::hotel(a.country);
    let kind = 2;
    let owner = 1 << 33 | u64::from(a.country);
    s.party = Party {
        device: crate::world::device_number(kind, owner, (200 + d.below(HOTEL_SETS)) as u8),
        ip: network::address(asn, true, d.below(u64::from(s.w.config.cgnat_addresses))),
        asn,
        kind,
        software: crate::device::software(kind, s.w.version(2, s.day)),
        stage: Stage::HotelSet,
        flags: HUMAN | SHARED | NEW_DEVICE,
        ..s.party
    };
    if s.login(d, a.breached) {
        s.say(Route::Home, 0, 0);
        s.wait(d.lognormal(30.0, 0.8));
        let (title, minutes) = (s.w.catalogue.title(d.unit()), play_minutes(d));
        s.play(d, title, minutes);
    }
}

fn is_gift_day(day_us: i64) -> bool {
    use chrono::Datelike as _;
    chrono::DateTime::from_timestamp_micros(day_us)
        .is_some_and(|t| t.month() == 12 && matches!(t.day(), 24..=26))
}
