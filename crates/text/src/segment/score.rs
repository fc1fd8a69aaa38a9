//! How well predicted sentence ends agree with gold ones.

use crate::span::Span;

/// Counts of sentence ends inside documents; those of several documents add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndCounts {
    /// Predicted ends that are gold ends.
    pub true_positives: usize,
    /// Predicted ends.
    pub predicted: usize,
    /// Gold ends.
    pub gold: usize,
}

impl EndCounts {
    /// The share of predicted ends that are right, 0..=1; 1 where none is predicted.
    pub fn precision(self) -> f64 {
        ratio(self.true_positives, self.predicted)
    }

    /// The share of gold ends that are predicted, 0..=1; 1 where there are none.
    pub fn recall(self) -> f64 {
        ratio(self.true_positives, self.gold)
    }

    /// The harmonic mean of precision and recall, 0..=1.
    pub fn f1(self) -> f64 {
        ratio(2 * self.true_positives, self.predicted + self.gold)
    }
}

impl std::ops::AddAssign for EndCounts {
    fn add_assign(&mut self, other: Self) {
        self.true_positives += other.true_positives;
        self.predicted += other.predicted;
        self.gold += other.gold;
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// Compares the ends of two lists of sentences of one text, each in order.
///
/// A sentence ends after its last character that is no white space. The end of the last sentence is the
/// text's own and does not count; sentences of white space alone do not either.
pub fn score_ends(predicted: &[Span], gold: &[Span], text: &str) -> EndCounts {
    let ends = |spans: &[Span]| {
        let mut ends: Vec<usize> = spans
            .iter()
            .map(|span| span.trim(text))
            .filter(|span| !span.is_empty())
            .map(|span| span.end)
            .collect();
        ends.pop();
        ends
    };
    let (predicted, gold) = (ends(predicted), ends(gold));
    let true_positives = predicted.iter().filter(|end| gold.binary_search(end).is_ok()).count();
    EndCounts { true_positives, predicted: predicted.len(), gold: gold.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_ends_are_compared_after_trimming() {
        let text = "One. Two. Three. ";
        let gold = [Span::new(0, 4), Span::new(5, 9), Span::new(10, 17)];
        let predicted = [Span::new(0, 5), Span::new(5, 17)];
        let counts = score_ends(&predicted, &gold, text);
        assert_eq!(counts, EndCounts { true_positives: 1, predicted: 1, gold: 2 });
        assert!((counts.f1() - 2.0 / 3.0).abs() < 1e-9);
        assert!((score_ends(&gold, &gold, text).f1() - 1.0).abs() < f64::EPSILON);
    }
}
