//! Measures how often the language of a text is detected.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use indicatif::ProgressBar;
use serde::Deserialize;

use crate::cli::lines::{self, Lines, json_problem};
use sentor_text::language::{Detection, Language, detect};

use super::targets::fixed_language_of;

/// A line of the data; it may have more fields.
#[derive(Deserialize)]
struct TextLine {
    text: String,
    lang: String,
}

/// Texts are counted by data set, language and length.
pub(super) type Group = (String, Language, Length);

/// Length class of a text, in words separated by white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Length {
    /// Up to 4 words.
    Shortest,
    /// 5 to 15 words.
    Short,
    /// More.
    Long,
}

impl Length {
    fn from_text(text: &str) -> Self {
        match text.split_whitespace().take(16).count() {
            0..5 => Self::Shortest,
            5..16 => Self::Short,
            _ => Self::Long,
        }
    }

    /// The number of words, for people and programs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Shortest => "1-4",
            Self::Short => "5-15",
            Self::Long => "16+",
        }
    }
}

/// Counts of each detection result in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DetectionCounts {
    pub(super) texts: u64,
    /// The labelled language.
    pub(super) right: u64,
    /// The other of the two languages.
    pub(super) confused: u64,
    /// A third language.
    pub(super) third: u64,
    /// None: the fallback language is used.
    pub(super) unknown: u64,
    /// A wrong language with enough confidence that the caller is warned.
    pub(super) warned: u64,
}

impl std::ops::AddAssign for DetectionCounts {
    fn add_assign(&mut self, other: Self) {
        self.texts += other.texts;
        self.right += other.right;
        self.confused += other.confused;
        self.third += other.third;
        self.unknown += other.unknown;
        self.warned += other.warned;
    }
}

impl DetectionCounts {
    fn add(&mut self, labelled: Language, detection: &Detection) {
        self.texts += 1;
        let count = match detection.language {
            Some(language) if language == labelled => &mut self.right,
            Some(_) => &mut self.confused,
            None if detection.is_unknown() => &mut self.unknown,
            None => &mut self.third,
        };
        *count += 1;
        self.warned += u64::from(detection.language != Some(labelled) && detection.is_reliable());
    }

    /// A share of the texts.
    pub(super) fn share(&self, count: u64) -> f64 {
        if self.texts == 0 { 0.0 } else { count as f64 / self.texts as f64 }
    }
}

/// Counts each text of a data set once, whatever its number of labelled targets.
pub(super) fn measure(files: &[PathBuf]) -> anyhow::Result<BTreeMap<Group, DetectionCounts>> {
    let mut groups: BTreeMap<Group, DetectionCounts> = BTreeMap::new();
    let mut seen = HashSet::new();
    for path in files {
        let file = lines::name(path);
        let set = super::set_name(path);
        for line in Lines::new(lines::open(path, &ProgressBar::hidden())?) {
            let line = line.with_context(|| format!("failed to read {file}"))?;
            let context = || format!("{file}:{}", line.number);
            let json = line.text.as_ref().map_err(|bad| *bad).with_context(context)?;
            if json.trim().is_empty() {
                continue;
            }
            let TextLine { text, lang } = serde_json::from_str(json)
                .map_err(|error| anyhow!(json_problem(&error)))
                .with_context(context)?;
            let language = fixed_language_of(&lang).with_context(context)?;
            let group = (set.clone(), language, Length::from_text(&text));
            if seen.insert((set.clone(), text.clone())) {
                groups.entry(group).or_default().add(language, &detect(&text));
            }
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_count() {
        let mut counts = DetectionCounts::default();
        for text in [
            "The camera is great but the battery is not.",
            "De camera is geweldig maar de batterij valt tegen.",
            "Камера действительно хорошая, но батарея держится недолго.",
            "12,50",
        ] {
            counts.add(Language::English, &detect(text));
        }
        let expected = DetectionCounts { texts: 4, right: 1, confused: 1, third: 1, unknown: 1, warned: 2 };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_text_counts_once_and_a_bad_line_is_named() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("x.jsonl");
        let write = |lines: &str| std::fs::write(&path, lines).expect("a file can be written");
        let line = r#"{"text": "Het was heel erg lekker.", "lang": "nl", "entity": "het"}"#;
        write(&format!("{line}\n\n{line}\n"));
        let groups = measure(std::slice::from_ref(&path)).expect("the lines are well formed");
        let counts = DetectionCounts { texts: 1, right: 1, ..DetectionCounts::default() };
        assert_eq!(groups, BTreeMap::from([(("x".to_owned(), Language::Dutch, Length::Short), counts)]));

        write(&format!("{line}\n{{\"text\": \"Oui.\", \"lang\": \"fr\"}}\n"));
        let error = measure(&[path]).map_err(|error| format!("{error:#}")).expect_err("fr is not scored");
        assert!(error.contains("x.jsonl:2: ") && error.contains("\"fr\""), "{error}");
    }

    #[test]
    fn lengths_count_words() {
        let label = |words: usize| Length::from_text(&"word ".repeat(words)).label();
        assert_eq!([0, 4, 5, 15, 16, 99].map(label), ["1-4", "1-4", "5-15", "5-15", "16+", "16+"]);
    }
}
