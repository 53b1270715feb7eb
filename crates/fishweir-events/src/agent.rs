//! Classes of user agents, coarse enough to count by.

use isbot::Bots;

/// Recognises classes of user agents.
#[derive(Debug, Default)]
pub struct AgentClasses {
    bots: Bots,
}

const SCRIPTS: &[&str] = &[
    "curl",
    "wget",
    "python",
    "okhttp",
    "go-http",
    "java/",
    "libwww",
    "httpclient",
    "aiohttp",
    "node-fetch",
    "axios",
    "postman",
    "ruby",
    "perl",
    "php",
    "scrapy",
    "headless",
];
const TVS: &[&str] =
    &["smarttv", "smart-tv", "tizen", "webos", "web0s", "roku", "appletv", "bravia", "hbbtv", "aft", "crkey"];
const MOBILES: &[&str] = &["iphone", "ipad", "android", "mobile"];
const BROWSERS: &[&str] = &["mozilla", "opera"];

impl AgentClasses {
    /// Returns one of `none`, `bot`, `script`, `tv`, `mobile`, `browser`, `other`.
    ///
    /// Crawlers that name themselves come from the maintained pattern list of the `isbot` crate;
    /// what claims to be a browser counts as one, whether or not it is.
    #[must_use]
    pub fn class(&self, user_agent: &str) -> &'static str {
        let lower = user_agent.to_ascii_lowercase();
        let any = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        if lower.is_empty() || lower == "-" {
            "none"
        } else if any(SCRIPTS) {
            "script"
        } else if self.bots.is_bot(user_agent) {
            "bot"
        } else if any(TVS) {
            "tv"
        } else if any(MOBILES) {
            "mobile"
        } else if any(BROWSERS) {
            "browser"
        } else {
            "other"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let a = AgentClasses::default();
        for (agent, class) in [
            ("", "none"),
            ("-", "none"),
            ("msnbot/1.0 (+http://search.msn.com/msnbot.htm)", "bot"),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
            ("curl/8.5.0", "script"),
            ("python-requests/2.31", "script"),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/132.0", "browser"),
            ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36", "tv"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)", "mobile"),
            ("FishweirPlayer/4.2", "other"),
        ] {
            assert_eq!(a.class(agent), class, "{agent}");
        }
    }
}
