//! `relayflow send`: a provider's event, signed as the vendor signs, posted as the vendor posts.

mod curl;
mod edit;
mod letters;
mod types;

pub(crate) use self::letters::read_data;

use std::fmt::Write as _;
use std::time::Duration;

use relayflow_core::api::Ingested;
use relayflow_core::api::codes::Exit;
use relayflow_core::id::RequestId;
use relayflow_core::provider::{Catalog, tamper};
use relayflow_core::text;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use self::letters::{Letters, Stored};
use super::timeline;
use crate::app::App;
use crate::args::{SendArgs, Tamper};
use crate::backend::Backend;
use crate::context;
use crate::failure::{Done, Failure};
use crate::output::time;
use crate::vendor::{self, Sent};

pub(crate) async fn send(app: &App, args: &SendArgs) -> Done {
    let (config, _) = context::load_config(args.config.as_deref(), &|name| app.env(name))?;
    let catalog = vendor::catalog(config.providers_dir.as_deref())?;
    if let Some(provider) = &args.list {
        return types::types(app, &catalog, provider).await;
    }
    let stored = match &args.from {
        Some(id) => Some(stored(app, id).await?),
        None => None,
    };
    let mut letters = Letters::new(app, args, &config, &catalog, stored)?;
    if args.edit {
        letters.edit(app, |payload| edit::edit(app, payload))?;
    }
    if args.print {
        for _ in 0..args.count {
            let (url, letter) = letters.next(app)?;
            app.out.line(&curl::curl(&letter, &url))?;
        }
        return Ok(Exit::Ok);
    }
    deliver(app, args, &mut letters).await
}

async fn deliver(app: &App, args: &SendArgs, letters: &mut Letters<'_>) -> Done {
    let timeout = Duration::try_from(app.global.request_timeout).unwrap_or(Duration::from_secs(30));
    let client = vendor::client(timeout)?;
    let pace = args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let started = Instant::now();
    let mut exit = Exit::Ok;
    for number in 0..args.count {
        if let Some(pace) = pace {
            let after = pace.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            tokio::time::sleep_until(started + after).await;
        }
        let (url, letter) = letters.next(app)?;
        let signs_body = tamper::signs_body(letters.source(), &letter);
        let copies = if args.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            let sent = vendor::post(&client, &url, &letter).await?;
            report(app, args, &sent)?;
            if args.tamper.is_some() && sent.status < 300 {
                app.out.notice(match args.tamper {
                    Some(Tamper::Body) if !signs_body => {
                        "it was tampered with and taken: this vendor does not sign the body"
                    }
                    Some(_) | None => "it was tampered with and taken all the same",
                });
                exit = Exit::Findings;
            }
            if args.follow && sent.status < 300 {
                let ended = follow(app, &sent).await?;
                exit = if exit == Exit::Ok { ended } else { exit };
            }
        }
    }
    Ok(exit)
}

/// What was stored of an event, to be sent again as a new one.
async fn stored(app: &App, id: &str) -> Result<Stored, Failure> {
    let backend = app.connect().await?;
    let event = backend.event(id).await?;
    let request = backend.request(&event.request_id).await?;
    if 1 < request.events {
        app.out.notice(&format!("its request holds {} events: all are sent", request.events));
    }
    let headers = request.headers.unwrap_or_default();
    // What the sender's own connection said, and what is kept as a digest, is not of the event.
    let is_of_event = |(name, value): &(String, String)| {
        let of_connection =
            ["host", "content-length", "user-agent", "traceparent", "tracestate", "x-request-id"];
        !of_connection.contains(&name.as_str())
            && !value.starts_with("digest:")
            && !value.contains('•')
            && !value.contains("***")
    };
    Ok(Stored {
        source: event.source,
        event_type: event.event_type,
        body: backend.raw(&request.id).await?,
        headers: headers.into_iter().filter(is_of_event).collect(),
    })
}

pub(super) fn no_provider(catalog: &Catalog, name: &str) -> Failure {
    let known: Vec<_> = catalog.iter().map(|p| p.name.to_string()).collect();
    let failure = Failure::new("not_found.provider", format!("there is no provider '{name}'"))
        .why(format!("there are: {}", known.join(" ")));
    match relayflow_core::text::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure,
    }
}

/// One request and its answer, for programs.
#[derive(Serialize)]
struct SentDocument {
    v: u32,
    kind: &'static str,
    status: u16,
    took_ms: f64,
    /// JSON, or the text that came.
    answer: Value,
}

/// Says how it was answered.
///
/// # Errors
///
/// It was turned away, and not because that was asked for.
fn report(app: &App, args: &SendArgs, sent: &Sent) -> Result<(), Failure> {
    if app.out.is_for_people() {
        app.out.line(&text::line(&told(sent)))?;
    } else {
        let text = || Value::String(String::from_utf8_lossy(&sent.body).into_owned());
        app.out.ndjson(&SentDocument {
            v: relayflow_core::api::V,
            kind: "sent",
            status: sent.status,
            took_ms: sent.took_ms,
            answer: serde_json::from_slice(&sent.body).unwrap_or_else(|_| text()),
        })?;
    }
    let asked_for = args.tamper.is_some() || args.skew.is_some();
    if sent.status < 300 || (asked_for && matches!(sent.status, 400 | 401)) {
        return Ok(());
    }
    let code = if sent.status < 500 { "refused.rejected" } else { "unreachable.ingest" };
    Err(Failure::new(code, format!("the request was turned away with {}", sent.status))
        .why(text::line(&String::from_utf8_lossy(&sent.body)))
        .hint("relayflow requests ls status:rejected"))
}

fn told(sent: &Sent) -> String {
    let mut line = format!("sent   {} in {}", sent.status, time::millis(sent.took_ms));
    if let Ok(ingested) = serde_json::from_slice::<Ingested>(&sent.body) {
        for event in &ingested.events {
            let duplicate = if event.duplicate { " (duplicate)" } else { "" };
            let _ = write!(line, "   {}{duplicate}", event.id);
        }
        if let Ok(request) = ingested.request.parse::<RequestId>() {
            let _ = write!(line, "   corr {}", request.as_trace_id());
        }
    }
    line
}

async fn follow(app: &App, sent: &Sent) -> Done {
    let Ok(ingested) = serde_json::from_slice::<Ingested>(&sent.body) else {
        return Ok(Exit::Ok);
    };
    let backend: Backend = app.connect().await?;
    let id = ingested.events.first().map_or(ingested.request.as_str(), |event| event.id.as_str());
    timeline::follow(app, &backend, id).await
}
