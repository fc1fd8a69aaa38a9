//! What a worker runs.

use crate::encode::Row;

/// A network that scores spans, as one worker owns it. [`super::Engine::start`] loads them from model folders; a test
/// may bring its own to [`super::Engine::with_networks`].
pub trait Network: Send {
    /// Scores all spans of `rows`, which are padded to `padded_tokens`: three logits (negative, neutral, positive) a
    /// span, rows and their spans in order.
    ///
    /// # Errors
    ///
    /// Where the run fails; the rows are then answered with nothing.
    fn run(&mut self, rows: &[&Row], padded_tokens: usize) -> Result<Vec<[f32; 3]>, RunError>;
}

/// Why a run failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(String);

impl RunError {
    /// A failure in words that read after "failed:".
    pub fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}
