//! The pipeline with its threads, and what becomes of them after a `fork`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sentor_analysis::{
    AnalysisError, Analyzer, Document, DocumentAnalysis, DocumentError, Options, Settings, StartError,
    local_caller,
};
use sentor_engine::{EngineError, available_cores};
use sentor_text::language::LanguageChoice;

/// Most documents that are scored together: enough for the engine to find sequences of similar length.
pub(crate) const BATCH_DOCUMENTS: usize = 64;

/// Most text that is scored together, in bytes, unless one document alone has more.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// One answer for each document, in order.
pub(crate) type Answers = Vec<Result<DocumentAnalysis, DocumentError>>;

/// An analyzer and the threads that wait for it.
pub(crate) struct Core {
    threads: usize,
    process: u32,
    /// `None` once it is closed.
    live: Mutex<Option<Live>>,
}

struct Live {
    analyzer: Arc<Analyzer>,
    planners: Planners,
}

/// The core was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;

impl Core {
    /// Loads the models and starts the threads.
    pub(crate) fn start(settings: &Settings) -> Result<Self, StartError> {
        let threads = settings.workers.unwrap_or_else(available_cores).max(1);
        let settings = Settings { workers: Some(threads), ..settings.clone() };
        // A pool of its own, which ends with the start: the global pool of rayon would stay, and does not survive a fork.
        let no_thread = |error: String| StartError::from(EngineError::Thread(error));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.min(4)).build();
        let pool = pool.map_err(|error| no_thread(error.to_string()))?;
        let analyzer = pool.install(|| Analyzer::start(&settings))?;
        let planners = Planners::start(2 * threads).map_err(|error| no_thread(error.to_string()))?;
        let live = Live { analyzer: Arc::new(analyzer), planners };
        Ok(Self { threads, process: std::process::id(), live: Mutex::new(Some(live)) })
    }

    /// Threads that run the models.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Documents to hold in flight, so that no thread waits while others are read or written.
    pub(crate) fn documents_ahead(&self) -> usize {
        4 * self.threads * BATCH_DOCUMENTS
    }

    /// Has a thread score the documents that `read` returns, and turn the answers into a `T`. The sender of the returned
    /// channel is dropped without a value if that panics.
    pub(crate) fn score<T: Send + 'static>(
        &self,
        language: LanguageChoice,
        read: impl FnOnce() -> Vec<Document> + Send + 'static,
        write: impl FnOnce(Vec<Document>, Result<Answers, AnalysisError>) -> T + Send + 'static,
    ) -> Result<Receiver<T>, Closed> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Live { analyzer, planners } = live.as_ref().ok_or(Closed)?;
        let (sender, receiver) = channel();
        let analyzer = Arc::clone(analyzer);
        planners.run(Box::new(move || {
            let documents = read();
            let answers = score_with_patience(&analyzer, &documents, language);
            // Nobody listens if the caller has given up.
            let _ = sender.send(write(documents, answers));
        }));
        Ok(receiver)
    }

    /// Ends the threads; the batches that they run are finished first. Blocks. Calling it again is harmless.
    pub(crate) fn close(&self) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(live) = live else { return };
        if self.process == std::process::id() {
            live.analyzer.shutdown(Instant::now());
        } else {
            // The threads are those of the process that was forked. Their locks may be held for ever here.
            std::mem::forget(live);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}

/// Tries again while the queue is full: only this process fills it, so it becomes empty.
fn score_with_patience(
    analyzer: &Analyzer,
    documents: &[Document],
    language: LanguageChoice,
) -> Result<Answers, AnalysisError> {
    loop {
        let options = Options { language, caller: local_caller(), deadline: None };
        match analyzer.analyze_blocking(documents.to_vec(), options) {
            Err(AnalysisError::Overloaded { retry_after }) => {
                thread::sleep(retry_after.clamp(Duration::from_millis(10), Duration::from_secs(1)));
            }
            answers => return answers,
        }
    }
}

type Task = Box<dyn FnOnce() + Send>;

/// Threads that plan documents and wait for their scores. They never hold the interpreter.
struct Planners {
    /// `None` while it is dropped.
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl Planners {
    fn start(count: usize) -> std::io::Result<Self> {
        let (sender, receiver) = channel::<Task>();
        let receiver = Arc::new(Mutex::new(receiver));
        let start = |number| {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new().name(format!("sentor-plan-{number}")).spawn(move || work(&receiver))
        };
        let threads = (0..count).map(start).collect::<std::io::Result<_>>()?;
        Ok(Self { tasks: Some(sender), threads })
    }

    fn run(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // The threads hold the receiver until the sender is dropped.
            let _ = tasks.send(task);
        }
    }
}

impl Drop for Planners {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            // A task that panics does not end its thread.
            let _ = thread.join();
        }
    }
}

fn work(tasks: &Mutex<Receiver<Task>>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        // The panic hook has printed it, and the receiver of the answer sees that there is none.
        let _ = catch_unwind(AssertUnwindSafe(task));
    }
}
