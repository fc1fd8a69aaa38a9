//! Scores the rows of an Arrow stream as its reader asks for them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray as _;
use arrow_array::{
    Array as _, ArrayRef, LargeListArray, LargeStringArray, RecordBatch, RecordBatchReader, StructArray,
};
use arrow_cast::{can_cast_types, cast};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use pyo3_arrow::error::PyArrowResult;
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

use sentor_analysis::{Document, MentionSource};
use sentor_text::language::LanguageChoice;

use crate::columns::{ScoreColumns, score_fields};
use crate::core::{Answers, BATCH_BYTES, BATCH_DOCUMENTS, Core};
use crate::engine::problem;

/// Most rows of an output batch, so that a table of a million rows does not come out as one batch.
const BATCH_ROWS: usize = 8192;

/// Where a table has what is scored, and how it is scored.
pub(crate) struct Columns<'a> {
    /// Column of the texts.
    pub(crate) text: &'a str,
    /// Column of the entities.
    pub(crate) entities: Option<&'a str>,
    /// Entities of every row.
    pub(crate) more_entities: Vec<String>,
    pub(crate) language: LanguageChoice,
    pub(crate) mentions: MentionSource,
    /// Stands before the names of the new columns.
    pub(crate) prefix: &'a str,
}

/// The rows of the input with their scores. It can be read once, by whatever reads the Arrow C stream interface.
#[pyclass(frozen, module = "sentor._native")]
pub(crate) struct ArrowStream {
    schema: SchemaRef,
    /// `None` once it is read.
    reader: Mutex<Option<ScoredReader>>,
}

impl ArrowStream {
    /// The error says what is wrong with the columns.
    pub(crate) fn new(
        core: Arc<Core>,
        input: Box<dyn RecordBatchReader + Send>,
        columns: Columns<'_>,
    ) -> Result<Self, String> {
        let reader = ScoredReader::new(core, input, columns)?;
        Ok(Self { schema: Arc::clone(&reader.schema), reader: Mutex::new(Some(reader)) })
    }
}

#[pymethods]
impl ArrowStream {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyArrowResult<Bound<'py, PyCapsule>> {
        to_schema_pycapsule(py, self.schema.as_ref())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyArrowResult<Bound<'py, PyCapsule>> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(reader) = reader else {
            return Err(PyRuntimeError::new_err("the scores were read before; call score_arrow again").into());
        };
        let field = Field::new_struct("", self.schema.fields().clone(), false);
        let arrays = reader.map(|batch| batch.map(|batch| Arc::new(StructArray::from(batch)) as ArrayRef));
        to_stream_pycapsule(py, Box::new(ArrayIterator::new(arrays, field.into())), requested_schema)
    }

    fn __repr__(&self) -> String {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("ArrowStream({})", names.join(", "))
    }
}

struct ScoredReader {
    core: Arc<Core>,
    input: Box<dyn RecordBatchReader + Send>,
    /// Input that is read and not yet submitted.
    unread: Option<RecordBatch>,
    is_ended: bool,
    /// What the input ended with.
    error: Option<ArrowError>,
    text: usize,
    entities: Option<usize>,
    more_entities: Arc<[String]>,
    language: LanguageChoice,
    mentions: MentionSource,
    schema: SchemaRef,
    in_flight: VecDeque<InFlight>,
}

/// Rows that are being scored.
struct InFlight {
    rows: RecordBatch,
    parts: Vec<Receiver<Part>>,
}

/// Scored documents: what the columns take of them.
type Part = Result<(Vec<Document>, Answers), String>;

/// Texts and entities of a batch, which threads share.
struct Rows {
    texts: LargeStringArray,
    entities: Option<LargeListArray>,
    more_entities: Arc<[String]>,
    mentions: MentionSource,
}

impl ScoredReader {
    fn new(
        core: Arc<Core>,
        input: Box<dyn RecordBatchReader + Send>,
        columns: Columns<'_>,
    ) -> Result<Self, String> {
        let Columns { text, entities, more_entities, language, mentions, prefix } = columns;
        let input_schema = input.schema();
        let text = find(&input_schema, text, &DataType::LargeUtf8, "text")?;
        let entities =
            entities.map(|name| find(&input_schema, name, &list_of_text(), "lists of text")).transpose()?;
        let mut fields: Vec<_> = input_schema.fields().iter().cloned().collect();
        for field in score_fields(prefix) {
            if input_schema.column_with_name(field.name()).is_some() {
                return Err(format!(
                    "the table has a column {:?} already; rename it, or give a prefix for the new columns",
                    field.name()
                ));
            }
            fields.push(field);
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, input_schema.metadata().clone()));
        let more_entities = more_entities.into();
        Ok(Self {
            core,
            input,
            unread: None,
            is_ended: false,
            error: None,
            text,
            entities,
            more_entities,
            language,
            mentions,
            schema,
            in_flight: VecDeque::new(),
        })
    }

    /// Reads and submits until enough rows are in flight, or the input ends.
    fn read_ahead(&mut self) {
        let enough = self.core.documents_ahead();
        while !self.is_ended
            && self.in_flight.iter().map(|ahead| ahead.rows.num_rows()).sum::<usize>() < enough
        {
            let batch = match self.unread.take() {
                Some(batch) => batch,
                None => match self.input.next() {
                    None => {
                        self.is_ended = true;
                        return;
                    }
                    Some(Err(error)) => {
                        (self.is_ended, self.error) = (true, Some(error));
                        return;
                    }
                    Some(Ok(batch)) => batch,
                },
            };
            let length = batch.num_rows().min(BATCH_ROWS);
            let rows = batch.slice(0, length);
            if length < batch.num_rows() {
                self.unread = Some(batch.slice(length, batch.num_rows() - length));
            }
            match self.submit(rows) {
                Ok(in_flight) => self.in_flight.push_back(in_flight),
                Err(error) => (self.is_ended, self.error) = (true, Some(error)),
            }
        }
    }

    fn submit(&self, batch: RecordBatch) -> Result<InFlight, ArrowError> {
        let texts = cast(batch.column(self.text), &DataType::LargeUtf8)?.as_string().clone();
        let entities = match self.entities {
            None => None,
            Some(column) => Some(cast(batch.column(column), &list_of_text())?.as_list().clone()),
        };
        let rows = Rows {
            texts,
            entities,
            more_entities: Arc::clone(&self.more_entities),
            mentions: self.mentions.clone(),
        };
        let rows = Arc::new(rows);
        let mut parts = Vec::new();
        let mut start = 0;
        while start < batch.num_rows() {
            let range = start..rows.end_of_part(start);
            start = range.end;
            let rows = Arc::clone(&rows);
            let read = move || rows.documents(range);
            let write = |documents, answers: Result<Answers, _>| match answers {
                Ok(answers) => Ok((documents, answers)),
                Err(error) => Err(problem(&error)),
            };
            let part = self.core.score(self.language, read, write);
            parts.push(part.map_err(|_| ArrowError::ComputeError("the scorer was closed".to_owned()))?);
        }
        Ok(InFlight { rows: batch, parts })
    }
}

impl Iterator for ScoredReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_ahead();
        let Some(in_flight) = self.in_flight.pop_front() else { return self.error.take().map(Err) };
        let schema = Arc::clone(&self.schema);
        Some(detached(move || in_flight.finish(&schema)))
    }
}

impl InFlight {
    /// Waits for the scores, and adds them to the rows.
    fn finish(self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let mut scores = ScoreColumns::default();
        for part in self.parts {
            let part = part.recv().map_err(|_| "the scores were lost: a thread panicked".to_owned());
            let (documents, answers) = part.and_then(|part| part).map_err(ArrowError::ComputeError)?;
            for (document, answer) in documents.iter().zip(answers) {
                scores.push(&document.text, answer);
            }
        }
        let mut columns = self.rows.columns().to_vec();
        columns.extend(scores.finish()?);
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}

/// Runs `work` without the interpreter, which some readers hold while they ask for a batch. Looks at signals first, so that
/// Ctrl-C ends the stream.
fn detached<T: Send>(work: impl FnOnce() -> Result<T, ArrowError> + Send) -> Result<T, ArrowError> {
    let mut work = Some(work);
    let attached = Python::try_attach(|py| {
        py.check_signals().map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let work = work.take();
        Ok(py.detach(|| work.map(|work| work())))
    });
    match (attached, work) {
        (Some(Ok(Some(result))), _) => result,
        (Some(Err(interrupted)), _) => Err(interrupted),
        // The interpreter is about to end.
        (_, Some(work)) => work(),
        _ => Err(ArrowError::ComputeError("the interpreter has ended".to_owned())),
    }
}

impl Rows {
    /// End of the part that starts at row `start`.
    fn end_of_part(&self, start: usize) -> usize {
        let most = (start + BATCH_DOCUMENTS).min(self.texts.len());
        let mut bytes = 0;
        for row in start..most {
            bytes += self.texts.value(row).len();
            if bytes >= BATCH_BYTES {
                return row + 1;
            }
        }
        most
    }

    fn documents(&self, rows: Range<usize>) -> Vec<Document> {
        let document = |row| {
            let text = if self.texts.is_null(row) { "" } else { self.texts.value(row) };
            let own = self.entities.as_ref().filter(|entities| entities.is_valid(row));
            let mut entities: Vec<String> = own.map_or_else(Vec::new, |entities| {
                entities.value(row).as_string::<i64>().iter().flatten().map(str::to_owned).collect()
            });
            let new = self.more_entities.iter().filter(|name| !entities.contains(name)).cloned();
            let new: Vec<String> = new.collect();
            entities.extend(new);
            entities.retain(|name| !sentor_text::is_blank(name));
            Document {
                text: text.to_owned(),
                entities,
                mentions: self.mentions.clone(),
                ..Document::default()
            }
        };
        rows.map(document).collect()
    }
}

fn list_of_text() -> DataType {
    DataType::new_large_list(DataType::LargeUtf8, true)
}

/// Index of a column; the error says that it is not there, or holds something else.
fn find(schema: &Schema, name: &str, kind: &DataType, what: &str) -> Result<usize, String> {
    let Some((index, field)) = schema.column_with_name(name) else {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(format!("there is no column {name:?}; the columns are {}", names.join(", ")));
    };
    let is_text = |kind: &DataType| match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, value) => value.is_string(),
        _ => false,
    };
    let holds = match (field.data_type(), kind) {
        (actual, DataType::LargeUtf8) => is_text(actual),
        (
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _),
            _,
        ) => is_text(item.data_type()),
        (actual, _) => *actual == DataType::Null,
    };
    if holds && can_cast_types(field.data_type(), kind) {
        return Ok(index);
    }
    Err(format!("column {name:?} holds {}, and must hold {what}", field.data_type()))
}
