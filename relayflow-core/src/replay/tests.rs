//! The effect rule, held against drawn histories: events that come in and fail, configurations that
//! change, plans made long before they run, replays beside each other, edits, discards, restarts, payloads
//! that retention took, and a process that ends at any point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::SignedDuration;

use super::candidate::candidate;
use super::{Control, create_plan, create_replay, discard, edit};
use crate::api::{Discard, EditSet, NewPlan, NewReplay, NewRevision, Plan, PlanEdit};
use crate::clock::{Clock, from_micros};
use crate::config::EgressConfig;
use crate::egress::{Connector, Egress, Resolver};
use crate::execute::{Lanes, Limits};
use crate::id::{EventId, RequestId, TaskId, WorkerId};
use crate::in_force::{Current, InForce};
use crate::ingest::Ingest;
use crate::keys::Keys;
use crate::provider;
use crate::request::Request;
use crate::route;
use crate::store::{
    Item, NewEvent, NewRequest, OpenOptions, ReplayRow, Settlement, Store, sqlite_path,
};
use crate::task::{AttemptStatus, DeadReason, Task, Transition};

/// Numbers that look drawn, and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    fn one_of<'t, T>(&mut self, all: &'t [T]) -> Option<&'t T> {
        let at = self.below(all.len());
        all.get(at)
    }
}

const SOURCES: &str = "[sources.shop]\nprovider = \"generic\"\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
    [sources.shop.settings]\nsplit = \"/*\"\n";

fn workflow(name: &str, steps: &[(&str, &str)]) -> String {
    let mut text = format!("[workflows.{name}]\non = [\"*\"]\n");
    for (step, needs) in steps {
        text.push_str(&format!(
            "[[workflows.{name}.steps]]\nname = \"{step}\"\nneeds = [{needs}]\n\
             http = {{ method = \"POST\", url = \"https://crm.example.com/{step}\" }}\n"
        ));
    }
    text
}

/// How the configuration was, and what it becomes: the same three effects under other names.
fn configs(change: usize) -> [String; 2] {
    let base = workflow("w", &[("a", ""), ("b", "\"a\""), ("c", "")]);
    let next = match change {
        // The workflow has another name.
        0 => workflow("v", &[("a", ""), ("b", "\"a\""), ("c", "")]),
        // A step has another name.
        1 => workflow("w", &[("a", ""), ("b", "\"a\""), ("c2", "")]),
        // A step is in another workflow.
        2 => workflow("w", &[("a", ""), ("b", "\"a\"")]) + &workflow("x", &[("c", "")]),
        // There is more to do.
        3 => base.clone() + &workflow("z", &[("d", "")]),
        // Nothing is left of it.
        _ => workflow("z", &[("d", "")]),
    };
    [base, next].map(|workflows| format!("{SOURCES}{workflows}"))
}

/// What a task does, whatever its workflow and step are called.
fn effect(step: &str) -> &str {
    step.get(..1).unwrap_or_default()
}

struct World {
    dir: tempfile::TempDir,
    clock: Clock,
    ingest: Option<Ingest>,
    dice: Dice,
    seed: u64,
    configs: [String; 2],
    delivered: usize,
    plans: Vec<Plan>,
    running: Vec<Task>,
    /// How often each effect was had, and how often somebody asked for it once more.
    had: BTreeMap<(EventId, String), u32>,
    granted: BTreeMap<(EventId, String), u32>,
    /// Who did what, for the one who reads a failure.
    log: Vec<String>,
}

fn in_force(config: &str) -> InForce {
    candidate(config, &[]).unwrap()
}

async fn open(dir: &tempfile::TempDir, clock: &Clock) -> Store {
    let url = format!("sqlite:{}", dir.path().join("test.db").display());
    let (worker, clock) = (WorkerId::next(), clock.clone());
    Store::open(OpenOptions { url, worker, clock }).await.unwrap().store
}

fn ingest(store: Store, in_force: InForce) -> Ingest {
    let connector = Connector::new(Egress::new(&EgressConfig::default()), Resolver::System);
    Ingest {
        digest_key: store.digest_key(),
        store,
        current: Arc::new(Current::new(in_force)),
        lanes: Arc::new(Lanes::new(Limits::default())),
        watcher: None,
        keys: Keys::new(connector),
    }
}

impl World {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(from_micros(1_767_607_200_000_000));
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let configs = configs(dice.below(5));
        let ingest = ingest(open(&dir, &clock).await, in_force(&configs[0]));
        Self {
            dir,
            clock,
            ingest: Some(ingest),
            dice,
            seed,
            configs,
            delivered: 0,
            plans: vec![],
            running: vec![],
            had: BTreeMap::new(),
            granted: BTreeMap::new(),
            log: vec![],
        }
    }

    fn ingest(&self) -> &Ingest {
        self.ingest.as_ref().unwrap()
    }

    fn store(&self) -> Store {
        self.ingest().store.clone()
    }

    fn say(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    /// A batch of one to three events, some of which came before.
    async fn deliver(&mut self) {
        let count = 1 + self.dice.below(3);
        let mut elements = Vec::new();
        for _ in 0..count {
            let known = self.dice.below(4) == 0 && 0 < self.delivered;
            let n = if known { self.dice.below(self.delivered) } else { self.delivered };
            self.delivered += usize::from(!known);
            elements.push(format!(
                r#"{{"id":"n{n}","type":"order.paid","data":{{"id":"o{n}","sum":{n}}}}}"#
            ));
        }
        self.say(format!("deliver {elements:?}"));
        let body = Bytes::from(format!("[{}]", elements.join(",")));
        let config = self.ingest().current.get();
        let source = &config.sources["shop"];
        let id = RequestId::next();
        let request = Request {
            id,
            method: http::Method::POST,
            target: "/in/shop".to_owned(),
            url: "http://127.0.0.1/in/shop".to_owned(),
            headers: http::HeaderMap::new(),
            body,
            received_at: self.clock.now(),
        };
        let verified = provider::once_verified(&request);
        let events = provider::split(source, &verified)
            .unwrap()
            .into_iter()
            .map(|raw| {
                let event = provider::normalize(source, &verified, raw, EventId::next()).unwrap();
                let tasks = route::tasks_for(&event, &[], &config.workflows);
                NewEvent { event, tasks, derived_window: SignedDuration::from_hours(24) }
            })
            .collect();
        drop(verified);
        let new = NewRequest {
            request,
            source: "shop".into(),
            provider: "generic".into(),
            headers: vec![],
            kept_target: "/in/shop".to_owned(),
            scheme: "none".into(),
            skew_ms: None,
            events,
            unreadable: None,
            reread: None,
            fetched: None,
        };
        self.store().commit(new).await.unwrap();
    }

    async fn claim(&mut self) {
        let most = 1 + self.dice.below(6);
        let claimed = self.store().claim("crm.example.com", most).await.unwrap();
        for one in claimed {
            self.running.push(one.task);
        }
    }

    /// One of the running ends, well or not.
    async fn settle(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let at = self.dice.below(self.running.len());
        let task = self.running.remove(at);
        let is_well = self.dice.below(2) == 0;
        let (status, transition) = if is_well {
            (AttemptStatus::Ok, Transition::Complete)
        } else {
            (AttemptStatus::Rejected, Transition::DeadLetter(DeadReason::Unretryable))
        };
        self.say(format!("{} {}/{} {status}", task.event_id, task.workflow, task.step));
        let now = self.clock.now();
        self.store().settle(Settlement {
            task: task.clone(),
            about: None,
            status,
            transition,
            started_at: now,
            ended_at: now,
            http_status: None,
            error: (!is_well).then(|| "422 no".to_owned()),
            response: None,
        });
        self.store().flush().await.unwrap();
        if is_well {
            let key = (task.event_id, effect(&task.step).to_owned());
            *self.had.entry(key).or_default() += 1;
        }
        self.holds();
    }

    /// Every effect was had once, and once more for each time that somebody asked for just that.
    #[track_caller]
    fn holds(&self) {
        for (key, had) in &self.had {
            let granted = 1 + self.granted.get(key).copied().unwrap_or(0);
            assert!(
                *had <= granted,
                "seed {}: {key:?} was had {had} times\n{}",
                self.seed,
                self.log.join("\n")
            );
        }
    }

    async fn plan(&mut self) {
        let mode = ["resume", "resume", "restart", "reroute", "reroute"][self.dice.below(5)];
        let q = match (mode, self.dice.below(3)) {
            ("resume", 0) => "status:dead,discarded,skipped,ok",
            ("resume", 1) => "status:discarded,skipped",
            ("resume", _) => "status:dead",
            ("restart", 0) => "source:shop step:c,c2",
            ("reroute", 0) => "source:shop step:c*",
            _ => "source:shop",
        };
        let edit = (mode == "resume" && self.dice.below(3) == 0).then(|| PlanEdit {
            set: vec![EditSet {
                path: "data.note".to_owned(),
                value: self.plans.len().to_string(),
            }],
            ..PlanEdit::default()
        });
        let new = NewPlan {
            action: "replay".to_owned(),
            q: Some(q.to_owned()),
            mode: Some(mode.to_owned()),
            edit,
            limit: (self.dice.below(2) == 0).then_some(4),
            order: (self.dice.below(3) == 0).then(|| "received".to_owned()),
            ..NewPlan::default()
        };
        if let Ok(plan) = create_plan(self.ingest(), &new, "ana").await {
            self.say(format!(
                "plan {} {mode} {q} edit {}: {:?}",
                plan.id,
                new.edit.is_some(),
                plan.items
            ));
            self.plans.push(plan);
        }
    }

    /// Begins the replay of any plan that was made, however old.
    async fn begin(&mut self) {
        let Some(plan) = self.dice.one_of(&self.plans).cloned() else { return };
        let new = NewReplay {
            plan: plan.id.clone(),
            hash: plan.hash.clone(),
            reason: Some("drawn".to_owned()),
            late: Some("apply".to_owned()),
            ..NewReplay::default()
        };
        if let Ok(replay) = create_replay(self.ingest(), &new, "ana").await {
            self.say(format!("begin {} of {}", replay.id, plan.id));
        }
    }

    /// Some replay goes on by a few items.
    async fn go_on(&mut self) {
        let store = self.store();
        let open = store.open_replays().await.unwrap();
        let Some(replay) = self.dice.one_of(&open).cloned() else { return };
        let most = 1 + self.dice.below(3);
        let items = if replay.how.order == "received" {
            store.next_in_order(&replay, 100, most).await.unwrap()
        } else {
            store.plan_items(replay.plan_id, replay.cursor, most).await.unwrap()
        };
        let wanted: Vec<(TaskId, EventId, String)> = items
            .iter()
            .filter_map(|item| match item.item {
                Item::Task(id) => Some((id, item.event_id?, item.step.clone()?)),
                Item::Request(_) => None,
            })
            .collect();
        store.move_items(replay.clone(), items).await.unwrap();
        store.settle_items(replay.id).await.unwrap();
        self.grant(&replay, wanted).await;
        let now = store.replay(replay.id).await.unwrap().unwrap();
        if now.total <= now.cursor && store.settle_items(replay.id).await.unwrap() == 0 {
            store.end_replay(replay.id).await.unwrap();
        }
    }

    /// What a restart, or a step that was named, brought back may have its effect once more.
    async fn grant(&mut self, replay: &ReplayRow, wanted: Vec<(TaskId, EventId, String)>) {
        let store = self.store();
        let items = store.replay_items(replay, 0, 10_000).await.unwrap();
        let moved: BTreeSet<String> = items
            .iter()
            .filter(|i| {
                matches!(i.state.as_str(), "moved" | "ended")
                    || i.verdict.as_deref() == Some("waits behind a step that died")
            })
            .map(|i| i.item.to_string())
            .collect();
        for (id, event, step) in wanted {
            let is_moved = moved.contains(&id.to_string());
            let is_asked = replay.mode == "restart"
                || replay
                    .q
                    .as_deref()
                    .is_some_and(|q| q.contains("step:") && replay.mode == "reroute");
            if is_moved {
                self.say(format!("  moved {event} {step} by {} ({})", replay.id, replay.mode));
            }
            if is_moved && is_asked {
                *self.granted.entry((event, effect(&step).to_owned())).or_default() += 1;
            }
        }
    }

    async fn discard(&mut self) {
        let ids = self.task_ids();
        let Some(id) = self.dice.one_of(&ids).cloned() else { return };
        self.say(format!("discard {id}"));
        let what =
            Discard { ids: Some(vec![id]), reason: "noise".to_owned(), ..Discard::default() };
        let _maybe_over = discard(&self.store(), &what, "ben").await;
    }

    async fn edit(&mut self) {
        let mut events: Vec<EventId> = self.had.keys().map(|(event, _)| *event).collect();
        events.dedup();
        let Some(event) = self.dice.one_of(&events).copied() else { return };
        let Ok(Some(row)) = self.store().event(event).await else { return };
        let payload = crate::patch::set(row.event.payload.json(), "data.by_hand", "true").unwrap();
        let new = NewRevision { payload, reason: "by hand".to_owned() };
        if edit(self.ingest(), &event.to_string(), &new, "ben").await.is_ok() {
            self.say(format!("edit {event}"));
        }
    }

    /// Retention takes an event that is over, with its request and bytes; keys and tasks stay.
    fn forget(&mut self) {
        let sql = "select hex(r.id) from request r where r.status <> 'rejected' and not exists (
            select 1 from event e where e.request_id = r.id
                and (e.queued + e.running + e.retrying + e.dead > 0 or e.ok = 0))";
        let over = self.column(sql);
        let Some(id) = self.dice.one_of(&over).cloned() else { return };
        self.say(format!("forget {id}"));
        let connection = self.past_the_store();
        for sql in [
            format!(
                "delete from body where id = (select body_id from request where hex(id) = '{id}')"
            ),
            format!("delete from event where hex(request_id) = '{id}'"),
            format!("delete from request where hex(id) = '{id}'"),
        ] {
            connection.execute(&sql, []).unwrap();
        }
    }

    fn past_the_store(&self) -> rusqlite::Connection {
        let url = format!("sqlite:{}", self.dir.path().join("test.db").display());
        let connection = rusqlite::Connection::open(sqlite_path(&url).unwrap()).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection
    }

    fn column(&self, sql: &str) -> Vec<String> {
        let connection = self.past_the_store();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn task_ids(&self) -> Vec<String> {
        let connection = self.past_the_store();
        let mut statement = connection
            .prepare(
                "select id from task where status in ('queued', 'retrying', 'dead') order by id",
            )
            .unwrap();
        let ids = statement.query_map([], |r| r.get::<_, Vec<u8>>(0)).unwrap();
        ids.map(|id| TaskId::from_bytes(&id.unwrap()).unwrap().to_string()).collect()
    }

    /// The process ends here, and another begins: what ran is lost.
    async fn die(&mut self) {
        self.say("the process ends");
        self.store().close().await.unwrap();
        self.running.clear();
        let config = self.ingest().current.get();
        let now = InForce {
            catalog: Arc::clone(&config.catalog),
            sources: config.sources.clone(),
            workflows: Arc::clone(&config.workflows),
        };
        // The last of it lets go of the store's lock.
        self.ingest = None;
        let store = open(&self.dir, &self.clock).await;
        self.ingest = Some(ingest(store, now));
    }

    async fn step(&mut self) {
        self.clock.set(self.clock.now() + SignedDuration::from_secs(1));
        match self.dice.below(30) {
            0..=2 => self.deliver().await,
            3..=6 => self.claim().await,
            7..=13 => self.settle().await,
            14..=16 => self.plan().await,
            17..=19 => self.begin().await,
            20..=24 => self.go_on().await,
            25 => self.discard().await,
            26 => self.edit().await,
            27 => self.forget(),
            28 => {
                let open = self.store().open_replays().await.unwrap();
                if let Some(replay) = self.dice.one_of(&open) {
                    let control = [Control::Pause, Control::Resume, Control::Cancel];
                    let control = *self.dice.one_of(&control).unwrap();
                    let (who, why) = ("ben".to_owned(), None);
                    let _maybe_over =
                        self.store().control_replay(replay.id, control, who, why, None).await;
                }
            }
            _ => self.die().await,
        }
    }
}

async fn history(seed: u64) {
    let mut world = World::new(seed).await;
    world.deliver().await;
    let steps = 160;
    for n in 0..steps {
        if n == steps / 3 {
            world.say("another config");
            world.ingest().current.set(in_force(&world.configs[1]));
        }
        world.step().await;
    }
    // To the end: whatever can still run does, and is done well.
    for _ in 0..40 {
        world.go_on().await;
        world.claim().await;
        while !world.running.is_empty() {
            world.settle().await;
        }
    }
    world.store().close().await.unwrap();
}

#[tokio::test]
async fn what_has_succeeded_is_not_run_again_unless_somebody_asks_for_just_that() {
    let given = std::env::var("RELAYFLOW_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds: Vec<u64> = given.map_or_else(|| (1..=8).collect(), |seed| vec![seed]);
    for seed in seeds {
        history(seed).await;
    }
}
