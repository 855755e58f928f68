//! The proofs that need more than a secret and a template: a certificate's signature, a token, a
//! message signature. Nothing secret is compared in the first, so it may fail early.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

use super::claim::{Claim, header};
use super::definition::Algorithm;
use super::extract::Found;
use super::fetched::KeyWanted;
use super::http_signature;
use super::jwt::{self, ClaimError, Token, TokenError};
use super::key::{Key, keyed_digest, sha256};
use super::message::Signing;
use super::more::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};
use super::public::PublicKey;
use super::verify::{Check, SIGNATURES_MAX, Verified, VerifyError};
use super::way::{AlgorithmOf, SignaturePlace, UrlOf, ValuePlace, Way};
use crate::secret::Secret;

/// How far behind ours the signed time was, and the digest of what was signed where that must be
/// remembered.
type Proof = (Option<SignedDuration>, Option<[u8; 32]>);

impl<'r> Check<'_, 'r> {
    /// A signature with a certificate's key.
    pub(super) fn rsa(
        &self,
        way: &Way,
        keys: &[Key],
        found: &Found<'_>,
        text: &str,
    ) -> Result<Proof, VerifyError> {
        let claim = Claim::new(self.request, way, found)?;
        let timestamp = claim.timestamp.as_deref();
        let skew = self.skew(way, timestamp)?;
        self.check_age(way, skew)?;
        // Before a key is fetched: who does not know these need not make us ask for one.
        self.hold_checks(way, found)?;
        let algorithm = self.algorithm(way, found)?;
        let url = match way.keys_at.as_ref().map(|at| &at.url) {
            Some(UrlOf::Named(place)) => self.value(place, found),
            Some(UrlOf::Fixed(_)) | None => None,
        };
        let keys = self.public_keys(way, keys, url.as_deref(), None)?;
        let request = self.request;
        let signing = Signing {
            way,
            request,
            found,
            text,
            timestamp,
            url: &request.url,
            body: &request.body,
        };
        let stand_in = Key::Public(Vec::new());
        let message = signing.message(&stand_in).concat();
        let held = keys
            .iter()
            .any(|key| claim.signatures.iter().any(|bytes| key.holds(algorithm, &message, bytes)));
        if !held {
            return Err(VerifyError::Wrong { secrets: keys.len() });
        }
        let wants_digest = way.id_is_open && !self.source.accept_identical;
        Ok((skew, wants_digest.then(|| sha256(&[&message]))))
    }

    /// A token in a header.
    pub(super) fn jwt(&self, way: &Way, keys: &[Key]) -> Result<Verified<'r>, VerifyError> {
        let SignaturePlace::Headers(names) = &way.place else {
            return Err(VerifyError::Missing { place: "token".to_owned() });
        };
        let (name, value) = self.only_header(names)?;
        let unreadable = || VerifyError::Unreadable { place: name.to_string() };
        let algorithm = self.algorithm(way, &Found::default())?;
        let refused = |error: TokenError| match error {
            TokenError::Unreadable => unreadable(),
            TokenError::WrongAlgorithm => VerifyError::WrongAlgorithm,
        };
        let kept = self.kept.and_then(|key| {
            let (digest, input) = value.strip_prefix(jwt::KEPT)?.split_once(':')?;
            Some((key, digest, input))
        });
        let (token, held, tried) = if let Some((digest_key, digest, input)) = kept {
            let token = Token::read_input(input, algorithm).map_err(refused)?;
            let held = keys.iter().fold(false, |held, key| {
                let Key::Mac(mac) = key else { return held };
                let signature = URL_SAFE_NO_PAD.encode(mac.sum(&[input.as_bytes()]));
                let right = keyed_digest(digest_key, format!("{input}.{signature}").as_bytes());
                Secret::new(right).is(format!("{}{digest}", jwt::KEPT).as_bytes()) | held
            });
            (token, held, keys.len())
        } else {
            let text = token_in(way, value).ok_or_else(unreadable)?;
            let token = Token::read(text, algorithm).map_err(refused)?;
            let signature = token.signature.clone().unwrap_or_default();
            let message = token.input.as_bytes();
            if algorithm == Algorithm::HmacSha256 {
                let held = holds_mac(keys, message, &signature);
                (token, held, keys.len())
            } else {
                let keys = self.public_keys(way, keys, None, token.kid.as_deref())?;
                let held = keys.iter().any(|key| key.holds(algorithm, message, &signature));
                (token, held, keys.len())
            }
        };
        if !held {
            return Err(VerifyError::Wrong { secrets: tried });
        }
        let public_url = self.source.public_url.as_deref();
        let skew =
            token.check(&way.claims, self.request, public_url, self.now, self.tolerance(way));
        let skew = skew.map_err(|error| match error {
            ClaimError::NoTime => VerifyError::NoTimestamp,
            ClaimError::BadTime => VerifyError::BadTimestamp,
            ClaimError::Stale(by) => VerifyError::Stale { by },
            ClaimError::Wrong(claim) => VerifyError::WrongClaim { claim },
            ClaimError::OtherRequest(claim) => VerifyError::WrongDigest { place: claim },
        })?;
        let wants_digest = way.id_is_open && !self.source.accept_identical;
        let digest = wants_digest.then(|| sha256(&[token.input.as_bytes()]));
        Ok(Verified::proven(self.request, skew, digest))
    }

    /// A message signature: one of those that are there must hold, and cover what it has to.
    pub(super) fn http_signature(
        &self,
        way: &Way,
        keys: &[Key],
    ) -> Result<Verified<'r>, VerifyError> {
        let algorithm = self.algorithm(way, &Found::default())?;
        let unreadable =
            |name: &http::HeaderName| VerifyError::Unreadable { place: name.to_string() };
        // The signature first: it is the header that a person looks for.
        let signatures = header(self.request, &SIGNATURE)?;
        let signatures =
            http_signature::byte_strings(signatures).ok_or_else(|| unreadable(&SIGNATURE))?;
        let inputs = header(self.request, &SIGNATURE_INPUT)?;
        let inputs = http_signature::inputs(inputs).ok_or_else(|| unreadable(&SIGNATURE_INPUT))?;
        if SIGNATURES_MAX < inputs.len() || SIGNATURES_MAX < signatures.len() {
            return Err(VerifyError::TooMany { count: inputs.len().max(signatures.len()) });
        }
        let mut why = VerifyError::Wrong { secrets: keys.len() };
        for input in inputs.iter().filter(|input| input.is_of(algorithm)) {
            let Some((_, signature)) = signatures.iter().find(|(label, _)| *label == input.label)
            else {
                continue;
            };
            match self.message_signature(way, keys, algorithm, input, signature) {
                Ok((skew, digest)) => return Ok(Verified::proven(self.request, skew, digest)),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn message_signature(
        &self,
        way: &Way,
        keys: &[Key],
        algorithm: Algorithm,
        input: &http_signature::Input<'_>,
        signature: &[u8],
    ) -> Result<Proof, VerifyError> {
        let base = input.base(self.request);
        let message = base.as_deref().unwrap_or_default().as_bytes();
        let held = if algorithm == Algorithm::HmacSha256 {
            holds_mac(keys, message, signature)
        } else {
            let keys = self.public_keys(way, keys, None, input.keyid.as_deref())?;
            keys.iter().any(|key| key.holds(algorithm, message, signature))
        };
        if base.is_none() {
            return Err(VerifyError::Missing { place: "signed component".to_owned() });
        }
        if !held {
            return Err(VerifyError::Wrong { secrets: keys.len() });
        }
        if let Some(missing) = way.components.iter().find(|name| !input.covers(name)) {
            return Err(VerifyError::NotCovered { component: missing.clone() });
        }
        let place = || CONTENT_DIGEST.to_string();
        if input.covers(CONTENT_DIGEST.as_str())
            && !http_signature::is_digest(
                header(self.request, &CONTENT_DIGEST)?,
                &self.request.body,
            )
        {
            return Err(VerifyError::WrongDigest { place: place() });
        }
        let moment =
            |seconds: i64| Timestamp::from_second(seconds).map_err(|_| VerifyError::BadTimestamp);
        let skew = match input.created {
            Some(created) => Some(self.now.duration_since(moment(created)?)),
            None if self.tolerance(way).is_some() => return Err(VerifyError::NoTimestamp),
            None => None,
        };
        self.check_age(way, skew)?;
        if let Some(expires) = input.expires {
            let by = self.now.duration_since(moment(expires)?);
            if by.is_positive() {
                return Err(VerifyError::Stale { by });
            }
        }
        let wants_digest = way.id_is_open && !self.source.accept_identical;
        Ok((skew, wants_digest.then(|| sha256(&[message]))))
    }

    pub(super) fn check_age(
        &self,
        way: &Way,
        skew: Option<SignedDuration>,
    ) -> Result<(), VerifyError> {
        match (skew, self.tolerance(way)) {
            (Some(by), Some(tolerance)) if tolerance < by.abs() => Err(VerifyError::Stale { by }),
            _ => Ok(()),
        }
    }

    /// Whether what must be equal is.
    pub(super) fn hold_checks(&self, way: &Way, found: &Found<'_>) -> Result<(), VerifyError> {
        for (place, wanted) in &way.checks {
            let value = self.value(place, found);
            if !value.is_some_and(|value| Secret::new(wanted.as_str()).is(value.as_bytes())) {
                let place = match place {
                    ValuePlace::Header(name) => name.to_string(),
                    ValuePlace::Slot(slot) => way.pointer_text(*slot),
                };
                return Err(VerifyError::WrongClaim { claim: place });
            }
        }
        Ok(())
    }

    fn value<'f>(&'f self, place: &ValuePlace, found: &'f Found<'_>) -> Option<Cow<'f, str>> {
        match place {
            ValuePlace::Header(name) => header(self.request, name).ok().map(Cow::Borrowed),
            ValuePlace::Slot(slot) => found.scalar(*slot).text(),
        }
    }

    fn algorithm(&self, way: &Way, found: &Found<'_>) -> Result<Algorithm, VerifyError> {
        match way.algorithm.as_ref().ok_or(VerifyError::WrongAlgorithm)? {
            AlgorithmOf::Fixed(algorithm) => Ok(*algorithm),
            AlgorithmOf::Named { at, words } => {
                let word = self.value(at, found).ok_or(VerifyError::WrongAlgorithm)?;
                let known = words.iter().find(|(known, _)| *known == word);
                known.map(|(_, algorithm)| *algorithm).ok_or(VerifyError::WrongAlgorithm)
            }
        }
    }

    /// The keys that may have signed: those that the source pins, else what the vendor's host showed.
    fn public_keys<'k>(
        &self,
        way: &Way,
        keys: &'k [Key],
        url: Option<&str>,
        kid: Option<&str>,
    ) -> Result<Vec<Cow<'k, PublicKey>>, VerifyError> {
        let pinned: Vec<&PublicKey> = keys.iter().flat_map(Key::public).collect();
        let candidates: Vec<Cow<'k, PublicKey>> = match &way.keys_at {
            Some(place) if pinned.is_empty() => {
                let url = match &place.url {
                    UrlOf::Fixed(url) => url.as_str(),
                    UrlOf::Named(_) => url.ok_or(VerifyError::NoKeyAddress)?,
                };
                if !place.allows(url) {
                    return Err(VerifyError::ForeignKey);
                }
                let authorities = keys.iter().filter_map(Key::authority).cloned();
                let wanted = KeyWanted {
                    url: url.to_owned(),
                    source: self.source.name.clone(),
                    form: place.form.clone(),
                    authorities: authorities.collect(),
                };
                let fetched = self.fetched.get(&wanted.id()).filter(|k| k.is_fresh(self.now));
                let Some(fetched) = fetched else {
                    return Err(VerifyError::NeedsKey(Box::new(wanted)));
                };
                let lacks = kid.is_some_and(|kid| {
                    fetched.keys.iter().all(|key| key.kid.as_deref() != Some(kid))
                });
                if lacks && fetched.may_lack(self.now) {
                    return Err(VerifyError::NeedsKey(Box::new(wanted)));
                }
                fetched.keys.iter().cloned().map(Cow::Owned).collect()
            }
            Some(_) | None => pinned.into_iter().map(Cow::Borrowed).collect(),
        };
        let named = candidates.iter().any(|key| kid.is_some() && key.kid.as_deref() == kid);
        let chosen: Vec<_> = candidates
            .into_iter()
            .filter(|key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| !named || key.kid.is_some())
            .collect();
        let are_old = !chosen.is_empty() && chosen.iter().all(|key| !key.is_valid_at(self.now));
        if are_old {
            return Err(VerifyError::KeyExpired);
        }
        Ok(chosen.into_iter().filter(|key| key.is_valid_at(self.now)).collect())
    }
}

/// Whether one of the shared secrets made `signature`. Every one is tried.
fn holds_mac(keys: &[Key], message: &[u8], signature: &[u8]) -> bool {
    keys.iter()
        .filter_map(Key::as_mac)
        .fold(false, |held, mac| Secret::new(mac.sum(&[message])).is(signature) | held)
}

/// The token in a header's value. Where the definition names no word before it, `Bearer ` may be one.
pub(super) fn token_in<'v>(way: &Way, value: &'v str) -> Option<&'v str> {
    match way.shape.prefixes.first() {
        Some(prefix) => after_word(value, prefix),
        None => Some(after_word(value, "Bearer ").unwrap_or(value)),
    }
}

/// What stands behind a word such as `Bearer `, in either case.
fn after_word<'v>(value: &'v str, word: &str) -> Option<&'v str> {
    let (found, rest) = value.split_at_checked(word.len())?;
    found.eq_ignore_ascii_case(word).then_some(rest)
}
