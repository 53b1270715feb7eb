//! Sign-in with the token, where one is needed.

use axum::response::Html;
use maud::{Markup, html};

use super::shell;

fn form(wrong: bool) -> Markup {
    html! {
        @if wrong { p role="alert" { span.tag.warn { "wrong token" } } }
        p.sub { "This server asks for its token. It stands in the project's file " code { "keys/server.token" } "." }
        form.line method="post" action="/login" {
            label { "Token" input type="password" name="token" autocomplete="current-password" required autofocus; }
            button.main { "Sign in" }
        }
    }
}

pub(crate) async fn page() -> Html<String> {
    Html(shell::plain("Sign in", form(false)))
}

pub(crate) fn wrong() -> Html<String> {
    Html(shell::plain("Sign in", form(true)))
}
