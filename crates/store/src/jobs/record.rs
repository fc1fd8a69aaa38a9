//! What is stored of a job, and the steps of its life.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::keys::KeyId;

/// Identifies a job. Identifiers sort by the time of submission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

impl JobId {
    /// Makes an identifier of any text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Parses an identifier that a caller sent; `None` for what no job can have as one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_plain && !text.is_empty() && text.len() <= 64).then(|| Self::new(text))
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobStatus {
    /// The input is there, and no row of it has been read.
    Validating,
    /// Rows wait, and none has been scored.
    Queued,
    /// Rows are being scored.
    Running,
    /// The caller paused it.
    Paused,
    /// All is done but removing the input.
    Finalizing,
    /// Every row was scored, or is in the error file.
    Completed,
    /// The caller cancelled it; the input is about to be removed.
    Cancelling,
    /// The caller cancelled it. What was done is kept.
    Cancelled,
    /// It ended early, for the reason in [`JobRecord::failure`]. What was done is kept.
    Failed,
    /// Its time was up. What was done is kept.
    Expired,
}

impl JobStatus {
    /// All of them.
    pub const ALL: [JobStatus; 10] = [
        Self::Validating,
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Finalizing,
        Self::Completed,
        Self::Cancelling,
        Self::Cancelled,
        Self::Failed,
        Self::Expired,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The status of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed | Self::Expired)
    }

    /// Whether chunks may be claimed.
    pub fn is_claimable(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// Whether rows may still be added and chunks completed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Validating | Self::Queued | Self::Running | Self::Paused)
    }
}

/// How a job ends once its input is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// See [`JobStatus::Completed`].
    Completed,
    /// See [`JobStatus::Cancelled`].
    Cancelled,
    /// See [`JobStatus::Failed`].
    Failed,
    /// See [`JobStatus::Expired`].
    Expired,
}

impl Ending {
    /// The final status.
    pub fn status(self) -> JobStatus {
        match self {
            Self::Completed => JobStatus::Completed,
            Self::Cancelled => JobStatus::Cancelled,
            Self::Failed => JobStatus::Failed,
            Self::Expired => JobStatus::Expired,
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all = [Self::Completed, Self::Cancelled, Self::Failed, Self::Expired];
        all.into_iter().find(|ending| ending.status().name() == name)
    }
}

/// A change that a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStep {
    /// Claim no more chunks until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// End it, and keep what is done.
    Cancel,
}

/// A step that the status of a job does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot be {}", .status.name(), match .step {
    JobStep::Pause => "paused",
    JobStep::Resume => "resumed",
    JobStep::Cancel => "cancelled",
})]
pub struct StepError {
    /// Where the job stands.
    pub status: JobStatus,
    /// What was asked for.
    pub step: JobStep,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its identifier.
    pub id: JobId,
    /// Whose job it is.
    pub account: KeyId,
    /// The plan of the key that submitted it.
    pub plan: String,
    /// Options, as whoever reads and scores the rows wrote them; the store does not read them.
    pub spec: String,
    /// Order among the jobs of its account; higher is earlier.
    pub priority: i64,
    /// Where it stands.
    pub status: JobStatus,
    /// Where it is going, once that is certain.
    pub ending: Option<Ending>,
    /// Why it failed.
    pub failure: Option<String>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its first chunk was claimed.
    pub started_at: Option<Timestamp>,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// For how long it was paused before.
    pub paused_for: SignedDuration,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it ends if it is not done by then.
    pub expires_at: Timestamp,
    /// For how long its results are kept after its end.
    pub keep_results: SignedDuration,
    /// Size of the input as it was sent.
    pub input_bytes: u64,
    /// Part of the input that has been cut into chunks.
    pub split_bytes: u64,
    /// Rows that have been cut into chunks.
    pub rows: u64,
    /// Whether `rows` are all.
    pub is_split: bool,
    /// Rows with scores.
    pub succeeded: u64,
    /// Rows in the error file.
    pub failed: u64,
    /// Size of the results, unpacked.
    pub result_bytes: u64,
    /// Raised by each change.
    pub revision: u64,
}

impl JobRecord {
    /// Rows that were scored or are in the error file.
    pub fn done(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Takes a step that a caller asks for. A step that was taken before changes nothing.
    ///
    /// # Errors
    ///
    /// If the job's status does not allow it.
    pub fn take(&mut self, step: JobStep, now: Timestamp) -> Result<(), StepError> {
        let refused = Err(StepError { status: self.status, step });
        match (step, self.status) {
            (JobStep::Pause, JobStatus::Validating | JobStatus::Queued | JobStatus::Running) => {
                self.status = JobStatus::Paused;
                self.paused_at = Some(now);
            }
            (JobStep::Resume, JobStatus::Paused) => {
                self.end_pause(now);
                self.status = self.open_status();
            }
            (JobStep::Cancel, status) if status.is_open() => {
                self.end_pause(now);
                self.status = JobStatus::Cancelling;
                self.ending = Some(Ending::Cancelled);
            }
            (JobStep::Pause, JobStatus::Paused)
            | (JobStep::Resume, JobStatus::Validating | JobStatus::Queued | JobStatus::Running)
            | (JobStep::Cancel, JobStatus::Cancelling | JobStatus::Cancelled) => {}
            _ => return refused,
        }
        Ok(())
    }

    /// Sends an open job to an end of the server's choice. Does nothing to one that is ending already.
    pub fn end(&mut self, ending: Ending, now: Timestamp) {
        if self.status.is_open() {
            self.end_pause(now);
            self.status = JobStatus::Finalizing;
            self.ending = Some(ending);
        }
    }

    /// Records that the input is removed and the job is at its end.
    pub fn finish(&mut self, now: Timestamp) {
        if let Some(ending) = self.ending.filter(|_| !self.status.is_final()) {
            self.status = ending.status();
            self.finished_at = Some(now);
        }
    }

    /// When the job and its results are deleted.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        self.finished_at.map(|at| at.checked_add(self.keep_results).unwrap_or(Timestamp::MAX))
    }

    /// Records rows that were cut into chunks.
    pub(crate) fn add_rows(&mut self, rows: u64, split_bytes: u64, is_last: bool, now: Timestamp) {
        self.rows += rows;
        self.split_bytes = split_bytes;
        self.is_split = is_last;
        if self.status == JobStatus::Validating {
            self.status = self.open_status();
        }
        self.end_if_done(now);
    }

    /// Records that a chunk of the job was claimed.
    pub(crate) fn start(&mut self, now: Timestamp) {
        self.status = JobStatus::Running;
        self.started_at.get_or_insert(now);
    }

    /// Records the outcome of a chunk.
    pub(crate) fn add_outcome(&mut self, outcome: &ChunkCounts, now: Timestamp) {
        self.succeeded += outcome.succeeded;
        self.failed += outcome.failed;
        self.result_bytes += outcome.result_bytes;
        self.end_if_done(now);
    }

    fn end_if_done(&mut self, now: Timestamp) {
        if self.is_split && self.done() == self.rows {
            self.end(Ending::Completed, now);
        }
    }

    fn open_status(&self) -> JobStatus {
        match self.started_at {
            Some(_) => JobStatus::Running,
            None if self.rows > 0 || self.is_split => JobStatus::Queued,
            None => JobStatus::Validating,
        }
    }

    fn end_pause(&mut self, now: Timestamp) {
        if let Some(since) = self.paused_at.take() {
            self.paused_for += now.duration_since(since);
        }
    }
}

/// What a chunk adds to the counts of its job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkCounts {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) result_bytes: u64,
}
