//! Models of signature `pair`: a tiny one has the computed scores, and an invalid one is rejected with the reason.

use std::fmt::Write as _;
use std::path::Path;

use sentor_analysis::{Analyzer, Document, DocumentAnalysis, Options, Settings, local_caller};
use sentor_engine::encode::Encoder;
use sentor_engine::registry::ModelFolder;
use sentor_text::language::{Language, LanguageChoice};
use sha2::{Digest as _, Sha256};

use crate::support::onnx::{Constant, FLOAT, INT32, INT64, Node, Outlet};

const ROWS: &[i64] = &[-1, -1];
const IDS: Outlet<'_> = ("input_ids", INT64, ROWS);
const MASK: Outlet<'_> = ("attention_mask", INT64, ROWS);
const TYPES: Outlet<'_> = ("token_type_ids", INT64, ROWS);
const LOGITS: Outlet<'_> = ("logits", FLOAT, &[-1, 3]);

/// The logits of each word; the network counts those of the second segment three times.
const WORDS: [(&str, [f32; 3]); 4] = [
    ("good", [0.0, 0.0, 2.0]),
    ("bad", [2.0, 0.0, 0.0]),
    ("camera", [0.0, 0.0, 0.5]),
    ("battery", [0.5, 0.0, 0.0]),
];

fn shipped() -> ModelFolder {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentor-en");
    ModelFolder::open(&path).expect("the model folder is in the repository")
}

/// A network that sums the logits of a pair's words: `Σ mask · (1 + 2 · type) · table[id]`.
fn network(inputs: &[Outlet<'_>], output: Outlet<'_>) -> Vec<u8> {
    let encoder = Encoder::open(&shipped()).expect("the tokenizer is in the model folder");
    let vocabulary = 30_522;
    let classes = usize::try_from(output.2[1]).expect("it is fixed");
    let mut table = vec![0.0; vocabulary * classes];
    for (word, adds) in WORDS {
        let ids = encoder.tokens(word, []).ids;
        let [id] = ids[..] else { panic!("{word} is {} tokens", ids.len()) };
        table[id as usize * classes..][..classes].copy_from_slice(&adds[..classes]);
    }
    let constants = [
        Constant::Floats("table", &[vocabulary as u64, classes as u64], table),
        Constant::Floats("one", &[], vec![1.0]),
        Constant::Floats("two", &[], vec![2.0]),
        Constant::Integers("last", &[1], vec![2]),
        Constant::Integers("tokens", &[1], vec![1]),
    ];
    let with_types = inputs.contains(&TYPES);
    let mut nodes: Vec<Node<'_>> = vec![
        ("Gather", &["table", "input_ids"], "words", &[]),
        ("Cast", &["attention_mask"], "seen", &[("to", FLOAT)]),
    ];
    if with_types {
        nodes.extend([
            ("Cast", &["token_type_ids"][..], "segment", &[("to", FLOAT)][..]) as Node<'_>,
            ("Mul", &["segment", "two"], "more", &[]),
            ("Add", &["more", "one"], "times", &[]),
            ("Mul", &["seen", "times"], "weights", &[]),
        ]);
    } else {
        nodes.push(("Mul", &["seen", "one"], "weights", &[]));
    }
    nodes.extend([
        ("Unsqueeze", &["weights", "last"][..], "column", &[][..]) as Node<'_>,
        ("Mul", &["words", "column"], "weighted", &[]),
        ("ReduceSum", &["weighted", "tokens"], output.0, &[("keepdims", 0)]),
    ]);
    crate::support::onnx::model(&nodes, &constants, inputs, &[output])
}

/// A folder with this network, the tokenizer of the shipped model, and a matching manifest.
fn folder(network: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tokenizer = std::fs::read(shipped().tokenizer()).expect("the tokenizer is in the model folder");
    let mut files = serde_json::Map::new();
    for (name, bytes) in [(ModelFolder::NETWORK, network), (ModelFolder::TOKENIZER, &tokenizer)] {
        std::fs::write(folder.path().join(name), bytes).expect("write a file");
        let sha256 = hex(&Sha256::digest(bytes));
        files.insert(name.to_owned(), serde_json::json!({ "sha256": sha256, "size_bytes": bytes.len() }));
    }
    let manifest = serde_json::json!({
        "schema": 1, "name": "tiny-pair", "version": "0.1.0", "languages": ["en"], "signature": "pair",
        "labels": ["negative", "neutral", "positive"], "tokens": {"cls": 101, "sep": 102, "pad": 0},
        "max_tokens": 128, "window_tokens": 32, "quantisation": {"scheme": "none"}, "files": files,
    });
    std::fs::write(folder.path().join(ModelFolder::MANIFEST), manifest.to_string()).expect("write a file");
    folder
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // Writing to a string cannot fail.
        hex
    })
}

fn start(folder: &tempfile::TempDir) -> Result<Analyzer, String> {
    let models = vec![(Language::English, folder.path().to_owned())];
    let settings = Settings { models, workers: Some(1), ..Settings::default() };
    Analyzer::start(&settings).map_err(|error| error.to_string())
}

fn score(analyzer: &Analyzer, text: &str, entities: &[&str]) -> DocumentAnalysis {
    let options = Options {
        language: LanguageChoice::Fixed(Language::English),
        caller: local_caller(),
        deadline: None,
    };
    let entities = entities.iter().map(|&name| name.to_owned()).collect();
    let document = Document { text: text.to_owned(), entities, ..Document::default() };
    let answers = analyzer.analyze_blocking(vec![document], options);
    answers.expect("the queue is empty").remove(0).expect("the document is scored")
}

/// The logits of these probabilities, up to a constant: negative and positive relative to neutral.
fn against_neutral(probabilities: [f32; 3]) -> [f32; 2] {
    let [negative, neutral, positive] = probabilities.map(f32::ln);
    [negative - neutral, positive - neutral]
}

#[track_caller]
fn assert_logits(probabilities: [f32; 3], expected: [f32; 2]) {
    let found = against_neutral(probabilities);
    let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-3);
    assert!(close, "{found:?}, and should be {expected:?}");
}

const TEXT: &str = "The good camera. The bad battery, and the bad camera.";

#[test]
fn a_pair_model_scores_sentences_mentions_and_implicit_entities() {
    let folder = folder(&network(&[IDS, MASK, TYPES], LOGITS));
    let analyzer = start(&folder).expect("the model is in order");
    assert_eq!(analyzer.models()[0].signature, "pair");
    let scored = score(&analyzer, TEXT, &["camera", "battery", "good price", "camera"]);

    // A sentence is read alone, with nothing behind it.
    assert_logits(scored.sentences[0].sentiment.probabilities(), [0.0, 2.5]);
    assert_logits(scored.sentences[1].sentiment.probabilities(), [4.5, 0.5]);
    // The window has both sentences: 4.5 negative, 3.0 positive; an entity's name counts three times.
    let [camera, battery, price, again] = &scored.entities[..] else { panic!("four were asked for") };
    assert_eq!((camera.mentions.len(), battery.mentions.len(), price.mentions.len()), (2, 1, 0));
    for mention in camera.mentions.iter() {
        assert_logits(mention.sentiment.probabilities(), [4.5, 4.5]);
    }
    assert_logits(battery.sentiment.probabilities(), [6.0, 3.0]);
    assert_logits(price.sentiment.probabilities(), [4.5, 9.0]);
    assert_eq!(again.sentiment, camera.sentiment);
    // Two sentences, and a sequence for each entity. The entity that comes twice is planned once, so the engine has
    // nothing to deduplicate.
    let statistics = analyzer.statistics().engine;
    assert_eq!((statistics.models[0].sequences, statistics.deduplicated_sequences), (5, 0));
}

#[test]
fn a_long_text_is_scored_in_windows() {
    let folder = folder(&network(&[IDS, MASK, TYPES], LOGITS));
    let analyzer = start(&folder).expect("the model is in order");
    let text = [TEXT; 20].join(" ");
    let scored = score(&analyzer, &text, &["battery", "price"]);
    assert_eq!((scored.sentences.len(), scored.entities[0].mentions.len()), (40, 20));
    for mention in scored.entities[0].mentions.iter() {
        let [negative, _, positive] = mention.sentiment.probabilities();
        assert!(negative > positive, "{mention:?}");
    }
}

#[test]
fn segment_inputs_are_optional() {
    let folder = folder(&network(&[IDS, MASK], LOGITS));
    let analyzer = start(&folder).expect("the model is in order");
    let scored = score(&analyzer, "The good camera.", &["camera"]);
    // The name counts as often as any word.
    assert_logits(scored.entities[0].sentiment.probabilities(), [0.0, 3.0]);
}

#[test]
fn a_model_that_contradicts_its_manifest_is_rejected_with_the_reason() {
    let fixed: Outlet<'_> = ("attention_mask", INT64, &[1, -1]);
    let narrow: Outlet<'_> = ("input_ids", INT32, ROWS);
    let cases: [(&[Outlet<'_>], Outlet<'_>, &str); 5] = [
        (&[IDS, MASK], ("scores", FLOAT, &[-1, 3]), "its outputs are [\"scores\"]"),
        (&[IDS, MASK], ("logits", FLOAT, &[-1, 2]), "has 2 classes, and must have 3"),
        (&[IDS, MASK, ("span_row", INT64, &[-1])], LOGITS, "with token_type_ids or without"),
        (&[IDS, fixed], LOGITS, "its input attention_mask is fixed to 1"),
        (&[narrow, MASK], LOGITS, "input_ids holds i32, and must hold i64"),
    ];
    for (inputs, output, expected) in cases {
        let folder = folder(&network(inputs, output));
        let problem = start(&folder).expect_err(expected);
        assert!(problem.contains(expected) && problem.contains("model.onnx"), "{expected}: {problem}");
    }
}
