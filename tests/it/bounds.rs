//! The cost of one document is bounded, whatever its text and its entities: the mentions in its answer, its sequences,
//! and the time to plan it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sentor_analysis::results::document_result_bytes;
use sentor_analysis::{
    AnalysisError, Analyzer, Document, DocumentAnalysis, DocumentError, EntityAnalysis, MentionSource,
    Options, Settings, Warning, local_caller,
};
use sentor_text::language::{Language, LanguageChoice};
use serde_json::json;

use crate::support::TestServer;

const MAX_MENTIONS: usize = 500;

fn analyzer() -> Analyzer {
    let model = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/sentor-en");
    let settings = Settings {
        models: vec![(Language::English, model)],
        workers: Some(1),
        max_mentions: MAX_MENTIONS,
        ..Settings::default()
    };
    Analyzer::start(&settings).expect("the model is in the repository")
}

fn options(deadline: Option<Instant>) -> Options {
    Options { language: LanguageChoice::Fixed(Language::English), caller: local_caller(), deadline }
}

fn document(text: String, entities: Vec<String>, mentions: MentionSource) -> Document {
    Document { text, entities, mentions, ..Document::default() }
}

fn score(analyzer: &Analyzer, document: Document) -> Result<DocumentAnalysis, DocumentError> {
    let answers = analyzer.analyze_blocking(vec![document], options(None));
    answers.expect("the queue is empty").remove(0)
}

fn left_out(analysis: &DocumentAnalysis) -> usize {
    let counts = analysis.warnings.iter().filter_map(|warning| match warning {
        Warning::MentionsLeftOut { count, most } => {
            assert_eq!(*most, MAX_MENTIONS);
            Some(*count)
        }
        _ => None,
    });
    counts.sum()
}

#[test]
fn mentions_times_entities_stay_bounded() {
    let analyzer = analyzer();
    let text = "ab ".repeat(400);
    let once = document(text.clone(), vec!["ab".to_owned()], MentionSource::Find);
    let once = score(&analyzer, once).expect("it is scored");
    assert_eq!((once.entities[0].mentions.len(), left_out(&once)), (400, 0));

    let often = document(text.clone(), vec!["ab".to_owned(); 1000], MentionSource::Find);
    let often = score(&analyzer, often).expect("it is scored");
    assert_eq!(often.entities.len(), 1000, "each requested entity has its answer");
    for entity in &often.entities {
        assert!(entity.is_explicit());
        assert_eq!(entity.sentiment, once.entities[0].sentiment, "equal entities have one score");
    }
    let listed: usize = often.entities.iter().map(|entity| entity.mentions.len()).sum();
    assert_eq!((listed, left_out(&often)), (MAX_MENTIONS, 1000 * 400 - MAX_MENTIONS));
    assert_eq!(often.tokens, once.tokens, "they are read once");
    let bytes = document_result_bytes(None, &text, &often);
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

#[test]
fn mentions_of_different_entities_and_pronouns_stay_bounded() {
    let analyzer = analyzer();
    let names: Vec<String> = (1..=60).map(|count| "ab ".repeat(count)).collect();
    let nested = document("ab ".repeat(300), names, MentionSource::FindWithPronouns);
    let nested = score(&analyzer, nested).expect("it is scored");
    let listed: usize = nested.entities.iter().map(|entity| entity.mentions.len()).sum();
    assert!((MAX_MENTIONS..=MAX_MENTIONS + 60).contains(&listed), "{listed}");
    assert!(nested.entities.iter().all(EntityAnalysis::is_explicit), "each has its first mention");
    assert!(left_out(&nested) > 0);

    let spellings = ["Jan", "jan", "JAN", "Jan.", " Jan"].map(str::to_owned).to_vec();
    let followed = document("Jan came. He saw. ".repeat(120), spellings, MentionSource::FindWithPronouns);
    let followed = score(&analyzer, followed).expect("it is scored");
    let listed: usize = followed.entities.iter().map(|entity| entity.mentions.len()).sum();
    assert!(listed <= MAX_MENTIONS + 5, "{listed}");
    assert!(left_out(&followed) > 0);
}

#[test]
fn the_sequences_of_many_entities_are_counted_before_they_are_built() {
    let analyzer = analyzer();
    let names = (0..1000).map(|number| format!("{} {number}", "qwertyuiop zxcvbnm ".repeat(10))).collect();
    let immense = document("The screen is bright. ".repeat(16_000), names, MentionSource::Find);
    let refused = score(&analyzer, immense).expect_err("it would be tens of thousands of sequences");
    let DocumentError::TooManyTokens { tokens, most } = refused else { panic!("{refused}") };
    assert!(tokens > most && most == Settings::default().max_queued_tokens, "{tokens} of {most}");
    let engine = analyzer.statistics().engine;
    let sequences: u64 = engine.models.iter().map(|model| model.sequences).sum();
    assert_eq!(sequences, 0, "the engine saw nothing of it");
}

#[test]
fn planning_ends_at_the_deadline() {
    let analyzer = analyzer();
    // Every byte ends a thousand entities: a minute of work.
    let names = (1..=1000).map(|length| "a".repeat(length)).collect();
    let slow = document("a".repeat(1_000_000), names, MentionSource::Find);
    let deadline = Instant::now() + Duration::from_millis(300);
    let answer = analyzer.analyze_blocking(vec![slow], options(Some(deadline)));
    assert_eq!(answer.map(|answers| answers.len()), Err(AnalysisError::DeadlinePassed));

    let small = document("The camera is good.".to_owned(), Vec::new(), MentionSource::Find);
    let answer = analyzer.analyze_blocking(vec![small], options(Some(Instant::now())));
    assert_eq!(answer.map(|answers| answers.len()), Err(AnalysisError::DeadlinePassed));
}

#[tokio::test]
async fn planning_stops_when_its_caller_disconnects() {
    let analyzer = analyzer();
    let names: Vec<String> = (1..=1000).map(|length| "a".repeat(length)).collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    // One for each thread, and as many again in the queue.
    for _ in 0..2 * threads {
        let slow = document("a".repeat(1_000_000), names.clone(), MentionSource::Find);
        let leaves = analyzer.analyze(vec![slow], options(None));
        assert!(tokio::time::timeout(Duration::from_millis(50), leaves).await.is_err());
    }
    // If any of them were still running, this would take a minute.
    let other = document("The camera is good. ".repeat(500), Vec::new(), MentionSource::Find);
    let answers =
        analyzer.analyze(vec![other], options(Some(Instant::now() + Duration::from_secs(20)))).await;
    assert!(answers.expect("it is scored in time")[0].is_ok());
}

#[test]
fn texts_without_visible_characters_are_rejected() {
    let server = TestServer::start();
    let client = server.client();
    for doc in ["\u{200b}\u{200d}\u{feff}", "\0\0", "\u{ad} \u{202e}"] {
        let answer = client.predict("", &json!([{"doc_id": "1", "doc": doc}]));
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_error"), "{doc:?}");
        let answer = client.predict("", &json!([{"doc_id": "1", "doc": "Good.", "entities": [doc]}]));
        assert_eq!((answer.status, answer.code().as_str()), (422, "validation_error"), "{doc:?}");
    }
}
