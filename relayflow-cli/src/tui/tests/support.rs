//! A RelayFlow that answers from a table, and a person who presses keys.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::backend::ChartOf;
use crate::context::{ContextName, Target, Way};
use crate::failure::Failure;
use crate::tui::app::{State, update};
use crate::tui::ctx::Setup;
use crate::tui::frame;
use crate::tui::keys::Keymap;
use crate::tui::msg::{Answer, Effect, Moment, Msg, Page, Question, Reply, Row, TailNews, Ticket};
use crate::tui::route::{Noun, Route};
use crate::tui::theme::{Glyphs, Theme};

pub(super) const T0: &str = "2026-11-23T14:03:11Z";

/// One TUI and the RelayFlow that it looks at.
pub(super) struct Desk {
    pub(super) state: State,
    pub(super) now: Moment,
    /// Questions that nobody answered yet.
    pub(super) asked: Vec<(Ticket, Question)>,
    /// Every other wish.
    pub(super) wishes: Vec<Effect>,
    pub(super) letters: usize,
}

pub(super) fn setup(is_protected: bool) -> Setup {
    Setup {
        target: Target {
            name: "prod".into(),
            label: Some("PROD".into()),
            is_protected,
            max_bulk: Some(5000),
            way: Way::Api { endpoint: "http://127.0.0.1:8788".into(), token: None },
        },
        is_read_only: false,
        is_calm: false,
        zone: TimeZone::UTC,
        theme: Theme::auto(),
        glyphs: Glyphs::new(false),
        keymap: Keymap::default(),
        contexts: ["local", "prod"]
            .map(|name| ContextName { name: name.into(), accent: Some("red".into()) })
            .to_vec(),
    }
}

impl Desk {
    pub(super) fn of(setup: Setup, size: (u16, u16), words: &str) -> Self {
        let now = Moment { run: Duration::from_secs(100), wall: T0.parse().unwrap() };
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        let state = State::new(setup, now, size, Route::read(&words).unwrap());
        let mut desk = Self { state, now, asked: vec![], wishes: vec![], letters: 412 };
        desk.tell(Msg::Tick);
        desk
    }

    /// At 80x24 in a protected context, with everything answered.
    pub(super) fn new(words: &str) -> Self {
        Self::sized((80, 24), words)
    }

    pub(super) fn sized(size: (u16, u16), words: &str) -> Self {
        let mut desk = Self::of(setup(true), size, words);
        desk.settle();
        desk
    }

    pub(super) fn tell(&mut self, msg: Msg) {
        for effect in update(&mut self.state, self.now, msg) {
            match effect {
                Effect::Ask { ticket, question } => self.asked.push((ticket, *question)),
                Effect::Forget(ticket) => self.asked.retain(|(asked, _)| *asked != ticket),
                other => self.wishes.push(other),
            }
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, result: Result<Reply, Failure>) {
        self.asked.retain(|(asked, _)| *asked != ticket);
        self.tell(Msg::Answer(Answer { ticket, took: Duration::from_millis(3), result }));
    }

    /// Answers everything that is asked, as long as something is.
    pub(super) fn settle(&mut self) {
        for _ in 0..20 {
            let asked = std::mem::take(&mut self.asked);
            if asked.is_empty() {
                return;
            }
            for (ticket, question) in asked {
                let reply = reply(&question, self.letters);
                self.answer(ticket, Ok(reply));
            }
        }
    }

    /// Answers what `say` has an answer to, once; the rest stays asked.
    pub(super) fn answer_some(
        &mut self,
        say: impl Fn(&Question) -> Option<Result<Reply, Failure>>,
    ) {
        for (ticket, question) in self.asked.clone() {
            if let Some(result) = say(&question) {
                self.answer(ticket, result);
            }
        }
    }

    /// Presses keys, and nobody answers what they lead to.
    pub(super) fn press_alone(&mut self, keys: &str) {
        for key in keys.split(' ').filter(|key| !key.is_empty()) {
            self.tell(Msg::Key(key_of(key)));
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.run += time;
        self.now.wall += time;
        self.tell(Msg::Tick);
    }

    /// Presses keys by their names, and lets every question be answered.
    pub(super) fn press(&mut self, keys: &str) {
        for key in keys.split(' ') {
            self.tell(Msg::Key(key_of(key)));
            self.settle();
        }
    }

    pub(super) fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.tell(Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
        }
        self.settle();
    }

    pub(super) fn buffer(&self) -> Buffer {
        let (columns, rows) = self.state.ctx.size;
        let area = Rect::new(0, 0, columns, rows);
        let mut buffer = Buffer::empty(area);
        frame::view(&self.state, area, &mut buffer);
        buffer
    }

    /// What is on the screen.
    pub(super) fn screen(&self) -> String {
        let (columns, rows) = self.state.ctx.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| *frame.buffer_mut() = self.buffer()).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |row: &[ratatui::buffer::Cell]| {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        };
        let rows = buffer.content().chunks(usize::from(columns.max(1)));
        rows.map(line).collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    pub(super) fn shows(&self, text: &str) {
        assert!(self.screen().contains(text), "no `{text}` in\n{}", self.screen());
    }

    #[track_caller]
    pub(super) fn shows_not(&self, text: &str) {
        assert!(!self.screen().contains(text), "`{text}` in\n{}", self.screen());
    }

    pub(super) fn lose(&mut self) {
        let lost = || {
            Failure::new(
                "unreachable.daemon",
                "the daemon at http://127.0.0.1:8788 does not answer",
            )
            .why("Connection refused (os error 111)")
        };
        self.answer_some(|_| Some(Err(lost())));
    }

    pub(super) fn tail(&mut self, entries: Vec<Value>) {
        let entries = entries.into_iter().map(doc).collect();
        self.tell(Msg::Tail(TailNews::Entries { entries, dropped: 0 }));
    }
}

pub(super) fn key_of(name: &str) -> KeyEvent {
    let (plain, modifiers) = match name.strip_prefix("ctrl-") {
        Some(plain) => (plain, KeyModifiers::CONTROL),
        None => (name, KeyModifiers::NONE),
    };
    let code = match plain {
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backtab" => KeyCode::BackTab,
        "backspace" => KeyCode::Backspace,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pagedown" => KeyCode::PageDown,
        "space" => KeyCode::Char(' '),
        other => KeyCode::Char(other.chars().next().unwrap()),
    };
    KeyEvent::new(code, modifiers)
}

pub(super) fn doc<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A moment so many seconds before now.
pub(super) fn ago(seconds: i64) -> String {
    let now: jiff::Timestamp = T0.parse().unwrap();
    format!("{:.6}", now - jiff::SignedDuration::from_secs(seconds))
}

pub(super) fn id(kind: &str, n: usize) -> String {
    format!("{kind}_01J9ZC{n:04}3V8XW2T5Q7R9S0AB")
}

fn counts(ok: i64, dead: i64) -> Value {
    json!({"queued": 0, "running": 0, "retrying": 0, "ok": ok, "dead": dead, "discarded": 0, "skipped": 0})
}

fn event(n: usize) -> Value {
    json!({
        "v": 1, "object": "event", "id": id("evt", n), "source": "stripe", "provider": "stripe",
        "type": "charge.failed", "kind": "payment.failed", "external_id": format!("evt_1P{n}"),
        "external_id_derived": false, "idempotency_key": "k", "subject": "ch_3Nx",
        "correlation_id": "7c1e90d2", "request_id": id("req", n), "occurred_at": ago(50),
        "received_at": ago(51 + i64::try_from(n).unwrap()), "status": "dead", "duplicates": 0,
        "tasks": counts(1, 1), "attempts": 10,
        "error": "crm/upsert POST api.hubspot.com: 422 unknown field plan_id", "contract": "stripe@1",
    })
}

fn whole_event(n: usize) -> Value {
    let mut event = event(n);
    event["payload"] = json!({"id": "evt_1P", "data": {"object": {"amount": 4200, "customer": "cus_1",
        "note": "\u{1b}[2Jboo\u{202e}"}}, "livemode": true});
    let attempt = |n: i64, status: &str, http: i64, response: Option<&str>| {
        json!({"attempt": n, "status": status, "started_at": ago(60 - n), "ended_at": ago(60 - n),
               "latency_ms": 16.0, "http_status": http, "error": format!("POST api.hubspot.com: {http}"),
               "response": response, "worker": "wrk_1"})
    };
    let task = |step: &str, status: &str, history: Vec<Value>| {
        json!({"v": 1, "object": "task", "id": format!("tsk_{step}"), "event_id": id("evt", n),
               "correlation_id": "7c1e90d2", "source": "stripe", "type": "charge.failed",
               "workflow": "crm", "step": step, "status": status, "attempt": history.len(),
               "failures": 0, "due_at": null, "created_at": ago(60), "ended_at": ago(40),
               "reason": null, "last_error": "422 unknown field plan_id", "error_id": "e_41c9",
               "http_status": 422, "destination": "api.hubspot.com", "worker": null, "history": history})
    };
    let answer = r#"{"status":"error","message":"Property \"plan_id\" does not exist"}"#;
    event["steps"] = json!([
        task("notify", "ok", vec![attempt(1, "ok", 250, None)]),
        task(
            "upsert",
            "dead",
            (1..8)
                .map(|n| attempt(n, "failed", 503, None))
                .chain([attempt(8, "rejected", 422, Some(answer))])
                .collect()
        ),
    ]);
    event
}

fn timeline(n: usize) -> Vec<Value> {
    let entry = |seq: i64, what: &str, step: Option<&str>, attempt: Option<i64>, detail: Value| {
        json!({"v": 1, "object": "timeline_entry", "seq": seq, "at": ago(60 - seq), "what": what,
               "correlation_id": "7c1e90d2", "request_id": null, "event_id": id("evt", n),
               "task_id": step.map(|s| format!("tsk_{s}")), "replay_id": null, "source": "stripe",
               "type": "charge.failed", "workflow": step.map(|_| "crm"), "step": step,
               "destination": step.map(|_| "api.hubspot.com"), "attempt": attempt, "detail": detail})
    };
    let mut all = vec![
        entry(1, "received", None, None, json!({"target": "/in/stripe", "body_bytes": 2114})),
        entry(1, "verified", None, None, json!({"scheme": "hmac-sha256", "skew_ms": 0})),
        entry(2, "committed", None, None, json!({"tasks": 2})),
        entry(3, "ok", Some("notify"), Some(1), json!({"http_status": 250, "latency_ms": 9.0})),
    ];
    for attempt in 1..8 {
        all.push(entry(
            3 + attempt,
            "retrying",
            Some("upsert"),
            Some(attempt),
            json!({"http_status": 503, "latency_ms": 17.0}),
        ));
    }
    all.push(entry(
        11,
        "dead",
        Some("upsert"),
        Some(8),
        json!({"http_status": 422, "error": "422 unknown field plan_id"}),
    ));
    all
}

fn letter(n: usize) -> Value {
    json!({
        "v": 1, "object": "dead_letter", "id": id("tsk", n), "reason": "unretryable",
        "died_at": ago(51 + i64::try_from(n * 120).unwrap()), "received_at": ago(3000), "source": "stripe",
        "provider": "stripe", "type": if n % 3 == 1 { "invoice.payment_failed" } else { "charge.failed" },
        "event_id": id("evt", n), "request_id": id("req", n), "correlation_id": "7c1e90d2",
        "workflow": "crm", "step": "upsert", "destination": "api.hubspot.com", "attempts": 1,
        "http_status": 422, "error": "POST api.hubspot.com: 422 unknown field plan_id", "error_id": "e_41c9",
        "status": "dead",
    })
}

fn request(n: usize) -> Value {
    json!({
        "v": 1, "object": "request", "id": id("req", n), "source": "stripe", "provider": "stripe",
        "method": "POST", "target": "/in/stripe", "received_at": ago(60), "status": "rejected",
        "reason": "signature", "detail": "no secret fits", "correlation_id": "7c1e90d2", "body_bytes": 2114,
        "events": 0, "headers": [["content-type", "application/json"], ["stripe-signature", "•••"]],
        "event_ids": [],
    })
}

pub(super) fn group(count: usize, value: &str, title: &str) -> Value {
    json!({"v": 1, "object": "dead_letter_group", "by": "error", "value": value, "title": title,
           "count": count, "first_at": ago(840), "last_at": ago(2), "example": id("tsk", 0),
           "recent": [0, 0, 3, 4, 9, 20, 31, 40, 44, 60]})
}

pub(super) fn plan(items: usize) -> Value {
    json!({
        "v": 1, "object": "plan", "id": "pln_7QF2", "hash": "h", "action": "replay", "mode": "resume",
        "q": "status:dead", "created_at": T0, "expires_at": "2026-11-23T15:03:11Z", "status": "planned",
        "items": {"total": items, "run": items.saturating_sub(14), "run_at_risk": 11, "skip": 3, "blocked": 0},
        "groups": [
            {"would": "run", "destination": "api.hubspot.com", "effect": "POST upsert contact",
             "why": "idempotent: key sent", "count": items.saturating_sub(14)},
            {"would": "run_at_risk", "destination": "mail.example.com", "effect": "send e-mail",
             "why": "no dedupe\u{1b}[2J there", "count": 11},
            {"would": "skip", "destination": "api.hubspot.com", "effect": "", "why": "ok since they died", "count": 3},
        ],
        "oldest_at": ago(7200), "newest_at": ago(51), "events": 409,
    })
}

pub(super) fn replay(status: &str, ok: usize, dead: usize, total: usize) -> Value {
    json!({
        "v": 1, "object": "replay", "id": "rpl_01J9ZD", "plan": "pln_7QF2", "action": "replay",
        "mode": "resume", "q": "status:dead", "who": "ana", "reason": "hubspot schema fix",
        "created_at": ago(30), "ended_at": if status == "running" { Value::Null } else { json!(T0) },
        "status": status, "detail": null, "rate": 10.0,
        "items": {"total": total, "pending": total - ok - dead, "moved": 0, "ok": ok, "dead": dead,
                  "discarded": 0, "skipped": 0, "cancelled": 0},
    })
}

pub(super) fn stats(letters: usize) -> Value {
    json!({
        "v": 1, "object": "stats", "at": T0, "events": 14000, "requests": 14020, "rejected": 20,
        "duplicates": 11, "tasks": {"queued": 38, "running": 2, "retrying": 14, "ok": 20000,
        "dead": letters, "discarded": 0, "skipped": 0}, "dead_letters": letters,
        "oldest_queued_seconds": 662.0, "retry_rate": 0.312,
        "replays": {"running": 1, "paused": 0, "done": 3, "cancelled": 0},
        "drift": {"breaking": 1, "additive": 4},
        "paused_queues": [{"name": "ci.internal", "who": "ana", "reason": "deploy", "since": ago(60),
                           "until": "2026-11-23T14:30:00.000000Z"}],
    })
}

pub(super) fn who(name: &str, role: &str) -> relayflow_core::api::Identity {
    doc(json!({"v": 1, "object": "identity", "name": name, "role": role, "version": "0.1.0"}))
}

/// The minutes before now, of which the last is the present one.
fn minute(n: i64) -> Value {
    json!({"v": 1, "object": "minute", "at": ago((19 - n) * 60 + 11), "events": 840 + n * 10,
           "ok": 600 - n * 9, "attempts": 100, "retries": n, "dead": n * 20})
}

fn chart(of: &ChartOf) -> Value {
    let of = match of {
        ChartOf::Destination { name, .. } => name,
        ChartOf::Replay(id) => id,
    };
    let slice = |n: u64| {
        let by: Vec<u64> =
            (0..10).map(|a| if a < 4 { (n * 7 + a * 3) % 11 / (a + 1) } else { 0 }).collect();
        json!({"at": ago(900 - i64::try_from(n).unwrap() * 15), "ok": n % 9, "failed": n / 20, "by_attempt": by})
    };
    json!({"v": 1, "object": "chart", "of": of, "from": ago(900), "to": T0, "attempts": 1204,
           "is_whole": true,
           "latency": {"p50_ms": 42.0, "p90_ms": 180.0, "p99_ms": 1900.0, "max_ms": 10004.0, "buckets": [
               {"up_to_ms": 10.0, "ok": 40, "failed": 0}, {"up_to_ms": 20.0, "ok": 210, "failed": 1},
               {"up_to_ms": 50.0, "ok": 503, "failed": 12}, {"up_to_ms": 100.0, "ok": 204, "failed": 9},
               {"up_to_ms": 200.0, "ok": 98, "failed": 20}, {"up_to_ms": 500.0, "ok": 40, "failed": 22},
               {"up_to_ms": 1000.0, "ok": 11, "failed": 3}, {"up_to_ms": 2000.0, "ok": 2, "failed": 0},
               {"up_to_ms": 5000.0, "ok": 0, "failed": 0}, {"up_to_ms": 10000.0, "ok": 0, "failed": 29}]},
           "slices": (0..60).map(slice).collect::<Vec<_>>()})
}

fn queue(name: &str, depth: i64, dead: i64, state: &str) -> Value {
    let pause = (state == "paused").then(|| {
        json!({"name": name, "who": "ana",
        "reason": "deploy \u{1b}[2J", "since": ago(60), "until": "2026-11-23T14:30:00.000000Z"})
    });
    json!({"v": 1, "object": "queue", "name": name, "depth": depth, "running": 2, "retrying": 1, "dead": dead,
           "oldest_queued_seconds": 662.0, "state": state, "concurrency": 16, "pause": pause,
           "breaker": if state == "circuit_open" { "open" } else { "closed" },
           "in_per_second": 14.1, "out_per_second": 9.8, "retry_ratio": 0.312,
           "drain_seconds": if depth == 0 { json!(0.0) } else { Value::Null }})
}

fn rows(noun: Noun, limit: usize, cursor: Option<&str>, letters: usize) -> Page<Row> {
    // From the newest, as far as the cursor; or from the end, as far as its number.
    let number = |text: &str| text.parse::<usize>().unwrap();
    let (from, to, next) = match cursor {
        Some("end") => {
            let from = letters.saturating_sub(limit);
            (from, letters, (0 < from).then(|| format!("-{from}")))
        }
        Some(text) if text.starts_with('-') => {
            let to = number(&text[1..]);
            let from = to.saturating_sub(limit);
            (from, to, (0 < from).then(|| format!("-{from}")))
        }
        other => {
            let from = other.map_or(0, number);
            let to = (from + limit).min(letters);
            (from, to, (to < letters).then(|| to.to_string()))
        }
    };
    let row = |n| match noun {
        Noun::Events => Row::of_event(doc(event(n))),
        Noun::DeadLetters => Row::of_letter(doc(letter(n))),
        Noun::Requests => Row::of_request(doc(request(n))),
    };
    let rows = (from..to).map(row).collect();
    Page { rows, next, total: None }
}

/// The same of a RelayFlow in which nothing happened yet.
pub(super) fn reply_of_nothing(question: &Question) -> Reply {
    match question {
        Question::Minutes => Reply::Minutes(vec![]),
        Question::Replays { .. } => Reply::Replays(Page { rows: vec![], next: None, total: None }),
        Question::Timeline(_) => Reply::Timeline(vec![]),
        Question::Queues => Reply::Queues(vec![]),
        Question::Workers => Reply::Workers(vec![]),
        Question::Sources => Reply::Sources(vec![]),
        Question::Drift { .. } => Reply::Drift(Page { rows: vec![], next: None, total: None }),
        Question::Chart(of) => {
            let mut chart = chart(of);
            chart["attempts"] = json!(0);
            Reply::Chart(doc(chart))
        }
        Question::Trace(_) => Reply::Trace(doc(json!({"v": 1, "object": "trace",
            "correlation_id": "7c1e90d2", "started_at": ago(0), "ended_at": ago(0), "requests": [],
            "events": [], "replays": [], "truncated": false}))),
        other => reply(other, 0),
    }
}

/// What the RelayFlow of these tests says.
pub(super) fn reply(question: &Question, letters: usize) -> Reply {
    match question {
        Question::Stats => Reply::Stats(doc(stats(letters))),
        Question::Minutes => Reply::Minutes((0..20).map(|n| doc(minute(n))).collect()),
        Question::Who => Reply::Who(who("ana", "operator")),
        Question::Chart(of) => Reply::Chart(doc(chart(of))),
        Question::Groups { .. } => {
            let mut groups = vec![
                group(letters, "e_41c9", "POST api.hubspot.com: 422 unknown field plan_id"),
                group(12, "e_7a10", "timeout 10s \u{1b}[31mred"),
            ];
            groups.retain(|group| group["count"] != 0);
            Reply::Groups(doc(json!({"v": 1, "kind": "dead_letter_group_list", "items": groups,
                "next_cursor": null, "total": {"value": 2, "exact": true}})))
        }
        Question::Rows { noun, limit, cursor, .. } => {
            Reply::Rows(rows(*noun, *limit, cursor.as_deref(), letters))
        }
        Question::Replays { .. } => {
            let rows = vec![doc(replay("running", 812, 0, 1000)), doc(replay("done", 3, 1, 4))];
            Reply::Replays(Page { rows, next: None, total: None })
        }
        Question::Event(_) => Reply::Event(doc(whole_event(0))),
        Question::Timeline(_) => Reply::Timeline(timeline(0).into_iter().map(doc).collect()),
        Question::Trace(_) => Reply::Trace(doc(json!({
            "v": 1, "object": "trace", "correlation_id": "7c1e90d2", "started_at": ago(60),
            "ended_at": ago(40), "requests": [request(0)], "events": [whole_event(0)],
            "replays": [replay("running", 1, 0, 2)], "truncated": false}))),
        Question::Request(_) => Reply::Request(doc(request(0))),
        Question::Raw(_) => Reply::Raw(b"{\"id\":\"evt_1P\",\n\"x\":\"\x1b[2J\"}".to_vec()),
        Question::Verification(id) => Reply::Verification(doc(json!({
            "v": 1, "object": "verification", "request": id, "source": "stripe",
            "provider": "stripe", "received_at": T0, "status": "rejected",
            "reason": "signature_wrong", "detail": null, "verified": null,
            "causes": [{"cause": "body_altered", "confidence": "certain",
                "says": "its body was changed on its way: \u{1b}[2J a line end was put behind it",
                "evidence": ["over the 120 bytes before that secret #1 of `stripe` holds; 121 came"],
                "mend": [{"at": "elsewhere", "text": "let the vendor send it again"}]}],
            "tried": {"secrets": 1, "sources": 1, "schemes": 1, "bodies": 2, "urls": 0,
                "signatures": 9, "is_cut": false}}))),
        Question::Queues => Reply::Queues(vec![
            doc(queue("mail.example.com", 0, 0, "open")),
            doc(queue("api.hubspot.com", 8412, 412, "circuit_open")),
            doc(queue("ci.internal", 38, 12, "paused")),
        ]),
        Question::Workers => Reply::Workers(vec![doc(json!({"v": 1, "object": "worker",
            "id": "wrk_01J9ZA", "state": "live", "leases": 14, "heartbeat_seconds": 1.2, "running": 6, "started_at": ago(4000), "version": "0.1.0"}))]),
        Question::Sources => {
            Reply::Sources(vec![doc(json!({"v": 1, "object": "source", "name": "stripe",
            "provider": "stripe", "scheme": "hmac-sha256", "url": "http://127.0.0.1:8787/in/stripe",
            "provider_status": "confirmed", "reply_within": "10s", "learned": [], "secrets": ["sha256:9c1f0a77"], "tolerance": "5m"}))])
        }
        Question::Drift { .. } => {
            let drift = |grade: &str, change: &str, path: &str| {
                json!({"v": 1, "object": "drift",
                "id": format!("drf_{change}"), "source": "stripe", "provider": "stripe",
                "type": "charge.failed", "change": change, "grade": grade, "path": path,
                "was": "string", "is": "nothing, in 9 of 10", "hint": "moved to /plan",
                "events": 412, "share": 0.93, "first_at": ago(840), "last_at": ago(2),
                "examples": [id("evt", 0)], "read_by": ["workflow crm: url reads event.attributes.plan"],
                "status": "open", "accepted_at": null, "accepted_by": null, "reason": null, "version": null})
            };
            let rows = vec![
                doc(drift("breaking", "field_gone", "/data/object/plan_id")),
                doc(drift("additive", "field_added", "/data/object/\u{1b}plan")),
            ];
            Reply::Drift(Page { rows, next: None, total: None })
        }
        Question::Revise { task, .. } => Reply::Revised { task: task.clone(), number: 2 },
        Question::AcceptDrift { id, .. } => Reply::Done(format!("{id} is in the contract")),
        Question::Replay(_) => Reply::Replay(doc(replay("running", 281, 3, 412))),
        Question::Plan(new) => {
            let items = new.ids.as_ref().map_or(letters, Vec::len);
            Reply::Plan(doc(plan(items)))
        }
        Question::RunPlan(_) => Reply::Replay(doc(replay("running", 0, 0, 412))),
        Question::Control { verb, .. } => Reply::Done(format!("rpl_01J9ZD is {verb}d")),
        Question::PauseQueue { name, .. } => Reply::Done(format!("{name} is paused")),
        Question::ResumeQueue(name) => Reply::Done(format!("{name} goes on")),
        Question::Discard(_) => Reply::Done("1 item discarded".to_owned()),
        Question::Export { to, .. } => Reply::Done(format!("wrote {}", to.display())),
        Question::Readmit { .. } => Reply::Done("req_1 is accepted, 1 event".to_owned()),
    }
}
