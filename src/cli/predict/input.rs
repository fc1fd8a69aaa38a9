//! The three input formats, each as the same stream of records.

use std::fmt;
use std::io::{self, BufRead as _, Cursor, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::cli::lines::{Line, Lines, Reader, json_problem};
use sentor_analysis::{Document, MentionSource};

/// Format of an input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum InputFormat {
    /// A JSON object on each line.
    Jsonl,
    /// Comma-separated values (tabs in a `.tsv` file) under a header row.
    Csv,
    /// A document on each line.
    Lines,
}

/// The columns of a CSV file.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "CSV input")]
pub(in crate::cli) struct Columns {
    /// Column with the text [default: doc or text, or the only column]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,

    /// Column with the identifier [default: `doc_id` or `id`, if there is one]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,

    /// Column with the entities [default: entities, if there is one]
    #[arg(long, value_name = "NAME")]
    entities_column: Option<String>,

    /// Separator of the entities in that column
    #[arg(long, value_name = "TEXT", default_value = ";")]
    entities_separator: String,

    /// Separator of the columns [default: a tab for .tsv files, else a comma]
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            text_column: None,
            id_column: None,
            entities_column: None,
            entities_separator: ";".to_owned(),
            delimiter: None,
        }
    }
}

/// A document as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Record {
    pub(in crate::cli) line: u64,
    pub(in crate::cli) doc_id: String,
    pub(in crate::cli) text: String,
    pub(in crate::cli) entities: Vec<String>,
}

impl Record {
    /// Returns the document for the analyzer.
    pub(super) fn document(&self, mentions: MentionSource) -> Document {
        Document { text: self.text.clone(), entities: self.entities.clone(), mentions }
    }
}

/// A line without a document; its `Display` is `line: reason`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct BadLine {
    pub(in crate::cli) line: u64,
    pub(in crate::cli) reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.line, self.reason)
    }
}

/// An entry of the input.
#[derive(Debug)]
pub(in crate::cli) enum Entry {
    /// A document.
    Record(Record),
    /// A line that is not a document.
    Bad(BadLine),
    /// The input cannot be read any further.
    Broken(anyhow::Error),
}

/// All entries of an input, read as they are asked for.
pub(in crate::cli) type Entries = Box<dyn Iterator<Item = Entry> + Send>;

/// Reads the entries of an input. Its format is given, or follows from the path or from the first line.
pub(in crate::cli) fn entries(
    mut reader: Reader,
    path: &Path,
    format: Option<InputFormat>,
    columns: &Columns,
) -> anyhow::Result<Entries> {
    let format = match format.or_else(|| format_by_name(path)) {
        Some(format) => format,
        None => sniff(&mut reader).context("failed to read the first line")?,
    };
    Ok(match format {
        InputFormat::Jsonl => Box::new(from_lines(reader, |line, text| read_json(line, &text))),
        InputFormat::Lines => Box::new(from_lines(reader, |line, text| Ok(plain(line, text)))),
        InputFormat::Csv => Box::new(read_csv(reader, path, columns)?),
    })
}

fn format_by_name(path: &Path) -> Option<InputFormat> {
    match extension(path)?.as_str() {
        "jsonl" | "ndjson" => Some(InputFormat::Jsonl),
        "csv" | "tsv" => Some(InputFormat::Csv),
        _ => None,
    }
}

/// The extension in lower case, without a `.gz` behind it.
fn extension(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map(|(_, extension)| extension.to_owned())
}

/// Determines the format from the first line that is not blank, without consuming it.
fn sniff(reader: &mut Reader) -> io::Result<InputFormat> {
    /// Enough for any line's first word.
    const HEAD_BYTES: u64 = 4 << 10;

    let mut head = Vec::new();
    let first = loop {
        let from = head.len();
        if reader.by_ref().take(HEAD_BYTES).read_until(b'\n', &mut head)? == 0 {
            break None;
        }
        let line = head[from..].strip_prefix("\u{feff}".as_bytes()).unwrap_or(&head[from..]);
        if let Some(byte) = line.trim_ascii_start().first() {
            break Some(*byte);
        }
    };
    let rest = std::mem::replace(reader, Box::new(io::empty()));
    *reader = Box::new(Cursor::new(head).chain(rest));
    Ok(if first == Some(b'{') { InputFormat::Jsonl } else { InputFormat::Lines })
}

/// One entry for each line that is not blank.
fn from_lines(
    reader: Reader,
    parse: impl Fn(u64, String) -> Result<Record, String> + Send,
) -> impl Iterator<Item = Entry> + Send {
    Lines::new(reader).filter_map(move |line| match line {
        Err(error) => Some(Entry::Broken(error.into())),
        Ok(Line { number, text }) => {
            let parsed = match text {
                Ok(text) if text.trim().is_empty() => return None,
                Ok(text) => parse(number, text),
                Err(bad) => Err(bad.to_string()),
            };
            Some(parsed.map_or_else(|reason| Entry::Bad(BadLine { line: number, reason }), Entry::Record))
        }
    })
}

fn plain(line: u64, text: String) -> Record {
    Record { line, doc_id: line.to_string(), text, entities: Vec::new() }
}

/// A document with the member names of HTTP requests, or with those of data sets.
#[derive(Deserialize)]
struct JsonRecord {
    #[serde(alias = "text")]
    doc: String,
    #[serde(alias = "id")]
    doc_id: Option<JsonId>,
    entities: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "doc_id must be a string or a whole number")]
enum JsonId {
    Text(String),
    Number(i64),
}

fn read_json(line: u64, text: &str) -> Result<Record, String> {
    if !text.trim_start().starts_with('{') {
        return Err("the line is not a JSON object".to_owned());
    }
    let record: JsonRecord = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
    let entities = record.entities.unwrap_or_default();
    if entities.iter().any(|entity| sentor_text::is_blank(entity)) {
        return Err("an entity is empty".to_owned());
    }
    let doc_id = match record.doc_id {
        Some(JsonId::Text(text)) => text,
        Some(JsonId::Number(number)) => number.to_string(),
        None => line.to_string(),
    };
    Ok(Record { line, doc_id, text: record.doc, entities })
}

fn read_csv(
    reader: Reader,
    path: &Path,
    columns: &Columns,
) -> anyhow::Result<impl Iterator<Item = Entry> + Send + use<>> {
    let is_tsv = extension(path).is_some_and(|extension| extension == "tsv");
    let delimiter = columns.delimiter.unwrap_or(if is_tsv { '\t' } else { ',' });
    let delimiter = u8::try_from(delimiter).context("--delimiter must be an ASCII character")?;
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(reader);
    let places = Places::find(reader.headers().context("failed to read the header row")?, columns)?;
    let separator = columns.entities_separator.clone();
    Ok(reader.into_records().filter_map(move |row| match row {
        Ok(row) => {
            let record = places.record(&row, &separator);
            (!record.text.trim().is_empty()).then_some(Entry::Record(record))
        }
        Err(error) => Some(bad_row(error)),
    }))
}

/// A wrong row is skipped; a file that cannot be read further is an error.
fn bad_row(error: csv::Error) -> Entry {
    let line = error.position().map_or(0, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the row is not valid UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} columns where the header has {expected_len}")
        }
        _ => return Entry::Broken(error.into()),
    };
    Entry::Bad(BadLine { line, reason })
}

/// Indices of the used columns.
struct Places {
    text: usize,
    id: Option<usize>,
    entities: Option<usize>,
}

impl Places {
    fn find(header: &csv::StringRecord, columns: &Columns) -> anyhow::Result<Self> {
        let place = |name: &str| {
            header
                .iter()
                .position(|column| column.trim_start_matches('\u{feff}').trim().eq_ignore_ascii_case(name))
        };
        let chosen = |name: &Option<String>, defaults: &[&str]| match name {
            Some(name) => place(name).map(Some).with_context(|| format!("there is no column {name}")),
            None => Ok(defaults.iter().find_map(|name| place(name))),
        };
        let text = match chosen(&columns.text_column, &["doc", "text"])? {
            Some(text) => text,
            None if header.len() == 1 => 0,
            None => bail!("none of the columns is called doc or text; name it with --text-column"),
        };
        let id = chosen(&columns.id_column, &["doc_id", "id"])?;
        Ok(Self { text, id, entities: chosen(&columns.entities_column, &["entities"])? })
    }

    fn record(&self, row: &csv::StringRecord, separator: &str) -> Record {
        let line = row.position().map_or(0, csv::Position::line);
        let field = |place: Option<usize>| place.and_then(|place| row.get(place)).unwrap_or_default();
        let doc_id = field(self.id).trim();
        let entities = field(self.entities);
        let names = if separator.is_empty() { vec![entities] } else { entities.split(separator).collect() };
        Record {
            line,
            doc_id: if doc_id.is_empty() { line.to_string() } else { doc_id.to_owned() },
            text: field(Some(self.text)).to_owned(),
            entities: names
                .iter()
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], name: &str, format: Option<InputFormat>) -> Vec<Entry> {
        let reader = Box::new(Cursor::new(input.to_owned()));
        entries(reader, Path::new(name), format, &Columns::default()).expect("the format is known").collect()
    }

    /// `line doc_id text entities`, or `line: reason`.
    fn shown(entries: &[Entry]) -> Vec<String> {
        let show = |entry: &Entry| match entry {
            Entry::Record(record) => {
                format!("{} {} {} {}", record.line, record.doc_id, record.text, record.entities.join("+"))
            }
            Entry::Bad(bad) => bad.to_string(),
            Entry::Broken(error) => format!("broken: {error}"),
        };
        entries.iter().map(show).collect()
    }

    #[test]
    fn the_first_line_tells_the_format_of_a_stream() {
        assert_eq!(
            shown(&read(b"\n {\"doc\": \"a\"}\nb\n", "-", None))[1],
            "3: the line is not a JSON object"
        );
        assert_eq!(shown(&read(b"a b\n\n{\"doc\": 1}", "-", None)), ["1 1 a b ", "3 3 {\"doc\": 1} "]);
        assert_eq!(shown(&read("\u{feff}{\"doc\": \"a\"}".as_bytes(), "-", None)), ["1 1 a "]);
        assert_eq!(
            shown(&read(b"{\"doc\": \"a\"}", "-", Some(InputFormat::Lines))),
            ["1 1 {\"doc\": \"a\"} "]
        );
        assert!(read(b"", "-", None).is_empty());
    }

    #[test]
    fn json_lines_may_name_their_fields_in_two_ways() {
        let input = br#"{"doc": "a", "doc_id": "x", "entities": ["b", "c"], "more": 1}
{"text": "a", "id": 7, "entities": null}
{"doc": "a", "entities": [" "]}
{"doc": "a", "doc_id": 1.5}
{"doc": "a"
"#;
        assert_eq!(
            shown(&read(input, "x.jsonl.gz", None)),
            [
                "1 x a b+c",
                "2 7 a ",
                "3: an entity is empty",
                "4: doc_id must be a string or a whole number (column 27)",
                "5: EOF while parsing an object (column 11)",
            ]
        );
    }

    #[test]
    fn csv_columns_are_found_by_name() {
        let input = b"id,Text,entities\nx,\"a, b\nc\",p; q ;\n,d,\n5,,\ny,e\nz,f,p\n";
        assert_eq!(
            shown(&read(input, "x.csv", None)),
            ["2 x a, b\nc p+q", "4 4 d ", "6: the row has 2 columns where the header has 3", "7 z f p"]
        );
        assert_eq!(shown(&read(b"review\na\tb\n", "x.csv", None)), ["2 2 a\tb "]);
        assert_eq!(shown(&read(b"doc\tdoc_id\na\tb\n", "x.tsv", None)), ["2 b a "]);
    }

    #[test]
    fn a_csv_without_a_text_column_is_an_error_that_names_the_flag() {
        let columns = Columns::default();
        let reader = Box::new(Cursor::new(b"a,b\n1,2\n"));
        let Err(error) = entries(reader, Path::new("x.csv"), None, &columns) else {
            panic!("neither column can be the text")
        };
        assert!(error.to_string().contains("--text-column"), "{error}");
    }
}
