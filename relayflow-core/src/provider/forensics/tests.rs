//! Whatever `send` can spoil and whatever a proxy does is named first.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::api::codes::Blame;
use crate::config::SourceConfig;
use crate::provider::sign::{key_pair, sign_for};
use crate::provider::{Provider, cases, keypair, tamper};

const URL: &str = "https://hooks.example.com/in/own";
const DIGEST_KEY: [u8; 32] = [9; 32];
const NAMES: [(&str, &str); 3] = [("stripe", "stripe"), ("github", "github"), ("slack", "slack")];

/// To read all definitions takes longer than any one test.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(Catalog::built_in)
}

fn now() -> Timestamp {
    Timestamp::from_second(1_767_607_203).unwrap()
}

fn named(catalog: &Catalog, provider: &Provider, name: &str, secrets: Vec<Secret>) -> Arc<Source> {
    let config = SourceConfig {
        name: name.to_owned(),
        provider: provider.name.to_string(),
        secrets,
        tolerance: None,
        public_url: Some(URL.replace("own", name)),
        settings: provider.examples.clone(),
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
        reconcile: None,
    };
    Arc::new(Source::new(&config, None, catalog).unwrap())
}

/// A source, a request that it would take, and others beside it.
struct Setting {
    catalog: &'static Catalog,
    sources: Vec<Arc<Source>>,
    spare: Vec<Spare>,
    beside: Beside,
    request: Request,
}

impl Setting {
    fn new(provider: &str) -> Self {
        Self::signed(provider, [7; 32], now(), |_| {})
    }

    fn signed(
        provider: &str,
        seed: [u8; 32],
        at: Timestamp,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let catalog = catalog();
        let one = catalog.get(provider).unwrap();
        let own = named(catalog, one, "own", vec![key_pair(one, [7; 32]).verifying]);
        let other = named(catalog, one, "other", vec![key_pair(one, [8; 32]).verifying]);
        let sample = one.samples().first().unwrap();
        let mut body = sample.body(1, now());
        change(&mut body);
        let key = key_pair(one, seed).signing;
        let mut letter = sign_for(&own, &key, &sample.event_type, body, URL, at).unwrap();
        letter.headers.extend(sample.headers.clone());
        let request = cases::request_of(letter, now()).unwrap();
        let sources = vec![own, other];
        Self { catalog, sources, spare: vec![], beside: Beside::default(), request }
    }

    fn own(&self) -> &Source {
        &self.sources[0]
    }

    fn findings(&self) -> Findings {
        let mut kept = self.request.clone();
        kept.headers.clear();
        let headers = crate::provider::keep_headers(self.own(), &self.request, &DIGEST_KEY);
        let renamed = crate::provider::keep_renamed(self.own(), &self.request, &DIGEST_KEY);
        for (name, value) in headers.into_iter().chain(renamed) {
            let name: HeaderName = name.parse().unwrap();
            kept.headers.append(name, HeaderValue::from_str(&value).unwrap());
        }
        kept.target = crate::provider::keep_target(self.own(), &self.request, &DIGEST_KEY);
        explain(&Case {
            request: &kept,
            source_name: "own",
            provider: &self.own().provider.name,
            source: Some(self.own()),
            was_rejected: true,
            sources: &self.sources,
            spare: &self.spare,
            catalog: self.catalog,
            digest_key: &DIGEST_KEY,
            fetched: &FetchedKeys::default(),
            beside: self.beside.clone(),
        })
    }

    /// The first cause, and that no secret stands in what is said.
    #[track_caller]
    fn first(&self) -> (Blame, String) {
        let found = self.findings();
        assert_eq!(found.verified, None, "{found:?}");
        let told = serde_json::to_string(&found.causes).unwrap();
        for secret in self.sources.iter().flat_map(|source| &source.secrets) {
            let secret = std::str::from_utf8(secret.expose()).unwrap();
            assert!(!told.contains(secret), "{told}");
        }
        let first = found.causes.first().unwrap();
        assert!(!first.mend.is_empty(), "{first:?}");
        let blame = Blame::ALL.iter().find(|blame| blame.as_str() == first.cause).unwrap();
        (*blame, format!("{} {} {}", first.confidence, first.says, first.evidence.join("; ")))
    }

    #[track_caller]
    fn is_first(&self, blame: Blame, parts: &[&str]) {
        let (first, told) = self.first();
        assert_eq!(first, blame, "{told}");
        for part in parts {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }
}

fn with_body(setting: &mut Setting, change: impl FnOnce(&[u8]) -> Vec<u8>) {
    setting.request.body = Bytes::from(change(&setting.request.body));
}

#[test]
fn what_verifies_says_with_which_secret_and_how() {
    let found = Setting::new("stripe").findings();
    let verified = found.verified.unwrap();
    let secret = verified.secret.unwrap();
    assert!(secret.starts_with("secret #1 of `own` (sha256:"), "{secret}");
    assert_eq!(verified.scheme, "hmac-sha256 in `stripe-signature`");
    assert_eq!((verified.skew_ms, &*verified.tolerance), (Some(0), "5m"));
    // It was turned away once.
    assert_eq!(found.causes[0].cause, "mended");
    assert!(found.causes[0].mend[0].text.starts_with("relayflow requests replay req_"));
}

#[test]
fn the_secret_that_signed_is_named() {
    let setting = Setting::signed("stripe", [8; 32], now(), |_| {});
    setting.is_first(Blame::WrongSecret, &["certain", "source `other`", "secret #1 of `other`"]);

    let mut setting = Setting::signed("stripe", [6; 32], now(), |_| {});
    setting.is_first(Blame::WrongSecret, &["likely", "none of", "no request of this source"]);
    setting.beside.verified_before = Some(("req_1".to_owned(), now()));
    setting.is_first(Blame::WrongSecret, &["likely", "req_1 was verified"]);

    let provider = setting.catalog.get("stripe").unwrap();
    let former = key_pair(provider, [6; 32]).verifying;
    for standing in [Standing::Retired, Standing::Learned] {
        setting.spare = vec![Spare { source: "own".into(), secret: former.clone(), standing }];
        setting.is_first(Blame::RotatedSecret, &["certain", "of `own` (sha256:"]);
    }
}

#[test]
fn a_secret_that_is_written_otherwise_is_found() {
    let setting = Setting::new("stripe");
    let provider = Arc::clone(setting.catalog.get("stripe").unwrap());
    let right = key_pair(&provider, [7; 32]).verifying;
    let right = std::str::from_utf8(right.expose()).unwrap().to_owned();
    for (given, how) in [
        (format!(" {right}"), "white space"),
        (format!("\"{right}\""), "quotes"),
        (format!("whsec_{right}"), "last `_`"),
    ] {
        let mut setting = Setting::new("stripe");
        setting.sources[0] = named(setting.catalog, &provider, "own", vec![Secret::new(given)]);
        setting.is_first(Blame::SecretSpelling, &["certain", how]);
    }
}

#[test]
fn a_clock_that_is_off_is_told_with_its_side() {
    for (seconds, parts) in [
        (-412, &["certain", "6m 52s before", "5m is tolerated"][..]),
        (412, &["certain", "6m 52s after", "the sender's clock is ahead"][..]),
    ] {
        let at = now() + SignedDuration::from_secs(seconds);
        Setting::signed("stripe", [7; 32], at, |_| {}).is_first(Blame::ClockSkew, parts);
    }
    let old = now() - SignedDuration::from_hours(30);
    let mut setting = Setting::signed("stripe", [7; 32], old, |_| {});
    let body = setting.request.body.clone();
    setting.beside.same_event = Some(Same { request: "req_9".into(), received_at: old, body });
    setting.is_first(Blame::Replayed, &["30h", "as req_9"]);
}

#[test]
fn what_a_proxy_did_to_the_body_is_named() {
    let pretty = |body: &mut Vec<u8>| {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap();
        *body = serde_json::to_vec_pretty(&json).unwrap();
    };
    for provider in ["stripe", "github", "slack", "shopify"] {
        let check = |change: fn(&[u8]) -> Vec<u8>, part: &str| {
            let mut setting = Setting::signed(provider, [7; 32], now(), pretty);
            if setting.request.body.starts_with(b"{") {
                with_body(&mut setting, change);
                setting.is_first(Blame::BodyAltered, &["certain", part]);
            }
        };
        let compact = |body: &[u8]| {
            let json: serde_json::Value = serde_json::from_slice(body).unwrap();
            serde_json::to_vec(&json).unwrap()
        };
        check(compact, "indented by two");
        check(|body| [body, b"\n"].concat(), "a line end was put behind it");
        check(|body| [b"\xef\xbb\xbf", body].concat(), "byte order mark was put before");
        check(
            |body| String::from_utf8_lossy(body).replace('\n', "\r\n").into_bytes(),
            "LF became CRLF",
        );
        check(|body| serde_json::to_vec(&String::from_utf8_lossy(body)).unwrap(), "JSON text");
    }
    let mut cut = Setting::new("stripe");
    with_body(&mut cut, |body| body[..body.len() / 2].to_vec());
    cut.request.headers.insert("content-type", HeaderValue::from_static("application/json"));
    cut.is_first(Blame::BodyAltered, &["likely", "may have been cut"]);
    let mut gzip = Setting::new("stripe");
    with_body(&mut gzip, |body| [&[0x1f, 0x8b, 8], body].concat());
    gzip.is_first(Blame::BodyAltered, &["likely", "gzip"]);
}

#[test]
fn the_same_event_with_other_bytes_tells_that_they_were_changed() {
    let mut setting = Setting::new("discord");
    let body = setting.request.body.clone();
    with_body(&mut setting, |body| [&body[..body.len() - 1], b" ,\"x\":2}"].concat());
    setting.beside.same_event = Some(Same { request: "req_9".into(), received_at: now(), body });
    setting.is_first(Blame::BodyAltered, &["likely", "req_9 was verified"]);
}

#[test]
fn a_changed_header_is_named() {
    let rename = |setting: &mut Setting, from: &str, to: &'static str| {
        let value = setting.request.headers.remove(from).unwrap();
        setting.request.headers.insert(to, value);
    };
    let mut setting = Setting::new("stripe");
    rename(&mut setting, "stripe-signature", "x-original-stripe-signature");
    setting.is_first(
        Blame::HeaderRenamed,
        &["certain", "`stripe-signature` came as `x-original-stripe-signature`"],
    );

    let value = |setting: &mut Setting, name: &'static str, change: &dyn Fn(&str) -> String| {
        let value = change(setting.request.headers[name].to_str().unwrap());
        setting.request.headers.insert(name, HeaderValue::from_str(&value).unwrap());
    };
    for (change, blame, part) in [
        (
            &(|v: &str| format!("\"{v}\"")) as &dyn Fn(&str) -> String,
            Blame::SignatureAltered,
            "quotes",
        ),
        (
            &|v: &str| v[..v.len() - 20].to_owned(),
            Blame::SignatureAltered,
            "44 of 64 characters came",
        ),
        (
            &|v: &str| v[..v.len() - 1].to_owned(),
            Blame::SignatureAltered,
            "63 of 64 characters came",
        ),
        (&|v: &str| v.to_uppercase(), Blame::SignatureAltered, "capitals"),
        (
            &|v: &str| v.replace("sha256=", ""),
            Blame::SignatureAltered,
            "`sha256=` before it was cut",
        ),
        (&|v: &str| format!("{v}, {v}"), Blame::SignatureAltered, "doubled"),
        (
            &|_: &str| "sha256=zz".to_owned(),
            Blame::SignatureAltered,
            "no signature that can be read",
        ),
    ] {
        let mut setting = Setting::new("github");
        value(&mut setting, "x-hub-signature-256", change);
        setting.is_first(blame, &[part]);
    }
    let mut setting = Setting::new("github");
    let twice = setting.request.headers["x-hub-signature-256"].clone();
    setting.request.headers.append("x-hub-signature-256", twice);
    setting.is_first(Blame::SignatureAltered, &["2 times"]);

    let mut setting = Setting::new("github");
    setting.request.headers.remove("x-hub-signature-256");
    setting.is_first(Blame::SignatureMissing, &["has no `x-hub-signature-256`"]);
}

#[test]
fn another_url_is_named_where_urls_are_signed() {
    for (url, part) in [
        ("http://hooks.example.com/in/own", "http in place of https"),
        ("https://hooks.example.com:8443/in/own", "8443"),
        ("https://hooks.example.com/in/own/", "the slash at the end"),
        ("https://hooks.example.com/in/other", "path `/in/other`"),
        ("https://10.0.0.7/in/own", "host `10.0.0.7`"),
    ] {
        let catalog = catalog();
        let square = catalog.get("square").unwrap();
        let key = key_pair(square, [7; 32]);
        let mut setting = Setting::new("square");
        let sample = square.samples().first().unwrap();
        let body = sample.body(1, now());
        let letter =
            sign_for(setting.own(), &key.signing, &sample.event_type, body, url, now()).unwrap();
        setting.request = cases::request_of(letter, now()).unwrap();
        setting.request.url = URL.to_owned();
        let host = url.split('/').nth(2).unwrap();
        setting.request.headers.insert("host", HeaderValue::from_str(host).unwrap());
        setting.is_first(Blame::WrongUrl, &["certain", part]);
    }
}

#[test]
fn another_providers_request_is_known() {
    let catalog = catalog();
    for (own, other) in [("stripe", "github"), ("github", "slack"), ("slack", "shopify")] {
        let theirs = Setting::new(other);
        // The secret is right, and the provider is not.
        let mut setting = Setting::new(own);
        let provider = catalog.get(own).unwrap();
        let secret = key_pair(catalog.get(other).unwrap(), [7; 32]).verifying;
        setting.sources = vec![named(catalog, provider, "own", vec![secret])];
        setting.request = theirs.request.clone();
        setting.request.url = URL.to_owned();
        setting.is_first(Blame::WrongProvider, &["certain", &format!("`{other}`")]);
        // Neither is.
        let mut setting = Setting::new(own);
        setting.sources.truncate(1);
        let mut request = Setting::signed(other, [5; 32], now(), |_| {}).request;
        request.url = URL.to_owned();
        setting.request = request;
        setting.is_first(Blame::WrongProvider, &["likely", &format!("`{other}`")]);
    }
    // There is a source for it.
    let mut setting = Setting::new("stripe");
    let github = catalog.get("github").unwrap();
    setting.sources.push(named(catalog, github, "hub", vec![key_pair(github, [4; 32]).verifying]));
    setting.request = Setting::signed("github", [4; 32], now(), |_| {}).request;
    setting.is_first(Blame::WrongProvider, &["certain", "secret #1 of `hub`"]);
    assert!(setting.findings().causes[0].mend[0].text.contains("/in/hub"));
}

#[test]
fn a_source_that_is_gone_is_the_first_thing_said() {
    let setting = Setting::new("stripe");
    let findings = explain(&Case {
        request: &setting.request,
        source_name: "shop",
        provider: "stripe",
        source: None,
        was_rejected: true,
        sources: &setting.sources,
        spare: &[],
        catalog: setting.catalog,
        digest_key: &DIGEST_KEY,
        fetched: &FetchedKeys::default(),
        beside: Beside::default(),
    });
    assert_eq!(findings.causes[0].cause, "no_source");
    assert!(findings.causes[1].says.contains("source `own`"), "{findings:?}");
}

#[test]
fn a_large_body_is_tried_within_bounds_and_that_is_said() {
    let mut setting = Setting::signed("stripe", [6; 32], now(), |_| {});
    setting.request.body = Bytes::from(vec![b'x'; 24 * 1024 * 1024]);
    let found = setting.findings();
    assert!(found.tried.is_cut, "{:?}", found.tried);
    assert!(!found.causes.is_empty());
}

/// What `send` can do to a request.
#[derive(Debug, Clone, Copy)]
enum Spoil {
    Body,
    Signature,
    Secret,
    Skew(i64),
}

/// What is not named rightly, if so.
fn misnamed(provider: &Provider, spoil: Spoil) -> Option<String> {
    let seed = if matches!(spoil, Spoil::Secret) { [6; 32] } else { [7; 32] };
    let at = match spoil {
        Spoil::Skew(seconds) => now() + SignedDuration::from_secs(seconds),
        Spoil::Body | Spoil::Signature | Spoil::Secret => now(),
    };
    let mut setting = Setting::signed(&provider.name, seed, at, |_| {});
    setting.beside.verified_before = Some(("req_1".to_owned(), now()));
    let url = setting.request.url.clone();
    let headers = setting.request.headers.iter();
    let mut letter = crate::provider::sign::Signed {
        method: setting.request.method.clone(),
        url,
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: setting.request.body.to_vec(),
    };
    let source = Arc::clone(&setting.sources[0]);
    let is_spoilt = match spoil {
        Spoil::Body => tamper::spoil_body(&source, &mut letter),
        Spoil::Signature => tamper::spoil_signature(&source, &mut letter),
        Spoil::Secret | Spoil::Skew(_) => true,
    };
    assert!(is_spoilt);
    setting.request = cases::request_of(letter, now()).unwrap();
    if setting.findings().verified.is_some() {
        // What is not signed may be changed by anyone.
        return None;
    }
    let way = &source.rules.ways[0];
    let of_pair = keypair::is_of_pair(way);
    let compared = bench::is_mac(way);
    let in_header = matches!(way.place, crate::provider::way::SignaturePlace::Headers(_));
    let (blame, told) = setting.first();
    let is_named = match spoil {
        Spoil::Skew(_) => blame == Blame::ClockSkew,
        Spoil::Secret if of_pair => matches!(blame, Blame::WrongSecret | Blame::BodyAltered),
        Spoil::Secret => blame == Blame::WrongSecret,
        // A signature that stands in the body is a part of it.
        Spoil::Signature if compared && !in_header => {
            matches!(blame, Blame::SignatureAltered | Blame::BodyAltered)
        }
        Spoil::Signature if compared => blame == Blame::SignatureAltered,
        Spoil::Body if compared => matches!(blame, Blame::BodyAltered),
        // A public key, or a credential of which a digest was kept: what was changed cannot be seen.
        Spoil::Signature | Spoil::Body => {
            matches!(blame, Blame::BodyAltered | Blame::SignatureAltered | Blame::WrongSecret)
        }
    };
    (!is_named).then(|| format!("{}, {spoil:?}: {blame:?}: {told}", provider.name))
}

#[test]
fn whatever_send_can_spoil_is_named_for_every_provider() {
    let catalog = catalog();
    let mut wrong = Vec::new();
    for provider in catalog.iter() {
        for spoil in [Spoil::Body, Spoil::Signature, Spoil::Secret, Spoil::Skew(-4000)] {
            wrong.extend(misnamed(provider, spoil));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_a_proxy_writes_anew_is_named(
        which in 0..NAMES.len(),
        fields in proptest::collection::btree_map("[a-z]{1,8}", "[ -~é日/<]{0,12}", 1..5),
        number in -1.0e6..1.0e6_f64,
        done in 0..6_usize,
    ) {
        let (provider, _) = NAMES[which];
        let fields: BTreeMap<String, String> = fields;
        let json = serde_json::json!({ "type": "x", "fields": fields, "n": number, "z": [1, {}] });
        let signed = serde_json::to_string_pretty(&json).unwrap();
        let mut setting = Setting::signed(provider, [7; 32], now(), |body| {
            *body = signed.clone().into_bytes();
        });
        let arrived = match done {
            0 => serde_json::to_string(&json).unwrap(),
            1 => format!("{signed}\n"),
            2 => signed.replace('\n', "\r\n"),
            3 => format!("\u{feff}{signed}"),
            4 => format!("  {signed} "),
            _ => serde_json::to_string(&signed).unwrap(),
        };
        prop_assume!(setting.request.body == signed.as_bytes());
        setting.request.body = Bytes::from(arrived);
        let (blame, told) = setting.first();
        prop_assert_eq!(blame, Blame::BodyAltered, "{}", told);
        prop_assert!(told.starts_with("certain"), "{}", told);
    }

    #[test]
    fn any_request_is_explained_within_bounds(body: Vec<u8>, value in "[ -~]{0,200}", which in 0..NAMES.len()) {
        let mut setting = Setting::new(NAMES[which].0);
        setting.request.body = Bytes::from(body);
        for value_of in setting.request.headers.values_mut() {
            *value_of = HeaderValue::from_str(&value).unwrap();
        }
        let found = setting.findings();
        prop_assert!(found.causes.len() <= CAUSES_MAX);
        prop_assert!(found.verified.is_some() || !found.causes.is_empty());
    }
}
