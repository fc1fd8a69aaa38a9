//! Scores a text on a running server.

use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = "The camera is superb, but the battery is a joke.";
    let documents = json!({"docs": [{"doc_id": "1", "doc": text, "entities": ["camera", "battery"]}]});
    let answer: Value = ureq::post("http://127.0.0.1:8080/api/predicts?offsets=utf8")
        .header("x-api-key", &std::env::var("SENTOR_API_KEY")?)
        .send_json(&documents)?
        .body_mut()
        .read_json()?;
    for entity in answer["results"][0]["entity_sentiments"].as_array().into_iter().flatten() {
        println!("{} {} {}", entity["entity"], entity["sentiment"], entity["score"]);
    }
    Ok(())
}
