//! Placeholder: the branch `cli` brings the real one.

use super::{Exit, GlobalArgs};

/// Arguments of `sentor eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {}

pub(crate) fn run(_args: &EvalArgs, _global: &GlobalArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("not built yet")
}
