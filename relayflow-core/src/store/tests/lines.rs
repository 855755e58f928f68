//! Tasks of one ordering key: one at a time, in the order in which their events were committed.

use super::*;
use crate::task::Line;

fn ordered(name: &str, key: &str, holds_dead: bool) -> NewTask {
    NewTask { line: Some(Line { key: key.to_owned(), holds_dead }), ..step(name, &[]) }
}

/// Commits an event with each of these tasks; their ids.
async fn commit_each(house: &House, tasks: Vec<NewTask>) -> Vec<TaskId> {
    let ids = tasks.iter().map(|t| t.id).collect();
    for task in tasks {
        house.commit_tasks(vec![task]).await;
    }
    ids
}

/// What a claim brings, by places in `ids`.
async fn claims(house: &House, ids: &[TaskId]) -> (Vec<usize>, Vec<Task>) {
    let claimed = house.claim().await;
    let place = |t: &LeasedTask| ids.iter().position(|id| *id == t.task.id).unwrap();
    (claimed.iter().map(place).collect(), claimed.into_iter().map(|c| c.task).collect())
}

on_each_database! {
    async fn those_of_one_key_go_one_by_one_and_others_beside_them(house: House) {
        let keys = ["a", "b", "a", "a", "b"];
        let tasks = keys.map(|key| ordered("s", key, false)).into();
        let ids = commit_each(house, tasks).await;
        let (places, first) = claims(house, &ids).await;
        assert_eq!(places, [0, 1]);
        house.succeed(&first[1]).await;
        let (places, b) = claims(house, &ids).await;
        assert_eq!(places, [4]);
        // A retry holds those behind it.
        let again = Transition::RetryAt(house.clock.now() + SECOND * 5);
        house.settle(&first[0], AttemptStatus::Failed, again).await;
        assert!(house.claim().await.is_empty());
        house.wait(SECOND * 5);
        let (places, first) = claims(house, &ids).await;
        assert_eq!(places, [0]);
        // What is dead does not.
        house.die(&first[0]).await;
        let (places, second) = claims(house, &ids).await;
        assert_eq!(places, [2]);
        house.succeed(&second[0]).await;
        let (places, third) = claims(house, &ids).await;
        assert_eq!(places, [3]);
        house.succeed(&third[0]).await;
        house.succeed(&b[0]).await;
        assert!(house.claim().await.is_empty());
    }

    async fn the_dead_hold_a_line_that_is_to_be_held_until_somebody_moves_them(house: House) {
        let ids = commit_each(house, (0..3).map(|_| ordered("s", "k", true)).collect()).await;
        let (_, first) = claims(house, &ids).await;
        house.die(&first[0]).await;
        assert!(house.claim().await.is_empty());
        discard(house, ids[0], "dead").await;
        let (places, second) = claims(house, &ids).await;
        assert_eq!(places, [1]);
        house.succeed(&second[0]).await;
        assert_eq!(claims(house, &ids).await.0, [2]);
    }

    async fn one_that_is_given_up_while_it_waits_holds_nobody(house: House) {
        let ids = commit_each(house, (0..3).map(|_| ordered("s", "k", false)).collect()).await;
        discard(house, ids[1], "queued").await;
        let (places, first) = claims(house, &ids).await;
        assert_eq!(places, [0]);
        house.succeed(&first[0]).await;
        assert_eq!(claims(house, &ids).await.0, [2]);
    }

    async fn one_that_waits_for_a_dead_step_lets_others_pass_and_comes_at_the_end(house: House) {
        let line = || Some(Line { key: "k".to_owned(), holds_dead: false });
        let event = |_| vec![step("a", &[]), NewTask { line: line(), ..step("b", &["a"]) }];
        let events: Vec<Vec<NewTask>> = (0..2).map(event).collect();
        let ids: Vec<TaskId> = events.iter().flatten().map(|t| t.id).collect();
        for tasks in events {
            house.commit_tasks(tasks).await;
        }
        let (places, first) = claims(house, &ids).await;
        assert_eq!(places, [0, 2]);
        house.succeed(&first[1]).await;
        // The second b is ready, and behind the first.
        assert!(house.claim().await.is_empty());
        house.die(&first[0]).await;
        assert_eq!(claims(house, &ids).await.0, [3]);
    }

    async fn a_lost_attempt_keeps_its_place(house: House) {
        let ids = commit_each(house, (0..2).map(|_| ordered("s", "k", false)).collect()).await;
        let (_, first) = claims(house, &ids).await;
        house.settle(&first[0], AttemptStatus::Interrupted, Transition::Release).await;
        assert_eq!(claims(house, &ids).await.0, [0]);
    }
}

async fn discard(house: &House, id: TaskId, status: &str) {
    let item = crate::store::ItemRow {
        place: 1,
        item: crate::store::Item::Task(id),
        status: status.to_owned(),
        attempt: 0,
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
    };
    let done = house.store().discard_items(vec![item], "ana".into(), "x".into()).await;
    assert_eq!(done.unwrap(), 1);
}
