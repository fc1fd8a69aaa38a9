//! The part of a model that planning needs.

use sentor_engine::encode::Encoder;
use sentor_engine::registry::{Manifest, ModelFolder, QuantisationScheme};

use crate::settings::StartError;

/// A model as planning sees it: its network is in the engine.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) manifest: Manifest,
    pub(crate) encoder: Encoder,
}

impl Model {
    pub(crate) fn open(folder: &ModelFolder) -> Result<Self, StartError> {
        folder.verify()?;
        Ok(Self { manifest: folder.manifest().clone(), encoder: Encoder::open(folder)? })
    }
}

/// Warns that the scores of a model depend slightly on the rest of the batch.
pub(crate) fn warn_of_dynamic_ranges(folder: &ModelFolder) {
    if folder.manifest().quantisation == QuantisationScheme::Dynamic {
        tracing::warn!(
            file = %folder.network().display(),
            model = folder.manifest().name,
            "the model is dynamically quantised: the same text can score differently in the last digits, by what \
             shares its batch; quantise it statically to have the same bits each time"
        );
    }
}
