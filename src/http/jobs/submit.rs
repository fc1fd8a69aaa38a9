//! `POST /api/jobs`: takes an input as it comes, and queues it as a job.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::options::{Checked, SubmitBody};
use super::{JobService, JobView, authorize};
use crate::http::app::App;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::observe::RequestContext;
use crate::http::problems::Problems;
use crate::http::{auth, blocking, body};
use sentor_analysis::Caller;
use sentor_jobs::{InputFormat, Upload, hexadecimal, new_job_id};
use sentor_store::jobs::{IdempotencyKey, JobId, JobLimits, JobRecord, JobStatus, Submission};
use sentor_store::keys::KeyRecord;
use sentor_store::metering::{Limit, Plan};

/// How long an idempotency key counts.
const IDEMPOTENCY: SignedDuration = SignedDuration::from_hours(24);

/// Longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Media types of inputs.
const TYPES: [(&str, InputFormat); 3] = [
    ("application/x-ndjson", InputFormat::Jsonl),
    ("application/jsonl", InputFormat::Jsonl),
    ("application/x-jsonlines", InputFormat::Jsonl),
];

/// `POST /api/jobs`.
#[utoipa::path(
    post, path = "/api/jobs", tag = "jobs",
    summary = "Submit a job",
    description = "The body is the input itself, with options in the query, or JSON with `docs` and options. The \
                   answer comes when the input has arrived. With the header `Idempotency-Key`, a repetition with the same \
                   body within 24 hours gives the same job.",
    params(
        ("language" = Option<String>, Query, description = "`en` (the default), `nl` or `auto`."),
        ("entity" = Option<Vec<String>>, Query, description = "An entity for every row; can stand several times."),
        ("pronouns" = Option<bool>, Query, description = "Whether pronouns with one possible entity are its mentions."),
        ("offsets" = Option<String>, Query, description = "`codepoint` (the default), `utf8` or `utf16`."),
        ("doc_column" = Option<String>, Query, description = "The member with the text; `doc` or `text` unless said otherwise."),
        ("doc_id_column" = Option<String>, Query, description = "The member with the identifier; `doc_id` or `id` unless said otherwise."),
        ("entities_column" = Option<String>, Query, description = "The member with the entities; `entities` unless said otherwise."),
        ("on_error" = Option<String>, Query, description = "Whether a row that cannot be scored is listed in the error file (`continue`, the default), or fails the job (`fail`)."),
        ("priority" = Option<String>, Query, description = "`low`, `normal` or `high`, among the jobs of the account."),
        ("expires_after" = Option<String>, Query, description = "A time such as `24h` after which the job ends."),
        ("keep_results" = Option<String>, Query, description = "How long results are kept, such as `7d`."),
    ),
    request_body(
        content((SubmitBody = "application/json"), (String = "application/x-ndjson")),
    ),
    responses(
        (status = 202, description = "The job.", body = JobView),
        (status = 200, description = "The job of an earlier submission with the same `Idempotency-Key`.", body = JobView),
    ),
)]
pub(in crate::http) async fn submit_job(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (service, key) = authorize(&app, &parts.headers, &context)?;
    auth::admit_query(&app, &key, &context)?;
    let plan = app.services.meter.plan(&key).unwrap_or(Plan::UNLIMITED);
    let idempotency_key = idempotency_key(&parts.headers)?;
    let limits = check_usage(&service, &key, &plan).await?;
    let settings = app.settings();
    let id = new_job_id();
    let (checked, received) = if let Some(format) = media_type(&parts.headers)? {
        let mut checked = SubmitBody::of_query(&parts.uri)?.check(&service, &settings.limits)?;
        checked.spec.format = format;
        let received = receive(&service, &id, &parts.headers, body, settings.body_timeout).await?;
        (checked, received)
    } else {
        let limit_bytes = settings.limits.body_limit_bytes;
        let caller = Caller::from(key.account.as_str());
        let (bytes, _held) = body::read(&parts.headers, body, limit_bytes, &app, &caller).await?;
        let mut submitted = parse(&bytes)?;
        let docs = submitted.docs.take().unwrap_or_default();
        let checked = submitted.check(&service, &settings.limits)?;
        (checked, keep_documents(&service, &id, &docs).await?)
    };
    let outcome = insert(&app, &service, &key, &id, checked, &received, limits, idempotency_key).await;
    if !matches!(outcome, Ok((StatusCode::ACCEPTED, _))) {
        service.objects.remove_job(&id).await?;
    }
    let (status, job) = outcome?;
    let location = HeaderValue::try_from(format!("/api/jobs/{}", job.id)).map_err(|_| ApiError::server())?;
    let view: JobView = service.view_of(job, app.now()).await?;
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// An input that has arrived.
struct Received {
    bytes: u64,
    sha256: Vec<u8>,
}

/// Keeps the documents of a JSON body as an input.
async fn keep_documents(service: &JobService, id: &JobId, docs: &[Value]) -> Result<Received, ApiError> {
    if docs.is_empty() {
        return Err(ApiError::validation(&Problems::only("docs", "must hold at least one document")));
    }
    let mut input = Vec::new();
    for document in docs {
        // What was parsed from JSON can be written as JSON.
        let _ = serde_json::to_writer(&mut input, document);
        input.push(b'\n');
    }
    let mut upload = service.objects.upload(id).await?;
    upload.write(&input).await?;
    upload.finish().await?;
    Ok(Received { bytes: input.len() as u64, sha256: Sha256::digest(&input).to_vec() })
}

/// Keeps a body as it comes.
async fn receive(
    service: &JobService,
    id: &JobId,
    headers: &HeaderMap,
    body: Body,
    timeout: Duration,
) -> Result<Received, ApiError> {
    let too_large = || {
        let most = service.max_input_bytes;
        let message = format!("the input is larger than the limit of {most} bytes; submit it in parts");
        ApiError::new(ErrorCode::PayloadTooLarge, message).detail("limit_bytes", most)
    };
    if body::length(headers).is_some_and(|length| length as u64 > service.max_input_bytes) {
        return Err(too_large());
    }
    let mut upload = service.objects.upload(id).await?;
    let received = async {
        let mut received = Received { bytes: 0, sha256: Vec::new() };
        let mut digest = Sha256::new();
        let mut body = body;
        loop {
            // A large input may take its time, but not without sending anything.
            let frame = tokio::time::timeout(timeout, body.frame()).await.map_err(|_| {
                let message = format!("nothing of the body arrived for {} ms", timeout.as_millis());
                ApiError::new(ErrorCode::RequestTimeout, message)
            })?;
            let Some(frame) = frame else { break };
            let frame =
                frame.map_err(|_| ApiError::new(ErrorCode::BadRequest, "the body ended before its end"))?;
            let Ok(data) = frame.into_data() else { continue };
            received.bytes += data.len() as u64;
            if received.bytes > service.max_input_bytes {
                return Err(too_large());
            }
            digest.update(&data);
            upload.write(&data).await?;
        }
        if received.bytes == 0 {
            return Err(ApiError::new(ErrorCode::BadRequest, "the body is empty"));
        }
        received.sha256 = digest.finalize().to_vec();
        Ok(received)
    };
    let received = received.await;
    finish(upload, received).await
}

async fn finish(upload: Upload, received: Result<Received, ApiError>) -> Result<Received, ApiError> {
    match received {
        Ok(received) => {
            upload.finish().await?;
            Ok(received)
        }
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// Adds the job to the store. The status is 200 for a job that was there before.
#[expect(clippy::too_many_arguments, reason = "all parts of one submission, used once")]
async fn insert(
    app: &App,
    service: &JobService,
    key: &KeyRecord,
    id: &JobId,
    checked: Checked,
    received: &Received,
    limits: JobLimits,
    idempotency_key: Option<String>,
) -> Result<(StatusCode, JobRecord), ApiError> {
    let now = app.now();
    let spec = checked.spec.to_json();
    let idempotency = idempotency_key.map(|key| IdempotencyKey {
        key,
        digest: {
            let mut digest = Sha256::new_with_prefix(&received.sha256);
            digest.update(&spec);
            digest.update([u8::try_from(checked.priority + 1).unwrap_or_default()]);
            hexadecimal(&digest.finalize())
        },
        counts_since: now.checked_sub(IDEMPOTENCY).unwrap_or(now),
    });
    let job = JobRecord {
        id: id.clone(),
        account: key.account.clone(),
        plan: key.plan.clone(),
        spec,
        priority: checked.priority,
        status: JobStatus::Validating,
        ending: None,
        failure: None,
        created_at: now,
        started_at: None,
        paused_at: None,
        paused_for: SignedDuration::ZERO,
        finished_at: None,
        expires_at: now.checked_add(checked.expires_after).unwrap_or(jiff::Timestamp::MAX),
        keep_results: checked.keep_results,
        input_bytes: received.bytes,
        split_bytes: 0,
        rows: 0,
        is_split: false,
        succeeded: 0,
        failed: 0,
        result_bytes: 0,
        revision: 0,
    };
    let (store, added) = (Arc::clone(&service.store), job.clone());
    let submission = blocking(move || store.insert_job(&added, &limits, idempotency.as_ref())).await??;
    match submission {
        Submission::Added => Ok((StatusCode::ACCEPTED, job)),
        Submission::Known(known) => Ok((StatusCode::OK, *known)),
        Submission::KeyReused => {
            let problem = "was used for another submission; use a new key";
            Err(ApiError::validation(&Problems::only("Idempotency-Key", problem)))
        }
        Submission::TooManyJobs { limit } => Err(over_limit(key, Limit::ActiveJobs, limit, limit)),
    }
}

/// Rejects a submission of an account whose jobs use all that they may. The number of jobs is checked again with the insertion.
async fn check_usage(service: &JobService, key: &KeyRecord, plan: &Plan) -> Result<JobLimits, ApiError> {
    let limits = JobLimits {
        active_jobs: plan.limit(Limit::ActiveJobs),
        rows_waiting: plan.limit(Limit::JobRowsWaiting),
        stored_bytes: plan.limit(Limit::JobBytes),
    };
    if limits == JobLimits::default() {
        return Ok(limits);
    }
    let (store, account) = (Arc::clone(&service.store), key.account.clone());
    let usage = blocking(move || store.job_usage(&account)).await??;
    let checks = [
        (Limit::ActiveJobs, limits.active_jobs, usage.active_jobs),
        (Limit::JobRowsWaiting, limits.rows_waiting, usage.rows_waiting),
        (Limit::JobBytes, limits.stored_bytes, usage.stored_bytes),
    ];
    for (what, limit, used) in checks {
        if let Some(limit) = limit.filter(|limit| used >= *limit) {
            return Err(over_limit(key, what, limit, used));
        }
    }
    Ok(limits)
}

fn over_limit(key: &KeyRecord, what: Limit, limit: u64, used: u64) -> ApiError {
    /// Seconds after which a job may have ended.
    const RETRY_AFTER: u64 = 30;
    let (noun, advice) = match what {
        Limit::ActiveJobs => ("active jobs", "wait until one has ended"),
        Limit::JobRowsWaiting => ("waiting rows", "wait until some are scored"),
        _ => ("bytes of inputs and results", "delete jobs that are no longer needed"),
    };
    let message = format!("the plan {} allows {limit} {noun}, and {used} are there: {advice}", key.plan);
    ApiError::new(ErrorCode::RateLimitExceeded, message)
        .detail("window", what.name())
        .detail("limit", limit)
        .detail("used", used)
        .detail("plan", key.plan.as_str())
        .detail("retry_after", RETRY_AFTER)
        .retry_after(RETRY_AFTER)
}

/// The format of an input that is the body itself; `None` for JSON.
fn media_type(headers: &HeaderMap) -> Result<Option<InputFormat>, ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case("application/json") {
        return Ok(None);
    }
    let known = TYPES.iter().find(|(name, _)| given.eq_ignore_ascii_case(name));
    known.map(|(_, format)| Some(*format)).ok_or_else(|| {
        let names: Vec<&str> = ["application/json"].into_iter().chain(TYPES.map(|(name, _)| name)).collect();
        let message = format!("the header content-type must be one of {}", names.join(", "));
        ApiError::new(ErrorCode::UnsupportedMediaType, message).detail("allowed", names)
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    key.filter(|_| values.next().is_none()).map(|key| Some(key.to_owned())).ok_or_else(|| {
        let message =
            format!("the header idempotency-key must stand once and have 1 to {MAX_KEY_BYTES} characters");
        ApiError::new(ErrorCode::BadRequest, message).detail("header", "idempotency-key")
    })
}

fn parse(bytes: &[u8]) -> Result<SubmitBody, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            // Its message names the member and what it should be.
            ApiError::validation(&Problems::only("$", error.to_string()))
        } else {
            ApiError::new(ErrorCode::BadRequest, format!("the body is not JSON: {error}"))
        }
    })
}
