//! Models that are loaded anew while the server runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Config, ConfigError, Overrides};
use crate::http::{App, Stop};
use sentor_analysis::{Analyzer, StartError};

/// The analyzer that is in service.
#[derive(Clone, Debug)]
pub(super) struct InService(Arc<Mutex<Arc<Analyzer>>>);

/// Why the models were not loaded anew.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// How often it is looked whether a request still uses models that have been replaced.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl InService {
    pub(super) fn new(analyzer: Arc<Analyzer>) -> Self {
        Self(Arc::new(Mutex::new(analyzer)))
    }

    /// Ends the workers.
    pub(super) fn shutdown(&self, deadline: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(deadline);
    }

    /// At each hang-up reads the configuration and the models anew, and changes over to them. Requests that have
    /// begun are finished by the models that they began with. What cannot be loaded leaves all as it was.
    ///
    /// Ends when the server is to stop, and no sooner than models are loaded and unloaded: ONNX Runtime does not bear
    /// the end of the process meanwhile.
    pub(super) async fn reload_at(
        self,
        mut hangup: Signal,
        mut stop: watch::Receiver<Stop>,
        app: Arc<App>,
        overrides: Overrides,
    ) {
        let mut retired = JoinSet::new();
        loop {
            tokio::select! {
                () = Stop::Softly.told(&mut stop) => break,
                Some(()) = hangup.recv() => {}
            }
            while retired.try_join_next().is_some() {}
            let started = Instant::now();
            let overrides = overrides.clone();
            let loaded = tokio::task::spawn_blocking(move || load(&overrides)).await;
            let analyzer = match loaded {
                Ok(Ok(analyzer)) => Arc::new(analyzer),
                Ok(Err(error)) => {
                    tracing::error!(%error, "cannot load the models anew; those in service stay");
                    continue;
                }
                // The panic hook has logged it.
                Err(_) => continue,
            };
            let models: Vec<String> =
                analyzer.models().iter().map(|model| format!("{} {}", model.name, model.version)).collect();
            app.make_ready(Arc::clone(&analyzer) as _);
            let old =
                std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), analyzer);
            let duration_ms = started.elapsed().as_secs_f64() * 1000.0;
            tracing::info!(duration_ms, models = models.join(", "), "models are loaded anew");
            retired.spawn_blocking(move || retire(old));
        }
        retired.join_all().await;
    }
}

fn load(overrides: &Overrides) -> Result<Analyzer, ReloadError> {
    Ok(Analyzer::start(&Config::load(overrides)?.analyzer_settings())?)
}

/// Ends the workers of `analyzer` once no request uses it; each has a deadline, so that moment comes.
fn retire(analyzer: Arc<Analyzer>) {
    while Arc::strong_count(&analyzer) > 1 {
        std::thread::sleep(LOOK_EVERY);
    }
    drop(analyzer);
    tracing::debug!("the replaced models are out of memory");
}
