//! Sequences on their way through the engine, and the requests that wait for them.

use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use tokio::sync::oneshot;

use super::lock;
use super::scheduler::{Claim, LengthBucket};
use super::{Caller, SequenceOutput};
use crate::encode::Sequence;

/// Everything that the output of a sequence depends on.
///
/// It is hashed when it is made: maps are searched under the lock of the scheduler, for which all requests and workers wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SequenceKey {
    pub(crate) model: usize,
    pub(crate) sequence: Arc<Sequence>,
    hash: u64,
}

impl SequenceKey {
    pub(crate) fn new(model: usize, sequence: Arc<Sequence>) -> Self {
        /// Random for each process, so that no caller can choose texts whose hashes are equal.
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = HASHER.hash_one((model, &sequence));
        Self { model, sequence, hash }
    }
}

impl Hash for SequenceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A sequence that is queued or being scored, and the requests that wait for it.
///
/// It is in the queue of every caller that submitted it. Otherwise a caller's only sequence could wait behind ten
/// thousand of another caller that submitted it first. The queue that is served first claims it.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) key: SequenceKey,
    pub(crate) bucket: LengthBucket,
    /// What it is charged, in tokens.
    pub(crate) load: usize,
    pub(crate) submitted: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// A worker has it, or all requests for it were withdrawn: it must not be scored again.
    is_claimed: bool,
    /// Callers whose queues contain it.
    callers: Vec<Caller>,
    waiters: Vec<Waiter>,
}

/// A place in the results of a job.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) job: Arc<Job>,
    pub(crate) index: usize,
}

impl InFlight {
    pub(crate) fn new(key: SequenceKey, bucket: LengthBucket, load: usize, now: Instant) -> Self {
        Self { key, bucket, load, submitted: now, progress: Mutex::default() }
    }

    pub(crate) fn sequence(&self) -> &Sequence {
        &self.key.sequence
    }

    /// Adds a waiter. Returns whether the sequence must be pushed to the queue of `caller`: it is not claimed, and not
    /// there yet.
    pub(crate) fn add_waiter(&self, waiter: Waiter, caller: &Caller) -> bool {
        let mut progress = lock(&self.progress);
        progress.waiters.push(waiter);
        let is_queued = progress.callers.iter().any(|other| other.name() == caller.name());
        let is_new = !progress.is_claimed && !is_queued;
        if is_new {
            progress.callers.push(caller.clone());
        }
        is_new
    }

    /// Takes the sequence out of all queues to score it, on behalf of the queue of `by`.
    pub(crate) fn claim(&self, by: &Arc<str>) -> Claim {
        let mut progress = lock(&self.progress);
        if std::mem::replace(&mut progress.is_claimed, true) {
            return Claim::Stale;
        }
        let callers = progress.callers.drain(..).map(|caller| Arc::clone(caller.name()));
        Claim::Claimed { also_queued_by: callers.filter(|name| name != by).collect() }
    }

    /// Whether a worker has the sequence, or all requests for it were withdrawn.
    pub(crate) fn is_claimed(&self) -> bool {
        lock(&self.progress).is_claimed
    }

    /// Removes the waiters of `job`. If there are no others and no worker has the sequence, claims it for good and
    /// returns the callers whose queues contain it.
    pub(crate) fn remove_waiters(&self, job: &Arc<Job>) -> Option<Vec<Caller>> {
        let mut progress = lock(&self.progress);
        let before = progress.waiters.len();
        progress.waiters.retain(|waiter| !Arc::ptr_eq(&waiter.job, job));
        let was_wanted = before > progress.waiters.len();
        if !was_wanted || !progress.waiters.is_empty() || progress.is_claimed {
            return None;
        }
        progress.is_claimed = true;
        Some(std::mem::take(&mut progress.callers))
    }

    /// Answers all that wait for it, once. `None` says that the model failed on it.
    pub(crate) fn complete(&self, output: Option<&SequenceOutput>) {
        let waiters = std::mem::take(&mut lock(&self.progress).waiters);
        for Waiter { job, index } in waiters {
            job.complete(index, output.cloned());
        }
    }

    /// Claims the sequence for good and drops the replies of all that wait for it. Returns false if it was claimed.
    pub(crate) fn drop_waiters(&self) -> bool {
        let mut progress = lock(&self.progress);
        if std::mem::replace(&mut progress.is_claimed, true) {
            return false;
        }
        for Waiter { job, .. } in progress.waiters.drain(..) {
            lock(&job.results).reply = None;
        }
        true
    }
}

/// Outputs of the sequences of a request, in its order; `None` for those that the model failed on.
pub(crate) type JobOutputs = Vec<Option<SequenceOutput>>;

/// The sequences of one request.
#[derive(Debug)]
pub(crate) struct Job {
    results: Mutex<Results>,
}

#[derive(Debug)]
struct Results {
    outputs: JobOutputs,
    /// Outputs that are still to come.
    open: usize,
    /// Taken when the last output is there.
    reply: Option<oneshot::Sender<JobOutputs>>,
}

impl Job {
    /// A job of which some outputs are known already. It answers at once if all are.
    pub(crate) fn new(known: JobOutputs, reply: oneshot::Sender<JobOutputs>) -> Self {
        let open = known.iter().filter(|known| known.is_none()).count();
        let mut results = Results { outputs: known, open, reply: Some(reply) };
        results.reply_if_done();
        Self { results: Mutex::new(results) }
    }

    /// Whether outputs are still to come.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.results).open > 0
    }

    /// Stores the output of a sequence, and replies if it was the last one.
    fn complete(&self, index: usize, output: Option<SequenceOutput>) {
        let mut results = lock(&self.results);
        results.outputs[index] = output;
        results.open -= 1;
        results.reply_if_done();
    }
}

impl Results {
    fn reply_if_done(&mut self) {
        if self.open == 0
            && let Some(reply) = self.reply.take()
        {
            // The receiver is gone if the ticket was dropped.
            let _ = reply.send(std::mem::take(&mut self.outputs));
        }
    }
}

/// What a ticket needs to withdraw its request.
#[derive(Debug)]
pub(crate) struct Claimant {
    pub(crate) job: Arc<Job>,
    pub(crate) sequences: Vec<Arc<InFlight>>,
}
