//! The scored languages, and language detection.

mod detect;

pub use detect::{Detection, detect};

use crate::languages::LanguagePack;

/// A language with a language pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// English, `en`.
    English,
    /// Dutch, `nl`.
    Dutch,
}

impl Language {
    /// All languages.
    pub const ALL: [Language; 2] = [Language::English, Language::Dutch];

    /// The ISO 639-1 code.
    pub fn code(self) -> &'static str {
        LanguagePack::for_language(self).code
    }

    /// Reads an ISO 639-1 code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }
}

/// The language that a caller asks for: a fixed one, or the detected one of each document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanguageChoice {
    /// Score as this language, without detection.
    Fixed(Language),
    /// Detect the language of each document.
    Auto,
}

impl LanguageChoice {
    /// Reads the value of the `language` parameter: `en`, `nl` or `auto`.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "auto" { Some(Self::Auto) } else { Language::parse(name).map(Self::Fixed) }
    }
}
