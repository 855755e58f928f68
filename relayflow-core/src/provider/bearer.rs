//! Requests that bear the secret itself: tokens and passwords.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::{BodyError, Opened};
use super::definition::Scheme;
use super::extract::Scalar;
use super::key::{Key, keyed_digest};
use super::verify::{Check, Verified, VerifyError, parameter};
use super::way::{SignaturePlace, Way};

impl<'r> Check<'_, 'r> {
    /// A request that bears the secret itself.
    pub(super) fn shared(&self, way: &Way, keys: &[Key]) -> Result<Verified<'r>, VerifyError> {
        let (place, given) = match &way.place {
            SignaturePlace::Query(name) => {
                let value = parameter(self.request, name)
                    .ok_or_else(|| VerifyError::Missing { place: format!("?{name}=") })?;
                (format!("?{name}="), value)
            }
            SignaturePlace::Headers(names) => {
                let (name, value) = self.only_header(names)?;
                (name.to_string(), Cow::Borrowed(value))
            }
            SignaturePlace::Slot(slot) => {
                let place = "token".to_owned();
                let opened = self.opened(way)?;
                let text = opened.as_ref().map_or("null", Opened::text);
                let found = way.reads.read(text);
                let found = found.map_err(|e| VerifyError::Body(BodyError::from(e)))?;
                match found.scalar(*slot) {
                    Scalar::Text(text) => (place, Cow::Owned(text.into_owned())),
                    Scalar::Missing | Scalar::Other => return Err(VerifyError::Missing { place }),
                }
            }
            SignaturePlace::Nowhere => {
                return Err(VerifyError::Missing { place: "credential".to_owned() });
            }
        };
        let held = keys.iter().fold(false, |held, key| self.is_credential(way, key, &given) | held);
        if !held {
            return Err(VerifyError::WrongCredential { place, secrets: keys.len() });
        }
        if !way.checks.is_empty() {
            let opened = self.opened(way)?;
            let text = opened.as_ref().map_or("null", Opened::text);
            let found = way.reads.read(text).map_err(|e| VerifyError::Body(BodyError::from(e)))?;
            self.hold_checks(way, &found)?;
        }
        Ok(Verified::proven(self.request, None, None))
    }

    fn is_credential(&self, way: &Way, key: &Key, given: &str) -> bool {
        let Key::Shared(secret) = key else { return false };
        if let Some(digest_key) = self.kept
            && given.starts_with("digest:")
        {
            let right = keyed_digest(digest_key, &credential(way, secret.expose()));
            return crate::secret::Secret::new(right).is(given.as_bytes());
        }
        match way.scheme {
            Scheme::Bearer => after_word(given, "bearer").is_some_and(|t| secret.is(t.as_bytes())),
            Scheme::Basic => after_word(given, "basic")
                .and_then(|text| STANDARD.decode(text).ok())
                .is_some_and(|pair| secret.is(&pair)),
            Scheme::Token => match way.shape.prefixes.first() {
                Some(prefix) => {
                    given.strip_prefix(&**prefix).is_some_and(|t| secret.is(t.as_bytes()))
                }
                None => secret.is(given.as_bytes()),
            },
            Scheme::HmacSha1
            | Scheme::HmacSha256
            | Scheme::HmacSha384
            | Scheme::HmacSha512
            | Scheme::Sha256
            | Scheme::Ed25519
            | Scheme::EcdsaP256
            | Scheme::Rsa
            | Scheme::Jwt
            | Scheme::HttpSignature
            | Scheme::None => false,
        }
    }
}

/// What follows the word of an `Authorization` header.
fn after_word<'v>(value: &'v str, word: &str) -> Option<&'v str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(word).then(|| rest.trim_start())
}

/// What a sender with this secret writes, in its usual spelling.
pub(super) fn credential(way: &Way, secret: &[u8]) -> Vec<u8> {
    match way.scheme {
        Scheme::Bearer => [b"Bearer ", secret].concat(),
        Scheme::Basic => [b"Basic ", STANDARD.encode(secret).as_bytes()].concat(),
        Scheme::HmacSha1
        | Scheme::HmacSha256
        | Scheme::HmacSha384
        | Scheme::HmacSha512
        | Scheme::Sha256
        | Scheme::Ed25519
        | Scheme::EcdsaP256
        | Scheme::Rsa
        | Scheme::Jwt
        | Scheme::HttpSignature
        | Scheme::Token
        | Scheme::None => {
            let prefix = way.shape.prefixes.first().map_or("", |p| p);
            [prefix.as_bytes(), secret].concat()
        }
    }
}
