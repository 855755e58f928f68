//! Private keys, for `send`, `demo` and tests. RelayFlow itself only verifies.

use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::definition::Algorithm;
use super::der;
use super::key::{Key, raw_key};
use super::way::{AlgorithmOf, Way};
use crate::secret::Secret;

/// RSA keys for tests and the demo: to make one takes longer than anybody waits, so these are fixed.
/// They are published with this program, and a source that trusts one says so.
const RSA_KEYS: [&str; 2] =
    [include_str!("test-keys/rsa-a.pem"), include_str!("test-keys/rsa-b.pem")];

pub(super) const ED25519_WANTED: &str =
    "wanted an Ed25519 private key: PEM, base 64 or 64 hexadecimal digits";
pub(super) const P256_WANTED: &str = "wanted a P-256 private key: PEM or 64 hexadecimal digits";
const RSA_WANTED: &str = "wanted an RSA private key: PEM";
const P384_WANTED: &str = "wanted a P-384 private key: PEM";

pub(super) fn ed25519(key: &Secret) -> Option<ed25519_dalek::SigningKey> {
    let text = std::str::from_utf8(key.expose()).ok()?.trim();
    if text.contains("-----BEGIN") {
        return ed25519_dalek::SigningKey::from_pkcs8_pem(text).ok();
    }
    let raw = raw_key(text.strip_prefix("whsk_").unwrap_or(text), 32)?;
    let seed: [u8; 32] = raw.get(..32)?.try_into().ok()?;
    Some(ed25519_dalek::SigningKey::from_bytes(&seed))
}

pub(super) fn p256(key: &Secret) -> Option<p256::ecdsa::SigningKey> {
    let text = std::str::from_utf8(key.expose()).ok()?.trim();
    if text.contains("-----BEGIN") {
        return p256::ecdsa::SigningKey::from_pkcs8_pem(text).ok();
    }
    p256::ecdsa::SigningKey::from_slice(&raw_key(text, 32)?).ok()
}

fn rsa(key: &Secret) -> Option<RsaKeyPair> {
    let der = PrivateKeyDer::from_pem_slice(key.expose()).ok()?;
    if let PrivateKeyDer::Pkcs1(der) = &der {
        return RsaKeyPair::from_der(der.secret_pkcs1_der()).ok();
    }
    let PrivateKeyDer::Pkcs8(der) = &der else { return None };
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()
}

fn p384(key: &Secret) -> Option<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.expose()).ok()?;
    let random = SystemRandom::new();
    let method = &ECDSA_P384_SHA384_FIXED_SIGNING;
    EcdsaKeyPair::from_pkcs8(method, der.secret_pkcs8_der(), &random).ok()
}

/// The algorithm with which requests are signed here, and the word that stands for it.
pub(super) fn preferred(way: &Way) -> Option<(Algorithm, Option<&str>)> {
    match way.algorithm.as_ref()? {
        AlgorithmOf::Fixed(algorithm) => Some((*algorithm, None)),
        // With SHA-1 nothing new is signed.
        AlgorithmOf::Named { words, .. } => words
            .iter()
            .find(|(_, algorithm)| *algorithm != Algorithm::RsaSha1)
            .map(|(word, algorithm)| (*algorithm, Some(word.as_str()))),
    }
}

/// Signs `message`.
///
/// # Errors
///
/// What key is wanted, as a fragment that does not quote this one.
pub(super) fn sign(
    way: &Way,
    algorithm: Algorithm,
    key: &Secret,
    message: &[u8],
) -> Result<Vec<u8>, String> {
    let with_rsa = |padding: &'static dyn RsaEncoding| {
        let key = rsa(key).ok_or(RSA_WANTED)?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| "there is no randomness")?;
        Ok(signature)
    };
    match algorithm {
        Algorithm::HmacSha256 => {
            let key =
                Key::of(way, key)?.and_then(|key| key.as_mac().map(|mac| mac.sum(&[message])));
            key.ok_or_else(|| "it is of another scheme".to_owned())
        }
        Algorithm::RsaSha1 => Err("with SHA-1 nothing is signed here".to_owned()),
        Algorithm::RsaSha256 => with_rsa(&RSA_PKCS1_SHA256),
        Algorithm::RsaPssSha512 => with_rsa(&RSA_PSS_SHA512),
        Algorithm::EcdsaP256 => {
            let signature: p256::ecdsa::Signature = p256(key).ok_or(P256_WANTED)?.sign(message);
            Ok(signature.to_bytes().to_vec())
        }
        Algorithm::EcdsaP384 => {
            let signed = p384(key).ok_or(P384_WANTED)?.sign(&SystemRandom::new(), message);
            signed.map(|s| s.as_ref().to_vec()).map_err(|_| "there is no randomness".to_owned())
        }
        Algorithm::Ed25519 => {
            Ok(ed25519(key).ok_or(ED25519_WANTED)?.sign(message).to_bytes().to_vec())
        }
    }
}

/// Whether `key` can sign with `algorithm`.
pub(super) fn can_sign(way: &Way, algorithm: Algorithm, key: &Secret) -> Result<bool, String> {
    let is_there = |is_there: bool, wanted: &str| {
        if is_there { Ok(true) } else { Err(wanted.to_owned()) }
    };
    match algorithm {
        Algorithm::HmacSha256 => Ok(Key::of(way, key)?.is_some()),
        Algorithm::RsaSha1 | Algorithm::RsaSha256 | Algorithm::RsaPssSha512 => {
            is_there(rsa(key).is_some(), RSA_WANTED)
        }
        Algorithm::EcdsaP256 => is_there(p256(key).is_some(), P256_WANTED),
        Algorithm::EcdsaP384 => is_there(p384(key).is_some(), P384_WANTED),
        Algorithm::Ed25519 => is_there(ed25519(key).is_some(), ED25519_WANTED),
    }
}

/// One of the published RSA keys, and its public half.
pub(super) fn published_rsa(seed: &[u8; 32]) -> (Secret, Secret) {
    let text = RSA_KEYS[usize::from(seed[0] & 1)];
    let secret = Secret::new(text);
    let key = rsa(&secret).expect("what is compiled in is a key");
    (secret, Secret::new(public_text(&key)))
}

/// Base 64 of a key's SubjectPublicKeyInfo: it goes into one line of a configuration.
fn public_text(key: &RsaKeyPair) -> String {
    use base64::Engine as _;
    const RSA: [u8; 15] = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let bits = [&[0][..], key.public_key().as_ref()].concat();
    let inner = [&RSA[..], &der::value(der::BIT_STRING, &bits)].concat();
    base64::engine::general_purpose::STANDARD.encode(der::value(der::SEQUENCE, &inner))
}
