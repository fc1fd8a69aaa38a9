//! `POST /api/predicts`: scores documents.

mod json;
mod request;
mod response;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use tracing::Span;

use super::app::App;
use super::error::ApiError;
use super::observe::RequestContext;
use super::query::PredictQuery;
use super::{auth, body, timeout};
use crate::analysis::{AnalysisError, Caller, DocumentAnalysis, DocumentError, Options};
use crate::keys::Scope;
use crate::language::{Language, LanguageChoice};
use request::PredictRequest;
pub(crate) use response::document_result;

/// From this size on, a body is read and an answer written on a thread that may take its time.
const OFF_THREAD_BYTES: usize = 256 * 1024;

/// How long after its deadline a request still waits for the engine to say that the deadline passed.
const DEADLINE_SLACK: Duration = Duration::from_secs(2);

/// `POST /api/predicts`: what can be refused cheaply is refused first.
pub(super) async fn predict_documents(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let key = auth::require(&app, &parts.headers, Scope::Predict, &context)?;
    body::check_headers(&parts.headers, app.settings.limits.body_limit_bytes)?;
    let query = PredictQuery::parse(&parts.uri)?;
    let caller = Caller::from(key.id.as_str());
    let deadline = Some(context.started + timeout::of_request(&parts.headers, &app.settings)?);
    if let Some(analyzer) = app.analyzer() {
        analyzer.foresee_refusal(body::length(&parts.headers).unwrap_or(0), &caller, deadline)?;
    }
    // The memory is held until the answer is written.
    let (bytes, _held) = body::read(&parts.headers, body, &app).await?;
    let is_large = bytes.len() >= OFF_THREAD_BYTES;

    let limits = app.settings.limits;
    let request = off_thread(is_large, move || PredictRequest::parse(&bytes, query, &limits)).await??;
    let language = request.language.unwrap_or(LanguageChoice::Fixed(Language::English));
    context.note(|notes| {
        notes.language = Some(language_name(language));
        notes.documents = Some(request.documents.len());
        notes.characters = Some(request.characters());
    });

    let options = Options { language, caller, deadline };
    let outcomes = analyze(&app, &request, options).await?;
    let tokens = outcomes.iter().flatten().map(|analysis| analysis.tokens).sum();
    context.note(|notes| notes.tokens = Some(tokens));

    let json = off_thread(is_large, move || response::write(&request, &outcomes, query)).await??;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// One outcome for each document of the request that can be scored.
async fn analyze(
    app: &App,
    request: &PredictRequest,
    options: Options,
) -> Result<Vec<Result<DocumentAnalysis, DocumentError>>, ApiError> {
    let documents = request.valid_documents();
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let analyzer = app.ready_analyzer()?;
    let latest = options.deadline.map_or_else(Instant::now, |deadline| deadline + DEADLINE_SLACK);
    let outcomes = tokio::time::timeout_at(latest.into(), analyzer.analyze(documents, options)).await;
    Ok(outcomes.unwrap_or(Err(AnalysisError::DeadlinePassed))?)
}

/// Runs `work` where it does not hold up other requests, if it is large.
async fn off_thread<T: Send + 'static>(
    is_large: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if !is_large {
        return Ok(work());
    }
    let span = Span::current();
    // A panic there is logged by the hook, inside this request's span.
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.map_err(|_| ApiError::server())
}

fn language_name(language: LanguageChoice) -> &'static str {
    match language {
        LanguageChoice::Fixed(language) => language.code(),
        LanguageChoice::Auto => "auto",
    }
}
