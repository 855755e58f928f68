//! What a connection sends, before hyper sees it: whole heads only, within our limits and framed in
//! one way, one request at a time.
//!
//! hyper bounds a head by what it reads at once, which split writes can pass, drops the second of two
//! equal lengths, and lets `Transfer-Encoding` win over `Content-Length`. Here a head is counted and
//! looked at as it came in, what is wrong with it is answered as a problem, and the clocks for an
//! idle connection and a slow head run.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use relayflow_core::api::codes::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::problem::Problem;
use super::server::lock;

/// The largest head: request line and fields, with their line ends.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The longest request target.
pub(crate) const URI_BYTES_MAX: usize = 8 * 1024;
/// The most header fields.
pub(crate) const FIELDS_MAX: usize = 64;
/// What is read at once to begin with; the buffer grows only for a head that needs it.
const BUFFER_BYTES: usize = 8 * 1024;
/// How many bytes of empty lines may stand before a request: some senders end a body with one.
const BLANK_BYTES_MAX: usize = 4;
/// How much of what a refused sender goes on sending is read, so that it gets to see its answer.
const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long each part of a conversation may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// From a head's first byte to its last.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// Without a byte of an answer being taken.
    pub(crate) stall: Duration,
    /// For a refused sender to read its answer.
    pub(crate) leave: Duration,
}

/// What a connection's guard, its requests and its driver tell each other.
#[derive(Debug, Default)]
pub(crate) struct Link {
    is_busy: AtomicBool,
    is_last: AtomicBool,
    is_endless: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Link {
    /// Whether a request is under way: from its head to the end of its answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }

    fn set_busy(&self) {
        self.is_busy.store(true, Ordering::Release);
    }

    /// The answer has ended: the next request may be read.
    pub(crate) fn set_idle(&self) {
        self.is_busy.store(false, Ordering::Release);
        if let Some(reader) = lock(&self.reader).take() {
            reader.wake();
        }
    }

    fn wake_when_idle(&self, cx: &Context<'_>) {
        *lock(&self.reader) = Some(cx.waker().clone());
    }

    /// Whether the next answer ends the connection.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last.load(Ordering::Relaxed)
    }

    pub(crate) fn set_last(&self) {
        self.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether the answer has no end of its own, as a tail.
    pub(crate) fn is_endless(&self) -> bool {
        self.is_endless.load(Ordering::Relaxed)
    }

    pub(crate) fn set_endless(&self) {
        self.is_endless.store(true, Ordering::Relaxed);
    }
}

/// A connection whose heads are checked before they are passed on.
pub(crate) struct Guard<S> {
    stream: S,
    link: Arc<Link>,
    times: Times,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of empty lines that were passed over since the last request.
    blank: usize,
    stage: Stage,
    timer: Pin<Box<Sleep>>,
    wait: Option<Wait>,
    stall: Option<Pin<Box<Sleep>>>,
    /// Whether all that was answered so far has left this process.
    is_flushed: bool,
}

enum Stage {
    /// A head is being read; the first `searched` bytes of it hold no end.
    Head { searched: usize },
    /// So many bytes of a request are still to be passed on.
    Pass { left: u64 },
    /// The connection is over: the rest of an answer, then our end, then theirs.
    Leave { answer: Vec<u8>, written: usize, is_shut: bool, discarded: usize },
}

#[derive(Clone, Copy)]
struct Wait {
    for_head: bool,
    until: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    pub(crate) fn new(stream: S, link: Arc<Link>, times: Times) -> Self {
        Self {
            stream,
            link,
            times,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            blank: 0,
            stage: Stage::Head { searched: 0 },
            timer: Box::pin(sleep(times.idle)),
            wait: None,
            stall: None,
            is_flushed: true,
        }
    }

    /// Reads what is there behind what is buffered; 0 is the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() && 0 < self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let bytes = (self.buffer.len() * 2).min(HEAD_BYTES_MAX + BUFFER_BYTES);
            self.buffer.resize(bytes, 0);
        }
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }

    fn has_room(&self) -> bool {
        self.end - self.start < HEAD_BYTES_MAX
    }

    /// Goes on until a head is whole and good, or the connection is to be left.
    fn poll_head(&mut self, cx: &mut Context<'_>, searched: usize) -> Poll<io::Result<Next>> {
        if self.link.is_busy() {
            // A head that is here before the answer to the one before it waits here, so that what
            // is wrong with it cannot get in the way of that answer.
            if self.has_room()
                && let Poll::Ready(read) = self.poll_fill(cx)?
            {
                return Poll::Ready(Ok(if read == 0 { Next::End } else { Next::Again }));
            }
            self.link.wake_when_idle(cx);
            return Poll::Pending;
        }
        if searched == 0 {
            while self.start < self.end && matches!(self.buffer[self.start], b'\r' | b'\n') {
                self.start += 1;
                self.blank += 1;
            }
            if BLANK_BYTES_MAX < self.blank {
                return Poll::Ready(Ok(Next::Refuse(Code::BadRequest)));
            }
        }
        let seen = &self.buffer[self.start..self.end];
        if let Some(length) = head_end(seen, searched) {
            self.wait = None;
            return Poll::Ready(Ok(match examine(&seen[..length]) {
                Ok(framing) => Next::Head { length, framing },
                Err(code) => Next::Refuse(code),
            }));
        }
        if seen.first().is_some_and(|&byte| !is_token(byte)) {
            // No method begins so: TLS, or anything but HTTP. Nothing more is waited for.
            return Poll::Ready(Ok(Next::Refuse(Code::BadRequest)));
        }
        if let Some(code) = too_large(seen) {
            return Poll::Ready(Ok(Next::Refuse(code)));
        }
        let searched = seen.len();
        self.stage = Stage::Head { searched };
        match self.poll_fill(cx) {
            Poll::Ready(Ok(0)) if searched == 0 => Poll::Ready(Ok(Next::End)),
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Next::Refuse(Code::BadRequest))),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Next::Again)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.poll_wait(cx, 0 < searched));
                Poll::Ready(Ok(if searched == 0 { Next::End } else { Next::Refuse(Code::Timeout) }))
            }
        }
    }

    /// Ready when the time for a head, or between heads, is over. The timer is set back only when it
    /// goes off, so that a connection in steady use does not touch it.
    fn poll_wait(&mut self, cx: &mut Context<'_>, for_head: bool) -> Poll<()> {
        let limit = if for_head { self.times.head } else { self.times.idle };
        let wait = match self.wait {
            Some(wait) if wait.for_head == for_head => wait,
            _ => Wait { for_head, until: Instant::now() + limit },
        };
        self.wait = Some(wait);
        if wait.until < self.timer.deadline() {
            self.timer.as_mut().reset(wait.until);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if wait.until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(wait.until);
        }
    }

    /// The rest of the answer, our end of the stream, and then what the other side still sends, so
    /// that the answer is not lost to a reset.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Stage::Leave { answer, written, is_shut, discarded } = &mut self.stage else {
                return Poll::Ready(Ok(()));
            };
            if self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if *written < answer.len() {
                let rest = &answer[*written..];
                *written += ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            } else if !*is_shut {
                ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                *is_shut = true;
            } else {
                let mut room = ReadBuf::new(&mut self.buffer);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
                *discarded += room.filled().len();
                if room.filled().is_empty() || DISCARD_BYTES_MAX <= *discarded {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn leave(&mut self, answer: Vec<u8>) {
        self.timer.as_mut().reset(Instant::now() + self.times.leave);
        self.stage = Stage::Leave { answer, written: 0, is_shut: false, discarded: 0 };
    }

    fn pass(&mut self, left: u64, out: &mut ReadBuf<'_>) {
        let left_here = usize::try_from(left).unwrap_or(usize::MAX);
        let length = (self.end - self.start).min(out.remaining()).min(left_here);
        out.put_slice(&self.buffer[self.start..self.start + length]);
        self.start += length;
        let left = left - length as u64;
        self.stage = if left == 0 { Stage::Head { searched: 0 } } else { Stage::Pass { left } };
    }

    /// Whether something was sent that nobody has read.
    fn has_unread(&self) -> bool {
        self.start < self.end || matches!(self.stage, Stage::Pass { .. })
    }
}

/// What follows from what was read.
enum Next {
    Again,
    End,
    Head { length: usize, framing: Framing },
    Refuse(Code),
}

/// How the body's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// Where the head that `bytes` begins with ends; its first `searched` bytes hold no end.
fn head_end(bytes: &[u8], searched: usize) -> Option<usize> {
    let mut from = searched.saturating_sub(3);
    while let Some(at) = bytes[from..].iter().position(|&b| b == b'\n') {
        from += at + 1;
        match &bytes[from..] {
            [b'\n', ..] => return Some(from + 1),
            [b'\r', b'\n', ..] => return Some(from + 2),
            _ => {}
        }
    }
    None
}

/// Whether a method may consist of this (RFC 9110, `tchar`).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a head without an end yet is already too large for.
fn too_large(head: &[u8]) -> Option<Code> {
    /// The request line besides its target.
    const LINE_BYTES_MAX: usize = URI_BYTES_MAX + 64;
    if LINE_BYTES_MAX < head.len() && !head[..LINE_BYTES_MAX].contains(&b'\n') {
        return Some(Code::UriTooLong);
    }
    (HEAD_BYTES_MAX < head.len()).then_some(Code::HeadersTooLarge)
}

/// Says how the body of this head is framed, or what is wrong with it.
fn examine(head: &[u8]) -> Result<Framing, Code> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Code::HeadersTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Code::BadRequest),
    }
    let target = request.path.unwrap_or_default();
    if URI_BYTES_MAX < target.len() {
        return Err(Code::UriTooLong);
    }
    if HEAD_BYTES_MAX < head.len() {
        return Err(Code::HeadersTooLarge);
    }
    if has_bare_line_feed(head) || http::Uri::try_from(target).is_err() {
        return Err(Code::BadRequest);
    }
    framing(request.headers, request.version == Some(1)).ok_or(Code::BadRequest)
}

/// The framing, if there is exactly one way to read it and the fields around it are those of a
/// request.
fn framing(fields: &[httparse::Header<'_>], is_1_1: bool) -> Option<Framing> {
    let (mut length, mut is_chunked, mut hosts) = (None, false, 0);
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value).ok()?;
            let is_plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if !is_plain || length.is_some() {
                return None;
            }
            length = Some(digits.parse::<u64>().ok().filter(|&n| n <= u64::MAX / 2)?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !is_1_1 || !field.value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            is_chunked = true;
        } else if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        }
    }
    let has_host = hosts == 1 || (hosts == 0 && !is_1_1);
    match (length, is_chunked) {
        _ if !has_host => None,
        (Some(_), true) => None,
        (None, true) => Some(Framing::Chunked),
        (length, false) => Some(Framing::Length(length.unwrap_or(0))),
    }
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    let mut previous = 0;
    head.iter().any(|&byte| std::mem::replace(&mut previous, byte) != b'\r' && byte == b'\n')
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.stage {
                Stage::Pass { left } if this.start < this.end => {
                    this.pass(left, out);
                    return Poll::Ready(Ok(()));
                }
                Stage::Pass { .. } => {
                    if ready!(this.poll_fill(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stage::Leave { .. } => return this.poll_leave(cx),
                Stage::Head { searched } => match ready!(this.poll_head(cx, searched))? {
                    Next::Again => {}
                    Next::End => return Poll::Ready(Ok(())),
                    Next::Head { length, framing } => {
                        this.link.set_busy();
                        this.blank = 0;
                        let left = match framing {
                            Framing::Length(body) => length as u64 + body,
                            // Where it ends only its reader knows, so nothing may follow it.
                            Framing::Chunked => {
                                this.link.set_last();
                                u64::MAX
                            }
                        };
                        this.stage = Stage::Pass { left };
                    }
                    Next::Refuse(code) => {
                        // Behind half an answer nothing can be said.
                        let problem = Problem::of(code);
                        let answer = if this.is_flushed { problem.wire() } else { Vec::new() };
                        this.leave(answer);
                    }
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.times.stall)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if poll.is_pending() {
            return self.poll_stalled(cx);
        }
        self.stall = None;
        self.is_flushed = false;
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.stage, Stage::Leave { .. }) {
            return self.poll_leave(cx);
        }
        if self.has_unread() {
            self.leave(Vec::new());
            return self.poll_leave(cx);
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_ends_where_it_ends_however_much_was_seen_before() {
        for (bytes, end) in [
            (&b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest"[..], Some(24)),
            (b"a\n\nb", Some(3)),
            (b"a\r\n\rb\r\n", None),
            (b"", None),
        ] {
            for searched in 0..=end.map_or(bytes.len(), |end| end - 1) {
                assert_eq!(head_end(bytes, searched), end, "{bytes:?} from {searched}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_head_panics(head: Vec<u8>) {
            let _ = examine(&head);
            let _ = too_large(&head);
            let _ = head_end(&head, head.len() / 2);
        }

        #[test]
        fn a_body_has_one_length_or_none(
            fields in proptest::collection::vec(
                prop_oneof![
                    "Content-Length: [0-9]{0,3}",
                    "Transfer-Encoding: (chunked|gzip|identity)",
                    "Host: [a-z]{0,3}",
                    "[A-Za-z-]{1,9}: [ -~]{0,9}",
                ],
                0..6,
            ),
        ) {
            let head = format!("POST / HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
            let count = |name: &str| {
                fields.iter().filter(|f| f.to_ascii_lowercase().starts_with(name)).count()
            };
            let (lengths, codings) = (count("content-length:"), count("transfer-encoding:"));
            match examine(head.as_bytes()) {
                Ok(Framing::Chunked) => prop_assert_eq!((lengths, codings), (0, 1)),
                Ok(Framing::Length(_)) => prop_assert!(lengths <= 1 && codings == 0),
                Err(_) => {}
            }
        }
    }
}
