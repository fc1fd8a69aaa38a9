//! Placeholder: the branch `cli` brings the real one.

use super::{Exit, GlobalArgs};

/// Arguments of `sentor predict`.
#[derive(Debug, clap::Args)]
pub(crate) struct PredictArgs {}

pub(crate) fn run(_args: &PredictArgs, _global: &GlobalArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("not built yet")
}
