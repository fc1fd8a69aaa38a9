//! Rows as documents: a text with its identifier and its entities.

use serde_json::Value;

use crate::columns::Columns;
use crate::error::{BadRow, OpenError, ReadError};
use crate::format::Format;
use crate::notice::Notice;
use crate::row::{Item, Row, cell_text};
use crate::table::Table;

/// Which columns hold what; what is left out is found by usual names in English and Dutch.
#[derive(Clone, Debug, Default)]
pub struct DocumentOptions {
    /// Column of the text.
    pub text_column: Option<String>,
    /// Column of the identifier.
    pub id_column: Option<String>,
    /// Column of the entities.
    pub entities_column: Option<String>,
    /// What stands between two entities in a cell; a semicolon or a bar if left out, and nothing if empty.
    pub entities_separator: Option<String>,
}

/// A document as read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The row's first line.
    pub line: u64,
    /// The identifier; the line's number where the row has none.
    pub doc_id: String,
    /// The text, which is not blank.
    pub text: String,
    /// What the row names: strings, or objects with `name`, `aliases` and `group` as requests have them.
    pub entities: Vec<Value>,
    /// What a reader should know of the text.
    pub warnings: Vec<String>,
    /// All cells of the row.
    pub row: Row,
}

/// What the next part of a file is.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A document.
    Document(Document),
    /// A row without one.
    Bad(BadRow),
}

/// Identifier, text, entities and warnings of a row.
type Parts = (String, String, Vec<Value>, Vec<String>);

/// The documents of a table, read as they are asked for.
#[derive(Debug)]
pub struct Documents {
    table: Table,
    columns: Columns,
    separator: Option<String>,
    /// Whether rows may name text and identifier in the other way that requests do.
    may_vary: bool,
}

impl Documents {
    /// Chooses the columns.
    pub fn new(table: Table, options: &DocumentOptions) -> Result<Self, OpenError> {
        let is_json = matches!(table.format(), Format::Json | Format::Jsonl);
        let columns = match Columns::choose(table.name(), table.columns(), options) {
            // Each row says for itself what it lacks.
            Err(_) if is_json && options.text_column.is_none() && table.columns().is_empty() => Columns {
                text: "doc".to_owned(),
                id: Some("doc_id".to_owned()),
                entities: Some("entities".to_owned()),
                date: None,
            },
            // The only row of a stream that is known so far may be the one that is wrong.
            Err(_) if is_json && options.text_column.is_none() && table.columns().len() == 1 => {
                Columns { text: "doc".to_owned(), id: None, entities: None, date: None }
            }
            columns => columns?,
        };
        if !(is_json || table.format() == Format::Lines) {
            table.notices().found(columns.describe());
        }
        let separator = options.entities_separator.clone();
        Ok(Self { table, columns, separator, may_vary: is_json && options.text_column.is_none() })
    }

    /// The columns in use.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What was found out or guessed since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        self.table.take_notices()
    }

    /// The cell of a column, or of another of its usual names in a JSON object.
    fn cell<'r>(&self, row: &'r Row, name: &str, others: &[&str]) -> Option<&'r Value> {
        let is_there = |cell: &&Value| !cell.is_null();
        let other = || others.iter().find_map(|other| row.get(other).filter(is_there));
        row.get(name).filter(is_there).or_else(|| if self.may_vary { other() } else { None })
    }

    fn document(&self, row: Row) -> Result<Document, BadRow> {
        let line = row.line;
        match self.parts(&row) {
            Ok((doc_id, text, entities, warnings)) => {
                Ok(Document { line, doc_id, text, entities, warnings, row })
            }
            Err(reason) => Err(BadRow { line, column: None, reason, row: Some(Box::new(row)) }),
        }
    }

    fn parts(&self, row: &Row) -> Result<Parts, String> {
        let is_json = matches!(self.table.format(), Format::Json | Format::Jsonl);
        let text = match self.cell(row, &self.columns.text, &["doc", "text"]) {
            Some(Value::String(text)) => text.clone(),
            None if is_json => return Err(format!("missing field `{}`", self.columns.text)),
            Some(other) if is_json => {
                return Err(format!("the field `{}` is {}, not a text", self.columns.text, kind(other)));
            }
            Some(other) => cell_text(other).into_owned(),
            None => String::new(),
        };
        if text.chars().all(is_invisible) {
            return Err("the text is empty".to_owned());
        }
        if text.contains('\0') {
            return Err(crate::lines::NUL.to_owned());
        }
        if self.table.format() == Format::Xlsx && EXCEL_ERRORS.contains(&text.as_str()) {
            return Err(format!(
                "the text is the error {text} of a formula; type it with an apostrophe before it"
            ));
        }
        let mut warnings = Vec::new();
        if text.contains('\u{fffd}') {
            warnings.push(
                "the text holds U+FFFD, the sign for a letter that was lost in an earlier conversion"
                    .to_owned(),
            );
        }
        let id_name = self.columns.id.as_deref();
        let id = match id_name.or(self.may_vary.then_some("doc_id")) {
            Some(name) => self.cell(row, name, &["doc_id", "id"]),
            None => None,
        };
        let doc_id = match id {
            Some(Value::Number(number)) if is_json && !(number.is_i64() || number.is_u64()) => {
                return Err("doc_id must be a string or a whole number".to_owned());
            }
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) if is_json => {
                return Err("doc_id must be a string or a whole number".to_owned());
            }
            Some(Value::String(text)) if is_json => text.clone(),
            Some(cell) => cell_text(cell).trim().to_owned(),
            None => String::new(),
        };
        let doc_id = if doc_id.is_empty() { row.line.to_string() } else { doc_id };
        let entities = match self.columns.entities.as_deref().or(self.may_vary.then_some("entities")) {
            Some(name) => {
                self.cell(row, name, &["entities"]).map_or(Ok(Vec::new()), |cell| self.entities(cell))
            }
            None => Ok(Vec::new()),
        };
        Ok((doc_id, text, entities?, warnings))
    }

    fn entities(&self, cell: &Value) -> Result<Vec<Value>, String> {
        match cell {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => {
                let list: Vec<Value> = list.iter().filter(|value| !value.is_null()).cloned().collect();
                for value in &list {
                    let name = match value {
                        Value::Object(object) => object.get("name").and_then(Value::as_str),
                        other => other.as_str(),
                    };
                    match name {
                        None => {
                            return Err(format!(
                                "an entity is {}, not a string or an object with a name",
                                kind(value)
                            ));
                        }
                        Some(name) if name.chars().all(is_invisible) => {
                            return Err("an entity is empty".to_owned());
                        }
                        Some(_) => {}
                    }
                }
                Ok(list)
            }
            other => {
                let text = cell_text(other);
                if text.trim_start().starts_with('[')
                    && let Ok(list @ Value::Array(_)) = serde_json::from_str(&text)
                {
                    return self.entities(&list);
                }
                let parts: Vec<&str> = match self.separator.as_deref() {
                    None => text.split([';', '|']).collect(),
                    Some("") => vec![&text],
                    Some(separator) => text.split(separator).collect(),
                };
                let names = parts.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
                Ok(names.map(Value::from).collect())
            }
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.table.next()?.map(|item| match item {
            Item::Row(row) => self.document(row).map_or_else(Entry::Bad, Entry::Document),
            Item::Bad(bad) => Entry::Bad(bad),
        }))
    }
}

/// What Excel shows for a formula that fails.
const EXCEL_ERRORS: [&str; 8] =
    ["#NAME?", "#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NULL!", "#GETTING_DATA"];

/// Characters that show nothing: blanks, and those without width.
fn is_invisible(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}')
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
