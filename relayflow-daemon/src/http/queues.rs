//! `/api/v1/queues` and `/api/v1/workers`.

use axum::extract::State;
use relayflow_core::api::{List, Queue, V, Worker};
use relayflow_core::view::{self, setup::whole};

use super::json::Json;
use super::problem::Problem;
use crate::app::App;

pub(crate) async fn list(State(app): State<App>) -> Result<Json<List<Queue>>, Problem> {
    Ok(Json::ok(queues_of(&app).await?))
}

pub(super) async fn queues_of(app: &App) -> Result<List<Queue>, Problem> {
    let mut queues = view::queues(&app.store).await?;
    // What the store cannot know: how this process treats each destination now.
    for lane in app.lanes.state() {
        if let Some(queue) = queues.items.iter_mut().find(|queue| *queue.name == *lane.name) {
            queue.concurrency = u32::try_from(lane.concurrency).unwrap_or(u32::MAX);
            if lane.breaker.as_str() == "open" && queue.state == "open" {
                queue.state = "circuit_open".to_owned();
            }
        }
    }
    Ok(queues)
}

pub(crate) async fn workers(State(app): State<App>) -> Result<Json<List<Worker>>, Problem> {
    Ok(Json::ok(workers_of(&app).await?))
}

/// This process. On one machine there is no other.
pub(super) async fn workers_of(app: &App) -> Result<List<Worker>, Problem> {
    let stats = view::stats(&app.store).await?;
    Ok(whole(
        "worker_list",
        vec![Worker {
            v: V,
            object: "worker".to_owned(),
            id: app.worker.to_string(),
            running: stats.tasks.running,
            started_at: app.started_at.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }],
    ))
}
