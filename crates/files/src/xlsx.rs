//! Workbooks of Excel, row by row.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use calamine::{DataRef, ExcelDateTime, Reader as _, SheetVisible, Xlsx};
use serde_json::Value;

use crate::error::{OpenError, ReadError};
use crate::notice::Notices;
use crate::row::{Item, Row, cell_text};
use crate::table::{ReadOptions, Rows, column_names};

/// Rows that the thread reads ahead.
const ROWS_AHEAD: usize = 64;

/// Rows that can stand above the header as a title.
const MAX_TITLE_ROWS: usize = 10;

/// A row as it stands in the sheet: its number from 1, and its cells from the first column on.
type SheetRow = (u64, Vec<Value>);

/// Opens the first visible sheet, or the one that is named.
pub(crate) fn open(
    mut file: File,
    name: &str,
    options: &ReadOptions,
    notices: &Notices,
) -> Result<(Arc<[String]>, XlsxRows), OpenError> {
    check_contents(&mut file, name, options.limits.max_workbook_text_bytes)?;
    let malformed = |reason: String| OpenError::Malformed { name: name.to_owned(), format: "Excel", reason };
    let workbook = Xlsx::new(BufReader::new(file)).map_err(|error| malformed(error.to_string()))?;
    let sheets = workbook.sheets_metadata();
    let is_chosen = |sheet: &&calamine::Sheet| match &options.sheet {
        Some(wanted) => sheet.name.trim().eq_ignore_ascii_case(wanted.trim()),
        None => sheet.visible == SheetVisible::Visible,
    };
    let names: Vec<String> = sheets.iter().map(|sheet| format!("\"{}\"", sheet.name)).collect();
    let Some(sheet) = sheets.iter().find(is_chosen).map(|sheet| sheet.name.clone()) else {
        return Err(match &options.sheet {
            Some(wanted) => OpenError::Option(format!(
                "{name}: there is no sheet \"{wanted}\". The sheets are {}",
                names.join(", ")
            )),
            None => malformed("it has no visible sheet; --sheet names a hidden one".to_owned()),
        });
    };
    if names.len() > 1 && options.sheet.is_none() {
        notices
            .found(format!("the sheet \"{sheet}\" is read, of {}; --sheet names another", names.join(", ")));
    }
    let (sender, receiver) = sync_channel(ROWS_AHEAD);
    let of_thread = sheet.clone();
    // The reader of a sheet borrows its workbook, so that both stay on a thread of their own. It ends with the receiver.
    thread::Builder::new()
        .name("workbook".to_owned())
        .spawn(move || send_rows(workbook, &of_thread, &sender))
        .map_err(|source| OpenError::Io { name: name.to_owned(), source })?;
    let mut rows = XlsxRows {
        receiver,
        columns: Arc::from([]),
        ahead: VecDeque::new(),
        line: 0,
        notices: notices.clone(),
    };
    rows.find_header(options.no_header).map_err(|error| malformed(error.to_string()))?;
    if rows.columns.is_empty() {
        return Err(OpenError::Empty(format!("the sheet \"{sheet}\" of {name}")));
    }
    Ok((Arc::clone(&rows.columns), rows))
}

/// Refuses other files that are zipped, and texts that would fill the memory.
fn check_contents(file: &mut File, name: &str, max_bytes: u64) -> Result<(), OpenError> {
    let malformed = |reason: String| OpenError::Malformed { name: name.to_owned(), format: "Excel", reason };
    let unsupported = |what, remedy| OpenError::Unsupported { name: name.to_owned(), what, remedy };
    let failed = |source: io::Error| OpenError::Io { name: name.to_owned(), source };
    let mut archive =
        zip::ZipArchive::new(BufReader::new(&mut *file)).map_err(|error| malformed(error.to_string()))?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let has = |start: &str| names.iter().any(|name| name.starts_with(start));
    if has("xl/workbook.bin") {
        return Err(unsupported("a binary workbook of Excel (.xlsb)", "save it as .xlsx or as CSV"));
    }
    if has("word/") {
        return Err(unsupported("a document of Word", "save the texts as plain text or CSV"));
    }
    if has("content.xml") {
        return Err(unsupported("an OpenDocument file", "save it as .xlsx or as CSV"));
    }
    if !has("xl/") {
        return Err(unsupported("a zip archive", "unpack it first"));
    }
    for entry in names.iter().filter(|name| name.to_lowercase().ends_with("sharedstrings.xml")) {
        let text = archive.by_name(entry).map_err(|error| malformed(error.to_string()))?;
        // What the archive says of its sizes may be wrong.
        let bytes = io::copy(&mut text.take(max_bytes + 1), &mut io::sink()).map_err(failed)?;
        if bytes > max_bytes {
            return Err(malformed(format!(
                "its texts take more than {} MiB; save it as CSV",
                max_bytes >> 20
            )));
        }
    }
    drop(archive);
    file.seek(SeekFrom::Start(0)).map(drop).map_err(failed)
}

/// Sends the rows that hold anything, until the receiver is gone.
fn send_rows(
    mut workbook: Xlsx<BufReader<File>>,
    sheet: &str,
    sender: &SyncSender<Result<SheetRow, String>>,
) {
    let mut cells = match workbook.worksheet_cells_reader(sheet) {
        Ok(cells) => cells,
        Err(error) => {
            // The receiver may be gone already.
            let _ = sender.send(Err(error.to_string()));
            return;
        }
    };
    let mut row: SheetRow = (0, Vec::new());
    loop {
        let cell = match cells.next_cell() {
            Ok(Some(cell)) => cell,
            Ok(None) => break,
            Err(error) => {
                let _ = sender.send(Err(error.to_string()));
                return;
            }
        };
        let (number, column) = cell.get_position();
        let line = u64::from(number) + 1;
        if line != row.0 && !row.1.is_empty() && sender.send(Ok(std::mem::take(&mut row))).is_err() {
            return;
        }
        row.0 = line;
        let value = value(cell.get_value());
        if !value.is_null() {
            let column = column as usize;
            if row.1.len() <= column {
                row.1.resize(column + 1, Value::Null);
            }
            row.1[column] = value;
        }
    }
    if !row.1.is_empty() {
        let _ = sender.send(Ok(row));
    }
}

fn value(cell: &DataRef<'_>) -> Value {
    match cell {
        DataRef::Empty => Value::Null,
        DataRef::Int(number) => Value::from(*number),
        DataRef::Float(number) => number_value(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            Value::from(text.as_str())
        }
        DataRef::SharedString(text) => Value::from(*text),
        DataRef::Bool(is) => Value::from(*is),
        DataRef::DateTime(time) => Value::from(date(time)),
        DataRef::Error(error) => Value::from(error.to_string()),
    }
}

/// Excel has no whole numbers: those that are become ones.
fn number_value(number: f64) -> Value {
    /// Beyond it, not every whole number has a place in a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;

    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// A date, a time, or both, as ISO 8601 writes them.
fn date(time: &ExcelDateTime) -> String {
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let is_clock = time.as_f64() < 1.0;
    if time.is_duration() || is_clock {
        clock
    } else if (hour, minute, second) == (0, 0, 0) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:04}-{month:02}-{day:02}T{clock}")
    }
}

/// Rows of a sheet.
pub(crate) struct XlsxRows {
    receiver: Receiver<Result<SheetRow, String>>,
    columns: Arc<[String]>,
    ahead: VecDeque<SheetRow>,
    line: u64,
    notices: Notices,
}

impl XlsxRows {
    /// Takes the first row as header, or the first of several cells where a title stands above it.
    fn find_header(&mut self, no_header: bool) -> Result<(), ReadError> {
        while self.ahead.len() <= MAX_TITLE_ROWS
            && let Some(row) = self.next_row()?
        {
            self.ahead.push_back(row);
        }
        let filled = |(_, cells): &SheetRow| cells.iter().filter(|cell| !cell.is_null()).count();
        if no_header {
            let width = self.ahead.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
            self.columns = column_names(&[], width, &self.notices);
            return Ok(());
        }
        let place = self.ahead.iter().position(|row| filled(row) > 1).unwrap_or(0);
        for (line, _) in self.ahead.drain(..place) {
            self.notices.warn(Some(line), "the row stands above the header and is taken for a title");
        }
        if let Some((_, cells)) = self.ahead.pop_front() {
            let width = cells.len();
            let names: Vec<String> = cells.iter().map(|cell| cell_text(cell).into_owned()).collect();
            self.columns = column_names(&names, width, &self.notices);
        }
        Ok(())
    }

    fn next_row(&mut self) -> Result<Option<SheetRow>, ReadError> {
        match self.receiver.recv() {
            Ok(Ok(row)) => {
                self.line = row.0;
                Ok(Some(row))
            }
            Ok(Err(reason)) => Err(ReadError::Malformed { line: self.line + 1, reason }),
            // The thread has sent all rows.
            Err(_) => Ok(None),
        }
    }
}

impl Rows for XlsxRows {
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError> {
        let row = match self.ahead.pop_front() {
            Some(row) => Some(row),
            None => self.next_row()?,
        };
        let Some((line, mut cells)) = row else { return Ok(VecDeque::new()) };
        if cells.len() > self.columns.len() {
            self.notices.warn(Some(line), "cells stand to the right of the header and are left out");
        }
        cells.resize(self.columns.len(), Value::Null);
        Ok([Item::Row(Row::new(line, Arc::clone(&self.columns), cells))].into())
    }
}
