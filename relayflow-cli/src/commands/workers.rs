//! `relayflow workers`: who executes what.

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, Task, Worker};
use relayflow_core::text;
use relayflow_core::view::Page;
use serde::Serialize;

use super::events::pairs;
use super::list::{list, show_document};
use crate::app::App;
use crate::args::{ListArgs, WorkersCmd, WorkersVerb};
use crate::failure::Done;
use crate::output::time;

/// As many running tasks are looked at, and of its own shown.
const LOOKED_AT: usize = 1000;
const TASKS: usize = 50;

pub(crate) async fn workers(app: &App, noun: WorkersCmd) -> Done {
    match noun.verb {
        None => ls(app, &noun.list).await,
        Some(WorkersVerb::Ls(args)) => ls(app, &args).await,
        Some(WorkersVerb::Show { name }) => show(app, &name).await,
    }
}

async fn ls(app: &App, args: &ListArgs) -> Done {
    let backend = app.connect().await?;
    list(app, args, None, async |_| backend.workers().await).await
}

/// A worker with the tasks that it holds.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    worker: &'a Worker,
    tasks: &'a [Task],
}

async fn show(app: &App, id: &str) -> Done {
    let backend = app.connect().await?;
    let worker = backend.worker(id).await?;
    let q = Some("status:running".to_owned());
    let running: List<Task> =
        backend.tasks(&Page { q, limit: LOOKED_AT, ..Page::default() }).await?;
    let is_its = |task: &Task| task.worker.as_deref() == Some(worker.id.as_str());
    let mut held: Vec<Task> = running.items.into_iter().filter(is_its).collect();
    let is_cut = TASKS < held.len() || running.next_cursor.is_some();
    held.truncate(TASKS);
    let shown = Shown { worker: &worker, tasks: &held };
    if show_document(&app.out, &shown, &worker.id)? {
        return Ok(Exit::Ok);
    }
    let mut out = String::new();
    let amount =
        |s: f64| time::amount(jiff::SignedDuration::try_from_secs_f64(s).unwrap_or_default());
    let count = |n: i64| time::count(u64::try_from(n).unwrap_or(0));
    let stuck = match worker.ended_leases {
        0 => String::new(),
        ended => format!(", {} ended long ago", count(ended)),
    };
    pairs(
        &mut out,
        &[
            ("worker", worker.id.clone()),
            ("state", app.out.style.status(&worker.state)),
            ("heard of", format!("{} ago", amount(worker.heartbeat_seconds))),
            ("running", count(worker.running)),
            ("leases", format!("{}{stuck}", count(worker.leases))),
            ("started", app.out.moment(&worker.started_at, app.now())),
            ("version", worker.version.clone()),
            ("process", worker.pid.to_string()),
        ],
    );
    for task in &held {
        let line = format!(
            "  {}  {}/{}  {}  attempt {}  {} {}",
            task.id,
            task.workflow,
            task.step,
            task.destination,
            task.attempt,
            task.source,
            task.event_type
        );
        out.push_str(&format!("{}\n", text::line(&line)));
    }
    if is_cut {
        out.push_str("  …  relayflow events ls status:running\n");
    }
    app.out.print(&out)?;
    Ok(Exit::Ok)
}
