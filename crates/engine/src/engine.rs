//! The engine as its users see it: start, submit, shut down.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cost::TokenCost;
use super::deferred::Source;
use super::in_flight::{InFlight, SequenceKey};
use super::onnx::SessionNetwork;
use super::scheduler::{Batch, BatchShape};
use super::state::{ExpectedTokens, Phase, SchedulerState};
use super::{Caller, EngineStatistics, Network, Runtime, RuntimeError, Ticket, lock, worker};
use crate::encode::Sequence;
use crate::registry::{ModelFolder, QuantisationScheme, Task};

/// Sizes and bounds of an engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Worker threads.
    pub workers: usize,
    /// Most padded tokens in a batch, unless a single sequence has more.
    pub max_batch_tokens: usize,
    /// Most tokens in the queue. One caller may queue three quarters of what the others leave. An idle engine accepts
    /// one request that is larger.
    pub max_queued_tokens: usize,
    /// Maximum bytes of the cache of outputs; 0 turns it off.
    pub cache_bytes: usize,
    /// Whether equal sequences that are queued or under way are scored once.
    pub deduplicate: bool,
    /// Niceness of the workers, 0 to 19 as in `nice(1)`; on Linux only.
    pub niceness: u8,
}

/// Scores sequences on worker threads.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    /// The models of [`Engine::start`], by index.
    sources: Arc<[Source]>,
    max_batch_tokens: usize,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What the engine, its workers and its tickets share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<SchedulerState>,
    /// Signalled when sequences are queued or the phase changes.
    changed: Condvar,
}

impl Engine {
    /// Sequences of models without static quantisation are padded to a multiple of this many tokens. The padding of a
    /// sequence then depends on its own length alone, and so do the last bits of its output. Other sequences are padded
    /// by less than this to share a batch.
    pub const PADDING_STEP: usize = 8;

    /// Most padded tokens in a batch unless a setting says otherwise. Such a batch stays in the cache of a core.
    pub const USUAL_BATCH_TOKENS: usize = 256;

    /// Loads the models, which all workers share, has each worker run each once, and opens the queue. A model for whose
    /// folder `is_deferred` holds is not loaded yet: [`Engine::load`] does that.
    ///
    /// # Errors
    ///
    /// If a model cannot be loaded or its first batch fails.
    pub fn start(
        runtime: &Runtime,
        models: &[ModelFolder],
        is_deferred: impl Fn(&ModelFolder) -> bool,
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let names: Vec<String> = models.iter().map(|folder| folder.manifest().name.clone()).collect();
        let mut sources = Vec::with_capacity(models.len());
        for folder in models {
            let source = Source::new(runtime.clone(), folder.clone());
            if !is_deferred(folder) {
                source.load()?;
            }
            sources.push(source);
        }
        let sources: Arc<[Source]> = sources.into();
        let shared_sources = Arc::clone(&sources);
        let prepare = move |shared: &Shared| worker::prepare(shared, &shared_sources, settings);
        let engine = Self::launch(&names, sources, settings, prepare)?;
        let mut state = lock(&engine.shared.state);
        for (model, folder) in models.iter().enumerate() {
            // Integer products are exact, so padding changes no bit; sums of fractions depend on their order, and an
            // embedding is a mean over all tokens.
            let manifest = folder.manifest();
            if manifest.quantisation == QuantisationScheme::Static && manifest.task == Task::Sentiment {
                let (max_tokens, overhead_tokens) = (settings.max_batch_tokens, TokenCost::OVERHEAD_TOKENS);
                state.set_shape(model, BatchShape { max_tokens, overhead_tokens });
            }
        }
        drop(state);
        Ok(engine)
    }

    /// An engine whose workers use the networks that `make` returns: one for each name in `models`.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started, or `make` panics again and again.
    pub fn with_networks(
        models: &[&str],
        settings: EngineSettings,
        make: impl Fn() -> Vec<Box<dyn Network>> + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let names: Vec<String> = models.iter().map(|&name| name.to_owned()).collect();
        Self::launch(&names, Arc::from([]), settings, move |_| Ok(make()))
    }

    fn launch(
        names: &[String],
        sources: Arc<[Source]>,
        settings: EngineSettings,
        prepare: impl Fn(&Shared) -> Result<Vec<Box<dyn Network>>, EngineError> + Send + Sync + 'static,
    ) -> Result<Self, EngineError> {
        let state = Mutex::new(SchedulerState::new(names, settings));
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        match worker::spawn(&shared, settings, &Arc::new(prepare)) {
            Ok(workers) => Ok(Self {
                shared,
                sources,
                max_batch_tokens: settings.max_batch_tokens,
                workers: Mutex::new(workers),
            }),
            Err(error) => {
                // The workers that did start must not wait forever.
                lock(&shared.state).phase = Phase::Stopped;
                shared.changed.notify_all();
                Err(error)
            }
        }
    }

    /// Loads a deferred model, and measures the cost of its tokens. Blocks for some tenths of a second the first time;
    /// afterwards it costs nothing.
    ///
    /// # Errors
    ///
    /// If the model cannot be loaded or its first batch fails. A later call tries again.
    pub fn load(&self, model: usize) -> Result<(), EngineError> {
        let Some(source) = self.sources.get(model).filter(|source| !source.is_loaded()) else {
            return Ok(());
        };
        let mut network = SessionNetwork::new(source.load()?);
        worker::warm_up(&self.shared, &mut network, model, source.manifest(), self.max_batch_tokens)
    }

    /// Queues sequences, each with the index of its model, all or none of them.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Overloaded`] if the queue is full or the work would not be done by `deadline`;
    /// [`SubmitError::TooLong`] if it would not be, even by an idle engine; [`SubmitError::ShuttingDown`] once a shutdown has begun.
    pub fn submit(
        &self,
        sequences: Vec<(usize, Sequence)>,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<Ticket, SubmitError> {
        let is_single = sequences.len() == 1;
        let keys = sequences.into_iter().map(|(model, sequence)| SequenceKey::new(model, Arc::new(sequence)));
        let keys: Vec<SequenceKey> = keys.collect();
        let submitted = lock(&self.shared.state).submit(keys, caller, deadline, Instant::now());
        let (claimant, receiver) = submitted?;
        if is_single {
            self.shared.changed.notify_one();
        } else {
            self.shared.changed.notify_all();
        }
        Ok(Ticket { receiver, claimant, shared: Arc::clone(&self.shared) })
    }

    /// Whether [`Engine::submit`] would reject at least `tokens` of `caller` now. The server asks before it reads a
    /// request, and again before it lays out its sequences, so that one that cannot be accepted costs little.
    ///
    /// # Errors
    ///
    /// As [`Engine::submit`].
    pub fn precheck(
        &self,
        tokens: ExpectedTokens,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<(), SubmitError> {
        lock(&self.shared.state).precheck(tokens, caller, deadline, Instant::now())
    }

    /// Counters, and what is queued now.
    pub fn statistics(&self) -> EngineStatistics {
        lock(&self.shared.state).statistics(Instant::now())
    }

    /// Accepts nothing more, finishes the queue until `deadline`, drops the rest (its tickets say so), and ends the
    /// workers. Calling it again is harmless.
    pub fn shutdown(&self, deadline: Instant) {
        let mut state = lock(&self.shared.state);
        state.phase = state.phase.max(Phase::Draining);
        self.shared.changed.notify_all();
        while state.queued_sequences() > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            state = self
                .shared
                .changed
                .wait_timeout(state, left.min(Duration::from_millis(20)))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.phase = Phase::Stopped;
        state.drop_queue();
        drop(state);
        self.shared.changed.notify_all();
        for worker in lock(&self.workers).drain(..) {
            // The panic hook has logged a panic.
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
    /// Waits for the next batch; `None` once the engine stops. Sets `busy_since` to the end of the wait, if there was one.
    pub(super) fn next_batch(&self, busy_since: &mut Instant) -> Option<Batch<Arc<InFlight>>> {
        let mut state = lock(&self.state);
        loop {
            let idle_workers = state.idle_workers + 1;
            if let Some(batch) = state.next_batch(idle_workers, Instant::now()) {
                return Some(batch);
            }
            if state.phase != Phase::Open {
                return None;
            }
            state.idle_workers += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle_workers -= 1;
            *busy_since = Instant::now();
        }
    }

    /// Waits for `duration`. Returns false as soon as the engine has stopped.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        let mut state = lock(&self.state);
        while state.phase != Phase::Stopped {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return true };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// Why an engine could not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// A model could not be loaded.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model was loaded, but its first batch failed.
    #[error("the first run of model {model} failed: {problem}")]
    WarmUp {
        /// Name of the model.
        model: String,
        /// Message of ONNX Runtime.
        problem: String,
    },
    /// A thread could not be started.
    #[error("cannot start a worker thread: {0}")]
    Thread(String),
    /// A worker panicked each time it was prepared.
    #[error("a worker panicked while it was prepared; the log has the message")]
    WorkerPanicked,
}

/// Why a submission was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// More is queued than can be done in time.
    #[error("the queue is full")]
    Overloaded {
        /// Estimated time until the queue is short enough.
        retry_after: Duration,
    },
    /// The work alone takes longer than the time until the deadline, whatever is queued.
    #[error("the work takes longer than its time")]
    TooLong {
        /// Estimated least time that it takes.
        needed: Duration,
    },
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
}
