//! What the command line says of the input, and the entries that come of it.

use std::path::Path;

use anyhow::Context as _;
use sentor_files::{
    BadRow, DocumentOptions, Documents, Entry as FileEntry, Format, NoticeKind, Progress, ReadOptions, Row,
    Source, Table,
};
use serde_json::Value;

use crate::cli::lines::STDIN;
use sentor_analysis::{Document, MentionSource};

/// How documents are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum InputFormat {
    /// A JSON object on each line.
    Jsonl,
    /// A JSON list of objects.
    Json,
    /// Comma-separated values, or with another delimiter, under a header row.
    Csv,
    /// A document on each line.
    Lines,
    /// A workbook of Excel.
    Xlsx,
    /// Apache Parquet.
    Parquet,
}

impl InputFormat {
    fn format(self) -> Format {
        match self {
            Self::Jsonl => Format::Jsonl,
            Self::Json => Format::Json,
            Self::Csv => Format::Csv,
            Self::Lines => Format::Lines,
            Self::Xlsx => Format::Xlsx,
            Self::Parquet => Format::Parquet,
        }
    }
}

/// Where a table keeps what, and how it is written.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Tables (CSV, Excel, Parquet, JSON)")]
pub(in crate::cli) struct TableArgs {
    /// Column with the text [default: by usual names, such as doc, text, review or opmerking]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,

    /// Column with the identifier [default: by usual names, such as `doc_id`, id or nummer]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,

    /// Column with the entities [default: by usual names, such as entities, merk or product]
    #[arg(long, value_name = "NAME")]
    entities_column: Option<String>,

    /// What stands between two entities in that column [default: `;` or `|`]
    #[arg(long, value_name = "TEXT")]
    entities_separator: Option<String>,

    /// What stands between two columns of CSV: one character, or `tab` [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    delimiter: Option<u8>,

    /// Encoding of the text, such as utf-8, utf-16 or windows-1252 [default: found out]
    #[arg(long, value_name = "NAME", value_parser = parse_encoding)]
    encoding: Option<Encoding>,

    /// The first row is not a header: columns are called `column 1`, `column 2` …
    #[arg(long)]
    no_header: bool,

    /// Sheet of a workbook [default: the first that is not hidden]
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
}

/// An encoding of the command line.
#[derive(Clone, Copy, Debug)]
struct Encoding(&'static sentor_files::Encoding);

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => return Ok(b'\t'),
        "comma" => return Ok(b','),
        "semicolon" => return Ok(b';'),
        _ => {}
    }
    match text.as_bytes() {
        [byte] if byte.is_ascii() && *byte != b'"' && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => {
            Err("it must be one ASCII character other than a letter, a digit or a quote; or `tab`".to_owned())
        }
    }
}

fn parse_encoding(name: &str) -> Result<Encoding, String> {
    let encoding = sentor_files::parse_encoding(name).map(Encoding);
    encoding.ok_or_else(|| {
        "there is no such encoding; usual ones are utf-8, utf-16, windows-1252 and macintosh".to_owned()
    })
}

impl TableArgs {
    fn read_options(&self, format: Option<InputFormat>) -> ReadOptions {
        ReadOptions {
            format: format.map(InputFormat::format),
            delimiter: self.delimiter,
            encoding: self.encoding.map(|encoding| encoding.0),
            no_header: self.no_header,
            sheet: self.sheet.clone(),
            ..ReadOptions::default()
        }
    }

    fn document_options(&self) -> DocumentOptions {
        DocumentOptions {
            text_column: self.text_column.clone(),
            id_column: self.id_column.clone(),
            entities_column: self.entities_column.clone(),
            entities_separator: self.entities_separator.clone(),
        }
    }
}

/// A file that is open, and how far it is read.
pub(in crate::cli) struct Input {
    pub(in crate::cli) documents: Documents,
    pub(super) progress: Progress,
    /// Bytes of the file.
    pub(super) length: Option<u64>,
    /// Rows, where the file says it.
    pub(super) rows: Option<u64>,
}

/// Opens a file or standard input.
pub(in crate::cli) fn open(
    path: &Path,
    format: Option<InputFormat>,
    table: &TableArgs,
) -> anyhow::Result<Input> {
    let source = if path.as_os_str() == STDIN { Source::stdin()? } else { Source::open(path)? };
    open_source(source, format, table)
}

/// Opens any source.
pub(super) fn open_source(
    source: Source,
    format: Option<InputFormat>,
    args: &TableArgs,
) -> anyhow::Result<Input> {
    let (progress, length) = (source.progress(), source.length());
    let table = Table::open(source, &args.read_options(format))?;
    let rows = table.length();
    let documents = Documents::new(table, &args.document_options())?;
    Ok(Input { documents, progress, length, rows })
}

/// A document to score.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Record {
    pub(in crate::cli) line: u64,
    pub(in crate::cli) doc_id: String,
    pub(in crate::cli) text: String,
    pub(in crate::cli) entities: Vec<String>,
    /// What the reader found of the text.
    pub(super) warnings: Vec<String>,
    /// All cells of its row; `None` for the text of the command line.
    pub(super) row: Option<Row>,
}

impl Record {
    /// What the analyzer gets of it.
    pub(super) fn document(&self, mentions: MentionSource) -> Document {
        Document { text: self.text.clone(), entities: self.entities.clone(), mentions, ..Document::default() }
    }
}

/// What the next piece of input is.
#[derive(Debug)]
pub(in crate::cli) enum Entry {
    /// A document.
    Record(Record),
    /// A row that is none.
    Bad(BadRow),
    /// Something to say of the file: a warning, or what was found out.
    Notice(String),
    /// The input cannot be read any further.
    Broken(anyhow::Error),
}

/// All entries of an input behind the first `done`, read as they are asked for, with `more_entities` in each document that does not
/// name them.
pub(in crate::cli) fn entries(
    mut documents: Documents,
    file: String,
    more_entities: Vec<String>,
    done: u64,
) -> impl Iterator<Item = Entry> + Send {
    let mut to_skip = done;
    let mut next: Option<Entry> = None;
    let mut blank_rows = 0;
    let mut is_over = false;
    std::iter::from_fn(move || {
        if let Some(entry) = next.take() {
            return Some(entry);
        }
        if is_over {
            return None;
        }
        while to_skip > 0 && matches!(documents.next(), Some(Ok(_))) {
            to_skip -= 1;
            // They were reported by the run that is continued.
            documents.take_notices();
        }
        let entry = match documents.next() {
            Some(Ok(FileEntry::Document(document))) => Entry::Record(record(document, &more_entities)),
            Some(Ok(FileEntry::Bad(bad))) => Entry::Bad(bad),
            Some(Err(error)) => {
                is_over = true;
                Entry::Broken(error.into())
            }
            None => {
                is_over = true;
                blank_rows += documents.table().blank_rows();
                let rows = if blank_rows == 1 { "row has" } else { "rows have" };
                if blank_rows == 0 {
                    return None;
                }
                return Some(Entry::Notice(format!(
                    "{file}: {blank_rows} {rows} no content and are passed over"
                )));
            }
        };
        // What was found of the row stands before it.
        let notices: Vec<String> =
            documents.take_notices().iter().map(|notice| notice_line(&file, notice)).collect();
        if notices.is_empty() {
            return Some(entry);
        }
        next = Some(entry);
        Some(Entry::Notice(notices.join("\n")))
    })
}

/// A notice as it is printed.
pub(in crate::cli) fn notice_line(file: &str, notice: &sentor_files::Notice) -> String {
    let kind = if notice.kind == NoticeKind::Warning { "warning: " } else { "" };
    match notice.line {
        Some(line) => format!("{file}:{line}: {kind}{}", notice.text),
        None => format!("{file}: {kind}{}", notice.text),
    }
}

fn record(document: sentor_files::Document, more_entities: &[String]) -> Record {
    let mut entities: Vec<String> =
        document.entities.iter().map(|entity| entity_name(entity).to_owned()).collect();
    let new: Vec<_> = more_entities.iter().filter(|name| !entities.contains(name)).cloned().collect();
    entities.extend(new);
    Record {
        line: document.line,
        doc_id: document.doc_id,
        text: document.text,
        entities,
        warnings: document.warnings,
        row: Some(document.row),
    }
}

/// The name of an entity that a row names, a string or an object.
fn entity_name(entity: &Value) -> &str {
    entity.as_str().or_else(|| entity.get("name")?.as_str()).unwrap_or_default()
}

/// All entities that a file names, in the order in which they first occur, with a pass over it.
pub(super) fn entities_of(
    path: &Path,
    format: Option<InputFormat>,
    table: &TableArgs,
    most: usize,
) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for entry in open(path, format, table)?.documents {
        let Ok(FileEntry::Document(document)) = entry else { continue };
        for entity in &document.entities {
            let name = entity_name(entity);
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        anyhow::ensure!(
            names.len() <= most,
            "{} names more than {most} entities, which are too many columns; use --layout long",
            path.display()
        );
    }
    Ok(names)
}

/// The identity of a file, so that a run does not go on with another.
pub(super) fn identity(path: &Path) -> anyhow::Result<(String, u64)> {
    let context = || format!("failed to look at {}", path.display());
    let full = path.canonicalize().with_context(context)?;
    let length = full.metadata().with_context(context)?.len();
    Ok((full.display().to_string(), length))
}
