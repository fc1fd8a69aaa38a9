//! The log: lines on stderr, written by a separate thread, and the panic hook.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// The readers of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// An operator: the log has the level of the settings.
    Operator,
    /// A person at a terminal: warnings only, unless the settings have another level than the default.
    Person,
}

/// Writes the remaining lines when it is dropped. If stderr blocks, it waits for a second at most.
#[derive(Debug)]
#[must_use = "dropping it ends the log"]
pub struct LogGuard {
    _writer: WorkerGuard,
}

/// Maximum queued lines. With some 500 bytes a line this is 8 MB, and half a minute at 500 requests a second.
const MAX_WAITING_LINES: usize = 16 * 1024;

/// Counter of the lines that found the queue full; set by the first [`start`].
static LOST_LINES: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts logging to stderr. Logging never blocks: if stderr does, up to `MAX_WAITING_LINES` lines are queued, and
/// further ones are lost and counted.
///
/// Also sets a panic hook that keeps panic messages out of the log, since they may quote a document. Only the first call
/// in a process has an effect.
pub fn start(config: &LogConfig, audience: Audience) -> LogGuard {
    let level = match audience {
        Audience::Person if config.level == "info" => "warn",
        _ => &config.level,
    };
    let is_terminal = io::stderr().is_terminal();
    let is_json = match config.format {
        Some(format) => format == LogFormat::Json,
        None => !is_terminal && audience == Audience::Operator,
    };
    let (writer, guard) = non_blocking(stderr(), is_json, MAX_WAITING_LINES);
    let lost_lines = writer.error_counter();
    let filter = EnvFilter::builder().parse_lossy(directives(level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = if is_json {
        subscriber.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        subscriber.with_ansi(is_terminal).with_target(false).try_init()
    };
    if started.is_ok() {
        // Libraries that log through the crate `log` write texts at level trace, letter by letter (`tokenizers`).
        log::set_max_level(log::max_level().min(log::LevelFilter::Info));
        let _ = LOST_LINES.set(lost_lines);
        std::panic::set_hook(Box::new(report_panic));
    }
    LogGuard { _writer: guard }
}

/// Returns the number of log lines lost so far because stderr was too slow.
pub(super) fn lost_lines() -> u64 {
    LOST_LINES.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Returns the filter for a level or directives of the settings.
///
/// A level below `info` applies to the project's own crates only. Other crates stay at `info`, unless a directive names
/// them: at lower levels they may log texts or headers. ONNX Runtime stays at `warn`, since it logs each allocation at
/// `info`.
fn directives(level: &str) -> String {
    let (named, bare): (Vec<&str>, Vec<&str>) =
        level.split(',').map(str::trim).partition(|directive| directive.contains('='));
    let Some(bare) = bare.last().map(|level| level.to_ascii_lowercase()) else {
        return format!("ort=warn,{}", named.join(","));
    };
    let others = if ["debug", "trace"].contains(&&*bare) { "info" } else { &bare };
    let ort = if ["off", "error"].contains(&&*bare) { &bare } else { "warn" };
    let own = format!("sentor={bare}");
    let ort = format!("ort={ort}");
    [&[others, &own, &ort], &named[..]].concat().join(",")
}

/// Returns a separate handle of stderr, so that a blocked write does not hold the lock of [`io::stderr`].
fn stderr() -> Box<dyn Write + Send> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => Box::new(File::from(stderr)),
        Err(_) => Box::new(io::stderr()),
    }
}

/// A writer that never blocks, and the thread behind it.
fn non_blocking(
    out: impl Write + Send + 'static,
    is_json: bool,
    max_waiting_lines: usize,
) -> (NonBlocking, WorkerGuard) {
    let counter = Arc::new(OnceLock::new());
    let out = ReportingWriter { out: BufWriter::new(out), is_json, lost: Arc::clone(&counter), reported: 0 };
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(max_waiting_lines)
        .thread_name("log")
        .finish(out);
    // The counter exists only once the writer does.
    let _ = counter.set(writer.error_counter());
    (writer, guard)
}

/// Writes lines, and one about lost lines. The log's thread flushes it whenever the queue is empty.
struct ReportingWriter<W: Write> {
    out: BufWriter<W>,
    is_json: bool,
    lost: Arc<OnceLock<ErrorCounter>>,
    /// Lost lines that have been reported.
    reported: usize,
}

impl<W: Write> Write for ReportingWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.out.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost == self.reported {
            return Ok(());
        }
        let lines = lost - self.reported;
        let (now, message) = (Timestamp::now(), "log lines were lost: stderr took them too slowly");
        if self.is_json {
            let line = serde_json::json!({
                "timestamp": now.to_string(), "level": "WARN", "message": message, "lines": lines,
                "target": module_path!(),
            });
            writeln!(self.out, "{line}")?;
        } else {
            writeln!(self.out, "{now}  WARN {message} lines={lines}")?;
        }
        self.reported = lost;
        self.out.flush()
    }
}

/// Logs the place of a panic. The message is logged only if it is a constant, which cannot contain a document.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(place, reason = message.unwrap_or("panicked; the message is withheld"), "panic");
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    #[test]
    fn a_low_level_applies_to_the_own_crates_only() {
        for (level, expected) in [
            ("info", "info,sentor=info,ort=warn"),
            ("trace", "info,sentor=trace,ort=warn"),
            ("DEBUG", "info,sentor=debug,ort=warn"),
            ("off", "off,sentor=off,ort=off"),
            ("warn,sentor::http=trace", "warn,sentor=warn,ort=warn,sentor::http=trace"),
            ("h2=debug, trace", "info,sentor=trace,ort=warn,h2=debug"),
            ("sentor=debug", "ort=warn,sentor=debug"),
        ] {
            assert_eq!(directives(level), expected, "{level}");
        }
    }

    /// Takes a line only when the test receives it, as a pipe that nobody reads takes none.
    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read_all(lines: &Receiver<String>) -> String {
        lines.iter().collect()
    }

    #[test]
    fn a_blocked_pipe_blocks_no_caller_and_lost_lines_are_reported() {
        let (sender, lines) = sync_channel(0);
        let (mut writer, guard) = non_blocking(Pipe(sender), true, 10);
        let counter = writer.error_counter();
        for number in 0..100 {
            // Longer than the buffer in front of the pipe, so that the first one blocks the thread.
            writer.write_all(format!("{number}{}\n", " ".repeat(10_000)).as_bytes()).expect("it never fails");
        }
        let lost = counter.dropped_lines();
        assert!(lost >= 80, "{lost}");
        let reader = std::thread::spawn(move || read_all(&lines));
        drop(guard);
        drop(writer);
        let written = reader.join().expect("the reader does not panic");
        assert!(written.starts_with("0 "), "{}", &written[..10]);
        let report = written.lines().last().expect("there is a line");
        let report: serde_json::Value = serde_json::from_str(report).expect("the report is JSON");
        assert_eq!((&report["lines"], &report["level"]), (&lost.into(), &"WARN".into()));
    }
}
