//! The body of a predict request, and all that can be wrong with it.

use serde::de::{DeserializeSeed as _, IgnoredAny, MapAccess};

use super::json::{Field, Items, List, Member, Members, Read, Shape, Text};
use crate::config::LimitsConfig;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::problems::Problems;
use crate::http::query::{PredictQuery, parse_language};
use sentor_analysis::{Document, MentionSource};
use sentor_text::language::LanguageChoice;

/// A request that can be answered.
#[derive(Debug)]
pub(super) struct PredictRequest {
    /// Of the query or else of the body.
    pub(super) language: Option<LanguageChoice>,
    pub(super) documents: Vec<RequestDocument>,
    mentions: MentionSource,
}

/// One document of a request.
#[derive(Debug)]
pub(super) struct RequestDocument {
    /// As sent; `None` where that was no string.
    pub(super) doc_id: Option<String>,
    /// What is wrong with it; only under `partial=true` is anything.
    pub(super) content: Result<Content, ApiError>,
}

/// What a document says, and about what.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) entities: Vec<String>,
}

impl PredictRequest {
    /// Reads a body. Everything that is wrong with its content is found at once.
    pub(super) fn parse(bytes: &[u8], query: PredictQuery, limits: &LimitsConfig) -> Result<Self, ApiError> {
        let body = read_json(bytes, limits)?;
        let mut problems = Problems::default();
        let language = match query.language {
            Some(language) => Some(language),
            None => body_language(body.language, &mut problems)?,
        };
        let documents = check_documents(body.docs, limits, &mut problems);
        // Under `partial`, a document's problems are its own; the request's are everybody's.
        let is_void = !problems.is_empty();
        let mentions = MentionSource::find(query.pronouns);
        let mut request = Self { language, documents: Vec::with_capacity(documents.len()), mentions };
        for (index, document) in documents.into_iter().enumerate() {
            let (document, own_problems) = check_document(index, document, limits);
            problems.extend(&own_problems);
            let content = match own_problems.is_empty() {
                true => document.content,
                false if query.partial => Err(ApiError::validation(&own_problems)),
                // The request will be refused; only more problems are of interest.
                false => continue,
            };
            request.documents.push(RequestDocument { content, ..document });
        }
        if is_void || !(problems.is_empty() || query.partial) {
            return Err(ApiError::validation(&problems));
        }
        Ok(request)
    }

    /// Characters of all texts that can be scored.
    pub(super) fn characters(&self) -> usize {
        let contents = self.documents.iter().filter_map(|document| document.content.as_ref().ok());
        contents.map(|content| content.text.chars().count()).sum()
    }

    /// The documents that can be scored, in order.
    pub(super) fn valid_documents(&self) -> Vec<Document> {
        let contents = self.documents.iter().filter_map(|document| document.content.as_ref().ok());
        contents
            .map(|content| Document {
                text: content.text.clone(),
                entities: content.entities.clone(),
                mentions: self.mentions.clone(),
            })
            .collect()
    }
}

fn read_json(bytes: &[u8], limits: &LimitsConfig) -> Result<RawBody, ApiError> {
    let bad = |message: String| ApiError::new(ErrorCode::BadRequest, message);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| bad(format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to())))?;
    // Some Windows programs start UTF-8 with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let body = Read(BodyShape { limits })
        .deserialize(&mut deserializer)
        .and_then(|body| deserializer.end().map(|()| body))
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = match error.to_string() {
                _ if text.trim().is_empty() => "the body is empty".to_owned(),
                // Serde's words for it would send one looking in the wrong direction.
                words if words.starts_with("unexpected end of hex escape") || words.contains("surrogate") => {
                    format!("the body is not JSON: half a surrogate pair at line {line} column {column}")
                }
                words => format!("the body is not JSON: {words}"),
            };
            bad(message).detail("line", line).detail("column", column)
        })?;
    match body {
        Field::Value(body) => Ok(body),
        Field::Null | Field::Missing => Err(wrong_body("null")),
        Field::Wrong(kind) => Err(wrong_body(kind)),
    }
}

fn wrong_body(kind: &str) -> ApiError {
    ApiError::validation(&Problems::only(
        "$",
        format!("must be an object with the member docs, but is {kind}"),
    ))
}

/// The body as it was sent.
#[derive(Default)]
struct RawBody {
    docs: Field<Items<Field<RawDocument>>>,
    language: Field<String>,
}

/// A document as it was sent.
#[derive(Default)]
struct RawDocument {
    doc_id: Field<String>,
    doc: Field<String>,
    entities: Field<Items<Field<String>>>,
}

#[derive(Clone, Copy)]
struct BodyShape<'l> {
    limits: &'l LimitsConfig,
}

enum BodyMember {
    Docs,
    Language,
}

impl Members for BodyMember {
    fn named(name: &str) -> Option<Self> {
        match name {
            "docs" => Some(Self::Docs),
            "language" => Some(Self::Language),
            _ => None,
        }
    }
}

impl<'de> Shape<'de> for BodyShape<'_> {
    type Value = RawBody;

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Field<RawBody>, A::Error> {
        let docs = List { item: DocumentShape { limits: self.limits }, most: self.limits.max_documents };
        let mut body = RawBody::default();
        while let Some(Member(name)) = members.next_key()? {
            match name {
                Some(BodyMember::Docs) => body.docs = members.next_value_seed(Read(docs))?,
                Some(BodyMember::Language) => body.language = members.next_value_seed(Read(Text))?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Field::Value(body))
    }
}

#[derive(Clone, Copy)]
struct DocumentShape<'l> {
    limits: &'l LimitsConfig,
}

enum DocumentMember {
    DocId,
    Doc,
    Entities,
}

impl Members for DocumentMember {
    fn named(name: &str) -> Option<Self> {
        match name {
            "doc_id" => Some(Self::DocId),
            "doc" => Some(Self::Doc),
            "entities" => Some(Self::Entities),
            _ => None,
        }
    }
}

impl<'de> Shape<'de> for DocumentShape<'_> {
    type Value = RawDocument;

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Field<RawDocument>, A::Error> {
        let entities = List { item: Text, most: self.limits.max_entities };
        let mut document = RawDocument::default();
        while let Some(Member(name)) = members.next_key()? {
            match name {
                Some(DocumentMember::DocId) => document.doc_id = members.next_value_seed(Read(Text))?,
                Some(DocumentMember::Doc) => document.doc = members.next_value_seed(Read(Text))?,
                Some(DocumentMember::Entities) => {
                    document.entities = members.next_value_seed(Read(entities))?;
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Field::Value(document))
    }
}

fn body_language(field: Field<String>, problems: &mut Problems) -> Result<Option<LanguageChoice>, ApiError> {
    match field {
        Field::Missing | Field::Null => Ok(None),
        Field::Value(text) => parse_language(&text).map(Some),
        Field::Wrong(kind) => {
            problems.add("language", format!("must be a string, but is {kind}"));
            Ok(None)
        }
    }
}

/// The documents, if there is a list of as many as are allowed.
fn check_documents(
    field: Field<Items<Field<RawDocument>>>,
    limits: &LimitsConfig,
    problems: &mut Problems,
) -> Vec<Field<RawDocument>> {
    let Some(items) = required("docs", "a list", field, problems) else { return Vec::new() };
    if items.total == 0 {
        problems.add("docs", "must hold at least one document");
    }
    if items.total > limits.max_documents {
        let most = limits.max_documents;
        problems.add("docs", format!("holds {} documents, but may hold {most}", items.total));
    }
    items.head
}

fn check_document(
    index: usize,
    field: Field<RawDocument>,
    limits: &LimitsConfig,
) -> (RequestDocument, Problems) {
    let path = format!("docs[{index}]");
    let mut problems = Problems::default();
    let raw = required(&path, "an object", field, &mut problems);
    let Some(raw) = raw else {
        // The problem takes the content's place.
        let content = Ok(Content { text: String::new(), entities: Vec::new() });
        return (RequestDocument { doc_id: None, content }, problems);
    };
    let doc_id = required(&format!("{path}.doc_id"), "a string", raw.doc_id, &mut problems);
    let text = check_text(&format!("{path}.doc"), raw.doc, limits, &mut problems);
    let entities = check_entities(&format!("{path}.entities"), raw.entities, limits, &mut problems);
    (RequestDocument { doc_id, content: Ok(Content { text, entities }) }, problems)
}

fn check_text(path: &str, field: Field<String>, limits: &LimitsConfig, problems: &mut Problems) -> String {
    let Some(text) = required(path, "a string", field, problems) else { return String::new() };
    if text.trim().is_empty() {
        problems.add(path, "is empty or only white space");
    }
    check_length(path, &text, limits.max_document_bytes, problems);
    text
}

fn check_entities(
    path: &str,
    field: Field<Items<Field<String>>>,
    limits: &LimitsConfig,
    problems: &mut Problems,
) -> Vec<String> {
    if matches!(field, Field::Missing | Field::Null) {
        return Vec::new();
    }
    let Some(items) = required(path, "a list", field, problems) else { return Vec::new() };
    if items.total > limits.max_entities {
        let most = limits.max_entities;
        problems.add(path, format!("holds {} entities, but may hold {most}", items.total));
    }
    let mut entities = Vec::with_capacity(items.head.len());
    for (index, field) in items.head.into_iter().enumerate() {
        let path = || format!("{path}[{index}]");
        match field {
            Field::Value(entity) if !entity.trim().is_empty() && entity.len() <= limits.max_entity_bytes => {
                entities.push(entity);
            }
            Field::Value(entity) if entity.trim().is_empty() => {
                problems.add(&path(), "is empty or only white space");
            }
            Field::Value(entity) => check_length(&path(), &entity, limits.max_entity_bytes, problems),
            other => drop(required(&path(), "a string", other, problems)),
        }
    }
    entities
}

fn check_length(path: &str, text: &str, most: usize, problems: &mut Problems) {
    if text.len() > most {
        let length = text.len();
        problems.add(path, format!("is {length} bytes of UTF-8 long, but may be {most}"));
    }
}

/// The value, or a problem.
fn required<T>(path: &str, kind: &str, field: Field<T>, problems: &mut Problems) -> Option<T> {
    let words = match field {
        Field::Value(value) => return Some(value),
        Field::Missing => "is required".to_owned(),
        Field::Null => format!("must be {kind}, but is null"),
        Field::Wrong(wrong) => format!("must be {kind}, but is {wrong}"),
    };
    problems.add(path, words);
    None
}
