//! Documents in, scored documents out: the one place where the pipeline is spelled out.

mod settings;

mod analyzer;

mod planner;

mod plan;

mod model;

mod stop;

pub mod background;

pub mod results;
#[cfg(feature = "openapi")]
pub mod schemas;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use analyzer::{Analyzer, AnalyzerStatistics, local_caller};
pub use sentor_engine::Caller;
use sentor_text::language::{Detection, Language, LanguageChoice};
use sentor_text::mention::MatchForm;
use sentor_text::sentiment::Distribution;
use sentor_text::span::Span;
pub use settings::{ModelStatus, Settings, StartError};

/// A text to score, and the entities to score it toward.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// The text.
    pub text: String,
    /// Names of the entities, as the caller wrote them; duplicates are allowed and answered each.
    pub entities: Vec<String>,
    /// Where the entities stand.
    pub mentions: MentionSource,
}

/// Where the mentions of a document's entities come from.
#[derive(Clone, Debug, Default)]
pub enum MentionSource {
    /// Look for them in the text.
    #[default]
    Find,
    /// Look for them in the text, and follow pronouns where it is plain what they stand for.
    FindWithPronouns,
    /// The caller knows: `(index of the entity, place)`. An entity without one is scored as implicit.
    Given(Vec<(usize, Span)>),
}

impl MentionSource {
    /// Looks for them in the text, and follows pronouns or not.
    pub fn find(with_pronouns: bool) -> Self {
        if with_pronouns { Self::FindWithPronouns } else { Self::Find }
    }
}

/// What holds for all documents of one request.
#[derive(Clone, Debug)]
pub struct Options {
    /// The language to score as.
    pub language: LanguageChoice,
    /// Who asks: requests of one caller share their place in the queue. The key's account over HTTP, one
    /// constant elsewhere.
    pub caller: Caller,
    /// When the answer is no longer of use.
    pub deadline: Option<Instant>,
}

/// A scored document.
#[derive(Clone, Debug)]
pub struct DocumentAnalysis {
    /// What it was scored as.
    pub language: Language,
    /// What it seems to be written in.
    pub detection: Detection,
    /// How the document feels as a whole.
    pub sentiment: Distribution,
    /// Every sentence, in order.
    pub sentences: Vec<SentenceAnalysis>,
    /// One for each requested entity, in request order.
    pub entities: Vec<EntityAnalysis>,
    /// What the caller should know about how it was scored.
    pub warnings: Vec<Warning>,
    /// How many model tokens the text and its entities came to.
    pub tokens: usize,
}

/// A scored sentence.
#[derive(Clone, Debug)]
pub struct SentenceAnalysis {
    /// Where it stands, without white space at its ends.
    pub span: Span,
    /// How it feels.
    pub sentiment: Distribution,
}

/// How a document feels about one entity.
#[derive(Clone, Debug)]
pub struct EntityAnalysis {
    /// The name as requested.
    pub entity: String,
    /// How the text feels about it.
    pub sentiment: Distribution,
    is_explicit: bool,
    /// Where it is mentioned; shared by equal entities, and shorter than their number where mentions are left out.
    pub mentions: Arc<[MentionAnalysis]>,
}

impl EntityAnalysis {
    /// An entity with all its mentions.
    pub fn new(entity: String, sentiment: Distribution, mentions: Vec<MentionAnalysis>) -> Self {
        Self { entity, sentiment, is_explicit: !mentions.is_empty(), mentions: mentions.into() }
    }

    /// Whether the text names the entity.
    pub fn is_explicit(&self) -> bool {
        self.is_explicit
    }
}

/// How a document feels about an entity at one of its mentions.
#[derive(Clone, Debug)]
pub struct MentionAnalysis {
    /// Where it stands.
    pub span: Span,
    /// Index of the sentence in which it starts.
    pub sentence_index: usize,
    /// How the text's words match the entity's name.
    pub form: MatchForm,
    /// How the text feels about it there.
    pub sentiment: Distribution,
}

/// What a caller should know about how a document was scored.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// The text reads as another language than it was scored as.
    OtherLanguage {
        /// ISO code of the language it reads as.
        detected: String,
        /// What it was scored as.
        scored_as: Language,
    },
    /// The language could not be told, so the fallback was used.
    UnknownLanguage {
        /// What it was scored as.
        scored_as: Language,
    },
    /// The text is longer than the model's window and was scored in several.
    SplitIntoWindows {
        /// How many.
        windows: usize,
        /// The window's length.
        window_tokens: usize,
    },
    /// A sentence is longer than the model's window and was scored in pieces.
    SplitSentence {
        /// Which one.
        sentence_index: usize,
        /// In how many pieces.
        pieces: usize,
    },
    /// The document has more mentions than are scored and listed.
    MentionsLeftOut {
        /// How many more.
        count: usize,
        /// How many are listed at most.
        most: usize,
    },
    /// An entity's name, or a mention of it, is longer than the model can read; only its head was read.
    LongEntity {
        /// Index of the entity.
        entity_index: usize,
    },
}

/// Why one document cannot be scored; the others of its request still can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Empty, or of white space and characters that are not seen only.
    #[error("the text is empty or only white space")]
    Blank,
    /// The text, read once for each group of its entities, is too much.
    #[error(
        "the text and its entities together come to {tokens} model tokens, and at most {most} are read; ask for fewer \
         entities, or split the text"
    )]
    TooManyTokens {
        /// How many.
        tokens: usize,
        /// How many are read at most.
        most: usize,
    },
    /// A given mention lies outside the text, splits a character or names an entity that is not there.
    #[error("mention {index} does not lie inside the text or names no entity of the document")]
    MentionOutside {
        /// Which of the given mentions.
        index: usize,
    },
    /// The model failed on it; the log says why.
    #[error("the model failed on this document")]
    Model,
}

/// Why a request as a whole was not scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisError {
    /// More work is queued than can be done in time.
    #[error("the queue is full")]
    Overloaded {
        /// When trying again may work.
        retry_after: Duration,
    },
    /// The work was taken but not finished by its deadline.
    #[error("the deadline passed before the work was done")]
    DeadlinePassed,
    /// There is no model for the language.
    #[error("no model is loaded for language {}", .0.code())]
    NoModel(Language),
    /// The process is about to end.
    #[error("the server is shutting down")]
    ShuttingDown,
}
