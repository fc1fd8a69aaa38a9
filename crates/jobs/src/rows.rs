//! Rows of an input, and how they wait between being cut and being scored.

use std::io::{BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

use crate::spec::{InputFormat, JobSpec};

/// Longest line of an input, in bytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A row of an input, as the object of its chunk has it: a document, or why it is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputRow {
    /// Its line in the input, from 1.
    pub(crate) line: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) doc_id: Option<String>,
    #[serde(flatten)]
    pub(crate) content: Content,
}

/// What a row holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    /// A document.
    Document {
        text: String,
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        entities: Vec<String>,
    },
    /// Why it cannot be scored.
    Bad { problem: String },
}

/// Reads the rows of an input. An error ends it.
pub(crate) fn read_rows(
    reader: Box<dyn Read + Send>,
    spec: &JobSpec,
) -> Box<dyn Iterator<Item = std::io::Result<InputRow>> + Send> {
    match spec.format {
        InputFormat::Jsonl => Box::new(JsonLines::new(reader, spec)),
    }
}

/// A JSON object on each line that is not blank.
struct JsonLines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: u64,
    names: [Vec<String>; 3],
    entities: Vec<String>,
}

impl JsonLines {
    fn new(reader: Box<dyn Read + Send>, spec: &JobSpec) -> Self {
        let names = |chosen: &Option<String>, usual: &[&str]| match chosen {
            Some(name) => vec![name.clone()],
            None => usual.iter().map(|name| (*name).to_owned()).collect(),
        };
        let columns = &spec.columns;
        Self {
            reader: BufReader::with_capacity(256 << 10, reader),
            line: 0,
            names: [
                names(&columns.doc, &["doc", "text"]),
                names(&columns.doc_id, &["doc_id", "id"]),
                names(&columns.entities, &["entities"]),
            ],
            entities: spec.entities.clone(),
        }
    }

    fn parse(&self, line: &[u8]) -> InputRow {
        let row = |doc_id, content| InputRow { line: self.line, doc_id, content };
        let bad = |doc_id, problem: &str| row(doc_id, Content::Bad { problem: problem.to_owned() });
        let Ok(text) = std::str::from_utf8(line) else { return bad(None, "the line is not valid UTF-8") };
        let mut object: serde_json::Map<String, serde_json::Value> = match serde_json::from_str(text) {
            Ok(object) => object,
            Err(error) => return bad(None, &json_problem(&error)),
        };
        let mut take = |index: usize| {
            let names = &self.names[index];
            let value = names.iter().find_map(|name| object.remove(name));
            value.filter(|value| !value.is_null())
        };
        let doc_id = match take(1) {
            None => self.line.to_string(),
            Some(serde_json::Value::String(id)) => id,
            Some(serde_json::Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
            Some(_) => return bad(None, "doc_id must be a string or a whole number"),
        };
        let text = match take(0) {
            Some(serde_json::Value::String(text)) => text,
            Some(_) => return bad(Some(doc_id), &format!("{} must be a string", self.names[0][0])),
            None => return bad(Some(doc_id), &format!("there is no {}", self.names[0][0])),
        };
        let mut entities = Vec::new();
        match take(2) {
            None => {}
            Some(serde_json::Value::Array(items)) => {
                for item in items {
                    match item {
                        serde_json::Value::String(name) if !sentor_text::is_blank(&name) => {
                            entities.push(name);
                        }
                        _ => return bad(Some(doc_id), "an entity must be a text that is not empty"),
                    }
                }
            }
            Some(_) => return bad(Some(doc_id), "entities must be a list of texts"),
        }
        for entity in &self.entities {
            if !entities.contains(entity) {
                entities.push(entity.clone());
            }
        }
        row(Some(doc_id), Content::Document { text, entities })
    }
}

/// What is wrong with a line: without the line's number, which would always be 1.
fn json_problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    format!("the line is not a JSON object: {reason} (column {})", error.column())
}

impl Iterator for JsonLines {
    type Item = std::io::Result<InputRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
            match read {
                Err(error) => return Some(Err(error)),
                Ok(0) => return None,
                Ok(_) if line.len() as u64 > MAX_LINE_BYTES => {
                    let message =
                        format!("line {} is longer than {} MiB", self.line + 1, MAX_LINE_BYTES >> 20);
                    return Some(Err(std::io::Error::other(message)));
                }
                Ok(_) => {}
            }
            self.line += 1;
            let trimmed = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if !trimmed.is_empty() {
                return Some(Ok(self.parse(trimmed)));
            }
        }
    }
}
