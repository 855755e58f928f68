//! What a plan would do with each of its items, and why.

use super::Asked;
use super::select::Found;
use crate::api::{PlanCounts, PlanGroup};
use crate::clock::from_micros;
use crate::event::micros;
use crate::store::ItemRow;

/// What a plan would do with an item, to what effect, and why.
pub(super) fn would(action: &str, item: &ItemRow) -> (&'static str, &'static str, &'static str) {
    let is_command = item.destination.as_deref().is_some_and(|d| d.starts_with("command:"));
    if action == "discard" {
        return match item.status.as_str() {
            "queued" | "retrying" | "dead" => ("run", "discard", "leaves the queue, stays listed"),
            "running" => ("run", "discard", "runs now: discarded unless it succeeds"),
            _ => ("skip", "discard", "has ended already"),
        };
    }
    match item.status.as_str() {
        "ok" => ("skip", "", "already ok"),
        "queued" | "running" | "retrying" => ("skip", "", "on its way already"),
        "accepted" | "duplicate" => ("skip", "", "was read already"),
        "rejected" => ("skip", "", "not verified: mend the secret and readmit it"),
        _ if item.destination.is_none() => {
            ("run", "read again", "today's definition reads its bytes")
        }
        _ if is_command => ("run_at_risk", "run the command", "a command may not know its key"),
        _ => ("run", "call again", "the same idempotency key is sent"),
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Summary {
    pub(crate) counts: PlanCounts,
    pub(crate) groups: Vec<PlanGroup>,
    pub(crate) oldest_at: Option<String>,
    pub(crate) newest_at: Option<String>,
    pub(crate) events: u64,
}

pub(super) fn summarize(asked: &Asked, found: &Found) -> Summary {
    let mut counts = PlanCounts::default();
    let mut groups: Vec<PlanGroup> = Vec::new();
    let mut events = std::collections::HashSet::new();
    for (item, _) in &found.rows {
        let (verdict, effect, why) = would(&asked.action, item);
        counts.total += 1;
        match verdict {
            "run" => counts.run += 1,
            "run_at_risk" => counts.run_at_risk += 1,
            "skip" => counts.skip += 1,
            _ => counts.blocked += 1,
        }
        events.extend(item.event_id);
        let destination = item.destination.as_deref().unwrap_or("–");
        let known = groups
            .iter_mut()
            .find(|g| g.would == verdict && g.destination == destination && g.why == why);
        match known {
            Some(group) => group.count += 1,
            None => groups.push(PlanGroup {
                would: verdict.to_owned(),
                destination: destination.to_owned(),
                effect: effect.to_owned(),
                why: why.to_owned(),
                count: 1,
            }),
        }
    }
    let moment = |us: Option<&i64>| us.map(|us| micros(from_micros(*us)));
    Summary {
        counts,
        groups,
        oldest_at: moment(found.rows.iter().map(|(_, at)| at).min()),
        newest_at: moment(found.rows.iter().map(|(_, at)| at).max()),
        events: u64::try_from(events.len()).unwrap_or(0),
    }
}
