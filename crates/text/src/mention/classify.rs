//! Decides whether an occurrence of an entity's letters is a mention, and in which form.

use super::form::{Form, legal_form};
use super::guard::TextCase;
use super::normalize::{Normalized, has_accents, is_dash, is_ignorable};
use super::{Compounds, Endings, MatchForm, PatternKind, edge};
use crate::languages::{JoinedS, LanguagePack};
use crate::span::Span;

/// Classifies the occurrences in one text.
pub(super) struct Classifier<'t> {
    text: &'t str,
    text_case: TextCase,
    pack: &'static LanguagePack,
}

impl<'t> Classifier<'t> {
    pub(super) fn new(text: &'t str, text_case: TextCase, pack: &'static LanguagePack) -> Self {
        Self { text, text_case, pack }
    }

    /// Returns the span and the form of the mention if the letters of an entity at `start..end` are one.
    pub(super) fn classify(
        &self,
        entity: &Form,
        kind: &PatternKind,
        start: usize,
        end: usize,
    ) -> Option<(Span, MatchForm)> {
        let span = (start < end).then(|| Span::new(start, end))?;
        let starts_word = edge::is_word_edge(self.text, start);
        // Most occurrences of a short entity lie inside a word. This cheap check rejects them first.
        if !starts_word
            && !edge::is_visible_cut(self.text, start, true)
            && self.compounds_with(entity, SHORTEST_HEAD).is_none()
        {
            return None;
        }
        let ends_word = edge::is_word_edge(self.text, end);
        match kind {
            PatternKind::Stem(endings) => {
                if !starts_word || ends_word {
                    return None;
                }
                self.inflected(entity, span, endings)
            }
            PatternKind::Umlauts { need_accents } => {
                let is_whole = starts_word && ends_word;
                let has_spelling = !need_accents || has_accents(span.slice(self.text));
                (is_whole && has_spelling).then_some((span, MatchForm::Exact))
            }
            PatternKind::Squashed => {
                let is_one_word = starts_word && ends_word;
                let is_found = is_one_word && self.is_squashed(span) && self.admits(entity, span, true);
                is_found.then_some((span, MatchForm::Exact))
            }
            PatternKind::Whole(endings) => {
                let has_looks = || {
                    let is_in_tag = entity.guard.is_cased() && edge::is_in_tag(self.text, start);
                    self.admits(entity, span, is_in_tag) && !self.is_longer_name(entity, span)
                };
                match (starts_word, ends_word) {
                    (true, true) if has_looks() => Some(self.whole_word(entity, span, endings)),
                    (true, false) if has_looks() => self
                        .genitive(entity, span)
                        .or_else(|| self.inflected(entity, span, endings))
                        .or_else(|| self.visible_part(entity, span))
                        .or_else(|| self.modifier(entity, span)),
                    (false, true) if has_looks() => {
                        self.visible_part(entity, span).or_else(|| self.head(entity, span, end))
                    }
                    (false, false) if has_looks() => self.visible_part(entity, span).or_else(|| {
                        let (inflected, _) = self.inflected(entity, span, endings)?;
                        self.head(entity, span, inflected.end)
                    }),
                    _ => None,
                }
            }
        }
    }

    /// Whether the letters of an entity may be it by their case and accents.
    fn admits(&self, entity: &Form, span: Span, is_in_tag: bool) -> bool {
        entity.admits(span.slice(self.text), self.text_case, is_in_tag, self.pack)
            && !(entity.is_part && self.has_other_legal_form(entity, span))
    }

    /// Whether signs beside a short name make another name of it: `C` in `C++`, `H` in `H&M`.
    fn is_longer_name(&self, entity: &Form, span: Span) -> bool {
        let is_short = entity.has_letters && entity.folded.chars().nth(2).is_none();
        let mut after = self.text[span.end..].chars();
        let (next, second) = (after.next(), after.next());
        let joins = next == Some('&') && second.is_some_and(char::is_alphanumeric);
        let mut before = self.text[..span.start].chars().rev();
        let is_joined = before.next() == Some('&') && before.next().is_some_and(char::is_alphanumeric);
        is_short && (joins || is_joined || matches!(next, Some('+' | '#')))
    }

    /// Whether a legal form follows a name whose own was left off: `Fenwick N.V.` is not `Fenwick B.V.`
    fn has_other_legal_form(&self, entity: &Form, span: Span) -> bool {
        let rest = self.text[span.end..].trim_start_matches([' ', ',']);
        let near = &rest[..rest.floor_char_boundary(LONGEST_NEIGHBOUR)];
        let word = near.split(|next: char| !next.is_alphanumeric() && next != '.').next().unwrap_or("");
        legal_form(word).is_some_and(|found| entity.left_off.as_ref() != Some(&found))
    }

    /// The entity with a word edge on both sides.
    fn whole_word(&self, entity: &Form, span: Span, endings: Endings) -> (Span, MatchForm) {
        if let Some(plural) = self.apostrophe_plural(entity, span, endings) {
            return (plural, MatchForm::Inflected);
        }
        if self.pack.compounding.joined().is_some() && self.is_hyphenated(span) {
            return (span, MatchForm::Compound);
        }
        (span, MatchForm::Exact)
    }

    /// The word with an apostrophe and an ending after the entity (`foto's`, `baby'tje`), unless that is the
    /// genitive of a name (`Obama's`).
    fn apostrophe_plural(&self, entity: &Form, span: Span, endings: Endings) -> Option<Span> {
        let joined = self.pack.inflection.joined_s.as_ref()?;
        let apostrophe = self.text[span.end..].chars().next().filter(|&next| is_apostrophe(next))?;
        let are_names = is_name(&entity.given) && is_name(span.slice(self.text));
        if are_names && !self.follows_counter(span, joined) {
            return None;
        }
        let after = span.end + apostrophe.len_utf8();
        let end = edge::word_end(self.text, after)?;
        let ending = format!("'{}", fold_word(&self.text[after..end]));
        let is_ending = endings.contains(&ending.as_str()) || DIMINUTIVE.contains(&ending.as_str());
        is_ending.then(|| Span::new(span.start, end))
    }

    /// A Dutch name with a genitive `s` attached, before the thing owned: `Merkels beleid`. After an article or a
    /// number, or before a verb, the same letters are a plural: `twee Samsungs`.
    fn genitive(&self, entity: &Form, span: Span) -> Option<(Span, MatchForm)> {
        let joined = self.pack.inflection.joined_s.as_ref()?;
        if !is_name(&entity.given) || !is_name(span.slice(self.text)) {
            return None;
        }
        let after = self.text[span.end..].strip_prefix("s ")?;
        let after = &after[..after.floor_char_boundary(LONGEST_NEIGHBOUR)];
        let owned = after.split(|next: char| !next.is_alphanumeric()).next()?;
        let is_genitive =
            !owned.is_empty() && !joined.verbs.contains(&owned) && !self.follows_counter(span, joined);
        is_genitive.then_some((span, MatchForm::Exact))
    }

    /// Whether a word before the entity requires a plural: `twee Samsungs`.
    fn follows_counter(&self, span: Span, joined: &JoinedS) -> bool {
        let before = self.text[..span.start].strip_suffix(' ').unwrap_or("");
        let before = &before[before.floor_char_boundary(before.len().saturating_sub(LONGEST_NEIGHBOUR))..];
        let word = before.rsplit(|last: char| !last.is_alphanumeric()).next().unwrap_or("");
        joined.counters.contains(&&*fold_word(word))
    }

    /// Whether a hyphen makes the entity part of a longer word. A name after a title is not part of one
    /// (`kabinet-Rutte`).
    fn is_hyphenated(&self, span: Span) -> bool {
        let mut before = self.text[..span.start].chars().rev();
        let mut after = self.text[span.end..].chars();
        let joins = |dash: Option<char>, letter: Option<char>| {
            dash.is_some_and(is_dash) && letter.is_some_and(char::is_alphabetic)
        };
        joins(after.next(), after.next())
            || (!is_name(span.slice(self.text)) && joins(before.next(), before.next()))
    }

    /// The word that consists of the span and one of the endings.
    ///
    /// Some Dutch family names differ by such an ending only (`Rutte` and `Rutten`, `Jans` and `Jansen`), so names have
    /// no plural in n, except nouns with a capital (`Gemeente`).
    fn inflected(&self, entity: &Form, span: Span, endings: Endings) -> Option<(Span, MatchForm)> {
        let end = edge::word_end(self.text, span.end)?;
        let ending = Normalized::new(&self.text[span.end..end]);
        let ending = ending.as_str();
        let are_names = is_name(last_word(&entity.given)) && is_name(last_word(span.slice(self.text)));
        let is_surname = self.pack.inflection.surname_ending.is_some_and(|last| ending.ends_with(last));
        if are_names && is_surname && !entity.is_noun {
            return None;
        }
        endings.contains(&ending).then(|| (Span::new(span.start, end), MatchForm::Inflected))
    }

    /// The entity as a visible part of a word.
    fn visible_part(&self, entity: &Form, span: Span) -> Option<(Span, MatchForm)> {
        let found = span.slice(self.text);
        if !entity.has_letters || (entity.guard.is_cased() && !self.is_part_of_tag(entity, span)) {
            return None;
        }
        // `YouTube` does not mention `tube`: an inner capital counts only in tags, or if the caller wrote the entity
        // that way.
        let humps = edge::is_in_tag(self.text, span.start)
            || (found == entity.given && found.starts_with(char::is_uppercase));
        let is_cut = |at| edge::is_word_edge(self.text, at) || edge::is_visible_cut(self.text, at, humps);
        (is_cut(span.start) && is_cut(span.end)).then_some((span, MatchForm::Compound))
    }

    /// Whether an acronym stands in a tag as it is written: `@KLM_NL`, `#TeamUSA`, but not `#BBC1`.
    fn is_part_of_tag(&self, entity: &Form, span: Span) -> bool {
        let is_number = |next: Option<char>| next.is_some_and(char::is_numeric);
        span.slice(self.text) == entity.given
            && edge::is_in_tag(self.text, span.start)
            && !is_number(edge::seen_before(self.text, span.start))
            && !is_number(edge::seen_after(self.text, span.end))
    }

    /// The Dutch compound that begins with the entity.
    fn modifier(&self, entity: &Form, span: Span) -> Option<(Span, MatchForm)> {
        let compounds = self.compounds_with(entity, SHORTEST_MODIFIER)?;
        let end = edge::word_end(self.text, span.end)?;
        compounds
            .is_modifier(&entity.folded, &fold_word(&self.text[span.end..end]))
            .then(|| (Span::new(span.start, end), MatchForm::Compound))
    }

    /// The Dutch compound whose last part is the entity with an ending, up to `end`.
    fn head(&self, entity: &Form, span: Span, end: usize) -> Option<(Span, MatchForm)> {
        let compounds = self.compounds_with(entity, SHORTEST_HEAD)?;
        let start = edge::word_start(self.text, span.start)?;
        compounds
            .is_head(&fold_word(&self.text[start..span.start]), &entity.folded)
            .then(|| (Span::new(start, end), MatchForm::Compound))
    }

    /// The compounds of the language, if the entity can be part of one.
    fn compounds_with(&self, entity: &Form, shortest: usize) -> Option<&'static Compounds> {
        self.pack.compounding.joined().filter(|_| entity.compound_letters >= shortest)
    }

    /// Whether a word consists of several words: it is a tag, or a hyphen or a capital separates them.
    fn is_squashed(&self, span: Span) -> bool {
        let found = span.slice(self.text);
        let has_hump =
            || found.chars().zip(found.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
        found.contains(is_dash) || has_hump() || edge::is_in_tag(self.text, span.start)
    }
}

/// The diminutive of an initialism: `sms'je`, `cd'tje`.
const DIMINUTIVE: Endings = &["'je", "'jes", "'tje", "'tjes"];

/// Shorter entities are the beginning of too many unrelated words.
const SHORTEST_MODIFIER: usize = 4;

/// Shorter entities are the end of too many unrelated words (`advies` and `vis`).
const SHORTEST_HEAD: usize = 4;

/// Longer than any word in the lists above, in bytes. Bounds the time for one match.
const LONGEST_NEIGHBOUR: usize = 16;

fn is_name(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

fn last_word(name: &str) -> &str {
    name.rsplit(|next: char| next == ' ' || is_dash(next)).next().unwrap_or(name)
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '’' | '‘' | '`' | 'ʼ' | '´')
}

/// A word in lower case and composed form, as word lists and endings have it.
fn fold_word(word: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    word.chars().filter(|&character| !is_ignorable(character)).nfc().flat_map(char::to_lowercase).collect()
}
