//! `POST /api/predicts`: scores documents.

mod example;
mod json;
mod request;
mod response;
mod surrogates;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::answer::{self, Compressed, OFF_THREAD_BYTES, off_thread};
use super::app::App;
use super::budget::Reservation;
use super::error::ApiError;
use super::observe::RequestContext;
use super::openapi::schemas;
use super::query::PredictQuery;
use super::{auth, body, timeout};
use crate::telemetry::{Phase, ScoredDocument};
pub(super) use example::{answer as example_answer, request as example_request};
use request::PredictRequest;
use sentor_analysis::background::DropInBackground;
use sentor_analysis::{AnalysisError, Caller, Document, DocumentAnalysis, DocumentError, Options};
use sentor_store::keys::{KeyRecord, Scope};
use sentor_store::metering::{Admission, Limit, Usage};
use sentor_text::language::{Language, LanguageChoice};

/// Time after its deadline that a request still waits for the engine to report it.
pub(super) const DEADLINE_SLACK: Duration = Duration::from_secs(2);

/// `POST /api/predicts`. The head check has admitted the request.
#[utoipa::path(
    post, path = "/api/predicts", tag = "sentiment",
    summary = "Score documents",
    description = "Scores each document, each of its sentences, and each entity that it was sent with.",
    params(
        ("language" = Option<schemas::LanguageChoice>, Query,
         description = "The language to score as; `auto` tells it for each document. Without it, the body's                         `language` counts, or else `en`."),
        ("partial" = Option<bool>, Query,
         description = "Whether a document that cannot be scored has an `error` in its place in `results`,                         and leaves the others their scores. Without it, the request is refused."),
        ("offsets" = Option<schemas::Offsets>, Query,
         description = "What `start` and `end` count: Unicode code points (the default), bytes of UTF-8, or                         units of UTF-16."),
        ("pronouns" = Option<bool>, Query,
         description = "Whether a pronoun is a mention, with the form `pronoun`, of the one entity that it can stand \
                        for. Without it, pronouns are not followed."),
        ("discover" = Option<bool>, Query,
         description = "Whether each result also has `discovered`: aspects and names that the text judges without \
                        being asked."),
    ),
    request_body(content = schemas::PredictBody, content_type = "application/json"),
    responses((status = 200, description = "The scores, in the order of the documents.",
               body = response::PredictResponse<'static>)),
)]
pub(super) async fn predict_documents(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    // Only the head check leads here, and it admits the request.
    let admitted: Arc<Admitted> = parts.extensions.remove().ok_or_else(ApiError::server)?;
    // The deadline also bounds the wait for a background thread.
    let latest = admitted.deadline + DEADLINE_SLACK;
    let answer = score(&app, &parts.headers, body, &context, &admitted);
    let answer = tokio::time::timeout_at(latest.into(), answer).await;
    let answer = answer.unwrap_or_else(|_| Err(AnalysisError::DeadlinePassed.into()));
    return_quota_on_fault(&admitted.admission, &answer);
    answer
}

/// A request that the head check has admitted.
pub(super) struct Admitted {
    key: Arc<KeyRecord>,
    admission: Admission,
    query: PredictQuery,
    caller: Caller,
    deadline: Instant,
}

/// Admits a request by its head. Most rejections are due to overload.
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
    return_quota_on_fault(&admission, &read);
    let (query, deadline) = read?;
    Ok(Admitted { key, admission, query, caller, deadline })
}

/// Reads the query and the deadline of a request, and checks that the work can be done in time.
fn read_head(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    context: &RequestContext,
    caller: &Caller,
) -> Result<(PredictQuery, Instant), ApiError> {
    body::check_headers(headers, app.settings().limits.body_limit_bytes)?;
    let query = PredictQuery::parse(uri)?;
    app.answers.check(1, caller)?;
    let deadline = context.started + timeout::requested(headers, &app.settings())?;
    if let Some(analyzer) = app.analyzer() {
        analyzer.precheck(body::length(headers).unwrap_or(0), caller, Some(deadline))?;
    }
    Ok((query, deadline))
}

/// Refunds a request if the server failed it.
pub(super) fn return_quota_on_fault<T>(admission: &Admission, answer: &Result<T, ApiError>) {
    if answer.as_ref().is_err_and(ApiError::is_server_fault) {
        admission.refund();
    }
}

/// Parses a body and returns the number of documents, or the error as JSON. Only for the fuzzer in `fuzz/`.
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
        .map_err(|error| error.body("", "", jiff::Timestamp::UNIX_EPOCH))
}

/// Answers an admitted request.
async fn score(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Body,
    context: &RequestContext,
    admitted: &Arc<Admitted>,
) -> Result<Response, ApiError> {
    let Admitted { key, admission, query, caller, deadline } = &**admitted;
    let query = *query;
    // The body's memory is charged until the answer is written.
    let limits = app.settings().limits;
    let (bytes, body_memory) = body::read(headers, body, limits.body_limit_bytes, app, caller).await?;
    let received_bytes = bytes.len();
    let request = off_thread(received_bytes >= OFF_THREAD_BYTES, caller, move || {
        PredictRequest::parse(&bytes, query, &limits).map(DropInBackground::new)
    });
    let mut request = request.await??;
    let language = request.language.unwrap_or(LanguageChoice::Fixed(Language::English));
    let (documents, size) = (request.documents.len(), request.size);
    context.end_phase(Phase::Receive, context.started);
    context.update(|notes| {
        notes.language = Some(language_name(language));
        notes.documents = Some(documents);
        notes.characters = Some(size.characters);
    });
    check_plan(admission, &key.plan, documents, size.characters + size.entity_characters)?;
    app.metrics.record_documents(language_name(language), documents, size.characters);

    let options = Options { language, caller: caller.clone(), deadline: Some(*deadline) };
    let score_started = Instant::now();
    let valid_documents = std::mem::take(&mut request.valid_documents);
    let outcomes = analyze(app, valid_documents, options).await;
    context.end_phase(Phase::Score, score_started);
    let outcomes = DropInBackground::new(outcomes?);

    let write_started = Instant::now();
    let is_large = received_bytes >= OFF_THREAD_BYTES || items(&outcomes) >= OFF_THREAD_ITEMS;
    let scored = Scored {
        app: Arc::clone(app),
        admitted: Arc::clone(admitted),
        context: context.clone(),
        accepted: is_large.then(|| headers.clone()),
        request,
        outcomes,
        _body_memory: body_memory,
    };
    let (written, answer_memory) = off_thread(is_large, caller, move || scored.write()).await??;
    context.end_phase(Phase::Write, write_started);
    // The admission and the answer's memory are released when the last byte is sent or the connection ends.
    Ok(answer::json(written, (answer_memory, Arc::clone(admitted))))
}

/// From so many sentences, mentions and entities on, an answer is written on a background thread.
const OFF_THREAD_ITEMS: usize = 200;

/// How many sentences, mentions and entities the outcomes have, more or less. It is quick: a pass over the documents.
fn items(outcomes: &[Result<DocumentAnalysis, DocumentError>]) -> usize {
    let of_document = |analysis: &DocumentAnalysis| {
        let mentions = analysis.entities.iter().take(OFF_THREAD_ITEMS).map(|entity| entity.mentions.len());
        1 + analysis.sentences.len() + analysis.entities.len() + mentions.sum::<usize>()
    };
    outcomes.iter().flatten().map(of_document).sum()
}

/// A request that is scored, and not yet answered.
struct Scored {
    app: Arc<App>,
    admitted: Arc<Admitted>,
    context: RequestContext,
    /// The headers of the request, by which a large answer is compressed.
    accepted: Option<HeaderMap>,
    request: DropInBackground<PredictRequest>,
    outcomes: DropInBackground<Vec<Result<DocumentAnalysis, DocumentError>>>,
    _body_memory: Reservation,
}

impl Scored {
    /// Counts what was scored, and writes the answer within the budget for answers.
    fn write(self) -> Result<(Compressed, Reservation), ApiError> {
        let Self { app, admitted, context, accepted, request, outcomes, _body_memory } = self;
        let (request, outcomes) = (request.into_inner(), outcomes.into_inner());
        let expected_bytes = response::expected_bytes(&request, &outcomes);
        let mut answer_memory = app.answers.reserve(expected_bytes, &admitted.caller)?;
        let scored = || outcomes.iter().flatten();
        let tokens = scored().map(|analysis| analysis.tokens).sum();
        context.update(|notes| notes.tokens = Some(tokens));
        admitted.admission.add_usage(Usage {
            documents: count(scored().count()),
            characters: count(request.size.characters),
            tokens: count(tokens),
            entities: count(scored().map(|analysis| analysis.entities.len()).sum()),
            ..Usage::default()
        });
        count_scored(&outcomes, &app);
        let json = response::write(&request, &outcomes, admitted.query, expected_bytes)?;
        drop((request, outcomes));
        let written = match accepted {
            Some(headers) => Compressed::as_accepted(json, &headers),
            None => Compressed::plain(json),
        };
        answer_memory.resize(written.len());
        Ok((written, answer_memory))
    }
}

/// Rejects a request that is larger than its plan allows. Characters are those of texts and of entities' names.
pub(super) fn check_plan(
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

pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Scores documents: one outcome for each.
async fn analyze(
    app: &App,
    documents: Vec<Document>,
    options: Options,
) -> Result<Vec<Result<DocumentAnalysis, DocumentError>>, ApiError> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let analyzer = app.ready_analyzer()?;
    Ok(analyzer.analyze(documents, options).await?)
}

/// Counts the scored documents for metrics.
fn count_scored(outcomes: &[Result<DocumentAnalysis, DocumentError>], app: &App) {
    for analysis in outcomes.iter().flatten() {
        app.metrics.record_scored_document(ScoredDocument {
            language: analysis.language,
            entities: analysis.entities.len(),
            tokens: analysis.tokens,
        });
    }
}

fn language_name(language: LanguageChoice) -> &'static str {
    match language {
        LanguageChoice::Fixed(language) => language.code(),
        LanguageChoice::Auto => "auto",
    }
}
