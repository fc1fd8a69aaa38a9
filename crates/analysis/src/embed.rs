//! Texts to unit vectors, through the same queue and workers as documents to score.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use rayon::prelude::*;
use sentor_engine::encode::Sequence;
use sentor_engine::registry::{ModelFolder, Task};
use sentor_engine::{Engine, SequenceOutput};
use sentor_text::language::Language;

use crate::model::Model;
use crate::stop::StopSignal;
use crate::{AnalysisError, Caller};

/// Who asks for vectors, and until when.
#[derive(Clone, Debug)]
pub struct EmbedOptions {
    /// Requests of one caller share their place in the queue.
    pub caller: Caller,
    /// When the answer is no longer of use.
    pub deadline: Option<Instant>,
}

/// The vectors of a request's texts.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// A vector of length 1 for each text, in order; `None` for a text that the model failed on.
    pub vectors: Vec<Option<Vec<f32>>>,
    /// Model tokens of all texts.
    pub tokens: usize,
}

/// An embedding model as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingModel {
    /// Its name, from the manifest.
    pub name: String,
    /// Its version, from the manifest.
    pub version: String,
}

/// The embedding models of all languages.
#[derive(Debug, Default)]
pub(crate) struct Embedders {
    models: Vec<Embedder>,
    routes: Vec<(Language, usize)>,
}

/// An embedding model, whose tokenizer is read when it is first used.
#[derive(Debug)]
struct Embedder {
    /// Its index in the engine.
    index: usize,
    folder: ModelFolder,
    model: OnceLock<Model>,
    /// Held while it is opened, so that it is opened once.
    opening: Mutex<()>,
}

/// The sequences of a request's texts.
pub(crate) struct Planned {
    pub(crate) sequences: Vec<(usize, Sequence)>,
    /// For each text the tokens of each of its windows, in the order of the sequences.
    pub(crate) windows: Vec<Vec<usize>>,
    pub(crate) tokens: usize,
}

impl Embedders {
    /// The embedders of `routes`, which lead to indices of `folders`.
    pub(crate) fn new(routes: Vec<(Language, usize)>, folders: &[ModelFolder]) -> Self {
        let mut embedders = Self::default();
        for (language, index) in routes {
            let known = embedders.models.iter().position(|embedder| embedder.index == index);
            let embedder = known.unwrap_or_else(|| {
                let folder = folders[index].clone();
                let (model, opening) = (OnceLock::new(), Mutex::new(()));
                embedders.models.push(Embedder { index, folder, model, opening });
                embedders.models.len() - 1
            });
            embedders.routes.push((language, embedder));
        }
        embedders
    }

    pub(crate) fn describe(&self, language: Language) -> Option<EmbeddingModel> {
        let manifest = self.of(language)?.folder.manifest();
        Some(EmbeddingModel { name: manifest.name.clone(), version: manifest.version.clone() })
    }

    fn of(&self, language: Language) -> Option<&Embedder> {
        let route = self.routes.iter().find(|(routed, _)| *routed == language)?;
        self.models.get(route.1)
    }

    /// Loads the language's model if it is not loaded, and lays out the texts.
    pub(crate) fn plan(
        &self,
        texts: &[String],
        language: Language,
        engine: &Engine,
        stop: &StopSignal,
    ) -> Result<Planned, AnalysisError> {
        let embedder = self.of(language).ok_or(AnalysisError::NoEmbeddingModel(language))?;
        let model = embedder.open(engine)?;
        stop.check()?;
        let laid_out = texts.par_iter().map(|text| windows_of(text, model)).collect::<Vec<_>>();
        let mut planned =
            Planned { sequences: Vec::new(), windows: Vec::with_capacity(texts.len()), tokens: 0 };
        for windows in laid_out {
            let lengths: Vec<usize> = windows.iter().map(|sequence| sequence.ids.len()).collect();
            planned.tokens += lengths.iter().sum::<usize>();
            planned.windows.push(lengths);
            planned.sequences.extend(windows.into_iter().map(|sequence| (embedder.index, sequence)));
        }
        Ok(planned)
    }
}

impl Embedder {
    /// The model, ready to run: its files are checked, its tokenizer is read and its network is loaded.
    fn open(&self, engine: &Engine) -> Result<&Model, AnalysisError> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let name = || self.folder.manifest().name.clone();
        let failed = |problem: &dyn std::fmt::Display| {
            tracing::error!(model = name(), %problem, "an embedding model cannot be loaded");
            AnalysisError::EmbeddingModel(name())
        };
        let started = Instant::now();
        let model = Model::open(&self.folder).map_err(|error| failed(&error))?;
        engine.load(self.index).map_err(|error| failed(&error))?;
        let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
        tracing::info!(model = name(), duration_ms, "an embedding model is loaded");
        Ok(self.model.get_or_init(|| model))
    }
}

/// Special tokens round a window.
const WINDOW_MARKS: usize = 2;

/// The sequences of a text: one, or for a long text several of about the same length.
fn windows_of(text: &str, model: &Model) -> Vec<Sequence> {
    // Words are tokenized apart, so that the text may be cut before each.
    let borders = text.match_indices(' ').map(|(at, _)| at);
    let tokens = model.encoder.tokens(text, borders);
    let most = model.manifest.window_tokens - WINDOW_MARKS;
    let count = tokens.len().div_ceil(most).max(1);
    let length = tokens.len().div_ceil(count).max(1);
    let mut windows: Vec<Sequence> =
        tokens.ids.chunks(length).map(|window| model.encoder.sequence(window, &[]).0).collect();
    if windows.is_empty() {
        windows.push(model.encoder.sequence(&[], &[]).0);
    }
    windows
}

/// The vector of each text: the mean of its windows by their lengths, of length 1. Sums have a fixed order.
pub(crate) fn vectors(outputs: &[Option<SequenceOutput>], windows: &[Vec<usize>]) -> Vec<Option<Vec<f32>>> {
    let mut outputs = outputs.iter();
    let vectors = windows.iter().map(|lengths| {
        let own: Vec<_> = outputs.by_ref().take(lengths.len()).collect();
        let mut sum: Vec<f64> = Vec::new();
        for (output, &length) in own.into_iter().zip(lengths) {
            let row = output.as_ref()?.rows(Task::EMBEDDING)?.next()?;
            sum.resize(row.len(), 0.0);
            for (total, &value) in sum.iter_mut().zip(row) {
                *total += f64::from(value) * length as f64;
            }
        }
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        let is_usable = norm.is_finite() && norm > 0.0;
        is_usable.then(|| sum.iter().map(|value| narrow(value / norm)).collect())
    });
    vectors.collect()
}

#[expect(clippy::cast_possible_truncation, reason = "a coordinate of a unit vector")]
fn narrow(value: f64) -> f32 {
    value as f32
}
