//! The pipeline of a request: plan, submit, aggregate.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rayon::prelude::*;
use sentor_engine::registry::{ModelFolder, Task};
use sentor_engine::{
    DurationStatistics, Engine, EngineSettings, EngineStatistics, ExpectedTokens, Runtime, SequenceOutput,
    Ticket, available_cores,
};
use sentor_text::language::Language;

use crate::background::{self, DropInBackground};
use crate::embed::{self, EmbedOptions, Embedded, Embedders, EmbeddingModel};
use crate::model::{Model, warn_of_dynamic_ranges};
use crate::planner::{Planned, Planner, is_large, rejection};
use crate::settings::{ModelStatus, Settings, StartError};
use crate::stop::StopSignal;
use crate::{AnalysisError, Caller, Document, DocumentAnalysis, DocumentError, Options};

/// Scores documents. A process needs one.
#[derive(Debug)]
pub struct Analyzer {
    engine: Arc<Engine>,
    planner: Arc<Planner>,
    embedders: Arc<Embedders>,
    stages: Mutex<Stages>,
}

/// Counters and gauges of an analyzer, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalyzerStatistics {
    /// From the text of a request to its sequences: languages, sentences, mentions, tokens.
    pub plans: DurationStatistics,
    /// From the outputs of a request to its answer.
    pub aggregations: DurationStatistics,
    /// Everything in between.
    pub engine: EngineStatistics,
}

/// Durations of the steps that the engine does not see.
#[derive(Debug, Default)]
struct Stages {
    plans: DurationStatistics,
    aggregations: DurationStatistics,
}

/// The sequences of one request, on their way through the engine.
struct Pending {
    ticket: Ticket,
    /// The documents in order, each with its number of sequences.
    documents: Vec<(usize, usize)>,
}

impl Analyzer {
    /// Loads ONNX Runtime and the models, starts the workers and warms each up.
    ///
    /// # Errors
    ///
    /// If a file is missing, damaged or of the wrong kind; the message names the file and the remedy.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let runtime = Runtime::load(settings.onnxruntime.as_deref())?;
        let mut folders: Vec<ModelFolder> = Vec::new();
        let mut routes = Vec::new();
        for (language, path) in &settings.models {
            routes.push((*language, open_once(&mut folders, path, Task::Sentiment)?));
        }
        for folder in &folders {
            warn_of_dynamic_ranges(folder);
        }
        let scoring_models = folders.len();
        let mut embedding_routes = Vec::new();
        for (language, path) in &settings.embedding_models {
            if path.exists() {
                embedding_routes.push((*language, open_once(&mut folders, path, Task::Embed)?));
            }
        }
        let embedders = Embedders::new(embedding_routes, &folders);
        let load_embeddings = settings.load_embeddings;
        let is_deferred =
            move |folder: &ModelFolder| folder.manifest().task == Task::Embed && !load_embeddings;
        let workers = settings.workers.unwrap_or_else(available_cores).max(1);
        let engine_settings = EngineSettings {
            workers,
            max_batch_tokens: settings.max_batch_tokens,
            max_queued_tokens: settings.max_queued_tokens,
            cache_bytes: settings.cache_bytes,
            deduplicate: settings.deduplicate,
            niceness: settings.worker_niceness,
        };
        // Checksums and tokenizers take as long as the networks, so both load in parallel.
        let (engine, models) = rayon::join(
            || Engine::start(&runtime, &folders, is_deferred, engine_settings),
            || folders[..scoring_models].par_iter().map(Model::open).collect::<Result<Vec<_>, StartError>>(),
        );
        let planner = Planner {
            models: models?,
            routes,
            fallback_language: settings.fallback_language,
            max_mentions: settings.max_mentions,
            max_answer_bytes: settings.max_answer_bytes,
            max_document_tokens: settings.max_queued_tokens,
        };
        let engine = Arc::new(engine?);
        Ok(Self {
            engine,
            planner: Arc::new(planner),
            embedders: Arc::new(embedders),
            stages: Mutex::default(),
        })
    }

    /// Computes a unit vector for each text, so that texts of one subject are near each other. The texts wait in the
    /// caller's queue like documents to score.
    ///
    /// # Errors
    ///
    /// Where the request as a whole is not answered.
    pub async fn embed(
        &self,
        texts: Vec<String>,
        language: Language,
        options: EmbedOptions,
    ) -> Result<Embedded, AnalysisError> {
        let stop = StopSignal::at(options.deadline);
        let _stop_on_drop = stop.on_drop();
        let (embedders, engine) = (Arc::clone(&self.embedders), Arc::clone(&self.engine));
        let (planned_stop, caller, deadline) = (stop.clone(), options.caller.clone(), options.deadline);
        let submission = background::run(&options.caller, move || {
            let sequences = embedders.plan(&texts, language, &engine, &planned_stop)?;
            let (windows, tokens) = (sequences.windows, sequences.tokens);
            let ticket = engine.submit(sequences.sequences, &caller, deadline).map_err(rejection)?;
            Ok::<_, AnalysisError>((ticket, windows, tokens))
        });
        let submitted = submission.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (ticket, windows, tokens) = submitted?;
        let answer = match options.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), ticket)
                .await
                .map_err(|_elapsed| AnalysisError::DeadlinePassed)?,
            None => ticket.await,
        };
        let outputs = answer.map_err(|_| AnalysisError::ShuttingDown)?;
        Ok(Embedded { vectors: embed::vectors(&outputs, &windows), tokens })
    }

    /// [`Analyzer::embed`] for callers without an async runtime; blocks the thread and knows no deadline.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::embed`].
    pub fn embed_blocking(
        &self,
        texts: &[String],
        language: Language,
        caller: &Caller,
    ) -> Result<Embedded, AnalysisError> {
        let planned = self.embedders.plan(texts, language, &self.engine, &StopSignal::at(None))?;
        let ticket = self.engine.submit(planned.sequences, caller, None).map_err(rejection)?;
        let outputs = ticket.wait().map_err(|_| AnalysisError::ShuttingDown)?;
        Ok(Embedded { vectors: embed::vectors(&outputs, &planned.windows), tokens: planned.tokens })
    }

    /// The embedding model of a language, loaded or not.
    pub fn embedding_model(&self, language: Language) -> Option<EmbeddingModel> {
        self.embedders.describe(language)
    }

    /// Scores `documents` independently of each other, and returns the results in their order. A document that cannot
    /// be scored has its error in its place.
    ///
    /// # Errors
    ///
    /// If the request as a whole is not scored.
    pub async fn analyze(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError> {
        let stop = StopSignal::at(options.deadline);
        // The future of a caller that disconnects is dropped, which stops the work on its request.
        let _stop_on_drop = stop.on_drop();
        let started = Instant::now();
        let is_large = is_large(&documents);
        let (plans, pending) = if is_large {
            let (planner, engine) = (Arc::clone(&self.planner), Arc::clone(&self.engine));
            let (stop, options) = (stop.clone(), options.clone());
            let caller = options.caller.clone();
            let work = move || plan_and_submit(&planner, &engine, &documents, &options, &stop);
            background::run(&caller, work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
        } else {
            plan_and_submit(&self.planner, &self.engine, &documents, &options, &stop)?
        };
        self.stages().plans.record(started.elapsed());
        let Pending { ticket, documents } = pending;
        let plans = DropInBackground::new(plans);
        let answer = match options.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), ticket)
                .await
                .map_err(|_elapsed| AnalysisError::DeadlinePassed)?,
            None => ticket.await,
        };
        let outputs = answer.map_err(|_| AnalysisError::ShuttingDown)?;
        let started = Instant::now();
        let answers = if is_large {
            let work = move || aggregate(plans.into_inner(), outputs, &documents);
            let aggregation = background::run(&options.caller, work);
            aggregation.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        } else {
            aggregate(plans.into_inner(), outputs, &documents)
        };
        self.stages().aggregations.record(started.elapsed());
        Ok(answers)
    }

    /// Like [`Analyzer::analyze`], for callers without an async runtime. Blocks the thread, and has no deadline.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::analyze`].
    #[expect(clippy::needless_pass_by_value, reason = "the same signature as `analyze`")]
    pub fn analyze_blocking(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError> {
        let stop = StopSignal::at(options.deadline);
        let started = Instant::now();
        let planned = plan_and_submit(&self.planner, &self.engine, &documents, &options, &stop)?;
        let (plans, Pending { ticket, documents }) = planned;
        self.stages().plans.record(started.elapsed());
        let outputs = ticket.wait().map_err(|_| AnalysisError::ShuttingDown)?;
        let started = Instant::now();
        let answers = aggregate(plans, outputs, &documents);
        self.stages().aggregations.record(started.elapsed());
        Ok(answers)
    }

    /// Returns the counters, and what is queued now.
    pub fn statistics(&self) -> AnalyzerStatistics {
        let engine = self.engine.statistics();
        let Stages { plans, aggregations, .. } = &*self.stages();
        AnalyzerStatistics { plans: plans.clone(), aggregations: aggregations.clone(), engine }
    }

    /// Counters, which a panic elsewhere does not spoil.
    fn stages(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loaded models.
    pub fn models(&self) -> Vec<ModelStatus> {
        let Planner { models, routes, .. } = &*self.planner;
        let languages_of = |model| {
            let routed = routes.iter().filter(move |&&(_, index)| index == model);
            routed.map(|(language, _)| language.code()).collect()
        };
        models
            .iter()
            .enumerate()
            .map(|(index, Model { manifest, .. })| ModelStatus {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                languages: languages_of(index),
                signature: manifest.signature.name(),
                ready: true,
            })
            .collect()
    }

    /// Accepts no more work, finishes the queue until `deadline`, fails the rest, and stops the workers. Blocks.
    pub fn shutdown(&self, deadline: Instant) {
        self.engine.shutdown(deadline);
    }

    /// Bytes of a request body for which at least one token is expected. Ordinary text has four or five bytes a token, and
    /// JSON around it. The figure is fixed and low: an estimate from recent requests would let a caller with unusual
    /// texts cause rejections of others.
    const BODY_BYTES_PER_TOKEN: usize = 16;

    /// Checks whether a request body of this length would be rejected now.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::analyze`].
    pub fn precheck(
        &self,
        body_bytes: usize,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<(), AnalysisError> {
        let tokens = ExpectedTokens::Guessed((body_bytes / Self::BODY_BYTES_PER_TOKEN).max(1));
        self.engine.precheck(tokens, caller, deadline).map_err(rejection)
    }
}

/// Plans documents, and submits the sequences of all plans at once, so that they are accepted or rejected together.
fn plan_and_submit(
    planner: &Planner,
    engine: &Engine,
    documents: &[Document],
    options: &Options,
    stop: &StopSignal,
) -> Result<(Vec<Planned>, Pending), AnalysisError> {
    let mut plans = planner.plan(documents, options, stop, engine)?;
    stop.check()?;
    let mut sequences = Vec::new();
    let mut documents = Vec::new();
    for (document, plan) in plans.iter_mut().enumerate() {
        if let Ok((model, plan)) = plan {
            let before = sequences.len();
            sequences.extend(plan.take_sequences().into_iter().map(|sequence| (*model, sequence)));
            documents.push((document, sequences.len() - before));
        }
    }
    let ticket = engine.submit(sequences, &options.caller, options.deadline).map_err(rejection)?;
    Ok((plans, Pending { ticket, documents }))
}

/// Opens a folder unless it is open, and returns its index.
fn open_once(folders: &mut Vec<ModelFolder>, path: &Path, expected: Task) -> Result<usize, StartError> {
    if let Some(index) = folders.iter().position(|folder| folder.path() == path) {
        return Ok(index);
    }
    let folder = ModelFolder::open(path)?;
    let actual = folder.manifest().task;
    if actual != expected {
        return Err(StartError::Task { path: path.to_owned(), actual, expected });
    }
    folders.push(folder);
    Ok(folders.len() - 1)
}

/// Computes the scores of all documents. `sequences` has for each planned document its number of sequences.
fn aggregate(
    plans: Vec<Planned>,
    outputs: Vec<Option<SequenceOutput>>,
    sequences: &[(usize, usize)],
) -> Vec<Result<DocumentAnalysis, DocumentError>> {
    let mut outputs = outputs.into_iter();
    let mut sequences = sequences.iter().peekable();
    let with_number = plans.into_iter().enumerate();
    with_number
        .map(|(document, plan)| {
            let (_, plan) = plan?;
            let own = sequences.next_if(|&&(index, _)| index == document).map_or(0, |&(_, count)| count);
            let outputs: Vec<_> = outputs.by_ref().take(own).collect();
            plan.aggregate(&outputs)
        })
        .collect()
}

/// The caller of work without a key.
pub fn local_caller() -> Caller {
    Caller::from("local")
}
