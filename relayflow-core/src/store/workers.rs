//! Who runs tasks: a row for each process, renewed while it lives, and the leases that it holds.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::params;
use sqlx::Row as _;

use super::{Store, StoreError, on_db, rows_if_there};
use crate::clock::from_micros;
use crate::id::WorkerId;

/// A lease that ended so long ago should have been settled: that is looked for every ten seconds.
const STUCK_US: i64 = 30_000_000;

/// A process that runs tasks, or did until it was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    pub id: WorkerId,
    /// Of RelayFlow; empty where only its leases are known.
    pub version: String,
    pub pid: i64,
    pub started: Timestamp,
    /// When it was last heard of.
    pub beat: Timestamp,
    /// Tasks that it holds: those that run, and those that wait in its memory.
    pub leases: i64,
    /// Of those, how many ended so long ago that somebody should have settled them.
    pub ended_leases: i64,
}

impl Store {
    /// A worker begins: this process. On SQLite whoever is in the table otherwise is gone.
    pub async fn worker_began(&self, version: &'static str) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.run("delete from worker", [])?;
            tx.run(
                "insert into worker (id, version, pid, started_us, beat_us)
                 values ($1, $2, $3, $4, $4)",
                params![tx.worker.bytes(), version, std::process::id(), tx.now_us],
            )?;
            Ok(())
        })
        .await
    }

    /// This process is alive.
    pub fn beat(&self) {
        self.write_later(|tx| {
            tx.run(
                "update worker set beat_us = $1 where id = $2",
                params![tx.now_us, tx.worker.bytes()],
            )?;
            Ok(())
        });
    }

    /// This process ends in order.
    pub async fn worker_ended(&self) -> Result<(), StoreError> {
        self.write(|tx| {
            tx.run("delete from worker where id = $1", params![tx.worker.bytes()])?;
            Ok(())
        })
        .await
    }

    /// Everybody who runs tasks or holds leases, who began first in front.
    pub async fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        let mut workers = self.known_workers().await?;
        for (id, (leases, ended, began)) in self.leases().await? {
            match workers.iter_mut().find(|worker| worker.id == id) {
                Some(worker) => (worker.leases, worker.ended_leases) = (leases, ended),
                // Killed, and somebody else has the store since: its leases are not settled yet.
                None => workers.push(WorkerRow {
                    id,
                    version: String::new(),
                    pid: 0,
                    started: began,
                    beat: began,
                    leases,
                    ended_leases: ended,
                }),
            }
        }
        workers.sort_by_key(|worker| (worker.started, worker.id));
        Ok(workers)
    }

    async fn known_workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        let rows = rows_if_there(on_db!(self.db(), pool => sqlx::query(
            "select id, version, pid, started_us, beat_us from worker")
            .fetch_all(pool).await))?;
        let mut workers = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
            let us = |place: usize| row.try_get(place).map(from_micros).map_err(StoreError::Read);
            workers.push(WorkerRow {
                id: WorkerId::from_bytes(&id).ok_or(StoreError::Value { what: "a worker's id" })?,
                version: row.try_get(1).map_err(StoreError::Read)?,
                pid: row.try_get(2).map_err(StoreError::Read)?,
                started: us(3)?,
                beat: us(4)?,
                leases: 0,
                ended_leases: 0,
            });
        }
        Ok(workers)
    }

    /// By worker: how many leases, how many of them ended long ago, and when the first was renewed last.
    /// Only what runs is looked at, through the index of leases.
    async fn leases(&self) -> Result<HashMap<WorkerId, (i64, i64, Timestamp)>, StoreError> {
        let long_ago = self.clock().now_us() - STUCK_US;
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select worker, count(*), sum(lease_until_us < $1), min(lease_until_us) from task
             where status = 'running' and lease_until_us > 0 group by worker")
            .bind(long_ago).fetch_all(pool).await.map_err(StoreError::Read)?);
        let lease_us = i64::try_from(super::commit::LEASE.as_micros()).unwrap_or(0);
        let mut leases = HashMap::with_capacity(rows.len());
        for row in &rows {
            let id: Vec<u8> = row.try_get(0).map_err(StoreError::Read)?;
            let id =
                WorkerId::from_bytes(&id).ok_or(StoreError::Value { what: "a worker's id" })?;
            let count = |place: usize| row.try_get::<i64, _>(place).map_err(StoreError::Read);
            leases.insert(id, (count(1)?, count(2)?, from_micros(count(3)? - lease_us)));
        }
        Ok(leases)
    }
}
