//! Counts of what was scored, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sentor_analysis::DocumentAnalysis;
use sentor_text::sentiment::Polarity;
use serde::{Deserialize, Serialize};

use crate::cli::table::table;

/// Entities that are listed; a file can name thousands.
const LISTED: usize = 20;

/// Most entities that are counted, so that a file in which every row names others cannot fill the memory.
const COUNTED: usize = 100_000;

/// Negative, neutral and positive ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts([u64; 3]);

impl Counts {
    fn add(&mut self, polarity: Polarity) {
        let place = match polarity {
            Polarity::Negative => 0,
            Polarity::Neutral => 1,
            Polarity::Positive => 2,
        };
        self.0[place] += 1;
    }

    fn total(self) -> u64 {
        self.0.iter().sum()
    }

    /// Percentage of positive ones minus percentage of negative ones.
    fn net(self) -> f64 {
        let [negative, _, positive] = self.0.map(|count| count as f64);
        100.0 * (positive - negative) / (self.total().max(1) as f64)
    }

    fn cells(self, name: &str) -> [String; 6] {
        let [negative, neutral, positive] = self.0.map(|count| count.to_string());
        [
            name.to_owned(),
            self.total().to_string(),
            positive,
            neutral,
            negative,
            format!("{:+.0}", self.net()),
        ]
    }
}

/// What a run has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) documents: u64,
    pub(super) bad_rows: u64,
    whole: Counts,
    entities: BTreeMap<String, Counts>,
}

impl Summary {
    pub(super) fn add(&mut self, analysis: &DocumentAnalysis) {
        self.documents += 1;
        self.whole.add(analysis.sentiment.polarity());
        for entity in &analysis.entities {
            if self.entities.len() < COUNTED || self.entities.contains_key(&entity.entity) {
                self.entities.entry(entity.entity.clone()).or_default().add(entity.sentiment.polarity());
            }
        }
    }

    /// Counts and net scores, and how long it took.
    pub(super) fn report(&self, took: Duration) -> String {
        let rate = if took > Duration::ZERO && self.documents > 0 {
            format!(" ({:.0} a second)", self.documents as f64 / took.as_secs_f64())
        } else {
            String::new()
        };
        let bad = match self.bad_rows {
            0 => String::new(),
            rows => format!(", {} left out", counted(rows, "bad row")),
        };
        let documents = counted(self.documents, "document");
        let mut text = format!("{documents} scored in {:.1} s{rate}{bad}\n", took.as_secs_f64());
        if self.documents == 0 {
            return text;
        }
        let head = ["", "documents", "positive", "neutral", "negative", "net"].map(str::to_owned);
        let mut rows = vec![head, self.whole.cells("text as a whole")];
        let mut entities: Vec<_> = self.entities.iter().collect();
        entities.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.total()));
        rows.extend(entities.iter().take(LISTED).map(|(name, counts)| counts.cells(&printable(name))));
        text += &table(&rows);
        if let Some(more @ 1..) = entities.len().checked_sub(LISTED) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "and {more} more entities");
        }
        text += "net: percentage of positive minus percentage of negative ones\n";
        text
    }
}

/// A number with its noun.
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A name for a terminal, which would obey control characters.
fn printable(name: &str) -> String {
    const MOST: usize = 40;

    let mut short: String =
        name.chars().take(MOST).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if name.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flow::tests::fake_analysis;
    use sentor_analysis::Document;
    use sentor_text::language::LanguageChoice;

    #[test]
    fn entities_are_counted_with_their_net_score() {
        let mut summary = Summary { bad_rows: 1, ..Summary::default() };
        for text in ["good ham", "good egg", "bad ham"] {
            let entities = vec!["ham".to_owned()];
            let document = Document { text: text.to_owned(), entities, ..Document::default() };
            summary.add(&fake_analysis(&document, LanguageChoice::Auto).expect("the text is not blank"));
        }
        insta::assert_snapshot!(summary.report(Duration::from_secs(2)), @r"
        3 documents scored in 2.0 s (2 a second), 1 bad row left out
                         documents  positive  neutral  negative  net
        text as a whole  3          2         0        1         +33
        ham              3          2         0        1         +33
        net: percentage of positive minus percentage of negative ones
        ");
    }
}
