//! SIGHUP: reads the configuration again and replaces models, plans, limits, CORS and the static key while the server runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::serve::warn_of_unknown_plans;
use crate::config::{Config, ConfigError, Overrides, Setting};
use crate::http::{App, AppSettings, Services, Stop};
use sentor_analysis::{Analyzer, StartError};
use sentor_store::StoreError;

/// The analyzer in service.
#[derive(Clone, Debug)]
pub(super) struct InService(Arc<Mutex<Arc<Analyzer>>>);

/// The parts of a running server that a reload replaces.
pub(super) struct Reloader {
    pub(super) in_service: InService,
    pub(super) app: Arc<App>,
    pub(super) services: Services,
    /// The settings of the command line, which override the file.
    pub(super) overrides: Overrides,
    /// The configuration that the server started with.
    pub(super) started_with: Config,
}

/// Why nothing was reloaded.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often a retired analyzer is checked for requests that still use it.
const RETIRE_INTERVAL: Duration = Duration::from_millis(50);

impl InService {
    pub(super) fn new(analyzer: Arc<Analyzer>) -> Self {
        Self(Arc::new(Mutex::new(analyzer)))
    }

    /// Ends the workers.
    pub(super) fn shutdown(&self, deadline: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(deadline);
    }

    /// Puts `analyzer` in service and returns the former one.
    fn replace(&self, analyzer: Arc<Analyzer>) -> Arc<Analyzer> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), analyzer)
    }
}

impl Reloader {
    /// Reloads at each hang-up, until the server is to stop. Requests in flight finish with the models and limits that they
    /// began with. An error leaves everything as it was.
    ///
    /// Returns only when no models are being loaded or unloaded: ONNX Runtime crashes if the process ends meanwhile.
    pub(super) async fn run(self, mut hangup: Signal, mut stop: watch::Receiver<Stop>) {
        let mut retired = JoinSet::new();
        let mut current = self.started_with.clone();
        loop {
            tokio::select! {
                () = Stop::Softly.reached(&mut stop) => break,
                Some(()) = hangup.recv() => {}
            }
            while retired.try_join_next().is_some() {}
            let started = Instant::now();
            let overrides = self.overrides.clone();
            let onnxruntime = self.started_with.models.onnxruntime.clone();
            let max_answer_bytes = self.started_with.engine.max_answer_bytes;
            let keys = Arc::clone(&self.services.keys);
            let loaded = tokio::task::spawn_blocking(move || {
                let config = Config::load(&overrides)?;
                // A process loads one ONNX Runtime, and has one budget for answers.
                let settings =
                    sentor_analysis::Settings { onnxruntime, max_answer_bytes, ..config.analyzer_settings() };
                let static_key = config.static_key()?;
                let analyzer = Analyzer::start(&settings)?;
                // Last, so that an error before leaves the old key valid.
                if keys.replace_static_key(static_key.as_ref())? {
                    tracing::info!("the static key is replaced");
                }
                Ok((analyzer, config))
            });
            let (analyzer, config) = match loaded.await {
                Ok(Ok((analyzer, config))) => (Arc::new(analyzer), config),
                Ok(Err::<_, ReloadError>(error)) => {
                    tracing::error!(
                        %error,
                        "cannot reload the models or the configuration: the current ones stay in service"
                    );
                    continue;
                }
                // The panic hook has logged it.
                Err(_) => continue,
            };
            let models: Vec<String> =
                analyzer.models().iter().map(|model| format!("{} {}", model.name, model.version)).collect();
            self.app.make_ready(Arc::clone(&analyzer) as _);
            let old = self.in_service.replace(analyzer);
            self.apply(&config);
            let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
            let settings = reloaded_settings(&current, &config).join(", ");
            tracing::info!(duration_ms, models = models.join(", "), settings, "models are reloaded");
            self.warn_of_the_rest(&config);
            current = config;
            retired.spawn_blocking(move || retire(old));
        }
        retired.join_all().await;
    }

    /// Puts the reloadable settings in force.
    fn apply(&self, config: &Config) {
        self.services.meter.replace_plans(config.plans.clone());
        self.services.meter.set_usage_retention(config.keys.usage_retention_days);
        self.app.replace_settings(AppSettings::from_config(config));
        warn_of_unknown_plans(&self.services);
        for deprecation in config.deprecations() {
            tracing::warn!("{deprecation}");
        }
    }

    /// Names the changed settings that a reload does not apply.
    fn warn_of_the_rest(&self, config: &Config) {
        let changed = self.started_with.differing_settings(config);
        let rest: Vec<&str> =
            changed.iter().filter(|setting| !setting.is_reloadable()).map(|setting| setting.name).collect();
        if !rest.is_empty() {
            tracing::warn!(settings = rest.join(", "), "changed settings that take effect only at a restart");
        }
    }
}

/// The names of the settings that a reload has changed, and `plans` where those differ.
fn reloaded_settings(before: &Config, after: &Config) -> Vec<&'static str> {
    let changed = before.differing_settings(after).into_iter().filter(|setting| setting.is_reloadable());
    let plans = (before.plans != after.plans).then_some("plans");
    changed.map(|setting: &Setting| setting.name).chain(plans).collect()
}

/// Ends the workers of `analyzer` once no request uses it; each request has a deadline, so that moment comes.
fn retire(analyzer: Arc<Analyzer>) {
    while Arc::strong_count(&analyzer) > 1 {
        std::thread::sleep(RETIRE_INTERVAL);
    }
    drop(analyzer);
    tracing::debug!("the replaced models are out of memory");
}
