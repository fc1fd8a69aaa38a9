//! Inflected forms of names and nouns: plurals, genitives, diminutives.
//!
//! A form is a stem and an ending. The stem is the entity itself, or its spelling before a vowel (`scherm`-en,
//! `ball`-en, `telefon`-en, `prijz`-en, `batter`-ies).

use crate::language::Language;
use crate::languages::{Inflection, LanguagePack};

/// A stem in normalised spelling, and the endings that complete it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stem {
    pub(crate) text: String,
    pub(crate) endings: Endings,
}

/// Endings, in lower case, with ASCII apostrophes.
pub(crate) type Endings = &'static [&'static str];

/// Returns the endings of the unchanged entity (in normalised spelling), and the changed stems with their endings.
///
/// An entity of two letters, or one that ends in a digit, takes `s` at most. A single letter takes no ending.
pub(super) fn forms(entity: &str, inflection: &Inflection) -> (Endings, Vec<Stem>) {
    let tail: Vec<char> = entity.chars().rev().take(4).collect();
    let irregular = irregular(entity, inflection);
    let [last, _, ..] = tail[..] else { return (&[], irregular) };
    if !last.is_alphabetic() || tail.len() == 2 {
        return (if last.is_alphanumeric() { &["s", "'s"] } else { &[] }, irregular);
    }
    let (endings, mut stems) = (inflection.regular)(entity, &tail);
    stems.extend(irregular);
    (endings, stems)
}

/// The plurals, genitives and diminutives that the rules of a language make of `word`, which is in lower case. Not all of
/// them need be words.
pub fn inflected_forms(word: &str, language: Language) -> Vec<String> {
    let (endings, stems) = forms(word, &LanguagePack::for_language(language).inflection);
    let regular = endings.iter().map(|ending| format!("{word}{ending}"));
    let changed =
        stems.iter().flat_map(|stem| stem.endings.iter().map(|ending| format!("{}{ending}", stem.text)));
    // The endings are without accents: `ideeën`, `industrieën`.
    let accented = word.ends_with('e').then(|| format!("{word}ën"));
    regular.chain(changed).chain(accented).collect()
}

/// Returns the irregular stems of an entity, by its last word.
fn irregular(entity: &str, inflection: &Inflection) -> Vec<Stem> {
    let stem = |before: &str, stem: &str, endings| Stem { text: format!("{before}{stem}"), endings };
    let words = inflection.irregular.iter().filter_map(|&(singular, changed, endings)| {
        let before = entity.strip_suffix(singular)?;
        // A compound has the plural of its last part: `Kamerlid`, `grandchild`.
        let is_compound =
            before.chars().rev().take(SHORTEST_MODIFIER).filter(|last| last.is_alphabetic()).count()
                == SHORTEST_MODIFIER;
        (before.is_empty() || before.ends_with([' ', '-']) || is_compound)
            .then(|| stem(before, changed, endings))
    });
    let suffixes = inflection.irregular_suffixes.iter().filter_map(|&(singular, changed, endings)| {
        entity.strip_suffix(singular).map(|before| stem(before, changed, endings))
    });
    words.chain(suffixes).collect()
}

/// In letters: a shorter beginning makes no compound (`human` is no kind of `man`).
const SHORTEST_MODIFIER: usize = 3;

/// Whether a letter is an unaccented vowel.
pub(crate) fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

/// `entity` without its last `count` characters.
pub(crate) fn without_last(entity: &str, count: usize) -> &str {
    let end = if count == 0 {
        entity.len()
    } else {
        entity.char_indices().rev().nth(count - 1).map_or(0, |(at, _)| at)
    };
    &entity[..end]
}
