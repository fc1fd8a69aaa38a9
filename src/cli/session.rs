//! Starts an analyzer from the global flags, for the commands that score.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sentor_analysis::{Analyzer, Settings};

use super::GlobalArgs;

/// Time for the workers to end; nothing is queued by then.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The analyzer's settings. A command answers no clients meanwhile, so its workers run at normal priority.
pub(super) fn settings(global: &GlobalArgs) -> anyhow::Result<Settings> {
    Ok(Settings {
        worker_niceness: 0,
        max_answer_bytes: usize::MAX,
        ..global.load_config()?.analyzer_settings()
    })
}

/// Loads the models; the workers end with the returned value.
pub(super) fn start(settings: &Settings) -> anyhow::Result<Session> {
    // The messages name the problem and the remedy, so a context would add nothing.
    let analyzer = Analyzer::start(settings)?;
    Ok(Session(Arc::new(analyzer)))
}

/// A running analyzer that is shut down when it goes out of scope.
pub(super) struct Session(pub(super) Arc<Analyzer>);

impl Drop for Session {
    fn drop(&mut self) {
        self.0.shutdown(Instant::now() + SHUTDOWN);
    }
}
