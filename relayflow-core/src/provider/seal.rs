//! Writes what certificates, tokens and message signatures are checked by: the other side of
//! `prove.rs`.

use super::definition::{Algorithm, Encoding};
use super::http_signature;
use super::jwt;
use super::key;
use super::more::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT};
use super::private;
use super::sign::{Draft, SignError, Signer};
use super::way::{AlgorithmOf, SignaturePlace, ValuePlace, Way};

impl Signer<'_> {
    pub(super) fn sign_token(&self, way: &Way, draft: &mut Draft) -> Result<(), SignError> {
        let (algorithm, _) = self.preferred(way)?;
        let request = draft.request(self.now)?;
        let input = jwt::input(algorithm, &way.claims, &request, self.now);
        let signature = private::sign(way, algorithm, self.key, input.as_bytes());
        let signature = signature.map_err(|why| self.bad_key(why))?;
        let signature = key::encode(Encoding::Base64url, &signature);
        let prefix = way.shape.prefixes.first().map_or("", String::as_str);
        if let SignaturePlace::Headers(names) = &way.place
            && let Some(name) = names.first()
        {
            draft.set(name, &format!("{prefix}{input}.{signature}"));
        }
        Ok(())
    }

    pub(super) fn sign_message(&self, way: &Way, draft: &mut Draft) -> Result<(), SignError> {
        let (algorithm, _) = self.preferred(way)?;
        if way.components.iter().any(|name| name == CONTENT_DIGEST.as_str()) {
            let digest = http_signature::digest(&draft.body);
            draft.set(&CONTENT_DIGEST, &digest);
        }
        let params = http_signature::params(&way.components, self.now.as_second(), "test");
        let announced = format!("sig1={params}");
        let request = draft.request(self.now)?;
        let inputs = http_signature::inputs(&announced);
        let base = inputs.as_ref().and_then(|inputs| inputs.first()?.base(&request));
        let base = base.ok_or_else(|| {
            self.bad_body(format!("it lacks one of {}", way.components.join(", ")))
        })?;
        let signature = private::sign(way, algorithm, self.key, base.as_bytes());
        let signature = signature.map_err(|why| self.bad_key(why))?;
        let signature = key::encode(Encoding::Base64, &signature);
        draft.set(&SIGNATURE_INPUT, &announced);
        draft.set(&SIGNATURE, &format!("sig1=:{signature}:"));
        Ok(())
    }

    pub(super) fn preferred<'w>(
        &self,
        way: &'w Way,
    ) -> Result<(Algorithm, Option<&'w str>), SignError> {
        private::preferred(way)
            .ok_or_else(|| self.bad_key("there is no way to sign with it here".to_owned()))
    }

    /// Writes what the source's settings ask for, and which algorithm is used.
    pub(super) fn fill_checks(&self, way: &Way, draft: &mut Draft) -> Result<(), SignError> {
        let mut values: Vec<(&ValuePlace, &str)> =
            way.checks.iter().map(|(at, text)| (at, text.as_str())).collect();
        if let (Some(AlgorithmOf::Named { at, .. }), Some((_, Some(word)))) =
            (&way.algorithm, private::preferred(way))
        {
            values.push((at, word));
        }
        for (place, text) in values {
            match place {
                ValuePlace::Header(name) => draft.set(name, text),
                ValuePlace::Slot(slot) => {
                    for (other, pointer) in way.reads.pointers() {
                        if other == *slot {
                            self.put(draft, &pointer, text, true)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
