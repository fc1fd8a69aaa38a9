//! Words that were turned into tokens before.
//!
//! No rule of a BERT tokenizer looks past white space, so a stretch of text between spaces has the same tokens wherever it stands.
//! The library takes some microseconds for each word; most words of a text have been met before, and to find them again takes some
//! hundredths of one. Where the two could differ, for tokenizers of other kinds, nothing is remembered.

use std::collections::HashMap;
use std::sync::RwLock;

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::Tokens;
use sentor_text::span::Span;

/// The words of one tokenizer.
#[derive(Debug, Default)]
pub(super) struct Words(RwLock<HashMap<Box<str>, Box<[Piece]>>>);

/// A token of a word, and where it stands in it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    id: u32,
    start: u8,
    end: u8,
}

/// Longer ones are seldom met again.
const LONGEST_WORD_BYTES: usize = 40;
/// Some 10 MB. When there are more, all are forgotten: those in use come back at once, those that came once do not.
const MOST_WORDS: usize = 100_000;

impl Words {
    /// Whether words of `tokenizer` have the same tokens wherever they stand.
    pub(super) fn suit(tokenizer: &Tokenizer) -> bool {
        let is_plain = tokenizer.get_added_tokens_decoder().values().all(|token| token.special);
        matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            && matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_))
            && is_plain
    }

    /// Appends the tokens of `piece` of `text`; `encode` appends those of a stretch of it that is not known.
    ///
    /// A thread never waits for another here: one that gives way must not hold up one that does not.
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

/// The tokens from number `first` on, as those of `word`, which is short.
fn pieces_of(word: Span, tokens: &Tokens, first: usize) -> Box<[Piece]> {
    let within =
        |at: usize| u8::try_from(at - word.start).expect("a remembered word is shorter than 256 bytes");
    tokens.ids[first..]
        .iter()
        .zip(&tokens.spans[first..])
        .map(|(&id, span)| Piece { id, start: within(span.start), end: within(span.end) })
        .collect()
}
