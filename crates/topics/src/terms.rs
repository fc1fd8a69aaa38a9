//! The words and phrases that tell one group of texts from the others.

use std::collections::{BTreeMap, HashMap, HashSet};

use sentor_text::language::{Language, detect};
use sentor_text::mention::inflected_forms;

/// How terms are counted.
#[derive(Clone, Copy, Debug)]
pub struct TermOptions {
    /// Language of the texts. Stop words of the language that a text reads as are left out as well.
    pub language: Language,
    /// Most terms of a group.
    pub most: usize,
}

/// Words of a text that are read at most; a book is told by its first chapters.
const MOST_WORDS: usize = 5000;
/// Words of a term at most.
const LONGEST_TERM: usize = 3;
/// A term stands for a part of it, where so many of the texts with the part have the term.
const COVERED: f64 = 0.6;

/// The terms of each group of texts, best first, in the form in which they are most often written.
///
/// The score follows Grootendorst (2022), "`BERTopic`": `sqrt(n) * ln(1 + average / (others + 1))`, where `n` and `others` are
/// the texts with the term in the group and in other groups, and `average` is the mean number of terms in a group. A text
/// that repeats a word counts once, and the group's own texts do not count against a term.
pub fn top_words(groups: &[Vec<&str>], options: TermOptions) -> Vec<Vec<String>> {
    let counted = Counted::of(groups, options.language);
    counted
        .best(options.most)
        .into_iter()
        .map(|terms| terms.into_iter().map(|term| term.text).collect())
        .collect()
}

/// A term of a group.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// As it is most often written.
    pub(crate) text: String,
    /// Its words, inflection taken off.
    pub(crate) words: Vec<String>,
    pub(crate) score: f64,
    /// Texts of the group that have it.
    pub(crate) texts: usize,
}

/// Terms and their counts in each group.
pub(crate) struct Counted {
    /// Spellings of each term with how often each was used. A term is its words, joined by spaces.
    spellings: HashMap<String, BTreeMap<String, usize>>,
    /// Texts that have the term, for each group.
    groups: Vec<HashMap<String, usize>>,
}

/// A word of a text.
#[derive(Clone, Debug)]
struct Word {
    written: String,
    /// Whether only the start of a sentence may have made its first letter a capital.
    may_be_lower: bool,
    lower: String,
    is_stop: bool,
    /// Whether a mark stands between it and the word before.
    begins_clause: bool,
}

impl Counted {
    pub(crate) fn of(groups: &[Vec<&str>], language: Language) -> Self {
        let stop_words = StopWords::default();
        let texts: Vec<Vec<Vec<Word>>> = groups
            .iter()
            .map(|group| group.iter().map(|text| words(text, language, &stop_words)).collect())
            .collect();
        let small = written_small(texts.iter().flatten().flatten());
        let singular = singulars(texts.iter().flatten(), language);
        let mut counted = Self { spellings: HashMap::new(), groups: Vec::with_capacity(groups.len()) };
        for group in &texts {
            let mut counts: HashMap<String, usize> = HashMap::new();
            for text in group {
                let mut seen = HashSet::new();
                for (term, spelling) in terms_of(text, &singular, &small) {
                    *counted.spellings.entry(term.clone()).or_default().entry(spelling).or_default() += 1;
                    if seen.insert(term.clone()) {
                        *counts.entry(term).or_default() += 1;
                    }
                }
            }
            counted.groups.push(counts);
        }
        counted
    }

    /// The best terms of each group.
    pub(crate) fn best(&self, most: usize) -> Vec<Vec<Term>> {
        let mut totals: HashMap<&str, usize> = HashMap::new();
        let mut all = 0;
        for (term, count) in self.groups.iter().flatten() {
            *totals.entry(term).or_default() += count;
            all += count;
        }
        let average = all as f64 / self.groups.len().max(1) as f64;
        let of_group = |counts: &HashMap<String, usize>| {
            let scored = counts.iter().map(|(term, &texts)| {
                let total = totals.get(term.as_str()).copied().unwrap_or(texts);
                let others = (total - texts) as f64;
                let score = (texts as f64).sqrt() * (1.0 + average / (others + 1.0)).ln();
                let words: Vec<String> = term.split(' ').map(str::to_owned).collect();
                Term { text: self.spelling(term), words, score, texts }
            });
            // A phrase that stands in one text alone is that text's wording, not the group's.
            let mut terms: Vec<Term> =
                scored.filter(|term| term.words.len() == 1 || term.texts > 1).collect();
            terms.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.text.cmp(&b.text)));
            select(terms, most)
        };
        self.groups.iter().map(of_group).collect()
    }

    /// The commonest spelling of a term.
    fn spelling(&self, term: &str) -> String {
        let spellings = self.spellings.get(term).into_iter().flatten();
        let best = spellings.max_by(|a, b| a.1.cmp(b.1).then_with(|| b.0.cmp(a.0)));
        best.map_or_else(|| term.to_owned(), |(spelling, _)| spelling.clone())
    }
}

/// Takes the best terms, without those that say less than another or the same.
fn select(terms: Vec<Term>, most: usize) -> Vec<Term> {
    let mut chosen: Vec<Term> = Vec::new();
    for term in terms {
        if chosen.iter().any(|other| other.covers(&term)) {
            continue;
        }
        // A phrase takes the place of the best of its words.
        if let Some(place) = chosen.iter().position(|other| term.covers(other)) {
            chosen[place] = term.clone();
            let mut index = 0;
            chosen.retain(|other| {
                index += 1;
                index - 1 == place || !term.covers(other)
            });
        } else if chosen.len() < most {
            chosen.push(term);
        }
    }
    chosen
}

impl Term {
    /// Whether the other term is part of this one, and stands in few texts without it.
    fn covers(&self, other: &Self) -> bool {
        let is_part = self.words.windows(other.words.len()).any(|part| part == other.words);
        is_part && self.texts as f64 >= COVERED * other.texts as f64
    }
}

/// Every term of a text with its spelling here: one to three words without a mark between them, no stop word at an end.
fn terms_of(
    words: &[Word],
    singular: &HashMap<String, String>,
    small: &HashSet<String>,
) -> Vec<(String, String)> {
    let mut terms = Vec::new();
    for start in 0..words.len() {
        if !can_end(&words[start]) {
            continue;
        }
        for length in 1..=LONGEST_TERM.min(words.len() - start) {
            let part = &words[start..start + length];
            if length > 1 && part[length - 1].begins_clause {
                break;
            }
            if !can_end(&part[length - 1]) {
                continue;
            }
            let base = |word: &Word| singular.get(&word.lower).unwrap_or(&word.lower).clone();
            let term = part.iter().map(base).collect::<Vec<_>>().join(" ");
            let spelling = |word: &Word| {
                let is_small = word.may_be_lower && small.contains(&word.lower);
                if is_small { word.lower.clone() } else { word.written.clone() }
            };
            let spelling = part.iter().map(spelling).collect::<Vec<_>>().join(" ");
            terms.push((term, spelling));
        }
    }
    terms
}

/// Whether a term may begin or end with the word.
fn can_end(word: &Word) -> bool {
    !word.is_stop && word.lower.chars().filter(|letter| letter.is_alphabetic()).count() >= 2
}

/// The words of a text that are read.
fn words(text: &str, language: Language, stop_words: &StopWords) -> Vec<Word> {
    let detected = detect(text).language;
    let is_stop_word = |word: &str| {
        stop_words.contains(word, language) || detected.is_some_and(|other| stop_words.contains(word, other))
    };
    let mut found: Vec<Word> = Vec::new();
    let mut begins_clause = true;
    let mut begins_sentence = true;
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_alphanumeric()) {
        let before = &rest[..start];
        if before.contains(|mark: char| !mark.is_whitespace()) {
            begins_clause = true;
            begins_sentence |= before.contains(['.', '!', '?', ':', '\n']);
        }
        let word = &rest[start..];
        let end = word_end(word);
        let (written, after) = word.split_at(end);
        let lower = written.to_lowercase().replace('’', "'");
        let is_capitalised_there =
            begins_sentence && written.chars().skip(1).all(|letter| !letter.is_uppercase());
        let (written, may_be_lower) = (written.to_owned(), is_capitalised_there && written != lower);
        found.push(Word { written, may_be_lower, is_stop: is_stop_word(&lower), lower, begins_clause });
        if found.len() == MOST_WORDS {
            break;
        }
        (begins_clause, begins_sentence) = (false, false);
        rest = after;
    }
    found
}

/// The end of the word at the start of `text`: a hyphen or apostrophe between two letters belongs to it.
fn word_end(text: &str) -> usize {
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter.is_alphanumeric() || is_mark_on_letter(letter) {
            continue;
        }
        let joins = matches!(letter, '-' | '\'' | '’');
        if !(joins && letters.peek().is_some_and(|(_, next)| next.is_alphanumeric())) {
            return at;
        }
    }
    text.len()
}

/// A combining accent.
fn is_mark_on_letter(letter: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&letter)
}

/// Words that stand in small letters somewhere: at the start of a sentence they are the same words.
fn written_small<'w>(words: impl Iterator<Item = &'w Word>) -> HashSet<String> {
    words.filter(|word| word.written == word.lower).map(|word| word.lower.clone()).collect()
}

/// The base form of each word that is an inflected form of another one in the texts.
fn singulars<'w>(texts: impl Iterator<Item = &'w Vec<Word>>, language: Language) -> HashMap<String, String> {
    let mut vocabulary: Vec<&str> =
        texts.flatten().filter(|word| can_end(word)).map(|word| word.lower.as_str()).collect();
    vocabulary.sort_unstable_by(|a, b| a.chars().count().cmp(&b.chars().count()).then(a.cmp(b)));
    vocabulary.dedup();
    let known: HashSet<&str> = vocabulary.iter().copied().collect();
    let mut bases: HashMap<String, String> = HashMap::new();
    for word in vocabulary {
        // Shorter words are function words or abbreviations.
        if word.chars().count() < 3 || bases.contains_key(word) {
            continue;
        }
        for form in inflected_forms(word, language) {
            if form != word && known.contains(form.as_str()) {
                bases.entry(form).or_insert_with(|| word.to_owned());
            }
        }
    }
    bases
}

/// Words without a subject, of both languages.
struct StopWords {
    lists: Vec<(Language, HashSet<&'static str>)>,
}

impl Default for StopWords {
    fn default() -> Self {
        let of = |language: Language| {
            let words = stop_words::lookup(language.code()).unwrap_or_default();
            (language, words.iter().chain(FILLERS).copied().collect())
        };
        Self { lists: Language::ALL.into_iter().map(of).collect() }
    }
}

/// Words that people write about anything, beside the published lists.
const FILLERS: &[&str] = &[
    "just", "really", "also", "still", "even", "echt", "gewoon", "heel", "erg", "wel", "eens", "www", "http",
    "https",
];

impl StopWords {
    fn contains(&self, word: &str, language: Language) -> bool {
        let is_in =
            |word: &str| self.lists.iter().any(|(listed, words)| *listed == language && words.contains(word));
        is_in(word) || word.split_once('\'').is_some_and(|(before, _)| is_in(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(groups: &[Vec<&str>], language: Language) -> Vec<Vec<String>> {
        top_words(groups, TermOptions { language, most: 5 })
    }

    #[test]
    fn the_words_of_a_group_are_those_that_the_others_lack() {
        let groups = [
            vec![
                "The battery of this phone is weak.",
                "Weak battery, nice phone!",
                "Batteries should last longer.",
            ],
            vec!["The screen of this phone is bright.", "A bright screen.", "My phone has a great screen"],
        ];
        let words = best(&groups, Language::English);
        assert!(words[0].iter().any(|word| word == "battery"), "{words:?}");
        assert!(words[1].iter().any(|word| word.contains("screen")), "{words:?}");
        assert!(
            !words[0].contains(&"the".to_owned()) && !words[0].contains(&"batteries".to_owned()),
            "{words:?}"
        );
    }

    #[test]
    fn a_phrase_takes_the_place_of_its_words() {
        let groups = [
            vec!["My credit card is lost.", "I lost a credit card", "Where is the credit card?"],
            vec!["How do I top up?", "Top up failed", "A top up by cash"],
        ];
        let words = best(&groups, Language::English);
        assert_eq!(words[0][0], "credit card");
        assert!(!words[0].contains(&"card".to_owned()), "{words:?}");
    }

    #[test]
    fn dutch_diminutives_count_as_their_word() {
        let groups = [
            vec!["Een lekker broodje.", "De broodjes zijn vers", "Vers brood"],
            vec!["De trein was laat", "Weer een late trein"],
        ];
        let words = best(&groups, Language::Dutch);
        let bread = words[0].iter().filter(|word| word.contains("brood")).count();
        assert_eq!(bread, 1, "{words:?}");
    }

    #[test]
    fn names_keep_their_capitals() {
        let groups = [vec!["I like Apple.", "Apple makes phones", "Now Apple is back"], vec!["Rain in June"]];
        assert_eq!(best(&groups, Language::English)[0][0], "Apple");
    }
}
