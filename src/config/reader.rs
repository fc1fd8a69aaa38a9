//! Applies each setting's type to its value, and collects the values that do not fit.

use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::error::Problem;
use super::network::Network;
use super::server::Listen;
use super::setting::{Kind, Setting};
use super::settings;
use super::sources::{Given, Raw, Values};

/// Reads settings by name. An invalid value adds to `problems` and reads as unset, so that one pass finds all problems. The
/// caller must check [`Reader::into_problems`] before it uses what it read.
pub(super) struct Reader<'a> {
    values: &'a Values,
    environment: &'a Environment,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values, environment: &'a Environment, problems: Vec<Problem>) -> Self {
        Self { values, environment, problems }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn environment(&self) -> &'a Environment {
        self.environment
    }

    pub(super) fn address(&mut self, name: &str) -> Option<Listen> {
        self.read(name, |_, given| text_of(&given.raw)?.parse().ok())
    }

    /// Adds a problem if the setting `name` is set without `other`.
    pub(super) fn require_together(&mut self, name: &'static str, other: &str) {
        if let Some(given) = self.values.get(name)
            && !self.values.contains_key(other)
        {
            self.problems.push(Problem::Invalid {
                origin: given.origin.clone(),
                setting: name.to_owned(),
                value: None,
                expected: format!("set together with {other}"),
            });
        }
    }

    pub(super) fn text(&mut self, name: &str) -> String {
        self.text_or_unset(name).unwrap_or_default()
    }

    pub(super) fn text_or_unset(&mut self, name: &str) -> Option<String> {
        self.read(name, |kind, given| {
            let text = text_of(&given.raw)?;
            let fits = match kind {
                Kind::Choice(words) => words.contains(&text),
                Kind::LogFilter => is_log_filter(text),
                _ => !text.trim().is_empty(),
            };
            fits.then(|| text.to_owned())
        })
    }

    /// A switch; a file may write it with quotes or without.
    pub(super) fn switch(&mut self, name: &str) -> bool {
        let value = self.read(name, |_, given| match &given.raw {
            Raw::Boolean(value) => Some(*value),
            raw => text_of(raw)?.parse().ok(),
        });
        value.unwrap_or_default()
    }

    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.read(name, |_, given| {
            let text = text_of(&given.raw)?;
            (!text.is_empty()).then(|| given.root.join(text))
        })
    }

    /// Resolves `path` against the folder that relative paths of the setting `name` start at.
    pub(super) fn resolve(&self, name: &str, path: &str) -> PathBuf {
        let root = self.values.get(name).map_or(&self.environment.working_directory, |given| &given.root);
        root.join(path)
    }

    pub(super) fn count(&mut self, name: &str) -> usize {
        self.count_or_unset(name).unwrap_or_default()
    }

    pub(super) fn count_or_unset(&mut self, name: &str) -> Option<usize> {
        self.read(name, |kind, given| {
            let number: u64 = match &given.raw {
                Raw::Untyped(text) => text.trim().replace('_', "").parse().ok()?,
                Raw::Integer(number) => u64::try_from(*number).ok()?,
                _ => return None,
            };
            let Kind::Count { least, most } = kind else { return None };
            if (least..=most).contains(&number) { usize::try_from(number).ok() } else { None }
        })
    }

    pub(super) fn milliseconds(&mut self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.count(name)).unwrap_or(u64::MAX))
    }

    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let list = self.read(name, |_, given| match &given.raw {
            Raw::Untyped(text) => Some(
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
            ),
            Raw::List(items) => Some(items.clone()),
            _ => None,
        });
        list.unwrap_or_default()
    }

    /// A list of networks.
    pub(super) fn networks(&mut self, name: &str) -> Vec<Network> {
        let networks = self.read(name, |_, given| {
            let networks = |items: &mut dyn Iterator<Item = &str>| {
                items.map(|item| item.trim().parse().ok()).collect::<Option<Vec<Network>>>()
            };
            match &given.raw {
                Raw::Untyped(text) => networks(&mut text.split(',').filter(|item| !item.trim().is_empty())),
                Raw::List(items) => networks(&mut items.iter().map(String::as_str)),
                _ => None,
            }
        });
        networks.unwrap_or_default()
    }

    fn read<T>(&mut self, name: &str, parse: impl FnOnce(Kind, &Given) -> Option<T>) -> Option<T> {
        let given = self.values.get(name)?;
        let setting: &'static Setting = settings().find(|setting| setting.name == name)?;
        let value = parse(setting.kind, given);
        if value.is_none() {
            self.problems.push(Problem::Invalid {
                origin: given.origin.clone(),
                setting: setting.name.to_owned(),
                value: (!setting.is_secret()).then(|| given.raw.to_string()),
                expected: setting.kind.expected(),
            });
        }
        value
    }
}

fn text_of(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Untyped(text) | Raw::Text(text) => Some(text),
        _ => None,
    }
}

/// Stricter than the filter's own parser, which reads an unknown word as a target at level trace.
fn is_log_filter(text: &str) -> bool {
    let is_level = |word: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_ascii_lowercase().as_str())
    };
    let is_directive = |directive: &str| match directive.trim().rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(directive.trim()),
    };
    text.split(',').all(is_directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_rejected() {
        for good in ["info", "WARN", "off", "info,sentor::http=debug", "sentor=trace"] {
            assert!(is_log_filter(good), "{good}");
        }
        for bad in ["", "verbose", "info,", "sentor=loud", "=info"] {
            assert!(!is_log_filter(bad), "{bad}");
        }
    }
}
