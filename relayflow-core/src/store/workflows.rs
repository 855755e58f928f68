//! Which workflows are in force since when: so that a plan can say by which revision of a workflow an
//! event was routed.

use std::collections::HashMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;

use super::timeline::{self, Row};
use super::writer::Tx;
use super::{Store, StoreError, on_db};
use crate::timeline::What;
use crate::workflow::Workflows;

/// Before the name of a workflow, in `meta`.
const PREFIX: &str = "workflow.";

/// A workflow as it was last in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkflowRevision {
    /// Counted from 1: one more each time that it comes into force otherwise than it was.
    pub(crate) number: u64,
    pub(crate) digest: String,
    pub(crate) since_us: i64,
}

impl Store {
    /// Notes that a configuration has been taken into force.
    pub async fn note_config_loaded(
        &self,
        sources: usize,
        workflows: &Workflows,
    ) -> Result<(), StoreError> {
        let digests: Vec<(String, String)> =
            workflows.list.iter().map(|w| (w.name.to_string(), w.digest())).collect();
        self.write(move |tx| {
            for (name, digest) in &digests {
                note_workflow(tx, name, digest)?;
            }
            forget_others(tx, &digests)?;
            timeline::append(
                tx,
                &Row {
                    detail: Some(timeline::detail(&[
                        ("sources", sources.into()),
                        ("workflows", digests.len().into()),
                    ])),
                    ..Row::new(What::ConfigLoaded)
                },
            )
        })
        .await
    }

    /// The workflows that were last in force, by name.
    pub(crate) async fn workflow_revisions(
        &self,
    ) -> Result<HashMap<String, WorkflowRevision>, StoreError> {
        let rows = on_db!(self.db(), pool => sqlx::query(
            "select name, value from meta where name >= $1 and name < $2")
            .bind(PREFIX).bind("workflow/")
            .fetch_all(pool).await.map_err(StoreError::Read)?);
        let mut all = HashMap::new();
        for row in &rows {
            let name: String = row.try_get(0).map_err(StoreError::Read)?;
            let value: String = row.try_get(1).map_err(StoreError::Read)?;
            let (Some(name), Ok(value)) =
                (name.strip_prefix(PREFIX), serde_json::from_str::<WorkflowRevision>(&value))
            else {
                continue;
            };
            all.insert(name.to_owned(), value);
        }
        Ok(all)
    }
}

fn note_workflow(tx: &Tx<'_>, name: &str, digest: &str) -> Result<(), StoreError> {
    let key = format!("{PREFIX}{name}");
    let was =
        tx.row("select value from meta where name = $1", params![key], |r| r.get::<_, String>(0))?;
    let was = was.and_then(|text| serde_json::from_str::<WorkflowRevision>(&text).ok());
    if was.as_ref().is_some_and(|was| was.digest == digest) {
        return Ok(());
    }
    let is = WorkflowRevision {
        number: was.map_or(0, |was| was.number) + 1,
        digest: digest.to_owned(),
        since_us: tx.now_us,
    };
    tx.run(
        "insert into meta (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value",
        params![key, serde_json::to_string(&is).unwrap_or_default()],
    )?;
    Ok(())
}

/// A workflow that is in force no more: should it come back, it counts on, and events of the meantime
/// were not routed by it.
fn forget_others(tx: &Tx<'_>, in_force: &[(String, String)]) -> Result<(), StoreError> {
    let known = tx.rows(
        "select name, value from meta where name >= $1 and name < $2",
        params![PREFIX, "workflow/"],
        |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)),
    )?;
    for (key, value) in known {
        let name = key.strip_prefix(PREFIX).unwrap_or_default();
        if in_force.iter().any(|(known, _)| known == name) {
            continue;
        }
        let Ok(was) = serde_json::from_str::<WorkflowRevision>(&value) else { continue };
        let gone = WorkflowRevision { digest: String::new(), ..was };
        tx.run(
            "update meta set value = $1 where name = $2",
            params![serde_json::to_string(&gone).unwrap_or_default(), key],
        )?;
    }
    Ok(())
}
