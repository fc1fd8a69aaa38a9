//! Scores as Arrow columns.

use std::sync::Arc;

use arrow_array::builder::{Float32Builder, StringBuilder};
use arrow_array::{ArrayRef, Float32Array, Int32Array, ListArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields};

use sentor_analysis::{DocumentAnalysis, DocumentError, EntityAnalysis, MentionAnalysis};
use sentor_text::sentiment::Distribution;
use sentor_text::span::{OffsetMap, OffsetUnit};

/// The new columns, in order.
pub(crate) fn score_fields(prefix: &str) -> Vec<FieldRef> {
    let field = |name: &str, kind| Arc::new(Field::new(format!("{prefix}{name}"), kind, true));
    let list = DataType::new_list(DataType::Struct(entity_fields()), true);
    let mut fields = vec![field("sentiment", DataType::Utf8)];
    fields.extend(["negative", "neutral", "positive", "polarity"].map(|name| field(name, DataType::Float32)));
    fields.push(field("language", DataType::Utf8));
    fields.push(field("entity_sentiments", list));
    fields.push(field("error", DataType::Utf8));
    fields
}

fn entity_fields() -> Fields {
    let float = DataType::Float32;
    let mentions = DataType::new_list(DataType::Struct(mention_fields()), true);
    fields([
        ("entity", DataType::Utf8),
        ("sentiment", DataType::Utf8),
        ("score", float.clone()),
        ("negative", float.clone()),
        ("neutral", float.clone()),
        ("positive", float.clone()),
        ("polarity", float),
        ("match", DataType::Utf8),
        ("mentions", mentions),
    ])
}

fn mention_fields() -> Fields {
    let (float, int) = (DataType::Float32, DataType::Int32);
    fields([
        ("start", int.clone()),
        ("end", int.clone()),
        ("text", DataType::Utf8),
        ("sentence_index", int),
        ("form", DataType::Utf8),
        ("sentiment", DataType::Utf8),
        ("negative", float.clone()),
        ("neutral", float.clone()),
        ("positive", float),
    ])
}

fn fields<const N: usize>(fields: [(&str, DataType); N]) -> Fields {
    fields.map(|(name, kind)| Field::new(name, kind, true)).into_iter().collect()
}

/// The scores of rows, as they are gathered.
#[derive(Default)]
pub(crate) struct ScoreColumns {
    sentiment: StringBuilder,
    probabilities: [Float32Builder; 3],
    polarity: Float32Builder,
    language: StringBuilder,
    error: StringBuilder,
    /// For each row whether it was scored, and its number of entities.
    rows: Vec<(bool, usize)>,
    entities: EntityColumns,
}

#[derive(Default)]
struct EntityColumns {
    entity: StringBuilder,
    sentiment: StringBuilder,
    score: Vec<f32>,
    probabilities: [Vec<f32>; 3],
    polarity: Vec<f32>,
    found: StringBuilder,
    /// For each entity its number of mentions.
    lengths: Vec<usize>,
    mentions: MentionColumns,
}

#[derive(Default)]
struct MentionColumns {
    start: Vec<i32>,
    end: Vec<i32>,
    text: StringBuilder,
    sentence_index: Vec<i32>,
    form: StringBuilder,
    sentiment: StringBuilder,
    probabilities: [Vec<f32>; 3],
}

impl ScoreColumns {
    /// Adds a row.
    pub(crate) fn push(&mut self, text: &str, answer: Result<DocumentAnalysis, DocumentError>) {
        let analysis = match answer {
            Ok(analysis) => analysis,
            Err(error) => {
                self.sentiment.append_null();
                self.probabilities.iter_mut().for_each(Float32Builder::append_null);
                self.polarity.append_null();
                self.language.append_null();
                self.error.append_value(error.to_string());
                self.rows.push((false, 0));
                return;
            }
        };
        self.sentiment.append_value(analysis.sentiment.polarity().label());
        for (column, probability) in self.probabilities.iter_mut().zip(analysis.sentiment.probabilities()) {
            column.append_value(probability);
        }
        self.polarity.append_value(analysis.sentiment.balance());
        self.language.append_value(analysis.language.code());
        self.error.append_null();
        self.rows.push((true, analysis.entities.len()));
        let offsets = OffsetMap::new(text, OffsetUnit::CodePoint);
        for entity in &analysis.entities {
            self.entities.push(entity, text, &offsets);
        }
    }

    /// The columns of [`score_fields`].
    pub(crate) fn finish(mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let scored = self.rows.iter().map(|&(is_scored, _)| is_scored).collect::<NullBuffer>();
        let lengths = self.rows.iter().map(|&(_, entities)| entities);
        let entities = list(lengths, self.entities.finish()?, Some(scored))?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.sentiment.finish())];
        columns.extend(self.probabilities.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.polarity.finish()));
        columns.push(Arc::new(self.language.finish()));
        columns.push(entities);
        columns.push(Arc::new(self.error.finish()));
        Ok(columns)
    }
}

impl EntityColumns {
    fn push(&mut self, entity: &EntityAnalysis, text: &str, offsets: &OffsetMap<'_>) {
        self.entity.append_value(&entity.entity);
        self.sentiment.append_value(entity.sentiment.polarity().label());
        self.score.push(entity.sentiment.score());
        push_probabilities(&mut self.probabilities, entity.sentiment);
        self.polarity.push(entity.sentiment.balance());
        self.found.append_value(if entity.is_explicit() { "explicit" } else { "implicit" });
        self.lengths.push(entity.mentions.len());
        for mention in entity.mentions.iter() {
            self.mentions.push(mention, text, offsets);
        }
    }

    fn finish(mut self) -> Result<StructArray, ArrowError> {
        let mentions = list(self.lengths.iter().copied(), self.mentions.finish()?, None)?;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(self.entity.finish()), Arc::new(self.sentiment.finish()), floats(self.score)];
        columns.extend(self.probabilities.map(floats));
        columns.extend([floats(self.polarity), Arc::new(self.found.finish()), mentions]);
        StructArray::try_new(entity_fields(), columns, None)
    }
}

impl MentionColumns {
    fn push(&mut self, mention: &MentionAnalysis, text: &str, offsets: &OffsetMap<'_>) {
        self.start.push(small(offsets.from_bytes(mention.span.start)));
        self.end.push(small(offsets.from_bytes(mention.span.end)));
        self.text.append_value(mention.span.slice(text));
        self.sentence_index.push(small(mention.sentence_index));
        self.form.append_value(mention.form.label());
        self.sentiment.append_value(mention.sentiment.polarity().label());
        push_probabilities(&mut self.probabilities, mention.sentiment);
    }

    fn finish(mut self) -> Result<StructArray, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            ints(self.start),
            ints(self.end),
            Arc::new(self.text.finish()),
            ints(self.sentence_index),
            Arc::new(self.form.finish()),
            Arc::new(self.sentiment.finish()),
        ];
        columns.extend(self.probabilities.map(floats));
        StructArray::try_new(mention_fields(), columns, None)
    }
}

fn push_probabilities(columns: &mut [Vec<f32>; 3], sentiment: Distribution) {
    for (column, probability) in columns.iter_mut().zip(sentiment.probabilities()) {
        column.push(probability);
    }
}

/// A place in a text. One that is too far for the type is beyond any text that is scored.
fn small(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

fn floats(values: Vec<f32>) -> ArrayRef {
    Arc::new(Float32Array::new(ScalarBuffer::from(values), None))
}

fn ints(values: Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::new(ScalarBuffer::from(values), None))
}

/// Lists of the given lengths over `items`.
fn list(
    lengths: impl Iterator<Item = usize>,
    items: StructArray,
    validity: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    use arrow_array::Array as _;

    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let list = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), Arc::new(items), validity)?;
    Ok(Arc::new(list))
}
