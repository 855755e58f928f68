use std::time::Duration;

use serde_json::Map;
use tokio::io::AsyncWriteExt as _;

use super::pool::over_tls;
use super::*;
use crate::clock::from_micros;
use crate::config::EgressConfig;
use crate::egress::{Egress, Resolver};
use crate::event::Payload;
use crate::execute::gate::Call;
use crate::execute::testing::{self, Destination};
use crate::expr::{Escape, Expression, Template};
use crate::id::TaskId;
use crate::store::EventContext;
use crate::task::Task;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"id\":7}";

/// 2026-01-05T10:00:00Z.
fn wall() -> Timestamp {
    from_micros(1_767_607_200_000_000)
}

fn client(allow: &[&str]) -> Client {
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    Client::new(Connector::new(Egress::new(&EgressConfig { allow }), Resolver::System))
}

fn post(url: &str) -> HttpAction {
    HttpAction {
        method: Method::POST,
        url: Template::new(url, Escape::Url).unwrap(),
        headers: Vec::new(),
        body: None,
        dynamic_host: false,
    }
}

/// Makes the call of `action` at `destination`, for one event.
async fn run(client: &Client, action: &HttpAction, destination: &str) -> (Report, Task) {
    run_for(&testing::event(), client, action, destination).await
}

async fn run_for(
    event: &EventContext,
    client: &Client,
    action: &HttpAction,
    destination: &str,
) -> (Report, Task) {
    let task = Task { destination: destination.into(), attempt: 3, ..testing::task() };
    let work = Work { task: &task, event, steps: &Map::new(), destination };
    (client.run(action, work, wall()).await, task)
}

async fn asked(destination: &Destination) -> Report {
    let action = post(&format!("http://{}/hook", destination.address));
    run(&client(&["127.0.0.0/8"]), &action, &destination.address).await.0
}

fn failed() -> Outcome {
    Outcome::Failed { wait_at_least: SignedDuration::ZERO }
}

fn unretryable() -> Outcome {
    Outcome::Rejected(DeadReason::Unretryable)
}

#[test]
fn a_head_means_one_thing() {
    let again = Some(SignedDuration::from_secs(7));
    let waits = Outcome::Failed { wait_at_least: SignedDuration::from_secs(7) };
    for (status, retry_after, outcome, call) in [
        (200, None, Outcome::Done, Call::Alive),
        (204, again, Outcome::Done, Call::Alive),
        (101, None, failed(), Call::Failed),
        (301, None, failed(), Call::Failed),
        (304, None, failed(), Call::Failed),
        (400, None, unretryable(), Call::Alive),
        (401, None, unretryable(), Call::Alive),
        (404, again, waits.clone(), Call::Failed),
        (408, None, failed(), Call::Failed),
        (409, None, unretryable(), Call::Alive),
        (410, None, unretryable(), Call::Alive),
        (422, None, unretryable(), Call::Alive),
        (425, None, failed(), Call::Failed),
        (429, None, failed(), Call::Failed),
        (429, again, waits.clone(), Call::Failed),
        (500, None, failed(), Call::Failed),
        (503, again, waits, Call::Failed),
        (599, None, failed(), Call::Failed),
        (999, None, failed(), Call::Failed),
    ] {
        let given = StatusCode::from_u16(status).unwrap();
        assert_eq!(classify(given, retry_after), (outcome, call), "{status} {retry_after:?}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for (text, seconds) in [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999999999", i64::from(u32::MAX)),
        ("Mon, 05 Jan 2026 10:02:00 GMT", 120),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
        ("1.5", 0),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        let expected = Some(SignedDuration::from_secs(seconds));
        assert_eq!(retry_after(&headers, wall()), expected, "{text:?}");
    }
    assert_eq!(retry_after(&HeaderMap::new(), wall()), None);
}

#[tokio::test]
async fn a_call_names_its_task_and_carries_the_event() {
    let destination = Destination::answering(OK).await;
    let mut action = post(&format!("http://{}/contacts?a=b", destination.address));
    for (name, value) in [("x-team", "billing"), ("host", "evil"), ("idempotency-key", "mine")] {
        let template = Template::new(value, Escape::Header).unwrap();
        action.headers.push((HeaderName::from_static(name), template));
    }
    let (report, task) = run(&client(&["127.0.0.0/8"]), &action, &destination.address).await;

    assert_eq!((report.outcome, report.call), (Outcome::Done, Call::Alive));
    assert_eq!((report.http_status, report.error), (Some(200), None));
    assert_eq!(report.response.as_deref(), Some("{\"id\":7}"));

    let requests = destination.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /contacts?a=b HTTP/1.1\r\n"), "{head}");
    for line in [
        format!("host: {}", destination.address),
        format!("idempotency-key: {}", task.id),
        "relayflow-attempt: 3".to_owned(),
        "content-type: application/cloudevents+json".to_owned(),
        format!("user-agent: relayflow/{}", env!("CARGO_PKG_VERSION")),
        "x-team: billing".to_owned(),
    ] {
        assert_eq!(head.lines().filter(|l| **l == line).count(), 1, "{line} in {head}");
    }
    let correlation = head.lines().find_map(|l| l.strip_prefix("x-correlation-id: ")).unwrap();
    assert!(head.contains(&format!("traceparent: 00-{correlation}-")), "{head}");
    for name in ["host", "idempotency-key"] {
        let count = head.lines().filter(|l| l.starts_with(&format!("{name}:"))).count();
        assert_eq!(count, 1, "{name} in {head}");
    }
    let event: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(event["data"]["amount"], 4200);
}

#[tokio::test]
async fn an_expression_is_the_body() {
    let destination = Destination::answering(OK).await;
    let mut action = post(&format!("http://{}/", destination.address));
    action.body = Some(Expression::new("[1, 2]").unwrap());
    run(&client(&["127.0.0.0/8"]), &action, &destination.address).await;
    let request = destination.requests().remove(0);
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n[1,2]"), "{request}");
}

#[tokio::test]
async fn connections_are_kept() {
    let ports = std::sync::Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let seen = std::sync::Arc::clone(&ports);
    let destination = Destination::with(move |mut stream| {
        seen.lock().unwrap().insert(stream.peer_addr().unwrap().port());
        async move {
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream
        }
    })
    .await;
    let client = client(&["127.0.0.0/8"]);
    let action = post(&format!("http://{}/", destination.address));
    for _ in 0..5 {
        let (report, _) = run(&client, &action, &destination.address).await;
        assert_eq!(report.outcome, Outcome::Done);
    }
    assert_eq!(ports.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_a_journey() {
    let answer =
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    let destination = Destination::answering(answer).await;
    let report = asked(&destination).await;
    assert_eq!((report.outcome, report.http_status), (failed(), Some(302)));
    let error = report.error.unwrap();
    assert!(error.ends_with("302 Found, and redirects are not followed"), "{error}");
    assert_eq!(destination.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_is_read_as_far_as_64_kib_and_then_hung_up_on() {
    let destination = Destination::with(|mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
        stream
    })
    .await;
    let report = asked(&destination).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.response.unwrap(), "x".repeat(KEPT_BYTES_MAX));
}

#[tokio::test]
async fn the_kept_part_of_an_answer_is_put_together_from_its_chunks() {
    let chunks: String =
        (0..9).map(|n| format!("200\r\n{}\r\n", n.to_string().repeat(512))).collect();
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let destination = Destination::answering(format!("{head}{chunks}0\r\n\r\n")).await;
    let report = asked(&destination).await;
    let expected: String = (0..8).map(|n| n.to_string().repeat(512)).collect();
    assert_eq!(report.response.unwrap(), expected);
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_a_failure() {
    let many = "x: y\r\n".repeat(1_000_000);
    let large = (0..40).map(|n| format!("x-{n}: {}\r\n", "y".repeat(1000))).collect::<String>();
    for (name, answer) in [
        ("not HTTP", "SSH-2.0-OpenSSH\r\n\r\n".to_owned()),
        ("a million headers", format!("HTTP/1.1 200 OK\r\n{many}\r\n")),
        ("a large head", format!("HTTP/1.1 200 OK\r\n{large}content-length: 0\r\n\r\n")),
        ("an endless line", format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1_000_000))),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_owned(),
        ),
    ] {
        let destination = Destination::answering(answer).await;
        let report = asked(&destination).await;
        assert_eq!((report.outcome, report.call), (failed(), Call::Failed), "{name}");
        let error = report.error.unwrap();
        assert!(error.starts_with(&destination.address) && error.len() < 200, "{name}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_failure() {
    let destination = Destination::with(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc").await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    })
    .await;
    let report = asked(&destination).await;
    assert_eq!(report.outcome, failed());
    assert!(report.error.unwrap().contains("the answer broke off"));
}

#[tokio::test]
async fn a_destination_that_is_not_there_is_a_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let action = post(&format!("http://{address}/"));
    let (report, _) = run(&client(&["127.0.0.0/8"]), &action, &address).await;
    assert_eq!((report.outcome, report.call), (failed(), Call::Failed));
    assert!(report.error.unwrap().contains("refused"));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_a_dead_letter() {
    let destination = Destination::answering(OK).await;
    let action = post(&format!("http://{}/", destination.address));
    let (report, _) = run(&client(&[]), &action, &destination.address).await;
    assert_eq!(report.outcome, Outcome::Rejected(DeadReason::EgressRefused));
    assert_eq!(report.call, Call::None);
    assert!(report.error.unwrap().contains("127.0.0.1 is not a public address"));
    assert_eq!(destination.requests().len(), 0);
}

#[tokio::test]
async fn an_error_tells_the_destination_and_nothing_of_the_rest_of_the_url() {
    let destination = Destination::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
    let action = post(&format!("http://{}/canary?token=canary", destination.address));
    let (report, _) = run(&client(&["127.0.0.0/8"]), &action, &destination.address).await;
    let error = report.error.unwrap();
    assert_eq!(error, format!("POST {}: 500 Internal Server Error", destination.address));
}

#[tokio::test]
async fn a_kept_connection_that_the_destination_closed_is_replaced() {
    let destination = Destination::with(|mut stream| async move {
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    })
    .await;
    let client = client(&["127.0.0.0/8"]);
    let action = post(&format!("http://{}/", destination.address));
    for _ in 0..20 {
        let (report, _) = run(&client, &action, &destination.address).await;
        assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
        // The end of the connection may still be on its way; the reactor sees it on its next turn.
        tokio::task::yield_now().await;
    }
    assert_eq!(destination.requests().len(), 20);
}

#[tokio::test]
async fn the_end_of_the_connection_may_be_the_end_of_the_answer() {
    for (answer, outcome, response) in [
        ("HTTP/1.1 200 OK\r\n\r\nhello", Outcome::Done, Some("hello")),
        ("HTTP/1.0 200 OK\r\n\r\n", Outcome::Done, None),
        ("HTTP/1.1 204 No Content\r\n\r\n", Outcome::Done, None),
        ("HTTP/1.1 200 OK\r\n", failed(), None),
        ("", failed(), None),
    ] {
        let destination = Destination::with(move |mut stream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        })
        .await;
        let report = asked(&destination).await;
        assert_eq!(report.outcome, outcome, "{answer:?} {:?}", report.error);
        assert_eq!(report.response.as_deref(), response, "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    });
    let mut event = std::sync::Arc::into_inner(testing::event()).unwrap();
    event.event.payload = Payload::Converted(format!("\"{}\"", "x".repeat(8 << 20)));
    let action = post(&format!("http://{address}/"));
    let (report, _) = run_for(&event, &client(&["127.0.0.0/8"]), &action, &address).await;
    assert_eq!((report.outcome, report.http_status), (unretryable(), Some(413)));
    drop(server.await.unwrap());
}

#[tokio::test]
async fn an_answer_that_asks_to_close_is_the_last_on_its_connection() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let destination = Destination::answering(answer).await;
    let client = client(&["127.0.0.0/8"]);
    let action = post(&format!("http://{}/", destination.address));
    for _ in 0..5 {
        let (report, _) = run(&client, &action, &destination.address).await;
        assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
    }
}

#[tokio::test]
async fn a_url_goes_where_the_config_says() {
    let client = client(&["127.0.0.0/8"]);
    for url in [
        "http://evil.example/",
        "http://api.example.com.evil.example/",
        "http://api.example.com@evil.example/",
        "http://ana:pass@api.example.com/",
        "http://api.example.com:8080/",
        "ftp://api.example.com/",
        "/relative",
        "nonsense",
        "http://",
    ] {
        let (report, _) = run(&client, &post(url), "api.example.com").await;
        assert_eq!((report.outcome, report.call), (unretryable(), Call::None), "{url}");
    }
}

#[test]
fn a_url_may_have_what_a_browser_takes() {
    for (url, uri) in [
        ("https://bücher.example/a b", "https://xn--bcher-kva.example/a%20b"),
        ("https://api.example.com/caf\u{e9}", "https://api.example.com/caf%C3%A9"),
    ] {
        assert_eq!(parse(url).unwrap().to_string(), uri);
    }
}

#[test]
fn what_is_dialled_is_the_destination_however_the_url_spells_it() {
    for (url, destination, is_it) in [
        ("http://api.example.com/", "api.example.com", true),
        ("https://api.example.com:443/", "api.example.com", true),
        ("https://API.example.com/", "api.example.com", true),
        ("https://api.example.com:80/", "api.example.com:80", true),
        ("http://[::1]:8080/", "[::1]:8080", true),
        ("http://[::1]/", "[::1]", true),
        ("http://0x7f.1/", "127.0.0.1", true),
        ("http://2130706433:9000/", "127.0.0.1:9000", true),
        ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]", true),
        ("https://api.example.com/", "api.example.com:443", false),
        ("https://api.example.com:8443/", "api.example.com", false),
    ] {
        let action = post(url);
        let task = Task { destination: destination.into(), ..testing::task() };
        let event = testing::event();
        let work = Work { task: &task, event: &event, steps: &Map::new(), destination };
        let found = target(url, &action, work).ok().map(|(_, authority, _)| authority.to_string());
        assert_eq!(found.as_deref(), is_it.then_some(destination), "{url} {destination}");
    }
}

#[tokio::test]
async fn what_does_not_evaluate_is_a_dead_letter() {
    let destination = Destination::answering(OK).await;
    let action = post(&format!("http://{}/{{{{ event.payload.missing }}}}", destination.address));
    let (report, _) = run(&client(&["127.0.0.0/8"]), &action, &destination.address).await;
    assert_eq!(report.outcome, Outcome::Rejected(DeadReason::Expression));
    assert!(report.error.unwrap().starts_with("url: "));
    assert_eq!(destination.requests().len(), 0);
}

/// The whole of a request, without a connection.
#[test]
fn a_get_sends_no_event() {
    let mut action = post("http://api.example.com/");
    action.method = Method::GET;
    let task = Task { destination: "api.example.com".into(), ..testing::task() };
    let event: std::sync::Arc<EventContext> = testing::event();
    let destination = &*task.destination;
    let work = Work { task: &task, event: &event, steps: &Map::new(), destination };
    let request = call(&action, work).unwrap_or_else(|report| panic!("{report:?}")).request;
    assert!(!request.headers().contains_key(CONTENT_TYPE));
    assert_eq!(request.headers()[IDEMPOTENCY_KEY], TaskId::to_string(&task.id));
}

/// A server with the certificate of `tls/`, which is its own authority, for `crm.example.com`.
fn over_tls_server() -> (std::net::SocketAddr, rustls::RootCertStore) {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            // A client that does not trust us hangs up.
            let mut request = [0; 4096];
            if std::io::Read::read(&mut stream, &mut request).is_ok() {
                let _ = std::io::Write::write_all(&mut stream, OK.as_bytes());
            }
        }
    });
    (address, roots)
}

fn trusting(roots: rustls::RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_name_its_host() {
    let (address, roots) = over_tls_server();
    let local = Resolver::Fixed(std::sync::Arc::new(|_| vec![[127, 0, 0, 1].into()]));
    for (host, is_trusted, outcome) in [
        ("crm.example.com", true, Outcome::Done),
        ("crm.example.com", false, failed()),
        ("other.example.com", true, failed()),
    ] {
        let allow = vec!["127.0.0.1/32".parse().unwrap()];
        let egress = Egress::new(&EgressConfig { allow });
        let connector = Connector::new(egress, local.clone());
        let client = Client::new(connector.clone());
        let roots = if is_trusted { roots.clone() } else { rustls::RootCertStore::empty() };
        let https = over_tls(trusting(roots), connector);
        client.0.https.set(https).map_err(|_| "it is set already").unwrap();
        let destination = format!("{host}:{}", address.port());
        let (report, _) =
            run(&client, &post(&format!("https://{destination}/")), &destination).await;
        assert_eq!(report.outcome, outcome, "{host} {is_trusted} {:?}", report.error);
    }
}

/// The caller's limit, as an attempt sets it.
#[tokio::test(start_paused = true)]
async fn a_destination_that_sends_a_byte_a_second_does_not_hold_a_task() {
    let destination = Destination::with(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n").await.unwrap();
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if stream.write_all(b"x").await.is_err() {
                break;
            }
        }
        stream
    })
    .await;
    let began = tokio::time::Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(10), asked(&destination)).await;
    assert!(ended.is_err());
    assert_eq!(began.elapsed().as_secs(), 10);
}
