//! Routes, and what holds for every answer: who may ask, what a browser may do, limits, counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::app::App;
use crate::problem::Problem;
use crate::{api, assets, pages, telemetry};

pub(crate) type Shared = State<Arc<App>>;

const COOKIE: &str = "fishweir_token";
/// Longest that an answer may take, uploads included.
const ANSWER_S: u64 = 60;
/// What a page may load and do: nothing from elsewhere, no script or style that is not a file of ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns everything the server answers.
pub(crate) fn router(app: Arc<App>) -> Router {
    let events = Router::new()
        .route("/api/v1/events", post(api::events))
        .route("/api/v1/events/{stream}", post(api::events_of))
        .route("/events", post(api::events))
        .layer(DefaultBodyLimit::max(app.settings.body_bytes));
    let open = Router::new()
        .route("/healthz", get(telemetry::healthz))
        .route("/login", get(pages::login::page).post(login))
        .route("/theme", post(theme))
        .route("/assets/{name}", get(assets::file));
    let pages = Router::new()
        .route("/", get(pages::executive::page))
        .route("/business", get(pages::business::page))
        .route("/operations", get(pages::operations::page))
        .route("/incidents", get(pages::incidents::index))
        .route("/incidents/{id}", get(pages::incidents::one).post(pages::incidents::judge))
        .route("/rules", get(pages::rules::index))
        .route("/rules/{defence}/{rule}", get(pages::rules::one))
        .route("/takeovers", get(pages::accounts::takeovers))
        .route("/takeovers/{id}", get(pages::accounts::takeover))
        .route("/campaigns", get(pages::accounts::campaigns))
        .route("/campaigns/{id}", get(pages::accounts::campaign))
        .route("/labels", get(pages::accounts::labels))
        .route("/explore", get(pages::explore::page))
        .route("/study", get(pages::study::page))
        .route("/catalogue", get(pages::catalogue::index))
        .route("/catalogue/{metric}", get(pages::catalogue::one))
        .route("/models", get(pages::models::page))
        .route("/alerts", get(pages::alerts::page).post(pages::alerts::silence));
    let api = Router::new()
        .route("/metrics", get(telemetry::metrics))
        .route("/api/v1/openapi.json", get(api::description))
        .route("/api/v1/metrics", get(api::metrics))
        .route("/api/v1/metrics/{name}", get(api::metric))
        .route("/api/v1/incidents", get(api::incidents))
        .route("/api/v1/incidents/{id}", get(api::incident))
        .route("/api/v1/rules", get(api::rules))
        .route("/api/v1/takeovers", get(api::takeovers))
        .route("/api/v1/takeovers/{id}", get(api::takeover))
        .route("/api/v1/campaigns", get(api::campaigns))
        .route("/api/v1/campaigns/{id}", get(api::campaign))
        .route("/api/v1/verdicts", post(api::verdict))
        .route("/api/v1/live", get(api::live))
        .route("/api/v1/live/stream", get(api::live_stream));
    Router::new()
        .merge(pages)
        .merge(api)
        .merge(open)
        .fallback(missing)
        .layer(DefaultBodyLimit::max(64 << 10))
        .merge(events)
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .layer(CatchPanicLayer::new())
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(Arc::clone(&app), around))
        .with_state(app)
}

async fn missing(uri: Uri) -> Problem {
    Problem::missing(format!("nothing is at `{}`\nhint: /api/v1/openapi.json lists what is", uri.path()))
}

// Headers and counts of every answer.
async fn around(State(app): Shared, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let page = !request.uri().path().starts_with("/assets/");
    let endless = request.uri().path().ends_with("/live/stream");
    let answer = if endless {
        next.run(request).await
    } else {
        let limit = Duration::from_secs(ANSWER_S);
        match tokio::time::timeout(limit, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("no answer within {ANSWER_S} s\nhint: ask for a shorter period or a coarser grain"),
            )
            .into_response(),
        }
    };
    let mut answer = answer;
    let h = answer.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        h.insert(name, HeaderValue::from_static(value));
    }
    if page {
        h.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    app.count(answer.status().as_u16(), begun.elapsed());
    answer
}

// Who may ask. On loopback everybody who really is there: the name asked for must be one of the
// machine's own, so that a page elsewhere cannot reach us through a name it controls.
async fn guard(State(app): Shared, request: Request, next: Next) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    if !app.settings.guarded() && !own_name(headers) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "on loopback this server answers to localhost, 127.0.0.1 and [::1] only",
        )
        .into_response();
    }
    if request.method() == Method::POST && !same_origin(headers) {
        return Problem::new(StatusCode::FORBIDDEN, "this request comes from another site").into_response();
    }
    let open = path == "/healthz" || path == "/login" || path.starts_with("/assets/");
    if !app.settings.guarded() || open || allowed(headers, &app.settings.token) {
        return next.run(request).await;
    }
    if headers.get(header::ACCEPT).is_some_and(|a| a.to_str().is_ok_and(|a| a.contains("text/html"))) {
        return Redirect::to("/login").into_response();
    }
    let mut answer = Problem::new(
        StatusCode::UNAUTHORIZED,
        "a token is needed\nhint: header `Authorization: Bearer TOKEN`; the token is in the project's keys/server.token",
    )
    .into_response();
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

fn own_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name.ends_with(".localhost")
}

// Browsers say where a form was; programs say nothing.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, o)| o == host),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

fn allowed(headers: &HeaderMap, token: &str) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    if bearer.is_some_and(|t| same(t.trim(), token)) {
        return true;
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    cookies
        .flat_map(|c| c.split(';'))
        .filter_map(|c| c.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .any(|t| same(t, token))
}

/// Returns whether two secrets are equal, in a time that does not tell where they differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

#[derive(Deserialize)]
struct Theme {
    to: String,
    back: String,
}

// Light or dark, kept in a cookie; back to where the reader was, and nowhere else.
async fn theme(Form(form): Form<Theme>) -> Response {
    let back = if form.back.starts_with('/') && !form.back.starts_with("//") { &form.back } else { "/" };
    let to = if form.to == "dark" { "dark" } else { "light" };
    let name = pages::shell::THEME;
    let cookie = format!("{name}={to}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000");
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, back.to_owned())]).into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

async fn login(State(app): Shared, Form(form): Form<Login>) -> Response {
    if !same(form.token.trim(), &app.settings.token) {
        // One guess at a time is slow enough to make guessing hopeless.
        tokio::time::sleep(Duration::from_millis(500)).await;
        return (StatusCode::UNAUTHORIZED, pages::login::wrong()).into_response();
    }
    let cookie =
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000", form.token.trim());
    let mut answer = Redirect::to("/").into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}
