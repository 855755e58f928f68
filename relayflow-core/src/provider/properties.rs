//! What holds for every provider and any bytes.

use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderValue;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::Index;

use super::fixtures::{at, check_whole, request, source};
use super::sign::{KeyPair, Signed, key_pair, sign};
use super::way::Way;
use super::{
    Catalog, Source, challenge, handshake, keep_headers, keep_target, normalize, split, verify,
    verify_kept,
};
use crate::id::EventId;
use crate::request::Request;

pub(super) const NOW: i64 = 1_767_607_205;
const URL: &str = "https://hooks.example.com/in/test";

pub(super) struct Subject {
    pub(super) source: Source,
    keys: KeyPair,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);
static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let subject = |name: &str| {
        let keys = key_pair(CATALOG.get(name).unwrap(), [9; 32]);
        Subject { source: source(&CATALOG, name, vec![keys.verifying.clone()]), keys }
    };
    CATALOG.iter().map(|provider| subject(&provider.name)).collect()
});

pub(super) type Sampled = (&'static Subject, &'static str, Signed);

static SAMPLES: LazyLock<Vec<Sampled>> = LazyLock::new(sign_samples);

/// Every sample of every provider, signed.
pub(super) fn samples() -> impl Iterator<Item = Sampled> {
    SAMPLES.iter().cloned()
}

fn sign_samples() -> Vec<Sampled> {
    let mut all = Vec::new();
    for subject in SUBJECTS.iter() {
        let provider = &subject.source.provider;
        assert!(!provider.samples().is_empty(), "{} has no samples", provider.name);
        for (serial, sample) in provider.samples().iter().enumerate() {
            let body = sample.body(serial as u64, at(NOW));
            let mut signed =
                sign(provider, &subject.keys.signing, &sample.event_type, body, URL, at(NOW))
                    .unwrap();
            signed.headers.retain(|(name, _)| !sample.headers.contains_key(name));
            signed.headers.extend(sample.headers.clone());
            all.push((subject, sample.event_type.as_str(), signed));
        }
    }
    all
}

#[test]
fn every_sample_is_signed_as_its_vendor_signs_and_becomes_what_it_says() {
    for (subject, event_type, signed) in samples() {
        let source = &subject.source;
        let name = format!("{} {event_type}", source.provider.name);
        let request = request(signed, at(NOW));
        let verified = verify(source, &request, at(NOW)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(handshake(source, &request, at(NOW)).is_none(), "{name}");
        assert!(challenge(source, &verified).is_none(), "{name}");
        let events: Vec<_> = split(source, &verified)
            .unwrap()
            .into_iter()
            .map(|raw| normalize(source, &verified, raw, EventId::next()).unwrap())
            .collect();
        assert!(events.iter().any(|e| e.event_type == event_type), "{name}: {events:?}");
        for event in &events {
            check_whole(event);
            let skew = event.occurred_at.duration_since(at(NOW)).abs();
            assert!(skew < SignedDuration::from_secs(10), "{name}: {}", event.occurred_at);
            assert!(!event.id_is_derived || event.external_id.contains("sha256:"), "{name}");
        }
    }
}

#[test]
fn samples_of_other_serials_are_other_events() {
    for subject in SUBJECTS.iter() {
        let provider = &subject.source.provider;
        for sample in provider.samples() {
            assert_ne!(sample.body(1, at(NOW)), sample.body(2, at(NOW)), "{}", provider.name);
        }
    }
}

#[test]
fn a_kept_request_can_be_verified_again_and_bears_no_secret() {
    let digest_key = [3; 32];
    for (subject, _, signed) in samples() {
        let source = &subject.source;
        let request = request(signed, at(NOW));
        let kept = keep_headers(source, &request, &digest_key);
        let text = format!("{kept:?}{}", keep_target(source, &request, &digest_key));
        let secret = String::from_utf8_lossy(subject.keys.verifying.expose()).into_owned();
        assert!(!text.contains(&secret), "{}", source.provider.name);
        assert!(!text.contains("Basic "), "{}", source.provider.name);

        let mut again = request.clone();
        again.headers.clear();
        for (name, value) in &kept {
            let name: http::HeaderName = name.parse().unwrap();
            again.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        assert!(
            verify_kept(source, &again, at(NOW), &digest_key).is_ok(),
            "{}",
            source.provider.name
        );
        let is_digest = kept.iter().any(|(_, v)| v.starts_with("digest:"));
        let other_key = verify_kept(source, &again, at(NOW), &[4; 32]);
        assert_eq!(other_key.is_err(), is_digest, "{}", source.provider.name);
        // A digest that a sender wrote himself is not a credential.
        assert_eq!(verify(source, &again, at(NOW)).is_err(), is_digest, "{}", source.provider.name);
    }
}

/// Whether this header is what proves the sender.
fn is_proof(name: &str) -> bool {
    name.contains("signature") && !name.contains("timestamp") && !name.contains("version")
        || name.contains("hmac")
        || name == "authorization"
}

#[test]
fn every_beginning_of_a_good_signature_is_refused() {
    let mut done = std::collections::HashSet::new();
    for (subject, _, signed) in samples() {
        let source = &subject.source;
        if !done.insert(&source.provider.name) {
            continue;
        }
        let good = request(signed.clone(), at(NOW));
        for (name, value) in signed.headers.iter().filter(|(n, _)| is_proof(n)) {
            for end in 0..value.len() {
                let mut bad = good.clone();
                let name: http::HeaderName = name.parse().unwrap();
                bad.headers.insert(name, HeaderValue::from_str(&value[..end]).unwrap());
                assert!(
                    verify(source, &bad, at(NOW)).is_err(),
                    "{} with {:?}",
                    source.provider.name,
                    &value[..end]
                );
            }
        }
    }
}

#[test]
fn a_header_that_is_there_twice_is_refused() {
    for (subject, _, signed) in samples() {
        let source = &subject.source;
        let good = request(signed.clone(), at(NOW));
        for (name, value) in signed.headers.iter().filter(|(n, _)| is_proof(n)) {
            let mut bad = good.clone();
            let name: http::HeaderName = name.parse().unwrap();
            bad.headers.append(name, HeaderValue::from_str(value).unwrap());
            let error = verify(source, &bad, at(NOW)).map(drop).unwrap_err();
            assert_eq!(error.reason(), "header_repeated", "{}", source.provider.name);
        }
    }
}

/// Goes all the way with whatever this is.
fn run(source: &Source, request: &Request) {
    let _ = handshake(source, request, at(NOW));
    let _ = keep_headers(source, request, &[1; 32]);
    let _ = keep_target(source, request, &[1; 32]);
    let _ = verify_kept(source, request, at(NOW), &[1; 32]);
    let Ok(verified) = verify(source, request, at(NOW)) else { return };
    let _ = challenge(source, &verified);
    let Ok(events) = split(source, &verified) else { return };
    for raw in events {
        if let Ok(event) = normalize(source, &verified, raw, EventId::next()) {
            assert!(event.external_id.len() <= 1024 && event.event_type.len() <= 256);
            assert!(!event.event_type.chars().any(char::is_control));
            let _: &serde_json::value::RawValue =
                serde_json::from_str(&event.to_cloudevent()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_panic_once_they_are_verified(body: Vec<u8>, which: Index) {
        let subject = &SUBJECTS[which.index(SUBJECTS.len())];
        let provider = &subject.source.provider;
        if let Ok(signed) = sign(provider, &subject.keys.signing, "some.type", body, URL, at(NOW)) {
            run(&subject.source, &request(signed, at(NOW)));
        }
    }

    #[test]
    fn no_request_panics(
        body in "[\\[{\"a-z:,0-9}\\]=&%]{0,60}",
        values in prop::collection::vec("[ -~]{0,80}", 1..6),
        which: Index,
    ) {
        let subject = &SUBJECTS[which.index(SUBJECTS.len())];
        let names = CATALOG.kept_header_names();
        let mut names: Vec<&String> = names.iter().collect();
        names.sort();
        let headers = values.iter().enumerate();
        let headers = headers.map(|(n, value)| {
            (names[(which.index(names.len()) + n * 7) % names.len()].clone(), value.clone())
        });
        let signed = Signed {
            method: http::Method::POST,
            url: URL.to_owned(),
            headers: headers.collect(),
            body: body.into_bytes(),
        };
        run(&subject.source, &request(signed, at(NOW)));
    }

    #[test]
    fn a_mutilated_sample_panics_nowhere(which: Index, place: Index, byte: u8, cuts: bool) {
        let (subject, _, signed) = &SAMPLES[which.index(SAMPLES.len())];
        let mut body = signed.body.clone();
        let at_byte = place.index(body.len());
        if cuts { body.truncate(at_byte) } else { body[at_byte] = byte }
        let source = &subject.source;
        let mut bad = request(signed.clone(), at(NOW));
        bad.body = Bytes::from(body.clone());
        run(source, &bad);
        // Signed anew, it gets further.
        let provider = &source.provider;
        if let Ok(signed) = sign(provider, &subject.keys.signing, "t", body, URL, at(NOW)) {
            run(source, &request(signed, at(NOW)));
        }
    }

    #[test]
    fn a_changed_body_is_refused(which: Index, place: Index, bit in 0_u8..8) {
        let (subject, _, signed) = &SAMPLES[which.index(SAMPLES.len())];
        let ways = &subject.source.rules.ways;
        prop_assume!(ways.iter().all(|way| way.signs_body()));
        let mut bad = request(signed.clone(), at(NOW));
        let mut body = bad.body.to_vec();
        body[place.index(signed.body.len())] ^= 1 << bit;
        // A form is signed by what it says: `+` and `%20` are one.
        let says = |b: &[u8]| form_urlencoded::parse(b).into_owned().collect::<Vec<_>>();
        let is_form = ways.iter().any(Way::signs_form) && !b"[{".contains(&signed.body[0]);
        prop_assume!(!is_form || says(&body) != says(&signed.body));
        bad.body = Bytes::from(body);
        prop_assert!(verify(&subject.source, &bad, at(NOW)).is_err());
    }
}
