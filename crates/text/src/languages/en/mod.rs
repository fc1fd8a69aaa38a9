//! English.

mod inflect;

use std::sync::LazyLock;

use whatlang::Lang;

use super::{Compounding, Gender, Inflection, LanguagePack, PronounRules};
use crate::pronoun::Lexicon;
use crate::segment::SentenceWords;

pub(super) static PACK: LanguagePack = LanguagePack {
    code: "en",
    trigrams: Lang::Eng,
    function_words: include_str!("function-words.txt"),
    sentences: LazyLock::new(|| SentenceWords::parse(include_str!("sentences.txt"))),
    inflection: Inflection {
        regular: inflect::regular,
        irregular: inflect::IRREGULAR,
        irregular_suffixes: &[],
        surname_ending: None,
        joined_s: None,
    },
    compounding: Compounding::Apart,
    pronouns: PronounRules {
        lexicon: LazyLock::new(|| Lexicon::parse(include_str!("pronouns.txt"))),
        gender: Gender::Natural,
        is_she_a_noun: false,
        plural_endings: &["s"],
        adverb_endings: &["ly"],
    },
};
