//! What an analyzer is started with, and why it may not start.

use std::path::PathBuf;

use sentor_engine::encode::EncodeError;
use sentor_engine::registry::RegistryError;
use sentor_engine::{Engine, EngineError, RuntimeError};
use sentor_text::language::Language;

/// What an [`Analyzer`](crate::Analyzer) is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The ONNX Runtime library; `None` looks where the set-up step puts it.
    pub onnxruntime: Option<PathBuf>,
    /// The model folder for each language. Languages may share one.
    pub models: Vec<(Language, PathBuf)>,
    /// What `auto` scores a text as whose language it cannot tell.
    pub fallback_language: Language,
    /// Worker threads; `None`: one for each physical core that the process may use.
    pub workers: Option<usize>,
    /// Most padded tokens in a batch, unless a single sequence has more.
    pub max_batch_tokens: usize,
    /// Most tokens in the queue.
    pub max_queued_tokens: usize,
    /// Most mentions of one document that are scored and listed.
    pub max_mentions: usize,
    /// Memory for texts that were scored before, in bytes; 0 keeps none.
    pub cache_bytes: usize,
    /// Whether equal texts that wait or run at one time are run once.
    pub deduplicate: bool,
    /// How far the workers give way to the other threads of the process, 0 to 19.
    pub worker_niceness: u8,
}

impl Default for Settings {
    /// No models yet; the engine as it does best: two million waiting tokens are a few minutes of work and some
    /// 50 MB, and 32 MiB remember some 80,000 sentences.
    fn default() -> Self {
        Self {
            onnxruntime: None,
            models: Vec::new(),
            fallback_language: Language::English,
            workers: None,
            max_batch_tokens: Engine::USUAL_BATCH_TOKENS,
            max_queued_tokens: 2_000_000,
            max_mentions: 10_000,
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
    /// A model folder is not in order.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A tokenizer is not in order.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// ONNX Runtime is not in order.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
