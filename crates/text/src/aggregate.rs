//! From several scores to one: pieces to a sentence, mentions to an entity, sentences to a document.
//!
//! Every step is the same weighted mean of distributions, `Σ wᵢ pᵢ / Σ wᵢ`; the steps differ in the weight:
//!
//! ```text
//! weight = size^SIZE · (FLOOR + confidence^CONFIDENCE) · (1 − NEUTRAL · neutral)
//! ```
//!
//! where `confidence` is 1 if one class has all the probability and 0 for the uniform distribution, and `neutral` is
//! the probability of the class neutral. A mean of distributions is a distribution, never more confident than its most
//! confident part. A single distribution is returned bit for bit. `docs/text.md` explains each formula.

use crate::sentiment::{Distribution, Polarity};

/// Aggregates the pieces of a sentence that was scored in several windows. Longer and less neutral pieces count more.
///
/// Each piece is its distribution and its length in tokens.
pub fn sentence(pieces: &[(Distribution, usize)]) -> Distribution {
    pool(pieces.iter().copied(), PIECES)
}

/// Aggregates the mentions of an entity.
///
/// Confident mentions count more than uncertain ones, and opinions more than neutral mentions: writers name their
/// subject many times in passing and judge it once or twice.
pub fn entity(mentions: &[Distribution]) -> Distribution {
    pool(mentions.iter().map(|&mention| (mention, 1)), MENTIONS)
}

/// Aggregates the scores of an entity without mentions, one for each window.
///
/// Most windows do not concern the entity and score it neutral, so neutral windows weigh little unless all are neutral.
pub fn implicit(windows: &[Distribution]) -> Distribution {
    pool(windows.iter().map(|&window| (window, 1)), IMPLICIT)
}

/// Aggregates the sentences of a document, each with its length in tokens.
///
/// A sentence weighs by the square root of its length. Neutral sentences count less, so that narration does not
/// outweigh a review's verdict.
pub fn document(sentences: &[(Distribution, usize)]) -> Distribution {
    pool(sentences.iter().copied(), SENTENCES)
}

/// Whether parts contradict each other: one is positive and another negative, each with a probability of
/// [`MIXED_PROBABILITY`] or more.
pub fn is_mixed(parts: impl Iterator<Item = Distribution>) -> bool {
    let (mut praises, mut blames) = (false, false);
    for part in parts {
        praises |= part.probability(Polarity::Positive) >= MIXED_PROBABILITY;
        blames |= part.probability(Polarity::Negative) >= MIXED_PROBABILITY;
    }
    praises && blames
}

/// From this probability on a part contradicts one of the opposite class.
pub const MIXED_PROBABILITY: f32 = 0.6;

/// The exponents and factors of one step's weight; see the module's text.
#[derive(Clone, Copy, Debug)]
struct Weighing {
    /// Exponent of the size in tokens: 0 ignores it, 1 is proportional.
    size: f64,
    /// Weight of a part without confidence, relative to a fully confident one.
    floor: f64,
    /// Exponent of the confidence.
    confidence: f64,
    /// Share of its weight that a wholly neutral part loses, 0..1.
    neutral: f64,
}

// The exponents for mentions were measured on the dev sets (benches/pooling.py, docs/text.md) and lie on a plateau.
// Those for sentences follow them and score no worse. Those for pieces and implicit windows are not measured.
const PIECES: Weighing = Weighing { size: 1.0, floor: 1.0, confidence: 1.0, neutral: 0.75 };
const MENTIONS: Weighing = Weighing { size: 0.0, floor: 0.1, confidence: 3.0, neutral: 0.9 };
const IMPLICIT: Weighing = Weighing { size: 0.0, floor: 0.1, confidence: 1.0, neutral: 0.98 };
const SENTENCES: Weighing = Weighing { size: 0.5, floor: 0.1, confidence: 3.0, neutral: 0.9 };

/// Returns the weighted mean of the parts, each a distribution and its size. Without parts, or with parts of size 0
/// only, returns [`Distribution::NEUTRAL`].
fn pool(parts: impl ExactSizeIterator<Item = (Distribution, usize)>, weighing: Weighing) -> Distribution {
    let count = parts.len();
    let mut sums = [0.0; 3];
    for (distribution, size) in parts {
        if count == 1 {
            return distribution;
        }
        let weight = weighing.weight(distribution, size);
        for (sum, probability) in sums.iter_mut().zip(distribution.probabilities()) {
            *sum += weight * f64::from(probability);
        }
    }
    if sums.iter().sum::<f64>() > 0.0 { Distribution::from_weights(sums) } else { Distribution::NEUTRAL }
}

impl Weighing {
    fn weight(self, distribution: Distribution, size: usize) -> f64 {
        let size = if self.size == 0.0 { 1.0 } else { (size as f64).powf(self.size) };
        let confidence = self.floor + confidence(distribution).powf(self.confidence);
        size * confidence * (1.0 - self.neutral * f64::from(distribution.probability(Polarity::Neutral)))
    }
}

/// Returns one minus the entropy divided by its maximum, ln 3: 1 if one class has all the probability, 0 if all three
/// are equal.
fn confidence(distribution: Distribution) -> f64 {
    let entropy: f64 = distribution
        .probabilities()
        .into_iter()
        .map(f64::from)
        .filter(|&probability| probability > 0.0)
        .map(|probability| -probability * probability.ln())
        .sum();
    (1.0 - entropy / 3f64.ln()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distribution(negative: f64, neutral: f64, positive: f64) -> Distribution {
        Distribution::from_weights([negative, neutral, positive])
    }

    const NEGATIVE: [f64; 3] = [0.90, 0.08, 0.02];
    const NEUTRAL: [f64; 3] = [0.03, 0.94, 0.03];
    const TORN: [f64; 3] = [0.30, 0.30, 0.40];

    fn weighted(weights: [f64; 3]) -> Distribution {
        Distribution::from_weights(weights)
    }

    #[test]
    fn without_parts_the_result_is_neutral() {
        assert_eq!(sentence(&[]), Distribution::NEUTRAL);
        assert_eq!(entity(&[]), Distribution::NEUTRAL);
        assert_eq!(implicit(&[]), Distribution::NEUTRAL);
        assert_eq!(document(&[]), Distribution::NEUTRAL);
        assert_eq!(document(&[(weighted(NEGATIVE), 0), (weighted(NEUTRAL), 0)]), Distribution::NEUTRAL);
    }

    #[test]
    fn a_confident_mention_counts_more_than_an_uncertain_one() {
        let pooled = entity(&[weighted(NEGATIVE), weighted(TORN), weighted(TORN)]);
        assert_eq!(pooled.polarity(), Polarity::Negative);
    }

    #[test]
    fn repeated_mentions_count() {
        let positive = distribution(0.02, 0.08, 0.90);
        assert_eq!(entity(&[weighted(NEGATIVE), positive, positive]).polarity(), Polarity::Positive);
        assert_eq!(
            entity(&[weighted(NEGATIVE), weighted(NEGATIVE), positive]).polarity(),
            Polarity::Negative
        );
    }

    #[test]
    fn neutral_sentences_do_not_outweigh_the_verdict() {
        let story = [
            (weighted(NEUTRAL), 15),
            (weighted(NEUTRAL), 15),
            (weighted(NEUTRAL), 15),
            (weighted(NEGATIVE), 12),
        ];
        assert_eq!(document(&story).polarity(), Polarity::Negative);
        let windows = [
            weighted(NEUTRAL),
            weighted(NEUTRAL),
            weighted(NEGATIVE),
            weighted(NEUTRAL),
            weighted(NEUTRAL),
            weighted(NEUTRAL),
        ];
        assert_eq!(implicit(&windows).polarity(), Polarity::Negative);
        assert_eq!(implicit(&[weighted(NEUTRAL); 6]).polarity(), Polarity::Neutral);
    }

    #[test]
    fn the_last_sentence_is_not_the_document() {
        let positive = distribution(0.05, 0.15, 0.80);
        let sentences = [(weighted(NEGATIVE), 20), (weighted(NEGATIVE), 18), (positive, 4)];
        assert_eq!(document(&sentences).polarity(), Polarity::Negative);
    }

    #[test]
    fn what_contradicts_itself_is_mixed() {
        let positive = distribution(0.05, 0.15, 0.80);
        let torn = distribution(0.1, 0.35, 0.55);
        assert!(is_mixed([weighted(NEGATIVE), weighted(NEUTRAL), positive].into_iter()));
        assert!(!is_mixed([weighted(NEGATIVE), weighted(NEUTRAL), torn].into_iter()));
        assert!(!is_mixed([positive, positive].into_iter()));
        assert!(!is_mixed(std::iter::empty()));
    }

    fn any_distribution() -> impl Strategy<Value = Distribution> {
        [0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64].prop_map(Distribution::from_weights)
    }

    proptest! {
        #[test]
        fn a_single_distribution_is_unchanged(one in any_distribution(), tokens in 0..500usize) {
            prop_assert_eq!(sentence(&[(one, tokens)]), one);
            prop_assert_eq!(entity(&[one]), one);
            prop_assert_eq!(implicit(&[one]), one);
            prop_assert_eq!(document(&[(one, tokens)]), one);
        }

        #[test]
        fn every_class_stays_between_its_parts(
            parts in prop::collection::vec((any_distribution(), 1..300usize), 2..20),
        ) {
            let alone: Vec<_> = parts.iter().map(|&(part, _)| part).collect();
            for pooled in [sentence(&parts), document(&parts), entity(&alone), implicit(&alone)] {
                for polarity in Polarity::ALL {
                    let of_parts = || alone.iter().map(|part| part.probability(polarity));
                    let (low, high) = (of_parts().fold(1.0, f32::min), of_parts().fold(0.0, f32::max));
                    prop_assert!((low - 1e-5..=high + 1e-5).contains(&pooled.probability(polarity)));
                }
                prop_assert!((pooled.probabilities().iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn order_does_not_matter(mut parts in prop::collection::vec(any_distribution(), 2..20)) {
            let forward = entity(&parts);
            parts.reverse();
            let backward = entity(&parts);
            for polarity in Polarity::ALL {
                prop_assert!((forward.probability(polarity) - backward.probability(polarity)).abs() < 1e-6);
            }
        }
    }
}
