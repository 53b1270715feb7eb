//! Abuse of the service and of payments (C1 to C10) and theft of content (D1 to D9): what the
//! accounts and programs of a campaign do on a day.

use crate::campaign::{Burst, Campaign, device_of};
use crate::config::AttackKind;
use crate::device::KINDS;
use crate::intent::Route;
use crate::network;
use crate::random::{Draws, Purpose};
use crate::rows::{Change, Sparse};
use crate::takeover::contact;
use crate::visit::{Script, play_minutes};
use crate::world::{HUMAN, NEW_DEVICE, Party, Stage, World};

const DAY_US: i64 = 86_400_000_000;

/// Bits of `aux` of a licence: fetched ahead, kept for offline, number of the encoding.
pub(crate) const LICENCE_PREFETCH: u32 = 1;
pub(crate) const LICENCE_OFFLINE: u32 = 2;
pub(crate) const LICENCE_ENCODING: u32 = 4;
/// Marks a device id whose DRM system number does not fit.
pub(crate) const WRONG_SYSTEM: u64 = 1 << 63;

struct Day<'a> {
    c: &'a Campaign,
    w: &'a World,
    day: u32,
    day_us: i64,
}

/// Appends what the campaign does on a day.
pub(crate) fn day(c: &Campaign, w: &World, day: u32, day_us: i64, out: &mut Burst) {
    if !c.active(day_us, day_us + DAY_US) {
        return;
    }
    use AttackKind::{C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, D1, D2, D3, D4, D5, D6, D7, D8, D9};
    let subjects = ((c.config.size * w.accounts as f64).round() as u64).max(1);
    let at = Day { c, w, day, day_us };
    for (n, account) in c.targets(w, subjects, 0).into_iter().enumerate() {
        let mut d = c.key.draws(account, day, Purpose::Abuse, 0);
        match c.config.kind {
            C1 => at.watch_elsewhere(account, 1, 2, &mut d, out),
            C2 => at.watch_elsewhere(account, 8, 16, &mut d, out),
            C3 => at.watch_elsewhere(account, 5, 8, &mut d, out),
            C4 | C5 | C7 | C9 => at.sign_up(account, n as u64, &mut d, out),
            C6 => at.burst(account, Route::Payment, Stage::CardTest, 30, 4.0, &mut d, out),
            C8 => at.burst(account, Route::Gift, Stage::GiftCode, 400, 2.0, &mut d, out),
            C10 if d.chance(0.05) => {
                out.sparse.push(contact(at.moment(&mut d), account, "billing", None, &mut d));
            }
            D1 => at.licences(account, 120, false, &mut d, out),
            D2 => at.licences(account, 60, true, &mut d, out),
            D3 => at.clone_device(account, &mut d, out),
            D4 => at.licences(account ^ u64::from(day) << 32, 80, true, &mut d, out),
            D5 => at.probe(account, &mut d, out),
            D6 => at.watch_elsewhere(account, 1, 3, &mut d, out),
            D7 => at.leech(account, &mut d, out),
            D8 => at.hoard(account, &mut d, out),
            D9 => at.scrape(account, &mut d, out),
            _ => {}
        }
    }
}

impl Day<'_> {
    fn moment(&self, d: &mut Draws) -> i64 {
        (self.day_us + (d.unit() * DAY_US as f64) as i64)
            .clamp(self.c.start_us, self.c.end_us.max(self.c.start_us + 1))
    }

    fn party(&self, account: u64, machine: u64, stage: Stage) -> Party {
        let mut p = self.c.source(
            account << 8 | machine,
            stage,
            self.c.key.veil(account << 20 ^ machine << 10 ^ u64::from(self.day)),
        );
        p.account = account & 0xFFFF_FFFF;
        p.device = device_of(self.c.id, account << 8 | machine, p.kind);
        p
    }

    fn script<'a>(&'a self, party: Party, machine: u64, at_us: i64, out: &'a mut Burst) -> Script<'a> {
        let entity = self.c.account_entity(party.account ^ machine << 34);
        Script {
            w: self.w,
            party,
            at_us,
            until_us: at_us + DAY_US / 2,
            source: 1,
            entity,
            day: self.day,
            next: 0,
            out: &mut out.intents,
        }
    }

    // Buyers of a share of the account, each at home with a device.
    fn watch_elsewhere(&self, account: u64, devices: u64, visits: u64, d: &mut Draws, out: &mut Burst) {
        for v in 0..d.poisson(visits as f64) {
            let machine = d.below(devices);
            let mut party = self.party(account, machine, Stage::Resale);
            party.flags |= HUMAN;
            if self.c.config.kind == AttackKind::D6 {
                party.asn = network::vpn(machine);
                party.ip = network::address(party.asn, false, machine);
            }
            let mut s = self.script(party, machine << 8 | v, self.moment(d), out);
            s.say(Route::Token, 0, 0);
            s.wait(d.between(1.0, 5.0));
            s.say(Route::Home, 0, 0);
            s.wait(d.lognormal(20.0, 0.8));
            let (title, minutes) = (s.w.catalogue.title(d.unit()), play_minutes(d));
            if self.c.config.kind == AttackKind::C3 {
                // Beats are swallowed so that the stream is not counted.
                s.say(Route::Manifest, title, 0);
                s.say(Route::Licence, title, 0);
                s.say(Route::PlayStart, title, 0);
                s.wait(minutes * 60.0);
                s.say(Route::PlayStop, title, (minutes * 60.0) as u32);
            } else {
                s.play(d, title, minutes);
            }
        }
    }

    fn sign_up(&self, account: u64, n: u64, d: &mut Draws, out: &mut Burst) {
        let mut party = self.party(1 << 36 | account << 4 | u64::from(self.day), n % 8, Stage::SignUp);
        party.flags |= NEW_DEVICE;
        party.account = (1 << 31 | account << 6 | u64::from(self.day & 63)) & 0xFFFF_FFFF;
        let at_us = self.moment(d);
        let mut s = self.script(party, n, at_us, out);
        s.say(Route::SignUp, 0, 0);
        s.wait(d.between(0.5, 4.0));
        s.say(Route::Payment, 0, u32::from(d.chance(0.4)));
        out.sparse.push(Sparse::Change(Change {
            time_us: at_us + 4_000_000,
            account: party.account,
            change: "signup",
            actor: "member",
            device: Some(party.device),
            session: Some(party.session),
            ip: party.ip,
            asn: party.asn,
        }));
        if self.c.config.kind == AttackKind::C7 && d.chance(0.6) {
            let lag = d.lognormal(35.0, 0.5).min(120.0);
            out.sparse.push(contact(at_us + (lag * DAY_US as f64) as i64, party.account, "billing", None, d));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what, how many, how fast")]
    fn burst(
        &self,
        account: u64,
        route: Route,
        stage: Stage,
        n: u64,
        gap_s: f64,
        d: &mut Draws,
        out: &mut Burst,
    ) {
        let party = self.party(account, 0, stage);
        let mut s = self.script(party, 1, self.moment(d), out);
        for k in 0..n {
            // Most are declined: the odd one that is not is what they are after.
            s.say(route, (k % 7) as u32, u32::from(!d.chance(0.1)));
            s.wait(d.exponential(gap_s));
        }
    }

    // Title after title, no watching.
    fn licences(&self, account: u64, per_hour: u64, encodings: bool, d: &mut Draws, out: &mut Burst) {
        let mut party = self.party(account, u64::from(self.day / 3), Stage::Rip);
        party.account = account & 0xFFFF_FFFF;
        let first = d.below(u64::from(self.w.catalogue.len()).saturating_sub(400).max(1)) as u32;
        let at_us = self.moment(d);
        let mut s = self.script(party, 2, at_us, out);
        for k in 0..per_hour * (2 + d.below(4)) {
            let title = first + (k / if encodings { 6 } else { 1 }) as u32;
            s.say(Route::Manifest, title, 0);
            s.wait(d.between(0.2, 1.0));
            s.say(Route::Licence, title, if encodings { (k % 6) as u32 * LICENCE_ENCODING } else { 0 });
            s.wait(d.exponential(3_600.0 / per_hour as f64));
        }
    }

    // One device id in the hands of many accounts; wrong guesses first.
    fn clone_device(&self, account: u64, d: &mut Draws, out: &mut Burst) {
        let mut party = self.party(account, 0, Stage::Clone);
        party.kind = d.below(6) as u8;
        party.device = device_of(self.c.id, u64::from(self.day / 7), party.kind);
        let tries = d.below(8);
        let mut s = self.script(party, 3, self.moment(d), out);
        for k in 0..tries + 6 {
            let title = s.w.catalogue.title(d.unit());
            let honest = s.party.device;
            if k < tries {
                s.party.device |= WRONG_SYSTEM;
            }
            s.say(Route::Manifest, title, 0);
            s.say(Route::Licence, title, 0);
            s.party.device = honest;
            s.wait(d.exponential(240.0));
        }
    }

    fn probe(&self, account: u64, d: &mut Draws, out: &mut Burst) {
        let mut party = self.party(account, 0, Stage::Probe);
        party.kind = KINDS.len() as u8 - 1;
        let mut s = self.script(party, 4, self.moment(d), out);
        for k in 0..60 + d.below(60) {
            let title = s.w.catalogue.of_rank((k % 40) as u32);
            s.party.device ^= if d.chance(0.4) { WRONG_SYSTEM } else { 0 };
            s.say(Route::Licence, title, (k % 9) as u32 * LICENCE_ENCODING);
            s.wait(d.exponential(20.0));
        }
    }

    // One token at many addresses.
    fn leech(&self, account: u64, d: &mut Draws, out: &mut Burst) {
        let session = self.c.key.veil(account ^ 0x77);
        for v in 0..40 + d.below(80) {
            let mut party = self.party(account, v, Stage::Leech);
            party.session = session;
            party.device = device_of(self.c.id, account, 1);
            let mut s = self.script(party, v << 4 | 5, self.moment(d), out);
            let title = s.w.catalogue.title(d.unit());
            s.say(Route::Manifest, title, 0);
            s.wait(d.exponential(600.0));
            s.say(Route::Heartbeat, title, 0);
        }
    }

    fn hoard(&self, account: u64, d: &mut Draws, out: &mut Burst) {
        let party = self.party(account, 0, Stage::Hoard);
        let mut s = self.script(party, 6, self.moment(d), out);
        for _ in 0..18 + d.below(8) {
            let title = s.w.catalogue.title(d.unit());
            s.say(Route::Licence, title, LICENCE_OFFLINE);
            s.wait(d.exponential(200.0));
        }
    }

    fn scrape(&self, account: u64, d: &mut Draws, out: &mut Burst) {
        let party = self.party(account, d.below(20), Stage::Scrape);
        let first = d.below(u64::from(self.w.catalogue.len())) as u32;
        let mut s = self.script(party, 7, self.moment(d), out);
        for k in 0..2_000 {
            s.say(Route::Title, first + k, 0);
            s.wait(d.exponential(0.3));
            s.say(Route::Manifest, first + k, 0);
            s.wait(d.exponential(0.5));
        }
    }
}
