//! Kinds of pronouns, and pronouns without an antecedent: "it is raining".

use super::lexicon::{List, Lists};
use super::words::{Word, word_lists};
use crate::languages::{Gender, PronounRules};

/// Number of words after a pronoun that are examined for signs that it has no antecedent.
const WORDS_AHEAD: usize = 5;

/// A kind of pronoun, by its possible antecedents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `it`, `het`: a thing.
    It,
    /// `its`: a thing.
    Its,
    /// `he`: a person; `hij`: a person or a thing.
    He,
    /// `she`.
    She,
    /// `they`.
    They,
    /// `die`: a person or a thing.
    ThatOne,
}

/// Returns the kind of a pronoun; `None` for other words and for pronouns without an antecedent.
pub(super) fn classify(words: &[Word], index: usize, rules: &PronounRules) -> Option<Kind> {
    let word = &words[index];
    let before = index.checked_sub(1).map(|before| word_lists(words, before)).unwrap_or_default();
    let after = word_lists(words, index + 1);
    let begins_clause = index == 0 || word.follows_mark || before.contains(List::Joiners);
    let lists = word.lists;
    if lists.contains(List::It) {
        let stands_for_something = match rules.gender {
            Gender::Natural => !is_empty_it(words, index),
            Gender::Grammatical => begins_clause && is_neuter_it(words, index),
        };
        return stands_for_something.then_some(Kind::It);
    }
    if lists.contains(List::Its) {
        return Some(Kind::Its);
    }
    if lists.contains(List::He) {
        return Some(Kind::He);
    }
    if lists.contains(List::His) {
        return before.contains(List::Prepositions).then_some(Kind::He);
    }
    if lists.contains(List::She) {
        return (!rules.is_she_a_noun || !before.contains(List::Determiners)).then_some(Kind::She);
    }
    if lists.contains(List::SheOrThey) {
        let (verb, inverted) = (after, before);
        return if verb.contains(List::Generic) {
            None
        } else if verb.contains(List::Plural) || (inverted.contains(List::Plural) && !begins_clause) {
            Some(Kind::They)
        } else if verb.contains(List::Singular) || (inverted.contains(List::Singular) && !begins_clause) {
            Some(Kind::She)
        } else {
            None
        };
    }
    if lists.contains(List::They) {
        return Some(Kind::They);
    }
    let points = lists.contains(List::ThatOne) && index == 0;
    (points && after.contains_any(&[List::Verbs, List::Singular])).then_some(Kind::ThatOne)
}

/// Returns the first word after a pronoun, and the rest of the same clause.
fn ahead(words: &[Word], index: usize) -> Option<(&Word, impl Iterator<Item = Lists> + Clone)> {
    let ahead = &words[index + 1..words.len().min(index + 2 + WORDS_AHEAD)];
    let (verb, rest) = ahead.split_first().filter(|(verb, _)| !verb.follows_mark)?;
    Some((verb, rest.iter().take_while(|word| !word.follows_mark).map(|word| word.lists)))
}

/// Whether an English "it" refers to the weather, the time, or a later clause.
fn is_empty_it(words: &[Word], index: usize) -> bool {
    let Some((verb, mut rest)) = ahead(words, index) else { return false };
    let before = index.checked_sub(1).map(|before| word_lists(words, before)).unwrap_or_default();
    let is_verb = verb.lists.contains(List::EmptyVerbs);
    let goes_on = rest.clone().any(|next| next.contains(List::EmptyContinuations));
    verb.lists.contains(List::EmptyAlone)
        || (is_verb && (goes_on || rest.any(|next| next.contains(List::EmptyNouns))))
        || (before.contains(List::EmptyBefore) && (goes_on || verb.lists.contains(List::EmptyContinuations)))
}

/// Whether a neuter "it" (Dutch "het") before a verb refers to something named before.
fn is_neuter_it(words: &[Word], index: usize) -> bool {
    let Some((verb, mut rest)) = ahead(words, index) else { return false };
    verb.lists.contains(List::NeuterVerbs) && !rest.any(|next| next.contains(List::EmptyContinuations))
}

/// Whether an "it" begins a clause and is the subject of an action.
pub(super) fn is_doing(words: &[Word], index: usize) -> bool {
    let before = index.checked_sub(1).map(|before| word_lists(words, before)).unwrap_or_default();
    let begins_clause = index == 0 || words[index].follows_mark || before.contains(List::Joiners);
    let Some((next, mut rest)) = ahead(words, index) else { return false };
    let verb = if next.lists.contains(List::Adverbs) { rest.next() } else { Some(next.lists) };
    begins_clause && verb.is_some_and(|verb| !verb.contains_any(&[List::EmptyVerbs, List::Plain]))
}
