//! Stub; the real module comes from the branch `text`.

use crate::language::Language;
use crate::text::Span;

/// Stub: the whole text is one sentence.
pub fn sentences(text: &str, _language: Language) -> Vec<Span> {
    vec![Span::new(0, text.len())]
}
