//! The key ring: authentication, and how it follows a store that others change, break or exchange.

use std::sync::Arc;
use std::time::Duration;

use sentor_store::keys::{AuthError, KeyRing, KeyStore, NewKey, Scope};
use sentor_store::{FailureKind, MemoryStore, StoreError};
use tempfile::TempDir;

use super::{add, add_to, by_hand, later, now, open, revoke, wait_for};

#[test]
fn a_ring_sees_changes_of_other_processes_within_a_second() {
    let folder = TempDir::new().expect("a folder");
    let ring = KeyRing::follow(Arc::new(open(&folder)), None).expect("the store can be read");
    let elsewhere = open(&folder);
    let (key, record) = add(&elsewhere, NewKey::named("new"));
    assert_eq!(wait_for(|| ring.authenticate(&key, now()).is_ok()), Some(()));
    revoke(&elsewhere, &record.id, now()).expect("the key is there");
    let refused = || ring.authenticate(&key, now()).err() == Some(AuthError::Revoked { at: now() });
    assert_eq!(wait_for(refused), Some(()));
}

#[test]
fn a_ring_notices_a_row_deleted_by_hand() {
    let folder = TempDir::new().expect("a folder");
    let store = open(&folder);
    let (gone, record) = add(&store, NewKey::named("gone"));
    let (kept, _) = add(&store, NewKey::named("kept"));
    let by_hand = rusqlite::Connection::open(store.path()).expect("it is a database");
    let ring = KeyRing::follow(Arc::new(store), None).expect("the store can be read");
    assert!(ring.authenticate(&gone, now()).is_ok());
    by_hand.execute("DELETE FROM keys WHERE id = ?1", [record.id.as_str()]).expect("it is there");
    ring.refresh().expect("the store can be read");
    assert_eq!(ring.authenticate(&gone, now()).err(), Some(AuthError::Unknown));
    assert!(ring.authenticate(&kept, now()).is_ok());
}

#[test]
fn a_ring_reports_why_a_key_is_rejected() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (key, record) =
        add_to(store.as_ref(), NewKey { expires_at: Some(later(1)), ..NewKey::named("short") });
    let static_key = NewKey::named("static").generate(now(), &mut rand::rng()).0;
    let unknown = NewKey::named("unknown").generate(now(), &mut rand::rng()).0;
    let ring = KeyRing::follow(Arc::clone(&store), Some(&static_key)).expect("memory can be read");
    assert_eq!(ring.authenticate(&key, now()).map(|found| found.id.clone()), Ok(record.id.clone()));
    assert_eq!(ring.authenticate(&key, later(1)).err(), Some(AuthError::Expired { at: later(1) }));
    assert_eq!(ring.authenticate(&unknown, now()).err(), Some(AuthError::Unknown));
    let found = ring.authenticate(&static_key, now()).expect("it is configured");
    assert!(found.scopes.contains(Scope::Predict) && !found.scopes.contains(Scope::Admin));
    ring.close();
    let records = store.records().expect("memory can be read");
    assert_eq!(records[0].last_used_at, Some(now()), "uses are written by the end");
}

#[test]
fn the_static_key_can_be_replaced() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (kept, _) = add_to(store.as_ref(), NewKey::named("kept"));
    let [first, second] = [1, 2].map(|_| NewKey::named("static").generate(now(), &mut rand::rng()).0);
    let ring = KeyRing::follow(Arc::clone(&store), Some(&first)).expect("memory can be read");
    let accepts = |key| ring.authenticate(key, now()).is_ok();
    assert!(accepts(&first) && !accepts(&second));
    let replace = |key| ring.replace_static_key(key).expect("memory can be read");
    assert!(replace(Some(&second)));
    assert!(!accepts(&first) && accepts(&second) && accepts(&kept));
    assert!(!replace(Some(&second)), "it is the same");
    ring.refresh().expect("memory can be read");
    assert!(accepts(&second), "it outlives a refresh");
    assert!(replace(None));
    assert!(!accepts(&second) && accepts(&kept));
}

#[test]
fn the_store_has_precedence_over_a_configured_key() {
    let store: Arc<dyn KeyStore> = Arc::new(MemoryStore::default());
    let (key, record) = add_to(store.as_ref(), NewKey::named("both"));
    revoke(store.as_ref(), &record.id, now()).expect("it is there");
    let ring = KeyRing::follow(store, Some(&key)).expect("memory can be read");
    assert_eq!(ring.authenticate(&key, now()).err(), Some(AuthError::Revoked { at: now() }));
}

#[test]
fn an_unreadable_key_counts_as_revoked_and_hides_no_later_revocation() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let (good, good_record) = add(store.as_ref(), NewKey::named("good"));
    let (bad, bad_record) = add(store.as_ref(), NewKey::named("bad"));
    let ring = KeyRing::follow(Arc::clone(&store) as _, None).expect("the store can be read");
    assert!(ring.authenticate(&bad, now()).is_ok());
    let set = |column: &str, value: &str| {
        let sql = format!("UPDATE keys SET {column} = {value} WHERE id = ?1");
        by_hand(&store).execute(&sql, [bad_record.id.as_str()]).expect("it can be written");
        ring.refresh().expect("one bad row is no failure");
    };
    for (column, wrong, right) in [
        ("scopes", "'predict root'", "'predict'"),
        ("digest", "x'00'", "''"),
        ("expires_at", "9223372036854775807", "NULL"),
    ] {
        let digest = bad_record.digest;
        set(column, wrong);
        assert_eq!(ring.authenticate(&bad, now()).err(), Some(AuthError::Unreadable), "{column}");
        assert_eq!(ring.unreadable_keys(), 1, "{column}");
        let fresh = KeyRing::follow(Arc::clone(&store) as _, None).expect("a start is no different");
        assert!(fresh.authenticate(&bad, now()).is_err(), "{column}");
        assert_eq!(fresh.unreadable_keys(), 1, "{column}");
        let page = store.page(None, 10).expect("a listing is no different");
        assert_eq!((page.records.len(), page.unreadable.len()), (1, 1), "{column}");
        assert_eq!(page.unreadable[0].id, bad_record.id);
        if column == "digest" {
            let sql = "UPDATE keys SET digest = ?2 WHERE id = ?1";
            by_hand(&store)
                .execute(sql, (bad_record.id.as_str(), digest.bytes()))
                .expect("it can be written");
            ring.refresh().expect("the store can be read");
        } else {
            set(column, right);
        }
        assert!(ring.authenticate(&bad, now()).is_ok(), "{column} is mended");
        assert_eq!(ring.unreadable_keys(), 0);
    }
    set("scopes", "'root'");
    let error = revoke(store.as_ref(), &bad_record.id, now()).expect_err("it cannot be read");
    assert!(matches!(error, StoreError::Unreadable { id, .. } if id == bad_record.id));
    revoke(store.as_ref(), &good_record.id, now()).expect("it is there");
    ring.refresh().expect("the store can be read");
    assert_eq!(ring.authenticate(&good, now()).err(), Some(AuthError::Revoked { at: now() }));
}

#[cfg(unix)]
#[test]
fn a_removed_or_exchanged_store_is_noticed_and_its_keys_are_rejected() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let (key, record) = add(store.as_ref(), NewKey::named("key"));
    let static_key = NewKey::named("static").generate(now(), &mut rand::rng()).0;
    let ring = KeyRing::follow(Arc::clone(&store) as _, Some(&static_key)).expect("the store can be read");
    let check = |is_exchanged: bool| {
        let outcome = ring.refresh();
        let kind = outcome.as_ref().err().and_then(StoreError::failure_kind);
        assert_eq!(kind, is_exchanged.then_some(FailureKind::Exchanged), "{outcome:?}");
        let refused = ring.authenticate(&key, now()).err();
        assert_eq!(refused, is_exchanged.then_some(AuthError::StoreExchanged));
        assert!(ring.authenticate(&static_key, now()).is_ok(), "the configuration is still known");
    };
    check(false);
    let (path, aside) = (store.path().to_owned(), folder.path().join("aside.db"));
    std::fs::rename(&path, &aside).expect("it is there");
    check(true);
    let error = revoke(store.as_ref(), &record.id, now()).expect_err("no change goes into a lost file");
    assert_eq!(error.failure_kind(), Some(FailureKind::Exchanged));
    assert!(store.check_writable().is_err());
    std::fs::rename(&aside, &path).expect("it is there");
    check(false);
    // Another store's rows in the same file: it is noticed by its identifier.
    let id: String = by_hand(&store)
        .query_row("SELECT store_id FROM keys_revision", [], |row| row.get(0))
        .expect("it is there");
    by_hand(&store).execute("UPDATE keys_revision SET store_id = 'other'", []).expect("it can be written");
    check(true);
    by_hand(&store).execute("UPDATE keys_revision SET store_id = ?1", [&id]).expect("it can be written");
    check(false);
    // An earlier copy of the same store: revocations would be undone.
    by_hand(&store).execute("UPDATE keys_revision SET revision = 0", []).expect("it can be written");
    check(true);
    // Another program creates a new file at the same path, whose changes would be missed.
    std::fs::remove_file(&path).expect("it is there");
    std::fs::write(&path, "").expect("a file can be made");
    check(true);
}

#[test]
fn a_key_made_by_another_process_works_at_once() {
    let folder = TempDir::new().expect("a folder");
    let ring = KeyRing::follow(Arc::new(open(&folder)), None).expect("the store can be read");
    let elsewhere = open(&folder);
    for number in 0..50 {
        let (key, record) = add(&elsewhere, NewKey::named(format!("key {number}")));
        let found = ring.authenticate(&key, now()).or_else(|_| ring.look_up(&key, now()));
        assert_eq!(found.map(|found| found.id.clone()), Ok(record.id), "key {number}");
    }
    let unknown = NewKey::named("unknown").generate(now(), &mut rand::rng()).0;
    for _ in 0..3 {
        assert_eq!(ring.look_up(&unknown, now()).err(), Some(AuthError::Unknown));
    }
}

#[test]
fn a_ring_reports_for_how_long_it_is_out_of_date() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let ring = KeyRing::follow(Arc::clone(&store) as _, None).expect("the store can be read");
    std::fs::rename(store.path(), folder.path().join("aside.db")).expect("it is there");
    assert_eq!(wait_for(|| ring.behind_for() > Duration::from_secs(1)), Some(()));
    assert!(!ring.is_following());
    assert!(ring.heartbeat().age() < Duration::from_secs(1), "its thread lives");
}
