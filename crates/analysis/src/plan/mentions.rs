//! The mentions of a document, and the names in it that are masked for the model.

use sentor_engine::encode::{Encoder, Tokens};
use sentor_text::language::Language;
use sentor_text::mention::{EntityMatcher, Found, MatchForm, Mention};
use sentor_text::pronoun;
use sentor_text::span::Span;

use super::{Bounds, Entities, PlanError, PlannedMention};
use crate::{AnalysisError, Document, DocumentError, MentionSource};

/// Returns the mentions of the `distinct` entities of a document: those that the caller provides, or those found in the
/// text.
pub(super) fn find_mentions(
    document: &Document,
    entities: &Entities,
    language: Language,
    tiles: &[Span],
    bounds: &Bounds<'_>,
) -> Result<Found, PlanError> {
    let most = bounds.max_mentions;
    let find = || {
        let matcher = entities.matcher(language);
        let found = matcher.find_first(&document.text, most, || !bounds.stop.is_raised());
        found.ok_or(AnalysisError::DeadlinePassed)
    };
    Ok(match &document.mentions {
        MentionSource::Find => find()?,
        MentionSource::FindWithPronouns => {
            pronoun::follow_first(&document.text, language, tiles, find()?, most)
        }
        MentionSource::Given(places) => {
            let mut mentions = given_mentions(document, places)?;
            let left_out = mentions.len().saturating_sub(most);
            mentions.truncate(most);
            Found { mentions, left_out }
        }
    })
}

/// Finds the names to mask: mentions, and all other occurrences of the name in the text.
pub(super) fn masked_names(
    document: &Document,
    distinct: &[String],
    language: Language,
    mentions: &[Mention],
    encoder: &Encoder,
) -> Vec<Span> {
    let masks: Vec<bool> = distinct.iter().map(|entity| encoder.masks(entity)).collect();
    if !masks.contains(&true) {
        return Vec::new();
    }
    let elsewhere = match &document.mentions {
        MentionSource::Find | MentionSource::FindWithPronouns => Vec::new(),
        MentionSource::Given(_) => EntityMatcher::new(distinct, language).find(&document.text),
    };
    let names = mentions.iter().chain(&elsewhere).filter(|mention| masks[mention.entity]);
    let readable = names.filter(|mention| match mention.form {
        MatchForm::Exact | MatchForm::Inflected => true,
        // A compound written as one word says more than the name in it.
        MatchForm::Compound => {
            let surface = mention.span.slice(&document.text);
            surface.chars().count() <= distinct[mention.entity].chars().count()
        }
        MatchForm::Pronoun => false,
    });
    readable.map(|mention| mention.span).collect()
}

/// Assigns each mention its sentence and its tokens. A mention without tokens (an entity of marks that the tokenizer
/// drops) gets the token after it.
pub(super) fn place(mentions: Vec<Mention>, tiles: &[Span], tokens: &Tokens) -> Vec<PlannedMention> {
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
