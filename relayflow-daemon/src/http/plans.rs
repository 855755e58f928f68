//! `/api/v1/plans`: what would be done, before it is.

use axum::Extension;
use axum::extract::State;
use relayflow_core::api::{List, NewPlan, Plan, PlanItem};
use relayflow_core::replay;
use relayflow_core::view;

use super::Id;
use super::auth::Who;
use super::json::{Json, Paged, Sent, filter};
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

/// Its members, with what would become of each.
pub(crate) async fn items(
    State(app): State<App>,
    Id(id): Id,
    Paged(page): Paged,
) -> Result<Json<List<PlanItem>>, Problem> {
    Ok(Json::ok(view::plan_items(&app.store, &id, &page).await?))
}
