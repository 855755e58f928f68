//! Key material: what a secret's text stands for, prepared once, and the sums made with it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Verifier as _;
use rustls::pki_types::CertificateDer;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::certificate;
use super::definition::{Algorithm, Encoding, KeyEncoding, Scheme, SignatureForm};
use super::public::PublicKey;
use super::way::{AlgorithmOf, Way};
use crate::secret::Secret;

/// One secret, ready for use by one way to sign.
#[derive(Clone)]
pub(super) enum Key {
    Mac(Box<MacKey>),
    /// Hashed together with what is signed.
    Hashed(Secret),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    /// One, or the several of a set.
    Public(Vec<PublicKey>),
    /// What a fetched certificate must come from.
    Authority(CertificateDer<'static>),
    /// What the sender must show: a token, or `user:password`.
    Shared(Secret),
}

/// An HMAC that has taken its key: cloned for each request, so that the key's two blocks are hashed
/// once.
#[derive(Clone)]
pub(super) enum MacKey {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

impl Key {
    /// The key that `secret` stands for; `None` if it is one of another way's (a public key where
    /// an HMAC secret is wanted).
    ///
    /// # Errors
    ///
    /// What was wanted, as a fragment that does not quote the secret.
    pub(super) fn new(
        scheme: Scheme,
        encoding: KeyEncoding,
        secret: &Secret,
    ) -> Result<Option<Self>, String> {
        let bytes = secret.expose();
        let mac = |new: fn(&[u8]) -> Option<MacKey>| -> Result<Option<Self>, String> {
            let Some(key) = hmac_bytes(encoding, bytes)? else { return Ok(None) };
            if key.is_empty() {
                return Err("it is empty once decoded".to_owned());
            }
            Ok(new(&key).map(|key| Self::Mac(Box::new(key))))
        };
        match scheme {
            Scheme::HmacSha1 => mac(|k| Hmac::new_from_slice(k).ok().map(MacKey::Sha1)),
            Scheme::HmacSha256 => mac(|k| Hmac::new_from_slice(k).ok().map(MacKey::Sha256)),
            Scheme::HmacSha384 => mac(|k| Hmac::new_from_slice(k).ok().map(MacKey::Sha384)),
            Scheme::HmacSha512 => mac(|k| Hmac::new_from_slice(k).ok().map(MacKey::Sha512)),
            Scheme::Sha256 => Ok(Some(Self::Hashed(secret.clone()))),
            Scheme::Ed25519 if bytes.starts_with(b"whsec_") => Ok(None),
            Scheme::Ed25519 => ed25519(bytes).map(|key| Some(Self::Ed25519(Box::new(key)))),
            Scheme::EcdsaP256 => p256(bytes).map(|key| Some(Self::P256(Box::new(key)))),
            Scheme::Rsa | Scheme::Jwt | Scheme::HttpSignature => Ok(None),
            Scheme::Token | Scheme::Bearer => Ok(Some(Self::Shared(secret.clone()))),
            Scheme::Basic if bytes.contains(&b':') => Ok(Some(Self::Shared(secret.clone()))),
            Scheme::Basic => Err("wanted `user:password`".to_owned()),
            Scheme::None => Ok(None),
        }
    }

    /// The same for any way to sign.
    ///
    /// # Errors
    ///
    /// As [`Key::new`].
    pub(super) fn of(way: &Way, secret: &Secret) -> Result<Option<Self>, String> {
        let algorithms: Vec<Algorithm> = match &way.algorithm {
            None => return Self::new(way.scheme, way.key, secret),
            Some(AlgorithmOf::Fixed(algorithm)) => vec![*algorithm],
            Some(AlgorithmOf::Named { words, .. }) => words.iter().map(|(_, a)| *a).collect(),
        };
        if algorithms.contains(&Algorithm::HmacSha256) {
            // A public key is no secret: as one, it would let anyone sign.
            if PublicKey::is_text(secret.expose()) {
                return Err("wanted a shared secret, not a public key".to_owned());
            }
            return Self::new(Scheme::HmacSha256, way.key, secret);
        }
        if way.keys_at.is_some()
            && let Some(authority) = certificate::authority(secret.expose())
        {
            return Ok(Some(Self::Authority(authority)));
        }
        let mut keys = PublicKey::read(secret.expose())?;
        keys.retain(|key| algorithms.iter().any(|algorithm| key.fits(*algorithm)));
        if keys.is_empty() {
            return Err("it is a key of another algorithm".to_owned());
        }
        Ok(Some(Self::Public(keys)))
    }

    pub(super) fn as_mac(&self) -> Option<&MacKey> {
        if let Self::Mac(key) = self { Some(key) } else { None }
    }

    pub(super) fn public(&self) -> &[PublicKey] {
        if let Self::Public(keys) = self { keys } else { &[] }
    }

    pub(super) fn authority(&self) -> Option<&CertificateDer<'static>> {
        if let Self::Authority(der) = self { Some(der) } else { None }
    }

    /// Whether one of `signatures` is this key's over `message`. Every one is looked at, and the
    /// work does not depend on how near one comes.
    pub(super) fn holds(
        &self,
        message: &[&[u8]],
        signatures: &[Vec<u8>],
        form: SignatureForm,
    ) -> bool {
        match self {
            Self::Mac(key) => any_equal(&key.sum(message), signatures),
            Self::Hashed(_) => any_equal(&sha256(message), signatures),
            Self::Ed25519(key) => {
                let message = message.concat();
                holds_once(signatures, |bytes| {
                    // A signature of the wrong length costs as much as any wrong one.
                    let bytes: [u8; 64] = bytes.try_into().unwrap_or([1; 64]);
                    let signature = ed25519_dalek::Signature::from_bytes(&bytes);
                    key.verify_strict(&message, &signature).is_ok()
                })
            }
            Self::P256(key) => {
                let message = message.concat();
                holds_once(signatures, |bytes| {
                    p256_signature(bytes, form).is_some_and(|s| key.verify(&message, &s).is_ok())
                })
            }
            Self::Public(_) | Self::Authority(_) | Self::Shared(_) => false,
        }
    }
}

fn holds_once(signatures: &[Vec<u8>], mut check: impl FnMut(&[u8]) -> bool) -> bool {
    if signatures.is_empty() {
        check(&[]);
        return false;
    }
    signatures.iter().fold(false, |held, signature| check(signature) | held)
}

fn any_equal(sum: &[u8], signatures: &[Vec<u8>]) -> bool {
    let sum = Secret::new(sum);
    signatures.iter().fold(false, |held, signature| sum.is(signature) | held)
}

impl MacKey {
    pub(super) fn sum(&self, message: &[&[u8]]) -> Vec<u8> {
        macro_rules! sum {
            ($mac:expr) => {{
                let mut mac = $mac.clone();
                message.iter().for_each(|part| mac.update(part));
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Sha1(mac) => sum!(mac),
            Self::Sha256(mac) => sum!(mac),
            Self::Sha384(mac) => sum!(mac),
            Self::Sha512(mac) => sum!(mac),
        }
    }
}

pub(super) fn sha256(message: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    message.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The HMAC-SHA256 under which a credential is kept (`guarantees.md`, 10).
pub(super) fn keyed_digest(key: &[u8; 32], credential: &[u8]) -> String {
    let mut mac: Hmac<Sha256> =
        Hmac::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(credential);
    format!("digest:{}", hex::encode(mac.finalize().into_bytes()))
}

fn hmac_bytes(encoding: KeyEncoding, bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let decoded = match encoding {
        KeyEncoding::Text => bytes.to_vec(),
        KeyEncoding::Hex => hex::decode(bytes).map_err(|_| "wanted hexadecimal digits")?,
        KeyEncoding::Base64 => STANDARD.decode(bytes).map_err(|_| "wanted base 64")?,
        // A public key is no secret: as one, it would let anyone sign.
        KeyEncoding::Whsec | KeyEncoding::WhsecOrText if bytes.starts_with(b"whpk_") => {
            return Ok(None);
        }
        KeyEncoding::Whsec => {
            let text = bytes.strip_prefix(b"whsec_").unwrap_or(bytes);
            unpadded(text).ok_or("wanted base 64, with or without `whsec_` before it")?
        }
        KeyEncoding::WhsecOrText => match bytes.strip_prefix(b"whsec_") {
            Some(text) => unpadded(text).ok_or("wanted base 64 after `whsec_`")?,
            None => bytes.to_vec(),
        },
        KeyEncoding::Sha1 => Sha1::digest(bytes).to_vec(),
        KeyEncoding::Sha256 => Sha256::digest(bytes).to_vec(),
    };
    Ok(Some(Zeroizing::new(decoded)))
}

/// Base 64 whose padding may have been lost.
fn unpadded(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |at| at + 1);
    STANDARD_NO_PAD.decode(text.get(..end)?).ok()
}

fn ed25519(bytes: &[u8]) -> Result<ed25519_dalek::VerifyingKey, String> {
    let wanted = "wanted an Ed25519 public key: PEM, base 64 or 64 hexadecimal digits";
    let text = std::str::from_utf8(bytes).map_err(|_| wanted)?.trim();
    if text.contains("-----BEGIN") {
        return ed25519_dalek::VerifyingKey::from_public_key_pem(text)
            .map_err(|_| wanted.to_owned());
    }
    let raw = raw_key(text.strip_prefix("whpk_").unwrap_or(text), 32).ok_or(wanted)?;
    if let Ok(raw) = <&[u8; 32]>::try_from(raw.as_slice()) {
        return ed25519_dalek::VerifyingKey::from_bytes(raw).map_err(|_| wanted.to_owned());
    }
    ed25519_dalek::VerifyingKey::from_public_key_der(&raw).map_err(|_| wanted.to_owned())
}

fn p256(bytes: &[u8]) -> Result<p256::ecdsa::VerifyingKey, String> {
    let wanted = "wanted a P-256 public key: PEM, or base 64 of its SubjectPublicKeyInfo";
    let text = std::str::from_utf8(bytes).map_err(|_| wanted)?.trim();
    if text.contains("-----BEGIN") {
        return p256::ecdsa::VerifyingKey::from_public_key_pem(text).map_err(|_| wanted.to_owned());
    }
    let raw = raw_key(text, 65).ok_or(wanted)?;
    p256::ecdsa::VerifyingKey::from_public_key_der(&raw)
        .or_else(|_| p256::ecdsa::VerifyingKey::from_sec1_bytes(&raw).map_err(drop))
        .map_err(|()| wanted.to_owned())
}

/// Hexadecimal digits of exactly `len` bytes, else base 64 of either alphabet.
pub(super) fn raw_key(text: &str, len: usize) -> Option<Vec<u8>> {
    if 0 < len
        && text.len() == 2 * len
        && let Ok(bytes) = hex::decode(text)
    {
        return Some(bytes);
    }
    unpadded(text.as_bytes()).or_else(|| URL_SAFE_NO_PAD.decode(text).ok())
}

fn p256_signature(bytes: &[u8], form: SignatureForm) -> Option<p256::ecdsa::Signature> {
    match form {
        SignatureForm::Der => p256::ecdsa::Signature::from_der(bytes).ok(),
        SignatureForm::Raw => p256::ecdsa::Signature::from_slice(bytes).ok(),
    }
}

/// The bytes of a signature as it is written. Nothing but its one spelling is taken, or a piece of
/// it would pass for the whole.
pub(super) fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    let bytes = match encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Base64url => URL_SAFE_NO_PAD.decode(text).ok(),
    };
    bytes.filter(|b| !b.is_empty())
}

pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex::encode(bytes),
        Encoding::Base64 => STANDARD.encode(bytes),
        Encoding::Base64url => URL_SAFE_NO_PAD.encode(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encoding: KeyEncoding, secret: &str, expected: Result<Option<&[u8]>, &str>) {
        let bytes = hmac_bytes(encoding, secret.as_bytes());
        let bytes = bytes.as_ref().map(|b| b.as_ref().map(|b| b.as_slice()));
        assert_eq!(bytes.map_err(String::as_str), expected, "{encoding:?} {secret}");
    }

    #[test]
    fn a_key_is_what_its_encoding_says() {
        check(KeyEncoding::Text, "whsec_abc", Ok(Some(b"whsec_abc")));
        check(KeyEncoding::Hex, "00ff", Ok(Some(&[0, 255])));
        check(KeyEncoding::Hex, "0x", Err("wanted hexadecimal digits"));
        check(KeyEncoding::Base64, "AAE=", Ok(Some(&[0, 1])));
        check(KeyEncoding::Whsec, "whsec_AAE=", Ok(Some(&[0, 1])));
        check(KeyEncoding::Whsec, "AAE", Ok(Some(&[0, 1])));
        check(KeyEncoding::Whsec, "whpk_AAE=", Ok(None));
        check(KeyEncoding::WhsecOrText, "plain", Ok(Some(b"plain")));
    }

    #[test]
    fn a_key_that_decodes_to_nothing_is_refused() {
        let key = Key::new(Scheme::HmacSha256, KeyEncoding::Whsec, &Secret::new("whsec_"));
        assert!(key.is_err_and(|e| e.contains("empty")));
    }

    #[test]
    fn a_signature_has_one_spelling() {
        assert_eq!(decode(Encoding::Hex, ""), None);
        assert_eq!(decode(Encoding::Hex, "abc"), None);
        assert_eq!(decode(Encoding::Base64, "AAE"), None);
        assert_eq!(decode(Encoding::Base64, "AAF="), None);
        assert_eq!(decode(Encoding::Base64, "AAE="), Some(vec![0, 1]));
        assert_eq!(decode(Encoding::Base64url, "_-8"), Some(vec![255, 239]));
    }

    #[test]
    fn no_error_quotes_the_secret() {
        for scheme in [Scheme::Ed25519, Scheme::EcdsaP256, Scheme::Basic] {
            let error = Key::new(scheme, KeyEncoding::Text, &Secret::new("canary-1234"));
            assert!(error.is_err_and(|e| !e.contains("canary")), "{scheme:?}");
        }
    }
}
