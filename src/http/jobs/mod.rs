//! `/api/jobs`: large inputs, scored beneath online traffic.
//!
//! Every call needs the scope `jobs` and sees the jobs of its account alone.

mod host;
mod options;
mod read;
mod submit;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use super::query::{Parameters, bad_parameter};
use super::{auth, blocking};
use crate::telemetry::JobReadings;
pub use host::JobHost;
pub(super) use read::*;
use sentor_jobs::{ObjectError, Objects, RunnerCounters};
use sentor_store::StoreError;
use sentor_store::jobs::{JobError, JobId, JobQuery, JobRecord, JobStatus, JobStep, JobStore};
use sentor_store::keys::{KeyRecord, Scope};
pub(super) use submit::*;
pub(super) use view::JobView;

/// Default number of jobs in a page.
const PAGE: usize = 20;

/// Largest number of jobs in a page.
const MAX_PAGE: usize = 100;

/// Longest time that a call waits for a job.
const MAX_WAIT_SECONDS: u64 = 60;

/// How often a waiting call looks at its job.
const POLL: Duration = Duration::from_millis(250);

/// What the handlers of jobs work with.
#[derive(Clone, Debug)]
pub struct JobService {
    /// The store of jobs.
    pub store: Arc<dyn JobStore>,
    /// Inputs and results.
    pub objects: Objects,
    /// Largest input, in bytes as it is sent.
    pub max_input_bytes: u64,
    /// How long a job may take unless its caller says otherwise, and at most.
    pub expires_after: Duration,
    /// How long results are kept unless their caller says otherwise, and at most.
    pub keep_results: Duration,
    /// What the runner of this process counts.
    pub counters: Arc<RunnerCounters>,
}

/// A part of an account's jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobList {
    /// The newest first.
    jobs: Vec<JobView>,
    /// The parameter `after` for the next part; null at the end.
    next: Option<String>,
}

/// `GET /api/jobs`: the newest first.
#[utoipa::path(
    get, path = "/api/jobs", tag = "jobs",
    summary = "List jobs",
    params(
        ("status" = Option<String>, Query, description = "Only jobs in this status."),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 100,
         description = "Jobs in the answer at most; 20 unless said otherwise."),
        ("after" = Option<String>, Query, description = "The identifier after which the answer starts."),
    ),
    responses((status = 200, description = "A part of the account's jobs, the newest first.", body = JobList)),
)]
pub(super) async fn list_jobs(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<JobList>, ApiError> {
    let (service, key) = authorize(&app, &headers, &context)?;
    let parameters = Parameters::parse(&uri)?;
    let expected = format!("a whole number from 1 to {MAX_PAGE}");
    let limit: usize = parameters.read("limit", &expected)?.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(bad_parameter("limit", &limit.to_string(), &expected));
    }
    let status = parameters.text("status")?.map(parse_status).transpose()?;
    let after = parameters.text("after")?.map(parse_id).transpose()?;
    let query = JobQuery { account: key.account.clone(), status, after, limit };
    let now = app.now();
    blocking(move || {
        let page = service.store.jobs(&query)?;
        let next = page.jobs.last().filter(|_| page.has_more).map(|job| job.id.to_string());
        let views = page.jobs.iter().map(|job| service.view(job, now));
        Ok(Json(JobList { jobs: views.collect::<Result<_, StoreError>>()?, next }))
    })
    .await?
    .map_err(|error: StoreError| error.into())
}

/// `GET /api/jobs/{id}`: where a job stands, without any text.
#[utoipa::path(
    get, path = "/api/jobs/{id}", tag = "jobs",
    summary = "Show a job",
    description = "With `wait`, the answer comes when the job has ended, or after so many seconds. With the header \
                   `If-None-Match` too, it comes as soon as the job has changed; it is a 304 if it has not.",
    params(
        ("id" = String, Path, description = "Its identifier."),
        ("wait" = Option<u64>, Query, minimum = 0, maximum = 60, description = "Seconds to wait at most."),
    ),
    responses(
        (status = 200, description = "Where the job stands.", body = JobView),
        (status = 304, description = "The job has not changed."),
    ),
)]
pub(super) async fn show_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (service, key) = authorize(&app, &headers, &context)?;
    let id = parse_id(&id)?;
    let expected = format!("a whole number from 0 to {MAX_WAIT_SECONDS}");
    let wait: u64 = Parameters::parse(&uri)?.read("wait", &expected)?.unwrap_or(0);
    if wait > MAX_WAIT_SECONDS {
        return Err(bad_parameter("wait", &wait.to_string(), &expected));
    }
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let until = tokio::time::Instant::now() + Duration::from_secs(wait);
    loop {
        let job = service.find(&key, &id).await?;
        let tag = format!("\"{}\"", job.revision);
        let is_news = match &known {
            Some(known) => *known != tag,
            None => job.status.is_final(),
        };
        let is_late = tokio::time::Instant::now() >= until;
        if !is_news && !is_late {
            tokio::time::sleep(POLL).await;
            continue;
        }
        let tag = HeaderValue::try_from(tag).map_err(|_| ApiError::server())?;
        let mut response = if known.is_some() && !is_news {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Json(service.view_of(job, app.now()).await?).into_response()
        };
        response.headers_mut().insert(header::ETAG, tag);
        return Ok(response);
    }
}

/// `POST /api/jobs/{id}/pause`.
#[utoipa::path(
    post, path = "/api/jobs/{id}/pause", tag = "jobs",
    summary = "Pause a job",
    description = "What is under way is finished. A paused job can expire.",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "Where the job stands.", body = JobView)),
)]
pub(super) async fn pause_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    step(&app, &context, &headers, &id, JobStep::Pause).await
}

/// `POST /api/jobs/{id}/resume`.
#[utoipa::path(
    post, path = "/api/jobs/{id}/resume", tag = "jobs",
    summary = "Resume a paused job",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "Where the job stands.", body = JobView)),
)]
pub(super) async fn resume_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    step(&app, &context, &headers, &id, JobStep::Resume).await
}

/// `POST /api/jobs/{id}/cancel`.
#[utoipa::path(
    post, path = "/api/jobs/{id}/cancel", tag = "jobs",
    summary = "Cancel a job",
    description = "The results so far are kept.",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "Where the job stands.", body = JobView)),
)]
pub(super) async fn cancel_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    step(&app, &context, &headers, &id, JobStep::Cancel).await
}

/// `DELETE /api/jobs/{id}`.
#[utoipa::path(
    delete, path = "/api/jobs/{id}", tag = "jobs",
    summary = "Delete a job",
    description = "Removes the input and the results at once, whether the job has ended or not.",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 204, description = "The job is gone.")),
)]
pub(super) async fn delete_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let (service, key) = authorize(&app, &headers, &context)?;
    let job = service.find(&key, &parse_id(&id)?).await?;
    // The job first: no worker completes a chunk of it from now on.
    let (store, id) = (Arc::clone(&service.store), job.id.clone());
    blocking(move || store.remove_job(&id)).await??;
    service.objects.remove_job(&job.id).await?;
    if !job.status.is_final() {
        app.services.meter.refund_documents(&job.account, job.rows.saturating_sub(job.done()));
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn step(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    id: &str,
    step: JobStep,
) -> Result<Json<JobView>, ApiError> {
    let (service, key) = authorize(app, headers, context)?;
    let job = service.find(&key, &parse_id(id)?).await?;
    let (store, now) = (Arc::clone(&service.store), app.now());
    let changed =
        blocking(move || store.update_job(&job.id, &mut |job: &mut JobRecord| job.take(step, now))).await??;
    Ok(Json(service.view_of(changed, now).await?))
}

/// Authenticates a caller of jobs.
fn authorize(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<(JobService, Arc<KeyRecord>), ApiError> {
    let key = auth::require(app, headers, Scope::Jobs, context)?;
    let service = app
        .jobs()
        .ok_or_else(|| ApiError::new(ErrorCode::NotReady, "jobs are not served yet").retry_after(1))?;
    Ok((service.clone(), key))
}

impl JobService {
    /// Looks up a job of the key's account.
    async fn find(&self, key: &KeyRecord, id: &JobId) -> Result<JobRecord, ApiError> {
        let (store, looked_up) = (Arc::clone(&self.store), id.clone());
        let job = blocking(move || store.job(&looked_up)).await??;
        job.filter(|job| job.account == key.account).ok_or_else(|| no_such_job(id))
    }

    /// What callers see of a job. Blocks on the store.
    fn view(&self, job: &JobRecord, now: Timestamp) -> Result<JobView, StoreError> {
        let available_rows = self.store.available_rows(&job.id)?;
        Ok(JobView::new(job, available_rows, now))
    }

    /// What is known of jobs now; `None` if the store cannot be read.
    pub(super) async fn readings(&self, now: Timestamp) -> Option<JobReadings> {
        let store = Arc::clone(&self.store);
        let queue = blocking(move || store.job_statistics()).await.ok()?.ok()?;
        Some(JobReadings { queue, runner: self.counters.read(), now })
    }

    async fn view_of(&self, job: JobRecord, now: Timestamp) -> Result<JobView, ApiError> {
        let service = self.clone();
        Ok(blocking(move || service.view(&job, now)).await??)
    }
}

fn no_such_job(id: &JobId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no job {id}")).detail("id", id.as_str())
}

fn parse_id(text: &str) -> Result<JobId, ApiError> {
    JobId::parse(text).ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such job"))
}

fn parse_status(text: &str) -> Result<JobStatus, ApiError> {
    JobStatus::parse(text).ok_or_else(|| {
        let names = JobStatus::ALL.map(JobStatus::name);
        bad_parameter("status", text, &format!("one of {}", names.join(", ")))
            .detail("allowed", names.to_vec())
    })
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Store(error) => error.into(),
            JobError::NoSuchJob(id) => no_such_job(&id),
            JobError::Step(error) => {
                Self::new(ErrorCode::Conflict, error.to_string()).detail("state", error.status.name())
            }
        }
    }
}

impl From<ObjectError> for ApiError {
    fn from(error: ObjectError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, cause, "an object of a job could not be read or written");
        Self::server()
    }
}
