//! A request and its answer, for the documentation. The answer is written by the code that writes all answers.

use serde_json::{Value, json};

use super::request::PredictRequest;
use super::response;
use crate::config::LimitsConfig;
use crate::http::error::ApiError;
use crate::http::query::PredictQuery;
use sentor_analysis::{DocumentAnalysis, EntityAnalysis, MentionAnalysis, SentenceAnalysis};
use sentor_text::language::{Detection, Language};
use sentor_text::mention::MatchForm;
use sentor_text::sentiment::Distribution;
use sentor_text::span::Span;

const TEXT: &str = "Great product!";
const ENTITY: &str = "product";

/// A request body.
pub(in crate::http) fn request() -> Value {
    json!({"docs": [{"doc_id": "1", "doc": TEXT, "entities": [ENTITY]}]})
}

/// The answer to [`request`], with round figures in place of a model's.
pub(in crate::http) fn answer() -> Value {
    written().unwrap_or_default()
}

fn written() -> Result<Value, ApiError> {
    let limits = LimitsConfig {
        max_cluster_documents: 5000,
        body_limit_bytes: usize::MAX,
        max_documents: 1,
        max_document_bytes: usize::MAX,
        max_entities: 1,
        max_request_entities: 1,
        max_entity_bytes: usize::MAX,
        max_mentions: usize::MAX,
    };
    let query = PredictQuery::default();
    let request = PredictRequest::parse(request().to_string().as_bytes(), query, &limits)?;
    let outcomes = [Ok(analysis())];
    let bytes = response::write(&request, &outcomes, query, response::expected_bytes(&request, &outcomes))?;
    serde_json::from_slice(&bytes).map_err(|_| ApiError::server())
}

fn analysis() -> DocumentAnalysis {
    // Sixteenths are exact in binary, so that the example has no long figures.
    let sentiment = Distribution::from_weights([0.0625, 0.0625, 0.875]);
    let start = TEXT.find(ENTITY).unwrap_or_default();
    let mention = MentionAnalysis {
        span: Span::new(start, start + ENTITY.len()),
        sentence_index: 0,
        form: MatchForm::Exact,
        sentiment,
    };
    DocumentAnalysis {
        language: Language::English,
        detection: Detection { language: Some(Language::English), code: "en".to_owned(), confidence: 0.875 },
        sentiment,
        sentences: vec![SentenceAnalysis { span: Span::new(0, TEXT.len()), sentiment }],
        mixed: false,
        entities: vec![EntityAnalysis::new(ENTITY.to_owned(), sentiment, vec![mention])],
        discovered: None,
        warnings: Vec::new(),
        tokens: 3,
    }
}
