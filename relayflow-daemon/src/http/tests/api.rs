//! The operator API: who may ask, and what an error looks like.

use std::net::SocketAddr;

use relayflow_core::config::Role;
use tokio::net::TcpStream;

use super::{Answer, ask, daemon};
use crate::http::routes;

const VIEWER: &str = "a-viewer's-token-for-tests";
const OPERATOR: &str = "an-operator's-token-for-tests";
const ADMIN: &str = "an-admin's-token-for-tests";

/// One request, on a connection of its own.
async fn request(addr: SocketAddr, line: &str, token: Option<&str>, rest: &str) -> Answer {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!("{line} HTTP/1.1\r\nHost: {addr}\r\n{}", token.unwrap_or_default());
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let rest = if rest.is_empty() { "\r\n" } else { rest };
    ask(&mut stream, format!("{head}{rest}").as_bytes()).await
}

fn json(body: &str) -> String {
    format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn every_route_takes_its_role_and_no_lower_one() {
    let (running, _dir) = daemon().await;
    for route in routes() {
        // A tail that is let in has no end; that it begins is asked elsewhere.
        let path = route.path.replace("{id}", "nothing");
        let line = format!("{} {path}", route.method);
        let roles = [(None, None), (Some(VIEWER), Some(Role::Viewer))]
            .into_iter()
            .chain([(Some(OPERATOR), Some(Role::Operator)), (Some(ADMIN), Some(Role::Admin))]);
        for (token, role) in roles {
            let is_allowed = role >= route.needs;
            if path.ends_with("/tail") && is_allowed {
                continue;
            }
            let answer = request(running.api_addr, &line, token, "").await;
            let is_refused = matches!(answer.status, 401 | 403);
            assert_eq!(is_refused, !is_allowed, "{line} as {role:?}: {answer:?}");
            if is_refused {
                let code = if token.is_none() { "auth.token" } else { "auth.role" };
                assert_eq!(answer.code(), code, "{line}");
            }
            assert!(answer.status < 500, "{line}: {answer:?}");
            if 400 <= answer.status {
                answer.code();
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_guessing_is_held_up() {
    let (running, _dir) = daemon().await;
    let line = "GET /api/v1/stats";
    let answer = request(running.api_addr, line, None, "").await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let mut codes = Vec::new();
    for _ in 0..11 {
        codes.push(request(running.api_addr, line, Some("guess"), "").await.code());
    }
    // Eleven guesses may straddle a second, but then the first ten were not all in it.
    assert!(codes.iter().all(|c| c == "auth.token" || c == "auth.too_many_failures"), "{codes:?}");
    assert_eq!(codes[0], "auth.token");
}

#[tokio::test]
async fn errors_are_problems_wherever_they_come_from() {
    let (running, _dir) = daemon().await;
    let long = "x".repeat(5000);
    for (line, rest, status, code) in [
        ("GET /nothing", String::new(), 404, "not_found.route"),
        ("GET /api/v1/nothing", String::new(), 404, "not_found.route"),
        ("DELETE /api/v1/events", String::new(), 405, "usage.method"),
        ("OPTIONS /api/v1/events", String::new(), 405, "usage.method"),
        ("GET /api/v1/events?limit=0", String::new(), 400, "usage.request"),
        ("GET /api/v1/events?limit=1001", String::new(), 400, "usage.request"),
        ("GET /api/v1/events?limit=-1", String::new(), 400, "usage.request"),
        ("GET /api/v1/events?limit=a", String::new(), 400, "usage.request"),
        ("GET /api/v1/events?query=a", String::new(), 400, "usage.request"),
        ("GET /api/v1/events/%ff", String::new(), 400, "usage.id"),
        (&format!("GET /api/v1/events?q={long}"), String::new(), 400, "usage.filter"),
        ("GET /api/v1/tail?after=x", String::new(), 400, "usage.request"),
        ("GET /api/v1/tail", "Last-Event-ID: x\r\n\r\n".to_owned(), 400, "usage.cursor"),
        ("POST /api/v1/plans", json("{"), 400, "usage.request"),
        ("POST /api/v1/plans", json(r#"{"action":"replay","filter":"x"}"#), 400, "usage.request"),
        ("POST /api/v1/plans", json(&"[".repeat(100_000)), 400, "usage.request"),
        ("POST /api/v1/plans", "Content-Length: 2\r\n\r\n{}".to_owned(), 415, "usage.media_type"),
        ("POST /api/v1/plans", "Content-Length: 0\r\n\r\n".to_owned(), 400, "usage.request"),
        ("POST /api/v1/plans", json(&"x".repeat(1024 * 1024 + 1)), 413, "usage.body_too_large"),
        ("POST /api/v1/requests/req_x/readmit", String::new(), 400, "usage.id"),
    ] {
        let answer = request(running.api_addr, line, Some(ADMIN), &rest).await;
        let shown: String = line.chars().take(60).collect();
        assert_eq!((answer.status, &*answer.code()), (status, code), "{shown} {answer:?}");
    }
    let answer = request(running.api_addr, "PUT /api/v1/replays", Some(ADMIN), "").await;
    let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_not_served() {
    let (running, _dir) = daemon().await;
    let ask_as = async |host: &str, path: &str| {
        let mut stream = TcpStream::connect(running.api_addr).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ADMIN}\r\n\r\n");
        ask(&mut stream, request.as_bytes()).await
    };
    assert_eq!(ask_as("rebound.example", "/api/v1/stats").await.code(), "auth.host");
    assert_eq!(ask_as("localhost:1", "/api/v1/stats").await.status, 200);
    assert_eq!(ask_as("10.0.0.7", "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_tail_begins_with_where_it_stands_and_ends_with_the_daemon() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (running, _dir) = daemon().await;
    let mut stream = TcpStream::connect(running.api_addr).await.unwrap();
    let request = format!(
        "GET /api/v1/tail HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {VIEWER}\r\n\
         Last-Event-ID: 7\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("id: 7\n\n") {
        let mut bytes = [0; 1024];
        let read = tokio::time::timeout(super::PATIENCE, stream.read(&mut bytes)).await;
        let read = read.unwrap().unwrap();
        assert_ne!(read, 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    assert!(text.to_ascii_lowercase().contains("content-type: text/event-stream"), "{text}");
    let drain = std::time::Duration::from_secs(10);
    tokio::time::timeout(super::PATIENCE, running.stop(drain)).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream ends in order: {rest:?}");
}

#[tokio::test]
async fn readiness_ends_before_the_door_closes() {
    let (running, _dir) = daemon().await;
    assert_eq!(request(running.api_addr, "GET /readyz", None, "").await.status, 200);
    running.app.state.stop.cancel();
    let answer = request(running.api_addr, "GET /readyz", None, "").await;
    assert_eq!((answer.status, &*answer.code()), (503, "unreachable.stopping"));
    assert_eq!(request(running.api_addr, "GET /healthz", None, "").await.status, 200);
}

#[tokio::test]
async fn the_document_is_served() {
    let (running, _dir) = daemon().await;
    let answer = request(running.api_addr, "GET /openapi.json", Some(VIEWER), "").await;
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let answer = request(running.api_addr, "GET /metrics", Some(VIEWER), "").await;
    assert!(answer.status != 200 || answer.body.ends_with("# EOF\n"));
}
