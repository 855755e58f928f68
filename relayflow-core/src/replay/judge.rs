//! What a plan would do with each of its items, and why. A decision: it waits for nothing.

use std::collections::{HashMap, HashSet};

use super::{Asked, Mode};
use crate::api::{
    Difference, PlanContract, PlanCounts, PlanEdited, PlanGroup, PlanLate, PlanRouting, PlanTime,
};
use crate::clock::from_micros;
use crate::event::micros;
use crate::id::EventId;
use crate::store::{NEW, Picked};
use crate::workflow::{Action, Step, Workflows};

/// What is said of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) would: &'static str,
    pub(super) moves: bool,
    effect: String,
    pub(super) why: String,
}

/// What an item is judged by.
pub(super) struct Bench<'a> {
    pub(super) asked: &'a Asked,
    pub(super) workflows: &'a Workflows,
    /// Destinations whose circuit is open.
    pub(super) circuits: HashSet<String>,
    /// Queues that stand still, and why an item of theirs waits.
    pub(super) paused: HashMap<String, String>,
    /// How the tasks stand that others of the plan need: event, workflow, step → status.
    pub(super) needed: HashMap<(EventId, String, String), String>,
    /// Events in which the edit changes nothing.
    pub(super) unchanged: HashSet<EventId>,
}

impl Bench<'_> {
    /// Says of each item what becomes of it. Those that others need stand before them.
    pub(super) fn judge(&self, picked: &mut [Picked]) -> Vec<Judged> {
        let mut moving: HashSet<(EventId, String, String)> = HashSet::new();
        let mut all = Vec::with_capacity(picked.len());
        for one in picked.iter_mut() {
            let mut judged = self.one(one);
            if judged.moves
                && let Some(why) = self.waits_in_vain(one, &moving)
            {
                judged = Judged { would: "blocked", moves: false, why, ..judged };
            }
            if judged.moves
                && let Some(key) = key_of(one)
            {
                moving.insert(key);
            }
            judged.would.clone_into(&mut one.item.would);
            one.item.moves = judged.moves;
            one.item.why = (!judged.moves).then(|| judged.why.clone());
            all.push(judged);
        }
        all
    }

    fn one(&self, picked: &Picked) -> Judged {
        let item = &picked.item;
        let skip = |why: &str| Judged {
            would: "skip",
            moves: false,
            effect: String::new(),
            why: why.to_owned(),
        };
        if self.asked.action == "discard" {
            return discard(&item.status);
        }
        match item.status.as_str() {
            "ok" if self.asked.mode != Mode::Restart => return skip("already ok"),
            "queued" | "running" | "retrying" => return skip("on its way already"),
            "accepted" | "duplicate" => return skip("was read already"),
            "rejected" => return skip("not verified: mend the secret and readmit it"),
            NEW => {}
            status if self.asked.mode == Mode::Reroute && item.event_id.is_some() => {
                return skip(&format!("has a task already, {status}: --mode resume runs it"));
            }
            "discarded" | "skipped" if picked.has_succeeded && self.asked.mode == Mode::Resume => {
                return skip("has succeeded, and was given up after a restart: --mode restart");
            }
            _ => {}
        }
        if item.event_id.is_some_and(|id| self.unchanged.contains(&id)) {
            return skip("the edit changes nothing in it");
        }
        let blocked =
            |effect: String, why: String| Judged { would: "blocked", moves: false, effect, why };
        let (Some(workflow), Some(step)) = (&item.workflow, &item.step) else {
            if let Some(fault) = &picked.fault {
                return blocked(String::new(), fault.clone());
            }
            return Judged {
                would: "run",
                moves: true,
                effect: "read again".to_owned(),
                why: "today's definition reads its bytes".to_owned(),
            };
        };
        let Some((_, found)) = self.workflows.step(workflow, step) else {
            let why = format!("the config has no step {workflow}/{step} any more");
            return blocked(String::new(), why);
        };
        let effect = effect_of(found);
        if let Some(fault) = &picked.fault {
            return blocked(effect, fault.clone());
        }
        if let Some(why) = item.destination.as_ref().and_then(|d| self.paused.get(d)) {
            return Judged { would: "blocked", moves: true, effect, why: why.clone() };
        }
        if item.destination.as_ref().is_some_and(|d| self.circuits.contains(d)) {
            let why = "its circuit is open: waits until a probe succeeds".to_owned();
            return Judged { would: "blocked", moves: true, effect, why };
        }
        let (would, why) = risk(found, picked);
        Judged { would, moves: true, effect, why: why.to_owned() }
    }

    /// Why what an item needs will not come, if it will not.
    fn waits_in_vain(
        &self,
        picked: &Picked,
        moving: &HashSet<(EventId, String, String)>,
    ) -> Option<String> {
        let (event, workflow, _) = key_of(picked)?;
        for need in picked.need_names.as_deref()?.split(' ') {
            let key = (event, workflow.clone(), need.to_owned());
            if moving.contains(&key) {
                continue;
            }
            match self.needed.get(&key).map(String::as_str) {
                Some("ok" | "queued" | "running" | "retrying") => {}
                Some(status) => {
                    return Some(format!("waits for {workflow}/{need}, which is {status}"));
                }
                None => return Some(format!("waits for {workflow}/{need}, which has no task")),
            }
        }
        None
    }
}

fn key_of(picked: &Picked) -> Option<(EventId, String, String)> {
    let item = &picked.item;
    Some((item.event_id?, item.workflow.clone()?, item.step.clone()?))
}

fn discard(status: &str) -> Judged {
    let (would, why) = match status {
        "queued" | "retrying" | "dead" => ("run", "leaves the queue, stays listed"),
        "running" => ("run", "runs now: discarded unless it succeeds"),
        _ => ("skip", "has ended already"),
    };
    let effect = "discard".to_owned();
    Judged { would, moves: would == "run", effect, why: why.to_owned() }
}

fn effect_of(step: &Step) -> String {
    match &step.action {
        Action::Http(http) => format!("{} {}", http.method, step.name),
        Action::Command(_) => format!("run {}", step.name),
    }
}

/// Whether a call may be a double, and how that is known. What is unknown is a risk.
fn risk(step: &Step, picked: &Picked) -> (&'static str, &'static str) {
    let is_command = matches!(step.action, Action::Command(_));
    if picked.has_succeeded && picked.item.status == "dead" && step.dedupes != Some(true) {
        return ("run_at_risk", "has succeeded, then died as it was restarted: goes on with that");
    }
    match (picked.may_have_effect, step.dedupes, is_command) {
        (false, _, _) if picked.item.attempt == 0 => ("run", "never called before"),
        (false, _, _) => ("run", "was refused before: nothing to double"),
        (true, Some(true), _) => ("run", "its destination drops doubles (dedupes = true)"),
        (true, Some(false), _) => {
            ("run_at_risk", "its destination drops no doubles (dedupes = false)")
        }
        (true, None, true) => ("run_at_risk", "unknown whether the command knows its key"),
        (true, None, false) => {
            ("run_at_risk", "unknown whether its destination drops doubles; the same key is sent")
        }
    }
}

/// Puts each event's tasks behind those that they need.
pub(super) fn needs_first(picked: &mut Vec<Picked>) {
    if picked.iter().all(|p| p.need_names.is_none()) {
        return;
    }
    let mut placed: HashSet<(EventId, String, String)> = HashSet::new();
    let here: HashSet<_> = picked.iter().filter_map(key_of).collect();
    let mut sorted = Vec::with_capacity(picked.len());
    let mut rest = std::mem::take(picked).into_iter().peekable();
    while let Some(first) = rest.next() {
        let event = first.item.event_id;
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|p| p.item.event_id == event) {
            group.push(next);
        }
        while !group.is_empty() {
            let is_ready = |p: &Picked| {
                let Some((event, workflow, _)) = key_of(p) else { return true };
                p.need_names.iter().flat_map(|names| names.split(' ')).all(|need| {
                    let key = (event, workflow.clone(), need.to_owned());
                    placed.contains(&key) || !here.contains(&key)
                })
            };
            // Steps form no circle; should they, their order is as good as any.
            let at = group.iter().position(is_ready).unwrap_or(0);
            let next = group.remove(at);
            placed.extend(key_of(&next));
            sorted.push(next);
        }
    }
    *picked = sorted;
}

/// What is said of a plan, as it is kept.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Summary {
    pub(crate) counts: PlanCounts,
    pub(crate) groups: Vec<PlanGroup>,
    pub(crate) oldest_at: Option<String>,
    pub(crate) newest_at: Option<String>,
    pub(crate) events: u64,
    #[serde(default)]
    pub(crate) late: PlanLate,
    #[serde(default)]
    pub(crate) is_candidate: bool,
    #[serde(default)]
    pub(crate) difference: Option<Difference>,
    #[serde(default)]
    pub(crate) routing: Vec<PlanRouting>,
    #[serde(default)]
    pub(crate) contract: PlanContract,
    #[serde(default)]
    pub(crate) time: Option<PlanTime>,
    #[serde(default)]
    pub(crate) edit: Option<PlanEdited>,
    /// Whether it runs only with a reason.
    #[serde(default)]
    pub(crate) needs_reason: bool,
}

/// Counts per destination, what would happen there and why.
pub(super) fn summarize(picked: &[Picked], judged: &[Judged]) -> Summary {
    let mut counts = PlanCounts::default();
    let mut places: HashMap<(&str, &str, &str, &str), usize> = HashMap::new();
    let mut groups: Vec<PlanGroup> = Vec::new();
    let mut events = HashSet::new();
    for (one, judged) in picked.iter().zip(judged) {
        counts.total += 1;
        counts.moves += u64::from(judged.moves);
        match judged.would {
            "run" => counts.run += 1,
            "run_at_risk" => counts.run_at_risk += 1,
            "skip" => counts.skip += 1,
            _ => counts.blocked += 1,
        }
        events.extend(one.item.event_id);
        let destination = one.item.destination.as_deref().unwrap_or("–");
        let key = (judged.would, destination, judged.effect.as_str(), judged.why.as_str());
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(PlanGroup {
                would: judged.would.to_owned(),
                destination: destination.to_owned(),
                effect: judged.effect.clone(),
                why: judged.why.clone(),
                count: 0,
            });
            groups.len() - 1
        });
        groups[place].count += 1;
    }
    let rank = |would: &str| {
        ["run", "run_at_risk", "skip", "blocked"].iter().position(|w| *w == would).unwrap_or(4)
    };
    groups.sort_by_key(|group| (rank(&group.would), std::cmp::Reverse(group.count)));
    let moment = |us: Option<i64>| us.map(|us| micros(from_micros(us)));
    Summary {
        counts,
        groups,
        oldest_at: moment(picked.iter().map(|p| p.received_us).min()),
        newest_at: moment(picked.iter().map(|p| p.received_us).max()),
        events: u64::try_from(events.len()).unwrap_or(0),
        late: PlanLate::default(),
        is_candidate: false,
        difference: None,
        routing: vec![],
        contract: PlanContract::default(),
        time: None,
        edit: None,
        needs_reason: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;
    use crate::store::{Item, ItemRow};
    use crate::workflow::{CommandAction, Workflow};

    const STEPS: [&str; 2] = ["first", "second"];

    fn workflows(dedupes: Option<bool>) -> Workflows {
        let step = |name: &&str| {
            std::sync::Arc::new(Step {
                name: (*name).into(),
                needs: vec![],
                timeout: jiff::SignedDuration::from_secs(1),
                backoff: crate::backoff::Backoff::default(),
                dedupes,
                order: None,
                action: Action::Command(CommandAction {
                    argv: vec![],
                    env: vec![],
                    dir: std::path::PathBuf::new(),
                }),
                destination: None,
            })
        };
        let steps = STEPS.iter().map(step).collect();
        let workflow = Workflow { name: "w".into(), on: vec![], when: None, steps };
        Workflows::new(vec![std::sync::Arc::new(workflow)])
    }

    fn picked(event: EventId, step: &str, status: &str, needs: Option<&str>) -> Picked {
        Picked {
            item: ItemRow {
                place: 0,
                item: Item::Task(TaskId::next()),
                status: status.to_owned(),
                attempt: 1,
                would: String::new(),
                moves: false,
                why: None,
                is_late: false,
                key: None,
                destination: Some("command:x".to_owned()),
                event_id: Some(event),
                workflow: Some("w".to_owned()),
                step: Some(step.to_owned()),
                need_names: None,
                line: None,
                revision: 0,
            },
            received_us: 0,
            source: "shop".to_owned(),
            subject: None,
            need_names: needs.map(str::to_owned),
            may_have_effect: true,
            fault: None,
            has_succeeded: status == "ok",
            is_drifted: false,
        }
    }

    /// What is said of each, as `would moves why`.
    fn judge(
        mode: Mode,
        dedupes: Option<bool>,
        circuit: &str,
        mut all: Vec<Picked>,
    ) -> Vec<String> {
        let asked = Asked { action: "replay".to_owned(), mode, ..Asked::default() };
        let workflows = workflows(dedupes);
        let circuits = HashSet::from([circuit.to_owned()]);
        let paused = HashMap::from([("paused".to_owned(), "queue paused by ana".to_owned())]);
        let bench = Bench {
            asked: &asked,
            workflows: &workflows,
            circuits,
            paused,
            needed: HashMap::new(),
            unchanged: HashSet::new(),
        };
        needs_first(&mut all);
        let judged = bench.judge(&mut all);
        judged.iter().map(|j| format!("{} {} {}", j.would, j.moves, j.why)).collect()
    }

    #[test]
    fn what_may_have_had_its_effect_is_a_risk_unless_doubles_are_dropped() {
        let event = EventId::next();
        let one = |dedupes, status| {
            judge(Mode::Restart, dedupes, "", vec![picked(event, "first", status, None)]).remove(0)
        };
        let unknown = "run_at_risk true unknown whether the command knows its key";
        assert_eq!(one(None, "dead"), unknown);
        assert_eq!(one(None, "ok"), unknown);
        assert!(one(Some(true), "ok").starts_with("run true "));
        assert!(one(Some(false), "dead").starts_with("run_at_risk true "));
        assert_eq!(one(None, "running"), "skip false on its way already");
    }

    #[test]
    fn an_open_circuit_is_waited_for_and_a_step_that_will_not_come_is_not() {
        let event = EventId::next();
        let one = || vec![picked(event, "second", "discarded", Some("first"))];
        let vain = "blocked false waits for w/first, which has no task";
        assert_eq!(judge(Mode::Resume, None, "", one()), [vain]);
        // With what it needs in the plan it stands behind that, and runs.
        let both = [one(), vec![picked(event, "first", "discarded", None)]].concat();
        let said = judge(Mode::Resume, Some(true), "", both);
        assert!(said.iter().all(|s| s.starts_with("run true ")), "{said:?}");
        let first = vec![picked(event, "first", "dead", None)];
        let wanted = "blocked true its circuit is open: waits until a probe succeeds";
        assert_eq!(judge(Mode::Resume, None, "command:x", first), [wanted]);
        let mut still = picked(event, "first", "dead", None);
        still.item.destination = Some("paused".to_owned());
        let said = judge(Mode::Resume, None, "", vec![still]);
        assert_eq!(said, ["blocked true queue paused by ana"]);
        let gone = vec![picked(event, "gone", "dead", None)];
        let wanted = "blocked false the config has no step w/gone any more";
        assert_eq!(judge(Mode::Resume, None, "", gone), [wanted]);
    }
}
