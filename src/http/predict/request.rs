//! Parses the body of a predict request, and finds all its problems.

use std::cell::Cell;

use serde::de::{DeserializeSeed as _, IgnoredAny, MapAccess};

use super::json::{Field, Items, List, Member, Members, Read, Shape, Text};
use super::surrogates;
use crate::config::LimitsConfig;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::problems::{ListBudget, Problems};
use crate::http::query::{PredictQuery, parse_language};
use sentor_analysis::{Document, EntityLabels, Extras, MentionSource};
use sentor_text::is_blank;
use sentor_text::language::LanguageChoice;

/// A request that can be answered.
#[derive(Debug)]
pub(super) struct PredictRequest {
    /// The language of the query, or else of the body.
    pub(super) language: Option<LanguageChoice>,
    pub(super) documents: Vec<RequestDocument>,
    /// The documents without problems, in order.
    pub(super) valid_documents: Vec<Document>,
    pub(super) size: RequestSize,
}

/// The size of a request's documents without problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestSize {
    /// Of the texts.
    pub(super) characters: usize,
    /// Of the entities' names.
    pub(super) entity_characters: usize,
}

/// One document of a request.
#[derive(Debug)]
pub(super) struct RequestDocument {
    /// As sent; `None` where that is not a string.
    pub(super) doc_id: Option<String>,
    /// The text, or under `partial=true` the document's problems.
    pub(super) text: Result<String, ApiError>,
}

impl PredictRequest {
    /// Parses a body, and finds all problems of its content at once.
    pub(super) fn parse(bytes: &[u8], query: PredictQuery, limits: &LimitsConfig) -> Result<Self, ApiError> {
        let (body, marker) = read_json(bytes, limits, query.partial)?;
        let rules = Rules { limits, half_surrogate: marker };
        let budget = ListBudget::default();
        let mut problems = Problems::within(&budget);
        let language = match query.language {
            Some(language) => Some(language),
            None => body_language(body.language, &mut problems)?,
        };
        let documents = check_documents(body.docs, limits, &mut problems);
        // Under `partial`, a document's problems concern it alone; the request's concern all.
        let is_void = !problems.is_empty();
        let mentions = MentionSource::find(query.pronouns);
        let mut request = Self {
            language,
            documents: Vec::with_capacity(documents.len()),
            valid_documents: Vec::with_capacity(documents.len()),
            size: RequestSize::default(),
        };
        for (index, document) in documents.into_iter().enumerate() {
            let mut own_problems = Problems::within(&budget);
            let (doc_id, content) = check_document(index, document, rules, &mut own_problems);
            let text = match content {
                Some((text, Entities { names, labels })) if own_problems.is_empty() => {
                    request.size.characters += text.chars().count();
                    let aliases = labels.iter().flat_map(|labels| &labels.aliases);
                    request.size.entity_characters +=
                        names.iter().chain(aliases).map(|name| name.chars().count()).sum::<usize>();
                    let mentions = mentions.clone();
                    let extras = Extras { labels, discover: query.discover };
                    let document = Document { text: text.clone(), entities: names, mentions, extras };
                    request.valid_documents.push(document);
                    Ok(text)
                }
                _ if query.partial && !is_void => Err(ApiError::validation(&own_problems)),
                // The request will be rejected; only its further problems matter.
                _ => {
                    problems.extend(&own_problems);
                    continue;
                }
            };
            request.documents.push(RequestDocument { doc_id, text });
        }
        if !problems.is_empty() {
            return Err(ApiError::validation(&problems));
        }
        Ok(request)
    }
}

/// The limits of documents.
#[derive(Clone, Copy)]
struct Rules<'l> {
    limits: &'l LimitsConfig,
    /// The character in place of each half of a surrogate pair.
    half_surrogate: Option<char>,
}

/// Parses a body. Under `partial`, a marker character replaces each half of a surrogate pair, and is returned with the
/// body: such a half is a problem of its document only.
fn read_json(
    bytes: &[u8],
    limits: &LimitsConfig,
    partial: bool,
) -> Result<(RawBody, Option<char>), ApiError> {
    match parse_json(bytes, limits) {
        Err(error) if partial && error.is_half_surrogate => {
            let marked = surrogates::mark_halves(bytes).ok_or(error.error)?;
            let body = parse_json(&marked.bytes, limits).map_err(|error| error.error)?;
            Ok((body, Some(marked.marker)))
        }
        outcome => outcome.map(|body| (body, None)).map_err(|error| error.error),
    }
}

/// Why a body cannot be read.
struct JsonError {
    error: ApiError,
    is_half_surrogate: bool,
}

impl From<ApiError> for JsonError {
    fn from(error: ApiError) -> Self {
        Self { error, is_half_surrogate: false }
    }
}

fn parse_json(bytes: &[u8], limits: &LimitsConfig) -> Result<RawBody, JsonError> {
    let bad = |message: String| ApiError::new(ErrorCode::BadRequest, message);
    let text = std::str::from_utf8(bytes)
        .map_err(|error| bad(format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to())))?;
    // Some Windows programs start UTF-8 with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entities_left = Cell::new(limits.max_request_entities);
    let body = Read(BodyShape { limits, entities_left: &entities_left })
        .deserialize(&mut deserializer)
        .and_then(|body| deserializer.end().map(|()| body))
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let problem = error.to_string();
            let is_half_surrogate =
                problem.starts_with("unexpected end of hex escape") || problem.contains("surrogate");
            let message = if text.trim().is_empty() {
                "the body is empty".to_owned()
            } else if is_half_surrogate {
                // Serde's message would be misleading.
                format!("the body is not JSON: half a surrogate pair at line {line} column {column}")
            } else {
                format!("the body is not JSON: {problem}")
            };
            let error = bad(message).detail("line", line).detail("column", column);
            JsonError { error, is_half_surrogate }
        })?;
    match body {
        Field::Value(body) => Ok(body),
        Field::Null | Field::Missing => Err(wrong_body("null").into()),
        Field::Wrong(kind) => Err(wrong_body(kind).into()),
    }
}

fn wrong_body(kind: &str) -> ApiError {
    ApiError::validation(&Problems::only(
        "$",
        format!("must be an object with the member docs, but is {kind}"),
    ))
}

/// The body as sent.
#[derive(Default)]
struct RawBody {
    docs: Field<Items<Field<RawDocument>>>,
    language: Field<String>,
}

/// A document as sent.
#[derive(Default)]
struct RawDocument {
    doc_id: Field<String>,
    doc: Field<String>,
    entities: Field<Items<Field<RawEntity>>>,
}

/// An entity as it was sent: a name, or an object.
#[derive(Default)]
struct RawEntity {
    name: Field<String>,
    aliases: Field<Items<Field<String>>>,
    group: Field<String>,
}

impl RawEntity {
    /// How many names it has, as far as the bound on the entities of a request counts.
    fn count(&self) -> usize {
        let aliases = if let Field::Value(aliases) = &self.aliases { aliases.total } else { 0 };
        1 + aliases
    }
}

#[derive(Clone, Copy)]
struct BodyShape<'l> {
    limits: &'l LimitsConfig,
    /// Number of entities that the rest of the request may have; further ones are counted and not kept.
    entities_left: &'l Cell<usize>,
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
        let item = DocumentShape { limits: self.limits, entities_left: self.entities_left };
        let docs = List { item, most: self.limits.max_documents };
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
    entities_left: &'l Cell<usize>,
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
        let mut document = RawDocument::default();
        while let Some(Member(name)) = members.next_key()? {
            match name {
                Some(DocumentMember::DocId) => document.doc_id = members.next_value_seed(Read(Text))?,
                Some(DocumentMember::Doc) => document.doc = members.next_value_seed(Read(Text))?,
                Some(DocumentMember::Entities) => {
                    let left = self.entities_left.get();
                    let entities = List { item: EntityShape, most: self.limits.max_entities.min(left) };
                    document.entities = members.next_value_seed(Read(entities))?;
                    self.entities_left.set(left.saturating_sub(entity_count(&document)));
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Field::Value(document))
    }
}

/// An entity: a string, or an object with `name`, `aliases` and `group`.
#[derive(Clone, Copy)]
struct EntityShape;

enum EntityMember {
    Name,
    Aliases,
    Group,
}

impl Members for EntityMember {
    fn named(name: &str) -> Option<Self> {
        match name {
            "name" => Some(Self::Name),
            "aliases" => Some(Self::Aliases),
            "group" => Some(Self::Group),
            _ => None,
        }
    }
}

impl<'de> Shape<'de> for EntityShape {
    type Value = RawEntity;

    fn text(self, text: &str) -> Field<RawEntity> {
        Field::Value(RawEntity { name: Field::Value(text.to_owned()), ..RawEntity::default() })
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Field<RawEntity>, A::Error> {
        let mut entity = RawEntity::default();
        while let Some(Member(name)) = members.next_key()? {
            match name {
                Some(EntityMember::Name) => entity.name = members.next_value_seed(Read(Text))?,
                Some(EntityMember::Aliases) => {
                    let aliases = List { item: Text, most: MOST_ALIASES };
                    entity.aliases = members.next_value_seed(Read(aliases))?;
                }
                Some(EntityMember::Group) => entity.group = members.next_value_seed(Read(Text))?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Field::Value(entity))
    }
}

/// Each alias is searched for like a name of its own.
const MOST_ALIASES: usize = 32;

fn body_language(
    field: Field<String>,
    problems: &mut Problems<'_>,
) -> Result<Option<LanguageChoice>, ApiError> {
    match field {
        Field::Missing | Field::Null => Ok(None),
        Field::Value(text) => parse_language(&text).map(Some),
        Field::Wrong(kind) => {
            problems.add("language", format!("must be a string, but is {kind}"));
            Ok(None)
        }
    }
}

/// Checks the documents; `None` if they are not a list or too many.
fn check_documents(
    field: Field<Items<Field<RawDocument>>>,
    limits: &LimitsConfig,
    problems: &mut Problems<'_>,
) -> Vec<Field<RawDocument>> {
    let Some(items) = required("docs", "a list", field, problems) else { return Vec::new() };
    if items.total == 0 {
        problems.add("docs", "must hold at least one document");
    }
    if items.total > limits.max_documents {
        let most = limits.max_documents;
        problems.add("docs", format!("holds {} documents, but may hold {most}", items.total));
    }
    let entities: usize = items
        .head
        .iter()
        .map(|document| if let Field::Value(document) = document { entity_count(document) } else { 0 })
        .sum();
    if entities > limits.max_request_entities {
        let most = limits.max_request_entities;
        let problem = format!(
            "holds {entities} entities in all documents together, but may hold {most}; send it in parts"
        );
        problems.add("docs", problem);
    }
    items.head
}

/// The number of names that a document asks for, aliases included.
fn entity_count(document: &RawDocument) -> usize {
    let Field::Value(items) = &document.entities else { return 0 };
    let more: usize = items
        .head
        .iter()
        .map(|entity| if let Field::Value(entity) = entity { entity.count() - 1 } else { 0 })
        .sum();
    items.total + more
}

/// The entities of a document without problems.
#[derive(Default)]
struct Entities {
    names: Vec<String>,
    /// Of the names, in their order; empty if none has an alias or a group.
    labels: Vec<EntityLabels>,
}

/// Checks a document, and returns its identifier and its text with the entities' names; `None` for a part with a
/// problem.
fn check_document(
    index: usize,
    field: Field<RawDocument>,
    rules: Rules<'_>,
    problems: &mut Problems<'_>,
) -> (Option<String>, Option<(String, Entities)>) {
    let path = format!("docs[{index}]");
    let Some(raw) = required(&path, "an object", field, problems) else { return (None, None) };
    let id_path = format!("{path}.doc_id");
    let doc_id = required(&id_path, "a string", raw.doc_id, problems)
        .filter(|doc_id| is_whole(&id_path, doc_id, rules, problems));
    let text = check_text(&format!("{path}.doc"), raw.doc, rules, problems);
    let entities = check_entities(&format!("{path}.entities"), raw.entities, rules, problems);
    (doc_id, text.map(|text| (text, entities)))
}

fn check_text(
    path: &str,
    field: Field<String>,
    rules: Rules<'_>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let text = required(path, "a string", field, problems)?;
    if let Some(problem) = invisible(&text) {
        problems.add(path, problem);
    }
    check_length(path, &text, rules.limits.max_document_bytes, problems);
    is_whole(path, &text, rules, problems).then_some(text)
}

/// The problem of a text without a visible character.
fn invisible(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("is empty or only white space");
    }
    is_blank(text).then_some("has no visible character")
}

/// Whether a text holds no half of a surrogate pair; if it does, that is a problem.
fn is_whole(path: &str, text: &str, rules: Rules<'_>, problems: &mut Problems<'_>) -> bool {
    let is_whole = rules.half_surrogate.is_none_or(|marker| !text.contains(marker));
    if !is_whole {
        problems.add(path, "holds half a surrogate pair");
    }
    is_whole
}

fn check_entities(
    path: &str,
    field: Field<Items<Field<RawEntity>>>,
    rules: Rules<'_>,
    problems: &mut Problems<'_>,
) -> Entities {
    let limits = rules.limits;
    if matches!(field, Field::Missing | Field::Null) {
        return Entities::default();
    }
    let Some(items) = required(path, "a list", field, problems) else { return Entities::default() };
    if items.total > limits.max_entities {
        let most = limits.max_entities;
        problems.add(path, format!("holds {} entities, but may hold {most}", items.total));
    }
    let mut names = Vec::with_capacity(items.head.len());
    let mut labels = Vec::new();
    for (index, field) in items.head.into_iter().enumerate() {
        let path = || format!("{path}[{index}]");
        match field {
            Field::Value(RawEntity { name, aliases: Field::Missing, group: Field::Missing }) => {
                let is_object = !matches!(name, Field::Value(_));
                let path = || if is_object { format!("{}.name", path()) } else { path() };
                names.extend(check_name(&path, name, rules, problems));
            }
            Field::Value(RawEntity { name, aliases, group }) => {
                let name = check_name(&|| format!("{}.name", path()), name, rules, problems);
                let aliases = check_aliases(&format!("{}.aliases", path()), aliases, rules, problems);
                let group = match group {
                    Field::Missing | Field::Null => None,
                    group => check_name(&|| format!("{}.group", path()), group, rules, problems),
                };
                labels.resize(names.len(), EntityLabels::default());
                labels.push(EntityLabels { aliases, group });
                names.extend(name);
            }
            other => drop(required(&path(), "a string", other, problems)),
        }
    }
    Entities { names, labels }
}

fn check_aliases(
    path: &str,
    field: Field<Items<Field<String>>>,
    rules: Rules<'_>,
    problems: &mut Problems<'_>,
) -> Vec<String> {
    if matches!(field, Field::Missing | Field::Null) {
        return Vec::new();
    }
    let Some(items) = required(path, "a list", field, problems) else { return Vec::new() };
    if items.total > MOST_ALIASES {
        problems.add(path, format!("holds {} aliases, but may hold {MOST_ALIASES}", items.total));
    }
    let aliases = items.head.into_iter().enumerate();
    aliases
        .filter_map(|(index, alias)| check_name(&|| format!("{path}[{index}]"), alias, rules, problems))
        .collect()
}

/// A name that can be looked for, or a problem.
fn check_name(
    path: &dyn Fn() -> String,
    field: Field<String>,
    rules: Rules<'_>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let name = match field {
        Field::Value(name) => name,
        other => return required(&path(), "a string", other, problems),
    };
    let most = rules.limits.max_entity_bytes;
    if name.len() > most {
        check_length(&path(), &name, most, problems);
        return None;
    }
    if let Some(problem) = invisible(&name) {
        problems.add(&path(), problem);
        return None;
    }
    (rules.half_surrogate.is_none() || is_whole(&path(), &name, rules, problems)).then_some(name)
}

fn check_length(path: &str, text: &str, most: usize, problems: &mut Problems<'_>) {
    if text.len() > most {
        let length = text.len();
        problems.add(path, format!("is {length} bytes of UTF-8 long, but may be {most}"));
    }
}

/// The value, or a problem.
fn required<T>(path: &str, kind: &str, field: Field<T>, problems: &mut Problems<'_>) -> Option<T> {
    let problem = match field {
        Field::Value(value) => return Some(value),
        Field::Missing => "is required".to_owned(),
        Field::Null => format!("must be {kind}, but is null"),
        Field::Wrong(wrong) => format!("must be {kind}, but is {wrong}"),
    };
    problems.add(path, problem);
    None
}
