//! Places in a text.

use std::ops::Range;

/// A half-open range of **bytes**, `start..end`, in a UTF-8 text; both ends lie on character borders.
///
/// All places inside the program are spans. Only the outer layer converts them to the caller's unit ([`OffsetUnit`]),
/// through [`OffsetMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte of the span.
    pub start: usize,
    /// First byte after the span.
    pub end: usize,
}

impl Span {
    /// The span `start..end`.
    ///
    /// # Panics
    ///
    /// If `end < start`.
    pub fn new(start: usize, end: usize) -> Self {
        assert!(start <= end, "a span cannot end before it starts: {start}..{end}");
        Self { start, end }
    }

    /// The part of `text` that the span covers.
    ///
    /// # Panics
    ///
    /// If the span reaches outside `text` or splits a character.
    pub fn slice(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether the span covers nothing.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether `other` lies entirely inside.
    pub fn contains(self, other: Span) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether both share at least one byte.
    pub fn overlaps(self, other: Span) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Returns the span without white space at its ends. A span of white space becomes empty, at its start.
    #[must_use]
    pub fn trim(self, text: &str) -> Span {
        let slice = self.slice(text);
        let start = self.start + (slice.len() - slice.trim_start().len());
        let end = (self.start + slice.trim_end().len()).max(start);
        if start >= self.end { Span::new(self.start, self.start) } else { Span::new(start, end) }
    }
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start..span.end
    }
}

/// The unit of a caller's offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetUnit {
    /// Unicode code points, as Python indexes strings.
    #[default]
    CodePoint,
    /// UTF-8 bytes, as Rust and Go index strings.
    Utf8,
    /// UTF-16 code units, as JavaScript and Java index strings.
    Utf16,
}

impl OffsetUnit {
    /// Reads the value of the `offsets` query parameter.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "codepoint" => Some(Self::CodePoint),
            "utf8" => Some(Self::Utf8),
            "utf16" => Some(Self::Utf16),
            _ => None,
        }
    }

    fn width(self, character: char) -> usize {
        match self {
            Self::CodePoint => 1,
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
        }
    }
}

/// Converts between byte offsets and one [`OffsetUnit`] in one text.
///
/// It is built in one pass over the text, or in none for ASCII, where all units agree. A look-up costs a binary search
/// and a walk over at most 64 bytes.
#[derive(Clone, Debug)]
pub struct OffsetMap<'t> {
    text: &'t str,
    unit: OffsetUnit,
    /// `(byte, units)` pairs, about one every [`Self::STRIDE`] bytes; empty where bytes and units agree.
    marks: Vec<(usize, usize)>,
}

impl<'t> OffsetMap<'t> {
    const STRIDE: usize = 64;

    /// Prepares conversions for `text`.
    pub fn new(text: &'t str, unit: OffsetUnit) -> Self {
        let mut marks = Vec::new();
        if unit != OffsetUnit::Utf8 && !text.is_ascii() {
            let mut units = 0;
            let mut next = 0;
            for (byte, character) in text.char_indices() {
                if byte >= next {
                    marks.push((byte, units));
                    next = byte + Self::STRIDE;
                }
                units += unit.width(character);
            }
        }
        Self { text, unit, marks }
    }

    /// Returns the number of units before byte `byte`, which must be a character boundary.
    pub fn from_bytes(&self, byte: usize) -> usize {
        if self.marks.is_empty() {
            return byte;
        }
        let mark = self.marks.partition_point(|&(at, _)| at <= byte) - 1;
        let (start, units) = self.marks[mark];
        units + self.text[start..byte].chars().map(|c| self.unit.width(c)).sum::<usize>()
    }

    /// Returns the byte at which unit number `units` starts; `None` outside the text or inside a character.
    pub fn to_bytes(&self, units: usize) -> Option<usize> {
        if self.marks.is_empty() {
            return self.text.is_char_boundary(units).then_some(units);
        }
        let mark = self.marks.partition_point(|&(_, at)| at <= units) - 1;
        let (start, mut at) = self.marks[mark];
        for (byte, character) in self.text[start..].char_indices() {
            if at == units {
                return Some(start + byte);
            }
            if at > units {
                return None;
            }
            at += self.unit.width(character);
        }
        (at == units).then_some(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn trimming_keeps_what_is_not_white_space() {
        let text = "  een zin. \n";
        assert_eq!(Span::new(0, text.len()).trim(text).slice(text), "een zin.");
        assert!(Span::new(0, 2).trim(text).is_empty());
        assert!(Span::new(3, 3).trim(text).is_empty());
    }

    #[test]
    fn units_differ_where_characters_are_wide() {
        let text = "é😀x";
        let at = |unit| OffsetMap::new(text, unit).from_bytes(text.find('x').expect("x is in the text"));
        assert_eq!((at(OffsetUnit::CodePoint), at(OffsetUnit::Utf8), at(OffsetUnit::Utf16)), (2, 6, 3));
        assert_eq!(OffsetMap::new(text, OffsetUnit::Utf16).to_bytes(2), None, "inside a surrogate pair");
    }

    proptest! {
        #[test]
        fn offsets_come_back_from_every_unit(text in "\\PC{0,300}") {
            for unit in [OffsetUnit::CodePoint, OffsetUnit::Utf8, OffsetUnit::Utf16] {
                let map = OffsetMap::new(&text, unit);
                let mut expected = 0;
                for (byte, character) in text.char_indices() {
                    prop_assert_eq!(map.from_bytes(byte), expected);
                    prop_assert_eq!(map.to_bytes(expected), Some(byte));
                    expected += unit.width(character);
                }
                prop_assert_eq!(map.from_bytes(text.len()), expected);
                prop_assert_eq!(map.to_bytes(expected), Some(text.len()));
                prop_assert_eq!(map.to_bytes(expected + 1), None);
            }
        }
    }
}
