//! The history in a store: usage and the audit trail.

use std::sync::Arc;

use sentor_store::MemoryStore;
use sentor_store::audit::{AuditLog, RefusedCall};
use sentor_store::clock::Clock;
use sentor_store::keys::{KeyId, NewKey};
use sentor_store::metering::{DayUsage, Meter, Plans, Usage, UsageBatch, UsageQuery, UsageStore as _};
use tempfile::TempDir;

use super::{add, now, open};

#[test]
fn usage_past_its_retention_is_deleted_and_the_month_is_kept() {
    let store = Arc::new(MemoryStore::default());
    let day = |text: &str| text.parse().expect("a valid day");
    let usage = Usage { requests: 1, ..Usage::default() };
    let days = ["2025-01-01", "2025-12-31", "2026-02-27", "2026-03-01"];
    let days = days.map(|on| DayUsage { account: KeyId::new("kone"), day: day(on), usage });
    store.add_usage(&UsageBatch { days: days.to_vec(), ..UsageBatch::default() }).expect("it can be added");
    let kept = || {
        let all = UsageQuery { from: day("0001-01-01"), to: day("9999-12-31"), account: None };
        store.usage(&all).expect("it can be read").len()
    };
    let start = || {
        Meter::start(Arc::clone(&store) as _, Plans::default(), Clock::from_fn(now)).expect("it can be read")
    };
    drop(start());
    assert_eq!(kept(), 3, "400 days, unless told otherwise");
    let meter = start();
    meter.set_usage_retention(1);
    drop(meter);
    assert_eq!(kept(), 1, "the month is kept");
}

#[test]
fn every_change_is_in_the_audit_file_once_whoever_made_it() {
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(open(&folder));
    let clock = Clock::from_fn(now);
    let read = || std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("the file is there");
    add(store.as_ref(), NewKey::named("before the start"));
    let log = AuditLog::start(Arc::clone(&store) as _, folder.path(), clock.clone()).expect("a log");
    let elsewhere = open(&folder);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (elsewhere, folder, log) = (&elsewhere, &folder, &log);
            scope.spawn(move || {
                for _ in 0..5 {
                    add(elsewhere, NewKey::named(format!("writer {number}")));
                    log.changed();
                    sentor_store::audit::export(elsewhere, folder.path()).expect("the file can be written");
                }
            });
        }
    });
    let admin = KeyId::new("kadmin");
    let call = RefusedCall {
        caller: Some(&admin),
        request_id: "r1",
        method: "GET",
        route: "/api/admin/keys",
        id: None,
        code: "insufficient_scope",
    };
    for _ in 0..1000 {
        log.refused(call);
        log.refused(RefusedCall { caller: None, code: "missing_key", ..call });
    }
    log.flush();
    log.close();
    let lines: Vec<serde_json::Value> =
        read().lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let sequences: Vec<u64> = lines.iter().filter_map(|line| line["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..=21).collect::<Vec<u64>>());
    let refused = lines.iter().filter(|line| line["event"] == "admin_refused").count();
    assert_eq!(refused, 30, "of one key in a minute");
    let counted = lines.last().expect("there are lines");
    assert_eq!(counted["event"], "admin_refusals_counted");
    assert_eq!((&counted["without_key"], &counted["with_key"]), (&1000.into(), &970.into()));
    let again = AuditLog::start(store as _, folder.path(), clock).expect("a log");
    again.flush();
    again.close();
    assert_eq!(read().lines().count(), lines.len(), "a restart writes nothing twice");
}
