//! What stands around every page.

use axum::http::{HeaderMap, header};
use maud::{DOCTYPE, Markup, html};

use crate::assets;

/// Address, name and key of each page.
const PAGES: [(&str, &str, &str); 12] = [
    ("/", "Executive", "e"),
    ("/business", "Business", "b"),
    ("/operations", "Operations", "o"),
    ("/incidents", "Incidents", "i"),
    ("/rules", "Rules", "r"),
    ("/takeovers", "Takeovers", "t"),
    ("/campaigns", "Campaigns", "c"),
    ("/labels", "Labels", "l"),
    ("/explore", "Explore", "x"),
    ("/study", "Event study", "s"),
    ("/catalogue", "Catalogue", "m"),
    ("/alerts", "Alerts", "a"),
];

/// Cookie of the chosen colours.
pub(crate) const THEME: &str = "fishweir_theme";

/// Returns the colours asked for: `light`, `dark` or nothing, which leaves it to the system.
pub(crate) fn theme(headers: &HeaderMap) -> &'static str {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let chosen =
        cookies.flat_map(|c| c.split(';')).find_map(|c| c.trim().strip_prefix(THEME)?.strip_prefix('='));
    match chosen {
        Some("dark") => "dark",
        Some("light") => "light",
        _ => "",
    }
}

/// Returns a whole page; `address` is where it is, with its query.
pub(crate) fn whole(title: &str, address: &str, theme: &str, body: Markup) -> String {
    let path = address.split('?').next().unwrap_or("/");
    let here = |p: &str| if p == "/" { path == "/" } else { path == p || path.starts_with(&format!("{p}/")) };
    let other = if theme == "dark" { "light" } else { "dark" };
    document(
        title,
        theme,
        html! {
            a.skip href="#main" { "Skip to the content" }
            header.top {
                a.name href="/" { "Fishweir" }
                nav aria-label="Pages" {
                    @for (to, name, key) in PAGES {
                        a href=(to) data-key=(key) aria-current=[here(to).then_some("page")] { (name) }
                    }
                }
                form id="theme" method="post" action="/theme" {
                    input type="hidden" name="back" value=(address);
                    button name="to" value=(other) { (if other == "dark" { "Dark" } else { "Light" }) }
                }
            }
            div id="notice" role="status" {}
            main id="main" { (body) }
            details id="keys" {
                summary { "Keys" }
                p { "g and a letter: a page (" @for (_, name, key) in PAGES { (key) " " (name.to_lowercase()) " · " } ")" }
                p { "/ search · t light or dark · ? this" }
            }
        },
    )
}

/// Returns a page without the list of pages, for sign-in and errors.
pub(crate) fn plain(title: &str, body: Markup) -> String {
    document(title, "", html! { main.login id="main" { h1 { (title) } (body) } })
}

fn document(title: &str, theme: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=[(!theme.is_empty()).then_some(theme)] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Fishweir" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(format!("/assets/{}", assets::style_name()));
                @if let Some(name) = assets::script_name() { script src=(format!("/assets/{name}")) defer {} }
            }
            body { (body) }
        }
    };
    page.into_string()
}
