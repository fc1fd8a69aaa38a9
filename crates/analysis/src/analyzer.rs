//! The use case itself: prepare, submit, aggregate.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::plan::Plan;
use super::{AnalysisError, Caller, Document, DocumentAnalysis, DocumentError, Options};
use crate::background;
use sentor_engine::encode::{EncodeError, Encoder};
use sentor_engine::registry::{Manifest, ModelFolder, QuantisationScheme, RegistryError};
use sentor_engine::{
    Calibration, DurationStatistics, Engine, EngineError, EngineSettings, EngineStatistics, LearntFile,
    RowLogits, Runtime, RuntimeError, SubmitError, Ticket, available_cores,
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
    /// Worker threads, each with a session of its own; `None`: one for each physical core that the process may use.
    pub workers: Option<usize>,
    /// Most padded tokens in one run of a model; `None`: as was learnt of each.
    pub run_tokens: Option<usize>,
    /// Where it is kept what was learnt of models; `None`: nowhere.
    pub learnt_file: Option<PathBuf>,
    /// Most padded tokens that wait in the queue.
    pub queue_tokens: usize,
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
            run_tokens: None,
            learnt_file: None,
            queue_tokens: 2_000_000,
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
    /// What is kept of models between starts, where runs are to be as was learnt.
    learnt: Option<LearntFile>,
    folders: Vec<ModelFolder>,
}

/// What an analyzer has done and holds: plain numbers, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalyzerStatistics {
    /// From the text of a request to its rows: languages, sentences, mentions, tokens.
    pub plans: DurationStatistics,
    /// From the logits of a request to its answer.
    pub aggregations: DurationStatistics,
    /// What lies between.
    pub engine: EngineStatistics,
}

/// Durations of the steps that the engine does not see.
#[derive(Debug, Default)]
struct Stages {
    plans: DurationStatistics,
    aggregations: DurationStatistics,
    density: TokenDensity,
}

/// How many tokens the rows of a request have for each byte of its texts, as the latest requests had them.
#[derive(Clone, Copy, Debug)]
struct TokenDensity(f64);

impl Default for TokenDensity {
    /// Ordinary text has four or five bytes a token, and JSON round it: until the first request, a quarter of that.
    fn default() -> Self {
        Self(1.0 / 16.0)
    }
}

impl TokenDensity {
    /// What one more request counts.
    const NEWEST: f64 = 1.0 / 16.0;

    fn note(&mut self, bytes: usize, tokens: usize) {
        if bytes > 0 {
            self.0 += (tokens as f64 / bytes as f64 - self.0) * Self::NEWEST;
        }
    }

    /// Tokens of a body of so many bytes, at least one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of tokens"
    )]
    fn of(self, bytes: usize) -> usize {
        ((bytes as f64 * self.0) as usize).max(1)
    }
}

/// Lays out the rows of documents: all of the work but the models'.
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

/// The rows of one request, on their way through the engine.
struct Pending {
    ticket: Ticket,
    /// Which documents they belong to, and how many rows each has, in order.
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
            run_tokens: settings.run_tokens.unwrap_or(Calibration::USUAL_RUN_TOKENS),
            queue_tokens: settings.queue_tokens,
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
        let learnt = settings.learnt_file.clone().filter(|_| settings.run_tokens.is_none());
        let learnt = learnt.map(LearntFile::new);
        for (model, folder) in folders.iter().enumerate() {
            if let Some(known) = learnt.as_ref().and_then(|learnt| learnt.find(folder)) {
                engine.calibrate(model, known);
            }
        }
        Ok(Self { engine, planner: Arc::new(planner), stages: Mutex::default(), learnt, folders })
    }

    /// Learns how the models are run best on this processor, as far as the file of learnt things does not know, and
    /// keeps it there. Returns at once: the workers make the trials when they are all idle, each a run of at most a
    /// tenth of a second. Does nothing where `run_tokens` is set, or there is no such file.
    pub fn learn_when_idle(&self) {
        let Some(learnt) = self.learnt.clone() else { return };
        let is_unknown = |&model: &usize| learnt.find(&self.folders[model]).is_none();
        let unknown: Vec<usize> = (0..self.folders.len()).filter(is_unknown).collect();
        if unknown.is_empty() {
            return;
        }
        let (tell, told) = mpsc::channel();
        let folders = self.folders.clone();
        let keeping = std::thread::Builder::new().name("learnt".to_owned()).spawn(move || {
            for (model, calibration) in told {
                keep(&learnt, &folders[model], calibration);
            }
        });
        match keeping {
            Ok(_) => self.engine.learn(&unknown, tell),
            Err(error) => tracing::warn!(%error, "cannot learn how the models are run best"),
        }
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
        self.note_plans(started, bytes, &plans);
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
        self.note_plans(started, total_bytes(&documents), &plans);
        let mut finished: Vec<_> = plans.iter().map(|_| None).collect();
        let Pending { ticket, documents } = self.submit(&mut plans, &options)?;
        hand_out(ticket.wait().map_err(|_| AnalysisError::ShuttingDown)?, &documents, &mut finished);
        Ok(self.aggregate(plans, finished))
    }

    /// Counts the planning of `bytes` of text that began at `started` and is over now.
    fn note_plans(&self, started: Instant, bytes: usize, plans: &[Planned]) {
        let tokens = plans.iter().flatten().map(|(_, plan)| plan.row_tokens()).sum();
        let mut stages = self.stages();
        stages.plans.note(started.elapsed());
        stages.density.note(bytes, tokens);
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
        finished: Vec<Option<Vec<RowLogits>>>,
    ) -> Vec<Result<DocumentAnalysis, DocumentError>> {
        let started = Instant::now();
        let answers = aggregate(plans, finished);
        self.stages().aggregations.note(started.elapsed());
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

    /// Whether a request of at least so many bytes would be refused now, as far as that can be told before it is read.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::analyze`].
    pub fn foresee_refusal(
        &self,
        body_bytes: usize,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<(), AnalysisError> {
        let tokens = self.stages().density.of(body_bytes);
        self.engine.foresee_refusal(tokens, caller, deadline).map_err(refusal)
    }

    /// Submits the rows of all plans at once, so that they are taken or refused together.
    fn submit(&self, plans: &mut [Planned], options: &Options) -> Result<Pending, AnalysisError> {
        let mut rows = Vec::new();
        let mut documents = Vec::new();
        for (document, plan) in plans.iter_mut().enumerate() {
            if let Ok((model, plan)) = plan {
                let before = rows.len();
                rows.extend(plan.take_rows().into_iter().map(|row| (*model, row)));
                documents.push((document, rows.len() - before));
            }
        }
        let ticket = self.engine.submit(rows, &options.caller, options.deadline).map_err(refusal)?;
        Ok(Pending { ticket, documents })
    }
}

impl Planner {
    /// Documents together longer than this are planned off the async threads, and several at a time. Below it
    /// (about 1,000 tokens, a millisecond or two of work) handing out the work costs more than it saves.
    const PARALLEL_BYTES: usize = 4096;

    /// Finds the language of each document and lays out its rows.
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

/// Keeps what was learnt for the next start.
fn keep(learnt: &LearntFile, folder: &ModelFolder, calibration: Calibration) {
    let Calibration { run_tokens, start_tokens } = calibration;
    let model = &folder.manifest().name;
    tracing::info!(model, run_tokens, start_tokens, "learnt how the model is run best");
    if let Err(error) = learnt.keep(folder, calibration) {
        // Where the folder cannot be written, that is so at each start, and no fault.
        tracing::info!(
            path = %learnt.path().display(), %error,
            "cannot keep what was learnt; it is learnt again at the next start"
        );
    }
}

/// Says that a model's scores of a text depend a little on what shares its run.
fn warn_of_dynamic_ranges(folder: &ModelFolder) {
    if folder.manifest().quantisation == QuantisationScheme::Dynamic {
        tracing::warn!(
            file = %folder.network().display(),
            model = folder.manifest().name,
            "the model is dynamically quantised: the same text can score differently in the last digits, by what \
             shares its run; quantise it statically to have the same bits each time"
        );
    }
}

fn total_bytes(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.text.len()).sum()
}

fn refusal(error: SubmitError) -> AnalysisError {
    match error {
        // A wait of less than a second is still said as one: the header counts whole seconds.
        SubmitError::Overloaded { retry_after } => {
            AnalysisError::Overloaded { retry_after: retry_after.max(Duration::from_secs(1)) }
        }
        SubmitError::ShuttingDown => AnalysisError::ShuttingDown,
    }
}

/// Deals a job's logits out to its documents.
fn hand_out(logits: Vec<RowLogits>, documents: &[(usize, usize)], finished: &mut [Option<Vec<RowLogits>>]) {
    let mut logits = logits.into_iter();
    for &(document, rows) in documents {
        finished[document] = Some(logits.by_ref().take(rows).collect());
    }
}

fn aggregate(
    plans: Vec<Planned>,
    finished: Vec<Option<Vec<RowLogits>>>,
) -> Vec<Result<DocumentAnalysis, DocumentError>> {
    plans
        .into_iter()
        .zip(finished)
        .map(|(plan, logits)| {
            let (_, plan) = plan?;
            plan.aggregate(&logits.unwrap_or_default())
        })
        .collect()
}

/// The name under which work without a key stands in the queue.
pub fn local_caller() -> Caller {
    Caller::from("local")
}
