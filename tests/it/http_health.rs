//! The wire contract beside scoring: health, request identifiers and CORS.

use std::sync::Arc;

use sentor::http::Analyze;
use serde_json::json;

use crate::support::contract::{example, stable};
use crate::support::fake::FakeAnalyzer;
use crate::support::{Setup, TestServer};

#[test]
fn requests_keep_their_identifier() {
    let server = TestServer::start();
    let client = server.anonymous();
    let id =
        |sent: &str| client.get_with("/livez", &[("x-request-id", sent)]).header("x-request-id").to_owned();
    assert_eq!(id("order-66/a"), "order-66/a");
    for strange in ["", "two words", &"x".repeat(129)] {
        assert_eq!(id(strange).len(), 36, "{strange:?} is replaced by a UUID");
    }
    assert_ne!(client.get("/livez").header("x-request-id"), client.get("/livez").header("x-request-id"));
    let refused = client.get_with("/nope", &[("x-request-id", "mine")]);
    assert_eq!(refused.json()["error"]["request_id"], "mine");
}

#[test]
fn health_has_the_members_that_clients_read() {
    let server = TestServer::start();
    for path in ["/api/health", "/api/predicts/health"] {
        let answer = server.anonymous().get(path);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        insta::assert_json_snapshot!("health", stable(&answer), {".body.version" => "[version]"});
    }
    assert_eq!(server.anonymous().get("/livez").json(), json!({"status": "alive"}));
    assert_eq!(server.anonymous().get("/readyz").json(), json!({"status": "ready"}));
}

#[test]
fn a_server_without_models_is_not_ready_and_says_so() {
    let server = TestServer::start_with(Setup { analyzer: None, ..Setup::default() });
    let client = server.client();
    assert_eq!(client.get("/api/health").json()["status"], "degraded");
    assert_eq!(client.get("/livez").status, 200);
    let early = client.predict("", &example());
    assert_eq!((early.status, early.code().as_str()), (503, "not_ready"));
    assert_eq!(early.header("retry-after"), "1");
    assert_eq!(client.get("/readyz").code(), "not_ready");
    server.app.make_ready(Arc::new(FakeAnalyzer) as Arc<dyn Analyze>);
    assert_eq!(client.get("/readyz").status, 200);
    assert_eq!(client.predict("", &example()).status, 200);
}

#[test]
fn cors_allows_only_configured_origins() {
    let ask = [("origin", "https://shop.example"), ("access-control-request-method", "POST")];
    let closed = TestServer::start();
    let answer = closed.anonymous().request("OPTIONS", "/api/predicts", &ask, Vec::new());
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, ""));

    let mut setup = Setup::default();
    setup.settings.cors_origins = vec!["https://shop.example".to_owned()];
    let open = TestServer::start_with(setup);
    let answer = open.anonymous().request("OPTIONS", "/api/predicts", &ask, Vec::new());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert!(answer.header("access-control-allow-headers").contains("x-api-key"));
    let refused = open.anonymous().post_with("/api/predicts", &ask[..1], "{}");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "https://shop.example",
        "so that pages see why"
    );
    let other = open.anonymous().get_with("/livez", &[("origin", "https://evil.example")]);
    assert_eq!(other.header("access-control-allow-origin"), "");
}
