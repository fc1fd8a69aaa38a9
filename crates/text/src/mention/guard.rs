//! Case-sensitive entities: `IT`, `US`, `May`.

use super::normalize::{is_dash, is_ignorable};
use crate::languages::{EVERYDAY_NOUNS, EVERYDAY_WORDS};

/// How the case of a mention must match that of the entity.
#[derive(Debug)]
pub(super) enum Guard {
    /// Case-insensitive.
    Open,
    /// An acronym, a very short name or a name that is also an everyday word.
    Cased {
        /// The letters and digits as the caller wrote them.
        letters: String,
        /// Whether the word is an everyday one in lower case.
        is_common_word: bool,
    },
}

/// The letter cases that a text uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextCase {
    /// Both, or no letters: case distinguishes names from words.
    Mixed,
    /// Lower case only: case distinguishes nothing.
    Lower,
    /// Capitals only: case distinguishes nothing.
    Upper,
}

impl TextCase {
    pub(super) fn find(text: &str) -> Self {
        let has_lower = text.chars().any(char::is_lowercase);
        let has_upper = text.chars().any(char::is_uppercase);
        match (has_lower, has_upper) {
            (true, false) => Self::Lower,
            (false, true) => Self::Upper,
            _ => Self::Mixed,
        }
    }
}

impl Guard {
    /// Returns the guard of an entity, from the case in which the caller wrote it.
    ///
    /// An entity in lower case has none: a caller that asks for `it` means the word.
    pub(super) fn for_entity(entity: &str) -> Self {
        let letters = letters(entity);
        // A sign between the letters (`AT&T`) distinguishes it from any word.
        let is_plain =
            entity.chars().all(|next| next.is_alphanumeric() || is_ignorable(next) || is_dash(next));
        if !letters.contains(char::is_uppercase) || !is_plain {
            return Self::Open;
        }
        let folded = letters.to_lowercase();
        let is_common_word = EVERYDAY_WORDS.contains(folded.as_str());
        let count = letters.chars().count();
        let is_acronym = count <= LONGEST_ACRONYM && !letters.contains(char::is_lowercase);
        // Who asks for `Prijs` or `Team` means the thing.
        let is_noun = !is_acronym && EVERYDAY_NOUNS.contains(folded.as_str());
        if is_acronym || count <= 2 || (is_common_word && !is_noun) {
            Self::Cased { letters, is_common_word }
        } else {
            Self::Open
        }
    }

    /// Whether the entity is case-sensitive.
    pub(super) fn is_cased(&self) -> bool {
        matches!(self, Self::Cased { .. })
    }

    /// Whether `found`, which has the letters of the entity, also has the required case.
    ///
    /// The form that the caller wrote is always accepted, and a name also in capitals (`May`: `MAY`). An entity that is
    /// not an everyday word is also accepted with one capital (`Nato`, `Hp`), in a tag (`#hp`), and in lower case if it
    /// has three letters (`bbc`) or the text has no capitals. A text in capitals writes `IT` for `it`, so short
    /// everyday words are never found there.
    pub(super) fn admits(&self, found: &str, text_case: TextCase, is_in_tag: bool) -> bool {
        let Self::Cased { letters: entity, is_common_word } = self else { return true };
        let found = letters(found);
        if *is_common_word && text_case == TextCase::Upper && !is_in_tag && entity.len() <= 3 {
            return false;
        }
        if found == *entity || !found.contains(char::is_lowercase) {
            return true;
        }
        let has_one_capital = found.chars().next().is_some_and(char::is_uppercase);
        let is_lower = !found.contains(char::is_uppercase);
        let is_long = found.chars().count() >= SHORTEST_LOWER;
        !is_common_word
            && (has_one_capital || is_in_tag || (is_lower && is_long) || text_case == TextCase::Lower)
    }
}

const LONGEST_ACRONYM: usize = 5;

/// Shorter acronyms in lower case are too often other words (`hp`, `ns`, `ah`).
const SHORTEST_LOWER: usize = 3;

/// Returns the letters and digits of a text.
fn letters(text: &str) -> String {
    text.chars().filter(|&character| character.is_alphanumeric() && !is_ignorable(character)).collect()
}
