//! Words in a text that are spelled nearly like a name that the text does not have.

use std::collections::HashMap;

use super::guard::TextCase;
use super::normalize::Normalized;
use crate::languages::EVERYDAY_WORDS;
use crate::span::Span;

/// For each of `names`, none of which `text` mentions, the place that is spelled nearly like it.
///
/// A name of five letters or more (seven, where the word is in small letters) may differ in one letter, one of eight or
/// more in two; two letters in the wrong order are one difference. The first letter and all digits must be the same, and so must the case of the first letter, except
/// in a text of one case. Only the first words of a long text and the first names of a long list are looked at, so that
/// the time is bounded.
pub fn near_spellings<S: AsRef<str>>(text: &str, names: &[S]) -> Vec<Option<Span>> {
    let mut near = vec![None; names.len()];
    let wanted: Vec<Wanted> = names
        .iter()
        .enumerate()
        .take(MOST_NAMES)
        .filter_map(|(index, name)| Wanted::new(index, name.as_ref()))
        .collect();
    let Some(most_words) = wanted.iter().map(|name| name.words).max() else { return near };
    let is_mixed = TextCase::find(text) == TextCase::Mixed;
    let words = words(text);
    for count in 1..=most_words {
        if !wanted.iter().any(|name| name.words == count) {
            continue;
        }
        let mut places: HashMap<Vec<char>, Span> = HashMap::new();
        for run in words.windows(count) {
            let span = Span::new(run[0].start, run[count - 1].end);
            let folded = Normalized::new(span.slice(text)).as_str().chars().collect();
            places.entry(folded).or_insert(span);
        }
        for name in wanted.iter().filter(|name| name.words == count) {
            let close = places.iter().filter_map(|(letters, &span)| {
                let is_upper = span.slice(text).starts_with(char::is_uppercase);
                let is_short_word = !is_upper && name.letters.len() < SHORTEST_PLAIN_WORD;
                if is_short_word || is_mixed && name.is_upper != is_upper {
                    return None;
                }
                Some((name.differences(letters)?, span))
            });
            near[name.index] =
                close.min_by_key(|&(differences, span)| (differences, span.start)).map(|(_, span)| span);
        }
    }
    near
}

/// Bounds of the work: names times distinct words.
const MOST_NAMES: usize = 50;
const MOST_WORDS: usize = 2000;

/// In letters.
const SHORTEST_NAME: usize = 5;
const SHORTEST_PLAIN_WORD: usize = 7;
const SHORTEST_FOR_TWO: usize = 8;
const LONGEST_NAME: usize = 48;
const LONGEST_RUN: usize = 4;

/// A name that is looked for.
struct Wanted {
    index: usize,
    letters: Vec<char>,
    words: usize,
    is_upper: bool,
}

impl Wanted {
    fn new(index: usize, name: &str) -> Option<Self> {
        let name = name.trim();
        let letters: Vec<char> = Normalized::new(name).as_str().chars().collect();
        let words = words(name).len();
        let is_upper = name.starts_with(char::is_uppercase);
        let shortest = if is_upper { SHORTEST_NAME } else { SHORTEST_PLAIN_WORD };
        let has_size =
            (shortest..=LONGEST_NAME).contains(&letters.len()) && (1..=LONGEST_RUN).contains(&words);
        has_size.then_some(Self { index, letters, words, is_upper })
    }

    /// In how many letters `other` differs, if it may be meant.
    fn differences(&self, other: &[char]) -> Option<usize> {
        let most = if self.letters.len() >= SHORTEST_FOR_TWO { 2 } else { 1 };
        let is_near =
            self.letters.len().abs_diff(other.len()) <= most && self.letters.first() == other.first();
        if !is_near || self.letters == other {
            return None;
        }
        let digits =
            |letters: &[char]| letters.iter().copied().filter(|next| next.is_numeric()).collect::<Vec<_>>();
        let word: String = other.iter().collect();
        if digits(&self.letters) != digits(other) || EVERYDAY_WORDS.contains(word.as_str()) {
            return None;
        }
        Some(distance(&self.letters, other)).filter(|&differences| differences <= most)
    }
}

/// The first words of a text: letters and digits, with single marks inside (`O'Brien`, `e-mail`).
fn words(text: &str) -> Vec<Span> {
    let mut words: Vec<Span> = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        let is_inside = character.is_alphanumeric()
            || super::is_mark(character)
            || matches!(character, '\'' | '’' | '-' | '&');
        match (start, is_inside) {
            (None, true) if character.is_alphanumeric() => start = Some(at),
            (Some(from), false) => {
                let word = text[from..at].trim_end_matches(|last: char| !last.is_alphanumeric());
                words.push(Span::new(from, from + word.len()));
                start = None;
                if words.len() == MOST_WORDS {
                    break;
                }
            }
            _ => {}
        }
    }
    words
}

/// The Damerau-Levenshtein distance, with two neighbours in the wrong order as one difference.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, &one) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(one != other);
            let mut least = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            let is_swapped = row > 0 && column > 0 && one == right[column - 1] && left[row - 1] == other;
            if is_swapped {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str, name: &str) -> Option<String> {
        near_spellings(text, &[name])[0].map(|span| span.slice(text).to_owned())
    }

    #[test]
    fn near_spellings_are_found() {
        assert_eq!(near("The Fenwik is great.", "Fenwick").as_deref(), Some("Fenwik"));
        assert_eq!(near("I like Albert Hein.", "Albert Heijn").as_deref(), Some("Albert Hein"));
        assert_eq!(near("the batery lasts", "battery").as_deref(), Some("batery"));
        assert_eq!(near("Samsugn is ok", "Samsung").as_deref(), Some("Samsugn"));
        assert_eq!(near("FENWIK IS GREAT", "Fenwick").as_deref(), Some("FENWIK"));
    }

    #[test]
    fn other_words_are_not() {
        for (text, name) in [
            ("An iPhone 14 broke.", "iPhone 15"),
            ("The bank is open.", "Bang"),
            ("A great stuff.", "staff"),
            ("Nothing like it here.", "Fenwick"),
            ("the apply button", "Apple"),
            ("Senwick", "Fenwick"),
            ("", "Fenwick"),
        ] {
            assert_eq!(near(text, name), None, "{text}");
        }
    }

    #[test]
    fn distances_count_letters() {
        let distance = |left: &str, right: &str| {
            distance(&left.chars().collect::<Vec<_>>(), &right.chars().collect::<Vec<_>>())
        };
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("abc", "abcd"), 1);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
