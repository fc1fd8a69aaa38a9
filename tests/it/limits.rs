//! Plans, limits and usage, over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Client};
use crate::support::fake::FORESEEN_BYTES;
use crate::support::{Hands, Setup, TestServer, now};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use sentor_store::clock::{Clock, Moment};
use sentor_store::keys::{KeyId, KeyRecord, KeyStore as _, NewKey, Scope};
use sentor_store::metering::{
    DayUsage, Limit, LimitError, Meter, Plan, Plans, RecentRequests, UsageBatch, UsageQuery, UsageStore,
};
use sentor_store::{MemoryStore, StoreError};
use serde_json::{Value, json};

fn plans(limit: Limit, most: u64) -> Plans {
    let mut plans = Plans::default();
    plans.set("small", Plan::UNLIMITED.with(limit, Some(most)));
    plans
}

fn server(limit: Limit, most: u64) -> TestServer {
    TestServer::start_with(Setup { plans: plans(limit, most), ..Setup::default() })
}

fn key_of_plan(plan: &str) -> NewKey {
    NewKey { plan: plan.to_owned(), ..NewKey::named("test") }
}

fn docs() -> Value {
    json!([{"doc_id": "1", "doc": "Great phone. I love it.", "entities": ["phone", "it"]}])
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).parse().unwrap_or_else(|_| panic!("{header}: {:?}", answer.header(header)))
}

/// A body with fixed values in place of those that change from run to run.
fn stable(answer: &Answer) -> Value {
    let mut body = answer.json();
    for name in ["request_id", "timestamp"] {
        body["error"][name] = json!(format!("[{name}]"));
    }
    json!({"status": answer.status, "retry-after": answer.header("retry-after"), "body": body})
}

#[test]
fn a_thousand_concurrent_requests_pass_exactly_up_to_the_limit() {
    let server = TestServer::start();
    let key = server.issue(key_of_plan("growth"));
    let (passed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    let client = server.client_with(key.expose());
                    (0..10).map(|_| client.predict("", &docs())).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().expect("no caller panics")).collect()
    });
    let mut left = BTreeSet::new();
    for answer in &answers {
        assert_eq!(number(answer, "x-ratelimit-limit"), 200);
        let (remaining, used) = (number(answer, "x-ratelimit-remaining"), number(answer, "x-ratelimit-used"));
        assert_eq!(remaining + used, 200);
        if answer.status == 200 {
            passed.fetch_add(1, Ordering::Relaxed);
            assert!(left.insert(remaining), "no two answers say the same of what is left");
        } else {
            assert_eq!((answer.status, remaining), (429, 0));
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert_eq!((passed.into_inner(), refused.into_inner()), (200, 800));
    assert_eq!(left, (0..200).collect(), "right to the unit");
}

#[test]
fn a_thousand_threads_pass_exactly_up_to_the_limit() {
    let store = Arc::new(MemoryStore::default());
    let meter = Meter::start(store, Plans::default(), Clock::from_fn(now)).expect("memory can be read");
    let (_, key) = key_of_plan("growth").generate(now(), &mut rand::rng());
    let gate = std::sync::Barrier::new(1000);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..1000 {
            scope.spawn(|| {
                gate.wait();
                passed.fetch_add(usize::from(meter.admit(&key).is_ok()), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(passed.into_inner(), 200);
}

#[test]
fn every_authenticated_answer_has_rate_limit_headers() {
    let server = server(Limit::RequestsPerMinute, 3);
    let key = server.issue(key_of_plan("small"));
    let client = server.client_with(key.expose());
    let headers = |answer: &Answer| {
        ["limit", "remaining", "used"].map(|name| number(answer, &format!("x-ratelimit-{name}")))
    };
    let health = client.get("/api/health");
    assert_eq!(headers(&health), [3, 3, 0], "health is free");
    assert_eq!(number(&health, "x-ratelimit-reset"), u64::try_from(now().as_second()).expect("after 1970"));
    let first = client.predict("", &docs());
    assert_eq!(headers(&first), [3, 2, 1]);
    let reset = number(&first, "x-ratelimit-reset");
    assert_eq!(reset, u64::try_from(now().as_second()).expect("after 1970") + 61, "a minute and a slot");
    assert_eq!(headers(&client.post("/api/predicts", "{")), [3, 1, 2], "a bad request was a request");
    assert_eq!(client.get("/api/admin/keys").status, 403);
    assert_eq!(headers(&client.get("/api/admin/keys")), [3, 1, 2], "and so does a refusal");
    assert_eq!(headers(&client.get("/api/usage")), [3, 0, 3], "a look at one's usage counts in the minute");
    let refused = client.get("/api/usage");
    assert_eq!((refused.code().as_str(), headers(&refused)), ("rate_limit_exceeded", [3, 0, 3]));
    assert_eq!(server.anonymous().get("/api/health").header("x-ratelimit-limit"), "");

    let unlimited = server.client().predict("", &docs());
    assert_eq!(headers(&unlimited), [i32::MAX as u64, i32::MAX as u64 - 1, 1]);
    let full = server.client_with(key.expose()).predict("", &docs());
    assert_eq!((full.status, headers(&full)), (429, [3, 0, 3]));
}

#[test]
fn rejections_have_the_documented_body() {
    let hands = Hands::at("2026-03-31T23:59:58.5Z");
    let mut plans = plans(Limit::RequestsPerMinute, 1);
    plans.set("daily", Plan::UNLIMITED.with(Limit::RequestsPerDay, Some(1)));
    plans.set("short", Plan::UNLIMITED.with(Limit::CharactersPerCall, Some(30)));
    plans.set("few", Plan::UNLIMITED.with(Limit::DocumentsPerCall, Some(1)));
    let server = TestServer::start_with(Setup { plans, clock: hands.clock(), ..Setup::default() });
    let client = |plan: &str| server.client_with(server.issue(key_of_plan(plan)).expose());

    let (small, daily) = (client("small"), client("daily"));
    assert_eq!((small.predict("", &docs()).status, daily.predict("", &docs()).status), (200, 200));
    insta::assert_json_snapshot!("rate_limit_exceeded", stable(&small.predict("", &docs())));
    insta::assert_json_snapshot!("quota_exceeded", stable(&daily.predict("", &docs())));
    hands.set("2026-04-01T00:00:00Z");
    assert_eq!(daily.predict("", &docs()).status, 200, "who waits as told gets in");
    assert_eq!(small.predict("", &docs()).status, 429, "a new month is no new minute");
    hands.set("2026-04-01T00:00:59.5Z");
    assert_eq!(small.predict("", &docs()).status, 200, "who waits as told gets in");

    let fits = json!([{"doc_id": "1", "doc": "é".repeat(30)}]);
    assert_eq!(client("short").predict("", &fits).status, 200, "characters are not bytes");
    let long = json!([{"doc_id": "1", "doc": "é".repeat(20)}, {"doc_id": "2", "doc": "x".repeat(11)}]);
    insta::assert_json_snapshot!("too_many_characters", stable(&client("short").predict("", &long)));
    insta::assert_json_snapshot!("too_many_documents", stable(&client("few").predict("", &long)));

    let lost = client("no such plan").predict("", &docs());
    assert_eq!((lost.status, lost.code().as_str()), (403, "unknown_plan"), "a plan that is gone locks out");
    assert_eq!(lost.json()["error"]["details"]["plan"], "no such plan");
}

#[test]
fn a_monthly_quota_survives_a_restart() {
    let hands = Hands::at("2026-01-31T23:59:59.999Z");
    let store: Arc<MemoryStore> = Arc::default();
    let meter = || {
        let plans = plans(Limit::RequestsPerMonth, 3);
        Meter::start(Arc::clone(&store) as _, plans, hands.clock()).expect("memory can be read")
    };
    let (_, key) = key_of_plan("small").generate(now(), &mut rand::rng());
    let admit = |meter: &Meter| meter.admit(&key).is_ok();
    let first = meter();
    assert!(admit(&first) && admit(&first));
    drop(first);
    let second = meter();
    assert!(admit(&second) && !admit(&second), "the counters went on");
    let Err(LimitError::Quota(_, standing)) = second.admit(&key) else { panic!("the month is used up") };
    assert_eq!(standing.reset.to_string(), "2026-02-01T00:00:00Z");
    hands.set("2026-02-01T00:00:00Z");
    assert!(admit(&second), "a new month");
    drop(second);
    let third = meter();
    assert!(admit(&third) && admit(&third) && !admit(&third), "January does not count in February");
}

#[test]
fn the_last_minute_survives_a_restart() {
    let store: Arc<MemoryStore> = Arc::default();
    let hands = Hands::at("2026-03-01T12:00:00Z");
    let meter = || {
        let plans = plans(Limit::RequestsPerMinute, 2);
        Meter::start(Arc::clone(&store) as _, plans, hands.clock()).expect("memory can be read")
    };
    let (_, key) = key_of_plan("small").generate(now(), &mut rand::rng());
    let first = meter();
    assert!(first.admit(&key).is_ok() && first.admit(&key).is_ok());
    drop(first);
    hands.set("2026-03-01T12:00:59Z");
    let second = meter();
    assert!(matches!(second.admit(&key), Err(LimitError::Minute(_))));
    hands.set("2026-03-01T12:01:00.1Z");
    assert!(second.admit(&key).is_ok());
}

#[test]
fn a_clock_jump_of_two_hours_does_not_affect_rate_limits() {
    let moment = Arc::new(std::sync::Mutex::new(Moment { wall: now(), monotonic: Duration::from_hours(2) }));
    let clock = Clock::from_moments({
        let moment = Arc::clone(&moment);
        move || *moment.lock().expect("no test panics here")
    });
    let move_on = |wall_hours: i64, seconds: u64| {
        let mut moment = moment.lock().expect("no test panics here");
        let passed =
            SignedDuration::from_hours(wall_hours) + SignedDuration::from_secs(seconds.cast_signed());
        *moment =
            Moment { wall: moment.wall + passed, monotonic: moment.monotonic + Duration::from_secs(seconds) };
    };
    let plans = plans(Limit::RequestsPerMinute, 2);
    let server = TestServer::start_with(Setup { plans, clock, ..Setup::default() });
    let client = server.client_with(server.issue(key_of_plan("small")).expose());
    for jump in [2, -2] {
        assert_eq!([client.predict("", &docs()).status, client.predict("", &docs()).status], [200, 200]);
        move_on(jump, 1);
        let refused = client.predict("", &docs());
        assert_eq!(refused.status, 429, "{jump} h: only a second has passed");
        let wait = number(&refused, "retry-after");
        assert!((58..=61).contains(&wait), "{jump} h: {wait} s");
        move_on(0, wait);
    }
    server.meter().flush().expect("memory can be written");
    // After a restart, with a clock that was set back since the requests were written.
    assert_eq!([client.predict("", &docs()).status, client.predict("", &docs()).status], [200, 200]);
    server.meter().flush().expect("memory can be written");
    move_on(-2, 1);
    let restarted = server.restarted_meter();
    let key = record_of(&server);
    let Err(LimitError::Minute(status)) = restarted.admit(&key) else { panic!("the minute is used up") };
    let now = moment.lock().expect("no test panics here").wall;
    assert!(status.reset.duration_since(now) <= SignedDuration::from_secs(61), "{status:?}");
}

#[test]
fn plans_are_replaced_while_a_server_runs() {
    let server = server(Limit::RequestsPerMinute, 1);
    let client = server.client_with(server.issue(key_of_plan("gold")).expose());
    assert_eq!(client.predict("", &docs()).code(), "unknown_plan");
    assert_eq!(client.get("/api/usage").code(), "unknown_plan");
    let mut plans = plans(Limit::RequestsPerMinute, 1);
    plans.set("gold", Plan::UNLIMITED.with(Limit::RequestsPerMinute, Some(2)));
    server.meter().replace_plans(plans);
    assert_eq!([(); 3].map(|()| client.predict("", &docs()).status), [200, 200, 429]);
}

#[test]
fn a_key_and_its_successor_share_one_plan() {
    let server = server(Limit::RequestsPerMinute, 2);
    let old = server.issue(key_of_plan("small"));
    let record = server.store().records().expect("memory can be read").remove(0);
    let later = now() + jiff::SignedDuration::from_hours(1);
    let rotated = server.change_keys(|keys| keys.rotate(&record.id, later, &mut rand::rng()));
    let (new, _) = rotated.expect("the key is active");
    server.refresh_keys();
    let statuses =
        [&old, &new, &new, &old].map(|key| server.client_with(key.expose()).predict("", &docs()).status);
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn concurrent_requests_are_limited_and_a_disconnect_makes_room() {
    let plans = plans(Limit::ConcurrentRequests, 1);
    let (server, gate) = TestServer::gated(Setup { plans, ..Setup::default() });
    let client = server.client_with(server.issue(key_of_plan("small")).expose());
    let held = json!([{"doc_id": "1", "doc": "[held]"}]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| client.predict("", &held).status);
        gate.until_it_holds(1);
        let refused = client.predict("", &docs());
        gate.open();
        assert_eq!(refused.status, 429, "one request at a time");
        assert_eq!(refused.json()["error"]["details"]["window"], "concurrent");
        assert_eq!(first.join().expect("no caller panics"), 200);
    });
    assert_eq!(client.predict("", &docs()).status, 200);
}

#[test]
fn a_failed_request_is_refunded() {
    let server = server(Limit::RequestsPerDay, 2);
    let client = server.client_with(server.issue(key_of_plan("small")).expose());
    let text = |text: &str| json!([{"doc_id": "1", "doc": text}]);
    let statuses = ["[overloaded]", "[overloaded]", "[panic]", "fine", "fine"]
        .map(|mark| client.predict("", &text(mark)).status);
    assert_eq!(statuses, [503, 503, 500, 200, 403], "a panic leaves the count as it was");
}

#[test]
fn requests_rejected_by_their_head_are_refunded_and_hold_no_place() {
    let server = server(Limit::ConcurrentRequests, 1);
    let client = server.client_with(server.issue(key_of_plan("small")).expose());
    for origin in [None, Some(("origin", "https://elsewhere.example"))] {
        let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(origin).collect();
        let statuses: Vec<u16> = [FORESEEN_BYTES, FORESEEN_BYTES, FORESEEN_BYTES + 1]
            .map(|bytes| client.post_with("/api/predicts", &headers, padded(&docs(), bytes)).status)
            .into();
        assert_eq!(statuses, [503, 503, 200], "{origin:?}");
    }
    assert_eq!(client.get("/api/usage").json()["total"]["requests"], 2);
}

/// A body of so many bytes.
fn padded(docs: &Value, bytes: usize) -> String {
    format!("{:<bytes$}", json!({"docs": docs}).to_string())
}

#[test]
fn usage_is_visible_to_its_owner_and_to_admins() {
    let server = TestServer::start();
    let key = server.issue(key_of_plan("starter"));
    let id = server.store().records().expect("memory can be read")[0].id.clone();
    let client = server.client_with(key.expose());
    client.predict("", &docs());
    client.predict("?partial=true", &json!([{"doc_id": "1", "doc": "Great."}, {"doc_id": "2"}]));
    let own = client.get("/api/usage");
    insta::assert_json_snapshot!("usage", own.json(), {
        ".key.key_id" => "[id]", ".days[].account" => "[id]"
    });
    assert_eq!(client.get("/api/usage?from=2026-02-01&to=2026-02-28").json()["days"], json!([]));
    assert_eq!(client.get("/api/usage?from=March").code(), "bad_request");
    assert_eq!(client.get("/api/usage?key=all").code(), "insufficient_scope");
    assert_eq!(server.anonymous().get("/api/usage").code(), "missing_key");

    let scopes = [Scope::Admin].into_iter().collect();
    let admin = server.client_with(server.issue(NewKey { scopes, ..NewKey::named("admin") }).expose());
    let of_key = admin.get(&format!("/api/usage?key={id}"));
    assert_eq!(of_key.json()["total"], own.json()["total"]);
    let all = admin.get("/api/usage?key=all").json();
    assert_eq!((&all["total"]["requests"], &all["key"]), (&json!(2), &Value::Null));
    assert_eq!(admin.get("/api/usage?key=knobody").status, 404);
}

/// A store that can be broken.
#[derive(Debug, Default)]
struct Fragile {
    inner: MemoryStore,
    is_broken: AtomicBool,
}

impl UsageStore for Fragile {
    fn add_usage(&self, batch: &UsageBatch) -> Result<(), StoreError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(StoreError::NoSuchKey(KeyId::new("broken")));
        }
        self.inner.add_usage(batch)
    }

    fn usage(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, StoreError> {
        self.inner.usage(query)
    }

    fn recent_requests(&self, since: Timestamp) -> Result<Vec<RecentRequests>, StoreError> {
        self.inner.recent_requests(since)
    }

    fn forget_usage_before(&self, day: Date) -> Result<(), StoreError> {
        self.inner.forget_usage_before(day)
    }
}

#[test]
fn if_usage_cannot_be_written_scoring_continues_and_health_reports_it() {
    let store = Arc::new(Fragile::default());
    let server =
        TestServer::start_with(Setup { usage_store: Some(Arc::clone(&store) as _), ..Setup::default() });
    let client = server.client_with(server.issue(key_of_plan("starter")).expose());
    store.is_broken.store(true, Ordering::Relaxed);
    assert_eq!(client.predict("", &docs()).status, 200);
    server.meter().flush().expect_err("the store is broken");
    assert_eq!(client.predict("", &docs()).status, 200, "scoring goes on");
    let health = client.get("/api/health").json();
    assert_eq!((&health["store"]["usage"], &health["status"]), (&json!("failing"), &json!("healthy")));
    let usage = client.get("/api/usage").json();
    assert_eq!(usage["total"]["requests"], 2, "it is known before it is written, and asking writes nothing");
    store.is_broken.store(false, Ordering::Relaxed);
    server.meter().flush().expect("the store is whole again");
    let usage = client.get("/api/usage").json();
    assert_eq!(usage["total"]["requests"], 2, "nothing was lost");
    assert_eq!(client.get("/api/health").json()["store"]["usage"], "ok");
}

#[test]
fn a_minute_on_the_real_clock_admits_no_more_than_its_limit() {
    let setup =
        Setup { plans: plans(Limit::RequestsPerMinute, 3), clock: Clock::system(), ..Setup::default() };
    let server = TestServer::start_with(setup);
    let client = server.client_with(server.issue(key_of_plan("small")).expose());
    let started = Instant::now();
    let mut passed = Vec::new();
    let ask = |client: &Client, passed: &mut Vec<Duration>| {
        let answer = client.predict("", &docs());
        if answer.status == 200 {
            passed.push(started.elapsed());
        }
        answer
    };
    for _ in 0..2 {
        ask(&client, &mut passed);
    }
    // One more a little later, so that the window must slide and not start anew.
    std::thread::sleep(Duration::from_secs(5));
    ask(&client, &mut passed);
    let refused = ask(&client, &mut passed);
    assert_eq!(refused.status, 429);
    let wait = Duration::from_secs(number(&refused, "retry-after"));
    assert_eq!(refused.json()["retry_after"], wait.as_secs());
    assert!(wait <= Duration::from_secs(56), "{wait:?}");
    std::thread::sleep(wait.saturating_sub(Duration::from_secs(3)));
    assert_eq!(ask(&client, &mut passed).status, 429, "not yet");
    std::thread::sleep(Duration::from_secs(3));
    for _ in 0..5 {
        ask(&client, &mut passed);
    }
    assert_eq!(passed.len(), 5, "who waits as told gets in, and the third request still counts: {passed:?}");
}

fn record_of(server: &TestServer) -> KeyRecord {
    server.store().records().expect("memory can be read").remove(0)
}

#[test]
fn a_key_revoked_under_load_is_rejected_within_a_second() {
    let server = TestServer::start();
    let key = server.issue(key_of_plan("unlimited"));
    let id = record_of(&server).id;
    let revoked_at: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let started = Instant::now();
    let late = AtomicUsize::new(0);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let client = server.client_with(key.expose());
                while started.elapsed() < Duration::from_secs(3) {
                    let sent = Instant::now();
                    let status = client.predict("", &docs()).status;
                    let is_late = revoked_at.get().is_some_and(|at| sent > *at + Duration::from_secs(1));
                    passed.fetch_add(usize::from(status == 200), Ordering::Relaxed);
                    late.fetch_add(usize::from(is_late && status == 200), Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        // Directly in the store, as another process would.
        server.change_keys(|keys| keys.revoke(&id)).expect("the key is there");
        revoked_at.set(Instant::now()).expect("it is set once");
    });
    assert!(passed.into_inner() > 0, "the load was there");
    assert_eq!(late.into_inner(), 0);
    assert_eq!(server.client_with(key.expose()).get("/api/health").code(), "revoked_key");
}
