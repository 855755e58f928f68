//! `relayflow bench --tui`: what the TUI's promises come to on this machine. State, update and view are
//! the real ones; the RelayFlow that they look at is made up here, and the terminal is a sink.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend, TestBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use relayflow_core::api::{Stats, TimelineEntry, Total};
use relayflow_core::clock::Clock;
use serde::Serialize;
use serde_json::json;

use super::app::{State, update};
use super::ctx::Setup;
use super::frame;
use super::keys::Keymap;
use super::msg::{Answer, Effect, Moment, Msg, Page, Question, Reply, Row, TailNews, Ticket};
use super::route::{Noun, Route};
use super::theme::{Glyphs, Theme};
use crate::context::{Target, Way};
use crate::failure::Failure;
use crate::output::time;

const SIZE: (u16, u16) = (140, 40);
/// Rows that match.
const ROWS: u64 = 1_000_000;
/// Entries of the timeline that are followed, in all and in a second.
const ENTRIES: usize = 1_000_000;
const PER_SECOND: usize = 5_000;
/// What comes between two frames at that rate.
const PER_FRAME: usize = PER_SECOND * 33 / 1000;
const FRAMES: usize = 1_000;
const KEYS: usize = 1_000;

/// One promise: what was measured, and what `tui.md` says.
#[derive(Debug, Serialize)]
struct Measure {
    what: &'static str,
    /// In milliseconds, MiB or a second, as `unit` says.
    value: f64,
    unit: &'static str,
    /// The most, or of a throughput the least, that is promised.
    promise: Option<f64>,
    holds: Option<bool>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    v: u32,
    object: &'static str,
    rows: u64,
    columns: u16,
    lines: u16,
    pub(crate) is_debug_build: bool,
    measures: Vec<Measure>,
}

/// A state and the made-up RelayFlow.
struct Desk {
    state: State,
    began: Instant,
}

/// Measures, which takes some seconds.
///
/// # Errors
///
/// What it made up itself does not read.
pub(crate) fn bench() -> Result<Report, Failure> {
    Ok(Report {
        v: relayflow_core::api::V,
        object: "tui_bench",
        rows: ROWS,
        columns: SIZE.0,
        lines: SIZE.1,
        is_debug_build: cfg!(debug_assertions),
        measures: measure()?,
    })
}

impl Report {
    /// Whether every promise is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.measures.iter().all(|measure| measure.holds != Some(false))
    }
}

fn measure() -> Result<Vec<Measure>, Failure> {
    let mut measures = frames()?;
    measures.extend(keys()?);
    measures.extend(entries()?);
    Ok(measures)
}

impl Desk {
    fn new(route: Route) -> Result<Self, Failure> {
        let setup = Setup {
            target: Target {
                name: "bench".into(),
                label: Some("BENCH".into()),
                is_protected: true,
                max_bulk: None,
                way: Way::Api { endpoint: "http://127.0.0.1:1".into(), token: None },
            },
            is_read_only: false,
            is_calm: false,
            zone: TimeZone::UTC,
            theme: Theme::auto(),
            glyphs: Glyphs::new(false),
            keymap: Keymap::default(),
            contexts: Vec::new(),
        };
        let began = Instant::now();
        let now = Moment { run: Duration::ZERO, wall: Clock::Wall.now() };
        let mut desk = Self { state: State::new(setup, now, SIZE, route), began };
        desk.tell(Msg::Tick)?;
        Ok(desk)
    }

    /// Takes a message in, and answers what it leads to.
    fn tell(&mut self, msg: Msg) -> Result<(), Failure> {
        let mut waiting = vec![msg];
        while let Some(msg) = waiting.pop() {
            let now = Moment { run: self.began.elapsed(), wall: Clock::Wall.now() };
            for effect in update(&mut self.state, now, msg) {
                if let Effect::Ask { ticket, question } = effect
                    && let Some(answer) = answer(ticket, &question, now)?
                {
                    waiting.push(Msg::Answer(answer));
                }
            }
        }
        Ok(())
    }

    fn press(&mut self, code: KeyCode) -> Result<(), Failure> {
        self.tell(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    /// As the runtime draws: into a buffer of its own, then what differs to the terminal.
    fn draw<B: Backend>(&self, terminal: &mut Terminal<B>) -> Result<(), Failure> {
        let area = Rect::new(0, 0, SIZE.0, SIZE.1);
        let mut buffer = Buffer::empty(area);
        frame::view(&self.state, area, &mut buffer);
        let drawn = terminal.draw(|frame| frame.buffer_mut().clone_from(&buffer));
        drawn.map(|_| ()).map_err(|e| Failure::error(e.to_string()))
    }
}

fn wrong(error: &serde_json::Error) -> Failure {
    Failure::error(format!("the bench's own document does not read: {error}"))
}

/// What the made-up RelayFlow says, at once; nothing to what is not measured.
fn answer(ticket: Ticket, question: &Question, now: Moment) -> Result<Option<Answer>, Failure> {
    let result = match question {
        Question::Stats => Reply::Stats(Box::new(stats(now)?)),
        Question::Rows { noun: Noun::DeadLetters, limit, cursor, .. } => {
            Reply::Rows(page(*limit, cursor.as_deref(), now))
        }
        _ => return Ok(None),
    };
    Ok(Some(Answer { ticket, took: Duration::from_millis(1), result: Ok(result) }))
}

fn stats(now: Moment) -> Result<Stats, Failure> {
    serde_json::from_value(json!({
        "v": relayflow_core::api::V, "object": "stats", "at": now.wall.to_string(), "events": ROWS,
        "requests": ROWS, "rejected": 20, "duplicates": 11, "tasks": {"queued": 38, "running": 2,
        "retrying": 14, "ok": 20_000, "dead": ROWS, "discarded": 0, "skipped": 0},
        "dead_letters": ROWS, "oldest_queued_seconds": 662.0, "retry_rate": 0.312,
        "replays": {"running": 1, "paused": 0, "done": 3, "cancelled": 0}
    }))
    .map_err(|e| wrong(&e))
}

/// A page of the million rows, newest first; a cursor is the number of the row behind it.
fn page(limit: usize, cursor: Option<&str>, now: Moment) -> Page<Row> {
    let limit = u64::try_from(limit).unwrap_or(200);
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let (from, to, next) = match cursor {
        Some("end") => (ROWS - limit.min(ROWS), ROWS, Some(format!("-{}", ROWS - limit.min(ROWS)))),
        Some(text) if text.starts_with('-') => {
            let to = number(&text[1..]);
            let from = to.saturating_sub(limit);
            (from, to, (0 < from).then(|| format!("-{from}")))
        }
        other => {
            let from = other.map_or(0, number);
            let to = (from + limit).min(ROWS);
            (from, to, (to < ROWS).then(|| to.to_string()))
        }
    };
    let rows = (from..to).map(|n| row(n, now)).collect();
    Page { rows, next, total: Some(Total { value: ROWS, exact: true }) }
}

fn row(n: u64, now: Moment) -> Row {
    let age = i64::try_from(n * 17 % 86_400).unwrap_or(0);
    Row {
        id: format!("tsk_01J9ZC{n:08}8XW2T5Q7R9S0ABCD").into(),
        event: Some(format!("evt_01J9ZC{n:08}8XW2T5Q7R9S0ABCD").into()),
        corr: "7c1e90d2".into(),
        at: now.wall.checked_sub(jiff::SignedDuration::from_secs(age)).ok(),
        source: "payments".into(),
        kind: if n.is_multiple_of(3) { "invoice.payment_failed" } else { "charge.failed" }.into(),
        step: "crm/upsert".into(),
        destination: "api.example.com".into(),
        status: "dead".into(),
        attempts: i64::try_from(n % 10).unwrap_or(0),
        error: "422 unknown field plan_id: Property \"plan_id\" does not exist".into(),
        error_id: Some("e_41c9".into()),
    }
}

fn entry(n: usize) -> String {
    let what = ["ok", "retrying", "dead", "queued"][n % 4];
    format!(
        r#"{{"v":1,"object":"timeline_entry","seq":{n},"at":"2026-11-23T14:03:{:02}.{:06}Z","what":"{what}",
        "correlation_id":"7c1e90d2","request_id":null,"event_id":"evt_01J9ZC{n:08}8XW2T5Q7R9S0ABCD",
        "task_id":"tsk_01J9ZC{n:08}8XW2T5Q7R9S0ABCD","replay_id":null,"source":"payments",
        "type":"charge.failed","workflow":"crm","step":"upsert","destination":"api.example.com",
        "attempt":{},"detail":{{"http_status":503,"latency_ms":17.0,"error":"POST api.example.com: 503"}}}}"#,
        n / 1_000_000 % 60,
        n % 1_000_000,
        n % 7 + 1,
    )
}

fn letters() -> Route {
    Route::List { noun: Noun::DeadLetters, filter: String::new() }
}

/// A list that was gone through, so that it holds as many pages as it ever does.
fn million() -> Result<Desk, Failure> {
    let mut desk = Desk::new(letters())?;
    for _ in 0..200 {
        desk.press(KeyCode::PageDown)?;
    }
    desk.press(KeyCode::Char('G'))?;
    for _ in 0..50 {
        desk.press(KeyCode::PageUp)?;
    }
    Ok(desk)
}

fn percentile(times: &mut [Duration], of_hundred: usize) -> f64 {
    times.sort_unstable();
    let place = (times.len() * of_hundred).div_ceil(100).saturating_sub(1);
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

fn at_most(what: &'static str, value: f64, unit: &'static str, promise: f64) -> Measure {
    Measure { what, value, unit, promise: Some(promise), holds: Some(value <= promise) }
}

fn at_least(what: &'static str, value: f64, unit: &'static str, promise: f64) -> Measure {
    Measure { what, value, unit, promise: Some(promise), holds: Some(promise <= value) }
}

fn timed<B: Backend>(
    desk: &mut Desk,
    terminal: &mut Terminal<B>,
) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::with_capacity(FRAMES);
    for n in 0..FRAMES {
        desk.press(if n % 50 < 25 { KeyCode::Down } else { KeyCode::PageUp })?;
        let begun = Instant::now();
        desk.draw(terminal)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn terminal<B: Backend>(backend: B) -> Result<Terminal<B>, Failure> {
    let area = Rect::new(0, 0, SIZE.0, SIZE.1);
    let options = ratatui::TerminalOptions { viewport: ratatui::Viewport::Fixed(area) };
    Terminal::with_options(backend, options).map_err(|e| Failure::error(e.to_string()))
}

/// How long a frame takes among a million rows.
fn frames() -> Result<Vec<Measure>, Failure> {
    let mut desk = million()?;
    let mut in_memory = timed(&mut desk, &mut terminal(TestBackend::new(SIZE.0, SIZE.1))?)?;
    let sink = io::BufWriter::with_capacity(64 * 1024, io::sink());
    let mut on_sink = timed(&mut desk, &mut terminal(CrosstermBackend::new(sink))?)?;
    Ok(vec![
        at_most("frame, in memory, p50", percentile(&mut in_memory, 50), "ms", 5.0),
        at_most("frame, in memory, p99", percentile(&mut in_memory, 99), "ms", 5.0),
        at_most("frame, as a terminal takes it, p50", percentile(&mut on_sink, 50), "ms", 5.0),
        at_most("frame, as a terminal takes it, p99", percentile(&mut on_sink, 99), "ms", 5.0),
    ])
}

/// How long a key waits for its frame while the timeline floods: the worst is a key that comes when a
/// whole frame's entries came just before.
fn keys() -> Result<Vec<Measure>, Failure> {
    let mut desk = million()?;
    let sink = io::BufWriter::with_capacity(64 * 1024, io::sink());
    let mut terminal = terminal(CrosstermBackend::new(sink))?;
    let mut times = Vec::with_capacity(KEYS);
    for n in 0..KEYS {
        let batch = parsed(n * PER_FRAME, PER_FRAME)?;
        let begun = Instant::now();
        desk.tell(Msg::Tail(TailNews::Entries { entries: batch, dropped: 0 }))?;
        desk.press(if n % 50 < 25 { KeyCode::Down } else { KeyCode::PageUp })?;
        desk.draw(&mut terminal)?;
        times.push(begun.elapsed());
    }
    let p50 = percentile(&mut times, 50);
    let p99 = percentile(&mut times, 99);
    Ok(vec![
        at_most("key to frame at 5,000 entries/s, p50", p50, "ms", 50.0),
        at_most("key to frame at 5,000 entries/s, p99", p99, "ms", 50.0),
    ])
}

fn parsed(from: usize, count: usize) -> Result<Vec<TimelineEntry>, Failure> {
    (from..from + count).map(|n| serde_json::from_str(&entry(n)).map_err(|e| wrong(&e))).collect()
}

/// A million entries of the timeline, read from JSON and taken in, with a frame as often as there is one.
fn entries() -> Result<Vec<Measure>, Failure> {
    let mut desk = Desk::new(Route::Tail { filter: String::new() })?;
    let sink = io::BufWriter::with_capacity(64 * 1024, io::sink());
    let mut terminal = terminal(CrosstermBackend::new(sink))?;
    let begun = Instant::now();
    let mut from = 0;
    while from < ENTRIES {
        let entries = parsed(from, PER_FRAME)?;
        desk.tell(Msg::Tail(TailNews::Entries { entries, dropped: 0 }))?;
        desk.draw(&mut terminal)?;
        from += PER_FRAME;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let per_second = f64::from(u32::try_from(ENTRIES).unwrap_or(u32::MAX)) / seconds;
    let least = f64::from(u32::try_from(PER_SECOND).unwrap_or(u32::MAX));
    let mut measures =
        vec![at_least("entries taken in, with their frames", per_second, "/s", least)];
    // The list of a million is there beside it, as in a session that has seen both.
    let list = million()?;
    if let Some(mib) = resident_mib() {
        measures.push(at_most("resident after a million entries", mib, "MiB", 64.0));
    }
    black_box((&list.state, &desk.state));
    Ok(measures)
}

/// What this process has in memory now, where the system tells.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.split_whitespace().next()?.parse().ok()?;
    Some(f64::from(kib) / 1024.0)
}

impl Report {
    /// As a person reads it.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "{} rows, {}x{}\n\n{:38} {:>12}  {:>18}\n",
            time::count(self.rows),
            self.columns,
            self.lines,
            "MEASURED",
            "VALUE",
            "PROMISE"
        );
        for measure in &self.measures {
            let number = |value: f64| match measure.unit {
                "/s" => format!("{value:.0}/s"),
                unit => format!("{value:.2} {unit}"),
            };
            let sign = if measure.unit == "/s" { "at least" } else { "at most" };
            let promise = measure.promise.map(|p| format!("{sign} {}", number(p)));
            let verdict = match measure.holds {
                Some(true) => "kept",
                Some(false) => "NOT KEPT",
                None => "",
            };
            let (value, promise) = (number(measure.value), promise.unwrap_or_default());
            let _ = writeln!(out, "{:38} {value:>12}  {promise:>18}  {verdict}", measure.what);
        }
        out
    }
}
