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

use axum::http::HeaderMap;
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

/// Returns a page of the newest snapshot, from the ones made before when it is there.
pub(crate) async fn cached<F, Fut>(app: &Arc<App>, headers: &HeaderMap, address: &str, make: F) -> Answer
where
    F: FnOnce(Arc<Snapshot>) -> Fut,
    Fut: Future<Output = Result<(String, Markup), Problem>>,
{
    let snapshot = app.snapshot().await?;
    let theme = shell::theme(headers);
    let key = format!("{theme} {address}");
    if let Some(page) = app.page(&snapshot, &key) {
        return Ok(Html(page.to_string()).into_response());
    }
    let (title, body) = make(Arc::clone(&snapshot)).await?;
    let page: Arc<str> = shell::whole(&title, address, theme, body).into();
    app.keep(&snapshot, &key, &page);
    Ok(Html(page.to_string()).into_response())
}

/// Makes the pages that people open first, so that nobody waits for the first look at a new state.
pub(crate) async fn warm(app: &Arc<App>) {
    let headers = HeaderMap::new();
    let _ = executive::make(app, &headers, "/", &Default::default()).await;
    let _ = incidents::make_list(app, &headers, "/incidents", &Default::default()).await;
    let _ = business::make(app, &headers, "/business", &Default::default()).await;
}
