//! TLS of a listener: rustls on ring, HTTP/1.1 only.

use std::sync::Arc;

use relayflow_core::config::Tls;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::TlsAcceptor;

/// Why a certificate and a key cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("tls.cert `{path}` cannot be read: {error}")]
    Cert { path: String, error: pem::Error },
    #[error("tls.key `{path}` cannot be read: {error}")]
    Key { path: String, error: pem::Error },
    #[error("tls.cert and tls.key do not go together: {0}")]
    Pair(#[from] rustls::Error),
}

pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, TlsError> {
    let cert = |error| TlsError::Cert { path: tls.cert.display().to_string(), error };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&tls.cert)
        .map_err(cert)?
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Cert { path: tls.cert.display().to_string(), error })?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| TlsError::Key { path: tls.key.display().to_string(), error })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
