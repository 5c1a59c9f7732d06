//! Which tensors of a checkpoint are a model's, what nobody reads, and which of them is the head.
//!
//! **Source** transformers 5.24: `rename_source_key`, `tie_weights`,
//! `_adjust_missing_and_unexpected_keys`.

use super::checkpoint::Checkpoint;
use super::hf::ModelConfig;
use super::names::{EMBED, HEAD, NORM};
use crate::error::{Error, Result, brief};

/// Linear layers of a block; those with `true` have a bias in Qwen2.
const LINEARS: [(&str, bool); 7] = [
    ("self_attn.q_proj", true),
    ("self_attn.k_proj", true),
    ("self_attn.v_proj", true),
    ("self_attn.o_proj", false),
    ("mlp.gate_proj", false),
    ("mlp.up_proj", false),
    ("mlp.down_proj", false),
];

/// Ends of what belongs to a weight in 4 bits, or in another format that is refused where it is
/// read.
const PARTS: [&str; 8] = [
    "weight.absmax",
    "weight.quant_map",
    "weight.nested_absmax",
    "weight.nested_quant_map",
    "weight.quant_state.bitsandbytes__nf4",
    "weight.quant_state.bitsandbytes__fp4",
    "weight.SCB",
    "SCB",
];

/// Tables that old checkpoints hold and that nobody reads: they follow from the configuration.
const TABLES: &str = "rotary_emb.inv_freq";

/// Whether a model of this configuration has a tensor of this name.
fn belongs(config: &ModelConfig, name: &str) -> bool {
    if [EMBED, HEAD, NORM].contains(&name) {
        return true;
    }
    let rest = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    let Some((layer, rest)) = rest else { return false };
    // As it is written: `01` is another name.
    let exists = layer
        .parse::<usize>()
        .is_ok_and(|n| n < config.num_hidden_layers && layer == n.to_string());
    let part = |rest: &str, biased: bool| {
        rest == "weight"
            || PARTS.contains(&rest)
            || biased && config.family.qkv_bias() && rest == "bias"
    };
    let linear = LINEARS.iter().any(|(module, biased)| {
        rest.strip_prefix(module)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|rest| part(rest, *biased))
    });
    let norms = ["input_layernorm.weight", "post_attention_layernorm.weight"];
    exists && (linear || norms.contains(&rest))
}

impl Checkpoint {
    /// Refuses tensors that a model of this configuration would not read; gives a line for tables
    /// that nobody needs.
    ///
    /// **Errors** [`Error::Unsupported`] with the first name.
    pub(crate) fn check_names(&self, config: &ModelConfig) -> Result<Option<String>> {
        if self.gguf().is_some() {
            return Ok(None);
        }
        let (tables, others): (Vec<&str>, Vec<&str>) = self
            .names()
            .filter(|name| !belongs(config, name))
            .partition(|name| name.contains(TABLES));
        if let Some(first) = others.first() {
            let more = match others.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            return Err(Error::Unsupported {
                what: brief(format!(
                    "{}: tensor `{first}`{more}, which no {} of {} layers has,",
                    self.name(),
                    config.family.architecture(),
                    config.num_hidden_layers
                )),
                hint: self.hint(first),
            });
        }
        let note = |first: &&str| {
            brief(format!(
                "{}: {} tensors are not read, here or by transformers, such as `{first}`",
                self.name(),
                tables.len()
            ))
        };
        Ok(tables.first().map(note))
    }

    fn hint(&self, name: &str) -> String {
        if self.names().any(|name| name.contains(".lora_A.")) {
            return "the weights of an adapter go into a folder of their own, given as ‹adapter›"
                .into();
        }
        if name.ends_with(".bias") {
            return "biases on q, k and v of Qwen2 work, linear layers without bias elsewhere"
                .into();
        }
        "without it the numbers would be of another model; remove it if it is not needed".into()
    }

    /// The names of the embedding and of the head, if that is not the embedding: with
    /// `tie_word_embeddings` they are one, unless the file holds both with other values.
    ///
    /// **Errors** those of reading.
    pub fn embedding_and_head(
        &self,
        config: &ModelConfig,
    ) -> Result<(&'static str, Option<&'static str>)> {
        if !config.tie_word_embeddings {
            return Ok((EMBED, Some(HEAD)));
        }
        match (self.contains(EMBED), self.contains(HEAD)) {
            (false, true) => Ok((HEAD, None)),
            (true, true) if !self.head_is_embedding()? => Ok((EMBED, Some(HEAD))),
            _ => Ok((EMBED, None)),
        }
    }

    /// Whether the two hold the same values; found once.
    fn head_is_embedding(&self) -> Result<bool> {
        if let Some(known) = self.tied.get() {
            return Ok(*known);
        }
        const PIECE: usize = 1 << 20;
        let shape = &self.info(EMBED)?.shape;
        let n = self.info(EMBED)?.elements();
        let mut same = *shape == self.info(HEAD)?.shape;
        for at in (0..n).step_by(PIECE) {
            let range = at..n.min(at + PIECE);
            same = same && self.read_f32(EMBED, range.clone())? == self.read_f32(HEAD, range)?;
            if !same {
                break;
            }
        }
        Ok(*self.tied.get_or_init(|| same))
    }
}
