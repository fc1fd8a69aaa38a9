//! A fast and deterministic analyzer with word lists in place of models.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sentor::http::{Analyze, BoxFuture};
use sentor_analysis::{
    AnalysisError, AnalyzerStatistics, Caller, Document, DocumentAnalysis, DocumentError, EntityAnalysis,
    MentionAnalysis, ModelStatus, Options, SentenceAnalysis, Warning,
};
use sentor_engine::ModelStatistics;
use sentor_text::language::{Detection, Language, LanguageChoice};
use sentor_text::mention::MatchForm;
use sentor_text::sentiment::Distribution;
use sentor_text::span::Span;
use tokio::sync::Semaphore;

/// Scores by word lists. Marks in a text cause failures: `[overloaded]`, `[no model]`, `[too long]`, `[too late]`, `[shutting down]`
/// fail the request, `[model]` fails the document, `[panic]` panics, and `[slow]` takes a second and a half, if the
/// deadline allows.
pub(crate) struct FakeAnalyzer;

/// A [`FakeAnalyzer`] that keeps texts with `[held]` until it is opened.
pub(crate) struct Gate {
    held: AtomicUsize,
    /// Has no permits; closed when the gate opens.
    shut: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self { held: AtomicUsize::new(0), shut: Semaphore::const_new(0) }
    }
}

impl Gate {
    /// Waits until it holds this many requests; panics after a minute.
    pub(crate) fn until_it_holds(&self, requests: usize) {
        let started = Instant::now();
        while self.held.load(Ordering::SeqCst) != requests {
            assert!(started.elapsed() < Duration::from_mins(1), "it never held {requests}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Releases the held requests and all later ones.
    pub(crate) fn open(&self) {
        self.shut.close();
    }
}

/// Counts a request as held until it is dropped.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn among(held: &'a AtomicUsize) -> Self {
        held.fetch_add(1, Ordering::SeqCst);
        Self(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Analyze for Gate {
    fn analyze(&self, documents: Vec<Document>, options: Options) -> BoxFuture<'_, Outcomes> {
        Box::pin(async move {
            if documents.iter().any(|document| document.text.contains("[held]")) {
                let _held = Held::among(&self.held);
                self.shut.acquire().await.expect_err("there are no permits");
            }
            FakeAnalyzer.analyze(documents, options).await
        })
    }

    fn models(&self) -> Vec<ModelStatus> {
        FakeAnalyzer.models()
    }
}

/// The answer of an analyzer.
pub(crate) type Outcomes = Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError>;

/// A request with this content length is rejected before its body is read.
pub(crate) const FORESEEN_BYTES: usize = 4321;

impl Analyze for FakeAnalyzer {
    fn analyze(&self, documents: Vec<Document>, options: Options) -> BoxFuture<'_, Outcomes> {
        Box::pin(async move {
            let any = |mark: &str| documents.iter().any(|document| document.text.contains(mark));
            if any("[overloaded]") {
                return Err(AnalysisError::Overloaded { retry_after: Duration::from_millis(2500) });
            }
            if any("[no model]") {
                return Err(AnalysisError::NoModel(Language::Dutch));
            }
            if any("[too long]") {
                return Err(AnalysisError::TooLong { needed: Duration::from_secs(90) });
            }
            if any("[too late]") {
                return Err(AnalysisError::DeadlinePassed);
            }
            if any("[shutting down]") {
                return Err(AnalysisError::ShuttingDown);
            }
            assert!(!any("[panic]"), "the document says {}", documents[0].text);
            if any("[slow]") {
                let slow = tokio::time::sleep(Duration::from_millis(1500));
                let deadline = options.deadline.expect("every request has one");
                if tokio::time::timeout_at(deadline.into(), slow).await.is_err() {
                    return Err(AnalysisError::DeadlinePassed);
                }
            }
            Ok(documents.iter().map(|document| score(document, &options)).collect())
        })
    }

    fn precheck(&self, body_bytes: usize, _: &Caller, _: Option<Instant>) -> Result<(), AnalysisError> {
        let refusal = AnalysisError::Overloaded { retry_after: Duration::from_secs(7) };
        if body_bytes == FORESEEN_BYTES { Err(refusal) } else { Ok(()) }
    }

    fn models(&self) -> Vec<ModelStatus> {
        let model = |name: &str, languages| ModelStatus {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            languages,
            signature: "span",
            ready: true,
        };
        vec![model("fake-en", vec!["en"]), model("fake-nl", vec!["nl"])]
    }

    /// The statistics of an unused engine.
    fn statistics(&self) -> AnalyzerStatistics {
        let of = |name: &str| ModelStatistics { name: name.to_owned(), ..ModelStatistics::default() };
        let mut statistics = AnalyzerStatistics::default();
        statistics.engine.models = vec![of("fake-en"), of("fake-nl")];
        statistics
    }
}

fn score(document: &Document, options: &Options) -> Result<DocumentAnalysis, DocumentError> {
    let text = &document.text;
    if text.contains("[model]") {
        return Err(DocumentError::Model);
    }
    let reads_dutch = ["Geweldig", " de ", " het "].iter().any(|word| text.contains(word));
    let detected = if reads_dutch { Language::Dutch } else { Language::English };
    let language = match options.language {
        LanguageChoice::Fixed(language) => language,
        LanguageChoice::Auto => detected,
    };
    let mut warnings = Vec::new();
    if language != detected {
        warnings.push(Warning::OtherLanguage { detected: detected.code().to_owned(), scored_as: language });
    }
    let sentences: Vec<SentenceAnalysis> = sentences(text)
        .into_iter()
        .map(|span| SentenceAnalysis { span, sentiment: opinion(span.slice(text)) })
        .collect();
    let entities = document.entities.iter().map(|entity| {
        let mentions: Vec<MentionAnalysis> = text
            .match_indices(entity.as_str())
            .map(|(start, found)| {
                let span = Span::new(start, start + found.len());
                let sentence_index =
                    sentences.iter().position(|sentence| sentence.span.contains(span)).unwrap_or(0);
                let sentiment = sentences[sentence_index].sentiment;
                MentionAnalysis { span, sentence_index, form: MatchForm::Exact, sentiment }
            })
            .collect();
        let sentiment = mentions.first().map_or_else(|| opinion(text), |mention| mention.sentiment);
        EntityAnalysis::new(entity.clone(), sentiment, mentions)
    });
    Ok(DocumentAnalysis {
        language,
        detection: Detection { language: Some(detected), code: detected.code().to_owned(), confidence: 0.9 },
        sentiment: opinion(text),
        mixed: false,
        entities: entities.collect(),
        discovered: None,
        sentences,
        warnings,
        tokens: text.split_whitespace().count(),
    })
}

fn sentences(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    for (at, character) in text.char_indices() {
        if ".!?".contains(character) {
            spans.push(Span::new(start, at + character.len_utf8()).trim(text));
            start = at + character.len_utf8();
        }
    }
    let rest = Span::new(start, text.len()).trim(text);
    if spans.is_empty() || !rest.is_empty() {
        spans.push(rest);
    }
    spans
}

fn opinion(text: &str) -> Distribution {
    let count = |words: &[&str]| -> f64 { words.iter().map(|word| text.matches(word).count() as f64).sum() };
    let positive = count(&["great", "Great", "love", "superb", "Geweldig", "geweldig"]);
    let negative = count(&["poor", "bad", "disappoint", "slecht"]);
    Distribution::from_weights([0.1 + negative, 0.2, 0.1 + positive])
}
