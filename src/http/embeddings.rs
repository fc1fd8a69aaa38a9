//! `POST /v1/embeddings`: vectors of texts, in the form of `OpenAI`'s interface.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{Compressed, OFF_THREAD_BYTES, json, off_thread};
use super::app::App;
use super::body;
use super::error::ApiError;
use super::observe::RequestContext;
use super::openapi::schemas;
use super::predict::{DEADLINE_SLACK, check_plan, count, return_quota_on_fault};
use super::problems::Problems;
use super::topics::request::{kind, object};
use super::topics::{Admitted, admit};
use crate::config::LimitsConfig;
use sentor_analysis::{AnalysisError, EmbedOptions};
use sentor_store::metering::Usage;
use sentor_text::language::Language;

/// Vectors, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EmbeddingList {
    /// `list`.
    object: &'static str,
    data: Vec<EmbeddingItem>,
    /// Name of the model.
    model: String,
    usage: EmbeddingUsage,
}

/// The vector of a text.
#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingItem {
    /// `embedding`.
    object: &'static str,
    /// Place of the text in the request.
    index: usize,
    /// Numbers, or with `encoding_format: base64` their little-endian bytes.
    #[schema(value_type = serde_json::Value)]
    embedding: Value,
}

/// Model tokens of a request.
#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// What a request asks for.
struct EmbeddingRequest {
    texts: Vec<String>,
    language: Language,
    model: String,
    as_base64: bool,
}

/// `POST /v1/embeddings`.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "topics",
    summary = "Compute vectors of texts",
    description = "Texts of one subject have vectors near to each other. The form is that of OpenAI's interface, so its \
                   clients work with this server's address and key. Needs the scope `cluster`.",
    request_body(content = schemas::EmbeddingsBody, content_type = "application/json"),
    responses((status = 200, description = "A vector of length 1 for each text.", body = EmbeddingList)),
)]
pub(super) async fn create_embeddings(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let admitted = admit(&app, &parts.headers, &context)?;
    let latest = (admitted.deadline + DEADLINE_SLACK).into();
    let answer =
        tokio::time::timeout_at(latest, embed(&app, &parts.headers, body, &context, &admitted)).await;
    let answer = answer.unwrap_or_else(|_| Err(AnalysisError::DeadlinePassed.into()));
    return_quota_on_fault(&admitted.admission, &answer);
    Ok(json(Compressed::plain(answer?), Arc::new(admitted)))
}

async fn embed(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    context: &RequestContext,
    admitted: &Admitted,
) -> Result<Vec<u8>, ApiError> {
    let limits = app.settings().limits;
    let (bytes, _body_memory) =
        body::read(headers, body, limits.body_limit_bytes, app, &admitted.caller).await?;
    let analyzer = app.ready_analyzer()?;
    let models: Vec<(Language, String)> = Language::ALL
        .into_iter()
        .filter_map(|language| analyzer.embedding_model(language).map(|model| (language, model.name)))
        .collect();
    let request = off_thread(bytes.len() >= OFF_THREAD_BYTES, &admitted.caller, move || {
        parse(&bytes, &models, &limits)
    });
    let EmbeddingRequest { texts, language, model, as_base64 } = request.await??;
    let (documents, characters) = (texts.len(), texts.iter().map(|text| text.chars().count()).sum());
    check_plan(&admitted.admission, &admitted.key.plan, documents, characters)?;
    let options = EmbedOptions { caller: admitted.caller.clone(), deadline: Some(admitted.deadline) };
    let embedded = analyzer.embed(texts, language, options).await?;
    context.update(|notes| {
        notes.language = Some(language.code());
        notes.documents = Some(documents);
        notes.characters = Some(characters);
        notes.tokens = Some(embedded.tokens);
    });
    admitted.admission.add_usage(Usage {
        documents: count(documents),
        characters: count(characters),
        tokens: count(embedded.tokens),
        ..Usage::default()
    });
    let write = move || {
        let items = embedded.vectors.into_iter().enumerate().map(|(index, vector)| {
            let vector = vector.ok_or_else(ApiError::server)?;
            let embedding = if as_base64 { in_base64(&vector).into() } else { vector.into() };
            Ok(EmbeddingItem { object: "embedding", index, embedding })
        });
        let answer = EmbeddingList {
            object: "list",
            data: items.collect::<Result<_, ApiError>>()?,
            model,
            usage: EmbeddingUsage { prompt_tokens: embedded.tokens, total_tokens: embedded.tokens },
        };
        serde_json::to_vec(&answer).map_err(|_| ApiError::server())
    };
    off_thread(documents > 16, &admitted.caller, write).await?
}

/// Reads a body. `models` has the embedding models by language.
fn parse(
    bytes: &[u8],
    models: &[(Language, String)],
    limits: &LimitsConfig,
) -> Result<EmbeddingRequest, ApiError> {
    let body = object(bytes)?;
    let mut problems = Problems::default();
    let language = match body.get("model") {
        Some(Value::String(name)) => {
            let found = models.iter().find(|(language, model)| model == name || language.code() == name);
            if found.is_none() {
                let known: Vec<&str> = models.iter().map(|(_, model)| model.as_str()).collect();
                problems.add("model", format!("must be one of {}", known.join(", ")));
            }
            found.cloned()
        }
        Some(other) => {
            problems.add("model", format!("must be a string, but is {}", kind(other)));
            None
        }
        None => {
            problems.add("model", "is missing");
            None
        }
    };
    let texts = match body.get("input") {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => texts(items, &mut problems),
        Some(other) => {
            problems.add("input", format!("must be a string or a list of strings, but is {}", kind(other)));
            Vec::new()
        }
        None => {
            problems.add("input", "is missing");
            Vec::new()
        }
    };
    let most = limits.max_documents;
    if texts.len() > most {
        problems.add("input", format!("holds {} texts, but may hold {most}", texts.len()));
    }
    if let Some(index) = texts.iter().position(|text| text.len() > limits.max_document_bytes) {
        problems.add(
            &format!("input[{index}]"),
            format!("may have {} bytes of UTF-8", limits.max_document_bytes),
        );
    }
    let as_base64 = match body.get("encoding_format") {
        None | Some(Value::Null) => false,
        Some(Value::String(format)) if format == "float" => false,
        Some(Value::String(format)) if format == "base64" => true,
        Some(_) => {
            problems.add("encoding_format", "must be float or base64");
            false
        }
    };
    match language {
        Some((language, model)) if problems.is_empty() => {
            Ok(EmbeddingRequest { texts, language, model, as_base64 })
        }
        _ => Err(ApiError::validation(&problems)),
    }
}

fn texts(items: &[Value], problems: &mut Problems<'_>) -> Vec<String> {
    if items.is_empty() {
        problems.add("input", "must hold at least one text");
    }
    let mut texts = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item {
            Value::String(text) if text.is_empty() => problems.add(&format!("input[{index}]"), "is empty"),
            Value::String(text) => texts.push(text.clone()),
            other => {
                problems.add(&format!("input[{index}]"), format!("must be a string, but is {}", kind(other)));
            }
        }
    }
    texts
}

/// The numbers' little-endian bytes in base64, as `OpenAI`'s clients ask for by default.
fn in_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_base64() {
        assert_eq!(in_base64(&[1.0, -2.5]), "AACAPwAAIMA=");
        assert_eq!(in_base64(&[]), "");
    }
}
