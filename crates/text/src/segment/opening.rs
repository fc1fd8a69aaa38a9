//! The beginning of the current sentence, which the rules examine at each stop.
//!
//! A text may have one sentence with many stops. The places asked about only grow, so each character is read once,
//! whatever the number of stops.

use super::{mark, stop};

/// The beginning of the current sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// Where the sentence starts.
    pub(super) start: usize,
    /// Where its last line starts, as far as read.
    line_start: usize,
    content: Prefix,
    first_word: Prefix,
    first_words: FirstWords,
}

impl Opening {
    pub(super) fn new(start: usize) -> Self {
        Self {
            start,
            line_start: start,
            content: Prefix::new(start),
            first_word: Prefix::new(start),
            first_words: FirstWords::new(start),
        }
    }

    /// Returns the first place before `end` that is not an opener, a stop or white space; `end` if there is none.
    pub(super) fn content_before(&mut self, text: &str, end: usize) -> usize {
        let is_skipped = |next: char| stop::is_opener(next) || stop::is_stop(next) || next.is_whitespace();
        self.content.end_before(text, end, is_skipped)
    }

    /// Returns the first place before `end` that is not an opener, a bullet or a space; `end` if there is none.
    pub(super) fn first_word_before(&mut self, text: &str, end: usize) -> usize {
        let is_skipped = |next: char| stop::is_opener(next) || mark::is_bullet(next) || next == ' ';
        self.first_word.end_before(text, end, is_skipped)
    }

    /// Whether the first two words, read up to `end`, both have letters.
    pub(super) fn has_words_before(&mut self, text: &str, end: usize) -> bool {
        self.first_words.have_letters_before(text, end)
    }

    /// The last line of the sentence up to `end`.
    pub(super) fn last_line<'t>(&self, text: &'t str, end: usize) -> &'t str {
        &text[self.line_start.min(end)..end]
    }

    /// Records that the line break in the white space `start..end` does not end the sentence.
    pub(super) fn pass_line_break(&mut self, text: &str, start: usize, end: usize) {
        if let Some(last) = text[start..end].rfind(['\n', '\r']) {
            self.line_start = start + last + 1;
        }
    }
}

/// The characters of one kind at the beginning of a sentence.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    end: usize,
    /// Whether a character of another kind was found at `end`.
    is_complete: bool,
}

impl Prefix {
    fn new(start: usize) -> Self {
        Self { end: start, is_complete: false }
    }

    /// Returns the end of the prefix, searched up to `limit`, which must not decrease between calls.
    fn end_before(&mut self, text: &str, limit: usize, is_part: impl Fn(char) -> bool) -> usize {
        if !self.is_complete && self.end < limit {
            let rest = text[self.end..limit].trim_start_matches(is_part);
            self.end = limit - rest.len();
            self.is_complete = !rest.is_empty();
        }
        self.end.min(limit)
    }
}

/// Whether the first two words of a sentence have letters.
#[derive(Clone, Copy, Debug)]
struct FirstWords {
    read_to: usize,
    /// Number of words begun; reading stops at the third.
    begun: usize,
    is_in_word: bool,
    have_letters: [bool; 2],
}

impl FirstWords {
    fn new(start: usize) -> Self {
        Self { read_to: start, begun: 0, is_in_word: false, have_letters: [false; 2] }
    }

    fn have_letters_before(&mut self, text: &str, end: usize) -> bool {
        if self.begun <= 2 && self.read_to < end {
            for character in text[self.read_to..end].chars() {
                if character.is_whitespace() {
                    self.is_in_word = false;
                    continue;
                }
                self.begun += usize::from(!self.is_in_word);
                self.is_in_word = true;
                match self.have_letters.get_mut(self.begun - 1) {
                    Some(has_letters) => *has_letters |= character.is_alphabetic(),
                    None => break,
                }
            }
            self.read_to = end;
        }
        self.have_letters == [true; 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_sentence_is_read_once() {
        let text = "(\" Een zin. Nog een";
        let mut opening = Opening::new(0);
        assert_eq!(opening.content_before(text, 2), 2);
        assert_eq!(opening.content_before(text, 10), 3);
        assert_eq!(opening.first_word_before(text, 1), 1);
        assert_eq!(opening.first_word_before(text, 10), 3);
        assert!(!opening.has_words_before(text, 6), "the quotes are the first word");
        assert!(!opening.has_words_before(text, text.len()));
        let mut opening = Opening::new(3);
        assert!(!opening.has_words_before(text, 6));
        assert!(opening.has_words_before(text, 8));
    }
}
