//! Decides whether a line break ends a sentence.

use super::opening::Opening;
use super::{SentenceWords, mark, stop};

/// Shorter lines, in characters, were not wrapped.
const SHORTEST_WRAPPED_LINE: usize = 40;

/// Whether `sentence` ends at `end`, where a line break leads to `next`.
///
/// It does at a blank line, before a list item, and after a finished line. It does not if the line was wrapped: the
/// line ends in a word that cannot end a sentence, or the next line continues in lower case after a sentence that began
/// with a capital.
pub(super) fn ends_sentence(
    text: &str,
    sentence: &Opening,
    end: usize,
    next: usize,
    words: &SentenceWords,
) -> bool {
    if next == text.len() {
        return false;
    }
    if count_breaks(&text[end..next]) > 1 || begins_item(text, next) {
        return true;
    }
    let line = sentence.last_line(text, end);
    let last = line.rsplit(char::is_whitespace).next().unwrap_or("");
    if last.ends_with([':', '"', '”', '’', ')', '*', '_', '=']) || last.ends_with(mark::is_emoji) {
        return true;
    }
    let word = last.to_lowercase();
    if last.ends_with(',') || last.ends_with(';') || last.ends_with('-') || words.needs_continuation(&word) {
        return false;
    }
    if last.ends_with('.') && words.abbreviation(word.trim_end_matches('.')).is_some() {
        return false;
    }
    let follows = stop::Following::read(text, next);
    if !follows.starts_lower() {
        return true;
    }
    let began_upper = stop::Following::read(text, sentence.start).starts_upper();
    !(began_upper || line.chars().take(SHORTEST_WRAPPED_LINE).count() == SHORTEST_WRAPPED_LINE)
}

/// Returns the number of line breaks in `white_space`; `\r\n` is one.
pub(super) fn count_breaks(white_space: &str) -> usize {
    white_space
        .chars()
        .zip(white_space.chars().skip(1).chain(['\0']))
        .filter(|&(character, next)| match character {
            '\r' => next != '\n',
            '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => true,
            _ => false,
        })
        .count()
}

fn begins_item(text: &str, at: usize) -> bool {
    let rest = &text[at..];
    rest.starts_with(mark::is_bullet)
        || mark::list_mark(text, at).is_some()
        || rest
            .strip_prefix(['-', '*', '+', '–', '—', '>', '|'])
            .is_some_and(|rest| rest.starts_with([' ', '\t', '-', '*']))
}
