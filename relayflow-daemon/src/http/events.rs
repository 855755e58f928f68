//! `/api/v1/events` and `/api/v1/trace`.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use relayflow_core::api::{Event, List, NewRevision, Revised, TimelineEntry, Trace};
use relayflow_core::replay;
use relayflow_core::view::{self, Raw};
use serde::Deserialize;

use super::Id;
use super::auth::Who;
use super::json::{Json, Paged, Sent, params};
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn list(
    State(app): State<App>,
    Paged(page): Paged,
) -> Result<Json<List<Event>>, Problem> {
    Ok(Json::ok(view::events(&app.store, &page).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Event>, Problem> {
    Ok(Json::ok(view::event(&app.store, &id).await?))
}

/// A payload in place of the event's own, for what of it has not succeeded.
pub(crate) async fn revise(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    Sent(new): Sent<NewRevision>,
) -> Result<Json<Revised>, Problem> {
    Ok(Json::created(replay::edit(&app.ingest, &id, &new, &who.0).await?))
}

pub(crate) async fn timeline(
    State(app): State<App>,
    Id(id): Id,
) -> Result<Json<List<TimelineEntry>>, Problem> {
    Ok(Json::ok(view::timeline(&app.store, &id).await?))
}

pub(crate) async fn trace(State(app): State<App>, Id(key): Id) -> Result<Json<Trace>, Problem> {
    Ok(Json::ok(view::trace(&app.store, &key).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParams {
    /// Whether request line and kept headers stand before the body.
    #[serde(default)]
    headers: bool,
}

/// The exact bytes that came in. They are the vendor's, so no browser is to make anything of them.
pub(crate) async fn raw(
    State(app): State<App>,
    Id(id): Id,
    parts: Parts,
) -> Result<Response, Problem> {
    let RawParams { headers } = params(&parts)?;
    let raw = view::raw(&app.store, &id).await?;
    let (media_type, body) = if headers {
        ("message/http", with_head(&raw).into())
    } else {
        ("application/octet-stream", raw.body)
    };
    let mut response = Response::new(body.into());
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    set.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    set.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn with_head(raw: &Raw) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", raw.method, raw.target).into_bytes();
    for (name, value) in &raw.headers {
        out.extend(format!("{name}: {value}\r\n").bytes());
    }
    out.extend(b"\r\n");
    out.extend(&raw.body);
    out
}
