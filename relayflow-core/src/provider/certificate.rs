//! X.509: the certificate of whoever signs, and whether it can be trusted.

use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::definition::Chain;
use super::der::{self, Reader};
use super::public::PublicKey;

/// The most certificates of one file that are looked at.
const CERTIFICATES_MAX: usize = 8;

/// What is read of a certificate.
pub(super) struct Certificate {
    pub(super) der: CertificateDer<'static>,
    /// With the certificate's dates.
    pub(super) key: PublicKey,
    pub(super) is_authority: bool,
}

impl Certificate {
    /// `None` if it is none, or its key is of a kind that is not used here.
    pub(super) fn read(der: CertificateDer<'_>) -> Option<Self> {
        let der = der.into_owned();
        let mut body = Reader(Reader(Reader(&der).want(der::SEQUENCE)?).want(der::SEQUENCE)?);
        const VERSION: u8 = 0xa0;
        const EXTENSIONS: u8 = 0xa3;
        if body.0.first() == Some(&VERSION) {
            body.next()?;
        }
        body.want(der::INTEGER)?;
        body.want(der::SEQUENCE)?;
        body.want(der::SEQUENCE)?;
        let mut dates = Reader(body.want(der::SEQUENCE)?);
        let valid = (dates.time()?, dates.time()?);
        body.want(der::SEQUENCE)?;
        let (_, _, info) = body.next()?;
        let mut key = PublicKey::of_spki(info)?;
        key.valid = Some(valid);
        let mut is_authority = false;
        while let Some((tag, inner, _)) = body.next() {
            if tag == EXTENSIONS {
                is_authority = has_authority(inner).unwrap_or(false);
            }
        }
        Some(Self { der, key, is_authority })
    }
}

/// Whether the basic constraints say that others may be issued.
fn has_authority(extensions: &[u8]) -> Option<bool> {
    const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
    let mut list = Reader(Reader(extensions).want(der::SEQUENCE)?);
    while let Some(one) = list.want(der::SEQUENCE) {
        let mut one = Reader(one);
        if one.want(der::OID)? != BASIC_CONSTRAINTS {
            continue;
        }
        let (mut tag, mut inner, _) = one.next()?;
        if tag == der::BOOLEAN {
            (tag, inner, _) = one.next()?;
        }
        if tag != der::OCTET_STRING {
            return None;
        }
        let mut constraints = Reader(Reader(inner).want(der::SEQUENCE)?);
        return Some(constraints.want(der::BOOLEAN) == Some(&[0xff]));
    }
    Some(false)
}

/// The certificate of an authority that a source pins.
pub(super) fn authority(bytes: &[u8]) -> Option<CertificateDer<'static>> {
    let first = CertificateDer::pem_slice_iter(bytes).next()?.ok()?;
    let certificate = Certificate::read(first)?;
    certificate.is_authority.then_some(certificate.der)
}

/// The key of the first certificate in a PEM file, once it is known whose it is.
///
/// The chain must end in one of `roots`. Where the definition takes the vendor's host for its word
/// (`chain = "host"`), a file with one certificate alone need not: what was read over TLS from that
/// host is the vendor's, and there is nothing to build a chain from.
///
/// # Errors
///
/// Why it is not trusted, as a fragment.
pub(super) fn trusted_key(
    pem: &[u8],
    roots: &[CertificateDer<'static>],
    chain: Chain,
    name: Option<&str>,
    now: Timestamp,
) -> Result<PublicKey, String> {
    let mut file = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX);
    let first = file.next().and_then(Result::ok).ok_or("it holds no certificate")?;
    let above: Vec<CertificateDer<'_>> = file
        .collect::<Result<_, _>>()
        .map_err(|_| "it holds something that is no certificate".to_owned())?;
    let certificate =
        Certificate::read(first).ok_or("it holds a certificate that cannot be read")?;
    if !certificate.key.is_valid_at(now) {
        return Err("the certificate's dates do not allow it now".to_owned());
    }
    let leaf = EndEntityCert::try_from(&certificate.der)
        .map_err(|e| format!("the certificate cannot be used: {e}"))?;
    if let Some(name) = name {
        let server = ServerName::try_from(name).map_err(|_| format!("`{name}` is no host"))?;
        leaf.verify_is_valid_for_subject_name(&server)
            .map_err(|_| format!("the certificate is not of `{name}`"))?;
    }
    let anchors: Vec<TrustAnchor<'_>> =
        roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let built = leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &above,
        at,
        KeyUsage::server_auth(),
        None,
        None,
    );
    match built {
        Ok(_) => Ok(certificate.key),
        Err(webpki::Error::UnknownIssuer) if chain == Chain::Host && above.is_empty() => {
            Ok(certificate.key)
        }
        Err(error) => Err(format!("the certificate's chain does not hold: {error}")),
    }
}
