//! The public door, as far as it goes without a vendor's signature.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{ask, daemon, one, talk};

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
