//! Queues that stand still, who works, and the numbers of the present.

use super::*;

on_each_database! {
    async fn a_paused_queue_is_not_claimed_until_its_time_or_somebody_says_so(house: House) {
        let until = house.clock.now() + SECOND * 60;
        house.store().pause_queue(DESTINATION, Some(until), "ana", "deploy").await.unwrap();
        house.commit_tasks(vec![step("a", &[])]).await;
        assert!(house.claim().await.is_empty());
        house.reopen().await;
        let store = house.store();
        assert!(house.claim().await.is_empty(), "a pause outlives the process");
        let pause = store.queue_pauses().await.unwrap().remove(0);
        assert_eq!((pause.who.as_str(), pause.reason.as_str(), pause.until), ("ana", "deploy", Some(until)));

        // Its end is in force before anybody has written it down.
        house.wait(SECOND * 60);
        assert!(store.queue_pauses().await.unwrap().is_empty());
        assert!(store.has_ended_pauses().await.unwrap());
        house.claim_one().await;
        assert_eq!(store.end_pauses().await.unwrap(), [DESTINATION]);
        assert!(store.end_pauses().await.unwrap().is_empty());

        store.pause_queue(DESTINATION, None, "ana", "moved").await.unwrap();
        house.wait(SECOND * 1_000_000);
        assert_eq!(store.queue_pauses().await.unwrap().len(), 1);
        assert!(store.resume_queue(DESTINATION, "bo", None).await.unwrap());
        assert!(!store.resume_queue(DESTINATION, "bo", None).await.unwrap());
    }

    async fn a_lease_that_ended_long_ago_is_told_by_its_worker(house: House) {
        let store = house.store();
        store.worker_began("0.1.0").await.unwrap();
        house.commit_tasks(vec![step("a", &[])]).await;
        let task = house.claim_one().await;
        house.wait(SECOND * 45);
        let worker = store.workers().await.unwrap().remove(0);
        assert_eq!((worker.leases, worker.ended_leases), (1, 0), "it may still be settled");
        house.wait(SECOND * 20);
        let worker = store.workers().await.unwrap().remove(0);
        assert_eq!((worker.leases, worker.ended_leases), (1, 1));
        house.succeed(&task).await;
        store.beat();
        store.flush().await.unwrap();
        let worker = store.workers().await.unwrap().remove(0);
        assert_eq!((worker.leases, worker.beat), (0, house.clock.now()));
        store.worker_ended().await.unwrap();
        assert!(store.workers().await.unwrap().is_empty());
    }

    async fn what_came_and_went_is_counted_in_its_slot_and_forgotten_after_an_hour(house: House) {
        house.commit_tasks(vec![step("a", &[])]).await;
        let task = house.claim_one().await;
        house.wait(SECOND * 3);
        house.succeed(&task).await;
        let flow = house.store().flow(60, None).await.unwrap();
        for by in [By::Workflow, By::Dest] {
            assert_eq!((flow.count(by, None, "in"), flow.count(by, None, "ok")), (1, 1), "{by}");
        }
        assert_eq!(flow.count(By::Source, None, "received"), 1);
        let took = flow.latency(By::Dest, Some(DESTINATION), "done");
        assert_eq!(took.count, 1);
        assert!((2700.0..3300.0).contains(&took.p50.unwrap()), "{took:?}");
        assert_eq!(flow.series(By::Source, None, "received").iter().sum::<i64>(), 1);
        assert_eq!(house.store().flow(60, Some(By::Dest)).await.unwrap().names(By::Source).len(), 0);

        house.wait(SECOND * 4000);
        house.commit_tasks(vec![]).await;
        // Written down when the writer is idle for a moment, within a second, or when asked for.
        house.store().flush().await.unwrap();
        let flow = house.store().flow(FLOW_SECONDS, None).await.unwrap();
        assert_eq!((flow.count(By::Source, None, "received"), flow.count(By::Dest, None, "ok")), (1, 0));
    }
}

/// A backup of a time before there were pauses is read as it is.
#[tokio::test]
async fn a_store_of_before_has_no_pauses_no_workers_and_no_numbers() {
    let house = House::sqlite().await;
    house.commit_tasks(vec![step("a", &[])]).await;
    house.store().close().await.unwrap();
    let path = sqlite_path(&house.url).unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("drop table queue_pause; drop table worker; drop table flow").unwrap();
    drop(connection);
    let store = Store::open_read_only(&house.url).await.unwrap();
    assert!(store.queue_pauses().await.unwrap().is_empty());
    assert!(store.workers().await.unwrap().is_empty());
    assert!(store.flow(60, None).await.unwrap().names(By::Source).is_empty());
}
