//! Writes a workbook of Excel.

use std::borrow::Cow;
use std::io::{self, Write};

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};
use serde_json::Value;

use super::{Cell, Column};
use crate::row::{Row, cell_text};

/// Rows of a sheet, its header among them.
const MAX_ROWS: u32 = 1_048_576;

/// Characters of a cell, as UTF-16 counts them.
const MAX_CELL_UNITS: usize = 32_767;

/// Holds all rows until the end, of which a sheet can have about a million.
pub(super) struct XlsxWriter<W: Write + Send> {
    sink: W,
    workbook: Workbook,
    caller_columns: usize,
    row: u32,
    /// Cells that were too long.
    cut: u64,
}

impl<W: Write + Send> XlsxWriter<W> {
    pub(super) fn new(sink: W, caller: &[String], results: &[Column]) -> io::Result<Self> {
        let mut workbook = Workbook::new();
        let sheet = workbook.add_worksheet();
        sheet.set_name("Scores").map_err(failed)?;
        sheet.set_freeze_panes(1, 0).map_err(failed)?;
        let bold = Format::new().set_bold();
        let names =
            caller.iter().map(String::as_str).chain(results.iter().map(|column| column.name.as_str()));
        for (place, name) in (0_u16..).zip(names) {
            sheet.write_string_with_format(0, place, fit(name).0, &bold).map_err(failed)?;
        }
        Ok(Self { sink, workbook, caller_columns: caller.len(), row: 1, cut: 0 })
    }

    pub(super) fn write(&mut self, row: &Row, results: &[Cell]) -> io::Result<()> {
        if self.row >= MAX_ROWS {
            return Err(io::Error::other(format!(
                "a sheet of Excel has {MAX_ROWS} rows at most; write CSV or Parquet"
            )));
        }
        let sheet = self.workbook.worksheet_from_index(0).map_err(failed)?;
        let mut place = 0_u16;
        for cell in row.cells.iter().take(self.caller_columns) {
            match cell {
                Value::Null => {}
                // A longer number would lose digits.
                Value::Number(number) if number.to_string().len() <= 15 => {
                    sheet
                        .write_number(self.row, place, number.as_f64().unwrap_or_default())
                        .map_err(failed)?;
                }
                Value::Bool(is) => {
                    sheet.write_boolean(self.row, place, *is).map_err(failed)?;
                }
                other => self.cut += write_text(sheet, self.row, place, &cell_text(other))?,
            }
            place += 1;
        }
        place = u16::try_from(self.caller_columns).map_err(io::Error::other)?;
        for cell in results {
            match cell {
                Cell::Empty => {}
                Cell::Text(text) => self.cut += write_text(sheet, self.row, place, text)?,
                Cell::Number(number) => {
                    sheet.write_number(self.row, place, f64::from(*number)).map_err(failed)?;
                }
                Cell::Count(count) => {
                    sheet.write_number(self.row, place, *count as f64).map_err(failed)?;
                }
            }
            place += 1;
        }
        self.row += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Vec<String>> {
        self.workbook.save_to_writer(&mut self.sink).map_err(failed)?;
        self.sink.flush()?;
        Ok(match self.cut {
            0 => Vec::new(),
            cut => vec![format!(
                "cells of Excel hold {MAX_CELL_UNITS} characters; {cut} longer texts were cut and end in …"
            )],
        })
    }
}

/// Writes a text; returns 1 if it was cut.
fn write_text(sheet: &mut Worksheet, row: u32, place: u16, text: &str) -> io::Result<u64> {
    let (text, is_cut) = fit(text);
    sheet.write_string(row, place, text).map_err(failed)?;
    Ok(u64::from(is_cut))
}

/// The text as far as a cell holds it, and whether that is not all.
fn fit(text: &str) -> (Cow<'_, str>, bool) {
    if text.len() <= MAX_CELL_UNITS || text.chars().map(char::len_utf16).sum::<usize>() <= MAX_CELL_UNITS {
        return (Cow::Borrowed(text), false);
    }
    let mut units = 0;
    let fitting = text.chars().take_while(|letter| {
        units += letter.len_utf16();
        units < MAX_CELL_UNITS
    });
    let mut short: String = fitting.collect();
    short.push('…');
    (Cow::Owned(short), true)
}

fn failed(error: XlsxError) -> io::Error {
    match error {
        XlsxError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
