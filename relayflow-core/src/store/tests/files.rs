//! Opening, closing, and what may go on at the same time.

use super::*;

on_each_database! {
    async fn a_store_belongs_to_one_process(house: House) {
        let second = open(&house.url, &house.clock).await;
        assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
        house.commit(vec![event("order.paid", "1", "{}")]).await;
        house.reopen().await;
        assert_eq!(house.rows("select count(*) from event"), ["1"]);
    }

    async fn a_reader_sees_what_is_committed_and_writes_nothing(house: House) {
        let event_id = house.commit_tasks(vec![step("a", &[])]).await;
        let reader = Store::open_read_only(&house.url).await.unwrap();
        assert!(reader.event(event_id).await.unwrap().is_some());
        let later = house.commit_tasks(vec![]).await;
        assert!(reader.event(later).await.unwrap().is_some(), "beside the process that writes");
        let refused = reader.commit(request(&house.clock, vec![event("a", "b", "{}")])).await;
        assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
        assert!(matches!(reader.claim(DESTINATION, 1).await, Err(StoreError::Closed)));
    }

    async fn what_is_not_there_is_not_made_for_a_reader(house: House) {
        let nowhere = format!("sqlite:{}", house.dir.path().join("none.db").display());
        let opened = Store::open_read_only(&nowhere).await;
        assert!(matches!(opened, Err(StoreError::File { .. })), "{opened:?}");
        assert!(!house.dir.path().join("none.db").exists());
    }

    async fn a_closed_store_says_so(house: House) {
        let store = house.store();
        store.close().await.unwrap();
        *house.store.lock().unwrap() = None;
        let commit = store.commit(request(&house.clock, vec![event("a", "b", "{}")])).await;
        assert!(matches!(commit, Err(StoreError::Closed)), "{commit:?}");
        store.close().await.unwrap_err();
    }

    async fn a_store_of_a_newer_version_is_not_touched(house: House) {
        house.store().close().await.unwrap();
        *house.store.lock().unwrap() = None;
        let connection = rusqlite::Connection::open(sqlite_path(&house.url).unwrap()).unwrap();
        connection
            .execute(
                "insert into _sqlx_migrations
                    (version, description, success, checksum, execution_time)
                 values (9999, 'from the future', 1, x'00', 0)",
                [],
            )
            .unwrap();
        drop(connection);
        let opened = open(&house.url, &house.clock).await;
        assert!(matches!(opened, Err(StoreError::Newer { version: 9999 })), "{opened:?}");
    }

    async fn what_is_no_database_is_refused(house: House) {
        let path = house.dir.path().join("other.db");
        std::fs::write(&path, "not a database at all, but long enough for a header".repeat(4))
            .unwrap();
        let url = format!("sqlite:{}", path.display());
        assert!(open(&url, &house.clock).await.is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("not a database"), "it is left as it was");
        for url in ["postgres://ana:secret@db/relayflow", "sqlite::memory:", "relayflow.db", ""] {
            let error = open(url, &house.clock).await.unwrap_err();
            assert!(matches!(error, StoreError::Url { .. }), "{url}: {error:?}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    async fn its_files_are_for_its_owner_alone(house: House) {
        use std::os::unix::fs::PermissionsExt as _;
        house.commit(vec![event("order.paid", "1", "{}")]).await;
        for entry in std::fs::read_dir(house.dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
        }
    }

    async fn the_digest_key_outlives_a_restart(house: House) {
        let key = house.store().digest_key();
        assert_ne!(key, [0; 32]);
        house.reopen().await;
        assert_eq!(house.store().digest_key(), key);
    }

    async fn a_tail_goes_on_behind_what_it_saw(house: House) {
        let store = house.store();
        let mut changed = store.timeline_changed();
        let end = store.timeline_end().await.unwrap();
        changed.mark_unchanged();
        let id = house.commit_tasks(vec![step("a", &[])]).await;
        assert!(changed.has_changed().unwrap());
        let entries = store.timeline_after(end, 100).await.unwrap();
        assert!(entries.iter().all(|e| e.event_id == Some(id) && e.seq > end));
        assert_eq!(entries.len(), 5);
        let middle = entries[2].seq;
        let rest = store.timeline_after(middle, 100).await.unwrap();
        assert_eq!(rest, entries[3..], "also from the middle of what was written as one");
    }
}
