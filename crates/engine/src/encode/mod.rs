//! Text to tokens, and tokens to the rows that a model reads.

mod words;

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::registry::{ModelFolder, SpecialTokens};
use sentor_text::masking::AspectWords;
use sentor_text::span::Span;
use words::Words;

/// Turns text into a model's tokens.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    /// Words that were met before; `None` where a word's tokens depend on what it stands beside.
    words: Option<Words>,
    special: SpecialTokens,
    names: Option<HiddenNames>,
    lowercase_capitals: bool,
}

/// How a model that is blind to names is kept from seeing them.
#[derive(Debug)]
struct HiddenNames {
    mask: u32,
    aspect_words: AspectWords,
}

/// A text's tokens, without special ones, in order, and where each stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Number of each token in the vocabulary.
    pub ids: Vec<u32>,
    /// Where each stands in the text, in bytes; starts and ends never decrease.
    pub spans: Vec<Span>,
}

impl Tokens {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the text has none: it is empty, or all white space and control characters.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens that share at least one byte with `span`; empty, in its place, where none does.
    pub fn covering(&self, span: Span) -> Range<usize> {
        let start = self.spans.partition_point(|token| token.end <= span.start);
        let end = self.spans.partition_point(|token| token.start < span.end);
        start..end.max(start)
    }

    /// These tokens with one `mask` for those that a place of `hidden` touches; places that overlap or share a
    /// token become one.
    fn hide(self, hidden: &[Span], mask: u32) -> Self {
        let mut touched: Vec<_> =
            hidden.iter().map(|&place| self.covering(place)).filter(|range| !range.is_empty()).collect();
        if touched.is_empty() {
            return self;
        }
        touched.sort_by_key(|range| (range.start, range.end));
        let mut out = Self::default();
        let mut done = 0;
        for range in touched {
            let end = self.spans[range.end - 1].end;
            if range.start < done {
                // It goes on where the last one was hidden.
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

/// One row of a model's input: special tokens and a window of text, and behind it, each after a separator, the
/// entities that are not in the text; with the spans to score.
///
/// `[CLS] window [SEP] entity [SEP] entity [SEP]`
///
/// The network reads the separators: the window does not see the entities, nor does an entity see another, so
/// that neither changes the other's scores (`docs/decisions/0002-segments-do-not-see-each-other.md`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The tokens, special ones included.
    pub ids: Vec<u32>,
    /// First and last token of each span to score.
    pub spans: Vec<RowSpan>,
}

/// First and last (inclusive) token of a span in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowSpan {
    /// First token.
    pub first: u32,
    /// Last token.
    pub last: u32,
}

impl Encoder {
    /// Bytes of text that are given to the tokenizer at once: its memory, and the damage that an odd stretch of
    /// text can do to its speed, are bounded by this.
    const CHUNK_BYTES: usize = 8 * 1024;

    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    ///
    /// Where the file is not a tokenizer, or does not have the special tokens that the manifest names, or the list
    /// of aspect words cannot be read.
    pub fn open(folder: &ModelFolder) -> Result<Self, EncodeError> {
        let path = folder.tokenizer();
        let mut tokenizer = Tokenizer::from_file(&path)
            .map_err(|source| EncodeError::Tokenizer { path: path.clone(), problem: source.to_string() })?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|source| EncodeError::Tokenizer { path: path.clone(), problem: source.to_string() })?;
        // A `[SEP]` that somebody types is text, not a separator.
        tokenizer.set_encode_special_tokens(true);
        let special = folder.manifest().tokens;
        for id in [special.cls, special.sep, special.pad].into_iter().chain(special.mask) {
            if tokenizer.id_to_token(id).is_none() {
                return Err(EncodeError::SpecialToken { path, id });
            }
        }
        let names = match special.mask.zip(folder.aspect_words()) {
            Some((mask, path)) => match std::fs::read_to_string(&path) {
                Ok(words) => Some(HiddenNames { mask, aspect_words: AspectWords::parse(&words) }),
                Err(source) => return Err(EncodeError::AspectWords { path, source }),
            },
            None => None,
        };
        let words = Words::suit(&tokenizer).then(Words::default);
        Ok(Self {
            tokenizer,
            words,
            special,
            names,
            lowercase_capitals: folder.manifest().lowercase_capitals,
        })
    }

    /// Whether the model is not to see this entity's name where the text has it ([`crate::names`]).
    pub fn hides(&self, entity: &str) -> bool {
        self.names.as_ref().is_some_and(|names| names.aspect_words.is_name(entity))
    }

    /// `tokens` with a mask in each of these places, one for all the tokens that it touches; as they are where the
    /// model reads names.
    pub fn hide(&self, tokens: Tokens, places: &[Span]) -> Tokens {
        match &self.names {
            Some(names) => tokens.hide(places, names.mask),
            None => tokens,
        }
    }

    /// The tokens of `text`. `borders` are byte offsets at which it may be cut without changing them (sentence
    /// borders), in order; long texts are given to the tokenizer in pieces between these.
    pub fn tokens(&self, text: &str, borders: impl IntoIterator<Item = usize>) -> Tokens {
        let borders = borders.into_iter().chain([text.len()]);
        if self.lowercase_capitals {
            let borders: Vec<usize> = borders.collect();
            self.tokens_between(&quieten(text, &borders), borders)
        } else {
            self.tokens_between(text, borders)
        }
    }

    fn tokens_between(&self, text: &str, borders: impl IntoIterator<Item = usize>) -> Tokens {
        let mut tokens = Tokens::default();
        let mut start = 0;
        let mut border = 0;
        for next in borders {
            if next - start > Self::CHUNK_BYTES && border > start {
                self.append(text, Span::new(start, border), &mut tokens);
                start = border;
            }
            border = next;
        }
        self.append(text, Span::new(start, text.len()), &mut tokens);
        tokens
    }

    /// The tokens of an entity's name as it is written behind a separator: `SERVICE#GENERAL` reads as two words.
    /// At most `max_tokens` of them, and whether there were more.
    pub fn entity_tokens(&self, name: &str, max_tokens: usize) -> (Vec<u32>, bool) {
        let words = name.replace(['#', '_'], " ");
        let mut ids = self.tokens_between(&words, [words.len()]).ids;
        let cut = ids.len() > max_tokens;
        ids.truncate(max_tokens);
        (ids, cut)
    }

    /// The row that reads `window`, a range of `tokens`, with `entities` behind it; its spans are still to be
    /// added. Also gives the place of each entity, `None` for one without tokens.
    pub fn row(&self, window: &[u32], entities: &[&[u32]]) -> (Row, Vec<Option<RowSpan>>) {
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
                let place = (!entity.is_empty()).then(|| RowSpan::new(first, ids.len() - 1));
                ids.push(self.special.sep);
                place
            })
            .collect();
        (Row { ids, spans: Vec::new() }, places)
    }

    fn append(&self, text: &str, piece: Span, tokens: &mut Tokens) {
        if piece.is_empty() {
            return;
        }
        match &self.words {
            Some(words) => {
                words.append(text, piece, tokens, |piece, tokens| self.append_unmet(text, piece, tokens));
            }
            None => self.append_unmet(text, piece, tokens),
        }
    }

    /// Appends what the tokenizer makes of a piece of text.
    fn append_unmet(&self, text: &str, piece: Span, tokens: &mut Tokens) {
        let encoding = self
            .tokenizer
            .encode(piece.slice(text), false)
            .expect("word-piece and byte-pair tokenizers have a token for every text");
        tokens.ids.extend_from_slice(encoding.get_ids());
        let mut last = Span::new(piece.start, piece.start);
        tokens.spans.extend(encoding.get_offsets().iter().map(|&(start, end)| {
            // Normalisation can give several tokens one place; the order must hold all the same.
            let start = (piece.start + start).max(last.start);
            last = Span::new(start, (piece.start + end).max(last.end).max(start));
            last
        }));
    }
}

/// `text` with the stretches between `borders` that are in capitals in small letters; every byte keeps its place.
fn quieten<'text>(text: &'text str, borders: &[usize]) -> Cow<'text, str> {
    let mut quiet = String::new();
    let mut start = 0;
    for &end in borders {
        let stretch = &text[start..end];
        if is_in_capitals(stretch) {
            quiet.push_str(&text[quiet.len()..start]);
            quiet.extend(stretch.chars().map(small_letter));
        }
        start = end;
    }
    if quiet.is_empty() {
        return Cow::Borrowed(text);
    }
    quiet.push_str(&text[quiet.len()..]);
    Cow::Owned(quiet)
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

/// The small letter of a capital, where it takes as many bytes.
fn small_letter(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(small), None) if small.len_utf8() == letter.len_utf8() => small,
        _ => letter,
    }
}

impl RowSpan {
    /// The span from token `first` to token `last`, inclusive.
    ///
    /// # Panics
    ///
    /// If `last < first`, or a row were longer than 2³² tokens.
    pub fn new(first: usize, last: usize) -> Self {
        assert!(first <= last, "a row's span cannot end before it starts");
        let narrow = |index: usize| u32::try_from(index).expect("rows are far shorter than 2^32 tokens");
        Self { first: narrow(first), last: narrow(last) }
    }
}

/// What is wrong with a model folder's way from text to tokens.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The file is missing or not a tokenizer.
    #[error("cannot read the tokenizer {}: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        problem: String,
    },
    /// The manifest names a special token that the tokenizer lacks.
    #[error("the tokenizer {} has no token {id}, which the manifest names as a special one", path.display())]
    SpecialToken {
        /// The file.
        path: PathBuf,
        /// The token's number.
        id: u32,
    },
    /// The list of aspect words cannot be read.
    #[error("cannot read the aspect words {}: {source}", path.display())]
    AspectWords {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl EncodeError {
    /// The file that is at fault.
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
    fn capitals_are_read_in_small_letters() {
        let whole = |text: &str| quieten(text, &[text.len()]).into_owned();
        assert_eq!(whole("WAT EEN ÉCHTE TOPZAAK!"), "wat een échte topzaak!");
        assert_eq!(whole("iPhone VAN KPN ZEER GOED"), "iphone van kpn zeer goed");
        for text in ["Wat een TOPZAAK", "KLM, ING", "De BBC en CNN melden", "今天", ""] {
            assert!(matches!(quieten(text, &[text.len()]), Cow::Borrowed(same) if same == text));
        }
        // Sentence by sentence, and a capital whose small letter is longer or shorter stays: K is Kelvin's.
        let text = "Rustig. NOOIT MEER! Ach. ECHT WAAR \u{212a}İ";
        assert_eq!(quieten(text, &[8, 20, 25, text.len()]), "Rustig. nooit meer! Ach. echt waar \u{212a}İ");
    }

    #[test]
    fn a_hidden_place_is_one_token() {
        let spans = [(0, 5), (5, 6), (6, 7), (8, 12), (12, 14), (15, 20)];
        let tokens = Tokens {
            ids: (10..16).collect(),
            spans: spans.map(|(start, end)| Span::new(start, end)).to_vec(),
        };
        let hide = |places: &[(usize, usize)]| {
            let places: Vec<_> = places.iter().map(|&(start, end)| Span::new(start, end)).collect();
            let hidden = tokens.clone().hide(&places, 1);
            assert_eq!(hidden.ids.len(), hidden.spans.len());
            (hidden.ids, hidden.spans.iter().map(|span| (span.start, span.end)).collect::<Vec<_>>())
        };
        assert_eq!(hide(&[]).0, tokens.ids);
        let (ids, spans) = hide(&[(9, 13), (0, 5)]);
        assert_eq!(ids, [1, 11, 12, 1, 15]);
        assert_eq!(spans, [(0, 5), (5, 6), (6, 7), (8, 14), (15, 20)]);
        // Overlapping, nested and equal places are one; neighbours stay two; a space is no token.
        assert_eq!(hide(&[(0, 12), (8, 14), (9, 10)]), (vec![1, 15], vec![(0, 14), (15, 20)]));
        assert_eq!(hide(&[(8, 12), (12, 14), (8, 12)]).0, [10, 11, 12, 1, 1, 15]);
        assert_eq!(hide(&[(14, 15)]).0, tokens.ids);
    }
}
