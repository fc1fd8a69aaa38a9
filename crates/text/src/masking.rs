//! Which entities are names: a model that is blind to names reads a mask in their place, so that
//! "Apple is slow" and "Samsung is slow" are the same to it.
//!
//! An entity that says *what* is judged (`battery`, `Service`) is left as it is. The two are told apart by
//! capitals, and by the words of aspects that the model's folder lists. `tests/data/names.txt` shows the rules at
//! work; the training side has the same ones (`training/sentor_training/names.py`) and reads the same cases.

use std::collections::HashSet;

/// Letters of the small words that a name may have: `Bank of America`, `Van der Valk`.
const MOST_LETTERS_OF_A_PARTICLE: usize = 3;

/// Words of which aspects are made, in lower case.
#[derive(Clone, Debug, Default)]
pub struct AspectWords(HashSet<String>);

impl AspectWords {
    /// The words of a text with one a line.
    pub fn parse(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Whether an entity is a name: each of its words has a capital or a digit or is short, and at least one with
    /// a capital is no aspect's word. Categories (`SERVICE#GENERAL`) are none.
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
