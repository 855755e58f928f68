//! What a commit writes, and what it finds to be known.

use super::*;

/// What became of each event: whether it was known.
fn known(receipt: &Receipt) -> Vec<bool> {
    receipt.events.iter().map(|(_, known)| *known).collect()
}

fn signed(event_type: &str, external_id: &str, digest: u8) -> NewEvent {
    let mut new = event(event_type, external_id, "{}");
    new.event.signed_digest = Some([digest; 32]);
    new
}

fn derived(bytes: &str) -> NewEvent {
    let mut new = event("order.paid", bytes, "{}");
    new.event.id_is_derived = true;
    new
}

on_each_database! {
    async fn a_request_is_kept_with_its_events_tasks_and_timeline(house: House) {
        let tasks = vec![placed("first"), step("second", &["first"]), step("third", &[])];
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
        let new = NewEvent { tasks, ..event("order.paid", "o-1", r#"{"n":1e400}"#) };
        let receipt = house.commit(vec![new]).await;

        let (id, is_known) = receipt.events[0];
        assert!(!is_known && !receipt.is_dead);
        let row = house.store().event(id).await.unwrap().unwrap();
        assert_eq!(row.event.payload.json(), r#"{"n":1e400}"#);
        assert_eq!(row.status, TaskStatus::Running);
        assert_eq!(house.words(id).await, [
            "received", "verified", "normalized", "committed", "running", "queued", "queued",
        ]);
        let tasks = house.store().tasks_of(id).await.unwrap();
        assert_eq!(tasks.iter().map(|t| t.id).collect::<Vec<_>>(), ids);
        let kept = house.store().request(receipt.request).await.unwrap().unwrap();
        assert_eq!((kept.status.as_str(), kept.events), ("accepted", 1));
        let body = house.store().body(receipt.request).await.unwrap().unwrap();
        assert_eq!(&body[..], br#"{"n":1e400}"#);
    }

    async fn a_known_id_is_a_duplicate_and_other_bytes_are_noted(house: House) {
        let first = house.commit(vec![event("order.paid", "o-1", r#"{"n":1}"#)]).await;
        let same = house.commit(vec![event("order.paid", "o-1", r#"{"n":1}"#)]).await;
        let other = house.commit(vec![event("order.paid", "o-1", r#"{"n":2}"#)]).await;

        let id = first.events[0].0;
        assert_eq!(same.events, [(id, true)]);
        assert_eq!(other.events, [(id, true)]);
        let row = house.store().event(id).await.unwrap().unwrap();
        assert_eq!(row.duplicates, 2);
        assert_eq!(row.event.payload.json(), r#"{"n":1}"#, "the first wins");
        let differs: Vec<bool> = house.timeline(id).await.iter()
            .filter(|e| e.what == What::Duplicate)
            .map(|e| e.detail["payload_differs"].as_bool().unwrap())
            .collect();
        assert_eq!(differs, [false, true]);
        assert_eq!(house.count("duplicates").await, 2);
        let kept = house.store().request(same.request).await.unwrap().unwrap();
        assert_eq!(kept.status, "duplicate");
    }

    async fn a_duplicate_drops_its_tasks(house: House) {
        let with_task = |id: &str| {
            vec![NewEvent { tasks: vec![placed("call")], ..event("order.paid", id, "{}") }]
        };
        house.commit(with_task("o-1")).await;
        assert!(house.leased().is_some());
        house.commit(with_task("o-1")).await;
        assert!(house.leased().is_none());
        assert_eq!(house.rows("select count(*) from task"), ["1"]);
    }

    async fn the_same_signed_bytes_under_another_id_are_the_same_event(house: House) {
        let first = house.commit(vec![signed("order.paid", "d-1", 7)]).await;
        let captured = house.commit(vec![signed("order.paid", "d-2", 7)]).await;
        let again = house.commit(vec![signed("order.paid", "d-2", 7)]).await;
        let elsewhere = house.commit(vec![signed("order.sent", "d-3", 7)]).await;
        let other = house.commit(vec![signed("order.paid", "d-4", 8)]).await;

        let id = first.events[0].0;
        assert_eq!(captured.events, [(id, true)]);
        assert_eq!(again.events, [(id, true)], "the other id is its own from now on");
        assert_eq!(known(&elsewhere), [false], "one body may stand under several types");
        assert_eq!(known(&other), [false]);
        let entries = house.timeline(id).await;
        let duplicate = entries.iter().find(|e| e.what == What::Duplicate).unwrap();
        assert_eq!(duplicate.detail["same_bytes"], true);
    }

    async fn a_derived_id_is_known_within_its_window(house: House) {
        let first = house.commit(vec![derived("sha256:1")]).await;
        house.wait(SignedDuration::from_hours(24));
        let within = house.commit(vec![derived("sha256:1")]).await;
        assert_eq!(within.events, [(first.events[0].0, true)]);
        house.wait(SECOND);
        let behind = house.commit(vec![derived("sha256:1")]).await;
        assert_eq!(known(&behind), [false], "equal bytes, days later, are something new");
        let again = house.commit(vec![derived("sha256:1")]).await;
        assert_eq!(again.events, [(behind.events[0].0, true)]);
    }

    async fn an_own_id_is_known_for_ever(house: House) {
        house.commit(vec![event("order.paid", "o-1", "{}")]).await;
        house.wait(SignedDuration::from_hours(24 * 365));
        assert_eq!(known(&house.commit(vec![event("order.paid", "o-1", "{}")]).await), [true]);
    }

    async fn no_two_keys_meet(house: House) {
        let long = "x".repeat(1024);
        let keys = [
            ("a:b", "c"), ("a", "b:c"), ("a:b:", "c"), ("a", ":b:c"), ("", "a:b:c"), ("a:b:c", ""),
            ("é", "e"), ("e\u{301}", "e"), ("E", "e"), ("e", "e "), ("e", " e"), ("e", "E"),
            ("order", "💶"), ("order", "\u{202e}"), ("order", "o''--"), ("order", &long),
        ];
        for (event_type, id) in keys {
            let receipt = house.commit(vec![event(event_type, id, "{}")]).await;
            assert_eq!(known(&receipt), [false], "{event_type:?} {id:?}");
        }
        for (event_type, id) in keys {
            let receipt = house.commit(vec![event(event_type, id, "{}")]).await;
            assert_eq!(known(&receipt), [true], "{event_type:?} {id:?}");
        }
    }

    async fn a_batch_that_is_partly_known_commits_the_rest(house: House) {
        let one = |id: &str| event("order.paid", id, "{}");
        let first = house.commit(vec![one("1"), one("2")]).await;
        let second = house.commit(vec![one("2"), one("3"), one("1"), one("3")]).await;
        assert_eq!(known(&second), [true, false, true, true]);
        assert_eq!(second.events[0].0, first.events[1].0);
        assert_eq!(second.events[1].0, second.events[3].0);
        let all = house.store().events_of(second.request).await.unwrap();
        assert_eq!(all.len(), 1);
    }

    async fn twins_become_one_event(house: House) {
        let commits = (0..64).map(|_| {
            let (store, clock) = (house.store(), house.clock.clone());
            tokio::spawn(async move {
                let tasks = vec![step("call", &[])];
                let new = NewEvent { tasks, ..event("order.paid", "o-1", "{}") };
                store.commit(request(&clock, vec![new])).await.unwrap()
            })
        });
        let mut new = 0;
        for commit in commits.collect::<Vec<_>>() {
            new += usize::from(!commit.await.unwrap().events[0].1);
        }
        assert_eq!(new, 1);
        assert_eq!(house.rows("select count(*) from task"), ["1"]);
        assert_eq!(house.count("duplicates").await, 63);
    }

    async fn what_fails_leaves_its_company_alone(house: House) {
        let store = house.store();
        let fails = || store.write(|tx| {
            tx.run("insert into meta (name, value) values ('half', 'done')", [])?;
            tx.count("events", "", 100);
            Err::<(), _>(StoreError::NotFound { id: "it".to_owned() })
        });
        let (a, b, c, d, e) = tokio::join!(
            store.commit(request(&house.clock, vec![event("order.paid", "1", "{}")])),
            fails(),
            store.commit(request(&house.clock, vec![event("order.paid", "2", "{}")])),
            fails(),
            store.commit(request(&house.clock, vec![event("order.paid", "1", "{}")])),
        );
        assert_eq!(known(&a.unwrap()), [false]);
        assert_eq!(known(&c.unwrap()), [false]);
        assert_eq!(known(&e.unwrap()), [true]);
        for failed in [b, d] {
            assert!(matches!(failed, Err(StoreError::NotFound { .. })), "{failed:?}");
        }
        assert_eq!(house.rows("select count(*) from meta where name = 'half'"), ["0"]);
    }

    async fn a_commit_goes_through_though_its_sender_hangs_up(house: House) {
        let store = house.store();
        let commit = store.commit(request(&house.clock, vec![event("order.paid", "1", "{}")]));
        // Polled once, so that it is handed over, and dropped.
        tokio::select! {
            biased;
            _ = commit => {}
            () = std::future::ready(()) => {}
        }
        house.store().flush().await.unwrap();
        assert_eq!(house.rows("select count(*) from event"), ["1"]);
    }

    async fn an_unreadable_request_is_a_dead_letter_until_it_is_read(house: House) {
        let mut new = request(&house.clock, vec![event("order.paid", "1", "{}")]);
        new.unreadable = Some("event 2: no `id`".to_owned());
        let receipt = house.store().commit(new).await.unwrap();
        assert!(receipt.is_dead);
        assert_eq!(house.count("dead_requests").await, 1);

        let mut again = request(&house.clock, vec![
            event("order.paid", "1", "{}"), event("order.paid", "2", "{}"),
        ]);
        again.request.id = receipt.request;
        let reread = Reread { who: "ana".to_owned(), reason: None, replay_id: None };
        for new in &mut again.events {
            new.event.request_id = receipt.request;
        }
        again.reread = Some(reread.clone());
        let read = house.store().commit(again).await.unwrap();
        assert_eq!(known(&read), [true, false]);
        let kept = house.store().request(receipt.request).await.unwrap().unwrap();
        assert_eq!((kept.status.as_str(), kept.events), ("accepted", 2));
        assert_eq!(house.count("dead_requests").await, 0);

        let mut third = request(&house.clock, Vec::new());
        third.request.id = receipt.request;
        third.reread = Some(reread);
        let refused = house.store().commit(third).await;
        assert!(matches!(refused, Err(StoreError::Changed { .. })), "{refused:?}");
    }

    async fn rejected_requests_are_all_counted_and_the_last_are_kept(house: House) {
        for n in 0..1100 {
            reject(house, &format!("{n}"));
            if n % 100 == 99 {
                is_idle(house, n + 1).await;
            }
        }
        assert_eq!(house.count("rejected").await, 1100);
        assert_eq!(house.count("ring").await, 1000);
        let bodies = house.rows("select cast(bytes as text) from body order by id");
        assert_eq!((bodies.len(), bodies[0].as_str()), (1000, "100"));
        let told = house.rows("select count(*) from timeline where what = 'rejected'");
        assert_eq!(told, ["1000"], "what is forgotten is forgotten whole");
    }

    async fn the_ring_is_bounded_in_bytes_too(house: House) {
        let body = "x".repeat(8 << 20);
        for n in 0..10 {
            reject(house, &body);
            is_idle(house, n + 1).await;
        }
        assert_eq!(house.count("ring").await, 8);
        assert_eq!(house.count("rejected").await, 10);
    }
}

fn reject(house: &House, body: &str) {
    let body = Bytes::from(body.to_owned());
    house.store().reject(NewRejected {
        request: inbound(RequestId::next(), &house.clock, body),
        source: "shop".into(),
        provider: "acme".into(),
        headers: Vec::new(),
        kept_target: "/in/shop".to_owned(),
        reason: "signature_wrong".to_owned(),
        detail: "no signature fits".to_owned(),
    });
}

/// Waits until the writer has kept that many rejected requests in all.
async fn is_idle(house: &House, rejected: usize) {
    let bodies = "select coalesce(max(id), 0) from body";
    for _ in 0..100_000 {
        if house.rows(bodies) == [rejected.to_string()] {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{:?} were kept, not {rejected}", house.rows(bodies));
}
