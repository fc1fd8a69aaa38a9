//! Settings of the log and the traces.

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// What is logged to stderr, and how; and where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How a line looks; `None`: pretty on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// Level or directives.
    pub level: String,
    /// Address of the collector that takes the steps of traces.
    pub otlp_endpoint: Option<String>,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// For people.
    Pretty,
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "log_format",
        kind: Kind::Choice(&["json", "pretty"]),
        default: Fallback::Unset("pretty on a terminal, json elsewhere"),
        help: "How log lines on stderr look.",
    },
    Setting {
        name: "log_level",
        kind: Kind::LogFilter,
        default: Fallback::Value("info"),
        help: "What is logged: a level, or directives such as info,sentor::http=debug.",
    },
    Setting {
        name: "otlp_endpoint",
        kind: Kind::Text,
        default: Fallback::Unset("traces are followed, and sent nowhere"),
        help: "Collector that takes traces by OTLP over HTTP, such as http://127.0.0.1:4318.",
    },
];

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let format = reader.text_or_unset("log_format").map(|word| match word.as_str() {
            "json" => LogFormat::Json,
            _ => LogFormat::Pretty,
        });
        Self { format, level: reader.text("log_level"), otlp_endpoint: reader.text_or_unset("otlp_endpoint") }
    }
}
