//! Rows in, logits out: admission, the queue, and the workers that own the sessions.
//!
//! A request's rows are taken whole or refused at once ([`Engine::submit`]). They wait on the `board` until a worker
//! is free; only then does the `scheduler` seal a batch. Each worker is a named thread that owns one session of every
//! model, so no run waits for a lock. Rows that are equal to one that waits, runs or was scored lately are not run
//! again.

pub mod encode;
pub mod registry;

mod admission;
mod board;
mod cache;
mod calibration;
mod caller;
mod cores;
mod graph;
mod learnt;
mod memory;
mod network;
mod priority;
mod pulse;
mod runtime;
mod scheduler;
#[cfg(test)]
mod simulation;
mod statistics;
mod worker;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::encode::Row;
use crate::registry::{ModelFolder, QuantisationScheme, SpecialTokens};
pub use board::RowLogits;
use board::{Board, Claimant, Flight, Phase, Trial};
pub use calibration::Calibration;
pub use caller::Caller;
pub use cores::available_cores;
pub use graph::NetworkSource;
pub use learnt::LearntFile;
pub use network::{Network, RunError};
pub use runtime::{ONNXRUNTIME_VERSION, Runtime, RuntimeError, default_library};
use scheduler::{Batch, RunShape};
pub use statistics::{
    CacheStatistics, DurationStatistics, EngineStatistics, ModelStatistics, RefusalStatistics,
};

/// How much the engine does and holds at once.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Worker threads.
    pub workers: usize,
    /// Most padded tokens in one run, unless a single row has more; until a model's own is known, see
    /// [`Engine::calibrate`] and [`Engine::learn`].
    pub run_tokens: usize,
    /// Padded tokens that may wait; one caller may hold three quarters of what the others leave. Where nothing waits,
    /// one request may be larger.
    pub queue_tokens: usize,
    /// Memory for rows that were scored before, in bytes; 0 keeps none.
    pub cache_bytes: usize,
    /// Whether a row that is equal to one that waits or runs shares its run.
    pub deduplicate: bool,
    /// How far the workers give way to the other threads of the process, 0 to 19 as `nice(1)` has it; on Linux alone.
    pub niceness: u8,
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
    board: Mutex<Board>,
    /// Signalled when rows come, the phase changes or there is something to learn.
    changed: Condvar,
    /// Of each model that was loaded from a folder, what its rows are made with.
    special: Vec<SpecialTokens>,
}

/// What a worker is to do next.
#[derive(Debug)]
enum Task {
    /// Run rows for those who wait for them.
    Run(Batch<Arc<Flight>>),
    /// Run rows that mean nothing, to learn how long that takes.
    Try(Trial, SpecialTokens),
}

impl Engine {
    /// Rows of models that are not quantised statically are padded to a multiple of this many tokens, so that a row's
    /// length in a run depends on the row alone, and with it the last bits of its logits. Other rows are padded by less
    /// than this to share a run.
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
        let loading = memory::Loading::begin();
        let names: Vec<String> = models.iter().map(|folder| folder.manifest().name.clone()).collect();
        let special = models.iter().map(|folder| folder.manifest().tokens).collect();
        // Read once for all workers, and kept until the last has loaded it.
        let networks = models.iter().map(|folder| Ok((folder.clone(), runtime::source_of(folder)?)));
        let networks = networks.collect::<Result<Vec<_>, EngineError>>()?;
        let runtime = runtime.clone();
        let prepare = move |shared: &Shared| worker::prepare(shared, &runtime, &networks, settings);
        let engine = Self::launch(&names, settings, special, prepare)?;
        drop(loading);
        let mut board = lock(&engine.shared.board);
        for (model, folder) in models.iter().enumerate() {
            // Integer products are exact, so padding changes no bit; sums of fractions depend on their order.
            if folder.manifest().quantisation == QuantisationScheme::Static {
                let start_tokens = Self::USUAL_START_TOKENS;
                board.set_shape(model, RunShape { run_tokens: settings.run_tokens, start_tokens });
            }
        }
        drop(board);
        Ok(engine)
    }

    /// What the start of a run costs in tokens, on the models and processors that were looked at, until it is known.
    const USUAL_START_TOKENS: usize = 8;

    /// Has runs of a model be as was learnt before.
    ///
    /// # Panics
    ///
    /// If there is no model of that number.
    pub fn calibrate(&self, model: usize, known: Calibration) {
        lock(&self.shared.board).apply(model, known);
    }

    /// Learns how these models are run best, by trials of up to a tenth of a second that one worker makes while all
    /// are idle, and tells what it has learnt. Models that were not loaded from a folder cannot be learnt.
    pub fn learn(&self, models: &[usize], listener: mpsc::Sender<(usize, Calibration)>) {
        let loaded = models.iter().copied().filter(|&model| model < self.shared.special.len());
        lock(&self.shared.board).learn(loaded, listener);
        self.shared.changed.notify_all();
    }

    /// An engine whose workers run what `make` gives each of them: a network for each name in `models`.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub fn with_networks(
        models: &[&str],
        settings: EngineSettings,
        make: impl Fn() -> Vec<Box<dyn Network>> + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let names: Vec<String> = models.iter().map(|&name| name.to_owned()).collect();
        Self::launch(&names, settings, Vec::new(), move |_| Ok(make()))
    }

    fn launch(
        names: &[String],
        settings: EngineSettings,
        special: Vec<SpecialTokens>,
        prepare: impl Fn(&Shared) -> Result<Vec<Box<dyn Network>>, EngineError> + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            board: Mutex::new(Board::new(names, settings)),
            changed: Condvar::new(),
            special,
        });
        match worker::spawn(&shared, settings, &Arc::new(prepare)) {
            Ok(workers) => Ok(Self { shared, workers: Mutex::new(workers) }),
            Err(error) => {
                // The workers that did come up must not wait for ever.
                lock(&shared.board).phase = Phase::Stopped;
                shared.changed.notify_all();
                Err(error)
            }
        }
    }

    /// Queues rows, each with the number of its model, all or none of them. Rows of one `caller` share its turns.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Overloaded`] where the queue is full or the work would not be done by `deadline`;
    /// [`SubmitError::ShuttingDown`] once a shutdown has begun.
    pub fn submit(
        &self,
        rows: Vec<(usize, Row)>,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<Ticket, SubmitError> {
        let is_single = rows.len() == 1;
        let (claimant, receiver) = lock(&self.shared.board).submit(rows, caller, deadline, Instant::now())?;
        if is_single {
            self.shared.changed.notify_one();
        } else {
            self.shared.changed.notify_all();
        }
        Ok(Ticket { receiver, claimant, shared: Arc::clone(&self.shared) })
    }

    /// Whether [`Engine::submit`] would refuse at least `tokens` of `caller` now: asked before a request is read, so
    /// that what cannot be taken costs nothing.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`].
    pub fn foresee_refusal(
        &self,
        tokens: usize,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<(), SubmitError> {
        lock(&self.shared.board).foresee_refusal(tokens, caller, deadline, Instant::now())
    }

    /// What it has done so far, and what waits.
    pub fn statistics(&self) -> EngineStatistics {
        lock(&self.shared.board).statistics(Instant::now())
    }

    /// Takes no more work, finishes what waits until `deadline`, drops the rest (its tickets say so), and ends
    /// the workers. Calling it again is harmless.
    pub fn shutdown(&self, deadline: Instant) {
        let mut board = lock(&self.shared.board);
        board.phase = board.phase.max(Phase::Draining);
        self.shared.changed.notify_all();
        while board.waiting_rows() > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            board = self
                .shared
                .changed
                .wait_timeout(board, left.min(Duration::from_millis(20)))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        board.phase = Phase::Stopped;
        board.give_up();
        drop(board);
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
        memory::give_back();
    }
}

impl Shared {
    /// Waits for something to do; `None` when there will be no more. Sets `busy_since` to when it came, if the worker had
    /// to wait for it.
    fn next_task(&self, busy_since: &mut Instant) -> Option<Task> {
        let mut board = lock(&self.board);
        loop {
            let free = board.idle_workers + 1;
            if let Some(batch) = board.next_batch(free, Instant::now()) {
                return Some(Task::Run(batch));
            }
            if board.phase != Phase::Open {
                return None;
            }
            if let Some(trial) = board.next_trial(free) {
                return Some(Task::Try(trial, self.special[trial.model]));
            }
            board.idle_workers += 1;
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.idle_workers -= 1;
            *busy_since = Instant::now();
        }
    }
}

/// A claim on the logits of the rows of one submission. Dropping it takes what has not run yet out of the queue.
#[derive(Debug)]
pub struct Ticket {
    receiver: oneshot::Receiver<Vec<RowLogits>>,
    claimant: Claimant,
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
        if self.claimant.is_open() {
            lock(&self.shared.board).abandon(&self.claimant);
        }
    }
}

/// The state behind these locks is never left half changed, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an engine could not start.
#[derive(Clone, Debug, thiserror::Error)]
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
