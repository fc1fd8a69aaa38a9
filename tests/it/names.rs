//! Names on the wire: aliases, groups, other spellings, contradictions, and what a text judges without being asked.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use sentor_analysis::{Analyzer, Settings};
use sentor_text::language::Language;
use serde_json::{Value, json};

use crate::support::{Setup, TestServer};

/// A server with the English model of the repository.
fn server() -> TestServer {
    static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| {
        let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/sentor-en");
        let models = vec![(Language::English, model)];
        let settings = Settings { models, workers: Some(1), ..Settings::default() };
        Arc::new(Analyzer::start(&settings).expect("the model is in the repository"))
    });
    TestServer::start_with(Setup { analyzer: Some(Arc::clone(&ANALYZER) as _), ..Setup::default() })
}

fn first_result(server: &TestServer, query: &str, document: &Value) -> Value {
    let answer = server.client().predict(query, &json!([document]));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["results"][0].clone()
}

fn mentions(entity: &Value) -> Vec<&str> {
    let mentions = entity["mentions"].as_array().expect("a list of mentions").iter();
    mentions.map(|mention| mention["text"].as_str().expect("the text of a mention")).collect()
}

#[test]
fn an_alias_is_a_mention_of_its_entity() {
    let server = server();
    let document = json!({
        "doc_id": "1",
        "doc": "I like AH. Albert Heijn is great, Appie too.",
        "entities": [{"name": "Albert Heijn", "aliases": ["AH", "Appie"], "group": "retail"}, "AH", {"name": "bol"}],
    });
    let result = first_result(&server, "", &document);
    let entities = result["entity_sentiments"].as_array().expect("a list of entities");
    assert_eq!(entities[0]["entity"], "Albert Heijn");
    assert_eq!(entities[0]["group"], "retail");
    assert_eq!(mentions(&entities[0]), ["AH", "Albert Heijn", "Appie"]);
    assert_eq!(mentions(&entities[1]), ["AH"]);
    assert!(entities[1].get("group").is_none(), "a name alone has no group");
    assert_eq!(entities[2]["match"], "implicit");
}

#[test]
fn wrong_aliases_are_reported_with_their_place() {
    let server = server();
    let entities = json!([
        {"name": "a", "aliases": [" ", 1]}, {"aliases": []}, {"name": "a", "aliases": "b", "group": 5},
        {"name": "a", "aliases": vec!["x"; 33]}, {"name": 3},
    ]);
    let answer = server.client().predict("", &json!([{"doc_id": "1", "doc": "Fine.", "entities": entities}]));
    assert_eq!(answer.status, 422);
    let body = answer.json();
    let fields = body["error"]["details"]["fields"].as_array().expect("a list of problems");
    let paths: Vec<&str> = fields.iter().filter_map(|field| field["path"].as_str()).collect();
    assert_eq!(
        paths,
        [
            "docs[0].entities[0].aliases[0]",
            "docs[0].entities[0].aliases[1]",
            "docs[0].entities[1].name",
            "docs[0].entities[2].aliases",
            "docs[0].entities[2].group",
            "docs[0].entities[3].aliases",
            "docs[0].entities[4].name",
        ]
    );
}

#[test]
fn aliases_count_as_entities_of_the_request() {
    let mut setup = Setup::default();
    setup.settings.limits.max_request_entities = 10;
    let server = TestServer::start_with(setup);
    let entity = json!({"name": "a", "aliases": ["b", "c", "d"]});
    let answer = server
        .client()
        .predict("", &json!([{"doc_id": "1", "doc": "Fine.", "entities": [entity, entity, entity]}]));
    assert_eq!(answer.status, 422, "{}", answer.json());
}

#[test]
fn a_near_spelling_is_asked_about() {
    let server = server();
    let document = json!({"doc_id": "1", "doc": "The Fenwik is great.", "entities": ["camera", "Fenwick"]});
    let result = first_result(&server, "", &document);
    let warning = &result["warnings"][0];
    assert_eq!(warning["code"], "near_spelling");
    assert_eq!(warning["details"], json!({"entity_index": 1, "found": "Fenwik"}));
    let named =
        json!({"doc_id": "1", "doc": "The Fenwik and the Fenwick are great.", "entities": ["Fenwick"]});
    assert_eq!(first_result(&server, "", &named)["warnings"], json!([]));
}

#[test]
fn praise_and_blame_make_a_text_mixed() {
    let server = server();
    let document = json!({
        "doc_id": "1",
        "doc": "The camera is superb, I love it! The screen is awful and broken, I hate it.",
        "entities": ["camera", "screen"],
    });
    let result = first_result(&server, "", &document);
    let labels: Vec<&str> = result["details"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sentence| sentence["predicted_label"].as_str())
        .collect();
    assert_eq!(labels, ["positive", "negative"]);
    assert_eq!(result["mixed"], true);
    assert_eq!(result["entity_sentiments"][0]["mixed"], false, "one mention does not contradict itself");
}

#[test]
fn discovery_adds_what_was_not_asked_for() {
    let server = server();
    let document =
        json!({"doc_id": "1", "doc": "The food is great. The staff is excellent.", "entities": ["food"]});
    let plain = first_result(&server, "", &document);
    assert!(plain.get("discovered").is_none(), "only where it is asked for");
    let mut discovering = first_result(&server, "?discover=true", &document);
    let discovered = discovering["discovered"].take();
    let names: Vec<&str> =
        discovered.as_array().into_iter().flatten().filter_map(|found| found["entity"].as_str()).collect();
    assert_eq!(names, ["staff"], "food was asked for");
    assert_eq!((&discovered[0]["kind"], &discovered[0]["sentiment"]), (&json!("aspect"), &json!("positive")));
    assert_eq!(mentions(&discovered[0]), ["staff"]);
    for field in ["probabilities", "details", "entity_sentiments"] {
        assert_eq!(discovering[field], plain[field], "{field} is that without discovery");
    }
}
