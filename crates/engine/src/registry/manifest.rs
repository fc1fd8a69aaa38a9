//! `manifest.json`: the description of a model, valid once read.

use std::collections::BTreeMap;

use serde::Deserialize;

use sentor_text::language::Language;
use sentor_text::sentiment::Polarity;

/// The description of a model.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Name, such as `sentor-en`.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// Languages that it was trained for.
    pub languages: Vec<Language>,
    /// What the outputs of the network mean.
    pub task: Task,
    /// How the network takes its inputs.
    pub signature: Signature,
    /// Special tokens that sequences are built with.
    pub tokens: SpecialTokens,
    /// Whether sentences in capitals are lower-cased: a cased vocabulary has few words in capitals.
    pub lowercase_capitals: bool,
    /// Length of the longest sequence that the network reads, special tokens included.
    pub max_tokens: usize,
    /// Length of the window with the best accuracy, special tokens included; at most half of `max_tokens`, so that
    /// entities have room behind it.
    pub window_tokens: usize,
    /// Quantisation of the weights.
    pub quantisation: QuantisationScheme,
    /// Size and checksum of each file, by its name in the folder.
    pub files: BTreeMap<String, FileRecord>,
}

/// What the outputs of a network mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// An output [`Task::LOGITS`] with [`Task::CLASSES`] numbers for each span: negative, neutral, positive. Manifests
    /// without a task have this one.
    #[default]
    Sentiment,
    /// An output [`Task::EMBEDDING`] with a vector for each sequence: the mean state of its tokens.
    Embed,
}

impl Task {
    /// Output of sentiment models.
    pub const LOGITS: &str = "logits";
    /// Output of embedding models.
    pub const EMBEDDING: &str = "embedding";
    /// Numbers in a row of the output of sentiment models.
    pub const CLASSES: usize = 3;

    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sentiment => "sentiment",
            Self::Embed => "embed",
        }
    }
}

/// How a network takes its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// A sequence is read once, and any number of spans in it are scored.
    Span,
    /// A sequence is a text and an entity, and is scored as a whole.
    Pair,
    /// A sequence is a text.
    Text,
}

impl Signature {
    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Pair => "pair",
            Self::Text => "text",
        }
    }
}

/// Indices of the special tokens.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SpecialTokens {
    /// Starts a sequence.
    pub cls: u32,
    /// Ends the window, and each entity after it.
    pub sep: u32,
    /// Fills a sequence up to the length of its batch.
    pub pad: u32,
    /// Replaces a name; only models that do not read names have one.
    #[serde(default)]
    pub mask: Option<u32>,
}

/// Quantisation of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantisationScheme {
    /// None.
    None,
    /// Integer products with fixed ranges: scores do not depend on the rest of the batch.
    Static,
    /// Integer products with ranges measured on each batch: scores depend on the rest of the batch.
    Dynamic,
}

/// Size and checksum of a file.
#[derive(Clone, Debug, Deserialize)]
pub struct FileRecord {
    /// Lower-case hexadecimal SHA-256.
    pub sha256: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// The manifest as the file has it, before it is checked.
#[derive(Deserialize)]
struct Document {
    schema: u32,
    name: String,
    version: String,
    languages: Vec<String>,
    #[serde(default)]
    task: Task,
    signature: Signature,
    #[serde(default)]
    labels: Vec<String>,
    tokens: SpecialTokens,
    #[serde(default)]
    lowercase_capitals: bool,
    max_tokens: usize,
    window_tokens: usize,
    quantisation: Quantisation,
    files: BTreeMap<String, FileRecord>,
}

#[derive(Deserialize)]
struct Quantisation {
    scheme: QuantisationScheme,
}

impl Manifest {
    /// The manifest version that this program reads.
    const SCHEMA: u32 = 1;
    /// The shortest sequence with room for a window and the name of an entity behind it.
    const MIN_TOKENS: usize = 128;
    /// The shortest sensible window.
    const MIN_WINDOW_TOKENS: usize = 16;

    /// Reads and checks a manifest.
    ///
    /// # Errors
    ///
    /// The first problem of the manifest.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Document {
            schema,
            name,
            version,
            languages,
            task,
            signature,
            labels,
            tokens,
            lowercase_capitals,
            max_tokens,
            window_tokens,
            ..
        } = document;
        if schema != Self::SCHEMA {
            return Err(format!("schema is {schema}, and this version reads {}", Self::SCHEMA));
        }
        if (task == Task::Embed) != (signature == Signature::Text) {
            return Err("a model of task embed has the signature text, and no other model has it".to_owned());
        }
        let expected: Vec<&str> = match task {
            Task::Sentiment => Polarity::ALL.iter().map(|polarity| polarity.label()).collect(),
            Task::Embed => Vec::new(),
        };
        if labels != expected {
            return Err(format!("labels are {labels:?}, and must be {expected:?}, in this order"));
        }
        let languages = languages
            .iter()
            .map(|code| {
                Language::parse(code).ok_or_else(|| format!("language {code:?} is not one of en, nl"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if max_tokens < Self::MIN_TOKENS {
            return Err(format!("max_tokens is {max_tokens}, and must be at least {}", Self::MIN_TOKENS));
        }
        if !(Self::MIN_WINDOW_TOKENS..=max_tokens / 2).contains(&window_tokens) {
            return Err(format!(
                "window_tokens is {window_tokens}, and must be between {} and half of max_tokens ({max_tokens})",
                Self::MIN_WINDOW_TOKENS
            ));
        }
        for file in [super::ModelFolder::NETWORK, super::ModelFolder::TOKENIZER] {
            if !document.files.contains_key(file) {
                return Err(format!("files does not list {file}"));
            }
        }
        if document.files.contains_key(super::ModelFolder::ASPECT_WORDS) != tokens.mask.is_some() {
            return Err(format!(
                "a model that is blind to names has both tokens.mask and a file {}, and any other model neither",
                super::ModelFolder::ASPECT_WORDS
            ));
        }
        if let Some(outside) =
            document.files.keys().find(|file| file.contains(['/', '\\']) || file.as_str() == "..")
        {
            return Err(format!("files lists {outside:?}, which is not in the folder"));
        }
        let (quantisation, files) = (document.quantisation.scheme, document.files);
        Ok(Self {
            name,
            version,
            languages,
            task,
            signature,
            tokens,
            lowercase_capitals,
            max_tokens,
            window_tokens,
            quantisation,
            files,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A manifest with `SHA` and `"SIZE"` to be filled in.
    pub(crate) fn example() -> String {
        r#"{
            "schema": 1, "name": "tiny", "version": "0.1.0", "languages": ["en"], "signature": "span",
            "labels": ["negative", "neutral", "positive"], "tokens": {"cls": 101, "sep": 102, "pad": 0},
            "max_tokens": 512, "window_tokens": 128, "quantisation": {"scheme": "static", "weight_bits": 7},
            "files": {"model.onnx": {"sha256": "SHA", "size_bytes": "SIZE"},
                      "tokenizer.json": {"sha256": "SHA", "size_bytes": "SIZE"}}
        }"#
        .to_owned()
    }

    #[test]
    fn a_wrong_manifest_says_what_is_wrong() {
        let good = example().replace("\"SIZE\"", "1");
        let manifest = Manifest::parse(&good).expect("the example is good");
        assert_eq!(
            (manifest.task, manifest.signature, manifest.quantisation),
            (Task::Sentiment, Signature::Span, QuantisationScheme::Static)
        );
        let with_task =
            |task| good.replacen("\"signature\"", &format!("\"task\": {task:?}, \"signature\""), 1);
        let said = Manifest::parse(&with_task("sentiment")).expect("the task may be said");
        assert_eq!(said.task, manifest.task);
        let problem = Manifest::parse(&with_task("dance")).expect_err("there is no such task");
        assert!(problem.contains("unknown variant `dance`"), "{problem}");

        for (from, to, expected) in [
            ("\"schema\": 1", "\"schema\": 2", "schema is 2"),
            ("\"negative\", \"neutral\"", "\"neutral\", \"negative\"", "labels are"),
            ("[\"en\"]", "[\"fr\"]", "\"fr\" is not one of en, nl"),
            ("\"window_tokens\": 128", "\"window_tokens\": 257", "window_tokens is 257"),
            ("\"max_tokens\": 512", "\"max_tokens\": 127", "max_tokens is 127"),
            ("\"window_tokens\": 128", "\"window_tokens\": 2", "window_tokens is 2"),
            ("\"tokenizer.json\"", "\"../x\"", "does not list tokenizer.json"),
            ("\"span\"", "\"spam\"", "unknown variant `spam`"),
            ("\"name\": \"tiny\",", "", "missing field `name`"),
            ("]", "", "expected `,` or `]`"),
            ("\"span\"", "\"text\"", "task embed has the signature text"),
            ("\"pad\": 0", "\"pad\": 0, \"mask\": 103", "has both tokens.mask and a file aspect-words.txt"),
        ] {
            let problem = Manifest::parse(&good.replacen(from, to, 1)).expect_err(to);
            assert!(problem.contains(expected), "{to}: {problem}");
        }
    }
}
