//! The JSON of one result, as `POST /api/predicts` writes it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::analysis::{DocumentAnalysis, EntityAnalysis, MentionAnalysis, Warning};
use crate::sentiment::{Distribution, Polarity};
use crate::text::{OffsetMap, OffsetUnit};

/// What `sentor predict --format jsonl` prints for a document; offsets count code points.
pub(super) fn result<'a>(
    doc_id: &'a str,
    text: &'a str,
    analysis: &'a DocumentAnalysis,
) -> impl Serialize + 'a {
    let offsets = OffsetMap::new(text, OffsetUnit::CodePoint);
    let details = analysis.sentences.iter().enumerate().map(|(sentence_index, sentence)| Sentence {
        sentence_index,
        sentence_text: sentence.span.slice(text),
        class: Class::from(sentence.sentiment),
    });
    let entity_sentiments = analysis.entities.iter().map(|entity| Entity::new(entity, text, &offsets));
    DocumentResult {
        doc_id,
        class: Class::from(analysis.sentiment),
        details: details.collect(),
        entity_sentiments: entity_sentiments.collect(),
        language: analysis.language.code(),
        detected_language: DetectedLanguage {
            code: &analysis.detection.code,
            confidence: analysis.detection.confidence,
        },
        warnings: analysis.warnings.iter().map(warning).collect(),
    }
}

#[derive(Serialize)]
struct DocumentResult<'a> {
    doc_id: &'a str,
    #[serde(flatten)]
    class: Class,
    details: Vec<Sentence<'a>>,
    entity_sentiments: Vec<Entity<'a>>,
    language: &'static str,
    detected_language: DetectedLanguage<'a>,
    warnings: Vec<Value>,
}

#[derive(Serialize)]
struct Class {
    predicted_class: usize,
    predicted_label: &'static str,
    probabilities: Probabilities,
}

impl From<Distribution> for Class {
    fn from(sentiment: Distribution) -> Self {
        let polarity = sentiment.polarity();
        Self {
            predicted_class: polarity.class(),
            predicted_label: polarity.label(),
            probabilities: sentiment.into(),
        }
    }
}

#[derive(Serialize)]
struct Probabilities {
    negative: f32,
    neutral: f32,
    positive: f32,
}

impl From<Distribution> for Probabilities {
    fn from(sentiment: Distribution) -> Self {
        Self {
            negative: sentiment.of(Polarity::Negative),
            neutral: sentiment.of(Polarity::Neutral),
            positive: sentiment.of(Polarity::Positive),
        }
    }
}

#[derive(Serialize)]
struct Sentence<'a> {
    sentence_index: usize,
    sentence_text: &'a str,
    #[serde(flatten)]
    class: Class,
}

#[derive(Serialize)]
struct Entity<'a> {
    entity: &'a str,
    sentiment: &'static str,
    score: f32,
    probabilities: Probabilities,
    polarity: f32,
    r#match: &'static str,
    mentions: Vec<Mention<'a>>,
}

impl<'a> Entity<'a> {
    fn new(entity: &'a EntityAnalysis, text: &'a str, offsets: &OffsetMap<'_>) -> Self {
        Self {
            entity: &entity.entity,
            sentiment: entity.sentiment.polarity().label(),
            score: entity.sentiment.score(),
            probabilities: entity.sentiment.into(),
            polarity: entity.sentiment.balance(),
            r#match: if entity.is_explicit() { "explicit" } else { "implicit" },
            mentions: entity.mentions.iter().map(|mention| Mention::new(mention, text, offsets)).collect(),
        }
    }
}

#[derive(Serialize)]
struct Mention<'a> {
    start: usize,
    end: usize,
    text: &'a str,
    sentence_index: usize,
    form: &'static str,
    sentiment: &'static str,
    probabilities: Probabilities,
}

impl<'a> Mention<'a> {
    fn new(mention: &MentionAnalysis, text: &'a str, offsets: &OffsetMap<'_>) -> Self {
        Self {
            start: offsets.from_bytes(mention.span.start),
            end: offsets.from_bytes(mention.span.end),
            text: mention.span.slice(text),
            sentence_index: mention.sentence_index,
            form: mention.form.label(),
            sentiment: mention.sentiment.polarity().label(),
            probabilities: mention.sentiment.into(),
        }
    }
}

#[derive(Serialize)]
struct DetectedLanguage<'a> {
    code: &'a str,
    confidence: f32,
}

fn warning(warning: &Warning) -> Value {
    json!({ "message": format!("{warning:?}") })
}
