//! Normalises a text for the mention search, and maps places back to the original.
//!
//! Spellings of one name become the same string: case is folded, Latin and Greek letters lose their accents, quotes and
//! dashes become ASCII, any white space becomes one space, and an HTML reference (`&amp;`) becomes its character.
//! Invisible characters and hyphens inside words (`e-mail` and `email`) are removed.

use std::iter::Peekable;
use std::str::CharIndices;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use super::html;

/// A normalised text, and the origin of its bytes.
#[derive(Debug, Default)]
pub(super) struct Normalized {
    text: String,
    /// The differences between text and original, in order. Between two edits, both are equally long.
    edits: Vec<Edit>,
}

/// Replaces `original_length` bytes at `original` by `length` bytes at `start`, as a whole.
#[derive(Clone, Copy, Debug)]
struct Edit {
    start: usize,
    length: usize,
    original: usize,
    original_length: usize,
}

impl Edit {
    fn end(self) -> usize {
        self.start + self.length
    }

    fn original_end(self) -> usize {
        self.original + self.original_length
    }
}

impl Normalized {
    /// Normalises `original` in one pass.
    pub(super) fn new(original: &str) -> Self {
        let mut normalized = Self { text: String::with_capacity(original.len()), edits: Vec::new() };
        let mut cluster = String::new();
        let mut characters = original.char_indices().peekable();
        let mut before = None;
        while let Some((at, character)) = characters.next() {
            match character {
                'a'..='z' | '0'..='9' => normalized.text.push(character),
                'A'..='Z' => normalized.text.push(character.to_ascii_lowercase()),
                _ if is_dash(character) && joins_word(before, characters.peek()) => {
                    normalized.replace(at, character, "");
                }
                _ if is_dash(character) => normalized.replace(at, character, "-"),
                '&' => {
                    let Some((decoded, length)) = html::reference(&original[at..]) else {
                        normalized.text.push(character);
                        before = Some(character);
                        continue;
                    };
                    while characters.next_if(|&(next, _)| next < at + length).is_some() {}
                    normalized.replace_reference(at, length, decoded);
                    before = Some(decoded);
                    continue;
                }
                _ if is_mark(character) && normalized.text.ends_with(is_stripped_base) => {
                    normalized.replace(at, character, "");
                    continue;
                }
                _ if character.is_whitespace() => {
                    let space = if normalized.text.ends_with(' ') { "" } else { " " };
                    normalized.replace(at, character, space);
                }
                '\u{20}'..='\u{7e}' if character != '`' => normalized.text.push(character),
                _ if is_ignorable(character) => normalized.replace(at, character, ""),
                '`' | '‘' | '’' | '‚' | '‛' | '′' | 'ʼ' | 'ʹ' | '´' | '＇' => {
                    normalized.replace(at, character, "'");
                }
                '“' | '”' | '„' | '‟' | '″' | '«' | '»' | '＂' => {
                    normalized.replace(at, character, "\"");
                }
                _ => {
                    cluster.clear();
                    cluster.push(character);
                    let length = character.len_utf8() + take_marks(&mut characters, &mut cluster);
                    normalized.replace_cluster(at, length, &cluster);
                }
            }
            if !is_ignorable(character) {
                before = Some(character);
            }
        }
        normalized
    }

    /// The normalised text.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the original byte at which the normalised byte `at` starts, after removed characters; `None` inside the
    /// replacement of one character.
    pub(super) fn original_start(&self, at: usize) -> Option<usize> {
        let before = self.edits.partition_point(|edit| edit.start <= at);
        let Some(&edit) = before.checked_sub(1).and_then(|last| self.edits.get(last)) else {
            return Some(at);
        };
        if edit.start == at && edit.length > 0 {
            return Some(edit.original);
        }
        (at >= edit.end()).then(|| edit.original_end() + (at - edit.end()))
    }

    /// Returns the original byte at which a normalised range that ends at `at` ends, before removed characters; `None`
    /// inside the replacement of one character.
    pub(super) fn original_end(&self, at: usize) -> Option<usize> {
        let before = self.edits.partition_point(|edit| edit.start < at);
        let Some(&edit) = before.checked_sub(1).and_then(|last| self.edits.get(last)) else {
            return Some(at);
        };
        (at >= edit.end()).then(|| edit.original_end() + (at - edit.end()))
    }

    fn replace(&mut self, at: usize, character: char, by: &str) {
        self.edit(at, character.len_utf8(), by.len());
        self.text.push_str(by);
    }

    /// Puts the character that an HTML reference of `length` bytes stands for in its place.
    fn replace_reference(&mut self, at: usize, length: usize, decoded: char) {
        let mut buffer = [0; 4];
        // One character gives one edit at most, at the very beginning.
        let part = Self::new(decoded.encode_utf8(&mut buffer));
        let by = if part.text == " " && self.text.ends_with(' ') { "" } else { part.text.as_str() };
        self.edit(at, length, by.len());
        self.text.push_str(by);
    }

    /// Folds the case of a character and its marks, and removes accents. The lower case of the upper case equals full
    /// case folding (`ß`, `ﬁ`, final sigma) and needs no tables.
    fn replace_cluster(&mut self, at: usize, length: usize, cluster: &str) {
        let start = self.text.len();
        push_folded(&mut self.text, cluster);
        let folded_length = self.text.len() - start;
        // A character that becomes another of the same length needs no edit.
        if folded_length != length || self.text[start..].chars().count() > 1 {
            self.insert(Edit { start, length: folded_length, original: at, original_length: length });
        }
    }

    fn edit(&mut self, original: usize, original_length: usize, length: usize) {
        if original_length != length {
            self.insert(Edit { start: self.text.len(), length, original, original_length });
        }
    }

    /// Adds an edit. Adjacent removals become one edit.
    fn insert(&mut self, edit: Edit) {
        match self.edits.last_mut() {
            Some(last) if edit.length == 0 && last.length == 0 && last.start == edit.start => {
                last.original_length = edit.original_end() - last.original;
            }
            _ => self.edits.push(edit),
        }
    }
}

/// Adds `text` in folded case and without accents on Latin and Greek letters; other scripts keep their marks, which make
/// other letters there (`й`).
fn push_folded(folded: &mut String, text: &str) {
    let lower = text.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    for character in lower.nfd() {
        if is_mark(character) && folded.ends_with(is_stripped_base) {
            continue;
        }
        match character {
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'ħ' => folded.push('h'),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            _ => folded.push(character),
        }
    }
}

/// Whether `text` has a letter that [`Normalized`] takes an accent off.
pub(super) fn has_accents(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let mut decomposed = text.nfd().peekable();
    while let Some(character) = decomposed.next() {
        let is_marked = is_stripped_base(character) && decomposed.peek().is_some_and(|&next| is_mark(next));
        if is_marked || "øłđðħæœþØŁĐÐĦÆŒÞ".contains(character) {
            return true;
        }
    }
    false
}

/// Whether a character sticks to the one before it.
pub(super) fn is_mark(character: char) -> bool {
    character >= '\u{300}' && canonical_combining_class(character) != 0
}

/// Whether accents on this letter make no other letter: it is Latin or Greek.
fn is_stripped_base(letter: char) -> bool {
    letter.is_ascii_alphabetic()
        || (letter.is_alphabetic()
            && matches!(letter, '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{3ff}' | '\u{1e00}'..='\u{1fff}'))
}

/// Moves the combining marks that follow into `cluster`; returns their length in bytes.
fn take_marks(characters: &mut Peekable<CharIndices<'_>>, cluster: &mut String) -> usize {
    let mut length = 0;
    while let Some((_, mark)) = characters.next_if(|&(_, next)| canonical_combining_class(next) != 0) {
        cluster.push(mark);
        length += mark.len_utf8();
    }
    length
}

/// Whether a dash between these two is inside a word: both are letters or digits and at least one is a letter, so `2-3`
/// and `1990-1995` keep their dash.
fn joins_word(before: Option<char>, after: Option<&(usize, char)>) -> bool {
    let (Some(before), Some(&(_, after))) = (before, after) else { return false };
    before.is_alphanumeric() && after.is_alphanumeric() && (before.is_alphabetic() || after.is_alphabetic())
}

/// Hyphens, dashes and the minus sign.
pub(super) fn is_dash(character: char) -> bool {
    matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}')
}

/// Invisible characters: soft hyphens, zero-width spaces and joiners, direction marks, variation selectors.
pub(super) fn is_ignorable(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_name_are_equal() {
        for (one, other) in [
            ("Café", "cafe\u{301}"),
            ("Straße", "STRASSE"),
            ("e-mail", "email"),
            ("O’Brien", "o'brien"),
            ("Apple\u{a0}Watch", "apple  watch"),
            ("bat\u{ad}terij", "batterij"),
            ("Jay\u{2011}Z", "jay-z"),
            ("ệ", "e\u{302}\u{323}"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("Café", "cafe"),
            ("Škoda", "skoda"),
            ("Ørsted", "ORSTED"),
            ("Łódź", "lodz"),
            ("AT&amp;T", "at&t"),
            ("Nestl&eacute;&nbsp; B", "nestlé b"),
        ] {
            assert_eq!(Normalized::new(one).as_str(), Normalized::new(other).as_str());
        }
        for (one, other) in [("мой", "мои"), ("1-2", "12"), ("&amp T", "& t")] {
            assert_ne!(Normalized::new(one).as_str(), Normalized::new(other).as_str());
        }
    }

    #[test]
    fn places_map_back_to_the_original() {
        let original = "De\u{200b}  ﬁets – cafe\u{301}s";
        let normalized = Normalized::new(original);
        assert_eq!(normalized.as_str(), "de fiets - cafes");
        let span = |part: &str| {
            let start = normalized.as_str().find(part).expect("the part is in the text");
            let end = start + part.len();
            Some(&original[normalized.original_start(start)?..normalized.original_end(end)?])
        };
        assert_eq!(span("de"), Some("De"));
        assert_eq!(span("fiets"), Some("ﬁets"));
        assert_eq!(span("iets"), None, "starts inside a ligature");
        assert_eq!(span("cafes"), Some("cafe\u{301}s"));
        let coded = "R&amp;D";
        let normalized = Normalized::new(coded);
        assert_eq!((normalized.original_start(1), normalized.original_end(2)), (Some(1), Some(6)));
    }

    proptest! {
        #[test]
        fn every_mapped_place_is_a_character_boundary(original in "(&amp;|[a-cA-C éÉßﬁ&;\u{ad}\u{301}\u{323}\u{200b}\u{a0}’–-]){0,40}") {
            let normalized = Normalized::new(&original);
            let mut last = 0;
            for at in (0..=normalized.as_str().len()).filter(|&at| normalized.as_str().is_char_boundary(at)) {
                for place in [normalized.original_end(at), normalized.original_start(at)].into_iter().flatten() {
                    prop_assert!(original.is_char_boundary(place));
                    prop_assert!(place >= last, "places keep their order");
                    last = place;
                }
            }
            prop_assert_eq!(normalized.original_start(normalized.as_str().len()), Some(original.len()));
        }
    }
}
