//! Rows in, logits out: admission, the queue, and the workers that own the sessions.
//!
//! A request's rows are taken whole or refused at once ([`Engine::submit`]). They wait in the `scheduler`
//! until a worker is free; only then is a batch sealed. Each worker is a named thread that owns one session of
//! every model, so no run waits for a lock.

mod caller;
mod runtime;
mod scheduler;
mod statistics;
mod worker;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::encode::Row;
use crate::registry::ModelFolder;
pub use caller::Caller;
pub use runtime::{ONNXRUNTIME_VERSION, Runtime, RuntimeError, default_library};
use scheduler::{Batch, Lane, Scheduler};
pub use statistics::{
    CacheStatistics, DurationStatistics, EngineStatistics, ModelStatistics, RefusalStatistics,
};

/// Logits (negative, neutral, positive) of each span of a row, or `None` where the model failed on it.
pub type RowLogits = Option<Vec<[f32; 3]>>;

/// How much the engine does and holds at once.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Worker threads.
    pub workers: usize,
    /// Most padded tokens in one run, unless a single row has more.
    pub run_tokens: usize,
    /// Padded tokens that may wait; one request may go beyond, if nothing waits.
    pub queue_tokens: usize,
}

/// Runs rows through models on threads of its own.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What the workers, the tickets and the engine share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when rows come or the phase changes.
    changed: Condvar,
    /// Measured cost of a padded token, in picoseconds of a worker's time, by model.
    token_cost_ps: Vec<AtomicU64>,
    settings: EngineSettings,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    scheduler: Scheduler<QueuedRow>,
    /// What is counted; what waits is known to the scheduler.
    statistics: EngineStatistics,
}

/// The life of an engine: it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Takes nothing new, finishes what waits.
    Draining,
    /// Finishes the runs under way only.
    Stopped,
}

/// One row of a job in the queue.
#[derive(Clone, Debug)]
struct QueuedRow {
    job: Arc<Job>,
    index: usize,
}

impl QueuedRow {
    fn row(&self) -> &Row {
        &self.job.rows[self.index]
    }
}

/// The rows of one request for one model.
#[derive(Debug)]
struct Job {
    rows: Vec<Row>,
    taken: Instant,
    abandoned: AtomicBool,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    results: Vec<RowLogits>,
    open: usize,
    /// Taken when the last row is done.
    reply: Option<oneshot::Sender<Vec<RowLogits>>>,
}

impl Job {
    /// Notes what became of some rows; answers the ticket when they were the last ones.
    fn complete(&self, done: impl IntoIterator<Item = (usize, RowLogits)>) {
        let mut progress = lock(&self.progress);
        for (index, logits) in done {
            progress.results[index] = logits;
            progress.open -= 1;
        }
        if progress.open == 0
            && let Some(reply) = progress.reply.take()
        {
            // A ticket that has been dropped wants no answer.
            let _ = reply.send(std::mem::take(&mut progress.results));
        }
    }
}

impl Engine {
    /// Rows are padded to a multiple of this many tokens, so that a row's length in a run depends on the row
    /// alone, and with it the last bits of its logits.
    pub const PADDING_STEP: usize = 8;

    /// Loads every model once for each worker, runs each once, and starts to take work.
    ///
    /// # Errors
    ///
    /// Where a model cannot be loaded or its first run fails.
    pub fn start(
        runtime: &Runtime,
        models: &[ModelFolder],
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                phase: Phase::Open,
                scheduler: Scheduler::new(models.len(), settings.run_tokens),
                statistics: EngineStatistics {
                    workers: settings.workers,
                    models: models.iter().map(ModelStatistics::of).collect(),
                    ..EngineStatistics::default()
                },
            }),
            changed: Condvar::new(),
            token_cost_ps: models.iter().map(|_| AtomicU64::new(1)).collect(),
            settings,
        });
        match worker::spawn(&shared, runtime, models) {
            Ok(workers) => Ok(Self { shared, workers: Mutex::new(workers) }),
            Err(error) => {
                // The workers that did come up must not wait for ever.
                lock(&shared.state).phase = Phase::Stopped;
                shared.changed.notify_all();
                Err(error)
            }
        }
    }

    /// Queues `rows` for model number `model`, all or none of them. Rows of one `caller` share its turns.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Overloaded`] where the queue is full or the work would not be done by `deadline`;
    /// [`SubmitError::ShuttingDown`] once a shutdown has begun.
    pub fn submit(
        &self,
        model: usize,
        rows: Vec<Row>,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<Ticket, SubmitError> {
        let (sender, receiver) = oneshot::channel();
        let job = Arc::new(Job {
            abandoned: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                results: vec![None; rows.len()],
                open: rows.len(),
                reply: Some(sender),
            }),
            rows,
            taken: Instant::now(),
        });
        let ticket = Ticket {
            receiver,
            job: Arc::clone(&job),
            caller: caller.clone(),
            shared: Arc::clone(&self.shared),
        };
        if job.rows.is_empty() {
            job.complete([]);
            return Ok(ticket);
        }
        let padded = |row: &Row| row.ids.len().next_multiple_of(Self::PADDING_STEP);
        let tokens: usize = job.rows.iter().map(padded).sum();

        let mut state = lock(&self.shared.state);
        if state.phase != Phase::Open {
            state.statistics.refusals.shutting_down += 1;
            return Err(SubmitError::ShuttingDown);
        }
        self.shared.admit(&mut state, model, tokens, deadline)?;
        for (index, row) in job.rows.iter().enumerate() {
            let lane = Lane { model, padded_tokens: padded(row) };
            state.scheduler.push(caller, lane, QueuedRow { job: Arc::clone(&job), index });
        }
        drop(state);
        if job.rows.len() == 1 {
            self.shared.changed.notify_one();
        } else {
            self.shared.changed.notify_all();
        }
        Ok(ticket)
    }

    /// What it has done so far, and what waits.
    pub fn statistics(&self) -> EngineStatistics {
        let state = lock(&self.shared.state);
        let mut statistics = state.statistics.clone();
        let waiting = state.scheduler.waiting();
        for (index, model) in statistics.models.iter_mut().enumerate() {
            model.waiting_rows = waiting.rows_by_model[index];
            model.waiting_tokens = waiting.tokens[index];
            let cost_ps = self.shared.token_cost_ps[index].load(Ordering::Relaxed);
            model.token_cost = Duration::from_nanos(cost_ps / 1000);
        }
        statistics
    }

    /// Takes no more work, finishes what waits until `deadline`, drops the rest (its tickets say so), and ends
    /// the workers. Calling it again is harmless.
    pub fn shutdown(&self, deadline: Instant) {
        let mut state = lock(&self.shared.state);
        state.phase = state.phase.max(Phase::Draining);
        self.shared.changed.notify_all();
        while state.scheduler.waiting().rows > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            state = self
                .shared
                .changed
                .wait_timeout(state, left.min(Duration::from_millis(20)))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.phase = Phase::Stopped;
        let given_up = state.scheduler.drain();
        drop(state);
        for queued in given_up {
            // Without its sender a ticket learns that there will be no answer.
            lock(&queued.job.progress).reply = None;
        }
        self.shared.changed.notify_all();
        for worker in lock(&self.workers).drain(..) {
            // A worker that panicked has already said so in the log.
            let _ = worker.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown(Instant::now());
    }
}

impl Shared {
    /// Whether `tokens` more of `model` fit into the queue and the time.
    fn admit(
        &self,
        state: &mut State,
        model: usize,
        tokens: usize,
        deadline: Option<Instant>,
    ) -> Result<(), SubmitError> {
        let waiting = state.scheduler.waiting();
        let wait = self.duration_of(waiting.tokens.iter().copied().enumerate());
        let queued: usize = waiting.tokens.iter().sum();
        if queued > 0 && queued + tokens > self.settings.queue_tokens {
            state.statistics.refusals.queue_full += 1;
            return Err(SubmitError::Overloaded { retry_after: wait });
        }
        let needed = wait + self.duration_of([(model, tokens)]);
        if let Some(left) = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
            && needed > left
            && queued > 0
        {
            state.statistics.refusals.deadline += 1;
            return Err(SubmitError::Overloaded { retry_after: needed.saturating_sub(left) });
        }
        Ok(())
    }

    /// How long all workers together take for so many tokens of each model.
    fn duration_of(&self, tokens: impl IntoIterator<Item = (usize, usize)>) -> Duration {
        let picoseconds: u64 = tokens
            .into_iter()
            .map(|(model, tokens)| {
                self.token_cost_ps[model].load(Ordering::Relaxed).saturating_mul(tokens as u64)
            })
            .fold(0, u64::saturating_add);
        Duration::from_nanos(picoseconds / 1000 / self.settings.workers.max(1) as u64)
    }

    /// Folds the time of a run into the cost of the model's tokens.
    fn note_cost(&self, lane: Lane, rows: usize, took: Duration) {
        let tokens = (lane.padded_tokens * rows).max(1) as u128;
        let measured = u64::try_from(took.as_nanos() * 1000 / tokens).unwrap_or(u64::MAX).max(1);
        let cost = &self.token_cost_ps[lane.model];
        let old = cost.load(Ordering::Relaxed);
        // The first measurement counts whole, the later ones for a sixteenth; a lost update does no harm.
        let new =
            if old == 1 { measured } else { (old / 16).saturating_mul(15).saturating_add(measured / 16) };
        cost.store(new.max(1), Ordering::Relaxed);
    }

    /// Waits for a batch; `None` when there will be no more.
    fn next_batch(&self) -> Option<Batch<QueuedRow>> {
        let mut state = lock(&self.state);
        loop {
            let costs: Vec<u64> =
                self.token_cost_ps.iter().map(|cost| cost.load(Ordering::Relaxed)).collect();
            if let Some(batch) = state.scheduler.next_batch(&costs) {
                return Some(batch);
            }
            if state.phase != Phase::Open {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A claim on the logits of a job's rows. Dropping it takes what has not run yet out of the queue.
#[derive(Debug)]
pub struct Ticket {
    receiver: oneshot::Receiver<Vec<RowLogits>>,
    job: Arc<Job>,
    caller: Caller,
    shared: Arc<Shared>,
}

impl Ticket {
    /// Blocks until all rows are done.
    ///
    /// # Errors
    ///
    /// [`Dropped`] where the engine stopped first.
    pub fn wait(mut self) -> Result<Vec<RowLogits>, Dropped> {
        let (_, unused) = oneshot::channel();
        let receiver = std::mem::replace(&mut self.receiver, unused);
        receiver.blocking_recv().map_err(|_| Dropped)
    }
}

impl Future for Ticket {
    type Output = Result<Vec<RowLogits>, Dropped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map_err(|_| Dropped)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if lock(&self.job.progress).open == 0 {
            return;
        }
        self.job.abandoned.store(true, Ordering::Relaxed);
        let mut state = lock(&self.shared.state);
        let before = state.scheduler.waiting().rows;
        state.scheduler.retain(self.caller.name(), |queued| !Arc::ptr_eq(&queued.job, &self.job));
        state.statistics.abandoned_rows += (before - state.scheduler.waiting().rows) as u64;
    }
}

/// The state behind these locks is never left half changed, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an engine could not start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A model could not be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model was loaded, but its first run failed.
    #[error("the first run of model {model} failed: {problem}")]
    WarmUp {
        /// Name of the model.
        model: String,
        /// What ONNX Runtime says.
        problem: String,
    },
    /// The system gave no thread.
    #[error("cannot start a worker thread: {0}")]
    Thread(String),
}

/// Why work was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// More waits than can be done in time.
    #[error("the queue is full")]
    Overloaded {
        /// When the queue will be short enough, as far as can be told.
        retry_after: Duration,
    },
    /// The engine is about to stop.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

/// The engine stopped before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine stopped before the work was done")]
pub struct Dropped;
