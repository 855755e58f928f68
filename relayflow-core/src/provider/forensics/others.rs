//! The request as another provider's: signed by one of the known secrets, or shaped like its requests.

use std::sync::Arc;

use super::bench::keys_of;
use super::secrets::label;
use super::stages::{Search, readmit};
use super::words::{Sure, Told as _, cause, scheme};
use crate::api::Cause;
use crate::api::codes::Blame;
use crate::provider::body;
use crate::provider::definition::Scheme;
use crate::provider::extract::Scalar;
use crate::provider::source::Source;
use crate::provider::verify::bears;
use crate::provider::way::{SignaturePlace, Way};
use crate::request::Request;
use crate::secret::Secret;

impl Search<'_> {
    /// The request as another provider's.
    pub(super) fn as_of_others(&mut self, source: &Source) -> bool {
        let case = self.bench.case;
        let own = &source.provider.name;
        for provider in case.catalog.iter().filter(|provider| provider.name != *own) {
            let configured: Vec<&Source> = case
                .sources
                .iter()
                .map(|s| &**s)
                .filter(|other| other.provider.name == provider.name)
                .collect();
            let stand_in;
            let all: Vec<&Source> = if configured.is_empty() {
                let url = source.public_url.as_deref();
                match Source::stand_in(&source.name, url, provider, case.catalog) {
                    Some(source) => {
                        stand_in = source;
                        vec![&stand_in]
                    }
                    None => continue,
                }
            } else {
                configured
            };
            for other in all {
                if self.as_of(source, other) {
                    return true;
                }
            }
        }
        false
    }

    fn as_of(&mut self, own: &Source, other: &Source) -> bool {
        let case = self.bench.case;
        let ways = other.rules.ways.iter().enumerate();
        let borne: Vec<usize> = ways
            .filter(|(_, way)| way.scheme != Scheme::None && shows(other, way, case.request))
            .map(|(number, _)| number)
            .collect();
        self.bench.tried.schemes += borne.len() as u64;
        for number in &borne {
            if let Some(header) = telling_header(own, &other.rules.ways[*number], case.request) {
                let known = self.shapes.iter().any(|(name, _)| *name == other.provider.name);
                if !known {
                    self.shapes.push((Arc::clone(&other.provider.name), header));
                }
            }
        }
        if borne.is_empty() {
            return false;
        }
        let mut request = case.request.clone();
        if let Some(url) = &other.public_url {
            let query = request.query();
            request.url = if query.is_empty() { url.clone() } else { format!("{url}?{query}") };
        }
        let mut all: Vec<(String, &Secret)> = Vec::new();
        for known in case.sources {
            let secrets = known.secrets.iter().enumerate();
            all.extend(secrets.map(|(n, secret)| (label(&known.name, n, secret), secret)));
        }
        for (label, secret) in all {
            for (number, key) in keys_of(other, secret) {
                if !borne.contains(&number) {
                    continue;
                }
                let way = &other.rules.ways[number];
                let keys = std::slice::from_ref(&key);
                if let Some(held) = self.bench.holds(other, way, keys, &request) {
                    let told = self.of_other(own, other, way, &label);
                    self.causes.push(self.and_late(other, told, held));
                    return true;
                }
            }
        }
        false
    }

    fn of_other(&self, own: &Source, other: &Source, way: &Way, label: &str) -> Cause {
        let provider = &other.provider.name;
        let told = cause(
            Blame::WrongProvider,
            Sure::Certain,
            format!(
                "it is a request of `{provider}`, and the source `{}` is one of `{}`",
                own.name, own.provider.name
            ),
        )
        .shown_by(format!("{label} holds as {}", scheme(way)));
        let is_configured = self.bench.case.sources.iter().any(|s| s.name == other.name);
        if is_configured && other.name != own.name {
            let url = other.public_url.clone().unwrap_or_else(|| format!("/in/{}", other.name));
            return told
                .elsewhere(format!("let the vendor call the source `{}`: {url}", other.name));
        }
        told.config(format!("[sources.{}] provider = \"{provider}\"", own.name))
            .run("relayflow config check")
            .run(readmit(self.bench.case.request))
    }
}

/// Whether a request bears this way's signature, in the body too.
fn shows(source: &Source, way: &Way, request: &Request) -> bool {
    if !bears(way, request) {
        return false;
    }
    let SignaturePlace::Slot(slot) = &way.place else {
        return !matches!(way.place, SignaturePlace::Nowhere);
    };
    if way.is_each {
        return false;
    }
    body::open(&source.rules.takes, &request.body).is_ok_and(|opened| {
        way.reads
            .read(opened.text())
            .is_ok_and(|found| matches!(found.scalar(*slot), Scalar::Text(_)))
    })
}

/// The header that shows whose a request is: one that the source's own provider does not know.
fn telling_header(own: &Source, way: &Way, request: &Request) -> Option<String> {
    let SignaturePlace::Headers(names) = &way.place else { return None };
    let is_own = |name: &http::HeaderName| {
        *name == http::header::AUTHORIZATION
            || own.rules.ways.iter().any(|way| way.headers().contains(&name))
    };
    let name = names.iter().find(|name| request.headers.contains_key(*name) && !is_own(name));
    name.map(ToString::to_string)
}
