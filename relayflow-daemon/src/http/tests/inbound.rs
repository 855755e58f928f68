//! The public door, as far as it goes without a vendor's signature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relayflow_core::config::IngestConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{ask, daemon, one, talk};
use crate::Running;
use crate::http::inbound::Inbound;
use crate::http::server::{Limits, Server, Serving};

/// A second door to the same daemon, with limits of its own.
async fn door(
    running: &Running,
    change: impl FnOnce(&mut IngestConfig),
    body_time: Duration,
) -> (SocketAddr, Serving) {
    let mut config = running.app.config().ingest.clone();
    change(&mut config);
    let mut inbound = Inbound::new(Arc::clone(&running.app), &config);
    inbound.body_time = body_time;
    let server = Server {
        handler: Arc::new(inbound),
        limits: Limits::new(100, None),
        tls: None,
        metrics: Arc::clone(&running.app.metrics),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), server.start(listener))
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let (running, _dir) = daemon().await;
    let (addr, _serving) = door(&running, |_| {}, Duration::from_millis(50)).await;
    for head in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf"] {
        let request = format!("POST /in/test HTTP/1.1\r\nHost: x\r\n{head}");
        let answers = talk(addr, &[request.as_bytes()]).await;
        assert_eq!((answers[0].status, &*answers[0].code()), (408, "usage.timeout"));
    }
}

#[tokio::test]
async fn what_there_is_no_room_for_is_sent_away_before_its_body_is_read() {
    let (running, _dir) = daemon().await;
    let long = Duration::from_secs(60);
    let (addr, _serving) = door(&running, |ingest| ingest.bodies_bytes_max = 10, long).await;
    let head = "POST /in/test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    for rest in ["Content-Length: 11\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world"]
    {
        let answers = talk(addr, &[format!("{head}{rest}").as_bytes()]).await;
        assert_eq!(answers[0].code(), "unreachable.overloaded");
        assert_eq!(answers[0].header("retry-after"), Some("1"));
    }

    let (addr, _serving) = door(&running, |ingest| ingest.requests_max = 1, long).await;
    let mut first = TcpStream::connect(addr).await.unwrap();
    let waiting = format!("{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    first.write_all(waiting.as_bytes()).await.unwrap();
    // Its body is waited for from here on.
    let mut bytes = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut first, &mut bytes).await.unwrap();
    let second = talk(addr, &[format!("{head}Content-Length: 2\r\n\r\n").as_bytes()]).await;
    assert_eq!(second[0].code(), "unreachable.overloaded");
    assert_ne!(ask(&mut first, b"{}").await.status, 503);
    let third = talk(addr, &[format!("{head}Content-Length: 2\r\n\r\n{{}}").as_bytes()]).await;
    assert_ne!(third[0].status, 503);
}

#[tokio::test]
async fn what_is_no_request_of_a_source_is_refused_before_its_body_is_read() {
    let (running, _dir) = daemon().await;
    let post = |path: &str, fields: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n\r\n")
    };
    for (request, status, code) in [
        (post("/in/nobody", "Content-Length: 9"), 404, "not_found.source"),
        (post("/in/", "Content-Length: 9"), 404, "not_found.source"),
        (post("/in/test/x", "Content-Length: 9"), 404, "not_found.route"),
        (post("/in/%74est", "Content-Length: 9"), 404, "not_found.source"),
        (post("/", "Content-Length: 9"), 404, "not_found.route"),
        (post("/api/v1/events", "Content-Length: 9"), 404, "not_found.route"),
        (post("/in/test", "Content-Length: 1048577"), 413, "usage.body_too_large"),
        (post("/in/test", "Content-Length: 9\r\nContent-Encoding: gzip"), 415, "usage.media_type"),
        (post("/in/test", "X: no length"), 411, "usage.length_required"),
    ] {
        let answers = talk(running.ingest_addr, &[request.as_bytes()]).await;
        assert_eq!((answers[0].status, &*answers[0].code()), (status, code), "{request}");
    }

    let patch = b"PATCH /in/test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = talk(running.ingest_addr, &[patch]).await;
    assert_eq!((answers[0].status, &*answers[0].code()), (405, "usage.method"));
    assert!(answers[0].header("allow").unwrap().contains("POST"));
}

#[tokio::test]
async fn a_body_that_grows_beyond_its_limit_is_refused() {
    let (running, _dir) = daemon().await;
    let mut stream = TcpStream::connect(running.ingest_addr).await.unwrap();
    let head = b"POST /in/test HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..17 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let answer = one(&mut stream).await;
    assert_eq!((answer.status, &*answer.code()), (413, "usage.body_too_large"));
}

#[tokio::test]
async fn who_closes_its_end_still_gets_its_answer() {
    let (running, _dir) = daemon().await;
    let mut stream = TcpStream::connect(running.ingest_addr).await.unwrap();
    let request = b"POST /in/test HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_ne!(one(&mut stream).await.status, 0);
}

#[tokio::test]
async fn the_door_says_whether_it_lives() {
    let (running, _dir) = daemon().await;
    let mut stream = TcpStream::connect(running.ingest_addr).await.unwrap();
    let answer = ask(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    let answer = ask(&mut stream, b"DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}
