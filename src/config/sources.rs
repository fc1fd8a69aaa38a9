//! Reads the settings of the file, the environment and the flags, and lets the strongest source win.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::deprecated::{self, Deprecation};
use super::environment::Environment;
use super::error::{ConfigError, Problem};
use super::setting::{Fallback, Setting, VARIABLE_PREFIX};
use super::{Overrides, plans, settings};
use sentor_store::metering::Plans;

/// Variables with the prefix of settings that are not settings: the path of the file, the address that clients use, and
/// the folder where `scripts/fetch-onnxruntime` puts ONNX Runtime.
const OTHER_VARIABLES: &[&str] = &["SENTOR_CONFIG", "SENTOR_BASE_URL", "SENTOR_CACHE_DIR"];

/// The file's name in the working directory and in the user's configuration folder.
const FILE_NAME: &str = "sentor.toml";

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    Default,
    /// A line of the file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(formatter, "default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => write!(formatter, "variable {name}"),
            Self::Flag(name) => write!(formatter, "flag --{name}"),
        }
    }
}

/// A value before its setting's type is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// Text of a variable, a flag or a default, which have no types.
    Untyped(String),
    /// Typed values of a file.
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
    /// A value of a type that no setting has, as messages show it.
    Other(String),
}

impl fmt::Display for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untyped(text) | Self::Text(text) => write!(formatter, "{text:?}"),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::List(items) => write!(formatter, "{items:?}"),
            Self::Other(kind) => write!(formatter, "{kind}"),
        }
    }
}

/// The value of a setting and its source.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
    /// The folder that a relative path in it starts at.
    pub(super) root: PathBuf,
}

/// Values by the name of their setting.
pub(super) type Values = BTreeMap<&'static str, Given>;

/// All sources merged.
pub(super) struct Gathered {
    pub(super) values: Values,
    /// Plans come from the file only.
    pub(super) plans: Plans,
    pub(super) deprecations: Vec<Deprecation>,
    /// Unknown settings, and those given by an old and a new name at once.
    pub(super) problems: Vec<Problem>,
}

/// Merges all sources: defaults, then the file, then variables, then flags; the last one wins.
pub(super) fn gather(overrides: &Overrides, environment: &Environment) -> Result<Gathered, ConfigError> {
    let mut gathered = Gathered {
        values: defaults(environment),
        plans: Plans::default(),
        deprecations: Vec::new(),
        problems: Vec::new(),
    };
    let mut renamed = Vec::new();
    if let Some(path) = file_path(overrides, environment) {
        gathered.read_file(&path, &mut renamed)?;
    }
    gathered.read_variables(environment, &mut renamed);
    for (name, text) in &overrides.flags {
        let origin = Origin::Flag(name.replace('_', "-"));
        let root = environment.working_directory.clone();
        gathered.set(name, Given { raw: Raw::Untyped(text.clone()), origin, root }, &mut renamed);
    }
    gathered.merge_renamed(renamed);
    Ok(gathered)
}

/// A value that was given by a deprecated name.
struct Renamed {
    deprecation: Deprecation,
    given: Given,
}

impl Gathered {
    fn set(&mut self, name: &str, given: Given, renamed: &mut Vec<Renamed>) {
        if let Some(setting) = find(name) {
            self.values.insert(setting.name, given);
        } else if let Some(name) = deprecated::find(name) {
            let deprecation = Deprecation { origin: given.origin.clone(), old: name.old, new: name.new };
            renamed.push(Renamed { deprecation, given });
        } else {
            self.problems.push(unknown(given.origin, name));
        }
    }

    /// Applies the values given by deprecated names, weakest source first. A setting that is given by its new name too,
    /// in whatever source, is a problem: the program cannot tell which one was meant.
    fn merge_renamed(&mut self, renamed: Vec<Renamed>) {
        let by_new_name: Vec<(&str, Origin)> = renamed
            .iter()
            .filter_map(|Renamed { deprecation, .. }| {
                let given = self.values.get(deprecation.new)?;
                (given.origin != Origin::Default).then(|| (deprecation.new, given.origin.clone()))
            })
            .collect();
        for Renamed { deprecation, given } in renamed {
            let Deprecation { old, new, .. } = deprecation;
            if let Some((_, other)) = by_new_name.iter().find(|(name, _)| *name == new) {
                self.problems.push(Problem::GivenTwice {
                    origin: given.origin,
                    old,
                    new,
                    other: other.clone(),
                });
                continue;
            }
            self.values.insert(new, given);
            self.deprecations.push(deprecation);
        }
    }

    fn read_file(&mut self, path: &Path, renamed: &mut Vec<Renamed>) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let table = DeTable::parse(&text).map_err(|error| {
            let (line, column) = error.span().map_or((1, 1), |span| line_and_column(&text, span.start));
            ConfigError::Syntax { path: path.to_owned(), line, column, problem: error.message().to_owned() }
        })?;
        let root = path.parent().unwrap_or(Path::new("."));
        let origin = |at: usize| Origin::File { path: path.to_owned(), line: line_and_column(&text, at).0 };
        for (key, value) in table.get_ref() {
            if key.get_ref() == plans::TABLE {
                plans::read(value, &origin, &mut self.plans, &mut self.problems);
                continue;
            }
            let origin = origin(key.span().start);
            let given = Given { raw: typed(value.get_ref()), origin, root: root.to_owned() };
            self.set(key.get_ref(), given, renamed);
        }
        Ok(())
    }

    fn read_variables(&mut self, environment: &Environment, renamed: &mut Vec<Renamed>) {
        for (variable, text) in &environment.variables {
            let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
            // Container files write an empty variable for "not set".
            if text.is_empty() || OTHER_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let origin = Origin::Variable(variable.clone());
            let name = rest.to_lowercase();
            if name.to_uppercase() == rest {
                let root = environment.working_directory.clone();
                self.set(&name, Given { raw: Raw::Untyped(text.clone()), origin, root }, renamed);
            } else {
                self.problems.push(unknown(origin, &name));
            }
        }
    }
}

fn defaults(environment: &Environment) -> Values {
    let root = &environment.working_directory;
    settings()
        .filter_map(|setting| match setting.default {
            Fallback::Value(text) => {
                let raw = Raw::Untyped(text.to_owned());
                Some((setting.name, Given { raw, origin: Origin::Default, root: root.clone() }))
            }
            Fallback::Unset(_) => None,
        })
        .collect()
}

fn file_path(overrides: &Overrides, environment: &Environment) -> Option<PathBuf> {
    let root = &environment.working_directory;
    let named = overrides.file.clone().or_else(|| environment.variable("SENTOR_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        return Some(root.join(path));
    }
    let candidates = [Some(root.join(FILE_NAME)), environment.config_home().map(|home| home.join(FILE_NAME))];
    candidates.into_iter().flatten().find(|path| path.is_file())
}

pub(super) fn typed(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Raw::Other("a number out of range".to_owned()), Raw::Integer),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .map_or_else(|| Raw::Other("a list of other things than texts".to_owned()), Raw::List),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Float(number) => Raw::Other(number.as_str().to_owned()),
        DeValue::Datetime(_) => Raw::Other("a date".to_owned()),
        DeValue::Table(_) => Raw::Other("a table".to_owned()),
    }
}

fn find(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.name == name)
}

fn unknown(origin: Origin, name: &str) -> Problem {
    let nearest = nearest(name, settings().map(|setting| setting.name));
    Problem::Unknown { origin, name: name.to_owned(), nearest }
}

/// The known name most like `name`, if one is like it at all.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let likeness = known.map(|known| (strsim::jaro_winkler(known, name), known));
    let likely = likeness.filter(|(likeness, _)| *likeness > 0.7);
    likely.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}

fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
