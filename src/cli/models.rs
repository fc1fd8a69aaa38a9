//! Placeholder: the branch `cli` brings the real one.

use super::{Exit, GlobalArgs};

/// Arguments of `sentor models`.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArgs {}

pub(crate) fn run(_args: &ModelsArgs, _global: &GlobalArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("not built yet")
}
