//! The wire contract of scoring: documents, languages, offsets, sizes, partial results.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::contract::{example, stable};

#[test]
fn documents_are_scored_as_the_contract_requires() {
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
fn offsets_are_in_the_unit_of_the_caller() {
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

#[test]
fn under_partial_a_bad_document_fails_alone() {
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
