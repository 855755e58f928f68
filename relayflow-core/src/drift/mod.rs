//! Drift: what came is held against what is expected of it, after it was acknowledged, by one thread
//! that nobody waits for. When more comes than it can look at, events are passed over, and counted.

mod headers;
mod inbox;
mod watched;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::HeaderMap;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use headers::Headers;
pub use watched::SeenEvent;

use crate::id::RequestId;
use crate::provider::Source;
use crate::store::{DriftNotes, Store, StoreError};
use inbox::Inbox;
use watched::{Kept, Watched};

/// Requests that may wait to be looked at, and the bytes of their payloads.
const WAITING_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long what was seen may wait to be written down; what was found is written sooner.
const WRITE_EVERY: Duration = Duration::from_secs(2);
const WRITE_FOUND_AFTER: Duration = Duration::from_millis(100);
/// Sets of headers that are remembered; more of them are looked at each time.
const HEADER_SETS_MAX: usize = 10_000;

/// A verified request that was committed.
#[derive(Debug)]
pub struct Seen {
    pub source: Arc<Source>,
    pub request: RequestId,
    pub received_at: Timestamp,
    /// `None`: a set of headers that was looked at before.
    pub headers: Option<Headers>,
    /// Its events that were new.
    pub events: Vec<SeenEvent>,
    pub is_unreadable: bool,
}

#[derive(Debug)]
enum Message {
    Seen(Box<Seen>, usize),
    Unsigned(Box<Unsigned>),
    /// What is kept of a source changed.
    Forget(String),
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Unsigned {
    source: Arc<Source>,
    request: RequestId,
    received_at: Timestamp,
    headers: Headers,
}

/// The way to the thread that looks.
#[derive(Debug)]
pub struct Watcher {
    inbox: Arc<Inbox<Message>>,
    shared: Arc<Shared>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

#[derive(Debug, Default)]
struct Shared {
    /// Sets of headers that were looked at, with their sources.
    header_sets: RwLock<HashSet<u64>>,
    waiting_bytes: AtomicUsize,
    passed_over: AtomicUsize,
}

impl Watcher {
    /// Starts the thread. To be called within a tokio runtime, by which it reads the store.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub fn start(store: Store) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::new());
        let messages = Arc::clone(&inbox);
        let shared = Arc::new(Shared::default());
        let work = Work {
            store,
            runtime: Handle::current(),
            shared: Arc::clone(&shared),
            sources: HashMap::new(),
            notes: DriftNotes::default(),
            dirty_since: None,
        };
        std::thread::Builder::new().name("drift".to_owned()).spawn(move || work.run(&messages))?;
        Ok(Self { inbox, shared })
    }

    /// The headers of a request, if their set was not looked at before.
    #[must_use]
    pub fn new_headers(&self, source: &Source, headers: &HeaderMap) -> Option<Headers> {
        let number = headers::number(headers, headers::hash(source.name.as_bytes()));
        let is_known = |sets: &HashSet<u64>| sets.contains(&number);
        if is_known(&self.shared.header_sets.read().unwrap_or_else(PoisonError::into_inner)) {
            return None;
        }
        let mut sets = self.shared.header_sets.write().unwrap_or_else(PoisonError::into_inner);
        if sets.len() < HEADER_SETS_MAX {
            sets.insert(number);
        }
        Some(Headers::of(headers))
    }

    /// Hands over what came. Never waits.
    pub fn look(&self, seen: Seen) {
        let bytes = seen.events.iter().map(|event| event.payload.json().len()).sum();
        let waiting = self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_full = WAITING_BYTES_MAX < waiting.saturating_add(bytes);
        let message = Message::Seen(Box::new(seen), bytes);
        if is_full || !self.inbox.put(message, WAITING_MAX) {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.shared.passed_over.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request that was rejected for want of its signature.
    pub fn unsigned(
        &self,
        source: &Arc<Source>,
        request: RequestId,
        received_at: Timestamp,
        headers: &HeaderMap,
    ) {
        // A flood of forged requests costs one look per set of headers.
        let Some(headers) = self.new_headers(source, headers) else { return };
        let source = Arc::clone(source);
        let unsigned = Unsigned { source, request, received_at, headers };
        if !self.inbox.put(Message::Unsigned(Box::new(unsigned)), WAITING_MAX) {
            self.shared.passed_over.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many requests were not looked at, since there were too many.
    #[must_use]
    pub fn passed_over(&self) -> usize {
        self.shared.passed_over.load(Ordering::Relaxed)
    }

    /// What is kept of a source changed: it is read again before its next event is looked at.
    pub fn forget(&self, source: &str) {
        // However many wait: an accepted finding must not be found again.
        self.inbox.put(Message::Forget(source.to_owned()), usize::MAX);
    }

    /// Everything handed over so far was looked at and handed to the store.
    pub async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.inbox.put(Message::Flush(done), usize::MAX) {
            let _ = is_done.await;
        }
    }
}

struct Work {
    store: Store,
    runtime: Handle,
    shared: Arc<Shared>,
    sources: HashMap<String, Watched>,
    notes: DriftNotes,
    dirty_since: Option<Instant>,
}

impl Work {
    fn run(mut self, messages: &Inbox<Message>) {
        loop {
            let wait = match self.dirty_since {
                None => Duration::from_secs(3600),
                Some(since) => {
                    let has_news = self.has_news();
                    let after = if has_news { WRITE_FOUND_AFTER } else { WRITE_EVERY };
                    after.saturating_sub(since.elapsed())
                }
            };
            if wait.is_zero() {
                self.write_down();
                continue;
            }
            match messages.take(wait) {
                Some(some) if some.is_empty() => self.write_down(),
                Some(some) => some.into_iter().for_each(|message| self.take(message)),
                None => return self.write_down(),
            }
        }
    }

    fn has_news(&self) -> bool {
        !self.notes.contracts.is_empty() || self.sources.values().any(Watched::has_news)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Flush(done) => {
                self.write_down();
                let _ = done.send(());
                return;
            }
            Message::Forget(name) => {
                self.write_down();
                self.sources.remove(&name);
                return;
            }
            Message::Seen(seen, bytes) => {
                self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.seen(*seen);
            }
            Message::Unsigned(unsigned) => {
                let Unsigned { source, request, received_at, headers } = *unsigned;
                if let Some(watched) = self.watched(&source) {
                    watched.unsigned(&headers, request, received_at.as_microsecond());
                }
            }
        }
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    fn seen(&mut self, seen: Seen) {
        let mut notes = std::mem::take(&mut self.notes);
        if let Some(watched) = self.watched(&seen.source) {
            let now_us = seen.received_at.as_microsecond();
            watched.headers(seen.headers.as_ref(), seen.request, now_us);
            if seen.is_unreadable {
                watched.unreadable(seen.request, now_us);
            }
            for event in &seen.events {
                watched.event(event, now_us, &mut notes);
            }
        }
        self.notes = notes;
    }

    /// What is known of a source, read when it is first asked for, and when its definition changed.
    fn watched(&mut self, source: &Arc<Source>) -> Option<&mut Watched> {
        let is_current = self
            .sources
            .get(&*source.name)
            .is_some_and(|known| Arc::ptr_eq(known.source(), source));
        if !is_current {
            let name = source.name.to_string();
            if let Some(old) = self.sources.get_mut(&name) {
                old.write_down(self.store.clock().now().as_microsecond(), &mut self.notes);
            }
            self.hand_over();
            match self.runtime.block_on(kept(&self.store, &name)) {
                Ok(kept) => {
                    self.sources.insert(name, Watched::new(Arc::clone(source), kept));
                }
                Err(error) => {
                    tracing::warn!(%error, source = name, "drift is not looked at");
                    return None;
                }
            }
        }
        self.sources.get_mut(&*source.name)
    }

    fn write_down(&mut self) {
        self.dirty_since = None;
        let now_us = self.store.clock().now().as_microsecond();
        for watched in self.sources.values_mut() {
            watched.write_down(now_us, &mut self.notes);
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        let DriftNotes { watched, contracts, found, marked } = &notes;
        if !(watched.is_empty() && contracts.is_empty() && found.is_empty() && marked.is_empty()) {
            self.store.note_drift(notes);
        }
    }
}

/// What the store has of a source, once what was handed to it is written.
async fn kept(store: &Store, source: &str) -> Result<Kept, StoreError> {
    store.flush().await?;
    Ok(Kept {
        watched: store.watched(Some(source)).await?,
        contracts: store.contracts(Some(source)).await?,
        findings: store.drift_of(source).await?,
    })
}
