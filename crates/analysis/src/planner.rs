//! Plans the documents of a request.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use sentor_engine::{Engine, ExpectedTokens, SubmitError};
use sentor_text::language::{Detection, Language, LanguageChoice, detect};

use crate::model::Model;
use crate::plan::{Bounds, Input, Plan, PlanError};
use crate::stop::StopSignal;
use crate::{AnalysisError, Document, DocumentError, Options};

/// Plans documents: everything before the models run.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) models: Vec<Model>,
    pub(crate) routes: Vec<(Language, usize)>,
    pub(crate) fallback_language: Language,
    pub(crate) max_mentions: usize,
    /// Maximum bytes of an answer.
    pub(crate) max_answer_bytes: usize,
    /// Maximum tokens of the sequences of one document, with its entities.
    pub(crate) max_document_tokens: usize,
}

/// The model and the plan of a document, or why it has none.
pub(crate) type Planned = Result<(usize, Plan), DocumentError>;

impl Planner {
    /// Requests of fewer tokens are submitted without a precheck.
    const UNCHECKED_TOKENS: usize = 1 << 16;

    /// An idle engine accepts a request that is larger than its queue, but at most so many times. With default settings that is
    /// six million tokens, and the largest body of ordinary text has some four.
    const QUEUES_PER_REQUEST: usize = 3;

    /// Detects the language of each document and plans it. Checks with `engine` that it can do the work before large
    /// sequences are built.
    pub(crate) fn plan(
        &self,
        documents: &[Document],
        options: &Options,
        stop: &StopSignal,
        engine: &Engine,
    ) -> Result<Vec<Planned>, AnalysisError> {
        let planned_tokens = AtomicUsize::new(0);
        let admit = |tokens: usize| {
            let before = planned_tokens.fetch_add(tokens, Ordering::Relaxed);
            let total = before.saturating_add(tokens);
            let most = self.max_document_tokens.saturating_mul(Self::QUEUES_PER_REQUEST);
            if total > most {
                return Err(AnalysisError::TooManyTokens { tokens: total, most });
            }
            if total < Self::UNCHECKED_TOKENS {
                return Ok(());
            }
            engine
                .precheck(ExpectedTokens::Counted(total), &options.caller, options.deadline)
                .map_err(rejection)
        };
        let answer_bytes = AtomicUsize::new(0);
        let expect_answer = |bytes: usize| {
            let total = answer_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            let most = self.max_answer_bytes;
            if total > most { Err(AnalysisError::AnswerTooLarge { bytes: total, most }) } else { Ok(()) }
        };
        // The engine scores equal texts once.
        let is_first = firsts(documents);
        let prepare = |(document, is_first): (&Document, &bool)| {
            let bounds = Bounds {
                stop,
                max_mentions: self.max_mentions,
                max_tokens: self.max_document_tokens,
                max_text_tokens: self.max_document_tokens.saturating_mul(Self::QUEUES_PER_REQUEST),
                expect_answer: &expect_answer,
                admit: if *is_first { &admit } else { &|_| Ok(()) },
            };
            stop.check()?;
            let detection = detect(&document.text);
            let language = self.language_of(&detection, options.language);
            let model = self.route(language)?;
            let (choice, bounds) = (options.language, &bounds);
            let input = Input { document, choice, language, detection, model: &self.models[model], bounds };
            match Plan::new(input) {
                Ok(plan) => Ok(Ok((model, plan))),
                Err(PlanError::Document(error)) => Ok(Err(error)),
                Err(PlanError::Request(error)) => Err(error),
            }
        };
        // Only where `background` put the request: on any other thread the caller does the work, so that a process that scores
        // with `analyze_blocking` has no threads of rayon.
        if documents.len() > 1 && rayon::current_thread_index().is_some() {
            documents.par_iter().zip(&is_first).map(prepare).collect()
        } else {
            documents.iter().zip(&is_first).map(prepare).collect()
        }
    }

    fn language_of(&self, detection: &Detection, choice: LanguageChoice) -> Language {
        match choice {
            LanguageChoice::Fixed(language) => language,
            LanguageChoice::Auto => detection.language.unwrap_or(self.fallback_language),
        }
    }

    fn route(&self, language: Language) -> Result<usize, AnalysisError> {
        let route = self.routes.iter().find(|(routed, _)| *routed == language);
        route.map(|&(_, model)| model).ok_or(AnalysisError::NoModel(language))
    }
}

/// Which documents have a text and entities that none before them has.
fn firsts(documents: &[Document]) -> Vec<bool> {
    let mut seen = HashSet::new();
    documents.iter().map(|document| seen.insert((&document.text, &document.entities))).collect()
}

/// Texts and entities that are longer in total are planned on the background pool, several documents at a time. For
/// less (about 1,000 tokens, a millisecond or two of work), handing over the work costs more than it saves.
const LARGE_BYTES: usize = 4096;

/// Whether planning the documents takes too long for an async thread.
pub(crate) fn is_large(documents: &[Document]) -> bool {
    let bytes =
        |document: &Document| document.text.len() + document.entities.iter().map(String::len).sum::<usize>();
    documents.iter().map(bytes).sum::<usize>() > LARGE_BYTES
}

/// Converts the engine's rejection to the error for the caller.
pub(crate) fn rejection(error: SubmitError) -> AnalysisError {
    match error {
        // At least a second, since the header counts whole seconds.
        SubmitError::Overloaded { retry_after } => {
            AnalysisError::Overloaded { retry_after: retry_after.max(Duration::from_secs(1)) }
        }
        SubmitError::TooLong { needed } => AnalysisError::TooLong { needed },
        SubmitError::ShuttingDown => AnalysisError::ShuttingDown,
    }
}
