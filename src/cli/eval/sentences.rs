//! Measuring where sentences end.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use serde::Deserialize;

use crate::cli::lines::{self, Lines};
use crate::language::{Language, LanguageChoice, detect};
use crate::segment;
use crate::text::Span;

use super::scores::ratio;
use super::targets::{language_of, span};

/// A line of the data; it may have more fields.
#[derive(Deserialize)]
struct TextLine {
    text: String,
    sentences: Vec<[i64; 2]>,
    lang: Option<String>,
}

/// How many ends of sentences there are and how many of them are right. The end of a document is none:
/// every splitter has that right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    right: u64,
    predicted: u64,
    labelled: u64,
}

impl Ends {
    /// Share of the predicted ends that are right.
    pub(super) fn precision(self) -> f64 {
        ratio(self.right, self.predicted)
    }

    /// Share of the right ends that are predicted.
    pub(super) fn recall(self) -> f64 {
        ratio(self.right, self.labelled)
    }

    /// Harmonic mean of the two.
    pub(super) fn f1(self) -> f64 {
        ratio(2 * self.right, self.predicted + self.labelled)
    }

    fn add(&mut self, predicted: &[Span], labelled: &[Span], text: &str) {
        let predicted = inner_ends(predicted, text);
        let labelled = inner_ends(labelled, text);
        self.predicted += predicted.len() as u64;
        self.labelled += labelled.len() as u64;
        self.right += predicted.iter().filter(|end| labelled.binary_search(end).is_ok()).count() as u64;
    }
}

/// Where sentences end, in order, but for the last one; white space behind a sentence is not part of it.
fn inner_ends(spans: &[Span], text: &str) -> Vec<usize> {
    let mut ends: Vec<usize> = spans
        .iter()
        .map(|span| span.trim(text))
        .filter(|span| !span.is_empty())
        .map(|span| span.end)
        .collect();
    ends.sort_unstable();
    ends.dedup();
    ends.pop();
    ends
}

/// The counts of each data set, by name.
pub(super) fn measure(
    files: &[PathBuf],
    language: Option<LanguageChoice>,
) -> anyhow::Result<BTreeMap<String, Ends>> {
    let mut sets = BTreeMap::new();
    for path in files {
        let reader = lines::open(path, &ProgressBar::hidden())?;
        let ends = sets.entry(super::set_name(path)).or_default();
        measure_file(reader, &lines::name(path), language, ends)?;
    }
    Ok(sets)
}

fn measure_file(
    reader: impl BufRead,
    file: &str,
    language: Option<LanguageChoice>,
    ends: &mut Ends,
) -> anyhow::Result<()> {
    for line in Lines::new(reader) {
        let line = line.with_context(|| format!("failed to read {file}"))?;
        let context = || format!("{file}:{}", line.number);
        let json = line.text.as_ref().map_err(|bad| *bad).with_context(context)?;
        if json.trim().is_empty() {
            continue;
        }
        let parsed: TextLine = serde_json::from_str(json).with_context(context)?;
        let language = match language_of(parsed.lang.as_deref(), language).with_context(context)? {
            LanguageChoice::Fixed(language) => language,
            LanguageChoice::Auto => detect(&parsed.text).language.unwrap_or(Language::English),
        };
        let text = &parsed.text;
        let labelled: Vec<Span> = parsed
            .sentences
            .iter()
            .map(|&place| span(text, place))
            .collect::<anyhow::Result<_>>()
            .with_context(context)?;
        ends.add(&segment::sentences(text, language), &labelled, text);
    }
    ensure!(ends.labelled > 0, "{file} has no text of several sentences");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_the_end_of_the_document_do_not_count() {
        let text = "Een. Twee. Drie. ";
        let tiles = [Span::new(0, 5), Span::new(5, 17)];
        let labelled = [Span::new(0, 4), Span::new(5, 10), Span::new(11, 16)];
        let mut ends = Ends::default();
        ends.add(&tiles, &labelled, text);
        assert_eq!(ends, Ends { right: 1, predicted: 1, labelled: 2 });
        assert!((ends.f1() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_bad_line_is_named() {
        let data = "{\"text\": \"a. b.\", \"sentences\": [[0, 2], [3, 9]], \"lang\": \"en\"}\n";
        let error = measure_file(data.as_bytes(), "x.jsonl", None, &mut Ends::default());
        let message = error.map_err(|error| format!("{error:#}")).expect_err("3..9 is outside");
        assert!(message.starts_with("x.jsonl:1: ") && message.contains("3..9"), "{message}");
    }
}
