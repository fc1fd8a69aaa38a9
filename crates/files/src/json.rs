//! JSON: an object on each line, or a list of objects, or objects one after another.

use std::fmt;
use std::io::{self, BufRead};

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;

use crate::error::{BadRow, ReadError};
use crate::lines::MAX_RECORD_BYTES;

/// Members of an object, in their order.
pub(crate) type Members = Vec<(String, Value)>;

/// Reads an object that begins in `line`. Of a name that is there twice, the last member counts, as everywhere.
pub(crate) fn parse_object(line: u64, text: &str) -> Result<Members, BadRow> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Members;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Members::new();
            while let Some((name, value)) = map.next_entry::<String, Value>()? {
                match members.iter_mut().find(|(other, _)| *other == name) {
                    Some(member) => member.1 = value,
                    None => members.push((name, value)),
                }
            }
            Ok(members)
        }
    }

    if !text.trim_start().starts_with('{') {
        return Err(BadRow::new(line, "the line is not a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members =
        deserializer.deserialize_map(Object).and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| problem(line, &error))
}

/// The error of a piece of JSON that begins in `line`, with its place in the file.
fn problem(line: u64, error: &serde_json::Error) -> BadRow {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or_default();
    let reason = if error.column() > 0 && error.line() == 1 {
        format!("{reason} (column {})", error.column())
    } else {
        reason.to_owned()
    };
    BadRow::new(line + (error.line() as u64).saturating_sub(1), reason)
}

/// Cuts a stream into the values at its top, or into those of the list at its top.
pub(crate) struct Values<R> {
    reader: R,
    line: u64,
    is_in_list: bool,
    is_over: bool,
}

/// A value, and the line that it begins in.
pub(crate) struct Piece {
    pub(crate) line: u64,
    pub(crate) text: Vec<u8>,
}

impl<R: BufRead> Values<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, line: 1, is_in_list: false, is_over: false }
    }

    /// The next value, as it stands there; `None` at the end.
    pub(crate) fn read(&mut self) -> Result<Option<Piece>, ReadError> {
        let mut text = Vec::new();
        let mut line = self.line;
        let (mut depth, mut is_quoted, mut is_escaped) = (0_u32, false, false);
        loop {
            let Some(byte) = self.next_byte().map_err(|source| ReadError::Io { line: self.line, source })?
            else {
                if !text.is_empty() || (self.is_in_list && !self.is_over) {
                    let reason = "the file ends in the middle of the JSON; it may be cut off".to_owned();
                    return Err(ReadError::Malformed { line: self.line, reason });
                }
                return Ok(None);
            };
            if is_quoted {
                text.push(byte);
                match byte {
                    _ if is_escaped => is_escaped = false,
                    b'\\' => is_escaped = true,
                    b'"' => is_quoted = false,
                    _ => {}
                }
                if depth == 0 && !is_quoted {
                    return Ok(Some(Piece { line, text }));
                }
            } else if text.is_empty() {
                match byte {
                    b'[' if !self.is_in_list && !self.is_over => self.is_in_list = true,
                    b']' if self.is_in_list => self.is_over = true,
                    b',' => {}
                    byte if byte.is_ascii_whitespace() => {}
                    byte => {
                        line = self.line;
                        text.push(byte);
                        is_quoted = byte == b'"';
                        depth = u32::from(byte == b'{' || byte == b'[');
                    }
                }
            } else if depth == 0 {
                // A number or a word, which rows are not: it goes on to the next sign.
                if byte == b',' || byte == b']' || byte.is_ascii_whitespace() {
                    self.is_over |= byte == b']';
                    return Ok(Some(Piece { line, text }));
                }
                text.push(byte);
            } else {
                text.push(byte);
                match byte {
                    b'"' => is_quoted = true,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    return Ok(Some(Piece { line, text }));
                }
            }
            if text.len() > MAX_RECORD_BYTES {
                let reason = format!("the JSON object is longer than {} MiB", MAX_RECORD_BYTES >> 20);
                return Err(ReadError::Malformed { line, reason });
            }
        }
    }

    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.reader.fill_buf()?.first().copied();
        if byte.is_some() {
            self.reader.consume(1);
        }
        self.line += u64::from(byte == Some(b'\n'));
        Ok(byte)
    }
}

/// Whether the text begins with a list of objects, or with an object that takes more than its line.
pub(crate) fn is_document(sample: &str) -> bool {
    let text = sample.trim_start();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.trim_start().starts_with(['{', ']']);
    }
    let line = text.lines().next().unwrap_or_default();
    // An object in one line is a line of JSON Lines, and so is one that breaks off in the only line that is there.
    text.starts_with('{')
        && text.contains('\n')
        && serde_json::from_str::<serde::de::IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut values = Values::new(text.as_bytes());
        let mut pieces = Vec::new();
        loop {
            match values.read() {
                Ok(Some(piece)) => {
                    pieces.push(format!("{} {}", piece.line, String::from_utf8_lossy(&piece.text)));
                }
                Ok(None) => return pieces,
                Err(error) => {
                    pieces.push(error.to_string());
                    return pieces;
                }
            }
        }
    }

    #[test]
    fn a_list_and_a_row_of_objects_are_cut_at_the_same_places() {
        assert_eq!(
            pieces("[{\"a\": \"]}\\\"\"},\n {\"b\": [1, {}]}\n]\n"),
            ["1 {\"a\": \"]}\\\"\"}", "2 {\"b\": [1, {}]}"]
        );
        assert_eq!(pieces("{\n\"a\": 1\n}\n\n{\"b\": 2}"), ["1 {\n\"a\": 1\n}", "5 {\"b\": 2}"]);
        assert_eq!(pieces("[1, \"x\",{}]"), ["1 1", "1 \"x\"", "1 {}"]);
        assert!(pieces("").is_empty() && pieces("[]").is_empty());
        assert_eq!(
            pieces("[{\"a\": 1},\n{\"b\"")[1],
            "line 2: the file ends in the middle of the JSON; it may be cut off"
        );
        assert_eq!(pieces("[{}")[1], "line 1: the file ends in the middle of the JSON; it may be cut off");
    }

    #[test]
    fn members_keep_their_order() {
        let members = parse_object(3, r#"{"b": 1, "a": 2, "b": 3}"#).expect("an object");
        assert_eq!(members, [("b".to_owned(), Value::from(3)), ("a".to_owned(), Value::from(2))]);
        assert_eq!(
            parse_object(3, "[1]").expect_err("a list").to_string(),
            "3: the line is not a JSON object"
        );
        assert_eq!(
            parse_object(5, "{\"doc\": \"a\"").expect_err("cut off").to_string(),
            "5: EOF while parsing an object (column 11)"
        );
    }

    #[test]
    fn documents_are_told_from_lines() {
        for (text, expected) in [
            ("[{\"doc\": 1}]", true),
            ("\n [\n {\"doc\"", true),
            ("{\n  \"doc\": 1\n}", true),
            ("{\"doc\": \"a\"}\n{", false),
            ("{\"doc\": \"a\"", false),
            ("{\"doc\": x}\n", false),
            ("[sic] nice\n", false),
        ] {
            assert_eq!(is_document(text), expected, "{text}");
        }
    }
}
