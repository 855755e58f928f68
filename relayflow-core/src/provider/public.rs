//! Public keys: what a PEM, a JWK or a certificate stands for, and whether a signature is its.

use jiff::Timestamp;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;

use super::certificate::Certificate;
use super::definition::Algorithm;
use super::der::{self, Reader};
use super::key::raw_key;

/// The most keys of one set that are looked at.
const KEYS_MAX: usize = 64;

/// One public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    family: Family,
    /// As ring takes it: the RSAPublicKey, the curve's point, or 32 bytes.
    bytes: Vec<u8>,
    /// Its name in a set.
    pub(super) kid: Option<String>,
    /// A certificate's dates.
    pub(super) valid: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A JWK, as far as it is read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    /// Seconds since 1970; `null` is never.
    expired_at: Option<i64>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

const WANTED: &str = "wanted a public key: PEM, a certificate, a JWK or a set of them, or base 64 of \
                      a SubjectPublicKeyInfo";

impl PublicKey {
    fn new(family: Family, bytes: Vec<u8>) -> Self {
        Self { family, bytes, kid: None, valid: None }
    }

    /// All keys that a secret's text holds.
    ///
    /// # Errors
    ///
    /// What was wanted, as a fragment that does not quote the text.
    pub(super) fn read(bytes: &[u8]) -> Result<Vec<Self>, String> {
        let wanted = || WANTED.to_owned();
        let text = std::str::from_utf8(bytes).map_err(|_| wanted())?.trim();
        if text.starts_with('{') {
            return Self::of_json(text);
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            // The first is the signer's; those above it are not.
            let first = CertificateDer::pem_slice_iter(text.as_bytes()).next();
            let der = first.and_then(Result::ok).ok_or_else(wanted)?;
            return Ok(vec![Certificate::read(der).ok_or_else(wanted)?.key]);
        }
        if text.contains("-----BEGIN PUBLIC KEY-----") {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes());
            return Ok(vec![der.ok().and_then(|d| Self::of_spki(&d)).ok_or_else(wanted)?]);
        }
        if text.contains("-----BEGIN") {
            return Err(wanted());
        }
        for (length, family) in [(32, Family::Ed25519), (65, Family::P256), (97, Family::P384)] {
            if let Some(raw) = raw_key(text, length).filter(|raw| raw.len() == length) {
                return Ok(vec![Self::new(family, raw)]);
            }
        }
        let der = raw_key(text, 0).ok_or_else(wanted)?;
        Ok(vec![Self::of_spki(&der).ok_or_else(wanted)?])
    }

    /// Whether a text is plainly a public key.
    pub(super) fn is_text(bytes: &[u8]) -> bool {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        text.contains("-----BEGIN PUBLIC KEY") || text.contains("-----BEGIN CERTIFICATE")
    }

    /// A JWK, or a set of them. Keys of a set that no algorithm here uses are left out.
    pub(super) fn of_json(text: &str) -> Result<Vec<Self>, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| "wanted a JWK or a set of them".to_owned())?;
        let is_set = value.get("keys").is_some();
        if !is_set {
            // What an API answers may hold the key in `key`.
            let value = value.get("key").filter(|key| key.is_object()).cloned().unwrap_or(value);
            let key = Self::of_jwk(value).ok_or("wanted a JWK of an RSA or EC public key")?;
            return Ok(vec![key]);
        }
        let set: JwkSet = serde_json::from_value(value)
            .map_err(|_| "wanted a JWK or a set of them".to_owned())?;
        let keys: Vec<_> = set.keys.into_iter().take(KEYS_MAX).filter_map(Self::of_jwk).collect();
        if keys.is_empty() {
            return Err("the set has no key that can be used".to_owned());
        }
        Ok(keys)
    }

    fn of_jwk(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| raw_key(text.as_deref()?, 0);
        let point = |length: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let mut key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => Self::new(Family::P256, point(32)?),
            ("EC", Some("P-384")) => Self::new(Family::P384, point(48)?),
            ("OKP", Some("Ed25519")) => {
                Self::new(Family::Ed25519, bytes(&jwk.x).filter(|x| x.len() == 32)?)
            }
            ("RSA", _) => {
                let inner = [der::integer(&bytes(&jwk.n)?), der::integer(&bytes(&jwk.e)?)].concat();
                Self::new(Family::Rsa, der::value(der::SEQUENCE, &inner))
            }
            _ => return None,
        };
        key.kid = jwk.kid;
        if let Some(until) = jwk.expired_at {
            key.valid = Some((Timestamp::MIN, Timestamp::from_second(until).ok()?));
        }
        Some(key)
    }

    /// A SubjectPublicKeyInfo.
    pub(super) fn of_spki(der: &[u8]) -> Option<Self> {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        const P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];
        const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];
        let mut info = Reader(Reader(der).want(der::SEQUENCE)?);
        let mut algorithm = Reader(info.want(der::SEQUENCE)?);
        let oid = algorithm.want(der::OID)?;
        let bytes = info.bits()?;
        let family = match oid {
            RSA | RSA_PSS => Family::Rsa,
            ED25519_OID if bytes.len() == 32 => Family::Ed25519,
            EC => match algorithm.want(der::OID)? {
                P256 => Family::P256,
                P384 => Family::P384,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self::new(family, bytes.to_vec()))
    }

    /// Whether this key can be used with `algorithm` at all.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        method(self.family, algorithm).is_some()
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn holds(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        method(self.family, algorithm).is_some_and(|method| {
            UnparsedPublicKey::new(method, &self.bytes).verify(message, signature).is_ok()
        })
    }

    /// Whether a certificate's dates allow its use at `now`.
    pub(super) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.valid.is_none_or(|(from, until)| from <= now && now <= until)
    }
}

fn method(family: Family, algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match (family, algorithm) {
        (Family::Rsa, Algorithm::RsaSha1) => Some(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
        (Family::Rsa, Algorithm::RsaSha256) => Some(&RSA_PKCS1_2048_8192_SHA256),
        (Family::Rsa, Algorithm::RsaPssSha512) => Some(&RSA_PSS_2048_8192_SHA512),
        (Family::P256, Algorithm::EcdsaP256) => Some(&ECDSA_P256_SHA256_FIXED),
        (Family::P384, Algorithm::EcdsaP384) => Some(&ECDSA_P384_SHA384_FIXED),
        (Family::Ed25519, Algorithm::Ed25519) => Some(&ED25519),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIGNER: &[u8] = include_bytes!("../keys/tls/signer.pem");

    #[test]
    fn a_certificate_brings_its_dates_and_a_plain_key_none() {
        let [key] = PublicKey::read(SIGNER).unwrap().try_into().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(key.valid, Some((at("2020-01-01T00:00:00Z"), at("2120-01-01T00:00:00Z"))));
        assert!(key.fits(Algorithm::RsaSha256) && !key.fits(Algorithm::EcdsaP256));
        assert!(!key.is_valid_at(at("2019-12-31T23:59:59Z")));
        assert!(!key.is_valid_at(at("2120-01-01T00:00:01Z")));
    }

    #[test]
    fn what_is_no_public_key_says_what_was_wanted_and_quotes_nothing() {
        let private = include_bytes!("test-keys/rsa-a.pem");
        for text in
            [&b"canary"[..], b"{\"kty\":\"oct\",\"k\":\"canary\"}", b"{canary", private, b""]
        {
            let error = PublicKey::read(text).unwrap_err();
            assert!(error.contains("wanted") && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_key_for_encryption_is_not_taken_out_of_a_set() {
        let key = |usage: &str| {
            format!(
                r#"{{"kty":"OKP","crv":"Ed25519","use":"{usage}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
            )
        };
        let set = |usage: &str| format!(r#"{{"keys":[{},{{"kty":"new"}}]}}"#, key(usage));
        assert_eq!(PublicKey::of_json(&set("sig")).unwrap().len(), 1);
        assert!(PublicKey::of_json(&set("enc")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, place: usize, byte: u8) {
            let _ = PublicKey::read(&bytes);
            let _ = PublicKey::of_spki(&bytes);
            let mut pem = SIGNER.to_vec();
            let place = place % pem.len();
            pem[place] = byte;
            let _ = PublicKey::read(&pem);
        }
    }
}
