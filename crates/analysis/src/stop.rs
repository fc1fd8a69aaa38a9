//! Stops the work on a request whose answer is no longer wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::AnalysisError;

/// A stop signal for the work on a request. Its clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct StopSignal {
    deadline: Option<Instant>,
    is_cancelled: Arc<AtomicBool>,
}

/// Raises the signal when it is dropped, together with the future of the request.
#[derive(Debug)]
pub(crate) struct StopOnDrop(Arc<AtomicBool>);

impl StopSignal {
    /// A signal that is raised at `deadline`.
    pub(crate) fn at(deadline: Option<Instant>) -> Self {
        Self { deadline, is_cancelled: Arc::default() }
    }

    /// A guard that raises the signal when it is dropped.
    pub(crate) fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(Arc::clone(&self.is_cancelled))
    }

    /// Whether the answer is no longer wanted.
    pub(crate) fn is_raised(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// # Errors
    ///
    /// If the answer is no longer wanted. A caller that disconnected does not see the error.
    pub(crate) fn check(&self) -> Result<(), AnalysisError> {
        if self.is_raised() { Err(AnalysisError::DeadlinePassed) } else { Ok(()) }
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stops_with_its_request() {
        let signal = StopSignal::at(None);
        let guard = signal.clone().on_drop();
        assert_eq!(signal.check(), Ok(()));
        drop(guard);
        assert_eq!(signal.check(), Err(AnalysisError::DeadlinePassed));
    }

    #[test]
    fn work_stops_at_its_deadline() {
        assert!(StopSignal::at(Some(Instant::now())).is_raised());
    }
}
