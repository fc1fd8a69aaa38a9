//! Which language a text is in.

use super::Language;

/// What a text seems to be written in.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The detected language where it is one that is scored, or `None` for any other and where the text
    /// is too short to tell.
    pub language: Option<Language>,
    /// ISO 639-1 code (639-3 where there is none) of the detected language, or `und`.
    pub code: String,
    /// 0..=1.
    pub confidence: f32,
}

/// Detects the language of `text`.
pub fn detect(_text: &str) -> Detection {
    Detection { language: None, code: "und".to_owned(), confidence: 0.0 }
}
