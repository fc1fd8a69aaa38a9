//! The word lists of the pronoun step: `pronouns.txt` in each language's folder.

use crate::languages::{EVERYDAY_WORDS, data_lines};
use std::collections::HashMap;

/// A word list, by its heading in the data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    It,
    Its,
    He,
    His,
    She,
    SheOrThey,
    They,
    ThatOne,
    Determiners,
    Neuter,
    NeuterVerbs,
    EmptyVerbs,
    EmptyAlone,
    EmptyContinuations,
    EmptyNouns,
    EmptyBefore,
    Verbs,
    Singular,
    Plural,
    Prepositions,
    Generic,
    Joiners,
    People,
    Several,
    Plain,
    Objects,
    Adverbs,
    /// Everyday words of all languages.
    Everyday,
}

const HEADINGS: [(&str, List); 27] = [
    ("it", List::It),
    ("its", List::Its),
    ("he", List::He),
    ("his", List::His),
    ("she", List::She),
    ("she or they", List::SheOrThey),
    ("they", List::They),
    ("that one", List::ThatOne),
    ("determiners", List::Determiners),
    ("neuter", List::Neuter),
    ("neuter verbs", List::NeuterVerbs),
    ("empty verbs", List::EmptyVerbs),
    ("empty alone", List::EmptyAlone),
    ("empty continuations", List::EmptyContinuations),
    ("empty nouns", List::EmptyNouns),
    ("empty before", List::EmptyBefore),
    ("verbs", List::Verbs),
    ("singular", List::Singular),
    ("plural", List::Plural),
    ("prepositions", List::Prepositions),
    ("generic", List::Generic),
    ("joiners", List::Joiners),
    ("people", List::People),
    ("several", List::Several),
    ("plain", List::Plain),
    ("objects", List::Objects),
    ("adverbs", List::Adverbs),
];

/// The lists that a word is on, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists(u32);

impl Lists {
    pub(super) fn contains(self, list: List) -> bool {
        self.0 & (1 << list as u32) != 0
    }

    pub(super) fn contains_any(self, lists: &[List]) -> bool {
        lists.iter().any(|&list| self.contains(list))
    }

    fn add(&mut self, list: List) {
        self.0 |= 1 << list as u32;
    }
}

/// The lists of a language's words.
#[derive(Debug)]
pub(crate) struct Lexicon(HashMap<&'static str, Lists>);

impl Lexicon {
    /// The lists that a word in lower case is on.
    pub(super) fn lists(&self, word: &str) -> Lists {
        self.0.get(word).copied().unwrap_or_default()
    }

    /// Reads a word file: headings in brackets, words apart by white space, `#` for comments.
    pub(crate) fn parse(file: &'static str) -> Self {
        let mut words: HashMap<&str, Lists> = HashMap::new();
        let mut add = |word, list| words.entry(word).or_default().add(list);
        for word in EVERYDAY_WORDS.iter() {
            add(word, List::Everyday);
        }
        let mut list = None;
        for line in data_lines(file) {
            if let Some(heading) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let known = HEADINGS.iter().find(|(name, _)| *name == heading);
                list = Some(known.expect("a test reads both files, so each heading is a known one").1);
                continue;
            }
            for word in line.split_whitespace() {
                add(word, list.expect("a test reads both files, so no word stands before a heading"));
            }
        }
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;
    use crate::languages::LanguagePack;

    fn lexicon(language: Language) -> &'static Lexicon {
        &LanguagePack::for_language(language).pronouns.lexicon
    }

    #[test]
    fn both_files_can_be_read() {
        let lists = |language, word| lexicon(language).lists(word);
        assert!(lists(Language::English, "it").contains(List::It));
        assert!(lists(Language::Dutch, "die").contains_any(&[List::ThatOne]));
        assert!(lists(Language::Dutch, "die").contains(List::Determiners));
        assert_eq!(lists(Language::English, "gloop"), Lists::default());
    }

    #[test]
    fn words_are_in_lower_case_and_can_be_found() {
        for language in Language::ALL {
            for word in lexicon(language).0.keys() {
                assert_eq!(*word, word.to_lowercase());
            }
        }
    }
}
