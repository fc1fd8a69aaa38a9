//! Entities for which case counts: `IT`, `US`, `May`.

use super::normalize::{is_dash, is_ignorable};
use crate::languages::EVERYDAY_WORDS;

/// What a mention must look like beside its letters.
#[derive(Debug)]
pub(super) enum Guard {
    /// Case does not count.
    Open,
    /// An acronym, a very short name or a name that is also an everyday word.
    Cased {
        /// The letters and digits as the caller wrote them.
        letters: String,
        /// Whether the word is an everyday one in lower case.
        is_common_word: bool,
    },
}

/// Which cases a text uses at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextCase {
    /// Both, or no letters: case tells names from words.
    Mixed,
    /// Everything in lower case: it tells nothing.
    Lower,
    /// Everything in capitals: it tells nothing.
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
    /// The guard of an entity, from the way its caller wrote it.
    ///
    /// One in lower case has none: who asks for `it` means the word.
    pub(super) fn for_entity(entity: &str) -> Self {
        let letters = letters(entity);
        // A sign between the letters (`AT&T`) tells it from any word.
        let is_plain =
            entity.chars().all(|next| next.is_alphanumeric() || is_ignorable(next) || is_dash(next));
        if !letters.contains(char::is_uppercase) || !is_plain {
            return Self::Open;
        }
        let folded = letters.to_lowercase();
        let is_common_word = EVERYDAY_WORDS.contains(folded.as_str());
        let count = letters.chars().count();
        let is_acronym = count <= LONGEST_ACRONYM && !letters.contains(char::is_lowercase);
        if is_acronym || count <= 2 || is_common_word {
            Self::Cased { letters, is_common_word }
        } else {
            Self::Open
        }
    }

    /// Whether case counts.
    pub(super) fn is_cased(&self) -> bool {
        matches!(self, Self::Cased { .. })
    }

    /// Whether `found`, whose letters are those of the entity, has the looks.
    ///
    /// As written, always. In capitals, a name (`May`: `MAY`). If it is no everyday word, also with one
    /// capital (`Nato`, `Hp`), in a tag (`#hp`), and in lower case if it has three letters (`bbc`) or the
    /// text uses lower case alone. A text in capitals says `IT` for `it`, so a short everyday word is not
    /// found there at all.
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

/// Shorter acronyms in lower case are too often something else (`hp`, `ns`, `ah`).
const SHORTEST_LOWER: usize = 3;

/// Letters and digits alone.
fn letters(text: &str) -> String {
    text.chars().filter(|&character| character.is_alphanumeric() && !is_ignorable(character)).collect()
}
