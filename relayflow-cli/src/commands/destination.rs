//! A destination in this process, for `demo` and `bench`: it answers as told and keeps its own record
//! of every call, so that what RelayFlow says can be held against what really arrived.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The longest request that is read, in bytes.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// One call, as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) path: String,
    /// `Idempotency-Key`.
    pub(crate) key: String,
    /// `RelayFlow-Attempt`.
    pub(crate) attempt: u32,
}

/// What a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) after: Duration,
}

impl Answer {
    pub(crate) const OK: Self = Self { status: 200, after: Duration::ZERO };

    pub(crate) fn status(status: u16) -> Self {
        Self { status, after: Duration::ZERO }
    }

    pub(crate) fn is_success(self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What is known of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    pub(crate) calls: u32,
    pub(crate) successes: u32,
}

/// What arrived, by the destination's own count.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) keys: HashMap<String, KeyRecord>,
    pub(crate) calls: u64,
    pub(crate) failures: u64,
    /// Keys that succeeded at least once.
    pub(crate) succeeded: u64,
    /// When the last of them did so for the first time.
    pub(crate) last_success: Option<Instant>,
}

impl Record {
    fn add(&mut self, call: &Call, answer: Answer) {
        self.calls += 1;
        let record = self.keys.entry(call.key.clone()).or_default();
        record.calls += 1;
        if answer.is_success() {
            record.successes += 1;
            if record.successes == 1 {
                self.succeeded += 1;
                self.last_success = Some(Instant::now());
            }
        } else {
            self.failures += 1;
        }
    }
}

/// How it answers; decided by each call alone.
pub(crate) type Policy = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// A destination at work. Dropping it closes its door.
pub(crate) struct Destination {
    pub(crate) addr: SocketAddr,
    record: Arc<Mutex<Record>>,
    door: AbortHandle,
}

impl Destination {
    /// # Errors
    ///
    /// There is no free port on the loopback address.
    pub(crate) async fn start(policy: Policy) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = Arc::clone(&record);
        let door = tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(stream, Arc::clone(&policy), Arc::clone(&shared)));
                }
            }
        });
        Ok(Self { addr, record, door: door.abort_handle() })
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.door.abort();
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    // Counting cannot leave it half done.
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, until the other side closes it.
async fn serve(mut stream: TcpStream, policy: Policy, record: Arc<Mutex<Record>>) {
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let (call, length) = match parse(&buffer) {
            Parsed::Whole(call, length) => (call, length),
            Parsed::Partial if buffer.len() < REQUEST_BYTES_MAX => {
                match stream.read_buf(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                }
            }
            Parsed::Partial | Parsed::Bad => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
                return;
            }
        };
        buffer.drain(..length);
        let answer = policy(&call);
        if !answer.after.is_zero() {
            tokio::time::sleep(answer.after).await;
        }
        // On record before the answer leaves: RelayFlow must never know more than we do.
        lock(&record).add(&call, answer);
        let written = if answer.status == 200 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}").await
        } else {
            let head = format!("HTTP/1.1 {} Answer\r\ncontent-length: 0\r\n\r\n", answer.status);
            stream.write_all(head.as_bytes()).await
        };
        if written.is_err() {
            return;
        }
    }
}

enum Parsed {
    /// The call, and how many bytes it took.
    Whole(Call, usize),
    Partial,
    Bad,
}

/// Just enough HTTP/1.1 for requests of our own executor: a body has its length.
fn parse(buffer: &[u8]) -> Parsed {
    let Some(head_end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Parsed::Partial;
    };
    let Some(head) = buffer.get(..head_end).and_then(|head| std::str::from_utf8(head).ok()) else {
        return Parsed::Bad;
    };
    let mut lines = head.split("\r\n");
    let Some(path) = lines.next().and_then(|line| line.split(' ').nth(1)) else {
        return Parsed::Bad;
    };
    let mut call = Call { path: path.to_owned(), key: String::new(), attempt: 0 };
    let mut body = 0_usize;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Parsed::Bad };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let Ok(length) = value.parse() else { return Parsed::Bad };
            body = length;
        } else if name.eq_ignore_ascii_case("idempotency-key") {
            value.clone_into(&mut call.key);
        } else if name.eq_ignore_ascii_case("relayflow-attempt") {
            call.attempt = value.parse().unwrap_or(0);
        }
    }
    if REQUEST_BYTES_MAX < body {
        return Parsed::Bad;
    }
    let length = head_end + 4 + body;
    if length <= buffer.len() { Parsed::Whole(call, length) } else { Parsed::Partial }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_when_all_of_it_is_there() {
        let request = b"POST /crm HTTP/1.1\r\nHost: x\r\nIdempotency-Key: tsk_1\r\nRelayFlow-Attempt: 2\r\nContent-Length: 2\r\n\r\n{}GET";
        for end in 0..request.len() - 3 {
            assert!(matches!(parse(&request[..end]), Parsed::Partial), "{end}");
        }
        let Parsed::Whole(call, length) = parse(request) else { panic!("not whole") };
        assert_eq!(call, Call { path: "/crm".into(), key: "tsk_1".into(), attempt: 2 });
        assert_eq!(&request[length..], b"GET");
    }

    #[tokio::test]
    async fn what_arrived_is_on_record_before_it_is_answered() {
        let policy: Policy =
            Arc::new(|call: &Call| if call.attempt < 2 { Answer::status(503) } else { Answer::OK });
        let destination = Destination::start(policy).await.unwrap();
        let mut stream = TcpStream::connect(destination.addr).await.unwrap();
        for attempt in 1..=3 {
            let request = format!(
                "POST /x HTTP/1.1\r\nidempotency-key: k\r\nrelayflow-attempt: {attempt}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 256];
            let read = stream.read(&mut answer).await.unwrap();
            let status = if attempt < 2 { "503" } else { "200" };
            assert!(String::from_utf8_lossy(&answer[..read]).contains(status));
        }
        let record = destination.record();
        assert_eq!((record.calls, record.failures, record.succeeded), (3, 1, 1));
        assert_eq!(record.keys["k"], KeyRecord { calls: 3, successes: 2 });
    }
}
