//! Plans, replays and their items; discarding.

use super::*;
use crate::filter::{Filter, Now};
use crate::id::{PlanId, ReplayId};

/// A dead letter: its event and its task.
async fn dead(house: &House) -> (EventId, TaskId) {
    let event = house.commit_tasks(vec![placed("call"), step("next", &["call"])]).await;
    let task = house.leased().unwrap().task;
    house.die(&task).await;
    (event, task.id)
}

async fn items(house: &House, q: &str) -> Vec<ItemRow> {
    let now = Now { now: house.clock.now(), zone: jiff::tz::TimeZone::UTC };
    let filter = Filter::parse(q, &now).unwrap();
    let selection = Selection::new(&filter, Over::DeadTasks).unwrap();
    let found = house.store().plan_tasks(&selection, 1000).await.unwrap();
    let placed = (1..).zip(found).map(|(place, picked)| {
        let item = picked.item;
        let moves = item.status != "ok";
        let would = if moves { "run" } else { "skip" };
        let why = (!moves).then(|| "already ok".to_owned());
        ItemRow { place, would: would.to_owned(), moves, why, ..item }
    });
    placed.collect()
}

async fn plan(house: &House, items: Vec<ItemRow>) -> PlanId {
    let now = house.clock.now_us();
    let row = PlanRow {
        id: PlanId::next(),
        action: "replay".to_owned(),
        mode: "resume".to_owned(),
        order: "none".to_owned(),
        late: 0,
        q: Some("status:dead".to_owned()),
        hash: "sha256:1".to_owned(),
        who: "ana".to_owned(),
        created_us: now,
        expires_us: now + PLAN_LIFE_US,
        used_us: None,
        summary: "{}".to_owned(),
    };
    let id = row.id;
    house.store().keep_plan(row, items, vec![]).await.unwrap();
    id
}

async fn begin(house: &House, plan: PlanId, total: usize) -> Result<ReplayId, StoreError> {
    let id = ReplayId::next();
    let replay = ReplayRow {
        id,
        plan_id: plan,
        action: "replay".to_owned(),
        mode: "resume".to_owned(),
        q: None,
        who: "ana".to_owned(),
        reason: Some("mended".to_owned()),
        created_us: house.clock.now_us(),
        ended_us: None,
        status: "running".to_owned(),
        detail: None,
        rate: None,
        cursor: 0,
        total: i64::try_from(total).unwrap(),
        how: How::default(),
        moved: 0,
        failed: 0,
        forgiven: 0,
        canary_is_over: false,
        paused_by: None,
    };
    house.store().begin_replay(replay).await.map(|()| id)
}

async fn move_items(house: &House, id: ReplayId, items: Vec<ItemRow>) -> Result<bool, StoreError> {
    let replay = house.store().replay(id).await.unwrap().unwrap();
    house.store().move_items(replay, items).await
}

/// State and verdict of each item, in order.
async fn verdicts(house: &House, id: ReplayId) -> Vec<String> {
    let replay = house.store().replay(id).await.unwrap().unwrap();
    let items = house.store().replay_items(&replay, 0, 1000).await.unwrap();
    let text = |i: &ItemVerdict| format!("{} {}", i.state, i.verdict.as_deref().unwrap_or("–"));
    items.iter().map(text).collect()
}

async fn control(house: &House, id: ReplayId, control: Control) -> Result<(), StoreError> {
    house.store().control_replay(id, control, "ben".to_owned(), None, None).await
}

async fn discard(house: &House, items: Vec<ItemRow>) -> u64 {
    let (who, reason) = ("ana".to_owned(), "noise".to_owned());
    house.store().discard_items(items, who, reason).await.unwrap()
}

fn item(task: TaskId, status: TaskStatus) -> ItemRow {
    ItemRow {
        place: 1,
        item: Item::Task(task),
        status: status.to_string(),
        attempt: 1,
        would: "run".to_owned(),
        moves: true,
        why: None,
        is_late: false,
        key: None,
        destination: None,
        event_id: None,
        workflow: None,
        step: None,
        need_names: None,
        line: None,
        revision: 0,
    }
}

on_each_database! {
    async fn a_replay_moves_what_its_plan_holds_and_says_how_it_ended(house: House) {
        let (first, _) = dead(house).await;
        let (second, second_task) = dead(house).await;
        let items = items(house, "status:dead").await;
        assert_eq!(items.len(), 2);
        let plan = plan(house, items.clone()).await;
        assert_eq!(house.store().plan_items(plan, 0, 10).await.unwrap(), items);
        assert_eq!(house.store().plan_items(plan, 1, 10).await.unwrap(), items[1..]);
        let (late, _) = dead(house).await;

        house.wait(SECOND);
        let id = begin(house, plan, 2).await.unwrap();
        assert_eq!(verdicts(house, id).await, ["pending –", "pending –"]);
        assert!(move_items(house, id, items[..1].to_vec()).await.unwrap());
        assert_eq!(verdicts(house, id).await, ["moved –", "pending –"]);
        assert_eq!(house.store().replay(id).await.unwrap().unwrap().cursor, 1);
        assert_eq!(house.event_status(first).await, TaskStatus::Queued);
        assert!(move_items(house, id, items[1..].to_vec()).await.unwrap());

        let [a, b] = house.claim().await.try_into().unwrap();
        assert_eq!((a.task.attempt, a.task.failures), (2, 0), "attempts go on counting");
        assert_eq!(a.task.since, house.clock.now(), "give_up_after counts from the replay");
        assert_eq!(house.store().settle_items(id).await.unwrap(), 2);
        house.succeed(&a.task).await;
        house.die(&b.task).await;
        assert_eq!(house.store().settle_items(id).await.unwrap(), 0);
        assert_eq!(verdicts(house, id).await, ["ended ok", "ended dead"]);
        house.store().end_replay(id).await.unwrap();

        assert_eq!(house.words(first).await[6..], ["dead", "replayed", "queued", "running", "ok"]);
        let entries = house.timeline(first).await;
        let replayed = entries.iter().find(|e| e.what == What::Replayed).unwrap();
        assert_eq!(replayed.replay_id, Some(id));
        assert_eq!((&replayed.detail["who"], &replayed.detail["reason"]), (&"ana".into(), &"mended".into()));
        assert_eq!(house.event_status(second).await, TaskStatus::Dead);
        assert_eq!(house.task(second_task).await.attempt, 2);
        assert_eq!(house.event_status(late).await, TaskStatus::Dead, "it was not in the plan");
        // The replayed step succeeded, so the next goes on by itself.
        assert_eq!(&*house.claim_one().await.step, "next");
        let of = house.store().replays_of(&[first], &[]).await.unwrap();
        assert_eq!(of.iter().map(|r| r.id).collect::<Vec<_>>(), [id]);
    }

    async fn a_plan_runs_once_and_not_for_ever(house: House) {
        dead(house).await;
        let first = plan(house, items(house, "status:dead").await).await;
        begin(house, first, 1).await.unwrap();
        let again = begin(house, first, 1).await;
        assert!(
            matches!(again, Err(StoreError::Refused { code: Refusal::PlanUsed, .. })), "{again:?}"
        );
        let late = plan(house, items(house, "status:dead").await).await;
        house.wait(SECOND * 3601);
        let late = begin(house, late, 1).await;
        assert!(
            matches!(late, Err(StoreError::Refused { code: Refusal::PlanExpired, .. })), "{late:?}"
        );
        let unknown = begin(house, PlanId::next(), 1).await;
        assert!(matches!(unknown, Err(StoreError::NotFound { .. })), "{unknown:?}");
    }

    async fn an_item_that_is_no_longer_as_planned_is_passed_over(house: House) {
        let (event, task) = dead(house).await;
        let frozen = items(house, "status:dead").await;
        let (one, two) = (plan(house, frozen.clone()).await, plan(house, frozen.clone()).await);
        assert_eq!(house.store().plan_changes(two).await.unwrap().0, 0);
        let first = begin(house, one, 1).await.unwrap();
        move_items(house, first, frozen.clone()).await.unwrap();
        assert_eq!(house.store().plan_changes(two).await.unwrap().0, 1);
        // Dead again, but after another attempt: it is not what the second plan was shown.
        house.die(&house.claim_one().await).await;
        assert_eq!(house.store().plan_changes(two).await.unwrap().0, 1);

        let second = begin(house, two, 1).await.unwrap();
        assert!(move_items(house, second, frozen).await.unwrap());
        assert_eq!(verdicts(house, second).await, ["skipped no longer as planned"]);
        assert_eq!(house.status(task).await, TaskStatus::Dead);
        assert_eq!(house.event_status(event).await, TaskStatus::Dead);
    }

    async fn a_success_is_never_run_again(house: House) {
        let event = house.commit_tasks(vec![placed("call")]).await;
        let task = house.leased().unwrap().task;
        house.succeed(&task).await;
        // Whatever a plan says.
        let items = vec![ItemRow { event_id: Some(event), ..item(task.id, TaskStatus::Ok) }];
        let plan = plan(house, items.clone()).await;
        let id = begin(house, plan, 1).await.unwrap();
        move_items(house, id, items).await.unwrap();
        assert_eq!(verdicts(house, id).await, ["skipped already ok"]);
        assert_eq!(house.status(task.id).await, TaskStatus::Ok);
        assert!(house.claim().await.is_empty());
    }

    async fn a_replay_can_be_paused_resumed_and_cancelled(house: House) {
        let (_, first) = dead(house).await;
        let (_, second) = dead(house).await;
        let items = items(house, "status:dead").await;
        let plan = plan(house, items.clone()).await;
        let id = begin(house, plan, 2).await.unwrap();
        let store = house.store();
        control(house, id, Control::Pause).await.unwrap();
        assert!(!move_items(house, id, items.clone()).await.unwrap());
        assert_eq!(house.status(first).await, TaskStatus::Dead);
        control(house, id, Control::Resume).await.unwrap();
        assert!(move_items(house, id, items[..1].to_vec()).await.unwrap());
        control(house, id, Control::Cancel).await.unwrap();
        assert!(!move_items(house, id, items[1..].to_vec()).await.unwrap());
        assert_eq!(verdicts(house, id).await, ["moved –", "cancelled –"]);
        assert_eq!(house.status(first).await, TaskStatus::Queued, "it takes nothing back");
        assert_eq!(house.status(second).await, TaskStatus::Dead);
        let over = control(house, id, Control::Resume).await;
        assert!(matches!(over, Err(StoreError::Refused { code: Refusal::State, .. })), "{over:?}");
        let entries = store.timeline_of(Of::Replay(id), 100).await.unwrap();
        let words: Vec<_> = entries.iter().map(|e| e.what.as_str()).collect();
        assert_eq!(words, ["replayed", "paused", "resumed", "replayed", "queued", "cancelled"]);
        assert!(entries[1..3].iter().all(|e| e.detail["who"] == "ben"));
    }

    async fn discarding_takes_out_of_the_queue_and_skips_what_needed_it(house: House) {
        let tasks = vec![step("a", &[]), step("b", &["a"]), step("c", &["b"]), step("d", &[])];
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
        let event = house.commit_tasks(tasks).await;
        assert_eq!(discard(house, vec![item(ids[0], TaskStatus::Queued)]).await, 1);
        assert_eq!(discard(house, vec![item(ids[0], TaskStatus::Queued)]).await, 0, "only once");
        for (id, status) in [
            (ids[0], TaskStatus::Discarded), (ids[1], TaskStatus::Skipped),
            (ids[2], TaskStatus::Skipped), (ids[3], TaskStatus::Queued),
        ] {
            assert_eq!(house.status(id).await, status);
        }
        let d = house.claim_one().await;
        house.succeed(&d).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Ok);

        let (event, task) = dead(house).await;
        assert_eq!(discard(house, vec![item(task, TaskStatus::Dead)]).await, 1);
        assert_eq!(house.event_status(event).await, TaskStatus::Discarded);
        let entries = house.timeline(event).await;
        let discarded = entries.iter().find(|e| e.what == What::Discarded).unwrap();
        assert_eq!(discarded.detail["reason"], "noise");
    }

    async fn a_discarded_task_can_be_replayed_with_what_was_skipped(house: House) {
        let tasks = vec![step("a", &[]), step("b", &["a"])];
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
        let event = house.commit_tasks(tasks).await;
        discard(house, vec![item(ids[0], TaskStatus::Queued)]).await;
        let items: Vec<ItemRow> = [(1, ids[0], "discarded"), (2, ids[1], "skipped")]
            .map(|(place, id, status)| ItemRow {
                place,
                attempt: 0,
                status: status.to_owned(),
                event_id: Some(event),
                ..item(id, TaskStatus::Queued)
            })
            .into();
        let plan = plan(house, items.clone()).await;
        let id = begin(house, plan, 2).await.unwrap();
        move_items(house, id, items).await.unwrap();
        for name in ["a", "b"] {
            let task = house.claim_one().await;
            assert_eq!(&*task.step, name);
            house.succeed(&task).await;
        }
        house.store().settle_items(id).await.unwrap();
        assert_eq!(verdicts(house, id).await, ["ended ok", "ended ok"]);
        assert_eq!(house.event_status(event).await, TaskStatus::Ok);
    }

    async fn a_running_task_is_discarded_when_it_does_not_succeed(house: House) {
        for (status, transition, expected) in [
            (AttemptStatus::Ok, Transition::Complete, TaskStatus::Ok),
            (AttemptStatus::Failed, Transition::RetryAt(start()), TaskStatus::Discarded),
            (AttemptStatus::Interrupted, Transition::Release, TaskStatus::Discarded),
            (
                AttemptStatus::Rejected,
                Transition::DeadLetter(DeadReason::Unretryable),
                TaskStatus::Discarded,
            ),
        ] {
            house.commit_tasks(vec![placed("a")]).await;
            let task = house.leased().unwrap().task;
            assert_eq!(discard(house, vec![item(task.id, TaskStatus::Running)]).await, 1);
            assert_eq!(house.status(task.id).await, TaskStatus::Running);
            house.settle(&task, status, transition).await;
            assert_eq!(house.status(task.id).await, expected, "{status}");
        }
    }
}
