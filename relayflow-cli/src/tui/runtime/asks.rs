//! Questions put to a RelayFlow, through the CLI's own backend.

use relayflow_core::api::{List, NewRevision, ReplayControl, Resume};
use relayflow_core::in_force::InForce;
use relayflow_core::view;

use crate::backend::Backend;
use crate::commands::export::{Order, brief, carry_out};
use crate::commands::verification;
use crate::context;
use crate::failure::Failure;
use crate::output::time;
use crate::tui::msg::{Page, Question, Reply, Row};
use crate::tui::route::Noun;

/// As many groups as anybody reads.
const GROUPS: usize = 200;
const JOBS: usize = 100;

fn page(q: Option<String>, limit: usize, cursor: Option<String>) -> view::Page {
    view::Page { q, limit, cursor, sort: None }
}

fn rows<T>(list: List<T>, row: impl Fn(T) -> Row) -> Reply {
    let rows = list.items.into_iter().map(row).collect();
    Reply::Rows(Page { rows, next: list.next_cursor, total: list.total })
}

/// Asks and waits.
pub(super) async fn ask(backend: &Backend, question: Question) -> Result<Reply, Failure> {
    match question {
        Question::Stats => Ok(Reply::Stats(Box::new(backend.stats().await?))),
        Question::Minutes => Ok(Reply::Minutes(backend.minutes().await?.items)),
        Question::Who => Ok(Reply::Who(backend.whoami().await?)),
        Question::Chart(of) => Ok(Reply::Chart(Box::new(backend.chart(&of).await?))),
        Question::Groups { by, q } => {
            let groups = backend.dead_letter_groups(&page(q, GROUPS, None), by).await?;
            Ok(Reply::Groups(groups))
        }
        Question::Rows { noun, q, limit, cursor } => {
            let page = page(q, limit, cursor);
            match noun {
                Noun::Events => Ok(rows(backend.events(&page).await?, Row::of_event)),
                Noun::DeadLetters => Ok(rows(backend.dead_letters(&page).await?, Row::of_letter)),
                Noun::Requests => Ok(rows(backend.requests(&page).await?, Row::of_request)),
            }
        }
        Question::Replays { cursor } => {
            let list = backend.replays(&page(None, JOBS, cursor)).await?;
            let (rows, next, total) = (list.items, list.next_cursor, list.total);
            Ok(Reply::Replays(Page { rows, next, total }))
        }
        Question::Event(id) => {
            let id = if id.starts_with("tsk_") { backend.task(&id).await?.event_id } else { id };
            Ok(Reply::Event(Box::new(backend.event(&id).await?)))
        }
        Question::Timeline(id) => Ok(Reply::Timeline(backend.timeline(&id).await?.items)),
        Question::Trace(key) => Ok(Reply::Trace(Box::new(backend.trace(&key).await?))),
        Question::Request(id) => Ok(Reply::Request(Box::new(backend.request(&id).await?))),
        Question::Verification(id) => {
            let in_force = || context::in_force(&|name| std::env::var(name).ok());
            let known = || verification::known(in_force().unwrap_or_else(|_| InForce::bare()));
            Ok(Reply::Verification(Box::new(backend.verification(&id, known).await?)))
        }
        Question::Raw(id) => Ok(Reply::Raw(backend.raw(&id).await?)),
        Question::Queues => Ok(Reply::Queues(backend.queues().await?.items)),
        Question::Workers => Ok(Reply::Workers(backend.workers().await?.items)),
        Question::Sources => Ok(Reply::Sources(backend.sources().await?.items)),
        Question::Drift { q } => {
            let page = page(q, GROUPS, None);
            let list = backend.drift(&page).await?;
            let (rows, next, total) = (list.items, list.next_cursor, list.total);
            Ok(Reply::Drift(Page { rows, next, total }))
        }
        Question::AcceptDrift { id, reason } => {
            let drift = backend.accept_drift(&id, &reason).await?;
            let version = drift.version.map(|v| format!(", version {v}")).unwrap_or_default();
            Ok(Reply::Done(format!("{} is in the contract{version}", drift.id)))
        }
        Question::Revise { event, task, payload, reason } => {
            let revised = backend.revise(&event, &NewRevision { payload, reason }).await?;
            Ok(Reply::Revised { task, number: revised.revision.number })
        }
        Question::Replay(id) => Ok(Reply::Replay(Box::new(backend.replay(&id).await?))),
        Question::Plan(new) => Ok(Reply::Plan(Box::new(backend.create_plan(&new).await?))),
        Question::RunPlan(new) => Ok(Reply::Replay(Box::new(backend.create_replay(&new).await?))),
        Question::Control { id, verb } => {
            let job = backend.control(&id, verb, &ReplayControl::default()).await?;
            Ok(Reply::Done(format!("{} is {}", job.id, job.status)))
        }
        Question::PauseQueue { name, new } => {
            let queue = backend.pause_queue(&name, &new).await?;
            Ok(Reply::Done(format!("{} is {}", queue.name, queue.state)))
        }
        Question::ResumeQueue(name) => {
            let queue = backend.resume_queue(&name, &Resume::default()).await?;
            Ok(Reply::Done(format!("{} goes on", queue.name)))
        }
        Question::Discard(what) => {
            let done = backend.discard(&what).await?;
            let mut text = format!("{} discarded", time::things(done.discarded, "item"));
            if 0 < done.skipped {
                text.push_str(&format!(", {} had moved on", time::count(done.skipped)));
            }
            Ok(Reply::Done(text))
        }
        Question::Export { new, to } => {
            let order = Order { new, is_unmasked: false, to, force: false };
            let (manifest, bytes) = carry_out(backend, &order, None).await?;
            Ok(Reply::Done(brief(&order.to, &manifest, bytes)))
        }
        Question::Readmit { id, reason } => {
            let done = backend.readmit(&id, reason.as_deref()).await?;
            let events = u64::try_from(done.events.len()).unwrap_or(0);
            let why = done.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let events = time::things(events, "event");
            Ok(Reply::Done(format!("{} is {}{why}, {events}", done.request, done.status)))
        }
    }
}
