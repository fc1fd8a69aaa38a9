//! Parquet, batch by batch.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::Value;

use crate::error::{OpenError, ReadError};
use crate::row::{Item, Row};
use crate::table::Rows;

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 256;

/// Opens a file; gives the columns, the rows and their number.
pub(crate) fn open(file: File, name: &str) -> Result<(Arc<[String]>, ParquetRows, u64), OpenError> {
    let malformed = |error: parquet::errors::ParquetError| OpenError::Malformed {
        name: name.to_owned(),
        format: "Parquet",
        reason: error.to_string(),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(malformed)?;
    let columns: Arc<[String]> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let length = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(malformed)?;
    Ok((Arc::clone(&columns), ParquetRows { reader, columns, line: 0 }, length))
}

/// Rows of a file.
pub(crate) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    columns: Arc<[String]>,
    line: u64,
}

impl Rows for ParquetRows {
    fn read(&mut self) -> Result<VecDeque<Item>, ReadError> {
        let failed =
            |error: ArrowError| ReadError::Malformed { line: self.line + 1, reason: error.to_string() };
        loop {
            let Some(batch) = self.reader.next().transpose().map_err(failed)? else {
                return Ok(VecDeque::new());
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let mut columns = Vec::with_capacity(batch.num_columns());
            for column in batch.columns() {
                columns.push(values(column).map_err(failed)?.into_iter());
            }
            let items = (0..batch.num_rows()).map(|index| {
                self.line += 1;
                let cells = columns.iter_mut().map(|column| column.next().unwrap_or_default()).collect();
                let mut row = Row::new(self.line, Arc::clone(&self.columns), cells);
                row.origin = Some((RecordBatch::clone(&batch), index));
                Item::Row(row)
            });
            return Ok(items.collect());
        }
    }
}

/// The cells of a column.
fn values(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    let values = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(Value::from).collect(),
        DataType::LargeUtf8 | DataType::Utf8View => return values(&cast(column, &DataType::Utf8)?),
        DataType::Dictionary(_, of_values) => return values(&cast(column, of_values)?),
        DataType::Boolean => column.as_boolean().iter().map(Value::from).collect(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().iter().map(Value::from).collect(),
        other if other.is_integer() => {
            let column = cast(column, &DataType::Int64)?;
            column.as_primitive::<Int64Type>().iter().map(Value::from).collect()
        }
        other if other.is_floating() => {
            let column = cast(column, &DataType::Float64)?;
            column.as_primitive::<Float64Type>().iter().map(Value::from).collect()
        }
        DataType::List(_) => {
            column.as_list::<i32>().iter().map(|list| list_value(list.as_ref())).collect::<Result<_, _>>()?
        }
        DataType::LargeList(_) => {
            column.as_list::<i64>().iter().map(|list| list_value(list.as_ref())).collect::<Result<_, _>>()?
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
            let shown = |index| {
                if column.is_null(index) {
                    Ok(Value::Null)
                } else {
                    formatter.value(index).try_to_string().map(Value::from)
                }
            };
            (0..column.len()).map(shown).collect::<Result<_, _>>()?
        }
    };
    Ok(values)
}

fn list_value(list: Option<&ArrayRef>) -> Result<Value, ArrowError> {
    list.map_or(Ok(Value::Null), |list| values(list).map(Value::Array))
}
