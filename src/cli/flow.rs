//! Scores several batches at once, so that all workers are busy, and returns the answers in the order of the batches, with
//! only a few batches in memory.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sentor_analysis::{
    AnalysisError, Analyzer, Document, DocumentAnalysis, DocumentError, Options, local_caller,
};
use sentor_text::language::LanguageChoice;

/// Maximum documents in a batch: enough for the engine to find sequences of similar length.
pub(super) const BATCH_DOCUMENTS: usize = 64;

/// Maximum text in a batch, unless one document alone has more. It bounds the memory of the batches in flight, and
/// keeps a batch well below the engine's queue limit.
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// Maximum time to wait for room in the queue. No other program fills it, so a longer rejection is permanent.
const MAX_WAIT: Duration = Duration::from_mins(2);

/// Documents to score together, with a payload for their answers.
pub(super) struct Batch<T> {
    pub(super) documents: Vec<Document>,
    pub(super) language: LanguageChoice,
    pub(super) payload: T,
}

/// One answer for each document, in order.
pub(super) type Answers = Vec<Result<DocumentAnalysis, DocumentError>>;

/// Answers with the payload of their batch.
pub(super) struct Scored<T> {
    pub(super) answers: Result<Answers, AnalysisError>,
    pub(super) payload: T,
}

/// Scores a batch: [`Analyzer::analyze_blocking`], or a fake in tests.
pub(super) trait Score: Send + Sync + 'static {
    fn score(&self, documents: Vec<Document>, options: Options) -> Result<Answers, AnalysisError>;
}

impl Score for Analyzer {
    fn score(&self, documents: Vec<Document>, options: Options) -> Result<Answers, AnalysisError> {
        self.analyze_blocking(documents, options)
    }
}

/// Scores `batches`; the answers come in their order.
///
/// A thread reads the batches, a few ahead of the answer that the iterator returns next. It ends at the next batch once
/// the iterator is dropped.
pub(super) fn score_in_order<T: Send + 'static>(
    scorer: Arc<impl Score>,
    batches: impl Iterator<Item = Batch<T>> + Send + 'static,
) -> impl Iterator<Item = Scored<T>> {
    // Twice as many batches as workers: while one is written and one is read, none of them waits.
    let ahead = 2 * thread::available_parallelism().map_or(1, usize::from);
    let (sender, receiver) = sync_channel(ahead);
    thread::spawn(move || draw(&scorer, batches, &sender));
    InOrder { receiver }
}

/// Starts a thread for each batch; the channel's bound holds the number of them down.
fn draw<T: Send + 'static>(
    scorer: &Arc<impl Score>,
    batches: impl Iterator<Item = Batch<T>>,
    sender: &SyncSender<JoinHandle<Scored<T>>>,
) {
    for batch in batches {
        let scorer = Arc::clone(scorer);
        let handle = thread::spawn(move || {
            let answers = if batch.documents.is_empty() {
                Ok(Vec::new())
            } else {
                score_with_retries(scorer.as_ref(), &batch.documents, batch.language)
            };
            Scored { answers, payload: batch.payload }
        });
        if sender.send(handle).is_err() {
            return;
        }
    }
}

/// Tries again while the queue is full.
fn score_with_retries(
    scorer: &impl Score,
    documents: &[Document],
    language: LanguageChoice,
) -> Result<Answers, AnalysisError> {
    let mut waited = Duration::ZERO;
    loop {
        let options = Options { language, caller: local_caller(), deadline: None };
        match scorer.score(documents.to_vec(), options) {
            Err(AnalysisError::Overloaded { retry_after }) if waited < MAX_WAIT => {
                let pause = retry_after.clamp(Duration::from_millis(10), Duration::from_secs(1));
                waited += pause;
                thread::sleep(pause);
            }
            answers => return answers,
        }
    }
}

struct InOrder<T> {
    receiver: Receiver<JoinHandle<Scored<T>>>,
}

impl<T> Iterator for InOrder<T> {
    type Item = Scored<T>;

    fn next(&mut self) -> Option<Scored<T>> {
        let handle = self.receiver.recv().ok()?;
        match handle.join() {
            Ok(scored) => Some(scored),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use sentor_analysis::{EntityAnalysis, MentionAnalysis, SentenceAnalysis};
    use sentor_text::language::{Detection, Language};
    use sentor_text::mention::MatchForm;
    use sentor_text::sentiment::Distribution;
    use sentor_text::span::Span;

    /// Scores a text that contains "good" as positive toward everything, finds an entity at the first occurrence of its
    /// letters, rejects every third call, and takes longer for earlier ones.
    #[derive(Default)]
    pub(in crate::cli) struct Fake {
        calls: AtomicUsize,
    }

    impl Score for Fake {
        fn score(&self, documents: Vec<Document>, options: Options) -> Result<Answers, AnalysisError> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            if call % 3 == 2 {
                return Err(AnalysisError::Overloaded { retry_after: Duration::ZERO });
            }
            thread::sleep(Duration::from_millis(20 / (1 + call as u64)));
            Ok(documents.iter().map(|document| fake_analysis(document, options.language)).collect())
        }
    }

    pub(in crate::cli) fn fake_analysis(
        document: &Document,
        language: LanguageChoice,
    ) -> Result<DocumentAnalysis, DocumentError> {
        if document.text.trim().is_empty() {
            return Err(DocumentError::Blank);
        }
        let good = document.text.contains("good");
        let sentiment = Distribution::from_weights(if good { [1.0, 1.0, 2.0] } else { [2.0, 1.0, 1.0] });
        let entities = document.entities.iter().map(|entity| {
            let mentions =
                document.text.match_indices(entity.as_str()).map(|(start, found)| MentionAnalysis {
                    span: Span::new(start, start + found.len()),
                    sentence_index: 0,
                    form: MatchForm::Exact,
                    sentiment,
                });
            EntityAnalysis::new(entity.clone(), sentiment, mentions.collect())
        });
        let whole = Span::new(0, document.text.len()).trim(&document.text);
        Ok(DocumentAnalysis {
            language: match language {
                LanguageChoice::Fixed(language) => language,
                LanguageChoice::Auto => Language::English,
            },
            detection: Detection { language: None, code: "und".to_owned(), confidence: 0.0 },
            sentiment,
            sentences: vec![SentenceAnalysis { span: whole, sentiment }],
            mixed: false,
            entities: entities.collect(),
            discovered: None,
            warnings: Vec::new(),
            tokens: document.text.len(),
        })
    }

    #[test]
    fn answers_come_in_order_and_a_full_queue_is_waited_for() {
        let batches = (0..50).map(|number| Batch {
            documents: vec![Document { text: "good".to_owned(), ..Document::default() }],
            language: LanguageChoice::Auto,
            payload: number,
        });
        let scored: Vec<_> = score_in_order(Arc::new(Fake::default()), batches).collect();
        assert!(scored.iter().all(|scored| scored.answers.as_ref().is_ok_and(|answers| answers.len() == 1)));
        assert!(scored.iter().map(|scored| scored.payload).eq(0..50));
    }
}
