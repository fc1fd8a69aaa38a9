//! The program as a process: its environment, its output, and a server that listens.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::client::Client;

/// The program with a clean environment.
pub(crate) fn sentor(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sentor"));
    isolate(&mut command, data_dir);
    command
}

/// Removes the developer's settings from the environment of a command, and sets the data folder.
pub(crate) fn isolate(command: &mut Command, data_dir: &Path) {
    for (name, _) in std::env::vars_os() {
        // The program still needs the path of ONNX Runtime.
        if name.to_string_lossy().starts_with("SENTOR_") && name != "SENTOR_ONNXRUNTIME" {
            command.env_remove(name);
        }
    }
    command
        .env("SENTOR_DATA_DIR", data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

pub(crate) fn run(data_dir: &Path, args: &[&str]) -> Output {
    sentor(data_dir).args(args).output().expect("the program starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running server that listens.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
    /// The log so far.
    pub(crate) log: Arc<Mutex<Vec<u8>>>,
    /// Reads the log all the time: a full pipe would block it.
    pub(crate) reader: std::thread::JoinHandle<()>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[], &[])
    }

    pub(crate) fn start_with(data_dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = sentor(data_dir);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-level", "trace"]);
        Self::spawn(command.envs(variables.iter().copied()).args(args))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout can be read");
        let Some(url) = line.trim().strip_prefix("listening on ").map(str::to_owned) else {
            let mut stderr = String::new();
            let _ = child.kill();
            if let Some(mut pipe) = child.stderr.take() {
                let _ = pipe.read_to_string(&mut stderr);
            }
            panic!("the server did not get ready: {line:?} {stderr}");
        };
        let mut pipe = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 1 << 13];
            while let Ok(length @ 1..) = pipe.read(&mut piece) {
                written.lock().expect("no reader panics").extend_from_slice(&piece[..length]);
            }
        });
        Self { child, stdout, log, reader, url }
    }

    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&self.url, Some(key))
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits until the log contains `words`, up to a minute on a busy machine.
    pub(crate) fn wait_for_log(&self, words: &str) {
        let started = Instant::now();
        while !text(&self.log.lock().expect("no reader panics")).contains(words) {
            assert!(started.elapsed() < Duration::from_mins(1), "the log never says {words:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal, and returns the exit code, stdout and the log.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, String, String) {
        self.signal(signal);
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("stdout is text");
        let status = self.child.wait().expect("the server ends");
        self.reader.join().expect("the log is read");
        let log = text(&self.log.lock().expect("no reader panics"));
        assert_eq!(key_in(&log), None, "no log holds a key, not even at its chattiest");
        (status.code(), stdout, log)
    }
}

pub(crate) fn key_in(text: &str) -> Option<String> {
    let found = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    found.filter(|word| word.starts_with("sentor_")).map(str::to_owned).find(|word| word.len() > 40)
}

/// Calls until the answer has this status. On a busy machine that may take longer than the documented second.
pub(crate) fn reaches_status(client: &Client, status: u16) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if client.get("/api/health").status == status {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
