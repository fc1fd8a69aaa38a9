//! Counts of predictions, and the figures derived from them.

use std::collections::BTreeMap;

use sentor_text::sentiment::Polarity;

use super::Target;

/// How often each label was predicted as each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Confusion([[u64; 3]; 3]);

impl Confusion {
    /// Counts one target.
    pub(super) fn add(&mut self, label: Polarity, predicted: Polarity) {
        self.0[label.class()][predicted.class()] += 1;
    }

    fn merge(mut self, other: &Self) -> Self {
        for (counts, more) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *counts += more;
        }
        self
    }

    /// A row for each label and a column for each predicted class, in the order negative, neutral, positive.
    pub(super) fn rows(&self) -> [[u64; 3]; 3] {
        self.0
    }

    /// How many targets were counted.
    pub(super) fn targets(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// Share of the targets whose label was predicted; 0 without targets.
    pub(super) fn accuracy(&self) -> f64 {
        ratio((0..3).map(|class| self.0[class][class]).sum(), self.targets())
    }

    /// Mean F1 of the classes that occur among the labels; 0 without targets.
    ///
    /// `F1 = 2 * right / (labelled + predicted)` for each class. A class without labels would have an F1 of
    /// 0 however good the predictions, so it is left out.
    pub(super) fn macro_f1(&self) -> f64 {
        let labelled = |class: usize| self.0[class].iter().sum::<u64>();
        let predicted = |class: usize| self.0.iter().map(|row| row[class]).sum::<u64>();
        let f1: Vec<f64> = (0..3)
            .filter(|&class| labelled(class) > 0)
            .map(|class| ratio(2 * self.0[class][class], labelled(class) + predicted(class)))
            .collect();
        if f1.is_empty() { 0.0 } else { f1.iter().sum::<f64>() / f1.len() as f64 }
    }
}

/// Returns `part / whole`, or 0 if `whole` is 0.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The counts of a data set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Results {
    /// Targets in the text.
    pub(super) explicit: Confusion,
    /// Targets that are not in the text.
    pub(super) implicit: Confusion,
    /// The explicit targets that were searched, each with the sentiment of its whole entity.
    as_entity: Confusion,
    /// How many of those were found in their place.
    in_place: u64,
}

impl Results {
    /// Counts one target.
    pub(super) fn add(&mut self, target: &Target, predicted: Polarity) {
        let kind = if target.place.is_some() { &mut self.explicit } else { &mut self.implicit };
        kind.add(target.label, predicted);
    }

    /// Counts an explicit target that was searched: the prediction for its whole entity, and whether it was found in
    /// its place.
    pub(super) fn add_found(&mut self, label: Polarity, as_entity: Polarity, in_place: bool) {
        self.as_entity.add(label, as_entity);
        self.in_place += u64::from(in_place);
    }

    /// Both kinds together.
    pub(super) fn all(&self) -> Confusion {
        self.explicit.merge(&self.implicit)
    }

    /// Share of the explicit targets that were found in their place; `None` if none was searched.
    pub(super) fn found_share(&self) -> Option<f64> {
        (self.as_entity.targets() > 0).then(|| ratio(self.in_place, self.as_entity.targets()))
    }

    /// The explicit targets by the sentiment of their entities; `None` if none was searched.
    pub(super) fn as_entity(&self) -> Option<Confusion> {
        (self.as_entity.targets() > 0).then_some(self.as_entity)
    }
}

/// The results of all data sets.
#[derive(Debug, Default)]
pub(super) struct Sets(BTreeMap<String, Results>);

impl Sets {
    /// Returns the results of the data set `name`, and adds it if it is new.
    pub(super) fn entry(&mut self, name: String) -> &mut Results {
        self.0.entry(name).or_default()
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Results)> {
        self.0.iter().map(|(name, results)| (name.as_str(), results))
    }

    /// The targets of all data sets as if they were one.
    pub(super) fn total(&self) -> Results {
        self.0.values().fold(Results::default(), |total, results| Results {
            explicit: total.explicit.merge(&results.explicit),
            implicit: total.implicit.merge(&results.implicit),
            as_entity: total.as_entity.merge(&results.as_entity),
            in_place: total.in_place + results.in_place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn figures_of_three_classes() {
        let confusion = Confusion([[3, 1, 0], [0, 2, 2], [1, 0, 1]]);
        assert_eq!(confusion.targets(), 10);
        assert!(close(confusion.accuracy(), 0.6));
        let expected = (6.0 / 8.0 + 4.0 / 7.0 + 2.0 / 5.0) / 3.0;
        assert!(close(confusion.macro_f1(), expected));
    }

    #[test]
    fn a_class_without_labels_is_ignored_but_predicting_it_is_an_error() {
        let confusion = Confusion([[2, 1, 0], [0, 0, 0], [0, 1, 2]]);
        assert!(close(confusion.macro_f1(), 4.0 / 5.0));
        assert!(close(Confusion::default().macro_f1(), 0.0));
        assert!(close(Confusion::default().accuracy(), 0.0));
    }
}
