//! What the format must be able to say, beyond what the built-in definitions need so far: each kind
//! of signature, batch, id, type and handshake that is known of any vendor, with published vectors
//! where there are any.

use std::path::Path;

use http::Method;
use jiff::SignedDuration;

use super::catalog::Provider;
use super::fixtures::{at, request};
use super::sign::{Signed, key_pair, sign, sign_for};
use super::{Catalog, Reply, Source, challenge, handshake, normalize, split, takes_method, verify};
use crate::config::SourceConfig;
use crate::event::IntegrationEvent;
use crate::id::EventId;
use crate::request::Request;
use crate::secret::Secret;

const NOW: i64 = 1_700_000_000;
const URL: &str = "https://hooks.example.com/in/test";
const HEAD: &str = "title = 'T'\ncategory = 'test'\nsource = 'none'\nchecked = '2026-11-24'\n";
const EVENT: &str = "[event]\nid = ['/id', 'derived']\ntype = ['/type', 'thing']\n";

/// A source of a provider that is written here.
fn source(definition: &str, secrets: &[&str], settings: &[(&str, &str)]) -> Source {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), format!("{HEAD}{definition}")).unwrap();
    let catalog = catalog(folder.path()).unwrap_or_else(|e| panic!("{e}"));
    let config = SourceConfig {
        name: "test".to_owned(),
        provider: "mine".to_owned(),
        secrets: secrets.iter().map(|s| Secret::new(*s)).collect(),
        tolerance: None,
        public_url: Some(URL.to_owned()),
        settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
    };
    Source::new(&config, None, &catalog).unwrap()
}

fn catalog(folder: &Path) -> Result<Catalog, String> {
    Catalog::with_dir(folder).map_err(|mistakes| {
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        shown.join("\n")
    })
}

fn mistakes(definition: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), format!("{HEAD}{definition}")).unwrap();
    let text = catalog(folder.path()).unwrap_err();
    text.replace(&folder.path().display().to_string(), "…")
}

fn incoming(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let signed = Signed { method, url: url.to_owned(), headers, body: body.as_bytes().to_vec() };
    request(signed, at(NOW))
}

fn post(headers: &[(&str, &str)], body: &str) -> Request {
    incoming(Method::POST, URL, headers, body)
}

/// The events of a request that must be verified.
fn events(source: &Source, request: &Request) -> Vec<IntegrationEvent> {
    let verified = verify(source, request, request.received_at).unwrap();
    let raws = split(source, &verified).unwrap();
    raws.into_iter().map(|r| normalize(source, &verified, r, EventId::next()).unwrap()).collect()
}

fn ids(source: &Source, body: &str) -> Vec<String> {
    events(source, &post(&[], body)).into_iter().map(|e| e.external_id).collect()
}

#[track_caller]
fn holds(source: &Source, request: &Request) {
    verify(source, request, request.received_at).unwrap();
    let mut body = request.body.to_vec();
    body.extend(b"x");
    let changed = Request { body: body.into(), ..request.clone() };
    assert!(verify(source, &changed, request.received_at).is_err());
}

#[test]
fn the_url_before_the_body() {
    let definition = format!(
        "[verify]\nscheme = 'hmac-sha256'\nheader = 'x-square-hmacsha256-signature'\nencoding = \
         'base64'\nsigned = '{{url}}{{body}}'\n{EVENT}"
    );
    let source = source(&definition, &["asdf1234"], &[]);
    let header = ("x-square-hmacsha256-signature", "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og=");
    let body = r#"{"hello":"world"}"#;
    holds(&source, &incoming(Method::POST, "https://example.com/webhook", &[header], body));
}

#[test]
fn a_signature_in_every_element_over_chosen_fields() {
    let definition = "
[verify]
scheme   = 'hmac-sha256'
each     = true
pointer  = '/additionalData/hmacSignature'
signed   = '{/pspReference}:{/originalReference}:{/merchantAccountCode}:{/merchantReference}:{/amount/value}:{/amount/currency}:{/eventCode}:{/success}'
encoding = 'base64'
key      = 'hex'
[split]
at = '/notificationItems/*/NotificationRequestItem'
[event]
id      = '{/pspReference}:{/eventCode}'
type    = '/eventCode'
subject = '/pspReference'
[reply]
body = '[accepted]'
[kind.'payment.succeeded']
types      = ['AUTHORISATION']
when       = { pointer = '/success', is = 'true' }
attributes = { amount_minor = '/amount/value', currency = '/amount/currency' }
";
    let key = "9064450A8892A093D9E97EFCC9639DE31B74F3A7803135555A3C96F5A57915D6";
    let source = source(definition, &[key], &[]);
    let item = |value: u32| {
        format!(
            r#"{{"NotificationRequestItem":{{"pspReference":"test_REPORT_AVAILABLE","merchantAccountCode":"Magento2Rik","merchantReference":"testMerchantRef1","amount":{{"value":{value},"currency":"EUR"}},"eventCode":"REPORT_AVAILABLE","success":"true","additionalData":{{"hmacSignature":"NuEkADFmlCC6VgX+wcoPAegIWxVPNBPCuKlM4Hzo5qc="}}}}}}"#
        )
    };
    let both =
        |a, b| format!(r#"{{"live":"false","notificationItems":[{},{}]}}"#, item(a), item(b));
    let events = events(&source, &post(&[], &both(0, 0)));
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].external_id, "test_REPORT_AVAILABLE:REPORT_AVAILABLE");
    // One forged element is enough to refuse the request.
    assert!(verify(&source, &post(&[], &both(0, 1)), at(NOW)).is_err());
    let unsigned = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","amount":{"value":1,"currency":"EUR"},"eventCode":"CAPTURE","success":"true"}},{"NotificationRequestItem":{"pspReference":"2","eventCode":"REFUND"}}]}"#;
    let signed =
        sign_for(&source, &Secret::new(key), "CAPTURE", unsigned.into(), URL, at(NOW)).unwrap();
    verify(&source, &request(signed, at(NOW)), at(NOW)).unwrap();
    let none = post(&[], r#"{"notificationItems":[]}"#);
    assert!(verify(&source, &none, at(NOW)).is_err());
    assert_eq!(super::reply(&source, "{}").body, b"[accepted]");
}

#[test]
fn the_timestamp_after_the_body_and_two_headers_for_two_keys() {
    let definition = format!(
        "[verify]\nscheme = 'hmac-sha256'\nheader = ['box-signature-primary', \
         'box-signature-secondary']\nsigned = '{{body}}{{timestamp}}'\nencoding = \
         'base64'\ntimestamp = {{ header = 'box-delivery-timestamp', unit = 'rfc3339' }}\n\
         tolerance = '10m'\n{EVENT}"
    );
    let body = r#"{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}"#;
    let headers = [
        ("box-delivery-timestamp", "2020-01-01T00:00:00-07:00"),
        ("box-signature-primary", "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI="),
        ("box-signature-secondary", "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo="),
    ];
    let now = "2020-01-01T07:00:01Z".parse().unwrap();
    for key in ["SamplePrimaryKey", "SampleSecondaryKey"] {
        let source = source(&definition, &[key], &[]);
        holds(&source, &Request { received_at: now, ..post(&headers, body) });
    }
}

#[test]
fn the_body_before_the_time() {
    let definition = format!(
        "[verify]\nscheme = 'hmac-sha256'\nheader = 'x-signature'\nencoding = 'base64'\nsigned = \
         '{{body}}{{timestamp}}'\ntimestamp = {{ header = 'x-signature-timestamp', unit = \
         'rfc3339' }}\n{EVENT}"
    );
    let source = source(&definition, &["HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA="], &[]);
    let headers = [
        ("x-signature", "tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw="),
        ("x-signature-timestamp", "2021-07-25T10:00:00Z"),
    ];
    let now = "2021-07-25T10:00:01Z".parse().unwrap();
    holds(&source, &Request { received_at: now, ..post(&headers, r#"{"say": "hello"}"#) });
}

#[test]
fn an_id_and_a_time_with_nine_digits_in_front() {
    let definition = format!(
        "[verify]\nscheme = 'hmac-sha256'\nheader = 'message-signature'\nprefix = 'sha256='\n\
         signed = '{{id}}{{timestamp}}{{body}}'\nid = 'message-id'\ntimestamp = {{ header = \
         'message-timestamp', unit = 'rfc3339' }}\ntolerance = '10m'\n{EVENT}"
    );
    let source = source(&definition, &["secretabcd"], &[]);
    let signed = sign(
        &source.provider,
        &Secret::new("secretabcd"),
        "t",
        br#"{"id":"1"}"#.to_vec(),
        URL,
        at(NOW),
    )
    .unwrap();
    holds(&source, &request(signed, at(NOW)));
}

#[test]
fn a_row_of_time_and_signatures() {
    let definition = format!(
        "[verify]\nscheme = 'hmac-sha256'\nheader = 'signature'\nseparator = ','\nsigned = \
         '{{timestamp}}.{{body}}'\ntimestamp = {{ item = 0, unit = 'seconds-or-milliseconds' }}\n{EVENT}"
    );
    let source = source(&definition, &["a secret of the test"], &[]);
    let key = Secret::new("a secret of the test");
    let signed =
        sign(&source.provider, &key, "t", br#"{"id":"1"}"#.to_vec(), URL, at(NOW)).unwrap();
    assert!(signed.headers.iter().any(|(_, v)| v.starts_with("1700000000,")));
    holds(&source, &request(signed, at(NOW)));
}

#[test]
fn a_signature_in_a_form_beside_what_it_signs() {
    let definition = "
[settings.public_key]
about = 'the public key that names our signature'
[body]
formats = ['form']
[verify]
scheme  = 'hmac-sha1'
pointer = '/bt_signature'
parts   = { signature = '{setting:public_key}', separator = '&', assign = '|' }
signed  = '{/bt_payload}'
key     = 'sha1'
[event]
id   = 'derived'
type = 'thing'
[[handshake]]
signed = false
when   = { method = 'GET', query = 'bt_challenge' }
text   = '{setting:public_key}|{hmac:query:bt_challenge}'
";
    let settings = [("public_key", "integration_public_key")];
    let source = source(definition, &["integration_private_key"], &settings);
    let url = format!("{URL}?bt_challenge=20f9f8ed05f77439fe955c977e4c8a53");
    let asked = incoming(Method::GET, &url, &[], "");
    let reply = handshake(&source, &asked, at(NOW)).unwrap();
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        "integration_public_key|d9b899556c966b3f06945ec21311865d35df3ce4"
    );
    assert!(takes_method(&source, &Method::GET) && !takes_method(&source, &Method::PUT));

    let mac = |payload: &str| {
        let key = super::key::Key::new(
            super::definition::Scheme::HmacSha1,
            super::definition::KeyEncoding::Sha1,
            &Secret::new("integration_private_key"),
        );
        let Ok(Some(super::key::Key::Mac(key))) = key else { panic!("an HMAC") };
        hex::encode(key.sum(&[payload.as_bytes()]))
    };
    let body = |payload: &str| {
        let signature = format!("other|{}&integration_public_key|{}", "0".repeat(40), mac("PGE+"));
        form_urlencoded::Serializer::new(String::new())
            .append_pair("bt_signature", &signature)
            .append_pair("bt_payload", payload)
            .finish()
    };
    assert!(verify(&source, &post(&[], &body("PGE+")), at(NOW)).is_ok());
    assert!(verify(&source, &post(&[], &body("PGI+")), at(NOW)).is_err());
}

#[test]
fn a_token_in_the_url() {
    let definition = format!("[verify]\nscheme = 'token'\nquery = 'key'\n{EVENT}");
    let source = source(&definition, &["a token & more"], &[]);
    let asked = |query: &str| incoming(Method::POST, &format!("{URL}?{query}"), &[], "{}");
    assert!(verify(&source, &asked("a=1&key=a+token+%26+more"), at(NOW)).is_ok());
    for wrong in ["", "key=", "key=a+token", "key=a+token+%26+more&key=x"] {
        assert!(verify(&source, &asked(wrong), at(NOW)).is_err(), "{wrong}");
    }
    let kept = super::keep_target(&source, &asked("a=1&key=a+token+%26+more&b=%20"), &[5; 32]);
    assert!(kept.starts_with("/in/test?a=1&key=digest:") && kept.ends_with("&b=%20"), "{kept}");
    let again = incoming(Method::POST, &format!("https://h{kept}"), &[], "{}");
    assert!(super::verify_kept(&source, &again, at(NOW), &[5; 32]).is_ok());
}

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
fn ecdsa_as_two_numbers() {
    let definition = format!(
        "[verify]\nscheme = 'ecdsa-p256'\nform = 'raw'\nheader = 'x-signature'\nencoding = 'base64url'\n{EVENT}"
    );
    let provider = Provider::new("mine", &format!("{HEAD}{definition}"), "", false).unwrap();
    let keys = key_pair(&provider, [6; 32]);
    let verifying = String::from_utf8(keys.verifying.expose().to_vec()).unwrap();
    let source = source(&definition, &[&verifying], &[]);
    let signed =
        sign(&provider, &keys.signing, "t", br#"{"id":"1"}"#.to_vec(), URL, at(NOW)).unwrap();
    holds(&source, &request(signed, at(NOW)));
}

#[track_caller]
fn is_mistake(definition: &str, parts: &[&str]) {
    let shown = mistakes(definition);
    for part in parts {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
}

#[test]
fn a_misspelt_key_names_itself_its_line_and_the_alternatives() {
    let shown = mistakes(&format!("[verify]\nscheme = 'none'\nheeder = 'x'\n{EVENT}"));
    insta::assert_snapshot!(shown, @r"
    error: unknown field `heeder`, expected one of `scheme`, `only_if`, `when`, `header`, `pointer`, `query`, `each`, `separator`, `prefix`, `parts`, `signed`, `encoding`, `form`, `key`, `id`, `timestamp`, `tolerance`, `url`, `body`, `digest`, `algorithm`, `keys`, `check`, `claims`, `components`
      …/mine.toml:7:1
      heeder = 'x'
      ^^^^^^
    ");
}

#[test]
fn a_mistake_names_the_line_and_what_was_wanted() {
    let way = |way: &str| format!("[verify]\n{way}\n{EVENT}");
    let hmac = |more: &str| way(&format!("scheme = 'hmac-sha256'\nheader = 'x'\n{more}"));
    is_mistake(
        &way("scheme = 'hmac-md5'\nheader = 'x'"),
        &["mine.toml:6:10", "unknown variant `hmac-md5`, expected one of `hmac-sha1`"],
    );
    is_mistake(
        &hmac("signed = '{tmestamp}.{body}'"),
        &["mine.toml:8:10", "`{tmestamp}` cannot be signed: wanted body, timestamp"],
    );
    is_mistake(&hmac("signed = '{timestamp}.{body}'"), &["mine.toml:8:10", "nothing says where"]);
    is_mistake(&hmac("tolerance = '5m'"), &["no time is signed"]);
    is_mistake(&hmac("id = 'x-id'\nsigned = '{secret}{body}'"), &["`{secret}` stands in"]);
    is_mistake(&hmac("when = { pointer = '/type' }"), &["nothing else is read of what is not"]);
    is_mistake(&way("scheme = 'hmac-sha256'"), &["needs one of `header`, `pointer` and `query`"]);
    is_mistake(&way("scheme = 'basic'\nheader = 'x'"), &["`basic` needs no `header`"]);
    is_mistake(&way("scheme = 'bearer'\nsigned = '{body}'"), &["`bearer` signs nothing"]);
    is_mistake(
        &way("scheme = 'token'\nheader = 'x'\nprefix = '{setting:p}'"),
        &["mine.toml:8:11", "`{setting:p}` is not declared"],
    );
    let open = "[verify]\nscheme = 'none'\n";
    is_mistake(
        &format!("{open}[event]\nid = 'id'\ntype = '/a~b'"),
        &["mine.toml:8:6", "`id` names no place", "mine.toml:9:8", "must be `~0` or `~1`"],
    );
    is_mistake(
        &format!("{open}[event]\nid = ['derived', '/id']\ntype = '/t'"),
        &["must be the last"],
    );
    is_mistake(&format!("{open}[event]\nid = '^/id'\ntype = '/t'"), &["`^` reaches over 0 levels"]);
    is_mistake(&format!("{open}[split]\nat = '/items'\n{EVENT}"), &["`/items` has no `*`"]);
    is_mistake(
        &format!("{open}{EVENT}[kind.'payment.failled']\ntypes = ['x']"),
        &["mine.toml:10:7", "of `payment` there are", "payment.failed"],
    );
    is_mistake(
        &format!(
            "{open}{EVENT}[kind.'user.deleted']\ntypes = ['x']\nattributes = {{ usr = '/id' }}"
        ),
        &["mine.toml:12:16", "`usr` is no attribute of `user.deleted`: wanted user, email"],
    );
    is_mistake(
        &format!("{open}{EVENT}[kind.'user.deleted']\ntypes = ['x', 'x']"),
        &["`x` has two kinds"],
    );
    is_mistake(
        &format!(
            "{open}{EVENT}[kind.'meeting.started']\ntypes = ['x']\nattributes = {{ starts_at = '/at' }}"
        ),
        &["a time, and nothing else, has a `unit`"],
    );
}

#[test]
fn a_folder_of_definitions_replaces_and_adds() {
    let folder = tempfile::tempdir().unwrap();
    let mine = format!("{HEAD}[verify]\nscheme = 'none'\n{EVENT}");
    std::fs::write(folder.path().join("mine.toml"), &mine).unwrap();
    std::fs::write(folder.path().join("stripe.toml"), &mine).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a definition").unwrap();
    let catalog = Catalog::with_dir(folder.path()).unwrap();
    assert!(!catalog.get("mine").unwrap().built_in && !catalog.get("stripe").unwrap().built_in);
    assert!(catalog.get("github").unwrap().built_in);
    assert!(Catalog::with_dir(&folder.path().join("none")).is_err());
}

#[test]
fn a_source_that_cannot_work_is_refused_with_what_to_do() {
    let catalog = Catalog::built_in();
    let config = |provider: &str, secrets: &[&str]| SourceConfig {
        name: "test".to_owned(),
        provider: provider.to_owned(),
        secrets: secrets.iter().map(|s| Secret::new(*s)).collect(),
        tolerance: None,
        public_url: None,
        settings: std::collections::BTreeMap::new(),
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
    };
    let refused = |config: &SourceConfig, part: &str| {
        let error = Source::new(config, None, &catalog).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&config("strip", &["x"]), "there is no provider `strip`; did you mean stripe?");
    refused(&config("stripe", &[]), "`stripe` needs a secret");
    refused(&config("stripe", &[""]), "a secret is empty");
    refused(&config("stripe", &["a", "b", "c", "d", "e"]), "there are 5 secrets");
    refused(&config("discord", &["not a key"]), "wanted an Ed25519 public key");
    refused(&config("sendgrid", &["abc"]), "wanted a P-256 public key");
    refused(&config("postmark", &["no colon"]), "wanted `user:password`");
    let mut odd = config("generic", &["a secret of the test"]);
    odd.settings.insert("hedder".to_owned(), "x".to_owned());
    refused(&odd, "there is no setting `hedder`: wanted algorithm, encoding, header");
    odd.settings.clear();
    odd.settings.insert("algorithm".to_owned(), "md5".to_owned());
    refused(&odd, "unknown variant `hmac-md5`");
    odd.settings.clear();
    odd.settings.insert("scheme".to_owned(), "none".to_owned());
    refused(&odd, "it takes no secret");

    let short = Source::new(&config("stripe", &["short"]), None, &catalog).unwrap();
    assert!(short.warnings[0].contains("fewer than 16 bytes"));
    assert_eq!(short.secret_fingerprints()[0].len(), "sha256:".len() + 8);
    assert_eq!((short.tolerance_label().as_str(), &*short.scheme_label), ("5m", "hmac-sha256"));
    let url = Source::new(&config("twilio", &["a secret of the test"]), None, &catalog).unwrap();
    assert!(url.warnings[0].contains("public_url"), "{:?}", url.warnings);
    let url =
        Source::new(&config("twilio", &["a secret of the test"]), Some("https://h/"), &catalog);
    assert_eq!(url.unwrap().public_url.as_deref(), Some("https://h/in/test"));
}
