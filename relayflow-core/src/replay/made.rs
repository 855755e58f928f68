//! An event that nobody sent: what a vendor's payload would be, to see what would be done about it.

use std::sync::Arc;

use crate::api::Explain;
use crate::event::IntegrationEvent;
use crate::id::EventId;
use crate::in_force::InForce;
use crate::ingest::story;
use crate::provider::{self, Provider, Source};

/// The event, and the headers with which it would have come.
pub(super) struct Made {
    pub(super) event: IntegrationEvent,
    pub(super) headers: Vec<(String, String)>,
}

/// Reads what is asked for as a source would.
///
/// # Errors
///
/// What is missing or cannot be read, in words for whoever asked.
pub(super) fn event(config: &InForce, asked: &Explain) -> Result<Made, String> {
    let source = source(config, asked)?;
    let provider = &source.provider;
    let sample = asked
        .event_type
        .as_ref()
        .and_then(|of| provider.samples().iter().find(|sample| sample.event_type == *of));
    let event_type = asked.event_type.clone().unwrap_or_default();
    let body = match (&asked.data, sample) {
        (Some(data), _) => data.clone().into_bytes(),
        (None, Some(sample)) => sample.body(1, provider::sample_time()),
        (None, None) => return Err(no_payload(provider, asked)),
    };
    let more = sample.map(|sample| sample.headers.clone()).unwrap_or_default();
    let request = provider::as_sent(&source, &event_type, body, &more)?;
    let as_if = provider::once_verified(&request);
    let raw = provider::split(&source, &as_if).map_err(|error| story(&error))?;
    let mut events = Vec::new();
    for one in raw {
        let event = provider::normalize(&source, &as_if, one, EventId::next());
        events.push(event.map_err(|error| story(&error))?);
    }
    if events.is_empty() {
        return Err("it holds no event".to_owned());
    }
    let wanted = events.iter().position(|event| event.event_type == event_type).unwrap_or(0);
    let event = events.swap_remove(wanted);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers =
        request.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    Ok(Made { event, headers: headers.collect() })
}

/// The source that is named, else the first of the provider, else one that stands in for it.
fn source(config: &InForce, asked: &Explain) -> Result<Arc<Source>, String> {
    if let Some(name) = &asked.source {
        let source = config.sources.get(name);
        return source.cloned().ok_or_else(|| format!("there is no source `{name}`"));
    }
    let Some(name) = &asked.provider else {
        return Err("an event, a source or a provider is wanted".to_owned());
    };
    let mut of_provider: Vec<&Arc<Source>> =
        config.sources.values().filter(|source| *source.provider.name == **name).collect();
    of_provider.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(source) = of_provider.first() {
        return Ok(Arc::clone(source));
    }
    let provider =
        config.catalog.get(name).ok_or_else(|| format!("there is no provider `{name}`"))?;
    Source::stand_in(name, None, provider, &config.catalog)
        .map(Arc::new)
        .ok_or_else(|| format!("`{name}` needs settings: configure a source of it"))
}

fn no_payload(provider: &Provider, asked: &Explain) -> String {
    let known: Vec<&str> =
        provider.samples().iter().map(|sample| sample.event_type.as_str()).collect();
    match &asked.event_type {
        Some(of) => format!(
            "there is no payload of `{of}` for {}: give one, or one of {}",
            provider.name,
            known.join(", ")
        ),
        None => format!("a type or a payload is wanted; types with one: {}", known.join(", ")),
    }
}
