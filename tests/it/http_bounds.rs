//! The wire contract of configured limits: sizes, time and buffered bytes.

use std::time::Duration;

use sentor::config::LimitsConfig;
use serde_json::json;

use crate::support::contract::stable;
use crate::support::{Setup, TestServer, gzip};

#[test]
fn exceeded_limits_are_named() {
    let limits = LimitsConfig {
        max_cluster_documents: 5000,
        body_limit_bytes: 2000,
        max_documents: 3,
        max_document_bytes: 100,
        max_entities: 2,
        max_request_entities: 100,
        max_entity_bytes: 10,
        max_mentions: 10,
    };
    let mut setup = Setup::default();
    setup.settings.limits = limits;
    let server = TestServer::start_with(setup);
    let client = server.client();
    let document = |text: &str, entities: &[&str]| json!({"doc_id": "1", "doc": text, "entities": entities});
    let docs = json!([document(&"x".repeat(101), &["a", "b", "c"]), document("x", &["elf letters"]), {}, {}]);
    insta::assert_json_snapshot!("limits", stable(&client.predict("", &docs)));
    let fits = json!([document(&"x".repeat(100), &["ten lette."])]);
    assert_eq!(client.predict("", &fits).status, 200);
    insta::assert_json_snapshot!(
        "payload_too_large",
        stable(&client.post("/api/predicts", " ".repeat(2001)))
    );
}

#[test]
fn a_client_sets_its_timeout() {
    let mut setup = Setup::default();
    setup.settings.request_timeout = Duration::from_millis(100);
    setup.settings.request_timeout_max = Duration::from_secs(20);
    let server = TestServer::start_with(setup);
    let client = server.client();
    let slow = json!({"docs": [{"doc_id": "1", "doc": "[slow] but great"}]}).to_string();
    let ask = |headers: &[(&str, &str)]| {
        let json = ("content-type", "application/json");
        client.post_with("/api/predicts", &[&[json], headers].concat(), slow.clone())
    };
    let late = ask(&[]);
    assert_eq!((late.status, late.code().as_str()), (503, "overloaded"), "the default is too short");
    for patient in ["5000", "999999999999"] {
        assert_eq!(ask(&[("x-request-timeout-ms", patient)]).status, 200, "{patient}");
    }
    assert_eq!(ask(&[("x-request-timeout-ms", "20")]).code(), "overloaded");
    for wrong in ["", "0", "-1", "1.5", "soon", "99999999999999999999999"] {
        let answer = ask(&[("x-request-timeout-ms", wrong)]);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{wrong:?}");
        assert_eq!(answer.json()["error"]["details"]["header"], "x-request-timeout-ms");
    }
    let twice = ask(&[("x-request-timeout-ms", "5000"), ("x-request-timeout-ms", "5000")]);
    assert_eq!(twice.status, 400);
}

#[test]
fn the_bytes_of_all_bodies_together_are_bounded() {
    let mut setup = Setup::default();
    // One key may hold three quarters.
    setup.settings.max_buffered_bytes = 1400;
    let (server, gate) = TestServer::gated(setup);
    let client = server.client();
    let body = |mark: &str, bytes: usize| {
        let text = "great ".repeat(bytes / 6);
        json!({"docs": [{"doc_id": "1", "doc": format!("{mark} {text}")}]}).to_string()
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| client.post("/api/predicts", body("[held]", 800)).status);
        gate.until_it_holds(1);
        let refused = client.post("/api/predicts", body("", 800));
        let small = client.post("/api/predicts", body("", 30));
        // By its compressed size it would fit.
        let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
        let packed = client.post_with("/api/predicts", &headers, gzip(body("", 800).as_bytes()));
        gate.open();
        assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
        assert_eq!(small.status, 200, "a small one still fits");
        assert_eq!(packed.code(), "overloaded");
        assert_eq!(first.join().expect("the client ends"), 200);
    });
    assert_eq!(client.post("/api/predicts", body("", 5000)).status, 200, "alone, one may be larger");
}
