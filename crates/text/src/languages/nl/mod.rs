//! Dutch.

mod inflect;

use std::sync::LazyLock;

use whatlang::Lang;

use super::{Compounding, Gender, Inflection, JoinedS, LanguagePack, NameWords, PronounRules};
use crate::discover::DiscoveryWords;
use crate::mention::Compounds;
use crate::pronoun::Lexicon;
use crate::segment::SentenceWords;

pub(super) static PACK: LanguagePack = LanguagePack {
    code: "nl",
    trigrams: Lang::Nld,
    function_words: include_str!("function-words.txt"),
    common_words: include_str!("common-words.txt"),
    sentences: LazyLock::new(|| SentenceWords::parse(include_str!("sentences.txt"))),
    names: NameWords {
        articles: &["de", "een", "het", "'t", "’t"],
        and: "en",
        written_out: &[("st", "Sint")],
        accents_tell: &["appel", "hee", "jee", "kop", "mais", "regel", "zee"],
        accents_name: &["citroen"],
    },
    discovery: LazyLock::new(|| {
        let plain = [include_str!("function-words.txt"), include_str!("common-words.txt")];
        DiscoveryWords::parse(include_str!("aspects.txt"), plain)
    }),
    inflection: Inflection {
        regular: inflect::regular,
        irregular: inflect::IRREGULAR,
        irregular_suffixes: inflect::IRREGULAR_SUFFIXES,
        // `Rutte` and `Rutten`, `Jans` and `Jansen`.
        surname_ending: Some('n'),
        joined_s: Some(JoinedS { counters: &COUNTERS, verbs: &VERBS }),
    },
    compounding: Compounding::Joined(LazyLock::new(|| {
        Compounds::parse(include_str!("nouns.txt"), include_str!("no-compounds.txt"), &LINKS, &SUFFIXES)
    })),
    pronouns: PronounRules {
        lexicon: LazyLock::new(|| Lexicon::parse(include_str!("pronouns.txt"))),
        gender: Gender::Grammatical,
        is_she_a_noun: true,
        plural_endings: &["s", "en"],
        adverb_endings: &[],
    },
};

/// Letters between the two parts of a compound.
const LINKS: [&str; 6] = ["", "s", "e", "en", "n", "er"];

/// Nouns that are also suffixes: `natuurlijk` and `waardering` have no such head.
const SUFFIXES: [&str; 7] = ["baar", "heid", "lijk", "loos", "maal", "rijk", "ring"];

/// Words before a name in `s` that make it a plural.
const COUNTERS: [&str; 22] = [
    "alle", "beide", "de", "deze", "die", "drie", "een", "enkele", "geen", "haar", "hun", "meer", "mijn",
    "nieuwe", "onze", "oude", "twee", "uw", "veel", "vier", "vijf", "zijn",
];

/// Words after a name in `s` that make it a plural.
const VERBS: [&str; 10] =
    ["gaan", "hadden", "hebben", "kosten", "kunnen", "moeten", "waren", "worden", "zijn", "zullen"];
