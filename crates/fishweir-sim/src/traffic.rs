//! One minute of traffic: sessions of members, attackers, and what the service makes of it.

use std::collections::VecDeque;

use crate::random::Draws;
use crate::scenario::{Plan, SimConfig, TruthKind, plans, rhythm};
use crate::world::{KINDS, World};

/// One request before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) time_us: i64,
    pub(crate) route: Route,
    pub(crate) status: i32,
    pub(crate) latency_us: i64,
    pub(crate) bytes: i64,
    pub(crate) ip: u32,
    pub(crate) asn: i64,
    pub(crate) country: &'static str,
    pub(crate) kind: Agent,
    pub(crate) account: Option<u64>,
    pub(crate) device: Option<u64>,
    pub(crate) session: Option<u64>,
    pub(crate) decision: Option<Decision>,
    pub(crate) title: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    Member(usize),
    Proxy,
    DataCentre,
    Token,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision {
    pub(crate) defence: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) version: &'static str,
    pub(crate) action: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) challenge: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    Home,
    Login,
    Search,
    Title,
    Manifest,
    Licence,
    Heartbeat,
}

impl Route {
    pub(crate) fn path(self, title: u64) -> String {
        match self {
            Self::Home => "/home".to_owned(),
            Self::Login => "/login".to_owned(),
            Self::Search => format!("/search?q={}", title % 500),
            Self::Title => format!("/title/{}", 80_000_000 + title),
            Self::Manifest => format!("/manifest/{}", 80_000_000 + title),
            Self::Licence => "/licence".to_owned(),
            Self::Heartbeat => "/heartbeat".to_owned(),
        }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Login | Self::Licence | Self::Heartbeat => "POST",
            _ => "GET",
        }
    }

    pub(crate) const fn service(self) -> &'static str {
        match self {
            Self::Login => "auth",
            Self::Manifest | Self::Licence | Self::Heartbeat => "playback",
            _ => "web",
        }
    }

    const fn cost(self) -> f64 {
        match self {
            Self::Search => 50.0,
            Self::Login => 40.0,
            Self::Home => 20.0,
            Self::Manifest => 15.0,
            Self::Licence => 10.0,
            Self::Title => 8.0,
            Self::Heartbeat => 1.0,
        }
    }

    const fn base_latency_us(self) -> f64 {
        self.cost() * 900.0 + 3_000.0
    }
}

/// Health of one service in one minute.
#[derive(Clone, Debug)]
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

/// Produces minutes in order.
pub(crate) struct Traffic<'a> {
    config: &'a SimConfig,
    world: &'a World,
    pub(crate) plans: Vec<Plan>,
    pub(crate) added: Vec<u64>,
    minute: u64,
    waiting: VecDeque<Vec<Request>>,
    capacity: [f64; 3],
}

const SERVICES: [&str; 3] = ["auth", "playback", "web"];
const MINUTE_US: i64 = 60_000_000;
const AHEAD: usize = 40;

impl<'a> Traffic<'a> {
    pub(crate) fn new(config: &'a SimConfig, world: &'a World) -> Self {
        let plans = plans(config);
        let sessions = f64::from(config.accounts) * config.sessions_per_account_day / 1440.0;
        // Capacity is three times the evening peak of ordinary days.
        let peak = sessions * 3.3;
        let capacity = [peak * 0.12 * 40.0 * 6.0, peak * (15.0 + 12.0 + 5.0) * 2.2, peak * 110.0 * 2.2];
        Self {
            added: vec![0; plans.len()],
            plans,
            config,
            world,
            minute: 0,
            waiting: (0..AHEAD).map(|_| Vec::new()).collect(),
            capacity,
        }
    }

    /// Returns the next minute's requests in time order and the services' health.
    pub(crate) fn next_minute(&mut self) -> (Vec<Request>, Vec<Health>) {
        let minute = self.minute;
        self.start_sessions(minute);
        let mut now = self.waiting.pop_front().unwrap_or_default();
        self.waiting.push_back(Vec::new());
        for i in 0..self.plans.len() {
            let before = now.len();
            self.happen(i, minute, &mut now);
            if let Some(n) = self.added.get_mut(i) {
                *n += (now.len() - before) as u64;
            }
        }
        now.sort_by_key(|r| (r.time_us, r.device, r.ip));
        let health = self.serve(minute, &mut now);
        self.minute += 1;
        (now, health)
    }

    fn at(&self, minute: u64, d: &mut Draws) -> i64 {
        let offset = i64::try_from(d.below(60_000_000)).unwrap_or(0);
        self.config.start_us + i64::try_from(minute).unwrap_or(0) * MINUTE_US + offset
    }

    fn start_sessions(&mut self, minute: u64) {
        let mut d = Draws::new(self.config.seed, 20, minute, 0);
        let mut mean =
            f64::from(self.config.accounts) * self.config.sessions_per_account_day / 1440.0 * rhythm(minute);
        // Slow wobble that no calendar explains.
        let mut slow = Draws::new(self.config.seed, 21, minute / 30, 0);
        mean *= 1.0 + 0.04 * slow.normal().clamp(-2.0, 2.0);
        let mut launch = None;
        for (i, p) in self.plans.iter().enumerate().filter(|(_, p)| p.kind == TruthKind::LaunchCrowd) {
            if let Some(age) = p.active(minute) {
                #[expect(clippy::cast_precision_loss, reason = "minutes")]
                let age = age as f64;
                let shape = (age / 25.0).min(1.0) * libm::exp(-(age - 25.0).max(0.0) / 70.0);
                launch = Some((i, p.rate * shape));
            }
        }
        let ordinary = d.poisson(mean);
        let extra = launch.map_or(0, |(_, f)| d.poisson(mean * f));
        for n in 0..ordinary + extra {
            let crowd = n >= ordinary;
            let made = self.session(minute, n, crowd);
            if crowd && let Some(slot) = launch.and_then(|(i, _)| self.added.get_mut(i)) {
                *slot += made;
            }
        }
    }

    fn session(&mut self, minute: u64, n: u64, crowd: bool) -> u64 {
        let mut d = Draws::new(self.config.seed, 22, minute, n);
        // A few members use the service much more than the others.
        let account = (d.unit() * d.unit().max(0.2) * 1.0) * self.world.accounts as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, below the number of accounts"
        )]
        let account = account as u64;
        let client = self.world.client(account, d.next());
        let title = if crowd { 1 } else { 2 + (1.0 / (d.unit() + 0.0005)) as u64 };
        let mut steps = vec![Route::Home];
        if d.chance(0.02) {
            steps.insert(0, Route::Login);
        }
        if !crowd {
            for _ in 0..d.below(3) {
                steps.push(if d.chance(0.25) { Route::Search } else { Route::Title });
            }
        }
        if crowd || d.chance(0.7) {
            steps.extend([Route::Title, Route::Manifest, Route::Licence]);
            steps.extend(std::iter::repeat_n(Route::Heartbeat, 1 + d.below(4) as usize));
        }
        let session = d.next();
        let mut offset_us = i64::try_from(d.below(60_000_000)).unwrap_or(0);
        let mut made = 0;
        for route in steps {
            let slot = usize::try_from(offset_us / MINUTE_US).unwrap_or(0).min(AHEAD - 1);
            let time_us = self.config.start_us + i64::try_from(minute).unwrap_or(0) * MINUTE_US + offset_us;
            let decision = self.ordinary_decision(&mut d, client.country, route);
            if let Some(list) = self.waiting.get_mut(slot) {
                made += 1;
                list.push(Request {
                    time_us,
                    route,
                    status: 200,
                    latency_us: 0,
                    bytes: 0,
                    ip: client.ip,
                    asn: client.asn,
                    country: client.country,
                    kind: Agent::Member(client.kind),
                    account: Some(client.account),
                    device: Some(client.device),
                    session: Some(session),
                    decision,
                    title,
                });
            }
            let think_s = if route == Route::Heartbeat { 60.0 } else { d.lognormal(8.0, 0.7) };
            #[expect(clippy::cast_possible_truncation, reason = "seconds of think time")]
            let step = (think_s * 1e6) as i64;
            offset_us += step;
        }
        made
    }

    // What the defences do to ordinary members: a rate limit that hits shared addresses in one
    // country, and a challenge that nearly everybody passes.
    fn ordinary_decision(&self, d: &mut Draws, country: &str, route: Route) -> Option<Decision> {
        if country == "BR" && d.chance(0.004) {
            let (action, mode) = if d.chance(0.05) { ("log", "holdout") } else { ("limit", "enforce") };
            return Some(Decision {
                defence: "edge",
                rule: "rate-per-address",
                version: "3",
                action,
                mode,
                challenge: None,
            });
        }
        if route == Route::Login && d.chance(0.06) {
            let challenge = if d.chance(0.93) {
                "passed"
            } else if d.chance(0.7) {
                "abandoned"
            } else {
                "failed"
            };
            return Some(Decision {
                defence: "bot",
                rule: "login-score",
                version: "7",
                action: "challenge",
                mode: "enforce",
                challenge: Some(challenge),
            });
        }
        None
    }

    fn happen(&self, i: usize, minute: u64, out: &mut Vec<Request>) {
        let Some(plan) = self.plans.get(i) else { return };
        let Some(age) = plan.active(minute) else { return };
        let mut d = Draws::new(self.config.seed, 30 + i as u64, minute, 0);
        match plan.kind {
            TruthKind::LaunchCrowd => {}
            TruthKind::RetryStorm => self.storm(plan, minute, age, &mut d, out),
            _ => self.flood(plan, i, minute, age, &mut d, out),
        }
    }

    // One device model whose update is broken asks for licences again and again.
    fn storm(&self, plan: &Plan, minute: u64, age: u64, d: &mut Draws, out: &mut Vec<Request>) {
        #[expect(clippy::cast_precision_loss, reason = "minutes")]
        let ramp = ((age + 1) as f64 / 4.0).min(1.0);
        for _ in 0..d.poisson(plan.rate * ramp) {
            let mut client = self.world.client(d.below(self.world.accounts / 12 + 1) * 12, 0);
            client.kind = 1;
            out.push(Request {
                time_us: self.at(minute, d),
                route: Route::Licence,
                status: 503,
                latency_us: 0,
                bytes: 0,
                ip: client.ip,
                asn: client.asn,
                country: client.country,
                kind: Agent::Member(client.kind),
                account: Some(client.account),
                device: Some(client.device),
                session: Some(client.device),
                decision: None,
                title: 0,
            });
        }
    }

    fn flood(&self, plan: &Plan, i: usize, minute: u64, age: u64, d: &mut Draws, out: &mut Vec<Request>) {
        let ramp = if age == 0 { 0.6 } else { 1.0 };
        let stopped = if age >= plan.defence_min { plan.stopped } else { 0.0 };
        for _ in 0..d.poisson(plan.rate * ramp) {
            let source = d.below(plan.sources.max(1));
            let mut s = Draws::new(self.config.seed, 31, i as u64, source);
            let (agent, ip, asn, country, route) = match plan.kind {
                TruthKind::VolumetricFlood => {
                    let ip = (172 << 24) | (16 << 16) | (u32::try_from(s.below(1 << 20)).unwrap_or(0));
                    let country = ["US", "BR", "IN", "VN"][s.below(4) as usize];
                    (Agent::Proxy, ip, 64_600 + s.below(40) as i64, country, Route::Home)
                }
                TruthKind::LoginFlood => {
                    let ip = (192 << 24) | (168 << 16) | (u32::try_from(s.below(1 << 12)).unwrap_or(0));
                    (Agent::DataCentre, ip, 64_700, "NL", Route::Login)
                }
                _ => {
                    let ip = (100 << 24) | (64 << 16) | (u32::try_from(s.below(1 << 16)).unwrap_or(0));
                    (Agent::Token, ip, 64_710 + s.below(3) as i64, "US", Route::Search)
                }
            };
            let decision = d.chance(stopped).then(|| match plan.kind {
                TruthKind::LoginFlood => Decision {
                    defence: "waf",
                    rule: "login-fingerprint",
                    version: "2",
                    action: "block",
                    mode: "enforce",
                    challenge: None,
                },
                _ if d.chance(0.3) => Decision {
                    defence: "bot",
                    rule: "home-challenge",
                    version: "1",
                    action: "challenge",
                    mode: "enforce",
                    challenge: Some("failed"),
                },
                _ => Decision {
                    defence: "edge",
                    rule: "rate-per-address",
                    version: "3",
                    action: "block",
                    mode: "enforce",
                    challenge: None,
                },
            });
            out.push(Request {
                time_us: self.at(minute, d),
                route,
                status: if route == Route::Login { 401 } else { 200 },
                latency_us: 0,
                bytes: 0,
                ip,
                asn,
                country,
                kind: agent,
                account: None,
                device: None,
                session: None,
                decision,
                title: d.below(10_000),
            });
        }
    }

    // Load decides latency and errors; what a defence refused costs nothing.
    fn serve(&self, minute: u64, now: &mut [Request]) -> Vec<Health> {
        let mut out = Vec::new();
        let mut d = Draws::new(self.config.seed, 40, minute, 0);
        for (i, service) in SERVICES.into_iter().enumerate() {
            let refused = |r: &Request| {
                r.decision.is_some_and(|x| {
                    x.mode == "enforce"
                        && (matches!(x.action, "block" | "limit")
                            || x.challenge.is_some_and(|c| c != "passed"))
                })
            };
            let mine = now.iter_mut().filter(|r| r.route.service() == service);
            let mine: Vec<&mut Request> = mine.collect();
            let load: f64 = mine.iter().filter(|r| !refused(r)).map(|r| r.route.cost()).sum();
            let capacity = self.capacity.get(i).copied().unwrap_or(1.0);
            let utilisation = load / capacity;
            let busy = 1.0 / (1.0 - utilisation.min(0.92));
            let failing = if utilisation > 1.0 { 1.0 - 1.0 / utilisation } else { 0.0 };
            let (mut errors, mut shed, mut times) = (0, 0, Vec::with_capacity(mine.len()));
            for r in mine {
                if refused(r) {
                    r.status = if r.decision.is_some_and(|x| x.action == "limit") { 429 } else { 403 };
                    r.latency_us = 900;
                    r.bytes = 300;
                    continue;
                }
                #[expect(clippy::cast_possible_truncation, reason = "microseconds")]
                let latency = d.lognormal(r.route.base_latency_us() * busy, 0.45) as i64;
                r.latency_us = latency;
                r.bytes = 400 + i64::try_from(d.below(40_000)).unwrap_or(0);
                if d.chance(failing) {
                    r.status = 503;
                    shed += 1;
                } else if r.status == 200 && d.chance(0.001) {
                    r.status = 500;
                }
                errors += i64::from(r.status >= 500);
                times.push(latency);
            }
            times.sort_unstable();
            let at = |q: usize| times.get(times.len() * q / 100).copied().unwrap_or(0);
            out.push(Health {
                time_us: self.config.start_us + i64::try_from(minute).unwrap_or(0) * MINUTE_US,
                service,
                requests: i64::try_from(times.len()).unwrap_or(0),
                errors,
                p50_us: at(50),
                p99_us: at(99),
                utilisation,
                shed,
            });
        }
        out
    }
}

pub(crate) fn user_agent(agent: Agent, salt: u64) -> (&'static str, &'static str) {
    match agent {
        Agent::Member(kind) => KINDS.get(kind).map_or(("", ""), |k| (k.user_agent, k.ja4)),
        Agent::Proxy => {
            const OLD: [&str; 3] = [
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/118.0 Safari/537.36",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/121.0 Safari/537.36",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/119.0 Safari/537.36",
            ];
            (OLD[usize::try_from(salt % 3).unwrap_or(0)], "t13d1517h2_8daaf6152771_b0da82dd1658")
        }
        Agent::DataCentre => ("python-requests/2.31.0", "t13d1812h1_85036bcba153_d41ae481755e"),
        Agent::Token => ("okhttp/4.12.0", "t13d1311h2_f57a46bbacb6_e7c285222651"),
    }
}
