//! The plan of one document: the sequences that read it, and how their outputs become its scores.

mod discovery;
mod layout;
mod mentions;
mod scores;

use std::collections::HashMap;
use std::ops::Range;

use sentor_engine::encode::{Sequence, Tokens};
use sentor_text::discover::Kind;
use sentor_text::is_blank;
use sentor_text::language::{Detection, Language, LanguageChoice};
use sentor_text::mention::{EntityMatcher, Mention, near_spellings};
use sentor_text::segment::sentences;
use sentor_text::span::Span;

use crate::model::Model;
use crate::results::{ENTITY_BYTES, MENTION_BYTES, SENTENCE_BYTES};
use crate::stop::StopSignal;
use crate::{AnalysisError, Document, DocumentError, MentionSource, Warning};
use mentions::{find_mentions, masked_names, place};

/// A document ready to be scored: its sequences, and the target of each of their spans.
#[derive(Debug)]
pub(crate) struct Plan {
    language: Language,
    detection: Detection,
    warnings: Vec<Warning>,
    /// Spans of the sentences in the answer.
    sentences: Vec<Span>,
    /// The requested entities in their order, each with its place in `entities`.
    requested: Vec<Requested>,
    /// The distinct entities, and behind them what was discovered.
    entities: Vec<String>,
    /// What the entities behind the requested ones are; `None` where they are not asked for.
    discovered: Option<Vec<Kind>>,
    /// Mentions of the distinct entities.
    mentions: Vec<PlannedMention>,
    /// Number of further mentions in the text.
    left_out: usize,
    max_mentions: usize,
    sequences: Vec<Sequence>,
    /// Targets of the spans of each sequence, in their order.
    readings: Vec<Vec<Reading>>,
    /// Length of each sentence in tokens.
    sentence_tokens: Vec<usize>,
    tokens: usize,
}

/// An entity as it was requested.
#[derive(Debug)]
struct Requested {
    name: String,
    group: Option<String>,
    /// Which of the distinct entities it is.
    distinct: usize,
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
    /// A sentence, or `tokens` of its tokens if it is in several windows.
    Sentence { index: usize, tokens: usize },
    /// A mention.
    Mention(usize),
    /// An entity that the text does not mention.
    Implicit(usize),
}

/// A document with its language and model.
pub(crate) struct Input<'a> {
    pub(crate) document: &'a Document,
    pub(crate) choice: LanguageChoice,
    pub(crate) language: Language,
    pub(crate) detection: Detection,
    pub(crate) model: &'a Model,
    pub(crate) bounds: &'a Bounds<'a>,
}

/// The bounds of the work on one request.
pub(crate) struct Bounds<'a> {
    /// Stops planning when the answer is no longer wanted.
    pub(crate) stop: &'a StopSignal,
    /// Most mentions of a document that are scored and listed.
    pub(crate) max_mentions: usize,
    /// Most tokens of the sequences of one document, unless its text alone has more.
    pub(crate) max_tokens: usize,
    /// Most tokens of a text.
    pub(crate) max_text_tokens: usize,
    /// Told of what the answer will hold at least, in bytes, before it is made.
    pub(crate) expect_answer: &'a (dyn Fn(usize) -> Result<(), AnalysisError> + Sync),
    /// Asked before sequences are built, with the number of their tokens.
    pub(crate) admit: &'a (dyn Fn(usize) -> Result<(), AnalysisError> + Sync),
}

impl Bounds<'_> {
    /// Checks whether sequences of this many tokens may be built for a document whose text alone has `text_tokens`.
    ///
    /// # Errors
    ///
    /// If its entities make it too large, or the engine cannot score it in time.
    fn admit_document(&self, sequence_tokens: usize, text_tokens: usize) -> Result<(), PlanError> {
        // Sentences that are read as pairs, and the first group of entities, can double the tokens.
        let most = self.max_tokens.max(text_tokens.saturating_mul(4));
        if sequence_tokens > most {
            return Err(DocumentError::TooManyTokens { tokens: sequence_tokens, most }.into());
        }
        (self.admit)(sequence_tokens)?;
        Ok(())
    }
}

/// Why a document has no plan.
pub(crate) enum PlanError {
    /// This document cannot be scored.
    Document(DocumentError),
    /// The request is not scored.
    Request(AnalysisError),
}

impl From<DocumentError> for PlanError {
    fn from(error: DocumentError) -> Self {
        Self::Document(error)
    }
}

impl From<AnalysisError> for PlanError {
    fn from(error: AnalysisError) -> Self {
        Self::Request(error)
    }
}

impl Plan {
    /// Segments, matches, tokenizes and packs a document.
    pub(crate) fn new(input: Input<'_>) -> Result<Self, PlanError> {
        let Input { document, choice, language, detection, model, bounds } = input;
        let text = document.text.as_str();
        if is_blank(text) {
            return Err(DocumentError::Blank.into());
        }
        bounds.stop.check()?;
        let tiles = sentences(text, language);
        bounds.stop.check()?;
        (bounds.expect_answer)(tiles.len() * SENTENCE_BYTES + document.entities.len() * ENTITY_BYTES)?;
        let entities = Entities::from_document(document);
        let mut found = find_mentions(document, &entities, language, &tiles, bounds)?;
        bounds.stop.check()?;
        (bounds.expect_answer)(found.mentions.len() * MENTION_BYTES)?;
        let near = entities.near_spellings(document, &found.mentions);
        let Entities { requested, mut distinct, .. } = entities;
        let masked = masked_names(document, &distinct, language, &found.mentions, &model.encoder);
        // What is discovered is not masked, so that the other scores are those without it.
        let discovered = document
            .extras
            .discover
            .then(|| discovery::add(text, language, &tiles, bounds.max_mentions, &mut distinct, &mut found));
        bounds.stop.check()?;
        let tokens = tokens_of(text, &tiles, model, bounds)?;
        let tokens = model.encoder.mask(tokens, &masked);
        bounds.stop.check()?;

        let tiling = tile_tokens(&tokens, &tiles);
        let mut plan = Self {
            language,
            warnings: language_warnings(choice, language, &detection).into_iter().chain(near).collect(),
            detection,
            sentences: tiles.iter().map(|tile| tile.trim(text)).collect(),
            requested,
            entities: distinct,
            discovered,
            mentions: place(found.mentions, &tiles, &tokens),
            left_out: found.left_out,
            max_mentions: bounds.max_mentions,
            sequences: Vec::new(),
            readings: Vec::new(),
            sentence_tokens: tiling.iter().map(ExactSizeIterator::len).collect(),
            tokens: tokens.len(),
        };
        plan.lay_out(text, &tokens, &tiling, model, bounds)?;
        Ok(plan)
    }

    /// Moves the sequences out of the plan, for the engine.
    pub(crate) fn take_sequences(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.sequences)
    }

    /// Adds a warning for each requested entity whose distinct entity is marked in `is_long`.
    fn warn_of_long_entities(&mut self, is_long: &[bool]) {
        let long = self.requested.iter().enumerate().filter(|(_, entity)| is_long[entity.distinct]);
        for (entity_index, _) in long {
            let warning = Warning::LongEntity { entity_index };
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

/// The entities of a document.
struct Entities {
    requested: Vec<Requested>,
    distinct: Vec<String>,
    /// Of each distinct entity.
    aliases: Vec<Vec<String>>,
}

impl Entities {
    /// Equal names with equal aliases are one entity, unless the caller provides the mentions.
    fn from_document(document: &Document) -> Self {
        let mut places: HashMap<(&str, &[String]), usize> = HashMap::new();
        let mut entities = Self { requested: Vec::new(), distinct: Vec::new(), aliases: Vec::new() };
        for (index, name) in document.entities.iter().enumerate() {
            let labels = document.extras.labels.get(index);
            let aliases = labels.map_or(&[][..], |labels| &labels.aliases);
            let next = entities.distinct.len();
            let place = match &document.mentions {
                MentionSource::Find | MentionSource::FindWithPronouns => {
                    *places.entry((name, aliases)).or_insert(next)
                }
                MentionSource::Given(_) => next,
            };
            if place == next {
                entities.distinct.push(name.clone());
                entities.aliases.push(aliases.to_vec());
            }
            let group = labels.and_then(|labels| labels.group.clone());
            entities.requested.push(Requested { name: name.clone(), group, distinct: place });
        }
        entities
    }

    /// Finds the mentions of all names.
    fn matcher(&self, language: Language) -> EntityMatcher {
        let names = self.distinct.iter().zip(&self.aliases);
        let names = names.map(|(name, aliases)| std::iter::once(name).chain(aliases).map(String::as_str));
        EntityMatcher::with_aliases(names, language)
    }

    /// Warnings of entities that the text does not name, but nearly.
    fn near_spellings(&self, document: &Document, mentions: &[Mention]) -> Vec<Warning> {
        if matches!(document.mentions, MentionSource::Given(_)) {
            return Vec::new();
        }
        let mut is_mentioned = vec![false; self.distinct.len()];
        for mention in mentions {
            is_mentioned[mention.entity] = true;
        }
        let missed: Vec<usize> = (0..self.distinct.len()).filter(|&entity| !is_mentioned[entity]).collect();
        if missed.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> = missed.iter().map(|&entity| self.distinct[entity].as_str()).collect();
        let near = near_spellings(&document.text, &names);
        let warnings = missed.iter().zip(near).filter_map(|(&entity, span)| {
            let entity_index = self.requested.iter().position(|requested| requested.distinct == entity)?;
            Some(Warning::NearSpelling { entity_index, found: span?.slice(&document.text).to_owned() })
        });
        warnings.collect()
    }
}

fn language_warnings(choice: LanguageChoice, language: Language, detection: &Detection) -> Option<Warning> {
    let is_guess = choice == LanguageChoice::Auto && detection.confidence < Detection::GUESS;
    if detection.language == Some(language) {
        is_guess.then_some(Warning::UnknownLanguage { scored_as: language })
    } else if detection.is_reliable() {
        Some(Warning::OtherLanguage { detected: detection.code.clone(), scored_as: language })
    } else {
        (choice == LanguageChoice::Auto).then_some(Warning::UnknownLanguage { scored_as: language })
    }
}

/// The tokens of a text.
///
/// # Errors
///
/// If they are too many, or nobody waits for them any more.
fn tokens_of(text: &str, tiles: &[Span], model: &Model, bounds: &Bounds<'_>) -> Result<Tokens, PlanError> {
    let most = bounds.max_text_tokens;
    let go_on = |tokens: usize| tokens <= most && !bounds.stop.is_raised();
    let tokens = model.encoder.tokens_while(text, tiles.iter().map(|tile| tile.end), go_on);
    if let Some(tokens) = tokens {
        return Ok(tokens);
    }
    bounds.stop.check()?;
    Err(DocumentError::TooManyTokens { tokens: most + 1, most }.into())
}

/// Returns the tokens of each sentence, which tile all tokens. A token belongs to the sentence in which it starts.
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
