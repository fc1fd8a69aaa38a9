//! The three output formats.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use anstyle::{AnsiColor, Style};

use sentor_analysis::results::document_result;
use sentor_analysis::{DocumentAnalysis, EntityAnalysis};
use sentor_text::sentiment::{Distribution, Polarity};
use sentor_text::span::OffsetUnit;

use super::input::Record;
use crate::cli::spreadsheet::guard_formulas;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// For each document a line with the JSON object that the server would answer.
    Jsonl,
    /// A row for each entity of each document; a document without entities has one row.
    Csv,
    /// For people to read.
    Table,
}

/// The destination of results, and their format.
pub(super) enum Output<W: Write> {
    Jsonl(BufWriter<W>),
    // Boxed: much larger than the others.
    Csv(Box<csv::Writer<W>>),
    Table { writer: BufWriter<W>, coloured: bool },
}

impl Output<io::Stdout> {
    /// Writes to standard output, with colours if it is a terminal that supports them.
    pub(super) fn new(format: OutputFormat) -> io::Result<Self> {
        let mut output = Self::with_writer(format, io::stdout())?;
        if let Self::Table { coloured, .. } = &mut output {
            *coloured = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        }
        Ok(output)
    }
}

impl<W: Write> Output<W> {
    /// Writes to any writer, without colours.
    pub(super) fn with_writer(format: OutputFormat, writer: W) -> io::Result<Self> {
        Ok(match format {
            OutputFormat::Jsonl => Self::Jsonl(BufWriter::new(writer)),
            OutputFormat::Csv => {
                let mut writer = Box::new(csv::Writer::from_writer(writer));
                write_row(&mut writer, CSV_COLUMNS.iter())?;
                Self::Csv(writer)
            }
            OutputFormat::Table => Self::Table { writer: BufWriter::new(writer), coloured: false },
        })
    }

    /// Writes one document's results. They may be buffered until [`Self::flush`].
    pub(super) fn write(&mut self, record: &Record, analysis: &DocumentAnalysis) -> io::Result<()> {
        match self {
            Self::Jsonl(writer) => {
                let unit = OffsetUnit::CodePoint;
                let result = document_result(Some(&record.doc_id), &record.text, analysis, unit);
                serde_json::to_writer(&mut *writer, &result)?;
                writer.write_all(b"\n")
            }
            Self::Csv(writer) => write_rows(writer, record, analysis),
            Self::Table { writer, coloured } => write_table(writer, *coloured, record, analysis),
        }
    }

    /// Flushes the results written so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl(writer) | Self::Table { writer, .. } => writer.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }
}

/// Fields of the CSV output that describe the document, and then the entity; in the order of the columns.
const CSV_COLUMNS: [&str; 15] = [
    "doc_id",
    "language",
    "predicted_label",
    "negative",
    "neutral",
    "positive",
    "entity",
    "sentiment",
    "score",
    "polarity",
    "match",
    "mentions",
    "entity_negative",
    "entity_neutral",
    "entity_positive",
];

fn write_rows<W: Write>(
    writer: &mut csv::Writer<W>,
    record: &Record,
    analysis: &DocumentAnalysis,
) -> io::Result<()> {
    let [negative, neutral, positive] = probabilities(analysis.sentiment);
    let document = [
        guard_formulas(&record.doc_id).into_owned(),
        analysis.language.code().to_owned(),
        analysis.sentiment.polarity().to_string(),
        negative,
        neutral,
        positive,
    ];
    if analysis.entities.is_empty() {
        let nothing = vec![String::new(); CSV_COLUMNS.len() - document.len()];
        return write_row(writer, document.iter().chain(&nothing));
    }
    for entity in &analysis.entities {
        let [negative, neutral, positive] = probabilities(entity.sentiment);
        let columns = [
            guard_formulas(&entity.entity).into_owned(),
            entity.sentiment.polarity().to_string(),
            entity.sentiment.score().to_string(),
            entity.sentiment.balance().to_string(),
            found_as(entity).to_owned(),
            entity.mentions.len().to_string(),
            negative,
            neutral,
            positive,
        ];
        write_row(writer, document.iter().chain(&columns))?;
    }
    Ok(())
}

fn write_row<W: Write>(
    writer: &mut csv::Writer<W>,
    row: impl Iterator<Item = impl AsRef<[u8]>>,
) -> io::Result<()> {
    writer.write_record(row).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })
}

fn probabilities(sentiment: Distribution) -> [String; 3] {
    sentiment.probabilities().map(|probability| probability.to_string())
}

fn found_as(entity: &EntityAnalysis) -> &'static str {
    if entity.is_explicit() { "explicit" } else { "implicit" }
}

/// Maximum characters of a sentence or a name in a table.
const TABLE_TEXT_CHARS: usize = 60;

/// Length of the bar of a probability of 1, in characters.
const BAR_CHARS: f32 = 10.0;

/// A heading with the document's identifier, then a row each for the document, its sentences and its
/// entities.
fn write_table(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flow::tests::fake_analysis;
    use sentor_analysis::{Document, MentionSource};
    use sentor_text::language::{Language, LanguageChoice};

    fn printed(format: OutputFormat, text: &str, entities: &[&str]) -> String {
        let entities: Vec<String> = entities.iter().map(|&entity| entity.to_owned()).collect();
        let record = Record { line: 1, doc_id: "a".to_owned(), text: text.to_owned(), entities };
        let document: Document = record.document(MentionSource::Find);
        let analysis = fake_analysis(&document, LanguageChoice::Fixed(Language::English));
        let mut written = Vec::new();
        let mut output = Output::with_writer(format, &mut written).expect("memory can be written");
        output.write(&record, &analysis.expect("the text is not blank")).expect("memory can be written");
        output.flush().expect("memory can be written");
        drop(output);
        String::from_utf8(written).expect("the output is UTF-8")
    }

    #[test]
    fn csv_has_a_row_for_each_entity_and_one_for_a_document_without() {
        insta::assert_snapshot!(printed(OutputFormat::Csv, "good ham", &["ham", "a,b"]), @r#"
        doc_id,language,predicted_label,negative,neutral,positive,entity,sentiment,score,polarity,match,mentions,entity_negative,entity_neutral,entity_positive
        a,en,positive,0.25,0.25,0.5,ham,positive,0.5,0.25,explicit,1,0.25,0.25,0.5
        a,en,positive,0.25,0.25,0.5,"a,b",positive,0.5,0.25,implicit,0,0.25,0.25,0.5
        "#);
        insta::assert_snapshot!(printed(OutputFormat::Csv, "bad", &[]), @r"
        doc_id,language,predicted_label,negative,neutral,positive,entity,sentiment,score,polarity,match,mentions,entity_negative,entity_neutral,entity_positive
        a,en,negative,0.5,0.25,0.25,,,,,,,,,
        ");
    }

    #[test]
    fn a_table_escapes_control_characters() {
        insta::assert_snapshot!(printed(OutputFormat::Table, "good\u{1b}[2J ham", &["ham", "eggs"]), @r"
        a (en)
          document  positive  50% █████
          sentence  positive  50% █████       good [2J ham
          entity    positive  50% █████       ham (1 mention)
          entity    positive  50% █████       eggs (not mentioned)
        ");
    }

    #[test]
    fn jsonl_is_one_line_whatever_the_text() {
        let line = printed(OutputFormat::Jsonl, "bad\nham", &["ham"]);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&line).expect("the line is JSON");
        assert_eq!(value["entity_sentiments"][0]["mentions"][0]["start"], 4);
    }
}
