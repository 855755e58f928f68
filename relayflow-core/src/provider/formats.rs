//! What the format must be able to say, beyond what the built-in definitions need so far: each kind
//! of signature, batch, id, type and handshake that is known of any vendor, with published vectors
//! where there are any.

use std::path::Path;

use http::Method;
use jiff::SignedDuration;

use super::catalog::Provider;
use super::fixtures::{at, request};
use super::sign::{Signed, key_pair, sign, sign_for};
use super::{Catalog, Source, handshake, normalize, split, takes_method, verify};
use crate::config::SourceConfig;
use crate::event::IntegrationEvent;
use crate::id::EventId;
use crate::request::Request;
use crate::secret::Secret;

pub(super) const NOW: i64 = 1_700_000_000;
pub(super) const URL: &str = "https://hooks.example.com/in/test";
pub(super) const HEAD: &str =
    "title = 'T'\ncategory = 'test'\nsource = 'none'\nchecked = '2026-11-24'\n";
pub(super) const EVENT: &str = "[event]\nid = ['/id', 'derived']\ntype = ['/type', 'thing']\n";

/// A source of a provider that is written here.
pub(super) fn source(definition: &str, secrets: &[&str], settings: &[(&str, &str)]) -> Source {
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
        reconcile: None,
    };
    Source::new(&config, None, &catalog).unwrap()
}

pub(super) fn catalog(folder: &Path) -> Result<Catalog, String> {
    Catalog::with_dir(folder).map_err(|mistakes| {
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        shown.join("\n")
    })
}

pub(super) fn mistakes(definition: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), format!("{HEAD}{definition}")).unwrap();
    let text = catalog(folder.path()).unwrap_err();
    text.replace(&folder.path().display().to_string(), "…")
}

pub(super) fn incoming(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let signed = Signed { method, url: url.to_owned(), headers, body: body.as_bytes().to_vec() };
    request(signed, at(NOW))
}

pub(super) fn post(headers: &[(&str, &str)], body: &str) -> Request {
    incoming(Method::POST, URL, headers, body)
}

/// The events of a request that must be verified.
pub(super) fn events(source: &Source, request: &Request) -> Vec<IntegrationEvent> {
    let verified = verify(source, request, request.received_at).unwrap();
    let raws = split(source, &verified).unwrap();
    raws.into_iter().map(|r| normalize(source, &verified, r, EventId::next()).unwrap()).collect()
}

pub(super) fn ids(source: &Source, body: &str) -> Vec<String> {
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
