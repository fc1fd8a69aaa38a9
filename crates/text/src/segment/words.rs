//! The word lists behind the ends of sentences: abbreviations, starters, openers.

use std::collections::{HashMap, HashSet};

/// When an abbreviation ends a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abbreviation {
    /// Never ends a sentence: a title before a name, `bijv.`, `e.g.`
    Inside,
    /// Does not end a sentence before a number: `p. 5`, `nr. 12`, `art. 3`.
    BeforeNumber,
    /// May end a sentence: `Inc.`, `p.m.`, `Jan.` It does before a word that often begins one.
    Either,
    /// Ends a sentence before any capital, since no name follows it: `etc.`, `hrs.`
    BeforeCapital,
}

/// The words of one language that decide where sentences end.
#[derive(Debug)]
pub(crate) struct SentenceWords {
    abbreviations: HashMap<&'static str, Abbreviation>,
    /// Words that begin sentences and seldom follow an abbreviation in capitals otherwise, in lower case.
    starters: HashSet<&'static str>,
    /// Words that do not end a sentence or a heading, in lower case: articles, prepositions, conjunctions.
    openers: HashSet<&'static str>,
}

impl SentenceWords {
    /// Returns the kind of an abbreviation, given in lower case and without its last stop.
    pub(super) fn abbreviation(&self, word: &str) -> Option<Abbreviation> {
        self.abbreviations.get(word).copied()
    }

    /// Whether a word in lower case often begins a sentence.
    pub(super) fn is_starter(&self, word: &str) -> bool {
        self.starters.contains(word)
    }

    /// Whether a word in lower case cannot be the last of its sentence.
    pub(super) fn needs_continuation(&self, word: &str) -> bool {
        self.openers.contains(word)
    }

    /// Parses a word file: sections in brackets, words separated by white space, `#` for comments.
    pub(crate) fn parse(file: &'static str) -> Self {
        let mut words =
            Self { abbreviations: HashMap::new(), starters: HashSet::new(), openers: HashSet::new() };
        let mut section = "";
        for line in file.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            for word in line.split_whitespace() {
                let kind = match section {
                    "inside" => Abbreviation::Inside,
                    "before a number" => Abbreviation::BeforeNumber,
                    "either" => Abbreviation::Either,
                    "before a capital" => Abbreviation::BeforeCapital,
                    "starters" => {
                        words.starters.insert(word);
                        continue;
                    }
                    _ => {
                        words.openers.insert(word);
                        continue;
                    }
                };
                words.abbreviations.insert(word.strip_suffix('.').unwrap_or(word), kind);
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn word_files_have_known_sections_and_plain_words() {
        for file in
            [include_str!("../languages/en/sentences.txt"), include_str!("../languages/nl/sentences.txt")]
        {
            for line in file.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
                if line.starts_with('[') {
                    assert!(
                        [
                            "[inside]",
                            "[before a number]",
                            "[either]",
                            "[before a capital]",
                            "[starters]",
                            "[unfinished]"
                        ]
                        .contains(&line),
                        "{line}"
                    );
                }
                assert_eq!(line, line.to_lowercase(), "words are in lower case");
            }
        }
    }
}
