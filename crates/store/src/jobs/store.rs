//! The trait of a store of jobs, and the values that it takes and returns.

use std::time::Duration;

use jiff::Timestamp;

use super::record::{ChunkCounts, JobId, JobRecord, JobStatus, StepError};
use crate::error::StoreError;
use crate::keys::KeyId;

/// Why a change of a job was not made.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such job, or it is another account's.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job's status does not allow it.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// A caller's own name for a submission: a repetition with the same body gives the same job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As sent.
    pub key: String,
    /// Digest of what was submitted.
    pub digest: String,
    /// Keys that are older than this no longer count.
    pub counts_since: Timestamp,
}

/// What an account's jobs may use; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobLimits {
    /// Jobs that have not ended.
    pub active_jobs: Option<u64>,
    /// Rows that are not yet scored, of all jobs.
    pub rows_waiting: Option<u64>,
    /// Bytes of inputs of active jobs, and of all results.
    pub stored_bytes: Option<u64>,
}

/// What an account's jobs use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobUsage {
    /// Jobs that have not ended.
    pub active_jobs: u64,
    /// Rows that are not yet scored, of all jobs.
    pub rows_waiting: u64,
    /// Bytes of inputs of active jobs, and of all results.
    pub stored_bytes: u64,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// The job is in the store.
    Added,
    /// The same submission was made before, as this job.
    Known(Box<JobRecord>),
    /// The idempotency key was used for another submission.
    KeyReused,
    /// The account has as many active jobs as it may.
    TooManyJobs {
        /// The limit.
        limit: u64,
    },
}

/// Selects jobs of an account.
#[derive(Clone, Debug)]
pub struct JobQuery {
    /// Whose.
    pub account: KeyId,
    /// In this status; `None` for any.
    pub status: Option<JobStatus>,
    /// Jobs that were submitted before this one.
    pub after: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// A part of an account's jobs, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Whether older ones follow.
    pub has_more: bool,
}

/// The time of a claim, and when it ends unless it is renewed.
#[derive(Clone, Copy, Debug)]
pub struct ClaimTime {
    /// Now.
    pub now: Timestamp,
    /// How long the lease lasts.
    pub lease: Duration,
}

impl ClaimTime {
    /// When the lease ends.
    pub fn lease_until(self) -> Timestamp {
        self.now.checked_add(self.lease).unwrap_or(Timestamp::MAX)
    }
}

/// A chunk to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewChunk {
    /// Its rows.
    pub rows: u64,
    /// Bytes of the job's input that are read after it.
    pub split_bytes: u64,
}

/// A claimed chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkClaim {
    /// The job.
    pub job: JobRecord,
    /// Its first row, counted from 0.
    pub first_row: u64,
    /// Its rows.
    pub rows: u64,
    /// First row of the object that holds its input.
    pub input_row: u64,
    /// Number of the claim, for fencing.
    pub attempt: u64,
    /// Claims since the chunk was cut that were not completed, this one excluded.
    pub failures: u64,
}

/// What a worker made of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkOutcome {
    /// Rows with scores.
    pub succeeded: u64,
    /// Rows in the error file.
    pub failed: u64,
    /// Name of the object with the results; `None` if there are none.
    pub result_object: Option<String>,
    /// Size of the results, unpacked.
    pub result_bytes: u64,
    /// SHA-256 of the results, unpacked, in hexadecimal digits.
    pub result_sha256: String,
    /// Name of the object with the errors; `None` if there are none.
    pub error_object: Option<String>,
}

impl From<&ChunkOutcome> for ChunkCounts {
    fn from(outcome: &ChunkOutcome) -> Self {
        let ChunkOutcome { succeeded, failed, result_bytes, .. } = *outcome;
        Self { succeeded, failed, result_bytes }
    }
}

/// A chunk that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRecord {
    /// Its first row, counted from 0.
    pub first_row: u64,
    /// Its rows.
    pub rows: u64,
    /// What became of it.
    pub outcome: ChunkOutcome,
}

/// The state of the queue, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobQueueStatistics {
    /// Jobs that have not ended.
    pub active_jobs: u64,
    /// Rows that are not yet scored.
    pub rows_waiting: u64,
    /// Chunks that wait.
    pub chunks_waiting: u64,
    /// Chunks under way.
    pub chunks_leased: u64,
    /// When the oldest job that waits for its first chunk was submitted.
    pub oldest_queued: Option<Timestamp>,
}

/// A store of jobs. All backends pass one test suite (`tests/store/jobs.rs`). Every method may block on a disk or network.
pub trait JobStore: Send + Sync + std::fmt::Debug {
    /// Adds a job.
    fn insert_job(
        &self,
        job: &JobRecord,
        limits: &JobLimits,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Submission, StoreError>;

    /// Looks up a job.
    fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError>;

    /// Returns a part of an account's jobs, the newest first.
    fn jobs(&self, query: &JobQuery) -> Result<JobPage, StoreError>;

    /// Returns what an account's jobs use.
    fn job_usage(&self, account: &KeyId) -> Result<JobUsage, StoreError>;

    /// Changes a job in one transaction, and returns it as it is then.
    fn update_job(
        &self,
        id: &JobId,
        change: &mut dyn FnMut(&mut JobRecord) -> Result<(), StepError>,
    ) -> Result<JobRecord, JobError>;

    /// Removes a job and its chunks.
    fn remove_job(&self, id: &JobId) -> Result<(), StoreError>;

    /// Claims a job whose input is to be cut into chunks, or which is to be finished. Returns it with the number of the
    /// claim.
    fn claim_job(&self, time: ClaimTime) -> Result<Option<(JobRecord, u64)>, StoreError>;

    /// Renews the claim of a job. Returns `false` if it is no longer the latest claim or the job is not there.
    fn renew_job(&self, id: &JobId, attempt: u64, time: ClaimTime) -> Result<bool, StoreError>;

    /// Ends the claim of a job early, so that another can follow at once.
    fn release_job(&self, id: &JobId, attempt: u64) -> Result<(), StoreError>;

    /// Adds the next chunk of a claimed job; `is_last` says that the input ends with it, and the chunk may be empty then.
    /// Returns `false` if the claim is no longer the latest or the job is not open.
    fn add_chunk(
        &self,
        id: &JobId,
        attempt: u64,
        chunk: NewChunk,
        is_last: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Claims a chunk: of the account that was served the longest time ago, of its jobs the one with the highest priority,
    /// then the oldest.
    fn claim_chunk(&self, time: ClaimTime) -> Result<Option<ChunkClaim>, StoreError>;

    /// Renews the claim of a chunk. Returns `false` if it is no longer the latest claim or the job is not open.
    fn renew_chunk(&self, claim: &ChunkClaim, time: ClaimTime) -> Result<bool, StoreError>;

    /// Ends the claim of a chunk without an outcome: it can be claimed again at `not_before`. `is_failure` counts the claim
    /// as failed.
    fn release_chunk(
        &self,
        claim: &ChunkClaim,
        is_failure: bool,
        not_before: Timestamp,
    ) -> Result<(), StoreError>;

    /// Cuts a claimed chunk of several rows into two halves, which can be claimed at once.
    fn halve_chunk(&self, claim: &ChunkClaim) -> Result<(), StoreError>;

    /// Records the outcome of a claimed chunk. Returns `false`, and changes nothing, if the claim is no longer the latest or
    /// the job is not open.
    fn complete_chunk(
        &self,
        claim: &ChunkClaim,
        outcome: &ChunkOutcome,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Returns the chunks that are done from the one with row `from_row` on, in order, up to the first that is not done, and
    /// at most `limit`.
    fn done_chunks(&self, id: &JobId, from_row: u64, limit: usize) -> Result<Vec<ChunkRecord>, StoreError>;

    /// Returns the number of rows before the first chunk that is not done.
    fn available_rows(&self, id: &JobId) -> Result<u64, StoreError>;

    /// Returns some of the jobs that are open at the end of their time, and of those whose results are no longer kept.
    fn due_jobs(&self, now: Timestamp, limit: usize) -> Result<Vec<JobRecord>, StoreError>;

    /// Ends all claims, and counts those of chunks as failed. For a store that only this process uses, at its start: the
    /// claims are those of a process that was killed.
    fn release_all_claims(&self) -> Result<(), StoreError>;

    /// Returns the state of the queue.
    fn job_statistics(&self) -> Result<JobQueueStatistics, StoreError>;
}
