//! Measures the ends of sentences.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use indicatif::ProgressBar;
use serde::Deserialize;

use crate::cli::lines::{self, Lines, json_problem};
use sentor_text::language::{Language, LanguageChoice, detect};
use sentor_text::segment::{EndCounts, score_ends, sentences};
use sentor_text::span::Span;

use super::targets::{language_of, span};

/// A line of the data; it may have more fields.
#[derive(Deserialize)]
struct TextLine {
    text: String,
    sentences: Vec<[i64; 2]>,
    lang: Option<String>,
}

/// The counts of each data set, by name.
pub(super) fn measure(
    files: &[PathBuf],
    language: Option<LanguageChoice>,
) -> anyhow::Result<BTreeMap<String, EndCounts>> {
    let mut sets = BTreeMap::new();
    for path in files {
        let reader = lines::open(path, &ProgressBar::hidden())?;
        let ends = sets.entry(super::set_name(path)).or_insert_with(EndCounts::default);
        measure_file(reader, &lines::name(path), language, ends)?;
    }
    Ok(sets)
}

fn measure_file(
    reader: impl BufRead,
    file: &str,
    language: Option<LanguageChoice>,
    ends: &mut EndCounts,
) -> anyhow::Result<()> {
    for line in Lines::new(reader) {
        let line = line.with_context(|| format!("failed to read {file}"))?;
        let context = || format!("{file}:{}", line.number);
        let json = line.text.as_ref().map_err(|bad| *bad).with_context(context)?;
        if json.trim().is_empty() {
            continue;
        }
        let parsed: TextLine = serde_json::from_str(json)
            .map_err(|error| anyhow!(json_problem(&error)))
            .with_context(context)?;
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
        *ends += score_ends(&sentences(text, language), &labelled, text);
    }
    ensure!(ends.gold > 0, "{file} has no text of several sentences");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        let data = "{\"text\": \"a. b.\", \"sentences\": [[0, 2], [3, 9]], \"lang\": \"en\"}\n";
        let error = measure_file(data.as_bytes(), "x.jsonl", None, &mut EndCounts::default());
        let message = error.map_err(|error| format!("{error:#}")).expect_err("3..9 is outside");
        assert!(message.starts_with("x.jsonl:1: ") && message.contains("3..9"), "{message}");
    }
}
