//! `/api/v1/stats`.

use axum::extract::State;
use http::request::Parts;
use relayflow_core::api::Stats;
use relayflow_core::api::codes::Code;
use relayflow_core::filter;
use relayflow_core::store::{By, FLOW_SECONDS};
use relayflow_core::view;
use serde::Deserialize;

use super::json::{Json, params};
use super::problem::Problem;
use crate::app::App;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsParams {
    since: Option<String>,
    by: Option<String>,
}

/// The numbers; with `since`, also what came and went since then.
pub(crate) async fn stats(State(app): State<App>, parts: Parts) -> Result<Json<Stats>, Problem> {
    let StatsParams { since, by } = params(&parts)?;
    let wrong = |detail: String| Problem::of(Code::BadRequest).detail(detail);
    let by = by.map(|word| {
        let wanted = "`by` wants source, workflow or dest";
        By::from_word(&word).ok_or_else(|| wrong(wanted.to_owned()))
    });
    let by = by.transpose()?;
    let mut stats = view::stats(&app.store).await?;
    if let Some(since) = since {
        let length = filter::parse_duration(&since).map_err(|error| wrong(error.to_string()))?;
        if FLOW_SECONDS < length.as_secs() {
            return Err(wrong("the numbers go back for an hour: `since` is at most 1h".to_owned()));
        }
        stats.flow = Some(view::flow(&app.store, length.as_secs(), by).await?);
    }
    Ok(Json::ok(stats))
}
