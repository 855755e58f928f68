//! A request with its events and tasks, in one transaction. Duplicates fall out here: they are found
//! by a unique index, never by looking first.

use std::sync::Arc;
use std::time::Instant;

use jiff::SignedDuration;
use rusqlite::params;
use tokio::sync::oneshot;

use super::dedupe::find_or_take;
use super::flow::{By, Measure};
use super::reconciles::Fetched;
use super::reject::leave_ring;
use super::timeline::{self, Row};
use super::writer::{After, Job, Tx};
use super::{EventContext, LeasedTask, NewEvent, NewRequest, NewTask, Receipt, Reread, StoreError};
use super::{line, settle};
use crate::event::Payload;
use crate::id::{EventId, RequestId};
use crate::request::{CorrelationId, Request};
use crate::task::{Task, TaskStatus};
use crate::timeline::What;

/// How long a lease lasts before it must be renewed (guarantees: Leases).
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(30);
/// A request on its way to the writer.
pub(super) struct Commit {
    request: Request,
    source: Arc<str>,
    provider: Arc<str>,
    headers: String,
    kept_target: String,
    scheme: Arc<str>,
    skew_ms: Option<i64>,
    unreadable: Option<String>,
    reread: Option<Reread>,
    fetched: Option<Fetched>,
    /// Set by `run`: the status of a request that is read again.
    was: String,
    events: Vec<Candidate>,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// An event that may turn out to be known.
struct Candidate {
    context: Arc<EventContext>,
    tasks: Vec<NewTask>,
    derived_window: SignedDuration,
    /// Set by `run`: the event that it is, and whether that was known.
    found: (EventId, bool),
}

impl Commit {
    pub(super) fn new(new: NewRequest) -> (Self, oneshot::Receiver<Result<Receipt, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let headers = serde_json::to_string(&new.headers).unwrap_or_else(|_| "[]".to_owned());
        let kept = Arc::new(new.headers);
        let events = new.events.into_iter().map(|event| Candidate::new(event, &kept)).collect();
        let commit = Self {
            request: new.request,
            source: new.source,
            provider: new.provider,
            headers,
            kept_target: new.kept_target,
            scheme: new.scheme,
            skew_ms: new.skew_ms,
            unreadable: new.unreadable,
            reread: new.reread,
            fetched: new.fetched,
            was: String::new(),
            events,
            reply,
        };
        (commit, answer)
    }

    fn status(&self) -> &'static str {
        if self.unreadable.is_some() {
            "dead"
        } else if !self.events.is_empty() && self.events.iter().all(|e| e.found.1) {
            "duplicate"
        } else {
            "accepted"
        }
    }

    fn receipt(&self) -> Receipt {
        Receipt {
            request: self.request.id,
            events: self.events.iter().map(|e| e.found).collect(),
            is_dead: self.unreadable.is_some(),
        }
    }
}

impl Candidate {
    fn new(new: NewEvent, headers: &Arc<Vec<(String, String)>>) -> Self {
        let id = new.event.id;
        Self {
            context: Arc::new(EventContext { event: new.event, headers: Arc::clone(headers) }),
            tasks: new.tasks,
            derived_window: new.derived_window,
            found: (id, false),
        }
    }
}

impl Job for Commit {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        if let Some(reread) = &self.reread {
            self.was = self.note_reread(tx, reread)?;
        }
        let place = if self.reread.is_some() { events_before(tx, self.request.id)? } else { 0 };
        let mut taken = place;
        for i in 0..self.events.len() {
            let (request, reread) = (&self.request, self.reread.as_ref());
            let (scheme, skew_ms) = (&self.scheme, self.skew_ms);
            let candidate = &mut self.events[i];
            let (event, window) = (&candidate.context.event, candidate.derived_window);
            candidate.found = find_or_take(tx, event, window, request.id, reread.is_some())?;
            if candidate.found.1 {
                continue;
            }
            insert_event(tx, candidate, taken)?;
            insert_tasks(tx, candidate)?;
            note_committed(tx, candidate, scheme, skew_ms, reread)?;
            taken += 1;
        }
        if let (Some(fetched), Some(event)) = (&self.fetched, self.events.first()) {
            fetched.note(tx, self.request.id, event.found)?;
        }
        let first = self.events.iter().find(|e| !e.found.1).map(|e| e.found.0);
        self.write_request(tx, taken, if place == 0 { first } else { None })
    }

    fn finish(mut self: Box<Self>, written: Result<(), StoreError>, after: &After) {
        if let Err(error) = written {
            let _ = self.reply.send(Err(error));
            return;
        }
        let leased_at = Instant::now();
        for candidate in self.events.iter_mut().filter(|e| !e.found.1) {
            hand_over(candidate, leased_at, after);
        }
        if self.reread.is_none() {
            let came_us = self.request.received_at.as_microsecond();
            after.acks.borrow_mut().push((Arc::clone(&self.source), came_us));
        }
        let receipt = self.receipt();
        // The sender may have hung up; what is committed stays committed.
        let _ = self.reply.send(Ok(receipt));
    }

    fn bytes(&self) -> usize {
        self.request.body.len() + 512
    }
}

impl Commit {
    fn write_request(
        &self,
        tx: &mut Tx<'_>,
        taken: i64,
        first: Option<EventId>,
    ) -> Result<(), StoreError> {
        let status = self.status();
        let ended = self.unreadable.as_ref().map(|_| tx.now_us);
        let reason = self.unreadable.as_ref().map(|_| "unreadable");
        match &self.reread {
            None => {
                insert_request(
                    tx,
                    &RequestRow {
                        request: &self.request,
                        source: &self.source,
                        provider: &self.provider,
                        headers: &self.headers,
                        target: &self.kept_target,
                        status,
                        events: taken,
                        first,
                        scheme: Some(&self.scheme),
                        skew_ms: self.skew_ms,
                        reason,
                        detail: self.unreadable.as_deref(),
                        ended,
                    },
                )?;
                tx.count("requests", "", 1);
                tx.flow(By::Source, &self.source, Measure::Received, 1);
            }
            Some(_) => self.update_request(tx, taken, first)?,
        }
        if let Some(why) = &self.unreadable {
            tx.count("dead_requests", "", 1);
            timeline::append(
                tx,
                &Row {
                    request_id: Some(self.request.id),
                    detail: Some(timeline::detail(&[("error", why.as_str().into())])),
                    ..Row::new(What::Unreadable)
                },
            )?;
        }
        Ok(())
    }

    /// A kept request is read again: who wanted it and why stands before what comes of it. Answers
    /// the status that it had.
    fn note_reread(&self, tx: &mut Tx<'_>, reread: &Reread) -> Result<String, StoreError> {
        let id = self.request.id.bytes();
        let was = tx
            .row("select status from request where id = $1", params![id], |r| {
                r.get::<_, String>(0)
            })?
            .ok_or_else(|| StoreError::NotFound { id: self.request.id.to_string() })?;
        if was != "rejected" && was != "dead" && was != "discarded" {
            return Err(StoreError::Changed {
                id: self.request.id.to_string(),
                found: was,
                wanted: "rejected or dead".to_owned(),
            });
        }
        timeline::append(
            tx,
            &Row {
                request_id: Some(self.request.id),
                replay_id: reread.replay_id,
                detail: Some(timeline::detail(&[
                    ("who", reread.who.as_str().into()),
                    ("reason", reread.reason.as_deref().into()),
                    ("was", was.as_str().into()),
                ])),
                ..Row::new(if was == "rejected" { What::Readmitted } else { What::Replayed })
            },
        )?;
        Ok(was)
    }

    /// What a request that was read again is now follows from this reading.
    fn update_request(
        &self,
        tx: &mut Tx<'_>,
        taken: i64,
        first: Option<EventId>,
    ) -> Result<(), StoreError> {
        let is_dead = self.unreadable.is_some();
        tx.run(
            "update request set status = $1, events = $2, first_event_id = coalesce(first_event_id, $3),
                scheme = $4, skew_ms = $5, reason = $6, detail = $7, ended_us = $8
             where id = $9",
            params![
                self.status(),
                taken,
                first.as_ref().map(|f| f.bytes().as_slice()),
                &*self.scheme,
                self.skew_ms,
                is_dead.then_some("unreadable"),
                self.unreadable,
                is_dead.then_some(tx.now_us),
                self.request.id.bytes(),
            ],
        )?;
        match self.was.as_str() {
            "rejected" => {
                tx.count("requests", "", 1);
                leave_ring(tx, &self.source, bytes_of(&self.request));
            }
            "dead" => tx.count("dead_requests", "", -1),
            _ => {}
        }
        Ok(())
    }
}

/// Events that earlier readings of the request took in.
fn events_before(tx: &Tx<'_>, request: RequestId) -> Result<i64, StoreError> {
    let found =
        tx.row("select events from request where id = $1", params![request.bytes()], |r| r.get(0))?;
    Ok(found.unwrap_or(0))
}

fn insert_event(tx: &mut Tx<'_>, candidate: &Candidate, place: i64) -> Result<(), StoreError> {
    let event = &candidate.context.event;
    let (from, to, converted) = match &event.payload {
        Payload::Slice { from, to, .. } => {
            (i64::try_from(*from).ok(), i64::try_from(*to).ok(), None)
        }
        Payload::Converted(text) => (None, None, Some(text.as_str())),
    };
    let count = |status| {
        i64::try_from(candidate.tasks.iter().filter(|t| first_status(t) == status).count())
            .unwrap_or(0)
    };
    let own = CorrelationId::of(event.request_id);
    tx.run(
        "insert into event (id, request_id, place, source, provider, type, kind, external_id,
            id_is_derived, subject, occurred_us, received_us, correlation_id, attributes,
            payload_from, payload_to, payload, contract, attempts, queued, running, dead)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
            $19, $20, $21, $22)",
        params![
            event.id.bytes(),
            event.request_id.bytes(),
            place,
            &*event.source,
            &*event.provider,
            event.event_type,
            event.kind.as_deref(),
            event.external_id,
            event.id_is_derived,
            event.subject,
            event.occurred_at.as_microsecond(),
            event.received_at.as_microsecond(),
            (event.correlation_id != own).then(|| event.correlation_id.as_str()),
            event.attributes,
            from,
            to,
            converted,
            &*event.contract,
            i64::from(count(TaskStatus::Running) > 0),
            count(TaskStatus::Queued),
            count(TaskStatus::Running),
            count(TaskStatus::Dead),
        ],
    )?;
    tx.count("events", "", 1);
    Ok(())
}

/// What a new task is committed as.
fn first_status(task: &NewTask) -> TaskStatus {
    match (&task.dead, &task.slot) {
        (Some(_), _) => TaskStatus::Dead,
        (None, Some(_)) if task.needs.is_empty() => TaskStatus::Running,
        (None, _) => TaskStatus::Queued,
    }
}

fn insert_tasks(tx: &mut Tx<'_>, candidate: &Candidate) -> Result<(), StoreError> {
    let now = tx.now_us;
    let lease_until = now + i64::try_from(LEASE.as_micros()).unwrap_or(0);
    for task in &candidate.tasks {
        let status = first_status(task);
        let is_running = status == TaskStatus::Running;
        let (reason, error) = match &task.dead {
            Some((reason, error)) => (Some(reason.as_str()), Some(error.as_str())),
            None => (None, None),
        };
        let names = (!task.needs.is_empty()).then(|| task.needs.join(" "));
        tx.run(
            "insert into task (id, event_id, workflow, step, destination, status, attempt, failures,
                needs, need_names, check_when, created_us, since_us, due_us, worker, lease_until_us,
                ended_us, reason, error, error_id)
             values ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11, $11, $11, $12, $13, $14, $15,
                $16, $17)",
            params![
                task.id.bytes(),
                candidate.context.event.id.bytes(),
                &*task.workflow,
                &*task.step,
                &*task.destination,
                status.as_str(),
                i64::from(is_running),
                i64::try_from(task.needs.len()).unwrap_or(i64::MAX),
                names,
                i64::from(task.dead.is_some()),
                now,
                is_running.then(|| tx.worker.bytes().as_slice()),
                is_running.then_some(lease_until),
                task.dead.as_ref().map(|_| now),
                reason,
                error,
                error.map(|e| super::tasks::error_id(&task.step, None, e)),
            ],
        )?;
        if let Some(line) = &task.line {
            line::enter(tx, task.id, (&task.workflow, &task.step), line, status)?;
        }
        tx.count(super::stats::task_counter(status), &task.destination, 1);
        count_new(tx, &candidate.context.event.source, task);
        tx.has_due |= status == TaskStatus::Queued;
    }
    for task in candidate.tasks.iter().filter(|t| t.dead.is_some()) {
        let event = candidate.context.event.id;
        settle::let_pass(tx, event, &task.workflow, &task.step)?;
    }
    Ok(())
}

/// A task that an event calls for, in the numbers of its workflow and destination.
fn count_new(tx: &mut Tx<'_>, source: &str, task: &NewTask) {
    tx.count("routed", &task.workflow, 1);
    tx.flow(By::Workflow, &task.workflow, Measure::In, 1);
    tx.flow(By::Dest, &task.destination, Measure::In, 1);
    if task.dead.is_some() {
        tx.flow(By::Source, source, Measure::Dead, 1);
        tx.flow(By::Workflow, &task.workflow, Measure::Dead, 1);
        tx.flow(By::Dest, &task.destination, Measure::Dead, 1);
    }
}

fn note_committed(
    tx: &mut Tx<'_>,
    candidate: &Candidate,
    scheme: &str,
    skew_ms: Option<i64>,
    reread: Option<&Reread>,
) -> Result<(), StoreError> {
    let event = &candidate.context.event;
    let tasks = candidate.tasks.iter().map(|t| (t.id, first_status(t))).collect::<Vec<_>>();
    timeline::append_committed(
        tx,
        &timeline::Committed {
            request_id: event.request_id,
            event_id: event.id,
            replay_id: reread.and_then(|r| r.replay_id),
            received_us: event.received_at.as_microsecond(),
            scheme,
            skew_ms,
            tasks: &tasks,
        },
    )
}

/// Gives the tasks that were committed leased to the workers.
fn hand_over(candidate: &mut Candidate, leased_at: Instant, after: &After) {
    let event_id = candidate.context.event.id;
    let has_needs = candidate.tasks.iter().any(|t| !t.needs.is_empty());
    for task in &mut candidate.tasks {
        if first_status(task) != TaskStatus::Running {
            continue;
        }
        let may_release = has_needs;
        let leased = LeasedTask {
            task: Task {
                id: task.id,
                event_id,
                workflow: Arc::clone(&task.workflow),
                step: Arc::clone(&task.step),
                destination: Arc::clone(&task.destination),
                attempt: 1,
                failures: 0,
                lost_starts: 0,
                since: candidate.context.event.received_at,
                may_release,
            },
            event: Arc::clone(&candidate.context),
            has_needs: false,
            start_on_record: false,
            check_when: false,
            is_replay: false,
            is_alone: task.line.is_none(),
            leased_at,
            slot: task.slot.take(),
        };
        // Nobody listens once the workers have drained; the lease then ends as any other.
        let _ = after.leased.send(leased);
    }
}

pub(super) struct RequestRow<'a> {
    pub(super) request: &'a Request,
    pub(super) source: &'a str,
    pub(super) provider: &'a str,
    pub(super) headers: &'a str,
    pub(super) target: &'a str,
    pub(super) status: &'a str,
    pub(super) events: i64,
    pub(super) first: Option<EventId>,
    pub(super) scheme: Option<&'a str>,
    pub(super) skew_ms: Option<i64>,
    pub(super) reason: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    pub(super) ended: Option<i64>,
}

pub(super) fn insert_request(tx: &mut Tx<'_>, row: &RequestRow<'_>) -> Result<(), StoreError> {
    let request = row.request;
    let body_id = tx.next_body();
    tx.run("insert into body (id, bytes) values ($1, $2)", params![body_id, &request.body[..]])?;
    let correlation = request.correlation_id();
    let own = correlation == CorrelationId::of(request.id);
    tx.run(
        "insert into request (id, source, provider, method, target, headers, body_id, body_bytes,
            correlation_id, received_us, status, events, first_event_id, scheme, skew_ms, reason,
            detail, ended_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        params![
            request.id.bytes(),
            row.source,
            row.provider,
            request.method.as_str(),
            row.target,
            row.headers,
            body_id,
            bytes_of(request),
            (!own).then(|| correlation.as_str()),
            request.received_at.as_microsecond(),
            row.status,
            row.events,
            row.first.as_ref().map(|f| f.bytes().as_slice()),
            row.scheme,
            row.skew_ms,
            row.reason,
            row.detail,
            row.ended,
        ],
    )?;
    Ok(())
}

pub(super) fn bytes_of(request: &Request) -> i64 {
    i64::try_from(request.body.len()).unwrap_or(i64::MAX)
}
