//! What a document judges without being asked, as further entities of its plan.

use sentor_text::discover::{Kind, candidates};
use sentor_text::language::Language;
use sentor_text::mention::{Found, MatchForm, Mention};
use sentor_text::span::Span;

/// Most candidates of a document.
const MOST_CANDIDATES: usize = 200;

/// Adds the candidates of a text behind its `distinct` entities, with their mentions, as far as `most_mentions` leave
/// room. Returns what each is.
pub(super) fn add(
    text: &str,
    language: Language,
    tiles: &[Span],
    most_mentions: usize,
    distinct: &mut Vec<String>,
    found: &mut Found,
) -> Vec<Kind> {
    let taken = merged(found.mentions.iter().map(|mention| mention.span));
    let is_taken = |span: Span| {
        let next = taken.partition_point(|taken| taken.end <= span.start);
        taken.get(next).is_some_and(|taken| taken.overlaps(span))
    };
    let mut kinds = Vec::new();
    for candidate in candidates(text, language, tiles, MOST_CANDIDATES, is_taken) {
        let room = most_mentions.saturating_sub(found.mentions.len());
        if room == 0 {
            break;
        }
        let entity = distinct.len();
        let mention = |&span: &Span| Mention { entity, span, form: MatchForm::Exact };
        found.mentions.extend(candidate.places.iter().take(room).map(mention));
        distinct.push(candidate.name);
        kinds.push(candidate.kind);
    }
    found.mentions.sort_unstable_by_key(|mention| (mention.span.start, mention.entity));
    kinds
}

/// Spans in order of their start, with those that overlap made one.
fn merged(spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}
