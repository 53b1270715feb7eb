//! What a client wants, before defences and capacity have their say.

use crate::world::Party;

/// Path classes of the service. The last two are no requests: they mark the start and the end of
/// watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Route {
    Token,
    Login,
    Profile,
    Home,
    List,
    Search,
    Recs,
    Title,
    Manifest,
    Licence,
    Heartbeat,
    Beacon,
    AccountPage,
    SignUp,
    Payment,
    Gift,
    Status,
    Nowhere,
    PlayStart,
    PlayStop,
}

pub(crate) const ROUTES: usize = 18;

pub(crate) struct RouteFacts {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    /// Units of work against one beacon.
    pub(crate) cost: u32,
    pub(crate) bytes: u32,
    /// 0 is shed last.
    pub(crate) priority: u8,
}

impl Route {
    pub(crate) const ALL: [Self; ROUTES] = [
        Self::Token,
        Self::Login,
        Self::Profile,
        Self::Home,
        Self::List,
        Self::Search,
        Self::Recs,
        Self::Title,
        Self::Manifest,
        Self::Licence,
        Self::Heartbeat,
        Self::Beacon,
        Self::AccountPage,
        Self::SignUp,
        Self::Payment,
        Self::Gift,
        Self::Status,
        Self::Nowhere,
    ];

    pub(crate) const fn is_request(self) -> bool {
        (self as usize) < ROUTES
    }

    pub(crate) const fn facts(self) -> RouteFacts {
        let (service, method, cost, bytes, priority) = match self {
            Self::Token => ("auth", "POST", 2, 900, 10),
            Self::Login => ("auth", "POST", 40, 700, 20),
            Self::Profile => ("web", "GET", 3, 1_500, 40),
            Self::Home => ("web", "GET", 20, 38_000, 45),
            Self::List => ("web", "GET", 12, 22_000, 55),
            Self::Search => ("web", "GET", 50, 9_000, 60),
            Self::Recs => ("web", "GET", 30, 15_000, 65),
            Self::Title => ("web", "GET", 8, 12_000, 50),
            Self::Manifest => ("playback", "GET", 15, 45_000, 15),
            Self::Licence => ("playback", "POST", 10, 2_400, 12),
            Self::Heartbeat => ("playback", "POST", 1, 180, 70),
            Self::Beacon => ("telemetry", "POST", 1, 120, 95),
            Self::AccountPage => ("account", "GET", 5, 6_000, 50),
            Self::SignUp => ("account", "POST", 40, 1_100, 35),
            Self::Payment => ("account", "POST", 20, 900, 30),
            Self::Gift => ("account", "POST", 6, 300, 55),
            Self::Status | Self::Nowhere | Self::PlayStart | Self::PlayStop => ("web", "GET", 1, 250, 60),
        };
        RouteFacts { service, method, cost, bytes, priority }
    }

    /// Path with ids; `big` marks the huge ranges of expensive calls.
    pub(crate) fn path(self, title: u32, aux: u32, out: &mut String) {
        use std::fmt::Write as _;
        let id = 80_000_000 + u64::from(title);
        let done = match self {
            Self::Token => write!(out, "/token"),
            Self::Login => write!(out, "/login"),
            Self::Profile => write!(out, "/profile"),
            Self::Home => write!(out, "/home"),
            Self::List => write!(out, "/list/{}?from={}&to={}", 1000 + title % 200, aux, aux + 40),
            Self::Search if aux > 0 => write!(out, "/search?q={}&limit={aux}", title % 4_000),
            Self::Search => write!(out, "/search?q={}", title % 4_000),
            Self::Recs => write!(out, "/recs?depth={}", aux.max(1)),
            Self::Title => write!(out, "/title/{id}"),
            Self::Manifest => write!(out, "/manifest/{id}"),
            Self::Licence => write!(out, "/licence"),
            Self::Heartbeat => write!(out, "/heartbeat"),
            Self::Beacon => write!(out, "/beacon"),
            Self::AccountPage => write!(out, "/account"),
            Self::SignUp => write!(out, "/signup"),
            Self::Payment => write!(out, "/payment"),
            Self::Gift => write!(out, "/gift/redeem"),
            Self::Status => write!(out, "/status"),
            Self::Nowhere => write!(out, "/x/{:06x}?{}", title, aux),
            Self::PlayStart | Self::PlayStop => Ok(()),
        };
        debug_assert!(done.is_ok());
    }

    /// Template of the path, as truth and scores name routes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Token => "/token",
            Self::Login => "/login",
            Self::Profile => "/profile",
            Self::Home => "/home",
            Self::List => "/list/{id}",
            Self::Search => "/search",
            Self::Recs => "/recs",
            Self::Title => "/title/{id}",
            Self::Manifest => "/manifest/{id}",
            Self::Licence => "/licence",
            Self::Heartbeat => "/heartbeat",
            Self::Beacon => "/beacon",
            Self::AccountPage => "/account",
            Self::SignUp => "/signup",
            Self::Payment => "/payment",
            Self::Gift => "/gift/redeem",
            Self::Status => "/status",
            Self::Nowhere => "/x/{id}",
            Self::PlayStart => "(start)",
            Self::PlayStop => "(stop)",
        }
    }
}

/// One wish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Intent {
    pub(crate) time_us: i64,
    /// Unique number: who, on which day, the how-manieth.
    pub(crate) key: u64,
    pub(crate) title: u32,
    /// Seconds watched (stop), password number (login), size of an expensive call.
    pub(crate) aux: u32,
    pub(crate) route: Route,
    pub(crate) tries: u8,
    pub(crate) party: Party,
}

/// Sign-in facts packed into `aux`: what is wrong with the credential.
pub(crate) const LOGIN_OK: u32 = 0;
pub(crate) const LOGIN_WRONG: u32 = 1;
pub(crate) const LOGIN_UNKNOWN: u32 = 2;
/// The password is one known from a leak.
pub(crate) const LOGIN_LEAKED: u32 = 4;
/// Bits above are the number of a password that many try.
pub(crate) const LOGIN_BUCKET: u32 = 8;

/// Number of an event: source (2 bits), entity (32), day (10), position (20).
pub(crate) fn event_key(source: u64, entity: u64, day: u32, position: u32) -> u64 {
    source << 62
        | (entity & 0xFFFF_FFFF) << 30
        | u64::from(day & 0x3FF) << 20
        | u64::from(position & 0xF_FFFF)
}

/// Number of the n-th retry of an event.
pub(crate) fn retry_key(key: u64, tries: u8) -> u64 {
    let mut z = key ^ (u64::from(tries) << 56);
    z = (z ^ (z >> 31)).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    (z ^ (z >> 29)) | 3 << 62
}
