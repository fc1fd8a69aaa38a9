//! Keys over HTTP, the audit log, and the admin listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sentor::http::ListenerRole;
use sentor_store::audit::{Actor, AuditEntry};
use sentor_store::clock::Clock;
use sentor_store::keys::{
    Decide, KeyAdmin, KeyChanges, KeyId, KeyPage, KeyRecord, KeyStore, NewKey, Revision, Scope, Scopes,
};
use sentor_store::{MemoryStore, SqliteStore, Store, StoreError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::{Setup, TestServer, now};

fn admin(server: &TestServer) -> Client {
    let scopes: Scopes = [Scope::Admin].into_iter().collect();
    server.client_with(server.issue(NewKey { scopes, ..NewKey::named("admin") }).expose())
}

const KEYS: &str = "/api/admin/keys";

#[test]
fn a_key_is_created_rotated_and_revoked_over_http() {
    let server = TestServer::start();
    let admin = admin(&server);
    let wanted = json!({"name": "shop", "plan": "starter", "scopes": ["predict"], "environment": "test",
                        "expires_at": "2030-01-31T12:00:00Z"});
    let created = admin.post(KEYS, wanted.to_string());
    assert_eq!(created.status, 201, "{}", String::from_utf8_lossy(&created.bytes));
    insta::assert_json_snapshot!("key_created", created.json(), {
        ".key" => "[key]", ".id" => "[id]", ".account" => "[id]", ".prefix" => "[prefix]"
    });
    let created = created.json();
    let (key, id) = (created["key"].as_str().expect("the key"), created["id"].as_str().expect("its id"));
    let client = server.client_with(key);
    assert_eq!(client.get("/api/health").status, 200, "it counts at once");

    let listed = admin.get(KEYS);
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(key), "a key is shown once");
    assert_eq!(listed.json()["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed.json()["next"], Value::Null);
    let page = admin.get(&format!("{KEYS}?limit=1")).json();
    assert_eq!(page["keys"][0]["name"], "admin", "the oldest first");
    let next = page["next"].as_str().expect("there is more");
    let rest = admin.get(&format!("{KEYS}?limit=1&after={next}")).json();
    assert_eq!((&rest["keys"][0]["id"], &rest["next"]), (&json!(id), &Value::Null));
    assert_eq!(admin.get(&format!("{KEYS}/{id}")).json()["state"], "active");

    let rotated = admin.post(&format!("{KEYS}/{id}/rotate"), json!({"overlap_seconds": 60}).to_string());
    assert_eq!(rotated.status, 201);
    let rotated = rotated.json();
    let successor = server.client_with(rotated["key"].as_str().expect("the new key"));
    assert_eq!((&rotated["account"], &rotated["plan"]), (&json!(id), &json!("starter")));
    assert_eq!((successor.get("/api/health").status, client.get("/api/health").status), (200, 200));
    let old = admin.get(&format!("{KEYS}/{id}")).json();
    assert_eq!(old["expires_at"], "2026-03-01T12:01:00.000Z");

    let revoked = admin.post(&format!("{KEYS}/{id}/revoke"), "");
    assert_eq!((revoked.status, &revoked.json()["state"]), (200, &json!("revoked")));
    assert_eq!(client.get("/api/health").code(), "revoked_key", "at once");
    assert_eq!(admin.post(&format!("{KEYS}/{id}/rotate"), "{}").code(), "conflict");
    assert_eq!(admin.post(&format!("{KEYS}/knobody/revoke"), "").code(), "not_found");

    let lines = server.audit_lines();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().expect("a word")).collect();
    assert_eq!(events, ["key_created", "key_rotated", "key_revoked", "admin_refused", "admin_refused"]);
    assert_eq!(
        (&lines[0]["name"], &lines[1]["replaces"], &lines[2]["key_id"]),
        (&json!("shop"), &json!(id), &json!(id))
    );
    assert!(lines.iter().all(|line| line["actor_key_id"].is_string() && line["request_id"].is_string()));
}

#[test]
fn wrong_admin_requests_say_all_that_is_wrong() {
    let server = TestServer::start();
    let admin = admin(&server);
    let wrong = json!({"name": " ", "plan": "golden", "scopes": ["predict", "root"], "environment": "prod",
                       "expires_at": "2020-01-01T00:00:00Z"});
    let answer = admin.post(KEYS, wrong.to_string()).json();
    insta::assert_json_snapshot!("wrong_key", answer["error"]["details"]);
    for (body, code) in [
        ("{", "bad_request"),
        ("[]", "validation_error"),
        ("{}", "validation_error"),
        (r#"{"name": 5}"#, "validation_error"),
        (r#"{"name": "x", "scopes": []}"#, "validation_error"),
    ] {
        assert_eq!(admin.post(KEYS, body).code(), code, "{body}");
    }
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?limit=1&limit=2"] {
        assert_eq!(admin.get(&format!("{KEYS}{query}")).code(), "bad_request", "{query}");
    }
    assert_eq!(admin.get(&format!("{KEYS}?after=knobody")).code(), "not_found");
    let mistaken = server.issue(NewKey::named("mistaken"));
    let answer = admin.post(&format!("{KEYS}/{}/revoke", mistaken.expose()), "");
    assert_eq!(answer.code(), "not_found", "a key is no identifier");
    assert!(!String::from_utf8_lossy(&answer.bytes).contains(mistaken.expose()));
    assert!(server.audit_lines().iter().all(|line| !line.to_string().contains(mistaken.expose())));
    let body = json!({"overlap_seconds": -1}).to_string();
    assert_eq!(admin.post(&format!("{KEYS}/knobody/rotate"), body).code(), "validation_error");
}

#[test]
fn only_admins_are_accepted_and_refused_calls_are_audited() {
    let server = TestServer::start();
    let calls = |client: &Client| {
        [
            client.get(KEYS),
            client.post(KEYS, "{}"),
            client.get(&format!("{KEYS}/kone")),
            client.post(&format!("{KEYS}/kone/rotate"), "{}"),
            client.post(&format!("{KEYS}/kone/revoke"), ""),
        ]
        .map(|answer| answer.code())
    };
    assert_eq!(calls(&server.anonymous()), ["missing_key"; 5]);
    assert_eq!(calls(&server.client()), ["insufficient_scope"; 5]);
    let lines = server.audit_lines();
    assert_eq!(lines.len(), 5, "callers without a key are only counted");
    assert_eq!((&lines[0]["method"], &lines[0]["route"]), (&json!("GET"), &json!(KEYS)));
    assert_eq!(
        (&lines[4]["route"], &lines[4]["key_id"]),
        (&json!(format!("{KEYS}/{{id}}/revoke")), &json!("kone"))
    );
    assert!(lines.iter().all(|line| line["actor_key_id"].is_string()));
    for _ in 0..40 {
        assert_eq!(calls(&server.anonymous()), ["missing_key"; 5]);
        assert_eq!(calls(&server.client()), ["insufficient_scope"; 5]);
    }
    server.close_audit();
    let lines = server.audit_lines();
    assert_eq!(lines.len(), 5 + 40 * 5 + 1, "each of many keys has its lines");
    let counted = lines.last().expect("there are lines");
    assert_eq!((&counted["event"], &counted["without_key"]), (&json!("admin_refusals_counted"), &json!(205)));
}

#[test]
fn an_admin_listener_serves_the_admin_interface_only() {
    let statuses = |role| {
        let server = TestServer::start_with(Setup { role, ..Setup::default() });
        let admin = admin(&server);
        [KEYS, "/api/health", "/api/usage", "/livez"].map(|path| admin.get(path).status)
    };
    assert_eq!(statuses(ListenerRole::All), [200, 200, 200, 200]);
    assert_eq!(statuses(ListenerRole::Public), [404, 200, 200, 200]);
    assert_eq!(statuses(ListenerRole::Admin), [200, 404, 404, 200]);
}

#[test]
fn a_disconnected_client_leaves_no_change_without_its_audit_entry() {
    use std::io::Write as _;
    let folder = TempDir::new().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path()).expect("a store can be made"));
    let clock = Clock::from_fn(now);
    let direct = KeyAdmin::new(store.as_ref(), &clock, Actor::CommandLine);
    let ids: Vec<KeyId> = (0..40)
        .map(|number| {
            let new = NewKey::named(format!("key {number}"));
            direct.create(new, &mut rand::rng()).expect("it can be written").1.id
        })
        .collect();
    let changed_store: Option<Arc<dyn Store>> = Some(Arc::clone(&store) as _);
    let server = TestServer::start_with(Setup { changed_store, ..Setup::default() });
    let scopes: Scopes = [Scope::Admin].into_iter().collect();
    let admin = server.issue(NewKey { scopes, ..NewKey::named("admin") });
    for (id, number) in ids.iter().zip(0..) {
        let mut stream = server.connect();
        let head = format!(
            "POST {KEYS}/{id}/revoke HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: 0\r\n\r\n",
            admin.expose()
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        // At various times after the call, without reading the answer.
        std::thread::sleep(Duration::from_micros(100 * number));
        drop(stream);
    }
    let revoked = || {
        let records = store.records().expect("it can be read");
        records.iter().filter(|record| record.revoked_at.is_some()).count()
    };
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(20));
        if revoked() > last {
            (last, since) = (revoked(), Instant::now());
        }
    }
    assert!(revoked() > 0, "some of the calls came through");
    let is_revocation = |line: &&Value| line["event"] == "key_revoked";
    assert_eq!(server.audit_lines().iter().filter(is_revocation).count(), revoked());
}

/// A store whose changes cannot be read while `IS_UNFOLLOWABLE` is set.
#[derive(Debug)]
struct Unfollowable(Arc<MemoryStore>);

static IS_UNFOLLOWABLE: AtomicBool = AtomicBool::new(false);

impl KeyStore for Unfollowable {
    fn insert(&self, record: &KeyRecord, entry: &AuditEntry) -> Result<(), StoreError> {
        self.0.insert(record, entry)
    }

    fn update(&self, id: &KeyId, decide: &mut Decide<'_>) -> Result<(), StoreError> {
        self.0.update(id, decide)
    }

    fn record(&self, id: &KeyId) -> Result<KeyRecord, StoreError> {
        self.0.record(id)
    }

    fn page(&self, after: Option<&KeyId>, limit: usize) -> Result<KeyPage, StoreError> {
        self.0.page(after, limit)
    }

    fn changes(&self, since: Option<Revision>) -> Result<KeyChanges, StoreError> {
        if IS_UNFOLLOWABLE.load(Ordering::Relaxed) {
            return Err(StoreError::Unreadable {
                id: KeyId::new("all"),
                problem: "a broken disk".to_owned(),
            });
        }
        self.0.changes(since)
    }

    fn record_uses(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        self.0.record_uses(uses)
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        self.0.check_writable()
    }
}

#[test]
fn a_committed_change_takes_effect_even_if_the_ring_cannot_refresh() {
    let ring_store: fn(Arc<MemoryStore>) -> Arc<dyn KeyStore> = |store| Arc::new(Unfollowable(store));
    let server = TestServer::start_with(Setup { ring_store, ..Setup::default() });
    let admin = admin(&server);
    let key = server.issue(NewKey::named("lost"));
    let id = server.store().records().expect("memory can be read").last().expect("it is there").id.clone();
    IS_UNFOLLOWABLE.store(true, Ordering::Relaxed);
    let created = admin.post(KEYS, r#"{"name": "new"}"#);
    assert_eq!(created.status, 201, "{}", String::from_utf8_lossy(&created.bytes));
    let new = created.json()["key"].as_str().expect("the key").to_owned();
    assert_eq!(server.client_with(&new).get("/api/health").status, 200);
    assert_eq!(admin.post(&format!("{KEYS}/{id}/revoke"), "").status, 200);
    assert_eq!(server.client_with(key.expose()).get("/api/health").code(), "revoked_key");
    let refused_at = Instant::now();
    while server.anonymous().get("/readyz").status == 200 {
        assert!(refused_at.elapsed() < Duration::from_secs(20), "a ring that does not follow is not ready");
        std::thread::sleep(Duration::from_millis(100));
    }
    let answer = server.anonymous().get("/readyz").json();
    assert_eq!(answer["error"]["details"]["reason"], "keys");
    IS_UNFOLLOWABLE.store(false, Ordering::Relaxed);
    while server.anonymous().get("/readyz").status != 200 {
        assert!(refused_at.elapsed() < Duration::from_secs(40), "it follows again");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_key_of_the_command_line_works_at_once_and_unknown_keys_do_not() {
    let server = TestServer::start();
    for number in 0..30 {
        let new = NewKey::named(format!("key {number}"));
        let (key, _) = server.change_keys(|keys| keys.create(new, &mut rand::rng())).expect("it can be made");
        assert_eq!(server.client_with(key.expose()).get("/api/health").status, 200, "key {number}");
    }
    let unknown = NewKey::named("unknown").generate(now(), &mut rand::rng()).0;
    for _ in 0..3 {
        assert_eq!(server.client_with(unknown.expose()).get("/api/health").code(), "invalid_key");
    }
}

#[test]
fn a_listing_pages_through_all_keys_in_a_stable_order() {
    let server = TestServer::start();
    let admin = admin(&server);
    for number in 0..250 {
        server.issue(NewKey::named(format!("{number}")));
    }
    let (mut names, mut query) = (Vec::new(), format!("{KEYS}?limit=100"));
    loop {
        let page = admin.get(&query).json();
        let keys = page["keys"].as_array().expect("a list").clone();
        names.extend(keys.iter().map(|key| key["name"].as_str().expect("a name").to_owned()));
        // A key made during the listing comes last.
        server.issue(NewKey::named("later"));
        let Some(next) = page["next"].as_str().map(str::to_owned) else { break };
        query = format!("{KEYS}?limit=100&after={next}");
    }
    let expected: Vec<String> =
        std::iter::once("admin".to_owned()).chain((0..250).map(|number| number.to_string())).collect();
    assert_eq!(names[..251], expected);
    assert_eq!(names[251..], ["later", "later"]);
}

#[test]
fn a_key_has_one_successor_until_that_is_revoked() {
    let server = TestServer::start();
    let admin = admin(&server);
    let made = admin.post(KEYS, r#"{"name": "shop", "expires_at": "2030-01-01T00:00:00Z"}"#).json();
    let id = made["id"].as_str().expect("its id");
    let rotate = |body: &str| admin.post(&format!("{KEYS}/{id}/rotate"), body);
    let lost = rotate("").json();
    let again = rotate("");
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    assert_eq!(again.json()["error"]["details"], json!({"state": "replaced", "replaced_by": lost["id"]}));
    assert_eq!(admin.get(&format!("{KEYS}/{id}")).json()["replaced_by"], lost["id"]);
    let lost_id = lost["id"].as_str().expect("its id");
    assert_eq!(admin.post(&format!("{KEYS}/{lost_id}/revoke"), "").status, 200);
    let second = rotate(r#"{"overlap_seconds": 60}"#);
    assert_eq!(second.status, 201, "a revoked successor makes room");
    assert_eq!(second.json()["expires_at"], "2030-01-01T00:00:00.000Z", "not the end of the first overlap");
}

#[test]
fn names_have_no_control_characters_and_far_expiries_are_allowed() {
    let server = TestServer::start();
    let admin = admin(&server);
    for name in ["a\u{1b}[31m\nroot", "\0", "a\u{202e}b", "tab\tbed"] {
        let answer = admin.post(KEYS, json!({ "name": name }).to_string());
        assert_eq!(answer.code(), "validation_error", "{name:?}");
        assert_eq!(answer.json()["error"]["details"]["fields"][0]["path"], "name");
    }
    for far in ["9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999Z"] {
        let made = admin.post(KEYS, json!({"name": "far", "expires_at": far}).to_string());
        assert_eq!(
            (made.status, &made.json()["expires_at"]),
            (201, &json!("9999-12-30T22:00:00.000Z")),
            "{far}"
        );
        let key = made.json()["key"].as_str().expect("the key").to_owned();
        assert_eq!(server.client_with(&key).get("/api/health").status, 200, "{far}");
    }
    for far in ["+262143-01-01T00:00:00Z", "9999-12-31"] {
        let answer = admin.post(KEYS, json!({"name": "far", "expires_at": far}).to_string());
        assert_eq!(answer.code(), "validation_error", "{far}");
    }
}
