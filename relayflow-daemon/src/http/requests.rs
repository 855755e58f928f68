//! `/api/v1/requests`: what came in, what was turned away, and readmitting that.

use axum::Extension;
use axum::extract::State;
use relayflow_core::api::codes::Code;
use relayflow_core::api::{List, Readmitted, Request, Verification};
use relayflow_core::verification::{self, Known};
use relayflow_core::view;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Id;
use super::auth::Who;
use super::json::{Json, MaybeSent, Paged};
use super::problem::Problem;
use crate::app::App;

pub(crate) use super::events::{raw, timeline};

/// Why an operator does something.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Paged(page): Paged,
) -> Result<Json<List<Request>>, Problem> {
    Ok(Json::ok(view::requests(&app.store, &page).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Request>, Problem> {
    Ok(Json::ok(view::request(&app.store, &id).await?))
}

/// So many requests are explained at once: each may take a processor for a second.
static EXPLAINING: Semaphore = Semaphore::const_new(2);

/// What verifies a kept request, or why nothing does.
pub(crate) async fn explain(
    State(app): State<App>,
    Id(id): Id,
) -> Result<Json<Verification>, Problem> {
    let _turn = EXPLAINING.acquire().await.map_err(|_| Problem::of(Code::Stopping))?;
    let in_force = app.current.get();
    let mut spare = app.current.retired();
    spare.extend(app.learned.spares(in_force.sources.values().map(|source| &source.name)));
    let fetched = app.ingest.keys.held();
    let known = Known { in_force, spare, fetched };
    Ok(Json::ok(verification::explain(&app.store, known, &id).await?))
}

/// Verifies a kept request again, as of its arrival, and takes it in if it holds now.
pub(crate) async fn readmit(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    MaybeSent(why): MaybeSent<Why>,
) -> Result<Json<Readmitted>, Problem> {
    let id = view::request_id(&app.store, &id).await?;
    let readmitted = app.ingest.readmit(id, &who.0, why.reason).await;
    readmitted.map(Json::ok).map_err(|error| Problem::from_error(error.code(), &error))
}
