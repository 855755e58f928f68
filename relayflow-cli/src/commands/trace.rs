//! `relayflow trace`: everything under one correlation id, as a tree with bars over its time.

use jiff::Timestamp;
use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Attempt, Event, Task, Trace};
use relayflow_core::text;
use unicode_width::UnicodeWidthStr as _;

use super::list::show_document;
use crate::app::App;
use crate::failure::Done;
use crate::output::Out;
use crate::output::style::{Style, Tone};
use crate::output::{table, time};

/// The columns of the bars, on a terminal that is wide enough.
const BARS: usize = 24;

pub(crate) async fn trace(app: &App, key: &str) -> Done {
    let trace = app.connect().await?.trace(key).await?;
    if !show_document(&app.out, &trace, &trace.correlation_id)? {
        app.out.print(&tree(&app.out, &trace))?;
    }
    Ok(Exit::Ok)
}

/// One line of the tree: what it says, and when what it says happened.
struct Branch {
    text: String,
    status: Option<String>,
    marks: Vec<(Timestamp, &'static str)>,
}

/// The tree, as text.
fn tree(out: &Out, trace: &Trace) -> String {
    let (start, end) = (moment(&trace.started_at), moment(&trace.ended_at));
    let mut branches: Vec<Branch> = Vec::new();
    let tops = trace.requests.len() + trace.events.len() + trace.replays.len();
    let mut place = 0;
    let mut fork = || {
        place += 1;
        if place == tops { ("└ ", "  ") } else { ("├ ", "│ ") }
    };
    for request in &trace.requests {
        let (fork, _) = fork();
        branches.push(Branch {
            text: format!("{fork}{}  {} {}", request.id, request.method, request.target),
            status: Some(request.status.clone()),
            marks: at(&request.received_at, "▏"),
        });
    }
    for event in &trace.events {
        let (fork, bar) = fork();
        branches.push(Branch {
            text: format!("{fork}{}  {} {}", event.id, event.source, event.event_type),
            status: None,
            marks: at(&event.received_at, "▏"),
        });
        push_tasks(&mut branches, event, bar);
    }
    for replay in &trace.replays {
        let (fork, _) = fork();
        let reason = replay.reason.as_ref().map(|r| format!("  \"{r}\"")).unwrap_or_default();
        branches.push(Branch {
            text: format!("{fork}{}  replay by {}{reason}", replay.id, replay.who),
            status: Some(replay.status.clone()),
            marks: at(&replay.created_at, "▏"),
        });
    }
    let mut shown = vec![(head(trace), String::new())];
    for branch in branches {
        let bar = bar(&branch.marks, start, end);
        shown.push((told(out.style, &branch), bar));
    }
    draw(out, &shown, start.zip(end))
}

fn push_tasks(branches: &mut Vec<Branch>, event: &Event, bar: &str) {
    let tasks = event.steps.as_deref().unwrap_or_default();
    for (place, task) in tasks.iter().enumerate() {
        let fork = if place + 1 == tasks.len() { "└ " } else { "├ " };
        branches.push(Branch {
            text: format!(
                "{bar}{fork}{} {}/{}{}",
                task.id,
                task.workflow,
                task.step,
                last_attempt(task)
            ),
            status: Some(task.status.clone()),
            marks: task.history.iter().flatten().filter_map(mark_of).collect(),
        });
    }
}

fn last_attempt(task: &Task) -> String {
    let last = task.history.as_ref().and_then(|history| history.last());
    let took = last.and_then(|a| a.latency_ms).map(|ms| format!("  {}", time::millis(ms)));
    let http = last
        .and_then(|a| a.http_status)
        .filter(|status| !(200..300).contains(status))
        .map(|status| format!("  {status}"));
    // What `dlq replay error:…` takes.
    let error = task.error_id.as_ref().filter(|_| task.status == "dead");
    let error = error.map(|id| format!("  {id}")).unwrap_or_default();
    let (took, http) = (took.unwrap_or_default(), http.unwrap_or_default());
    format!("  attempt {}{took}{http}{error}", task.attempt)
}

fn mark_of(attempt: &Attempt) -> Option<(Timestamp, &'static str)> {
    let at = moment(attempt.ended_at.as_deref().unwrap_or(&attempt.started_at))?;
    let mark = match attempt.status.as_str() {
        "ok" => "●",
        "running" => "◐",
        "interrupted" | "lost" => "–",
        _ => "✖",
    };
    Some((at, mark))
}

fn moment(wire: &str) -> Option<Timestamp> {
    wire.parse().ok()
}

fn at(wire: &str, mark: &'static str) -> Vec<(Timestamp, &'static str)> {
    moment(wire).map(|at| (at, mark)).into_iter().collect()
}

fn head(trace: &Trace) -> String {
    let n = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let tasks = trace.events.iter().flat_map(|e| e.steps.iter().flatten());
    let dead = tasks.clone().filter(|task| task.status == "dead").count();
    let mut parts = vec![
        trace.correlation_id.clone(),
        time::things(n(trace.events.len()), "event"),
        time::things(n(tasks.count()), "task"),
    ];
    if 0 < dead {
        parts.push(format!("{dead} dead"));
    }
    if let Some(ms) = time::between_ms(&trace.started_at, &trace.ended_at) {
        parts.push(format!(
            "total {}",
            time::millis(f64::from(i32::try_from(ms).unwrap_or(i32::MAX)))
        ));
    }
    if trace.truncated {
        parts.push("not all is shown".to_owned());
    }
    text::line(&parts.join("  ")).into_owned()
}

/// A branch's text, with its status behind it.
fn told(style: Style, branch: &Branch) -> String {
    let mut line = text::line(&branch.text).into_owned();
    if style.ascii {
        line = line.replace('├', "|").replace('└', "`").replace('│', "|");
    }
    if let Some(status) = &branch.status {
        line.push_str("  ");
        line.push_str(&style.status(&text::line(status)));
    }
    line
}

/// Marks at their places between start and end.
fn bar(
    marks: &[(Timestamp, &'static str)],
    start: Option<Timestamp>,
    end: Option<Timestamp>,
) -> String {
    let (Some(start), Some(end)) = (start, end) else { return String::new() };
    let mut cells = [" "; BARS];
    for (at, mark) in marks {
        cells[place(*at, start, end)] = mark;
    }
    cells.concat().trim_end().to_owned()
}

/// The column of a moment: 0 at the start, the last at the end.
fn place(at: Timestamp, start: Timestamp, end: Timestamp) -> usize {
    let total = end.duration_since(start).as_micros().max(1);
    let behind = at.duration_since(start).as_micros().clamp(0, total);
    let last = i128::try_from(BARS - 1).unwrap_or(0);
    usize::try_from(behind * last / total).unwrap_or(0).min(BARS - 1)
}

/// Text on the left, bars on the right where a terminal has room for them.
fn draw(out: &Out, lines: &[(String, String)], span: Option<(Timestamp, Timestamp)>) -> String {
    let widest = lines.iter().map(|(text, _)| text.width()).max().unwrap_or(0);
    let room = out.width.unwrap_or(usize::MAX);
    let has_bars = !out.style.ascii && widest + 2 + BARS <= room;
    let mut drawn = String::new();
    for (place, (text, bar)) in lines.iter().enumerate() {
        let text = table::shorten(text, room, out.style.ellipsis());
        let pad = " ".repeat(widest.saturating_sub(text.width()) + 2);
        let scale = match span {
            Some((start, end)) if place == 0 => scale(start, end),
            _ => bar.clone(),
        };
        let tone = if place == 0 { Tone::Bold } else { Tone::Plain };
        let line = if has_bars && !scale.is_empty() {
            format!("{}{pad}{scale}", out.style.paint(&text, tone))
        } else {
            out.style.paint(&text, tone)
        };
        drawn.push_str(line.trim_end());
        drawn.push('\n');
    }
    drawn
}

/// `0s … 2m` over the bars.
fn scale(start: Timestamp, end: Timestamp) -> String {
    let total = end.duration_since(start);
    let last = time::millis(total.as_secs_f64() * 1000.0);
    format!("0{}{last}", " ".repeat(BARS.saturating_sub(1 + last.width())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::args::Format;

    fn trace() -> Trace {
        let attempt = |status: &str, at: &str, http: i64| {
            json!({"attempt": 1, "status": status, "started_at": at, "ended_at": at,
                   "latency_ms": 9.0, "http_status": http, "error": null, "response": null, "worker": null})
        };
        let task = |id: &str, step: &str, status: &str, attempt: serde_json::Value| {
            json!({"v": 1, "object": "task", "id": id, "event_id": "evt_1", "correlation_id": "7c1e",
                   "source": "stripe", "type": "x", "workflow": "crm", "step": step, "status": status,
                   "attempt": 1, "failures": 0, "due_at": null, "created_at": "", "ended_at": null,
                   "reason": null, "last_error": null, "error_id": null, "http_status": null,
                   "destination": "d", "worker": null, "history": [attempt]})
        };
        serde_json::from_value(json!({
            "v": 1, "object": "trace", "correlation_id": "7c1e",
            "started_at": "2026-11-23T14:00:00Z", "ended_at": "2026-11-23T14:02:14Z",
            "requests": [{"v": 1, "object": "request", "id": "req_1", "source": "stripe",
                "provider": "stripe", "method": "POST", "target": "/in/stripe",
                "received_at": "2026-11-23T14:00:00Z", "status": "accepted", "reason": null,
                "detail": null, "correlation_id": "7c1e", "body_bytes": 3, "events": 1}],
            "events": [{"v": 1, "object": "event", "id": "evt_1", "source": "stripe",
                "provider": "stripe", "type": "invoice.payment_failed", "kind": null,
                "external_id": "e", "external_id_derived": false, "idempotency_key": "k",
                "subject": null, "correlation_id": "7c1e", "request_id": "req_1",
                "occurred_at": "", "received_at": "2026-11-23T14:00:00Z", "status": "dead",
                "duplicates": 0, "tasks": {"queued":0,"running":0,"retrying":0,"ok":1,"dead":1,
                "discarded":0,"skipped":0}, "attempts": 1, "error": null, "contract": "stripe@1",
                "steps": [task("tsk_1", "notify", "ok", attempt("ok", "2026-11-23T14:00:01Z", 200)),
                          task("tsk_2", "upsert", "dead", attempt("rejected", "2026-11-23T14:01:07Z", 422))]}],
            "replays": [{"v": 1, "object": "replay", "id": "rpl_1", "plan": "pln_1",
                "action": "replay", "mode": "resume", "q": null, "who": "ana",
                "reason": "schema fix", "created_at": "2026-11-23T14:02:14Z", "ended_at": null,
                "status": "running", "detail": null, "rate": null,
                "items": {"total":1,"pending":0,"moved":1,"ok":0,"dead":0,"discarded":0,"skipped":0,"cancelled":0}}],
            "truncated": false,
        }))
        .unwrap()
    }

    #[test]
    fn the_tree_shows_what_hung_on_what_and_when() {
        insta::assert_snapshot!(tree(&Out::test(Format::Table, Some(100)), &trace()), @r#"
        7c1e  1 event  2 tasks  1 dead  total 2m 14s          0                 2m 14s
        ├ req_1  POST /in/stripe  ● accepted                  ▏
        ├ evt_1  stripe invoice.payment_failed                ▏
        │ ├ tsk_1 crm/notify  attempt 1  9.0 ms  ● ok         ●
        │ └ tsk_2 crm/upsert  attempt 1  9.0 ms  422  ✖ dead             ✖
        └ rpl_1  replay by ana  "schema fix"  ◐ running                              ▏
        "#);
    }

    #[test]
    fn a_narrow_terminal_gets_no_bars() {
        let shown = tree(&Out::test(Format::Table, Some(60)), &trace());
        assert!(shown.lines().all(|line| line.width() <= 60), "{shown}");
    }

    #[test]
    fn every_moment_has_a_place() {
        let t = |s: &str| s.parse::<Timestamp>().unwrap();
        let (start, end) = (t("2026-11-23T14:00:00Z"), t("2026-11-23T14:00:10Z"));
        assert_eq!(place(start, start, end), 0);
        assert_eq!(place(end, start, end), BARS - 1);
        assert_eq!(place(t("2026-11-23T13:00:00Z"), start, end), 0);
        assert_eq!(place(t("2026-11-23T15:00:00Z"), start, end), BARS - 1);
        assert_eq!(place(start, start, start), 0);
    }
}
