//! Pages: HTML that is whole without scripts; every state stands in the address.

pub(crate) mod accounts;
pub(crate) mod alerts;
pub(crate) mod business;
pub(crate) mod catalogue;
pub(crate) mod executive;
pub(crate) mod explore;
pub(crate) mod incidents;
pub(crate) mod lineage;
pub(crate) mod login;
pub(crate) mod models;
pub(crate) mod operations;
pub(crate) mod parts;
pub(crate) mod rules;
pub(crate) mod shell;
pub(crate) mod study;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query as Params};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};
use maud::Markup;

use crate::app::App;
use crate::problem::Problem;
use crate::snapshot::Snapshot;

/// What a page answers: itself, or a page that says what is wrong.
pub(crate) type Answer = Result<Response, Wrong>;

/// An error shown to a person.
pub(crate) struct Wrong(pub(crate) Problem);

impl<E: Into<Problem>> From<E> for Wrong {
    fn from(e: E) -> Self {
        Self(e.into())
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let body = shell::plain(
            self.0.status.canonical_reason().unwrap_or("Error"),
            maud::html! { p.lead { (self.0.detail) } p { a href="/" { "To the first page" } } },
        );
        (self.0.status, Html(body)).into_response()
    }
}

/// What a page is asked: where it is, with which parameters, in which colours.
pub(crate) struct Look {
    pub(crate) app: Arc<App>,
    pub(crate) theme: &'static str,
    pub(crate) address: String,
    pub(crate) q: parts::Query,
}

impl Look {
    /// Returns the look of somebody who opens a page for the first time.
    fn first(app: &Arc<App>, address: &str) -> Self {
        Self { app: Arc::clone(app), theme: "", address: address.to_owned(), q: parts::Query::new() }
    }
}

impl FromRequestParts<Arc<App>> for Look {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Wrong> {
        let asked = Params::<parts::Query>::from_request_parts(parts, app).await;
        let q = asked.map_err(|e| Problem::bad(e.to_string()))?.0;
        let (theme, address) = (shell::theme(&parts.headers), parts.uri.to_string());
        Ok(Self { app: Arc::clone(app), theme, address, q })
    }
}

/// Returns a page of the newest snapshot, from the ones made before when it is there.
pub(crate) async fn cached<F, Fut>(look: &Look, make: F) -> Answer
where
    F: FnOnce(Arc<Snapshot>) -> Fut,
    Fut: Future<Output = Result<(String, Markup), Problem>>,
{
    let (app, address) = (&look.app, &look.address);
    let snapshot = app.snapshot().await?;
    let key = format!("{} {address}", look.theme);
    if let Some(page) = app.page(&snapshot, &key) {
        return Ok(Html(page.to_string()).into_response());
    }
    let (title, body) = make(Arc::clone(&snapshot)).await?;
    let page: Arc<str> = shell::whole(&title, address, look.theme, body).into();
    app.keep(&snapshot, &key, &page);
    Ok(Html(page.to_string()).into_response())
}

/// Makes the pages that people open first, so that nobody waits for the first look at a new state.
pub(crate) async fn warm(app: &Arc<App>) {
    let _ = executive::page(Look::first(app, "/")).await;
    let _ = incidents::index(Look::first(app, "/incidents")).await;
    let _ = business::page(Look::first(app, "/business")).await;
}
