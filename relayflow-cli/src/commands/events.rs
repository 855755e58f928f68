//! `relayflow events`.

use std::fmt::Write as _;

use jiff::Timestamp;
use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Event, Task};
use relayflow_core::text;

use super::list::{list, show_document};
use crate::app::App;
use crate::args::{EventsCmd, EventsVerb, RawArgs};
use crate::backend::Backend;
use crate::failure::{Done, Failure};
use crate::output::{Out, document, time};

pub(crate) async fn events(app: &App, events: EventsCmd) -> Done {
    match events.verb {
        None => {
            let backend = app.connect().await?;
            list(app, &events.list, None, async |page| backend.events(page).await).await
        }
        Some(EventsVerb::Ls(ls)) => {
            let q = app.select(&ls.select, None)?.q;
            let backend = app.connect().await?;
            list(app, &ls.list, q, async |page| backend.events(page).await).await
        }
        Some(EventsVerb::Show(id)) => show(app, &id.id).await,
        Some(EventsVerb::Raw(args)) => raw(app, &args).await,
    }
}

async fn show(app: &App, id: &str) -> Done {
    let event = app.connect().await?.event(id).await?;
    if !show_document(&app.out, &event, &event.id)? {
        app.out.print(&describe(&app.out, &event, app.now())?)?;
    }
    Ok(Exit::Ok)
}

/// One field a line, then its parts.
fn describe(out: &Out, event: &Event, now: Timestamp) -> Result<String, Failure> {
    let mut text = String::new();
    let none = out.style.none();
    let derived = if event.external_id_derived { "  (derived from its bytes)" } else { "" };
    pairs(
        &mut text,
        &[
            ("id", event.id.clone()),
            ("status", out.style.status(&event.status)),
            ("source", format!("{}  ({})", event.source, event.provider)),
            ("type", event.event_type.clone()),
            ("kind", event.kind.clone().unwrap_or(none.into())),
            ("external id", format!("{}{derived}", event.external_id)),
            ("subject", event.subject.clone().unwrap_or(none.into())),
            ("occurred", out.moment(&event.occurred_at, now)),
            ("received", out.moment(&event.received_at, now)),
            ("duplicates", event.duplicates.to_string()),
            ("correlation", event.correlation_id.clone()),
            ("request", event.request_id.clone()),
            ("key", event.idempotency_key.clone()),
            ("contract", event.contract.clone()),
        ],
    );
    for task in event.steps.iter().flatten() {
        text.push('\n');
        describe_task(&mut text, out, task, now);
    }
    for (name, raw) in [("attributes", &event.attributes), ("payload", &event.payload)] {
        if let Some(raw) = raw {
            let json = document::indent(&document::compact(raw)?)?;
            let _ = write!(text, "\n{name}\n{}\n", text::block(&json));
        }
    }
    Ok(text)
}

/// A task, its last error and its attempts.
pub(crate) fn describe_task(text: &mut String, out: &Out, task: &Task, now: Timestamp) {
    let _ = writeln!(
        text,
        "task  {}  {}/{}  {}  {}  attempt {}",
        task.id,
        text::line(&task.workflow),
        text::line(&task.step),
        out.style.painted_status(&text::line(&task.status)),
        text::line(&task.destination),
        task.attempt,
    );
    if let Some(reason) = &task.reason {
        let _ = writeln!(text, "  reason  {}", text::line(reason));
    }
    if let Some(error) = &task.last_error {
        let fingerprint = task.error_id.as_deref().unwrap_or_default();
        let _ = writeln!(text, "  error   {}  {}", text::line(error), text::line(fingerprint));
    }
    if let Some(due) = &task.due_at {
        let _ = writeln!(text, "  due     {}", out.moment(due, now));
    }
    for attempt in task.history.iter().flatten() {
        let _ = writeln!(
            text,
            "  {:>3}  {}  {}  {}{}{}",
            attempt.attempt,
            out.moment(&attempt.started_at, now),
            out.style.painted_status(&text::line(&attempt.status)),
            attempt.latency_ms.map_or_else(|| out.style.none().to_owned(), time::millis),
            attempt.http_status.map(|s| format!("  {s}")).unwrap_or_default(),
            attempt.error.as_ref().map(|e| format!("  {}", text::line(e))).unwrap_or_default(),
        );
    }
}

/// Names and values, one a line.
pub(crate) fn pairs(text: &mut String, pairs: &[(&str, String)]) {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        let _ = writeln!(text, "{name:width$}  {}", text::line(value));
    }
}

/// The exact bytes of a request to stdout.
pub(crate) async fn raw(app: &App, args: &RawArgs) -> Done {
    let backend = app.connect().await?;
    let body = backend.raw(&args.id).await?;
    if args.headers {
        app.out.print(&head(&backend, &args.id).await?)?;
    }
    if app.out.width.is_some() {
        let Some(shown) = for_terminal(&body) else {
            return Err(Failure::new("refused.terminal", "the body is not text")
                .why("its bytes could act on the terminal")
                .hint(format!("relayflow events raw {} > FILE", args.id)));
        };
        app.out.print(&shown)?;
    } else {
        app.out.print_bytes(&body)?;
    }
    Ok(Exit::Ok)
}

/// Method, target and kept headers, as in a request.
async fn head(backend: &Backend, id: &str) -> Result<String, Failure> {
    let id =
        if id.starts_with("req_") { id.to_owned() } else { backend.event(id).await?.request_id };
    let request = backend.request(&id).await?;
    let mut head = format!("{} {}\r\n", text::line(&request.method), text::line(&request.target));
    for (name, value) in request.headers.iter().flatten() {
        let _ = write!(head, "{}: {}\r\n", text::line(name), text::line(value));
    }
    head.push_str("\r\n");
    Ok(head)
}

/// The body as a terminal may show it; `None` if it is binary.
fn for_terminal(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let mut shown = text::block(text).into_owned();
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_bytes_that_act_on_it() {
        assert_eq!(for_terminal(b"a\x1b[2J").as_deref(), Some("a␛[2J\n"));
        assert_eq!(for_terminal(b"\xff\x00"), None);
    }

    #[test]
    fn a_value_cannot_bring_colour_of_its_own() {
        let mut text = String::new();
        pairs(&mut text, &[("id", "x\u{1b}[31m".to_owned())]);
        assert_eq!(text, "id  x␛[31m\n");
    }
}
