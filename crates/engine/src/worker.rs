//! The threads that own the sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::board::{self, Flight, RunOutcome, Trial};
use super::calibration::{TrialOutcome, Trials};
use super::graph::NetworkSource;
use super::network::Network;
use super::runtime::Session;
use super::scheduler::{Batch, Lane};
use super::{EngineError, EngineSettings, Runtime, Shared, Task, lock, memory, priority};
use crate::encode::{Row, RowSpan};
use crate::registry::{ModelFolder, SpecialTokens};

/// Starts the workers; returns when each has its networks.
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
        let start = move || match prepare(&shared) {
            Ok(networks) => {
                // Nobody listens any more where another worker failed; then there is no work either.
                let _ = ready.send(Ok(()));
                drop((ready, prepare));
                // Only now: whoever starts the engine waits for what was before.
                priority::give_way(settings.niceness);
                work(&shared, networks);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let spawned = thread::Builder::new().name(format!("sentor-worker-{number}")).spawn(start);
        threads.push(spawned.map_err(|error| EngineError::Thread(error.to_string()))?);
    }
    drop(ready);
    readiness.iter().collect::<Result<(), _>>()?;
    Ok(threads)
}

/// Loads and warms up a session of each model.
pub(super) fn prepare(
    shared: &Shared,
    runtime: &Runtime,
    models: &[(ModelFolder, NetworkSource)],
    settings: EngineSettings,
) -> Result<Vec<Box<dyn Network>>, EngineError> {
    let mut networks: Vec<Box<dyn Network>> = Vec::with_capacity(models.len());
    for (model, (folder, source)) in models.iter().enumerate() {
        let mut session = Session::load(runtime, folder, source)?;
        warm_up(shared, &mut session, model, folder, settings.run_tokens)?;
        networks.push(Box::new(session));
    }
    Ok(networks)
}

/// Runs a model as in service: the first run allocates, the second tells what a token costs.
fn warm_up(
    shared: &Shared,
    session: &mut Session,
    model: usize,
    folder: &ModelFolder,
    run_tokens: usize,
) -> Result<(), EngineError> {
    let row = sentence(folder.manifest().tokens);
    let length = row.ids.len();
    let rows = vec![&row; (run_tokens / length).max(1)];
    let lane = Lane { model, padded_tokens: length };
    for counted in [false, true] {
        let started = Instant::now();
        session.run(&rows, length).map_err(|error| EngineError::WarmUp {
            model: folder.manifest().name.clone(),
            problem: error.to_string(),
        })?;
        if counted {
            lock(&shared.board).note_cost(lane, rows.len(), started.elapsed());
        }
    }
    Ok(())
}

/// A row of ordinary length that means nothing.
fn sentence(special: SpecialTokens) -> Row {
    let length = Trials::ROW_TOKENS;
    let mut ids = vec![special.cls; length];
    ids[length - 1] = special.sep;
    Row { ids, spans: vec![RowSpan::new(1, length - 2)] }
}

/// How long a run of ordinary rows takes, so many tokens in all.
fn try_out(network: &mut dyn Network, tokens: usize, special: SpecialTokens) -> TrialOutcome {
    let row = sentence(special);
    let rows = vec![&row; tokens / Trials::ROW_TOKENS];
    let (waited, started) = (waited_for_processor(), Instant::now());
    let outcome = catch_unwind(AssertUnwindSafe(|| network.run(&rows, Trials::ROW_TOKENS)));
    let took = started.elapsed();
    let waited = waited_for_processor().saturating_sub(waited);
    match outcome {
        // A hundredth of its time without a processor is as much as may be.
        Ok(Ok(_)) if waited * 100 > took => TrialOutcome::Disturbed,
        Ok(Ok(_)) => TrialOutcome::Took(took),
        _ => TrialOutcome::Failed,
    }
}

/// How long this thread could have run and had no processor; zero where the system does not tell.
fn waited_for_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// How often a worker's run gives its memory back in place of keeping it for the next one. What one rare shape took would stay for good
/// otherwise, and the most that any shape took grows for hours.
const LEAN_EVERY: Duration = Duration::from_mins(1);

/// Runs batches until there are no more, and trials while there are none.
fn work(shared: &Shared, mut networks: Vec<Box<dyn Network>>) {
    let mut busy_since = Instant::now();
    let mut lean_at = Instant::now() + LEAN_EVERY;
    while let Some(task) = shared.next_task(&mut busy_since) {
        let batch = match task {
            Task::Run(batch) => batch,
            Task::Try(Trial { model, tokens }, special) => {
                let outcome = try_out(&mut *networks[model], tokens, special);
                lock(&shared.board).note_trial(outcome);
                continue;
            }
        };
        let lane = batch.lane;
        let mut claimed = ClaimedBatch { shared, batch: Some(batch) };
        let started = Instant::now();
        let lean = (started >= lean_at).then(memory::Lean::begin);
        // A network fills its buffers afresh for each run, so one that panicked can be used again.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| run(&mut *networks[lane.model], claimed.flights(), lane)));
        let logits = outcome.unwrap_or_else(|_| {
            tracing::error!(model = lane.model, rows = claimed.flights().len(), "a run panicked");
            None
        });
        let ended = Instant::now();
        claimed.land(&RunOutcome { logits, took: ended - started, occupied: ended - busy_since });
        busy_since = ended;
        if lean.is_some() {
            lean_at = ended + LEAN_EVERY;
        }
    }
}

/// The logits of all spans of a batch, in order; `None` where the run failed.
fn run(network: &mut dyn Network, flights: &[Arc<Flight>], lane: Lane) -> Option<Vec<[f32; 3]>> {
    let rows: Vec<&Row> = flights.iter().map(|flight| flight.row()).collect();
    let spans: usize = rows.iter().map(|row| row.spans.len()).sum();
    let problem = match network.run(&rows, lane.padded_tokens) {
        Ok(logits) if logits.len() == spans => return Some(logits),
        Ok(logits) => format!("it gave {} logits for {spans} spans", logits.len()),
        Err(error) => error.to_string(),
    };
    tracing::error!(model = lane.model, rows = rows.len(), problem, "a run failed");
    None
}

/// Rows that a worker has taken out of the queue. Whatever becomes of the worker, those who wait for them hear of it.
struct ClaimedBatch<'a> {
    shared: &'a Shared,
    /// `None` once it has landed.
    batch: Option<Batch<Arc<Flight>>>,
}

impl ClaimedBatch<'_> {
    fn flights(&self) -> &[Arc<Flight>] {
        self.batch.as_ref().map_or(&[], |batch| &batch.rows)
    }

    /// Tells all who wait, once.
    fn land(&mut self, outcome: &RunOutcome) {
        if let Some(batch) = self.batch.take() {
            let landed = lock(&self.shared.board).note_run(batch, outcome);
            board::land(landed);
        }
    }
}

impl Drop for ClaimedBatch<'_> {
    fn drop(&mut self) {
        self.land(&RunOutcome { logits: None, took: Duration::ZERO, occupied: Duration::ZERO });
    }
}
