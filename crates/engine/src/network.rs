//! The interface between the workers and a loaded model.

use crate::encode::Sequence;
use crate::output::BatchOutput;

/// A model as one worker uses it. [`super::Engine::start`] loads models from their folders; a test may pass its own to
/// [`super::Engine::with_networks`].
pub trait Network: Send {
    /// Scores `sequences`, each padded to `padded_tokens`.
    ///
    /// # Errors
    ///
    /// If the model fails. The worker then scores each sequence alone, and those that fail again have no output.
    fn run(&mut self, sequences: &[&Sequence], padded_tokens: usize) -> Result<BatchOutput, RunError>;
}

/// Why a model failed on a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(String);

impl RunError {
    /// A failure; `problem` reads after "failed:".
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}
