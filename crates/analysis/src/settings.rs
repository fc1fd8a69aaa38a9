//! Settings of an analyzer, and errors of its start.

use std::path::PathBuf;

use sentor_engine::encode::EncodeError;
use sentor_engine::registry::{RegistryError, Task};
use sentor_engine::{Engine, EngineError, RuntimeError};
use sentor_text::language::Language;

/// Settings of an [`Analyzer`](crate::Analyzer).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The ONNX Runtime library; `None`: the copy of `make onnxruntime`.
    pub onnxruntime: Option<PathBuf>,
    /// The model folder for each language. Languages may share one.
    pub models: Vec<(Language, PathBuf)>,
    /// The embedding model's folder for each language. A folder that does not exist leaves its language without one.
    pub embedding_models: Vec<(Language, PathBuf)>,
    /// Whether embedding models are loaded at the start, rather than when they are first used.
    pub load_embeddings: bool,
    /// The language as which `auto` scores a text if it detects none.
    pub fallback_language: Language,
    /// Worker threads; `None`: one for each physical core that the process may use.
    pub workers: Option<usize>,
    /// Most padded tokens in a batch, unless a single sequence has more.
    pub max_batch_tokens: usize,
    /// Most tokens in the queue.
    pub max_queued_tokens: usize,
    /// Most mentions of one document that are scored and listed.
    pub max_mentions: usize,
    /// Most bytes that the answer to one request may hold.
    pub max_answer_bytes: usize,
    /// Memory for texts that were scored before, in bytes; 0 keeps none.
    pub cache_bytes: usize,
    /// Whether equal texts that are queued or running are scored once.
    pub deduplicate: bool,
    /// Niceness of the workers, 0 to 19.
    pub worker_niceness: u8,
}

impl Default for Settings {
    /// No models, and the defaults of the engine: two million queued tokens are a few minutes of work and some 50 MB,
    /// and 32 MiB hold the scores of some 80,000 sentences.
    fn default() -> Self {
        Self {
            onnxruntime: None,
            models: Vec::new(),
            embedding_models: Vec::new(),
            load_embeddings: false,
            fallback_language: Language::English,
            workers: None,
            max_batch_tokens: Engine::USUAL_BATCH_TOKENS,
            max_queued_tokens: 2_000_000,
            max_mentions: 10_000,
            max_answer_bytes: usize::MAX,
            cache_bytes: 32 << 20,
            deduplicate: true,
            worker_niceness: 0,
        }
    }
}

/// One loaded model, as health and `models list` show it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ModelStatus {
    /// Its name, from the manifest.
    pub name: String,
    /// Its version, from the manifest.
    pub version: String,
    /// Codes of the languages that are routed to it.
    pub languages: Vec<&'static str>,
    /// `span` or `pair`.
    pub signature: &'static str,
    /// Whether a warm-up run has succeeded.
    pub ready: bool,
}

/// Why an [`Analyzer`](crate::Analyzer) could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A model folder is unusable.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A model is for another task than the one that it is configured for.
    #[error("{} is a model for the task {}, and a model for {} is needed there", path.display(), actual.name(), expected.name())]
    Task {
        /// The model's folder.
        path: PathBuf,
        /// Of its manifest.
        actual: Task,
        /// Of the setting.
        expected: Task,
    },
    /// A tokenizer is unusable.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// ONNX Runtime is unusable.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
