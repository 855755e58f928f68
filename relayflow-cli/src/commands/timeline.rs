//! `relayflow timeline`, and how an entry of the timeline reads.

use std::time::Duration;

use relayflow_core::api::TimelineEntry;
use relayflow_core::api::codes::Exit;
use relayflow_core::text;
use serde_json::Value;

use super::list::show_document;
use crate::app::App;
use crate::args::{Format, TimelineArgs};
use crate::backend::Backend;
use crate::failure::Done;
use crate::output::style::{Style, Tone};
use crate::output::time;

/// How often `--follow` looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(crate) async fn timeline(app: &App, args: &TimelineArgs) -> Done {
    let backend = app.connect().await?;
    if args.follow {
        return follow(app, &backend, &args.id).await;
    }
    let list = backend.timeline(&args.id).await?;
    match app.out.format {
        Format::Ndjson => list.items.iter().try_for_each(|entry| app.out.ndjson(entry))?,
        Format::Table | Format::Wide => {
            let base = list.items.first().map(|entry| entry.at.clone());
            for entry in &list.items {
                app.out.line(&line(app.out.style, entry, base.as_deref()))?;
            }
        }
        Format::Json
        | Format::Yaml
        | Format::Csv
        | Format::Name
        | Format::Junit
        | Format::Sarif => {
            show_document(&app.out, &list, &args.id)?;
        }
    }
    Ok(Exit::Ok)
}

/// Shows entries as they come, until every task of the event has ended.
pub(crate) async fn follow(app: &App, backend: &Backend, id: &str) -> Done {
    let mut seen = i64::MIN;
    let mut base: Option<String> = None;
    loop {
        let list = backend.timeline(id).await?;
        for entry in list.items.iter().filter(|entry| seen < entry.seq) {
            base.get_or_insert_with(|| entry.at.clone());
            match app.out.format {
                Format::Table | Format::Wide => {
                    app.out.line(&line(app.out.style, entry, base.as_deref()))?;
                }
                Format::Json
                | Format::Ndjson
                | Format::Yaml
                | Format::Csv
                | Format::Name
                | Format::Junit
                | Format::Sarif => {
                    app.out.ndjson(entry)?;
                }
            }
        }
        seen = list.items.iter().map(|entry| entry.seq).max().unwrap_or(seen).max(seen);
        let event_id = list.items.iter().find_map(|entry| entry.event_id.as_deref());
        if let Some(event) = event_id {
            let event = backend.event(event).await?;
            let tasks = &event.tasks;
            if tasks.queued + tasks.running + tasks.retrying == 0 {
                return end(app, &event, base.as_deref(), list.items.last());
            }
        } else if !list.items.is_empty() {
            // A request without events: nothing more will come of it.
            return Ok(Exit::Ok);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn end(
    app: &App,
    event: &relayflow_core::api::Event,
    base: Option<&str>,
    last: Option<&TimelineEntry>,
) -> Done {
    let took = base
        .zip(last)
        .and_then(|(base, last)| time::between_ms(base, &last.at))
        .map(|ms| format!(" in {}", shown_ms(ms)))
        .unwrap_or_default();
    let tasks = &event.tasks;
    let mut parts = Vec::new();
    for (count, word) in [
        (tasks.ok, "ok"),
        (tasks.dead, "dead"),
        (tasks.discarded, "discarded"),
        (tasks.skipped, "skipped"),
    ] {
        if 0 < count {
            let count = u64::try_from(count).unwrap_or(0);
            parts.push(format!("{} {word}", time::things(count, "task")));
        }
    }
    let parts = if parts.is_empty() { "no task".to_owned() } else { parts.join(", ") };
    if app.out.is_for_people() {
        app.out.line(&format!("done   {parts}{took}"))?;
    }
    Ok(if 0 < tasks.dead { Exit::Partial } else { Exit::Ok })
}

fn shown_ms(ms: i64) -> String {
    if (0..1000).contains(&ms) {
        return format!("{ms} ms");
    }
    time::millis(f64::from(i32::try_from(ms).unwrap_or(i32::MAX)))
}

/// One entry: how long after `base`, what, and what it was about.
pub(crate) fn line(style: Style, entry: &TimelineEntry, base: Option<&str>) -> String {
    let offset = base
        .and_then(|base| time::between_ms(base, &entry.at))
        .map_or_else(|| entry.at.clone(), |ms| format!("+{ms} ms"));
    let what =
        style.paint(&format!("{:11}", text::line(&entry.what)), Tone::of_status(&entry.what));
    format!(" {offset:8} {what} {}", about(entry)).trim_end().to_owned()
}

/// What an entry is about, without its time: step, destination, attempt, and its details.
pub(crate) fn about(entry: &TimelineEntry) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let (Some(workflow), Some(step)) = (&entry.workflow, &entry.step) {
        parts.push(format!("{workflow}/{step}"));
    }
    parts.extend(entry.destination.clone());
    if let Some(attempt) = entry.attempt {
        parts.push(format!("attempt {attempt}"));
    }
    let mut details: Vec<_> = entry.detail.iter().collect();
    details.sort_by_key(|(key, _)| place(key));
    parts.extend(details.into_iter().filter_map(|(key, value)| said(key, value, &entry.at)));
    text::line(&parts.join("  ")).into_owned()
}

/// Where a detail stands: what people look for first, first.
fn place(key: &str) -> usize {
    ["target", "scheme", "http_status", "status", "latency_us", "latency_ms", "error", "reason"]
        .iter()
        .position(|known| *known == key)
        .unwrap_or(usize::MAX)
}

/// One detail as people read it, of an entry that is from `at`.
fn said(key: &str, value: &Value, at: &str) -> Option<String> {
    let shown = match value {
        // What is not so goes without saying.
        Value::Null | Value::Bool(false) => return None,
        Value::Bool(true) => return Some(key.replace('_', " ")),
        Value::String(text) => text.clone(),
        Value::Array(several) if several.iter().all(Value::is_string) => {
            several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    Some(match key {
        // The entry says that it is drift.
        "drift" | "grade" => shown,
        "error" | "scheme" | "target" | "reason" | "detail" | "message" => shown,
        "http_status" | "status" => shown,
        // The entry's own time says it well enough.
        "started_us" | "started_at" => return None,
        "latency_ms" | "took_ms" => value.as_f64().map_or(shown, time::millis),
        "latency_us" => value.as_f64().map_or(shown, |us| time::millis(us / 1000.0)),
        "due_at" => match time::between_ms(at, &shown) {
            Some(ms) => format!("next in {}", shown_ms(ms)),
            None => format!("next at {shown}"),
        },
        "skew_ms" => {
            format!("skew {}", value.as_f64().map_or(shown, |ms| format!("{:.0} s", ms / 1000.0)))
        }
        "body_bytes" => value.as_f64().map_or(shown, |bytes| format!("{:.1} kB", bytes / 1000.0)),
        "tasks" => match value.as_u64() {
            Some(tasks) => time::things(tasks, "task"),
            None => format!("tasks {shown}"),
        },
        "who" => format!("by {shown}"),
        other => format!("{} {shown}", other.replace('_', " ")),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn entry(at: &str, what: &str, more: Value) -> TimelineEntry {
        let mut entry = json!({
            "v": 1, "object": "timeline_entry", "seq": 16, "at": at, "what": what,
            "correlation_id": null, "request_id": null, "event_id": null, "task_id": null,
            "replay_id": null, "source": null, "type": null, "workflow": null, "step": null,
            "destination": null, "attempt": null, "detail": {},
        });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn entries_say_how_long_after_the_first_they_came() {
        let entries = [
            entry(
                "2026-11-23T14:03:11.000000Z",
                "received",
                json!({"detail": {"target": "/in/stripe", "body_bytes": 2100}}),
            ),
            entry(
                "2026-11-23T14:03:11.001200Z",
                "verified",
                json!({"detail": {"scheme": "stripe hmac-sha256", "skew_ms": 0}}),
            ),
            entry("2026-11-23T14:03:11.002000Z", "committed", json!({"detail": {"tasks": 2}})),
            entry(
                "2026-11-23T14:03:11.131000Z",
                "ok",
                json!({
                    "workflow": "crm", "step": "upsert", "destination": "api.hubspot.com", "attempt": 1,
                    "detail": {"http_status": 200, "latency_ms": 12.25},
                }),
            ),
            entry(
                "2026-11-23T14:03:13.000000Z",
                "dead",
                json!({"detail": {"error": "\u{1b}[2J", "started_us": 7, "exhausted": true, "late": false,
                "latency_us": 1500, "due_at": "2026-11-23T14:03:13.250000Z"}}),
            ),
        ];
        let style = Style { color: false, marks: false, ascii: false };
        let lines: Vec<_> = entries.iter().map(|e| line(style, e, Some(&entries[0].at))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
         +0 ms    received    /in/stripe  2.1 kB
         +1 ms    verified    stripe hmac-sha256  skew 0 s
         +2 ms    committed   2 tasks
         +131 ms  ok          crm/upsert  api.hubspot.com  attempt 1  200  12 ms
         +2000 ms dead        1.5 ms  ␛[2J  next in 250 ms  exhausted
        ");
    }
}
