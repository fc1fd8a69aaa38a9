//! The shipped models, through the product's encoder and engine: their scores equal those of the training code, and do
//! not depend on other requests.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sentor_analysis::{Analyzer, Document, DocumentAnalysis, Options, Settings, local_caller};
use sentor_engine::encode::{Encoder, Sequence, SequenceSpan};
use sentor_engine::registry::ModelFolder;
use sentor_engine::{Engine, EngineSettings, Runtime};
use sentor_text::language::{Language, LanguageChoice};
use sentor_text::span::{OffsetMap, OffsetUnit, Span};
use serde::Deserialize;
use tempfile::TempDir;
use tokenizers::Tokenizer;

const MODELS: [(Language, &str); 2] = [(Language::English, "sentor-en"), (Language::Dutch, "sentor-nl")];

/// Written by `python -m sentor_training export`; offsets count code points.
#[derive(Deserialize)]
struct Reference {
    model_sha256: String,
    tolerance: f32,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    sentences: Vec<(usize, usize)>,
    mentions: Vec<(usize, usize)>,
    implicit: Vec<String>,
    /// Places of names, which are masked for the model.
    #[serde(default)]
    hidden: Vec<(usize, usize)>,
    input_ids: Vec<u32>,
    spans: Vec<(u32, u32)>,
    logits: Vec<[f32; 3]>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn folder(name: &str) -> ModelFolder {
    ModelFolder::open(&root().join("models").join(name)).expect("the model folder is in the repository")
}

fn reference(name: &str) -> Reference {
    let path = root().join("tests/reference").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).expect("the reference is in the repository");
    serde_json::from_str(&text).expect("the reference is as `export` writes it")
}

/// The sequence of a case, built by the product from its text.
fn sequence_of(case: &Case, encoder: &Encoder) -> Sequence {
    let map = OffsetMap::new(&case.text, OffsetUnit::CodePoint);
    let byte = |offset| map.to_bytes(offset).expect("the offset lies in the text");
    let hidden: Vec<Span> =
        case.hidden.iter().map(|&(start, end)| Span::new(byte(start), byte(end))).collect();
    let tokens = encoder.mask(encoder.tokens(&case.text, []), &hidden);
    let names: Vec<Vec<u32>> = case.implicit.iter().map(|name| encoder.entity_tokens(name, 64).0).collect();
    let names: Vec<&[u32]> = names.iter().map(Vec::as_slice).collect();
    let (mut sequence, places) = encoder.sequence(&tokens.ids, &names);
    for &(start, end) in case.sentences.iter().chain(&case.mentions) {
        let covered = tokens.covering(Span::new(byte(start), byte(end)));
        sequence.spans.push(SequenceSpan::new(covered.start + 1, covered.end));
    }
    sequence.spans.extend(places.into_iter().flatten());
    sequence
}

#[test]
fn rust_and_python_agree() {
    let runtime = Runtime::load(None).expect("ONNX Runtime has been fetched");
    for (_, name) in MODELS {
        let (folder, reference) = (folder(name), reference(name));
        folder.verify().expect("the files are as the manifest says");
        assert_eq!(
            folder.manifest().files["model.onnx"].sha256,
            reference.model_sha256,
            "the reference of {name} was written for another model.onnx; run `export` again"
        );
        let encoder = Encoder::open(&folder).expect("the tokenizer is in the model folder");
        let settings = EngineSettings {
            workers: 1,
            max_batch_tokens: 256,
            max_queued_tokens: 1 << 20,
            cache_bytes: 0,
            deduplicate: false,
            niceness: 0,
        };
        let engine = Engine::start(&runtime, &[folder], |_| false, settings).expect("the model loads");
        assert!(reference.cases.len() >= 30, "{name} has only {} cases", reference.cases.len());

        let sequences: Vec<Sequence> =
            reference.cases.iter().map(|case| sequence_of(case, &encoder)).collect();
        for (case, sequence) in reference.cases.iter().zip(&sequences) {
            let spans: Vec<_> = sequence.spans.iter().map(|span| (span.first, span.last)).collect();
            assert_eq!((&sequence.ids, &spans), (&case.input_ids, &case.spans), "{name}: {:?}", case.text);
        }
        let sequences = sequences.into_iter().map(|sequence| (0, sequence)).collect();
        let ticket = engine.submit(sequences, &local_caller(), None).expect("the queue is empty");
        for (case, output) in reference.cases.iter().zip(ticket.wait().expect("the engine is up")) {
            let output = output.expect("the batch succeeds");
            let logits = output.rows("logits").expect("a sentiment model has logits");
            assert_eq!(logits.len(), case.logits.len());
            for (actual, expected) in logits.flatten().zip(case.logits.iter().flatten()) {
                let difference = (actual - expected).abs();
                assert!(difference <= reference.tolerance, "{name}: {difference} apart on {:?}", case.text);
            }
        }
    }
}

#[test]
fn cached_words_have_the_tokens_of_the_library() {
    // Letters, combining marks, spaces of all kinds, control characters, scripts with and without spaces, and special
    // tokens.
    let parts = [
        "the",
        "Dé",
        "battery",
        "bezorgtijd",
        "Great",
        "caf\u{65}\u{301}",
        "\u{301}",
        "\u{300}a",
        "ﬁn",
        "İzmir",
        "ΣΑΣ",
        "ẞ",
        "今天",
        "好",
        "ไทย",
        "한국",
        "🙂",
        "👩‍💻",
        "don't",
        "a-b",
        "#tag",
        "@me",
        "http://x.nl/?a=b",
        "[SEP]",
        "[MASK]",
        "##s",
        "1,000.50",
        "...",
        "€5",
        " ",
        " ",
        " ",
        "  ",
        "\n",
        "\t",
        "\r\n",
        "\u{a0}",
        "\u{2003}",
        "\u{3000}",
        "\u{200b}",
        "\u{0}",
        "\u{ad}",
        "\u{fffd}",
        "\u{c}",
        "\u{b}",
        "\u{85}",
        "\u{2028}",
    ];
    let word = prop_oneof![8 => prop::sample::select(parts.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"];
    let texts = prop::collection::vec(word, 0..24).prop_map(|parts| parts.concat());
    for name in ["sentor-en", "sentor-nl"] {
        let folder = folder(name);
        let encoder = Encoder::open(&folder).expect("the tokenizer is in the model folder");
        let mut library = Tokenizer::from_file(folder.tokenizer()).expect("it is a tokenizer");
        library.set_encode_special_tokens(true);
        let mut runner = TestRunner::new(proptest::test_runner::Config::with_cases(2000));
        let outcome = runner.run(&texts, |text| {
            // Enough small letters, since sentences in capitals are lower-cased.
            let text = text + &" of words in small letters".repeat(12);
            let expected = library.encode(text.as_str(), false).expect("it has a token for every text");
            // Starts and ends never decrease, and the library's sometimes do.
            let mut last = Span::new(0, 0);
            let in_order = |&(start, end): &(usize, usize)| {
                let start = start.max(last.start);
                last = Span::new(start, end.max(last.end).max(start));
                last
            };
            let spans: Vec<Span> = expected.get_offsets().iter().map(in_order).collect();
            for turn in ["unmet", "met"] {
                let tokens = encoder.tokens(&text, []);
                prop_assert_eq!(&tokens.ids, expected.get_ids(), "{} {:?}", turn, text);
                prop_assert_eq!(&tokens.spans, &spans, "{} {:?}", turn, text);
            }
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {}", outcome.expect_err("it failed"));
    }
}

fn analyzer(workers: usize, max_batch_tokens: usize) -> Analyzer {
    start(Settings { workers: Some(workers), max_batch_tokens, ..Settings::default() })
}

fn start(settings: Settings) -> Analyzer {
    let models =
        MODELS.iter().map(|&(language, name)| (language, root().join("models").join(name))).collect();
    // Every text is scored; nothing is cached or shared.
    let settings = Settings { models, cache_bytes: 0, deduplicate: false, ..settings };
    Analyzer::start(&settings).expect("ONNX Runtime has been fetched and the models load")
}

fn documents(language: Language) -> Vec<Document> {
    let (_, name) = MODELS[language as usize];
    let cases = reference(name).cases.into_iter();
    let entities = ["service", "Apple", "de prijs", "battery", "CAMERA"];
    cases
        .enumerate()
        .filter(|(_, case)| !case.text.trim().is_empty())
        .map(|(index, case)| Document {
            text: case.text,
            entities: entities
                .iter()
                .cycle()
                .skip(index)
                .take(index % 6)
                .map(|&name| name.to_owned())
                .collect(),
            ..Document::default()
        })
        .collect()
}

/// Every probability of an answer, bit for bit.
fn bits(analysis: &DocumentAnalysis) -> Vec<u32> {
    let sentences = analysis.sentences.iter().map(|sentence| sentence.sentiment);
    let entities = analysis.entities.iter().map(|entity| entity.sentiment);
    let mentions =
        analysis.entities.iter().flat_map(|entity| entity.mentions.iter().map(|mention| mention.sentiment));
    std::iter::once(analysis.sentiment)
        .chain(sentences)
        .chain(entities)
        .chain(mentions)
        .flat_map(|distribution| distribution.probabilities().map(f32::to_bits))
        .collect()
}

fn options(language: Language) -> Options {
    Options { language: LanguageChoice::Fixed(language), caller: local_caller(), deadline: None }
}

#[test]
fn scores_do_not_depend_on_the_rest_of_the_batch() {
    let small = analyzer(1, 1);
    let large = Arc::new(analyzer(2, 2048));
    for language in Language::ALL {
        let documents = documents(language);
        let alone: Vec<Vec<u32>> = documents
            .iter()
            .map(|document| {
                let answers = small.analyze_blocking(vec![document.clone()], options(language));
                bits(answers.expect("the queue is empty")[0].as_ref().expect("the document is scored"))
            })
            .collect();
        // The same documents in one request, from several threads at once, in different orders.
        std::thread::scope(|scope| {
            for turn in 0..4 {
                let (large, documents, alone) = (Arc::clone(&large), &documents, &alone);
                scope.spawn(move || {
                    let order: Vec<usize> =
                        (0..documents.len()).map(|at| (at * 7 + turn * 5) % documents.len()).collect();
                    let shuffled: Vec<Document> =
                        order.iter().map(|&index| documents[index].clone()).collect();
                    let answers =
                        large.analyze_blocking(shuffled, options(language)).expect("the queue has room");
                    for (answer, &index) in answers.iter().zip(&order) {
                        let answer = answer.as_ref().expect("the document is scored");
                        assert_eq!(bits(answer), alone[index], "{:?}", documents[index].text);
                    }
                });
            }
        });
    }
}

#[test]
fn another_entity_does_not_change_the_other_scores() {
    let analyzer = analyzer(1, 256);
    let text = "The camera is superb, but the staff in the shop were rude. Delivery took two weeks.";
    let score = |entities: &[&str]| {
        let entities = entities.iter().map(|&name| name.to_owned()).collect();
        let document = Document { text: text.to_owned(), entities, ..Document::default() };
        let answers = analyzer.analyze_blocking(vec![document], options(Language::English));
        answers.expect("the queue is empty").remove(0).expect("the document is scored")
    };
    let (one, more) = (score(&["camera", "price"]), score(&["warranty", "price", "camera", "opening hours"]));
    let close = |left: &DocumentAnalysis, right: &DocumentAnalysis, name: &str| {
        let find = |analysis: &DocumentAnalysis| {
            let entity =
                analysis.entities.iter().find(|entity| entity.entity == name).expect("it was asked for");
            entity.sentiment.probabilities()
        };
        // A sequence that is longer by an entity is padded further, which may change the last bits but no more.
        find(left).into_iter().zip(find(right)).all(|(left, right)| (left - right).abs() < 1e-4)
    };
    assert!(close(&one, &more, "camera") && close(&one, &more, "price"));
    assert!(one.entities[0].is_explicit() && !one.entities[1].is_explicit());
}

/// A copy of the English model with other aspect words.
fn blind_folder() -> TempDir {
    let shipped = root().join("models/sentor-en");
    let blind = crate::support::folder::copy_of(&shipped);
    let manifest = std::fs::read_to_string(shipped.join("manifest.json")).expect("the manifest is there");
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    std::fs::write(blind.path().join("aspect-words.txt"), "screen\nbattery\n")
        .expect("the words are written");
    manifest["tokens"]["mask"] = 103.into();
    manifest["files"]["aspect-words.txt"] = serde_json::json!({
        "sha256": "0bdd8f7d3a91cfb05a214445e11497fd9e142dbf86ffe61faf3f57d85af7343e", "size_bytes": 15,
    });
    std::fs::write(blind.path().join("manifest.json"), manifest.to_string())
        .expect("the manifest is written");
    blind
}

#[test]
fn a_model_with_masked_names_scores_all_names_alike() {
    let folder = blind_folder();
    let settings = Settings {
        models: vec![(Language::English, folder.path().to_owned())],
        workers: Some(1),
        cache_bytes: 0,
        ..Settings::default()
    };
    let analyzer = Analyzer::start(&settings).expect("the folder is in order");
    let score = |text: String, entities: &[&str]| {
        let entities = entities.iter().map(|&name| name.to_owned()).collect();
        let document = Document { text, entities, ..Document::default() };
        let answers = analyzer.analyze_blocking(vec![document], options(Language::English));
        answers.expect("the queue is empty").remove(0).expect("the document is scored")
    };
    let of_name = |name: &str, rival: &str| {
        let text = format!(
            "{name} is slow. The screen of {name}'s phone beats that of {rival}! I love #{name} phones."
        );
        let answer = score(text, &[name, rival, "screen"]);
        assert_eq!(answer.entities[0].mentions.len(), 3, "{name}: {answer:?}");
        bits(&answer)
    };
    let expected = of_name("Apple", "Nokia");
    for (name, rival) in
        [("Samsung", "LG"), ("Zorblatt", "Vandelay Industries"), ("H&M", "Škoda"), ("Nokia", "Apple")]
    {
        assert_eq!(of_name(name, rival), expected, "{name} and {rival}");
    }
    // Aspects are still read, and so is a name that is not in the text.
    let of_part = |part: &str| bits(&score(format!("The {part} died after a week."), &[part]));
    assert_ne!(of_part("battery"), of_part("screen"));
    let of_absent = |name: &str| bits(&score("It never works.".to_owned(), &[name]));
    assert_ne!(of_absent("Apple"), of_absent("Zorblatt"));
}
