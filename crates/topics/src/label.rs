//! A name for a group of texts, without a language model: phrases of the texts that are near to their mean.

use crate::terms::Counted;
use sentor_text::language::Language;

/// What a name is made from.
#[derive(Clone, Copy, Debug)]
pub struct Namer<'t> {
    /// The texts of the group.
    pub texts: &'t [&'t str],
    /// Words that tell it from other groups, best first; may be empty.
    pub top_words: &'t [String],
    /// Names that the label leaves out.
    pub left_out: &'t [String],
    /// Language of the texts.
    pub language: Language,
}

/// A phrase that a name may be made of.
#[derive(Clone, Debug, PartialEq)]
pub struct NameCandidate {
    /// The phrase, as it is most often written.
    pub phrase: String,
    /// How well it stands for the texts by its counts, 0 to 1.
    pub weight: f64,
}

/// Most candidates; each takes the embedding model some tokens.
const MOST_CANDIDATES: usize = 40;
/// Words of a name at most.
const MOST_NAME_WORDS: usize = 5;
/// What is between the phrases of a name.
const SEPARATOR: &str = " · ";
/// Part of a phrase's score that its nearness to the texts makes up; likeness to the first phrase makes up the rest.
const RELEVANCE: f64 = 0.7;

impl Namer<'_> {
    /// Phrases that stand in the texts, best first by their counts.
    pub fn candidates(&self) -> Vec<NameCandidate> {
        let groups = [self.texts.to_vec()];
        let counted = Counted::of(&groups, self.language);
        let mut terms = counted.best(4 * MOST_CANDIDATES).into_iter().next().unwrap_or_default();
        let left_out: Vec<String> = self.left_out.iter().map(|name| name.trim().to_lowercase()).collect();
        terms.retain(|term| {
            let phrase = format!(" {} ", term.text.to_lowercase());
            !left_out.iter().any(|name| !name.is_empty() && phrase.contains(&format!(" {name} ")))
        });
        let mut candidates: Vec<NameCandidate> = terms
            .iter()
            .map(|term| {
                let share = term.texts as f64 / self.texts.len().max(1) as f64;
                NameCandidate {
                    phrase: term.text.clone(),
                    weight: share.sqrt() * self.distinction(&term.text),
                }
            })
            .collect();
        candidates.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.phrase.cmp(&b.phrase)));
        candidates.truncate(MOST_CANDIDATES);
        candidates
    }

    /// How much a phrase has of the words that tell the group from others: 1 for the best of them, 0.3 for none.
    fn distinction(&self, phrase: &str) -> f64 {
        if self.top_words.is_empty() {
            return 1.0;
        }
        let phrase = format!(" {} ", phrase.to_lowercase());
        let rank = self.top_words.iter().position(|word| {
            let word = word.trim().to_lowercase();
            !word.is_empty()
                && (phrase.contains(&format!(" {word} ")) || format!(" {word} ").contains(&phrase))
        });
        rank.map_or(0.3, |rank| 1.0 - 0.5 * rank as f64 / self.top_words.len() as f64)
    }
}

/// Makes a name of the candidates: the phrase that is nearest to the texts, and where that has fewer than three words a second
/// one that is near to them and unlike the first (Carbonell and Goldstein 1998). `vectors` has a unit vector for each
/// candidate, and `centre` is the mean direction of the texts. `None` without candidates.
pub fn choose_name(
    candidates: &[NameCandidate],
    vectors: &[Option<Vec<f32>>],
    centre: &[f32],
) -> Option<String> {
    let cosine =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let scored: Vec<(usize, f64)> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| {
            let nearness =
                vectors.get(index).and_then(Option::as_deref).map_or(0.0, |vector| cosine(vector, centre));
            (index, candidate.weight.sqrt() * nearness.max(0.01))
        })
        .collect();
    let best = |scored: &mut dyn Iterator<Item = (usize, f64)>| {
        scored.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(index, _)| index)
    };
    let first = best(&mut scored.iter().copied())?;
    let mut name = candidates[first].phrase.clone();
    let room = MOST_NAME_WORDS.saturating_sub(count_words(&name));
    let shares_word = |phrase: &str| {
        let lower = phrase.to_lowercase();
        lower
            .split(' ')
            .any(|word| candidates[first].phrase.to_lowercase().split(' ').any(|other| other == word))
    };
    if count_words(&name) < 3 {
        let top = scored[first].1.max(f64::MIN_POSITIVE);
        let likeness = |index: usize| match (vectors.get(index), vectors.get(first)) {
            (Some(Some(vector)), Some(Some(other))) => cosine(vector, other),
            _ => 0.0,
        };
        let mut others = scored
            .iter()
            .filter(|&&(index, _)| {
                index != first
                    && count_words(&candidates[index].phrase) <= room
                    && !shares_word(&candidates[index].phrase)
            })
            .map(|&(index, score)| (index, RELEVANCE * score / top - (1.0 - RELEVANCE) * likeness(index)));
        if let Some(second) = best(&mut others) {
            name = format!("{name}{SEPARATOR}{}", candidates[second].phrase);
        }
    }
    Some(capitalised(&name))
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_near_and_unlike_phrases() {
        let candidate = |phrase: &str| NameCandidate { phrase: phrase.to_owned(), weight: 0.5 };
        let candidates = ["delivery", "late delivery", "parcel", "weather"].map(candidate);
        let vectors =
            [[0.9_f32, 0.43], [0.95, 0.31], [0.93, -0.36], [0.0, 1.0]].map(|vector| Some(vector.to_vec()));
        let name = choose_name(&candidates, &vectors, &[1.0, 0.0]);
        assert_eq!(name.as_deref(), Some("Late delivery · parcel"));
        assert_eq!(choose_name(&[], &[], &[1.0, 0.0]), None);
    }

    #[test]
    fn names_that_are_left_out_are_in_no_candidate() {
        let namer = Namer {
            texts: &["Apple has a great camera", "The camera of Apple", "Apple camera wins"],
            top_words: &[],
            left_out: &["Apple".to_owned()],
            language: Language::English,
        };
        let candidates = namer.candidates();
        assert!(candidates.iter().any(|candidate| candidate.phrase == "camera"), "{candidates:?}");
        assert!(candidates.iter().all(|candidate| !candidate.phrase.contains("Apple")), "{candidates:?}");
    }
}
