//! Log lines as JSON, written straight into the line.
//!
//! The library's own formatter builds a line field by field through two serializers, and reads back the fields of a span that it has
//! written. A line is written for every request, and of a request that is refused under overload it took two fifths of the
//! processor time. The lines look the same.

use std::fmt::{self, Debug, Display, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events, and the fields of spans, as JSON: one object a line, with the fields of the event beside `timestamp`, `level` and
/// `target`, and the innermost span, if any, as `span`.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        write!(line, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut members = Members { out: &mut line, is_first: false, target: None, outcome: Ok(()) };
        event.record(&mut members);
        let Members { target, outcome, .. } = members;
        outcome?;
        line.write_str(",\"target\":")?;
        write_string(&mut line, target.as_deref().unwrap_or_else(|| event.metadata().target()))?;
        let span = event.parent().and_then(|id| context.span(id)).or_else(|| context.lookup_current());
        if let Some(span) = span {
            line.write_str(",\"span\":{\"name\":")?;
            write_string(&mut line, span.name())?;
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(line, ",{fields}")?;
            }
            line.write_char('}')?;
        }
        line.write_str("}\n")
    }
}

impl<'writer> FormatFields<'writer> for JsonLines {
    /// Writes the members of an object, without its braces.
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members { out: &mut out, is_first: true, target: None, outcome: Ok(()) };
        fields.record(&mut members);
        members.outcome
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        if !current.fields.is_empty() {
            current.fields.push(',');
        }
        self.format_fields(current.as_writer(), fields)
    }
}

/// Writes fields as members of an object.
struct Members<'a, W> {
    out: &'a mut W,
    is_first: bool,
    /// The target of an event that came by the crate `log`, which has it as a field.
    target: Option<String>,
    outcome: fmt::Result,
}

impl<W: Write> Members<'_, W> {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut W) -> fmt::Result) {
        if self.outcome.is_ok() && !is_of_log(field) {
            self.outcome = self.put_named(field.name(), value);
        }
    }

    /// Puts a value that JSON writes as Rust does.
    fn put_bare(&mut self, field: &Field, value: impl Display) {
        self.put(field, |out| write!(out, "{value}"));
    }

    fn put_named(&mut self, name: &str, value: impl FnOnce(&mut W) -> fmt::Result) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.out.write_char(',')?;
        }
        write_string(self.out, name)?;
        self.out.write_char(':')?;
        value(self.out)
    }
}

/// Whether a field is one of those by which an event of the crate `log` tells where it is from.
fn is_of_log(field: &Field) -> bool {
    field.name().starts_with("log.")
}

impl<W: Write> Visit for Members<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, |out| {
            out.write_char('"')?;
            write!(Escaped(out), "{value:?}")?;
            out.write_char('"')
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        self.put(field, |out| write_string(out, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no others.
        self.put(
            field,
            |out| if value.is_finite() { write!(out, "{value:?}") } else { out.write_str("null") },
        );
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_bare(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put_bare(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put_bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_bare(field, value);
    }
}

fn write_string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    Escaped(out).write_str(text)?;
    out.write_char('"')
}

/// Writes what may stand between the quotes of a JSON string.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            // An ASCII byte, so these are whole characters.
            self.0.write_str(&text[plain..at])?;
            plain = at + 1;
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                _ => write!(self.0, "\\u{byte:04x}")?,
            }
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What `log` logs, as the values of its lines, without their times.
    fn lines_of(log: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(lines.clone())
            .event_format(JsonLines)
            .fmt_fields(JsonLines);
        tracing::subscriber::with_default(subscriber.finish(), log);
        let bytes = lines.0.lock().expect("nobody panicked").clone();
        let text = String::from_utf8(bytes).expect("it is text");
        text.lines()
            .map(|line| {
                let mut value: Value = serde_json::from_str(line).expect(line);
                let time = value.as_object_mut().expect("an object").remove("timestamp");
                let time = time.as_ref().and_then(Value::as_str).expect("a time");
                assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
                value
            })
            .collect()
    }

    #[test]
    fn a_line_has_the_event_and_its_innermost_span() {
        let target = module_path!();
        let lines = lines_of(|| {
            tracing::info!(count = 3_u64, ratio = 0.0, whole = -4, sure = true, none = None::<&str>, "plain");
            let _outer = tracing::info_span!("outer", hidden = 1).entered();
            let inner = tracing::info_span!("inner", id = %"a\"b", later = tracing::field::Empty).entered();
            tracing::warn!(reason = ?Some("x\ny"), nothing = f64::NAN, "within");
            inner.record("later", "c");
            tracing::error!(target: "elsewhere", "again");
        });
        let expected = [
            json!({"level": "INFO", "message": "plain", "count": 3, "ratio": 0.0, "whole": -4, "sure": true, "target": target}),
            json!({"level": "WARN", "message": "within", "reason": "Some(\"x\\ny\")", "nothing": null, "target": target,
                   "span": {"name": "inner", "id": "a\"b"}}),
            json!({"level": "ERROR", "message": "again", "target": "elsewhere",
                   "span": {"name": "inner", "id": "a\"b", "later": "c"}}),
        ];
        assert_eq!(lines, expected);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>(), shown in "[\\x00-\\x7f\"\\\\]{0,20}") {
            let lines = lines_of(|| tracing::info!(text, shown = %shown, "any"));
            prop_assert_eq!(&lines[0]["text"], &json!(text));
            prop_assert_eq!(&lines[0]["shown"], &json!(shown));
        }
    }
}
