//! What callers see of a job: figures and links, and no text.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sentor_jobs::JobSpec;
use sentor_store::clock::iso_8601;
use sentor_store::jobs::{JobRecord, JobStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// Where a job stands.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobView {
    id: String,
    /// `validating`, `queued`, `running`, `paused`, `finalizing`, `completed`, `cancelling`, `cancelled`, `failed` or
    /// `expired`.
    status: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    counts: Counts,
    /// From 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    progress: f64,
    /// Since the first row was scored, without pauses; null before.
    documents_per_second: Option<f64>,
    /// Seconds until the end, at this rate; null where that is not known.
    eta_seconds: Option<f64>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// When it ends if it is not done by then.
    #[schema(format = DateTime)]
    expires_at: String,
    /// When the results are deleted; null before the job has ended.
    #[schema(format = DateTime)]
    deleted_at: Option<String>,
    input: InputView,
    results: ResultsView,
    errors: ErrorsView,
    options: OptionsView,
    /// As submitted.
    metadata: BTreeMap<String, String>,
}

/// Numbers of rows.
#[derive(Debug, Serialize, ToSchema)]
struct Counts {
    /// Rows of the input, as far as it has been read.
    total: u64,
    /// Rows with scores.
    succeeded: u64,
    /// Rows in the error file.
    failed: u64,
    /// Rows that were not scored because the job's time was up.
    expired: u64,
    /// Rows that were not scored because the job was cancelled, or failed.
    cancelled: u64,
}

/// The input as it was sent.
#[derive(Debug, Serialize, ToSchema)]
struct InputView {
    bytes: u64,
    /// Whether all of it has been read, so that `counts.total` is final.
    is_read: bool,
}

/// The results.
#[derive(Debug, Serialize, ToSchema)]
struct ResultsView {
    /// Rows whose results can be read, in the order of the input; those of the error file count.
    available_rows: u64,
    /// Whether no more will come.
    complete: bool,
    url: String,
}

/// The error file.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorsView {
    count: u64,
    url: String,
}

/// The options in force.
#[derive(Debug, Serialize, ToSchema)]
struct OptionsView {
    language: String,
    /// For every row, beside its own.
    entities: Vec<String>,
    pronouns: bool,
    offsets: String,
    /// `continue` or `fail`.
    #[schema(value_type = String)]
    on_error: sentor_jobs::OnError,
    /// `low`, `normal` or `high`, among the jobs of the account.
    priority: &'static str,
}

impl JobView {
    pub(super) fn new(job: &JobRecord, available_rows: u64, now: Timestamp) -> Self {
        // Options that cannot be read make the job fail; it can still be shown.
        let spec = JobSpec::from_json(&job.spec).unwrap_or_default();
        let left = if job.status.is_final() { job.rows - job.done() } else { 0 };
        let is_expired = job.status == JobStatus::Expired;
        let rate = documents_per_second(job, now);
        let progress = progress(job);
        let url = |name: &str| format!("/api/jobs/{}/{name}", job.id);
        let time = |at: Option<Timestamp>| at.map(iso_8601);
        Self {
            id: job.id.to_string(),
            status: job.status.name(),
            failure: job.failure.clone(),
            counts: Counts {
                total: job.rows,
                succeeded: job.succeeded,
                failed: job.failed,
                expired: if is_expired { left } else { 0 },
                cancelled: if is_expired { 0 } else { left },
            },
            progress: rounded(progress),
            documents_per_second: rate.map(rounded),
            eta_seconds: eta_seconds(job, rate, progress).map(rounded),
            created_at: iso_8601(job.created_at),
            started_at: time(job.started_at),
            finished_at: time(job.finished_at),
            expires_at: iso_8601(job.expires_at),
            deleted_at: time(job.deleted_at()),
            input: InputView { bytes: job.input_bytes, is_read: job.is_split },
            results: ResultsView {
                available_rows,
                complete: job.status.is_final() || job.status == JobStatus::Finalizing,
                url: url("results"),
            },
            errors: ErrorsView { count: job.failed, url: url("errors") },
            options: OptionsView {
                language: spec.language,
                entities: spec.entities,
                pronouns: spec.pronouns,
                offsets: spec.offsets,
                on_error: spec.on_error,
                priority: match job.priority {
                    ..0 => "low",
                    0 => "normal",
                    1.. => "high",
                },
            },
            metadata: spec.metadata,
        }
    }
}

/// The part that is done. While the input is being read, its size tells how many rows there may be.
fn progress(job: &JobRecord) -> f64 {
    if job.status == JobStatus::Completed {
        return 1.0;
    }
    if job.rows == 0 {
        return 0.0;
    }
    let read = match (job.is_split, job.input_bytes) {
        (true, _) | (_, 0) => 1.0,
        (false, bytes) => (job.split_bytes as f64 / bytes as f64).min(1.0),
    };
    job.done() as f64 / job.rows as f64 * read
}

fn documents_per_second(job: &JobRecord, now: Timestamp) -> Option<f64> {
    let until = job.finished_at.or(job.paused_at).unwrap_or(now);
    let running: SignedDuration = until.duration_since(job.started_at?) - job.paused_for;
    let seconds = running.as_secs_f64();
    (seconds > 0.0 && job.done() > 0).then(|| job.done() as f64 / seconds)
}

fn eta_seconds(job: &JobRecord, rate: Option<f64>, progress: f64) -> Option<f64> {
    let rate = rate.filter(|rate| *rate > 0.0 && job.status == JobStatus::Running && progress > 0.0)?;
    Some((job.done() as f64 / progress - job.done() as f64) / rate)
}

/// Three digits behind the point are enough for people and programs.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
