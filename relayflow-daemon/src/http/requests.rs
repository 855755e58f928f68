//! `/api/v1/requests`: what came in, what was turned away, and readmitting that.

use axum::Extension;
use axum::extract::State;
use relayflow_core::api::codes::Code;
use relayflow_core::api::{List, Readmitted, Request};
use relayflow_core::id::RequestId;
use relayflow_core::view;
use serde::{Deserialize, Serialize};

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

/// Verifies a kept request again, as of its arrival, and takes it in if it holds now.
pub(crate) async fn readmit(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    MaybeSent(why): MaybeSent<Why>,
) -> Result<Json<Readmitted>, Problem> {
    let id: RequestId = id.parse().map_err(|error| Problem::from_error(Code::BadId, &error))?;
    let readmitted = app.ingest.readmit(id, &who.0, why.reason).await;
    readmitted.map(Json::ok).map_err(|error| Problem::from_error(error.code(), &error))
}
