//! What all handlers share.

use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::{Config, LimitsConfig};
use crate::telemetry::{Exporter, Metrics};
use sentor_analysis::{
    AnalysisError, Analyzer, AnalyzerStatistics, Caller, Document, DocumentAnalysis, DocumentError,
    ModelStatus, Options,
};
use sentor_store::Store;
use sentor_store::audit::AuditLog;
use sentor_store::clock::Clock;
use sentor_store::keys::KeyRing;
use sentor_store::metering::Meter;

use super::budget::ByteBudget;
use super::error::{ApiError, ErrorCode};
use super::readiness::StoreProbe;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the server needs of an [`Analyzer`]; a test may bring its own.
pub trait Analyze: Send + Sync {
    /// Scores documents, as [`Analyzer::analyze`] does.
    fn analyze(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> BoxFuture<'_, Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError>>;

    /// Whether a request of at least `body_bytes` would be refused now, as [`Analyzer::precheck`] tells.
    ///
    /// # Errors
    ///
    /// The refusal.
    fn foresee_refusal(
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

    /// What has been done, for metrics; none where nothing is counted.
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

    fn foresee_refusal(
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

/// What the handlers go by.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// How large a request may be.
    pub limits: LimitsConfig,
    /// Connections that a listener has open at a time.
    pub max_connections: usize,
    /// From the head of a request to its answer, where the client does not say.
    pub request_timeout: Duration,
    /// The most that a client may say.
    pub request_timeout_max: Duration,
    /// Bytes of all bodies that are held at one time.
    pub queue_bytes: usize,
    /// For the whole body of a request to arrive.
    pub body_timeout: Duration,
    /// Origins whose pages may call.
    pub cors_origins: Vec<String>,
}

impl AppSettings {
    /// The part of the configuration that concerns handlers.
    pub fn of(config: &Config) -> Self {
        Self {
            limits: config.limits,
            max_connections: config.server.max_connections,
            request_timeout: config.server.request_timeout,
            request_timeout_max: config.server.request_timeout_max.max(config.server.request_timeout),
            queue_bytes: config.engine.max_buffered_bytes,
            body_timeout: config.server.body_timeout,
            cors_origins: config.server.cors_origins.clone(),
        }
    }
}

/// What the server goes by to tell callers apart and to keep account of them.
#[derive(Clone, Debug)]
pub struct Services {
    /// All keys, in memory.
    pub keys: Arc<KeyRing>,
    /// Limits and accounting.
    pub meter: Arc<Meter>,
    /// Where keys are kept.
    pub store: Arc<dyn Store>,
    /// Where changes of keys are written down.
    pub audit: Arc<AuditLog>,
    /// What time it is.
    pub clock: Clock,
}

/// What all handlers share. The server runs, and says that it is not ready, before the models are loaded.
pub struct App {
    pub(super) settings: AppSettings,
    pub(super) services: Services,
    pub(super) metrics: Metrics,
    pub(super) bodies: ByteBudget,
    pub(super) store_probe: StoreProbe,
    analyzer: RwLock<Option<Arc<dyn Analyze>>>,
    exporter: OnceLock<Exporter>,
}

impl App {
    /// An application without models.
    pub fn new(settings: AppSettings, services: Services) -> Self {
        let bodies = ByteBudget::new(settings.queue_bytes);
        let (analyzer, exporter) = (RwLock::default(), OnceLock::new());
        let (metrics, store_probe) = (Metrics::default(), StoreProbe::default());
        Self { settings, services, metrics, bodies, store_probe, analyzer, exporter }
    }

    /// The present moment.
    pub(super) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    /// From now on, documents are scored by `analyzer`. Requests that have begun keep the one that they began with.
    pub fn make_ready(&self, analyzer: Arc<dyn Analyze>) {
        *self.analyzer.write().unwrap_or_else(PoisonError::into_inner) = Some(analyzer);
    }

    /// From now on, traces are sent. Only the first call has an effect.
    pub fn export_traces(&self, exporter: Exporter) {
        let _ = self.exporter.set(exporter);
    }

    /// Who takes traces, if somebody does.
    pub fn exporter(&self) -> Option<&Exporter> {
        self.exporter.get()
    }

    /// The analyzer, once it is there.
    pub(super) fn analyzer(&self) -> Option<Arc<dyn Analyze>> {
        self.analyzer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The analyzer, or the error that says that it is not there yet.
    pub(super) fn ready_analyzer(&self) -> Result<Arc<dyn Analyze>, ApiError> {
        self.analyzer().ok_or_else(|| {
            ApiError::new(ErrorCode::NotReady, "the models are still being loaded").retry_after(1)
        })
    }
}
