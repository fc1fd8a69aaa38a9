//! The answer to a submission.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::engine::Shared;
use super::in_flight::{Claimant, JobOutputs};
use super::{SequenceOutput, lock};

/// A claim on the outputs of one submission, in its order; `None` for sequences that the model failed on.
///
/// Dropping it withdraws the sequences that are not scored yet.
#[derive(Debug)]
pub struct Ticket {
    pub(super) receiver: oneshot::Receiver<JobOutputs>,
    pub(super) claimant: Claimant,
    pub(super) shared: Arc<Shared>,
}

impl Ticket {
    /// Blocks until all outputs are there.
    ///
    /// # Errors
    ///
    /// [`Dropped`] if the engine stopped first.
    pub fn wait(mut self) -> Result<Vec<Option<SequenceOutput>>, Dropped> {
        let (_, unused) = oneshot::channel();
        let receiver = std::mem::replace(&mut self.receiver, unused);
        receiver.blocking_recv().map_err(|_| Dropped)
    }
}

impl Future for Ticket {
    type Output = Result<Vec<Option<SequenceOutput>>, Dropped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map_err(|_| Dropped)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.claimant.job.is_open() {
            lock(&self.shared.state).withdraw(&self.claimant);
        }
    }
}

/// The engine stopped before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine stopped before the work was done")]
pub struct Dropped;
