//! Results in each output format.

use std::io::{self, BufWriter, Write};

use sentor_analysis::results::{document_result, warning_message};
use sentor_analysis::{DocumentAnalysis, EntityAnalysis};
use sentor_files::{BadRow, Cell, Column, ColumnKind, Row, WriteFormat, Writer};
use sentor_text::sentiment::Distribution;
use sentor_text::span::OffsetUnit;
use serde::Serialize;
use serde_json::Value;

use super::input::Record;
use super::terminal;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputFormat {
    /// For each document a line with the JSON object that the server would answer.
    Jsonl,
    /// A row for each entity of each document, behind the columns of the input.
    Csv,
    /// The same as a workbook of Excel.
    Xlsx,
    /// The same as Apache Parquet.
    Parquet,
    /// For people to read.
    Table,
}

impl OutputFormat {
    /// The format that a file's name promises.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        let extension = name.rsplit_once('.')?.1.to_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "xlsx" => Some(Self::Xlsx),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// Whether the file can be continued after an interruption.
    pub(super) fn is_appendable(self) -> bool {
        matches!(self, Self::Jsonl | Self::Csv)
    }

    fn of_table(self) -> Option<WriteFormat> {
        match self {
            Self::Csv => Some(WriteFormat::Csv),
            Self::Xlsx => Some(WriteFormat::Xlsx),
            Self::Parquet => Some(WriteFormat::Parquet),
            Self::Jsonl | Self::Table => None,
        }
    }
}

/// Where the entities of a document stand in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LayoutName {
    /// A row for each entity of each document.
    #[default]
    Long,
    /// A row for each document, with columns for each entity.
    Wide,
}

/// What a table of results looks like.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Columns of the input.
    pub(super) caller: Vec<String>,
    /// The column of the input that holds the identifiers; the results have one of their own otherwise.
    pub(super) id_column: Option<String>,
    /// Columns of the input that the other formats give in another form.
    pub(super) used: Vec<String>,
    /// The entities that have columns; `None` for a row for each.
    pub(super) wide: Option<Vec<String>>,
}

impl Layout {
    /// For the one text of the command line.
    pub(super) fn of_text() -> Self {
        Self { caller: vec!["doc".to_owned()], used: vec!["doc".to_owned()], ..Self::default() }
    }

    fn columns(&self) -> Vec<Column> {
        let text = |name: &str| Column::new(name, ColumnKind::Text);
        let number = |name: &str| Column::new(name, ColumnKind::Number);
        let count = |name: &str| Column::new(name, ColumnKind::Count);
        let mut columns = Vec::new();
        if self.id_column.is_none() {
            columns.push(text("doc_id"));
        }
        columns.extend([
            text("language"),
            text("predicted_label"),
            number("negative"),
            number("neutral"),
            number("positive"),
        ]);
        match &self.wide {
            None => columns.extend([
                text("entity"),
                text("sentiment"),
                number("score"),
                number("polarity"),
                text("match"),
                count("mentions"),
                number("entity_negative"),
                number("entity_neutral"),
                number("entity_positive"),
            ]),
            Some(entities) => {
                for entity in entities {
                    columns.push(text(&format!("{entity}_sentiment")));
                    columns.push(number(&format!("{entity}_polarity")));
                    columns.push(count(&format!("{entity}_mentions")));
                }
            }
        }
        columns.extend([text("warnings"), text("error")]);
        columns
    }

    /// The rows of a document.
    fn rows(&self, record: &Record, analysis: &DocumentAnalysis) -> Vec<Vec<Cell>> {
        let mut document = self.id_cell(&record.doc_id);
        document.push(Cell::Text(analysis.language.code().to_owned()));
        document.push(Cell::Text(analysis.sentiment.polarity().to_string()));
        document.extend(probabilities(analysis.sentiment));
        let warnings = analysis.warnings.iter().map(warning_message).chain(record.warnings.iter().cloned());
        let mut warnings: Vec<String> = warnings.collect();
        if let Some(wide) = &self.wide {
            let missing = analysis.entities.iter().filter(|entity| !wide.contains(&entity.entity));
            warnings.extend(
                missing.map(|entity| format!("{} has no column; name it with --entity", entity.entity)),
            );
        }
        let end = [text_or_empty(warnings.join("; ")), Cell::Empty];
        let complete = |cells: Vec<Cell>| document.iter().cloned().chain(cells).chain(end.clone()).collect();
        let Some(entities) = &self.wide else {
            if analysis.entities.is_empty() {
                return vec![complete(vec![Cell::Empty; 9])];
            }
            return analysis.entities.iter().map(|entity| complete(long_cells(entity))).collect();
        };
        let cells = entities.iter().flat_map(|name| {
            match analysis.entities.iter().find(|entity| entity.entity == *name) {
                None => vec![Cell::Empty; 3],
                Some(entity) => vec![
                    Cell::Text(entity.sentiment.polarity().to_string()),
                    Cell::Number(entity.sentiment.balance()),
                    Cell::Count(entity.mentions.len() as u64),
                ],
            }
        });
        vec![complete(cells.collect())]
    }

    /// The row of a document that was not scored.
    fn failed(&self, row: &Row, reason: &str) -> Vec<Cell> {
        let own = self.id_cell(&row.line.to_string());
        let between = self.columns().len() - own.len() - 1;
        let empty = vec![Cell::Empty; between];
        own.into_iter().chain(empty).chain([Cell::Text(reason.to_owned())]).collect()
    }

    fn id_cell(&self, doc_id: &str) -> Vec<Cell> {
        if self.id_column.is_none() { vec![Cell::Text(doc_id.to_owned())] } else { Vec::new() }
    }
}

fn long_cells(entity: &EntityAnalysis) -> Vec<Cell> {
    let found_as = if entity.is_explicit() { "explicit" } else { "implicit" };
    let mut cells = vec![
        Cell::Text(entity.entity.clone()),
        Cell::Text(entity.sentiment.polarity().to_string()),
        Cell::Number(entity.sentiment.score()),
        Cell::Number(entity.sentiment.balance()),
        Cell::Text(found_as.to_owned()),
        Cell::Count(entity.mentions.len() as u64),
    ];
    cells.extend(probabilities(entity.sentiment));
    cells
}

fn text_or_empty(text: String) -> Cell {
    if text.is_empty() { Cell::Empty } else { Cell::Text(text) }
}

fn probabilities(sentiment: Distribution) -> [Cell; 3] {
    sentiment.probabilities().map(Cell::Number)
}

/// The destination of results, and their format.
pub(super) enum Output<W: Write + Send> {
    Jsonl { writer: BufWriter<W>, layout: Layout },
    // Boxed: much larger than the others.
    Rows { writer: Box<Writer<W>>, layout: Layout },
    Table { writer: BufWriter<W>, coloured: bool },
}

impl<W: Write + Send> Output<W> {
    /// Starts an output. With `is_begun`, the sink has its header already.
    pub(super) fn new(format: OutputFormat, sink: W, layout: Layout, is_begun: bool) -> io::Result<Self> {
        let Some(of_table) = format.of_table() else {
            let writer = BufWriter::new(sink);
            return Ok(match format {
                OutputFormat::Table => Self::Table { writer, coloured: false },
                _ => Self::Jsonl { writer, layout },
            });
        };
        let columns = layout.columns();
        let writer = if is_begun {
            Writer::resume(of_table, sink, &layout.caller, &columns)?
        } else {
            Writer::new(of_table, sink, &layout.caller, &columns)?
        };
        Ok(Self::Rows { writer: Box::new(writer), layout })
    }

    /// Uses colours, where a terminal wants them.
    pub(super) fn coloured(mut self, is: bool) -> Self {
        if let Self::Table { coloured, .. } = &mut self {
            *coloured = is;
        }
        self
    }

    /// Writes one document's results. They may be buffered until [`Self::flush`] or [`Self::finish`].
    pub(super) fn write(&mut self, record: &Record, analysis: &DocumentAnalysis) -> io::Result<()> {
        match self {
            Self::Jsonl { writer, layout } => {
                let result =
                    document_result(Some(&record.doc_id), &record.text, analysis, OffsetUnit::CodePoint);
                let columns =
                    record.row.as_ref().map(|row| other_cells(row, layout)).filter(|cells| !cells.is_empty());
                serde_json::to_writer(
                    &mut *writer,
                    &Line { result, columns, input_warnings: &record.warnings },
                )?;
                writer.write_all(b"\n")
            }
            Self::Rows { writer, layout } => {
                let line = || Row::of_text(record.line, &record.text);
                let row = record
                    .row
                    .as_ref()
                    .map_or_else(|| std::borrow::Cow::Owned(line()), std::borrow::Cow::Borrowed);
                layout.rows(record, analysis).iter().try_for_each(|cells| writer.write(&row, cells))
            }
            Self::Table { writer, coloured } => terminal::write_document(writer, *coloured, record, analysis),
        }
    }

    /// Writes a row that could not be scored, where the output has the rows of the input.
    pub(super) fn write_bad(&mut self, bad: &BadRow) -> io::Result<()> {
        match (self, &bad.row) {
            (Self::Rows { writer, layout }, Some(row)) => writer.write(row, &layout.failed(row, &bad.reason)),
            _ => Ok(()),
        }
    }

    /// Flushes the results written so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl { writer, .. } | Self::Table { writer, .. } => writer.flush(),
            Self::Rows { writer, .. } => writer.flush(),
        }
    }

    /// Ends the output. Returns what should be known of it.
    pub(super) fn finish(self) -> io::Result<Vec<String>> {
        match self {
            Self::Jsonl { mut writer, .. } | Self::Table { mut writer, .. } => {
                writer.flush().map(|()| Vec::new())
            }
            Self::Rows { writer, .. } => writer.finish(),
        }
    }
}

/// A line of JSON: what the server answers, and the columns of the input that it has no place for.
#[derive(Serialize)]
struct Line<'a, R: Serialize> {
    #[serde(flatten)]
    result: R,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    input_warnings: &'a [String],
}

fn other_cells(row: &Row, layout: &Layout) -> serde_json::Map<String, Value> {
    let cells = row.columns.iter().zip(&row.cells);
    let others = cells.filter(|(name, cell)| !layout.used.contains(name) && !cell.is_null());
    others.map(|(name, cell)| (name.clone(), cell.clone())).collect()
}
