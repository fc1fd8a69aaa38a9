//! The log: lines on stderr, and what happens to a panic's message.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::PanicHookInfo;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::json_lines::JsonLines;
use crate::config::{LogConfig, LogFormat};

/// Who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// An operator: everything that the settings ask for.
    Operator,
    /// Someone at a terminal, who wants to hear of trouble only, unless the level was set otherwise.
    Person,
}

/// Starts logging to stderr, and keeps the messages of panics out of it: they may quote a document.
///
/// Only the first call in a process has an effect.
pub fn start(config: &LogConfig, audience: Audience) {
    let level = match audience {
        Audience::Person if config.level == "info" => "warn",
        _ => &config.level,
    };
    // ONNX Runtime tells at `info` of every allocation; a directive of the user's own outweighs this one.
    let filter = EnvFilter::builder().parse_lossy(format!("ort=warn,{level}"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match config.format {
        Some(format) => format == LogFormat::Json,
        None => !is_terminal && audience == Audience::Operator,
    };
    // A second call finds a subscriber in place and leaves it there.
    let _ = if is_json {
        subscriber.event_format(JsonLines).fmt_fields(JsonLines).try_init()
    } else {
        subscriber.with_ansi(is_terminal).with_target(false).try_init()
    };
    std::panic::set_hook(Box::new(report_panic));
}

/// Lines on stderr, at once or, of a thread that calls [`write_held_lines`], together with its next ones.
#[derive(Clone, Copy, Debug)]
struct Stderr;

/// Writes one line.
#[derive(Clone, Copy, Debug)]
struct LineWriter {
    may_hold: bool,
}

/// A thread holds back no more than this.
const MAX_HELD_BYTES: usize = 16 * 1024;

thread_local! {
    /// Lines that are not written yet; `None` where the thread holds none back.
    static HELD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes the lines that the calling thread holds back, and has it hold back those that follow, but for warnings and errors, until it
/// calls again. For a thread that calls whenever it is about to wait: no line waits with it, and a burst of them is one write.
pub fn write_held_lines() {
    // A thread that is ending has written them already.
    let _ = HELD.try_with(|held| write_out(held.borrow_mut().get_or_insert_default()));
}

/// Where stderr takes nothing any more there is nobody to tell.
fn write_out(lines: &mut Vec<u8>) {
    if !lines.is_empty() {
        let _ = io::stderr().write_all(lines);
        lines.clear();
    }
}

impl<'writer> MakeWriter<'writer> for Stderr {
    type Writer = LineWriter;

    fn make_writer(&'writer self) -> LineWriter {
        LineWriter { may_hold: true }
    }

    fn make_writer_for(&'writer self, event: &Metadata<'_>) -> LineWriter {
        LineWriter { may_hold: *event.level() > Level::WARN }
    }
}

impl io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_held = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            let Some(lines) = held.as_mut() else { return false };
            lines.extend_from_slice(line);
            if !self.may_hold || lines.len() > MAX_HELD_BYTES {
                write_out(lines);
            }
            true
        });
        if is_held == Ok(true) { Ok(line.len()) } else { io::stderr().write(line) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs where a panic happened. Its message is shown only if it is a constant of the program's text.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(place, reason = message.unwrap_or("panicked; the message is withheld"), "panic");
}
