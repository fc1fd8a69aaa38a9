//! `sentor config`: prints the effective settings, each with its source.

use super::flags::ServerFlags;
use super::{Exit, GlobalArgs, print};
use crate::config::Config;

/// Arguments of `sentor config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    settings: ServerFlags,
}

pub(crate) fn run(args: &ConfigArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let mut overrides = global.overrides();
    overrides.flags.extend(args.settings.given());
    let config = Config::load(&overrides)?;
    for deprecation in config.deprecations() {
        eprintln!("warning: {deprecation}");
    }
    print(config.to_toml().as_bytes())?;
    Ok(Exit::Ok)
}
