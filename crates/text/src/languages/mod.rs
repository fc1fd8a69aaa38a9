//! The knowledge of each language: a folder a language, with its word lists and one [`LanguagePack`].
//!
//! To add a language, write its folder after the model of `en/`, add a variant to [`Language`] and its line to
//! [`LanguagePack::for_language`], and add cases under its heading to `tests/data/`.

mod en;
mod nl;

use std::collections::HashSet;
use std::sync::LazyLock;

use whatlang::Lang;

use crate::language::Language;
use crate::mention::{Compounds, Endings, Stem};
use crate::pronoun::Lexicon;
use crate::segment::SentenceWords;

/// The rules and word lists of one language.
#[derive(Debug)]
pub(crate) struct LanguagePack {
    /// The ISO 639-1 code.
    pub(crate) code: &'static str,
    /// The same language in the trigram detector.
    pub(crate) trigrams: Lang,
    /// Frequent short words, by which the language of a text is detected. The scored languages share none; a word
    /// that a third language has too stands in both lists.
    pub(crate) function_words: &'static str,
    /// Abbreviations and the like, for the ends of sentences.
    pub(crate) sentences: LazyLock<SentenceWords>,
    pub(crate) inflection: Inflection,
    pub(crate) compounding: Compounding,
    pub(crate) pronouns: PronounRules,
}

/// The forms that names and nouns take.
#[derive(Debug)]
pub(crate) struct Inflection {
    /// The endings of an entity, and its changed stems with theirs; also gets the entity's last letters, last first
    /// (at least three of them).
    pub(crate) regular: fn(&str, &[char]) -> (Endings, Vec<Stem>),
    /// Last word, stem and endings that no rule gives.
    pub(crate) irregular: &'static [(&'static str, &'static str, Endings)],
    /// The same for ends of words: `-heid`, `-heden`.
    pub(crate) irregular_suffixes: &'static [(&'static str, &'static str, Endings)],
    /// A plural's last letter that family names end in as well, so that no name has such a plural: `Rutten` is a
    /// name of its own beside `Rutte`.
    pub(crate) surname_ending: Option<char>,
    /// How a name with `s` written to it is read, where that may be a genitive as well as a plural.
    pub(crate) joined_s: Option<JoinedS>,
}

/// The neighbours that tell a plural from a genitive: `twee Samsungs`, `Merkels beleid`. A language with these also
/// writes plurals with an apostrophe (`foto's`).
#[derive(Debug)]
pub(crate) struct JoinedS {
    /// Words before a plural.
    pub(crate) counters: &'static [&'static str],
    /// Words after a plural.
    pub(crate) verbs: &'static [&'static str],
}

/// How compounds are written.
#[derive(Debug)]
pub(crate) enum Compounding {
    /// Apart: `battery life`.
    Apart,
    /// As one word, `batterijduur`, or with a hyphen.
    Joined(LazyLock<Compounds>),
}

impl Compounding {
    /// The compounds, where the language joins them.
    pub(crate) fn joined(&self) -> Option<&Compounds> {
        match self {
            Self::Apart => None,
            Self::Joined(compounds) => Some(compounds),
        }
    }
}

/// What the pronoun step needs to know.
#[derive(Debug)]
pub(crate) struct PronounRules {
    pub(crate) lexicon: LazyLock<Lexicon>,
    pub(crate) gender: Gender,
    /// Whether `she` or `her` after a determiner is a noun: Dutch `mijn haar` is hair.
    pub(crate) is_she_a_noun: bool,
    /// Endings of plurals.
    pub(crate) plural_endings: &'static [&'static str],
    /// Endings of adverbs.
    pub(crate) adverb_endings: &'static [&'static str],
}

/// What decides between `it` and `he`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gender {
    /// Sex: things are `it`.
    Natural,
    /// The noun: things are `hij` or `het`, by their article.
    Grammatical,
}

impl LanguagePack {
    /// The pack of `language`.
    pub(crate) fn for_language(language: Language) -> &'static Self {
        match language {
            Language::English => &en::PACK,
            Language::Dutch => &nl::PACK,
        }
    }
}

/// Everyday words of all languages that are also names or acronyms, or could be: `may`, `it`.
pub(crate) static EVERYDAY_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    data_lines(include_str!("everyday-words.txt")).flat_map(str::split_whitespace).collect()
});

/// The lines of a data file without comments.
pub(crate) fn data_lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pack_can_be_read() {
        for language in Language::ALL {
            let pack = LanguagePack::for_language(language);
            assert_eq!(pack.trigrams.code(), isolang_code(pack.code), "{}", pack.code);
            LazyLock::force(&pack.sentences);
            LazyLock::force(&pack.pronouns.lexicon);
            pack.compounding.joined();
        }
    }

    fn isolang_code(code: &str) -> &'static str {
        isolang::Language::from_639_1(code).expect("the code is one of ISO 639-1").to_639_3()
    }
}
