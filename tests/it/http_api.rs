//! The wire contract: what clients send, and what they get.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::fake::{FORESEEN_BYTES, FakeAnalyzer};
use crate::support::{Setup, TestServer, gzip, now};
use sentor::config::LimitsConfig;
use sentor::http::Analyze;
use sentor_store::keys::{KeyId, KeyStore as _, NewKey, Scope};

/// The documentation's own example.
fn example() -> Value {
    json!([
        {"doc_id": "doc1", "doc": "Great phone from Apple! I love the camera.", "entities": ["Apple", "camera"]},
        {"doc_id": "doc2", "doc": "Samsung disappoints me.", "entities": ["Samsung"]},
        {"doc_id": "doc3", "doc": "The camera is poor."}
    ])
}

/// A body without what changes from run to run.
fn stable(answer: &Answer) -> Value {
    let mut body = answer.json();
    if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
        for name in ["request_id", "timestamp"] {
            let value = error.get_mut(name).expect("every error has both");
            assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{name}");
            *value = json!(format!("[{name}]"));
        }
    }
    json!({"status": answer.status, "body": body})
}

#[test]
fn documents_are_scored_as_the_contract_says() {
    let server = TestServer::start();
    let client = server.client();
    let answer = client.predict("", &example());
    assert_eq!(answer.header("content-type"), "application/json");
    insta::assert_json_snapshot!("documents", stable(&answer));
    let older = client.post("/api/ml/predict", json!({"docs": example()}).to_string());
    assert_eq!(older.bytes, answer.bytes, "sentor-ml 1.0 gets the same");
}

#[test]
fn languages_come_from_the_query_then_the_body() {
    let server = TestServer::start();
    let client = server.client();
    let language = |query: &str, body: Value| {
        let answer = client.post(&format!("/api/predicts{query}"), body.to_string());
        answer.json()["results"][0]["language"].as_str().unwrap_or("none").to_owned()
    };
    let docs = json!([{"doc_id": "1", "doc": "Geweldig product!"}]);
    assert_eq!(language("", json!({"docs": docs})), "en");
    assert_eq!(language("?language=nl", json!({"docs": docs})), "nl");
    assert_eq!(language("?language=auto", json!({"docs": docs})), "nl");
    assert_eq!(language("", json!({"docs": docs, "language": "nl"})), "nl");
    assert_eq!(language("", json!({"docs": docs, "language": null})), "en");
    assert_eq!(language("?language=en", json!({"docs": docs, "language": "nl"})), "en");
    assert_eq!(language("?language=en", json!({"docs": docs, "language": "xx"})), "en", "the query wins");
    let warned = client.predict("?language=en", &docs);
    insta::assert_json_snapshot!("other_language", stable(&warned));
}

#[test]
fn offsets_count_what_the_caller_counts() {
    let server = TestServer::start();
    let client = server.client();
    let docs = json!([{"doc_id": "1", "doc": "😀 é Great café 😀.", "entities": ["café"]}]);
    let place = |query: &str| {
        let body = client.predict(query, &docs).json();
        let mention = &body["results"][0]["entity_sentiments"][0]["mentions"][0];
        assert_eq!(mention["text"], "café");
        (mention["start"].as_u64().expect("a number"), mention["end"].as_u64().expect("a number"))
    };
    assert_eq!(place(""), (10, 14));
    assert_eq!(place("?offsets=codepoint"), (10, 14));
    assert_eq!(place("?offsets=utf16"), (11, 15));
    assert_eq!(place("?offsets=utf8"), (14, 19));
}

#[test]
fn unusual_documents_are_scored_like_any_other() {
    let server = TestServer::start();
    let client = server.client();
    let long = "A great day. ".repeat(80_000);
    let docs = json!([
        {"doc_id": "twice", "doc": "Great.", "entities": ["great", "great"]},
        {"doc_id": "twice", "doc": "Poor.", "entities": null, "unknown": {"a": [1, {"b": null}]}},
        {"doc_id": "", "doc": "😀😀", "entities": []},
        {"doc_id": "nul", "doc": "a\u{0}b great", "entities": ["a\u{0}b"]},
        {"doc_id": "rtl", "doc": "مرحبا great", "entities": ["مرحبا", ".*(", "n\u{303}", "longer than the text is"]},
        {"doc_id": "long", "doc": long},
    ]);
    let answer = client.predict("", &docs);
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].as_array().expect("a list").clone();
    let ids: Vec<&str> = results.iter().map(|result| result["doc_id"].as_str().expect("a string")).collect();
    assert_eq!(ids, ["twice", "twice", "", "nul", "rtl", "long"]);
    assert_eq!(results[0]["entity_sentiments"].as_array().map(Vec::len), Some(2));
    assert_eq!(results[5]["details"].as_array().map(Vec::len), Some(80_000));
}

#[test]
fn ten_thousand_documents_are_one_request() {
    let server = TestServer::start();
    let docs: Vec<Value> = (0..10_000).map(|n| json!({"doc_id": n.to_string(), "doc": "Great."})).collect();
    let answer = server.client().predict("", &json!(docs));
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let results = body["results"].as_array().expect("a list");
    assert_eq!(results.len(), 10_000);
    assert!(results.iter().enumerate().all(|(n, result)| result["doc_id"].as_str() == Some(&*n.to_string())));
    let too_many: Vec<Value> = vec![docs[0].clone(); 10_001];
    assert_eq!(server.client().predict("", &json!(too_many)).code(), "validation_error");
}

/// Name, path, headers, body.
type BadRequest = (&'static str, &'static str, &'static [(&'static str, &'static str)], Vec<u8>);

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn bad_requests() -> Vec<BadRequest> {
    const PREDICT: &str = "/api/predicts";
    let good = br#"{"docs":[{"doc_id":"1","doc":"Great."}]}"#.to_vec();
    let body = |name, text: &str| (name, PREDICT, JSON, text.as_bytes().to_vec());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_docs = format!("{{\"docs\":{deep}}}");
    vec![
        body("empty body", ""),
        body("not JSON", "docs=1"),
        body("cut short", r#"{"docs": [{"doc_id": "1","#),
        body("two values", r#"{"docs": []} {}"#),
        body("deep nesting", &deep),
        body("deep nesting of documents", &deep_docs),
        body("lone surrogate", r#"{"docs":[{"doc_id":"1","doc":"\ud800 x"}]}"#),
        ("invalid UTF-8", PREDICT, JSON, b"{\"docs\":[{\"doc_id\":\"1\",\"doc\":\"\xff\"}]}".to_vec()),
        ("UTF-16", PREDICT, JSON, b"\xff\xfe{\0}\0".to_vec()),
        body("null", "null"),
        body("a list", "[]"),
        body("a number", "1e400"),
        body("no docs", "{}"),
        body("docs null", r#"{"docs": null}"#),
        body("docs no list", r#"{"docs": {"doc_id": "1", "doc": "x"}}"#),
        body("docs empty", r#"{"docs": []}"#),
        body("language no string", r#"{"docs":[{"doc_id":"1","doc":"x"}],"language":1}"#),
        body("language unknown in body", r#"{"docs":[{"doc_id":"1","doc":"x"}],"language":"fr"}"#),
        body(
            "everything at once",
            r#"{"docs":[1, null, "x", [], {}, {"doc_id":7,"doc":true}, {"doc_id":"1","doc":" \n"},
                {"doc_id":"1","doc":"x","entities":"x"}, {"doc_id":"1","doc":"x","entities":["", " ", 5, null]},
                {"doc_id":"1","doc":"","entities":{}}]}"#,
        ),
        ("language unknown", "/api/predicts?language=fr", JSON, good.clone()),
        ("language empty", "/api/predicts?language=", JSON, good.clone()),
        ("language twice", "/api/predicts?language=en&language=nl", JSON, good.clone()),
        ("partial unknown", "/api/predicts?partial=yes", JSON, good.clone()),
        ("offsets unknown", "/api/predicts?offsets=bytes", JSON, good.clone()),
        ("pronouns unknown", "/api/predicts?pronouns=1", JSON, good.clone()),
        ("no content type", PREDICT, &[], good.clone()),
        ("a form", PREDICT, &[("content-type", "application/x-www-form-urlencoded")], good.clone()),
        ("latin-1", PREDICT, &[("content-type", "application/json; charset=iso-8859-1")], good.clone()),
        (
            "unknown packing",
            PREDICT,
            &[("content-type", "application/json"), ("content-encoding", "compress")],
            good.clone(),
        ),
        (
            "not the packing it says",
            PREDICT,
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            good.clone(),
        ),
        ("unknown path", "/api/prediction", JSON, good.clone()),
        ("later path", "/api/predicts/cluster", JSON, good.clone()),
        ("wrong method", "/api/health", JSON, good),
    ]
}

#[test]
fn bad_requests_get_the_contracts_answer_and_the_next_good_one_works() {
    let server = TestServer::start();
    let client = server.client();
    let mut answers = serde_json::Map::new();
    for (name, path, headers, body) in bad_requests() {
        let answer = client.post_with(path, headers, body);
        let json = answer.json();
        assert_eq!(json["status_code"], answer.status.to_string(), "{name}");
        assert_eq!(json["detail"], json["error"]["message"], "{name}");
        assert_eq!(json["error"]["status"], answer.status, "{name}");
        assert_eq!(json["error"]["request_id"], answer.header("x-request-id"), "{name}");
        let error = &json["error"];
        answers.insert(
            name.to_owned(),
            json!({"status": answer.status, "code": error["code"], "message": error["message"],
                   "details": error["details"]}),
        );
        assert_eq!(client.predict("", &example()).status, 200, "after {name}");
    }
    insta::assert_json_snapshot!("bad_requests", answers);
    assert_eq!(client.post("/api/health", "{}").header("allow"), "GET,HEAD");
    assert_eq!(client.get("/api/predicts").header("allow"), "POST");
}

#[test]
fn a_hundred_problems_are_listed_and_the_others_counted() {
    let server = TestServer::start();
    let answer = server.client().predict("", &json!(vec![json!({}); 300]));
    let details = &answer.json()["error"]["details"];
    assert_eq!(details["fields"].as_array().map(Vec::len), Some(100));
    assert_eq!(details["more"], 500);
}

#[test]
fn under_partial_a_bad_document_costs_only_itself() {
    let server = TestServer::start();
    let client = server.client();
    let docs = json!([
        {"doc_id": "good", "doc": "Great."},
        {"doc_id": "blank", "doc": " "},
        {"doc": 5},
        {"doc_id": "model", "doc": "[model]"},
        {"doc_id": "last", "doc": "Poor."},
    ]);
    assert_eq!(client.predict("", &docs).status, 422);
    let answer = client.predict("?partial=true", &docs);
    insta::assert_json_snapshot!("partial", stable(&answer));
    let all_bad = client.predict("?partial=true", &json!([{}]));
    assert_eq!(all_bad.status, 200);
    assert_eq!(client.predict("?partial=true", &json!([])).status, 422, "no document is no result");
}

#[test]
fn failures_of_the_models_are_told_apart() {
    let server = TestServer::start();
    let client = server.client();
    let text = |text: &str| json!([{"doc_id": "1", "doc": "Great."}, {"doc_id": "2", "doc": text}]);
    let overloaded = client.predict("", &text("[overloaded]"));
    assert_eq!(overloaded.header("retry-after"), "3");
    insta::assert_json_snapshot!("overloaded", stable(&overloaded));
    for (mark, status, code) in [
        ("[too late]", 503, "overloaded"),
        ("[no model]", 503, "not_ready"),
        ("[shutting down]", 503, "not_ready"),
        ("[model]", 500, "server_error"),
        ("[panic]", 500, "server_error"),
    ] {
        let answer = client.predict("", &text(mark));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{mark}");
        assert_eq!(answer.header("retry-after").is_empty(), status == 500, "{mark}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("says"), "a panic's message stays inside");
        assert_eq!(client.predict("", &example()).status, 200, "after {mark}");
    }
}

#[test]
fn keys_let_in_and_keep_out() {
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
fn a_key_can_come_as_bearer_and_x_api_key_counts_more() {
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
fn a_refusal_comes_as_early_as_it_can() {
    let server = TestServer::start();
    let nothing_right = [("content-type", "text/plain")];
    let path = "/api/predicts?language=fr";
    assert_eq!(server.anonymous().post_with("/nope?language=fr", &nothing_right, "{").status, 404);
    assert_eq!(server.anonymous().post_with(path, &nothing_right, "{").status, 401);
    assert_eq!(server.client().post_with(path, &nothing_right, "{").status, 415);
    assert_eq!(server.client().post_with(path, JSON, "{").status, 400);
}

#[test]
fn a_page_of_another_origin_is_refused_as_any_other_client() {
    let server = TestServer::start();
    let (client, nobody) = (server.client(), server.anonymous());
    let unfit = server.client_with("sentor_live_x");
    let json = ("content-type", "application/json");
    let cases = [
        (&client, "/api/predicts", json, FORESEEN_BYTES, 503),
        (&client, "/api/ml/predict", json, FORESEEN_BYTES, 503),
        (&client, "/api/predicts", ("content-type", "text/plain"), 100, 415),
        (&client, "/api/predicts?partial=perhaps", json, 100, 400),
        (&nobody, "/api/predicts", json, 100, 401),
        (&unfit, "/api/predicts", json, 100, 401),
        (&client, "/api/predicts", json, 9, 422),
    ];
    // Whose head is looked at before the router, and whose after: a page of another origin needs the router's headers.
    for (client, path, kind, bytes, status) in cases {
        let answers = [None, Some(("origin", "https://elsewhere.example"))].map(|origin| {
            let headers: Vec<_> = [kind].into_iter().chain(origin).collect();
            client.post_with(path, &headers, format!("{:<bytes$}", "{}"))
        });
        let [own, foreign] = &answers;
        assert_eq!(own.status, status, "{path}");
        assert_eq!(stable(own), stable(foreign), "{path} {status}");
        let known = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            for varying in [
                "x-request-id",
                "traceparent",
                "date",
                "x-ratelimit-used",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
            ] {
                if let Some(value) = headers.get_mut(varying) {
                    value.clear();
                }
            }
            headers
        };
        assert_eq!(known(own), known(foreign), "{path} {status}");
    }
}

#[test]
fn limits_are_named_where_they_are_passed() {
    let limits = LimitsConfig {
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
fn a_client_says_how_long_it_waits() {
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
    setup.settings.max_buffered_bytes = 1000;
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
        // Packed, it seems to fit.
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
fn health_tells_what_clients_read() {
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
fn before_the_models_are_there_the_server_says_so() {
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
fn pages_of_other_origins_call_only_where_they_may() {
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

#[test]
fn uses_of_a_key_are_noted_in_time() {
    let server = TestServer::start();
    assert_eq!(server.client().get("/api/health").status, 200);
    let id: KeyId = server.store().records().expect("memory can be read")[0].id.clone();
    // A change of the store makes the ring write what it knows.
    server.issue(NewKey::named("another"));
    let records = server.store().records().expect("memory can be read");
    let record = records.iter().find(|record| record.id == id).expect("the key is there");
    assert_eq!(record.last_used_at, Some(now()));
}

#[test]
fn every_refusal_is_documented() {
    let page = std::fs::read_to_string("docs/errors.md").expect("docs/errors.md is there");
    for code in sentor::http::ErrorCode::ALL {
        let heading = format!("## {}\n", code.name());
        assert!(page.contains(&heading), "docs/errors.md has no section {heading:?}");
        assert!(page.contains(&format!("{heading}\n**{}**", code.status().as_u16())), "{heading}");
    }
}
