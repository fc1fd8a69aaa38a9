//! Sentiment: classes and their probabilities.

use std::fmt;

/// The three classes, in the order in which models and the wire number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Polarity {
    /// Class 0.
    Negative,
    /// Class 1.
    Neutral,
    /// Class 2.
    Positive,
}

impl Polarity {
    /// All classes, by class number.
    pub const ALL: [Polarity; 3] = [Polarity::Negative, Polarity::Neutral, Polarity::Positive];

    /// The class number on the wire: 0, 1 or 2.
    pub fn class(self) -> usize {
        self as usize
    }

    /// The label on the wire.
    pub fn label(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Neutral => "neutral",
            Self::Positive => "positive",
        }
    }

    /// Reads a label as written on the wire and in the data sets.
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|polarity| polarity.label() == label)
    }
}

impl fmt::Display for Polarity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.label())
    }
}

/// Probabilities of the three classes: each in 0..=1, together 1 up to rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution([f32; 3]);

impl Distribution {
    /// A third each.
    pub const UNIFORM: Distribution = Distribution([1.0 / 3.0; 3]);

    /// Certainly neutral: the distribution of a text of white space.
    pub const NEUTRAL: Distribution = Distribution([0.0, 1.0, 0.0]);

    /// Returns the softmax of a model's three logits; [`Self::UNIFORM`] if one is not finite.
    pub fn from_logits(logits: [f32; 3]) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self::from_weights(logits.map(|logit| f64::from(logit - max).exp()))
    }

    /// Divides non-negative weights by their sum; [`Self::UNIFORM`] if the sum is not positive and finite.
    pub fn from_weights(weights: [f64; 3]) -> Self {
        let sum: f64 = weights.iter().sum();
        if !(sum.is_finite() && sum > 0.0) {
            return Self::UNIFORM;
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the model's precision is meant")]
        Self(weights.map(|weight| (weight / sum) as f32))
    }

    /// Returns the probability of a class.
    pub fn probability(self, polarity: Polarity) -> f32 {
        self.0[polarity.class()]
    }

    /// Probabilities by class number.
    pub fn probabilities(self) -> [f32; 3] {
        self.0
    }

    /// Returns the most probable class. Ties go to neutral, then to negative.
    pub fn polarity(self) -> Polarity {
        [Polarity::Negative, Polarity::Positive].into_iter().fold(Polarity::Neutral, |best, other| {
            if self.probability(other) > self.probability(best) { other } else { best }
        })
    }

    /// Returns the probability of the most probable class.
    pub fn score(self) -> f32 {
        self.probability(self.polarity())
    }

    /// Returns the probability of positive minus that of negative, -1..=1.
    pub fn balance(self) -> f32 {
        self.probability(Polarity::Positive) - self.probability(Polarity::Negative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_of_large_logits_does_not_overflow() {
        let distribution = Distribution::from_logits([-1000.0, 0.0, 1000.0]);
        assert_eq!(distribution, Distribution::from_weights([0.0, 0.0, 1.0]));
        assert_eq!(distribution.polarity(), Polarity::Positive);
    }

    #[test]
    fn nonsense_is_uniform_and_a_tie_is_neutral() {
        for logits in [[f32::NAN, 0.0, 0.0], [f32::INFINITY; 3]] {
            assert_eq!(Distribution::from_logits(logits), Distribution::UNIFORM);
        }
        assert_eq!(Distribution::UNIFORM.polarity(), Polarity::Neutral);
        assert_eq!(Distribution::from_weights([1.0, 0.0, 1.0]).polarity(), Polarity::Negative);
    }

    #[test]
    fn labels_read_back() {
        for polarity in Polarity::ALL {
            assert_eq!(Polarity::parse(polarity.label()), Some(polarity));
        }
        assert_eq!(Polarity::parse("mixed"), None);
    }
}
