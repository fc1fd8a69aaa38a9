//! English.

mod inflect;

use std::sync::LazyLock;

use whatlang::Lang;

use super::{Compounding, Gender, Inflection, LanguagePack, NameWords, PronounRules};
use crate::discover::DiscoveryWords;
use crate::pronoun::Lexicon;
use crate::segment::SentenceWords;

pub(super) static PACK: LanguagePack = LanguagePack {
    code: "en",
    trigrams: Lang::Eng,
    function_words: include_str!("function-words.txt"),
    common_words: include_str!("common-words.txt"),
    sentences: LazyLock::new(|| SentenceWords::parse(include_str!("sentences.txt"))),
    names: NameWords {
        articles: &["a", "an", "the"],
        and: "and",
        written_out: &[("ft", "Fort"), ("mt", "Mount"), ("st", "Saint")],
        accents_tell: &["attache", "expose", "lame", "mate", "pate", "rose", "sake"],
        accents_name: &[],
    },
    discovery: LazyLock::new(|| {
        let plain = [include_str!("function-words.txt"), include_str!("common-words.txt")];
        DiscoveryWords::parse(include_str!("aspects.txt"), plain)
    }),
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
