//! The log: lines on stderr, and what happens to a panic's message.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

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
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
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

/// Logs where a panic happened. Its message is shown only if it is a constant of the program's text.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(place, reason = message.unwrap_or("panicked; the message is withheld"), "panic");
}
