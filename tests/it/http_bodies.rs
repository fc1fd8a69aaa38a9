//! Bodies and paths of requests to score documents: compression, spellings of the path, and characters.

use std::io::Read as _;

use serde_json::{Value, json};

use crate::support::{TestServer, gzip};

#[test]
fn bodies_are_compressed_in_both_directions() {
    let server = TestServer::start();
    let client = server.client();
    let docs: Vec<Value> = (0..50).map(|n| json!({"doc_id": n.to_string(), "doc": "Great."})).collect();
    let plain = json!({ "docs": docs }).to_string();
    let headers = [("content-type", "application/json"), ("content-encoding", "GZIP")];
    let packed = client.post_with("/api/predicts", &headers, gzip(plain.as_bytes()));
    let expected = client.post("/api/predicts", plain.as_str());
    assert_eq!(packed.status, 200);
    assert_eq!(packed.bytes, expected.bytes);
    assert_eq!(expected.header("content-encoding"), "", "nobody asked");

    for encoding in ["gzip", "br", "zstd"] {
        let headers = [("content-type", "application/json"), ("accept-encoding", encoding)];
        let answer = client.post_with("/api/predicts", &headers, plain.as_str());
        assert_eq!(answer.header("content-encoding"), encoding);
        assert!(answer.bytes.len() < expected.bytes.len() / 4, "{encoding}");
        if encoding == "gzip" {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*answer.bytes).read_to_end(&mut unpacked).expect("valid gzip");
            assert_eq!(unpacked, expected.bytes);
        }
        // The server can decompress its own answers: an answer sent as a request is well-formed, and has no docs.
        let back = [("content-type", "application/json"), ("content-encoding", encoding)];
        assert_eq!(client.post_with("/api/predicts", &back, answer.bytes).status, 422, "{encoding}");
    }
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let answer = client.post_with("/api/predicts", &headers, bomb);
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"));
}

#[test]
fn all_members_of_a_compressed_body_are_read() {
    let server = TestServer::start();
    let body = json!({"docs": [{"doc_id": "1", "doc": "Great."}]}).to_string();
    let (start, end) = body.as_bytes().split_at(body.len() / 2);
    let packed = [gzip(start), gzip(end)].concat();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(server.client().post_with("/api/predicts", &headers, packed).status, 200);
}

#[test]
fn paths_are_found_as_clients_write_them() {
    let server = TestServer::start();
    let client = server.client();
    let body = json!({"docs": [{"doc_id": "1", "doc": "Great."}]}).to_string();
    let paths =
        ["/api/predict", "/api//predicts", "/api/predicts/", "/api/predicts/?language=nl", "//api/predicts"];
    for path in paths {
        assert_eq!(client.post(path, body.as_str()).status, 200, "{path}");
    }
    assert_eq!(client.get("/api//predicts/health/").status, 200);
    let missed = client.post("/predicts", body.as_str());
    assert_eq!((missed.status, missed.code().as_str()), (404, "not_found"));
    assert_eq!(missed.json()["error"]["details"]["did_you_mean"], "/api/predicts");
    let detail = missed.json()["detail"].to_string();
    assert!(detail.contains("/api"), "{detail}");
    assert_eq!(client.get("/nothing").json()["error"]["details"], json!({}));
}

#[test]
fn texts_without_a_visible_character_are_named() {
    let server = TestServer::start();
    let docs = json!([
        {"doc_id": "1", "doc": "\u{200b}\u{feff}"},
        {"doc_id": "2", "doc": "\0 \u{2060}"},
        {"doc_id": "3", "doc": "Great.", "entities": ["\u{200d}", "a\u{200d}"]},
        {"doc_id": "4", "doc": "👩\u{200d}💻"},
    ]);
    let answer = server.client().predict("", &docs);
    assert_eq!(answer.status, 422);
    let problem = |path: &str| json!({"path": path, "problem": "has no visible character"});
    let expected = json!([problem("docs[0].doc"), problem("docs[1].doc"), problem("docs[2].entities[0]")]);
    assert_eq!(answer.json()["error"]["details"]["fields"], expected);
}

#[test]
fn half_a_surrogate_pair_fails_only_its_document() {
    let server = TestServer::start();
    let body = r#"{"docs":[{"doc_id":"1","doc":"Great."},{"doc_id":"2","doc":"Great \ud83d."},
        {"doc_id":"3","doc":"\ud83d\ude00 great.","entities":["a\udc00"]},{"doc_id":"\ud83d\ude00","doc":"\ud83d\ude00"}]}"#;
    let answer = server.client().post("/api/predicts?partial=true", body);
    assert_eq!(answer.status, 200);
    let results = &answer.json()["results"];
    let path = |index: usize| results[index]["error"]["details"]["fields"][0]["path"].clone();
    assert!(results[0]["predicted_label"].is_string() && results[3]["predicted_label"].is_string());
    assert_eq!((path(1), path(2)), (json!("docs[1].doc"), json!("docs[2].entities[0]")));
    assert_eq!(results[3]["doc_id"], "😀");
    // Without `partial`, such a body is not JSON.
    assert_eq!(server.client().post("/api/predicts", body).status, 400);
}
