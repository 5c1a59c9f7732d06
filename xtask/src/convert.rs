//! The GGUF as a Hugging Face checkpoint: bf16 safetensors with HF names and row order, and its
//! tokenizer.json.

use crate::gguf::{Gguf, Tensor, bf16};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;
use std::io::Write;

/// The Hugging Face name of a GGUF tensor of a Llama.
fn hf_name(gguf: &str) -> Result<String> {
    match gguf {
        "token_embd.weight" => return Ok("model.embed_tokens.weight".into()),
        "output_norm.weight" => return Ok("model.norm.weight".into()),
        _ => {}
    }
    let parts: Vec<&str> = gguf.split('.').collect();
    let &["blk", layer, part, "weight"] = parts.as_slice() else {
        bail!("unexpected tensor {gguf}");
    };
    let part = match part {
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        _ => bail!("unexpected tensor {gguf}"),
    };
    Ok(format!("model.layers.{layer}.{part}.weight"))
}

/// GGUF keeps the rows of q and k so that RoPE pairs are neighbours (`2i`, `2i + 1`); HF pairs `i`
/// with `i + E/2`.
fn hf_row_order(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    let head_dim = rows / heads;
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, i) = (row / head_dim, row % head_dim);
        let (half, pair) = (i / (head_dim / 2), i % (head_dim / 2));
        let from = head * head_dim + 2 * pair + half;
        out.extend_from_slice(&values[from * columns..][..columns]);
    }
    out
}

fn values_in_hf_order(gguf: &Gguf, tensor: &Tensor) -> Result<Vec<f32>> {
    let values = gguf.dequantize(tensor)?;
    let heads = match tensor.name.split('.').nth(2) {
        Some("attn_q") => gguf.integer("llama.attention.head_count")?,
        Some("attn_k") => gguf.integer("llama.attention.head_count_kv")?,
        _ => return Ok(values),
    };
    ensure!(
        tensor.shape[0].is_multiple_of(2 * heads),
        "{}: rows do not divide by heads",
        tensor.name
    );
    Ok(hf_row_order(&values, tensor.shape[0], heads))
}

/// Writes every tensor as bf16 in one safetensors file, in the order of names, one tensor in memory
/// at a time.
pub fn safetensors(gguf: &Gguf, out: &mut impl Write) -> Result<()> {
    let mut tensors = Vec::new();
    for tensor in &gguf.tensors {
        tensors.push((hf_name(&tensor.name)?, tensor));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut at = 0;
    for (name, tensor) in &tensors {
        let (shape, end) = (&tensor.shape, at + 2 * tensor.len());
        write!(
            header,
            r#","{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{at},{end}]}}"#
        )?;
        at = end;
    }
    header.push('}');
    // The data starts at a multiple of 8.
    let padded = header.len().next_multiple_of(8);
    out.write_all(&u64::try_from(padded)?.to_le_bytes())?;
    out.write_all(format!("{header:padded$}").as_bytes())?;
    for (_, tensor) in &tensors {
        let values = values_in_hf_order(gguf, tensor)?;
        let bytes: Vec<u8> = values.iter().flat_map(|&x| bf16(x).to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// What surrounds the vocabulary in tokenizer.json: SmolLM's single digits, then byte-level BPE; no
/// template.
const TOKENIZER_MIDDLE: &str = r#"
  ],
  "normalizer": null,
  "pre_tokenizer": {
    "type": "Sequence",
    "pretokenizers": [
      {
        "type": "Digits",
        "individual_digits": true
      },
      {
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": true,
        "use_regex": true
      }
    ]
  },
  "post_processor": {
    "type": "TemplateProcessing",
    "single": [
      {
        "Sequence": {
          "id": "A",
          "type_id": 0
        }
      }
    ],
    "pair": [
      {
        "Sequence": {
          "id": "A",
          "type_id": 0
        }
      },
      {
        "Sequence": {
          "id": "B",
          "type_id": 1
        }
      }
    ],
    "special_tokens": {}
  },
  "decoder": {
    "type": "ByteLevel",
    "add_prefix_space": true,
    "trim_offsets": true,
    "use_regex": true
  },
  "model": {
    "type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {
"#;

/// tokenizer.json as the `tokenizers` library would save it, from the vocabulary and the merges in
/// the metadata.
pub fn tokenizer_json(gguf: &Gguf) -> Result<String> {
    const CONTROL: u64 = 3;
    let tokens = gguf.texts("tokenizer.ggml.tokens")?;
    let kinds = gguf.integers("tokenizer.ggml.token_type")?;
    let merges = gguf.texts("tokenizer.ggml.merges")?;
    ensure!(tokens.len() == kinds.len(), "as many token types as tokens");

    let mut added = Vec::new();
    for (id, (token, _)) in
        tokens.iter().zip(kinds).enumerate().filter(|(_, (_, k))| **k == CONTROL)
    {
        let fields = [
            format!("\"id\": {id}"),
            format!("\"content\": {}", quoted(token)?),
            "\"single_word\": false".into(),
            "\"lstrip\": false".into(),
            "\"rstrip\": false".into(),
            "\"normalized\": false".into(),
            "\"special\": true".into(),
        ];
        added.push(format!("    {{\n      {}\n    }}", fields.join(",\n      ")));
    }
    let mut vocab = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        vocab.push(format!("      {}: {id}", quoted(token)?));
    }
    let mut pairs = Vec::new();
    for merge in merges {
        let (left, right) = merge.split_once(' ').with_context(|| format!("merge {merge:?}"))?;
        let (left, right) = (quoted(left)?, quoted(right)?);
        pairs.push(format!("      [\n        {left},\n        {right}\n      ]"));
    }
    let head = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [\n";
    Ok([
        head,
        &added.join(",\n"),
        TOKENIZER_MIDDLE,
        &vocab.join(",\n"),
        "\n    },\n    \"merges\": [\n",
        &pairs.join(",\n"),
        "\n    ]\n  }\n}",
    ]
    .concat())
}

fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_hugging_face() {
        let name = |gguf| hf_name(gguf).unwrap();
        assert_eq!(name("blk.7.attn_k.weight"), "model.layers.7.self_attn.k_proj.weight");
        assert_eq!(name("blk.0.ffn_norm.weight"), "model.layers.0.post_attention_layernorm.weight");
        assert!(hf_name("blk.0.attn_q.bias").is_err());
    }

    #[test]
    fn row_order_undoes_the_interleaving() {
        // Two heads of dimension 4, one column: GGUF order 0 2 1 3 within each head.
        let gguf = [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0];
        assert_eq!(hf_row_order(&gguf, 8, 2), [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0]);
    }
}
