//! What a connection may do, whatever answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{PATIENCE, ask, one, talk};
use crate::http::body::Body;
use crate::http::guard::Times;
use crate::http::server::{Handler, Limits, Peer, Server, Serving};
use crate::metrics::Metrics;

/// Answers with the target and the body's length.
struct Echo;

impl Handler for Echo {
    async fn answer(&self, request: Request<Incoming>, _: &Peer) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match parts.uri.path() {
            "/panic" => panic!("as asked"),
            "/unread" => return Response::new(b"unread".to_vec().into()),
            _ => {}
        }
        let length = body.collect().await.map(|body| body.to_bytes().len());
        let text = length.map_or("cut".to_owned(), |n| format!("{} {n}", parts.uri));
        Response::new(text.into_bytes().into())
    }
}

fn limits() -> Limits {
    Limits::new(1024, Some(64))
}

/// Times so short that a test sees them pass, and so different that it sees which.
fn short() -> Limits {
    let times = Times {
        head: Duration::from_millis(500),
        idle: Duration::from_secs(1),
        stall: Duration::from_millis(500),
        leave: Duration::from_millis(200),
    };
    Limits { times, ..limits() }
}

async fn start(limits: Limits) -> (SocketAddr, Serving) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::default());
    let server = Server { handler: Arc::new(Echo), limits, tls: None, metrics };
    (addr, server.start(listener))
}

/// One request in the given pieces, and what it is answered.
async fn check(pieces: &[&[u8]], status: u16, code: &str) {
    let (addr, _serving) = start(limits()).await;
    let shown = String::from_utf8_lossy(&pieces.concat()).chars().take(90).collect::<String>();
    let answers = talk(addr, pieces).await;
    assert_eq!(answers.len(), 1, "{shown:?}");
    assert_eq!((answers[0].status, &*answers[0].code()), (status, code), "{shown:?}");
}

#[tokio::test]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    for fields in [
        "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
        "Host: x\r\nContent-Length: 5\r\nContent-Length: 5",
        "Host: x\r\nContent-Length: 5\r\nContent-Length: 6",
        "Host: x\r\nContent-Length: 5, 5",
        "Host: x\r\nContent-Length: +5",
        "Host: x\r\nContent-Length: -5",
        "Host: x\r\nContent-Length: 0x5",
        "Host: x\r\nContent-Length:",
        "Host: x\r\nContent-Length: 99999999999999999999",
        "Host: x\r\nContent-Length : 5",
        "Host: x\r\nTransfer-Encoding: gzip",
        "Host: x\r\nTransfer-Encoding: gzip, chunked",
        "Host: x\r\nTransfer-Encoding: chunked, identity",
        "Host: x\r\nTransfer-Encoding: xchunked",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Host: x\r\nTransfer-Encoding:\u{b}chunked",
        "Host: x\r\nX: a\r\n b",
        "Host: x\nX: a",
        "Host: x\r\nX: a\rb",
        "Host: x\r\nX: a\0b",
        "Host: x\r\nHost: y",
        "X: no host",
        ": no name\r\nHost: x",
        "no colon\r\nHost: x",
    ] {
        let request = format!("POST /x HTTP/1.1\r\n{fields}\r\n\r\nhello");
        check(&[request.as_bytes()], 400, "usage.request").await;
    }
    for head in [
        "GARBAGE\r\n\r\n",
        "GET /x HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /x\r\nHost: x\r\n\r\n",
        "GET  /x HTTP/1.1\r\nHost: x\r\n\r\n",
        "G\u{7f}T /x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\n\n",
    ] {
        check(&[head.as_bytes()], 400, "usage.request").await;
    }
}

#[tokio::test]
async fn heads_are_counted_however_they_are_split() {
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(64));
    check(&[many.as_bytes()], 431, "usage.headers_too_large").await;

    let one = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(40_000));
    check(&[one.as_bytes()], 431, "usage.headers_too_large").await;
    let pieces: Vec<_> = one.as_bytes().chunks(1000).collect();
    check(&pieces, 431, "usage.headers_too_large").await;
    // Just over, and whole within one read.
    let over = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(32 * 1024 - 30));
    assert!(32 * 1024 < over.len());
    check(&[over.as_bytes()], 431, "usage.headers_too_large").await;

    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(8 * 1024));
    check(&[long.as_bytes()], 414, "usage.uri_too_long").await;
    let endless = vec![b'a'; 64 * 1024];
    check(&[b"GET /", &endless], 414, "usage.uri_too_long").await;

    // All that is allowed at once.
    let (addr, _serving) = start(limits()).await;
    let target = format!("/{}", "a".repeat(8 * 1024 - 1));
    let fields = "A: b\r\n".repeat(61);
    let filler = "c".repeat(32 * 1024 - target.len() - fields.len() - 60);
    let most = format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}F: {filler}\r\n\r\n"
    );
    let answers = talk(addr, &most.as_bytes().chunks(777).collect::<Vec<_>>()).await;
    assert_eq!((answers[0].status, answers[0].body.len()), (200, target.len() + 2));
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order() {
    let (addr, _serving) = start(limits()).await;
    let all = b"\r\n\r\nPOST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello\
        GET /2 HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
        GET /4 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";
    for size in [1, 7, 64, all.len()] {
        let answers = talk(addr, &all.chunks(size).collect::<Vec<_>>()).await;
        let bodies: Vec<_> = answers.iter().take(3).map(|answer| &*answer.body).collect();
        assert_eq!(bodies, ["/1 5", "/2 0", "/3 3"], "in pieces of {size}");
        assert_eq!(answers[3].code(), "usage.request");
    }
}

#[tokio::test]
async fn a_chunked_request_is_the_last_of_its_connection() {
    let (addr, _serving) = start(limits()).await;
    let all = b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n\
        5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: x\r\n\r\n\
        GET /2 HTTP/1.1\r\nHost: x\r\n\r\n";
    for size in [1, 10, all.len()] {
        let answers = talk(addr, &all.chunks(size).collect::<Vec<_>>()).await;
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].body, "/1 6");
        assert_eq!(answers[0].header("connection"), Some("close"));
    }
    let bad = b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    assert_eq!(talk(addr, &[bad]).await[0].body, "cut");
}

#[tokio::test]
async fn a_body_is_asked_for_only_where_it_is_wanted() {
    let (addr, _serving) = start(limits()).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut bytes = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(ask(&mut stream, b"ok").await.body, "/x 2");

    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = String::from_utf8_lossy(head).replace("/x", "/unread");
    assert_eq!(ask(&mut stream, head.as_bytes()).await.body, "unread");
}

#[tokio::test]
async fn an_answer_before_the_body_is_read_is_not_lost() {
    let (addr, _serving) = start(limits()).await;
    let head = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n";
    let body = vec![b'x'; 20_000_000];
    let answers = talk(addr, &[head, &body]).await;
    assert_eq!(answers[0].body, "unread");
}

#[tokio::test]
async fn a_small_body_that_nobody_reads_does_not_end_the_connection() {
    let (addr, _serving) = start(limits()).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let unread = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    for _ in 0..3 {
        let answer = ask(&mut stream, unread).await;
        assert_eq!((&*answer.body, answer.header("connection")), ("unread", None));
    }
}

#[tokio::test]
async fn slow_heads_and_idle_connections_end() {
    let (addr, _serving) = start(short()).await;
    let begun = Instant::now();
    let answers = talk(addr, &[b"GET / HT"]).await;
    assert_eq!((answers[0].status, &*answers[0].code()), (408, "usage.timeout"));
    assert!(begun.elapsed() < Duration::from_secs(10));

    let begun = Instant::now();
    assert_eq!(talk(addr, &[b""]).await.len(), 0);
    let idle = begun.elapsed();
    assert!(short().times.idle <= idle, "{idle:?}");

    // After an answer too, whether or not the close of the other end is looked out for.
    for half_close in [false, true] {
        let (addr, _serving) = start(Limits { half_close, ..short() }).await;
        let answers = talk(addr, &[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]).await;
        assert_eq!((answers.len(), answers[0].status), (1, 200));
    }

    // The time for a head begins anew with each.
    let answers = talk(addr, &[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /2"]).await;
    assert_eq!((answers[0].status, answers[1].status), (200, 408));
}

#[tokio::test]
async fn a_connection_is_told_before_it_is_ended() {
    let limits = Limits { connection: Duration::from_millis(50), ..limits() };
    let (addr, _serving) = start(limits).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    // It goes on for as long as it is in time, and then says that it is over.
    let mut answer = ask(&mut stream, request).await;
    while answer.header("connection").is_none() {
        answer = ask(&mut stream, request).await;
    }
    assert_eq!(answer.header("connection"), Some("close"));
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away() {
    let (addr, _serving) = start(Limits { connections_max: 2, ..limits() }).await;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = TcpStream::connect(addr).await.unwrap();
    assert_eq!(ask(&mut first, request).await.status, 200);
    let mut second = TcpStream::connect(addr).await.unwrap();
    assert_eq!(ask(&mut second, request).await.status, 200);

    let mut third = TcpStream::connect(addr).await.unwrap();
    let refused = one(&mut third).await;
    assert_eq!((refused.status, &*refused.code()), (503, "unreachable.overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));

    drop(first);
    // Its place is free once its end was seen.
    let until = Instant::now() + PATIENCE;
    loop {
        let mut next = TcpStream::connect(addr).await.unwrap();
        let _ = next.write_all(request).await;
        let mut bytes = [0; 12];
        if next.read_exact(&mut bytes).await.is_ok() && bytes.ends_with(b"200") {
            break;
        }
        assert!(Instant::now() < until, "the place was not given back");
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_next_request_is_served() {
    let (addr, _serving) = start(limits()).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let answer = ask(&mut stream, b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.code()), (500, "error.internal"));
    assert_eq!(ask(&mut stream, b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn a_stop_closes_what_is_idle_and_finishes_what_is_not() {
    let (addr, serving) = start(limits()).await;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    ask(&mut idle, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut at_work = TcpStream::connect(addr).await.unwrap();
    let head = b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    at_work.write_all(head).await.unwrap();
    let mut bytes = [0; 25];
    timeout(PATIENCE, at_work.read_exact(&mut bytes)).await.unwrap().unwrap();

    let stopping = tokio::spawn(serving.stop(PATIENCE));
    assert_eq!(idle.read(&mut bytes).await.unwrap(), 0);
    assert!(TcpStream::connect(addr).await.is_err(), "no new connections");
    let answer = ask(&mut at_work, b"ok").await;
    assert_eq!((&*answer.body, answer.header("connection")), ("/x 2", Some("close")));
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_does_not_go_on() {
    let (addr, serving) = start(limits()).await;
    let mut stuck = TcpStream::connect(addr).await.unwrap();
    let head = b"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stuck.write_all(head).await.unwrap();
    let mut bytes = [0; 25];
    timeout(PATIENCE, stuck.read_exact(&mut bytes)).await.unwrap().unwrap();
    timeout(PATIENCE, serving.stop(Duration::from_millis(50))).await.unwrap();
}
