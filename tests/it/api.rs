//! The operator API: bytes, lists, errors, and the tail.

use serde_json::json;

use crate::delivery::one_step;
use crate::harness::{Home, text, until};
use crate::receiver::Receiver;
use crate::vendor::{self, STRIPE_SECRET, sign_stripe, stripe};
use crate::wire::{Connection, fetch, headers, query};

#[test]
fn the_bytes_of_a_request_are_kept_as_they_came() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let body = "{ \"id\":\"evt_1\", \"type\" : \"charge.failed\",\"created\":1767607200,\
                \"big\":123456789012345678901234567890, \"text\":\"\u{9b}31m \u{202e}\\u0007\",\
                \"data\":{\"object\":{\"id\":\"ch_1\"}} }\r\n";
    let id = daemon.deliver_new(&sign_stripe(STRIPE_SECRET, body.as_bytes(), vendor::now()));

    let raw = daemon.ask(&format!("/api/v1/events/{id}/raw"));
    assert_eq!(raw.status, 200);
    assert_eq!(raw.text(), body);
    let shown = daemon.ask(&format!("/api/v1/events/{id}"));
    assert!(shown.body.is_ascii(), "an answer may hold ASCII only");
    assert!(shown.text().contains("123456789012345678901234567890"));
}

#[test]
fn every_error_is_a_problem_with_a_code() {
    let home = Home::new(&format!(
        "{}[api.tokens.viv]\nrole = \"viewer\"\ntoken = \"viv-0123456789abcdef0123456789abcdef\"\n",
        vendor::sources()
    ));
    let mut daemon = home.start();
    daemon.token = "viv-0123456789abcdef0123456789abcdef".to_owned();
    let good = stripe("evt_1", "charge.failed");
    let json = headers(&[("content-type", "application/json")]);
    let mut forged = good.clone();
    forged.body.push(b' ');

    let ingest = |method: &str, target: &str, headers: &[(String, String)], body: &[u8]| {
        fetch(daemon.ingest, method, target, headers, body).unwrap()
    };
    let mut gzip = good.headers.clone();
    gzip.push(("content-encoding".to_owned(), "gzip".to_owned()));
    let no_token = fetch(daemon.api, "GET", "/api/v1/events", &[], b"").unwrap();
    let bad_token = headers(&[("authorization", "Bearer no-such-token")]);
    let other_host = Connection::open(daemon.api).and_then(|mut connection| {
        connection.write_raw(
            format!("GET /api/v1/events HTTP/1.1\r\nhost: evil.example.com\r\nauthorization: Bearer {}\r\n\r\n", daemon.token).as_bytes(),
        )?;
        connection.read_answer(false)
    });
    let cases = [
        (ingest("POST", "/in/nobody", &json, b"{}"), 404, "not_found.source"),
        (ingest("POST", "/elsewhere", &json, b"{}"), 404, "not_found.route"),
        (ingest("DELETE", "/in/stripe", &json, b""), 405, "usage.method"),
        (ingest("POST", "/in/stripe", &gzip, &good.body), 415, "usage.media_type"),
        (ingest("POST", "/in/stripe", &forged.headers, &forged.body), 401, "auth.signature"),
        (
            ingest("POST", "/in/stripe", &good.headers, &vec![b' '; 2 << 20]),
            413,
            "usage.body_too_large",
        ),
        (
            ingest("GET", &format!("/in/stripe?{}", "x".repeat(9000)), &[], b""),
            414,
            "usage.uri_too_long",
        ),
        (no_token, 401, "auth.token"),
        (fetch(daemon.api, "GET", "/api/v1/events", &bad_token, b"").unwrap(), 401, "auth.token"),
        (other_host.unwrap(), 403, "auth.host"),
        (daemon.ask("/api/v1/nothing"), 404, "not_found.route"),
        (daemon.ask("/api/v1/events/evt_00000000000000000000000000"), 404, "not_found.object"),
        (daemon.ask(&format!("/api/v1/events?q={}", query("sorce:stripe"))), 400, "usage.filter"),
        (daemon.ask("/api/v1/events?cursor=nonsense"), 400, "usage.cursor"),
        (daemon.tell("/plans", &json!({"action": "replay", "q": "status:dead"})), 403, "auth.role"),
    ];
    for (answer, status, code) in &cases {
        assert_eq!(answer.status, *status, "{code}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{code}");
        let problem = answer.json();
        assert_eq!(problem["code"], *code);
        assert_eq!(problem["status"], *status);
        assert!(problem["title"].is_string() && problem["type"].is_string(), "{problem}");
    }
    for open in ["/healthz", "/readyz"] {
        assert_eq!(fetch(daemon.api, "GET", open, &[], b"").unwrap().status, 200, "{open}");
    }
    for shut in ["/metrics", "/openapi.json", "/api/v1/stats"] {
        assert_eq!(fetch(daemon.api, "GET", shut, &[], b"").unwrap().status, 401, "{shut}");
        assert_eq!(daemon.ask(shut).status, 200, "{shut}");
    }
}

#[test]
fn a_list_is_walked_page_by_page_and_narrowed_by_a_filter() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let sent: Vec<String> = (0..7)
        .map(|n| {
            let event_type = if n % 2 == 0 { "charge.failed" } else { "invoice.paid" };
            daemon.deliver_new(&stripe(&format!("evt_{n}"), event_type))
        })
        .collect();

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = daemon.get(&format!("/events?limit=3{cursor}"));
        assert_eq!(page["v"], 1);
        assert_eq!(page["kind"], "event_list");
        seen.extend(page["items"].as_array().unwrap().iter().map(|e| text(&e["id"]).to_owned()));
        if page["next_cursor"].is_null() {
            break;
        }
        cursor = format!("&cursor={}", query(text(&page["next_cursor"])));
    }
    let newest_first: Vec<String> = sent.iter().rev().cloned().collect();
    assert_eq!(seen, newest_first);

    let count = |q: &str| daemon.list("/events", q).len();
    assert_eq!(count("type:charge"), 4);
    assert_eq!(count("type:invoice.paid,charge.failed"), 7);
    assert_eq!(count("kind:payment.failed source:stripe"), 4);
    assert_eq!(count("not type:invoice"), 4);
    assert_eq!(count("external:evt_3 or external:evt_4"), 2);
    assert_eq!(count("age:..1h"), 7);
    assert_eq!(count("source:github"), 0);
    assert_eq!(count(sent.first().unwrap()), 1);
}

#[test]
fn the_tail_shows_what_happens_and_goes_on_where_it_was_cut() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    let bearer = format!("Bearer {}", daemon.token);
    let open = |resume: Option<&str>| {
        let mut connection = Connection::open(daemon.api).unwrap();
        let resume = resume.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let head = format!(
            "GET /api/v1/tail HTTP/1.1\r\nhost: {}\r\nauthorization: {bearer}\r\n{resume}\r\n",
            daemon.api
        );
        connection.write_raw(head.as_bytes()).unwrap();
        connection
    };
    // Reads server-sent events until `what`; gives the id it stood under and all names before it.
    let read_to = |connection: &mut Connection, what: &str| -> (String, Vec<String>) {
        let (mut id, mut names) = (String::new(), Vec::new());
        loop {
            let line = connection.read_line().unwrap();
            if let Some(given) = line.strip_prefix("id:") {
                id = given.trim().to_owned();
            }
            if let Some(data) = line.strip_prefix("data:") {
                let entry: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
                let Some(name) = entry["what"].as_str() else { continue };
                names.push(name.to_owned());
                if name == what {
                    return (id, names);
                }
            }
        }
    };

    let mut tail = open(None);
    until("the tail is open", || Some(tail.read_line().unwrap()).filter(|l| l.is_empty()));
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let (last, names) = read_to(&mut tail, "ok");
    assert!(names.iter().any(|n| n == "committed"), "{names:?}");
    drop(tail);

    daemon.deliver_new(&stripe("evt_2", "charge.failed"));
    daemon.drained();
    let mut resumed = open(Some(&last));
    let (_, names) = read_to(&mut resumed, "ok");
    assert_eq!(names.first().map(String::as_str), Some("received"), "{names:?}");
}
