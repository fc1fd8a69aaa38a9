//! Scores of the shipped models: alone and under load, across reloads, with pronouns.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::program::{Server, run, text};

/// Texts of many lengths in both languages, each with its query.
fn mixed_documents() -> Vec<(&'static str, Value)> {
    let english = "The camera is superb, but the battery is a joke. ";
    let dutch = "De camera is prachtig, maar de batterij is waardeloos. ";
    (0..24)
        .map(|number| {
            let (query, sentence, price) = match number % 2 {
                0 => ("?language=en", english, "price"),
                _ => ("?language=nl", dutch, "prijs"),
            };
            let mut text = format!("Number {number}. {}", sentence.repeat(1 + number % 4));
            // Irregular lengths.
            text.truncate(text.len() - number);
            let entities = &["camera", "batterij", "battery", price][..number % 5];
            (query, json!({"doc_id": number.to_string(), "doc": text, "entities": entities}))
        })
        .collect()
}

/// Scores documents in one request.
fn results(client: &Client, query: &str, docs: &[&Value]) -> Vec<Value> {
    let answer = client.predict(query, &json!(docs));
    assert_eq!(answer.status, 200, "{}", text(&answer.bytes));
    answer.json()["results"].as_array().expect("results are a list").clone()
}

#[test]
fn pronouns_are_mentions_only_on_request() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "shop"]).stdout);
    let server = Server::start(data.path());
    let client = server.client(key.trim());
    let said = "This is my new phone. It breaks all the time.";
    let document = json!({"doc_id": "1", "doc": said, "entities": ["phone"]});
    let forms = |result: &Value| {
        let mentions = result["entity_sentiments"][0]["mentions"].as_array().expect("a list").clone();
        let shown = |mention: &Value| format!("{} {}", mention["form"], mention["text"]).replace('"', "");
        mentions.iter().map(shown).collect::<Vec<_>>()
    };
    for query in ["", "?pronouns=false"] {
        assert_eq!(forms(&results(&client, query, &[&document])[0]), ["exact phone"], "{query}");
    }
    let followed = &results(&client, "?pronouns=true", &[&document])[0];
    assert_eq!(forms(followed), ["exact phone", "pronoun It"]);
    let entity = &followed["entity_sentiments"][0];
    assert_eq!((&entity["match"], &entity["mentions"][1]["sentence_index"]), (&json!("explicit"), &json!(1)));
    server.stop("-TERM");

    for (flags, expected) in [(&[][..], 1), (&["--pronouns"], 2)] {
        let predict = ["predict", "--text", said, "--entity", "phone", "--format", "jsonl"];
        let printed = run(data.path(), &[&predict, flags].concat()).stdout;
        let result: Value = serde_json::from_slice(&printed).expect("a line of JSON");
        assert_eq!(forms(&result).len(), expected, "{flags:?}");
    }
}

#[test]
fn scores_are_the_same_under_load_and_reloads_drop_no_request() {
    let data = TempDir::new().expect("a folder");
    let key = text(&run(data.path(), &["keys", "create", "load"]).stdout);
    for remembers in [false, true] {
        let off: &[(&str, &str)] = &[("SENTOR_CACHE_BYTES", "0"), ("SENTOR_DEDUPLICATE", "false")];
        let server = Server::start_with(data.path(), &[], if remembers { &[] } else { off });
        let client = server.client(key.trim());
        let documents = mixed_documents();
        let alone: Vec<Value> = documents
            .iter()
            .map(|(query, document)| results(&client, query, &[document]).remove(0))
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (client, documents, alone) = (client.clone(), &documents, &alone);
                scope.spawn(move || {
                    for turn in 0..3 {
                        // Batches of one language, in different sizes and orders.
                        let size = 1 + (thread * 5 + turn * 3) % 9;
                        let chosen: Vec<usize> = (0..size)
                            .map(|place| (place * 2 * (thread + 1) + turn * 2 + thread % 2) % documents.len())
                            .collect();
                        let docs: Vec<&Value> = chosen.iter().map(|&index| &documents[index].1).collect();
                        let scored = results(&client, documents[chosen[0]].0, &docs);
                        for (result, &index) in scored.iter().zip(&chosen) {
                            assert_eq!(*result, alone[index], "beside {size} others");
                        }
                    }
                });
            }
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(150));
                server.signal("-HUP");
            }
        });
        // Two signals that come close together may count as one.
        server.wait_for_log("models are reloaded");
        let (code, _, log) = server.stop("-TERM");
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("dynamically quantised"), "the shipped models are not");
    }
}

#[test]
fn a_dynamically_quantised_model_is_named_at_start() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentor-en");
    let (data, copy) = (TempDir::new().expect("a folder"), crate::support::folder::copy_of(&shipped));
    let manifest = std::fs::read_to_string(shipped.join("manifest.json")).expect("the manifest");
    let manifest = manifest.replacen("\"static\"", "\"dynamic\"", 1);
    std::fs::write(copy.path().join("manifest.json"), manifest).expect("a file");
    let model = format!("{}/", copy.path().display());
    let (_, _, log) = Server::start_with(data.path(), &[], &[("SENTOR_MODEL_EN", &model)]).stop("-TERM");
    let line = log.lines().find(|line| line.contains("dynamically quantised")).expect("a warning");
    assert!(line.contains(&copy.path().join("model.onnx").display().to_string()), "{line}");
}
