//! The thread that writes the audit file.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::entry::{Actor, AuditEntry, Event};
use super::file::{AuditError, AuditFile};
use super::store::AuditStore;
use super::throttle::Throttle;
use crate::clock::Clock;
use crate::heartbeat::Heartbeat;
use crate::keys::KeyId;
use crate::sync::lock;

/// The longest time until an entry that another process left is in the file.
const POLL: Duration = Duration::from_secs(1);

/// Lines of refused calls that wait for the thread. More are counted.
const WAITING: usize = 1024;

/// A call of the admin interface that was refused.
#[derive(Clone, Copy, Debug)]
pub struct RefusedCall<'a> {
    /// The key of the caller, if it is a valid one.
    pub caller: Option<&'a KeyId>,
    /// Identifies the request in the log.
    pub request_id: &'a str,
    /// The method of the call.
    pub method: &'a str,
    /// The pattern of the path.
    pub route: &'a str,
    /// The key in the path, if there is one.
    pub id: Option<&'a KeyId>,
    /// The error code of the answer.
    pub code: &'a str,
}

/// Writes the audit file on the thread `audit`, until it is closed or dropped.
#[derive(Debug)]
pub struct AuditLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct Writer {
    sender: SyncSender<Message>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn AuditStore>,
    file: AuditFile,
    clock: Clock,
    throttle: Mutex<Throttle>,
    heartbeat: Heartbeat,
}

#[derive(Debug)]
enum Message {
    /// A line of a refused call.
    Line(String),
    /// The store has a new entry.
    Changed,
    /// Write everything, then hang up.
    Flush(mpsc::Sender<()>),
}

/// Writes the entries of the store that are not yet in the audit file, once, as the command line does after a change.
///
/// # Errors
///
/// If the file or the store fails. The entries stay in the store, and the next process writes them.
pub fn export(store: &dyn AuditStore, data_dir: &Path) -> Result<(), AuditError> {
    AuditFile::new(data_dir).export(store, &[])
}

impl AuditLog {
    /// Opens the audit file in the folder `data_dir`, for its owner alone, and starts to write it.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or the thread cannot be started.
    pub fn start(store: Arc<dyn AuditStore>, data_dir: &Path, clock: Clock) -> Result<Self, AuditError> {
        let file = AuditFile::new(data_dir);
        file.check()?;
        let (throttle, heartbeat) = (Mutex::default(), Heartbeat::start());
        let shared = Arc::new(Shared { store, file, clock, throttle, heartbeat });
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        // Entries that a killed process left are written at once.
        let _ = sender.try_send(Message::Changed);
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(move || writing.run(&receiver));
        let writer = match thread {
            Ok(thread) => Some(Writer { sender, thread }),
            Err(error) => {
                tracing::error!(%error, "cannot start the audit thread: the store keeps the entries until a restart");
                None
            }
        };
        Ok(Self { shared, writer: Mutex::new(writer) })
    }

    /// Tells the thread that the store has a new entry.
    pub fn changed(&self) {
        self.send(Message::Changed);
    }

    /// Writes a line for a refused call, or counts it. Never blocks.
    pub fn refused(&self, call: RefusedCall<'_>) {
        let now = self.shared.clock.moment();
        if !lock(&self.shared.throttle).admit(call.caller, now) {
            return;
        }
        let RefusedCall { caller, request_id, method, route, id, code } = call;
        let actor = Actor::Key { id: caller, request_id };
        let entry = AuditEntry::new(now.wall, actor, Event::AdminRefused { method, route, id, code });
        self.send(Message::Line(entry.as_json().to_owned()));
    }

    /// Waits until everything before this call is in the file, or could not be written.
    pub fn flush(&self) {
        let (done, wait) = mpsc::channel();
        let sender = lock(&self.writer).as_ref().map(|writer| writer.sender.clone());
        if sender.is_some_and(|sender| sender.send(Message::Flush(done)).is_ok()) {
            let _ = wait.recv();
        }
    }

    /// The heartbeat of the thread, once a second.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.shared.heartbeat
    }

    /// Writes what is left and stops the thread.
    pub fn close(&self) {
        if let Some(Writer { sender, thread }) = lock(&self.writer).take() {
            drop(sender);
            // If the thread panicked, the panic hook has logged it.
            let _ = thread.join();
        }
    }

    fn send(&self, message: Message) {
        if let Some(writer) = lock(&self.writer).as_ref() {
            // If the queue is full, a flush is near, and the thread looks into the store at each.
            let _ = writer.sender.try_send(message);
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Writes until all senders are gone.
    fn run(&self, receiver: &Receiver<Message>) {
        let mut lines = Vec::new();
        let mut is_failing = false;
        loop {
            let first = receiver.recv_timeout(POLL);
            let stop = matches!(first, Err(RecvTimeoutError::Disconnected));
            let mut flushed = Vec::new();
            for message in first.into_iter().chain(receiver.try_iter().take(WAITING)) {
                match message {
                    Message::Line(line) => lines.push(line),
                    Message::Changed => {}
                    Message::Flush(done) => flushed.push(done),
                }
            }
            let now = self.clock.moment();
            let counted = {
                let mut throttle = lock(&self.throttle);
                if stop { throttle.take_rest() } else { throttle.take_counted(now) }
            };
            let counts = counted.map(|counted| AuditEntry::new(now.wall, Actor::Server, counted.event()));
            lines.extend(counts.map(|entry| entry.as_json().to_owned()));
            match self.file.export(self.store.as_ref(), &lines) {
                Ok(()) => {
                    lines.clear();
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the audit file can be written again");
                    }
                }
                Err(error) => {
                    // Changes stay in the store. Of refused calls, some wait.
                    lines.truncate(WAITING);
                    if !std::mem::replace(&mut is_failing, true) {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(%error, cause, "cannot write the audit file: changes of keys are in the store");
                    }
                }
            }
            self.heartbeat.beat();
            // Dropping the senders wakes the callers of `flush`.
            drop(flushed);
            if stop {
                return;
            }
        }
    }
}
