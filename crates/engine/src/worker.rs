//! The worker threads: each takes batches from the queue and runs them through the models.
//!
//! A model that fails or panics on a batch costs that batch a second try, sequence by sequence. A worker that panics
//! outside the model is counted and replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::deferred::{DeferredNetwork, Source};
use super::engine::Shared;
use super::in_flight::InFlight;
use super::network::Network;
use super::onnx::SessionNetwork;
use super::output::SequenceOutput;
use super::scheduler::Batch;
use super::state::{BatchOutcome, deliver};
use super::{EngineError, EngineSettings, lock, priority};
use crate::encode::{Sequence, SequenceSpan};
use crate::registry::{Manifest, SpecialTokens};

/// Starts the workers. Returns when each has its networks.
pub(super) fn spawn<P>(
    shared: &Arc<Shared>,
    settings: EngineSettings,
    prepare: &Arc<P>,
) -> Result<Vec<JoinHandle<()>>, EngineError>
where
    P: Fn(&Shared) -> Result<Vec<Box<dyn Network>>, EngineError> + Send + Sync + 'static,
{
    let (ready, readiness) = mpsc::channel();
    let mut threads = Vec::with_capacity(settings.workers);
    for number in 0..settings.workers {
        let (shared, prepare, ready) = (Arc::clone(shared), Arc::clone(prepare), ready.clone());
        let start = move || supervise(&shared, settings.niceness, &*prepare, ready);
        let spawned = thread::Builder::new().name(format!("sentor-worker-{number}")).spawn(start);
        threads.push(spawned.map_err(|error| EngineError::Thread(error.to_string()))?);
    }
    drop(ready);
    readiness.iter().collect::<Result<(), _>>()?;
    Ok(threads)
}

/// How often a worker is prepared before the start of the engine fails, if each preparation panics.
const START_ATTEMPTS: u32 = 3;

/// Pause before a worker is replaced. It doubles with each replacement, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A worker that lived for so long is replaced without a longer pause than the first.
const LONG_LIFE: Duration = Duration::from_mins(1);

/// Prepares a worker and has it work; replaces it as long as it panics and the engine runs.
fn supervise<P>(shared: &Shared, niceness: u8, prepare: &P, ready: mpsc::Sender<Result<(), EngineError>>)
where
    P: Fn(&Shared) -> Result<Vec<Box<dyn Network>>, EngineError>,
{
    let mut ready = Some(ready);
    let mut attempts = 0;
    loop {
        let started = Instant::now();
        let life = catch_unwind(AssertUnwindSafe(|| {
            let networks = prepare(shared)?;
            let _alive = Alive::enter(shared);
            if let Some(ready) = ready.take() {
                // The receiver is gone if another worker has failed.
                let _ = ready.send(Ok(()));
            }
            // Only now: the start of the engine waits for what came before.
            priority::set_niceness(niceness);
            work(shared, networks);
            Ok(())
        }));
        let error = match life {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Some(error),
            // The panic hook has logged it.
            Err(_) => None,
        };
        attempts = if started.elapsed() > LONG_LIFE { 1 } else { attempts + 1 };
        let is_start_over = attempts >= START_ATTEMPTS || error.is_some();
        if let Some(ready) = ready.take_if(|_| is_start_over) {
            let _ = ready.send(Err(error.unwrap_or(EngineError::WorkerPanicked)));
            return;
        }
        lock(&shared.state).worker_replaced();
        let pause = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_PAUSE);
        let problem = error.map_or_else(|| "it panicked".to_owned(), |error| error.to_string());
        tracing::error!(problem, pause_ms = pause.as_millis(), "a worker ended and is replaced");
        if !shared.pause(pause) {
            return;
        }
    }
}

/// Counts a worker as alive.
struct Alive<'a>(&'a Shared);

impl<'a> Alive<'a> {
    fn enter(shared: &'a Shared) -> Self {
        lock(&shared.state).worker_started();
        Self(shared)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).worker_ended(Instant::now());
    }
}

/// Makes the networks of a worker from models that all workers share, and warms up those that are loaded.
pub(super) fn prepare(
    shared: &Shared,
    sources: &Arc<[Source]>,
    settings: EngineSettings,
) -> Result<Vec<Box<dyn Network>>, EngineError> {
    let mut networks: Vec<Box<dyn Network>> = Vec::with_capacity(sources.len());
    for (model, source) in sources.iter().enumerate() {
        if source.is_loaded() {
            let mut network = SessionNetwork::new(source.load()?);
            warm_up(shared, &mut network, model, source.manifest(), settings.max_batch_tokens)?;
            networks.push(Box::new(network));
        } else {
            networks.push(Box::new(DeferredNetwork::new(Arc::clone(sources), model)));
        }
    }
    Ok(networks)
}

/// Tokens of the sequences of a warm-up: a sentence of ordinary length.
const WARM_UP_TOKENS: usize = 32;

/// Runs two batches as in service: the first allocates memory, the second measures the cost of a token.
pub(super) fn warm_up(
    shared: &Shared,
    network: &mut SessionNetwork,
    model: usize,
    manifest: &Manifest,
    max_batch_tokens: usize,
) -> Result<(), EngineError> {
    let sequence = placeholder(manifest.tokens);
    let sequences = vec![&sequence; (max_batch_tokens / WARM_UP_TOKENS).max(1)];
    for is_measured in [false, true] {
        let started = Instant::now();
        network.run(&sequences, WARM_UP_TOKENS).map_err(|error| EngineError::WarmUp {
            model: manifest.name.clone(),
            problem: error.to_string(),
        })?;
        if is_measured {
            let tokens = sequences.len() * WARM_UP_TOKENS;
            lock(&shared.state).record_cost(model, tokens, started.elapsed());
        }
    }
    Ok(())
}

/// A sequence of ordinary length without a meaning.
fn placeholder(special: SpecialTokens) -> Sequence {
    let mut ids = vec![special.cls; WARM_UP_TOKENS];
    ids[WARM_UP_TOKENS - 1] = special.sep;
    Sequence { ids, spans: vec![SequenceSpan::new(1, WARM_UP_TOKENS - 2)] }
}

/// Runs batches until the engine stops.
fn work(shared: &Shared, mut networks: Vec<Box<dyn Network>>) {
    let mut busy_since = Instant::now();
    while let Some(batch) = shared.next_batch(&mut busy_since) {
        let mut claimed = ClaimedBatch { shared, batch: Some(batch) };
        let started = Instant::now();
        let (outputs, failed_as_batch) = claimed.score(&mut networks);
        let ended = Instant::now();
        let (took, occupied) = (ended - started, ended - busy_since);
        claimed.complete(BatchOutcome { outputs, failed_as_batch, took, occupied });
        busy_since = ended;
    }
}

/// A batch that a worker has taken from the queue. Its sequences are answered even if the worker panics.
struct ClaimedBatch<'a> {
    shared: &'a Shared,
    /// `None` once it is complete.
    batch: Option<Batch<Arc<InFlight>>>,
}

impl ClaimedBatch<'_> {
    /// Returns the output of each sequence, and whether the model failed on the batch as a whole.
    fn score(&self, networks: &mut [Box<dyn Network>]) -> (Vec<Option<SequenceOutput>>, bool) {
        let Some(Batch { bucket, sequences, .. }) = &self.batch else { return (Vec::new(), false) };
        let sequences: Vec<&Sequence> = sequences.iter().map(|in_flight| in_flight.sequence()).collect();
        let (model, padded_tokens) = (bucket.model, bucket.padded_tokens);
        let network = &mut *networks[model];
        let problem = match run(network, &sequences, padded_tokens) {
            Ok(outputs) => return (outputs.into_iter().map(Some).collect(), false),
            Err(problem) => problem,
        };
        tracing::error!(model, sequences = sequences.len(), problem, "the model failed on a batch");
        if sequences.len() == 1 {
            return (vec![None], true);
        }
        // Each alone, once, so that a sequence that the model fails on fails only its own request. Padded as before, so
        // that the others have the same bits as in a batch that did not fail.
        let mut retry = |sequence: &&Sequence| -> Option<SequenceOutput> {
            run(network, &[*sequence], padded_tokens).ok().and_then(|mut outputs| outputs.pop())
        };
        let outputs: Vec<Option<SequenceOutput>> = sequences.iter().map(&mut retry).collect();
        let failed = outputs.iter().filter(|output| output.is_none()).count();
        tracing::error!(model, sequences = sequences.len(), failed, "scored the batch sequence by sequence");
        (outputs, true)
    }

    /// Records the outcome and delivers the outputs, once.
    fn complete(&mut self, outcome: BatchOutcome) {
        if let Some(batch) = self.batch.take() {
            let completed = lock(&self.shared.state).complete_batch(batch, outcome);
            deliver(completed);
        }
    }
}

impl Drop for ClaimedBatch<'_> {
    fn drop(&mut self) {
        let sequences = self.batch.as_ref().map_or(0, |batch| batch.sequences.len());
        self.complete(BatchOutcome::lost(sequences));
    }
}

/// Runs a network, and splits its outputs by sequence. A panic of the network is a failure: it fills its buffers anew for
/// each batch, so it can be used again.
fn run(
    network: &mut dyn Network,
    sequences: &[&Sequence],
    padded_tokens: usize,
) -> Result<Vec<SequenceOutput>, String> {
    match catch_unwind(AssertUnwindSafe(|| network.run(sequences, padded_tokens))) {
        Ok(Ok(output)) => output.split(sequences),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}
