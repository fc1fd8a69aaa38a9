//! CSV as it is found: any delimiter, quotes that are not closed, rows of the wrong length.
//!
//! A library would read the valid ones, but none says where a quote was opened that is never closed, or gives the rows after it.

use std::collections::VecDeque;
use std::io::BufRead;

use crate::error::{BadRow, ReadError};
use crate::lines::{Line, Lines, MAX_RECORD_BYTES, NUL, bad_bytes};
use crate::notice::Notices;

/// Delimiters that are found out; the first of equals is taken.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Most cells in a record, as in Excel.
const MAX_CELLS: usize = 16_384;

/// Bytes that may be read again after quotes that are not closed, in one file. Each of them is read once more for every such quote.
const MAX_REREAD_BYTES: usize = 64 << 20;

/// A record: its first line and its cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) line: u64,
    pub(crate) cells: Vec<String>,
}

/// Reads records. Blank lines are none.
pub(crate) struct Records<R> {
    lines: Lines<R>,
    /// Lines to be read again.
    again: VecDeque<Line>,
    delimiter: Option<u8>,
    reread_bytes: usize,
    notices: Notices,
}

impl<R: BufRead> Records<R> {
    /// Reads with a delimiter; without one, a line is a single cell.
    pub(crate) fn new(reader: R, delimiter: Option<u8>, notices: Notices) -> Self {
        Self { lines: Lines::new(reader), again: VecDeque::new(), delimiter, reread_bytes: 0, notices }
    }

    /// Passes over the first line, which names the delimiter.
    pub(crate) fn skip_line(&mut self) -> Result<(), ReadError> {
        self.next_line().map(drop)
    }

    /// The next record; `None` at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Result<Record, BadRow>>, ReadError> {
        loop {
            let first = match self.next_line()? {
                None => return Ok(None),
                Some(Err(bad)) => return Ok(Some(Err(bad))),
                Some(Ok(line)) => line,
            };
            if first.bytes.iter().all(|byte| byte.is_ascii_whitespace() && Some(*byte) != self.delimiter) {
                continue;
            }
            return self.read_from(first).map(Some);
        }
    }

    fn read_from(&mut self, first: Line) -> Result<Result<Record, BadRow>, ReadError> {
        let number = first.number;
        let mut parser = CellParser::new(self.delimiter);
        let mut lines = vec![first];
        let mut bytes = 0;
        let unclosed = loop {
            let line = &lines[lines.len() - 1];
            bytes += line.bytes.len();
            match parser.feed(line) {
                Fed::Done => break None,
                Fed::Unclosed => break Some(format!("line {} opens another", line.number)),
                Fed::Open if bytes > MAX_RECORD_BYTES => {
                    break Some(format!("not within {} MiB", MAX_RECORD_BYTES >> 20));
                }
                Fed::Open => match self.next_line()? {
                    None => break Some("the file ends".to_owned()),
                    Some(Err(bad)) => return Ok(Err(bad)),
                    Some(Ok(line)) => lines.push(line),
                },
            }
        };
        if let Some(evidence) = unclosed {
            return self.give_up(&parser, lines, bytes, &evidence);
        }
        if let Some(place) = parser.stray {
            let reason = format!(
                "column {}: a quote inside a quoted cell is taken for part of the text",
                place.column
            );
            self.notices.warn(Some(place.line), reason);
        }
        if parser.cells.len() > MAX_CELLS {
            return Ok(Err(BadRow::new(number, format!("the row has more than {MAX_CELLS} cells"))));
        }
        Ok(finish(number, parser.cells))
    }

    /// Refuses the first line only, and reads the others again: the quote may be closed nowhere.
    fn give_up(
        &mut self,
        parser: &CellParser,
        mut lines: Vec<Line>,
        bytes: usize,
        evidence: &str,
    ) -> Result<Result<Record, BadRow>, ReadError> {
        let number = lines[0].number;
        self.reread_bytes += bytes - lines[0].bytes.len();
        if self.reread_bytes > MAX_REREAD_BYTES {
            let reason =
                "too many quotes are opened and not closed; quotes inside a cell must be doubled".to_owned();
            return Err(ReadError::Malformed { line: number, reason });
        }
        // The quote may have been opened in a later line of the record, which is then the bad one.
        let place = parser.opened;
        let from = lines.iter().position(|line| line.number == place.line).unwrap_or(0);
        let kept = lines.split_off(from + 1);
        for line in kept.into_iter().rev() {
            self.again.push_front(line);
        }
        let reason = format!(
            "the quote is not closed ({evidence}); close it, or double it where it is part of the text"
        );
        Ok(Err(BadRow { line: place.line, column: Some(place.column), reason, row: None }))
    }

    fn next_line(&mut self) -> Result<Option<Result<Line, BadRow>>, ReadError> {
        match self.again.pop_front() {
            Some(line) => Ok(Some(Ok(line))),
            None => self.lines.read(),
        }
    }
}

fn finish(line: u64, cells: Vec<Vec<u8>>) -> Result<Record, BadRow> {
    let mut texts = Vec::with_capacity(cells.len());
    for (index, cell) in cells.into_iter().enumerate() {
        let text = String::from_utf8(cell).map_err(|error| {
            bad_bytes(line, &format!("the row (cell {})", index + 1), error.utf8_error().valid_up_to())
        })?;
        if text.contains('\0') {
            return Err(BadRow::new(line, NUL));
        }
        texts.push(text);
    }
    Ok(Record { line, cells: texts })
}

/// A place in the file, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    line: u64,
    column: u64,
}

/// What stands in the bytes fed so far.
enum Fed {
    /// A whole record.
    Done,
    /// A quote is open.
    Open,
    /// A quote is open, and another begins a cell, so that the first can hardly have been meant to go on.
    Unclosed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Plain,
    Quoted,
    /// After the quote that closes a cell.
    Closed,
}

/// Takes a record apart, line by line.
struct CellParser {
    delimiter: Option<u8>,
    state: State,
    cells: Vec<Vec<u8>>,
    cell: Vec<u8>,
    /// Where the last quote was opened.
    opened: Place,
    /// The first quote that stands inside a quoted cell without being doubled.
    stray: Option<Place>,
}

impl CellParser {
    fn new(delimiter: Option<u8>) -> Self {
        Self {
            delimiter,
            state: State::CellStart,
            cells: Vec::new(),
            cell: Vec::new(),
            opened: Place::default(),
            stray: None,
        }
    }

    fn feed(&mut self, line: &Line) -> Fed {
        let bytes = &line.bytes;
        let end =
            bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { usize::from(bytes.ends_with(b"\n")) };
        let mut at = 0;
        while at < end {
            let byte = bytes[at];
            let is_delimiter = Some(byte) == self.delimiter;
            match self.state {
                State::Quoted if byte == b'"' => {
                    let next = bytes[at + 1..end].first();
                    if next == Some(&b'"') {
                        self.cell.push(b'"');
                        at += 1;
                    } else if next.is_none_or(|next| Some(*next) == self.delimiter) {
                        self.state = State::Closed;
                    } else {
                        let place = place(line, at);
                        let begins_cell = at == 0 || Some(bytes[at - 1]) == self.delimiter;
                        if line.number != self.opened.line && begins_cell {
                            return Fed::Unclosed;
                        }
                        self.stray.get_or_insert(place);
                        self.cell.push(b'"');
                    }
                }
                State::Quoted => self.cell.push(byte),
                State::CellStart | State::Plain | State::Closed if is_delimiter => {
                    self.end_cell();
                    self.state = State::CellStart;
                }
                State::CellStart if byte == b'"' => {
                    self.opened = place(line, at);
                    self.state = State::Quoted;
                }
                // Blanks between a delimiter and a quote, as some write them, are no text.
                State::CellStart if byte == b' ' && opens_quote(&bytes[at..end]) => {}
                State::CellStart | State::Plain | State::Closed => {
                    self.cell.push(byte);
                    self.state = State::Plain;
                }
            }
            at += 1;
        }
        if self.state == State::Quoted {
            self.cell.extend_from_slice(&bytes[end..]);
            return Fed::Open;
        }
        self.end_cell();
        Fed::Done
    }

    /// Keeps one more than is allowed, by which the record is refused.
    fn end_cell(&mut self) {
        let cell = std::mem::take(&mut self.cell);
        if self.cells.len() <= MAX_CELLS {
            self.cells.push(cell);
        }
    }
}

fn opens_quote(bytes: &[u8]) -> bool {
    bytes.iter().find(|&&byte| byte != b' ') == Some(&b'"')
}

fn place(line: &Line, at: usize) -> Place {
    let before = &line.bytes[..at];
    // Bytes that go on with a letter do not count.
    let column = before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64 + 1;
    Place { line: line.number, column }
}

/// What the beginning of a file says about its delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    /// A first line `sep=;`, as Excel reads it.
    Named(u8),
    /// The delimiter that the rows agree on.
    Found {
        delimiter: u8,
        /// Cells of the header.
        columns: usize,
        /// Whether the rows under it that the sample has, of which there must be one, are as long.
        is_even: bool,
    },
    /// None stands in the header.
    Single,
}

/// Finds the delimiter of a sample in UTF-8.
pub(crate) fn sniff(sample: &[u8]) -> Sniffed {
    let first = sample.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if let Some(delimiter) = named_delimiter(first) {
        return Sniffed::Named(delimiter);
    }
    let mut best: Option<(u8, usize, f64, bool)> = None;
    for delimiter in DELIMITERS {
        let lengths = sample_lengths(sample, delimiter);
        let Some((&header, rows)) = lengths.split_first() else { continue };
        if header < 2 {
            continue;
        }
        let even = rows.iter().filter(|&&length| length == header).count();
        let share = if rows.is_empty() { 0.5 } else { even as f64 / rows.len() as f64 };
        let is_better = best
            .is_none_or(|(_, columns, of_best, _)| share > of_best || (share >= of_best && header > columns));
        if is_better {
            best = Some((delimiter, header, share, even > 0 && even == rows.len()));
        }
    }
    match best {
        Some((delimiter, columns, _, is_even)) => Sniffed::Found { delimiter, columns, is_even },
        None => Sniffed::Single,
    }
}

/// The delimiter of a line `sep=;`.
fn named_delimiter(line: &[u8]) -> Option<u8> {
    let line = line.trim_ascii_end();
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (name, value) = line.split_at_checked(4)?;
    // `sep=` and a tab loses it to the trimming.
    match value {
        _ if !name.eq_ignore_ascii_case(b"sep=") => None,
        [] => Some(b'\t'),
        [one] => Some(*one),
        _ => None,
    }
}

/// Numbers of cells of the records that a sample holds whole.
fn sample_lengths(sample: &[u8], delimiter: u8) -> Vec<usize> {
    const MOST_RECORDS: usize = 50;

    let is_cut = !sample.ends_with(b"\n");
    let mut records = Records::new(sample, Some(delimiter), Notices::default());
    let mut lengths = Vec::new();
    while lengths.len() < MOST_RECORDS
        && let Ok(Some(record)) = records.read()
    {
        lengths.extend(record.ok().map(|record| record.cells.len()));
    }
    // The last record may go on after the sample.
    if is_cut && lengths.len() > 2 {
        lengths.pop();
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, delimiter: u8) -> Vec<String> {
        let mut records = Records::new(text.as_bytes(), Some(delimiter), Notices::default());
        let mut shown = Vec::new();
        while let Some(record) = records.read().expect("memory can be read") {
            shown.push(match record {
                Ok(record) => format!("{} {}", record.line, record.cells.join("|")),
                Err(bad) => bad.to_string(),
            });
        }
        shown
    }

    #[test]
    fn lines_are_counted_over_blank_ones_and_breaks_in_cells() {
        assert_eq!(
            read("doc\r\n\r\nGreat coffee\r\n\"two\r\nlines\",x\r\n\r\nlast", b','),
            ["1 doc", "3 Great coffee", "4 two\r\nlines|x", "7 last"]
        );
    }

    #[test]
    fn quotes_may_be_doubled_or_stand_alone() {
        assert_eq!(read("a,\"b, \"\"c\"\"\",\"\"\n", b','), ["1 a|b, \"c\"|"]);
        assert_eq!(read("a \"b\" c,\"5\" screen\", \"d\"\n", b','), ["1 a \"b\" c|5\" screen|d"]);
        let bad = "1:1: the quote is not closed (the file ends); close it, or double it where it is part of the text";
        assert_eq!(read("\"a\"b,c\n", b','), [bad]);
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_its_own_row_only() {
        let bad = "close it, or double it where it is part of the text";
        assert_eq!(
            read("1,\"Great coffee\n2,Bad coffee\n3,\"Fine, \"\"x\"\"\"\n4,d\n", b','),
            [
                format!("1:3: the quote is not closed (line 3 opens another); {bad}"),
                "2 2|Bad coffee".to_owned(),
                "3 3|Fine, \"x\"".to_owned(),
                "4 4|d".to_owned(),
            ]
        );
        assert_eq!(
            read("1,\"Great\n2,Bad\n", b','),
            [format!("1:3: the quote is not closed (the file ends); {bad}"), "2 2|Bad".to_owned()]
        );
    }

    #[test]
    fn many_unclosed_quotes_end_the_file_before_they_cost_time() {
        let text = "\"\"\"x\n".repeat(20_000);
        let mut records = Records::new(text.as_bytes(), Some(b','), Notices::default());
        let error = loop {
            match records.read() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the file must be refused"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("too many quotes"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut records = Records::new(&b"a,\xff\nb,\0\nc,d\n"[..], Some(b','), Notices::default());
        let mut next = || records.read().expect("memory can be read").expect("a record");
        assert!(next().is_err_and(|bad| {
            bad.to_string().starts_with("1: the row (cell 2) is not valid UTF-8 (byte 1)")
        }));
        assert!(next().is_err_and(|bad| bad.to_string().starts_with("2: it holds NUL characters")));
        assert!(next().is_ok());
    }

    #[test]
    fn the_delimiter_is_the_one_that_the_rows_agree_on() {
        let found = |delimiter, columns| Sniffed::Found { delimiter, columns, is_even: true };
        assert_eq!(sniff(b"id;doc\n1;a, b, c\n2;d\n"), found(b';', 2));
        assert_eq!(sniff(b"id,doc\n1,\"a; b; c\"\n"), found(b',', 2));
        assert_eq!(sniff(b"id\tdoc, or text\n1\ta\n"), found(b'\t', 2));
        assert_eq!(sniff(b"a|b|c\n1|2|3\n"), found(b'|', 3));
        assert_eq!(sniff(b"sep=;\r\na;b\r\n"), Sniffed::Named(b';'));
        assert_eq!(sniff(b"SEP=\t\na\tb\n"), Sniffed::Named(b'\t'));
        assert_eq!(sniff(b"doc\nGreat, really, great\n"), Sniffed::Single);
        assert_eq!(
            sniff(b"id;doc\n1;a\n2\n"),
            Sniffed::Found { delimiter: b';', columns: 2, is_even: false }
        );
        assert_eq!(sniff(b""), Sniffed::Single);
    }
}
