//! Everything under one correlation id, as a tree with a waterfall.

use jiff::Timestamp;
use relayflow_core::api::{Event, Trace};

use super::EventScreen;
use crate::output::time;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, fit, piece, short_id};
use crate::tui::route::{Route, Tab};
use crate::tui::theme::{Glyphs, Role};

/// One line of the tree.
#[derive(Debug)]
pub(super) struct Row {
    depth: usize,
    text: String,
    status: Option<String>,
    /// When something of it began, when it ended, and how.
    spans: Vec<(Timestamp, Timestamp, String)>,
    pub(super) route: Option<Route>,
}

fn moment(wire: &str) -> Option<Timestamp> {
    wire.parse().ok()
}

fn point(wire: &str) -> Vec<(Timestamp, Timestamp, String)> {
    moment(wire).map(|at| (at, at, String::new())).into_iter().collect()
}

pub(super) fn rows(trace: &Trace) -> Vec<Row> {
    let mut rows = Vec::new();
    for request in &trace.requests {
        let id = request.id.clone();
        rows.push(Row {
            depth: 0,
            text: format!("{}  {} {}", short_id(&id), request.method, request.target),
            status: Some(request.status.clone()),
            spans: point(&request.received_at),
            route: Some(Route::Event { id, task: None, tab: Tab::Request }),
        });
    }
    for event in &trace.events {
        push_event(&mut rows, event);
    }
    for replay in &trace.replays {
        let reason = replay.reason.as_ref().map(|r| format!("  \"{r}\"")).unwrap_or_default();
        rows.push(Row {
            depth: 0,
            text: format!("{}  by {}{reason}", short_id(&replay.id), replay.who),
            status: Some(replay.status.clone()),
            spans: point(&replay.created_at),
            route: Some(Route::Job(replay.id.clone())),
        });
    }
    rows
}

fn push_event(rows: &mut Vec<Row>, event: &Event) {
    let id = event.id.clone();
    rows.push(Row {
        depth: 0,
        text: format!("{}  {} {}", short_id(&id), event.source, event.event_type),
        status: None,
        spans: point(&event.received_at),
        route: Some(Route::Event { id: id.clone(), task: None, tab: Tab::Timeline }),
    });
    for task in event.steps.iter().flatten() {
        let spans = task.history.iter().flatten().filter_map(|attempt| {
            let begin = moment(&attempt.started_at)?;
            let end = attempt.ended_at.as_deref().and_then(moment).unwrap_or(begin);
            Some((begin, end, attempt.status.clone()))
        });
        let last = task.history.iter().flatten().last();
        let took = last.and_then(|a| a.latency_ms).map(|ms| format!("  {}", time::millis(ms)));
        rows.push(Row {
            depth: 1,
            text: format!(
                "{}/{}  attempt {}{}",
                task.workflow,
                task.step,
                task.attempt,
                took.unwrap_or_default()
            ),
            status: Some(task.status.clone()),
            spans: spans.collect(),
            route: Some(Route::Event {
                id: id.clone(),
                task: Some(task.id.clone()),
                tab: Tab::Timeline,
            }),
        });
    }
}

pub(super) fn view(screen: &EventScreen, _ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let Some(trace) = &screen.trace.value else { return };
    let rows = rows(trace);
    let (start, end) = (moment(&trace.started_at), moment(&trace.ended_at));
    let bars = if 60 <= canvas.width() { (canvas.width() / 3).min(60) } else { 0 };
    let left = canvas.width().saturating_sub(bars + 2);
    let total = time::between_ms(&trace.started_at, &trace.ended_at).unwrap_or(0);
    let total = time::millis(f64::from(i32::try_from(total).unwrap_or(i32::MAX)));
    let more = if trace.truncated { "  not all is shown" } else { "" };
    let events = time::things(u64::try_from(trace.events.len()).unwrap_or(0), "event");
    let head = format!(" {}  {events}  total {total}{more}", trace.correlation_id);
    canvas.put(0, 0, &fit(&head, left, canvas.glyphs), Role::Strong);
    if 0 < bars {
        let scale = format!("0{}{total}", " ".repeat(bars.saturating_sub(1 + total.len())));
        canvas.put(left + 1, 0, &scale, Role::Dim);
    }
    let cursor = screen.cursor();
    let height = canvas.height().saturating_sub(1).max(1);
    let top = (cursor + 1).saturating_sub(height);
    for (y, (at, row)) in rows.iter().enumerate().skip(top).take(height).enumerate() {
        let y = y + 1;
        let glyphs = canvas.glyphs;
        let mark = if at == cursor { glyphs.cursor } else { " " };
        let status = row.status.as_deref().map(|s| glyphs.status(s)).unwrap_or_default();
        let room = left.saturating_sub(crate::tui::draw::width(&status) + 2);
        let text = format!("{mark} {}{}", "  ".repeat(row.depth), row.text);
        let x = canvas.put(0, y, &fit(&text, room, glyphs), Role::Text);
        let role = Role::of_status(row.status.as_deref().unwrap_or_default());
        canvas.put(x + 1, y, &status, role);
        if let (Some(start), Some(end)) = (start, end) {
            for (column, mark, role) in waterfall(row, start, end, bars, glyphs) {
                canvas.part(left + 1 + column, y, 1, 1).line(0, &[piece(mark, role)]);
            }
        }
        if at == cursor {
            let mut text = canvas.part(0, y, left, 1);
            text.tint(0, Role::Selected);
        }
    }
}

/// The marks of a row over time, each at its column.
fn waterfall(
    row: &Row,
    start: Timestamp,
    end: Timestamp,
    columns: usize,
    glyphs: &Glyphs,
) -> Vec<(usize, &'static str, Role)> {
    let mut marks = Vec::new();
    if columns == 0 {
        return marks;
    }
    for (begin, done, status) in &row.spans {
        let from = place(*begin, start, end, columns);
        let to = place(*done, start, end, columns);
        for column in from..to {
            marks.push((column, glyphs.rule, Role::Dim));
        }
        let word = match status.as_str() {
            "" => "",
            "ok" => "ok",
            "running" => "running",
            "interrupted" | "lost" => "skipped",
            _ => "dead",
        };
        let mark = glyphs.marks.mark(word).unwrap_or(if glyphs.is_ascii() { "|" } else { "▏" });
        marks.push((to, mark, Role::of_status(word)));
    }
    marks
}

/// The column of a moment: 0 at the start, the last at the end.
fn place(at: Timestamp, start: Timestamp, end: Timestamp, columns: usize) -> usize {
    let total = end.duration_since(start).as_micros().max(1);
    let behind = at.duration_since(start).as_micros().clamp(0, total);
    let last = i128::try_from(columns.saturating_sub(1)).unwrap_or(0);
    usize::try_from(behind * last / total).unwrap_or(0).min(columns.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_has_a_column() {
        let t = |s: &str| s.parse::<Timestamp>().unwrap();
        let (start, end) = (t("2026-11-23T14:00:00Z"), t("2026-11-23T14:00:10Z"));
        assert_eq!(place(start, start, end, 20), 0);
        assert_eq!(place(end, start, end, 20), 19);
        assert_eq!(place(t("2026-11-23T15:00:00Z"), start, end, 20), 19);
        assert_eq!(place(start, start, start, 20), 0);
    }

    #[test]
    fn an_attempt_is_a_line_that_ends_in_how_it_ended() {
        let t = |s: &str| s.parse::<Timestamp>().unwrap();
        let (start, end) = (t("2026-11-23T14:00:00Z"), t("2026-11-23T14:00:10Z"));
        let row = Row {
            depth: 1,
            text: String::new(),
            status: None,
            spans: vec![(start, t("2026-11-23T14:00:02Z"), "rejected".to_owned())],
            route: None,
        };
        let marks = waterfall(&row, start, end, 11, &Glyphs::new(false));
        let shown: Vec<_> = marks.iter().map(|(at, mark, _)| format!("{at}{mark}")).collect();
        assert_eq!(shown, ["0─", "1─", "2✖"]);
    }
}
