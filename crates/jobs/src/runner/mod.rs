//! Runs jobs: claims chunks, scores them, and brings jobs to their ends.

mod counters;

mod tidy;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::SignedDuration;
use sentor_analysis::{AnalysisError, Caller};
use sentor_store::StoreError;
use sentor_store::clock::Clock;
use sentor_store::jobs::{
    ChunkClaim, ClaimTime, Ending, JobError, JobId, JobRecord, JobStore, NewChunk, StepError,
};
use tokio::sync::{Semaphore, watch};

use crate::cut::{self, input_object};
use crate::objects::{ObjectError, Objects};
use crate::rows::InputRow;
use crate::score::{Host, ScoreError, Scored, score_rows};
use crate::spec::{JobSpec, OnError};
pub use counters::{RunnerCounters, RunnerStatistics};
use tidy::tidy;

/// How often an idle runner looks for work.
const POLL: Duration = Duration::from_millis(250);

/// How often it looks for jobs at the end of their time.
const TIDY: Duration = Duration::from_secs(5);

/// Failed claims of a chunk after which it is halved, or its only row is given up.
const MAX_FAILURES: u64 = 3;

/// How long a stopping runner waits for its claims to be given back.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// How a runner works.
#[derive(Clone, Copy, Debug)]
pub struct RunnerSettings {
    /// Chunks that are scored at a time.
    pub concurrency: usize,
    /// How long a claim lasts unless it is renewed; it is renewed three times as often.
    pub lease: Duration,
    /// How long a chunk that failed waits for its next attempt.
    pub retry_after: SignedDuration,
    /// Whether no other process uses the store, so that all claims in it are those of a process that was killed.
    pub owns_store: bool,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            concurrency: 3,
            lease: Duration::from_mins(1),
            retry_after: SignedDuration::from_secs(1),
            owns_store: true,
        }
    }
}

/// A thread that runs jobs until it is stopped.
#[derive(Debug)]
pub struct Runner {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What all tasks of a runner share.
struct Context {
    store: Arc<dyn JobStore>,
    objects: Objects,
    host: Arc<dyn Host>,
    clock: Clock,
    counters: Arc<RunnerCounters>,
    settings: RunnerSettings,
    stop: watch::Receiver<bool>,
}

/// Why a step of a job was not done; the claim is given back, and another attempt follows.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("the options of the job cannot be read: {0}")]
    Spec(#[from] serde_json::Error),
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    #[error("the task panicked")]
    Panicked,
}

impl Runner {
    /// Starts to run the jobs of a store.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn start(
        store: Arc<dyn JobStore>,
        objects: Objects,
        host: Arc<dyn Host>,
        clock: Clock,
        counters: Arc<RunnerCounters>,
        settings: RunnerSettings,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("jobs")
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let context = Arc::new(Context { store, objects, host, clock, counters, settings, stop: stopped });
        let thread = std::thread::Builder::new().name("jobs".to_owned()).spawn(move || {
            runtime.block_on(run(context));
            runtime.shutdown_timeout(STOP_WITHIN);
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Gives all claims back and ends. What is under way is scored again later.
    pub fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // The panic hook has logged a panic of it.
            let _ = thread.join();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(context: Arc<Context>) {
    if context.settings.owns_store {
        let store = Arc::clone(&context.store);
        if let Err(error) = blocking(move || store.release_all_claims()).await {
            tracing::error!(%error, "cannot give back the claims of the process before: they run out by themselves");
        }
    }
    let places = Arc::new(Semaphore::new(context.settings.concurrency.max(1)));
    let mut tidied: Option<std::time::Instant> = None;
    let mut stop = context.stop.clone();
    let jobs = tokio::spawn(run_steps(Arc::clone(&context)));
    loop {
        if tidied.is_none_or(|at| at.elapsed() >= TIDY) {
            if let Err(error) = tidy(&context, tidied.is_none()).await {
                tracing::warn!(%error, "cannot tidy up jobs");
            }
            tidied = Some(std::time::Instant::now());
        }
        let has_work = claim_chunks(&context, &places).await;
        let pause = async {
            if !has_work {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = pause => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // Tasks give back what they have when they are told to stop.
    let all = u32::try_from(context.settings.concurrency.max(1)).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(STOP_WITHIN, places.acquire_many(all)).await;
    let _ = tokio::time::timeout(STOP_WITHIN, jobs).await;
}

/// Claims a chunk as soon as there is a place for it. Returns `false` if there was none to claim.
async fn claim_chunks(context: &Arc<Context>, places: &Arc<Semaphore>) -> bool {
    let mut stop = context.stop.clone();
    let place = tokio::select! {
        place = Arc::clone(places).acquire_owned() => place,
        _ = stop.wait_for(|stop| *stop) => return false,
    };
    let Ok(place) = place else { return false };
    if !context.host.is_ready() {
        return false;
    }
    let (store, time) = (Arc::clone(&context.store), context.claim_time());
    let claim = match blocking(move || store.claim_chunk(time)).await {
        Ok(Some(claim)) => claim,
        Ok(None) => return false,
        Err(error) => {
            tracing::warn!(%error, "cannot claim a chunk of a job");
            return false;
        }
    };
    let context = Arc::clone(context);
    tokio::spawn(async move {
        context.run_chunk(claim).await;
        drop(place);
    });
    true
}

impl Context {
    fn claim_time(&self) -> ClaimTime {
        ClaimTime { now: self.clock.now(), lease: self.settings.lease }
    }

    /// Works on a claimed chunk while its claim lasts, and gives it back where that fails.
    async fn run_chunk(self: Arc<Self>, claim: ChunkClaim) {
        let work = tokio::spawn(Arc::clone(&self).work_on_chunk(claim.clone()));
        let stop_work = work.abort_handle();
        let mut stop = self.stop.clone();
        let outcome = tokio::select! {
            outcome = work => outcome.unwrap_or(Err(WorkError::Panicked)),
            () = self.renew_until_lost(&claim) => {
                stop_work.abort();
                self.counters.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            _ = stop.wait_for(|stop| *stop) => {
                stop_work.abort();
                Ok(false)
            }
        };
        let is_failure = match outcome {
            Ok(true) => return,
            Ok(false) => false,
            Err(error) => {
                let (job, row) = (claim.job.id.as_str(), claim.first_row);
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(job, row, failures = claim.failures + 1, %error, "a chunk of a job failed");
                true
            }
        };
        let store = Arc::clone(&self.store);
        let now = self.clock.now();
        let not_before =
            if is_failure { now.checked_add(self.settings.retry_after).unwrap_or(now) } else { now };
        if let Err(error) = blocking(move || store.release_chunk(&claim, is_failure, not_before)).await {
            tracing::warn!(%error, "cannot give back a chunk: its claim runs out by itself");
        }
    }

    /// Renews a claim until it is another's or its job is no longer open.
    async fn renew_until_lost(&self, claim: &ChunkClaim) {
        loop {
            tokio::time::sleep(self.settings.lease / 3).await;
            let (store, time, claim) = (Arc::clone(&self.store), self.claim_time(), claim.clone());
            match blocking(move || store.renew_chunk(&claim, time)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "cannot renew the claim of a chunk"),
            }
        }
    }

    /// Scores a chunk and records its outcome. Returns `false` if the claim is to be given back.
    async fn work_on_chunk(self: Arc<Self>, claim: ChunkClaim) -> Result<bool, WorkError> {
        let job = &claim.job;
        let spec = JobSpec::from_json(&job.spec)?;
        if claim.failures >= MAX_FAILURES && claim.rows > 1 {
            tracing::warn!(
                job = job.id.as_str(),
                first_row = claim.first_row,
                rows = claim.rows,
                "a chunk keeps failing: it is halved to find the row"
            );
            let store = Arc::clone(&self.store);
            blocking(move || store.halve_chunk(&claim)).await?;
            return Ok(true);
        }
        let rows =
            cut::chunk_rows(&self.objects, &job.id, claim.input_row, claim.first_row, claim.rows).await?;
        let scored = if claim.failures >= MAX_FAILURES {
            give_up(&claim, &rows)
        } else {
            let caller = Caller::from(format!("jobs/{}", job.account).as_str()).in_background();
            match score_rows(self.host.as_ref(), &spec, &caller, claim.first_row, rows).await {
                Ok(scored) => scored,
                Err(ScoreError::ShuttingDown) => return Ok(false),
                Err(ScoreError::Other(error)) => return Err(error.into()),
                Err(ScoreError::NoModel(language)) => {
                    let message = format!("no model for language {} is loaded", language.code());
                    self.fail(&job.id, message).await?;
                    return Ok(false);
                }
            }
        };
        if let (OnError::Fail, Some(error)) = (spec.on_error, &scored.first_error) {
            // Before the chunk is complete: the last one would complete the job.
            self.fail(&job.id, format!("line {}: {}", error.line, error.message)).await?;
            return Ok(true);
        }
        let outcome = &scored.outcome;
        for (name, content) in
            [(&outcome.result_object, &scored.results), (&outcome.error_object, &scored.errors)]
        {
            if let Some(name) = name {
                self.objects.put(&job.id, name, content).await?;
            }
        }
        let (id, account) = (job.id.clone(), job.account.clone());
        let (store, outcome, now) = (Arc::clone(&self.store), outcome.clone(), self.clock.now());
        if blocking(move || store.complete_chunk(&claim, &outcome, now)).await? {
            self.counters.completed.fetch_add(1, Ordering::Relaxed);
            self.host.add_usage(&account, scored.usage);
        } else {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
            self.remove_if_gone(&id).await?;
        }
        Ok(true)
    }

    /// Removes the objects of a job that was deleted while a chunk of it was scored.
    async fn remove_if_gone(&self, id: &JobId) -> Result<(), WorkError> {
        let (store, looked_up) = (Arc::clone(&self.store), id.clone());
        if blocking(move || store.job(&looked_up)).await?.is_none() {
            self.objects.remove_job(id).await?;
        }
        Ok(())
    }

    async fn fail(&self, id: &JobId, message: String) -> Result<(), WorkError> {
        let now = self.clock.now();
        self.update(id, move |job| {
            if job.status.is_open() {
                job.failure = Some(message.clone());
                job.end(Ending::Failed, now);
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn update(
        &self,
        id: &JobId,
        mut change: impl FnMut(&mut JobRecord) -> Result<(), StepError> + Send + 'static,
    ) -> Result<JobRecord, JobError> {
        let (store, id) = (Arc::clone(&self.store), id.clone());
        blocking(move || store.update_job(&id, &mut change)).await
    }
}

/// The outcome of a row that no worker survived.
fn give_up(claim: &ChunkClaim, rows: &[InputRow]) -> Scored {
    let mut scored = Scored::default();
    for (number, row) in (claim.first_row + 1..).zip(rows) {
        let message = format!("scoring this row failed {} times; the server's log says why", claim.failures);
        scored.add_error(number, row, "server_error", &message);
    }
    scored.finish(claim.first_row, claim.rows);
    scored
}

/// Cuts inputs and finishes jobs, one at a time.
async fn run_steps(context: Arc<Context>) {
    let mut stop = context.stop.clone();
    while !*stop.borrow() {
        let (store, time) = (Arc::clone(&context.store), context.claim_time());
        let claimed = match blocking(move || store.claim_job(time)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "cannot claim a job");
                None
            }
        };
        let Some((job, attempt)) = claimed else {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            continue;
        };
        let id = job.id.clone();
        let taken = Arc::clone(&context).take_step(job, attempt);
        let outcome = tokio::select! {
            outcome = taken => outcome,
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(job = id.as_str(), %error, "a step of a job failed and is tried again");
            tokio::time::sleep(POLL).await;
        }
        let store = Arc::clone(&context.store);
        if let Err(error) = blocking(move || store.release_job(&id, attempt)).await {
            tracing::warn!(%error, "cannot give back a job: its claim runs out by itself");
        }
    }
}

impl Context {
    async fn take_step(self: Arc<Self>, job: JobRecord, attempt: u64) -> Result<(), WorkError> {
        if job.status.is_open() { self.cut(&job, attempt).await } else { self.finish(&job).await }
    }

    /// Cuts the input of a job into chunks, from where it was cut to before.
    async fn cut(&self, job: &JobRecord, attempt: u64) -> Result<(), WorkError> {
        let spec = JobSpec::from_json(&job.spec)?;
        let mut pieces = match cut::pieces(&self.objects, job, &spec).await {
            Ok(pieces) => pieces,
            Err(error) if error.is_missing() => {
                return self.fail(&job.id, "the input is gone".to_owned()).await;
            }
            Err(error) => return Err(error.into()),
        };
        let mut rows = job.rows;
        let mut renewed = std::time::Instant::now();
        while let Some(piece) = pieces.recv().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(problem) => {
                    return self.fail(&job.id, format!("the input cannot be read: {problem}")).await;
                }
            };
            if let Some(most) = self.host.max_rows(&job.plan).filter(|most| rows + piece.rows > *most) {
                let problem =
                    format!("the plan {} allows {most} rows in a job, and the input holds more", job.plan);
                return self.fail(&job.id, problem).await;
            }
            if let Err(problem) = self.host.charge(&job.account, &job.plan, piece.rows) {
                return self.fail(&job.id, problem).await;
            }
            // The object first: a chunk in the store must have its rows. A piece that is cut again replaces it.
            self.objects.put(&job.id, &input_object(rows), &piece.object).await?;
            let chunk = NewChunk { rows: piece.rows, split_bytes: piece.split_bytes };
            if !self.add_chunk(&job.id, attempt, chunk, false).await? {
                self.host.refund(&job.account, piece.rows);
                return self.remove_if_gone(&job.id).await;
            }
            rows += piece.rows;
            if renewed.elapsed() > self.settings.lease / 3 {
                renewed = std::time::Instant::now();
                let (store, id, time) = (Arc::clone(&self.store), job.id.clone(), self.claim_time());
                blocking(move || store.renew_job(&id, attempt, time)).await?;
            }
        }
        if rows == 0 {
            return self.fail(&job.id, "the input holds no rows".to_owned()).await;
        }
        let end = NewChunk { rows: 0, split_bytes: job.input_bytes };
        self.add_chunk(&job.id, attempt, end, true).await?;
        Ok(())
    }

    async fn add_chunk(
        &self,
        id: &JobId,
        attempt: u64,
        chunk: NewChunk,
        is_last: bool,
    ) -> Result<bool, StoreError> {
        let (store, id, now) = (Arc::clone(&self.store), id.clone(), self.clock.now());
        blocking(move || store.add_chunk(&id, attempt, chunk, is_last, now)).await
    }

    /// Removes the input of a job that is ending, and ends it.
    async fn finish(&self, job: &JobRecord) -> Result<(), WorkError> {
        self.objects.remove_input(&job.id).await?;
        let now = self.clock.now();
        let finished = self
            .update(&job.id, move |job| {
                job.finish(now);
                Ok(())
            })
            .await?;
        self.host.refund(&finished.account, finished.rows.saturating_sub(finished.done()));
        tracing::info!(
            job = finished.id.as_str(),
            status = finished.status.name(),
            rows = finished.rows,
            failed = finished.failed,
            "a job ended"
        );
        Ok(())
    }
}

/// Runs work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
