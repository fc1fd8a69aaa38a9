//! Opens a file of any format as rows.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use encoding_rs::Encoding;
use serde_json::Value;

use crate::columns::{Role, guess_column};
use crate::csv::{Record, Records, Sniffed, sniff};
use crate::error::{BadRow, OpenError, ReadError};
use crate::format::Format;
use crate::json::{Members, Values, is_document, parse_object};
use crate::lines::Lines;
use crate::notice::{Notice, Notices};
use crate::row::{Item, Row};
use crate::source::{Source, peek, peek_line};
use crate::text::TextReader;
use crate::{parquet, xlsx};

/// Bytes that format, encoding and delimiter are told from.
const SAMPLE_BYTES: usize = 64 << 10;

/// Rows of JSON that the columns are told from, in a file.
const SAMPLE_ROWS: usize = 1000;

/// Most different names of members in a JSON file.
const MAX_MEMBERS: usize = 4096;

/// How to read a file; what is left out is found out.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The format.
    pub format: Option<Format>,
    /// What stands between two cells of CSV, an ASCII character.
    pub delimiter: Option<u8>,
    /// The encoding of a text format; see [`parse_encoding`](crate::parse_encoding).
    pub encoding: Option<&'static Encoding>,
    /// Whether the first row of CSV and Excel has cells, and the columns are called `column 1` and so on.
    pub no_header: bool,
    /// The sheet of a workbook, by name.
    pub sheet: Option<String>,
    /// What a file may take.
    pub limits: Limits,
}

/// What a file may take of disk and memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest copy in the folder for temporary files: of a stream, or of a compressed file, in a format that must be read at any
    /// place.
    pub max_copy_bytes: u64,
    /// Most text in a workbook, all of which is held in memory.
    pub max_workbook_text_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_copy_bytes: 4 << 30, max_workbook_text_bytes: 512 << 20 }
    }
}

/// The rows of a file, read as they are asked for.
pub struct Table {
    name: String,
    format: Format,
    columns: Arc<[String]>,
    rows: Box<dyn Rows>,
    /// Read already.
    ahead: VecDeque<Item>,
    blank_rows: u64,
    notices: Notices,
    length: Option<u64>,
}

/// A format's reader.
pub(crate) trait Rows: Send {
    /// The next rows or bad rows; empty at the end.
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError>;
}

impl std::fmt::Debug for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Table")
            .field("name", &self.name)
            .field("format", &self.format)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl Table {
    /// Finds out the format and reads the header.
    pub fn open(mut source: Source, options: &ReadOptions) -> Result<Self, OpenError> {
        let name = source.name.clone();
        let notices = Notices::default();
        let failed = |source: io::Error| OpenError::Io { name: name.clone(), source };
        let sample = source.sample(SAMPLE_BYTES).map_err(failed)?;
        let opening = Opening { name: &name, options, notices: notices.clone() };
        match Kind::of(&sample) {
            Kind::Parquet => {
                let file = source.into_file(options.limits.max_copy_bytes).map_err(failed)?;
                let (columns, rows, length) = parquet::open(file, &name)?;
                return Ok(Self {
                    length: Some(length),
                    ..opening.table(Format::Parquet, columns, Box::new(rows))
                });
            }
            Kind::Zip => {
                let file = source.into_file(options.limits.max_copy_bytes).map_err(failed)?;
                let (columns, rows) = xlsx::open(file, &name, options, &notices)?;
                return Ok(opening.table(Format::Xlsx, columns, Box::new(rows)));
            }
            Kind::Unsupported(what, remedy) => return Err(OpenError::Unsupported { name, what, remedy }),
            Kind::Text => {}
        }
        if let Some(format @ (Format::Xlsx | Format::Parquet)) = options.format {
            let reason = "it does not begin as such a file does".to_owned();
            return Err(OpenError::Malformed { name, format: format.name(), reason });
        }
        let text = TextReader::new(source.reader, &sample, options.encoding, notices.clone());
        let text: Box<dyn BufRead + Send> = Box::new(BufReader::with_capacity(SAMPLE_BYTES, text));
        let peeked = if source.is_stream { peek_line(text, SAMPLE_BYTES) } else { peek(text, SAMPLE_BYTES) };
        let (sample, text) = peeked.map_err(failed)?;
        let format = options.format.or_else(|| Format::by_extension(source.extension.as_deref()?));
        let format = format.unwrap_or_else(|| {
            let format = format_of(&sample);
            if !sample.is_empty() {
                notices.found(format!("it is read as {}", format.name()));
            }
            format
        });
        if sample.is_empty() && format == Format::Csv {
            return Err(OpenError::Empty(name));
        }
        match format {
            Format::Csv => opening.csv(text, &sample, source.extension.as_deref()),
            Format::Lines => {
                Ok(opening.table(Format::Lines, column("doc"), Box::new(PlainLines(Lines::new(text)))))
            }
            Format::Json => {
                Ok(opening.json(Format::Json, JsonSource::Values(Values::new(text)), source.is_stream))
            }
            _ => Ok(opening.json(Format::Jsonl, JsonSource::Lines(Lines::new(text)), source.is_stream)),
        }
    }

    /// The file's name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The format that was found out.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The columns. Those of a JSON file are the members of its first rows; later rows can have more.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Rows without any content so far. They are passed over, as blank lines are.
    pub fn blank_rows(&self) -> u64 {
        self.blank_rows
    }

    /// Number of rows, where the file says it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// What was found out or guessed since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.notices.take()
    }

    pub(crate) fn notices(&self) -> Notices {
        self.notices.clone()
    }
}

impl Iterator for Table {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.ahead.pop_front() {
                // A table of one column has blank lines, but no rows without content: they are texts that are empty.
                Some(Item::Row(row)) if row.columns.len() > 1 && row.is_empty() => self.blank_rows += 1,
                Some(item) => return Some(Ok(item)),
                None => match self.rows.read() {
                    Ok(items) if items.is_empty() => return None,
                    Ok(items) => self.ahead = items,
                    Err(error) => {
                        self.rows = Box::new(Over);
                        return Some(Err(error));
                    }
                },
            }
        }
    }
}

/// What stays at the end of a table that broke off.
struct Over;

impl Rows for Over {
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError> {
        Ok(VecDeque::new())
    }
}

/// What a file seems to be by its first bytes.
enum Kind {
    Parquet,
    Zip,
    Text,
    Unsupported(&'static str, &'static str),
}

impl Kind {
    fn of(sample: &[u8]) -> Self {
        const SAVE: &str = "save it as .xlsx or as CSV";
        let kinds: [(&[u8], Self); 10] = [
            (b"PAR1", Self::Parquet),
            (b"PK\x03\x04", Self::Zip),
            (
                b"\xd0\xcf\x11\xe0",
                Self::Unsupported("a workbook of Excel 97 to 2003 or a file with a password", SAVE),
            ),
            (b"%PDF", Self::Unsupported("a PDF file", "export the texts as CSV")),
            (b"{\\rtf", Self::Unsupported("a document in rich text", "save it as plain text or CSV")),
            (b"7z\xbc\xaf", Self::Unsupported("a 7-Zip archive", "unpack it first")),
            (b"Rar!", Self::Unsupported("a RAR archive", "unpack it first")),
            (b"BZh", Self::Unsupported("compressed with bzip2", "unpack it, or use gzip or zstd")),
            (b"\xfd7zXZ", Self::Unsupported("compressed with xz", "unpack it, or use gzip or zstd")),
            (b"SQLite format 3", Self::Unsupported("an SQLite database", "export a table of it as CSV")),
        ];
        kinds.into_iter().find(|(magic, _)| sample.starts_with(magic)).map_or(Self::Text, |(_, kind)| kind)
    }
}

/// The format of a text whose name does not say it.
fn format_of(sample: &[u8]) -> Format {
    let text = String::from_utf8_lossy(sample);
    if is_document(&text) {
        return Format::Json;
    }
    if text.trim_start().starts_with('{') {
        return Format::Jsonl;
    }
    match sniff(sample) {
        Sniffed::Named(_) => Format::Csv,
        // Prose has commas too: only a header that names a text makes a table.
        Sniffed::Found { delimiter, .. } => {
            let mut records = Records::new(sample, Some(delimiter), Notices::default());
            match records.read() {
                Ok(Some(Ok(header))) if guess_column(Role::Text, &header.cells).is_some() => Format::Csv,
                _ => Format::Lines,
            }
        }
        Sniffed::Single => Format::Lines,
    }
}

/// A file that is being opened.
struct Opening<'a> {
    name: &'a str,
    options: &'a ReadOptions,
    notices: Notices,
}

impl Opening<'_> {
    fn table(&self, format: Format, columns: Arc<[String]>, rows: Box<dyn Rows>) -> Table {
        Table {
            name: self.name.to_owned(),
            format,
            columns,
            rows,
            ahead: VecDeque::new(),
            blank_rows: 0,
            notices: self.notices.clone(),
            length: None,
        }
    }

    fn csv(
        &self,
        text: Box<dyn BufRead + Send>,
        sample: &[u8],
        extension: Option<&str>,
    ) -> Result<Table, OpenError> {
        let sniffed = sniff(sample);
        let delimiter = match (self.options.delimiter, sniffed) {
            (Some(delimiter), _) | (None, Sniffed::Named(delimiter) | Sniffed::Found { delimiter, .. }) => {
                Some(delimiter)
            }
            (None, Sniffed::Single) => None,
        };
        let usual = if matches!(extension, Some("tsv" | "tab")) { b'\t' } else { b',' };
        if let (None, Some(delimiter)) = (self.options.delimiter, delimiter)
            && delimiter != usual
        {
            self.notices.found(format!(
                "the columns are divided by {}; --delimiter names another sign",
                sign(delimiter)
            ));
        }
        if let (None, Sniffed::Found { is_even: false, columns: 2.., .. }) = (self.options.delimiter, sniffed)
            && sample.split(|&byte| byte == b'\n').nth(2).is_some()
        {
            let text = "not all rows have as many cells as the header; --delimiter names another sign where this one is wrong";
            self.notices.warn(None, text);
        }
        let mut records = Records::new(text, delimiter, self.notices.clone());
        let malformed = |reason: String| OpenError::Malformed {
            name: self.name.to_owned(),
            format: Format::Csv.name(),
            reason,
        };
        if let Sniffed::Named(_) = sniffed {
            records.skip_line().map_err(|error| malformed(error.to_string()))?;
        }
        let first = match records.read() {
            Ok(Some(Ok(first))) => first,
            Ok(Some(Err(bad))) => return Err(malformed(format!("the header row is unusable: line {bad}"))),
            Ok(None) => return Err(OpenError::Empty(self.name.to_owned())),
            Err(error) => return Err(malformed(error.to_string())),
        };
        let (names, first) =
            if self.options.no_header { (vec![], Some(first.clone())) } else { (first.cells, None) };
        let width = first.as_ref().map_or(names.len(), |first| first.cells.len());
        let columns = column_names(&names, width, &self.notices);
        let rows = CsvRows { records, columns: Arc::clone(&columns) };
        let ahead = first.map(|first| rows.item(first));
        let mut table = self.table(Format::Csv, columns, Box::new(rows));
        table.ahead.extend(ahead);
        Ok(table)
    }

    fn json(&self, format: Format, source: JsonSource, is_stream: bool) -> Table {
        let mut rows = JsonRows { source, columns: Arc::from([]), failed: None };
        let mut ahead = VecDeque::new();
        let wanted = if is_stream { 1 } else { SAMPLE_ROWS };
        while ahead.len() < wanted {
            match rows.read() {
                Ok(items) if items.is_empty() => break,
                Ok(items) => ahead.extend(items),
                // It comes in its place, after the rows before it.
                Err(error) => {
                    rows.failed = Some(error);
                    break;
                }
            }
        }
        let columns = Arc::clone(&rows.columns);
        Table { ahead, ..self.table(format, columns, Box::new(rows)) }
    }
}

/// A delimiter in words.
fn sign(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tabs".to_owned(),
        b',' => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'|' => "bars (|)".to_owned(),
        other => format!("{:?}", char::from(other)),
    }
}

/// One column of this name.
fn column(name: &str) -> Arc<[String]> {
    Arc::from([name.to_owned()])
}

/// Names for all columns, each of them different.
pub(crate) fn column_names(header: &[String], width: usize, notices: &Notices) -> Arc<[String]> {
    let mut names: Vec<String> = Vec::with_capacity(width);
    for index in 0..width {
        let given = header.get(index).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let base = given.unwrap_or_else(|| format!("column {}", index + 1));
        let mut name = base.clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{base} ({number})");
            number += 1;
        }
        if name != base {
            notices.warn(
                None,
                format!("two columns are called \"{base}\"; the later one is called \"{name}\" here"),
            );
        }
        names.push(name);
    }
    names.into()
}

struct CsvRows<R> {
    records: Records<R>,
    columns: Arc<[String]>,
}

impl<R: BufRead + Send> CsvRows<R> {
    fn item(&self, record: Record) -> Item {
        let Record { line, mut cells } = record;
        let (expected, found) = (self.columns.len(), cells.len());
        let is_trailing = |cells: &[String]| cells[expected..].iter().all(|cell| cell.trim().is_empty());
        if found > expected && is_trailing(&cells) {
            cells.truncate(expected);
        }
        if cells.len() == expected {
            let cells = cells.into_iter().map(Value::String).collect();
            return Item::Row(Row::new(line, Arc::clone(&self.columns), cells));
        }
        let noun = if found == 1 { "column" } else { "columns" };
        let remedy =
            if found > expected { "; a cell that holds the delimiter needs quotes around it" } else { "" };
        Item::Bad(BadRow::new(
            line,
            format!("the row has {found} {noun} where the header has {expected}{remedy}"),
        ))
    }
}

impl<R: BufRead + Send> Rows for CsvRows<R> {
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError> {
        let record = self.records.read()?;
        Ok(record
            .map(|record| record.map_or_else(Item::Bad, |record| self.item(record)))
            .into_iter()
            .collect())
    }
}

struct PlainLines<R>(Lines<R>);

impl<R: BufRead + Send> Rows for PlainLines<R> {
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError> {
        let columns = column("doc");
        while let Some(line) = self.0.read()? {
            let number = self.0.number;
            match line.and_then(super::lines::Line::into_text) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => {
                    return Ok([Item::Row(Row::new(number, columns, vec![Value::String(text)]))].into());
                }
                Err(bad) => return Ok([Item::Bad(bad)].into()),
            }
        }
        Ok(VecDeque::new())
    }
}

enum JsonSource {
    Lines(Lines<Box<dyn BufRead + Send>>),
    Values(Values<Box<dyn BufRead + Send>>),
}

struct JsonRows {
    source: JsonSource,
    columns: Arc<[String]>,
    failed: Option<ReadError>,
}

impl Rows for JsonRows {
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        loop {
            let Some(piece) = self.next_piece()? else { return Ok(VecDeque::new()) };
            let parsed = piece.and_then(|(line, text)| Ok((line, parse_object(line, &text)?)));
            let items: VecDeque<Item> = match parsed {
                Err(bad) => [Item::Bad(bad)].into(),
                Ok((line, members)) => match within(members) {
                    Ok(objects) => objects.into_iter().map(|object| self.item(line, object)).collect(),
                    Err(members) => [self.item(line, Ok(members))].into(),
                },
            };
            // A list without objects has no rows.
            if !items.is_empty() {
                return Ok(items);
            }
        }
    }
}

impl JsonRows {
    /// The text of the next object and its line.
    fn next_piece(&mut self) -> Result<Option<Piece>, ReadError> {
        match &mut self.source {
            JsonSource::Lines(lines) => loop {
                let Some(line) = lines.read()? else { return Ok(None) };
                let number = lines.number;
                match line.and_then(super::lines::Line::into_text) {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => return Ok(Some(Ok((number, text)))),
                    Err(bad) => return Ok(Some(Err(bad))),
                }
            },
            JsonSource::Values(values) => Ok(values.read()?.map(|piece| {
                let text = String::from_utf8(piece.text).map_err(|error| {
                    crate::lines::bad_bytes(piece.line, "the object", error.utf8_error().valid_up_to())
                })?;
                Ok((piece.line, text))
            })),
        }
    }

    fn item(&mut self, line: u64, members: Result<Members, String>) -> Item {
        let members = match members {
            Ok(members) => members,
            Err(reason) => return Item::Bad(BadRow::new(line, reason)),
        };
        let is_new = |name: &String| !self.columns.contains(name);
        let new: Vec<String> =
            members.iter().map(|(name, _)| name).filter(|name| is_new(name)).cloned().collect();
        if self.columns.len() + new.len() > MAX_MEMBERS {
            return Item::Bad(BadRow::new(
                line,
                format!("the file has more than {MAX_MEMBERS} names of members"),
            ));
        }
        if !new.is_empty() {
            self.columns = self.columns.iter().cloned().chain(new).collect();
        }
        let mut cells = vec![Value::Null; self.columns.len()];
        for (name, value) in members {
            if let Some(place) = self.columns.iter().position(|column| *column == name) {
                cells[place] = value;
            }
        }
        Item::Row(Row::new(line, Arc::clone(&self.columns), cells))
    }
}

/// The text of an object and the line that it begins in, or why it is none.
type Piece = Result<(u64, String), BadRow>;

/// The objects of a list within an object that holds no text itself, such as the body of a request.
fn within(mut members: Members) -> Result<Vec<Result<Members, String>>, Members> {
    const LISTS: [&str; 8] = ["docs", "documents", "reviews", "items", "results", "data", "rows", "records"];

    let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).collect();
    let holds_text = guess_column(Role::Text, &names).is_some();
    let is_list = |(name, value): &(String, Value)| {
        LISTS.contains(&name.as_str())
            && value.as_array().is_some_and(|list| list.iter().all(Value::is_object))
    };
    let Some(place) = members.iter().position(is_list).filter(|_| !holds_text) else { return Err(members) };
    let Value::Array(list) = members.swap_remove(place).1 else { return Err(members) };
    Ok(list
        .into_iter()
        .map(|value| match value {
            Value::Object(object) => Ok(object.into_iter().collect()),
            _ => Err("the list holds something that is not an object".to_owned()),
        })
        .collect())
}
