//! Sentence segmentation.
//!
//! One pass over the text examines everything that may end a sentence: stops, line breaks, emoji, list marks. The word
//! before and the text after decide. The character classes are those of UAX #29. `docs/text.md` lists the differences
//! from its rules, and the gain of each.

mod line;
mod mark;
mod opening;
mod score;
mod stop;
mod words;

pub use score::{EndCounts, score_ends};
pub(crate) use words::SentenceWords;

use crate::language::Language;
use crate::languages::LanguagePack;
use crate::span::Span;
use opening::Opening;

/// Splits a text into sentences.
///
/// The spans tile the text. White space belongs to the sentence before it, leading white space to the first sentence.
/// An empty text has no sentences; a text of white space has one.
pub fn sentences(text: &str, language: Language) -> Vec<Span> {
    let mut scanner = Scanner {
        text,
        words: &LanguagePack::for_language(language).sentences,
        sentence: Opening::new(content_start(text, 0)),
        list: None,
        quotes: Quotes::default(),
        ends: Vec::new(),
    };
    scanner.scan();
    let mut sentences = Vec::with_capacity(scanner.ends.len() + 1);
    let mut start = 0;
    for end in scanner.ends {
        let next = content_start(text, end);
        if next < text.len() {
            sentences.push(Span::new(start, next));
            start = next;
        }
    }
    if start < text.len() {
        sentences.push(Span::new(start, text.len()));
    }
    sentences
}

/// The first byte from `at` on that is not white space.
fn content_start(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}

struct Scanner<'t> {
    text: &'t str,
    words: &'static SentenceWords,
    /// The current sentence.
    sentence: Opening,
    /// The next list mark, if the current sentence is an item of a numbered list.
    list: Option<mark::ListMark>,
    quotes: Quotes,
    /// Ends of the sentences, without trailing white space.
    ends: Vec<usize>,
}

/// Whether a straight double quote is open, counted from the beginning of the paragraph.
#[derive(Default)]
struct Quotes {
    counted_to: usize,
    is_open: bool,
}

impl Quotes {
    fn is_open_at(&mut self, text: &str, at: usize) -> bool {
        let new = &text.as_bytes()[self.counted_to.min(at)..at];
        self.is_open ^= new.iter().fold(false, |is_odd, &byte| is_odd ^ (byte == b'"'));
        self.counted_to = self.counted_to.max(at);
        self.is_open
    }

    fn begin_paragraph(&mut self, at: usize) {
        *self = Self { counted_to: at, is_open: false };
    }
}

impl Scanner<'_> {
    fn scan(&mut self) {
        self.begin(self.sentence.start);
        let mut at = self.sentence.start;
        while at < self.text.len() {
            let byte = self.text.as_bytes()[at];
            at = match byte {
                b'.' | b'!' | b'?' => self.at_stop(at),
                b'\n' | b'\r' | 0x0b | 0x0c => self.at_line_break(at),
                b' ' | b'\t' => self.at_space(at),
                b'-' | b'=' | b'_' | b'*' | b'~' | b'#' => self.at_rule(at, byte),
                0..0x80 => at + 1,
                _ => self.at_wide_character(at),
            };
        }
    }

    /// A new sentence starts at `at`.
    fn begin(&mut self, at: usize) {
        self.sentence = Opening::new(at);
        self.list = mark::list_mark(self.text, at).map(mark::ListMark::next);
    }

    /// Ends the sentence at `end`, and returns where the next one starts.
    fn end(&mut self, end: usize) -> usize {
        self.ends.push(end);
        let next = content_start(self.text, end);
        if line::count_breaks(&self.text[end..next]) > 1 {
            self.quotes.begin_paragraph(next);
        }
        self.begin(next);
        next
    }

    fn at_stop(&mut self, at: usize) -> usize {
        let stop = stop::Stop::read(self.text, at, || self.quotes.is_open_at(self.text, at));
        if stop.ends_sentence(self.text, &mut self.sentence, self.words) {
            self.end(stop.end)
        } else {
            stop.resume()
        }
    }

    fn at_line_break(&mut self, at: usize) -> usize {
        let next = content_start(self.text, at);
        let start = self.sentence.start;
        let end = start + self.text[start..at].trim_end().len();
        if end > start && line::ends_sentence(self.text, &self.sentence, end, next, self.words) {
            self.end(end)
        } else {
            self.sentence.pass_line_break(self.text, at, next);
            next
        }
    }

    /// A list item or a smiley may begin after white space: `• first • second`, `1) first 2) second`.
    fn at_space(&mut self, at: usize) -> usize {
        let next = at + 1;
        let is_item = self.text[next..].starts_with(mark::is_bullet)
            || self.list.is_some_and(|expected| mark::list_mark(self.text, next) == Some(expected));
        let start = self.sentence.start;
        if is_item && at > start && !self.text[start..at].trim_end().is_empty() {
            return self.end(start + self.text[start..at].trim_end().len());
        }
        match mark::emoticon(self.text, next) {
            Some(length) => self.at_feeling(next + length),
            None => next,
        }
    }

    /// A rule of five or more of these characters, with white space around it, is a sentence of its own.
    fn at_rule(&mut self, at: usize, byte: u8) -> usize {
        let end = at + self.text.as_bytes()[at..].iter().take_while(|&&next| next == byte).count();
        let start = self.sentence.start;
        let before = self.text[start..at].trim_end();
        let is_rule = end - at >= 5 && (at == start || before.len() < at - start);
        if is_rule && !before.is_empty() {
            self.end(start + before.len());
        }
        let ends = is_rule && self.text[end..].starts_with(char::is_whitespace);
        if ends && content_start(self.text, end) < self.text.len() { self.end(end) } else { end }
    }

    fn at_wide_character(&mut self, at: usize) -> usize {
        let Some(character) = self.text[at..].chars().next() else { return self.text.len() };
        let next = at + character.len_utf8();
        if stop::is_stop(character) {
            self.at_stop(at)
        } else if matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}') {
            self.at_line_break(at)
        } else if mark::is_emoji(character) {
            self.at_feeling(next)
        } else {
            next
        }
    }

    /// An emoji or smiley ends a sentence of some words when a capital follows.
    fn at_feeling(&mut self, end: usize) -> usize {
        let end = mark::skip_feelings(self.text, end);
        let next = content_start(self.text, end);
        let follows = stop::Following::read(self.text, next);
        let may_end = next > end && follows.starts_upper();
        if may_end && self.sentence.has_words_before(self.text, end) { self.end(end) } else { end }
    }
}
