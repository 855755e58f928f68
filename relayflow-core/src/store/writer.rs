//! SQLite's one writer: what arrives together is committed together.
//!
//! A thread of its own has the only connection that writes. It takes what is there, up to the limits
//! of a group, runs it in one transaction, and answers all of it once that is on stable storage. A
//! lone request never waits for company; under load the writer lingers a moment, so that those whom
//! the last commit woke make it into the next one. Outcomes alone never hurry a commit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::flow::{self, Bucket, By, Measure};
use super::{LeasedTask, StoreError, db};
use crate::clock::Clock;
use crate::id::WorkerId;

/// A group: at most so many jobs, or so many bytes of bodies.
const GROUP_JOBS_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// How long the writer waits for more when the last group shows that there is load.
const LINGER: Duration = Duration::from_micros(300);
const LINGER_ABOVE: usize = 4;
/// How long an outcome may wait to share a commit.
const OUTCOME_WAIT: Duration = Duration::from_millis(20);
/// After so long without work, numbers that wait are written down.
const QUIET: Duration = Duration::from_millis(50);
/// What may wait for the writer before new requests are turned away.
const WAITING_REQUESTS_MAX: usize = 4096;
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
const WAITING_AGE_MAX: Duration = Duration::from_secs(2);
/// Rejected requests are kept when there is nothing better to do.
const IDLE_JOBS_MAX: usize = 256;
const IDLE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// So many of them share a commit: what comes meanwhile is not kept waiting for long.
const IDLE_JOBS_PER_GROUP: usize = 64;
const CHECKPOINT_EVERY: Duration = Duration::from_millis(150);

/// A piece of work for the writer.
pub(super) trait Job: Send {
    /// Does the work. May be run again in a transaction of its own, if another job of the group
    /// failed: it must not use up what it needs.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;

    /// Told once its transaction is on stable storage, or was rolled back.
    fn finish(self: Box<Self>, written: Result<(), StoreError>, after: &After);

    /// Bytes that it holds in memory.
    fn bytes(&self) -> usize {
        0
    }

    /// Whether somebody waits for the answer.
    fn is_urgent(&self) -> bool {
        true
    }
}

/// Where the results of a commit go.
#[derive(Debug)]
pub(super) struct After {
    pub(super) leased: mpsc::UnboundedSender<LeasedTask>,
    pub(super) timeline: watch::Sender<i64>,
    pub(super) due: watch::Sender<u64>,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) worker: WorkerId,
    /// Sources that were answered, and when their requests came in; the next commit counts them.
    pub(super) acks: RefCell<Vec<(Arc<str>, i64)>>,
}

/// One transaction of the writer.
pub(super) struct Tx<'c> {
    connection: &'c Connection,
    /// The store's now, one for the whole transaction.
    pub(super) now_us: i64,
    pub(super) worker: WorkerId,
    counters: &'c mut HashMap<(&'static str, String), i64>,
    pub(super) flow: &'c mut flow::Counted,
    next_seq: &'c mut i64,
    next_body: &'c mut i64,
    /// Set when something may have become due.
    pub(super) has_due: bool,
    /// Set by whoever wants the numbers of the present written down at once.
    pub(super) wants_flow: bool,
}

impl Tx<'_> {
    /// Runs a statement and says how many rows it touched. `$1`, `$2` … must first appear in order.
    pub(super) fn run(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.execute(values)?)
    }

    /// The first row, if there is one.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        Ok(rows.next()?.map(read).transpose()?)
    }

    /// Every row.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(values, read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Adds to a counter; written with the transaction.
    pub(super) fn count(&mut self, name: &'static str, of: &str, by: i64) {
        // The common counters are there already: no text is made for them.
        match self.counters.iter_mut().find(|((n, o), _)| *n == name && o == of) {
            Some((_, value)) => *value += by,
            None => {
                self.counters.insert((name, of.to_owned()), by);
            }
        }
    }

    /// Adds to the numbers of the present; written with the transaction.
    pub(super) fn flow(&mut self, by: By, of: &str, what: Measure, count: i64) {
        self.flow.add(by, of, what, count);
    }

    /// A counter's value, with what this transaction adds to it.
    pub(super) fn total(&self, name: &str, of: &str) -> Result<i64, StoreError> {
        let kept = self.row(
            "select sum(value) from counter where name = $1 and of = $2",
            [name, of],
            |r| r.get::<_, Option<i64>>(0),
        )?;
        let added = self.counters.iter().find(|((n, o), _)| *n == name && o == of);
        Ok(kept.flatten().unwrap_or(0) + added.map_or(0, |(_, v)| *v))
    }

    /// The number of the next timeline row.
    pub(super) fn next_seq(&mut self) -> i64 {
        *self.next_seq += 1;
        *self.next_seq
    }

    /// The number of the next body.
    pub(super) fn next_body(&mut self) -> i64 {
        *self.next_body += 1;
        *self.next_body
    }
}

/// The writer's door.
#[derive(Debug)]
pub(super) struct Door {
    jobs: Sender<Envelope>,
    idle: Sender<Envelope>,
    waiting: Arc<Waiting>,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    /// When the oldest that waits came, in milliseconds of this process; 0 when nothing waits.
    oldest_ms: AtomicI64,
    /// Bytes of what waits for an idle moment.
    idle_bytes: AtomicUsize,
}

struct Envelope {
    job: Box<dyn Job>,
    is_counted: bool,
    /// Whether it waited for an idle moment.
    is_idle: bool,
    at: Instant,
}

impl Envelope {
    fn new(job: Box<dyn Job>) -> Self {
        Self { job, is_counted: false, is_idle: false, at: Instant::now() }
    }
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Door {
    /// Hands over a job whose memory was not admitted: outcomes, claims, operators' work.
    pub(super) fn send(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let envelope = Envelope::new(job);
        self.jobs.send(envelope).map_err(|_| StoreError::Closed)
    }

    /// Hands over a request, or says that there is no room for it.
    pub(super) fn admit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let bytes = job.bytes();
        if self.is_full(bytes) {
            return Err(StoreError::Busy);
        }
        self.waiting.requests.fetch_add(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let envelope = Envelope { is_counted: true, ..Envelope::new(job) };
        self.jobs.send(envelope).map_err(|_| StoreError::Closed)
    }

    /// Whether a request of `bytes` would be turned away.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        let oldest = self.waiting.oldest_ms.load(Ordering::Relaxed);
        WAITING_REQUESTS_MAX <= self.waiting.requests.load(Ordering::Relaxed)
            || WAITING_BYTES_MAX < self.waiting.bytes.load(Ordering::Relaxed).saturating_add(bytes)
            || (oldest != 0
                && millis_now() - oldest > i64::try_from(WAITING_AGE_MAX.as_millis()).unwrap_or(0))
    }

    /// Hands over what may be forgotten under load.
    pub(super) fn send_when_idle(&self, job: Box<dyn Job>) {
        let bytes = job.bytes();
        let before = self.waiting.idle_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= IDLE_BYTES_MAX;
        let envelope = Envelope { is_idle: true, ..Envelope::new(job) };
        if !fits || self.idle.try_send(envelope).is_err() {
            self.waiting.idle_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// Milliseconds since this process first asked, from 1.
fn millis_now() -> i64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX).saturating_add(1)
}

/// Starts the writer and the checkpointer. They end when the door is dropped.
pub(super) fn start(
    path: &Path,
    clock: Clock,
    after: After,
) -> Result<(Door, std::thread::JoinHandle<()>), StoreError> {
    let connection = db::writer(path)?;
    let next_seq =
        connection.query_row("select coalesce(max(seq), 0) from timeline", [], |row| row.get(0))?;
    let next_body =
        connection.query_row("select coalesce(max(id), 0) from body", [], |row| row.get(0))?;
    let checkpoints = db::checkpointer(path)?;
    let (jobs, jobs_in) = crossbeam_channel::unbounded();
    let (idle, idle_in) = crossbeam_channel::bounded(IDLE_JOBS_MAX);
    let waiting = Arc::new(Waiting::default());
    let writer = Writer {
        connection,
        clock,
        after,
        jobs: jobs_in,
        idle: idle_in,
        waiting: Arc::clone(&waiting),
        counters: HashMap::new(),
        flow: flow::Counted::default(),
        acks: Vec::new(),
        next_seq,
        next_body,
        last_group: 0,
        wal: db::with_suffix(path, "-wal"),
        wal_checked: Instant::now(),
        wal_emptied: None,
    };
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|source| StoreError::File { path: path.to_owned(), source })
    };
    spawn("checkpointer", Box::new(move || checkpoint_beside(&checkpoints, &stopped)))?;
    let handle = spawn(
        "writer",
        Box::new(move || {
            writer.work();
            drop(stop);
        }),
    )?;
    Ok((Door { jobs, idle, waiting }, handle))
}

/// Moves pages from the log into the file until the writer ends.
fn checkpoint_beside(connection: &Connection, stopped: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(CHECKPOINT_EVERY) {
        // Busy is no trouble here: the writer makes one itself when the log grows too long.
        let _ = connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()));
    }
}

struct Writer {
    connection: Connection,
    clock: Clock,
    after: After,
    jobs: Receiver<Envelope>,
    idle: Receiver<Envelope>,
    waiting: Arc<Waiting>,
    counters: HashMap<(&'static str, String), i64>,
    flow: flow::Counted,
    /// How long answers took that no commit has counted yet.
    acks: Vec<(Arc<str>, Bucket)>,
    next_seq: i64,
    next_body: i64,
    last_group: usize,
    wal: std::path::PathBuf,
    wal_checked: Instant,
    wal_emptied: Option<Instant>,
}

/// What comes first.
enum First {
    Job(Envelope),
    /// For so long nothing came.
    Nothing,
    Closed,
}

impl Writer {
    fn work(mut self) {
        while let Some(group) = self.gather() {
            self.last_group = group.len();
            if self.commit(group).is_err() {
                // The file can no longer be trusted: whatever waits is answered by its dropped door.
                return;
            }
            self.bound_wal();
        }
        if self.flow.waits() || !self.acks.is_empty() {
            // The last numbers of the present: for watching, and worth no more than a try.
            let _ = self.transact(&mut []);
        }
        let _ = self.connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()));
    }

    /// The next group, an empty one where only numbers wait; `None` when nobody can send any more.
    fn gather(&mut self) -> Option<Vec<Envelope>> {
        let first = match self.first() {
            First::Job(first) => first,
            First::Nothing => return Some(Vec::new()),
            First::Closed => return None,
        };
        let mut urgent = first.job.is_urgent();
        let mut bytes = first.job.bytes();
        let mut group = vec![first];
        let mut idle = 0;
        let linger = if self.last_group > LINGER_ABOVE { LINGER } else { Duration::ZERO };
        let from = Instant::now();
        while group.len() < GROUP_JOBS_MAX && bytes < GROUP_BYTES_MAX {
            let wait = if urgent { linger } else { OUTCOME_WAIT };
            let next = match self.jobs.try_recv() {
                Ok(next) => next,
                Err(_) => {
                    let wait = wait.saturating_sub(from.elapsed());
                    match self.next_within(wait, !urgent) {
                        Some(next) => next,
                        None => break,
                    }
                }
            };
            urgent |= next.job.is_urgent();
            bytes += next.job.bytes();
            idle += usize::from(next.is_idle);
            group.push(next);
            if idle == IDLE_JOBS_PER_GROUP {
                break;
            }
        }
        self.note_taken(&group);
        Some(group)
    }

    /// The next job that comes in time; while nobody waits for the group, also one of those that
    /// waited for such a moment.
    fn next_within(&self, wait: Duration, is_idle: bool) -> Option<Envelope> {
        if !is_idle {
            return self.jobs.recv_timeout(wait).ok();
        }
        crossbeam_channel::select_biased! {
            recv(self.jobs) -> job => job.ok(),
            recv(self.idle) -> job => job.ok(),
            default(wait) => None,
        }
    }

    fn first(&self) -> First {
        // Numbers that wait are written down once nobody else has anything to write.
        let waits = self.flow.waits() || !self.acks.is_empty();
        let wait = if waits { QUIET } else { Duration::MAX };
        let of = |job: Result<Envelope, _>| job.map_or(First::Closed, First::Job);
        crossbeam_channel::select_biased! {
            recv(self.jobs) -> job => of(job),
            recv(self.idle) -> job => match job {
                Ok(job) => First::Job(job),
                // The idle door closes together with the other one, which may still hold work.
                Err(_) => of(self.jobs.recv()),
            },
            default(wait) => First::Nothing,
        }
    }

    fn note_taken(&self, group: &[Envelope]) {
        let mut counted = 0;
        let mut bytes = 0;
        for envelope in group.iter().filter(|e| e.is_counted) {
            counted += 1;
            bytes += envelope.job.bytes();
        }
        let left = self.waiting.requests.fetch_sub(counted, Ordering::Relaxed) - counted;
        self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let idle = group.iter().filter(|e| e.is_idle).map(|e| e.job.bytes()).sum();
        self.waiting.idle_bytes.fetch_sub(idle, Ordering::Relaxed);
        // What waits for an idle moment may wait for long, and tells nothing of the others.
        let oldest = group.iter().filter(|e| !e.is_idle).map(|e| e.at.elapsed()).max();
        let oldest = oldest.unwrap_or_default();
        let came = millis_now() - i64::try_from(oldest.as_millis()).unwrap_or(0);
        self.waiting.oldest_ms.store(if left == 0 { 0 } else { came.max(1) }, Ordering::Relaxed);
    }

    /// Commits the group. `Err` only when the store must not be used any more.
    fn commit(&mut self, mut group: Vec<Envelope>) -> Result<(), ()> {
        match self.transact(&mut group) {
            Ok(has_due) => {
                self.finish(group, has_due);
                Ok(())
            }
            Err(error) if error.is_fatal() => self.fail(group, &error),
            Err(error) if group.len() == 1 => {
                if let Some(only) = group.pop() {
                    only.job.finish(Err(error), &self.after);
                }
                Ok(())
            }
            // One of them is at fault: each gets a transaction of its own.
            Err(_) => group.into_iter().try_for_each(|envelope| self.commit(vec![envelope])),
        }
    }

    fn finish(&mut self, group: Vec<Envelope>, has_due: bool) {
        // Before the answers: who has one finds the timeline changed.
        self.after.timeline.send_replace(self.next_seq);
        group.into_iter().for_each(|e| e.job.finish(Ok(()), &self.after));
        let now_us = self.clock.now_us();
        let answered = self.after.acks.borrow_mut().drain(..).collect::<Vec<_>>();
        let took = |(source, came_us)| (source, Bucket::of_us(now_us - came_us));
        self.acks.extend(answered.into_iter().map(took));
        if has_due {
            self.after.due.send_modify(|n| *n = n.wrapping_add(1));
        }
    }

    fn fail(&mut self, group: Vec<Envelope>, error: &StoreError) -> Result<(), ()> {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text = format!("{text}: {source}");
        }
        self.after.failed.send_replace(Some(text));
        let after = &self.after;
        group.into_iter().for_each(|e| e.job.finish(Err(StoreError::Closed), after));
        Err(())
    }

    fn transact(&mut self, group: &mut [Envelope]) -> Result<bool, StoreError> {
        let (seq, body) = (self.next_seq, self.next_body);
        self.counters.values_mut().for_each(|v| *v = 0);
        self.flow.begin();
        let done = self.try_transact(group);
        if done.is_err() {
            (self.next_seq, self.next_body) = (seq, body);
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("rollback");
            }
        }
        done.map_err(StoreError::sorted)
    }

    fn try_transact(&mut self, group: &mut [Envelope]) -> Result<bool, StoreError> {
        self.connection.prepare_cached("begin immediate")?.execute([])?;
        let mut tx = Tx {
            connection: &self.connection,
            now_us: self.clock.now_us(),
            worker: self.after.worker,
            counters: &mut self.counters,
            flow: &mut self.flow,
            next_seq: &mut self.next_seq,
            next_body: &mut self.next_body,
            has_due: false,
            wants_flow: group.is_empty(),
        };
        for envelope in group {
            envelope.job.run(&mut tx)?;
        }
        let has_due = tx.has_due;
        for (source, took) in &self.acks {
            tx.flow(By::Source, source, Measure::Ack(*took), 1);
        }
        super::stats::write_counters(&mut tx)?;
        let now_us = tx.now_us;
        let writes_flow = tx.wants_flow || tx.flow.is_due(now_us);
        if writes_flow {
            flow::write(&mut tx)?;
        }
        self.connection.prepare_cached("commit")?.execute([])?;
        self.flow.committed(now_us, writes_flow);
        self.acks.clear();
        // What was counted for few destinations stays, so that the next group finds it there.
        if self.counters.len() > 64 {
            self.counters.clear();
        }
        Ok(has_due)
    }

    /// Empties the log when readers or load have kept the checkpointer from it.
    fn bound_wal(&mut self) {
        if self.wal_checked.elapsed() < Duration::from_millis(100) {
            return;
        }
        self.wal_checked = Instant::now();
        let bytes = std::fs::metadata(&self.wal).map_or(0, |m| m.len());
        let rested = self.wal_emptied.is_none_or(|at| at.elapsed() > Duration::from_secs(1));
        if bytes >= db::WAL_BYTES_MAX && rested {
            // Begun again in place, not cut off: to grow it anew costs the file system more than all
            // that is written into it.
            let _ = self.connection.query_row("pragma wal_checkpoint(restart)", [], |_| Ok(()));
            self.wal_emptied = Some(Instant::now());
        }
    }
}

impl Tx<'_> {
    /// What was counted in this transaction.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static str, &str, i64)> {
        self.counters.iter().filter(|(_, v)| **v != 0).map(|((n, o), v)| (*n, o.as_str(), *v))
    }
}

/// A job that is a function, with an answer for whoever waits.
pub(super) struct Call<F, T> {
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Call<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    pub(super) fn new(work: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { work, result: None, reply }, answer)
    }
}

impl<F, T> Job for Call<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        self.result = Some((self.work)(tx)?);
        Ok(())
    }

    fn finish(self: Box<Self>, written: Result<(), StoreError>, _: &After) {
        let Self { result, reply, .. } = *self;
        let answer = written.and_then(|()| result.ok_or(StoreError::Closed));
        // Whoever asked may be gone.
        let _ = reply.send(answer);
    }
}
