//! A setting: name, kind, default and help.

use super::Section;

/// One row of the table behind files, variables, flags, `sentor config` and the reference.
#[derive(Debug)]
pub struct Setting {
    /// The name in a file. `SENTOR_` and the name in capitals is the variable; the name with dashes is the flag.
    pub name: &'static str,
    /// The type and range of its values.
    pub kind: Kind,
    /// The value if no source sets it.
    pub default: Fallback,
    /// One sentence on its effect, and the reason for the default.
    pub help: &'static str,
}

/// The value of a setting that no source sets.
#[derive(Debug)]
pub enum Fallback {
    /// This text, parsed like a variable.
    Value(&'static str),
    /// No value; the text says what happens then.
    Unset(&'static str),
}

/// The type and range of a setting's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `HOST:PORT`.
    Address,
    /// A file or folder. A relative path starts at the folder of the file that sets it, or else at the working directory.
    Path,
    /// Text, not empty.
    Text,
    /// Text that is never shown.
    Secret,
    /// A whole number within bounds, both included.
    Count {
        /// The smallest allowed.
        least: u64,
        /// The largest allowed.
        most: u64,
    },
    /// True or false.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts, separated by commas in a variable or flag.
    List,
    /// Addresses or networks such as `10.0.0.0/8`; with commas between them where the source is not a file.
    Networks,
    /// A level, or directives such as `info,sentor::http=debug`.
    LogFilter,
}

impl Kind {
    /// The allowed values, as messages name them: "must be …".
    pub fn expected(self) -> String {
        match self {
            Self::Address => "HOST:PORT, such as 127.0.0.1:8080".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Text => "a text that is not empty".to_owned(),
            Self::Secret => "a Sentor key as `sentor keys create` prints it".to_owned(),
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::Switch => "one of true, false".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List => "a list of texts".to_owned(),
            Self::Networks => "a list of addresses or networks such as 10.0.0.0/8".to_owned(),
            Self::LogFilter => "error, warn, info, debug, trace, off, or target=level directives".to_owned(),
        }
    }
}

impl Setting {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }

    /// The flag that sets it, without its dashes; `None` for a secret, since process lists show flags.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret()).then(|| self.name.replace('_', "-"))
    }

    /// Whether SIGHUP applies a change of it; the others take a restart.
    pub fn is_reloadable(&self) -> bool {
        const SECTIONS: [Section; 3] = [Section::Limits, Section::Models, Section::Engine];
        /// Buffers are made and ONNX Runtime is loaded once.
        const EXCEPT: [&str; 3] = ["onnxruntime", "max_buffered_bytes", "max_answer_bytes"];
        const OTHERS: [&str; 8] = [
            "demo",
            "api_key",
            "api_key_file",
            "cors_origins",
            "request_timeout_ms",
            "request_timeout_max_ms",
            "body_timeout_ms",
            "usage_retention_days",
        ];
        let is_in = |section: Section| section.settings().iter().any(|own| own.name == self.name);
        OTHERS.contains(&self.name) || (SECTIONS.into_iter().any(is_in) && !EXCEPT.contains(&self.name))
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// Prefix of all variables.
pub(super) const VARIABLE_PREFIX: &str = "SENTOR_";
