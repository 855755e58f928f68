//! `/api/v1/queues` and `/api/v1/workers`.

use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use relayflow_core::api::codes::Code;
use relayflow_core::api::{List, NewPause, Queue, Resume, Worker};
use relayflow_core::execute::{Breaker, LaneState};
use relayflow_core::filter;
use relayflow_core::view;

use super::Id;
use super::auth::Who;
use super::json::{Json, MaybeSent, Sent};
use super::problem::Problem;
use crate::app::App;

/// The longest pause that ends by itself: what is to stand still for longer has no end of its own.
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(24 * 30);

/// The queues as the store has them, with what it cannot know: how this process treats each now.
pub(crate) async fn seen(app: &App) -> Result<List<Queue>, Problem> {
    let mut queues = view::queues(&app.store).await?;
    for lane in app.lanes.state() {
        if let Some(queue) = queues.items.iter_mut().find(|queue| *queue.name == *lane.name) {
            add_lane(queue, &lane);
        }
    }
    Ok(queues)
}

fn add_lane(queue: &mut Queue, lane: &LaneState) {
    queue.concurrency = u32::try_from(lane.concurrency).unwrap_or(u32::MAX);
    queue.breaker = Some(lane.breaker.as_str().to_owned());
    if let Breaker::Open { probe_at } = lane.breaker {
        let wait = probe_at.saturating_duration_since(Instant::now());
        queue.next_probe_seconds = Some(wait.as_secs_f64());
        if queue.state == "open" {
            "circuit_open".clone_into(&mut queue.state);
        }
    }
}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<List<Queue>>, Problem> {
    Ok(Json::ok(seen(&app).await?))
}

pub(crate) async fn show(State(app): State<App>, Id(name): Id) -> Result<Json<Queue>, Problem> {
    one(&app, &name).await.map(Json::ok)
}

async fn one(app: &App, name: &str) -> Result<Queue, Problem> {
    let mut queues = seen(app).await?.items;
    let at = queues.iter().position(|queue| queue.name == name).ok_or_else(|| no_queue(&queues))?;
    Ok(queues.swap_remove(at))
}

fn no_queue(queues: &[Queue]) -> Problem {
    let known = queues.iter().take(20).map(|queue| queue.name.as_str()).collect::<Vec<_>>();
    let known = if known.is_empty() { "none yet".to_owned() } else { known.join(" ") };
    Problem::of(Code::NoSuchObject).detail(format!("there is no such queue; there are: {known}"))
}

/// Nothing new starts for this destination, here or in another process, until its time has come.
pub(crate) async fn pause(
    State(app): State<App>,
    Id(name): Id,
    Extension(who): Extension<Who>,
    Sent(new): Sent<NewPause>,
) -> Result<Json<Queue>, Problem> {
    let until = until(&new, app.store.clock().now())?;
    let reason = new.reason.trim();
    if reason.is_empty() {
        return Err(Problem::of(Code::ReasonRequired));
    }
    if !is_known(&app, &name).await? {
        return Err(no_queue(&seen(&app).await?.items));
    }
    app.store.pause_queue(&name, until, &who.0, reason).await.map_err(store_problem)?;
    app.lanes.pauses_changed();
    tracing::info!(destination = name, who = &*who.0, "its queue is paused");
    one(&app, &name).await.map(Json::ok)
}

/// Also where nothing waits yet: a queue may be paused before its first task.
async fn is_known(app: &App, name: &str) -> Result<bool, Problem> {
    let in_force = app.current.get();
    let mut steps = in_force.workflows.list.iter().flat_map(|workflow| &workflow.steps);
    let is_configured = steps.any(|step| step.destination.as_deref() == Some(name));
    let is_there = || async {
        Ok::<_, Problem>(view::queues(&app.store).await?.items.iter().any(|q| q.name == name))
    };
    Ok(is_configured || is_there().await?)
}

/// When a pause ends by itself.
fn until(new: &NewPause, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let wrong = |detail: String| Err(Problem::of(Code::BadRequest).detail(detail));
    let length = match (&new.r#for, new.indefinitely) {
        (None, true) => return Ok(None),
        (Some(text), false) => filter::parse_duration(text),
        _ => return wrong("a pause has either `for` or `indefinitely`".to_owned()),
    };
    match length {
        Ok(length) if SignedDuration::ZERO < length && length <= PAUSE_MAX => {
            Ok(now.checked_add(length).ok())
        }
        Ok(_) => wrong("a pause lasts at most 30d; or `indefinitely`".to_owned()),
        Err(error) => wrong(error.to_string()),
    }
}

pub(crate) async fn resume(
    State(app): State<App>,
    Id(name): Id,
    Extension(who): Extension<Who>,
    MaybeSent(resume): MaybeSent<Resume>,
) -> Result<Json<Queue>, Problem> {
    let queue = one(&app, &name).await?;
    let reason = resume.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let was_paused = app.store.resume_queue(&name, &who.0, reason).await.map_err(store_problem)?;
    if !was_paused && queue.pause.is_none() {
        let detail = "this queue is not paused: nothing was changed";
        return Err(Problem::of(Code::StateChanged).detail(detail));
    }
    app.lanes.pauses_changed();
    tracing::info!(destination = name, who = &*who.0, "its queue goes on");
    one(&app, &name).await.map(Json::ok)
}

fn store_problem(error: relayflow_core::store::StoreError) -> Problem {
    view::ViewError::from(error).into()
}

pub(crate) async fn workers(State(app): State<App>) -> Result<Json<List<Worker>>, Problem> {
    Ok(Json::ok(all_workers(&app).await?))
}

pub(super) async fn all_workers(app: &App) -> Result<List<Worker>, Problem> {
    let mut workers = view::workers(&app.store).await?;
    workers.items.iter_mut().for_each(|worker| add_own(app, worker));
    Ok(workers)
}

pub(crate) async fn worker(State(app): State<App>, Id(id): Id) -> Result<Json<Worker>, Problem> {
    let mut worker = view::worker(&app.store, &id).await?;
    add_own(&app, &mut worker);
    Ok(Json::ok(worker))
}

/// Of its own leases this process knows which run; that it answers is its heartbeat.
fn add_own(app: &App, worker: &mut Worker) {
    if worker.id == app.worker.to_string() {
        let running: usize = app.lanes.state().iter().map(|lane| lane.running).sum();
        worker.running = i64::try_from(running).unwrap_or(i64::MAX);
        worker.heartbeat_seconds = 0.0;
        "live".clone_into(&mut worker.state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_for_so_long_or_until_somebody_ends_it() {
        let now = Timestamp::UNIX_EPOCH;
        let ask = |r#for: Option<&str>, indefinitely| {
            let r#for = r#for.map(str::to_owned);
            until(&NewPause { r#for, indefinitely, reason: String::new() }, now)
        };
        let half_an_hour = Timestamp::from_second(1800).unwrap();
        assert_eq!(ask(Some("30m"), false).unwrap(), Some(half_an_hour));
        assert_eq!(ask(None, true).unwrap(), None);
        for (r#for, indefinitely) in [
            (None, false),
            (Some("30m"), true),
            (Some("x"), false),
            (Some("31d"), false),
            (Some("0s"), false),
        ] {
            assert_eq!(ask(r#for, indefinitely).unwrap_err().code, Code::BadRequest, "{for:?}");
        }
    }
}
