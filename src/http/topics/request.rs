//! Parses the bodies of requests for topics, and finds all their problems.

use serde_json::Value;

use crate::config::LimitsConfig;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::problems::Problems;
use crate::http::query::parse_language;
use sentor_text::is_blank;
use sentor_text::language::LanguageChoice;

/// Fewest documents that are clustered.
pub(super) const LEAST_DOCUMENTS: usize = 5;

/// A request to cluster documents.
#[derive(Debug)]
pub(super) struct ClusterRequest {
    pub(super) documents: Vec<TopicDocument>,
    /// `None` finds the number.
    pub(super) clusters: Option<usize>,
    pub(super) language: Language,
    pub(super) warnings: Vec<String>,
}

/// A request to name a topic.
#[derive(Debug)]
pub(super) struct NameRequest {
    /// As sent.
    pub(super) cluster_id: i64,
    pub(super) documents: Vec<TopicDocument>,
    /// Names that the label leaves out.
    pub(super) entities: Vec<String>,
    pub(super) top_words: Vec<String>,
    pub(super) language: Language,
}

/// A document of a request.
#[derive(Debug)]
pub(super) struct TopicDocument {
    /// As sent: a string, a number or null.
    pub(super) doc_id: Value,
    pub(super) text: String,
    pub(super) entities: Vec<String>,
    pub(super) probability: Option<f64>,
}

/// Languages of the query and the body, of which the query counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Language {
    pub(super) choice: LanguageChoice,
}

impl ClusterRequest {
    pub(super) fn parse(
        bytes: &[u8],
        query: Option<LanguageChoice>,
        limits: &LimitsConfig,
    ) -> Result<Self, ApiError> {
        let body = object(bytes)?;
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let language = language(&body, query, &mut warnings, &mut problems)?;
        let documents = documents(&body, limits, &mut problems);
        if documents.len() < LEAST_DOCUMENTS && problems.is_empty() {
            let found = documents.len();
            problems.add(
                "documents",
                format!("must hold at least {LEAST_DOCUMENTS} documents, but holds {found}"),
            );
        }
        let clusters = match body.get("n_clusters") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_u64().and_then(|count| usize::try_from(count).ok()) {
                // Clients send 0 where the caller gave no number.
                Some(0) => None,
                Some(count) => Some(count),
                None => {
                    problems.add(
                        "n_clusters",
                        format!("must be a whole number from 0 on, but is {}", kind(value)),
                    );
                    None
                }
            },
        };
        if !problems.is_empty() {
            return Err(ApiError::validation(&problems));
        }
        if clusters.is_some_and(|clusters| clusters > documents.len()) {
            warnings.push(
                "n_clusters is larger than the number of documents; each has a cluster of its own".to_owned(),
            );
        }
        Ok(Self { documents, clusters, language, warnings })
    }
}

impl NameRequest {
    pub(super) fn parse(
        bytes: &[u8],
        query: Option<LanguageChoice>,
        limits: &LimitsConfig,
    ) -> Result<Self, ApiError> {
        let body = object(bytes)?;
        let mut problems = Problems::default();
        let language = language(&body, query, &mut Vec::new(), &mut problems)?;
        let documents = documents(&body, limits, &mut problems);
        if documents.is_empty() && problems.is_empty() {
            problems.add("documents", "must hold at least one document");
        }
        let cluster_id = body.get("cluster_id").and_then(Value::as_i64);
        if cluster_id.is_none() {
            let found = body.get("cluster_id").map_or("missing", kind);
            problems.add("cluster_id", format!("must be a whole number, but is {found}"));
        }
        let entities = strings(body.get("entities"), "entities", &mut problems);
        let top_words = strings(body.get("top_words"), "top_words", &mut problems);
        if !problems.is_empty() {
            return Err(ApiError::validation(&problems));
        }
        Ok(Self { cluster_id: cluster_id.unwrap_or_default(), documents, entities, top_words, language })
    }
}

/// The members of a body.
pub(in crate::http) fn object(bytes: &[u8]) -> Result<serde_json::Map<String, Value>, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to());
        ApiError::new(ErrorCode::BadRequest, message)
    })?;
    // Some Windows programs start UTF-8 with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let message = if text.trim().is_empty() {
            "the body is empty".to_owned()
        } else {
            format!("the body is not JSON: {error}")
        };
        ApiError::new(ErrorCode::BadRequest, message)
            .detail("line", error.line())
            .detail("column", error.column())
    })?;
    match value {
        Value::Object(members) => Ok(members),
        other => {
            let problem = format!("must be an object, but is {}", kind(&other));
            Err(ApiError::validation(&Problems::only("$", problem)))
        }
    }
}

/// A word for the kind of a value.
pub(in crate::http) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn language(
    body: &serde_json::Map<String, Value>,
    query: Option<LanguageChoice>,
    warnings: &mut Vec<String>,
    problems: &mut Problems<'_>,
) -> Result<Language, ApiError> {
    let named = match body.get("language") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(other) => {
            problems.add("language", format!("must be a string, but is {}", kind(other)));
            None
        }
    };
    let choice = match (query, named) {
        (Some(query), Some(named)) => {
            if LanguageChoice::parse(named) != Some(query) {
                warnings.push(format!(
                    "the query and the body name different languages; the query counts, and the body's {:?} does not",
                    named.chars().take(40).collect::<String>()
                ));
            }
            query
        }
        (Some(query), None) => query,
        (None, Some(named)) => parse_language(named)?,
        (None, None) => LanguageChoice::Fixed(sentor_text::language::Language::English),
    };
    Ok(Language { choice })
}

fn documents(
    body: &serde_json::Map<String, Value>,
    limits: &LimitsConfig,
    problems: &mut Problems<'_>,
) -> Vec<TopicDocument> {
    let items = match body.get("documents") {
        Some(Value::Array(items)) => items,
        Some(other) => {
            problems.add("documents", format!("must be a list, but is {}", kind(other)));
            return Vec::new();
        }
        None => {
            problems.add("documents", "is missing");
            return Vec::new();
        }
    };
    let most = limits.max_cluster_documents;
    if items.len() > most {
        problems.add("documents", format!("holds {} documents, but may hold {most}", items.len()));
        return Vec::new();
    }
    items.iter().enumerate().filter_map(|(index, item)| document(index, item, limits, problems)).collect()
}

fn document(
    index: usize,
    item: &Value,
    limits: &LimitsConfig,
    problems: &mut Problems<'_>,
) -> Option<TopicDocument> {
    let path = format!("documents[{index}]");
    let Value::Object(members) = item else {
        problems.add(&path, format!("must be an object, but is {}", kind(item)));
        return None;
    };
    let doc_id = match members.get("doc_id") {
        Some(id @ (Value::String(_) | Value::Number(_))) => id.clone(),
        None | Some(Value::Null) => Value::Null,
        Some(other) => {
            problems.add(&format!("{path}.doc_id"), format!("must be a string, but is {}", kind(other)));
            Value::Null
        }
    };
    let text_path = format!("{path}.text");
    let text = match members.get("text") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => {
            problems.add(&text_path, format!("must be a string, but is {}", kind(other)));
            return None;
        }
        None => {
            problems.add(&text_path, "is missing");
            return None;
        }
    };
    if is_blank(&text) {
        problems.add(&text_path, "has no visible character");
    }
    if text.len() > limits.max_document_bytes {
        let most = limits.max_document_bytes;
        problems.add(&text_path, format!("has {} bytes of UTF-8, but may have {most}", text.len()));
    }
    let entities = strings(members.get("entities"), &format!("{path}.entities"), problems);
    if entities.len() > limits.max_entities {
        let most = limits.max_entities;
        problems.add(
            &format!("{path}.entities"),
            format!("holds {} entities, but may hold {most}", entities.len()),
        );
    }
    let probability = members.get("cluster_probability").and_then(Value::as_f64);
    Some(TopicDocument { doc_id, text, entities, probability })
}

/// A list of strings, without the blank ones; empty where it is missing.
fn strings(value: Option<&Value>, path: &str, problems: &mut Problems<'_>) -> Vec<String> {
    let items = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(other) => {
            problems.add(path, format!("must be a list, but is {}", kind(other)));
            return Vec::new();
        }
    };
    let mut strings = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item {
            Value::String(text) if is_blank(text) => {}
            Value::String(text) => strings.push(text.clone()),
            Value::Null => {}
            other => {
                problems
                    .add(&format!("{path}[{index}]"), format!("must be a string, but is {}", kind(other)));
            }
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> LimitsConfig {
        LimitsConfig {
            body_limit_bytes: 1 << 20,
            max_documents: 10,
            max_cluster_documents: 6,
            max_document_bytes: 100,
            max_entities: 2,
            max_request_entities: 100,
            max_entity_bytes: 100,
            max_mentions: 100,
        }
    }

    fn problem(body: &str) -> String {
        let error = ClusterRequest::parse(body.as_bytes(), None, &limits()).expect_err("the body is wrong");
        String::from_utf8(error.body("", "", jiff::Timestamp::UNIX_EPOCH)).expect("JSON")
    }

    #[test]
    fn what_clients_send_is_read() {
        let documents = r#"[{"doc_id":1,"text":"a","entities":["", "x"]},{"doc_id":"1","text":"b"},
            {"text":"c","entities":null},{"doc_id":"d","text":"d"},{"doc_id":"e","text":"e"}]"#;
        let body = format!(r#"{{"documents":{documents},"n_clusters":0,"projectId":"p","language":"nl"}}"#);
        let request = ClusterRequest::parse(body.as_bytes(), None, &limits()).expect("the body is good");
        assert_eq!(request.clusters, None);
        assert_eq!(request.documents[0].entities, ["x"]);
        assert_eq!(request.documents[0].doc_id, Value::from(1));
        assert_eq!(LanguageChoice::parse("nl"), Some(request.language.choice));
        let english = LanguageChoice::parse("en");
        let request = ClusterRequest::parse(body.as_bytes(), english, &limits()).expect("the body is good");
        assert_eq!(Some(request.language.choice), english);
        assert_eq!(request.warnings.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(problem("[").contains("not JSON"));
        assert!(problem("[]").contains("must be an object"));
        assert!(problem("{}").contains("documents: is missing"));
        assert!(problem(r#"{"documents":[{"text":"a"}]}"#).contains("at least 5"));
        assert!(problem(r#"{"documents":[{"text":1},{},{"text":" "}]}"#).contains("documents[1].text"));
        assert!(problem(r#"{"documents":[],"n_clusters":-1}"#).contains("n_clusters"));
        let seven = format!(r#"{{"documents":[{}]}}"#, [r#"{"text":"a"}"#; 7].join(","));
        assert!(problem(&seven).contains("may hold 6"));
    }
}
