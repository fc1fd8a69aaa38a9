//! The JSON form of a scored document, which all interfaces share. Fields of the published contract come first, in its
//! order.

use serde::Serialize;
use serde_json::{Value, json};

#[cfg(feature = "openapi")]
use crate::schemas;
use crate::{
    DiscoveredAnalysis, DocumentAnalysis, EntityAnalysis, MentionAnalysis, SentenceAnalysis, Warning,
};
use sentor_text::sentiment::{Distribution, Polarity};
use sentor_text::span::{OffsetMap, OffsetUnit};

/// The result of a document.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DocumentResult<'a> {
    /// As sent.
    doc_id: Option<&'a str>,
    #[serde(flatten)]
    verdict: Verdict,
    /// Whether its sentences or mentions contradict each other: one is positive and one negative with 0.6 or more each.
    mixed: bool,
    /// Every sentence, in order.
    details: Vec<SentenceResult<'a>>,
    /// One for each requested entity, in the order of the request.
    entity_sentiments: Vec<EntityResult<'a>>,
    /// Only with `discover=true`: what the text judges without being asked, most telling first.
    #[serde(skip_serializing_if = "Option::is_none")]
    discovered: Option<Vec<DiscoveredResult<'a>>>,
    /// The language the document was scored as.
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Language))]
    language: &'static str,
    /// The detected language.
    detected_language: DetectedLanguage<'a>,
    /// Warnings about how it was scored.
    warnings: Vec<WarningResult>,
}

/// A sentence of a document.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SentenceResult<'a> {
    sentence_index: usize,
    /// The exact slice of the document from `start` to `end`.
    sentence_text: &'a str,
    #[serde(flatten)]
    verdict: Verdict,
    /// Where it starts, in the unit of the query parameter `offsets`.
    start: usize,
    /// Where it ends, exclusive.
    end: usize,
}

/// The sentiment of the document toward an entity.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EntityResult<'a> {
    /// As requested.
    entity: &'a str,
    /// As requested; only where one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Sentiment))]
    sentiment: &'static str,
    /// The probability of `sentiment`.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    score: f32,
    probabilities: Probabilities,
    /// Positive minus negative.
    #[cfg_attr(feature = "openapi", schema(minimum = -1, maximum = 1))]
    polarity: f32,
    /// Whether its mentions contradict each other: one is positive and one negative with 0.6 or more each.
    mixed: bool,
    /// Whether the text mentions the entity.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Match))]
    found: &'static str,
    /// Its mentions; empty if `match` is `implicit`.
    mentions: Vec<MentionResult<'a>>,
}

/// Something that the document judges without being asked.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiscoveredResult<'a> {
    /// As the text writes it; an aspect in lower case.
    entity: &'a str,
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Kind))]
    kind: &'static str,
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Sentiment))]
    sentiment: &'static str,
    probabilities: Probabilities,
    /// Positive minus negative.
    #[cfg_attr(feature = "openapi", schema(minimum = -1, maximum = 1))]
    polarity: f32,
    /// Where; at least one.
    mentions: Vec<MentionResult<'a>>,
}

/// A place where the text mentions an entity.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MentionResult<'a> {
    /// Where it starts, in the unit of the query parameter `offsets`.
    start: usize,
    /// Where it ends, exclusive.
    end: usize,
    /// The exact slice of the document.
    text: &'a str,
    /// The sentence in which it starts.
    sentence_index: usize,
    /// How it matches the entity's name.
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Form))]
    form: &'static str,
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Sentiment))]
    sentiment: &'static str,
    probabilities: Probabilities,
}

/// The detected language of a document.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DetectedLanguage<'a> {
    /// An ISO 639 code, of any language; `und` if none was detected.
    language: &'a str,
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    confidence: f32,
}

/// A warning about how a document was scored.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WarningResult {
    /// For programs.
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::WarningCode))]
    code: &'static str,
    /// For people.
    message: String,
    /// The message's facts, for programs.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    details: Value,
}

/// A sentiment.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// 0 negative, 1 neutral, 2 positive.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 2))]
    predicted_class: usize,
    #[cfg_attr(feature = "openapi", schema(value_type = schemas::Sentiment))]
    predicted_label: &'static str,
    probabilities: Probabilities,
}

/// Three probabilities; their sum is 1.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Probabilities {
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    negative: f32,
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    neutral: f32,
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 1))]
    positive: f32,
}

impl From<Distribution> for Probabilities {
    fn from(distribution: Distribution) -> Self {
        let [negative, neutral, positive] = distribution.probabilities();
        Self { negative, neutral, positive }
    }
}

impl From<Distribution> for Verdict {
    fn from(distribution: Distribution) -> Self {
        let polarity: Polarity = distribution.polarity();
        Self {
            predicted_class: polarity.class(),
            predicted_label: polarity.label(),
            probabilities: distribution.into(),
        }
    }
}

/// Returns the result of a document, in HTTP answers and in the output of `sentor predict`.
pub fn document_result<'a>(
    doc_id: Option<&'a str>,
    text: &'a str,
    analysis: &'a DocumentAnalysis,
    unit: OffsetUnit,
) -> DocumentResult<'a> {
    let offsets = OffsetMap::new(text, unit);
    let sentences = analysis.sentences.iter().enumerate();
    DocumentResult {
        doc_id,
        verdict: analysis.sentiment.into(),
        mixed: analysis.mixed,
        details: sentences
            .map(|(index, sentence)| sentence_result(index, sentence, text, &offsets))
            .collect(),
        entity_sentiments: analysis
            .entities
            .iter()
            .map(|entity| entity_result(entity, text, &offsets))
            .collect(),
        discovered: analysis.discovered.as_ref().map(|discovered| {
            discovered.iter().map(|found| discovered_result(found, text, &offsets)).collect()
        }),
        language: analysis.language.code(),
        detected_language: DetectedLanguage {
            language: &analysis.detection.code,
            confidence: analysis.detection.confidence,
        },
        warnings: analysis.warnings.iter().map(warning_result).collect(),
    }
}

fn sentence_result<'a>(
    sentence_index: usize,
    sentence: &SentenceAnalysis,
    text: &'a str,
    offsets: &OffsetMap<'_>,
) -> SentenceResult<'a> {
    SentenceResult {
        sentence_index,
        sentence_text: sentence.span.slice(text),
        verdict: sentence.sentiment.into(),
        start: offsets.from_bytes(sentence.span.start),
        end: offsets.from_bytes(sentence.span.end),
    }
}

fn mention_result<'a>(
    mention: &MentionAnalysis,
    text: &'a str,
    offsets: &OffsetMap<'_>,
) -> MentionResult<'a> {
    MentionResult {
        start: offsets.from_bytes(mention.span.start),
        end: offsets.from_bytes(mention.span.end),
        text: mention.span.slice(text),
        sentence_index: mention.sentence_index,
        form: mention.form.label(),
        sentiment: mention.sentiment.polarity().label(),
        probabilities: mention.sentiment.into(),
    }
}

fn entity_result<'a>(entity: &'a EntityAnalysis, text: &'a str, offsets: &OffsetMap<'_>) -> EntityResult<'a> {
    EntityResult {
        entity: &entity.entity,
        group: entity.group.as_deref(),
        sentiment: entity.sentiment.polarity().label(),
        score: entity.sentiment.score(),
        probabilities: entity.sentiment.into(),
        polarity: entity.sentiment.balance(),
        mixed: entity.mixed,
        found: if entity.is_explicit() { "explicit" } else { "implicit" },
        mentions: entity.mentions.iter().map(|mention| mention_result(mention, text, offsets)).collect(),
    }
}

fn discovered_result<'a>(
    found: &'a DiscoveredAnalysis,
    text: &'a str,
    offsets: &OffsetMap<'_>,
) -> DiscoveredResult<'a> {
    DiscoveredResult {
        entity: &found.entity,
        kind: found.kind.label(),
        sentiment: found.sentiment.polarity().label(),
        probabilities: found.sentiment.into(),
        polarity: found.sentiment.balance(),
        mentions: found.mentions.iter().map(|mention| mention_result(mention, text, offsets)).collect(),
    }
}

/// A warning in words.
pub fn warning_message(warning: &Warning) -> String {
    warning_result(warning).message
}

fn warning_result(warning: &Warning) -> WarningResult {
    let (code, message, details) = match warning {
        Warning::OtherLanguage { detected, scored_as } => (
            "other_language",
            format!("the text reads as {detected}, but was scored as {}", scored_as.code()),
            json!({"detected": detected, "scored_as": scored_as.code()}),
        ),
        Warning::UnknownLanguage { scored_as } => (
            "unknown_language",
            format!("the text's language could not be told, so it was scored as {}", scored_as.code()),
            json!({"scored_as": scored_as.code()}),
        ),
        Warning::SplitIntoWindows { windows, window_tokens } => (
            "split_into_windows",
            format!("the text was scored in {windows} windows of at most {window_tokens} tokens"),
            json!({"windows": windows, "window_tokens": window_tokens}),
        ),
        Warning::SplitSentence { sentence_index, pieces } => (
            "split_sentence",
            format!(
                "sentence {sentence_index} was scored in {pieces} pieces, for it is longer than the window"
            ),
            json!({"sentence_index": sentence_index, "pieces": pieces}),
        ),
        Warning::MentionsLeftOut { count, most } => (
            "mentions_left_out",
            format!("at most {most} mentions of a document are scored and listed; {count} more are left out"),
            json!({"count": count, "most": most}),
        ),
        Warning::NearSpelling { entity_index, found } => (
            "near_spelling",
            format!("the text does not name entity {entity_index}; did you mean {found:?}?"),
            json!({"entity_index": entity_index, "found": found}),
        ),
        Warning::LongEntity { entity_index } => (
            "long_entity",
            format!("entity {entity_index} is longer than the model reads; only its start counted"),
            json!({"entity_index": entity_index}),
        ),
    };
    WarningResult { code, message, details }
}

/// Maximum bytes of JSON without the texts, for a document, a sentence, an entity, a mention and a warning.
const DOCUMENT_BYTES: usize = 512;
pub(crate) const SENTENCE_BYTES: usize = 260;
pub(crate) const ENTITY_BYTES: usize = 352;
pub(crate) const MENTION_BYTES: usize = 260;
const WARNING_BYTES: usize = 384;

/// Returns an upper bound of the length of [`document_result`] as JSON, in bytes. Takes one pass over the texts, and no
/// memory.
pub fn document_result_bytes(doc_id: Option<&str>, text: &str, analysis: &DocumentAnalysis) -> usize {
    let sentences =
        analysis.sentences.iter().map(|sentence| SENTENCE_BYTES + json_bytes(sentence.span.slice(text)));
    let mention_bytes = |mentions: &[MentionAnalysis]| -> usize {
        mentions.iter().map(|mention| MENTION_BYTES + json_bytes(mention.span.slice(text))).sum()
    };
    let entities = analysis.entities.iter().map(|entity| {
        let group = entity.group.as_deref().map_or(0, json_bytes);
        ENTITY_BYTES + json_bytes(&entity.entity) + group + mention_bytes(&entity.mentions)
    });
    let discovered = analysis
        .discovered
        .iter()
        .flatten()
        .map(|found| ENTITY_BYTES + json_bytes(&found.entity) + mention_bytes(&found.mentions));
    let warnings = analysis.warnings.iter().map(|warning| match warning {
        // It stands in the message, with its quotes escaped, and in the details.
        Warning::NearSpelling { found, .. } => WARNING_BYTES + 4 * json_bytes(found),
        _ => WARNING_BYTES,
    });
    DOCUMENT_BYTES
        + doc_id.map_or(0, json_bytes)
        + sentences.sum::<usize>()
        + entities.sum::<usize>()
        + discovered.sum::<usize>()
        + warnings.sum::<usize>()
}

/// Returns the length of a text inside a JSON string.
fn json_bytes(text: &str) -> usize {
    let escaped = text.bytes().map(|byte| match byte {
        b'"' | b'\\' => 1,
        // As `\u0000`.
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + escaped.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentor_text::discover::Kind;
    use sentor_text::language::{Detection, Language};
    use sentor_text::mention::MatchForm;
    use sentor_text::span::Span;

    #[test]
    fn the_length_of_a_result_is_known_before_it_is_written() {
        let sentiment = Distribution::from_weights([1.0, 1e-7, 1.0 / 3.0]);
        for text in ["a", "Een \"zin\" met \u{1}\u{2}\n tekens\\. 😀", &"ab ".repeat(300)] {
            let span = Span::new(0, text.len());
            let mention =
                MentionAnalysis { span, sentence_index: 4_000_000, form: MatchForm::Inflected, sentiment };
            let analysis = DocumentAnalysis {
                language: Language::Dutch,
                detection: Detection { language: None, code: "und".to_owned(), confidence: 0.123_456_7 },
                sentiment,
                sentences: vec![SentenceAnalysis { span, sentiment }; 3],
                mixed: false,
                entities: vec![EntityAnalysis::new(text.to_owned(), sentiment, vec![mention.clone(); 5]); 2],
                discovered: Some(vec![DiscoveredAnalysis {
                    entity: text.to_owned(),
                    kind: Kind::Aspect,
                    sentiment,
                    mentions: vec![mention; 2],
                }]),
                warnings: vec![
                    Warning::UnknownLanguage { scored_as: Language::Dutch },
                    Warning::MentionsLeftOut { count: usize::MAX, most: usize::MAX },
                    Warning::SplitSentence { sentence_index: usize::MAX, pieces: usize::MAX },
                    Warning::NearSpelling { entity_index: usize::MAX, found: text.to_owned() },
                ],
                tokens: 0,
            };
            let result = document_result(Some(text), text, &analysis, OffsetUnit::Utf8);
            let written = serde_json::to_vec(&result).expect("a result is JSON").len();
            let expected = document_result_bytes(Some(text), text, &analysis);
            assert!((written..=4 * written).contains(&expected), "{expected} for {written} bytes");
        }
    }
}
