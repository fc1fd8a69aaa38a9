//! Files of texts, read and written as rows in bounded memory.
//!
//! A [`Source`] is a file or a stream, decompressed. [`Table::open`] finds out its format, encoding and delimiter and gives its rows
//! one by one, with line numbers. [`Documents`] finds the columns of text, identifier and entities and turns rows into documents.
//! A [`Writer`] writes rows: the caller's columns, and those of the results beside them.
//!
//! ```
//! use sentor_files::{DocumentOptions, Documents, Entry, ReadOptions, Source, Table};
//!
//! let csv = "nummer;opmerking\n1;De koffie is lekker\n2;\n";
//! let source = Source::from_reader(Box::new(csv.as_bytes()), "reviews.csv");
//! let table = Table::open(source, &ReadOptions::default())?;
//! let documents = Documents::new(table, &DocumentOptions::default())?;
//! let entries: Vec<Entry> = documents.collect::<Result<_, _>>()?;
//! assert!(matches!(&entries[0], Entry::Document(document) if document.doc_id == "1"));
//! assert!(matches!(&entries[1], Entry::Bad(bad) if bad.to_string() == "3: the text is empty"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing is skipped in silence: a row that cannot be read is an entry of its own, and what was found out or guessed is a
//! [`Notice`].

mod columns;
mod csv;
mod documents;
mod error;
mod format;
mod formula;
mod json;
mod lines;
mod notice;
mod parquet;
mod row;
mod source;
mod table;
mod text;
mod write;
mod xlsx;

pub use columns::{Columns, Role, guess_column};
pub use documents::{Document, DocumentOptions, Documents, Entry};
pub use encoding_rs::Encoding;
pub use error::{BadRow, OpenError, ReadError};
pub use format::Format;
pub use formula::guard_formulas;
pub use notice::{Notice, NoticeKind, Notices};
pub use row::{Item, Row, cell_text};
pub use source::{Progress, Source};
pub use table::{Limits, ReadOptions, Table};
pub use text::parse_encoding;
pub use write::{Cell, Column, ColumnKind, WriteFormat, Writer};
