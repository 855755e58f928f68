//! Keys that are on a host of the vendor's own, and addresses that a vendor wants visited.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::harness::{Daemon, Home, free_port, text, until};

const AUTHORITY: &str = include_str!("../../relayflow-core/src/keys/tls/authority.pem");
const SERVER: &str = include_str!("../../relayflow-core/src/keys/tls/server.pem");
const SERVER_KEY: &str = include_str!("../../relayflow-core/src/keys/tls/server.key");
/// The certificate of the key with which requests are signed here, and that key.
const SIGNER: &str = include_str!("../../relayflow-core/src/keys/tls/signer.pem");
const SIGNING_KEY: &str = include_str!("../../relayflow-core/src/provider/test-keys/rsa-a.pem");

/// Answers every request on `port` with `body`, over TLS; counts them.
fn host(port: u16, body: &'static str) -> Arc<AtomicUsize> {
    let provider = rustls::crypto::ring::default_provider();
    let chain = vec![CertificateDer::from_pem_slice(SERVER.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            if !matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                continue;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    asked
}

fn definition(keys: &str, rest: &str) -> String {
    format!(
        r#"title = "Mine"
category = "generic"
source = "a test"
checked = "2026-01-05"

[verify]
scheme = "rsa"
pointer = "/signature"
encoding = "base64"
algorithm = "rsa-sha256"
signed = "{{/id}}|{{/type}}|{{/at}}|{{/key}}"
timestamp = {{ pointer = "/at", unit = "rfc3339" }}
keys = {{ {keys} }}

[event]
id = "/id"
type = "/type"

{rest}"#
    )
}

/// A home whose daemon trusts the tests' authority, with the source `mine`.
fn home(definition: &str, secrets: &str) -> Home {
    let home = Home::bare("");
    let (ingest, api) = (free_port(), free_port());
    home.write("providers/mine.toml", definition);
    home.write("authority.pem", AUTHORITY);
    home.write("signing.pem", SIGNING_KEY);
    configure(&home, (ingest, api), secrets);
    home
}

fn configure(home: &Home, (ingest, api): (u16, u16), secrets: &str) {
    home.write(
        "relayflow.toml",
        &format!(
            "[store]\nurl = \"sqlite:relayflow.db\"\n[ingest]\nlisten = \"127.0.0.1:{ingest}\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n[egress]\nallow = [\"127.0.0.0/8\"]\n\
             [providers]\ndir = \"providers\"\n\
             [sources.mine]\nprovider = \"mine\"\nsecrets = [{secrets}]\n"
        ),
    );
}

fn start(home: &Home) -> Daemon {
    let authority = home.path("authority.pem");
    home.start_with(&[("SSL_CERT_FILE", authority.to_str().unwrap())])
}

fn send(home: &Home, body: &Value) -> String {
    let body = body.to_string();
    let key = home.path("signing.pem");
    let args = ["send", "mine", "paid", "--data", &body, "--key", key.to_str().unwrap()];
    let ran = home.relayflow(&args);
    format!("{}{}", ran.out, ran.err)
}

#[test]
fn a_key_on_the_vendors_host_is_fetched_and_what_is_lacking_is_no_verdict() {
    let port = free_port();
    let keys = format!(
        "pointer = \"/key\", hosts = [\"127.0.0.1:{port}\"], path = \"/certs/*\", \
         name = \"sign.example.com\""
    );
    let home = home(&definition(&keys, ""), "");
    let mut daemon = start(&home);
    let event = |id: &str, key: &str| {
        serde_json::json!({
            "id": id, "type": "paid", "key": format!("https://127.0.0.1:{port}/certs/{key}"),
        })
    };

    // Nobody is at home: send it again.
    let said = send(&home, &event("evt_1", "CERT-1"));
    assert!(said.contains("503"), "{said}");
    let kept = until("it is kept", || daemon.list("/requests", "status:rejected").first().cloned());
    assert_eq!(kept["reason"], "key_unavailable");
    let id = text(&kept["id"]).to_owned();

    // The failure is remembered, and forgotten with the daemon.
    let asked = host(port, SIGNER);
    daemon.stop();
    daemon = start(&home);
    let readmitted = daemon.tell(&format!("/requests/{id}/readmit"), &Value::Null);
    assert_eq!(readmitted.json()["status"], "accepted", "{}", readmitted.text());
    let said = send(&home, &event("evt_2", "CERT-1"));
    assert!(said.contains("200"), "{said}");
    let said = send(&home, &event("evt_3", "CERT-1"));
    assert!(said.contains("200"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one key is asked for once");

    // A key from elsewhere is refused, and nobody asks for it.
    let elsewhere = serde_json::json!({
        "id": "evt_4", "type": "paid", "key": "https://127.0.0.2/certs/CERT-1",
    });
    let said = send(&home, &elsewhere);
    assert!(said.contains("401"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(daemon.stats()["events"], 3);
}

#[test]
fn a_source_trusts_the_test_key_only_if_it_says_so_and_a_handshake_is_visited() {
    let port = free_port();
    let hosts = format!("hosts = [\"127.0.0.1:{port}\"]");
    let rest = format!(
        "[[handshake]]\nwhen = {{ pointer = \"/type\", is = \"subscribe\" }}\n\
         visit = {{ pointer = \"/visit\", {hosts} }}\n"
    );
    let home = home(&definition(&format!("pointer = \"/key\", {hosts}"), &rest), "");
    let refused = home.relayflow(&["send", "mine", "paid", "--data", "{}"]);
    assert_ne!(refused.exit, 0);
    let public = refused.err.split_once("[\"").and_then(|(_, rest)| rest.split_once("\"]"));
    let public = public.unwrap_or_else(|| panic!("{}", refused.err)).0;
    configure(&home, (free_port(), free_port()), &format!("\"{public}\""));
    let checked = home.relayflow(&["config", "check"]);
    assert!(format!("{}{}", checked.out, checked.err).contains("anyone can sign"), "{checked:?}");

    let daemon = start(&home);
    let send = |body: &str, more: &[&str]| {
        let args = [&["send", "mine", "x", "--data", body][..], more].concat();
        let ran = home.relayflow(&args);
        format!("{}{}", ran.out, ran.err)
    };
    let said = send(r#"{"id":"evt_1","type":"paid"}"#, &[]);
    assert!(said.contains("200"), "{said}");
    let said = send(r#"{"id":"evt_2","type":"paid"}"#, &["--tamper", "secret"]);
    assert!(said.contains("401"), "{said}");

    let subscribe = format!(
        r#"{{"id":"evt_3","type":"subscribe","visit":"https://127.0.0.1:{port}/confirm?token=t"}}"#
    );
    let said = send(&subscribe, &[]);
    assert!(said.contains("503"), "nobody is there to be visited: {said}");
    let asked = host(port, "<ok/>");
    let said = send(&subscribe, &[]);
    assert!(said.contains("200"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let said = send(&subscribe, &["--tamper", "secret"]);
    assert!(said.contains("401"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "only what is verified is visited");
    assert_eq!(daemon.stats()["events"], 1);
    assert!(!daemon.log().iter().any(|line| line.contains("token=t")), "{:?}", daemon.log());
}
