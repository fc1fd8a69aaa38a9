//! The place of a request in a trace, by W3C Trace Context (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

use uuid::Uuid;

/// Identifies a trace: all spans with one cause, across programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub(super) [u8; 16]);

/// Identifies a span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(pub(super) [u8; 8]);

/// The place of a request in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The caller's trace, or a new one.
    pub trace_id: TraceId,
    /// The span of this request.
    pub span_id: SpanId,
    /// The caller's span, if it named one.
    pub parent_id: Option<SpanId>,
    /// Whether the trace is sampled: as the caller's flag says, or true without one.
    pub sampled: bool,
}

impl TraceContext {
    /// Parses a header `traceparent`. A missing or broken one begins a new trace.
    pub fn follow(traceparent: Option<&str>) -> Self {
        let span_id = SpanId::new();
        match traceparent.and_then(parse) {
            Some((trace_id, parent_id, sampled)) => {
                Self { trace_id, span_id, parent_id: Some(parent_id), sampled }
            }
            None => Self {
                trace_id: TraceId(*Uuid::now_v7().as_bytes()),
                span_id,
                parent_id: None,
                sampled: true,
            },
        }
    }

    /// Returns the header `traceparent` for this span.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl SpanId {
    /// Creates a random identifier.
    pub fn new() -> Self {
        let uuid = Uuid::now_v7();
        let (_, random) = uuid.as_bytes().split_at(8);
        let mut id = [0; 8];
        id.copy_from_slice(random);
        Self(id)
    }
}

impl Default for SpanId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Reads `VERSION-TRACE-PARENT-FLAGS`. A later version may have more at its end.
fn parse(header: &str) -> Option<(TraceId, SpanId, bool)> {
    let mut parts = header.trim().split('-');
    let [version] = bytes::<1>(parts.next()?)?;
    let trace_id = bytes::<16>(parts.next()?).filter(|id| *id != [0; 16])?;
    let parent_id = bytes::<8>(parts.next()?).filter(|id| *id != [0; 8])?;
    let [flags] = bytes::<1>(parts.next()?)?;
    let is_known = match version {
        0xff => false,
        0 => parts.next().is_none(),
        _ => true,
    };
    is_known.then_some((TraceId(trace_id), SpanId(parent_id), flags & 1 == 1))
}

/// Parses hexadecimal digits in lower case, as the standard requires.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_valid = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if digits.len() != 2 * N || !digits.bytes().all(is_valid) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_of_the_caller_is_continued() {
        let context = TraceContext::follow(Some(GIVEN));
        assert_eq!(context.parent_id.map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        let own = context.traceparent();
        assert!(own.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && own.ends_with("-01"), "{own}");
        assert_ne!(own, GIVEN, "this step is another one");
        assert!(!TraceContext::follow(Some(&GIVEN.replace("-01", "-00"))).sampled);
        assert!(TraceContext::follow(Some(&format!("cc{}-more", &GIVEN[2..]))).parent_id.is_some());
    }

    #[test]
    fn an_invalid_header_begins_a_trace() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let upper = GIVEN.to_uppercase();
        let longer = format!("{GIVEN}-more");
        let future = format!("ff{}", &GIVEN[2..]);
        for header in
            [None, Some(""), Some("00"), Some(zeros), Some(&upper), Some(&longer), Some(&future), Some("é-é")]
        {
            let context = TraceContext::follow(header);
            assert_eq!((context.parent_id, context.sampled), (None, true), "{header:?}");
        }
        assert_ne!(TraceContext::follow(None).trace_id, TraceContext::follow(None).trace_id);
    }
}
