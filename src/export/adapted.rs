//! A checkpoint seen through an adapter: the weights that the two make together, a piece at a time.

use super::merge::{Delta, merged_weight};
use crate::format::{AdapterFile, ModelFiles};
use crate::model::Module;
use crate::{Error, Result};

/// Elements read at a time where nothing is merged.
const PIECE: usize = 4 << 20;

const PREFIX: &str = "base_model.model.";

/// A model's tensors with an adapter merged in.
pub(super) struct Adapted<'a> {
    pub(super) files: &'a ModelFiles,
    adapter: Option<&'a AdapterFile>,
}

/// The adapter's part of one layer (`model.layers.0.self_attn.q_proj`), if it has one.
pub(super) fn delta<'a>(adapter: &'a AdapterFile, module: &str) -> Option<Delta<'a>> {
    let tensor = |part: &str| {
        let (_, values) = adapter.tensors.get(&format!("{PREFIX}{module}.{part}"))?;
        Some(values.as_slice())
    };
    let (a, b) = (tensor("lora_A.weight")?, tensor("lora_B.weight")?);
    let magnitude = tensor("lora_magnitude_vector");
    Some(Delta { a, b, scale: adapter.config.scaling_of(module), magnitude })
}

impl<'a> Adapted<'a> {
    /// **Errors** [`Error::Unsupported`] for a model that is stored in 4 bits;
    /// [`Error::MissingTensor`], [`Error::Shape`] if the adapter belongs to another model.
    pub(super) fn new(files: &'a ModelFiles, adapter: Option<&'a AdapterFile>) -> Result<Self> {
        let checkpoint = &files.checkpoint;
        if checkpoint.names().any(|name| name.contains(".quant_state.")) {
            return Err(Error::Unsupported {
                what: format!(
                    "{}: merging into weights that are stored in 4 bits",
                    checkpoint.name()
                ),
                hint:
                    "most of the adapter would be lost in the rounding; give the original 16-bit \
                       model as ‹model›"
                        .into(),
            });
        }
        if let Some(adapter) = adapter {
            let known = |module: &&str| {
                let all = (0..files.config.num_hidden_layers)
                    .flat_map(|layer| Module::ALL.map(|m| (layer, m)));
                all.into_iter().find(|(layer, m)| m.path(*layer) == **module)
            };
            for module in adapter.modules() {
                let Some((_, m)) = known(&module) else {
                    let why = "the adapter has it, the model does not: it belongs to another model";
                    return Err(Error::invalid(format!("layer `{module}`"), why));
                };
                let (out, inp) = m.shape(&files.config);
                checkpoint.expect(&format!("{module}.weight"), &[out, inp])?;
                // Sizes are compared again where the product is made; here before anything is
                // written.
                if let Some(delta) = delta(adapter, module)
                    && (delta.a.len() % inp != 0
                        || delta.b.len() / out * inp != delta.a.len()
                        || delta.b.len() % out != 0)
                {
                    return Err(Error::Shape {
                        op: "merge".into(),
                        tensor: format!("{module}.lora_A, lora_B"),
                        expected: format!("[R, {inp}], [{out}, R]"),
                        got: format!("{} and {} values", delta.a.len(), delta.b.len()),
                    });
                }
            }
            for (key, module) in adapter.biases() {
                checkpoint.expect(&format!("{module}.bias"), &adapter.tensors[key].0)?;
            }
        }
        Ok(Self { files, adapter })
    }

    /// The values of a tensor in order, in pieces; whole where an adapter is merged in.
    pub(super) fn pieces(
        &self,
        name: &str,
        mut take: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let checkpoint = &self.files.checkpoint;
        let info = checkpoint.info(name)?;
        let n = info.elements();
        if let Some(bias) = self.bias(name) {
            return take(bias);
        }
        let module = name.strip_suffix(".weight");
        let found = module.and_then(|module| delta(self.adapter?, module));
        if let (Some(delta), &[out, inp]) = (found, info.shape.as_slice()) {
            return take(&merged_weight(&checkpoint.read_f32(name, 0..n)?, [out, inp], delta)?);
        }
        let mut at = 0;
        while at < n {
            let end = n.min(at + PIECE);
            take(&checkpoint.read_f32(name, at..end)?)?;
            at = end;
        }
        Ok(())
    }

    /// The adapter's values of a bias (`model.layers.0.self_attn.q_proj.bias`), if it has any.
    fn bias(&self, name: &str) -> Option<&[f32]> {
        let (adapter, module) = (self.adapter?, name.strip_suffix(".bias")?);
        let (key, _) = adapter.biases().find(|(_, of)| *of == module)?;
        Some(&adapter.tensors.get(key)?.1)
    }

    /// The tensors of the model; old checkpoints hold rotary tables too.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.checkpoint.names().filter(|name| !name.ends_with(".rotary_emb.inv_freq"))
    }

    /// The whole of a tensor.
    pub(super) fn whole(&self, name: &str) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        self.pieces(name, |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(all)
    }
}
