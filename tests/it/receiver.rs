//! A destination: a small HTTP server that answers as it is told and remembers every call.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// One request that the destination got.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The `Idempotency-Key`: the task's id.
    pub(crate) key: String,
    /// The `RelayFlow-Attempt`, 0 where there was none.
    pub(crate) attempt: u32,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) started: Instant,
    /// When the answer had been written, and its status; none while it has not.
    pub(crate) answered: Option<(Instant, u16)>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.answered.is_some_and(|(_, status)| (200..300).contains(&status))
    }
}

/// How a call is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// With this body, as JSON.
    Json(u16, String),
    /// With one more header.
    With(u16, &'static str, String),
    /// 200 with this `Link`, and a body as JSON.
    Linked(String, String),
    /// 200 with a body of so many bytes.
    Large(usize),
    /// The connection is closed without an answer.
    Hangup,
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

struct Shared {
    calls: Mutex<Vec<Call>>,
    changed: Condvar,
    script: Mutex<Arc<Script>>,
    stopped: AtomicBool,
}

/// The destination. It lives until it is dropped.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    addr: SocketAddr,
}

impl Receiver {
    /// A destination that answers 200 to everything.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            calls: Mutex::new(Vec::new()),
            changed: Condvar::new(),
            script: Mutex::new(Arc::new(|_: &Call| Reply::Status(200))),
            stopped: AtomicBool::new(false),
        });
        let for_accept = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if for_accept.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&for_accept);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { shared, addr }
    }

    /// From now on answers as `script` says. It runs on the call's own thread, so it may wait.
    pub(crate) fn answer(&self, script: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// `host:port`, the name of its queue.
    pub(crate) fn name(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.calls.lock().unwrap().len()
    }

    /// Waits until so many calls have been answered.
    #[track_caller]
    pub(crate) fn wait_for(&self, answered: usize) -> Vec<Call> {
        let end = Instant::now() + Duration::from_secs(60);
        let mut calls = self.shared.calls.lock().unwrap();
        loop {
            let done = calls.iter().filter(|c| c.answered.is_some()).count();
            if answered <= done {
                return calls.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{done} calls were answered, waited for {answered}");
            calls = self.shared.changed.wait_timeout(calls, left).unwrap().0;
        }
    }

    /// Calls by key, in their order.
    pub(crate) fn by_key(&self) -> BTreeMap<String, Vec<Call>> {
        self.calls().into_iter().fold(BTreeMap::new(), |mut map, call| {
            map.entry(call.key.clone()).or_insert_with(Vec::new).push(call);
            map
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that it sees the flag and lets go of the port.
        let _woken = TcpStream::connect(self.addr);
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let _ignored = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(call) = read_call(&mut reader) {
        let script = Arc::clone(&shared.script.lock().unwrap());
        let at = {
            let mut calls = shared.calls.lock().unwrap();
            calls.push(call.clone());
            shared.changed.notify_all();
            calls.len() - 1
        };
        let reply = script(&call);
        let Some((status, text)) = render(&reply) else { return };
        let written = reader.get_mut().write_all(text.as_bytes());
        let mut calls = shared.calls.lock().unwrap();
        if let Some(call) = calls.get_mut(at) {
            call.answered = Some((Instant::now(), status));
        }
        shared.changed.notify_all();
        drop(calls);
        if written.is_err() {
            return;
        }
    }
}

fn render(reply: &Reply) -> Option<(u16, String)> {
    let (status, header, body) = match reply {
        Reply::Status(status) => (*status, String::new(), String::new()),
        Reply::Json(status, body) => {
            (*status, "content-type: application/json\r\n".to_owned(), body.clone())
        }
        Reply::With(status, name, value) => {
            (*status, format!("{name}: {value}\r\n"), String::new())
        }
        Reply::Linked(link, body) => {
            (200, format!("content-type: application/json\r\nlink: {link}\r\n"), body.clone())
        }
        Reply::Large(length) => (200, String::new(), "x".repeat(*length)),
        Reply::Hangup => return None,
    };
    let length = body.len();
    Some((status, format!("HTTP/1.1 {status} X\r\n{header}content-length: {length}\r\n\r\n{body}")))
}

fn read_call(reader: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let started = Instant::now();
    let mut parts = first.split_whitespace();
    let (method, path) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let chunked = header("transfer-encoding").is_some_and(|v| v.contains("chunked"));
    let body = if chunked {
        read_chunks(reader)?
    } else {
        let length = header("content-length").map_or(Some(0), |v| v.parse::<usize>().ok())?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        body
    };
    let key = header("idempotency-key").unwrap_or_default().to_owned();
    let attempt = header("relayflow-attempt").and_then(|v| v.parse().ok()).unwrap_or(0);
    Some(Call { key, attempt, method, path, headers, body, started, answered: None })
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(chunk.get(..size)?);
        if size == 0 {
            return Some(body);
        }
    }
}

#[test]
fn a_destination_answers_as_told_and_remembers() {
    let receiver = Receiver::start();
    receiver.answer(|call| match call.path.as_str() {
        "/json" => Reply::Json(201, "{\"a\":1}".to_owned()),
        "/gone" => Reply::Hangup,
        _ => Reply::With(429, "retry-after", "7".to_owned()),
    });
    let mut connection = crate::wire::Connection::open(receiver.addr).unwrap();
    let headers = crate::wire::headers(&[("idempotency-key", "k"), ("relayflow-attempt", "3")]);
    let first = connection.send("POST", "/json", &headers, b"hello").unwrap();
    assert_eq!((first.status, first.json()["a"].as_i64()), (201, Some(1)));
    let second = connection.send("GET", "/x", &[], b"").unwrap();
    assert_eq!((second.status, second.header("Retry-After")), (429, Some("7")));
    assert!(connection.send("GET", "/gone", &[], b"").is_err());
    let calls = receiver.calls();
    assert_eq!(calls.len(), 3);
    let call = calls.first().unwrap();
    assert_eq!((call.key.as_str(), call.attempt, call.body.as_slice()), ("k", 3, &b"hello"[..]));
    assert!(call.is_ok() && calls.last().unwrap().answered.is_none());
}
