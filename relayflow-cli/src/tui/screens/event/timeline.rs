//! What happened to an event, entry by entry, and what the destination answered.

use relayflow_core::api::{Attempt, TimelineEntry};

use super::EventScreen;
use crate::commands::timeline::about;
use crate::output::time;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, dim, fit, piece, plain, wrap};
use crate::tui::theme::Role;

/// As many equal failures in a row are shown as one line, but for the first ones.
const FOLD_MIN: usize = 4;
const KEPT: usize = 2;

/// A line of the timeline.
#[derive(Debug)]
pub(super) enum Item<'a> {
    Entry(&'a TimelineEntry),
    /// So many more like the one before.
    Folded {
        count: usize,
        status: String,
    },
}

/// How an attempt failed, for those that look alike.
fn failure(entry: &TimelineEntry) -> Option<(&str, String)> {
    if entry.what != "retrying" {
        return None;
    }
    let status = entry.detail.get("http_status").or_else(|| entry.detail.get("error"));
    let status = status.map(|s| s.as_str().map_or_else(|| s.to_string(), str::to_owned));
    Some((entry.task_id.as_deref().unwrap_or_default(), status.unwrap_or_default()))
}

pub(super) fn items(screen: &EventScreen) -> Vec<Item<'_>> {
    let entries = screen.timeline.value.as_deref().unwrap_or_default();
    fold(entries, screen.unfolded)
}

fn fold(entries: &[TimelineEntry], unfolded: bool) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < entries.len() {
        let alike = failure(&entries[at]).map_or(1, |first| {
            entries[at..].iter().take_while(|e| failure(e).as_ref() == Some(&first)).count()
        });
        if unfolded || alike < FOLD_MIN {
            items.push(Item::Entry(&entries[at]));
            at += 1;
            continue;
        }
        items.extend(entries[at..at + KEPT].iter().map(Item::Entry));
        let status = failure(&entries[at]).map(|(_, status)| status).unwrap_or_default();
        items.push(Item::Folded { count: alike - KEPT, status });
        at += alike;
    }
    items
}

/// Where the cursor begins: at the end of the task that this is about, or of all.
pub(super) fn begin(screen: &EventScreen) -> usize {
    let items = items(screen);
    let last_of = |task: &str| {
        items.iter().rposition(|item| match item {
            Item::Entry(entry) => entry.task_id.as_deref() == Some(task),
            Item::Folded { .. } => false,
        })
    };
    let task = screen.task().map(|task| task.id.as_str());
    task.and_then(last_of).unwrap_or(items.len().saturating_sub(1))
}

pub(super) fn view(screen: &EventScreen, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let items = items(screen);
    let cursor = screen.cursor();
    let answer = answer(screen, &items, cursor);
    if let (true, Some((title, text))) = (screen.is_zoomed, &answer) {
        canvas.rule(0, title);
        let width = canvas.width().saturating_sub(2);
        for (y, line) in wrap(text, width).iter().enumerate() {
            canvas.put(1, 1 + y, line, Role::Text);
        }
        return;
    }
    // The answer has what the entries leave, but at least a third.
    let least = if answer.is_some() { canvas.height() / 3 } else { 0 };
    let rows = items.len().min(canvas.height().saturating_sub(least)).max(1);
    let top = (cursor + 1).saturating_sub(rows);
    let entries = screen.timeline.value.as_deref().unwrap_or_default();
    let base = entries.first().map(|entry| entry.at.clone());
    let is_narrow = canvas.width() < 70;
    for (y, (at, item)) in items.iter().enumerate().skip(top).take(rows).enumerate() {
        let mark = if at == cursor { canvas.glyphs.cursor } else { " " };
        match item {
            Item::Entry(entry) => {
                let clock = ctx.time_of(&entry.at);
                let millis = entry.at.split_once('.').map_or("", |(_, rest)| rest);
                let millis: String = millis.chars().take(3).collect();
                let offset = base.as_deref().and_then(|b| time::between_ms(b, &entry.at));
                let offset = offset.map_or_else(String::new, offset_text);
                let what = ctx.glyphs.status(&entry.what);
                let when = if is_narrow { clock } else { format!("{clock}.{millis}") };
                canvas.line(
                    y,
                    &[
                        plain(mark),
                        dim(format!("{when}  ")),
                        dim(fit(&offset, 8, canvas.glyphs)),
                        piece(fit(&what, 12, canvas.glyphs), Role::of_status(&entry.what)),
                        plain(about(entry)),
                    ],
                );
            }
            Item::Folded { count, status } => {
                let text =
                    format!("{mark}     {count} more attempts, all {status}  (space to unfold)");
                canvas.put(0, y, &text, Role::Dim);
            }
        }
        if at == cursor {
            canvas.tint(y, Role::Selected);
        }
    }
    if let Some((title, text)) = answer {
        let rest = canvas.height().saturating_sub(rows);
        let width = canvas.width().saturating_sub(2);
        let mut below = canvas.below(rows);
        below.rule(0, &title);
        for (y, line) in wrap(&text, width).iter().take(rest.saturating_sub(1)).enumerate() {
            below.put(1, 1 + y, line, Role::Text);
        }
    }
}

fn offset_text(ms: i64) -> String {
    match ms {
        ..1000 => format!("+{ms}ms"),
        1000..60_000 => format!("+{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => format!("+{}", time::amount(jiff::SignedDuration::from_millis(ms)).replace(' ', "")),
    }
}

/// What the destination answered to the attempt under the cursor, or how it failed.
fn answer(screen: &EventScreen, items: &[Item<'_>], cursor: usize) -> Option<(String, String)> {
    let Item::Entry(entry) = items.get(cursor)? else { return None };
    let event = screen.event.value.as_ref()?;
    let steps = event.steps.as_deref()?;
    let task = steps.iter().find(|task| Some(&task.id) == entry.task_id.as_ref())?;
    let history = task.history.as_deref()?;
    let found = history.iter().find(|attempt| Some(attempt.attempt) == entry.attempt);
    let attempt: &Attempt = found.or_else(|| history.last())?;
    let title = format!("attempt {}: answer of {}", attempt.attempt, task.destination);
    let text = match (&attempt.response, &attempt.error) {
        (Some(response), _) if !response.trim().is_empty() => pretty(response),
        (_, Some(error)) => error.clone(),
        _ => return None,
    };
    Some((title, text))
}

/// JSON over several lines; anything else as it is.
fn pretty(text: &str) -> String {
    match serde_json::from_str::<Box<serde_json::value::RawValue>>(text) {
        Ok(value) => super::json::Tree::read(&value).text(),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::timeline::tests::entry;

    fn retry(status: i64) -> TimelineEntry {
        entry(
            "2026-11-23T14:03:07Z",
            "retrying",
            json!({"task_id": "tsk_1", "detail": {"http_status": status}}),
        )
    }

    #[test]
    fn many_equal_failures_are_one_line() {
        let entries: Vec<_> = (0..9).map(|_| retry(503)).chain([retry(422)]).collect();
        let shown = |unfolded| {
            let items = fold(&entries, unfolded);
            let of = |item: &Item<'_>| match item {
                Item::Entry(_) => "entry".to_owned(),
                Item::Folded { count, status } => format!("{count} x {status}"),
            };
            items.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(shown(false), ["entry", "entry", "7 x 503", "entry"]);
        assert_eq!(shown(true).len(), 10);
        let few: Vec<_> = (0..3).map(|_| retry(503)).collect();
        assert_eq!(fold(&few, false).len(), 3);
    }

    #[test]
    fn offsets_have_the_precision_that_they_are_worth() {
        for (ms, text) in [(0, "+0ms"), (131, "+131ms"), (1080, "+1.0s"), (461_000, "+7m41s")] {
            assert_eq!(offset_text(ms), text);
        }
    }
}
