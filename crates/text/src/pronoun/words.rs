//! The words of a sentence, with the properties that the pronoun rules use.

use super::lexicon::{List, Lists};
use crate::languages::PronounRules;
use crate::span::Span;

/// A word of a sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) span: Span,
    pub(super) lists: Lists,
    pub(super) looks: Looks,
    pub(super) ending: Ending,
    /// Whether a clause boundary precedes it.
    pub(super) follows_mark: bool,
}

/// Signs that a word is a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    Plain,
    Capital,
    /// Part of a tag or an @name.
    Tag,
}

/// What the end of a word indicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A plural.
    Plural,
    /// An adverb.
    Adverb,
    Other,
}

/// Endings in s that are not plurals.
pub(super) const SINGULAR_ENDINGS: [&str; 3] = ["ss", "us", "is"];

/// The words of `sentence`, in order.
pub(super) fn words(text: &str, sentence: Span, rules: &PronounRules) -> Vec<Word> {
    let text = sentence.slice(text);
    let mut words: Vec<Word> = Vec::new();
    let mut end = 0;
    while let Some(length) = text[end..].find(char::is_alphanumeric) {
        let start = end + length;
        let gap = &text[end..start];
        let rest = &text[start..];
        end = start + rest.find(|next: char| !next.is_alphanumeric()).unwrap_or(rest.len());
        let word = &text[start..end];
        let folded = word.to_lowercase();
        let lists = rules.lexicon.lists(&folded);
        let is_capital = word.starts_with(char::is_uppercase);
        let may_be_plural = !is_capital && folded.len() > 3 && !lists.contains(List::Plain);
        let ends = |endings: &[&str]| endings.iter().any(|ending| folded.ends_with(ending));
        let looks = match is_capital {
            _ if gap.ends_with(['#', '@']) => Looks::Tag,
            true => Looks::Capital,
            false => Looks::Plain,
        };
        let ending = if may_be_plural && ends(rules.plural_endings) && !ends(&SINGULAR_ENDINGS) {
            Ending::Plural
        } else if ends(rules.adverb_endings) {
            Ending::Adverb
        } else {
            Ending::Other
        };
        words.push(Word {
            span: Span::new(sentence.start + start, sentence.start + end),
            lists,
            looks,
            ending,
            follows_mark: gap.contains(|next| !is_inside_clause(next)),
        });
    }
    words
}

/// The lists of a word; none where there is no such word.
pub(super) fn word_lists(words: &[Word], index: usize) -> Lists {
    words.get(index).map(|word| word.lists).unwrap_or_default()
}

/// Characters between words that do not divide clauses.
fn is_inside_clause(next: char) -> bool {
    next.is_whitespace()
        || matches!(next, '\'' | '’' | '-' | '‑' | '#' | '@' | '_' | '*' | '"' | '“' | '”' | '&' | '.')
}
