//! What the format must be able to say of batches, ids, kinds and handshakes, beyond what the
//! built-in definitions need so far.

use http::Method;

use super::cases::without_digest;
use super::fixtures::{at, request};
use super::formats::{EVENT, NOW, URL, events, ids, incoming, post, source};
use super::sign::{sign, sign_for};
use super::{Reply, challenge, handshake, learned, verify};
use crate::secret::Secret;

#[test]
fn batches_within_batches_and_what_holds_them() {
    let definition = "
[verify]
scheme = 'none'
[split]
at = ['/entry/*/changes/*/value/messages/*', '/entry/*/changes/*/value/statuses/*']
[event]
id      = ['{/id}:{/status}', '/id']
type    = '{^^^/object}.{^/field}'
subject = '^^/id'
at      = { pointer = '/timestamp', unit = 'seconds' }
";
    let source = source(definition, &[], &[]);
    let body = r#"{"object":"account","entry":[
        {"id":"E1","changes":[
            {"field":"messages","value":{"messages":[{"id":"m1","timestamp":"1700000001"},{"id":"m2"}]}},
            {"field":"messages","value":{"statuses":[{"id":"m1","status":"read"}]}}]},
        {"id":"E2","changes":[{"field":"other","value":{"messages":[]}}]}]}"#;
    let events = events(&source, &post(&[], body));
    let shown: Vec<_> = events
        .iter()
        .map(|e| (e.external_id.as_str(), e.event_type.as_str(), e.subject.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("m1", "account.messages", Some("E1")),
            ("m2", "account.messages", Some("E1")),
            ("m1:read", "account.messages", Some("E1")),
        ]
    );
    assert_eq!(events[0].occurred_at, at(1_700_000_001));
    assert_eq!(events[2].payload.json(), r#"{"id":"m1","status":"read"}"#);
}

#[test]
fn json_in_a_form_is_a_batch() {
    let definition = "
[body]
formats   = ['form']
form_json = 'events'
[verify]
scheme   = 'hmac-sha1'
header   = 'x-signature'
encoding = 'base64'
signed   = '{url}{form}'
[split]
at = '/*'
[event]
id   = '{/_id}:{/event}:{/ts}'
type = '/event'
at   = { pointer = '/ts', unit = 'seconds' }
[[handshake]]
signed = false
when   = { method = 'HEAD' }
";
    let source = source(definition, &["a secret of the test"], &[]);
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair(
            "events",
            r#"[{"event":"send","_id":"a","ts":1},{"event":"open","_id":"a","ts":2}]"#,
        )
        .finish();
    let key = Secret::new("a secret of the test");
    let signed = sign(&source.provider, &key, "send", body.into_bytes(), URL, at(NOW)).unwrap();
    let events = events(&source, &request(signed, at(NOW)));
    let ids: Vec<_> = events.iter().map(|e| e.external_id.as_str()).collect();
    assert_eq!(ids, ["a:send:1", "a:open:2"]);
    assert_eq!(events[1].payload.json(), r#"{"event":"open","_id":"a","ts":2}"#);
    let head = incoming(Method::HEAD, URL, &[], "");
    let empty = Reply { status: 200, content_type: None, headers: vec![], body: vec![] };
    assert_eq!(handshake(&source, &head, at(NOW)), Some(empty));
}

#[test]
fn lines_a_list_or_one_object() {
    let definition = format!(
        "[body]\nformats = ['json', 'ndjson']\n[verify]\nscheme = 'none'\n[split]\nat = '/*'\n{EVENT}"
    );
    let source = source(&definition, &[], &[]);
    assert_eq!(ids(&source, r#"{"id":1}"#), ["1"]);
    assert_eq!(ids(&source, r#"[{"id":1},{"id":2}]"#), ["1", "2"]);
    assert_eq!(ids(&source, "{\"id\":1}\n{\"id\":2}\r\n{\"id\":3}\n"), ["1", "2", "3"]);
    assert!(ids(&source, "[]").is_empty());
}

#[test]
fn the_first_member_names_the_class() {
    let definition = "
[verify]
scheme = 'none'
[split]
at        = '/*'
only_with = '/msys/*'
[event]
id      = '/msys/*/event_id'
type    = '{/msys/@key}.{/msys/*/type}'
subject = '/msys/*/rcpt_to'
";
    let source = source(definition, &[], &[]);
    let body = r#"[{"msys":{}},{"msys":{"track_event":{"type":"click","event_id":"7","rcpt_to":"a@example.com"}}}]"#;
    let events = events(&source, &post(&[], body));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_type, "track_event.click");
    assert_eq!(events[0].subject.as_deref(), Some("a@example.com"));
}

#[test]
fn handshakes_of_every_sort() {
    let definition = "
[settings.verify_token]
about = 'the token chosen when the URL was registered'
[verify]
scheme = 'hmac-sha256'
header = 'x-signature'
prefix = 'v0='
signed = '{body}'
[event]
id   = 'derived'
type = '/event'
[[handshake]]
signed = false
when   = { method = 'GET', query = 'hub.mode', is = 'subscribe' }
check  = { '{query:hub.verify_token}' = '{setting:verify_token}' }
text   = '{query:hub.challenge}'
[[handshake]]
signed = false
when   = { method = 'GET', header = 'x-verification-challenge' }
json   = { verification = '{header:x-verification-challenge}' }
[[handshake]]
signed  = false
when    = { method = 'OPTIONS', header = 'webhook-request-origin' }
headers = { 'webhook-allowed-origin' = '{header:webhook-request-origin}', 'webhook-allowed-rate' = '*' }
[[handshake]]
signed  = false
when    = { method = 'POST', header = 'x-hook-secret' }
headers = { 'x-hook-secret' = '{header:x-hook-secret}' }
[[handshake]]
when = { pointer = '/event', is = 'endpoint.url_validation' }
json = { plainToken = '{/payload/plainToken}', encryptedToken = '{hmac:/payload/plainToken}' }
";
    let source = source(definition, &["secretValueTest"], &[("verify_token", "mine")]);
    let get = |query: &str| {
        handshake(&source, &incoming(Method::GET, &format!("{URL}?{query}"), &[], ""), at(NOW))
    };
    let reply = get("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=mine").unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, &b"1158201444"[..]));
    assert_eq!(reply.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(get("hub.mode=subscribe&hub.challenge=1&hub.verify_token=other"), None);
    assert_eq!(
        get(&format!(
            "hub.mode=subscribe&hub.verify_token=mine&hub.challenge={}",
            "x".repeat(5000)
        )),
        None
    );

    let asked = incoming(Method::GET, URL, &[("x-verification-challenge", "a\"b")], "");
    let reply = handshake(&source, &asked, at(NOW)).unwrap();
    assert_eq!(reply.body, br#"{"verification":"a\"b"}"#);

    let origin = ("webhook-request-origin", "eventemitter.example.com");
    let asked = incoming(Method::OPTIONS, URL, &[origin], "");
    let reply = handshake(&source, &asked, at(NOW)).unwrap();
    assert_eq!(reply.headers.len(), 2);
    let asked = post(&[("x-hook-secret", "b537207f20cbfa02357cf448134da559")], "");
    assert_eq!(handshake(&source, &asked, at(NOW)).unwrap().headers.len(), 1);

    let body = r#"{"event_ts":1,"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    let key = Secret::new("secretValueTest");
    let signed = sign_for(&source, &key, "e", body.as_bytes().to_vec(), URL, at(NOW)).unwrap();
    let asked = request(signed, at(NOW));
    assert_eq!(handshake(&source, &asked, at(NOW)), None);
    let verified = verify(&source, &asked, at(NOW)).unwrap();
    let reply = challenge(&source, &verified).unwrap();
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"encryptedToken":"70c1f2e2e6ca2d39297490d1f9142c7d701415ea8e6151f6562a08fa657a40ff","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}"#
    );
}

#[test]
fn an_id_composed_with_a_digest_is_as_good_as_the_bytes() {
    let definition = "[verify]\nscheme = 'none'\n[split]\nat = '/events/*'\n[event]\n\
                      id = ['/id', '{^/tenant}:{derived}[:{/kind}]', 'derived']\ntype = 'thing'\n";
    let source = source(definition, &[], &[]);
    let body = r#"{"tenant":"t1","events":[{"id":"own"},{"a":1},{"a":1,"kind":"k"},{"a":1}]}"#;
    let events = events(&source, &post(&[], body));
    let ids: Vec<_> = events.iter().map(|e| (without_digest(e), e.id_is_derived)).collect();
    let id = |text: &str, is_derived| (text.to_owned(), is_derived);
    let expected = [
        id("own", false),
        id("t1:sha256:", true),
        id("t1:sha256::k", true),
        id("t1:sha256:", true),
    ];
    assert_eq!(ids, expected);
    assert_eq!(events[1].external_id, events[3].external_id);
    let other = super::formats::events(&source, &post(&[], r#"{"events":[{"a":1}]}"#));
    assert_eq!(without_digest(&other[0]), "sha256:");
}

#[test]
fn an_id_of_the_request_and_a_number_in_it() {
    let definition = "[verify]\nscheme = 'none'\n[split]\nat = '/changes/*'\n[event]\n\
                      id = '{header:x-request}[:{number}]'\ntype = 'thing'\n";
    let source = source(definition, &[], &[]);
    let ids = |body: &str| -> Vec<String> {
        let all = events(&source, &post(&[("x-request", "r")], body));
        assert!(all.iter().all(|e| !e.id_is_derived));
        all.into_iter().map(|e| e.external_id).collect()
    };
    assert_eq!(ids(r#"{"changes":[{},{},{}]}"#), ["r:0", "r:1", "r:2"]);
    assert_eq!(ids(r#"{"other":1}"#), ["r"]);
}

#[test]
fn one_object_may_stand_for_a_list_of_one() {
    let of = |more: &str| {
        let definition = format!(
            "[body]\nformats = ['xml']\n[verify]\nscheme = 'none'\n[split]\nat = '/a/b/*'\n{more}\n\
             [event]\nid = '{{^/a/org}}:{{/id}}'\ntype = ['/@type', 'thing']\n"
        );
        source(&definition, &[], &[])
    };
    let two = "<a><org>o</org><b type='t'><id>1</id></b><b><id>2</id></b></a>";
    let one = "<a><org>o</org><b type='t'><id>1</id></b></a>";
    assert_eq!(ids(&of("single = true"), two), ["o:1", "o:2"]);
    assert_eq!(ids(&of("single = true"), one), ["o:1"]);
    // Elsewhere an object at that place is none.
    let verified = post(&[], one);
    let other = of("otherwise = 'unreadable'");
    let verified = verify(&other, &verified, at(NOW)).unwrap();
    assert!(super::split(&other, &verified).is_err());
}

#[test]
fn a_kind_may_depend_on_several_things() {
    let definition = "
[verify]
scheme = 'none'
[split]
at = '/events/*'
[event]
id   = 'derived'
type = 'thing'
[kind.'payment.failed']
types = ['thing']
when  = { all = [{ pointer = '/ok', is = 'false' }, { any = [{ pointer = ['/x', '^/x'], is = ['1', '2'] }, { pointer = 'header:x-test' }] }] }
[kind.'payment.succeeded']
types = ['thing']
when  = { pointer = '/ok', is = 'true' }
";
    let source = source(definition, &[], &[]);
    let kinds = |headers: &[(&str, &str)], body: &str| -> Vec<Option<String>> {
        let all = events(&source, &post(headers, body));
        all.into_iter().map(|e| e.kind.as_deref().map(str::to_owned)).collect()
    };
    let failed = Some("payment.failed".to_owned());
    let body = r#"{"events":[{"ok":false},{"ok":false,"x":2},{"ok":false,"x":3},{"ok":true}]}"#;
    let succeeded = Some("payment.succeeded".to_owned());
    assert_eq!(kinds(&[], body), [None, failed.clone(), None, succeeded.clone()]);
    let with_outer = body.replacen('{', r#"{"x":"1","#, 1);
    assert_eq!(kinds(&[], &with_outer), [failed.clone(), failed.clone(), None, succeeded.clone()]);
    let headers = [("x-test", "")];
    assert_eq!(kinds(&headers, body), [failed.clone(), failed.clone(), failed, succeeded]);
}

#[test]
fn a_multipart_form_is_signed_in_its_field() {
    let definition = "
[body]
formats        = ['multipart']
form_json      = 'json'
form_json_only = true
[verify]
scheme  = 'hmac-sha256'
pointer = '/event/hash'
signed  = '{/event/time}{/event/type}'
[event]
id   = '/event/hash'
type = '/event/type'
[reply]
body   = 'taken'
within = '3s'
";
    let key = Secret::new("a secret of the test");
    let source = source(definition, &["a secret of the test"], &[]);
    let body = br#"{"event":{"time":"1","type":"t"}}"#.to_vec();
    let signed = sign(&source.provider, &key, "t", body, URL, at(NOW)).unwrap();
    let content_type = signed.headers.iter().find(|(n, _)| n == "content-type").unwrap();
    assert!(content_type.1.starts_with("multipart/form-data; boundary=relayflow-"));
    let request = request(signed, at(NOW));
    assert_eq!(events(&source, &request)[0].event_type, "t");
    let forged = String::from_utf8_lossy(&request.body).replace("\"t\"", "\"u\"");
    assert!(verify(&source, &post(&[], &forged), at(NOW)).is_err());
    assert_eq!(super::reply(&source, "{}").body, b"taken");
    assert_eq!(source.provider.reply_within, Some(std::time::Duration::from_secs(3)));
}

#[test]
fn a_secret_that_a_handshake_brings_is_answered_and_never_put_in_force() {
    let definition = format!(
        "[verify]\nscheme = 'hmac-sha256'\nheader = 'x-signature'\n[[handshake]]\nsigned = \
         false\nwhen = {{ header = 'x-secret' }}\nlearns = 'header:x-secret'\nheaders = {{ x-secret = \
         '{{header:x-secret}}' }}\n{EVENT}"
    );
    let waiting = source(&definition, &[], &[]);
    assert!(waiting.warnings[0].contains("waits for the secret"), "{:?}", waiting.warnings);
    let secret = "b537207f20cbfa02357cf448134da559";
    let shake = post(&[("x-secret", secret)], "");
    let answer = handshake(&waiting, &shake, at(NOW)).unwrap();
    assert_eq!((answer.status, answer.headers), (200, vec![("x-secret".into(), secret.into())]));
    assert!(learned(&waiting, &shake).unwrap().is(secret.as_bytes()));
    // What is too short or odd is not taken for one, and an event brings none.
    for other in ["short", "with a space in the middle", ""] {
        assert!(learned(&waiting, &post(&[("x-secret", other)], "")).is_none(), "{other}");
    }
    assert!(learned(&waiting, &post(&[("x-signature", secret)], "{}")).is_none());
    // Nothing is verified until it is configured, whoever signs.
    let key = Secret::new(secret);
    let body = br#"{"id":"1"}"#.to_vec();
    let signed = sign(&waiting.provider, &key, "t", body, URL, at(NOW)).unwrap();
    let event = request(signed, at(NOW));
    assert!(verify(&waiting, &event, at(NOW)).is_err());
    let set = source(&definition, &[secret], &[]);
    assert!(set.warnings.is_empty() && set.has_secret(&key));
    assert_eq!(events(&set, &event).len(), 1);
    // A request that is kept has only a digest of it.
    let kept = super::keep_headers(&set, &shake, &[3; 32]);
    assert!(kept.iter().any(|(n, v)| n == "x-secret" && v.starts_with("digest:")), "{kept:?}");
}
