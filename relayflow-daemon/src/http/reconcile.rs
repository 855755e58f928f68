//! `/api/v1/reconciles`: what vendors say they sent, against what arrived.

use axum::Extension;
use axum::extract::State;
use relayflow_core::api::{List, NewReconcile, Reconcile, ReconcileItem, RunReconcile};
use relayflow_core::view;

use super::Id;
use super::auth::Who;
use super::json::{Json, Paged, Sent};
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn create(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Sent(new): Sent<NewReconcile>,
) -> Result<Json<Reconcile>, Problem> {
    Ok(Json::created(app.reconciler.create(&new, &who.0).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Reconcile>, Problem> {
    Ok(Json::ok(view::reconcile(&app.store, &id).await?))
}

pub(crate) async fn items(
    State(app): State<App>,
    Id(id): Id,
    Paged(page): Paged,
) -> Result<Json<List<ReconcileItem>>, Problem> {
    Ok(Json::ok(view::reconcile_items(&app.store, &id, &page).await?))
}

pub(crate) async fn run(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    Sent(run): Sent<RunReconcile>,
) -> Result<Json<Reconcile>, Problem> {
    Ok(Json::ok(app.reconciler.take_in(&id, &run, &who.0).await?))
}
