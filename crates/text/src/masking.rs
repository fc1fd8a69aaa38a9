//! Decides which entities are names. A model that does not read names gets a mask token in their place, so "Apple is
//! slow" and "Samsung is slow" are the same input.
//!
//! Aspects (`battery`, `Service`) are not masked. Capitals and the aspect words in the model's folder distinguish them
//! from names. `tests/data/names.txt` has the cases. The training code has the same rules
//! (`training/sentor_training/names.py`) and the same cases.

use std::collections::HashSet;

/// Maximum letters of the small words inside a name: `Bank of America`, `Van der Valk`.
const MOST_LETTERS_OF_A_PARTICLE: usize = 3;

/// The words that aspects consist of, in lower case.
#[derive(Clone, Debug, Default)]
pub struct AspectWords(HashSet<String>);

impl AspectWords {
    /// Parses a text with one word a line.
    pub fn parse(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Whether an entity is a name: each of its words has a capital or a digit or is short, and at least one word with
    /// a capital is not an aspect word. Categories (`SERVICE#GENERAL`) are not names.
    pub fn is_name(&self, entity: &str) -> bool {
        if entity.contains('_') || entity.chars().skip(1).any(|c| c == '#') {
            return false;
        }
        let mut named = false;
        for word in words(entity) {
            let lower = word.to_lowercase();
            if lower != word {
                named |= !self.0.contains(&lower);
            } else if word.chars().count() > MOST_LETTERS_OF_A_PARTICLE && !word.chars().any(char::is_numeric)
            {
                return false;
            }
        }
        named
    }
}

/// The words of an entity: letters and digits, with single marks between them (`H&M`, `Joe's`, `U.S`).
fn words(entity: &str) -> impl Iterator<Item = &str> {
    let inside = |c: char| c.is_alphanumeric();
    let mut rest = entity;
    std::iter::from_fn(move || {
        rest = &rest[rest.find(inside)?..];
        let mut end = 0;
        let mut letters = rest.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let joins = matches!(letter, '\'' | '’' | '.' | '&')
                && letters.peek().is_some_and(|&(_, next)| inside(next));
            if !inside(letter) && !joins {
                break;
            }
            end = at + letter.len_utf8();
        }
        let word;
        (word, rest) = rest.split_at(end);
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_single_marks_inside() {
        let of = |entity| words(entity).collect::<Vec<_>>();
        assert_eq!(of("H&M at Joe's, U.S."), ["H&M", "at", "Joe's", "U.S"]);
        assert_eq!(of("Coca-Cola"), ["Coca", "Cola"]);
        assert_eq!(of("'t Hoekje…"), ["t", "Hoekje"]);
        assert_eq!(of("A..B"), ["A", "B"]);
        assert_eq!(of(" - "), [""; 0]);
    }
}
