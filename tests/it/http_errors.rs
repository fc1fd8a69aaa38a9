//! The wire contract of errors: bad requests, failing models, and the order of checks.

use serde_json::json;

use crate::support::TestServer;
use crate::support::client::Answer;
use crate::support::contract::{JSON, example, stable};
use crate::support::fake::FORESEEN_BYTES;

/// Name, path, headers, body.
type BadRequest = (&'static str, &'static str, &'static [(&'static str, &'static str)], Vec<u8>);

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
        ("wrong method", "/api/health", JSON, good),
    ]
}

#[test]
fn bad_requests_get_the_documented_error_and_the_next_good_one_works() {
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
fn failures_of_the_models_are_distinguished() {
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
fn checks_run_from_the_cheapest_to_the_most_expensive() {
    let server = TestServer::start();
    let nothing_right = [("content-type", "text/plain")];
    let path = "/api/predicts?language=fr";
    assert_eq!(server.anonymous().post_with("/nope?language=fr", &nothing_right, "{").status, 404);
    assert_eq!(server.anonymous().post_with(path, &nothing_right, "{").status, 401);
    assert_eq!(server.client().post_with(path, &nothing_right, "{").status, 415);
    assert_eq!(server.client().post_with(path, JSON, "{").status, 400);
}

#[test]
fn a_page_of_another_origin_gets_the_same_errors() {
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
    // Some of these are rejected before the router and some behind it. A page of another origin needs CORS headers in
    // both cases.
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
fn every_error_code_is_documented() {
    let page = std::fs::read_to_string("docs/errors.md").expect("docs/errors.md is there");
    for code in sentor::http::ErrorCode::ALL {
        let heading = format!("## {}\n", code.name());
        assert!(page.contains(&heading), "docs/errors.md has no section {heading:?}");
        assert!(page.contains(&format!("{heading}\n**{}**", code.status().as_u16())), "{heading}");
    }
}
