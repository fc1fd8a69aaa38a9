//! Reads labelled targets.

use std::collections::HashMap;
use std::io::BufRead;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde::Deserialize;

use crate::cli::lines::{Lines, json_problem};
use sentor_analysis::{Document, MentionSource};
use sentor_text::language::{Language, LanguageChoice};
use sentor_text::sentiment::Polarity;
use sentor_text::span::{OffsetMap, OffsetUnit, Span};

use super::Mentions;

/// A text with all of its labelled targets.
#[derive(Debug)]
pub(super) struct LabelledText {
    /// The first line that has it.
    pub(super) line: u64,
    pub(super) text: String,
    pub(super) language: LanguageChoice,
    pub(super) targets: Vec<Target>,
}

/// A labelled target.
#[derive(Debug)]
pub(super) struct Target {
    entity: String,
    /// `None` for a target that is not in the text.
    pub(super) place: Option<Span>,
    pub(super) label: Polarity,
}

impl Target {
    /// Whether the data names no entity, so that the label is the document's.
    pub(super) fn is_whole_document(&self) -> bool {
        self.place.is_none() && self.entity.trim().is_empty()
    }
}

impl LabelledText {
    /// Returns the text with its entities, in the order of the targets that have one.
    pub(super) fn document(&self, mentions: Mentions) -> Document {
        let targets = || self.targets.iter().filter(|target| !target.is_whole_document());
        let places = targets().enumerate().filter_map(|(index, target)| Some((index, target.place?)));
        Document {
            text: self.text.clone(),
            entities: targets().map(|target| target.entity.clone()).collect(),
            mentions: match mentions {
                Mentions::Given => MentionSource::Given(places.collect()),
                Mentions::Found => MentionSource::Find,
                Mentions::FoundWithPronouns => MentionSource::FindWithPronouns,
            },
            ..Document::default()
        }
    }
}

/// A line of the data; it may have more fields.
#[derive(Deserialize)]
struct TargetLine {
    text: String,
    entity: String,
    start: i64,
    end: i64,
    label: String,
    lang: Option<String>,
}

/// Reads all targets of a file and groups them by text, in order of first occurrence.
pub(super) fn read(
    reader: impl BufRead,
    file: &str,
    language: Option<LanguageChoice>,
) -> anyhow::Result<Vec<LabelledText>> {
    let mut texts: Vec<LabelledText> = Vec::new();
    let mut places: HashMap<(String, &'static str), usize> = HashMap::new();
    for line in Lines::new(reader) {
        let line = line.with_context(|| format!("failed to read {file}"))?;
        let context = || format!("{file}:{}", line.number);
        let json = line.text.as_ref().map_err(|bad| *bad).with_context(context)?;
        if json.trim().is_empty() {
            continue;
        }
        let parsed: TargetLine = serde_json::from_str(json)
            .map_err(|error| anyhow!(json_problem(&error)))
            .with_context(context)?;
        let language = language_of(parsed.lang.as_deref(), language).with_context(context)?;
        let target = target(&parsed).with_context(context)?;
        let code = if let LanguageChoice::Fixed(language) = language { language.code() } else { "auto" };
        let place = *places.entry((parsed.text.clone(), code)).or_insert(texts.len());
        if place == texts.len() {
            let (line, text) = (line.number, parsed.text);
            texts.push(LabelledText { line, text, language, targets: Vec::new() });
        }
        texts[place].targets.push(target);
    }
    ensure!(!texts.is_empty(), "{file} has no labelled targets");
    Ok(texts)
}

/// Returns the language that the caller chose, or else that of the line.
pub(super) fn language_of(
    lang: Option<&str>,
    chosen: Option<LanguageChoice>,
) -> anyhow::Result<LanguageChoice> {
    if let Some(chosen) = chosen {
        return Ok(chosen);
    }
    let lang = lang.context("there is no field lang; --language names one for all texts")?;
    LanguageChoice::parse(lang).with_context(|| format!("{lang:?} is no language that can be scored"))
}

/// Parses the language of a line; `auto` is not allowed.
pub(super) fn fixed_language_of(lang: &str) -> anyhow::Result<Language> {
    Language::parse(lang).with_context(|| format!("{lang:?} is no language that can be scored"))
}

fn target(line: &TargetLine) -> anyhow::Result<Target> {
    let label = Polarity::parse(&line.label)
        .with_context(|| format!("label {:?} is not negative, neutral or positive", line.label))?;
    let entity = line.entity.clone();
    if line.start < 0 {
        return Ok(Target { entity, place: None, label });
    }
    let place = span(&line.text, [line.start, line.end])?;
    ensure!(!place.is_empty(), "the target's place {}..{} is empty", line.start, line.end);
    Ok(Target { entity, place: Some(place), label })
}

/// A span in code points as one in bytes.
pub(super) fn span(text: &str, [start, end]: [i64; 2]) -> anyhow::Result<Span> {
    let offsets = OffsetMap::new(text, OffsetUnit::CodePoint);
    let byte = |offset: i64| usize::try_from(offset).ok().and_then(|offset| offsets.to_bytes(offset));
    match (byte(start), byte(end)) {
        (Some(start), Some(end)) if start <= end => Ok(Span::new(start, end)),
        _ => bail!("the place {start}..{end} does not lie inside the text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str) -> Result<Vec<LabelledText>, String> {
        read(line.as_bytes(), "x.jsonl", None).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn places_are_in_code_points() {
        let line = r#"{"text": "één ham 😀 x", "entity": "x", "start": 10, "end": 11, "label": "neutral", "lang": "nl"}"#;
        let texts = read_line(line).expect("the line is well formed");
        assert_eq!(texts[0].language, LanguageChoice::Fixed(Language::Dutch));
        assert_eq!(texts[0].targets[0].place.map(|place| place.slice(&texts[0].text)), Some("x"));
    }

    #[test]
    fn a_bad_line_is_named_with_its_reason() {
        let cases = [
            ("{}", "missing field"),
            (
                r#"{"text": "a", "entity": "a", "start": 0, "end": 2, "label": "neutral", "lang": "en"}"#,
                "0..2",
            ),
            (
                r#"{"text": "a", "entity": "a", "start": 0, "end": 0, "label": "neutral", "lang": "en"}"#,
                "empty",
            ),
            (
                r#"{"text": "a", "entity": "a", "start": 0, "end": 1, "label": "mixed", "lang": "en"}"#,
                "\"mixed\"",
            ),
            (
                r#"{"text": "a", "entity": "a", "start": 0, "end": 1, "label": "neutral", "lang": "fr"}"#,
                "\"fr\"",
            ),
            (r#"{"text": "a", "entity": "a", "start": 0, "end": 1, "label": "neutral"}"#, "--language"),
        ];
        for (line, reason) in cases {
            let error = read_line(&format!("\n{line}")).expect_err(line);
            assert!(error.starts_with("x.jsonl:2: ") && error.contains(reason), "{error}");
        }
        assert_eq!(read_line("\n").expect_err("there is no target"), "x.jsonl has no labelled targets");
    }
}
