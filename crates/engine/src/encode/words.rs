//! A cache of the tokens of words.
//!
//! No rule of a BERT tokenizer reads past white space, so a stretch of text between spaces always has the same tokens.
//! The library takes some microseconds for a word, a lookup a few hundredths of one, and most words of a text are
//! cached. Tokenizers of other kinds have no cache, since neighbours could change the tokens of a word.

use std::collections::HashMap;
use std::sync::RwLock;

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::Tokens;
use sentor_text::span::Span;

/// The tokens of words, for one tokenizer.
#[derive(Debug, Default)]
pub(super) struct WordCache(RwLock<HashMap<Box<str>, Box<[Piece]>>>);

/// A token of a word, and its place in the word in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    id: u32,
    start: u8,
    end: u8,
}

/// Longer words rarely occur again.
const LONGEST_WORD_BYTES: usize = 40;
/// Some 10 MB. A full cache is cleared: frequent words return at once, rare ones do not.
const MOST_WORDS: usize = 100_000;

impl WordCache {
    /// Whether the tokens of a word do not depend on its neighbours with `tokenizer`.
    pub(super) fn supports(tokenizer: &Tokenizer) -> bool {
        let is_plain = tokenizer.get_added_tokens_decoder().values().all(|token| token.special);
        matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            && matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_))
            && is_plain
    }

    /// Appends the tokens of `piece` of `text`; `encode` appends those of a stretch that is not cached.
    ///
    /// A thread never waits for another here: one of low priority must not delay one of high priority.
    pub(super) fn append(
        &self,
        text: &str,
        piece: Span,
        tokens: &mut Tokens,
        encode: impl Fn(Span, &mut Tokens),
    ) {
        let Ok(known) = self.0.try_read() else { return encode(piece, tokens) };
        let mut new: Vec<(Span, Box<[Piece]>)> = Vec::new();
        for word in words_of(text, piece) {
            if let Some(pieces) = known.get(word.slice(text)) {
                tokens.ids.extend(pieces.iter().map(|piece| piece.id));
                tokens.spans.extend(pieces.iter().map(|piece| {
                    Span::new(word.start + usize::from(piece.start), word.start + usize::from(piece.end))
                }));
                continue;
            }
            let before = tokens.len();
            encode(word, tokens);
            if word.len() <= LONGEST_WORD_BYTES {
                new.push((word, pieces_of(word, tokens, before)));
            }
        }
        drop(known);
        if new.is_empty() {
            return;
        }
        let Ok(mut known) = self.0.try_write() else { return };
        if known.len() + new.len() > MOST_WORDS {
            known.clear();
        }
        known.extend(new.into_iter().map(|(word, pieces)| (word.slice(text).into(), pieces)));
    }
}

/// The stretches of `piece` between spaces, tabs and ends of lines. Other white space is left to the tokenizer.
fn words_of(text: &str, piece: Span) -> impl Iterator<Item = Span> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut start = piece.start;
    let words = piece.slice(text).as_bytes().split(is_space).map(move |word| {
        let span = Span::new(start, start + word.len());
        start = span.end + 1;
        span
    });
    words.filter(|span| !span.is_empty())
}

/// The tokens from index `first` on, relative to `word`, which is short.
fn pieces_of(word: Span, tokens: &Tokens, first: usize) -> Box<[Piece]> {
    let within = |at: usize| u8::try_from(at - word.start).expect("a cached word is shorter than 256 bytes");
    tokens.ids[first..]
        .iter()
        .zip(&tokens.spans[first..])
        .map(|(&id, span)| Piece { id, start: within(span.start), end: within(span.end) })
        .collect()
}
