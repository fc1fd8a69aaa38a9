//! From the documents of a request to their plans.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rayon::prelude::*;
use sentor_engine::{Engine, SubmitError};
use sentor_text::language::{Detection, Language, LanguageChoice, detect};

use crate::model::Model;
use crate::plan::{Bounds, Input, Plan, PlanError};
use crate::stop::StopSignal;
use crate::{AnalysisError, Document, DocumentError, Options};

/// Plans documents: all of the work but that of the models.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) models: Vec<Model>,
    pub(crate) routes: Vec<(Language, usize)>,
    pub(crate) fallback_language: Language,
    pub(crate) max_mentions: usize,
    /// Most tokens of the sequences of one document that its entities may lead to.
    pub(crate) max_document_tokens: usize,
}

/// One document's model and plan, or why it has none.
pub(crate) type Planned = Result<(usize, Plan), DocumentError>;

impl Planner {
    /// A request of fewer tokens is not asked about before it is submitted.
    const UNCHECKED_TOKENS: usize = 1 << 16;

    /// Detects the language of each document and plans it. Asks `engine` whether it can do the work before much of it is
    /// laid out.
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
            if total < Self::UNCHECKED_TOKENS {
                return Ok(());
            }
            engine.precheck(total, &options.caller, options.deadline).map_err(rejection)
        };
        let bounds = Bounds {
            stop,
            max_mentions: self.max_mentions,
            max_tokens: self.max_document_tokens,
            admit: &admit,
        };
        let prepare = |document: &Document| {
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
        if documents.len() > 1 && is_large(documents) {
            documents.par_iter().map(prepare).collect()
        } else {
            documents.iter().map(prepare).collect()
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

/// Texts and entities together longer than this are handled off the async threads, and several documents at a time.
/// Below it (about 1,000 tokens, a millisecond or two of work) handing out the work costs more than it saves.
const LARGE_BYTES: usize = 4096;

/// Whether the documents are too much work for an async thread.
pub(crate) fn is_large(documents: &[Document]) -> bool {
    let bytes =
        |document: &Document| document.text.len() + document.entities.iter().map(String::len).sum::<usize>();
    documents.iter().map(bytes).sum::<usize>() > LARGE_BYTES
}

/// The engine's rejection, as a caller is told.
pub(crate) fn rejection(error: SubmitError) -> AnalysisError {
    match error {
        // A wait of less than a second is still said as one: the header counts whole seconds.
        SubmitError::Overloaded { retry_after } => {
            AnalysisError::Overloaded { retry_after: retry_after.max(Duration::from_secs(1)) }
        }
        SubmitError::ShuttingDown => AnalysisError::ShuttingDown,
    }
}
