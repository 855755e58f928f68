//! What `tui.md` promises of time and quiet, measured on the real program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::screen::Tui;
use super::setup;
use crate::harness::{Home, free_port, until};

/// Promises are made of release builds; a debug build on a machine full of tests gets more time.
fn allowed(promised: Duration) -> Duration {
    if cfg!(debug_assertions) { promised * 4 } else { promised }
}

/// Takes connections and says nothing, but for the timeline: that it floods, where it is to.
struct FakeApi {
    url: String,
    sent: Arc<AtomicU64>,
}

impl FakeApi {
    fn silent() -> Self {
        Self::start(0)
    }

    fn start(per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicU64::new(0));
        let for_server = Arc::clone(&sent);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sent = Arc::clone(&for_server);
                thread::spawn(move || answer(stream, per_second, &sent));
            }
        });
        Self { url, sent }
    }

    fn open(&self, args: &[&str]) -> (Home, Tui) {
        let home = Home::new("");
        let mut command = home.cli(&[&["tui"], args].concat());
        command.env("RELAYFLOW_URL", &self.url);
        command.env("RELAYFLOW_TOKEN", "none");
        let tui = Tui::start(command, (80, 24), &[]);
        (home, tui)
    }
}

/// One entry of the timeline as the daemon sends it.
fn entry(seq: u64) -> String {
    format!(
        "id: {seq}\ndata: {{\"v\":1,\"object\":\"timeline_entry\",\"seq\":{seq},\"at\":\"2026-11-23T14:03:11.000000Z\",\
         \"what\":\"ok\",\"correlation_id\":\"7c1e90d2\",\"request_id\":null,\"event_id\":\"evt_{seq}\",\
         \"task_id\":\"tsk_{seq}\",\"replay_id\":null,\"source\":\"a\",\"type\":\"b.c\",\"workflow\":\"w\",\
         \"step\":\"s\",\"destination\":\"d\",\"attempt\":1,\"detail\":{{\"latency_ms\":9.0}}}}\n\n"
    )
}

/// Reads one request; floods if it is for the timeline, and is silent otherwise.
fn answer(stream: TcpStream, per_second: u64, sent: &AtomicU64) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return;
    }
    if per_second == 0 || !first.contains("/api/v1/tail") {
        // Held open until the other side goes.
        let mut rest = Vec::new();
        let _gone = reader.read_to_end(&mut rest);
        return;
    }
    let mut stream = stream;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    if stream.write_all(head.as_bytes()).is_err() || stream.write_all(b"id: 1\ndata: \n\n").is_err()
    {
        return;
    }
    let begun = Instant::now();
    loop {
        // As many as are due by now, at once: a pause between two is not what is measured.
        let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * per_second / 1000;
        let text: String = (0..due.saturating_sub(sent.load(Ordering::SeqCst)))
            .map(|_| entry(sent.fetch_add(1, Ordering::SeqCst) + 2))
            .collect();
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// How long each of these keys takes until its screen is there.
fn answered(tui: &mut Tui) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..3 {
        for (key, text) in
            [("2", "[2 Events]"), ("3", "[3 DLQ]"), ("4", "[4 Replays]"), ("5", "[5 Queues]")]
        {
            let begun = Instant::now();
            tui.press(key);
            tui.shows(text);
            times.push(begun.elapsed());
        }
    }
    times.sort();
    eprintln!("keys were answered within {times:?}");
    times
}

#[test]
fn the_first_frame_waits_for_nobody() {
    let home = Home::new("");
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut command = home.cli(&["tui"]);
        // Nobody listens there; a port that swallows would do as well.
        command.env("RELAYFLOW_URL", format!("http://127.0.0.1:{}", free_port()));
        command.env("RELAYFLOW_TOKEN", "none");
        let begun = Instant::now();
        let mut tui = Tui::start(command, (80, 24), &[]);
        tui.shows("[1 Overview]");
        times.push(begun.elapsed());
        tui.shows("lost");
        tui.shows("Connection refused");
        tui.press("3");
        tui.shows("[3 DLQ]");
        tui.press("?");
        tui.shows("┌─ ? keys");
        tui.press("\u{1b}");
        tui.shows_not("┌─ ? keys");
        tui.press("q");
        assert_eq!(tui.exit(), 0);
    }
    times.sort();
    eprintln!("the first text came within {times:?}");
    assert!(times[0] < allowed(Duration::from_millis(100)), "{times:?}");
}

#[test]
fn keys_are_answered_while_the_daemon_is_silent() {
    let (_home, mut tui) = FakeApi::silent().open(&[]);
    tui.shows("[1 Overview]");
    tui.shows("waiting for 127.0.0.1");
    let times = answered(&mut tui);
    assert!(times[times.len() / 2] < allowed(Duration::from_millis(50)), "{times:?}");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn keys_are_answered_in_a_flood() {
    let fake = FakeApi::start(5_000);
    let (_home, mut tui) = fake.open(&["tail"]);
    until("the flood to come", || (5_000 < fake.sent.load(Ordering::SeqCst)).then_some(()));
    tui.shows("evt_");
    let times = answered(&mut tui);
    assert!(times[times.len() / 2] < allowed(Duration::from_millis(50)), "{times:?}");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn idle_it_writes_next_to_nothing() {
    let setup = setup();
    let mut tui = setup.open(&["queues"]);
    tui.shows("● open");
    tui.settles();
    // What there is to say after the start is said when nothing came for a while.
    let mut before = tui.written().len();
    until("the screen is quiet", || {
        let quiet = tui.quiet_for(Duration::from_secs(2));
        before = tui.written().len();
        quiet.then_some(())
    });
    let ticks = tui.cpu_ticks();
    assert!(tui.stays(Duration::from_secs(10)), "it ended by itself");
    let all = tui.written();
    let written = all.get(before..).unwrap_or_default();
    eprintln!("{} bytes in 10 s: {written:?}", written.len());
    assert!(written.len() < 200, "{} bytes in 10 s: {written:?}", written.len());
    if let (Some(before), Some(after)) = (ticks, tui.cpu_ticks()) {
        // A hundredth of a core, at 100 ticks a second.
        let most = if cfg!(debug_assertions) { 30 } else { 10 };
        eprintln!("{} hundredths of a second of a core in 10 s", after - before);
        assert!(after - before < most, "{} ticks in 10 s", after - before);
    }
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}
