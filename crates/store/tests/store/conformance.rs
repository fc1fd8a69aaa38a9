//! The conformance suite of all backends. A new backend adds one test that calls [`check_store`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use sentor_store::audit::Actor;
use sentor_store::clock::Clock;
use sentor_store::keys::{KeyAdmin, KeyId, KeyState, NewKey, Scope, Scopes};
use sentor_store::metering::{DayUsage, RecentRequests, Usage, UsageBatch, UsageQuery};
use sentor_store::{MemoryStore, Store, StoreError};
use tempfile::TempDir;

use super::{add_to, later, now, open, revoke, rotate};

/// Runs the suite on a new store.
pub(crate) fn check_store(store: &dyn Store) {
    check_keys(store);
    check_pages(store);
    check_rotation(store);
    check_audit(store);
    check_usage(store);
}

pub(crate) fn check_usage(store: &dyn Store) {
    let day = |text: &str| text.parse().expect("a valid day");
    let of = |account: &str, on: &str, requests| DayUsage {
        account: KeyId::new(account),
        day: day(on),
        usage: Usage { requests, documents: 2, characters: 3, tokens: 4, entities: 5 },
    };
    let recent = |hours, requests| RecentRequests { account: KeyId::new("kone"), at: later(hours), requests };
    let add = |days: &[DayUsage], recent: &[RecentRequests], from| {
        let batch = UsageBatch { days: days.to_vec(), recent: recent.to_vec(), keep_recent: from..=later(3) };
        store.add_usage(&batch).expect("usage can be added");
    };
    let all = UsageQuery { from: day("0001-01-01"), to: day("9999-12-31"), account: None };
    let found = |query: &UsageQuery| store.usage(query).expect("it can be read");
    assert_eq!(found(&all), []);

    add(
        &[of("ktwo", "2026-03-01", 1), of("kone", "2026-03-02", 10), of("kone", "2026-02-28", 1)],
        &[recent(2, 7), recent(1, 5)],
        now(),
    );
    let sorted = [of("kone", "2026-02-28", 1), of("kone", "2026-03-02", 10), of("ktwo", "2026-03-01", 1)];
    assert_eq!(found(&all), sorted, "by account, then by day");
    assert_eq!(store.recent_requests(now()).expect("it can be read"), [recent(1, 5), recent(2, 7)]);
    assert_eq!(store.recent_requests(later(2)).expect("it can be read"), [recent(2, 7)]);

    add(&[of("kone", "2026-03-02", -1)], &[], later(2));
    let one =
        UsageQuery { from: day("2026-03-02"), to: day("2026-03-02"), account: Some(KeyId::new("kone")) };
    let sum = Usage { requests: 9, documents: 4, characters: 6, tokens: 8, entities: 10 };
    assert_eq!(found(&one), [DayUsage { usage: sum, ..of("kone", "2026-03-02", 0) }], "sums add up");
    let march = UsageQuery { from: day("2026-03-01"), to: day("2026-03-31"), account: None };
    assert_eq!(found(&march).len(), 2, "both ends are included");
    assert_eq!(
        store.recent_requests(now()).expect("it can be read"),
        [recent(2, 7)],
        "the older is forgotten"
    );
    add(&[], &[recent(4, 1)], now());
    assert_eq!(
        store.recent_requests(now()).expect("it can be read"),
        [recent(2, 7)],
        "nor is the future kept"
    );

    store.forget_usage_before(day("2026-03-01")).expect("usage can be deleted");
    assert_eq!(found(&all).len(), 2, "February is past its retention");
    assert_eq!(found(&march).len(), 2);
}

fn check_keys(store: &dyn Store) {
    assert_eq!(store.records().expect("it can be read"), []);
    let scopes: Scopes = [Scope::Admin, Scope::Metrics].into_iter().collect();
    let (_, one) =
        add_to(store, NewKey { scopes, expires_at: Some(later(5)), ..NewKey::named("één 'quoted'") });
    let (_, two) = add_to(store, NewKey { plan: "starter".to_owned(), ..NewKey::named("twee") });
    assert_eq!(
        store.records().expect("it can be read"),
        [one.clone(), two.clone()],
        "all comes back, in order"
    );
    check_changes(store, 1, |store| drop(add_to(store, NewKey::named("drie"))));

    let uses = [(one.id.clone(), later(1)), (KeyId::new("kgone"), later(1))];
    check_changes(store, 0, |store| store.record_uses(&uses).expect("uses can be written"));
    check_changes(store, 0, |store| store.check_writable().expect("it can be written"));
    store.record_uses(&[(one.id.clone(), now())]).expect("uses can be written");
    let record = |id: &KeyId| store.record(id).expect("it is there");
    assert_eq!(record(&one.id).last_used_at, Some(later(1)), "an earlier use does not count");

    let mut made = None;
    check_changes(store, 2, |store| made = rotate(store, &one.id, later(1), now()).ok());
    let (_, successor) = made.expect("one is active");
    assert_eq!((&successor.name, successor.scopes), (&one.name, scopes));
    assert_eq!((&one.account, &successor.account), (&one.id, &one.id), "a successor shares the account");
    assert_eq!(successor.expires_at, one.expires_at);
    assert_eq!(record(&one.id).ends_at(), Some(later(1)), "the old one lasts for the overlap");
    assert_eq!(record(&one.id).expires_at, one.expires_at, "its own expiry is kept");
    rotate(store, &successor.id, later(100), now()).expect("the successor is active");
    assert_eq!(record(&successor.id).ends_at(), Some(later(5)), "and never longer than it would have");

    let mut revoked = None;
    check_changes(store, 1, |store| revoked = revoke(store, &two.id, later(2)).ok());
    assert_eq!(revoked.map(|record| record.state(now())), Some(KeyState::Revoked { at: later(2) }));
    check_changes(store, 0, |store| {
        let again = revoke(store, &two.id, later(3)).expect("it is still there");
        assert_eq!(again.revoked_at, Some(later(2)), "the first time stands");
    });
    let dead = rotate(store, &two.id, later(1), now());
    assert!(matches!(dead, Err(StoreError::NotActive { state: "revoked", .. })));

    let nobody = KeyId::new("knobody");
    assert_eq!(record(&one.id).id, one.id);
    assert!(matches!(store.record(&nobody), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(revoke(store, &nobody, now()), Err(StoreError::NoSuchKey(id)) if id == nobody));
    assert!(matches!(rotate(store, &nobody, now(), now()), Err(StoreError::NoSuchKey(_))));
    assert_eq!(store.records().expect("it can be read").len(), 5, "nothing was added on the way");
}

/// Checks how many records a change moves, and that the changes since then are those.
fn check_changes(store: &dyn Store, moved: usize, change: impl FnOnce(&dyn Store)) {
    let changes = |since| store.changes(since).expect("it can be read");
    let all = changes(None);
    assert!(all.is_complete);
    change(store);
    let since = changes(Some(all.revision));
    assert_eq!((since.records.len(), since.is_complete), (moved, false));
    assert_eq!(since.revision > all.revision, moved > 0);
    assert_eq!(changes(Some(since.revision)).records, []);
    assert_eq!(changes(None).records.len(), store.records().expect("it can be read").len());
}

fn check_pages(store: &dyn Store) {
    let all = store.records().expect("it can be read");
    for limit in 1..=all.len() + 1 {
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.page(after.as_ref(), limit).expect("it can be read");
            assert!(page.records.len() <= limit && page.unreadable.is_empty());
            found.extend(page.records);
            pages += 1;
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        assert_eq!((&found, pages), (&all, all.len().div_ceil(limit)), "pages of {limit}");
    }
    assert!(matches!(store.page(Some(&KeyId::new("knobody")), 1), Err(StoreError::NoSuchKey(_))));
}

/// A key has one live successor, whatever happens at once.
fn check_rotation(store: &dyn Store) {
    let (_, old) = add_to(store, NewKey { expires_at: Some(later(9)), ..NewKey::named("old") });
    let (_, lost) = rotate(store, &old.id, later(1), now()).expect("it is active");
    assert_eq!(store.record(&old.id).expect("it is there").replaced_by.as_ref(), Some(&lost.id));
    let again = rotate(store, &old.id, later(2), now());
    assert!(matches!(again, Err(StoreError::Replaced { successor, .. }) if successor == lost.id));
    // The answer with the successor was lost: it is revoked, and the old key rotated again.
    revoke(store, &lost.id, now()).expect("it is there");
    let (_, second) = rotate(store, &old.id, later(2), now()).expect("it has no live successor");
    assert_eq!(second.expires_at, Some(later(9)), "the successor does not die with the overlap");
    assert_eq!(store.record(&old.id).expect("it is there").ends_at(), Some(later(2)));
    // A successor that was itself replaced has a live one further on.
    rotate(store, &second.id, later(3), now()).expect("it is active");
    revoke(store, &second.id, now()).expect("it is there");
    assert!(matches!(rotate(store, &old.id, later(2), now()), Err(StoreError::Replaced { .. })));

    let (_, busy) = add_to(store, NewKey::named("busy"));
    let made = std::thread::scope(|scope| {
        let rotations: Vec<_> =
            (0..8).map(|_| scope.spawn(|| rotate(store, &busy.id, later(1), now()).is_ok())).collect();
        rotations.into_iter().filter_map(|rotation| rotation.join().ok()).filter(|is_ok| *is_ok).count()
    });
    assert_eq!(made, 1, "of eight rotations at once");

    // Each reading of this clock is a microsecond later, so times tell the order of transactions.
    let ticks = AtomicI64::new(0);
    let clock = Clock::from_fn({
        let ticks = Arc::new(ticks);
        move || {
            Timestamp::from_microsecond(now().as_microsecond() + ticks.fetch_add(1, Ordering::Relaxed))
                .expect("a valid time")
        }
    });
    let admin = KeyAdmin::new(store, &clock, Actor::CommandLine);
    for round in 0..20 {
        let (_, raced) = admin.create(NewKey::named("raced"), &mut rand::rng()).expect("it can be added");
        let (rotated, revoked) = std::thread::scope(|scope| {
            let rotation = scope.spawn(|| admin.rotate(&raced.id, later(1), &mut rand::rng()));
            let revocation = scope.spawn(|| admin.revoke(&raced.id).expect("it is there"));
            (rotation.join().expect("no panic"), revocation.join().expect("no panic"))
        });
        let record = store.record(&raced.id).expect("it is there");
        assert_eq!(record.revoked_at, revoked.revoked_at, "round {round}: a rotation undoes no revocation");
        match rotated {
            Ok((_, successor)) => {
                assert_eq!(record.replaced_by, Some(successor.id));
                assert!(
                    Some(successor.created_at) < revoked.revoked_at,
                    "round {round}: made before, not after"
                );
            }
            Err(error) => assert!(matches!(error, StoreError::NotActive { state: "revoked", .. })),
        }
    }
}

/// Each change has an entry, and only changes have one.
fn check_audit(store: &dyn Store) {
    let entries = |after| store.audit_entries(after, 1000).expect("it can be read");
    let last = entries(0).last().expect("there were changes").sequence;
    let (_, record) = add_to(store, NewKey::named("audited"));
    revoke(store, &record.id, now()).expect("it is there");
    revoke(store, &record.id, now()).expect("it is there");
    rotate(store, &record.id, later(1), now()).expect_err("it is revoked");
    let new = entries(last);
    let events: Vec<serde_json::Value> = new
        .iter()
        .map(|stored| serde_json::from_str(stored.entry.as_json()).expect("an entry is JSON"))
        .collect();
    assert_eq!(
        events.iter().map(|event| &event["event"]).collect::<Vec<_>>(),
        ["key_created", "key_revoked"]
    );
    assert!(events.iter().all(|event| event["key_id"] == record.id.as_str()));
    assert!(new[0].sequence > last && new[1].sequence > new[0].sequence);
    assert_eq!(store.audit_entries(last, 1).expect("it can be read"), new[..1]);
    assert_eq!(store.audit_position().expect("it can be read"), 0);
    store.set_audit_position(new[1].sequence).expect("it can be written");
    store.set_audit_position(1).expect("it can be written");
    assert_eq!(store.audit_position().expect("it can be read"), new[1].sequence, "it never goes back");
}

#[test]
fn the_memory_store_does_what_a_store_must() {
    check_store(&MemoryStore::default());
}

#[test]
fn the_sqlite_store_does_what_a_store_must() {
    let folder = TempDir::new().expect("a folder");
    check_store(&open(&folder));
}
