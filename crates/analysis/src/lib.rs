//! Documents in, scored documents out: the pipeline from a request's texts to its scores.

mod settings;

mod analyzer;

mod embed;

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
pub use embed::{EmbedOptions, Embedded, EmbeddingModel};
pub use sentor_engine::Caller;
use sentor_text::aggregate::is_mixed;
use sentor_text::discover::Kind;
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
    /// Names of the entities, as the caller wrote them. Each duplicate has its own answer.
    pub entities: Vec<String>,
    /// Source of the mentions.
    pub mentions: MentionSource,
    /// What else is known of the entities or asked of the text.
    pub extras: Extras,
}

/// What few documents have beside a text and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Of the entities, in their order; may be shorter than their list.
    pub labels: Vec<EntityLabels>,
    /// Whether what the text judges without being asked is answered too.
    pub discover: bool,
}

/// What a caller says of an entity beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityLabels {
    /// Other names of it: a mention of one is a mention of the entity.
    pub aliases: Vec<String>,
    /// Comes back with the scores.
    pub group: Option<String>,
}

/// The source of a document's mentions.
#[derive(Clone, Debug, Default)]
pub enum MentionSource {
    /// Find them in the text.
    #[default]
    Find,
    /// Find them in the text, and resolve unambiguous pronouns.
    FindWithPronouns,
    /// The caller provides them: `(index of the entity, place)`. An entity without one is scored as implicit.
    Given(Vec<(usize, Span)>),
}

impl MentionSource {
    /// Finds mentions in the text, with or without pronouns.
    pub fn find(with_pronouns: bool) -> Self {
        if with_pronouns { Self::FindWithPronouns } else { Self::Find }
    }
}

/// Options of a request, for all of its documents.
#[derive(Clone, Debug)]
pub struct Options {
    /// The language to score as.
    pub language: LanguageChoice,
    /// The caller, for the fair queue: the key's account over HTTP, one constant elsewhere.
    pub caller: Caller,
    /// The time after which the answer is no longer needed.
    pub deadline: Option<Instant>,
}

/// A scored document.
#[derive(Clone, Debug)]
pub struct DocumentAnalysis {
    /// The language it was scored as.
    pub language: Language,
    /// The detected language.
    pub detection: Detection,
    /// Sentiment of the whole document.
    pub sentiment: Distribution,
    /// Every sentence, in order.
    pub sentences: Vec<SentenceAnalysis>,
    /// Whether its sentences or mentions contradict each other ([`sentor_text::aggregate::is_mixed`]).
    pub mixed: bool,
    /// One for each requested entity, in request order.
    pub entities: Vec<EntityAnalysis>,
    /// What the text judges without being asked, most telling first; `None` where that is not asked for.
    pub discovered: Option<Vec<DiscoveredAnalysis>>,
    /// Warnings for the caller.
    pub warnings: Vec<Warning>,
    /// Number of model tokens of the text and its entities.
    pub tokens: usize,
}

/// A scored sentence.
#[derive(Clone, Debug)]
pub struct SentenceAnalysis {
    /// Its place, trimmed.
    pub span: Span,
    /// Its sentiment.
    pub sentiment: Distribution,
}

/// The sentiment of a document toward an entity.
#[derive(Clone, Debug)]
pub struct EntityAnalysis {
    /// The name as requested.
    pub entity: String,
    /// As requested.
    pub group: Option<String>,
    /// The sentiment toward it.
    pub sentiment: Distribution,
    /// Whether its mentions contradict each other.
    pub mixed: bool,
    is_explicit: bool,
    /// Its mentions, shared by equal entities. Some may be left out.
    pub mentions: Arc<[MentionAnalysis]>,
}

impl EntityAnalysis {
    /// An entity with all its mentions.
    pub fn new(entity: String, sentiment: Distribution, mentions: Vec<MentionAnalysis>) -> Self {
        let mixed = is_mixed(mentions.iter().map(|mention| mention.sentiment));
        let is_explicit = !mentions.is_empty();
        Self { entity, group: None, sentiment, mixed, is_explicit, mentions: mentions.into() }
    }

    /// Whether the text mentions the entity.
    pub fn is_explicit(&self) -> bool {
        self.is_explicit
    }
}

/// Something that a document judges without being asked.
#[derive(Clone, Debug)]
pub struct DiscoveredAnalysis {
    /// As the text writes it.
    pub entity: String,
    /// What it is.
    pub kind: Kind,
    /// How the text feels about it.
    pub sentiment: Distribution,
    /// Where it stands.
    pub mentions: Vec<MentionAnalysis>,
}

/// The sentiment of a document toward an entity at one mention.
#[derive(Clone, Debug)]
pub struct MentionAnalysis {
    /// Its place.
    pub span: Span,
    /// Index of the sentence in which it starts.
    pub sentence_index: usize,
    /// How it matches the entity's name.
    pub form: MatchForm,
    /// The sentiment there.
    pub sentiment: Distribution,
}

/// A warning about how a document was scored.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// The text seems to be in another language than it was scored as.
    OtherLanguage {
        /// ISO code of the detected language.
        detected: String,
        /// The language it was scored as.
        scored_as: Language,
    },
    /// No language was detected, so the fallback was used.
    UnknownLanguage {
        /// The fallback language.
        scored_as: Language,
    },
    /// The text is longer than the model's window and was scored in several.
    SplitIntoWindows {
        /// Number of windows.
        windows: usize,
        /// Length of a window.
        window_tokens: usize,
    },
    /// A sentence is longer than the model's window and was scored in pieces.
    SplitSentence {
        /// Index of the sentence.
        sentence_index: usize,
        /// Number of pieces.
        pieces: usize,
    },
    /// The document has more mentions than are scored and listed.
    MentionsLeftOut {
        /// Number of further mentions.
        count: usize,
        /// Maximum number of listed mentions.
        most: usize,
    },
    /// The text does not name an entity, but has a word that is spelled nearly like it.
    NearSpelling {
        /// Index of the entity.
        entity_index: usize,
        /// The word, as the text has it.
        found: String,
    },
    /// An entity's name, or a mention of it, is longer than the model can read; only its beginning was read.
    LongEntity {
        /// Index of the entity.
        entity_index: usize,
    },
}

/// Why one document cannot be scored; the others of its request still can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The text has no visible character.
    #[error("the text is empty or only white space")]
    Blank,
    /// The text would have to be read too often: once for each group of its entities.
    #[error(
        "the text and its entities together come to {tokens} model tokens, and at most {most} are read; ask for fewer \
         entities, or split the text"
    )]
    TooManyTokens {
        /// Number of tokens.
        tokens: usize,
        /// Maximum number of tokens.
        most: usize,
    },
    /// A provided mention lies outside the text, splits a character or has an unknown entity.
    #[error("mention {index} does not lie inside the text or names no entity of the document")]
    MentionOutside {
        /// Index of the mention.
        index: usize,
    },
    /// The model failed on it; the log has the cause.
    #[error("the model failed on this document")]
    Model,
}

/// Why a request as a whole was not scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisError {
    /// More work is queued than can be done in time.
    #[error("the queue is full")]
    Overloaded {
        /// Time after which a retry may succeed.
        retry_after: Duration,
    },
    /// Even without other requests, the work would take longer than its time.
    #[error("the work would take about {} ms, which is longer than its time", .needed.as_millis())]
    TooLong {
        /// Estimated least time that it takes.
        needed: Duration,
    },
    /// The answer would be larger than the server sends.
    #[error("the answer would be about {bytes} bytes, and at most {most} are sent")]
    AnswerTooLarge {
        /// Estimated least size.
        bytes: usize,
        /// Most bytes of an answer.
        most: usize,
    },
    /// The texts of a request, read once for each group of their entities, are too much.
    #[error("the texts and their entities come to more than {most} model tokens")]
    TooManyTokens {
        /// How many, as far as they were counted.
        tokens: usize,
        /// Most tokens of a request.
        most: usize,
    },
    /// The work was accepted but not finished by its deadline.
    #[error("the deadline passed before the work was done")]
    DeadlinePassed,
    /// There is no model for the language.
    #[error("no model is loaded for language {}", .0.code())]
    NoModel(Language),
    /// There is no embedding model for the language.
    #[error("no embedding model is configured for language {}", .0.code())]
    NoEmbeddingModel(Language),
    /// The embedding model cannot be used; the log says why.
    #[error("the embedding model {0} cannot be used")]
    EmbeddingModel(String),
    /// The process is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}
