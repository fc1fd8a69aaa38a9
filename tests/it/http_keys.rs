//! The wire contract of keys: which are accepted, in which header, and how others are rejected.

use sentor_store::keys::{KeyId, KeyStore as _, NewKey, Scope};
use serde_json::json;

use crate::support::contract::{JSON, example, stable};
use crate::support::{TestServer, now};

#[test]
fn valid_keys_are_accepted_and_others_are_rejected() {
    let server = TestServer::start();
    let docs = example();
    let answers = |key: &str| {
        let client = server.client_with(key);
        (client.predict("", &docs), client.get("/api/health"))
    };
    let good = server.issue(NewKey::named("good"));
    let (predict, health) = answers(good.expose());
    assert_eq!((predict.status, health.status), (200, 200));

    let mut changed = good.expose().to_owned();
    changed.replace_range(20..21, if &changed[20..21] == "a" { "b" } else { "a" });
    let unissued = NewKey::named("elsewhere").generate(now(), &mut rand::rng()).0;
    let expired = server.issue(NewKey { expires_at: Some(now()), ..NewKey::named("old") });
    let revoked = server.issue(NewKey::named("lost"));
    let records = server.store().records().expect("memory can be read");
    let id = records.last().expect("a record").id.clone();
    server.change_keys(|keys| keys.revoke(&id)).expect("the key is there");
    server.refresh_keys();
    for (key, code) in [
        ("geheim", "invalid_key"),
        (changed.as_str(), "invalid_key"),
        (unissued.expose(), "invalid_key"),
        (expired.expose(), "expired_key"),
        (revoked.expose(), "revoked_key"),
    ] {
        let (predict, health) = answers(key);
        assert_eq!((predict.status, predict.code().as_str()), (401, code));
        assert_eq!((health.status, health.code().as_str()), (401, code));
        assert!(!String::from_utf8_lossy(&predict.bytes).contains(key), "a key is never echoed");
        assert!(predict.header("www-authenticate").starts_with("Bearer"));
    }
    insta::assert_json_snapshot!("expired_key", stable(&answers(expired.expose()).0));
    insta::assert_json_snapshot!("revoked_key", stable(&answers(revoked.expose()).0));
    insta::assert_json_snapshot!("missing_key", stable(&server.anonymous().predict("", &docs)));
    let narrow =
        server.issue(NewKey { scopes: [Scope::Metrics].into_iter().collect(), ..NewKey::named("m") });
    insta::assert_json_snapshot!("insufficient_scope", stable(&answers(narrow.expose()).0));
    assert_eq!(answers(narrow.expose()).1.status, 200, "health only tests the key");
}

#[test]
fn a_key_may_be_a_bearer_token_and_x_api_key_has_precedence() {
    let server = TestServer::start();
    let key = server.issue(NewKey::named("bearer"));
    let bearer = format!("bearer {}", key.expose());
    let body = json!({"docs": example()}).to_string();
    let status = |headers: &[(&str, &str)]| {
        let headers: Vec<_> = JSON.iter().chain(headers).copied().collect();
        server.anonymous().post_with("/api/predicts", &headers, body.as_str()).status
    };
    assert_eq!(status(&[("authorization", &bearer)]), 200);
    assert_eq!(status(&[("authorization", &bearer), ("x-api-key", "wrong")]), 401);
    assert_eq!(status(&[("authorization", "Bearer wrong"), ("x-api-key", key.expose())]), 200);
    assert_eq!(status(&[("authorization", "Basic dTpw")]), 401, "somebody else's is none");
    let proxied = server.anonymous().get_with("/api/health", &[("authorization", "Basic dTpw")]);
    assert_eq!(proxied.status, 200);
}

#[test]
fn the_last_use_of_a_key_is_recorded() {
    let server = TestServer::start();
    assert_eq!(server.client().get("/api/health").status, 200);
    let id: KeyId = server.store().records().expect("memory can be read")[0].id.clone();
    // A change of the store makes the ring write the times of use.
    server.issue(NewKey::named("another"));
    let records = server.store().records().expect("memory can be read");
    let record = records.iter().find(|record| record.id == id).expect("the key is there");
    assert_eq!(record.last_used_at, Some(now()));
}
