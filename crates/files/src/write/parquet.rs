//! Writes Parquet.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Builder, RecordBatch, StringBuilder, UInt64Builder};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::{Cell, Column, ColumnKind};
use crate::row::{Row, cell_text};

/// Rows that are encoded together.
const BATCH_ROWS: usize = 1024;

/// Encoded bytes that are held before a row group is written.
const GROUP_BYTES: usize = 32 << 20;

pub(super) struct ParquetWriter<W: Write + Send> {
    sink: Sink<W>,
    caller: Vec<String>,
    results: Vec<Column>,
    rows: Vec<(Row, Vec<Cell>)>,
}

/// The schema is known with the first row, which says whether the caller's columns have types.
enum Sink<W: Write + Send> {
    Waiting(Option<W>),
    Open { writer: Box<ArrowWriter<W>>, schema: SchemaRef },
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn new(sink: W, caller: &[String], results: &[Column]) -> Self {
        Self {
            sink: Sink::Waiting(Some(sink)),
            caller: caller.to_vec(),
            results: results.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, row: &Row, results: &[Cell]) -> io::Result<()> {
        self.rows.push((row.clone(), results.to_vec()));
        if self.rows.len() < BATCH_ROWS { Ok(()) } else { self.write_batch() }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write_batch()?;
        match self.sink {
            Sink::Open { writer, .. } => writer.into_inner().map_err(io::Error::other)?.flush(),
            Sink::Waiting(_) => Ok(()),
        }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let typed: Vec<_> = rows.iter().filter_map(|(row, _)| row.origin.as_ref()).collect();
        let typed = if typed.len() == rows.len() && !typed.is_empty() {
            let batches: Vec<&RecordBatch> = typed.iter().map(|(batch, _)| batch).collect();
            let places: Vec<(usize, usize)> =
                typed.iter().enumerate().map(|(which, (_, row))| (which, *row)).collect();
            Some(interleave_record_batch(&batches, &places).map_err(io::Error::other)?)
        } else {
            None
        };
        let caller_fields: Vec<FieldRef> = match &typed {
            Some(batch) => batch.schema().fields().iter().cloned().collect(),
            None => self.caller.iter().map(|name| Arc::new(Field::new(name, DataType::Utf8, true))).collect(),
        };
        let mut columns: Vec<ArrayRef> = match &typed {
            Some(batch) => batch.columns().to_vec(),
            None => (0..self.caller.len()).map(|place| text_column(&rows, place)).collect(),
        };
        columns.extend(
            self.results.iter().enumerate().map(|(place, column)| result_column(&rows, place, column.kind)),
        );
        if let Sink::Waiting(sink) = &mut self.sink {
            let results = self
                .results
                .iter()
                .map(|column| Arc::new(Field::new(&column.name, data_type(column.kind), true)));
            let schema =
                Arc::new(Schema::new(caller_fields.into_iter().chain(results).collect::<Vec<FieldRef>>()));
            let properties =
                WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
            let sink = sink.take().ok_or_else(|| io::Error::other("the file failed before"))?;
            let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties))
                .map_err(io::Error::other)?;
            self.sink = Sink::Open { writer: Box::new(writer), schema };
        }
        let Sink::Open { writer, schema } = &mut self.sink else { return Ok(()) };
        let batch = RecordBatch::try_new(Arc::clone(schema), columns).map_err(io::Error::other)?;
        writer.write(&batch).map_err(io::Error::other)?;
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Text => DataType::Utf8,
        ColumnKind::Number => DataType::Float32,
        ColumnKind::Count => DataType::UInt64,
    }
}

fn text_column(rows: &[(Row, Vec<Cell>)], place: usize) -> ArrayRef {
    let mut builder = StringBuilder::new();
    for (row, _) in rows {
        match row.cells.get(place) {
            None | Some(Value::Null) => builder.append_null(),
            Some(cell) => builder.append_value(cell_text(cell)),
        }
    }
    Arc::new(builder.finish())
}

fn result_column(rows: &[(Row, Vec<Cell>)], place: usize, kind: ColumnKind) -> ArrayRef {
    let cells = rows.iter().map(|(_, results)| results.get(place).unwrap_or(&Cell::Empty));
    match kind {
        ColumnKind::Text => {
            let mut builder = StringBuilder::new();
            cells.for_each(|cell| {
                builder.append_option(if let Cell::Text(text) = cell { Some(text) } else { None });
            });
            Arc::new(builder.finish())
        }
        ColumnKind::Number => {
            let mut builder = Float32Builder::new();
            cells.for_each(|cell| {
                builder.append_option(if let Cell::Number(number) = cell { Some(*number) } else { None });
            });
            Arc::new(builder.finish())
        }
        ColumnKind::Count => {
            let mut builder = UInt64Builder::new();
            cells.for_each(|cell| {
                builder.append_option(if let Cell::Count(count) = cell { Some(*count) } else { None });
            });
            Arc::new(builder.finish())
        }
    }
}
