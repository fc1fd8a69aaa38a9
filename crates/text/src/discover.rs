//! What a text may judge without being asked: aspects (`battery life`) and names.
//!
//! Candidates are found by word lists and capitals alone, in one pass; whether the text judges one, its scores tell.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::language::Language;
use crate::languages::{EVERYDAY_WORDS, LanguagePack, data_lines};
use crate::span::Span;

/// What a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A noun that texts judge.
    Aspect,
    /// What is written with a capital.
    Name,
}

impl Kind {
    /// The label on the wire.
    pub fn label(self) -> &'static str {
        match self {
            Self::Aspect => "aspect",
            Self::Name => "name",
        }
    }
}

/// Something that a text may judge, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As the text writes it first; an aspect in lower case.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// At least one, in order.
    pub places: Vec<Span>,
}

/// At most `most` candidates of a text, by where they stand first, without those whose first place `is_taken`.
///
/// An aspect is a noun of the language's list, with nouns of the list and few other words before it (`battery life`). A
/// name is a run of words with capitals that does not begin a sentence, or whose words are no everyday, common or
/// function words where it does. Case tells nothing in a text of one case, so that such a text has aspects only.
pub fn candidates(
    text: &str,
    language: Language,
    sentences: &[Span],
    most: usize,
    is_taken: impl Fn(Span) -> bool,
) -> Vec<Candidate> {
    let words = &*LanguagePack::for_language(language).discovery;
    let has_lower = text.chars().any(char::is_lowercase);
    let mut found = Gathered { candidates: Vec::new(), by_name: HashMap::new(), most };
    for sentence in sentences {
        let tokens = tokens(text, *sentence);
        let mut at = 0;
        while at < tokens.len() {
            let run = if has_lower { name_length(&tokens[at..], at == 0, words) } else { 0 };
            let (length, kind) =
                if run > 0 { (run, Kind::Name) } else { (aspect_length(&tokens[at..], words), Kind::Aspect) };
            if length == 0 {
                at += 1;
                continue;
            }
            let span = Span::new(tokens[at].span.start, tokens[at + length - 1].span.end);
            if !is_taken(span) {
                found.add(span.slice(text), kind, span);
            }
            at += length;
        }
    }
    found.candidates
}

/// The word lists of one language.
#[derive(Debug)]
pub(crate) struct DiscoveryWords {
    aspects: HashSet<&'static str>,
    /// Words that do not begin a name at the beginning of a sentence.
    plain: HashSet<&'static str>,
    /// Days, months and the like, which are capitalised and never judged.
    dates: HashSet<&'static str>,
}

impl DiscoveryWords {
    /// Reads a file of nouns, and files of words that do not begin a name.
    pub(crate) fn parse(aspects: &'static str, plain: [&'static str; 2]) -> Self {
        let words = |file| data_lines(file).flat_map(str::split_whitespace);
        Self {
            aspects: words(aspects).collect(),
            plain: plain.into_iter().flat_map(words).collect(),
            dates: DATES.into_iter().collect(),
        }
    }
}

const DATES: [&str; 50] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "christmas",
    "easter",
    "maandag",
    "dinsdag",
    "woensdag",
    "donderdag",
    "vrijdag",
    "zaterdag",
    "zondag",
    "januari",
    "februari",
    "maart",
    "mei",
    "juni",
    "juli",
    "augustus",
    "oktober",
    "kerst",
    "pasen",
    "mr",
    "mrs",
    "ms",
    "dr",
    "dhr",
    "mevr",
    "i",
    "god",
    "jezus",
    "jesus",
    "english",
    "dutch",
];

struct Gathered {
    candidates: Vec<Candidate>,
    by_name: HashMap<String, usize>,
    most: usize,
}

impl Gathered {
    fn add(&mut self, written: &str, kind: Kind, span: Span) {
        let name = if kind == Kind::Aspect { written.to_lowercase() } else { written.to_owned() };
        match self.by_name.entry(name.to_lowercase()) {
            Entry::Occupied(known) => self.candidates[*known.get()].places.push(span),
            Entry::Vacant(free) if self.candidates.len() < self.most => {
                free.insert(self.candidates.len());
                self.candidates.push(Candidate { name, kind, places: vec![span] });
            }
            Entry::Vacant(_) => {}
        }
    }
}

/// A word of a sentence.
struct Token<'t> {
    word: &'t str,
    lower: String,
    span: Span,
    /// Whether only a space or a hyphen stands before it.
    is_joined: bool,
}

impl Token<'_> {
    fn is_upper(&self) -> bool {
        self.word.starts_with(char::is_uppercase)
    }
}

fn tokens(text: &str, sentence: Span) -> Vec<Token<'_>> {
    let slice = sentence.slice(text);
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut start = None;
    let mut before = 0;
    for (at, character) in slice.char_indices().chain([(slice.len(), ' ')]) {
        let next = slice[at..].chars().nth(1);
        let joins = matches!(character, '\'' | '’' | '-' | '&') && next.is_some_and(char::is_alphanumeric);
        let is_inside = character.is_alphanumeric() || (start.is_some() && joins);
        match (start, is_inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                let word = slice[from..at].trim_end_matches("'s").trim_end_matches("’s");
                let is_joined = matches!(&slice[before..from], " " | "-");
                let span = Span::new(sentence.start + from, sentence.start + from + word.len());
                tokens.push(Token { word, lower: word.to_lowercase(), span, is_joined });
                before = at;
                start = None;
            }
            _ => {}
        }
    }
    tokens
}

/// How many tokens the name has that begins with the first one; 0 for none.
fn name_length(tokens: &[Token<'_>], is_first: bool, words: &DiscoveryWords) -> usize {
    let begins = |token: &Token<'_>| {
        token.is_upper()
            && token.word.chars().count() > 1
            && !words.dates.contains(token.lower.as_str())
            && !words.aspects.contains(token.lower.as_str())
    };
    let Some(first) = tokens.first().filter(|first| begins(first)) else { return 0 };
    let is_plain =
        words.plain.contains(first.lower.as_str()) || EVERYDAY_WORDS.contains(first.lower.as_str());
    let is_capitals =
        !first.word.contains(char::is_lowercase) && first.word.chars().count() <= LONGEST_ACRONYM;
    if is_plain && (is_first || !is_capitals) {
        return 0;
    }
    let rest = tokens[1..].iter().take(LONGEST_NAME - 1);
    1 + rest
        .take_while(|token| token.is_joined && (begins(token) || token.word.chars().all(char::is_numeric)))
        .count()
}

/// How many tokens the aspect has that begins with the first one; 0 for none.
fn aspect_length(tokens: &[Token<'_>], words: &DiscoveryWords) -> usize {
    let is_aspect = |token: &Token<'_>| words.aspects.contains(token.lower.as_str());
    if !tokens.first().is_some_and(is_aspect) {
        return 0;
    }
    let rest = tokens[1..].iter().take(LONGEST_NAME - 1);
    1 + rest.take_while(|token| token.is_joined && is_aspect(token)).count()
}

/// In words.
const LONGEST_NAME: usize = 4;
/// In letters.
const LONGEST_ACRONYM: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::sentences;

    fn found(text: &str, language: Language) -> Vec<String> {
        let tiles = sentences(text, language);
        let show = |candidate: Candidate| {
            format!("{}:{}x{}", candidate.kind.label(), candidate.name, candidate.places.len())
        };
        candidates(text, language, &tiles, 10, |_| false).into_iter().map(show).collect()
    }

    #[test]
    fn nouns_and_names_are_candidates() {
        assert_eq!(
            found(
                "The battery life is great. Staff of Albert Heijn were rude; the staff!",
                Language::English
            ),
            ["aspect:battery lifex1", "aspect:staffx2", "name:Albert Heijnx1"]
        );
        assert_eq!(
            found("Vandaag was de bediening bij Fenwick traag.", Language::Dutch),
            ["aspect:bedieningx1", "name:Fenwickx1"]
        );
    }

    #[test]
    fn words_with_capitals_are_not_all_names() {
        assert_eq!(found("Great! We came on Monday. I left.", Language::English), [""; 0]);
        assert_eq!(found("THE FOOD WAS BAD", Language::English), ["aspect:foodx1"]);
    }

    #[test]
    fn taken_places_and_those_beyond_the_bound_are_left_out() {
        let text = "The food and the staff and the room.";
        let tiles = sentences(text, Language::English);
        let found = candidates(text, Language::English, &tiles, 1, |span| span.slice(text) == "food");
        assert_eq!(found.iter().map(|candidate| candidate.name.as_str()).collect::<Vec<_>>(), ["staff"]);
    }
}
