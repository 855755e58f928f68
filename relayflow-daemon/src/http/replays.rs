//! `/api/v1/replays`: plans being carried out.

use axum::Extension;
use axum::extract::State;
use relayflow_core::api::{List, NewReplay, Replay, ReplayControl, ReplayItem, TimelineEntry};
use relayflow_core::replay::{self, Control};
use relayflow_core::view;

use super::Id;
use super::auth::Who;
use super::json::{Json, MaybeSent, Paged, Sent};
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn create(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    Sent(new): Sent<NewReplay>,
) -> Result<Json<Replay>, Problem> {
    Ok(Json::created(replay::create_replay(&app.ingest, &new, &who.0).await?))
}

pub(crate) async fn list(
    State(app): State<App>,
    Paged(page): Paged,
) -> Result<Json<List<Replay>>, Problem> {
    Ok(Json::ok(view::replays(&app.store, &page).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(id): Id) -> Result<Json<Replay>, Problem> {
    Ok(Json::ok(view::replay(&app.store, &id).await?))
}

pub(crate) async fn items(
    State(app): State<App>,
    Id(id): Id,
    Paged(page): Paged,
) -> Result<Json<List<ReplayItem>>, Problem> {
    Ok(Json::ok(view::replay_items(&app.store, &id, &page).await?))
}

pub(crate) async fn timeline(
    State(app): State<App>,
    Id(id): Id,
) -> Result<Json<List<TimelineEntry>>, Problem> {
    Ok(Json::ok(view::timeline(&app.store, &id).await?))
}

pub(crate) async fn pause(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    MaybeSent(how): MaybeSent<ReplayControl>,
) -> Result<Json<Replay>, Problem> {
    control(&app, &id, Control::Pause, &who, how).await
}

pub(crate) async fn resume(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    MaybeSent(how): MaybeSent<ReplayControl>,
) -> Result<Json<Replay>, Problem> {
    control(&app, &id, Control::Resume, &who, how).await
}

pub(crate) async fn cancel(
    State(app): State<App>,
    Id(id): Id,
    Extension(who): Extension<Who>,
    MaybeSent(how): MaybeSent<ReplayControl>,
) -> Result<Json<Replay>, Problem> {
    control(&app, &id, Control::Cancel, &who, how).await
}

async fn control(
    app: &App,
    id: &str,
    control: Control,
    who: &Who,
    how: ReplayControl,
) -> Result<Json<Replay>, Problem> {
    replay::control(&app.store, id, control, &who.0, &how).await?;
    Ok(Json::ok(view::replay(&app.store, id).await?))
}
