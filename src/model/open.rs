//! A model by path or name, ready to use.

use super::llama::Model;
use super::weights::LoadOptions;
use crate::Result;
use crate::format::{ModelFiles, Tokenizer};
use crate::gpu::Gpu;

/// Positions that the rotary tables serve, where the model knows as many.
const POSITIONS: usize = 2048;

impl Model {
    /// Loads a model with NF4 linear layers, for sequences of up to 2,048 tokens, and its
    /// tokenizer.
    ///
    /// `model` is a folder (`config.json`, safetensors, `tokenizer.json`), a `.gguf` file, or, with
    /// the feature `hub`, a name on the Hugging Face hub (`OWNER/NAME`, `OWNER/NAME/FILE.gguf`).
    /// [`ModelFiles::open`] and [`Model::load`] are its two halves, for other settings.
    ///
    /// **Errors** as those two, [`ModelFiles::tokenizer`] and [`hub::locate`](crate::hub::locate).
    pub async fn open(gpu: &Gpu, model: &str) -> Result<(Model, Tokenizer)> {
        #[cfg(feature = "hub")]
        let model = crate::hub::locate(model, &mut |_, _, _| {})?;
        let files = ModelFiles::open(model)?;
        let tokenizer = files.tokenizer()?;
        let max_positions = files.config.max_position_embeddings.min(POSITIONS);
        let options = LoadOptions { max_positions, ..LoadOptions::default() };
        let quiet: &mut dyn FnMut(u64, u64) = &mut |_, _| {};
        let loaded = Model::load(gpu, &files.checkpoint, &files.config, options, quiet).await?;
        Ok((loaded, tokenizer))
    }
}
