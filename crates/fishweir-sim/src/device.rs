//! Devices: what they are, what their connections look like, which DRM they carry.

use crate::random::{Key, Purpose};

/// A kind of device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceKind {
    pub(crate) name: &'static str,
    /// Share of viewing time, as published for 2020.
    pub(crate) time_share: f64,
    /// Length of a stay against the mean.
    pub(crate) stay: f64,
    pub(crate) drm: &'static str,
    pub(crate) level: &'static str,
    /// First part of the device id.
    pub(crate) prefix: &'static str,
    /// DRM system number that an honest device id carries.
    pub(crate) system: u32,
    pub(crate) agent: &'static str,
    /// Client software whose TLS extensions change order with every connection.
    pub(crate) shuffles: bool,
    pub(crate) television: bool,
}

#[expect(clippy::too_many_arguments, reason = "a table row")]
const fn kind(
    name: &'static str,
    time_share: f64,
    stay: f64,
    drm: &'static str,
    level: &'static str,
    prefix: &'static str,
    system: u32,
    agent: &'static str,
) -> DeviceKind {
    DeviceKind {
        name,
        time_share,
        stay,
        drm,
        level,
        prefix,
        system,
        agent,
        shuffles: false,
        television: false,
    }
}

const fn tv(mut k: DeviceKind) -> DeviceKind {
    k.television = true;
    k
}
const fn browser(mut k: DeviceKind) -> DeviceKind {
    k.shuffles = true;
    k
}

/// `{v}` in the agent is the version of the application.
pub(crate) const KINDS: [DeviceKind; 14] = [
    tv(kind("stick_a", 0.30, 1.15, "playready", "SL3000", "FWSTK-A", 4118, "StreamBox/{v} (Stick A; Linux)")),
    tv(kind(
        "stick_b",
        0.20,
        1.15,
        "widevine",
        "L1",
        "FWSTK-B",
        7283,
        "StreamBox/{v} (Android TV 12; Stick B)",
    )),
    tv(kind("tv_a", 0.09, 1.2, "playready", "SL3000", "FWTV-A", 5210, "StreamTV/{v} (SMART-TV; Tizen 7.0)")),
    tv(kind("tv_b", 0.06, 1.2, "widevine", "L1", "FWTV-B", 6155, "StreamTV/{v} (Web0S; Linux/SmartTV)")),
    tv(kind("console_a", 0.06, 1.1, "playready", "SL3000", "FWCON-A", 3307, "StreamConsole/{v} (Console A)")),
    tv(kind("console_b", 0.04, 1.1, "playready", "SL3000", "FWCON-B", 3411, "StreamConsole/{v} (Console B)")),
    kind("iphone", 0.045, 0.5, "fairplay", "HW", "FWIOS-P", 2001, "StreamApp/{v} (iPhone; iOS 18.1)"),
    kind(
        "android_phone",
        0.055,
        0.5,
        "widevine",
        "L1",
        "FWAND-P",
        9021,
        "StreamApp/{v} (Linux; Android 15; Mobile)",
    ),
    kind("ipad", 0.03, 0.8, "fairplay", "HW", "FWIOS-T", 2002, "StreamApp/{v} (iPad; iPadOS 18.1)"),
    kind(
        "android_tablet",
        0.02,
        0.8,
        "widevine",
        "L1",
        "FWAND-T",
        9040,
        "StreamApp/{v} (Linux; Android 14; Tablet)",
    ),
    browser(kind(
        "chrome",
        0.07,
        0.9,
        "widevine",
        "L3",
        "FWWEB-C",
        1501,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36",
    )),
    browser(kind(
        "edge",
        0.015,
        0.9,
        "playready",
        "SL2000",
        "FWWEB-E",
        1502,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36 Edg/{v}.0.0.0",
    )),
    kind(
        "safari",
        0.01,
        0.9,
        "fairplay",
        "HW",
        "FWWEB-S",
        1503,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{v} Safari/605.1.15",
    ),
    browser(kind(
        "firefox",
        0.005,
        0.9,
        "widevine",
        "L3",
        "FWWEB-F",
        1504,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
    )),
];

pub(crate) const CHROME: u8 = 10;
/// Tools of attackers and partners follow the kinds of members in the table of agents.
pub(crate) const TOOLS: [(&str, &str); 8] = [
    ("python-requests/2.31.0", "t13d1812h1"),
    ("Go-http-client/1.1", "t13d1311h1"),
    ("okhttp/4.9.3", "t13d1613h2"),
    ("curl/8.4.0", "t13d3112h2"),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "t13d1714h2"),
    ("StatusMonitor/1.4 (uptime bot)", "t12d1209h1"),
    ("PartnerCatalogueSync/3.2 (feed crawler)", "t13d1410h1"),
    ("", "t12d0807h1"),
];
pub(crate) const VERSIONS: u16 = 12;

/// Weight of a kind among visits: time share over length of stay.
pub(crate) fn visit_weight(kind: usize) -> f64 {
    KINDS[kind].time_share / KINDS[kind].stay
}

/// Mean of the lengths of stay over visits.
pub(crate) fn mean_stay() -> f64 {
    let weights: f64 = (0..KINDS.len()).map(visit_weight).sum();
    (0..KINDS.len()).map(|k| visit_weight(k) * KINDS[k].stay).sum::<f64>() / weights
}

/// Client software as it shows on the wire: an index into the table of agents.
///
/// Members: kind × 12 versions; tools behind them.
pub(crate) fn software(kind: u8, version: u16) -> u16 {
    u16::from(kind) * VERSIONS + version % VERSIONS
}
pub(crate) fn tool(index: u64) -> u16 {
    KINDS.len() as u16 * VERSIONS + (index % TOOLS.len() as u64) as u16
}
/// Software that claims to be Chrome, some versions behind, with the handshake of a tool.
pub(crate) fn fake_chrome(age: u16, tool: u64) -> u16 {
    let base = KINDS.len() as u16 * VERSIONS + TOOLS.len() as u16;
    base + (age % 12) * TOOLS.len() as u16 + (tool % TOOLS.len() as u64) as u16
}

/// Number of entries of the table of agents.
pub(crate) const SOFTWARE: u16 = KINDS.len() as u16 * VERSIONS + TOOLS.len() as u16 * 13;

/// Returns user agent and JA4 of an entry.
pub(crate) fn marks(key: Key, entry: u16) -> (String, String) {
    let members = KINDS.len() as u16 * VERSIONS;
    if entry < members {
        let (kind, version) = (entry / VERSIONS, entry % VERSIONS);
        let k = KINDS[usize::from(kind)];
        let text = match k.name {
            "chrome" | "edge" => (126 + version).to_string(),
            "firefox" => (122 + version).to_string(),
            "safari" => version.to_string(),
            _ => format!("{}.{}", 8 + version / 4, version % 4),
        };
        // Handshakes change with every third version.
        let mut d = key.draws(u64::from(kind), u32::from(version / 3), Purpose::Device, 9);
        let ja4 = format!(
            "t13d{:02}{:02}h2_{:012x}_{:012x}",
            12 + d.below(8),
            8 + d.below(9),
            d.bits() >> 16,
            d.bits() >> 16
        );
        return (k.agent.replace("{v}", &text), ja4);
    }
    let rest = entry - members;
    let tools = TOOLS.len() as u16;
    let (agent, prefix, which) = if rest < tools {
        (TOOLS[usize::from(rest)].0.to_owned(), TOOLS[usize::from(rest)].1, rest)
    } else {
        let age = (rest - tools) / tools;
        let which = (rest - tools) % tools;
        let agent = KINDS[usize::from(CHROME)].agent.replace("{v}", &(118 + age).to_string());
        (agent, TOOLS[usize::from(which)].1, which)
    };
    let mut d = key.draws(u64::from(which), 1, Purpose::Device, 8);
    (agent, format!("{prefix}_{:012x}_{:012x}", d.bits() >> 16, d.bits() >> 16))
}

/// Returns a device id: prefix, model, DRM system number, unique part.
pub(crate) fn device_id(kind: u8, system: u32, unique: u64) -> String {
    let k = KINDS[usize::from(kind) % KINDS.len()];
    format!("{}-{:02}-{system}-{unique:012X}", k.prefix, unique % 23)
}
