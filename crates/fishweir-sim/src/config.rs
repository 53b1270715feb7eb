//! Scenario files: what a user may set, with defaults and allowed ranges.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A scenario that does not load; names file, key and allowed range.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// No such scenario is shipped.
    #[error(
        "no scenario is called `{name}`\nhint: shipped scenarios are {known}; a path to a .toml file works too"
    )]
    Unknown {
        /// As given.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// No valid TOML of a scenario.
    #[error("scenario `{file}`: {cause}")]
    Toml {
        /// File.
        file: String,
        /// Line, column and what is wrong.
        cause: String,
    },
    /// A value outside its range.
    #[error("scenario `{file}`: `{key}` is {value}, allowed is {allowed}")]
    Range {
        /// File.
        file: String,
        /// Key, with its table.
        key: String,
        /// As given.
        value: String,
        /// Range or list.
        allowed: String,
    },
}

/// A scenario: a world, what happens in it, who attacks it, what defends it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Days when the command line names none.
    #[serde(default = "thirty")]
    pub days: u32,
    /// Accounts when the command line names none.
    #[serde(default = "two_thousand")]
    pub accounts: u64,
    /// Memory that a simulation may take, MiB: demand is planned in shorter parts to stay below, and
    /// a world that cannot stay below is refused. Changes no event.
    #[serde(default = "four_gib")]
    pub memory_mib: u64,
    /// Normal behaviour.
    #[serde(default)]
    pub world: WorldConfig,
    /// What defends the service.
    #[serde(default)]
    pub defence: DefenceConfig,
    /// Benign happenings.
    #[serde(default, rename = "happening")]
    pub happenings: Vec<Happening>,
    /// Attacks by name.
    #[serde(default, rename = "campaign")]
    pub campaigns: Vec<CampaignConfig>,
    /// Attacks drawn at random.
    #[serde(default)]
    pub random: Vec<RandomAttacks>,
}

const fn thirty() -> u32 {
    30
}
const fn two_thousand() -> u64 {
    2_000
}
const fn four_gib() -> u64 {
    4_096
}

/// Normal behaviour. Defaults and their sources: docs/simulator.md.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldConfig {
    /// Hours watched per account and day.
    pub hours_per_account_day: f64,
    /// Dispersion of visits per account and day (negative binomial).
    pub visits_dispersion: f64,
    /// Seconds between two heartbeats of a playing device.
    pub heartbeat_s: u32,
    /// Titles of the catalogue.
    pub titles: u32,
    /// Share of accounts used in more than one home.
    pub two_homes_share: f64,
    /// Growth of the number of accounts in a year.
    pub growth_per_year: f64,
    /// Whether December is busier than July.
    pub yearly_season: bool,
    /// Share of fixed lines behind carrier-grade NAT, Europe and North America.
    pub cgnat_fixed_share: f64,
    /// Addresses of each carrier-grade NAT; fewer means more members behind each.
    pub cgnat_addresses: u32,
    /// Share of visits through a VPN.
    pub vpn_share: f64,
    /// Share of accounts abroad on a day.
    pub travel_share: f64,
    /// Share of visits that start with a sign-in.
    pub login_share: f64,
    /// Share of sign-ins with a password known from a leak.
    pub breached_share: f64,
    /// Share of the passwords that attackers try which the service's own collection of leaks knows.
    pub corpus_share: f64,
    /// Share of the home connections rented by attackers that lie in the member's country.
    pub near_share: f64,
    /// Share of accounts with a second factor.
    pub mfa_share: f64,
    /// Contacts per account and month without cause.
    pub contacts_per_month: f64,
    /// Requests of crawlers, monitors and partners over requests of members.
    pub automation_share: f64,
    /// Share of requests that fail for reasons of their own.
    pub error_share: f64,
    /// Capacity over the highest usual demand of a day.
    pub capacity_factor: f64,
    /// Share of notes that are wrong or late.
    pub wrong_notes_share: f64,
    /// How often ordinary life looks like abuse, 1 as documented: campuses, partners that sign in,
    /// card troubles, mistyped gift codes, hotel sets, press accounts.
    pub twins_share: f64,
    /// Share of members who look at their account page in a visit.
    pub account_page_share: f64,
    /// Share of account takeover contacts that an analyst judges; one in twelve judgements is wrong.
    pub reviewed_share: f64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            hours_per_account_day: 2.0,
            visits_dispersion: 1.2,
            heartbeat_s: 60,
            titles: 18_214,
            two_homes_share: 0.33,
            growth_per_year: 0.16,
            yearly_season: true,
            cgnat_fixed_share: 0.15,
            cgnat_addresses: 4,
            vpn_share: 0.03,
            travel_share: 0.015,
            login_share: 0.02,
            breached_share: 0.063,
            corpus_share: 0.45,
            near_share: 0.5,
            mfa_share: 0.023,
            contacts_per_month: 0.02,
            automation_share: 0.12,
            error_share: 0.002,
            capacity_factor: 2.2,
            wrong_notes_share: 0.3,
            twins_share: 1.0,
            account_page_share: 0.01,
            reviewed_share: 0.5,
        }
    }
}

/// What defends the service.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefenceConfig {
    /// Rules that are always there.
    pub standard_rules: bool,
    /// More rules.
    pub rules: Vec<RuleConfig>,
    /// Whether people deploy emergency rules against floods.
    pub responders: bool,
    /// Median minutes until they do.
    pub response_min: f64,
    /// Share of decisions that a rule leaves unenforced at random.
    pub holdout_share: f64,
}

impl Default for DefenceConfig {
    fn default() -> Self {
        Self {
            standard_rules: true,
            rules: Vec::new(),
            responders: true,
            response_min: 6.0,
            holdout_share: 0.01,
        }
    }
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "on")]
pub enum Condition {
    /// More than `per_min` requests a minute from one key.
    Rate {
        /// `ip`, `account`, `ja4` or `asn`.
        key: RateKey,
        /// Route, all when left out.
        #[serde(default)]
        route: Option<String>,
        /// Threshold.
        per_min: u32,
    },
    /// A client mark.
    Client {
        /// User agents that begin so.
        #[serde(default)]
        agent_prefix: Option<String>,
        /// Countries.
        #[serde(default)]
        countries: Vec<String>,
        /// Networks: `data_centre`, `vpn`, `mobile`, `cgnat`, `home`, `hotel`.
        #[serde(default)]
        networks: Vec<String>,
        /// Route, all when left out.
        #[serde(default)]
        route: Option<String>,
        /// Only requests without an account.
        #[serde(default)]
        anonymous: bool,
    },
    /// A sign-in that looks risky.
    Login {
        /// New device in a country that is not the account's.
        #[serde(default)]
        new_device_abroad: bool,
        /// Password known from a leak.
        #[serde(default)]
        breached: bool,
        /// Accounts tried from one address within an hour.
        #[serde(default)]
        accounts_per_ip_hour: Option<u32>,
    },
    /// A licence that looks risky.
    Licence {
        /// Licences of one account within an hour.
        #[serde(default)]
        per_account_hour: Option<u32>,
        /// Accounts seen with one device within a day.
        #[serde(default)]
        accounts_per_device_day: Option<u32>,
        /// DRM system that the device type does not have.
        #[serde(default)]
        wrong_drm: bool,
    },
    /// A look at the account page that looks risky.
    Account {
        /// New device in a country that is not the account's.
        #[serde(default)]
        new_device_abroad: bool,
        /// Looks of one account within an hour.
        #[serde(default)]
        per_hour: Option<u32>,
    },
    /// A title asked for while this many other sessions of the account play.
    Streams {
        /// Other sessions with a heartbeat in the last two minutes; at most 7.
        others: u32,
    },
}

/// What requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RateKey {
    /// Address.
    Ip,
    /// Account.
    Account,
    /// TLS fingerprint.
    Ja4,
    /// Network.
    Asn,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Layer: `edge`, `waf`, `bot`, `login`, `account`, `drm`, `household`, `payment`.
    pub defence: String,
    /// Name.
    pub rule: String,
    /// Version.
    #[serde(default = "first")]
    pub version: String,
    /// `challenge`, `step_up`, `limit`, `block` or `log`.
    pub action: Action,
    /// `enforce` or `shadow`.
    #[serde(default = "enforce")]
    pub mode: Mode,
    /// Condition.
    pub when: Condition,
    /// Day it is deployed.
    #[serde(default)]
    pub from_day: f64,
    /// Day it is withdrawn.
    #[serde(default = "never")]
    pub to_day: f64,
}

fn first() -> String {
    "1".to_owned()
}
const fn enforce() -> Mode {
    Mode::Enforce
}
const fn never() -> f64 {
    1e9
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Only noted.
    Log,
    /// The client must prove itself.
    Challenge,
    /// The member must prove itself.
    StepUp,
    /// Slowed down.
    Limit,
    /// Refused.
    Block,
}

impl Action {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Challenge => "challenge",
            Self::StepUp => "step_up",
            Self::Limit => "limit",
            Self::Block => "block",
        }
    }
}

/// Whether a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It acts.
    Enforce,
    /// It only says what it would do.
    Shadow,
    /// It would act but lets this one through at random.
    Holdout,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Holdout => "holdout",
        }
    }
}

/// Kind of a benign happening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HappeningKind {
    /// A title that everybody wants, over days.
    Launch,
    /// An event that everybody watches at once and leaves at once.
    Live,
    /// One device model and version that retries after a firmware update.
    RetryStorm,
    /// Everybody of one device kind signs in again.
    Relogin,
    /// A deploy that makes a route costlier and chattier.
    Deploy,
    /// Television guides that refresh on the hour.
    GuideRefresh,
    /// Our own load test.
    LoadTest,
    /// A bank declines the cards of members, who try again.
    BankOutage,
}

/// One benign happening.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Happening {
    /// Kind.
    pub kind: HappeningKind,
    /// Days after the start, with a fraction: 8.75 is the ninth day at 18:00 UTC.
    pub day: f64,
    /// Minutes.
    pub minutes: f64,
    /// Size: extra visits over usual visits (launch, live), requests over usual ones of the clients
    /// concerned (others).
    pub size: f64,
}

/// Kind of an attack, by the taxonomy of docs/simulator.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the codes are explained in docs/simulator.md")]
pub enum AttackKind {
    A1,
    A2,
    A3,
    A4,
    A5,
    A6,
    A7,
    B1,
    B2,
    B3,
    B4,
    B5,
    B6,
    B7,
    B8,
    B9,
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    D7,
    D8,
    D9,
}

/// Where attack requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    /// Rented servers.
    DataCentre,
    /// Homes whose owners do not know.
    Residential,
    /// Cameras and routers in homes.
    Iot,
    /// A mixture.
    Mixed,
}

/// One attack.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignConfig {
    /// Name, unique in the scenario.
    pub name: String,
    /// Kind.
    pub kind: AttackKind,
    /// Skill, 1 to 4.
    #[serde(default = "tier_one")]
    pub tier: u8,
    /// Days after the start, with a fraction.
    pub day: f64,
    /// Minutes.
    pub minutes: f64,
    /// Requests a second at the height, over the service's highest usual rate; for attacks on
    /// accounts the number of accounts or attempts, over all accounts.
    pub size: f64,
    /// Where from.
    #[serde(default = "mixed")]
    pub sources: Sources,
    /// Evasions from the start, `E1` to `E9`.
    #[serde(default)]
    pub evasions: Vec<String>,
    /// Whether the attacker reacts to the defences.
    #[serde(default = "yes")]
    pub adapts: bool,
}

const fn tier_one() -> u8 {
    1
}
const fn mixed() -> Sources {
    Sources::Mixed
}
const fn yes() -> bool {
    true
}

/// Attacks drawn at random over the whole time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RandomAttacks {
    /// Kinds to draw from.
    pub kinds: Vec<AttackKind>,
    /// Attacks a month.
    pub per_month: f64,
    /// Median size.
    pub size_median: f64,
    /// Spread of the logarithm of the size.
    #[serde(default = "spread")]
    pub size_sigma: f64,
    /// First day.
    #[serde(default)]
    pub from_day: f64,
}

const fn spread() -> f64 {
    1.0
}

const SHIPPED: &[(&str, &str)] = &[
    ("demo", include_str!("../scenarios/demo.toml")),
    ("s0", include_str!("../scenarios/s0.toml")),
    ("s1", include_str!("../scenarios/s1.toml")),
    ("s2", include_str!("../scenarios/s2.toml")),
    ("s3", include_str!("../scenarios/s3.toml")),
    ("s4", include_str!("../scenarios/s4.toml")),
    ("s5", include_str!("../scenarios/s5.toml")),
    ("s6", include_str!("../scenarios/s6.toml")),
    ("s7", include_str!("../scenarios/s7.toml")),
    ("s8", include_str!("../scenarios/s8.toml")),
    ("s9", include_str!("../scenarios/s9.toml")),
    ("s10", include_str!("../scenarios/s10.toml")),
    ("s11", include_str!("../scenarios/s11.toml")),
];

impl Scenario {
    /// Returns the shipped scenarios: name and text.
    #[must_use]
    pub fn shipped() -> &'static [(&'static str, &'static str)] {
        SHIPPED
    }

    /// Returns a shipped scenario.
    ///
    /// # Errors
    /// A name that does not exist.
    pub fn named(name: &str) -> Result<Self, ScenarioError> {
        let wanted = name.to_lowercase();
        match SHIPPED.iter().find(|(n, _)| *n == wanted) {
            Some((n, text)) => Self::parse(&format!("{n}.toml"), text),
            None => Err(ScenarioError::Unknown {
                name: name.to_owned(),
                known: SHIPPED.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Returns the scenario of a TOML text.
    ///
    /// # Errors
    /// Unknown keys and wrong types, with line and column; values out of range, with the range.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)
            .map_err(|e| ScenarioError::Toml { file: file.to_owned(), cause: e.to_string() })?;
        scenario.check(file)?;
        Ok(scenario)
    }

    fn check(&self, file: &str) -> Result<(), ScenarioError> {
        let range = |key: String, value: f64, low: f64, high: f64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            let allowed = format!("{low} to {high}");
            Err(ScenarioError::Range { file: file.to_owned(), key, value: value.to_string(), allowed })
        };
        let w = &self.world;
        let shares = [
            ("two_homes_share", w.two_homes_share),
            ("cgnat_fixed_share", w.cgnat_fixed_share),
            ("vpn_share", w.vpn_share),
            ("travel_share", w.travel_share),
            ("login_share", w.login_share),
            ("breached_share", w.breached_share),
            ("corpus_share", w.corpus_share),
            ("near_share", w.near_share),
            ("mfa_share", w.mfa_share),
            ("error_share", w.error_share),
            ("wrong_notes_share", w.wrong_notes_share),
            ("account_page_share", w.account_page_share),
            ("reviewed_share", w.reviewed_share),
        ];
        for (key, value) in shares {
            range(format!("world.{key}"), value, 0.0, 1.0)?;
        }
        let others = [
            ("hours_per_account_day", w.hours_per_account_day, 0.01, 12.0),
            ("visits_dispersion", w.visits_dispersion, 0.1, 100.0),
            ("heartbeat_s", f64::from(w.heartbeat_s), 10.0, 3600.0),
            ("titles", f64::from(w.titles), 10.0, 1e6),
            ("growth_per_year", w.growth_per_year, 0.0, 2.0),
            ("cgnat_addresses", f64::from(w.cgnat_addresses), 1.0, 16_000.0),
            ("contacts_per_month", w.contacts_per_month, 0.0, 10.0),
            ("automation_share", w.automation_share, 0.0, 5.0),
            ("twins_share", w.twins_share, 0.0, 20.0),
            ("capacity_factor", w.capacity_factor, 1.0, 100.0),
        ];
        for (key, value, low, high) in others {
            range(format!("world.{key}"), value, low, high)?;
        }
        range("accounts".to_owned(), self.accounts as f64, 1.0, 4e9)?;
        range("memory_mib".to_owned(), self.memory_mib as f64, 128.0, 1e7)?;
        range("days".to_owned(), f64::from(self.days), 1.0, 1_000.0)?;
        range("defence.response_min".to_owned(), self.defence.response_min, 0.1, 1440.0)?;
        range("defence.holdout_share".to_owned(), self.defence.holdout_share, 0.0, 0.5)?;
        for (i, h) in self.happenings.iter().enumerate() {
            range(format!("happening[{i}].minutes"), h.minutes, 1.0, 1e5)?;
            range(format!("happening[{i}].day"), h.day, 0.0, 1_000.0)?;
            range(format!("happening[{i}].size"), h.size, 0.0, 1e3)?;
        }
        for c in &self.campaigns {
            range(format!("campaign `{}`.minutes", c.name), c.minutes, 0.1, 1e6)?;
            range(format!("campaign `{}`.day", c.name), c.day, 0.0, 1_000.0)?;
            range(format!("campaign `{}`.size", c.name), c.size, 0.0, 1e4)?;
            range(format!("campaign `{}`.tier", c.name), f64::from(c.tier), 1.0, 4.0)?;
            if let Some(e) = c.evasions.iter().find(|e| !EVASIONS.contains(&e.as_str())) {
                return Err(ScenarioError::Range {
                    file: file.to_owned(),
                    key: format!("campaign `{}`.evasions", c.name),
                    value: format!("`{e}`"),
                    allowed: EVASIONS.join(", "),
                });
            }
        }
        Ok(())
    }
}

const EVASIONS: [&str; 9] = ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9"];
