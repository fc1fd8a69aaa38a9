//! `sentor config`: what the settings come to, and where each comes from.

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
    print(config.to_toml().as_bytes())?;
    Ok(Exit::Ok)
}
