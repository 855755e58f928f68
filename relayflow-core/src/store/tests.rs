//! The store, met from inside the crate: each test is written once and runs on each database.

mod charts;
mod commits;
mod files;
mod leases;
mod lines;
mod operating;
mod replays;
mod search;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::clock::from_micros;
use crate::event::Payload;
use crate::id::{TaskId, WorkerId};
use crate::request::CorrelationId;
use crate::task::{DeadReason, TaskStatus};
use crate::timeline::{Entry, What};

/// Makes each test one per database, and holds afterwards what must hold after anything.
macro_rules! on_each_database {
    ($($(#[$doc:meta])* async fn $name:ident($house:ident: House) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$doc])*
            async fn check($house: &House) $body

            #[tokio::test]
            async fn sqlite() {
                let house = House::sqlite().await;
                check(&house).await;
                house.is_sound().await;
            }
        }
    )*};
}
use on_each_database;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const DESTINATION: &str = "crm.example.com";

fn start() -> Timestamp {
    from_micros(1_767_607_200_000_000)
}

/// A store of its own, and a clock that stands still.
struct House {
    url: String,
    clock: Clock,
    store: Mutex<Option<Store>>,
    leased: Mutex<UnboundedReceiver<LeasedTask>>,
    dir: tempfile::TempDir,
}

impl House {
    async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("test.db").display());
        let clock = Clock::manual(start());
        let opened = open(&url, &clock).await.unwrap();
        let (store, leased) = (Mutex::new(Some(opened.store)), Mutex::new(opened.leased));
        Self { url, clock, store, leased, dir }
    }

    fn store(&self) -> Store {
        self.store.lock().unwrap().clone().unwrap()
    }

    /// As after the end of this process and the start of the next, which is another worker.
    async fn reopen(&self) {
        self.store().close().await.unwrap();
        *self.store.lock().unwrap() = None;
        let opened = open(&self.url, &self.clock).await.unwrap();
        *self.store.lock().unwrap() = Some(opened.store);
        *self.leased.lock().unwrap() = opened.leased;
    }

    fn wait(&self, duration: SignedDuration) {
        self.clock.set(self.clock.now() + duration);
    }

    async fn commit(&self, events: Vec<NewEvent>) -> Receipt {
        self.store().commit(request(&self.clock, events)).await.unwrap()
    }

    /// Commits one new event with these tasks.
    async fn commit_tasks(&self, tasks: Vec<NewTask>) -> EventId {
        let id = EventId::next().to_string();
        let receipt = self.commit(vec![NewEvent { tasks, ..event("order.paid", &id, "{}") }]).await;
        receipt.events[0].0
    }

    /// The next task that a commit leased to us.
    fn leased(&self) -> Option<LeasedTask> {
        self.leased.lock().unwrap().try_recv().ok()
    }

    async fn claim(&self) -> Vec<LeasedTask> {
        self.store().claim(DESTINATION, 100).await.unwrap()
    }

    async fn claim_one(&self) -> Task {
        let mut claimed = self.claim().await;
        assert_eq!(claimed.len(), 1);
        claimed.remove(0).task
    }

    /// Settles as a worker does whose attempt ended so.
    async fn settle(&self, task: &Task, status: AttemptStatus, transition: Transition) {
        let now = self.clock.now();
        let is_well = matches!(status, AttemptStatus::Ok | AttemptStatus::Interrupted);
        self.store().settle(Settlement {
            task: task.clone(),
            about: None,
            status,
            transition,
            started_at: now,
            ended_at: now,
            http_status: None,
            error: (!is_well).then(|| "422 no contact 17".to_owned()),
            response: None,
        });
        self.store().flush().await.unwrap();
    }

    async fn succeed(&self, task: &Task) {
        self.settle(task, AttemptStatus::Ok, Transition::Complete).await;
    }

    async fn die(&self, task: &Task) {
        let reason = DeadReason::Unretryable;
        self.settle(task, AttemptStatus::Rejected, Transition::DeadLetter(reason)).await;
    }

    async fn task(&self, id: TaskId) -> TaskRow {
        self.store().task(id).await.unwrap().unwrap()
    }

    async fn status(&self, id: TaskId) -> TaskStatus {
        self.task(id).await.status
    }

    async fn event_status(&self, id: EventId) -> TaskStatus {
        self.store().event(id).await.unwrap().unwrap().status
    }

    async fn timeline(&self, id: EventId) -> Vec<Entry> {
        self.store().timeline_of(Of::Event(id), 1000).await.unwrap()
    }

    async fn words(&self, id: EventId) -> Vec<&'static str> {
        self.timeline(id).await.iter().map(|e| e.what.as_str()).collect()
    }

    async fn count(&self, name: &str) -> i64 {
        self.store().counters().await.unwrap().total(name)
    }

    /// Every row of a query, past the store: its columns as text, joined by spaces.
    fn rows(&self, sql: &str) -> Vec<String> {
        let path = sqlite_path(&self.url).unwrap();
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |r: &rusqlite::Row<'_>| {
            let value = |i| {
                let value = r.get_ref(i)?;
                Ok(match value.as_i64() {
                    Ok(number) => number.to_string(),
                    Err(_) => value.as_str()?.to_owned(),
                })
            };
            Ok((0..columns).map(value).collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }

    /// What holds after anything: counters are what a scan finds, an event's counts are those of its
    /// tasks, attempts are contiguous, and the last that the timeline says of a task is where it is.
    async fn is_sound(&self) {
        let Some(store) = self.store.lock().unwrap().clone() else { return };
        let counters = store.counters().await.unwrap();
        let scan = |sql| self.rows(sql);
        let mut kept = Vec::new();
        for destination in counters.destinations() {
            for status in TaskStatus::ALL {
                let count = counters.tasks_of(&destination, *status);
                if count != 0 {
                    kept.push(format!("{destination} {status} {count}"));
                }
            }
        }
        kept.sort();
        let tasks = scan(
            "select destination, status, count(*) from task group by 1, 2
             order by destination || ' ' || status",
        );
        assert_eq!(kept, tasks, "tasks by destination and status");
        for (name, sql) in [
            ("events", "select count(*) from event"),
            ("requests", "select count(*) from request where status <> 'rejected'"),
            ("dead_requests", "select count(*) from request where status = 'dead'"),
            ("ring", "select count(*) from request where status = 'rejected'"),
            (
                "ring_bytes",
                "select coalesce(sum(body_bytes), 0) from request where status = 'rejected'",
            ),
            ("replay.running", "select count(*) from replay where status = 'running'"),
            ("replay.paused", "select count(*) from replay where status = 'paused'"),
            ("replay.done", "select count(*) from replay where status = 'done'"),
            ("replay.cancelled", "select count(*) from replay where status = 'cancelled'"),
        ] {
            assert_eq!(scan(sql), [counters.total(name).to_string()], "{name}");
        }
        let differ = scan(
            "select hex(e.id) from event e where (e.queued, e.running, e.retrying, e.ok, e.dead,
                e.discarded, e.skipped, e.attempts) <> (select
                count(*) filter (where status = 'queued'),
                count(*) filter (where status = 'running'),
                count(*) filter (where status = 'retrying'), count(*) filter (where status = 'ok'),
                count(*) filter (where status = 'dead'),
                count(*) filter (where status = 'discarded'),
                count(*) filter (where status = 'skipped'), coalesce(max(attempt), 0)
                from task t where t.event_id = e.id)",
        );
        assert!(differ.is_empty(), "events whose counts are not their tasks': {differ:?}");
        let none: [&str; 0] = [];
        assert_eq!(scan("select hex(id) from task where failures > attempt"), none);
        assert_eq!(
            scan("select hex(task_id) from attempt group by 1 having max(attempt) > count(*)"),
            none,
            "attempts have no gap"
        );
        let crowded = "select key from task_line where is_open = 1 and is_held = 0
            group by workflow, step, key having count(*) > 1";
        assert_eq!(scan(crowded), none, "two of a line may run");
        let still = "select key from task_line where is_open = 1
            group by workflow, step, key having sum(is_held = 0) = 0";
        assert_eq!(scan(still), none, "a line stands still");
        let orphans = "select hex(id) from task where event_id not in (select id from event)";
        assert_eq!(scan(orphans), none);
        self.timeline_agrees(&store).await;
    }

    async fn timeline_agrees(&self, store: &Store) {
        let mut last = BTreeMap::new();
        let mut after = 0;
        loop {
            let entries = store.timeline_after(after, 500).await.unwrap();
            let Some(end) = entries.last() else { break };
            after = end.seq;
            for entry in entries {
                let Some(task) = entry.task_id else { continue };
                let is_back = matches!(entry.what, What::Interrupted | What::Lost);
                let status = if is_back {
                    Some(TaskStatus::Queued)
                } else {
                    TaskStatus::from_word(entry.what.as_str())
                };
                last.extend(status.map(|status| (task, status)));
            }
        }
        for (id, status) in last {
            assert_eq!(self.status(id).await, status, "the timeline's last word on {id}");
        }
    }
}

async fn open(url: &str, clock: &Clock) -> Result<Opened, StoreError> {
    let worker = WorkerId::next();
    Store::open(OpenOptions { url: url.to_owned(), worker, clock: clock.clone() }).await
}

/// A request with these events, now.
fn request(clock: &Clock, mut events: Vec<NewEvent>) -> NewRequest {
    let id = RequestId::next();
    let mut body = Vec::new();
    for new in &mut events {
        let event = &mut new.event;
        event.request_id = id;
        event.correlation_id = CorrelationId::of(id);
        event.received_at = clock.now();
        body.extend_from_slice(event.payload.json().as_bytes());
    }
    let body = Bytes::from(body);
    let mut from = 0;
    for new in &mut events {
        let to = from + new.event.payload.json().len();
        new.event.payload = Payload::Slice { body: body.clone(), from, to };
        from = to;
    }
    NewRequest {
        request: inbound(id, clock, body),
        source: "shop".into(),
        provider: "acme".into(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        kept_target: "/in/shop".to_owned(),
        scheme: "acme hmac-sha256".into(),
        skew_ms: Some(12),
        events,
        unreadable: None,
        reread: None,
        fetched: None,
    }
}

fn inbound(id: RequestId, clock: &Clock, body: Bytes) -> Request {
    Request {
        id,
        method: http::Method::POST,
        target: "/in/shop".to_owned(),
        url: "http://127.0.0.1/in/shop".to_owned(),
        headers: http::HeaderMap::new(),
        body,
        received_at: clock.now(),
    }
}

/// An event without tasks; its request fills in what it knows.
fn event(event_type: &str, external_id: &str, payload: &str) -> NewEvent {
    let request_id = RequestId::next();
    let event = IntegrationEvent {
        id: EventId::next(),
        request_id,
        source: "shop".into(),
        provider: "acme".into(),
        event_type: event_type.to_owned(),
        kind: None,
        external_id: external_id.to_owned(),
        id_is_derived: false,
        signed_digest: None,
        subject: None,
        occurred_at: start(),
        received_at: start(),
        correlation_id: CorrelationId::of(request_id),
        attributes: "{}".to_owned(),
        payload: Payload::Converted(payload.to_owned()),
        contract: "acme@1".into(),
    };
    NewEvent { event, tasks: Vec::new(), derived_window: SignedDuration::from_hours(24) }
}

/// A step of one workflow that needs others of it.
fn step(name: &str, needs: &[&str]) -> NewTask {
    NewTask {
        id: TaskId::next(),
        workflow: "orders".into(),
        step: name.into(),
        destination: DESTINATION.into(),
        needs: needs.iter().map(|need| (*need).into()).collect(),
        line: None,
        dead: None,
        slot: None,
    }
}

/// A step that has a place with a worker.
fn placed(name: &str) -> NewTask {
    NewTask { slot: Slot::take(&Arc::new(AtomicUsize::new(0)), 1), ..step(name, &[]) }
}
