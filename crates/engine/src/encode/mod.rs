//! Text to tokens, and tokens to the sequences that a model reads.

mod words;

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::registry::{ModelFolder, SpecialTokens};
use sentor_text::masking::AspectWords;
use sentor_text::span::Span;
use words::WordCache;

/// Turns text into a model's tokens.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    /// Cache of words; `None` if the tokens of a word depend on its neighbours.
    words: Option<WordCache>,
    special: SpecialTokens,
    masking: Option<NameMasking>,
    lowercase_capitals: bool,
}

/// How names are masked for a model that does not read them.
#[derive(Debug)]
struct NameMasking {
    mask: u32,
    aspect_words: AspectWords,
}

/// Tokens of a text in order, without special tokens, and the place of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Index of each token in the vocabulary.
    pub ids: Vec<u32>,
    /// Place of each token in the text, in bytes; starts and ends never decrease.
    pub spans: Vec<Span>,
}

impl Tokens {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none: the text is empty, or all white space and control characters.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens that share at least one byte with `span`. If there are none, the range is empty and in its place.
    pub fn covering(&self, span: Span) -> Range<usize> {
        let start = self.spans.partition_point(|token| token.end <= span.start);
        let end = self.spans.partition_point(|token| token.start < span.end);
        start..end.max(start)
    }

    /// Replaces the tokens that each place touches with one `mask`. Places that overlap or share a token become one.
    fn mask(self, places: &[Span], mask: u32) -> Self {
        let mut touched: Vec<_> =
            places.iter().map(|&place| self.covering(place)).filter(|range| !range.is_empty()).collect();
        if touched.is_empty() {
            return self;
        }
        touched.sort_by_key(|range| (range.start, range.end));
        let mut out = Self::default();
        let mut done = 0;
        for range in touched {
            let end = self.spans[range.end - 1].end;
            if range.start < done {
                // It overlaps the place before.
                if let Some(last) = out.spans.last_mut().filter(|last| last.end < end) {
                    last.end = end;
                }
            } else {
                out.append_range(&self, done..range.start);
                out.ids.push(mask);
                out.spans.push(Span::new(self.spans[range.start].start, end));
            }
            done = done.max(range.end);
        }
        out.append_range(&self, done..self.len());
        out
    }

    fn append_range(&mut self, other: &Self, range: Range<usize>) {
        self.ids.extend_from_slice(&other.ids[range.clone()]);
        self.spans.extend_from_slice(&other.spans[range]);
    }
}

/// One encoded sequence of a model's input, with the spans to score: special tokens, a window of text, and behind it
/// the entities that the text does not mention, each after a separator.
///
/// `[CLS] window [SEP] entity [SEP] entity [SEP]`
///
/// The network separates these segments: the window does not attend to the entities, nor an entity to another, so that
/// none changes the scores of the others (`docs/decisions/0002-segments-do-not-see-each-other.md`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// The tokens, special ones included.
    pub ids: Vec<u32>,
    /// The spans to score.
    pub spans: Vec<SequenceSpan>,
}

/// First and last (inclusive) token of a span in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceSpan {
    /// First token.
    pub first: u32,
    /// Last token.
    pub last: u32,
}

impl Encoder {
    /// Bytes of text that the tokenizer gets at once. This bounds its memory, and the time that an odd stretch of text
    /// can cost.
    const CHUNK_BYTES: usize = 8 * 1024;

    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    ///
    /// If the file is not a tokenizer or lacks a special token of the manifest, or the list of aspect words cannot be
    /// read.
    pub fn open(folder: &ModelFolder) -> Result<Self, EncodeError> {
        let path = folder.tokenizer();
        let mut tokenizer = Tokenizer::from_file(&path)
            .map_err(|source| EncodeError::Tokenizer { path: path.clone(), problem: source.to_string() })?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|source| EncodeError::Tokenizer { path: path.clone(), problem: source.to_string() })?;
        // A `[SEP]` in the text is text, not a separator.
        tokenizer.set_encode_special_tokens(true);
        let special = folder.manifest().tokens;
        for id in [special.cls, special.sep, special.pad].into_iter().chain(special.mask) {
            if tokenizer.id_to_token(id).is_none() {
                return Err(EncodeError::SpecialToken { path, id });
            }
        }
        let masking = match special.mask.zip(folder.aspect_words()) {
            Some((mask, path)) => match std::fs::read_to_string(&path) {
                Ok(words) => Some(NameMasking { mask, aspect_words: AspectWords::parse(&words) }),
                Err(source) => return Err(EncodeError::AspectWords { path, source }),
            },
            None => None,
        };
        let words = WordCache::supports(&tokenizer).then(WordCache::default);
        Ok(Self {
            tokenizer,
            words,
            special,
            masking,
            lowercase_capitals: folder.manifest().lowercase_capitals,
        })
    }

    /// Whether this entity is a name, and the model reads a mask in place of names ([`sentor_text::masking`]).
    pub fn masks(&self, entity: &str) -> bool {
        self.masking.as_ref().is_some_and(|masking| masking.aspect_words.is_name(entity))
    }

    /// Replaces the tokens that each of these places touches with one mask. Returns `tokens` unchanged if the model
    /// reads names.
    pub fn mask(&self, tokens: Tokens, places: &[Span]) -> Tokens {
        match &self.masking {
            Some(masking) => tokens.mask(places, masking.mask),
            None => tokens,
        }
    }

    /// Tokenizes `text`. `borders` are byte offsets, in order, at which it may be cut without changing the tokens:
    /// sentence borders. The tokenizer gets long texts in pieces between them.
    pub fn tokens(&self, text: &str, borders: impl IntoIterator<Item = usize>) -> Tokens {
        self.tokens_while(text, borders, |_| true).unwrap_or_default()
    }

    /// [`Encoder::tokens`], which asks `go_on` after each piece, with the number of tokens so far. `None` if it says no.
    pub fn tokens_while(
        &self,
        text: &str,
        borders: impl IntoIterator<Item = usize>,
        go_on: impl Fn(usize) -> bool,
    ) -> Option<Tokens> {
        let borders = borders.into_iter().chain([text.len()]);
        if self.lowercase_capitals {
            let borders: Vec<usize> = borders.collect();
            self.tokens_between(&lowercase_shouting(text, &borders), borders, go_on)
        } else {
            self.tokens_between(text, borders, go_on)
        }
    }

    fn tokens_between(
        &self,
        text: &str,
        borders: impl IntoIterator<Item = usize>,
        go_on: impl Fn(usize) -> bool,
    ) -> Option<Tokens> {
        let mut tokens = Tokens::default();
        let mut start = 0;
        let mut border = 0;
        for next in borders {
            if next - start > Self::CHUNK_BYTES && border > start {
                self.append_stretch(text, Span::new(start, border), &mut tokens, &go_on)?;
                start = border;
            }
            border = next;
        }
        self.append_stretch(text, Span::new(start, text.len()), &mut tokens, &go_on)?;
        Some(tokens)
    }

    /// Appends the tokens of the text between two borders, in pieces if it is long.
    fn append_stretch(
        &self,
        text: &str,
        stretch: Span,
        tokens: &mut Tokens,
        go_on: &impl Fn(usize) -> bool,
    ) -> Option<()> {
        let mut rest = stretch;
        while rest.len() > 2 * Self::CHUNK_BYTES {
            let cut = rest.start + cut_within(rest.slice(text), Self::CHUNK_BYTES);
            self.append(text, Span::new(rest.start, cut), tokens);
            go_on(tokens.len()).then_some(())?;
            rest.start = cut;
        }
        self.append(text, rest, tokens);
        go_on(tokens.len()).then_some(())
    }

    /// Tokenizes the name of an entity for its place behind a separator: `SERVICE#GENERAL` is read as two words. Returns
    /// at most `max_tokens` tokens, and whether there were more.
    pub fn entity_tokens(&self, name: &str, max_tokens: usize) -> (Vec<u32>, bool) {
        let words = name.replace(['#', '_'], " ");
        let mut ids = self.tokens_between(&words, [words.len()], |_| true).unwrap_or_default().ids;
        let cut = ids.len() > max_tokens;
        ids.truncate(max_tokens);
        (ids, cut)
    }

    /// Builds a sequence from the tokens of a window and of the `entities` behind it, without spans to score. Also returns
    /// the place of each entity; `None` for one without tokens.
    pub fn sequence(&self, window: &[u32], entities: &[&[u32]]) -> (Sequence, Vec<Option<SequenceSpan>>) {
        let length = window.len() + 2 + entities.iter().map(|entity| entity.len() + 1).sum::<usize>();
        let mut ids = Vec::with_capacity(length);
        ids.push(self.special.cls);
        ids.extend_from_slice(window);
        ids.push(self.special.sep);
        let places = entities
            .iter()
            .map(|entity| {
                let first = ids.len();
                ids.extend_from_slice(entity);
                let place = (!entity.is_empty()).then(|| SequenceSpan::new(first, ids.len() - 1));
                ids.push(self.special.sep);
                place
            })
            .collect();
        (Sequence { ids, spans: Vec::new() }, places)
    }

    fn append(&self, text: &str, piece: Span, tokens: &mut Tokens) {
        if piece.is_empty() {
            return;
        }
        match &self.words {
            Some(words) => {
                words.append(text, piece, tokens, |piece, tokens| self.append_uncached(text, piece, tokens));
            }
            None => self.append_uncached(text, piece, tokens),
        }
    }

    /// Appends the tokens that the tokenizer returns for a piece of text.
    fn append_uncached(&self, text: &str, piece: Span, tokens: &mut Tokens) {
        let encoding = self
            .tokenizer
            .encode(piece.slice(text), false)
            .expect("word-piece and byte-pair tokenizers have a token for every text");
        tokens.ids.extend_from_slice(encoding.get_ids());
        let mut last = Span::new(piece.start, piece.start);
        tokens.spans.extend(encoding.get_offsets().iter().map(|&(start, end)| {
            // After normalisation several tokens can have one place; the order must hold all the same.
            let start = (piece.start + start).max(last.start);
            last = Span::new(start, (piece.start + end).max(last.end).max(start));
            last
        }));
    }
}

/// Where a stretch of more than `most` bytes is cut: before the last space of its first `most` bytes, which changes no token. If
/// there is none, after the last mark of ASCII, which is mostly a token of its own, or else between two characters.
fn cut_within(stretch: &str, most: usize) -> usize {
    let end = stretch.floor_char_boundary(most);
    let bytes = stretch.as_bytes();
    let is_before_a_word = |at: &usize| bytes[*at] == b' ' && !bytes[*at + 1].is_ascii_whitespace();
    let space = (1..end).rev().find(is_before_a_word);
    let mark = || (1..end).rev().find(|&at| bytes[at - 1].is_ascii_punctuation());
    space.or_else(mark).unwrap_or(end)
}

/// Lower-cases the stretches between `borders` that are in capitals. Every byte keeps its place.
fn lowercase_shouting<'text>(text: &'text str, borders: &[usize]) -> Cow<'text, str> {
    let mut lowered = String::new();
    let mut start = 0;
    for &end in borders {
        let stretch = &text[start..end];
        if is_in_capitals(stretch) {
            lowered.push_str(&text[lowered.len()..start]);
            lowered.extend(stretch.chars().map(lowercase));
        }
        start = end;
    }
    if lowered.is_empty() {
        return Cow::Borrowed(text);
    }
    lowered.push_str(&text[lowered.len()..]);
    Cow::Owned(lowered)
}

/// Whether a stretch has at least eight letters, and at least seven in ten of them are capitals.
fn is_in_capitals(stretch: &str) -> bool {
    let (mut capitals, mut others) = (0_usize, 0_usize);
    for letter in stretch.chars() {
        capitals += usize::from(letter.is_uppercase());
        others += usize::from(letter.is_lowercase());
    }
    let letters = capitals + others;
    letters >= 8 && 10 * capitals >= 7 * letters
}

/// Lower-cases a letter if the result has as many bytes.
fn lowercase(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(small), None) if small.len_utf8() == letter.len_utf8() => small,
        _ => letter,
    }
}

impl SequenceSpan {
    /// The span from token `first` to token `last`, inclusive.
    ///
    /// # Panics
    ///
    /// If `last < first`, or the sequence were longer than 2³² tokens.
    pub fn new(first: usize, last: usize) -> Self {
        assert!(first <= last, "a span cannot end before it starts");
        let narrow = |index: usize| u32::try_from(index).expect("sequences are far shorter than 2^32 tokens");
        Self { first: narrow(first), last: narrow(last) }
    }
}

/// What is wrong with the tokenizer files of a model folder.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The file is missing or not a tokenizer.
    #[error("cannot read the tokenizer {}: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// Message of the reader.
        problem: String,
    },
    /// The manifest names a special token that the tokenizer lacks.
    #[error("the tokenizer {} has no token {id}, which the manifest names as a special one", path.display())]
    SpecialToken {
        /// The file.
        path: PathBuf,
        /// Index of the token.
        id: u32,
    },
    /// The list of aspect words cannot be read.
    #[error("cannot read the aspect words {}: {source}", path.display())]
    AspectWords {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

impl EncodeError {
    /// Path of the file at fault.
    pub fn path(&self) -> &Path {
        match self {
            Self::Tokenizer { path, .. }
            | Self::SpecialToken { path, .. }
            | Self::AspectWords { path, .. } => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_covers_the_tokens_that_it_touches() {
        let spans = [(0, 3), (3, 5), (6, 9)].map(|(start, end)| Span::new(start, end)).to_vec();
        let tokens = Tokens { ids: vec![1, 2, 3], spans };
        for (start, end, covered) in
            [(0, 3, 0..1), (2, 4, 0..2), (5, 6, 2..2), (4, 9, 1..3), (9, 12, 3..3), (0, 0, 0..0)]
        {
            assert_eq!(tokens.covering(Span::new(start, end)), covered, "{start}..{end}");
        }
    }

    #[test]
    fn a_long_stretch_is_cut_where_it_changes_little() {
        let cut = |stretch: &str, most| {
            let at = cut_within(stretch, most);
            (stretch[..at].to_owned(), stretch[at..].to_owned())
        };
        let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        assert_eq!(cut("ab cd  ef gh", 8), pair("ab cd ", " ef gh"));
        assert_eq!(cut("ab cd     ", 8), pair("ab", " cd     "));
        assert_eq!(cut("a,b.cdefgh", 8), pair("a,b.", "cdefgh"));
        assert_eq!(cut(" abcdefghi", 8), pair(" abcdefg", "hi"));
        assert_eq!(cut("aéééééééé", 8), pair("aééé", "ééééé"));
    }

    #[test]
    fn shouting_is_lower_cased() {
        let whole = |text: &str| lowercase_shouting(text, &[text.len()]).into_owned();
        assert_eq!(whole("WAT EEN ÉCHTE TOPZAAK!"), "wat een échte topzaak!");
        assert_eq!(whole("iPhone VAN KPN ZEER GOED"), "iphone van kpn zeer goed");
        for text in ["Wat een TOPZAAK", "KLM, ING", "De BBC en CNN melden", "今天", ""] {
            assert!(matches!(lowercase_shouting(text, &[text.len()]), Cow::Borrowed(same) if same == text));
        }
        // Sentence by sentence. A capital stays whose small letter is longer or shorter: K is the sign of kelvin.
        let text = "Rustig. NOOIT MEER! Ach. ECHT WAAR \u{212a}İ";
        assert_eq!(
            lowercase_shouting(text, &[8, 20, 25, text.len()]),
            "Rustig. nooit meer! Ach. echt waar \u{212a}İ"
        );
    }

    #[test]
    fn a_masked_place_is_one_token() {
        let spans = [(0, 5), (5, 6), (6, 7), (8, 12), (12, 14), (15, 20)];
        let tokens = Tokens {
            ids: (10..16).collect(),
            spans: spans.map(|(start, end)| Span::new(start, end)).to_vec(),
        };
        let mask = |places: &[(usize, usize)]| {
            let places: Vec<_> = places.iter().map(|&(start, end)| Span::new(start, end)).collect();
            let masked = tokens.clone().mask(&places, 1);
            assert_eq!(masked.ids.len(), masked.spans.len());
            (masked.ids, masked.spans.iter().map(|span| (span.start, span.end)).collect::<Vec<_>>())
        };
        assert_eq!(mask(&[]).0, tokens.ids);
        let (ids, spans) = mask(&[(9, 13), (0, 5)]);
        assert_eq!(ids, [1, 11, 12, 1, 15]);
        assert_eq!(spans, [(0, 5), (5, 6), (6, 7), (8, 14), (15, 20)]);
        // Overlapping, nested and equal places are one; neighbours stay two; a space is no token.
        assert_eq!(mask(&[(0, 12), (8, 14), (9, 10)]), (vec![1, 15], vec![(0, 14), (15, 20)]));
        assert_eq!(mask(&[(8, 12), (12, 14), (8, 12)]).0, [10, 11, 12, 1, 1, 15]);
        assert_eq!(mask(&[(14, 15)]).0, tokens.ids);
    }
}
