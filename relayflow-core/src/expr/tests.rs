use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::from_micros;
use crate::event::{IntegrationEvent, Payload};
use crate::id::{EventId, RequestId};
use crate::request::CorrelationId;

fn event(payload: &str) -> IntegrationEvent {
    let request_id = RequestId::next();
    IntegrationEvent {
        id: EventId::next(),
        request_id,
        source: "shop".into(),
        provider: "stripe".into(),
        event_type: "charge.failed".to_owned(),
        kind: Some("payment.failed".into()),
        external_id: "evt_1".to_owned(),
        id_is_derived: false,
        signed_digest: None,
        subject: None,
        occurred_at: from_micros(1_767_607_200_000_000),
        received_at: from_micros(1_767_607_203_000_000),
        correlation_id: CorrelationId::of(request_id),
        attributes: r#"{"amount_minor":4200,"email":"a b@example.com"}"#.to_owned(),
        payload: Payload::Slice {
            body: Bytes::copy_from_slice(payload.as_bytes()),
            from: 0,
            to: payload.len(),
        },
        contract: "stripe@1".into(),
    }
}

const PAYLOAD: &str = r#"{"id":"evt_1","n":7,"path":"../admin?x=1#y","line":"a\r\nX: 1","none":null,
    "host":"eu.example.com","url":"https://other.example.com/hook","tags":["a","b"],"dots":".."}"#;

fn with_scope<T>(payload: &str, ask: impl FnOnce(&Scope<'_>) -> T) -> T {
    let event = event(payload);
    let headers = vec![("x-shop-domain".to_owned(), "acme".to_owned())];
    let steps = json!({"crm": {"response": {"id": 9}}});
    ask(&Scope { event: &event, headers: &headers, steps: steps.as_object().unwrap() })
}

fn eval(text: &str) -> Result<serde_json::Value, ExprError> {
    let expression = Expression::new(text)?;
    with_scope(PAYLOAD, |scope| expression.eval(scope))
}

fn render(text: &str, escape: Escape) -> Result<String, ExprError> {
    let template = Template::new(text, escape)?;
    with_scope(PAYLOAD, |scope| template.render(scope))
}

#[test]
fn an_expression_sees_the_event_the_request_and_the_steps() {
    for (text, value) in [
        ("event.attributes.amount_minor >= 1000", json!(true)),
        ("event.type == 'charge.failed' and event.kind == 'payment.failed'", json!(true)),
        ("event.payload.n + 1", json!(8)),
        ("event.payload['tags'][1]", json!("b")),
        ("event.occurred_at", json!("2026-01-05T10:00:00.000000Z")),
        ("event.subject", json!(null)),
        ("source", json!("shop")),
        ("request.headers['X-Shop-Domain']", json!("acme")),
        ("steps.crm.response.id", json!(9)),
        (
            "{'email': event.attributes.email, 'tags': event.payload.tags}",
            json!({"email": "a b@example.com", "tags": ["a", "b"]}),
        ),
        ("event.payload.missing is defined", json!(false)),
        ("event.payload.n is not defined", json!(false)),
        ("event.payload.is is defined and true", json!(false)),
        ("event.payload.missing|default('x')", json!("x")),
        ("event.idempotency_key", json!("stripe:charge.failed:evt_1")),
        ("event.payload.tags|tojson", json!(r#"["a","b"]"#)),
    ] {
        assert_eq!(eval(text), Ok(value), "{text}");
    }
}

#[test]
fn the_whole_event_is_data() {
    let whole = eval("event").unwrap();
    assert_eq!(whole["attributes"]["amount_minor"], 4200);
    assert_eq!(whole["payload"]["n"], 7);
    assert_eq!(whole.as_object().unwrap().len(), FIELDS.len());
}

#[track_caller]
fn fails(text: &str, part: &str, message: &str) {
    let error = eval(text).expect_err(text);
    assert!(error.message.contains(message), "{text}: {}", error.message);
    assert_eq!(&text[error.span.clone()], part, "{text}: {}", error.message);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    fails("event.payload.missing", "event.payload.missing", "undefined");
    fails("event.payload.missing.x == 1", ".missing.x", "`event.payload.missing` is undefined");
    fails("{'a': event.payload.missing}", "{'a': event.payload.missing}", "undefined");
    fails("event.payload.n +", "+", "expected");
    fails("evnt.payload.n", "evnt", "did you mean `event`?");
    fails("event.atributes.email", "event.atributes", "did you mean `event.attributes`?");
    fails("1 if event.payload.missing else 2", "1 if event.payload.missing else 2", "undefined");
    fails("event.payload.n|uper", "uper", "did you mean `upper`?");
    fails("event.payload.n is not definde", "definde", "did you mean `defined`?");
    fails("'a' if false", "'a' if false", "undefined");
    fails("range", "range", "no JSON value");
    fails("event.payload.n.__class__", "event.payload.n.__class__", "undefined");
    fails("1e308 * 10", "1e308 * 10", "no JSON number");
}

#[test]
fn a_runaway_ends() {
    for bomb in [
        "'x' * 10**9",
        "range(100000)|list",
        "('x' * 1000)|replace('x', 'x' * 1000)|replace('x', 'x' * 1000)|length",
        "range(9999)|map('string')|join('x' * 9000)|length",
        "[[1] * 1000] * 1000",
        "range(9)|tojson(indent=100000000)",
        "'%99999999d'|format(1)",
        "[1]|batch(1000000000, 'x')|list",
    ] {
        assert!(eval(bomb).is_err(), "{bomb}");
    }
    for bomb in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{% set ns = namespace(x='xx') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}\
         {% endfor %}{{ ns.x|length }}",
        "{% for i in range(9000) %}{{ 'x' * 90000 }}{% endfor %}",
    ] {
        assert!(render(bomb, Escape::Plain).is_err(), "{bomb}");
    }
}

#[test]
fn a_text_that_nests_or_chains_without_end_is_refused() {
    for text in [
        format!("1{}", "+1".repeat(3000)),
        format!("event{}", ".a".repeat(3000)),
        format!("event{}", "|upper".repeat(1300)),
        format!("{}1", "not ".repeat(2000)),
        "(".repeat(70),
        "[1,".repeat(2700),
        format!("1{}", " if 1 else 1".repeat(600)),
        "x".repeat(EXPRESSION_BYTES_MAX + 1),
    ] {
        assert!(Expression::new(&text).is_err(), "{}", &text[..20]);
    }
    let wide: Vec<String> = (0..200).map(|n| format!("'k{n}': event.payload.n")).collect();
    assert!(eval(&format!("{{{}}}", wide.join(", "))).is_ok());
}

#[test]
fn what_just_fits_does_not_overflow_the_stack() {
    for link in ["+1", "|d", " if 1 else 1", "[1]", "()", " or 1", "**1", " is d", ".a", "~1"] {
        for length in [60, 120, 160, 200, 240, 330, 490] {
            let nested = "(".repeat(60) + "1" + &link.repeat(length) + &")".repeat(60);
            let lists = "[1,".repeat(60) + "1" + &link.repeat(length) + &"]".repeat(60);
            for text in [format!("1{}", link.repeat(length)), nested, lists] {
                let _ = eval(&text);
                let _ = render(&format!("{{{{ {text} }}}}"), Escape::Plain);
            }
        }
    }
    for opener in ["not ", "-", "(", "[", "{'a':", "{% if 1 %}", "{% for x in [1] %}"] {
        for length in [30, 60, 63, 127, 490] {
            let _ = eval(&(opener.repeat(length) + "1"));
            let _ = render(&(opener.repeat(length) + "1"), Escape::Plain);
        }
    }
}

#[test]
fn nothing_outside_is_reachable() {
    for text in ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{{ debug() }}"]
    {
        assert!(Template::new(text, Escape::Plain).is_err(), "{text}");
    }
}

#[test]
fn what_is_inserted_is_escaped_for_its_place() {
    for (escape, text, shown) in [
        (Escape::Url, "https://x/{{ event.payload.path }}/b", "https://x/..%2Fadmin%3Fx%3D1%23y/b"),
        (
            Escape::Url,
            "https://x/?q={{ event.attributes.email|urlencode }}",
            "https://x/?q=a%20b%40example.com",
        ),
        (Escape::Header, "n {{ event.payload.n }} {{ true }}", "n 7 true"),
        (Escape::Html, "<b>{{ '<i>&' }}</b>", "<b>&lt;i&gt;&amp;</b>"),
        (Escape::Plain, "{{ event.payload.path }}", "../admin?x=1#y"),
        (Escape::Plain, "--{% if event.kind %}yes{% else %}no{% endif %}", "--yes"),
    ] {
        assert_eq!(render(text, escape).as_deref(), Ok(shown), "{text}");
    }
    for (escape, text) in [
        (Escape::Header, "{{ event.payload.line }}"),
        (Escape::Plain, "{{ '\\u0000' }}{{ event.payload.tags }}"),
        (Escape::Url, "https://x/{{ event.payload.dots }}/b"),
        (Escape::Url, "https://x/{{ '.' }}{{ '.' }}"),
        (Escape::Url, "https://x/{{ event.payload.none }}"),
        (Escape::Url, "https://x/{{ event.payload.missing }}"),
        (Escape::Plain, "{{ '<b>'|safe }}"),
    ] {
        assert!(render(text, escape).is_err(), "{text}");
    }
}

#[test]
fn a_host_is_inserted_as_it_is_only_where_that_was_asked_for() {
    let render = |text: &str| {
        let template = Template::dynamic_url(text).unwrap();
        with_scope(PAYLOAD, |scope| template.render(scope))
    };
    assert_eq!(
        render("https://{{ event.payload.host }}:8443/c/{{ event.payload.path }}").unwrap(),
        "https://eu.example.com:8443/c/..%2Fadmin%3Fx%3D1%23y"
    );
    assert_eq!(render("{{ event.payload.url }}").unwrap(), "https://other.example.com/hook");
    assert_eq!(
        render("{{ event.payload.url }}/x/{{ 'a/b' }}").unwrap(),
        "https://other.example.com/hook/x/a%2Fb"
    );
    assert!(render("https://{{ event.payload.line }}/").is_err());
}

#[test]
fn a_payload_that_nobody_looks_at_is_not_parsed() {
    let unread = Expression::new("event.kind == 'payment.failed'").unwrap();
    let read = Expression::new("event.payload.n > 1").unwrap();
    assert!(!unread.reads_payload() && read.reads_payload());
    with_scope(r#"{"n":1e400}"#, |scope| {
        assert_eq!(unread.holds(scope), Ok(true));
        let error = read.holds(scope).unwrap_err();
        assert!(error.message.contains("out of range"), "{error}");
    });
}

#[test]
fn a_text_knows_which_steps_it_reads() {
    let steps = |text: &str| Expression::new(text).unwrap().reads_steps();
    assert_eq!(steps("steps.crm.response.id"), Some(vec!["crm".to_owned()]));
    assert_eq!(steps("event.id"), Some(vec![]));
    assert_eq!(steps("steps['crm']"), None);
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = eval(&text);
        for escape in [Escape::Url, Escape::Header, Escape::Plain, Escape::Html] {
            let _ = render(&text, escape);
        }
        let _ = Template::dynamic_url(&text);
    }

    #[test]
    fn no_tokens_panic(words in proptest::collection::vec(prop_oneof![
        Just("event"), Just(".payload"), Just("|"), Just("length"), Just("{{"), Just("}}"),
        Just("{%"), Just("%}"), Just("for"), Just("x"), Just("in"), Just("range(9)"), Just("endfor"),
        Just("'"), Just("\""), Just("\\"), Just("("), Just(")"), Just("["), Just("]"), Just("{"),
        Just("}"), Just("~"), Just("*"), Just("if"), Just("else"), Just("is"), Just("not"), Just("9"),
        Just(":"), Just(","), Just("é"),
    ], 0..40), glue in prop_oneof![Just(""), Just(" ")]) {
        let text = words.join(glue);
        let _ = eval(&text);
        let _ = render(&text, Escape::Url);
        let _ = Template::dynamic_url(&text);
    }

    #[test]
    fn an_inserted_value_stays_in_its_segment(value in "[^\u{0}]{0,40}") {
        let payload = json!({"v": value}).to_string();
        let template = Template::new("https://x.example/a/{{ event.payload.v }}/z", Escape::Url).unwrap();
        with_scope(&payload, |scope| {
            if let Ok(url) = template.render(scope) {
                let parsed = url::Url::parse(&url).unwrap();
                assert_eq!(parsed.host_str(), Some("x.example"));
                assert_eq!(parsed.path_segments().unwrap().count(), 3);
                assert!(parsed.query().is_none() && parsed.fragment().is_none());
            } else {
                assert!(value == "." || value == "..");
            }
        });
    }
}
