//! Settings of the log and of traces.

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// The log on stderr, and the collector of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Format of a line; `None`: pretty on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// Level or directives.
    pub level: String,
    /// Address of the collector of traces; `None`: the server exports none.
    pub otlp_endpoint: Option<String>,
}

/// Format of a log line.
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
        help: "Format of log lines on stderr.",
    },
    Setting {
        name: "log_level",
        kind: Kind::LogFilter,
        default: Fallback::Value("info"),
        help: "A level, or directives such as info,sentor::http=debug.",
    },
    Setting {
        name: "otlp_endpoint",
        kind: Kind::Text,
        default: Fallback::Unset("no export, unless OTEL_EXPORTER_OTLP_ENDPOINT names a collector"),
        help: "Collector of traces, by OTLP over HTTP with protobuf, such as http://127.0.0.1:4318. The OTEL_ variables of the \
               OpenTelemetry SDK set headers, certificate, batches and resource attributes.",
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
