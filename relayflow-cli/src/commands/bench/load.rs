//! The load: connections that send events and time the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use relayflow_core::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::event::Events;
use crate::failure::Failure;

/// The longest latency that is told apart, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;
/// How far back a duplicate reaches at most, in events.
const DUPLICATE_REACH: u64 = 1000;
/// How long an answer may take before it counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What is to be sent, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) count: u64,
    pub(crate) connections: u32,
    /// Open loop: so many a second.
    pub(crate) rate: Option<f64>,
    pub(crate) duration: Option<Duration>,
    /// The share of requests that repeat an earlier event.
    pub(crate) duplicates: f64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) started: Instant,
    pub(crate) elapsed: Duration,
    pub(crate) acknowledged: u64,
    /// Distinct events among them.
    pub(crate) distinct: u64,
    /// 429 and 503.
    pub(crate) refused: u64,
    /// Any other answer, and none.
    pub(crate) failed: u64,
    /// The first thing that went wrong.
    pub(crate) first_failure: Option<String>,
    /// Of acknowledgements, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

struct Shared {
    plan: Plan,
    started: Instant,
    next: AtomicU64,
    /// In an open loop: one for each event whose time has come.
    due: Semaphore,
    /// How many there are in an open loop, once that is known.
    last: AtomicU64,
    is_over: AtomicBool,
}

/// Sends all of it.
///
/// # Errors
///
/// Nothing answers at the address.
pub(crate) async fn run(plan: Plan, events: Events) -> Result<Outcome, Failure> {
    TcpStream::connect(plan.addr).await.map_err(|e| {
        Failure::new("unreachable.ingest", format!("{} does not answer", plan.addr))
            .why(e.to_string())
    })?;
    let shared = Arc::new(Shared {
        started: Instant::now(),
        next: AtomicU64::new(0),
        due: Semaphore::new(0),
        last: AtomicU64::new(u64::MAX),
        is_over: AtomicBool::new(false),
        plan,
    });
    if let Some(rate) = shared.plan.rate {
        pace(&shared, rate);
    }
    let mut connections = Vec::new();
    for _ in 0..shared.plan.connections {
        let connection = Connection::new(Arc::clone(&shared), events.clone())?;
        connections.push(tokio::spawn(connection.run()));
    }
    let mut outcome = Outcome {
        started: shared.started,
        elapsed: Duration::ZERO,
        acknowledged: 0,
        distinct: 0,
        refused: 0,
        failed: 0,
        first_failure: None,
        latency: histogram()?,
    };
    for connection in connections {
        let part = connection.await.map_err(|e| Failure::error(e.to_string()))?;
        outcome.acknowledged += part.acknowledged;
        outcome.distinct += part.distinct;
        outcome.refused += part.refused;
        outcome.failed += part.failed;
        outcome.first_failure = outcome.first_failure.or(part.first_failure);
        outcome.latency.add(&part.latency).map_err(|e| Failure::error(e.to_string()))?;
    }
    outcome.elapsed = shared.started.elapsed();
    shared.is_over.store(true, Ordering::Relaxed);
    Ok(outcome)
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(|e| Failure::error(e.to_string()))
}

/// Lets events go at their times, from a thread of its own: the runtime's timers are a millisecond
/// coarse, which is more than an answer takes.
fn pace(shared: &Arc<Shared>, rate: f64) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for number in 0_u32.. {
            let after = Duration::from_secs_f64(f64::from(number) / rate);
            let is_last = u64::from(number) >= shared.plan.count
                || shared.plan.duration.is_some_and(|duration| duration <= after);
            if is_last || shared.is_over.load(Ordering::Relaxed) {
                shared.last.store(u64::from(number), Ordering::Relaxed);
                // Whoever waits finds that there is nothing left.
                shared.due.add_permits(usize::try_from(shared.plan.connections).unwrap_or(1));
                return;
            }
            let wait = (shared.started + after).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            shared.due.add_permits(1);
        }
    });
}

impl Shared {
    /// The next event's number and the time from which its latency counts; `None` at the end.
    async fn next(&self) -> Option<(u64, Instant)> {
        if let Some(rate) = self.plan.rate {
            // Nobody closes it.
            self.due.acquire().await.ok()?.forget();
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if self.last.load(Ordering::Relaxed) <= number {
                return None;
            }
            let place = u32::try_from(number).unwrap_or(u32::MAX);
            return Some((number, self.started + Duration::from_secs_f64(f64::from(place) / rate)));
        }
        if self.plan.duration.is_some_and(|duration| duration <= self.started.elapsed()) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.plan.count).then(|| (number, Instant::now()))
    }
}

/// The event that request `number` carries: itself, or an earlier one.
fn event_of(number: u64, duplicates: f64) -> u64 {
    if !is_duplicate(number, duplicates) {
        return number;
    }
    let reach = number.min(DUPLICATE_REACH);
    let mut earlier = number - 1 - mix(!number) % reach;
    while is_duplicate(earlier, duplicates) {
        earlier -= 1;
    }
    earlier
}

/// Whether request `number` repeats an earlier event. The first never does.
fn is_duplicate(number: u64, share: f64) -> bool {
    let dice = u32::try_from(mix(number) >> 32).unwrap_or(u32::MAX);
    0 < number && f64::from(dice) < share * f64::from(u32::MAX)
}

/// Spreads a number over all 64 bits (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One connection, kept open from request to request.
struct Connection {
    shared: Arc<Shared>,
    events: Events,
    stream: Option<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
    part: Part,
}

struct Part {
    acknowledged: u64,
    distinct: u64,
    refused: u64,
    failed: u64,
    first_failure: Option<String>,
    latency: Histogram<u64>,
}

impl Connection {
    fn new(shared: Arc<Shared>, events: Events) -> Result<Self, Failure> {
        let part = Part {
            acknowledged: 0,
            distinct: 0,
            refused: 0,
            failed: 0,
            first_failure: None,
            latency: histogram()?,
        };
        let (request, answer) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
        Ok(Self { shared, events, stream: None, request, answer, part })
    }

    async fn run(mut self) -> Part {
        while let Some((number, from)) = self.shared.next().await {
            let event = event_of(number, self.shared.plan.duplicates);
            let second = Clock::Wall.now_us().div_euclid(1_000_000);
            self.events.write(event, second, &mut self.request);
            let answer = tokio::time::timeout(ANSWER_MAX, self.exchange()).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()));
            self.count(answer, event == number, from.elapsed());
        }
        self.part
    }

    fn count(&mut self, answer: Result<u16, String>, is_first: bool, took: Duration) {
        match answer {
            Ok(200..=299) => {
                self.part.acknowledged += 1;
                self.part.distinct += u64::from(is_first);
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.part.latency.saturating_record(us.max(1));
            }
            Ok(429 | 503) => self.part.refused += 1,
            Ok(status) => self.fail(format!("answered {status}")),
            Err(why) => {
                self.stream = None;
                self.fail(why);
            }
        }
    }

    fn fail(&mut self, why: String) {
        self.part.failed += 1;
        self.part.first_failure.get_or_insert(why);
    }

    /// Sends what is in `request` and reads the answer's status.
    async fn exchange(&mut self) -> Result<u16, String> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream =
                    TcpStream::connect(self.shared.plan.addr).await.map_err(|e| e.to_string())?;
                stream.set_nodelay(true).map_err(|e| e.to_string())?;
                self.stream.insert(stream)
            }
        };
        stream.write_all(&self.request).await.map_err(|e| e.to_string())?;
        self.answer.clear();
        loop {
            if let Some(answer) = parse(&self.answer)? {
                if answer.closes {
                    self.stream = None;
                }
                return Ok(answer.status);
            }
            match stream.read_buf(&mut self.answer).await {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(_) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}

struct Answer {
    status: u16,
    closes: bool,
}

/// Just enough HTTP/1.1 for answers: a status, and a body with its length or in chunks.
fn parse(buffer: &[u8]) -> Result<Option<Answer>, String> {
    let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = buffer.get(..end).and_then(|head| std::str::from_utf8(head).ok());
    let head = head.ok_or("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or("the answer is not HTTP")?;
    let mut answer = Answer { status, closes: false };
    let mut length = 0;
    let mut is_chunked = false;
    for (name, value) in head.split("\r\n").filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().map_err(|e| e.to_string())?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            answer.closes = value.eq_ignore_ascii_case("close");
        }
    }
    let body = buffer.get(end + 4..).unwrap_or_default();
    let is_whole = if is_chunked { body.ends_with(b"0\r\n\r\n") } else { length <= body.len() };
    Ok(is_whole.then_some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_requests_repeat_as_were_asked_for() {
        let count = 100_000;
        let repeated = (0..count).filter(|n| event_of(*n, 0.05) != *n).count();
        assert!((4500..5500).contains(&repeated), "{repeated}");
        assert!((0..count).all(|n| event_of(n, 0.0) == n));
        // What is repeated was itself sent as new, before.
        assert!(
            (0..count).map(|n| (n, event_of(n, 0.5))).all(|(n, e)| e <= n && event_of(e, 0.5) == e)
        );
    }

    #[tokio::test]
    async fn either_loop_sends_everything_once() {
        use crate::commands::destination::{Answer, Destination};

        for rate in [None, Some(20_000.0)] {
            let server = Destination::start(Arc::new(|_| Answer::OK)).await.unwrap();
            let plan = Plan {
                addr: server.addr,
                count: 500,
                connections: 4,
                rate,
                duration: None,
                duplicates: 0.1,
            };
            let events = Events::new("x", "/in/bench", b"secret", "run").unwrap();
            let outcome = run(plan, events).await.unwrap();
            assert_eq!((outcome.acknowledged, outcome.refused, outcome.failed), (500, 0, 0));
            assert!((400..500).contains(&outcome.distinct), "{}", outcome.distinct);
            assert_eq!(outcome.latency.len(), 500);
            assert_eq!(server.record().calls, 500);
        }
    }

    #[test]
    fn an_answer_is_read_when_all_of_it_is_there() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        for end in 0..answer.len() {
            assert!(parse(&answer[..end]).unwrap().is_none(), "{end}");
        }
        let whole = parse(answer).unwrap().unwrap();
        assert!(whole.status == 200 && !whole.closes);
        let chunked = b"HTTP/1.1 503 x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        let whole = parse(chunked).unwrap().unwrap();
        assert!(whole.status == 503 && whole.closes);
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
