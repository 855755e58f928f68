//! `/api/v1/drift` and `/api/v1/contracts`: what is expected of payloads, and what differs from it.

use axum::Extension;
use axum::extract::{Path, State};
use http::request::Parts;
use relayflow_core::api::codes::Code;
use relayflow_core::api::{
    AcceptDrift, CheckContracts, Contract, ContractCheck, Drift, LearnContract, List,
};
use relayflow_core::view;
use serde::Deserialize;

use super::Id;
use super::auth::Who;
use super::json::{Json, Paged, Sent, filter, params};
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn list(
    State(app): State<App>,
    Paged(page): Paged,
) -> Result<Json<List<Drift>>, Problem> {
    let in_force = app.current.get();
    Ok(Json::ok(view::drift::drift(&app.store, &in_force, &page).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Drift>, Problem> {
    let in_force = app.current.get();
    Ok(Json::ok(view::drift::one_drift(&app.store, &in_force, &id).await?))
}

pub(crate) async fn accept(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    Sent(why): Sent<AcceptDrift>,
) -> Result<Json<Drift>, Problem> {
    if why.reason.trim().is_empty() {
        return Err(
            Problem::of(Code::BadRequest).detail("`reason` is empty: say why it is accepted")
        );
    }
    let in_force = app.current.get();
    flush(&app).await;
    let drift = view::drift::accept_drift(&app.store, &in_force, &id, &who.0, &why.reason).await?;
    forget(&app, &drift.source);
    Ok(Json::ok(drift))
}

pub(crate) async fn contracts(State(app): State<App>) -> Result<Json<List<Contract>>, Problem> {
    let in_force = app.current.get();
    Ok(Json::ok(view::contracts::contracts(&app.store, &in_force).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    version: Option<i64>,
}

pub(crate) async fn contract(
    State(app): State<App>,
    Path((of, event_type)): Path<(String, String)>,
    parts: Parts,
) -> Result<Json<Contract>, Problem> {
    let Version { version } = params(&parts)?;
    let in_force = app.current.get();
    Ok(Json::ok(view::contracts::contract(&app.store, &in_force, &of, &event_type, version).await?))
}

pub(crate) async fn check(
    State(app): State<App>,
    Sent(mut what): Sent<CheckContracts>,
) -> Result<Json<ContractCheck>, Problem> {
    what.q = filter(what.q)?;
    let in_force = app.current.get();
    Ok(Json::ok(view::contracts::check(&app.store, &in_force, &what).await?))
}

pub(crate) async fn learn(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Sent(mut what): Sent<LearnContract>,
) -> Result<Json<Contract>, Problem> {
    what.q = filter(what.q)?;
    let in_force = app.current.get();
    let contract = view::contracts::learn(&app.store, &in_force, &what, &who.0).await?;
    if what.write {
        forget(&app, &what.source);
    }
    Ok(Json::ok(contract))
}

/// What was found until now is on record.
async fn flush(app: &App) {
    if let Some(watcher) = &app.ingest.watcher {
        watcher.flush().await;
    }
}

fn forget(app: &App, source: &str) {
    if let Some(watcher) = &app.ingest.watcher {
        watcher.forget(source);
    }
}
