//! Word boundaries.
//!
//! Words are those of UAX #29 with one change: an apostrophe, full stop or colon between letters divides
//! (`Apple's`, `Apple.com`, `lekker.Maar`), so that a name is found before it.

use super::normalize::is_ignorable;
use icu_properties::CodePointMapData;
use icu_properties::props::WordBreak;

/// Maximum length of a word that is read whole, in characters. Bounds the time for one match.
const LONGEST_WORD: usize = 48;

/// Whether a word begins or ends at byte `at`.
pub(super) fn is_word_edge(text: &str, at: usize) -> bool {
    let after = seen_after(text, at).map_or(Class::Other, class);
    if after == Class::Mark {
        return false;
    }
    let before = text[..at]
        .chars()
        .rev()
        .take(LONGEST_WORD)
        .filter(|&character| !is_ignorable(character))
        .map(class)
        .find(|&class| class != Class::Mark)
        .unwrap_or(Class::Other);
    before == Class::Other
        || after == Class::Other
        || (before == Class::Katakana) != (after == Class::Katakana)
}

/// Whether byte `at` is a visible boundary inside a word: between letters and digits (`iPad2`), at an underscore, or,
/// if `humps` is set, at a capital (`#TeamApple`, `HPLaptop`).
pub(super) fn is_visible_cut(text: &str, at: usize, humps: bool) -> bool {
    let mut following = text[at..].chars().take(LONGEST_WORD).filter(|&character| !is_ignorable(character));
    let (Some(before), Some(after)) = (seen_before(text, at), following.next()) else { return false };
    if before == '_' || after == '_' {
        return true;
    }
    if before.is_alphabetic() != after.is_alphabetic() {
        return before.is_numeric() || after.is_numeric();
    }
    humps
        && after.is_uppercase()
        && (before.is_lowercase() || following.next().is_some_and(char::is_lowercase))
}

/// Returns the end of the word around byte `at`; `None` if it is too long.
pub(super) fn word_end(text: &str, at: usize) -> Option<usize> {
    let mut length = 0;
    for (count, character) in text[at..].chars().enumerate() {
        if class(character) == Class::Other && !is_ignorable(character) {
            break;
        }
        if count == LONGEST_WORD {
            return None;
        }
        length += character.len_utf8();
    }
    Some(at + length)
}

/// Returns the start of the word around byte `at`; `None` if it is too long.
pub(super) fn word_start(text: &str, at: usize) -> Option<usize> {
    let mut length = 0;
    for (count, character) in text[..at].chars().rev().enumerate() {
        if class(character) == Class::Other && !is_ignorable(character) {
            break;
        }
        if count == LONGEST_WORD {
            return None;
        }
        length += character.len_utf8();
    }
    Some(at - length)
}

/// Whether the word around byte `at` is a hashtag or an @name.
pub(super) fn is_in_tag(text: &str, at: usize) -> bool {
    word_start(text, at).is_some_and(|start| text[..start].ends_with(['#', '@', '＃', '＠']))
}

/// Returns the last visible character before byte `at`.
pub(super) fn seen_before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().rev().take(LONGEST_WORD).find(|&character| !is_ignorable(character))
}

/// Returns the first visible character from byte `at` on.
pub(super) fn seen_after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().take(LONGEST_WORD).find(|&character| !is_ignorable(character))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Letters, digits and the underscore: no boundary between them.
    Word,
    /// Katakana: no boundary between them.
    Katakana,
    /// Marks: no boundary before them.
    Mark,
    /// Everything else, ideographs included: always a boundary.
    Other,
}

fn class(character: char) -> Class {
    if character.is_ascii() {
        return if character.is_ascii_alphanumeric() || character == '_' {
            Class::Word
        } else {
            Class::Other
        };
    }
    match CodePointMapData::<WordBreak>::new().get(character) {
        WordBreak::ALetter | WordBreak::HebrewLetter | WordBreak::Numeric | WordBreak::ExtendNumLet => {
            Class::Word
        }
        WordBreak::Katakana => Class::Katakana,
        WordBreak::Extend | WordBreak::Format | WordBreak::ZWJ => Class::Mark,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with a `|` at each edge inside it.
    fn edges(text: &str) -> String {
        let mut marked = String::new();
        for (at, character) in text.char_indices() {
            if at > 0 && is_word_edge(text, at) {
                marked.push('|');
            }
            marked.push(character);
        }
        marked
    }

    #[test]
    fn word_boundaries_are_where_names_can_end() {
        assert_eq!(edges("Apple's"), "Apple|'|s");
        assert_eq!(edges("top.Maar"), "top|.|Maar");
        assert_eq!(edges("iPad2_x"), "iPad2_x");
        assert_eq!(edges("cafe\u{301}s!"), "cafe\u{301}s|!");
        assert_eq!(edges("bat\u{ad}terij"), "bat\u{ad}terij");
        assert_eq!(edges("索尼a7"), "索|尼|a7");
    }

    #[test]
    fn visible_boundaries_inside_words_are_found() {
        assert!(is_visible_cut("iPad2", 4, false));
        assert!(is_visible_cut("SAP_HP", 4, false));
        assert!(is_visible_cut("TeamApple", 4, true));
        assert!(is_visible_cut("HPLaptop", 2, true));
        assert!(!is_visible_cut("TeamApple", 4, false));
        assert!(!is_visible_cut("apples", 3, true));
    }

    #[test]
    fn very_long_words_have_no_boundaries() {
        let long = "a".repeat(1000);
        assert_eq!((word_start(&long, 500), word_end(&long, 500)), (None, None));
        assert_eq!((word_start("een woord.", 6), word_end("een woord.", 6)), (Some(4), Some(9)));
    }
}
