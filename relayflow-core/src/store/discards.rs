//! What operators take out of the queue, by plan or by id. It stays listed, and a replay can bring it back.

use rusqlite::params;

use super::plans::{ITEMS_PER_WRITE, Item, ItemRow};
use super::requests::discard_request;
use super::settle::discard_task;
use super::writer::Tx;
use super::{Store, StoreError};
use crate::task::TaskStatus;

impl Store {
    /// Discards tasks and requests. Answers how many were: those that moved on meanwhile are not.
    pub(crate) async fn discard_items(
        &self,
        items: Vec<ItemRow>,
        who: String,
        reason: String,
    ) -> Result<u64, StoreError> {
        let mut done = 0;
        for group in items.chunks(ITEMS_PER_WRITE) {
            let (group, who, reason) = (group.to_vec(), who.clone(), reason.clone());
            done += self.write(move |tx| discard_group(tx, &group, &reason, &who)).await?;
        }
        Ok(done)
    }
}

fn discard_group(
    tx: &mut Tx<'_>,
    items: &[ItemRow],
    reason: &str,
    who: &str,
) -> Result<u64, StoreError> {
    let mut done = 0;
    for item in items {
        let discarded = match item.item {
            Item::Request(id) => discard_request(tx, id, reason, who)?,
            Item::Task(id) => match TaskStatus::from_word(&item.status) {
                Some(TaskStatus::Running) => {
                    tx.run(
                        "update task set discard = $1 where id = $2 and status = 'running'",
                        params![reason, id.bytes()],
                    )? == 1
                }
                Some(status) => discard_task(tx, id, status, reason, who)?,
                None => false,
            },
        };
        done += u64::from(discarded);
    }
    Ok(done)
}
