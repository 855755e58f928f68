//! Keys for tests, the demo and `send`.

use super::catalog::Provider;
use super::definition::{Algorithm, Scheme};
use super::key::{self, sha256};
use super::private;
use super::public::PublicKey;
use super::rules::Rules;
use super::source::Source;
use super::way::{AlgorithmOf, Way};
use crate::secret::Secret;

/// What signs, and what the source is given to check it: the same where the secret is shared.
#[derive(Debug, Clone)]
pub struct KeyPair {
    pub signing: Secret,
    pub verifying: Secret,
}

/// A key for tests and the demo that follows from `seed`; not one for anything else.
#[must_use]
pub fn key_pair(provider: &Provider, seed: [u8; 32]) -> KeyPair {
    pair(provider.rules.ways.first(), seed)
}

/// The same for a source, whose settings may choose another scheme.
#[must_use]
pub fn key_pair_for(source: &Source, seed: [u8; 32]) -> KeyPair {
    pair(source.rules.ways.first(), seed)
}

/// The seed of the keys with which `send` signs where a source knows the sender by a public key.
const TEST_SEED: [u8; 32] = *b"RelayFlow's published test key..";

/// The published test key of a source that knows its sender by a public key: one may be set beside
/// the vendor's own while somebody tries things out; and another of its kind, that nobody trusts.
/// `None` where a shared secret signs.
#[must_use]
pub fn test_keys(source: &Source) -> Option<(KeyPair, KeyPair)> {
    let ways = || source.rules.ways.iter().zip(&source.keys);
    let used = ways().find(|(_, keys)| !keys.is_empty()).or_else(|| ways().next());
    let (way, _) = used?;
    is_of_pair(way)
        .then(|| (pair(Some(way), TEST_SEED), pair(Some(way), TEST_SEED.map(|byte| !byte))))
}

/// Whether one key signs in this way, and another, which anybody may know, verifies.
pub(super) fn is_of_pair(way: &Way) -> bool {
    matches!(family(way), Family::Ed25519 | Family::P256 | Family::Rsa)
        || matches!(way.algorithm, Some(AlgorithmOf::Fixed(Algorithm::EcdsaP384)))
}

/// Whether a secret is the public half of a key that is published.
pub(super) fn is_published(secret: &Secret, rules: &Rules) -> bool {
    let Ok(keys) = PublicKey::read(secret.expose()) else { return false };
    rules.ways.iter().filter(|way| is_of_pair(way)).any(|way| {
        [TEST_SEED, TEST_SEED.map(|byte| !byte)].iter().any(|seed| {
            let published = pair(Some(way), *seed).verifying;
            PublicKey::read(published.expose()).is_ok_and(|published| published == keys)
        })
    })
}

fn pair(way: Option<&Way>, seed: [u8; 32]) -> KeyPair {
    let hex = hex::encode(seed);
    let both =
        |text: String| KeyPair { signing: Secret::new(text.clone()), verifying: Secret::new(text) };
    match way.map(family) {
        Some(Family::Ed25519) => {
            let key = ed25519_dalek::SigningKey::from_bytes(&seed);
            let public = hex::encode(key.verifying_key().as_bytes());
            KeyPair { signing: Secret::new(hex), verifying: Secret::new(public) }
        }
        Some(Family::P256) => {
            // A digest is a scalar of the curve but for one in 2^32: take the next one then.
            let key = (0_u8..=255)
                .find_map(|n| p256::ecdsa::SigningKey::from_slice(&sha256(&[&seed, &[n]])).ok())
                .expect("256 digests are not all outside of the curve's order");
            let public = key.verifying_key().to_sec1_bytes();
            KeyPair {
                signing: Secret::new(hex::encode(key.to_bytes())),
                verifying: Secret::new(key::encode(super::definition::Encoding::Base64, &public)),
            }
        }
        Some(Family::Rsa) => {
            let (signing, verifying) = private::published_rsa(&seed);
            KeyPair { signing, verifying }
        }
        Some(Family::Pair) => both(format!("relayflow:{hex}")),
        Some(Family::Text) | None => both(shared_text(way, &seed, hex)),
    }
}

/// What kind of key a way to sign takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// A shared secret.
    Text,
    /// `user:password`.
    Pair,
    Ed25519,
    P256,
    Rsa,
}

fn family(way: &Way) -> Family {
    match (way.scheme, &way.algorithm) {
        (Scheme::Ed25519, _) | (_, Some(AlgorithmOf::Fixed(Algorithm::Ed25519))) => Family::Ed25519,
        (Scheme::EcdsaP256, _) | (_, Some(AlgorithmOf::Fixed(Algorithm::EcdsaP256))) => {
            Family::P256
        }
        (Scheme::Rsa, _)
        | (_, Some(AlgorithmOf::Fixed(Algorithm::RsaSha256 | Algorithm::RsaPssSha512))) => {
            Family::Rsa
        }
        (Scheme::Basic, _) => Family::Pair,
        _ => Family::Text,
    }
}

fn shared_text(way: Option<&Way>, seed: &[u8; 32], hex: String) -> String {
    use super::definition::KeyEncoding as K;
    let base64 = || key::encode(super::definition::Encoding::Base64, seed);
    match way.map(|way| way.key) {
        Some(K::Whsec | K::WhsecOrText) => format!("whsec_{}", base64()),
        Some(K::Base64) => base64(),
        Some(K::Text | K::Hex | K::Sha1 | K::Sha256) | None => hex,
    }
}
