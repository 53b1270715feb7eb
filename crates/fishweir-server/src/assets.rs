//! Files of the pages: one style sheet, and the scripts that were bundled when this was built.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// Styles of every page.
pub(crate) const STYLE: &str = include_str!("../assets/style.css");
/// Scripts; empty when they could not be bundled, and pages then show their pictures as they are.
pub(crate) const SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/app.js"));

/// Returns the name of a file with a mark of its content, so that browsers may keep it.
pub(crate) fn named(stem: &str, content: &str, ending: &str) -> String {
    format!("{stem}-{}.{ending}", &blake3::hash(content.as_bytes()).to_hex()[..10])
}

pub(crate) fn style_name() -> String {
    named("style", STYLE, "css")
}

pub(crate) fn script_name() -> Option<String> {
    (!SCRIPT.is_empty()).then(|| named("app", SCRIPT, "js"))
}

pub(crate) async fn file(Path(name): Path<String>) -> Response {
    let found = if name == style_name() {
        Some((STYLE, "text/css; charset=utf-8"))
    } else if Some(&name) == script_name().as_ref() {
        Some((SCRIPT, "text/javascript; charset=utf-8"))
    } else {
        None
    };
    match found {
        Some((content, kind)) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")],
            content,
        )
            .into_response(),
        None => Problem::missing("no such file").into_response(),
    }
}
