//! The threads that own the sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::runtime::Session;
use super::scheduler::{Batch, Lane};
use super::{Engine, EngineError, QueuedRow, Runtime, Shared, lock};
use crate::encode::{Row, RowSpan};
use crate::registry::ModelFolder;

/// Starts the workers; returns when each has loaded and run every model.
pub(super) fn spawn(
    shared: &Arc<Shared>,
    runtime: &Runtime,
    models: &[ModelFolder],
) -> Result<Vec<JoinHandle<()>>, EngineError> {
    let (ready, readiness) = mpsc::channel();
    let mut workers = Vec::with_capacity(shared.settings.workers);
    for number in 0..shared.settings.workers {
        let (shared, runtime, models, ready) =
            (Arc::clone(shared), runtime.clone(), models.to_vec(), ready.clone());
        let start = move || match prepare(&shared, &runtime, &models) {
            Ok(sessions) => {
                // Nobody listens any more where another worker failed; then there is no work either.
                let _ = ready.send(Ok(()));
                drop(ready);
                work(&shared, sessions);
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let spawned = thread::Builder::new().name(format!("sentor-worker-{number}")).spawn(start);
        workers.push(spawned.map_err(|error| EngineError::Thread(error.to_string()))?);
    }
    drop(ready);
    readiness.iter().collect::<Result<(), _>>()?;
    Ok(workers)
}

fn prepare(shared: &Shared, runtime: &Runtime, models: &[ModelFolder]) -> Result<Vec<Session>, EngineError> {
    let mut sessions = Vec::with_capacity(models.len());
    for (index, folder) in models.iter().enumerate() {
        let mut session = Session::load(runtime, folder)?;
        warm_up(shared, &mut session, index, folder)?;
        sessions.push(session);
    }
    Ok(sessions)
}

/// Runs a model as in service: the first run allocates, the second tells what a token costs.
fn warm_up(
    shared: &Shared,
    session: &mut Session,
    model: usize,
    folder: &ModelFolder,
) -> Result<(), EngineError> {
    let special = folder.manifest().tokens;
    let length = 4 * Engine::PADDING_STEP;
    let mut ids = vec![special.cls; length];
    ids[length - 1] = special.sep;
    let row = Row { ids, spans: vec![RowSpan::new(1, length - 2)] };
    let rows = vec![&row; (shared.settings.run_tokens / length).max(1)];
    let lane = Lane { model, padded_tokens: length };
    for counted in [false, true] {
        let started = Instant::now();
        session.run(&rows, length).map_err(|error| EngineError::WarmUp {
            model: folder.manifest().name.clone(),
            problem: error.to_string(),
        })?;
        if counted {
            shared.note_cost(lane, rows.len(), started.elapsed());
        }
    }
    Ok(())
}

/// Runs batches until there are no more.
fn work(shared: &Shared, mut sessions: Vec<Session>) {
    while let Some(Batch { lane, mut rows }) = shared.next_batch() {
        rows.retain(|queued| !queued.job.abandoned.load(Ordering::Relaxed));
        if rows.is_empty() {
            continue;
        }
        let started = Instant::now();
        let inputs: Vec<&Row> = rows.iter().map(QueuedRow::row).collect();
        let session = &mut sessions[lane.model];
        // A session fills its buffers afresh for each run, so one that panicked can be used again.
        let logits = match catch_unwind(AssertUnwindSafe(|| session.run(&inputs, lane.padded_tokens))) {
            Ok(Ok(logits)) => Some(logits),
            Ok(Err(error)) => {
                tracing::error!(model = lane.model, rows = rows.len(), %error, "a run failed");
                None
            }
            Err(_) => {
                tracing::error!(model = lane.model, rows = rows.len(), "a run panicked");
                None
            }
        };
        let took = started.elapsed();
        shared.note_cost(lane, rows.len(), took);
        note_run(shared, lane, &rows, Run { started, took, failed: logits.is_none() });
        distribute(&rows, logits.as_deref());
    }
}

/// One run, as it is counted.
struct Run {
    started: Instant,
    took: Duration,
    failed: bool,
}

fn note_run(shared: &Shared, lane: Lane, rows: &[QueuedRow], run: Run) {
    let tokens: usize = rows.iter().map(|queued| queued.row().ids.len()).sum();
    let statistics = &mut lock(&shared.state).statistics;
    statistics.runs.note(run.took);
    for queued in rows {
        statistics.waits.note(run.started.saturating_duration_since(queued.job.taken));
    }
    let model = &mut statistics.models[lane.model];
    model.runs += 1;
    model.failed_runs += u64::from(run.failed);
    model.rows += rows.len() as u64;
    model.tokens += tokens as u64;
    model.padded_tokens += (rows.len() * lane.padded_tokens) as u64;
    model.busy += run.took;
}

/// Gives each row its part of a run's logits, one call for each stretch of rows of the same job.
fn distribute(rows: &[QueuedRow], logits: Option<&[[f32; 3]]>) {
    let mut rest = logits;
    for same_job in rows.chunk_by(|left, right| Arc::ptr_eq(&left.job, &right.job)) {
        let job = &same_job[0].job;
        job.complete(same_job.iter().map(|queued| {
            let own = rest.map(|all| {
                let (own, others) = all.split_at(queued.row().spans.len());
                rest = Some(others);
                own.to_vec()
            });
            (queued.index, own)
        }));
    }
}
