//! Requests that were not verified: always counted, and kept in their source's ring when there is time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::params;

use super::commit::{RequestRow, bytes_of, insert_request};
use super::flow::{By, Measure};
use super::timeline::{self, Row};
use super::writer::{After, Job, Tx};
use super::{NewRejected, StoreError};
use crate::timeline::What;

/// What a source's ring of rejected requests holds.
const REJECTED_MAX: i64 = 1000;
const REJECTED_BYTES_MAX: i64 = 64 * 1024 * 1024;

/// Rejected requests that no commit has counted yet.
#[derive(Debug, Default)]
pub(super) struct Uncounted {
    /// By source, of which there are as many as are configured.
    counts: Mutex<HashMap<Arc<str>, i64>>,
    /// Whether a job that will count them is on its way.
    is_underway: AtomicBool,
}

impl Uncounted {
    /// One more; with the job that counts it, unless one is on its way.
    pub(super) fn add(self: &Arc<Self>, source: &Arc<str>) -> Option<CountRejected> {
        *self.lock().entry(Arc::clone(source)).or_default() += 1;
        let is_underway = self.is_underway.swap(true, Ordering::SeqCst);
        (!is_underway).then(|| CountRejected { all: Arc::clone(self), taken: HashMap::new() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, i64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rejected requests are always counted; kept they are when the writer has time.
pub(super) struct CountRejected {
    all: Arc<Uncounted>,
    taken: HashMap<Arc<str>, i64>,
}

impl Job for CountRejected {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        self.all.is_underway.store(false, Ordering::SeqCst);
        for (source, count) in self.all.lock().drain() {
            *self.taken.entry(source).or_default() += count;
        }
        for (source, count) in &self.taken {
            tx.count("rejected", "", *count);
            tx.flow(By::Source, source, Measure::Rejected, *count);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, written: Result<(), StoreError>, _: &After) {
        if written.is_err() {
            // The next one counts them too.
            let mut counts = self.all.lock();
            for (source, count) in self.taken {
                *counts.entry(source).or_default() += count;
            }
        }
    }

    fn is_urgent(&self) -> bool {
        false
    }
}

pub(super) struct Reject(pub(super) NewRejected);

impl Job for Reject {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let rejected = &self.0;
        let headers = serde_json::to_string(&rejected.headers).unwrap_or_else(|_| "[]".to_owned());
        insert_request(
            tx,
            &RequestRow {
                request: &rejected.request,
                source: &rejected.source,
                provider: &rejected.provider,
                headers: &headers,
                target: &rejected.kept_target,
                status: "rejected",
                events: 0,
                first: None,
                scheme: None,
                skew_ms: None,
                reason: Some(&rejected.reason),
                detail: Some(&rejected.detail),
                ended: None,
            },
        )?;
        timeline::append(
            tx,
            &Row {
                request_id: Some(rejected.request.id),
                detail: Some(timeline::detail(&[("reason", rejected.reason.as_str().into())])),
                ..Row::new(What::Rejected)
            },
        )?;
        tx.count("ring", &rejected.source, 1);
        tx.count("ring_bytes", &rejected.source, bytes_of(&rejected.request));
        bound_ring(tx, &rejected.source)
    }

    fn finish(self: Box<Self>, _: Result<(), StoreError>, _: &After) {}

    fn bytes(&self) -> usize {
        self.0.request.body.len() + 512
    }

    fn is_urgent(&self) -> bool {
        false
    }
}

/// The oldest rejected requests of a source make room: in count and in bytes.
fn bound_ring(tx: &mut Tx<'_>, source: &str) -> Result<(), StoreError> {
    loop {
        let count = tx.total("ring", source)?;
        let bytes = tx.total("ring_bytes", source)?;
        if count <= REJECTED_MAX && (bytes <= REJECTED_BYTES_MAX || count <= 1) {
            return Ok(());
        }
        let oldest = tx.row(
            "select id, body_id, body_bytes from request where source = $1 and status = 'rejected'
             order by id limit 1",
            params![source],
            |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?)),
        )?;
        let Some((id, body_id, body_bytes)) = oldest else {
            return Ok(());
        };
        tx.run("delete from timeline where request_id = $1 and event_id is null", params![id])?;
        tx.run("delete from request where id = $1", params![id])?;
        tx.run("delete from body where id = $1", params![body_id])?;
        leave_ring(tx, source, body_bytes);
    }
}

/// A kept request is no member of its source's ring any more.
pub(super) fn leave_ring(tx: &mut Tx<'_>, source: &str, body_bytes: i64) {
    tx.count("ring", source, -1);
    tx.count("ring_bytes", source, -body_bytes);
}
