//! What Python sees of the pipeline.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use sentor_analysis::results::document_result;
use sentor_analysis::{AnalysisError, Document, MentionSource, Settings};
use sentor_engine::Runtime;
use sentor_text::language::{Language, LanguageChoice};
use sentor_text::span::OffsetUnit;

use crate::core::{Answers, Closed, Core};
use crate::stream::{ArrowStream, Columns};

/// Loads the ONNX Runtime library at `path`, once for the process. Keeps the interpreter, so that no other Python thread reads
/// the environment meanwhile.
#[pyfunction]
pub(crate) fn load_runtime(path: &str) -> PyResult<()> {
    Runtime::load(Some(Path::new(path))).map(drop).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Loaded models and the threads that run them.
#[pyclass(frozen, module = "sentor._native")]
pub(crate) struct Engine {
    core: Arc<Core>,
}

/// Scores of some documents that are on their way.
#[pyclass(frozen, module = "sentor._native")]
pub(crate) struct Answer {
    receiver: Mutex<Receiver<Result<Vec<Scored>, String>>>,
}

/// The JSON of a result, or why there is none.
type Scored = Result<Vec<u8>, String>;

/// How long a wait goes on before signals are looked at, so that Ctrl-C ends it.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

#[pymethods]
impl Engine {
    /// Loads the models. `models` has the folder for each language code.
    #[new]
    fn new(
        py: Python<'_>,
        onnxruntime: PathBuf,
        models: Vec<(String, PathBuf)>,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let models: PyResult<Vec<_>> = models
            .into_iter()
            .map(|(code, path)| {
                let language = Language::parse(&code);
                let unknown = || {
                    PyValueError::new_err(format!(
                        "there is no language {code:?}; the languages are en and nl"
                    ))
                };
                Ok((language.ok_or_else(unknown)?, path))
            })
            .collect();
        let settings = Settings {
            onnxruntime: Some(onnxruntime),
            models: models?,
            workers: threads,
            ..Settings::default()
        };
        let core = py.detach(|| Core::start(&settings));
        let core = core.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(Self { core: Arc::new(core) })
    }

    /// Threads that run the models.
    #[getter]
    fn threads(&self) -> usize {
        self.core.threads()
    }

    /// Documents to have in flight, so that no thread waits.
    #[getter]
    fn documents_ahead(&self) -> usize {
        self.core.documents_ahead()
    }

    /// Scores documents, each a text with its entities, on other threads.
    fn submit(
        &self,
        documents: Vec<(String, Vec<String>)>,
        language: &str,
        pronouns: bool,
    ) -> PyResult<Answer> {
        let language = parse_language(language)?;
        let read = move || {
            let document = |(text, entities)| Document {
                text,
                entities,
                mentions: MentionSource::find(pronouns),
                ..Document::default()
            };
            documents.into_iter().map(document).collect()
        };
        let receiver = self.core.score(language, read, |documents, answers| to_json(&documents, answers));
        Ok(Answer { receiver: Mutex::new(receiver.map_err(closed)?) })
    }

    /// Scores the rows of an Arrow stream or array as they are asked for.
    #[pyo3(signature = (data, *, text, entities_column, is_optional, entities, language, pronouns, prefix))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn score_arrow(
        &self,
        data: &Bound<'_, PyAny>,
        text: &str,
        entities_column: Option<&str>,
        is_optional: bool,
        entities: Vec<String>,
        language: &str,
        pronouns: bool,
        prefix: &str,
    ) -> PyResult<ArrowStream> {
        let input = data.extract::<pyo3_arrow::input::AnyRecordBatch>()?.into_reader()?;
        // The column of the usual name need not be there.
        let is_there = |name: &&str| !is_optional || input.schema().column_with_name(name).is_some();
        let columns = Columns {
            text,
            entities: entities_column.filter(is_there),
            more_entities: entities,
            language: parse_language(language)?,
            mentions: MentionSource::find(pronouns),
            prefix,
        };
        ArrowStream::new(Arc::clone(&self.core), input, columns).map_err(PyValueError::new_err)
    }

    /// Ends the threads. Scores that are on their way are lost.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.core.close());
    }
}

#[pymethods]
impl Answer {
    /// Waits for the scores: for each document the JSON of its result as `bytes`, or a `str` that says why it has none.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let scored = loop {
            let received = py.detach(|| {
                let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
                receiver.recv_timeout(SIGNAL_INTERVAL)
            });
            match received {
                Ok(scored) => break scored.map_err(PyRuntimeError::new_err)?,
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err(
                        "the scores were lost: a thread panicked, or they were taken before",
                    ));
                }
            }
        };
        scored
            .into_iter()
            .map(|scored| match scored {
                Ok(json) => Ok(PyBytes::new(py, &json).into_any()),
                Err(problem) => Ok(problem.into_pyobject(py)?.into_any()),
            })
            .collect()
    }
}

fn to_json(documents: &[Document], answers: Result<Answers, AnalysisError>) -> Result<Vec<Scored>, String> {
    let answers = answers.map_err(|error| problem(&error))?;
    let scored = documents.iter().zip(answers).map(|(document, answer)| {
        let analysis = answer.map_err(|error| error.to_string())?;
        let result = document_result(None, &document.text, &analysis, OffsetUnit::CodePoint);
        serde_json::to_vec(&result).map_err(|error| error.to_string())
    });
    Ok(scored.collect())
}

/// What went wrong, for a user of the library.
pub(crate) fn problem(error: &AnalysisError) -> String {
    match error {
        AnalysisError::ShuttingDown => "the scorer was closed".to_owned(),
        AnalysisError::NoModel(language) => {
            let code = language.code();
            format!(
                "no model is loaded for language {code}; give its folder as models={{\"{code}\": FOLDER}}"
            )
        }
        other => other.to_string(),
    }
}

fn parse_language(name: &str) -> PyResult<LanguageChoice> {
    let unknown =
        || PyValueError::new_err(format!("there is no language {name:?}; the languages are en, nl and auto"));
    LanguageChoice::parse(name).ok_or_else(unknown)
}

pub(crate) fn closed(_: Closed) -> PyErr {
    PyRuntimeError::new_err("the scorer was closed")
}
