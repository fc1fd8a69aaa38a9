//! `POST /api/predicts/cluster` and `POST /api/predicts/topic-name`: what many documents are about.

mod answer;
pub(super) mod request;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::answer::{Compressed, OFF_THREAD_BYTES, json, off_thread};
use super::app::{Analyze, App};
use super::error::ApiError;
use super::observe::RequestContext;
use super::openapi::schemas;
use super::predict::{DEADLINE_SLACK, check_plan, count, return_quota_on_fault};
use super::query::{Parameters, parse_language};
use super::{auth, body, timeout};
use crate::topics;
use answer::{ClusterAnswer, NameAnswer};
use request::{ClusterRequest, NameRequest, TopicDocument};
use sentor_analysis::{AnalysisError, Caller, Document, EmbedOptions, MentionSource, Options, background};
use sentor_store::keys::{KeyRecord, Scope};
use sentor_store::metering::{Admission, Usage};
use sentor_text::language::{Language, LanguageChoice};

/// A request that its head admits.
pub(super) struct Admitted {
    pub(super) key: Arc<KeyRecord>,
    pub(super) admission: Admission,
    pub(super) caller: Caller,
    pub(super) deadline: Instant,
}

/// Admits a request of a key with the scope `cluster`, if its work can be done in time.
pub(super) fn admit(app: &App, headers: &HeaderMap, context: &RequestContext) -> Result<Admitted, ApiError> {
    let key = auth::require(app, headers, Scope::Cluster, context)?;
    let admission = auth::admit(app, &key, context)?;
    let caller = Caller::from(key.account.as_str()).with_weight(admission.plan().weight);
    let check = || {
        body::check_headers(headers, app.settings().limits.body_limit_bytes)?;
        let deadline = context.started + timeout::requested(headers, &app.settings())?;
        let analyzer = app.ready_analyzer()?;
        analyzer.precheck(body::length(headers).unwrap_or(0), &caller, Some(deadline))?;
        Ok(deadline)
    };
    let checked = check();
    return_quota_on_fault(&admission, &checked);
    let deadline = checked?;
    Ok(Admitted { key, admission, caller, deadline })
}

/// The query of a request for topics.
struct TopicQuery {
    language: Option<LanguageChoice>,
    /// Whether the mean sentiment of each cluster is computed.
    sentiment: bool,
    /// Whether each document has its place on a map.
    map: bool,
}

impl TopicQuery {
    fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let parameters = Parameters::parse(uri)?;
        Ok(Self {
            language: parameters.text("language")?.map(parse_language).transpose()?,
            sentiment: parameters.switch("sentiment")?,
            map: parameters.switch("map")?,
        })
    }
}

/// `POST /api/predicts/cluster`.
#[utoipa::path(
    post, path = "/api/predicts/cluster", tag = "topics",
    summary = "Group documents by subject",
    description = "Groups at least five documents by what they are about. The same documents give the same clusters, \
                   in any order. Needs the scope `cluster`.",
    params(
        ("language" = Option<schemas::LanguageChoice>, Query,
         description = "The language of the documents; `auto` takes that of most of them. Without it, the body's \
                        `language` counts, or else `en`."),
        ("sentiment" = Option<bool>, Query,
         description = "Whether each cluster has the mean `sentiment` of its documents, which are then scored too."),
        ("map" = Option<bool>, Query,
         description = "Whether each document has a place `x`, `y` on a plane on which clusters lie apart."),
    ),
    request_body(content = schemas::ClusterBody, content_type = "application/json"),
    responses((status = 200, description = "The clusters, largest first, and last the outliers with the number -1.",
               body = ClusterAnswer)),
)]
pub(super) async fn cluster_documents(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let admitted = admit(&app, &parts.headers, &context)?;
    let latest = (admitted.deadline + DEADLINE_SLACK).into();
    let answer = cluster(&app, &parts.uri, &parts.headers, body, &context, &admitted);
    let answer = tokio::time::timeout_at(latest, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(AnalysisError::DeadlinePassed.into()));
    return_quota_on_fault(&admitted.admission, &answer);
    // The plan's place is free once the last byte is sent, or the connection ends.
    Ok(json(Compressed::plain(answer?), Arc::new(admitted)))
}

async fn cluster(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    context: &RequestContext,
    admitted: &Admitted,
) -> Result<Vec<u8>, ApiError> {
    let query = TopicQuery::parse(uri)?;
    let limits = app.settings().limits;
    let (bytes, _body_memory) =
        body::read(headers, body, limits.body_limit_bytes, app, &admitted.caller).await?;
    let language = query.language;
    let request = off_thread(bytes.len() >= OFF_THREAD_BYTES, &admitted.caller, move || {
        ClusterRequest::parse(&bytes, language, &limits)
    });
    let request = request.await??;
    let characters = characters(&request.documents);
    check_plan(&admitted.admission, &admitted.key.plan, request.documents.len(), characters)?;
    let language = language_of(request.language.choice, &request.documents);
    context.update(|notes| {
        notes.language = Some(language.code());
        notes.documents = Some(request.documents.len());
        notes.characters = Some(characters);
    });

    let analyzer = app.ready_analyzer()?;
    let texts: Vec<String> = request.documents.iter().map(|document| document.text.clone()).collect();
    let embedded = analyzer.embed(texts, language, options(admitted)).await?;
    let mut tokens = embedded.tokens;
    let sentiments = if query.sentiment {
        let scored = sentiments(&*analyzer, &request.documents, language, admitted).await?;
        tokens += scored.tokens;
        Some(scored.polarities)
    } else {
        None
    };
    context.update(|notes| notes.tokens = Some(tokens));
    admitted.admission.add_usage(Usage {
        documents: count(request.documents.len()),
        characters: count(characters),
        tokens: count(tokens),
        ..Usage::default()
    });
    let work =
        move || ClusterAnswer::of(&request, &embedded.vectors, sentiments.as_deref(), language, query.map);
    let answer = background::run(&admitted.caller, work).await.map_err(|_| ApiError::server())??;
    serde_json::to_vec(&answer).map_err(|_| ApiError::server())
}

/// `POST /api/predicts/topic-name`.
#[utoipa::path(
    post, path = "/api/predicts/topic-name", tag = "topics",
    summary = "Name a cluster",
    description = "Names a cluster of `/api/predicts/cluster` in a few words of its documents. Needs the scope `cluster`.",
    params(("language" = Option<schemas::LanguageChoice>, Query,
            description = "The language of the documents. Without it, the body's `language` counts, or else `en`.")),
    request_body(content = schemas::TopicNameBody, content_type = "application/json"),
    responses((status = 200, description = "The name.", body = NameAnswer)),
)]
pub(super) async fn name_topic(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let admitted = admit(&app, &parts.headers, &context)?;
    let latest = (admitted.deadline + DEADLINE_SLACK).into();
    let answer = name(&app, &parts.uri, &parts.headers, body, &context, &admitted);
    let answer = tokio::time::timeout_at(latest, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(AnalysisError::DeadlinePassed.into()));
    return_quota_on_fault(&admitted.admission, &answer);
    Ok(json(Compressed::plain(answer?), Arc::new(admitted)))
}

async fn name(
    app: &App,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    context: &RequestContext,
    admitted: &Admitted,
) -> Result<Vec<u8>, ApiError> {
    let query = TopicQuery::parse(uri)?;
    let limits = app.settings().limits;
    let (bytes, _body_memory) =
        body::read(headers, body, limits.body_limit_bytes, app, &admitted.caller).await?;
    let language = query.language;
    let request = off_thread(bytes.len() >= OFF_THREAD_BYTES, &admitted.caller, move || {
        NameRequest::parse(&bytes, language, &limits)
    });
    let request = request.await??;
    let characters = characters(&request.documents);
    check_plan(&admitted.admission, &admitted.key.plan, request.documents.len(), characters)?;
    let language = language_of(request.language.choice, &request.documents);
    context.update(|notes| {
        notes.language = Some(language.code());
        notes.documents = Some(request.documents.len());
        notes.characters = Some(characters);
    });
    let analyzer = app.ready_analyzer()?;
    let (cluster_id, document_count) = (request.cluster_id, request.documents.len());
    let topic = topics::Topic {
        documents: request
            .documents
            .into_iter()
            .map(|document| (document.text, document.probability))
            .collect(),
        top_words: request.top_words,
        left_out: request.entities,
        language,
    };
    let planned = background::run(&admitted.caller, move || topics::plan_name(topic))
        .await
        .map_err(|_| ApiError::server())?;
    let embedded = analyzer.embed(planned.texts(), language, options(admitted)).await?;
    context.update(|notes| notes.tokens = Some(embedded.tokens));
    admitted.admission.add_usage(Usage {
        documents: count(document_count),
        characters: count(characters),
        tokens: count(embedded.tokens),
        ..Usage::default()
    });
    let topic_name = planned.name(&embedded.vectors);
    let answer = NameAnswer { cluster_id, topic_name, document_count, generation_method: "Fallback" };
    serde_json::to_vec(&answer).map_err(|_| ApiError::server())
}

fn options(admitted: &Admitted) -> EmbedOptions {
    EmbedOptions { caller: admitted.caller.clone(), deadline: Some(admitted.deadline) }
}

fn characters(documents: &[TopicDocument]) -> usize {
    documents.iter().map(|document| document.text.chars().count()).sum()
}

/// The language of the documents; for `auto`, that in which most of them are.
fn language_of(choice: LanguageChoice, documents: &[TopicDocument]) -> Language {
    match choice {
        LanguageChoice::Fixed(language) => language,
        LanguageChoice::Auto => {
            topics::language_of_most(documents.iter().map(|document| document.text.as_str()))
        }
    }
}

/// How each document feels as a whole, -1 to 1.
struct Sentiments {
    polarities: Vec<Option<f64>>,
    tokens: usize,
}

async fn sentiments(
    analyzer: &dyn Analyze,
    documents: &[TopicDocument],
    language: Language,
    admitted: &Admitted,
) -> Result<Sentiments, ApiError> {
    let documents = documents.iter().map(|document| Document {
        text: document.text.clone(),
        entities: Vec::new(),
        mentions: MentionSource::Find,
        ..Document::default()
    });
    let options = Options {
        language: LanguageChoice::Fixed(language),
        caller: admitted.caller.clone(),
        deadline: Some(admitted.deadline),
    };
    let scored = analyzer.analyze(documents.collect(), options).await?;
    Ok(Sentiments {
        tokens: scored.iter().flatten().map(|analysis| analysis.tokens).sum(),
        polarities: scored
            .iter()
            .map(|scored| scored.as_ref().ok().map(|analysis| f64::from(analysis.sentiment.balance())))
            .collect(),
    })
}
