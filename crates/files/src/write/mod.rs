//! Writes rows: the caller's columns, and the columns of the results beside them.

mod parquet;
mod xlsx;

use std::io::{self, Write};

use ::csv as csv_out;

use crate::formula::guard_formulas;
use crate::row::{Row, cell_text};

/// A format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFormat {
    /// Comma-separated values in UTF-8, in which no cell of text is a formula.
    Csv,
    /// Apache Parquet. Columns of a Parquet file keep their types; those of other formats are text.
    Parquet,
    /// A workbook of Excel with one sheet.
    Xlsx,
}

/// What a column of results holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text.
    Text,
    /// A number with a fraction.
    Number,
    /// A number of things.
    Count,
}

/// A column of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// A cell of results.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// Text.
    Text(String),
    /// A number with a fraction.
    Number(f32),
    /// A number of things.
    Count(u64),
}

impl Cell {
    fn to_text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => guard_formulas(text).into_owned(),
            Self::Number(number) => number.to_string(),
            Self::Count(count) => count.to_string(),
        }
    }
}

/// Writes one file. Rows may wait in it until [`Self::finish`].
pub struct Writer<W: Write + Send> {
    form: Form<W>,
    caller_columns: usize,
    result_columns: Vec<Column>,
}

// The CSV writer is much larger than the others.
enum Form<W: Write + Send> {
    Csv(Box<csv_out::Writer<W>>),
    Parquet(Box<parquet::ParquetWriter<W>>),
    Xlsx(Box<xlsx::XlsxWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    /// Begins a file with the columns of the caller and those of the results. A result whose name the caller has already is called
    /// `sentor_` and its name.
    pub fn new(format: WriteFormat, sink: W, caller: &[String], results: &[Column]) -> io::Result<Self> {
        let mut writer = Self::resume(format, sink, caller, results)?;
        let header = caller
            .iter()
            .map(String::as_str)
            .chain(writer.result_columns.iter().map(|column| column.name.as_str()));
        if let Form::Csv(csv) = &mut writer.form {
            csv.write_record(header.map(|name| guard_formulas(name).into_owned())).map_err(csv_error)?;
        }
        Ok(writer)
    }

    /// Goes on with a file that has its header already. Only CSV can.
    pub fn resume(format: WriteFormat, sink: W, caller: &[String], results: &[Column]) -> io::Result<Self> {
        let result_columns: Vec<Column> = results
            .iter()
            .map(|column| {
                let is_taken = caller.contains(&column.name);
                if is_taken {
                    Column::new(format!("sentor_{}", column.name), column.kind)
                } else {
                    column.clone()
                }
            })
            .collect();
        let form = match format {
            WriteFormat::Csv => Form::Csv(Box::new(csv_out::Writer::from_writer(sink))),
            WriteFormat::Parquet => {
                Form::Parquet(Box::new(parquet::ParquetWriter::new(sink, caller, &result_columns)))
            }
            WriteFormat::Xlsx => Form::Xlsx(Box::new(xlsx::XlsxWriter::new(sink, caller, &result_columns)?)),
        };
        Ok(Self { form, caller_columns: caller.len(), result_columns })
    }

    /// Writes a row of the caller with the results beside it: as many as there are columns of them.
    pub fn write(&mut self, row: &Row, results: &[Cell]) -> io::Result<()> {
        match &mut self.form {
            Form::Csv(csv) => {
                let caller = (0..self.caller_columns).map(|place| match row.cells.get(place) {
                    Some(serde_json::Value::String(text)) => guard_formulas(text),
                    Some(cell) => cell_text(cell),
                    None => "".into(),
                });
                for cell in caller {
                    csv.write_field(cell.as_bytes()).map_err(csv_error)?;
                }
                for cell in results {
                    csv.write_field(cell.to_text()).map_err(csv_error)?;
                }
                csv.write_record(None::<&[u8]>).map_err(csv_error)
            }
            Form::Parquet(parquet) => parquet.write(row, results),
            Form::Xlsx(xlsx) => xlsx.write(row, results),
        }
    }

    /// Hands on the rows of CSV. The other formats keep theirs together.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.form {
            Form::Csv(csv) => csv.flush(),
            Form::Parquet(_) | Form::Xlsx(_) => Ok(()),
        }
    }

    /// Ends the file. Returns what should be known of it.
    pub fn finish(self) -> io::Result<Vec<String>> {
        match self.form {
            Form::Csv(mut csv) => csv.flush().map(|()| Vec::new()),
            Form::Parquet(parquet) => parquet.finish().map(|()| Vec::new()),
            Form::Xlsx(xlsx) => xlsx.finish(),
        }
    }
}

fn csv_error(error: csv_out::Error) -> io::Error {
    match error.into_kind() {
        csv_out::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
