//! Builds the sequences of a document from its tokens.

use std::collections::BTreeMap;
use std::ops::Range;

use sentor_engine::encode::{SequenceSpan, Tokens};
use sentor_engine::registry::Signature;
use sentor_text::window::{Limits, Window, assign, windows};

use super::{Bounds, Plan, PlanError, Reading};
use crate::Warning;
use crate::model::Model;

/// The content of a window.
#[derive(Debug)]
struct Content {
    window: Window,
    /// Sentences with tokens in it, each with these tokens.
    sentences: Vec<(usize, Range<usize>)>,
    /// Mentions scored in it, each with its tokens there.
    mentions: Vec<(usize, Range<usize>)>,
}

/// The tokens of an entity's name.
struct Name {
    /// Index among the distinct entities.
    entity: usize,
    ids: Vec<u32>,
}

/// Tokens of a long sentence that two windows share, so that no clause is read without its neighbour.
const OVERLAP_TOKENS: usize = 24;
/// Maximum tokens of an entity's name behind the separator.
const ENTITY_TOKENS: usize = 32;
/// Special tokens around a window.
const WINDOW_MARKS: usize = 2;

impl Plan {
    /// Packs the tokens into windows, and builds the sequences that read them.
    pub(super) fn lay_out(
        &mut self,
        text: &str,
        tokens: &Tokens,
        tiling: &[Range<usize>],
        model: &Model,
        bounds: &Bounds<'_>,
    ) -> Result<(), PlanError> {
        let manifest = &model.manifest;
        // Half of the model's maximum is kept for the entities behind the window.
        let limits = Limits {
            best_tokens: manifest.window_tokens - WINDOW_MARKS,
            max_tokens: (manifest.max_tokens / 2).max(manifest.window_tokens) - WINDOW_MARKS,
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
            // The text consists of marks that the tokenizer drops. Entities are scored with an empty window.
            packed.push(Window { tokens: 0..0 });
        }
        let contents = contents_of(&packed, tiling, &mention_tokens);
        bounds.stop.check()?;
        let mut pieces = vec![0; tiling.len()];
        for (index, _) in contents.iter().flat_map(|content| &content.sentences) {
            pieces[*index] += 1;
        }
        let mut is_long = vec![false; self.entities.len()];
        for (index, part) in contents.iter().flat_map(|content| &content.mentions) {
            is_long[self.mentions[*index].mention.entity] |= *part != mention_tokens[*index];
        }
        self.warn_of_long_entities(&is_long);
        match manifest.signature {
            Signature::Span => {
                let room = manifest.max_tokens - limits.max_tokens - WINDOW_MARKS;
                self.lay_out_spans(tokens, &contents, model, room, bounds)?;
            }
            Signature::Pair => self.lay_out_pairs(tokens, &contents, model, bounds)?,
            // `Analyzer::start` routes no language to a model that scores nothing.
            Signature::Text => {}
        }
        self.warn_of_splits(packed.len(), &pieces, manifest.window_tokens);
        Ok(())
    }

    /// Adds a sequence for each window, and more if the entities behind it need more than `room` tokens.
    fn lay_out_spans(
        &mut self,
        tokens: &Tokens,
        contents: &[Content],
        model: &Model,
        room: usize,
        bounds: &Bounds<'_>,
    ) -> Result<(), PlanError> {
        let is_mentioned = self.are_mentioned();
        let implicit = (0..self.entities.len()).filter(|&entity| !is_mentioned[entity]).collect();
        let implicit = self.names(implicit, model, bounds)?;
        let groups = group_by_length(&implicit, room);
        // Every window is read with every group. The product can be immense, so it is counted before anything is built.
        let window_tokens: usize =
            contents.iter().map(|content| content.window.tokens.len() + WINDOW_MARKS).sum();
        let name_tokens: usize = implicit.iter().map(|name| name.ids.len() + 1).sum();
        let sequence_tokens = window_tokens
            .saturating_mul(groups.len())
            .saturating_add(name_tokens.saturating_mul(contents.len()));
        bounds.admit_document(sequence_tokens, window_tokens)?;
        for Content { window, sentences, mentions } in contents {
            bounds.stop.check()?;
            let parts = sentences.iter().chain(mentions).map(|(_, part)| sequence_span(part, window));
            let mut spans: Vec<SequenceSpan> = parts.collect();
            let of_sentences =
                sentences.iter().map(|(index, part)| Reading::Sentence { index: *index, tokens: part.len() });
            let of_mentions = mentions.iter().map(|&(index, _)| Reading::Mention(index));
            let mut readings: Vec<Reading> = of_sentences.chain(of_mentions).collect();
            let ids = &tokens.ids[window.tokens.clone()];
            for (number, group) in groups.iter().enumerate() {
                let names: Vec<&[u32]> = group.iter().map(|&index| implicit[index].ids.as_slice()).collect();
                let (mut sequence, places) = model.encoder.sequence(ids, &names);
                // Only the first sequence of a window scores the text itself.
                let mut sequence_readings = Vec::new();
                if number == 0 {
                    sequence.spans.append(&mut spans);
                    sequence_readings.append(&mut readings);
                }
                for (&index, place) in group.iter().zip(places) {
                    if let Some(place) = place {
                        sequence.spans.push(place);
                        sequence_readings.push(Reading::Implicit(implicit[index].entity));
                    }
                }
                if !sequence.spans.is_empty() {
                    self.sequences.push(sequence);
                    self.readings.push(sequence_readings);
                }
            }
        }
        Ok(())
    }

    /// For a model that reads a text and an entity as a pair: adds a sequence for each sentence, with an empty second
    /// part, and one for each window and entity, which scores all mentions of the entity in the window.
    fn lay_out_pairs(
        &mut self,
        tokens: &Tokens,
        contents: &[Content],
        model: &Model,
        bounds: &Bounds<'_>,
    ) -> Result<(), PlanError> {
        let names = self.names((0..self.entities.len()).collect(), model, bounds)?;
        let is_mentioned = self.are_mentioned();
        let pair_tokens = |text: usize, name: usize| text + WINDOW_MARKS + name + 1;
        let is_implicit = |name: &&Name| !is_mentioned[name.entity] && !name.ids.is_empty();
        let implicit: Vec<&Name> = names.iter().filter(is_implicit).collect();
        let implicit_tokens: usize = implicit.iter().map(|name| pair_tokens(0, name.ids.len())).sum();
        let mentioned: Vec<BTreeMap<usize, Vec<Reading>>> = contents
            .iter()
            .map(|content| {
                let mut readings: BTreeMap<usize, Vec<Reading>> = BTreeMap::new();
                for &(index, _) in &content.mentions {
                    let entity = self.mentions[index].mention.entity;
                    readings.entry(entity).or_default().push(Reading::Mention(index));
                }
                readings
            })
            .collect();
        let sequence_tokens = contents.iter().zip(&mentioned).map(|(content, mentioned)| {
            let window = content.window.tokens.len();
            let sentences: usize = content.sentences.iter().map(|(_, part)| pair_tokens(part.len(), 0)).sum();
            let with_mentions: usize =
                mentioned.keys().map(|&entity| pair_tokens(window, names[entity].ids.len())).sum();
            sentences + with_mentions + implicit_tokens + window.saturating_mul(implicit.len())
        });
        let sequence_tokens = sequence_tokens.fold(0, usize::saturating_add);
        let text_tokens = contents.iter().map(|content| content.window.tokens.len()).sum();
        bounds.admit_document(sequence_tokens, text_tokens)?;
        for (Content { window, sentences, .. }, mut mentioned) in contents.iter().zip(mentioned) {
            bounds.stop.check()?;
            for (index, part) in sentences {
                let reading = Reading::Sentence { index: *index, tokens: part.len() };
                self.push_pair(&tokens.ids[part.clone()], &[], vec![reading], model);
            }
            let ids = &tokens.ids[window.tokens.clone()];
            for name in &implicit {
                mentioned.insert(name.entity, vec![Reading::Implicit(name.entity)]);
            }
            for (entity, readings) in mentioned {
                self.push_pair(ids, &names[entity].ids, readings, model);
            }
        }
        Ok(())
    }

    /// Adds a sequence that reads `text` and `entity` as a pair.
    fn push_pair(&mut self, text: &[u32], entity: &[u32], readings: Vec<Reading>, model: &Model) {
        let (mut sequence, _) = model.encoder.sequence(text, &[entity]);
        // A pair is scored as a whole, so only the number of readings matters.
        sequence.spans = vec![SequenceSpan::new(0, 0); readings.len()];
        self.sequences.push(sequence);
        self.readings.push(readings);
    }

    /// Whether the text mentions each of the distinct entities.
    fn are_mentioned(&self) -> Vec<bool> {
        let mut are_mentioned = vec![false; self.entities.len()];
        for planned in &self.mentions {
            are_mentioned[planned.mention.entity] = true;
        }
        are_mentioned
    }

    /// Tokenizes the names of `entities`; these tokens count toward the request.
    fn names(
        &mut self,
        entities: Vec<usize>,
        model: &Model,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<Name>, PlanError> {
        let mut names = Vec::with_capacity(entities.len());
        let mut is_long = vec![false; self.entities.len()];
        for entity in entities {
            bounds.stop.check()?;
            let (ids, cut) = model.encoder.entity_tokens(&self.entities[entity], ENTITY_TOKENS);
            is_long[entity] = cut;
            self.tokens += ids.len();
            names.push(Name { entity, ids });
        }
        self.warn_of_long_entities(&is_long);
        Ok(names)
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
}

/// Returns the content of each window.
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

/// Returns for each window the mentions that are scored in it. Each mention is in one window: the one with the most
/// context, or, if no window contains it, the first that it touches.
fn mentions_by_window(mentions: &[Range<usize>], windows: &[Window]) -> Vec<Vec<usize>> {
    let mut read = vec![Vec::new(); windows.len()];
    for (index, window) in assign(windows, mentions).into_iter().enumerate() {
        let first_touched = || windows.partition_point(|window| window.tokens.end <= mentions[index].start);
        read[window.unwrap_or_else(first_touched)].push(index);
    }
    read
}

/// Splits names into groups that fit behind one window; always at least one group, which may be empty.
fn group_by_length(names: &[Name], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new()];
    let mut length = 0;
    for (index, Name { ids, .. }) in names.iter().enumerate() {
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

/// Returns the place of `part` in the sequence of `window`: one token later, after the special token at the start.
fn sequence_span(part: &Range<usize>, window: &Window) -> SequenceSpan {
    SequenceSpan::new(part.start - window.tokens.start + 1, part.end - window.tokens.start)
}
