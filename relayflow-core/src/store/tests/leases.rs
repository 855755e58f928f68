//! Claims, fences, and what follows an attempt.

use super::*;

fn retry(house: &House, after: SignedDuration) -> Transition {
    Transition::RetryAt(house.clock.now() + after)
}

on_each_database! {
    async fn a_placed_task_is_handed_over_leased_and_any_other_is_claimed(house: House) {
        let tasks = vec![placed("a"), step("b", &[]), step("c", &["b"])];
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
        house.commit_tasks(tasks).await;

        let leased = house.leased().unwrap();
        assert_eq!((leased.task.id, leased.task.attempt), (ids[0], 1));
        assert!(leased.slot.is_some() && !leased.start_on_record);
        assert!(house.leased().is_none());
        let claimed = house.claim().await;
        assert_eq!(claimed.iter().map(|c| c.task.id).collect::<Vec<_>>(), [ids[1]]);
        assert_eq!(claimed[0].task.attempt, 1);
        assert!(house.claim().await.is_empty(), "what is held is not claimed again");
        assert_eq!(house.status(ids[2]).await, TaskStatus::Queued);
    }

    async fn a_claim_brings_the_event_and_the_headers_of_its_request(house: House) {
        let id = house.commit_tasks(vec![step("a", &[])]).await;
        let claimed = house.claim().await;
        let context = &claimed[0].event;
        assert_eq!(context.event.id, id);
        assert_eq!(context.event.payload.json(), "{}");
        assert_eq!(context.headers[0].0, "content-type");
    }

    async fn tasks_of_another_destination_are_left_alone(house: House) {
        let other = NewTask { destination: "mail.example.com".into(), ..step("b", &[]) };
        let id = other.id;
        house.commit_tasks(vec![step("a", &[]), other]).await;
        assert_eq!(house.claim().await.len(), 1);
        assert_eq!(house.status(id).await, TaskStatus::Queued);
        let due = house.store().due().await.unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].destination, "mail.example.com");
    }

    async fn a_retry_is_due_when_it_said(house: House) {
        let event = house.commit_tasks(vec![placed("a")]).await;
        let task = house.leased().unwrap().task;
        house.settle(&task, AttemptStatus::Failed, retry(house, SECOND * 5)).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Retrying);
        assert!(house.claim().await.is_empty());
        let due = house.store().due().await.unwrap();
        assert_eq!(due[0].at, house.clock.now() + SECOND * 5);

        house.wait(SECOND * 5);
        let task = house.claim_one().await;
        assert_eq!((task.attempt, task.failures), (2, 1));
        house.succeed(&task).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Ok);
        let attempts = house.store().attempts(task.id).await.unwrap();
        let statuses: Vec<_> = attempts.iter().map(|a| (a.attempt, a.status.as_str())).collect();
        assert_eq!(statuses, [(1, "failed"), (2, "ok")]);
        assert!((house.store().counters().await.unwrap().retry_rate() - 0.5).abs() < 1e-9);
    }

    async fn a_stale_worker_changes_nothing(house: House) {
        let event = house.commit_tasks(vec![placed("a")]).await;
        let stale = house.leased().unwrap().task;
        house.settle(&stale, AttemptStatus::Interrupted, Transition::Release).await;
        let current = house.claim_one().await;
        assert_eq!((current.attempt, current.failures), (2, 0), "an interruption is no failure");
        let before = house.words(event).await;

        house.succeed(&stale).await;
        house.die(&stale).await;
        assert_eq!(house.status(current.id).await, TaskStatus::Running);
        assert_eq!(house.words(event).await, before);
        assert_eq!(house.count("settles_late").await, 2);
        let store = house.store();
        assert_eq!(store.renew(vec![(stale.id, stale.attempt)]).await.unwrap(), [stale.id]);
        assert!(store.renew(vec![(current.id, current.attempt)]).await.unwrap().is_empty());

        house.succeed(&current).await;
        house.die(&current).await;
        assert_eq!(house.status(current.id).await, TaskStatus::Ok, "a recorded success is final");
    }

    async fn settling_a_vanished_task_is_an_answer(house: House) {
        let event = house.commit_tasks(vec![placed("a")]).await;
        let mut task = house.leased().unwrap().task;
        house.succeed(&task).await;
        task.id = TaskId::next();
        house.succeed(&task).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Ok);
        assert_eq!(house.count("settles_late").await, 1);
    }

    async fn a_lease_that_is_renewed_does_not_end(house: House) {
        house.commit_tasks(vec![placed("a")]).await;
        let task = house.leased().unwrap().task;
        let store = house.store();
        for _ in 0..5 {
            house.wait(SECOND * 29);
            assert!(store.abandoned(None, 10).await.unwrap().is_empty());
            assert!(store.renew(vec![(task.id, 1)]).await.unwrap().is_empty());
        }
        house.wait(SECOND * 31);
        assert_eq!(store.abandoned(None, 10).await.unwrap().len(), 1);
    }

    async fn what_a_dead_process_held_is_found_and_costs_no_try_until_it_has_started(house: House) {
        let event = house.commit_tasks(vec![placed("a"), step("b", &[])]).await;
        let claimed = house.claim().await;
        assert_eq!(claimed.len(), 1);
        assert!(house.store().abandoned(None, 10).await.unwrap().is_empty(), "they are ours");

        house.reopen().await;
        let abandoned = house.store().abandoned(None, 10).await.unwrap();
        assert_eq!(abandoned.len(), 2);
        assert_eq!(house.store().abandoned(None, 1).await.unwrap().len(), 1);
        let behind = house.store().abandoned(Some(abandoned[0].task.id), 10).await.unwrap();
        assert_eq!(behind[0].task.id, abandoned[1].task.id, "pages go on behind what was seen");
        for one in abandoned {
            assert!(!one.start_on_record);
            house.settle(&one.task, AttemptStatus::Lost, Transition::Release).await;
        }
        assert_eq!(house.event_status(event).await, TaskStatus::Queued);
        assert_eq!(house.words(event).await[7..], ["lost", "lost"]);

        // The next start is on record before the action.
        let again = house.claim().await;
        assert_eq!(again.len(), 2);
        assert!(again.iter().all(|c| c.start_on_record && c.task.attempt == 2));
        assert!(again.iter().all(|c| c.task.failures == 0));
        let attempts = house.store().attempts(again[0].task.id).await.unwrap();
        let statuses: Vec<_> = attempts.iter().map(|a| a.status.as_str()).collect();
        assert_eq!(statuses, ["lost", "running"]);
        house.reopen().await;
        let abandoned = house.store().abandoned(None, 10).await.unwrap();
        assert!(abandoned.iter().all(|a| a.start_on_record));
        let (first, second) = (&abandoned[0].task, &abandoned[1].task);
        house.settle(first, AttemptStatus::Lost, retry(house, SECOND)).await;
        let lost = Transition::DeadLetter(DeadReason::Lost);
        house.settle(second, AttemptStatus::Lost, lost).await;
        house.wait(SECOND);
        let task = house.claim_one().await;
        assert_eq!((task.failures, task.lost_starts), (1, 1));
        assert_eq!(house.task(second.id).await.reason.as_deref(), Some("lost"));
    }

    async fn a_step_that_is_ok_releases_those_that_need_it(house: House) {
        let tasks = vec![
            step("a", &[]), step("b", &[]), step("c", &["a", "b"]), step("d", &["c"]),
        ];
        let event = house.commit_tasks(tasks).await;
        let [a, b] = house.claim().await.try_into().unwrap();
        house.succeed(&a.task).await;
        assert!(house.claim().await.is_empty(), "c still needs b");
        house.succeed(&b.task).await;
        let c = house.claim_one().await;
        assert_eq!(&*c.step, "c");
        house.succeed(&c).await;
        let d = house.claim_one().await;
        house.succeed(&d).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Ok);
    }

    async fn behind_a_dead_step_the_next_one_waits(house: House) {
        let event = house.commit_tasks(vec![step("a", &[]), step("b", &["a"])]).await;
        let a = house.claim_one().await;
        house.die(&a).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Dead);
        assert!(house.claim().await.is_empty());
        let tasks = house.store().tasks_of(event).await.unwrap();
        assert_eq!(tasks[1].status, TaskStatus::Queued);
        assert_eq!(tasks[0].reason.as_deref(), Some("unretryable"));
        assert_eq!(tasks[0].error.as_deref(), Some("422 no contact 17"));
    }

    async fn the_response_of_a_step_is_there_for_the_next(house: House) {
        let event = house.commit_tasks(vec![placed("a"), placed("b")]).await;
        for (text, status) in [(r#"{"contact":"c_17"}"#, 200), ("not JSON", 202)] {
            let now = house.clock.now();
            house.store().settle(Settlement {
                task: house.leased().unwrap().task,
                about: None,
                status: AttemptStatus::Ok,
                transition: Transition::Complete,
                started_at: now,
                ended_at: now,
                http_status: Some(status),
                error: None,
                response: Some(text.to_owned()),
            });
        }
        house.store().flush().await.unwrap();
        let steps = house.store().responses(event, "orders").await.unwrap();
        assert_eq!(steps["a"]["response"]["contact"], "c_17");
        assert_eq!(steps["b"]["response"], "not JSON");
        assert_eq!(steps["b"]["status"], 202);
    }

    async fn a_task_that_cannot_be_asked_for_is_committed_dead(house: House) {
        let dead = Some((DeadReason::Expression, "when: no field `x`".to_owned()));
        let task = NewTask { dead, ..placed("a") };
        let event = house.commit_tasks(vec![task, step("b", &["a"])]).await;
        assert_eq!(house.event_status(event).await, TaskStatus::Dead);
        assert!(house.leased().is_none() && house.claim().await.is_empty());
        let tasks = house.store().tasks_of(event).await.unwrap();
        assert_eq!((tasks[0].attempt, tasks[0].reason.as_deref()), (0, Some("expression")));
    }
}
