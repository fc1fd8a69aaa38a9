//! Stub; the real module comes from the branch `http`.

use crate::analysis::Settings;
use crate::language::Language;

/// Stub.
#[derive(Debug, Default)]
pub struct Config {}

impl Config {
    /// Stub.
    pub fn analyzer_settings(&self) -> Settings {
        Settings {
            onnxruntime: None,
            models: Language::ALL.map(|l| (l, format!("models/sentor-{}", l.code()).into())).to_vec(),
            fallback_language: Language::English,
            workers: None,
            run_tokens: 4096,
            queue_tokens: 1 << 20,
        }
    }
}
