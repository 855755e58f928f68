//! `/api/v1/plans`: what would be done, before it is.

use axum::Extension;
use axum::extract::State;
use relayflow_core::api::{NewPlan, Plan};
use relayflow_core::replay;
use relayflow_core::view;

use super::Id;
use super::auth::Who;
use super::json::{Json, Sent, filter};
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn create(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Sent(mut new): Sent<NewPlan>,
) -> Result<Json<Plan>, Problem> {
    new.q = filter(new.q)?;
    Ok(Json::created(replay::create_plan(&app.ingest, &new, &who.0).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Plan>, Problem> {
    Ok(Json::ok(view::plan(&app.store, &id).await?))
}
