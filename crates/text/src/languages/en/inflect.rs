//! English plurals.

use crate::mention::{Endings, Stem, is_vowel, without_last};

/// The endings of a word in normalised spelling, and its changed stems: `batter`-ies, `kni`-ves.
pub(super) fn regular(entity: &str, tail: &[char]) -> (Endings, Vec<Stem>) {
    let stem = |cut: usize, endings| Stem { text: without_last(entity, cut).to_owned(), endings };
    match *tail {
        ['y', before, ..] if !is_vowel(before) => (&["s"], vec![stem(1, &["ies"])]),
        ['s' | 'x' | 'z' | 'o', ..] | ['h', 's' | 'c', ..] => (&["s", "es"], Vec::new()),
        ['e', 'f', ..] => (&["s"], vec![stem(2, &["ves"])]),
        ['f', ..] => (&["s"], vec![stem(1, &["ves"])]),
        _ => (&["s"], Vec::new()),
    }
}

/// Singular, stem and endings.
pub(super) const IRREGULAR: &[(&str, &str, Endings)] = &[
    ("alumnus", "alumn", &["i"]),
    ("analysis", "analys", &["es"]),
    ("appendix", "appendic", &["es"]),
    ("bus", "buss", &["es"]),
    ("cactus", "cact", &["i"]),
    ("child", "childr", &["en"]),
    ("crisis", "cris", &["es"]),
    ("criterion", "criteri", &["a"]),
    ("curriculum", "curricul", &["a"]),
    ("diagnosis", "diagnos", &["es"]),
    ("foot", "fee", &["t"]),
    ("gas", "gass", &["es"]),
    ("goose", "gees", &["e"]),
    ("index", "indic", &["es"]),
    ("life", "liv", &["es"]),
    ("man", "me", &["n"]),
    ("matrix", "matric", &["es"]),
    ("medium", "medi", &["a"]),
    ("mouse", "mic", &["e"]),
    ("person", "peopl", &["e"]),
    ("phenomenon", "phenomen", &["a"]),
    ("quiz", "quizz", &["es"]),
    ("stimulus", "stimul", &["i"]),
    ("thesis", "thes", &["es"]),
    ("tooth", "teet", &["h"]),
    ("woman", "wome", &["n"]),
];
