//! Schemas for the description only: enumerations that handlers write as plain text, and the request body, which has
//! its own parser. Tests compare them with the handlers.
#![expect(dead_code, reason = "these types describe; nothing makes them")]

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::health::ModelHealth;

/// A language, or `auto`: that of each document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum LanguageChoice {
    #[schema(rename = "en")]
    English,
    #[schema(rename = "nl")]
    Dutch,
    Auto,
}

/// The unit of offsets.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum Offsets {
    Codepoint,
    Utf8,
    Utf16,
}

/// The state of the server.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum HealthStatus {
    Healthy,
    Degraded,
}

/// Documents to score. Other members are ignored.
#[derive(ToSchema)]
pub(in crate::http) struct PredictBody {
    /// At least one; a setting of the server limits their number.
    #[schema(min_items = 1)]
    docs: Vec<PredictDocument>,
    /// Used if the query names no language.
    language: Option<LanguageChoice>,
}

/// A document to score.
#[derive(ToSchema)]
pub(in crate::http) struct PredictDocument {
    /// Returned with the scores; it need not be unique.
    doc_id: String,
    /// The text, with at least one visible character.
    #[schema(
        pattern = "[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\u{e0000}-\u{e0fff}]"
    )]
    doc: String,
    /// Names of things that the text may have an opinion on; a setting of the server limits their number.
    entities: Option<Vec<Entity>>,
}

/// An entity: its name, or an object with other names of it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Entity {
    Name(EntityName),
    WithAliases(EntityWithAliases),
}

/// An entity with other names of it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct EntityWithAliases {
    /// Comes back as `entity`.
    name: EntityName,
    /// Other names: a mention of one is a mention of the entity.
    #[schema(max_items = 32)]
    aliases: Option<Vec<EntityName>>,
    /// Comes back with the scores.
    group: Option<EntityName>,
}

/// A name of something that the text may have an opinion on, with at least one visible character.
#[derive(Serialize, ToSchema)]
#[schema(
    pattern = "[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\u{e0000}-\u{e0fff}]"
)]
pub(in crate::http) struct EntityName(String);

/// Documents to cluster. Other members are ignored.
#[derive(ToSchema)]
pub(in crate::http) struct ClusterBody {
    /// A setting of the server says how many at most.
    #[schema(min_items = 5)]
    documents: Vec<TopicDocument>,
    /// Number of clusters; without it or with 0, the server finds it.
    #[schema(minimum = 0)]
    n_clusters: Option<u64>,
    /// Counts where the query does not name a language.
    language: Option<LanguageChoice>,
}

/// A document of a topic.
#[derive(ToSchema)]
pub(in crate::http) struct TopicDocument {
    /// Comes back with the answer; it need not be unique.
    doc_id: Option<String>,
    /// The text, with at least one visible character.
    #[schema(
        pattern = "[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\u{e0000}-\u{e0fff}]"
    )]
    text: String,
    /// Names that belong to the document; blank ones are ignored.
    entities: Option<Vec<String>>,
    /// As `/api/predicts/cluster` answered it.
    cluster_probability: Option<f64>,
}

/// A cluster to name. Other members are ignored.
#[derive(ToSchema)]
pub(in crate::http) struct TopicNameBody {
    /// Comes back with the name.
    cluster_id: i64,
    #[schema(min_items = 1)]
    documents: Vec<TopicDocument>,
    /// Names that the label leaves out.
    entities: Option<Vec<String>>,
    /// Words that tell the cluster from others, best first.
    top_words: Option<Vec<String>>,
    /// Counts where the query does not name a language.
    language: Option<LanguageChoice>,
}

/// Texts to compute vectors of. Other members are ignored.
#[derive(ToSchema)]
pub(in crate::http) struct EmbeddingsBody {
    /// Name of an embedding model, such as `embed-en`, or the language that it is for.
    #[schema(pattern = "^(embed-en|embed-nl|en|nl)$")]
    model: String,
    /// The texts; one may stand without the list.
    #[schema(min_items = 1)]
    input: Vec<EmbeddedText>,
    /// `float` for lists of numbers, or `base64` for their little-endian bytes.
    encoding_format: Option<EncodingFormat>,
}

/// A text that is not empty.
#[derive(ToSchema)]
#[schema(pattern = "[\\s\\S]")]
pub(in crate::http) struct EmbeddedText(String);

/// How vectors are written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum EncodingFormat {
    Float,
    Base64,
}

/// The model of each language; null where it has none.
#[derive(ToSchema)]
pub(in crate::http) struct HealthModels {
    #[schema(required)]
    en: Option<ModelHealth>,
    #[schema(required)]
    nl: Option<ModelHealth>,
}

/// The state of a key.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum KeyState {
    Active,
    Expired,
    Revoked,
}

/// A permission of a key.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum Scope {
    Predict,
    Cluster,
    Jobs,
    Admin,
    Metrics,
}

/// The environment of a key.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum KeyEnvironment {
    Live,
    Test,
}

/// Usage.
#[derive(ToSchema)]
pub(in crate::http) struct Usage {
    requests: u64,
    documents: u64,
    characters: u64,
    tokens: u64,
    entities: u64,
}

/// The limits of a plan; null where it has none.
#[derive(ToSchema)]
pub(in crate::http) struct PlanLimits {
    requests_per_minute: Option<u64>,
    requests_per_day: Option<u64>,
    requests_per_month: Option<u64>,
    characters_per_call: Option<u64>,
    documents_per_call: Option<u64>,
    concurrent_requests: Option<u64>,
    active_jobs: Option<u64>,
    rows_per_job: Option<u64>,
    job_rows_waiting: Option<u64>,
    job_bytes: Option<u64>,
    /// Its share of the queue, relative to other plans.
    weight: Option<u32>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;
    use sentor_text::language::LanguageChoice as Choice;
    use sentor_text::span::OffsetUnit;

    fn words<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).expect("a schema is JSON");
        let words = schema["enum"].as_array().expect("an enumeration").iter();
        words.map(|word| word.as_str().expect("a word").to_owned()).collect()
    }

    #[test]
    fn the_enumerations_match_the_handlers() {
        assert!(words::<LanguageChoice>().iter().all(|word| Choice::parse(word).is_some()));
        assert!(words::<Offsets>().iter().all(|word| OffsetUnit::parse(word).is_some()));
        let scopes = sentor_store::keys::Scope::ALL.map(sentor_store::keys::Scope::name);
        assert_eq!(words::<Scope>(), scopes);
        let usage = serde_json::to_value(sentor_store::metering::Usage::default()).expect("a struct is JSON");
        let described = serde_json::to_value(Usage::schema()).expect("a schema is JSON");
        let names = |value: &Value| -> Vec<String> {
            value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&described["properties"]), names(&usage));
        let limits = serde_json::to_value(PlanLimits::schema()).expect("a schema is JSON");
        for limit in sentor_store::metering::Limit::ALL {
            assert!(limits["properties"][limit.name()].is_object(), "{}", limit.name());
        }
    }

    #[test]
    fn the_body_requires_what_the_handler_requires() {
        let schema = serde_json::to_value(PredictBody::schema()).expect("a schema is JSON");
        assert_eq!(schema["required"], json!(["docs"]));
        let schema: Value = serde_json::to_value(PredictDocument::schema()).expect("a schema is JSON");
        assert_eq!(schema["required"], json!(["doc_id", "doc"]));
    }
}
