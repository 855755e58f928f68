//! `/api/v1/tasks`.

use axum::extract::State;
use relayflow_core::api::{List, Task};
use relayflow_core::view;

use super::Id;
use super::json::{Json, Paged};
use super::problem::Problem;
use crate::app::App;

pub(crate) use super::events::timeline;

pub(crate) async fn list(
    State(app): State<App>,
    Paged(page): Paged,
) -> Result<Json<List<Task>>, Problem> {
    Ok(Json::ok(view::tasks(&app.store, &page).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Task>, Problem> {
    Ok(Json::ok(view::task(&app.store, &id).await?))
}
