//! `/api/v1/charts` and `/api/v1/stats/minutes`.

use axum::extract::State;
use http::request::Parts;
use relayflow_core::api::codes::Code;
use relayflow_core::api::{Chart, List, Minute};
use relayflow_core::view::charts;
use serde::Deserialize;

use super::json::{Json, params};
use super::problem::Problem;
use crate::app::App;

/// The window of a destination's chart where none is asked for, in seconds.
const WINDOW: i64 = 900;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChartParams {
    dest: Option<String>,
    replay: Option<String>,
    /// In seconds, of a destination.
    window: Option<i64>,
}

/// The attempts at one destination, or of one replay.
pub(crate) async fn chart(State(app): State<App>, parts: Parts) -> Result<Json<Chart>, Problem> {
    let ChartParams { dest, replay, window } = params(&parts)?;
    let bad = |detail: &str| Problem::of(Code::BadRequest).detail(detail.to_owned());
    let seconds = window.unwrap_or(WINDOW);
    if !charts::WINDOW_SECONDS.contains(&seconds) {
        return Err(bad("`window` is 60 to 86400 seconds"));
    }
    Ok(Json::ok(match (dest, replay) {
        (Some(dest), None) => charts::of_destination(&app.store, &dest, seconds).await?,
        (None, Some(id)) => charts::of_replay(&app.store, &id).await?,
        (Some(_), Some(_)) | (None, None) => return Err(bad("one of `dest` and `replay`")),
    }))
}

/// The last hour, minute by minute.
pub(crate) async fn minutes(State(app): State<App>) -> Result<Json<List<Minute>>, Problem> {
    Ok(Json::ok(charts::minutes(&app.store).await?))
}
