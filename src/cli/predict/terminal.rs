//! Results for people at a terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use sentor_analysis::DocumentAnalysis;
use sentor_text::sentiment::{Distribution, Polarity};

use super::input::Record;

/// Maximum characters of a sentence or a name in a table.
const TABLE_TEXT_CHARS: usize = 60;

/// Length of the bar of a probability of 1, in characters.
const BAR_CHARS: f32 = 10.0;

/// A heading with the document's identifier, then a row each for the document, its sentences and its
/// entities.
pub(super) fn write_document(
    writer: &mut impl Write,
    coloured: bool,
    record: &Record,
    analysis: &DocumentAnalysis,
) -> io::Result<()> {
    let bold = if coloured { Style::new().bold() } else { Style::new() };
    writeln!(writer, "{bold}{}{bold:#} ({})", shortened(&record.doc_id), analysis.language.code())?;
    let mut row = |kind: &str, sentiment: Distribution, text: &str| {
        let colour = if coloured { style(sentiment.polarity()) } else { Style::new() };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=10 fits")]
        let bar = "█".repeat((sentiment.score() * BAR_CHARS).round() as usize);
        let (polarity, percent) = (sentiment.polarity(), sentiment.score() * 100.0);
        let row = format!("  {kind:<8}  {colour}{polarity:<8} {percent:>3.0}% {bar:<10}{colour:#}  {text}");
        writeln!(writer, "{}", row.trim_end())
    };
    row("document", analysis.sentiment, "")?;
    for sentence in &analysis.sentences {
        row("sentence", sentence.sentiment, &shortened(sentence.span.slice(&record.text)))?;
    }
    for entity in &analysis.entities {
        let mentions = match entity.mentions.len() {
            0 => "not mentioned".to_owned(),
            1 => "1 mention".to_owned(),
            several => format!("{several} mentions"),
        };
        row("entity", entity.sentiment, &format!("{} ({mentions})", shortened(&entity.entity)))?;
    }
    Ok(())
}

fn style(polarity: Polarity) -> Style {
    let colour = match polarity {
        Polarity::Negative => AnsiColor::Red,
        Polarity::Neutral => AnsiColor::Yellow,
        Polarity::Positive => AnsiColor::Green,
    };
    colour.on_default()
}

/// Shortens a text to one row of a table, and replaces control characters, which a terminal would execute.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.chars().nth(TABLE_TEXT_CHARS).is_none() && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut short: String = text
        .chars()
        .take(TABLE_TEXT_CHARS)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(TABLE_TEXT_CHARS).is_some() {
        short.push('…');
    }
    Cow::Owned(short)
}
