//! `/api/v1/stats`.

use axum::extract::State;
use relayflow_core::api::Stats;
use relayflow_core::view;

use super::json::Json;
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn stats(State(app): State<App>) -> Result<Json<Stats>, Problem> {
    Ok(Json::ok(view::stats(&app.store).await?))
}
