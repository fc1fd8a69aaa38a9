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
    ("child", "childr", &["en"]),
    ("foot", "fee", &["t"]),
    ("goose", "gees", &["e"]),
    ("man", "me", &["n"]),
    ("mouse", "mic", &["e"]),
    ("person", "peopl", &["e"]),
    ("tooth", "teet", &["h"]),
    ("woman", "wome", &["n"]),
];
