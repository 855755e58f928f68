//! What is drawn over time, and lists from either end.

use super::*;
use crate::view::{self, Page, charts};

fn retry(house: &House, after: SignedDuration) -> Transition {
    Transition::RetryAt(house.clock.now() + after)
}

/// The ids of a list, page by page from one end.
macro_rules! walk {
    ($store:expr, $list:path, $begin:expr) => {{
        let mut cursor: Option<String> = $begin;
        let mut pages: Vec<Vec<String>> = Vec::new();
        loop {
            let page = Page { limit: 3, cursor, ..Page::default() };
            let list = $list(&$store, &page).await.unwrap();
            pages.push(list.items.iter().map(|item| item.id.clone()).collect());
            cursor = list.next_cursor;
            assert!(pages.len() < 10, "it ends");
            if cursor.is_none() {
                break pages;
            }
        }
    }};
}

/// Both ways come by the same, each page newest first.
macro_rules! same_from_both_ends {
    ($store:expr, $list:path, $count:expr) => {{
        let forward = walk!($store, $list, None).concat();
        let mut back = walk!($store, $list, Some("end".to_owned()));
        back.reverse();
        assert_eq!(forward.len(), $count);
        assert_eq!(back.concat(), forward);
    }};
}

on_each_database! {
    async fn a_list_is_the_same_from_either_end(house: House) {
        for n in 0..7 {
            house.commit_tasks(vec![placed("a")]).await;
            let task = house.leased().unwrap().task;
            house.die(&task).await;
            // Some die within one microsecond of each other.
            if n % 2 == 0 {
                house.wait(SECOND);
            }
        }
        let store = house.store();
        same_from_both_ends!(store, view::dead_letters, 7);
        same_from_both_ends!(store, view::events, 7);
        same_from_both_ends!(store, view::requests, 7);
    }

    async fn the_end_of_nothing_is_nothing(house: House) {
        let page = Page { limit: 3, cursor: Some("end".to_owned()), ..Page::default() };
        let list = view::events(&house.store(), &page).await.unwrap();
        assert!(list.items.is_empty() && list.next_cursor.is_none());
        let page = Page { cursor: Some("-nonsense".to_owned()), ..page };
        assert!(view::events(&house.store(), &page).await.is_err());
    }

    async fn minutes_long_past_are_forgotten(house: House) {
        let mut most = 0;
        for hour in 0..4 {
            for _ in 0..3 {
                house.commit_tasks(vec![placed("a")]).await;
                let task = house.leased().unwrap().task;
                house.die(&task).await;
                house.wait(SECOND * 61);
            }
            let rows = house.rows("select name from counter where name like 'minute.%'").len();
            let old = house.rows("select name from flow where at < (select max(at) from flow) - 366");
            assert!(old.is_empty(), "{old:?}");
            if hour == 0 {
                most = rows;
            }
            assert!(0 < rows && rows <= most, "{rows} in hour {hour}");
            house.wait(SECOND * 7200);
        }
    }

    async fn attempts_are_counted_by_destination_and_by_number(house: House) {
        house.commit_tasks(vec![placed("a")]).await;
        let task = house.leased().unwrap().task;
        house.settle(&task, AttemptStatus::Failed, retry(house, SECOND)).await;
        house.wait(SECOND * 120);
        let again = house.claim_one().await;
        house.succeed(&again).await;
        let chart = charts::of_destination(&house.store(), DESTINATION, 900).await.unwrap();
        assert_eq!((chart.attempts, chart.is_whole), (2, true));
        let sum = |of: fn(&crate::api::Slice) -> u64| chart.slices.iter().map(of).sum::<u64>();
        assert_eq!((sum(|s| s.ok), sum(|s| s.failed)), (1, 1));
        assert_eq!((sum(|s| s.by_attempt[0]), sum(|s| s.by_attempt[1])), (1, 1));
        let late = charts::of_destination(&house.store(), DESTINATION, 60).await.unwrap();
        assert_eq!(late.attempts, 1, "the first was before");
        let other = charts::of_destination(&house.store(), "mail.example.com", 900).await.unwrap();
        assert_eq!((other.attempts, other.latency.p50_ms), (0, None));
    }

    async fn minutes_tell_what_grew_and_how_many_are_dead_at_their_end(house: House) {
        let died = house.commit_tasks(vec![placed("a")]).await;
        let task = house.leased().unwrap().task;
        house.die(&task).await;
        house.wait(SECOND * 120);
        house.commit_tasks(vec![placed("a")]).await;
        let task = house.leased().unwrap().task;
        house.succeed(&task).await;
        let list = charts::minutes(&house.store()).await.unwrap();
        let seen: Vec<_> =
            list.items.iter().map(|m| (m.events, m.ok, m.attempts, m.dead)).collect();
        assert_eq!(seen, [(1, 0, 1, 1), (0, 0, 0, 1), (1, 1, 1, 1)]);
        assert_eq!(house.event_status(died).await, TaskStatus::Dead);
    }

    async fn a_group_tells_when_its_letters_died(house: House) {
        for _ in 0..3 {
            house.commit_tasks(vec![placed("a")]).await;
            let task = house.leased().unwrap().task;
            house.die(&task).await;
            house.wait(SECOND * 400);
        }
        let page = Page { limit: 10, ..Page::default() };
        let groups = view::dead_letter_groups(&house.store(), &page, "error").await.unwrap();
        // The first died twenty minutes ago, which is before the fifteen that are told of.
        assert_eq!(groups.items[0].count, 3);
        assert_eq!(groups.items[0].recent, [0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
