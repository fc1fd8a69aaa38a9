//! Clusters, topic names and embeddings over HTTP, with the embedding models that are shipped.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use crate::support::{Setup, TestServer};
use sentor_analysis::{Analyzer, Settings};
use sentor_store::keys::{NewKey, Scope};
use sentor_text::language::Language;
use serde_json::{Value, json};

/// One analyzer for all tests: it takes a moment to load.
static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| {
    let path = |name: &str| std::path::PathBuf::from("models").join(name);
    let settings = Settings {
        models: vec![(Language::English, path("sentor-en"))],
        embedding_models: vec![(Language::English, path("embed-en")), (Language::Dutch, path("embed-nl"))],
        workers: Some(2),
        ..Settings::default()
    };
    Arc::new(Analyzer::start(&settings).expect("the models load"))
});

fn server() -> TestServer {
    TestServer::start_with(Setup { analyzer: Some(Arc::clone(&ANALYZER) as _), ..Setup::default() })
}

const CLUSTER: &str = "/api/predicts/cluster";
const NAME: &str = "/api/predicts/topic-name";
const EMBEDDINGS: &str = "/v1/embeddings";

/// Two subjects, told apart by their words.
fn texts() -> Vec<&'static str> {
    vec![
        "The parcel came two weeks late.",
        "My delivery still has not arrived.",
        "The courier left the package at the wrong door.",
        "Shipping took far too long.",
        "The soup was cold and far too salty.",
        "A delicious pasta with fresh basil.",
        "The waiter brought us a wonderful dessert.",
        "The pizza had a burnt crust.",
    ]
}

fn documents(texts: &[&str]) -> Value {
    let document = |(index, text): (usize, &&str)| json!({"doc_id": index.to_string(), "text": text});
    texts.iter().enumerate().map(document).collect()
}

/// The texts of each cluster.
fn groups(answer: &Value) -> BTreeSet<BTreeSet<String>> {
    let clusters = answer["clusters"].as_array().expect("clusters").iter();
    let texts = |cluster: &Value| -> BTreeSet<String> {
        let documents = cluster["documents"].as_array().expect("documents").iter();
        documents.map(|document| document["text"].as_str().expect("a text").to_owned()).collect()
    };
    clusters.map(texts).collect()
}

#[test]
fn a_key_needs_the_scope() {
    let server = server();
    let body = json!({"documents": documents(&texts())}).to_string();
    let other =
        server.issue(NewKey { scopes: [Scope::Predict].into_iter().collect(), ..NewKey::named("other") });
    for path in [CLUSTER, NAME, EMBEDDINGS] {
        assert_eq!(server.anonymous().post(path, body.clone()).code(), "missing_key", "{path}");
        let answer = server.client_with(other.expose()).post(path, body.clone());
        assert_eq!((answer.status, answer.code().as_str()), (403, "insufficient_scope"), "{path}");
    }
}

#[test]
fn documents_are_grouped_by_subject_in_any_order() {
    let server = server();
    let client = server.client();
    let answer = client.post(CLUSTER, json!({"documents": documents(&texts()), "n_clusters": 0}).to_string());
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    let body = answer.json();
    let (total, clusters) = (body["total_documents"].as_u64(), body["total_clusters"].as_u64());
    assert_eq!((total, clusters, body["language"].as_str()), (Some(8), Some(2), Some("en")), "{body}");
    assert_eq!(body["outliers"], body["outliers_count"]);
    let texts = texts();
    let of = |range: std::ops::Range<usize>| texts[range].iter().map(|&text| text.to_owned()).collect();
    let expected: BTreeSet<BTreeSet<String>> = [of(0..4), of(4..8)].into_iter().collect();
    assert_eq!(groups(&body), expected);
    let first = &body["clusters"][0];
    assert_eq!(first["document_count"], 4);
    assert!(first["entities"].is_array() && !first["top_words"].as_array().expect("a list").is_empty());
    assert!(
        first["documents"][0]["cluster_probability"].as_f64().is_some_and(|value| value > 0.5),
        "{first}"
    );

    let mut backwards = texts.clone();
    backwards.reverse();
    let again = client.post(CLUSTER, json!({"documents": documents(&backwards)}).to_string()).json();
    assert_eq!(groups(&again), expected);
    let words = |body: &Value| -> Vec<Value> {
        body["clusters"].as_array().into_iter().flatten().map(|one| one["top_words"].clone()).collect()
    };
    assert_eq!(words(&body), words(&again));
}

#[test]
fn the_query_decides_the_language_and_options() {
    let server = server();
    let body = json!({"documents": documents(&texts()), "language": "nl", "n_clusters": 3}).to_string();
    let answer = server.client().post(&format!("{CLUSTER}?language=en&sentiment=true&map=true"), body).json();
    assert_eq!(answer["language"], "en");
    assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["total_clusters"], 3);
    for cluster in answer["clusters"].as_array().expect("clusters") {
        assert!(cluster["sentiment"].as_f64().is_some_and(|value| value.abs() <= 1.0), "{cluster}");
        assert!(cluster["documents"][0]["x"].as_f64().is_some_and(|value| value.abs() <= 1.0), "{cluster}");
    }
}

#[test]
fn few_or_wrong_documents_are_named() {
    let server = server();
    let post = |path: &str, body: Value| {
        let answer = server.client().post(path, body.to_string());
        (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
    };
    let (status, detail) = post(CLUSTER, json!({"documents": documents(&texts()[..4])}));
    assert_eq!(status, 422);
    assert!(detail.contains("at least 5"), "{detail}");
    let (status, detail) = post(NAME, json!({"cluster_id": 0, "documents": []}));
    assert_eq!(status, 422);
    assert!(detail.contains("at least one document"), "{detail}");
    assert_eq!(post(EMBEDDINGS, json!({"model": "none", "input": "a"})).0, 422);
}

#[test]
fn a_cluster_gets_a_name_of_its_words() {
    let server = server();
    let client = server.client();
    let body = client.post(CLUSTER, json!({"documents": documents(&texts())}).to_string()).json();
    for cluster in body["clusters"].as_array().expect("clusters") {
        let request = json!({
            "cluster_id": cluster["cluster_id"], "documents": cluster["documents"], "entities": ["parcel"],
            "top_words": cluster["top_words"], "language": "en",
        });
        let answer = client.post(NAME, request.to_string());
        let named = answer.json();
        assert_eq!(answer.status, 200, "{named}");
        assert_eq!(named["cluster_id"], cluster["cluster_id"]);
        assert_eq!(named["document_count"], 4);
        assert_eq!(named["generation_method"], "Fallback");
        let name = named["topic_name"].as_str().expect("a name");
        assert!(!name.is_empty() && !name.to_lowercase().contains("parcel"), "{name}");
    }
    let blank = json!({"cluster_id": -1, "documents": [{"doc_id": "a", "text": "It was the"}]});
    let named = client.post(NAME, blank.to_string()).json();
    assert_eq!(named["topic_name"], "It was the");
}

#[test]
fn vectors_have_length_one_and_are_near_for_one_subject() {
    let server = server();
    let texts = [
        "The parcel came late.",
        "My delivery has not arrived.",
        "A delicious pasta.",
        &["The parcel came late. ".repeat(60), "A delicious pasta. ".repeat(60)].concat(),
    ];
    let request = json!({"model": "embed-en", "input": texts}).to_string();
    let answer = server.client().post(EMBEDDINGS, request).json();
    assert_eq!((answer["object"].as_str(), answer["model"].as_str()), (Some("list"), Some("embed-en")));
    let vectors: Vec<Vec<f64>> = answer["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["embedding"].as_array().expect("numbers").iter().filter_map(Value::as_f64).collect())
        .collect();
    let cosine = |a: usize, b: usize| -> f64 { vectors[a].iter().zip(&vectors[b]).map(|(a, b)| a * b).sum() };
    assert_eq!(vectors.len(), 4);
    for (index, vector) in vectors.iter().enumerate() {
        assert_eq!(vector.len(), 384);
        assert!((cosine(index, index) - 1.0).abs() < 1e-5);
    }
    assert!(cosine(0, 1) > cosine(0, 2) + 0.2);
    // The end of a long text is read too.
    let apart = cosine(0, 2) + 0.1;
    assert!(cosine(0, 3) > apart && cosine(2, 3) > apart, "{apart}: {} {}", cosine(0, 3), cosine(2, 3));
    assert!(answer["usage"]["total_tokens"].as_u64().is_some_and(|tokens| tokens > 500));
    let one = json!({"model": "nl", "input": "Een pakje.", "encoding_format": "base64"}).to_string();
    let answer = server.client().post(EMBEDDINGS, one).json();
    assert_eq!(answer["data"][0]["embedding"].as_str().map(str::len), Some(384 * 4 / 3 * 4));
}

#[test]
fn one_subject_is_one_place_in_both_languages() {
    let server = server();
    let texts = ["De bezorging was te laat.", "The delivery was late.", "De soep was koud."];
    let request = json!({"model": "embed-nl", "input": texts}).to_string();
    let answer = server.client().post(EMBEDDINGS, request).json();
    let vector = |index: usize| -> Vec<f64> {
        let numbers = answer["data"][index]["embedding"].as_array().expect("numbers").iter();
        numbers.filter_map(Value::as_f64).collect()
    };
    let cosine = |a: usize, b: usize| -> f64 { vector(a).iter().zip(vector(b)).map(|(a, b)| a * b).sum() };
    assert!(cosine(0, 1) > cosine(0, 2), "{} {}", cosine(0, 1), cosine(0, 2));
}
