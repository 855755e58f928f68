//! Hostile conversations, as a table: what goes over the wire, byte for byte, and the statuses that may come
//! back. `badinput.rs` plays them.

use crate::vendor::{self, STRIPE_SECRET, github, hubspot, sign_stripe, stripe_body};

/// What may come back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// One of these statuses.
    Status(&'static [u16]),
    /// One of these, or the connection is closed without an answer.
    OrClosed(&'static [u16]),
}
use Expected::{OrClosed, Status};

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expected: Expected) -> Case {
    Case { name: name.into(), bytes: bytes.into(), expected }
}

/// A request with these header lines and this body.
fn raw(line: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line}\r\nhost: localhost\r\n{fields}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A truly signed Stripe request with this body, and these header lines besides.
fn signed(body: &[u8], fields: &str) -> Vec<u8> {
    let request = sign_stripe(STRIPE_SECRET, body, vendor::now());
    posted(&request, fields)
}

fn posted(request: &vendor::Signed, fields: &str) -> Vec<u8> {
    let own: String =
        request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = request.body.len();
    raw(
        &format!("POST {} HTTP/1.1", request.target),
        &format!("{own}content-length: {length}\r\n{fields}"),
        &request.body,
    )
}

pub(crate) fn framing() -> Vec<Case> {
    let post = "POST /in/stripe HTTP/1.1";
    let mut cases = vec![
        case(
            "both a length and chunks",
            raw(post, "content-length: 3\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
            Status(&[400]),
        ),
        case(
            "two lengths that differ",
            raw(post, "content-length: 3\r\ncontent-length: 4\r\n", b"abcd"),
            Status(&[400]),
        ),
        case(
            "two lengths in one field",
            raw(post, "content-length: 3, 4\r\n", b"abcd"),
            Status(&[400]),
        ),
        case(
            "an unknown transfer coding",
            raw(post, "transfer-encoding: zebra\r\n", b"abc"),
            Status(&[400, 501]),
        ),
        case(
            "gzip as a transfer coding",
            raw(post, "transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
            Status(&[400, 415, 501]),
        ),
        case(
            "chunked twice",
            raw(post, "transfer-encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
            Status(&[400]),
        ),
        case(
            "chunked hidden by a tab",
            raw(post, "transfer-encoding:\tchunked\x0b\r\n", b"0\r\n\r\n"),
            Status(&[400]),
        ),
        case("no length at all", raw(post, "", b""), Status(&[400, 401, 411])),
        case(
            "a chunk size that is no number",
            raw(post, "transfer-encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
            Status(&[400, 401]),
        ),
        case(
            "a chunk size beyond 64 bits",
            raw(post, "transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\n"),
            Status(&[400, 413]),
        ),
        case(
            "a huge chunk extension",
            raw(
                post,
                "transfer-encoding: chunked\r\n",
                format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(64 << 10)).as_bytes(),
            ),
            OrClosed(&[400, 401, 413, 431]),
        ),
        case(
            "a trailer that is a header",
            raw(post, "transfer-encoding: chunked\r\n", b"0\r\nauthorization: x\r\n\r\n"),
            Status(&[400, 401]),
        ),
        case(
            "a chunked body above the limit",
            raw(
                post,
                "stripe-signature: t=1,v1=00\r\ntransfer-encoding: chunked\r\n",
                &chunks(3 << 20),
            ),
            OrClosed(&[401, 413]),
        ),
        case(
            "expects what we do not have",
            raw(post, "content-length: 2\r\nexpect: 200-maybe\r\n", b"{}"),
            Status(&[400, 401, 417]),
        ),
    ];
    for length in ["-1", "+3", "0x3", "3 3", "", "99999999999999999999999", "1e3", "٣"] {
        cases.push(case(
            format!("a length of `{length}`"),
            raw(post, &format!("content-length: {length}\r\n"), b"abc"),
            OrClosed(&[400, 411, 413]),
        ));
    }
    for length in [(1_u64 << 20) + 1, 1 << 31, 1 << 40, i64::MAX.unsigned_abs()] {
        cases.push(case(
            format!("a body of {length} bytes that never comes"),
            raw(post, &format!("content-length: {length}\r\n"), b""),
            Status(&[413]),
        ));
    }
    cases
}

fn chunks(total: usize) -> Vec<u8> {
    let chunk = 16 << 10;
    let mut bytes = Vec::with_capacity(total + total / chunk * 8);
    for _ in 0..total / chunk {
        bytes.extend_from_slice(format!("{chunk:x}\r\n").as_bytes());
        bytes.extend(std::iter::repeat_n(b'a', chunk));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

pub(crate) fn heads() -> Vec<Case> {
    let post = "POST /in/stripe HTTP/1.1";
    let many: String = (0..65).map(|n| format!("x-{n}: 1\r\n")).collect();
    let thousands: String = (0..5000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let length = "content-length: 0\r\n";
    let long = "x".repeat(33 << 10);
    let mut cases = vec![
        case("more than 64 fields", raw(post, &format!("{many}{length}"), b""), Status(&[431])),
        case(
            "thousands of fields",
            raw(post, &format!("{thousands}{length}"), b""),
            OrClosed(&[400, 431]),
        ),
        case(
            "one field of 33 KiB",
            raw(post, &format!("x-long: {long}\r\n{length}"), b""),
            OrClosed(&[431]),
        ),
        case(
            "one field name of 33 KiB",
            raw(post, &format!("{long}: 1\r\n{length}"), b""),
            OrClosed(&[400, 431]),
        ),
        case(
            "a URI of 9 KiB",
            raw(&format!("POST /in/{} HTTP/1.1", "a".repeat(9 << 10)), length, b""),
            Status(&[414]),
        ),
        case(
            "a URI of 80 KiB",
            raw(&format!("POST /in/{} HTTP/1.1", "a".repeat(80 << 10)), length, b""),
            OrClosed(&[400, 414, 431]),
        ),
        case(
            "a folded field",
            raw(post, &format!("x-a: 1\r\n  folded\r\n{length}"), b""),
            Status(&[400]),
        ),
        case(
            "a space before the colon",
            raw(post, &format!("x-a : 1\r\n{length}"), b""),
            Status(&[400]),
        ),
        case(
            "a field without a colon",
            raw(post, &format!("nonsense\r\n{length}"), b""),
            Status(&[400]),
        ),
        case("an empty field name", raw(post, &format!(": 1\r\n{length}"), b""), Status(&[400])),
        case("NUL in a value", raw(post, &format!("x-a: a\0b\r\n{length}"), b""), Status(&[400])),
        case(
            "a bare CR in a value",
            raw(post, &format!("x-a: a\rb\r\n{length}"), b""),
            Status(&[400]),
        ),
        case(
            "two hosts",
            format!("{post}\r\nhost: a\r\nhost: b\r\n{length}\r\n"),
            Status(&[400, 401]),
        ),
        case("no host", format!("{post}\r\n{length}\r\n"), Status(&[400, 401])),
        case("HTTP/0.9", "GET /in/stripe\r\n\r\n", OrClosed(&[400])),
        case(
            "HTTP/1.0",
            format!("POST /in/stripe HTTP/1.0\r\n{length}\r\n"),
            Status(&[400, 401, 411, 505]),
        ),
        case("HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", OrClosed(&[400, 505])),
        case(
            "HTTP/9.9",
            format!("POST /in/stripe HTTP/9.9\r\nhost: a\r\n{length}\r\n"),
            OrClosed(&[400, 505]),
        ),
        case(
            "a TLS hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            OrClosed(&[400]),
        ),
        case("only line ends", "\r\n\r\n\r\n\r\n", OrClosed(&[400])),
        case("other bytes", vec![0xff; 4096], OrClosed(&[400])),
        case(
            "a target in absolute form",
            raw("POST http://evil.example.com/in/nobody HTTP/1.1", length, b""),
            Status(&[400, 404]),
        ),
        case(
            "CONNECT",
            raw("CONNECT evil.example.com:443 HTTP/1.1", "", b""),
            OrClosed(&[400, 404, 405]),
        ),
        case("OPTIONS *", raw("OPTIONS * HTTP/1.1", "", b""), Status(&[400, 404, 405])),
        case("TRACE", raw("TRACE /in/stripe HTTP/1.1", "x-secret: 1\r\n", b""), Status(&[405])),
        case(
            "a lower-case method",
            raw("post /in/stripe HTTP/1.1", length, b""),
            Status(&[400, 405]),
        ),
        case(
            "a method of 1 KiB",
            raw(&format!("{} /in/stripe HTTP/1.1", "A".repeat(1024)), length, b""),
            OrClosed(&[400, 405]),
        ),
        case(
            "an upgrade",
            raw("GET /in/stripe HTTP/1.1", "connection: upgrade\r\nupgrade: websocket\r\n", b""),
            Status(&[400, 405]),
        ),
    ];
    for path in [
        "/in/",
        "/in",
        "/in/stripe/",
        "/in/stripe/more",
        "/in/..%2f..%2fetc%2fpasswd",
        "/in/../api/v1/events",
        "/in/%00",
        "/in/%ff%fe",
        "/in/%",
        "/in/%zz",
        "//in/stripe",
        "/in/stripe%20",
        "/in/STRIPE",
        "/api/v1/events",
        "/in/\u{202e}",
        "/in/stripe;a=b",
        "/metrics",
        "/healthz",
    ] {
        cases.push(case(
            format!("the path `{path}`"),
            raw(&format!("POST {path} HTTP/1.1"), length, b""),
            Status(&[400, 404, 405]),
        ));
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "PROPFIND"] {
        cases.push(case(
            format!("{method} of a source"),
            raw(&format!("{method} /in/stripe HTTP/1.1"), length, b""),
            Status(&[405]),
        ));
    }
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x"] {
        cases.push(case(
            format!("a body coded as {coding}"),
            signed(
                stripe_body("evt_coded", "charge.failed").as_bytes(),
                &format!("content-encoding: {coding}\r\n"),
            ),
            Status(&[415]),
        ));
    }
    cases
}

pub(crate) fn signatures() -> Vec<Case> {
    let body = stripe_body("evt_forged", "charge.failed");
    let good = sign_stripe(STRIPE_SECRET, body.as_bytes(), vendor::now());
    let header = good.headers.iter().find(|(n, _)| n == "stripe-signature").unwrap().1.clone();
    let (time, hex) = header.split_once(",v1=").unwrap();
    let with = |name: String, header: &str| {
        let fields = format!("stripe-signature: {header}\r\n");
        case(
            name,
            raw(
                "POST /in/stripe HTTP/1.1",
                &format!("{fields}content-length: {}\r\n", body.len()),
                body.as_bytes(),
            ),
            Status(&[400, 401]),
        )
    };
    let mut cases = Vec::new();
    for length in 0..hex.len() {
        cases.push(with(
            format!("the first {length} digits of the signature"),
            &format!("{time},v1={}", &hex[..length]),
        ));
    }
    for (n, header) in [
        String::new(),
        ",".into(),
        "=".into(),
        "t=,v1=".into(),
        time.to_owned(),
        format!("v1={hex}"),
        format!("{time},v0={hex}"),
        format!("{time},v2={hex}"),
        format!("{time},sha1={hex}"),
        format!("{time},v1={hex}00"),
        format!("{time},v1= {hex}"),
        format!("{time},v1=0x{hex}"),
        format!("{time},v1={}", "0".repeat(64)),
        format!("{time},v1={}", "g".repeat(64)),
        format!("{time},{}", vec![format!("v1={}", "0".repeat(64)); 11].join(",")),
        format!("{time},v1={}", "ab".repeat(3000)),
        format!("{time}0,v1={hex}"),
        format!("t=-1,v1={hex}"),
        format!("t=+{},v1={hex}", &time[2..]),
        format!("t=0x1,v1={hex}"),
        format!("t=9999999999999,v1={hex}"),
        format!("t=9223372036854775807,v1={hex}"),
        format!("t=-9223372036854775808,v1={hex}"),
        format!("t=1.5,v1={hex}"),
        format!("t=\u{0661}\u{0662},v1={hex}"),
        format!("t=1,{time},v1={hex}"),
        format!("sha256={hex}"),
        "a=b,".repeat(1000),
    ]
    .iter()
    .enumerate()
    {
        cases.push(with(format!("signature header {n}"), header));
    }
    cases.push(case(
        "the signature twice",
        posted(&good, &format!("stripe-signature: {header}\r\n")),
        Status(&[400, 401]),
    ));
    let mut flipped = good.clone();
    if let Some(byte) = flipped.body.get_mut(9) {
        *byte ^= 1;
    }
    cases.push(case("one flipped bit in the body", posted(&flipped, ""), Status(&[401])));
    let mut elsewhere = good;
    elsewhere.target = "/in/github".to_owned();
    cases.push(case("signed for another source", posted(&elsewhere, ""), Status(&[400, 401])));
    let mut renamed = github("d-1", "issues", b"{}");
    for (name, _) in &mut renamed.headers {
        if name == "x-hub-signature-256" {
            "x-hub-signature".clone_into(name);
        }
    }
    cases.push(case(
        "the signature under the name of the weaker scheme",
        posted(&renamed, ""),
        Status(&[400, 401]),
    ));
    let mut moved = hubspot(&[vendor::hubspot_event(1, "contact.creation")]);
    moved.target.push_str("?x=1");
    cases.push(case("a signed URL with another query", posted(&moved, ""), Status(&[401])));
    cases
}

/// Truly signed bodies that cannot be read: taken, and dead letters.
pub(crate) fn payloads() -> Vec<Case> {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    };
    let inside = |value: &str| {
        format!(
            "{{\"id\":\"evt_x\",\"type\":\"a.b\",\"created\":1,\"data\":{{\"object\":{{\"id\":\"x\"}}}},\"x\":{value}}}"
        )
    };
    let long = |n: usize| "a".repeat(n);
    let bodies: Vec<(String, Vec<u8>)> = [
        ("nothing", String::new()),
        ("a space", " ".into()),
        ("not JSON", "hello".into()),
        ("half an object", "{\"id\":\"evt_1\",".into()),
        ("an array", "[]".into()),
        ("null", "null".into()),
        ("a number", "1".into()),
        ("a text", "\"a\"".into()),
        ("an empty object", "{}".into()),
        ("two documents", format!("{}{}", inside("1"), inside("2"))),
        ("rubbish behind it", format!("{} x", inside("1"))),
        ("arrays a hundred thousand deep", nested("[", "]", 100_000)),
        ("objects a hundred thousand deep", nested("{\"a\":", "}", 100_000)),
        ("200 deep in a field", inside(&nested("[", "]", 200))),
        ("an open text", "{\"id\":\"evt_".into()),
        ("a lone surrogate", inside("\"\\ud800\"")),
        ("an unknown escape", inside("\"\\x41\"")),
        ("a control character in a text", inside("\"\u{1}\"")),
        ("NaN", inside("NaN")),
        ("a comment", inside("1 /* */")),
        ("a trailing comma", inside("[1,]")),
        ("a huge exponent", inside("1e999999999")),
        ("a number of 100 KB", inside(&"9".repeat(100_000))),
        ("an id that is a number", "{\"id\":1,\"type\":\"a.b\"}".into()),
        ("an id that is an object", "{\"id\":{},\"type\":\"a.b\"}".into()),
        ("an id that is null", "{\"id\":null,\"type\":\"a.b\"}".into()),
        ("an empty id", "{\"id\":\"\",\"type\":\"a.b\"}".into()),
        ("an id of 2 KiB", format!("{{\"id\":\"{}\",\"type\":\"a.b\"}}", long(2048))),
        ("a type of 300 bytes", format!("{{\"id\":\"e1\",\"type\":\"{}\"}}", long(300))),
        ("NUL in the id", "{\"id\":\"a\\u0000b\",\"type\":\"a.b\"}".into()),
        ("an escape in the type", "{\"id\":\"e2\",\"type\":\"\\u001b[31m\"}".into()),
        ("the id twice", "{\"id\":\"e3\",\"id\":\"e4\",\"type\":\"a.b\"}".into()),
        ("the type twice", "{\"id\":\"e5\",\"type\":\"a\",\"type\":\"b\"}".into()),
        (
            "a time beyond all times",
            "{\"id\":\"e6\",\"type\":\"a.b\",\"created\":9223372036854775807}".into(),
        ),
        ("a time that is a text", "{\"id\":\"e7\",\"type\":\"a.b\",\"created\":\"soon\"}".into()),
        ("a byte order mark", format!("\u{feff}{}", inside("1"))),
        (
            "a million keys",
            inside(&format!(
                "{{{}}}",
                (0..60_000).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",")
            )),
        ),
        (
            "the same key 60,000 times",
            inside(&format!("{{{}}}", vec!["\"a\":0"; 60_000].join(","))),
        ),
    ]
    .into_iter()
    .map(|(name, body)| (name.to_owned(), body.into_bytes()))
    .chain([
        ("not UTF-8".to_owned(), b"{\"id\":\"\xff\xfe\",\"type\":\"a.b\"}".to_vec()),
        ("UTF-16".to_owned(), "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("an overlong slash".to_owned(), b"{\"id\":\"\xc0\xaf\",\"type\":\"a.b\"}".to_vec()),
        ("zeros".to_owned(), vec![0; 1 << 20]),
        ("gzip".to_owned(), b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec()),
    ])
    .collect();
    bodies
        .into_iter()
        .map(|(name, body)| {
            case(format!("a true body: {name}"), signed(&body, ""), Status(&[200, 400]))
        })
        .chain(batches())
        .collect()
}

fn batches() -> Vec<Case> {
    let many: Vec<String> = (0..10_001).map(|n| format!("{{\"eventId\":{n}}}")).collect();
    let mut cases = vec![case("a batch above 10,000", posted(&hubspot(&many), ""), Status(&[200]))];
    for (name, body) in [
        ("a form that is no JSON", &b"payload=%7B%7D"[..]),
        ("not JSON", b"Hello, World!"),
        ("an action that is a number", b"{\"action\":1}"),
    ] {
        cases.push(case(
            format!("from GitHub: {name}"),
            posted(&github(&format!("d-{name}"), "issues", body), ""),
            Status(&[200, 400, 401]),
        ));
    }
    cases
}
