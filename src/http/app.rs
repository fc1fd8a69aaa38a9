//! The state that all handlers share.

use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::{Config, LimitsConfig, Network};
use crate::telemetry::{Exporter, Metrics};
use sentor_analysis::{
    AnalysisError, Analyzer, AnalyzerStatistics, Caller, Document, DocumentAnalysis, DocumentError,
    EmbedOptions, Embedded, EmbeddingModel, ModelStatus, Options,
};
use sentor_store::Store;
use sentor_store::audit::AuditLog;
use sentor_store::clock::Clock;
use sentor_store::keys::KeyRing;
use sentor_store::metering::Meter;
use sentor_text::language::Language;

use super::budget::ByteBudget;
use super::error::{ApiError, ErrorCode};
use super::jobs::JobService;
use super::readiness::StoreProbe;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The part of an [`Analyzer`] that the server uses; tests have fakes.
pub trait Analyze: Send + Sync {
    /// Scores documents, as [`Analyzer::analyze`] does.
    fn analyze(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> BoxFuture<'_, Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError>>;

    /// Computes a unit vector for each text, as [`Analyzer::embed`] does.
    fn embed(
        &self,
        texts: Vec<String>,
        language: Language,
        options: EmbedOptions,
    ) -> BoxFuture<'_, Result<Embedded, AnalysisError>> {
        drop((texts, options));
        Box::pin(std::future::ready(Err(AnalysisError::NoEmbeddingModel(language))))
    }

    /// The embedding model of a language.
    fn embedding_model(&self, language: Language) -> Option<EmbeddingModel> {
        let _ = language;
        None
    }

    /// Checks whether a request of at least `body_bytes` would be accepted now, before its body is read.
    ///
    /// # Errors
    ///
    /// If it would be rejected.
    fn precheck(
        &self,
        body_bytes: usize,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<(), AnalysisError> {
        let _ = (body_bytes, caller, deadline);
        Ok(())
    }

    /// The loaded models.
    fn models(&self) -> Vec<ModelStatus>;

    /// Counters of the work done, for metrics.
    fn statistics(&self) -> AnalyzerStatistics {
        AnalyzerStatistics::default()
    }
}

impl Analyze for Analyzer {
    fn analyze(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> BoxFuture<'_, Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError>> {
        Box::pin(Analyzer::analyze(self, documents, options))
    }

    fn embed(
        &self,
        texts: Vec<String>,
        language: Language,
        options: EmbedOptions,
    ) -> BoxFuture<'_, Result<Embedded, AnalysisError>> {
        Box::pin(Analyzer::embed(self, texts, language, options))
    }

    fn embedding_model(&self, language: Language) -> Option<EmbeddingModel> {
        Analyzer::embedding_model(self, language)
    }

    fn precheck(
        &self,
        body_bytes: usize,
        caller: &Caller,
        deadline: Option<Instant>,
    ) -> Result<(), AnalysisError> {
        Analyzer::precheck(self, body_bytes, caller, deadline)
    }

    fn models(&self) -> Vec<ModelStatus> {
        Analyzer::models(self)
    }

    fn statistics(&self) -> AnalyzerStatistics {
        Analyzer::statistics(self)
    }
}

/// The settings of handlers.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// Limits on a request's size.
    pub limits: LimitsConfig,
    /// Maximum open connections per listener.
    pub max_connections: usize,
    /// Maximum open connections per peer address.
    pub max_connections_per_address: usize,
    /// Peers to which that limit does not apply.
    pub trusted_proxies: Vec<Network>,
    /// Maximum time from a request's head to its answer, unless the client asks for another.
    pub request_timeout: Duration,
    /// Maximum timeout that a client may ask for.
    pub request_timeout_max: Duration,
    /// Maximum bytes of request bodies in memory.
    pub max_buffered_bytes: usize,
    /// Maximum bytes of answers in memory.
    pub max_answer_bytes: usize,
    /// Maximum time for a request's whole body to arrive.
    pub body_timeout: Duration,
    /// Origins whose pages may call the server.
    pub cors_origins: Vec<String>,
    /// Whether visitors without a key see a scored sample.
    pub demo: bool,
}

impl AppSettings {
    /// The settings of handlers in a configuration.
    pub fn from_config(config: &Config) -> Self {
        Self {
            limits: config.limits,
            max_connections: config.server.max_connections,
            max_connections_per_address: config.server.max_connections_per_address,
            trusted_proxies: config.server.trusted_proxies.clone(),
            request_timeout: config.server.request_timeout,
            request_timeout_max: config.server.request_timeout_max.max(config.server.request_timeout),
            max_buffered_bytes: config.engine.max_buffered_bytes,
            max_answer_bytes: config.engine.max_answer_bytes,
            body_timeout: config.server.body_timeout,
            cors_origins: config.server.cors_origins.clone(),
            demo: config.server.demo,
        }
    }
}

/// The services that identify callers and count their usage.
#[derive(Clone, Debug)]
pub struct Services {
    /// All keys, in memory.
    pub keys: Arc<KeyRing>,
    /// Limits and accounting.
    pub meter: Arc<Meter>,
    /// The store of keys and usage.
    pub store: Arc<dyn Store>,
    /// The log of changes to keys.
    pub audit: Arc<AuditLog>,
    /// The time.
    pub clock: Clock,
}

/// The state that all handlers share. Before the models are loaded the server runs, and reports that it is not ready.
pub struct App {
    settings: RwLock<Arc<AppSettings>>,
    pub(super) services: Services,
    pub(super) metrics: Metrics,
    pub(super) bodies: ByteBudget,
    pub(super) answers: ByteBudget,
    pub(super) store_probe: StoreProbe,
    pub(super) demo: super::demo::Answers,
    analyzer: RwLock<Option<Arc<dyn Analyze>>>,
    exporter: OnceLock<Exporter>,
    jobs: OnceLock<JobService>,
}

impl App {
    /// An application without models.
    pub fn new(settings: AppSettings, services: Services) -> Self {
        let bodies = ByteBudget::new(settings.max_buffered_bytes);
        let answers = ByteBudget::new(settings.max_answer_bytes);
        let (analyzer, exporter) = (RwLock::default(), OnceLock::new());
        let (metrics, store_probe) = (Metrics::default(), StoreProbe::default());
        let demo = super::demo::Answers::default();
        let settings = RwLock::new(Arc::new(settings));
        Self {
            settings,
            services,
            metrics,
            bodies,
            answers,
            store_probe,
            demo,
            analyzer,
            exporter,
            jobs: OnceLock::new(),
        }
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Arc<AppSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force: limits of requests, timeouts and CORS. Connections and byte budgets keep those that the
    /// server started with.
    pub fn replace_settings(&self, settings: AppSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// The present moment.
    pub(super) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    /// Scores documents with `analyzer` from now on. Running requests keep the analyzer that they started with.
    pub fn make_ready(&self, analyzer: Arc<dyn Analyze>) {
        *self.analyzer.write().unwrap_or_else(PoisonError::into_inner) = Some(analyzer);
    }

    /// Takes jobs from now on. Only the first call has an effect.
    pub fn serve_jobs(&self, jobs: JobService) {
        let _ = self.jobs.set(jobs);
    }

    /// What the handlers of jobs work with, if jobs are served.
    pub(super) fn jobs(&self) -> Option<&JobService> {
        self.jobs.get()
    }

    /// Exports traces from now on. Only the first call has an effect.
    pub fn export_traces(&self, exporter: Exporter) {
        let _ = self.exporter.set(exporter);
    }

    /// The exporter of traces, if there is one.
    pub fn exporter(&self) -> Option<&Exporter> {
        self.exporter.get()
    }

    /// The analyzer, once the models are loaded.
    pub(super) fn analyzer(&self) -> Option<Arc<dyn Analyze>> {
        self.analyzer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The analyzer, or the error that the models are still being loaded.
    pub(super) fn ready_analyzer(&self) -> Result<Arc<dyn Analyze>, ApiError> {
        self.analyzer().ok_or_else(|| {
            ApiError::new(ErrorCode::NotReady, "the models are still being loaded").retry_after(1)
        })
    }
}
