//! Errors as `application/problem+json` (RFC 9457), and as a page for browsers.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::site::SiteError;

/// An answer that says what went wrong and what to do.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
    pub(crate) retry_s: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_s: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn broken(e: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
    }

    pub(crate) fn busy(detail: impl Into<String>, retry_s: u64) -> Self {
        Self { retry_s: Some(retry_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }
}

impl From<SiteError> for Problem {
    fn from(e: SiteError) -> Self {
        Self::broken(&e)
    }
}

impl From<fishweir_metrics::PipelineError> for Problem {
    fn from(e: fishweir_metrics::PipelineError) -> Self {
        Self::broken(&e)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut out = (self.status, body.to_string()).into_response();
        let headers = out.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(s) = self.retry_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(s));
        }
        out
    }
}
