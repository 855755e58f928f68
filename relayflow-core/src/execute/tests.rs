//! The executor over a real store and real sockets.

use jiff::SignedDuration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::testing::{self, Destination};
use super::*;
use crate::clock::Clock;
use crate::event::{IntegrationEvent, Payload};
use crate::expr::{Escape, Template};
use crate::id::{TaskId, WorkerId};
use crate::in_force::InForce;
use crate::request::Request;
use crate::store::{NewEvent, NewRequest, OpenOptions};
use crate::task::{NewTask, TaskStatus};
use crate::workflow::{Action, HttpAction, Step, Workflow, Workflows};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A store in a folder of its own, an executor over it, and one step that calls `address`.
struct House {
    store: Store,
    executor: Executor,
    address: String,
    dir: tempfile::TempDir,
}

impl House {
    async fn new(address: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::over(dir, address).await
    }

    async fn over(dir: tempfile::TempDir, address: &str) -> Self {
        let url = format!("sqlite:{}", dir.path().join("test.db").display());
        let options = OpenOptions { url, worker: WorkerId::next(), clock: Clock::Wall };
        let opened = Store::open(options).await.unwrap();
        let egress = EgressConfig { allow: vec!["127.0.0.0/8".parse().unwrap()] };
        let store = opened.store;
        let limits = Limits { fresh_max: 20, claimed_max: 40, ..Limits::default() };
        let current = current(address);
        let executor = Executor::start(store.clone(), opened.leased, current, egress, limits);
        executor.recovered().await;
        Self { store, executor, address: address.to_owned(), dir }
    }

    /// Commits `count` events with a task each, leased where there is room.
    async fn commit(&self, count: usize) {
        self.commit_to(count, "crm", &self.address).await;
    }

    async fn commit_to(&self, count: usize, step: &str, destination: &str) {
        let lanes = self.executor.lanes();
        for _ in 0..count {
            let mut event = Arc::into_inner(testing::event()).unwrap().event;
            event.external_id = event.id.to_string();
            event.received_at = self.store.clock().now();
            let task = NewTask {
                id: TaskId::next(),
                workflow: "dunning".into(),
                step: step.into(),
                destination: destination.into(),
                needs: Vec::new(),
                line: None,
                dead: None,
                slot: lanes.reserve(destination),
            };
            self.store.commit(request(event, task)).await.unwrap();
        }
    }

    /// Waits until `count` tasks have this status.
    async fn has(&self, count: i64, status: TaskStatus) {
        let mut found = 0;
        for _ in 0..3000 {
            found = self.store.counters().await.unwrap().tasks(status);
            if found == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{found} tasks are {status}, not {count}");
    }

    /// Waits until as many calls are in flight as may be.
    async fn is_full(&self) {
        let most = Limits::default().concurrency;
        let is_full = || self.executor.lanes().state().iter().any(|lane| lane.running == most);
        while !is_full() {
            tokio::task::yield_now().await;
        }
    }

    /// Ends as a killed process does: nothing more is written.
    async fn die(self) -> tempfile::TempDir {
        self.store.close().await.unwrap();
        self.executor.drain(Duration::ZERO).await;
        self.dir
    }
}

fn current(address: &str) -> Arc<Current> {
    let http = HttpAction {
        method: http::Method::POST,
        url: Template::new(&format!("http://{address}/hook"), Escape::Url).unwrap(),
        headers: Vec::new(),
        body: None,
        dynamic_host: false,
    };
    let step = Step {
        name: "crm".into(),
        needs: Vec::new(),
        timeout: SignedDuration::from_secs(10),
        backoff: Backoff { first: SignedDuration::from_millis(20), ..Backoff::default() },
        action: Action::Http(http),
        dedupes: None,
        order: None,
        destination: Some(address.into()),
    };
    let steps = vec![Arc::new(step)];
    let workflow = Workflow { name: "dunning".into(), on: Vec::new(), when: None, steps };
    let workflows = Arc::new(Workflows::new(vec![Arc::new(workflow)]));
    Arc::new(Current::new(InForce {
        catalog: Arc::new(crate::provider::Catalog::built_in()),
        sources: std::collections::HashMap::new(),
        workflows,
    }))
}

fn request(event: IntegrationEvent, task: NewTask) -> NewRequest {
    let Payload::Slice { body, .. } = &event.payload else { panic!("it is a slice") };
    let request = Request {
        id: event.request_id,
        method: http::Method::POST,
        target: "/in/stripe".to_owned(),
        url: "http://127.0.0.1/in/stripe".to_owned(),
        headers: http::HeaderMap::new(),
        body: body.clone(),
        received_at: event.received_at,
    };
    let derived_window = SignedDuration::from_hours(24);
    NewRequest {
        request,
        source: Arc::clone(&event.source),
        provider: Arc::clone(&event.provider),
        headers: Vec::new(),
        kept_target: "/in/stripe".to_owned(),
        scheme: "stripe hmac-sha256".into(),
        skew_ms: None,
        events: vec![NewEvent { event, tasks: vec![task], derived_window }],
        unreadable: None,
        reread: None,
        fetched: None,
    }
}

/// A destination that takes every request and answers none.
async fn hung() -> Destination {
    Destination::with(|stream| async move {
        std::future::pending::<()>().await;
        stream
    })
    .await
}

/// The idempotency key of each request, in order.
fn keys(destination: &Destination) -> Vec<String> {
    let key = |request: &String| {
        let key = request.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
        key.unwrap().to_owned()
    };
    destination.requests().iter().map(key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_runs_once_whether_it_was_leased_or_claimed() {
    let destination = Destination::answering(OK).await;
    let house = House::new(&destination.address).await;
    house.commit(300).await;
    house.has(300, TaskStatus::Ok).await;
    let mut keys = keys(&destination);
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), destination.requests().len()), (300, 300));
    house.executor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_tried_again_under_the_same_key() {
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let destination = Destination::with(move |mut stream| {
        let is_first = seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        async move {
            let failure = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
            let answer = if is_first { failure } else { OK };
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        }
    })
    .await;
    let house = House::new(&destination.address).await;
    house.commit(1).await;
    house.has(1, TaskStatus::Ok).await;
    let keys = keys(&destination);
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    assert!(destination.requests()[1].contains("relayflow-attempt: 2\r\n"));
    house.executor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_back_what_does_not_end_and_counts_no_failure() {
    let destination = hung().await;
    let house = House::new(&destination.address).await;
    house.commit(100).await;
    house.is_full().await;
    let began = std::time::Instant::now();
    house.executor.drain(Duration::from_millis(10)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let counters = house.store.counters().await.unwrap();
    assert_eq!(counters.tasks(TaskStatus::Queued), 100);
    assert_eq!(counters.tasks(TaskStatus::Running), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_held_runs_under_the_next_one() {
    let destination = hung().await;
    let house = House::new(&destination.address).await;
    house.commit(100).await;
    house.is_full().await;
    let dir = house.die().await;

    // The config has changed its host meanwhile; the old tasks go there, too.
    let mended = Destination::answering(OK).await;
    let house = House::over(dir, &mended.address).await;
    house.has(100, TaskStatus::Ok).await;
    assert_eq!(mended.requests().len(), 100);
    house.executor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_step_is_gone_is_a_dead_letter() {
    let destination = Destination::answering(OK).await;
    let house = House::new(&destination.address).await;
    house.commit_to(1, "gone", &destination.address).await;
    house.has(1, TaskStatus::Dead).await;
    assert_eq!(destination.requests().len(), 0);
    house.executor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_down_costs_few_attempts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let house = House::new(&address).await;
    house.commit(100).await;
    let is_open = || house.executor.lanes().state().iter().any(|l| l.breaker.as_str() == "open");
    while !is_open() {
        tokio::task::yield_now().await;
    }
    assert!(house.executor.lanes().reserve(&address).is_none());
    assert!(house.executor.lanes().reserve("other.example.com").is_some());
    // Those that were in flight when it opened may still end.
    let most = 20 + i64::try_from(Limits::default().concurrency).unwrap();
    let retrying = house.store.counters().await.unwrap().tasks(TaskStatus::Retrying);
    assert!(retrying <= most, "{retrying}");
    house.executor.drain(Duration::from_secs(1)).await;
}
