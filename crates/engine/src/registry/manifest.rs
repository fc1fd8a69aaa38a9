//! `manifest.json`: what a model is, in a form that cannot be wrong once read.

use std::collections::BTreeMap;

use serde::Deserialize;

use sentor_text::language::Language;
use sentor_text::sentiment::Polarity;

/// What `manifest.json` says about a model.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Name, such as `sentor-en`.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// Languages that it was trained for.
    pub languages: Vec<Language>,
    /// What goes in and comes out of the network.
    pub signature: Signature,
    /// Numbers of the tokens that the rows are built with.
    pub tokens: SpecialTokens,
    /// Whether sentences in capitals are read in small letters: a cased vocabulary has few words in capitals.
    pub lowercase_capitals: bool,
    /// Longest row that the network reads, special tokens included.
    pub max_tokens: usize,
    /// Length of the window at which it does best, special tokens included; at most half of `max_tokens`, so that
    /// entities have room behind it.
    pub window_tokens: usize,
    /// How the weights were made smaller.
    pub quantisation: QuantisationScheme,
    /// Size and checksum of each file, by its name in the folder.
    pub files: BTreeMap<String, FileRecord>,
}

/// What goes in and comes out of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signature {
    /// A row is read once, and any number of spans in it are scored.
    Span,
    /// A row is a text and an entity, and is scored as one.
    Pair,
}

impl Signature {
    /// The name in the manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Pair => "pair",
        }
    }
}

/// Numbers of the special tokens.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SpecialTokens {
    /// Starts a row.
    pub cls: u32,
    /// Ends the window, and each entity after it.
    pub sep: u32,
    /// Fills a row up to the length of its run.
    pub pad: u32,
    /// Stands for a name; only a model that is blind to names has one.
    #[serde(default)]
    pub mask: Option<u32>,
}

/// How the weights were made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantisationScheme {
    /// Not at all.
    None,
    /// Integer products with fixed ranges: scores do not depend on what shares the run.
    Static,
    /// Integer products with ranges taken from each run: scores depend on what shares the run.
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

/// The manifest as it stands in the file, before it is checked.
#[derive(Deserialize)]
struct Document {
    schema: u32,
    name: String,
    version: String,
    languages: Vec<String>,
    signature: Signature,
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
    /// The shortest row that has room for a window and an entity's name behind it.
    const MIN_TOKENS: usize = 128;
    /// The shortest window that text can sensibly be packed into.
    const MIN_WINDOW_TOKENS: usize = 16;

    /// Reads and checks a manifest.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Document {
            schema,
            name,
            version,
            languages,
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
        let expected: Vec<&str> = Polarity::ALL.iter().map(|polarity| polarity.label()).collect();
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
            (manifest.signature, manifest.quantisation),
            (Signature::Span, QuantisationScheme::Static)
        );

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
            ("\"pad\": 0", "\"pad\": 0, \"mask\": 103", "has both tokens.mask and a file aspect-words.txt"),
        ] {
            let problem = Manifest::parse(&good.replacen(from, to, 1)).expect_err(to);
            assert!(problem.contains(expected), "{to}: {problem}");
        }
    }
}
