//! The use case itself: prepare, submit, aggregate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::plan::Plan;
use super::{AnalysisError, Caller, Document, DocumentAnalysis, DocumentError, Options};
use crate::background;
use sentor_engine::encode::{EncodeError, Encoder};
use sentor_engine::registry::{Manifest, ModelFolder, QuantisationScheme, RegistryError};
use sentor_engine::{
    DurationStatistics, Engine, EngineError, EngineSettings, EngineStatistics, Runtime, RuntimeError,
    SequenceOutput, SubmitError, Ticket, available_cores,
};
use sentor_text::language::{Detection, Language, LanguageChoice, detect};

/// What an [`Analyzer`] is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The ONNX Runtime library; `None` looks where the set-up step puts it.
    pub onnxruntime: Option<PathBuf>,
    /// The model folder for each language. Languages may share one.
    pub models: Vec<(Language, PathBuf)>,
    /// What `auto` scores a text as whose language it cannot tell.
    pub fallback_language: Language,
    /// Worker threads; `None`: one for each physical core that the process may use.
    pub workers: Option<usize>,
    /// Most padded tokens in a batch, unless a single sequence has more.
    pub max_batch_tokens: usize,
    /// Most tokens in the queue.
    pub max_queued_tokens: usize,
    /// Memory for texts that were scored before, in bytes; 0 keeps none.
    pub cache_bytes: usize,
    /// Whether equal texts that wait or run at one time are run once.
    pub deduplicate: bool,
    /// How far the workers give way to the other threads of the process, 0 to 19.
    pub worker_niceness: u8,
}

impl Default for Settings {
    /// No models yet; the engine as it does best: two million waiting tokens are a few minutes of work and some
    /// 50 MB, and 32 MiB remember some 80,000 sentences.
    fn default() -> Self {
        Self {
            onnxruntime: None,
            models: Vec::new(),
            fallback_language: Language::English,
            workers: None,
            max_batch_tokens: Engine::USUAL_BATCH_TOKENS,
            max_queued_tokens: 2_000_000,
            cache_bytes: 32 << 20,
            deduplicate: true,
            worker_niceness: 0,
        }
    }
}

/// One loaded model, as health and `models list` show it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ModelStatus {
    /// Its name, from the manifest.
    pub name: String,
    /// Its version, from the manifest.
    pub version: String,
    /// Codes of the languages that are routed to it.
    pub languages: Vec<&'static str>,
    /// `span` or `pair`.
    pub signature: &'static str,
    /// Whether a warm-up run has succeeded.
    pub ready: bool,
}

/// Why an [`Analyzer`] could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A model folder is not in order.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A tokenizer is not in order.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// ONNX Runtime is not in order.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Scores documents. One is enough for a process.
#[derive(Debug)]
pub struct Analyzer {
    engine: Engine,
    planner: Arc<Planner>,
    stages: Mutex<Stages>,
}

/// What an analyzer has done and holds: plain numbers, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalyzerStatistics {
    /// From the text of a request to its sequences: languages, sentences, mentions, tokens.
    pub plans: DurationStatistics,
    /// From the outputs of a request to its answer.
    pub aggregations: DurationStatistics,
    /// What lies between.
    pub engine: EngineStatistics,
}

/// Durations of the steps that the engine does not see.
#[derive(Debug, Default)]
struct Stages {
    plans: DurationStatistics,
    aggregations: DurationStatistics,
}

/// Plans documents: all of the work but that of the models.
#[derive(Debug)]
struct Planner {
    models: Vec<Model>,
    routes: Vec<(Language, usize)>,
    fallback_language: Language,
}

/// One document's model and plan, or why it has none.
type Planned = Result<(usize, Plan), DocumentError>;

/// What the pipeline must know of a model; its network is in the engine.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) manifest: Manifest,
    pub(super) encoder: Encoder,
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
    /// Where a file is missing, damaged or not what it should be; the message says which and what to do.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let runtime = Runtime::load(settings.onnxruntime.as_deref())?;
        let mut folders: Vec<ModelFolder> = Vec::new();
        let mut routes = Vec::new();
        for (language, path) in &settings.models {
            let known = folders.iter().position(|folder| folder.path() == path);
            let index = if let Some(index) = known {
                index
            } else {
                folders.push(ModelFolder::open(path)?);
                folders.len() - 1
            };
            routes.push((*language, index));
        }
        for folder in &folders {
            warn_of_dynamic_ranges(folder);
        }
        let workers = settings.workers.unwrap_or_else(available_cores).max(1);
        let engine_settings = EngineSettings {
            workers,
            max_batch_tokens: settings.max_batch_tokens,
            max_queued_tokens: settings.max_queued_tokens,
            cache_bytes: settings.cache_bytes,
            deduplicate: settings.deduplicate,
            niceness: settings.worker_niceness,
        };
        // Checksums and tokenizers take as long as the networks: all at once.
        let (engine, models) = rayon::join(
            || Engine::start(&runtime, &folders, engine_settings),
            || folders.par_iter().map(Model::open).collect::<Result<Vec<_>, StartError>>(),
        );
        let planner = Planner { models: models?, routes, fallback_language: settings.fallback_language };
        let engine = engine?;
        Ok(Self { engine, planner: Arc::new(planner), stages: Mutex::default() })
    }

    /// Scores `documents`, each independently of the others; the answers keep their order. One that cannot be
    /// scored has its error in its place.
    ///
    /// # Errors
    ///
    /// Where the request as a whole is not scored.
    pub async fn analyze(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError> {
        let deadline = options.deadline;
        let started = Instant::now();
        let bytes = total_bytes(&documents);
        let mut plans = if bytes > Planner::PARALLEL_BYTES {
            let (planner, options) = (Arc::clone(&self.planner), options.clone());
            let planning = background::run(move || planner.plan(&documents, &options));
            planning.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
        } else {
            self.planner.plan(&documents, &options)?
        };
        self.stages().plans.record(started.elapsed());
        let mut finished: Vec<_> = plans.iter().map(|_| None).collect();
        let Pending { ticket, documents } = self.submit(&mut plans, &options)?;
        let answer = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), ticket)
                .await
                .map_err(|_elapsed| AnalysisError::DeadlinePassed)?,
            None => ticket.await,
        };
        hand_out(answer.map_err(|_| AnalysisError::ShuttingDown)?, &documents, &mut finished);
        Ok(self.aggregate(plans, finished))
    }

    /// [`Analyzer::analyze`] for callers without an async runtime; blocks the thread and knows no deadline.
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
        let started = Instant::now();
        let mut plans = self.planner.plan(&documents, &options)?;
        self.stages().plans.record(started.elapsed());
        let mut finished: Vec<_> = plans.iter().map(|_| None).collect();
        let Pending { ticket, documents } = self.submit(&mut plans, &options)?;
        hand_out(ticket.wait().map_err(|_| AnalysisError::ShuttingDown)?, &documents, &mut finished);
        Ok(self.aggregate(plans, finished))
    }

    /// What it has done so far, and what waits.
    pub fn statistics(&self) -> AnalyzerStatistics {
        let engine = self.engine.statistics();
        let Stages { plans, aggregations, .. } = &*self.stages();
        AnalyzerStatistics { plans: plans.clone(), aggregations: aggregations.clone(), engine }
    }

    fn aggregate(
        &self,
        plans: Vec<Planned>,
        finished: Vec<Option<Vec<Option<SequenceOutput>>>>,
    ) -> Vec<Result<DocumentAnalysis, DocumentError>> {
        let started = Instant::now();
        let answers = aggregate(plans, finished);
        self.stages().aggregations.record(started.elapsed());
        answers
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

    /// Takes no more work, finishes what is queued until `deadline`, tells the rest, ends the workers. Blocks.
    pub fn shutdown(&self, deadline: Instant) {
        self.engine.shutdown(deadline);
    }

    /// Bytes of a request body for which at least one token is expected. Ordinary text has four or five bytes a token, and
    /// JSON around it. The figure is fixed and low: one that followed the latest requests would let a caller with odd texts
    /// have the requests of others rejected.
    const BODY_BYTES_PER_TOKEN: usize = 16;

    /// Whether a request body of so many bytes would be rejected now, as far as its length tells.
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
        let tokens = (body_bytes / Self::BODY_BYTES_PER_TOKEN).max(1);
        self.engine.precheck(tokens, caller, deadline).map_err(rejection)
    }

    /// Submits the sequences of all plans at once, so that they are accepted or rejected together.
    fn submit(&self, plans: &mut [Planned], options: &Options) -> Result<Pending, AnalysisError> {
        let mut sequences = Vec::new();
        let mut documents = Vec::new();
        for (document, plan) in plans.iter_mut().enumerate() {
            if let Ok((model, plan)) = plan {
                let before = sequences.len();
                sequences.extend(plan.take_sequences().into_iter().map(|sequence| (*model, sequence)));
                documents.push((document, sequences.len() - before));
            }
        }
        let ticket = self.engine.submit(sequences, &options.caller, options.deadline).map_err(rejection)?;
        Ok(Pending { ticket, documents })
    }
}

impl Planner {
    /// Documents together longer than this are planned off the async threads, and several at a time. Below it
    /// (about 1,000 tokens, a millisecond or two of work) handing out the work costs more than it saves.
    const PARALLEL_BYTES: usize = 4096;

    /// Detects the language of each document and plans it.
    fn plan(&self, documents: &[Document], options: &Options) -> Result<Vec<Planned>, AnalysisError> {
        let prepare = |document: &Document| {
            let detection = detect(&document.text);
            let language = self.language_of(&detection, options.language);
            let model = self.route(language)?;
            let plan = Plan::new(document, options.language, language, detection, &self.models[model]);
            Ok(plan.map(|plan| (model, plan)))
        };
        if documents.len() > 1 && total_bytes(documents) > Self::PARALLEL_BYTES {
            documents.par_iter().map(prepare).collect()
        } else {
            documents.iter().map(prepare).collect()
        }
    }

    fn language_of(&self, detection: &Detection, choice: LanguageChoice) -> Language {
        match choice {
            LanguageChoice::Fixed(language) => language,
            LanguageChoice::Auto => detection.language.unwrap_or(self.fallback_language),
        }
    }

    fn route(&self, language: Language) -> Result<usize, AnalysisError> {
        let route = self.routes.iter().find(|(routed, _)| *routed == language);
        route.map(|&(_, model)| model).ok_or(AnalysisError::NoModel(language))
    }
}

impl Model {
    fn open(folder: &ModelFolder) -> Result<Self, StartError> {
        folder.verify()?;
        Ok(Self { manifest: folder.manifest().clone(), encoder: Encoder::open(folder)? })
    }
}

/// Warns that the scores of a model depend a little on the rest of the batch.
fn warn_of_dynamic_ranges(folder: &ModelFolder) {
    if folder.manifest().quantisation == QuantisationScheme::Dynamic {
        tracing::warn!(
            file = %folder.network().display(),
            model = folder.manifest().name,
            "the model is dynamically quantised: the same text can score differently in the last digits, by what \
             shares its batch; quantise it statically to have the same bits each time"
        );
    }
}

fn total_bytes(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.text.len()).sum()
}

fn rejection(error: SubmitError) -> AnalysisError {
    match error {
        // A wait of less than a second is still said as one: the header counts whole seconds.
        SubmitError::Overloaded { retry_after } => {
            AnalysisError::Overloaded { retry_after: retry_after.max(Duration::from_secs(1)) }
        }
        SubmitError::ShuttingDown => AnalysisError::ShuttingDown,
    }
}

/// Distributes the outputs of a request to its documents.
fn hand_out(
    outputs: Vec<Option<SequenceOutput>>,
    documents: &[(usize, usize)],
    finished: &mut [Option<Vec<Option<SequenceOutput>>>],
) {
    let mut outputs = outputs.into_iter();
    for &(document, sequences) in documents {
        finished[document] = Some(outputs.by_ref().take(sequences).collect());
    }
}

fn aggregate(
    plans: Vec<Planned>,
    finished: Vec<Option<Vec<Option<SequenceOutput>>>>,
) -> Vec<Result<DocumentAnalysis, DocumentError>> {
    plans
        .into_iter()
        .zip(finished)
        .map(|(plan, outputs)| {
            let (_, plan) = plan?;
            plan.aggregate(&outputs.unwrap_or_default())
        })
        .collect()
}

/// The name under which work without a key stands in the queue.
pub fn local_caller() -> Caller {
    Caller::from("local")
}
