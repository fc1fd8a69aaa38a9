//! Dutch plurals and diminutives.

use crate::mention::{Endings, Stem, is_vowel, without_last};

/// The endings of a word in normalised spelling, and its changed stems: `ball`-en, `telefon`-en, `prijz`-en.
pub(super) fn regular(entity: &str, tail: &[char]) -> (Endings, Vec<Stem>) {
    let stem = |cut: usize, then: &[char], endings| {
        let mut text = without_last(entity, cut).to_owned();
        text.extend(then);
        Stem { text, endings }
    };
    match *tail {
        // Accents are gone here. bediende-n, service-s, groente-tje; industrie-ën, knie-ën, zee-ën, porie-n > poriën
        ['e', 'i', ..] => (&["s", "n", "en", "tje", "tjes"], vec![stem(1, &[], EN)]),
        ['e', 'e', ..] => (&["s", "en", "tje", "tjes"], Vec::new()),
        ['e', ..] => (AFTER_E, Vec::new()),
        // camera's, cameraatje; foto's, fotootje; menu's, menuutje; baby's, baby'tje
        [vowel @ ('a' | 'o' | 'u'), before, ..] if !is_vowel(before) => {
            (&["s", "'s"], vec![stem(0, &[vowel], &["tje", "tjes"])])
        }
        ['i', before, ..] if !is_vowel(before) => (&["s", "'s", "etje", "etjes"], Vec::new()),
        ['y', before, ..] if !is_vowel(before) => (&["s", "'s", "'tje", "'tjes"], Vec::new()),
        // batterij-en, batterij-tje, cadeau-s, cadeau-tje, vrouw-en
        ['j', 'i', ..] | ['w' | 'i' | 'u' | 'o' | 'a', ..] => (AFTER_VOWEL, Vec::new()),
        // winkelwagen-s, restaurant-je
        // telefoon: telefonen, telefoontje; huis (after ui): huizen; brief: brieven
        [last, second, third, ..] if !is_vowel(last) && second == third && "aeou".contains(second) => {
            let mut stems = vec![stem(2, &[last], EN)];
            stems.extend(voiced(last).map(|voiced| stem(2, &[voiced], EN)));
            (AFTER_CONSONANT, stems)
        }
        [last, second, third, ..] if !is_vowel(last) && is_vowel(second) && is_vowel(third) => {
            (AFTER_CONSONANT_EN, voiced(last).map(|voiced| stem(1, &[voiced], EN)).into_iter().collect())
        }
        // prijs: prijzen
        [last, 'j', 'i', ..] if !is_vowel(last) => {
            (AFTER_CONSONANT_EN, voiced(last).map(|voiced| stem(1, &[voiced], EN)).into_iter().collect())
        }
        // bal: ballen, balletje; kamer: kamers, kamertje; artikel: artikelen
        [last, second, ..] if !is_vowel(last) && is_vowel(second) => {
            let doubled = stem(0, &[last], &["en", "etje", "etjes"]);
            let long = entity.chars().filter(|&letter| is_vowel(letter)).count() > 1;
            let mut stems = vec![doubled];
            if last == 'g' && second == 'i' {
                stems.push(stem(1, &[], &["kje", "kjes"]));
            }
            (if long { AFTER_CONSONANT_EN } else { AFTER_CONSONANT }, stems)
        }
        // koning: koninkje; scherm-pje, kaart-je, grens: grenzen
        ['g', 'n', ..] => (AFTER_CONSONANT_EN, vec![stem(1, &[], &["kje", "kjes"])]),
        [last, ..] => {
            (AFTER_CONSONANT_EN, voiced(last).map(|voiced| stem(1, &[voiced], EN)).into_iter().collect())
        }
        [] => (&[], Vec::new()),
    }
}

const EN: Endings = &["en"];
const AFTER_E: Endings = &["s", "n", "tje", "tjes"];
const AFTER_VOWEL: Endings = &["s", "'s", "en", "tje", "tjes"];
const AFTER_CONSONANT: Endings = &["s", "je", "jes", "tje", "tjes", "pje", "pjes", "etje", "etjes"];
const AFTER_CONSONANT_EN: Endings = &["s", "en", "je", "jes", "tje", "tjes", "pje", "pjes", "etje", "etjes"];

/// The consonant that `s` and `f` become before a vowel: `huis`, `huizen`.
fn voiced(consonant: char) -> Option<char> {
    match consonant {
        's' => Some('z'),
        'f' => Some('v'),
        _ => None,
    }
}

/// Singular, stem and endings: vowels that change or become long, and plurals in -eren and -a.
pub(super) const IRREGULAR: &[(&str, &str, Endings)] = &[
    ("bad", "bad", EN),
    ("been", "been", &["deren"]),
    ("bevel", "bevel", EN),
    ("blad", "blad", &["en", "eren"]),
    ("dag", "dag", EN),
    ("dak", "dak", EN),
    ("dal", "dal", EN),
    ("ei", "ei", &["eren", "tje", "tjes"]),
    ("gat", "gat", EN),
    ("gebed", "gebed", EN),
    ("gebrek", "gebrek", EN),
    ("glas", "glaz", EN),
    ("glas", "glaasj", &["e", "es"]),
    ("god", "god", EN),
    ("goed", "goed", &["eren"]),
    ("graf", "grav", EN),
    ("hertog", "hertog", EN),
    ("hof", "hov", EN),
    ("hol", "hol", EN),
    ("kalf", "kalver", EN),
    ("kind", "kind", &["eren"]),
    ("kleed", "kle", &["ren"]),
    ("koe", "koei", EN),
    ("lam", "lamm", &["eren"]),
    ("lid", "led", EN),
    ("lied", "lied", &["eren"]),
    ("lot", "lot", EN),
    ("man", "lied", EN),
    ("man", "lu", &["i"]),
    ("man", "mens", EN),
    ("oorlog", "oorlog", EN),
    ("pad", "pad", EN),
    ("rad", "rad", &["eren"]),
    ("rund", "rund", &["eren"]),
    ("schip", "schep", EN),
    ("schot", "schot", EN),
    ("slot", "slot", EN),
    ("smid", "smed", EN),
    ("spel", "spel", EN),
    ("staf", "stav", EN),
    ("stad", "sted", EN),
    ("vat", "vat", EN),
    ("verbod", "verbod", EN),
    ("verdrag", "verdrag", EN),
    ("volk", "volk", &["eren"]),
    ("weg", "weg", EN),
];

/// `snelheid`, `snelheden`; `museum`, `musea`; `politicus`, `politici`; `crisis`, `crises`.
pub(super) const IRREGULAR_SUFFIXES: &[(&str, &str, Endings)] = &[
    ("heid", "hed", EN),
    ("icus", "ic", &["i"]),
    ("ogus", "og", &["i"]),
    ("um", "", &["a"]),
    ("isis", "is", &["es"]),
];
