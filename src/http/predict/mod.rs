//! `POST /api/predicts`: scores documents.

mod example;
mod json;
mod request;
mod response;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::app::App;
use super::error::ApiError;
use super::observe::RequestContext;
use super::openapi::words;
use super::query::PredictQuery;
use super::{auth, body, timeout};
use crate::telemetry::{Phase, ScoredDocument};
pub(super) use example::{answer as example_answer, request as example_request};
use request::PredictRequest;
use sentor_analysis::background;
use sentor_analysis::{AnalysisError, Caller, DocumentAnalysis, DocumentError, Options};
use sentor_store::keys::{KeyRecord, Scope};
use sentor_store::metering::{Admission, Limit, Usage};
use sentor_text::language::{Language, LanguageChoice};

/// From this size on, a body is read and an answer written on a thread that may take its time.
const OFF_THREAD_BYTES: usize = 256 * 1024;

/// How long after its deadline a request still waits for the engine to say that the deadline passed.
const DEADLINE_SLACK: Duration = Duration::from_secs(2);

/// `POST /api/predicts`: what can be refused cheaply is refused first.
#[utoipa::path(
    post, path = "/api/predicts", tag = "sentiment",
    summary = "Score documents",
    description = "Scores each document, each of its sentences, and each entity that it was sent with.",
    params(
        ("language" = Option<words::LanguageChoice>, Query,
         description = "The language to score as; `auto` tells it for each document. Without it, the body's                         `language` counts, or else `en`."),
        ("partial" = Option<bool>, Query,
         description = "Whether a document that cannot be scored has an `error` in its place in `results`,                         and leaves the others their scores. Without it, the request is refused."),
        ("offsets" = Option<words::Offsets>, Query,
         description = "What `start` and `end` count: Unicode code points (the default), bytes of UTF-8, or                         units of UTF-16."),
        ("pronouns" = Option<bool>, Query,
         description = "Whether a pronoun is a mention, with the form `pronoun`, of the one entity that it can stand \
                        for. Without it, pronouns are not followed."),
    ),
    request_body(content = words::PredictBody, content_type = "application/json"),
    responses((status = 200, description = "The scores, in the order of the documents.",
               body = response::PredictResponse<'static>)),
)]
pub(super) async fn predict_documents(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let admitted = match parts.extensions.remove::<Arc<Admitted>>() {
        Some(admitted) => admitted,
        None => Arc::new(admit(&app, &parts.uri, &parts.headers, &context)?),
    };
    let answer = score(&app, &parts.headers, body, &context, &admitted).await;
    give_back_of_fault(&admitted.admission, &answer);
    answer
}

/// A request that its head does not refuse.
pub(super) struct Admitted {
    key: Arc<KeyRecord>,
    admission: Admission,
    query: PredictQuery,
    caller: Caller,
    deadline: Instant,
}

/// Lets a request in by its head, or refuses it; most refusals there are for more work than can be done in time.
pub(super) fn admit(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Admitted, ApiError> {
    let key = auth::require(app, headers, Scope::Predict, context)?;
    let admission = auth::admit(app, &key, context)?;
    let caller = Caller::from(key.account.as_str()).with_weight(admission.plan().weight);
    let read = read_head(app, uri, headers, context, &caller);
    give_back_of_fault(&admission, &read);
    let (query, deadline) = read?;
    Ok(Admitted { key, admission, query, caller, deadline })
}

/// What the head asks for, and until when, where that can be done in time.
fn read_head(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    context: &RequestContext,
    caller: &Caller,
) -> Result<(PredictQuery, Instant), ApiError> {
    body::check_headers(headers, app.settings.limits.body_limit_bytes)?;
    let query = PredictQuery::parse(uri)?;
    let deadline = context.started + timeout::of_request(headers, &app.settings)?;
    if let Some(analyzer) = app.analyzer() {
        analyzer.foresee_refusal(body::length(headers).unwrap_or(0), caller, Some(deadline))?;
    }
    Ok((query, deadline))
}

/// What the server did not do is not counted.
fn give_back_of_fault<T>(admission: &Admission, answer: &Result<T, ApiError>) {
    if answer.as_ref().is_err_and(ApiError::is_server_fault) {
        admission.refund();
    }
}

/// Reads a body as a request does: how many documents it has, or the refusal as JSON. For the fuzzer in `fuzz/` alone.
#[cfg(fuzzing)]
pub fn read_predict_body(
    bytes: &[u8],
    partial: bool,
    limits: &crate::config::LimitsConfig,
) -> Result<usize, Vec<u8>> {
    let query = PredictQuery { partial, ..PredictQuery::default() };
    let request = PredictRequest::parse(bytes, query, limits);
    request
        .map(|request| request.documents.len())
        .map_err(|error| error.body("", jiff::Timestamp::UNIX_EPOCH))
}

/// Answers a request that was let in.
async fn score(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    context: &RequestContext,
    admitted: &Admitted,
) -> Result<Response, ApiError> {
    let Admitted { key, admission, query, caller, deadline } = admitted;
    let query = *query;
    // The memory is held until the answer is written.
    let (bytes, _held) = body::read(headers, body, app).await?;
    let is_large = bytes.len() >= OFF_THREAD_BYTES;

    let limits = app.settings.limits;
    let request = off_thread(is_large, move || PredictRequest::parse(&bytes, query, &limits)).await??;
    let language = request.language.unwrap_or(LanguageChoice::Fixed(Language::English));
    let (documents, characters) = (request.documents.len(), request.characters());
    context.end_phase(Phase::Receive, context.started);
    context.note(|notes| {
        notes.language = Some(language_name(language));
        notes.documents = Some(documents);
        notes.characters = Some(characters);
    });
    check_plan(admission, &key.plan, documents, characters)?;
    app.metrics.take_documents(language_name(language), documents, characters);

    let options = Options { language, caller: caller.clone(), deadline: Some(*deadline) };
    let score_started = Instant::now();
    let outcomes = analyze(app, &request, options).await;
    context.end_phase(Phase::Score, score_started);
    let outcomes = outcomes?;
    let scored = || outcomes.iter().flatten();
    let tokens = scored().map(|analysis| analysis.tokens).sum();
    context.note(|notes| notes.tokens = Some(tokens));
    admission.add_usage(Usage {
        documents: count(scored().count()),
        characters: count(characters),
        tokens: count(tokens),
        entities: count(scored().map(|analysis| analysis.entities.len()).sum()),
        ..Usage::default()
    });
    count_scored(&outcomes, app);

    let write_started = Instant::now();
    let json = off_thread(is_large, move || response::write(&request, &outcomes, query)).await??;
    context.end_phase(Phase::Write, write_started);
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Whether the plan allows a request of this size.
fn check_plan(
    admission: &Admission,
    plan: &str,
    documents: usize,
    characters: usize,
) -> Result<(), ApiError> {
    for (limit, found) in [(Limit::DocumentsPerCall, documents), (Limit::CharactersPerCall, characters)] {
        let found = found as u64;
        if let Some(most) = admission.plan().limit(limit).filter(|most| found > *most) {
            return Err(ApiError::larger_than_plan(limit, found, most, plan));
        }
    }
    Ok(())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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

/// Counts what was scored.
fn count_scored(outcomes: &[Result<DocumentAnalysis, DocumentError>], app: &App) {
    for analysis in outcomes.iter().flatten() {
        app.metrics.score_document(ScoredDocument {
            language: analysis.language,
            entities: analysis.entities.len(),
            tokens: analysis.tokens,
        });
    }
}

/// Runs `work` where it does not hold up other requests, if it is large.
async fn off_thread<T: Send + 'static>(
    is_large: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if !is_large {
        return Ok(work());
    }
    let span = tracing::Span::current();
    // A panic there is logged by the hook, inside this request's span.
    background::run(move || span.in_scope(work)).await.map_err(|_| ApiError::server())
}

fn language_name(language: LanguageChoice) -> &'static str {
    match language {
        LanguageChoice::Fixed(language) => language.code(),
        LanguageChoice::Auto => "auto",
    }
}
