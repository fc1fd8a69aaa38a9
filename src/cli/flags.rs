//! Flags for the settings, generated from the table of settings so that none is missing.

use clap::{Arg, ArgMatches, Command};

use crate::config::{DEPRECATED_NAMES, Fallback, Section, Setting, settings};

/// Flags of the settings that all commands use: data folder, models, engine and log.
#[derive(Clone, Debug, Default)]
pub(super) struct CommonFlags(Vec<(String, String)>);

/// Flags of the settings that only the server uses.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerFlags(Vec<(String, String)>);

impl CommonFlags {
    /// Names and values as given.
    pub(super) fn given(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

impl ServerFlags {
    /// Names and values as given.
    pub(super) fn given(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

fn is_common(setting: &Setting) -> bool {
    let is_in = |section: Section| section.settings().iter().any(|own| own.name == setting.name);
    setting.name == "data_dir" || [Section::Models, Section::Engine, Section::Log].into_iter().any(is_in)
}

/// The names that a flag can have: those of the settings, then the deprecated ones.
fn flag_names(common: bool) -> impl Iterator<Item = (&'static str, &'static Setting)> {
    let current = settings().map(|setting| (setting.name, setting));
    let deprecated = DEPRECATED_NAMES.iter().filter_map(|name| Some((name.old, name.setting()?)));
    current
        .chain(deprecated)
        .filter(move |(_, setting)| is_common(setting) == common && setting.flag().is_some())
}

fn add_flags(command: Command, common: bool) -> Command {
    flag_names(common).fold(command, |command, (name, setting)| {
        let help = match setting.default {
            Fallback::Value(text) | Fallback::Unset(text) => format!("{} [default: {text}]", setting.help),
        };
        let value_name = setting.name.rsplit('_').next().unwrap_or(setting.name).to_uppercase();
        command.arg(
            Arg::new(name)
                .long(name.replace('_', "-"))
                .value_name(value_name)
                .help(help)
                .help_heading("Configuration")
                .hide(name != setting.name)
                .hide_short_help(common)
                .global(common),
        )
    })
}

fn given(matches: &ArgMatches, common: bool) -> Vec<(String, String)> {
    flag_names(common)
        .filter_map(|(name, _)| Some((name.to_owned(), matches.get_one::<String>(name)?.clone())))
        .collect()
}

macro_rules! implement_args {
    ($flags:ident, $common:literal) => {
        impl clap::FromArgMatches for $flags {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(given(matches, $common)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = given(matches, $common);
                Ok(())
            }
        }

        impl clap::Args for $flags {
            fn augment_args(command: Command) -> Command {
                add_flags(command, $common)
            }

            fn augment_args_for_update(command: Command) -> Command {
                add_flags(command, $common)
            }
        }
    };
}

implement_args!(CommonFlags, true);
implement_args!(ServerFlags, false);
