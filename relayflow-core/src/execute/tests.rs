//! The executor over the stub store: thrown away with it at the merge.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::testing;
use super::*;
use crate::expr::{Escape, Template};
use crate::ingest::InForce;
use crate::store::Abandoned;
use crate::store::stub::Row;
use crate::task::{AttemptStatus, TaskStatus};
use crate::workflow::{Action, HttpAction, Step, Workflow, Workflows};

fn current(url: &str) -> Arc<Current> {
    let step = Step {
        name: "crm".into(),
        needs: vec![],
        timeout: jiff::SignedDuration::from_secs(10),
        backoff: Backoff { first: jiff::SignedDuration::from_millis(50), ..Backoff::default() },
        action: Action::Http(HttpAction {
            method: http::Method::POST,
            url: Template::new(url, Escape::Url).unwrap(),
            headers: vec![],
            body: None,
            dynamic_host: false,
        }),
        destination: None,
    };
    let workflow =
        Workflow { name: "dunning".into(), on: vec![], when: None, steps: vec![Arc::new(step)] };
    let workflows = Arc::new(Workflows::new(vec![Arc::new(workflow)]));
    Arc::new(Current::new(InForce { workflows }))
}

/// Answers every request with 200, but every `fail`th with 503.
async fn sink(fail: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut buffer = vec![0; 65536];
                while let Ok(n) = stream.read(&mut buffer).await {
                    if n == 0 {
                        return;
                    }
                    let i = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                    let answer: &[u8] = if fail != 0 && i % fail == 0 {
                        b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"
                    } else {
                        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                    };
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

async fn until(what: &str, f: impl Fn() -> bool) {
    for _ in 0..2000 {
        if f() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}");
}

fn row(address: &str, now: Timestamp) -> Row {
    let mut task = testing::task();
    task.destination = address.into();
    task.attempt = 0;
    task.since = now;
    Row { task, status: TaskStatus::Queued, due: now, event: testing::event() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    let address = sink(7).await;
    let store = Store::stub();
    let now = store.clock().now();
    store.with(|inner| {
        for _ in 0..5000 {
            inner.rows.push_back(row(&address, now));
        }
        for _ in 0..1200 {
            inner.abandoned.push(Abandoned { task: testing::task(), start_on_record: false });
        }
    });
    let (sender, receiver) = mpsc::unbounded_channel();
    let executor = Executor::start(
        store.clone(),
        receiver,
        current(&format!("http://{address}/x")),
        EgressConfig { allow: vec!["127.0.0.0/8".parse().unwrap()] },
        Limits::default(),
    );
    executor.recovered().await;
    let lanes = executor.lanes();
    for _ in 0..3000 {
        let mut leased = testing::leased(0);
        leased.task.destination = address.as_str().into();
        leased.task.since = now;
        leased.slot = lanes.reserve(&address);
        store.with(|inner| {
            inner.rows.push_back(Row {
                task: leased.task.clone(),
                status: TaskStatus::Running,
                due: now,
                event: Arc::clone(&leased.event),
            })
        });
        sender.send(leased).unwrap();
    }
    let began = std::time::Instant::now();
    until("all ok", || {
        store.with(|i| i.rows.iter().filter(|r| r.status == TaskStatus::Ok).count() > 7900)
    })
    .await;
    println!("{:?} {:?}", began.elapsed(), lanes.state());
    store.with(|i| {
        let lost = i.settled.iter().filter(|s| s.status == AttemptStatus::Lost).count();
        let failed = i.settled.iter().filter(|s| s.status == AttemptStatus::Failed).count();
        println!(
            "lost {lost} failed {failed} settled {} {:?}",
            i.settled.len(),
            i.settled.iter().find(|s| s.status == AttemptStatus::Failed)
        );
        assert_eq!(lost, 1200);
    });
    executor.drain(Duration::from_secs(1)).await;
}

fn limits() -> EgressConfig {
    EgressConfig { allow: vec!["127.0.0.0/8".parse().unwrap()] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_and_back() {
    // A destination that is down for a while: breaker opens, then comes back at the probe.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let store = Store::stub();
    let now = store.clock().now();
    store.with(|inner| {
        for _ in 0..3000 {
            inner.rows.push_back(row(&address, now));
        }
    });
    let (_sender, receiver) = mpsc::unbounded_channel();
    let executor = Executor::start(
        store.clone(),
        receiver,
        current(&format!("http://{address}/x")),
        limits(),
        Limits::default(),
    );
    let lanes = executor.lanes();
    until("open", || lanes.state().first().is_some_and(|l| l.breaker.as_str() == "open")).await;
    let tried = store.with(|i| i.settled.len());
    println!("tried {tried} {:?}", lanes.state());
    assert!(tried < 60);
    let listener = TcpListener::bind(&address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = vec![0; 65536];
                while let Ok(n) = stream.read(&mut buffer).await {
                    if n == 0 {
                        return;
                    }
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
            });
        }
    });
    let began = std::time::Instant::now();
    for _ in 0..8000 {
        if store.with(|i| i.rows.iter().all(|r| r.status == TaskStatus::Ok)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "{:?} {:?} ok {}",
        began.elapsed(),
        lanes.state(),
        store.with(|i| i.rows.iter().filter(|r| r.status == TaskStatus::Ok).count())
    );
    executor.drain(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_hung() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let store = Store::stub();
    let now = store.clock().now();
    store.with(|inner| {
        for _ in 0..3000 {
            inner.rows.push_back(row(&address, now));
        }
    });
    let (_sender, receiver) = mpsc::unbounded_channel();
    let executor = Executor::start(
        store.clone(),
        receiver,
        current(&format!("http://{address}/x")),
        limits(),
        Limits::default(),
    );
    let lanes = executor.lanes();
    until("running", || lanes.state().first().is_some_and(|l| l.running == 16 && l.waiting > 400))
        .await;
    let began = std::time::Instant::now();
    executor.drain(Duration::from_millis(300)).await;
    println!("{:?} {:?}", began.elapsed(), lanes.state());
    store.with(|i| {
        assert!(i.rows.iter().all(|r| r.status == TaskStatus::Queued));
        assert!(i.settled.iter().all(|s| s.status == AttemptStatus::Interrupted));
        println!("{}", i.settled.len());
    });
}
