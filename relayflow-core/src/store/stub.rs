//! stub: thrown away at the merge. A store in memory, so that the executor can be run.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{Abandoned, Due, EventContext, LeasedTask, Settlement};
use crate::clock::Clock;
use crate::id::{EventId, TaskId};
use crate::task::{Task, TaskStatus, Transition};

#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct StoreError;

#[derive(Debug)]
pub struct Row {
    pub task: Task,
    pub status: TaskStatus,
    pub due: Timestamp,
    pub event: Arc<EventContext>,
}

#[derive(Debug, Default)]
pub struct Inner {
    pub rows: VecDeque<Row>,
    pub settled: Vec<Settlement>,
    pub abandoned: Vec<Abandoned>,
    pub renewals: usize,
    pub lose: bool,
}

#[derive(Clone, Debug)]
pub struct Store {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
    due: Arc<watch::Sender<u64>>,
}

impl Store {
    pub fn stub() -> Self {
        Self { clock: Clock::Wall, inner: Arc::default(), due: Arc::new(watch::channel(0).0) }
    }
    pub fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
    pub fn poke(&self) {
        self.due.send_modify(|n| *n += 1);
    }
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
    pub fn settle(&self, settlement: Settlement) {
        self.with(|inner| {
            inner.abandoned.retain(|a| a.task.id != settlement.task.id);
            for row in &mut inner.rows {
                if row.task.id == settlement.task.id {
                    row.status = settlement.transition.status();
                    row.due = match settlement.transition {
                        Transition::RetryAt(at) => {
                            row.task.failures += 1;
                            at
                        }
                        Transition::Complete | Transition::Release | Transition::DeadLetter(_) => {
                            self.clock.now()
                        }
                    };
                }
            }
            inner.settled.push(settlement);
        });
        self.poke();
    }
    pub async fn claim(
        &self,
        destination: &str,
        limit: usize,
    ) -> Result<Vec<LeasedTask>, StoreError> {
        let now = self.clock.now();
        Ok(self.with(|inner| {
            inner
                .rows
                .iter_mut()
                .filter(|r| is_due(r, now) && &*r.task.destination == destination)
                .take(limit)
                .map(|row| {
                    row.status = TaskStatus::Running;
                    row.task.attempt += 1;
                    LeasedTask {
                        task: row.task.clone(),
                        event: Arc::clone(&row.event),
                        has_needs: false,
                        start_on_record: false,
                        check_when: false,
                        leased_at: Instant::now(),
                        slot: None,
                    }
                })
                .collect()
        }))
    }
    pub async fn renew(&self, held: Vec<(TaskId, u32)>) -> Result<Vec<TaskId>, StoreError> {
        Ok(self.with(|inner| {
            inner.renewals += 1;
            if inner.lose { held.into_iter().map(|h| h.0).collect() } else { vec![] }
        }))
    }
    pub async fn due(&self) -> Result<Vec<Due>, StoreError> {
        Ok(self.with(|inner| {
            let mut dues = std::collections::BTreeMap::<String, Timestamp>::new();
            for row in &inner.rows {
                if matches!(row.status, TaskStatus::Queued | TaskStatus::Retrying) {
                    let at = dues.entry(row.task.destination.to_string()).or_insert(row.due);
                    *at = (*at).min(row.due);
                }
            }
            dues.into_iter().map(|(destination, at)| Due { destination, at }).collect()
        }))
    }
    pub fn due_changed(&self) -> watch::Receiver<u64> {
        self.due.subscribe()
    }
    pub async fn abandoned(
        &self,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<Abandoned>, StoreError> {
        Ok(self.with(|inner| {
            inner
                .abandoned
                .iter()
                .filter(|a| after.is_none_or(|id| id < a.task.id))
                .take(limit)
                .map(|a| Abandoned { task: a.task.clone(), start_on_record: a.start_on_record })
                .collect()
        }))
    }
    pub async fn responses(&self, _: EventId, _: &str) -> Result<Map<String, Value>, StoreError> {
        Ok(Map::new())
    }
    pub async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn is_due(row: &Row, now: Timestamp) -> bool {
    matches!(row.status, TaskStatus::Queued | TaskStatus::Retrying) && row.due <= now
}
