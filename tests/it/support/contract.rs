//! Helpers for the tests of the wire contract: example documents, and bodies for snapshots.

use serde_json::{Value, json};

use crate::support::client::Answer;

/// The example of the documentation.
pub(crate) fn example() -> Value {
    json!([
        {"doc_id": "doc1", "doc": "Great phone from Apple! I love the camera.", "entities": ["Apple", "camera"]},
        {"doc_id": "doc2", "doc": "Samsung disappoints me.", "entities": ["Samsung"]},
        {"doc_id": "doc3", "doc": "The camera is poor."}
    ])
}

/// Status and body of an answer, with fixed values in place of those that change from run to run.
pub(crate) fn stable(answer: &Answer) -> Value {
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

pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
