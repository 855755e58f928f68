//! `/api/v1/dead-letters`.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use relayflow_core::api::Discard;
use relayflow_core::replay;
use relayflow_core::view::{self, Page};
use serde::Deserialize;

use super::auth::Who;
use super::json::{Json, Sent, page, params};
use super::problem::Problem;
use crate::app::App;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListParams {
    q: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    by: Option<String>,
    sort: Option<String>,
}

/// Dead letters; with `by`, how many there are for each value of that field.
pub(crate) async fn list(State(app): State<App>, parts: Parts) -> Result<Response, Problem> {
    let ListParams { q, limit, cursor, by, sort } = params(&parts)?;
    let page = Page { sort, ..page(q, limit, cursor)? };
    Ok(match by {
        None => Json::ok(view::dead_letters(&app.store, &page).await?).into_response(),
        Some(by) => {
            Json::ok(view::dead_letter_groups(&app.store, &page, &by).await?).into_response()
        }
    })
}

pub(crate) async fn discard(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Sent(discard): Sent<Discard>,
) -> Result<Response, Problem> {
    let done = replay::discard(&app.store, &discard, &who.0).await?;
    Ok(Json::ok(done).into_response())
}
