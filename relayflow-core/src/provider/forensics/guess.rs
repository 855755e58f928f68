//! What is said where no secret made the signature over anything that was tried: the likeliest story
//! first, by what the request looks like and what else came to its source.

use super::headers;
use super::stages::{Search, readmit};
use super::words::{Sure, Told as _, cause, scheme};
use crate::api::Cause;
use crate::api::codes::Blame;
use crate::provider::keypair::is_of_pair;
use crate::provider::refusal::VerifyError;
use crate::provider::source::Source;
use crate::provider::way::Way;
use crate::request::Request;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// So many names of headers are told.
const NAMES_MAX: usize = 12;

impl Search<'_> {
    /// Tells what fits best.
    pub(super) fn guess(&mut self, source: &Source) {
        let request = self.bench.case.request;
        self.of_same_event();
        let beyond = self.beyond.take();
        match beyond.or_else(|| self.error.take()) {
            Some(VerifyError::Missing { place }) => self.missing(source, &place),
            Some(
                error @ (VerifyError::Repeated { .. }
                | VerifyError::TooLong { .. }
                | VerifyError::Unreadable { .. }
                | VerifyError::TooMany { .. }
                | VerifyError::NoTimestamp
                | VerifyError::BadTimestamp),
            ) => self.unreadable(source, &error),
            Some(VerifyError::WrongDigest { place }) => self.digest(source, &place),
            Some(VerifyError::WrongClaim { claim }) => self.setting(source, &claim),
            Some(error @ (VerifyError::WrongAlgorithm | VerifyError::NotCovered { .. })) => {
                let told = cause(Blame::WrongScheme, Sure::Likely, error.to_string())
                    .elsewhere(
                        "have the vendor sign as its definition says: relayflow providers show",
                    )
                    .run(format!("relayflow providers show {}", source.provider.name));
                self.causes.push(told);
            }
            Some(
                error @ (VerifyError::NoKeyAddress
                | VerifyError::ForeignKey
                | VerifyError::KeyExpired
                | VerifyError::NeedsKey(_)),
            ) => {
                let told = cause(Blame::KeyUnavailable, Sure::Likely, error.to_string())
                    .elsewhere("let this machine reach the vendor's host, or pin the vendor's key as a secret")
                    .run(readmit(request));
                self.causes.push(told);
            }
            Some(VerifyError::Body(error)) => {
                let told = cause(
                    Blame::BodyAltered,
                    Sure::Likely,
                    format!("the signature is in the body, which cannot be read: {error}"),
                );
                self.causes
                    .push(clues(request).into_iter().fold(told, |told, clue| told.shown_by(clue)));
                self.causes.extend(self.of_shape(source));
            }
            Some(
                VerifyError::Stale { .. }
                | VerifyError::Wrong { .. }
                | VerifyError::WrongCredential { .. },
            )
            | None => self.wrong(source),
        }
    }

    /// The same event was taken in with other bytes.
    fn of_same_event(&mut self) {
        let case = self.bench.case;
        let Some(same) = &case.beside.same_event else { return };
        if same.body == case.request.body {
            return;
        }
        let (a, b) = (&case.request.body, &same.body);
        let at = a.iter().zip(b.iter()).take_while(|(a, b)| a == b).count();
        let told = cause(
            Blame::BodyAltered,
            Sure::Likely,
            "its body is not the one with which the same event was verified",
        )
        .shown_by(format!(
            "{} was verified at {}: {} bytes; these {} differ from byte {at} on",
            same.request,
            same.received_at,
            b.len(),
            a.len()
        ))
        .elsewhere("nothing is lost: the event is there");
        self.causes.push(told);
    }

    fn missing(&mut self, source: &Source, place: &str) {
        let request = self.bench.case.request;
        let shape = self.of_shape(source);
        let is_other = !shape.is_empty();
        self.causes.extend(shape);
        if let Some(repair) = source
            .rules
            .ways
            .iter()
            .find_map(|way| headers::renamed(way, request))
            .filter(|_| !is_other)
        {
            let told = cause(
                Blame::HeaderRenamed,
                Sure::Likely,
                format!("a header came under another name: {}", repair.altered),
            )
            .elsewhere("have the proxy before RelayFlow pass headers as they come");
            self.causes.push(told);
        }
        let sure = if self.causes.is_empty() { Sure::Likely } else { Sure::Possible };
        let told = cause(Blame::SignatureMissing, sure, format!("it has no `{place}`"))
            .shown_by(came_with(request))
            .elsewhere("see that this webhook has a signing secret at the vendor")
            .elsewhere(format!("see that the proxy before RelayFlow passes `{place}`"));
        self.causes.push(told);
        self.causes.push(forged());
    }

    fn unreadable(&mut self, source: &Source, error: &VerifyError) {
        let request = self.bench.case.request;
        let shape = source.rules.ways.iter().find_map(|way| headers::shape_of(way, request));
        let told = cause(Blame::SignatureAltered, Sure::Likely, error.to_string());
        let told = shape.into_iter().fold(told, |told, shape| told.shown_by(shape));
        let told = told
            .elsewhere("have the proxy before RelayFlow pass headers as they come")
            .elsewhere("then let the vendor send it again");
        self.causes.push(told);
        self.causes.extend(self.of_shape(source));
        self.causes.push(forged());
    }

    fn digest(&mut self, source: &Source, place: &str) {
        let is_of_url =
            source.rules.ways.iter().any(|way| way.claims.query.as_deref() == Some(place));
        let request = self.bench.case.request;
        let told = if is_of_url {
            cause(
                Blame::WrongUrl,
                Sure::Certain,
                format!("the signature is right, and `{place}` in it is of another method, path or query"),
            )
            .config(format!("[sources.{}] public_url = \"https://...\"   # what the vendor calls", source.name))
            .run(readmit(request))
        } else {
            cause(
                Blame::BodyAltered,
                Sure::Certain,
                format!(
                    "the signature is right, and the body is not the one whose digest `{place}` has"
                ),
            )
            .shown_by(format!("{} bytes came", request.body.len()))
            .elsewhere("have what stands before RelayFlow pass bodies byte for byte")
            .elsewhere("then let the vendor send it again: these bytes were not signed")
        };
        self.causes.push(clues(request).into_iter().fold(told, |told, clue| told.shown_by(clue)));
    }

    fn setting(&mut self, source: &Source, claim: &str) {
        let told = cause(
            Blame::WrongSetting,
            Sure::Certain,
            format!(
                "the signature is right, and `{claim}` is not what the source's settings ask for"
            ),
        )
        .config(format!(
            "[sources.{}.settings]   # relayflow providers show {}",
            source.name, source.provider.name
        ))
        .run("relayflow config check")
        .run(readmit(self.bench.case.request));
        self.causes.push(told);
    }

    /// The signature can be read, and nothing that is known made it.
    fn wrong(&mut self, source: &Source) {
        let case = self.bench.case;
        let request = case.request;
        let clues = clues(request);
        let is_proven =
            case.beside.verified_before.is_some() || case.beside.verified_after.is_some();
        let of_pair = source.rules.ways.iter().all(is_of_pair);
        let is_shared = source.rules.ways.iter().all(|way: &Way| way.scheme.is_shared());
        let has_clues = !clues.is_empty();
        let altered = || {
            let sure =
                if has_clues || (is_proven && of_pair) { Sure::Likely } else { Sure::Possible };
            let told = cause(
                Blame::BodyAltered,
                sure,
                "its body or its signature was changed on its way, in a way that was not tried",
            );
            clues
                .iter()
                .fold(told, |told, clue| told.shown_by(clue.clone()))
                .elsewhere("have what stands before RelayFlow pass bodies byte for byte, and let the vendor send it again")
        };
        let first_altered = has_clues || (is_proven && of_pair);
        if first_altered && !is_shared {
            self.causes.push(altered());
        }
        let told = self.unknown_secret(source, is_proven);
        self.causes.push(told);
        self.causes.extend(self.of_shape(source));
        if !first_altered && !is_shared {
            self.causes.push(altered());
        }
        if is_proven {
            self.causes.push(forged());
        }
    }

    fn unknown_secret(&self, source: &Source, is_proven: bool) -> Cause {
        let case = self.bench.case;
        let tried = self.bench.tried;
        let way = source.rules.ways.first().map(scheme).unwrap_or_default();
        let told = cause(
            Blame::WrongSecret,
            Sure::Likely,
            "it is signed with a secret that is not configured here",
        )
        .shown_by(format!(
            "none of {} secrets of {} sources made it, over {} forms of the body ({way})",
            tried.secrets,
            tried.sources,
            tried.bodies + 1
        ));
        let told = match (&case.beside.verified_before, &case.beside.verified_after) {
            (Some((id, at)), _) | (None, Some((id, at))) => told.shown_by(format!(
                "the source's own secret is right for others: {id} was verified at {at}"
            )),
            (None, None) => {
                told.shown_by("no request of this source is known to have been verified")
            }
        };
        let told = if is_proven {
            told.elsewhere("if it is the vendor's: another endpoint's secret signs it; look which webhook there calls this URL")
        } else {
            told.elsewhere("copy the signing secret of this webhook from the vendor once more")
        };
        told.config(format!("[sources.{}] secrets = [ ... ]", source.name))
            .run("relayflow config check")
            .run(readmit(case.request))
    }

    fn of_shape(&self, own: &Source) -> Vec<Cause> {
        let Some((first, header)) = self.shapes.first() else { return Vec::new() };
        let names: Vec<String> =
            self.shapes.iter().take(3).map(|(name, _)| format!("`{name}`")).collect();
        let told = cause(
            Blame::WrongProvider,
            Sure::Likely,
            format!(
                "it looks like a request of {}, and the source `{}` is one of `{}`",
                names.join(" or "),
                own.name,
                own.provider.name
            ),
        )
        .shown_by(format!("it has `{header}`, and no secret that is configured holds there"))
        .config(format!("[sources.{}] provider = \"{first}\"", own.name))
        .elsewhere("or let the vendor call the source that is meant");
        vec![told]
    }
}

fn forged() -> Cause {
    cause(Blame::Forged, Sure::Possible, "somebody else sent it, who does not know the secret")
        .elsewhere("nothing was taken in; leave it")
}

fn came_with(request: &Request) -> String {
    let names: Vec<&str> =
        request.headers.keys().map(http::HeaderName::as_str).take(NAMES_MAX).collect();
    match names.as_slice() {
        [] => "no header that is kept came with it".to_owned(),
        names => format!("of the headers that are kept it had: {}", names.join(", ")),
    }
}

/// What can be seen in a body that something has changed.
fn clues(request: &Request) -> Vec<String> {
    let body = &request.body;
    let mut clues = Vec::new();
    if body.is_empty() {
        clues.push("the body is empty".to_owned());
    }
    if body.starts_with(GZIP) {
        clues.push("the body is gzip: something compressed it on its way".to_owned());
    }
    match std::str::from_utf8(body) {
        Ok(text) if text.contains('\u{fffd}') => {
            clues.push("it has U+FFFD where characters were lost to a wrong charset".to_owned());
        }
        Ok(_) => {}
        Err(_) if !body.starts_with(GZIP) => clues.push("the body is not UTF-8".to_owned()),
        Err(_) => {}
    }
    let content_type = request.header("content-type").unwrap_or_default();
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(body).is_ok();
    if content_type.contains("json") && !is_json && !body.is_empty() {
        clues.push("it is sent as JSON, and is none: it may have been cut".to_owned());
    }
    if content_type.contains("x-www-form-urlencoded") && is_json {
        clues.push("it is sent as a form, and is JSON".to_owned());
    }
    clues
}
