//! Requests as vendors send them, made of the project's own payloads.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use relayflow_core::config::SourceConfig;
use relayflow_core::patch;
use relayflow_core::provider::sign::{SignError, Signed, sign_for};
use relayflow_core::provider::{Catalog, Provider, Sample, Source};
use relayflow_core::secret::Secret;
use tokio::time::Instant;
use url::Url;

use crate::failure::{Failure, chain, root};

/// The definitions: built in, and those of a folder of the user's own.
pub(crate) fn catalog(dir: Option<&std::path::Path>) -> Result<Catalog, Failure> {
    match dir {
        None => Ok(Catalog::built_in()),
        Some(dir) => Catalog::with_dir(dir).map_err(|wrong| {
            let shown: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            Failure::new("usage.config", "a provider's definition does not load")
                .why(shown.join("\n").replace('\n', "\n  "))
        }),
    }
}

/// A source of a provider as its definition's examples have it.
pub(crate) fn source_config(provider: &Provider, secret: Secret) -> SourceConfig {
    SourceConfig {
        name: provider.name.to_string(),
        provider: provider.name.to_string(),
        secrets: vec![secret],
        tolerance: None,
        public_url: None,
        settings: provider.examples.clone(),
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
        reconcile: None,
    }
}

/// The project's own payload of a type.
pub(crate) fn sample<'p>(provider: &'p Provider, event_type: &str) -> Result<&'p Sample, Failure> {
    let samples = provider.samples();
    if let Some(sample) = samples.iter().find(|sample| sample.event_type == event_type) {
        return Ok(sample);
    }
    let known: Vec<_> = samples.iter().map(|sample| sample.event_type.as_str()).collect();
    let mut failure = Failure::new(
        "not_found.sample",
        format!("there is no payload of '{event_type}' for {}", provider.name),
    );
    if !known.is_empty() {
        failure = failure.why(format!("there are: {}", known.join(" ")));
    }
    Err(failure.hint(format!("relayflow send {} {event_type} --data @FILE", provider.name)))
}

/// Signs as the vendor of a source does.
pub(crate) fn signed(
    source: &Source,
    key: &Secret,
    event_type: &str,
    body: Vec<u8>,
    url: &str,
    now: Timestamp,
) -> Result<Signed, Failure> {
    sign_for(source, key, event_type, body, url, now).map_err(|e| cannot_sign(source, &e))
}

/// Nothing was signed, and what to do about it.
pub(crate) fn cannot_sign(source: &Source, error: &SignError) -> Failure {
    let name = &source.provider.name;
    let failure =
        Failure::new("refused.sign", format!("a request of {name} cannot be signed here"));
    let failure = failure.why(chain(error));
    match error {
        SignError::Key { .. } => {
            failure.hint("--key-file FILE: a private key of the vendor's form")
        }
        SignError::Body { .. } | SignError::Header { .. } => failure,
    }
}

/// The answer to one request.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) status: u16,
    pub(crate) took_ms: f64,
    pub(crate) body: Vec<u8>,
}

/// A client that posts as vendors do.
pub(crate) fn client(timeout: Duration) -> Result<reqwest::Client, Failure> {
    // An error only says that a provider is set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().timeout(timeout).no_proxy();
    builder.build().map_err(|e| Failure::error(chain(&e)))
}

/// Posts a signed request to `url`.
///
/// # Errors
///
/// Nothing answers there.
pub(crate) async fn post(
    client: &reqwest::Client,
    url: &str,
    letter: &Signed,
) -> Result<Sent, Failure> {
    let mut request = client.request(letter.method.clone(), url).body(letter.body.clone());
    for (name, value) in &letter.headers {
        request = request.header(name, value);
    }
    let started = Instant::now();
    let lost = |e: reqwest::Error| {
        Failure::new("unreachable.ingest", format!("{url} does not answer"))
            .why(root(&e))
            .hint("relayflow up")
    };
    let response = request.send().await.map_err(lost)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(lost)?.to_vec();
    Ok(Sent { status, took_ms: started.elapsed().as_secs_f64() * 1000.0, body })
}

/// Where a request goes: the source's place, with the query that signing gave it.
pub(crate) fn with_query_of(url: &str, letter: &Signed) -> String {
    match Url::parse(&letter.url).ok().as_ref().and_then(Url::query) {
        Some(query) => format!("{url}?{query}"),
        None => url.to_owned(),
    }
}

/// `body` with the member at `path` set; of a form, the field of that name.
pub(crate) fn set(body: &[u8], path: &str, value: &str) -> Result<Vec<u8>, Failure> {
    let is_json =
        body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[");
    if body.trim_ascii_start().starts_with(b"<") {
        return Err(Failure::usage("--set changes JSON and forms; the payload is XML")
            .hint("--edit, or --data @FILE"));
    }
    if body.starts_with(b"--") {
        return Err(Failure::usage("--set changes JSON and forms; the payload has several parts")
            .hint("--edit, or --data @FILE"));
    }
    if !is_json {
        return Ok(set_form(body, path, value));
    }
    let json = std::str::from_utf8(body).map_err(|_| Failure::usage("the payload is not UTF-8"))?;
    serde_json::from_str::<&serde_json::value::RawValue>(json)
        .map_err(|e| Failure::usage("the payload is not JSON").why(e.to_string()))?;
    let changed = patch::set(json, path, &patch::value_of(value));
    changed.map(String::into_bytes).map_err(|why| Failure::usage(format!("--set {why}")))
}

fn set_form(body: &[u8], name: &str, value: &str) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let mut is_set = false;
    for (key, old) in url::form_urlencoded::parse(body) {
        if key == name {
            is_set = true;
            form.append_pair(&key, value);
        } else {
            form.append_pair(&key, &old);
        }
    }
    if !is_set {
        form.append_pair(name, value);
    }
    form.finish().into_bytes()
}

/// Random lowercase letters and digits.
pub(crate) fn random_text(length: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = vec![0_u8; length];
    // Without randomness ids would only repeat, which a duplicate then shows.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_set_where_the_path_says() {
        let body = br#"{"data":{"items":[{"n":1}]}}"#;
        let set = |path, value| String::from_utf8(set(body, path, value).unwrap()).unwrap();
        assert_eq!(set("data.items.0.n", "42"), r#"{"data":{"items":[{"n":42}]}}"#);
        assert_eq!(set("x.y", "text"), r#"{"data":{"items":[{"n":1}]},"x":{"y":"text"}}"#);
        assert!(super::set(body, "data.items.7", "1").is_err());
        assert!(super::set(body, "data.items.0.n.m", "1").is_err());
        assert_eq!(super::set(b"a=1&b=2", "a", "x y").unwrap(), b"a=x+y&b=2");
        assert_eq!(super::set(b"a=1", "c", "3").unwrap(), b"a=1&c=3");
    }
}
