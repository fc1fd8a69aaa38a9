//! The plan of one document: the sequences that read it, and how their outputs become its scores.

use std::ops::Range;

use super::analyzer::Model;
use super::{
    Document, DocumentAnalysis, DocumentError, EntityAnalysis, MentionAnalysis, MentionSource,
    SentenceAnalysis, Warning,
};
use sentor_engine::SequenceOutput;
use sentor_engine::encode::{Encoder, Sequence, SequenceSpan, Tokens};
use sentor_engine::registry::{Signature, Task};
use sentor_text::aggregate;
use sentor_text::language::{Detection, Language, LanguageChoice};
use sentor_text::mention::{EntityMatcher, MatchForm, Mention};
use sentor_text::pronoun;
use sentor_text::segment::sentences;
use sentor_text::sentiment::Distribution;
use sentor_text::span::Span;
use sentor_text::window::{Limits, Window, assign, windows};

/// One document, ready to be scored: its sequences, and the target of each of their spans.
#[derive(Debug)]
pub(super) struct Plan {
    language: Language,
    detection: Detection,
    warnings: Vec<Warning>,
    /// Presented spans of the sentences.
    sentences: Vec<Span>,
    entities: Vec<String>,
    mentions: Vec<PlannedMention>,
    sequences: Vec<Sequence>,
    /// Targets of the spans of each sequence, in their order.
    readings: Vec<Vec<Reading>>,
    /// Length of each sentence in tokens.
    sentence_tokens: Vec<usize>,
    tokens: usize,
}

#[derive(Debug)]
struct PlannedMention {
    mention: Mention,
    sentence_index: usize,
    tokens: Range<usize>,
}

/// Target of a span of a sequence.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// A sentence, or `tokens` of its tokens where it stands in several windows.
    Sentence { index: usize, tokens: usize },
    /// A mention.
    Mention(usize),
    /// An entity that the text does not name.
    Implicit(usize),
}

/// What is to be read in a window.
#[derive(Debug)]
struct Content {
    window: Window,
    /// Sentences that have tokens in it, each with these.
    sentences: Vec<(usize, Range<usize>)>,
    /// Mentions that are read in it, each with the tokens that it has there.
    mentions: Vec<(usize, Range<usize>)>,
}

/// Tokens of a long sentence that two windows share, so that no clause is read without its neighbour.
const OVERLAP_TOKENS: usize = 24;
/// An entity's name is read up to this many tokens behind the separator.
const ENTITY_TOKENS: usize = 32;

impl Plan {
    /// Segments, matches, tokenises and packs `document`.
    pub(super) fn new(
        document: &Document,
        choice: LanguageChoice,
        language: Language,
        detection: Detection,
        model: &Model,
    ) -> Result<Self, DocumentError> {
        let text = document.text.as_str();
        if text.trim().is_empty() {
            return Err(DocumentError::Blank);
        }
        let tiles = sentences(text, language);
        let found = mentions_of(document, language, &tiles)?;
        let masked = names_in(document, language, &found, &model.encoder);
        let tokens = model.encoder.tokens(text, tiles.iter().map(|tile| tile.end));
        let tokens = model.encoder.mask(tokens, &masked);
        let mentions = place(found, &tiles, &tokens);

        let mut plan = Self {
            language,
            warnings: language_warnings(choice, language, &detection).into_iter().collect(),
            detection,
            sentences: tiles.iter().map(|tile| tile.trim(text)).collect(),
            entities: document.entities.clone(),
            mentions,
            sequences: Vec::new(),
            readings: Vec::new(),
            sentence_tokens: Vec::new(),
            tokens: tokens.len(),
        };
        let tiling = tile_tokens(&tokens, &tiles);
        plan.sentence_tokens = tiling.iter().map(ExactSizeIterator::len).collect();
        plan.lay_out(text, &tokens, &tiling, model);
        Ok(plan)
    }

    /// Moves the sequences out of the plan, for the engine.
    pub(super) fn take_sequences(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.sequences)
    }

    /// Computes the scores of the document from the outputs of its sequences.
    pub(super) fn aggregate(
        self,
        outputs: &[Option<SequenceOutput>],
    ) -> Result<DocumentAnalysis, DocumentError> {
        let mut sentence_pieces: Vec<Vec<(Distribution, usize)>> = vec![Vec::new(); self.sentences.len()];
        let mut mention_scores = vec![None; self.mentions.len()];
        let mut implicit_scores: Vec<Vec<Distribution>> = vec![Vec::new(); self.entities.len()];
        for (readings, output) in self.readings.iter().zip(outputs) {
            let output = output.as_ref().ok_or(DocumentError::Model)?;
            let logits = output.rows(Task::LOGITS).ok_or(DocumentError::Model)?;
            for (reading, logits) in readings.iter().zip(logits) {
                let logits = logits.try_into().map_err(|_| DocumentError::Model)?;
                let score = Distribution::from_logits(logits);
                match *reading {
                    Reading::Sentence { index, tokens } => sentence_pieces[index].push((score, tokens)),
                    Reading::Mention(index) => mention_scores[index] = Some(score),
                    Reading::Implicit(entity) => implicit_scores[entity].push(score),
                }
            }
        }

        let sentence_scores: Vec<Distribution> = sentence_pieces
            .iter()
            .map(|pieces| if pieces.is_empty() { Distribution::NEUTRAL } else { aggregate::sentence(pieces) })
            .collect();
        let weighted: Vec<_> =
            sentence_scores.iter().copied().zip(self.sentence_tokens.iter().copied()).collect();
        let mut mentions: Vec<Vec<MentionAnalysis>> = self.entities.iter().map(|_| Vec::new()).collect();
        for (planned, score) in self.mentions.iter().zip(mention_scores) {
            let Mention { entity, span, form } = planned.mention;
            let sentiment = score.ok_or(DocumentError::Model)?;
            mentions[entity].push(MentionAnalysis {
                span,
                sentence_index: planned.sentence_index,
                form,
                sentiment,
            });
        }
        let entities = self
            .entities
            .into_iter()
            .zip(mentions)
            .zip(implicit_scores)
            .map(|((entity, mentions), implicit)| {
                let scores: Vec<_> = mentions.iter().map(|mention| mention.sentiment).collect();
                let sentiment = if scores.is_empty() {
                    aggregate::implicit(&implicit)
                } else {
                    aggregate::entity(&scores)
                };
                EntityAnalysis { entity, sentiment, mentions }
            })
            .collect();
        Ok(DocumentAnalysis {
            language: self.language,
            detection: self.detection,
            sentiment: aggregate::document(&weighted),
            sentences: self
                .sentences
                .into_iter()
                .zip(sentence_scores)
                .map(|(span, sentiment)| SentenceAnalysis { span, sentiment })
                .collect(),
            entities,
            warnings: self.warnings,
            tokens: self.tokens,
        })
    }

    /// Packs the tokens into windows, and builds the sequences that read them.
    fn lay_out(&mut self, text: &str, tokens: &Tokens, tiling: &[Range<usize>], model: &Model) {
        let manifest = &model.manifest;
        // Half of what the model can read is kept for the entities behind the window.
        let limits = Limits {
            best_tokens: manifest.window_tokens - 2,
            max_tokens: (manifest.max_tokens / 2).max(manifest.window_tokens) - 2,
            overlap_tokens: OVERLAP_TOKENS,
        };
        let mention_tokens: Vec<_> = self.mentions.iter().map(|mention| mention.tokens.clone()).collect();
        let ends_clause = |index: usize| {
            tokens
                .spans
                .get(index)
                .is_some_and(|span| matches!(span.slice(text), "," | ";" | ":" | ")" | "–" | "—"))
        };
        let mut packed = windows(tiling, &mention_tokens, ends_clause, limits);
        if packed.is_empty() {
            // Nothing but marks that the tokenizer drops: entities are still read, against an empty window.
            packed.push(Window { tokens: 0..0 });
        }
        let contents = contents_of(&packed, tiling, &mention_tokens);
        let mut pieces = vec![0; tiling.len()];
        for (index, _) in contents.iter().flat_map(|content| &content.sentences) {
            pieces[*index] += 1;
        }
        for (index, part) in contents.iter().flat_map(|content| &content.mentions) {
            if *part != mention_tokens[*index] {
                self.warn(Warning::LongEntity { entity_index: self.mentions[*index].mention.entity });
            }
        }
        match manifest.signature {
            Signature::Span => {
                let room = manifest.max_tokens - limits.max_tokens - 2;
                self.lay_out_spans(tokens, &contents, model, room);
            }
            Signature::Pair => self.lay_out_pairs(tokens, &contents, model),
        }
        self.warn_of_splits(packed.len(), &pieces, manifest.window_tokens);
    }

    /// Adds a sequence for each window, and more if the entities behind it need more than `room` tokens.
    fn lay_out_spans(&mut self, tokens: &Tokens, contents: &[Content], model: &Model, room: usize) {
        let implicit = self.implicit_entities(model);
        let groups = group_by_length(&implicit, room);
        for Content { window, sentences, mentions } in contents {
            let parts = sentences.iter().chain(mentions).map(|(_, part)| sequence_span(part, window));
            let mut spans: Vec<SequenceSpan> = parts.collect();
            let of_sentences =
                sentences.iter().map(|(index, part)| Reading::Sentence { index: *index, tokens: part.len() });
            let of_mentions = mentions.iter().map(|&(index, _)| Reading::Mention(index));
            let mut readings: Vec<Reading> = of_sentences.chain(of_mentions).collect();
            let ids = &tokens.ids[window.tokens.clone()];
            for (number, group) in groups.iter().enumerate() {
                let names: Vec<&[u32]> = group.iter().map(|&index| implicit[index].1.as_slice()).collect();
                let (mut sequence, places) = model.encoder.sequence(ids, &names);
                // The text itself is scored in the first of its sequences only.
                let mut sequence_readings = Vec::new();
                if number == 0 {
                    sequence.spans.append(&mut spans);
                    sequence_readings.append(&mut readings);
                }
                for (&index, place) in group.iter().zip(places) {
                    if let Some(place) = place {
                        sequence.spans.push(place);
                        sequence_readings.push(Reading::Implicit(implicit[index].0));
                    }
                }
                if !sequence.spans.is_empty() {
                    self.sequences.push(sequence);
                    self.readings.push(sequence_readings);
                }
            }
        }
    }

    /// For a model that reads a text and an entity as a pair: adds a sequence for each sentence, with nothing as its second
    /// part, and one for each window and entity, which is read for all mentions of the entity that the window has.
    fn lay_out_pairs(&mut self, tokens: &Tokens, contents: &[Content], model: &Model) {
        let names: Vec<Vec<u32>> =
            (0..self.entities.len()).map(|entity| self.entity_ids(entity, model)).collect();
        let is_named: Vec<bool> = (0..self.entities.len())
            .map(|entity| self.mentions.iter().any(|planned| planned.mention.entity == entity))
            .collect();
        for Content { window, sentences, mentions } in contents {
            for (index, part) in sentences {
                let reading = Reading::Sentence { index: *index, tokens: part.len() };
                self.push_pair(&tokens.ids[part.clone()], &[], vec![reading], model);
            }
            let ids = &tokens.ids[window.tokens.clone()];
            for (entity, name) in names.iter().enumerate() {
                let readings: Vec<Reading> = if is_named[entity] {
                    let indices = mentions.iter().map(|&(index, _)| index);
                    let of_entity = indices.filter(|&index| self.mentions[index].mention.entity == entity);
                    of_entity.map(Reading::Mention).collect()
                } else if name.is_empty() {
                    Vec::new()
                } else {
                    vec![Reading::Implicit(entity)]
                };
                self.push_pair(ids, name, readings, model);
            }
        }
    }

    /// Adds a sequence that reads `text` and `entity` as a pair, unless it has no target.
    fn push_pair(&mut self, text: &[u32], entity: &[u32], readings: Vec<Reading>, model: &Model) {
        if readings.is_empty() {
            return;
        }
        let (mut sequence, _) = model.encoder.sequence(text, &[entity]);
        // A pair is scored as a whole: what counts is how many readings there are.
        sequence.spans = vec![SequenceSpan::new(0, 0); readings.len()];
        self.sequences.push(sequence);
        self.readings.push(readings);
    }

    /// The entities without a mention, with the tokens of their names.
    fn implicit_entities(&mut self, model: &Model) -> Vec<(usize, Vec<u32>)> {
        let mut mentioned = vec![false; self.entities.len()];
        for planned in &self.mentions {
            mentioned[planned.mention.entity] = true;
        }
        let implicit = (0..self.entities.len()).filter(|&entity| !mentioned[entity]);
        implicit.map(|entity| (entity, self.entity_ids(entity, model))).collect()
    }

    /// The tokens of an entity's name, which count as tokens of the request.
    fn entity_ids(&mut self, entity: usize, model: &Model) -> Vec<u32> {
        let (ids, cut) = model.encoder.entity_tokens(&self.entities[entity], ENTITY_TOKENS);
        if cut {
            self.warn(Warning::LongEntity { entity_index: entity });
        }
        self.tokens += ids.len();
        ids
    }

    fn warn_of_splits(&mut self, windows: usize, pieces: &[usize], window_tokens: usize) {
        if windows > 1 {
            self.warnings.push(Warning::SplitIntoWindows { windows, window_tokens });
        }
        for (sentence_index, &pieces) in pieces.iter().enumerate() {
            if pieces > 1 {
                self.warnings.push(Warning::SplitSentence { sentence_index, pieces });
            }
        }
    }

    fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

fn language_warnings(choice: LanguageChoice, language: Language, detection: &Detection) -> Option<Warning> {
    if detection.language == Some(language) {
        None
    } else if detection.is_reliable() {
        Some(Warning::OtherLanguage { detected: detection.code.clone(), scored_as: language })
    } else {
        (choice == LanguageChoice::Auto).then_some(Warning::UnknownLanguage { scored_as: language })
    }
}

/// The mentions of a document: those that the caller gives, or those that are found.
fn mentions_of(
    document: &Document,
    language: Language,
    tiles: &[Span],
) -> Result<Vec<Mention>, DocumentError> {
    let find = || EntityMatcher::new(&document.entities, language).find(&document.text);
    Ok(match &document.mentions {
        MentionSource::Find => find(),
        MentionSource::FindWithPronouns => pronoun::follow(&document.text, language, tiles, find()),
        MentionSource::Given(places) => given_mentions(document, places)?,
    })
}

/// Finds the places of names that the model reads masked: mentions, and wherever else the text has the name.
fn names_in(document: &Document, language: Language, mentions: &[Mention], encoder: &Encoder) -> Vec<Span> {
    let masks: Vec<bool> = document.entities.iter().map(|entity| encoder.masks(entity)).collect();
    if !masks.contains(&true) {
        return Vec::new();
    }
    let elsewhere = match &document.mentions {
        MentionSource::Find | MentionSource::FindWithPronouns => Vec::new(),
        MentionSource::Given(_) => EntityMatcher::new(&document.entities, language).find(&document.text),
    };
    let names = mentions.iter().chain(&elsewhere).filter(|mention| masks[mention.entity]);
    let readable = names.filter(|mention| match mention.form {
        MatchForm::Exact | MatchForm::Inflected => true,
        // One that is written as one word says more than the name in it.
        MatchForm::Compound => {
            let surface = mention.span.slice(&document.text);
            surface.chars().count() <= document.entities[mention.entity].chars().count()
        }
        MatchForm::Pronoun => false,
    });
    readable.map(|mention| mention.span).collect()
}

/// Gives each mention its sentence and its tokens; one that no token touches (an entity of marks that the tokenizer
/// drops) takes the token that follows it.
fn place(mentions: Vec<Mention>, tiles: &[Span], tokens: &Tokens) -> Vec<PlannedMention> {
    if tokens.is_empty() {
        return Vec::new();
    }
    let planned = mentions.into_iter().map(|mention| {
        let covering = tokens.covering(mention.span);
        let start = covering.start.min(tokens.len() - 1);
        let range = start..covering.end.max(start + 1);
        let after = tiles.partition_point(|tile| tile.start <= mention.span.start);
        PlannedMention { mention, sentence_index: after.saturating_sub(1), tokens: range }
    });
    planned.collect()
}

fn given_mentions(document: &Document, places: &[(usize, Span)]) -> Result<Vec<Mention>, DocumentError> {
    let text = document.text.as_str();
    let check = |(index, &(entity, span)): (usize, &(usize, Span))| {
        let inside = text.is_char_boundary(span.start) && text.is_char_boundary(span.end) && !span.is_empty();
        if inside && entity < document.entities.len() {
            Ok(Mention { entity, span, form: MatchForm::Exact })
        } else {
            Err(DocumentError::MentionOutside { index })
        }
    };
    let mut mentions = places.iter().enumerate().map(check).collect::<Result<Vec<_>, _>>()?;
    mentions.sort_by_key(|mention| (mention.span, mention.entity));
    Ok(mentions)
}

/// The tokens of each sentence; together they are all tokens. A token belongs to the sentence that it starts in.
fn tile_tokens(tokens: &Tokens, tiles: &[Span]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut ranges = Vec::with_capacity(tiles.len());
    for (index, tile) in tiles.iter().enumerate() {
        let end = if index + 1 == tiles.len() {
            tokens.len()
        } else {
            start + tokens.spans[start..].partition_point(|token| token.start < tile.end)
        };
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// What is to be read in each window.
fn contents_of(packed: &[Window], tiling: &[Range<usize>], mentions: &[Range<usize>]) -> Vec<Content> {
    let mut first_sentence = 0;
    let with_mentions = packed.iter().zip(mentions_by_window(mentions, packed));
    with_mentions
        .map(|(window, read)| {
            while tiling.get(first_sentence).is_some_and(|tile| tile.end <= window.tokens.start) {
                first_sentence += 1;
            }
            let touched = tiling.iter().enumerate().skip(first_sentence);
            let touched = touched.take_while(|(_, tile)| tile.start < window.tokens.end);
            let parts = touched.map(|(index, tile)| (index, intersection(tile, &window.tokens)));
            let read = read.into_iter().map(|index| (index, intersection(&mentions[index], &window.tokens)));
            Content {
                window: window.clone(),
                sentences: parts.filter(|(_, part)| !part.is_empty()).collect(),
                mentions: read.collect(),
            }
        })
        .collect()
}

/// For each window the mentions that are read in it: each in exactly one, that where it has most context; one
/// that is whole in none, in the first window that it touches.
fn mentions_by_window(mentions: &[Range<usize>], windows: &[Window]) -> Vec<Vec<usize>> {
    let mut read = vec![Vec::new(); windows.len()];
    for (index, window) in assign(windows, mentions).into_iter().enumerate() {
        let first_touched = || windows.partition_point(|window| window.tokens.end <= mentions[index].start);
        read[window.unwrap_or_else(first_touched)].push(index);
    }
    read
}

/// Splits entities into groups that fit behind one window; always at least one group, which may be empty.
fn group_by_length(entities: &[(usize, Vec<u32>)], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new()];
    let mut length = 0;
    for (index, (_, ids)) in entities.iter().enumerate() {
        if length + ids.len() + 1 > max_tokens && length > 0 {
            groups.push(Vec::new());
            length = 0;
        }
        length += ids.len() + 1;
        if let Some(group) = groups.last_mut() {
            group.push(index);
        }
    }
    groups
}

fn intersection(left: &Range<usize>, right: &Range<usize>) -> Range<usize> {
    let start = left.start.max(right.start);
    start..left.end.min(right.end).max(start)
}

/// The place of `part` in the sequence of `window`: one token later, because of the special token at the start.
fn sequence_span(part: &Range<usize>, window: &Window) -> SequenceSpan {
    SequenceSpan::new(part.start - window.tokens.start + 1, part.end - window.tokens.start)
}
