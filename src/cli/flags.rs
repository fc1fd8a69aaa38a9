//! Settings as flags, made from the table of settings so that none can be missing.

use clap::{Arg, ArgMatches, Command};

use crate::config::{Section, Setting, settings};

/// Flags of the settings that every command goes by: data, models, engine and log.
#[derive(Clone, Debug, Default)]
pub(super) struct CommonFlags(Vec<(String, String)>);

/// Flags of the settings that only a server goes by.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerFlags(Vec<(String, String)>);

impl CommonFlags {
    /// Names and values as they were given.
    pub(super) fn given(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

impl ServerFlags {
    /// Names and values as they were given.
    pub(super) fn given(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

fn is_common(setting: &Setting) -> bool {
    let of_section = |section: Section| section.settings().iter().any(|own| own.name == setting.name);
    setting.name == "data_dir" || [Section::Models, Section::Engine, Section::Log].into_iter().any(of_section)
}

fn add_flags(command: Command, common: bool) -> Command {
    settings().filter(|setting| is_common(setting) == common).fold(command, |command, setting| {
        let Some(flag) = setting.flag() else { return command };
        let help = match setting.default {
            crate::config::Fallback::Value(text) => format!("{} [default: {text}]", setting.help),
            crate::config::Fallback::Unset(words) => format!("{} [default: {words}]", setting.help),
        };
        let value_name = setting.name.rsplit('_').next().unwrap_or(setting.name).to_uppercase();
        command.arg(
            Arg::new(setting.name)
                .long(flag)
                .value_name(value_name)
                .help(help)
                .help_heading("Configuration")
                .hide_short_help(common)
                .global(common),
        )
    })
}

fn given(matches: &ArgMatches, common: bool) -> Vec<(String, String)> {
    settings()
        .filter(|setting| is_common(setting) == common && setting.flag().is_some())
        .filter_map(|setting| {
            let value = matches.get_one::<String>(setting.name)?;
            Some((setting.name.to_owned(), value.clone()))
        })
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
