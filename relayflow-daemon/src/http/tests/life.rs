//! A daemon's beginning and end.

use std::sync::Arc;

use relayflow_core::api::codes::Exit;
use relayflow_core::config::{Config, Role, Tls};
use relayflow_core::secret::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATIENCE, answers, config, daemon, options};
use crate::reload::apply;
use crate::{Reload, ServeError};

async fn refused(config: Config) -> ServeError {
    match crate::start(options(config)).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_in_the_way_is_an_exit_code() {
    let (running, _dir) = daemon().await;
    let dir = tempfile::tempdir().unwrap();

    let mut taken = config(dir.path());
    taken.api.listen = running.api_addr;
    let error = refused(taken).await;
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.whole().contains(&running.api_addr.to_string()), "{}", error.whole());

    let mut open_to_all = config(dir.path());
    open_to_all.api.listen = ([0, 0, 0, 0], 0).into();
    assert_eq!(refused(open_to_all).await.exit(), Exit::Usage);

    let mut no_such_provider = config(dir.path());
    no_such_provider.sources[0].provider = "nobody".into();
    let error = refused(no_such_provider).await;
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.whole().contains("sources.test"), "{}", error.whole());

    let mut no_cert = config(dir.path());
    let nowhere = dir.path().join("nowhere.pem");
    no_cert.api.tls = Some(Tls { cert: nowhere.clone(), key: nowhere });
    assert_eq!(refused(no_cert).await.exit(), Exit::Usage);
}

#[tokio::test]
async fn readiness_is_a_line_and_a_file_for_as_long_as_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ready");
    let options = crate::Options { ready_file: Some(file.clone()), ..options(config(dir.path())) };
    let running = crate::start(options).await.unwrap();
    let line = running.ready_line.clone();
    assert!(line.starts_with("relayflow ") && line.contains(" ready  ingest http://127.0.0.1:"));
    assert!(line.contains("/in/{source}  api http://127.0.0.1:"), "{line}");
    assert!(line.ends_with("  sources 1  workflows 0"), "{line}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{line}\n"));
    running.stop(PATIENCE).await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_stop_is_asked_for_by_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    let served = crate::serve(options(config(dir.path())), shutdown);
    tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn without_tokens_there_is_a_file_with_one() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = config(dir.path());
        config.api.tokens.clear();
        crate::start(options(config)).await.unwrap()
    };
    let running = start().await;
    let token = running.admin_token.clone().unwrap();
    let kept = std::fs::read_to_string(dir.path().join("relayflow.token")).unwrap();
    assert!(token.is(kept.trim().as_bytes()));
    running.stop(PATIENCE).await;
    // It is kept over a restart.
    assert!(start().await.admin_token.unwrap().is(token.expose()));
}

#[tokio::test]
async fn a_reload_is_whole_or_nothing() {
    let (running, dir) = daemon().await;
    let app = &running.app;
    let names = || {
        let mut names: Vec<_> = app.current.get().sources.keys().cloned().collect();
        names.sort_unstable();
        names
    };
    let reload = |change: fn(&mut Config)| {
        let dir = dir.path().to_owned();
        let load: Reload = std::sync::Arc::new(move || {
            let mut config = config(&dir);
            change(&mut config);
            Ok((config, Vec::new()))
        });
        load
    };

    let bad = reload(|config| config.sources[0].provider = "nobody".into());
    assert!(apply(app, &bad).await.unwrap_err().contains("sources.test"));
    let worse: Reload = std::sync::Arc::new(|| Err(Vec::new()));
    apply(app, &worse).await.unwrap_err();
    assert_eq!(names(), ["test"]);

    let good = reload(|config| {
        let mut other = config.sources[0].clone();
        other.name = "other".into();
        config.sources.push(other);
        let vera = config.api.tokens.iter_mut().find(|token| token.name == "vera").unwrap();
        vera.token = Secret::new("another-token-of-vera-for-tests");
    });
    apply(app, &good).await.unwrap();
    assert_eq!(names(), ["other", "test"]);
    let judge = |token: &str| {
        let value = format!("Bearer {token}").parse().unwrap();
        let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        app.auth.judge(&headers, [127, 0, 0, 1].into(), Role::Viewer).is_ok()
    };
    assert!(judge("another-token-of-vera-for-tests"));
    assert!(!judge("a-viewer's-token-for-tests"));
}

#[tokio::test]
async fn tls_is_served_where_it_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, include_str!("../../testdata/localhost.cert.pem")).unwrap();
    std::fs::write(&key, include_str!("../../testdata/localhost.key.pem")).unwrap();
    let mut config = config(dir.path());
    config.api.tls = Some(Tls { cert: cert.clone(), key });
    // With TLS the API may be reached from anywhere.
    config.api.listen = ([0, 0, 0, 0], 0).into();
    let running = crate::start(options(config)).await.unwrap();
    assert!(running.ready_line.contains("api https://"), "{}", running.ready_line);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = tokio_rustls::TlsConnector::from(Arc::new(client));
    let at = ("127.0.0.1", running.api_addr.port());
    let stream = TcpStream::connect(at).await.unwrap();
    let mut stream = client.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(answers(&bytes)[0].status, 200);

    // Who speaks no TLS is not spoken to.
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes).await;
    assert!(!bytes.starts_with(b"HTTP"));
}
