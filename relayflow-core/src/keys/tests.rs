//! A vendor's host on loopback, with an authority of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::config::{EgressConfig, SourceConfig};
use crate::egress::{Egress, Resolver};
use crate::id::RequestId;
use crate::provider::sign::sign_for;
use crate::provider::{Catalog, Source, VerifyError, verify_kept_with, verify_with};
use crate::secret::Secret;

const AUTHORITY: &str = include_str!("tls/authority.pem");
const OTHER_AUTHORITY: &str = include_str!("tls/other-authority.pem");
const SIGNER: &str = include_str!("tls/signer.pem");
const SIGNING_KEY: &str = include_str!("../provider/test-keys/rsa-a.pem");

fn now() -> Timestamp {
    "2026-01-05T10:00:05Z".parse().unwrap()
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A host that answers every request with the same bytes, and counts them.
struct Host {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Host {
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let chain = vec![certificate(include_str!("tls/server.pem"))];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
                let mut request = [0; 4096];
                // Who does not trust this host says nothing.
                if !matches!(stream.read(&mut request), Ok(1..)) {
                    continue;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&answer);
                let _ = stream.flush();
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { address, asked }
    }

    /// One that shows `body`.
    fn showing(body: &str) -> Self {
        let length = body.len();
        Self::answering(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/certs/CERT-1", self.address.port())
    }

    /// A source of a provider whose keys are on this host.
    fn source(&self, more: &str, secrets: &[&str]) -> Source {
        let text = format!(
            r#"title = "Mine"
category = "generic"
source = "a test"
checked = "2026-01-05"

[verify]
scheme = "rsa"
header = "x-signature"
encoding = "base64"
algorithm = "rsa-sha256"
signed = "{{timestamp}}.{{body}}"
timestamp = {{ header = "x-timestamp" }}
keys = {{ header = "x-cert-url", hosts = ["127.0.0.1:{}"], path = "/certs/*" {more} }}

[event]
id = "/id"
type = "/type"
"#,
            self.address.port()
        );
        source_of(&text, secrets)
    }
}

fn source_of(text: &str, secrets: &[&str]) -> Source {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), text).unwrap();
    let catalog = Catalog::with_dir(dir.path()).unwrap();
    let config = SourceConfig {
        name: "mine".to_owned(),
        provider: "mine".to_owned(),
        secrets: secrets.iter().map(|s| Secret::new(*s)).collect(),
        tolerance: None,
        public_url: None,
        settings: std::collections::BTreeMap::new(),
        accept_identical: false,
        derived_window: jiff::SignedDuration::from_hours(24),
        reconcile: None,
    };
    Source::new(&config, None, &catalog).unwrap()
}

fn keys_with(allow: &[&str]) -> Keys {
    let allow = allow.iter().map(|net| net.parse().unwrap()).collect();
    let connector = Connector::new(Egress::new(&EgressConfig { allow }), Resolver::System);
    Keys::trusting(connector, vec![certificate(AUTHORITY)])
}

fn keys() -> Keys {
    keys_with(&["127.0.0.0/8"])
}

/// A request of `source`, signed with the key of the certificates, that names its key at `url`.
fn request(source: &Source, url: &str) -> crate::request::Request {
    let body = br#"{"id":"evt_1","type":"paid"}"#.to_vec();
    let key = Secret::new(SIGNING_KEY);
    let signed = sign_for(source, &key, "paid", body, "https://x.example/in/mine", now()).unwrap();
    let mut headers = http::HeaderMap::new();
    for (name, value) in &signed.headers {
        headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers.insert("x-cert-url", url.parse().unwrap());
    crate::request::Request {
        id: RequestId::next(),
        method: signed.method,
        target: "/in/mine".to_owned(),
        url: signed.url,
        headers,
        body: signed.body.into(),
        received_at: now(),
    }
}

fn wanted(source: &Source, request: &crate::request::Request, keys: &Keys) -> KeyWanted {
    match verify_with(source, request, now(), &keys.held()) {
        Err(VerifyError::NeedsKey(wanted)) => *wanted,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_fetched_once_and_then_held() {
    let host = Host::showing(SIGNER);
    let source = host.source("", &[]);
    let keys = keys();
    let request = request(&source, &host.url());
    let wanted = wanted(&source, &request, &keys);
    let fetches = (0..20).map(|_| keys.fetch(&wanted, now()));
    for outcome in futures_of(fetches).await {
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!(host.asked(), 1, "twenty requests wait for one fetch");
    assert!(verify_with(&source, &request, now(), &keys.held()).is_ok());
    assert!(verify_kept_with(&source, &request, now(), &[1; 32], &keys.held()).is_ok());

    let mut forged = request.clone();
    forged.body = Bytes::from_static(br#"{"id":"evt_2","type":"paid"}"#);
    let verdict = verify_with(&source, &forged, now(), &keys.held()).map(drop);
    assert_eq!(verdict.unwrap_err().reason(), "signature_wrong");
    assert_eq!(host.asked(), 1);
}

async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, place) in all.iter_mut().zip(&mut done) {
            if place.is_none()
                && let std::task::Poll::Ready(output) = one.as_mut().poll(context)
            {
                *place = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// What a host shows, and why it is of no use.
#[tokio::test]
async fn a_certificate_that_is_not_the_vendors_is_no_key() {
    let another = include_str!("tls/signer-of-another.pem");
    let without = include_str!("tls/signer-without-chain.pem");
    let chain = include_str!("tls/signer-with-chain.pem");
    let other_chain = include_str!("tls/signer-with-other-chain.pem");
    let expired = include_str!("tls/signer-expired.pem");
    let named = ", name = \"sign.example.com\"";
    let misnamed = ", name = \"other.example.com\"";
    let of_host = ", chain = \"host\"";
    let ok = None;
    for (shown, more, pinned, why) in [
        (SIGNER, "", "", ok),
        (chain, "", "", ok),
        (SIGNER, named, "", ok),
        (SIGNER, misnamed, "", Some("is not of `other.example.com`")),
        (another, "", "", Some("chain does not hold")),
        (without, "", "", Some("chain does not hold")),
        (other_chain, "", "", Some("chain does not hold")),
        // The host vouches for a certificate that stands alone, and for nothing else.
        (without, of_host, "", ok),
        (other_chain, of_host, "", Some("chain does not hold")),
        (expired, of_host, "", Some("dates do not allow")),
        (expired, "", "", Some("dates do not allow")),
        // What a source pins is the only end of a chain, whatever its definition says.
        (SIGNER, of_host, AUTHORITY, ok),
        (without, of_host, AUTHORITY, Some("chain does not hold")),
        (SIGNER, "", OTHER_AUTHORITY, Some("chain does not hold")),
        (another, "", OTHER_AUTHORITY, ok),
        ("{}", "", "", Some("holds no certificate")),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "", Some("read")),
    ] {
        let host = Host::showing(shown);
        let secrets: Vec<&str> = Some(pinned).into_iter().filter(|p| !p.is_empty()).collect();
        let source = host.source(more, &secrets);
        let keys = keys();
        let request = request(&source, &host.url());
        let outcome = keys.fetch(&wanted(&source, &request, &keys), now()).await;
        let verdict = verify_with(&source, &request, now(), &keys.held()).map(drop);
        match why {
            None => assert_eq!((outcome, verdict), (Ok(()), Ok(())), "{more} {shown}"),
            Some(why) => {
                let error = outcome.unwrap_err();
                assert!(matches!(error, KeyError::Unusable(_)), "{error}");
                assert!(error.to_string().contains(why), "{error} is not {why}");
                assert_eq!(verdict.unwrap_err().reason(), "key_unavailable");
            }
        }
    }
}

#[tokio::test]
async fn a_pinned_certificate_is_never_asked_for() {
    let host = Host::showing(OTHER_AUTHORITY);
    let keys = keys();
    let source = host.source("", &[SIGNER]);
    let good = request(&source, "https://elsewhere.example.com/");
    assert!(verify_with(&source, &good, now(), &keys.held()).is_ok());
    let source = host.source("", &[include_str!("tls/signer-expired.pem")]);
    let verdict = verify_with(&source, &good, now(), &keys.held()).map(drop);
    assert_eq!(verdict.unwrap_err().reason(), "key_expired");
    assert_eq!(host.asked(), 0);
}

#[tokio::test]
async fn a_failure_is_remembered_and_says_nothing_of_the_request() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n",
        "nonsense",
    ] {
        let host = Host::answering(answer);
        let source = host.source("", &[]);
        let keys = keys();
        let request = request(&source, &host.url());
        let wanted = wanted(&source, &request, &keys);
        for _ in 0..3 {
            let error = keys.fetch(&wanted, now()).await.unwrap_err();
            assert!(matches!(error, KeyError::Fetch(_)), "{answer}: {error}");
        }
        assert_eq!(host.asked(), 1, "{answer}");
        let verdict = verify_with(&source, &request, now(), &keys.held()).map(drop);
        assert_eq!(verdict.unwrap_err().reason(), "key_unavailable", "{answer}");
    }
}

#[tokio::test]
async fn forged_requests_cannot_make_anybody_hammer_the_vendor() {
    let host = Host::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let source = host.source("", &[]);
    let keys = keys();
    let good = request(&source, &host.url());
    let mut refused = 0;
    for number in 0..50 {
        let mut wanted = wanted(&source, &good, &keys);
        wanted.url = format!("https://127.0.0.1:{}/certs/CERT-{number}", host.address.port());
        let error = keys.fetch(&wanted, now()).await.unwrap_err();
        refused += usize::from(error == KeyError::TooMany);
    }
    assert_eq!((host.asked(), refused), (10, 40));
}

#[tokio::test]
async fn only_who_is_trusted_and_allowed_is_asked() {
    let host = Host::showing(SIGNER);
    let source = host.source("", &[]);
    let good = request(&source, &host.url());
    let outside = keys_with(&[]);
    let error = outside.fetch(&wanted(&source, &good, &outside), now()).await.unwrap_err();
    assert!(error.to_string().contains("egress"), "{error}");
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    let connector = Connector::new(Egress::new(&EgressConfig { allow }), Resolver::System);
    let strangers = Keys::trusting(connector, vec![certificate(OTHER_AUTHORITY)]);
    let error = strangers.fetch(&wanted(&source, &good, &strangers), now()).await.unwrap_err();
    assert!(matches!(error, KeyError::Fetch(_)), "{error}");
    assert_eq!(host.asked(), 0);

    for (url, reason) in [
        ("https://127.0.0.2/certs/CERT-1", "key_foreign"),
        ("https://example.com/certs/CERT-1", "key_foreign"),
    ] {
        let request = request(&source, url);
        let verdict = verify_with(&source, &request, now(), &outside.held()).map(drop);
        assert_eq!(verdict.unwrap_err().reason(), reason, "{url}");
    }
}

#[tokio::test]
async fn a_set_is_asked_for_again_when_it_lacks_a_key() {
    let key = |kid: &str| {
        let kid = format!("\"kid\":\"{kid}\"");
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",{kid}}}"#
        )
    };
    let host = Host::showing(&format!(r#"{{"keys":[{}]}}"#, key("old")));
    let text = format!(
        r#"title = "Mine"
category = "generic"
source = "a test"
checked = "2026-01-05"

[verify]
scheme = "jwt"
header = "x-token"
algorithm = "ed25519"
keys = {{ url = "{url}", hosts = "127.0.0.1:{port}" }}

[event]
id = "/id"
type = "/type"
"#,
        url = host.url(),
        port = host.address.port()
    );
    let source = source_of(&text, &[]);
    let keys = keys();
    // RFC 8037, appendix A.4, with other headers: its signature holds for none of these.
    let token = |kid: &str| {
        use base64::Engine as _;
        let encode = |text: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
        let header = encode(format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#));
        let claims = encode(format!(r#"{{"iat":{}}}"#, now().as_second()));
        format!("{header}.{claims}.{}", encode("x".repeat(64)))
    };
    let mut asked = crate::request::Request {
        id: RequestId::next(),
        method: http::Method::POST,
        target: "/in/mine".to_owned(),
        url: "https://x.example/in/mine".to_owned(),
        headers: http::HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        received_at: now(),
    };
    let verdict = |asked: &crate::request::Request, minutes: i64| {
        let at = now() + jiff::SignedDuration::from_mins(minutes);
        verify_with(&source, asked, at, &keys.held()).map(drop).unwrap_err().reason()
    };
    asked.headers.insert("x-token", token("old").parse().unwrap());
    keys.fetch(&wanted(&source, &asked, &keys), now()).await.unwrap();
    assert_eq!(verdict(&asked, 0), "signature_wrong");
    // A name that is not in the set: the set may be old, but not within the same minute.
    asked.headers.insert("x-token", token("new").parse().unwrap());
    assert_eq!(verdict(&asked, 0), "signature_wrong");
    assert_eq!(verdict(&asked, 2), "key_unavailable");
    asked.headers.insert("x-token", token("old").parse().unwrap());
    assert_eq!(verdict(&asked, 2), "signature_wrong");
    assert_eq!(verdict(&asked, 60 * 25), "key_unavailable");
}

#[tokio::test]
async fn a_visit_is_one_get_that_must_succeed() {
    let source: Arc<str> = "mine".into();
    let host = Host::showing("<ok/>");
    assert_eq!(keys().visit(&source, &host.url()).await, Ok(()));
    assert_eq!(host.asked(), 1);
    let host = Host::answering("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
    assert!(keys().visit(&source, &host.url()).await.is_err());
}
