//! Rows as all formats give them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use serde_json::Value;

use crate::error::BadRow;

/// A row of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its first line in the file, or its number in a sheet or a Parquet file, from 1.
    pub line: u64,
    /// Names of the cells. Rows share them.
    pub columns: Arc<[String]>,
    /// As many as there are columns. A member that a JSON object lacks is `null`.
    pub cells: Vec<Value>,
    /// The row with its types, in a Parquet file.
    pub(crate) origin: Option<(RecordBatch, usize)>,
}

impl Row {
    pub(crate) fn new(line: u64, columns: Arc<[String]>, cells: Vec<Value>) -> Self {
        Self { line, columns, cells, origin: None }
    }

    /// A row that stands in no file. Cells that are missing are `null`, and those beyond the columns are left out.
    pub fn of_cells(line: u64, columns: Arc<[String]>, mut cells: Vec<Value>) -> Self {
        cells.resize(columns.len(), Value::Null);
        Self::new(line, columns, cells)
    }

    /// A row of one cell, with a text that stands in no file.
    pub fn of_text(line: u64, text: &str) -> Self {
        Self::new(line, Arc::from(["doc".to_owned()]), vec![Value::from(text)])
    }

    /// The cell of the column with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let place = self.columns.iter().position(|column| column == name)?;
        self.cells.get(place)
    }

    /// Whether no cell holds anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| match cell {
            Value::Null => true,
            Value::String(text) => text.trim().is_empty(),
            _ => false,
        })
    }
}

/// What the next part of a table is.
#[derive(Clone, Debug)]
pub enum Item {
    /// A row.
    Row(Row),
    /// A row that cannot be read.
    Bad(BadRow),
}

/// A cell as text: nothing for `null`, JSON for lists and objects.
pub fn cell_text(cell: &Value) -> Cow<'_, str> {
    match cell {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}
