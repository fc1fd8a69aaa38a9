//! Everything that depends on the language: a folder for each language, with its word lists and one [`LanguagePack`].
//!
//! To add a language, copy the folder `en/` and translate it, add a variant to [`Language`] and its line to
//! [`LanguagePack::for_language`], and add cases under its heading to `tests/data/`.

mod en;
mod nl;

use std::collections::HashSet;
use std::sync::LazyLock;

use whatlang::Lang;

use crate::discover::DiscoveryWords;
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
    /// Frequent short words for language detection. No two scored languages share one. A word that a third language
    /// shares is in both lists.
    pub(crate) function_words: &'static str,
    /// Frequent other words that the other scored languages do not have, with comment lines.
    pub(crate) common_words: &'static str,
    /// Abbreviations and other words that decide where sentences end.
    pub(crate) sentences: LazyLock<SentenceWords>,
    pub(crate) names: NameWords,
    /// For finding what a text may judge.
    pub(crate) discovery: LazyLock<DiscoveryWords>,
    pub(crate) inflection: Inflection,
    pub(crate) compounding: Compounding,
    pub(crate) pronouns: PronounRules,
}

/// Words of names that may be left out or written in another way.
#[derive(Debug)]
pub(crate) struct NameWords {
    /// In lower case.
    pub(crate) articles: &'static [&'static str],
    /// What `&` stands for.
    pub(crate) and: &'static str,
    /// Short and long forms of words before a name, the short ones in lower case and without a full stop.
    pub(crate) written_out: &'static [(&'static str, &'static str)],
    /// Words that an accent makes of another word, without their accents: `rosé`, `exposé`.
    pub(crate) accents_tell: &'static [&'static str],
    /// Nouns that are a name with accents, without them: `Citroën`.
    pub(crate) accents_name: &'static [&'static str],
}

/// The inflection of names and nouns.
#[derive(Debug)]
pub(crate) struct Inflection {
    /// Returns the endings of an entity, and its changed stems with their endings. The second parameter has the
    /// entity's last letters (at least three), last letter first.
    pub(crate) regular: fn(&str, &[char]) -> (Endings, Vec<Stem>),
    /// Irregular forms: last word of the entity, stem, endings.
    pub(crate) irregular: &'static [(&'static str, &'static str, Endings)],
    /// Irregular forms by the end of a word: `-heid`, `-heden`.
    pub(crate) irregular_suffixes: &'static [(&'static str, &'static str, Endings)],
    /// A plural ending that family names end in too. Names therefore have no such plural: `Rutten` is another name than
    /// `Rutte`.
    pub(crate) surname_ending: Option<char>,
    /// Words that decide whether a name with `s` attached is a genitive or a plural.
    pub(crate) joined_s: Option<JoinedS>,
}

/// The neighbours that distinguish a plural from a genitive: `twee Samsungs`, `Merkels beleid`. A language with these
/// also writes plurals with an apostrophe (`foto's`).
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
    /// The compounds, if the language writes them as one word.
    pub(crate) fn joined(&self) -> Option<&Compounds> {
        match self {
            Self::Apart => None,
            Self::Joined(compounds) => Some(compounds),
        }
    }
}

/// The rules and words of the pronoun step.
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

/// What determines the pronoun of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gender {
    /// Natural gender: things are `it`.
    Natural,
    /// Grammatical gender: things are `hij` or `het`, by their article.
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

/// Everyday words of all languages that are, or could be, names or acronyms: `may`, `it`.
pub(crate) static EVERYDAY_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    data_lines(include_str!("everyday-words.txt")).flat_map(str::split_whitespace).collect()
});

/// Everyday words that are nouns: a caller who writes one with a capital means the thing, not a name.
pub(crate) static EVERYDAY_NOUNS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    data_lines(include_str!("everyday-nouns.txt")).flat_map(str::split_whitespace).collect()
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
